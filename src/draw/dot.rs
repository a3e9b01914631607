//! The flowchart as Graphviz' `dot` takes it: for the layout, and to hand out.

use std::fmt::Write;

use super::graph::{Edge, Graph, Kind, Node, START, Shape};
use super::text::{Block, number, wrap};
use super::theme::{Drawing, edge_paint, node_paint};

/// Points to an inch, Graphviz' unit.
pub const POINTS: f64 = 72.0;
/// Wide enough that lines which meet have a place each, which are made one afterwards; in points.
pub const JUNCTION: f64 = 6.0;
/// The longest line of the caption, in characters.
const CAPTION: usize = 80;

/// Which lines are laid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// All of them, along and across as in patent drawings.
    All,
    /// Those between neighbours, for flows that are too large for the others: they only say where they lead.
    Near,
}

/// What a layout is to be like.
#[derive(Clone)]
pub struct Wish {
    /// Which lines are laid.
    pub lines: Lines,
    /// How much wider than its text needs a box is made, in points.
    pub widen: f64,
    /// Pairs of boxes in one row, of which the second has to stand right of the first.
    pub right_of: Vec<(usize, usize)>,
}

impl Default for Wish {
    fn default() -> Self {
        Self { lines: Lines::All, widen: 0.0, right_of: Vec::new() }
    }
}

impl Lines {
    fn has(self, edge: &Edge) -> bool {
        self == Self::All || edge.along || edge.branch
    }
}

/// The graph, with all that a person wants to see, for `dot -Tsvg` or `-Tpdf`.
pub fn write(drawing: &Drawing<'_>, wish: &Wish) -> String {
    let mut dot = head(wish.lines);
    let trace = drawing.trace.as_ref().map_or("", |trace| &trace.title);
    let texts = [drawing.title.as_str(), drawing.caption.as_str(), trace].into_iter().filter(|text| !text.is_empty());
    let title: Vec<_> = texts.flat_map(|text| wrap(text, CAPTION)).collect();
    let _ = writeln!(dot, "  label={} labelloc=t labeljust=l fontname=Helvetica;", quoted(&title.join("\n")));
    dot += "  node [fontname=Helvetica fontsize=10]; edge [fontname=Helvetica fontsize=8 arrowsize=0.6];\n";
    body(&mut dot, drawing.graph, wish, &Dressed(drawing));
    dot
}

/// The graph for the layout alone.
pub fn bare(graph: &Graph, wish: &Wish) -> String {
    let mut dot = head(wish.lines);
    dot += "  node [label=\"\"]; edge [arrowhead=none];\n";
    body(&mut dot, graph, wish, &Bare);
    dot
}

/// The name of a box in the graph.
pub fn name(node: usize) -> String {
    format!("n{node}")
}

/// The name of the place above a box where several lines meet.
pub fn junction(node: usize) -> String {
    format!("j{node}")
}

/// What is said of boxes and lines beyond their places.
trait Dress {
    fn node(&self, node: &Node) -> String;
    fn edge(&self, edge: &Edge, arrow: bool) -> String;
}

struct Bare;

impl Dress for Bare {
    fn node(&self, _: &Node) -> String {
        String::new()
    }
    fn edge(&self, _: &Edge, _: bool) -> String {
        String::new()
    }
}

struct Dressed<'d>(&'d Drawing<'d>);

impl Dress for Dressed<'_> {
    fn node(&self, node: &Node) -> String {
        let paint = node_paint(node.shape, self.0.node_light(node));
        let label = quoted(&Block::of(node.shape, &node.text).lines.join("\n"));
        let style = if matches!(node.shape, Shape::Terminal | Shape::Stop) { "rounded,filled" } else { "filled" };
        let (number, title) = (node.label.as_deref().map(number), quoted(&self.0.node_title(node)));
        let number = number.map_or(String::new(), |number| format!(" xlabel={}", quoted(&number)));
        format!(
            " label={label}{number} tooltip={title} style=\"{style}\" fillcolor=\"{}\" color=\"{}\" \
             fontcolor=\"{}\" penwidth={:.1}",
            paint.fill, paint.stroke, paint.ink, paint.width
        )
    }

    fn edge(&self, edge: &Edge, arrow: bool) -> String {
        let light = self.0.edge_light(edge);
        let paint = edge_paint(edge, light);
        let style = if edge.kind == Kind::FallsThrough { " style=dashed" } else { "" };
        let head = if arrow { "" } else { " arrowhead=none" };
        let word = if edge.word.is_empty() { String::new() } else { format!(" xlabel={}", quoted(edge.word)) };
        let width = paint.width;
        format!("{style}{head}{word} color=\"{0}\" fontcolor=\"{0}\" penwidth={width:.1}", paint.stroke)
    }
}

