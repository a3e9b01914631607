//! When the program itself is wrong, or the machine can't run it: say where and why, and start over, since
//! nobody is there to press a key, and another start may find a better machine.

use crate::restarts::Restarts;
use crate::{clock, console, power};
use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

/// How long the message is shown, in seconds: long enough to read it, or to take a picture of it. Twice as
/// long at each restart in a row, so that a machine which can't come up does not wear itself out.
const SHOWN: u32 = 10;
/// See [`SHOWN`]; no longer than this, so that what was mended meanwhile is found.
const SHOWN_MOST: u32 = 600;
/// See [`SHOWN`]; more doublings than this are beyond [`SHOWN_MOST`].
const DOUBLINGS: u32 = 6;

static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Never called: build.rs makes every panic an undefined instruction, and so it comes to
/// [`crate::cpu::exception`]. But Rust wants to know a function.
#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    die(format_args!("program error"))
}

/// Whether the end has begun: then no disk service is called any more, see [`crate::bios::thunk`].
pub fn has_begun() -> bool {
    BEGUN.load(Ordering::Relaxed) != 0
}

/// Says why, and starts over.
pub fn die(why: fmt::Arguments<'_>) -> ! {
    die_at(0, why)
}

/// Says why, counts it, and starts over after a while. An armed watchdog goes on being told that all is well
/// until then; should this hang, it is what starts the machine over.
pub fn die_at(address: u32, why: fmt::Arguments<'_>) -> ! {
    let before = BEGUN.fetch_add(1, Ordering::Relaxed);
    // There is one thread, and it comes back to nothing that it was in the middle of.
    clock::unlock();
    if before == 0 {
        Restarts::count(address);
    }
    let times = Restarts::found().map_or(1, |found| found.times);
    let seconds = (SHOWN << (times - 1).min(DOUBLINGS)).min(SHOWN_MOST);
    if before == 0 {
        console::last_words(format_args!("Knownstate: {why}; restart {times} in {seconds} s"));
        (0..3).for_each(|_| clock::beep());
    }
    // A second time, while telling about the first: no more words. A third time: no more waiting.
    if before < 2 {
        clock::wait(u64::from(seconds) * 1000);
    }
    power::restart_warm()
}
