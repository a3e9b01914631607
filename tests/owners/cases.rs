//! Small disks that people have brought, each with the owner's own tool, and what is right for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::cds::{Cd, Shelf};
use super::content::{ALL, Content, md_0_90, md_1};
use super::file::{self, make, peek, poke, resize};
use super::layout::{on, pipe, sfdisk};
use super::machine::{self, Outcome};
use super::says;
use super::table::{self, Chain, raw};
use crate::common::devices::Loop;
use crate::common::hostile::Random;
use crate::common::machine::Pc;
use crate::common::tools::{knownstate, must, run, temporary, text};

/// The size that the shelf declares.
const SECTORS: u64 = 2_097_152;

static SHELF: LazyLock<Shelf> = LazyLock::new(Shelf::new);

/// What is done to a disk, and its name.
type Step = (&'static str, fn(&Path));

/// A folder for the disks of one case.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(temporary())
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A disk of the declared size with these lines of sfdisk.
    fn with_table(&self, lines: &str) -> PathBuf {
        let disk = self.disk("disk");
        sfdisk(&disk, SECTORS, lines);
        disk
    }

    /// The factory's disk of the default flow.
    fn ours(&self, name: &str) -> PathBuf {
        let disk = self.disk(name);
        default().factory(0, &disk);
        disk
    }
}

fn default() -> &'static Cd {
    SHELF.cd("default")
}

fn luks(disk: &Path, start: u64, sectors: u64) {
    Content::named("LUKS1").put(disk, start, sectors);
}

/// Everything that somebody needs to see why.
fn report(disk: &Path, outcome: &Outcome) -> String {
    let entries = table::all(disk);
    let names = says::everything(disk, &entries, file::sectors(disk));
    format!("{}\nblkid: {}; all: {names:?}\n{}", table::print(disk), says::blkid(disk), outcome.report())
}

/// Nothing is written and nothing booted, by the machine and by the tool.
#[track_caller]
fn untouched(cd: &Cd, disk: &Path) -> Outcome {
    let disks = [disk.to_path_buf()];
    let outcome = machine::run(cd, &disks);
    let still = outcome.writes.is_empty() && outcome.booted.is_none();
    assert!(still, "it is somebody's, and was written or booted\n{}", report(disk, &outcome));
    let (said, same) = machine::by_the_tool(cd, &disks, disk.parent().unwrap());
    assert_eq!(same, [true], "the tool wrote: {said}");
    outcome
}

/// The same, and the refusal names the owner.
#[track_caller]
fn somebodys(disk: &Path, owner: &[&str]) -> Outcome {
    let outcome = untouched(default(), disk);
    assert!(outcome.tells(owner), "the refusal names none of {owner:?}\n{}", report(disk, &outcome));
    outcome
}

/// Disk `which` is ours and boots.
#[track_caller]
fn boots(cd: &Cd, disks: &[PathBuf], which: usize) -> Outcome {
    let outcome = machine::run(cd, disks);
    assert_eq!(outcome.booted, Some(which), "it is ours, and did not boot\n{}", report(&disks[which], &outcome));
    outcome
}

/// A volume group in a partition, behind an entry that ends 2,113 sectors past the end: a BIOS that hides a disk's
/// tail does that.
#[test]
fn lvm_in_an_entry_that_ends_behind_the_disk() {
    let bench = Bench::new();
    let disk = bench.with_table("start=2048, size=204800, type=83");
    table::put(&disk, 0, 1, raw(0, 0x8E, 206_848, 1_892_417));
    Content::named("LVM").put(&disk, 206_848, SECTORS - 206_848);
    somebodys(&disk, &["LVM"]);
    untouched(SHELF.cd("signature"), &disk);
}

#[test]
fn luks_beside_an_odd_entry() {
    let odd: [(&str, u64, [u8; 16]); 5] = [
        ("ends behind the disk", 1, raw(0, 0x83, 206_848, 1_892_417)),
        ("status 81", 0, raw(0x81, 0x83, 2048, 204_800)),
        ("overlaps", 2, raw(0, 0x83, 206_900, 204_800)),
        ("starts at 0", 2, raw(0, 0x83, 0, 204_800)),
        ("size 0", 2, raw(0, 0x83, 409_600, 0)),
    ];
    for (what, slot, entry) in odd {
        let bench = Bench::new();
        let disk = bench.with_table("start=2048, size=204800, type=83\nstart=206848, size=204800, type=83");
        table::put(&disk, 0, slot, entry);
        luks(&disk, 206_848, 204_800);
        println!("{what}");
        somebodys(&disk, &["LUKS"]);
    }
}

