//! What a watchdog chip is to the loader, and how its registers are reached. This file and those of the chips
//! touch nothing but a [`Bus`], so that tests/watchdog.rs can run them on registers of its own, which end the
//! test when a chip's LOCK bit is set, or when anything else is written that the chip does not own.

use super::{i6300esb, ib700, itco};
use alloc::format;
use alloc::string::String;
use knownstate_core::machine::Watchdog;

/// A machine's registers. (Not used as `dyn`: with the machine's own known, most of these are one instruction.)
///
/// # Safety
/// All of these are unsafe to call alike: the register has to belong to a chip that was found, or that
/// logic.txt names; or to be an ID.
pub trait Bus {
    /// The number of the last PCI bus; none where there is no PCI. To be asked first.
    fn last_bus(&mut self) -> Option<u8>;
    /// Makes a register of a PCI function (bus, device and function in 8, 5 and 3 bits) appear at a port.
    unsafe fn select(&mut self, function: u16, register: u8) -> u16;
    /// Reads a port of 8 bits.
    unsafe fn in_byte(&mut self, port: u16) -> u8;
    /// Reads a port of 16 bits.
    unsafe fn in_word(&mut self, port: u16) -> u16;
    /// Reads a port of 32 bits.
    unsafe fn in_long(&mut self, port: u16) -> u32;
    /// Writes a port of 8 bits.
    unsafe fn out_byte(&mut self, port: u16, value: u8);
    /// Writes a port of 16 bits.
    unsafe fn out_word(&mut self, port: u16, value: u16);
    /// Reads 16 bits of memory.
    unsafe fn word(&mut self, address: u32) -> u16;
    /// Reads 32 bits of memory.
    unsafe fn long(&mut self, address: u32) -> u32;
    /// Writes 16 bits of memory.
    unsafe fn set_word(&mut self, address: u32, value: u16);
    /// Writes 32 bits of memory.
    unsafe fn set_long(&mut self, address: u32, value: u32);
}

/// A chip that counts.
#[derive(Clone, Copy)]
pub struct Armed {
    /// Which.
    pub chip: Watchdog,
    /// After so many seconds, rounded up, it resets the machine.
    pub seconds: u32,
    /// What else there is to say of it.
    pub remark: &'static str,
    /// Where its registers are, and what else its file has to know.
    pub places: [u32; 2],
}

/// Why a chip can't be armed.
pub type Fault = &'static str;

/// No PCI here, so no such chip.
pub const NO_PCI: Fault = "needs PCI";
/// No such chip here.
pub const ABSENT: Fault = "not there";
/// A base address in configuration space is 0 or all ones, or is not decoded.
pub const NO_ADDRESS: Fault = "has no address";
/// What was read back is not what was written.
pub const DEAF: Fault = "does not keep what is written to it";

/// Arms the first chip that can be; the named one only, if one is named. Without a name none is touched that
/// can't be detected.
pub fn arm<B: Bus>(bus: &mut B, seconds: u32, named: Option<Watchdog>) -> Result<Armed, String> {
    let mut faults = String::from("no watchdog found");
    let mut separator = ":";
    for chip in Watchdog::ALL {
        if named.map_or(chip == Watchdog::Ib700, |named| named != chip) {
            continue;
        }
        let armed = match chip {
            Watchdog::I6300esb => i6300esb::arm(bus, seconds),
            Watchdog::Itco => itco::arm(bus, seconds),
            Watchdog::Ib700 => Ok(ib700::arm(bus, seconds)),
        };
        match armed {
            Ok(armed) => return Ok(armed),
            Err(fault) => faults = format!("{faults}{separator} {} {fault}", chip.name()),
        }
        separator = ",";
    }
    Err(faults)
}

impl Armed {
    /// Makes it count from the beginning.
    pub fn ping<B: Bus>(&self, bus: &mut B) {
        match self.chip {
            Watchdog::I6300esb => i6300esb::ping(bus, self),
            Watchdog::Itco => itco::ping(bus, self),
            Watchdog::Ib700 => ib700::ping(bus, self),
        }
    }

    /// Stops it; whether it stands still.
    pub fn stop<B: Bus>(&self, bus: &mut B) -> bool {
        match self.chip {
            Watchdog::I6300esb => i6300esb::stop(bus, self),
            Watchdog::Itco => itco::stop(bus, self),
            Watchdog::Ib700 => ib700::stop(bus),
        }
    }
}

/// Looks for one of Intel's functions by its exact ID, on every bus.
#[inline(never)]
pub fn find<B: Bus>(bus: &mut B, devices: &[u16]) -> Result<u16, Fault> {
    const INTEL: u32 = 0x8086;
    let Some(last) = bus.last_bus() else { return Err(NO_PCI) };
    for function in 0..=u16::from(last) << 8 | 0xFF {
        // SAFETY: there is PCI, and reading an ID has no effect; where nothing is, it is all ones.
        let id = unsafe {
            let port = bus.select(function, 0);
            bus.in_long(port)
        };
        if id & 0xFFFF == INTEL && devices.contains(&((id >> 16) as u16)) {
            return Ok(function);
        }
    }
    Err(ABSENT)
}

/// A register of a function's configuration space.
///
/// # Safety
/// The function was found, and reading the register has no effect.
pub unsafe fn config<B: Bus>(bus: &mut B, function: u16, register: u8) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        let port = bus.select(function, register);
        bus.in_long(port)
    }
}

/// A base address out of a register, which has to be neither 0 nor all ones, and to be in use.
#[inline(never)]
pub fn base(register: u32, mask: u32, decoded: bool) -> Result<u32, Fault> {
    let base = register & mask;
    if base == 0 || base == mask || !decoded { Err(NO_ADDRESS) } else { Ok(base) }
}
