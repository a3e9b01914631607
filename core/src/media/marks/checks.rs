//! What has to be so besides a mark's bytes, where these are few: data that only looks so by chance must not get a
//! name. The fields are those that libblkid looks at; where its own check is one of a short checksum, so is this.

use super::On;
use super::view::View;
use crate::bytes::{u8_at, u16_at, u32_at};
use crate::media::boot_sector;
use crate::units::SECTOR;

/// The identifier of BitLocker To Go in its boot sector, at byte 424.
pub const BITLOCKER_TO_GO: &[u8] = b"\x3B\xD6\x67\x49\x29\x2E\xD8\x4A\x83\x99\xF6\xA3\x39\xE3\xD0\x01";

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16_at(bytes, at).swap_bytes()
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at).swap_bytes()
}

/// Whether it is a power of two from `least` to `most`.
fn is_power(value: u32, least: u32, most: u32) -> bool {
    value.is_power_of_two() && least <= value && value <= most
}

/// The sum of so many 16-bit fields.
fn sum16(bytes: &[u8], fields: usize) -> u16 {
    (0..fields).fold(0, |sum: u16, n| sum.wrapping_add(u16_at(bytes, 2 * n)))
}

/// The types of an MBR's four entries, if it is a table: 55AA, status bytes 00 or 80, and an entry that does not
/// begin at sector 0, as the one does that `mkfs.fat --mbr` writes into a filesystem's own sector.
fn table(sector: &[u8]) -> Option<[u8; 4]> {
    let at = [446, 462, 478, 494];
    let statuses = at.iter().all(|&at| matches!(u8_at(sector, at), 0 | 0x80));
    let real = |&at: &usize| u8_at(sector, at + 4) != 0 && u32_at(sector, at + 8) != 0 && u32_at(sector, at + 12) != 0;
    let is_table = u16_at(sector, 510) == 0xAA55 && statuses && at.iter().any(real);
    is_table.then(|| at.map(|at| u8_at(sector, at + 4)))
}

/// An MBR with an entry of type EE.
pub fn protective(view: &View<'_>, _: u64) -> bool {
    table(view.from(0)).is_some_and(|kinds| kinds.contains(&0xEE))
}

/// BPB, and what blkid asks for besides: a FAT, reserved sectors, more sectors than the FATs take, and that the
/// sector is nobody else's whose has a parameter block, nor an MBR.
pub fn fat(view: &View<'_>, _: u64) -> bool {
    let sector = view.from(0);
    let Some(whole) = sector.first_chunk::<SECTOR>() else { return false };
    let name =
        |at: usize, names: &[&[u8]]| names.iter().any(|name| whole.get(at..).is_some_and(|s| s.starts_with(name)));
    let others = boot_sector::is_ntfs(whole)
        || name(424, &[BITLOCKER_TO_GO])
        || name(3, &[b"-FVE-FS-"])
        || name(0x36, &[b"JFS     ", b"HPFS    "])
        || view.on == On::Disk && table(sector).is_some();
    let named = name(0x52, &[b"MSWIN", b"FAT32   "]) || name(0x36, &[b"MSDOS", b"FAT16   ", b"FAT12   ", b"FAT     "]);
    let jump = u8_at(sector, 0) == 0xE9 || u8_at(sector, 0) == 0xEB && u8_at(sector, 2) == 0x90;
    let media = u8_at(sector, 0x15);
    let reserved = u32::from(u16_at(sector, 0x0E));
    let (fats, cluster) = (u32::from(u8_at(sector, 0x10)), u32::from(u8_at(sector, 0x0D)));
    !others
        && (named || jump)
        && is_power(u32::from(u16_at(sector, 0x0B)), 512, 4096)
        && cluster.is_power_of_two()
        && (media == 0xF0 || media >= 0xF8)
        && reserved != 0
        && matches!(fats, 1 | 2)
        && has_clusters(sector, reserved, fats)
}

/// Whether the sectors that a FAT's parameter block gives are more than those before the first cluster.
fn has_clusters(sector: &[u8], reserved: u32, fats: u32) -> bool {
    let either = |short: usize, long: usize| match u16_at(sector, short) {
        0 => u32_at(sector, long),
        short => u32::from(short),
    };
    let (all, fat) = (either(0x13, 0x20), either(0x16, 0x24));
    let before = u64::from(fat) * u64::from(fats) + u64::from(reserved);
    fat != 0 && u64::from(all) > before
}

/// Linux include/linux/swap.h (union swap_header): version 1 in either byte order, and a last page. What was made
/// over swap space leaves the magic.
pub fn swap(view: &View<'_>, _: u64) -> bool {
    let header = view.from(1024);
    matches!(u32_at(header, 0), 1 | 0x0100_0000) && u32_at(header, 4) != 0
}

