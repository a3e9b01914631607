//! Which disk is the declared one. A disk that is not is never written: no test here allows a write
//! but those that say so, and the machine ends a test that writes all the same.

mod common;

use common::images::{Set, figure4_set};
use common::machine::{Disk, Pc, word};
use knownstate_core::disks;
use knownstate_core::logic;

/// The size of the disks here, which is no multiple of 64 KiB: what stands at a disk's end has to be
/// looked for from the right end.
const SIZE: u64 = 70_013;

/// Looks for the first declared disk: its BIOS number, or why there is none.
fn found(declarations: &str, disks: Vec<Disk>) -> Result<u8, String> {
    let text = format!("logic 1\n{declarations}\nhold \"done\"");
    let program = logic::parse(&text).unwrap_or_else(|d| panic!("{d:?} in\n{text}"));
    let first = program.disk_indexes().next().unwrap();
    disks::find(&mut Pc::new(Default::default(), disks), &program, first).map(|claim| claim.drive())
}

fn blank(drive: u8) -> Disk {
    Disk::blank(drive, SIZE)
}

/// A disk with an MBR of one entry, and this signature.
fn with_mbr(drive: u8, signature: u32, kind: u8, start: u32, sectors: u32) -> Disk {
    let mut disk = blank(drive);
    disk.poke(440, &signature.to_le_bytes());
    disk.poke(446 + 4, &[kind]);
    disk.poke(446 + 8, &[start.to_le_bytes(), sectors.to_le_bytes()].concat());
    disk.poke(510, &[0x55, 0xAA]);
    disk
}

#[test]
fn a_disk_is_known_by_its_size() {
    let sized = |sectors| vec![Disk::blank(0x80, sectors)];
    let exactly = format!("disk d sectors {SIZE}");
    let at_least = format!("disk d sectors {SIZE}..");
    assert_eq!(found(&exactly, sized(SIZE)), Ok(0x80));
    assert_eq!(found(&at_least, sized(SIZE)), Ok(0x80));
    assert_eq!(found(&at_least, sized(SIZE + 1)), Ok(0x80));
    assert_eq!(found(&at_least, sized(1 << 33)), Ok(0x80), "4 TiB");
    assert_eq!(found(&exactly, sized(SIZE + 1)), Err("no disk is d: drive 80 has 70014 sectors".into()));
    assert_eq!(found(&at_least, sized(SIZE - 1)), Err("no disk is d: drive 80 has 70012 sectors".into()));
    assert_eq!(found(&exactly, vec![]), Err("no disk found".into()));
    assert_eq!(found(&exactly, vec![Disk::blank(0x80, 99), blank(0x83)]), Ok(0x83), "the number does not matter");
}

#[test]
fn the_boot_medium_and_disks_that_cannot_be_written_never_match() {
    let declared = format!("disk d sectors {SIZE}");
    let (mut medium, mut locked) = (blank(0x80), blank(0x81));
    medium.info.boot_medium = true;
    locked.info.writable = false;
    let why = "no disk is d: drive 80 is the boot medium, drive 81 can't be written by this BIOS";
    assert_eq!(found(&declared, vec![medium.clone(), locked]), Err(why.into()));
    assert_eq!(found(&declared, vec![medium, blank(0x82)]), Ok(0x82));
}

#[test]
fn of_equal_disks_none_matches_unless_the_signature_decides() {
    let plain = format!("disk d sectors {SIZE}");
    let signed = format!("disk d sectors {SIZE} signature 12345678");
    let ours = |drive| with_mbr(drive, 0x1234_5678, 0x83, 2048, 100);
    let other = |drive| with_mbr(drive, 0x0BAD_CAFE, 0x83, 2048, 100);
    let table = [
        ("two blank", &plain, vec![blank(0x80), blank(0x81)], Err("2 disks could be d: drives 80, 81")),
        ("two blank, signed", &signed, vec![blank(0x80), blank(0x81)], Err("2 disks could be d: drives 80, 81")),
        ("the signature decides", &signed, vec![other(0x80), ours(0x81)], Ok(0x81)),
        ("its own signature beats a lost one", &signed, vec![blank(0x80), ours(0x81)], Ok(0x81)),
        ("a lost one matches alone", &signed, vec![blank(0x80)], Ok(0x80)),
        ("a lost one beats a wrong one", &signed, vec![other(0x80), blank(0x81)], Ok(0x81)),
        ("twice the same signature", &signed, vec![ours(0x80), ours(0x81)], Err("2 disks could be d: drives 80, 81")),
        ("a wrong one alone", &signed, vec![other(0x80)], Err("no disk is d: drive 80 has signature 0BADCAFE")),
    ];
    for (name, declared, disks, expected) in table {
        assert_eq!(found(declared, disks), expected.map_err(String::from), "{name}");
    }
}

