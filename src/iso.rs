//! From a folder to a bootable ISO, by xorriso.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use knownstate_core::logic::Cd;

use crate::images::TIME;

/// The loader's name in the CD's root; stage1 knows it by this if nothing else leads to it.
pub const LOADER: &str = "loader.bin";

/// The volume id of a CD that has no name.
const VOLUME: &str = "KNOWNSTATE";
/// The longest volume id (ECMA-119 section 8.4.7).
const MAX_VOLUME: usize = 32;

/// The ISO's volume id: the CD's name and version in d-characters (ECMA-119 section 7.4.1: capitals, digits and
/// underscores). Where that is too long the name is cut, so that versions stay apart.
#[must_use]
pub fn volume_id(cd: Option<&Cd>) -> String {
    let Some(cd) = cd else { return VOLUME.to_string() };
    let version = format!("_{}", cd.version);
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = cd.name.chars().map(letter).take(MAX_VOLUME - version.len()).collect();
    name + &version
}

/// Masters `folder` into `iso`, as a volume of this name.
///
/// Load size 4 and no emulation are what every BIOS understands; more than the first CD sector is
/// never trusted to have been loaded. Names stand on the CD as they are (level 3 with relaxed names)
/// for the loader, which reads no extensions, and Rock Ridge makes them readable for people's systems.
///
/// `images` (paths in `folder`) come last: every start reads what stands before them, and the head of a CD
/// drive needs 80 ms and more from one end to the other.
///
/// # Errors
/// When xorriso is missing or fails.
pub fn master(folder: &Path, iso: &Path, volume: &str, images: &[String]) -> Result<()> {
    // Everything that would differ from build to build is pinned: dates, ids, owners.
    let date = "2000010100000000";
    let output = Command::new("xorriso")
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        .args(["-as", "mkisofs", "-quiet", "-V", volume, "-r", "-iso-level", "3"])
        .args(["-full-iso9660-filenames", "-relaxed-filenames", "-allow-lowercase"])
        .args(["-b", LOADER, "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
        .args(images.iter().flat_map(|image| ["--sort-weight".into(), "-1".into(), format!("/{image}")]))
        .args(["--set_all_file_dates", date])
        .arg(format!("--modification-date={date}"))
        .arg("-o")
        .arg(iso)
        .arg(folder)
        .output()
        .context("can't run xorriso; install it with: apt-get install xorriso")?;
    if !output.status.success() {
        bail!("xorriso failed:\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}
