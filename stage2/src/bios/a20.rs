//! Address line 20. While it is off, every odd MiB shows the even one below it, as on an 8086.

use super::regs::Regs;
use super::thunk::call_raw;
use crate::port::{inb, outb};
use core::sync::atomic::{AtomicU32, Ordering};

/// The word whose image one MiB higher tells whether the line is on. In our own low memory, so that
/// testing changes nobody else's.
static PROBE: AtomicU32 = AtomicU32::new(0);

/// Whether addresses above 1 MiB are what they say.
pub fn is_on() -> bool {
    let image = (PROBE.as_ptr() as usize + 0x10_0000) as *const u32;
    // Twice with different values: the two words may be equal by chance.
    [0x5AA5_3CC3_u32, 0xA55A_C33C].iter().any(|&value| {
        PROBE.store(value, Ordering::SeqCst);
        // SAFETY: a read from the second MiB, which is memory (or nothing, which reads as ones). It
        // may be somebody's heap; it is not changed.
        unsafe { image.read_volatile() != value }
    })
}

/// Switches the line on, by whatever way works; `false` when none does. The BIOS first, because only
/// it knows its board; the keyboard controller last, because it swallows keystrokes.
pub fn switch_on() -> bool {
    let ways: [fn(); 3] = [by_bios, by_port_92, by_keyboard_controller];
    is_on()
        || ways.iter().any(|way| {
            way();
            settle()
        })
}

/// Switches the line off, for a boot sector that is to find it so. The line being off at the entry is
/// rare, and a failure here harmless.
pub fn switch_off() {
    call_raw(0x15, &Regs::service(0x2400));
    if is_on() {
        port_92(0);
    }
}

/// Waits for the line to change: some chipsets take a while.
fn settle() -> bool {
    (0..1000).any(|_| is_on())
}

fn by_bios() {
    call_raw(0x15, &Regs::service(0x2401));
}

fn by_port_92() {
    port_92(2);
}

/// The fast gate. Bit 0 of the same port resets the machine, and all ones means that it isn't there.
fn port_92(gate: u8) {
    // SAFETY: system control port A; the bits beside the gate are written back as found.
    unsafe {
        let found = inb(0x92);
        if found != 0xFF {
            outb(0x92, (found & !3) | gate);
        }
    }
}

/// Command D1h: the next byte is the controller's output port; DFh has the gate on and no reset.
fn by_keyboard_controller() {
    // SAFETY: the 8042's documented command; when there is no controller nothing is written.
    unsafe {
        if inb(0x64) != 0xFF && controller_ready() {
            outb(0x64, 0xD1);
            if controller_ready() {
                outb(0x60, 0xDF);
            }
            controller_ready();
        }
    }
}

/// Waits, with a bound, until the keyboard controller takes a byte.
pub fn controller_ready() -> bool {
    // SAFETY: reading the status register has no effect.
    (0..100_000).any(|_| unsafe { inb(0x64) } & 2 == 0)
}
