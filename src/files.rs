//! Files as the media that core reads.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use knownstate_core::event::Event;
use knownstate_core::machine::{DiskId, DiskInfo, IoError, Machine};
use knownstate_core::media::filesystem::Volume;
use knownstate_core::media::region::Write;
use knownstate_core::units::{CD_SECTOR, CdSector, Lba, Offset, SECTOR, SectorCount};

/// A part of a file that holds a filesystem; only read.
pub struct FileVolume {
    file: File,
    /// Where it begins, in 512-byte sectors.
    first: u64,
    sectors: u64,
}

impl FileVolume {
    /// The whole file.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, bytes) = open(path)?;
        Ok(Self { file, first: 0, sectors: bytes / SECTOR as u64 })
    }

    /// `sectors` sectors of it from `first` on.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn part(path: &Path, first: u64, sectors: u64) -> Result<Self> {
        let (file, _) = open(path)?;
        Ok(Self { file, first, sectors })
    }
}

fn open(path: &Path) -> Result<(File, u64)> {
    let mut file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
    // The metadata of a block device do not tell its size.
    let bytes = file.seek(SeekFrom::End(0)).with_context(|| format!("can't read {}", path.display()))?;
    Ok((file, bytes))
}

impl Volume for FileVolume {
    fn length(&self) -> SectorCount {
        SectorCount(self.sectors)
    }

    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        let end = at.0.checked_add((into.len() / SECTOR) as u64).ok_or(IoError::OutOfRange)?;
        if end > self.sectors {
            return Err(IoError::OutOfRange);
        }
        read_at(&self.file, (self.first + at.0) * SECTOR as u64, into)
    }
}

fn read_at(file: &File, at: u64, into: &mut [u8]) -> Result<(), IoError> {
    file.read_exact_at(into, at).map_err(|_| IoError::OutOfRange)
}

/// A machine that has nothing but one file, as its CD and as its disk: enough to look into an ISO, or at a disk.
/// Nothing is ever written.
pub struct IsoFile {
    file: File,
    sectors: u64,
}

impl IsoFile {
    /// Its one disk.
    pub const DISK: DiskId = DiskId(0);

    /// The ISO, or the disk, in a file; or the disk that a block device is.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, bytes) = open(path)?;
        Ok(Self { file, sectors: bytes / SECTOR as u64 })
    }

    /// Its size in whole 512-byte sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.sectors
    }
}

impl Machine for IsoFile {
    fn disks(&mut self) -> Vec<DiskInfo> {
        vec![DiskInfo { drive: 0x80, sectors: self.sectors, boot_medium: false, writable: false, removable: false }]
    }
    fn read_disk(&mut self, _: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        let end = at.0.checked_add((into.len() / SECTOR) as u64).filter(|&end| end <= self.sectors);
        end.ok_or(IoError::OutOfRange)?;
        read_at(&self.file, at.0 * SECTOR as u64, into)
    }
    fn write_disk(&mut self, _: &Write<'_>) -> Result<(), IoError> {
        Err(IoError::Unsupported)
    }
    fn read_cd(&mut self, at: CdSector, into: &mut [u8]) -> Result<(), IoError> {
        read_at(&self.file, u64::from(at.0) * CD_SECTOR as u64, into)
    }
    fn now(&mut self) -> u64 {
        0
    }
    fn tell(&mut self, _: &Event<'_>) {}
    fn key_pressed(&mut self) -> bool {
        false
    }
    fn pause(&mut self) {}
    fn beep(&mut self, _: u8) {}
}
