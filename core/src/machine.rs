//! The seam: what a machine gives to the code that decides.
//!
//! The loader implements [`Machine`] with BIOS calls, the host tool with files, the tests with disks
//! that fail. Nothing in this crate does I/O in another way.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::event::Event;
use crate::media::region::Write;
use crate::units::{CdSector, Lba, SECTOR};

/// Why a transfer did not happen. Retries are the machine's business: this is the final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// The firmware reported this status (INT 13h, AH; Ralf Brown's table 00234).
    Status(u8),
    /// The firmware reported success, but moved fewer sectors than asked for.
    Short,
    /// The place is past the end of the medium.
    OutOfRange,
    /// There is no such disk, or it can't be written.
    Unsupported,
    /// What was read back is not what was written.
    ReadBack,
    /// Nothing may be written there.
    Forbidden,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "BIOS status {code:02X}"),
            Self::Short => f.write_str("fewer sectors moved than asked for"),
            Self::OutOfRange => f.write_str("past the end of the disk"),
            Self::Unsupported => f.write_str("not supported by this drive"),
            Self::ReadBack => f.write_str("read back differs from what was written"),
            Self::Forbidden => f.write_str("must not be written"),
        }
    }
}

/// A disk's place in the list that [`Machine::disks`] gives. It means nothing beyond this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskId(pub usize);

/// What is known of a disk before anything is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskInfo {
    /// The BIOS drive number, for a person to read and for the hand-off. Never an identity.
    pub drive: u8,
    /// Size in 512-byte sectors.
    pub sectors: u64,
    /// Whether the machine was booted from it.
    pub boot_medium: bool,
    /// Whether it can be written at all (EDD present, sectors of 512 bytes).
    pub writable: bool,
    /// Whether the firmware says that it is removable, or on USB: such a disk is never taken unasked.
    pub removable: bool,
}

/// A watchdog chip that logic.txt can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// In Intel's 6300ESB controller hub, and in QEMU.
    I6300esb,
    /// The TCO timer of Intel's other controller hubs.
    Itco,
    /// On an ISA card, which nothing tells the presence of.
    Ib700,
}

impl Watchdog {
    /// Every one, those first that can be detected.
    pub const ALL: [Self; 3] = [Self::I6300esb, Self::Itco, Self::Ib700];

    /// As logic.txt and the log write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::I6300esb => "i6300ESB",
            Self::Itco => "iTCO",
            Self::Ib700 => "ib700",
        }
    }

    /// The most seconds that a step may ask of it. The two that can be detected count further, to 2047 and to
    /// 613; one number for both keeps a flow from depending on which of them a machine has.
    #[must_use]
    pub fn most_seconds(self) -> u32 {
        if self == Self::Ib700 { 30 } else { Self::MOST_SECONDS }
    }

    /// The same where the chip does not matter.
    pub const MOST_SECONDS: u32 = 600;
}

/// What a machine gives. Every call returns in bounded time.
pub trait Machine {
    /// The disks there are, without the boot CD. The same list at every call of a run.
    fn disks(&mut self) -> Vec<DiskInfo>;

    /// Reads whole sectors; `into` is a multiple of 512 bytes long.
    ///
    /// # Errors
    /// When, after the machine's retries, any of the sectors could not be read.
    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError>;

    /// Reads whole sectors that nobody asks for again: no more than these are read, and none is kept.
    ///
    /// # Errors
    /// As [`Machine::read_disk`].
    fn read_disk_once(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        self.read_disk(disk, at, into)
    }

    /// Writes whole sectors. A [`Write`] can only be made by a region, so it never lies outside one.
    ///
    /// # Errors
    /// When, after the machine's retries, any of the sectors could not be written. Success is only
    /// the firmware's word: the region reads back.
    fn write_disk(&mut self, write: &Write<'_>) -> Result<(), IoError>;

    /// Reads whole sectors of the boot medium; `into` is a multiple of 2048 bytes long.
    ///
    /// # Errors
    /// When, after the machine's retries, any of the sectors could not be read.
    fn read_cd(&mut self, at: CdSector, into: &mut [u8]) -> Result<(), IoError>;

    /// Forgets what was read of disks, for a machine that keeps it: what is read next comes from the disk.
    fn forget(&mut self) {}

    /// The step at this place of the flow begins; whether what was read before is to be forgotten. For
    /// simulators, which let one step fail at a time.
    fn begin(&mut self, _step: usize) -> bool {
        false
    }

    /// Milliseconds since the program began.
    fn now(&mut self) -> u64;

    /// A number that is another one in another run, so that two restores can be told apart. Nobody has to fear
    /// that it can be guessed.
    fn random(&mut self) -> u32 {
        mixed(self.now())
    }

    /// How many restores were counted in memory since power-on; 0 where nothing is kept over a restart.
    fn remembered_restores(&mut self) -> u32 {
        0
    }

    /// Keeps that number over the next restart, where the machine can: a count in bstate.txt is lost when every
    /// copy is.
    fn remember_restores(&mut self, _times: u32) {}

    /// Shows one event: a line on the screen and on the serial port.
    fn tell(&mut self, event: &Event<'_>);

    /// Whether a key was pressed on the keyboard or a byte came in on the serial line since the last
    /// call.
    fn key_pressed(&mut self) -> bool;

    /// Lets a little time pass (at most 55 ms), so that waiting is not a busy loop. A simulator may
    /// let it pass at once.
    fn pause(&mut self);

    /// Beeps `times` times, where there is a speaker.
    fn beep(&mut self, times: u8);

    /// Arms a watchdog: the named chip, or whichever can be detected. It resets the machine `seconds` after
    /// the hand-off, or after the machine stopped giving what it is asked for; never earlier. It does not
    /// while the program is at work, nor after a run that ends otherwise than in a hand-off. The remark says
    /// which chip it is.
    ///
    /// # Errors
    /// Why there is none that could be armed.
    fn watchdog(&mut self, _seconds: u32, _chip: Option<Watchdog>) -> Result<String, String> {
        Err("no watchdog found".to_string())
    }
}

/// A number in which every bit of `seed` counts (the finalizer of MurmurHash3, which is in the public domain).
#[must_use]
pub fn mixed(seed: u64) -> u32 {
    let mut bits = seed ^ seed >> 33;
    for factor in [0xFF51_AFD7_ED55_8CCD, 0xC4CE_B9FE_1A85_EC53_u64] {
        bits = bits.wrapping_mul(factor);
        bits ^= bits >> 33;
    }
    // Either half does; this one needs no division.
    bits as u32
}

/// All that a hand-off needs. The machine only carries it out.
pub struct HandOff {
    /// The disk that holds the partition.
    pub drive: u8,
    /// A copy of the disk's MBR, for 0000:0600, where boot sectors look for the table.
    pub mbr: [u8; SECTOR],
    /// Which of the four table entries is the partition's: 0 to 3.
    pub entry: u8,
    /// The boot sector for 0000:7C00, hidden sectors and drive number filled in.
    pub boot_sector: [u8; SECTOR],
}

/// How a run ends. The machine obeys.
pub enum Ending {
    /// Jump to a partition's boot sector.
    HandOff(Box<HandOff>),
    /// Stay, and repeat this for whoever looks.
    Hold {
        /// The step's label, `-` where it has none.
        label: String,
        /// The step as written.
        step: String,
        /// The last thing that failed before: whoever looks later has not seen it go by.
        why: String,
    },
    /// Reset the machine.
    Restart,
    /// Switch the machine off.
    PowerOff,
}
