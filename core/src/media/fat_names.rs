//! What the entries of a FAT directory are called, long names and short ones.
//!
//! Layouts: fatgen103, "FAT Directory Structure" and "FAT Long Directory Entries"; field names are its own.

use alloc::string::String;
use alloc::vec::Vec;

use crate::bytes::u16_at;

/// The characters of a long name's part: LDIR_Name1, LDIR_Name2, LDIR_Name3 (first byte, bytes).
const LONG_NAME_PARTS: [(usize, usize); 3] = [(1, 10), (14, 12), (28, 4)];
/// Most parts of a long name: 255 characters, 13 in each.
const MAX_PARTS: u8 = 20;

/// The names in a directory, put together from its entries in their order.
#[derive(Default)]
pub(crate) struct Names {
    /// The parts of a long name that came so far, in UTF-16, the last part first as on the disk.
    parts: Vec<[u8; 26]>,
    /// The part that has to come next (1 is the last), and the sum that all of them carry.
    expected: u8,
    sum: u8,
}

impl Names {
    /// The name that is complete with this entry, if any is, and if it is a file's or a directory's.
    pub(crate) fn next(&mut self, entry: &[u8; 32]) -> Option<String> {
        if entry[0] != 0xE5 && entry[0x0B] & 0x3F == 0x0F {
            self.part(entry);
            return None;
        }
        let parts = core::mem::take(&mut self.parts);
        let long = self.expected == 0 && self.sum == checksum(entry);
        self.expected = 0;
        // Deleted; a volume label (08h); the directory itself and its parent.
        if entry[0] == 0xE5 || entry[0x0B] & 0x08 != 0 || entry[0] == b'.' {
            return None;
        }
        let name = if long {
            utf16(parts.iter().rev().flatten().copied().collect::<Vec<u8>>().as_slice())
        } else {
            String::new()
        };
        Some(if name.is_empty() { printed(entry) } else { name })
    }

    /// LDIR_Ord counts down to 1; its bit 40h marks the part that comes first.
    fn part(&mut self, entry: &[u8; 32]) {
        let number = entry[0] & 0x3F;
        if entry[0] & 0x40 != 0 && (1..=MAX_PARTS).contains(&number) {
            self.parts.clear();
            self.sum = entry[0x0D];
        } else if self.parts.is_empty() || number != self.expected || entry[0x0D] != self.sum {
            self.parts.clear();
            self.expected = 0;
            return;
        }
        let mut characters = [0; 26];
        let from = LONG_NAME_PARTS.iter().flat_map(|&(at, length)| entry.iter().skip(at).take(length));
        for (to, from) in characters.iter_mut().zip(from) {
            *to = *from;
        }
        self.parts.push(characters);
        self.expected = number - 1;
    }
}

/// LDIR_Chksum of a short name (fatgen103, page 28).
fn checksum(entry: &[u8; 32]) -> u8 {
    entry.iter().take(11).fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// DIR_Name in print. DIR_NTRes, 08h and 10h: base and extension are in lower case. What is not ASCII
/// depends on a code page that the volume does not name.
fn printed(entry: &[u8; 32]) -> String {
    let part = |from: usize, length: usize, lower: bool| {
        let bytes = entry.iter().skip(from).take(length);
        let text: String =
            bytes.map(|&b| if matches!(b, b' '..=b'~') { b as char } else { char::REPLACEMENT_CHARACTER }).collect();
        let text = text.trim_end_matches(' ');
        if lower { text.to_ascii_lowercase() } else { String::from(text) }
    };
    let (base, extension) = (part(0, 8, entry[0x0C] & 0x08 != 0), part(8, 3, entry[0x0C] & 0x10 != 0));
    if extension.is_empty() { base } else { alloc::format!("{base}.{extension}") }
}

/// A name in UTF-16, little-endian, up to its end: a zero, or the bytes' end.
fn utf16(bytes: &[u8]) -> String {
    let units = (0..bytes.len() / 2).map(|at| u16_at(bytes, at * 2)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
