//! No disk but the declared one is ever written: every order of the target, in every state that a disk gets
//! into, with up to three others that are somebody else's, made by the owners' own tools.
//!
//! What has to happen is said here by hand, after SPEC section 4 and docs/LOGIC.md, and not asked of the code
//! under test. `WRONG_DISK=all` runs the whole product; without it, three others meet each state and each
//! declaration in turn. `WRONG_DISK=NUMBER` runs one: a failure says which.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::images::{Set, figure4_set};
use common::machine::{Cut, Disk, Pc, Torn, word};
use common::others::Other;
use common::rules::{DECLARED, Declared, OTHER_SIGNATURE, Rule, SIGNATURE, Seen, State, rule};
use common::{record, tools};

/// How much larger than the declared disk the larger ones are.
const LARGER: u64 = 2048;

/// What lies in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Target,
    Other(Other),
    /// The medium that the machine was booted from, of the declared size.
    Medium,
    /// A copy of the good target.
    Clone,
    /// The same, with a signature of its own, as Windows gives it.
    Resigned,
    /// A disk of the declared size that nothing can be read from.
    Dead,
}

impl Thing {
    fn seen(self, state: State, declared: Declared) -> Seen {
        let plain = Seen { big: false, never: false, marked: false, unclear: false, mbr: None };
        match self {
            Self::Target => state.seen(declared),
            Self::Other(other) => other.seen(),
            Self::Medium => Seen { never: true, ..plain },
            Self::Clone => State::Good.seen(declared),
            Self::Resigned => Seen { mbr: Some((true, OTHER_SIGNATURE)), ..plain },
            Self::Dead => Seen { unclear: true, ..plain },
        }
    }
}

/// Everything that the combinations are put together from.
struct Shelf {
    /// A CD for each declaration.
    sets: Vec<Set>,
    /// The target for each declaration and state.
    targets: Vec<Vec<Disk>>,
    others: Vec<(Other, Disk)>,
    /// The same good target with another signature, for each declaration.
    resigned: Vec<Disk>,
}

impl Shelf {
    fn new() -> Self {
        let plain = figure4_set(512, "-F 12", 512, "-t ext2");
        let folder = tools::temporary();
        let make = |other: Other| {
            let path = folder.path().join(format!("{other:?}.img"));
            other.make(&path, plain.disk_sectors + if other.is_big() { LARGER } else { 0 });
            (other, Disk::load(0x80, &path))
        };
        let others = Other::NAMED.into_iter().chain(Other::MORE).map(make).collect();
        let sets: Vec<Set> = DECLARED.iter().map(|&declared| declare(&plain, declared)).collect();
        let target = |set: &Set| State::ALL.map(|state| target(set, state)).to_vec();
        let targets: Vec<Vec<Disk>> = sets.iter().map(target).collect();
        let resign = |states: &Vec<Disk>| {
            let mut disk = states[0].clone();
            disk.poke(440, &OTHER_SIGNATURE.to_le_bytes());
            disk
        };
        let resigned = targets.iter().map(resign).collect();
        Self { sets, targets, others, resigned }
    }

    fn disk(&self, thing: Thing, declared: usize, state: usize) -> Disk {
        let blank = || Disk::blank(0x80, self.sets[0].disk_sectors);
        match thing {
            Thing::Target => self.targets[declared][state].clone(),
            Thing::Other(other) => self.others.iter().find(|(o, _)| *o == other).expect("it was made").1.clone(),
            Thing::Medium => {
                let mut disk = blank();
                disk.info.boot_medium = true;
                disk
            }
            Thing::Clone => self.targets[declared][0].clone(),
            Thing::Resigned => self.resigned[declared].clone(),
            Thing::Dead => {
                let mut disk = blank();
                disk.unreadable.extend(0..disk.info.sectors);
                disk
            }
        }
    }

    /// The machine of a combination, in which only `may` is written.
    fn machine(&self, combination: &Combination, may: Option<usize>) -> Pc {
        let set = &self.sets[combination.declared];
        let disks = combination.things.iter().enumerate().map(|(n, &thing)| {
            let mut disk = self.disk(thing, combination.declared, combination.state);
            disk.info.drive = 0x80 + n as u8;
            disk.allowed.clear();
            if may == Some(n) {
                disk.allowed.push(0..1);
                disk.allowed.push(set.second_place()..set.second_place() + 1);
                disk.allowed.extend(set.places.iter().map(|&(start, sectors)| start..start + sectors));
            }
            disk
        });
        Pc::new(set.iso.clone(), disks.collect())
    }
}

