//! What owners put on a disk or into a partition: by their own tools, else by the bytes that libblkid's probers
//! (util-linux, libblkid/src/superblocks) look for.

use std::path::Path;
use std::sync::OnceLock;

use super::file::{lay, make, poke};
use crate::common::devices::Loop;
use crate::common::tools::{run, shell, temporary};

/// How a content is made.
#[derive(Clone, Copy)]
pub enum How {
    /// A shell command; `$f` is a file of zeros as long as the place.
    By(&'static str),
    /// Bytes for a place of so many sectors.
    Bytes(fn(u64) -> Vec<(u64, Vec<u8>)>),
}

/// An owner's mark.
#[derive(Clone, Copy)]
pub struct Content {
    pub name: &'static str,
    /// As many sectors as its tool asks for.
    pub least: u64,
    how: How,
}

const fn by(name: &'static str, mib: u64, command: &'static str) -> Content {
    Content { name, least: mib * 2048, how: How::By(command) }
}

const fn bytes(name: &'static str, make: fn(u64) -> Vec<(u64, Vec<u8>)>) -> Content {
    Content { name, least: 8192, how: How::Bytes(make) }
}

pub const ALL: &[Content] = &[
    by("ext2", 1, "mke2fs -q -F -t ext2 -E nodiscard $f"),
    by("ext4", 8, "mke2fs -q -F -t ext4 -E nodiscard $f"),
    by("xfs", 300, "mkfs.xfs -q -f -K $f"),
    by("btrfs", 128, "mkfs.btrfs -q -f -K $f"),
    by("f2fs", 64, "mkfs.f2fs -q -f -t 0 $f"),
    by("jfs", 24, "mkfs.jfs -q $f"),
    by("udf", 4, "mkudffs $f"),
    by("squashfs", 1, "mksquashfs \"$d\" $f -noappend -quiet -no-progress"),
    by("erofs", 1, "mkfs.erofs $f \"$d\""),
    by("cramfs", 1, "mkfs.cramfs \"$d\" $f"),
    by("NTFS", 4, "mkntfs -F -Q -q $f"),
    by("exFAT", 4, "mkfs.exfat $f"),
    by("FAT16", 9, "mkfs.fat -I -F 16 $f"),
    by("FAT32", 64, "mkfs.fat -I -F 32 $f"),
    by("nilfs2", 130, "mkfs.nilfs2 -q -f -K $f"),
    by("reiserfs", 40, "mkreiserfs -q -f -f $f"),
    by("gfs2", 220, "mkfs.gfs2 -q -O -K -p lock_nolock $f"),
    by("minix", 1, "mkfs.minix $f"),
    by("bfs", 1, "mkfs.bfs $f"),
    by("swap", 1, "mkswap $f"),
    by("bcache", 1, "make-bcache -B $f"),
    by("drbd", 8, "drbdmeta --force 0 v08 $f internal create-md 1"),
    by("LUKS1", 8, "echo secret | cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 $f"),
    by(
        "LUKS2",
        20,
        "echo secret | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $f",
    ),
    by("iso9660", 4, "xorriso -as mkisofs -quiet -o $f.iso \"$d\" && dd if=$f.iso of=$f conv=notrunc && rm $f.iso"),
    Content { name: "LVM", least: 8192, how: How::Bytes(lvm) },
    bytes("md 0.90", md_0_90),
    bytes("md 1.0", |sectors| md_1((sectors - 16) & !7, sectors)),
    bytes("md 1.1", |sectors| md_1(0, sectors)),
    bytes("md 1.2", |sectors| md_1(8, sectors)),
    bytes("BitLocker", |_| {
        let metadata = (65536, b"-FVE-FS-\x50\0\x02\0".to_vec());
        let head = b"\xEB\x58\x90-FVE-FS-\0\x02\x08".to_vec();
        vec![(0, head), (176, 65536_u64.to_le_bytes().to_vec()), (510, vec![0x55, 0xAA]), metadata]
    }),
    bytes("UFS", |_| vec![(8192 + 0x55C, 0x0001_1954_u32.to_le_bytes().to_vec())]),
    bytes("UFS2", |_| vec![(65536 + 0x55C, 0x1954_0119_u32.to_le_bytes().to_vec())]),
    bytes("VMFS", |_| vec![(0x20_0000, 0x2FAB_F15E_u32.to_le_bytes().to_vec())]),
    bytes("VMFS volume", |_| vec![(0x10_0000, 0xC001_D00D_u32.to_le_bytes().to_vec())]),
    bytes("HFS+", |_| vec![(1024, b"H+\0\x04".to_vec()), (1064, 4096_u32.to_be_bytes().to_vec())]),
    Content { name: "ZFS", least: 131_072, how: How::Bytes(zfs) },
    bytes("Intel RAID", |sectors| vec![(sectors * 512 - 1024, b"Intel Raid ISM Cfg Sig. 1.2.05".to_vec())]),
    bytes("NVIDIA RAID", nvidia),
    bytes("Promise RAID", |sectors| vec![(sectors * 512 - 63 * 512, b"Promise Technology, Inc.".to_vec())]),
    bytes("Promise RAID, far", |sectors| vec![(sectors * 512 - 3087 * 512, b"Promise Technology, Inc.".to_vec())]),
    bytes("HighPoint 37x", |_| vec![(9 * 512 + 32, 0x5A78_16F0_u32.to_le_bytes().to_vec())]),
    bytes("HighPoint 45x", |sectors| vec![(sectors * 512 - 11 * 512, 0x5A78_16F3_u32.to_le_bytes().to_vec())]),
    bytes("LSI RAID", |sectors| vec![(sectors * 512 - 512, b"$XIDE$".to_vec())]),
    bytes("VIA RAID", |sectors| vec![(sectors * 512 - 512, vec![0x55, 0xAA]), (sectors * 512 - 462, vec![0xFF])]),
    bytes("JMicron RAID", |sectors| vec![(sectors * 512 - 512, b"JM\0\0\xB6\xB2".to_vec())]),
];

/// Those that a partition of so many sectors may hold. What a controller's firmware writes stands on whole disks.
pub fn for_partition(sectors: u64) -> Vec<&'static Content> {
    let of_firmware = |c: &Content| c.name.contains("RAID") || c.name.starts_with("HighPoint");
    ALL.iter().filter(|c| c.least <= sectors && !of_firmware(c)).collect()
}

