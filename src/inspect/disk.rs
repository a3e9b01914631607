//! A disk's table, each entry read by itself, and whose marks are on it.

use std::path::Path;

use anyhow::{Result, bail};
use knownstate_core::disks::{Kept, entries_of};
use knownstate_core::machine::{DiskId, Machine};
use knownstate_core::media::marks::{self, Marks, On, is_extended, owner_of_type};
use knownstate_core::media::mbr::Mbr;
use knownstate_core::media::note::Note;
use knownstate_core::units::{Lba, SECTOR};

use super::partition;
use crate::files::{FileVolume, IsoFile};

/// Prints what is on a disk; whether all of that is as it should be.
pub fn run(path: &Path) -> Result<bool> {
    let mut machine = IsoFile::open(path)?;
    let sectors = machine.sectors();
    let mut sector = [0; SECTOR];
    if sectors == 0 {
        bail!("{} is shorter than one sector", path.display());
    }
    println!("disk, {sectors} sectors");
    let mbr = match machine.read_disk(IsoFile::DISK, Lba(0), &mut sector) {
        Ok(()) => Mbr::parse(&sector).map_err(|fault| fault.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let known = match &mbr {
        Ok(mbr) => head(mbr, sectors),
        Err(why) => {
            println!("MBR     {why}");
            false
        }
    };
    if let Some(note) = Note::parse(&sector) {
        println!("note    {}", of_note(&note));
    }
    tell(&marks::look(&mut machine, IsoFile::DISK, Lba(0), sectors, On::Disk), "");
    Ok(match mbr {
        Ok(mbr) => known & entries(path, &mut machine, &mbr)?,
        Err(_) => false,
    })
}

/// Prints what the MBR says of the disk; whether its entries make sense.
fn head(mbr: &Mbr, sectors: u64) -> bool {
    println!("MBR     signature {:08X}", mbr.disk_signature());
    let fault = mbr.check(sectors).err();
    if let Some(fault) = fault {
        println!("MBR     {fault}");
    }
    fault.is_none()
}

/// Prints every entry, and what is in it; whether all of that is known.
fn entries(path: &Path, machine: &mut IsoFile, mbr: &Mbr) -> Result<bool> {
    let sectors = machine.sectors();
    let mut known = true;
    for (n, entry) in mbr.entries().iter().enumerate().filter(|(_, entry)| entry.kind != 0) {
        let active = if entry.active { ", active" } else { "" };
        println!("entry {} start {} sectors {} type {:02x}{active}", n + 1, entry.start, entry.sectors, entry.kind);
        known &= content(path, machine, entry.kind, entry.start.into(), entry.sectors.into())?;
    }
    let (listed, unreadable) = entries_of(machine, IsoFile::DISK, sectors, mbr);
    for entry in listed.iter().filter(|entry| entry.slot.is_none()) {
        println!("logical start {} sectors {} type {:02x}", entry.start, entry.sectors, entry.kind);
        known &= content(path, machine, entry.kind, entry.start, entry.sectors)?;
    }
    if let Some((at, error)) = unreadable {
        println!("table   at sector {}: {error}", at.0);
    }
    Ok(known && unreadable.is_none())
}

/// Prints what is in one entry.
fn content(path: &Path, machine: &mut IsoFile, kind: u8, start: u64, sectors: u64) -> Result<bool> {
    if let Some(owner) = owner_of_type(kind) {
        println!("        type: {owner}");
    }
    let Some(sectors) = on_disk(start, sectors, machine.sectors()) else {
        println!("        not on this disk");
        return Ok(false);
    };
    let known = is_extended(kind) || partition(&mut FileVolume::part(path, start, sectors)?);
    tell(&marks::look(machine, IsoFile::DISK, Lba(start), sectors, On::Partition), "        ");
    Ok(known)
}

/// As many of an entry's sectors as are on the disk: what has no length still begins somewhere.
pub fn on_disk(start: u64, sectors: u64, disk: u64) -> Option<u64> {
    let left = disk.checked_sub(start).filter(|&left| left > 0)?;
    Some(if sectors == 0 { left } else { sectors.min(left) })
}

/// Prints whose marks were found.
pub fn tell(marks: &Marks, indent: &str) {
    let label = if indent.is_empty() { "mark   " } else { "mark:" };
    for found in &marks.found {
        println!("{indent}{label} {} at sector {}", found.owner, found.at.0);
    }
    if let Some((at, error)) = marks.unreadable {
        println!("{indent}{label} sector {} can't be read: {error}", at.0);
    }
}

/// What a note of an unfinished restore says.
pub fn of_note(note: &Note) -> String {
    let cd = if note.cd.is_empty() { String::new() } else { format!(" by CD \"{}\"", note.cd) };
    let set = note.set.map_or(String::new(), |set| format!(", set {set:08X}"));
    format!("a restore was begun{cd} and is not finished{set}")
}

/// Every entry of a disk, with the marks that are in it.
pub fn marked_entries(machine: &mut dyn Machine, id: DiskId, disk_sectors: u64, mbr: &Mbr) -> Vec<(Kept, Marks)> {
    let (listed, _) = entries_of(machine, id, disk_sectors, mbr);
    let marked = listed.into_iter().map(|entry| {
        let sectors = on_disk(entry.start, entry.sectors, disk_sectors).unwrap_or(0);
        let marks = marks::look(machine, id, Lba(entry.start), sectors, On::Partition);
        (entry, marks)
    });
    marked.collect()
}
