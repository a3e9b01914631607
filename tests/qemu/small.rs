//! A machine that is up in an eighth of a second, for what takes hundreds of starts: a disk of 2 MiB with two
//! small systems on it, which say who they are and rest, and default.txt's flow.
//!
//! What is expected of a disk afterwards is told here without the code that wrote it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::both::line;
use crate::common::record;
use crate::disk::{boot_code, poke_bytes, run, tools_path};

/// The disk, in sectors.
pub const SECTORS: u64 = 4096;
/// The partitions' first sectors: FAT12 and ext2.
pub const STARTS: [u64; 2] = [64, 2048];
/// Both partitions, in sectors.
pub const LENGTH: u64 = 1024;
pub const SECTOR: usize = 512;

/// A start takes a quarter of a second, with a restore half a second; only one that hangs meets this.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a small machine's folders are.
pub fn folder() -> PathBuf {
    crate::folder("small")
}

/// The CD of default.txt.
pub fn cd() -> &'static Path {
    static CD: OnceLock<PathBuf> = OnceLock::new();
    CD.get_or_init(|| cd_with("default", &logic()))
}

/// Another one with the same systems.
pub fn cd_with(name: &str, logic: &str) -> PathBuf {
    static SYSTEMS: std::sync::Once = std::sync::Once::new();
    SYSTEMS.call_once(|| {
        one();
        two();
    });
    crate::disk::iso_beside("small", name, logic)
}

/// default.txt for this disk.
pub fn logic() -> String {
    let line = |line: &str| match line.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["disk", "system"] => format!("disk system sectors {SECTORS}"),
        ["partition", name] => {
            let [start, kind, image] = if name == "P1" { ["64", "01", "one"] } else { ["2048", "83", "two"] };
            format!("partition {name} on system start {start} sectors {LENGTH} type {kind} image {image}.img")
        }
        _ => line.to_string(),
    };
    let shipped = fs::read_to_string("iso/logic/default.txt").expect("it is shipped");
    shipped.lines().map(line).fold(String::new(), |all, line| all + &line + "\n")
}

/// The code that says `NAME lives`.
fn lives(name: &str, origin: u16) -> Vec<u8> {
    let source = fs::read_to_string("tests/qemu/lives.s").expect("it is there");
    let path = folder().join(format!("{name}.s"));
    fs::write(&path, source.replace("the spare", name)).expect("it can be written");
    boot_code(&folder(), name, path.to_str().expect("it is plain"), origin)
}

/// Bytes that are like no others.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        // xorshift64* (Vigna 2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Files of a system, of which every second is going to be deleted, so that the image is in many pieces.
const FILES: usize = 48;

/// A file to put on an image: its name there, and where it is.
fn source(system: &str, name: &str, bytes: usize) -> PathBuf {
    let path = folder().join(format!("{system}.{name}"));
    let seed = format!("{system}.{name}").bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    fs::write(&path, noise(seed, bytes)).expect("it can be written");
    path
}

/// The length of file number `n`, in KiB.
fn kib(n: usize) -> usize {
    if n.is_multiple_of(2) { 1 + n % 3 } else { 9 }
}

/// P1's: FAT12, its last sector in use.
fn one() {
    let image = folder().join("one.img");
    let _ = fs::remove_file(&image);
    run(Command::new("mkfs.fat")
        .args(["-C", "-F", "12", "-s", "1", "-r", "64"])
        .arg(&image)
        .arg((LENGTH / 2).to_string())
        .env("PATH", tools_path()));
    poke_bytes(&image, 0x3E, &lives("P1", 0x7C3E));
    let boot = fs::read(&image).expect("it was made");
    let word = |at: usize| usize::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    // Microsoft's FAT specification 1.03, section 3.1: reserved sectors, FATs and their length, root directory.
    let clusters = LENGTH as usize - word(14) - usize::from(boot[16]) * word(22) - word(17) * 32 / SECTOR;
    let used: usize = (0..FILES).map(|n| 2 * kib(n)).sum();
    let mut sources: Vec<(String, PathBuf)> =
        (0..FILES).map(|n| (format!("f{n:02}"), source("one", &format!("f{n:02}"), kib(n) * 1024))).collect();
    sources.push(("pad".into(), source("one", "pad", (clusters - used - 16) * SECTOR)));
    sources.push(("last".into(), source("one", "last", 16 * SECTOR)));
    for (name, path) in &sources {
        run(Command::new("mcopy").arg("-i").arg(&image).arg(path).arg(format!("::{name}")));
    }
    for name in (1..FILES).step_by(2).map(|n| format!("f{n:02}")).chain(["pad".to_string()]) {
        run(Command::new("mdel").arg("-i").arg(&image).arg(format!("::{name}")));
    }
    assert_last_sector(&image, "one");
}

