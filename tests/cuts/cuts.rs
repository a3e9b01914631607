//! The power-cut simulator: `make cuts`, `make defects`. docs/RELIABILITY.md says what it shows.
//!
//! core, as it is in the loader, runs on a machine in memory. Every write of every scenario is cut in every way
//! ([`cut`]), and from what is then on the disk the machine is started until it is up, under rules that know
//! nothing of core ([`rules`]). Those starts are cut as well, at every write of bstate.txt and of the MBR.

#[path = "../common/mod.rs"]
mod common;
mod cut;
mod failing;
mod life;
mod oracle;
mod rules;
mod scenarios;
#[cfg(feature = "seeded-defects")]
mod seeded;
mod simulate;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    life::find_panics();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let good = match words.as_slice() {
        [] => whole(""),
        ["--only", part] => whole(part),
        ["--replay", place] => simulate::replay(place),
        #[cfg(feature = "seeded-defects")]
        ["--defects"] => seeded::all(),
        _ => {
            eprintln!("usage: cuts [--only SCENARIO] [--replay 'SCENARIO/WRITE:WAY[/START.WRITE:WAY]']");
            return ExitCode::from(2);
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every scenario whose name has this in it; whether nothing was found.
fn whole(part: &str) -> bool {
    let mut scenarios = scenarios::all();
    scenarios.retain(|scenario| scenario.name.contains(part));
    for (name, says) in rules::RULES {
        println!("{name:<9} {says}");
    }
    let failing = failing::sweep(&scenarios, |kind| kind != world::Kind::Free);
    failing.failures.iter().for_each(|(place, broken)| println!("FAILED {place}: {broken}"));
    let failed = failing.failures.len();
    println!("failing sectors: {}, starts: {}, failures: {failed}", failing.sectors, failing.starts);
    let bound = failing::endless(&scenarios);
    println!(
        "systems that never report: {}, restores: at most {}, failures: {}",
        bound.runs, bound.most, bound.failures
    );
    let all = simulate::all(&scenarios, |line| println!("{line}"));
    let failures = all.failures.len() + failed + bound.failures;
    println!("cut points: {}, second cuts: {}, failures: {failures}", all.cuts, all.seconds);
    failures == 0
}
