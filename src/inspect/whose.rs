//! `knownstate inspect DISK ... --logic LOGIC`: which of the declared disks each is, and why, or why not. It is
//! core's own search that answers, with the disks as the machine's drives in the order in which they are given.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use knownstate_core::disks::{Chosen, Kept, Known, Look, Scope, Search, Standing, fits};
use knownstate_core::event::Line;
use knownstate_core::logic::{DiskIndex, Partition, Program, Size};
use knownstate_core::machine::{DiskId, Machine as _};
use knownstate_core::media::iso9660::Iso;
use knownstate_core::media::marks::{self, Found, Marks, On};
use knownstate_core::media::mbr::{Entry, Mbr};
use knownstate_core::units::{Lba, SECTOR};

use super::disk::{marked_entries, of_note};
use crate::simulate::cd::Cd;
use crate::simulate::drive::open_all;
use crate::simulate::faults::Faults;
use crate::simulate::machine::{FileMachine, Listener, MOST_DRIVES};

/// Prints what each disk is to each declaration; whether every declaration has its disk.
///
/// # Errors
/// When a file can't be used.
pub fn run(paths: &[PathBuf], logic: &Path, images: Option<&Path>) -> Result<bool> {
    if paths.len() > MOST_DRIVES {
        bail!("{} disks are given; the loader looks at {MOST_DRIVES}", paths.len());
    }
    let (cd, missing) = Cd::open_partly(logic, images)?;
    let program = cd.program()?;
    let drives = open_all(paths, false)?;
    let mut machine = FileMachine::new(cd.file()?, drives, Faults::default(), Box::new(Nobody));
    let iso = Iso::open(&mut machine).map_err(|error| anyhow!("{error}"))?;
    let disks: Vec<Survey> =
        paths.iter().enumerate().map(|(n, path)| Survey::of(&mut machine, DiskId(n), path)).collect();
    disks.iter().for_each(Survey::print);
    if !missing.is_empty() {
        println!("the image of {} is not there: a proof that needs it is not seen", missing.join(" and of "));
    }
    let mut known = Known::default();
    let mut search = Search { machine: &mut machine, cd: Some(&iso), program, known: &mut known };
    let answers: Vec<Answer> = program.disk_indexes().map(|disk| Answer::of(&mut search, disk, disks.len())).collect();
    for answer in &answers {
        println!();
        answer.print(program, &disks, &answers);
    }
    Ok(answers.iter().all(|answer| answer.chosen().is_some()))
}

/// What is on a disk, whoever looks at it.
struct Survey<'a> {
    path: &'a Path,
    /// The number by which a BIOS would know it.
    drive: u8,
    sectors: u64,
    mbr: Option<Mbr>,
    marks: Marks,
    entries: Vec<(Kept, Marks)>,
}

impl<'a> Survey<'a> {
    fn of(machine: &mut FileMachine, id: DiskId, path: &'a Path) -> Self {
        let info = machine.disks().get(id.0).copied();
        let (drive, sectors) = info.map_or((0, 0), |info| (info.drive, info.sectors));
        let mut sector = [0; SECTOR];
        let mbr = machine.read_disk(id, Lba(0), &mut sector).ok().and_then(|()| Mbr::parse(&sector).ok());
        let marks = marks::look(machine, id, Lba(0), sectors, On::Disk);
        let entries = mbr.as_ref().map_or_else(Vec::new, |mbr| marked_entries(machine, id, sectors, mbr));
        Self { path, drive, sectors, mbr, marks, entries }
    }

    fn print(&self) {
        let table = match &self.mbr {
            Some(mbr) => format!("signature {:08X}", mbr.disk_signature()),
            None => "no partition table".to_string(),
        };
        println!("{}: drive {:02X}, {} sectors, {table}", self.path.display(), self.drive, self.sectors);
        for found in &self.marks.found {
            fact("mark", of_mark(found));
        }
        for (entry, marks) in &self.entries {
            let owners: Vec<String> = marks.found.iter().map(of_mark).collect();
            let owners = if owners.is_empty() { "no mark".to_string() } else { owners.join(", ") };
            fact("in it", format!("{entry}: {owners}"));
        }
    }
}

/// What a declaration comes to.
struct Answer {
    disk: DiskIndex,
    /// What each disk is to it.
    looks: Vec<Result<Look, String>>,
    /// The disk that every step takes, or only `restore D`; or why none does.
    found: Result<Chosen, String>,
    to_restore: Result<Chosen, String>,
}

impl Answer {
    fn of(search: &mut Search<'_>, disk: DiskIndex, disks: usize) -> Self {
        let looks = (0..disks).map(|n| search.look(DiskId(n), disk)).collect();
        Self { disk, looks, found: search.find(disk, true), to_restore: search.find_to_restore(disk) }
    }

    fn chosen(&self) -> Option<&Chosen> {
        self.found.as_ref().or(self.to_restore.as_ref()).ok()
    }

    fn has(&self, disk: &Survey<'_>) -> Option<&Chosen> {
        self.chosen().filter(|chosen| chosen.claim.drive() == disk.drive)
    }

