//! FAT12, FAT16 and FAT32.
//!
//! Layouts: Microsoft "FAT: General Overview of On-Disk Format" 1.03 (fatgen103), sections "Boot
//! Sector and BPB", "FAT Type Determination" and "FAT Directory Structure"; field names are its own.

use alloc::vec::Vec;

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::media::boot_sector;
use crate::media::fat_names::Names;
use crate::media::filesystem::{FileMap, FileStart, FsError, Volume, read};
use crate::units::{Offset, SECTOR, SectorCount};

/// How wide a table entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

impl Width {
    /// The lowest entry that ends a chain; one less marks a bad cluster (fatgen103, page 18).
    pub(crate) fn last_marks(self) -> u32 {
        match self {
            Self::Fat12 => 0xFF8,
            Self::Fat16 => 0xFFF8,
            Self::Fat32 => 0x0FFF_FFF8,
        }
    }
}

/// The part of the table that was read last: chains mostly stay within a sector.
pub(crate) struct Table {
    /// The volume's sector where it begins, and how many of them it holds: none at first.
    sector: u64,
    sectors: usize,
    bytes: [u8; 2 * SECTOR],
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { sector: 0, sectors: 0, bytes: [0; 2 * SECTOR] }
    }

    /// Has `sectors` (1 or 2) from `sector` on.
    fn load(&mut self, volume: &mut dyn Volume, sector: u64, sectors: usize) -> Result<&[u8], FsError> {
        if self.sector != sector || self.sectors < sectors {
            self.sectors = 0;
            read(volume, Offset(sector), &mut self.bytes[..sectors * SECTOR])?;
            (self.sector, self.sectors) = (sector, sectors);
        }
        Ok(&self.bytes)
    }
}

/// A FAT volume whose BPB was checked.
#[derive(Clone, Copy, Debug)]
pub struct Fat {
    pub(crate) width: Width,
    pub(crate) sectors_per_cluster: u64,
    /// First sector of the first FAT.
    pub(crate) fat: u64,
    /// First sector of the root directory (FAT12/16).
    pub(crate) root: u64,
    /// Sectors of the root directory (FAT12/16); 0 on FAT32.
    pub(crate) root_sectors: u64,
    /// First cluster of the root directory (FAT32).
    pub(crate) root_cluster: u32,
    /// First sector of cluster 2.
    pub(crate) data: u64,
    /// How many clusters there are; the first is number 2.
    pub(crate) clusters: u32,
}

impl Fat {
    /// Reads and checks the boot sector's BPB and the first FAT's first entry.
    ///
    /// # Errors
    /// [`FsError::Unknown`] when it is no FAT, else what is wrong with it.
    pub fn open(volume: &mut dyn Volume) -> Result<Self, FsError> {
        let mut sector = [0; SECTOR];
        read(volume, Offset(0), &mut sector)?;
        if boot_sector::is_ntfs(&sector) || !boot_sector::has_bpb(&sector) {
            return Err(FsError::Unknown);
        }
        let fat = Self::parse(&sector, volume.length().0)?;
        fat.check_first_entry(volume, u8_at(&sector, 0x15))?;
        if fat.width == Width::Fat32 {
            check_fsinfo(volume, u16_at(&sector, 0x30))?;
        }
        Ok(fat)
    }

    /// The geometry from a boot sector that looks like FAT's; `length` in sectors.
    fn parse(sector: &[u8; SECTOR], length: u64) -> Result<Self, FsError> {
        let reserved = u64::from(u16_at(sector, 0x0E));
        let fats = u64::from(u8_at(sector, 0x10));
        let root_entries = u64::from(u16_at(sector, 0x11));
        let sectors_per_cluster = u64::from(u8_at(sector, 0x0D));
        let total = match u16_at(sector, 0x13) {
            0 => u64::from(u32_at(sector, 0x20)),
            small => u64::from(small),
        };
        let fat_sectors = match u16_at(sector, 0x16) {
            0 => u64::from(u32_at(sector, 0x24)),
            small => u64::from(small),
        };
        if reserved == 0 {
            return Err(FsError::Corrupt("BPB_RsvdSecCnt is 0"));
        }
        if !(1..=2).contains(&fats) {
            return Err(FsError::Corrupt("BPB_NumFATs is neither 1 nor 2"));
        }
        if total == 0 || total > length {
            return Err(FsError::Corrupt("BPB_TotSec does not fit the partition"));
        }
        let root = reserved + fats * fat_sectors;
        let root_sectors = (root_entries * 32).div_ceil(SECTOR as u64);
        let data = root + root_sectors;
        if fat_sectors == 0 || data >= total {
            return Err(FsError::Corrupt("BPB_FATSz does not fit the volume"));
        }
        // Cluster counts decide the type, and nothing else does (fatgen103, page 14). They fit 32
        // bits: `total` does.
        let clusters =
            u32::try_from((total - data) / sectors_per_cluster).map_err(|_| FsError::Corrupt("BPB_TotSec"))?;
        let width = match clusters {
            0..4085 => Width::Fat12,
            4085..65525 => Width::Fat16,
            _ => Width::Fat32,
        };
        if (width == Width::Fat32) != (root_entries == 0) {
            return Err(FsError::Corrupt("BPB_RootEntCnt does not fit the cluster count"));
        }
        let root_cluster = if width == Width::Fat32 { u32_at(sector, 0x2C) } else { 0 };
        Ok(Self { width, sectors_per_cluster, fat: reserved, root, root_sectors, root_cluster, data, clusters })
    }

