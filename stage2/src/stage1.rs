//! stage1 and the MBR's boot code, assembled here because both take their addresses from the same
//! Rust constants as stage2. Nothing in stage2 calls them.

use crate::memory::{BIOS_SCRATCH, BOOT_INFO, BOOT_SECTOR, MBR_COPY, REAL_STACK_TOP, STAGE1_BUFFER, STAGE2};
use core::arch::global_asm;

/// The offsets of stage1's header.
#[allow(dead_code, reason = "the build script and the host tool use the others")]
mod header {
    include!("../../linker/header.rs");
}

/// What stage1 reads at once, in bytes: as much as any BIOS moves in one call. It halves what fails.
const LOAD_BYTES: u32 = 0x1_0000;

// stage2's bytes follow each other without a gap in loader.bin, and its segment starts at them.
const _: () = assert!(STAGE2.is_multiple_of(0x1_0000) && STAGE1_BUFFER.is_multiple_of(16));
const _: () = assert!(header::HEADER_STAGE2_BYTES == header::HEADER_ID + header::HEADER_ID_BYTES);

global_asm!(
    include_str!("../../stage1/stage1.s"),
    real_stack_top = const REAL_STACK_TOP,
    stage1_buffer = const STAGE1_BUFFER,
    boot_sector = const BOOT_SECTOR,
    stage2 = const STAGE2,
    bios_scratch = const BIOS_SCRATCH,
    boot_info = const BOOT_INFO,
    load_bytes = const LOAD_BYTES,
    header_table = const header::HEADER_TABLE,
    header_id = const header::HEADER_ID,
    header_id_bytes = const header::HEADER_ID_BYTES,
    options(att_syntax)
);

global_asm!(
    include_str!("../../stage1/mbr.s"),
    mbr_copy = const MBR_COPY,
    boot_sector = const BOOT_SECTOR,
    options(att_syntax)
);
