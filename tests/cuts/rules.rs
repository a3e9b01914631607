//! What must be true of a start, whatever was on the disk before it. Written from SPEC and docs/STATES.md, without
//! the code under test: the rules look at what was written and said, in its order.

use std::fmt;

use knownstate_core::units::SECTOR;

use crate::common::machine::{Disk, Happened, Pc};
use crate::cut::apply;
use crate::oracle::{Record, State};
use crate::world::{EXTRA, Flow, Kind, World};

/// A rule by its name, and how it was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    pub rule: &'static str,
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.how)
    }
}

/// The rules, each with what it says.
pub const RULES: [(&str, &str); 16] = [
    ("inside", "nothing is written but the declared disk's MBR, notes, marks and partitions, and every run ends"),
    ("approved", "what is written to a partition is what an approved image has there, or a record, or a voided seal"),
    ("record", "a record that is written is canonical, and no older than what stands on the disk"),
    ("mbr", "sector 0 is the declared table with one active partition, or says that a restore has begun"),
    ("notes", "a restore's note stands in its second place before it takes the table's, and until the table is back"),
    ("extra", "an entry that is not declared is in every table and every note that is written"),
    ("cleared", "a restore of the disk clears old marks, with zeros, and nothing else outside the partitions"),
    ("order", "nothing is bootable that is written in part, and nothing right becomes wrong while it is bootable"),
    ("true", "bstate.txt calls a restored copy OK when it is whole, and before it can be booted"),
    ("counted", "a restore is counted before it destroys anything, and the count does not get lost"),
    ("merge", "what copies of bstate.txt say together is what the newest, the worse, and a person's edit make of it"),
    ("noted", "at a hand-off the partition is noted as booting, and Dirty, in every copy that can be written"),
    ("booted", "a partition that is booted is an approved image to the byte"),
    ("kept", "the last copy that is whole and has not failed too often is not destroyed (default.txt)"),
    ("told", "a write that the disk did not take is told as a failure"),
    ("up", "after the last cut a few starts come to a hand-off, or hold where no copy can be booted"),
];

/// One start under the rules.
pub struct Start<'w> {
    world: &'w World,
    /// The disk as it is by now.
    disk: Disk,
    /// Which sectors of each partition are not what they should be, by now.
    wrong: Vec<Vec<bool>>,
    /// Whether the whole disk is restored in this start; whether that has begun.
    of_disk: bool,
    begun: bool,
    /// Which partitions a restore has taken apart.
    apart: Vec<bool>,
    /// What all copies of bstate.txt said before; and those in filesystems that are whole, since others may not be
    /// found. Where the two differ, either may be right.
    known: Option<Record>,
    surely: Option<Record>,
    /// Which partitions were whole, and had not failed too often.
    trusted: Vec<bool>,
    /// Whether a record was written in this start.
    state_written: bool,
    /// Writes that the disk did not take, and of which nothing was said yet.
    untold: usize,
    /// Whether sector 0, or the second place of a note, did not take a write.
    refused: [bool; 2],
    /// Whether the disk told what its table was, and that it had the entry that is not declared.
    has_table: bool,
    knows_extra: bool,
}

impl<'w> Start<'w> {
    /// Before anything has happened.
    pub fn new(world: &'w World, before: &Disk, happened: &[Happened]) -> Self {
        let wrong: Vec<Vec<bool>> = (0..world.set.places.len()).map(|n| world.wrong(before, n)).collect();
        let said = |what: &str| happened.iter().any(|h| matches!(h, Happened::Said(line) if line.contains(what)));
        let known = Record::merged(&world.copies(before, |_| true));
        let surely = Record::merged(&world.copies(before, |n| !wrong[n].contains(&true)));
        let trusted = (0..wrong.len())
            .map(|n| {
                let part = known.as_ref().and_then(|record| record.parts.get(&format!("P{}", n + 1)));
                world.is_whole(before, n) && part.is_some_and(|part| part.state != State::Dirty || part.failures < 3)
            })
            .collect();
        Self {
            world,
            disk: before.clone(),
            of_disk: said(" restore system"),
            begun: false,
            apart: vec![false; wrong.len()],
            wrong,
            known,
            trusted,
            surely,
            state_written: false,
            untold: 0,
            refused: [false; 2],
            has_table: world.has_table(before),
            knows_extra: world.knows_extra(before),
        }
    }

