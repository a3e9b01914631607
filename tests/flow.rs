//! A whole run of the CD that `knownstate build` makes, on a machine in memory: every path of
//! figure 4, everything that can go wrong with disk and CD, and what each step of the language does.

mod common;

use std::sync::OnceLock;

use common::images::{Set, figure4_set, find};
use common::machine::{Pc, word};
use common::{record, tools};
use knownstate_core::machine::{Ending, Watchdog};
use knownstate_core::table::Entry;
use knownstate_core::units::SECTOR;

/// Figure 4 with a FAT16 and an ext4 partition.
fn set() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| figure4_set(8192, "-F 16 -s 2", 9216, "-t ext4"))
}

/// A machine whose disk the CD has restored, and whose OS has reported nothing yet.
fn restored() -> Pc {
    static PC: OnceLock<Pc> = OnceLock::new();
    PC.get_or_init(|| set().restored()).clone()
}

/// A record with these two states, newer than what a restore leaves.
fn states(p1: &str, p2: &str) -> [u8; SECTOR] {
    let lines = format!("sequence=7 booting=P1 P1={p1} P1.failures=0 P1.crashes=0 ");
    record::sector(&(lines + &format!("P2={p2} P2.failures=0 P2.crashes=0 restores=0")))
}

/// A restored machine with these states on both partitions.
fn with_states(p1: &str, p2: &str) -> Pc {
    let mut pc = restored();
    set().put_state(&mut pc, 0, &states(p1, p2));
    set().put_state(&mut pc, 1, &states(p1, p2));
    pc
}

/// Starts the machine; it has to say exactly these lines and end so.
fn expect(name: &str, pc: &mut Pc, lines: &str, ending: &str) {
    let end = pc.start();
    let wanted: Vec<&str> = lines.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(pc.log(), wanted, "{name}: the lines differ (left: said, right: expected)");
    assert_eq!(word(&end), ending, "{name}: the ending differs");
}

/// Both copies hold the same valid record, and it has these values.
fn expect_state(name: &str, pc: &Pc, values: &str) {
    let (first, second) = (set().state(pc, 0), set().state(pc, 1));
    assert_eq!(first, second, "{name}: the copies of bstate.txt differ");
    for pair in values.split_whitespace() {
        let (key, value) = pair.split_once('=').unwrap();
        assert_eq!(record::value(&first, key), value.replace('~', " "), "{name}: {key} in bstate.txt");
    }
}

fn expect_images(name: &str, pc: &Pc) {
    for n in 0..2 {
        assert_eq!(set().difference(pc, n), None, "{name}: sector of P{} that is not the image's", n + 1);
    }
}

const P1_BOOTS: &str = "
    202 verify mbr of system = ok
    206 verify P1 = ok (FAT16)
    208 if P1 is OK = ok
    210 set P1 Dirty = ok
    212 boot P1 = ok (drive 80, lba 2048)";
const P2_BOOTS: &str = "
    232 activate P2 = ok
    234 verify P2 = ok (ext2/3/4)
    238 if P2 is OK = ok
    240 set P2 Dirty = ok
    242 boot P2 = ok (drive 80, lba 18432)";
const RESTORED: &str = "
    256 restore system = ok
    - restart = ok";

#[test]
fn a_blank_disk_is_restored_and_boots() {
    let mut pc = set().blank();
    let lines = "
        202 verify mbr of system = failed (no disk is system: drive 80 is blank)
        - read bstate.txt = failed (P1, P2: no disk is system: drive 80 is blank)
        256 restore system = ok
        - restart = ok";
    expect("blank", &mut pc, lines, "restart");
    expect_images("blank", &pc);
    let (first, last) = (pc.writes.first_chunk::<5>(), pc.writes.last_chunk());
    let note = [2047, 2047, 2047, 2047, 0].map(|at| (0, at, 1));
    assert_eq!(first, Some(&note), "the note comes first; writes: {:?}", pc.writes);
    assert_eq!(last, Some(&[(0, 0, 1), (0, 2047, 1)]), "the MBR is written last; writes: {:?}", pc.writes);
    assert!(pc.disks[0].sector(2047) == [0; SECTOR], "the note's second place was not cleared");
    expect_state("blank", &pc, "P1=OK P2=OK restores=1 P1.failures=0 P2.crashes=0");
    expect("first boot", &mut pc, P1_BOOTS, "hand-off 80 entry 1");
    expect_state("first boot", &pc, "P1=Dirty P1.failures=1 booting=P1 P1.why=212~boot~begun,~not~confirmed P2=OK");
}

#[test]
fn other_peoples_tools_find_the_restored_disk_good() {
    let pc = restored();
    let temporary = tools::temporary();
    let path = |name: &str| temporary.path().join(name);
    pc.disks[0].dump(&path("disk"));
    let table = tools::must("sfdisk", &["-d", tools::text(&path("disk"))]);
    let rows: Vec<String> = table.lines().filter(|l| l.contains("start=")).map(|l| l.replace(' ', "")).collect();
    let tails: Vec<&str> = rows.iter().map(|r| r.split_once(':').unwrap().1).collect();
    assert_eq!(tails, ["start=2048,size=16384,type=6,bootable", "start=18432,size=18432,type=83"], "{table}");
    assert!(table.contains("label: dos"), "sfdisk sees no MBR table: {table}");
    for (n, (checker, option)) in [("fsck.fat", "-n"), ("e2fsck", "-fn")].into_iter().enumerate() {
        let (start, sectors) = set().places[n];
        std::fs::write(path("part"), pc.disks[0].bytes(start..start + sectors)).unwrap();
        tools::must(checker, &[option, tools::text(&path("part"))]);
    }
}

