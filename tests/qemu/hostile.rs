//! The loader on disks and CDs with mutated sectors: every start ends, within a number of instructions and not
//! within a time, and writes nothing outside of what is declared.
//!
//! With `-icount` each instruction takes the same time of the guest's own clock, and a guest that rests lets it
//! jump to the next event. So seconds of that clock bound instructions, however loaded the host is.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::hostile::{Random, damage};
use crate::disk::{boot_image, iso_beside, peek, poke_bytes, run, tools_path};
use crate::folder;
use crate::monitor::ask;

/// An instruction takes 2^5 = 32 ns.
const SHIFT: u32 = 5;
/// The guest's seconds until a start has to have ended: 2.8 thousand million instructions, and more than the
/// minute that default.txt waits for a key before it holds. A good start takes 2.
const BOUND: u64 = 90;
/// The same as a person's time, for a QEMU that has hung itself.
const PATIENCE: Duration = Duration::from_secs(200);
/// Starts until the machine has to have come up, or to hold.
const STARTS: usize = 6;
/// The disk, and where on it the partitions begin; lengths in sectors.
const DISK: u64 = 8192;
const P1: (u64, u64) = (64, 4096);
const P2: (u64, u64) = (5000, 512);
/// Mutations of the disk and of the CD, each a seed.
const DISKS: u64 = 80;
const CDS: u64 = 24;

/// The CD, and the disk that its restore leaves.
struct Good {
    cd: PathBuf,
    disk: PathBuf,
}

/// P1 is FAT12, P2 is ext2; the boot sector of both says on COM1 that it lives.
fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let here = folder("hostile");
        boot_image("hostile", "lives");
        spare(&here);
        let shipped = fs::read_to_string("iso/logic/default.txt").expect("it is shipped");
        let steps = &shipped[shipped.find("\n202 ").expect("it begins with step 202")..];
        let logic = format!(
            "logic 1\ndisk system sectors {DISK}\n\
            partition P1 on system start {} sectors {} type 01 image lives.img\n\
            partition P2 on system start {} sectors {} type 83 image spare.img\n{steps}",
            P1.0, P1.1, P2.0, P2.1
        );
        let cd = iso_beside("hostile", "cd", &logic);
        let disk = here.join("restored.img");
        run(Command::new(env!("CARGO_BIN_EXE_knownstate"))
            .arg("provision")
            .arg(here.join("cd.txt"))
            .arg("--disk")
            .arg(format!("system={}", disk.display())));
        Good { cd, disk }
    })
}

/// An ext2 image with a bstate.txt and the same boot code, whose place begins 3Eh bytes into the sector.
fn spare(here: &Path) {
    let image = here.join("spare.img");
    let _ = fs::remove_file(&image);
    let bytes = (P2.1 / 2).to_string() + "k";
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext2"]).arg(&image).arg(bytes).env("PATH", tools_path()));
    let mut record = vec![b' '; 4096];
    let text = b"P1=OK\nP2=OK\n";
    record[..text.len()].copy_from_slice(text);
    fs::write(here.join("bstate.txt"), record).expect("a file can be written");
    let put = format!("write {} bstate.txt", here.join("bstate.txt").display());
    run(Command::new("debugfs").args(["-w", "-R", &put]).arg(&image).env("PATH", tools_path()));
    poke_bytes(&image, 0, &[0xEB, 0x3C, 0x90]);
    poke_bytes(&image, 0x3E, &fs::read(here.join("lives.bin")).expect("it was made"));
    poke_bytes(&image, 510, &[0x55, 0xAA]);
}

/// How one start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The partition's boot sector has spoken.
    Lives,
    Holds,
    Restarts,
}

/// One start of the machine: the disk, and beside it one that is nobody's; how it ended.
fn start(name: &str, cd: &Path, disk: &Path, bound: u64) -> Result<End, String> {
    let here = folder("hostile");
    let (other, socket) = (here.join(format!("{name}.other")), here.join(format!("{name}.qmp")));
    let _ = fs::remove_file(&socket);
    fs::write(&other, vec![0x5A; 1 << 20]).map_err(|e| e.to_string())?;
    let mut command = Command::new("qemu-system-i386");
    command.args(["-machine", "q35", "-accel", "tcg", "-m", "32", "-nodefaults", "-no-user-config"]);
    // No graphics card either: its BIOS would be half of each start.
    command.args(["-display", "none", "-vga", "none", "-serial", "stdio", "-no-reboot", "-no-shutdown"]);
    command.args(["-icount", &format!("shift={SHIFT},sleep=off"), "-rtc", "base=2000-01-01,clock=vm"]);
    let drives = [
        ("cd", cd, ",readonly=on,media=cdrom", "ide-cd", 2),
        ("d0", disk, "", "ide-hd", 0),
        ("d1", &other, "", "ide-hd", 1),
    ];
    for (id, file, more, device, bus) in drives {
        let drive = format!("file={},format=raw,if=none,cache=unsafe,id={id}{more}", file.display());
        let boots = if id == "cd" { ",bootindex=0" } else { "" };
        command.args(["-drive", &drive, "-device", &format!("{device},drive={id},bus=ide.{bus}{boots}")]);
    }
    command.arg("-qmp").arg(format!("unix:{},server,nowait", socket.display()));
    let mut child = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("QEMU is installed"));
    let said = listen(&mut child.0);
    let late = Instant::now() + PATIENCE;
    while !socket.exists() {
        let ended = child.0.try_wait().expect("it is our child");
        assert!(ended.is_none() && Instant::now() < late, "QEMU does not come to its monitor: {ended:?}");
        thread::sleep(Duration::from_millis(2));
    }
    let end = watch(&said, &socket, bound);
    let stats = ask(&socket, &["{\"execute\":\"query-blockstats\"}".to_string()]);
    drop(child);
    let written = writes(&stats, "d1");
    if written != Some(0) {
        return Err(format!("{written:?} writes to the other disk"));
    }
    end
}

