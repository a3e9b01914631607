//! `knownstate simulate`: the same lines and the same bytes as core on the machine in memory, every way to
//! steer it, and what it says when something is wrong with what it was given.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use common::images::{Set, boot_code, ext, fat, figure4_on};
use common::machine::{Pc, word};
use common::record;
use common::tools::{self, Ran, knownstate, shell, text};

/// Figure 4 on a FAT16 and an ext4 partition: a folder with logic.txt, both images and cd.iso.
struct Maker {
    folder: tempfile::TempDir,
    set: Set,
    restored: Pc,
}

fn maker() -> &'static Maker {
    static MAKER: OnceLock<Maker> = OnceLock::new();
    MAKER.get_or_init(|| {
        let folder = tools::temporary();
        fat(folder.path(), "fat.img", 8192, "-F 16 -s 2");
        ext(folder.path(), "ext.img", 9216, "-t ext4");
        boot_code(folder.path(), "ext.img");
        let set = figure4_on(folder.path(), [("fat.img", "06"), ("ext.img", "83")]);
        let restored = set.restored();
        Maker { folder, set, restored }
    })
}

/// A record with these states, newer than what a restore leaves.
fn with_states(p1: &str, p2: &str) -> Pc {
    let lines = format!("sequence=7 booting=P1 P1={p1} P1.failures=0 P1.crashes=0 ");
    let sector = record::sector(&(lines + &format!("P2={p2} P2.failures=0 P2.crashes=0 restores=0")));
    let mut pc = maker().restored.clone();
    (0..2).for_each(|n| maker().set.put_state(&mut pc, n, &sector));
    pc
}

/// A CD, and the disk of a machine, in files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn of(pc: &Pc) -> Self {
        let files = Self { folder: tools::temporary() };
        fs::write(files.path("cd.iso"), &pc.cd[..]).unwrap();
        pc.disks[0].dump(&files.path("disk.img"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the CD on the disk with these options more.
    fn simulate(&self, options: &[&str]) -> Ran {
        let disk = format!("system={}", text(&self.path("disk.img")));
        let cd = self.path("cd.iso");
        let mut words = vec!["simulate", text(&cd), "--disk", &disk];
        words.extend(options);
        knownstate(&words)
    }

    /// The same; standard output without times, after an expected exit code.
    #[track_caller]
    fn says(&self, options: &[&str], code: i32) -> Vec<String> {
        let ran = self.simulate(options);
        assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{options:?}:\n{}", ran.out);
        said(&ran.out)
    }

    fn disk(&self) -> Vec<u8> {
        fs::read(self.path("disk.img")).unwrap()
    }
}

/// Lines without their times, and without progress.
fn said(lines: &str) -> Vec<String> {
    let timeless = |line: &str| match line.split_once("] ") {
        Some((time, rest)) if time.starts_with('[') => rest.to_string(),
        _ => line.to_string(),
    };
    lines.lines().map(timeless).filter(|line| !line.ends_with(" s left")).collect()
}

/// The lines that contain one of these.
fn lines_with<'l>(lines: &'l [String], parts: &[&str]) -> Vec<&'l str> {
    lines.iter().map(String::as_str).filter(|line| parts.iter().any(|part| line.contains(part))).collect()
}

