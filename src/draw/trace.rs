//! A log of the loader's serial line, read back as ways through the flow.

use std::collections::{BTreeMap, BTreeSet};

use knownstate_core::event::printable;
use knownstate_core::logic::{Program, Step, Verb};

/// What a step came to once.
pub struct Visit {
    /// Place in the program's steps.
    pub step: usize,
    /// Seconds since the loader began, as the log has them.
    pub time: String,
    /// What it came to; none where the log ends, or the power went, while it was at work.
    pub failed: Option<bool>,
    /// Why, or with what; how far it had come where it came to nothing.
    pub reason: String,
    /// Whether it is where the visit before leads to. It is not where lines are lost.
    follows: bool,
}

/// One start of the machine.
#[derive(Default)]
pub struct Start {
    /// The steps, in the order of the log.
    pub visits: Vec<Visit>,
    /// Whether it came to a hand-off, a restart, a hold or a power-off.
    pub complete: bool,
}

/// A whole log.
pub struct Log {
    /// Every start that came to at least one step.
    pub starts: Vec<Start>,
    /// Lines of the loader that name no step: their number, from 1, and what they say.
    pub strangers: Vec<(usize, String)>,
}

impl Log {
    /// Reads a log, with all that a serial line carries beside the loader's lines: the BIOS's, the running
    /// system's, garbage.
    pub fn read(program: &Program, bytes: &[u8]) -> Self {
        let mut reader = Reader { program, log: Self { starts: Vec::new(), strangers: Vec::new() }, expected: None };
        for (n, line) in bytes.split(|&b| b == b'\n').enumerate() {
            if let Some((time, text)) = stamped(&String::from_utf8_lossy(line)) {
                reader.line(n + 1, time, text.trim_end());
            }
        }
        reader.log.starts.retain(|start| !start.visits.is_empty());
        reader.log
    }

    /// The start of this number, from 1; else the last complete one, else the last one.
    pub fn choose(&self, number: Option<usize>) -> Option<(usize, &Start)> {
        let last = || self.starts.iter().rposition(|start| start.complete).or(self.starts.len().checked_sub(1));
        let at = number.map_or_else(last, |number| number.checked_sub(1))?;
        self.starts.get(at).map(|start| (at + 1, start))
    }
}

struct Reader<'p> {
    program: &'p Program,
    log: Log,
    /// The step that comes next; none while no loader runs.
    expected: Option<usize>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, time: &str, text: &str) {
        if text.starts_with("- Knownstate ") {
            self.begin();
        } else if let Some(found) = find(self.program, self.expected, text) {
            self.step(time, &found);
        } else if (self.expected.is_some() || self.log.starts.is_empty()) && !is_remark(text) {
            self.log.strangers.push((number, printable(text)));
        } else if text.starts_with("- hold ") {
            // The interpreter's own, which is none of the flow's steps.
            self.end();
        }
    }

    fn begin(&mut self) {
        self.log.starts.push(Start::default());
        self.expected = Some(0);
    }

    fn end(&mut self) {
        self.expected = None;
        if let Some(start) = self.log.starts.last_mut() {
            start.complete = true;
        }
    }

    fn step(&mut self, time: &str, found: &Found<'_>) {
        if self.expected.is_none() {
            // After a hand-off the system speaks, and `hold` repeats itself; only the first step is a new start.
            if found.at != 0 && !self.log.starts.is_empty() {
                return;
            }
            self.begin();
        }
        let Some(start) = self.log.starts.last_mut() else { return };
        // A step that told of its progress has come further now.
        let before = start.visits.pop_if(|last| last.failed.is_none() && last.step == found.at);
        let follows = before.map_or(self.expected == Some(found.at), |before| before.follows);
        start.visits.push(Visit {
            step: found.at,
            time: time.to_string(),
            failed: found.failed,
            reason: found.reason.to_string(),
            follows,
        });
        match (found.failed, self.program.steps().get(found.at)) {
            (Some(failed), Some(step)) => match next(found.at, step, failed) {
                Some(next) => self.expected = Some(next),
                None => self.end(),
            },
            _ => self.expected = Some(found.at),
        }
    }
}

/// Where a step leads; nowhere if it ends the start.
fn next(at: usize, step: &Step, failed: bool) -> Option<usize> {
    match step.verb {
        Verb::Goto(to) => Some(to),
        Verb::Boot(_) if !failed => None,
        Verb::Restart | Verb::Hold(_) | Verb::PowerOff => None,
        _ if failed => Some(step.otherwise.unwrap_or(at + 1)),
        _ => Some(at + 1),
    }
}

