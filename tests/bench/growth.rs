//! What grows with what: a hand-off with the disk, its partitions and its files, a restore with its image.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::bochs::Machine;
use crate::image;
use crate::report::{self, Table, whole};
use crate::subjects::{self, Layout, Loader, SMALL, quick_logic};
use crate::tools::{self, run};
use crate::trace::{Cost, Trace, cost, trace};
use crate::transfer;

/// Real time that a run in Bochs may take.
const LIMIT: Duration = Duration::from_secs(400);

/// The length of a partition that even the smallest disk has room for, in sectors: 24 MiB.
const TINY: u64 = 49_152;

/// The disks, in MiB.
const DISKS: [u64; 5] = [64, 1024, 16 << 10, 128 << 10, 1 << 20];

/// Files in the root directory.
const FILES: [usize; 4] = [10, 100, 300, 1000];

/// Images, in MiB; a third of each is in use.
const IMAGES: [u64; 4] = [40, 64, 96, 128];

/// One panel of the plot.
struct Curve {
    /// What is varied.
    what: &'static str,
    /// The axis' name.
    axis: &'static str,
    /// Whether it is logarithmic.
    wide: bool,
    points: Vec<(f64, Cost, String)>,
}

/// A hand-off from a disk that the CD has restored.
fn hand_off(name: &str, logic: &str, images: &Path, sectors: u64) -> Trace {
    let cd = subjects::knownstate(name, Loader::Shipped, logic, images);
    let disk = subjects::restored(name, &cd, sectors);
    let trace = trace(name, &Machine { cd: &cd, disk: &disk, serial: true, limit: LIMIT });
    let _ = fs::remove_file(disk);
    trace
}

fn images(name: &str, sectors: u64, files: usize) -> PathBuf {
    let folder = tools::fresh(&format!("images/{name}"));
    image::with_files(&folder.join("system.img"), sectors, files);
    folder
}

/// The point of a hand-off.
fn point(at: f64, trace: &Trace) -> (f64, Cost, String) {
    let blocks = |own: bool| trace.blocks(|call| call.reads() && (call.drive == trace.boot_drive) == own);
    (at, trace.cost, format!("{} INT 13h, {} CD and {} disk sectors", trace.count(0x13), blocks(true), blocks(false)))
}

/// P2 stands in the middle, wherever that is.
fn disks() -> Curve {
    let images = images("growth-disk", TINY, 12);
    let points = DISKS.map(|mib| {
        let disk = mib * 2048;
        let layout = Layout { disk, p1: 2048, p2: disk / 2, partition: TINY };
        point(mib as f64, &hand_off(&format!("growth-disk-{mib}"), &quick_logic(layout), &images, disk))
    });
    Curve { what: "hand-off, by size of the disk", axis: "MiB", wide: true, points: points.into() }
}

/// Every partition is looked at.
fn partitions() -> Curve {
    let images = images("growth-partitions", TINY, 12);
    let points = [1, 2, 3, 4].map(|count| {
        let name = format!("growth-partitions-{count}");
        point(count as f64, &hand_off(&name, &logic_for(count), &images, SMALL.disk))
    });
    Curve { what: "hand-off, by number of partitions", axis: "partitions", wide: false, points: points.into() }
}

/// The good path of default.txt for any number of partitions.
fn logic_for(count: u64) -> String {
    let mut text = format!("logic 1\ndisk system sectors {}\n", SMALL.disk);
    for n in 1..=count {
        let start = 2048 + (n - 1) * TINY;
        let _ = writeln!(text, "partition P{n} on system start {start} sectors {TINY} type 0c image system.img");
    }
    text.push_str(
        "202 verify mbr of system else 256\n206 verify P1 quick else 299\n207 if P1 failures below 3 else 299\n",
    );
    for n in 2..=count {
        let _ = writeln!(text, "{} verify P{n} quick else 299", 206 + n);
    }
    text.push_str("220 activate P1 else 299\n221 set P1 Dirty\n222 boot P1\n    goto 299\n");
    text.push_str("256 if restores below 10 else 299\n260 restore system else 299\n    restart\n299 hold \"no\"\n");
    text
}

