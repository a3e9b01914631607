//! What every byte of a partition goes through: hashing, unpacking, comparing.
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

/// Whether both hold the same bytes: `==`, for what has been read back. That they do is what nearly always
/// comes out, so all is looked at, without a branch for each word.
#[must_use]
#[inline(never)]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    a.len() == b.len() && a.iter().zip(b).fold(0, |bits, (a, b)| bits | difference(a, b)) == 0 && a_rest == b_rest
}

/// Zero if both are the same.
#[inline(always)]
fn difference(a: &[u8; 32], b: &[u8; 32]) -> u32 {
    let words = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0);
    words.fold(0, |bits, (a, b)| bits | (u32::from_le_bytes(*a) ^ u32::from_le_bytes(*b)))
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn every_changed_bit_makes_a_difference() {
        let bytes: [u8; 100] = core::array::from_fn(|n| n as u8);
        for length in 0..bytes.len() {
            let bytes = &bytes[..length];
            let mut other = [0; 100];
            let other = &mut other[..length];
            other.copy_from_slice(bytes);
            assert!(same(bytes, other), "{length} bytes");
            for bit in 0..length * 8 {
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!same(bytes, other), "bit {bit} of {length} bytes");
                other[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
