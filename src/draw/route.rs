//! From the lines that `dot` laid to lines that touch their boxes, meet in one point, and have round corners.

use std::fmt::Write;

use super::dot::JUNCTION;
use super::graph::Shape;
use super::layout::{Place, Point};

/// Of a line's corners, in points.
const RADIUS: f64 = 5.0;
/// Steps shorter than this, in points, come from rounding, or from places for lines that meet.
const NOTCH: f64 = 0.75;
/// Of a line that only says where it leads, in points.
const STUB: f64 = 16.0;
/// How far from a side's middle a line is taken there, in points.
const ASKEW: f64 = 4.0;

/// A box that a line ends at.
#[derive(Clone, Copy)]
pub struct End {
    /// Where it stands.
    pub place: Place,
    /// Its form.
    pub shape: Shape,
}

/// The corners of a line that runs along and across, from one box's edge to the other's.
pub fn square(points: &[Point], from: End, to: End) -> Vec<Point> {
    ended(corners(points), from, to)
}

/// The same for a line that meets others on its way.
pub fn square_through(first: &[Point], meet: Point, last: &[Point], from: End, to: End) -> Vec<Point> {
    let mut line = corners(first);
    draw_together(&mut line, meet);
    // What is left of the place that `dot` gave each of the lines.
    if let [.., before, end] = line.as_mut_slice() {
        let upright = (before.x - end.x).abs() < (before.y - end.y).abs();
        *end = if upright { Point { x: before.x, y: meet.y } } else { Point { x: meet.x, y: before.y } };
    }
    let mut rest = corners(last);
    draw_together(&mut rest, meet);
    line.push(meet);
    line.extend(rest.into_iter().skip(1));
    ended(line, from, to)
}

/// The beginning of a line that only says where it leads: out of the box's right side, or out of its bottom.
pub fn stub(from: End, down: bool) -> Vec<Point> {
    let Place { at: Point { x, y }, width, height } = from.place;
    let (right, bottom) = (x + width / 2.0, y + height / 2.0);
    if down {
        vec![Point { x, y: bottom }, Point { x, y: bottom + STUB }]
    } else {
        vec![Point { x: right, y }, Point { x: right + STUB, y }]
    }
}

fn ended(mut line: Vec<Point>, from: End, to: End) -> Vec<Point> {
    level(&mut line, from, to);
    touch(&mut line, from);
    line.reverse();
    level(&mut line, to, from);
    touch(&mut line, to);
    line.reverse();
    corners_of(&line)
}

/// Every third point: the others are handles, which lie on the line.
fn corners(points: &[Point]) -> Vec<Point> {
    let line: Vec<_> = points.iter().copied().step_by(3).collect();
    corners_of(&line)
}

/// Leaves out what a line passes without turning.
fn corners_of(line: &[Point]) -> Vec<Point> {
    let mut corners: Vec<Point> = Vec::new();
    for &point in line {
        while let [.., before, last] = corners.as_slice() {
            let straight = |a: f64, b: f64, c: f64| (a - b).abs() < NOTCH && (b - c).abs() < NOTCH;
            if !straight(before.x, last.x, point.x) && !straight(before.y, last.y, point.y) {
                break;
            }
            corners.pop();
        }
        corners.push(point);
    }
    corners
}

/// Draws together what `dot` laid beside each other for want of a place: a line that ends where lines meet runs
/// through that very point.
fn draw_together(line: &mut [Point], at: Point) {
    for point in line {
        if (point.x - at.x).abs() <= JUNCTION {
            point.x = at.x;
        }
        if (point.y - at.y).abs() <= JUNCTION {
            point.y = at.y;
        }
    }
}

/// Lets a line that leaves a box nearly at the middle of its side leave at the middle: at a diamond's corner.
fn level(line: &mut [Point], end: End, other: End) {
    let ends_there = line.len() == 2;
    let [first, second, ..] = line else { return };
    let (at, far) = (end.place.at, other.place.at);
    if (first.y - second.y).abs() < NOTCH && (first.y - at.y).abs() < ASKEW && !(ends_there && at.y != far.y) {
        (first.y, second.y) = (at.y, at.y);
    }
    if (first.x - second.x).abs() < NOTCH && (first.x - at.x).abs() < ASKEW && !(ends_there && at.x != far.x) {
        (first.x, second.x) = (at.x, at.x);
    }
}

