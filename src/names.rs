//! What a filesystem is called, and who asks for it by that name.
//!
//! A copy of an image has the UUID and the label of the image. A system that finds its root by one of them may come
//! up on the other copy.

use std::collections::BTreeMap;

use knownstate_core::layout::Layout;
use knownstate_core::media::filesystem::{Filesystem, Volume};
use knownstate_core::units::SECTOR;

use crate::files::FileVolume;

/// As much of a configuration is read.
const MOST_BYTES: u64 = 1 << 20;
/// So many configurations of an image are read.
const MOST_FILES: usize = 256;

/// A name by which a filesystem can be found. As blkid prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// ext: the UUID. FAT: the serial number.
    Uuid(String),
    /// The label.
    Label(String),
}

/// A file that tells a system what to mount, or a boot loader what to tell it.
pub struct Config {
    /// Its path in the image.
    path: String,
    text: String,
}

/// What a filesystem is called.
pub fn of(filesystem: &Filesystem, volume: &mut FileVolume) -> Vec<Name> {
    let (uuid, label) = match filesystem {
        Filesystem::Ext(ext) => {
            let Ok((uuid, label)) = ext.names(volume) else { return Vec::new() };
            let hex = crate::images::hex(&uuid);
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
            (parts.join("-"), label.split(|&byte| byte == 0).next().unwrap_or_default().to_vec())
        }
        Filesystem::Fat(fat) => {
            let serial = fat.serial(volume).unwrap_or(0);
            let label = fat.label(volume).ok().flatten().unwrap_or_default();
            (format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF), label.trim_ascii_end().to_vec())
        }
    };
    let label = String::from_utf8_lossy(&label).into_owned();
    let is_set = |name: &Name| match name {
        Name::Uuid(uuid) => uuid.chars().any(|c| !matches!(c, '0' | '-')),
        // What some tools write where there is no label.
        Name::Label(label) => !label.trim_matches('\0').is_empty() && label != "NO NAME",
    };
    [Name::Uuid(uuid), Name::Label(label)].into_iter().filter(is_set).collect()
}

/// The configurations in an image that can be read.
pub fn configs(filesystem: &Filesystem, volume: &mut FileVolume, layout: &Layout) -> Vec<Config> {
    let paths = layout.owners.iter().chain(layout.links.iter().map(|(path, _)| path));
    let paths = paths.filter(|path| is_config(&path.to_lowercase())).take(MOST_FILES);
    let read = |path: &String| Some(Config { path: path.clone(), text: read(filesystem, volume, path)? });
    paths.filter_map(read).collect()
}

/// Whether a path, in lower case, is one where SYSLINUX, GRUB, a boot loader that goes by the Boot Loader
/// Specification, or a system looks.
fn is_config(path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    let ends = |endings: &[&str]| endings.iter().any(|ending| file.ends_with(ending));
    let is_loaders = ["syslinux", "extlinux", "grub", "grub2"].contains(&folder.rsplit('/').next().unwrap_or_default());
    ["syslinux.cfg", "extlinux.conf", "grub.cfg", "cmdline.txt"].contains(&file)
        || is_loaders && ends(&[".cfg", ".conf", ".lst"])
        || folder.ends_with("/loader/entries") && ends(&[".conf"])
        || ["/etc/fstab", "/etc/kernel/cmdline"].contains(&path)
}

/// A file's beginning.
fn read(filesystem: &Filesystem, volume: &mut FileVolume, path: &str) -> Option<String> {
    let map = filesystem.extents(volume, path.trim_start_matches('/')).ok()?;
    let mut content = Vec::new();
    for &(at, sectors) in &map.runs {
        let from = content.len();
        let left = (MOST_BYTES / SECTOR as u64).saturating_sub((from / SECTOR) as u64);
        content.resize(from + sectors.min(left) as usize * SECTOR, 0);
        volume.read(at, content.get_mut(from..)?).ok()?;
    }
    content.truncate(usize::try_from(map.bytes).unwrap_or(usize::MAX));
    Some(String::from_utf8_lossy(&content).into_owned())
}

/// Which names more than one partition has, and the partitions' names.
pub fn shared<'a>(partitions: impl Iterator<Item = (&'a str, &'a [Name])>) -> BTreeMap<&'a Name, Vec<&'a str>> {
    let mut all: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
    for (partition, names) in partitions {
        names.iter().for_each(|name| all.entry(name).or_default().push(partition));
    }
    all.retain(|_, partitions| partitions.len() > 1);
    all
}

/// What a configuration that asks for a filesystem by such a name may lead to, and what to do; nothing where it
/// does not ask.
pub fn warning(config: &Config, name: &Name, partitions: &[&str]) -> Option<String> {
    let (number, line) = config.text.lines().enumerate().find(|(_, line)| asks(line, name))?;
    let (what, change) = match name {
        Name::Uuid(uuid) if uuid.len() == 9 => (format!("serial number {uuid}"), "fatlabel -i IMAGE XXXXXXXX"),
        Name::Uuid(uuid) => (format!("UUID {uuid}"), "tune2fs -U random IMAGE"),
        Name::Label(label) => (format!("label \"{label}\""), "e2label or fatlabel IMAGE LABEL"),
    };
    let (path, number, all) = (&config.path, number + 1, partitions.join(" and "));
    let line: String = line.trim().chars().filter(|c| !c.is_control()).take(120).collect();
    Some(format!(
        "{path} line {number} asks for the {what}, which {all} have: started from one, the system may run on another \
         (`{line}`); give each partition an image of its own, with a name of its own ({change}), and ask for that"
    ))
}

/// Whether a line asks for a filesystem by this name.
fn asks(line: &str, name: &Name) -> bool {
    if line.trim_start().starts_with('#') {
        return false;
    }
    match name {
        Name::Uuid(uuid) => {
            let between = |c: char| c.is_whitespace() || "\"'`=,;:/(){}<>\\".contains(c);
            line.split(between).any(|word| word.eq_ignore_ascii_case(uuid))
        }
        Name::Label(label) => {
            let searches = line.split_whitespace().next().is_some_and(|verb| verb.starts_with("search"))
                && ["--label", "fs_label", " -l "].iter().any(|option| line.contains(option));
            searches && line.split_whitespace().any(|word| word.trim_matches(['"', '\'']) == label)
                || ["LABEL=", "by-label/"].iter().any(|before| values(line, before).any(|value| value == *label))
        }
    }
}

/// What stands behind each `before` in a line that does not itself stand behind a letter, as PARTLABEL= would.
fn values<'l>(line: &'l str, before: &'l str) -> impl Iterator<Item = String> + 'l {
    line.match_indices(before).filter_map(move |(at, _)| {
        if line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let rest = &line[at + before.len()..];
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = match quote {
            Some(quote) => rest[1..].split(quote).next(),
            None => rest.split(|c: char| c.is_whitespace() || c == '"' || c == '\'').next(),
        };
        // fstab(5) and udev write a space so.
        Some(value?.replace("\\040", " ").replace("\\x20", " "))
    })
}
