//! A finding in words: what is wrong, what would be right, and how it comes about, as a run prints it.

use std::fmt::Write;

use clap::ValueEnum;
use knownstate_core::logic::{Step, Verb};

use super::Shown;
use super::findings::{Finding, Kind};
use super::model::{End, Fault, Model, rewrites};
use super::state::{Bstate, Load, Part, Stored};
use super::walk::{Start, Taken};

/// What lets a restore lose what no seal covers.
const LOSING: &str = "allow losing what is not protected";

/// Steps of one start that are shown; a longer way is shown by its end.
const MOST_LINES: usize = 60;

pub fn show(model: &Model<'_>, file: &str, finding: Finding) -> Shown {
    let step = model.step(finding.step);
    let name = |p: usize| model.name(p);
    let text = &step.text;
    let (message, help) = match finding.kind {
        Kind::Endless => (
            format!("the flow can go round and round through `{text}`"),
            "let one of the steps in the circle lead out of it, to another step or `hold`".to_string(),
        ),
        Kind::Restarts { .. } => (
            "the machine can restart for ever without booting or restoring anything".to_string(),
            "ask for a counter before the `restart`, or end in `hold` instead".to_string(),
        ),
        Kind::Destroys(p) => (
            format!("`{text}` can destroy {}, which was verified and is not Dirty", name(p)),
            format!("{}; if this is meant, write `{text} allow good copies`", first(model, &finding, p)),
        ),
        Kind::Loses { partition, of_disk } => {
            let instead = if of_disk { "" } else { "leave it out, so that another copy goes on; " };
            (
                format!("`{text}` can lose what is not protected in {}", name(partition)),
                format!("{instead}if this is meant, write `{text} {LOSING}`"),
            )
        }
        Kind::NotAgain(p) => (
            format!("{} is booted and shut down properly, and then it is not booted again", name(p)),
            format!("let the flow reach `{text}` when {} is OK", name(p)),
        ),
        Kind::NoOther(p) => (
            format!("one failed boot of {}, and nothing is booted any more", name(p)),
            "try it again (`failures below 3`), or go on to another copy or a restore".to_string(),
        ),
        Kind::NeverTried(p) => (
            format!("when boots keep failing, the machine ends here, and {} was never tried", name(p)),
            format!("let the flow go on to {} before", name(p)),
        ),
        Kind::Unbounded if finding.starts.iter().any(|start| start.blind) => (
            format!("nothing bounds `{text}` where no bstate.txt can be read: failures are not counted then"),
            "ask `if restores below N` before it, which memory counts too, and end in `hold` when that fails"
                .to_string(),
        ),
        Kind::Unbounded => (
            format!("nothing bounds `{text}`: it can be repeated for ever while no system reports"),
            "ask `if restores below N` before it, and end in `hold` when that fails".to_string(),
        ),
        Kind::Condemned(p) => (
            format!(
                "one failed boot, such as one that a power cut ended, and {} is given up though it is whole",
                name(p)
            ),
            format!("ask `if {} failures below 3` instead of its state", name(p)),
        ),
        Kind::Unreachable(steps) => {
            let more = if steps > 1 { format!(" and {} more from there on are", steps - 1) } else { " is".to_string() };
            let label = if step.label == "-" { String::new() } else { format!(": label {} is never used", step.label) };
            (format!("`{text}`{more} never reached{label}"), "leave it out, or let a step lead to it".to_string())
        }
        Kind::NotDirty(p) => (
            format!("{} is booted and was not set Dirty before: a boot that fails is never noticed", name(p)),
            format!("write `set {} Dirty` before it", name(p)),
        ),
        Kind::NotActive(p) => (
            format!("{} is booted while another partition is active", name(p)),
            format!("write `activate {} else ...` before it: some systems look for the active partition", name(p)),
        ),
    };
    let trace = trace(model, file, &finding);
    Shown { severity: finding.severity(), line: step.line, message, help, trace }
}

/// What keeps a good copy.
fn first(model: &Model<'_>, finding: &Finding, p: usize) -> String {
    let last = finding.starts.last().and_then(|start| start.steps.last());
    let name = model.name(p);
    if last.is_some_and(|taken| taken.before.guessed) {
        return format!(
            "where bstate.txt can't be read every `if {name} ...` fails: let that of `if {name} is Dirty`, before \
            any `set`, lead to its boot"
        );
    }
    format!("boot {name} first")
}

fn trace(model: &Model<'_>, file: &str, finding: &Finding) -> String {
    let mut out = String::new();
    let Some(first) = finding.starts.first() else { return out };
    if first.blind {
        let _ = writeln!(out, "where no bstate.txt can be read or written:");
    } else {
        let _ = writeln!(out, "with {} in bstate.txt:", state_words(model, first, ", "));
    }
    for start in &finding.starts {
        let skipped = start.steps.len().saturating_sub(MOST_LINES);
        if skipped > 0 {
            let _ = writeln!(out, "  ({skipped} steps before)");
        }
        for taken in &start.steps[skipped..] {
            let _ = writeln!(out, "  {}", line(model, taken));
        }
        match (start.system, start.end) {
            (Some(system), Some(End::HandOff(p))) => {
                let name = model.name(p);
                let _ = writeln!(out, "  # the system on {name} {}", system.does());
            }
            (_, Some(End::Restart)) => out.push('\n'),
            _ => {}
        }
    }
    if finding.repeats > 0 {
        let _ = writeln!(out, "  ... and so on, for ever");
    }
    let _ = write!(out, "{}", command(model, file, finding));
    out.truncate(out.trim_end().len());
    out
}

/// Whether `simulate` has an option for it.
fn is_option(fault: Fault) -> bool {
    matches!(fault, Fault::All | Fault::Late)
}

