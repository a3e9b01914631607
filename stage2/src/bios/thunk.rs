//! BIOS calls, through the one switch in `thunk.s`.

use super::a20;
use super::regs::Regs;
use crate::console;
use crate::cpu::{self, EXCEPTION_TABLE};
use crate::memory::{
    BOOT_SECTOR, LAST_STACK_TOP, PAGES, REAL_STACK_LIMIT, REAL_STACK_TOP, STACK_TOP, STAGE2, TASKS, peek,
};
use crate::pages;
use crate::panic::{self, die};
use crate::watchdog;
use core::arch::global_asm;
use x86_64::registers::control::Cr0Flags;
use x86_64::registers::rflags::RFlags;
use x86_64::structures::gdt::DescriptorFlags;

/// The interrupt flag.
const INTERRUPTS: u32 = RFlags::INTERRUPT_FLAG.bits() as u32;

/// A flat descriptor cut down to a real-mode segment: 64 KiB, counted in bytes, 16 bits.
const fn real_mode(flat: DescriptorFlags, base: u32) -> u64 {
    let wide = DescriptorFlags::GRANULARITY.union(DescriptorFlags::DEFAULT_SIZE).union(DescriptorFlags::LIMIT_16_19);
    flat.difference(wide).bits() | (base as u64) << 16
}

/// A 32-bit task that is not busy, present, ring 0, of 104 bytes (80386 manual, section 7.2).
const fn task(base: u32) -> u64 {
    0x0000_8900_0000_0067 | (base as u64) << 16
}

global_asm!(
    include_str!("thunk.s"),
    stage2 = const STAGE2,
    real_stack_top = const REAL_STACK_TOP,
    stack_top = const STACK_TOP,
    boot_sector = const BOOT_SECTOR,
    pages = const PAGES,
    last_stack_top = const LAST_STACK_TOP,
    cr0_pg = const Cr0Flags::PAGING.bits() as u32,
    cr0_pe = const Cr0Flags::PROTECTED_MODE_ENABLE.bits() as u32,
    frame = const FRAME,
    code32 = const DescriptorFlags::KERNEL_CODE32.bits(),
    data32 = const DescriptorFlags::KERNEL_DATA.bits(),
    code16 = const real_mode(DescriptorFlags::KERNEL_CODE32, STAGE2),
    data16 = const real_mode(DescriptorFlags::KERNEL_DATA, 0),
    task = const task(TASKS),
    last_task = const task(TASKS + 128),
    idt = sym EXCEPTION_TABLE,
    main = sym crate::stage2_main,
    exception = sym cpu::exception,
    double_fault = sym cpu::double_fault,
    page_in = sym pages::page_in,
    options(att_syntax)
);

/// What is on the real-mode stack when the BIOS is called: the registers, then what makes an IRET of an INT,
/// then what INT would have pushed for the handler's own.
#[repr(C)]
struct Frame {
    regs: Regs,
    handler: [u16; 2],
    handler_flags: u16,
    back: [u16; 2],
    flags: u16,
}

/// Where it stands: the real-mode stack has nothing else.
const FRAME: u32 = REAL_STACK_TOP - size_of::<Frame>() as u32;

const _: () = assert!(size_of::<Frame>() == 56);

unsafe extern "C" {
    static s2_returned: u8;
    fn s2_bios_call() -> *const Regs;
    fn s2_hand_off(drive: u32, table_entry: u32) -> !;
}

/// What stands at the low end of the real-mode stack as long as it has not overflowed. The other one has
/// [`crate::pages`] for that; with those the BIOS could not run.
const CANARY: u32 = 0x4B53_7461;

/// Marks the end of the stack.
pub fn lay_canary() {
    // SAFETY: the memory map gives this address to the stack, whose lowest word it is.
    unsafe { (REAL_STACK_LIMIT as *mut u32).write_volatile(CANARY) }
}

/// Whether the stack has not overflowed: a BIOS that needs more than ours would corrupt what lies below.
fn canary_lives() -> bool {
    // SAFETY: as in `lay_canary`.
    unsafe { (REAL_STACK_LIMIT as *const u32).read_volatile() == CANARY }
}

/// The BIOS's disk services.
const DISK: u8 = 0x13;

/// Calls the BIOS without looking at A20 afterwards, for those who are switching it.
pub(super) fn call_raw(interrupt: u8, regs: &Regs) -> Regs {
    // All that is ever written to a disk goes by here, and after the program has failed nothing more does.
    // Carry is set, as at each call's begin: the service has failed.
    if interrupt == DISK && panic::has_begun() {
        return *regs;
    }
    // INT clears the interrupt flag (80386 manual, INT): the handler decides when it is on again.
    let entry = regs.eflags & !INTERRUPTS;
    // SAFETY: the interrupt vectors are memory on every PC.
    let handler = unsafe { peek(u32::from(interrupt) * 4) };
    let back = [(&raw const s2_returned as u32 - STAGE2) as u16, (STAGE2 / 16) as u16];
    let flags = regs.eflags as u16;
    let frame = Frame { regs: Regs { eflags: entry, ..*regs }, handler, handler_flags: entry as u16, back, flags };
    // SAFETY: stage2 has one thread of execution and interrupts are off, so nothing else uses the real-mode
    // stack. The assembly keeps all registers that the C calling convention wants kept, and gives an
    // address on that stack. What the BIOS does to memory it does in its own areas and in the buffers named
    // in `regs`.
    let out = unsafe {
        (FRAME as *mut Frame).write_volatile(frame);
        s2_bios_call().read_volatile()
    };
    // Not again while that is being told, which takes calls too.
    if !canary_lives() && !panic::has_begun() {
        die(format_args!("the stack overflowed in INT {interrupt:02X}h"));
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
