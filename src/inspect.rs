//! `knownstate inspect`: what is in an ISO, a partition image or a disk. Only reads.

mod disk;
pub mod whose;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use knownstate_core::bstate::{self, Parsed, Record};
use knownstate_core::logic::{self, Cd, Program};
use knownstate_core::media::boot_sector;
use knownstate_core::media::filesystem::{Filesystem, FsError, Volume};
use knownstate_core::media::iso9660::{CdFile, Iso};
use knownstate_core::media::marks::{self, On};
use knownstate_core::media::mbr::Mbr;
use knownstate_core::table::{MAGIC, Table};
use knownstate_core::units::{Lba, Offset, SECTOR};

use sha2::{Digest, Sha256};

use crate::files::{FileVolume, IsoFile};
use crate::images::hex;
use crate::loader;

/// Prints what is there, or what the loader in it has at an address; whether that was something known.
///
/// # Errors
/// When the file can't be read, or there are several.
pub fn run(paths: &[PathBuf], address: Option<u32>) -> Result<bool> {
    match (paths, address) {
        ([path], None) => file(path),
        ([path], Some(address)) => at(path, address),
        _ => bail!("several files are given; to look at several disks, add --logic LOGIC"),
    }
}

fn file(path: &Path) -> Result<bool> {
    let mut machine = IsoFile::open(path)?;
    if let Ok(cd) = Iso::open(&mut machine) {
        return iso(&mut machine, &cd);
    }
    let mut volume = FileVolume::open(path)?;
    let mut sector = [0; SECTOR];
    if volume.read(Offset(0), &mut sector).is_ok() && sector.starts_with(MAGIC) {
        let file = CdFile::medium(std::fs::metadata(path)?.len());
        let described =
            Table::in_file(&mut machine, file, &path.display().to_string()).and_then(|t| describe(&mut machine, &t));
        let (Ok(line) | Err(line)) = &described;
        println!("packed image {line}");
        return Ok(described.is_ok());
    }
    let sectors = volume.length().0;
    if Filesystem::open(&mut volume).is_ok() && !has_table(&sector, sectors) {
        println!("partition image, {sectors} sectors");
        let known = partition(&mut volume);
        disk::tell(&marks::look(&mut machine, IsoFile::DISK, Lba(0), sectors, On::Partition), "        ");
        return Ok(known);
    }
    disk::run(path)
}

/// Whether partitions are declared in a first sector, in entries that make sense: then it is a disk's, whatever old
/// filesystem begins there as well.
fn has_table(sector: &[u8; SECTOR], sectors: u64) -> bool {
    let mbr = Mbr::parse(sector).ok().filter(|mbr| mbr.check(sectors).is_ok());
    mbr.is_some_and(|mbr| mbr.entries().iter().any(|entry| entry.kind != 0))
}

/// Prints what the loader on a CD has at an address that it told of; whether that is known.
fn at(path: &Path, address: u32) -> Result<bool> {
    let mut machine = IsoFile::open(path)?;
    let cd = Iso::open(&mut machine).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    let read = cd.read_file(&mut machine, crate::iso::LOADER, 1 << 20);
    let loader = read.map_err(|error| anyhow!("{}: {}: {error}", path.display(), crate::iso::LOADER))?;
    if !loader::is_ours(&loader) {
        println!("the loader on this CD is another than this tool's; ask the `knownstate` that made the CD");
        return Ok(false);
    }
    let places = loader::places(address);
    match places.split_first() {
        None => println!("{address:08X} is in no function of the loader"),
        Some((place, callers)) => {
            println!("{address:08X} {place}");
            callers.iter().for_each(|caller| println!("    in   {caller}"));
        }
    }
    Ok(!places.is_empty())
}

