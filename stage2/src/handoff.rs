//! Leaving: the machine as a BIOS hands it to a boot sector.

use crate::bios::{a20, int13, thunk};
use crate::console;
use crate::machine::Bios;
use crate::memory::{BOOT_SECTOR, MBR_COPY};
use crate::port::{inb, outb};
use crate::restarts::Restarts;
use crate::watchdog;
use knownstate_core::machine::HandOff;
use knownstate_core::units::SECTOR;

/// Where the partition table begins in an MBR, and the length of an entry.
const TABLE: u16 = 0x1BE;
/// See [`TABLE`].
const ENTRY: u16 = 16;

/// What we may change and must put back.
#[derive(Clone, Copy)]
pub struct Found {
    /// Whether address line 20 was on.
    a20: bool,
    /// The interrupt controllers' masks.
    masks: [u8; 2],
}

impl Found {
    /// The state at our start.
    pub fn take() -> Self {
        // SAFETY: reading the mask registers has no effect.
        let masks = unsafe { [inb(0x21), inb(0xA1)] };
        Self { a20: a20::is_on(), masks }
    }
}

/// Jumps to the boot sector. Nothing of ours stays: no memory is reserved, no vector changed.
pub fn jump(machine: &Bios, found: Found, to: &HandOff) -> ! {
    // A drive without errors is as any boot sector meets it: the BIOS itself resets none between reading an
    // MBR and jumping to it, and a reset takes milliseconds, or seconds where the disk spins up anew.
    for drive in machine.failed_drives() {
        int13::reset(drive);
    }
    console::close();
    watchdog::last_ping();
    Restarts::forget();
    place(MBR_COPY, &to.mbr);
    place(BOOT_SECTOR, &to.boot_sector);
    let drive = to.drive;
    let entry = MBR_COPY as u16 + TABLE + ENTRY * u16::from(to.entry & 3);
    // SAFETY: the masks go back to what the BIOS had set; interrupts are off meanwhile.
    unsafe {
        outb(0x21, found.masks[0]);
        outb(0xA1, found.masks[1]);
    }
    // From here on the heap may be out of sight: nothing below reads from it.
    if !found.a20 {
        a20::switch_off();
    }
    // SAFETY: both sectors are in place, and all that we have is given up.
    unsafe { thunk::leave(drive, entry) }
}

/// Copies a sector to conventional memory.
fn place(address: u32, sector: &[u8; SECTOR]) {
    // SAFETY: both places lie below our stacks and image, and stage1, which was there, is done.
    unsafe { (address as *mut [u8; SECTOR]).write_volatile(*sector) }
}