#[test]
fn gpt_of_which_only_the_entry_is_left() {
    let bench = Bench::new();
    let disk = bench.disk("disk");
    make(&disk, SECTORS);
    table::put(&disk, 0, 0, raw(0, 0xEE, 1, 0xFFFF_FFFF));
    somebodys(&disk, &["GPT"]);
}

#[test]
fn gpt_of_a_larger_disk_without_its_first_header() {
    let bench = Bench::new();
    let disk = bench.disk("disk");
    make(&disk, SECTORS * 2);
    must("sgdisk", &["-n", "1:2048:4000000", text(&disk)]);
    resize(&disk, SECTORS);
    poke(&disk, 512, &[0; 512]);
    somebodys(&disk, &["GPT"]);
}

#[test]
fn gpt_whose_entry_is_second() {
    let bench = Bench::new();
    let disk = bench.disk("disk");
    make(&disk, SECTORS);
    must("sgdisk", &["-n", "1:2048:206847", text(&disk)]);
    must("sgdisk", &["-h", "1", text(&disk)]);
    // sgdisk puts EE first.
    let (ee, one) = (peek(&disk, 446, 16), peek(&disk, 462, 16));
    poke(&disk, 446, &[one, ee].concat());
    somebodys(&disk, &["GPT"]);
    poke(&disk, 512, &[0; 512]);
    poke(&disk, (SECTORS - 1) * 512, &[0; 512]);
    somebodys(&disk, &["GPT"]);
}

#[test]
fn a_logical_partition_made_anew() {
    let bench = Bench::new();
    let disk = bench.disk("disk");
    make(&disk, SECTORS);
    on(
        &disk,
        "parted -s -a none $disk mklabel msdos mkpart primary ext4 2048s 206847s mkpart extended 206848s 1026047s \
         mkpart logical ext4 208896s 300000s mkpart logical ext4 303104s 400000s mkpart logical ext4 403456s 500000s
         parted -s -a none $disk rm 5
         parted -s -a none $disk mkpart logical ext4 208896s 290000s >/dev/null",
    );
    luks(&disk, 208_896, 81_105);
    somebodys(&disk, &["LUKS"]);

    make(&disk, SECTORS);
    let keys = "o\nn\np\n1\n2048\n206847\nn\ne\n2\n206848\n1026047\nn\nl\n\n+50M\nn\nl\n\n+50M\nn\nl\n\n+50M\nd\n5\nn\nl\n\n+40M\nw\n";
    pipe(&disk, keys, "fdisk");
    let logical: Vec<_> = table::all(&disk).into_iter().filter(|e| e.slot.is_none()).collect();
    assert_eq!(logical.len(), 3, "{}", table::print(&disk));
    for entry in logical {
        let copy = bench.disk("copy");
        file::copy(&disk, &copy);
        luks(&copy, entry.start, entry.sectors);
        somebodys(&copy, &["LUKS"]);
    }
}

#[test]
fn extended_partitions_of_every_kind() {
    let plain = [(206_848, 208_896, 65_536), (307_200, 309_248, 65_536), (409_600, 411_648, 65_536)];
    let overlapping = [(206_848, 208_896, 100_000), (307_200, 309_248, 65_536), (409_600, 411_648, 65_536)];
    let backwards = [(206_848, 411_648, 65_536), (307_200, 309_248, 65_536), (208_896, 210_944, 65_536)];
    let mut chains: Vec<Chain> =
        table::EXTENDED.iter().map(|&kind| Chain { container: 206_848, kind, slots: (0, 1), links: &plain }).collect();
    let of = |slots, links| Chain { container: 206_848, kind: 5, slots, links };
    chains.extend([of((1, 0), &plain), of((2, 3), &plain), of((0, 1), &overlapping), of((0, 1), &backwards)]);
    for chain in chains {
        for &(_, start, sectors) in chain.links {
            let bench = Bench::new();
            let disk = bench.with_table("start=2048, size=204800, type=83");
            table::put(&disk, 0, 1, raw(0, chain.kind, 206_848, 1_000_000));
            chain.write(&disk);
            luks(&disk, start, sectors);
            println!("type {:02x}, slots {:?}, links {:?}, LUKS at {start}", chain.kind, chain.slots, chain.links);
            somebodys(&disk, &["LUKS"]);
        }
    }
}

