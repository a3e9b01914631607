//! What each step may come to: the interpreter of core without disks. tests/proof.rs runs both side by side.
//!
//! Disks may do anything at any time: every step that reads or writes succeeds or fails, whatever it did a
//! moment ago. What a run has in memory, and what it can know, is followed exactly.

use std::collections::BTreeSet;

use knownstate_core::bstate::State;
use knownstate_core::logic::{DiskIndex, DiskState, PartitionIndex, Program, Protect, Step, Verb};
use knownstate_core::steps::state::boot_that_follows;

use super::live::Live;
use super::state::{Bstate, Content, Load, MOST, OPEN, Part, Record, Run, Stored};

/// What has to go wrong for a step to come out so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nothing can be read or written while it runs; of `wait`: a key is pressed.
    All,
    /// The disk is another than the flow's own one, or has lost all that was on it.
    Disk,
    /// The operator has wished for it.
    Wish,
    /// A restore is interrupted by an error when it has begun to write.
    Late,
}

/// How a start ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    HandOff(usize),
    Hold,
    Restart,
    PowerOff,
}

/// One thing that can happen next.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    pub what: What,
    pub run: Run,
    pub end: Option<End>,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// The step is carried out.
    Step {
        fault: Fault,
        failed: bool,
    },
    /// Something about bstate.txt matters now, so it is decided.
    Part(usize, Part),
    Restores(u16),
    Broken(bool),
}

/// Which worlds are looked at.
#[derive(Clone, Copy)]
pub struct World {
    /// What bstate.txt says is decided when it matters, and forgotten when it does no more.
    pub lazy: bool,
    /// Disks fail.
    pub faults: bool,
    /// bstate.txt can't be read or written, from some step on.
    pub unread: bool,
    /// It never can, or there is none.
    pub blind: bool,
    /// The operator wishes for something.
    pub wishes: bool,
    /// Somebody presses a key in a `wait`.
    pub keys: bool,
    /// Counters are counted; else `below` may come out either way.
    pub counts: bool,
    /// What was set Dirty, and what could not be activated, is remembered.
    pub marks: bool,
}

impl World {
    /// Nothing goes wrong.
    pub const CALM: Self = Self {
        lazy: false,
        faults: false,
        unread: false,
        blind: false,
        wishes: false,
        keys: false,
        counts: true,
        marks: false,
    };
    /// All of it, of one start.
    pub const ALL: Self = Self { lazy: true, faults: true, unread: true, wishes: true, keys: true, ..Self::CALM };
    /// All that disks do but to lose bstate.txt, and nobody comes by.
    pub const ALONE: Self = Self { faults: true, ..Self::CALM };
    /// All that disks do, and there is no bstate.txt.
    pub const BLIND: Self = Self { unread: true, blind: true, ..Self::ALONE };
    /// As alone, but for the operator's wishes, and a look at what is booted.
    pub const BOOTS: Self = Self { marks: true, wishes: true, ..Self::ALONE };
}

/// A flow, prepared.
pub struct Model<'p> {
    pub program: &'p Program,
    /// Each partition's disk.
    pub disk_of: Vec<usize>,
    /// The partition that a restored disk has active.
    first_on: Vec<u8>,
    /// Where its counters are compared: the limits.
    failures: Vec<BTreeSet<u16>>,
    crashes: Vec<BTreeSet<u16>>,
    restores: BTreeSet<u16>,
    /// Whether the flow itself makes a partition Clean.
    sets_clean: bool,
    /// The texts of rewriting steps: a step is done once a start, and known by its text.
    once: Vec<&'p str>,
    live: Live,
}