#[test]
fn every_path_of_figure_4_is_taken() {
    let p1_clean = P1_BOOTS
        .replace("208 if P1 is OK = ok", "208 if P1 is OK = failed (it is Clean)\n216 if P1 is Clean = ok")
        .replace("210", "218")
        .replace("212", "220");
    let p1_dirty = "
        202 verify mbr of system = ok
        206 verify P1 = ok (FAT16)
        208 if P1 is OK = failed (it is Dirty)
        216 if P1 is Clean = failed (it is Dirty)
        230 set P1 Dirty = ok";
    let p2_clean = P2_BOOTS
        .replace("238 if P2 is OK = ok", "238 if P2 is OK = failed (it is Clean)\n246 if P2 is Clean = ok")
        .replace("240", "248")
        .replace("242", "250");
    let p2_dirty = "
        232 activate P2 = ok
        234 verify P2 = ok (ext2/3/4)
        238 if P2 is OK = failed (it is Dirty)
        246 if P2 is Clean = failed (it is Dirty)
        254 set P2 Dirty = ok";
    let table = [
        ("OK", "OK", P1_BOOTS.to_string(), "hand-off 80 entry 1", "P1=Dirty P1.crashes=0 P2=OK"),
        ("Clean", "OK", p1_clean, "hand-off 80 entry 1", "P1=Dirty P1.crashes=1 P1.failures=1 P2=OK"),
        ("Dirty", "OK", format!("{p1_dirty}{P2_BOOTS}"), "hand-off 80 entry 2", "P1=Dirty P1.failures=1 P2=Dirty"),
        ("Dirty", "Clean", format!("{p1_dirty}{p2_clean}"), "hand-off 80 entry 2", "P2=Dirty P2.crashes=1 booting=P2"),
        ("Dirty", "Dirty", format!("{p1_dirty}{p2_dirty}{RESTORED}"), "restart", "P1=OK P2=OK restores=1"),
    ];
    for (p1, p2, lines, ending, state) in table {
        let name = format!("P1 {p1}, P2 {p2}");
        let mut pc = with_states(p1, p2);
        expect(&name, &mut pc, &lines, ending);
        expect_state(&name, &pc, state);
        expect_images(&name, &pc);
    }
}

/// Damages P1's boot sector, so that only P2 is left.
fn break_p1(pc: &mut Pc) {
    pc.disks[0].poke(2048 * 512 + 510, &[0, 0]);
}

#[test]
fn a_damaged_copy_gives_way_to_the_next_and_bstate_says_why() {
    let p1_damaged = "
        202 verify mbr of system = ok
        206 verify P1 = failed (boot sector has no 55AA)
        230 set P1 Dirty = ok";
    let mut pc = with_states("OK", "OK");
    break_p1(&mut pc);
    expect("P1 damaged", &mut pc, &format!("{p1_damaged}{P2_BOOTS}"), "hand-off 80 entry 2");
    let why = record::value(&set().state(&pc, 1), "P1.why");
    assert_eq!(why, "206 boot sector has no 55AA", "the reason on P2");

    let mut pc = with_states("OK", "OK");
    // All of FAT's first sector, so that its copy of bstate.txt is out of reach too; and the ext
    // superblock's magic.
    pc.disks[0].poke(2048 * 512, &[0; 512]);
    pc.disks[0].poke(18432 * 512 + 1024 + 0x38, &[0, 0]);
    let lines = "
        202 verify mbr of system = ok
        206 verify P1 = failed (boot sector has no 55AA)
        - read bstate.txt = failed (P1, P2: no FAT or ext filesystem)
        230 set P1 Dirty = failed (no copy of bstate.txt could be written)
        232 activate P2 = ok
        234 verify P2 = failed (no FAT or ext filesystem)
        254 set P2 Dirty = failed (no copy of bstate.txt could be written)";
    expect("both damaged", &mut pc, &format!("{lines}{RESTORED}"), "restart");
    expect_images("both damaged", &pc);
    expect_state("both damaged", &pc, "P1=OK P2=OK restores=1");
}

#[test]
fn a_destroyed_mbr_leads_to_a_restore() {
    let good = restored().disks[0].sector(0);
    let damage = |at: usize, with: &[u8]| {
        let mut sector = good;
        sector[at..at + with.len()].copy_from_slice(with);
        sector
    };
    let mut garbage = [0xB7; SECTOR];
    garbage[510..].copy_from_slice(&[0x55, 0xAA]);
    let mut nobody = damage(446, &[0]);
    nobody[478] = 0x80;
    let table = [
        ("zeroed", [0; SECTOR], "no 55AA signature"),
        ("garbage and 55AA", garbage, "entry 1 has an impossible status byte"),
        ("no 55AA", damage(510, &[0]), "no 55AA signature"),
        ("type", damage(446 + 4, &[0x83]), "entry 1 is not as declared"),
        ("start", damage(446 + 9, &[7]), "entry 1 is not as declared"),
        ("length", damage(462 + 12, &[1]), "entry 2 is not as declared"),
        ("overlap", damage(462 + 8, &[0, 8, 0, 0]), "entry 2 is outside the disk or overlaps another"),
        ("none active", damage(446, &[0]), "no partition is active"),
        ("only an empty entry active", nobody, "no partition is active"),
        ("both active", damage(462, &[0x80]), "2 partitions are active"),
        ("boot code", damage(100, &[0xFF]), "boot code differs from the CD's"),
    ];
    for (name, sector, reason) in table {
        let mut pc = with_states("OK", "OK");
        pc.disks[0].poke(0, &sector);
        let lines = format!("202 verify mbr of system = failed ({reason}){RESTORED}");
        expect(name, &mut pc, &lines, "restart");
        let mut mbr = pc.disks[0].sector(0);
        // The disk signature stays what it is, even in garbage.
        mbr[440..444].copy_from_slice(&good[440..444]);
        assert!(mbr == good, "{name}: the MBR after the restore is {mbr:02x?}");
        expect_images(name, &pc);
        expect_state(name, &pc, "P1=OK P2=OK restores=1");
    }
}

