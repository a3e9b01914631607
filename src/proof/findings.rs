//! The questions.

use std::collections::{BTreeSet, VecDeque};

use knownstate_core::logic::Verb;

use super::graph::Graph;
use super::model::{End, Fault, Model, Move, What, World};
use super::state::{Bstate, Content, Part, Record, Run, Stored};
use super::walk::{MOST_STATES, Start, System, Taken, Walk, calm_through, combinations, good_values};

/// Restarts in a row that a start without faults may take.
const RESTARTS: usize = 5;
/// So many things that bstate.txt can say are tried where each is one run.
const MOST_RECORDS: usize = 200_000;
/// Boots that fail one after the other; limits and restores end them long before.
const MOST_BOOTS_IN_A_ROW: usize = 200;
/// So many states are looked at to confirm what was found with counters that don't count.
const MOST_BOOTS: usize = 3_000_000;

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
    /// Starts restart the machine for ever; whether they wait in between.
    Restarts { waits: bool },
    /// A restore can destroy this good copy.
    Destroys(usize),
    /// A restore can lose what is not protected in this partition; whether it is one of the whole disk, which is
    /// the last that a flow can do.
    Loses { partition: usize, of_disk: bool },
    /// This partition was shut down properly and another is booted.
    NotAgain(usize),
    /// After one failed boot of this partition nothing is booted.
    NoOther(usize),
    /// The machine holds while this partition, of which nothing bad is known, was never tried.
    NeverTried(usize),
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
            Kind::Endless
            | Kind::Restarts { waits: false }
            | Kind::Destroys(_)
            | Kind::Loses { of_disk: false, .. }
            | Kind::NotAgain(_)
            | Kind::NoOther(_) => Severity::Error,
            _ => Severity::Warning,
        }
    }
}

/// All that is wrong, and how many states were looked at; as an error, when it became too much: then not all
/// questions were asked.
pub fn all(model: &Model<'_>) -> (Vec<Finding>, Result<usize, usize>) {
    let mut findings = Vec::new();
    let states = ask(model, &mut findings);
    findings.sort_by_key(|f| (f.severity(), f.step));
    (findings, states)
}

fn ask(model: &Model<'_>, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    // What never becomes too much comes first.
    let mut states = calm_starts(model, findings);
    let walk = one_start(model, findings)?;
    states += walk.states();
    states += restarts(model, &walk, findings)?;
    states += restores(model, &walk, findings)?;
    states += boots(model, findings)?;
    Ok(states)
}

