//! The least that a step has to do: assembly programs that make the unavoidable INT 13h calls, and
//! nothing else.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::image::Run;
use crate::subjects::{CD_SECTORS, Layout, floor};

/// The transfer sizes to try, in sectors: 64 is what every BIOS takes, 127 what the specification of the
/// extensions allows, 128 fills 64 KiB.
pub const SIZES: [u64; 3] = [64, 127, 128];

/// Where a CD has what [`writer`] copies: behind all that xorriso puts there.
const CONTENT: u64 = 1024;

/// The longest table, in CD sectors: read in one transfer.
const TABLE_MOST: usize = 32;

/// A CD that reads runs of the first disk, at most `most` sectors a call.
pub fn reader(name: &str, runs: &[Run], most: u64) -> PathBuf {
    let table = table(runs.iter().map(|run| vec![run.at, run.sectors]), 2);
    let constants = [("MOST", most), ("TABLE", table.len() as u64 / 2048)];
    floor(name, "read", &constants, &table)
}

/// A CD that copies runs of `image`, which it carries uncompressed, to both partitions.
pub fn writer(name: &str, image: &Path, runs: &[Run], layout: Layout, back: bool) -> PathBuf {
    let content = content(image, runs);
    let mut block = 0;
    let entries = runs.iter().map(|run| {
        let entry = vec![block, run.at, run.sectors];
        block += run.sectors.div_ceil(4);
        entry
    });
    let table = table(entries, 3);
    let constants = [
        ("TABLE", table.len() as u64 / 2048),
        ("CONTENT", CONTENT),
        ("P1", layout.p1),
        ("P2", layout.p2),
        ("BACK", u64::from(back)),
    ];
    let cd = floor(name, "write", &constants, &table);
    // xorriso takes no boot image of that size, and the floor needs no file.
    let file = OpenOptions::new().write(true).open(&cd).expect("it was made");
    assert!(CONTENT * 2048 + content.len() as u64 <= CD_SECTORS * 2048, "the image is too full for a floor's CD");
    file.write_all_at(&content, CONTENT * 2048).expect("it can be written");
    cd
}

/// Entries of 32-bit words, and one of zeros, in whole CD sectors.
fn table(entries: impl Iterator<Item = Vec<u64>>, words: usize) -> Vec<u8> {
    let all = entries.chain([vec![0; words]]).flatten();
    let mut bytes: Vec<u8> = all.flat_map(|word| (word as u32).to_le_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(2048), 0);
    assert!(bytes.len() <= TABLE_MOST * 2048, "too many runs for a floor's table");
    bytes
}

/// What stands in the runs, each from the beginning of a CD sector on.
fn content(image: &Path, runs: &[Run]) -> Vec<u8> {
    let file = File::open(image).expect("the image was made");
    let mut all = Vec::new();
    for run in runs {
        let begin = all.len();
        all.resize(begin + run.sectors as usize * 512, 0);
        file.read_exact_at(&mut all[begin..], run.at * 512).expect("the run is inside");
        all.resize(all.len().next_multiple_of(2048), 0);
    }
    all
}