#[test]
fn an_unreadable_mbr_is_written_anew() {
    let mut pc = with_states("OK", "OK");
    pc.disks[0].unreadable.insert(0);
    let lines = format!("202 verify mbr of system = failed (MBR unreadable: BIOS status 10){RESTORED}");
    expect("unreadable MBR", &mut pc, &lines, "restart");
    expect("after it", &mut pc, P1_BOOTS, "hand-off 80 entry 1");
}

#[test]
fn a_disk_signature_outlives_a_restore() {
    let mut pc = with_states("Dirty", "Dirty");
    pc.disks[0].poke(440, &[0x78, 0x56, 0x34, 0x12]);
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    assert_eq!(pc.disks[0].sector(0)[440..444], [0x78, 0x56, 0x34, 0x12], "Windows knows its disks by these bytes");
}

#[test]
fn a_lost_or_broken_copy_of_bstate_is_rewritten_from_the_other() {
    let garbage = [0xFF; SECTOR];
    let old = record::sector("sequence=3 P1=Dirty P2=Dirty restores=0");
    let mut wrong_sum = states("Dirty", "Dirty");
    wrong_sum[20] ^= 1;
    for (name, sector, fault) in [
        ("zeros", [0; SECTOR], "no text"),
        ("garbage", garbage, "no text"),
        ("spaces", [b' '; SECTOR], "says nothing of any partition"),
        ("wrong sum", wrong_sum, "wrong crc32"),
        ("old", old, ""),
    ] {
        for n in 0..2 {
            let mut pc = with_states("OK", "OK");
            set().put_state(&mut pc, n, &sector);
            let trouble =
                if fault.is_empty() { String::new() } else { format!("- read bstate.txt = ok (P{}: {fault})", n + 1) };
            let lines = P1_BOOTS.replace("208", &format!("{trouble}\n208"));
            expect(&format!("{name} on P{}", n + 1), &mut pc, &lines, "hand-off 80 entry 1");
            expect_state(name, &pc, "sequence=8 P1=Dirty P2=OK");
        }
    }
}

#[test]
fn a_file_that_is_gone_leaves_the_other_copy_in_charge() {
    let mut pc = with_states("OK", "OK");
    let p1 = pc.disks[0].bytes(2048..18432);
    pc.disks[0].poke(2048 * 512 + find(&p1, b"BSTATE  TXT") as u64, &[0xE5]);
    // The root directory is sealed, so whoever asks for all of it hears of that too.
    pc.cd = set().with_logic(&set().logic.replace("verify P1      ", "verify P1 quick")).iso;
    let missing = "- read bstate.txt = ok (P1: bstate.txt: no such file in the root directory)\n208";
    let lines = P1_BOOTS.replace("verify P1", "verify P1 quick").replace("208", missing);
    expect("gone from P1", &mut pc, &lines, "hand-off 80 entry 1");
    assert_eq!(record::value(&set().state(&pc, 1), "P1"), "Dirty");
}

#[test]
fn equal_sequences_give_each_partition_the_worse_state() {
    let mut pc = restored();
    set().put_state(&mut pc, 0, &states("OK", "Clean"));
    set().put_state(&mut pc, 1, &states("Clean", "OK"));
    let lines = "
        202 verify mbr of system = ok
        206 verify P1 = ok (FAT16)
        208 if P1 is OK = failed (it is Clean)
        216 if P1 is Clean = ok
        218 set P1 Dirty = ok
        220 boot P1 = ok (drive 80, lba 2048)";
    expect("conflict", &mut pc, lines, "hand-off 80 entry 1");
    expect_state("conflict", &pc, "P1=Dirty P2=Clean sequence=8");
}

#[test]
fn what_a_person_typed_wins_and_is_made_canonical() {
    for newline in ["\n", "\r\n", " \r\n\r\n"] {
        let mut pc = with_states("OK", "Clean");
        let typed = ["  # the first copy is under repair", "P1 = dirty", "restores=0"].map(|l| l.to_string() + newline);
        set().put_state(&mut pc, 1, &record::padded(&typed.concat()));
        let p1_dirty = "
            202 verify mbr of system = ok
            206 verify P1 = ok (FAT16)
            208 if P1 is OK = failed (it is Dirty)
            216 if P1 is Clean = failed (it is Dirty)
            230 set P1 Dirty = ok
            232 activate P2 = ok
            234 verify P2 = ok (ext2/3/4)
            238 if P2 is OK = failed (it is Clean)
            246 if P2 is Clean = ok
            248 set P2 Dirty = ok
            250 boot P2 = ok (drive 80, lba 18432)";
        expect("typed", &mut pc, p1_dirty, "hand-off 80 entry 2");
        expect_state("typed", &pc, "P1=Dirty P2=Dirty booting=P2");
    }
}

