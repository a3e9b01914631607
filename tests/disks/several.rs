//! Which of several disks it is, and which of several declarations; and what of ours boots.

use crate::common::record;
use crate::common::tools;
use crate::*;

const BOOT: [&str; 3] = ["verify mbr of system", "verify P1", "boot P1"];

/// The drive that a flow of [`BOOT`] hands the machine to.
fn booted(pc: &Pc) -> Option<u32> {
    let line = pc.log().into_iter().find_map(|l| l.split_once("boot P1 = ok (drive ")).map(|(_, rest)| rest)?;
    u32::from_str_radix(&line[..2], 16).ok()
}

/// A record of this set, with this sequence.
fn put_record(disk: &mut Disk, sequence: u32, set: &str) {
    let rest = "P1=OK P1.failures=0 P1.crashes=0 P2=OK P2.failures=0 P2.crashes=0 restores=1";
    for n in 0..2 {
        disk.poke(base().state_at(n) * 512, &record::sector(&format!("sequence={sequence} {set} {rest}")));
    }
}

fn state(disk: &Disk) -> [u8; 512] {
    disk.sector(base().state_at(0))
}

/// bstate.txt and nothing else may be written.
fn state_only(disk: &Disk) -> Disk {
    let places = (0..2).map(|n| base().state_at(n)..base().state_at(n) + 1);
    Disk { allowed: places.collect(), ..disk.clone() }
}

/// Ours boots, whatever lies beside it, in any order; only bstate.txt of ours is written.
#[test]
fn ours_boots_beside_blank_and_foreign_disks() {
    let folder = tools::temporary();
    let path = folder.path().join("used");
    crate::common::others::Other::Used.make(&path, SECTORS);
    let mut medium = blank();
    medium.info.boot_medium = true;
    let mut dead = blank();
    dead.unreadable.extend(0..SECTORS);
    let mut stick = blank();
    stick.info.removable = true;
    let mut other_signature = ours();
    other_signature.poke(440, &OTHER.to_le_bytes());
    let signed = " signature 12345678";
    let others = [
        ("blank", "", blank()),
        ("two blank", "", blank()),
        ("somebody's", "", Disk::load(0x80, &path)),
        ("the boot medium", "", medium),
        ("dead", "", dead),
        ("a stick", "", stick),
        ("another of the fleet", signed, other_signature),
    ];
    for (name, options, other) in others {
        let target = state_only(&restored(options, ""));
        for ours_first in [true, false] {
            let disks =
                if ours_first { vec![target.clone(), other.clone()] } else { vec![other.clone(), target.clone()] };
            let pc = start(&cd(options, "", &BOOT), disks);
            assert_eq!(booted(&pc), Some(if ours_first { 0x80 } else { 0x81 }), "{name}: {:#?}", pc.lines);
        }
    }
}

#[test]
fn ours_boots_larger_and_shorter_and_the_line_says_so() {
    let end = P2 + LENGTH;
    for sectors in [SECTORS + 4_000_000, SECTORS - 2113, end] {
        let mut disk = state_only(&ours());
        disk.info.sectors = sectors;
        let pc = start(&cd("", "", &BOOT), vec![disk.clone()]);
        assert_eq!(booted(&pc), Some(0x80), "{sectors} sectors: {:#?}", pc.lines);
        let said = format!("drive 80 has {sectors} sectors, declared {SECTORS}");
        assert_eq!(pc.log().iter().filter(|l| l.contains(&said)).count(), 1, "{:#?}", pc.lines);
        // By content as well.
        disk = writable(&disk);
        disk.poke(0, &[0; 512]);
        let pc = start(&cd("", "", &["repair mbr of system"]), vec![disk]);
        done("repair", &pc, "repair mbr of system");
    }
    let mut cut = ours();
    cut.info.sectors = end - 1;
    refused("shorter than its partitions", "", &cut, "unclear", &["too few for its partitions"]);
}

