//! When the program itself is wrong: say where, and start over, since nobody is there to press a key.

use crate::{clock, console, power};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// Long enough to read the message, or to take a picture of it.
const SHOWN_MILLIS: u64 = 10_000;

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    // A panic while telling about one: no more words, only the restart.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        console::last_words(format_args!("Knownstate: {info}"));
        (0..3).for_each(|_| clock::beep());
        clock::wait(SHOWN_MILLIS);
    }
    power::restart()
}
