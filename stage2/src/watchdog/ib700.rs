//! The watchdog of iBASE's IB700 single-board computers, and of QEMU's `-device ib700`: two ISA ports, neither
//! of which can be read. So it is driven only where logic.txt names it.

use super::chip::{Armed, Bus};
use knownstate_core::machine::Watchdog;

/// A write of anything stops it.
const STOP: u16 = 0x441;
/// A write makes it count down: from 30 s for 0, from two fewer for each one more.
const START: u16 = 0x443;
/// What it counts from at most, in pairs of seconds.
const MOST_PAIRS: u32 = 15;

/// Arms it.
pub fn arm<B: Bus>(bus: &mut B, seconds: u32) -> Armed {
    let pairs = seconds.div_ceil(2).min(MOST_PAIRS);
    let remark = "; nothing tells whether there is one";
    let armed = Armed { chip: Watchdog::Ib700, seconds: 2 * pairs, remark, places: [0, MOST_PAIRS - pairs] };
    ping(bus, &armed);
    armed
}

/// Makes it count from the beginning.
pub fn ping<B: Bus>(bus: &mut B, armed: &Armed) {
    // SAFETY: logic.txt says that this machine has the card, whose port this is.
    unsafe { bus.out_byte(START, armed.places[1] as u8) }
}

/// Stops it.
pub fn stop<B: Bus>(bus: &mut B) -> bool {
    // SAFETY: as above.
    unsafe { bus.out_byte(STOP, 0) }
    true
}
