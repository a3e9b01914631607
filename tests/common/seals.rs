//! Seals written into a restored partition, as `bstate seal` writes them; and what a partition's sectors are.

use knownstate_core::hash::hash;
use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::machine::IoError;
use knownstate_core::media::filesystem::{Filesystem, Volume};
use knownstate_core::table::SEALS;
use knownstate_core::table::write::{chunks, names, seal};
use knownstate_core::units::{Offset, SECTOR, SectorCount};

use super::machine::Pc;

/// Bytes as something that a filesystem can be looked for on.
pub struct Bytes<'a>(pub &'a [u8]);

impl Volume for Bytes<'_> {
    fn length(&self) -> SectorCount {
        SectorCount((self.0.len() / SECTOR) as u64)
    }

    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        let from = at.0 as usize * SECTOR;
        into.copy_from_slice(self.0.get(from..from + into.len()).ok_or(IoError::OutOfRange)?);
        Ok(())
    }
}

pub fn layout(bytes: &[u8]) -> Layout {
    Layout::of(&mut Bytes(bytes)).unwrap()
}

/// The disk's sectors of a file in the root directory of the partition that begins at `start`.
pub fn sectors_of(bytes: &[u8], start: u64, file: &str) -> Vec<u64> {
    let volume = &mut Bytes(bytes);
    let map = Filesystem::open(volume).unwrap().extents(volume, file).unwrap();
    map.runs.iter().flat_map(|&(at, sectors)| start + at.0..start + at.0 + sectors).collect()
}

/// What a partition holds, with a place on the disk.
pub struct Part {
    pub start: u64,
    pub bytes: Vec<u8>,
}

impl Part {
    pub fn read(pc: &Pc, (start, sectors): (u64, u64)) -> Self {
        Self { start, bytes: pc.disks[0].bytes(start..start + sectors) }
    }

    /// A seal of it as it is.
    pub fn seal(&self, sequence: u64, protect: &Protect) -> Vec<u8> {
        let layout = layout(&self.bytes);
        let chunks = chunks(&layout, protect).unwrap();
        let content =
            |first: u64, sectors: u16| &self.bytes[first as usize * SECTOR..][..usize::from(sectors) * SECTOR];
        let protected = chunks.iter().filter(|c| c.protected);
        let entries: Vec<_> = protected.map(|c| c.entry(content(c.first, c.sectors))).collect();
        let names = names(&layout, protect);
        let length = SectorCount((self.bytes.len() / SECTOR) as u64);
        seal(sequence, &entries, names.as_bytes(), length, |_, _| [0; 32])
    }

    /// The sectors that a seal goes to and what they get, in the order in which they are written: the header
    /// last.
    pub fn placed(&self, file: &str, seal: &[u8]) -> Vec<(u64, [u8; SECTOR])> {
        let sectors = sectors_of(&self.bytes, self.start, file);
        assert!(sectors.len() * SECTOR >= seal.len(), "{file} is too short for a seal of {} bytes", seal.len());
        let content = seal.as_chunks::<SECTOR>().0.iter().copied();
        let mut placed: Vec<_> = sectors.into_iter().zip(content).collect();
        placed.rotate_left(1);
        placed
    }
}

/// Seals a partition as it is: into this file, with this sequence.
pub fn put_seal(pc: &mut Pc, place: (u64, u64), file: &str, sequence: u64, protect: &Protect) {
    let part = Part::read(pc, place);
    for (sector, content) in part.placed(file, &part.seal(sequence, protect)) {
        pc.disks[0].poke(sector * SECTOR as u64, &content);
    }
}

/// Takes a partition's seals away, the one that it was shipped with too: the CD's image counts then.
pub fn void_seals(pc: &mut Pc, place: (u64, u64)) {
    let part = Part::read(pc, place);
    for file in SEALS {
        pc.disks[0].poke(sectors_of(&part.bytes, part.start, file)[0] * SECTOR as u64, &[0; SECTOR]);
    }
}

/// Gives a seal's block, whose first byte is `block`, the hash that it should have after a change.
pub fn rehash(block: &mut [u8], sequence: u64, number: u64) {
    let own = hash(sequence.rotate_left(32) ^ number, &block[..SECTOR - 8]);
    block[SECTOR - 8..].copy_from_slice(&own.to_le_bytes());
}
