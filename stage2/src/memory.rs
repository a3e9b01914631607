//! The memory map of the first MiB, from `linker/memory.rs`, and the only places where its numbers
//! become pointers.

#![allow(missing_docs, dead_code, reason = "documented in the included file, in plain comments")]

include!("../../linker/memory.rs");

/// Reads a byte, word or longword at a fixed physical address.
///
/// # Safety
/// `address` must be readable memory: below 640 KiB, in the BIOS's ROM, or in memory that the BIOS
/// reported.
pub unsafe fn peek<T: Copy>(address: u32) -> T {
    // SAFETY: the caller promises readable memory; alignment is not needed for an unaligned read, and
    // paging is off, so the address is the physical one.
    unsafe { (address as *const T).read_unaligned() }
}

/// Reads a field of the BIOS data area, which interrupt handlers change behind our back.
pub fn bda<T: Copy>(offset: u32) -> T {
    // SAFETY: 400h to 4FFh is RAM on every PC, and nothing of ours is there. Unaligned fields don't
    // occur in the BIOS data area's words and longwords.
    unsafe { ((0x400 + offset) as *const T).read_volatile() }
}

/// Writes a field of the BIOS data area.
pub fn set_bda<T: Copy>(offset: u32, value: T) {
    // SAFETY: as for reading; the callers write only fields that software may write.
    unsafe { ((0x400 + offset) as *mut T).write_volatile(value) }
}
