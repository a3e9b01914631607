//! The loader's own end: what it does when it is wrong itself. With a loader that goes wrong where the CD asks for
//! it (stage2/src/faults.rs), on the real CD, with the real flow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::disk::*;
use crate::guest::{Guest, Machine, PATIENCE};
use crate::monitor::ask;

/// The tool with that loader, built beside the real one from the same parts.
fn tool() -> &'static Path {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| {
        let (folder, parts) = (Path::new("target/faults"), Path::new("target/release"));
        let release = folder.join("release");
        if !release.exists() && parts.exists() {
            fs::create_dir_all(&release).expect("target can be written");
            let parts = [".fingerprint", "build", "deps"].map(|part| parts.join(part));
            run(Command::new("cp").arg("-a").args(parts).arg(&release));
        }
        let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
        let build = ["build", "--release", "--quiet", "--bin", "knownstate", "--target-dir"];
        run(Command::new(cargo).args(build).arg(folder).env("KNOWNSTATE_LOADER_FEATURES", "faults"));
        release.join("knownstate")
    })
}

/// A CD that restores a blank disk and boots it, whose loader goes wrong as `fault` says.
fn cd(name: &str, fault: &str, first: &str) -> PathBuf {
    static IMAGE: std::sync::Once = std::sync::Once::new();
    IMAGE.call_once(|| boot_image("end", "lives"));
    let folder = crate::folder("end");
    let (text, iso) = (folder.join(format!("{name}.txt")), folder.join(format!("{name}.iso")));
    let logic = format!(
        "logic 1\ndisk d sectors 40000..\npartition P1 on d start 64 sectors 8192 type 01 image lives.img\n\
        {first}2 verify mbr of d else 4\n3 boot P1\n  goto 9\n4 restore d else 9\n  restart\n9 hold \"no\"\n"
    );
    fs::write(&text, logic).expect("logic.txt can be written");
    run(Command::new(tool()).arg("build").arg(&text).arg("-o").arg(&iso));
    // The application identifier in the primary volume descriptor.
    poke_bytes(&iso, 16 * 2048 + 574, format!("{fault} ").as_bytes());
    iso
}

/// A machine that can be asked, with a speaker that is written down.
struct Asked {
    guest: Guest,
    iso: PathBuf,
    socket: PathBuf,
    sound: PathBuf,
}

impl Asked {
    fn start(name: &str, iso: PathBuf, change: impl FnOnce(&mut Machine)) -> Self {
        let socket = crate::folder("qmp").join(format!("{name}.sock"));
        let sound = crate::folder("end").join(format!("{name}.wav"));
        let _ = fs::remove_file(&sound);
        let qmp = format!("unix:{},server=on,wait=off", socket.display());
        let speaker = format!("wav,id=speaker,path={}", sound.display());
        let words = ["-qmp", &qmp, "-audiodev", &speaker, "-machine", "pcspk-audiodev=speaker"];
        let mut machine = Machine::new(&iso, &blank(name)).with(&words);
        // A disk that nothing declares, to be left alone.
        let beside = crate::folder("disks").join(format!("{name}-beside.img"));
        fs::write(&beside, [0xA5; 4096]).expect("a disk can be written");
        machine.disks.push(beside);
        change(&mut machine);
        Self { guest: machine.start(name), iso, socket, sound }
    }

    /// Where the loader says that it went wrong, and what the tool says of that.
    fn place(&self, words: &str) -> (String, String) {
        let all = self.guest.all();
        let address = all.rsplit(words).next().map(|rest| rest.chars().take(8).collect::<String>()).unwrap_or_default();
        let place = run(Command::new(tool()).arg("inspect").arg(&self.iso).args(["--at", &address]));
        (address, place)
    }

    fn ask(&self, command: &str) -> String {
        ask(&self.socket, &[command.to_string()])
    }

