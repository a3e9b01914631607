//! Disks that are ours, and what happens to disks: grown and shrunk, cloned, with old marks beside the partitions,
//! without MBR, without heads, with partitions that somebody has added, in the middle of a restore. Under every flow
//! of the shelf each of them boots, and what is not ours on it or beside it stays as it is.

use std::path::{Path, PathBuf};

use super::cds::{Cd, FLOWS, Part, Shelf};
use super::content::{Content, for_partition};
use super::file::{self, make, poke, resize};
use super::layout::{Layout, pipe};
use super::machine::{self, Outcome};
use super::suite::{self, Case};
use super::table::{self, Entry};
use crate::common::hostile::Random;
use crate::common::machine::{Cut, Pc, Torn};
use crate::common::record;

/// Every so many cases run under the tool itself too.
const BY_THE_TOOL: usize = 12;

#[test]
fn every_disk_of_ours_boots() {
    let shelf = Shelf::new();
    suite::run("ours", 400, |case| {
        let flow = case.number % (FLOWS.len() + 1);
        let cd = shelf.cd(FLOWS.get(flow).copied().unwrap_or("at least"));
        World::new(cd, case).check()
    });
}

/// What was done to a machine, and what has to come of it.
struct World<'a> {
    cd: &'a Cd,
    case: &'a mut Case,
    done: Vec<String>,
    /// How many of the disks are ours; those behind them are others'.
    ours: usize,
    /// Whether there are two of one disk.
    cloned: bool,
    /// Entries that somebody has added, on which of ours.
    extra: Vec<(usize, Entry)>,
    mbr_lost: bool,
    /// Of which disk nobody can tell any more what lies behind our partitions.
    table_lost: Option<usize>,
    unreadable: Option<usize>,
    torn: Option<Cut>,
}

impl<'a> World<'a> {
    fn new(cd: &'a Cd, case: &'a mut Case) -> Self {
        let mut world = Self {
            cd,
            case,
            done: Vec::new(),
            ours: 0,
            cloned: false,
            extra: Vec::new(),
            mbr_lost: false,
            table_lost: None,
            unreadable: None,
            torn: None,
        };
        for disk in 0..cd.disks.len() {
            let path = world.case.disk();
            if world.parts(disk).is_empty() { world.data_disk(disk, &path) } else { cd.factory(disk, &path) }
        }
        world.ours = cd.disks.len();
        world.treat();
        world
    }

    /// The partitions with an image on a disk.
    fn parts(&self, disk: usize) -> Vec<Part> {
        self.cd.on(disk).filter(|p| p.has_image).cloned().collect()
    }

    fn random(&mut self) -> &mut Random {
        &mut self.case.random
    }

    fn chance(&mut self, in_many: usize) -> bool {
        self.random().below(in_many) == 0
    }

    fn note(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }

    fn path(&self, disk: usize) -> PathBuf {
        self.case.disks[disk].clone()
    }

    /// A disk that is declared and holds no image: somebody's data.
    fn data_disk(&mut self, disk: usize, path: &Path) {
        let declared = self.cd.disks[disk].sectors;
        make(path, declared + *self.random().pick(&[0, 2048]));
        let part = self.cd.on(disk).next().unwrap().clone();
        let lines = format!("label: dos\nstart={}, size={}, type={:x}\n", part.start, part.sectors, part.kind);
        pipe(path, &lines, "sfdisk -q --no-tell-kernel");
        Content::named("ext4").put(path, part.start, part.sectors);
    }

    /// Things that happen to disks, as many as go together.
    fn treat(&mut self) {
        let disk = self.case.random.below(self.ours);
        let disk = if self.parts(disk).is_empty() { 0 } else { disk };
        let mends = self.cd.name != "diskless";
        if self.chance(8) && mends && self.cd.disks.len() == 1 {
            return self.torn(disk);
        }
        let resized = self.chance(3);
        if resized {
            self.resize(disk);
        }
        if self.chance(3) {
            self.add_entries(disk);
        }
        match self.random().below(6) {
            0 | 1 if mends && !(resized && self.cd.disks.len() > 1) => self.break_mbr(disk),
            2 if !(resized && self.cd.disks.len() > 1) => self.harmless(disk),
            3 if self.cd.disks.len() == 1 => self.clone_of(disk),
            _ => {}
        }
        if self.chance(3) {
            self.old_mark(disk);
        }
        if !self.cloned && mends && self.chance(3) {
            self.break_heads(disk);
        } else if !self.mbr_lost && !self.cloned && self.chance(3) {
            self.states();
        }
        if self.chance(3) {
            self.neighbour();
        }
    }

