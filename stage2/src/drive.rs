//! One BIOS drive: transfers of any length, with retries. What is retried, how, and for how long is
//! decided here; what the data means is not.

use crate::bios::int13::{self, Direction};
use crate::bounce::{self, Bounce};
use crate::{clock, console};
use core::sync::atomic::{AtomicU32, Ordering};
use knownstate_core::machine::IoError;
use knownstate_core::units::SECTOR;

/// The most that a BIOS moves at once, in bytes: SeaBIOS refuses more, and ISA DMA can't.
const MOST_BYTES: usize = 0x1_0000;

/// Tries at the same size; then the size is halved, and what fails at the smallest size fails.
const TRIES: u8 = 2;

/// Tries of the smallest size.
const LAST_TRIES: u8 = 4;

/// No new try of the same piece begins later than this after its first.
const PATIENCE: u64 = 90_000;

/// Whether the error may mean that the BIOS can't do so many blocks at once: asking again for as many,
/// or waiting, would be a waste of time. Invalid request (iPXE), transfer across 64 KiB (SeaBIOS).
fn is_too_many(error: IoError) -> bool {
    matches!(error, IoError::Status(0x01 | 0x09))
}

/// What kind of medium it is, for the treatment of errors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reset between tries.
    HardDisk,
    /// Time between tries: it may be spinning up, and a reset may start that anew.
    Cd,
}

/// A drive that takes block numbers.
#[derive(Clone, Copy)]
pub struct Drive {
    /// The BIOS's number.
    pub number: u8,
    /// See [`Kind`].
    pub kind: Kind,
    /// Bytes in a block, 512 or 2048.
    pub block: usize,
    /// How many blocks to move at once.
    pub pace: Pace,
    /// Whether any call failed.
    pub failed: bool,
}

/// How many blocks to move at once: fewer after errors, then more again.
#[derive(Clone, Copy)]
pub struct Pace {
    most: u16,
    now: u16,
    good: u8,
}

impl Pace {
    /// So many transfers without an error, and the size is doubled.
    const RECOVERY: u8 = 16;

    /// As many blocks of so many bytes as any BIOS moves at once. One that moves fewer says so, or is found
    /// out; what works is remembered.
    pub const fn of_blocks(bytes: usize) -> Self {
        let most = (MOST_BYTES / bytes) as u16;
        Self { most, now: most, good: 0 }
    }

    /// After a piece that only worked with fewer blocks than were tried first, or at once.
    fn learn(&mut self, count: u16, was_reduced: bool) {
        self.good = if was_reduced { 0 } else { self.good + 1 };
        if was_reduced {
            self.now = count;
        } else if self.good == Self::RECOVERY {
            (self.now, self.good) = (self.now.saturating_mul(2).min(self.most), 0);
        }
    }

    /// The BIOS refuses so many.
    fn forbid(&mut self, count: u16) {
        self.most = (count / 2).max(1);
        self.now = self.now.min(self.most);
    }
}

impl Drive {
    /// Reads `into.len()` bytes, a multiple of the block size.
    pub fn read(&mut self, bounce: &mut Bounce, first: u64, into: &mut [u8]) -> Result<(), IoError> {
        let (mut at, mut rest) = (first, into);
        while !rest.is_empty() {
            let moved = if bounce::is_reachable(rest) {
                self.piece(at, &mut Memory::Into(rest))?
            } else {
                let low = bounce.bytes(rest.len());
                let moved = self.piece(at, &mut Memory::Into(low))?;
                rest[..moved].copy_from_slice(&low[..moved]);
                moved
            };
            (at, rest) = (at + (moved / self.block) as u64, &mut rest[moved..]);
        }
        Ok(())
    }