    /// Writes to both disks so far, as QEMU counts them.
    fn writes(&self) -> [u64; 2] {
        let said = self.ask("{\"execute\":\"query-blockstats\"}");
        ["d0", "d1"].map(|disk| {
            let of_disk = said.split("\"device\": ").find(|part| part.starts_with(&format!("\"{disk}\"")));
            let counts = of_disk.unwrap_or_default().split("\"wr_operations\": ").skip(1);
            let counts = counts.filter_map(|count| count.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
            counts.max().unwrap_or_else(|| panic!("no writes of {disk} in {said}"))
        })
    }

    /// The three longwords in which restarts are counted, see stage2/src/restarts.rs and linker/memory.rs.
    fn count(&self) -> String {
        let command = "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"xp /3xw 0x3000\"}}";
        self.ask(command).split("3000: ").nth(1).unwrap_or_default().chars().take(32).collect()
    }

    /// Waits until the guest has reset itself, where that stops it.
    fn expect_reset(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.ask("{\"execute\":\"query-status\"}").contains("\"shutdown\"") {
            assert!(Instant::now() < end, "it did not restart");
            sleep(Duration::from_millis(300));
        }
    }

    /// How long the speaker sounded: QEMU writes down nothing of its silence.
    fn sounded(&self) -> Duration {
        let wave = fs::read(&self.sound).expect("QEMU has written it");
        // Behind the header 16-bit samples, two at a time, 44100 of them a second.
        let samples = wave.get(44..).unwrap_or_default().chunks_exact(4);
        Duration::from_millis(samples.filter(|sample| sample.iter().any(|&byte| byte != 0)).count() as u64 * 10 / 441)
    }
}

/// The fault happens at the fifth write. Until the restart, which is stopped at to look, nothing is written more.
#[track_caller]
fn ends(kind: &str, board: &'static str, says: &str, function: Option<&str>) {
    let name = format!("end-{kind}");
    let mut asked = Asked::start(&name, cd(&name, &format!("{kind} 5 1"), ""), |machine| {
        machine.board = board;
        machine.no_reboot = true;
        machine.extra.push("-no-shutdown".into());
    });
    asked.guest.expect("2 verify mbr of d = failed").expect(says).expect("; restart 1 in 10 s");
    let (said, writes) = (Instant::now(), asked.writes());
    if let Some(function) = function {
        let (address, place) = asked.place(says);
        assert!(place.contains(&format!("::faults::{function}")), "{address}: {place}");
    }
    asked.expect_reset();
    let waited = said.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(60)).contains(&waited), "it waited {waited:?}");
    assert!(writes[0] >= 4 && writes[1] == 0, "writes to the disk, and to the one beside it: {writes:?}");
    assert_eq!(asked.writes(), writes, "writes after the message");
    // Three times 150 ms, of which QEMU keeps up to the last one to itself.
    assert!(asked.sounded() >= Duration::from_millis(150), "it sounded for {:?}", asked.sounded());
    assert!(asked.count().starts_with("0x00000001 "), "{}", asked.count());
}

#[test]
fn a_panic_is_told_and_restarts() {
    ends("PANIC", "q35", "Knownstate: program error at ", Some("panics"));
}

#[test]
fn an_exception_is_told_and_restarts() {
    ends("EXCEPTION", "pc", "Knownstate: processor exception 13, code FF8, at ", Some("go_wrong"));
}

#[test]
fn a_full_stack_is_told_where_it_is_full_and_restarts() {
    ends("DESCENT", "q35", "Knownstate: stack overflow at ", Some("descends"));
}

#[test]
fn a_frame_larger_than_all_stacks_is_told_and_restarts() {
    ends("FRAME", "pc", "Knownstate: stack overflow at ", Some("fills"));
}

#[test]
fn a_full_stack_of_the_bios_is_told_and_restarts() {
    ends("REAL", "q35", "Knownstate: the stack overflowed in INT 60h", None);
}

/// Three starts on a 486 with little memory; the third gets to its hand-off, and with that the count ends.
#[test]
fn restarts_are_counted_and_a_hand_off_ends_the_count() {
    let mut asked = Asked::start("end-count", cd("end-count", "DESCENT 3 2", ""), |machine| {
        machine.board = "pc";
        machine.extra.extend(["-m", "16", "-cpu", "486"].map(String::from));
    });
    let overflow = "Knownstate: stack overflow at ";
    asked.guest.expect(overflow).expect("; restart 1 in 10 s");
    let (first, _) = asked.place(overflow);
    asked.guest.expect(&format!("Knownstate: restart 1 after an error at {first}"));
    asked.guest.expect(overflow).expect("; restart 2 in 20 s").expect("Knownstate: restart 2 after an error at ");
    asked.guest.expect("4 restore d = ok").expect("Knownstate: restart 2 after an error at ");
    asked.guest.expect("3 boot P1 = ok").expect("the spare lives");
    assert_eq!(asked.count(), "0x00000000 0x00000000 0x00000000");
}

/// An armed watchdog is told that all is well while the message is shown.
#[test]
fn a_watchdog_does_not_cut_the_message_short() {
    let first = "1 watchdog 2 else 9\n";
    let mut asked = Asked::start("end-watchdog", cd("end-watchdog", "PANIC 1 1", first), |machine| {
        machine.extra.extend(["-device", "i6300esb", "-action", "watchdog=reset"].map(String::from));
    });
    asked.guest.expect("1 watchdog 2 = ok (i6300ESB, 2 s)").expect("; restart 1 in 10 s");
    let said = Instant::now();
    asked.guest.expect("Knownstate: restart 1 after an error at ");
    assert!(said.elapsed() > Duration::from_secs(8), "it waited {:?}", said.elapsed());
    asked.guest.expect("1 watchdog 2 = ok (i6300ESB, 2 s)").expect("4 restore d = ok").expect("the spare lives");
}