    fn resize(&mut self, disk: usize) {
        let end = self.cd.on(disk).map(|p| p.start + p.sectors).max().unwrap();
        let declared = self.cd.disks[disk].sectors;
        let sizes = [declared + 1, declared + 2113, declared * 2, declared - 2113, end + 100_000, end + 8192];
        let sectors = *self.random().pick(&sizes);
        resize(&self.path(disk), sectors);
        self.note(format!("{sectors} sectors instead of {declared}"));
    }

    /// Partitions behind ours, with something in them.
    fn add_entries(&mut self, disk: usize) {
        let path = self.path(disk);
        let from = self.cd.on(disk).map(|p| p.start + p.sectors).max().unwrap().next_multiple_of(2048) + 2048;
        let room = file::sectors(&path).saturating_sub(from);
        if room < 8192 {
            return;
        }
        let size = room.min(*self.random().pick(&[8192, 65_536, 409_600, u64::MAX]));
        let before = table::all(&path);
        let kind = *self.random().pick(&["83", "7", "8e", "fd", "da"]);
        let lines = if size >= 65_536 && self.chance(2) {
            let half = size / 2 / 2048 * 2048;
            format!(
                "start={from}, size={size}, type=5\nstart={}, size={}, type={kind}\nstart={}, size={}, type=83\n",
                from + 2048,
                half - 4096,
                from + half,
                size - half
            )
        } else {
            format!("start={from}, size={size}, type={kind}\n")
        };
        let said = pipe(&path, &lines, "sfdisk -q --append --no-tell-kernel --wipe never --wipe-partitions never");
        let new: Vec<Entry> = table::all(&path).into_iter().filter(|e| !before.contains(e)).collect();
        for entry in new.iter().filter(|e| !e.is_extended()) {
            let fitting = for_partition(entry.sectors);
            let content = **self.random().pick(&fitting);
            content.put(&path, entry.start, entry.sectors);
            self.note(format!(
                "an added entry of type {:02x} at {} with {}{said}",
                entry.kind, entry.start, content.name
            ));
        }
        self.extra.extend(new.into_iter().map(|e| (disk, e)));
    }

    /// Sector 0 is gone or wrong. What is added is gone with it: nothing is known of it then.
    fn break_mbr(&mut self, disk: usize) {
        let path = self.path(disk);
        let noise: Vec<u8> = (0..510).map(|_| self.case.random.next() as u8).collect();
        let kind = self.random().below(7);
        let done = match kind {
            0 => ("sector 0 zeroed", 0, vec![0; 512]),
            1 => ("sector 0 is noise", 0, [noise, vec![0, 0]].concat()),
            2 => ("no entries", 446, vec![0; 64]),
            3 => ("no 55AA", 510, vec![0; 2]),
            4 => ("boot code altered", 100, vec![0x90; 16]),
            5 => ("boot code and signature altered", 100, noise[..344].to_vec()),
            _ => {
                self.unreadable = Some(disk);
                ("sector 0 unreadable", 0, Vec::new())
            }
        };
        poke(&path, done.1, &done.2);
        self.mbr_lost = true;
        if !matches!(kind, 4 | 5) {
            self.extra.retain(|(on, _)| *on != disk);
            self.table_lost = Some(disk);
        }
        self.note(done.0);
    }

    /// What people and systems do to an MBR.
    fn harmless(&mut self, disk: usize) {
        let path = self.path(disk);
        let several = self.parts(disk).len() > 1;
        match self.random().below(3) {
            0 => poke(&path, 440, &[0; 4]),
            1 => poke(&path, 440, &0xCAFE_F00D_u32.to_le_bytes()),
            _ => poke(&path, 444, &[0x5A, 0x5A]),
        }
        if several {
            poke(&path, 446, &[0x00]);
            poke(&path, 462, &[0x80]);
        }
        self.note("another active flag, signature or reserved bytes");
    }

    /// A copy of one of ours beside it.
    fn clone_of(&mut self, disk: usize) {
        let path = self.case.disk();
        let from = self.path(disk);
        file::copy(&from, &path);
        self.cloned = true;
        self.note("a clone beside it");
    }

