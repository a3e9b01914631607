//! Marks: what `blkid` and `wipefs` name is found, and once that is zeroed they name nothing any more.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::machine::{Disk, Pc};
use common::tools::{run, shell, text};
use knownstate_core::machine::{DiskId, IoError};
use knownstate_core::media::marks::{Found, Marks, On, in_head, is_extended, look, owner_of_type};
use knownstate_core::units::{Lba, SECTOR};

/// A size that is a multiple of nothing, so that what stands at an end has to be looked for from the right end.
const SIZE: u64 = 143_373;

fn look_at(disk: &Disk) -> Marks {
    let sectors = disk.info.sectors;
    look(&mut Pc::new(Default::default(), vec![disk.clone()]), DiskId(0), Lba(0), sectors, On::Disk)
}

fn owners(marks: &Marks) -> Vec<&'static str> {
    let mut owners: Vec<_> = marks.found.iter().map(|found| found.owner).collect();
    owners.dedup();
    owners
}

/// What the others name in a file. An MBR's table is no mark.
fn named(file: &Path) -> Vec<String> {
    let blkid = run("blkid", &["-p", "-o", "export", text(file)]);
    let mut names: Vec<_> =
        blkid.out.lines().filter_map(|l| l.split_once("TYPE=").map(|(_, name)| name.into())).collect();
    // It says nothing where it finds more than one filesystem.
    if blkid.code == 8 {
        names.push("several".into());
    }
    let wipefs = run("wipefs", &["-n", "-p", text(file)]);
    assert_eq!(wipefs.code, 0, "{}", wipefs.err);
    names.extend(wipefs.out.lines().filter(|l| !l.starts_with('#')).filter_map(|l| Some(l.rsplit(',').next()?.into())));
    names.retain(|name| name != "dos");
    names
}

/// Zeros what is found until nothing is, in the file as well.
fn clear(disk: &mut Disk, file: &Path) {
    let file = File::options().write(true).open(file).unwrap();
    for _ in 0..8 {
        let Marks { found, unreadable } = look_at(disk);
        assert_eq!(unreadable, None);
        for Found { at, sectors, .. } in &found {
            let zeros = vec![0; *sectors as usize * SECTOR];
            disk.sectors.write(at.0, &zeros);
            file.write_all_at(&zeros, at.0 * SECTOR as u64).unwrap();
        }
        if found.is_empty() {
            return;
        }
    }
    panic!("marks without end: {:?}", look_at(disk));
}

/// What tools make in file F of so many MiB; none of them needs a block device. Each has to be named, or not.
const TOOLS: &[(&str, u64, &str)] = &[
    ("an ext filesystem", 8, "mke2fs -q -F -t ext2 F"),
    ("an ext filesystem", 24, "mke2fs -q -F -t ext3 F"),
    ("an ext filesystem", 24, "mke2fs -q -F -t ext4 F"),
    ("an ext filesystem", 24, "mke2fs -q -F -b 4096 -t ext4 -O ^metadata_csum,^64bit F"),
    ("an ext filesystem", 8, "mke2fs -q -F -O journal_dev F"),
    ("a FAT filesystem", 4, "mkfs.vfat -F 12 F"),
    ("a FAT filesystem", 20, "mkfs.vfat -F 16 F"),
    ("a FAT filesystem", 40, "mkfs.vfat -F 32 F"),
    ("a FAT filesystem", 40, "mkfs.vfat --mbr=y F"),
    ("a FAT filesystem", 80, "mkfs.vfat -S 4096 F"),
    ("a FAT filesystem", 8, "mkfs.vfat -f 1 F"),
    ("an exFAT filesystem", 20, "mkfs.exfat F"),
    ("an NTFS filesystem", 20, "mkntfs -q -F -Q F"),
    ("an XFS filesystem", 320, "mkfs.xfs -q F"),
    ("an XFS log", 100, "truncate -s 320M G; mkfs.xfs -q -l logdev=F G"),
    ("a Btrfs filesystem", 120, "mkfs.btrfs -q F"),
    ("an F2FS filesystem", 64, "mkfs.f2fs -q F"),
    ("a JFS filesystem", 20, "mkfs.jfs -q F"),
    ("a NILFS2 filesystem", 130, "mkfs.nilfs2 -q F"),
    ("a ReiserFS filesystem", 40, "mkreiserfs -f -f -q F"),
    ("UDF", 20, "mkudffs F"),
    ("UDF", 20, "mkudffs -b 512 F"),
    ("UDF", 20, "mkudffs -b 4096 F"),
    ("a GFS filesystem", 64, "mkfs.gfs2 -O -p lock_nolock -J 8 F"),
    ("a BFS filesystem", 4, "mkfs.bfs F"),
    ("a Minix filesystem", 8, "mkfs.minix -1 F"),
    ("a Minix filesystem", 8, "mkfs.minix -2 F"),
    ("a Minix filesystem", 8, "mkfs.minix -3 F"),
    ("a cramfs filesystem", 1, "mkdir d; echo hello >d/f; mkfs.cramfs d F"),
    ("a SquashFS filesystem", 1, "mkdir d; mksquashfs d F -noappend -quiet"),
    ("an EROFS filesystem", 1, "mkdir d; mkfs.erofs F d"),
    ("ISO 9660", 1, "rm F; mkdir d; echo hello >d/f; xorriso -as mkisofs -o F d"),
    (
        "ISO 9660",
        1,
        "rm F; mkdir d; echo hello >d/f; truncate -s 1M G; xorriso -as mkisofs -append_partition 2 0xef G -o F d",
    ),
    ("swap space", 20, "mkswap F"),
    ("swap space", 20, "mkswap -p 8192 F"),
    ("swap space", 20, "mkswap -p 65536 F"),
    ("LUKS", 20, "echo x | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 F -"),
    ("LUKS", 20, "echo x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 F -"),
    ("dm-verity", 4, "truncate -s 4M G; veritysetup format G F"),
    ("bcache", 20, "make-bcache -B F"),
    ("bcache", 80, "make-bcache -C F"),
    ("DRBD", 40, "yes yes | drbdmeta --force 0 v08 F internal create-md"),
    ("DRBD", 40, "yes yes | drbdmeta --force 0 v09 F internal create-md 1"),
    ("GPT", 20, "parted -s F mklabel gpt mkpart x 1MiB 2MiB"),
    ("GPT", 20, "sgdisk -n 1:0:0 F"),
    ("an Apple partition map", 20, "parted -s F mklabel mac"),
    ("a Sun label", 20, "parted -s F mklabel sun"),
    ("a Sun label", 20, "echo 'label: sun' | sfdisk -q F"),
    ("an SGI label", 20, "parted -s F mklabel dvh"),
    ("an SGI label", 20, "echo 'label: sgi' | sfdisk -q F"),
    ("", 20, "parted -s F mklabel msdos mkpart primary ext2 1MiB 2MiB"),
    ("", 20, "parted -s F mklabel pc98"),
    ("", 20, "true"),
];

