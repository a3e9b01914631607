//! `--os`: what the system does after a hand-off.

use knownstate_core::bstate::Record;
use knownstate_core::logic::{Program, Verb};

use super::machine::FileMachine;
use super::state::amend;
use crate::proof::walk::System;

impl System {
    /// What it writes to bstate.txt, one write each, as `bstate` does.
    fn reports(self) -> &'static [fn(&mut Record, &str)] {
        match self {
            Self::ShutsDown => &[Record::report_booted, Record::report_shutdown],
            Self::Crashes => &[Record::report_booted],
            Self::Hangs => &[],
        }
    }

    /// Runs it: a line, and its reports.
    pub fn run(self, machine: &mut FileMachine, program: &Program) {
        let step = program.steps().get(machine.step()).map(|step| &step.verb);
        let Some(Verb::Boot(partition)) = step else { return };
        println!("# the system on {} {}", program.partition(*partition).name, self.does());
        for report in self.reports() {
            if let Err(why) = amend(machine, program, |record| of_the_booted(record, *report)) {
                println!("# it can't report: {why}");
            }
        }
    }
}

/// The system knows from bstate.txt alone which partition it was booted from.
fn of_the_booted(record: &mut Record, report: fn(&mut Record, &str)) -> Result<(), String> {
    let name = record.booting.clone();
    if record.get(&name).is_none() {
        return Err("bstate.txt does not say which partition was booted".to_string());
    }
    report(record, &name);
    Ok(())
}
