//! How often in a row the machine was restarted by a program error, and how many restores there were: in memory,
//! which a reset leaves as it is on most machines. On a disk or in the clock's memory it would have to be written,
//! and nothing is to be for an error; and what bstate.txt says of restores is lost where every copy of it is.
//!
//! In conventional memory, because that is there on every machine, whatever is wrong with address line 20 or
//! with what lies above it; and low in it: SeaBIOS clears 7000h to 90000h before it boots (src/boot.c), and a
//! BIOS that unpacks itself does so above 10000h. Where firmware uses or tests that memory all the same the
//! count is lost, which the check tells, and the next one is the first.

use crate::memory::{RESTARTS, RESTORES};
use core::arch::asm;

/// `Kno!`
const MAGIC: u32 = 0x216F_6E4B;

/// What is kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Restarts {
    /// How many there were since power-on, or since a system was booted.
    pub times: u32,
    /// Where the last error was; 0 where it was no exception.
    pub at: u32,
    /// The sum of both and [`MAGIC`], inverted.
    check: u32,
}

impl Restarts {
    /// What an earlier start has left, if it did.
    pub fn found() -> Option<Self> {
        // SAFETY: conventional memory that the memory map gives to nobody else.
        let found = unsafe { (RESTARTS as *const Self).read_volatile() };
        (found.times != 0 && found.check == check(found.times, found.at)).then_some(found)
    }

    /// Counts another, and leaves that to the next start.
    pub fn count(at: u32) {
        let times = Self::found().map_or(0, |found| found.times).saturating_add(1);
        write(Self { times, at, check: check(times, at) });
        write_back();
    }

    /// A system is going to be booted.
    pub fn forget() {
        write(Self { times: 0, at: 0, check: 0 });
    }
}

/// How many restores were counted; 0 where that is not known.
pub fn restores() -> u32 {
    // SAFETY: as in [`Restarts::found`].
    let [times, sum] = unsafe { (RESTORES as *const [u32; 2]).read_volatile() };
    if sum == check(times, RESTORES) { times } else { 0 }
}

/// Leaves that number to the next start; 0 for none.
pub fn remember_restores(times: u32) {
    let sum = if times == 0 { 0 } else { check(times, RESTORES) };
    // SAFETY: as in [`Restarts::found`].
    unsafe { (RESTORES as *mut [u32; 2]).write_volatile([times, sum]) }
    write_back();
}

/// A reset may empty the processor's cache without a word to the memory.
fn write_back() {
    // SAFETY: writes back what is in the cache, and nothing else; every 486 has it.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) }
}

const fn check(times: u32, at: u32) -> u32 {
    !MAGIC.wrapping_add(times).wrapping_add(at)
}

fn write(restarts: Restarts) {
    // SAFETY: as in `found`.
    unsafe { (RESTARTS as *mut Restarts).write_volatile(restarts) }
}
