//! Disks that are somebody else's, made by the owners' own tools where there are any on this machine, else by
//! the bytes that their specification puts there.

use std::fs::{self, File};
use std::path::Path;

use super::devices::Loop;
use super::hostile::Random;
use super::tools::{self, shell, text};

/// What lies in the machine beside the declared disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Other {
    /// Nothing on it; of the declared size.
    Blank,
    /// Somebody's, with an MBR and filesystems of its own: FAT, ext and NTFS; of the declared size.
    Used,
    /// Nothing on it, and larger than declared.
    BigBlank,
    /// Somebody's, and larger.
    BigUsed,
    /// A hybrid of CD and stick, as distributions ship them.
    Stick,
    /// GPT as sgdisk makes it.
    Gpt,
    /// A physical volume that takes the whole disk.
    Lvm,
    /// A pool that takes the whole disk.
    Zfs,
    /// A whole disk that BitLocker has encrypted.
    BitLocker,
    /// A member of a Linux RAID, version 1.2.
    Raid,

    /// GPT whose protective MBR was wiped.
    GptNoMbr,
    /// GPT of which only the second header is left.
    GptTail,
    /// GPT, made behind an adapter that had sectors of 4 KiB; no MBR.
    Gpt4k,
    /// A pool whose first labels were wiped.
    ZfsTail,
    /// A stick that is one FAT filesystem, without a table.
    WholeFat,
    /// The same, NTFS.
    WholeNtfs,
    /// An MBR with a partition that BitLocker has encrypted.
    BitLockerPart,
    /// BitLocker To Go.
    ToGo,
    /// A physical volume in a logical partition of an ordinary type.
    LogicalLvm,
    /// A member of a Linux RAID of version 1.0 in a partition of an ordinary type: the mark stands at its end.
    RaidPart,
    /// A whole disk that is encrypted, header and all: bytes that nobody can name.
    Data,
}

impl Other {
    /// Those that the issue names.
    pub const NAMED: [Self; 10] = [
        Self::Blank,
        Self::Used,
        Self::BigBlank,
        Self::BigUsed,
        Self::Stick,
        Self::Gpt,
        Self::Lvm,
        Self::Zfs,
        Self::BitLocker,
        Self::Raid,
    ];
    /// What else there is of their kinds.
    pub const MORE: [Self; 11] = [
        Self::GptNoMbr,
        Self::GptTail,
        Self::Gpt4k,
        Self::ZfsTail,
        Self::WholeFat,
        Self::WholeNtfs,
        Self::BitLockerPart,
        Self::ToGo,
        Self::LogicalLvm,
        Self::RaidPart,
        Self::Data,
    ];

    /// Whether it is larger than the declared disk.
    pub fn is_big(self) -> bool {
        matches!(self, Self::BigBlank | Self::BigUsed)
    }

    /// Whether it carries marks for which nobody may write it.
    pub fn is_marked(self) -> bool {
        !matches!(self, Self::Blank | Self::Used | Self::BigBlank | Self::BigUsed | Self::Data)
    }

    /// Whether it has a partition table that nothing else tells of, and so a signature of its own.
    pub fn has_table(self) -> bool {
        matches!(self, Self::Used | Self::BigUsed)
    }

    /// Makes `disk`, of so many sectors.
    pub fn make(self, disk: &Path, sectors: u64) {
        let _ = fs::remove_file(disk);
        File::create(disk).and_then(|file| file.set_len(sectors * 512)).unwrap();
        let last = (sectors - 1) * 512;
        match self {
            Self::Blank | Self::BigBlank => {}
            Self::Used | Self::BigUsed => used(disk, sectors),
            Self::Stick => stick(disk, sectors),
            Self::Gpt => gpt(disk),
            Self::Lvm => lvm(disk),
            Self::Zfs => zfs(disk, sectors),
            Self::BitLocker => poke(disk, 0, &bitlocker()),
            // Linux md_p.h: magic, major version 1, at 4 KiB.
            Self::Raid => poke(disk, 4096, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]),
            Self::GptNoMbr => {
                gpt(disk);
                poke(disk, 0, &[0; 512]);
            }
            Self::GptTail => {
                gpt(disk);
                poke(disk, 0, &[0; 34 * 512]);
            }
            // UEFI 2.10 section 5.3.2: LBA 1 of a disk whose sectors have 4096 bytes.
            Self::Gpt4k => poke(disk, 4096, b"EFI PART\x00\x00\x01\x00"),
            Self::ZfsTail => {
                zfs(disk, sectors);
                poke(disk, 0, &vec![0; 1 << 20]);
            }
            Self::WholeFat => drop(tools::must("mkfs.fat", &["-I", text(disk)])),
            Self::WholeNtfs => drop(tools::must("mkntfs", &["-F", "-Q", "-q", text(disk)])),
            Self::BitLockerPart => {
                table(disk, "start=2048, size=4096, type=7");
                poke(disk, 2048 * 512, &bitlocker());
            }
            Self::ToGo => {
                table(disk, "start=2048, size=4096, type=c");
                tools::must("mkfs.fat", &["--offset", "2048", text(disk), "2048"]);
                // libbde, "BitLocker Drive Encryption (BDE) format" section 3.2: OEM, and identifier at 424.
                poke(disk, 2048 * 512 + 3, b"MSWIN4.1");
                let id = [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 1];
                poke(disk, 2048 * 512 + 424, &id);
            }
            Self::LogicalLvm => {
                table(
                    disk,
                    "start=2048, size=5000, type=5\nstart=2100, size=100, type=83\nstart=2300, size=4000, type=83",
                );
                let part = disk.with_extension("pv");
                File::create(&part).and_then(|file| file.set_len(4000 * 512)).unwrap();
                lvm(&part);
                poke(disk, 2300 * 512, &fs::read(&part).unwrap()[..65536]);
                fs::remove_file(part).unwrap();
            }
            Self::Data => data(disk, sectors),
            Self::RaidPart => {
                table(disk, "start=2048, size=4096, type=83");
                // Linux md_p.h, version 1.0: 8 KiB before the end, rounded down to 4 KiB.
                poke(disk, (2048 + 4096 - 16) * 512, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]);
            }
        }
        assert_eq!(fs::metadata(disk).unwrap().len(), last + 512, "{self:?} has another length");
    }
}