#[test]
fn what_tools_make_is_named_and_cleared() {
    for (owner, size, script) in TOOLS {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("F");
        File::create(&file).unwrap().set_len(size << 20).unwrap();
        shell(folder.path(), &format!("{{ {script}; }} >log 2>&1 </dev/null || {{ cat log >&2; exit 1; }}"));
        let mut disk = Disk::load(0x80, &file);
        let (found, names) = (look_at(&disk), named(&file));
        assert_eq!(owners(&found).first().copied().unwrap_or_default(), *owner, "{script}: {found:?}, {names:?}");
        assert_eq!(found.found.is_empty(), names.is_empty(), "{script}: {found:?}, {names:?}");
        clear(&mut disk, &file);
        assert_eq!(named(&file), Vec::<String>::new(), "{script}: after zeroing {found:?}");
    }
}

/// What was made over a swap partition leaves the magic at the end of its page.
#[test]
fn a_filesystem_over_swap_space_is_a_filesystem() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("F");
    shell(
        folder.path(),
        "truncate -s 8M F G; mkswap F >log; mke2fs -q G; dd if=G of=F bs=1k skip=1 seek=1 count=1 conv=notrunc 2>log",
    );
    assert_eq!(owners(&look_at(&Disk::load(0x80, &file))), ["an ext filesystem"]);
    assert_eq!(named(&file).first().map(String::as_str), Some("ext2"));
}

/// A BSD label is named by its bytes; blkid looks for one where it lists partitions only.
#[test]
fn a_bsd_label_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("F");
    File::create(&file).unwrap().set_len(20 << 20).unwrap();
    shell(folder.path(), "parted -s F mklabel bsd");
    assert_eq!(owners(&look_at(&Disk::load(0x80, &file))), ["a BSD label"]);
}

/// Bytes at places, where there is no tool for it here. Whether the others name it, as far as they were asked.
struct Bytes {
    owner: &'static str,
    bytes: Vec<(u64, Vec<u8>)>,
    known: bool,
}

fn bytes(owner: &'static str, known: bool, bytes: &[(u64, &[u8])]) -> Bytes {
    Bytes { owner, known, bytes: bytes.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect() }
}

/// The byte at which the sector that is so many before the end begins.
fn last(before: u64) -> u64 {
    (SIZE - before) * SECTOR as u64
}

const MD: [u8; 4] = [0xFC, 0x4E, 0x2B, 0xA9];

/// A superblock of version 1, with its place and its sum.
fn md1(at: u64) -> Bytes {
    let mut block = vec![0; 256];
    block[..4].copy_from_slice(&MD);
    block[4] = 1;
    block[144..152].copy_from_slice(&(at / 512).to_le_bytes());
    let sum = block.chunks(4).map(|c| u64::from(u32::from_le_bytes(c.try_into().unwrap()))).sum::<u64>();
    block[216..220].copy_from_slice(&(((sum >> 32) + (sum & 0xFFFF_FFFF)) as u32).to_le_bytes());
    bytes("RAID", true, &[(at, &block)])
}

