//! Configuration space of PCI functions, by the ports of mechanism 1 (PCI 3.0 section 3.2.2.3.2), and only
//! where the BIOS says that there is PCI with that mechanism: on another machine these ports may be anything.

use crate::bios::regs::Regs;
use crate::bios::thunk::call;
use crate::port::{inl, outl};

/// Takes the address.
const ADDRESS: u16 = 0xCF8;
/// The four ports where the selected register then is.
const DATA: u16 = 0xCFC;
/// The address is meant for configuration space.
const ENABLE: u32 = 1 << 31;

/// The last bus's number, if there is PCI with mechanism 1 (PCI BIOS 2.1 section 4.2.1), and if its address
/// register is one: SeaBIOS says so even of QEMU's machine with ISA alone.
pub fn last_bus() -> Option<u8> {
    let out = call(0x1A, &Regs::service(0xB101));
    let told = !out.carry() && out.ah() == 0 && out.edx == u32::from_le_bytes(*b"PCI ") && out.ax() & 1 != 0;
    // SAFETY: the BIOS has told that the port is PCI's; an address alone does nothing.
    let kept = told
        && unsafe {
            outl(ADDRESS, ENABLE);
            inl(ADDRESS) == ENABLE
        };
    kept.then_some(out.cx().to_le_bytes()[0])
}

/// Makes a register of a function (bus, device and function in 8, 5 and 3 bits) appear, and says at which
/// port its first byte is.
///
/// # Safety
/// [`last_bus`] must have said that there is PCI.
pub unsafe fn select(function: u16, register: u8) -> u16 {
    let address = ENABLE | u32::from(function) << 8 | u32::from(register & !3);
    // SAFETY: the caller's promise; selecting a register does nothing to its device.
    unsafe { outl(ADDRESS, address) }
    DATA + u16::from(register & 3)
}
