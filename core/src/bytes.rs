//! Little-endian fields by offset, as specifications give them.
//!
//! Reading outside the slice gives zero instead of a panic; zero is in no field of ours a valid
//! value that leads anywhere, so a caller's check on the value covers a short buffer as well.
//!
//! Never inlined: they are called in a hundred places, and the loader has to stay small.

/// The byte at `at`.
#[must_use]
#[inline(never)]
pub fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The 16-bit field at `at`.
#[must_use]
#[inline(never)]
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([u8_at(bytes, at), u8_at(bytes, at.saturating_add(1))])
}

/// The 32-bit field at `at`.
#[must_use]
#[inline(never)]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at.saturating_add(2))) << 16
}

/// The 64-bit field whose low half stands at `low` and whose high half stands at `high`: ext keeps
/// the two apart.
#[must_use]
#[inline(never)]
pub fn u64_split(bytes: &[u8], low: usize, high: usize) -> u64 {
    u64::from(u32_at(bytes, low)) | u64::from(u32_at(bytes, high)) << 32
}

/// Puts a 32-bit field at `at`; does nothing outside the slice.
#[inline(never)]
pub fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(field) = bytes.get_mut(at..at.saturating_add(4)) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}