fn raids() -> Vec<Bytes> {
    let mut all = vec![
        md1(0),
        md1(4096),
        md1((SIZE / 8 * 8 - 16) * 512),
        bytes("RAID", true, &[((SIZE / 128 * 128 - 128) * 512, &[&MD[..], &[0, 0, 0, 0, 90]].concat())]),
        bytes("RAID", true, &[((SIZE / 128 * 128 - 128) * 512, &[0xA9, 0x2B, 0x4E, 0xFC, 0, 0, 0, 0, 0, 0, 0, 90])]),
        bytes("DDF RAID", true, &[(last(1), &[0xDE, 0x11, 0xDE, 0x11])]),
        bytes("DDF RAID", true, &[(last(257), &[0xDE, 0x11, 0xDE, 0x11])]),
        bytes("Intel RAID", true, &[(last(2), b"Intel Raid ISM Cfg Sig. 1.0.00")]),
        bytes("LSI RAID", true, &[(last(1), b"$XIDE$")]),
        // The sum of 50 bytes: 55h + AAh = FFh.
        bytes("VIA RAID", true, &[(last(1), &[0x55, 0xAA]), (last(1) + 50, &[0xFF])]),
        // The sum of the 16-bit fields: 2F00h, and what is missing to 10000h.
        bytes("Silicon Image RAID", true, &[(last(1) + 0x60, &[0, 0, 0, 0x2F]), (last(1) + 0x13E, &[0, 0xD1])]),
        bytes("NVIDIA RAID", true, &[(last(2), b"NVIDIA  \x1E\0\0\0"), (last(2) + 12, &[0; 4])]),
        bytes("HighPoint RAID", true, &[(last(11), &[0xF3, 0x16, 0x78, 0x5A])]),
        bytes("HighPoint RAID", true, &[(4640, &[0xF0, 0x16, 0x78, 0x5A])]),
        bytes("HighPoint RAID", true, &[(last(11), &[0xFD, 0x16, 0x78, 0x5A])]),
        bytes("HighPoint RAID", true, &[(4640, &[0xFD, 0x16, 0x78, 0x5A])]),
        // As some controllers write it, in their own byte order.
        bytes("DDF RAID", false, &[(last(1), &[0x11, 0xDE, 0x11, 0xDE])]),
        bytes("DDF RAID", false, &[(last(257), &[0x11, 0xDE, 0x11, 0xDE])]),
        bytes("Adaptec RAID", true, &[(last(1), &[0x37, 0xFC, 0x4D, 0x1E]), (last(1) + 256, b"DPTM")]),
        // "JM" is 4D4Ah; the sum is 0.
        bytes("JMicron RAID", true, &[(last(1), b"JM"), (last(1) + 4, &[0xB6, 0xB2])]),
    ];
    for before in [63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087] {
        all.push(bytes("Promise RAID", true, &[(last(before), b"Promise Technology, Inc.")]));
    }
    all
}

/// The list in a label: XDR, with the numbers that it needs to count.
fn pool_list() -> Vec<u8> {
    let mut list = b"\x01\x01\0\0\0\0\0\0\0\0\0\x01".to_vec();
    for (name, value) in [(&b"version\0"[..], 5000u64), (b"state\0\0\0", 0), (b"txg\0", 4), (b"guid", 7)] {
        let length = name.iter().position(|&b| b == 0).unwrap_or(name.len());
        for number in [28 + name.len(), 32, length] {
            list.extend((number as u32).to_be_bytes());
        }
        list.extend([name, &[0, 0, 0, 8, 0, 0, 0, 1], &value.to_be_bytes()].concat());
    }
    [list, vec![0; 8]].concat()
}

