//! FAT12, FAT16 and FAT32.
//!
//! Layouts: Microsoft "FAT: General Overview of On-Disk Format" 1.03 (fatgen103), sections "Boot
//! Sector and BPB", "FAT Type Determination" and "FAT Directory Structure"; field names are its own.

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::media::boot_sector;
use crate::media::filesystem::{FileStart, FsError, Volume, read};
use crate::units::{Offset, SECTOR};

/// How wide a table entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// A FAT volume whose BPB was checked.
#[derive(Clone, Copy, Debug)]
pub struct Fat {
    width: Width,
    sectors_per_cluster: u64,
    /// First sector of the first FAT.
    fat: u64,
    /// First sector of the root directory (FAT12/16).
    root: u64,
    /// Sectors of the root directory (FAT12/16); 0 on FAT32.
    root_sectors: u64,
    /// First cluster of the root directory (FAT32).
    root_cluster: u32,
    /// First sector of cluster 2.
    data: u64,
    clusters: u32,
}

impl Fat {
    /// Reads and checks the boot sector's BPB and the first FAT's first entry.
    ///
    /// # Errors
    /// [`FsError::Unknown`] when it is no FAT, else what is wrong with it.
    pub fn open(volume: &mut dyn Volume) -> Result<Self, FsError> {
        let mut sector = [0; SECTOR];
        read(volume, Offset(0), &mut sector)?;
        if !boot_sector::has_bpb(&sector) {
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

    fn cluster_valid(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.clusters
    }

    fn cluster_start(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * self.sectors_per_cluster
    }

    /// The table's entry for `cluster`, with FAT32's upper four bits masked off.
    fn entry(&self, volume: &mut dyn Volume, cluster: u32) -> Result<u32, FsError> {
        let byte = match self.width {
            Width::Fat12 => u64::from(cluster) + u64::from(cluster) / 2,
            Width::Fat16 => u64::from(cluster) * 2,
            Width::Fat32 => u64::from(cluster) * 4,
        };
        let sector = self.fat + byte / SECTOR as u64;
        let at = (byte % SECTOR as u64) as usize;
        // A FAT12 entry may straddle two sectors; both are inside, since data follows the table.
        let mut two = [0; 2 * SECTOR];
        let wanted = if at == SECTOR - 1 { 2 * SECTOR } else { SECTOR };
        read(volume, Offset(sector), &mut two[..wanted])?;
        Ok(match self.width {
            Width::Fat12 if cluster % 2 == 1 => u32::from(u16_at(&two, at) >> 4),
            Width::Fat12 => u32::from(u16_at(&two, at) & 0xFFF),
            Width::Fat16 => u32::from(u16_at(&two, at)),
            Width::Fat32 => u32_at(&two, at) & 0x0FFF_FFFF,
        })
    }

    /// Finds `name` (lower case, 8.3) in the root directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why the file can't be used.
    pub fn find(&self, volume: &mut dyn Volume, name: &str) -> Result<FileStart, FsError> {
        let short = short_name(name).ok_or(FsError::NotFound)?;
        if self.width != Width::Fat32 {
            return match self.search(volume, &short, self.root, self.root_sectors)? {
                Search::Found(found) => self.start_of(volume, found),
                Search::Ended | Search::GoOn => Err(FsError::NotFound),
            };
        }
        let mut cluster = self.root_cluster;
        // A chain has at most as many links as there are clusters; a longer one is a loop. The root
        // directory itself is limited to 65,536 entries, so to 2 MiB (fatgen103, page 23).
        let most = (65536 * 32 / SECTOR as u64).div_ceil(self.sectors_per_cluster);
        for _ in 0..most.min(u64::from(self.clusters)) {
            if !self.cluster_valid(cluster) {
                return Err(FsError::Corrupt("root directory's cluster chain"));
            }
            let start = self.cluster_start(cluster);
            match self.search(volume, &short, start, self.sectors_per_cluster)? {
                Search::Found(found) => return self.start_of(volume, found),
                Search::Ended => return Err(FsError::NotFound),
                Search::GoOn => cluster = self.entry(volume, cluster)?,
            }
            if cluster >= 0x0FFF_FFF8 {
                return Err(FsError::NotFound);
            }
        }
        Err(FsError::Corrupt("root directory's cluster chain is a loop"))
    }

    /// Looks through `count` directory sectors from `first` on.
    fn search(&self, volume: &mut dyn Volume, short: &[u8; 11], first: u64, count: u64) -> Result<Search, FsError> {
        let mut sector = [0; SECTOR];
        for at in first..first.saturating_add(count) {
            read(volume, Offset(at), &mut sector)?;
            for entry in sector.as_chunks::<32>().0 {
                if entry[0] == 0 {
                    return Ok(Search::Ended);
                }
                // Attribute bits: 08h volume label (and part of a long name, 0Fh), 10h directory.
                if entry[..11] == short[..] && entry[0x0B] & 0x18 == 0 {
                    return Ok(Search::Found(*entry));
                }
            }
        }
        Ok(Search::GoOn)
    }

    /// The first sector of the file with this directory entry, if the table says that it is in use.
    fn start_of(&self, volume: &mut dyn Volume, entry: [u8; 32]) -> Result<FileStart, FsError> {
        let high = if self.width == Width::Fat32 { u16_at(&entry, 0x14) } else { 0 };
        let cluster = u32::from(u16_at(&entry, 0x1A)) | u32::from(high) << 16;
        let bytes = u64::from(u32_at(&entry, 0x1C));
        // Writing into a cluster that the table calls free would write into whatever gets it next.
        if !self.cluster_valid(cluster) || self.entry(volume, cluster)? < 2 {
            return Err(FsError::Corrupt("file's first cluster is not allocated"));
        }
        Ok(FileStart { at: Offset(self.cluster_start(cluster)), bytes })
    }
}

/// What looking through some directory sectors came to.
enum Search {
    Found([u8; 32]),
    /// An entry that begins with 0: no more follow.
    Ended,
    GoOn,
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

/// `bstate.txt` as `BSTATE  TXT`; nothing for a name that is not 8.3.
fn short_name(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    if base.is_empty() || base.len() > 8 || extension.len() > 3 || !name.is_ascii() {
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