    fn print(&self, program: &Program, disks: &[Survey<'_>], answers: &[Self]) {
        let declared = program.disk(self.disk);
        let size = size_in_words(declared.sectors);
        match self.chosen() {
            Some(chosen) => {
                println!("disk {}, {size}: {}", declared.name, self.named(disks));
                if !chosen.remark.is_empty() {
                    println!("  {}", chosen.remark);
                }
            }
            None => println!("disk {}, {size}: none", declared.name),
        }
        if let (None, Err(why)) = (self.chosen(), &self.to_restore) {
            println!("  the loader says: {why}");
        }
        for (disk, look) in disks.iter().zip(&self.looks) {
            match look {
                Ok(look) => self.print_look(program, disk, look, disks, answers),
                Err(why) => println!("  {}: {why}", disk.path.display()),
            }
        }
    }

    /// What one disk is to this declaration.
    fn print_look(&self, program: &Program, disk: &Survey<'_>, look: &Look, disks: &[Survey<'_>], answers: &[Self]) {
        let declared = program.disk(self.disk);
        println!("  {}: {}", disk.path.display(), standing_in_words(&look.standing));
        fact("size", compared(declared.sectors, disk.sectors));
        let but = if look.kept().is_empty() || self.has(disk).is_none() { "" } else { ", but for what is kept" };
        fact("written", self.written(program, disk) + but);
        if let Some(why) = self.passed_over(program, disk, look, disks, answers) {
            fact("not taken", why);
        }
        if let Some(note) = look.note() {
            fact("note", of_note(note));
        }
        for kept in look.kept() {
            fact("kept", format!("{kept} is not declared: {}", self.in_the_way(program, kept)));
        }
        for line in self.old_marks(program, disk, look) {
            fact("old mark", line);
        }
        // What another declaration has is not to be emptied for this one.
        if self.chosen().is_none() && !answers.iter().any(|answer| answer.has(disk).is_some()) {
            remedies(program, self.disk, disk, look).iter().for_each(|remedy| fact("remedy", remedy));
        }
    }

    /// What the loader may write of a disk.
    fn written(&self, program: &Program, disk: &Survey<'_>) -> String {
        let name = &program.disk(self.disk).name;
        let Some(chosen) = self.has(disk) else { return "nothing".to_string() };
        let has_images = program.partitions_on(self.disk).any(|p| program.partition(p).image.is_some());
        match chosen.claim.scope() {
            Scope::All => "all of it, by `heal`, `repair mbr`, `restore`".to_string(),
            Scope::Restore => format!("by `restore {name}` only, all of it"),
            Scope::State => "bstate.txt and nothing else".to_string(),
            Scope::Nothing if !has_images => "nothing: no partition of it has an image".to_string(),
            Scope::Nothing => "nothing".to_string(),
        }
    }

