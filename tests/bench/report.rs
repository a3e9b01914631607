//! What was measured, on the terminal and between the marks of docs/BENCH.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A table, row by row.
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// With the columns' names.
    pub fn new(columns: &[&str]) -> Self {
        Self(vec![columns.iter().map(ToString::to_string).collect()])
    }

    /// One more row.
    pub fn row(&mut self, cells: &[&dyn std::fmt::Display]) {
        assert_eq!(cells.len(), self.0[0].len(), "a row has as many cells as there are columns");
        self.0.push(cells.iter().map(ToString::to_string).collect());
    }

    /// As Markdown that can be read as it is: the first column to the left, numbers to the right.
    pub fn markdown(&self) -> String {
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.0[0].len()).map(width).collect();
        let mut lines: Vec<String> = self.0.iter().map(|row| line(row, &widths)).collect();
        let rule = |(column, &width): (usize, &usize)| match column {
            0 => "-".repeat(width),
            _ => "-".repeat(width - 1) + ":",
        };
        lines.insert(1, format!("| {} |", widths.iter().enumerate().map(rule).collect::<Vec<_>>().join(" | ")));
        lines.join("\n") + "\n"
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cell = |(column, (text, &width)): (usize, (&String, &usize))| match column {
        0 => format!("{text:<width$}"),
        _ => format!("{text:>width$}"),
    };
    format!("| {} |", row.iter().zip(widths).enumerate().map(cell).collect::<Vec<_>>().join(" | "))
}

/// A whole number with its thousands apart.
pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n != 0 && digit.is_ascii_digit() && (digits.len() - n).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Says a part's results, and puts them into docs/BENCH.md in place of the last run's.
pub fn section(name: &str, text: &str) {
    println!("\n{text}");
    let page = page();
    let old = fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let (begin, end) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->"));
    let parts = old.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("{} has no `{}`", page.display(), begin.trim()));
    let new = format!("{before}{begin}`make bench BENCH={name}` at {}:\n\n{text}{end}{after}", commit());
    fs::write(&page, new).expect("docs can be written");
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BENCH.md")
}

/// Which source it was. The page itself changes with every run, and does not count.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let Some(id) = git(&["rev-parse", "--short", "HEAD"]) else { return "an unknown commit".to_string() };
    match git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"]) {
        Some(changes) if changes.is_empty() => id,
        _ => format!("{id} with changes"),
    }
}
