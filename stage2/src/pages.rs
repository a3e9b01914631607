//! Pages, so that there are some that are not there: those below the stack. Whoever overflows it meets them
//! before anything of ours, at the instruction that does it.
//!
//! Every other page stands at its own address, so that nothing else changes. Tables for all 4 GiB would take
//! 4 MiB of memory, so there are those of the first 8 MiB, which hold all that is ours, and two that the page
//! fault fills when firmware's tables or a chip's registers are asked for. The BIOS runs without pages, as in
//! real mode it must. Layouts: 80386 manual, section 5.2.

use crate::memory::{PAGES, STACK_LIMIT, STAGE2_END};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// A page's length in bytes, and a table's.
const PAGE: u32 = 4096;

/// Entries of a table, and of the directory.
const ENTRIES: u32 = 1024;

/// Tables of what is always there.
const NEAR_TABLES: u32 = 2;

/// Present, and may be written to.
const PRESENT: u32 = 3;

// A directory, and four tables.
const _: () = assert!(PAGES.is_multiple_of(PAGE) && PAGES + 5 * PAGE <= crate::memory::TASKS);
const _: () = assert!(STAGE2_END.is_multiple_of(PAGE) && STACK_LIMIT.is_multiple_of(PAGE) && STAGE2_END < STACK_LIMIT);

unsafe extern "C" {
    fn s2_pages();
}

/// Whether an address is in the gap below the stack.
pub fn is_below_stack(address: u32) -> bool {
    (STAGE2_END..STACK_LIMIT).contains(&address)
}

/// Lays the tables, and switches paging on.
///
/// # Safety
/// The page fault's handler is in place.
pub unsafe fn switch_on() {
    for index in 0..ENTRIES {
        set(0, index, if index < NEAR_TABLES { entry(1 + index) } else { 0 });
    }
    for page in 0..NEAR_TABLES * ENTRIES {
        let address = page * PAGE;
        set(1, page, if is_below_stack(address) { 0 } else { address | PRESENT });
    }
    // SAFETY: all that we use has its own address in these tables, but for what the handler finds.
    unsafe { s2_pages() }
}

/// Called by `thunk.s` when a page is not there. Finds one beyond the near tables, and says whether it did.
pub extern "C" fn page_in(address: u32) -> bool {
    /// Which of the two tables is the older one. One alone would not do for what crosses a border.
    static SECOND: AtomicBool = AtomicBool::new(false);
    let wanted = address / PAGE / ENTRIES;
    if wanted < NEAR_TABLES {
        return false;
    }
    let second = SECOND.load(Ordering::Relaxed);
    SECOND.store(!second, Ordering::Relaxed);
    let table = 1 + NEAR_TABLES + u32::from(second);
    for index in NEAR_TABLES..ENTRIES {
        if get(index) & !(PAGE - 1) == entry(table) & !(PAGE - 1) {
            set(0, index, 0);
        }
    }
    for index in 0..ENTRIES {
        set(table, index, (wanted * ENTRIES + index) * PAGE | PRESENT);
    }
    set(0, wanted, entry(table));
    // SAFETY: the same tables again, for the processor to forget what it knew of them.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) }
    true
}

/// The directory's entry of a table. The processor adds marks of its own to it.
const fn entry(table: u32) -> u32 {
    PAGES + table * PAGE | PRESENT
}

/// An entry of the directory.
fn get(index: u32) -> u32 {
    // SAFETY: as for `set`.
    unsafe { ((PAGES + 4 * index) as *const u32).read_volatile() }
}

/// Sets an entry of a table: 0 is the directory, and tables follow each other.
fn set(table: u32, index: u32, value: u32) {
    // SAFETY: the memory map gives the directory and its four tables to nobody else, and no caller goes
    // beyond them.
    unsafe { ((PAGES + table * PAGE + 4 * index) as *mut u32).write_volatile(value) }
}
