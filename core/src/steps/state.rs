//! `if P is ...`, the counters, `set P ...`: bstate.txt on every partition.
//!
//! The loader finds the file's first sector through the filesystem, and overwrites that one sector in
//! place. It never allocates, moves or grows the file. A sector is written whole or not at all, so a
//! power cut leaves each copy old or new, and the sequence number tells which is which.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bstate::{self, Found, Next, Parsed, Record, State};
use crate::defects::{Defect, seeded};
use crate::event::{Event, printable};
use crate::logic::{DiskIndex, PartitionIndex, Program, Step, Verb, Wish};
use crate::media::filesystem::Filesystem;
use crate::media::region::Region;
use crate::steps::{Context, Outcome, name_of};
use crate::units::{Offset, SECTOR};

/// The record, and where its copies are.
pub(crate) struct States {
    pub record: Record,
    /// Whether a copy was valid; if none was, the record is a guess and answers no question.
    pub known: bool,
    copies: Vec<Copy>,
    /// Whether a copy differs from the record.
    stale: bool,
    /// Whether the hand-off that this run ends in is counted already.
    counted: bool,
    /// Whether the last write came to any copy.
    written: bool,
}

/// A copy whose sector can be found.
struct Copy {
    name: String,
    region: Region,
    at: Offset,
    /// See [`Filesystem::is_settled`].
    settled: bool,
}

/// Why copies can't be read: partitions, and the reason that they share.
#[derive(Default)]
struct Troubles(Vec<(String, String)>);

impl Troubles {
    fn add(&mut self, name: &str, why: String) {
        match self.0.iter_mut().find(|(_, reason)| *reason == why) {
            Some((names, _)) => names.extend([", ", name]),
            None => self.0.push((name.to_string(), why)),
        }
    }

    fn in_words(&self) -> String {
        let each: Vec<String> = self.0.iter().map(|(names, why)| format!("{names}: {why}")).collect();
        each.join("; ")
    }
}

impl States {
    /// A hand-off to the partition named `name` follows; this run has one.
    fn note_hand_off(&mut self, name: &str) {
        if self.counted {
            self.record.booting = name.to_string();
        } else {
            self.record.hand_off(name);
            self.counted = true;
        }
    }

    #[inline(never)]
    fn write(&mut self, context: &mut Context<'_>) -> Outcome {
        self.record.sequence = self.record.sequence.saturating_add(1);
        if seeded(Defect::SequenceWraps) {
            self.record.sequence %= 256;
        }
        let sector = self.record.to_sector();
        let mut failed = Vec::new();
        for copy in &self.copies {
            if let Err(error) = copy.region.write_state(context.machine, copy.at, &sector) {
                failed.push(format!("{}: {error}", copy.name));
            }
            if seeded(Defect::OneCopyIsEnough) {
                break;
            }
        }
        self.written = failed.len() < self.copies.len();
        if !self.written {
            failed.insert(0, "no copy of bstate.txt could be written".to_string());
            return Err(failed.join("; "));
        }
        self.stale = false;
        Ok(if failed.is_empty() { String::new() } else { format!("but not {}", failed.join("; ")) })
    }
}

