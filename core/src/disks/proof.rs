//! By what a disk is proved to be ours: its table, a restore's note, what is in its partitions. And what disproves it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::defects::{Defect, seeded};
use crate::disks::claim::Scope;
use crate::disks::content::is_same_cd;
use crate::disks::look::{Look, Seen, Standing, names_on};
use crate::disks::{Search, boot_code, default_signature};
use crate::logic::{DiskIndex, MbrCode, PartitionIndex};
use crate::machine::{DiskId, DiskInfo};
use crate::media::iso9660;
use crate::media::marks::{self, Found, On};
use crate::media::mbr::Mbr;
use crate::media::note::Note;
use crate::units::{CD_SECTOR, Lba, SECTOR};

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
        let mut head = vec![0; 16 * SECTOR];
        match self.machine.read_disk(id, Lba(0), &mut head) {
            Ok(()) => marks::in_head(&head, Lba(0), On::Disk),
            Err(_) => Vec::new(),
        }
    }

    /// Whether a signature says that this is another disk: it is not the declared one, or it is declared for
    /// another one. 0 is none.
    pub(super) fn is_disproved(&self, wanted: DiskIndex, signature: u32) -> bool {
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
        boot_code(self.machine, cd, self.program, wanted).is_ok_and(|code| mbr.has_code(&code))
    }

    /// The proof by note or content, if there is one.
    #[inline(never)]
    pub(super) fn proof(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, seen: &Seen) -> Option<Look> {
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
            if self.is_entry_taken(id, info, wanted, entry) {
                continue;
            }
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
        let mut descriptor = [0; CD_SECTOR];
        if self.machine.read_disk(id, Lba(64), &mut descriptor).is_err() {
            return false;
        }
        let end = u64::from(iso9660::volume_sectors(&descriptor)) * 4;
        let Some(partition) = self.program.partitions_on(wanted).min_by_key(|&p| self.program.partition(p).start)
        else {
            return false;
        };
        end > self.program.partition(partition).start.0 && self.content_of(id, info, partition).is_none()
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
        let over = seen.listed.entries.iter().filter(|entry| {
            let is_it = (entry.start, entry.sectors) == (declared.start.0, declared.sectors.0);
            !(is_it && entry.kind == declared.kind) && entry.start <= declared.start.0 && declared.start.0 < entry.end()
        });
        for entry in over {
            if self.is_entry_ours(id, info, wanted, entry) {
                continue;
            }
            if !seen.marks.found.is_empty() || self.owner_in_entries(id, info, wanted, seen).is_some() {
                return true;
            }
        }
        false
    }
}

/// Whether a mark is that of an ISO 9660 volume.
pub(super) fn is_iso(found: &Found) -> bool {
    found.owner == "ISO 9660"
}

/// Old marks that do no harm, in words.
pub(super) fn old_marks(found: &[Found]) -> String {
    match found.first() {
        Some(mark) => format!("an old mark of {} at sector {}", mark.owner, mark.at.0),
        None => String::new(),
    }
}
