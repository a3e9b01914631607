//! By what a disk is proved to be ours, and by what it is not: table, note and content.

use crate::common::images::{figure4_on, state_sector};
use crate::common::record::{self, crc32};
use crate::common::seals::sectors_of;
use crate::common::tools;
use crate::*;
use knownstate_core::table::Header;
use knownstate_core::units::SectorCount;

/// Puts a record in both places of bstate.txt.
fn put_records(disk: &mut Disk, lines: &str) {
    for n in 0..2 {
        disk.poke(base().state_at(n) * 512, &record::sector(lines));
    }
}

const LINES: &str = "P1=OK P1.failures=0 P1.crashes=0 P2=OK P2.failures=0 P2.crashes=0 restores=1";

/// Takes every seal of both partitions away.
fn void_seals(disk: &mut Disk) {
    void_seals_behind(disk, 0);
}

/// The same where both stand so many sectors behind their places.
fn void_seals_behind(disk: &mut Disk, behind: u64) {
    let whole = ours();
    for &(start, sectors) in &base().places {
        for seal in knownstate_core::table::SEALS {
            for sector in sectors_of(&whole.bytes(start..start + sectors), start, seal) {
                disk.poke((sector + behind) * 512, &[0; 512]);
            }
        }
    }
}

/// The standard boot code in an MBR that has nothing else of ours.
fn with_code(mut disk: Disk) -> Disk {
    disk.poke(0, &ours().sector(0)[..440]);
    disk
}

#[test]
fn the_map_takes_one_more_thing_to_be_a_proof() {
    let signed = " signature 12345678";
    let table = [
        ("declared signature", signed, map_only(SIGNATURE), "ours"),
        ("declared signature, lost, and boot code", signed, with_code(map_only(0)), "ours"),
        ("declared signature, lost", signed, map_only(0), "unclear"),
        ("standard boot code", "", with_code(map_only(OTHER)), "ours"),
        ("our default signature", "", map_only(own_signature()), "ours"),
        ("nothing else", "", map_only(OTHER), "unclear"),
        ("no signature", "", map_only(0), "unclear"),
        ("`mbr any`: standard boot code", " mbr any", with_code(map_only(OTHER)), "unclear"),
        ("`mbr any`: default signature", " mbr any", map_only(own_signature()), "ours"),
        ("`mbr any`: declared signature", " signature 12345678 mbr any", map_only(SIGNATURE), "ours"),
    ];
    for (name, options, disk, is) in table {
        assert_eq!(whose(options, "", vec![disk.clone()]), is, "{name}");
        if is == "unclear" {
            refused(name, options, &disk, "unclear", &["`signature`", "`adopt`"]);
        }
    }
    // By content, whatever code and signature are.
    for (name, options) in [("content", ""), ("`mbr any`: content", " mbr any")] {
        let mut disk = ours();
        disk.poke(0, &map_only(OTHER).sector(0));
        assert_eq!(whose(options, "", vec![disk]), "ours", "{name}");
    }
}

/// A CD of a maker with boot code of his own, which others have too.
#[test]
fn boot_code_of_a_file_proves_nothing() {
    let folder = tools::temporary();
    let path = folder.path();
    crate::common::images::fat(path, "fat.img", 512, "-F 12");
    crate::common::images::ext(path, "ext.img", 512, "-t ext2");
    crate::common::images::boot_code(path, "ext.img");
    let set = figure4_on(path, [("fat.img", "06"), ("ext.img", "83")]);
    let code = [0x5A; 440];
    std::fs::write(path.join("code.bin"), code).unwrap();
    let logic = set.logic.replacen("8192\n", "8192 mbr code.bin\n", 1);
    let iso = crate::common::images::build(path, &logic);
    let set = Set { iso, logic, ..set };
    let steps = "logic 1\ndisk system sectors 8192 mbr code.bin\n".to_string()
        + &set
            .declarations()
            .lines()
            .filter(|l| l.starts_with("partition"))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
        + "1 if system is unclear else 2\n2 restore system else 3\n3 hold \"end\"\n";
    let set = set.with_logic(&steps);
    let mut disk = Disk::blank(0x80, 8192);
    disk.poke(0, &map_only(OTHER).sector(0));
    disk.poke(0, &code);
    let pc = start(&set, vec![disk.clone()]);
    done("with the code of `mbr FILE`", &pc, "if system is unclear");
    failed("with the code of `mbr FILE`", &pc, "restore system", &["nothing else says that it is ours"]);
    // The same disk is ours by the default signature.
    disk.poke(440, &own_signature().to_le_bytes());
    failed("with our signature", &start(&set, vec![writable(&disk)]), "if system is unclear", &["it is ours"]);
}

