//! The ways in which a write can be cut.

use std::fmt;

use knownstate_core::units::SECTOR;

use crate::common::machine::{Disk, Happened};
use crate::world::{Kind, World};

/// Bytes after which a sector may be torn.
const STEP: usize = 64;
/// The writes before a cut that may still have been in the disk's own memory.
pub const UNFLUSHED: usize = 4;

/// What was on the disk when the power was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// So many whole sectors of the write, and this of the next.
    Cut { sectors: usize, next: Next },
    /// All of it; but of the writes before it, as far as they were not flushed, those whose bit is set here (the
    /// lowest is the last one's) were lost, and bit 7 says whether this one was as well.
    Lost(u8),
}

/// What became of the sector that was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Old,
    /// So many bytes are new.
    Torn(usize),
    Garbage,
    /// Its checksum on the disk is wrong: it can't be read until it is written again.
    Unreadable,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { sectors, next } => match next {
                Next::Old => write!(f, "{sectors}.old"),
                Next::Torn(bytes) => write!(f, "{sectors}.torn{bytes}"),
                Next::Garbage => write!(f, "{sectors}.garbage"),
                Next::Unreadable => write!(f, "{sectors}.unreadable"),
            },
            Self::Lost(which) => write!(f, "lost{which:08b}"),
        }
    }
}

impl Way {
    /// As [`Way::fmt`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(bits) = text.strip_prefix("lost") {
            return u8::from_str_radix(bits, 2).ok().map(Self::Lost);
        }
        let (sectors, next) = text.split_once('.')?;
        let next = match next {
            "old" => Next::Old,
            "garbage" => Next::Garbage,
            "unreadable" => Next::Unreadable,
            torn => Next::Torn(torn.strip_prefix("torn")?.parse().ok()?),
        };
        Some(Self::Cut { sectors: sectors.parse().ok()?, next })
    }
}

/// Every way in which write `number` of these can be cut, at the sectors of these kinds.
pub fn ways(world: &World, writes: &[&Happened], number: usize, kinds: fn(Kind) -> bool) -> Vec<Way> {
    let Some(Happened::Wrote { at, data, .. }) = writes.get(number) else { return Vec::new() };
    let sectors = data.len() / SECTOR;
    let mut ways = Vec::new();
    for done in (0..sectors).filter(|done| kinds(world.kind(at + *done as u64).0)) {
        let torn = (STEP..SECTOR).step_by(STEP).map(Next::Torn);
        let next = [Next::Old, Next::Garbage, Next::Unreadable].into_iter().chain(torn);
        ways.extend(next.map(|next| Way::Cut { sectors: done, next }));
    }
    if ways.is_empty() {
        return ways;
    }
    ways.push(Way::Cut { sectors, next: Next::Old });
    let before = number.min(UNFLUSHED - 1) as u32;
    for which in 1..1_u8 << before {
        ways.extend([Way::Lost(which), Way::Lost(which | 0x80)]);
    }
    ways
}

/// The disk after the cut. `before` are the states that it had before each of the writes that count, the oldest
/// first; the last one is the state before the write that is cut.
pub fn cut(before: &[Disk], writes: &[&Happened], number: usize, way: Way) -> Disk {
    match way {
        Way::Cut { sectors, next } => {
            let mut disk = before[before.len() - 1].clone();
            if let Some(Happened::Wrote { at, data, taken: true, .. }) = writes.get(number) {
                tear(&mut disk, *at, data, sectors, next);
            }
            disk
        }
        Way::Lost(which) => {
            let back = before.len() - 1;
            let mut disk = before[0].clone();
            for (n, write) in (number - back..).zip(&writes[number - back..=number]) {
                let bit = if n == number { 7 } else { number - 1 - n };
                if which >> bit & 1 == 0 {
                    apply(&mut disk, write);
                }
            }
            disk
        }
    }
}

/// A write as it was meant to be.
pub fn apply(disk: &mut Disk, write: &Happened) {
    if let Happened::Wrote { at, data, taken: true, .. } = write {
        disk.sectors.write(*at, data);
        for lba in *at..at + (data.len() / SECTOR) as u64 {
            disk.unreadable.remove(&lba);
        }
    }
}

fn tear(disk: &mut Disk, at: u64, data: &[u8], sectors: usize, next: Next) {
    let (done, rest) = data.split_at(sectors * SECTOR);
    disk.sectors.write(at, done);
    let torn = at + sectors as u64;
    for lba in at..torn {
        disk.unreadable.remove(&lba);
    }
    match next {
        Next::Old => {}
        Next::Torn(bytes) => disk.sectors.write(torn, &rest[..bytes]),
        Next::Garbage => disk.sectors.write(torn, &[0xA5; SECTOR]),
        Next::Unreadable => {
            disk.unreadable.insert(torn);
        }
    }
}