impl<'p> Model<'p> {
    /// # Errors
    /// Why the flow is too large for the proof.
    pub fn new(program: &'p Program) -> Result<Self, String> {
        let partitions = program.partition_indexes().count();
        let disks = program.disk_indexes().count();
        if partitions > MOST || disks > MOST {
            return Err(format!("it can follow at most {MOST} disks and {MOST} partitions"));
        }
        let mut model = Self {
            program,
            disk_of: program.partition_indexes().map(|p| program.partition(p).disk.number()).collect(),
            first_on: program
                .disk_indexes()
                .map(|d| program.partitions_on(d).next().map_or(0, |p| p.number() as u8))
                .collect(),
            failures: vec![BTreeSet::new(); partitions],
            crashes: vec![BTreeSet::new(); partitions],
            restores: BTreeSet::new(),
            sets_clean: program.steps().iter().any(|s| matches!(s.verb, Verb::Set(_, State::Clean))),
            once: Vec::new(),
            live: Live::default(),
        };
        let limit = |n: u32| u16::try_from(n).unwrap_or(999).min(999);
        for step in program.steps() {
            match step.verb {
                Verb::IfFailures(p, n) => drop(model.failures[p.number()].insert(limit(n))),
                Verb::IfCrashes(p, n) => drop(model.crashes[p.number()].insert(limit(n))),
                Verb::IfRestores(n) => drop(model.restores.insert(limit(n))),
                _ => {}
            }
            if rewrites(&step.verb) && !model.once.contains(&step.text.as_str()) {
                model.once.push(&step.text);
            }
        }
        if model.once.len() > 32 {
            return Err("it can follow at most 32 different `heal` and `restore` steps".to_string());
        }
        model.live = Live::of(&model);
        Ok(model)
    }

    /// As a disk leaves the factory: all is OK, and each disk's first partition active.
    pub fn fresh(&self, record: Record) -> Stored {
        let mut active = [0; MOST];
        active[..self.first_on.len()].copy_from_slice(&self.first_on);
        Stored { record, active, remembered: 0 }
    }

