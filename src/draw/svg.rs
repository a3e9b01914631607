//! The picture: Graphviz' layout in this project's hand.

use std::borrow::Cow;
use std::fmt::Write;

use super::dot;
use super::graph::{Edge, Kind, Node, Shape};
use super::layout::{Layout, Place, Point};
use super::route::{self, End, short};
use super::text::{self, Block, LEADING, SIZE};
use super::theme::{Drawing, FAINT, FONT, INK, Light, Paint, SOFT, edge_paint, node_paint};

/// Around the picture, in points.
const MARGIN: f64 = 22.0;
/// Of the numbers beside boxes and of the words beside lines, in points.
const SMALL: f64 = 8.0;
/// Of the caption, in points, and from one of its lines to the next.
const CAPTION: f64 = 10.0;
const CAPTION_LEADING: f64 = 14.0;
/// The narrowest picture, so that a caption has room; in points.
const NARROWEST: f64 = 420.0;

/// The whole file.
pub fn write(drawing: &Drawing<'_>, layout: &Layout) -> String {
    let inner = layout.width.max(NARROWEST);
    let mut header = String::new();
    let top = heading(&mut header, drawing, inner);
    let (width, height) = (short(inner + 2.0 * MARGIN), short(top + layout.height + MARGIN));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"{FONT}\">\n"
    );
    let _ = writeln!(svg, "<title>{}</title>", escaped(&drawing.title));
    let _ = writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#ffffff\"/>");
    svg += &header;
    let _ = writeln!(svg, "<g transform=\"translate({} {})\">", short(MARGIN), short(top));
    let picture = Picture { drawing, layout };
    picture.edges(&mut svg);
    picture.nodes(&mut svg);
    picture.words(&mut svg);
    svg += "</g>\n</svg>\n";
    svg
}

/// Title and caption; how much room they take.
fn heading(svg: &mut String, drawing: &Drawing<'_>, width: f64) -> f64 {
    let mut y = MARGIN + 12.0;
    let mut line = |text: &str, size: f64, ink: &str, weight: &str| {
        let (x, at) = (short(MARGIN), short(y));
        let text = escaped(text);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{at}\" font-size=\"{size}\" fill=\"{ink}\"{weight}>{text}</text>");
        y += CAPTION_LEADING + (size - CAPTION) / 2.0;
    };
    line(&drawing.title, 15.0, INK, " font-weight=\"600\"");
    // A letter is at most 0.57 of the size wide on average, in the widest font.
    let letters = ((width / (CAPTION * 0.57)) as usize).min(110);
    if !drawing.caption.is_empty() {
        text::wrap(&drawing.caption, letters).iter().for_each(|text| line(text, CAPTION, SOFT, ""));
    }
    if let Some(trace) = &drawing.trace {
        text::wrap(&trace.title, letters).iter().for_each(|text| line(text, CAPTION, INK, ""));
    }
    y + 6.0
}

struct Picture<'d> {
    drawing: &'d Drawing<'d>,
    layout: &'d Layout,
}

