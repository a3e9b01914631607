//! The 64-bit hash of chunks and tables: against damage, not against malice.
//!
//! Every start reads a partition and hashes it, on processors as old as the i386, so what counts is
//! instructions: hashes made of 64-bit multiplications take three to five times as many there (the
//! figures: docs/IMAGES.md). This one is NH, of which a 32-bit processor does 8 bytes with one
//! multiplication (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: Fast and Secure Message
//! Authentication", CRYPTO 1999, section 4: two pieces of one length that differ have the same NH with a
//! probability of at most 2^-32, for each of the keys that there could be), chained by multiplication
//! from one 512-byte piece to the next. Test vectors stand in docs/IMAGES.md and tests/image.rs.

use crate::units::SECTOR;

/// Words of the key: one for each word of a piece.
const WORDS: usize = SECTOR / 4;
/// Odd, so that multiplying by it loses nothing; 2^64 divided by the golden ratio, as SplitMix64 counts.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The key: the high halves of SplitMix64's first numbers from 0 on (Steele, Lea, Flood, "Fast Splittable
/// Pseudorandom Number Generators", OOPSLA 2014).
static KEY: [u32; WORDS] = key();

const fn key() -> [u32; WORDS] {
    let mut key = [0; WORDS];
    let mut n = 0;
    while n < WORDS {
        key[n] = (mix(GOLDEN.wrapping_mul(n as u64 + 1)) >> 32) as u32;
        n += 1;
    }
    key
}

/// SplitMix64's finalizer: each bit of the result depends on every bit of `z`.
const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The hash of `bytes`; the same bytes have another hash with every `seed`.
#[must_use]
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut hasher = Hasher::new(seed, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

/// The same for bytes that come in parts.
pub struct Hasher(u64);

impl Hasher {
    /// Begins; `length` is the number of bytes that will come.
    #[must_use]
    pub fn new(seed: u64, length: u64) -> Self {
        Self(seed ^ length)
    }

    /// Takes more bytes; all parts but the last are multiples of 512 bytes long.
    pub fn update(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<SECTOR>();
        for piece in whole {
            self.0 = step(self.0, nh(piece));
        }
        if !rest.is_empty() {
            // The last piece is filled up with zeros; the length has gone into the state.
            let mut last = [0; SECTOR];
            last[..rest.len()].copy_from_slice(rest);
            self.0 = step(self.0, nh(&last));
        }
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// For one piece, every state leads to another: what differs once differs to the end.
const fn step(state: u64, nh: u64) -> u64 {
    let state = (state ^ nh).wrapping_mul(GOLDEN);
    state ^ (state >> 32)
}

/// The sum of (even word + its key) x (odd word + its key), 32 x 32 = 64 bits each, modulo 2^64.
#[inline(never)]
fn nh(piece: &[u8; SECTOR]) -> u64 {
    let mut sum = 0_u64;
    let product = |data: &[u8], key: &[u32]| {
        let even = u32::from_le_bytes([data[0], data[1], data[2], data[3]]).wrapping_add(key[0]);
        let odd = u32::from_le_bytes([data[4], data[5], data[6], data[7]]).wrapping_add(key[1]);
        u64::from(even) * u64::from(odd)
    };
    for (data, key) in piece.as_chunks::<64>().0.iter().zip(KEY.as_chunks::<16>().0) {
        // By hand: the loader is compiled for size, which unrolls nothing.
        sum = sum.wrapping_add(product(&data[..8], &key[..2]));
        sum = sum.wrapping_add(product(&data[8..16], &key[2..4]));
        sum = sum.wrapping_add(product(&data[16..24], &key[4..6]));
        sum = sum.wrapping_add(product(&data[24..32], &key[6..8]));
        sum = sum.wrapping_add(product(&data[32..40], &key[8..10]));
        sum = sum.wrapping_add(product(&data[40..48], &key[10..12]));
        sum = sum.wrapping_add(product(&data[48..56], &key[12..14]));
        sum = sum.wrapping_add(product(&data[56..64], &key[14..16]));
    }
    sum
}
