//! When the program itself is wrong, or the machine can't run it: say why, and start over, since nobody
//! is there to press a key, and another start may find a better machine.

use crate::{clock, console, power};
use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// Long enough to read the message, or to take a picture of it.
const SHOWN_MILLIS: u64 = 10_000;

static PANICKING: AtomicBool = AtomicBool::new(false);

/// Never called: build.rs makes every panic an undefined instruction, and so it comes to
/// [`crate::cpu::exception`]. But Rust wants to know a function.
#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    die(format_args!("program error"))
}

/// Says why, and starts over.
pub fn die(why: fmt::Arguments<'_>) -> ! {
    // A second time while telling about the first: no more words, only the restart.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        console::last_words(format_args!("Knownstate: {why}"));
        (0..3).for_each(|_| clock::beep());
        clock::wait(SHOWN_MILLIS);
    }
    power::restart()
}
