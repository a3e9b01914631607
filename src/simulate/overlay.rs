//! What was written to a disk, kept beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are kept together.
const PAGE: u64 = 64 * 1024;

/// Pages of a disk that were written, in a file without a name: a restore may well be larger than the
/// memory.
pub struct Overlay {
    scratch: File,
    /// Which page stands where in the scratch file, both counted in pages.
    places: HashMap<u64, u64>,
}

impl Overlay {
    /// Nothing was written yet.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new() -> io::Result<Self> {
        Ok(Self { scratch: tempfile::tempfile()?, places: HashMap::new() })
    }

    /// Reads from byte `at` on: what was written, and `base` for the rest.
    ///
    /// # Errors
    /// Those of either file.
    pub fn read(&self, base: &File, at: u64, into: &mut [u8]) -> io::Result<()> {
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let (page, skip) = (at / PAGE, at % PAGE);
            let (now, later) = rest.split_at_mut(piece(skip, rest.len()));
            match self.places.get(&page) {
                Some(place) => self.scratch.read_exact_at(now, place * PAGE + skip)?,
                None => base.read_exact_at(now, at)?,
            }
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Writes from byte `at` on.
    ///
    /// # Errors
    /// Those of either file.
    pub fn write(&mut self, base: &File, at: u64, data: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let (page, skip) = (at / PAGE, at % PAGE);
            let (now, later) = rest.split_at(piece(skip, rest.len()));
            let place = self.place(base, page, now.len() as u64 == PAGE)?;
            self.scratch.write_all_at(now, place * PAGE + skip)?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Where a page stands that is about to be written, all of it or a part.
    fn place(&mut self, base: &File, page: u64, whole: bool) -> io::Result<u64> {
        if let Some(place) = self.places.get(&page) {
            return Ok(*place);
        }
        let place = self.places.len() as u64;
        if !whole {
            let mut old = vec![0; PAGE as usize];
            let bytes = read_up_to_end(base, page * PAGE, &mut old)?;
            self.scratch.write_all_at(&old[..bytes], place * PAGE)?;
        }
        self.places.insert(page, place);
        Ok(place)
    }
}

/// How many of `wanted` bytes stand in the page in which they begin after `skip` bytes.
fn piece(skip: u64, wanted: usize) -> usize {
    wanted.min((PAGE - skip) as usize)
}

/// A disk need not end with a page.
fn read_up_to_end(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64)? {
            0 => break,
            bytes => done += bytes,
        }
    }
    Ok(done)
}
