//! A machine whose disks and CD are files.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use knownstate_core::event::{Event, Line};
use knownstate_core::machine::{DiskId, DiskInfo, IoError, Machine, Watchdog, mixed};
use knownstate_core::media::region::Write;
use knownstate_core::table::unpack::{BUFFER_BYTES, Buffers};
use knownstate_core::units::{CD_SECTOR, CdSector, Lba, SECTOR};

use super::drive::Drive;
use super::faults::Faults;

/// As many as the loader looks for.
pub const MOST_DRIVES: usize = 16;
/// The BIOS number of the first hard disk.
const FIRST_DRIVE: u8 = 0x80;
/// How much of a `wait` passes at once, in milliseconds: what the loader's timer gives.
const PAUSE: u64 = 55;

/// What a transfer comes to that was told to fail: "timeout, not ready" (Ralf Brown's table 00234).
const NOT_READY: IoError = IoError::Status(0x80);
/// What a read comes to that failed on the host: "uncorrectable CRC or ECC error" (the same table).
const UNREADABLE: IoError = IoError::Status(0x10);
/// What a write comes to that failed on the host: "write fault" (the same table).
const UNWRITABLE: IoError = IoError::Status(0xCC);

/// Who is told what a machine says and does.
pub trait Listener {
    /// A line for the screen.
    fn line(&mut self, line: &Line<'_>);
    /// So many bytes were written to a disk.
    fn wrote(&mut self, _bytes: usize) {}
}

/// The machine.
pub struct FileMachine {
    cd: File,
    drives: Vec<Drive>,
    faults: Faults,
    listener: Box<dyn Listener>,
    /// Whether what it says is for nobody.
    muted: bool,
    began: Instant,
    /// Milliseconds that did not have to pass.
    skipped: u64,
    /// The step that began last.
    step: usize,
    /// The watchdog that it has.
    pub watchdog: Option<Watchdog>,
    /// What its memory has of restores.
    restores: u32,
    /// What the host could not do, so that the run means nothing.
    trouble: Option<io::Error>,
}

impl FileMachine {
    /// A machine that is switched off.
    pub fn new(cd: File, drives: Vec<Drive>, faults: Faults, listener: Box<dyn Listener>) -> Self {
        let began = Instant::now();
        Self {
            cd,
            drives,
            faults,
            listener,
            muted: false,
            began,
            skipped: 0,
            step: 0,
            watchdog: None,
            restores: 0,
            trouble: None,
        }
    }

    /// Takes its power away, and with it what is in its memory.
    pub fn lose_power(&mut self) {
        self.restores = 0;
    }

    /// Switches it on, for the `number`th time.
    pub fn switch_on(&mut self, number: u32) {
        (self.began, self.skipped) = (Instant::now(), 0);
        self.faults.switch_on(number);
    }

    /// The place in the flow of the step that began last.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// The `n`th of its drives, from 0, for what a machine never does: to be written without a region.
    pub fn drive_mut(&mut self, n: usize) -> Option<&mut Drive> {
        self.drives.get_mut(n)
    }

    /// What was to fail.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Does something on it that is no part of a run: without faults, and without a word.
    pub fn quietly<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.faults.end();
        self.muted = true;
        let done = work(self);
        self.muted = false;
        done
    }

    /// The last run is over: what was written to devices, or with `files` to any disk, is to be on the medium.
    ///
    /// # Errors
    /// What the host could not do, now or before: then the run meant nothing.
    pub fn finish(&mut self, files: bool) -> Result<()> {
        if let Some(trouble) = self.trouble.take() {
            bail!("the changes can't be kept beside the disks: {trouble}");
        }
        for drive in self.drives.iter().filter(|drive| !drive.forgets() && (files || drive.is_device())) {
            drive.sync().with_context(|| format!("can't write {}", drive.path().display()))?;
        }
        Ok(())
    }