/// Ends with whoever holds it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen(child: &mut Child) -> Receiver<Vec<u8>> {
    let mut output = child.stdout.take().expect("stdout is piped");
    let (sender, said) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    said
}

/// Listens until the start has ended, or has not.
fn watch(said: &Receiver<Vec<u8>>, socket: &Path, bound: u64) -> Result<End, String> {
    let (mut text, late) = (String::new(), Instant::now() + PATIENCE);
    let mut over = false;
    loop {
        match said.recv_timeout(Duration::from_millis(100)) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(RecvTimeoutError::Disconnected) => return Err(format!("QEMU has ended:\n{text}")),
            // Nothing was said since the clock was seen to be over the bound, so nothing will be.
            Err(RecvTimeoutError::Timeout) if over => {
                return Err(format!("no end within {bound} of the guest's seconds:\n{text}"));
            }
            Err(RecvTimeoutError::Timeout) => {
                over = seconds(&ask(socket, &[CLOCK.to_string()])).is_none_or(|now| now >= bound);
            }
        }
        if let Some(end) = end_of(&text) {
            return Ok(end);
        }
        if Instant::now() > late {
            return Err(format!("no end within {PATIENCE:?}:\n{text}"));
        }
    }
}

fn end_of(text: &str) -> Option<End> {
    let holds = |line: &str| line.contains(" hold \"") && line.trim_end().ends_with(" = ok");
    if text.contains("the spare lives") {
        Some(End::Lives)
    } else if text.contains("- restart = ok\r\n") {
        Some(End::Restarts)
    } else {
        // The loader's first sectors say so when the rest of it is not what it has to be, and stop.
        (text.contains("Knownstate: stage1 ") || text.lines().any(holds)).then_some(End::Holds)
    }
}

/// The clock chip's date: with `-rtc clock=vm` it is the guest's own time since the start.
const CLOCK: &str = "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine\",\"property\":\"rtc-time\"}}";

/// The guest's seconds.
fn seconds(answer: &str) -> Option<u64> {
    let field = |name: &str| number(answer, &format!("\"{name}\": "));
    Some(((field("tm_mday")? - 1) * 24 + field("tm_hour")?) * 3600 + field("tm_min")? * 60 + field("tm_sec")?)
}

/// How many writes QEMU counted on a drive.
fn writes(stats: &str, drive: &str) -> Option<u64> {
    let of = stats.split("\"device\": ").find(|part| part.starts_with(&format!("\"{drive}\"")))?;
    number(of, "\"wr_operations\": ")
}