#[test]
fn lines_endings_and_bytes_are_those_of_the_machine_in_memory() {
    let poked = |pc: Pc, pokes: &[(u64, &[u8])]| {
        let mut pc = pc;
        pokes.iter().for_each(|(at, bytes)| pc.disks[0].poke(*at, bytes));
        pc
    };
    let good = || with_states("OK", "OK");
    let (p1, p2) = (2048 * 512, 18432 * 512);
    let with_logic = |steps: &str| {
        let set = &maker().set;
        let mut pc = good();
        pc.cd = set.with_logic(&format!("logic 1\n{}{steps}", set.declarations())).iso;
        pc
    };
    let table = [
        ("good", good(), 0),
        ("P1 Clean", with_states("Clean", "OK"), 0),
        ("P1 Dirty", with_states("Dirty", "OK"), 0),
        ("both Dirty", with_states("Dirty", "Dirty"), 0),
        ("P1 without 55AA", poked(good(), &[(p1 + 510, &[0, 0])]), 0),
        ("P1 without a filesystem", poked(good(), &[(p1, &[0; 512])]), 0),
        ("both damaged", poked(good(), &[(p1, &[0; 512]), (p2 + 510, &[0; 2])]), 0),
        ("a zeroed MBR", poked(good(), &[(0, &[0; 512])]), 0),
        ("somebody else's disk", poked(good(), &[(0, &[0; 512]), (512, b"EFI PART")]), 1),
        ("blank", maker().set.blank(), 0),
        ("poweroff", with_logic("1 set P1 Clean\npoweroff\n"), 0),
        ("a circle", with_logic("1 notify \"round\"\ngoto 1\n"), 1),
        ("a wait", with_logic("1 wait 86400 else 2\n2 hold \"no\"\n"), 1),
        ("a bad logic.txt", with_logic("1 bot P1\n"), 1),
    ];
    for (name, mut pc, code) in table {
        let files = Files::of(&pc);
        let lines = files.says(&["--write", "--starts", "1"], code);
        let ending = pc.start();
        assert_eq!(lines, said(&pc.lines.join("\n")), "{name}: left simulate's lines, right the machine's");
        assert_eq!(code == 1, word(&ending).starts_with("hold"), "{name}: {}", word(&ending));
        let disks = [files.disk(), pc.disks[0].bytes(0..pc.disks[0].info.sectors)].map(record::of_one_set);
        let differs = disks[0].chunks(512).zip(disks[1].chunks(512)).position(|(file, disk)| file != disk);
        assert_eq!(differs, None, "{name}: the first sector that differs");
    }
}

#[test]
fn only_with_write_is_a_disk_changed() {
    let files = Files::of(&maker().set.blank());
    let before = files.disk();
    let first = files.says(&[], 0);
    assert!(first.iter().any(|line| line == "256 restore system = ok"), "{first:#?}");
    assert!(files.disk() == before, "the disk was changed without --write");
    // What was written was there for the next start all the same.
    assert_eq!(first.last().unwrap(), "212 boot P1 = ok (drive 80, lba 2048)");
    // Not even a file that nobody may write to is opened for it.
    shell(files.folder.path(), "chmod a-w disk.img");
    assert_eq!(files.says(&[], 0), first, "a second time");
    shell(files.folder.path(), "chmod u+w disk.img");
    assert_eq!(files.says(&["--write"], 0), first, "with --write");
    assert_eq!(&files.disk()[510..512], [0x55, 0xAA], "with --write the disk is restored");
}

/// Zeros that go into holes are not stored.
#[test]
fn holes_stay_holes() {
    let files = Files::of(&maker().set.blank());
    shell(files.folder.path(), "s=$(stat -c %s disk.img); rm disk.img; truncate -s $s disk.img");
    files.says(&["--write"], 0);
    let kib: u64 = shell(files.folder.path(), "du -k disk.img | cut -f1").trim().parse().unwrap();
    let whole = files.disk();
    let stored = whole.chunks(4096).filter(|block| block.iter().any(|&b| b != 0)).count() as u64 * 4;
    // Blocks that are zero and stand where something else was before, and the filesystem's own.
    assert!(kib <= stored + 64, "{kib} KiB are stored for {stored} KiB that are not zero");
}

#[test]
fn a_restart_goes_on_with_the_next_start() {
    let files = Files::of(&maker().set.blank());
    let lines = files.says(&[], 0);
    let greeting = format!("- Knownstate {}", env!("CARGO_PKG_VERSION"));
    let again = lines.iter().position(|line| line == "- restart = ok").unwrap();
    assert_eq!(lines[again + 1..again + 3], ["", &greeting], "between two starts: {lines:#?}");
    assert_eq!(lines.iter().filter(|line| **line == greeting).count(), 2);
    assert_eq!(files.says(&["--starts", "1"], 0), lines[..=again], "--starts 1");
}

#[test]
fn a_flow_that_restarts_for_ever_ends_after_twenty_starts() {
    let set = &maker().set;
    let mut pc = with_states("OK", "OK");
    pc.cd = set.with_logic(&format!("logic 1\n{}1 restart\n", set.declarations())).iso;
    let lines = Files::of(&pc).says(&[], 1);
    assert_eq!(lines_with(&lines, &["restart = ok"]).len(), 20);
    assert_eq!(lines.last().unwrap(), "# 20 starts, and the last one asks for one more");
}

