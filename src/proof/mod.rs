//! `knownstate check`'s proof: every outcome of every step from everything that bstate.txt can say.
//!
//! The flow is data, and [`model`] says what each step may come to. [`walk`] follows one start through all of
//! it, [`graph`] what starts leave to each other; [`findings`] asks the questions, and [`print`] shows the
//! answers as a run would print them. What is assumed: docs/PROOF.md.

mod findings;
mod graph;
mod live;
pub mod model;
mod print;
pub mod state;
pub mod walk;

use std::time::{Duration, Instant};

use knownstate_core::logic::Program;

pub use findings::Severity;

/// What came of the proof.
pub struct Proof {
    /// What was found, the worst first.
    pub findings: Vec<Shown>,
    /// States looked at.
    pub states: usize,
    /// How long that took.
    pub took: Duration,
}

/// A finding in words.
pub struct Shown {
    /// Whether `build` stops at it.
    pub severity: Severity,
    /// The step's line in logic.txt, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
    /// How it comes about: lines as a run prints them, and the command that shows it. May be empty.
    pub trace: String,
}

/// Proves a flow, or finds out what is wrong with it. `file` is its name, for the commands shown.
///
/// # Errors
/// Why it can't be proved.
pub fn prove(program: &Program, file: &str) -> Result<Proof, String> {
    let began = Instant::now();
    let model = model::Model::new(program)?;
    let (findings, states) = findings::all(&model)
        .map_err(|states| format!("there are too many states: {states} were looked at; use lower limits, or fewer"))?;
    let findings = findings.into_iter().map(|finding| print::show(&model, file, finding)).collect();
    Ok(Proof { findings, states, took: began.elapsed() })
}
