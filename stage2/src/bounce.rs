//! Memory for transfers. BIOS drivers reach only conventional memory, some of them only through ISA DMA,
//! which can't cross a 64 KiB border.
//!
//! core's two large buffers are such memory themselves, so what they hold is moved without a copy. All
//! other data takes the way through the bounce buffer.

use crate::memory::{BOUNCE, BOUNCE_BYTES, BUFFERS, BUFFERS_BYTES};
use knownstate_core::table::unpack::BUFFER_BYTES;

/// Borders that no transfer may cross.
const BORDER: usize = 0x1_0000;

// Aligned to its power-of-two size, the bounce buffer can't cross a border, and neither can anything in
// one of the two halves of core's memory.
const _: () = assert!(BOUNCE_BYTES.is_power_of_two() && BOUNCE.is_multiple_of(BOUNCE_BYTES));
const _: () = assert!(BUFFERS_BYTES as usize == BUFFER_BYTES && BUFFERS.is_multiple_of(BORDER as u32));

/// The bounce buffer. There is one, and whoever has the value has the memory.
pub struct Bounce(());

impl Bounce {
    /// The buffer's length in bytes.
    pub const BYTES: usize = BOUNCE_BYTES as usize;

    /// Takes the buffer.
    ///
    /// # Safety
    /// To be called once.
    pub const unsafe fn take() -> Self {
        Self(())
    }

    /// The first `length` bytes, or all if there are fewer.
    pub fn bytes(&mut self, length: usize) -> &mut [u8] {
        // SAFETY: the memory map gives this range to the buffer alone, `&mut self` to one user at a
        // time; the BIOS writes there only during a call that was given it.
        unsafe { core::slice::from_raw_parts_mut(BOUNCE as *mut u8, length.min(Self::BYTES)) }
    }
}

/// Core's memory for large transfers.
///
/// # Safety
/// To be called once.
pub unsafe fn buffers() -> &'static mut [u8; BUFFER_BYTES] {
    // SAFETY: the memory map gives this range to nobody else, and the caller promises that
    // nobody gets it twice. Every bit pattern is a valid byte.
    unsafe { &mut *(BUFFERS as *mut [u8; BUFFER_BYTES]) }
}

/// Whether the BIOS may move data straight to or from there.
pub fn is_reachable(data: &[u8]) -> bool {
    let (first, last) = (data.as_ptr() as usize, data.as_ptr() as usize + data.len().max(1) - 1);
    let inside = first >= BUFFERS as usize && last < (BUFFERS + BUFFERS_BYTES) as usize;
    inside && first / BORDER == last / BORDER && first.is_multiple_of(16)
}