/// The word by which a refusal names such a mark.
fn word(content: &Content) -> &'static str {
    match content.name {
        "ext2" | "ext4" => "ext",
        "FAT16" | "FAT32" => "FAT",
        "LUKS1" | "LUKS2" => "LUKS",
        "iso9660" => "9660",
        "UFS2" => "UFS",
        "HFS+" => "HFS",
        "gfs2" => "GFS",
        name if name.starts_with("md ") => "RAID",
        name => name.split_once([' ', ',']).map_or(name, |(first, _)| first),
    }
}

#[test]
fn a_whole_disk_of_every_owner() {
    for content in ALL {
        let bench = Bench::new();
        let disk = bench.disk("disk");
        make(&disk, SECTORS);
        content.put(&disk, 0, SECTORS);
        println!("{}", content.name);
        somebodys(&disk, &[word(content)]);
    }
}

#[test]
fn every_owner_in_a_plain_partition_behind_an_odd_entry() {
    for content in ALL.iter().filter(|c| c.least <= 700_000) {
        let bench = Bench::new();
        let disk = bench.with_table("start=2048, size=204800, type=83\nstart=206848, size=700000, type=83");
        table::put(&disk, 0, 2, raw(0, 0x83, 1_000_000, 1_200_000));
        content.put(&disk, 206_848, 700_000);
        println!("{}", content.name);
        let outcome = untouched(default(), &disk);
        let named = !says::everything(&disk, &table::all(&disk), SECTORS).is_empty();
        assert!(!named || outcome.tells(&[word(content)]), "it is not named\n{}", report(&disk, &outcome));
    }
}

#[test]
fn labels_of_other_machines() {
    for (label, word) in [("sun", "Sun"), ("mac", "Apple"), ("dvh", "SGI"), ("bsd", "BSD")] {
        let bench = Bench::new();
        let disk = bench.disk("disk");
        make(&disk, SECTORS);
        must("parted", &["-s", text(&disk), "mklabel", label]);
        println!("{label}");
        somebodys(&disk, &[word]);
    }
}

#[test]
fn ntfs_on_a_whole_disk_is_not_called_fat() {
    let bench = Bench::new();
    let disk = bench.disk("disk");
    make(&disk, SECTORS);
    Content::named("NTFS").put(&disk, 0, SECTORS);
    let outcome = somebodys(&disk, &["NTFS"]);
    assert!(!outcome.tells(&["a FAT"]), "{}", outcome.report());
}

#[test]
fn a_plain_disk_of_the_declared_size() {
    for (kind, content, word) in [("7", "NTFS", "NTFS"), ("83", "ext4", "ext")] {
        let bench = Bench::new();
        let disk =
            bench.with_table(&format!("start=2048, size=409600, type={kind}\nstart=411648, size=1685504, type={kind}"));
        Content::named(content).put(&disk, 2048, 409_600);
        Content::named(content).put(&disk, 411_648, 1_685_504);
        let outcome = somebodys(&disk, &[word]);
        let remedies = ["adopt", "signature", "wipefs", "blkdiscard"];
        assert!(outcome.tells(&remedies), "the refusal says nothing to do\n{}", outcome.report());
    }
}

#[test]
fn ours_grown_or_shrunk() {
    for sectors in [SECTORS * 2, SECTORS - 2113] {
        let bench = Bench::new();
        let disk = bench.ours("disk");
        resize(&disk, sectors);
        let outcome = boots(default(), &[disk], 0);
        assert!(outcome.tells(&[&sectors.to_string(), "larger", "shorter", "smaller"]), "{}", outcome.report());
    }
}

#[test]
fn ours_with_an_old_mark_and_without_mbr() {
    let marks: [Step; 3] = [
        ("ISO 9660", |disk| poke(disk, 32768, b"\x01CD001\x01\0")),
        ("GPT", |disk| poke(disk, (SECTORS - 1) * 512, b"EFI PART\0\0\x01\0\x5C\0\0\0")),
        ("md 0.90", |disk| Content::named("md 0.90").put(disk, 0, SECTORS)),
    ];
    for (what, mark) in marks {
        println!("{what}");
        let bench = Bench::new();
        let disk = bench.ours("disk");
        mark(&disk);
        boots(default(), std::slice::from_ref(&disk), 0);
        poke(&disk, 0, &[0; 512]);
        let outcome = boots(default(), std::slice::from_ref(&disk), 0);
        let map = outcome.pc.disks[0].bytes(0..1);
        assert_eq!(map[446..478], peek(&default().made(0), 446, 32), "the table is not back\n{}", outcome.report());
    }
}

