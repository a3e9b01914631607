//! ext2, ext3 and ext4: superblocks and group descriptors, bitmaps, inode tables, files.
//!
//! Layouts: Linux `Documentation/filesystems/ext4/` ("Super Block", "Block Group Descriptors", "Block and
//! Inode Bitmaps", "The Contents of inode.i_block", "Directory Entries", "Extended Attributes"); field
//! names are its own. The journal is not read: see [`crate::media::filesystem::Filesystem::is_settled`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bytes::{u8_at, u16_at, u32_at, u64_split};
use crate::layout::{Builder, Layout, Met, Run, use_more};
use crate::media::ext::{EXTENTS_FL, Ext, I_BLOCK, ROOT};
use crate::media::filesystem::{FsError, Volume, read};
use crate::media::kind::Kind;
use crate::units::{Offset, SECTOR};

/// `s_feature_compat`: HAS_JOURNAL, SPARSE_SUPER2, ORPHAN_FILE.
const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const COMPAT_ORPHAN_FILE: u32 = 0x1000;
/// `s_feature_incompat`: MMP.
const INCOMPAT_MMP: u32 = 0x100;
/// `s_feature_ro_compat`: SPARSE_SUPER, GDT_CSUM (uninit_bg), QUOTA, BIGALLOC, METADATA_CSUM.
const RO_SPARSE_SUPER: u32 = 0x1;
const RO_GDT_CSUM: u32 = 0x10;
const RO_QUOTA: u32 = 0x100;
const RO_BIGALLOC: u32 = 0x200;
const RO_METADATA_CSUM: u32 = 0x400;
/// The bits of `s_feature_ro_compat` under which blocks are where this module looks for them: the above,
/// LARGE_FILE, BTREE_DIR, HUGE_FILE, DIR_NLINK, EXTRA_ISIZE, READONLY, PROJECT, VERITY, ORPHAN_PRESENT.
const KNOWN_RO: u32 = RO_SPARSE_SUPER
    | RO_GDT_CSUM
    | RO_QUOTA
    | RO_METADATA_CSUM
    | 0x2
    | 0x4
    | 0x8
    | 0x20
    | 0x40
    | 0x1000
    | 0x2000
    | 0x8000
    | 0x1_0000;
/// `bg_flags`: no inode of the group was ever used; its block bitmap was never written.
const INODE_UNINIT: u16 = 0x1;
const BLOCK_UNINIT: u16 = 0x2;
/// `i_flags`: content is in the inode.
const INLINE_DATA_FL: u32 = 0x1000_0000;
/// Inodes with a fixed meaning ("Special inodes"): bad blocks, boot loader, resize.
const BAD_BLOCKS: u32 = 1;
const BOOT_LOADER: u32 = 5;
const RESIZE: u32 = 7;
/// `i_mode`, file type: directory, regular file, symbolic link.
const DIRECTORY: u16 = 0x4000;
const REGULAR: u16 = 0x8000;
const LINK: u16 = 0xA000;

/// Reads the layout.
pub(super) fn layout(volume: &mut dyn Volume, ext: &Ext) -> Result<Layout, FsError> {
    let mut superblock = [0; 2 * SECTOR];
    read(volume, Offset(2), &mut superblock)?;
    let mut id = [0; 16];
    id.copy_from_slice(&superblock[0x68..0x78]);
    let shape = Shape::read(volume, ext, &superblock)?;
    let builder = Builder::new(ext.blocks * ext.block_sectors, false);
    let met = Met::new(u64::from(ext.inodes) + 1);
    let (left, linked, attributes) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut walk = Walk { volume, shape, builder, met, left, linked, attributes };
    walk.geometry()?;
    walk.special(&superblock)?;
    walk.inode_of(ROOT, String::from("/"), true)?;
    while let Some((path, number)) = walk.left.pop() {
        walk.directory(&path, number)?;
    }
    let used = walk.used()?;
    walk.builder.finish(&used, id)
}

