//! Everything worth telling, and how it reads. The loader, the simulator and the tests print the
//! same lines because they all print [`Line`].

use alloc::string::String;
use core::fmt;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step was carried out.
    Outcome {
        /// The step's label, `-` where it has none.
        label: &'a str,
        /// The step as written in logic.txt, without its label and `else`.
        step: &'a str,
        /// Whether it failed.
        failed: bool,
        /// Why, or with what; may be empty.
        reason: &'a str,
    },
    /// A long step is still at work.
    Progress {
        /// The step's label, `-` where it has none.
        label: &'a str,
        /// The step as written.
        step: &'a str,
        /// What it works on: partition names or a file's.
        on: &'a str,
        /// How much of it is done, 0 to 100.
        percent: u8,
        /// Bytes a second since the step began.
        rate: u64,
        /// Seconds that are left at this rate.
        left: u64,
    },
    /// A word from the program itself, such as the version at the start.
    Note(&'a str),
}

/// An event with its time, as the loader and the host tool print it; no newline.
pub struct Line<'a> {
    /// Milliseconds since the program began.
    pub millis: u64,
    /// What happened.
    pub event: &'a Event<'a>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, thousandths) = (self.millis / 1000, self.millis % 1000);
        write!(f, "[{seconds:>5}.{thousandths:03}] {}", self.event)
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outcome { label, step, failed, reason } => {
                let word = if *failed { "failed" } else { "ok" };
                write!(f, "{label} {step} = {word}")?;
                if !reason.is_empty() {
                    write!(f, " ({reason})")?;
                }
                Ok(())
            }
            Self::Progress { label, step, on, percent, rate, left } => {
                // MiB/s with one decimal, in integers: the loader has no floating point.
                let tenths = rate.saturating_mul(10) >> 20;
                write!(f, "{label} {step}: {on} {percent}% {}.{} MiB/s, {left} s left", tenths / 10, tenths % 10)
            }
            Self::Note(text) => write!(f, "- {text}"),
        }
    }
}

/// `text` with everything that a terminal might obey taken out: names and texts come from files.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}
