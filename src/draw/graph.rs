//! A logic.txt as a graph: what is a box, what leads where, and which way is the good one.

use std::collections::BTreeMap;

use knownstate_core::logic::{Program, Step, Verb};

/// The start's place in [`Graph::nodes`].
pub const START: usize = 0;

/// What a box looks like: the source document's vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A diamond: its outcome decides, and nothing was changed.
    Question,
    /// A rectangle.
    Action,
    /// Where the machine comes from, or ends well: power on, hand-off, restart.
    Terminal,
    /// Where it ends otherwise: hold, power off.
    Stop,
}

/// When an edge is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The step succeeded.
    Ok,
    /// It failed.
    Failed,
    /// A boot did not come about.
    FallsThrough,
    /// Whatever the step came to.
    Either,
}

/// A box.
pub struct Node {
    /// Its place in the program's steps; the start is none.
    pub step: Option<usize>,
    /// What it looks like.
    pub shape: Shape,
    /// The step's label, if it has one.
    pub label: Option<String>,
    /// What stands in it.
    pub text: String,
    /// What a pointer that rests on it shows: line number and step.
    pub title: String,
    /// The column that it stands in.
    pub chain: usize,
    /// Whether anything leads to it.
    pub reachable: bool,
}

/// A line between two boxes.
pub struct Edge {
    /// Place in [`Graph::nodes`].
    pub from: usize,
    /// Place in [`Graph::nodes`].
    pub to: usize,
    /// When it is taken.
    pub kind: Kind,
    /// The word beside it; may be empty.
    pub word: &'static str,
    /// The `goto`s that it stands for: line number and step.
    pub via: Vec<String>,
    /// Whether it leads down its own column.
    pub along: bool,
    /// Whether it is a part of the good path.
    pub good: bool,
    /// Whether it is all that leads to the head of a column further right.
    pub branch: bool,
}

/// The flowchart. The first column is the good path: from the start as long as all goes well.
pub struct Graph {
    /// The start, then every box, column by column.
    pub nodes: Vec<Node>,
    /// Every line, by the box it comes from.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// Draws nothing yet: only says what is to be drawn.
    pub fn of(program: &Program) -> Self {
        let flow = Flow::of(program);
        let chains = flow.chains();
        let mut nodes = vec![start()];
        let mut place = BTreeMap::from([(None, START)]);
        let reachable = flow.reachable();
        for (chain, steps) in chains.iter().enumerate() {
            for &at in steps {
                place.insert(Some(at), nodes.len());
                nodes.extend(program.steps().get(at).map(|step| Node { chain, ..node(at, step, reachable[at]) }));
            }
        }
        let mut edges = flow.edges;
        edges.sort_by_key(|edge| (place.get(&edge.from), edge.kind == Kind::Failed));
        let edges = edges.iter().filter_map(|e| {
            let (from, to) = (*place.get(&e.from)?, *place.get(&Some(e.to))?);
            let along = to == from + 1 && nodes.get(from)?.chain == nodes.get(to)?.chain;
            let via = e.via.iter().filter_map(|&at| program.steps().get(at)).map(title).collect();
            let word = word(e.from.and_then(|at| program.steps().get(at)), e.kind);
            Some(Edge {
                from,
                to,
                kind: e.kind,
                word,
                via,
                along,
                good: along && nodes.get(to)?.chain == 0,
                branch: false,
            })
        });
        let mut graph = Self { edges: edges.collect(), nodes };
        graph.mark_branches();
        graph
    }

    /// How many lines lead to each box from others.
    pub fn arrivals(&self) -> Vec<usize> {
        let mut arrivals = vec![0; self.nodes.len()];
        self.edges.iter().filter(|edge| edge.from != edge.to).for_each(|edge| arrivals[edge.to] += 1);
        arrivals
    }

    fn mark_branches(&mut self) {
        let arrivals = self.arrivals();
        for edge in &mut self.edges {
            let (from, to) = (&self.nodes[edge.from], &self.nodes[edge.to]);
            edge.branch = edge.kind == Kind::Failed && arrivals[edge.to] == 1 && from.chain < to.chain;
        }
    }
}

fn start() -> Node {
    let title = "the machine is switched on, or restarts".to_string();
    let text = "power on".to_string();
    Node { step: None, shape: Shape::Terminal, label: None, text, title, chain: 0, reachable: true }
}

fn node(at: usize, step: &Step, reachable: bool) -> Node {
    let label = Some(step.label.clone()).filter(|label| label != "-");
    let title = title(step) + if reachable { "" } else { " (nothing leads here)" };
    Node { step: Some(at), shape: shape(&step.verb), label, text: wording(step), title, chain: 0, reachable }
}

/// Line number, label and step.
fn title(step: &Step) -> String {
    let label = if step.label == "-" { String::new() } else { format!("{} ", step.label) };
    format!("line {}: {label}{}", step.line, step.text)
}

fn shape(verb: &Verb) -> Shape {
    match verb {
        Verb::VerifyMbr(_) | Verb::Verify { .. } | Verb::VerifyImages | Verb::Wait(_) => Shape::Question,
        verb if asks(verb) => Shape::Question,
        Verb::Boot(_) | Verb::Restart => Shape::Terminal,
        Verb::Hold(_) | Verb::PowerOff => Shape::Stop,
        _ => Shape::Action,
    }
}

/// Whether it is an `if`.
fn asks(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::IfState(..)
            | Verb::IfDisk(..)
            | Verb::IfNext(_)
            | Verb::IfFailures(..)
            | Verb::IfCrashes(..)
            | Verb::IfRestores(_)
    )
}

