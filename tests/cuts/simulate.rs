//! Cuts every write of a scenario, and looks at what the next starts make of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use knownstate_core::hash::hash;
use knownstate_core::units::SECTOR;

use crate::common::machine::{Disk, Happened, PAGE, Pc};
use crate::cut::{UNFLUSHED, Way, apply, cut, ways};
use crate::life::{Lived, come_up, start};
use crate::rules::Broken;
use crate::scenarios::{Scenario, all as scenarios};
use crate::world::{Kind, World};

/// So many failures of one scenario are told; more say the same.
const TOLD: usize = 3;

/// What came of it.
#[derive(Default)]
pub struct Totals {
    /// Cut points, each of which leaves another disk behind.
    pub cuts: usize,
    /// The same of cuts in the starts after a cut.
    pub seconds: usize,
    pub failures: Vec<(String, Broken)>,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.seconds += other.seconds;
        self.failures.extend(other.failures);
    }
}

/// Every scenario, on every processor; a line for each as it is done.
pub fn all(scenarios: &[Scenario], mut tell: impl FnMut(&str)) -> Totals {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = sender.send((&scenario.name, one(scenario, usize::MAX)));
                }
            });
        }
        drop(sender);
        for (done, (name, found)) in receiver.into_iter().enumerate() {
            let (cuts, seconds) = (found.cuts, found.seconds);
            tell(&format!("[{:>2}/{}] {name}: {cuts} cut points, {seconds} second cuts", done + 1, scenarios.len()));
            for (place, broken) in found.failures.iter().take(TOLD) {
                tell(&format!("FAILED {broken}\n  again: make cuts REPLAY='{place}'"));
            }
            totals.lock().expect("nobody panics with it").add(found);
        }
    });
    totals.into_inner().expect("nobody panics with it")
}

/// One scenario, until so many failures are found.
pub fn one(scenario: &Scenario, most: usize) -> Totals {
    let mut totals = Totals::default();
    let mut pc = scenario.before.clone();
    let happened = match uncut(scenario, &mut pc) {
        Ok(happened) => happened,
        Err(broken) => {
            totals.failures.push((scenario.name.clone(), broken));
            return totals;
        }
    };
    let mut seen = HashSet::from([fingerprint(&scenario.before.disks[0], &scenario.before.disks[0])]);
    let mut seen_again = HashSet::new();
    for_cuts(
        &scenario.world,
        &scenario.before.disks[0],
        &happened,
        |_| true,
        |write, way, disk| {
            if totals.failures.len() >= most || !seen.insert(fingerprint(&disk, &scenario.before.disks[0])) {
                return;
            }
            totals.cuts += 1;
            let place = format!("{}/{write}:{way}", scenario.name);
            let mut pc = scenario.before.clone();
            pc.disks[0] = disk;
            match come_up(&scenario.world, &mut pc) {
                Err(broken) => totals.failures.push((place, broken)),
                Ok(lives) if is_state(&scenario.world, writes(&happened)[write], way) => {
                    second(scenario, &lives, &place, &mut seen_again, &mut totals);
                }
                Ok(_) => {}
            }
        },
    );
    totals
}

/// Cuts the starts after a cut, at each write of state.
fn second(scenario: &Scenario, lives: &[Lived], place: &str, seen: &mut HashSet<u64>, totals: &mut Totals) {
    for (n, lived) in lives.iter().enumerate() {
        for_cuts(&scenario.world, &lived.before, &lived.happened, Kind::is_state, |write, way, disk| {
            if !seen.insert(fingerprint(&disk, &scenario.before.disks[0])) {
                return;
            }
            totals.seconds += 1;
            let mut pc = scenario.before.clone();
            pc.disks[0] = disk;
            if let Err(broken) = come_up(&scenario.world, &mut pc) {
                totals.failures.push((format!("{place}/{n}.{write}:{way}"), broken));
            }
        });
    }
}

/// What is cut: the system's writes, or those of a start; either has to be good when nothing is cut.
pub fn uncut(scenario: &Scenario, pc: &mut Pc) -> Result<Vec<Happened>, Broken> {
    let happened = if scenario.system.is_empty() {
        start(&scenario.world, pc)?.happened
    } else {
        scenario.system.iter().for_each(|write| apply(&mut pc.disks[0], write));
        scenario.system.clone()
    };
    come_up(&scenario.world, &mut pc.clone())?;
    Ok(happened)
}

