//! The copies of bstate.txt: found, merged, written.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use knownstate_core::bstate::{FILE, Parsed, Record};
use knownstate_core::units::SECTOR;
use rustix::fs::OFlags;

use crate::ours::{self, Ours, Stranger};
use crate::place::{Target, overwrite, sector_of};
use crate::system::System;
use crate::volume::flags;
use crate::worker;

/// What is wrong with a copy, or with all of them.
#[derive(Debug)]
pub enum Trouble {
    /// There is none that is this machine's; what there is instead.
    None(String),
    /// None of those found is valid.
    NoneValid(Vec<Trouble>),
    /// None could be written.
    NoneWritten(Vec<Trouble>),
    /// This one; what is wrong.
    Copy(PathBuf, String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |troubles: &[Trouble]| troubles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        match self {
            Self::None(why) => f.write_str(why),
            Self::NoneValid(each) => write!(f, "no copy of {FILE} is valid: {}", all(each)),
            Self::NoneWritten(each) => write!(f, "no copy of {FILE} could be written: {}", all(each)),
            Self::Copy(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

/// Where a copy is.
enum At {
    /// In a file that the caller named.
    File(PathBuf),
    /// In a partition; what people call it.
    Place(Target, PathBuf),
}

/// The record, and where it is written.
pub struct Copies {
    /// What all valid copies come to.
    pub record: Record,
    /// Copies that are broken, and will be whole when they have been written.
    pub broken: Vec<Trouble>,
    /// Copies that are gone, or can't be written.
    pub missing: Vec<Trouble>,
    /// What is none of ours, and why.
    pub strangers: Vec<Trouble>,
    /// The device that `/` is on, and which partition this is, where both are certain.
    pub root: Option<(PathBuf, String)>,
    at: Vec<At>,
    /// How many there should be; nothing where the caller named them.
    all: usize,
}

impl Copies {
    /// Those of this machine, as [`crate::ours`] tells them; `all` looks at everything else that is mounted, too.
    ///
    /// # Errors
    /// That there is none, or that it can't be told which are this machine's.
    pub fn found(system: &System, all: bool) -> Result<Self, Trouble> {
        let others =
            |copies: &[_], strangers: &[_]| if all { ours::others(system, copies, strangers) } else { Vec::new() };
        let told = |strangers: Vec<Stranger>| strangers.into_iter().map(|s| Trouble::Copy(s.path, s.why));
        let Ours { copies, mut strangers, base, root } = ours::find(system).map_err(|why| {
            let each: Vec<String> = told(others(&[], &[])).map(|t| format!("; {t}")).collect();
            Trouble::None(format!("{why}{}", each.concat()))
        })?;
        let more = others(&copies, &strangers);
        strangers.extend(more);
        let (mut parsed, mut broken, mut missing, mut at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let names: Vec<&str> = base.partitions.iter().map(|p| p.name.as_str()).collect();
        for copy in copies {
            let path = copy.path();
            broken.extend(copy.record.iter().filter_map(|record| odd(&path, record, &names)));
            match copy.record {
                Ok(record) => parsed.push(record),
                Err(why) if copy.there => broken.push(Trouble::Copy(path.clone(), why)),
                Err(why) => missing.push(Trouble::Copy(path.clone(), why)),
            }
            if copy.there {
                at.push(At::Place(copy.target, path));
            }
        }
        let record = Record::merge(&parsed, names).unwrap_or_else(|| base.clone());
        Ok(Self { record, broken, missing, strangers: told(strangers).collect(), root, at, all: base.partitions.len() })
    }

    /// Those that the caller names.
    ///
    /// # Errors
    /// That none is valid.
    pub fn named(paths: &[PathBuf]) -> Result<Self, Trouble> {
        let mut parsed = Vec::new();
        let mut broken = Vec::new();
        for path in paths {
            match read(path) {
                Ok(copy) => parsed.push((path, copy)),
                Err(what) => broken.push(Trouble::Copy(path.clone(), what)),
            }
        }
        let valid: Vec<&Record> =
            parsed.iter().filter(|(_, p)| matches!(p, Parsed::Valid(_))).map(|(_, p)| p.record()).collect();
        // What a person typed names partitions only where nothing else does.
        let all = || parsed.iter().map(|(_, copy)| copy.record());
        let names = if valid.is_empty() { ours::names(all()) } else { ours::names(valid.into_iter()) };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        broken.extend(parsed.iter().filter_map(|(path, copy)| odd(path, copy, &names)));
        let copies: Vec<Parsed> = parsed.into_iter().map(|(_, copy)| copy).collect();
        let Some(record) = Record::merge(&copies, names) else {
            return Err(Trouble::NoneValid(broken));
        };
        let at = paths.iter().cloned().map(At::File).collect();
        Ok(Self { record, broken, missing: Vec::new(), strangers: Vec::new(), root: None, at, all: 0 })
    }

    /// Writes the record to every copy, the broken ones too. What is not written is told on standard error; the
    /// other copies carry the truth until the CD brings it in line.
    ///
    /// # Errors
    /// That none could be written.
    pub fn write(&mut self) -> Result<(), Trouble> {
        self.record.sequence = self.record.sequence.saturating_add(1);
        let sector = self.record.to_sector();
        let targets: Vec<Target> = self.at.iter().filter_map(At::target).collect();
        let mut placed = worker::write(&targets, &sector).into_iter();
        let mut failed = Vec::new();
        for at in &self.at {
            let (path, outcome) = match at {
                At::File(path) => (path, write(path, &sector).map_err(|e| e.to_string())),
                At::Place(_, path) => (path, placed.next().unwrap_or(Ok(()))),
            };
            failed.extend(outcome.err().map(|why| Trouble::Copy(path.clone(), why)));
        }
        let written = self.at.len() - failed.len();
        failed.append(&mut self.missing);
        if written == 0 {
            return Err(Trouble::NoneWritten(failed));
        }
        for trouble in failed {
            eprintln!("bstate: {trouble}");
        }
        if written < self.all {
            let all = self.all;
            for stranger in &self.strangers {
                eprintln!("bstate: {stranger}");
            }
            eprintln!(
                "bstate: {written} of {all} copies of {FILE} were reached; the recovery CD brings the others in line"
            );
        }
        Ok(())
    }

    /// The mount points of the partitions.
    pub fn points(&self) -> Vec<PathBuf> {
        self.at.iter().filter_map(At::target).filter_map(|target| target.points.into_iter().next()).collect()
    }
}

impl At {
    fn target(&self) -> Option<Target> {
        match self {
            Self::File(_) => None,
            Self::Place(target, _) => Some(target.clone()),
        }
    }
}

/// What of a person's words means nothing.
fn odd(path: &Path, copy: &Parsed, names: &[&str]) -> Option<Trouble> {
    let odd = copy.not_understood(names);
    (!odd.is_empty()).then(|| Trouble::Copy(path.to_path_buf(), format!("not understood: {}", odd.join(", "))))
}

fn read(path: &Path) -> Result<Parsed, String> {
    let bytes = File::open(path).and_then(sector_of).map_err(|e| e.to_string())?;
    Record::parse(&bytes).map_err(|fault| fault.to_string())
}

fn write(path: &Path, sector: &[u8; SECTOR]) -> io::Result<()> {
    overwrite(OpenOptions::new().write(true).open(path)?, sector)?;
    // Not every filesystem, and no 4096-byte sector, takes a direct read of 512 bytes.
    let direct = OpenOptions::new().read(true).custom_flags(flags(OFlags::DIRECT)).open(path).and_then(sector_of);
    if direct.or_else(|_| File::open(path).and_then(sector_of))? == sector {
        return Ok(());
    }
    Err(io::Error::other("what was read back is not what was written"))
}
