//! ext2, ext3 and ext4.
//!
//! Layouts: Linux `Documentation/filesystems/ext4/` ("Super Block", "Block Group Descriptors",
//! "Inode Table", "Extent Tree", "Linear Directories"); field names are its own. Nothing here reads
//! the journal: a file's data block that was allocated when the image was made stays where it is.

use alloc::vec::Vec;

use crate::bytes::{put_u32, u8_at, u16_at, u32_at, u64_split};
use crate::media::filesystem::{FileMap, FileStart, FsError, MAX_PIECES, Volume, read};
use crate::units::{Offset, SECTOR, SectorCount};

/// Features (`s_feature_incompat`) under which what is read here stays where it is described:
/// FILETYPE, RECOVER, EXTENTS, 64BIT, MMP, FLEX_BG, EA_INODE, CSUM_SEED, LARGEDIR, INLINE_DATA, ENCRYPT.
/// The last two are looked at again at each file.
const KNOWN_INCOMPAT: u32 = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x1_0000;
/// `s_feature_incompat`: the journal has to be replayed.
const INCOMPAT_RECOVER: u32 = 0x4;
/// `s_feature_ro_compat`: the orphan file lists inodes that the next mount cleans up.
const RO_ORPHAN_PRESENT: u32 = 0x1_0000;
/// `s_state`: unmounted cleanly.
const VALID_FS: u16 = 1;
/// `s_feature_incompat`: group descriptors are `s_desc_size` bytes long.
const INCOMPAT_64BIT: u32 = 0x80;
/// `i_flags`: the inode maps its blocks by an extent tree.
pub(crate) const EXTENTS_FL: u32 = 0x8_0000;
/// `i_flags` of files whose first data block must not be overwritten in place: compressed (4),
/// immutable (10h), encrypted (800h), data journalled (4000h), verity (10_0000h), inline (1000_0000h).
const REFUSED_FL: u32 = 0x4 | 0x10 | 0x800 | 0x4000 | 0x10_0000 | 0x1000_0000;
/// `i_flags` of directories whose names don't stand in data blocks as they are: encrypted, inline.
const UNREADABLE_FL: u32 = 0x800 | 0x1000_0000;
/// The root directory's inode.
pub(crate) const ROOT: u32 = 2;
/// The largest block size, 64 KiB: `s_log_block_size` 6.
const MAX_LOG_BLOCK_SIZE: u32 = 6;
/// How much of a directory is looked through: 4 MiB.
const MAX_DIRECTORY_BYTES: u64 = 4 << 20;
/// `i_block`, the 60 bytes that hold block numbers or the root of the extent tree.
pub(crate) const I_BLOCK: usize = 0x28;

/// An ext filesystem whose superblock and first group descriptor were checked.
#[derive(Clone, Copy, Debug)]
pub struct Ext {
    /// 512-byte sectors in a block.
    pub(crate) block_sectors: u64,
    pub(crate) blocks: u64,
    pub(crate) inodes: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) inode_bytes: u64,
    pub(crate) descriptor_bytes: u64,
    wide: bool,
    /// The journal holds changes that the blocks read here do not show yet (`INCOMPAT_RECOVER`).
    pub(super) needs_recovery: bool,
}

/// The part of an inode that is needed.
struct Inode([u8; 128]);

impl Inode {
    fn mode(&self) -> u16 {
        u16_at(&self.0, 0)
    }
    fn is_directory(&self) -> bool {
        self.mode() & 0xF000 == 0x4000
    }
    fn flags(&self) -> u32 {
        u32_at(&self.0, 0x20)
    }
    fn bytes(&self) -> u64 {
        u64_split(&self.0, 0x04, 0x6C)
    }
    /// `i_uid`, and `l_i_uid_high` of `osd2`.
    fn owner(&self) -> u32 {
        u32::from(u16_at(&self.0, 0x02)) | u32::from(u16_at(&self.0, 0x78)) << 16
    }
    /// `i_links_count`.
    fn links(&self) -> u16 {
        u16_at(&self.0, 0x1A)
    }
    fn block_map(&self) -> &[u8] {
        &self.0[I_BLOCK..I_BLOCK + 60]
    }
    /// The same, if it is a file with blocks that hold its content as it is.
    fn usable(self) -> Result<Self, FsError> {
        if self.mode() & 0xF000 != 0x8000 {
            return Err(FsError::Corrupt("no regular file"));
        }
        if self.flags() & REFUSED_FL != 0 {
            return Err(FsError::Unsupported("file is inline, encrypted, compressed, immutable or journalled"));
        }
        Ok(self)
    }
}

