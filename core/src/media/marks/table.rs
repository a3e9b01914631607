//! The table of marks. Each row says whose the mark is, its bytes, where they may stand, and the source.
//!
//! "libblkid" stands for util-linux `libblkid/src/superblocks` and `libblkid/src/partitions`, which looks at the
//! same places; owners' own descriptions are named where there are any. The order is that in which marks are told.

use super::view::View;
use super::{On, checks, labels};
use crate::units::SECTOR;

/// One row.
pub struct Mark {
    /// Whose it is.
    pub owner: &'static str,
    /// Where its bytes may stand.
    pub places: Places,
    /// Any of these bytes.
    any: &'static [&'static [u8]],
    /// What else has to be so. It gets the place.
    check: fn(&View<'_>, u64) -> bool,
    /// Whether it only means something on a whole disk.
    disk_only: bool,
}

/// Where bytes may stand on a volume.
pub enum Places {
    /// So many bytes after its beginning.
    Begin(&'static [u32]),
    /// Counted from its end.
    End(&'static [End]),
}

/// A place that is counted from the end: the volume's length is rounded down to a multiple of `unit` sectors, and
/// the bytes stand `byte` bytes into the sector that is `before` sectors before that.
pub struct End {
    unit: u16,
    before: u16,
    byte: u16,
}

impl Mark {
    /// The places on a volume of so many sectors, in bytes from its beginning; some may be past its end. Without a
    /// length there are none that are counted from the end.
    pub fn places(&self, sectors: Option<u64>) -> impl Iterator<Item = u64> + use<> {
        let (begin, end): (&[u32], &[End]) = match self.places {
            Places::Begin(begin) => (begin, &[]),
            Places::End(end) => (&[], end),
        };
        let from_end = move |end: &End| {
            let unit = u64::from(end.unit);
            let sector = (sectors? / unit * unit).checked_sub(u64::from(end.before))?;
            Some(sector.checked_mul(SECTOR as u64)? + u64::from(end.byte))
        };
        begin.iter().map(|&at| u64::from(at)).chain(end.iter().filter_map(from_end))
    }

    /// Whether it stands there.
    pub fn stands(&self, view: &View<'_>, place: u64) -> bool {
        let bytes = view.from(place);
        !bytes.is_empty()
            && (view.on == On::Disk || !self.disk_only)
            && self.any.iter().any(|any| bytes.starts_with(any))
            && (self.check)(view, place)
    }

    const fn check(self, check: fn(&View<'_>, u64) -> bool) -> Self {
        Self { check, ..self }
    }

    const fn disk_only(self) -> Self {
        Self { disk_only: true, ..self }
    }
}

const fn begin(owner: &'static str, places: &'static [u32], any: &'static [&'static [u8]]) -> Mark {
    Mark { owner, places: Places::Begin(places), any, check: |_, _| true, disk_only: false }
}

const fn end(owner: &'static str, places: &'static [End], any: &'static [&'static [u8]]) -> Mark {
    Mark { owner, places: Places::End(places), any, check: |_, _| true, disk_only: false }
}

/// The sector that is so many before the end; the last is 1.
const fn last(before: u16) -> End {
    End { unit: 1, before, byte: 0 }
}

const fn aligned(unit: u16, before: u16) -> End {
    End { unit, before, byte: 0 }
}

const fn byte(byte: u16, place: End) -> End {
    End { byte, ..place }
}

/// ZFS, for what else there is to it.
pub const ZFS: &str = "ZFS";

/// The owner of what a Linux swap partition holds after a suspend to it.
const SUSPENDED: &str = "hibernation data";
/// Linux `include/uapi/linux/raid/md_p.h`, MD_SB_MAGIC.
const MD: &[u8] = &[0xFC, 0x4E, 0x2B, 0xA9];
/// Linux `drivers/md/bcache/bcache_ondisk.h`: `bcache_magic`, which the first bcachefs had too.
const BCACHE: &[u8] = b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81";
/// bcachefs `bcachefs_format.h`: BCHFS_MAGIC.
const BCACHEFS: &[u8] = b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF";
/// The last ten bytes of a page of 4, 8, 16, 32 or 64 KiB.
const PAGE_ENDS: &[u32] = &[0xFF6, 0x1FF6, 0x3FF6, 0x7FF6, 0xFFF6];

/// All rows.
pub static MARKS: &[Mark] = &[
    // UEFI 2.10 section 5.3.2: the header stands in LBA 1 and in the last; the same on a disk that was
    // partitioned behind an adapter with sectors of 4 KiB.
    begin("GPT", &[512, 4096], &[b"EFI PART"]),
    end("GPT", &[last(1), aligned(8, 8)], &[b"EFI PART"]),
    // UEFI 2.10 section 5.2.3: the protective MBR.
    begin("GPT", &[510], &[&[0x55, 0xAA]]).check(checks::protective).disk_only(),
    // LVM2 lib/label/label.h: in one of the first four sectors.
    begin("LVM", &[0, 512, 1024, 1536], &[b"LABELONE"]),
    // LVM1: "HM", version 1 or 2 (libblkid lvm.c).
    begin("LVM", &[0], &[b"HM\x01\x00", b"HM\x02\x00"]),
    // LUKS 1 and 2: cryptsetup docs/on-disk-format.pdf, and docs/on-disk-format-luks2.pdf section 2.1, where the
    // second header may stand.
    begin("LUKS", &[0], &[b"LUKS\xBA\xBE"]),
    begin(
        "LUKS",
        &[0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000],
        &[b"SKUL\xBA\xBE"],
    ),
    // Linux md, version 1.1 and 1.2 (md_p.h: struct mdp_superblock_1).
    begin("RAID", &[0, 4096], &[MD]),
    // Version 1.0: at a multiple of 4 KiB, 8 to 12 KiB before the end (drivers/md/md.c super_1_load). Version 0.90:
    // the last whole 64 KiB (md_p.h: MD_NEW_SIZE_SECTORS), in the byte order of the machine that made it.
    end("RAID", &[aligned(8, 16)], &[MD]),
    end("RAID", &[aligned(128, 128)], &[MD, &[0xA9, 0x2B, 0x4E, 0xFC]]),
    // SNIA Common RAID DDF 2.0 section 5.5: the anchor in the last sector; some stand 256 before (libblkid).
    end("DDF RAID", &[last(1), last(257)], &[&[0xDE, 0x11, 0xDE, 0x11], &[0x11, 0xDE, 0x11, 0xDE]]),
    // mdadm super-intel.c: MPB_SIGNATURE, in the last sector but one.
    end("Intel RAID", &[last(2)], &[b"Intel Raid ISM Cfg Sig. "]),
    // BIOS RAIDs, as dmraid lib/format/ata and libblkid have them. Those with few bytes have a checksum.
    end("LSI RAID", &[last(1)], &[b"$XIDE$"]).disk_only(),
    end("VIA RAID", &[last(1)], &[&[0x55, 0xAA]]).check(checks::via).disk_only(),
    end("Silicon Image RAID", &[byte(0x60, last(1))], &[&[0, 0, 0, 0x2F]]).check(checks::silicon).disk_only(),
    end("NVIDIA RAID", &[last(2)], &[b"NVIDIA  "]).disk_only(),
    end(
        "Promise RAID",
        &[
            last(63),
            last(255),
            last(256),
            last(16),
            last(399),
            last(591),
            last(675),
            last(735),
            last(911),
            last(974),
            last(991),
            last(951),
            last(3087),
        ],
        &[b"Promise Technology, Inc."],
    )
    .disk_only(),
    end("HighPoint RAID", &[last(11)], &[&[0xF3, 0x16, 0x78, 0x5A], &[0xFD, 0x16, 0x78, 0x5A]]).disk_only(),
    begin("HighPoint RAID", &[9 * 512 + 32], &[&[0xF0, 0x16, 0x78, 0x5A], &[0xFD, 0x16, 0x78, 0x5A]]).disk_only(),
    end("Adaptec RAID", &[last(1)], &[&[0x37, 0xFC, 0x4D, 0x1E]]).check(checks::adaptec).disk_only(),
    end("JMicron RAID", &[last(1)], &[b"JM"]).check(checks::jmicron).disk_only(),
    // Windows dynamic disks: the private header in LBA 6, and two copies in the database, which is the last MiB of a
    // disk with an MBR (Linux block/partitions/ldm.h: OFF_PRIV1 to 3).
    begin("dynamic disk", &[6 * 512], &[b"PRIVHEAD"]),
    end("dynamic disk", &[last(1), last(192)], &[b"PRIVHEAD"]),
    // ZFS: see labels.rs. The list is packed as XDR (libnvpair), and OpenZFS (`spa_config_generate`,
    // `vdev_label_init`) puts the version first. Tools that wipe marks and not labels leave it.
    begin(ZFS, &[16 * 1024 + 20, 272 * 1024 + 20], &[b"\x00\x00\x00\x07version"]),
    end(ZFS, &[byte(20, aligned(512, 992)), byte(20, aligned(512, 480))], &[b"\x00\x00\x00\x07version"]),
    // bcache: superblock in sector 8 (SB_SECTOR), magic 24 bytes in. bcachefs has the same place (BCH_SB_SECTOR)
    // and copies; libblkid looks at 2 MiB and 1 MiB before the end.
    begin("bcache", &[4096 + 24], &[BCACHE]),
    begin("bcachefs", &[4096 + 24, 0x20_0000 + 24], &[BCACHEFS]),
    end("bcachefs", &[byte(24, last(2048))], &[BCACHEFS]),
    // DRBD drbd_int.h and drbdmeta.c, versions 8 and 9: the last whole 4 KiB, magic 60 bytes in. Version 8 and
    // libblkid take the last 4 KiB.
    end(
        "DRBD",
        &[byte(60, aligned(8, 8)), byte(60, last(8))],
        &[b"\x83\x74\x02\x6B", b"\x83\x74\x02\x6C", b"\x83\x74\x02\x6D"],
    )
    .check(checks::drbd),
    // libblkid drbdmanage.c, drbdproxy_datalog.c.
    begin("DRBD", &[0], &[b"$DRBDmgr=q", b"DRBDdlh*"]),
    // Linux drivers/md: dm-snap-persistent.c SNAP_MAGIC; cryptsetup lib/verity (signature), lib/integrity.
    begin("a snapshot's store", &[0], &[b"SnAp"]),
    begin("dm-verity", &[0], &[b"verity\0\0\x01\0\0\0"]),
    begin("dm-integrity", &[0], &[b"integrt\0"]),
    // VMFS: vmfs-tools vmfs_volume.h and vmfs_fs.h: 1 MiB and 2 MiB in.
    begin("VMFS", &[0x10_0000], &[b"\x0D\xD0\x01\xC0"]),
    begin("VMFS", &[0x20_0000], &[b"\x5E\xF1\xAB\x2F"]),
    // Linux drivers/mtd/ubi/ubi-media.h: erase counter header, version 1.
    begin("UBI", &[0], &[b"UBI#\x01"]),
    // Linux drivers/md/dm-vdo/geometry.c: the magic of the geometry block.
    begin("VDO", &[0], &[b"dmvdo001"]),
    // Stratis, Software Design, "The Static Header": two copies.
    begin("Stratis", &[512 + 4, 9 * 512 + 4], &[b"!Stra0tis\x86\xFF\x02^\x41rh"]),
    // BitLocker: the OEM field of the boot sector. To Go looks like FAT but for an identifier (libbde, "BitLocker
    // Drive Encryption format", sections 3.1 and 3.2: 4967D63B-2E29-4AD8-8399-F6A339E3D001).
    begin("BitLocker", &[3], &[b"-FVE-FS-"]),
    begin("BitLocker", &[424], &[checks::BITLOCKER_TO_GO]),
    // Apple Core Storage (libfvde, "FileVault Drive Encryption", volume header).
    begin("Apple Core Storage", &[88], &[b"CS"]).check(checks::core_storage),
    // Ceph os/bluestore/BlueStore.cc: the label; HSE's mpool (libblkid mpool.c); Oracle ASM's disk header.
    begin("Ceph", &[0], &[b"bluestore block device"]),
    begin("mpool", &[0], &[b"mpoolDev"]),
    begin("Oracle ASM", &[32], &[b"ORCLDISK"]),
    // Labels of other systems, where libblkid's partitions/ has them. BSD sys/disklabel.h: DISKMAGIC, in sector 1 or
    // 64 or 128 bytes into sector 0.
    begin("a BSD label", &[512, 64, 128], &[b"\x57\x45\x56\x82"]),
    // Linux block/partitions/sun.h, sgi.h: magic in sector 0, and for Sun its checksum.
    begin("a Sun label", &[508], &[&[0xDA, 0xBE]]).check(checks::sun),
    begin("an SGI label", &[0], &[&[0x0B, 0xE5, 0xA9, 0x41]]),
    // Inside Macintosh: Devices, "The Partition Map": driver descriptor record, and the map in the next block.
    begin("an Apple partition map", &[0], &[b"ER"]).check(checks::apple),
    // Solaris sys/vtoc.h: VTOC_SANE and V_VERSION.
    begin("a Solaris label", &[512 + 12], &[b"\xEE\xDE\x0D\x60\x01\0\0\0"]),
    // UnixWare sys/vtoc.h: sector 29, magic CA5E600D.
    begin("a UnixWare label", &[29 * 512 + 4], &[b"\x0D\x60\xE5\xCA"]),
    // Ultrix sys/fs.h: PT_MAGIC and PT_VALID at the end of the superblock's 16 KiB.
    begin("an Ultrix label", &[16 * 1024 - 72], &[b"\x57\x29\x03\0\x01\0\0\0"]),
    // Linux block/partitions/msdos.c: "IBMA" in EBCDIC.
    begin("AIX", &[0], &[b"\xC9\xC2\xD4\xC1"]),
    // Linux block/partitions/atari.c.
    begin("an Atari label", &[0x1C6, 0x1D2, 0x1DE, 0x1EA], &[b""]).check(checks::atari).disk_only(),
    // Linux arch/s390/include/uapi/asm/dasd.h and block/partitions/ibm.c: "VOL1" in block 2, "LNX1", "CMS1".
    begin("a DASD label", &[1028, 2052, 4100, 8196], &[b"\xE5\xD6\xD3\xF1"]),
    begin("a DASD label", &[1024, 2048, 4096, 8192], &[b"\xD3\xD5\xE7\xF1", b"\xC3\xD4\xE2\xF1"]),
    // Linux include/linux/swap.h (union swap_header), kernel/power/swap.c (HIBERNATE_SIG), uswsusp, TuxOnIce.
    begin("swap space", PAGE_ENDS, &[b"SWAPSPACE2"]).check(checks::swap),
    begin("swap space", PAGE_ENDS, &[b"SWAP-SPACE"]),
    begin(SUSPENDED, PAGE_ENDS, &[b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"]),
    begin(SUSPENDED, &[0], &[b"\xED\xC3\x02\xE9\x98\x56\xE5\x0C"]),
    // ECMA-119 section 8.1: the first volume descriptor, in sector 16 of 2048 bytes; High Sierra's is 8 bytes on.
    begin("ISO 9660", &[32768 + 1], &[b"CD001"]),
    begin("High Sierra", &[32768 + 9], &[b"CDROM"]),
    // ECMA-167 2/9.1: the volume recognition sequence, NSR02 or NSR03 among it.
    begin("UDF", &[32768 + 1], &[b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"NSR02", b"NSR03", b"TEA01"])
        .check(checks::udf),
    // Boot sectors that tell their owner in the OEM field ("NTFS.com: NTFS Partition Boot Sector"; exFAT
    // specification section 3.1.2; libblkid refs.c).
    begin("an NTFS filesystem", &[3], &[b"NTFS    "]),
    begin("an exFAT filesystem", &[3], &[b"EXFAT   "]),
    begin("a ReFS filesystem", &[0], &[b"\0\0\0ReFS\0"]),
    // Linux fs/hpfs/hpfs.h: superblock and spare block in sectors 16 and 17.
    begin("an HPFS filesystem", &[0x2000], &[b"\x49\xE8\x95\xF9"]).check(checks::hpfs),
    // fatgen103 "Boot Sector and BPB": FAT has no magic.
    begin("a FAT filesystem", &[0], &[b""]).check(checks::fat),
    // Linux fs/ext4/ext4.h: superblock at 1024, s_magic 38h in. Its journal on a device of its own looks the same.
    begin("an ext filesystem", &[1024 + 0x38], &[&[0x53, 0xEF]]).check(checks::ext),
    // Linux fs/xfs/libxfs/xfs_format.h: XFS_SB_MAGIC.
    begin("an XFS filesystem", &[0], &[b"XFSB"]).check(checks::xfs),
    begin("an EXFS filesystem", &[0], &[b"EXFS"]).check(checks::exfs),
    // Linux include/uapi/linux/btrfs_tree.h: BTRFS_MAGIC; superblock at 64 KiB.
    begin("a Btrfs filesystem", &[0x1_0040], &[b"_BHRfS_M"]),
    // Linux include/linux/f2fs_fs.h: superblock 1024 bytes into the first two blocks.
    begin("an F2FS filesystem", &[0x400, 0x1400], &[b"\x10\x20\xF5\xF2"]),
    // Linux fs/jfs/jfs_superblock.h, jfs_filsys.h: SUPER1_OFF, SUPER2_OFF.
    begin("a JFS filesystem", &[0x8000, 0xF000], &[b"JFS1"]),
    // Linux fs/reiserfs/reiserfs.h: superblock at 64 KiB, before 3.5.9 at 8 KiB; reiser4 master superblock.
    begin("a ReiserFS filesystem", &[0x1_0034], &[b"ReIsErFs", b"ReIsEr2Fs", b"ReIsEr3Fs"]),
    begin("a ReiserFS filesystem", &[0x2034, 0x2014], &[b"ReIsErFs"]),
    begin("a Reiser4 filesystem", &[0x1_0000], &[b"ReIsEr4"]),
    // Linux include/uapi/linux/nilfs2_ondisk.h: NILFS_SB_OFFSET_BYTES, NILFS_SB2_OFFSET_BYTES; libblkid takes the last
    // 4 KiB for the second.
    begin("a NILFS2 filesystem", &[1024 + 6], &[b"\x34\x34"]).check(checks::nilfs2),
    end("a NILFS2 filesystem", &[byte(6, aligned(8, 8)), byte(6, last(8))], &[b"\x34\x34"]).check(checks::nilfs2),
    // Linux fs/ocfs2/ocfs2_fs.h: OCFS2_SUPER_BLOCK_SIGNATURE in block 2, of 512 to 4096 bytes; libblkid ocfs.c.
    begin("an OCFS2 filesystem", &[1024, 2048, 4096, 8192], &[b"OCFSV2"]),
    begin("an OCFS filesystem", &[8192], &[b"OracleCFS"]),
    // Linux include/uapi/linux/gfs2_ondisk.h: GFS2_MAGIC, superblock at 64 KiB; GFS has the same.
    begin("a GFS filesystem", &[0x1_0000], &[b"\x01\x16\x19\x70\0\0\0\x01"]),
    // FreeBSD sys/ufs/ffs/fs.h: SBLOCKSEARCH, fs_magic 1372 bytes in; either byte order. Linux fs/ufs/ufs_fs.h has
    // UFS_MAGIC and others.
    begin(
        "a UFS filesystem",
        &[1372, 8 * 1024 + 1372, 64 * 1024 + 1372, 256 * 1024 + 1372],
        &[
            b"\x54\x19\x01\x00",
            b"\x19\x01\x54\x19",
            b"\x12\x56\x19\x00",
            b"\x14\x50\x09\x00",
            b"\x95\x21\x61\x00",
            b"\x94\x19\x23\x05",
            b"\x00\x01\x19\x54",
            b"\x19\x54\x01\x19",
            b"\x00\x19\x56\x12",
            b"\x00\x09\x50\x14",
            b"\x00\x61\x21\x95",
            b"\x05\x23\x19\x94",
        ],
    ),
    // Inside Macintosh: Files, "Master Directory Blocks"; Apple TN1150 "Volume Header".
    begin("an HFS filesystem", &[1024], &[b"BD"]).check(checks::hfs),
    begin("an HFS+ filesystem", &[1024], &[b"H+\0\x04", b"HX\0\x05"]).check(checks::hfs_plus),
    // Apple File System Reference, nx_superblock_t: nx_magic, after an obj_phys_t.
    begin("an APFS filesystem", &[32], &[b"NXSB"]).check(checks::apfs),
    // Linux fs/befs/befs_fs_types.h: BEFS_SUPER_MAGIC1, either byte order; in sector 0, or in 1 on a PC.
    begin("a BeFS filesystem", &[32, 512 + 32], &[b"BFS1", b"1SFB"]),
    // Linux include/uapi/linux/bfs_fs.h: BFS_MAGIC.
    begin("a BFS filesystem", &[0], &[b"\xCE\xFA\xAD\x1B"]),
    // Linux fs/minix/minix.h: superblock at 1024.
    begin("a Minix filesystem", &[1024], &[b""]).check(checks::minix),
    // Linux fs/sysv/super.c and include/linux/sysv_fs.h: SYSV_MAGIC_BASE, at the end of a superblock in blocks 0, 9,
    // 15 or 18 of 1 KiB; Xenix's at 2040, where libblkid takes 2048.
    begin(
        "a System V filesystem",
        &[0x3F8, 9 * 1024 + 0x3F8, 15 * 1024 + 0x3F8, 18 * 1024 + 0x3F8],
        &[b"\x20\x7E\x18\xFD", b"\xFD\x18\x7E\x20"],
    ),
    begin("a Xenix filesystem", &[2040], &[b"\x44\x55\x2B\0", b"\0\x2B\x55\x44"]),
    begin("a Xenix filesystem", &[2048], &[b"\x44\x55\x2B", b"\x2B\x55\x44"]),
    // Linux fs/*/: cramfs_fs.h CRAMFS_MAGIC, squashfs_fs.h SQUASHFS_MAGIC, erofs_fs.h EROFS_SUPER_MAGIC_V1, romfs_fs.h,
    // freevxfs/vxfs.h VXFS_SUPER_MAGIC (either order), zonefs.h ZONEFS_MAGIC, ubifs-media.h UBIFS_NODE_MAGIC.
    begin("a cramfs filesystem", &[0], &[b"\x45\x3D\xCD\x28", b"\x28\xCD\x3D\x45"]),
    begin("a SquashFS filesystem", &[0], &[b"hsqs", b"sqsh"]),
    begin("an EROFS filesystem", &[1024], &[b"\xE2\xE1\xF5\xE0"]),
    begin("a romfs filesystem", &[0], &[b"-rom1fs-"]),
    begin("a VxFS filesystem", &[1024], &[b"\xF5\xFC\x01\xA5"]),
    begin("a VxFS filesystem", &[8192], &[b"\xA5\x01\xFC\xF5"]),
    begin("a zonefs filesystem", &[0], &[b"SFOZ"]),
    begin("a UBIFS filesystem", &[0], &[b"\x31\x18\x10\x06"]),
    // libblkid netware.c, scoutfs.c.
    begin("a NetWare filesystem", &[4096], &[b"SPB5"]),
    begin("a ScoutFS filesystem", &[0x1_0004], &[b"\x8B\x42\x3C\x10"]),
];

/// Bytes that may stand in any of many sectors.
pub struct Span {
    /// Whose they are.
    pub owner: &'static str,
    /// Whether they stand in this sector of this number.
    pub stands: fn(&View<'_>, u64, &[u8]) -> bool,
}

/// All of those.
pub static SPANS: &[Span] = &[
    // ZFS on-disk format 1.3, section 1.3: an uberblock begins with 00BAB10C, in the byte order of the machine.
    Span {
        owner: ZFS,
        stands: |view, n, sector| {
            (sector.starts_with(b"\x0C\xB1\xBA\0\0\0\0\0") || sector.starts_with(b"\0\0\0\0\0\xBA\xB1\x0C"))
                && labels::holds_uberblock(view.sectors, n)
        },
    },
    // Linux fs/xfs/libxfs/xfs_log_format.h: a log on a device of its own has a record's header somewhere in its first
    // 256 KiB (libblkid xfs.c).
    Span { owner: "an XFS log", stands: |_, n, sector| n < 512 && checks::xfs_log(sector) },
];
