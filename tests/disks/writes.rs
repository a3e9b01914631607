//! What each step may write, what never is, and what a restore clears.

use crate::common::images::figure4_set;
use crate::common::machine::{Cut, Torn, word};
use crate::common::tools::{self, run, text};
use crate::*;

const RESTORE: [&str; 1] = ["restore system"];

/// Sectors that a disk of ours may be written in, and more.
fn also(disk: &Disk, more: &[std::ops::Range<u64>]) -> Disk {
    let mut disk = writable(disk);
    disk.allowed.extend(more.iter().cloned());
    disk
}

/// Ours: everything is carried out.
#[test]
fn on_a_disk_of_ours_every_step_is_carried_out() {
    let mut disk = writable(&ours());
    disk.poke(P1 * 512 + 20 * 512, &[0x77; 512]);
    let pc = start(&cd("", "", &STEPS), vec![disk]);
    for step in STEPS {
        done("ours", &pc, step);
    }
}

/// Blank: `restore D` and nothing else.
#[test]
fn on_a_blank_disk_only_restore_of_the_disk_is_carried_out() {
    for byte in [0, 0xFF, 0xE5] {
        let mut disk = writable(&blank());
        disk.poke(0, &vec![byte; SECTORS as usize * 512]);
        assert_eq!(whose("", "", vec![disk.clone()]), "blank", "{byte:02X}");
        let pc = start(&cd("", "", &STEPS), vec![disk]);
        for step in &STEPS[..8] {
            assert!(!is_ok(&pc, step), "{step}: {:#?}", pc.lines);
        }
        done("blank", &pc, "restore system");
        assert!(pc.disks[0].sector(0) == ours().sector(0));
    }
}

/// One repeated byte in each of four places, and each has its own byte.
#[test]
fn blank_is_the_first_and_last_mib_and_the_beginnings_of_the_partitions() {
    let mut disk = blank();
    disk.poke((SECTORS - 2048) * 512, &vec![0xFF; 2048 * 512]);
    disk.poke(P1 * 512, &[0xE5; 128 * 512]);
    assert_eq!(whose("", "", vec![disk]), "blank", "each of its own byte");
    for at in [1, 100, 2046, P1, P1 + 127, P2, P2 + 127, SECTORS - 2048, SECTORS - 1] {
        let mut disk = blank();
        disk.poke(at * 512 + 300, &[1]);
        refused("a byte", "", &disk, "foreign", &[&format!("data that nobody can name, at sector {at}")]);
    }
    let mut random = crate::common::hostile::Random::new(3);
    let noise: Vec<u8> = (0..4 << 20).map(|_| random.next() as u8).collect();
    let mut disk = blank();
    disk.poke(0, &noise);
    refused("noise", "", &disk, "foreign", &["data that nobody can name, at sector 0"]);
    for at in [P1 + 128, P2 + 128, P2 + LENGTH + 100, SECTORS - 2049] {
        let mut disk = blank();
        disk.poke(at * 512, &[1; 512]);
        assert_eq!(whose("", "", vec![disk]), "blank", "nobody looks at sector {at}");
    }
    let mut table = blank();
    table.poke(510, &[0x55, 0xAA]);
    refused("an empty table", "", &table, "foreign", &["a partition table without partitions"]);
}

/// Blank, but of another size, removable or on USB: unclear, until somebody says `adopt`.
#[test]
fn a_blank_disk_that_is_not_as_declared_is_unclear() {
    let small = Disk::blank(0x80, SECTORS - 1);
    let large = Disk::blank(0x80, SECTORS + 1);
    let mut stick = blank();
    stick.info.removable = true;
    for (name, options, disk, why) in [
        ("smaller", "", &small, "is blank and has 20012 sectors"),
        ("smaller than the least", "..", &small, "is blank and has 20012 sectors"),
        ("larger", "", &large, "is blank and has 20014 sectors"),
        ("removable", "", &stick, "is blank, and removable or on USB"),
    ] {
        refused(name, options, disk, "unclear", &[why, "`adopt`"]);
        let adopting = cd(&format!("{options} adopt"), "", &RESTORE);
        done(name, &start(&adopting, vec![writable(disk)]), "restore system");
    }
    done("at least", &start(&cd("..", "", &RESTORE), vec![writable(&large)]), "restore system");
}

