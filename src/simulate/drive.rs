//! Disk images and block devices as the drives of a machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use knownstate_core::logic::{DiskIndex, Program, nearest};
use knownstate_core::units::SECTOR;
use rustix::fs::OFlags;

use super::device::{self, System};
use super::overlay::Overlay;

/// Bytes that a filesystem keeps together at least: a hole is made of as many, aligned.
const BLOCK: usize = 4096;

/// `NAME=FILE`
#[derive(Clone, Debug)]
pub struct Named {
    /// A disk in logic.txt, as the person says.
    pub name: String,
    /// The image or device.
    pub path: PathBuf,
}

impl Named {
    /// Reads it from the command line.
    ///
    /// # Errors
    /// How it has to be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_string(), path: path.into() })
            }
            _ => Err("write the disk's name in the logic file and the file, such as system=disk.img".to_string()),
        }
    }

    /// The disk that it names.
    ///
    /// # Errors
    /// That there is none, with the nearest name.
    pub fn declared(&self, program: &Program) -> Result<DiskIndex> {
        disk_named(program, &self.name)
    }
}

/// The disk of this name.
///
/// # Errors
/// That there is none, with the nearest name.
pub fn disk_named(program: &Program, name: &str) -> Result<DiskIndex> {
    if let Some(index) = program.disk_indexes().find(|&disk| program.disk(disk).name == name) {
        return Ok(index);
    }
    let names: Vec<&str> = program.disk_indexes().map(|disk| program.disk(disk).name.as_str()).collect();
    bail!("no disk `{name}` in the logic file; {}", suggestion(name, &names))
}

/// What somebody may have meant who wrote `word`.
pub fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.join(", ")),
    }
}

/// One drive.
pub struct Drive {
    file: File,
    path: PathBuf,
    /// In 512-byte sectors.
    sectors: u64,
    is_device: bool,
    /// Where writes go, if not to the file itself.
    overlay: Option<Overlay>,
}

/// Opens several, each of which has to be another one.
///
/// # Errors
/// The first that can't be used, and why.
pub fn open_all(paths: &[PathBuf], write: bool) -> Result<Vec<Drive>> {
    let mut seen = Vec::new();
    for path in paths {
        let identity = identity(path)?;
        if seen.contains(&identity) {
            bail!("{} is given twice; every disk is a file of its own", path.display());
        }
        seen.push(identity);
    }
    paths.iter().map(|path| Drive::open(path, write)).collect()
}

/// What tells a file or a device from all others, by whatever path.
fn identity(path: &Path) -> Result<(bool, u64, u64)> {
    let metadata = fs::metadata(path).with_context(|| format!("can't open {}", path.display()))?;
    Ok(if metadata.file_type().is_block_device() {
        (true, metadata.rdev(), 0)
    } else {
        (false, metadata.dev(), metadata.ino())
    })
}

impl Drive {
    /// Opens a disk image or a block device. Unless `write` says so, nothing is ever written to it.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn open(path: &Path, write: bool) -> Result<Self> {
        let kind = fs::metadata(path).with_context(|| format!("can't open {}", path.display()))?.file_type();
        if kind.is_dir() {
            bail!("{} is a directory; a disk is an image file or a block device", path.display());
        }
        if !kind.is_file() && !kind.is_block_device() {
            bail!("{} is neither an image file nor a block device", path.display());
        }
        let is_device = kind.is_block_device();
        let mut options = OpenOptions::new();
        options.read(true).write(write);
        if is_device && write {
            refuse_used(path)?;
            // Whoever uses the device holds it, and the kernel refuses us even where we did not see it.
            options.custom_flags(OFlags::EXCL.bits().cast_signed());
        }
        let mut file = options.open(path).with_context(|| format!("can't open {}", path.display()))?;
        let bytes = file.seek(SeekFrom::End(0)).with_context(|| format!("can't read {}", path.display()))?;
        if bytes == 0 || bytes % SECTOR as u64 != 0 {
            bail!("{} has {bytes} bytes, which is no whole number of {SECTOR}-byte sectors", path.display());
        }
        let overlay = (!write).then(Overlay::new).transpose().context("can't make a temporary file")?;
        Ok(Self { file, path: path.to_path_buf(), sectors: bytes / SECTOR as u64, is_device, overlay })
    }

    /// Its size in 512-byte sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is written is forgotten at the end.
    #[must_use]
    pub fn forgets(&self) -> bool {
        self.overlay.is_some()
    }

    /// Reads whole sectors that lie inside.
    ///
    /// # Errors
    /// The file's.
    pub fn read(&self, sector: u64, into: &mut [u8]) -> io::Result<()> {
        let at = sector * SECTOR as u64;
        match &self.overlay {
            Some(overlay) => overlay.read(&self.file, at, into),
            None => self.file.read_exact_at(into, at),
        }
    }

    /// Writes whole sectors that lie inside.
    ///
    /// # Errors
    /// The file's.
    pub fn write(&mut self, sector: u64, data: &[u8]) -> io::Result<()> {
        let at = sector * SECTOR as u64;
        match &mut self.overlay {
            Some(overlay) => overlay.write(&self.file, at, data),
            None if self.is_device => self.write_in_order(at, data),
            None => self.write_sparse(at, data),
        }
    }

    /// A single sector is what decides: bstate.txt, a boot sector, the MBR. The kernel writes in any order it
    /// likes, so all before it has to be on the device before it, and it itself before all that follows.
    fn write_in_order(&self, at: u64, data: &[u8]) -> io::Result<()> {
        let decides = data.len() == SECTOR;
        if decides {
            self.file.sync_data()?;
        }
        self.file.write_all_at(data, at)?;
        if decides { self.file.sync_data() } else { Ok(()) }
    }

    /// Holes stay holes where zeros go into them.
    fn write_sparse(&self, at: u64, data: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let length = rest.len().min(BLOCK - (at % BLOCK as u64) as usize);
            let (block, later) = rest.split_at(length);
            if block.iter().any(|&byte| byte != 0) || !self.is_hole(at, length as u64) {
                self.file.write_all_at(block, at)?;
            }
            at += length as u64;
            rest = later;
        }
        Ok(())
    }

    /// Whether nothing is stored of these bytes, as far as the filesystem tells.
    fn is_hole(&self, at: u64, bytes: u64) -> bool {
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data >= at + bytes,
            Err(error) => error == rustix::io::Errno::NXIO,
        }
    }

    /// Has all that was written on the medium.
    ///
    /// # Errors
    /// The file's.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Whether it is a device, which may be pulled out when we have ended.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.is_device
    }
}

/// Whatever is mounted, swapped to, or a part of something larger is not for us to write to.
fn refuse_used(path: &Path) -> Result<()> {
    let number = device::number_of(path).with_context(|| format!("{} is no block device", path.display()))?;
    match System::default().user_of(number, device::number_of)? {
        Some(user) => bail!("{} is in use: {user}", path.display()),
        None => Ok(()),
    }
}
