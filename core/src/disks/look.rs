//! What one disk is to one declaration.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::defects::{Defect, seeded};
use crate::disks::blank::MIB;
use crate::disks::claim::{Kept, Scope};
use crate::disks::entries::{self, Listed};
use crate::disks::proof::{is_iso, old_marks};
use crate::disks::{Search, fits};
use crate::logic::{DiskIndex, Program};
use crate::machine::{DiskId, DiskInfo};
use crate::media::iso9660;
use crate::media::marks::{self, Marks, On};
use crate::media::mbr::Mbr;
use crate::media::note::Note;
use crate::units::{CD_SECTOR, Lba, SECTOR};

/// What a disk is to a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the declared disk. By what proof, and what the proof is good for.
    Ours {
        /// In words.
        proof: String,
        /// [`Scope::All`], or [`Scope::Restore`] where the layout is another one.
        scope: Scope,
    },
    /// Nothing is on it, and it may be taken.
    Blank,
    /// It is somebody's; whose, in words.
    Foreign(String),
    /// Nobody can tell.
    Unclear {
        /// Why.
        why: String,
        /// Whether nothing is on it, and it is only not the disk that was declared.
        blank: bool,
    },
    /// It can't be the declared disk, whatever is on it; why.
    Never(String),
}

/// All that a look came to.
#[derive(Clone, Debug)]
pub struct Look {
    /// What it is.
    pub standing: Standing,
    /// Entries that have to be kept.
    pub(super) kept: Vec<Kept>,
    /// Marks outside every partition that a restore may clear: first sector and sectors.
    pub(super) gap_marks: Vec<(u64, u64)>,
    /// The note of a restore that is not finished.
    pub(super) note: Option<Note>,
    /// Whether its table holds the map.
    pub(super) whole: bool,
    /// Old marks, or what else is not as usual and does no harm: for a person.
    pub remark: String,
}

impl Look {
    pub(super) fn of(standing: Standing) -> Self {
        Self { standing, kept: Vec::new(), gap_marks: Vec::new(), note: None, whole: false, remark: String::new() }
    }

    fn unclear(why: String) -> Self {
        Self::of(Standing::Unclear { why, blank: false })
    }

    /// Entries that are not declared and that every new table has to have. None of a disk that is not ours: all
    /// on it is somebody's, or nothing is.
    #[must_use]
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// The note of a restore that was begun and not finished.
    #[must_use]
    pub fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// That it can't be the declared disk.
    pub(super) fn never(why: &str) -> Self {
        Self::of(Standing::Never(why.to_string()))
    }
}

impl Standing {
    /// As words behind the disk's name.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Ours { proof, .. } => format!("is ours by its {proof}"),
            Self::Blank => "is blank".to_string(),
            Self::Foreign(why) | Self::Unclear { why, .. } | Self::Never(why) => why.clone(),
        }
    }

    /// What a person can do who wants the disk to be taken; empty where it is, or never can be.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "if it may be lost: `wipefs -a` and `blkdiscard` (or zeros), or `adopt` in logic.txt",
            Self::Unclear { blank: true, .. } => "if it is meant: its size in logic.txt, or `adopt`",
            Self::Unclear { .. } => {
                "if it may be lost: `blkdiscard` (or zeros), or `signature` or `adopt` in logic.txt"
            }
            Self::Ours { .. } | Self::Blank | Self::Never(_) => "",
        }
    }
}

/// What is read of a disk while it is looked at.
pub(super) struct Seen {
    /// Sector 0, if it can be read.
    pub first: Option<[u8; SECTOR]>,
    pub mbr: Option<Mbr>,
    pub marks: Marks,
    pub listed: Listed,
    /// Whether it is blank, where sector 0 has no table: nothing, the first sector with something, or what could not
    /// be read.
    pub blank: Option<Result<Option<u64>, (u64, String)>>,
}