    /// Writes `data`, a multiple of the block size.
    pub fn write(&mut self, bounce: &mut Bounce, first: u64, data: &[u8]) -> Result<(), IoError> {
        let (mut at, mut rest) = (first, data);
        while !rest.is_empty() {
            let low = if bounce::is_reachable(rest) {
                rest
            } else {
                let low = bounce.bytes(rest.len());
                low.copy_from_slice(&rest[..low.len()]);
                &*low
            };
            let moved = self.piece(at, &mut Memory::From(low))?;
            (at, rest) = (at + (moved / self.block) as u64, &rest[moved..]);
        }
        Ok(())
    }

    /// Moves the first piece of some memory and says how many bytes that was: as many as fit, fewer after
    /// errors, since firmware has limits that it doesn't tell.
    fn piece(&mut self, at: u64, memory: &mut Memory<'_>) -> Result<usize, IoError> {
        let wanted = u16::try_from(memory.bytes().len() / self.block).unwrap_or(u16::MAX);
        let first = wanted.min(self.pace.now).max(1);
        let mut count = first;
        let end = clock::now().saturating_add(PATIENCE);
        let (mut failures, mut here) = (0_u8, 0_u8);
        loop {
            let Err(error) = self.once(at, count, memory) else {
                self.pace.learn(count, count < first);
                return Ok(usize::from(count) * self.block);
            };
            self.failed = true;
            (failures, here) = (failures.saturating_add(1), here + 1);
            let last_size = count == 1;
            if is_too_many(error) && !last_size {
                self.pace.forbid(count);
                (count, here) = (count / 2, 0);
                continue;
            }
            if clock::now() >= end || (last_size && here >= LAST_TRIES) {
                return Err(error);
            }
            if here >= TRIES && !last_size {
                (count, here) = (count / 2, 0);
            }
            self.recover(failures);
        }
    }

    /// One call.
    fn once(&self, at: u64, count: u16, memory: &mut Memory<'_>) -> Result<(), IoError> {
        match memory {
            Memory::From(data) => int13::transfer(Direction::Write, self.number, at, count, data.as_ptr() as u32),
            Memory::Into(into) => {
                let into = into.get_mut(..usize::from(count) * self.block).ok_or(IoError::OutOfRange)?;
                let mark = mark(into);
                let address = into.as_mut_ptr() as u32;
                int13::transfer(Direction::Read, self.number, at, count, address)?;
                if is_marked(into, mark) { Err(IoError::Short) } else { Ok(()) }
            }
        }
    }

    /// Between two tries. The first failure is often a transient one: no reset yet.
    fn recover(&self, failures: u8) {
        // Drives that fail make BIOSes wait for long, or for ever: what was said so far shall be known.
        console::flush();
        match self.kind {
            Kind::Cd => clock::wait(500),
            Kind::HardDisk if failures >= 2 => int13::reset(self.number),
            Kind::HardDisk => {}
        }
    }
}

/// Memory that the BIOS reaches.
enum Memory<'m> {
    /// To be read into.
    Into(&'m mut [u8]),
    /// To be written from.
    From(&'m [u8]),
}

impl Memory<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Into(bytes) => bytes,
            Self::From(bytes) => bytes,
        }
    }
}

/// Marks both ends of every 512 bytes before a read, whatever a block's length, with a pattern that is new each
/// time: some BIOSes report success without having moved anything.
#[inline(never)]
fn mark(memory: &mut [u8]) -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0x9E37_79B9);
    let mark = LAST.load(Ordering::Relaxed).wrapping_mul(0x4C95_7F2D).wrapping_add(0x1405_7B7F);
    LAST.store(mark, Ordering::Relaxed);
    for slot in memory.as_chunks_mut::<SECTOR>().0 {
        slot[..4].copy_from_slice(&mark.to_le_bytes());
        slot[SECTOR - 4..].copy_from_slice(&(!mark).to_le_bytes());
    }
    mark
}

/// Whether any still has its mark, at both ends: then it was not read.
#[inline(never)]
fn is_marked(memory: &[u8], mark: u32) -> bool {
    let (head, tail) = (mark.to_le_bytes(), (!mark).to_le_bytes());
    memory.as_chunks::<SECTOR>().0.iter().any(|slot| slot[..4] == head && slot[SECTOR - 4..] == tail)
}
