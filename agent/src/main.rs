//! `bstate`: the operating system's side of bstate.txt.
//!
//! It finds this machine's copies by itself, mounted or not, and writes in place what the recovery CD will read at
//! the next start. Nothing else is believed or written, and nobody is waited for without a bound. See
//! docs/STATES.md.

mod copies;
mod lock;
mod ours;
mod place;
mod seal;
mod system;
mod volume;
mod worker;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use copies::{Copies, Trouble};
use knownstate_core::bstate::{Next, Partition, State};
use lock::Lock;
use system::System;

const USAGE: &str = "\
usage: bstate show               print the record; what is not this machine's is told on standard error
       bstate which              print the partition that this system was booted from
       bstate booted             report that the boot is complete (Clean)
       bstate shutdown           report an orderly shutdown (OK), right before unmounting
       bstate set PARTITION OK|Clean|Dirty
                                 Dirty: so often failed that no limit lets it boot
       bstate next [PARTITION|restore|hold|none]
                                 what the next start is to do, once; print or take back that wish
       bstate seal [MOUNTPOINT]  say that the partition is to stay as it is now, after an update of it
The copies are those on the disk that / is on, mounted or not, and on others of the same set; --file PATH
before the command names one to use instead (may be given more than once).";

/// Why a command did not do what was asked.
enum Failure {
    /// Wrong usage or input: exit code 2.
    Usage(String),
    /// It could not be done: exit code 1.
    No(String),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::No(trouble.to_string())
    }
}

