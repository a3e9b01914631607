//! `make bench`: what Knownstate costs, against the least that anything could do, and against others.

mod bochs;
#[path = "../qemu/guest.rs"]
#[allow(dead_code, reason = "the QEMU tests use more of it")]
mod guest;
mod handoff;
mod subjects;
mod tools;
mod trace;

pub use tools::folder;

fn main() {
    let trace = std::env::var("TRACE").is_ok_and(|value| !value.is_empty());
    handoff::run(trace);
}
