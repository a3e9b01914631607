//! The `bstate` tool, as the OS calls it: what it prints, what it leaves in the files, its exit codes.

mod common;
#[path = "agent/kernel.rs"]
mod kernel;
#[path = "agent/machine.rs"]
mod machine;
#[path = "agent/real.rs"]
mod real;
#[path = "../agent/src/system.rs"]
#[allow(dead_code, reason = "only a part of it is tested by itself")]
mod system;

use std::fs;
use std::path::PathBuf;

use common::record;
use common::tools::{self, Ran, text};

/// Some copies of bstate.txt in files, as if their filesystems were mounted.
struct Copies {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Copies {
    fn new(contents: &[Vec<u8>]) -> Self {
        let folder = tools::temporary();
        let name = |n| folder.path().join(format!("copy{n}"));
        let paths: Vec<PathBuf> = (1..=contents.len()).map(name).collect();
        for (path, content) in paths.iter().zip(contents) {
            fs::write(path, content).unwrap();
        }
        Self { folder, paths }
    }

    /// Two equal copies of a record.
    fn of(lines: &str) -> Self {
        let file = record::file(&record::sector(lines));
        Self::new(&[file.clone(), file])
    }

    fn run(&self, words: &str) -> Ran {
        let mut arguments = Vec::new();
        for path in &self.paths {
            arguments.extend(["--file", text(path)]);
        }
        arguments.extend(words.split_whitespace());
        tools::bstate(&arguments)
    }

    /// Both copies are whole files that hold the same valid record, and it has these values.
    fn expect(&self, values: &str) {
        let files: Vec<Vec<u8>> = self.paths.iter().map(|p| fs::read(p).unwrap()).collect();
        for (file, path) in files.iter().zip(&self.paths) {
            assert_eq!(file.len(), 4096, "{}'s length", path.display());
            assert_eq!(file[..512], files[0][..512], "{} differs from the first copy", path.display());
        }
        for pair in values.split_whitespace() {
            let (key, value) = pair.split_once('=').unwrap();
            assert_eq!(record::value(&files[0][..512], key), value.replace('~', " "), "{key}");
        }
    }
}

const BOOTED_P1: &str = "sequence=8 booting=P1 P1=Dirty P1.failures=2 P1.crashes=1 P1.why=212~boot~begun P2=OK P2.failures=0 P2.crashes=0 restores=0";

fn expect(ran: &Ran, code: i32, out: &str, err: &str) {
    assert_eq!((ran.code, ran.out.trim_end(), ran.err.trim_end()), (code, out, err));
}

#[test]
fn show_prints_the_record_and_changes_nothing() {
    let copies = Copies::of(BOOTED_P1);
    let before = fs::read(&copies.paths[0]).unwrap();
    let ran = copies.run("show");
    expect(&ran, 0, String::from_utf8_lossy(&before).trim_end(), "");
    assert_eq!(fs::read(&copies.paths[0]).unwrap(), before, "show writes");
}

#[test]
fn which_names_the_partition_that_was_booted() {
    expect(&Copies::of(BOOTED_P1).run("which"), 0, "P1", "");
    let why = "bstate: bstate.txt does not say which partition was booted; was it the recovery CD that booted it?";
    expect(&Copies::of("sequence=1 P1=OK restores=0").run("which"), 1, "", why);
    expect(&Copies::of("sequence=1 booting=P7 P1=OK restores=0").run("which"), 1, "", why);
}

#[test]
fn booted_and_shutdown_report_in_every_copy() {
    let copies = Copies::of(BOOTED_P1);
    expect(&copies.run("booted"), 0, "P1 is Clean", "");
    copies.expect("sequence=9 booting=P1 P1=Clean P1.failures=0 P1.crashes=1 P2=OK restores=0");
    expect(&copies.run("shutdown"), 0, "P1 is OK", "");
    copies.expect("sequence=10 P1=OK P1.failures=0 P1.crashes=0 P2=OK");
    let lines = record::lines(&fs::read(&copies.paths[0]).unwrap()[..512]).unwrap();
    assert!(!lines.iter().any(|l| l.contains(".why")), "OK has no reason: {lines:#?}");
}

#[test]
fn booted_from_the_spare_tells_the_administrator_why() {
    let copies = Copies::of(
        "sequence=8 booting=P2 P1=Dirty P1.failures=3 P1.crashes=0 P1.why=206~boot~sector~has~no~55AA P2=Dirty P2.failures=1 P2.crashes=0 restores=0",
    );
    let told = "bstate: running from P2, not from P1: P1 is Dirty (206 boot sector has no 55AA)";
    expect(&copies.run("booted"), 0, "P2 is Clean", told);
    copies.expect("P1=Dirty P1.failures=3 P2=Clean P2.failures=0");
}

#[test]
fn booted_after_a_restore_tells_of_it_and_ends_the_count() {
    let copies = Copies::of("sequence=8 booting=P1 P1=Dirty P1.failures=1 P1.crashes=0 P2=OK restores=2");
    let ran = copies.run("booted");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("restored from the recovery CD"), "{}", ran.err);
    copies.expect("restores=0 P1=Clean");
}