#[test]
fn a_step_fails_where_it_is_told_to() {
    let files = Files::of(&with_states("OK", "OK"));
    let verify = ["206 verify P1", "234 verify P2", "202 verify mbr", " boot P"];
    let failed = "206 verify P1 = failed (boot sector unreadable: BIOS status 80)";
    let good = "202 verify mbr of system = ok";
    let boots = |n: u8| match n {
        1 => "212 boot P1 = ok (drive 80, lba 2048)",
        _ => "242 boot P2 = ok (drive 80, lba 18432)",
    };
    let p1 = "206 verify P1 = ok (FAT16)".to_string();
    let lines = files.says(&["--fail", "206"], 0);
    let p2 = lines_with(&lines, &["234 verify P2 = ok"])[0].to_string();
    assert_eq!(lines_with(&lines, &verify), [good, failed, &p2, boots(2)]);
    // By its line, in the second start.
    let line = maker().set.logic.lines().position(|l| l.starts_with("206 ")).unwrap() + 1;
    let lines = files.says(&["--fail", &format!("2::{line}"), "--os", "ok"], 0);
    let full = lines_with(&lines, &["206 verify P1 = ok"])[0].to_string();
    assert!(full.starts_with(&p1[..p1.len() - 1]), "{full}");
    assert_eq!(lines_with(&lines, &verify), [good, &full, boots(1), good, failed, &p2, boots(2)]);
    // The Kth time, in a flow that comes by again.
    let set = &maker().set;
    let mut pc = with_states("OK", "OK");
    let steps = "1 if P1 is Dirty else 2\n2 verify P1 quick else 9\ngoto 1\n9 hold \"no\"\n";
    pc.cd = set.with_logic(&format!("logic 1\n{}{steps}", set.declarations())).iso;
    let lines = Files::of(&pc).says(&["--fail", "2#3"], 1);
    assert_eq!(lines_with(&lines, &["2 verify P1 quick = ok"]).len(), 2, "{lines:#?}");
    assert_eq!(lines_with(&lines, &["2 verify P1 quick = failed"]).len(), 1, "{lines:#?}");
}

#[test]
fn the_cd_and_a_key_are_parts_of_a_step_that_fails() {
    let set = &maker().set;
    let run = |steps: &str, options: &[&str], code| {
        let mut pc = with_states("OK", "OK");
        pc.cd = set.with_logic(&format!("logic 1\n{}{steps}", set.declarations())).iso;
        Files::of(&pc).says(options, code)
    };
    let lines = run("1 verify images else 2\nboot P1\n2 hold \"no\"\n", &["--fail", "1"], 1);
    assert!(lines[1].starts_with("1 verify images = failed (") && lines[1].contains("status 80"), "{lines:#?}");
    let steps = "1 wait 5 else 2\nboot P1\n2 hold \"no\"\n";
    assert_eq!(run(steps, &[], 0)[1], "1 wait 5 = ok");
    assert_eq!(run(steps, &["--fail", "1"], 1)[1], "1 wait 5 = failed (a key was pressed)");
}

#[test]
fn a_restore_fails_late_after_it_was_announced() {
    let files = Files::of(&with_states("Dirty", "Dirty"));
    let lines = files.says(&["--write", "--fail-late", "256"], 1);
    let restore = lines_with(&lines, &["256 restore"])[0];
    assert!(restore.starts_with("256 restore system = failed (P1, sector "), "{restore}");
    assert!(restore.ends_with("BIOS status 80)"), "{restore}");
    let disk = files.disk();
    let copies = disk.chunks(512).filter(|s| s.starts_with(b"sequence="));
    let begun = |s: &&[u8]| String::from_utf8_lossy(s).contains("P1.why=256 restore begun, not finished");
    assert_eq!(copies.filter(begun).count(), 2, "both copies have to say that a restore was begun");
    assert!(disk.starts_with(b"Knownstate: restore begun"), "and so has sector 0");
    // All of it fails where everything does: nothing was announced, and nothing is lost.
    let files = Files::of(&with_states("Dirty", "Dirty"));
    let lines = files.says(&["--write", "--fail", "256"], 1);
    assert!(
        lines_with(&lines, &["256 restore"])[0]
            .contains("= failed (no disk is system: drive 80 can't be read at sector ")
    );
    assert_eq!(&files.disk()[510..512], [0x55, 0xAA]);
}

