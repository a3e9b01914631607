//! The first seal of an image, by its maker: a restored partition says itself what must not change in it,
//! and needs no CD to be checked.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Result, anyhow};
use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::media::filesystem::{FileMap, Filesystem, Volume};
use knownstate_core::table::write::{chunks, names, protected_entries, seal};
use knownstate_core::table::{Entry, Header, SEALS};
use knownstate_core::units::{SECTOR, SectorCount};

use crate::files::FileVolume;
use crate::pack;

/// Seals the image at `path` as it is, in one of the files that it has for that. A seal that is right already
/// is left alone, so that an image that was built before comes out as it is. Where no file is long enough
/// nothing is sealed, and the CD's image stays the seal.
///
/// # Errors
/// When the image can't be read or written.
pub fn seal_image(path: &Path, protect: &Protect) -> Result<()> {
    let mut volume = FileVolume::open(path)?;
    // A file that is missing is told, or not wanted, when the image is packed.
    let Some(content) = Content::of(&mut volume, protect)? else { return Ok(()) };
    let mut files: Vec<SealFile> = SEALS.iter().filter_map(|name| SealFile::find(&mut volume, name)).collect();
    // The one in force last, as `bstate seal` spares it.
    files.sort_by_key(|file| file.sequence);
    let newest = files.last().map_or(0, |file| file.sequence);
    if newest > 0 && files.last().is_some_and(|file| file.holds(&mut volume, &content.seal(newest))) {
        return Ok(());
    }
    let new = content.seal(newest.saturating_add(1));
    match files.iter().find(|file| file.map.bytes >= new.len() as u64) {
        Some(file) => file.write(path, &new),
        None => Ok(()),
    }
}

/// A seal file in an image.
struct SealFile {
    map: FileMap,
    /// 0 where it says nothing yet.
    sequence: u64,
}

impl SealFile {
    fn find(volume: &mut FileVolume, name: &str) -> Option<Self> {
        let map = Filesystem::open(volume).and_then(|filesystem| filesystem.extents(volume, name)).ok()?;
        let mut sector = [0; SECTOR];
        volume.read(map.runs.first()?.0, &mut sector).ok()?;
        let sequence = Header::parse(&sector).map_or(0, |header| header.sequence);
        Some(Self { map, sequence })
    }

    fn holds(&self, volume: &mut FileVolume, seal: &[u8]) -> bool {
        let mut content = vec![0; self.map.bytes.next_multiple_of(SECTOR as u64) as usize];
        let mut rest = &mut content[..];
        for &(at, sectors) in &self.map.runs {
            let (now, later) = rest.split_at_mut(rest.len().min(sectors as usize * SECTOR));
            if volume.read(at, now).is_err() {
                return false;
            }
            rest = later;
        }
        content.starts_with(seal)
    }

    /// Writes over what stands there: nothing is allocated, so nothing that is sealed changes.
    fn write(&self, image: &Path, seal: &[u8]) -> Result<()> {
        let out = OpenOptions::new().write(true).open(image)?;
        let mut rest = seal;
        for &(at, sectors) in &self.map.runs {
            let (now, later) = rest.split_at(rest.len().min(sectors as usize * SECTOR));
            out.write_all_at(now, SectorCount(at.0).bytes())?;
            rest = later;
        }
        Ok(())
    }
}

/// What a seal says.
struct Content {
    entries: Vec<Entry>,
    names: String,
    sectors: SectorCount,
}

impl Content {
    /// Nothing where a file that is to be protected is missing.
    fn of(volume: &mut FileVolume, protect: &Protect) -> Result<Option<Self>> {
        let layout = Layout::of(volume).map_err(|e| anyhow!("{e}"))?;
        let Ok(chunks) = chunks(&layout, protect) else { return Ok(None) };
        let entries = protected_entries(volume, &chunks).map_err(|e| anyhow!(e))?;
        Ok(Some(Self { entries, names: names(&layout, protect), sectors: volume.length() }))
    }

    fn seal(&self, sequence: u64) -> Vec<u8> {
        seal(sequence, &self.entries, self.names.as_bytes(), self.sectors, pack::identity)
    }
}
