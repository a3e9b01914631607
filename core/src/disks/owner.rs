//! Whose a disk is that is not ours.

use alloc::format;
use alloc::string::String;

use crate::defects::{Defect, seeded};
use crate::disks::Search;
use crate::disks::blank::MIB;
use crate::disks::claim::Kept;
use crate::disks::look::{Seen, names_on};
use crate::logic::DiskIndex;
use crate::machine::{DiskId, DiskInfo};
use crate::media::marks::{self, On, owner_of_type};
use crate::media::mbr::Entry;
use crate::units::{Lba, SECTOR};

/// Where partitions use to begin: at sector 63, and at each of the first so many MiB; and so many sectors are looked at,
/// with the marks of LUKS, LVM and the usual filesystems.
const USUAL_MIBS: u64 = 16;
const USUAL_SECTORS: usize = 3;
/// Marks of the filesystems that have our record.
const OURS: [&str; 2] = ["a FAT filesystem", "an ext filesystem"];

impl Search<'_> {
    /// Whose mark is on the disk or in any of its entries, and where.
    #[inline(never)]
    pub(super) fn owner(&mut self, id: DiskId, info: &DiskInfo, seen: &Seen) -> Option<String> {
        if seeded(Defect::MarksOverlooked) {
            return None;
        }
        if let Some(found) = seen.marks.found.first() {
            return Some(format!("{} at sector {}", found.owner, found.at.0));
        }
        seen.listed.entries.iter().find_map(|entry| self.owner_of(id, info, entry))
    }

    /// Whose mark is where partitions use to begin, on a disk whose table is lost.
    #[inline(never)]
    pub(super) fn owner_without_table(&mut self, id: DiskId, info: &DiskInfo) -> Option<String> {
        let mut head = [0; USUAL_SECTORS * SECTOR];
        let places = [63].into_iter().chain((1..=USUAL_MIBS).map(|mib| mib * MIB));
        for at in places.filter(|at| at + USUAL_SECTORS as u64 <= info.sectors) {
            if self.machine.read_disk_once(id, Lba(at), &mut head).is_err() {
                continue;
            }
            if let Some(found) = marks::in_head(&head, Lba(at), On::Partition).first() {
                return Some(format!("{} at sector {}", found.owner, found.at.0));
            }
        }
        None
    }

    /// Whose mark is in an entry that neither is declared nor begins with our record.
    pub(super) fn owner_in_entries(
        &mut self,
        id: DiskId,
        info: &DiskInfo,
        wanted: DiskIndex,
        seen: &Seen,
    ) -> Option<String> {
        let map = self.program.map(wanted);
        let declared = |entry: &Kept| {
            let is = |e: &Entry| {
                (e.kind, u64::from(e.start), u64::from(e.sectors)) == (entry.kind, entry.start, entry.sectors)
            };
            map.iter().any(is)
        };
        seen.listed.entries.iter().filter(|entry| !declared(entry)).find_map(|entry| {
            if self.is_entry_ours(id, info, wanted, entry) { None } else { self.owner_of(id, info, entry) }
        })
    }

    /// Whether an entry that is not declared is ours: it begins with a filesystem with our record, and nobody has taken
    /// it.
    #[inline(never)]
    pub(super) fn is_entry_ours(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, entry: &Kept) -> bool {
        let names = names_on(self.program, wanted);
        self.begins_with_record(id, entry.start, entry.sectors, &names) && !self.is_entry_taken(id, info, wanted, entry)
    }

    /// Whether an entry's type, or a mark of anything but a filesystem that may be ours, says that somebody has taken
    /// it: a RAID, say, leaves the first sectors of our filesystem where they were. The type byte of a declared
    /// partition's very place says nothing: a bit may have flipped.
    #[inline(never)]
    pub(super) fn is_entry_taken(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, entry: &Kept) -> bool {
        let map = self.program.map(wanted);
        let place = (entry.start, entry.sectors);
        if map.iter().any(|e| e.kind != 0 && (u64::from(e.start), u64::from(e.sectors)) == place) {
            return false;
        }
        let sectors = entry.sectors.min(info.sectors.saturating_sub(entry.start));
        let marks = marks::look(self.machine, id, Lba(entry.start), sectors, On::Partition);
        owner_of_type(entry.kind).is_some() || marks.found.iter().any(|found| !OURS.contains(&found.owner))
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
}
