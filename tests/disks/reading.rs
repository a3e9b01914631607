//! What is read of a disk: marks on it and in each of its entries, and whether its table holds the map.

use std::fs::File;

use crate::common::others::Other;
use crate::common::tools::{self, run, text};
use crate::*;

/// The owners' own tools make them, and `wipefs` is asked whether there is a mark: each is somebody's, and no step
/// writes it.
#[test]
fn what_others_tools_make_is_theirs() {
    let folder = tools::temporary();
    let mut named = 0;
    for other in Other::NAMED.into_iter().chain(Other::MORE).filter(|other| other.is_marked()) {
        let path = folder.path().join(format!("{other:?}.img"));
        other.make(&path, SECTORS);
        let disk = Disk::load(0x80, &path);
        let wipefs = run("wipefs", &["-n", "-p", text(&path)]).out;
        named += usize::from(wipefs.lines().any(|l| !l.starts_with('#') && !l.ends_with(",dos")));
        refused(&format!("{other:?}"), "", &disk, "foreign", &["carries ", "at sector ", "`wipefs -a`", "`adopt`"]);
    }
    // What is in partitions, and what no tool here makes whole, it does not name.
    assert!(named >= 7, "wipefs names {named} of them");
}

/// Whole images of filesystems and a RAID, each by its own tool, over the whole disk.
#[test]
fn whatever_blkid_names_on_the_disk_is_a_mark() {
    let folder = tools::temporary();
    let tools = [
        ("mkfs.vfat -F 16 F >/dev/null", "a FAT filesystem at sector 0"),
        ("mke2fs -q -F F", "an ext filesystem at sector 2"),
        ("mkntfs -q -F -Q F >/dev/null 2>&1", "an NTFS filesystem at sector 0"),
        ("mkswap F >/dev/null", "swap space at sector 7"),
    ];
    for (make, owner) in tools {
        let path = folder.path().join("F");
        File::create(&path).and_then(|file| file.set_len(SECTORS * 512)).unwrap();
        tools::shell(folder.path(), make);
        let named = run("blkid", &["-p", text(&path)]);
        assert!(named.out.contains("TYPE="), "blkid does not name it: {}", named.err);
        refused(make, "", &Disk::load(0x80, &path), "foreign", &[owner]);
    }
}

/// Marks are counted from the disk's own end, whatever it is, and from its beginning.
#[test]
fn marks_stand_where_the_disk_ends() {
    for size in [SECTORS, 20_014, 20_479, 20_480, 20_481] {
        let md = [0xFC, 0x4E, 0x2B, 0xA9];
        let marks = [
            ("RAID", (size - 16) / 8 * 8, &md[..]),
            ("RAID", (size / 128 - 1) * 128, &md[..]),
            ("Intel RAID", size - 2, b"Intel Raid ISM Cfg Sig. "),
            ("GPT", size - 1, b"EFI PART"),
            ("GPT", 1, b"EFI PART"),
            ("LVM", 3, b"LABELONE"),
        ];
        for (owner, at, bytes) in marks {
            let mut disk = Disk::blank(0x80, size);
            disk.poke(at * 512, bytes);
            let pc = start(&cd("..", "", &["if system is foreign", "restore system"]), vec![disk]);
            done(owner, &pc, "if system is foreign");
            failed(owner, &pc, "restore system", &[&format!("carries {owner} at sector {at}")]);
        }
    }
}

/// The types that name an owner do so although nothing of his is there.
#[test]
fn a_type_byte_names_an_owner() {
    for (kind, owner) in
        [(0xEE, "GPT"), (0x42, "dynamic disk"), (0x8E, "LVM"), (0xFD, "RAID"), (0xBF, "ZFS"), (0xA5, "FreeBSD")]
    {
        let mut disk = blank();
        entry(&mut disk, 0, 1, kind, 5000, 100);
        refused(owner, "", &disk, "foreign", &[owner]);
    }
}