/// bstate.txt comes behind all of them.
fn files() -> Curve {
    let points = FILES.map(|count| {
        let images = images("growth-files", SMALL.partition, count);
        let name = format!("growth-files-{count}");
        point(count as f64, &hand_off(&name, &quick_logic(SMALL), &images, SMALL.disk))
    });
    Curve { what: "hand-off, by files in the root directory", axis: "files", wide: false, points: points.into() }
}

/// With read-back, as shipped.
fn restores() -> Curve {
    let points = IMAGES.map(|mib| {
        let setup = transfer::third_full(mib);
        let (cd, disk) = (setup.cd(), setup.blank());
        let cost = cost("growth-restore", &Machine { cd, disk: &disk, serial: true, limit: LIMIT });
        (mib as f64, cost, format!("{:.1} MiB in use", setup.mib()))
    });
    Curve { what: "restore of two partitions, by size of the image", axis: "MiB", wide: false, points: points.into() }
}

/// All of it, as a table and as a plot.
pub fn growth() {
    let curves = [disks(), partitions(), files(), restores()];
    let mut text = String::new();
    for curve in &curves {
        let mut table = Table::new(&[curve.axis, "instructions", "wait ms", "total at 100 MIPS", ""]);
        for (at, cost, remark) in &curve.points {
            let wait = format!("{:.2}", cost.wait);
            table.row(&[&whole(*at), &whole(cost.instructions), &wait, &whole(cost.total()), remark]);
        }
        let _ = write!(text, "{}:\n\n{}\n", curve.what, table.markdown());
    }
    report::section("growth", &text);
    plot(&curves);
}

/// MiB as people say it.
fn size(mib: f64) -> String {
    match mib {
        ..1024.0 => format!("{mib} MiB"),
        ..1_048_576.0 => format!("{} GiB", mib / 1024.0),
        _ => format!("{} TiB", mib / 1_048_576.0),
    }
}

/// docs/bench-growth.svg, by gnuplot.
fn plot(curves: &[Curve]) {
    let folder = tools::fresh("growth");
    let mut script = String::from(
        "set terminal svg size 900,640 dynamic enhanced background rgb 'white' font 'sans,11'\n\
         set output 'bench-growth.svg'\nset multiplot layout 2,2\n\
         set ylabel 'million, at 100 MIPS'\nset yrange [0:*]\nset grid ytics\nset key outside below horizontal\n",
    );
    for (n, curve) in curves.iter().enumerate() {
        let lines = curve
            .points
            .iter()
            .map(|(at, cost, _)| format!("{at} {} {}\n", cost.total() / 1e6, cost.instructions / 1e6));
        fs::write(folder.join(format!("{n}.dat")), lines.collect::<String>()).expect("target can be written");
        let scale = if curve.wide { "set logscale x 2" } else { "unset logscale x" };
        let tick =
            |(at, ..): &(f64, Cost, String)| format!("'{}' {at}", if curve.wide { size(*at) } else { at.to_string() });
        let ticks = curve.points.iter().map(tick).collect::<Vec<_>>().join(", ");
        let _ = write!(
            script,
            "set title '{}'\nset xlabel '{}'\n{scale}\n\
             set xtics ({ticks})\nplot '{n}.dat' using 1:2 with linespoints lw 2 pt 7 title 'with device wait', \
             '' using 1:3 with linespoints lw 2 pt 6 title 'instructions alone'\n",
            curve.what,
            if curve.wide { "disk" } else { curve.axis }
        );
    }
    fs::write(folder.join("plot"), script).expect("target can be written");
    run(Command::new("gnuplot").current_dir(&folder).arg("plot"));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench-growth.svg");
    fs::copy(folder.join("bench-growth.svg"), page).expect("docs can be written");
}
