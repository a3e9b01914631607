//! The interpreter: reads logic.txt from the boot medium and follows it. The only loop.

use alloc::format;
use alloc::string::{String, ToString};

use crate::cache::Cache;
use crate::event::Event;
use crate::logic::{self, Cd, PartitionIndex, Program, Step, Verb};
use crate::machine::{Ending, Machine};
use crate::media::iso9660::{CdError, Iso};
use crate::steps::{Context, Outcome, name_of};
use crate::table::unpack::Buffers;

/// Steps of one run. A flow that takes more goes round in a circle.
const MAX_STEPS: usize = 10_000;
/// So many mistakes in logic.txt are shown; `knownstate check` shows them all.
const MAX_TOLD: usize = 4;
/// The longest `wait`, in seconds; a longer one is taken for this.
const MAX_WAIT: u32 = 24 * 60 * 60;

/// Runs logic.txt from the boot medium to its end. Whatever is wrong with it, the machine holds and
/// says so, and nothing is written. `buffers` is memory for large transfers.
pub fn run(machine: &mut dyn Machine, buffers: Buffers<'_>) -> Ending {
    let machine = &mut Cache::new(machine);
    let loaded = open(machine).and_then(|(cd, text)| {
        let program = load(machine, &text)?;
        Ok((cd, program))
    });
    match loaded {
        Ok((cd, program)) => follow(&mut Context::new(machine, buffers, cd, &program)),
        Err(why) => {
            let step = format!("read {}", logic::FILE);
            machine.tell(&Event::Outcome { label: "-", step: &step, failed: true, reason: &why });
            let text = "hold \"nothing was written: the CD has no logic.txt that can be followed\"";
            hold(machine, text, &why)
        }
    }
}

/// The boot medium and its logic.txt; where there is none, the log's first line is told.
#[inline(never)]
fn open(machine: &mut dyn Machine) -> Result<(Iso, String), String> {
    let read = Iso::open(machine).and_then(|cd| {
        let bytes = cd.read_file(machine, logic::FILE, logic::MAX_BYTES)?;
        Ok((cd, bytes))
    });
    let read = read.map_err(|e: CdError| e.to_string()).and_then(|(cd, bytes)| {
        let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_string())?;
        Ok((cd, text))
    });
    read.inspect_err(|_| greet(machine, None))
}

/// The log's first line: which program this is, and which CD.
fn greet(machine: &mut dyn Machine, cd: Option<&Cd>) {
    let name = concat!("Knownstate ", env!("CARGO_PKG_VERSION"));
    match cd {
        Some(cd) => machine.tell(&Event::Note(&format!("{name}, CD \"{}\" version {}", cd.name, cd.version))),
        None => machine.tell(&Event::Note(name)),
    }
}

#[inline(never)]
fn load(machine: &mut dyn Machine, text: &str) -> Result<Program, String> {
    let parsed = logic::parse(text);
    greet(machine, parsed.as_ref().ok().and_then(Program::cd));
    parsed.map_err(|diagnostics| {
        for line in diagnostics.iter().take(MAX_TOLD).flat_map(|diagnostic| diagnostic.narrow(text)) {
            machine.tell(&Event::Note(&line));
        }
        let more = diagnostics.len().saturating_sub(1);
        let first = diagnostics.first().map(ToString::to_string).unwrap_or_default();
        if more == 0 { first } else { format!("{first}; and {more} more") }
    })
}

/// Where the flow goes after a step.
enum Next {
    /// To the next one, or to `else`.
    Done(Outcome),
    /// There.
    Jump(usize),
    /// Nowhere: after this remark the machine does that.
    End(String, Ending),
}

#[inline(never)]
fn follow(context: &mut Context<'_>) -> Ending {
    let program = context.program;
    let mut at = 0;
    for _ in 0..MAX_STEPS {
        // The logic check sees to it that no flow runs past the last step.
        let Some(step) = program.steps().get(at) else { break };
        context.machine.begin(at);
        match carry_out(context, at, step) {
            Next::Done(outcome) => {
                tell(context, step, &outcome);
                at = match (&outcome, step.otherwise) {
                    (Err(_), Some(otherwise)) => otherwise,
                    _ => at + 1,
                };
                if let (Err(why), Some(partition)) = (&outcome, step.verb.partition()) {
                    context.found(partition, step, why);
                }
            }
            Next::Jump(to) => {
                tell(context, step, &Ok(String::new()));
                at = to;
            }
            Next::End(remark, ending) => {
                context.settle_states();
                context.settle_notes();
                tell(context, step, &Ok(remark));
                return ending;
            }
        }
    }
    context.settle_states();
    hold(context.machine, &format!("hold \"logic.txt goes round in a circle: {MAX_STEPS} steps\""), "")
}