impl From<seal::Failure> for Failure {
    fn from(failure: seal::Failure) -> Self {
        match failure {
            seal::Failure::NotThere(text) => Self::Usage(text),
            seal::Failure::Failed(text) => Self::No(text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text}\n{USAGE}"),
            Self::No(text) => f.write_str(text),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|a| a == worker::WORKER) {
        return worker::run(&arguments[1..]).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bstate: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run(mut arguments: Vec<OsString>) -> Result<(), Failure> {
    let mut files = Vec::new();
    while arguments.first().is_some_and(|a| a == "--file") {
        if arguments.len() < 2 {
            return Err(Failure::Usage("--file needs a path".into()));
        }
        files.push(arguments.remove(1).into());
        arguments.remove(0);
    }
    let words: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let source = Source { files };
    match words.as_slice() {
        ["-h" | "--help" | "help"] => println!("{USAGE}"),
        ["show"] => show(&source.open(true)?),
        ["which"] => println!("{}", which(&source.open(false)?)?),
        ["booted"] => source.change(booted)?,
        ["shutdown"] => source.change(shutdown)?,
        ["set", name, state] => set(&source, name, state)?,
        ["next"] => next(&source.open(false)?),
        ["next", wish] => source.change(|copies| set_next(copies, wish))?,
        ["seal"] => seal(&system_point(&source)?)?,
        ["seal", _] => seal(Path::new(&arguments[1]))?,
        [] => return Err(Failure::Usage("no command".into())),
        [other, ..] => return Err(Failure::Usage(format!("can't understand `{other}`"))),
    }
    Ok(())
}

/// Where the copies come from.
struct Source {
    /// Those that the caller named; if there are none, the machine's.
    files: Vec<PathBuf>,
}

impl Source {
    fn open(&self, all: bool) -> Result<Copies, Trouble> {
        if self.files.is_empty() { Copies::found(&System::default(), all) } else { Copies::named(&self.files) }
    }

    /// Reads, changes and writes the record, and lets no other one do so meanwhile.
    fn change(&self, change: impl FnOnce(&mut Copies) -> Result<(), Failure>) -> Result<(), Failure> {
        let devices = || System::default().all_places().into_iter().map(|place| place.node).collect();
        let others: Vec<PathBuf> = if self.files.is_empty() { devices() } else { self.files.clone() };
        let _lock = Lock::take("bstate.lock", &others).map_err(Failure::No)?;
        change(&mut self.open(false)?)
    }
}

/// The record as text, and on standard error which copies are not as they should be.
fn show(copies: &Copies) {
    let sector = copies.record.to_sector();
    println!("{}", String::from_utf8_lossy(&sector).trim_end());
    for trouble in copies.broken.iter().chain(&copies.missing).chain(&copies.strangers) {
        eprintln!("bstate: {trouble}");
    }
}

/// The partition that the recovery CD handed over to.
fn which(copies: &Copies) -> Result<String, Failure> {
    let name = &copies.record.booting;
    if copies.record.get(name).is_none() {
        let text = "bstate.txt does not say which partition was booted; was it the recovery CD that booted it?";
        return Err(Failure::No(text.into()));
    }
    // What was booted and what runs are two things where two partitions have one UUID or label.
    if let Some((device, other)) = copies.root.as_ref().filter(|(_, other)| other != name) {
        return Err(Failure::No(format!(
            "the recovery CD booted {name}, but / is on {}, which is {other}: nothing is reported. Both have the same \
             UUID or label; let the boot configuration and fstab name the partition in another way (root=PARTUUID=...)",
            device.display()
        )));
    }
    Ok(name.clone())
}

/// Steps 214, 222, 244, 252, and the check of 280 to 284.
fn booted(copies: &mut Copies) -> Result<(), Failure> {
    let name = which(copies)?;
    let restores = copies.record.restores;
    let before = copies.record.get(&name).map(|p| p.before.clone()).unwrap_or_default();
    copies.record.report_booted(&name);
    copies.write()?;
    println!("{name} is Clean");
    if restores > 0 {
        eprintln!("bstate: restored from the recovery CD since the last report (times: {restores})");
    }
    if !before.is_empty() {
        eprintln!("bstate: {name} was mended before this boot: {before}");
    }
    if let Some(first) = copies.record.partitions.first().filter(|p| p.name != name) {
        eprintln!("bstate: running from {name}, not from {}{}", first.name, reason(first));
    }
    Ok(())
}

/// Step 292.
fn shutdown(copies: &mut Copies) -> Result<(), Failure> {
    let name = which(copies)?;
    copies.record.report_shutdown(&name);
    copies.write()?;
    println!("{name} is OK");
    Ok(())
}

fn set(source: &Source, name: &str, state: &str) -> Result<(), Failure> {
    let Some(state) = State::parse(state) else {
        return Err(Failure::Usage(format!("`{state}` is no state: write OK, Clean or Dirty")));
    };
    source.change(|copies| {
        let Some(partition) = copies.record.get_mut(name) else { return Err(unknown(copies, name)) };
        partition.say(state);
        copies.write()?;
        println!("{name} is {state}");
        Ok(())
    })
}

fn unknown(copies: &Copies, name: &str) -> Failure {
    let known: Vec<&str> = copies.record.partitions.iter().map(|p| p.name.as_str()).collect();
    Failure::Usage(format!("no partition `{name}`; known: {}", known.join(", ")))
}

/// What the next start is to do, in the word that asks for it.
fn next(copies: &Copies) {
    println!("{}", copies.record.next.as_ref().map_or_else(|| "none".to_string(), ToString::to_string));
}

fn set_next(copies: &mut Copies, wish: &str) -> Result<(), Failure> {
    copies.record.next = match wish {
        "none" => None,
        "restore" => Some(Next::Restore),
        "hold" => Some(Next::Hold),
        name if copies.record.get(name).is_some() => Some(Next::Partition(name.to_string())),
        name => return Err(unknown(copies, name)),
    };
    copies.write()?;
    println!("next is {wish}");
    Ok(())
}

fn seal(point: &Path) -> Result<(), Failure> {
    let sealed = seal::seal_at(&System::default(), point)?;
    let (file, kib) = (sealed.file.display(), sealed.bytes / 1024);
    println!("{} is sealed: {} ranges, {kib} KiB, in {file}", point.display(), sealed.ranges);
    Ok(())
}

/// The system's own partition: the root filesystem, or else the only one that is mounted.
fn system_point(source: &Source) -> Result<PathBuf, Failure> {
    let points = source.open(false)?.points();
    match points.as_slice() {
        [] => Err(Failure::Usage("no partition with a bstate.txt is mounted".into())),
        [only] => Ok(only.clone()),
        _ if points.iter().any(|point| point == Path::new("/")) => Ok(PathBuf::from("/")),
        _ => {
            let list: Vec<String> = points.iter().map(|point| point.display().to_string()).collect();
            Err(Failure::Usage(format!("several partitions are mounted; say which: {}", list.join(", "))))
        }
    }
}

fn reason(partition: &Partition) -> String {
    let why = if partition.why.is_empty() { String::new() } else { format!(" ({})", partition.why) };
    format!(": {} is {}{why}", partition.name, partition.state)
}
