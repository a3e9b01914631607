//! A line of logic.txt as words, and a reader that walks along them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Arguments;

use super::diagnostic::{Diagnostic, Parsed, nearest};

/// How many of the words that would be right are listed.
const MAX_KNOWN: usize = 16;

/// A word or a quoted text, with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    /// Without its quotes.
    pub text: &'t str,
    /// From 1, in characters.
    pub column: usize,
    /// Characters, quotes included.
    pub width: usize,
    pub quoted: bool,
}

impl Word<'_> {
    /// Whether it is this keyword. Case matters only in names.
    pub fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

/// The words of one line, read from left to right.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    pub number: usize,
    pub words: &'t [Word<'t>],
    next: usize,
}

/// Splits line `number` at spaces and tabs, and adds its words to those of the lines before; `#` begins a
/// comment, quotes hold a text together.
///
/// # Errors
/// A quote that is never closed, or a character that a terminal would obey: words are repeated in messages.
pub(super) fn split<'t>(number: usize, text: &'t str, words: &mut Vec<Word<'t>>) -> Parsed<()> {
    let (mut at, mut column) = (0, 1);
    loop {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let rest = rest.get(blank..).unwrap_or_default();
        (at, column) = (at + blank, column + blank);
        let (quoted, bytes) = match rest.first() {
            None | Some(b'#') => return Ok(()),
            Some(b'"') => (true, quoted_bytes(rest)),
            Some(_) => (false, rest.iter().take_while(|b| !b.is_ascii_whitespace() && **b != b'#').count()),
        };
        let end = at + bytes;
        // Both ends stand beside an ASCII character or at the line's end.
        let word = text.get(at..end).unwrap_or_default();
        let width = characters(word);
        let inner = if quoted { word.get(1..).and_then(|inner| inner.strip_suffix('"')) } else { Some(word) };
        let Some(text) = inner else {
            let (message, help) =
                (format_args!("this quote is never closed"), format_args!("end the text with a second \""));
            return Err(Diagnostic::new(number, column, width, message, help));
        };
        if let Some((before, character)) = word.chars().enumerate().find(|(_, c)| c.is_control() && *c != '\t') {
            let code = u32::from(character);
            let message = format_args!("the character {code:02X}h can't be shown");
            return Err(Diagnostic::new(number, column + before, 1, message, format_args!("delete it")));
        }
        words.push(Word { text, column, width, quoted });
        (at, column) = (end, column + width);
    }
}

