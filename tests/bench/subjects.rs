//! What is measured: the disk and its partitions, the floors and Knownstate's own CD.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guest::Machine;
use crate::tools::{self, assemble, run};

/// Every CD has this length, in 2048-byte sectors: Bochs moves a CD's head in 80 ms from one end to the
/// other, so that what a seek takes depends on how long the CD is.
pub const CD_SECTORS: u64 = 65_536;

/// A disk with two partitions, all in 512-byte sectors.
#[derive(Clone, Copy)]
pub struct Layout {
    /// The whole disk.
    pub disk: u64,
    /// The first partition's beginning.
    pub p1: u64,
    /// The second one's.
    pub p2: u64,
    /// Length of each.
    pub partition: u64,
}

/// The disk of the hand-off: 128 MiB.
pub const SMALL: Layout = Layout { disk: 262_144, p1: 2048, p2: 100_352, partition: 98_304 };

/// The disk of the steps that take long: two partitions of 256 MiB.
pub const BIG: Layout = Layout { disk: 1_054_720, p1: 2048, p2: 526_336, partition: 524_288 };

impl Layout {
    /// The declarations of a logic.txt.
    pub fn declared(self) -> String {
        let Self { disk, p1, p2, partition } = self;
        format!(
            "logic 1\ndisk system sectors {disk}\n\
             partition P1 on system start {p1} sectors {partition} type 0c image system.img\n\
             partition P2 on system start {p2} sectors {partition} type 0c image system.img\n"
        )
    }
}

/// `iso/logic/default.txt` for a disk, with a quick check of P1.
pub fn quick_logic(layout: Layout) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("iso/logic/default.txt"));
    let text = text.expect("default.txt is there");
    for word in ["2097152", "409600", "411648", "verify P1 "] {
        assert!(text.contains(word), "default.txt has no `{word}` any more");
    }
    text.replace("2097152", &layout.disk.to_string())
        .replace("409600", &layout.partition.to_string())
        .replace("411648", &layout.p2.to_string())
        .replace("verify P1 quick ", "verify P1 ")
        .replace("verify P1 ", "verify P1 quick ")
}

/// Which loader a CD gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// The real one.
    Shipped,
    /// One that does not read back what it wrote, which only a comparison with others wants.
    NoReadBack,
}

impl Loader {
    /// The `knownstate` that has it; `make bench` builds both.
    fn tool(self) -> PathBuf {
        match self {
            Self::Shipped => env!("CARGO_BIN_EXE_knownstate").into(),
            Self::NoReadBack => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/no-read-back/release/knownstate"),
        }
    }
}

/// Knownstate's CD, made by `knownstate build`.
pub fn knownstate(name: &str, loader: Loader, logic: &str, images: &Path) -> PathBuf {
    let folder = tools::folder("iso");
    let (text, iso) = (folder.join(format!("{name}.txt")), folder.join(format!("{name}.iso")));
    fs::write(&text, logic).expect("target can be written");
    run(Command::new(loader.tool())
        .args(["build".as_ref(), text.as_os_str(), "--images".as_ref(), images.as_os_str(), "-o".as_ref()])
        .arg(&iso));
    pad(&iso, CD_SECTORS);
    iso
}

/// Makes a CD as long as the others.
pub fn pad(iso: &Path, sectors: u64) {
    let file = OpenOptions::new().write(true).open(iso).expect("it was made");
    let length = file.metadata().expect("it was made").len();
    assert!(length <= sectors * 2048, "{} has {length} bytes", iso.display());
    file.set_len(sectors * 2048).expect("it can be written");
}

/// A CD that begins with an assembly program, and the rest of its boot file behind it.
pub fn floor(name: &str, program: &str, constants: &[(&str, u64)], behind: &[u8]) -> PathBuf {
    let mut code = assemble(program, 0x7C00, constants);
    code.extend(behind);
    boot_cd(name, &code)
}

/// A CD with nothing but a boot image of which 2048 bytes are loaded.
pub fn boot_cd(name: &str, image: &[u8]) -> PathBuf {
    let folder = tools::fresh(&format!("cd/{name}"));
    fs::write(folder.join("boot.bin"), image).expect("target can be written");
    let iso = tools::folder("iso").join(format!("{name}.iso"));
    master(&folder, &iso, &["-b", "boot.bin", "-boot-info-table"]);
    iso
}

/// Masters a folder as the peers' and floors' makers would.
pub fn master(folder: &Path, iso: &Path, arguments: &[&str]) {
    run(Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-r", "-no-emul-boot", "-boot-load-size", "4"])
        .args(arguments)
        .arg("-o")
        .args([iso, folder]));
    pad(iso, CD_SECTORS);
}

/// A disk as the CD's own restore leaves it.
pub fn restored(name: &str, iso: &Path, sectors: u64) -> PathBuf {
    let disk = blank(name, sectors);
    let mut machine = Machine::new(iso, &disk);
    machine.no_reboot = true;
    let said = machine.start(&format!("restored-{name}")).expect_end();
    assert!(said.contains("restore system = ok"), "the restore failed:\n{said}");
    disk
}

/// A new disk.
pub fn blank(name: &str, sectors: u64) -> PathBuf {
    let disk = tools::folder("disks").join(format!("{name}.img"));
    let _ = fs::remove_file(&disk);
    File::create(&disk).and_then(|f| f.set_len(sectors * 512)).expect("a disk can be made");
    disk
}

/// The bytes of a file on a CD.
pub fn file_on_cd(iso: &Path, path: &str) -> u64 {
    let said = run(Command::new("xorriso").arg("-indev").arg(iso).args(["-find", path, "-exec", "report_lba"]));
    let line = said.lines().find(|line| line.starts_with("File data lba:"));
    let fields = line.map(|line| line.split(',').map(str::trim).collect::<Vec<_>>()).unwrap_or_default();
    fields
        .get(3)
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or_else(|| panic!("{}: no {path}:\n{said}", iso.display()))
}
