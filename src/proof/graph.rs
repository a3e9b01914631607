//! What starts leave to those after them, when the system never reports in between.

use std::collections::HashMap;

use super::model::{End, Model, Move, World};
use super::state::{Run, Stored};
use super::walk::{Circles, MOST_STATES, Start, System, Walk, circles, shortest};

/// What stands on the disks between starts, and which start leads from where to where.
pub struct Graph {
    nodes: Vec<Stored>,
    /// From, to, and what was overwritten on the way: see [`Run::overwrote`].
    edges: Vec<(u32, u32, u32)>,
    circles: Circles,
    world: World,
    /// States looked at.
    pub states: usize,
}

/// Which ends lead to another start.
pub type Goes = fn(End, &Run) -> bool;

impl Graph {
    /// All that can follow from `seeds`.
    ///
    /// # Errors
    /// How many states there were when it became too much.
    pub fn of(model: &Model<'_>, seeds: Vec<Stored>, world: World, goes: Goes) -> Result<Self, usize> {
        let mut numbers: HashMap<Stored, u32> = HashMap::new();
        let mut graph = Self { nodes: Vec::new(), edges: Vec::new(), circles: circles(0, &[]), world, states: 0 };
        for seed in seeds {
            graph.number(&mut numbers, seed);
        }
        let mut next = 0;
        while next < graph.nodes.len() {
            let walk = graph.walk(model, next as u32)?;
            graph.states += walk.states();
            if graph.states > MOST_STATES {
                return Err(graph.states);
            }
            let mut found: Vec<(Stored, u32)> = walk.ends.iter().filter_map(|(_, made)| leads(made, goes)).collect();
            found.sort_unstable();
            found.dedup();
            for (to, overwrote) in found {
                let to = graph.number(&mut numbers, to);
                graph.edges.push((next as u32, to, overwrote));
            }
            next += 1;
        }
        let edges: Vec<(u32, u32)> = graph.edges.iter().map(|&(a, b, _)| (a, b)).collect();
        graph.circles = circles(graph.nodes.len(), &edges);
        Ok(graph)
    }

    fn number(&mut self, numbers: &mut HashMap<Stored, u32>, stored: Stored) -> u32 {
        *numbers.entry(stored).or_insert_with(|| {
            self.nodes.push(stored);
            self.nodes.len() as u32 - 1
        })
    }

    fn walk(&self, model: &Model<'_>, node: u32) -> Result<Walk, usize> {
        Walk::of(model, Run::begin(self.nodes[node as usize], false), self.world, MOST_STATES, |_, _| false)
    }

    /// A round that never ends, on whose first start all of `overwrote` is overwritten.
    pub fn round(&self, model: &Model<'_>, overwrote: u32, goes: Goes) -> Option<Vec<Start>> {
        let on_it = |e: &&(u32, u32, u32)| e.2 & overwrote == overwrote && self.circles.same(e.0, e.1);
        let first = self.edges.iter().find(on_it)?;
        let mut way = vec![first];
        if first.1 != first.0 {
            way.extend(shortest(&self.edges, |edge| (edge.0, edge.1), first.1, first.0));
        }
        way.into_iter().map(|edge| self.start(model, edge, goes)).collect()
    }

    fn start(&self, model: &Model<'_>, edge: &(u32, u32, u32), goes: Goes) -> Option<Start> {
        let walk = self.walk(model, edge.0).ok()?;
        let wanted = Some((self.nodes[edge.1 as usize], edge.2));
        let (at, made) = walk.ends.iter().find(|(_, made)| leads(made, goes) == wanted)?;
        let mut start = walk.way(model, *at, Some(*made));
        start.blind = self.world.blind;
        start.system = matches!(start.end, Some(End::HandOff(_))).then_some(System::Hangs);
        Some(start)
    }
}

/// What a move that ends a start leaves to the next one.
fn leads(made: &Move, goes: Goes) -> Option<(Stored, u32)> {
    made.end.filter(|&end| goes(end, &made.run)).map(|_| (made.run.stored, made.run.overwrote))
}