    /// A partition's name.
    pub fn name(&self, p: usize) -> &'p str {
        self.program.partition_names().nth(p).unwrap_or("?")
    }

    pub fn step(&self, at: usize) -> &'p Step {
        &self.program.steps()[at]
    }

    /// The bit of a rewriting step.
    pub fn once(&self, step: &Step) -> u32 {
        self.once.iter().position(|text| *text == step.text).map_or(0, |n| 1 << n)
    }

    /// The partitions that a restore rewrites.
    pub fn targets(&self, verb: &Verb) -> Vec<usize> {
        match verb {
            Verb::RestorePartition(p) => vec![p.number()],
            Verb::RestoreDisk(d) => self
                .program
                .partitions_on(*d)
                .filter(|&p| self.program.partition(p).image.is_some())
                .map(PartitionIndex::number)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a restore of it loses more than what a seal covers.
    pub fn is_unprotected(&self, p: usize) -> bool {
        let mut partitions = self.program.partition_indexes().map(|p| self.program.partition(p));
        partitions.nth(p).is_some_and(|declared| declared.image.is_some() && declared.protect != Protect::All)
    }

    /// All values of a partition that answer some question differently, now or after a few more boots.
    pub fn values(&self, partition: usize) -> Vec<Part> {
        let counters = |limits: &BTreeSet<u16>| -> BTreeSet<u16> {
            let near = limits.iter().flat_map(|&n| (0..=3).filter_map(move |below| n.checked_sub(below)));
            near.chain([0]).collect()
        };
        let crashes = &self.crashes[partition];
        // A boot that finds it Clean counts one more; of a Dirty one it is only asked whether it is below.
        let before: BTreeSet<u16> = crashes.iter().flat_map(|&n| [n.saturating_sub(1), n]).chain([0]).collect();
        let mut values = vec![Part::OK];
        values.extend(before.iter().map(|&crashes| Part { crashes, ..Part::of(Bstate::Clean) }));
        let dirty = if self.sets_clean { before } else { crashes.iter().copied().chain([0]).collect() };
        for failures in counters(&self.failures[partition]) {
            values.extend(dirty.iter().map(|&crashes| Part { failures, crashes, ..Part::DIRTY }));
        }
        values
    }

    /// The same for the number of restores.
    pub fn restores(&self) -> BTreeSet<u16> {
        self.restores.iter().flat_map(|&n| (0..=2).filter_map(move |below| n.checked_sub(below))).chain([0]).collect()
    }

    /// Where the number of restores stops to matter.
    pub fn most_restores(&self) -> u16 {
        self.restores.last().copied().unwrap_or(0)
    }

    /// What can happen next.
    pub fn moves(&self, run: &Run, world: World) -> Vec<Move> {
        let step = self.step(usize::from(run.at));
        let mut moves = self.assumptions(run, step, world);
        if moves.is_empty() {
            moves = self.outcomes(run, step, world);
        }
        for made in &mut moves {
            self.forget(&mut made.run, world);
        }
        moves
    }

    /// What makes no difference in this world.
    fn forget(&self, run: &mut Run, world: World) {
        if !world.marks {
            (run.begun, run.in_vain) = (0, 0);
        }
        if !world.blind {
            // What bstate.txt has is the higher number.
            run.stored.remembered = 0;
        }
        if world.lazy {
            // Asked of several starts only.
            run.overwrote = 0;
            run.stored.record = Record::OPEN;
            return self.live.forget(run);
        }
        self.live.forget_marks(run);
        (run.guessed, run.condemned) = (false, 0);
        if world.blind {
            run.stored.record = Record::UNKNOWN;
        }
        for content in run.content.iter_mut().filter(|c| **c != Content::Destroyed) {
            *content = Content::Unseen;
        }
        if !world.counts {
            // And no bounds within a start.
            (run.once, run.restored, run.overwrote) = (0, 0, 0);
            run.content = [Content::Unseen; MOST];
            for record in [&mut run.memory, &mut run.stored.record] {
                record.restores = 0;
                record.parts.iter_mut().for_each(|part| (part.failures, part.crashes) = (0, 0));
            }
        }
    }

    /// What the step needs to know of bstate.txt and nobody has decided yet.
    fn assumptions(&self, run: &Run, step: &Step, world: World) -> Vec<Move> {
        let assume = |what, change: &dyn Fn(&mut Run)| {
            let mut run = *run;
            change(&mut run);
            Move { what, run, end: None }
        };
        let reads = matches!(
            step.verb,
            Verb::IfState(..)
                | Verb::IfFailures(..)
                | Verb::IfCrashes(..)
                | Verb::IfRestores(_)
                | Verb::IfNext(_)
                | Verb::Set(..)
        );
        if (reads || rewrites(&step.verb)) && run.load == Load::Not && run.broken.is_none() {
            let both = [false, true].into_iter().filter(|&broken| !broken || world.unread);
            return both.map(|b| assume(What::Broken(b), &|run| run.broken = Some(b))).collect();
        }
        if matches!(run.load, Load::Unknown | Load::Broken) || run.load == Load::Not && run.broken == Some(true) {
            return Vec::new();
        }
        let parts = match &step.verb {
            Verb::IfState(p, _) | Verb::IfFailures(p, _) | Verb::IfCrashes(p, _) => vec![p.number()],
            // What a `set` adds to matters only if somebody asks later.
            Verb::Set(p, _) if self.live.asks_for(usize::from(run.at), p.number()) => vec![p.number()],
            // Whether a good copy is destroyed.
            verb => self.targets(verb).into_iter().filter(|&p| run.content[p] == Content::Good).collect(),
        };
        if let Some(&p) = parts.iter().find(|&&p| run.memory.parts[p].state.is_none()) {
            return self
                .values(p)
                .into_iter()
                .map(|v| assume(What::Part(p, v), &|run| run.memory.parts[p] = v))
                .collect();
        }
        let counts = matches!(step.verb, Verb::IfRestores(_))
            || !self.targets(&step.verb).is_empty() && self.live.asks_for_restores(usize::from(run.at));
        if counts && run.memory.restores == OPEN {
            return self
                .restores()
                .into_iter()
                .map(|n| assume(What::Restores(n), &|run| run.memory.restores = n))
                .collect();
        }
        Vec::new()
    }

    fn outcomes(&self, run: &Run, step: &Step, world: World) -> Vec<Move> {
        let mut all = Outcomes { step, moves: Vec::new() };
        match &step.verb {
            Verb::Goto(to) => all.to(*run, *to),
            Verb::Notify(_) => all.add(*run, Fault::None, false),
            Verb::Hold(_) => all.end(*run, End::Hold),
            Verb::Restart => all.end(*run, End::Restart),
            Verb::PowerOff => all.end(*run, End::PowerOff),
            Verb::IfFailures(..) | Verb::IfCrashes(..) | Verb::IfRestores(_) if !world.counts => {
                all.add(*run, Fault::None, false);
                all.add(*run, Fault::None, true);
            }
            Verb::IfState(..) | Verb::IfFailures(..) | Verb::IfCrashes(..) | Verb::IfRestores(_) => {
                for (run, fault) in loaded(run, world) {
                    all.add(run, fault, !answer(&run, &step.verb));
                }
            }
            Verb::IfNext(_) => wish(&mut all, run, world),
            Verb::IfDisk(disk, state) => self.ask_disk(&mut all, run, *disk, *state, world),
            Verb::Set(p, state) => self.set(&mut all, run, *p, Bstate::from(*state), world),
            Verb::Activate(p) => {
                let p = p.number();
                let mut moved = *run;
                moved.stored.active[self.disk_of[p]] = p as u8;
                all.add(moved, Fault::None, false);
                let vain = Run { in_vain: run.in_vain | 1 << p, ..*run };
                all.fault(vain, world);
            }
            Verb::Boot(p) | Verb::Verify { partition: p, .. } if run.content[p.number()] == Content::Destroyed => {
                all.add(*run, Fault::None, true);
            }
            Verb::Boot(p) => {
                all.end(*run, End::HandOff(p.number()));
                all.fault(*run, world);
            }
            Verb::Verify { partition: p, .. } => {
                all.add(with_content(run, p.number(), Content::Good), Fault::None, false);
                all.fault(with_content(run, p.number(), Content::Bad), world);
            }
            verb if rewrites(verb) => self.rewrite(&mut all, run, world),
            Verb::Wait(_) => {
                all.add(*run, Fault::None, false);
                if world.keys {
                    all.add(*run, Fault::All, true);
                }
            }
            // Machines have one or have none; most, and `simulate`, have none.
            Verb::Watchdog { .. } => {
                all.add(*run, Fault::None, true);
                all.add(*run, Fault::None, false);
            }
            // Reading, or writing what nothing here depends on.
            _ => {
                all.add(*run, Fault::None, false);
                all.fault(*run, world);
            }
        }
        all.moves
    }

    /// `if D is ...`: the disk is the flow's own; where something goes wrong it may be any.
    fn ask_disk(&self, all: &mut Outcomes<'_>, run: &Run, disk: DiskIndex, state: DiskState, world: World) {
        let ours = state == DiskState::Ours;
        all.add(*run, Fault::None, !ours);
        if ours {
            return all.fault(*run, world);
        }
        let mut found = *run;
        if state == DiskState::Blank {
            for p in self.program.partitions_on(disk) {
                found.content[p.number()] = Content::Destroyed;
            }
        }
        if world.faults {
            all.add(found, Fault::Disk, false);
        }
    }

    fn set(&self, all: &mut Outcomes<'_>, run: &Run, partition: PartitionIndex, state: Bstate, world: World) {
        let was_loaded = run.load != Load::Not;
        let before_boot = boot_that_follows(self.program, usize::from(run.at), partition).is_some();
        let p = partition.number();
        for (mut run, fault) in loaded(run, world) {
            match state {
                Bstate::Dirty => run.begun |= 1 << p,
                Bstate::Ok | Bstate::Clean => run.begun &= !(1 << p),
            }
            match state {
                Bstate::Dirty if run.guessed => run.condemned |= 1 << p,
                _ => run.condemned &= !(1 << p),
            }
            run.wished |= before_boot;
            self.apply(&mut run.memory.parts[p], p, state, before_boot);
            if matches!(run.load, Load::Unknown | Load::Guess) {
                run.load = Load::Guess;
                all.add(run, fault, true);
                continue;
            }
            run.load = Load::Known;
            if was_loaded && world.unread {
                all.add(run, Fault::All, true);
            }
            run.stored.record = run.memory;
            all.add(run, fault, false);
        }
    }

    fn apply(&self, part: &mut Part, p: usize, state: Bstate, before_boot: bool) {
        let most = |limits: &BTreeSet<u16>| limits.last().copied().unwrap_or(0);
        match state {
            Bstate::Dirty => {
                if before_boot && part.state == Some(Bstate::Clean) {
                    part.crashes = (part.crashes + 1).min(most(&self.crashes[p]));
                }
                part.failures = (part.failures + 1).min(most(&self.failures[p]));
            }
            Bstate::Ok => (part.failures, part.crashes) = (0, 0),
            Bstate::Clean => {}
        }
        part.state = Some(state);
    }

    /// `heal` and `restore`.
    fn rewrite(&self, all: &mut Outcomes<'_>, run: &Run, world: World) {
        let (step, bit) = (all.step, self.once(all.step));
        if run.once & bit != 0 {
            return all.add(*run, Fault::None, true);
        }
        let untouched = *run;
        let mut run = Run { once: run.once | bit, ..*run };
        if let Verb::Heal { partition, .. } = step.verb {
            if !world.blind {
                look_again(&mut run);
            }
            all.add(with_content(&run, partition.number(), Content::Good), Fault::None, false);
            return all.fault(untouched, world);
        }
        if run.load == Load::Not {
            run.load = if world.blind { Load::Unknown } else { Load::Known };
            if world.blind || run.broken == Some(true) {
                (run.memory, run.guessed) = (Record::UNKNOWN, true);
            }
        }
        let writable = !matches!(run.load, Load::Unknown | Load::Guess);
        let counted = run.memory.restores.max(run.stored.remembered);
        run.memory.restores = counted.saturating_add(1).min(self.most_restores());
        run.stored.remembered = run.memory.restores;
        run.overwrote |= bit;
        let mut late = run;
        for p in self.targets(&step.verb) {
            run.memory.parts[p] = Part::OK;
            run.content[p] = Content::Good;
            run.begun &= !(1 << p);
            run.condemned &= !(1 << p);
        }
        if let Verb::RestoreDisk(d) = step.verb {
            run.stored.active[d.number()] = self.first_on[d.number()];
        }
        run.restored |= bit;
        run.load = if world.blind { Load::Guess } else { Load::Known };
        run.stored.record = run.memory;
        all.add(run, Fault::None, false);
        all.fault(untouched, world);
        if world.faults {
            for p in self.targets(&step.verb) {
                late.memory.parts[p].state = Some(Bstate::Dirty);
                late.content[p] = Content::Destroyed;
            }
            late.load = if writable { Load::Known } else { Load::Guess };
            if writable {
                late.stored.record = late.memory;
            }
            all.add(late, Fault::Late, true);
        }
    }

    /// What the system leaves when it has reported from `p`: [`Bstate::Ok`] after a shutdown, else it crashed.
    pub fn reported(&self, mut stored: Stored, p: usize, state: Bstate) -> Stored {
        let part = &mut stored.record.parts[p];
        (part.state, part.failures) = (Some(state), 0);
        if state == Bstate::Ok {
            part.crashes = 0;
        }
        stored.record.restores = 0;
        stored
    }
}

/// Moves in the making.
struct Outcomes<'s> {
    step: &'s Step,
    moves: Vec<Move>,
}

