//! From the boot image's first instruction to the partition's: floors and Knownstate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bochs::Machine;
use crate::image;
use crate::peers;
use crate::profile::profile;
use crate::subjects::{self, Loader, SMALL, file_on_cd};
use crate::tools;
use crate::trace::{Trace, trace};

/// Knownstate's own name in the table.
const OWN: &str = "knownstate";

/// Real time that a hand-off may take in Bochs.
const LIMIT: Duration = Duration::from_secs(120);

/// One that brings the partition up.
pub struct Subject {
    /// Its name in the table.
    pub name: &'static str,
    /// Its CD.
    pub cd: PathBuf,
    /// The bytes of its own code that it loads or is loaded with.
    pub loader: u64,
}

/// A subject's figures.
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Bytes of the loader.
    pub loader: u64,
    /// How it went.
    pub trace: Trace,
}

/// Measures a subject on a copy of `disk`.
pub fn measure(subject: &Subject, disk: &Path) -> Row {
    let machine = Machine { cd: &subject.cd, disk, serial: true, limit: LIMIT };
    let trace = trace(subject.name, &machine);
    if set("TRACE") {
        trace.print();
        println!("{}", trace.serial);
    }
    if set("PROFILE") && subject.name == OWN {
        profile(&machine);
    }
    Row { name: subject.name.to_string(), loader: subject.loader, trace }
}

/// Whether an environment variable has a value.
fn set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty())
}

/// The three floors.
fn floors() -> Vec<Subject> {
    // Any sector inside each partition does: what matters is where on the disk it is.
    let state = [("STATE1", SMALL.p1 + 4096), ("STATE2", SMALL.p2 + 4096)];
    let floor = |name, state_on, kib: u64| {
        let constants = [&state[..], &[("STATE", state_on), ("STAGE2", kib)]].concat();
        let cd = subjects::floor(name, "floor", &constants, &vec![0x5A; kib as usize * 1024]);
        Subject { name, cd, loader: 2048 + kib * 1024 }
    };
    vec![floor("floor", 0, 0), floor("floor-state", 1, 0), floor("floor-state-32k", 1, 32)]
}

/// Knownstate, on the good path with a quick check.
fn knownstate() -> Subject {
    let images = tools::fresh("handoff-images");
    image::with_files(&images.join("system.img"), SMALL.partition, 12);
    let cd = subjects::knownstate("handoff", Loader::Shipped, &subjects::quick_logic(SMALL), &images);
    Subject { name: OWN, loader: file_on_cd(&cd, "/loader.bin"), cd }
}

/// All of it.
pub fn run() -> Vec<Row> {
    let own = knownstate();
    let disk = subjects::restored("handoff", &own.cd, SMALL.disk);
    let mut rows = Vec::new();
    for subject in floors().into_iter().chain([own]).chain(peers::all()) {
        let row = measure(&subject, &disk);
        print(&row);
        rows.push(row);
    }
    rows
}

fn print(row: &Row) {
    let trace = &row.trace;
    let cd = trace.blocks(|call| call.reads() && call.drive == trace.boot_drive);
    let read = trace.blocks(|call| call.reads() && call.drive != trace.boot_drive);
    let written = trace.blocks(|call| call.writes());
    println!(
        "{:20} {:12.0} instructions {:9.3} ms wait {:12.0} total; INT 13h {:3} INT 10h {:3}; CD {cd} disk {read} read {written} written; loader {}",
        row.name,
        trace.cost.instructions,
        trace.cost.wait,
        trace.cost.total(),
        trace.count(0x13),
        trace.count(0x10),
        row.loader
    );
}