    /// The path of the disk that is taken.
    fn named(&self, disks: &[Survey<'_>]) -> String {
        let path = disks.iter().find(|disk| self.has(disk).is_some()).map(|disk| disk.path.display().to_string());
        path.unwrap_or_default()
    }

    /// For a disk that could be this one and is not taken for it: as which other one it is, or that another disk is
    /// taken. Nothing where it is taken, or where the loader's words tell.
    fn passed_over(
        &self,
        program: &Program,
        disk: &Survey<'_>,
        look: &Look,
        disks: &[Survey<'_>],
        answers: &[Self],
    ) -> Option<String> {
        if self.has(disk).is_some() {
            return None;
        }
        if let Some(other) = answers.iter().find(|answer| answer.has(disk).is_some()) {
            return Some(format!("it is disk {}", program.disk(other.disk).name));
        }
        if !matches!(look.standing, Standing::Ours { .. } | Standing::Blank) {
            return None;
        }
        self.chosen().map(|_| format!("{} is disk {}", self.named(disks), program.disk(self.disk).name))
    }

    /// What an entry that is kept means for the declared partitions.
    fn in_the_way(&self, program: &Program, kept: &Kept) -> String {
        let partitions = program.partitions_on(self.disk).map(|p| program.partition(p));
        let hit = partitions.filter(|p| kept.overlaps(p.start.0, p.start.0.saturating_add(p.sectors.0)));
        let names: Vec<&str> = hit.map(|p| p.name.as_str()).collect();
        if names.is_empty() {
            return "no step drops it or writes into it".to_string();
        }
        let names = names.join(" and ");
        format!("it reaches into {names}, so {names} is not written; delete that entry, or declare it")
    }

    /// Marks that are somebody's on a disk that is ours, and what becomes of them.
    fn old_marks(&self, program: &Program, disk: &Survey<'_>, look: &Look) -> Vec<String> {
        if !matches!(look.standing, Standing::Ours { .. }) {
            return Vec::new();
        }
        let partitions: Vec<&Partition> = program.partitions_on(self.disk).map(|p| program.partition(p)).collect();
        let within = |found: &Found| {
            let (at, end) = (found.at.0, found.at.0 + found.sectors);
            partitions.iter().find(|p| p.start.0 < end && at < p.start.0.saturating_add(p.sectors.0))
        };
        // What a partition begins with is its own filesystem.
        let is_tail = |found: &&Found| !found.from_beginning && within(found).is_some();
        let tails = disk.entries.iter().flat_map(|(_, marks)| &marks.found).filter(is_tail);
        let mut told: Vec<&Found> = Vec::new();
        for found in disk.marks.found.iter().chain(tails) {
            if !told.iter().any(|old| old.at == found.at) {
                told.push(found);
            }
        }
        told.sort_by_key(|found| found.at);
        let becomes = |found: &Found| match within(found) {
            Some(Partition { name, image: Some(_), .. }) => {
                format!(", in {name}: a restore of {name} clears it where the image leaves it free")
            }
            Some(Partition { name, .. }) => format!(", in {name}: it stays"),
            None if self.clears(disk, found) => ": a restore of the disk clears it".to_string(),
            None => ": it stays, and does no harm".to_string(),
        };
        told.into_iter().map(|found| format!("{}{}", of_mark(found), becomes(found))).collect()
    }

    /// Whether a restore takes a mark away that is in no declared partition.
    fn clears(&self, disk: &Survey<'_>, found: &Found) -> bool {
        let restored = self.to_restore.as_ref().ok().filter(|chosen| chosen.claim.drive() == disk.drive);
        restored.is_some_and(|chosen| found.at.0 == 0 || chosen.claim.clears(found.at.0))
    }
}

/// What a person can do who wants a disk to be taken.
fn remedies(program: &Program, wanted: DiskIndex, disk: &Survey<'_>, look: &Look) -> Vec<String> {
    let declared = program.disk(wanted);
    let mut remedies = Vec::new();
    let holds_map = disk.mbr.as_ref().filter(|mbr| mbr.has_map(&program.map(wanted)));
    let signature = holds_map.map(Mbr::disk_signature).filter(|&n| n != 0 && Some(n) != declared.signature);
    if let (Standing::Unclear { .. }, Some(signature)) = (&look.standing, signature) {
        remedies.push(format!("if it is this disk: `signature {signature:08X}` on its line in logic.txt"));
    }
    let general = look.standing.remedy();
    if !general.is_empty() {
        remedies.push(general.to_string());
    }
    // What takes the whole disk is not gone with an entry.
    if matches!(look.standing, Standing::Foreign(_) | Standing::Unclear { .. }) && disk.marks.found.is_empty() {
        remedies.extend(covering(program, wanted, disk).map(|entry| {
            format!("if nobody needs {entry}: delete it; what is left of ours under it counts again then")
        }));
    }
    remedies
}

/// The first entry that is not declared and reaches over the beginning of a declared partition.
fn covering(program: &Program, wanted: DiskIndex, disk: &Survey<'_>) -> Option<String> {
    let map = program.map(wanted);
    let entries = disk.entries.iter().map(|(entry, _)| entry);
    let strange = entries.filter(|entry| {
        let same =
            |e: &Entry| (e.kind, u64::from(e.start), u64::from(e.sectors)) == (entry.kind, entry.start, entry.sectors);
        !map.iter().any(same)
    });
    let mut strange = strange
        .filter(|entry| map.iter().any(|e| e.kind != 0 && entry.overlaps(e.start.into(), u64::from(e.start) + 1)));
    strange.next().map(ToString::to_string)
}

/// What a disk is, in a word, with the proof or the reason.
fn standing_in_words(standing: &Standing) -> String {
    let word = match standing {
        Standing::Ours { .. } => "ours",
        Standing::Blank => return "blank".to_string(),
        Standing::Foreign(_) => "somebody's",
        Standing::Unclear { .. } => "unclear",
        Standing::Never(_) => "never taken",
    };
    match standing {
        Standing::Ours { proof, scope: Scope::Restore } => format!("{word} with another layout, by its {proof}"),
        Standing::Ours { proof, .. } => format!("{word}, by its {proof}"),
        other => format!("{word}: it {}", other.reason()),
    }
}

fn compared(declared: Size, sectors: u64) -> String {
    let (Size::Exactly(least) | Size::AtLeast(least)) = declared;
    if fits(declared, sectors) {
        return format!("{sectors} sectors, as declared");
    }
    let (what, by) =
        if sectors > least.0 { ("more", sectors - least.0) } else { ("fewer", least.0.saturating_sub(sectors)) };
    format!("{sectors} sectors, {by} {what} than declared")
}

fn size_in_words(size: Size) -> String {
    match size {
        Size::Exactly(sectors) => format!("{} sectors", sectors.0),
        Size::AtLeast(sectors) => format!("{} sectors or more", sectors.0),
    }
}

fn of_mark(found: &Found) -> String {
    format!("{} at sector {}", found.owner, found.at.0)
}

fn fact(label: &str, text: impl Display) {
    println!("      {label:<10} {text}");
}

/// What the machine says is for nobody.
struct Nobody;

impl Listener for Nobody {
    fn line(&mut self, _line: &Line<'_>) {}
}