    /// All that happened, in its order; the disk as it is then.
    pub fn follow(&mut self, happened: &[Happened]) -> Result<(), Broken> {
        for one in happened {
            match one {
                Happened::Said(line) => self.said(line)?,
                Happened::Wrote { at, data, taken, .. } => {
                    self.writes(*at, data)?;
                    if *taken {
                        let was_bootable = self.bootable();
                        apply(&mut self.disk, one);
                        self.written(*at, data, &was_bootable)?;
                        continue;
                    }
                    self.refused[0] |= *at == 0;
                    self.refused[1] |= self.world.kind(*at).0 == Kind::Note;
                    if self.disk.bytes(*at..at + (data.len() / SECTOR) as u64) != *data {
                        self.untold += 1;
                    }
                }
            }
        }
        broken_if(self.untold > 0, "told", || format!("{} writes were lost, and nothing said so", self.untold))
    }

    fn bootable(&self) -> Vec<bool> {
        (0..self.wrong.len()).map(|n| self.world.is_bootable(&self.disk, n)).collect()
    }

    fn said(&mut self, line: &str) -> Result<(), Broken> {
        // The next outcome is that of the step that has written, but for what it tells on the way.
        if line.contains("= failed") || line.contains("but not ") {
            self.untold = 0;
        }
        let passed_over = self.untold > 0 && line.contains(" = ok") && !line.starts_with("- read ");
        broken_if(passed_over, "told", || format!("{} writes were lost before `{line}`", self.untold))?;
        // What follows may restore a single partition, beneath the table.
        self.of_disk &= !line.contains(" restore system = failed");
        let kept = self.world.old_mark(&self.disk, u64::MAX);
        let cleared = kept.is_none() || !line.contains(" restore system = ok");
        broken_if(!cleared, "cleared", || format!("sector {kept:?} has its mark after `{line}`"))?;
        // Until something is noted, questions are about what stands on the disk.
        let Some((name, wanted, yes)) = question(line).filter(|_| !self.state_written) else { return Ok(()) };
        if self.known != self.surely {
            return Ok(());
        }
        let part = self.known.as_ref().and_then(|record| record.parts.get(name));
        let right = part.is_some_and(|part| part.state == wanted) == yes;
        broken_if(!right, "merge", || format!("`{line}`, where the copies say {:?}", self.known))
    }