/// One entry that makes no sense hides neither what is in the others nor the disk signature.
#[test]
fn a_bad_entry_hides_nothing() {
    type Spoil = fn(&mut Disk);
    let bad: [(&str, Spoil); 7] = [
        ("it starts at 0", |d| entry(d, 0, 2, 0x83, 0, 100)),
        ("it has no length", |d| entry(d, 0, 2, 0x83, 9000, 0)),
        ("it ends behind the disk", |d| entry(d, 0, 2, 0x83, 9000, 1_892_417)),
        ("it starts behind the disk", |d| entry(d, 0, 2, 0x83, 3_000_000, 100)),
        ("it overlaps another", |d| entry(d, 0, 2, 0x83, 6010, 100)),
        ("its end wraps", |d| entry(d, 0, 2, 0x83, 9000, u32::MAX)),
        ("its status is 81", |d| {
            entry(d, 0, 2, 0x83, 9000, 100);
            d.poke(446 + 32, &[0x81]);
        }),
    ];
    for (name, spoil) in bad {
        let mut luks = blank();
        entry(&mut luks, 0, 3, 0x83, 6000, 1000);
        luks.poke(6000 * 512, LUKS);
        spoil(&mut luks);
        refused(name, "", &luks, "foreign", &["LUKS at sector 6000"]);
        // In the entry itself, wherever it begins.
        let mut inside = map_only(0);
        spoil(&mut inside);
        inside.poke(9000 * 512, LUKS);
        assert_ne!(whose("", "", vec![inside]), "ours", "{name}");
        // The signature still tells that it is the declared disk, or that it is not.
        let mut signed = map_only(SIGNATURE);
        spoil(&mut signed);
        assert_eq!(whose(" signature 12345678", "", vec![signed.clone()]), "ours", "{name}");
        assert_eq!(whose(" signature 87654321", "", vec![signed]), "unclear", "{name}");
    }
    let mut past = blank();
    entry(&mut past, 0, 0, 0x83, 2048, 15_000);
    entry(&mut past, 0, 1, 0x8E, 17_048, 9000);
    past.poke(17_049 * 512, b"LABELONE");
    refused("a PV that ends behind the disk", "", &past, "foreign", &["LVM"]);
    let mut endless = blank();
    entry(&mut endless, 0, 0, 0x83, 9000, 0);
    endless.poke(9000 * 512, LUKS);
    refused("a LUKS volume without a length", "", &endless, "foreign", &["LUKS at sector 9000"]);
}

/// An extended partition from 4000 on, whose tables stand at these places, each with the slot of its partition, and
/// that of the link to the next one. The last has a LUKS volume.
fn chain(kind: u8, tables: &[u64], slots: (u64, u64)) -> Disk {
    let mut disk = blank();
    entry(&mut disk, 0, 1, kind, 4000, 16_000);
    for (n, &at) in tables.iter().enumerate() {
        entry(&mut disk, at, slots.0, 0x83, 63, 200);
        if let Some(next) = tables.get(n + 1) {
            entry(&mut disk, at, slots.1, kind, (next - 4000) as u32, 300);
        }
    }
    disk.poke((tables.last().unwrap() + 63) * 512, LUKS);
    disk
}

#[test]
fn extended_chains_are_read_in_any_order_slot_and_type() {
    for kind in [0x05, 0x0F, 0x85, 0xC5, 0xD5, 0xCF, 0x15, 0x1F] {
        let disk = chain(kind, &[4000, 5000, 6000], (0, 1));
        refused(&format!("type {kind:02x}"), "", &disk, "foreign", &["LUKS at sector 6063"]);
    }
    for slots in [(0, 1), (1, 0), (2, 3), (3, 0), (1, 2)] {
        let disk = chain(5, &[4000, 5000, 6000], slots);
        refused(&format!("slots {slots:?}"), "", &disk, "foreign", &["LUKS at sector 6063"]);
    }
    for tables in [[4000, 9000, 6000, 7000], [4000, 9000, 8000, 5000], [4000, 4400, 19_000, 4200]] {
        refused(&format!("{tables:?}"), "", &chain(5, &tables, (0, 1)), "foreign", &["LUKS at sector "]);
    }
    // Two tables in one, and the first extended partition behind the second.
    let mut two = chain(5, &[4000, 5000], (0, 1));
    entry(&mut two, 4000, 2, 0x0F, 3000, 300);
    entry(&mut two, 7000, 0, 0x83, 63, 200);
    two.poke(5063 * 512, &[0; 8]);
    two.poke(7063 * 512, LUKS);
    refused("two links in one table", "", &two, "foreign", &["LUKS at sector 7063"]);
    // A partition that overlaps the next table hides neither.
    let mut over = chain(5, &[4000, 5000, 6000], (0, 1));
    entry(&mut over, 4000, 0, 0x83, 63, 1500);
    refused("a partition over the next table", "", &over, "foreign", &["LUKS at sector 6063"]);
}

#[test]
fn a_chain_that_never_ends_is_bounded() {
    for next in [0, 1000, 999, u32::MAX - 1, 15_999] {
        let mut disk = chain(5, &[4000, 5000], (0, 1));
        entry(&mut disk, 5000, 1, 5, next, 300);
        refused(&format!("the next table is at {next}"), "", &disk, "foreign", &["LUKS at sector 5063"]);
    }
    // Every sector a table, and each leads to two others.
    let mut disk = blank();
    entry(&mut disk, 0, 1, 5, 4000, 16_000);
    for at in 4000..6000 {
        for slot in 0..4 {
            entry(&mut disk, at, slot, 5, (at - 4000 + slot + 1) as u32, 1);
        }
    }
    let pc = start(&cd("", "", &["if system is foreign"]), vec![disk]);
    done("tables without end", &pc, "if system is foreign");
    assert!(pc.sectors_read < 10_000, "{} sectors were read", pc.sectors_read);
}

