//! How much memory core holds at once: the loader has 4 MiB for it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The loader's heap in bytes (stage2/src/memory.rs, `HEAP_BYTES`).
pub const LOADER: usize = 4 << 20;
/// One piece of more bytes than this is what a size field of a disk asked for, and ends the process.
const TOO_MUCH: usize = 256 << 20;

thread_local! {
    /// Bytes that this thread has taken and not given back since counting began, and the most of it.
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread.
pub struct Counting;

fn take(bytes: usize) {
    let held = HELD.get().wrapping_add(bytes);
    HELD.set(held);
    // What was taken before counting began and is given back meanwhile makes it "negative".
    if held <= isize::MAX as usize {
        MOST.set(MOST.get().max(held));
    }
}

fn give_back(bytes: usize) {
    HELD.set(HELD.get().wrapping_sub(bytes));
}

// SAFETY: every call goes to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > TOO_MUCH {
            return std::ptr::null_mut();
        }
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        give_back(layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > TOO_MUCH {
            return std::ptr::null_mut();
        }
        take(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > TOO_MUCH {
            return std::ptr::null_mut();
        }
        // The loader's allocator may have to hold both at once.
        take(size);
        give_back(layout.size());
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Runs something; the most bytes that it held at once.
pub fn most<T>(run: impl FnOnce() -> T) -> (T, usize) {
    HELD.set(0);
    MOST.set(0);
    let result = run();
    (result, MOST.get())
}

/// Runs something whose memory does not count.
pub fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let (held, most) = (HELD.get(), MOST.get());
    let result = run();
    HELD.set(held);
    MOST.set(most);
    result
}
