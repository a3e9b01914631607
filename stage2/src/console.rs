//! The same lines on the screen and on the serial port, whichever of them there is.

use crate::bios::int10;
use crate::screen::Screen;
use crate::serial::Serial;
use core::fmt::{self, Write};
use spin::Mutex;

/// Both outputs.
pub struct Console {
    screen: Option<Screen>,
    serial: Option<Serial>,
}

static CONSOLE: Mutex<Console> = Mutex::new(Console { screen: None, serial: None });

/// Finds out what there is.
pub fn open() {
    let screen = int10::text_screen().map(Screen::at);
    let serial = Serial::find();
    *CONSOLE.lock() = Console { screen, serial };
}

/// Shows a line.
pub fn line(text: impl fmt::Display) {
    // Writing never fails: a dead output is dropped, not reported.
    let _ = writeln!(CONSOLE.lock(), "{text}");
}

/// Shows a line in a panic, even when the panic came from in here.
pub fn last_words(text: impl fmt::Display) {
    // SAFETY: there is one thread. If it holds the lock it is the one that panicked and will never
    // release it; nothing else runs that could be inside.
    unsafe { CONSOLE.force_unlock() };
    line(text);
    flush();
}

/// Gives the serial port what it takes now. Nothing is lost where that is left out; it only gets later.
pub fn feed() {
    // It is in use where saying something takes a BIOS call, or when that ended in a panic.
    if let Some(mut console) = CONSOLE.try_lock()
        && let Some(serial) = &mut console.serial
    {
        serial.feed();
    }
}

/// Waits until everything that was said has left the machine.
pub fn flush() {
    if let Some(mut console) = CONSOLE.try_lock()
        && let Some(serial) = &mut console.serial
    {
        serial.flush();
    }
}

/// Whether something came in on the serial line since the last call.
pub fn byte_received() -> bool {
    CONSOLE.lock().serial.as_mut().is_some_and(Serial::received)
}

/// Leaves both outputs to whoever comes next.
pub fn close() {
    let mut console = CONSOLE.lock();
    if let Some(screen) = console.screen.take() {
        let (row, column) = screen.position();
        int10::set_cursor(row, column);
    }
    if let Some(mut serial) = console.serial.take() {
        serial.release();
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(screen) = &mut self.screen {
            text.bytes().for_each(|byte| screen.put(byte));
            if text.ends_with('\n') {
                screen.show_cursor();
            }
        }
        if let Some(serial) = &mut self.serial {
            text.split_inclusive('\n').for_each(|part| {
                serial.send(part.trim_end_matches('\n').as_bytes());
                if part.ends_with('\n') {
                    serial.send(b"\r\n");
                }
            });
        }
        Ok(())
    }
}