    /// A mark of an earlier life, outside every entry.
    fn old_mark(&mut self, disk: usize) {
        let path = self.path(disk);
        let sectors = file::sectors(&path);
        // Over added entries nothing may lie.
        let tail_free = self.extra.iter().all(|(on, e)| *on != disk || e.end() + 4096 < sectors);
        let mark = self.random().below(6);
        match mark {
            0 => poke(&path, 32768, b"\x01CD001\x01\0"),
            1 if tail_free => poke(&path, (sectors - 1) * 512, b"EFI PART\0\0\x01\0\x5C\0\0\0"),
            2 if tail_free => Content::named("md 0.90").put(&path, 0, sectors),
            3 if tail_free => Content::named("Promise RAID, far").put(&path, 0, sectors),
            4 if !self.mbr_lost => Content::named("md 1.2").put(&path, 0, sectors),
            5 if !self.mbr_lost => Content::named("HighPoint 37x").put(&path, 0, sectors),
            _ => return,
        }
        let names =
            ["ISO 9660 at 32 KiB", "EFI PART at its end", "md 0.90", "a Promise RAID", "md 1.2", "a HighPoint RAID"];
        self.note(format!("an old mark: {}", names[mark]));
    }

    /// Beginnings of partitions, zeroed or noise.
    fn break_heads(&mut self, disk: usize) {
        let (path, parts) = (self.path(disk), self.parts(disk));
        let which = self.random().below(parts.len() + 1);
        let length = *self.random().pick(&[512, 4096, 32 * 512]);
        let zeros = self.chance(2);
        for (n, part) in parts.iter().enumerate().filter(|(n, _)| which == parts.len() || *n == which) {
            let bytes: Vec<u8> = (0..length).map(|_| if zeros { 0 } else { self.case.random.next() as u8 }).collect();
            poke(&path, part.start * 512, &bytes);
            self.note(format!("{length} bytes at the beginning of {} gone ({n})", part.name));
        }
    }

    /// Other records than the factory's, on every copy.
    fn states(&mut self) {
        let kind = self.random().below(3);
        let all: Vec<Part> = self.cd.parts.iter().filter(|p| p.has_image).cloned().collect();
        let line = |p: &Part, dirty: bool| {
            let name = &p.name;
            let (state, failures) = if dirty { ("Dirty", 3) } else { ("OK", 0) };
            format!("{name}={state} {name}.failures={failures} {name}.crashes=0 ")
        };
        let text =
            |dirty: &dyn Fn(usize) -> bool| all.iter().enumerate().map(|(n, p)| line(p, dirty(n))).collect::<String>();
        let record = match kind {
            0 => record::sector(&format!("sequence=9 booting=P1 {}restores=0", text(&|_| true))),
            1 => record::sector(&format!("sequence=9 booting=P1 {}restores=0", text(&|n| n == 0))),
            _ => [0xE5; 512],
        };
        // Without a flow that restores, a condemned one ends nowhere.
        for part in &all {
            poke(&self.case.disks[part.disk], self.cd.state_at(part) * 512, &record);
        }
        self.note(["every copy failed three times", "P1 failed three times", "no record is readable"][kind]);
    }

    /// A disk of somebody else's, or a blank one.
    fn neighbour(&mut self) {
        let path = self.case.disk();
        make(&path, *self.case.random.pick(&[2_097_152, 2_097_152, 4_000_000]));
        if self.case.random.below(3) > 0 {
            let mut layout = Layout { random: &mut self.case.random, disk: &path, done: Vec::new() };
            layout.any();
            let done = layout.done.join("; ");
            self.note(format!("beside it: {done}"));
        } else {
            self.note("beside it a blank disk");
        }
    }

    /// A restore of a blank or a broken disk, and the power goes.
    fn torn(&mut self, disk: usize) {
        let path = self.path(disk);
        if self.chance(2) {
            make(&path, self.cd.disks[disk].sectors);
            self.note("a blank disk");
        } else {
            self.add_entries(disk);
            for part in self.parts(disk) {
                poke(&path, part.start * 512, &[0; 65536]);
            }
            let state =
                record::sector("sequence=9 P1=Dirty P1.failures=9 P2=Dirty P2.failures=9 P3=Dirty P3.failures=9");
            for part in self.parts(disk) {
                poke(&path, self.cd.state_at(&part) * 512, &state);
            }
            self.note("every head gone");
        }
        let write = self.random().below(14);
        // The first write is to a disk that has nothing else of ours yet: whose noise would that be?
        let torn = [Torn::Old, Torn::Half, Torn::Garbage, Torn::Unreadable];
        let next = *self.random().pick(if write == 0 { &torn[..2] } else { &torn });
        let cut = Cut { write, sectors: *self.random().pick(&[0, 0, 1, 8]), next };
        self.torn = Some(cut);
        self.note(format!("then the power goes: {cut:?}"));
    }

