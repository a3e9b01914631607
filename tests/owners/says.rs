//! What blkid and wipefs say.

use std::path::Path;

use super::table::Entry;
use crate::common::tools::{run, text};

/// A mark that wipefs names on the whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its first byte.
    pub at: u64,
    pub name: String,
}

/// Everything that would be wiped from a whole disk.
pub fn wipefs(disk: &Path) -> Vec<Mark> {
    let said = run("wipefs", &["--no-act", "--noheadings", "--output", "OFFSET,TYPE", text(disk)]);
    assert_eq!(said.code, 0, "wipefs: {}", said.err);
    said.out.lines().filter_map(mark).collect()
}

fn mark(line: &str) -> Option<Mark> {
    let (at, name) = line.trim().split_once(' ')?;
    let at = u64::from_str_radix(at.trim_start_matches("0x"), 16).ok()?;
    Some(Mark { at, name: name.trim().to_string() })
}

/// What a whole disk is, or nothing.
pub fn blkid(disk: &Path) -> String {
    probe(&["-p", "-o", "export", text(disk)])
}

/// What a part of a disk is, or nothing: as a kernel would show it that believes the entry.
pub fn blkid_at(disk: &Path, start: u64, sectors: u64) -> String {
    let (offset, size) = ((start * 512).to_string(), (sectors * 512).to_string());
    probe(&["-p", "-o", "export", "-O", &offset, "-S", &size, text(disk)])
}

fn probe(arguments: &[&str]) -> String {
    let said = run("blkid", arguments);
    let wanted = ["TYPE=", "PTTYPE="];
    let names: Vec<&str> = said.out.lines().filter(|l| wanted.iter().any(|w| l.starts_with(w))).collect();
    // 2: nothing; 8: several at once.
    match said.code {
        8 => "several".to_string(),
        _ => names.join(" "),
    }
}

/// What an entry is, as far as it is on the disk.
pub fn of_entry(disk: &Path, entry: &Entry, disk_sectors: u64) -> String {
    let end = entry.end().min(disk_sectors);
    if entry.is_extended() || entry.start == 0 || entry.start >= end {
        return String::new();
    }
    let name = blkid_at(disk, entry.start, end - entry.start);
    // Those stand on whole disks alone; a file is a whole disk to blkid, wherever it is told to look.
    if is_bios_raid(&name) { String::new() } else { name }
}

/// Whether it is the name of metadata that the firmware of a disk controller writes.
fn is_bios_raid(name: &str) -> bool {
    name.contains("_raid_member") && !name.contains("linux_raid_member")
}

/// Names of all kinds, for a report and to see whether there are any.
pub fn everything(disk: &Path, entries: &[Entry], disk_sectors: u64) -> Vec<String> {
    let mut names: Vec<String> = wipefs(disk)
        .into_iter()
        .filter(|m| m.name != "dos")
        .map(|m| format!("{} at byte {:#x}", m.name, m.at))
        .collect();
    for entry in entries {
        let name = of_entry(disk, entry, disk_sectors);
        if !name.is_empty() {
            names.push(format!("{name} in the entry at {}", entry.start));
        }
    }
    names
}
