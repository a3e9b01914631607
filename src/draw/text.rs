//! Texts in boxes: where lines break, and how large a box has to be. Measured without a font, so that the
//! picture is the same wherever it is drawn, and wide enough for each font that it may be shown in.

use super::graph::Shape;

/// Size of the text in boxes, in points.
pub const SIZE: f64 = 10.0;
/// From one line of a box to the next, in points.
pub const LEADING: f64 = 12.5;
/// The longest number that stands beside a box, in characters; the title has it all.
const MAX_NUMBER: usize = 12;
/// The longest line in a diamond, in a rectangle, and in a rectangle with a long text, in characters.
const SHORT: usize = 16;
const MEDIUM: usize = 24;
const LONG: usize = 34;
/// The narrowest boxes, so that most have one size; in points.
const DIAMOND: f64 = 138.0;
const BOX: f64 = 96.0;

/// A text broken into lines, and the box that holds it.
pub struct Block {
    /// The lines.
    pub lines: Vec<String>,
    /// Of the box, in points.
    pub width: f64,
    /// Of the box, in points.
    pub height: f64,
}

impl Block {
    /// The box of a step.
    pub fn of(shape: Shape, text: &str) -> Self {
        if shape == Shape::Question { diamond(text) } else { rectangle(text) }
    }
}

fn rectangle(text: &str) -> Block {
    let longest = if text.chars().count() > 2 * MEDIUM { LONG } else { MEDIUM };
    let lines = wrap(text, longest);
    let wide = lines.iter().map(|line| width(line, SIZE)).fold(0.0, f64::max);
    let height = 16.0 + LEADING * lines.len() as f64;
    Block { width: (wide + 18.0).max(BOX), height, lines }
}

/// A line of a diamond has the less room the further it is from the middle.
fn diamond(text: &str) -> Block {
    let lines = wrap(text, SHORT);
    let height = (36.0 + 11.0 * lines.len() as f64).max(58.0);
    let middle = (lines.len() as f64 - 1.0) / 2.0;
    let room = |(n, line): (usize, &String)| {
        let off = (n as f64 - middle).abs() * LEADING + SIZE / 2.0;
        width(line, SIZE) / (1.0 - 2.0 * off / height).max(0.1)
    };
    let wide = lines.iter().enumerate().map(room).fold(0.0, f64::max);
    Block { width: (wide + 4.0).max(DIAMOND), height, lines }
}

/// How wide a text gets at most, in points.
pub fn width(text: &str, size: f64) -> f64 {
    let ems = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | 'f' | 't' | 'r' => 0.38,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.95,
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => 0.61,
        c if c.is_ascii() => 0.72,
        _ => 1.0,
    };
    text.chars().map(ems).sum::<f64>() * size
}

/// A label as it stands beside its box.
pub fn number(label: &str) -> String {
    if label.chars().count() <= MAX_NUMBER {
        return label.to_string();
    }
    label.chars().take(MAX_NUMBER - 1).chain(['…']).collect()
}

/// Breaks a text at spaces into as few lines as do, of about the same length; a word that is longer than a line is
/// broken where the line ends.
pub fn wrap(text: &str, longest: usize) -> Vec<String> {
    let count = greedy(text, longest).len();
    let shorter = (1..longest).rev().take_while(|&length| greedy(text, length).len() == count).last();
    greedy(text, shorter.unwrap_or(longest))
}

fn greedy(text: &str, longest: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = usize::MAX;
    for word in text.split(' ') {
        for (n, piece) in pieces(word, longest).into_iter().enumerate() {
            let length = piece.chars().count();
            match lines.last_mut() {
                Some(line) if n == 0 && used.saturating_add(1 + length) <= longest => {
                    line.push(' ');
                    line.push_str(&piece);
                    used += 1 + length;
                }
                _ => {
                    lines.push(piece);
                    used = length;
                }
            }
        }
    }
    lines
}

fn pieces(word: &str, longest: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    if letters.is_empty() {
        return vec![String::new()];
    }
    letters.chunks(longest.max(1)).map(|piece| piece.iter().collect()).collect()
}