#[test]
fn ours_beside_a_blank_disk() {
    let bench = Bench::new();
    let (ours, blank) = (bench.ours("ours"), bench.disk("blank"));
    make(&blank, SECTORS);
    for (disks, which) in [([ours.clone(), blank.clone()], 0), ([blank, ours], 1)] {
        let outcome = boots(default(), &disks, which);
        assert!(outcome.writes.iter().all(|w| w.0 == which), "{}", outcome.report());
    }
}

#[test]
fn ours_beside_a_stick() {
    let cd = SHELF.cd("at least");
    let bench = Bench::new();
    let (ours, stick) = (bench.disk("ours"), bench.disk("stick"));
    cd.factory(0, &ours);
    sfdisk(&stick, SECTORS * 2, "start=2048, size=4192256, type=c");
    Content::named("FAT32").put(&stick, 2048, 4_192_256);
    for (disks, which) in [([ours.clone(), stick.clone()], 0), ([stick, ours], 1)] {
        let outcome = boots(cd, &disks, which);
        assert!(outcome.writes.iter().all(|w| w.0 == which), "{}", outcome.report());
    }
}

#[test]
fn two_of_one_fleet() {
    let bench = Bench::new();
    let disks = ["one", "two"].map(|name| {
        let disk = bench.disk(name);
        must(
            env!("CARGO_BIN_EXE_knownstate"),
            &["provision", text(&default().iso_path), "--disk", &format!("system={}", text(&disk))],
        );
        disk
    });
    assert_eq!(peek(&disks[0], 440, 4), peek(&disks[1], 440, 4));
    let outcome = machine::run(default(), &disks);
    let which = outcome.booted.expect("one of two that are alike boots");
    let records: Vec<u64> = default().parts.iter().map(|p| default().state_at(p)).collect();
    let odd = outcome.writes.iter().find(|w| w.0 != which || w.2 != 1 || !records.contains(&w.1));
    assert_eq!(odd, None, "more than bstate.txt was written\n{}", outcome.report());
}

/// A person at a factory names the wrong disk.
#[test]
fn provision_and_inspect_name_the_owner() {
    let owners: [Step; 3] = [
        ("GPT", |disk| drop(must("sgdisk", &["-n", "1:2048:5000", text(disk)]))),
        ("LVM", |disk| Content::named("LVM").put(disk, 0, SECTORS)),
        ("ZFS", |disk| Content::named("ZFS").put(disk, 0, SECTORS)),
    ];
    for (owner, put) in owners {
        let bench = Bench::new();
        let (disk, before) = (bench.disk("disk"), bench.disk("before"));
        make(&disk, SECTORS);
        put(&disk);
        file::copy(&disk, &before);
        let device = Loop::of(&disk);
        let path = device.as_ref().map_or(text(&disk), |device| &device.path).to_string();
        let iso = text(&default().iso_path);
        let ran = knownstate(&["provision", iso, "--disk", &format!("system={path}"), "--confirm", &path]);
        drop(device);
        assert!(ran.code != 0 && file::same(&disk, &before), "{owner}: {}{}", ran.out, ran.err);
        let named = |text: &str| text.to_lowercase().contains(&owner.to_lowercase());
        let remedy = ["wipefs", "blkdiscard", "adopt", "zero"].iter().any(|word| ran.err.contains(word));
        assert!(named(&ran.err) && remedy, "{owner}: neither owner nor remedy: {}", ran.err);
        let ran = knownstate(&["inspect", text(&disk), "--logic", "iso/logic/default.txt"]);
        assert!(named(&ran.out), "{owner}: inspect says: {}{}", ran.out, ran.err);
    }
}

#[test]
fn ours_that_somebody_has_reused() {
    type Reuse = (&'static str, fn(&Path), &'static str);
    let reused: [Reuse; 5] = [
        ("ext4 over all", |disk| Content::named("ext4").put(disk, 0, SECTORS), "ext"),
        ("a LUKS header at the beginning", |disk| luks(disk, 0, SECTORS), "LUKS"),
        ("ext4 in one partition", |disk| one_partition(disk, "ext4"), "ext"),
        ("LUKS in one partition", |disk| one_partition(disk, "LUKS1"), "LUKS"),
        ("a volume group over all", |disk| Content::named("LVM").put(disk, 0, SECTORS), "LVM"),
    ];
    for (what, reuse, owner) in reused {
        let bench = Bench::new();
        let disk = bench.ours("disk");
        let record = |n: usize| peek(&disk, default().state_at(&default().parts[n]) * 512, 9);
        reuse(&disk);
        println!("{what}");
        assert!((0..2).any(|n| record(n) == b"sequence="), "no old record is left, so nothing is tried");
        somebodys(&disk, &[owner]);
    }
}

