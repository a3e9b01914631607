//! The 64-bit hash of chunks and tables: against damage, not against malice.
//!
//! Every start reads a partition and hashes it, on processors as old as the i486, and what counts there is
//! instructions. Hashes made of 64-bit multiplications take four times as many on 32 bits, those made for
//! vector units three times (the figures: docs/IMAGES.md). This one is made of XXH32's round, which takes
//! four a word: one lane of 32 bits for even words and one for odd ones, so that 64 bits come of it, and
//! each lane goes into the other once in 64 bytes.
//!
//! A step loses nothing: for each word every state leads to another, and for each state every word does.
//! So content that differs in one word only always has another hash; what differs in more has the same
//! with a probability of 2^-64 or, if all of it lies in one lane within 64 bytes, 2^-32. Test vectors:
//! docs/IMAGES.md.

/// XXH32's first two primes and the turn between them (xxHash, doc/xxhash_spec.md, "XXH32 algorithm
/// description", step 2: `acc = acc + lane * PRIME32_2; acc = acc <<< 13; acc = acc * PRIME32_1`).
const PRIME32_1: u32 = 0x9E37_79B1;
/// See [`PRIME32_1`].
const PRIME32_2: u32 = 0x85EB_CA77;
/// See [`PRIME32_1`].
const TURN: u32 = 13;
/// Bytes between two exchanges of the lanes.
const PIECE: usize = 64;

/// The hash of `bytes`; the same bytes have another hash with every `seed`.
#[must_use]
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut hasher = Hasher::new(seed, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

/// The same for bytes that come in parts.
pub struct Hasher {
    even: u32,
    odd: u32,
}

impl Hasher {
    /// Begins; `length` is the number of bytes that will come.
    #[must_use]
    pub const fn new(seed: u64, length: u64) -> Self {
        let state = mix(seed ^ length.rotate_left(32));
        Self { even: state as u32, odd: (state >> 32) as u32 }
    }

    /// Takes more bytes; all parts but the last are multiples of 64 bytes long.
    pub fn update(&mut self, bytes: &[u8]) {
        let (pieces, rest) = bytes.as_chunks::<PIECE>();
        self.pieces(pieces);
        if !rest.is_empty() {
            // The last piece is filled up with zeros; the length has gone into the state.
            let mut last = [0; PIECE];
            last[..rest.len()].copy_from_slice(rest);
            self.pieces(&[last]);
        }
    }

    #[inline(never)]
    fn pieces(&mut self, pieces: &[[u8; PIECE]]) {
        let (mut even, mut odd) = (self.even, self.odd);
        for piece in pieces {
            // By hand: the loader is compiled for size, which unrolls nothing.
            (even, odd) = (step(even, piece, 0), step(odd, piece, 4));
            (even, odd) = (step(even, piece, 8), step(odd, piece, 12));
            (even, odd) = (step(even, piece, 16), step(odd, piece, 20));
            (even, odd) = (step(even, piece, 24), step(odd, piece, 28));
            (even, odd) = (step(even, piece, 32), step(odd, piece, 36));
            (even, odd) = (step(even, piece, 40), step(odd, piece, 44));
            (even, odd) = (step(even, piece, 48), step(odd, piece, 52));
            (even, odd) = (step(even, piece, 56), step(odd, piece, 60));
            odd ^= even;
            even = even.wrapping_add(odd);
        }
        (self.even, self.odd) = (even, odd);
    }

    /// The hash.
    #[must_use]
    pub const fn finish(self) -> u64 {
        mix(self.even as u64 | (self.odd as u64) << 32)
    }
}

/// One lane's step with the word at byte `at` of a piece.
#[inline(always)]
const fn step(lane: u32, piece: &[u8; PIECE], at: usize) -> u32 {
    let word = u32::from_le_bytes([piece[at], piece[at + 1], piece[at + 2], piece[at + 3]]);
    lane.wrapping_add(word.wrapping_mul(PRIME32_2)).rotate_left(TURN).wrapping_mul(PRIME32_1)
}

/// SplitMix64's finalizer, which loses nothing either: each bit of the result depends on every bit of `z`
/// (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
