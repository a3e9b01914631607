//! Signs that a disk is somebody else's. A disk with any of them is never written.
//!
//! The places are those where each owner's own tools look first; see each row for the source.

use alloc::vec;
use alloc::vec::Vec;

use crate::machine::{DiskId, IoError, Machine};
use crate::media::boot_sector;
use crate::media::mbr::{Entry, Mbr};
use crate::units::{Lba, SECTOR};

/// Bytes that mark a volume: at byte `at` from its beginning.
struct Mark {
    owner: &'static str,
    at: usize,
    bytes: &'static [u8],
}

/// ZFS on-disk format 1.3, section 1.2.2: at 16 KiB in each label stands a list of names and values, packed as
/// XDR (libnvpair), and OpenZFS (`spa_config_generate`, `vdev_label_init`) puts the version first. Tools that
/// wipe marks and not labels leave it.
const ZFS: Mark = Mark { owner: "ZFS", at: 16 * 1024 + 20, bytes: b"\x00\x00\x00\x07version" };

/// Marks at the beginning of a disk or of a partition.
const HEAD: &[Mark] = &[
    // UEFI 2.10 section 5.3.2: the GPT header stands in LBA 1.
    Mark { owner: "GPT", at: 512, bytes: b"EFI PART" },
    // The same on a disk that was partitioned behind an adapter with sectors of 4 KiB.
    Mark { owner: "GPT", at: 4096, bytes: b"EFI PART" },
    // LVM2 lib/label: in one of the first four sectors.
    Mark { owner: "LVM", at: 0, bytes: b"LABELONE" },
    Mark { owner: "LVM", at: 512, bytes: b"LABELONE" },
    Mark { owner: "LVM", at: 1024, bytes: b"LABELONE" },
    Mark { owner: "LVM", at: 1536, bytes: b"LABELONE" },
    // BitLocker: the OEM field of the boot sector.
    Mark { owner: "BitLocker", at: 3, bytes: b"-FVE-FS-" },
    // BitLocker To Go looks like FAT but for this identifier (libbde, "BitLocker Drive Encryption format",
    // section 3.2: 4967D63B-2E29-4AD8-8399-F6A339E3D001).
    Mark { owner: "BitLocker", at: 424, bytes: b"\x3B\xD6\x67\x49\x29\x2E\xD8\x4A\x83\x99\xF6\xA3\x39\xE3\xD0\x01" },
    // LUKS 1 and 2: cryptsetup docs/on-disk-format.pdf.
    Mark { owner: "LUKS", at: 0, bytes: b"LUKS\xBA\xBE" },
    // Linux md, version 1.1 at 0 and version 1.2 at 4 KiB (kernel md_p.h: MD_SB_MAGIC).
    Mark { owner: "RAID", at: 0, bytes: &[0xFC, 0x4E, 0x2B, 0xA9] },
    Mark { owner: "RAID", at: 4096, bytes: &[0xFC, 0x4E, 0x2B, 0xA9] },
    // Windows dynamic disks: the LDM private header of MBR disks, in LBA 6.
    Mark { owner: "dynamic disk", at: 6 * 512, bytes: b"PRIVHEAD" },
    ZFS,
    // ISO 9660 on a disk: a boot stick.
    Mark { owner: "ISO 9660", at: 16 * 2048 + 1, bytes: b"CD001" },
];

/// Marks of a filesystem that takes a whole disk, without a partition table: data disks are often made
/// so. (Superblocks: ext `s_magic`, XFS `sb_magicnum`, Btrfs `magic`; OEM fields of NTFS and exFAT; Linux
/// swap's last 10 bytes of 4 KiB.)
const WHOLE_DISK: &[Mark] = &[
    Mark { owner: "an ext filesystem", at: 1024 + 0x38, bytes: &[0x53, 0xEF] },
    Mark { owner: "an XFS filesystem", at: 0, bytes: b"XFSB" },
    Mark { owner: "a Btrfs filesystem", at: 0x1_0040, bytes: b"_BHRfS_M" },
    Mark { owner: "an NTFS filesystem", at: 3, bytes: b"NTFS    " },
    Mark { owner: "an exFAT filesystem", at: 3, bytes: b"EXFAT   " },
    Mark { owner: "swap space", at: 4086, bytes: b"SWAPSPACE2" },
];

/// How much of a disk's beginning [`WHOLE_DISK`] looks at, in sectors: up to and with Btrfs's.
const WHOLE_DISK_SECTORS: u64 = 129;