    /// FAT[0]'s low byte repeats the media byte (fatgen103, page 18): the cheapest sign that the
    /// table is still a table.
    fn check_first_entry(&self, volume: &mut dyn Volume, media: u8) -> Result<(), FsError> {
        let mut sector = [0; SECTOR];
        read(volume, Offset(self.fat), &mut sector)?;
        if u8_at(&sector, 0) != media {
            return Err(FsError::Corrupt("FAT[0] does not repeat BPB_Media"));
        }
        Ok(())
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.width {
            Width::Fat12 => "FAT12",
            Width::Fat16 => "FAT16",
            Width::Fat32 => "FAT32",
        }
    }

    /// Whether it says that it was not unmounted: FAT\[1\]'s ClnShutBit is 0 (fatgen103, page 18; FAT12 has none),
    /// or bit 0 of BS_Reserved1 is set (Linux `fs/fat/inode.c`, `fat_set_state`).
    ///
    /// # Errors
    /// That a sector can't be read.
    pub fn is_dirty(&self, volume: &mut dyn Volume) -> Result<bool, FsError> {
        let clean = match self.width {
            Width::Fat12 => 0,
            Width::Fat16 => 0x8000,
            Width::Fat32 => 0x0800_0000,
        };
        let entry = self.entry(volume, &mut Table::new(), 1)?;
        let mut boot = [0; SECTOR];
        read(volume, Offset(0), &mut boot)?;
        Ok(entry & clean != clean || u8_at(&boot, self.extended(0x25)) & 1 != 0)
    }

    /// BS_VolID.
    ///
    /// # Errors
    /// That the boot sector can't be read.
    pub fn serial(&self, volume: &mut dyn Volume) -> Result<u32, FsError> {
        let mut boot = [0; SECTOR];
        read(volume, Offset(0), &mut boot)?;
        Ok(u32_at(&boot, self.extended(0x27)))
    }

