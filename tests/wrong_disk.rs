//! No disk but the declared one is ever written: every order of the target, in every state that a disk gets
//! into, with up to three others that are somebody else's, made by the owners' own tools.
//!
//! What has to happen is said by tests/common/rules.rs by hand, and not asked of the code under test. `WRONG_DISK=all` runs the whole product; without it, three others meet each state and each
//! declaration in turn. `WRONG_DISK=NUMBER` runs one: a failure says which.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::images::{Set, figure4_set};
use common::machine::{Cut, Disk, Pc, Torn, word};
use common::others::Other;
use common::rules::{
    BLANK, DECLARED, Declared, First, GOOD, OTHER_SIGNATURE, Rule, SIGNATURE, Seen, Signature, Standing, State, rule,
};
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
    /// A copy of the good target that was booted since.
    Newer,
    /// Nothing on it, and it can be taken out.
    BlankStick,
    /// Somebody's, with a table that is the declared one by chance, as sfdisk makes it.
    SameMap,
    /// A disk of the declared size that nothing can be read from.
    Dead,
}

impl Thing {
    fn seen(self, state: State) -> Seen {
        let another = |code| First::Table { map: true, signature: Signature::Another, code };
        match self {
            Self::Target => state.seen(),
            Self::Other(other) => other.seen(),
            Self::Medium => Seen { medium: true, ..BLANK },
            Self::Clone => GOOD,
            Self::Resigned => Seen { first: another(true), ..GOOD },
            Self::Newer => Seen { record: Some((1, 1)), ..GOOD },
            Self::BlankStick => Seen { removable: true, ..BLANK },
            Self::SameMap => Seen { first: another(false), ..BLANK },
            Self::Dead => Seen { unreadable: true, ..BLANK },
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
    /// The same good target with another signature, and with a newer bstate.txt, for each declaration.
    resigned: Vec<Disk>,
    newer: Vec<Disk>,
    same_map: Disk,
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
        let newer = sets.iter().zip(&targets).map(|(set, states)| newer(set, &states[0])).collect();
        let same_map = same_map(&plain, &folder.path().join("same-map.img"));
        Self { sets, targets, others, resigned, newer, same_map }
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
            Thing::Newer => self.newer[declared].clone(),
            Thing::SameMap => self.same_map.clone(),
            Thing::BlankStick => {
                let mut disk = blank();
                disk.info.removable = true;
                disk
            }
            Thing::Dead => {
                let mut disk = blank();
                disk.unreadable.extend(0..disk.info.sectors);
                disk
            }
        }
    }

    /// The machine of a combination, in which only what the rule says is written.
    fn machine(&self, combination: &Combination, rule: Rule) -> Pc {
        let set = &self.sets[combination.declared];
        let disks = combination.things.iter().enumerate().map(|(n, &thing)| {
            let mut disk = self.disk(thing, combination.declared, combination.state);
            disk.info.drive = 0x80 + n as u8;
            let one = |at: u64| at..at + 1;
            disk.allowed = match rule {
                Rule::Is(which) if which == n => {
                    let partitions = set.places.iter().map(|&(start, sectors)| start..start + sectors);
                    [one(0), one(set.second_place())].into_iter().chain(partitions).collect()
                }
                Rule::State(which) if which == n => [0, 1].map(|n| one(set.state_at(n))).to_vec(),
                _ => Vec::new(),
            };
            disk
        });
        Pc::new(set.iso.clone(), disks.collect())
    }
}

/// A copy of the good target whose bstate.txt is newer by one boot.
fn newer(set: &Set, good: &Disk) -> Disk {
    let mut disk = good.clone();
    for at in [0, 1].map(|n| set.state_at(n)) {
        let lines = record::lines(&disk.sector(at)).unwrap();
        let later = |line: &String| match line.strip_prefix("sequence=") {
            Some(sequence) => format!("sequence={}", sequence.parse::<u64>().unwrap() + 9),
            None => line.replace(' ', "~"),
        };
        let lines: Vec<String> = lines.iter().map(later).collect();
        disk.poke(at * 512, &record::sector(&lines.join(" ")));
    }
    disk
}

