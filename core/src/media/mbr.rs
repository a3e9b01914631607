//! The Master Boot Record.
//!
//! Layout: UEFI specification 2.10 section 5.2.1 "Legacy Master Boot Record"; the bytes are the same
//! in every operating system's.

use core::fmt;

use crate::bytes::{put_u32, u8_at, u16_at, u32_at};
use crate::units::SECTOR;

/// Bytes of boot code before the disk signature.
pub const CODE_BYTES: usize = 440;
/// Where the 32-bit disk signature stands (Windows and Linux name disks by it).
const SIGNATURE: usize = 440;
/// Where the four 16-byte entries begin.
const TABLE: usize = 446;
/// The status byte of the entry that a BIOS boot goes to.
const ACTIVE: u8 = 0x80;

/// One of the four entries. Types are the maker's business; 0 means empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Whether the status byte is 80h.
    pub active: bool,
    /// The type byte.
    pub kind: u8,
    /// The first 512-byte sector.
    pub start: u32,
    /// How many 512-byte sectors.
    pub sectors: u32,
}

impl Entry {
    /// Whether both are the same but for the active flag. What an empty entry's other bytes are does not
    /// matter to anybody.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && (self.kind == 0 || (self.start, self.sectors) == (other.start, other.sectors))
    }

    /// The sector behind its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        u64::from(self.start) + u64::from(self.sectors)
    }

    /// Whether both have a sector in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}

/// What is wrong with an MBR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No 55AA at byte 510.
    NoSignature,
    /// A status byte is neither 00h nor 80h; the entry, 1 to 4.
    Status(usize),
    /// An entry is empty, past the end, or overlaps another; the entry, 1 to 4.
    Extent(usize),
    /// No entry, or more than one, is active; how many are.
    Active(usize),
    /// An entry differs from the declared one; the entry, 1 to 4.
    Map(usize),
    /// The boot code differs from the CD's.
    Code,
    /// The disk signature differs from the declared one.
    DiskSignature,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSignature => f.write_str("no 55AA signature"),
            Self::Status(n) => write!(f, "entry {n} has an impossible status byte"),
            Self::Extent(n) => write!(f, "entry {n} is outside the disk or overlaps another"),
            Self::Active(0) => f.write_str("no partition is active"),
            Self::Active(n) => write!(f, "{n} partitions are active"),
            Self::Map(n) => write!(f, "entry {n} is not as declared"),
            Self::Code => f.write_str("boot code differs from the CD's"),
            Self::DiskSignature => f.write_str("disk signature is not the declared one"),
        }
    }
}

/// A sector 0 that ends in 55AA. What its entries say is another question: see [`Mbr::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mbr {
    sector: [u8; SECTOR],
}

/// An entry as it stands in the table, all of its 16 bytes.
pub type RawEntry = [u8; 16];

impl Mbr {
    /// Takes a sector 0 that ends in 55AA, whatever its entries say.
    ///
    /// # Errors
    /// [`Fault::NoSignature`]; such a sector has no table.
    pub fn parse(sector: &[u8; SECTOR]) -> Result<Self, Fault> {
        if u16_at(sector, 510) == 0xAA55 { Ok(Self { sector: *sector }) } else { Err(Fault::NoSignature) }
    }

