//! The list of hard disks, made once.

use crate::bios::int13::{self, Parameters};
use crate::bounce::Bounce;
use crate::drive::{Drive, Kind, Pace};
use crate::memory::bda;
use alloc::vec::Vec;
use knownstate_core::machine::{DiskInfo, IoError};
use knownstate_core::units::SECTOR;

/// The first hard disk.
const FIRST: u8 = 0x80;

/// No more are looked for. iPXE reports 97.
const MOST: u8 = 16;

/// Two absent numbers end the search: some BIOSes answer for numbers that don't exist, and some hang.
const GAP: u8 = 2;

/// A sector number with one of these bits set lands in the wrong place where firmware has fewer bits.
const WIDTHS: [u32; 4] = [16, 24, 28, 32];

/// The sector whose image is looked for beyond such a bit: the MBR, which stands nowhere else. (Not a
/// partition's beginning: two copies of one system may well stand a power of two apart.)
const WITNESS: u64 = 0;

/// A hard disk.
pub struct Disk {
    /// What core is told.
    pub info: DiskInfo,
    /// How it is reached.
    pub drive: Drive,
    /// Whether it was written to in this run.
    pub written: bool,
    /// How many of [`WIDTHS`] were found to be true.
    proven: usize,
}

/// Looks for hard disks: reads nothing from them, writes nothing to them.
pub fn find(boot_drive: u8) -> Vec<Disk> {
    let count = bda::<u8>(0x75).min(MOST);
    let (mut found, mut absent) = (Vec::new(), 0);
    for number in FIRST..FIRST + count {
        match probe(number, boot_drive) {
            Some(disk) => {
                found.push(disk);
                absent = 0;
            }
            None => absent += 1,
        }
        if absent == GAP {
            break;
        }
    }
    found
}

/// One number. A drive that counts in other than 512-byte sectors is a CD, or a disk that this BIOS can't
/// boot from anyway.
fn probe(number: u8, boot_drive: u8) -> Option<Disk> {
    if !int13::has_extensions(number) {
        return None;
    }
    let parameters = int13::parameters(number)?;
    if usize::from(parameters.sector_bytes) != SECTOR {
        return None;
    }
    let boot_medium = number == boot_drive;
    let Parameters { sectors, removable, .. } = parameters;
    let info = DiskInfo { drive: number, sectors, boot_medium, writable: !boot_medium, removable };
    let drive = Drive { number, kind: Kind::HardDisk, block: SECTOR, pace: Pace::of_blocks(SECTOR), failed: false };
    Some(Disk { info, drive, written: false, proven: 0 })
}

impl Disk {
    /// Reads whole sectors.
    pub fn read(&mut self, bounce: &mut Bounce, at: u64, into: &mut [u8]) -> Result<(), IoError> {
        self.check(at, into.len())?;
        self.drive.read(bounce, at, into)
    }

    /// Writes whole sectors.
    pub fn write(&mut self, bounce: &mut Bounce, at: u64, data: &[u8]) -> Result<(), IoError> {
        if !self.info.writable {
            return Err(IoError::Unsupported);
        }
        self.check(at, data.len())?;
        self.check_width(bounce, at + (data.len() / SECTOR) as u64 - 1)?;
        self.written = true;
        self.drive.write(bounce, at, data)
    }

    /// Firmware checks the first sector of a transfer at most; the rest is for us to check.
    fn check(&self, at: u64, length: usize) -> Result<(), IoError> {
        let count = (length / SECTOR) as u64;
        let inside = at.checked_add(count).is_some_and(|end| end <= self.info.sectors);
        if inside && length != 0 && length.is_multiple_of(SECTOR) { Ok(()) } else { Err(IoError::OutOfRange) }
    }

    /// Firmware that drops high bits of a sector number would have us write over the MBR. Before the
    /// first write beyond each width, what stands there must differ from what stands at the place
    /// without the bit; blank sectors prove nothing either way, and are let pass.
    fn check_width(&mut self, bounce: &mut Bounce, last: u64) -> Result<(), IoError> {
        while let Some(&width) = WIDTHS.get(self.proven) {
            if last < 1 << width {
                break;
            }
            if self.wraps_at(bounce, width)? {
                return Err(IoError::Unsupported);
            }
            self.proven += 1;
        }
        Ok(())
    }

    fn wraps_at(&mut self, bounce: &mut Bounce, width: u32) -> Result<bool, IoError> {
        let (mut low, mut high) = ([0; SECTOR], [0; SECTOR]);
        self.drive.read(bounce, WITNESS | 1 << width, &mut high)?;
        if high.iter().all(|&byte| byte == high[0]) {
            return Ok(false);
        }
        self.drive.read(bounce, WITNESS, &mut low)?;
        Ok(low == high)
    }

    /// Makes the disk write what it may still hold in its cache, as far as that can be done without a
    /// flush, which the BIOS does not have: by a read far from anything that was written.
    pub fn settle(&mut self, bounce: &mut Bounce) {
        let mut sector = [0; SECTOR];
        let _ = self.drive.read(bounce, self.info.sectors - 1, &mut sector);
        self.written = false;
    }
}
