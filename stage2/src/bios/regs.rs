//! The whole register file, as it goes into a BIOS call and comes out of it.

use x86_64::registers::rflags::RFlags;

/// Layout shared with `thunk.s`, which pops it in this order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Regs {
    /// Segment registers; zero unless a service wants one.
    pub gs: u16,
    /// See `gs`.
    pub fs: u16,
    /// See `gs`.
    pub es: u16,
    /// See `gs`.
    pub ds: u16,
    /// General registers, 32 bits wide: dirty high halves confuse some BIOSes, so what is set is
    /// always zero-extended.
    pub edi: u32,
    /// See `edi`.
    pub esi: u32,
    /// See `edi`.
    pub ebp: u32,
    /// Not loaded.
    pub esp: u32,
    /// See `edi`.
    pub ebx: u32,
    /// See `edi`.
    pub edx: u32,
    /// See `edi`.
    pub ecx: u32,
    /// See `edi`.
    pub eax: u32,
    /// The flags.
    pub eflags: u32,
}

const _: () = assert!(size_of::<Regs>() == 44);

/// The x86_64 crate counts flags in 64 bits; those that exist on a 486 are all below bit 32.
const fn low(flags: RFlags) -> u32 {
    (flags.bits() & 0xFFFF_FFFF) as u32
}

/// Interrupts on, because BIOS drivers wait for them. Carry set, so that a service that does not exist
/// and returns untouched counts as failed; zero set, so that a missing keyboard has no key.
const ENTRY_FLAGS: u32 = low(RFlags::INTERRUPT_FLAG.union(RFlags::CARRY_FLAG).union(RFlags::ZERO_FLAG)) | 2;

impl Regs {
    /// A call of service `ax`, all other registers zero.
    pub const fn service(ax: u16) -> Self {
        Self {
            gs: 0,
            fs: 0,
            es: 0,
            ds: 0,
            edi: 0,
            esi: 0,
            ebp: 0,
            esp: 0,
            ebx: 0,
            edx: 0,
            ecx: 0,
            eax: ax as u32,
            eflags: ENTRY_FLAGS,
        }
    }

    /// The carry flag: the only truth about success, since AH may be anything then.
    pub const fn carry(&self) -> bool {
        self.eflags & low(RFlags::CARRY_FLAG) != 0
    }

    /// The zero flag.
    pub const fn zero(&self) -> bool {
        self.eflags & low(RFlags::ZERO_FLAG) != 0
    }

    /// AH.
    pub const fn ah(&self) -> u8 {
        self.eax.to_le_bytes()[1]
    }

    /// AX.
    pub const fn ax(&self) -> u16 {
        (self.eax & 0xFFFF) as u16
    }

    /// BX.
    pub const fn bx(&self) -> u16 {
        (self.ebx & 0xFFFF) as u16
    }

    /// CX.
    pub const fn cx(&self) -> u16 {
        (self.ecx & 0xFFFF) as u16
    }
}
