//! The TCO timer of Intel's controller hubs since the ICH6, behind their LPC bridge (ICH9 datasheet 316972,
//! sections 13.1, 13.8.3, 13.9 and 10.1.75).

use super::chip::{Armed, Bus, DEAF, Fault, base, config, find};
use knownstate_core::machine::Watchdog;

/// LPC bridges whose timer is programmed so, and which other loaders drive: ICH9 (QEMU's q35), NM10, Lynx
/// Point, Wellsburg, Wildcat Point-LP.
const DEVICES: [u16; 5] = [0x2918, 0x27BC, 0x8C4E, 0x8D44, 0x9CC3];
/// In configuration space: the base of the power management ports, and whether they are decoded.
const PORTS: u8 = 0x40;
/// See [`PORTS`].
const PORTS_CONTROL: u8 = 0x44;
/// See [`PORTS`].
const DECODES_PORTS: u32 = 1 << 7;
/// In configuration space: the base of the chipset's registers, decoded with bit 0.
const CHIPSET: u8 = 0xF0;
/// In the chipset's registers: bit 5 keeps the reset in. A strap on the board may hold it at 1.
const GENERAL: u32 = 0x3410;
/// See [`GENERAL`].
const NO_REBOOT: u32 = 1 << 5;
/// Among the power management ports: the timer raises a system management interrupt if both bits are set.
const SMI_ENABLE: u16 = 0x30;
/// See [`SMI_ENABLE`].
const TIMER_INTERRUPTS: u32 = 1 << 13 | 1 << 0;
/// Among the power management ports: where the timer's own begin, all of them words.
const TIMER: u32 = 0x60;
/// A write makes it count from the beginning.
const RELOAD: u16 = 0x00;
/// Bit 3: it ran out once. Cleared by a 1.
const STATUS_1: u16 = 0x04;
/// See [`STATUS_1`].
const RAN_OUT_ONCE: u16 = 1 << 3;
/// Bit 1: it ran out twice; bit 2: and the processor did not start. Each cleared by a 1, in this order.
const STATUS_2: u16 = 0x06;
/// See [`STATUS_2`].
const RAN_OUT: u16 = 1 << 1;
/// See [`STATUS_2`].
const NO_START: u16 = 1 << 2;
/// Bit 11 halts it, bit 9 turns NMIs into SMIs and stays as it is. Bit 12 locks until the next reset what
/// the BIOS wants of it, and is never set here; bit 8 raises an NMI.
const CONTROL: u16 = 0x08;
/// See [`CONTROL`].
const HALTED: u16 = 1 << 11;
/// See [`CONTROL`].
const NMI_TO_SMI: u16 = 1 << 9;
/// What it begins with, 10 bits, in ticks of 0.6 s; values below 4 are not allowed.
const INITIAL: u16 = 0x12;
/// See [`INITIAL`].
const INITIAL_BITS: u16 = 0x3FF;
/// See [`INITIAL`].
const LEAST_TICKS: u32 = 4;

/// Arms it.
pub fn arm<B: Bus>(bus: &mut B, seconds: u32) -> Result<Armed, Fault> {
    let bridge = find(bus, &DEVICES)?;
    // SAFETY: the bridge was found by its ID, and the registers are where its base addresses say, which were
    // seen to be addresses, and to be decoded, before anything is touched there.
    unsafe {
        let decoded = config(bus, bridge, PORTS_CONTROL) & DECODES_PORTS != 0;
        let ports = base(config(bus, bridge, PORTS), 0xFF80, decoded)?;
        let chipset = config(bus, bridge, CHIPSET);
        let general = base(chipset, !0x3FFF, chipset & 1 != 0)? + GENERAL;
        if set_reboot(bus, general, true) & NO_REBOOT != 0 {
            return Err("is forbidden to reset, by a strap on the board");
        }
        // Where its interrupt is not handled, it runs down a second time until it resets.
        let interrupts = bus.in_long(ports as u16 + SMI_ENABLE) & TIMER_INTERRUPTS;
        let periods = if interrupts == TIMER_INTERRUPTS { 1 } else { 2 };
        let ticks = (seconds * 10).div_ceil(6 * periods).max(LEAST_TICKS);
        let seconds = (ticks * periods * 6).div_ceil(10);
        let timer = (ports + TIMER) as u16;
        let remark = if bus.in_word(timer + STATUS_2) & RAN_OUT != 0 { "; it had run out before" } else { "" };
        let armed = Armed { chip: Watchdog::Itco, seconds, remark, places: [general, timer.into()] };

        halt(bus, timer, HALTED);
        let initial = bus.in_word(timer + INITIAL) & !INITIAL_BITS | ticks as u16;
        for (register, value) in
            [(STATUS_1, RAN_OUT_ONCE), (STATUS_2, RAN_OUT), (STATUS_2, NO_START), (INITIAL, initial), (RELOAD, 1)]
        {
            bus.out_word(timer + register, value);
        }
        if bus.in_word(timer + INITIAL) == initial && halt(bus, timer, 0) == 0 {
            ping(bus, &armed);
            return Ok(armed);
        }
        stop(bus, &armed);
        Err(DEAF)
    }
}

/// Makes it count from the beginning.
pub fn ping<B: Bus>(bus: &mut B, armed: &Armed) {
    // SAFETY: the chip was found, and this is its port.
    unsafe { bus.out_word(armed.places[1] as u16 + RELOAD, 1) }
}

/// Stops it, and forbids it to reset, as the BIOS had; whether it stands still.
pub fn stop<B: Bus>(bus: &mut B, armed: &Armed) -> bool {
    // SAFETY: the chip was found, and these are its registers.
    unsafe {
        set_reboot(bus, armed.places[0], false);
        halt(bus, armed.places[1] as u16, HALTED) != 0
    }
}

/// Halts it with [`HALTED`], or lets it count with 0; which of them it says then.
///
/// # Safety
/// The ports are this chip's.
#[inline(never)]
unsafe fn halt<B: Bus>(bus: &mut B, timer: u16, halted: u16) -> u16 {
    // SAFETY: the caller's promise.
    unsafe {
        let kept = bus.in_word(timer + CONTROL) & NMI_TO_SMI;
        bus.out_word(timer + CONTROL, kept | halted);
        bus.in_word(timer + CONTROL) & HALTED
    }
}

/// Lets it reset the machine, or not; what the register says then.
///
/// # Safety
/// The register is this chip's.
#[inline(never)]
unsafe fn set_reboot<B: Bus>(bus: &mut B, general: u32, reboot: bool) -> u32 {
    // SAFETY: the caller's promise; the other bits stay as they are.
    unsafe {
        let others = bus.long(general) & !NO_REBOOT;
        bus.set_long(general, if reboot { others } else { others | NO_REBOOT });
        bus.long(general)
    }
}