impl Outcomes<'_> {
    fn add(&mut self, mut run: Run, fault: Fault, failed: bool) {
        run.at = match self.step.otherwise {
            Some(otherwise) if failed => otherwise as u16,
            _ => run.at + 1,
        };
        self.moves.push(Move { what: What::Step { fault, failed }, run, end: None });
    }

    /// The step fails because nothing can be read or written.
    fn fault(&mut self, run: Run, world: World) {
        if world.faults {
            self.add(run, Fault::All, true);
        }
    }

    fn to(&mut self, run: Run, at: usize) {
        let run = Run { at: at as u16, ..run };
        self.moves.push(Move { what: What::Step { fault: Fault::None, failed: false }, run, end: None });
    }

    fn end(&mut self, run: Run, end: End) {
        self.moves.push(Move { what: What::Step { fault: Fault::None, failed: false }, run, end: Some(end) });
    }
}

/// Whether a step rewrites much, so that it is done once a start.
pub fn rewrites(verb: &Verb) -> bool {
    matches!(verb, Verb::Heal { .. } | Verb::RestorePartition(_) | Verb::RestoreDisk(_))
}

/// The run with bstate.txt read, and what had to go wrong for it.
fn loaded(run: &Run, world: World) -> Vec<(Run, Fault)> {
    if run.load != Load::Not {
        return vec![(*run, Fault::None)];
    }
    let guess = |load| Run { load, memory: Record::UNKNOWN, guessed: true, ..*run };
    if world.blind {
        return vec![(guess(Load::Unknown), Fault::None)];
    }
    let read = if run.broken == Some(true) { guess(Load::Broken) } else { Run { load: Load::Known, ..*run } };
    let mut all = vec![(read, Fault::None)];
    if world.unread {
        all.push((guess(Load::Unknown), Fault::All));
    }
    all
}

