//! Whose a disk is, and what may be written to it (docs/DISKS.md): whole flows on a machine in memory, which ends the
//! test at any write outside of what a test allows. Here is what the tests share.

#[path = "../common/mod.rs"]
mod common;

mod costs;
mod proofs;
mod reading;
mod several;
mod writes;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use common::images::{Set, figure4_set};
use common::machine::{Disk, Pc};
use knownstate_core::disks::default_signature;
use knownstate_core::logic;
use knownstate_core::logic::{DiskIndex, Program};
use knownstate_core::media::mbr::{CODE_BYTES, Entry, Mbr};
use knownstate_core::media::note::Note;

/// The size of the declared disk. It is a multiple of nothing, so that what stands at a disk's end has to be looked
/// for from the right end; and there is more in its middle than its first and its last MiB.
const SECTORS: u64 = 20_013;
/// A signature that some tests declare, and one that nobody does.
const SIGNATURE: u32 = 0x1234_5678;
const OTHER: u32 = 0x0BAD_CAFE;
/// Where P1 and P2 begin, how long both are, and the second place of a note.
const P1: u64 = 2048;
const P2: u64 = 3072;
const LENGTH: u64 = 1024;
const SECOND: u64 = P1 - 1;
/// What begins a LUKS volume (cryptsetup docs/on-disk-format.pdf).
const LUKS: &[u8] = b"LUKS\xBA\xBE\0\x01";

/// Every step that may write, and some that only read.
const STEPS: [&str; 9] = [
    "verify mbr of system",
    "verify P1 quick",
    "if P1 is OK",
    "set P1 Clean",
    "activate P2",
    "repair mbr of system",
    "heal P1",
    "restore P1",
    "restore system",
];

/// Figure 4 on a FAT image (P1) and an ext image (P2), the smallest that there are.
fn base() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| figure4_set(512, "-F 12", 512, "-t ext2"))
}

/// The declared partitions.
fn partitions() -> String {
    base().logic.lines().filter(|l| l.starts_with("partition")).map(|l| format!("{l}\n")).collect()
}

/// The CD with `options` behind the declared disk's size, `more` declarations, and these steps, each of which is
/// carried out whatever the one before came to.
fn cd(options: &str, more: &str, steps: &[&str]) -> Set {
    declared(&format!("{more}disk system sectors {SECTORS}{options}\n{}", partitions()), steps)
}

/// The same with all declarations.
fn declared(declarations: &str, steps: &[&str]) -> Set {
    let mut logic = format!("logic 1\n{declarations}");
    for (n, step) in steps.iter().enumerate() {
        let otherwise = if ["set", "boot"].iter().any(|verb| step.starts_with(verb)) {
            String::new()
        } else {
            format!(" else {}", n + 1)
        };
        logic.push_str(&format!("{n} {step}{otherwise}\n"));
    }
    logic.push_str(&format!("{} hold \"end\"\n", steps.len()));
    logic::parse(&logic).unwrap_or_else(|d| panic!("{d:?} in\n{logic}"));
    Set { disk_sectors: SECTORS, ..base().with_logic(&logic) }
}

/// A start of the CD on a machine with these disks, which the BIOS numbers in this order.
fn start(set: &Set, disks: Vec<Disk>) -> Pc {
    let mut pc = Pc::new(set.iso.clone(), disks);
    for (n, disk) in pc.disks.iter_mut().enumerate() {
        disk.info.drive = 0x80 + n as u8;
    }
    pc.start();
    assert!(!pc.log().iter().any(|l| l.contains("read logic.txt")), "{:#?}", pc.lines);
    pc
}

/// What a step came to: "ok", or more.
fn said<'a>(pc: &'a Pc, step: &str) -> &'a str {
    let result = |line: &'a str| line.split_once(' ')?.1.strip_prefix(step)?.strip_prefix(" = ");
    pc.log().into_iter().find_map(result).unwrap_or_else(|| panic!("{step} was not carried out: {:#?}", pc.lines))
}

fn is_ok(pc: &Pc, step: &str) -> bool {
    said(pc, step).starts_with("ok")
}

/// Checks that a step failed for a reason with these words.
fn failed(name: &str, pc: &Pc, step: &str, words: &[&str]) {
    let said = said(pc, step);
    let all = said.starts_with("failed") && words.iter().all(|word| said.contains(word));
    assert!(all, "{name}: {step} came to `{said}`, expected a failure that tells {words:?}");
}

/// Checks that a step was carried out.
fn done(name: &str, pc: &Pc, step: &str) {
    assert!(is_ok(pc, step), "{name}: {step} failed: {:#?}", pc.lines);
}

/// What a disk is said to be, of several the best.
fn whose(set_options: &str, more: &str, disks: Vec<Disk>) -> String {
    let states = ["ours", "blank", "foreign", "unclear"];
    let steps = states.map(|state| format!("if system is {state}"));
    let pc = start(&cd(set_options, more, &steps.each_ref().map(String::as_str)), disks);
    let is: Vec<&str> = states.into_iter().zip(&steps).filter(|(_, step)| is_ok(&pc, step)).map(|(s, _)| s).collect();
    assert!(is.len() < 2, "it is {is:?}");
    is.first().map_or("none", |is| *is).to_string()
}

