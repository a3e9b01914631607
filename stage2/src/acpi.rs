//! The two things that are wanted of ACPI: its reset register, and soft-off. No interpreter: soft-off's
//! value is found in the DSDT by its name, as many small systems do.

use crate::bios::a20::controller_ready;
use crate::clock;
use crate::memory::{bda, peek};
use crate::port::{inb, inw, outb, outw};

/// More tables than this no root table has.
const MAX_TABLES: u32 = 64;

/// A DSDT longer than this is none.
const MAX_DSDT: u32 = 0x40_0000;

/// The Fixed ACPI Description Table, of which only fields inside its length are read.
pub struct Fadt {
    address: u32,
    length: u32,
}

impl Fadt {
    /// The table, if there is ACPI (ACPI 3.0, sections 5.2.5 to 5.2.9).
    pub fn find() -> Option<Self> {
        let root: u32 = read(root_pointer()? + 16);
        let length = table_length(root, b"RSDT")?;
        let tables = ((length - 36) / 4).min(MAX_TABLES);
        (0..tables).find_map(|index| {
            let address = read(root + 36 + 4 * index);
            table_length(address, b"FACP").map(|length| Self { address, length })
        })
    }

    fn field<T: Copy + Default>(&self, offset: u32) -> T {
        if offset + size_of::<T>() as u32 > self.length {
            return T::default();
        }
        read(self.address + offset)
    }

    /// Resets the machine through the reset register, where the flags say that there is one (section
    /// 4.7.3.6): a port, a memory byte, or a byte of the configuration space of a device on bus 0.
    pub fn reset(&self) {
        const RESET_SUPPORTED: u32 = 1 << 10;
        if self.field::<u32>(112) & RESET_SUPPORTED == 0 {
            return;
        }
        let (space, address, value): (u8, u64, u8) = (self.field(116), self.field(120), self.field(128));
        match (space, u16::try_from(address), u32::try_from(address)) {
            // SAFETY: the firmware names this port and value for a reset, which is wanted.
            (1, Ok(port), _) if port != 0 => unsafe { outb(port, value) },
            // SAFETY: likewise, in memory below 4 GiB; paging is off.
            (0, _, Ok(byte)) if byte != 0 => unsafe { (byte as *mut u8).write_volatile(value) },
            _ => {}
        }
    }

    /// Switches the machine off: sleeping state S5 (section 4.7.3.2).
    pub fn power_off(&self) {
        const SLEEP_ENABLE: u16 = 1 << 13;
        const SLEEP_TYPE: u16 = 7 << 10;
        let Some((type_a, type_b)) = self.soft_off() else { return };
        self.enable();
        for (block, sleep_type) in [(64, type_a), (68, type_b)] {
            let port = self.field::<u32>(block) as u16;
            if port != 0 {
                // SAFETY: the power management control block's port, from the firmware's table; the
                // other bits are written back as found.
                unsafe {
                    let control = inw(port) & !(SLEEP_TYPE | SLEEP_ENABLE);
                    let control = control | u16::from(sleep_type & 7) << 10;
                    outw(port, control);
                    outw(port, control | SLEEP_ENABLE);
                }
            }
        }
    }

    /// Turns ACPI mode on, which the firmware does on a command to its SMI port (section 4.7.2.5).
    fn enable(&self) {
        let (port, command) = (self.field::<u32>(48) as u16, self.field::<u8>(52));
        let control = self.field::<u32>(64) as u16;
        // SAFETY: ports and command from the firmware's table.
        unsafe {
            if port != 0 && command != 0 && inw(control) & 1 == 0 {
                outb(port, command);
                // SCI_EN, at most half a second later.
                let _ = (0..500).any(|_| {
                    clock::pause();
                    inw(control) & 1 != 0
                });
            }
        }
    }

    /// The two values of `_S5_`, a package of small integers, from the DSDT's bytes.
    fn soft_off(&self) -> Option<(u8, u8)> {
        let dsdt: u32 = self.field(40);
        let length = table_length(dsdt, b"DSDT")?.min(MAX_DSDT);
        let at = (36..length.checked_sub(16)?).find(|&at| read::<[u8; 4]>(dsdt + at) == *b"_S5_")?;
        let bytes: [u8; 10] = read(dsdt + at + 4);
        // Package operator, its length in one byte or more, number of elements, elements: an integer
        // below 2 is one byte, another is 0A and a byte.
        if bytes[0] != 0x12 {
            return None;
        }
        let mut rest = &bytes[3 + usize::from(bytes[1] >> 6)..];
        let mut integer = || {
            let skip = usize::from(rest.first() == Some(&0x0A));
            let value = *rest.get(skip)?;
            rest = &rest[skip + 1..];
            Some(value)
        };
        Some((integer()?, integer()?))
    }
}

/// Resets through the keyboard controller, then through the chipset's port CF9h.
pub fn reset_by_chipset() {
    // SAFETY: both are the documented ways to reset; the controller is written to only if it is there.
    unsafe {
        for _ in 0..10 {
            if inb(0x64) == 0xFF || !controller_ready() {
                break;
            }
            outb(0x64, 0xFE);
            clock::wait(5);
        }
        let found = inb(0xCF9) & !6;
        outb(0xCF9, found | 2); // a hard reset
        clock::wait(50);
        outb(0xCF9, found | 6); // now
        clock::wait(50);
    }
}

/// Reads memory that ACPI's tables name.
fn read<T: Copy>(address: u32) -> T {
    // SAFETY: the firmware's tables lie in memory or ROM; an address where nothing is reads as ones,
    // since paging is off and there is nothing to fault.
    unsafe { peek(address) }
}

/// The root pointer: on a 16-byte boundary in the first KiB of the extended BIOS data area, or in the
/// BIOS's ROM; its 20 bytes sum to 0 (section 5.2.5.1).
fn root_pointer() -> Option<u32> {
    let extended = u32::from(bda::<u16>(0x0E)) << 4;
    let areas = [extended..extended + 0x400, 0xE_0000..0x10_0000];
    areas.into_iter().flat_map(|area| area.step_by(16)).find(|&at| {
        read::<[u8; 8]>(at) == *b"RSD PTR "
            && read::<[u8; 20]>(at).iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte)) == 0
    })
}

/// A table's length, if it is the named one.
fn table_length(address: u32, signature: &[u8; 4]) -> Option<u32> {
    let length: u32 = read(address.checked_add(4)?);
    let named = address != 0 && read::<[u8; 4]>(address) == *signature;
    (named && length >= 36 && address.checked_add(length).is_some()).then_some(length)
}