struct Found<'t> {
    at: usize,
    failed: Option<bool>,
    reason: &'t str,
}

/// The step that a line tells of. Several can read the same, such as those without a label: the expected one, else
/// the nearest one below, else the first.
fn find<'t>(program: &Program, expected: Option<usize>, text: &'t str) -> Option<Found<'t>> {
    let steps = program.steps();
    let expected = expected.unwrap_or(0).min(steps.len());
    (expected..steps.len()).chain(0..expected).find_map(|at| {
        let rest = after_step(steps.get(at)?, text)?;
        if let Some(progress) = rest.strip_prefix(": ") {
            return Some(Found { at, failed: None, reason: progress });
        }
        let (failed, rest) = match (rest.strip_prefix(" = ok"), rest.strip_prefix(" = failed")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return None,
        };
        let reason = if rest.is_empty() { "" } else { rest.strip_prefix(" (")?.strip_suffix(')').unwrap_or(rest) };
        Some(Found { at, failed: Some(failed), reason })
    })
}

/// What follows a step's label and words.
fn after_step<'t>(step: &Step, text: &'t str) -> Option<&'t str> {
    let rest = text.strip_prefix(step.label.as_str())?.strip_prefix(' ')?;
    rest.strip_prefix(step.text.as_str()).or_else(|| rest.strip_prefix(printable(&step.text).as_str()))
}

/// Whether a line of the loader is about no step: `- read bstate.txt = ok`, `- Knownstate`, a panic's address.
fn is_remark(text: &str) -> bool {
    let Some(text) = text.strip_prefix("- ") else { return false };
    text.starts_with("read ") || text.starts_with("hold ") || !(text.contains(" = ok") || text.contains(" = failed"))
}

/// The time and the text of a line that the loader wrote. Its stamp has three digits behind the point, Linux's six;
/// what stands before it on the line is somebody else's.
fn stamped(line: &str) -> Option<(&str, &str)> {
    line.match_indices('[').find_map(|(at, _)| {
        let (time, text) = line.get(at + 1..)?.split_once("] ")?;
        let (seconds, thousandths) = time.trim_start_matches(' ').split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits(seconds) && digits(thousandths) && thousandths.len() == 3).then_some((time.trim_start(), text))
    })
}

/// What a start lights up.
pub struct Trace<'l> {
    /// Where it comes from, for a person to read.
    pub title: String,
    /// What each step came to, in order of time.
    pub visits: BTreeMap<usize, Vec<&'l Visit>>,
    /// The lines that were taken: the step that each comes from, or the start, and where it leads.
    ways: BTreeSet<(Option<usize>, usize)>,
}

impl<'l> Trace<'l> {
    /// Follows one start. `boxed` tells which steps are boxes; the others are parts of lines.
    pub fn of(title: String, start: &'l Start, boxed: impl Fn(usize) -> bool) -> Self {
        let mut trace = Self { title, visits: BTreeMap::new(), ways: BTreeSet::new() };
        let mut from = Some(None);
        for visit in &start.visits {
            trace.visits.entry(visit.step).or_default().push(visit);
            // Where lines are lost nobody knows which way it went.
            from = from.filter(|_| visit.follows);
            if boxed(visit.step) {
                trace.ways.extend(from.map(|from| (from, visit.step)));
                from = Some(Some(visit.step));
            }
        }
        trace
    }

    /// Whether the line between these two was taken.
    pub fn took(&self, from: Option<usize>, to: Option<usize>) -> bool {
        to.is_some_and(|to| self.ways.contains(&(from, to)))
    }

    /// What a step came to in the end: none if it was not met, `Some(None)` if the log breaks off in it.
    pub fn outcome(&self, step: Option<usize>) -> Option<Option<bool>> {
        self.visits.get(&step?)?.last().map(|visit| visit.failed)
    }

    /// What a step came to, a line for each time.
    pub fn told(&self, step: Option<usize>) -> Vec<String> {
        let visits = step.and_then(|step| self.visits.get(&step)).into_iter().flatten();
        let line = |visit: &&Visit| {
            let word = visit.failed.map_or("cut short", |failed| if failed { "failed" } else { "ok" });
            let reason = if visit.reason.is_empty() { String::new() } else { format!(" ({})", visit.reason) };
            format!("{} s: {word}{reason}", visit.time)
        };
        visits.map(line).collect()
    }
}
