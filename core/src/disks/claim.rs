//! A disk that was found to be a declared one, and what of it may be written.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::defects::{Defect, seeded};
use crate::logic::Partition;
use crate::machine::{DiskId, DiskInfo};
use crate::media::mbr::RawEntry;
use crate::media::note::Note;
use crate::media::region::{Access, Region};
use crate::units::{Lba, SectorCount};

/// How far a claim goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the disk is provably ours.
    All,
    /// `restore D` and nothing else: it is blank, or adopted, or ours with another layout.
    Restore,
    /// bstate.txt and nothing else: another disk is as provably ours.
    State,
    /// It is only read.
    Nothing,
}

/// An entry of the partition table that is not declared, and that no step may drop or write into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its slot in the MBR, 0 to 3; nothing for one inside an extended partition.
    pub slot: Option<usize>,
    /// As it stands there.
    pub raw: RawEntry,
    /// Its type byte.
    pub kind: u8,
    /// Its first sector, counted from the beginning of the disk.
    pub start: u64,
    /// How many 512-byte sectors it has.
    pub sectors: u64,
}

impl Kept {
    /// The sector behind its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.sectors)
    }

    /// Whether it has a sector from `first` up to `end`.
    #[must_use]
    pub fn overlaps(&self, first: u64, end: u64) -> bool {
        self.start < end && first < self.end()
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slot {
            Some(slot) => write!(f, "entry {}", slot + 1)?,
            None => f.write_str("a logical partition")?,
        }
        write!(f, " (type {:02x}, sectors {} to {})", self.kind, self.start, self.end().saturating_sub(1))
    }
}

/// A disk that was found to be a declared one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub(super) id: DiskId,
    pub(super) info: DiskInfo,
    pub(super) scope: Scope,
    pub(super) kept: Vec<Kept>,
    /// The first sector of the first declared partition.
    pub(super) first: u64,
    /// Marks in gaps, each with its first sector and sectors, that a restore may clear.
    pub(super) gap_marks: Vec<(u64, u64)>,
    /// Whether its table holds the map.
    pub(super) whole: bool,
    /// The note that was found, if the restore that it tells of is not finished.
    pub(super) note: Option<Note>,
}

impl Claim {
    /// The BIOS drive number.
    #[must_use]
    pub fn drive(&self) -> u8 {
        self.info.drive
    }

    /// The disk's size in 512-byte sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.info.sectors
    }

    /// How far it goes.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The note of a restore that was begun and not finished.
    #[must_use]
    pub fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// The same disk when a restore has left its note there, which proves it to be ours.
    pub(crate) fn begun(mut self, note: Note) -> Self {
        (self.scope, self.note, self.whole) = (Scope::All, Some(note), false);
        self
    }

    /// Whether its table held the map when it was found.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Entries that every new table has to have.
    #[must_use]
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    fn access(&self) -> Access {
        match self.scope {
            Scope::All | Scope::Restore => Access::All,
            Scope::State => Access::State,
            Scope::Nothing => Access::Nothing,
        }
    }

    /// Access to what is no partition: whoever may write bstate.txt only may not write here.
    fn outside(&self) -> Access {
        if self.access() == Access::All { Access::All } else { Access::Nothing }
    }

    /// The MBR's sector.
    #[must_use]
    pub fn mbr(&self) -> Region {
        Region::cut(self.id, Lba(0), SectorCount(1), self.outside())
    }

    /// The second place of a restore's note: the last sector before the first declared partition. Nothing where
    /// that is sector 0, or another's.
    #[must_use]
    pub fn second_place(&self) -> Option<Region> {
        let at = self.first.checked_sub(1).filter(|&at| at > 0)?;
        self.gap(at, 1)
    }

    /// Sectors that are outside the declared partitions, which the caller sees to, and outside every entry that
    /// has to be kept; nothing where they are not.
    fn gap(&self, at: u64, sectors: u64) -> Option<Region> {
        let end = at.checked_add(sectors).filter(|&end| end <= self.info.sectors)?;
        let free = !self.kept.iter().any(|kept| kept.overlaps(at, end));
        free.then(|| Region::cut(self.id, Lba(at), SectorCount(sectors), self.outside()))
    }

    /// Old marks between the partitions that a restore clears: those before the first partition, or the others.
    pub fn gap_marks(&self, before: bool) -> impl Iterator<Item = Region> + '_ {
        let wanted = self.gap_marks.iter().filter(move |(at, _)| (*at < self.first) == before);
        wanted.filter_map(|&(at, sectors)| self.gap(at, sectors))
    }

    /// Whether a restore clears the mark that begins at this sector of the disk.
    #[must_use]
    pub fn clears(&self, sector: u64) -> bool {
        self.gap_marks.iter().any(|&(at, sectors)| at == sector && self.gap(at, sectors).is_some())
    }

    /// A declared partition's sectors. They lie on the disk, or there is no claim.
    #[must_use]
    pub fn partition(&self, partition: &Partition) -> Region {
        let early = u64::from(seeded(Defect::RegionShifted));
        let access = if self.in_the_way(partition).is_some() { Access::Nothing } else { self.access() };
        Region::cut(self.id, Lba(partition.start.0.saturating_sub(early)), partition.sectors, access)
    }

    /// That more than bstate.txt may be written.
    ///
    /// # Errors
    /// Why not.
    pub fn check_scope(&self) -> Result<(), String> {
        let why = match self.scope {
            Scope::All | Scope::Restore => return Ok(()),
            Scope::State => "another disk is as much ours, so only bstate.txt is written",
            Scope::Nothing => "it is never written",
        };
        Err(format!("drive {:02X}: {why}", self.drive()))
    }

    /// The entry that is not declared and reaches into a declared partition.
    #[must_use]
    pub fn in_the_way(&self, partition: &Partition) -> Option<&Kept> {
        let (first, end) = (partition.start.0, partition.start.0.saturating_add(partition.sectors.0));
        self.kept.iter().find(|kept| kept.overlaps(first, end))
    }

    /// The same as a sentence with its remedy.
    ///
    /// # Errors
    /// That there is one.
    pub fn check_way(&self, partition: &Partition) -> Result<(), String> {
        match self.in_the_way(partition) {
            Some(kept) => Err(format!(
                "drive {:02X} {kept} is not declared and reaches into {}; delete that entry, or declare it",
                self.drive(),
                partition.name
            )),
            None => Ok(()),
        }
    }
}
