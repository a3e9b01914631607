//! Starts, one after the other, until the machine is up.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use knownstate_core::machine::Ending;

use crate::common::machine::{Disk, Happened, Pc};
use crate::rules::{Broken, Start};
use crate::world::World;

/// Starts that may be needed: one to restore, one to find out that a copy is bad, one to spare.
const STARTS: usize = 4;

/// How a start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In a hand-off to this partition.
    Up(usize),
    Restart,
    /// It holds, and may.
    Held,
}

/// One start, and what it did.
pub struct Lived {
    pub before: Disk,
    pub happened: Vec<Happened>,
    pub end: End,
}

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Panics of a machine at work are findings, which are told as such, and not twice.
pub fn find_panics() {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        if !AT_WORK.get() {
            usual(panic);
        }
    }));
}

/// Switches the machine on, and looks at all that it does.
pub fn start(world: &World, pc: &mut Pc) -> Result<Lived, Broken> {
    let before = pc.disks[0].clone();
    pc.happened = Some(Vec::new());
    // A write to where nothing may be written, and a run without an end, are panics of the machine's.
    AT_WORK.set(true);
    let ending = catch_unwind(AssertUnwindSafe(|| pc.start()));
    AT_WORK.set(false);
    let ending = ending.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map_or("a panic without a text", String::as_str);
        Broken { rule: "inside", how: text.lines().next().unwrap_or_default().to_string() }
    })?;
    let happened = pc.happened.take().unwrap_or_default();
    let mut rules = Start::new(world, &before, &happened);
    rules.follow(&happened)?;
    let end = match ending {
        Ending::HandOff(to) => {
            let n = usize::from(to.entry);
            rules.handed_off(pc, n)?;
            End::Up(n)
        }
        Ending::Restart => End::Restart,
        Ending::Hold { .. } if rules.may_hold() => End::Held,
        Ending::Hold { step, why, .. } => return Err(Broken { rule: "up", how: format!("{step}: {why}") }),
        Ending::PowerOff => return Err(Broken { rule: "up", how: "it switched itself off".into() }),
    };
    Ok(Lived { before, happened, end })
}

/// Starts until the machine is up; all of them.
pub fn come_up(world: &World, pc: &mut Pc) -> Result<Vec<Lived>, Broken> {
    let mut lives = Vec::new();
    while lives.len() < STARTS {
        let lived = start(world, pc)?;
        let end = lived.end;
        lives.push(lived);
        if end != End::Restart {
            return Ok(lives);
        }
    }
    Err(Broken { rule: "up", how: format!("no hand-off after {STARTS} starts") })
}
