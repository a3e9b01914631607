//! Disk files in a machine in memory, which counts writes; and under the tool itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use knownstate_core::machine::Ending;

use super::cds::Cd;
use super::file;
use super::table::{self, Entry};
use crate::common::machine::{Happened, PAGE, Pc, Sectors, word};
use crate::common::tools::{knownstate, text};

/// So many starts, and a machine that was not handed over never will be.
const MOST_STARTS: usize = 8;

/// What came of it.
pub struct Outcome {
    /// How the last start ended, in a word.
    pub ending: String,
    /// The disk that it was handed over to.
    pub booted: Option<usize>,
    /// What was told, start after start.
    pub log: Vec<String>,
    pub writes: Vec<(usize, u64, usize)>,
    before: Vec<Sectors>,
    pub pc: Pc,
}

/// Switches a machine on until it hands over or holds.
pub fn run(cd: &Cd, disks: &[PathBuf]) -> Outcome {
    let disks = disks.iter().zip(0x80..).map(|(path, drive)| file::load(drive, path)).collect();
    start(Pc::new(cd.iso.clone(), disks))
}

/// The same with a machine that is there already.
pub fn start(mut pc: Pc) -> Outcome {
    let before = pc.disks.iter().map(|d| d.sectors.clone()).collect();
    for disk in &mut pc.disks {
        // Everything may be written, and is judged afterwards.
        disk.allowed = std::iter::once(0..disk.info.sectors).collect();
    }
    // Not every sector that is read is noted then, which takes time.
    pc.happened = Some(Vec::new());
    let (mut log, mut writes, mut ending) = (Vec::new(), Vec::new(), String::new());
    let mut booted = None;
    for _ in 0..MOST_STARTS {
        let end = pc.start();
        log.extend(pc.log().iter().map(ToString::to_string));
        writes.extend(wrote(&pc));
        ending = word(&end);
        if let Ending::HandOff(to) = &end {
            booted = pc.disks.iter().position(|d| d.info.drive == to.drive);
        }
        if !matches!(end, Ending::Restart) {
            break;
        }
    }
    Outcome { ending, booted, log, writes, before, pc }
}

fn wrote(pc: &Pc) -> Vec<(usize, u64, usize)> {
    let happened = pc.happened.iter().flatten();
    let wrote = happened.filter_map(|h| match h {
        Happened::Wrote { disk, at, data, .. } => Some((*disk, *at, data.len() / 512)),
        Happened::Said(_) => None,
    });
    wrote.collect()
}

impl Outcome {
    /// The sectors of a disk that hold something else than before.
    pub fn changed(&self, disk: usize) -> BTreeSet<u64> {
        let (now, before) = (&self.pc.disks[disk].sectors, &self.before[disk]);
        let mut changed = BTreeSet::new();
        for (page, bytes) in now.pages_unlike(before) {
            let mut old = [0; 8192];
            before.read(page * PAGE, &mut old);
            let differs = bytes.chunks(512).zip(old.chunks(512)).enumerate().filter(|(_, (a, b))| a != b);
            changed.extend(differs.map(|(n, _)| page * PAGE + n as u64));
        }
        changed
    }

    /// The table of a disk as it is read after the run; `path` has it as it was.
    pub fn table_after(&self, disk: usize, path: &Path) -> Vec<Entry> {
        let after = path.with_extension("after");
        file::copy(path, &after);
        for at in self.changed(disk) {
            file::poke(&after, at * 512, &self.pc.disks[disk].sector(at));
        }
        let entries = table::all(&after);
        std::fs::remove_file(after).unwrap();
        entries
    }

    /// The writes to a disk that have a sector of an entry.
    pub fn inside(&self, disk: usize, entry: &Entry) -> Vec<(u64, usize)> {
        let on = self.writes.iter().filter(|w| w.0 == disk && entry.meets(w.1, w.2 as u64));
        on.map(|w| (w.1, w.2)).collect()
    }

    /// Whether any line has one of these words, in whatever case.
    pub fn tells(&self, words: &[&str]) -> bool {
        let log = self.log.join("\n").to_lowercase();
        words.iter().any(|word| log.contains(&word.to_lowercase()))
    }

    /// For a failure: what was told, and what was written.
    pub fn report(&self) -> String {
        let some = |text: Vec<String>| {
            let more = text.len().saturating_sub(40);
            format!(
                "{}{}",
                text[..text.len() - more].join("\n    "),
                if more > 0 { format!("\n    and {more} more") } else { String::new() }
            )
        };
        let writes = self.writes.iter().map(|(disk, at, sectors)| format!("disk {disk}: {sectors} from {at}"));
        format!(
            "ended in: {}\n  it said:\n    {}\n  it wrote:\n    {}",
            self.ending,
            some(self.log.clone()),
            some(writes.collect())
        )
    }
}

/// Runs the tool on copies of the disks: what it said, and whether it left each of them as it was.
pub fn by_the_tool(cd: &Cd, disks: &[PathBuf], folder: &Path) -> (String, Vec<bool>) {
    let copies: Vec<PathBuf> = (0..disks.len()).map(|n| folder.join(format!("copy{n}"))).collect();
    disks.iter().zip(&copies).for_each(|(disk, to)| file::copy(disk, to));
    let words: Vec<String> = copies.iter().map(|copy| format!("-={}", text(copy))).collect();
    let mut arguments = vec!["simulate", text(&cd.iso_path), "--write"];
    words.iter().for_each(|word| arguments.extend(["--disk", word]));
    let ran = knownstate(&arguments);
    let same = disks.iter().zip(&copies).map(|(disk, copy)| file::same(disk, copy)).collect();
    copies.iter().for_each(|copy| std::fs::remove_file(copy).unwrap());
    (format!("{}{}", ran.out, ran.err), same)
}