/// Where the fixed structures are.
struct Shape {
    ext: Ext,
    first_data_block: u64,
    blocks_per_group: u64,
    groups: u64,
    /// Blocks of group descriptors in each group that has a superblock, and those kept free behind them.
    descriptor_blocks: u64,
    reserved_blocks: u64,
    /// The table of group descriptors.
    descriptors: Vec<u8>,
    /// `s_backup_bgs`, with sparse_super2.
    backups: Option<[u64; 2]>,
    sparse: bool,
    /// Whether `bg_flags` and `bg_itable_unused` are protected by a checksum, and so valid.
    checksums: bool,
}

impl Shape {
    fn read(volume: &mut dyn Volume, ext: &Ext, superblock: &[u8]) -> Result<Self, FsError> {
        let (compat, ro) = (u32_at(superblock, 0x5C), u32_at(superblock, 0x64));
        if ro & RO_BIGALLOC != 0 {
            return Err(FsError::Unsupported("bigalloc"));
        }
        if ro & !KNOWN_RO != 0 {
            return Err(FsError::Unsupported("s_feature_ro_compat has an unknown bit"));
        }
        if !matches!(ext.descriptor_bytes, 32 | 64) {
            return Err(FsError::Unsupported("s_desc_size is over 64"));
        }
        let block_bytes = ext.block_sectors * SECTOR as u64;
        let blocks_per_group = u64::from(u32_at(superblock, 0x20));
        // A block's bits are the bitmap; mke2fs makes no groups below 256 blocks.
        if blocks_per_group > block_bytes * 8 || blocks_per_group < 256 {
            return Err(FsError::Corrupt("s_blocks_per_group"));
        }
        let first_data_block = u64::from(u32_at(superblock, 0x14));
        let data_blocks = ext.blocks.checked_sub(first_data_block).filter(|count| *count > 0);
        let data_blocks = data_blocks.ok_or(FsError::Corrupt("s_blocks_count"))?;
        let groups = data_blocks.div_ceil(blocks_per_group);
        if u64::from(ext.inodes) != groups * u64::from(ext.inodes_per_group) {
            return Err(FsError::Corrupt("s_inodes_count"));
        }
        let table_bytes = u64::from(ext.inodes_per_group) * ext.inode_bytes;
        if u64::from(ext.inodes_per_group) > block_bytes * 8 || table_bytes.div_ceil(block_bytes) > ext.blocks / groups
        {
            return Err(FsError::Corrupt("s_inodes_per_group"));
        }
        let reserved_blocks = u64::from(u16_at(superblock, 0xCE));
        let descriptor_blocks = (groups * ext.descriptor_bytes).div_ceil(block_bytes);
        if descriptor_blocks + reserved_blocks > ext.blocks {
            return Err(FsError::Corrupt("s_reserved_gdt_blocks"));
        }
        let mut descriptors = alloc::vec![0; (descriptor_blocks * block_bytes) as usize];
        read(volume, Offset((first_data_block + 1) * ext.block_sectors), &mut descriptors)?;
        let backup = |at| u64::from(u32_at(superblock, at));
        Ok(Self {
            ext: *ext,
            first_data_block,
            blocks_per_group,
            groups,
            descriptor_blocks,
            reserved_blocks,
            descriptors,
            backups: (compat & COMPAT_SPARSE_SUPER2 != 0).then(|| [backup(0x24C), backup(0x250)]),
            sparse: ro & RO_SPARSE_SUPER != 0,
            checksums: ro & (RO_GDT_CSUM | RO_METADATA_CSUM) != 0,
        })
    }

    fn block_bytes(&self) -> usize {
        self.ext.block_sectors as usize * SECTOR
    }

    fn group_start(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }

    fn descriptor(&self, group: u64) -> Descriptor<'_> {
        let bytes = self.ext.descriptor_bytes as usize;
        let at = group as usize * bytes;
        Descriptor(self.descriptors.get(at..at + bytes).unwrap_or_default())
    }

    /// Whether a group has a superblock and group descriptors: the first has, and the backups are in all
    /// others, or with sparse_super in number 1 and the powers of 3, 5 and 7, or where sparse_super2 says.
    fn has_superblock(&self, group: u64) -> bool {
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        match self.backups {
            _ if group == 0 => true,
            Some(backups) => backups.contains(&group),
            None => !self.sparse || group == 1 || [3, 5, 7].into_iter().any(power_of),
        }
    }

    /// Blocks of a group's inode table, and how many of them, at the beginning, hold inodes that are or
    /// were in use. The others may hold anything.
    fn table_blocks(&self, group: u64) -> (u64, u64) {
        let blocks = |inodes: u64| (inodes * self.ext.inode_bytes).div_ceil(self.block_bytes() as u64);
        let all = u64::from(self.ext.inodes_per_group);
        let descriptor = self.descriptor(group);
        let used = match descriptor.flags() {
            _ if !self.checksums => all,
            flags if flags & INODE_UNINIT != 0 => 0,
            _ => all.saturating_sub(descriptor.unused_inodes()),
        };
        (blocks(all), blocks(used))
    }
}

