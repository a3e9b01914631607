//! What a run of sectors is, and which bytes of it a filesystem changes by itself: by being mounted,
//! unmounted, checked, read from, or by a file's content being overwritten in place.
//!
//! A seal hashes sectors after [`Kind::blank`], which zeroes those bytes. Every rule looks at one sector
//! alone, so any cut of a run into whole sectors gives the same bytes. Numbers and rules are part of the
//! format of images and seals: a change to either needs a new version of that.
//!
//! | number | sector | zeroed, byte offsets in hexadecimal |
//! |---|---|---|
//! | 0 | anything else | nothing |
//! | 1 | FAT boot sector | BS_Reserved1: 41 where BPB_FATSz16 is 0 (FAT32), else 25 |
//! | 2 | FAT32 FSInfo | FSI_Free_Count, FSI_Nxt_Free: 1E8..1F0 |
//! | 3 | first of a FAT16 table | FAT\[1\]'s ClnShutBit and HrdErrBit: bits 7 and 6 of 03 |
//! | 4 | first of a FAT32 table | the same: bits 3 and 2 of 07 |
//! | 5 | FAT directory | each 32-byte entry that is no part of a long name: archive bit, bit 5 of 0B; DIR_CrtTimeTenth to DIR_LstAccDate, 0D..14; DIR_WrtTime and DIR_WrtDate, 16..1A |
//! | 6 | first half of an ext superblock | s_free_blocks_count_lo, s_free_inodes_count: 0C..14; s_mtime, s_wtime, s_mnt_count: 2C..36; s_state: 3A..3C; s_lastcheck: 40..44; RECOVER, bit 2 of 60; ORPHAN_PRESENT, bit 0 of 66; s_last_mounted: 88..C8; s_last_orphan: E8..EC; s_free_blocks_count_hi: 158..15C; s_kbytes_written: 178..180; s_error_count to s_last_error_func: 194..200 |
//! | 7 | second half of it | s_overhead_blocks: 48..4C; s_wtime_hi, s_mtime_hi: 74..76; s_lastcheck_hi to s_last_error_errcode: 77..7C; s_checksum: 1FC..200 |
//! | 8 | ext group descriptors of 32 bytes | INODE_ZEROED, bit 2 of 12; bg_checksum: 1E..20 |
//! | 9 | the same of 64 bytes | the same |
//! | 10 | ext inodes of 128 bytes | i_atime, i_ctime, i_mtime: 08..14; l_i_version: 24..28; l_i_checksum_lo: 7C..7E |
//! | 11 | ext inodes of 256 bytes | the same, and as far as i_extra_isize reaches: i_checksum_hi: 82..84; i_ctime_extra, i_mtime_extra, i_atime_extra: 84..90; i_version_hi: 98..9C |
//! | 12 | an ext inode of 512 bytes, or the first sector of a longer one | the same |
//!
//! Sources: fatgen103, pages 10 to 24, and Linux `fs/fat/inode.c` (`fat_set_state`, `__fat_write_inode`);
//! Linux `Documentation/filesystems/ext4/` ("Super Block", "Block Group Descriptors", "Index Nodes") and
//! `fs/ext4/super.c` (`ext4_setup_super`, `ext4_update_super`, `ext4_update_overhead`).

use crate::bytes::{u8_at, u16_at};
use crate::units::SECTOR;

/// What a run of sectors is, as far as a seal has to know. The numbers stand on disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Anything in which every byte counts.
    Data = 0,
    /// A FAT boot sector, or its backup.
    FatBoot = 1,
    /// FAT32's FSInfo sector, or its backup.
    FatInfo = 2,
    /// The first sector of a FAT16 table.
    Fat16Table = 3,
    /// The first sector of a FAT32 table.
    Fat32Table = 4,
    /// A FAT directory.
    FatDirectory = 5,
    /// The first sector of an ext superblock, or of a backup.
    ExtSuperblock = 6,
    /// The second sector of an ext superblock, or of a backup.
    ExtSuperblockEnd = 7,
    /// ext group descriptors of 32 bytes.
    ExtDescriptors32 = 8,
    /// ext group descriptors of 64 bytes.
    ExtDescriptors64 = 9,
    /// ext inodes of 128 bytes.
    ExtInodes128 = 10,
    /// ext inodes of 256 bytes.
    ExtInodes256 = 11,
    /// An ext inode of 512 bytes, or the first sector of a longer one, whose others are data.
    ExtInodes512 = 12,
}

/// All kinds, by number.
const ALL: [Kind; 13] = [
    Kind::Data,
    Kind::FatBoot,
    Kind::FatInfo,
    Kind::Fat16Table,
    Kind::Fat32Table,
    Kind::FatDirectory,
    Kind::ExtSuperblock,
    Kind::ExtSuperblockEnd,
    Kind::ExtDescriptors32,
    Kind::ExtDescriptors64,
    Kind::ExtInodes128,
    Kind::ExtInodes256,
    Kind::ExtInodes512,
];

