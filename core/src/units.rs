//! The two sector sizes, as types that do not mix.
//!
//! A hard disk counts in 512-byte sectors, a CD in 2048-byte ones. Every place on a medium is one of
//! these types, so that a CD sector number can't be given to a disk.

use core::fmt;

/// Bytes in a disk sector (ATA/ATAPI-6 section 6.2; the unit of INT 13h on a disk).
pub const SECTOR: usize = 512;

/// Bytes in a CD sector, which ECMA-119 (ISO 9660) section 6.1.2 calls a logical sector.
pub const CD_SECTOR: usize = 2048;

/// The number of a 512-byte sector, counted from the beginning of a whole disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lba(pub u64);

/// The number of a 512-byte sector, counted from the beginning of a region (a partition, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// How many 512-byte sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectorCount(pub u64);

/// The number of a 2048-byte sector of the boot medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CdSector(pub u32);

impl SectorCount {
    /// The length in bytes. Saturates, which no medium of ours reaches (2^64 bytes).
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.saturating_mul(SECTOR as u64)
    }

    /// How many sectors hold `bytes` bytes, the last one perhaps in part.
    #[must_use]
    pub const fn holding(bytes: u64) -> Self {
        Self(bytes.div_ceil(SECTOR as u64))
    }
}

/// In KiB, or from 10 MiB on in MiB.
impl fmt::Display for SectorCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.0 / 2;
        if kib < 10 << 10 { write!(f, "{kib} KiB") } else { write!(f, "{} MiB", kib >> 10) }
    }
}

impl fmt::Display for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lba {}", self.0)
    }
}

impl fmt::Display for CdSector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CD sector {}", self.0)
    }
}
