//! Where everything stands: Graphviz' `dot` is asked, and its answer read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::dot::{self, Lines, POINTS, Wish};
use super::graph::{Graph, START};

/// The most boxes, and the most boxes that all lines together may pass by, in a drawing with every line in it: the
/// time for that grows with their square. `default.txt` has 40 and 340.
const MAX_BOXES: usize = 250;
const MAX_PASSED: usize = 2500;
/// How much wider boxes are made, in points, until `dot` can lay the lines: Graphviz 2.43 crashes in its square lines
/// when columns stand nearly, and not quite, above each other.
const WIDER: [f64; 6] = [0.0, 2.0, 5.0, 9.0, 14.0, 20.0];
/// How often what stands on the wrong side is told to stand on the other one.
const CORRECTIONS: usize = 3;
/// The longest that `dot` may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place, in points from the upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

/// A box's place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Its middle.
    pub at: Point,
    /// In points.
    pub width: f64,
    /// In points.
    pub height: f64,
}

/// The way that lines were laid.
pub struct Layout {
    /// In points.
    pub width: f64,
    /// In points.
    pub height: f64,
    /// What was wished for to come to it.
    pub wish: Wish,
    places: HashMap<String, Place>,
    /// The points that a line passes, each with two handles to the next: 3n + 1 of them.
    routes: HashMap<(String, String), Vec<Point>>,
}

impl Layout {
    /// Asks `dot`.
    ///
    /// # Errors
    /// When it is missing or fails.
    pub fn of(graph: &Graph) -> Result<Self> {
        let passed: usize = graph.edges.iter().map(|edge| edge.from.abs_diff(edge.to)).sum();
        if graph.nodes.len() > MAX_BOXES || passed > MAX_PASSED {
            return Self::read(graph, &Wish { lines: Lines::Near, ..Wish::default() });
        }
        let mut best: Option<(usize, Self)> = None;
        for widen in WIDER {
            let mut wish = Wish { widen, ..Wish::default() };
            for _ in 0..CORRECTIONS {
                // `dot` itself fails where it meets something that it can't lay square: another try, another luck.
                let Ok(layout) = Self::read(graph, &wish) else { break };
                let astray = layout.left_of_the_good_path(graph);
                wish.right_of.extend(&astray);
                let count = layout.boxes_on_the_left(graph);
                if best.as_ref().is_none_or(|(least, _)| count < *least) {
                    best = Some((count, layout));
                }
                if count == 0 || astray.is_empty() {
                    break;
                }
            }
            if let Some((0, layout)) = best {
                return Ok(layout);
            }
        }
        match best {
            Some((_, layout)) => Ok(layout),
            None => Self::read(graph, &Wish { lines: Lines::Near, ..Wish::default() }),
        }
    }

    fn read(graph: &Graph, wish: &Wish) -> Result<Self> {
        read(&ask(&dot::bare(graph, wish))?, wish.clone())
    }

    /// Boxes that stand in a row with one of the good path, and left of it: that one, and the box.
    fn left_of_the_good_path(&self, graph: &Graph) -> Vec<(usize, usize)> {
        let all =
            || (0..graph.nodes.len()).filter_map(|at| Some((at, graph.nodes.get(at)?, self.place(&dot::name(at))?)));
        let good = || all().filter(|(_, node, _)| node.chain == 0);
        let row = |y: f64| good().find(|(_, _, place)| (place.at.y - y).abs() < 1.0);
        let pairs = all().filter_map(|(at, _, place)| row(place.at.y).map(|(good, _, goal)| (good, goal, at, place)));
        pairs.filter(|(_, goal, _, place)| place.at.x < goal.at.x - 1.0).map(|(good, _, at, _)| (good, at)).collect()
    }

    /// How many boxes stand left of the good path.
    fn boxes_on_the_left(&self, graph: &Graph) -> usize {
        let Some(start) = self.place(&dot::name(START)) else { return 0 };
        let places = (0..graph.nodes.len()).filter_map(|at| self.place(&dot::name(at)));
        places.filter(|place| place.at.x < start.at.x - 1.0).count()
    }

    /// Where a box stands.
    pub fn place(&self, name: &str) -> Option<Place> {
        self.places.get(name).copied()
    }

    /// The points of a line.
    pub fn route(&self, from: &str, to: &str) -> &[Point] {
        self.routes.get(&(from.to_string(), to.to_string())).map_or(&[], Vec::as_slice)
    }
}

fn ask(graph: &str) -> Result<String> {
    let (mut from, mut to, mut errors) = (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
    from.write_all(graph.as_bytes())?;
    from.rewind()?;
    let mut child = Command::new("dot")
        .arg("-Tplain")
        // Numbers with a point, whatever the language.
        .env("LC_ALL", "C.UTF-8")
        .stdin(from)
        .stdout(to.try_clone()?)
        .stderr(errors.try_clone()?)
        .spawn()
        .context("can't run dot; install it with: apt-get install graphviz")?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("dot was not ready after {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    };
    if !status.success() {
        bail!("dot failed:\n{}", content(&mut errors)?.trim_end());
    }
    content(&mut to)
}

fn content(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Graphviz' manual, "Output Formats", plain: inches, from the lower left corner.
fn read(plain: &str, wish: Wish) -> Result<Layout> {
    let mut layout = Layout { width: 0.0, height: 0.0, wish, places: HashMap::new(), routes: HashMap::new() };
    for line in plain.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |n: usize| words.get(n).and_then(|word| word.parse::<f64>().ok()).map(|inches| inches * POINTS);
        let known = match words.first() {
            Some(&"graph") => number(2).zip(number(3)).map(|size| (layout.width, layout.height) = size),
            Some(&"node") => node(&words, &number, layout.height).map(|(name, place)| {
                layout.places.insert(name, place);
            }),
            Some(&"edge") => edge(&words, &number, layout.height).map(|(ends, route)| {
                layout.routes.insert(ends, route);
            }),
            _ => Some(()),
        };
        known.with_context(|| format!("dot says `{line}`, which is not its plain format"))?;
    }
    Ok(layout)
}

fn node(words: &[&str], number: &dyn Fn(usize) -> Option<f64>, height: f64) -> Option<(String, Place)> {
    let at = Point { x: number(2)?, y: height - number(3)? };
    Some(((*words.get(1)?).to_string(), Place { at, width: number(4)?, height: number(5)? }))
}

type Route = ((String, String), Vec<Point>);

fn edge(words: &[&str], number: &dyn Fn(usize) -> Option<f64>, height: f64) -> Option<Route> {
    let count: usize = words.get(3)?.parse().ok()?;
    let point = |n: usize| Some(Point { x: number(4 + 2 * n)?, y: height - number(5 + 2 * n)? });
    let route = (0..count).map(point).collect::<Option<Vec<_>>>()?;
    Some((((*words.get(1)?).to_string(), (*words.get(2)?).to_string()), route))
}