/// Somebody's, and unclear: only with `adopt`, only if it is the one candidate.
#[test]
fn a_used_disk_is_only_adopted_where_that_is_said() {
    let mut used = blank();
    entry(&mut used, 0, 0, 0x07, 2048, 8000);
    entry(&mut used, 0, 1, 0x83, 10_048, 9000);
    used.poke(3000 * 512, b"work of years");
    let mut luks = blank();
    luks.poke(0, LUKS);
    let unclear = map_only(OTHER);
    let mut unreadable = blank();
    unreadable.unreadable.insert(SECTORS - 16);
    for (name, disk, state) in [
        ("used", &used, "foreign"),
        ("LUKS", &luks, "foreign"),
        ("the map", &unclear, "unclear"),
        ("unreadable", &unreadable, "unclear"),
    ] {
        refused(name, "", disk, state, &["`adopt`"]);
        let adopt = cd(" adopt", "", &STEPS);
        let everywhere = only(disk, 0..SECTORS);
        let pc = start(&adopt, vec![everywhere.clone()]);
        for step in &STEPS[..8] {
            assert!(!is_ok(&pc, step), "{name}: {step}: {:#?}", pc.lines);
        }
        done(name, &pc, "restore system");
        assert!(
            pc.log().iter().any(|l| l.starts_with("- disk system = ok") && l.contains("is adopted")),
            "{name}: told"
        );
        assert!(pc.disks[0].sector(0)[446..] == ours().sector(0)[446..], "{name}: its entries are gone");
        // Beside another used one none is.
        let pc = start(&adopt, vec![untouchable(disk), luks.clone()]);
        failed(name, &pc, "restore system", &["drive 80", "drive 81"]);
        assert!(pc.writes.is_empty());
        // Beside the boot medium it is the one.
        let mut medium = blank();
        medium.info.boot_medium = true;
        done(name, &start(&adopt, vec![medium, everywhere]), "restore system");
        // Beside a blank one that is taken, and beside one of ours that is.
        let pc = start(&adopt, vec![untouchable(disk), writable(&blank())]);
        done(name, &pc, "restore system");
        let pc = start(&adopt, vec![untouchable(disk), writable(&ours())]);
        done(name, &pc, "restore system");
    }
    // Somebody's that is removable or on USB is not, whatever is said; unclear ones are.
    let mut stick = luks.clone();
    stick.info.removable = true;
    refused("a stick of somebody's", " adopt", &stick, "foreign", &["removable or on USB is not adopted"]);
    let mut stick = writable(&unclear);
    stick.info.removable = true;
    done("an unclear stick", &start(&cd(" adopt", "", &RESTORE), vec![stick]), "restore system");
    // One of another size is another disk.
    let mut larger = luks;
    larger.info.sectors += 1;
    refused("a larger one", " adopt", &larger, "foreign", &["a disk of another size is not adopted"]);
}

/// Neither the medium nor a copy of it, whatever logic.txt says.
#[test]
fn the_boot_medium_and_its_copy_are_never_written() {
    for options in ["", " adopt", ".. adopt"] {
        let mut medium = blank();
        medium.info.boot_medium = true;
        let set = cd(options, "", &STEPS);
        let pc = start(&set, vec![medium.clone()]);
        failed("the medium", &pc, "restore system", &["drive 80 is the boot medium"]);
        assert!(pc.writes.is_empty());
        // Ours as it is.
        let mut ours = ours();
        ours.info.boot_medium = true;
        let pc = start(&set, vec![ours]);
        failed("our disk as the medium", &pc, "restore system", &["drive 80 is the boot medium"]);
        for size in [SECTORS, (bytes_of(&set).len() / 512) as u64] {
            let mut copy = Disk::blank(0x80, size.max(SECTORS));
            copy.poke(0, &bytes_of(&set)[..bytes_of(&set).len().min(SECTORS as usize * 512)]);
            let pc = start(&set, vec![copy]);
            failed("a copy", &pc, "restore system", &["drive 80 is a copy of the boot medium"]);
            assert!(pc.writes.is_empty());
        }
    }
    // Beside it ours boots, and a blank one is restored.
    let set = cd("", "", &RESTORE);
    let mut copy = Disk::blank(0x80, SECTORS * 2);
    copy.poke(0, &bytes_of(&set));
    done("beside a copy", &start(&set, vec![copy, writable(&blank())]), "restore system");
}

/// A disk of ours with an extra entry in slot 3, and data in it.
fn with_extra() -> Disk {
    let mut disk = writable(&ours());
    entry(&mut disk, 0, 3, 0x83, 9000, 4000);
    disk.poke(446 + 48 + 1, &[0x12, 0x34, 0x56]);
    disk.poke(9000 * 512, &base().images[1]);
    disk
}

