//! A machine in memory that is stricter than a real one: a write outside what the test allows ends
//! the test, and power can go at any sector of any write.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use knownstate_core::event::{Event, Line};
use knownstate_core::machine::{DiskId, DiskInfo, Ending, IoError, Machine, Watchdog};
use knownstate_core::media::region::Write;
use knownstate_core::table::unpack::{BUFFER_BYTES, Buffers};
use knownstate_core::units::{CD_SECTOR, CdSector, Lba, SECTOR};

/// Sectors that are stored together.
pub const PAGE: u64 = 16;
const PAGE_BYTES: usize = PAGE as usize * SECTOR;

/// Sectors that read as zeros until they are written, so that a disk of any size costs nothing; nor does a copy
/// of one cost more than what is written on it.
#[derive(Clone, Default)]
pub struct Sectors(HashMap<u64, Arc<[u8; PAGE_BYTES]>>);

impl Sectors {
    pub fn read(&self, at: u64, into: &mut [u8]) {
        for (n, sector) in into.chunks_mut(SECTOR).enumerate() {
            let (page, from) = Self::place(at + n as u64);
            match self.0.get(&page) {
                Some(bytes) => sector.copy_from_slice(&bytes[from..from + sector.len()]),
                None => sector.fill(0),
            }
        }
    }

    /// Writes from a sector's beginning on; the last sector perhaps in part.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        for (n, part) in data.chunks(SECTOR).enumerate() {
            let (page, from) = Self::place(at + n as u64);
            let bytes = Arc::make_mut(self.0.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES])));
            bytes[from..from + part.len()].copy_from_slice(part);
        }
    }

    /// The pages, each by its number, in no order, that are not the very same in `other`.
    pub fn pages_unlike<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u64, &'a [u8; PAGE_BYTES])> {
        let unlike = |(n, page): &(&u64, &Arc<[u8; PAGE_BYTES]>)| other.0.get(n).is_none_or(|o| !Arc::ptr_eq(o, page));
        self.0.iter().filter(unlike).map(|(n, page)| (*n, &**page))
    }

    /// Whether nothing was written since `copy` was made, or the other way round.
    pub fn is_untouched(&self, copy: &Self) -> bool {
        self.0.len() == copy.0.len() && self.pages_unlike(copy).next().is_none()
    }

    fn place(sector: u64) -> (u64, usize) {
        (sector / PAGE, (sector % PAGE) as usize * SECTOR)
    }
}

/// One disk, and what is wrong with it.
#[derive(Clone)]
pub struct Disk {
    pub info: DiskInfo,
    pub sectors: Sectors,
    /// Where the test allows writes.
    pub allowed: Vec<Range<u64>>,
    /// Unreadable until they are written.
    pub unreadable: BTreeSet<u64>,
    /// Writes to these report an error.
    pub unwritable: BTreeSet<u64>,
    /// Writes to these report success and do nothing.
    pub lying: BTreeSet<u64>,
    /// So does the next write to these.
    pub losing: BTreeSet<u64>,
}

impl Disk {
    pub fn blank(drive: u8, sectors: u64) -> Self {
        let info = DiskInfo { drive, sectors, boot_medium: false, writable: true, removable: false };
        Self {
            info,
            sectors: Sectors::default(),
            allowed: Vec::new(),
            unreadable: BTreeSet::new(),
            unwritable: BTreeSet::new(),
            lying: BTreeSet::new(),
            losing: BTreeSet::new(),
        }
    }

