//! Disks and CDs for the scenarios, looked at and damaged by tools that are not ours.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use knownstate_core::bstate::{Partition, Record, State};

use crate::guest::Machine;

pub const DISK_SECTORS: u64 = 311_296;
pub const P1: u64 = 2048;
pub const P2: u64 = 153_600;
pub const PARTITION_SECTORS: u64 = 151_552;

/// A shipped logic.txt for a disk that is copied quickly.
pub fn shipped(name: &str) -> String {
    fs::read_to_string(format!("iso/logic/{name}.txt"))
        .expect("it is shipped")
        .replace("2097152", &DISK_SECTORS.to_string())
        .replace("409600", &PARTITION_SECTORS.to_string())
        .replace("411648", &P2.to_string())
}

/// figure4.txt with nothing sealed: most scenarios change files to bring about what they are about.
pub fn logic() -> String {
    shipped("figure4").replace("image system.img", "image system.img protect none")
}

/// The CD of default.txt as it is, everything sealed.
pub fn default() -> &'static Path {
    static ISO: OnceLock<PathBuf> = OnceLock::new();
    ISO.get_or_init(|| iso("default", &shipped("default")))
}

/// The CD of `logic`, made by the real `knownstate build` of the real appliance.
pub fn iso(name: &str, logic: &str) -> PathBuf {
    let folder = crate::folder("iso");
    let (text, iso) = (folder.join(format!("{name}.txt")), folder.join(format!("{name}.iso")));
    fs::write(&text, logic).expect("logic.txt can be written");
    let appliance = Path::new("target/appliance");
    assert!(appliance.join("system.img").exists(), "no target/appliance/system.img; type: make iso");
    run(Command::new(env!("CARGO_BIN_EXE_knownstate"))
        .args(["build".as_ref(), text.as_os_str(), "--images".as_ref(), appliance.as_os_str(), "-o".as_ref()])
        .arg(&iso));
    iso
}

/// The CD of `logic`, with images that stand in a folder of the tests'.
pub fn iso_beside(folder: &str, name: &str, logic: &str) -> PathBuf {
    let folder = crate::folder(folder);
    let (text, iso) = (folder.join(format!("{name}.txt")), folder.join(format!("{name}.iso")));
    fs::write(&text, logic).expect("logic.txt can be written");
    run(Command::new(env!("CARGO_BIN_EXE_knownstate")).arg("build").arg(&text).arg("-o").arg(&iso));
    iso
}

/// A partition image of FAT12, `NAME.img` in a folder of the tests', whose boot sector is the code in NAME.s.
pub fn boot_image(folder: &str, name: &str) {
    let folder = crate::folder(folder);
    let path = |kind: &str| folder.join(format!("{name}.{kind}"));
    let code = boot_code(&folder, name, &format!("tests/qemu/{name}.s"), 0x7C3E);
    let image = path("img");
    let _ = fs::remove_file(&image);
    run(Command::new("mkfs.fat").args(["-C", "-F", "12"]).arg(&image).arg("2048").env("PATH", tools_path()));
    poke_bytes(&image, 0x3E, &code);
}

/// What `as` makes of a boot sector's source that stands at `origin`.
pub fn boot_code(folder: &Path, name: &str, source: &str, origin: u16) -> Vec<u8> {
    let path = |kind: &str| folder.join(format!("{name}.{kind}"));
    run(Command::new("as").args(["--32", "-o"]).arg(path("o")).arg(source));
    run(Command::new("ld")
        .args(["-m", "elf_i386", "--oformat", "binary", "-o"])
        .arg(path("bin"))
        .arg(format!("-Ttext={origin:#x}"))
        .arg(path("o")));
    fs::read(path("bin")).expect("it was made")
}

/// The CD that most scenarios use.
pub fn figure4() -> &'static Path {
    static ISO: OnceLock<PathBuf> = OnceLock::new();
    ISO.get_or_init(|| iso("figure4", &logic()))
}

pub fn blank(name: &str) -> PathBuf {
    let path = crate::folder("disks").join(format!("{name}.img"));
    let _ = fs::remove_file(&path);
    File::create(&path).and_then(|f| f.set_len(DISK_SECTORS * 512)).expect("a disk can be made");
    path
}

/// A disk as the CD's own restore leaves it.
pub fn restored(name: &str) -> PathBuf {
    static GOOD: OnceLock<PathBuf> = OnceLock::new();
    let good = GOOD.get_or_init(|| {
        let disk = blank("restored");
        let mut machine = Machine::new(figure4(), &disk);
        machine.no_reboot = true;
        let said = machine.start("restored").expect_end();
        assert!(said.contains("256 restore system = ok"), "the restore failed:\n{said}");
        disk
    });
    copy(good, name)
}