/// P2's: ext2, whose first 1024 bytes are free for boot code; its last sector in use.
fn two() {
    let image = folder().join("two.img");
    let _ = fs::remove_file(&image);
    File::create(&image).and_then(|file| file.set_len(LENGTH * SECTOR as u64)).expect("it can be made");
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext2", "-b", "1024", "-m", "0", "-N", "128", "-O", "^resize_inode,^dir_index"])
        .arg(&image)
        .env("PATH", tools_path()));
    let mut boot = lives("P2", 0x7C00);
    boot.resize(510, 0);
    boot.extend([0x55, 0xAA]);
    poke_bytes(&image, 0, &boot);
    let write = |name: &str, bytes: usize| format!("write {} {name}", source("two", name, bytes).display());
    debugfs(&image, (0..FILES).map(|n| write(&format!("f{n:02}"), kib(n) * 1024)));
    let header = run(Command::new("dumpe2fs").arg("-h").arg(&image).env("PATH", tools_path()));
    let free = header.lines().find_map(|l| l.strip_prefix("Free blocks:")).expect("it says how many blocks are free");
    let free: usize = free.trim().parse().expect("a number");
    // Up to 12 blocks a file needs no block of pointers.
    let pads: Vec<usize> = (0..free - 8).step_by(12).map(|at| (free - 8 - at).min(12)).collect();
    let pad = |(n, kib): (usize, &usize)| write(&format!("pad{n}"), kib * 1024);
    debugfs(&image, pads.iter().enumerate().map(pad).chain([write("last", 8 * 1024)]));
    let removed = (1..FILES).step_by(2).map(|n| format!("rm f{n:02}"));
    debugfs(&image, removed.chain((0..pads.len()).map(|n| format!("rm pad{n}"))));
    assert_last_sector(&image, "two");
}

fn debugfs(image: &Path, commands: impl IntoIterator<Item = String>) {
    let script = image.with_extension("debugfs");
    fs::write(&script, commands.into_iter().fold(String::new(), |all, c| all + &c + "\n")).expect("it can be written");
    run(Command::new("debugfs").arg("-w").arg("-f").arg(&script).arg(image).env("PATH", tools_path()));
}

fn assert_last_sector(image: &Path, system: &str) {
    let (image, last) = (fs::read(image).expect("it was made"), folder().join(format!("{system}.last")));
    let last = fs::read(last).expect("it was made");
    assert!(image.ends_with(&last[last.len() - SECTOR..]), "the last sector of {system}.img is not in use");
}

/// A blank disk, as factories format them: one byte everywhere, so that whatever is written shows.
pub fn blank() -> Vec<u8> {
    vec![0xF6; SECTORS as usize * SECTOR]
}

/// The same as the CD's restore leaves it, and all on it that was shipped looked for by others' tools.
pub fn restored() -> Vec<u8> {
    static RESTORED: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let path = folder().join("restored.img");
        fs::write(&path, blank()).expect("it can be written");
        let said = start(&plain(cd(), "cd"), &plain(&path, "d"), AHCI, &["-no-reboot"], PATIENCE);
        assert!(said.text.contains("260 restore system = ok"), "the restore failed:\n{}", said.text);
        assert_shipped(&path);
        fs::read(&path).expect("it is there")
    };
    RESTORED.get_or_init(make).clone()
}

/// Both systems are on the disk.
fn assert_shipped(disk: &Path) {
    for n in 0..STARTS.len() {
        has_every_file(disk, n).unwrap_or_else(|why| panic!("{}: {why}", disk.display()));
    }
}

/// As others' tools see it: the filesystem is sound, and every file is what was put into the image.
pub fn has_every_file(disk: &Path, n: usize) -> Result<(), String> {
    let (part, system) = (disk.with_extension("part"), ["one", "two"][n]);
    fs::write(&part, partition(&fs::read(disk).expect("it is there"), n)).expect("it can be written");
    let tool = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("PATH", tools_path()).output().expect("`make setup` installs it")
    };
    let path = part.to_str().expect("it is plain");
    let fsck = if n == 0 { tool(&["fsck.fat", "-n", path]) } else { tool(&["e2fsck", "-fn", path]) };
    if !fsck.status.success() {
        return Err(format!("P{} is not sound: {}", n + 1, String::from_utf8_lossy(&fsck.stdout)));
    }
    for name in (0..FILES).step_by(2).map(|n| format!("f{n:02}")).chain(["last".to_string()]) {
        let read = match n {
            0 => tool(&["mtype", "-i", path, &format!("::{name}")]),
            _ => tool(&["debugfs", "-R", &format!("cat {name}"), path]),
        };
        if read.stdout != fs::read(folder().join(format!("{system}.{name}"))).expect("it was made") {
            return Err(format!("{name} on P{} is not what was shipped", n + 1));
        }
    }
    fs::remove_file(part).expect("it is ours");
    Ok(())
}