/// The right one may be the one that nobody can look at: the other one would be overwritten.
#[test]
fn a_disk_that_cannot_be_looked_at_could_be_the_declared_one() {
    let plain = format!("disk d sectors {SIZE}\npartition P on d start 2048 sectors 100 type 83");
    let signed = plain.replace(&format!("sectors {SIZE}"), &format!("sectors {SIZE} signature 12345678"));
    let ours = |drive| with_mbr(drive, 0x1234_5678, 0x83, 2048, 100);
    let resigned = |drive| with_mbr(drive, 0x0BAD_CAFE, 0x83, 2048, 100);
    let unreadable = |sector| {
        let mut disk = blank(0x80);
        disk.unreadable.extend([0, sector]);
        disk
    };
    let mut locked = blank(0x80);
    locked.info.writable = false;
    let (dead, end) = (unreadable(1), unreadable(SIZE - 1));
    let status = "can't be searched for marks: BIOS status 10";
    let table = [
        ("unreadable and blank", &plain, vec![dead.clone(), blank(0x81)], format!("81, 80 ({status})")),
        ("its end unreadable", &plain, vec![end.clone(), blank(0x81)], format!("81, 80 ({status})")),
        ("not writable", &plain, vec![locked, blank(0x81)], "81, 80 (can't be written by this BIOS)".into()),
        ("signed", &signed, vec![dead.clone(), blank(0x81)], format!("81, 80 ({status})")),
        ("resigned", &signed, vec![resigned(0x80), blank(0x81)], "81, 80 (has signature 0BADCAFE)".into()),
    ];
    for (name, declared, disks, drives) in table {
        assert_eq!(found(declared, disks), Err(format!("2 disks could be d: drives {drives}")), "{name}");
    }
    // It does not keep a disk from being known that has the declared table or signature to show.
    assert_eq!(found(&plain, vec![dead.clone(), ours(0x81)]), Ok(0x81));
    assert_eq!(found(&signed, vec![end, ours(0x81)]), Ok(0x81));
    assert_eq!(found(&signed, vec![resigned(0x80), ours(0x81)]), Ok(0x81));
    assert_eq!(found(&plain, vec![dead]), Err(format!("no disk is d: drive 80 {status}")));
}

/// Boot sectors of filesystems end in 55AA, and where a table would be there are zeros.
#[test]
fn a_boot_sector_is_no_mbr_with_an_empty_table() {
    let declared = format!("disk d sectors {SIZE}\npartition P on d start 2048 sectors 100 type 83");
    for (owner, oem) in [("FAT", b"mkfs.fat"), ("NTFS", b"NTFS    "), ("exFAT", b"EXFAT   ")] {
        let mut disk = blank(0x80);
        disk.poke(0, &[0xEB, 0x3C, 0x90]);
        disk.poke(3, oem);
        if owner == "FAT" {
            disk.poke(11, &[0, 2, 4]);
            disk.poke(21, &[0xF8]);
        }
        disk.poke(510, &[0x55, 0xAA]);
        let why = found(&declared, vec![disk]).unwrap_err();
        assert!(why.contains("drive 80 carries a") && why.contains(owner), "{why}");
    }
    let mut ours = with_mbr(0x80, 7, 0, 0, 0);
    ours.poke(0, &[0xFA; 100]);
    assert_eq!(found(&declared, vec![ours]), Ok(0x80), "boot code and an empty table");
}

/// Linux and Windows put partitions into an extended one, each with a table of its own.
#[test]
fn a_mark_in_a_logical_partition_counts() {
    let declared = format!("disk d sectors {SIZE}\npartition P on d start 64 sectors 100 type 83");
    let mut disk = with_mbr(0x80, 1, 0x05, 2048, 60_000);
    let mut entry = |table: u64, n: u64, kind: u8, start: u32, sectors: u32| {
        let at = table * 512 + 446 + 16 * n;
        disk.poke(at + 4, &[kind]);
        disk.poke(at + 8, &[start.to_le_bytes(), sectors.to_le_bytes()].concat());
        disk.poke(table * 512 + 510, &[0x55, 0xAA]);
    };
    entry(2048, 0, 0x83, 63, 1000);
    entry(2048, 1, 0x05, 2000, 3000);
    entry(4048, 0, 0x83, 63, 2900);
    assert_eq!(found(&declared, vec![disk.clone()]), Ok(0x80));
    let mut lvm = disk.clone();
    lvm.poke((4048 + 63) * 512 + 512, b"LABELONE");
    assert_eq!(found(&declared, vec![lvm]), Err("no disk is d: drive 80 carries LVM".into()));
    // A chain that leads back, or off the disk, ends all the same.
    for next in [0_u32, 2000, u32::MAX] {
        let mut round = disk.clone();
        round.poke(4048 * 512 + 462 + 4, &[5]);
        round.poke(4048 * 512 + 462 + 8, &[next.to_le_bytes(), 9_u32.to_le_bytes()].concat());
        assert_eq!(found(&declared, vec![round]), Ok(0x80), "the next table is at {next}");
    }
}