#[test]
fn extra_entries_are_kept_by_every_step_that_writes_a_table() {
    let raw = raw_entry(&with_extra(), 3);
    for step in ["activate P2", "repair mbr of system", "restore system", "restore P1"] {
        for (name, lost) in [("whole", false), ("the code is lost", true)] {
            let mut disk = with_extra();
            if lost {
                disk.poke(0, &[0; 440]);
            }
            let before = disk.clone();
            let pc = start(&cd("", "", &[step]), vec![disk]);
            done(name, &pc, step);
            assert_eq!(raw_entry(&pc.disks[0], 3), raw, "{step}, {name}");
            let data = 9000..13_000;
            assert!(pc.disks[0].bytes(data.clone()) == before.bytes(data), "{step}, {name}: the data");
        }
    }
    // Also where nothing is in it.
    let mut empty = writable(&ours());
    entry(&mut empty, 0, 2, 0x83, 9000, 4000);
    let pc = start(&cd("", "", &RESTORE), vec![empty.clone()]);
    assert_eq!(raw_entry(&pc.disks[0], 2), raw_entry(&empty, 2));
    // And an extended one with its chain.
    let mut extended = writable(&ours());
    entry(&mut extended, 0, 2, 0x0F, 9000, 4000);
    entry(&mut extended, 9000, 0, 0x83, 63, 1000);
    let pc = start(&cd("", "", &RESTORE), vec![extended.clone()]);
    done("an extended partition", &pc, "restore system");
    assert_eq!(raw_entry(&pc.disks[0], 2), raw_entry(&extended, 2));
    assert!(pc.disks[0].sector(9000) == extended.sector(9000));
}

/// What starts behind the disk's end is not on it, and not kept.
#[test]
fn an_entry_that_starts_behind_the_disk_is_not_kept() {
    let mut disk = writable(&ours());
    entry(&mut disk, 0, 3, 0x83, SECTORS as u32, 100);
    let pc = start(&cd("", "", &["repair mbr of system"]), vec![disk]);
    done("behind the end", &pc, "repair mbr of system");
    assert_eq!(raw_entry(&pc.disks[0], 3), [0; 16]);
}

/// The power goes during a restore: the note has the extra entry, and the next restore writes it.
#[test]
fn an_extra_entry_outlives_a_restore_that_was_cut() {
    let raw = raw_entry(&with_extra(), 3);
    let whole = {
        let pc = start(&cd("", "", &RESTORE), vec![with_extra()]);
        pc.writes.len()
    };
    for write in (0..whole).step_by(3).chain([1, whole - 1, whole - 2]) {
        for next in [Torn::Old, Torn::Half, Torn::Garbage, Torn::Unreadable] {
            let mut pc = Pc::new(cd("", "", &RESTORE).iso, vec![with_extra()]);
            pc.cut = Some(Cut { write, sectors: 0, next });
            pc.start();
            assert!(pc.off);
            pc.cut = None;
            pc.start();
            done(&format!("cut in write {write}, {next:?}"), &pc, "restore system");
            assert_eq!(raw_entry(&pc.disks[0], 3), raw, "cut in write {write}, {next:?}");
        }
    }
}

/// The power goes at each write of the first restore of a blank disk; it gets there all the same.
#[test]
fn a_first_restore_that_was_cut_is_done_again() {
    let set = cd("", "", &RESTORE);
    let whole = start(&set, vec![writable(&blank())]).writes.len();
    for write in 0..whole {
        for next in [Torn::Old, Torn::Half, Torn::Garbage, Torn::Unreadable] {
            let mut pc = Pc::new(set.iso.clone(), vec![writable(&blank())]);
            pc.cut = Some(Cut { write, sectors: 0, next });
            pc.start();
            pc.cut = None;
            assert_eq!(word(&pc.start()), "hold 1");
            done(&format!("cut in write {write}, {next:?}"), &pc, "restore system");
            assert!(pc.disks[0].sector(0) == ours().sector(0), "cut in write {write}, {next:?}: the MBR");
            assert!(pc.disks[0].sector(SECOND) == [0; 512], "cut in write {write}, {next:?}: the second place");
        }
    }
}

/// P1 as it was, and in the place of P2 an entry of somebody's: where a CD with another layout was before.
fn changed_layout(change: impl Fn(&mut Disk)) -> Disk {
    let mut disk = ours();
    entry(&mut disk, 0, 1, 0x83, 3500, 8000);
    disk.poke(P2 * 512, &vec![0; LENGTH as usize * 512]);
    change(&mut disk);
    disk
}