impl Search<'_> {
    /// Whether all declared partitions lie on the disk.
    pub(super) fn fit(&self, wanted: DiskIndex, info: &DiskInfo) -> bool {
        self.program.partitions_on(wanted).map(|p| self.program.partition(p)).all(|p| {
            let end = p.start.0.checked_add(p.sectors.0);
            end.is_some_and(|end| end <= info.sectors)
        })
    }

    /// Whether any partition of a disk is ever restored; a disk without one is never written.
    pub(super) fn has_images(&self, wanted: DiskIndex) -> bool {
        self.program.partitions_on(wanted).any(|p| self.program.partition(p).image.is_some())
    }

    /// Looks at all that says whose the disk is.
    #[inline(never)]
    pub(super) fn whole(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex) -> Look {
        let seen = self.see(id, info, wanted);
        if self.is_copy_of_medium(id, &seen.marks) {
            return Look::of(Standing::Never("is a copy of the boot medium".to_string()));
        }
        let signature = seen.mbr.as_ref().map_or(0, Mbr::disk_signature);
        let proof = if self.is_disproved(wanted, signature) { None } else { self.proof(id, info, wanted, &seen) };
        let Some(proof) = proof else { return self.not_ours(id, info, wanted, &seen) };
        if !self.fit(wanted, info) {
            let Standing::Ours { proof, .. } = proof.standing else { return proof };
            return Look::unclear(format!(
                "is ours by its {proof}, and has only {} sectors, too few for its partitions",
                info.sectors
            ));
        }
        self.ours(id, info, wanted, &seen, proof)
    }

    #[inline(never)]
    fn see(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex) -> Seen {
        let mut sector = [0; SECTOR];
        let first = self.machine.read_disk(id, Lba(0), &mut sector).is_ok().then_some(sector);
        let mbr = first.as_ref().and_then(|sector| Mbr::parse(sector).ok());
        // Where both ends are blank, which is to be read anyway, no mark can be there.
        let blank = mbr.is_none().then(|| self.blank(id, info, wanted));
        let mut marks = match blank {
            Some(Ok(None)) if self.are_notes_blank(id, wanted) => {
                marks::look_between(self.machine, id, Lba(0), info.sectors, (MIB, MIB), On::Disk)
            }
            _ => marks::look(self.machine, id, Lba(0), info.sectors, On::Disk),
        };
        if seeded(Defect::MarksOverlooked) {
            marks.found.clear();
        }
        let none = || Listed { entries: Vec::new(), unreadable: None };
        let listed = mbr.as_ref().map_or_else(none, |mbr| entries::list(self.machine, id, info.sectors, mbr));
        Seen { first, mbr, marks, listed, blank }
    }

    /// The first sector of the first declared partition; the disk's end where none is declared.
    pub(super) fn first_of(&self, wanted: DiskIndex) -> u64 {
        let starts = self.program.partitions_on(wanted).map(|p| self.program.partition(p).start.0);
        starts.min().unwrap_or(u64::MAX)
    }

    /// Completes the look at a disk that is ours.
    fn ours(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, seen: &Seen, mut look: Look) -> Look {
        let from_note = look.note.as_ref().map(|note| note.mbr);
        if let Some(mbr) = seen.mbr.as_ref().or(from_note.as_ref()) {
            self.keep(id, info, wanted, mbr, &mut look);
        }
        // Where the table is another one, what looks like a gap may be somebody's.
        if seen.mbr.or(from_note).is_some_and(|mbr| mbr.has_map(&self.program.map(wanted))) {
            look.gap_marks = self.in_gaps(wanted, &seen.marks.found);
        }
        look.whole = seen.mbr.is_some_and(|mbr| mbr.has_map(&self.program.map(wanted)));
        look.remark = old_marks(&seen.marks.found);
        look
    }

    /// What a disk is that nothing proves to be ours.
    #[inline(never)]
    fn not_ours(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, seen: &Seen) -> Look {
        let disk = self.program.disk(wanted);
        let signature = seen.mbr.as_ref().map_or(0, Mbr::disk_signature);
        let owner = self.owner(id, info, seen);
        if seen.mbr.as_ref().is_some_and(|mbr| mbr.has_map(&self.program.map(wanted))) {
            let carries = owner.map(|owner| format!("; it carries {owner}")).unwrap_or_default();
            let why = match self.is_disproved(wanted, signature) {
                true => format!("has signature {signature:08X}, not the declared one"),
                false => format!("has the declared table, and nothing else says that it is ours{carries}"),
            };
            return self.taken(wanted, seen, Standing::Unclear { why, blank: false });
        }
        if let Some(owner) = owner {
            return self.taken(wanted, seen, Standing::Foreign(format!("carries {owner}")));
        }
        if let Some((at, error)) =
            seen.marks.unreadable.or(seen.listed.unreadable).filter(|(at, _)| !self.is_note_place(wanted, at.0))
        {
            return Look::unclear(format!("can't be read at sector {}: {error}", at.0));
        }
        if seen.mbr.is_some() {
            let what = match seen.listed.entries.first() {
                Some(entry) => format!("has a partition table that is not the declared one: {entry}"),
                None => "has a partition table without partitions".to_string(),
            };
            return self.taken(wanted, seen, Standing::Foreign(what));
        }
        if let Some(owner) = self.owner_without_table(id, info) {
            return self.taken(wanted, seen, Standing::Foreign(format!("carries {owner}")));
        }
        match seen.blank.clone().unwrap_or(Ok(None)) {
            Err((at, why)) => Look::unclear(format!("can't be read at sector {at}: {why}")),
            Ok(Some(at)) => {
                self.taken(wanted, seen, Standing::Foreign(format!("holds data that nobody can name, at sector {at}")))
            }
            Ok(None) if !info.writable => Look::unclear("is blank, and can't be written by this BIOS".to_string()),
            Ok(None) if !fits(disk.sectors, info.sectors) => {
                Look::of(Standing::Unclear { why: format!("is blank and has {} sectors", info.sectors), blank: true })
            }
            Ok(None) if info.removable => {
                Look::of(Standing::Unclear { why: "is blank, and removable or on USB".to_string(), blank: true })
            }
            Ok(None) => Look::of(Standing::Blank),
        }
    }

    /// Somebody's disk; were it adopted, its marks would go.
    fn taken(&self, wanted: DiskIndex, seen: &Seen, standing: Standing) -> Look {
        Look { gap_marks: self.in_gaps(wanted, &seen.marks.found), ..Look::of(standing) }
    }

    /// Whether the CD that the machine was booted from is on the disk: its descriptor, and its loader.
    #[inline(never)]
    fn is_copy_of_medium(&mut self, id: DiskId, marks: &Marks) -> bool {
        let Some(cd) = self.cd.filter(|_| marks.found.iter().any(is_iso)) else { return false };
        let Ok(Some(loader)) = cd.find(self.machine, "loader.bin").map(|file| file.first()) else { return false };
        [iso9660::PRIMARY_VOLUME_DESCRIPTOR, loader].into_iter().all(|at| {
            let (mut here, mut there) = ([0; CD_SECTOR], [0; CD_SECTOR]);
            self.machine.read_cd(at, &mut here).is_ok()
                && self.machine.read_disk(id, Lba(u64::from(at.0) * 4), &mut there).is_ok()
                && here == there
        })
    }
}

/// The names of the partitions with an image on a disk.
pub(super) fn names_on(program: &Program, wanted: DiskIndex) -> Vec<&str> {
    let partitions = program.partitions_on(wanted).map(|p| program.partition(p));
    partitions.filter(|p| p.image.is_some()).map(|p| p.name.as_str()).collect()
}