/// What one start shows by itself, whatever stood in bstate.txt before it.
fn one_start(model: &Model<'_>, findings: &mut Vec<Finding>) -> Result<Walk, usize> {
    let begin = Run::begin(model.fresh(Record::OPEN), true);
    let mut seen = BTreeSet::new();
    let mut is_new = |run: &Run, (lost, p)| seen.insert((run.at, lost, p, run.doubt()));
    let wrong = |run: &Run, made: &Move| wiped(model, run, made).fold(false, |any, what| is_new(run, what) | any);
    let walk = Walk::of(model, begin, World::ALL, MOST_STATES, wrong)?;
    wipes(model, &walk, findings);
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

/// Tells what a start can wipe, once a step and partition: with bstate.txt as it should be, if it can happen so.
fn wipes(model: &Model<'_>, walk: &Walk, findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    let ways = walk.watched.iter().map(|&(from, made)| (walk.way(model, from, Some(made)), made));
    let mut ways: Vec<(Start, Move)> = ways.collect();
    ways.sort_by_key(|(start, _)| start.steps.last().map(|last| last.before.doubt()));
    for (start, made) in &ways {
        let Some(last) = start.steps.last() else { continue };
        for (lost, p) in wiped(model, &last.before, made) {
            if !told.insert((last.at, lost, p)) {
                continue;
            }
            let of_disk = matches!(model.step(last.at).verb, Verb::RestoreDisk(_));
            let kind = if lost { Kind::Loses { partition: p, of_disk } } else { Kind::Destroys(p) };
            findings.push(Finding { kind, step: last.at, starts: vec![start.clone()], repeats: 0 });
        }
    }
}

/// What a move destroys that its step does not allow: a good copy, or, with `true`, what is not protected in a
/// partition that may hold something. The first partition of each.
fn wiped(model: &Model<'_>, run: &Run, made: &Move) -> impl Iterator<Item = (bool, usize)> {
    let step = model.step(usize::from(run.at));
    let writes = matches!(made.what, What::Step { fault, failed } if !failed || fault == Fault::Late);
    let targets = if writes { model.targets(&step.verb) } else { Vec::new() };
    let good = targets.iter().copied().find(|&p| run.is_good(p)).filter(|_| !step.allows_good);
    let holds = |&p: &usize| model.is_unprotected(p) && run.content[p] != Content::Destroyed;
    let lost = targets.into_iter().find(holds).filter(|_| !step.allows_loss);
    good.map(|p| (false, p)).into_iter().chain(lost.map(|p| (true, p)))
}

/// Starts that do nothing but restart the machine.
fn restarts(model: &Model<'_>, walk: &Walk, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    let goes = |end: End, run: &Run| end == End::Restart && run.restored == 0;
    if !walk.ends.iter().any(|(_, made)| made.end.is_some_and(|end| goes(end, &made.run))) {
        return Ok(0);
    }
    let choices = choices(model);
    let mut seeds = Vec::new();
    for record in combinations(&choices, MOST_RECORDS) {
        for restores in model.restores() {
            seeds.push(model.fresh(Record { restores, ..record }));
        }
    }
    let graph = Graph::of(model, seeds, World { unread: true, ..World::ALONE }, goes)?;
    if let Some(round) = graph.round(model, 0, goes) {
        let step = last_step(&round);
        // Whoever waits for a disk that is slow, or not there yet, does it so.
        let waits = |taken: &Taken| matches!(model.step(taken.at).verb, Verb::Wait(_));
        let kind = Kind::Restarts { waits: round.iter().flat_map(|s| &s.steps).any(waits) };
        findings.push(Finding { kind, step, repeats: round.len(), starts: round });
    }
    Ok(graph.states)
}

/// What bstate.txt may say of each partition; where that is too much to try it all together, the extremes.
fn choices(model: &Model<'_>) -> Vec<Vec<Part>> {
    let partitions = 0..model.disk_of.len();
    let all: Vec<Vec<Part>> = partitions.clone().map(|p| model.values(p)).collect();
    let together = all.iter().map(Vec::len).fold(1, usize::saturating_mul);
    if together <= MOST_RECORDS { all } else { partitions.map(|p| extremes(model, p)).collect() }
}

/// OK, Clean, Dirty, and Dirty with all counters past their limits: eight partitions are 65,536 of them.
fn extremes(model: &Model<'_>, partition: usize) -> Vec<Part> {
    let last = model.values(partition).last().copied();
    let mut values = vec![Part::OK, Part::of(Bstate::Clean), Part::DIRTY];
    values.extend(last.filter(|&last| last != Part::DIRTY));
    values
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
    let mut seeds: Vec<Stored> = Vec::new();
    for &at in &all {
        let targets = model.targets(&steps[at].verb);
        let of = |p: usize| if targets.contains(&p) { vec![Part::OK] } else { extremes(model, p) };
        let choices: Vec<Vec<Part>> = (0..model.disk_of.len()).map(of).collect();
        let restores = model.most_restores();
        seeds.extend(combinations(&choices, MOST_RECORDS).into_iter().map(|r| model.fresh(Record { restores, ..r })));
    }
    let mut told = 0;
    let states = rounds(model, seeds, World::ALONE, &all, &mut told, findings)?;
    // The same where only memory counts them.
    let blind = Stored { remembered: model.most_restores(), ..model.fresh(Record::UNKNOWN) };
    Ok(states + rounds(model, vec![blind], World::BLIND, &all, &mut told, findings)?)
}

/// The restores of `all` that are on a circle of starts; those whose bits are `told` already are left out.
fn rounds(
    model: &Model<'_>,
    seeds: Vec<Stored>,
    world: World,
    all: &[usize],
    told: &mut u32,
    findings: &mut Vec<Finding>,
) -> Result<usize, usize> {
    let goes = |end: End, _: &Run| matches!(end, End::HandOff(_) | End::Restart);
    let graph = Graph::of(model, seeds, world, goes)?;
    for &step in all {
        let bit = model.once(model.step(step));
        if *told & bit != 0 {
            continue;
        }
        if let Some(round) = graph.round(model, bit, goes) {
            *told |= bit;
            findings.push(Finding { kind: Kind::Unbounded, step, repeats: round.len(), starts: round });
        }
    }
    Ok(graph.states)
}

/// Boots that the flow does not look after: of a partition that was not set Dirty before, or while another one
/// of its disk is active and the flow does not know it.
///
/// First with counters that may answer either way, which is quick. Only what is found so is looked for with
/// counters that count.
fn boots(model: &Model<'_>, findings: &mut Vec<Finding>) -> Result<usize, usize> {
    let free = World { counts: false, ..World::BOOTS };
    let (candidates, states) = careless_boots(model, free, MOST_STATES, None);
    if states > MOST_STATES {
        return Err(states);
    }
    if candidates.is_empty() {
        return Ok(states);
    }
    let (found, more) = careless_boots(model, World::BOOTS, MOST_BOOTS, Some(candidates.len()));
    // What was not found because there is too much to look at is told without a way to it.
    let place = |f: &Finding| (f.step, matches!(f.kind, Kind::NotDirty(_)));
    let places: Vec<(usize, bool)> = found.iter().map(place).collect();
    let rest = candidates.into_iter().filter(|f| more > MOST_BOOTS && !places.contains(&place(f)));
    let rest = rest.map(|f| Finding { starts: Vec::new(), ..f });
    findings.extend(found.into_iter().chain(rest));
    Ok(states + more)
}

/// All starts that can follow from a fresh disk, until `most` states or so many findings; what was found, and the
/// number of states, which is above `most` if that was too little.
fn careless_boots(model: &Model<'_>, world: World, most: usize, wanted: Option<usize>) -> (Vec<Finding>, usize) {
    let watch = |run: &Run, made: &Move| careless(model, run, made).next().is_some();
    let fresh = model.fresh(Record::OK);
    let mut known = BTreeSet::from([fresh]);
    let mut queue: VecDeque<(Stored, Vec<Start>)> = VecDeque::from([(fresh, Vec::new())]);
    let (mut told, mut found, mut states) = (BTreeSet::new(), Vec::new(), 0);
    while let Some((stored, before)) = queue.pop_front() {
        if wanted.is_some_and(|wanted| found.len() >= wanted) {
            break;
        }
        let Ok(walk) = Walk::of(model, Run::begin(stored, false), world, most, watch) else { return (found, most + 1) };
        states += walk.states();
        if states > most {
            break;
        }
        let starts = |start: Start| before.iter().cloned().chain([start]).collect::<Vec<Start>>();
        for (from, made) in &walk.watched {
            let start = walk.way(model, *from, Some(*made));
            let Some(last) = start.steps.last() else { continue };
            for (what, kind) in careless(model, &last.before, made) {
                if told.insert((last.at, what)) {
                    found.push(Finding { kind, step: last.at, starts: starts(start.clone()), repeats: 0 });
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
    (found, states)
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
    let mut told = BTreeSet::new();
    let mut steps = 0;
    for record in combinations(&good_values(partitions), MOST_RECORDS) {
        add_once(findings, &mut told, all_fail(model, model.fresh(record)));
    }
    for damaged in damages(partitions) {
        // Of which nothing bad is known: one boot fails.
        for record in combinations(&good_values(partitions), MOST_RECORDS) {
            add_once(findings, &mut told, one_fails(model, model.fresh(record), damaged, &mut steps));
        }
        // Of whatever stood there: a partition that was shut down properly.
        let few = || (0..partitions).map(|p| extremes(model, p)).collect();
        let values = if damaged == 0 { choices(model) } else { few() };
        for record in combinations(&values, MOST_RECORDS) {
            add_once(findings, &mut told, one_is_shut_down(model, model.fresh(record), damaged, &mut steps));
        }
    }
    steps
}

/// Partitions, as bits, that are found damaged: none, each alone, and all but one.
fn damages(partitions: usize) -> BTreeSet<u8> {
    let all = u8::MAX.checked_shr(8 - partitions as u32).unwrap_or(0);
    (0..partitions).map(|p| 1 << p).flat_map(|bit| [0, bit, all & !bit]).collect()
}

fn one_fails(model: &Model<'_>, from: Stored, damaged: u8, steps: &mut usize) -> Option<(Kind, Vec<Start>)> {
    let (mut starts, end) = calm_through(model, from, damaged, RESTARTS);
    let Some((End::HandOff(p), stored)) = end else { return None };
    report(&mut starts, System::Hangs);
    let (next, end) = calm_through(model, stored, damaged, RESTARTS);
    starts.extend(next);
    *steps += starts.iter().map(|s| s.steps.len()).sum::<usize>();
    match end {
        Some((End::HandOff(q), _)) if q == p && starts.len() == 2 => None,
        // Where another is damaged there is no better one.
        Some((End::HandOff(_), _)) => (damaged == 0).then_some((Kind::Condemned(p), starts)),
        _ => Some((Kind::NoOther(p), starts)),
    }
}

fn one_is_shut_down(model: &Model<'_>, from: Stored, damaged: u8, steps: &mut usize) -> Option<(Kind, Vec<Start>)> {
    let (mut starts, end) = calm_through(model, from, damaged, RESTARTS);
    let Some((End::HandOff(p), stored)) = end else { return None };
    report(&mut starts, System::ShutsDown);
    let (next, end) = calm_through(model, model.reported(stored, p, Bstate::Ok), damaged, RESTARTS);
    starts.extend(next);
    *steps += starts.iter().map(|s| s.steps.len()).sum::<usize>();
    // What was put back meanwhile may be the one that the flow prefers.
    let restored = |q: usize| {
        let mut steps = starts.iter().flat_map(|s| &s.steps).filter(|taken| !taken.failed);
        steps.any(|taken| model.targets(&model.step(taken.at).verb).contains(&q))
    };
    let again = matches!(end, Some((End::HandOff(q), _)) if q == p || restored(q));
    (!again).then_some((Kind::NotAgain(p), starts))
}

/// Every boot of whatever is booted fails: is each copy tried before the machine holds?
fn all_fail(model: &Model<'_>, mut stored: Stored) -> Option<(Kind, Vec<Start>)> {
    let mut starts: Vec<Start> = Vec::new();
    let mut tried = BTreeSet::new();
    for _ in 0..MOST_BOOTS_IN_A_ROW {
        let (next, end) = calm_through(model, stored, 0, RESTARTS);
        starts.extend(next);
        match end? {
            (End::HandOff(p), after) => {
                report(&mut starts, System::Hangs);
                tried.insert(p);
                stored = after;
            }
            (End::Hold | End::PowerOff, after) => {
                let mut boots = model.program.steps().iter().filter_map(|step| match step.verb {
                    Verb::Boot(p) => Some(p.number()),
                    _ => None,
                });
                let good = |p: &usize| after.record.parts[*p].state != Some(Bstate::Dirty) && !tried.contains(p);
                return boots.find(good).map(|p| (Kind::NeverTried(p), starts));
            }
            (End::Restart, _) => return None,
        }
    }
    None
}

fn report(starts: &mut [Start], system: System) {
    if let Some(last) = starts.last_mut() {
        last.system = Some(system);
    }
}

/// Adds what was found, if none of its kind was found of this partition.
fn add_once(findings: &mut Vec<Finding>, told: &mut BTreeSet<(u8, usize)>, found: Option<(Kind, Vec<Start>)>) {
    let Some((kind, starts)) = found else { return };
    let key = match kind {
        Kind::Condemned(p) => (0, p),
        Kind::NoOther(p) => (1, p),
        Kind::NotAgain(p) => (2, p),
        Kind::NeverTried(p) => (3, p),
        _ => return,
    };
    if told.insert(key) {
        // The boot that it is about, or the end.
        let ended = matches!(kind, Kind::NeverTried(_)).then(|| last_step(&starts));
        let boot = starts.iter().find(|s| s.system.is_some()).and_then(|s| s.steps.last()).map_or(0, |taken| taken.at);
        let step = ended.unwrap_or(boot);
        findings.push(Finding { kind, step, starts, repeats: 0 });
    }
}

fn last_step(starts: &[Start]) -> usize {
    starts.last().and_then(|s| s.steps.last()).map_or(0, |taken| taken.at)
}