#[test]
fn booted_tells_once_what_was_mended_before() {
    let copies =
        Copies::of("sequence=8 boots=5 booting=P1 P1=Dirty P1.failures=1 P1.before=206~/vmlinuz P2=OK restores=0");
    expect(&copies.run("booted"), 0, "P1 is Clean", "bstate: P1 was mended before this boot: 206 /vmlinuz");
    copies.expect("P1=Clean P1.proved=5 boots=5");
    expect(&copies.run("booted"), 0, "P1 is Clean", "");
}

#[test]
fn set_sets() {
    let copies = Copies::of(BOOTED_P1);
    expect(&copies.run("set P2 dirty"), 0, "P2 is Dirty", "");
    // It is not to be tried again, whatever a flow's limit is.
    copies.expect("sequence=9 P1=Dirty P2=Dirty P2.failures=999 P2.why=bstate~set~Dirty");
    expect(&copies.run("set P2 OK"), 0, "P2 is OK", "");
    copies.expect("sequence=10 P2=OK P2.failures=0 P1=Dirty P1.failures=2");
    // A partition that failed too often gets its tries back.
    expect(&copies.run("set P1 OK"), 0, "P1 is OK", "");
    copies.expect("sequence=11 P1=OK P1.failures=0 P1.crashes=0");
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    let copies = Copies::of(BOOTED_P1);
    for (words, complaint) in [
        ("", "no command"),
        ("dance", "can't understand `dance`"),
        ("set P1", "can't understand `set`"),
        ("set P1 Broken", "`Broken` is no state: write OK, Clean or Dirty"),
        ("set P3 OK", "no partition `P3`; known: P1, P2"),
        ("next P3", "no partition `P3`; known: P1, P2"),
        ("next P1 P2", "can't understand `next`"),
        ("show me", "can't understand `show`"),
    ] {
        let ran = copies.run(words);
        assert_eq!(ran.code, 2, "bstate {words}: {}", ran.err);
        assert!(ran.err.starts_with(&format!("bstate: {complaint}\n")), "bstate {words}: {}", ran.err);
        assert!(ran.err.contains("usage: bstate"), "bstate {words} does not say how it is used");
    }
    let ran = tools::bstate(&["--file"]);
    assert_eq!((ran.code, ran.err.lines().next()), (2, Some("bstate: --file needs a path")));
    assert_eq!(tools::bstate(&["--help"]).code, 0);
}

#[test]
fn a_file_that_a_person_edited_wins_and_gets_its_form_back() {
    let old = record::file(&record::sector(BOOTED_P1));
    for typed in ["P1=Clean\nP2=Dirty\n", "P1 = clean\r\n\r\nP2 = dirty\r\n", "# mine\n  P2=Dirty\n  P1=Clean"] {
        // An editor leaves only what was typed: the file has lost its length.
        let copies = Copies::new(&[old.clone(), typed.as_bytes().to_vec()]);
        expect(&copies.run("shutdown"), 0, "P1 is OK", "");
        copies.expect("sequence=9 P1=OK P2=Dirty");
    }
}

#[test]
fn the_rest_of_a_longer_file_is_left_alone() {
    let mut file = record::file(&record::sector(BOOTED_P1));
    file[512..].fill(b'x');
    let copies = Copies::new(&[file]);
    assert_eq!(copies.run("booted").code, 0);
    let after = fs::read(&copies.paths[0]).unwrap();
    assert!(
        after.len() == 4096 && after[512..].iter().all(|&b| b == b'x'),
        "only the first 512 bytes are the record's"
    );
}

