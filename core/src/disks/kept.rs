//! Entries of the table that are not declared, and what is between the partitions.

use alloc::vec::Vec;

use crate::disks::blank::{MIB, Uniform};
use crate::disks::claim::Kept;
use crate::disks::look::Look;
use crate::disks::{Search, entries};
use crate::logic::{DiskIndex, PartitionIndex};
use crate::machine::{DiskId, DiskInfo};
use crate::media::marks::Found;
use crate::media::mbr::{Entry, Mbr};

/// An entry with more sectors between what is ours is not read to find out whether it is empty: 256 MiB.
const MAX_EMPTY: u64 = 256 * MIB;

impl Search<'_> {
    /// Finds the entries that are not declared and have to be kept. In a table that holds the map that is every one
    /// that overlaps nothing declared; any other has to be looked at: it goes if it begins with a filesystem with
    /// our record, or if nothing of anybody else's is in it.
    #[inline(never)]
    pub(super) fn keep(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex, mbr: &Mbr, look: &mut Look) {
        let map = self.program.map(wanted);
        let extra = |(n, entry): (usize, &Entry)| {
            entry.kind != 0 && !map.get(n).is_some_and(|declared| declared.is_same(entry))
        };
        if !mbr.entries().iter().enumerate().any(extra) {
            return;
        }
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
                || !self.is_entry_ours(id, info, wanted, &entry) && !self.is_empty(id, info, wanted, &entry)
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

    /// Marks in no declared partition. (Those in other entries are left out when they are cleared.)
    pub(super) fn in_gaps(&self, wanted: DiskIndex, marks: &[Found]) -> Vec<(u64, u64)> {
        let map = self.program.map(wanted);
        let declared = |at: u64, end: u64| map.iter().any(|e| e.kind != 0 && u64::from(e.start) < end && at < e.end());
        let places = marks.iter().map(|found| (found.at.0, found.sectors));
        places.filter(|&(at, sectors)| at > 0 && !declared(at, at.saturating_add(sectors))).collect()
    }
}
