//! Disks as files with holes: a case on 1 GiB costs what is stored of it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

use crate::common::machine::Disk;

const SECTOR: u64 = 512;

/// A file of so many sectors, all of them zeros; what was there is gone.
pub fn make(path: &Path, sectors: u64) {
    File::create(path).and_then(|file| file.set_len(sectors * SECTOR)).unwrap();
}

/// Gives a file another length.
pub fn resize(path: &Path, sectors: u64) {
    File::options().write(true).open(path).and_then(|file| file.set_len(sectors * SECTOR)).unwrap();
}

/// How many sectors a file has.
pub fn sectors(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len() / SECTOR
}

/// Puts bytes at a byte of a file.
pub fn poke(path: &Path, at: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Bytes from byte `at` on; zeros behind the end.
pub fn peek(path: &Path, at: u64, bytes: usize) -> Vec<u8> {
    let (file, mut into) = (File::open(path).unwrap(), vec![0; bytes]);
    let (mut done, mut got) = (0, 1);
    while got > 0 && done < bytes {
        got = file.read_at(&mut into[done..], at + done as u64).unwrap();
        done += got;
    }
    into
}

/// The byte ranges of a file that are stored; all between them is zeros.
pub fn stored(file: &File) -> io::Result<Vec<Range<u64>>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    // Behind the last data the seek fails.
    while let Ok(from) = seek(file, SeekFrom::Data(at)) {
        at = seek(file, SeekFrom::Hole(from))?;
        ranges.push(from..at);
    }
    Ok(ranges)
}

/// Copies what is stored in one file into another, from byte `at` on. Where the first has holes the other keeps what
/// it has, as a disk does under a program that formats without discarding.
pub fn lay(from: &Path, to: &Path, at: u64) {
    let (from, to) = (File::open(from).unwrap(), File::options().write(true).open(to).unwrap());
    each_block(&from, |place, block| to.write_all_at(block, at + place).unwrap());
}

/// Makes `to` a copy of `from`, holes and all.
pub fn copy(from: &Path, to: &Path) {
    make(to, sectors(from));
    lay(from, to, 0);
}

/// The disk in such a file.
pub fn load(drive: u8, path: &Path) -> Disk {
    let mut disk = Disk::blank(drive, sectors(path));
    each_block(&File::open(path).unwrap(), |at, block| {
        for (n, page) in block.chunks(8192).enumerate().filter(|(_, page)| page.iter().any(|&b| b != 0)) {
            disk.sectors.write(at / SECTOR + n as u64 * 16, page);
        }
    });
    disk
}

/// Everything that is stored in a file, in blocks that begin at multiples of 4 KiB, each with its place.
fn each_block(file: &File, what: impl FnMut(u64, &[u8])) {
    each_block_of(file, 0..u64::MAX, what);
}

/// What is stored of these bytes.
fn each_block_of(file: &File, wanted: Range<u64>, mut what: impl FnMut(u64, &[u8])) {
    let mut buffer = vec![0; 1 << 20];
    for range in stored(file).unwrap() {
        let (mut at, end) = (range.start.max(wanted.start), range.end.min(wanted.end));
        while at < end {
            let length = (end - at).min(buffer.len() as u64) as usize;
            file.read_exact_at(&mut buffer[..length], at).unwrap();
            what(at, &buffer[..length]);
            at += length as u64;
        }
    }
}

/// Whether bytes `range` are one byte again and again. What is not stored is zeros.
pub fn is_one_byte(path: &Path, range: Range<u64>) -> bool {
    let first = peek(path, range.start, 1)[0];
    let (mut same, mut read) = (true, 0);
    each_block_of(&File::open(path).unwrap(), range.clone(), |_, block| {
        read += block.len() as u64;
        same &= block.iter().all(|&b| b == first);
    });
    same && (first == 0 || read == range.end - range.start)
}

/// Whether two files hold the same bytes.
pub fn same(a: &Path, b: &Path) -> bool {
    sectors(a) == sectors(b) && is_same_in(a, b, 0..u64::MAX)
}

/// Whether two files hold the same in these bytes.
pub fn is_same_in(a: &Path, b: &Path, range: Range<u64>) -> bool {
    covered(a, b, range.clone()) && covered(b, a, range)
}

/// Whether all that is stored in `a` stands in `b` too.
fn covered(a: &Path, b: &Path, range: Range<u64>) -> bool {
    let mut same = true;
    each_block_of(&File::open(a).unwrap(), range, |at, block| same &= peek(b, at, block.len()) == block);
    same
}
