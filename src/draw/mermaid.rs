//! The flowchart as Mermaid text, which GitHub draws in a README.

use std::fmt::Write;

use super::graph::{Kind, Node, Shape};
use super::theme::{Drawing, Light, edge_paint, node_paint};

/// The whole text, without the fence around it.
pub fn write(drawing: &Drawing<'_>) -> String {
    let mut text = String::from("flowchart TD\n");
    for (at, node) in drawing.graph.nodes.iter().enumerate() {
        let _ = writeln!(text, "    {}{}:::{}", name(at), boxed(node), class(node.shape, drawing.node_light(node)));
    }
    for edge in &drawing.graph.edges {
        let arrow = if edge.kind == Kind::FallsThrough { "-.->" } else { "-->" };
        let word = if edge.word.is_empty() { String::new() } else { format!("|{}|", edge.word) };
        let _ = writeln!(text, "    {} {arrow}{word} {}", name(edge.from), name(edge.to));
    }
    classes(&mut text, drawing);
    links(&mut text, drawing);
    text
}

fn name(node: usize) -> String {
    format!("n{node}")
}

fn boxed(node: &Node) -> String {
    let number = node.label.as_ref().map_or(String::new(), |label| format!("{} · ", escaped(label)));
    let text = format!("\"{number}{}\"", escaped(&node.text));
    match node.shape {
        Shape::Question => format!("{{{text}}}"),
        Shape::Action => format!("[{text}]"),
        Shape::Terminal | Shape::Stop => format!("([{text}])"),
    }
}

fn class(shape: Shape, light: Light) -> &'static str {
    match (light, shape) {
        (Light::Pale | Light::Dim, _) => "pale",
        (Light::Ok, _) => "ok",
        (Light::Cut, _) => "cut",
        (Light::Failed, _) => "failed",
        (_, Shape::Question) => "question",
        (_, Shape::Action) => "action",
        (_, Shape::Terminal) => "good",
        (_, Shape::Stop) => "stop",
    }
}

/// The colours of what is there.
fn classes(text: &mut String, drawing: &Drawing<'_>) {
    let mut used: Vec<(&str, Shape, Light)> = Vec::new();
    for node in &drawing.graph.nodes {
        let light = drawing.node_light(node);
        let class = class(node.shape, light);
        if !used.iter().any(|(name, ..)| *name == class) {
            used.push((class, node.shape, light));
        }
    }
    used.sort_unstable_by_key(|(name, ..)| *name);
    for (name, shape, light) in used {
        let paint = node_paint(shape, light);
        let _ = writeln!(
            text,
            "    classDef {name} fill:{},stroke:{},color:{},stroke-width:{}px",
            paint.fill, paint.stroke, paint.ink, paint.width
        );
    }
}

/// The colours of lines, which Mermaid knows by their place in the text.
fn links(text: &mut String, drawing: &Drawing<'_>) {
    let mut styles: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for (at, edge) in drawing.graph.edges.iter().enumerate() {
        let paint = edge_paint(edge, drawing.edge_light(edge));
        let width = if paint.width > 2.0 { "3px" } else { "1px" };
        let style = (paint.stroke, width);
        match styles.iter_mut().find(|(known, _)| *known == style) {
            Some((_, places)) => places.push(at.to_string()),
            None => styles.push((style, vec![at.to_string()])),
        }
    }
    for ((stroke, width), places) in styles {
        let _ = writeln!(text, "    linkStyle {} stroke:{stroke},stroke-width:{width}", places.join(","));
    }
}

/// A text in Mermaid's quotes: everything that it could take for something else by its code.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => escaped.push('?'),
            c if c.is_alphanumeric() || " -_.,:?/()'·".contains(c) => escaped.push(c),
            c => {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
        }
    }
    escaped
}