/// A group descriptor of 32 or 64 bytes; the upper halves are zero in the former.
struct Descriptor<'a>(&'a [u8]);

impl Descriptor<'_> {
    fn block_bitmap(&self) -> u64 {
        u64_split(self.0, 0x00, 0x20)
    }
    fn inode_bitmap(&self) -> u64 {
        u64_split(self.0, 0x04, 0x24)
    }
    fn inode_table(&self) -> u64 {
        u64_split(self.0, 0x08, 0x28)
    }
    fn flags(&self) -> u16 {
        u16_at(self.0, 0x12)
    }
    fn unused_inodes(&self) -> u64 {
        u64::from(u16_at(self.0, 0x1C)) | u64::from(u16_at(self.0, 0x32)) << 16
    }
}

/// An inode, whole.
struct Inode(Vec<u8>);

impl Inode {
    fn kind(&self) -> u16 {
        u16_at(&self.0, 0) & 0xF000
    }
    fn bytes(&self) -> u64 {
        u64_split(&self.0, 0x04, 0x6C)
    }
    fn links(&self) -> u16 {
        u16_at(&self.0, 0x1A)
    }
    fn flags(&self) -> u32 {
        u32_at(&self.0, 0x20)
    }
    fn block_map(&self) -> &[u8] {
        self.0.get(I_BLOCK..I_BLOCK + 60).unwrap_or_default()
    }
    /// `i_file_acl_lo` and `l_i_file_acl_high`.
    fn attributes(&self) -> u64 {
        u64::from(u32_at(&self.0, 0x68)) | u64::from(u16_at(&self.0, 0x76)) << 32
    }
    /// Whether `i_block` holds something else than places: device numbers, a short link's target, content.
    fn has_no_blocks(&self) -> bool {
        let flags = self.flags();
        let short_link = self.kind() == LINK && flags & EXTENTS_FL == 0 && self.bytes() < 60;
        flags & INLINE_DATA_FL != 0 || short_link || !matches!(self.kind(), DIRECTORY | REGULAR | LINK)
    }

    /// The end of an inline directory's content: the value of the attribute "system.data" inside the inode.
    /// It has an `ext4_xattr_entry` behind the magic number, and its value counted from there.
    fn inline_rest(&self) -> &[u8] {
        let start = 0x80 + usize::from(u16_at(&self.0, 0x80));
        if self.0.len() <= 128 || u32_at(&self.0, start) != 0xEA02_0000 {
            return &[];
        }
        let area = self.0.get(start + 4..).unwrap_or_default();
        let mut at = 0;
        while let Some(entry) = area.get(at..).filter(|rest| rest.len() >= 16 && u32_at(rest, 0) != 0) {
            let name = usize::from(u8_at(entry, 0));
            if u8_at(entry, 1) == 7 && entry.get(16..16 + name) == Some(b"data") {
                let (from, bytes) = (usize::from(u16_at(entry, 2)), u32_at(entry, 8) as usize);
                return area.get(from..from.saturating_add(bytes)).unwrap_or_default();
            }
            at += (16 + name).next_multiple_of(4);
        }
        &[]
    }
}

/// Whose blocks are being claimed.
#[derive(Clone, Copy)]
struct Claimant {
    owner: u32,
    volatile: bool,
    /// The list of bad blocks: nothing in them counts.
    bad: bool,
}

/// The walk through an ext volume.
struct Walk<'a> {
    volume: &'a mut dyn Volume,
    shape: Shape,
    builder: Builder,
    /// Inodes that have a path.
    met: Met,
    /// Directories that were found and not read: path, inode.
    left: Vec<(String, u32)>,
    /// Inodes of files that may have further names, and the owner that the first name is.
    linked: BTreeMap<u32, u32>,
    /// Blocks of attributes, which inodes may share.
    attributes: BTreeSet<u64>,
}

