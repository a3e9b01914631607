//! Whose sectors are whose: a text behind a table's blocks, read only when something is wrong.
//!
//! The first line repeats the partition's `protect` words, as logic.txt has them; each other line is
//! `FIRST SECTORS NAME`, sectors counted from the partition's beginning, in their order.

use alloc::format;
use alloc::string::{String, ToString};

use crate::event::printable;

/// At most so many names are told of one finding.
const MOST: usize = 2;

/// The names of what stands in some sectors, as a line shows them.
#[derive(Default)]
pub struct Finder {
    found: String,
    last: String,
    count: usize,
}

impl Finder {
    /// Takes one more.
    pub fn add(&mut self, name: &str) {
        if name == self.last {
            return;
        }
        self.last = name.to_string();
        self.count += 1;
        if self.count <= MOST {
            let comma = if self.found.is_empty() { "" } else { ", " };
            self.found.extend([comma, printable(name).as_str()]);
        }
    }

    /// The names; empty where none is known.
    #[must_use]
    pub fn names(self) -> String {
        match self.count.saturating_sub(MOST) {
            0 => self.found,
            more => format!("{} and {more} more", self.found),
        }
    }
}

/// A line's first sector, the one behind its last, and the name.
pub(super) fn parse(line: &str) -> Option<(u64, u64, &str)> {
    let (from, rest) = line.split_once(' ')?;
    let (count, name) = rest.split_once(' ')?;
    let from: u64 = from.parse().ok()?;
    Some((from, from.checked_add(count.parse().ok()?)?, name))
}