/// Bytes without any order, as an encrypted disk has them from its first sector on.
fn data(disk: &Path, sectors: u64) {
    let mut random = Random::new(23);
    let bytes: Vec<u8> = (0..sectors * 64).flat_map(|_| random.next().to_le_bytes()).collect();
    assert_ne!(bytes[510..512], [0x55, 0xAA], "it has a table");
    fs::write(disk, bytes).unwrap();
}

fn poke(disk: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    File::options().write(true).open(disk).unwrap().write_all_at(bytes, at).unwrap();
}

/// A partition table with this signature, as sfdisk writes it.
fn table(disk: &Path, entries: &str) {
    let name = disk.file_name().unwrap().to_str().unwrap();
    let script = format!(
        "printf 'label: dos\\nlabel-id: 0x0badcafe\\n{}\\n' | sfdisk -q --no-tell-kernel {name}",
        entries.replace('\n', "\\n")
    );
    shell(disk.parent().unwrap(), &script);
}

/// Three filesystems, each with a file that nobody has a copy of.
fn used(disk: &Path, sectors: u64) {
    let rest = sectors - 4096 - 40;
    table(
        disk,
        &format!(
            "start=2048, size=1024, type=6, bootable\nstart=3072, size=1024, type=83\nstart=4096, size={rest}, type=7"
        ),
    );
    let name = disk.file_name().unwrap().to_str().unwrap();
    let script = format!(
        "echo 'years of work' >{name}.txt
        mkfs.fat -C {name}.p1 512 >/dev/null; mcopy -i {name}.p1 {name}.txt ::work.txt
        mke2fs -q -F {name}.p2 512k; debugfs -w -R 'write {name}.txt work.txt' {name}.p2 2>/dev/null
        truncate -s {} {name}.p3; mkntfs -F -Q -q {name}.p3 >/dev/null 2>&1
        for n in 1 2 3; do dd if={name}.p$n of={name} bs=512 seek=$((1024 + 1024 * n)) conv=notrunc status=none; done
        rm {name}.*",
        rest * 512
    );
    shell(disk.parent().unwrap(), &script);
}

/// A bootable hybrid by xorriso, with boot code of its own that restarts the machine.
fn stick(disk: &Path, sectors: u64) {
    let name = disk.file_name().unwrap().to_str().unwrap();
    let script = format!(
        "rm -rf {name}.d; mkdir {name}.d; echo 'a live system' >{name}.d/readme.txt
        printf '\\352\\000\\000\\377\\377' >{name}.d/code.bin
        xorriso -as mkisofs -quiet -V LIVE -G {name}.d/code.bin --protective-msdos-label -o {name}.iso {name}.d 2>/dev/null
        dd if={name}.iso of={name} conv=notrunc status=none; rm -r {name}.d {name}.iso; truncate -s {} {name}",
        sectors * 512
    );
    shell(disk.parent().unwrap(), &script);
}

fn gpt(disk: &Path) {
    tools::must("sgdisk", &["-n", "1:2048:5000", "-c", "1:data", text(disk)]);
}

/// pvcreate works on block devices only.
fn lvm(disk: &Path) {
    let small = "devices { use_devicesfile=0 pv_min_size=512 } backup { backup=0 archive=0 }";
    if let Some(device) = Loop::of(disk) {
        let made = tools::run("pvcreate", &["-qq", "-y", "--metadatasize", "64k", "--config", small, &device.path]);
        assert_eq!(made.code, 0, "pvcreate: {}", made.err);
    } else {
        // LVM2 lib/label/label.h: `struct label_header`, in the second sector.
        poke(disk, 512, b"LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\xb9\xdd\x16\x96\x20\x00\x00\x00LVM2 001");
    }
}

/// The four labels (ZFS on-disk format 1.3, section 1.2), each with its list's beginning and uberblocks.
fn zfs(disk: &Path, sectors: u64) {
    let label = 256 << 10;
    let whole = sectors * 512 / label * label;
    for at in [0, label, whole - 2 * label, whole - label] {
        // XDR encoding, little endian (libnvpair), and the first pair: encoded and decoded size, name, type
        // uint64, one of it, 5000.
        poke(disk, at + (16 << 10), &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        poke(
            disk,
            at + (16 << 10) + 12,
            b"\0\0\0\x24\0\0\0\x20\0\0\0\x07version\0\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0\x13\x88",
        );
        for slot in 4..9_u64 {
            let words = [0x00BA_B10C, 5000, slot, 0].map(u64::to_le_bytes).concat();
            poke(disk, at + (128 << 10) + slot * 1024, &words);
        }
    }
}

/// libbde, "BitLocker Drive Encryption (BDE) format" section 3.1: a boot sector with NTFS' parameters.
fn bitlocker() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(&[0xEB, 0x58, 0x90]);
    sector[3..11].copy_from_slice(b"-FVE-FS-");
    sector[11..14].copy_from_slice(&[0, 2, 8]);
    sector[0x15] = 0xF8;
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}
