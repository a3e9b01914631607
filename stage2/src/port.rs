//! Port I/O. The `x86_64` crate has it for 64-bit code only.

use core::arch::asm;

macro_rules! port_access {
    ($read:ident, $write:ident, $type:ty, $register:tt) => {
        /// Reads a port.
        ///
        /// # Safety
        /// Reading the port must not upset a device that somebody else relies on.
        pub unsafe fn $read(port: u16) -> $type {
            let value: $type;
            // SAFETY: an `in` touches no memory and no flags; the device is the caller's promise.
            unsafe {
                asm!(concat!("in ", $register, ", dx"), out($register) value, in("dx") port,
                     options(nomem, nostack, preserves_flags));
            }
            value
        }

        /// Writes a port.
        ///
        /// # Safety
        /// The write must do to the device only what its owner expects.
        pub unsafe fn $write(port: u16, value: $type) {
            // SAFETY: an `out` touches no flags; it may start something that reads memory, so the
            // compiler must have finished its writes: no `nomem`.
            unsafe {
                asm!(concat!("out dx, ", $register), in("dx") port, in($register) value,
                     options(nostack, preserves_flags));
            }
        }
    };
}

port_access!(inb, outb, u8, "al");
port_access!(inw, outw, u16, "ax");
port_access!(inl, outl, u32, "eax");