fn iso(machine: &mut IsoFile, cd: &Iso) -> Result<bool> {
    let Ok(text) = cd.read_file(machine, logic::FILE, logic::MAX_BYTES) else {
        println!("ISO 9660 without a {}: not a recovery CD", logic::FILE);
        return Ok(false);
    };
    let text = String::from_utf8_lossy(&text);
    let parsed = logic::parse(&text);
    let name = parsed.as_ref().ok().and_then(Program::cd).map_or(String::new(), named);
    println!("recovery CD{name}");
    match cd.read_file(machine, crate::iso::LOADER, 1 << 20) {
        Ok(bytes) => println!("loader  {} bytes, id {}", bytes.len(), hex(loader::id(&bytes).unwrap_or_default())),
        Err(error) => println!("loader  {error}"),
    }
    match parsed {
        Ok(program) => {
            let good = images(machine, cd, &program);
            println!("{}, {} steps:\n{text}", logic::FILE, program.steps().len());
            Ok(good)
        }
        Err(diagnostics) => {
            for diagnostic in &diagnostics {
                println!("{}", diagnostic.render(logic::FILE, &text));
            }
            Ok(false)
        }
    }
}

/// What a CD is called, and was before.
fn named(cd: &Cd) -> String {
    let was = cd.was.iter().map(|name| format!("\"{name}\""));
    let was = was.reduce(|all, name| all + ", " + &name).map_or(String::new(), |was| format!(", earlier {was}"));
    format!(" \"{}\" version {}{was}", cd.name, cd.version)
}

/// The images of a CD, each a line; whether all of their tables are good.
fn images(machine: &mut IsoFile, cd: &Iso, program: &Program) -> bool {
    let mut paths: Vec<String> = program.partition_indexes().filter_map(|p| program.image_path(p)).collect();
    paths.dedup();
    let mut good = true;
    for path in paths {
        match Table::on_cd(machine, cd, &path).and_then(|image| describe(machine, &image)) {
            Ok(line) => println!("image   {line}"),
            Err(why) => {
                println!("image   {why}");
                good = false;
            }
        }
    }
    good
}

/// What an image or a seal describes, if all of its table is good.
fn describe(machine: &mut IsoFile, table: &Table) -> Result<String, String> {
    table.check_names(machine)?;
    let mut entries = table.entries();
    while entries.next(machine)?.is_some() {}
    let header = &table.header;
    let mut hasher = Sha256::new();
    table.identified(machine, |piece| hasher.update(piece))?;
    if hasher.finalize()[..] != header.identity[..] {
        return Err(format!("{}: the SHA-256 of its table is not the one in the header", table.name()));
    }
    Ok(format!(
        "{}: {} sectors, {} of them in {} chunks, {} protected, {} bytes, SHA-256 {}",
        table.name(),
        header.sectors.0,
        header.described,
        header.chunks,
        header.protected,
        header.file_bytes,
        hex(&header.identity)
    ))
}

/// Boot sector, filesystem and bstate.txt of one partition; whether all are good.
fn partition(volume: &mut FileVolume) -> bool {
    let mut sector = [0; SECTOR];
    let fault = match volume.read(Offset(0), &mut sector) {
        Ok(()) => boot_sector::fault(&sector).map(str::to_string),
        Err(error) => Some(error.to_string()),
    };
    println!("        boot sector: {}", fault.as_deref().unwrap_or("ok"));
    let filesystem = match Filesystem::open(volume) {
        Ok(filesystem) => filesystem,
        Err(error) => {
            println!("        filesystem: {error}");
            return false;
        }
    };
    println!("        filesystem: {}", filesystem.name());
    let state = filesystem.find(volume, bstate::FILE).and_then(|start| {
        let mut record = [0; SECTOR];
        volume.read(start.at, &mut record).map_err(|error| FsError::Io { at: start.at, error })?;
        Ok((start, record))
    });
    match state {
        Err(error) => println!("        {}: {error}", bstate::FILE),
        Ok((start, record)) => {
            let verdict = match Record::parse(&record) {
                Ok(Parsed::Valid(_)) => "valid".to_string(),
                Ok(Parsed::Edited { .. }) => "edited by a person".to_string(),
                Err(fault) => fault.to_string(),
            };
            println!("        {}: {verdict}, {} bytes, first sector {}", bstate::FILE, start.bytes, start.at.0);
            for line in String::from_utf8_lossy(&record).lines().filter(|l| !l.trim().is_empty()) {
                println!("          {line}");
            }
        }
    }
    fault.is_none()
}