/// The CD of a declaration.
fn declare(plain: &Set, declared: Declared) -> Set {
    let old = format!("disk system sectors {}", plain.disk_sectors);
    let mut new = old.clone();
    if declared.at_least {
        new.push_str("..");
    }
    if declared.signature {
        new.push_str(&format!(" signature {SIGNATURE:08X}"));
    }
    if declared.second {
        let larger = plain.disk_sectors + LARGER;
        new.push_str(&format!("\ndisk data sectors {larger}\npartition D on data start 64 sectors 64 type 83"));
    }
    let logic = plain.logic.replace(&old, &new);
    plain.with_logic(logic[..plain.logic.len()].trim_end_matches(|c| c != '\n'))
}

/// The target in a state: restored by the CD itself, and then damaged.
fn target(set: &Set, state: State) -> Disk {
    let mut pc = set.restored();
    let dirty = record::sector(
        "sequence=7 booting=P1 P1=Dirty P1.failures=1 P1.crashes=0 P2=Dirty P2.failures=1 P2.crashes=0 restores=0",
    );
    let sectors = set.disk_sectors;
    let disk = &mut pc.disks[0];
    match state {
        State::Good | State::Blank | State::Restoring => {}
        State::MbrZeroed => disk.poke(0, &[0; 512]),
        State::MbrGarbage => disk.poke(0, &[&[0xA5; 510][..], &[0x55, 0xAA]].concat()),
        State::TableZeroed => disk.poke(446, &[0; 64]),
        State::SomebodyElses => {
            disk.poke(0, &[0xFA; 440]);
            disk.poke(440, &OTHER_SIGNATURE.to_le_bytes());
            disk.poke(446, &[0x80, 0, 0, 0, 7, 0, 0, 0, 63, 0, 0, 0, 0, 16, 0, 0]);
            disk.poke(462, &[0; 48]);
        }
        State::CodeAltered => disk.poke(100, &[0x90; 8]),
        State::SignatureAltered => disk.poke(440, &OTHER_SIGNATURE.to_le_bytes()),
        State::P1Damaged => disk.poke(set.places[0].0 * 512, &[0; 512]),
        State::BothDamaged => set.places.iter().for_each(|&(start, _)| disk.poke(start * 512, &[0; 512])),
        State::BothDirty => (0..2).for_each(|n| set.put_state(&mut pc, n, &dirty)),
        State::StatesGarbage => (0..2).for_each(|n| set.put_state(&mut pc, n, &[0xFF; 512])),
        State::MbrUnreadable => disk.unreadable.extend([0]),
        State::HeadUnreadable => disk.unreadable.extend(0..64),
        State::GapUnreadable => disk.unreadable.extend(3..64),
        State::TailUnreadable => {
            disk.poke(0, &[0; 512]);
            disk.unreadable.extend([sectors - 1]);
        }
        State::Locked => disk.info.writable = false,
        State::Clipped => disk.info.sectors -= 1,
    }
    match state {
        State::Blank => Disk::blank(0x80, sectors),
        State::Restoring => {
            let mut pc = set.blank();
            pc.cut = Some(Cut { write: 3, sectors: 0, next: Torn::Half });
            pc.start();
            assert!(pc.off && pc.disks[0].sector(0).starts_with(b"Knownstate: restore begun"), "{:#?}", pc.lines);
            pc.disks.remove(0)
        }
        _ => pc.disks.remove(0),
    }
}

/// One machine.
#[derive(Clone, Debug)]
struct Combination {
    number: usize,
    things: Vec<Thing>,
    /// Places in [`State::ALL`] and [`DECLARED`].
    state: usize,
    declared: usize,
}