#[test]
fn old_marks_in_gaps_are_told_and_do_not_hinder() {
    let mut disk = state_only(&ours());
    disk.poke(512, b"LABELONE");
    let pc = start(&cd("", "", &BOOT), vec![disk]);
    assert_eq!(booted(&pc), Some(0x80), "{:#?}", pc.lines);
    assert!(pc.log().iter().any(|l| l.starts_with("- disk system = ok (") && l.contains("LVM at sector 1")));
}

/// To the declaration whose signature it has, then to the one whose size it has.
#[test]
fn disks_and_declarations_are_matched_by_signature_and_then_by_size() {
    let second = |options: &str, size: u64| {
        format!(
            "disk other sectors {size}{options}\npartition X on other start 64 sectors 1024 type 06 image fat.img\n"
        )
    };
    // Both declared with the same map, so that the table of each fits both.
    let same = |one: &str, two: &str, size: u64| {
        let p = partitions().replace("partition P1 on system", "partition X1 on other");
        let p = p.replace("partition P2 on system", "partition X2 on other");
        let system = format!("disk system sectors {SECTORS}..{one}\n{}", partitions());
        format!("{system}disk other sectors {size}..{two}\n{p}")
    };
    let verify = ["if system is ours", "if other is ours"];
    let (mut first, mut other) = (table_only(), table_only());
    first.poke(440, &SIGNATURE.to_le_bytes());
    other.poke(440, &OTHER.to_le_bytes());
    let declarations = same(" signature 12345678", " signature 0BADCAFE", SECTORS);
    for (name, disks, expected) in [
        ("both", vec![first.clone(), other.clone()], [true, true]),
        ("both, the other way round", vec![other.clone(), first.clone()], [true, true]),
        ("the first alone", vec![first], [true, false]),
        ("the other alone", vec![other], [false, true]),
    ] {
        let pc = start(&declared(&declarations, &verify), disks);
        assert_eq!(verify.map(|step| is_ok(&pc, step)), expected, "{name}: {:#?}", pc.lines);
    }
    // A signature goes before a size.
    let mut larger = table_only();
    larger.info.sectors = SECTORS + 5000;
    larger.poke(440, &own_signature().to_le_bytes());
    let declarations = same("", "", SECTORS + 5000);
    let pc = start(&declared(&declarations, &verify), vec![larger.clone()]);
    assert_eq!(verify.map(|step| is_ok(&pc, step)), [true, false], "signature before size: {:#?}", pc.lines);
    // And where no signature decides, the size does.
    let exact = declarations.replace(&format!("{SECTORS}.."), &SECTORS.to_string());
    let pc = start(&declared(&exact, &verify), vec![larger.clone()]);
    assert_eq!(verify.map(|step| is_ok(&pc, step)), [true, false], "against the size: {:#?}", pc.lines);
    larger.poke(440, &OTHER.to_le_bytes());
    let pc = start(&declared(&exact, &verify), vec![larger]);
    assert_eq!(verify.map(|step| is_ok(&pc, step)), [false, true], "by size: {:#?}", pc.lines);
    // What fits two after that is not written.
    let restore = ["restore system", "restore other"];
    let both = format!("disk system sectors {SECTORS}\n{}{}", partitions(), second("", SECTORS));
    let pc = start(&declared(&both, &restore), vec![blank()]);
    assert!(pc.writes.is_empty());
    failed("one blank disk, two declarations", &pc, "restore system", &["could be disk system and disk other"]);
    failed("one blank disk, two declarations", &pc, "restore other", &["could be disk other and disk system"]);
    // By size where that differs.
    let sizes = format!("disk system sectors {SECTORS}\n{}{}", partitions(), second("", 9000));
    let small = only(&Disk::blank(0x80, 9000), 0..9000);
    let pc = start(&declared(&sizes, &restore), vec![small, writable(&blank())]);
    done("by size", &pc, "restore system");
    done("by size", &pc, "restore other");
}

