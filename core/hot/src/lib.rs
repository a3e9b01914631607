//! What every byte of a partition goes through: hashing and unpacking.
//!
//! A crate of its own, because cargo sets how far code is optimized by the crate: the loader as a whole has
//! to be small, and these few functions are where it spends its time. They are not inlined, since what is
//! inlined is compiled as its caller is.
#![no_std]
#![forbid(unsafe_code)]

pub mod hash;

/// Unpacks one block of LZ4 (the block format, without a frame) into `output`; how many bytes that were.
/// Nothing where the block is damaged or does not fit.
#[must_use]
#[inline(never)]
pub fn unpack(packed: &[u8], output: &mut [u8]) -> Option<usize> {
    lz4_flex::block::decompress_into(packed, output).ok()
}