/// An undeclared entry in the way of a declared partition: no step writes a table without it, or a sector of it, and
/// the line names it.
#[test]
fn an_entry_in_the_way_is_kept_and_named() {
    let mut data = vec![0x55; 8000 * 512];
    data[..512].copy_from_slice(&[7; 512]);
    let with_data = changed_layout(|disk| disk.poke(3500 * 512, &data));
    let named = "entry 2 (type 83, sectors 3500 to 11499) is not declared and reaches into P2";
    let steps = ["repair mbr of system", "restore P2", "heal P2", "activate P2", "restore system"];
    let state = base().state_at(0);
    let disk = only(&with_data, state..state + 1);
    let pc = start(&cd("", "", &steps), vec![disk.clone()]);
    failed("another layout", &pc, "restore system", &["drive 80", named]);
    failed("another layout", &pc, "repair mbr of system", &["drive 80", named]);
    failed("another layout", &pc, "restore P2", &["drive 80", named]);
    for step in steps {
        assert!(!is_ok(&pc, step), "{step}");
    }
    assert_eq!(unchanged(&pc.disks[0], &disk, &[state]), Ok(()));
    // A table that holds the map, and one more entry over P2.
    let mut over = Disk { allowed: vec![state..state + 1, base().state_at(1)..base().state_at(1) + 1], ..ours() };
    entry(&mut over, 0, 3, 0x83, 3500, 8000);
    over.poke(6000 * 512, &[9; 512]);
    over.poke(10_000 * 512, &[9; 512]);
    let pc = start(
        &cd("", "", &["restore P2", "heal P2", "repair mbr of system", "restore system", "set P2 Dirty"]),
        vec![over.clone()],
    );
    let named = "entry 4 (type 83, sectors 3500 to 11499)";
    for step in ["restore P2", "restore system", "repair mbr of system"] {
        failed("over P2", &pc, step, &[named]);
    }
    let inside = pc.writes.iter().find(|(_, at, sectors)| at + *sectors as u64 > 3500);
    assert_eq!(inside, None, "a sector inside the entry was written");
    // `adopt` says that it may go.
    let mut adopted = only(&with_data, 0..SECTORS);
    let pc = start(&cd(" adopt", "", &RESTORE), vec![adopted.clone()]);
    done("adopt", &pc, "restore system");
    adopted.poke(0, &[0; 512]);
    assert!(pc.disks[0].sector(0) == ours().sector(0), "the table is as declared");
}

/// It goes if it begins with a filesystem with our record, or is one repeated byte.
#[test]
fn an_entry_of_ours_or_with_nothing_in_it_goes() {
    let old_p2 = changed_layout(|disk| disk.poke(3500 * 512, &ours().bytes(P2..P2 + LENGTH)));
    let nothing = changed_layout(|disk| disk.poke(3500 * 512, &vec![0xFF; 8000 * 512]));
    for (name, disk) in [("our record", old_p2), ("one byte", nothing)] {
        for step in ["restore system", "repair mbr of system"] {
            let pc = start(&cd("", "", &[step]), vec![writable(&disk)]);
            done(name, &pc, step);
            assert!(pc.disks[0].sector(0) == ours().sector(0), "{name}: {step}: the table is not as declared");
        }
    }
}

/// Data in the middle of an entry is data, whatever its beginning and its end are.
#[test]
fn an_entry_with_data_in_its_middle_is_kept() {
    let hollow = changed_layout(|disk| disk.poke(7600 * 512, &[9; 512]));
    for step in ["restore system", "repair mbr of system"] {
        let state = base().state_at(0);
        let disk = only(&hollow, state..state + 1);
        let pc = start(&cd("", "", &[step]), vec![disk]);
        failed("data in its middle", &pc, step, &["entry 2 (type 83, sectors 3500 to 11499)"]);
    }
}

