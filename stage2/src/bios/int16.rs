//! The keyboard.

use super::regs::Regs;
use super::thunk::call;

/// No keyboard holds more keys than this; without the bound a broken BIOS would hold us for ever.
const MAX_KEYS: usize = 32;

/// Whether a key waits. Asked before every read: reading without a key waits for one, for ever.
fn key_waits() -> bool {
    !call(0x16, &Regs::service(0x0100)).zero()
}

/// Whether a key was pressed since the last call, or a Shift key is held down, which is all that some
/// USB keyboards show of themselves.
pub fn key_pressed() -> bool {
    let mut pressed = call(0x16, &Regs::service(0x0200)).eax & 3 != 0;
    for _ in 0..MAX_KEYS {
        if !key_waits() {
            break;
        }
        call(0x16, &Regs::service(0x0000));
        pressed = true;
    }
    pressed
}