impl Picture<'_> {
    /// The lines, those that matter most on top.
    fn edges(&self, svg: &mut String) {
        let mut order: Vec<_> = self.drawing.graph.edges.iter().map(|e| (self.drawing.edge_light(e), e)).collect();
        order.sort_by_key(|(light, edge)| (*light, edge.kind != Kind::Failed, edge.along));
        for (light, edge) in order {
            if let Some(line) = self.line(edge) {
                self.edge(svg, light, edge, &line);
            }
        }
    }

    fn end(&self, at: usize) -> Option<End> {
        let place = self.layout.place(&dot::name(at))?;
        Some(End { place, shape: self.drawing.graph.nodes.get(at)?.shape })
    }

    /// The points of a line from box to box. Where several lead to one box they meet above it.
    fn line(&self, edge: &Edge) -> Option<Vec<Point>> {
        let (start, goal) = (self.end(edge.from)?, self.end(edge.to)?);
        if self.is_begun(edge) {
            return Some(route::stub(start, edge.kind != Kind::Failed));
        }
        let (from, to, meet) = (dot::name(edge.from), dot::name(edge.to), dot::junction(edge.to));
        if let Some(place) = self.layout.place(&meet) {
            let (first, last) = (self.layout.route(&from, &meet), self.layout.route(&meet, &to));
            return Some(route::square_through(first, place.at, last, start, goal));
        }
        Some(route::square(self.layout.route(&from, &to), start, goal))
    }

    /// Whether a line is only begun: it leads back to its box, or is one of too many.
    fn is_begun(&self, edge: &Edge) -> bool {
        let (from, to, meet) = (dot::name(edge.from), dot::name(edge.to), dot::junction(edge.to));
        let laid = self.layout.place(&meet).is_some() || !self.layout.route(&from, &to).is_empty();
        edge.from == edge.to || !laid
    }

    /// The word beside a line; where the line leads, if it is only begun.
    fn word<'e>(&self, edge: &'e Edge) -> Cow<'e, str> {
        if !self.is_begun(edge) {
            return edge.word.into();
        }
        let goal = self.drawing.graph.nodes.get(edge.to);
        let title = || goal.and_then(|node| node.title.split(':').next()).unwrap_or_default().to_string();
        let label = goal.and_then(|node| node.label.as_deref()).map_or_else(title, text::number);
        format!("{} → {label}", edge.word).trim_start().to_string().into()
    }

    fn edge(&self, svg: &mut String, light: Light, edge: &Edge, line: &[Point]) {
        let &[.., before, tip] = line else { return };
        let Paint { stroke, width, .. } = edge_paint(edge, light);
        let size = if width > 2.0 { 9.0 } else { 7.0 };
        let path = route::rounded(line, size);
        let dashes = if edge.kind == Kind::FallsThrough { " stroke-dasharray=\"4 3\"" } else { "" };
        let title = escaped(&self.edge_title(edge));
        let class = class(light, if edge.kind == Kind::Ok { "edge" } else { "edge failure" });
        let _ = writeln!(
            svg,
            "<g class=\"{class}\"><title>{title}</title>\n\
             <path d=\"{path}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\"{dashes}/>\n\
             <path d=\"{}\" fill=\"{stroke}\"/></g>",
            route::head(before, tip, size)
        );
    }

    /// The words where lines begin, above everything, each beside those before it.
    fn words(&self, svg: &mut String) {
        let mut taken: Vec<Small<'_>> = self.numbers().collect();
        let words = self.drawing.graph.edges.iter().map(|edge| (edge, self.word(edge)));
        for (edge, text) in words.filter(|(_, text)| !text.is_empty()) {
            let (Some(line), Some(from)) = (self.line(edge), self.end(edge.from)) else { continue };
            let [first, second, ..] = line.as_slice() else { continue };
            let ink = edge_paint(edge, self.drawing.edge_light(edge)).ink;
            let mut word = Small { text, ink, ..beside(*first, *second, from.place.at) };
            // Each pass leaves one behind for good.
            while taken.iter().any(|other| other.touches(&word)) {
                word.at.y += SMALL + 1.0;
            }
            taken.push(word);
        }
        taken.iter().for_each(|small| small.write(svg));
    }

    /// The steps' numbers, above the left of their boxes as in patent drawings.
    fn numbers(&self) -> impl Iterator<Item = Small<'_>> {
        self.drawing.graph.nodes.iter().enumerate().filter_map(|(at, node)| {
            let text = text::number(node.label.as_ref()?).into();
            let Place { at: Point { x, y }, width, height } = self.layout.place(&dot::name(at))?;
            let light = self.drawing.node_light(node);
            let ink = if matches!(light, Light::Dim | Light::Pale) { FAINT } else { SOFT };
            let (at, anchor) = match node.shape {
                Shape::Question => (Point { x: x - width / 4.0 - 4.0, y: y - height / 4.0 - 4.0 }, Anchor::End),
                _ => (Point { x: x - width / 2.0 + 1.0, y: y - height / 2.0 - 3.5 }, Anchor::Start),
            };
            Some(Small { text, at, anchor, ink })
        })
    }

    fn edge_title(&self, edge: &Edge) -> String {
        let title = |at: usize| self.drawing.graph.nodes.get(at).map_or("", |node| node.title.as_str());
        let word = if edge.word.is_empty() { String::new() } else { format!("{}: ", edge.word) };
        let via: String = edge.via.iter().map(|step| format!(" → {step}")).collect();
        format!("{word}{}{via} → {}", title(edge.from), title(edge.to))
    }

    fn nodes(&self, svg: &mut String) {
        for (at, node) in self.drawing.graph.nodes.iter().enumerate() {
            if let Some(place) = self.layout.place(&dot::name(at)) {
                self.node(svg, node, place);
            }
        }
    }

    fn node(&self, svg: &mut String, node: &Node, place: Place) {
        let light = self.drawing.node_light(node);
        let paint = node_paint(node.shape, light);
        let title = escaped(&self.drawing.node_title(node));
        let what = match (node.step, node.shape) {
            (None, _) => "start",
            (_, Shape::Question) => "node question",
            (_, Shape::Action) => "node action",
            _ => "node end",
        };
        let _ = writeln!(svg, "<g class=\"{}\"><title>{title}</title>", class(light, what));
        let Paint { fill, stroke, width, ink } = paint;
        let painted = format!("fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{width}\"");
        let _ = writeln!(svg, "{}", outline(node.shape, place, &painted));
        let lines = Block::of(node.shape, &node.text).lines;
        let first = place.at.y - (lines.len() as f64 - 1.0) * LEADING / 2.0 + SIZE * 0.35;
        for (n, line) in lines.iter().enumerate() {
            let (x, y) = (short(place.at.x), short(first + n as f64 * LEADING));
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{SIZE}\" fill=\"{ink}\" text-anchor=\"middle\">{}</text>",
                escaped(line)
            );
        }
        svg.push_str("</g>\n");
    }
}