/// One thing to be zeroed in a record: bytes from the first number on, as many as the second says.
type Field = (u16, u8);

impl Kind {
    /// The kind with this number on a disk.
    #[must_use]
    pub fn from_byte(number: u8) -> Option<Self> {
        ALL.get(usize::from(number)).copied()
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::FatBoot => "boot sector",
            Self::FatInfo => "FSInfo",
            Self::Fat16Table | Self::Fat32Table => "FAT",
            Self::FatDirectory => "directory",
            Self::ExtSuperblock | Self::ExtSuperblockEnd => "superblock",
            Self::ExtDescriptors32 | Self::ExtDescriptors64 => "group descriptors",
            Self::ExtInodes128 | Self::ExtInodes256 | Self::ExtInodes512 => "inode table",
        }
    }

    /// Zeroes, in whole sectors of this kind, the bytes that do not count.
    pub fn blank(self, sectors: &mut [u8]) {
        if self == Self::Data {
            return;
        }
        for record in sectors.chunks_exact_mut(self.record_bytes()) {
            for &(at, length) in self.fields(record) {
                clear(record, at, length);
            }
            for &(at, bits) in self.bits(record) {
                if let Some(byte) = record.get_mut(usize::from(at)) {
                    *byte &= !bits;
                }
            }
        }
    }

    /// The length of what repeats: 512 is a multiple of it.
    fn record_bytes(self) -> usize {
        match self {
            Self::FatDirectory | Self::ExtDescriptors32 => 32,
            Self::ExtDescriptors64 => 64,
            Self::ExtInodes128 => 128,
            Self::ExtInodes256 => 256,
            _ => SECTOR,
        }
    }

    /// The fields that are zeroed whole.
    fn fields(self, record: &[u8]) -> &'static [Field] {
        match self {
            Self::FatBoot if u16_at(record, 0x16) == 0 => &[(0x41, 1)],
            Self::FatBoot => &[(0x25, 1)],
            Self::FatInfo => &[(0x1E8, 8)],
            Self::FatDirectory if !is_long_name(record) => &[(0x0D, 7), (0x16, 4)],
            Self::ExtSuperblock => &[
                (0x0C, 8),
                (0x2C, 10),
                (0x3A, 2),
                (0x40, 4),
                (0x88, 64),
                (0xE8, 4),
                (0x158, 4),
                (0x178, 8),
                (0x194, 0x6C),
            ],
            Self::ExtSuperblockEnd => &[(0x48, 4), (0x74, 2), (0x77, 5), (0x1FC, 4)],
            Self::ExtDescriptors32 | Self::ExtDescriptors64 => &[(0x1E, 2)],
            Self::ExtInodes128 => INODE,
            Self::ExtInodes256 | Self::ExtInodes512 => inode_fields(record),
            _ => &[],
        }
    }

    /// The bytes of which only some bits are zeroed.
    fn bits(self, record: &[u8]) -> &'static [(u8, u8)] {
        match self {
            Self::Fat16Table => &[(0x03, 0xC0)],
            Self::Fat32Table => &[(0x07, 0x0C)],
            Self::FatDirectory if !is_long_name(record) => &[(0x0B, 0x20)],
            Self::ExtSuperblock => &[(0x60, 0x04), (0x66, 0x01)],
            Self::ExtDescriptors32 | Self::ExtDescriptors64 => &[(0x12, 0x04)],
            _ => &[],
        }
    }
}

/// The fields of an inode, those of the original 128 bytes first, then each with the i_extra_isize that
/// it needs: its end less 80h.
const INODE: &[Field] = &[(0x08, 12), (0x24, 4), (0x7C, 2)];
const INODE_EXTRA: &[Field] =
    &[(0x08, 12), (0x24, 4), (0x7C, 2), (0x82, 2), (0x84, 4), (0x88, 4), (0x8C, 4), (0x98, 4)];

/// Behind `i_extra_isize` begin attributes, which count.
fn inode_fields(inode: &[u8]) -> &'static [Field] {
    let end = 0x80_u32.saturating_add(u32::from(u16_at(inode, 0x80)));
    let reached = INODE_EXTRA.iter().take_while(|field| u32::from(field.0) + u32::from(field.1) <= end).count();
    INODE_EXTRA.get(..reached).unwrap_or(INODE)
}

/// Whether a directory entry holds a part of a long name: DIR_Attr is 0Fh, by the mask 3Fh.
fn is_long_name(entry: &[u8]) -> bool {
    u8_at(entry, 0x0B) & 0x3F == 0x0F
}

fn clear(record: &mut [u8], at: u16, length: u8) {
    let at = usize::from(at);
    if let Some(field) = record.get_mut(at..at + usize::from(length)) {
        field.fill(0);
    }
}
