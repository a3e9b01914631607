//! From the boot image's first instruction to the partition's: floors and Knownstate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bochs::Machine;
use crate::image;
use crate::peers;
use crate::profile;
use crate::report::{self, Table, whole};
use crate::subjects::{self, Loader, SMALL, file_on_cd};
use crate::tools;
use crate::trace::{Call, Cost, Trace, trace};

/// Knownstate's own name in the table.
const OWN: &str = "Knownstate";

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

/// Measures a subject.
fn measure(subject: &Subject, disk: &Path) -> Trace {
    let machine = Machine { cd: &subject.cd, disk, serial: true, limit: LIMIT };
    let trace = trace(subject.name, &machine);
    if profile::set("TRACE") {
        println!("{}", subject.name);
        trace.print();
        println!("{}", trace.serial);
    }
    if profile::wanted() && subject.name == OWN {
        profile::profile(&machine, 499);
    }
    trace
}

/// The three floors.
fn floors() -> Vec<Subject> {
    // Any sector inside each partition does: what matters is where on the disk it is.
    let state = [("STATE1", SMALL.p1 + 4096), ("STATE2", SMALL.p2 + 4096)];
    let floor = |name, state_on, kib: u64| {
        let constants = [&state[..], &[("STATE", state_on), ("STAGE2", kib)]].concat();
        let cd =
            subjects::floor(&format!("floor-{state_on}-{kib}"), "floor", &constants, &vec![0x5A; kib as usize * 1024]);
        Subject { name, cd, loader: 2048 + kib * 1024 }
    };
    vec![
        floor("floor: MBR, boot sector, jump", 0, 0),
        floor("floor, and state on two partitions", 1, 0),
        floor("floor, state, and 32 KiB loaded", 1, 32),
    ]
}

/// Knownstate, on the good path with a quick check.
fn knownstate() -> Subject {
    let images = tools::fresh("handoff-images");
    image::with_files(&images.join("system.img"), SMALL.partition, 12);
    let cd = subjects::knownstate("handoff", Loader::Shipped, &subjects::quick_logic(SMALL), &images);
    Subject { name: OWN, loader: file_on_cd(&cd, "/loader.bin"), cd }
}

/// All of it.
pub fn handoff() {
    let own = knownstate();
    let disk = subjects::restored("handoff", &own.cd, SMALL.disk);
    let mut table = Table::new(&[
        "hand-off",
        "instructions",
        "wait ms",
        "total at 100 MIPS",
        "of the floor",
        "INT 13h",
        "INT 10h",
        "CD sectors",
        "disk read",
        "written",
        "loader bytes",
    ]);
    let measured = |subject: Subject| (measure(&subject, &disk), subject);
    let all: Vec<_> = floors().into_iter().chain([own]).chain(peers::all()).map(measured).collect();
    // The last floor loads as much as a boot manager has to.
    let floor = all.iter().rfind(|(_, subject)| subject.name.starts_with("floor")).map(|(trace, _)| trace.cost);
    for (trace, subject) in &all {
        row(&mut table, subject, trace, floor.expect("there are floors"));
    }
    report::section("handoff", &table.markdown());
}

fn row(table: &mut Table, subject: &Subject, trace: &Trace, floor: Cost) {
    let read = |from_cd: bool| trace.blocks(|call| call.reads() && (call.drive == trace.boot_drive) == from_cd);
    let cost = trace.cost;
    table.row(&[
        &subject.name,
        &whole(cost.instructions),
        &format!("{:.2}", cost.wait),
        &whole(cost.total()),
        &format!("{:.1}", cost.total() / floor.total()),
        &trace.count(0x13),
        &trace.count(0x10),
        &read(true),
        &read(false),
        &trace.blocks(Call::writes),
        &whole(subject.loader as f64),
    ]);
}