/// Gives both sectors of a superblock the checksum that they need together; whether it was another one.
///
/// With METADATA_CSUM (s_feature_ro_compat, bit 400h) the last four bytes are the CRC-32C of all before them,
/// begun with ones and not inverted at the end ("Checksums"); else they mean nothing.
pub fn sign_superblock(first: &[u8], second: &mut [u8]) -> bool {
    let (Some(first), Some(second)) = (first.first_chunk::<SECTOR>(), second.first_chunk_mut::<SECTOR>()) else {
        return false;
    };
    if u32_at(first, 0x64) & 0x400 == 0 {
        return false;
    }
    let mut crc = u32::MAX;
    for byte in first.iter().chain(&second[..SECTOR - 4]) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            // The polynomial of RFC 3720, section 12.1, its bits in reverse.
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
        }
    }
    let before = u32_at(second, SECTOR - 4);
    put_u32(second, SECTOR - 4, crc);
    before != crc
}

/// The superblock, at byte 1024 ("Super Block").
fn superblock(volume: &mut dyn Volume) -> Result<[u8; 2 * SECTOR], FsError> {
    let mut superblock = [0; 2 * SECTOR];
    read(volume, Offset(2), &mut superblock)?;
    Ok(superblock)
}

impl Ext {
    /// Reads and checks the superblock, the first group descriptor and the root directory's inode.
    ///
    /// # Errors
    /// [`FsError::Unknown`] when it is no ext filesystem, else what is wrong with it.
    pub fn open(volume: &mut dyn Volume) -> Result<Self, FsError> {
        if volume.length().0 < 8 {
            return Err(FsError::Unknown);
        }
        let superblock = superblock(volume)?;
        if u16_at(&superblock, 0x38) != 0xEF53 {
            return Err(FsError::Unknown);
        }
        let ext = Self::parse(&superblock, volume.length().0)?;
        let root = ext.inode(volume, ROOT)?;
        if !root.is_directory() {
            return Err(FsError::Corrupt("inode 2 is no directory"));
        }
        Ok(ext)
    }

    fn parse(superblock: &[u8; 2 * SECTOR], length: u64) -> Result<Self, FsError> {
        let incompat = u32_at(superblock, 0x60);
        if incompat & !KNOWN_INCOMPAT != 0 {
            return Err(FsError::Unsupported("s_feature_incompat has an unknown bit"));
        }
        // EXT4_ERROR_FS: the kernel itself found damage.
        if u16_at(superblock, 0x3A) & 2 != 0 {
            return Err(FsError::Corrupt("s_state: errors were detected"));
        }
        let log = u32_at(superblock, 0x18);
        if log > MAX_LOG_BLOCK_SIZE {
            return Err(FsError::Corrupt("s_log_block_size"));
        }
        let block_sectors = 2_u64 << log;
        let wide = incompat & INCOMPAT_64BIT != 0;
        let blocks = if wide { u64_split(superblock, 0x04, 0x150) } else { u64::from(u32_at(superblock, 0x04)) };
        if blocks == 0 || blocks.checked_mul(block_sectors).is_none_or(|sectors| sectors > length) {
            return Err(FsError::Corrupt("s_blocks_count does not fit the partition"));
        }
        // Revision 0 has no s_inode_size: 128.
        let inode_bytes = if u32_at(superblock, 0x4C) == 0 { 128 } else { u64::from(u16_at(superblock, 0x58)) };
        if !inode_bytes.is_power_of_two() || inode_bytes < 128 || inode_bytes > block_sectors * SECTOR as u64 {
            return Err(FsError::Corrupt("s_inode_size"));
        }
        let descriptor_bytes = if wide { u64::from(u16_at(superblock, 0xFE)) } else { 32 };
        if !descriptor_bytes.is_power_of_two() || !(32..=1024).contains(&descriptor_bytes) {
            return Err(FsError::Corrupt("s_desc_size"));
        }
        let inodes_per_group = u32_at(superblock, 0x28);
        if inodes_per_group == 0 || u32_at(superblock, 0x20) == 0 {
            return Err(FsError::Corrupt("s_inodes_per_group or s_blocks_per_group is 0"));
        }
        let first_data_block = u64::from(u32_at(superblock, 0x14));
        // Blocks of 1 KiB begin behind the boot block; with bigalloc they are counted from it.
        if first_data_block > u64::from(log == 0) {
            return Err(FsError::Corrupt("s_first_data_block"));
        }
        let inodes = u32_at(superblock, 0);
        let needs_recovery = incompat & INCOMPAT_RECOVER != 0;
        Ok(Self {
            block_sectors,
            blocks,
            inodes,
            inodes_per_group,
            inode_bytes,
            descriptor_bytes,
            wide,
            needs_recovery,
        })
    }

