//! The questions.

use std::collections::BTreeSet;

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
    /// Nothing leads to this step.
    Unreachable,
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
    states += activity(model, &walk, &mut findings)?;
    states += calm_starts(model, &mut findings);
    findings.sort_by_key(|f| (f.severity(), f.step));
    Ok((findings, states))
}

/// What one start shows by itself, whatever stood in bstate.txt before it.
fn one_start(model: &Model<'_>, findings: &mut Vec<Finding>) -> Result<Walk, usize> {
    let begin = Run::begin(model.fresh(Record::OPEN), true);
    let mut seen = BTreeSet::new();
    let wrong = |run: &Run, made: &Move| {
        let at = usize::from(run.at);
        fault_of(model, run, made).is_some_and(|(what, p)| seen.insert((at, what, p)))
    };
    let walk = Walk::of(model, begin, World::ALL, MOST_STATES, wrong)?;
    for (from, made) in &walk.watched {
        let start = walk.way(model, *from, Some(*made));
        let Some(last) = start.steps.last() else { continue };
        let kind = match fault_of(model, &last.before, made) {
            Some((Wrong::Destroys, p)) => Kind::Destroys(p),
            Some((Wrong::NotDirty, p)) => Kind::NotDirty(p),
            None => continue,
        };
        findings.push(Finding { kind, step: last.at, starts: vec![start], repeats: 0 });
    }
    if let Some((start, lap)) = walk.circle(model) {
        let step = lap.first().map_or(0, |taken| taken.at);
        findings.push(Finding { kind: Kind::Endless, step, starts: vec![start], repeats: lap.len() });
    }
    let reached = walk.reached(model.program.steps().len());
    for (step, _) in reached.iter().enumerate().filter(|(_, reached)| !**reached) {
        findings.push(Finding { kind: Kind::Unreachable, step, starts: Vec::new(), repeats: 0 });
    }
    Ok(walk)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Destroys,
    NotDirty,
}

/// Whether a move does what it should not.
fn fault_of(model: &Model<'_>, run: &Run, made: &Move) -> Option<(Wrong, usize)> {
    let What::Step { fault, failed } = made.what else { return None };
    if let Some(End::HandOff(p)) = made.end {
        return (run.begun & 1 << p == 0).then_some((Wrong::NotDirty, p));
    }
    let step = model.step(usize::from(run.at));
    if step.allows_good || failed && fault != Fault::Late {
        return None;
    }
    let known = matches!(run.load, Load::Not | Load::Known);
    let good = |&p: &usize| {
        run.content[p] == Content::Good && matches!(run.memory.parts[p].state, Some(Bstate::Ok | Bstate::Clean))
    };
    model.targets(&step.verb).into_iter().find(good).filter(|_| known).map(|p| (Wrong::Destroys, p))
}

/// Starts that do nothing but restart the machine.
fn restarts(model: &Model<'_>, walk: &Walk, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    let goes = |end: End, run: &Run| end == End::Restart && run.restored == 0;
    if !walk.ends.iter().any(|(_, made)| made.end.is_some_and(|end| goes(end, &made.run))) {
        return Ok(0);
    }
    let choices: Vec<Vec<Part>> = (0..model.disk_of.len()).map(|p| model.values(p)).collect();
    let restores = model.most_restores();
    let seeds = combinations(&choices, MOST_RECORDS)
        .into_iter()
        .map(|record| model.fresh(Record { restores, ..record }))
        .collect();
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
    let all: Vec<usize> = (0..steps.len()).filter(|&at| reached[at] && !model.targets(&steps[at].verb).is_empty()).collect();
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
        let choices: Vec<Vec<Part>> = (0..model.disk_of.len())
            .map(|p| if targets.contains(&p) { vec![Part::OK] } else { others(p) })
            .collect();
        let restores = model.most_restores();
        seeds.extend(
            combinations(&choices, MOST_RECORDS).into_iter().map(|r| model.fresh(Record { restores, ..r })),
        );
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

/// Boots of a partition while another one of its disk is active and the flow does not know it.
fn activity(model: &Model<'_>, walk: &Walk, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    let world = World { lazy: false, faults: true, surprises: false, counts: false };
    let wrong = |run: &Run, made: &Move| match made.end {
        Some(End::HandOff(p)) => {
            usize::from(run.stored.active[model.disk_of[p]]) != p && run.in_vain & 1 << p == 0
        }
        _ => false,
    };
    // One partition a disk is the active one.
    let shared = |p: &usize| model.disk_of.iter().filter(|d| **d == model.disk_of[*p]).count() > 1;
    let boots: BTreeSet<usize> =
        walk.ends.iter().filter_map(|(_, m)| if let Some(End::HandOff(p)) = m.end { Some(p) } else { None }).collect();
    if !boots.iter().any(shared) {
        return Ok(0);
    }
    let mut known: BTreeSet<Stored> = BTreeSet::from([model.fresh(Record::OK)]);
    let mut queue: std::collections::VecDeque<(Stored, Vec<Start>)> =
        known.iter().map(|&fresh| (fresh, Vec::new())).collect();
    let mut told = BTreeSet::new();
    let mut states = 0;
    while let Some((stored, before)) = queue.pop_front() {
        let walk = Walk::of(model, Run::begin(stored, false), world, MOST_STATES, wrong)?;
        states += walk.states();
        if states > MOST_STATES {
            return Err(states);
        }
        for (from, made) in &walk.watched {
            let start = walk.way(model, *from, Some(*made));
            let step = start.steps.last().map_or(0, |taken| taken.at);
            if let (true, Some(End::HandOff(p))) = (told.insert(step), made.end) {
                let starts = before.iter().cloned().chain([start]).collect();
                findings.push(Finding { kind: Kind::NotActive(p), step, starts, repeats: 0 });
            }
        }
        for (from, made) in &walk.ends {
            for (after, system) in afterwards(model, made) {
                if known.insert(after) {
                    let mut start = walk.way(model, *from, Some(*made));
                    start.system = system;
                    queue.push_back((after, before.iter().cloned().chain([start]).collect()));
                }
            }
        }
    }
    Ok(states)
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
