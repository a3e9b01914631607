//! Mistakes that can be made on purpose, each a single wrong decision of the kind that a change may bring.
//!
//! `make defects` makes them one by one, and wants each to be caught: a test that finds nothing in a program
//! that is right proves only that it finds nothing. Without the feature `seeded-defects`, which the loader and
//! the tools never have, [`seeded`] is a constant and leaves no trace.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Defect {
    /// None.
    None,
    /// `restore D` writes the final MBR before the partitions.
    MbrFirst,
    /// `restore D` leaves the old table in place while it writes.
    TableKept,
    /// A partition that is being rewritten gets its 55AA with its first sector.
    BootSectorFirst,
    /// It gets it before bstate.txt says OK.
    BootSectorBeforeState,
    /// bstate.txt says OK before the images are written.
    StateFirst,
    /// A restore is not counted.
    RestoreNotCounted,
    /// The image's own bstate.txt goes to the disk while the image streams by.
    RecordFromImage,
    /// What was written is not read back.
    NoReadBack,
    /// An error of a write is taken for success.
    WriteErrorIgnored,
    /// One copy of bstate.txt that was written is enough.
    OneCopyIsEnough,
    /// `set P Dirty` before a boot stays in memory.
    DirtyNotWritten,
    /// A copy with a wrong crc32 is valid.
    TornRecordTaken,
    /// The copy with the lowest sequence wins.
    OldestWins,
    /// Of equal sequences each partition gets the better value.
    BetterWins,
    /// The sequence has eight bits.
    SequenceWraps,
    /// What a person edited is taken for a broken copy.
    EditIgnored,
    /// `heal` takes what the sibling has without looking at it.
    SiblingTrusted,
    /// Packs of the CD's images are taken without looking at their hashes.
    PackTrusted,
    /// `heal` mends the boot sector first.
    HealBootSectorFirst,
    /// `activate` clears the flags in one write and sets one in the next.
    FlagInTwoWrites,
    /// Somebody else's marks on a disk are overlooked.
    MarksOverlooked,
    /// A partition's region begins a sector early.
    RegionShifted,
    /// The note of a restore is not left in its second place.
    OneNote,
    /// The second note is cleared before the MBR is written.
    SecondNoteClearedFirst,
    /// A new table drops the entries that are not declared.
    ExtraDropped,
}

impl Defect {
    /// Every one.
    #[cfg(feature = "seeded-defects")]
    pub const ALL: [Self; 25] = [
        Self::MbrFirst,
        Self::TableKept,
        Self::BootSectorFirst,
        Self::BootSectorBeforeState,
        Self::StateFirst,
        Self::RestoreNotCounted,
        Self::RecordFromImage,
        Self::NoReadBack,
        Self::WriteErrorIgnored,
        Self::OneCopyIsEnough,
        Self::DirtyNotWritten,
        Self::TornRecordTaken,
        Self::OldestWins,
        Self::BetterWins,
        Self::SequenceWraps,
        Self::EditIgnored,
        Self::SiblingTrusted,
        Self::PackTrusted,
        Self::HealBootSectorFirst,
        Self::FlagInTwoWrites,
        Self::MarksOverlooked,
        Self::RegionShifted,
        Self::OneNote,
        Self::SecondNoteClearedFirst,
        Self::ExtraDropped,
    ];
}

#[cfg(feature = "seeded-defects")]
static SEEDED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(Defect::None as u8);

/// From now on this mistake is made, in the whole process.
#[cfg(feature = "seeded-defects")]
pub fn seed(defect: Defect) {
    SEEDED.store(defect as u8, core::sync::atomic::Ordering::SeqCst);
}

/// Whether this mistake is to be made.
#[cfg(feature = "seeded-defects")]
pub(crate) fn seeded(defect: Defect) -> bool {
    SEEDED.load(core::sync::atomic::Ordering::Relaxed) == defect as u8
}

/// Never.
#[cfg(not(feature = "seeded-defects"))]
#[inline(always)]
pub(crate) const fn seeded(_: Defect) -> bool {
    false
}
