//! FAT images with the bench's boot sector: made by mkfs and mcopy, and looked at here for what is
//! allocated, by code that is not Knownstate's.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{self, assemble, run};
use crate::trace::MARK;

/// Where real files are taken from, for images that have to be as compressible as a system is.
const SYSTEM: [&str; 3] = ["/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/share"];

/// Consecutive sectors of 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub at: u64,
    /// How many.
    pub sectors: u64,
}

/// An image with some small files in its root directory.
pub fn with_files(path: &Path, sectors: u64, files: usize) {
    let folder = tools::fresh("image-files");
    let names = (0..files).map(|n| {
        let name = folder.join(format!("file{n:04}.bin"));
        let bytes: Vec<u8> = (0..2048 + n * 7 % 4096).map(|b| (b * 31 + n) as u8).collect();
        fs::write(&name, bytes).expect("target can be written");
        name
    });
    let names: Vec<PathBuf> = names.collect();
    format(path, sectors);
    fill(path, &names);
}

/// An image with so many bytes of this machine's own programs and libraries, and with gaps: one file in
/// ten was there, and was deleted.
pub fn with_system(path: &Path, sectors: u64, bytes: u64) {
    let folder = tools::fresh("image-files");
    let mut files: Vec<PathBuf> = SYSTEM.iter().flat_map(|place| files_below(Path::new(place))).collect();
    files.sort();
    let (mut total, mut names, mut gone) = (0, Vec::new(), Vec::new());
    for file in files {
        // mcopy takes symbolic links for what they lead to, and FAT has no two names that differ in case.
        let name = folder.join(format!("f{:06}.bin", names.len()));
        let length = fs::metadata(&file).map_or(0, |m| m.len());
        if total + length > bytes || std::os::unix::fs::symlink(file, &name).is_err() {
            continue;
        }
        if names.len() % 10 == 9 {
            gone.push(format!("::/f{:06}.bin", names.len()));
        } else {
            total += length;
        }
        names.push(name);
        if bytes - total < 64 * 1024 {
            break;
        }
    }
    assert!(bytes - total < bytes / 20, "this machine has only {total} bytes of programs to fill an image with");
    format(path, sectors);
    fill(path, &names);
    run(Command::new("mdel").arg("-i").arg(path).args(gone));
}

/// Plain files of 4 KiB to 8 MiB below a folder that can be read.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let length = entry.metadata().map_or(0, |m| m.len());
        if kind.is_dir() {
            found.extend(files_below(&entry.path()));
        } else if kind.is_file() && (4096..8 << 20).contains(&length) && File::open(entry.path()).is_ok() {
            found.push(entry.path());
        }
    }
    found
}

/// Fewer sectors than this make no FAT32 even with the smallest clusters (fatgen103, "FAT type
/// determination": 65525 clusters, and the tables).
const FAT32_LEAST: u64 = 68_000;

/// An empty filesystem, with the bench's boot sector.
fn format(path: &Path, sectors: u64) {
    let _ = fs::remove_file(path);
    File::create(path).and_then(|f| f.set_len(sectors * 512)).expect("an image can be made");
    let (bits, cluster) = match sectors {
        ..FAT32_LEAST => (16, 2),
        // As large as FAT32 allows, up to 4 sectors.
        _ => (32, [4, 2].into_iter().find(|c| sectors / c > FAT32_LEAST).unwrap_or(1)),
    };
    let arguments = format!("-F{bits} -s{cluster} -i 4b534245 -n BENCH");
    run(Command::new("mkfs.vfat").args(arguments.split(' ')).arg(path));
    put_boot_sector(path, if bits == 16 { 0x3E } else { 0x5A });
}

/// Copies files into the root directory of an image.
fn fill(image: &Path, files: &[PathBuf]) {
    for some in files.chunks(1000) {
        run(Command::new("mcopy").arg("-i").arg(image).args(some).arg("::/"));
    }
}

/// The bench's code behind the parameter block, which ends at `code_at`.
fn put_boot_sector(image: &Path, code_at: u8) {
    let code = assemble("boot", 0x7C00 + u64::from(code_at), &[]);
    assert!(code.len() <= 510 - usize::from(code_at), "the boot sector's code is too long");
    let file = OpenOptions::new().write(true).open(image).expect("it was made");
    for (at, bytes) in [(0, &[0xEB, code_at - 2, 0x90][..]), (3, MARK), (code_at, &code)] {
        file.write_all_at(bytes, u64::from(at)).expect("it can be written");
    }
}

/// What is allocated in a FAT32 image: all before the first cluster, and every cluster in use (fatgen103,
/// "FAT data structure").
pub fn allocated(image: &Path) -> Vec<Run> {
    let bytes = fs::read(image).expect("the image was made");
    let word = |at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let long = |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let (cluster, reserved, fats, length) = (u64::from(bytes[13]), word(14), u64::from(bytes[16]), long(36));
    let data = reserved + fats * length;
    let mut runs = vec![Run { at: 0, sectors: data }];
    for number in 2..2 + (long(32) - data) / cluster {
        if long((reserved * 512 + number * 4) as usize) & 0x0FFF_FFFF == 0 {
            continue;
        }
        let at = data + (number - 2) * cluster;
        match runs.last_mut() {
            Some(last) if last.at + last.sectors == at => last.sectors += cluster,
            _ => runs.push(Run { at, sectors: cluster }),
        }
    }
    runs
}

/// How many sectors runs have together.
pub fn sectors(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.sectors).sum()
}
