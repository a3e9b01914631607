//! `bstate seal`: says of a partition as it is now that this is how it has to be.
//!
//! There are two seal files; the newer one is left alone, and the other one is written: first its table,
//! then, when that is on the disk and the partition was found unchanged, its header, which is one sector.
//! So a power cut leaves the old seal or the new one in force. Writing allocates nothing as long as the
//! file is long enough, so the seal does not change what it seals.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::media::filesystem::Volume;
use knownstate_core::table::write::{chunks, empty_seal, names, parse_protect, protected_entries, seal};
use knownstate_core::table::{Entry, Header, SEALS};
use knownstate_core::units::{SECTOR, SectorCount};
use sha2::{Digest, Sha256};

use crate::volume::{Device, device_of};

/// How often the partition is read again because it changed meanwhile, or the file had to grow.
const TRIES: usize = 3;
/// Longest names that are read from an older seal for its first line.
const MAX_FIRST_LINE: usize = 64 * 1024;

/// What was sealed.
pub struct Sealed {
    /// The file that now holds the seal.
    pub file: PathBuf,
    /// Ranges and bytes that must not change from now on.
    pub ranges: usize,
    pub bytes: u64,
}

/// Seals the partition mounted at `point`.
///
/// # Errors
/// What went wrong, in words; the seal before is still in force.
pub fn seal_at(point: &Path) -> Result<Sealed, String> {
    let device = device_of(point)?;
    let files = SEALS.map(|name| point.join(name));
    let headers = files.each_ref().map(|file| header(file));
    let sequence = headers.iter().flatten().map(|h| h.sequence).max().unwrap_or(0);
    let protect = files.iter().find_map(|file| protect(file)).unwrap_or(Protect::All);
    // The one that is not in force.
    let target = usize::from(headers[0].as_ref().is_some_and(|h| h.sequence == sequence && sequence > 0));
    let file = &files[target];
    for _ in 0..TRIES {
        let (entries, names, sectors) = state(&device, &protect)?;
        let new = seal(sequence.saturating_add(1), &entries, names.as_bytes(), sectors, identity);
        let written = |e: io::Error| format!("{}: {e}", file.display());
        if file.metadata().map_or(0, |m| m.len()) < new.len() as u64 {
            // Twice as long as now needed: the next seal may need more. This changes the filesystem.
            std::fs::write(file, empty_seal(&protect, 2 * new.len())).map_err(written)?;
            continue;
        }
        let out = OpenOptions::new().write(true).open(file).map_err(written)?;
        out.write_all_at(&new[SECTOR..], SECTOR as u64).and_then(|()| out.sync_all()).map_err(written)?;
        if state(&device, &protect)?.0 == entries {
            out.write_all_at(&new[..SECTOR], 0).and_then(|()| out.sync_all()).map_err(written)?;
            rustix::fs::sync();
            if std::fs::read(file).map_err(written)?.starts_with(&new) {
                let bytes = entries.iter().map(|e| u64::from(e.sectors)).sum::<u64>() * SECTOR as u64;
                return Ok(Sealed { file: file.clone(), ranges: entries.len(), bytes });
            }
            return Err(format!("{}: what was read back is not what was written", file.display()));
        }
    }
    Err(format!("{} keeps changing; stop what writes to it, or have only some files protected", point.display()))
}

/// What the partition holds now: what has to be protected of it, whose it is, and how long it is.
fn state(device: &Path, protect: &Protect) -> Result<(Vec<Entry>, String, SectorCount), String> {
    rustix::fs::sync();
    let failed = |e: String| format!("{}: {e}", device.display());
    let mut volume = Device::open(device).map_err(|e| failed(e.to_string()))?;
    let layout = Layout::of(&mut volume).map_err(|e| failed(e.to_string()))?;
    let chunks = chunks(&layout, protect).map_err(|path| failed(format!("protect {path}: no such file")))?;
    let entries = protected_entries(&mut volume, &chunks).map_err(failed)?;
    Ok((entries, names(&layout, protect), volume.length()))
}

/// The SHA-256 of what follows a seal's header.
fn identity(blocks: &[u8], names: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(blocks).chain_update(names).finalize().into()
}

/// The header of a seal file, if it is a good one.
fn header(file: &Path) -> Option<Header> {
    let mut sector = [0; SECTOR];
    File::open(file).and_then(|f| f.read_exact_at(&mut sector, 0)).ok()?;
    Header::parse(&sector).ok()
}

/// What a seal file says is to be protected.
fn protect(file: &Path) -> Option<Protect> {
    let header = header(file)?;
    let mut names = vec![0; (header.names_bytes as usize).min(MAX_FIRST_LINE)];
    File::open(file).and_then(|f| f.read_exact_at(&mut names, header.names_at)).ok()?;
    parse_protect(&String::from_utf8_lossy(&names))
}
