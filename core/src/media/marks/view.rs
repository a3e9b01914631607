//! Some sectors of a volume, in memory.

use super::On;
use crate::units::SECTOR;

/// Sectors that were read of a disk or a partition.
pub struct View<'a> {
    /// The first of them, counted from the beginning of the volume.
    pub first: u64,
    /// Their bytes.
    pub bytes: &'a [u8],
    /// How many sectors the volume has, if that is known.
    pub sectors: Option<u64>,
    /// What the volume is.
    pub on: On,
}

impl<'a> View<'a> {
    /// The bytes from byte `at` of the volume on, as far as they are here; none if they are not.
    pub fn from(&self, at: u64) -> &'a [u8] {
        let here = at.checked_sub(self.first.saturating_mul(SECTOR as u64));
        here.and_then(|at| self.bytes.get(usize::try_from(at).ok()?..)).unwrap_or_default()
    }

    /// Each whole sector with its number on the volume.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        (self.first..).zip(self.bytes.chunks_exact(SECTOR))
    }
}