    fn start(&self) -> Outcome {
        let disks = self.case.disks.iter().zip(0x80..).map(|(path, drive)| file::load(drive, path)).collect();
        let mut pc = Pc::new(self.cd.iso.clone(), disks);
        if let Some(disk) = self.unreadable {
            pc.disks[disk].unreadable.insert(0);
        }
        if self.torn.is_some() {
            for disk in &mut pc.disks {
                disk.allowed = std::iter::once(0..disk.info.sectors).collect();
            }
            pc.cut = self.torn;
            pc.start();
            pc.cut = None;
        }
        machine::start(pc)
    }

    fn check(self) -> Result<String, String> {
        let outcome = self.start();
        let wrong = self.wrong(&outcome).or_else(|| self.wrong_by_the_tool());
        match wrong {
            None => Ok(self.cd.name.clone()),
            Some(wrong) => {
                let tables = (0..self.ours).map(|n| table::print(&self.case.disks[n]).replace('\n', "\n  "));
                Err(format!(
                    "{wrong}\n  flow {}, {}\n  {}\n  {}",
                    self.cd.name,
                    self.done.join("; "),
                    tables.collect::<Vec<_>>().join("\n  "),
                    outcome.report()
                ))
            }
        }
    }

    fn wrong(&self, outcome: &Outcome) -> Option<String> {
        if outcome.booted.is_none() {
            return Some("it is ours, and did not boot".into());
        }
        let others = self.ours + usize::from(self.cloned)..self.case.disks.len();
        if let Some(&(disk, at, _)) = outcome.writes.iter().find(|w| others.contains(&w.0)) {
            return Some(format!("it wrote to disk {disk} at {at}, which is none of ours"));
        }
        if self.cloned
            && let Some(write) = outcome.writes.iter().find(|w| !self.is_record(w.1, w.2))
        {
            return Some(format!("two disks are alike, and more than bstate.txt was written: {write:?}"));
        }
        (0..self.ours).find_map(|disk| self.wrong_on(disk, outcome))
    }

    fn is_record(&self, at: u64, sectors: usize) -> bool {
        sectors == 1 && self.cd.parts.iter().any(|p| p.has_image && self.cd.state_at(p) == at)
    }

    /// What is wrong on one of ours: an added entry, or what lies in no partition.
    fn wrong_on(&self, disk: usize, outcome: &Outcome) -> Option<String> {
        let changed = outcome.changed(disk);
        if self.parts(disk).is_empty() {
            return (!changed.is_empty()).then(|| format!("disk {disk} has no image, and was written: {changed:?}"));
        }
        let after = outcome.table_after(disk, &self.case.disks[disk]);
        for (_, entry) in self.extra.iter().filter(|(on, _)| *on == disk) {
            if !after.contains(entry) {
                return Some(format!("the added entry at {} is gone: {after:?}", entry.start));
            }
            if !entry.is_extended() && (!outcome.inside(disk, entry).is_empty()) {
                return Some(format!(
                    "it wrote inside the added entry at {}: {:?}",
                    entry.start,
                    outcome.inside(disk, entry)
                ));
            }
        }
        let ours = |at: &u64| self.cd.on(disk).any(|p| (p.start..p.start + p.sectors).contains(at));
        let first = self.cd.on(disk).map(|p| p.start).min().unwrap_or(1);
        // A restore takes old marks away, but only where the table says that they are in nobody's partition.
        let zero = |at: u64| self.table_lost != Some(disk) && outcome.pc.disks[disk].sector(at).iter().all(|&b| b == 0);
        let odd = |at: &&u64| **at != 0 && **at + 1 != first && !ours(at) && !zero(**at);
        changed.iter().find(odd).map(|at| format!("it wrote sector {at} of disk {disk}, which is no place of ours"))
    }

    fn wrong_by_the_tool(&self) -> Option<String> {
        let plain = self.torn.is_none() && self.unreadable.is_none();
        if !plain || !self.case.number.is_multiple_of(BY_THE_TOOL) {
            return None;
        }
        let (said, same) = machine::by_the_tool(self.cd, &self.case.disks, self.case.folder());
        let boots =
            said.lines().rev().find(|l| l.contains("] ")).is_some_and(|l| l.contains(" boot P") && l.contains("= ok"));
        let others = &same[self.ours + usize::from(self.cloned)..];
        (!boots || others.contains(&false))
            .then(|| format!("under the tool it is otherwise (others as they were: {others:?}): {said}"))
    }
}