fn containers() -> Vec<Bytes> {
    let label = b"LABELONE\0\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001";
    let mut all = vec![
        bytes("LVM", true, &[(0, b"HM\x01\0")]),
        bytes("LVM", true, &[(0, b"HM\x02\0")]),
        bytes("GPT", false, &[(4096, b"EFI PART")]),
        bytes("GPT", false, &[((SIZE / 8 * 8 - 8) * 512, b"EFI PART")]),
        bytes("GPT", true, &[(450, &[0xEE, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]), (510, &[0x55, 0xAA])]),
        bytes("dynamic disk", false, &[(6 * 512, b"PRIVHEAD")]),
        bytes("dynamic disk", false, &[(last(1), b"PRIVHEAD")]),
        bytes("dynamic disk", false, &[(last(192), b"PRIVHEAD")]),
        bytes("bcachefs", false, &[(4096 + 24, BCACHEFS)]),
        bytes("bcachefs", false, &[((2 << 20) + 24, BCACHEFS)]),
        bytes("bcachefs", false, &[(last(2048) + 24, BCACHEFS)]),
        bytes("DRBD", false, &[(0, b"$DRBDmgr=q")]),
        bytes("DRBD", true, &[(0, b"DRBDdlh*")]),
        bytes("a snapshot's store", true, &[(0, b"SnAp")]),
        bytes("dm-integrity", true, &[(0, b"integrt\0\x01")]),
        bytes("VMFS", true, &[(1 << 20, b"\x0D\xD0\x01\xC0")]),
        bytes("VMFS", true, &[(2 << 20, b"\x5E\xF1\xAB\x2F")]),
        bytes("UBI", true, &[(0, b"UBI#\x01")]),
        bytes("VDO", true, &[(0, b"dmvdo001")]),
        bytes("Stratis", false, &[(516, b"!Stra0tis\x86\xFF\x02^\x41rh")]),
        bytes("Stratis", false, &[(4612, b"!Stra0tis\x86\xFF\x02^\x41rh")]),
        bytes("BitLocker", false, &[(0, b"\xEB\x58\x90-FVE-FS-")]),
        bytes("BitLocker", false, &[(424, b"\x3B\xD6\x67\x49\x29\x2E\xD8\x4A\x83\x99\xF6\xA3\x39\xE3\xD0\x01")]),
        bytes("Apple Core Storage", false, &[(8, &[1, 0, 0x10]), (88, b"CS\x01")]),
        bytes("Ceph", true, &[(0, b"bluestore block device")]),
        bytes("mpool", false, &[(0, b"mpoolDev")]),
        bytes("Oracle ASM", true, &[(32, b"ORCLDISK")]),
        bytes("a Solaris label", false, &[(524, b"\xEE\xDE\x0D\x60\x01")]),
        bytes("a UnixWare label", false, &[(29 * 512 + 4, b"\x0D\x60\xE5\xCA")]),
        bytes("an Ultrix label", true, &[(16312, b"\x57\x29\x03\0\x01")]),
        bytes("AIX", true, &[(0, b"\xC9\xC2\xD4\xC1")]),
        bytes("an Atari label", true, &[(0x1C2, b"\0\0\xFF\0\x01GEM\0\0\0\x02\0\0\0\x99")]),
        bytes("an Atari label", true, &[(0x1C2, b"\0\0\xFF\0"), (0x1D2, b"\x01BGM\0\0\0\x02\0\0\0\x99")]),
        bytes("an Atari label", true, &[(0x1C2, b"\0\0\xFF\0"), (0x1DE, b"\x81XGM\0\0\0\x02\0\0\0\x99")]),
        bytes("an Atari label", true, &[(0x1C2, b"\0\0\xFF\0"), (0x1EA, b"\x01RAW\0\0\0\x02\0\0\0\x99")]),
        bytes("a BSD label", false, &[(512, b"\x57\x45\x56\x82")]),
        bytes("a BSD label", false, &[(128, b"\x57\x45\x56\x82")]),
    ];
    for block in [512, 1024, 2048, 4096] {
        all.push(bytes("a DASD label", false, &[(2 * block + 4, b"\xE5\xD6\xD3\xF1")]));
        all.push(bytes("a DASD label", false, &[(2 * block, b"\xD3\xD5\xE7\xF1")]));
        all.push(bytes("a DASD label", false, &[(2 * block, b"\xC3\xD4\xE2\xF1")]));
    }
    for at in [last(8), SIZE / 8 * 8 * 512 - 4096] {
        for magic in [b"\x83\x74\x02\x6B", b"\x83\x74\x02\x6C", b"\x83\x74\x02\x6D"] {
            all.push(bytes("DRBD", at == last(8), &[(at + 60, magic), (at + 80, &[0, 0, 0x10, 0])]));
        }
    }
    for sector in 0..4u8 {
        let mut label = label.to_vec();
        label[8] = sector;
        all.push(bytes("LVM", true, &[(u64::from(sector) * 512, &label)]));
    }
    for at in (14..=22).map(|log| 1u64 << log) {
        all.push(bytes("LUKS", true, &[(at, b"SKUL\xBA\xBE\0\x02"), (at + 256, &at.to_be_bytes())]));
    }
    let whole = SIZE / 512 * 512 * 512;
    for label in [0, 256 << 10, whole - (512 << 10), whole - (256 << 10)] {
        let mut pool = bytes("ZFS", true, &[(label + (16 << 10), &pool_list())]);
        for slot in 4..20 {
            pool.bytes.push((label + (128 << 10) + slot * 1024, b"\x0C\xB1\xBA\0\0\0\0\0".to_vec()));
        }
        all.push(pool);
    }
    all
}

const BCACHEFS: &[u8] = b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF";

