//! Windows on a disk. A write fits inside one or it does not exist.
//!
//! [`crate::machine::Machine::write_disk`] takes a [`Write`], a [`Write`] is only made by a
//! [`Region`], and a [`Region`] is only cut from a disk that was found to be the declared one (see
//! [`crate::disks`]). So no code can write elsewhere, however wrong its arithmetic is.

use alloc::vec;
use alloc::vec::Vec;

use crate::defects::{Defect, seeded};
use crate::machine::{DiskId, IoError, Machine};
use crate::media::filesystem::Volume;
use crate::media::marks::{self, Found, On};
use crate::units::{Lba, Offset, SECTOR, SectorCount};

/// Whole sectors on their way to a disk. Its fields are private and only a region makes one.
pub struct Write<'a> {
    disk: DiskId,
    at: Lba,
    data: &'a [u8],
}

impl<'a> Write<'a> {
    /// The disk.
    #[must_use]
    pub fn disk(&self) -> DiskId {
        self.disk
    }
    /// The first sector, counted from the beginning of the disk.
    #[must_use]
    pub fn at(&self) -> Lba {
        self.at
    }
    /// Whole sectors of 512 bytes.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

/// How often something is written that reads back differently: what was lost once need not be lost again. (What
/// the firmware itself reports is for the machine to retry.)
const TRIES: usize = 3;

/// What may be written in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    All,
    /// The sector of bstate.txt, by [`Region::write_state`].
    State,
    /// Nothing: it is only read.
    Nothing,
}

/// Consecutive sectors of one disk, and what may be written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    disk: DiskId,
    first: Lba,
    length: SectorCount,
    access: Access,
}

impl Region {
    /// For [`crate::disks`] alone: the caller has found the disk to be the declared one, and the
    /// sectors to be declared, or else it gives no access.
    pub(crate) fn cut(disk: DiskId, first: Lba, length: SectorCount, access: Access) -> Self {
        Self { disk, first, length, access }
    }

    /// How long it is, in 512-byte sectors.
    #[must_use]
    pub fn length(&self) -> SectorCount {
        self.length
    }

    /// The disk's sector where `bytes` bytes from `at` on begin, if all of them lie inside.
    fn place(&self, at: Offset, bytes: usize) -> Result<Lba, IoError> {
        let sectors = (bytes / SECTOR) as u64;
        let end = at.0.checked_add(sectors).ok_or(IoError::OutOfRange)?;
        if end > self.length.0 || !bytes.is_multiple_of(SECTOR) {
            return Err(IoError::OutOfRange);
        }
        self.first.0.checked_add(at.0).map(Lba).ok_or(IoError::OutOfRange)
    }

    /// Reads whole sectors.
    ///
    /// # Errors
    /// The machine's, or [`IoError::OutOfRange`].
    pub fn read(&self, machine: &mut dyn Machine, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        let lba = self.place(at, into.len())?;
        machine.read_disk(self.disk, lba, into)
    }

    /// Writes whole sectors, reads them back, and compares.
    ///
    /// INT 13h has no flush and some firmware reports success for writes that did not happen, so the
    /// firmware's word is never taken for it. What differs is written again, [`TRIES`] times in all.
    ///
    /// # Errors
    /// The machine's, [`IoError::OutOfRange`], [`IoError::ReadBack`], or [`IoError::Forbidden`].
    pub fn write(&self, machine: &mut dyn Machine, at: Offset, data: &[u8]) -> Result<(), IoError> {
        self.write_using(machine, at, data, &mut vec![0; data.len()])
    }

    /// The same with a buffer, at least as long as `data`, to read back into.
    ///
    /// # Errors
    /// As [`Region::write`].
    pub fn write_using(
        &self,
        machine: &mut dyn Machine,
        at: Offset,
        data: &[u8],
        back: &mut [u8],
    ) -> Result<(), IoError> {
        if self.access == Access::All { self.put(machine, at, data, back) } else { Err(IoError::Forbidden) }
    }

    /// Writes the sector of bstate.txt, as [`Region::write`]. That may be written where nothing else may.
    ///
    /// # Errors
    /// As [`Region::write`].
    pub fn write_state(&self, machine: &mut dyn Machine, at: Offset, sector: &[u8; SECTOR]) -> Result<(), IoError> {
        let allowed = self.access != Access::Nothing;
        if allowed { self.put(machine, at, sector, &mut [0; SECTOR]) } else { Err(IoError::Forbidden) }
    }

    #[inline(never)]
    fn put(&self, machine: &mut dyn Machine, at: Offset, data: &[u8], back: &mut [u8]) -> Result<(), IoError> {
        let lba = self.place(at, data.len())?;
        let back = back.get_mut(..data.len()).ok_or(IoError::ReadBack)?;
        for _ in 0..TRIES {
            let written = machine.write_disk(&Write { disk: self.disk, at: lba, data });
            if seeded(Defect::WriteErrorIgnored) {
                return Ok(());
            }
            written?;
            if cfg!(feature = "bench-no-read-back") || seeded(Defect::NoReadBack) {
                return Ok(());
            }
            machine.read_disk(self.disk, lba, back)?;
            if knownstate_hot::same(back, data) {
                return Ok(());
            }
        }
        Err(IoError::ReadBack)
    }

    /// Marks of somebody's on what is there: the first sector of each, from the region's beginning, and sectors.
    /// What could not be read yields none. So many sectors at the beginning are known to have none.
    pub(crate) fn marks(&self, machine: &mut dyn Machine, blank: u64) -> Vec<(Offset, u64)> {
        let (disk, first, length) = (self.disk, self.first, self.length.0);
        let marks = marks::look_between(machine, disk, first, length, (blank, 0), On::Partition);
        let place = |found: &Found| Some((Offset(found.at.0.checked_sub(self.first.0)?), found.sectors));
        marks.found.iter().filter_map(place).collect()
    }

    /// The same sectors as something that a filesystem can be looked for on.
    pub fn volume<'a>(&'a self, machine: &'a mut dyn Machine) -> RegionVolume<'a> {
        RegionVolume { region: self, machine }
    }
}

/// A region with the machine to read it by.
pub struct RegionVolume<'a> {
    region: &'a Region,
    machine: &'a mut dyn Machine,
}

impl Volume for RegionVolume<'_> {
    fn length(&self) -> SectorCount {
        self.region.length
    }
    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        self.region.read(self.machine, at, into)
    }
}
