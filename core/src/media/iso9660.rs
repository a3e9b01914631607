//! The boot medium: ISO 9660.
//!
//! Layouts: ECMA-119 (ISO 9660), sections 8.4 "Primary Volume Descriptor" and 9.1 "Format of a
//! Directory Record".

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::machine::{IoError, Machine};
use crate::units::{CD_SECTOR, CdSector};

/// The primary volume descriptor's sector (section 6.2.1: after 16 sectors of system area).
pub(crate) const PRIMARY_VOLUME_DESCRIPTOR: CdSector = CdSector(16);
/// The largest directory that is read: 256 KiB, some 5,000 files.
const MAX_DIRECTORY_BYTES: u32 = 256 * 1024;
/// A file longer than 4 GiB has several records (section 6.5.1); this many cover 64 GiB and more.
const MAX_EXTENTS: usize = 32;

/// Why a file on the CD can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CdError {
    /// A sector could not be read.
    Io(CdSector, IoError),
    /// It is no ISO 9660 medium, or a field has an impossible value; the field's name.
    Corrupt(&'static str),
    /// No such file; its path.
    NotFound(String),
    /// Longer than the caller takes; its path and the limit in bytes.
    TooLong(String, usize),
}

impl fmt::Display for CdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(at, error) => write!(f, "{at}: {error}"),
            Self::Corrupt(field) => write!(f, "CD damaged: {field}"),
            Self::NotFound(path) => write!(f, "no {path} on the CD"),
            Self::TooLong(path, limit) => write!(f, "{path} is longer than {limit} bytes"),
        }
    }
}

/// Consecutive sectors of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    at: u32,
    bytes: u32,
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdFile {
    extents: Vec<Extent>,
    directory: bool,
}

impl CdFile {
    /// A whole medium of so many bytes as one file.
    #[must_use]
    pub fn medium(bytes: u64) -> Self {
        // Pieces whose length is a multiple of a sector and fits 32 bits.
        const PIECE: u64 = 1 << 31;
        let piece = |n: u64| Extent {
            at: u32::try_from(n * PIECE / CD_SECTOR as u64).unwrap_or(u32::MAX),
            bytes: u32::try_from((bytes - n * PIECE).min(PIECE)).unwrap_or(0),
        };
        Self { extents: (0..bytes.div_ceil(PIECE)).map(piece).collect(), directory: false }
    }

    /// Its first sector; nothing of an empty file.
    #[must_use]
    pub(crate) fn first(&self) -> Option<CdSector> {
        self.extents.first().map(|extent| CdSector(extent.at))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|e| u64::from(e.bytes)).sum()
    }

    /// Reads whole CD sectors from byte `at` of the file, which is a multiple of 2048; what lies past
    /// the file's end in its last sector is whatever the medium has there.
    ///
    /// # Errors
    /// When a sector can't be read or lies outside.
    pub fn read(&self, machine: &mut dyn Machine, at: u64, into: &mut [u8]) -> Result<(), CdError> {
        let mut skip = at;
        let mut rest = into;
        for extent in &self.extents {
            let length = u64::from(extent.bytes).next_multiple_of(CD_SECTOR as u64);
            if skip >= length {
                skip -= length;
                continue;
            }
            let here = usize::try_from(length - skip).unwrap_or(usize::MAX).min(rest.len());
            let sector = u64::from(extent.at) + skip / CD_SECTOR as u64;
            let sector = CdSector(u32::try_from(sector).map_err(|_| CdError::Corrupt("extent"))?);
            let (now, later) = rest.split_at_mut(here);
            machine.read_cd(sector, now).map_err(|error| CdError::Io(sector, error))?;
            rest = later;
            skip = 0;
            if rest.is_empty() {
                return Ok(());
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(CdError::Corrupt("read past the end of a file")) }
    }
}

/// The directory tree of the boot medium.
#[derive(Clone, Debug)]
pub struct Iso {
    /// The root directory's bytes: every file that a normal boot needs is in it.
    root: Vec<u8>,
}