fn filesystems() -> Vec<Bytes> {
    let mut all = vec![
        bytes("hibernation data", true, &[(0, b"\xED\xC3\x02\xE9\x98\x56\xE5\x0C")]),
        bytes("High Sierra", false, &[(32777, b"CDROM")]),
        bytes("a ReFS filesystem", true, &[(0, b"\0\0\0ReFS\0")]),
        bytes("an HPFS filesystem", true, &[(0x2000, b"\x49\xE8\x95\xF9"), (0x2200, b"\x49\x18\x91\xF9")]),
        bytes("an EXFS filesystem", false, &[(0, b"EXFS\0\0\x10")]),
        bytes("a Reiser4 filesystem", false, &[(1 << 16, b"ReIsEr4")]),
        bytes("a ReiserFS filesystem", false, &[(0x2034, b"ReIsErFs")]),
        bytes("a ReiserFS filesystem", false, &[(0x2014, b"ReIsErFs")]),
        bytes("an OCFS filesystem", true, &[(8192, b"OracleCFS")]),
        bytes("a GFS filesystem", false, &[(1 << 16, b"\x01\x16\x19\x70\0\0\0\x01")]),
        bytes("an HFS filesystem", true, &[(1024, b"BD"), (1024 + 20, &[0, 0, 2, 0]), (1024 + 36, b"\x03abc")]),
        bytes("an HFS+ filesystem", true, &[(1024, b"H+\0\x04"), (1024 + 40, &[0, 0, 0x10, 0])]),
        bytes("an HFS+ filesystem", true, &[(1024, b"HX\0\x05"), (1024 + 40, &[0, 0, 0x10, 0])]),
        bytes("an APFS filesystem", true, &[(24, &[1, 0, 0, 0x80, 0, 0]), (32, b"NXSB\0\x10\0\0")]),
        bytes("a BeFS filesystem", false, &[(32, b"BFS1")]),
        bytes("a BeFS filesystem", false, &[(544, b"1SFB")]),
        bytes("a BeFS filesystem", false, &[(32, b"1SFB")]),
        bytes("a BeFS filesystem", false, &[(544, b"BFS1")]),
        bytes("a Xenix filesystem", true, &[(2048, b"\x44\x55\x2B")]),
        bytes("a Xenix filesystem", true, &[(2048, b"\x2B\x55\x44")]),
        bytes("a Xenix filesystem", false, &[(2040, b"\0\x2B\x55\x44")]),
        bytes("a cramfs filesystem", true, &[(0, b"\x28\xCD\x3D\x45")]),
        bytes("a ReiserFS filesystem", false, &[(0x1_0034, b"ReIsErFs")]),
        bytes("a ReiserFS filesystem", false, &[(0x1_0034, b"ReIsEr3Fs")]),
        bytes("a Xenix filesystem", false, &[(2040, b"\x44\x55\x2B\0")]),
        bytes("a SquashFS filesystem", true, &[(0, b"sqsh"), (28, &[0, 3, 0, 1])]),
        bytes("a romfs filesystem", true, &[(0, b"-rom1fs-\0\0\0\x10\xA1\x27\x1D\x56")]),
        bytes("a VxFS filesystem", true, &[(1024, b"\xF5\xFC\x01\xA5")]),
        bytes("a VxFS filesystem", false, &[(8192, b"\xA5\x01\xFC\xF5")]),
        bytes("a zonefs filesystem", true, &[(0, b"SFOZ")]),
        bytes("a UBIFS filesystem", true, &[(0, b"\x31\x18\x10\x06")]),
        bytes("a NetWare filesystem", true, &[(4096, b"SPB5")]),
        bytes("a ScoutFS filesystem", false, &[(0x1_0004, b"\x8B\x42\x3C\x10")]),
        bytes("an F2FS filesystem", false, &[(0x1400, b"\x10\x20\xF5\xF2")]),
        bytes("a JFS filesystem", false, &[(0xF000, b"JFS1")]),
    ];
    // A second superblock, of the length that its sum needs.
    for at in [last(8), SIZE / 8 * 8 * 512 - 4096] {
        let block = [0, 0, 0, 0, 0, 0, 0x34, 0x34, 20, 0, 0, 0, 0, 0, 0, 0, 0x95, 0x9A, 0xA4, 0x7A];
        all.push(bytes("a NILFS2 filesystem", at == last(8), &[(at, &block)]));
    }
    all.push(bytes("a NILFS2 filesystem", true, &[(1024, &[2, 0, 0, 0, 0, 0, 0x34, 0x34, 24])]));
    for first in [b"BOOT2", b"CDW02", b"NSR02", b"NSR03", b"TEA01"] {
        all.push(bytes("UDF", false, &[(32769, first), (32769 + 2048, b"NSR03")]));
    }
    for page in (12..=16).map(|log| 1u64 << log) {
        all.push(bytes("swap space", true, &[(page - 10, b"SWAP-SPACE")]));
        all.push(bytes("swap space", true, &[(1024, &[1, 0, 0, 0, 9]), (page - 10, b"SWAPSPACE2")]));
        for magic in [&b"S1SUSPEND"[..], b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"] {
            all.push(bytes("hibernation data", true, &[(page - 10, magic)]));
        }
    }
    for block in [1024, 2048, 4096, 8192] {
        all.push(bytes("an OCFS2 filesystem", true, &[(block, b"OCFSV2")]));
    }
    for at in [0, 8 << 10, 64 << 10, 256 << 10] {
        for magic in [0x0001_1954u32, 0x1954_0119, 0x0019_5612, 0x0009_5014, 0x0061_2195, 0x0523_1994] {
            all.push(bytes("a UFS filesystem", true, &[(at + 1372, &magic.to_le_bytes())]));
            all.push(bytes("a UFS filesystem", true, &[(at + 1372, &magic.to_be_bytes())]));
        }
    }
    for at in [0, 9, 15, 18].map(|block| block * 1024 + 0x3F8) {
        all.push(bytes("a System V filesystem", true, &[(at, b"\x20\x7E\x18\xFD")]));
        all.push(bytes("a System V filesystem", true, &[(at, b"\xFD\x18\x7E\x20")]));
    }
    all
}