/// Checks what a disk is, and that no step writes it; the reason of the refusal has these words.
fn refused(name: &str, options: &str, disk: &Disk, state: &str, words: &[&str]) {
    let disk = untouchable(disk);
    assert_eq!(whose(options, "", vec![disk.clone()]), state, "{name}: what the disk is");
    let pc = start(&cd(options, "", &STEPS), vec![disk]);
    assert!(pc.writes.is_empty(), "{name}: writes {:?}", pc.writes);
    failed(name, &pc, "restore system", &[&["drive 80"], words].concat());
    for step in STEPS {
        assert!(!is_ok(&pc, step), "{name}: {step} was carried out: {:#?}", pc.lines);
    }
}

fn blank() -> Disk {
    Disk::blank(0x80, SECTORS)
}

/// A disk whose sectors 0 and 2047 and declared partitions may be written.
fn writable(disk: &Disk) -> Disk {
    let places = base().places.iter().map(|&(start, sectors)| start..start + sectors);
    let allowed = [0..1, SECOND..P1].into_iter().chain(places).collect();
    Disk { allowed, ..disk.clone() }
}

/// A disk that may be written there and nowhere else.
fn only(disk: &Disk, sectors: Range<u64>) -> Disk {
    let mut disk = untouchable(disk);
    disk.allowed.push(sectors);
    disk
}

fn untouchable(disk: &Disk) -> Disk {
    Disk { allowed: Vec::new(), ..disk.clone() }
}

/// A disk that the CD has restored.
fn restored(options: &str, more: &str) -> Disk {
    let mut pc = start(&cd(options, more, &["restore system"]), vec![writable(&blank())]);
    done("restoring a blank disk", &pc, "restore system");
    untouchable(&pc.disks.remove(0))
}

/// One that the plain CD has restored.
fn ours() -> Disk {
    static DISK: OnceLock<Disk> = OnceLock::new();
    DISK.get_or_init(|| restored("", "")).clone()
}

/// The same without its partitions: nothing but sector 0 is on it.
fn table_only() -> Disk {
    let mut disk = blank();
    disk.poke(0, &ours().sector(0));
    disk
}

/// The same, nothing but the map, with this signature.
fn map_only(signature: u32) -> Disk {
    let mut disk = table_only();
    disk.poke(0, &[0; 440]);
    disk.poke(440, &signature.to_le_bytes());
    disk
}

/// Puts an entry into a table, in slot 0 to 3; `table` is the sector that it stands in.
fn entry(disk: &mut Disk, table: u64, slot: u64, kind: u8, start: u32, sectors: u32) {
    let at = table * 512 + 446 + 16 * slot;
    disk.poke(at, &[0, 0, 0, 0, kind, 0, 0, 0]);
    disk.poke(at + 8, &[start.to_le_bytes(), sectors.to_le_bytes()].concat());
    disk.poke(table * 512 + 510, &[0x55, 0xAA]);
}

/// A table entry's 16 bytes.
fn raw_entry(disk: &Disk, slot: usize) -> Vec<u8> {
    disk.sector(0)[446 + 16 * slot..][..16].to_vec()
}

fn program(set: &Set) -> (Program, DiskIndex) {
    let program = logic::parse(&set.logic).unwrap();
    let disk = program.disk_indexes().next().unwrap();
    (program, disk)
}

/// The signature that a restore gives the disk where none is declared.
fn own_signature() -> u32 {
    let (program, disk) = program(&cd("", "", &[]));
    default_signature(program.disk(disk))
}

fn map_entry(active: bool, kind: u8, start: u32, sectors: u32) -> Entry {
    Entry { active, kind, start, sectors }
}

/// The declared table.
fn declared_map() -> [Entry; 4] {
    let (p1, p2) = (map_entry(true, 6, 2048, 1024), map_entry(false, 0x83, 3072, 1024));
    [p1, p2, Entry::default(), Entry::default()]
}

/// A note of a restore of this map.
fn note(map: &[Entry; 4], signature: u32, cd: &str) -> [u8; 512] {
    Note { mbr: Mbr::new(map, &[0; CODE_BYTES], signature), cd: cd.to_string(), set: Some(7) }.to_sector()
}

/// The disk's bytes are these of the other one, but for the sectors that `aside` says.
fn unchanged(disk: &Disk, before: &Disk, aside: &[u64]) -> Result<(), u64> {
    let differs = |&n: &u64| !aside.contains(&n) && disk.sector(n) != before.sector(n);
    (0..before.info.sectors).find(differs).map_or(Ok(()), Err)
}

/// The same CD image, for a test that needs no other.
fn bytes_of(set: &Set) -> Arc<Vec<u8>> {
    set.iso.clone()
}
