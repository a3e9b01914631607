//! The seam's other side: what core asks for, given by the BIOS.

use crate::bios::int16;
use crate::boot_info::BootInfo;
use crate::bounce::Bounce;
use crate::disks::{self, Disk};
use crate::drive::{Drive, Kind, Pace};
use crate::memory::bda;
use crate::{clock, console, cpu, restarts, watchdog};
use alloc::string::String;
use alloc::vec::Vec;
use knownstate_core::event::{Event, Line};
use knownstate_core::machine::{DiskId, DiskInfo, IoError, Machine, Watchdog, mixed};
use knownstate_core::media::region::Write;
use knownstate_core::units::{CD_SECTOR, CdSector, Lba, SECTOR};

/// Beeps in a row at most.
const MAX_BEEPS: u8 = 10;

/// A PC with a BIOS.
pub struct Bios {
    boot: BootInfo,
    bounce: Bounce,
    cd: Drive,
    disks: Option<Vec<Disk>>,
}

impl Bios {
    /// The machine, booted as stage1 told.
    pub fn new(boot: BootInfo, bounce: Bounce) -> Self {
        // A medium that counts in 512-byte blocks is a disk as far as the BIOS goes.
        let (kind, block) = if boot.shift == 0 { (Kind::Cd, CD_SECTOR) } else { (Kind::HardDisk, SECTOR) };
        let cd = Drive { number: boot.drive, kind, block, pace: Pace::of_blocks(block), failed: false };
        Self { boot, bounce, cd, disks: None }
    }

    fn disk(&mut self, id: DiskId) -> Result<(&mut Disk, &mut Bounce), IoError> {
        let boot_drive = self.boot.drive;
        let disks = self.disks.get_or_insert_with(|| disks::find(boot_drive));
        let disk = disks.get_mut(id.0).ok_or(IoError::Unsupported)?;
        Ok((disk, &mut self.bounce))
    }

    /// The disks on which a call failed, for the reset before a hand-off.
    pub fn failed_drives(&self) -> impl Iterator<Item = u8> {
        self.disks.iter().flatten().filter(|disk| disk.drive.failed).map(|disk| disk.drive.number)
    }

    /// Gives disks that were written to the time to empty their caches.
    pub fn settle(&mut self) {
        let disks = self.disks.as_deref_mut().unwrap_or_default();
        if !disks.iter().any(|disk| disk.written) {
            return;
        }
        clock::wait(2000);
        for disk in disks.iter_mut().filter(|disk| disk.written) {
            disk.settle(&mut self.bounce);
        }
    }
}

impl Machine for Bios {
    fn disks(&mut self) -> Vec<DiskInfo> {
        let boot_drive = self.boot.drive;
        let disks = self.disks.get_or_insert_with(|| disks::find(boot_drive));
        disks.iter().map(|disk| disk.info).collect()
    }

    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        let (disk, bounce) = self.disk(disk)?;
        disk.read(bounce, at.0, into)
    }

    fn write_disk(&mut self, write: &Write<'_>) -> Result<(), IoError> {
        #[cfg(feature = "faults")]
        crate::faults::before_write();
        let (disk, bounce) = self.disk(write.disk())?;
        disk.write(bounce, write.at().0, write.data())
    }

    fn read_cd(&mut self, at: CdSector, into: &mut [u8]) -> Result<(), IoError> {
        if !into.len().is_multiple_of(CD_SECTOR) {
            return Err(IoError::OutOfRange);
        }
        // The block number stays far below 2^32 on a CD, which some firmware insists on; on a medium of
        // 512-byte blocks it has 34 bits.
        let first = u64::from(at.0) << self.boot.shift;
        self.cd.read(&mut self.bounce, first, into)
    }

    fn now(&mut self) -> u64 {
        clock::now()
    }

    fn random(&mut self) -> u32 {
        // The ticks are the time of day; the cycles tell starts at the same time apart.
        let ticks: u32 = bda(0x6C);
        let cycles = if cpu::has_cycle_counter() { cpu::cycles() } else { clock::now() };
        mixed(cycles ^ u64::from(ticks) << 32)
    }

    fn remembered_restores(&mut self) -> u32 {
        restarts::restores()
    }

    fn remember_restores(&mut self, times: u32) {
        restarts::remember_restores(times);
    }

    fn tell(&mut self, event: &Event<'_>) {
        console::line(Line { millis: clock::now(), event });
    }

    fn key_pressed(&mut self) -> bool {
        // Both, so that neither's input is left for the next question.
        let (keyboard, serial) = (int16::key_pressed(), console::byte_received());
        keyboard || serial
    }

    fn pause(&mut self) {
        clock::pause();
    }

    fn beep(&mut self, times: u8) {
        (0..times.min(MAX_BEEPS)).for_each(|_| clock::beep());
    }

    fn watchdog(&mut self, seconds: u32, chip: Option<Watchdog>) -> Result<String, String> {
        watchdog::arm(seconds, chip)
    }
}
