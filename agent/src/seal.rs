//! `bstate seal`: says of a partition as it is now that this is how it has to be.
//!
//! There are two seal files; the newer one is left alone, and the other one is written: first its table,
//! then, when that is on the disk and the partition was found unchanged, its header, which is one sector.
//! So a power cut leaves the old seal or the new one in force. Writing allocates nothing as long as the
//! file is long enough, so the seal does not change what it seals. A file that is too short is made longer only
//! when the partition holds still and has room; and where a seal fails, the file is again what it was, since a file
//! more or a longer one is a change, which the seal in force would find.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use knownstate_core::bstate::FILE;
use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::media::filesystem::Volume;
use knownstate_core::table::write::{chunks, empty_seal, names, parse_protect, protected_entries, seal};
use knownstate_core::table::{Entry, Header, SEALS};
use knownstate_core::units::{SECTOR, SectorCount};
use rustix::fs::{AtFlags, Mode, OFlags, fstatvfs, fsync, openat, syncfs, unlinkat};
use sha2::{Digest, Sha256};

use crate::lock::Lock;
use crate::place::{Content, Route, Target, folder, open};
use crate::system::{Number, OURS, System};
use crate::volume::Device;

/// How often the partition is read again because it changed meanwhile.
const TRIES: usize = 3;
/// Longest names that are read from an older seal for its first line.
const MAX_FIRST_LINE: usize = 64 * 1024;

