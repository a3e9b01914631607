// The first MiB, once. Included by build.rs (which hands the numbers to stage2.ld), by stage2 (which
// hands them to its assembly as `const` operands), and drawn in docs/MEMORY.md.
//
// What must stay free: 0-4FF (vectors, BIOS data area), 500-5FF (DOS communication area; some boot
// sectors use the copy of the diskette table at 522), 600-7FF (where boot sectors look for the MBR),
// 7C00-9BFF (a BIOS that counts the boot file in 2048-byte units loads 8 KiB there), and everything
// above the conventional memory that INT 12h reports.

/// The MBR's copy at the hand-off: where a real MBR would have relocated itself to.
pub const MBR_COPY: u32 = 0x0600;
/// Small structures handed to the BIOS: disk address packet, drive parameters, memory map entry.
pub const BIOS_SCRATCH: u32 = 0x1000;
/// End of the small structures.
pub const BIOS_SCRATCH_END: u32 = 0x1400;
/// What stage1 tells stage2.
pub const BOOT_INFO: u32 = 0x1400;
/// stage1's buffer for one CD sector while it looks for stage2.
pub const STAGE1_BUFFER: u32 = 0x1800;
/// How often the machine was restarted by a program error: see stage2/src/restarts.rs.
pub const RESTARTS: u32 = 0x3000;
/// How many restores there were: the same.
pub const RESTORES: u32 = 0x3010;
/// The lowest address of the stack for real-mode code, 11 KiB.
pub const REAL_STACK_LIMIT: u32 = 0x4400;
/// Its first address; grows down. Not right below stage1: what is written on a page that holds code costs
/// emulators a hundred times as much.
pub const REAL_STACK_TOP: u32 = 0x7000;
/// Where a BIOS puts a boot sector, and stage1.
pub const BOOT_SECTOR: u32 = 0x7C00;
/// stage1's size: one CD sector, which is all that every BIOS loads.
pub const STAGE1_BYTES: u32 = 2048;
/// The transfer buffer for BIOS disk calls, aligned so that no transfer crosses 64 KiB (ISA DMA).
pub const BOUNCE: u32 = 0x1_0000;
/// The largest transfer of one call, in bytes: larger ones fail on some firmware.
pub const BOUNCE_BYTES: u32 = 0x8000;
/// The page directory, the tables of the first 8 MiB, and those of what is asked for beyond: a page each.
pub const PAGES: u32 = 0x1_8000;
/// What the processor keeps of a task (80386 manual, section 7.1): of the program, and of the one that tells
/// of a double fault, 128 bytes each.
pub const TASKS: u32 = 0x1_D000;
/// The lowest address of the stack on which the loader's own end is told.
pub const LAST_STACK_LIMIT: u32 = 0x1_D100;
/// Its first address; grows down.
pub const LAST_STACK_TOP: u32 = 0x1_F000;
/// Where stage1 puts stage2, which runs there, and the real-mode segment of stage2's 16-bit part.
pub const STAGE2: u32 = 0x2_0000;
/// End of the room for stage2's code, data and bss. From here up to the stack there is nothing, not even
/// memory: whoever overflows the stack meets that before anything of ours.
pub const STAGE2_END: u32 = 0x6_0000;
/// The lowest address of the protected-mode stack.
pub const STACK_LIMIT: u32 = 0x6_4000;
/// Its first address, 48 KiB above; grows down.
pub const STACK_TOP: u32 = 0x7_0000;
/// core's two large buffers, 64 KiB each, so that neither crosses 64 KiB. What a BIOS leaves of
/// conventional memory reaches as far: to 576 KiB.
pub const BUFFERS: u32 = 0x7_0000;
/// The length of both together in bytes.
pub const BUFFERS_BYTES: u32 = 0x2_0000;
/// The heap begins at 1 MiB, where the conventional memory ends.
pub const HEAP: u32 = 0x10_0000;
/// The heap's size in bytes; a machine with less free memory above 1 MiB gets what it has.
pub const HEAP_BYTES: u32 = 0x40_0000;