/// An old RAID superblock in P2's tail, which the image leaves free, would hide P2 from the system. The judges are
/// blkid and wipefs.
#[test]
fn a_restore_clears_marks_that_the_image_leaves_free() {
    let folder = tools::temporary();
    let path = folder.path().join("P2");
    // Of less than 1440 KiB blkid thinks that it is a floppy disk, which has no RAID.
    let set = figure4_set(512, "-F 12", 4096, "-t ext2");
    let whole = set.restored();
    let (start_of, length) = set.places[1];
    let at = start_of + (length - 16) / 8 * 8;
    let mut disk = whole.disks[0].clone();
    // mdadm md_p.h, version 1.0: magic, version, size, its own place, and a sum.
    let mut superblock = [0; 512];
    superblock[..8].copy_from_slice(&[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]);
    superblock[80..88].copy_from_slice(&1000_u64.to_le_bytes());
    superblock[144..152].copy_from_slice(&(at - start_of).to_le_bytes());
    let words = superblock[..256].as_chunks::<4>().0.iter().map(|w| u64::from(u32::from_le_bytes(*w)));
    let sum: u64 = words.sum();
    superblock[216..220].copy_from_slice(&((sum as u32).wrapping_add((sum >> 32) as u32)).to_le_bytes());
    disk.poke(at * 512, &superblock);
    let names = |disk: &Disk| {
        std::fs::write(&path, disk.bytes(start_of..start_of + length)).unwrap();
        (run("wipefs", &["-n", "-p", text(&path)]).out, run("blkid", &["-p", text(&path)]).out)
    };
    let (wipefs, blkid) = names(&disk);
    assert!(wipefs.contains("linux_raid_member") && blkid.contains("linux_raid_member"), "{wipefs}{blkid}");
    for step in ["restore system", "restore P2"] {
        let logic = format!("logic 1\n{}1 {step} else 2\n2 hold \"end\"\n", set.declarations());
        let pc = start(&set.with_logic(&logic), vec![disk.clone()]);
        done("a RAID in P2's tail", &pc, step);
        let (wipefs, blkid) = names(&pc.disks[0]);
        assert!(!wipefs.contains("linux_raid_member"), "{step}: {wipefs}");
        assert!(blkid.contains("TYPE=\"ext2\""), "{step}: {blkid}");
        assert!(pc.disks[0].sector(at) == [0; 512], "{step}");
        assert_eq!(set.difference(&pc, 1), None, "{step}");
    }
}

/// Whatever the image describes is the image's, whatever it looks like.
#[test]
fn a_restore_clears_no_mark_that_the_image_describes() {
    // The files of the image carry marks: its own filesystem is one.
    let pc = start(&cd("", "", &RESTORE), vec![writable(&blank())]);
    for n in 0..2 {
        assert_eq!(base().difference(&pc, n), None, "P{}", n + 1);
    }
    // A raw image whose tail is a RAID superblock.
    let folder = tools::temporary();
    let mut raw = vec![1; 256 << 10];
    raw[(512 - 16) * 512..][..4].copy_from_slice(&[0xFC, 0x4E, 0x2B, 0xA9]);
    std::fs::write(folder.path().join("raw.img"), &raw).unwrap();
    let logic = "logic 1\ndisk system sectors 20013\npartition P1 on system start 2048 sectors 512 type 83 image raw.img\n\
        1 restore system else 2\n2 hold \"end\"\n";
    let iso = crate::common::images::build(folder.path(), logic);
    let pc = start(&Set { iso, logic: logic.to_string(), ..base().clone() }, vec![writable(&blank())]);
    done("a raw image", &pc, "restore system");
    assert!(pc.disks[0].bytes(P1..P1 + 512) == raw, "what the image describes is not on the disk");
}

/// Marks in gaps: before the first partition, and behind the last.
fn with_gap_marks(disk: &Disk) -> Disk {
    let mut disk = disk.clone();
    disk.poke(512, b"LABELONE");
    disk.poke((SECTORS - 2) * 512, b"Intel Raid ISM Cfg Sig. ");
    disk
}

const GAPS: [std::ops::Range<u64>; 2] = [1..2, SECTORS - 2..SECTORS - 1];

