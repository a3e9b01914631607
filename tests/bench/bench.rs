//! `make bench`: what Knownstate costs, against the least that anything could do, and against others.

mod bochs;
#[path = "../qemu/guest.rs"]
#[allow(dead_code, reason = "the QEMU tests use more of it")]
mod guest;
mod handoff;
mod loops;
mod subjects;
mod tools;
mod trace;

pub use tools::folder;

fn main() {
    let trace = std::env::var("TRACE").is_ok_and(|value| !value.is_empty());
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = wanted.or(std::env::var("BENCH").ok()).unwrap_or_default();
    let part = |name: &str| wanted.is_empty() || wanted == name;
    if part("handoff") {
        handoff::run(trace);
    }
    if part("loop") {
        loops::run();
    }
}
