//! bstate.txt: how the boots of each partition went. The format: docs/STATES.md.
//!
//! Every partition holds a copy of the whole record. The loader and the tool in the OS both read and
//! write it through this module.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use crate::defects::{Defect, seeded};
use crate::event::printable;
use crate::units::SECTOR;

/// The file's name in a partition's root directory.
pub const FILE: &str = "bstate.txt";
/// The file's length: large enough that NTFS keeps it outside its master file table.
pub const FILE_BYTES: usize = 4096;
/// Words that the record uses itself, so that no partition may be named so.
pub const RESERVED: [&str; 8] = ["sequence", "cd", "set", "boots", "booting", "next", "restores", "crc32"];

/// What stands in a reason between the boot that was begun and what was found before it and mended.
pub const BEFORE: &str = "; before: ";

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

    /// The worse of both, value by value; `why` is that of the one whose state is worse. Of two reasons for the
    /// same state the alphabet decides, so that it does not matter which copy is read first.
    fn worse(&mut self, other: &Self) {
        if seeded(Defect::BetterWins) {
            self.state = self.state.min(other.state);
            self.failures = self.failures.min(other.failures);
            return;
        }
        if (other.state, &other.why) > (self.state, &self.why) {
            self.why.clone_from(&other.why);
        }
        self.state = self.state.max(other.state);
        self.failures = self.failures.max(other.failures);
        self.crashes = self.crashes.max(other.crashes);
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
    Edited(Record),
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

    /// Reads a copy: its first 512 bytes, or all of a shorter file. Order, CRLF, spaces, empty lines
    /// and unknown keys do not matter.
    ///
    /// A sector that was written in part, which some disks do, may end in the blanks of a shorter record. It
    /// has no crc32 line then, and is not to be taken for one that a person edited: it begins with `sequence`,
    /// as people's own lines do not, and lacks `restores`, the last line but one, or some of it. (If it has all
    /// of that, it is the whole record.)
    ///
    /// # Errors
    /// Why the copy is not valid.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
        let bytes = &bytes[..bytes.len().min(SECTOR)];
        let text = core::str::from_utf8(bytes).map_err(|_| Fault::NotText)?;
        if text.bytes().any(|b| b.is_ascii_control() && !b.is_ascii_whitespace()) {
            return Err(Fault::NotText);
        }
        let mut record = Self::default();
        let mut stated = Vec::new();
        let mut digest = CRC.digest();
        let mut checksum = None;
        let (mut first, mut whole) = (None, false);
        for raw in text.trim_start_matches('\u{feff}').lines().filter(|l| !l.trim_ascii().is_empty()) {
            let line = raw.trim_ascii();
            let (key, value) = line.split_once('=').map_or((line, ""), |(k, v)| (k.trim_ascii(), v.trim_ascii()));
            if key == "crc32" {
                checksum = Some(value);
                continue;
            }
            first = first.or(Some(key));
            whole |= key == "restores" && is_count(value) && !raw.ends_with(' ');
            digest.update(line.as_bytes());
            digest.update(b"\n");
            record.take(key, value, &mut stated);
        }
        // A partition of which only counters are told has no state, so it is not in the record.
        record.partitions.retain(|p| stated.contains(&p.name));
        if let Some(checksum) = checksum
            && u32::from_str_radix(checksum, 16) != Ok(digest.finalize())
            && !seeded(Defect::TornRecordTaken)
        {
            return Err(Fault::Checksum);
        }
        match (record.partitions.is_empty(), checksum) {
            (true, _) => Err(Fault::Empty),
            (false, None) if first == Some("sequence") && !whole => Err(Fault::Torn),
            (false, Some(_)) => Ok(Parsed::Valid(record)),
            (false, None) if seeded(Defect::EditIgnored) => Err(Fault::Checksum),
            (false, None) => Ok(Parsed::Edited(record)),
        }
    }

    /// Takes one line's value in. What can't be understood is left out: a person may have typed it.
    fn take(&mut self, key: &str, value: &str, stated: &mut Vec<String>) {
        match (key, key.split_once('.')) {
            ("sequence", _) => self.sequence = value.parse().unwrap_or(0),
            ("booting", _) => self.booting = value.to_string(),
            ("restores", _) => self.restores = value.parse().unwrap_or(0),
            (_, Some((name, "failures"))) => self.entry(name).failures = value.parse().unwrap_or(0),
            (_, Some((name, "crashes"))) => self.entry(name).crashes = value.parse().unwrap_or(0),
            (_, Some((name, "why"))) => self.entry(name).why = value.to_string(),
            (name, None) => {
                if let Some(state) = State::parse(value) {
                    self.entry(name).state = state;
                    stated.push(name.to_string());
                }
            }
            _ => {}
        }
    }

    /// Makes one record of all copies, for exactly the partitions `names`.
    ///
    /// The valid copy with the highest sequence wins; of equal ones each partition gets the worse
    /// value. What a person edited goes on top of that. The result's sequence is the highest seen.
    /// Nothing comes of no copies. The order of the copies does not matter.
    pub fn merge<'a>(copies: &[Parsed], names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let sequence = copies.iter().map(|c| c.record().sequence).max()?;
        let mut merged = Self::newest(copies);
        let mut edits = copies.iter().filter_map(|c| if let Parsed::Edited(r) = c { Some(r) } else { None });
        if let Some(first) = edits.next() {
            let edit = edits.fold(first.clone(), |a, b| a.worse(b));
            merged = merged.overlaid(&edit);
        }
        let mut record = Self { sequence, ..merged };
        let names: Vec<&str> = names.into_iter().collect();
        if !names.contains(&record.booting.as_str()) {
            record.booting.clear();
        }
        record.partitions = names
            .into_iter()
            // A partition that no copy tells of is one whose boot nobody has confirmed.
            .map(|n| record.get(n).cloned().unwrap_or_else(|| Partition { state: State::Dirty, ..Partition::ok(n) }))
            .collect();
        Some(record)
    }

    fn newest(copies: &[Parsed]) -> Self {
        let valid = || copies.iter().filter_map(|c| if let Parsed::Valid(r) = c { Some(r) } else { None });
        let newest = valid().map(|r| r.sequence);
        let newest = if seeded(Defect::OldestWins) { newest.min() } else { newest.max() };
        let mut winners = valid().filter(|r| Some(r.sequence) == newest);
        let first = winners.next().cloned().unwrap_or_default();
        winners.fold(first, |a, b| a.worse(b))
    }

    /// Of two records that can't be told apart by age: the worse value of each partition.
    fn worse(mut self, other: &Self) -> Self {
        for theirs in &other.partitions {
            match self.get_mut(&theirs.name) {
                Some(ours) => ours.worse(theirs),
                None => self.partitions.push(theirs.clone()),
            }
        }
        self.restores = self.restores.max(other.restores);
        if other.booting > self.booting {
            self.booting.clone_from(&other.booting);
        }
        self
    }

    /// What `edit` says replaces what stood there.
    fn overlaid(mut self, edit: &Self) -> Self {
        for theirs in &edit.partitions {
            *self.entry(&theirs.name) = theirs.clone();
        }
        if !edit.booting.is_empty() {
            self.booting.clone_from(&edit.booting);
        }
        self.restores = edit.restores;
        self
    }

    /// The canonical form: one sector, ending in spaces and a newline. Reasons are cut short where
    /// they would not fit.
    #[must_use]
    pub fn to_sector(&self) -> [u8; SECTOR] {
        // The crc32 line has 15 bytes, the closing newline one more.
        const TAIL: usize = 16;
        let whys = self.partitions.iter().filter(|p| !p.why.is_empty());
        let overhead: usize = whys.clone().map(|p| p.name.len() + ".why=\n".len()).sum();
        let room = SECTOR.saturating_sub(TAIL + self.body(0).len() + overhead);
        let mut text = self.body(room / whys.count().max(1));
        let crc = CRC.checksum(text.as_bytes());
        // Writing to a String does not fail.
        let _ = writeln!(text, "crc32={crc:08x}");
        let mut sector = [b' '; SECTOR];
        for (to, from) in sector.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        sector[SECTOR - 1] = b'\n';
        sector
    }

    /// All lines but crc32's, with `why_bytes` bytes of each reason.
    fn body(&self, why_bytes: usize) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "sequence={}", self.sequence);
        if !self.booting.is_empty() {
            let _ = writeln!(text, "booting={}", self.booting);
        }
        for p in &self.partitions {
            let _ = writeln!(text, "{}={}", p.name, p.state);
            let _ = writeln!(text, "{}.failures={}", p.name, p.failures.min(MAX_COUNT));
            let _ = writeln!(text, "{}.crashes={}", p.name, p.crashes.min(MAX_COUNT));
            if !p.why.is_empty() && why_bytes > 0 {
                let why: String = printable(&p.why).chars().take(why_bytes).collect();
                let _ = writeln!(text, "{}.why={}", p.name, why.trim_ascii());
            }
        }
        let _ = writeln!(text, "restores={}", self.restores.min(MAX_COUNT));
        text
    }

    /// Whether the record of partitions with these names fits one sector whatever it says.
    pub fn fits<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut record = Self::ok(names);
        record.sequence = u64::MAX;
        record.restores = MAX_COUNT;
        record.booting = record.partitions.iter().map(|p| p.name.clone()).max_by_key(String::len).unwrap_or_default();
        for p in &mut record.partitions {
            (p.state, p.failures, p.crashes) = (State::Dirty, MAX_COUNT, MAX_COUNT);
        }
        record.body(0).len() + 16 <= SECTOR
    }

    /// The OS reports that its boot from `name` is complete.
    pub fn report_booted(&mut self, name: &str) {
        let partition = self.entry(name);
        partition.state = State::Clean;
        partition.failures = 0;
        // What stood there said that this boot was not confirmed.
        partition.why.clear();
        self.restores = 0;
    }

    /// The OS reports an orderly shutdown from `name`.
    pub fn report_shutdown(&mut self, name: &str) {
        let partition = self.entry(name);
        (partition.state, partition.failures, partition.crashes) = (State::Ok, 0, 0);
        partition.why.clear();
        self.restores = 0;
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

    /// The whole file: the record's sector, then spaces and newlines.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut file: Vec<u8> = self.to_sector().to_vec();
        while file.len() < FILE_BYTES {
            file.extend_from_slice(&[b' '; SECTOR - 1]);
            file.push(b'\n');
        }
        file
    }
}

/// Whether this is a counter as programs write it.
fn is_count(value: &str) -> bool {
    value.len() <= 3 && value.parse::<u32>().is_ok() && (value == "0" || !value.starts_with('0'))
}

/// Where counters stop: far above any limit that logic.txt can ask for.
pub const MAX_COUNT: u32 = 999;
/// Where the count of hand-offs stops: one a minute for two years.
pub const MAX_BOOTS: u32 = 999_999;
/// The longest name of a CD in bytes.
pub const MAX_CD: usize = 24;

impl Parsed {
    /// The record, however it came about.
    #[must_use]
    pub fn record(&self) -> &Record {
        match self {
            Self::Valid(record) | Self::Edited(record) => record,
        }
    }
}
