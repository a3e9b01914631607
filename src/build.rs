//! `knownstate build`: logic.txt and images in, a bootable ISO out. The same input gives the same
//! bytes.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use knownstate_core::bstate::Record;
use knownstate_core::logic::{self, MbrCode, Partition};
use knownstate_core::steps::STANDARD_MBR;
use knownstate_core::table::Header;
use sha2::{Digest, Sha256};

use crate::check::{self, Source};
use crate::files::FileVolume;
use crate::{images, iso, loader, pack};

const README: &str = "README.TXT";

/// Builds the ISO.
///
/// # Errors
/// What is wrong with the input, or which tool is missing or failed.
pub fn run(logic: &Path, folder: Option<&Path>, output: &Path) -> Result<()> {
    replaceable(output)?;
    make(&check::load(logic, folder)?, output)?;
    println!("{}: {} MiB", output.display(), fs::metadata(output)?.len().div_ceil(1 << 20));
    Ok(())
}

/// Whether an ISO may stand under this name: nothing does yet, or an ISO does. A mistyped name must not cost
/// anybody an image, a logic file or a device node.
fn replaceable(output: &Path) -> Result<()> {
    let Ok(there) = fs::symlink_metadata(output) else { return Ok(()) };
    if !there.is_file() {
        bail!("{} is no ordinary file; write the ISO to one", output.display());
    }
    // ECMA-119 section 8.1.2: the standard identifier of the first volume descriptor, at sector 16.
    let mut identifier = [0; 5];
    let file = fs::File::open(output).with_context(|| format!("can't read {}", output.display()))?;
    if there.len() > 0 && (file.read_exact_at(&mut identifier, 16 * 2048 + 1).is_err() || identifier != *b"CD001") {
        bail!("{} is there already and is no ISO; choose another name, or delete it first", output.display());
    }
    Ok(())
}

/// The same, of a logic.txt that was checked, and without a word about it.
///
/// # Errors
/// Which file can't be used, or which tool is missing or failed.
pub fn make(source: &Source, output: &Path) -> Result<()> {
    make_of(source, output, false)
}

/// The same of as many of the images as are there: a CD to look at disks with, not to restore from.
///
/// # Errors
/// Which file can't be used, or which tool is missing or failed.
pub fn make_partly(source: &Source, output: &Path) -> Result<()> {
    make_of(source, output, true)
}

fn make_of(source: &Source, output: &Path, partly: bool) -> Result<()> {
    // Beside the output, so that there is as much room as the ISO itself needs.
    let beside = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new()
        .prefix(".knownstate-")
        .tempdir_in(beside)
        .with_context(|| format!("can't write to {}", beside.display()))?;
    let cd = staging.path().join("cd");
    fs::create_dir_all(cd.join("images"))?;

    let identities = stage_images(source, &cd, partly)?;
    fs::write(cd.join(logic::FILE), &source.text)?;
    fs::write(cd.join(STANDARD_MBR), loader::MBR)?;
    for disk in source.program.disk_indexes().map(|d| source.program.disk(d)) {
        if let MbrCode::File(file) = &disk.mbr
            && (!partly || source.has(file))
        {
            images::copy(&source.file(file), &cd.join("images").join(file))?;
        }
    }
    fs::write(cd.join(README), include_str!("../iso/README.TXT"))?;
    let id = Sha256::new().chain_update(loader::LOADER).chain_update(&source.text).chain_update(&identities).finalize();
    fs::write(cd.join(iso::LOADER), loader::with_id(&id.into()))?;

    // Under its own name only when it is whole.
    let finished = staging.path().join("finished.iso");
    let program = &source.program;
    let images = program.partition_indexes().filter_map(|p| program.image_path(p));
    let images: Vec<String> = images.filter(|path| cd.join(path).exists()).collect();
    iso::master(&cd, &finished, &iso::volume_id(program.cd()), &images)?;
    fs::rename(&finished, output).with_context(|| format!("can't write {}", output.display()))
}

/// Puts every image on the CD once, with what it lacks; the identities of all.
fn stage_images(source: &Source, cd: &Path, partly: bool) -> Result<Vec<u8>> {
    let program = &source.program;
    let fresh = Record::ok(program.recorded_names());
    let mut identities = Vec::new();
    let mut staged: Vec<String> = Vec::new();
    for index in program.partition_indexes() {
        let (declared, path) = (program.partition(index), program.image_path(index));
        let (Some(image), Some(path)) = (&declared.image, path) else { continue };
        if staged.contains(&path) || partly && !source.has_image(declared) {
            continue;
        }
        let to = cd.join(&path);
        let header =
            stage(source, declared, &source.file(image), &to, &fresh).with_context(|| format!("image {image}"))?;
        identities.extend(header.identity);
        staged.push(path);
    }
    Ok(identities)
}

fn stage(source: &Source, partition: &Partition, from: &Path, to: &Path, fresh: &Record) -> Result<Header> {
    let raw = to.with_extension("raw");
    images::copy(from, &raw)?;
    for tool in &partition.tools {
        let content = fs::read(source.file(tool)).with_context(|| format!("tool {tool}"))?;
        images::add_file(&raw, tool, &content)?;
    }
    images::add_state(&raw, fresh, &partition.protect)?;
    let mut volume = FileVolume::open(&raw)?;
    let bar = bar(&to.display().to_string(), fs::metadata(&raw)?.len());
    let header = pack::pack(&mut volume, &partition.protect, to, |n| bar.inc(n))?;
    bar.finish_and_clear();
    fs::remove_file(raw)?;
    Ok(header)
}

fn bar(what: &str, bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
    let bar = ProgressBar::new(bytes).with_message(what.to_string());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