/// `if next is ...`: nothing is wished for, or that. A wish is taken off bstate.txt before it is followed, so it
/// is followed once.
fn wish(all: &mut Outcomes<'_>, run: &Run, world: World) {
    for (run, fault) in loaded(run, world) {
        all.add(run, fault, true);
        if world.wishes && run.load == Load::Known && !run.guessed && fault == Fault::None && !run.wished {
            let mut followed = Run { wished: true, ..run };
            followed.stored.record = run.memory;
            all.add(followed, Fault::Wish, false);
        }
    }
}

/// After a `heal` the copies are looked for again; what is known from before stays.
fn look_again(run: &mut Run) {
    let broken = run.broken == Some(true);
    match run.load {
        Load::Not | Load::Unknown if broken => {
            (run.load, run.memory, run.guessed) = (Load::Broken, Record::UNKNOWN, true);
        }
        Load::Unknown => {
            (run.load, run.memory, run.guessed, run.condemned) = (Load::Known, run.stored.record, false, 0);
        }
        // A guess can be written now.
        Load::Not | Load::Guess => run.load = Load::Known,
        Load::Known | Load::Broken => {}
    }
}

/// What an `if` comes to once bstate.txt was looked for.
fn answer(run: &Run, verb: &Verb) -> bool {
    let known = matches!(run.load, Load::Known | Load::Guess);
    let part = |p: &PartitionIndex| run.memory.parts[p.number()];
    let below = |count: u16, limit: u32| u32::from(count) < limit;
    match verb {
        Verb::IfState(p, state) => known && part(p).state == Some(Bstate::from(*state)),
        Verb::IfFailures(p, limit) if known => below(part(p).failures, *limit),
        Verb::IfCrashes(p, limit) if known => below(part(p).crashes, *limit),
        Verb::IfFailures(_, limit) | Verb::IfCrashes(_, limit) => run.load == Load::Broken && *limit > 0,
        Verb::IfRestores(limit) if known => below(run.memory.restores.max(run.stored.remembered), *limit),
        Verb::IfRestores(limit) => below(run.stored.remembered, *limit),
        _ => true,
    }
}

fn with_content(run: &Run, p: usize, content: Content) -> Run {
    let mut run = *run;
    run.content[p] = content;
    run
}