/// The step as written; an `if` as the question that it is.
fn wording(step: &Step) -> String {
    match step.text.split_once(' ') {
        Some((_, question)) if asks(&step.verb) => format!("{question}?"),
        _ => step.text.clone(),
    }
}

fn word(step: Option<&Step>, kind: Kind) -> &'static str {
    let Some(step) = step else { return "" };
    let wait = matches!(step.verb, Verb::Wait(_));
    match kind {
        Kind::FallsThrough => "falls through",
        Kind::Either => "either way",
        Kind::Ok if wait => "time is up",
        Kind::Failed if wait => "a key",
        Kind::Ok if asks(&step.verb) => "yes",
        Kind::Failed if asks(&step.verb) => "no",
        Kind::Ok if shape(&step.verb) == Shape::Question => "ok",
        Kind::Ok => "",
        Kind::Failed => "failed",
    }
}

/// An edge between steps; from the start where `from` is none.
struct Way {
    from: Option<usize>,
    to: usize,
    kind: Kind,
    via: Vec<usize>,
}

/// The program without its `goto`s.
struct Flow {
    /// Whether a step gets a box. A `goto` does where no line can stand for it: it leads round in a circle of
    /// nothing else, or nothing leads to it.
    boxed: Vec<bool>,
    edges: Vec<Way>,
}

impl Flow {
    fn of(program: &Program) -> Self {
        let targets: Vec<_> = program.steps().iter().map(|step| target(&step.verb)).collect();
        let mut boxed: Vec<_> = (0..targets.len()).map(|at| targets[at].is_none() || circles(&targets, at)).collect();
        let mut edges = ways(program, &boxed);
        let mut covered = boxed.clone();
        edges.iter().flat_map(|way| &way.via).for_each(|&at| covered[at] = true);
        if covered.contains(&false) {
            boxed.iter_mut().zip(covered).for_each(|(boxed, covered)| *boxed |= !covered);
            edges = ways(program, &boxed);
        }
        Self { boxed, edges }
    }

    /// The steps column by column: each goes on as long as all goes well and the step is in none before.
    fn chains(&self) -> Vec<Vec<usize>> {
        let mut after = vec![None; self.boxed.len()];
        let mut first = 0;
        for way in self.edges.iter().filter(|way| matches!(way.kind, Kind::Ok | Kind::Either)) {
            match way.from {
                Some(from) => after[from] = Some(way.to),
                None => first = way.to,
            }
        }
        let mut free = self.boxed.clone();
        let mut chains = Vec::new();
        for head in [first].into_iter().chain(0..free.len()) {
            let next = std::iter::successors(Some(head), |&at| after[at]);
            // Whatever is met was free until now, so that each step comes into one column.
            let chain: Vec<_> = next.take_while(|&at| std::mem::take(&mut free[at])).collect();
            chains.extend(Some(chain).filter(|chain| !chain.is_empty()));
        }
        chains
    }

    fn reachable(&self) -> Vec<bool> {
        let mut out: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        self.edges.iter().for_each(|way| out.entry(way.from).or_default().push(way.to));
        let mut reached = vec![false; self.boxed.len()];
        let mut open = vec![None];
        while let Some(at) = open.pop() {
            for &to in out.get(&at).into_iter().flatten() {
                if !std::mem::replace(&mut reached[to], true) {
                    open.push(Some(to));
                }
            }
        }
        reached
    }
}

fn target(verb: &Verb) -> Option<usize> {
    if let Verb::Goto(to) = verb { Some(*to) } else { None }
}

/// Whether following `goto`s from this one leads to it again.
fn circles(targets: &[Option<usize>], from: usize) -> bool {
    std::iter::successors(targets[from], |&at| targets.get(at).copied().flatten())
        .take(targets.len())
        .any(|at| at == from)
}

/// Every way from one box to another; ways of one step to the same box are one.
fn ways(program: &Program, boxed: &[bool]) -> Vec<Way> {
    let mut ways: Vec<Way> = resolve(program, boxed, None, 0, Kind::Ok).into_iter().collect();
    for (at, step) in program.steps().iter().enumerate().filter(|&(at, _)| boxed[at]) {
        let next = |to, kind| resolve(program, boxed, Some(at), to, kind);
        let below = at + 1;
        let (good, bad) = match &step.verb {
            Verb::Goto(to) => (next(*to, Kind::Ok), None),
            Verb::Boot(_) => (None, next(step.otherwise.unwrap_or(below), Kind::FallsThrough)),
            Verb::Restart | Verb::PowerOff | Verb::Hold(_) => (None, None),
            _ => (next(below, Kind::Ok), step.otherwise.and_then(|to| next(to, Kind::Failed))),
        };
        match (good, bad) {
            (Some(good), Some(bad)) if good.to == bad.to => {
                let via = good.via.into_iter().chain(bad.via).collect();
                ways.push(Way { kind: Kind::Either, via, ..good });
            }
            both => ways.extend(both.0.into_iter().chain(both.1)),
        }
    }
    ways
}

/// Where a step's outcome leads in the end.
fn resolve(program: &Program, boxed: &[bool], from: Option<usize>, to: usize, kind: Kind) -> Option<Way> {
    let mut way = Way { from, to, kind, via: Vec::new() };
    // No `goto` without a box leads to itself again, so this ends.
    while let Some(next) = program.steps().get(way.to).filter(|_| !boxed[way.to]).and_then(|s| target(&s.verb)) {
        way.via.push(way.to);
        way.to = next;
    }
    program.steps().get(way.to).map(|_| way)
}
