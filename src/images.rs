//! Partition images on their way to the CD: copied, and given what they lack.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use knownstate_core::bstate;
use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::media::filesystem::{Filesystem, FsError};
use knownstate_core::table::{Form, SEALS, write};
use knownstate_core::units::SECTOR;

use crate::files::FileVolume;
use crate::seal;

/// Files get this time, 2000-01-01 00:00 UTC, so that the same input gives the same ISO.
pub const TIME: u64 = 946_684_800;

/// Room in a seal that nothing needs yet, in bytes; their lengths are multiples of it.
const SEAL_SLACK: usize = 8192;

/// Puts what keeps state into the image at `path`, as far as it is not there: `bstate.txt`, the first seal, and
/// room for those that the system may write later. An image without a filesystem known here gets none.
///
/// # Errors
/// When there is something of that name that the loader can't use, or no room for what has to be there.
pub fn add_state(path: &Path, record: &bstate::Record, protect: &Protect) -> Result<()> {
    let mut volume = FileVolume::open(path)?;
    if matches!(Filesystem::open(&mut volume), Err(FsError::Unknown)) {
        return Ok(());
    }
    add_bstate(path, record)?;
    add_seals(path, protect)?;
    seal::seal_image(path, protect)
}

/// Two empty seals, with room for twice as many chunks as the image has: writing them later allocates
/// nothing, and so changes nothing that is sealed. Where nothing is protected, an image that has no room for
/// them does without, and stays as it is.
fn add_seals(path: &Path, protect: &Protect) -> Result<()> {
    if *protect != Protect::None {
        return add_both_seals(path, protect).context("the image needs room for two seals; make it larger");
    }
    let before = path.with_extension("before");
    copy(path, &before)?;
    match add_both_seals(path, protect) {
        Ok(()) => fs::remove_file(before)?,
        Err(_) => fs::rename(before, path)?,
    }
    Ok(())
}

fn add_both_seals(path: &Path, protect: &Protect) -> Result<()> {
    let mut volume = FileVolume::open(path)?;
    let layout = Layout::of(&mut volume).map_err(|e| anyhow!("{e}"))?;
    let names = write::names(&layout, protect).len();
    let chunks = write::chunks(&layout, protect).map_or(0, |chunks| chunks.len());
    let room = 2 * (names + SECTOR * (1 + chunks.div_ceil(Form::Seal.entries()))) + SEAL_SLACK;
    let seal = write::empty_seal(protect, room.next_multiple_of(SEAL_SLACK));
    for name in SEALS {
        let missing = {
            let mut volume = FileVolume::open(path)?;
            let filesystem = Filesystem::open(&mut volume).map_err(|e| anyhow!("{e}"))?;
            matches!(filesystem.extents(&mut volume, name), Err(FsError::NotFound))
        };
        if missing {
            add_file(path, name, &seal)?;
        }
    }
    Ok(())
}

/// Puts `bstate.txt` into the image at `path`, if it has none.
fn add_bstate(path: &Path, record: &bstate::Record) -> Result<()> {
    match find_bstate(path)? {
        Ok(bytes) if bytes == bstate::FILE_BYTES as u64 => return Ok(()),
        Ok(bytes) => bail!(
            "the image has a {} of {bytes} bytes; it has to have {} (remove it, and one is made)",
            bstate::FILE,
            bstate::FILE_BYTES
        ),
        Err(FsError::NotFound) => {}
        Err(error) => bail!("the image's {}: {error}", bstate::FILE),
    }
    add_file(path, bstate::FILE, &record.to_file())?;
    match find_bstate(path)? {
        Ok(_) => Ok(()),
        Err(error) => bail!("the {} that was put into the image can't be used: {error}", bstate::FILE),
    }
}

/// The file's length as the loader will find it.
fn find_bstate(path: &Path) -> Result<Result<u64, FsError>> {
    let mut volume = FileVolume::open(path)?;
    Ok(Filesystem::open(&mut volume).and_then(|fs| fs.find(&mut volume, bstate::FILE)).map(|start| start.bytes))
}

/// Adds a file to the root directory of the image's filesystem.
///
/// # Errors
/// When the filesystem has no room, or its tool is missing.
pub fn add_file(image: &Path, name: &str, content: &[u8]) -> Result<()> {
    let mut volume = FileVolume::open(image)?;
    match Filesystem::open(&mut volume) {
        Ok(Filesystem::Fat(_)) => add_to_fat(image, name, content),
        Ok(Filesystem::Ext(_)) => add_to_ext(image, name, content),
        Err(error) => bail!("{error}"),
    }
    .with_context(|| format!("can't add {name} to the image"))
}

fn add_to_fat(image: &Path, name: &str, content: &[u8]) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(image)?;
    let options = fatfs::FsOptions::new().update_accessed_date(false);
    // Without the crate's `chrono` feature new entries get the DOS epoch, the same at every build.
    let filesystem = fatfs::FileSystem::new(file, options)?;
    let mut entry = filesystem.root_dir().create_file(name)?;
    entry.truncate()?;
    entry.write_all(content)?;
    entry.flush()?;
    drop(entry);
    filesystem.unmount()?;
    Ok(())
}

/// Through e2fsprogs' own debugfs: ext has too many kinds to write to it with anything else.
fn add_to_ext(image: &Path, name: &str, content: &[u8]) -> Result<()> {
    let mut source = tempfile::NamedTempFile::new()?;
    source.write_all(content)?;
    source.flush()?;
    let output = Command::new("debugfs")
        .arg("-w")
        .arg("-R")
        .arg(format!("write {} {name}", source.path().display()))
        .arg(image)
        .env("PATH", with_sbin())
        .env("E2FSPROGS_FAKE_TIME", TIME.to_string())
        .output()
        .context("can't run debugfs; install it with: apt-get install e2fsprogs")?;
    // debugfs exits with 0 whatever happened; its complaints are all that tells.
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().find(|line| !line.starts_with("debugfs 1.") && !line.is_empty());
    match complaint {
        None if output.status.success() => Ok(()),
        _ => bail!("debugfs: {}", complaint.unwrap_or("failed")),
    }
}

/// Debian keeps debugfs where a plain user's PATH does not lead.
fn with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Copies an image without its read-only flag, keeping holes where the system can.
///
/// # Errors
/// When either file fails.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").args(["--reflink=auto", "--sparse=always"]).arg(from).arg(to).status()?;
    if !status.success() {
        bail!("can't copy {} to {}", from.display(), to.display());
    }
    let mut permissions = fs::metadata(to)?.permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "a private copy, deleted at the end")]
    permissions.set_readonly(false);
    fs::set_permissions(to, permissions)?;
    Ok(())
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
