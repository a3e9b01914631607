//! Errors of the disk and of the CD, at every place that matters, once and always; and a BIOS that reports success
//! when there was an error. What has to come of each stands in a table; and whatever comes of it, nothing is
//! written where nothing is declared.
//!
//! A failure names the fault; `FAULT='...' cargo test --release --test qemu faults` plays it again alone, and shows
//! what the machine says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use knownstate_core::bstate::{Partition, Record, State};

use crate::disk::run;
use crate::small::*;

/// What a machine finds when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// A good disk.
    Good,
    /// A disk with nothing on it, to be restored.
    Blank,
    /// P1 has damage in a file, to be healed.
    Damaged,
    /// P1 has failed three times, so that P2 is made active and booted.
    Spare,
    /// The table is gone, to be repaired.
    NoTable,
    /// Both have failed three times, so that all is restored.
    Failed,
}

impl Scene {
    fn disk(self) -> Vec<u8> {
        let failed = |name| Partition { state: State::Dirty, failures: 3, ..Partition::ok(name) };
        let record = |p2| Record { sequence: 100, partitions: vec![failed("P1"), p2], ..Record::default() };
        let mut disk = match self {
            Self::Blank => return blank(),
            Self::Spare => return with_record(&record(Partition::ok("P2"))),
            Self::Failed => return with_record(&record(failed("P2"))),
            _ => restored(),
        };
        match self {
            Self::Damaged => sector_mut(&mut disk, place(0, "f20")).fill(0xA5),
            Self::NoTable => sector_mut(&mut disk, 0).fill(0),
            _ => {}
        }
        disk
    }
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Io {
    Read,
    Write,
}

/// What a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The machine says and does what it does without the fault.
    Unnoticed,
    /// It comes up from this partition, from 0, and has said this.
    Up(usize, &'static str),
    /// It holds, and has said this.
    Holds(&'static str),
    /// The same, and nothing at all was written.
    HoldsAsItWas(&'static str),
    /// The CD's loader does not come up, says so with this letter, and the disk boots as it would without the CD.
    WithoutTheCd(&'static str),
}
use Outcome::{Holds, HoldsAsItWas, Unnoticed, Up, WithoutTheCd};

/// One machine.
struct Trial<'a> {
    scene: Scene,
    place: &'a str,
    /// 512-byte sector of the disk or of the CD.
    sector: u64,
    on_cd: bool,
    io: Io,
    once: bool,
    device: &'static [&'static str],
    wanted: Outcome,
}

impl Trial<'_> {
    fn name(&self) -> String {
        let (scene, io) = (format!("{:?}", self.scene).to_lowercase(), format!("{:?}", self.io).to_lowercase());
        let often = if self.once { "once" } else { "always" };
        let lies = if self.device == LIES { " unreported" } else { "" };
        format!("{scene}: {} {io} {often}{lies}", self.place)
    }

    /// Nothing if it went as it has to.
    fn fails(&self) -> Option<String> {
        let only = std::env::var("FAULT").ok();
        if only.as_ref().is_some_and(|only| *only != self.name()) {
            return None;
        }
        let before = self.scene.disk();
        let path = folder().join(format!("{}.img", self.name().replace([':', ' ', '\'', '.'], "-")));
        fs::write(&path, &before).expect("a disk can be written");
        let (cd, disk) = match self.on_cd {
            true => (self.drive(cd(), "cd"), plain(&path, "d")),
            false => (plain(cd(), "cd"), self.drive(&path, "d")),
        };
        let said = start(&cd, &disk, self.device, &[], self.patience());
        if only.is_some() {
            eprintln!("{}", said.text);
        }
        match self.judge(&said, &before, &path) {
            Ok(()) => fs::remove_file(path).expect("it is ours"),
            Err(why) => return Some(format!("FAULT='{}': {why}:\n{}", self.name(), said.text)),
        }
        None
    }

    /// blkdebug's words (QEMU's docs/devel/blkdebug.txt) for a drive with this fault.
    fn drive(&self, file: &Path, id: &str) -> String {
        let io = if self.io == Io::Read { "read" } else { "write" };
        format!(
            "driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={},\
            file.inject-error.0.event=none,file.inject-error.0.iotype={io},file.inject-error.0.errno=5,\
            file.inject-error.0.sector={},file.inject-error.0.once={},if=none,id={id}{}{}",
            file.display(),
            self.sector,
            if self.once { "on" } else { "off" },
            read_only(id),
            if id == "cd" { ",rerror=report" } else { ",rerror=report,werror=report,cache=unsafe" }
        )
    }

    /// A CD that never gets to the loader, and a disk that has nothing to boot, say nothing more.
    fn patience(&self) -> Duration {
        match self.wanted {
            WithoutTheCd(_) if self.scene == Scene::Blank => Duration::from_secs(3),
            _ => PATIENCE,
        }
    }

    fn judge(&self, said: &Said, before: &[u8], path: &Path) -> Result<(), String> {
        let after = &fs::read(path).expect("it is there")[..];
        is_untouched_beside(after)?;
        if let End::Lives(n) = said.end {
            // A heal does not look at what is not sealed: the rest of bstate.txt, and the seals.
            is_shipped(after, n).or_else(|_| has_every_file(path, n))?;
        }
        let (end, words) = match self.wanted {
            Unnoticed => {
                let lines = undisturbed(self.scene);
                if said.lines() != lines {
                    return Err(format!("without the fault it says {lines:#?}"));
                }
                return is_up(said, after);
            }
            Up(n, words) => (End::Lives(n), words),
            Holds(words) | HoldsAsItWas(words) => (End::Holds, words),
            WithoutTheCd(words) if self.scene == Scene::Blank => (End::Neither, words),
            WithoutTheCd(words) => (End::Lives(0), words),
        };
        if said.end != end {
            return Err(format!("{end:?} was expected, not {:?}", said.end));
        }
        if !said.text.contains(words) {
            return Err(format!("it does not say `{words}`"));
        }
        if matches!(self.wanted, HoldsAsItWas(_) | WithoutTheCd(_)) && before != after {
            return Err("the disk was written".to_string());
        }
        Ok(())
    }
}

/// What a machine says without any fault.
fn undisturbed(scene: Scene) -> Vec<String> {
    static ALL: [OnceLock<Vec<String>>; 6] = [const { OnceLock::new() }; 6];
    let said = ALL[scene as usize].get_or_init(|| {
        let path = folder().join(format!("undisturbed-{scene:?}.img"));
        fs::write(&path, scene.disk()).expect("a disk can be written");
        let said = start(&plain(cd(), "cd"), &plain(&path, "d"), AHCI, &[], PATIENCE);
        is_up(&said, &fs::read(&path).expect("it is there"))
            .unwrap_or_else(|why| panic!("without any fault, {scene:?}: {why}:\n{}", said.text));
        said.lines()
    });
    said.clone()
}

/// A line of the table: the scene, the place, what fails there, and what comes of it when it always fails. When
/// it fails once, nothing does.
type Row = (Scene, &'static str, Io, Outcome);

#[track_caller]
fn all_go_as_they_have_to(name: &str, rows: &[Row], once: Option<Outcome>, device: &'static [&'static str]) {
    let begun = Instant::now();
    let trial = |&(scene, place, io, always): &Row, only_once: bool| {
        let on_cd = place.starts_with("CD");
        let sector = if on_cd { place_on_cd(place) } else { place_on_disk(place) };
        let wanted = if only_once { once.unwrap_or(always) } else { always };
        Trial { scene, place, sector, on_cd, io, once: only_once, device, wanted }.fails()
    };
    let failures: Vec<String> =
        rows.iter().flat_map(|row| [true, false].map(|once| trial(row, once))).flatten().collect();
    let seconds = begun.elapsed().as_secs_f32();
    println!("{name}: {} faults, {} failures, {seconds:.0} s", rows.len() * 2, failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn place_on_disk(place: &str) -> u64 {
    let n = usize::from(place.starts_with("P2"));
    match place.trim_start_matches(['P', '1', '2', ' ']) {
        "MBR" => 0,
        "boot sector" => STARTS[n],
        "bstate.txt" => records()[n],
        "seal.0" => seals()[2 * n],
        "seal.1" => seals()[2 * n + 1],
        "file" => crate::small::place(n, "f20"),
        "last sector" => STARTS[n] + LENGTH - 1,
        "last sector of the disk" => SECTORS - 1,
        _ => panic!("no place is called {place}"),
    }
}

/// Where something is on the CD, as xorriso and ECMA-119 say, in 512-byte sectors.
fn place_on_cd(place: &str) -> u64 {
    let bytes = fs::read(cd()).expect("it was made");
    // ECMA-119 section 8.4.18: the root directory's record in the volume descriptor; 9.1.3: where it begins.
    let root = u64::from(u32::from_le_bytes(bytes[16 * 2048 + 158..][..4].try_into().expect("four bytes")));
    4 * match place {
        "CD volume descriptor" => 16,
        "CD root directory" => root,
        "CD logic.txt" => on_cd("/logic.txt").0,
        "CD mbr.bin" => on_cd("/mbr.bin").0,
        "CD image header" => on_cd("/images/one.img").0,
        "CD image table" => on_cd("/images/one.img").0 + 1,
        "CD image chunk" => {
            let (first, blocks) = on_cd("/images/one.img");
            first + blocks / 2
        }
        _ => panic!("no place is called {place}"),
    }
}

/// A file's first sector on the CD, and how many it has.
fn on_cd(path: &str) -> (u64, u64) {
    let listed =
        run(Command::new("xorriso").arg("-indev").arg(cd()).args(["-find", path, "-exec", "report_lba", "--"]));
    let line = listed.lines().find(|line| line.starts_with("File data lba:")).expect("it is on the CD");
    let numbers: Vec<u64> = line.split([':', ',']).filter_map(|word| word.trim().parse().ok()).collect();
    (numbers[1], numbers[2])
}

use Io::{Read, Write};
use Scene::{Blank, Damaged, Failed, Good, NoTable, Spare};

#[test]
fn a_good_disk_with_an_error() {
    let p1_fails = |words| Up(1, words);
    let rows = [
        (Good, "MBR", Read, Up(0, "verify mbr of system = failed (MBR unreadable: BIOS status 0C)")),
        (Good, "P1 boot sector", Read, p1_fails("206 verify P1 = failed (boot sector unreadable: BIOS status 0C)")),
        (Good, "P1 file", Read, p1_fails("206 verify P1 = failed (not as sealed: sectors")),
        (Good, "P1 last sector", Read, p1_fails("206 verify P1 = failed (not as sealed: sectors 1008 to 1023: /last")),
        (Good, "P1 bstate.txt", Read, Up(0, "read bstate.txt = ok (P1: BIOS status 0C)")),
        (Good, "P1 seal.0", Read, Up(0, "206 verify P1 = ok (FAT12")),
        (Good, "P1 seal.1", Read, Up(0, "206 verify P1 = ok (FAT12")),
        (Good, "P2 boot sector", Read, Up(0, "208 verify P2 quick = failed (boot sector unreadable: BIOS status 0C)")),
        (Good, "P2 bstate.txt", Read, Up(0, "read bstate.txt = ok (P2: BIOS status 0C)")),
        // Not looked at: P1 is good, and P2 needs no restore.
        (Good, "P2 file", Read, Unnoticed),
        (Good, "P2 last sector", Read, Unnoticed),
        (Good, "P2 seal.0", Read, Unnoticed),
        (Good, "last sector of the disk", Read, Unnoticed),
        // A good disk gets nothing but a new state.
        (Good, "MBR", Write, Unnoticed),
        (Good, "P1 boot sector", Write, Unnoticed),
        (Good, "P1 file", Write, Unnoticed),
        (Good, "P1 seal.0", Write, Unnoticed),
        (Good, "P2 boot sector", Write, Unnoticed),
        (Good, "P1 bstate.txt", Write, Up(0, "211 set P1 Dirty = ok (but not P1: BIOS status 0C)")),
        (Good, "P2 bstate.txt", Write, Up(0, "211 set P1 Dirty = ok (but not P2: BIOS status 0C)")),
        (Spare, "MBR", Write, Up(1, "232 activate P2 = failed (MBR not written: BIOS status 0C)")),
        // Both are to be restored, which P2 can't be: P1 can.
        (Spare, "P2 file", Read, Up(0, "260 restore system = failed (P2, sector ")),
        (Spare, "P2 last sector", Read, Up(0, "260 restore system = failed (P2, sector 1008 of it: BIOS status 0C)")),
        (Spare, "P2 seal.1", Read, Up(1, "234 verify P2 = ok (ext2/3/4")),
        (Spare, "P2 seal.0", Read, Up(1, "234 verify P2 = ok (ext2/3/4")),
    ];
    all_go_as_they_have_to("good disk", &rows, Some(Unnoticed), AHCI);
}

#[test]
fn a_restore_heal_or_repair_with_an_error() {
    let rows = [
        (Blank, "MBR", Write, Holds("260 restore system = failed (partition table not cleared: BIOS status 0C)")),
        (Blank, "P1 boot sector", Write, Up(1, "260 restore system = failed (P1, sector 0 of it: BIOS status 0C)")),
        (Blank, "P1 file", Write, Up(1, "260 restore system = failed (P1, sector ")),
        (Blank, "P1 last sector", Write, Up(1, "260 restore system = failed (P1, sector 1008 of it: BIOS status 0C)")),
        // Neither is sealed: what the first start could not restore, the second one heals.
        (Blank, "P1 bstate.txt", Write, Up(0, "260 restore system = failed (P1, sector ")),
        (Blank, "P1 seal.0", Write, Up(0, "260 restore system = failed (P1, sector ")),
        (Blank, "P2 boot sector", Write, Up(0, "260 restore system = failed (P2, sector 0 of it: BIOS status 0C)")),
        (Blank, "P2 bstate.txt", Write, Up(0, "260 restore system = failed (P2, sector ")),
        (Blank, "P2 last sector", Write, Up(0, "260 restore system = failed (P2, sector ")),
        (Blank, "last sector of the disk", Write, Unnoticed),
        (Blank, "MBR", Read, Holds("260 restore system = failed (partition table not cleared: BIOS status 0C)")),
        // Whether it is blank can't be told where something may be.
        (Blank, "P1 boot sector", Read, HoldsAsItWas("no disk is system: drive 80 can't be read at sector 64")),
        (Blank, "P1 file", Read, HoldsAsItWas("no disk is system: drive 80 can't be read at sector ")),
        (Blank, "last sector of the disk", Read, HoldsAsItWas("no disk is system: drive 80 can't be read at sector ")),
        (Blank, "P2 last sector", Read, HoldsAsItWas("no disk is system: drive 80 can't be read at sector 3071")),
        (Failed, "P1 boot sector", Read, Up(1, "260 restore system = failed (P1, sector 0 of it: BIOS status 0C)")),
        (Failed, "P1 file", Read, Up(1, "260 restore system = failed (P1, sector ")),
        (Failed, "MBR", Write, Up(0, "260 restore system = failed (partition table not cleared: BIOS status 0C)")),
        (Failed, "P1 bstate.txt", Write, Up(1, "260 restore system = failed (P1, sector ")),
        (Damaged, "P1 file", Write, Up(1, "220 heal P1 from P2 = failed (sectors")),
        (Damaged, "P1 file", Read, Up(1, "220 heal P1 from P2 = failed (sectors")),
        (Damaged, "P1 bstate.txt", Write, Up(0, "220 heal P1 from P2 = ok")),
        (NoTable, "MBR", Write, Up(0, "204 repair mbr of system = failed (MBR not written: BIOS status 0C)")),
    ];
    all_go_as_they_have_to("work", &rows, Some(Unnoticed), AHCI);
}

#[test]
fn a_cd_with_an_error() {
    let rows = [
        (Good, "CD volume descriptor", Read, WithoutTheCd("M")),
        (Good, "CD root directory", Read, HoldsAsItWas("- read logic.txt = failed (")),
        (Good, "CD logic.txt", Read, HoldsAsItWas("- read logic.txt = failed (")),
        (Good, "CD mbr.bin", Read, Up(0, "202 verify mbr of system = failed (")),
        // A good disk needs no image.
        (Good, "CD image header", Read, Unnoticed),
        (Good, "CD image table", Read, Unnoticed),
        (Good, "CD image chunk", Read, Unnoticed),
        (Blank, "CD volume descriptor", Read, WithoutTheCd("M")),
        (Blank, "CD root directory", Read, HoldsAsItWas("- read logic.txt = failed (")),
        (Blank, "CD logic.txt", Read, HoldsAsItWas("- read logic.txt = failed (")),
        (Blank, "CD mbr.bin", Read, HoldsAsItWas("260 restore system = failed (")),
        (Blank, "CD image header", Read, HoldsAsItWas("258 verify images = failed (")),
        (Blank, "CD image table", Read, HoldsAsItWas("258 verify images = failed (")),
        (Blank, "CD image chunk", Read, HoldsAsItWas("258 verify images = failed (")),
    ];
    all_go_as_they_have_to("CD", &rows, Some(Unnoticed), AHCI);
}

/// A write that was reported as done and is lost is found by reading back; a read that was reported as done and
/// moved nothing, by what stood in memory before.
#[test]
fn a_bios_that_lies() {
    const DIFFERS: &str = "read back differs from what was written";
    let rows = [
        (
            Good,
            "P1 bstate.txt",
            Write,
            Up(0, "211 set P1 Dirty = ok (but not P1: read back differs from what was written)"),
        ),
        (
            Good,
            "P2 bstate.txt",
            Write,
            Up(0, "211 set P1 Dirty = ok (but not P2: read back differs from what was written)"),
        ),
        (
            Spare,
            "MBR",
            Write,
            Up(1, "232 activate P2 = failed (MBR not written: read back differs from what was written)"),
        ),
        (Blank, "MBR", Write, Holds(DIFFERS)),
        (Blank, "P1 boot sector", Write, Up(1, "P1, sector 0 of it: read back differs from what was written")),
        (Blank, "P1 file", Write, Up(1, DIFFERS)),
        (Blank, "P2 last sector", Write, Up(0, DIFFERS)),
        (Blank, "P2 bstate.txt", Write, Up(0, DIFFERS)),
        (Damaged, "P1 file", Write, Up(1, DIFFERS)),
        (
            Good,
            "P1 boot sector",
            Read,
            Up(1, "206 verify P1 = failed (boot sector unreadable: fewer sectors moved than asked for)"),
        ),
        (Good, "P1 file", Read, Up(1, "206 verify P1 = failed (not as sealed: sectors")),
        (Good, "P1 bstate.txt", Read, Up(0, "read bstate.txt = ok (P1: fewer sectors moved than asked for)")),
        (Failed, "P1 file", Read, Up(1, "260 restore system = failed (P1, sector ")),
    ];
    all_go_as_they_have_to("lies", &rows, Some(Unnoticed), LIES);
}
