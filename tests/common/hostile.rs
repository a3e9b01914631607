//! A source of the same numbers at every run, so that a failure can be played again.

/// xorshift64* (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Overwrites some bytes in one of the `sectors`, of so many bytes each, of `image`.
pub fn damage(random: &mut Random, image: &mut [u8], sectors: &[usize], sector_bytes: usize) {
    for _ in 0..=random.below(3) {
        let place = |random: &mut Random| random.pick(sectors) * sector_bytes + random.below(sector_bytes);
        let (at, other) = (place(random), place(random));
        let end = (at + random.pick(&[1, 1, 2, 4, 8])).min(image.len());
        let filler = *random.pick(&[0x00, 0xFF, 0x7F, 0x80, 0x01, 0x55]);
        match random.below(4) {
            0 => image[at] ^= 1 << random.below(8),
            1 => image[at] = random.below(256) as u8,
            2 => image[at..end].fill(filler),
            // Another place's bytes: pointers that point at something.
            _ => image.copy_within(other.min(image.len() - 8)..other.min(image.len() - 8) + (end - at), at),
        }
    }
}