    pub fn bytes(&self, sectors: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; (sectors.end - sectors.start) as usize * SECTOR];
        self.sectors.read(sectors.start, &mut bytes);
        bytes
    }

    pub fn sector(&self, at: u64) -> [u8; SECTOR] {
        self.bytes(at..at + 1).try_into().unwrap()
    }

    /// Puts bytes at any byte of the disk, as a test or a passing virus may.
    pub fn poke(&mut self, at: u64, data: &[u8]) {
        let (first, skip) = (at / SECTOR as u64, (at % SECTOR as u64) as usize);
        let mut whole = self.bytes(first..first + (skip + data.len()).div_ceil(SECTOR) as u64);
        whole[skip..skip + data.len()].copy_from_slice(data);
        self.sectors.write(first, &whole);
    }

    /// A disk from such a file; what is zeros there is not stored.
    pub fn load(drive: u8, path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut disk = Self::blank(drive, (bytes.len() / SECTOR) as u64);
        for (n, page) in bytes.chunks(PAGE_BYTES).enumerate().filter(|(_, page)| page.iter().any(|&b| b != 0)) {
            disk.sectors.write(n as u64 * PAGE, page);
        }
        disk
    }

    /// The disk as a file, for tools that are not this project's.
    pub fn dump(&self, path: &Path) {
        std::fs::write(path, self.bytes(0..self.info.sectors)).unwrap();
    }

    fn outside(&self, at: u64, bytes: usize) -> bool {
        at.checked_add((bytes / SECTOR) as u64).is_none_or(|end| end > self.info.sectors)
    }
}

/// When the power goes.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// During this write, counted from 0.
    pub write: usize,
    /// After so many of its sectors have reached the disk.
    pub sectors: usize,
    /// What becomes of the next sector.
    pub next: Torn,
}

/// What the sector that was being written when the power went is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// As it was.
    Old,
    /// Its first half new.
    Half,
    /// Something else.
    Garbage,
    /// Unreadable until it is written again: its checksum on the disk is wrong.
    Unreadable,
}

impl Cut {
    fn apply(self, disk: &mut Disk, at: u64, data: &[u8]) {
        let (done, rest) = data.split_at((self.sectors * SECTOR).min(data.len()));
        disk.sectors.write(at, done);
        let next = at + (done.len() / SECTOR) as u64;
        match (self.next, rest.get(..SECTOR / 2)) {
            (_, None) | (Torn::Old, _) => {}
            (Torn::Half, Some(half)) => disk.sectors.write(next, half),
            (Torn::Garbage, _) => disk.sectors.write(next, &[0xA5; SECTOR]),
            (Torn::Unreadable, _) => {
                disk.unreadable.insert(next);
            }
        }
    }
}

/// What a run did, in its order.
#[derive(Clone, Debug)]
pub enum Happened {
    /// It said so, without the time.
    Said(String),
    /// It wrote this on disk `disk` from sector `at` on; whether the disk took it.
    Wrote { disk: usize, at: u64, data: Vec<u8>, taken: bool },
}

/// The machine.
#[derive(Clone, Default)]
pub struct Pc {
    pub disks: Vec<Disk>,
    pub cd: Arc<Vec<u8>>,
    /// CD sectors behind the end of `cd`; if there are any, all others there are zeros.
    pub cd_far: HashMap<u32, Vec<u8>>,
    pub bad_cd_sectors: BTreeSet<u32>,
    /// Every line told, with its time.
    pub lines: Vec<String>,
    /// See [`Pc::log`].
    told: Vec<String>,
    /// Every write asked for: disk, first sector, sectors.
    pub writes: Vec<(usize, u64, usize)>,
    /// Disk reads of this run, too many of which end the test, and how many sectors they were.
    pub reads: usize,
    pub sectors_read: u64,
    /// Sectors of the first disk, and of the CD, that were read in this run.
    pub seen: BTreeSet<u64>,
    pub cd_seen: BTreeSet<u32>,
    /// How often the CD was read, and how many sectors that were.
    pub cd_reads: (usize, u32),
    /// What happened in this run, if anybody wants to know.
    pub happened: Option<Vec<Happened>>,
    pub cut: Option<Cut>,
    pub off: bool,
    /// Steps, counted from 0 in the order in which they are carried out, while which nothing can be read or
    /// written, and keys are pressed; how many have begun.
    pub failing: BTreeSet<usize>,
    pub begun: usize,
    pub key_at: Option<u64>,
    pub beeps: usize,
    /// The watchdog that it has, and what each step asked of one.
    pub watchdog: Option<Watchdog>,
    pub asked: Vec<(u32, Option<Watchdog>)>,
    /// What its memory has of restores, and how many random numbers it has given.
    pub restores: u32,
    pub random: u32,
    /// Milliseconds since the start, and how many pass from one look at the clock to the next.
    pub millis: u64,
    pub tick: u64,
}