/// How much of a volume's beginning [`HEAD`] looks at, in sectors: up to and with ISO 9660's.
const HEAD_SECTORS: u64 = 65;
/// ZFS on-disk format 1.3, section 1.2: labels of 256 KiB, two at the beginning and two at the end of a
/// volume, whose length counts in whole labels.
const LABEL: u64 = 256 * 1024 / 512;

/// Partition types that say whose a partition is: protective GPT, Windows dynamic disk, Linux LVM,
/// Linux RAID, and FreeBSD's ZFS slice.
const KINDS: &[(u8, &str)] = &[(0xEE, "GPT"), (0x42, "dynamic disk"), (0x8E, "LVM"), (0xFD, "RAID"), (0xBF, "ZFS")];

/// How much of a disk's beginning is read at every start, in sectors: the MBR, and all marks but
/// ISO 9660's.
pub const QUICK_HEAD_SECTORS: u64 = 9;

/// Whose the volume is that begins with `head`, as far as `head` tells.
#[must_use]
pub fn owner_of_head(head: &[u8]) -> Option<&'static str> {
    owner_by(HEAD, head)
}

fn owner_by(marks: &[Mark], head: &[u8]) -> Option<&'static str> {
    let stands = |mark: &&Mark| head.get(mark.at..mark.at + mark.bytes.len()) == Some(mark.bytes);
    marks.iter().find(stands).map(|mark| mark.owner)
}

/// The same for a filesystem that takes the whole disk; FAT has no mark but its parameter block.
fn owner_of_whole_disk(head: &[u8]) -> Option<&'static str> {
    let fat = head.first_chunk().is_some_and(boot_sector::has_bpb);
    if fat { Some("a FAT filesystem") } else { owner_by(WHOLE_DISK, head) }
}

/// Whose the disk is, if anything on it says so: its beginning, its end, and the same of what its partition
/// table lists, but for what `map` declares to be there. For a disk whose MBR is not the declared one.
///
/// # Errors
/// When a place that has to be looked at can't be read.
pub fn owner(
    machine: &mut dyn Machine,
    disk: DiskId,
    sectors: u64,
    mbr: Option<&Mbr>,
    map: &[Entry; 4],
) -> Result<Option<&'static str>, IoError> {
    let head = read_head(machine, disk, Lba(0), WHOLE_DISK_SECTORS.min(sectors))?;
    if let Some(owner) = owner_of_volume(machine, disk, Lba(0), sectors, &head)? {
        return Ok(Some(owner));
    }
    // The boot sectors of FAT, exFAT and NTFS look like an MBR whose table is empty.
    let entries = mbr.map(Mbr::entries).unwrap_or_default();
    if entries.iter().all(|entry| entry.kind == 0)
        && let Some(owner) = owner_of_whole_disk(&head)
    {
        return Ok(Some(owner));
    }
    for entry in entries.iter().filter(|entry| !map.iter().any(|m| m.is_same(entry))) {
        if let Some(owner) = owner_of_entry(machine, disk, Lba(0), entry, sectors)? {
            return Ok(Some(owner));
        }
        if EXTENDED.contains(&entry.kind)
            && let Some(owner) = owner_of_logical(machine, disk, Lba(u64::from(entry.start)), sectors)?
        {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

/// The partition types of an extended partition, which holds a chain of tables.
const EXTENDED: [u8; 3] = [0x05, 0x0F, 0x85];
/// As many tables of a chain are followed: Linux numbers no more partitions of a disk than these.
const CHAIN: usize = 60;

/// Follows the chain that begins at `base`: each table's first entry is a partition, counted from the table on,
/// and the second is where the next table stands, counted from `base` on.
#[inline(never)]
fn owner_of_logical(
    machine: &mut dyn Machine,
    disk: DiskId,
    base: Lba,
    sectors: u64,
) -> Result<Option<&'static str>, IoError> {
    let mut at = base;
    for _ in 0..CHAIN {
        let mut sector = [0; SECTOR];
        machine.read_disk(disk, at, &mut sector)?;
        let Ok(table) = Mbr::parse(&sector, sectors) else { break };
        let [partition, next, ..] = table.entries();
        if let Some(owner) = owner_of_entry(machine, disk, at, &partition, sectors)? {
            return Ok(Some(owner));
        }
        at = Lba(base.0 + u64::from(next.start));
        if next.kind == 0 || at.0 >= sectors {
            break;
        }
    }
    Ok(None)
}

/// Whose a listed partition is, whose place counts from `base` on; nobody's if it is not on the disk.
fn owner_of_entry(
    machine: &mut dyn Machine,
    disk: DiskId,
    base: Lba,
    entry: &Entry,
    sectors: u64,
) -> Result<Option<&'static str>, IoError> {
    let (start, length) = (base.0 + u64::from(entry.start), u64::from(entry.sectors));
    if entry.kind == 0 || start + length > sectors {
        return Ok(None);
    }
    match KINDS.iter().find(|(kind, _)| *kind == entry.kind) {
        Some(&(_, owner)) => Ok(Some(owner)),
        None => {
            let head = read_head(machine, disk, Lba(start), HEAD_SECTORS.min(length))?;
            owner_of_volume(machine, disk, Lba(start), length, &head)
        }
    }
}