/// Somebody's disk, with the declared table and nothing in it.
fn same_map(set: &Set, path: &Path) -> Disk {
    Disk::blank(0x80, set.disk_sectors).dump(path);
    let [(p1, sectors1), (p2, sectors2)] = [set.places[0], set.places[1]];
    let script = format!(
        "printf 'label: dos\\nlabel-id: 0x{OTHER_SIGNATURE:08x}\\nstart={p1},size={sectors1},type=6,bootable\\n\
        start={p2},size={sectors2},type=83\\n' | sfdisk -q --no-tell-kernel {}",
        path.display()
    );
    tools::shell(path.parent().unwrap(), &script);
    Disk::load(0x80, path)
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
        State::OldMark => {
            disk.poke(0, &[0; 512]);
            disk.poke((sectors - 1) * 512, b"EFI PART\x00\x00\x01\x00");
        }
        State::Reused => reuse(disk),
    }
    match state {
        State::Blank => Disk::blank(0x80, sectors),
        State::Restoring => {
            // The power goes at the second write to P1.
            let cut = |write| {
                let mut pc = set.blank();
                pc.cut = Some(Cut { write, sectors: 0, next: Torn::Half });
                pc.start();
                let into_p1 = pc.writes.iter().filter(|(_, at, _)| *at >= set.places[0].0).count();
                (into_p1 == 2).then(|| pc.disks.remove(0))
            };
            let disk = (1..20).find_map(cut).expect("a restore writes to P1");
            assert!(disk.sector(0).starts_with(b"Knownstate: restore begun"), "there is no note");
            disk
        }
        _ => pc.disks.remove(0),
    }
}

/// Somebody makes a filesystem of the whole disk, which leaves alone what it does not need.
fn reuse(disk: &mut Disk) {
    let folder = tools::temporary();
    let path = folder.path().join("reused.img");
    disk.dump(&path);
    tools::must("mke2fs", &["-q", "-F", "-t", "ext4", "-N", "16", "-E", "nodiscard", tools::text(&path)]);
    *disk = Disk::load(disk.info.drive, &path);
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
    every.extend([Thing::Clone, Thing::Resigned, Thing::Newer, Thing::BlankStick, Thing::SameMap, Thing::Dead]);
    let pairs = State::ALL.len() * DECLARED.len();
    let (few, four) = ([0, 1, 2].map(|n| orders(&every, n, true)).concat(), orders(&named, 3, false));
    let mut made = Vec::new();
    for (n, things) in few.iter().chain(&four).enumerate() {
        // Three disks meet a 13th of the pairs each, four disks a 61st, other ones each time.
        let step = if all { 1 } else { [1, 1, 1, 13, 61][things.len()] };
        for pair in (n % step..pairs).step_by(step) {
            let (state, declared) = (pair % State::ALL.len(), pair / State::ALL.len());
            made.push(Combination { number: n * pairs + pair, things: things.clone(), state, declared });
        }
    }
    made
}

/// Whether another disk than the target may be the declared one: by the rules it is.
fn is_taken_for_it(combination: &Combination, taken: Thing) -> bool {
    let declared = DECLARED[combination.declared];
    let target = State::ALL[combination.state].seen().standing(declared);
    match taken {
        // Nothing tells it from the target.
        Thing::Clone | Thing::Newer => true,
        Thing::Resigned => !declared.signature,
        // Nothing says that the target is the declared disk.
        Thing::Other(Other::Blank | Other::BigBlank) => !matches!(target, Standing::Ours | Standing::Blank),
        _ => false,
    }
}

/// What is wrong with what the machine did; whether it was written, and whether the target was.
fn judge(shelf: &Shelf, combination: &Combination) -> Result<(bool, bool), String> {
    let (state, declared) = (State::ALL[combination.state], DECLARED[combination.declared]);
    let seen: Vec<Seen> = combination.things.iter().map(|thing| thing.seen(state)).collect();
    let rule = rule(&seen, declared);
    let may = if let Rule::Is(n) | Rule::State(n) = rule { Some(n) } else { None };
    let mut pc = shelf.machine(combination, rule);
    let before: Vec<_> = pc.disks.iter().map(|disk| disk.sectors.clone()).collect();
    let ending = word(&pc.start());
    for (n, (disk, before)) in pc.disks.iter().zip(&before).enumerate() {
        if may != Some(n) && (!disk.sectors.is_untouched(before) || pc.writes.iter().any(|w| w.0 == n)) {
            return Err(format!("disk {n} was written: {:?}", pc.writes));
        }
    }
    let reason = |part: &str| pc.log().iter().any(|l| l.starts_with("256 restore system = failed") && l.contains(part));
    let handed_off = |n: usize| ending.starts_with(&format!("hand-off {:02X}", 0x80 + n));
    let boots = |n: usize| combination.things[n] != Thing::Target || state.boots_as_it_is();
    let as_ruled = match rule {
        Rule::Is(n) => ending == "restart" || handed_off(n),
        Rule::State(n) if boots(n) => handed_off(n),
        Rule::State(_) => ending == "hold 299" && reason(" disks are system: drives "),
        Rule::None => ending == "hold 299" && (reason("no disk is system: ") || reason("no disk found")),
        Rule::Several => ending == "hold 299" && reason(" blank disks could be system: drives "),
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
