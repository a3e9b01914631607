//! Where Knownstate's instructions go: samples of a run, by the loader's symbols.

use std::collections::BTreeMap;
use std::process::Command;

use crate::bochs::{BOOT_SECTOR, Machine, SPEEDS};
use crate::tools::run;
use crate::trace::MARK;

/// The loader with its symbols, as build.rs left it.
const ELF: &str = concat!(env!("OUT_DIR"), "/loader/i386-bios/release/knownstate-stage2");

/// Whether it was asked for.
pub fn wanted() -> bool {
    set("PROFILE")
}

/// Whether an environment variable has a value.
pub fn set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty())
}

/// Prints the share of each function, from a sample every `step` instructions (a prime, so that no loop
/// keeps step with it).
pub fn profile(machine: &Machine<'_>, step: u64) {
    let symbols = symbols();
    let mut bochs = machine.start("profile", SPEEDS[0]);
    bochs.stop_at(BOOT_SECTOR);
    bochs.go();
    let (mut counts, mut samples) = (BTreeMap::<&str, u64>::new(), 0);
    loop {
        let answer = bochs.command(&format!("s {step}"));
        if answer.contains("Breakpoint") && bochs.bytes(8, "0x7c03") == MARK {
            break;
        }
        let at = answer.split_once("[0x").and_then(|(_, rest)| rest.split_once(']'));
        let Some(at) = at.and_then(|(at, _)| u64::from_str_radix(at, 16).ok()) else { continue };
        *counts.entry(place(&symbols, at)).or_default() += 1;
        samples += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(name, count)| (u64::MAX - count, name));
    println!("  {samples} samples, one in {step} instructions:");
    for (name, count) in counts.iter().take(40) {
        println!("  {:5.1} % {:9} {name}", 100.0 * *count as f64 / samples as f64, count * step);
    }
}

/// Symbols of the loader, by address.
fn symbols() -> Vec<(u64, String)> {
    let table = run(Command::new("nm").args(["-n", "-C", ELF]));
    let symbol = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (at, kind, name) = (words.next()?, words.next()?, words.next()?);
        let code = kind.eq_ignore_ascii_case("t");
        code.then(|| Some((u64::from_str_radix(at, 16).ok()?, name.to_string())))?
    };
    table.lines().filter_map(symbol).collect()
}

/// Whose code an address is in.
fn place(symbols: &[(u64, String)], at: u64) -> &str {
    if at >= 0xA_0000 {
        return "(BIOS)";
    }
    let next = symbols.partition_point(|&(begin, _)| begin <= at);
    next.checked_sub(1).and_then(|n| symbols.get(n)).map_or("(elsewhere)", |(_, name)| name)
}