impl Content {
    /// The content of this name.
    pub fn named(name: &str) -> &'static Self {
        ALL.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("nobody makes {name}"))
    }

    /// Puts it on a disk; where its tool writes nothing, what was there stays.
    pub fn put(&self, disk: &Path, start: u64, sectors: u64) {
        match self.how {
            How::Bytes(make) => make(sectors).iter().for_each(|(at, bytes)| poke(disk, start * 512 + at, bytes)),
            How::By(command) => {
                let folder = temporary();
                let place = folder.path().join("place");
                make(&place, sectors);
                shell(folder.path(), "mkdir tree; echo 'nobody has a copy of this' >tree/work.txt");
                shell(folder.path(), &format!("f=place; d=tree; export f d; {{ {command}; }} >/dev/null 2>&1"));
                lay(&place, disk, start * 512);
            }
        }
    }
}

/// A physical volume by pvcreate, which works on block devices only; where there are none for us, its label
/// (LVM2 lib/label/label.h).
fn lvm(_: u64) -> Vec<(u64, Vec<u8>)> {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    let made = MADE.get_or_init(|| by_pvcreate().unwrap_or_else(by_label));
    vec![(0, made.clone())]
}

fn by_pvcreate() -> Option<Vec<u8>> {
    let folder = temporary();
    let file = folder.path().join("pv");
    make(&file, 8192);
    let device = Loop::of(&file)?;
    let small = "devices { use_devicesfile=0 } backup { backup=0 archive=0 }";
    let ran = run("pvcreate", &["-qq", "-y", "--metadatasize", "64k", "--config", small, &device.path]);
    drop(device);
    (ran.code == 0).then(|| super::file::peek(&file, 0, 65536))
}

fn by_label() -> Vec<u8> {
    let mut head = vec![0; 1024];
    let label = b"LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\xb9\xdd\x16\x96\x20\x00\x00\x00LVM2 001";
    head[512..512 + label.len()].copy_from_slice(label);
    head
}

/// The sum of md: 32-bit words, what does not fit added again.
fn md_sum(words: &[u8]) -> u32 {
    let sum: u64 = words.chunks(4).map(|w| w.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))).sum();
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

/// Linux md_p.h, `mdp_super_t`: in the last whole 64 KiB but one.
pub fn md_0_90(sectors: u64) -> Vec<(u64, Vec<u8>)> {
    let mut block = vec![0; 4096];
    for (word, value) in [(0, 0xA92B_4EFC_u32), (2, 90), (5, 0x1234_5678)] {
        block[word * 4..word * 4 + 4].copy_from_slice(&value.to_le_bytes());
    }
    let sum = md_sum(&block);
    block[38 * 4..39 * 4].copy_from_slice(&sum.to_le_bytes());
    vec![(((sectors * 512) & !0xFFFF) - 0x1_0000, block)]
}

/// Linux md_p.h, `struct mdp_superblock_1`: at sector `at`, which it names itself.
pub fn md_1(at: u64, sectors: u64) -> Vec<(u64, Vec<u8>)> {
    let mut block = vec![0; 4096];
    block[..8].copy_from_slice(&[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]);
    block[16..36].copy_from_slice(b"0123456789abcdefhome");
    block[72..76].copy_from_slice(&1_u32.to_le_bytes());
    block[80..88].copy_from_slice(&(sectors - 4096).to_le_bytes());
    for (place, value) in [(128, 4096), (136, sectors - 4096), (144, at)] {
        block[place..place + 8].copy_from_slice(&value.to_le_bytes());
    }
    block[220..224].copy_from_slice(&1_u32.to_le_bytes());
    let sum = md_sum(&block[..258]);
    block[216..220].copy_from_slice(&sum.to_le_bytes());
    vec![(at * 512, block)]
}

/// The uberblocks of the four labels (ZFS on-disk format 1.3, section 1.2).
fn zfs(sectors: u64) -> Vec<(u64, Vec<u8>)> {
    let label = 256 << 10;
    let whole = sectors * 512 / label * label;
    let places = [0, label, whole - 2 * label, whole - label];
    let slots = places.into_iter().flat_map(|at| (4..9_u64).map(move |slot| (at + (128 << 10) + slot * 1024, slot)));
    slots.map(|(at, slot)| (at, [0x00BA_B10C, 5000, slot, 0].map(u64::to_le_bytes).concat())).collect()
}

fn nvidia(sectors: u64) -> Vec<(u64, Vec<u8>)> {
    let mut block = vec![0; 120];
    block[..8].copy_from_slice(b"NVIDIA  ");
    block[8..12].copy_from_slice(&30_u32.to_le_bytes());
    let sum: u32 = block.chunks(4).fold(0, |sum, w| sum.wrapping_add(u32::from_le_bytes(w.try_into().unwrap())));
    block[12..16].copy_from_slice(&sum.to_le_bytes());
    vec![(sectors * 512 - 1024, block)]
}
