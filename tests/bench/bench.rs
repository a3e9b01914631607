//! `make bench`: what Knownstate costs, against the least that anything could do, and against others.

mod bochs;
mod floors;
#[path = "../qemu/guest.rs"]
#[allow(dead_code, reason = "the QEMU tests use more of it")]
mod guest;
mod handoff;
mod image;
mod peers;
mod profile;
mod subjects;
mod tools;
mod trace;
mod transfer;
mod wall;

pub use tools::folder;

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = wanted.or(std::env::var("BENCH").ok()).unwrap_or_default();
    let part = |name: &str| wanted.is_empty() || wanted == name;
    if part("handoff") {
        handoff::run();
    }
    for (name, run) in [("verify", transfer::verify as fn()), ("heal", transfer::heal), ("restore", transfer::restore)]
    {
        if part(name) {
            run();
        }
    }
}