fn number(text: &str, before: &str) -> Option<u64> {
    let rest = &text[text.find(before)? + before.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// Starts a machine until it comes up or holds. Nothing outside of what is declared may have changed.
fn life(name: &str, cd: &Path, disk: &Path) -> Result<Vec<End>, String> {
    let outside = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for (first, sectors) in [(0, 1), P1, P2] {
            bytes[first as usize * 512..][..sectors as usize * 512].fill(0);
        }
        bytes
    };
    let before = outside(&peek(disk, 0, DISK));
    let mut ends = Vec::new();
    while ends.len() < STARTS {
        ends.push(start(name, cd, disk, BOUND).map_err(|why| format!("start {}: {why}", ends.len() + 1))?);
        if outside(&peek(disk, 0, DISK)) != before {
            return Err("sectors outside of what is declared have changed".to_string());
        }
        if ends.last() != Some(&End::Restarts) {
            return Ok(ends);
        }
    }
    Err(format!("it never comes up: {ends:?}"))
}

/// The sectors, of so many bytes each, that have something in them, as far as `wanted`.
fn filled(bytes: &[u8], length: usize, wanted: impl Fn(usize, &[u8]) -> bool) -> Vec<usize> {
    let sectors = bytes.chunks(length).enumerate();
    sectors.filter(|(n, sector)| sector.iter().any(|b| *b != 0) && wanted(*n, sector)).map(|(n, _)| n).collect()
}

/// Seeds from 1 on, or the one that is to be played again.
fn seeds(most: u64) -> Vec<u64> {
    match std::env::var("HOSTILE_SEED") {
        Ok(seed) => vec![seed.parse().expect("HOSTILE_SEED is a number")],
        Err(_) => (1..=most).collect(),
    }
}

/// Plays every seed; what came of them, or the seeds that failed, and why.
fn play(test: &str, most: u64, one: impl Fn(u64) -> Result<Vec<End>, String>) -> Vec<Vec<End>> {
    let mut failed = Vec::new();
    let mut ends = Vec::new();
    for seed in seeds(most) {
        match one(seed) {
            Ok(end) => ends.push(end),
            Err(why) => {
                failed.push(format!("{why}\nreplay: HOSTILE_SEED={seed} cargo test --release --test qemu {test}\n"))
            }
        }
    }
    println!("hostile {test}: {most} seeds, {} failures", failed.len());
    assert!(failed.is_empty(), "{} of {most} failed:\n{}", failed.len(), failed.join("\n"));
    ends
}

#[test]
fn every_start_from_a_mutated_disk_ends_and_writes_nowhere_else() {
    let good = good();
    let bytes = fs::read(&good.disk).expect("it was made");
    // Both partitions are small enough to be metadata for the most part.
    let places = filled(&bytes, 512, |_, _| true);
    let ends = play("every_start_from_a_mutated_disk", DISKS, |seed| {
        let mut mutated = bytes.clone();
        damage(&mut Random::new(seed), &mut mutated, &places, 512);
        let disk = folder("hostile").join("mutated.img");
        fs::write(&disk, &mutated).expect("a disk can be written");
        life("disk", &good.cd, &disk)
    });
    let lives = ends.iter().filter(|ends| ends.last() == Some(&End::Lives)).count();
    // The CD is good: whoever holds takes the disk for somebody else's.
    assert!(lives * 10 >= ends.len() * 9, "only {lives} of {} come up", ends.len());
}

#[test]
fn every_start_from_a_mutated_cd_ends_and_writes_nowhere_else() {
    let good = good();
    let bytes = fs::read(&good.cd).expect("it was made");
    let name = |sector: &[u8]| {
        [&b"CD001"[..], b"IMG;1", b"KSTABLE\n", b"img"]
            .iter()
            .any(|mark| sector.windows(mark.len()).any(|w| w == *mark))
    };
    // Descriptors, directories, tables and what follows them; not the boot record, by which the BIOS finds us, and
    // not logic.txt, which may declare anything.
    let named = filled(&bytes, 2048, |n, sector| n != 17 && name(sector) && !sector.starts_with(b"logic 1"));
    let places: Vec<usize> = named.iter().flat_map(|&n| [n, n + 1]).filter(|&n| n != 17).collect();
    let places: Vec<usize> =
        places.into_iter().filter(|&n| n < bytes.len() / 2048 && !bytes[n * 2048..].starts_with(b"logic 1")).collect();
    play("every_start_from_a_mutated_cd", CDS, |seed| {
        let mut mutated = bytes.clone();
        damage(&mut Random::new(seed), &mut mutated, &places, 2048);
        let (cd, disk) = (folder("hostile").join("mutated.iso"), folder("hostile").join("blank.img"));
        fs::write(&cd, &mutated).expect("a CD can be written");
        // From a blank disk on, so that images are read; every second one has been restored before.
        let start =
            if seed % 2 == 0 { vec![0; DISK as usize * 512] } else { fs::read(&good.disk).expect("it was made") };
        fs::write(&disk, start).expect("a disk can be written");
        life("cd", &cd, &disk)
    });
}

/// The bound is one: a partition that never says anything is found, and how long that takes is the guest's time.
#[test]
fn a_start_without_an_end_is_found() {
    boot_image("hostile-hang", "hangs");
    let logic = "logic 1\ndisk d sectors 8192\npartition P1 on d start 64 sectors 4096 type 01 image hangs.img\n\
        1 verify mbr of d else 2\nboot P1\n2 restore d else 3\nboot P1\n3 hold \"no\"\n";
    let cd = iso_beside("hostile-hang", "hang", logic);
    let disk = folder("hostile-hang").join("disk.img");
    fs::write(&disk, vec![0; DISK as usize * 512]).expect("a disk can be written");
    let why = start("hang", &cd, &disk, 10).expect_err("it hangs");
    assert!(why.contains("no end within 10 of the guest's seconds") && why.contains("boot P1 = ok"), "{why}");
}
