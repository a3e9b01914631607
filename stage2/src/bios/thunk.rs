//! BIOS calls, through the one switch in `thunk.s`.

use super::a20;
use super::regs::Regs;
use crate::console;
use crate::cpu::{EXCEPTION_TABLE, exception};
use crate::memory::{BOOT_SECTOR, PACKED, REAL_STACK_LIMIT, REAL_STACK_TOP, STACK_LIMIT, STACK_TOP, STAGE2};
use crate::panic::die;
use crate::watchdog;
use core::arch::global_asm;
use x86_64::registers::control::Cr0Flags;
use x86_64::structures::gdt::DescriptorFlags;

/// No packed stage2 is longer: loader.bin's limit, of which stage1 is a part.
const PACKED_BYTES: usize = crate::stage1::LOADER_MAX_BYTES;

// The packed stage2 is moved clear of where it is unpacked to, and of the stack.
const _: () = assert!(PACKED >= STACK_TOP && STAGE2 as usize + PACKED_BYTES <= PACKED as usize);

/// A flat descriptor cut down to a real-mode segment: 64 KiB, counted in bytes, 16 bits.
const fn real_mode(flat: DescriptorFlags, base: u32) -> u64 {
    let wide = DescriptorFlags::GRANULARITY.union(DescriptorFlags::DEFAULT_SIZE).union(DescriptorFlags::LIMIT_16_19);
    flat.difference(wide).bits() | (base as u64) << 16
}

global_asm!(
    include_str!("thunk.s"),
    stage2 = const STAGE2,
    real_stack_top = const REAL_STACK_TOP,
    stack_top = const STACK_TOP,
    boot_sector = const BOOT_SECTOR,
    packed = const PACKED,
    packed_bytes = const PACKED_BYTES,
    cr0_pe = const Cr0Flags::PROTECTED_MODE_ENABLE.bits() as u32,
    regs_bytes = const size_of::<Regs>(),
    code32 = const DescriptorFlags::KERNEL_CODE32.bits(),
    data32 = const DescriptorFlags::KERNEL_DATA.bits(),
    code16 = const real_mode(DescriptorFlags::KERNEL_CODE32, STAGE2),
    data16 = const real_mode(DescriptorFlags::KERNEL_DATA, 0),
    idt = sym EXCEPTION_TABLE,
    main = sym crate::stage2_main,
    exception = sym exception,
    options(att_syntax)
);

unsafe extern "C" {
    static mut s2_regs: Regs;
    fn s2_bios_call(interrupt: u32);
    fn s2_hand_off(drive: u32, table_entry: u32) -> !;
}

/// What stands at the low end of both stacks as long as none has overflowed.
const CANARY: u32 = 0x4B53_7461;

/// Marks the ends of the stacks.
pub fn lay_canaries() {
    for end in [REAL_STACK_LIMIT, STACK_LIMIT] {
        // SAFETY: the memory map gives both addresses to the stacks, whose lowest words they are.
        unsafe { (end as *mut u32).write_volatile(CANARY) }
    }
}

/// Whether no stack has overflowed: a BIOS that needs more than ours would corrupt what lies below.
fn canaries_live() -> bool {
    [REAL_STACK_LIMIT, STACK_LIMIT].iter().all(|&end| {
        // SAFETY: as in `lay_canaries`.
        unsafe { (end as *const u32).read_volatile() == CANARY }
    })
}

/// Calls the BIOS without looking at A20 afterwards, for those who are switching it.
pub(super) fn call_raw(interrupt: u8, regs: &Regs) -> Regs {
    // SAFETY: stage2 has one thread of execution and interrupts are off, so nothing else uses the
    // shared register block. The assembly keeps all registers that the C calling convention wants
    // kept. What the BIOS does to memory it does in its own areas and in the buffers named in `regs`.
    let out = unsafe {
        (&raw mut s2_regs).write(*regs);
        s2_bios_call(u32::from(interrupt));
        (&raw const s2_regs).read()
    };
    if !canaries_live() {
        die(format_args!("a stack overflowed in INT {interrupt:02X}h"));
    }
    out
}

/// Calls the BIOS. Everything that takes long goes through here, so the serial port is fed here, and so is an
/// armed watchdog.
pub fn call(interrupt: u8, regs: &Regs) -> Regs {
    console::feed();
    let out = call_raw(interrupt, regs);
    console::feed();
    watchdog::ping();
    // Some BIOS services switch the address line off that makes memory above 1 MiB visible, and our
    // heap is there.
    if !a20::is_on() {
        a20::switch_on();
    }
    out
}

/// Lets the BIOS handle the interrupts that are waiting. INT 12h does nothing else.
pub fn breathe() {
    call(0x12, &Regs::service(0));
}

/// Jumps to the boot sector at 0000:7C00 with the registers of the hand-off.
///
/// # Safety
/// The boot sector and the MBR's copy must be in place, and nothing of ours is needed any more.
pub unsafe fn leave(drive: u8, table_entry: u16) -> ! {
    // SAFETY: the caller's promise; the function does not come back.
    unsafe { s2_hand_off(u32::from(drive), u32::from(table_entry)) }
}
