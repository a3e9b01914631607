//! The heap: conventional free memory from 1 MiB up, as much as the map allows and we want.

use crate::bios::e820;
use crate::memory::{HEAP, HEAP_BYTES};
use talc::base::binning::DefaultBinning;
use talc::source::Manual;
use talc::sync::TalcLock;

/// With less than this nothing useful can be read.
const LEAST: u32 = 0x10_0000;

#[global_allocator]
static ALLOCATOR: TalcLock<spin::Mutex<()>, Manual, DefaultBinning> = TalcLock::new(Manual);

/// Sets the heap up. Fails with the number of free bytes found above 1 MiB when they are too few.
pub fn create() -> Result<(), u32> {
    let free = e820::end_of_memory() - HEAP;
    if free < LEAST {
        return Err(free);
    }
    let bytes = free.min(HEAP_BYTES) as usize;
    // SAFETY: the BIOS's map says that this memory is free, address line 20 is on, our own image ends
    // below 1 MiB, and this function runs once.
    unsafe { ALLOCATOR.lock().claim(HEAP as *mut u8, bytes) }.map(drop).ok_or(free)
}
