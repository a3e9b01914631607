//! What was read a moment ago, kept.
//!
//! The steps of a good start look at the same few sectors again and again: sector 0, and of each partition
//! the boot sector, the table, the root directory and bstate.txt. Each is read once, with its neighbours.
//! Whatever is written is dropped, so that reading back reads the disk; and who is about to destroy
//! something, or is asked for what a disk holds now, calls [`Machine::forget`] first.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::event::Event;
use crate::machine::{DiskId, DiskInfo, IoError, Machine, Watchdog};
use crate::media::iso9660;
use crate::media::region::Write;
use crate::units::{CD_SECTOR, CdSector, Lba, SECTOR};

/// Sectors of a disk that are read at once; a multiple of as many is where they begin.
const DISK_SECTORS: u64 = 16;
/// Sectors of a CD that are read at once, from the wanted one on: a small file and the next one.
const CD_SECTORS: u64 = 4;
/// Where a CD certainly goes on to: its descriptors begin in sector 16, two at least, and its tables follow
/// (ECMA-119 sections 6.2.1 and 6.9).
const CD_BEGINNING: u64 = 20;
/// As many pieces are kept: four of each of four partitions, and some. 160 KiB.
const PIECES: usize = 20;

/// A machine whose small reads are kept.
pub struct Cache<'m> {
    machine: &'m mut dyn Machine,
    pieces: Vec<Piece>,
    /// Where the CD's volume ends: reading past its last sector takes seconds on some drives.
    cd_end: u64,
}

struct Piece {
    /// The disk, or the CD.
    disk: Option<DiskId>,
    /// Its first sector, and how many there are.
    first: u64,
    sectors: u64,
    /// Nothing if some of it could not be read: then each sector is for itself.
    bytes: Option<Vec<u8>>,
}

impl Piece {
    fn overlaps(&self, disk: Option<DiskId>, first: u64, end: u64) -> bool {
        self.disk == disk && first < self.first + self.sectors && self.first < end
    }

    fn covers(&self, disk: Option<DiskId>, first: u64, end: u64) -> bool {
        self.disk == disk && self.first <= first && end <= self.first + self.sectors
    }
}

impl<'m> Cache<'m> {
    /// A cache with nothing in it.
    pub fn new(machine: &'m mut dyn Machine) -> Self {
        Self { machine, pieces: Vec::new(), cd_end: CD_BEGINNING }
    }

    fn directly(&mut self, disk: Option<DiskId>, at: u64, into: &mut [u8]) -> Result<(), IoError> {
        match disk {
            Some(disk) => self.machine.read_disk(disk, Lba(at), into),
            None => self.machine.read_cd(CdSector(u32::try_from(at).map_err(|_| IoError::OutOfRange)?), into),
        }
    }

    #[inline(never)]
    fn read(&mut self, disk: Option<DiskId>, at: u64, into: &mut [u8]) -> Result<(), IoError> {
        let unit = if disk.is_some() { SECTOR } else { CD_SECTOR };
        let end = at.saturating_add((into.len() / unit) as u64);
        let (first, behind) = match disk {
            Some(_) => {
                let first = at - at % DISK_SECTORS;
                // The sector before a partition, too: a restore that was not finished has left its note there.
                (first.saturating_sub(1), first + DISK_SECTORS)
            }
            None => (at, self.cd_end.min(at + CD_SECTORS)),
        };
        if end > behind || !into.len().is_multiple_of(unit) {
            return self.directly(disk, at, into);
        }
        if !self.pieces.iter().any(|piece| piece.covers(disk, at, end)) {
            let sectors = behind - first;
            let mut bytes = vec![0; sectors as usize * unit];
            let bytes = self.directly(disk, first, &mut bytes).is_ok().then_some(bytes);
            if self.pieces.len() == PIECES {
                self.pieces.remove(0);
            }
            self.pieces.push(Piece { disk, first, sectors, bytes });
        }
        let piece = self.pieces.iter().find(|piece| piece.covers(disk, at, end));
        let kept = piece.and_then(|piece| {
            let skip = (at - piece.first) as usize * unit;
            piece.bytes.as_ref()?.get(skip..skip + into.len())
        });
        match kept {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                Ok(())
            }
            None => self.directly(disk, at, into),
        }
    }
}

impl Machine for Cache<'_> {
    fn disks(&mut self) -> Vec<DiskInfo> {
        self.machine.disks()
    }

    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        self.read(Some(disk), at.0, into)
    }

    fn read_disk_once(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        self.machine.read_disk(disk, at, into)
    }

    fn write_disk(&mut self, write: &Write<'_>) -> Result<(), IoError> {
        let (disk, first) = (Some(write.disk()), write.at().0);
        let end = first + (write.data().len() / SECTOR) as u64;
        self.pieces.retain(|piece| !piece.overlaps(disk, first, end));
        self.machine.write_disk(write)
    }

    fn read_cd(&mut self, at: CdSector, into: &mut [u8]) -> Result<(), IoError> {
        let result = self.read(None, u64::from(at.0), into);
        if at == iso9660::PRIMARY_VOLUME_DESCRIPTOR && result.is_ok() {
            self.cd_end = iso9660::volume_sectors(into).into();
        }
        result
    }

    fn forget(&mut self) {
        // Nobody writes on a CD.
        self.pieces.retain(|piece| piece.disk.is_none());
        self.machine.forget();
    }

    fn begin(&mut self, step: usize) -> bool {
        let forget = self.machine.begin(step);
        if forget {
            self.pieces.clear();
        }
        forget
    }

    fn now(&mut self) -> u64 {
        self.machine.now()
    }

    fn random(&mut self) -> u32 {
        self.machine.random()
    }

    fn remembered_restores(&mut self) -> u32 {
        self.machine.remembered_restores()
    }

    fn remember_restores(&mut self, times: u32) {
        self.machine.remember_restores(times);
    }

    fn tell(&mut self, event: &Event<'_>) {
        self.machine.tell(event);
    }

    fn key_pressed(&mut self) -> bool {
        self.machine.key_pressed()
    }

    fn pause(&mut self) {
        self.machine.pause();
    }

    fn beep(&mut self, times: u8) {
        self.machine.beep(times);
    }

    fn watchdog(&mut self, seconds: u32, chip: Option<Watchdog>) -> Result<String, String> {
        self.machine.watchdog(seconds, chip)
    }
}
