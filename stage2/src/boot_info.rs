//! What stage1 tells stage2.

use crate::memory::BOOT_INFO;

/// Layout shared with `stage1/stage1.s`, where the fields are called `INFO_*`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BootInfo {
    /// The boot medium's BIOS drive number.
    pub drive: u8,
    /// 0 when that drive counts in 2048-byte blocks, 2 when in 512-byte ones.
    pub shift: u8,
    /// How loader.bin was found: `T` boot-info table, `C` boot catalog, `D` root directory.
    pub found: u8,
    /// The last INT 13h status.
    pub status: u8,
    /// The first 2048-byte sector of loader.bin.
    pub loader: u32,
    /// DL at the entry.
    pub entry_drive: u8,
    /// Scratch of stage1.
    pub tries: u8,
    /// Scratch of stage1.
    pub loads: u8,
    /// Unused.
    pub unused: u8,
}

const _: () = assert!(size_of::<BootInfo>() == 12);

impl BootInfo {
    /// A copy of what stage1 left.
    pub fn take() -> Self {
        // SAFETY: stage1 filled this structure before it jumped to us, and the linker's memory map
        // gives its place to nothing else.
        unsafe { (BOOT_INFO as *const Self).read_volatile() }
    }
}
