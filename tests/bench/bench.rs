//! `make bench`: what Knownstate costs, against the least that anything could do, and against others.

mod bochs;
mod floors;
mod growth;
#[path = "../qemu/guest.rs"]
#[allow(dead_code, reason = "the QEMU tests use more of it")]
mod guest;
mod handoff;
mod image;
mod peers;
mod profile;
mod report;
mod subjects;
mod tools;
mod trace;
mod transfer;
mod wall;
mod watch;

pub use tools::folder;

/// The parts, in the order in which they run.
const PARTS: [(&str, fn()); 5] = [
    ("handoff", handoff::handoff),
    ("verify", transfer::verify),
    ("heal", transfer::heal),
    ("restore", transfer::restore),
    ("growth", growth::growth),
];

fn main() {
    // cargo adds an option of its own.
    let argument = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = argument.or(std::env::var("BENCH").ok()).unwrap_or_default();
    if !wanted.is_empty() && !PARTS.iter().any(|(name, _)| *name == wanted) {
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        eprintln!("bench: there is no part `{wanted}`; the parts are {}", names.join(", "));
        std::process::exit(2);
    }
    for (name, part) in PARTS {
        if wanted.is_empty() || name == wanted {
            let begin = std::time::Instant::now();
            part();
            println!("({name}: {:.0} s)", begin.elapsed().as_secs_f64());
        }
    }
}