#[test]
fn a_system_reports_what_a_system_would() {
    let files = Files::of(&with_states("OK", "OK"));
    let told = |os: &str| {
        let lines = files.says(&["--os", os], 0);
        let told = lines_with(&lines, &["# ", "if P", " boot P"]).join("\n");
        told.replace(" (drive 80, lba 2048)", "").replace(" (drive 80, lba 18432)", "")
    };
    let first = "208 if P1 is OK = ok\n212 boot P1 = ok";
    assert_eq!(told("ok"), format!("{first}\n# the system on P1 comes up and shuts down\n{first}"));
    let clean = "208 if P1 is OK = failed (it is Clean)\n216 if P1 is Clean = ok\n220 boot P1 = ok";
    assert_eq!(told("crash"), format!("{first}\n# the system on P1 comes up and crashes\n{clean}"));
    let dirty = "(it is Dirty: 212 boot begun, not confirmed)";
    let dirty = format!("208 if P1 is OK = failed {dirty}\n216 if P1 is Clean = failed {dirty}");
    let hung = format!("{first}\n# the system on P1 hangs\n{dirty}\n238 if P2 is OK = ok\n242 boot P2 = ok");
    assert_eq!(told("hang"), hung);
    assert_eq!(
        told("hang,ok"),
        format!("{hung}\n# the system on P2 comes up and shuts down\n{}", hung.split_once("hangs\n").unwrap().1)
    );
}

/// Reports are written to every copy, once for each, with nothing else changed.
#[test]
fn reports_reach_every_copy() {
    let files = Files::of(&with_states("OK", "Clean"));
    let at = |n| maker().set.state_at(n) as usize * 512;
    for (os, values) in [("crash", ["9", "Clean", "P1"]), ("ok", ["12", "OK", "P1"])] {
        // The hand-off writes once, and each report once; then the next start comes to its hand-off.
        files.says(&["--write", "--os", os, "--starts", "1"], 0);
        let disk = files.disk();
        for n in 0..2 {
            let copy = &disk[at(n)..at(n) + 512];
            let found = ["sequence", "P1", "booting"].map(|key| record::value(copy, key));
            assert_eq!(found, values, "{os}: copy {n}");
            assert_eq!(record::value(copy, "P2"), "Clean", "{os}: the other partition");
        }
    }
}

