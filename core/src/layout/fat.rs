//! FAT12, FAT16 and FAT32: reserved sectors, tables, directories, cluster chains.
//!
//! Layouts: fatgen103, "Boot Sector and BPB", "FAT Data Structure" and "FAT Directory Structure"; field names are
//! its own.

use alloc::string::String;
use alloc::vec::Vec;

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::layout::{Builder, Layout, Met, Run, use_more};
use crate::media::fat::{Fat, Table, Width};
use crate::media::fat_names::Names;
use crate::media::filesystem::{FsError, Volume, read};
use crate::media::kind::Kind;
use crate::units::{Offset, SECTOR};

/// A directory has at most 65,536 entries (fatgen103, page 23), so 4096 sectors.
const MAX_DIRECTORY_SECTORS: u64 = 4096;

/// Reads the layout.
pub(super) fn layout(volume: &mut dyn Volume, fat: &Fat) -> Result<Layout, FsError> {
    let mut boot = [0; SECTOR];
    read(volume, Offset(0), &mut boot)?;
    let total = match u16_at(&boot, 0x13) {
        0 => u64::from(u32_at(&boot, 0x20)),
        small => u64::from(small),
    };
    let builder = Builder::new(total, true);
    let met = Met::new(u64::from(fat.clusters) + 2);
    let mut walk = Walk { volume, fat, table: Table::new(), builder, met, left: Vec::new() };
    walk.reserved(&boot)?;
    walk.tables(&boot)?;
    walk.root()?;
    while let Some((path, first)) = walk.left.pop() {
        walk.directory(&path, first)?;
    }
    let used = walk.used()?;
    walk.builder.finish(&used, volume_id(&boot, fat.width))
}

/// BS_VolID, at 43h on FAT32 and at 27h on the others.
fn volume_id(boot: &[u8], width: Width) -> [u8; 16] {
    let serial = u32_at(boot, if width == Width::Fat32 { 0x43 } else { 0x27 });
    let mut id = [0; 16];
    id[..4].copy_from_slice(&serial.to_le_bytes());
    id
}

/// The walk through a FAT volume.
struct Walk<'a> {
    volume: &'a mut dyn Volume,
    fat: &'a Fat,
    table: Table,
    builder: Builder,
    /// Clusters that are in some chain.
    met: Met,
    /// Directories that were found and not read: path, first cluster.
    left: Vec<(String, u32)>,
}

