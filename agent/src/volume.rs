//! A partition, read and written below any filesystem.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use knownstate_core::machine::IoError;
use knownstate_core::media::filesystem::Volume;
use knownstate_core::units::{Offset, SECTOR, SectorCount};
use rustix::fs::OFlags;

/// Bytes read at once, and kept for the next question: structures stand close to each other.
const WINDOW: usize = 64 * 1024;

/// Flags of `open(2)` as the standard library takes them.
pub fn flags(flags: OFlags) -> i32 {
    flags.bits() as i32
}

/// Memory that `O_DIRECT` can read into: aligned to every block size there is.
#[repr(align(4096))]
struct Aligned([u8; WINDOW]);

/// A block device, read past the kernel's cache where that is possible: what was written through the
/// filesystem is on the disk after `sync`, and not always in the device's cache.
pub struct Device {
    file: File,
    sectors: u64,
    window: Box<Aligned>,
    /// The window's first sector, and how many of its sectors were read.
    at: u64,
    held: u64,
}

impl Device {
    /// Opens a device, or a file that holds a filesystem, for reading.
    pub fn open(path: &Path) -> io::Result<Self> {
        let direct = OpenOptions::new().read(true).custom_flags(flags(OFlags::DIRECT)).open(path);
        let mut device = Self::of(direct.or_else(|_| File::open(path))?)?;
        if device.fill(0).is_err() {
            // A device with larger sectors, say, takes no direct read of ours.
            device.file = File::open(path)?;
        }
        device.held = 0;
        Ok(device)
    }

    /// A device that is open already.
    pub fn of(mut file: File) -> io::Result<Self> {
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR as u64;
        Ok(Self { file, sectors, window: Box::new(Aligned([0; WINDOW])), at: 0, held: 0 })
    }

    /// Writes one sector in place, flushes it, and reads it back from the disk.
    pub fn write(&mut self, at: Offset, sector: &[u8; SECTOR]) -> io::Result<()> {
        self.held = 0;
        if at.0 >= self.sectors {
            return Err(io::Error::other("the sector is not on the device"));
        }
        let place = &mut self.window.0[..SECTOR];
        place.copy_from_slice(sector);
        self.file.write_all_at(place, at.0 * SECTOR as u64)?;
        self.file.sync_all()?;
        place.fill(0);
        self.file.read_exact_at(place, at.0 * SECTOR as u64)?;
        if place == sector {
            return Ok(());
        }
        Err(io::Error::other("what was read back is not what was written"))
    }

    fn fill(&mut self, first: u64) -> io::Result<()> {
        self.held = 0;
        let sectors = (self.sectors - first).min((WINDOW / SECTOR) as u64);
        self.file.read_exact_at(&mut self.window.0[..sectors as usize * SECTOR], first * SECTOR as u64)?;
        (self.at, self.held) = (first, sectors);
        Ok(())
    }
}

impl Volume for Device {
    fn length(&self) -> SectorCount {
        SectorCount(self.sectors)
    }

    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        for (sector, place) in (at.0..).zip(into.chunks_mut(SECTOR)) {
            if sector >= self.sectors {
                return Err(IoError::OutOfRange);
            }
            if !(self.at..self.at + self.held).contains(&sector) {
                let first = sector - sector % (WINDOW / SECTOR) as u64;
                self.fill(first).map_err(|_| IoError::Status(0))?;
            }
            let from = (sector - self.at) as usize * SECTOR;
            place.copy_from_slice(&self.window.0[from..from + place.len()]);
        }
        Ok(())
    }
}