/// A step as a run prints it.
fn line(model: &Model<'_>, taken: &Taken) -> String {
    let step = model.step(taken.at);
    let word = if taken.failed { "failed" } else { "ok" };
    let reason = reason(step, taken);
    let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
    format!("{} {} = {word}{reason}", step.label, step.text)
}

fn reason(step: &Step, taken: &Taken) -> String {
    let run = &taken.before;
    let unread = taken.fault == Fault::All || run.load == Load::Unknown;
    let broken = run.load == Load::Broken || run.load == Load::Not && run.broken == Some(true);
    let unknown = unread || broken;
    let count = |n: u16| match (unread, broken) {
        (true, _) => "no copy of bstate.txt is readable".to_string(),
        (_, true) => "0".to_string(),
        _ => n.to_string(),
    };
    match (&step.verb, taken.failed) {
        (Verb::IfState(..) | Verb::IfNext(_), true) if unknown => "no copy of bstate.txt is readable".to_string(),
        (Verb::IfState(p, _), true) => {
            run.memory.parts[p.number()].state.map_or(String::new(), |s| format!("it is {}", s.name()))
        }
        (Verb::IfFailures(p, _), _) => count(run.memory.parts[p.number()].failures),
        (Verb::IfCrashes(p, _), _) => count(run.memory.parts[p.number()].crashes),
        (Verb::IfRestores(_), _) if unknown => "no copy of bstate.txt tells of any".to_string(),
        (Verb::IfRestores(_), _) => count(run.memory.restores),
        (Verb::Set(..), true) if matches!(run.load, Load::Unknown | Load::Guess) => {
            "no copy of bstate.txt could be written".to_string()
        }
        (Verb::IfNext(_), true) => "nothing is wished for".to_string(),
        (Verb::IfDisk(..), true) if taken.fault == Fault::None => "it is the flow's own".to_string(),
        (Verb::Watchdog { .. }, true) => "no watchdog found".to_string(),
        (Verb::Wait(_), true) => "a key was pressed".to_string(),
        (verb, true) if rewrites(verb) && taken.fault == Fault::None => {
            "it was done already since the machine was switched on".to_string()
        }
        (_, true) if taken.fault == Fault::Late => "the disk fails in the middle of it".to_string(),
        (_, true) => "the disk fails".to_string(),
        _ => String::new(),
    }
}

/// What stands in bstate.txt, as `simulate --state` takes it.
fn state_words(model: &Model<'_>, start: &Start, between: &str) -> String {
    if start.broken {
        return "nothing valid".to_string();
    }
    let Stored { record, .. } = start.from;
    let mut words: Vec<String> = wish(model, start).map(|wish| format!("next={wish}")).into_iter().collect();
    for (name, part) in model.program.partition_names().zip(record.parts) {
        let Part { state, failures, crashes } = part;
        words.push(format!("{name}={}", state.unwrap_or(Bstate::Ok).name()));
        if failures > 0 {
            words.push(format!("{name}.failures={failures}"));
        }
        if crashes > 0 {
            words.push(format!("{name}.crashes={crashes}"));
        }
    }
    if record.restores > 0 && record.restores < super::state::OPEN {
        words.push(format!("restores={}", record.restores));
    }
    words.join(between)
}

/// What the operator has wished for in a start: the last word of the step that followed it.
fn wish<'p>(model: &Model<'p>, start: &Start) -> Option<&'p str> {
    let followed = start.steps.iter().find(|taken| taken.fault == Fault::Wish)?;
    model.step(followed.at).text.split(' ').next_back()
}

/// The command that shows the same on a disk. Nothing where there is none: no option says what other disks look
/// like, what is wished for in later starts, and that bstate.txt is never there.
fn command(model: &Model<'_>, file: &str, finding: &Finding) -> String {
    let Some(first) = finding.starts.first() else { return String::new() };
    let with = |fault: Fault| move |start: &Start| start.steps.iter().any(|taken| taken.fault == fault);
    let later = finding.starts.iter().skip(1).any(with(Fault::Wish));
    if first.blind || later || finding.starts.iter().any(with(Fault::Disk)) {
        return String::new();
    }
    let mut command = format!("to see it: knownstate simulate {file}");
    for disk in model.program.disk_indexes().map(|d| model.program.disk(d)) {
        let _ = write!(command, " --disk {}=DISK", disk.name);
    }
    if !first.broken {
        let _ = write!(command, " --state \"{}\"", state_words(model, first, " "));
    }
    // What repeats for ever is shown twice.
    let rounds = if matches!(finding.kind, Kind::Restarts { .. } | Kind::Unbounded) { 2 } else { 1 };
    let starts = || std::iter::repeat_n(&finding.starts, rounds).flatten();
    for (n, start) in starts().enumerate() {
        for (index, taken) in start.steps.iter().enumerate().filter(|(_, t)| is_option(t.fault)) {
            let step = model.step(taken.at);
            let name = if step.label == "-" { format!(":{}", step.line) } else { step.label.clone() };
            let times = start.steps[..=index].iter().filter(|t| t.at == taken.at).count();
            let start = if n == 0 { String::new() } else { format!("{}:", n + 1) };
            let times = if times == 1 { String::new() } else { format!("#{times}") };
            let option = if taken.fault == Fault::Late { "--fail-late" } else { "--fail" };
            let _ = write!(command, " {option} {start}{name}{times}");
        }
    }
    let systems = starts().filter_map(|s| s.system?.to_possible_value());
    let systems: Vec<String> = systems.map(|value| value.get_name().to_string()).collect();
    if !systems.is_empty() {
        let _ = write!(command, " --os {}", systems.join(","));
    }
    if first.broken {
        command.push_str("   (when every bstate.txt on it was overwritten)");
    }
    command
}