/// A disk as default.txt's CD leaves it: a copy of the one made for all.
pub fn restored_by_default(name: &str) -> PathBuf {
    static GOOD: OnceLock<PathBuf> = OnceLock::new();
    let good = GOOD.get_or_init(|| {
        let disk = blank("restored-by-default");
        let mut machine = Machine::new(default(), &disk);
        machine.no_reboot = true;
        let said = machine.start("restored-by-default").expect_end();
        assert!(said.contains("260 restore system = ok"), "the restore failed:\n{said}");
        disk
    });
    copy(good, name)
}

fn copy(disk: &Path, name: &str) -> PathBuf {
    let path = crate::folder("disks").join(format!("{name}.img"));
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(disk).arg(&path));
    path
}

/// The first sector of the kernel in a partition, found by its header ("HdrS" at 202h: Linux
/// Documentation/arch/x86/boot.rst).
pub fn kernel(disk: &Path, partition: u64) -> u64 {
    let bytes = peek(disk, partition, PARTITION_SECTORS);
    let at = bytes.windows(4).position(|w| w == b"HdrS").expect("the kernel is there");
    partition + (at as u64 - 0x202) / 512
}

/// Overwrites bytes from the beginning of `sector` on.
pub fn poke(disk: &Path, sector: u64, bytes: &[u8]) {
    poke_bytes(disk, sector * 512, bytes);
}

/// Overwrites bytes from byte `at` on.
pub fn poke_bytes(disk: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(disk).expect("the disk is there");
    file.write_all_at(bytes, at).expect("the disk can be written");
}

pub fn peek(disk: &Path, sector: u64, sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; sectors as usize * 512];
    File::open(disk).and_then(|f| f.read_exact_at(&mut bytes, sector * 512)).expect("the disk can be read");
    bytes
}

/// mtools' name of a FAT partition.
fn at(disk: &Path, partition: u64) -> String {
    format!("{}@@{}", disk.display(), partition * 512)
}

/// A file's content, by mtools.
pub fn read_file(disk: &Path, partition: u64, name: &str) -> String {
    run(Command::new("mtype").args(["-i", &at(disk, partition), &format!("::{name}")]))
}

/// Puts a file there, by mtools.
pub fn write_file(disk: &Path, partition: u64, name: &str, content: &[u8]) {
    let source = disk.with_extension(format!("{partition}.tmp"));
    fs::write(&source, content).expect("a file can be written");
    run(Command::new("mcopy").args(["-o", "-i", &at(disk, partition)]).arg(&source).arg(format!("::{name}")));
}

pub fn delete_file(disk: &Path, partition: u64, name: &str) {
    run(Command::new("mdel").args(["-i", &at(disk, partition), &format!("::{name}")]));
}

/// Appends to the kernel's command line.
pub fn append_fault(disk: &Path, partition: u64, fault: &str) {
    let config = read_file(disk, partition, "syslinux.cfg");
    let config = config.replace("quiet", &format!("quiet appliance.fault={fault}"));
    write_file(disk, partition, "syslinux.cfg", config.as_bytes());
}

/// A valid bstate.txt.
pub fn record(sequence: u64, p1: State, p2: State) -> Record {
    let partition = |name, state| Partition { state, ..Partition::ok(name) };
    Record { sequence, partitions: vec![partition("P1", p1), partition("P2", p2)], ..Record::default() }
}

/// The same record on both partitions.
pub fn set_states(disk: &Path, p1: State, p2: State) {
    for partition in [P1, P2] {
        write_file(disk, partition, "bstate.txt", &record(100, p1, p2).to_file());
    }
}

/// Whether the copy on a partition says so.
#[track_caller]
pub fn assert_state(disk: &Path, partition: u64, line: &str) {
    let text = read_file(disk, partition, "bstate.txt");
    assert!(text.lines().any(|l| l == line), "no `{line}` in the copy at sector {partition}:\n{}", text.trim());
}

/// The partition table as sfdisk reads it, and both filesystems as fsck.fat does.
pub fn assert_sound(disk: &Path) {
    let table = run(Command::new("sfdisk").args(["-d"]).arg(disk).env("PATH", tools_path()));
    let start = |n: u64| format!("start={n:>12}").replace(' ', "");
    for partition in [P1, P2] {
        let dense = table.replace(' ', "");
        assert!(dense.contains(&start(partition)), "sfdisk finds no partition at {partition}:\n{table}");
        let part = disk.with_extension("fsck");
        fs::write(&part, peek(disk, partition, PARTITION_SECTORS)).expect("a file can be written");
        run(Command::new("fsck.fat").args(["-n"]).arg(&part).env("PATH", tools_path()));
        fs::remove_file(part).expect("it was written");
    }
}

/// Debian keeps file system tools where a plain user's PATH does not lead.
pub fn tools_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Runs a tool that has to succeed; what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; `make setup` installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
