//! One BIOS drive: transfers of any length, with retries. What is retried, how, and for how long is
//! decided here; what the data means is not.

use crate::bios::int13::{self, Direction};
use crate::bounce::{self, Bounce};
use crate::clock;
use knownstate_core::machine::IoError;

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

    /// At most `most` blocks at once.
    pub const fn at_most(most: u16) -> Self {
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
            let count = self.piece(bounce, Direction::Read, at, rest.len(), &[])?;
            let (now, later) = rest.split_at_mut(usize::from(count) * self.block);
            now.copy_from_slice(bounce.bytes(now.len()));
            (at, rest) = (at + u64::from(count), later);
        }
        Ok(())
    }

    /// Writes `data`, a multiple of the block size.
    pub fn write(&mut self, bounce: &mut Bounce, first: u64, data: &[u8]) -> Result<(), IoError> {
        let (mut at, mut rest) = (first, data);
        while !rest.is_empty() {
            let count = self.piece(bounce, Direction::Write, at, rest.len(), rest)?;
            (at, rest) = (at + u64::from(count), &rest[usize::from(count) * self.block..]);
        }
        Ok(())
    }

    /// Moves the first piece of `length` bytes and says how many blocks that was: as many as fit, fewer
    /// after errors, since firmware has limits that it doesn't tell.
    fn piece(
        &mut self,
        bounce: &mut Bounce,
        direction: Direction,
        at: u64,
        length: usize,
        data: &[u8],
    ) -> Result<u16, IoError> {
        let wanted = u16::try_from(length / self.block).unwrap_or(u16::MAX);
        let first = wanted.min(self.pace.now).max(1);
        let mut count = first;
        let end = clock::now().saturating_add(PATIENCE);
        let (mut failures, mut here) = (0_u8, 0_u8);
        loop {
            let Err(error) = self.once(bounce, direction, at, count, data) else {
                self.pace.learn(count, count < first);
                return Ok(count);
            };
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

    /// One call, with its data moved through the bounce buffer.
    fn once(&self, bounce: &mut Bounce, direction: Direction, at: u64, count: u16, data: &[u8]) -> Result<(), IoError> {
        let length = usize::from(count) * self.block;
        match direction {
            Direction::Read => bounce.mark(length, self.block),
            Direction::Write => bounce.bytes(length).copy_from_slice(&data[..length]),
        }
        int13::transfer(direction, self.number, at, count, bounce::ADDRESS)?;
        if direction == Direction::Read && bounce.is_marked(length, self.block) {
            return Err(IoError::Short);
        }
        Ok(())
    }

    /// Between two tries. The first failure is often a transient one: no reset yet.
    fn recover(&self, failures: u8) {
        match self.kind {
            Kind::Cd => clock::wait(500),
            Kind::HardDisk if failures >= 2 => int13::reset(self.number),
            Kind::HardDisk => {}
        }
    }
}