impl Pc {
    pub fn new(cd: Arc<Vec<u8>>, disks: Vec<Disk>) -> Self {
        Self { cd, disks, tick: 1, ..Self::default() }
    }

    /// Switches on and runs the CD to its end.
    pub fn start(&mut self) -> Ending {
        (self.off, self.millis, self.reads, self.sectors_read, self.begun) = (false, 0, 0, 0, 0);
        self.lines.clear();
        self.told.clear();
        self.writes.clear();
        self.seen.clear();
        self.cd_seen.clear();
        self.cd_reads = (0, 0);
        self.asked.clear();
        if let Some(happened) = &mut self.happened {
            happened.clear();
        }
        let mut memory: Box<[u8; BUFFER_BYTES]> =
            vec![0; BUFFER_BYTES].into_boxed_slice().try_into().expect("it has this length");
        let ending = knownstate_core::run(self, Buffers::new(&mut memory));
        // A system has all of the memory; and where the power goes nothing is left of it.
        if self.off || !matches!(ending, Ending::Restart) {
            self.restores = 0;
        }
        ending
    }

    /// What was told, without times and without the greeting and progress, and without the amount that a
    /// `verify` found to be right.
    pub fn log(&self) -> Vec<&str> {
        self.told
            .iter()
            .map(String::as_str)
            .filter(|l| !l.starts_with("- Knownstate ") && !l.ends_with(" s left"))
            .collect()
    }

    fn dead<T>(&self, ok: T) -> Result<T, IoError> {
        if self.off || self.fails() { Err(IoError::Status(0x80)) } else { Ok(ok) }
    }

    /// Whether the step at work is one of those that fail.
    fn fails(&self) -> bool {
        self.begun.checked_sub(1).is_some_and(|now| self.failing.contains(&now))
    }
}

