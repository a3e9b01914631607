//! Whose a disk is that is not ours.

use alloc::format;
use alloc::string::String;

use crate::defects::{Defect, seeded};
use crate::disks::Search;
use crate::disks::claim::Kept;
use crate::disks::look::{Seen, names_on};
use crate::logic::DiskIndex;
use crate::machine::{DiskId, DiskInfo};
use crate::media::marks::{self, On, owner_of_type};
use crate::media::mbr::Entry;
use crate::units::Lba;

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

    /// Whose mark is in an entry that neither is declared nor begins with our record.
    pub(super) fn owner_in_entries(
        &mut self,
        id: DiskId,
        info: &DiskInfo,
        wanted: DiskIndex,
        seen: &Seen,
    ) -> Option<String> {
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
}