#[test]
fn states_that_cannot_be_written_are_told_and_do_not_keep_the_machine_down() {
    let mut pc = with_states("OK", "OK");
    pc.disks[0].unwritable.insert(set().state_at(0));
    let one = P1_BOOTS.replace("210 set P1 Dirty = ok", "210 set P1 Dirty = ok (but not P1: BIOS status 03)");
    expect("one copy", &mut pc, &one, "hand-off 80 entry 1");

    let mut pc = with_states("OK", "OK");
    pc.disks[0].lying.extend([set().state_at(0), set().state_at(1)]);
    let reason = "no copy of bstate.txt could be written; \
        P1: read back differs from what was written; P2: read back differs from what was written";
    let none = P1_BOOTS.replace("210 set P1 Dirty = ok", &format!("210 set P1 Dirty = failed ({reason})"));
    expect("no copy", &mut pc, &none, "hand-off 80 entry 1");
}

#[test]
fn a_write_that_is_lost_once_is_done_again() {
    let mut pc = with_states("OK", "OK");
    pc.disks[0].losing.extend([set().state_at(0), set().state_at(1)]);
    expect("states", &mut pc, P1_BOOTS, "hand-off 80 entry 1");
    expect_state("states", &pc, "P1=Dirty P2=OK booting=P1");
    let mut pc = set().blank();
    pc.disks[0].losing.extend([0, 2048, 2048 + 30, 18432 + 2]);
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "{:#?}", pc.lines);
}

/// Two good copies, and a sector 0 that can't be read or written, or boot code that the CD does not give.
#[test]
fn a_whole_copy_boots_where_the_mbr_cannot_be_repaired() {
    let default = set().with_shipped("default.txt");
    type Spoil = fn(&mut Pc);
    let bad: [(&str, Spoil); 3] = [
        ("unreadable", |pc| pc.disks[0].unreadable.extend([0])),
        ("gone", |pc| pc.disks[0].poke(0, &[0; SECTOR])),
        ("not on the CD", |pc| {
            let bytes = pc.cd.windows(440).position(|code| code == &pc.disks[0].sector(0)[..440]);
            pc.bad_cd_sectors.extend(bytes.map(|at| (at / 2048) as u32));
        }),
    ];
    for (name, spoil) in bad {
        let mut pc = with_states("OK", "OK");
        pc.cd = default.iso.clone();
        spoil(&mut pc);
        pc.disks[0].unwritable.insert(0);
        assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "{name}: {:#?}", pc.lines);
        assert!(pc.log().iter().any(|line| line.starts_with("204 repair mbr of system = failed (")), "{name}");
    }
}

/// One copy is better than none. (Sector 30 of P1 is not sealed, so that a heal does without it.)
#[test]
fn a_place_that_cannot_be_written_leaves_the_other_copy() {
    let default = set().with_shipped("default.txt");
    for (bad, entry) in [(2048, 2), (2048 + 30, 1), (18432, 1), (18432 + 2, 1)] {
        let mut pc = set().blank();
        pc.cd = default.iso.clone();
        pc.disks[0].unwritable.insert(bad);
        assert_eq!(word(&pc.start()), "restart", "sector {bad}: {:#?}", pc.lines);
        assert!(pc.log().iter().any(|line| line.starts_with("260 restore system = failed (P")), "sector {bad}");
        assert_eq!(word(&pc.start()), format!("hand-off 80 entry {entry}"), "sector {bad}: {:#?}", pc.lines);
    }
}

#[test]
fn a_hand_off_carries_the_table_and_a_boot_sector_that_knows_its_place() {
    for (p1, entry, start) in [("OK", 0, 2048_u32), ("Dirty", 1, 18432)] {
        let mut pc = with_states(p1, "OK");
        let Ending::HandOff(to) = pc.start() else { panic!("no hand-off: {:#?}", pc.lines) };
        assert_eq!((to.drive, to.entry), (0x80, entry));
        assert_eq!(to.mbr, pc.disks[0].sector(0), "the MBR's copy for 0000:0600");
        let mut sector = pc.disks[0].sector(u64::from(start));
        if entry == 0 {
            // FAT: BPB_HiddSec and BS_DrvNum; an image can't know them.
            sector[0x1C..0x20].copy_from_slice(&start.to_le_bytes());
            sector[0x24] = 0x80;
        }
        assert!(to.boot_sector == sector, "the boot sector for 0000:7C00 of entry {entry}");
    }
}