/// One partition to the end, in the place of ours, on a table that is made anew.
fn one_partition(disk: &Path, content: &str) {
    let said = pipe(disk, "label: dos\n2048,,83\n", "sfdisk -q --no-tell-kernel --wipe never --wipe-partitions never");
    assert!(said.is_empty(), "{said}");
    Content::named(content).put(disk, 2048, SECTORS - 2048);
}

#[test]
fn the_table_alone_proves_nothing() {
    let shipped = fs::read_to_string("iso/logic/one-partition.txt").unwrap();
    let logic = shipped
        .replace("disk system sectors 2097152", "disk system sectors 2097152..")
        .replace("start 2048 sectors 409600 type 0c", "start 2048 sectors 2095104 type 83");
    let cd = Cd::new(SHELF.folder(), "one over all", &logic);
    let bench = Bench::new();
    let disk = bench.with_table("2048,,83");
    luks(&disk, 2048, SECTORS - 2048);
    untouched(&cd, &disk);
}

#[test]
fn a_new_layout_keeps_what_the_old_one_had() {
    let shipped = fs::read_to_string("iso/logic/default.txt").unwrap();
    let logic = |one: &str, two: &str, data: &str| {
        let (head, steps) = shipped.split_once("\npartition P1").unwrap();
        let steps = steps.split_once("image system.img\n\n").unwrap().1;
        format!(
            "{head}\npartition P1 on system {one} type 0c image system.img\npartition P2 on system {two} type 0c \
            image system.img\npartition DATA on system {data} type 83 protect none\n\n{steps}"
        )
    };
    let old = logic("start 2048 sectors 409600", "start 411648 sectors 409600", "start 821248 sectors 1000000");
    let new = logic("start 2048 sectors 512000", "start 514048 sectors 512000", "start 1026048 sectors 1000000");
    let (old, new) = (Cd::new(SHELF.folder(), "old map", &old), Cd::new(SHELF.folder(), "new map", &new));
    let bench = Bench::new();
    let disk = bench.disk("disk");
    old.factory(0, &disk);
    Content::named("ext4").put(&disk, 821_248, 1_000_000);
    let data = table::all(&disk).into_iter().find(|e| e.start == 821_248).unwrap();
    let outcome = machine::run(&new, std::slice::from_ref(&disk));
    assert_eq!(outcome.inside(0, &data), [], "it wrote into DATA\n{}", report(&disk, &outcome));
    let entry = outcome.pc.disks[0].bytes(0..1)[478..494].to_vec();
    assert_eq!(entry, peek(&disk, 478, 16), "DATA's entry is gone\n{}", report(&disk, &outcome));
    assert!(outcome.tells(&["entry 3", "DATA", "821248"]), "nothing is said of DATA\n{}", report(&disk, &outcome));
}

/// A restored disk of a flow that restores at once, after these bytes were put on it and every head was destroyed.
fn restored_over(bench: &Bench, marks: &[(u64, Vec<u8>)]) -> (PathBuf, Outcome) {
    let cd = SHELF.cd("figure4");
    let disk = bench.disk("disk");
    cd.factory(0, &disk);
    marks.iter().for_each(|(at, bytes)| poke(&disk, *at, bytes));
    cd.parts.iter().for_each(|part| poke(&disk, part.start * 512, &[0; 512]));
    let outcome = boots(cd, std::slice::from_ref(&disk), 0);
    assert!(outcome.log.iter().any(|l| l.starts_with("256 restore system = ok")), "{}", outcome.report());
    let after = bench.disk("after");
    file::copy(&disk, &after);
    for at in outcome.changed(0) {
        poke(&after, at * 512, &outcome.pc.disks[0].sector(at));
    }
    (after, outcome)
}

#[test]
fn a_restore_clears_a_mark_in_a_partitions_tail() {
    let bench = Bench::new();
    let part = &SHELF.cd("figure4").parts[1];
    let mark = md_1((part.sectors - 16) & !7, part.sectors);
    let mark: Vec<_> = mark.into_iter().map(|(at, bytes)| (part.start * 512 + at, bytes)).collect();
    let (disk, outcome) = restored_over(&bench, &mark);
    assert_eq!(said_of(&disk, part.start, part.sectors), "vfat", "{}", report(&disk, &outcome));
}