#[inline(never)]
fn tell(context: &mut Context<'_>, step: &Step, outcome: &Outcome) {
    context.tell(&step.label, &step.text, outcome);
    if let Err(reason) = outcome {
        context.trouble = format!("{} {reason}", name_of(step));
    }
}

#[inline(never)]
fn carry_out(context: &mut Context<'_>, at: usize, step: &Step) -> Next {
    Next::Done(match &step.verb {
        Verb::VerifyMbr(disk) => context.verify_mbr(*disk),
        Verb::Verify { partition, quick } => context.verify_partition(step, *partition, *quick),
        Verb::VerifyImages => context.verify_images(step),
        Verb::IfState(partition, state) => context.if_state(*partition, *state),
        Verb::IfDisk(disk, state) => context.if_disk(*disk, *state),
        Verb::IfNext(wish) => context.if_next(wish),
        Verb::IfFailures(partition, limit) => context.if_failures(*partition, *limit),
        Verb::IfCrashes(partition, limit) => context.if_crashes(*partition, *limit),
        Verb::IfRestores(limit) => context.if_restores(*limit),
        Verb::Set(partition, state) => context.set_state(at, *partition, *state),
        Verb::Activate(partition) => context.activate(*partition),
        Verb::RepairMbr(disk) => context.repair_mbr(*disk),
        Verb::Heal { partition, from } => context.heal(step, *partition, *from),
        Verb::RestorePartition(partition) => context.restore_partition(step, *partition),
        Verb::RestoreDisk(disk) => context.restore_disk(step, *disk),
        Verb::Watchdog { seconds, chip } => context.machine.watchdog(*seconds, *chip),
        Verb::Wait(seconds) => wait(context.machine, *seconds),
        Verb::Notify(_) => {
            context.machine.beep(2);
            Ok(String::new())
        }
        Verb::Boot(partition) => return boot(context, *partition),
        Verb::Goto(to) => return Next::Jump(*to),
        Verb::Restart => return Next::End(String::new(), Ending::Restart),
        Verb::PowerOff => return Next::End(String::new(), Ending::PowerOff),
        Verb::Hold(_) => {
            let (label, text) = (step.label.clone(), step.text.clone());
            return Next::End(String::new(), Ending::Hold { label, step: text, why: context.trouble.clone() });
        }
    })
}

#[inline(never)]
fn boot(context: &mut Context<'_>, partition: PartitionIndex) -> Next {
    match context.boot(partition) {
        Err(why) => Next::Done(Err(why)),
        Ok((remark, hand_off)) => {
            // A machine that comes up without its state noted is better than one that does not.
            let noted = context.note_booting(partition);
            let remark = noted.err().map_or(remark.clone(), |why| format!("{remark}; {why}"));
            Next::End(remark, Ending::HandOff(hand_off))
        }
    }
}

/// Counts the seconds down; a key ends it.
fn wait(machine: &mut dyn Machine, seconds: u32) -> Outcome {
    let end = machine.now().saturating_add(u64::from(seconds.min(MAX_WAIT)) * 1000);
    // A key from the BIOS's own menu is not meant for us.
    machine.key_pressed();
    while machine.now() < end {
        if machine.key_pressed() {
            return Err("a key was pressed".to_string());
        }
        machine.pause();
    }
    machine.forget();
    Ok(String::new())
}

fn hold(machine: &mut dyn Machine, step: &str, why: &str) -> Ending {
    machine.tell(&Event::Outcome { label: "-", step, failed: false, reason: "" });
    Ending::Hold { label: "-".to_string(), step: step.to_string(), why: why.to_string() }
}

impl Verb {
    /// The partition whose fault it is when the step fails.
    fn partition(&self) -> Option<PartitionIndex> {
        match self {
            Self::Verify { partition, .. } | Self::Heal { partition, .. } => Some(*partition),
            Self::Boot(partition) | Self::Activate(partition) | Self::RestorePartition(partition) => Some(*partition),
            _ => None,
        }
    }
}
