//! The note of a restore that was begun and not finished.
//!
//! A restore takes the partition table away before it writes anything else, and puts it back last. In between
//! this note stands in sector 0, and in a second place: the last sector before the first declared partition. It
//! says what the disk will be, so that the next start knows the disk for ours whatever the power cut left of it.
//!
//! Two places, because one of them may be the very sector that was being written when the power went. The second
//! is written first and cleared last.
//!
//! Layout, little endian: the words at 0; the four table entries at 40; the CD's name at 104, padded with zeros;
//! the set's number at 128, its presence at 132; CRC-32 of bytes 0 to 135 and of the disk signature at 136; the
//! disk signature at 440, where an MBR has it; and words at the end by which a torn sector is known.

use alloc::string::String;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use crate::bytes::{put_u32, u32_at};
use crate::media::mbr::{CODE_BYTES, Entry, Mbr};
use crate::units::SECTOR;

/// What it begins with: no boot code, and no 55AA at the end.
const BEGINNING: &[u8; 40] = b"Knownstate: restore begun, not finished\n";
/// What it ends with.
const END: &[u8; 16] = b"Knownstate: note";
/// Where the table, the CD's name, the set, its presence, the sum and the disk signature are.
const TABLE: usize = 40;
const CD: usize = 104;
const SET: usize = 128;
const HAS_SET: usize = 132;
const SUM: usize = 136;
const SIGNATURE: usize = 440;
/// Bytes of the CD's name.
const CD_BYTES: usize = SET - CD;

const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The MBR that the restore was to end with, but for its boot code.
    pub mbr: Mbr,
    /// The name of the CD that began it; empty where it has none.
    pub cd: String,
    /// The set of copies that it was making.
    pub set: Option<u32>,
}

impl Note {
    /// The sector. Nobody boots it, and it has no table.
    #[must_use]
    pub fn to_sector(&self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..TABLE].copy_from_slice(BEGINNING);
        for n in 0..4 {
            sector[TABLE + 16 * n..TABLE + 16 * (n + 1)].copy_from_slice(&self.mbr.raw_entry(n));
        }
        for (to, from) in sector[CD..SET].iter_mut().zip(self.cd.bytes()) {
            *to = from;
        }
        put_u32(&mut sector, SET, self.set.unwrap_or(0));
        put_u32(&mut sector, HAS_SET, u32::from(self.set.is_some()));
        put_u32(&mut sector, SIGNATURE, self.mbr.disk_signature());
        let sum = sum(&sector);
        put_u32(&mut sector, SUM, sum);
        sector[SECTOR - END.len()..].copy_from_slice(END);
        sector
    }

    /// Reads a note; nothing where this is none, or not a whole one.
    #[must_use]
    pub fn parse(sector: &[u8; SECTOR]) -> Option<Self> {
        if !sector.starts_with(BEGINNING) || !sector.ends_with(END) || u32_at(sector, SUM) != sum(sector) {
            return None;
        }
        let (table, _) = sector[TABLE..CD].as_chunks::<16>();
        let empty = Mbr::new(&[Entry::default(); 4], &[0; CODE_BYTES], u32_at(sector, SIGNATURE));
        let mbr = empty.with_table(table.try_into().ok()?);
        let name = sector[CD..SET].split(|&b| b == 0).next().unwrap_or_default();
        let cd = core::str::from_utf8(name).unwrap_or_default().into();
        let set = (u32_at(sector, HAS_SET) == 1).then(|| u32_at(sector, SET));
        Some(Self { mbr, cd, set })
    }

    /// Whether a sector begins or ends as a note does: one that was written in part, perhaps.
    #[must_use]
    pub fn is_begun(sector: &[u8; SECTOR]) -> bool {
        sector.starts_with(BEGINNING) || sector.ends_with(END)
    }
}

/// The sum over all that a note says.
fn sum(sector: &[u8; SECTOR]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&sector[..SUM]);
    digest.update(&sector[SIGNATURE..SIGNATURE + 4]);
    digest.finalize()
}

const _: () = assert!(CD_BYTES == 24);