/// The sector of partition `n` where a file of its image begins.
pub fn place(n: usize, file: &str) -> u64 {
    let content = fs::read(folder().join(format!("{}.{file}", ["one", "two"][n]))).expect("it was made");
    let at = partition(&restored(), n).chunks(SECTOR).position(|sector| content.starts_with(sector));
    STARTS[n] + at.expect("it was restored") as u64
}

pub fn sector_mut(disk: &mut [u8], sector: u64) -> &mut [u8] {
    &mut disk[sector as usize * SECTOR..][..SECTOR]
}

/// The bytes of partition number `n`, from 0.
pub fn partition(disk: &[u8], n: usize) -> &[u8] {
    &disk[STARTS[n] as usize * SECTOR..][..LENGTH as usize * SECTOR]
}

/// Sectors of a disk that begin so.
pub fn sectors_that_begin(with: &[u8]) -> Vec<u64> {
    let restored = restored();
    let all = restored.chunks(SECTOR).enumerate().filter(|(_, sector)| sector.starts_with(with));
    all.map(|(n, _)| n as u64).collect()
}

/// Where bstate.txt's records are: one on each partition.
pub fn records() -> [u64; 2] {
    static RECORDS: OnceLock<[u64; 2]> = OnceLock::new();
    *RECORDS.get_or_init(|| sectors_that_begin(b"sequence=").try_into().expect("two copies of bstate.txt"))
}

/// Where the seals' headers are: two on each partition.
pub fn seals() -> [u64; 4] {
    static SEALS: OnceLock<[u64; 4]> = OnceLock::new();
    *SEALS.get_or_init(|| sectors_that_begin(b"KSTABLE\n").try_into().expect("two seals on each partition"))
}

/// A restored disk with this record on it.
pub fn with_record(record: &knownstate_core::bstate::Record) -> Vec<u8> {
    let mut disk = restored();
    for at in records() {
        sector_mut(&mut disk, at).copy_from_slice(&record.to_sector());
    }
    disk
}

/// A disk's controller: QEMU's words for it.
pub const AHCI: &[&str] = &["-device", "ide-hd,drive=d,bus=ide.0,bootindex=1"];
/// One whose driver in SeaBIOS reports success when the disk reports an error (src/hw/megasas.c,
/// `megasas_process_op`, which waits for the end of a command and does not look how it ended).
pub const LIES: &[&str] = &["-device", "megasas,id=sas", "-device", "scsi-hd,drive=d,bus=sas.0,bootindex=1"];

/// A `-drive` without faults.
pub fn plain(file: &Path, id: &str) -> String {
    format!("file={},format=raw,cache=unsafe,if=none,id={id}{}", file.display(), read_only(id))
}

/// What a CD's `-drive` has more.
pub fn read_only(id: &str) -> &'static str {
    if id == "cd" { ",media=cdrom,readonly=on" } else { "" }
}

/// How a machine ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The system of this partition, from 0, says that it lives.
    Lives(usize),
    /// The loader holds.
    Holds,
    /// Neither, until it ended or time was up.
    Neither,
}

/// What a machine said until it was clear how it ends up.
pub struct Said {
    pub text: String,
    pub end: End,
}

impl Said {
    /// The loader's lines, without times and progress.
    pub fn lines(&self) -> Vec<String> {
        self.text.lines().filter_map(line).collect()
    }
}

fn ended(text: &str) -> Option<End> {
    // A name may stand behind the rest of a line that was being said when the machine was reset.
    let lives = (0..2).find(|n| text.contains(&format!("P{} lives\n", n + 1))).map(End::Lives);
    let holds = || text.lines().any(|l| l.contains(" hold \"") && l.contains("\" = ok"));
    lives.or_else(|| holds().then_some(End::Holds))
}

/// Kills it at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Switches a machine on, lets it restart as often as it wants, and cuts the power when it is clear how it ends up.
pub fn start(cd: &str, disk: &str, device: &[&str], more: &[&str], patience: Duration) -> Said {
    let mut command = Command::new("qemu-system-i386");
    command.args(["-machine", "q35", "-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none"]);
    // 512 ns an instruction: waits are over soon, and it always takes the same path.
    command.args(["-vga", "none", "-m", "16", "-serial", "stdio", "-icount", "shift=9,sleep=off"]);
    command.args(["-drive", cd, "-device", "ide-cd,drive=cd,bus=ide.2,bootindex=0", "-drive", disk]);
    command.args(device).args(more).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|e| panic!("qemu-system-i386: {e}; `make setup` installs it"));
    let mut running = Running(child);
    let mut output = running.0.stdout.take().expect("stdout is piped");
    let (sender, heard) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    let (limit, mut text) = (Instant::now() + patience, String::new());
    loop {
        match heard.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Said { text, end: End::Neither },
        }
        if let Some(end) = ended(&text) {
            return Said { text, end };
        }
    }
}

