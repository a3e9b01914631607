//! Restart and power-off, by whatever way works on this machine.

use crate::acpi::{self, Fadt};
use crate::bios::regs::Regs;
use crate::bios::thunk::call;
use crate::memory::set_bda;
use crate::{clock, console, cpu};

/// Resets the machine. From the politest way to the last one, which can't fail.
pub fn restart() -> ! {
    console::flush();
    // A cold start: the firmware is to look at its hardware anew.
    set_bda(0x72, 0_u16);
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
