//! The transfer buffer. BIOS drivers reach only conventional memory, some of them only through ISA
//! DMA, so all data takes this way: 32 KiB, aligned, in the first MiB.

use crate::memory::{BOUNCE, BOUNCE_BYTES};

// Aligned to its power-of-two size, the buffer can't cross a 64 KiB boundary.
const _: () = assert!(BOUNCE_BYTES.is_power_of_two() && BOUNCE.is_multiple_of(BOUNCE_BYTES));

/// How much of each sector's head and tail is marked before a read.
const MARK_BYTES: usize = 16;

/// The buffer's address for the BIOS.
pub const ADDRESS: u32 = BOUNCE;

/// The buffer. There is one, and whoever has the value has the memory.
pub struct Bounce {
    nonce: u64,
}

impl Bounce {
    /// The buffer's length in bytes.
    pub const BYTES: usize = BOUNCE_BYTES as usize;

    /// Takes the buffer.
    ///
    /// # Safety
    /// To be called once.
    pub const unsafe fn take() -> Self {
        Self { nonce: 0x9E37_79B9_7F4A_7C15 }
    }

    /// The first `length` bytes.
    pub fn bytes(&mut self, length: usize) -> &mut [u8] {
        assert!(length <= Self::BYTES);
        // SAFETY: the memory map gives this range to the buffer alone, `&mut self` to one user at a
        // time; the BIOS writes there only during a call, and no such reference lives across one.
        unsafe { core::slice::from_raw_parts_mut(BOUNCE as *mut u8, length) }
    }

    /// Marks the sectors before a read, with a pattern that is new each time: some BIOSes report
    /// success without having moved anything.
    pub fn mark(&mut self, length: usize, sector: usize) {
        self.nonce = self.nonce.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        let mark = self.pattern();
        for slot in self.bytes(length).chunks_exact_mut(sector) {
            slot[..MARK_BYTES].copy_from_slice(&mark);
            slot[sector - MARK_BYTES..].copy_from_slice(&mark);
        }
    }

    /// Whether a sector still has its mark, at both ends: then it was not read.
    pub fn is_marked(&mut self, length: usize, sector: usize) -> bool {
        let mark = self.pattern();
        self.bytes(length).chunks_exact(sector).any(|slot| slot.starts_with(&mark) && slot.ends_with(&mark))
    }

    fn pattern(&self) -> [u8; MARK_BYTES] {
        let mut mark = [0; MARK_BYTES];
        mark[..8].copy_from_slice(&self.nonce.to_le_bytes());
        mark[8..].copy_from_slice(&(!self.nonce).to_le_bytes());
        mark
    }
}