impl Walk<'_> {
    /// Metadata in whole blocks.
    fn blocks(&mut self, first: u64, blocks: u64, kind: Kind, name: &str) -> Result<(), FsError> {
        let (first, sectors) = self.sectors(first, blocks)?;
        self.builder.fixed(first, sectors, kind, name)
    }

    /// Blocks as sectors, if they are inside. Block 0 belongs to the geometry.
    fn sectors(&self, first: u64, blocks: u64) -> Result<(u64, u64), FsError> {
        let ext = &self.shape.ext;
        if first == 0 || first >= ext.blocks || blocks > ext.blocks - first {
            return Err(FsError::Corrupt("a block number lies outside the filesystem"));
        }
        Ok((first * ext.block_sectors, blocks * ext.block_sectors))
    }

    /// All that stands where the superblock and the group descriptors say.
    fn geometry(&mut self) -> Result<(), FsError> {
        self.builder.fixed(0, 2, Kind::Data, "boot block")?;
        for group in 0..self.shape.groups {
            if self.shape.has_superblock(group) {
                self.superblock(group)?;
            }
            let descriptor = self.shape.descriptor(group);
            let (block_bitmap, inode_bitmap) = (descriptor.block_bitmap(), descriptor.inode_bitmap());
            self.blocks(block_bitmap, 1, Kind::Data, "block bitmap")?;
            self.blocks(inode_bitmap, 1, Kind::Data, "inode bitmap")?;
            self.inode_table(group)?;
        }
        Ok(())
    }

    /// A superblock, what fills its block, and the descriptors behind it.
    fn superblock(&mut self, group: u64) -> Result<(), FsError> {
        let shape = &self.shape;
        let (start, sectors) = (shape.group_start(group), shape.ext.block_sectors);
        let (descriptors, reserved) = (shape.descriptor_blocks, shape.reserved_blocks);
        let kind = if shape.ext.descriptor_bytes == 64 { Kind::ExtDescriptors64 } else { Kind::ExtDescriptors32 };
        // The first is at byte 1024 whatever the block size, its backups are at their block's beginning.
        let at = if group == 0 { 2 } else { start * sectors };
        self.builder.fixed(at, 1, Kind::ExtSuperblock, "superblock")?;
        self.builder.fixed(at + 1, 1, Kind::ExtSuperblockEnd, "superblock")?;
        let end = (start + 1) * sectors;
        self.builder.fixed(at + 2, end.saturating_sub(at + 2), Kind::Data, "superblock")?;
        self.blocks(start + 1, descriptors, kind, "group descriptors")?;
        if reserved > 0 {
            self.blocks(start + 1 + descriptors, reserved, Kind::Data, "reserved group descriptors")?;
        }
        Ok(())
    }

    fn inode_table(&mut self, group: u64) -> Result<(), FsError> {
        let table = self.shape.descriptor(group).inode_table();
        let (all, used) = self.shape.table_blocks(group);
        let (first, sectors) = self.sectors(table, all)?;
        let end = first + used * self.shape.ext.block_sectors;
        match self.shape.ext.inode_bytes {
            128 => self.builder.fixed(first, end - first, Kind::ExtInodes128, "inode table")?,
            256 => self.builder.fixed(first, end - first, Kind::ExtInodes256, "inode table")?,
            bytes => self.long_inodes(first, end, bytes / SECTOR as u64)?,
        }
        self.builder.skip(end, first + sectors - end)
    }

    /// Inodes of `sectors` sectors each: the fields are in the first.
    fn long_inodes(&mut self, first: u64, end: u64, sectors: u64) -> Result<(), FsError> {
        for at in (first..end).step_by(sectors.max(1) as usize) {
            self.builder.fixed(at, 1, Kind::ExtInodes512, "inode table")?;
            self.builder.fixed(at + 1, sectors.saturating_sub(1), Kind::Data, "inode table")?;
        }
        Ok(())
    }

    /// Inodes that no directory names.
    fn special(&mut self, superblock: &[u8]) -> Result<(), FsError> {
        let (compat, ro) = (u32_at(superblock, 0x5C), u32_at(superblock, 0x64));
        // s_journal_inum, s_orphan_file_inum, s_usr_quota_inum, s_grp_quota_inum, s_prj_quota_inum.
        let changing = [
            (compat & COMPAT_HAS_JOURNAL, 0xE0, "journal"),
            (compat & COMPAT_ORPHAN_FILE, 0x280, "orphan file"),
            (ro & RO_QUOTA, 0x240, "quota"),
            (ro & RO_QUOTA, 0x244, "quota"),
            (ro & RO_QUOTA, 0x26C, "quota"),
        ];
        for (present, field, name) in changing {
            let number = u32_at(superblock, field);
            if present != 0 && number != 0 {
                self.special_inode(number, name, true)?;
            }
        }
        self.special_inode(BAD_BLOCKS, "bad blocks", false)?;
        self.special_inode(BOOT_LOADER, "boot loader", false)?;
        self.resize_inode()?;
        // s_mmp_block: multiple mount protection, rewritten every few seconds.
        if u32_at(superblock, 0x60) & INCOMPAT_MMP != 0 {
            let (first, sectors) = self.sectors(u64_split(superblock, 0x168, 0x16C), 1)?;
            let owner = Some(self.builder.metadata("multiple mount protection")?);
            self.builder.found(Run { first, sectors, kind: Kind::Data, owner, volatile: true })?;
        }
        Ok(())
    }

    fn special_inode(&mut self, number: u32, name: &str, volatile: bool) -> Result<(), FsError> {
        let inode = self.read_inode(number)?;
        // The list of bad blocks has no mode.
        let bad = number == BAD_BLOCKS;
        if !self.met.first_time(u64::from(number)) || !bad && inode.has_no_blocks() {
            return Ok(());
        }
        if inode.block_map().iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let owner = self.builder.metadata(name)?;
        self.content(&inode, Claimant { owner, volatile, bad }).map(|_| ())
    }

    /// The resize inode maps the reserved descriptor blocks by a double indirect block, `i_block[13]`; that
    /// one alone is not told by the geometry.
    fn resize_inode(&mut self) -> Result<(), FsError> {
        let inode = self.read_inode(RESIZE)?;
        let block = u64::from(u32_at(inode.block_map(), 13 * 4));
        self.met.first_time(u64::from(RESIZE));
        if block == 0 {
            return Ok(());
        }
        let owner = self.builder.metadata("resize inode")?;
        self.claim(block, 1, Claimant { owner, volatile: false, bad: false })
    }

    fn read_inode(&mut self, number: u32) -> Result<Inode, FsError> {
        let ext = &self.shape.ext;
        if number == 0 || number > ext.inodes {
            return Err(FsError::Corrupt("an inode number"));
        }
        let (group, index) = ((number - 1) / ext.inodes_per_group, (number - 1) % ext.inodes_per_group);
        let (table, _) = self.sectors(self.shape.descriptor(u64::from(group)).inode_table(), 1)?;
        let byte = u64::from(index) * ext.inode_bytes;
        let (from, bytes) = ((byte % SECTOR as u64) as usize, ext.inode_bytes as usize);
        let mut sectors = alloc::vec![0; bytes.max(SECTOR)];
        read(self.volume, Offset(table + byte / SECTOR as u64), &mut sectors)?;
        Ok(Inode(sectors.get(from..from + bytes).unwrap_or_default().to_vec()))
    }

    /// A path and the inode that it names.
    fn inode_of(&mut self, number: u32, path: String, directory: bool) -> Result<(), FsError> {
        let inode = self.read_inode(number)?;
        let first_time = self.met.first_time(u64::from(number));
        if inode.kind() == DIRECTORY {
            if !first_time {
                return Err(FsError::Corrupt("a directory has two names"));
            }
            self.left.push((path, number));
            return Ok(());
        }
        if directory {
            return Err(FsError::Corrupt("inode 2 is no directory"));
        }
        if first_time {
            return self.file(number, &inode, path);
        }
        match self.linked.get(&number) {
            Some(&owner) => self.builder.link(path, owner),
            // Devices, pipes and short links have nothing that could be owned.
            None if inode.kind() != REGULAR && inode.has_no_blocks() => Ok(()),
            None => Err(FsError::Corrupt("i_links_count")),
        }
    }

    fn file(&mut self, number: u32, inode: &Inode, path: String) -> Result<(), FsError> {
        self.attribute_block(inode)?;
        if inode.kind() != REGULAR && inode.has_no_blocks() {
            return Ok(());
        }
        let volatile = self.builder.is_volatile(&path);
        let owner = self.builder.owner(path)?;
        if inode.links() > 1 {
            self.linked.insert(number, owner);
        }
        self.content(inode, Claimant { owner, volatile, bad: false }).map(|_| ())
    }

    /// Attributes outside the inode: one block, which other inodes may share.
    fn attribute_block(&mut self, inode: &Inode) -> Result<(), FsError> {
        let block = inode.attributes();
        if block == 0 || !self.attributes.insert(block) {
            return Ok(());
        }
        let owner = self.builder.metadata("extended attributes")?;
        self.claim(block, 1, Claimant { owner, volatile: false, bad: false })
    }

    /// Reads a directory: what its entries name.
    fn directory(&mut self, path: &str, number: u32) -> Result<(), FsError> {
        let inode = self.read_inode(number)?;
        let owner = self.builder.owner(path.to_string())?;
        self.attribute_block(&inode)?;
        if inode.flags() & INLINE_DATA_FL != 0 {
            // i_block: the parent's inode number, then entries.
            self.entries(path, inode.block_map().get(4..).unwrap_or_default())?;
            return self.entries(path, inode.inline_rest());
        }
        let pieces = self.content(&inode, Claimant { owner, volatile: false, bad: false })?;
        let mut bytes = alloc::vec![0; self.shape.block_bytes()];
        for (first, blocks) in pieces {
            for block in first..first + blocks {
                read(self.volume, Offset(block * self.shape.ext.block_sectors), &mut bytes)?;
                self.entries(path, &bytes)?;
            }
        }
        Ok(())
    }

    /// The entries (`ext4_dir_entry_2`) in a block, or in an inode: inode, rec_len, name_len, name at 8.
    /// Hash trees and checksums look like entries without an inode.
    fn entries(&mut self, path: &str, bytes: &[u8]) -> Result<(), FsError> {
        let mut at = 0;
        while let Some(entry) = bytes.get(at..).filter(|rest| rest.len() >= 8) {
            let length = record_length(u16_at(entry, 4), bytes.len());
            if length < 8 || !length.is_multiple_of(4) || length > entry.len() {
                return Err(FsError::Corrupt("rec_len of a directory entry"));
            }
            let name = entry.get(8..8 + usize::from(u8_at(entry, 6))).ok_or(FsError::Corrupt("name_len"))?;
            let number = u32_at(entry, 0);
            if number != 0 && name != b"." && name != b".." {
                let path = self.builder.path(path, &String::from_utf8_lossy(name))?;
                self.inode_of(number, path, false)?;
            }
            at += length;
        }
        Ok(())
    }

    /// Claims an inode's blocks, those of its map included; the content's own, as first block and blocks.
    fn content(&mut self, inode: &Inode, claimant: Claimant) -> Result<Vec<(u64, u64)>, FsError> {
        let mut pieces = Vec::new();
        if !claimant.bad && inode.has_no_blocks() {
            return Ok(pieces);
        }
        if inode.flags() & EXTENTS_FL != 0 {
            self.extents(inode.block_map(), None, claimant, &mut pieces)?;
            return Ok(pieces);
        }
        for (slot, pointer) in inode.block_map().as_chunks::<4>().0.iter().enumerate() {
            let level = slot.saturating_sub(11);
            self.indirect(u32::from_le_bytes(*pointer), level, claimant, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// Follows a pointer: to content at level 0, to a block of pointers of the level below at 1 to 3.
    fn indirect(
        &mut self,
        block: u32,
        level: usize,
        claimant: Claimant,
        pieces: &mut Vec<(u64, u64)>,
    ) -> Result<(), FsError> {
        if block == 0 {
            return Ok(());
        }
        let block = u64::from(block);
        if level == 0 {
            use_more(pieces, block, 1);
            return self.claim(block, 1, claimant);
        }
        // The pointers' own block counts even if all of its content is bad.
        self.claim(block, 1, Claimant { bad: false, ..claimant })?;
        let pointers = self.read_block(block)?;
        for pointer in pointers.as_chunks::<4>().0 {
            self.indirect(u32::from_le_bytes(*pointer), level - 1, claimant, pieces)?;
        }
        Ok(())
    }

    /// Walks a node of an extent tree ("Extent Tree": a 12-byte header, then 12-byte entries); `depth` is
    /// what the parent asks for.
    fn extents(
        &mut self,
        node: &[u8],
        depth: Option<u16>,
        claimant: Claimant,
        pieces: &mut Vec<(u64, u64)>,
    ) -> Result<(), FsError> {
        let (entries, own) = (usize::from(u16_at(node, 2)), u16_at(node, 6));
        if u16_at(node, 0) != 0xF30A {
            return Err(FsError::Corrupt("eh_magic"));
        }
        if own > 5 || depth.is_some_and(|depth| depth != own) {
            return Err(FsError::Corrupt("eh_depth"));
        }
        let list = node.get(12..).unwrap_or_default().as_chunks::<12>().0;
        let list = list.get(..entries).ok_or(FsError::Corrupt("eh_entries"))?;
        for entry in list {
            if own == 0 {
                self.extent(entry, claimant, pieces)?;
                continue;
            }
            // ei_leaf_lo, ei_leaf_hi.
            let child = u64::from(u32_at(entry, 4)) | u64::from(u16_at(entry, 8)) << 32;
            self.claim(child, 1, claimant)?;
            let child = self.read_block(child)?;
            self.extents(&child, Some(own - 1), claimant, pieces)?;
        }
        Ok(())
    }

    /// `ext4_extent`: ee_len (more than 32768 where it was never written), ee_start_hi, ee_start_lo.
    fn extent(&mut self, entry: &[u8; 12], claimant: Claimant, pieces: &mut Vec<(u64, u64)>) -> Result<(), FsError> {
        let length = u64::from(u16_at(entry, 4));
        let (unwritten, blocks) = if length > 32768 { (true, length - 32768) } else { (false, length) };
        let first = u64::from(u32_at(entry, 8)) | u64::from(u16_at(entry, 6)) << 32;
        if blocks == 0 {
            return Err(FsError::Corrupt("ee_len"));
        }
        if !unwritten {
            use_more(pieces, first, blocks);
        }
        self.claim(first, blocks, claimant)
    }

    fn read_block(&mut self, block: u64) -> Result<Vec<u8>, FsError> {
        let mut bytes = alloc::vec![0; self.shape.block_bytes()];
        read(self.volume, Offset(block * self.shape.ext.block_sectors), &mut bytes)?;
        Ok(bytes)
    }

    fn claim(&mut self, first: u64, blocks: u64, claimant: Claimant) -> Result<(), FsError> {
        let (first, sectors) = self.sectors(first, blocks)?;
        if claimant.bad {
            return self.builder.skip(first, sectors);
        }
        let (owner, volatile) = (Some(claimant.owner), claimant.volatile);
        self.builder.found(Run { first, sectors, kind: Kind::Data, owner, volatile })
    }

    /// What the bitmaps call in use. A group whose bitmap was never written has nothing but metadata.
    fn used(&mut self) -> Result<Vec<(u64, u64)>, FsError> {
        let mut used = Vec::new();
        let sectors = self.shape.ext.block_sectors;
        for group in 0..self.shape.groups {
            let descriptor = self.shape.descriptor(group);
            if self.shape.checksums && descriptor.flags() & BLOCK_UNINIT != 0 {
                continue;
            }
            let bitmap = descriptor.block_bitmap();
            let bitmap = self.read_block(bitmap)?;
            let start = self.shape.group_start(group);
            let blocks = self.shape.blocks_per_group.min(self.shape.ext.blocks - start);
            for bit in 0..blocks {
                if u8_at(&bitmap, (bit / 8) as usize) >> (bit % 8) & 1 != 0 {
                    use_more(&mut used, (start + bit) * sectors, sectors);
                }
            }
        }
        Ok(used)
    }
}

/// rec_len; 0 and FFFFh mean all of a block of 64 KiB.
fn record_length(length: u16, block: usize) -> usize {
    if block == 65536 && matches!(length, 0 | 0xFFFF) { block } else { usize::from(length) }
}