fn head(lines: Lines) -> String {
    // Beside a box has to be room for where its lines lead.
    let (splines, apart) = if lines == Lines::All { ("ortho", 0.48) } else { ("line", 1.4) };
    format!("digraph logic {{\n  rankdir=TB; splines={splines}; nodesep={apart}; ranksep=0.34; bgcolor=white;\n")
}

fn body(dot: &mut String, graph: &Graph, wish: &Wish, dress: &dyn Dress) {
    let arrivals = graph.arrivals();
    let meets = |at: usize| wish.lines == Lines::All && arrivals[at] > 1;
    for (at, node) in graph.nodes.iter().enumerate() {
        let _ = writeln!(dot, "  {} [{}{}];", name(at), size(graph, at, wish.widen), dress.node(node));
        if meets(at) {
            let (width, chain) = (JUNCTION / POINTS, node.chain);
            let _ = writeln!(dot, "  {} [shape=point style=invis width={width:.4} group=c{chain}];", junction(at));
        }
    }
    for edge in graph.edges.iter().filter(|edge| wish.lines.has(edge)) {
        let meets = meets(edge.to) && edge.from != edge.to;
        let head = if meets { junction(edge.to) } else { name(edge.to) };
        let dressed = dress.edge(edge, !meets);
        let _ = writeln!(dot, "  {} -> {head} [{}{dressed}];", name(edge.from), pull(graph, edge));
    }
    for (at, node) in graph.nodes.iter().enumerate().filter(|&(at, _)| meets(at)) {
        let weight = if node.chain == 0 { 100 } else { 20 };
        let last = graph.edges.iter().filter(|edge| edge.to == at && edge.from != at).max_by_key(|edge| edge.along);
        let dressed = last.map_or(String::new(), |edge| dress.edge(&Edge { word: "", via: Vec::new(), ..*edge }, true));
        let _ = writeln!(dot, "  {} -> {} [weight={weight}{dressed}];", junction(at), name(at));
    }
    for &(left, right) in &wish.right_of {
        let (left, right) = (name(left), name(right));
        let _ = writeln!(dot, "  {{ rank=same; {left}; {right}; }} {left} -> {right} [style=invis];");
    }
    dot.push_str("}\n");
}

fn size(graph: &Graph, at: usize, widen: f64) -> String {
    let Some(node) = graph.nodes.get(at) else { return String::new() };
    let shape = if node.shape == Shape::Question { "diamond" } else { "box" };
    let block = Block::of(node.shape, &node.text);
    let (width, height) = ((block.width + widen) / POINTS, block.height / POINTS);
    // Where a failure leads to a column of its own, that column stands to the right.
    let ordered = graph.edges.iter().any(|edge| edge.from == at && edge.branch);
    let ordering = if ordered { " ordering=out" } else { "" };
    format!("shape={shape} fixedsize=true width={width:.4} height={height:.4} group=c{}{ordering}", node.chain)
}

/// What keeps columns straight, and columns that a failure leads to beside the step that failed.
fn pull(graph: &Graph, edge: &Edge) -> String {
    let good = graph.nodes.get(edge.to).is_some_and(|node| node.chain == 0);
    let weight = match (edge.along, good) {
        (true, true) => 100,
        (true, false) => 20,
        _ => 1,
    };
    let beside = if edge.branch && edge.from != START { " minlen=0" } else { "" };
    format!("weight={weight}{beside}")
}

/// A text in Graphviz' quotes, which know escapes: a backslash is one only if it is doubled.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push(' '),
            // Graphviz takes HTML's names for characters.
            '&' => quoted.push_str("&amp;"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
