//! Sectors that fail for good, and systems that never report.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::common::hostile::Random;
use crate::common::machine::{Cut, Happened, Pc, Torn, word};
use crate::life::{End, start};
use crate::rules::Broken;
use crate::scenarios::Scenario;
use crate::world::Kind;

/// What came of the sectors.
#[derive(Default)]
pub struct Failing {
    pub sectors: usize,
    pub starts: usize,
    pub failures: Vec<(String, Broken)>,
}

/// How a sector fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It can't be read, until it is written.
    Unreadable,
    /// Writing it is an error.
    Unwritable,
    /// Writing it is said to have been done.
    Lying,
    /// Neither can be done.
    Dead,
}

const HOWS: [How; 4] = [How::Unreadable, How::Unwritable, How::Lying, How::Dead];

/// Each sector of the disk that matters, one at a time, in these scenarios.
const SWEPT: [&str; 8] = [
    "figure4: boot P1",
    "figure4: boot P2",
    "figure4: restore because both have failed",
    "default: boot P1",
    "default: boot P2",
    "default: P1 is damaged in many places",
    "default: no MBR",
    "default: restore because both have failed",
];

/// Lets every sector of these kinds fail.
pub fn sweep(scenarios: &[Scenario], kinds: impl Fn(Kind) -> bool) -> Failing {
    let points: Vec<(&Scenario, u64, How)> = scenarios
        .iter()
        .filter(|scenario| SWEPT.contains(&scenario.name.as_str()))
        .flat_map(|scenario| {
            let places = scenario.world.set.places.iter().flat_map(|&(start, sectors)| start..start + sectors);
            let lbas = [0, scenario.world.set.second_place()]
                .into_iter()
                .chain(places)
                .filter(|lba| kinds(scenario.world.kind(*lba).0));
            lbas.flat_map(|lba| HOWS.map(|how| (scenario, lba, how))).collect::<Vec<_>>()
        })
        .collect();
    let (next, totals) = (AtomicUsize::new(0), Mutex::new(Failing { sectors: points.len(), ..Failing::default() }));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(&(scenario, lba, how)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = fails(scenario, lba, how);
                    let mut totals = totals.lock().expect("nobody panics with it");
                    match found {
                        Ok(starts) => totals.starts += starts,
                        Err(broken) => {
                            let kind = scenario.world.kind(lba).0;
                            let place = format!("{}, sector {lba} ({kind:?}) {how:?}", scenario.name);
                            totals.failures.push((place, broken));
                        }
                    }
                }
            });
        }
    });
    totals.into_inner().expect("nobody panics with it")
}

/// One sector fails from now on; how many starts it took to be up, or to hold for a reason.
fn fails(scenario: &Scenario, lba: u64, how: How) -> Result<usize, Broken> {
    let mut pc = scenario.before.clone();
    let disk = &mut pc.disks[0];
    if matches!(how, How::Unreadable | How::Dead) {
        disk.unreadable.insert(lba);
    }
    if matches!(how, How::Unwritable | How::Dead) {
        disk.unwritable.insert(lba);
    }
    if how == How::Lying {
        disk.lying.insert(lba);
    }
    for number in 1..=6 {
        match start(&scenario.world, &mut pc) {
            Ok(lived) if lived.end == End::Restart => {}
            Ok(_) => return Ok(number),
            // A restore that can't be finished is the flow's own end, if it is told; and sector 0 is the disk's.
            Err(broken) if broken.rule == "up" && (restore_failed(&pc) || lba == 0) => return Ok(number),
            Err(broken) => return Err(broken),
        }
    }
    Err(Broken { rule: "up", how: "no hand-off and no hold after 6 starts".into() })
}

fn restore_failed(pc: &Pc) -> bool {
    pc.lines.iter().any(|line| line.contains(" restore ") && line.contains("= failed"))
}

/// What came of systems that never report.
#[derive(Default)]
pub struct Endless {
    pub runs: usize,
    pub most: usize,
    pub failures: usize,
}

/// The bound of default.txt.
const RESTORES: usize = 10;

/// Starts the default flow again and again, with the power going at random, and no system ever reporting: the
/// number of restores is bounded, and then it holds.
pub fn endless(scenarios: &[Scenario]) -> Endless {
    let mut all = Endless::default();
    let Some(scenario) = scenarios.iter().find(|scenario| scenario.name == "default: boot P1") else { return all };
    for seed in 1..=40 {
        all.runs += 1;
        match never_reports(scenario, seed) {
            Ok(restores) => all.most = all.most.max(restores),
            Err(broken) => {
                all.failures += 1;
                println!("FAILED a system that never reports, seed {seed}: {broken}");
            }
        }
    }
    all
}

fn never_reports(scenario: &Scenario, seed: u64) -> Result<usize, Broken> {
    let mut random = Random::new(seed);
    let mut pc = scenario.before.clone();
    let mut restores = 0;
    for _ in 0..400 {
        pc.cut = (random.below(3) == 0).then(|| {
            let next = *random.pick(&[Torn::Old, Torn::Half, Torn::Garbage, Torn::Unreadable]);
            Cut { write: random.below(12), sectors: random.below(2), next }
        });
        pc.happened = Some(Vec::new());
        let ending = word(&pc.start());
        // One that was cut before the first sector was destroyed does not count.
        let writes = pc.happened.iter().flatten().any(|one| matches!(one, Happened::Wrote { at: 0, .. }));
        let begun = pc.lines.iter().any(|line| line.contains(" restore system"));
        restores += usize::from(begun && writes);
        if restores > RESTORES {
            return Err(Broken { rule: "up", how: format!("{restores} restores and no report") });
        }
        if !pc.off && ending.starts_with("hold") {
            return Ok(restores);
        }
    }
    Err(Broken { rule: "up", how: "400 starts, and it never held".into() })
}
