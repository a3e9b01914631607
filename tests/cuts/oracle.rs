//! What bstate.txt says, read from the sectors by docs/STATES.md alone and not by the code under test.

use std::collections::BTreeMap;

use crate::common::record;

/// A state; the later one is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ok,
    Clean,
    Dirty,
}

/// What is known of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub state: State,
    pub failures: u32,
}

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub sequence: u64,
    pub booting: String,
    pub restores: u32,
    pub parts: BTreeMap<String, Part>,
    /// Whether a person wrote it: it has no sum.
    pub edited: bool,
}

impl Record {
    /// The record in a sector, if it is valid.
    pub fn read(sector: &[u8]) -> Option<Self> {
        if let Ok(lines) = record::lines(sector) {
            return Some(Self::of(lines.iter().map(String::as_str)));
        }
        let text = std::str::from_utf8(sector).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut edited = Self::of(lines.iter().copied());
        // A person's Dirty that names no failures reaches every limit.
        for (name, part) in edited.parts.iter_mut().filter(|(_, part)| part.state == State::Dirty) {
            if !lines.iter().any(|line| line.starts_with(&format!("{name}.failures"))) {
                part.failures = 999;
            }
        }
        // docs/STATES.md: what begins with `sequence` and has no whole `restores` line was cut.
        let count =
            |line: &str| line.strip_prefix("restores=").is_some_and(|n| n.parse::<u16>().is_ok_and(|n| n < 1000));
        let torn = text.starts_with("sequence=") && !text.lines().any(count);
        let plain = !text.contains("crc32") && !edited.parts.is_empty() && !torn;
        plain.then_some(Self { edited: true, ..edited })
    }

    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut record = Self::default();
        for (key, value) in lines.filter_map(|line| line.split_once('=')) {
            let (key, value) = (key.trim(), value.trim());
            match (key, key.split_once('.')) {
                ("sequence", _) => record.sequence = value.parse().unwrap_or(0),
                ("booting", _) => record.booting = value.to_string(),
                ("restores", _) => record.restores = value.parse().unwrap_or(0),
                (_, Some((name, "failures"))) => record.part(name).failures = value.parse().unwrap_or(0),
                (_, Some(_)) => {}
                // What else there is has no state: a name, a number, a key of a later program.
                (name, None) => {
                    if let Some(state) = state(value) {
                        record.part(name).state = state;
                    }
                }
            }
        }
        record
    }

    fn part(&mut self, name: &str) -> &mut Part {
        self.parts.entry(name.to_string()).or_insert(Part { state: State::Ok, failures: 0 })
    }

    /// What all copies together say: the highest sequence, of equal ones the worse of each, and on top of it what
    /// a person wrote.
    pub fn merged(copies: &[Self]) -> Option<Self> {
        let newest = copies.iter().filter(|copy| !copy.edited).map(|copy| copy.sequence).max();
        let mut equals = copies.iter().filter(|copy| !copy.edited && Some(copy.sequence) == newest).cloned();
        let mut all = equals.next().unwrap_or_default();
        for other in equals {
            all.restores = all.restores.max(other.restores);
            for (name, theirs) in other.parts {
                let ours = all.parts.entry(name).or_insert(theirs);
                ours.state = ours.state.max(theirs.state);
                ours.failures = ours.failures.max(theirs.failures);
            }
        }
        for edit in copies.iter().filter(|copy| copy.edited) {
            all.parts.extend(edit.parts.clone());
            all.restores = edit.restores;
        }
        (!all.parts.is_empty()).then_some(all)
    }
}

fn state(word: &str) -> Option<State> {
    let states = [("ok", State::Ok), ("clean", State::Clean), ("dirty", State::Dirty)];
    states.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, state)| state)
}