#[test]
fn a_signature_that_differs_disproves_whatever_else_is_there() {
    let mut disk = ours();
    disk.poke(440, &OTHER.to_le_bytes());
    // It has the map, the standard boot code, and whole partitions with our records.
    assert_eq!(whose("", "", vec![disk.clone()]), "ours");
    refused("another one is declared", " signature 12345678", &disk, "unclear", &["0BADCAFE"]);
    let data = "disk data sectors 5000 signature 0BADCAFE\npartition D on data start 64 sectors 64 type 83\n";
    let set = cd("", data, &[]);
    let (set_all, pc) = (cd("", data, &STEPS), vec![disk.clone()]);
    assert_eq!(set.disk_sectors, SECTORS);
    let steps: Vec<&str> = STEPS.to_vec();
    let pc = start(&set_all, pc);
    assert!(pc.writes.is_empty());
    for step in steps {
        assert!(!is_ok(&pc, step), "declared for another disk: {step}: {:#?}", pc.lines);
    }
    // Content without the table, and a note.
    let mut lost = disk.clone();
    lost.poke(446, &[0; 64]);
    refused("no table, content", " signature 12345678", &lost, "foreign", &["partition table without partitions"]);
    let mut begun = blank();
    begun.poke(0, &note(&declared_map(), OTHER, ""));
    assert_eq!(whose("", "", vec![begun.clone()]), "ours");
    assert_ne!(whose(" signature 12345678", "", vec![begun]), "ours");
}

/// The map alone is proof enough of a disk that no step ever writes.
#[test]
fn a_disk_without_images_is_known_by_its_map_and_never_written() {
    let declarations = "disk data sectors 5000 mbr any\npartition D on data start 64 sectors 64 type 83\n\
        partition E on data start 128 sectors 64 type 83\n";
    let mut disk = Disk::blank(0x80, 5000);
    entry(&mut disk, 0, 0, 0x83, 64, 64);
    entry(&mut disk, 0, 1, 0x83, 128, 64);
    disk.poke(446, &[0x80]);
    let mut boot = [0; 512];
    boot[..2].copy_from_slice(&[0xEB, 0xFE]);
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.poke(64 * 512, &boot);
    let steps = ["if data is ours", "verify mbr of data", "activate E", "repair mbr of data", "activate D", "boot D"];
    let pc = start(&declared(declarations, &steps), vec![disk.clone()]);
    done("ours", &pc, "if data is ours");
    done("ours", &pc, "verify mbr of data");
    for step in ["activate E", "repair mbr of data"] {
        failed("never written", &pc, step, &["never written"]);
    }
    assert!(pc.writes.is_empty(), "{:?}", pc.writes);
    assert!(pc.log().last().unwrap().starts_with("5 boot D"), "it does not boot: {:#?}", pc.lines);
    // Nor is one that is blank, or that may be adopted.
    for options in ["", " adopt"] {
        let declarations = declarations.replace(" mbr any", &format!(" mbr any{options}"));
        let blank = Disk::blank(0x80, 5000);
        let pc = start(&declared(&declarations, &["repair mbr of data", "activate D", "if data is ours"]), vec![blank]);
        assert!(pc.writes.is_empty() && !is_ok(&pc, "if data is ours"), "{:#?}", pc.lines);
    }
    // A signature that differs disproves here as well.
    let signed = declarations.replace(" mbr any", " signature 12345678 mbr any");
    disk.poke(440, &OTHER.to_le_bytes());
    assert!(!is_ok(&start(&declared(&signed, &["if data is ours"]), vec![disk]), "if data is ours"));
}

