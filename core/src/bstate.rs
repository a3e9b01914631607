//! bstate.txt: how the boots of each partition went. The format: docs/STATES.md.
//!
//! Every partition holds a copy of the whole record. The loader and the tool in the OS both read and
//! write it through this module.

mod merge;
mod read;
mod write;

pub use merge::Found;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use crate::event::printable;

/// The file's name in a partition's root directory.
pub const FILE: &str = "bstate.txt";
/// The file's length: large enough that NTFS keeps it outside its master file table.
pub const FILE_BYTES: usize = 4096;
/// Words that the record uses itself, so that no partition may be named so.
pub const RESERVED: [&str; 10] =
    ["sequence", "cd", "set", "boots", "booting", "next", "restores", "crc32", "restore", "hold"];

/// `crc32` as zlib and everybody else's tools compute it. Without a table: 512 bytes don't need one.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// What is known of the last boot from a partition. A later variant is the worse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The last boot and shutdown were good.
    Ok,
    /// It booted, and was not shut down properly.
    Clean,
    /// A boot was begun and not confirmed, or the partition was found damaged.
    Dirty,
}

impl State {
    /// The state that `word` names; case does not matter.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Ok, Self::Clean, Self::Dirty].into_iter().find(|s| s.to_string().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Clean => "Clean",
            Self::Dirty => "Dirty",
        })
    }
}

/// One partition's part of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name in logic.txt.
    pub name: String,
    /// How its last boot went.
    pub state: State,
    /// How often it was set Dirty since the OS last reported from it.
    pub failures: u32,
    /// How often a boot of it found it Clean since it was last OK.
    pub crashes: u32,
    /// What [`Record::boots`] was when its system last reported; 0 if it never did.
    pub proved: u32,
    /// Hand-offs to it since an update of it was put on trial; nothing where none is.
    pub trial: Option<u32>,
    /// Which slice of it is verified next.
    pub slice: u32,
    /// The step and the reason of the last change for the worse; may be empty.
    pub why: String,
    /// What was found wrong and mended before the boot that its system has not reported yet; may be empty.
    pub before: String,
}

impl Partition {
    /// A partition of which nothing bad is known.
    #[must_use]
    pub fn ok(name: &str) -> Self {
        Self {
            name: name.to_string(),
            state: State::Ok,
            failures: 0,
            crashes: 0,
            proved: 0,
            trial: None,
            slice: 0,
            why: String::new(),
            before: String::new(),
        }
    }

    /// What a person says of it. OK is the word of somebody who has mended it, so that a flow that counts tries
    /// it again, and ends its trial; Dirty is not to be tried again, whatever a flow's limit is.
    pub fn say(&mut self, state: State) {
        match state {
            State::Ok => self.clear(),
            State::Dirty => self.failures = MAX_COUNT,
            State::Clean => {}
        }
        if state > self.state {
            self.why = format!("bstate set {state}");
        }
        self.state = state;
    }

    /// Nothing bad is known of it any more. When it was proved, and which slice is next, stays as it is.
    pub fn clear(&mut self) {
        (self.state, self.failures, self.crashes, self.trial) = (State::Ok, 0, 0, None);
        self.why.clear();
        self.before.clear();
    }
}

/// What somebody wants of the next start, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// That this partition is booted.
    Partition(String),
    /// A restore.
    Restore,
    /// That the machine stays where it is.
    Hold,
}

impl Next {
    /// The wish that `word` names; nothing, if it is empty. Case matters only in names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" => None,
            _ if word.eq_ignore_ascii_case("restore") => Some(Self::Restore),
            _ if word.eq_ignore_ascii_case("hold") => Some(Self::Hold),
            name => Some(Self::Partition(name.to_string())),
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partition(name) => name,
            Self::Restore => "restore",
            Self::Hold => "hold",
        })
    }
}

/// The whole record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Counts the writes.
    pub sequence: u64,
    /// The name of the CD that wrote the disk; empty where it has none. At most [`MAX_CD`] bytes.
    pub cd: String,
    /// Made by each restore of a whole disk, at random: copies of one set belong together.
    pub set: Option<u32>,
    /// Hand-offs since that restore, at most [`MAX_BOOTS`].
    pub boots: u32,
    /// The partition that the last hand-off went to; empty before the first.
    pub booting: String,
    /// What somebody wants of the next start.
    pub next: Option<Next>,
    /// The state of every partition, in logic.txt's order.
    pub partitions: Vec<Partition>,
    /// Restores since the OS last reported, from any partition.
    pub restores: u32,
    /// Keys that this program does not know, and their values: kept for those who do.
    pub unknown: Vec<(String, String)>,
}

