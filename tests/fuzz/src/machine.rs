//! A machine whose disks and CD are what an input says. A write outside of what was declared, and reading
//! without end, are failures of the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use knownstate_core::event::Event;
use knownstate_core::machine::{DiskId, DiskInfo, IoError, Machine};
use knownstate_core::media::region::Write;
use knownstate_core::units::{CD_SECTOR, CdSector, Lba, SECTOR};

use super::heap::uncounted;
use super::input::Sparse;

/// The bit of a sector's number in an input that makes it unreadable.
pub const UNREADABLE: u32 = 1 << 31;

/// What stands on a disk: whole bytes below, an input's sectors over them, and what was written over those.
#[derive(Default)]
pub struct Fuzzed<'b> {
    pub base: &'b [u8],
    pub over: Sparse<SECTOR>,
    pub written: BTreeMap<u64, [u8; SECTOR]>,
    pub sectors: u64,
    /// Where writes are allowed.
    pub allowed: Vec<Range<u64>>,
    pub cd_base: &'b [u8],
    pub cd: Sparse<CD_SECTOR>,
    pub cd_sectors: u64,
    /// Reads of this run, and after how many the machine gives nothing any more.
    pub reads: usize,
    pub most_reads: usize,
    /// Whether that is a failure.
    pub strict: bool,
    pub seen: BTreeSet<u64>,
    pub cd_seen: BTreeSet<u64>,
    pub lines: Vec<String>,
    pub told: usize,
    pub millis: u64,
}

/// Lines that are kept for a failure's message.
const KEPT: usize = 200;

impl Fuzzed<'_> {
    fn spent(&mut self) -> Result<(), IoError> {
        self.reads += 1;
        if self.reads > self.most_reads {
            assert!(!self.strict, "{} reads; said so far: {:#?}", self.reads, self.lines);
            return Err(IoError::Status(0x80));
        }
        Ok(())
    }

    /// One sector as it stands now.
    pub fn sector(&self, at: u64) -> [u8; SECTOR] {
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let over = self.over.get(number).and_then(|bytes| bytes.try_into().ok());
        let base = || self.base.get(at as usize * SECTOR..)?.first_chunk().copied();
        self.written.get(&at).copied().or(over).or_else(base).unwrap_or([0; SECTOR])
    }

    fn readable(&self, at: u64) -> bool {
        let number = u32::try_from(at).unwrap_or(u32::MAX) | UNREADABLE;
        self.over.get(number).is_none() || self.written.contains_key(&at)
    }
}

impl Machine for Fuzzed<'_> {
    fn disks(&mut self) -> Vec<DiskInfo> {
        let sectors = self.sectors;
        vec![DiskInfo { drive: 0x80, sectors, boot_medium: false, writable: true, removable: false }]
    }

    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        assert_eq!(disk, DiskId(0), "there is one disk");
        assert!(into.len().is_multiple_of(SECTOR), "a read of {} bytes", into.len());
        self.spent()?;
        let end = at.0.checked_add((into.len() / SECTOR) as u64).ok_or(IoError::OutOfRange)?;
        if end > self.sectors {
            return Err(IoError::OutOfRange);
        }
        uncounted(|| {
            self.seen.extend(at.0..end);
            for (number, sector) in (at.0..end).zip(into.chunks_exact_mut(SECTOR)) {
                if !self.readable(number) {
                    return Err(IoError::Status(0x10));
                }
                sector.copy_from_slice(&self.sector(number));
            }
            Ok(())
        })
    }

    fn write_disk(&mut self, write: &Write<'_>) -> Result<(), IoError> {
        assert_eq!(write.disk(), DiskId(0), "there is one disk");
        let (at, sectors) = (write.at().0, (write.data().len() / SECTOR) as u64);
        let inside = self.allowed.iter().any(|a| a.start <= at && at + sectors <= a.end);
        assert!(inside, "a write to sectors {at}..{}; said so far: {:#?}", at + sectors, self.lines);
        assert!(write.data().len().is_multiple_of(SECTOR) && at + sectors <= self.sectors);
        self.spent()?;
        uncounted(|| {
            for (number, sector) in (at..).zip(write.data().as_chunks::<SECTOR>().0) {
                self.written.insert(number, *sector);
            }
        });
        Ok(())
    }

    fn read_cd(&mut self, at: CdSector, into: &mut [u8]) -> Result<(), IoError> {
        assert!(into.len().is_multiple_of(CD_SECTOR), "a CD read of {} bytes", into.len());
        self.spent()?;
        let end = u64::from(at.0) + (into.len() / CD_SECTOR) as u64;
        if end > self.cd_sectors {
            return Err(IoError::OutOfRange);
        }
        uncounted(|| {
            self.cd_seen.extend(u64::from(at.0)..end);
            for (number, sector) in (at.0..).zip(into.as_chunks_mut::<CD_SECTOR>().0) {
                if self.cd.get(number | UNREADABLE).is_some() {
                    return Err(IoError::Status(0x11));
                }
                let over = self.cd.get(number).and_then(|bytes| bytes.try_into().ok());
                let base = || self.cd_base.get(number as usize * CD_SECTOR..)?.first_chunk().copied();
                *sector = over.or_else(base).unwrap_or([0; CD_SECTOR]);
            }
            Ok(())
        })
    }

    fn now(&mut self) -> u64 {
        self.millis += 1;
        self.millis
    }

    fn tell(&mut self, event: &Event<'_>) {
        uncounted(|| {
            self.told += 1;
            let line = event.to_string();
            assert!(!line.contains('\n') && line.len() < 16384, "a line of {} bytes: {line}", line.len());
            if self.lines.len() < KEPT {
                self.lines.push(line);
            }
        });
    }

    fn key_pressed(&mut self) -> bool {
        false
    }

    fn pause(&mut self) {
        // A `wait` of a day would be two million looks at the clock.
        self.millis += 10_000;
    }

    fn beep(&mut self, _times: u8) {}
}