/// What `knownstate simulate` makes of the disk as it was before has to be what the machine made of it.
pub fn same_simulated(cd: &Path, before: &Path, said: &Said, after: &[u8]) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_knownstate"));
    command.arg("simulate").arg(cd).args(["--write", "--watchdog", "itco", "--disk"]);
    let output = command.arg(format!("-={}", before.display())).output().expect("knownstate runs");
    let simulated: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().filter_map(line).collect();
    if simulated != said.lines() {
        return Err(format!("simulate says {simulated:#?}"));
    }
    let simulated = record::of_one_set(fs::read(before).expect("it is there"));
    match simulated.chunks(SECTOR).zip(record::of_one_set(after.to_vec()).chunks(SECTOR)).position(|(a, b)| a != b) {
        Some(sector) => Err(format!("simulate leaves something else in sector {sector}")),
        None => Ok(()),
    }
}

/// It came up from a partition whose bytes are what was shipped, bstate.txt and seals aside; both copies of
/// bstate.txt can be read; and nothing was written where nothing is declared.
pub fn is_up(said: &Said, disk: &[u8]) -> Result<(), String> {
    let End::Lives(n) = said.end else { return Err("it does not come up".to_string()) };
    is_shipped(disk, n)?;
    is_untouched_beside(disk)?;
    is_table(sector(disk, 0), n)?;
    for at in records() {
        let state = state_of(sector(disk, at), n).map_err(|why| format!("bstate.txt in sector {at}: {why}"))?;
        if state != "Dirty" {
            return Err(format!("bstate.txt in sector {at} does not tell of the boot: P{} is {state}", n + 1));
        }
    }
    Ok(())
}

pub fn sector(disk: &[u8], sector: u64) -> &[u8] {
    &disk[sector as usize * SECTOR..][..SECTOR]
}

/// Every sector of partition `n` is what was shipped, but for the record and the seals' headers, which change.
pub fn is_shipped(disk: &[u8], n: usize) -> Result<(), String> {
    let (shipped, changing) = (restored(), [&records()[..], &seals()[..]].concat());
    let mut sectors = STARTS[n]..STARTS[n] + LENGTH;
    match sectors.find(|at| !changing.contains(at) && sector(disk, *at) != sector(&shipped, *at)) {
        Some(at) => Err(format!("P{} is not what was shipped: sector {at}", n + 1)),
        None => Ok(()),
    }
}

/// What stands beside the partitions is what stood there.
pub fn is_untouched_beside(disk: &[u8]) -> Result<(), String> {
    // A restore's note has a second place before the first partition.
    let declared =
        |at: u64| at == 0 || at == STARTS[0] - 1 || STARTS.iter().any(|start| (*start..start + LENGTH).contains(&at));
    let before = blank();
    match (0..SECTORS).find(|at| !declared(*at) && sector(disk, *at) != sector(&before, *at)) {
        Some(at) => Err(format!("sector {at} is in no partition, and was written")),
        None => Ok(()),
    }
}

/// The table is the one that was shipped, and partition `n` the only active one.
fn is_table(mbr: &[u8], n: usize) -> Result<(), String> {
    let restored = restored();
    let mut wanted = sector(&restored, 0).to_vec();
    for entry in 0..4 {
        wanted[446 + 16 * entry] = if entry == n { 0x80 } else { 0 };
    }
    // The disk's signature: whatever stood there is kept.
    wanted[440..444].copy_from_slice(&mbr[440..444]);
    if mbr == wanted { Ok(()) } else { Err("the MBR is not what was shipped".to_string()) }
}

/// What a record says of partition `n`, if its CRC is right (CRC-32 as in zlib, of all before its own line).
fn state_of(record: &[u8], n: usize) -> Result<String, String> {
    let text = std::str::from_utf8(record).map_err(|_| "no text")?;
    let (body, rest) = text.split_once("crc32=").ok_or("no crc32")?;
    let crc = body.bytes().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    });
    if !rest.starts_with(&format!("{:08x}\n", !crc)) {
        return Err("wrong crc32".to_string());
    }
    let state = body.lines().find_map(|l| l.strip_prefix(&format!("P{}=", n + 1)));
    state.map(str::to_string).ok_or_else(|| format!("nothing of P{}", n + 1))
}