    /// The label in the root directory, filled up with spaces, if there is one (fatgen103, page 23).
    ///
    /// # Errors
    /// What can't be read, or is wrong with the directory's cluster chain.
    pub fn label(&self, volume: &mut dyn Volume) -> Result<Option<[u8; 11]>, FsError> {
        // Attribute bits 20h, archive, mean nothing; a part of a long name has four others too.
        let is_label = &mut |entry: &[u8; 32]| entry[0] != 0xE5 && entry[0x0B] & 0x1F == VOLUME;
        match self.search(volume, self.root_cluster, is_label) {
            Ok(entry) => Ok(entry.first_chunk().copied()),
            Err(FsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where a field of the boot sector stands that FAT32 has 1Ch bytes further on (fatgen103, pages 11 and 12).
    fn extended(&self, at: usize) -> usize {
        if self.width == Width::Fat32 { at + 0x1C } else { at }
    }

    pub(crate) fn cluster_valid(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.clusters
    }

    pub(crate) fn cluster_start(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * self.sectors_per_cluster
    }

    /// The table's entry for `cluster`, with FAT32's upper four bits masked off.
    pub(crate) fn entry(&self, volume: &mut dyn Volume, table: &mut Table, cluster: u32) -> Result<u32, FsError> {
        let byte = match self.width {
            Width::Fat12 => u64::from(cluster) + u64::from(cluster) / 2,
            Width::Fat16 => u64::from(cluster) * 2,
            Width::Fat32 => u64::from(cluster) * 4,
        };
        let sector = self.fat + byte / SECTOR as u64;
        let at = (byte % SECTOR as u64) as usize;
        // A FAT12 entry may straddle two sectors; both are inside, since data follows the table.
        let bytes = table.load(volume, sector, if at == SECTOR - 1 { 2 } else { 1 })?;
        Ok(match self.width {
            Width::Fat12 if cluster % 2 == 1 => u32::from(u16_at(bytes, at) >> 4),
            Width::Fat12 => u32::from(u16_at(bytes, at) & 0xFFF),
            Width::Fat16 => u32::from(u16_at(bytes, at)),
            Width::Fat32 => u32_at(bytes, at) & 0x0FFF_FFFF,
        })
    }

    /// Finds `name` (lower case, 8.3) in the root directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why the file can't be used.
    #[inline(never)]
    pub fn find(&self, volume: &mut dyn Volume, name: &str) -> Result<FileStart, FsError> {
        let entry = self.lookup(volume, self.root_cluster, name)?;
        if is_directory(&entry) {
            return Err(FsError::NotFound);
        }
        let cluster = self.first_cluster(&entry);
        self.check_allocated(volume, &mut Table::new(), cluster)?;
        Ok(FileStart { at: Offset(self.cluster_start(cluster)), bytes: file_bytes(&entry) })
    }

    /// Finds all of the file at `path`, counted from the root directory; the case of ASCII letters means nothing.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or what is wrong with its cluster chain.
    #[inline(never)]
    pub fn extents(&self, volume: &mut dyn Volume, path: &str) -> Result<FileMap, FsError> {
        let (mut folder, mut names) = (self.root_cluster, path.split('/').peekable());
        let entry = loop {
            let (name, is_last) = (names.next().unwrap_or_default(), names.peek().is_none());
            let entry = self.lookup(volume, folder, name)?;
            match (is_directory(&entry), is_last) {
                (false, true) => break entry,
                // A directory's entry for itself or the root would be 0, and no name leads there.
                (true, false) => folder = self.first_cluster(&entry).max(1),
                _ => return Err(FsError::NotFound),
            }
        };
        let mut map = FileMap { bytes: file_bytes(&entry), runs: Vec::new(), overhead: Some(0) };
        let mut left = SectorCount::holding(map.bytes).0;
        if left > u64::from(self.clusters) * self.sectors_per_cluster {
            return Err(FsError::Corrupt("DIR_FileSize does not fit the volume"));
        }
        let (mut table, mut cluster) = (Table::new(), self.first_cluster(&entry));
        // Ends after as many clusters as the length asks for, chained in a loop or not.
        while left > 0 {
            let next = self.check_allocated(volume, &mut table, cluster)?;
            let sectors = left.min(self.sectors_per_cluster);
            map.push(Offset(self.cluster_start(cluster)), sectors)?;
            left -= sectors;
            cluster = next;
        }
        Ok(map)
    }

    /// The entry of a file or a directory in the directory whose first cluster this is; the root directory of FAT12
    /// and FAT16, which has none, is 0. What can be a short name is looked for as one, which makes no text of each
    /// entry.
    #[inline(never)]
    fn lookup(&self, volume: &mut dyn Volume, folder: u32, name: &str) -> Result<[u8; 32], FsError> {
        let mut names = Names::default();
        match short_name(name) {
            Some(short) => self.search(volume, folder, &mut |entry| entry[..11] == short && entry[0x0B] & VOLUME == 0),
            None => self.search(volume, folder, &mut |entry| {
                names.next(entry).is_some_and(|found| found.eq_ignore_ascii_case(name))
            }),
        }
    }

    /// The first entry that is the wanted one.
    #[inline(never)]
    fn search(&self, volume: &mut dyn Volume, folder: u32, is_wanted: &mut Wanted<'_>) -> Result<[u8; 32], FsError> {
        if folder == 0 && self.width != Width::Fat32 {
            return match search_sectors(volume, self.root, self.root_sectors, is_wanted)? {
                Search::Found(found) => Ok(found),
                Search::Ended | Search::GoOn => Err(FsError::NotFound),
            };
        }
        let (mut table, mut cluster) = (Table::new(), folder);
        // A chain has at most as many links as there are clusters; a longer one is a loop. A directory is limited
        // to 65,536 entries, so to 2 MiB (fatgen103, page 23).
        let most = (65536 * 32 / SECTOR as u64).div_ceil(self.sectors_per_cluster);
        for _ in 0..most.min(u64::from(self.clusters)) {
            if !self.cluster_valid(cluster) {
                return Err(FsError::Corrupt("a directory's cluster chain"));
            }
            let start = self.cluster_start(cluster);
            match search_sectors(volume, start, self.sectors_per_cluster, is_wanted)? {
                Search::Found(found) => return Ok(found),
                Search::Ended => return Err(FsError::NotFound),
                Search::GoOn => cluster = self.entry(volume, &mut table, cluster)?,
            }
            if cluster >= self.width.last_marks() {
                return Err(FsError::NotFound);
            }
        }
        Err(FsError::Corrupt("a directory's cluster chain is a loop"))
    }

    /// The cluster that a directory entry points at: DIR_FstClusHI and DIR_FstClusLO.
    pub(crate) fn first_cluster(&self, entry: &[u8; 32]) -> u32 {
        let high = if self.width == Width::Fat32 { u16_at(entry, 0x14) } else { 0 };
        u32::from(u16_at(entry, 0x1A)) | u32::from(high) << 16
    }

    /// What follows a file's cluster, if the table says that the cluster is in use: writing into a free
    /// one would write into whatever gets it next.
    fn check_allocated(&self, volume: &mut dyn Volume, table: &mut Table, cluster: u32) -> Result<u32, FsError> {
        if self.cluster_valid(cluster) {
            let next = self.entry(volume, table, cluster)?;
            if next >= 2 {
                return Ok(next);
            }
        }
        Err(FsError::Corrupt("file's cluster is not allocated"))
    }
}

/// DIR_FileSize.
fn file_bytes(entry: &[u8; 32]) -> u64 {
    u64::from(u32_at(entry, 0x1C))
}

/// Attribute bits of a directory entry (fatgen103, page 23): a volume's label, or part of a long name.
const VOLUME: u8 = 0x08;
/// See [`VOLUME`].
const DIRECTORY: u8 = 0x10;

fn is_directory(entry: &[u8; 32]) -> bool {
    entry[0x0B] & DIRECTORY != 0
}

/// Whether an entry is the one that is looked for.
type Wanted<'a> = dyn FnMut(&[u8; 32]) -> bool + 'a;

/// What looking through some directory sectors came to.
enum Search {
    Found([u8; 32]),
    /// An entry that begins with 0: no more follow.
    Ended,
    GoOn,
}

/// Looks through `count` directory sectors from `first` on.
fn search_sectors(
    volume: &mut dyn Volume,
    first: u64,
    count: u64,
    is_wanted: &mut Wanted<'_>,
) -> Result<Search, FsError> {
    let mut sector = [0; SECTOR];
    for at in first..first.saturating_add(count) {
        read(volume, Offset(at), &mut sector)?;
        for entry in sector.as_chunks::<32>().0 {
            if entry[0] == 0 {
                return Ok(Search::Ended);
            }
            if is_wanted(entry) {
                return Ok(Search::Found(*entry));
            }
        }
    }
    Ok(Search::GoOn)
}

/// FAT32's FSInfo sector, if there is one (fatgen103, page 21): its lead, structure and trail
/// signatures.
fn check_fsinfo(volume: &mut dyn Volume, at: u16) -> Result<(), FsError> {
    if at == 0 || at == 0xFFFF {
        return Ok(());
    }
    let mut sector = [0; SECTOR];
    read(volume, Offset(u64::from(at)), &mut sector)?;
    let good = u32_at(&sector, 0) == 0x4161_5252
        && u32_at(&sector, 0x1E4) == 0x6141_7272
        && u32_at(&sector, 0x1FC) == 0xAA55_0000;
    if good { Ok(()) } else { Err(FsError::Corrupt("FSInfo signatures")) }
}

/// `bstate.txt` as `BSTATE  TXT`; nothing for a name that is not 8.3, or has a character that only long names have
/// (fatgen103, pages 24 and 30).
fn short_name(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_long = |byte: &u8| !byte.is_ascii_graphic() || b".+,;=[]".contains(byte);
    if base.is_empty()
        || base.len() > 8
        || extension.len() > 3
        || [base, extension].iter().any(|part| part.as_bytes().iter().any(is_long))
    {
        return None;
    }
    let mut short = [b' '; 11];
    for (to, from) in short.iter_mut().zip(base.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    for (to, from) in short.iter_mut().skip(8).zip(extension.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    Some(short)
}
