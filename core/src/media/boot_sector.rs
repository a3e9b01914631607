//! A partition's first sector: what a BIOS-style hand-off jumps to.
//!
//! Layouts: fatgen103 "Boot Sector and BPB"; the NTFS and exFAT fields that a hand-off fills in are
//! those that their own boot code reads.

use crate::bytes::{put_u32, u8_at, u16_at, u32_at};
use crate::units::SECTOR;

/// Why a boot sector must not be jumped to.
#[must_use]
pub fn fault(sector: &[u8; SECTOR]) -> Option<&'static str> {
    if u16_at(sector, 510) != 0xAA55 {
        return Some("boot sector has no 55AA");
    }
    // An empty or wiped sector may still end in 55AA: mkfs.ext4 never writes it, and some tools fill
    // the rest with one byte.
    if sector[0] == 0 || sector[..440].iter().all(|&b| b == sector[0]) {
        return Some("boot sector has no code");
    }
    None
}

/// Whether it has the BIOS parameter block of a FAT volume: a jump, 512 bytes a sector, a power of
/// two sectors a cluster, and a media byte that the specification allows. 55AA is not asked for: a
/// restore withholds it to the end, and bstate.txt has to be found meanwhile.
#[must_use]
pub fn has_bpb(sector: &[u8; SECTOR]) -> bool {
    let jump = match sector[0] {
        0xEB => sector[2] == 0x90,
        0xE9 => true,
        _ => false,
    };
    let media = u8_at(sector, 0x15);
    jump && u16_at(sector, 0x0B) == SECTOR as u16
        && u8_at(sector, 0x0D).is_power_of_two()
        && (media == 0xF0 || media >= 0xF8)
}

/// Whether it is NTFS's, whose parameter block looks like FAT's ("NTFS.com: NTFS Partition Boot Sector", OEM ID).
#[must_use]
pub fn is_ntfs(sector: &[u8; SECTOR]) -> bool {
    sector[3..11] == *b"NTFS    "
}

/// Fills in what the boot code of FAT and NTFS takes from its own sector: the hidden sectors (where
/// the partition begins) and the drive number. Images carry neither rightly, since the same image
/// stands at several places. In memory only; the disk keeps the image's bytes.
///
/// FAT32 keeps the drive number at 40h, FAT12/16 and NTFS at 24h; NT's FAT32 code takes the drive
/// from there and not from DL.
pub fn adapt(sector: &mut [u8; SECTOR], start: u32, drive: u8) {
    let ntfs = is_ntfs(sector);
    if !ntfs && !has_bpb(sector) {
        return;
    }
    put_u32(sector, 0x1C, start);
    let fat32 = !ntfs && u16_at(sector, 0x16) == 0 && u32_at(sector, 0x24) != 0;
    sector[if fat32 { 0x40 } else { 0x24 }] = drive;
}
