//! Marks: bytes by which somebody's tools know a disk or a partition as theirs.
//!
//! One table says what is looked for and where, as libblkid does (util-linux; `blkid` and `wipefs` name what it
//! finds), and where each owner's own tools look. docs/MARKS.md lists it. An MBR's table is no mark: who looks for
//! marks reads it anyway, and [`owner_of_type`] says what a type byte tells. A protective MBR is one, since it
//! stands for a GPT.

mod checks;
mod kinds;
mod labels;
mod table;
mod view;

use alloc::vec::Vec;

pub use kinds::{is_extended, owner_of_type};

use crate::machine::{DiskId, IoError, Machine};
use crate::units::{Lba, SECTOR};
use table::{MARKS, Places, SPANS};
use view::View;

/// What a mark was found on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A whole disk.
    Disk,
    /// A partition of one.
    Partition,
}

/// One mark that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose it is, as people know it: "LVM", "LUKS", "an ext filesystem", "GPT" (for "carries {owner}").
    pub owner: &'static str,
    /// The first sector of the disk that holds the bytes by which it is known.
    pub at: Lba,
    /// How many sectors hold those bytes: what has to be zeroed so that nobody names it any more.
    pub sectors: u64,
    /// Whether its place is counted from the beginning of what it is on, and not from the end.
    pub from_beginning: bool,
}

/// All that was found, and what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The most telling first: what holds other things before filesystems, as in the table.
    pub found: Vec<Found>,
    /// The first place that could not be read. The very first sector only if all others could: it counts as
    /// destroyed, and others don't.
    pub unreadable: Option<(Lba, IoError)>,
}

/// So many sectors are read at once.
const WINDOW: u64 = 128;
/// So many sectors from the beginning on, and to the end, are read whole. Marks farther in are read one by one.
const HEAD: u64 = 512;
const TAIL: u64 = 64;
/// After so many reads that failed nothing more is read: each may take a drive many seconds.
const FAILURES: u32 = 8;

/// Looks for all marks on a disk (`start` 0), or on a partition, of `sectors` sectors, which begins at the disk's
/// sector `start`. It reads at most about 650 sectors, where there is no ZFS. What can't be read yields no mark,
/// and is told.
pub fn look(machine: &mut dyn Machine, disk: DiskId, start: Lba, sectors: u64, on: On) -> Marks {
    look_between(machine, disk, start, sectors, (0, 0), on)
}

/// The same where so many sectors at the beginning, and at the end, are known to be blank, so that no mark is there.
pub fn look_between(
    machine: &mut dyn Machine,
    disk: DiskId,
    start: Lba,
    sectors: u64,
    blank: (u64, u64),
    on: On,
) -> Marks {
    let mut search = Search { machine, disk, start, sectors, on, failures: 0, marks: Marks::default() };
    let (from, to) = (blank.0.min(sectors), sectors.saturating_sub(blank.1));
    let head = HEAD.min(sectors);
    let tail = sectors.saturating_sub(TAIL).max(head);
    search.windows(from, head);
    search.windows(tail.max(from), to);
    for sector in far_places(sectors).filter(|&sector| sector >= head.max(from) && sector < tail.min(to)) {
        search.windows(sector, sector + 1);
    }
    if search.marks.found.iter().any(|found| found.owner == table::ZFS) {
        for label in labels::all(Some(sectors)).into_iter().flatten() {
            let uberblocks = labels::uberblocks(label);
            search.windows(uberblocks.start.max(HEAD), uberblocks.end.min(tail));
        }
    }
    search.marks
}

/// The marks within the first sectors of a disk or a partition, which the caller has read already. `head` is
/// what stands from the disk's sector `start` on. Reads nothing.
#[must_use]
pub fn in_head(head: &[u8], start: Lba, on: On) -> Vec<Found> {
    let mut found = Vec::new();
    find(&View { first: 0, bytes: head, sectors: None, on }, start, &mut found);
    found
}

