//! The questions.

use std::collections::{BTreeSet, VecDeque};

use super::graph::Graph;
use super::model::{End, Fault, Model, Move, What, World};
use super::state::{Bstate, Content, Load, Part, Record, Run, Stored};
use super::walk::{MOST_STATES, Start, System, Walk, calm_through, combinations, good_values};

/// Restarts in a row that a start without faults may take.
const RESTARTS: usize = 5;
/// So many things that bstate.txt can say are tried where each is one run.
const MOST_RECORDS: usize = 200_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `build` stops.
    Error,
    /// It does not.
    Warning,
}

/// What is wrong.
pub enum Kind {
    /// The flow goes round and round within one start.
    Endless,
    /// Starts restart the machine for ever.
    Restarts,
    /// A restore can destroy this good copy.
    Destroys(usize),
    /// This partition was shut down properly and another is booted.
    NotAgain(usize),
    /// After one failed boot of this partition nothing is booted.
    NoOther(usize),
    /// The restore has no bound.
    Unbounded,
    /// One failed boot, such as one that a power cut ended, and this partition is given up.
    Condemned(usize),
    /// Nothing leads to so many steps from this one on.
    Unreachable(usize),
    /// This partition is booted and never set Dirty before.
    NotDirty(usize),
    /// This partition is booted and another is active.
    NotActive(usize),
}

/// Something that was found.
pub struct Finding {
    pub kind: Kind,
    pub step: usize,
    /// How it comes about.
    pub starts: Vec<Start>,
    /// How many of the last steps, or starts, repeat for ever.
    pub repeats: usize,
}

impl Finding {
    pub fn severity(&self) -> Severity {
        match self.kind {
            Kind::Endless | Kind::Restarts | Kind::Destroys(_) | Kind::NotAgain(_) | Kind::NoOther(_) => {
                Severity::Error
            }
            _ => Severity::Warning,
        }
    }
}

/// All that is wrong, and how many states were looked at.
///
/// # Errors
/// How many states there were when it became too much.
pub fn all(model: &Model<'_>) -> Result<(Vec<Finding>, usize), usize> {
    let mut findings = Vec::new();
    let walk = one_start(model, &mut findings)?;
    let mut states = walk.states();
    states += restarts(model, &walk, &mut findings)?;
    states += restores(model, &walk, &mut findings)?;
    states += boots(model, &mut findings)?;
    states += calm_starts(model, &mut findings);
    findings.sort_by_key(|f| (f.severity(), f.step));
    Ok((findings, states))
}

/// What one start shows by itself, whatever stood in bstate.txt before it.
fn one_start(model: &Model<'_>, findings: &mut Vec<Finding>) -> Result<Walk, usize> {
    let begin = Run::begin(model.fresh(Record::OPEN), true);
    let mut seen = BTreeSet::new();
    let wrong = |run: &Run, made: &Move| destroyed(model, run, made).is_some_and(|p| seen.insert((run.at, p)));
    let walk = Walk::of(model, begin, World::ALL, MOST_STATES, wrong)?;
    for (from, made) in &walk.watched {
        let start = walk.way(model, *from, Some(*made));
        let Some(last) = start.steps.last() else { continue };
        let Some(p) = destroyed(model, &last.before, made) else { continue };
        findings.push(Finding { kind: Kind::Destroys(p), step: last.at, starts: vec![start], repeats: 0 });
    }
    if let Some((start, lap)) = walk.circle(model) {
        let step = lap.first().map_or(0, |taken| taken.at);
        findings.push(Finding { kind: Kind::Endless, step, starts: vec![start], repeats: lap.len() });
    }
    let reached = walk.reached(model.program.steps().len());
    let mut step = 0;
    for part in reached.chunk_by(|a, b| a == b) {
        if !part[0] {
            findings.push(Finding { kind: Kind::Unreachable(part.len()), step, starts: Vec::new(), repeats: 0 });
        }
        step += part.len();
    }
    Ok(walk)
}

/// The good copy that a move destroys.
fn destroyed(model: &Model<'_>, run: &Run, made: &Move) -> Option<usize> {
    let What::Step { fault, failed } = made.what else { return None };
    let step = model.step(usize::from(run.at));
    if step.allows_good || failed && fault != Fault::Late || !matches!(run.load, Load::Not | Load::Known) {
        return None;
    }
    let good = |&p: &usize| {
        run.content[p] == Content::Good && matches!(run.memory.parts[p].state, Some(Bstate::Ok | Bstate::Clean))
    };
    model.targets(&step.verb).into_iter().find(good)
}

