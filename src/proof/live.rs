//! What a run may still be asked for: all else it knows makes no difference, and is forgotten, so that states
//! which differ in nothing that matters are one.

use knownstate_core::bstate::State;
use knownstate_core::logic::Verb;

use super::model::{Model, rewrites};
use super::state::{Content, MOST, OPEN, Part, Run};

/// What may be read at a step or after it, as bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Reads {
    /// Partitions whose state, failures and crashes are asked for.
    state: u8,
    failures: u8,
    crashes: u8,
    /// Partitions whose content, or whose earlier steps, matter.
    content: u8,
    boot: u8,
    restores: bool,
    /// Whether the operator's wish is asked for.
    wish: bool,
    once: u32,
}

/// For each step.
#[derive(Default)]
pub struct Live(Vec<Reads>);

impl Live {
    pub fn of(model: &Model<'_>) -> Self {
        let steps = model.program.steps();
        let mut all = vec![Reads::default(); steps.len()];
        // Backwards until nothing changes: what a step reads, and what those after it read.
        loop {
            let mut changed = false;
            for at in (0..steps.len()).rev() {
                let step = &steps[at];
                let mut reads = own(model, &step.verb);
                reads.once |= if rewrites(&step.verb) { model.once(step) } else { 0 };
                let next = match step.verb {
                    Verb::Goto(to) => Some(to),
                    Verb::Restart | Verb::PowerOff | Verb::Hold(_) => None,
                    _ => Some(at + 1),
                };
                for after in [next, step.otherwise].into_iter().flatten().filter_map(|at| all.get(at)) {
                    reads.join(after);
                }
                changed |= all[at] != reads;
                all[at] = reads;
            }
            if !changed {
                return Self(all);
            }
        }
    }

    /// Whether anybody will ask for a partition's state or counters, at a step or after it.
    pub fn asks_for(&self, at: usize, p: usize) -> bool {
        self.0.get(at).is_some_and(|reads| (reads.state | reads.failures | reads.crashes) & 1 << p != 0)
    }

    /// Whether anybody will ask for the number of restores.
    pub fn asks_for_restores(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|reads| reads.restores)
    }

    /// Forgets what nobody will ask for.
    pub fn forget(&self, run: &mut Run) {
        let Some(reads) = self.0.get(usize::from(run.at)) else { return };
        for p in 0..MOST {
            let bit = 1 << p;
            let part = &mut run.memory.parts[p];
            if reads.state & bit == 0 && reads.failures & bit == 0 && reads.crashes & bit == 0 {
                *part = Part::OPEN;
            }
            if reads.failures & bit == 0 {
                part.failures = 0;
            }
            if reads.crashes & bit == 0 {
                part.crashes = 0;
            }
        }
        if !reads.restores {
            run.memory.restores = OPEN;
        }
        self.forget_marks(run);
    }

    /// The same of what is not in bstate.txt.
    pub fn forget_marks(&self, run: &mut Run) {
        let Some(reads) = self.0.get(usize::from(run.at)) else { return };
        run.begun &= reads.boot;
        run.in_vain &= reads.boot;
        run.once &= reads.once;
        run.wished &= reads.wish;
        run.condemned &= reads.content;
        run.guessed &= reads.content != 0;
        for (p, content) in run.content.iter_mut().enumerate() {
            if reads.content & 1 << p == 0 {
                *content = Content::Unseen;
            }
        }
    }
}

impl Reads {
    fn join(&mut self, other: &Self) {
        self.state |= other.state;
        self.failures |= other.failures;
        self.crashes |= other.crashes;
        self.content |= other.content;
        self.boot |= other.boot;
        self.restores |= other.restores;
        self.wish |= other.wish;
        self.once |= other.once;
    }
}

/// What a step itself reads.
fn own(model: &Model<'_>, verb: &Verb) -> Reads {
    let mut reads = Reads::default();
    match verb {
        Verb::IfState(p, _) => reads.state |= 1 << p.number(),
        Verb::IfFailures(p, _) => reads.failures |= 1 << p.number(),
        // A boot that finds the partition Clean counts as a crash.
        Verb::IfCrashes(p, _) => {
            reads.crashes |= 1 << p.number();
            reads.state |= 1 << p.number();
        }
        Verb::Set(p, State::Clean) => reads.state |= 1 << p.number(),
        Verb::IfRestores(_) => reads.restores = true,
        Verb::IfNext(_) => reads.wish = true,
        Verb::Boot(p) => {
            reads.boot |= 1 << p.number();
            reads.content |= 1 << p.number();
        }
        Verb::Verify { partition, .. } => reads.content |= 1 << partition.number(),
        verb => {
            for p in model.targets(verb) {
                reads.content |= 1 << p;
                reads.state |= 1 << p;
            }
        }
    }
    reads
}
