//! All ways that starts can take.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use clap::ValueEnum;
use indexmap::IndexSet;
use rustc_hash::FxHasher;

use knownstate_core::logic::Verb;

use super::model::{End, Fault, Model, Move, What, World};
use super::state::{Bstate, Load, Part, Record, Run, Stored};

type Hasher = BuildHasherDefault<FxHasher>;

/// So many states are looked at before the proof is given up.
pub const MOST_STATES: usize = 10_000_000;

/// A step on the way, as a run would print it.
#[derive(Clone, Debug)]
pub struct Taken {
    pub at: usize,
    pub fault: Fault,
    pub failed: bool,
    /// What the run knew when it began.
    pub before: Run,
}

/// One start, from what was stored to its end, or to where it got.
#[derive(Clone, Debug)]
pub struct Start {
    pub from: Stored,
    /// Whether every copy of bstate.txt is broken.
    pub broken: bool,
    /// Whether there is none that can be read or written, from the first start to the last.
    pub blind: bool,
    pub steps: Vec<Taken>,
    pub end: Option<End>,
    /// What the system does after a hand-off.
    pub system: Option<System>,
}

/// What a system that was handed over to does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum System {
    /// Reports that it is up, and shuts down in order
    #[value(name = "ok")]
    ShutsDown,
    /// Reports that it is up; then the power goes
    #[value(name = "crash")]
    Crashes,
    /// Never reports; then the power goes
    #[value(name = "hang")]
    Hangs,
}

impl System {
    /// The same in a line.
    pub const fn does(self) -> &'static str {
        match self {
            Self::ShutsDown => "comes up and shuts down",
            Self::Crashes => "comes up and crashes",
            Self::Hangs => "hangs",
        }
    }
}

/// All states of one start.
pub struct Walk {
    nodes: IndexSet<Run, Hasher>,
    /// How each but the first was reached first.
    parents: Vec<(u32, What)>,
    edges: Vec<(u32, u32)>,
    /// Moves that end the start, with the state that they begin at.
    pub ends: Vec<(u32, Move)>,
    /// Moves, in the order in which they were found, that `watch` chose.
    pub watched: Vec<(u32, Move)>,
}

impl Walk {
    /// Breadth first, so that what is found first is found on a shortest way.
    ///
    /// # Errors
    /// When there are more states than `most`.
    pub fn of(
        model: &Model<'_>,
        begin: Run,
        world: World,
        most: usize,
        mut watch: impl FnMut(&Run, &Move) -> bool,
    ) -> Result<Self, usize> {
        let mut walk = Self {
            nodes: IndexSet::from_iter([begin]),
            parents: vec![(0, What::Restores(0))],
            edges: Vec::new(),
            ends: Vec::new(),
            watched: Vec::new(),
        };
        let mut next = 0;
        while let Some(&run) = walk.nodes.get_index(next) {
            if walk.nodes.len() > most {
                return Err(walk.nodes.len());
            }
            let from = next as u32;
            for made in model.moves(&run, world) {
                if watch(&run, &made) {
                    walk.watched.push((from, made));
                }
                if made.end.is_some() {
                    walk.ends.push((from, made));
                    continue;
                }
                let (to, is_new) = walk.nodes.insert_full(made.run);
                if is_new {
                    walk.parents.push((from, made.what));
                }
                walk.edges.push((from, to as u32));
            }
            next += 1;
        }
        Ok(walk)
    }

    /// How many states there are.
    pub fn states(&self) -> usize {
        self.nodes.len()
    }

    /// The steps that are ever reached.
    pub fn reached(&self, steps: usize) -> Vec<bool> {
        let mut reached = vec![false; steps];
        for run in &self.nodes {
            if let Some(step) = reached.get_mut(usize::from(run.at)) {
                *step = true;
            }
        }
        reached
    }

    /// The way to a state, and then this move.
    pub fn way(&self, model: &Model<'_>, to: u32, last: Option<Move>) -> Start {
        let mut moves: Vec<(Run, What)> = last.map(|m| (self.nodes[to as usize], m.what)).into_iter().collect();
        let mut at = to;
        while at != 0 {
            let (from, what) = self.parents[at as usize];
            moves.push((self.nodes[from as usize], what));
            at = from;
        }
        moves.reverse();
        let end = last.and_then(|m| m.end);
        let from = self.nodes[0].stored;
        let mut start = Start { from, broken: false, blind: false, steps: Vec::new(), end, system: None };
        // What nobody asked for is as a restore leaves it.
        if start.from.record == Record::OPEN {
            start.from = model.fresh(Record::OK);
        }
        for (before, what) in moves {
            match what {
                What::Part(p, part) => start.from.record.parts[p] = part,
                What::Restores(n) => start.from.record.restores = n,
                What::Broken(broken) => start.broken = broken,
                What::Step { fault, failed } => {
                    start.steps.push(Taken { at: usize::from(before.at), fault, failed, before });
                }
            }
        }
        // Broken or not makes no difference to whoever can't read it.
        let seen = |loads: &[Load]| start.steps.iter().any(|taken| loads.contains(&taken.before.load));
        start.broken &= seen(&[Load::Broken]) || !seen(&[Load::Unknown, Load::Guess]);
        start
    }

    /// A way that never ends: to a state, and from there back to it.
    pub fn circle(&self, model: &Model<'_>) -> Option<(Start, Vec<Taken>)> {
        let groups = circles(self.nodes.len(), &self.edges);
        let first = (0..self.nodes.len() as u32).find(|&n| groups.same(n, n))?;
        let mut start = self.way(model, first, None);
        let lap = self.lap(model, first);
        start.steps.extend(lap.iter().cloned());
        Some((start, lap))
    }