#[test]
fn one_drive_is_never_two_declared_disks() {
    let both = format!("disk a sectors {SIZE}\ndisk b sectors 1000..");
    assert_eq!(found(&both, vec![blank(0x80)]), Err("drive 80 is disk b as well".into()));
    assert_eq!(found(&both, vec![blank(0x80), Disk::blank(0x81, 2000)]), Ok(0x80), "b could be both, so is none");
}

/// Every foreign mark: its owner, and where it stands on a volume of so many sectors.
fn marks(sectors: u64) -> Vec<(&'static str, u64, Vec<u8>)> {
    let md = || vec![0xFC, 0x4E, 0x2B, 0xA9];
    let last = (sectors - 1) * 512;
    // The first name in the list of a label, behind the list's header.
    let zfs = |label: u64| label * 512 + (16 << 10) + 20;
    let version = || b"\x00\x00\x00\x07version\x00\x00\x00\x00\x08".to_vec();
    vec![
        ("GPT", 512, b"EFI PART".to_vec()),
        ("GPT", last, b"EFI PART".to_vec()),
        // Of a disk that was partitioned behind an adapter with sectors of 4 KiB.
        ("GPT", 4096, b"EFI PART".to_vec()),
        ("LVM", 0, b"LABELONE".to_vec()),
        ("LVM", 512, b"LABELONE".to_vec()),
        ("LVM", 1024, b"LABELONE".to_vec()),
        ("LVM", 1536, b"LABELONE".to_vec()),
        ("BitLocker", 3, b"-FVE-FS-".to_vec()),
        ("BitLocker", 424, b"\x3B\xD6\x67\x49\x29\x2E\xD8\x4A\x83\x99\xF6\xA3\x39\xE3\xD0\x01".to_vec()),
        ("LUKS", 0, b"LUKS\xBA\xBE".to_vec()),
        ("RAID", 0, md()),
        ("RAID", 4096, md()),
        // md 1.0: 8 KiB before the end, rounded down to 4 KiB; md 0.90: the last whole 64 KiB.
        ("RAID", (sectors - 16) / 8 * 8 * 512, md()),
        ("RAID", (sectors / 128 - 1) * 128 * 512, md()),
        ("ZFS", zfs(0), version()),
        // The second label, and the two at the end, which count in whole labels.
        ("ZFS", zfs(512), version()),
        ("ZFS", zfs(sectors / 512 * 512 - 1024), version()),
        ("ZFS", zfs(sectors / 512 * 512 - 512), version()),
        ("dynamic disk", 6 * 512, b"PRIVHEAD".to_vec()),
        ("ISO 9660", 16 * 2048 + 1, b"CD001".to_vec()),
        ("DDF RAID", last, vec![0xDE, 0x11, 0xDE, 0x11]),
        ("Intel RAID", last - 512, b"Intel Raid ISM Cfg Sig. ".to_vec()),
    ]
}

/// A mark counts whatever else is on the disk: nothing, a foreign table, or half a byte less.
#[test]
fn a_disk_with_a_foreign_mark_never_matches() {
    for size in [SIZE, 65_536, 70_000, 65_537] {
        let declared = format!("disk d sectors {size}");
        for (owner, at, mark) in marks(size) {
            let why = format!("no disk is d: drive 80 carries {owner}");
            let mut disk = Disk::blank(0x80, size);
            disk.poke(at, &mark);
            assert_eq!(
                found(&declared, vec![disk.clone()]),
                Err(why),
                "mark {mark:02X?} at byte {at} of {size} sectors"
            );
            disk.poke(at, &[mark[0] ^ 1]);
            assert_eq!(found(&declared, vec![disk]), Ok(0x80), "no mark any more at byte {at}");
        }
    }
}

#[test]
fn a_disk_with_a_foreign_mark_in_a_listed_partition_never_matches() {
    let declared = format!("disk d sectors {SIZE}");
    let partition = 600;
    for (owner, at, mark) in marks(20_000) {
        let mut disk = with_mbr(0x80, 1, 0x83, partition, 20_000);
        disk.poke(u64::from(partition) * 512 + at, &mark);
        let why = format!("no disk is d: drive 80 carries {owner}");
        assert_eq!(found(&declared, vec![disk]), Err(why), "mark {mark:02X?} at byte {at} of the partition");
    }
    for (kind, owner) in [(0xEE, "GPT"), (0x42, "dynamic disk"), (0x8E, "LVM"), (0xFD, "RAID"), (0xBF, "ZFS")] {
        let why = format!("no disk is d: drive 80 carries {owner}");
        let disk = with_mbr(0x80, 1, kind, 2048, 100);
        assert_eq!(found(&declared, vec![disk]), Err(why), "partition type {kind:02X}");
    }
}

