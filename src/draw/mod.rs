//! `knownstate draw`: logic.txt as the flowchart that it is, and the way that a machine took through it.
//!
//! [`graph`] says what there is to draw, [`trace`] what a log lights up of it; [`layout`] asks Graphviz where it all
//! goes, and [`svg`] draws it there. [`mermaid`] and [`dot`] say the same as text.

mod dot;
mod graph;
mod layout;
mod mermaid;
mod route;
mod svg;
mod text;
mod theme;
mod trace;

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use knownstate_core::logic::Program;

use crate::check::{self, Source};
use dot::Wish;
use graph::Graph;
use layout::Layout;
use theme::Drawing;
use trace::{Log, Trace};

/// How many lines of a log that name no step are told one by one.
const MAX_STRANGERS: usize = 20;

/// What comes out.
#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// A picture
    Svg,
    /// Text that GitHub draws in a README
    Mermaid,
    /// Text for Graphviz
    Dot,
}

impl Format {
    fn of(path: Option<&Path>) -> Self {
        match path.and_then(Path::extension).and_then(|ending| ending.to_str()) {
            Some("mmd" | "mermaid") => Self::Mermaid,
            Some("dot" | "gv") => Self::Dot,
            _ => Self::Svg,
        }
    }
}

/// Draws a logic file; whether the log, if there is one, belongs to it.
///
/// # Errors
/// When a file can't be read or written, the logic file has errors, or Graphviz is missing.
pub fn run(
    logic: &Path,
    output: Option<&Path>,
    format: Option<Format>,
    log: Option<&Path>,
    start: Option<usize>,
) -> Result<bool> {
    let source = check::load_alone(logic, None)?;
    let graph = Graph::of(&source.program);
    let log = match log {
        None => None,
        Some(path) => match read(&source.program, logic, path)? {
            Some(log) => Some((path, log)),
            None => return Ok(false),
        },
    };
    let trace = log.as_ref().map(|(path, log)| lit(&graph, path, log, start)).transpose()?;
    let drawing = Drawing { title: name(logic), caption: caption(&source), graph: &graph, trace };
    let text = match format.unwrap_or(Format::of(output)) {
        Format::Svg => svg::write(&drawing, &Layout::of(&graph)?),
        Format::Mermaid => mermaid::write(&drawing),
        // In the way that `dot` was found to get on with, where it is there.
        Format::Dot => dot::write(&drawing, &Layout::of(&graph).map_or_else(|_| Wish::default(), |layout| layout.wish)),
    };
    match output {
        Some(path) => fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?,
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    Ok(true)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What a file says of itself first: the comment that it begins with, up to its first blank line.
fn caption(source: &Source) -> String {
    let lines = source.text.trim_start_matches('\u{feff}').lines();
    let words = lines.map_while(|line| line.trim().strip_prefix('#')).map(str::trim);
    words.take_while(|words| !words.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Reads a log, and tells what in it is of another flow; nothing if all is.
fn read(program: &Program, logic: &Path, path: &Path) -> Result<Option<Log>> {
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let log = Log::read(program, &bytes);
    let (path, logic) = (path.display(), logic.display());
    for (number, text) in log.strangers.iter().take(MAX_STRANGERS) {
        eprintln!("{path}: log line {number}: no such step in {logic}: {text}");
    }
    if log.strangers.len() > MAX_STRANGERS {
        eprintln!("{path}: {} more lines are of no step in {logic}", log.strangers.len() - MAX_STRANGERS);
    }
    if log.starts.is_empty() {
        eprintln!("{path}: no line is of a step in {logic}; a log has lines such as `[    0.034] 202 verify P1 = ok`");
        return Ok(None);
    }
    Ok(Some(log))
}

/// The start that is to be lit up.
fn lit<'l>(graph: &Graph, path: &Path, log: &'l Log, number: Option<usize>) -> Result<Trace<'l>> {
    let count = log.starts.len();
    let Some((number, start)) = log.choose(number) else {
        bail!("{} has {count} starts of the machine; --start takes 1 to {count}", path.display());
    };
    let which = if count == 1 { String::new() } else { format!(", start {number} of {count}") };
    let broken = if start.complete { "" } else { ", which breaks off" };
    let title = format!("Lit up: {}{which}{broken}", name(path));
    Ok(Trace::of(title, start, |step| graph.nodes.iter().any(|node| node.step == Some(step))))
}
