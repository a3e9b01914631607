//! Restart and power-off, by whatever way works on this machine.

use crate::acpi::{self, Fadt};
use crate::bios::regs::Regs;
use crate::bios::thunk::call;
use crate::memory::set_bda;
use crate::{clock, console, cpu};

/// The BIOS data area's word by which firmware knows after a reset what kind of start is wanted, and the
/// value for one that leaves the memory as it is (IBM AT technical reference, BIOS listing).
const RESET_FLAG: u32 = 0x72;
/// See [`RESET_FLAG`].
const WARM: u16 = 0x1234;

/// Resets the machine for a cold start: the firmware is to look at its hardware anew.
pub fn restart() -> ! {
    reset(0)
}

/// Resets the machine for a warm start: what is counted in memory is to be there afterwards.
pub fn restart_warm() -> ! {
    reset(WARM)
}

/// From the politest way to the last one, which can't fail.
fn reset(flag: u16) -> ! {
    console::flush();
    set_bda(RESET_FLAG, flag);
    if let Some(table) = Fadt::find() {
        table.reset();
        clock::wait(50);
    }
    acpi::reset_by_chipset();
    loop {
        // SAFETY: resetting is all that is left to do.
        unsafe { cpu::triple_fault() }
    }
}

/// Switches the machine off. Comes back only if it can't.
pub fn off() {
    console::flush();
    if let Some(table) = Fadt::find() {
        table.power_off();
        clock::wait(1000);
    }
    by_apm();
    clock::wait(1000);
}

/// Advanced Power Management 1.2: connect, say which version is meant, switch all devices off.
fn by_apm() {
    const ALL_DEVICES: u32 = 1;
    const OFF: u32 = 3;
    let present = call(0x15, &Regs::service(0x5300));
    if present.carry() || present.bx() != u16::from_be_bytes(*b"PM") {
        return;
    }
    call(0x15, &Regs::service(0x5301));
    call(0x15, &Regs { ecx: 0x0102, ..Regs::service(0x530E) });
    call(0x15, &Regs { ebx: ALL_DEVICES, ecx: OFF, ..Regs::service(0x5307) });
}