    /// A drive, if all of these bytes lie on it. Firmware checks no more than that, if at all.
    fn drive(&mut self, disk: DiskId, at: u64, bytes: usize) -> Result<&mut Drive, IoError> {
        let drive = self.drives.get_mut(disk.0).ok_or(IoError::Unsupported)?;
        let end = at.checked_add((bytes / SECTOR) as u64);
        let inside = end.is_some_and(|end| end <= drive.sectors());
        if inside && bytes > 0 && bytes.is_multiple_of(SECTOR) { Ok(drive) } else { Err(IoError::OutOfRange) }
    }
}

/// A disk that fails on the host is a disk that fails; its reason would be lost otherwise.
fn told(drive: &Drive, error: &io::Error, as_what: IoError) -> IoError {
    eprintln!("knownstate: {}: {error}", drive.path().display());
    as_what
}

impl Machine for FileMachine {
    fn disks(&mut self) -> Vec<DiskInfo> {
        let info = |(number, drive): (u8, &Drive)| DiskInfo {
            drive: FIRST_DRIVE + number,
            sectors: drive.sectors(),
            boot_medium: false,
            writable: true,
            removable: false,
        };
        (0..).zip(self.drives.iter().take(MOST_DRIVES)).map(info).collect()
    }

    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        if self.faults.all_fails() {
            return Err(NOT_READY);
        }
        let drive = self.drive(disk, at.0, into.len())?;
        drive.read(at.0, into).map_err(|error| told(drive, &error, UNREADABLE))
    }

    fn write_disk(&mut self, write: &Write<'_>) -> Result<(), IoError> {
        let data = write.data();
        if self.faults.write_fails(data.len() / SECTOR) {
            return Err(NOT_READY);
        }
        let drive = self.drive(write.disk(), write.at().0, data.len())?;
        if let Err(error) = drive.write(write.at().0, data) {
            let outcome = told(drive, &error, UNWRITABLE);
            if drive.forgets() {
                self.trouble.get_or_insert(error);
            }
            return Err(outcome);
        }
        self.listener.wrote(data.len());
        Ok(())
    }

    fn read_cd(&mut self, at: CdSector, into: &mut [u8]) -> Result<(), IoError> {
        if self.faults.all_fails() {
            return Err(NOT_READY);
        }
        self.cd.read_exact_at(into, u64::from(at.0) * CD_SECTOR as u64).map_err(|_| IoError::OutOfRange)
    }

    fn begin(&mut self, step: usize) -> bool {
        self.step = step;
        self.faults.begin(step)
    }

    fn now(&mut self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(self.skipped)
    }

    fn random(&mut self) -> u32 {
        // The standard library's hashes begin somewhere else in every process.
        mixed(RandomState::new().hash_one(self.began))
    }

    fn remembered_restores(&mut self) -> u32 {
        self.restores
    }

    fn remember_restores(&mut self, times: u32) {
        self.restores = times;
    }

    fn tell(&mut self, event: &Event<'_>) {
        let millis = self.now();
        if !self.muted {
            self.listener.line(&Line { millis, event });
        }
    }

    fn key_pressed(&mut self) -> bool {
        self.faults.all_fails()
    }

    fn pause(&mut self) {
        self.skipped = self.skipped.saturating_add(PAUSE);
    }

    fn watchdog(&mut self, seconds: u32, chip: Option<Watchdog>) -> Result<String, String> {
        // One that can't be detected is there only for those who name it.
        let named = |there: &Watchdog| chip.map_or(*there != Watchdog::Ib700, |chip| chip == *there);
        let found = self.watchdog.filter(|there| named(there) && !self.faults.all_fails());
        found.map(|there| format!("{}, {seconds} s", there.name())).ok_or_else(|| "no watchdog found".to_string())
    }

    fn beep(&mut self, _times: u8) {}
}

/// Memory for a run's large transfers.
#[must_use]
pub fn buffers() -> Vec<u8> {
    vec![0; BUFFER_BYTES]
}

/// The two buffers that a run takes.
pub fn in_two(memory: &mut [u8]) -> Buffers<'_> {
    memory.first_chunk_mut().map(Buffers::new).unwrap_or_default()
}
