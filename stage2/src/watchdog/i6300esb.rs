//! The watchdog in Intel's 6300ESB controller hub (datasheet 300641, chapter 16), a PCI function of its own.
//! Two stages count down one after the other; at the end of the second one it resets the machine.

use super::chip::{Armed, Bus, DEAF, Fault, base, config, find};
use knownstate_core::machine::Watchdog;

/// Its device ID.
const DEVICES: [u16; 1] = [0x25AB];
/// PCI command register (PCI 3.0 section 6.2.2), and its bit that makes memory decoded.
const COMMAND: u8 = 4;
/// See [`COMMAND`].
const DECODES_MEMORY: u32 = 1 << 1;
/// The base address register (PCI 3.0 section 6.2.5.1): its low bits are 0 for memory below 4 GiB.
const BASE: u8 = 0x10;
/// See [`BASE`].
const KIND_OF_BASE: u32 = 0xF;
/// Configuration, a word: bit 5 keeps the reset in, bit 2 counts microseconds; bits 1 and 0: what the end of
/// the first stage raises, 3 for nothing.
const CONFIG: u8 = 0x60;
/// See [`CONFIG`].
const RESETS: u16 = 3;
/// See [`CONFIG`].
const DECIDES: u16 = 1 << 5 | 1 << 2;
/// Lock, a byte: bit 2 makes it run freely, bit 1 enables it, bit 0 locks this register until the next reset.
/// That bit is never set here: an OS without a driver could not stop what it does not know.
const LOCK: u8 = 0x68;
/// See [`LOCK`].
const LOCKED: u8 = 1 << 0;
/// See [`LOCK`].
const ENABLED: u8 = 1 << 1;
/// See [`LOCK`].
const RUNS_FREELY: u8 = 1 << 2;
/// In memory: what each stage begins with, 20 bits.
const PRELOADS: [u32; 2] = [0, 4];
/// In memory, a word: takes the two keys before every other write; bit 9: it ran out (cleared by a 1), bit 8:
/// count from the beginning.
const RELOAD: u32 = 0x0C;
/// See [`RELOAD`].
const KEYS: [u16; 2] = [0x80, 0x86];
/// See [`RELOAD`].
const RAN_OUT: u16 = 1 << 9;
/// See [`RELOAD`].
const RESTART: u16 = 1 << 8;
/// What a stage counts in half a second: the PCI clock of at most 33.33 MHz through 2^15 gives 509.
const HALF_SECOND: u32 = 512;

/// Arms it.
pub fn arm<B: Bus>(bus: &mut B, seconds: u32) -> Result<Armed, Fault> {
    let function = find(bus, &DEVICES)?;
    // SAFETY: the function was found by its ID, and the registers are its own: in its configuration space, and
    // where its base address says, which was seen to be one before anything is touched there.
    unsafe {
        let decoded = config(bus, function, COMMAND) & DECODES_MEMORY != 0;
        let register = config(bus, function, BASE);
        let memory = base(register, !KIND_OF_BASE, decoded && register & KIND_OF_BASE == 0)?;
        let ran_out = bus.word(memory + RELOAD) & RAN_OUT != 0;
        let remark = if ran_out { "; it caused the last reset" } else { "" };
        let armed = Armed { chip: Watchdog::I6300esb, seconds, remark, places: [memory, function.into()] };
        lock(bus, &armed, 0);
        restart(bus, memory, RAN_OUT | RESTART);
        for preload in PRELOADS {
            unlock(bus, memory);
            bus.set_long(memory + preload, seconds * HALF_SECOND);
        }
        let port = bus.select(function, CONFIG);
        bus.out_word(port, RESETS);
        if bus.in_word(port) & DECIDES == 0 && lock(bus, &armed, ENABLED) == ENABLED {
            ping(bus, &armed);
            return Ok(armed);
        }
        stop(bus, &armed);
        Err(DEAF)
    }
}

/// Makes it count from the beginning.
pub fn ping<B: Bus>(bus: &mut B, armed: &Armed) {
    // SAFETY: the chip was found, and this is its address.
    unsafe { restart(bus, armed.places[0], RESTART) }
}

/// Stops it; whether it stands still.
pub fn stop<B: Bus>(bus: &mut B, armed: &Armed) -> bool {
    // SAFETY: the chip was found.
    unsafe { lock(bus, armed, 0) & ENABLED == 0 }
}

/// Writes the lock register, unless somebody has locked it already; what it says then, apart from that.
///
/// # Safety
/// The chip was found.
#[inline(never)]
unsafe fn lock<B: Bus>(bus: &mut B, armed: &Armed, value: u8) -> u8 {
    // SAFETY: the caller's promise.
    unsafe {
        let port = bus.select(armed.places[1] as u16, LOCK);
        if bus.in_byte(port) & LOCKED == 0 {
            bus.out_byte(port, value);
        }
        bus.in_byte(port) & (ENABLED | RUNS_FREELY)
    }
}

/// Writes the reload register.
///
/// # Safety
/// The memory is this chip's.
#[inline(never)]
unsafe fn restart<B: Bus>(bus: &mut B, memory: u32, value: u16) {
    // SAFETY: the caller's promise.
    unsafe {
        unlock(bus, memory);
        bus.set_word(memory + RELOAD, value);
    }
}

/// Makes the next register written take what is written.
///
/// # Safety
/// The memory is this chip's.
#[inline(never)]
unsafe fn unlock<B: Bus>(bus: &mut B, memory: u32) {
    for key in KEYS {
        // SAFETY: the caller's promise.
        unsafe { bus.set_word(memory + RELOAD, key) }
    }
}
