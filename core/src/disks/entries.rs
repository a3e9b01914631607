//! Every entry of a disk's partition table, those of extended partitions too, each read by itself.
//!
//! For the question whose a disk is: one entry that makes no sense must hide neither the others nor the disk
//! signature. So nothing is checked here but what keeps the reading bounded. (Layout of extended partitions: UEFI
//! specification 2.10 section 5.2.1 and Linux block/partitions/msdos.c: each table's links count from the first
//! extended partition on, its partitions from the table itself on.)

use alloc::vec;
use alloc::vec::Vec;

use crate::disks::claim::Kept;
use crate::machine::{DiskId, IoError, Machine};
use crate::media::marks::is_extended;
use crate::media::mbr::Mbr;
use crate::units::{Lba, SECTOR};

/// As many tables of a chain are read: Linux numbers no more partitions of a disk than these.
const MAX_TABLES: usize = 64;
/// As many entries are listed.
const MAX_ENTRIES: usize = 128;

/// The entries, and the first table that could not be read.
pub(super) struct Listed {
    pub entries: Vec<Kept>,
    pub unreadable: Option<(Lba, IoError)>,
}

/// Lists the entries of this MBR. A table of a chain may stand in any slot, before or behind the one that leads
/// to it, and any number of times.
#[inline(never)]
pub(super) fn list(machine: &mut dyn Machine, disk: DiskId, sectors: u64, mbr: &Mbr) -> Listed {
    let mut listed = Listed { entries: Vec::new(), unreadable: None };
    // Tables that are still to be read, each with the extended partition from which its links count.
    let mut tables: Vec<(u64, u64)> = Vec::new();
    add(&mut listed.entries, mbr, true, 0, sectors, &mut |start| tables.push((start, start)));
    let mut seen = vec![0];
    while let Some((at, base)) = tables.pop() {
        if seen.len() > MAX_TABLES || seen.contains(&at) {
            continue;
        }
        seen.push(at);
        let mut sector = [0; SECTOR];
        match machine.read_disk(disk, Lba(at), &mut sector) {
            Err(error) => {
                listed.unreadable.get_or_insert((Lba(at), error));
            }
            Ok(()) => {
                let Ok(table) = Mbr::parse(&sector) else { continue };
                let link = &mut |start: u64| {
                    // From the first extended partition on, as everybody writes it; and from the table itself on,
                    // as some have.
                    for from in [base, at] {
                        tables.extend(from.checked_add(start).filter(|&t| t < sectors).map(|t| (t, base)));
                    }
                };
                add(&mut listed.entries, &table, false, at, sectors, link);
            }
        }
    }
    listed
}

/// Adds a table's entries that begin on the disk, and gives the starts of those that lead to further tables.
fn add(entries: &mut Vec<Kept>, table: &Mbr, primary: bool, at: u64, disk_sectors: u64, link: &mut dyn FnMut(u64)) {
    for (slot, entry) in table.entries().iter().enumerate().filter(|(_, entry)| entry.kind != 0) {
        if is_extended(entry.kind) {
            link(entry.start.into());
        }
        let start = at + u64::from(entry.start);
        let wanted = primary || !is_extended(entry.kind);
        if wanted && start < disk_sectors && entries.len() < MAX_ENTRIES {
            let slot = primary.then_some(slot);
            let raw = table.raw_entry(slot.unwrap_or(0));
            entries.push(Kept { slot, raw, kind: entry.kind, start, sectors: entry.sectors.into() });
        }
    }
}