#[test]
fn a_bad_logic_txt_holds_and_writes_nothing() {
    let hold = "- hold \"nothing was written: the CD has no logic.txt that can be followed\" = ok";
    let said = "- read logic.txt = failed";
    let table = [
        (
            "version",
            set().with_damage(b"logic 1\n", b"logic 7\n"),
            "- line 1, column 7: unknown language version `7`
            -   logic 7
            -         ^
            -   this program reads `logic 1`\n",
            "line 1, column 7: unknown language version `7`; this program reads `logic 1`",
        ),
        (
            "two mistakes",
            set().with_logic("logic 1\nhodl \"x\"\nbot P1\n"),
            "- line 2, column 1: unknown step `hodl`
            -   hodl \"x\"
            -   ^^^^
            -   did you mean `hold`?
            - line 3, column 1: unknown step `bot`
            -   bot P1
            -   ^^^
            -   did you mean `boot`?\n",
            "line 2, column 1: unknown step `hodl`; did you mean `hold`?; and 1 more",
        ),
        ("no text", set().with_damage(b"202 verify", b"\xFF\xFE"), "", "it is no UTF-8 text"),
        (
            "no volume descriptor",
            set().with_damage(b"\x01CD001", b"\x01XX001"),
            "",
            "CD damaged: no primary volume descriptor",
        ),
    ];
    for (name, set, told, reason) in table {
        for mut pc in [set.blank(), restored()] {
            pc.cd = set.iso.clone();
            expect(name, &mut pc, &format!("{told}{said} ({reason})\n{hold}"), "hold -");
            assert!(pc.writes.is_empty(), "{name}: writes {:?}", pc.writes);
        }
    }
    let mut pc = restored();
    pc.cd = Default::default();
    expect("no CD", &mut pc, &format!("{said} (CD sector 16: past the end of the disk)\n{hold}"), "hold -");
    assert!(pc.writes.is_empty(), "no CD: writes {:?}", pc.writes);
}

/// Restores a disk with something wrong; the restore has to fail for this reason, and nothing that
/// is left may be bootable.
fn expect_failed_restore(name: &str, mut pc: Pc, reason: &str) {
    let lines = format!(
        "202 verify mbr of system = failed (no disk is system: drive 80 is blank)
        - read bstate.txt = failed (P1, P2: no disk is system: drive 80 is blank)
        256 restore system = failed ({reason})
        299 hold \"no partition boots and the restore failed\" = ok"
    );
    expect(name, &mut pc, &lines, "hold 299");
    assert_ne!(pc.disks[0].sector(0)[510..], [0x55, 0xAA], "{name}: an MBR that boots was left behind");
}

/// Where an entry's pack begins in its image file.
fn pack(entry: &Entry) -> usize {
    entry.place.unwrap().at as usize * 2048
}

#[test]
fn a_restore_that_fails_leaves_nothing_bootable() {
    let damaged = |at: usize| format!("is damaged on the CD: pack at byte {at}: its hash is wrong");
    let (image, _, entries) = set().image_file(0);
    let first = pack(&entries[0]);
    let set_1 = set().with_damaged_image(0, first + 20);
    expect_failed_restore("P1's image damaged", set_1.blank(), &format!("images/fat.img {}", damaged(first)));
    let last = set().image_file(1).2.iter().map(pack).max().unwrap();
    let set_2 = set().with_damaged_image(1, last + 5);
    expect_failed_restore("P2's image damaged", set_2.blank(), &format!("images/ext.img {}", damaged(last)));

    let mut pc = set().blank();
    pc.disks[0].unwritable.insert(2048 + 30);
    expect_failed_restore("write error", pc, "P1, sector 0 of it: BIOS status 03");
    let mut pc = set().blank();
    pc.disks[0].lying.extend([18432 + 2, 18432 + 300]);
    expect_failed_restore("a disk that lies", pc, "P2, sector 0 of it: read back differs from what was written");
    let mut pc = set().blank();
    pc.disks[0].lying.insert(0);
    expect_failed_restore(
        "an MBR that lies",
        pc,
        "partition table not cleared: read back differs from what was written",
    );
    let mut pc = set().blank();
    let scratch = ((image + first) / 2048) as u32;
    pc.bad_cd_sectors.insert(scratch);
    expect_failed_restore("a scratched CD", pc, &format!("images/fat.img: CD sector {scratch}: BIOS status 11"));
}

#[test]
fn a_good_disk_survives_a_cd_whose_images_are_gone() {
    let mut pc = with_states("Dirty", "Dirty");
    let logic = set().logic.replace("verify P1      ", "verify P1 quick");
    pc.cd = set().with_logic(&logic).with_damaged_image(0, 3).iso;
    let before = pc.disks[0].sector(0);
    assert_eq!(word(&pc.start()), "hold 299", "{:#?}", pc.lines);
    let reason = "256 restore system = failed (images/fat.img is damaged on the CD: no table)";
    assert!(pc.log().contains(&reason), "{:#?}", pc.log());
    assert!(pc.disks[0].sector(0)[4..440] == before[4..440], "the MBR was cleared although nothing could replace it");
}

/// What was restored says itself what must not change in it.
#[test]
fn a_scratch_in_the_table_of_the_cds_image_stops_no_good_disk() {
    for at in [3, 0x20, 2048 + 8] {
        let mut pc = restored();
        pc.cd = set().with_shipped("default.txt").with_damaged_image(0, at).iso;
        assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "byte {at}: {:#?}", pc.lines);
        let good = |l: &String| l.contains("206 verify P1 = ok (FAT16, ") && l.ends_with(" as sealed)");
        assert!(pc.lines.iter().any(good), "byte {at}: {:#?}", pc.lines);
    }
}

