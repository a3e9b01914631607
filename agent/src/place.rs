//! One partition's bstate.txt, read and written. All that may have to wait for a device is here and in
//! [`crate::worker`], which bounds the wait.
//!
//! Mounted, the file is opened through the mount, and no link is followed. Where nothing can be written through
//! the mount, or there is none, core finds the file's sector on the device, as the recovery CD does.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use knownstate_core::bstate::{FILE, FILE_BYTES, Record};
use knownstate_core::media::filesystem::{Filesystem, FsError, Volume};
use knownstate_core::table::{Form, Header, SEALS};
use knownstate_core::units::{Offset, SECTOR};
use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, Stat, fadvise, fstat, openat, statat};

use crate::system::Number;
use crate::volume::Device;

/// How a partition is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through its filesystem, which is mounted and can be written.
    Mounted,
    /// On the device, below a filesystem that is mounted read-only.
    Below,
    /// On the device, which nobody else may use meanwhile.
    Alone,
}

impl Route {
    const ALL: [(Self, &'static str); 3] = [(Self::Mounted, "mounted"), (Self::Below, "below"), (Self::Alone, "alone")];

    /// As [`Route::parse`] reads it.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(route, _)| *route == self).map_or("", |(_, word)| word)
    }

    pub fn parse(word: &OsStr) -> Option<Self> {
        Self::ALL.iter().find(|(_, w)| *w == word).map(|(route, _)| *route)
    }
}

/// A partition, and how it is reached.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its node in `/dev`.
    pub node: PathBuf,
    pub number: Number,
    pub route: Route,
    /// Where its filesystem is mounted.
    pub points: Vec<PathBuf>,
}

/// What was found in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether a seal is in it, as the recovery CD writes one into every partition that it restores.
    pub sealed: bool,
    /// Its bstate.txt.
    pub content: Content,
}

/// A bstate.txt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its first sector, or all of a shorter file.
    Read(Vec<u8>),
    /// There is one, and it is not believed, or can't be read; why.
    Refused(String),
    /// There is none; why.
    Absent(String),
}

impl Content {
    fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string())
    }
}

/// Looks at a partition.
pub fn look(target: &Target) -> Look {
    match target.route {
        Route::Mounted => match folder(target) {
            Ok(folder) => look_through(&folder, target.number),
            Err(why) => Look { sealed: false, content: Content::Absent(why) },
        },
        Route::Below | Route::Alone => match device(target, OFlags::RDONLY) {
            Ok(mut device) => look_on(&mut device),
            Err(why) => Look { sealed: false, content: Content::Absent(why.to_string()) },
        },
    }
}

/// Writes a partition's record, and reads it back from the disk.
///
/// # Errors
/// What failed, in words.
pub fn write(target: &Target, sector: &[u8; SECTOR]) -> Result<(), String> {
    match target.route {
        Route::Mounted => write_through(&folder(target)?, target.number, sector),
        Route::Below | Route::Alone => {
            let claim = if target.route == Route::Alone { OFlags::RDWR | OFlags::EXCL } else { OFlags::RDWR };
            let mut device = device(target, claim).map_err(|e| match e.raw_os_error() {
                // EBUSY: mounted elsewhere, or a part of LVM, RAID, encryption.
                Some(16) => "in use, but not mounted here".to_string(),
                _ => e.to_string(),
            })?;
            let at = record_at(&mut device)?;
            device.write(at, sector).map_err(|e| e.to_string())?;
            drop(device);
            forget(target);
            Ok(())
        }
    }
}

/// The root folder of a mounted filesystem, whatever else is mounted over some of its mount points.
///
/// # Errors
/// That it can't be reached, in words.
pub fn folder(target: &Target) -> Result<OwnedFd, String> {
    let mut why = "not mounted".to_string();
    for point in &target.points {
        match rustix::fs::open(point, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(folder) if fstat(&folder).is_ok_and(|s| s.st_dev == target.number.device()) => return Ok(folder),
            Ok(_) => why = format!("something else is mounted over {}", point.display()),
            Err(error) => why = format!("{}: {error}", point.display()),
        }
    }
    Err(why)
}

/// Opens a file in a filesystem's root folder, if root alone can have made it.
///
/// # Errors
/// Why not.
pub fn open(folder: impl AsFd, number: Number, name: &str, flags: OFlags) -> Result<File, Content> {
    // Looked at first: opening a device or a pipe may do something.
    match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => trusted(&stat, number)?,
        Err(rustix::io::Errno::NOENT) => return Err(Content::Absent(FsError::NotFound.to_string())),
        Err(error) => return Err(Content::refused(error)),
    }
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty()).map_err(Content::refused)?;
    trusted(&fstat(&file).map_err(Content::refused)?, number)?;
    Ok(file.into())
}

fn trusted(stat: &Stat, number: Number) -> Result<(), Content> {
    let refused = |why: &str| Err(Content::refused(why));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return refused("a symbolic link"),
        _ => return refused("no regular file"),
    }
    if stat.st_dev != number.device() {
        return refused("something else is mounted there");
    }
    owned(stat.st_uid, stat.st_nlink == 1)
}

fn owned(user: u32, one_name: bool) -> Result<(), Content> {
    match (user, one_name) {
        (0, true) => Ok(()),
        (0, false) => Err(Content::refused("it has a second name (hard link)")),
        (user, _) => Err(Content::Refused(format!("user {user} owns it, and not root"))),
    }
}

