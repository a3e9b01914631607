//! Where ZFS keeps its labels.
//!
//! ZFS on-disk format 1.3, section 1.2: four labels of 256 KiB, two at the beginning and two at the end of a
//! volume, whose length counts in whole labels. In each, 16 KiB in, stands a list of names and values, and from
//! 128 KiB on the ring of uberblocks (section 1.3).

use core::ops::Range;

/// A label's length, in sectors.
pub const LABEL: u64 = 256 * 1024 / 512;

/// The first sectors of the labels on a volume of so many sectors; the first two alone if that is not known.
pub fn all(sectors: Option<u64>) -> [Option<u64>; 4] {
    let end = sectors.map(|sectors| sectors / LABEL * LABEL);
    let last = |n: u64| end.and_then(|end| end.checked_sub(n * LABEL));
    let fits = |label: u64| end.is_none_or(|end| label + LABEL <= end).then_some(label);
    [fits(0), fits(LABEL), last(2), last(1)]
}

/// The sectors of the uberblocks of the label that begins there.
pub fn uberblocks(label: u64) -> Range<u64> {
    label + LABEL / 2..label + LABEL
}

/// Whether a sector of the volume is one of those.
pub fn holds_uberblock(sectors: Option<u64>, sector: u64) -> bool {
    all(sectors).into_iter().flatten().any(|label| uberblocks(label).contains(&sector))
}