/// Why nothing was sealed; the seal before is still in force.
pub enum Failure {
    /// There is no partition of ours.
    NotThere(String),
    /// It went wrong.
    Failed(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

/// What was sealed.
pub struct Sealed {
    /// The file that now holds the seal.
    pub file: PathBuf,
    /// Ranges and bytes that must not change from now on.
    pub ranges: usize,
    pub bytes: u64,
}

/// A mounted partition that is to be sealed.
struct Partition {
    point: PathBuf,
    /// Its root folder.
    folder: OwnedFd,
    number: Number,
    node: PathBuf,
}

/// Seals the partition mounted at `point`.
///
/// # Errors
/// What went wrong; everything is as it was.
pub fn seal_at(system: &System, point: &Path) -> Result<Sealed, Failure> {
    let partition = Partition::at(system, point)?;
    let _lock = Lock::take("bstate-seal.lock", std::slice::from_ref(&partition.point))?;
    let headers = SEALS.map(|name| partition.header(name));
    let sequence = headers.iter().flatten().map(|h| h.sequence).max().unwrap_or(0);
    let protect = SEALS.iter().find_map(|name| partition.protect(name)).unwrap_or(Protect::All);
    // The one that is not in force.
    let target = usize::from(headers[0].as_ref().is_some_and(|h| h.sequence == sequence && sequence > 0));
    let mut file = SealFile::open(&partition, SEALS[target])?;
    let outcome = file.seal(&protect, sequence.saturating_add(1));
    match outcome {
        Ok(entries) => {
            let bytes = entries.iter().map(|e| u64::from(e.sectors)).sum::<u64>() * SECTOR as u64;
            Ok(Sealed { file: partition.point.join(SEALS[target]), ranges: entries.len(), bytes })
        }
        Err(why) => match file.undo() {
            Ok(()) => Err(Failure::Failed(why)),
            Err(error) => Err(Failure::Failed(format!("{why}; {}: it is not as it was: {error}", SEALS[target]))),
        },
    }
}

impl Partition {
    /// The partition whose filesystem is mounted exactly at `point`.
    fn at(system: &System, point: &Path) -> Result<Self, Failure> {
        let named = point.display();
        let point = std::fs::canonicalize(point).map_err(|e| Failure::NotThere(format!("{named}: {e}")))?;
        let mounts = system.mounts()?;
        let mount = mounts.iter().rev().find(|m| m.point == point);
        let Some(mount) = mount.filter(|m| m.whole && m.number.0 > 0 && OURS.contains(&m.kind.as_str())) else {
            let text = format!("{named}: no partition is mounted there, or none with FAT or ext; name its mount point");
            return Err(Failure::NotThere(text));
        };
        if mount.read_only {
            return Err(Failure::Failed(format!("{named}: mounted read-only")));
        }
        let number = mount.number;
        let node = system.node(number)?;
        let target = Target { node: node.clone(), number, route: Route::Mounted, points: vec![point.clone()] };
        let partition = Self { folder: folder(&target)?, point, number, node };
        // Nobody else's partition gets files of ours.
        if [FILE, SEALS[0], SEALS[1]].iter().all(|name| partition.open(name, OFlags::RDONLY).is_err()) {
            let text = format!("{named}: neither {FILE} nor a seal is in it, so the recovery CD has not made it");
            return Err(Failure::NotThere(text));
        }
        Ok(partition)
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<File, Content> {
        open(&self.folder, self.number, name, flags)
    }

    /// The header of a seal file, if it is a good one.
    fn header(&self, name: &str) -> Option<Header> {
        let mut sector = [0; SECTOR];
        self.open(name, OFlags::RDONLY).ok()?.read_exact_at(&mut sector, 0).ok()?;
        Header::parse(&sector).ok()
    }

    /// What a seal file says is to be protected.
    fn protect(&self, name: &str) -> Option<Protect> {
        let header = self.header(name)?;
        let mut names = vec![0; (header.names_bytes as usize).min(MAX_FIRST_LINE)];
        self.open(name, OFlags::RDONLY).ok()?.read_exact_at(&mut names, header.names_at).ok()?;
        parse_protect(&String::from_utf8_lossy(&names))
    }

    /// What it holds now: what has to be protected of it, whose it is, and how long it is.
    fn state(&self, protect: &Protect) -> Result<(Vec<Entry>, String, SectorCount), String> {
        let failed = |e: String| format!("{}: {e}", self.node.display());
        syncfs(&self.folder).map_err(|e| failed(e.to_string()))?;
        let mut volume = Device::open(&self.node).map_err(|e| failed(e.to_string()))?;
        let layout = Layout::of(&mut volume).map_err(|e| failed(e.to_string()))?;
        let chunks = chunks(&layout, protect).map_err(|path| failed(format!("protect {path}: no such file")))?;
        let entries = protected_entries(&mut volume, &chunks).map_err(failed)?;
        Ok((entries, names(&layout, protect), volume.length()))
    }

    /// Whether there is room for so many bytes more.
    fn has_room(&self, bytes: u64) -> Result<(), String> {
        let free = fstatvfs(&self.folder).map_err(|e| e.to_string())?;
        if free.f_bavail.saturating_mul(free.f_frsize) > bytes {
            return Ok(());
        }
        Err(format!("{}: no room for a longer seal: {} KiB", self.point.display(), bytes / 1024))
    }
}

/// The file that is written, and what it was before.
struct SealFile<'a> {
    partition: &'a Partition,
    name: &'static str,
    /// Nothing as long as there is none.
    file: Option<File>,
    /// What was in it.
    before: Option<Vec<u8>>,
    touched: bool,
}

impl<'a> SealFile<'a> {
    fn open(partition: &'a Partition, name: &'static str) -> Result<Self, String> {
        let failed = |what: String| format!("{}: {what}", partition.point.join(name).display());
        let file = match partition.open(name, OFlags::RDWR) {
            Ok(file) => Some(file),
            Err(Content::Absent(_)) => None,
            Err(Content::Refused(why)) => return Err(failed(why)),
            Err(Content::Read(_)) => return Err(failed(String::new())),
        };
        let before = file.as_ref().map(content).transpose().map_err(|e| failed(e.to_string()))?;
        Ok(Self { partition, name, file, before, touched: false })
    }

    fn failed(&self, error: impl ToString) -> String {
        format!("{}: {}", self.partition.point.join(self.name).display(), error.to_string())
    }

    /// Seals, as soon as the partition is the same before and after; what is sealed.
    fn seal(&mut self, protect: &Protect, sequence: u64) -> Result<Vec<Entry>, String> {
        for _ in 0..TRIES {
            let (entries, names, sectors) = self.partition.state(protect)?;
            let new = seal(sequence, &entries, names.as_bytes(), sectors, identity);
            let length = self.file.as_ref().map_or(Ok(0), |f| f.metadata().map(|m| m.len()));
            if length.map_err(|e| self.failed(e))? < new.len() as u64 {
                // Longer, it may need a longer one itself: its own blocks have names. Twice is enough.
                self.grow(protect, &entries, 2 * new.len())?;
                return self.seal_when_long(protect, sequence);
            }
            if self.put(protect, &entries, &new)? {
                return Ok(entries);
            }
        }
        Err(self.changing())
    }

    /// The same behind a change of the file's length, which changes the filesystem.
    fn seal_when_long(&mut self, protect: &Protect, sequence: u64) -> Result<Vec<Entry>, String> {
        for _ in 0..TRIES {
            let (entries, names, sectors) = self.partition.state(protect)?;
            let new = seal(sequence, &entries, names.as_bytes(), sectors, identity);
            if self.put(protect, &entries, &new)? {
                return Ok(entries);
            }
        }
        Err(self.changing())
    }

    fn changing(&self) -> String {
        let point = self.partition.point.display();
        format!("{point} keeps changing; stop what writes to it, or have only some files protected")
    }

    /// Makes the file, or makes it longer, if the partition is still as `entries` say.
    fn grow(&mut self, protect: &Protect, entries: &[Entry], length: usize) -> Result<(), String> {
        self.partition.has_room(length as u64)?;
        if self.partition.state(protect)?.0 != entries {
            return Err(self.changing());
        }
        self.touched = true;
        let mut fresh = empty_seal(protect, length);
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
                openat(&self.partition.folder, self.name, flags, mode).map_err(|e| self.failed(e))?.into()
            }
        };
        // What was in it stays until there is a new seal.
        let old = self.before.as_deref().unwrap_or_default();
        fresh[..old.len()].copy_from_slice(old);
        let written = file.write_all_at(&fresh[old.len()..], old.len() as u64).and_then(|()| file.sync_all());
        self.file = Some(file);
        written.map_err(|e| self.failed(e))
    }