/// Every way to cut the writes at sectors of these kinds, with the disk that it leaves.
fn for_cuts(
    world: &World,
    before: &Disk,
    happened: &[Happened],
    kinds: fn(Kind) -> bool,
    mut each: impl FnMut(usize, Way, Disk),
) {
    let writes = writes(happened);
    let mut states = vec![before.clone()];
    for (number, write) in writes.iter().enumerate() {
        for way in ways(world, &writes, number, kinds) {
            each(number, way, cut(&states, &writes, number, way));
        }
        let mut after = states[states.len() - 1].clone();
        apply(&mut after, write);
        states.push(after);
        if states.len() > UNFLUSHED {
            states.remove(0);
        }
    }
}

fn writes(happened: &[Happened]) -> Vec<&Happened> {
    happened.iter().filter(|one| matches!(one, Happened::Wrote { .. })).collect()
}

/// Whether a cut is one of bstate.txt's sector or of the MBR.
fn is_state(world: &World, write: &Happened, way: Way) -> bool {
    let Happened::Wrote { at, data, .. } = write else { return false };
    let last = (data.len() / SECTOR).saturating_sub(1);
    let sector = if let Way::Cut { sectors, .. } = way { sectors.min(last) } else { 0 };
    world.kind(at + sector as u64).0.is_state()
}

/// Tells disks apart, by where they differ from `base`.
fn fingerprint(disk: &Disk, base: &Disk) -> u64 {
    let mut sum = 0;
    for (page, bytes) in disk.sectors.pages_unlike(&base.sectors) {
        let old = base.bytes(page * PAGE..(page + 1) * PAGE);
        if old != bytes {
            sum ^= hash(page, bytes);
        }
    }
    disk.unreadable.iter().fold(sum, |sum, lba| sum ^ hash(!lba, b"unreadable"))
}

/// Plays one cut again, and shows all that happens; whether it comes up now.
pub fn replay(place: &str) -> bool {
    let mut parts = place.split('/');
    let name = parts.next().unwrap_or_default();
    let Some(scenario) = scenarios().into_iter().find(|scenario| scenario.name == name) else {
        eprintln!("there is no scenario `{name}`");
        return false;
    };
    let mut pc = scenario.before.clone();
    let mut happened = match uncut(&scenario, &mut pc) {
        Ok(happened) => vec![(scenario.before.disks[0].clone(), happened)],
        Err(broken) => {
            show(&pc, 0);
            println!("{broken}");
            return false;
        }
    };
    for part in parts {
        let found = part.split_once(':').and_then(|(at, way)| {
            let (start, write) = at.split_once('.').unwrap_or(("0", at));
            Some((start.parse::<usize>().ok()?, write.parse::<usize>().ok()?, Way::parse(way)?))
        });
        let Some((n, write, way)) = found.filter(|(n, ..)| *n < happened.len()) else {
            eprintln!("`{part}` is no place of this scenario");
            return false;
        };
        let (before, done) = &happened[n];
        let mut left = None;
        for_cuts(
            &scenario.world,
            before,
            done,
            |_| true,
            |w, other, disk| {
                if (w, other) == (write, way) {
                    left = Some(disk);
                }
            },
        );
        let Some(disk) = left else {
            eprintln!("write {write} can't be cut so");
            return false;
        };
        println!("cut: {part}");
        pc = scenario.before.clone();
        pc.disks[0] = disk;
        match come_up_shown(&scenario.world, &mut pc) {
            Ok(lives) => happened = lives.into_iter().map(|lived| (lived.before, lived.happened)).collect(),
            Err(broken) => {
                println!("{broken}");
                return false;
            }
        }
    }
    true
}

fn come_up_shown(world: &World, pc: &mut Pc) -> Result<Vec<Lived>, Broken> {
    let first = pc.clone();
    let lives = come_up(world, pc);
    match &lives {
        Ok(lives) => lives.iter().for_each(|lived| lived.happened.iter().for_each(|one| show_one(world, one))),
        Err(_) => {
            let mut pc = first;
            for number in 0..4 {
                let started = start(world, &mut pc);
                show(&pc, number);
                if started.is_err() {
                    break;
                }
            }
        }
    }
    lives
}

fn show(pc: &Pc, number: usize) {
    println!("start {number}:");
    pc.lines.iter().for_each(|line| println!("  {line}"));
}

fn show_one(world: &World, one: &Happened) {
    match one {
        Happened::Said(line) => println!("  {line}"),
        Happened::Wrote { at, data, .. } => {
            println!("      write {:?} at {at}, {} sectors", world.kind(*at).0, data.len() / SECTOR);
        }
    }
}