/// Starts that do nothing but restart the machine.
fn restarts(model: &Model<'_>, walk: &Walk, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    let goes = |end: End, run: &Run| end == End::Restart && run.restored == 0;
    if !walk.ends.iter().any(|(_, made)| made.end.is_some_and(|end| goes(end, &made.run))) {
        return Ok(0);
    }
    let choices: Vec<Vec<Part>> = (0..model.disk_of.len()).map(|p| model.values(p)).collect();
    let mut seeds = Vec::new();
    for record in combinations(&choices, MOST_RECORDS) {
        for restores in model.restores() {
            seeds.push(model.fresh(Record { restores, ..record }));
        }
    }
    let graph = Graph::of(model, seeds, World::ALONE, goes)?;
    if let Some(round) = graph.round(model, 0, goes) {
        let step = last_step(&round);
        findings.push(Finding { kind: Kind::Restarts, step, repeats: round.len(), starts: round });
    }
    Ok(graph.states)
}

/// Restores that follow each other for ever while the system never reports. The number of restores only grows
/// then, so they do if they still do when it has grown past every limit.
fn restores(model: &Model<'_>, walk: &Walk, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    let steps = model.program.steps();
    let reached = walk.reached(steps.len());
    let all: Vec<usize> =
        (0..steps.len()).filter(|&at| reached[at] && !model.targets(&steps[at].verb).is_empty()).collect();
    if all.is_empty() {
        return Ok(0);
    }
    let goes = |end: End, _: &Run| matches!(end, End::HandOff(_) | End::Restart);
    let mut seeds: Vec<Stored> = Vec::new();
    for &at in &all {
        let targets = model.targets(&steps[at].verb);
        let others = |p: usize| match model.values(p).as_slice() {
            [first, .., last] => vec![*first, Part::DIRTY, *last],
            values => values.to_vec(),
        };
        let choices: Vec<Vec<Part>> =
            (0..model.disk_of.len()).map(|p| if targets.contains(&p) { vec![Part::OK] } else { others(p) }).collect();
        let restores = model.most_restores();
        seeds.extend(combinations(&choices, MOST_RECORDS).into_iter().map(|r| model.fresh(Record { restores, ..r })));
    }
    let graph = Graph::of(model, seeds, World::ALONE, goes)?;
    let mut told = 0;
    for step in all {
        let bit = model.once(&steps[step]);
        if told & bit != 0 {
            continue;
        }
        if let Some(round) = graph.round(model, bit, goes) {
            told |= bit;
            findings.push(Finding { kind: Kind::Unbounded, step, repeats: round.len(), starts: round });
        }
    }
    Ok(graph.states)
}

/// Boots that the flow does not look after: of a partition that was not set Dirty before, or while another one
/// of its disk is active and the flow does not know it.
fn boots(model: &Model<'_>, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    let world = World { lazy: false, faults: true, surprises: false, counts: false };
    let careless = |run: &Run, made: &Move| careless(model, run, made).next().is_some();
    let fresh = model.fresh(Record::OK);
    let mut known = BTreeSet::from([fresh]);
    let mut queue: VecDeque<(Stored, Vec<Start>)> = VecDeque::from([(fresh, Vec::new())]);
    let mut told = BTreeSet::new();
    let mut states = 0;
    while let Some((stored, before)) = queue.pop_front() {
        let walk = Walk::of(model, Run::begin(stored, false), world, MOST_STATES, careless)?;
        states += walk.states();
        if states > MOST_STATES {
            return Err(states);
        }
        let starts = |start: Start| before.iter().cloned().chain([start]).collect::<Vec<Start>>();
        for (from, made) in &walk.watched {
            let start = walk.way(model, *from, Some(*made));
            let Some(last) = start.steps.last() else { continue };
            for (what, kind) in self::careless(model, &last.before, made) {
                if told.insert((last.at, what)) {
                    findings.push(Finding { kind, step: last.at, starts: starts(start.clone()), repeats: 0 });
                }
            }
        }
        for (from, made) in &walk.ends {
            for (after, system) in afterwards(model, made) {
                if known.insert(after) {
                    let start = Start { system, ..walk.way(model, *from, Some(*made)) };
                    queue.push_back((after, starts(start)));
                }
            }
        }
    }
    Ok(states)
}