#[test]
fn a_long_restore_says_how_far_it_is() {
    let mut pc = set().blank();
    pc.tick = 300;
    pc.start();
    let progress: Vec<&String> = pc.lines.iter().filter(|l| l.ends_with(" s left")).collect();
    assert!(progress.len() > 5, "{:#?}", pc.lines);
    for line in &progress {
        let (time, rest) = line.split_once("] ").unwrap();
        let good = time.starts_with('[') && time.len() == 10 && time.as_bytes()[6] == b'.';
        assert!(good && rest.starts_with("256 restore system: P1 P2 "), "the lines have another form: {line}");
    }
    let percent = |l: &String| l.split_once("P2 ").unwrap().1.split_once('%').unwrap().0.parse::<u8>().unwrap();
    assert!(progress.is_sorted_by_key(|l| percent(l)), "{progress:#?}");
}

/// Runs steps of their own on figure 4's disk, after its declarations.
fn steps(pc: &mut Pc, steps: &str) {
    pc.cd = set().with_logic(&format!("logic 1\n{}{steps}\n", set().declarations())).iso;
}

/// A step that either holds as `yes` or as `no`, with its own line as expected.
fn expect_step(pc: &mut Pc, step: &str, outcome: &str) {
    let otherwise = if step.starts_with("set") { "" } else { " else no" };
    steps(pc, &format!("one {step}{otherwise}\nyes hold \"yes\"\nno hold \"no\""));
    let ending = pc.start();
    let said: Vec<&str> = pc.log().into_iter().filter(|l| l.starts_with("one ")).collect();
    assert_eq!(said, [format!("one {step} = {outcome}")], "everything said: {:#?}", pc.lines);
    let label = if outcome.starts_with("ok") || step.starts_with("set") { "hold yes" } else { "hold no" };
    assert_eq!(word(&ending), label, "after `{step}` = {outcome}");
}

/// A restored machine with this record on both partitions.
fn with_record(lines: &str) -> Pc {
    let mut pc = restored();
    for n in 0..2 {
        set().put_state(&mut pc, n, &record::sector(lines));
    }
    pc
}

#[test]
fn conditions_answer_from_bstate() {
    let mut pc = with_record("sequence=9 P1=Clean P1.failures=2 P1.crashes=3 P1.why=it~fell P2=OK restores=4");
    for (step, outcome) in [
        ("if P1 is Clean", "ok"),
        ("if P1 is OK", "failed (it is Clean: it fell)"),
        ("if P2 is Dirty", "failed (it is OK)"),
        ("if P1 failures below 3", "ok (2)"),
        ("if P1 failures below 2", "failed (2)"),
        ("if P1 crashes below 4", "ok (3)"),
        ("if P1 crashes below 3", "failed (3)"),
        ("if P2 crashes below 1", "ok (0)"),
        ("if restores below 5", "ok (4)"),
        ("if restores below 4", "failed (4)"),
    ] {
        expect_step(&mut pc, step, outcome);
        assert!(pc.writes.is_empty() || pc.writes.len() == 2, "`{step}` writes {:?}", pc.writes);
    }
    let mut blank = set().blank();
    expect_step(&mut blank, "if restores below 1", "ok (no copy of bstate.txt tells of any)");
    expect_step(&mut blank, "if restores below 0", "failed (no copy of bstate.txt is readable)");
    expect_step(&mut blank, "if P1 failures below 9", "failed (no copy of bstate.txt is readable)");
    expect_step(&mut blank, "if P1 is Dirty", "failed (no copy of bstate.txt is readable)");
}

#[test]
fn counters_count_from_boot_to_boot() {
    let mut pc = with_states("OK", "OK");
    steps(&mut pc, "1 if P1 failures below 3 else 9\n2 set P1 Dirty\n3 boot P1\n9 hold \"three failures\"");
    for n in 1..=3 {
        assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "{:#?}", pc.lines);
        expect_state("boot", &pc, &format!("P1.failures={n} P1=Dirty booting=P1"));
    }
    assert_eq!(word(&pc.start()), "hold 9", "{:#?}", pc.lines);

    // A restore counts itself until an OS reports, also when the record on the image says 0.
    let mut pc = with_record("sequence=9 P1=OK P2=OK restores=4");
    steps(&mut pc, "1 if restores below 6 else 9\n2 restore system else 9\n3 restart\n9 hold \"enough\"");
    for n in 5..=6 {
        assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
        expect_state("restore", &pc, &format!("restores={n} P1=OK P2=OK"));
    }
    assert_eq!(word(&pc.start()), "hold 9", "{:#?}", pc.lines);
}

#[test]
fn set_says_why_and_when() {
    let mut pc = with_states("OK", "Clean");
    expect_step(&mut pc, "set P1 Clean", "ok");
    expect_state("set", &pc, "P1=Clean P1.why=one~set~Clean P1.failures=0");
    expect_step(&mut pc, "set P1 Dirty", "ok");
    expect_state("set", &pc, "P1=Dirty P1.why=one~set~Dirty P1.failures=1 P1.crashes=0");
    expect_step(&mut pc, "set P1 OK", "ok");
    let lines = record::lines(&set().state(&pc, 0)).unwrap();
    assert!(!lines.iter().any(|l| l.starts_with("P1.why")), "OK has no reason: {lines:#?}");
}

