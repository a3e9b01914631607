//! The reader of partition tables that the suite believes, and a writer of odd ones. Layout: UEFI specification 2.10
//! section 5.2.1 for the entries; extended partitions as Linux reads them (block/partitions/msdos.c).

use std::collections::BTreeSet;
use std::path::Path;

use super::file::{peek, poke};

/// An entry that has a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The first sector, on the disk.
    pub start: u64,
    pub sectors: u64,
    pub kind: u8,
    /// The slot in sector 0, from 0; none for a logical one.
    pub slot: Option<usize>,
}

impl Entry {
    pub fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }

    pub fn end(&self) -> u64 {
        self.start + self.sectors
    }

    /// Whether it has a sector of these.
    pub fn meets(&self, start: u64, sectors: u64) -> bool {
        self.start < start + sectors && start < self.end()
    }
}

/// The types of containers that anybody has used.
pub const EXTENDED: [u8; 8] = [0x05, 0x0F, 0x85, 0x15, 0x1F, 0xC5, 0xD5, 0xCF];

/// The entries of sector 0, whatever is wrong with one of them; none without 55AA.
pub fn primary(disk: &Path) -> Vec<Entry> {
    entries(&peek(disk, 0, 512), 0, 0)
}

/// Those, and the logical ones of every container, in whatever order and slot they are linked.
pub fn all(disk: &Path) -> Vec<Entry> {
    let mut found = primary(disk);
    for container in found.clone().into_iter().filter(Entry::is_extended) {
        found.extend(logical(disk, container.start));
    }
    found
}

fn logical(disk: &Path, container: u64) -> Vec<Entry> {
    let (mut visited, mut open, mut found) = (BTreeSet::new(), vec![container], Vec::new());
    while let Some(at) = open.pop().filter(|_| visited.len() < 256) {
        if !visited.insert(at) {
            continue;
        }
        let sector = peek(disk, at * 512, 512);
        open.extend(entries(&sector, container, 0).into_iter().filter(Entry::is_extended).map(|e| e.start));
        let partitions = entries(&sector, at, 0).into_iter().filter(|e| !e.is_extended() && e.sectors > 0);
        found.extend(partitions.map(|e| Entry { slot: None, ..e }));
    }
    found
}

fn entries(sector: &[u8], base: u64, first: usize) -> Vec<Entry> {
    if sector[510..] != [0x55, 0xAA] {
        return Vec::new();
    }
    let word = |at: usize| u64::from(u32::from_le_bytes(sector[at..at + 4].try_into().unwrap()));
    let entry = |slot: usize| {
        let at = 446 + 16 * slot;
        Entry { start: base + word(at + 8), sectors: word(at + 12), kind: sector[at + 4], slot: Some(first + slot) }
    };
    (0..4).map(entry).filter(|e| e.kind != 0).collect()
}

/// An entry's 16 bytes; the CHS fields say that they can't.
pub fn raw(status: u8, kind: u8, start: u64, sectors: u64) -> [u8; 16] {
    let mut entry = [status, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];
    entry[8..12].copy_from_slice(&(start as u32).to_le_bytes());
    entry[12..].copy_from_slice(&(sectors as u32).to_le_bytes());
    entry
}

/// Writes an entry into a slot of the table in sector `sector`, and its 55AA.
pub fn put(disk: &Path, sector: u64, slot: u64, entry: [u8; 16]) {
    poke(disk, sector * 512 + 446 + 16 * slot, &entry);
    poke(disk, sector * 512 + 510, &[0x55, 0xAA]);
}

/// How the sectors of a chain hang together.
#[derive(Clone, Copy)]
pub struct Chain<'a> {
    pub container: u64,
    /// The type of the links.
    pub kind: u8,
    /// The slots of the partition and of the link.
    pub slots: (u64, u64),
    /// Where each sector of it stands, in the order of the links, the container's own first; and its partition: first
    /// sector and length.
    pub links: &'a [(u64, u64, u64)],
}

impl Chain<'_> {
    pub fn write(&self, disk: &Path) {
        for (n, &(at, start, sectors)) in self.links.iter().enumerate() {
            poke(disk, at * 512, &[0; 512]);
            // Relative to the sector that it stands in, and so perhaps behind it.
            put(disk, at, self.slots.0, raw(0, 0x83, start.wrapping_sub(at), sectors));
            if let Some(&(next, _, sectors)) = self.links.get(n + 1) {
                put(disk, at, self.slots.1, raw(0, self.kind, next - self.container, sectors + 64));
            }
        }
    }
}

/// For a report: the table as other people print it, and as it is read here.
pub fn print(disk: &Path) -> String {
    let said = crate::common::tools::run("sfdisk", &["-d", disk.to_str().unwrap()]);
    let read: Vec<String> = all(disk)
        .iter()
        .map(|e| format!("{:?} {:02x} {} {}", e.slot.map(|n| n + 1), e.kind, e.start, e.sectors))
        .collect();
    format!("{}{}read: {}", said.out, said.err, read.join(", "))
}
