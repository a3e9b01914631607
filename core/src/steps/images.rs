//! `verify images`, and what is known of an image on the CD.
//!
//! `SHA256SUMS` at the CD's root holds a line a file, as `sha256sum` writes and checks them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::bstate;
use crate::logic::{PartitionIndex, Step};
use crate::machine::{IoError, Machine};
use crate::media::filesystem::{Filesystem, FsError, Volume};
use crate::media::iso9660::{CdError, CdFile};
use crate::steps::progress::Progress;
use crate::steps::{Context, Outcome};
use crate::units::{CD_SECTOR, Offset, SECTOR, SectorCount};

/// The file of hashes.
pub const SUMS: &str = "SHA256SUMS";
/// Bytes moved at once: two of the largest transfers that every BIOS takes.
pub(crate) const CHUNK: usize = 64 * 1024;

/// An image on the CD and what it has to be.
pub(crate) struct Image {
    pub path: String,
    pub file: CdFile,
    pub hash: [u8; 32],
    /// The byte in it where bstate.txt begins.
    pub state_at: u64,
    /// The partitions that get it.
    pub partitions: Vec<PartitionIndex>,
}

impl Context<'_> {
    /// The images of `partitions`, each once.
    ///
    /// # Errors
    /// Which one is missing, has no hash, or does not fit.
    pub(crate) fn images(&mut self, partitions: &[PartitionIndex]) -> Result<Vec<Image>, String> {
        let mut images: Vec<Image> = Vec::new();
        let sums = self.cd.read_file(self.machine, SUMS, 64 * 1024).map_err(|e| e.to_string())?;
        for &partition in partitions {
            let declared = self.program.partition(partition);
            let Some(path) = declared.image_path() else { continue };
            if let Some(image) = images.iter_mut().find(|i| i.path == path) {
                image.partitions.push(partition);
                continue;
            }
            let file = self.cd.find(self.machine, &path).map_err(|e| e.to_string())?;
            let hash = hash_in(&sums, &path).ok_or_else(|| format!("{SUMS} does not list {path}"))?;
            let state_at = state_at(self.machine, &file).map_err(|e| format!("{path}: {}: {e}", bstate::FILE))?;
            images.push(Image { path, file, hash, state_at, partitions: vec![partition] });
        }
        for image in &images {
            for &partition in &image.partitions {
                let declared = self.program.partition(partition);
                if image.file.bytes() > declared.sectors.bytes() || image.file.bytes() % SECTOR as u64 != 0 {
                    return Err(format!("{} does not fit {}", image.path, declared.name));
                }
            }
        }
        Ok(images)
    }

    /// `verify images`: every image that a restore would use, read whole.
    ///
    /// # Errors
    /// The first that is missing, unreadable, or not what its hash says.
    pub fn verify_images(&mut self, step: &Step) -> Outcome {
        let all: Vec<PartitionIndex> = self.program.partition_indexes().collect();
        let images = self.images(&all)?;
        let total = images.iter().map(|i| i.file.bytes()).sum();
        let mut buffer = vec![0; CHUNK];
        let mut progress = Progress::begin(self.machine, step, "CD", total);
        for image in &images {
            let mut hasher = Sha256::new();
            let mut at = 0;
            while at < image.file.bytes() {
                let part = read_part(self.machine, image, at, &mut buffer)?;
                hasher.update(&part);
                at += part.len() as u64;
                progress.advance(self.machine, part.len() as u64);
            }
            check(image, hasher)?;
        }
        Ok(String::new())
    }
}

/// Where bstate.txt begins in an image.
fn state_at(machine: &mut dyn Machine, file: &CdFile) -> Result<u64, FsError> {
    let mut volume = ImageVolume { machine, file };
    let start = Filesystem::open(&mut volume)?.find(&mut volume, bstate::FILE)?;
    Ok(start.at.0 * SECTOR as u64)
}

/// Reads the next part of an image, at most `buffer`'s length.
pub(crate) fn read_part<'b>(
    machine: &mut dyn Machine,
    image: &Image,
    at: u64,
    buffer: &'b mut [u8],
) -> Result<&'b mut [u8], String> {
    let left = usize::try_from(image.file.bytes().saturating_sub(at)).unwrap_or(usize::MAX);
    let bytes = left.min(buffer.len());
    // Whole CD sectors are read; `buffer` is a multiple of one, so rounding up fits.
    let whole = bytes.next_multiple_of(CD_SECTOR).min(buffer.len());
    let unreadable = |e| format!("{}: {e}", image.path);
    image.file.read(machine, at, &mut buffer[..whole]).map_err(unreadable)?;
    Ok(&mut buffer[..bytes])
}

/// Compares the hash of all that was read with what it has to be.
pub(crate) fn check(image: &Image, hasher: Sha256) -> Result<(), String> {
    if hasher.finalize()[..] == image.hash[..] {
        return Ok(());
    }
    Err(format!("{} is damaged on the CD: its SHA-256 is not the one in {SUMS}", image.path))
}

/// The hash that stands before `path`: 64 hexadecimal digits, two characters, the path.
fn hash_in(sums: &[u8], path: &str) -> Option<[u8; 32]> {
    let text = core::str::from_utf8(sums).ok()?;
    let line = text.lines().map(str::trim_ascii_end).find(|l| l.get(66..) == Some(path))?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(line.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// An image on the CD as something that a filesystem stands on.
pub(crate) struct ImageVolume<'a> {
    pub machine: &'a mut dyn Machine,
    pub file: &'a CdFile,
}

impl Volume for ImageVolume<'_> {
    fn length(&self) -> SectorCount {
        SectorCount(self.file.bytes() / SECTOR as u64)
    }

    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        let from = at.0.checked_mul(SECTOR as u64).ok_or(IoError::OutOfRange)?;
        let end = from.checked_add(into.len() as u64).filter(|&end| end <= self.file.bytes());
        let end = end.ok_or(IoError::OutOfRange)?;
        // The CD gives 2048 bytes at once: read those that cover the wanted ones.
        let first = from / CD_SECTOR as u64 * CD_SECTOR as u64;
        let mut whole = vec![0; (end.next_multiple_of(CD_SECTOR as u64) - first) as usize];
        self.file.read(self.machine, first, &mut whole).map_err(|error| match error {
            CdError::Io(_, error) => error,
            _ => IoError::OutOfRange,
        })?;
        let skip = (from - first) as usize;
        into.copy_from_slice(whole.get(skip..skip + into.len()).ok_or(IoError::OutOfRange)?);
        Ok(())
    }
}
