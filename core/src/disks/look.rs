//! What one disk is to one declaration.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::defects::{Defect, seeded};
use crate::disks::claim::{Kept, Scope};
use crate::disks::content::is_same_cd;
use crate::disks::entries::{self, Listed};
use crate::disks::{Search, default_signature, fits};
use crate::logic::{DiskIndex, MbrCode, PartitionIndex, Program};
use crate::machine::{DiskId, DiskInfo};
use crate::media::marks::{self, Found, Marks, On, owner_of_type};
use crate::media::mbr::{Entry, Mbr};
use crate::media::note::Note;
use crate::units::{Lba, SECTOR};

/// Sectors of a MiB.
const MIB: u64 = (1 << 20) / SECTOR as u64;
/// As much of each declared partition's beginning has to be blank on a blank disk: 64 KiB.
const HEAD: u64 = 128;
/// An entry with more sectors between what is ours is not read to find out whether it is empty: 256 MiB.
const MAX_EMPTY: u64 = 256 * MIB;
/// Sectors that are read at once.
const STRIDE: u64 = 64;

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
    fn of(standing: Standing) -> Self {
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
struct Seen {
    /// Sector 0, if it can be read.
    first: Option<[u8; SECTOR]>,
    mbr: Option<Mbr>,
    marks: Marks,
    listed: Listed,
    /// Whether it is blank, where sector 0 has no table: nothing, the first sector with something, or what could not
    /// be read.
    blank: Option<Result<Option<u64>, (u64, String)>>,
}

impl Search<'_> {
    /// The proof by table, which costs the reading of one sector on a disk that is as it should be.
    #[inline(never)]
    pub(super) fn quick(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex) -> Option<Look> {
        let mbr = self.mbr_of(id)?;
        let map = self.program.map(wanted);
        if !self.fit(wanted, info) || !mbr.has_map(&map) || self.is_disproved(wanted, mbr.disk_signature()) {
            return None;
        }
        let disk = self.program.disk(wanted);
        let signature = mbr.disk_signature();
        let proof = if disk.signature.is_some_and(|declared| declared == signature) {
            format!("table, and signature {signature:08X}")
        } else if signature == default_signature(disk) {
            "table, and the signature that a restore writes".to_string()
        } else if !self.has_images(wanted) {
            "table".to_string()
        } else if self.has_standard_code(wanted, &mbr) {
            "table, and boot code".to_string()
        } else {
            return None;
        };
        let mut look = Look { whole: true, ..Look::of(Standing::Ours { proof, scope: Scope::All }) };
        self.keep(id, info, wanted, &mbr, &mut look);
        let marks = self.head_marks(id);
        look.gap_marks = self.in_gaps(wanted, &marks);
        look.remark = old_marks(&marks);
        Some(look)
    }

    #[inline(never)]
    fn mbr_of(&mut self, id: DiskId) -> Option<Mbr> {
        let mut sector = [0; SECTOR];
        self.machine.read_disk(id, Lba(0), &mut sector).ok()?;
        Mbr::parse(&sector).ok()
    }

    /// The disk signature, which decides between declarations: the MBR's, or that of a note in its place.
    #[inline(never)]
    pub(super) fn signature_of(&mut self, id: DiskId) -> Option<u32> {
        let mut sector = [0; SECTOR];
        self.machine.read_disk(id, Lba(0), &mut sector).ok()?;
        let mbr = Mbr::parse(&sector).ok().or_else(|| Note::parse(&sector).map(|note| note.mbr));
        mbr.map(|mbr| mbr.disk_signature())
    }

    /// What is in the sectors that were read with sector 0 anyway.
    #[inline(never)]
    fn head_marks(&mut self, id: DiskId) -> Vec<Found> {
        let mut head = alloc::vec![0; 16 * SECTOR];
        match self.machine.read_disk(id, Lba(0), &mut head) {
            Ok(()) => marks::in_head(&head, Lba(0), On::Disk),
            Err(_) => Vec::new(),
        }
    }

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

    /// Whether a signature says that this is another disk: it is not the declared one, or it is declared for
    /// another one. 0 is none.
    fn is_disproved(&self, wanted: DiskIndex, signature: u32) -> bool {
        let declared = |disk: DiskIndex| self.program.disk(disk).signature;
        let differs = declared(wanted).is_some_and(|declared| declared != signature);
        let others = self.program.disk_indexes().any(|d| d != wanted && declared(d) == Some(signature));
        signature != 0 && (differs || others) && !seeded(Defect::MarksOverlooked)
    }

    fn has_standard_code(&mut self, wanted: DiskIndex, mbr: &Mbr) -> bool {
        if self.program.disk(wanted).mbr != MbrCode::Standard {
            return false;
        }
        let Some(cd) = self.cd else { return false };
        super::boot_code(self.machine, cd, self.program, wanted).is_ok_and(|code| mbr.has_code(&code))
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
            Some(Ok(None)) => marks::look_between(self.machine, id, Lba(0), info.sectors, MIB, On::Disk),
            _ => marks::look(self.machine, id, Lba(0), info.sectors, On::Disk),
        };
        if seeded(Defect::MarksOverlooked) {
            marks.found.clear();
        }
        let none = || Listed { entries: Vec::new(), unreadable: None };
        let listed = mbr.as_ref().map_or_else(none, |mbr| entries::list(self.machine, id, info.sectors, mbr));
        Seen { first, mbr, marks, listed, blank }
    }

    /// The proof by note or content, if there is one.
    #[inline(never)]
    fn proof(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, seen: &Seen) -> Option<Look> {
        if let Some(look) = self.proof_by_map(wanted, seen) {
            return Some(look);
        }
        if self.is_taken_over(id, info, wanted, seen) {
            return None;
        }
        if let Some(look) = self.proof_by_note(id, wanted, seen) {
            return Some(look);
        }
        for partition in self.program.partitions_on(wanted) {
            if self.is_reused(id, info, wanted, partition, seen) {
                continue;
            }
            if let Some(content) = self.content_of(id, info, partition) {
                let proof = format!("{} in {}", content.what, self.program.partition(partition).name);
                return Some(Look::of(Standing::Ours { proof, scope: Scope::All }));
            }
        }
        // Another layout of the same system: what a restore may replace, and nothing else may touch.
        let names = names_on(self.program, wanted);
        for entry in &seen.listed.entries {
            let found = match self.begins_with_record(id, entry.start, entry.sectors, &names) {
                true => Some("bstate.txt".to_string()),
                false => self.begins_with_seal(id, entry.start, entry.sectors, wanted),
            };
            if let Some(what) = found {
                let proof = format!("{what} at sector {}", entry.start);
                return Some(Look::of(Standing::Ours { proof, scope: Scope::Restore }));
            }
        }
        None
    }

    /// Of a disk that is never written, the map alone is proof enough.
    fn proof_by_map(&self, wanted: DiskIndex, seen: &Seen) -> Option<Look> {
        let mbr = seen.mbr.as_ref().filter(|_| !self.has_images(wanted))?;
        let proof = "table".to_string();
        let ours = || Look::of(Standing::Ours { proof, scope: Scope::All });
        mbr.has_map(&self.program.map(wanted)).then(ours)
    }

    /// Whether somebody has taken the whole disk: his mark is at its very beginning. ISO 9660 leaves the first
    /// 32 KiB to others, so its descriptor takes nobody's place, unless what it describes reaches over a partition
    /// that is gone.
    fn is_taken_over(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, seen: &Seen) -> bool {
        let first = self.first_of(wanted);
        let beginning = |found: &&Found| found.from_beginning && found.at.0 < first;
        let mut found = seen.marks.found.iter().filter(beginning);
        let other = found.clone().any(|found| !is_iso(found));
        other || found.any(is_iso) && self.is_under_iso(id, info, wanted)
    }

    /// Whether an ISO 9660 volume of the disk reaches into the first declared partition, and nothing of ours is
    /// there any more.
    #[inline(never)]
    fn is_under_iso(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex) -> bool {
        let mut descriptor = [0; 2048];
        if self.machine.read_disk(id, Lba(64), &mut descriptor).is_err() {
            return false;
        }
        let end = u64::from(crate::media::iso9660::volume_sectors(&descriptor)) * 4;
        let Some(partition) = self.program.partitions_on(wanted).min_by_key(|&p| self.program.partition(p).start)
        else {
            return false;
        };
        end > self.program.partition(partition).start.0 && self.content_of(id, info, partition).is_none()
    }

    /// The first sector of the first declared partition; the disk's end where none is declared.
    pub(super) fn first_of(&self, wanted: DiskIndex) -> u64 {
        let starts = self.program.partitions_on(wanted).map(|p| self.program.partition(p).start.0);
        starts.min().unwrap_or(u64::MAX)
    }

    /// The proof by the note of an unfinished restore, in sector 0 or in its second place. That counts only where
    /// sector 0 says nothing else.
    #[inline(never)]
    fn proof_by_note(&mut self, id: DiskId, wanted: DiskIndex, seen: &Seen) -> Option<Look> {
        let map = self.program.map(wanted);
        let other_table = seen.mbr.as_ref().is_some_and(|mbr| !mbr.has_map(&map));
        let second = if other_table { None } else { self.second_note(id, wanted) };
        let notes = seen.first.as_ref().and_then(Note::parse).into_iter().chain(second);
        for note in notes {
            if self.is_disproved(wanted, note.mbr.disk_signature()) {
                continue;
            }
            let scope = if note.mbr.has_map(&map) {
                Scope::All
            } else if self.program.cd().is_some_and(|_| !note.cd.is_empty()) && is_same_cd(self.program, &note.cd) {
                Scope::Restore
            } else {
                continue;
            };
            let proof = "note of a restore that was begun".to_string();
            return Some(Look { note: Some(note), ..Look::of(Standing::Ours { proof, scope }) });
        }
        None
    }

    #[inline(never)]
    fn second_note(&mut self, id: DiskId, wanted: DiskIndex) -> Option<Note> {
        let at = self.first_of(wanted).checked_sub(1).filter(|&at| at > 0)?;
        let mut sector = [0; SECTOR];
        self.machine.read_disk(id, Lba(at), &mut sector).ok()?;
        Note::parse(&sector)
    }

    /// Whether somebody has made a partition of his own over a declared one's place: what our old files there say
    /// counts for nothing then.
    #[inline(never)]
    fn is_reused(
        &mut self,
        id: DiskId,
        info: &DiskInfo,
        wanted: DiskIndex,
        partition: PartitionIndex,
        seen: &Seen,
    ) -> bool {
        let declared = self.program.partition(partition);
        let names = names_on(self.program, wanted);
        let over = seen.listed.entries.iter().filter(|entry| {
            let is_it = (entry.start, entry.sectors) == (declared.start.0, declared.sectors.0);
            !(is_it && entry.kind == declared.kind) && entry.start <= declared.start.0 && declared.start.0 < entry.end()
        });
        for entry in over {
            if self.begins_with_record(id, entry.start, entry.sectors, &names) {
                continue;
            }
            if !seen.marks.found.is_empty() || self.owner_in_entries(id, info, wanted, seen).is_some() {
                return true;
            }
        }
        false
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

    /// Marks in no declared partition. (Those in other entries are left out when they are cleared.)
    pub(super) fn in_gaps(&self, wanted: DiskIndex, marks: &[Found]) -> Vec<(u64, u64)> {
        let map = self.program.map(wanted);
        let declared = |at: u64, end: u64| map.iter().any(|e| e.kind != 0 && u64::from(e.start) < end && at < e.end());
        let places = marks.iter().map(|found| (found.at.0, found.sectors));
        places.filter(|&(at, sectors)| at > 0 && !declared(at, at.saturating_add(sectors))).collect()
    }

    /// Finds the entries that are not declared and have to be kept. In a table that holds the map that is every one
    /// that overlaps nothing declared; any other has to be looked at: it goes if it begins with a filesystem with
    /// our record, or if nothing of anybody else's is in it.
    #[inline(never)]
    fn keep(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, mbr: &Mbr, look: &mut Look) {
        let map = self.program.map(wanted);
        let extra = |(n, entry): (usize, &Entry)| {
            entry.kind != 0 && !map.get(n).is_some_and(|declared| declared.is_same(entry))
        };
        if !mbr.entries().iter().enumerate().any(extra) {
            return;
        }
        let names = names_on(self.program, wanted);
        let whole = mbr.has_map(&map);
        for entry in entries::list(self.machine, id, info.sectors, mbr).entries {
            let is_declared = map.iter().enumerate().any(|(n, declared)| {
                let same = (declared.kind, u64::from(declared.start), u64::from(declared.sectors))
                    == (entry.kind, entry.start, entry.sectors);
                declared.kind != 0 && same && entry.slot.is_none_or(|slot| slot == n || !whole)
            });
            let beside = !map.iter().any(|d| d.kind != 0 && entry.overlaps(d.start.into(), d.end()));
            if is_declared {
                continue;
            }
            if whole && beside
                || !self.begins_with_record(id, entry.start, entry.sectors, &names)
                    && !self.is_empty(id, info, wanted, &entry)
            {
                look.kept.push(entry);
            }
        }
    }

    /// Whether nothing is in an entry but filesystems of ours, where the declared partitions begin: one byte, repeated.
    /// So a table in which a bit has flipped keeps nothing in its place. All of it is read, which only such a table
    /// asks for; what is too long for that is not empty.
    #[inline(never)]
    fn is_empty(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, entry: &Kept) -> bool {
        let mut at = entry.start;
        let end = entry.end().min(info.sectors);
        let mut partitions: Vec<PartitionIndex> = self.program.partitions_on(wanted).collect();
        partitions.sort_by_key(|&p| self.program.partition(p).start);
        let mut byte = None;
        for partition in partitions {
            let start = self.program.partition(partition).start.0;
            if start < at || start >= end {
                continue;
            }
            let Some(content) = self.content_of(id, info, partition) else { continue };
            if !self.is_blank(id, at, start, &mut byte) {
                return false;
            }
            at = start.saturating_add(content.sectors).max(at);
        }
        self.is_blank(id, at, end, &mut byte)
    }

    /// Whether sectors `from` up to `end` are this byte, or the one that they begin with.
    fn is_blank(&mut self, id: DiskId, from: u64, end: u64, byte: &mut Option<u8>) -> bool {
        if end.saturating_sub(from) > MAX_EMPTY {
            return false;
        }
        match self.uniform(id, from, end, *byte, &[]) {
            Ok(Uniform::Of(found)) => *byte = Some(found),
            Ok(Uniform::Nothing) => {}
            Ok(Uniform::Differs(_)) | Err(_) => return false,
        }
        true
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

    /// Whose mark is on the disk or in any of its entries, and where.
    #[inline(never)]
    fn owner(&mut self, id: DiskId, info: &DiskInfo, seen: &Seen) -> Option<String> {
        if seeded(Defect::MarksOverlooked) {
            return None;
        }
        if let Some(found) = seen.marks.found.first() {
            return Some(format!("{} at sector {}", found.owner, found.at.0));
        }
        seen.listed.entries.iter().find_map(|entry| self.owner_of(id, info, entry))
    }

    /// Whose mark is in an entry that neither is declared nor begins with our record.
    fn owner_in_entries(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, seen: &Seen) -> Option<String> {
        let (map, names) = (self.program.map(wanted), names_on(self.program, wanted));
        let declared = |entry: &Kept| {
            let is = |e: &Entry| {
                (e.kind, u64::from(e.start), u64::from(e.sectors)) == (entry.kind, entry.start, entry.sectors)
            };
            map.iter().any(is)
        };
        seen.listed.entries.iter().filter(|entry| !declared(entry)).find_map(|entry| {
            let ours = self.begins_with_record(id, entry.start, entry.sectors, &names);
            if ours { None } else { self.owner_of(id, info, entry) }
        })
    }

    /// Whose an entry is, by its type or by marks in it.
    #[inline(never)]
    fn owner_of(&mut self, id: DiskId, info: &DiskInfo, entry: &Kept) -> Option<String> {
        if let Some(owner) = owner_of_type(entry.kind) {
            return Some(format!("{owner}: {entry}"));
        }
        // One that has no length, or one past the disk's end, still begins somewhere.
        let room = info.sectors.saturating_sub(entry.start);
        let sectors = if entry.sectors == 0 { room } else { entry.sectors.min(room) };
        let marks = marks::look(self.machine, id, Lba(entry.start), sectors, On::Partition);
        marks.found.first().map(|found| format!("{} at sector {}, in {entry}", found.owner, found.at.0))
    }

    fn is_note_place(&self, wanted: DiskIndex, at: u64) -> bool {
        at == 0 || at.checked_add(1) == Some(self.first_of(wanted))
    }

    /// Whether nothing is on the disk, as far as its first and last MiB and the beginnings of the declared
    /// partitions tell; else the first sector with something. A note that was written in part counts as nothing.
    ///
    /// # Errors
    /// What could not be read.
    #[inline(never)]
    fn blank(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex) -> Result<Option<u64>, (u64, String)> {
        let places = [0, self.first_of(wanted).saturating_sub(1)];
        let middle = MIB.min(info.sectors);
        // The partitions' beginnings first: most disks that are not blank have something there.
        let mut parts = Vec::new();
        for partition in self.program.partitions_on(wanted).map(|p| self.program.partition(p)) {
            let end = (partition.start.0 + HEAD.min(partition.sectors.0)).min(info.sectors);
            // What is in the first MiB is read with it.
            parts.push((partition.start.0.max(middle).min(end), end));
        }
        parts.extend([(0, middle), (info.sectors.saturating_sub(MIB).max(middle), info.sectors)]);
        for (from, end) in parts {
            if let Uniform::Differs(at) = self.uniform(id, from, end, None, &places)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Whether sectors `from` up to `end` are one repeated byte.
    #[inline(never)]
    fn uniform(
        &mut self,
        id: DiskId,
        from: u64,
        end: u64,
        byte: Option<u8>,
        places: &[u64],
    ) -> Result<Uniform, (u64, String)> {
        let mut buffer = alloc::vec![0; STRIDE as usize * SECTOR];
        let (mut at, mut byte) = (from, byte);
        while at < end {
            let sectors = STRIDE.min(end - at);
            let Some(content) = buffer.get_mut(..sectors as usize * SECTOR) else { break };
            let whole = self.machine.read_disk(id, Lba(at), content);
            for (sector, bytes) in (at..).zip(content.as_chunks_mut::<SECTOR>().0) {
                if whole.is_err() {
                    match self.machine.read_disk(id, Lba(sector), bytes) {
                        // A sector that was being written when the power went may be unreadable.
                        Err(_) if places.contains(&sector) => continue,
                        Err(error) => return Err((sector, error.to_string())),
                        Ok(()) => {}
                    }
                }
                let same = bytes.iter().all(|b| *b == bytes[0]);
                if places.contains(&sector) && (same || Note::is_begun(bytes)) {
                    continue;
                }
                let byte = *byte.get_or_insert(bytes[0]);
                if !same || bytes[0] != byte {
                    return Ok(Uniform::Differs(sector));
                }
            }
            at += sectors;
        }
        Ok(byte.map_or(Uniform::Nothing, Uniform::Of))
    }

    /// Whether the CD that the machine was booted from is on the disk: its descriptor, and its loader.
    #[inline(never)]
    fn is_copy_of_medium(&mut self, id: DiskId, marks: &Marks) -> bool {
        let Some(cd) = self.cd.filter(|_| marks.found.iter().any(is_iso)) else { return false };
        let Ok(Some(loader)) = cd.find(self.machine, "loader.bin").map(|file| file.first()) else { return false };
        [crate::media::iso9660::PRIMARY_VOLUME_DESCRIPTOR, loader].into_iter().all(|at| {
            let (mut here, mut there) = ([0; 2048], [0; 2048]);
            self.machine.read_cd(at, &mut here).is_ok()
                && self.machine.read_disk(id, Lba(u64::from(at.0) * 4), &mut there).is_ok()
                && here == there
        })
    }
}

/// The names of the partitions with an image on a disk.
fn names_on(program: &Program, wanted: DiskIndex) -> Vec<&str> {
    let partitions = program.partitions_on(wanted).map(|p| program.partition(p));
    partitions.filter(|p| p.image.is_some()).map(|p| p.name.as_str()).collect()
}

/// What sectors hold.
enum Uniform {
    /// There are none.
    Nothing,
    /// Nothing but this byte.
    Of(u8),
    /// Something else, from this sector on.
    Differs(u64),
}

fn is_iso(found: &Found) -> bool {
    found.owner == "ISO 9660"
}

/// Old marks that do no harm, in words.
fn old_marks(found: &[Found]) -> String {
    match found.first() {
        Some(mark) => format!("an old mark of {} at sector {}", mark.owner, mark.at.0),
        None => String::new(),
    }
}
