//! What firmware and emulator allow at all: one bare loop of reads, at three transfer sizes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bochs;
use crate::guest;
use crate::subjects;
use crate::tools;
use crate::trace::{Cost, cost};

/// What the loop reads, in sectors: 100 MiB.
const SECTORS: u64 = 204_800;

/// The sizes to try, in sectors: 64 is what every BIOS takes, 127 what the specification of the extensions
/// allows, 128 fills 64 KiB.
pub const SIZES: [u64; 3] = [64, 127, 128];

/// A CD that reads the runs of the first disk.
pub fn reader(name: &str, runs: &[(u64, u64)], most: u64) -> PathBuf {
    let mut table: Vec<u8> = Vec::new();
    for (lba, sectors) in runs.iter().chain([&(0, 0)]) {
        table.extend((*lba as u32).to_le_bytes());
        table.extend((*sectors as u32).to_le_bytes());
    }
    table.resize(table.len().next_multiple_of(2048), 0);
    subjects::floor(name, "read", &[("MOST", most), ("TABLE", table.len() as u64 / 2048)], &table)
}

/// A disk full of what no emulator takes for zeros.
fn noise() -> PathBuf {
    let path = tools::folder("disks").join("noise.img");
    let mut file = File::create(&path).expect("target can be written");
    let mut state = 1_u64;
    for _ in 0..(SECTORS + 2048) / 2048 {
        let bytes: Vec<u8> = (0..1 << 20).map(|_| next(&mut state)).collect();
        file.write_all(&bytes).expect("target can be written");
    }
    path
}

/// One byte of noise (Knuth's 64-bit linear congruential generator).
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

/// How long a floor runs under QEMU, from its first mark to its last, in seconds.
pub fn seconds(name: &str, cd: &Path, disk: &Path, board: &'static str) -> f64 {
    let mut machine = guest::Machine::new(cd, disk);
    machine.board = board;
    let mut guest = machine.with(&["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]).start(name);
    guest.expect("<");
    let begin = std::time::Instant::now();
    guest.expect(">");
    begin.elapsed().as_secs_f64()
}

/// All of it.
pub fn run() {
    let disk = noise();
    println!(
        "bare loop, 100 MiB sequentially: sectors a call | Bochs: instructions, us of wait a sector | QEMU TCG MB/s: AHCI, IDE"
    );
    for most in SIZES {
        let cd = reader(&format!("loop-{most}"), &[(0, SECTORS)], most);
        let machine = bochs::Machine { cd: &cd, disk: &disk, serial: true, limit: Duration::from_secs(120) };
        let Cost { instructions, wait } = cost("loop", &machine, || ());
        let rate = |board| SECTORS as f64 * 512.0 / 1e6 / seconds("loop", &cd, &disk, board);
        println!(
            "{most:4} | {:8.1} {:8.3} | {:6.0} {:6.0}",
            instructions / SECTORS as f64,
            wait * 1000.0 / SECTORS as f64,
            rate("q35"),
            rate("pc")
        );
    }
}
