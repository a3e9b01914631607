//! The copies of bstate.txt on mounted filesystems: found, merged, written in place.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use knownstate_core::bstate::{FILE, FILE_BYTES, Parsed, Record};
use knownstate_core::units::SECTOR;

/// `O_DIRECT` of `open(2)` on x86: reads go to the disk and not to the kernel's copy of it.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub const O_DIRECT: i32 = 0o40000;
/// Elsewhere the value differs; the read-back there is the kernel's copy.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
pub const O_DIRECT: i32 = 0;

/// What is wrong with a copy, or with all of them.
#[derive(Debug)]
pub enum Trouble {
    /// No mounted filesystem has one.
    None,
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
            Self::None => {
                write!(f, "no mounted filesystem has a {FILE} in its root; mount the system partitions first")
            }
            Self::NoneValid(each) => write!(f, "no copy of {FILE} is valid: {}", all(each)),
            Self::NoneWritten(each) => write!(f, "no copy of {FILE} could be written: {}", all(each)),
            Self::Copy(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

/// A sector that `O_DIRECT` can read into: aligned to every block size there is.
#[repr(align(4096))]
struct Aligned([u8; SECTOR]);

/// The record, and the files that hold it.
pub struct Copies {
    /// What all valid copies come to.
    pub record: Record,
    /// What is wrong with copies.
    pub troubles: Vec<Trouble>,
    paths: Vec<PathBuf>,
}

impl Copies {
    /// Those in the roots of all mounted filesystems.
    pub fn mounted() -> Result<Self, Trouble> {
        let paths: Vec<PathBuf> = points()?.iter().map(|point| point.join(FILE)).collect();
        Self::named(&paths)
    }

    /// Those that the caller names.
    pub fn named(paths: &[PathBuf]) -> Result<Self, Trouble> {
        if paths.is_empty() {
            return Err(Trouble::None);
        }
        let mut parsed = Vec::new();
        let mut troubles = Vec::new();
        for path in paths {
            match read(path) {
                Ok(copy) => parsed.push(copy),
                Err(what) => troubles.push(Trouble::Copy(path.clone(), what)),
            }
        }
        let mut names: Vec<&str> = Vec::new();
        for partition in parsed.iter().flat_map(|p: &Parsed| &p.record().partitions) {
            if !names.contains(&partition.name.as_str()) {
                names.push(&partition.name);
            }
            // A person may have typed more than a sector holds; what does not fit is not kept.
            if !Record::fits(names.iter().copied()) {
                names.pop();
            }
        }
        match Record::merge(&parsed, names) {
            Some(record) => Ok(Self { record, troubles, paths: paths.to_vec() }),
            None => Err(Trouble::NoneValid(troubles)),
        }
    }

    /// Writes the record to every copy, the broken ones too. One that can't be written is told on
    /// standard error; the others carry the truth until the CD brings it in line.
    pub fn write(&mut self) -> Result<(), Trouble> {
        self.record.sequence = self.record.sequence.saturating_add(1);
        let mut troubles = Vec::new();
        for path in &self.paths {
            if let Err(error) = write(path, &self.record) {
                troubles.push(Trouble::Copy(path.clone(), error.to_string()));
            }
        }
        if troubles.len() == self.paths.len() {
            return Err(Trouble::NoneWritten(troubles));
        }
        for trouble in troubles {
            eprintln!("bstate: {trouble}");
        }
        Ok(())
    }
}

/// Where filesystems with a bstate.txt in their root are mounted, each once.
pub fn points() -> Result<Vec<PathBuf>, Trouble> {
    let mounts = fs::read_to_string("/proc/self/mounts")
        .map_err(|e| Trouble::Copy("/proc/self/mounts".into(), e.to_string()))?;
    let mut points: Vec<PathBuf> = Vec::new();
    let mut seen = Vec::new();
    for point in mounts.lines().filter_map(|l| l.split(' ').nth(1)).map(|field| PathBuf::from(unescape(field))) {
        let file = point.join(FILE);
        // The same filesystem may be mounted at several places.
        let Some(identity) = file.metadata().ok().filter(fs::Metadata::is_file).map(|m| (m.dev(), m.ino())) else {
            continue;
        };
        if !seen.contains(&identity) {
            seen.push(identity);
            points.push(point);
        }
    }
    Ok(points)
}

fn read(path: &Path) -> Result<Parsed, String> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(SECTOR as u64).read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
    Record::parse(&bytes).map_err(|fault| fault.to_string())
}

/// Overwrites the record's sector in place, flushes it, and reads it back from the disk. Only a file
/// that an editor made shorter is written whole: the CD can't use it until it has its length again.
fn write(path: &Path, record: &Record) -> io::Result<()> {
    let sector = record.to_sector();
    let mut file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() < FILE_BYTES as u64 {
        file.write_all(&record.to_file())?;
    } else {
        file.write_all(&sector)?;
    }
    file.sync_all()?;
    drop(file);
    if read_back(path)? == sector {
        return Ok(());
    }
    Err(io::Error::other("what was read back is not what was written"))
}

fn read_back(path: &Path) -> io::Result<[u8; SECTOR]> {
    let mut sector = Aligned([0; SECTOR]);
    let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT).open(path);
    if let Ok(mut file) = direct
        && file.read_exact(&mut sector.0).is_ok()
    {
        return Ok(sector.0);
    }
    // Not every filesystem, and no 4096-byte sector, takes a direct read of 512 bytes.
    File::open(path)?.read_exact(&mut sector.0)?;
    Ok(sector.0)
}

/// `/proc/self/mounts` writes space, tab, newline and backslash as three octal digits.
pub fn unescape(field: &str) -> String {
    let mut text = String::new();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => text.push(char::from(code)),
            None => text.push('\\'),
        }
        rest = if code.is_some() { &after[3..] } else { after };
    }
    text.push_str(rest);
    text
}
