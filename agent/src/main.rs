//! `bstate`: the operating system's side of bstate.txt.
//!
//! It finds every copy on the mounted filesystems by itself, and writes in place what the recovery CD
//! will read at the next start. See docs/STATES.md.

mod copies;
mod seal;
mod volume;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use copies::{Copies, Trouble};
use knownstate_core::bstate::{Partition, State};

const USAGE: &str = "\
usage: bstate show               print the record
       bstate which              print the partition that this system was booted from
       bstate booted             report that the boot is complete (Clean)
       bstate shutdown           report an orderly shutdown (OK), right before unmounting
       bstate set PARTITION OK|Clean|Dirty
       bstate seal [MOUNTPOINT]  say that the partition is to stay as it is now, after an update of it
Every mounted filesystem with a bstate.txt in its root holds a copy; --file PATH before the command
names one to use instead (may be given more than once).";

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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text}\n{USAGE}"),
            Self::No(text) => f.write_str(text),
        }
    }
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bstate: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run(mut arguments: Vec<String>) -> Result<(), Failure> {
    let mut files = Vec::new();
    while arguments.first().is_some_and(|a| a == "--file") {
        if arguments.len() < 2 {
            return Err(Failure::Usage("--file needs a path".into()));
        }
        files.push(arguments.remove(1).into());
        arguments.remove(0);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if matches!(words.as_slice(), ["-h" | "--help" | "help"]) {
        println!("{USAGE}");
        return Ok(());
    }
    let open = || if files.is_empty() { Copies::mounted() } else { Copies::named(&files) };
    match words.as_slice() {
        ["show"] => show(&open()?),
        ["which"] => println!("{}", which(&open()?)?),
        ["booted"] => booted(open()?)?,
        ["shutdown"] => shutdown(open()?)?,
        ["set", name, state] => set(open, name, state)?,
        ["seal"] => seal(&system()?)?,
        ["seal", point] => seal(Path::new(point))?,
        [] => return Err(Failure::Usage("no command".into())),
        [other, ..] => return Err(Failure::Usage(format!("can't understand `{other}`"))),
    }
    Ok(())
}

/// The record as text, and on standard error which copies are not as they should be.
fn show(copies: &Copies) {
    let sector = copies.record.to_sector();
    println!("{}", String::from_utf8_lossy(&sector).trim_end());
    for trouble in &copies.troubles {
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
    Ok(name.clone())
}

/// Steps 214, 222, 244, 252, and the check of 280 to 284.
fn booted(mut copies: Copies) -> Result<(), Failure> {
    let name = which(&copies)?;
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
fn shutdown(mut copies: Copies) -> Result<(), Failure> {
    let name = which(&copies)?;
    copies.record.report_shutdown(&name);
    copies.write()?;
    println!("{name} is OK");
    Ok(())
}

fn set(open: impl Fn() -> Result<Copies, Trouble>, name: &str, state: &str) -> Result<(), Failure> {
    let Some(state) = State::parse(state) else {
        return Err(Failure::Usage(format!("`{state}` is no state: write OK, Clean or Dirty")));
    };
    let mut copies = open()?;
    let Some(partition) = copies.record.get_mut(name) else {
        let known: Vec<&str> = copies.record.partitions.iter().map(|p| p.name.as_str()).collect();
        return Err(Failure::Usage(format!("no partition `{name}`; known: {}", known.join(", "))));
    };
    partition.say(state);
    copies.write()?;
    println!("{name} is {state}");
    Ok(())
}

fn seal(point: &Path) -> Result<(), Failure> {
    let sealed = seal::seal_at(point).map_err(Failure::No)?;
    let (file, kib) = (sealed.file.display(), sealed.bytes / 1024);
    println!("{} is sealed: {} ranges, {kib} KiB, in {file}", point.display(), sealed.ranges);
    Ok(())
}

/// The system's own partition: the root filesystem, or else the only one that there is.
fn system() -> Result<PathBuf, Failure> {
    let points = copies::points()?;
    match points.as_slice() {
        [] => Err(Failure::from(Trouble::None)),
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