/// libblkid hpfs.c: the spare block is there too.
pub fn hpfs(view: &View<'_>, _: u64) -> bool {
    view.from(0x2200).starts_with(b"\x49\x18\x91\xF9")
}

/// libblkid ext.c: a block's size is less than 2^(10+256), and the revision one that there is.
pub fn ext(view: &View<'_>, _: u64) -> bool {
    let superblock = view.from(1024);
    u32_at(superblock, 0x18) < 256 && u32_at(superblock, 0x4C) < 256
}

/// libblkid exfs.c: a block is a power of two.
pub fn exfs(view: &View<'_>, _: u64) -> bool {
    is_power(be32(view.from(0), 4), 512, 65536)
}

/// libblkid xfs.c: sizes and their logarithms agree.
pub fn xfs(view: &View<'_>, _: u64) -> bool {
    let superblock = view.from(0);
    let agrees = |size: u32, log: usize| 1u32.checked_shl(u32::from(u8_at(superblock, log))) == Some(size);
    let (block, sector) = (be32(superblock, 4), u32::from(be16(superblock, 102)));
    is_power(block, 512, 65536) && agrees(block, 120) && is_power(sector, 512, 32768) && agrees(sector, 121)
}

/// libblkid xfs.c: a record of version 1 or 2, with a length, in a format that there is.
pub fn xfs_log(sector: &[u8]) -> bool {
    sector.starts_with(b"\xFE\xED\xBA\xBE")
        && matches!(be32(sector, 8), 1..=3)
        && matches!(be32(sector, 12), 1..=0x7FFF_FFFF)
        && matches!(be32(sector, 300), 1..=3)
}

/// nilfs2_ondisk.h: revision 2.0; or CRC-32 of the superblock with the seed that it gives, and zeros in the sum's
/// place.
pub fn nilfs2(view: &View<'_>, place: u64) -> bool {
    const SUM: usize = 16;
    let superblock = view.from(place.saturating_sub(6));
    let bytes = usize::from(u16_at(superblock, 8));
    let zeroed = superblock.iter().take(bytes).enumerate();
    let zeroed = zeroed.map(|(n, &byte)| if (SUM..SUM + 4).contains(&n) { 0 } else { byte });
    let sum_is_right = || crc32(u32_at(superblock, 12), zeroed) == u32_at(superblock, SUM);
    superblock.starts_with(b"\x02\0\0\0\0\0") || (SUM + 4..=1024).contains(&bytes) && sum_is_right()
}