impl Walk<'_> {
    /// BPB_RsvdSecCnt sectors: the boot sector, on FAT32 FSInfo, the backups of both, and room that boot
    /// loaders use.
    fn reserved(&mut self, boot: &[u8]) -> Result<(), FsError> {
        let (mut info, mut backup) = (0, 0);
        if self.fat.width == Width::Fat32 {
            (info, backup) = (u64::from(u16_at(boot, 0x30)), u64::from(u16_at(boot, 0x32)));
        }
        for sector in 0..self.fat.fat {
            let (kind, name) = if sector == 0 || sector == backup {
                (Kind::FatBoot, "boot sector")
            } else if (sector == info || backup != 0 && sector == backup + info) && self.is_info(sector)? {
                (Kind::FatInfo, "FSInfo")
            } else {
                (Kind::Data, "reserved sectors")
            };
            self.builder.fixed(sector, 1, kind, name)?;
        }
        Ok(())
    }

    /// A backup of FSInfo is a convention of formatting programs, so it is known by FSI_LeadSig and
    /// FSI_StrucSig only.
    fn is_info(&mut self, at: u64) -> Result<bool, FsError> {
        let mut sector = [0; SECTOR];
        read(self.volume, Offset(at), &mut sector)?;
        Ok(u32_at(&sector, 0) == 0x4161_5252 && u32_at(&sector, 0x1E4) == 0x6141_7272)
    }

    fn tables(&mut self, boot: &[u8]) -> Result<(), FsError> {
        let fat = self.fat;
        let sectors = (fat.root - fat.fat) / u64::from(u8_at(boot, 0x10).max(1));
        let half_bytes = match fat.width {
            Width::Fat12 => 3,
            Width::Fat16 => 4,
            Width::Fat32 => 8,
        };
        if (u64::from(fat.clusters) + 2) * half_bytes > sectors * SECTOR as u64 * 2 {
            return Err(FsError::Corrupt("BPB_FATSz is too small for the clusters"));
        }
        // BPB_ExtFlags: bit 7, only one FAT is active; bits 0 to 3, which.
        if fat.width == Width::Fat32 && u16_at(boot, 0x28) & 0x80 != 0 && u16_at(boot, 0x28) & 0x0F != 0 {
            return Err(FsError::Unsupported("BPB_ExtFlags: the first FAT is not the active one"));
        }
        let head = match fat.width {
            Width::Fat12 => Kind::Data,
            Width::Fat16 => Kind::Fat16Table,
            Width::Fat32 => Kind::Fat32Table,
        };
        for first in [fat.fat, fat.fat + sectors] {
            if first < fat.root {
                self.builder.fixed(first, 1, head, "FAT")?;
                self.builder.fixed(first + 1, sectors - 1, Kind::Data, "FAT")?;
            }
        }
        Ok(())
    }

    fn root(&mut self) -> Result<(), FsError> {
        let fat = self.fat;
        if fat.width == Width::Fat32 {
            self.left.push((String::from("/"), fat.root_cluster));
            return Ok(());
        }
        self.builder.fixed(fat.root, fat.root_sectors, Kind::FatDirectory, "/")?;
        self.names("/", fat.root..fat.data)
    }

    fn directory(&mut self, path: &str, first: u32) -> Result<(), FsError> {
        let owner = self.builder.owner(String::from(path))?;
        let runs = self.chain(first, Kind::FatDirectory, owner, false)?;
        if runs.iter().map(|(_, sectors)| sectors).sum::<u64>()
            > MAX_DIRECTORY_SECTORS.max(self.fat.sectors_per_cluster)
        {
            return Err(FsError::Corrupt("a directory is longer than 2 MiB"));
        }
        self.names(path, runs.iter().flat_map(|&(first, sectors)| first..first + sectors))
    }

    /// Goes through the entries of a directory that stands in these sectors.
    fn names(&mut self, folder: &str, sectors: impl Iterator<Item = u64>) -> Result<(), FsError> {
        let mut names = Names::default();
        for at in sectors {
            let mut sector = [0; SECTOR];
            read(self.volume, Offset(at), &mut sector)?;
            for entry in sector.as_chunks::<32>().0 {
                // No more follow.
                if entry[0] == 0 {
                    return Ok(());
                }
                if let Some(name) = names.next(entry) {
                    let path = self.builder.path(folder, &name)?;
                    self.entry(entry, path)?;
                }
            }
        }
        Ok(())
    }

    /// A file or a directory (attribute bit 10h) that was found.
    fn entry(&mut self, entry: &[u8; 32], path: String) -> Result<(), FsError> {
        let first = self.fat.first_cluster(entry);
        if entry[0x0B] & 0x10 != 0 {
            self.left.push((path, first));
            return Ok(());
        }
        let volatile = self.builder.is_volatile(&path);
        let owner = self.builder.owner(path)?;
        // A file without content has no cluster.
        if first != 0 || u32_at(entry, 0x1C) != 0 {
            self.chain(first, Kind::Data, owner, volatile)?;
        }
        Ok(())
    }

    /// Claims a cluster chain; its pieces, as first sector and sectors.
    fn chain(&mut self, first: u32, kind: Kind, owner: u32, volatile: bool) -> Result<Vec<(u64, u64)>, FsError> {
        let (mut cluster, mut pieces) = (first, Vec::new());
        loop {
            if !self.fat.cluster_valid(cluster) {
                return Err(FsError::Corrupt("a cluster chain leads out of the table"));
            }
            if !self.met.first_time(u64::from(cluster)) {
                return Err(FsError::Corrupt("a cluster chain is a loop, or crosses another"));
            }
            let (at, sectors) = (self.fat.cluster_start(cluster), self.fat.sectors_per_cluster);
            self.builder.found(Run { first: at, sectors, kind, owner: Some(owner), volatile })?;
            use_more(&mut pieces, at, sectors);
            cluster = self.fat.entry(self.volume, &mut self.table, cluster)?;
            if cluster >= self.fat.width.last_marks() {
                return Ok(pieces);
            }
        }
    }

    /// What is in use: all before the clusters, and each cluster whose entry is neither 0 (free) nor the
    /// mark of a bad one.
    fn used(&mut self) -> Result<Vec<(u64, u64)>, FsError> {
        let mut used = alloc::vec![(0, self.fat.data)];
        for cluster in (2..).take(self.fat.clusters as usize) {
            let entry = self.fat.entry(self.volume, &mut self.table, cluster)?;
            if entry != 0 && entry != self.fat.width.last_marks() - 1 {
                use_more(&mut used, self.fat.cluster_start(cluster), self.fat.sectors_per_cluster);
            }
        }
        Ok(used)
    }
}
