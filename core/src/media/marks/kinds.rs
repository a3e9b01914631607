//! What the type byte of an MBR's entry tells.
//!
//! Andries Brouwer's list of partition types, and util-linux `include/pt-mbr-partnames.h`.

/// Whose a partition is by its type, if that names an owner. Types that only say "some filesystem" (01, 04, 06, 07,
/// 0b, 0c, 0e, 83) and those of extended partitions name nobody.
#[must_use]
pub fn owner_of_type(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x02 | 0x03 | 0xFF => "Xenix",
        0x08 | 0x09 => "AIX",
        0x0A => "the OS/2 boot manager",
        0x12 | 0xDE => "the maker's tools",
        0x27 => "Windows recovery",
        0x39 => "Plan 9",
        0x3C => "PartitionMagic",
        0x41 => "PReP boot code",
        0x42 => "dynamic disk",
        0x4D..=0x4F => "QNX",
        0x50..=0x51 | 0x53..=0x54 => "Disk Manager",
        0x55 => "EZ-Drive",
        0x63 => "UnixWare",
        0x64 | 0x65 => "NetWare",
        0x80 | 0x81 => "Minix",
        0x82 => "swap space",
        0x84 | 0xA0 => "hibernation data",
        0x86 | 0x87 => "a Windows volume set",
        0x8E => "LVM",
        0x9F | 0xB7 | 0xB8 => "BSD/OS",
        0xA5 => "FreeBSD",
        0xA6 => "OpenBSD",
        0xA7 => "NeXTSTEP",
        0xA9 => "NetBSD",
        0xA8 | 0xAB | 0xAF => "Apple",
        0xBC => "Acronis",
        0xBE => "Solaris",
        0xBF => "ZFS",
        0xE8 => "LUKS",
        0xEB => "BeOS",
        0xEE => "GPT",
        0xEF => "EFI",
        0xF0 => "PA-RISC boot code",
        0xFB | 0xFC => "VMware",
        0xFD => "RAID",
        _ => return None,
    })
}

/// Whether the type is an extended partition's, hidden ones and those of other systems among them.
#[must_use]
pub fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0F | 0x85 | 0x15 | 0x1F | 0x91 | 0x9B | 0xC5 | 0xCF | 0xD5)
}