/// CRC-32 as Linux `crc32_le`: no inversion.
fn crc32(seed: u32, bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

/// libblkid hfs.c: an allocation block is whole sectors; and a volume has a name. A wrapper of HFS+ is one as well.
pub fn hfs(view: &View<'_>, _: u64) -> bool {
    let block = view.from(1024);
    let allocation = be32(block, 0x14);
    allocation != 0 && allocation.is_multiple_of(512) && matches!(u8_at(block, 0x24), 1..=27)
}

/// TN1150 "Volume Header": a block is a power of two of at least 512 bytes.
pub fn hfs_plus(view: &View<'_>, _: u64) -> bool {
    is_power(be32(view.from(1024), 40), 512, u32::MAX)
}

/// Apple File System Reference: an object of type NX_SUPERBLOCK (1), and blocks of 4 to 64 KiB.
pub fn apfs(view: &View<'_>, _: u64) -> bool {
    let block = view.from(0);
    u16_at(block, 24) == 1 && is_power(u32_at(block, 36), 4096, 65536)
}

/// libblkid minix.c, as fsck.minix: the maps hold a bit for each inode and zone.
pub fn minix(view: &View<'_>, _: u64) -> bool {
    let block = view.from(1024);
    // ext has more fields here than Minix; EROFS has its count of inodes in the magic's place.
    if block.get(0x38..0x3A) == Some(&[0x53, 0xEF]) || block.starts_with(b"\xE2\xE1\xF5\xE0") {
        return false;
    }
    let magic = |at: usize, known: &[u16]| {
        let value = u16_at(block, at);
        known.contains(&value).then_some(false).or(known.contains(&value.swap_bytes()).then_some(true))
    };
    let (version, swapped) = match (magic(16, &[0x137F, 0x138F]), magic(16, &[0x2468, 0x2478]), magic(24, &[0x4D5A])) {
        (Some(swapped), ..) => (1, swapped),
        (_, Some(swapped), _) => (2, swapped),
        (.., Some(swapped)) => (3, swapped),
        _ => return false,
    };
    let short = |at| u64::from(if swapped { be16(block, at) } else { u16_at(block, at) });
    let long = |at| u64::from(if swapped { be32(block, at) } else { u32_at(block, at) });
    let (inodes, maps) = if version == 3 { (long(0), 6) } else { (short(0), 4) };
    let zones = if version == 1 { short(2) } else { long(20) };
    let (inode_maps, zone_maps, first, log) = (short(maps), short(maps + 2), short(maps + 4), short(maps + 6));
    (version == 3 || short(18) < 4)
        && log == 0
        && inodes != 0
        && inode_maps * 8192 > inodes
        && first <= zones
        && zone_maps * 8192 > zones - first
}

/// ECMA-167 2/8.3: descriptors stand one after another, each in 2048 or 4096 bytes; NSR02 or NSR03 is among them.
pub fn udf(view: &View<'_>, _: u64) -> bool {
    let descriptors = |length: u64| {
        let ids = (0..16).map(move |n| view.from(32768 + 1 + n * length).get(..5).unwrap_or_default());
        let is = |id: &[u8], known: &[&[u8]]| known.contains(&id);
        let mut ids = ids.skip_while(move |id| is(id, &[b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01"]));
        ids.next().is_some_and(|id| is(id, &[b"NSR02", b"NSR03"]))
    };
    descriptors(2048) || descriptors(4096)
}

/// libfvde: version 1, a volume header (block type 10h), checksum of the kind that there is.
pub fn core_storage(view: &View<'_>, _: u64) -> bool {
    let block = view.from(0);
    (u16_at(block, 8), u16_at(block, 10), u32_at(block, 90)) == (1, 0x10, 1)
}

/// drbd_int.h: how many bytes a bit of the bitmap stands for.
pub fn drbd(view: &View<'_>, place: u64) -> bool {
    is_power(be32(view.from(place), 20), 4096, 1 << 20)
}

/// Linux block/partitions/sun.c: all 16-bit fields of the sector together give 0.
pub fn sun(view: &View<'_>, _: u64) -> bool {
    let sector = view.from(0);
    (0..SECTOR / 2).fold(0, |sum, n| sum ^ u16_at(sector, 2 * n)) == 0
}

/// Inside Macintosh: Devices: block 1 holds a map's entry, of this kind or the old.
pub fn apple(view: &View<'_>, _: u64) -> bool {
    let block = be16(view.from(0), 2);
    let entry = view.from(u64::from(block));
    block >= 136 && (entry.starts_with(b"PM") || entry.starts_with(b"TS"))
}

/// Linux block/partitions/atari.c: a length that is no more than the disk has; an active partition of a kind that
/// there is (Atari's AHDI 3.00 release notes, and Linux's), inside it; and no MBR.
pub fn atari(view: &View<'_>, place: u64) -> bool {
    const KINDS: [&[u8; 3]; 10] = [b"GEM", b"BGM", b"XGM", b"LNX", b"SWP", b"RAW", b"UNX", b"F32", b"MIX", b"MAC"];
    let (sector, entry) = (view.from(0), view.from(place));
    let all = be32(sector, 0x1C2);
    let (start, length) = (be32(entry, 4), be32(entry, 8));
    view.sectors.is_some_and(|sectors| u64::from(all) <= sectors)
        && u8_at(entry, 0) & 1 == 1
        && KINDS.iter().any(|kind| entry.get(1..4) == Some(*kind))
        && start != 0
        && length != 0
        && start.checked_add(length).is_some_and(|end| end <= all)
        && table(sector).is_none()
}

/// libblkid via_raid.c: version 0 to 2, and the sum of the first 50 bytes.
pub fn via(view: &View<'_>, place: u64) -> bool {
    let block = view.from(place);
    let sum = block.iter().take(50).fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    u8_at(block, 2) <= 2 && sum == u8_at(block, 50)
}

/// libblkid silicon_raid.c: fewer than 8 disks, and the sum of what is before it.
pub fn silicon(view: &View<'_>, place: u64) -> bool {
    let block = view.from(place.saturating_sub(0x60));
    u8_at(block, 0x116) < 8 && sum16(block, 0x140 / 2) == 0
}

/// libblkid jmicron_raid.c: a mode that there is, and 128 bytes that add up to 0 or 1.
pub fn jmicron(view: &View<'_>, place: u64) -> bool {
    let block = view.from(place);
    u8_at(block, 0x30) <= 5 && sum16(block, 64) <= 1
}

/// libblkid adaptec_raid.c: the second magic.
pub fn adaptec(view: &View<'_>, place: u64) -> bool {
    view.from(place).get(256..260) == Some(b"DPTM")
}
