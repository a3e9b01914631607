//! `if P is ...`, the counters, `set P ...`: bstate.txt on every partition.
//!
//! The loader finds the file's first sector through the filesystem, and overwrites that one sector in
//! place. It never allocates, moves or grows the file. A sector is written whole or not at all, so a
//! power cut leaves each copy old or new, and the sequence number tells which is which.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bstate::{self, BEFORE, Parsed, Record, State};
use crate::defects::{Defect, seeded};
use crate::event::Event;
use crate::logic::{PartitionIndex, Program, Step, Verb, Wish};
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
        if failed.len() == self.copies.len() {
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
    }

    #[inline(never)]
    fn read_states(&mut self) -> States {
        let mut copies = Vec::new();
        let mut parsed = Vec::new();
        let mut troubles = Troubles::default();
        for partition in self.program.partition_indexes() {
            let read = self.find_copy(partition).and_then(|copy| {
                let parsed = self.read_copy(&copy);
                // A place that is not certain is written only if a record stands there.
                if copy.settled || parsed.is_ok() {
                    copies.push(copy);
                }
                parsed
            });
            match read {
                Ok(copy) => parsed.push(copy),
                Err(why) => {
                    let declared = self.program.partition(partition);
                    // A partition that no restore writes may be a data partition, without a bstate.txt.
                    if declared.image.is_some() {
                        troubles.add(&declared.name, why);
                    }
                }
            }
        }
        if !troubles.0.is_empty() {
            let (failed, reason) = (parsed.is_empty(), troubles.in_words());
            self.machine.tell(&Event::Outcome { label: "-", step: "read bstate.txt", failed, reason: &reason });
        }
        let merged = Record::merge(&parsed, self.program.partition_names());
        let known = merged.is_some();
        let record = merged.unwrap_or_else(|| unknown(self.program.partition_names()));
        let current = |copy: &Parsed| matches!(copy, Parsed::Valid(r) if *r == record);
        let stale = known && !(parsed.len() == copies.len() && parsed.iter().all(current));
        States { record, known, copies, stale }
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

    /// `if restores below N`
    ///
    /// # Errors
    /// The number of restores. Where no copy is readable there is nothing that counted them, and the
    /// answer is yes: a blank disk has to be restored.
    pub fn if_restores(&mut self, limit: u32) -> Outcome {
        match self.record() {
            Ok(record) => below(record.restores, limit),
            Err(_) if limit > 0 => Ok("no copy of bstate.txt tells of any".to_string()),
            Err(why) => Err(why),
        }
    }

    /// `if next is P|restore|hold`
    ///
    /// # Errors
    /// Always: it is not built yet.
    pub fn if_next(&mut self, _wish: &Wish) -> Outcome {
        Err("not built yet".to_string())
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
            (Some(boot), finding) => {
                let boot = if boot.label == "-" { &boot.text } else { &format!("{} boot", boot.label) };
                // What was found and then mended is told as well: a disk that goes bad shows itself so.
                let before = finding.as_ref().map(|found| format!("{BEFORE}{found}")).unwrap_or_default();
                format!("{boot} begun, not confirmed{before}")
            }
            (None, Some(finding)) => finding.clone(),
            (None, None) => set(),
        };
        if let Some(states) = &mut self.states {
            states.known = true;
            if boot.is_some() {
                states.record.booting.clone_from(name);
            }
            apply(&mut states.record, name, state, &why, boot.is_some());
            // What was found now is newer than what made it Dirty.
            if let (State::Dirty, None, Some(found), Some(recorded)) =
                (state, boot, &finding, states.record.get_mut(name))
            {
                recorded.why.clone_from(found);
            }
        }
        if seeded(Defect::DirtyNotWritten) && boot.is_some() {
            return Ok(String::new());
        }
        self.write_states()
    }

    /// Notes which partition the hand-off goes to, where no `set` did so.
    pub(crate) fn note_booting(&mut self, partition: PartitionIndex) -> Outcome {
        let name = &self.program.partition(partition).name;
        self.load_states();
        match &mut self.states {
            Some(states) if states.known && states.record.booting != *name => {
                states.record.booting.clone_from(name);
                self.write_states()
            }
            _ => Ok(String::new()),
        }
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
        if state == State::Ok {
            (partition.failures, partition.crashes) = (0, 0);
            partition.why.clear();
        }
        partition.state = state;
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
