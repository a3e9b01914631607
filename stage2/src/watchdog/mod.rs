//! Watchdogs: chips that reset the machine unless they are told regularly not to. One file a chip, behind
//! [`chip`]; docs/WATCHDOG.md says how to add one. None is touched before a `watchdog` step asks.
//!
//! An armed one guards the boot of the system: its time runs from the hand-off. Until then every BIOS call that
//! comes back tells it that all is well (so what it also ends is a BIOS that hangs), and where a run ends in
//! another way it is stopped. One that can't be stopped goes on being told.

mod chip;
mod i6300esb;
mod ib700;
mod itco;

use crate::port::{inb, inl, inw, outb, outw};
use crate::{clock, pci};
use alloc::format;
use alloc::string::String;
use chip::{Armed, Bus};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use knownstate_core::machine::Watchdog;
use spin::Mutex;
use volatile::VolatilePtr;

/// It is told at most so often, in milliseconds; the shortest time that a step can ask for is a second.
const INTERVAL: u64 = 250;

/// The chips that count. A flow may arm one after the other.
struct Guards {
    armed: [Option<Armed>; Watchdog::ALL.len()],
    told: u64,
}

static GUARDS: Mutex<Guards> = Mutex::new(Guards { armed: [None; Watchdog::ALL.len()], told: 0 });

/// Whether any counts: what every BIOS call asks.
static ANY: AtomicBool = AtomicBool::new(false);

/// Arms one: the named one, or one that can be detected. Says which, or why there is none.
pub fn arm(seconds: u32, named: Option<Watchdog>) -> Result<String, String> {
    let armed = chip::arm(&mut Pc, seconds, named)?;
    if let Some(place) = GUARDS.lock().armed.get_mut(armed.chip as usize) {
        *place = Some(armed);
    }
    ANY.store(true, Ordering::Relaxed);
    Ok(format!("{}, {} s{}", armed.chip.name(), armed.seconds, armed.remark))
}

/// All is well. Costs nothing where none is armed.
pub fn ping() {
    if ANY.load(Ordering::Relaxed) {
        ping_after(INTERVAL);
    }
}

/// All is well for the last time: from here on the system has the time that it was given.
pub fn last_ping() {
    ping_after(0);
}

#[inline(never)]
fn ping_after(interval: u64) {
    // In use only while one is being armed.
    let Some(mut guards) = GUARDS.try_lock() else { return };
    let now = clock::now();
    if now.saturating_sub(guards.told) >= interval {
        guards.told = now;
        guards.armed.iter().flatten().for_each(|armed| armed.ping(&mut Pc));
    }
}

/// No system is going to be booted.
pub fn stop() {
    for place in &mut GUARDS.lock().armed {
        *place = place.take().filter(|armed| !armed.stop(&mut Pc));
    }
}

/// The machine's own registers. Memory is reached at its physical address: paging is off, segments are flat.
struct Pc;

impl Bus for Pc {
    fn last_bus(&mut self) -> Option<u8> {
        pci::last_bus()
    }

    unsafe fn select(&mut self, function: u16, register: u8) -> u16 {
        // SAFETY: nobody has a function's number but from a look at the buses that there are.
        unsafe { pci::select(function, register) }
    }

    unsafe fn in_byte(&mut self, port: u16) -> u8 {
        // SAFETY: the caller's promise, here and below.
        unsafe { inb(port) }
    }

    unsafe fn in_word(&mut self, port: u16) -> u16 {
        // SAFETY: as above.
        unsafe { inw(port) }
    }

    unsafe fn in_long(&mut self, port: u16) -> u32 {
        // SAFETY: as above.
        unsafe { inl(port) }
    }

    unsafe fn out_byte(&mut self, port: u16, value: u8) {
        // SAFETY: as above.
        unsafe { outb(port, value) }
    }

    unsafe fn out_word(&mut self, port: u16, value: u16) {
        // SAFETY: as above.
        unsafe { outw(port, value) }
    }

    unsafe fn word(&mut self, address: u32) -> u16 {
        // SAFETY: as above.
        unsafe { register(address) }.read()
    }

    unsafe fn long(&mut self, address: u32) -> u32 {
        // SAFETY: as above.
        unsafe { register(address) }.read()
    }

    unsafe fn set_word(&mut self, address: u32, value: u16) {
        // SAFETY: as above.
        unsafe { register(address) }.write(value);
    }

    unsafe fn set_long(&mut self, address: u32, value: u32) {
        // SAFETY: as above.
        unsafe { register(address) }.write(value);
    }
}

/// A register in memory.
///
/// # Safety
/// There is one of this length, in use by nobody else.
unsafe fn register<T: Copy>(address: u32) -> VolatilePtr<'static, T> {
    // SAFETY: the caller's promise.
    unsafe { VolatilePtr::new(NonNull::new(address as *mut T).unwrap_or(NonNull::dangling())) }
}