    /// The shortest way from a state back to it.
    fn lap(&self, model: &Model<'_>, first: u32) -> Vec<Taken> {
        let mut lap = Vec::new();
        for &(from, to) in shortest(&self.edges, |&edge| edge, first, first) {
            let before = self.nodes[from as usize];
            let moves = model.moves(&before, World::ALL);
            if let Some(Move { what: What::Step { fault, failed }, .. }) =
                moves.into_iter().find(|m| m.run == self.nodes[to as usize])
            {
                lap.push(Taken { at: usize::from(before.at), fault, failed, before });
            }
        }
        lap
    }
}

/// The shortest way of at least one edge; nothing where there is none. The edges stand in the order of where
/// they begin, and `ends` says where that is and where they lead.
pub fn shortest<E>(edges: &[E], ends: fn(&E) -> (u32, u32), from: u32, to: u32) -> Vec<&E> {
    let mut came: HashMap<u32, &E, Hasher> = HashMap::default();
    let mut queue = VecDeque::from([from]);
    'search: while let Some(at) = queue.pop_front() {
        let first = edges.partition_point(|edge| ends(edge).0 < at);
        for edge in edges[first..].iter().take_while(|edge| ends(edge).0 == at) {
            let next = ends(edge).1;
            // Back where it began is no step ahead, unless it was to lead there.
            if (next != from || next == to) && !came.contains_key(&next) {
                came.insert(next, edge);
                queue.push_back(next);
            }
            if next == to {
                break 'search;
            }
        }
    }
    let mut way = Vec::new();
    let mut at = to;
    while let Some(&edge) = came.get(&at) {
        way.push(edge);
        at = ends(edge).0;
        if at == from {
            break;
        }
    }
    way.reverse();
    way
}

/// Which nodes of a graph stand on a circle with each other.
pub struct Circles {
    group: Vec<u32>,
    /// Whether the group is a circle: more than one node, or one that leads to itself.
    round: Vec<bool>,
}

impl Circles {
    pub fn same(&self, a: u32, b: u32) -> bool {
        self.group[a as usize] == self.group[b as usize] && self.round[self.group[a as usize] as usize]
    }
}

/// The strongly connected parts of a graph.
pub fn circles(nodes: usize, edges: &[(u32, u32)]) -> Circles {
    let graph = petgraph::graph::DiGraph::<(), (), u32>::from_edges(edges);
    let mut circles = Circles { group: vec![u32::MAX; nodes], round: Vec::new() };
    for part in petgraph::algo::kosaraju_scc(&graph) {
        let number = circles.round.len() as u32;
        circles.round.push(part.len() > 1);
        for node in part {
            circles.group[node.index()] = number;
        }
    }
    for node in &mut circles.group {
        if *node == u32::MAX {
            *node = circles.round.len() as u32;
            circles.round.push(false);
        }
    }
    for &(node, _) in edges.iter().filter(|(a, b)| a == b) {
        let group = circles.group[node as usize] as usize;
        circles.round[group] = true;
    }
    circles
}

/// The one start that nothing goes wrong in but that these partitions, as bits, are found damaged, and can't be
/// mended.
pub fn calm(model: &Model<'_>, stored: Stored, damaged: u8) -> Option<(Start, Stored)> {
    let mut run = Run::begin(stored, false);
    let mut start = Start { from: stored, broken: false, blind: false, steps: Vec::new(), end: None, system: None };
    for _ in 0..10_000 {
        let made = calm_move(model, &run, damaged)?;
        if let What::Step { fault, failed } = made.what {
            start.steps.push(Taken { at: usize::from(run.at), fault, failed, before: run });
        }
        if made.end.is_some() {
            start.end = made.end;
            return Some((start, made.run.stored));
        }
        run = made.run;
    }
    None
}

fn calm_move(model: &Model<'_>, run: &Run, damaged: u8) -> Option<Move> {
    let looks_at_damage = match &model.step(usize::from(run.at)).verb {
        Verb::Verify { partition, .. } | Verb::Heal { partition, .. } => damaged & 1 << partition.number() != 0,
        _ => false,
    };
    let fails = |m: &Move| matches!(m.what, What::Step { failed: true, .. });
    match looks_at_damage {
        false => model.moves(run, World::CALM).first().copied(),
        true => model.moves(run, World { faults: true, ..World::CALM }).into_iter().find(fails),
    }
}

/// The same on and on over restarts, until a start ends otherwise; `most` starts.
pub fn calm_through(
    model: &Model<'_>,
    mut stored: Stored,
    damaged: u8,
    most: usize,
) -> (Vec<Start>, Option<(End, Stored)>) {
    let mut starts = Vec::new();
    for _ in 0..most {
        let Some((start, after)) = calm(model, stored, damaged) else { return (starts, None) };
        let end = start.end;
        starts.push(start);
        match end {
            Some(End::Restart) => stored = after,
            end => return (starts, end.map(|end| (end, after))),
        }
    }
    (starts, None)
}

/// All combinations of values, one a partition; `most` at most.
pub fn combinations(choices: &[Vec<Part>], most: usize) -> Vec<Record> {
    let mut all = vec![Record::OK];
    for (p, values) in choices.iter().enumerate() {
        let next: Vec<Record> = all
            .iter()
            .flat_map(|record| {
                values.iter().map(move |&value| {
                    let mut record = *record;
                    record.parts[p] = value;
                    record
                })
            })
            .take(most)
            .collect();
        all = next;
    }
    all
}

/// Partitions of which nothing bad is known.
pub fn good_values(partitions: usize) -> Vec<Vec<Part>> {
    vec![vec![Part::OK, Part::of(Bstate::Clean)]; partitions]
}