#[test]
fn a_sector_0_that_cannot_be_read_is_destroyed() {
    let mut disk = writable(&ours());
    disk.unreadable.insert(0);
    let pc =
        start(&cd("", "", &["if system is ours", "verify mbr of system", "repair mbr of system"]), vec![disk.clone()]);
    done("ours", &pc, "if system is ours");
    failed("ours", &pc, "verify mbr of system", &["unreadable"]);
    done("ours", &pc, "repair mbr of system");
    assert!(pc.disks[0].sector(0) == ours().sector(0), "the MBR is not as it was");
    let mut empty = writable(&blank());
    empty.unreadable.insert(0);
    assert_eq!(whose("", "", vec![empty.clone()]), "blank");
    done("blank", &start(&cd("", "", &["restore system"]), vec![empty]), "restore system");
    let mut luks = blank();
    luks.unreadable.insert(0);
    luks.poke(3 * 512, b"LABELONE");
    refused("LVM", "", &luks, "foreign", &["LVM at sector 3"]);
}

/// What can't be read anywhere else where it counts is unclear; where nobody looks it does not matter.
#[test]
fn what_cannot_be_read_where_it_counts_is_unclear() {
    for sector in [1, 3, 64, 2046, P1 + 3, P2 + 127, SECTORS - 2048, SECTORS - 16, SECTORS - 1] {
        let mut disk = blank();
        disk.unreadable.insert(sector);
        refused(&format!("sector {sector}"), "", &disk, "unclear", &[&format!("can't be read at sector {sector}")]);
    }
    let mut middle = writable(&blank());
    middle.unreadable.insert(9000);
    assert_eq!(whose("", "", vec![middle]), "blank");
    // A disk that the table proves to be ours is not searched.
    let mut known = ours();
    known.unreadable.extend([1, SECTORS - 1]);
    assert_eq!(whose("", "", vec![known]), "ours");
    // A table of a chain that can't be read may lead to anything.
    let mut chain = chain(5, &[4000, 5000], (0, 1));
    chain.poke(5063 * 512, &[0; 8]);
    chain.unreadable.insert(4000);
    refused("a table of a chain", "", &chain, "unclear", &["sector 4000"]);
    let all: Disk = {
        let mut disk = ours();
        disk.unreadable.extend(0..SECTORS);
        disk
    };
    refused("a dead disk", "", &all, "unclear", &["can't be read"]);
}

/// Every declared entry in its slot, with type, start and length; what is in the other slots is not asked.
#[test]
fn a_table_holds_the_map_if_every_declared_entry_is_in_its_slot() {
    type Change = fn(&mut Disk);
    let changes: [(&str, Change, &str); 8] = [
        ("as it is", |_| {}, "ours"),
        ("another active", |d| d.poke(446, &[0]), "ours"),
        ("an extra entry", |d| entry(d, 0, 3, 0x83, 9000, 100), "ours"),
        ("another type", |d| d.poke(446 + 4, &[0x0E]), "foreign"),
        ("another start", |d| d.poke(446 + 8, &[1]), "foreign"),
        ("another length", |d| d.poke(446 + 12, &[1]), "foreign"),
        ("one missing", |d| d.poke(462, &[0; 16]), "foreign"),
        (
            "two swapped",
            |d| {
                let (first, second) = (raw_entry(d, 0), raw_entry(d, 1));
                d.poke(446, &[second, first].concat());
            },
            "foreign",
        ),
    ];
    for (name, change, is) in changes {
        let mut disk = table_only();
        change(&mut disk);
        assert_eq!(whose("", "", vec![disk]), is, "{name}");
    }
}

/// An extra entry is not judged, whatever it says.
#[test]
fn verify_mbr_does_not_judge_extra_entries() {
    for (kind, start, sectors, status) in
        [(0x83, 9000, 100, 0), (0x83, 0, 0, 0), (0x07, 9000, u32::MAX, 0), (0x05, 9000, 100, 0x12), (0xEE, 1, 2000, 0)]
    {
        let mut disk = ours();
        entry(&mut disk, 0, 3, kind, start, sectors);
        disk.poke(446 + 48, &[status]);
        let pc = crate::start(&cd("", "", &["verify mbr of system"]), vec![disk]);
        done(&format!("type {kind:02x} at {start}"), &pc, "verify mbr of system");
    }
}