    /// Writes a seal's table, and, if the partition is still as `entries` say, its header; whether it was.
    fn put(&mut self, protect: &Protect, entries: &[Entry], new: &[u8]) -> Result<bool, String> {
        let Some(file) = &self.file else { return Err(self.failed("no such file")) };
        self.touched = true;
        file.write_all_at(&new[SECTOR..], SECTOR as u64).and_then(|()| file.sync_all()).map_err(|e| self.failed(e))?;
        if self.partition.state(protect)?.0 != entries {
            return Ok(false);
        }
        file.write_all_at(&new[..SECTOR], 0).and_then(|()| file.sync_all()).map_err(|e| self.failed(e))?;
        syncfs(&self.partition.folder).map_err(|e| self.failed(e))?;
        if content(file).map_err(|e| self.failed(e))?.starts_with(new) {
            return Ok(true);
        }
        Err(self.failed("what was read back is not what was written"))
    }

    /// Puts back what was there.
    fn undo(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take().filter(|_| self.touched) else { return Ok(()) };
        match &self.before {
            Some(before) => {
                file.write_all_at(before, 0)?;
                file.set_len(before.len() as u64)?;
                file.sync_all()?;
            }
            None => unlinkat(&self.partition.folder, self.name, AtFlags::empty())?,
        }
        fsync(&self.partition.folder)?;
        Ok(syncfs(&self.partition.folder)?)
    }
}

/// All of a file.
fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The SHA-256 of what follows a seal's header.
fn identity(blocks: &[u8], names: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(blocks).chain_update(names).finalize().into()
}