#[test]
fn marks_in_gaps_are_cleared_where_the_table_held_the_map() {
    // What proves the disk is its table: sector 1 was read with it.
    let disk = also(&with_gap_marks(&ours()), &GAPS[..1]);
    let pc = start(&cd("", "", &RESTORE), vec![disk]);
    done("the map", &pc, "restore system");
    assert!(pc.disks[0].sector(1) == [0; 512], "the mark before the first partition");
    // Second note, marks before the first partition, sector 0's note.
    let order: Vec<u64> = pc.writes.iter().map(|(_, at, _)| *at).filter(|at| *at < P1).collect();
    assert_eq!(order, [SECOND, 1, 0, 0, SECOND], "{:?}", pc.writes);
    // What proves it is its content: all was read. (A mark at the very beginning would disprove it.)
    let mut unsigned = ours();
    unsigned.poke(0, &map_only(OTHER).sector(0));
    unsigned.poke((SECTORS - 2) * 512, b"Intel Raid ISM Cfg Sig. ");
    let pc = start(&cd("", "", &RESTORE), vec![also(&unsigned, &GAPS[1..])]);
    done("content", &pc, "restore system");
    assert!(pc.disks[0].sector(SECTORS - 2) == [0; 512], "the mark behind the last partition");
    // No other step clears them.
    for step in ["repair mbr of system", "restore P1", "activate P2"] {
        let pc = start(&cd("", "", &[step]), vec![writable(&with_gap_marks(&ours()))]);
        done("another step", &pc, step);
        assert!(pc.disks[0].sector(1) != [0; 512], "{step}");
    }
}

#[test]
fn marks_in_gaps_stay_where_the_table_was_another_or_none() {
    let mut none = ours();
    none.poke(0, &[0; 512]);
    let mut other = ours();
    entry(&mut other, 0, 1, 0x83, 3072, 900);
    for (name, disk) in [("no table", none), ("another table", other)] {
        let mut disk = writable(&disk);
        disk.poke((SECTORS - 2) * 512, b"Intel Raid ISM Cfg Sig. ");
        let pc = start(&cd("", "", &RESTORE), vec![disk]);
        done(name, &pc, "restore system");
        assert!(pc.disks[0].sector(SECTORS - 2) != [0; 512], "{name}: the mark is gone");
    }
}

#[test]
fn marks_inside_an_extra_entry_stay() {
    let mut disk = map_only(OTHER);
    for &(start, sectors) in &base().places {
        disk.poke(start * 512, &ours().bytes(start..start + sectors));
    }
    // Its data ends with the disk, so its mark stands where a mark of the disk would.
    entry(&mut disk, 0, 3, 0x83, 9000, (SECTORS - 9000) as u32);
    disk.poke((SECTORS - 2) * 512, b"Intel Raid ISM Cfg Sig. ");
    let pc = start(&cd("", "", &RESTORE), vec![writable(&disk)]);
    done("an extra entry", &pc, "restore system");
    assert!(pc.disks[0].sector(SECTORS - 2) != [0; 512], "the mark is gone");
}

#[test]
fn marks_in_gaps_are_cleared_on_an_adopted_disk() {
    let mut used = blank();
    entry(&mut used, 0, 0, 0x07, 2048, 10_000);
    for (name, disk) in [("somebody's", used), ("unclear", map_only(OTHER)), ("no table", blank())] {
        let disk = also(&with_gap_marks(&disk), &GAPS);
        let pc = start(&cd(" adopt", "", &RESTORE), vec![disk]);
        done(name, &pc, "restore system");
        let left: Vec<u64> = [1, SECTORS - 2].into_iter().filter(|&at| pc.disks[0].sector(at) != [0; 512]).collect();
        assert!(left.is_empty(), "{name}: marks are left at {left:?}");
    }
}

/// A new CD whose P2 has grown over what was behind it: refused, and what is there is kept.
#[test]
fn a_new_cd_with_another_layout_keeps_what_is_not_ours() {
    let data = "partition DATA on system start 4096 sectors 8000 type 83\n";
    let old = format!("disk system sectors {SECTORS}\n{}{data}", partitions());
    let mut pc = start(&declared(&old, &RESTORE), vec![writable(&blank())]);
    done("the old CD", &pc, "restore system");
    let mut disk = pc.disks.remove(0);
    // A filesystem without a record of ours.
    disk.poke(4096 * 512, &base().images[1][..4096]);
    let grown = partitions().replace("start 3072 sectors 1024", "start 3072 sectors 3000");
    let new =
        format!("disk system sectors {SECTORS}\n{grown}partition DATA on system start 6072 sectors 6000 type 83\n");
    let steps = ["repair mbr of system", "restore system", "restore P2", "heal P2", "heal P1"];
    let state = [0, 1].map(|n| base().state_at(n)..base().state_at(n) + 1).to_vec();
    let pc = start(&declared(&new, &steps), vec![Disk { allowed: state, ..disk.clone() }]);
    for step in &steps[..3] {
        failed("the new CD", &pc, step, &["entry 3 (type 83, sectors 4096 to 12095)"]);
    }
    assert!(pc.disks[0].bytes(4096..12_096) == disk.bytes(4096..12_096));
}