impl Iso {
    /// Reads the primary volume descriptor and the root directory.
    ///
    /// # Errors
    /// When it can't be read or is none.
    pub fn open(machine: &mut dyn Machine) -> Result<Self, CdError> {
        let mut sector = [0; CD_SECTOR];
        let at = PRIMARY_VOLUME_DESCRIPTOR;
        machine.read_cd(at, &mut sector).map_err(|error| CdError::Io(at, error))?;
        if sector[..6] != *b"\x01CD001" {
            return Err(CdError::Corrupt("no primary volume descriptor"));
        }
        // Section 8.4.12: logical block size; 8.4.18: the root's directory record at byte 157.
        if usize::from(u16_at(&sector, 128)) != CD_SECTOR {
            return Err(CdError::Corrupt("logical block size is not 2048"));
        }
        let root = Extent { at: u32_at(&sector, 156 + 2), bytes: u32_at(&sector, 156 + 10) };
        let root = directory(machine, &CdFile { extents: vec![root], directory: true })?;
        Ok(Self { root })
    }

    /// Finds `path`, its parts separated by `/`. Case does not matter, since mastering tools differ
    /// in what they make of it, and neither do version numbers.
    ///
    /// # Errors
    /// [`CdError::NotFound`], or why a directory can't be read.
    pub fn find(&self, machine: &mut dyn Machine, path: &str) -> Result<CdFile, CdError> {
        let not_found = || CdError::NotFound(String::from(path));
        let mut parts = path.split('/');
        let first = parts.next().unwrap_or_default();
        let mut here = lookup(&self.root, first).ok_or_else(not_found)?;
        for part in parts {
            if !here.directory {
                return Err(not_found());
            }
            here = lookup(&directory(machine, &here)?, part).ok_or_else(not_found)?;
        }
        if here.directory { Err(not_found()) } else { Ok(here) }
    }

    /// Reads a small file whole.
    ///
    /// # Errors
    /// As [`Iso::find`]; [`CdError::TooLong`] when it has more than `limit` bytes.
    pub fn read_file(&self, machine: &mut dyn Machine, path: &str, limit: usize) -> Result<Vec<u8>, CdError> {
        let file = self.find(machine, path)?;
        let bytes = usize::try_from(file.bytes()).unwrap_or(usize::MAX);
        if bytes > limit {
            return Err(CdError::TooLong(String::from(path), limit));
        }
        let mut data = vec![0; bytes.next_multiple_of(CD_SECTOR)];
        file.read(machine, 0, &mut data)?;
        data.truncate(bytes);
        Ok(data)
    }
}

/// How many sectors the volume has, by its primary volume descriptor (section 8.4.8).
pub(crate) fn volume_sectors(descriptor: &[u8]) -> u32 {
    u32_at(descriptor, 80)
}

/// A directory's bytes.
fn directory(machine: &mut dyn Machine, file: &CdFile) -> Result<Vec<u8>, CdError> {
    let bytes = u32::try_from(file.bytes()).unwrap_or(u32::MAX);
    if bytes == 0 || bytes > MAX_DIRECTORY_BYTES {
        return Err(CdError::Corrupt("a directory's length"));
    }
    let mut listing = vec![0; (bytes as usize).next_multiple_of(CD_SECTOR)];
    file.read(machine, 0, &mut listing)?;
    Ok(listing)
}

/// The file or directory named `name` in a directory's bytes. A file of several extents has as many
/// records in a row, all but the last with the flag 80h (section 9.1.6).
fn lookup(listing: &[u8], name: &str) -> Option<CdFile> {
    let mut extents = Vec::new();
    // A record never crosses a sector (section 6.8.1.1); a length of 0 fills the rest of one.
    for sector in listing.chunks(CD_SECTOR) {
        let mut at = 0;
        while let Some(record) = record_at(sector, at) {
            at += record.len();
            let identifier = record.get(33..33 + usize::from(u8_at(record, 32)))?;
            if !same_name(identifier, name) {
                continue;
            }
            extents.push(Extent { at: u32_at(record, 2), bytes: u32_at(record, 10) });
            let flags = u8_at(record, 25);
            if flags & 0x80 == 0 || extents.len() >= MAX_EXTENTS {
                return Some(CdFile { extents, directory: flags & 2 != 0 });
            }
        }
    }
    None
}

/// The record at byte `at` of a directory's sector.
fn record_at(sector: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(*sector.get(at)?);
    if length < 34 { None } else { sector.get(at..at + length) }
}

/// Whether a file identifier (`NAME.EXT;1`, perhaps `NAME.;1`) means `name`.
fn same_name(identifier: &[u8], name: &str) -> bool {
    let plain = identifier.split(|&b| b == b';').next().unwrap_or(identifier);
    let plain = plain.strip_suffix(b".").unwrap_or(plain);
    plain.eq_ignore_ascii_case(name.as_bytes())
}