#[test]
fn one_partition_can_be_restored_and_nothing_else_is_touched() {
    let mut pc = with_states("OK", "Clean");
    pc.disks[0].poke(18432 * 512 + 40_000, b"damage");
    pc.disks[0].poke(2048 * 512 + 60_000, b"the user's data");
    pc.disks[0].allowed = vec![18432..18432 + 18432, set().state_at(0)..set().state_at(0) + 1];
    expect_step(&mut pc, "restore P2", "ok");
    assert_eq!(set().difference(&pc, 1), None, "P2 is not its image");
    assert!(set().difference(&pc, 0).is_some(), "P1 was restored as well");
    expect_state("restore P2", &pc, "P1=OK P2=OK restores=1");
}

#[test]
fn the_mbr_is_repaired_only_around_sound_partitions() {
    let mut pc = with_states("OK", "OK");
    let good = pc.disks[0].sector(0);
    pc.disks[0].poke(0, &[0; 440]);
    pc.disks[0].poke(446, &[0; 66]);
    pc.disks[0].allowed.truncate(1);
    expect_step(&mut pc, "repair mbr of system", "ok");
    assert!(pc.disks[0].sector(0) == good, "the repaired MBR is {:02x?}", pc.disks[0].sector(0));

    pc.disks[0].poke(510, &[0, 0]);
    break_p1(&mut pc);
    expect_step(&mut pc, "repair mbr of system", "ok");

    pc.disks[0].poke(510, &[0, 0]);
    pc.disks[0].poke(18432 * 512 + 1024 + 0x38, &[0, 0]);
    expect_step(&mut pc, "repair mbr of system", "ok");

    // Their beginnings are gone, and nothing of ours is anywhere else.
    pc.disks[0].poke(510, &[0, 0]);
    for n in 0..2 {
        pc.disks[0].poke(set().places[n].0 * 512, &[0; 4096]);
        let (start, sectors) = set().places[n];
        pc.disks[0].poke((start + 64) * 512, &vec![0xB7; (sectors as usize - 64) * 512]);
    }
    pc.disks[0].allowed.clear();
    pc.start();
    let said = pc.log().join("\n");
    assert!(
        said.contains("repair mbr of system = failed (no disk is system: drive 80 holds data that nobody can name"),
        "{said}"
    );
}

/// Nobody has said what is in an entry that is not declared, and so it stays.
#[test]
fn further_entries_of_the_table_outlive_everything() {
    let mut pc = with_states("OK", "OK");
    let extra = [0, 0, 0, 0, 0x0B, 0, 0, 0, 0, 144, 0, 0, 1, 1, 0, 0];
    pc.disks[0].poke(478, &extra);
    expect("extra", &mut pc, P1_BOOTS, "hand-off 80 entry 1");
    pc.disks[0].poke(100, &[0xFF]);
    expect(
        "code",
        &mut pc,
        &format!("202 verify mbr of system = failed (boot code differs from the CD's){RESTORED}"),
        "restart",
    );
    assert_eq!(pc.disks[0].bytes(0..1)[478..494], extra, "the third entry");
    expect("restored", &mut pc, P1_BOOTS, "hand-off 80 entry 1");
}

#[test]
fn the_other_steps_do_as_their_name_says() {
    let mut pc = with_states("OK", "OK");
    expect_step(&mut pc, "verify images", "ok");
    expect_step(&mut pc, "verify P2 quick", "ok (ext2/3/4)");
    expect_step(&mut pc, "activate P2", "ok");
    expect_step(&mut pc, "activate P2", "ok (it was)");
    assert_eq!((pc.disks[0].sector(0)[446], pc.disks[0].sector(0)[462]), (0, 0x80), "status bytes of P1 and P2");
    expect_step(&mut pc, "wait 3", "ok");
    assert!(pc.millis >= 3000, "the wait ended after {} ms", pc.millis);
    pc.key_at = Some(500);
    expect_step(&mut pc, "wait 3", "failed (a key was pressed)");
    assert!(pc.millis < 3000, "the key did not end the wait: {} ms", pc.millis);

    let mut pc = set().blank();
    let first = pack(&set().image_file(0).2[0]);
    let logic = set().logic.replace("202 verify mbr of system     else 256", "1 verify images else 299");
    pc.cd = set().with_logic(&logic).with_damaged_image(0, first).iso;
    assert_eq!(word(&pc.start()), "hold 299", "{:#?}", pc.lines);
    let reason = format!("images/fat.img is damaged on the CD: pack at byte {first}: its hash is wrong");
    assert_eq!(pc.log()[0], format!("1 verify images = failed ({reason})"));

    let mut pc = set().blank();
    steps(&mut pc, "notify \"look here\"\npoweroff");
    expect("poweroff", &mut pc, "- notify \"look here\" = ok\n- poweroff = ok", "poweroff");
    assert!(pc.beeps > 0, "notify beeps");
}

#[test]
fn a_watchdog_is_asked_for_as_the_step_says() {
    let mut pc = with_states("OK", "OK");
    expect_step(&mut pc, "watchdog 60", "failed (no watchdog found)");
    pc.watchdog = Some(Watchdog::I6300esb);
    expect_step(&mut pc, "watchdog 60", "ok (i6300ESB, 60 s)");
    assert_eq!(pc.asked, [(60, None)]);
    expect_step(&mut pc, "watchdog 29 ib700", "failed (no watchdog found)");
    assert_eq!(pc.asked, [(29, Some(Watchdog::Ib700))]);
    expect_step(&mut pc, "watchdog 600 I6300ESB", "ok (i6300ESB, 600 s)");
}