/// The layout of docs/DISKS.md, byte by byte, written without the code under test.
#[test]
fn a_note_is_laid_out_as_described() {
    let mut pc = start(&cd("", "cd \"Acme 7\" version 3\n", &[]), vec![writable(&blank())]);
    assert!(pc.writes.is_empty());
    pc = Pc::new(
        cd(" signature 12345678", "cd \"Acme 7\" version 3\n", &["restore system"]).iso,
        vec![writable(&blank())],
    );
    pc.cut = Some(crate::common::machine::Cut { write: 5, sectors: 0, next: crate::common::machine::Torn::Old });
    pc.start();
    let sector = pc.disks[0].sector(0);
    assert!(sector == pc.disks[0].sector(SECOND), "both places say the same");
    let long = |at: usize| u32::from_le_bytes(sector[at..at + 4].try_into().unwrap());
    assert_eq!(&sector[..40], b"Knownstate: restore begun, not finished\n");
    let whole = restored(" signature 12345678", "cd \"Acme 7\" version 3\n");
    assert_eq!(sector[40..104], whole.sector(0)[446..510], "the table that the disk is to have");
    assert_eq!(&sector[104..128], b"Acme 7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!((long(128), long(132)), (1, 1), "the set's number: the first random one of this machine");
    let sum = crc32(&[&sector[..136], &sector[440..444]].concat());
    assert_eq!(long(136), sum, "the sum");
    assert!(sector[140..440].iter().chain(&sector[444..496]).all(|b| *b == 0));
    assert_eq!(long(440), SIGNATURE);
    assert_eq!(&sector[496..], b"Knownstate: note");
    assert_ne!(sector[510..], [0x55, 0xAA], "a BIOS would boot it");
}

/// The note in sector 0: of this map all, of another map of the same CD `restore D`, of any other nothing.
#[test]
fn a_note_proves_by_its_map_and_its_cd() {
    let mut other = declared_map();
    other[1] = map_entry(false, 0x83, 4096, 1024);
    let (name, plain) = ("cd \"Acme\" version 3\n", "");
    let was = "cd \"Acme\" was \"Old\" version 3\n";
    let steps = ["if system is ours", "repair mbr of system", "restore P1", "restore system"];
    let table = [
        ("this map", plain, declared_map(), "", [true, true, true]),
        ("this map of another CD", name, declared_map(), "Other", [true, true, true]),
        ("another map of this CD", name, other, "Acme", [true, false, true]),
        ("another map of a CD that this one was", was, other, "Old", [true, false, true]),
        ("another map of another CD", name, other, "Other", [false; 3]),
        ("another map of a CD without a name", name, other, "", [false; 3]),
        ("another map, and this CD has no name", plain, other, "Acme", [false; 3]),
    ];
    for (name, more, map, of, [ours, restore_p1, restore]) in table {
        let mut disk = writable(&blank());
        disk.poke(0, &note(&map, 7, of));
        // Without the note it is somebody's.
        disk.poke((SECTORS - 1) * 512 + 7, &[1]);
        let pc = start(&cd("", more, &steps), vec![disk]);
        assert_eq!(is_ok(&pc, "if system is ours"), ours, "{name}: {:#?}", pc.lines);
        assert_eq!(is_ok(&pc, "restore P1"), restore_p1, "{name}: {:#?}", pc.lines);
        assert_eq!(is_ok(&pc, "restore system"), restore, "{name}: {:#?}", pc.lines);
        if of == "Acme" && ours {
            failed(name, &pc, "repair mbr of system", &["another layout"]);
        }
    }
}

/// Half a note says nothing, in either place; and a disk with nothing else on it is blank all the same.
#[test]
fn a_note_that_was_torn_is_none() {
    let whole = note(&declared_map(), 7, "");
    let mut front = [0; 512];
    front[..256].copy_from_slice(&whole[..256]);
    let mut back = [0; 512];
    back[256..].copy_from_slice(&whole[256..]);
    let mut flipped = whole;
    flipped[50] ^= 1;
    for (name, torn) in
        [("its first half", front), ("its second half", back), ("a bit", flipped), ("one byte", [0xA5; 512])]
    {
        for at in [0, SECOND] {
            let mut disk = writable(&blank());
            disk.poke(at * 512, &torn);
            assert_eq!(whose("", "", vec![disk.clone()]), "blank", "{name} at sector {at}");
            let pc = start(&cd("", "", &["restore system"]), vec![disk]);
            done(name, &pc, "restore system");
            assert!(pc.disks[0].sector(SECOND) == [0; 512], "{name}: the second place is not cleared");
        }
        // Beside a whole one it does no harm.
        for (torn_at, whole_at) in [(0, SECOND), (SECOND, 0)] {
            let mut disk = blank();
            disk.poke(torn_at * 512, &torn);
            disk.poke(whole_at * 512, &whole);
            assert_eq!(whose("", "", vec![disk]), "ours", "{name} at sector {torn_at}");
        }
    }
    // What is neither is somebody's, in these places too.
    for at in [0, SECOND] {
        let mut noise = blank();
        let bytes: Vec<u8> = (0..512).map(|n| (n * 7) as u8).collect();
        noise.poke(at * 512, &bytes);
        refused("noise", "", &noise, "foreign", &[&format!("data that nobody can name, at sector {at}")]);
    }
}

#[test]
fn the_second_place_counts_only_where_sector_0_says_nothing_else() {
    let second = |first: &[u8]| {
        let mut disk = blank();
        disk.poke(SECOND * 512, &note(&declared_map(), 7, ""));
        disk.poke(0, first);
        disk
    };
    let mut fat = [0; 512];
    fat.copy_from_slice(&base().images[0][..512]);
    let mut luks = [0; 512];
    luks[..8].copy_from_slice(LUKS);
    let mut somebodys = blank();
    entry(&mut somebodys, 0, 0, 0x07, 63, 1000);
    let mut empty = blank();
    entry(&mut empty, 0, 0, 0, 0, 0);
    let noise: Vec<u8> = (0..510).map(|n| (n * 7) as u8).collect();
    let table = [
        ("nothing", vec![0; 512], "ours"),
        ("noise without a table", noise, "ours"),
        ("this map", map_only(OTHER).sector(0).to_vec(), "ours"),
        ("a table of somebody's", somebodys.sector(0).to_vec(), "foreign"),
        ("a table without partitions", empty.sector(0).to_vec(), "foreign"),
        ("a filesystem", fat.to_vec(), "foreign"),
        ("LUKS", luks.to_vec(), "foreign"),
    ];
    for (name, first, is) in table {
        assert_eq!(whose("", "", vec![second(&first)]), is, "{name} in sector 0");
    }
    let mut unreadable = second(&[]);
    unreadable.unreadable.insert(0);
    assert_eq!(whose("", "", vec![unreadable]), "ours", "an unreadable sector 0");
    // A mark behind sector 0 counts as well.
    let mut pv = second(&[]);
    pv.poke(512, b"LABELONE");
    refused("a PV", "", &pv, "foreign", &["LVM at sector 1"]);
}

/// `check` refuses a first partition that leaves no place for it.
#[test]
fn no_partition_starts_at_sector_1() {
    let logic = "logic 1\ndisk d sectors 9000\npartition P on d start 1 sectors 100 type 83\n1 hold \"end\"\n";
    let said = format!("{:?}", logic::parse(logic).unwrap_err());
    assert!(said.contains("start"), "{said}");
    assert!(logic::parse(&logic.replace("start 1 ", "start 2 ")).is_ok());
}

/// The second place is written first and cleared last; and any start that finds the map whole clears it, however it
/// ends.
#[test]
fn a_start_that_finds_the_map_whole_clears_the_second_note() {
    let pc = start(&cd("", "", &["restore system"]), vec![writable(&blank())]);
    let mut order: Vec<u64> = pc.writes.iter().map(|(_, at, _)| *at).filter(|at| *at < P1).collect();
    order.dedup();
    assert_eq!(order, [SECOND, 0, SECOND], "it is written first, and cleared last");
    assert_eq!(pc.writes[pc.writes.len() - 2..], [(0, 0, 1), (0, SECOND, 1)], "nothing comes behind the MBR but that");
    for (name, steps) in [
        ("verify", &["verify mbr of system"][..]),
        ("verify P1", &["verify P1 quick"]),
        ("a hand-off", &["boot P1"]),
        ("if", &["if P1 is OK"]),
    ] {
        for what in [note(&declared_map(), own_signature(), ""), {
            let mut half = [0; 512];
            half[..256].copy_from_slice(&note(&declared_map(), 7, "")[..256]);
            half
        }] {
            let mut disk = writable(&ours());
            disk.poke(SECOND * 512, &what);
            let pc = start(&cd("", "", steps), vec![disk]);
            assert!(pc.disks[0].sector(SECOND) == [0; 512], "{name}: it is still there: {:#?}", pc.lines);
        }
    }
    // Nobody else's bytes there are touched.
    let mut disk = untouchable(&ours());
    disk.poke(SECOND * 512, b"GRUB keeps its core image here");
    start(&cd("", "", &["verify mbr of system"]), vec![disk]);
}

#[test]
fn bstate_txt_in_a_filesystem_at_its_place_proves() {
    for (name, gone) in [("P1 alone", P2), ("P2 alone", P1)] {
        let mut disk = ours();
        disk.poke(0, &[0; 512]);
        void_seals(&mut disk);
        disk.poke(gone * 512, &vec![0; LENGTH as usize * 512]);
        assert_eq!(whose("", "", vec![disk.clone()]), "ours", "{name}");
        let pc = start(&cd("", "", &["repair mbr of system"]), vec![writable(&disk)]);
        done(name, &pc, "repair mbr of system");
    }
    // A record that a person has edited counts there; one that names nobody of ours does not.
    let table = [
        ("edited", "P1=OK\n".to_string(), "ours"),
        ("of others", "DATA=OK\nROOT=Clean\n".to_string(), "foreign"),
        ("noise", "hello\n".to_string(), "foreign"),
    ];
    for (name, text, is) in table {
        let mut disk = ours();
        disk.poke(0, &[0; 512]);
        void_seals(&mut disk);
        for n in 0..2 {
            disk.poke(base().state_at(n) * 512, &record::padded(&text));
        }
        assert_eq!(whose("", "", vec![disk]), is, "{name}");
    }
}

/// A seal in the filesystem proves where no record does.
#[test]
fn a_seal_of_the_partitions_length_proves() {
    let mut disk = ours();
    disk.poke(0, &[0; 512]);
    for n in 0..2 {
        disk.poke(base().state_at(n) * 512, &[0xFF; 512]);
    }
    assert_eq!(whose("", "", vec![disk.clone()]), "ours");
    done("by a seal", &start(&cd("", "", &["repair mbr of system"]), vec![writable(&disk)]), "repair mbr of system");
    // One of another length does not, and where there is none nothing does.
    let (mut others, mut changed) = (disk.clone(), 0);
    for &(start, sectors) in &base().places {
        for seal in knownstate_core::table::SEALS {
            let at = sectors_of(&ours().bytes(start..start + sectors), start, seal)[0];
            let Ok(header) = Header::parse(&others.sector(at)) else { continue };
            // The second one is empty yet.
            if header.sectors != SectorCount(LENGTH) {
                continue;
            }
            changed += 1;
            others.poke(at * 512, &Header { sectors: SectorCount(LENGTH - 8), ..header }.to_sector());
        }
    }
    assert_eq!(whose("", "", vec![others]), "foreign", "seals of another length");
    assert_eq!(changed, 2, "one of each partition");
    void_seals(&mut disk);
    assert_eq!(whose("", "", vec![disk]), "foreign", "no seals");
}

/// Where the beginnings are destroyed and nothing else is there, the record still stands where the image has it.
#[test]
fn destroyed_heads_hide_nothing() {
    for (n, start_of) in [(0, P1), (1, P2)] {
        let mut disk = ours();
        disk.poke(0, &[0; 512]);
        void_seals(&mut disk);
        let other = if n == 0 { P2 } else { P1 };
        disk.poke(other * 512, &vec![0; LENGTH as usize * 512]);
        let state = base().state_at(n);
        let head = (state - start_of).min(16);
        disk.poke(start_of * 512, &vec![0; head as usize * 512]);
        assert_eq!(whose("", "", vec![disk.clone()]), "ours", "P{}", n + 1);
        let pc = start(&cd("", "", &["restore system"]), vec![writable(&disk)]);
        done("destroyed heads", &pc, "restore system");
        // Not where somebody's mark is by now.
        let mut luks = disk.clone();
        luks.poke(start_of * 512, LUKS);
        assert_ne!(whose("", "", vec![luks]), "ours", "P{} is LUKS now", n + 1);
        // Nor what a person typed, which may be any text.
        let mut typed = disk;
        typed.poke(state * 512, &record::padded("P1=OK\n"));
        assert_ne!(whose("", "", vec![typed]), "ours", "P{}: text at the place", n + 1);
    }
    assert_eq!(base().state_at(0), P1 + state_sector(&base().images[0]));
}

/// The filesystem is there, and it is the image's, but nothing can be found in it any more.
#[test]
fn a_filesystem_without_its_directory_is_ours_still() {
    let mut disk = ours();
    disk.poke(0, &[0; 512]);
    disk.poke(P2 * 512, &[0; LENGTH as usize * 512]);
    // FATs and root directory; the record and the seals are in the data behind them.
    let record = base().state_at(0);
    disk.poke((P1 + 1) * 512, &vec![0; (record - P1 - 1) as usize * 512]);
    assert_eq!(whose("", "", vec![disk.clone()]), "ours");
    // Somebody's new filesystem there is another one.
    disk.poke(P1 * 512 + 39, b"\x12\x34\x56\x78");
    disk.poke(record * 512, &ours().sector(record));
    assert_eq!(whose("", "", vec![disk]), "foreign", "another serial number");
}

/// The same of a seal, where the record is lost with the head.
#[test]
fn a_seal_proves_where_the_head_is_destroyed() {
    let mut disk = ours();
    disk.poke(0, &[0; 512]);
    for n in 0..2 {
        disk.poke(base().state_at(n) * 512, &[0; 512]);
        disk.poke(base().places[n].0 * 512, &[0; 8 * 512]);
    }
    assert_eq!(whose("", "", vec![disk]), "ours");
}

/// An image that has no bstate.txt is known by its first 64 KiB.
#[test]
fn an_image_without_bstate_txt_is_known_by_its_beginning() {
    let folder = tools::temporary();
    let mut random = crate::common::hostile::Random::new(5);
    let raw: Vec<u8> = (0..256 << 10).map(|_| random.next() as u8).collect();
    std::fs::write(folder.path().join("raw.img"), &raw).unwrap();
    let declarations =
        "disk system sectors 20013\npartition P1 on system start 2048 sectors 1024 type 83 image raw.img\n";
    let steps = "1 if system is ours else 2\n2 repair mbr of system else 3\n3 hold \"end\"\n";
    let logic = format!("logic 1\n{declarations}{steps}");
    let iso = crate::common::images::build(folder.path(), &logic);
    let set = Set { iso, logic, ..base().clone() };
    let mut disk = writable(&blank());
    disk.poke(P1 * 512, &raw);
    let pc = start(&set, vec![disk.clone()]);
    done("the image", &pc, "if system is ours");
    done("the image", &pc, "repair mbr of system");
    for (at, ours) in [(0, false), (1, false), (64 << 10, true), ((64 << 10) - 1, false), (200 << 10, true)] {
        let mut changed = untouchable(&disk);
        let byte = P1 * 512 + at;
        changed.poke(byte, &[raw[at as usize] ^ 1]);
        changed.allowed = writable(&blank()).allowed;
        assert_eq!(is_ok(&start(&set, vec![changed]), "if system is ours"), ours, "byte {at} differs");
    }
}

/// With the CD's name where both sides have one, or a name that it had.
#[test]
fn a_record_of_another_cd_proves_nothing() {
    let named = "cd \"Acme\" version 3\n";
    let was = "cd \"Acme\" was \"Old\" \"Older\" version 3\n";
    let table = [
        ("no names", "", "", "ours"),
        ("the record has none", named, "", "ours"),
        ("the CD has none", "", "cd=Acme", "ours"),
        ("the same", named, "cd=Acme", "ours"),
        ("another", named, "cd=Other", "foreign"),
        ("one that it was", was, "cd=Older", "ours"),
        ("one that it was not", was, "cd=Oldest", "foreign"),
    ];
    for (name, more, line, is) in table {
        let mut disk = ours();
        disk.poke(0, &[0; 512]);
        void_seals(&mut disk);
        put_records(&mut disk, &format!("sequence=7 {line} {LINES}"));
        assert_eq!(whose("", more, vec![disk.clone()]), is, "{name}");
        // And in a destroyed partition.
        for &(start, _) in &base().places {
            disk.poke(start * 512, &[0; 8 * 512]);
        }
        assert_eq!(whose("", more, vec![disk]), is, "{name}, heads destroyed");
    }
}

/// For `restore D` a record counts at the start of any entry: the layout may have changed.
#[test]
fn another_layout_of_ours_is_restored_and_nothing_else() {
    let other = |content: fn(&mut Disk)| {
        let mut disk = blank();
        for (n, &(start, sectors)) in base().places.iter().enumerate() {
            let bytes = ours().bytes(start..start + sectors);
            disk.poke((start + 4500) * 512, &bytes);
            entry(&mut disk, 0, n as u64, if n == 0 { 6 } else { 0x83 }, start as u32 + 4500, sectors as u32);
        }
        content(&mut disk);
        disk
    };
    let disk = other(|_| {});
    assert_eq!(whose("", "", vec![disk.clone()]), "ours");
    let pc = start(&cd("", "", &STEPS), vec![writable(&disk)]);
    for step in &STEPS[..8] {
        assert!(!is_ok(&pc, step), "{step}: {:#?}", pc.lines);
    }
    failed("another layout", &pc, "repair mbr of system", &["another layout"]);
    done("another layout", &pc, "restore system");
    assert!(pc.disks[0].sector(0) == ours().sector(0), "the MBR is not the one of a restored disk");
    // By a seal as well, where the record is lost.
    let seals = other(|disk| (0..2).for_each(|n| disk.poke((base().state_at(n) + 4500) * 512, &[0xFF; 512])));
    assert_eq!(whose("", "", vec![seals]), "ours", "by a seal");
    // Not one of another CD.
    let others = other(|disk| {
        void_seals_behind(disk, 4500);
        for n in 0..2 {
            disk.poke((base().state_at(n) + 4500) * 512, &record::sector(&format!("sequence=7 cd=Other {LINES}")));
        }
    });
    assert_eq!(whose("", "cd \"Acme\" version 1\n", vec![others]), "foreign");
}

/// Somebody has made the whole disk his: content and note prove nothing any more.
#[test]
fn a_foreign_mark_at_the_disks_beginning_takes_the_disk() {
    let boot_sector = base().images[0][..512].to_vec();
    let marks: [(&str, u64, Vec<u8>); 5] = [
        ("LUKS", 0, LUKS.to_vec()),
        ("LVM", 512, b"LABELONE".to_vec()),
        ("FAT", 0, boot_sector),
        ("RAID", 4096, vec![0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]),
        ("GPT", 512, b"EFI PART".to_vec()),
    ];
    for (owner, at, mark) in marks {
        let mut content = ours();
        content.poke(0, &[0; 512]);
        content.poke(at, &mark);
        refused(&format!("{owner} over our partitions"), "", &content, "foreign", &[owner]);
        for place in [0, SECOND] {
            let mut noted = blank();
            noted.poke(place * 512, &note(&declared_map(), own_signature(), ""));
            if at > 0 || place > 0 {
                noted.poke(at, &mark);
                refused(&format!("{owner} and a note at {place}"), "", &noted, "foreign", &[owner]);
            }
        }
    }
}

/// A mark that is not at its beginning takes nothing: the disk is ours, and the mark is told.
#[test]
fn marks_elsewhere_leave_a_disk_ours() {
    let sectors = SECTORS;
    let marks: [(&str, u64, &[u8]); 3] = [
        ("ISO 9660", 64 * 512 + 1, b"CD001"),
        ("GPT", (sectors - 1) * 512, b"EFI PART"),
        ("RAID", (sectors / 128 - 1) * 128 * 512, &[0xFC, 0x4E, 0x2B, 0xA9]),
    ];
    for (owner, at, mark) in marks {
        let mut disk = ours();
        disk.poke(at, mark);
        assert_eq!(whose("", "", vec![disk.clone()]), "ours", "{owner}, the table whole");
        disk.poke(0, &[0; 512]);
        let pc = start(&cd("", "", &["repair mbr of system", "verify P1"]), vec![writable(&disk)]);
        done(owner, &pc, "repair mbr of system");
        done(owner, &pc, "verify P1");
        assert!(pc.log().iter().any(|l| l.starts_with("- disk system = ok") && l.contains(owner)), "{:#?}", pc.lines);
    }
}

/// Our disk, used by somebody for a partition of his own: our files are still readable at their places.
#[test]
fn an_entry_of_somebodys_over_the_place_takes_it() {
    let over = |kind: u8, change: fn(&mut Disk)| {
        let mut disk = ours();
        disk.poke(0, &[0; 512]);
        entry(&mut disk, 0, 0, kind, 1024, 18_000);
        change(&mut disk);
        disk
    };
    let luks = |d: &mut Disk| d.poke(1024 * 512, LUKS);
    let ext = |d: &mut Disk| d.poke(1024 * 512, &base().images[1][..4096]);
    let raid = |d: &mut Disk| d.poke((1024 + 18_000 - 16) * 512, &[0xFC, 0x4E, 0x2B, 0xA9]);
    let on_the_disk = |d: &mut Disk| d.poke((SECTORS - 2) * 512, b"Intel Raid ISM Cfg Sig. ");
    for (name, kind, change) in [
        ("LUKS in it", 0x83, luks as fn(&mut Disk)),
        ("ext in it", 0x83, ext),
        ("a RAID's end in it", 0x83, raid),
        ("a mark on the disk", 0x83, on_the_disk),
        ("its type names an owner", 0x8E, |_| {}),
    ] {
        refused(name, "", &over(kind, change), "foreign", &["carries "]);
    }
    // It is nobody's, so what our files say counts.
    assert_eq!(whose("", "", vec![over(0x83, |_| {})]), "ours", "an entry with nothing in it");
    // An entry over the place that begins with our own record is ours: P1 has grown.
    let mut grown = ours();
    entry(&mut grown, 0, 0, 6, 2048, 4000);
    entry(&mut grown, 0, 1, 0, 0, 0);
    grown.poke((SECTORS - 2) * 512, b"Intel Raid ISM Cfg Sig. ");
    assert_eq!(whose("", "", vec![grown]), "ours", "P1 has grown");
}

/// The same by the tools that somebody would use: a filesystem over the whole disk, or in one partition, of which the
/// record's places are left as they were.
#[test]
fn a_disk_that_somebody_has_reused_is_his() {
    let folder = tools::temporary();
    let path = folder.path();
    let whole = path.join("disk");
    let sfdisk = "printf 'label: dos\\nstart=2048, size=17000, type=83\\n' | sfdisk -q --no-tell-kernel disk";
    for (name, make) in [
        ("ext4 over the whole disk", "mke2fs -q -F -t ext4 -N 16 -O ^has_journal -E nodiscard disk".to_string()),
        (
            "ext4 in one partition",
            format!("{sfdisk}; mke2fs -q -F -t ext4 -N 16 -O ^has_journal -E nodiscard,offset=1048576 disk 8000k"),
        ),
        ("a FAT in one partition", format!("{sfdisk}; mkfs.vfat --offset 2048 disk 8000 >/dev/null")),
        (
            "LUKS in one partition",
            format!(
                "{sfdisk}; printf 'LUKS\\272\\276\\000\\001' | dd of=disk bs=512 seek=2048 conv=notrunc status=none"
            ),
        ),
    ] {
        ours().dump(&whole);
        tools::shell(path, &make);
        let disk = Disk::load(0x80, &whole);
        let left = (0..2).any(|n| disk.sector(base().state_at(n)) == ours().sector(base().state_at(n)));
        assert!(left, "{name}: no old record is left, so this tests little");
        refused(name, "", &disk, "foreign", &[]);
    }
}

/// A RAID or a volume group that is made in a partition leaves the first sectors of ours where they were.
#[test]
fn what_somebody_made_behind_our_head_is_his() {
    let md = [0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0];
    for (name, kind, mark) in [("md 1.2", 0xFD, Some(8)), ("md 1.2, by its mark", 0x83, Some(8)), ("LVM", 0x8E, None)] {
        let mut disk = ours();
        disk.poke(0, &[0; 512]);
        entry(&mut disk, 0, 0, kind, P1 as u32, 17_000);
        if let Some(sector) = mark {
            disk.poke((P1 + sector) * 512, &md);
        }
        refused(name, "", &disk, "foreign", &[]);
    }
    // A bit that has flipped in the type of our own entry is not somebody.
    let mut flipped = ours();
    flipped.poke(446 + 4, &[0x8E]);
    assert_eq!(whose("", "", vec![flipped]), "ours");
}

/// A table that is lost does not make a disk blank: what began in it is still there.
#[test]
fn a_partition_whose_table_is_lost_is_not_blank() {
    for at in [4096, 6144] {
        let mut disk = blank();
        disk.poke(at * 512, LUKS);
        refused("LUKS", "", &disk, "foreign", &["LUKS", &format!("sector {at}")]);
    }
}