/// A declaration that has its disk takes no other: the blank disk is the other one's.
#[test]
fn a_declaration_that_has_its_disk_takes_no_other() {
    let second =
        format!("disk other sectors {SECTORS}\npartition X on other start 64 sectors 1024 type 06 image fat.img\n");
    let declarations = format!("disk system sectors {SECTORS}\n{}{second}", partitions());
    let steps = ["restore other"];
    let everywhere = |disk: &Disk| only(disk, 0..SECTORS);
    // What bstate.txt says of the other disk is written on both.
    let known = state_only(&restored("", ""));
    let pc = start(&declared(&declarations, &steps), vec![known.clone(), everywhere(&blank())]);
    done("system by its table", &pc, "restore other");
    let mut by_content = known;
    by_content.poke(0, &[0; 512]);
    // It is no blank disk for the other one: what is on it is not where that looks.
    let pc = start(&declared(&declarations, &steps), vec![by_content.clone()]);
    failed("system's disk alone", &pc, "restore other", &["drive 80 is disk system"]);
    let pc = start(&declared(&declarations, &steps), vec![by_content, everywhere(&blank())]);
    done("system by what is in P1", &pc, "restore other");
}

#[test]
fn several_blank_disks_and_none_of_ours_are_not_written() {
    let pc = start(&cd("", "", &STEPS), vec![blank(), blank()]);
    assert!(pc.writes.is_empty());
    failed("two", &pc, "restore system", &["2 blank disks could be system: drives 80, 81"]);
    // Adopting is no way out of it.
    failed("two", &start(&cd(" adopt", "", &STEPS), vec![blank(), blank()]), "restore system", &["drives 80, 81"]);
    // One that is ours decides.
    let pc = start(&cd("", "", &["restore system"]), vec![blank(), writable(&ours()), blank()]);
    done("one of ours", &pc, "restore system");
    assert!(pc.writes.iter().all(|(disk, ..)| *disk == 1));
}

/// Clones: nothing but bstate.txt is written on the one that is taken, and the line names the others.
#[test]
fn of_clones_only_bstate_txt_is_written() {
    let steps =
        ["set P1 Clean", "activate P2", "repair mbr of system", "heal P1", "restore P1", "restore system", "boot P1"];
    let pc = start(&cd("", "", &steps), vec![state_only(&ours()), untouchable(&ours())]);
    done("clones", &pc, "set P1 Clean");
    for step in &steps[1..6] {
        failed("clones", &pc, step, &["80"]);
    }
    assert_eq!(booted(&pc), Some(0x80));
    assert!(!pc.writes.is_empty());
    let told = "2 disks are system: drives 80, 81; on drive 80, which is taken, only bstate.txt is written";
    assert_eq!(
        pc.log().iter().filter(|l| l.starts_with("- ") && l.contains(told)).count(),
        1,
        "told once: {:#?}",
        pc.lines
    );
}

/// With a copy that verifies quick before those without; then, of one set, the newest record, else the BIOS's order.
#[test]
fn of_clones_the_best_is_taken() {
    /// What is done to one of them.
    type Change = Box<dyn Fn(&mut Disk)>;
    let whole = || -> Change { Box::new(|_| {}) };
    let broken = || -> Change {
        Box::new(|disk| base().places.iter().for_each(|&(start, _)| disk.poke(start * 512, &[0; 512])))
    };
    let set = |sequence: u32, of: &'static str| -> Change { Box::new(move |disk| put_record(disk, sequence, of)) };
    let newer_and = |harm: Change| -> Change {
        Box::new(move |disk| {
            put_record(disk, 9, "set=00000001");
            harm(disk);
        })
    };
    let one_broken = || -> Change { Box::new(|disk| disk.poke(P2 * 512, &[0; 1024 + 512])) };
    let (one, two) = ("set=00000001", "set=00000002");
    let table: [(&str, Vec<Change>, u32); 9] = [
        ("all the same", vec![whole(), whole(), whole()], 0x80),
        ("no copy is whole on the first", vec![broken(), whole()], 0x81),
        ("no copy is whole on the second", vec![whole(), broken()], 0x80),
        ("a newer record on one without a whole copy", vec![newer_and(broken()), set(3, one)], 0x81),
        ("one copy is enough", vec![newer_and(one_broken()), set(3, one)], 0x80),
        ("the newest of one set", vec![set(3, one), set(5, one), set(4, one)], 0x81),
        ("of different sets the first", vec![set(3, one), set(5, two)], 0x80),
        ("without a set the first", vec![set(3, ""), set(5, "")], 0x80),
        ("two of a set, and one of another", vec![set(3, one), set(5, one), set(9, two)], 0x80),
    ];
    for (name, changes, expected) in table {
        let disks = changes.iter().map(|change| {
            let mut disk = state_only(&ours());
            change(&mut disk);
            disk
        });
        let disks: Vec<Disk> = disks.collect();
        let before = disks.clone();
        let pc = start(&cd("", "", &["set P2 Clean", "boot P1"]), disks);
        let told = format!("on drive {expected:02X}, which is taken");
        assert!(pc.log().iter().any(|l| l.contains(&told)), "{name}: {:#?}", pc.lines);
        for (n, (disk, before)) in pc.disks.iter().zip(&before).enumerate() {
            if 0x80 + n as u32 != expected {
                assert!(
                    state(disk) == state(before) && !pc.writes.iter().any(|w| w.0 == n),
                    "{name}: disk {n} was written"
                );
            }
        }
    }
}

