//! Which disk is the declared one, and what may be written to it. The rules: docs/DISKS.md.
//!
//! A BIOS numbers disks anew at every start, so a number says nothing. A disk is ours if it is proved to be: by its
//! partition table and what goes with it, by the note of an unfinished restore, or by what is in its partitions
//! (`proof`, `content`). What is neither provably ours nor blank is never written, unless logic.txt says `adopt`.
//! Only what is found here can be written: a [`Claim`] is the proof, and it says how far it goes.
//!
//! Where the table is proof enough, one sector is read, which is read anyway. All else is looked at only where
//! that is not so.

mod blank;
mod choose;
mod claim;
mod content;
mod entries;
mod kept;
mod look;
mod owner;
mod proof;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::hash::hash;
use crate::logic::{Disk, DiskIndex, MbrCode, Program, Size};
use crate::machine::{DiskId, DiskInfo, IoError, Machine};
use crate::media::iso9660::Iso;
use crate::media::mbr::{CODE_BYTES, Entry, Mbr};
use crate::units::{Lba, SECTOR};

pub use claim::{Claim, Kept, Scope};
pub use look::{Look, Standing};

/// Where the CD keeps the standard boot code.
pub const STANDARD_MBR: &str = "mbr.bin";

/// What a search needs.
pub struct Search<'a> {
    /// The machine.
    pub machine: &'a mut dyn Machine,
    /// The boot medium, where there is one.
    pub cd: Option<&'a Iso>,
    /// The flow.
    pub program: &'a Program,
    /// What was looked at before.
    pub known: &'a mut Known,
}

/// Looks that were taken before in the same run: a whole look costs thousands of sectors. Each is good as long as
/// the sectors that matter most are as they were.
#[derive(Default)]
pub struct Known(Vec<(DiskId, DiskIndex, u64, Look)>);

/// The declared disk.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The proof.
    pub claim: Claim,
    /// What is not as usual about it, in words for the log; may be empty.
    pub remark: String,
}

impl Search<'_> {
    /// What a disk is to a declaration, other disks and other declarations aside.
    ///
    /// # Errors
    /// That there is no such disk.
    pub fn look(&mut self, id: DiskId, wanted: DiskIndex) -> Result<Look, String> {
        let info = self.machine.disks().get(id.0).copied().ok_or_else(|| "no disk found".to_string())?;
        if let Some(never) = never(&info) {
            return Ok(never);
        }
        match self.quick(id, &info, wanted) {
            Some(look) => Ok(look),
            None => Ok(self.whole_once(id, &info, wanted)),
        }
    }

    /// The whole look, or the one that was taken before if nothing has changed.
    #[inline(never)]
    fn whole_once(&mut self, id: DiskId, info: &DiskInfo, wanted: DiskIndex) -> Look {
        let print = self.print(id, wanted);
        let same = |known: &&(DiskId, DiskIndex, u64, Look)| (known.0, known.1, known.2) == (id, wanted, print);
        if let Some((.., look)) = self.known.0.iter().find(same) {
            return look.clone();
        }
        let look = self.whole(id, info, wanted);
        self.known.0.retain(|known| (known.0, known.1) != (id, wanted));
        self.known.0.push((id, wanted, print, look.clone()));
        look
    }

    /// A hash of sector 0, the second place of a note, and the first sector of each declared partition.
    #[inline(never)]
    fn print(&mut self, id: DiskId, wanted: DiskIndex) -> u64 {
        let starts = self.program.partitions_on(wanted).map(|p| self.program.partition(p).start.0);
        let second = self.first_of(wanted).saturating_sub(1);
        let places: Vec<u64> = [0, second].into_iter().chain(starts).collect();
        let mut sector = [0; SECTOR];
        places.into_iter().fold(0, |print, at| match self.machine.read_disk_once(id, Lba(at), &mut sector) {
            Ok(()) => hash(print, &sector),
            Err(_) => hash(print, b"unreadable"),
        })
    }
}

/// Every entry of a disk's partition table that begins on the disk, each read by itself, those of extended partitions
/// too; and the first table of those that could not be read. `sectors` is the disk's size.
pub fn entries_of(
    machine: &mut dyn Machine,
    disk: DiskId,
    sectors: u64,
    mbr: &Mbr,
) -> (Vec<Kept>, Option<(Lba, IoError)>) {
    let listed = entries::list(machine, disk, sectors, mbr);
    (listed.entries, listed.unreadable)
}

/// A disk that is never taken, whatever is on it.
fn never(info: &DiskInfo) -> Option<Look> {
    info.boot_medium.then(|| Look::never("is the boot medium"))
}

/// Whether a disk has the declared size.
#[must_use]
pub fn fits(size: Size, sectors: u64) -> bool {
    match size {
        Size::Exactly(n) => sectors == n.0,
        Size::AtLeast(n) => sectors >= n.0,
    }
}

/// The boot code that a disk's MBR has to have.
///
/// # Errors
/// When the CD's file can't be read or is too short.
pub fn boot_code(
    machine: &mut dyn Machine,
    cd: &Iso,
    program: &Program,
    disk: DiskIndex,
) -> Result<[u8; CODE_BYTES], String> {
    let path = match &program.disk(disk).mbr {
        MbrCode::File(file) => format!("images/{file}"),
        MbrCode::Standard | MbrCode::Any => STANDARD_MBR.to_string(),
    };
    let file = cd.read_file(machine, &path, 4096).map_err(|e| e.to_string())?;
    file.first_chunk().copied().ok_or_else(|| format!("{path} has fewer than {CODE_BYTES} bytes"))
}

impl Program {
    /// The partition table that a disk is declared to have, the first partition active.
    #[must_use]
    pub fn map(&self, disk: DiskIndex) -> [Entry; 4] {
        let mut map = [Entry::default(); 4];
        for partition in self.partitions_on(disk).map(|p| self.partition(p)) {
            if let Some(entry) = map.get_mut(usize::from(partition.entry)) {
                *entry = Entry {
                    active: partition.entry == 0,
                    kind: partition.kind,
                    // The logic check refuses what a table can't say.
                    start: u32::try_from(partition.start.0).unwrap_or(0),
                    sectors: u32::try_from(partition.sectors.0).unwrap_or(0),
                };
            }
        }
        map
    }
}

/// The disk signature that a restore gives a disk which has none and for which none is declared: the same
/// on every machine with the same logic.txt, and never 0, which means none.
#[must_use]
pub fn default_signature(disk: &Disk) -> u32 {
    let mut signature = 0x4B53_0001_u32;
    for byte in disk.name.bytes() {
        signature = signature.rotate_left(5) ^ u32::from(byte);
    }
    signature | 1
}
