//! Steps that are to fail: `[N:]STEP[#K]`, the step's Kth execution in start N.

use anyhow::{Context, Result, bail};
use knownstate_core::logic::Program;

use super::drive::suggestion;

/// What fails while the step is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every transfer of every disk and of the CD.
    All,
    /// Writes of more than one sector: those of images, not of bstate.txt, boot sectors and the MBR.
    Late,
}

impl Kind {
    fn option(self) -> &'static str {
        match self {
            Self::All => "--fail",
            Self::Late => "--fail-late",
        }
    }
}

/// One step's failing.
struct Fault {
    kind: Kind,
    /// As written.
    text: String,
    start: u32,
    /// Its place in the flow.
    step: usize,
    count: u32,
    used: bool,
}

/// All that is to fail, and where the run is.
#[derive(Default)]
pub struct Faults {
    all: Vec<Fault>,
    start: u32,
    /// How often each step of the flow began in this start.
    begun: Vec<u32>,
    now: Option<Kind>,
}

impl Faults {
    /// Reads them from the command line.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn parse<'t>(given: impl Iterator<Item = (Kind, &'t String)>, program: &Program) -> Result<Self> {
        let parse = |(kind, text): (Kind, &String)| {
            fault(kind, text, program).with_context(|| format!("{} {text}", kind.option()))
        };
        let all = given.map(parse).collect::<Result<_>>()?;
        Ok(Self { all, begun: vec![0; program.steps().len()], ..Self::default() })
    }

    /// The machine is switched on for the `number`th time.
    pub fn switch_on(&mut self, number: u32) {
        self.start = number;
        self.now = None;
        self.begun.fill(0);
    }

    /// A step begins; whether anything is to fail in it.
    pub fn begin(&mut self, step: usize) -> bool {
        self.now = None;
        let Some(count) = self.begun.get_mut(step) else { return false };
        *count = count.saturating_add(1);
        let here = (self.start, step, *count);
        for fault in self.all.iter_mut().filter(|fault| (fault.start, fault.step, fault.count) == here) {
            fault.used = true;
            self.now = if self.now == Some(Kind::All) { self.now } else { Some(fault.kind) };
        }
        self.now.is_some()
    }

    /// The run is over; what follows goes well.
    pub fn end(&mut self) {
        self.now = None;
    }

    /// Whether all fails now.
    #[must_use]
    pub fn all_fails(&self) -> bool {
        self.now == Some(Kind::All)
    }

    /// Whether a write of so many sectors fails now.
    #[must_use]
    pub fn write_fails(&self, sectors: usize) -> bool {
        self.all_fails() || self.now == Some(Kind::Late) && sectors > 1
    }

    /// Those that never came about.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        self.all.iter().filter(|fault| !fault.used).map(|fault| format!("{} {}", fault.kind.option(), fault.text))
    }
}

fn fault(kind: Kind, text: &str, program: &Program) -> Result<Fault> {
    let (rest, count) = match text.rsplit_once('#') {
        Some((rest, count)) => (rest, number(count, "of execution")?),
        None => (text, 1),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (start, step) = match rest.split_once(':') {
        Some((start, step)) if is_number(start) => (number(start, "of the start")?, step),
        _ => (1, rest),
    };
    Ok(Fault { kind, text: text.to_string(), start, step: step_named(step, program)?, count, used: false })
}

fn number(text: &str, what: &str) -> Result<u32> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("`{text}` is no number {what}; write 1, 2, ..."),
    }
}

/// The step with this label, or on this `:LINE`.
fn step_named(name: &str, program: &Program) -> Result<usize> {
    let steps = program.steps();
    if let Some(line) = name.strip_prefix(':') {
        let line: usize = line.parse().ok().with_context(|| format!("`{line}` is no line number"))?;
        return steps
            .iter()
            .position(|step| step.line == line)
            .with_context(|| format!("no step stands on line {line} of the logic file"));
    }
    let place = steps.iter().position(|step| step.label == name && name != "-");
    let labels: Vec<&str> = steps.iter().map(|step| step.label.as_str()).filter(|label| *label != "-").collect();
    place.with_context(|| format!("no step has the label `{name}`; {}", suggestion(name, &labels)))
}