#[test]
fn a_broken_copy_is_told_of_and_rewritten() {
    let good = record::file(&record::sector(BOOTED_P1));
    let mut wrong = good.clone();
    wrong[9] ^= 1;
    for (name, broken, fault) in [
        ("zeros", vec![0; 4096], "no text"),
        ("wrong sum", wrong, "wrong crc32"),
        ("empty", vec![], "says nothing of any partition"),
    ] {
        let copies = Copies::new(&[broken, good.clone()]);
        let ran = copies.run("show");
        let told = format!("bstate: {}: {fault}", copies.paths[0].display());
        assert_eq!((ran.code, ran.err.trim_end()), (0, told.as_str()), "{name}");
        assert_eq!(copies.run("booted").code, 0, "{name}");
        copies.expect("sequence=9 P1=Clean");
    }
}

#[test]
fn copies_that_disagree_give_the_worse_state_or_the_newer() {
    let file = |lines: &str| record::file(&record::sector(lines));
    let conflict =
        Copies::new(&[file("sequence=8 booting=P1 P1=OK P2=Dirty"), file("sequence=8 booting=P1 P1=Clean P2=OK")]);
    let shown = conflict.run("show").out;
    assert!(shown.contains("\nP1=Clean\n") && shown.contains("\nP2=Dirty\n"), "{shown}");
    let newer =
        Copies::new(&[file("sequence=8 booting=P1 P1=Dirty P2=Dirty"), file("sequence=9 booting=P2 P1=OK P2=OK")]);
    expect(&newer.run("which"), 0, "P2", "");
}

#[test]
fn no_valid_copy_is_a_no_with_each_reason() {
    let copies = Copies::new(&[vec![0; 4096], b"hello".to_vec()]);
    let [first, second] = [copies.paths[0].display(), copies.paths[1].display()];
    let told =
        format!("bstate: no copy of bstate.txt is valid: {first}: no text; {second}: says nothing of any partition");
    for command in ["show", "which", "booted", "shutdown", "set P1 OK"] {
        expect(&copies.run(command), 1, "", &told);
    }
    let missing = copies.folder.path().join("none");
    let ran = tools::bstate(&["--file", text(&missing), "show"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("none: No such file"), "{}", ran.err);
}

#[test]
fn a_copy_that_cannot_be_written_is_told_of_and_the_other_is() {
    let mut copies = Copies::of(BOOTED_P1);
    copies.paths.push(PathBuf::from("/proc/version"));
    let ran = copies.run("booted");
    assert_eq!((ran.code, ran.out.trim_end()), (0, "P1 is Clean"), "{}", ran.err);
    assert!(ran.err.starts_with("bstate: /proc/version: "), "{}", ran.err);
    copies.paths.pop();
    copies.expect("P1=Clean");
}

/// root may write everything, so there it is another user who is refused.
#[test]
fn a_record_that_nobody_may_write_is_a_no() {
    let copies = Copies::of(BOOTED_P1);
    let folder = copies.folder.path();
    let bstate = PathBuf::from(env!("CARGO_BIN_EXE_knownstate")).with_file_name("bstate");
    fs::copy(bstate, folder.join("bstate")).unwrap();
    tools::shell(folder, "chmod 755 . bstate; chmod 444 copy1 copy2");
    let root = tools::run("id", &["-u"]).out.trim() == "0";
    let user = if root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    let ran = tools::run_in(folder, "sh", &["-c", &format!("{user} ./bstate --file copy1 --file copy2 booted")]);
    let denied = "Permission denied (os error 13)";
    let told = format!("bstate: no copy of bstate.txt could be written: copy1: {denied}; copy2: {denied}");
    expect(&ran, 1, "", &told);
    copies.expect("sequence=8 P1=Dirty");
}

/// More names than a sector holds can only be typed, never declared.
#[test]
fn a_record_that_does_not_fit_a_sector_is_never_written() {
    let typed: String = (10..50).map(|n| format!("X{n}=OK\n")).collect();
    let copies = Copies::new(&[record::file(&record::sector(BOOTED_P1)), typed.into_bytes()]);
    assert_eq!(copies.run("booted").code, 0);
    copies.expect("sequence=9 P1=Clean P2=OK");
}
