//! An input: a word, then sectors, each with its number in front. Sectors that are not there read as zeros,
//! so that a disk of any size is as long as what a parser looks at.

use std::cell::RefCell;
use std::collections::BTreeSet;

use knownstate_core::machine::IoError;
use knownstate_core::media::filesystem::Volume;
use knownstate_core::units::{Offset, SECTOR, SectorCount};

use super::hostile::Random;

/// Bytes of the word, and of a sector's number.
const WORD: usize = 4;
/// More reads than this of one input are a loop without a bound.
pub const MOST_READS: usize = 200_000;
/// Numbers that fields have when something is about to go wrong.
const SPECIAL: [u64; 18] = [
    0,
    1,
    2,
    3,
    5,
    7,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFF7,
    0xFFFF,
    0x0FFF_FFF8,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
];

/// Sectors of `N` bytes.
#[derive(Clone, Default)]
pub struct Sparse<const N: usize> {
    /// What the word means is the target's business.
    pub word: u32,
    /// How long it is in sectors, for those who ask.
    pub length: u64,
    /// In the order of their numbers; of several with one number the last one counts.
    sectors: Vec<(u32, Vec<u8>)>,
    /// Which were read, and how often anything was.
    pub seen: RefCell<BTreeSet<u32>>,
    pub reads: usize,
}

impl<const N: usize> Sparse<N> {
    /// Reads an input. What is left over at its end is nothing.
    pub fn parse(data: &[u8]) -> Self {
        let (word, rest) = data.split_at(WORD.min(data.len()));
        let word = word.try_into().map_or(0, u32::from_le_bytes);
        let mut sectors: Vec<(u32, Vec<u8>)> = rest
            .chunks_exact(WORD + N)
            .map(|one| {
                let (number, bytes) = one.split_at(WORD);
                (u32::from_le_bytes(number.try_into().expect("four bytes")), bytes.to_vec())
            })
            .collect();
        sectors.sort_by_key(|(number, _)| *number);
        Self { word, length: u64::from(word), sectors, ..Self::default() }
    }

    /// A whole medium; `word` is its length.
    pub fn of(bytes: &[u8]) -> Self {
        let sectors = bytes.chunks(N).zip(0..).filter(|(sector, _)| sector.iter().any(|b| *b != 0));
        let whole = |sector: &[u8]| {
            let mut whole = sector.to_vec();
            whole.resize(N, 0);
            whole
        };
        let length = bytes.len().div_ceil(N) as u64;
        let sectors = sectors.map(|(sector, number)| (number, whole(sector))).collect();
        Self { word: length as u32, length, sectors, ..Self::default() }
    }

    /// The input that has the sectors which were read, and no others.
    pub fn read_ones(&self) -> Vec<u8> {
        let seen = self.seen.borrow();
        self.sectors_where(|number| seen.contains(&number))
    }

    pub fn sectors_where(&self, wanted: impl Fn(u32) -> bool) -> Vec<u8> {
        let mut data = self.word.to_le_bytes().to_vec();
        for (number, bytes) in self.sectors.iter().filter(|(number, _)| wanted(*number)) {
            data.extend(number.to_le_bytes());
            data.extend(bytes);
        }
        data
    }

    /// The sectors that there are, for whoever puts their sums right.
    pub fn each(&mut self) -> impl Iterator<Item = (u32, &mut Vec<u8>)> {
        self.sectors.iter_mut().map(|(number, bytes)| (*number, bytes))
    }

    pub fn get(&self, number: u32) -> Option<&[u8]> {
        let behind = self.sectors.partition_point(|(other, _)| *other <= number);
        let (there, bytes) = self.sectors.get(behind.checked_sub(1)?)?;
        (*there == number).then_some(bytes.as_slice())
    }

