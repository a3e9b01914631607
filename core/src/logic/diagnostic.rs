//! What is wrong with a logic.txt, where, and what would be right.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Arguments};

use crate::event::printable;

/// A result whose error is one pointer: lines are parsed in a hundred places where something can be
/// wrong, and the loader has to stay small.
pub(super) type Parsed<T> = Result<T, Box<Diagnostic>>;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: usize,
    /// The column of the first wrong character, from 1, counted in characters.
    pub column: usize,
    /// How many characters are wrong; at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// As the loader prints it: one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}; {}", self.line, self.column, self.message, self.help)
    }
}

impl Diagnostic {
    /// That something is wrong at a place.
    pub(super) fn new(
        line: usize,
        column: usize,
        width: usize,
        message: Arguments<'_>,
        help: Arguments<'_>,
    ) -> Box<Self> {
        Box::new(Self { line, column, width, message: alloc::fmt::format(message), help: alloc::fmt::format(help) })
    }

    /// As the host tool prints it: with the file's name, the line itself, and a caret under the place.
    #[must_use]
    pub fn render(&self, file: &str, text: &str) -> String {
        let line = text.lines().nth(self.line.saturating_sub(1)).unwrap_or("").trim_end();
        let line: String = line.trim_start_matches('\u{feff}').chars().map(shown).collect();
        // Tabs stay tabs in the padding, so that the caret stands under its word whatever they mean.
        let before = line.chars().take(self.column.saturating_sub(1));
        let padding: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(self.width.max(1));
        // A place behind the line's end is reached by spaces.
        let indent = self.column.saturating_sub(1);
        let number = format!("{:>5}", self.line);
        format!(
            "{file}:{}:{}: error: {}\n{number} | {line}\n      | {padding:indent$}{carets}\n      = {}",
            self.line, self.column, self.message, self.help
        )
    }
}

/// A character of a file for a terminal, which must not obey it.
fn shown(character: char) -> char {
    if character.is_control() && character != '\t' { '?' } else { character }
}

/// Room for a diagnostic in a line of the loader's: 78 columns without the time and the dash.
pub const NARROW: usize = 64;

impl Diagnostic {
    /// As the loader prints it, in lines of at most [`NARROW`] characters: place and message, the line of
    /// `text` or the part of it that is wrong, a caret under the place, and what would be right.
    #[must_use]
    pub fn narrow(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        wrap(&format!("line {}, column {}: {}", self.line, self.column, self.message), "", &mut lines);
        let line = text.trim_start_matches('\u{feff}').lines().nth(self.line.saturating_sub(1)).unwrap_or("");
        let at = self.column.saturating_sub(1);
        // Of a long line, what stands around the place.
        let room = NARROW - 2;
        let first = (at + self.width.min(room / 2)).saturating_sub(room);
        let part: String = line.trim_end().chars().skip(first).take(room).collect();
        let carets = self.width.max(1).min(room.saturating_sub(at - first).max(1));
        lines.push(format!("  {}", printable(&part.replace('\t', " "))));
        lines.push(format!("  {:indent$}{}", "", "^".repeat(carets), indent = at - first));
        wrap(&self.help, "  ", &mut lines);
        lines
    }
}

/// Breaks a text between words; what has no blanks for that long is broken anywhere.
fn wrap(text: &str, indent: &str, lines: &mut Vec<String>) {
    let mut line = String::from(indent);
    for word in text.split([' ', '\t']) {
        let mut rest = word;
        if line.len() > indent.len() && line.chars().count() + 1 + rest.chars().count() > NARROW {
            lines.push(core::mem::replace(&mut line, String::from(indent)));
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        while line.chars().count() + rest.chars().count() > NARROW {
            let fits = NARROW - line.chars().count();
            let at = rest.char_indices().nth(fits).map_or(rest.len(), |(at, _)| at);
            line.push_str(rest.get(..at).unwrap_or_default());
            rest = rest.get(at..).unwrap_or_default();
            lines.push(core::mem::replace(&mut line, String::from(indent)));
        }
        line.push_str(rest);
    }
    lines.push(line);
}

/// The one of `words` that `word` is most likely a misspelling of.
#[must_use]
pub fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    // Longer ones are names of nobody's, and the table of their distance would fill the memory.
    let short = |word: &str| word.len() <= 40;
    let mut best = None;
    for &candidate in words.iter().filter(|w| short(w) && short(word)) {
        let distance = distance(word.as_bytes(), candidate.as_bytes());
        if distance <= 1 + candidate.len() / 3 && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Damerau's distance without its transposition of distant letters: how many letters have to be
/// changed, added, dropped, or swapped with their neighbour.
/// Case does not count.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let equal = |i: usize, j: usize| a[i].eq_ignore_ascii_case(&b[j]);
    let width = b.len() + 1;
    let mut table = alloc::vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(!equal(i - 1, j - 1));
                let mut least = (table[(i - 1) * width + j - 1] + same)
                    .min(table[(i - 1) * width + j] + 1)
                    .min(table[i * width + j - 1] + 1);
                if i > 1 && j > 1 && equal(i - 1, j - 2) && equal(i - 2, j - 1) {
                    least = least.min(table[(i - 2) * width + j - 2] + 1);
                }
                least
            };
        }
    }
    table[a.len() * width + b.len()]
}
