//! A line of logic.txt as words, and a reader that walks along them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::diagnostic::{Diagnostic, nearest};

/// A word or a quoted text, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    /// From 1, in characters.
    pub column: usize,
    /// Characters, quotes included.
    pub width: usize,
    pub quoted: bool,
}

impl Word {
    /// Whether it is this keyword. Case matters only in names.
    pub fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

/// The words of one line, read from left to right.
pub(super) struct Line {
    pub number: usize,
    pub words: Vec<Word>,
    next: usize,
    /// The column after the last word, where something missing is pointed at.
    end: usize,
}

impl Line {
    /// Splits a line at spaces and tabs; `#` begins a comment, quotes hold a text together.
    ///
    /// # Errors
    /// A quote that is never closed.
    pub fn split(number: usize, text: &str) -> Result<Self, Diagnostic> {
        let characters: Vec<char> = text.trim_end().chars().collect();
        let mut words: Vec<Word> = Vec::new();
        let mut at = 0;
        while let Some(&c) = characters.get(at) {
            if c == ' ' || c == '\t' {
                at += 1;
                continue;
            }
            if c == '#' {
                break;
            }
            let rest = &characters[at..];
            let quoted = c == '"';
            let length = if quoted {
                let close = rest.iter().skip(1).position(|&c| c == '"').ok_or_else(|| Diagnostic {
                    line: number,
                    column: at + 1,
                    width: rest.len(),
                    message: "this quote is never closed".to_string(),
                    help: "end the text with a second \"".to_string(),
                })?;
                close + 2
            } else {
                rest.iter().position(|&c| c == ' ' || c == '\t' || c == '#').unwrap_or(rest.len())
            };
            let inner = if quoted { &rest[1..length - 1] } else { &rest[..length] };
            words.push(Word { text: inner.iter().collect(), column: at + 1, width: length, quoted });
            at += length;
        }
        let end = words.last().map_or(1, |w| w.column + w.width + 1);
        Ok(Self { number, words, next: 0, end })
    }

    /// The same line, to be read from its beginning.
    pub fn again(&self) -> Self {
        Self { number: self.number, words: self.words.clone(), next: 0, end: self.end }
    }

    /// The next word, if there is one, without taking it.
    pub fn peek(&self) -> Option<&Word> {
        self.words.get(self.next)
    }

    /// The word after the next one.
    pub fn peek_second(&self) -> Option<&Word> {
        self.words.get(self.next + 1)
    }

    /// Takes the next word.
    pub fn take(&mut self) -> Option<Word> {
        let word = self.words.get(self.next).cloned();
        self.next += usize::from(word.is_some());
        word
    }

    /// Takes the next word if it is this keyword.
    pub fn take_if(&mut self, keyword: &str) -> bool {
        let is = self.peek().is_some_and(|w| w.is(keyword));
        self.next += usize::from(is);
        is
    }

    /// Takes the next word, which has to be there.
    ///
    /// # Errors
    /// That `what` is missing.
    pub fn need(&mut self, what: &str) -> Result<Word, Diagnostic> {
        self.take().ok_or_else(|| self.missing(what))
    }

    /// Takes the next word, which has to be this keyword.
    ///
    /// # Errors
    /// That it is another, or that it is missing.
    pub fn keyword(&mut self, keyword: &str) -> Result<(), Diagnostic> {
        let word = self.need(&format!("`{keyword}`"))?;
        if word.is(keyword) {
            return Ok(());
        }
        Err(self.wrong(
            &word,
            format!("expected `{keyword}`, found `{}`", word.text),
            format!("write `{keyword}` here"),
        ))
    }

    /// Takes the next word as a whole number.
    ///
    /// # Errors
    /// That it is none.
    pub fn number(&mut self, what: &str) -> Result<u32, Diagnostic> {
        let word = self.need(what)?;
        word.text.parse().map_err(|_| {
            self.wrong(&word, format!("`{}` is not a whole number", word.text), format!("write {what}, such as 3"))
        })
    }

    /// Takes the next word as a number of sectors: plain, or bytes with KiB, MiB or GiB.
    ///
    /// # Errors
    /// That it is neither.
    pub fn sectors(&mut self, word: &Word) -> Result<u64, Diagnostic> {
        let text = word.text.as_str();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" => Some(1),
            "kib" => Some(2),
            "mib" => Some(2 << 10),
            "gib" => Some(2 << 20),
            _ => None,
        };
        let sectors = number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
        sectors.ok_or_else(|| {
            let help = "write a number of 512-byte sectors, such as 409600, or a size such as 200MiB";
            self.wrong(word, format!("`{text}` is not a number of sectors"), help.to_string())
        })
    }

    /// That nothing more may follow.
    ///
    /// # Errors
    /// The word that does.
    pub fn end(&mut self) -> Result<(), Diagnostic> {
        match self.take() {
            None => Ok(()),
            Some(word) => Err(self.wrong(
                &word,
                format!("`{}` is one word too many", word.text),
                "end the line before it".to_string(),
            )),
        }
    }

    /// That `what` is missing here.
    pub fn missing(&self, what: &str) -> Diagnostic {
        let column = self.peek().map_or(self.end, |w| w.column);
        Diagnostic {
            line: self.number,
            column,
            width: 1,
            message: format!("{what} is missing"),
            help: format!("write {what} here"),
        }
    }

    /// That `word` is wrong.
    pub fn wrong(&self, word: &Word, message: String, help: String) -> Diagnostic {
        Diagnostic { line: self.number, column: word.column, width: word.width, message, help }
    }

    /// That `word` is none of `words`, with the likeliest of them.
    pub fn unknown<'a>(&self, word: &Word, what: &str, words: impl IntoIterator<Item = &'a str> + Clone) -> Diagnostic {
        let help = match nearest(&word.text, words.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let all: Vec<&str> = words.into_iter().collect();
                if all.is_empty() { format!("declare a {what} first") } else { format!("known: {}", all.join(", ")) }
            }
        };
        self.wrong(word, format!("unknown {what} `{}`", word.text), help)
    }
}