#[test]
fn bytes_at_the_places_of_the_sources_are_named_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("F");
    let mut wrong = Vec::new();
    for Bytes { owner, bytes, known } in [raids(), containers(), filesystems()].into_iter().flatten() {
        let mut disk = Disk::blank(0x80, SIZE);
        let on_file = File::create(&file).unwrap();
        on_file.set_len(SIZE * SECTOR as u64).unwrap();
        for (at, bytes) in &bytes {
            disk.poke(*at, bytes);
            on_file.write_all_at(bytes, *at).unwrap();
        }
        let (found, names) = (look_at(&disk), named(&file));
        if owners(&found) != [owner] || known && names.is_empty() {
            wrong.push(format!("{owner}: {bytes:x?}: {found:?}, {names:?}"));
        }
        clear(&mut disk, &file);
        // Zeros give nothing a name that had none.
        let left = if names.is_empty() { names } else { named(&file) };
        assert_eq!(left, Vec::<String>::new(), "{owner}: after zeroing {found:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Few bytes are a mark only where what belongs to them is there as well.
#[test]
fn a_magic_alone_is_not_enough() {
    let alone: &[&[(u64, &[u8])]] = &[
        &[(0, b"XFSB")],
        &[(0, b"XFSB\0\0\x10\0"), (102, &[2, 0]), (120, &[12, 8])],
        &[(0, b"EXFS")],
        &[(512 * 7, b"\xFE\xED\xBA\xBE")],
        &[(0x2000, b"\x49\xE8\x95\xF9")],
        &[(1024, b"H+\0\x04")],
        &[(1024, b"BD")],
        &[(1024, b"BD"), (1024 + 20, &[0, 0, 2, 1]), (1024 + 36, b"\x03abc")],
        &[(32, b"NXSB\0\x10\0\0")],
        &[(24, &[1]), (32, b"NXSB\0\x08\0\0")],
        &[(1080, &[0x53, 0xEF]), (1024 + 0x19, &[1])],
        &[(1030, &[0x34, 0x34])],
        &[(1024, &[2, 0, 0, 0, 1, 0, 0x34, 0x34, 20])],
        &[(1040, &[0x7F, 0x13])],
        &[(1048, &[0x5A, 0x4D])],
        &[(0xFF6, b"SWAPSPACE2")],
        &[(1024, &[2, 0, 0, 0, 9]), (0xFF6, b"SWAPSPACE2")],
        &[(32769, b"BEA01"), (32769 + 6144, b"NSR03")],
        &[(88, b"CS")],
        &[(508, &[0xDA, 0xBE])],
        &[(0, b"ER\x02\0")],
        &[(0, b"HM\x03\0")],
        &[(450, &[0xEE, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0])],
        &[(450, &[0xEE, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0]), (510, &[0x55, 0xAA])],
        &[(446, &[1, 0, 0, 0, 0xEE, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]), (510, &[0x55, 0xAA])],
        &[(0x1C2, b"\0\0\x01\0\x01GEM\0\0\0\x02\0\0\0\xFF")],
        &[(0x1C2, b"\0\0\xFF\0\0GEM\0\0\0\x02\0\0\0\x99")],
        &[(0x1C2, b"\0\xFF\xFF\0\x01GEM\0\0\0\x02\0\0\0\x99")],
        &[(last(1), b"JM")],
        &[(last(1), b"JM"), (last(1) + 4, &[0xB6, 0xB2]), (last(1) + 0x30, &[6]), (last(1) + 0x32, &[0xFA, 0xFF])],
        &[(last(1), &[0x55, 0xAA])],
        &[(last(1), &[0x55, 0xAA, 3]), (last(1) + 50, &[2])],
        &[(last(1) + 0x60, &[0, 0, 0, 0x2F])],
        &[(last(1) + 0x60, &[0, 0, 0, 0x2F]), (last(1) + 0x116, &[8]), (last(1) + 0x13E, &[0xF8, 0xD0])],
        &[(last(1), &[0x37, 0xFC, 0x4D, 0x1E])],
        &[(last(8) + 60, b"\x83\x74\x02\x6B")],
        // An uberblock outside the rings, and a list outside the labels.
        &[(512, b"\x0C\xB1\xBA\0\0\0\0\0")],
        &[((32 << 10) + 20, b"\x00\x00\x00\x07version")],
    ];
    for bytes in alone {
        let mut disk = Disk::blank(0x80, SIZE);
        for (at, bytes) in *bytes {
            disk.poke(*at, bytes);
        }
        assert_eq!(look_at(&disk), Marks::default(), "{bytes:x?}");
    }
    // ISO 9660's descriptor is in UDF's sequence as well, and makes no UDF alone.
    let mut disk = Disk::blank(0x80, SIZE);
    disk.poke(32769, b"CD001");
    assert_eq!(owners(&look_at(&disk)), ["ISO 9660"]);
}

/// Numbers that are the same at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length / 8).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}

#[test]
fn random_bytes_have_no_name() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let pool = random.bytes(1 << 20);
    for at in 0..200_000 {
        let head = &pool[at..at + (at % 129 + 1) * SECTOR];
        for on in [On::Disk, On::Partition] {
            assert_eq!(in_head(head, Lba(0), on), [], "from byte {at} on");
        }
    }
    // What is looked for at an end, too.
    for n in 0..2000 {
        let mut disk = Disk::blank(0x80, 300 + n % 9);
        disk.sectors.write(0, &pool[n as usize..][..disk.info.sectors as usize * SECTOR]);
        assert_eq!(look_at(&disk), Marks::default(), "from byte {n} on");
    }
}

#[test]
fn boot_code_has_no_name() {
    let mut tried = 0;
    for folder in ["/usr/lib/syslinux/mbr", "/usr/lib/syslinux/modules/bios", "/usr/share/seabios"] {
        for file in std::fs::read_dir(folder).unwrap() {
            let Ok(mut code) = std::fs::read(file.unwrap().path()) else { continue };
            code.resize(code.len().next_multiple_of(SECTOR), 0);
            // In sector 0, and where GRUB and SYSLINUX put theirs in the gap: from sector 1 on.
            for skip in [0, SECTOR] {
                let head = [vec![0; skip], code.clone()].concat();
                assert_eq!(in_head(&head, Lba(0), On::Disk), [], "{folder}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

/// A boot sector of FAT in the MBR's place is a FAT filesystem; an MBR whose code has room for a parameter block,
/// as some for sticks have, is none.
#[test]
fn an_mbr_is_no_fat() {
    let folder = tempfile::tempdir().unwrap();
    shell(folder.path(), "truncate -s 20M F; mkfs.vfat F; truncate -s 20M G; mkntfs -q -F -Q G");
    let mut fat = Disk::load(0x80, &folder.path().join("F"));
    assert_eq!(owners(&look_at(&fat)), ["a FAT filesystem"]);
    fat.poke(446, &[0x80, 1, 1, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
    assert_eq!(owners(&look_at(&fat)), [""; 0]);
    assert_eq!(in_head(&fat.bytes(0..1), Lba(7), On::Partition).first().unwrap().owner, "a FAT filesystem");
    // While a restore goes on 55AA is not there.
    fat.poke(446, &[0; 66]);
    assert_eq!(owners(&look_at(&fat)), ["a FAT filesystem"]);
    for (at, wrong) in [(0x0B, 0), (0x0D, 3), (0x0E, 0), (0x10, 3), (0x15, 0xF1)] {
        let mut fat = fat.clone();
        fat.poke(at, &[wrong, 0][..if at == 0x0E { 2 } else { 1 }]);
        fat.poke(0x0C, &[if at == 0x0B { 1 } else { 2 }]);
        assert_eq!(owners(&look_at(&fat)), [""; 0], "byte {at:x}");
    }
    // NTFS is told as such, whatever else is wrong with it.
    let mut ntfs = Disk::load(0x80, &folder.path().join("G"));
    ntfs.poke(0x0E, &[1, 0, 2]);
    assert_eq!(owners(&look_at(&ntfs)), ["an NTFS filesystem"]);
}

#[test]
fn a_look_reads_little() {
    let blank = Disk::blank(0x80, 2 << 20);
    let mut pc = Pc::new(Default::default(), vec![blank.clone()]);
    assert_eq!(look(&mut pc, DiskId(0), Lba(0), 2 << 20, On::Disk), Marks::default());
    assert!(pc.sectors_read <= 1100 && pc.reads <= 32, "{} sectors in {} reads", pc.sectors_read, pc.reads);
    // A partition in the middle of it: nothing outside.
    let mut pc = Pc::new(Default::default(), vec![blank]);
    assert_eq!(look(&mut pc, DiskId(0), Lba(2048), 8000, On::Partition), Marks::default());
    assert!(pc.seen.first() == Some(&2048) && pc.seen.last() == Some(&10_047));
    // Nothing is read for what was read already.
    assert_eq!(in_head(&[], Lba(0), On::Disk), []);
}

#[test]
fn volumes_of_any_length_are_looked_at() {
    for sectors in (0..1200).chain([8191, 8192, 8193]) {
        for (start, on) in [(0, On::Disk), (77, On::Partition)] {
            let mut pc = Pc::new(Default::default(), vec![Disk::blank(0x80, start + sectors)]);
            assert_eq!(look(&mut pc, DiskId(0), Lba(start), sectors, on), Marks::default(), "{sectors} sectors");
            assert!(pc.seen.range(..start).next().is_none(), "{sectors} sectors: before the volume");
        }
    }
    let mut one = Disk::blank(0x80, 10);
    one.poke(5 * 512, b"LUKS\xBA\xBE");
    let mut pc = Pc::new(Default::default(), vec![one]);
    let found = look(&mut pc, DiskId(0), Lba(5), 1, On::Partition).found;
    assert_eq!(found, [Found { owner: "LUKS", at: Lba(5), sectors: 1, from_beginning: true }]);
}

#[test]
fn what_cannot_be_read_hides_nothing_else_and_is_told() {
    let error = IoError::Status(0x10);
    let mut disk = Disk::blank(0x80, SIZE);
    disk.poke(512, b"EFI PART");
    disk.poke(last(2), b"NVIDIA  ");
    let all = look_at(&disk).found;
    assert_eq!(all.len(), 2);
    disk.unreadable = [0].into();
    assert_eq!(look_at(&disk), Marks { found: all.clone(), unreadable: Some((Lba(0), error)) });
    // Sector 0 counts as destroyed; another does not.
    disk.unreadable = [0, 3, SIZE - 1].into();
    assert_eq!(look_at(&disk), Marks { found: all, unreadable: Some((Lba(3), error)) });
    disk.unreadable = [1].into();
    let marks = look_at(&disk);
    assert_eq!((owners(&marks), marks.unreadable), (vec!["NVIDIA RAID"], Some((Lba(1), error))));
    // Each read of a dead disk may take many seconds.
    disk.unreadable = (0..SIZE).collect();
    let mut pc = Pc::new(Default::default(), vec![disk]);
    let marks = look(&mut pc, DiskId(0), Lba(0), SIZE, On::Disk);
    assert_eq!((marks.found, marks.unreadable), (vec![], Some((Lba(1), error))));
    assert!(pc.reads <= 8, "{} reads", pc.reads);
}

#[test]
fn the_most_telling_comes_first_and_places_count_on_the_disk() {
    let mut disk = Disk::blank(0x80, SIZE);
    let (start, sectors) = (1000, 5000);
    let at = |byte: u64| start * 512 + byte;
    disk.poke(at(1080), &[0x53, 0xEF]);
    disk.poke(at(512), b"LABELONE");
    disk.poke(at((sectors - 1) * 512), b"EFI PART");
    // A BIOS RAID's metadata mean nothing at a partition's end.
    disk.poke(at((sectors - 2) * 512), b"NVIDIA  ");
    let mut pc = Pc::new(Default::default(), vec![disk.clone()]);
    let found = look(&mut pc, DiskId(0), Lba(start), sectors, On::Partition).found;
    let expected = [
        Found { owner: "GPT", at: Lba(5999), sectors: 1, from_beginning: false },
        Found { owner: "LVM", at: Lba(1001), sectors: 1, from_beginning: true },
        Found { owner: "an ext filesystem", at: Lba(1002), sectors: 1, from_beginning: true },
    ];
    assert_eq!(found, expected);
    assert_eq!(in_head(&disk.bytes(start..start + 9), Lba(start), On::Partition), expected[1..]);
}

#[test]
fn types_that_mean_an_owner_name_him() {
    let extended: Vec<u8> = (0..=255).filter(|&kind| is_extended(kind)).collect();
    assert_eq!(extended, [0x05, 0x0F, 0x15, 0x1F, 0x85, 0x91, 0x9B, 0xC5, 0xCF, 0xD5]);
    for kind in [0x00, 0x01, 0x04, 0x06, 0x07, 0x0B, 0x0C, 0x0E, 0x83].into_iter().chain(extended) {
        assert_eq!(owner_of_type(kind), None, "{kind:02x}");
    }
    for (kind, owner) in [(0xEE, "GPT"), (0x8E, "LVM"), (0xFD, "RAID"), (0x42, "dynamic disk"), (0xBF, "ZFS")] {
        assert_eq!(owner_of_type(kind), Some(owner));
    }
    for kind in [0x12, 0x27, 0x82, 0xA5, 0xA6, 0xA8, 0xA9, 0xAB, 0xAF, 0xBE, 0xEF, 0xFB, 0xFC] {
        assert!(owner_of_type(kind).is_some(), "{kind:02x}");
    }
}

#[test]
fn the_documentation_lists_them_all() {
    let page = std::fs::read_to_string("docs/MARKS.md").unwrap();
    let of_bytes = [raids(), containers(), filesystems()].into_iter().flatten().map(|bytes| bytes.owner);
    for owner in TOOLS.iter().map(|(owner, ..)| *owner).chain(of_bytes) {
        assert!(page.contains(owner), "docs/MARKS.md does not have {owner}");
    }
}