/// What blkid takes a partition for: a RAID's member where both stand.
fn said_of(disk: &Path, start: u64, sectors: u64) -> String {
    let (offset, size) = ((start * 512).to_string(), (sectors * 512).to_string());
    run("blkid", &["-p", "-o", "value", "-s", "TYPE", "-O", &offset, "-S", &size, text(disk)]).out.trim().to_string()
}

#[test]
fn a_restore_clears_a_mark_behind_the_partitions() {
    let bench = Bench::new();
    // With both the signature and the boot code altered the disk has to be searched, and so the mark is read.
    let mut done = md_0_90(SECTORS);
    done.push((300, vec![0x5A; 144]));
    let (disk, outcome) = restored_over(&bench, &done);
    let left: Vec<_> = says::wipefs(&disk).into_iter().filter(|m| m.name != "dos").collect();
    assert_eq!(left, [], "{}", report(&disk, &outcome));
}

#[test]
fn data_that_nobody_can_name() {
    let bench = Bench::new();
    let disk = bench.disk("disk");
    make(&disk, SECTORS);
    let mut random = Random::new(17);
    let noise: Vec<u8> = (0..1 << 20).flat_map(|_| random.next().to_le_bytes()).collect();
    poke(&disk, 0, &noise);
    untouched(default(), &disk);
}

/// What all this must not prevent.
#[test]
fn a_blank_disk_is_restored_and_boots() {
    let bench = Bench::new();
    let ends = [(0, 1 << 20), (SECTORS * 512 - (1 << 20), 1 << 20)];
    for filler in [0x00, 0xFF] {
        let disk = bench.disk("disk");
        make(&disk, SECTORS);
        ends.iter().for_each(|&(at, length)| poke(&disk, at, &vec![filler; length]));
        boots(default(), &[disk], 0);
    }
}

/// Disks in a machine, some of which the firmware calls removable.
fn with_removable(cd: &Cd, disks: &[PathBuf], removable: &[usize]) -> Outcome {
    let loaded = disks.iter().zip(0x80..).map(|(path, drive)| file::load(drive, path)).collect();
    let mut pc = Pc::new(cd.iso.clone(), loaded);
    removable.iter().for_each(|&n| pc.disks[n].info.removable = true);
    machine::start(pc)
}

#[test]
fn a_removable_disk_is_written_only_if_it_is_ours() {
    let bench = Bench::new();
    let (ours, blank) = (bench.ours("ours"), bench.disk("blank"));
    make(&blank, SECTORS);
    let outcome = with_removable(default(), std::slice::from_ref(&blank), &[0]);
    assert!(outcome.writes.is_empty() && outcome.booted.is_none(), "{}", report(&blank, &outcome));
    let outcome = with_removable(default(), &[ours], &[0]);
    assert_eq!(outcome.booted, Some(0), "{}", outcome.report());
}

/// What a maker says who wants used disks to be taken.
#[test]
fn adopt_takes_the_one_used_disk() {
    let shipped = fs::read_to_string("iso/logic/default.txt").unwrap();
    let logic = shipped.replace("disk system sectors 2097152", "disk system sectors 2097152 adopt");
    let cd = Cd::new(SHELF.folder(), "adopt", &logic);
    let bench = Bench::new();
    let used = ["one", "two"].map(|name| {
        let disk = bench.disk(name);
        sfdisk(&disk, SECTORS, "start=2048, size=409600, type=7\nstart=411648, size=1685504, type=7");
        Content::named("NTFS").put(&disk, 2048, 409_600);
        disk
    });
    boots(&cd, &used[..1], 0);
    let outcome = machine::run(&cd, &used);
    assert!(outcome.writes.is_empty() && outcome.booted.is_none(), "which of two?\n{}", outcome.report());
    let outcome = with_removable(&cd, &used[..1], &[0]);
    assert!(outcome.writes.is_empty() && outcome.booted.is_none(), "it is removable\n{}", outcome.report());
    // What is ours is never given up for it.
    let ours = bench.ours("ours");
    let outcome = boots(&cd, &[used[0].clone(), ours], 1);
    assert!(outcome.writes.iter().all(|w| w.0 == 1), "{}", outcome.report());
}