    /// Whether every entry makes sense by itself and beside the others on a disk of so many sectors: status
    /// bytes and extents.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self, disk_sectors: u64) -> Result<(), Fault> {
        (0..4).try_for_each(|n| self.check_entry(n, disk_sectors))
    }

    fn check_entry(&self, n: usize, disk_sectors: u64) -> Result<(), Fault> {
        if !matches!(u8_at(&self.sector, TABLE + 16 * n), 0 | ACTIVE) {
            return Err(Fault::Status(n + 1));
        }
        let entries = self.entries();
        let Some(entry) = entries.get(n).filter(|entry| entry.kind != 0) else { return Ok(()) };
        let inside = entry.start > 0 && entry.sectors > 0 && entry.end() <= disk_sectors;
        let overlaps = entries[..n].iter().any(|other| other.kind != 0 && entry.overlaps(other));
        if inside && !overlaps { Ok(()) } else { Err(Fault::Extent(n + 1)) }
    }

    /// The whole sector.
    #[must_use]
    pub fn sector(&self) -> &[u8; SECTOR] {
        &self.sector
    }

    /// The four entries.
    #[must_use]
    pub fn entries(&self) -> [Entry; 4] {
        core::array::from_fn(|n| {
            let at = TABLE + 16 * n;
            Entry {
                active: u8_at(&self.sector, at) == ACTIVE,
                kind: u8_at(&self.sector, at + 4),
                start: u32_at(&self.sector, at + 8),
                sectors: u32_at(&self.sector, at + 12),
            }
        })
    }

    /// The 32-bit disk signature.
    #[must_use]
    pub fn disk_signature(&self) -> u32 {
        u32_at(&self.sector, SIGNATURE)
    }

    /// Whether every declared entry is in its slot, active flags aside. What is in the other slots is not asked.
    #[must_use]
    pub fn has_map(&self, map: &[Entry; 4]) -> bool {
        self.first_difference(map).is_none()
    }

    fn first_difference(&self, map: &[Entry; 4]) -> Option<usize> {
        self.entries().iter().zip(map).position(|(there, declared)| declared.kind != 0 && !there.is_same(declared))
    }

    /// Which entry is active: 0 to 3.
    ///
    /// # Errors
    /// [`Fault::Active`] when none is, or only an empty one, or several are.
    pub fn active(&self) -> Result<usize, Fault> {
        let entries = self.entries();
        let mut active = entries.iter().enumerate().filter(|(_, e)| e.active);
        match (active.next(), active.count()) {
            (Some((_, entry)), 0) if entry.kind == 0 => Err(Fault::Active(0)),
            (Some((n, _)), 0) => Ok(n),
            (first, more) => Err(Fault::Active(usize::from(first.is_some()) + more)),
        }
    }

    /// Compares with what is declared: the entries of `map`, one active flag in all, and, where they are given,
    /// boot code and disk signature. Entries that are not declared are not judged.
    ///
    /// # Errors
    /// The first difference.
    pub fn verify(
        &self,
        map: &[Entry; 4],
        disk_sectors: u64,
        code: Option<&[u8; CODE_BYTES]>,
        signature: Option<u32>,
    ) -> Result<(), Fault> {
        for n in (0..4).filter(|&n| map[n].kind != 0) {
            self.check_entry(n, disk_sectors)?;
        }
        if let Some(n) = self.first_difference(map) {
            return Err(Fault::Map(n + 1));
        }
        self.active()?;
        if code.is_some_and(|code| !self.has_code(code)) {
            return Err(Fault::Code);
        }
        if signature.is_some_and(|signature| self.disk_signature() != signature) {
            return Err(Fault::DiskSignature);
        }
        Ok(())
    }

    /// Whether it has this boot code.
    #[must_use]
    pub fn has_code(&self, code: &[u8; CODE_BYTES]) -> bool {
        self.sector[..CODE_BYTES] == code[..]
    }

    /// Entry `n` (0 to 3) as it stands; zeros beyond the fourth.
    #[must_use]
    pub fn raw_entry(&self, n: usize) -> RawEntry {
        self.sector.get(TABLE + 16 * n..TABLE + 16 * (n + 1)).and_then(|raw| raw.try_into().ok()).unwrap_or([0; 16])
    }

    /// The same with this table, flags and all.
    #[must_use]
    pub fn with_table(mut self, entries: &[RawEntry; 4]) -> Self {
        self.sector[TABLE..TABLE + 64].copy_from_slice(entries.as_flattened());
        self
    }

    /// The same with further entries, inactive, each in its slot (0 to 3), or in the first free one where
    /// that is taken.
    ///
    /// # Errors
    /// Which of them (its slot) has no room.
    pub fn with_entries(mut self, more: &[(usize, RawEntry)]) -> Result<Self, usize> {
        for &(slot, raw) in more {
            let entries = self.entries();
            let free = |n: &usize| entries.get(*n).is_some_and(|entry| entry.kind == 0);
            let at = Some(slot).filter(free).or_else(|| (0..4).find(free)).ok_or(slot)?;
            let at = TABLE + 16 * at;
            self.sector[at..at + 16].copy_from_slice(&raw);
            self.sector[at] = 0;
        }
        Ok(self)
    }

    /// The same with only entry `n` (0 to 3) active.
    #[must_use]
    pub fn with_active(&self, n: usize) -> Self {
        let mut sector = self.sector;
        for entry in 0..4 {
            sector[TABLE + 16 * entry] = if entry == n { ACTIVE } else { 0 };
        }
        Self { sector }
    }

    /// A new MBR.
    #[must_use]
    pub fn new(map: &[Entry; 4], code: &[u8; CODE_BYTES], signature: u32) -> Self {
        let mut sector = [0; SECTOR];
        sector[..CODE_BYTES].copy_from_slice(code);
        put_u32(&mut sector, SIGNATURE, signature);
        for (n, entry) in map.iter().enumerate().filter(|(_, e)| e.kind != 0) {
            let at = TABLE + 16 * n;
            sector[at] = if entry.active { ACTIVE } else { 0 };
            let last = entry.start.saturating_add(entry.sectors.saturating_sub(1));
            sector[at + 1..at + 4].copy_from_slice(&chs(entry.start));
            sector[at + 4] = entry.kind;
            sector[at + 5..at + 8].copy_from_slice(&chs(last));
            put_u32(&mut sector, at + 8, entry.start);
            put_u32(&mut sector, at + 12, entry.sectors);
        }
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        Self { sector }
    }
}

/// The three CHS bytes of a sector, in the 255 heads and 63 sectors that every BIOS assumes for LBA
/// disks; FE FF FF beyond what they can say (cylinder 1023), as every partitioning tool writes it.
fn chs(lba: u32) -> [u8; 3] {
    let (cylinder, rest) = (lba / (255 * 63), lba % (255 * 63));
    if cylinder > 1023 {
        return [0xFE, 0xFF, 0xFF];
    }
    let (head, sector) = (rest / 63, rest % 63 + 1);
    [head as u8, (cylinder >> 2 & 0xC0) as u8 | sector as u8, cylinder as u8]
}
