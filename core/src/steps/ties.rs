//! Which ranges have to be mended together or not at all: under `protect PATH` a file is either as it was
//! sealed or as the system left it, and never half of each.
//!
//! A range that holds parts of several files ties those together. What is known of a file is the hash of its
//! name: two names with one hash are tied as well, which only leaves more alone.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::hash::hash;
use crate::machine::Machine;
use crate::table::{Entry, Table};

/// Places for files; a power of two. All of it takes 208 KiB, and only while a heal looks for what can be mended.
const SLOTS: usize = 1 << 14;
/// So many files are kept apart: a search for one ends soon while a quarter of the places is free.
const MOST: usize = SLOTS / 4 * 3;

/// Files, in groups that stay together.
pub(crate) struct Ties {
    /// The hashes of names, each at the first free place from the one on that the hash gives; 0 is free.
    hashes: Vec<u64>,
    /// For each place another one of its group, or itself.
    next: Vec<u32>,
    /// For the places that are their own next: whether the group must not be touched.
    refused: Vec<bool>,
    files: usize,
}

impl Ties {
    /// None yet.
    pub fn new() -> Self {
        let next = (0..).take(SLOTS).collect();
        Self { hashes: vec![0; SLOTS], next, refused: vec![false; SLOTS], files: 0 }
    }

    /// Whether there were more files than can be kept apart: then nothing is known of any.
    pub fn is_full(&self) -> bool {
        self.files > MOST
    }

    /// Ties together the files that share any of these ranges, which are in the order of the disk. `refused` says
    /// of each range whether it can't be mended.
    ///
    /// # Errors
    /// That it can't be told whose they are.
    #[inline(never)]
    pub fn add(
        &mut self,
        machine: &mut dyn Machine,
        seal: &Table,
        entries: &[Entry],
        refused: &[bool],
    ) -> Result<(), String> {
        let mut firsts: Vec<Option<usize>> = vec![None; entries.len()];
        seal.owners_of_each(machine, entries, &mut |entry, name| {
            let (Some(place), Some(first)) = (self.place(name), firsts.get_mut(entry)) else { return !self.is_full() };
            let first = *first.get_or_insert(place);
            self.join(first, place);
            if refused.get(entry) == Some(&true) {
                let leader = self.leader(place);
                self.mark(leader);
            }
            true
        })
    }

    /// Which of these ranges must not be touched for the sake of a file in them; nothing where a range is no file's.
    ///
    /// # Errors
    /// As [`Ties::add`].
    #[inline(never)]
    pub fn refused(
        &mut self,
        machine: &mut dyn Machine,
        seal: &Table,
        entries: &[Entry],
    ) -> Result<Vec<Option<bool>>, String> {
        let full = self.is_full();
        let mut refused = vec![None; entries.len()];
        seal.owners_of_each(machine, entries, &mut |entry, name| {
            let Some(refused) = refused.get_mut(entry).filter(|_| is_file(name)) else { return true };
            let leader = self.place(name).map(|place| self.leader(place));
            let now = full || leader.is_none_or(|leader| self.refused.get(leader) == Some(&true));
            *refused = Some(*refused == Some(true) || now);
            true
        })?;
        Ok(refused)
    }

    /// A file's place; none where it is no file, or where there is no room any more.
    fn place(&mut self, name: &str) -> Option<usize> {
        if !is_file(name) || self.is_full() {
            return None;
        }
        let wanted = hash(0, name.as_bytes()).max(1);
        let mut place = wanted as usize % SLOTS;
        loop {
            let there = self.hashes.get_mut(place)?;
            if *there == 0 {
                *there = wanted;
                self.files += 1;
                return (!self.is_full()).then_some(place);
            }
            if *there == wanted {
                return Some(place);
            }
            place = (place + 1) % SLOTS;
        }
    }

    /// The place that stands for a group. Whoever asks again has half as far to go.
    fn leader(&mut self, mut place: usize) -> usize {
        loop {
            let next = self.after(place);
            if next == place {
                return place;
            }
            let beyond = self.after(next);
            if let Some(shorter) = self.next.get_mut(place) {
                *shorter = beyond as u32;
            }
            place = beyond;
        }
    }

    fn after(&self, place: usize) -> usize {
        self.next.get(place).map_or(place, |next| *next as usize)
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.leader(a), self.leader(b));
        if self.refused.get(a) == Some(&true) {
            self.mark(b);
        }
        if let Some(next) = self.next.get_mut(a) {
            *next = b as u32;
        }
    }

    fn mark(&mut self, leader: usize) {
        if let Some(refused) = self.refused.get_mut(leader) {
            *refused = true;
        }
    }
}

/// Whether a name is that of a file or a directory. What has none, boot code, is not one thing.
fn is_file(name: &str) -> bool {
    name.starts_with('/')
}