/// What a hand-off lacks.
fn careless(model: &Model<'_>, run: &Run, made: &Move) -> impl Iterator<Item = (u8, Kind)> {
    let booted = if let Some(End::HandOff(p)) = made.end { Some(p) } else { None };
    let not_dirty = booted.filter(|p| run.begun & 1 << p == 0);
    let active = |p: &usize| usize::from(run.stored.active[model.disk_of[*p]]) == *p;
    let not_active = booted.filter(|p| !active(p) && run.in_vain & 1 << p == 0);
    let not_dirty = not_dirty.map(|p| (0, Kind::NotDirty(p)));
    not_dirty.into_iter().chain(not_active.map(|p| (1, Kind::NotActive(p))))
}

/// What may stand on the disks when the next start comes.
fn afterwards(model: &Model<'_>, made: &Move) -> Vec<(Stored, Option<System>)> {
    let stored = made.run.stored;
    match made.end {
        Some(End::HandOff(p)) => vec![
            (stored, Some(System::Hangs)),
            (model.reported(stored, p, Bstate::Clean), Some(System::Crashes)),
            (model.reported(stored, p, Bstate::Ok), Some(System::ShutsDown)),
        ],
        Some(End::Restart) => vec![(stored, None)],
        _ => Vec::new(),
    }
}

/// What happens while no disk fails.
fn calm_starts(model: &Model<'_>, findings: &mut Vec<Finding>) -> usize {
    let partitions = model.disk_of.len();
    let mut steps = 0;
    let mut told = BTreeSet::new();
    // Of which nothing bad is known: one boot fails.
    for record in combinations(&good_values(partitions), MOST_RECORDS) {
        let (mut starts, end) = calm_through(model, model.fresh(record), RESTARTS);
        let Some((End::HandOff(p), stored)) = end else { continue };
        report(&mut starts, System::Hangs);
        let (next, end) = calm_through(model, stored, RESTARTS);
        starts.extend(next);
        steps += starts.iter().map(|s| s.steps.len()).sum::<usize>();
        let kind = match end {
            Some((End::HandOff(q), _)) if q == p && starts.len() == 2 => continue,
            Some((End::HandOff(_), _)) => Kind::Condemned(p),
            _ => Kind::NoOther(p),
        };
        add_once(findings, &mut told, kind, starts);
    }
    // Of whatever stood there: a partition that was shut down properly.
    let choices: Vec<Vec<Part>> = (0..partitions).map(|p| model.values(p)).collect();
    for record in combinations(&choices, MOST_RECORDS) {
        let (mut starts, end) = calm_through(model, model.fresh(record), RESTARTS);
        let Some((End::HandOff(p), stored)) = end else { continue };
        report(&mut starts, System::ShutsDown);
        let (next, end) = calm_through(model, model.reported(stored, p, Bstate::Ok), RESTARTS);
        starts.extend(next);
        steps += starts.iter().map(|s| s.steps.len()).sum::<usize>();
        if !matches!(end, Some((End::HandOff(q), _)) if q == p) {
            add_once(findings, &mut told, Kind::NotAgain(p), starts);
        }
    }
    steps
}

fn report(starts: &mut [Start], system: System) {
    if let Some(last) = starts.last_mut() {
        last.system = Some(system);
    }
}

/// Adds it if none of its kind was found of this partition.
fn add_once(findings: &mut Vec<Finding>, told: &mut BTreeSet<(u8, usize)>, kind: Kind, starts: Vec<Start>) {
    let key = match kind {
        Kind::Condemned(p) => (0, p),
        Kind::NoOther(p) => (1, p),
        Kind::NotAgain(p) => (2, p),
        _ => return,
    };
    if told.insert(key) {
        // The boot that it is about.
        let step = starts.iter().find(|s| s.system.is_some()).and_then(|s| s.steps.last()).map_or(0, |taken| taken.at);
        findings.push(Finding { kind, step, starts, repeats: 0 });
    }
}

fn last_step(starts: &[Start]) -> usize {
    starts.last().and_then(|s| s.steps.last()).map_or(0, |taken| taken.at)
}
