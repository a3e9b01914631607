//! The record as programs write it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{Display, Write};

use super::{CRC, FILE_BYTES, MAX_BOOTS, MAX_CD, MAX_COUNT, Next, Partition, Record, State};
use crate::event::printable;
use crate::units::SECTOR;

/// What the lines of a record may take: the crc32 line has 15 bytes, the closing newline one more.
const ROOM: usize = SECTOR - 16;

/// How much of the record is written.
#[derive(Clone, Copy)]
struct Extent {
    /// So many bytes of each text.
    text: usize,
    /// So many of the keys that this program does not know.
    unknown: usize,
    /// Whether `failures` and `crashes` are told where they are 0.
    zeros: bool,
    /// Of so many partitions, from the first one on.
    slices: usize,
    proved: usize,
    trials: usize,
}

impl Record {
    /// The canonical form: one sector, ending in spaces and a newline.
    ///
    /// Where room is short, texts are cut at a word; then `failures=0` and `crashes=0` are left out, which is the
    /// same as 0; then unknown keys, the last one first; then `slice`, `proved` and `trial`, the last partition's
    /// first. [`Record::fits`] sees to it that no more is asked for.
    #[must_use]
    pub fn to_sector(&self) -> [u8; SECTOR] {
        let mut text = self.body(self.extent());
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

    /// As much as there is room for. What has been left out once leaves the same room when the record is read
    /// and written again, so that nothing moves then.
    fn extent(&self) -> Extent {
        let fits = |extent: &Extent| self.body(*extent).len() <= ROOM;
        let mut extent = self.bare();
        while !fits(&extent) {
            let Extent { slices, proved, trials, .. } = &mut extent;
            let Some(least) = [slices, proved, trials].into_iter().find(|kept| **kept > 0) else { break };
            *least -= 1;
        }
        for unknown in 1..=self.unknown.len() {
            if fits(&Extent { unknown, ..extent }) {
                extent.unknown = unknown;
            }
        }
        extent.zeros = fits(&Extent { zeros: true, ..extent });
        // The longest that fits: what is allowed for each text only ever makes the whole longer.
        let mut step = SECTOR / 2;
        while step > 0 {
            let longer = Extent { text: extent.text + step, ..extent };
            if fits(&longer) {
                extent = longer;
            }
            step /= 2;
        }
        extent
    }

    /// Every counter, and nothing else that can be left out.
    fn bare(&self) -> Extent {
        let all = self.partitions.len();
        Extent { text: 0, unknown: 0, zeros: false, slices: all, proved: all, trials: all }
    }

    /// All lines but crc32's. `sequence` is the first and `restores` the last, by which readers know a record
    /// that was written in part.
    fn body(&self, extent: Extent) -> String {
        let mut text = String::new();
        let lines = &mut text;
        line(lines, "sequence", self.sequence);
        if !self.cd.is_empty() {
            line(lines, "cd", &self.cd);
        }
        if let Some(set) = self.set {
            let _ = writeln!(lines, "set={set:08X}");
        }
        if self.boots > 0 {
            line(lines, "boots", self.boots.min(MAX_BOOTS));
        }
        if !self.booting.is_empty() {
            line(lines, "booting", &self.booting);
        }
        if let Some(next) = &self.next {
            line(lines, "next", next);
        }
        for (n, partition) in self.partitions.iter().enumerate() {
            partition.body(lines, n, extent);
        }
        for (key, value) in self.unknown.iter().take(extent.unknown) {
            line(lines, key, value);
        }
        line(lines, "restores", self.restores.min(MAX_COUNT));
        text
    }

    /// Whether the record of partitions with these names fits one sector whatever it says, but for what
    /// [`Record::to_sector`] can leave out.
    pub fn fits<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut record = Self::ok(names);
        let longest = record.partitions.iter().map(|p| p.name.clone()).max_by_key(String::len).unwrap_or_default();
        (record.sequence, record.set, record.boots) = (u64::MAX, Some(u32::MAX), MAX_BOOTS);
        (record.restores, record.cd) = (MAX_COUNT, "x".repeat(MAX_CD));
        record.next =
            Some(if longest.len() > "restore".len() { Next::Partition(longest.clone()) } else { Next::Restore });
        record.booting = longest;
        for p in &mut record.partitions {
            (p.state, p.failures, p.crashes) = (State::Dirty, MAX_COUNT, MAX_COUNT);
        }
        record.body(record.bare()).len() <= ROOM
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

impl Partition {
    /// Its lines, if it is the `n`th.
    fn body(&self, lines: &mut String, n: usize, extent: Extent) {
        line(lines, &self.name, self.state);
        let mut of = |field: &str, value: &dyn Display| {
            let _ = writeln!(lines, "{}.{field}={value}", self.name);
        };
        for (field, count) in [("failures", self.failures), ("crashes", self.crashes)] {
            if count > 0 || extent.zeros {
                of(field, &count.min(MAX_COUNT));
            }
        }
        if self.proved > 0 && n < extent.proved {
            of("proved", &self.proved.min(MAX_BOOTS));
        }
        if let Some(trial) = self.trial.filter(|_| n < extent.trials) {
            of("trial", &trial.min(MAX_COUNT));
        }
        if self.slice > 0 && n < extent.slices {
            of("slice", &self.slice.min(MAX_COUNT));
        }
        for (field, text) in [("why", &self.why), ("before", &self.before)] {
            let text = cut(text, extent.text);
            if !text.is_empty() {
                of(field, &text);
            }
        }
    }
}

/// Writing to a String does not fail.
fn line(lines: &mut String, key: &str, value: impl Display) {
    let _ = writeln!(lines, "{key}={value}");
}

/// At most so many bytes of a text, to the end of a word where it has words.
fn cut(text: &str, most: usize) -> String {
    let mut text = printable(text).trim_ascii().to_string();
    if text.len() > most {
        // Printable text has one byte a letter.
        let next = text.get(most..).is_some_and(|rest| rest.starts_with(' '));
        text.truncate(most);
        if let Some(end) = text.rfind(' ').filter(|_| !next) {
            text.truncate(end);
        }
    }
    text.trim_ascii_end().to_string()
}