impl<'t> Line<'t> {
    /// A line of these words.
    pub fn new(number: usize, words: &'t [Word<'t>]) -> Self {
        Self { number, words, next: 0 }
    }

    /// The next word, if there is one, without taking it.
    pub fn peek(&self) -> Option<Word<'t>> {
        self.words.get(self.next).copied()
    }

    /// The word after the next one.
    pub fn peek_second(&self) -> Option<Word<'t>> {
        self.words.get(self.next + 1).copied()
    }

    /// The word that the line begins with.
    pub fn first(&self) -> Word<'t> {
        self.words.first().copied().unwrap_or(self.here())
    }

    /// Takes the next word.
    pub fn take(&mut self) -> Option<Word<'t>> {
        let word = self.peek();
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
    pub fn need(&mut self, what: &str) -> Parsed<Word<'t>> {
        self.take().ok_or_else(|| self.missing(what))
    }

    /// Takes the next word, which has to be this keyword.
    ///
    /// # Errors
    /// That it is another, or that it is missing.
    pub fn keyword(&mut self, keyword: &str) -> Parsed<()> {
        match self.take() {
            Some(word) if word.is(keyword) => Ok(()),
            Some(word) => {
                let help = format_args!("write `{keyword}` here");
                Err(self.wrong(&word, format_args!("expected `{keyword}`, found `{}`", word.text), help))
            }
            None => Err(self.missing(&alloc::format!("`{keyword}`"))),
        }
    }

    /// Takes the next word as a whole number.
    ///
    /// # Errors
    /// That it is none.
    pub fn number(&mut self, what: &str) -> Parsed<u32> {
        let word = self.need(what)?;
        word.text.parse().map_err(|_| {
            let help = format_args!("write {what}, such as 3");
            self.wrong(&word, format_args!("`{}` is not a whole number", word.text), help)
        })
    }

    /// Takes a word as a number of sectors: plain, or bytes with KiB, MiB or GiB.
    ///
    /// # Errors
    /// That it is neither.
    pub fn sectors(&self, word: &Word<'_>) -> Parsed<u64> {
        sectors(word.text, &UNITS).ok_or_else(|| {
            let help = format_args!("write a number of 512-byte sectors, such as 409600, or a size such as 200MiB");
            self.wrong(word, format_args!("`{}` is not a number of sectors", word.text), help)
        })
    }

    /// That nothing more may follow.
    ///
    /// # Errors
    /// The word that does.
    pub fn end(&mut self) -> Parsed<()> {
        match self.take() {
            None => Ok(()),
            Some(word) => Err(self.too_many(&word)),
        }
    }

    /// That `word` should not be there.
    pub fn too_many(&self, word: &Word<'_>) -> Box<Diagnostic> {
        let help = format_args!("end the line before it");
        self.wrong(word, format_args!("`{}` is one word too many", word.text), help)
    }

    /// That `word` belongs to the language and is not built yet.
    pub fn later(&self, word: &Word<'_>) -> Box<Diagnostic> {
        let message = format_args!("`{}` is not built yet", word.text);
        self.wrong(word, message, format_args!("leave it out: this version can't do it"))
    }

    /// That the next word is none of these, which are not built yet.
    ///
    /// # Errors
    /// That it is one.
    pub fn not_later(&self, words: &[&str]) -> Parsed<()> {
        match self.peek() {
            Some(word) if words.iter().any(|w| word.is(w)) => Err(self.later(&word)),
            _ => Ok(()),
        }
    }

    /// That `what` is missing here.
    pub fn missing(&self, what: &str) -> Box<Diagnostic> {
        self.wrong(&self.here(), format_args!("{what} is missing"), format_args!("write {what} here"))
    }

    /// The place of the next word, or behind the last one.
    pub fn here(&self) -> Word<'t> {
        let behind = self.words.last().map_or(1, |w| w.column + w.width + 1);
        let column = self.peek().map_or(behind, |w| w.column);
        Word { text: "", column, width: 1, quoted: false }
    }

    /// That `word` is wrong.
    #[inline(never)]
    pub fn wrong(&self, word: &Word<'_>, message: Arguments<'_>, help: Arguments<'_>) -> Box<Diagnostic> {
        Diagnostic::new(self.number, word.column, word.width, message, help)
    }

    /// That `word` is none of `words`, with the likeliest of them.
    pub fn unknown(&self, word: &Word<'_>, what: &str, words: &[&str]) -> Box<Diagnostic> {
        let message = format_args!("unknown {what} `{}`", word.text);
        if let Some(near) = nearest(word.text, words) {
            return self.wrong(word, message, format_args!("did you mean `{near}`?"));
        }
        if words.is_empty() {
            return self.wrong(word, message, format_args!("declare a {what} first"));
        }
        // A file may have a thousand labels.
        let some = words.get(..MAX_KNOWN).unwrap_or(words);
        self.wrong(word, message, format_args!("known: {}", some.join(", ")))
    }
}

/// What may stand behind a number in a size, and how many sectors it is.
pub const UNITS: [(&str, u64); 4] = [("", 1), ("KiB", 2), ("MiB", 2 << 10), ("GiB", 2 << 20)];

/// A size in 512-byte sectors: a number and one of `units`.
#[must_use]
pub fn sectors(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let (_, factor) = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// How long the quoted text is that begins here; a quote that is never closed goes to the end of the line.
fn quoted_bytes(text: &[u8]) -> usize {
    let behind = text.iter().skip(1).position(|&b| b == b'"');
    behind.map_or(text.len(), |at| at + 2)
}

/// How many characters a text has: its bytes, but for UTF-8's continuation bytes (RFC 3629).
fn characters(text: &str) -> usize {
    text.bytes().filter(|b| b & 0xC0 != 0x80).count()
}