/// The same where one of them has lost its table: it is as much ours.
#[test]
fn a_clone_without_a_table_is_one_too() {
    let mut lost = ours();
    lost.poke(0, &[0; 512]);
    // Both have lost it.
    let pc = start(&cd("", "", &["repair mbr of system", "set P1 Clean"]), vec![state_only(&lost), untouchable(&lost)]);
    failed("both", &pc, "repair mbr of system", &["drive"]);
    done("both", &pc, "set P1 Clean");
    // One of them, and the other is whole: that one boots, and is not changed while the clone is there.
    let mut code = state_only(&ours());
    code.poke(100, &[0xFF]);
    let pc = start(&cd("", "", &["repair mbr of system", "set P1 Clean"]), vec![code, untouchable(&lost)]);
    failed("one", &pc, "repair mbr of system", &["drive 80"]);
    done("one", &pc, "set P1 Clean");
    // One of them, and the other has no whole copy: that one boots, and nothing is restored.
    let mut broken = untouchable(&ours());
    for &(start, _) in &base().places {
        broken.poke(start * 512, &[0; 512]);
    }
    let pc = start(&cd("", "", &["restore system", "boot P1"]), vec![broken, state_only(&lost)]);
    assert!(!is_ok(&pc, "restore system"), "{:#?}", pc.lines);
    assert_eq!(booted(&pc), Some(0x81), "{:#?}", pc.lines);
}

#[test]
fn a_disk_that_the_bios_cannot_write_is_not_written() {
    let mut locked = untouchable(&ours());
    locked.info.writable = false;
    let pc = start(&cd("", "", &["restore system", "repair mbr of system", "boot P1"]), vec![locked]);
    failed("ours, locked", &pc, "restore system", &["80", "written"]);
    failed("ours, locked", &pc, "repair mbr of system", &["80", "written"]);
    assert_eq!(booted(&pc), Some(0x80), "{:#?}", pc.lines);
    let mut empty = blank();
    empty.info.writable = false;
    refused("blank, locked", "", &empty, "unclear", &["can't be written"]);
}

/// Of several candidates the best, whatever their order.
#[test]
fn if_tells_what_the_best_of_several_is() {
    let mut used = blank();
    used.poke(0, LUKS);
    let unclear = map_only(OTHER);
    let order = [("ours", ours()), ("blank", blank()), ("foreign", used), ("unclear", unclear)];
    for (n, (name, best)) in order.iter().enumerate() {
        for (_, worse) in &order[n + 1..] {
            assert_eq!(whose("", "", vec![worse.clone(), best.clone()]), *name);
            assert_eq!(whose("", "", vec![best.clone(), worse.clone()]), *name);
        }
    }
    let mut medium = blank();
    medium.info.boot_medium = true;
    assert_eq!(whose("", "", vec![medium]), "none", "no candidate");
    assert_eq!(whose("", "", vec![]), "none", "no disk");
}