#[test]
fn a_table_of_tiny_partitions_is_no_obstacle() {
    let declared = format!("disk d sectors {SIZE}");
    for (start, sectors) in [(1, 1), (SIZE as u32 - 1, 1), (SIZE as u32 - 300, 300), (SIZE as u32 - 66, 66)] {
        let disk = with_mbr(0x80, 1, 0x83, start, sectors);
        assert_eq!(found(&declared, vec![disk]), Ok(0x80), "a partition of {sectors} sectors at {start}");
    }
}

#[test]
fn an_unreadable_mbr_is_a_destroyed_one_and_other_unreadable_places_are_not() {
    let declared = format!("disk d sectors {SIZE}");
    let unreadable = |sector| {
        let mut disk = blank(0x80);
        disk.unreadable.insert(sector);
        vec![disk]
    };
    assert_eq!(found(&declared, unreadable(0)), Ok(0x80));
    let search = "no disk is d: drive 80 can't be searched for marks: BIOS status 10";
    for sector in [3, 64, 128, 512 + 32, SIZE / 512 * 512 - 480, SIZE / 128 * 128 - 128, SIZE - 1] {
        assert_eq!(found(&declared, unreadable(sector)), Err(search.into()), "sector {sector}");
    }
    let ours = format!("{declared}\npartition P on d start 2048 sectors 100 type 83");
    let mut disk = with_mbr(0x80, 1, 0x83, 2048, 100);
    disk.unreadable.insert(3);
    assert_eq!(found(&ours, vec![disk]), Ok(0x80), "a disk whose table is the declared one needs no search");
    assert_eq!(found(&declared, unreadable(9000)), Ok(0x80), "a place that nobody has to look at");
    assert_eq!(found(&format!("{declared} signature 12345678"), unreadable(0)), Ok(0x80));
}

/// A run of figure 4 on `disks`, none of which may be written; what it says of the MBR step.
fn run(set: &Set, disks: Vec<Disk>) -> String {
    let mut pc = Pc::new(set.iso.clone(), disks);
    let ending = pc.start();
    assert_eq!(word(&ending), "hold 299", "{:#?}", pc.lines);
    assert!(pc.writes.is_empty(), "writes {:?}", pc.writes);
    let restore =
        pc.log().into_iter().find(|l| l.starts_with("256 ")).expect("the flow comes to the restore").to_string();
    let verify = pc.log()[0].replace("202 verify mbr of system", "256 restore system");
    assert_eq!(verify, restore, "both steps have the same reason: {:#?}", pc.lines);
    restore
}

#[test]
fn a_run_writes_nothing_to_a_disk_that_is_not_the_declared_one() {
    let set = figure4_set(512, "-F 12", 512, "-t ext2");
    let twins = vec![Disk::blank(0x80, set.disk_sectors), Disk::blank(0x81, set.disk_sectors)];
    let ambiguous = "256 restore system = failed (2 disks could be system: drives 80, 81)";
    assert_eq!(run(&set, twins), ambiguous, "the reason has to name both drives");
    let other = Disk::blank(0x80, set.disk_sectors + 1);
    assert!(run(&set, vec![other]).ends_with("drive 80 has 8193 sectors)"));
    for (owner, at, mark) in marks(set.disk_sectors) {
        let mut disk = Disk::blank(0x80, set.disk_sectors);
        disk.poke(at, &mark);
        let said = run(&set, vec![disk]);
        assert!(said.ends_with(&format!("drive 80 carries {owner})")), "{said}");
    }
    // Marks in the first sectors count even where the table is the declared one.
    for (owner, at, mark) in marks(set.disk_sectors).into_iter().filter(|&(_, at, _)| (512..4608).contains(&at)) {
        let mut disk = set.restored().disks.remove(0);
        disk.allowed.clear();
        disk.poke(at, &mark);
        let said = run(&set, vec![disk]);
        assert!(said.ends_with(&format!("drive 80 carries {owner})")), "{said}");
    }
}

#[test]
fn only_the_declared_disk_of_several_is_written() {
    let set = figure4_set(512, "-F 12", 512, "-t ext2");
    let mut pc = set.blank();
    pc.disks.insert(0, Disk::blank(0x80, set.disk_sectors * 2));
    pc.disks[1].info.drive = 0x81;
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    assert_eq!(word(&pc.start()), "hand-off 81 entry 1", "{:#?}", pc.lines);
    // The BIOS numbers the disks the other way round now.
    pc.disks.swap(0, 1);
    pc.disks[0].info.drive = 0x80;
    pc.disks[1].info.drive = 0x81;
    assert_eq!(word(&pc.start()), "hand-off 80 entry 2", "{:#?}", pc.lines);
}