/// The sectors of all places of the table that are on a volume of so many sectors; some more than once.
fn far_places(sectors: u64) -> impl Iterator<Item = u64> {
    MARKS.iter().flat_map(move |mark| mark.places(Some(sectors))).map(|place| place / SECTOR as u64)
}

/// A search that goes on.
struct Search<'a> {
    machine: &'a mut dyn Machine,
    disk: DiskId,
    start: Lba,
    sectors: u64,
    on: On,
    failures: u32,
    marks: Marks,
}

impl Search<'_> {
    /// Looks at the sectors from `from` up to `to`, counted from the beginning of the volume.
    fn windows(&mut self, from: u64, to: u64) {
        let mut bytes = Vec::new();
        let mut first = from;
        while first < to {
            let sectors = WINDOW.min(to - first);
            bytes.clear();
            bytes.resize(sectors as usize * SECTOR, 0);
            self.read(first, &mut bytes);
            let view = View { first, bytes: &bytes, sectors: Some(self.sectors), on: self.on };
            find(&view, self.start, &mut self.marks.found);
            first += sectors;
        }
    }

    /// Reads as much as can be read; the rest stays zeros, in which nothing is found.
    fn read(&mut self, first: u64, bytes: &mut [u8]) {
        let Err(error) = self.try_read(first, bytes) else { return };
        if bytes.len() == SECTOR || self.failures >= FAILURES {
            return self.tell(first, error);
        }
        // What was read before the error may be anything.
        bytes.fill(0);
        for (sector, bytes) in (first..).zip(bytes.chunks_mut(SECTOR)) {
            if let Err(error) = self.try_read(sector, bytes) {
                bytes.fill(0);
                self.tell(sector, error);
            }
        }
    }

    fn try_read(&mut self, first: u64, bytes: &mut [u8]) -> Result<(), IoError> {
        if self.failures >= FAILURES {
            return Err(self.marks.unreadable.map_or(IoError::Short, |(_, error)| error));
        }
        let read = self.machine.read_disk_once(self.disk, Lba(self.start.0.saturating_add(first)), bytes);
        self.failures += u32::from(read.is_err());
        read
    }

    fn tell(&mut self, sector: u64, error: IoError) {
        let at = Lba(self.start.0.saturating_add(sector));
        if self.marks.unreadable.is_none_or(|(told, _)| told == self.start) {
            self.marks.unreadable = Some((at, error));
        }
    }
}

/// Adds what a view shows.
#[inline(never)]
fn find(view: &View<'_>, start: Lba, found: &mut Vec<Found>) {
    for mark in MARKS {
        for place in mark.places(view.sectors).filter(|&place| mark.stands(view, place)) {
            let from_beginning = matches!(mark.places, Places::Begin(_));
            add(found, mark.owner, start, place / SECTOR as u64, 1, from_beginning);
        }
    }
    for span in SPANS {
        let mut sectors = view.numbered().filter(|&(n, bytes)| (span.stands)(view, n, bytes)).map(|(n, _)| n);
        if let Some(first) = sectors.next() {
            let last = sectors.last().unwrap_or(first);
            let from_beginning = view.sectors.is_none_or(|all| first < all / 2);
            add(found, span.owner, start, first, last - first + 1, from_beginning);
        }
    }
}

/// Adds one, unless it is there or part of one, at its place in the order.
fn add(found: &mut Vec<Found>, owner: &'static str, start: Lba, sector: u64, sectors: u64, from_beginning: bool) {
    let new = Found { owner, at: Lba(start.0.saturating_add(sector)), sectors, from_beginning };
    let covers = |a: &Found, b: &Found| {
        a.owner == b.owner && a.at <= b.at && b.at.0.saturating_add(b.sectors) <= a.at.0.saturating_add(a.sectors)
    };
    if found.iter().any(|old| covers(old, &new)) {
        return;
    }
    found.retain(|old| !covers(&new, old));
    let rank = |owner| MARKS.iter().position(|mark| mark.owner == owner).unwrap_or(MARKS.len());
    let key = |found: &Found| (rank(found.owner), found.at);
    let place = found.iter().position(|old| key(old) > key(&new)).unwrap_or(found.len());
    found.insert(place, new);
}