fn look_through(folder: &OwnedFd, number: Number) -> Look {
    let seal = |name: &str| -> Option<Header> {
        let mut sector = [0; SECTOR];
        open(folder, number, name, OFlags::RDONLY).ok()?.read_exact(&mut sector).ok()?;
        Header::parse(&sector).ok()
    };
    let sealed = SEALS.iter().any(|name| seal(name).is_some_and(|header| header.form == Form::Seal));
    let read = || {
        // Not every filesystem, and no 4096-byte sector, takes a direct read of 512 bytes.
        let direct = open(folder, number, FILE, OFlags::DIRECT).and_then(|f| sector_of(f).map_err(Content::refused));
        direct.or_else(|_| {
            open(folder, number, FILE, OFlags::RDONLY).and_then(|f| sector_of(f).map_err(Content::refused))
        })
    };
    Look { sealed, content: read().map_or_else(|content| content, Content::Read) }
}

/// A sector that `O_DIRECT` can read into: aligned to every block size there is.
#[repr(align(4096))]
struct Aligned([u8; SECTOR]);

/// The first sector of a file, or all of a shorter one.
///
/// # Errors
/// The system's.
pub fn sector_of(mut file: File) -> io::Result<Vec<u8>> {
    let mut sector = Aligned([0; SECTOR]);
    let mut held = 0;
    while held < SECTOR {
        match file.read(&mut sector.0[held..])? {
            0 => break,
            more => held += more,
        }
    }
    Ok(sector.0[..held].to_vec())
}

/// Overwrites the record's sector in place; see [`overwrite`].
fn write_through(folder: &OwnedFd, number: Number, sector: &[u8; SECTOR]) -> Result<(), String> {
    let words = |content| match content {
        Content::Refused(why) | Content::Absent(why) => why,
        Content::Read(_) => String::new(),
    };
    let file = open(folder, number, FILE, OFlags::WRONLY).map_err(words)?;
    overwrite(file, sector).map_err(|e| e.to_string())?;
    match look_through(folder, number).content {
        Content::Read(back) if back == sector => Ok(()),
        Content::Read(_) => Err("what was read back is not what was written".into()),
        other => Err(words(other)),
    }
}

/// Writes the record's sector at a file's beginning. Only a file that an editor made shorter is written whole: the
/// CD can't use it until it has its length again.
///
/// # Errors
/// The system's.
pub fn overwrite(mut file: File, sector: &[u8; SECTOR]) -> io::Result<()> {
    let short = file.metadata()?.len() < FILE_BYTES as u64;
    file.write_all(sector)?;
    if short {
        file.write_all(&Record::default().to_file()[SECTOR..])?;
    }
    file.sync_all()
}

/// Opens a partition's device, past the kernel's cache.
fn device(target: &Target, flags: OFlags) -> io::Result<Device> {
    let flags = flags | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(&target.node, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice || stat.st_rdev != target.number.device() {
        return Err(io::Error::other(format!("not the device {}", target.number)));
    }
    Device::of(file.into())
}

fn look_on(device: &mut Device) -> Look {
    let filesystem = match Filesystem::open(device) {
        Ok(filesystem) => filesystem,
        Err(error) => return Look { sealed: false, content: Content::Absent(error.to_string()) },
    };
    let mut seal = |name: &str| -> Option<Header> {
        let map = filesystem.extents(device, name).ok()?;
        let mut sector = [0; SECTOR];
        device.read(map.runs.first()?.0, &mut sector).ok()?;
        Header::parse(&sector).ok()
    };
    let sealed = SEALS.iter().any(|name| seal(name).is_some_and(|header| header.form == Form::Seal));
    let content =
        find(&filesystem, device).map_or_else(|content| content, |(_, sector)| Content::Read(sector.to_vec()));
    Look { sealed, content }
}

/// Where the record stands on a device, and what stands there.
fn find(filesystem: &Filesystem, device: &mut Device) -> Result<(Offset, [u8; SECTOR]), Content> {
    let start = filesystem.find(device, FILE).map_err(|error| match error {
        FsError::NotFound => Content::Absent(error.to_string()),
        _ => Content::refused(error),
    })?;
    if let Some((user, links)) = filesystem.owner(device, FILE).map_err(Content::refused)? {
        owned(user, links == 1)?;
    }
    let mut sector = [0; SECTOR];
    device.read(start.at, &mut sector).map_err(Content::refused)?;
    // As for the CD: a place that is not certain is one only if a record stands there.
    if !filesystem.is_settled() && Record::parse(&sector).is_err() {
        return Err(Content::refused("its place is not certain before the journal was replayed"));
    }
    Ok((start.at, sector))
}

fn record_at(device: &mut Device) -> Result<Offset, String> {
    let filesystem = Filesystem::open(device).map_err(|e| e.to_string())?;
    find(&filesystem, device).map(|(at, _)| at).map_err(|content| match content {
        Content::Refused(why) | Content::Absent(why) => why,
        Content::Read(_) => String::new(),
    })
}

/// What the kernel remembers of the file is not what stands on the disk any more.
fn forget(target: &Target) {
    let file = folder(target).ok().and_then(|f| open(f, target.number, FILE, OFlags::RDONLY).ok());
    if let Some(file) = file {
        // It may refuse, and then it is read past its memory all the same.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}