    /// Reads whole sectors.
    pub fn read_at(&mut self, at: u64, into: &mut [u8]) -> Result<(), IoError> {
        self.reads += 1;
        assert!(self.reads < MOST_READS, "reads without end");
        assert!(into.len().is_multiple_of(N), "a read of {} bytes", into.len());
        let end = at.checked_add((into.len() / N) as u64).ok_or(IoError::OutOfRange)?;
        if end > self.length {
            return Err(IoError::OutOfRange);
        }
        for (number, sector) in (at..end).zip(into.chunks_exact_mut(N)) {
            let found = u32::try_from(number).ok().and_then(|number| Some((number, self.get(number)?)));
            match found {
                Some((number, bytes)) => {
                    self.seen.borrow_mut().insert(number);
                    sector.copy_from_slice(bytes);
                }
                None => sector.fill(0),
            }
        }
        Ok(())
    }
}

impl Volume for Sparse<SECTOR> {
    fn length(&self) -> SectorCount {
        SectorCount(self.length)
    }

    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        self.read_at(at.0, into)
    }
}

/// Changes an input so that sectors stay sectors: bytes and fields of one, its number, one more, one less.
/// `bytes` is libFuzzer's own way, which also tries what comparisons were seen to look for.
pub fn mutate<const N: usize>(
    data: &mut [u8],
    size: usize,
    most: usize,
    seed: u32,
    bytes: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let random = &mut Random::new(u64::from(seed) << 8 | 0x5D);
    let record = WORD + N;
    let count = size.saturating_sub(WORD) / record;
    if count == 0 || most < WORD + record {
        return bytes(data, size, most);
    }
    let size = WORD + count * record;
    let at = WORD + random.below(count) * record;
    let other = WORD + random.below(count) * record;
    match random.below(16) {
        0 => {
            bytes(&mut data[..WORD], WORD, WORD);
        }
        1 => {
            // Another place for the same content: near, or anywhere.
            let number = u32::from_le_bytes(data[at..at + WORD].try_into().expect("four bytes"));
            let to = if random.below(2) == 0 { number ^ 1 << random.below(8) } else { random.next() as u32 >> 16 };
            data[at..at + WORD].copy_from_slice(&to.to_le_bytes());
        }
        2 if size + record <= most => {
            data.copy_within(at..at + record, size);
            let near = random.below(16) as u32;
            let number = u32::from_le_bytes(data[size..size + WORD].try_into().expect("four bytes"));
            data[size..size + WORD].copy_from_slice(&number.wrapping_add(near).to_le_bytes());
            return size + record;
        }
        3 if count > 1 => {
            data.copy_within(at + record..size, at);
            return size - record;
        }
        4 | 5 => {
            // A piece of one sector over another: pointers that point at something.
            let bytes = *random.pick(&[1, 2, 4, 8, 12, 16, 32, 64]);
            let (from, to) = (random.below(N - bytes + 1), random.below(N - bytes + 1));
            let align = if bytes >= 4 { 4 } else { bytes };
            let from = other + WORD + from / align * align;
            data.copy_within(from..from + bytes, at + WORD + to / align * align);
        }
        6..=11 => {
            // A little-endian field, mostly aligned as fields are.
            let bytes = *random.pick(&[1, 2, 2, 4, 4, 8]);
            let to = at + WORD + random.below(N / bytes) * bytes;
            let mut value = [0; 8];
            value[..bytes].copy_from_slice(&data[to..to + bytes]);
            let old = u64::from_le_bytes(value);
            // The word is the medium's length, for most targets: in blocks or clusters of any size, its end.
            let end = u64::from(u32::from_le_bytes(data[..WORD].try_into().expect("four bytes"))) >> random.below(8);
            let new = match random.below(5) {
                3 => end.wrapping_sub(random.below(4) as u64),
                0 => *random.pick(&SPECIAL),
                1 => old.wrapping_add(random.below(9) as u64).wrapping_sub(4),
                2 => old ^ 1 << random.below(bytes * 8),
                _ => u64::from(random.next() as u32 >> random.below(32)),
            };
            data[to..to + bytes].copy_from_slice(&new.to_le_bytes()[..bytes]);
        }
        _ => {
            let sector = &mut data[at + WORD..at + record];
            bytes(sector, N, N);
        }
    }
    size
}
