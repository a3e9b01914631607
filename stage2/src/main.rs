//! The machine under Knownstate, between the BIOS and `knownstate-core`.
//!
//! stage1 jumps to `stage2_entry` in `bios/thunk.s`, which switches to protected mode and calls
//! [`stage2_main`]. From there: claim the machine, run core on it, obey how the run ends. What to do
//! about a disk's content is decided in core alone.

#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, missing_docs)]

extern crate alloc;

mod acpi;
mod bios;
mod boot_info;
mod bounce;
mod clock;
mod console;
mod cpu;
mod disks;
mod drive;
#[cfg(feature = "faults")]
mod faults;
mod handoff;
mod heap;
mod machine;
mod memory;
mod pages;
mod panic;
mod pci;
mod port;
mod power;
mod restarts;
mod screen;
#[cfg(feature = "selftest")]
mod selftest;
mod serial;
mod stage1;
mod watchdog;

use bios::{a20, thunk};
use boot_info::BootInfo;
use bounce::Bounce;
use handoff::Found;
use knownstate_core::event::Event;
use knownstate_core::machine::{Ending, Machine};
use knownstate_core::table::unpack::Buffers;
use machine::Bios;
use memory::{BUFFERS, BUFFERS_BYTES, bda};
use panic::die;
use restarts::Restarts;

#[cfg(not(feature = "selftest"))]
use knownstate_core::run;
#[cfg(feature = "selftest")]
use selftest::run;

core::arch::global_asm!(include_str!("bytes.s"), options(att_syntax));

/// How often a held machine says why.
const HOLD_MILLIS: u64 = 10_000;

/// Called once by `thunk.s`, in protected mode, on the protected-mode stack, with .bss cleared.
extern "C" fn stage2_main() -> ! {
    cpu::catch_exceptions();
    thunk::lay_canary();
    let found = Found::take();
    let a20_is_on = a20::switch_on();
    clock::start();
    console::open();
    if let Some(Restarts { times, at, .. }) = Restarts::found() {
        console::line(format_args!("Knownstate: restart {times} after an error at {at:08X}"));
    }
    if !a20_is_on {
        die(format_args!("address line 20 cannot be switched on"));
    }
    if let Err(bytes) = heap::create() {
        die(format_args!("only {} KiB of memory above 1 MiB", bytes / 1024));
    }
    let conventional = u32::from(bda::<u16>(0x13)) * 1024;
    if conventional < BUFFERS + BUFFERS_BYTES {
        die(format_args!("only {} KiB of memory below 640 KiB", conventional / 1024));
    }
    // SAFETY: this is the only place that takes the buffers, and it is reached once.
    let (bounce, buffers) = unsafe { (Bounce::take(), bounce::buffers()) };
    let mut machine = Bios::new(BootInfo::take(), bounce);
    #[cfg(feature = "faults")]
    faults::arm(&mut machine);
    let ending = run(&mut machine, Buffers::new(buffers));
    obey(&mut machine, found, ending)
}

/// Does what core decided.
fn obey(machine: &mut Bios, found: Found, ending: Ending) -> ! {
    if !matches!(ending, Ending::HandOff(_)) {
        watchdog::stop();
    }
    match ending {
        Ending::HandOff(to) => handoff::jump(machine, found, &to),
        Ending::Hold { label, step, why } => hold(machine, &label, &step, &why),
        Ending::Restart => {
            machine.settle();
            // What is counted in memory is to be there afterwards.
            if restarts::restores() > 0 { power::restart_warm() } else { power::restart() }
        }
        Ending::PowerOff => {
            machine.settle();
            power::off();
            hold(machine, "-", "poweroff", "this machine can not switch itself off")
        }
    }
}

/// Says the same again and again, for whoever connects a screen or a terminal later.
fn hold(machine: &mut Bios, label: &str, step: &str, why: &str) -> ! {
    let event = Event::Outcome { label, step, failed: false, reason: why };
    loop {
        clock::wait(HOLD_MILLIS);
        machine.tell(&event);
        machine.beep(1);
    }
}
