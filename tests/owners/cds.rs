//! The CDs of the shelf, as they are shipped, on a small image; and the disks that they make.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::file;
use crate::common::images::{build, fat, state_sector, unpack};
use crate::common::tools::{self, must, text};

/// A declared partition.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    /// Its disk's number, from 0.
    pub disk: usize,
    pub start: u64,
    pub sectors: u64,
    pub kind: u8,
    pub has_image: bool,
}

/// A declared disk.
#[derive(Clone, Debug)]
pub struct Declared {
    pub name: String,
    pub sectors: u64,
    pub at_least: bool,
    pub signature: Option<u32>,
}

/// A CD, what it declares, and the factory's disks.
pub struct Cd {
    pub name: String,
    pub iso: Arc<Vec<u8>>,
    pub iso_path: PathBuf,
    pub disks: Vec<Declared>,
    pub parts: Vec<Part>,
    /// The sector of the image that has the record.
    pub state: u64,
    provisioned: Mutex<BTreeMap<usize, PathBuf>>,
    folder: PathBuf,
}

/// All of them, in a folder that goes away with it.
pub struct Shelf {
    folder: tempfile::TempDir,
    cds: Vec<Cd>,
}

pub const FLOWS: [&str; 8] =
    ["default", "figure4", "ab-update", "one-partition", "three-partitions", "two-disks", "data-disk", "diskless"];

impl Shelf {
    /// Every flow that is shipped, and the default with other words about its disk.
    pub fn new() -> Self {
        let folder = tools::temporary();
        image(folder.path());
        let flow = |name: &str| fs::read_to_string(format!("iso/logic/{name}.txt")).unwrap();
        let mut cds: Vec<Cd> = FLOWS.iter().map(|name| Cd::new(folder.path(), name, &flow(name))).collect();
        let other = |name: &str, words: &str| {
            let logic = flow("default").replace("disk system sectors 2097152", &format!("disk system {words}"));
            Cd::new(folder.path(), name, &logic)
        };
        cds.push(other("at least", "sectors 2097152.."));
        cds.push(other("signature", "sectors 2097152 signature 12345678"));
        Self { folder, cds }
    }

    pub fn cd(&self, name: &str) -> &Cd {
        self.cds.iter().find(|cd| cd.name == name).unwrap_or_else(|| panic!("no CD is called {name}"))
    }

    /// The folder of the image, for more CDs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// 4 MiB of FAT16 whose boot sector only stops, but is nobody's stub.
fn image(folder: &Path) {
    fat(folder, "system.img", 4096, "-F 16 -s 1");
    let mut code = [0; 448];
    code[..2].copy_from_slice(&[0xEB, 0xFE]);
    file::poke(&folder.join("system.img"), 62, &code);
}

impl Cd {
    /// Builds one; its files are called by `name`.
    pub fn new(folder: &Path, name: &str, logic: &str) -> Self {
        let own = folder.join(name.replace(' ', "-"));
        fs::create_dir_all(&own).unwrap();
        fs::copy(folder.join("system.img"), own.join("system.img")).unwrap();
        let iso = build(&own, logic);
        let (disks, parts) = declared(logic);
        let state = state_sector(&unpack(&iso, "images/system.img").0);
        let name = name.to_string();
        Self {
            name,
            iso,
            iso_path: own.join("cd.iso"),
            disks,
            parts,
            state,
            provisioned: Mutex::default(),
            folder: own,
        }
    }

    /// A copy of the disk that the factory makes for declaration `disk`.
    pub fn factory(&self, disk: usize, to: &Path) {
        file::copy(&self.made(disk), to);
    }

    /// The factory's own one, only to be read.
    pub fn made(&self, disk: usize) -> PathBuf {
        let mut made = self.provisioned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if made.is_empty() {
            // All at once, so that they are one set.
            let wanted: Vec<usize> = (0..self.disks.len()).filter(|&n| self.on(n).any(|p| p.has_image)).collect();
            let path = |n: usize| self.folder.join(format!("disk{n}"));
            let words: Vec<String> =
                wanted.iter().map(|&n| format!("{}={}", self.disks[n].name, text(&path(n)))).collect();
            let mut arguments = vec!["provision", text(&self.iso_path)];
            words.iter().for_each(|word| arguments.extend(["--disk", word]));
            must(env!("CARGO_BIN_EXE_knownstate"), &arguments);
            made.extend(wanted.into_iter().map(|n| (n, path(n))));
        }
        made[&disk].clone()
    }

    /// The partitions of a declared disk.
    pub fn on(&self, disk: usize) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |p| p.disk == disk)
    }

    /// The disk's sector that has the partition's record.
    pub fn state_at(&self, part: &Part) -> u64 {
        part.start + self.state
    }
}

/// What logic.txt declares, read by its words.
fn declared(logic: &str) -> (Vec<Declared>, Vec<Part>) {
    let (mut disks, mut parts) = (Vec::<Declared>::new(), Vec::new());
    for line in logic.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| words.iter().position(|w| *w == word).map(|n| words[n + 1]);
        match words.first() {
            Some(&"disk") => {
                let size = after("sectors").unwrap();
                disks.push(Declared {
                    name: words[1].to_string(),
                    sectors: size.trim_end_matches('.').parse().unwrap(),
                    at_least: size.ends_with(".."),
                    signature: after("signature").map(|hex| u32::from_str_radix(hex, 16).unwrap()),
                });
            }
            Some(&"partition") => parts.push(Part {
                name: words[1].to_string(),
                disk: disks.iter().position(|d| Some(d.name.as_str()) == after("on")).unwrap(),
                start: after("start").unwrap().parse().unwrap(),
                sectors: after("sectors").unwrap().parse().unwrap(),
                kind: u8::from_str_radix(after("type").unwrap(), 16).unwrap(),
                has_image: after("image").is_some(),
            }),
            _ => {}
        }
    }
    (disks, parts)
}
