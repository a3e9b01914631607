// What stands in the first 128 bytes of loader.bin (stage1, then stage2). Included by build.rs, which
// fills the sums; by stage1's module, which hands the offsets to the assembly; and by the host tool,
// which writes the id. Every number is little endian.

/// The boot-info table that `xorriso -boot-info-table` fills (El Torito practice of mkisofs): volume
/// descriptor's sector (16), this file's first sector, its length, a sum, and 40 zero bytes.
pub const HEADER_TABLE: usize = 8;
/// In that table: the sector of the primary volume descriptor, u32.
pub const HEADER_TABLE_PVD: usize = 8;
/// In that table: the sector where loader.bin begins, u32.
pub const HEADER_TABLE_FILE: usize = 12;
/// End of the table.
pub const HEADER_TABLE_END: usize = 64;
/// The ISO's own id, zeros until `knownstate build` writes one. stage1 takes a medium for its own only
/// when the same id stands there.
pub const HEADER_ID: usize = 64;
/// The id's length.
pub const HEADER_ID_BYTES: usize = 16;
/// stage2's length in bytes, u32, a multiple of 2048.
pub const HEADER_STAGE2_BYTES: usize = 80;
/// The sum of stage2's u32 words, modulo 2^32.
pub const HEADER_STAGE2_SUM: usize = 84;
/// The same sum of stage1's bytes 512 to 2047: a BIOS may have loaded only the first 512.
pub const HEADER_TAIL_SUM: usize = 88;
/// End of the header.
pub const HEADER_END: usize = 92;
/// Boot code of the MBR: up to the disk signature at 1B8h.
pub const MBR_CODE_BYTES: usize = 440;