/// A small text beside something.
struct Small<'d> {
    text: Cow<'d, str>,
    at: Point,
    anchor: Anchor,
    ink: &'static str,
}

/// Which end of a text its place is.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    End,
}

impl Small<'_> {
    /// From where to where it goes, in points to the right.
    fn extent(&self) -> (f64, f64) {
        let width = text::width(&self.text, SMALL);
        match self.anchor {
            Anchor::Start => (self.at.x, self.at.x + width),
            Anchor::End => (self.at.x - width, self.at.x),
        }
    }

    fn touches(&self, other: &Self) -> bool {
        let ((left, right), (other_left, other_right)) = (self.extent(), other.extent());
        left < other_right && other_left < right && (self.at.y - other.at.y).abs() < SMALL
    }

    /// It stays readable where a line passes behind it.
    fn write(&self, svg: &mut String) {
        let (x, y, ink) = (short(self.at.x), short(self.at.y), self.ink);
        let anchor = if matches!(self.anchor, Anchor::Start) { "start" } else { "end" };
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{SMALL}\" fill=\"{ink}\" text-anchor=\"{anchor}\" \
             stroke=\"#ffffff\" stroke-width=\"2.5\" stroke-linejoin=\"round\" paint-order=\"stroke\">{}</text>",
            escaped(&self.text)
        );
    }
}

/// What the test and a style sheet know things by.
fn class(light: Light, what: &str) -> String {
    let light = match light {
        Light::Plain => return what.to_string(),
        Light::Pale => "pale",
        Light::Dim => "dim",
        Light::Ok => "lit ok",
        Light::Cut => "lit cut",
        Light::Failed => "lit failed",
    };
    format!("{what} {light}")
}

/// Where a word stands that belongs to the beginning of a line: outside the box, whose middle is given.
fn beside(from: Point, to: Point, middle: Point) -> Small<'static> {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let across = dx.abs() > dy.abs();
    let y = match (across, from.y > middle.y + 1.0, dy > 0.0) {
        (true, true, _) => from.y + SMALL + 1.0,
        (true, false, _) => from.y - 3.5,
        (false, _, true) => from.y + 10.5,
        (false, ..) => from.y - 5.0,
    };
    let left = if across { dx < 0.0 } else { from.x < middle.x - 1.0 };
    let (x, anchor) = if left { (from.x - 5.0, Anchor::End) } else { (from.x + 5.0, Anchor::Start) };
    Small { text: Cow::Borrowed(""), at: Point { x, y }, anchor, ink: SOFT }
}

fn outline(shape: Shape, place: Place, painted: &str) -> String {
    let Place { at: Point { x, y }, width, height } = place;
    let (left, top) = (x - width / 2.0, y - height / 2.0);
    if shape == Shape::Question {
        let (right, bottom) = (short(x + width / 2.0), short(y + height / 2.0));
        let (left, top, x, y) = (short(left), short(top), short(x), short(y));
        return format!("<path d=\"M{x},{top}L{right},{y}L{x},{bottom}L{left},{y}Z\" {painted}/>");
    }
    let radius = if shape == Shape::Action { 2.0 } else { width.min(height) / 2.0 };
    let [left, top, width, height, radius] = [left, top, width, height, radius].map(short);
    format!("<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\" {painted}/>")
}

/// A text as XML; characters that XML can't carry become question marks.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