/// Every order of the target and each choice of `count` of the others; with `twice`, also the same one again.
fn orders(others: &[Thing], count: usize, twice: bool) -> Vec<Vec<Thing>> {
    let mut rows: Vec<Vec<Thing>> = vec![vec![]];
    for _ in 0..count {
        let longer = |row: &Vec<Thing>| {
            let fresh = others.iter().filter(|other| twice || !row.contains(other));
            fresh.map(|&other| [row.as_slice(), &[other]].concat()).collect::<Vec<_>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    let at = |row: Vec<Thing>| {
        (0..=row.len()).map(move |n| {
            let mut row = row.clone();
            row.insert(n, Thing::Target);
            row
        })
    };
    rows.into_iter().flat_map(at).collect()
}

fn combinations(all: bool) -> Vec<Combination> {
    let mut named: Vec<Thing> = Other::NAMED.map(Thing::Other).to_vec();
    named.push(Thing::Medium);
    let mut every = named.clone();
    every.extend(Other::MORE.map(Thing::Other));
    every.extend([Thing::Clone, Thing::Resigned, Thing::Dead]);
    let pairs = State::ALL.len() * DECLARED.len();
    let (few, four) = ([0, 1, 2].map(|n| orders(&every, n, true)).concat(), orders(&named, 3, false));
    let mut made = Vec::new();
    for (n, things) in few.iter().chain(&four).enumerate() {
        // Three disks meet a ninth of the pairs each, four disks a 53rd, other ones each time.
        let step = if all { 1 } else { [1, 1, 1, 9, 53][things.len()] };
        for pair in (n % step..pairs).step_by(step) {
            let (state, declared) = (pair % State::ALL.len(), pair / State::ALL.len());
            made.push(Combination { number: n * pairs + pair, things: things.clone(), state, declared });
        }
    }
    made
}

/// Why another disk than the target may be the declared one: by SPEC's own words it is.
fn is_taken_for_it(combination: &Combination, taken: Thing) -> bool {
    let (state, declared) = (State::ALL[combination.state], DECLARED[combination.declared]);
    match taken {
        // The target is of another size, so it is another disk.
        _ if state == State::Clipped => true,
        // The declared table, and the signature where one is declared: nothing tells it from the target.
        Thing::Clone => {
            let target = state.seen(declared);
            target.unclear || !target.mbr.is_some_and(|(map, of)| map && (!declared.signature || of == SIGNATURE))
        }
        Thing::Resigned => !declared.signature && state.seen(declared).unclear,
        // Somebody gave the target another signature and table than the declared one: it is another disk now.
        Thing::Other(Other::Blank | Other::BigBlank) => declared.signature && state == State::SomebodyElses,
        _ => false,
    }
}

/// What is wrong with what the machine did; whether it was written, and whether the target was.
fn judge(shelf: &Shelf, combination: &Combination) -> Result<(bool, bool), String> {
    let (state, declared) = (State::ALL[combination.state], DECLARED[combination.declared]);
    let seen: Vec<Seen> = combination.things.iter().map(|thing| thing.seen(state, declared)).collect();
    let rule = rule(&seen, declared);
    let may = if let Rule::Is(n) = rule { Some(n) } else { None };
    let mut pc = shelf.machine(combination, may);
    let before: Vec<_> = pc.disks.iter().map(|disk| disk.sectors.clone()).collect();
    let ending = word(&pc.start());
    for (n, (disk, before)) in pc.disks.iter().zip(&before).enumerate() {
        if may != Some(n) && (!disk.sectors.is_untouched(before) || pc.writes.iter().any(|w| w.0 == n)) {
            return Err(format!("disk {n} was written: {:?}", pc.writes));
        }
    }
    let reason = |part: &str| pc.log().iter().any(|l| l.starts_with("256 restore system = failed") && l.contains(part));
    let as_ruled = match rule {
        Rule::Is(n) => ending == "restart" || ending.starts_with(&format!("hand-off {:02X}", 0x80 + n)),
        Rule::None => ending == "hold 299" && (reason("no disk is system: ") || reason("no disk found")),
        Rule::Several => ending == "hold 299" && reason(" disks could be system: drives "),
        Rule::Both => ending == "hold 299" && reason(" is disk data as well"),
    };
    let taken = may.map(|n| combination.things[n]);
    match taken {
        _ if !as_ruled => Err(format!("the rules say {rule:?}, the machine {ending}: {:#?}", pc.log())),
        Some(other) if other != Thing::Target && !is_taken_for_it(combination, other) => {
            Err(format!("the rules take {other:?} for the target"))
        }
        taken => Ok((!pc.writes.is_empty(), taken.is_none_or(|taken| taken == Thing::Target))),
    }
}

#[test]
fn no_disk_but_the_declared_one_is_ever_written() {
    let wanted = std::env::var("WRONG_DISK").unwrap_or_default();
    let combinations = combinations(wanted == "all" || wanted.parse::<usize>().is_ok());
    let shelf = Shelf::new();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let counts = [const { AtomicUsize::new(0) }; 3];
    let work = || {
        while let Some(combination) = combinations.get(next.fetch_add(1, Ordering::Relaxed)) {
            if wanted.parse::<usize>().is_ok_and(|number| number != combination.number) {
                continue;
            }
            let judged = catch_unwind(AssertUnwindSafe(|| judge(&shelf, combination)));
            let judged = judged.unwrap_or_else(|panic| {
                Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_string()))
            });
            counts[0].fetch_add(1, Ordering::Relaxed);
            match judged {
                Ok((written, target)) => {
                    counts[1].fetch_add(usize::from(written), Ordering::Relaxed);
                    counts[2].fetch_add(usize::from(!target), Ordering::Relaxed);
                }
                Err(why) => failed.lock().unwrap().push((combination.clone(), why)),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let [starts, written, taken] = counts.map(AtomicUsize::into_inner);
    let failed = failed.into_inner().unwrap();
    println!(
        "wrong disk: {starts} starts, {written} of which wrote; {taken} of a disk that SPEC takes for the target; \
        failures: {}",
        failed.len()
    );
    for (combination, why) in failed.iter().take(5) {
        let (state, declared) = (State::ALL[combination.state], DECLARED[combination.declared]);
        println!("WRONG_DISK={} replays {:?} {state:?} {declared:?}: {why}", combination.number, combination.things);
    }
    assert!(failed.is_empty(), "{} starts failed, see above", failed.len());
}