/// One copy, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Its crc32 is right.
    Valid(Record),
    /// It has no crc32 line: a person edited it.
    Edited {
        /// What it says.
        record: Record,
        /// Whether it is a whole record, in which what is left out has its starting value. (It may be one that a
        /// program was writing when the power went.)
        whole: bool,
        /// What of it was not understood.
        odd: Vec<String>,
    },
}

/// Why a copy is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It holds something that is no text.
    NotText,
    /// Its crc32 is wrong.
    Checksum,
    /// It says nothing of any partition.
    Empty,
    /// It begins as programs write it, and ends before its last lines: the write was cut inside the sector.
    Torn,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "no text",
            Self::Checksum => "wrong crc32",
            Self::Empty => "says nothing of any partition",
            Self::Torn => "ends in the middle",
        })
    }
}

impl Record {
    /// A record that calls every one of `names` OK.
    pub fn ok<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { partitions: names.into_iter().map(Partition::ok).collect(), ..Self::default() }
    }

    /// The partition named `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.name == name)
    }

    /// The partition named `name`, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Partition> {
        self.partitions.iter_mut().find(|p| p.name == name)
    }

    /// The same, added as OK where it is missing.
    fn entry(&mut self, name: &str) -> &mut Partition {
        let at = self.partitions.iter().position(|p| p.name == name).unwrap_or_else(|| {
            self.partitions.push(Partition::ok(name));
            self.partitions.len() - 1
        });
        &mut self.partitions[at]
    }

    /// The OS reports that its boot from `name` is complete.
    pub fn report_booted(&mut self, name: &str) {
        let boots = self.boots;
        let partition = self.entry(name);
        (partition.state, partition.failures, partition.proved) = (State::Clean, 0, boots);
        // What stood there said that this boot was not confirmed, and what its system was to be told.
        partition.why.clear();
        partition.before.clear();
        self.restores = 0;
    }

    /// The OS reports an orderly shutdown from `name`.
    pub fn report_shutdown(&mut self, name: &str) {
        self.report_booted(name);
        let partition = self.entry(name);
        (partition.state, partition.crashes) = (State::Ok, 0);
    }

    /// A hand-off to `name` follows, which is counted. A wish for this start has had its time.
    pub fn hand_off(&mut self, name: &str) {
        self.booting = name.to_string();
        self.next = None;
        if self.boots >= MAX_BOOTS {
            // How long ago a report was is all that anybody asks.
            self.boots -= MAX_BOOTS / 2;
            for partition in &mut self.partitions {
                partition.proved = partition.proved.saturating_sub(MAX_BOOTS / 2);
            }
        }
        self.boots += 1;
    }

    /// A whole disk is restored, by the CD called `cd`: what is on it belongs together from now on, and nothing
    /// of it has been booted yet.
    pub fn begin_set(&mut self, set: u32, cd: &str) {
        (self.set, self.boots) = (Some(set), 0);
        self.cd = name_of_cd(cd);
        for partition in &mut self.partitions {
            partition.proved = 0;
        }
    }

    /// Sets `name` Dirty for the reason `why`, before a boot of it or because it was found damaged.
    pub fn set_dirty(&mut self, name: &str, why: &str, before_boot: bool) {
        let partition = self.entry(name);
        if before_boot && partition.state == State::Clean {
            partition.crashes = partition.crashes.saturating_add(1).min(MAX_COUNT);
        }
        // A partition that is Dirty already keeps the reason for which it became so.
        if partition.state != State::Dirty {
            partition.why = printable(why);
        }
        partition.state = State::Dirty;
        partition.failures = partition.failures.saturating_add(1).min(MAX_COUNT);
    }
}

/// Where counters stop: far above any limit that logic.txt can ask for.
pub const MAX_COUNT: u32 = 999;
/// Where the count of hand-offs stops: one a minute for two years.
pub const MAX_BOOTS: u32 = 999_999;
/// The longest name of a CD in bytes.
pub const MAX_CD: usize = crate::logic::Cd::MAX_NAME;

impl Parsed {
    /// The record, however it came about.
    #[must_use]
    pub fn record(&self) -> &Record {
        match self {
            Self::Valid(record) | Self::Edited { record, .. } => record,
        }
    }

    /// What a person typed that can't be understood, where these are the partitions there are.
    #[must_use]
    pub fn not_understood(&self, names: &[&str]) -> Vec<String> {
        let Self::Edited { record, odd, .. } = self else { return Vec::new() };
        let strange = record.partitions.iter().filter(|p| merge::meant(&p.name, names).is_none());
        odd.iter().cloned().chain(strange.map(|p| format!("{}={}", p.name, p.state))).collect()
    }
}

/// A CD's name as the record has it.
fn name_of_cd(name: &str) -> String {
    printable(name).chars().take(MAX_CD).collect::<String>().trim_ascii().to_string()
}
