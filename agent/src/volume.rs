//! A mounted filesystem's partition, read below the filesystem.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use knownstate_core::machine::IoError;
use knownstate_core::media::filesystem::Volume;
use knownstate_core::units::{Offset, SECTOR, SectorCount};

use crate::copies::{O_DIRECT, unescape};

/// Bytes read at once, and kept for the next question: structures stand close to each other.
const WINDOW: usize = 64 * 1024;

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
    /// Opens a device, or a file that holds a filesystem.
    pub fn open(path: &Path) -> io::Result<Self> {
        let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT).open(path);
        let mut file = direct.or_else(|_| File::open(path))?;
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR as u64;
        let mut device = Self { file, sectors, window: Box::new(Aligned([0; WINDOW])), at: 0, held: 0 };
        if device.fill(0).is_err() {
            // A device with larger sectors, say, takes no direct read of ours.
            device.file = File::open(path)?;
        }
        device.held = 0;
        Ok(device)
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

/// The device that is mounted at `point`.
///
/// # Errors
/// That none is, in words.
pub fn device_of(point: &Path) -> Result<PathBuf, String> {
    let wanted = fs::metadata(point).map_err(|e| format!("{}: {e}", point.display()))?.dev();
    // proc(5): ID, parent, major:minor, root within the filesystem, mount point, options, more of them, a
    // dash, type, source.
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
    for line in mounts.lines() {
        let (Some(fields), Some(rest)) = (line.split(" - ").next(), line.split(" - ").nth(1)) else { continue };
        let mounted = fields.split(' ').nth(4).map(|field| PathBuf::from(unescape(field)));
        let source = rest.split(' ').nth(1).map(|field| PathBuf::from(unescape(field)));
        let (Some(mounted), Some(source)) = (mounted, source) else { continue };
        if fs::metadata(&mounted).is_ok_and(|m| m.dev() == wanted) && source.is_absolute() && source.exists() {
            return Ok(source);
        }
    }
    Err(format!("{}: no block device is mounted there", point.display()))
}