impl Machine for Pc {
    fn disks(&mut self) -> Vec<DiskInfo> {
        self.disks.iter().map(|d| d.info).collect()
    }

    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        self.dead(())?;
        self.reads += 1;
        self.sectors_read += (into.len() / SECTOR) as u64;
        assert!(self.reads < 200_000, "the run reads without end; last lines: {:#?}", self.lines.last_chunk::<5>());
        assert!(into.len().is_multiple_of(SECTOR), "a read of {} bytes", into.len());
        let number = disk.0;
        let disk = self.disks.get(number).ok_or(IoError::Unsupported)?;
        if disk.outside(at.0, into.len()) {
            return Err(IoError::OutOfRange);
        }
        let end = at.0 + (into.len() / SECTOR) as u64;
        if disk.unreadable.range(at.0..end).next().is_some() {
            return Err(IoError::Status(0x10));
        }
        disk.sectors.read(at.0, into);
        // Whoever has millions of starts does not ask for that as well.
        if number == 0 && self.happened.is_none() {
            self.seen.extend(at.0..end);
        }
        Ok(())
    }

    fn write_disk(&mut self, write: &Write<'_>) -> Result<(), IoError> {
        self.dead(())?;
        let (number, at, data) = (write.disk().0, write.at().0, write.data());
        let end = at + (data.len() / SECTOR) as u64;
        let disk = &mut self.disks[number];
        let inside = disk.allowed.iter().any(|a| a.start <= at && end <= a.end);
        assert!(inside, "forbidden write to disk {number}, sectors {at}..{end}; said so far: {:#?}", self.lines);
        self.writes.push((number, at, data.len() / SECTOR));
        if let Some(cut) = self.cut.filter(|cut| cut.write + 1 == self.writes.len()) {
            cut.apply(disk, at, data);
            self.off = true;
            return Err(IoError::Status(0x80));
        }
        let refused = disk.unwritable.range(at..end).next().is_some();
        if let Some(happened) = &mut self.happened {
            // Where a sector lies, each of them is a write of its own.
            let lies = disk.lying.range(at..end).next().is_some();
            for (n, part) in (0..).zip(data.chunks(if lies { SECTOR } else { data.len() })) {
                let taken = !refused && !disk.lying.contains(&(at + n));
                happened.push(Happened::Wrote { disk: number, at: at + n, data: part.to_vec(), taken });
            }
        }
        if refused {
            return Err(IoError::Status(0x03));
        }
        for (sector, part) in (at..end).zip(data.chunks(SECTOR)) {
            if !disk.losing.remove(&sector) && !disk.lying.contains(&sector) {
                disk.sectors.write(sector, part);
                disk.unreadable.remove(&sector);
            }
        }
        Ok(())
    }

    fn read_cd(&mut self, at: CdSector, into: &mut [u8]) -> Result<(), IoError> {
        self.dead(())?;
        assert!(into.len().is_multiple_of(CD_SECTOR), "a CD read of {} bytes", into.len());
        let sectors = (into.len() / CD_SECTOR) as u32;
        self.cd_reads = (self.cd_reads.0 + 1, self.cd_reads.1 + sectors);
        if self.happened.is_none() {
            self.cd_seen.extend(at.0..at.0.saturating_add(sectors));
        }
        if self.bad_cd_sectors.range(at.0..at.0.saturating_add(sectors)).next().is_some() {
            return Err(IoError::Status(0x11));
        }
        let from = at.0 as usize * CD_SECTOR;
        if let Some(near) = self.cd.get(from..from + into.len()) {
            into.copy_from_slice(near);
            return Ok(());
        }
        if self.cd_far.is_empty() || from < self.cd.len() {
            return Err(IoError::OutOfRange);
        }
        for (sector, part) in (at.0..).zip(into.chunks_mut(CD_SECTOR)) {
            match self.cd_far.get(&sector) {
                Some(far) => part.copy_from_slice(far),
                None => part.fill(0),
            }
        }
        Ok(())
    }

    fn begin(&mut self, _step: usize) -> bool {
        self.begun += 1;
        self.fails()
    }

    fn now(&mut self) -> u64 {
        self.millis += self.tick;
        self.millis
    }

    fn random(&mut self) -> u32 {
        self.random += 1;
        self.random
    }

    fn remembered_restores(&mut self) -> u32 {
        self.restores
    }

    fn remember_restores(&mut self, times: u32) {
        self.restores = times;
    }

    fn tell(&mut self, event: &Event<'_>) {
        if !self.off {
            self.lines.push(Line { millis: self.millis, event }.to_string());
            let line = event.to_string();
            if let Some(happened) = &mut self.happened {
                happened.push(Happened::Said(line.clone()));
            }
            let measured = [" as sealed)", " as on the CD)"].iter().find_map(|by| line.strip_suffix(by));
            let amount = measured.and_then(|l| l.rsplit_once(", "));
            self.told.push(amount.map_or(line.clone(), |(before, _)| format!("{before})")));
        }
    }

    fn key_pressed(&mut self) -> bool {
        self.fails() || self.key_at.is_some_and(|at| self.millis >= at)
    }

    fn pause(&mut self) {
        self.millis += 55;
    }

    fn beep(&mut self, times: u8) {
        self.beeps += usize::from(times);
    }

    fn watchdog(&mut self, seconds: u32, chip: Option<Watchdog>) -> Result<String, String> {
        self.asked.push((seconds, chip));
        let there = self.watchdog.filter(|there| chip.is_none_or(|chip| chip == *there));
        there.map(|there| format!("{}, {seconds} s", there.name())).ok_or_else(|| "no watchdog found".to_string())
    }
}

/// An ending in a word, for tables.
pub fn word(ending: &Ending) -> String {
    match ending {
        Ending::HandOff(to) => format!("hand-off {:02X} entry {}", to.drive, to.entry + 1),
        Ending::Hold { label, .. } => format!("hold {label}"),
        Ending::Restart => "restart".into(),
        Ending::PowerOff => "poweroff".into(),
    }
}