/// Makes a line's first point lie on the edge of its box: `dot` takes every box for a rectangle here, and may begin
/// inside it.
fn touch(line: &mut Vec<Point>, end: End) {
    let Place { at, width, height } = end.place;
    let inside = |p: &Point| (p.x - at.x).abs() < width / 2.0 - 0.5 && (p.y - at.y).abs() < height / 2.0 - 0.5;
    while line.len() > 2 && line.get(1).is_some_and(inside) {
        line.remove(0);
    }
    let [first, second, ..] = line.as_mut_slice() else { return };
    let shape = end.shape;
    let vertical = (first.x - second.x).abs() < (first.y - second.y).abs();
    if vertical {
        let reach = reach(shape, (second.x - at.x) / (width / 2.0), height, width) * height / 2.0;
        *first = Point { x: second.x, y: at.y + reach.copysign(second.y - at.y) };
    } else {
        let reach = reach(shape, (second.y - at.y) / (height / 2.0), width, height) * width / 2.0;
        *first = Point { x: at.x + reach.copysign(second.x - at.x), y: second.y };
    }
}

/// How far from a box's middle its edge is, as a part of half the box's length in that direction, at a place
/// `off` the middle in the other direction: 0 is the middle, 1 the corner.
fn reach(shape: Shape, off: f64, length: f64, across: f64) -> f64 {
    let off = off.abs().min(1.0);
    match shape {
        Shape::Question => 1.0 - off,
        Shape::Action => 1.0,
        Shape::Terminal | Shape::Stop => {
            // The corners are quarters of a circle.
            let radius = length.min(across) / 2.0;
            let beyond = (off * across / 2.0 - (across / 2.0 - radius)).max(0.0);
            1.0 - (radius - (radius * radius - beyond * beyond).max(0.0).sqrt()) / (length / 2.0)
        }
    }
}

/// The line as SVG's path data, with round corners, up to the foot of a head of `size` points.
pub fn rounded(line: &[Point], size: f64) -> String {
    let mut path = String::new();
    for (n, &point) in line.iter().enumerate() {
        let (before, after) = (n.checked_sub(1).and_then(|n| line.get(n)), line.get(n + 1));
        let _ = match (before, after) {
            (Some(&before), Some(&after)) => {
                let radius = RADIUS.min(distance(before, point) / 2.0).min(distance(point, after) / 2.0);
                let (a, b) = (towards(point, before, radius), towards(point, after, radius));
                write!(path, "L{} Q{} {}", show(a), show(point), show(b))
            }
            (None, _) => write!(path, "M{}", show(point)),
            (Some(&before), None) => {
                let foot = towards(point, before, (size * 0.8).min(distance(before, point)));
                write!(path, "L{}", show(foot))
            }
        };
    }
    path
}

/// The path data of a head at a line's end, in points.
pub fn head(before: Point, tip: Point, size: f64) -> String {
    let long = distance(before, tip).max(0.01);
    let (x, y) = ((tip.x - before.x) / long, (tip.y - before.y) / long);
    let foot = Point { x: tip.x - x * size, y: tip.y - y * size };
    let half = size * 0.36;
    let (a, b) =
        (Point { x: foot.x - y * half, y: foot.y + x * half }, Point { x: foot.x + y * half, y: foot.y - x * half });
    format!("M{}L{}L{}Z", show(tip), show(a), show(b))
}

/// A place on the way from one point to another.
fn towards(from: Point, to: Point, far: f64) -> Point {
    let part = far / distance(from, to).max(0.01);
    Point { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part }
}

fn distance(a: Point, b: Point) -> f64 {
    (a.x - b.x).hypot(a.y - b.y)
}

fn show(point: Point) -> String {
    format!("{},{}", short(point.x), short(point.y))
}

/// A number of points, to a tenth.
pub fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_string)
}