/// Whose a disk or a partition is that begins with `head`, by that and by its end.
#[inline(never)]
fn owner_of_volume(
    machine: &mut dyn Machine,
    disk: DiskId,
    start: Lba,
    length: u64,
    head: &[u8],
) -> Result<Option<&'static str>, IoError> {
    if let Some(owner) = owner_of_head(head) {
        return Ok(Some(owner));
    }
    if has_label(machine, disk, start, length / LABEL * LABEL)? {
        return Ok(Some(ZFS.owner));
    }
    owner_of_tail(machine, disk, start, length)
}

/// Whether a label of ZFS behind the first one stands on a volume of so many sectors, a whole number of labels.
/// Any of the four will do: a pool is found by the last when the beginning was wiped.
fn has_label(machine: &mut dyn Machine, disk: DiskId, start: Lba, length: u64) -> Result<bool, IoError> {
    for label in [LABEL, length.saturating_sub(2 * LABEL), length.saturating_sub(LABEL)] {
        // A volume that ends before has none, and what follows may be past the end of the disk.
        if label + LABEL <= length {
            let mut sector = [0; SECTOR];
            let (at, within) = ((ZFS.at / SECTOR) as u64, ZFS.at % SECTOR);
            machine.read_disk(disk, Lba(start.0 + label + at), &mut sector)?;
            if sector[within..].starts_with(ZFS.bytes) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Reads the first `sectors` sectors from `start` on. The first of them may be unreadable and then
/// reads as zeros: a disk whose MBR can't be read is a disk whose MBR is destroyed. Any other must
/// be readable, or nobody can tell whose the disk is.
///
/// # Errors
/// The machine's.
pub fn read_head(machine: &mut dyn Machine, disk: DiskId, start: Lba, sectors: u64) -> Result<Vec<u8>, IoError> {
    let mut head = vec![0; sectors as usize * SECTOR];
    if machine.read_disk(disk, start, &mut head).is_err() {
        let Some((first, rest)) = head.split_at_mut_checked(SECTOR) else { return Ok(head) };
        machine.read_disk(disk, Lba(start.0 + 1), rest)?;
        if machine.read_disk(disk, start, first).is_err() {
            first.fill(0);
        }
    }
    Ok(head)
}

/// The end of a volume: GPT's second header (UEFI 2.10 section 5.3.2, last sector), SNIA DDF's anchor
/// (2.0 section 5, last sector), Intel RAID (Linux mdadm super-intel.c, last sector but one), and
/// Linux md versions 1.0 (8 KiB before the end) and 0.90 (the last whole 64 KiB).
#[inline(never)]
fn owner_of_tail(
    machine: &mut dyn Machine,
    disk: DiskId,
    start: Lba,
    sectors: u64,
) -> Result<Option<&'static str>, IoError> {
    let last = sectors.saturating_sub(1);
    // Version 1.0 stands at the largest multiple of 4 KiB that is 8 KiB or more before the end, and version 0.90
    // at the beginning of the last whole 64 KiB.
    let version_1_0 = sectors.saturating_sub(16) / 8 * 8;
    let version_0_90 = (sectors / 128 * 128).saturating_sub(128);
    let mut sector = [0; SECTOR];
    machine.read_disk(disk, Lba(start.0 + version_0_90), &mut sector)?;
    let mut tail = vec![0; (sectors - version_1_0) as usize * SECTOR];
    machine.read_disk(disk, Lba(start.0 + version_1_0), &mut tail)?;
    let begins = |at: u64, mark: &[u8]| {
        let at = at.saturating_sub(version_1_0) as usize * SECTOR;
        tail.get(at..at + mark.len()) == Some(mark)
    };
    let md = [0xFC, 0x4E, 0x2B, 0xA9];
    Ok(if begins(last, b"EFI PART") {
        Some("GPT")
    } else if begins(last, &[0xDE, 0x11, 0xDE, 0x11]) || begins(last, &[0x11, 0xDE, 0x11, 0xDE]) {
        Some("DDF RAID")
    } else if begins(last.saturating_sub(1), b"Intel Raid ISM") {
        Some("Intel RAID")
    } else if begins(version_1_0, &md) || sector.starts_with(&md) {
        Some("RAID")
    } else {
        None
    })
}