    /// What the next mount would write before anybody asks it to: as the journal or a list of orphans was left by a
    /// system that did not unmount; the field's name.
    ///
    /// # Errors
    /// That the superblock can't be read.
    pub fn left_behind(&self, volume: &mut dyn Volume) -> Result<Option<&'static str>, FsError> {
        let superblock = superblock(volume)?;
        Ok(if self.needs_recovery {
            Some("s_feature_incompat: RECOVER")
        } else if u32_at(&superblock, 0xE8) != 0 {
            Some("s_last_orphan")
        } else if u32_at(&superblock, 0x64) & RO_ORPHAN_PRESENT != 0 {
            Some("s_feature_ro_compat: ORPHAN_PRESENT")
        } else {
            None
        })
    }

    /// Whether it says that it was unmounted (`s_state`). With a journal it says so even while it is mounted.
    ///
    /// # Errors
    /// As [`Ext::left_behind`].
    pub fn is_clean(&self, volume: &mut dyn Volume) -> Result<bool, FsError> {
        Ok(u16_at(&superblock(volume)?, 0x3A) & VALID_FS != 0)
    }

    /// `s_uuid`, and `s_volume_name`, filled up with zeros.
    ///
    /// # Errors
    /// As [`Ext::left_behind`].
    pub fn names(&self, volume: &mut dyn Volume) -> Result<([u8; 16], [u8; 16]), FsError> {
        let superblock = superblock(volume)?;
        let field = |at: usize| superblock.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        Ok((field(0x68), field(0x78)))
    }

    /// How many names a file has, by its path from the root directory on (`i_links_count`).
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why the file can't be used.
    pub fn links(&self, volume: &mut dyn Volume, path: &str) -> Result<u16, FsError> {
        Ok(self.lookup(volume, path)?.links())
    }

    /// The first sector of a block, if there is such a block. Block 0 means a hole everywhere.
    fn block(&self, block: u64) -> Result<Offset, FsError> {
        if block == 0 || block >= self.blocks {
            return Err(FsError::Corrupt("a block number is a hole or outside the filesystem"));
        }
        Ok(Offset(block * self.block_sectors))
    }

    /// Reads `into.len()` bytes that do not cross a sector from byte `at` of the volume.
    fn bytes_at(volume: &mut dyn Volume, at: u64, into: &mut [u8]) -> Result<(), FsError> {
        let mut sector = [0; SECTOR];
        read(volume, Offset(at / SECTOR as u64), &mut sector)?;
        let from = (at % SECTOR as u64) as usize;
        let bytes = sector.get(from..from + into.len()).ok_or(FsError::Corrupt("a structure's place"))?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn inode(&self, volume: &mut dyn Volume, number: u32) -> Result<Inode, FsError> {
        if number == 0 || number > self.inodes {
            return Err(FsError::Corrupt("an inode number"));
        }
        let (group, index) = ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        // The group descriptors begin in the block after the superblock's.
        let superblock = u64::from(self.block_sectors == 2);
        let table = self.block(superblock + 1)?.0 * SECTOR as u64;
        let mut descriptor = [0; 64];
        let length = if self.wide && self.descriptor_bytes >= 64 { 64 } else { 32 };
        Self::bytes_at(volume, table + u64::from(group) * self.descriptor_bytes, &mut descriptor[..length])?;
        // bg_inode_table_lo and _hi; the latter is still zero in a 32-byte descriptor.
        let inode_table = self.block(u64_split(&descriptor, 0x08, 0x28))?.0 * SECTOR as u64;
        let mut inode = [0; 128];
        Self::bytes_at(volume, inode_table + u64::from(index) * self.inode_bytes, &mut inode)?;
        Ok(Inode(inode))
    }

    /// The volume's sector where the file's block `logical` stands, and how many of its blocks stand
    /// there: one at least.
    fn map(&self, volume: &mut dyn Volume, inode: &Inode, logical: u32) -> Result<(Offset, u32), FsError> {
        if inode.flags() & EXTENTS_FL != 0 {
            return self.map_extent(volume, inode, logical);
        }
        if logical < 12 {
            return self.pieces(&inode.block_map()[..48], logical as usize * 4);
        }
        let per_block = (self.block_sectors * (SECTOR as u64 / 4)) as u32;
        let slot = logical - 12;
        if slot < per_block {
            return self.indirect(volume, u32_at(inode.block_map(), 12 * 4), slot);
        }
        // At most 16384 pointers in a block of 64 KiB, so their square fits. From 64 MiB on at the least.
        let slot = slot - per_block;
        if slot >= per_block * per_block {
            return Err(FsError::Unsupported("a file with triple indirect blocks"));
        }
        let middle = self.indirect(volume, u32_at(inode.block_map(), 13 * 4), slot / per_block)?.0;
        self.indirect(volume, (middle.0 / self.block_sectors) as u32, slot % per_block)
    }

    /// Follows pointer number `slot` of an indirect block.
    fn indirect(&self, volume: &mut dyn Volume, block: u32, slot: u32) -> Result<(Offset, u32), FsError> {
        let mut sector = [0; SECTOR];
        let (at, byte) = (self.block(u64::from(block))?, slot as usize * 4);
        read(volume, Offset(at.0 + (byte / SECTOR) as u64), &mut sector)?;
        self.pieces(&sector, byte % SECTOR)
    }

    /// Follows the pointer at byte `at` of `pointers`; the ones behind it may continue it.
    fn pieces(&self, pointers: &[u8], at: usize) -> Result<(Offset, u32), FsError> {
        let first = u32_at(pointers, at);
        let mut count = 1;
        for next in pointers[at..].as_chunks::<4>().0.iter().skip(1) {
            let block = first.wrapping_add(count);
            if u32::from_le_bytes(*next) != block || u64::from(block) >= self.blocks {
                break;
            }
            count += 1;
        }
        Ok((self.block(u64::from(first))?, count))
    }

    /// Walks the extent tree ("Extent Tree": a 12-byte header, then 12-byte entries).
    fn map_extent(&self, volume: &mut dyn Volume, inode: &Inode, logical: u32) -> Result<(Offset, u32), FsError> {
        let mut node = inode.block_map().to_vec();
        // eh_depth is at most 5; it must shrink at each level, so this ends.
        for level in (0..=5_u16).rev() {
            if u16_at(&node, 0) != 0xF30A {
                return Err(FsError::Corrupt("eh_magic"));
            }
            let (entries, depth) = (usize::from(u16_at(&node, 2)), u16_at(&node, 6));
            if depth > level {
                return Err(FsError::Corrupt("eh_depth"));
            }
            // No more than fit the node: 4 in the inode, and a block's worth below.
            let entries = node[12..].as_chunks::<12>().0.iter().take(entries);
            let Some(entry) = entries.take_while(|e| u32_at(&e[..], 0) <= logical).last() else {
                return Err(FsError::Corrupt("a hole in the file"));
            };
            if depth == 0 {
                return self.leaf(entry, logical);
            }
            let child = self.block(u64::from(u32_at(entry, 4)) | u64::from(u16_at(entry, 8)) << 32)?;
            node.resize(self.block_sectors as usize * SECTOR, 0);
            read(volume, child, &mut node)?;
        }
        Err(FsError::Corrupt("eh_depth"))
    }

    /// `ext4_extent`: ee_block, ee_len, ee_start_hi, ee_start_lo.
    fn leaf(&self, entry: &[u8; 12], logical: u32) -> Result<(Offset, u32), FsError> {
        let within = logical - u32_at(entry, 0).min(logical);
        let length = u16_at(entry, 4);
        // More than 32768 marks an extent that was allocated and never written.
        if length > 32768 {
            return Err(FsError::Corrupt("an unwritten extent in the file"));
        }
        if within >= u32::from(length) {
            return Err(FsError::Corrupt("a hole in the file"));
        }
        let start = u64::from(u32_at(entry, 8)) | u64::from(u16_at(entry, 6)) << 32;
        let count = u32::from(length) - within;
        self.block(start + u64::from(length) - 1)?;
        Ok((self.block(start + u64::from(within))?, count))
    }

    /// Finds `name` in the root directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why the file can't be used.
    pub fn find(&self, volume: &mut dyn Volume, name: &str) -> Result<FileStart, FsError> {
        let inode = self.lookup(volume, name)?;
        Ok(FileStart { at: self.map(volume, &inode, 0)?.0, bytes: inode.bytes() })
    }

    /// The user who owns a file of the root directory, by number, and how many names it has.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why the file can't be used.
    pub fn owner(&self, volume: &mut dyn Volume, name: &str) -> Result<(u32, u16), FsError> {
        let inode = self.lookup(volume, name)?;
        Ok((inode.owner(), inode.links()))
    }

    /// Finds all of the file at `path`, counted from the root directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or why the file can't be used.
    pub fn extents(&self, volume: &mut dyn Volume, path: &str) -> Result<FileMap, FsError> {
        let inode = self.lookup(volume, path)?;
        let mut map = FileMap { bytes: inode.bytes(), runs: Vec::new(), overhead: self.overhead(&inode) };
        let (mut left, mut logical) = (SectorCount::holding(map.bytes).0, 0_u32);
        if left > self.blocks * self.block_sectors {
            return Err(FsError::Corrupt("i_size does not fit the filesystem"));
        }
        for _ in 0..MAX_PIECES {
            if left == 0 {
                return Ok(map);
            }
            let (at, blocks) = self.map(volume, &inode, logical)?;
            let sectors = left.min(u64::from(blocks) * self.block_sectors);
            map.push(at, sectors)?;
            left -= sectors;
            logical = logical.saturating_add(blocks);
        }
        Err(FsError::Unsupported("a file in too many pieces"))
    }

    /// Sectors of the blocks of pointers that a file without holes has. How many nodes an extent tree has does not
    /// follow from the file's length; where it fits the inode (depth 0), there are none.
    fn overhead(&self, inode: &Inode) -> Option<u64> {
        if inode.flags() & EXTENTS_FL != 0 {
            return (u16_at(inode.block_map(), 6) == 0).then_some(0);
        }
        let per_block = self.block_sectors * (SECTOR as u64 / 4);
        let indirect = SectorCount::holding(inode.bytes()).0.div_ceil(self.block_sectors).saturating_sub(12);
        let double = indirect.saturating_sub(per_block);
        Some((u64::from(indirect > 0) + u64::from(double > 0) + double.div_ceil(per_block)) * self.block_sectors)
    }

    /// The inode of the regular file at `path`, counted from the root directory.
    #[inline(never)]
    fn lookup(&self, volume: &mut dyn Volume, path: &str) -> Result<Inode, FsError> {
        let mut inode = self.inode(volume, ROOT)?;
        for name in path.split('/') {
            let number = self.child(volume, &inode, name)?.ok_or(FsError::NotFound)?;
            inode = self.inode(volume, number)?;
        }
        inode.usable()
    }

    /// The inode number of what has this name in a directory.
    fn child(&self, volume: &mut dyn Volume, folder: &Inode, name: &str) -> Result<Option<u32>, FsError> {
        if !folder.is_directory() {
            return Ok(None);
        }
        if folder.flags() & UNREADABLE_FL != 0 {
            return Err(FsError::Unsupported("directory is inline or encrypted"));
        }
        let blocks = folder.bytes().min(MAX_DIRECTORY_BYTES) / (self.block_sectors * SECTOR as u64);
        for logical in 0..u32::try_from(blocks).unwrap_or(0) {
            let block = self.map(volume, folder, logical)?.0;
            if let Some(number) = self.search(volume, block, name)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Looks through one directory block. Entries never cross a block, but they do cross sectors, so
    /// the block is read whole; a hashed directory's inner blocks look empty (inode 0) from here.
    fn search(&self, volume: &mut dyn Volume, block: Offset, name: &str) -> Result<Option<u32>, FsError> {
        let mut bytes = alloc::vec![0; self.block_sectors as usize * SECTOR];
        read(volume, block, &mut bytes)?;
        let mut at = 0;
        while let Some(entry) = bytes.get(at..).filter(|rest| rest.len() >= 8) {
            let length = usize::from(u16_at(entry, 4));
            let found = entry.get(8..8 + usize::from(u8_at(entry, 6)));
            let inode = u32_at(entry, 0);
            if inode != 0 && found == Some(name.as_bytes()) {
                return Ok(Some(inode));
            }
            // rec_len is at least 12 and a multiple of 4; in a 64 KiB block FFFFh or 0 means "all".
            if length < 12 || length % 4 != 0 {
                break;
            }
            at += length;
        }
        Ok(None)
    }
}