impl Context<'_> {
    /// Finds and reads every copy, unless that was done before.
    pub(crate) fn load_states(&mut self) {
        if self.states.is_none() {
            let states = self.read_states();
            self.states = Some(states);
        }
    }

    /// Changes the record outside of any flow, as a running system's report or a person does, and writes it
    /// to every copy. For simulators.
    ///
    /// # Errors
    /// That of `change`, after which nothing is written, or that no copy could be written.
    pub fn amend_states(&mut self, change: impl FnOnce(&mut Record) -> Result<(), String>) -> Outcome {
        self.load_states();
        let Some(states) = &mut self.states else { return Err("bstate.txt was not read".to_string()) };
        change(&mut states.record)?;
        states.known = true;
        self.write_states()
    }

    /// Finds the copies again where filesystems have been rewritten; the record is the one kept in memory, and is
    /// newer than any that comes to light now.
    pub(crate) fn find_copies_again(&mut self) {
        let Some(old) = self.states.take() else { return };
        self.load_states();
        if let (Some(states), true) = (&mut self.states, old.known) {
            states.stale |= old.stale || !states.known || states.record != old.record;
            let sequence = states.record.sequence.max(old.record.sequence);
            (states.record, states.known) = (Record { sequence, ..old.record }, true);
        }
        if let Some(states) = &mut self.states {
            states.counted |= old.counted;
        }
    }

    #[inline(never)]
    fn read_states(&mut self) -> States {
        let mut copies = Vec::new();
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut troubles = Troubles::default();
        let program = self.program;
        let names: Vec<&str> = program.recorded_names().collect();
        // A partition that no restore writes is a data partition, and never written.
        let mut refused: Vec<(DiskIndex, String)> = Vec::new();
        for partition in self.program.partition_indexes().filter(|&p| program.partition(p).image.is_some()) {
            let disk = program.partition(partition).disk;
            // What one partition's disk is, is not looked for again for the next one.
            if let Some((_, why)) = refused.iter().find(|(refused, _)| *refused == disk) {
                troubles.add(&program.partition(partition).name, why.clone());
                continue;
            }
            if let Err(why) = self.claim(disk) {
                troubles.add(&program.partition(partition).name, why.clone());
                refused.push((disk, why));
                continue;
            }
            let read = self.find_copy(partition).and_then(|copy| {
                let parsed = self.read_copy(&copy);
                // A place that is not certain is written only if a record stands there.
                if copy.settled || parsed.is_ok() {
                    copies.push(copy);
                }
                parsed
            });
            let declared = program.partition(partition);
            match read {
                Ok(copy) => {
                    let strange = copy.not_understood(&names);
                    if !strange.is_empty() {
                        troubles.add(&declared.name, format!("not understood: {}", printable(&strange.join(", "))));
                    }
                    let home = program.partitions_on(declared.disk).map(|p| program.partition(p).name.as_str());
                    found.push(Found { copy, home: home.collect() });
                }
                Err(why) => troubles.add(&declared.name, why),
            }
        }
        if !troubles.0.is_empty() {
            let (failed, reason) = (found.is_empty(), troubles.in_words());
            self.machine.tell(&Event::Outcome { label: "-", step: "read bstate.txt", failed, reason: &reason });
        }
        let merged = Record::merge_found(&found, names.iter().copied());
        let known = merged.is_some();
        let record = merged.unwrap_or_else(|| unknown(names.into_iter()));
        let current = |found: &Found<'_>| matches!(&found.copy, Parsed::Valid(r) if *r == record);
        let stale = known && !(found.len() == copies.len() && found.iter().all(current));
        States { record, known, copies, stale, counted: false, written: false }
    }

    fn read_copy(&mut self, copy: &Copy) -> Result<Parsed, String> {
        let mut sector = [0; SECTOR];
        copy.region.read(self.machine, copy.at, &mut sector).map_err(|e| e.to_string())?;
        Record::parse(&sector).map_err(|fault| fault.to_string())
    }

    #[inline(never)]
    fn find_copy(&mut self, partition: PartitionIndex) -> Result<Copy, String> {
        let region = self.region(partition)?;
        let name = self.program.partition(partition).name.clone();
        let (at, settled) = self.find_file(&region)?;
        Ok(Copy { name, region, at, settled })
    }

    fn find_file(&mut self, region: &Region) -> Result<(Offset, bool), String> {
        let mut volume = region.volume(self.machine);
        let filesystem = Filesystem::open(&mut volume).map_err(|e| e.to_string())?;
        // A file shorter than the record could not be written back in place, so a person's edit in
        // it would win again at every start, whatever happened since. It is not a copy.
        let start = filesystem.find(&mut volume, bstate::FILE).map_err(|e| format!("{}: {e}", bstate::FILE))?;
        Ok((start.at, filesystem.is_settled()))
    }

    /// Writes back what a power cut, a person or a fault left behind, before the run ends, if no
    /// `set` did so already.
    #[inline(never)]
    pub fn settle_states(&mut self) {
        if self.states.as_ref().is_some_and(|states| states.stale) {
            self.write_back(true);
        }
    }

    /// Writes the record outside of any step that would tell how that went: a failure is told here, and
    /// success if `tell` says so. Where there is no copy there is nothing to tell.
    pub(crate) fn write_back(&mut self, tell: bool) {
        if self.states.as_ref().is_none_or(|states| states.copies.is_empty()) {
            return;
        }
        let outcome = self.write_states();
        if tell || outcome != Ok(String::new()) {
            self.tell("-", "write bstate.txt back", &outcome);
        }
    }

    /// Writes the record to every copy.
    pub(crate) fn write_states(&mut self) -> Outcome {
        let Some(mut states) = self.states.take() else { return Err("bstate.txt was not read".to_string()) };
        let outcome = states.write(self);
        self.states = Some(states);
        outcome
    }

    fn record(&mut self) -> Result<&Record, String> {
        self.load_states();
        match &self.states {
            Some(states) if states.known => Ok(&states.record),
            _ => Err("no copy of bstate.txt is readable".to_string()),
        }
    }

    fn recorded(&mut self, partition: PartitionIndex) -> Result<bstate::Partition, String> {
        let name = self.program.partition(partition).name.clone();
        self.record()?.get(&name).cloned().ok_or_else(|| format!("bstate.txt does not know {name}"))
    }

    /// The same for the counters. Where every copy is broken but can be written anew, nothing was counted
    /// yet: a copy that could be booted is better than one that is restored for want of a number.
    fn counted(&mut self, partition: PartitionIndex) -> Result<bstate::Partition, String> {
        self.load_states();
        match &self.states {
            Some(states) if !states.known && !states.copies.is_empty() => Ok(bstate::Partition::ok("")),
            _ => self.recorded(partition),
        }
    }

    /// `if P is STATE`
    ///
    /// # Errors
    /// The state that it is in, or that no copy is readable.
    pub fn if_state(&mut self, partition: PartitionIndex, state: State) -> Outcome {
        let recorded = self.recorded(partition)?;
        if recorded.state == state {
            return Ok(String::new());
        }
        let why = if recorded.why.is_empty() { String::new() } else { format!(": {}", recorded.why) };
        Err(format!("it is {}{why}", recorded.state))
    }

    /// `if P failures below N`
    ///
    /// # Errors
    /// The number of failures, or that no copy is readable.
    pub fn if_failures(&mut self, partition: PartitionIndex, limit: u32) -> Outcome {
        below(self.counted(partition)?.failures, limit)
    }

    /// `if P crashes below N`
    ///
    /// # Errors
    /// The number of crashes, or that no copy is readable.
    pub fn if_crashes(&mut self, partition: PartitionIndex, limit: u32) -> Outcome {
        below(self.counted(partition)?.crashes, limit)
    }

    /// `if restores below N`: in bstate.txt or in memory, whichever has counted more.
    ///
    /// # Errors
    /// The number of restores. Where no copy is readable and memory tells of none, there is nothing that counted
    /// them, and the answer is yes: a blank disk has to be restored.
    pub fn if_restores(&mut self, limit: u32) -> Outcome {
        let remembered = self.machine.remembered_restores();
        match self.record() {
            Ok(record) => below(record.restores.max(remembered), limit),
            Err(_) if remembered > 0 => below(remembered, limit),
            Err(_) if limit > 0 => Ok("no copy of bstate.txt tells of any".to_string()),
            Err(why) => Err(why),
        }
    }

    /// Counts a restore, in the record and in memory.
    pub(crate) fn count_restore(&mut self) {
        let remembered = self.machine.remembered_restores();
        let Some(states) = &mut self.states else { return };
        let times = states.record.restores.max(remembered).saturating_add(1).min(bstate::MAX_COUNT);
        states.record.restores = times;
        self.machine.remember_restores(times);
    }

    /// A whole disk is about to be restored: see [`Record::begin_set`].
    pub(crate) fn begin_set(&mut self) {
        let set = self.machine.random();
        let cd = self.program.cd().map(|cd| cd.name.as_str()).unwrap_or_default();
        self.load_states();
        if let Some(states) = &mut self.states {
            states.record.begin_set(set, cd);
        }
    }

    /// `if next is P|restore|hold`. The wish is taken off every copy before it is followed, so that it is
    /// followed once.
    ///
    /// # Errors
    /// What is wished for, if anything; that no copy is readable; or on which the wish stays.
    #[inline(never)]
    pub fn if_next(&mut self, wish: &Wish) -> Outcome {
        let wish = match wish {
            Wish::Partition(partition) => Next::Partition(self.program.partition(*partition).name.clone()),
            Wish::Restore => Next::Restore,
            Wish::Hold => Next::Hold,
        };
        match self.record()?.next.as_ref() {
            None => return Err("nothing is wished for".to_string()),
            Some(next) if *next != wish => return Err(format!("it is {next}")),
            Some(_) => {}
        }
        if let Some(states) = &mut self.states {
            states.record.next = None;
        }
        let written = self.write_states()?;
        if written.is_empty() { Ok(written) } else { Err(format!("it can't be removed everywhere: {written}")) }
    }

    /// `set P STATE`, at place `at` of the flow.
    ///
    /// # Errors
    /// When no copy could be written.
    #[inline(never)]
    pub fn set_state(&mut self, at: usize, partition: PartitionIndex, state: State) -> Outcome {
        self.load_states();
        let name = &self.program.partition(partition).name;
        let boot = boot_that_follows(self.program, at, partition);
        let finding = self.finding(partition).map(ToString::to_string);
        let set = || self.program.steps().get(at).map(|s| format!("{} set {state}", name_of(s))).unwrap_or_default();
        let why = match (boot, &finding) {
            (Some(boot), _) => {
                let boot = if boot.label == "-" { &boot.text } else { &format!("{} boot", boot.label) };
                format!("{boot} begun, not confirmed")
            }
            (None, Some(finding)) => finding.clone(),
            (None, None) => set(),
        };
        if let Some(states) = &mut self.states {
            states.known = true;
            if boot.is_some() {
                states.note_hand_off(name);
            }
            apply(&mut states.record, name, state, &why, boot.is_some());
            if let (State::Dirty, Some(found), Some(recorded)) = (state, &finding, states.record.get_mut(name)) {
                match boot {
                    // What was found and then mended is told as well: a disk that goes bad shows itself so.
                    Some(_) => recorded.before = printable(found),
                    // What was found now is newer than what made it Dirty.
                    None => recorded.why.clone_from(found),
                }
            }
        }
        if seeded(Defect::DirtyNotWritten) && boot.is_some() {
            return Ok(String::new());
        }
        self.write_states()
    }

    /// Notes which partition the hand-off goes to, where no `set` did so. What memory has of restores is not
    /// needed any more once bstate.txt tells of the hand-off.
    pub(crate) fn note_booting(&mut self, partition: PartitionIndex) -> Outcome {
        let name = &self.program.partition(partition).name;
        self.load_states();
        let Some(states) = self.states.as_mut().filter(|states| states.known) else { return Ok(String::new()) };
        let outcome = if states.counted && states.record.booting == *name {
            Ok(String::new())
        } else {
            states.note_hand_off(name);
            self.write_states()
        };
        if self.states.as_ref().is_some_and(|states| states.written) {
            self.machine.remember_restores(0);
        }
        outcome
    }
}

