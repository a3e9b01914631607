//! Processor exceptions in protected mode: each ends in the panic printer.

use crate::memory::{LAST_STACK_TOP, PAGES, TASKS, peek};
use crate::pages;
use crate::panic::die_at;
use core::arch::asm;

/// The interrupt descriptor table, filled by [`catch_exceptions`]; `thunk.s` loads it at each return
/// from real mode.
pub static mut EXCEPTION_TABLE: [u64; 32] = [0; 32];

unsafe extern "C" {
    static s2_vectors: [u32; 32];
    static s2_vector_8: u8;
    static s2_idtr: u8;
    static s2_no_idtr: u8;
}

/// A 32-bit interrupt gate, present, ring 0 (80386 manual, section 9.5), in our code segment.
const GATE: u64 = 0x0000_8E00_0008_0000;

/// A task gate, present, ring 0 (80386 manual, section 9.5), of the last task in `thunk.s`.
const LAST_TASK_GATE: u64 = 0x0000_8500_0030_0000;

/// The first task's selector in `thunk.s`.
const TASK: u16 = 0x28;

/// The vectors that are told by words, and that of the double fault.
const UNDEFINED_INSTRUCTION: u32 = 6;
/// See [`UNDEFINED_INSTRUCTION`].
const DOUBLE_FAULT: usize = 8;
/// See [`UNDEFINED_INSTRUCTION`].
const PAGE_FAULT: u32 = 14;

/// Fields of a task (80386 manual, section 7.1), in longwords: CR3, EIP, flags, ESP, then the segments ES, CS,
/// SS, DS, FS, GS; the longwords of it; and the selectors of code and data in `thunk.s`.
const TASK_CR3: usize = 7;
const TASK_EIP: usize = 8;
const TASK_FLAGS: usize = 9;
const TASK_ESP: usize = 14;
const TASK_SEGMENTS: core::ops::Range<usize> = 18..24;
const TASK_CS: usize = 19;
const TASK_LONGWORDS: usize = 32;
const CODE: u32 = 8;
const DATA: u32 = 16;

/// Makes every processor exception print and restart instead of resetting without a word, and a full stack an
/// exception.
pub fn catch_exceptions() {
    let mut last = [0; TASK_LONGWORDS];
    last[TASK_SEGMENTS].fill(DATA);
    last[TASK_CS] = CODE;
    last[TASK_CR3] = PAGES;
    last[TASK_FLAGS] = 2;
    last[TASK_ESP] = LAST_STACK_TOP;
    // SAFETY: one thread, interrupts off: nobody reads the table before `lidt`. The vectors are code
    // addresses that the assembler put down. The memory map gives both tasks to nobody else, and the first
    // one is written by the processor alone. With the page fault's vector in place, there may be pages.
    unsafe {
        let table = &raw mut EXCEPTION_TABLE;
        for (gate, vector) in (*table).iter_mut().zip(s2_vectors) {
            let vector = u64::from(vector);
            *gate = GATE | (vector & 0xFFFF) | (vector & 0xFFFF_0000) << 32;
        }
        (*table)[DOUBLE_FAULT] = LAST_TASK_GATE;
        last[TASK_EIP] = &raw const s2_vector_8 as u32;
        (TASKS as *mut [[u32; TASK_LONGWORDS]; 2]).write_volatile([[0; TASK_LONGWORDS], last]);
        asm!("lidt [{}]", in(reg) &raw const s2_idtr, options(readonly, nostack, preserves_flags));
        asm!("ltr {:x}", in(reg) TASK, options(nostack, preserves_flags));
        pages::switch_on();
    }
}

/// Called by `thunk.s` with where the processor has put down: vector, error code for some, EIP.
pub extern "C" fn exception(frame: *const u32) -> ! {
    // SAFETY: `frame` is on the stack that the exception found, whose next words the processor has just pushed.
    let words: [u32; 3] = unsafe { frame.cast::<[u32; 3]>().read() };
    let (vector, has_code) = (words[0], matches!(words[0], 10..=14 | 17 | 21));
    let (code, eip) = if has_code { (words[1], words[2]) } else { (0, words[1]) };
    tell(vector, code, eip)
}

/// Called by `thunk.s` in the last task: there was an exception, and another while that was pushed.
pub extern "C" fn double_fault() -> ! {
    // SAFETY: the processor has written the first task, when it changed to this one.
    let eip = unsafe { peek(TASKS + 4 * TASK_EIP as u32) };
    tell(DOUBLE_FAULT as u32, 0, eip)
}

/// `knownstate inspect --at` says whose the address is.
fn tell(vector: u32, code: u32, eip: u32) -> ! {
    let is_about_pages = vector == PAGE_FAULT || vector == DOUBLE_FAULT as u32;
    if vector == UNDEFINED_INSTRUCTION {
        die_at(eip, format_args!("program error at {eip:08X}"));
    }
    if is_about_pages && pages::is_below_stack(fault_address()) {
        die_at(eip, format_args!("stack overflow at {eip:08X}"));
    }
    die_at(eip, format_args!("processor exception {vector}, code {code:X}, at {eip:08X}"))
}

/// The address of the last page fault, which the processor keeps.
fn fault_address() -> u32 {
    let address;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) }
    address
}

/// Whether bit 21 of the flags can be changed: then there is CPUID. A 486 may have neither.
fn has_cpuid() -> bool {
    let changed: u32;
    // SAFETY: reads and restores the flags; uses only the stack below it.
    unsafe {
        asm!(
            "pushfd", "pop {a}", "mov {b}, {a}", "xor {a}, 0x200000", "push {a}", "popfd",
            "pushfd", "pop {a}", "push {b}", "popfd", "xor {a}, {b}",
            a = out(reg) changed, b = out(reg) _,
        );
    }
    changed & 0x20_0000 != 0
}

/// Whether the processor counts its cycles.
pub fn has_cycle_counter() -> bool {
    if !has_cpuid() {
        return false;
    }
    let features = core::arch::x86::__cpuid(1).edx;
    features & 1 << 4 != 0
}

/// The cycle counter, when there is one.
pub fn cycles() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: only called after `has_cycle_counter`; touches nothing but these registers.
    unsafe {
        asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Resets by a triple fault: an interrupt with no table to handle it.
///
/// # Safety
/// Nothing comes after this.
pub unsafe fn triple_fault() {
    // SAFETY: the caller wants the machine gone.
    unsafe { asm!("lidt [{}]", "int3", in(reg) &raw const s2_no_idtr) }
}