/// Where it stands between the two, one write still tells both that P1 is Dirty and that it is booting.
#[test]
fn a_watchdog_before_the_boot_costs_no_second_write() {
    let mut pc = with_states("OK", "OK");
    pc.watchdog = Some(Watchdog::Itco);
    steps(&mut pc, "1 set P1 Dirty\n2 watchdog 60 else 3\n3 boot P1\n4 hold \"no\"");
    let lines = "
        1 set P1 Dirty = ok
        2 watchdog 60 = ok (iTCO, 60 s)
        3 boot P1 = ok (drive 80, lba 2048)";
    expect("watchdog", &mut pc, lines, "hand-off 80 entry 1");
    assert_eq!(pc.writes.len(), 2, "one for each copy of bstate.txt: {:?}", pc.writes);
    expect_state("watchdog", &pc, "P1=Dirty booting=P1 P1.why=3~boot~begun,~not~confirmed");
}

#[test]
fn a_flow_that_goes_in_a_circle_ends_in_a_hold() {
    let mut pc = set().blank();
    steps(&mut pc, "a notify \"again\"\ngoto a");
    let ending = pc.start();
    assert_eq!(word(&ending), "hold -", "after {} lines", pc.lines.len());
    let last = pc.log().last().unwrap().to_string();
    assert!(last.contains("goes round in a circle"), "{last}");
}

#[test]
fn a_boot_without_a_valid_boot_sector_falls_through() {
    let mut pc = with_states("OK", "OK");
    break_p1(&mut pc);
    steps(&mut pc, "1 boot P1\n2 boot P2\n3 hold \"none\"");
    let lines = "
        1 boot P1 = failed (boot sector has no 55AA)
        2 boot P2 = ok (drive 80, lba 18432)";
    expect("boot", &mut pc, lines, "hand-off 80 entry 2");
    assert_eq!(record::value(&set().state(&pc, 1), "booting"), "P2", "the OS asks bstate.txt where it runs from");
}

/// A partition without an image is the user's: declared so that the table is whole, and never written.
#[test]
fn a_data_partition_outlives_every_restore() {
    let data = "partition DATA on system start 36864 sectors 4096 type 83\n";
    let declarations = set().declarations() + data;
    let flow = set().with_logic(&common::images::shipped("figure4.txt", &declarations));
    let mut pc = set().blank();
    pc.cd = flow.iso;
    let precious: Vec<u8> = (0..4096 * SECTOR).map(|n| (n % 251) as u8).collect();
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    pc.disks[0].poke(36864 * 512, &precious);
    pc.disks[0].poke(0, &[0; SECTOR]);
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    assert!(pc.disks[0].bytes(36864..40960) == precious, "the data partition was changed");
    assert_eq!(pc.disks[0].sector(0)[478 + 4], 0x83, "the third entry of the table");
    expect("data", &mut pc, P1_BOOTS, "hand-off 80 entry 1");
    assert!(pc.disks[0].bytes(36864..40960) == precious, "the data partition was changed");
}

#[test]
fn a_data_disk_may_be_gone_and_is_never_written() {
    let data = "disk store sectors 50000\npartition DATA on store start 64 sectors 1000 type 83\n";
    let flow = set().with_logic(&common::images::shipped("figure4.txt", &(set().declarations() + data)));
    let mut pc = set().blank();
    pc.cd = flow.iso;
    for there in [true, false] {
        pc.disks.truncate(1);
        if there {
            pc.disks.push(common::machine::Disk::blank(0x81, 50_000));
        }
        pc.disks[0].poke(0, &[0; SECTOR]);
        assert_eq!(word(&pc.start()), "restart", "data disk there: {there}; {:#?}", pc.lines);
        assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "data disk there: {there}; {:#?}", pc.lines);
    }
}

#[test]
fn an_unreadable_copy_of_bstate_is_written_anew() {
    for n in 0..2 {
        let mut pc = with_states("OK", "OK");
        pc.disks[0].unreadable.insert(set().state_at(n));
        let trouble = format!("- read bstate.txt = ok (P{}: BIOS status 10)\n208", n + 1);
        expect("unreadable", &mut pc, &P1_BOOTS.replace("208", &trouble), "hand-off 80 entry 1");
        expect_state("unreadable", &pc, "sequence=8 P1=Dirty P2=OK");
    }
}

/// With changes still in ext's journal, the block that the directory leads to may be another file's.
#[test]
fn a_place_that_the_journal_may_have_given_away_is_written_only_if_a_record_stands_there() {
    let journal_pending = |pc: &mut Pc| {
        let at = 18432 * 512 + 1024 + 0x60;
        let flags = pc.disks[0].bytes(18434..18435)[0x60];
        pc.disks[0].poke(at, &[flags | 4]);
    };
    let mut pc = with_states("OK", "OK");
    journal_pending(&mut pc);
    pc.start();
    assert_eq!(record::value(&set().state(&pc, 1), "P1"), "Dirty", "a record stands there, so it is kept up to date");

    let mut pc = with_states("OK", "OK");
    journal_pending(&mut pc);
    let precious = [0xA5; SECTOR];
    set().put_state(&mut pc, 1, &precious);
    pc.start();
    assert!(set().state(&pc, 1) == precious, "another file's block was overwritten");
    assert_eq!(record::value(&set().state(&pc, 0), "P1"), "Dirty", "the other copy has the state");
}