/// The `boot P` that comes right after a `set P`, if nothing but steps that decide nothing stands
/// between: then the one write tells both that the partition is Dirty and that it is booting.
#[must_use]
pub fn boot_that_follows(program: &Program, at: usize, partition: PartitionIndex) -> Option<&Step> {
    let mut next = at + 1;
    for _ in 0..program.steps().len() {
        let step = program.steps().get(next)?;
        match &step.verb {
            Verb::Boot(p) if *p == partition => return Some(step),
            Verb::Goto(to) => next = *to,
            Verb::Notify(_) | Verb::Activate(_) | Verb::Watchdog { .. } | Verb::Wait(_) => next += 1,
            _ => return None,
        }
    }
    None
}

fn apply(record: &mut Record, name: &str, state: State, why: &str, before_boot: bool) {
    if state == State::Dirty {
        record.set_dirty(name, why, before_boot);
    } else if let Some(partition) = record.get_mut(name) {
        if state > partition.state {
            partition.why = why.to_string();
        }
        partition.state = state;
        if state == State::Ok {
            partition.clear();
        }
    }
}

fn below(count: u32, limit: u32) -> Outcome {
    let text = format!("{count}");
    if count < limit { Ok(text) } else { Err(text) }
}

/// What is assumed where no copy is readable: nothing good.
fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Record {
    let mut record = Record::ok(names);
    for partition in &mut record.partitions {
        partition.state = State::Dirty;
    }
    record
}
