//! Processor exceptions in protected mode: each ends in the panic printer.

use crate::panic::die;
use core::arch::asm;

/// The interrupt descriptor table, filled by [`catch_exceptions`]; `thunk.s` loads it at each return
/// from real mode.
pub static mut EXCEPTION_TABLE: [u64; 32] = [0; 32];

unsafe extern "C" {
    static s2_vectors: [u32; 32];
    static s2_idtr: u8;
    static s2_no_idtr: u8;
}

/// A 32-bit interrupt gate, present, ring 0 (80386 manual, section 9.5), in our code segment.
const GATE: u64 = 0x0000_8E00_0008_0000;

/// Makes every processor exception print and restart instead of resetting without a word.
pub fn catch_exceptions() {
    // SAFETY: one thread, interrupts off: nobody reads the table before `lidt`. The vectors are code
    // addresses that the assembler put down.
    unsafe {
        let table = &raw mut EXCEPTION_TABLE;
        for (gate, vector) in (*table).iter_mut().zip(s2_vectors) {
            let vector = u64::from(vector);
            *gate = GATE | (vector & 0xFFFF) | (vector & 0xFFFF_0000) << 32;
        }
        asm!("lidt [{}]", in(reg) &raw const s2_idtr, options(readonly, nostack, preserves_flags));
    }
}

/// Called by `thunk.s` with the stack as the exception left it: vector, error code for some, EIP.
pub extern "C" fn exception(frame: *const u32) -> ! {
    // SAFETY: `frame` is the protected-mode stack, whose next words the processor has just pushed.
    let words: [u32; 3] = unsafe { frame.cast::<[u32; 3]>().read() };
    let (vector, has_code) = (words[0], matches!(words[0], 8 | 10..=14 | 17 | 21));
    let (code, eip) = if has_code { (words[1], words[2]) } else { (0, words[1]) };
    die(format_args!("processor exception {vector}, code {code:X}, at {eip:08X} (see loader.map)"))
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
