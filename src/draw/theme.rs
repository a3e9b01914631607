//! Colours and words that every format shares.

use super::graph::{Edge, Graph, Kind, Node, Shape};
use super::trace::Trace;

/// A flowchart, what a log lights up of it, and what stands above it.
pub struct Drawing<'d> {
    /// The file's name.
    pub title: String,
    /// What the file says of itself, a paragraph; may be empty.
    pub caption: String,
    /// What is drawn.
    pub graph: &'d Graph,
    /// What is lit up.
    pub trace: Option<Trace<'d>>,
}

/// How a box or a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Light {
    /// Nothing leads to it.
    Pale,
    /// The machine did not come this way.
    Dim,
    /// There is no log.
    Plain,
    /// The machine came this way, and it went well.
    Ok,
    /// The log breaks off here.
    Cut,
    /// The machine came this way, and it failed.
    Failed,
}

/// The colours of a box or a line.
pub struct Paint {
    /// Of a box.
    pub fill: &'static str,
    /// Of the line, and around a box.
    pub stroke: &'static str,
    /// Of the text.
    pub ink: &'static str,
    /// Of the line, in points.
    pub width: f64,
}

/// Of the title, the caption and the numbers.
pub const INK: &str = "#1f2933";
/// Of what is said beside.
pub const SOFT: &str = "#66717d";
/// The first that is there; the boxes have room for the widest, DejaVu Sans.
pub const FONT: &str = "Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif";

/// Of lines and boxes that the machine did not come to.
const FAINT_LINE: &str = "#b4bcc4";
/// The same for texts.
pub const FAINT: &str = "#8b96a1";

impl Drawing<'_> {
    /// How a box shows.
    pub fn node_light(&self, node: &Node) -> Light {
        let Some(trace) = &self.trace else { return if node.reachable { Light::Plain } else { Light::Pale } };
        match trace.outcome(node.step) {
            // The start was met by whatever came after it.
            None if node.step.is_none() && !trace.visits.is_empty() => Light::Ok,
            None => Light::Dim,
            Some(None) => Light::Cut,
            Some(Some(failed)) => {
                if failed {
                    Light::Failed
                } else {
                    Light::Ok
                }
            }
        }
    }

    /// How a line shows.
    pub fn edge_light(&self, edge: &Edge) -> Light {
        let (Some(from), Some(to)) = (self.graph.nodes.get(edge.from), self.graph.nodes.get(edge.to)) else {
            return Light::Plain;
        };
        match &self.trace {
            None => {
                if from.reachable {
                    Light::Plain
                } else {
                    Light::Pale
                }
            }
            Some(trace) if !trace.took(from.step, to.step) => Light::Dim,
            Some(_) if matches!(edge.kind, Kind::Failed | Kind::FallsThrough) => Light::Failed,
            Some(_) => Light::Ok,
        }
    }

    /// What a pointer that rests on a box shows.
    pub fn node_title(&self, node: &Node) -> String {
        let told = self.trace.as_ref().map(|trace| trace.told(node.step)).unwrap_or_default();
        [node.title.clone()].into_iter().chain(told).collect::<Vec<_>>().join("\n")
    }
}

/// The colours of a box.
pub fn node_paint(shape: Shape, light: Light) -> Paint {
    let (fill, stroke) = match shape {
        Shape::Question => ("#ffffff", "#52606d"),
        Shape::Action => ("#f3f6f9", "#52606d"),
        Shape::Terminal => ("#e4f2ea", "#2f7d55"),
        Shape::Stop => ("#fbefe3", "#a3602a"),
    };
    match light {
        Light::Plain => Paint { fill, stroke, ink: INK, width: 1.1 },
        Light::Pale | Light::Dim => Paint { fill: "#ffffff", stroke: FAINT_LINE, ink: FAINT, width: 0.9 },
        Light::Ok => Paint { fill: "#d5eede", stroke: "#1f7a4d", ink: INK, width: 2.2 },
        Light::Cut => Paint { fill: "#fdf3cf", stroke: "#9a7400", ink: INK, width: 2.2 },
        Light::Failed => Paint { fill: "#fbe0d0", stroke: "#b8501c", ink: INK, width: 2.2 },
    }
}

/// The colours of a line.
pub fn edge_paint(edge: &Edge, light: Light) -> Paint {
    let calm = matches!(edge.kind, Kind::Failed | Kind::FallsThrough);
    let stroke = match light {
        Light::Plain if calm => "#bd7b3c",
        Light::Plain => {
            if edge.good {
                INK
            } else {
                "#52606d"
            }
        }
        Light::Pale | Light::Dim => FAINT_LINE,
        Light::Ok => "#1f7a4d",
        Light::Cut => "#9a7400",
        Light::Failed => "#b8501c",
    };
    let width = if light > Light::Plain {
        2.6
    } else if edge.good && light == Light::Plain {
        1.7
    } else {
        1.1
    };
    let ink = if stroke == FAINT_LINE { FAINT } else { stroke };
    Paint { fill: "none", stroke, ink, width }
}
