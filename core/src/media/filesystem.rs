//! A partition's filesystem, far enough to check its basics and to find one file's first sector.

use alloc::vec::Vec;
use core::fmt;

use crate::machine::IoError;
use crate::media::{ext::Ext, fat::Fat};
use crate::units::{Offset, SectorCount};

/// Something that a filesystem stands on: a partition, or an image file.
pub trait Volume {
    /// Its length in 512-byte sectors.
    fn length(&self) -> SectorCount;

    /// Reads whole sectors; `into` is a multiple of 512 bytes long.
    ///
    /// # Errors
    /// When any of them could not be read or lies outside.
    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError>;
}

/// Why a filesystem, or a file in it, can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsError {
    /// A sector could not be read.
    Io {
        /// Which one, from the volume's beginning.
        at: Offset,
        /// Why.
        error: IoError,
    },
    /// A field has a value that its specification does not allow; the field's name in it.
    Corrupt(&'static str),
    /// A valid filesystem with a feature that this program does not read; the feature's name.
    Unsupported(&'static str),
    /// Neither FAT nor ext2, ext3 or ext4.
    Unknown,
    /// The file is not where it was looked for.
    NotFound,
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { at, error } => write!(f, "sector {} of it: {error}", at.0),
            Self::Corrupt(field) => write!(f, "filesystem damaged: {field}"),
            Self::Unsupported(feature) => write!(f, "filesystem not supported: {feature}"),
            Self::Unknown => f.write_str("no FAT or ext filesystem"),
            Self::NotFound => f.write_str("no such file in the root directory"),
        }
    }
}

/// Where a file begins, checked: allocated, written, and at least one whole sector of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStart {
    /// Its first sector, from the volume's beginning.
    pub at: Offset,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Most pieces in which a file may lie for [`Filesystem::extents`]: their list has to fit a machine of
/// 16 MiB whatever the disk says.
pub(crate) const MAX_PIECES: usize = 4096;

/// Where all of a file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMap {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its pieces in the file's order: first sector from the volume's beginning, and sectors. Together as
    /// many sectors as hold the bytes, each inside the filesystem; neighbours are one piece.
    pub runs: Vec<(Offset, u64)>,
    /// Sectors of the blocks that only say where these are; nothing where that can't be told.
    pub overhead: Option<u64>,
}

impl FileMap {
    /// Whether a file of which only the sectors were known, `pieces` in the order of the disk, those that say where
    /// the others are among them, is this one and has not moved. `unit` is [`Filesystem::unit`].
    ///
    /// As many sectors, none anywhere else, and all in the order of the disk: a file that was written anew comes to
    /// that by getting its old place back, and then its parts stand where they stood.
    #[must_use]
    pub fn is_at(&self, pieces: &[(u64, u64)], unit: u64) -> bool {
        let runs =
            || self.runs.iter().map(|&(at, sectors)| (at.0, at.0.saturating_add(sectors.next_multiple_of(unit))));
        let inside = |(first, end)| pieces.iter().any(|&(from, behind)| from <= first && end <= behind);
        let sectors: u64 = runs().map(|(first, end)| end - first).sum();
        let known: u64 = pieces.iter().map(|(from, behind)| behind - from).sum();
        self.overhead.is_some_and(|overhead| sectors + overhead == known)
            && runs().all(inside)
            && runs().is_sorted_by(|a, b| a.1 <= b.0)
    }

    /// Adds `sectors` at the end.
    pub(super) fn push(&mut self, at: Offset, sectors: u64) -> Result<(), FsError> {
        let pieces = self.runs.len();
        match self.runs.last_mut() {
            Some(last) if last.0.0 + last.1 == at.0 => last.1 += sectors,
            _ if pieces >= MAX_PIECES => return Err(FsError::Unsupported("a file in too many pieces")),
            _ => self.runs.push((at, sectors)),
        }
        Ok(())
    }
}

/// A filesystem whose basics were found good.
pub enum Filesystem {
    /// FAT12, FAT16 or FAT32.
    Fat(Fat),
    /// ext2, ext3 or ext4.
    Ext(Ext),
}

impl Filesystem {
    /// Recognises and checks the filesystem on `volume`.
    ///
    /// # Errors
    /// When there is none, or its basics are damaged, unreadable, or not supported.
    pub fn open(volume: &mut dyn Volume) -> Result<Self, FsError> {
        // ext is looked for first: mkfs.ext4 leaves the boot sector alone, so an older FAT boot
        // sector may still stand before an ext superblock, and never the other way round.
        match Ext::open(volume) {
            Ok(ext) => return Ok(Self::Ext(ext)),
            Err(FsError::Unknown) => {}
            Err(error) => return Err(error),
        }
        Fat::open(volume).map(Self::Fat)
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fat(fat) => fat.name(),
            Self::Ext(_) => "ext2/3/4",
        }
    }

    /// In how many sectors at once it gives room to files.
    #[must_use]
    pub fn unit(&self) -> u64 {
        match self {
            Self::Fat(fat) => fat.sectors_per_cluster,
            Self::Ext(ext) => ext.block_sectors,
        }
        .max(1)
    }

    /// How many sectors belong to it, from the volume's beginning.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        match self {
            Self::Fat(fat) => fat.data.saturating_add(u64::from(fat.clusters).saturating_mul(fat.sectors_per_cluster)),
            Self::Ext(ext) => ext.blocks.saturating_mul(ext.block_sectors),
        }
    }

    /// Whether a file's place is certain: in ext, changes that are still in the journal may have moved it
    /// and given its blocks to another file.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Fat(_) => true,
            Self::Ext(ext) => !ext.needs_recovery,
        }
    }

    /// Finds a file of the root directory, by its name in lower case (8.3 on FAT).
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why its first sector can't be told or must not be written.
    pub fn find(&self, volume: &mut dyn Volume, name: &str) -> Result<FileStart, FsError> {
        let start = match self {
            Self::Fat(fat) => fat.find(volume, name)?,
            Self::Ext(ext) => ext.find(volume, name)?,
        };
        if start.bytes < crate::units::SECTOR as u64 {
            return Err(FsError::Corrupt("file is shorter than one sector"));
        }
        if start.at.0 >= volume.length().0 {
            return Err(FsError::Corrupt("file lies outside the partition"));
        }
        Ok(start)
    }

    /// The user who owns a file of the root directory, by number, and how many names it has; nothing where the
    /// filesystem knows no users.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why the file can't be used.
    pub fn owner(&self, volume: &mut dyn Volume, name: &str) -> Result<Option<(u32, u16)>, FsError> {
        match self {
            Self::Fat(_) => Ok(None),
            Self::Ext(ext) => ext.owner(volume, name).map(Some),
        }
    }

    /// Finds all of a file by its path from the root directory on, `boot/vmlinuz`. On FAT the case of ASCII letters
    /// means nothing.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why some of its content is nowhere: holes, extents that were never
    /// written, content inside the inode.
    pub fn extents(&self, volume: &mut dyn Volume, path: &str) -> Result<FileMap, FsError> {
        match self {
            Self::Fat(fat) => fat.extents(volume, path),
            Self::Ext(ext) => ext.extents(volume, path),
        }
    }
}

/// Reads one sector.
///
/// # Errors
/// [`FsError::Io`].
pub(crate) fn read(volume: &mut dyn Volume, at: Offset, into: &mut [u8]) -> Result<(), FsError> {
    volume.read(at, into).map_err(|error| FsError::Io { at, error })
}
