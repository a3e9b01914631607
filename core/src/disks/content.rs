//! Whether what is at some place of a disk is ours: the proof by content.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::bstate::{self, Parsed, Record};
use crate::disks::Search;
use crate::logic::{DiskIndex, PartitionIndex, Program};
use crate::machine::{DiskId, DiskInfo};
use crate::media::filesystem::{FileMap, Filesystem, FsError};
use crate::media::kind::Kind;
use crate::media::region::{Access, Region};
use crate::table::{CHUNK_BYTES, Entry, SEALS, Table};
use crate::units::{Lba, Offset, SECTOR, SectorCount};

/// A FAT boot sector and an ext superblock are before this sector.
const BEGINNING: u64 = 4;
/// Of an image without a bstate.txt, so many bytes have to be on the disk.
const IMAGE_PROOF_BYTES: usize = CHUNK_BYTES;

/// Whose a record is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    /// It tells of other partitions, or was written for another CD.
    Anothers,
    /// There is none.
    Nobodys,
}

/// What proves a partition's place to be ours.
pub(super) struct Content {
    /// In words.
    pub what: String,
    /// How many sectors from the partition's beginning belong to it; 0 where nobody can tell.
    pub sectors: u64,
}

impl Search<'_> {
    /// What at a declared partition's place says that it is ours; nothing where nothing does.
    #[inline(never)]
    pub(super) fn content_of(&mut self, disk: DiskId, info: &DiskInfo, partition: PartitionIndex) -> Option<Content> {
        let declared = self.program.partition(partition);
        let end = declared.start.0.checked_add(declared.sectors.0)?;
        if declared.image.is_none() || end > info.sectors {
            return None;
        }
        let region = Region::cut(disk, declared.start, declared.sectors, Access::Nothing);
        let named = [declared.name.as_str()];
        match Filesystem::open(&mut region.volume(self.machine)) {
            Ok(filesystem) => {
                let sectors = filesystem.sectors();
                let what = match self.record_in(&region, &filesystem, &named) {
                    Whose::Ours => Some(bstate::FILE.to_string()),
                    // Another system's filesystem, whatever else is in it.
                    Whose::Anothers => None,
                    Whose::Nobodys => {
                        let lengths = self.lengths_of(partition);
                        let seal = self.seal_in(&region, &filesystem, &lengths);
                        // Its directory may be gone, and it still be the one from the CD.
                        match seal {
                            None if self.is_shipped(&region, partition) => self.remains_of(&region, partition, &named),
                            seal => seal,
                        }
                    }
                };
                what.map(|what| Content { what, sectors })
            }
            Err(FsError::Io { .. }) => None,
            Err(_) => {
                let what = self.remains_of(&region, partition, &named)?;
                // Where anything else begins by now, what is left of ours says nothing.
                let ours = region.marks(self.machine, 0).is_empty() || self.is_shipped(&region, partition);
                ours.then_some(Content { what, sectors: 0 })
            }
        }
    }

    /// The lengths that a seal of a partition has: the partition's own, and its image's.
    fn lengths_of(&mut self, partition: PartitionIndex) -> Vec<SectorCount> {
        let image = self.image_of(partition).map(|image| image.header.sectors);
        [self.program.partition(partition).sectors].into_iter().chain(image).collect()
    }

    /// Whether a filesystem begins at an entry's place that has our bstate.txt; `named` are the partitions that
    /// the record has to tell of, one of them at least.
    #[inline(never)]
    pub(super) fn begins_with_record(&mut self, disk: DiskId, start: u64, sectors: u64, named: &[&str]) -> bool {
        let region = Region::cut(disk, Lba(start), SectorCount(sectors), Access::Nothing);
        match Filesystem::open(&mut region.volume(self.machine)) {
            Ok(filesystem) => self.record_in(&region, &filesystem, named) == Whose::Ours,
            Err(_) => false,
        }
    }

    /// The same with the seal of one of a disk's partitions; its name.
    #[inline(never)]
    pub(super) fn begins_with_seal(
        &mut self,
        disk: DiskId,
        start: u64,
        sectors: u64,
        wanted: DiskIndex,
    ) -> Option<String> {
        let region = Region::cut(disk, Lba(start), SectorCount(sectors), Access::Nothing);
        let filesystem = Filesystem::open(&mut region.volume(self.machine)).ok()?;
        let program = self.program;
        let partitions: Vec<PartitionIndex> =
            program.partitions_on(wanted).filter(|&p| program.partition(p).image.is_some()).collect();
        let names: Vec<&str> = partitions.iter().map(|&p| program.partition(p).name.as_str()).collect();
        if self.record_in(&region, &filesystem, &names) == Whose::Anothers {
            return None;
        }
        let lengths: Vec<SectorCount> = partitions.into_iter().flat_map(|p| self.lengths_of(p)).collect();
        self.seal_in(&region, &filesystem, &lengths)
    }

    fn record_in(&mut self, region: &Region, filesystem: &Filesystem, named: &[&str]) -> Whose {
        match filesystem.find(&mut region.volume(self.machine), bstate::FILE) {
            Ok(start) => self.record_at(region, start.at, true, named),
            Err(_) => Whose::Nobodys,
        }
    }

    /// Whose record is in a sector. What a person typed counts where a filesystem says that it is the file.
    #[inline(never)]
    fn record_at(&mut self, region: &Region, at: Offset, typed: bool, named: &[&str]) -> Whose {
        let mut sector = [0; SECTOR];
        if region.read(self.machine, at, &mut sector).is_err() {
            return Whose::Nobodys;
        }
        match Record::parse(&sector) {
            Ok(Parsed::Edited { .. }) if !typed => Whose::Nobodys,
            Ok(parsed) if is_ours(self.program, parsed.record(), named) => Whose::Ours,
            Ok(Parsed::Valid(_)) => Whose::Anothers,
            // Whoever typed it may have misspelt a name.
            Ok(Parsed::Edited { .. }) | Err(_) => Whose::Nobodys,
        }
    }

    /// The seal in a filesystem that is of one of these lengths.
    fn seal_in(&mut self, region: &Region, filesystem: &Filesystem, lengths: &[SectorCount]) -> Option<String> {
        let found = SEALS.into_iter().find(|name| {
            let Ok(map) = filesystem.extents(&mut region.volume(self.machine), name) else { return false };
            let seal = Table::on_disk(self.machine, region, map, name);
            seal.is_ok_and(|seal| seal.is_some_and(|seal| lengths.contains(&seal.header.sectors)))
        });
        found.map(ToString::to_string)
    }

    /// Whether a filesystem's boot sector or superblock is the shipped one, with its serial number or UUID.
    fn is_shipped(&mut self, region: &Region, partition: PartitionIndex) -> bool {
        let Some(image) = self.image_of(partition) else { return false };
        self.is_same(region, &image, |entry| {
            let named = matches!(entry.kind, Kind::FatBoot | Kind::ExtSuperblock | Kind::ExtSuperblockEnd);
            (entry.first < BEGINNING).then_some(named)
        })
    }

    /// What is left where the filesystem's beginning is destroyed: bstate.txt or a seal at the sectors where the image
    /// has it, or, of an image without them, its beginning.
    fn remains_of(&mut self, region: &Region, partition: PartitionIndex, named: &[&str]) -> Option<String> {
        let image = self.image_of(partition)?;
        match image.header.state {
            Some(at) => match self.record_at(region, at, false, named) {
                Whose::Ours => Some(bstate::FILE.to_string()),
                Whose::Anothers => None,
                Whose::Nobodys => self.seal_at_its_place(region, partition, &image),
            },
            None => self.begins_as(region, &image).then(|| image.name().to_string()),
        }
    }

    /// A seal where the image has that file.
    #[inline(never)]
    fn seal_at_its_place(&mut self, region: &Region, partition: PartitionIndex, image: &Table) -> Option<String> {
        let lengths = self.lengths_of(partition);
        let found = SEALS.into_iter().find(|name| {
            let pieces = image.pieces_of(self.machine, &format!("/{name}"));
            let runs = pieces.into_iter().map(|(first, behind)| (Offset(first), behind - first)).collect();
            let map = FileMap { bytes: region.length().bytes(), runs, overhead: None };
            let seal = Table::on_disk(self.machine, region, map, name);
            seal.is_ok_and(|seal| seal.is_some_and(|seal| lengths.contains(&seal.header.sectors)))
        });
        found.map(ToString::to_string)
    }

    /// Whether the first sectors that an image describes are those of the partition.
    fn begins_as(&mut self, region: &Region, image: &Table) -> bool {
        let mut left = IMAGE_PROOF_BYTES;
        self.is_same(region, image, |entry| {
            let wanted = left > 0;
            left = left.saturating_sub(entry.bytes());
            wanted.then_some(true)
        })
    }

    /// Whether the first of an image's entries are what the partition holds, as long as `wanted` says anything of them:
    /// those of which it says yes, and there has to be one.
    #[inline(never)]
    fn is_same(&mut self, region: &Region, image: &Table, mut wanted: impl FnMut(&Entry) -> Option<bool>) -> bool {
        let mut content = vec![0; CHUNK_BYTES];
        let mut entries = image.entries();
        let mut any = false;
        while let Ok(Some(entry)) = entries.next(self.machine) {
            match wanted(&entry) {
                None => return any,
                Some(false) => continue,
                Some(true) => {}
            }
            let Some(content) = content.get_mut(..entry.bytes()) else { return false };
            if region.read(self.machine, Offset(entry.first), content).is_err() || !entry.matches(content) {
                return false;
            }
            any = true;
        }
        any
    }

    /// A partition's image on the CD, where there is one that can be read.
    fn image_of(&mut self, partition: PartitionIndex) -> Option<Table> {
        let path = self.program.image_path(partition)?;
        Table::on_cd(self.machine, self.cd?, &path).ok()
    }
}

/// Whether a record is of this system: it tells of one of these partitions, and was not written for another CD.
fn is_ours(program: &Program, record: &Record, named: &[&str]) -> bool {
    named.iter().any(|name| record.get(name).is_some()) && is_same_cd(program, &record.cd)
}

/// Whether a CD of this name may be this one: both names, where both have one, or a name that this one had.
pub(super) fn is_same_cd(program: &Program, name: &str) -> bool {
    program.cd().is_none_or(|cd| name.is_empty() || cd.name == name || cd.was.iter().any(|was| was == name))
}