    /// What is about to be written, sector by sector.
    fn writes(&mut self, at: u64, data: &[u8]) -> Result<(), Broken> {
        for (lba, sector) in (at..).zip(data.chunks(SECTOR)) {
            let (kind, place) = self.world.kind(lba);
            match (kind, place) {
                (Kind::Mbr, _) => self.mbr(sector)?,
                (Kind::Note, _) => self.note(sector)?,
                (Kind::Mark, _) => {
                    let zeros = sector.iter().all(|byte| *byte == 0) && self.of_disk;
                    broken_if(!zeros, "cleared", || format!("sector {lba} gets something else than zeros"))?;
                }
                (Kind::State, _) => self.record(sector)?,
                (Kind::SealHeader, Some((n, at))) => {
                    let image = |image: &Vec<u8>| image[at as usize * SECTOR..][..SECTOR] == *sector;
                    // docs/IMAGES.md: the sequence is the u64 at byte 16; 0 voids a seal.
                    let void = sector[16..24].iter().all(|byte| *byte == 0);
                    let right = void || self.world.approved[n].iter().any(image);
                    broken_if(!right, "approved", || format!("sector {lba}, a seal's header"))?;
                }
                (Kind::Free, _) => return broken("approved", format!("sector {lba} is nobody's")),
                (_, Some((n, at))) => {
                    let wrong = self.world.is_wrong(n, at, sector);
                    broken_if(wrong, "approved", || format!("sector {lba}: no image of P{} has that", n + 1))?;
                    self.destroys(n, at, sector)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn mbr(&mut self, sector: &[u8]) -> Result<(), Broken> {
        if World::is_note(sector) {
            self.keeps_extra(World::note_entry(sector, EXTRA))?;
            let second = self.disk.sector(self.world.set.second_place());
            let alone = second != *sector && !self.refused[1];
            broken_if(alone, "notes", || "sector 0 gets a note that is not in the second place".into())?;
            return self.counted();
        }
        self.keeps_extra(&sector[446 + 16 * EXTRA..][..16])?;
        broken_if(self.world.active(sector).is_none(), "mbr", || "neither the table nor a restore's mark".into())?;
        let bootable = |n: usize| self.world.is_bootable(&self.disk, n);
        let half = |n: &usize| self.apart[*n] && bootable(*n) && !self.world.is_whole(&self.disk, *n);
        let half = (0..self.wrong.len()).find(half);
        broken_if(half.is_some(), "order", || format!("the MBR comes while P{} is not whole", half.unwrap_or(0) + 1))
    }

    /// What comes to the second place: a note, or zeros where it is not needed any more.
    fn note(&self, sector: &[u8]) -> Result<(), Broken> {
        if World::is_note(sector) {
            return self.keeps_extra(World::note_entry(sector, EXTRA));
        }
        broken_if(sector.iter().any(|byte| *byte != 0), "notes", || "what comes there is no note".into())?;
        let early = self.world.active(&self.disk.sector(0)).is_none() && !self.refused[0];
        broken_if(early, "notes", || "the second note is cleared before the table is back".into())
    }

    fn keeps_extra(&self, entry: &[u8]) -> Result<(), Broken> {
        let kept = self.world.extra.is_none_or(|extra| extra == *entry) || !self.knows_extra;
        broken_if(!kept, "extra", || format!("entry {} becomes {entry:02x?}", EXTRA + 1))
    }

    fn record(&mut self, sector: &[u8]) -> Result<(), Broken> {
        self.state_written = true;
        let Some(new) = Record::read(sector).filter(|record| !record.edited) else {
            return broken("record", format!("not canonical: {}", String::from_utf8_lossy(sector)));
        };
        // One in a partition that is not whole yet may be another's, or can't be found.
        let whole = |n: usize| !self.wrong[n].contains(&true) && self.world.is_bootable(&self.disk, n);
        let copies = self.world.copies(&self.disk, whole);
        let newest = copies.iter().map(|record| record.sequence).max().unwrap_or(0);
        let older = new.sequence < newest;
        broken_if(older, "record", || format!("sequence {} is written over {newest}", new.sequence))?;
        let before = self.surely.as_ref().map_or(0, |record| record.restores);
        let fewer = self.surely == self.known && new.restores < before;
        broken_if(fewer, "counted", || format!("{} restores are left of {before}", new.restores))?;
        for (n, wrong) in self.wrong.iter().enumerate().filter(|(n, _)| self.begun || self.apart[*n]) {
            let name = format!("P{}", n + 1);
            let is_ok = |record: &Record| record.parts.get(&name).is_some_and(|part| part.state == State::Ok);
            let early = is_ok(&new) && !copies.iter().any(is_ok) && wrong.contains(&true);
            broken_if(early, "true", || format!("{name} is called OK before it is whole"))?;
        }
        Ok(())
    }

    /// Whether a write of the boot sector takes a copy away.
    fn destroys(&mut self, n: usize, at: u64, sector: &[u8]) -> Result<(), Broken> {
        if at != 0 || sector[510..] != [0, 0] || !self.world.is_bootable(&self.disk, n) {
            return Ok(());
        }
        self.counted()?;
        let table = self.of_disk && self.world.active(&self.disk.sector(0)).is_some();
        broken_if(table, "order", || format!("P{} is taken apart while the table is there", n + 1))?;
        let last = self.trusted[n] && !self.trusted.iter().enumerate().any(|(m, trusted)| m != n && *trusted);
        broken_if(last && self.world.flow == Flow::Default, "kept", || format!("P{} is whole and the last one", n + 1))
    }

    /// That the restore which begins here has been counted, where there is a bstate.txt to count in.
    fn counted(&self) -> Result<(), Broken> {
        // What is on a disk that is nobody's yet is not ours to count in.
        if self.world.adopts && !self.has_table {
            return Ok(());
        }
        let Some(before) = self.surely.as_ref().filter(|_| self.surely == self.known) else { return Ok(()) };
        let now = Record::merged(&self.world.copies(&self.disk, |_| true)).map_or(0, |record| record.restores);
        broken_if(now < (before.restores + 1).min(999), "counted", || format!("{now} after {}", before.restores))
    }

    /// What was written, and what that changes.
    fn written(&mut self, at: u64, data: &[u8], was_bootable: &[bool]) -> Result<(), Broken> {
        self.begun |= at == 0 && self.world.active(data).is_none();
        for (lba, sector) in (at..).zip(data.chunks(SECTOR)) {
            let (_, Some((n, within))) = self.world.kind(lba) else { continue };
            let wrong = self.world.is_wrong(n, within, sector);
            let worse = wrong && !self.wrong[n][within as usize] && was_bootable[n];
            broken_if(worse, "order", || format!("sector {lba} of P{}, which is bootable, becomes wrong", n + 1))?;
            self.wrong[n][within as usize] = wrong;
        }
        for (n, bootable) in self.bootable().into_iter().enumerate() {
            self.apart[n] |= was_bootable[n] && !bootable;
            if !bootable || was_bootable[n] {
                continue;
            }
            let half = self.wrong[n].contains(&true);
            let at = self.wrong[n].iter().position(|wrong| *wrong);
            broken_if(half, "order", || format!("P{} becomes bootable, and is not whole: {at:?}", n + 1))?;
            let known = Record::merged(&self.world.copies(&self.disk, |_| true));
            let part = known.as_ref().and_then(|record| record.parts.get(&format!("P{}", n + 1)));
            let dirty = self.apart[n] && part.is_some_and(|part| part.state != State::Ok);
            broken_if(dirty, "true", || format!("P{} becomes bootable while bstate.txt says {part:?}", n + 1))?;
        }
        Ok(())
    }

    /// At a hand-off to partition `n`.
    pub fn handed_off(&self, pc: &Pc, n: usize) -> Result<(), Broken> {
        let disk = &pc.disks[0];
        if !self.world.is_whole(disk, n) {
            let at = self.world.wrong(disk, n).iter().position(|wrong| *wrong);
            return broken("booted", format!("P{} is no approved image; wrong sector: {at:?}", n + 1));
        }
        let name = format!("P{}", n + 1);
        let places = (0..self.wrong.len()).filter(|n| self.world.is_whole(disk, *n));
        for m in places.filter(|m| writable(disk, self.world.set.state_at(*m))) {
            let record = Record::read(&disk.sector(self.world.set.state_at(m)));
            let dirty = |record: &Record| record.parts.get(&name).is_some_and(|part| part.state == State::Dirty);
            let noted = record.as_ref().is_some_and(|record| record.booting == name && dirty(record) && !record.edited);
            broken_if(!noted, "noted", || format!("the copy on P{} says {record:?}", m + 1))?;
        }
        Ok(())
    }

    /// Whether holding is all that is left: the flow's own bound was reached, or the table is gone and a mark at the
    /// disk's beginning says that it is somebody's.
    pub fn may_hold(&self) -> bool {
        let first = self.world.set.second_place();
        if !self.has_table && self.world.old_mark(&self.disk, first).is_some() {
            return true;
        }
        self.known.as_ref().is_some_and(|record| record.restores >= 10) && self.world.flow == Flow::Default
    }
}

fn writable(disk: &Disk, lba: u64) -> bool {
    !disk.unwritable.contains(&lba) && !disk.lying.contains(&lba)
}

/// `if P is STATE = ok`, taken apart.
fn question(line: &str) -> Option<(&str, State, bool)> {
    let (step, outcome) = line.split_once(" = ")?;
    let (_, asked) = step.split_once(" if ")?;
    let (name, state) = asked.split_once(" is ")?;
    let state = match state {
        "OK" => State::Ok,
        "Clean" => State::Clean,
        "Dirty" => State::Dirty,
        _ => return None,
    };
    // An answer that nothing was readable is none.
    let answered = !outcome.contains("no copy of");
    answered.then_some((name, state, outcome.starts_with("ok")))
}

fn broken<T>(rule: &'static str, how: String) -> Result<T, Broken> {
    Err(Broken { rule, how })
}

fn broken_if(is: bool, rule: &'static str, how: impl FnOnce() -> String) -> Result<(), Broken> {
    if is { broken(rule, how()) } else { Ok(()) }
}