#[test]
fn the_record_says_before_the_first_start_what_it_is_told_to_say() {
    let files = Files::of(&with_states("Dirty", "Dirty"));
    let lines = files.says(&["--state", "P1=Clean P1.crashes=4 P2=dirty restores=3", "--write"], 0);
    assert_eq!(
        lines_with(&lines, &["if P", "read bstate"]),
        ["208 if P1 is OK = failed (it is Clean)", "216 if P1 is Clean = ok"]
    );
    let at = |n| maker().set.state_at(n) as usize * 512;
    let disk = files.disk();
    for n in 0..2 {
        let copy = &disk[at(n)..at(n) + 512];
        let found = ["sequence", "P1", "P1.crashes", "P1.failures", "P2", "P2.failures", "restores"]
            .map(|key| record::value(copy, key));
        // 7 was there, one more for the option, one for the step; the boot counted a crash and a failure.
        assert_eq!(found, ["9", "Dirty", "5", "1", "Dirty", "0", "3"], "copy {n}");
    }
    let told = "cd=Kiosk set=5A17C0DE boots=7 next=P2 P1.proved=6 P2.trial=1 P2.slice=3 P2.before=206";
    files.says(&["--state", told, "--write"], 0);
    let disk = files.disk();
    let lines = record::lines(&disk[at(0)..at(0) + 512]).unwrap();
    // The boot was counted, and the wish had its time.
    for line in told.replace("boots=7 next=P2", "boots=8").split(' ') {
        assert!(lines.iter().any(|l| l == line), "no {line} in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("next=")), "{lines:#?}");
    // Whoever is not named is as good as can be.
    let lines = files.says(&["--state", ""], 0);
    assert_eq!(lines.last().unwrap(), "212 boot P1 = ok (drive 80, lba 2048)");
    let blank = Files::of(&maker().set.blank()).simulate(&["--state", "P1=Clean"]);
    assert_eq!((blank.code, blank.out.as_str()), (2, ""));
    assert!(blank.err.contains("--state: no copy of bstate.txt could be written"), "{}", blank.err);
}

#[test]
fn a_logic_file_is_built_first() {
    let files = Files::of(&maker().set.blank());
    let logic = maker().folder.path().join("logic.txt");
    let disk = format!("system={}", text(&files.path("disk.img")));
    let ran = knownstate(&["simulate", text(&logic), "--disk", &disk]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert_eq!(said(&ran.out), files.says(&[], 0));
    // Elsewhere, with the images named.
    fs::copy(logic, files.path("elsewhere.txt")).unwrap();
    let elsewhere = files.path("elsewhere.txt");
    let ran = knownstate(&["simulate", text(&elsewhere), "--images", text(maker().folder.path()), "--disk", &disk]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = knownstate(&["simulate", text(&elsewhere), "--disk", &disk]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no such file; put the image there"), "{}", ran.err);
}

#[test]
fn drives_are_numbered_as_they_are_given_and_found_by_what_they_are() {
    let files = Files::of(&with_states("OK", "OK"));
    fs::write(files.path("data.img"), vec![0x5A; 1 << 20]).unwrap();
    fs::copy(files.path("disk.img"), files.path("twin.img")).unwrap();
    let run = |disks: &[&str]| {
        let named = disks.iter().map(|disk| {
            let (name, file) = disk.split_once('=').unwrap();
            format!("{name}={}", text(&files.path(file)))
        });
        let cd = files.path("cd.iso");
        let mut words = vec!["simulate".to_string(), text(&cd).to_string()];
        words.extend(named.flat_map(|disk| ["--disk".to_string(), disk]));
        let ran = knownstate(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ran.err, "", "{disks:?}");
        (ran.code, said(&ran.out))
    };
    let (code, lines) = run(&["-=data.img", "system=disk.img"]);
    assert_eq!((code, lines.last().unwrap().as_str()), (0, "212 boot P1 = ok (drive 81, lba 2048)"));
    let (code, lines) = run(&["system=disk.img", "system=twin.img"]);
    // A disk and its clone: one of them boots.
    assert!(lines[1].starts_with("- disk system = ok (2 disks are system: drives 80, 81; on drive 80"), "{}", lines[1]);
    assert_eq!((code, lines.last().unwrap().as_str()), (0, "212 boot P1 = ok (drive 80, lba 2048)"));
    let (code, lines) = run(&[]);
    assert_eq!((code, lines[1].as_str()), (1, "202 verify mbr of system = failed (no disk found)"));
}

#[test]
fn what_is_wrong_is_told() {
    let files = Files::of(&with_states("OK", "OK"));
    fs::write(files.path("odd.img"), [0; 700]).unwrap();
    fs::write(files.path("empty.img"), []).unwrap();
    shell(files.folder.path(), "ln -s disk.img link.img; mkfifo pipe; dd if=/dev/zero of=long.txt bs=1k count=80 2>&1");
    let path = |name: &str| text(&files.path(name)).to_string();
    let disk = |name: &str| format!("system={}", path(name));
    let table: &[(&[&str], &str)] = &[
        (&["--disk", &disk("none.img")], "can't open {}/none.img: No such file"),
        (&["--disk", &disk("odd.img")], "odd.img has 700 bytes, which is no whole number of 512-byte sectors"),
        (&["--disk", &disk("empty.img")], "empty.img has 0 bytes"),
        (&["--disk", &format!("system={}", path(""))], "is a directory; a disk is an image file or a block device"),
        (&["--disk", &disk("pipe")], "pipe is neither an image file nor a block device"),
        (&["--disk", &disk("disk.img"), "--disk", &disk("link.img")], "link.img is given twice"),
        (&["--disk", "sytem=x"], "no disk `sytem` in the logic file; did you mean `system`?"),
        (&["--disk", "other=x"], "no disk `other` in the logic file; known: system"),
        (&["--disk", "disk.img"], "write the disk's name in the logic file and the file"),
        (&["--fail", "207"], "--fail 207: no step has the label `207`; did you mean `202`?"),
        (&["--fail", ":1"], "--fail :1: no step stands on line 1"),
        (&["--fail", ":x"], "`x` is no line number"),
        (&["--fail", "206#0"], "`0` is no number of execution"),
        (&["--fail", "0:206"], "`0` is no number of the start"),
        (&["--fail-late", "x"], "--fail-late x: no step has the label `x`"),
        (&["--os", "crush"], "a similar value exists: 'crash'"),
        (&["--state", "P3=OK"], "--state: P3=OK: no partition `P3` in the logic file"),
        (&["--state", "P1=Good"], "`Good` is no state: write OK, Clean or Dirty"),
        (&["--state", "P1"], "write KEY=VALUE"),
        (&["--state", "P1.failure=2"], "bstate.txt has no `.failure`; did you mean `failures`?"),
        (&["--state", "restores=many"], "`many` is no number from 0 to 999"),
        (&["--state", "booting=P9"], "no partition `P9`"),
        (&["--state", "next=P9"], "no partition `P9`"),
        (&["--state", "set=12"], "`12` is no set: write 8 hexadecimal digits"),
        (&["--state", "boots=1000000"], "`1000000` is no number from 0 to 999999"),
        (&["--images", "."], "is an ISO, which has its images in it"),
        (&["--starts", "0"], "0 is not in 1.."),
    ];
    for (options, error) in table {
        let cd = path("cd.iso");
        let ran = knownstate(&[&["simulate", &cd], *options].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{options:?}: {}", ran.err);
        let error = error.replace("{}", text(files.folder.path()));
        assert!(ran.err.contains(&error), "{options:?} does not say `{error}` but: {}", ran.err);
    }
    for (cd, error) in [
        ("none.iso", "can't open"),
        ("long.txt", "is neither an ISO nor a logic file, which is shorter"),
        ("odd.img", "has errors"),
    ] {
        let ran = knownstate(&["simulate", &path(cd)]);
        assert_eq!(ran.code, 2, "{cd}: {}", ran.err);
        assert!(ran.err.contains(error), "{cd} does not say `{error}` but: {}", ran.err);
    }
    let seventeen: Vec<String> = (0..17).flat_map(|n| ["--disk".to_string(), format!("-=disk{n}")]).collect();
    let seventeen: Vec<&str> = seventeen.iter().map(String::as_str).collect();
    let ran = knownstate(&[&["simulate", &path("cd.iso")], &seventeen[..]].concat());
    assert!(ran.code == 2 && ran.err.contains("16 disks at most, not at 17"), "{}", ran.err);
}

#[test]
fn a_fault_that_never_came_about_is_named() {
    let ran = Files::of(&with_states("OK", "OK")).simulate(&["--fail", "256", "--fail", "2:206"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    for fault in ["--fail 256", "--fail 2:206"] {
        assert!(ran.err.contains(&format!("{fault}: the run did not come to that step so often")), "{}", ran.err);
    }
}

/// Of a CD whose logic.txt can't be followed the run itself says so; what needs one is refused.
#[test]
fn a_cd_with_a_bad_logic_txt_runs_all_the_same() {
    let set = &maker().set;
    let mut pc = with_states("OK", "OK");
    pc.cd = set.with_logic(&format!("logic 1\n{}1 bot P1\n", set.declarations())).iso;
    let files = Files::of(&pc);
    let lines = files.says(&[], 1);
    assert!(lines[5].starts_with("- read logic.txt = failed (line ") && lines[5].contains("`boot`"), "{lines:#?}");
    for options in [["--fail", "1"], ["--state", "P1=OK"]] {
        let ran = files.simulate(&options);
        assert_eq!(ran.code, 2, "{options:?}");
        assert!(ran.err.contains("the CD's logic.txt can't be followed: line "), "{}", ran.err);
    }
}

/// A disk that the machine we run on uses is not written to.
#[test]
fn a_mounted_device_is_not_written() {
    let files = Files::of(&with_states("OK", "OK"));
    let Some(device) = common::devices::Loop::of(&files.path("disk.img")) else { return };
    let disk = format!("system={}", device.path);
    let cd = files.path("cd.iso");
    let run = |options: &[&str]| knownstate(&[&["simulate", text(&cd), "--disk", &disk], options].concat());
    let mounted = device.mount_partition(2, &files.path("mounted"));
    let ran = run(&[]);
    assert_eq!(ran.code, 0, "read only: {}", ran.err);
    let ran = run(&["--write"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains(&format!("is in use: {}p2 is mounted at ", device.path)), "{}", ran.err);
    drop(mounted);
    let before = files.disk();
    let ran = run(&["--write", "--starts", "1"]);
    assert_eq!(ran.code, 0, "unmounted: {}", ran.err);
    drop(device);
    assert!(files.disk() != before, "the device was not written");
}
