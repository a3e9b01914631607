//! A copy of bstate.txt, as read.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{CRC, Fault, MAX_BOOTS, MAX_COUNT, Next, Parsed, Record, State, name_of_cd};
use crate::defects::{Defect, seeded};
use crate::units::SECTOR;

/// What has been read of a copy.
#[derive(Default)]
struct Reader {
    record: Record,
    /// The partitions whose state is told, and those whose failures are.
    stated: Vec<String>,
    counted: Vec<String>,
    /// What was not understood.
    odd: Vec<String>,
}

impl Record {
    /// Reads a copy: its first 512 bytes, or all of a shorter file. Order, CRLF, spaces and empty lines do not
    /// matter, and keys that this program does not know are kept.
    ///
    /// A sector that was written in part, which some disks do, may end in the blanks of a shorter record. It
    /// has no crc32 line then, and is not to be taken for one that a person edited: it begins with `sequence`,
    /// as people's own lines do not, and lacks `restores`, the last line but one, or some of it. (If it has all
    /// of that, it is the whole record.)
    ///
    /// # Errors
    /// Why the copy is not valid.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
        let bytes = bytes.get(..SECTOR).unwrap_or(bytes);
        let text = core::str::from_utf8(bytes).map_err(|_| Fault::NotText)?;
        if text.bytes().any(|b| b.is_ascii_control() && !b.is_ascii_whitespace()) {
            return Err(Fault::NotText);
        }
        let mut reader = Reader::default();
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
            // A person's remark is for people.
            if !line.starts_with('#') && !reader.take(key, value) {
                reader.odd.push(line.to_string());
            }
        }
        if let Some(checksum) = checksum
            && u32::from_str_radix(checksum, 16) != Ok(digest.finalize())
            && !seeded(Defect::TornRecordTaken)
        {
            return Err(Fault::Checksum);
        }
        match (reader.stated.is_empty(), checksum) {
            (true, _) => Err(Fault::Empty),
            (false, None) if first == Some("sequence") && !whole => Err(Fault::Torn),
            (false, Some(_)) => Ok(Parsed::Valid(reader.finish().record)),
            (false, None) if seeded(Defect::EditIgnored) => Err(Fault::Checksum),
            (false, None) => Ok(reader.edited(whole && first == Some("sequence"))),
        }
    }
}

impl Reader {
    /// Takes one line's value in; whether it was understood. What was not counts as if it did not stand there:
    /// a person may have typed it.
    fn take(&mut self, key: &str, value: &str) -> bool {
        let record = &mut self.record;
        match key {
            "sequence" => return number(value, &mut record.sequence),
            "cd" => record.cd = name_of_cd(value),
            "set" => {
                record.set = u32::from_str_radix(value, 16).ok().filter(|_| value.len() == 8);
                return record.set.is_some();
            }
            "boots" => return up_to(MAX_BOOTS, value, &mut record.boots),
            "booting" => record.booting = value.to_string(),
            "next" => record.next = Next::parse(value),
            "restores" => return number(value, &mut record.restores),
            _ => match key.split_once('.') {
                Some((name, field)) => {
                    return self.take_of(name, field, value).unwrap_or_else(|| self.keep(key, value));
                }
                None => match State::parse(value) {
                    Some(state) => {
                        record.entry(key).state = state;
                        self.stated.push(key.to_string());
                    }
                    None => return self.keep(key, value),
                },
            },
        }
        true
    }

    /// The same for a line of a partition; nothing, if it is none that is known.
    fn take_of(&mut self, name: &str, field: &str, value: &str) -> Option<bool> {
        if !["failures", "crashes", "proved", "trial", "slice", "why", "before"].contains(&field) {
            return None;
        }
        if field == "failures" {
            self.counted.push(name.to_string());
        }
        let partition = self.record.entry(name);
        Some(match field {
            "failures" => number(value, &mut partition.failures),
            "crashes" => number(value, &mut partition.crashes),
            "proved" => up_to(MAX_BOOTS, value, &mut partition.proved),
            "trial" => {
                partition.trial = value.parse().ok().map(|times: u32| times.min(MAX_COUNT));
                partition.trial.is_some()
            }
            "slice" => up_to(MAX_COUNT, value, &mut partition.slice),
            "why" => {
                partition.why = value.to_string();
                true
            }
            _ => {
                partition.before = value.to_string();
                true
            }
        })
    }

    /// Keeps a line for a program that knows it, if it is a key and a value.
    fn keep(&mut self, key: &str, value: &str) -> bool {
        let plain = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        if !key.is_empty() && !value.is_empty() && plain(key) && plain(value) {
            let unknown = &mut self.record.unknown;
            unknown.retain(|(known, _)| known != key);
            unknown.push((key.to_string(), value.to_string()));
        }
        false
    }

    /// A partition of which only counters are told has no state, so it is not in the record.
    fn finish(mut self) -> Self {
        let Self { record, stated, odd, .. } = &mut self;
        odd.extend(record.partitions.iter().filter(|p| !stated.contains(&p.name)).map(|p| format!("{}.*", p.name)));
        record.partitions.retain(|p| stated.contains(&p.name));
        self
    }

    /// The same for what a person typed: a partition that is called Dirty is not to be tried again, unless that
    /// is said as well.
    fn edited(self, whole: bool) -> Parsed {
        let Self { mut record, counted, odd, .. } = self.finish();
        for partition in record.partitions.iter_mut().filter(|p| p.state == State::Dirty && !counted.contains(&p.name))
        {
            partition.failures = MAX_COUNT;
        }
        Parsed::Edited { record, whole, odd }
    }
}

/// Takes a number; whether it is one. If not, it counts as 0.
fn number<T: core::str::FromStr + Default>(value: &str, into: &mut T) -> bool {
    let number = value.parse().ok();
    let is_one = number.is_some();
    *into = number.unwrap_or_default();
    is_one
}

/// The same for a number that programs let grow no further than `most`.
fn up_to(most: u32, value: &str, into: &mut u32) -> bool {
    let is_one = number(value, into);
    *into = (*into).min(most);
    is_one
}

/// Whether this is a counter as programs write it.
fn is_count(value: &str) -> bool {
    value.len() <= 3 && value.parse::<u32>().is_ok() && (value == "0" || !value.starts_with('0'))
}
