//! `make bench`: what Knownstate costs, against the least that anything could do, and against others.

mod bochs;
#[path = "../qemu/guest.rs"]
#[allow(dead_code, reason = "the QEMU tests use more of it")]
mod guest;
mod handoff;
mod loops;
mod peers;
mod profile;
mod subjects;
mod tools;
mod trace;

pub use tools::folder;

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = wanted.or(std::env::var("BENCH").ok()).unwrap_or_default();
    let part = |name: &str| wanted.is_empty() || wanted == name;
    if part("handoff") {
        handoff::run();
    }
    if part("loop") {
        loops::run();
    }
}
