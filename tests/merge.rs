//! The rules by which several copies of bstate.txt are made one (docs/STATES.md), as properties of any copies;
//! the judge is written from the rules, without the code under test.

mod common;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use common::record;
use knownstate_core::bstate::{Fault, Found, MAX_COUNT, Parsed, Record};
use knownstate_core::units::SECTOR;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// The partitions of the logic.txt in all of these tests.
const NAMES: [&str; 3] = ["P1", "P2", "spare"];
/// The partitions on each of two disks.
const HOMES: [&[&str]; 2] = [&["P1"], &["P2", "spare"]];
/// From the best to the worst.
const STATES: [&str; 3] = ["OK", "Clean", "Dirty"];

/// What a copy says of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Says {
    state: usize,
    why: String,
    before: String,
    failures: u64,
    crashes: u64,
    proved: u64,
    trial: Option<u64>,
    slice: u64,
}

/// One copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Copy {
    /// It has no sum: somebody typed it.
    edited: bool,
    /// And so that it is no whole record: without the lines that programs begin and end with.
    hasty: bool,
    sequence: u64,
    cd: String,
    set: Option<u32>,
    boots: u64,
    booting: String,
    next: String,
    /// A key of a later program.
    colour: String,
    partitions: BTreeMap<&'static str, Says>,
    restores: u64,
}

impl Copy {
    /// The lines without the sum's.
    fn body(&self) -> String {
        let some = |key: &str, value: &str| if value.is_empty() { String::new() } else { format!("{key}={value}\n") };
        let positive = |key: &str, count: u64| if count == 0 { String::new() } else { format!("{key}={count}\n") };
        let of_programs = |line: String| if self.hasty { String::new() } else { line };
        let mut text = of_programs(format!("sequence={}\n", self.sequence)) + &some("cd", &self.cd);
        text += &self.set.map(|set| format!("set={set:08X}\n")).unwrap_or_default();
        text += &(positive("boots", self.boots) + &some("booting", &self.booting) + &some("next", &self.next));
        for (name, says) in &self.partitions {
            let Says { state, why, before, failures, crashes, proved, trial, slice } = says;
            text += &format!("{name}={}\n{name}.failures={failures}\n{name}.crashes={crashes}\n", STATES[*state]);
            text += &positive(&format!("{name}.proved"), *proved);
            text += &trial.map(|trial| format!("{name}.trial={trial}\n")).unwrap_or_default();
            text += &positive(&format!("{name}.slice"), *slice);
            text += &(some(&format!("{name}.why"), why) + &some(&format!("{name}.before"), before));
        }
        text + &some("colour", &self.colour) + &of_programs(format!("restores={}\n", self.restores))
    }

    fn sector(&self) -> [u8; SECTOR] {
        let body = self.body();
        if self.edited {
            return record::padded(&body);
        }
        record::padded(&format!("{body}crc32={:08x}\n", record::crc32(body.as_bytes())))
    }

    fn parsed(&self) -> Parsed {
        Record::parse(&self.sector()).unwrap_or_else(|fault| panic!("{self:?}: {fault}"))
    }
}

/// The rules. Value by value, the worse one; the texts are those of the worse state. Where they differ in anything
/// nobody knows any more what was wished for.
fn worse(copies: &[&Copy]) -> Copy {
    let mut all = Copy::default();
    let longest = |of: fn(&Copy) -> &String| copies.iter().map(|copy| of(copy).clone()).max().unwrap_or_default();
    all.cd = longest(|copy| &copy.cd);
    all.booting = longest(|copy| &copy.booting);
    all.colour = longest(|copy| &copy.colour);
    all.set = copies.iter().filter_map(|copy| copy.set).max();
    all.boots = copies.iter().map(|copy| copy.boots).max().unwrap_or(0);
    all.restores = copies.iter().map(|copy| copy.restores).max().unwrap_or(0);
    if let Some(first) = copies.first().filter(|first| copies.iter().all(|copy| copy == *first)) {
        all.next.clone_from(&first.next);
    }
    for copy in copies {
        for (name, says) in &copy.partitions {
            let Some(so_far) = all.partitions.get_mut(name) else {
                all.partitions.insert(name, says.clone());
                continue;
            };
            let (a, b) = (so_far.clone(), says.clone());
            let texts = match a.state.cmp(&b.state) {
                Ordering::Less => (b.why, b.before),
                Ordering::Greater => (a.why, a.before),
                Ordering::Equal => (a.why, a.before).max((b.why, b.before)),
            };
            *so_far = Says {
                state: a.state.max(b.state),
                why: texts.0,
                before: texts.1,
                failures: a.failures.max(b.failures),
                crashes: a.crashes.max(b.crashes),
                proved: a.proved.min(b.proved),
                trial: a.trial.max(b.trial),
                slice: a.slice.min(b.slice),
            };
        }
    }
    all
}

fn newest(copies: &[&Copy]) -> Copy {
    let newest = copies.iter().map(|c| c.sequence).max();
    let winners: Vec<&Copy> = copies.iter().copied().filter(|c| Some(c.sequence) == newest).collect();
    worse(&winners)
}

/// Copies with the disk that each is on; `HOMES` says which partitions a disk has. The newest of one set, of each
/// partition by the set that its own disk has; what a person typed over them; and Dirty where nobody says anything.
fn merged_at_home(copies: &[(Copy, usize)]) -> Option<Copy> {
    let valid: Vec<&(Copy, usize)> = copies.iter().filter(|(copy, _)| !copy.edited).collect();
    let all_valid: Vec<&Copy> = valid.iter().map(|(copy, _)| copy).collect();
    let mut all = newest(&all_valid);
    let sets: BTreeSet<u32> = all_valid.iter().filter_map(|copy| copy.set).collect();
    for name in NAMES.into_iter().filter(|_| sets.len() > 1) {
        let here = valid.iter().filter(|(_, disk)| HOMES.get(*disk).is_some_and(|home| home.contains(&name)));
        let Some((_, set)) = here.filter_map(|(copy, _)| Some((copy.sequence, copy.set?))).max() else { continue };
        let of_set: Vec<&Copy> =
            all_valid.iter().copied().filter(|copy| copy.set.is_none() || copy.set == Some(set)).collect();
        let theirs = newest(&of_set);
        all.restores = all.restores.max(theirs.restores);
        if let Some(says) = theirs.partitions.get(name) {
            let proved = if all.set == Some(set) { says.proved } else { 0 };
            all.partitions.insert(name, Says { proved, ..says.clone() });
        }
    }
    let edits: Vec<&Copy> = copies.iter().map(|(copy, _)| copy).filter(|c| c.edited).collect();
    let (hasty, whole): (Vec<&Copy>, Vec<&Copy>) = edits.into_iter().partition(|copy| copy.hasty);
    if !whole.is_empty() {
        let before = std::mem::replace(&mut all, worse(&whole));
        for (name, says) in before.partitions {
            all.partitions.entry(name).or_insert(says);
        }
    }
    if !hasty.is_empty() {
        typed_over(&mut all, worse(&hasty));
    }
    all.sequence = copies.iter().map(|(copy, _)| copy.sequence).max()?;
    for name in NAMES {
        all.partitions.entry(name).or_insert(Says { state: 2, ..Says::default() });
    }
    Some(all)
}

/// What a person typed in a hurry wins; what people don't count themselves stays where they leave it out.
fn typed_over(all: &mut Copy, edit: Copy) {
    for (name, says) in edit.partitions {
        let old = all.partitions.remove(name).unwrap_or_default();
        let or = |typed: u64, old: u64| if typed == 0 { old } else { typed };
        let trial = says.trial.or(old.trial.filter(|_| says.state != 0));
        let (proved, slice) = (or(says.proved, old.proved), or(says.slice, old.slice));
        all.partitions.insert(name, Says { trial, proved, slice, ..says });
    }
    all.restores = edit.restores;
    all.set = edit.set.or(all.set);
    all.boots = if edit.boots == 0 { all.boots } else { edit.boots };
    let texts = [(&mut all.cd, edit.cd), (&mut all.booting, edit.booting), (&mut all.next, edit.next)];
    for (text, typed) in
        texts.into_iter().chain([(&mut all.colour, edit.colour)]).filter(|(_, typed)| !typed.is_empty())
    {
        *text = typed;
    }
}

/// The same where nobody knows on which disk a copy is.
fn merged(copies: &[Copy]) -> Option<Copy> {
    let homeless: Vec<(Copy, usize)> = copies.iter().map(|copy| (copy.clone(), HOMES.len())).collect();
    merged_at_home(&homeless)
}

/// The record that core makes of copies, by the lines that it writes.
fn by_core(copies: &[Copy]) -> Option<Vec<String>> {
    let parsed: Vec<Parsed> = copies.iter().map(Copy::parsed).collect();
    Record::merge(&parsed, NAMES).map(|record| written(&record))
}

fn written(record: &Record) -> Vec<String> {
    record::lines(&record.to_sector()).unwrap_or_else(|why| panic!("{record:?}: {why}"))
}

fn lines(copy: &Copy) -> Vec<String> {
    copy.body().lines().map(str::to_string).collect()
}

/// Texts as they are: short enough that all of them fit.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![2 => Just(String::new()), 1 => "[0-9]{3} [a-z,:;]{1,8}"]
}

fn says() -> impl Strategy<Value = Says> {
    let counters = (0..=u64::from(MAX_COUNT), 0..20_u64, 0..30_u64, proptest::option::of(0..9_u64), 0..4_u64);
    (0..STATES.len(), text(), text(), counters).prop_map(
        |(state, why, before, (failures, crashes, proved, trial, slice))| Says {
            state,
            why,
            before,
            failures,
            crashes,
            proved,
            trial,
            slice,
        },
    )
}

/// Sequences that are often the same or next to each other.
fn sequence() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 40..44_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn copy(edited: impl Strategy<Value = bool>) -> impl Strategy<Value = Copy> {
    let booting = select(vec!["", "P1", "P2"]).prop_map(String::from);
    let next = select(vec!["", "", "P2", "restore", "hold"]).prop_map(String::from);
    let names = select(vec![("", ""), ("Kiosk", ""), ("Kiosk", "red"), ("", "blue")]);
    // Of few sets, so that several copies are of one.
    let set = select(vec![None, Some(7), Some(0xC0DE_0001)]);
    let partitions = proptest::collection::btree_map(select(NAMES.to_vec()), says(), 1..=NAMES.len());
    let hasty = select(vec![false, true]);
    (edited, sequence(), (booting, next, names, hasty), set, 0..40_u64, partitions, 0..20_u64).prop_map(
        |(edited, sequence, (booting, next, (cd, colour), hasty), set, boots, partitions, restores)| Copy {
            edited,
            hasty: edited && hasty,
            sequence: if edited && hasty { 0 } else { sequence },
            cd: cd.to_string(),
            set,
            boots,
            booting,
            next,
            colour: colour.to_string(),
            partitions,
            restores: if edited && hasty { 0 } else { restores },
        },
    )
}

/// A few copies, often of one restore.
fn one_set() -> impl Strategy<Value = Vec<Copy>> {
    copies().prop_map(|mut copies| {
        let set = copies[0].set;
        copies.iter_mut().for_each(|copy| copy.set = set);
        copies
    })
}

fn copies() -> impl Strategy<Value = Vec<Copy>> {
    proptest::collection::vec(copy(prop_oneof![3 => Just(false), 1 => Just(true)]), 1..5)
}

/// A copy as programs write it once something was booted: it has every line.
fn whole_copy() -> impl Strategy<Value = Copy> {
    let partitions = proptest::collection::vec(says(), NAMES.len());
    (copy(Just(false)), select(NAMES.to_vec()), partitions).prop_map(|(copy, booting, says)| {
        let partitions = NAMES.into_iter().zip(says).collect();
        Copy { booting: booting.to_string(), partitions, ..copy }
    })
}

/// A write that the power cut in the middle of its sector: the beginning of the new one, the end of the old.
fn torn(old: &Copy, new: &Copy, at: usize) -> Vec<u8> {
    [&new.sector()[..at], &old.sector()[at..]].concat()
}

/// So many cases, the same at every run.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(5), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn copies_are_merged_by_the_rules(copies in copies()) {
        let wanted = merged(&copies).map(|copy| lines(&copy));
        prop_assert_eq!(by_core(&copies), wanted);
    }

    #[test]
    fn copies_of_one_set_are_merged_by_the_rules(copies in one_set()) {
        prop_assert_eq!(by_core(&copies), merged(&copies).map(|copy| lines(&copy)));
    }

    /// Of a machine with two disks, each with its own copies.
    #[test]
    fn copies_on_their_disks_are_merged_by_the_rules(copies in copies(), disks in proptest::collection::vec(0..2_usize, 5)) {
        let copies: Vec<(Copy, usize)> = copies.into_iter().zip(disks).collect();
        let by_core = |copies: &[(Copy, usize)]| {
            let found = copies.iter().map(|(copy, disk)| Found { copy: copy.parsed(), home: HOMES[*disk].to_vec() });
            Record::merge_found(&found.collect::<Vec<_>>(), NAMES).map(|record| written(&record))
        };
        prop_assert_eq!(by_core(&copies), merged_at_home(&copies).map(|copy| lines(&copy)));
        let turned: Vec<(Copy, usize)> = copies.iter().rev().cloned().collect();
        prop_assert_eq!(by_core(&copies), by_core(&turned), "whichever is read first");
    }

    #[test]
    fn the_order_of_the_copies_does_not_matter(copies in copies(), turn in 0..5_usize) {
        let mut turned = copies.clone();
        turned.rotate_left(turn % copies.len());
        let reversed: Vec<Copy> = copies.iter().rev().cloned().collect();
        prop_assert_eq!(by_core(&copies), by_core(&turned));
        prop_assert_eq!(by_core(&copies), by_core(&reversed));
    }

    #[test]
    fn merging_again_changes_nothing(copies in copies()) {
        let twice = [&copies[..], &copies[..]].concat();
        prop_assert_eq!(by_core(&copies), by_core(&twice), "a copy counts once");
        let parsed: Vec<Parsed> = copies.iter().map(Copy::parsed).collect();
        let once = Record::merge(&parsed, NAMES).unwrap();
        let written_back = Record::parse(&once.to_sector()).unwrap();
        prop_assert_eq!(written_back.record(), &once);
        let again = Record::merge(&[written_back.clone(), written_back], NAMES).unwrap();
        prop_assert_eq!(again, once, "what was written to every copy is what is read");
    }

    #[test]
    fn the_highest_valid_sequence_of_one_set_wins(copies in one_set()) {
        let copies: Vec<Copy> = copies.into_iter().map(|copy| Copy { edited: false, hasty: false, ..copy }).collect();
        let highest = copies.iter().map(|c| c.sequence).max().unwrap();
        let newest: Vec<Copy> = copies.iter().filter(|c| c.sequence == highest).cloned().collect();
        prop_assert_eq!(by_core(&copies), by_core(&newest), "older ones say nothing");
    }

    #[test]
    fn equal_sequences_give_the_worse_value_of_each_partition(one in copy(Just(false)), other in copy(Just(false))) {
        let other = Copy { sequence: one.sequence, ..other };
        let merged = Record::merge(&[one.parsed(), other.parsed()], NAMES).unwrap();
        for name in NAMES {
            let both = [one.partitions.get(name), other.partitions.get(name)];
            let told = merged.get(name).unwrap();
            let state = both.iter().flatten().map(|s| s.state).max().unwrap_or(2);
            prop_assert_eq!(told.state.to_string(), STATES[state]);
            let failures = both.iter().flatten().map(|s| s.failures).max().unwrap_or(0);
            prop_assert_eq!(u64::from(told.failures), failures);
        }
    }

    #[test]
    fn what_a_person_typed_wins(valid in copy(Just(false)), edit in copy(Just(true)), old in any::<bool>()) {
        // As it stood in the file that was edited, or as somebody thought of it.
        let edit = Copy { sequence: if old || edit.hasty { 0 } else { valid.sequence }, ..edit };
        prop_assume!(!valid.body().starts_with(edit.body().trim_end()));
        let merged = Record::merge(&[valid.parsed(), edit.parsed()], NAMES).unwrap();
        for (name, says) in &edit.partitions {
            let told = merged.get(name).unwrap();
            prop_assert_eq!(told.state.to_string(), STATES[says.state]);
            prop_assert_eq!(&told.why, &says.why);
        }
        for (name, says) in valid.partitions.iter().filter(|(name, _)| !edit.partitions.contains_key(*name)) {
            prop_assert_eq!(merged.get(name).unwrap().state.to_string(), STATES[says.state], "{}", name);
        }
        prop_assert_eq!(u64::from(merged.restores), edit.restores);
    }

    #[test]
    fn what_is_written_is_what_is_read(copy in copy(Just(false))) {
        let record = copy.parsed().record().clone();
        prop_assert_eq!(written(&record), lines(&copy));
        prop_assert_eq!(Record::parse(&record.to_sector()), Ok(Parsed::Valid(record.clone())));
        prop_assert_eq!(Record::parse(&record.to_file()), Ok(Parsed::Valid(record)), "and of a whole file");
    }

    /// However long the reasons are, and of whatever letters: they alone are cut.
    #[test]
    fn a_long_reason_costs_nothing_but_its_own_end(copy in copy(Just(false)), whys in proptest::collection::vec(".{0,600}", 3)) {
        let mut record = copy.parsed().record().clone();
        for (partition, why) in record.partitions.iter_mut().zip(&whys) {
            partition.why.clone_from(why);
        }
        let told = written(&record);
        let without = |lines: &[String]| {
            let text = |line: &String| line.contains(".why=") || line.contains(".before=");
            lines.iter().filter(|line| !text(line)).cloned().collect::<Vec<String>>()
        };
        prop_assert_eq!(without(&told), without(&lines(&copy)));
        for (partition, why) in record.partitions.iter().zip(&whys) {
            let printed: String = why.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
            let line = told.iter().find_map(|line| line.strip_prefix(&format!("{}.why=", partition.name)));
            prop_assert!(printed.trim_ascii().starts_with(line.unwrap_or_default()), "{:?} of {:?}", line, printed);
        }
    }

    #[test]
    fn numbers_that_nobody_counts_to_are_no_numbers(digits in "[0-9]{1,30}") {
        let sector = record::sector(&format!("sequence={digits} P1=OK P1.failures={digits} restores={digits}"));
        let record = Record::parse(&sector).unwrap().record().clone();
        prop_assert_eq!(record.sequence, digits.parse::<u64>().unwrap_or(0));
        let told = written(&record);
        let count = digits.parse::<u32>().unwrap_or(0).min(MAX_COUNT);
        prop_assert!(told.contains(&format!("restores={count}")), "{:?}", told);
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Record::parse(&bytes);
    }
}

// Each case of these is some hundred.
proptest! {
    #![proptest_config(config(60))]

    /// Every byte of every such write: what comes of it is one of the two records, never a third. But for the 15
    /// bytes of the old one's sum: digits that are left of them may end the number in the new one's last line.
    #[test]
    fn torn_at_any_byte_a_copy_is_the_old_record_or_the_new_one(
        old in whole_copy(),
        new in whole_copy(),
        second in any::<bool>(),
    ) {
        let old = Copy { sequence: old.sequence.min(u64::MAX - 1), ..old };
        let new = Copy { sequence: old.sequence + 1, ..new };
        // The copy that is written first is torn while the others are old, the second one while one is new.
        let other = if second { &new } else { &old };
        let good = [lines(&merged(std::slice::from_ref(&old)).unwrap()), lines(&merged(std::slice::from_ref(&new)).unwrap())];
        let sum = old.body().len()..old.body().len() + 15;
        for at in (0..=SECTOR).filter(|at| !sum.contains(at)) {
            let copy = Record::parse(&torn(&old, &new, at));
            if let Ok(Parsed::Valid(record)) = &copy {
                prop_assert!([old.parsed(), new.parsed()].iter().any(|c| c.record() == record), "byte {}", at);
            }
            let copies: Vec<Parsed> = copy.into_iter().chain([other.parsed()]).collect();
            let mut told = written(&Record::merge(&copies, NAMES).unwrap());
            // The sequence may be the new one's already: it only ever counts up.
            let sequence = told[0].clone();
            let wanted = good.iter().any(|good| {
                told[0].clone_from(&good[0]);
                told == *good
            });
            prop_assert!(wanted, "byte {}: {:?} with {}", at, told, sequence);
        }
    }

    #[test]
    fn counters_stop_and_never_turn(times in 0..3000_usize, clean in any::<bool>()) {
        let mut record = Record::ok(NAMES);
        for _ in 0..times {
            if clean {
                record.get_mut("P1").unwrap().state = knownstate_core::bstate::State::Clean;
            }
            record.set_dirty("P1", "212 boot begun, not confirmed", true);
        }
        let told = written(&record);
        let most = u64::from(MAX_COUNT).min(times as u64);
        prop_assert!(told.contains(&format!("P1.failures={most}")), "{:?}", told);
        prop_assert!(told.contains(&format!("P1.crashes={}", if clean { most } else { 0 })), "{:?}", told);
    }
}

/// One changed byte is no record, wherever it is.
#[test]
fn every_changed_byte_is_found() {
    let good = record::sector("sequence=7 booting=P1 P1=Dirty P1.failures=2 P1.why=212~boot~begun P2=OK restores=1");
    let end = good.iter().rposition(|b| *b == b'0' || b.is_ascii_hexdigit()).unwrap();
    for at in 0..=end {
        for bit in 0..8 {
            let mut bad = good;
            bad[at] ^= 1 << bit;
            match Record::parse(&bad) {
                // The name of the sum's line, or its end: then it is as if somebody had deleted it.
                Ok(Parsed::Edited { .. }) => assert!(at + 15 > end, "byte {at}, bit {bit}"),
                // Letters of the sum in capitals, and a blank for a newline in front of it.
                Ok(Parsed::Valid(read)) => {
                    assert_eq!(&read, Record::parse(&good).unwrap().record(), "byte {at}, bit {bit}");
                }
                // A sum without its name, behind a last line without its own.
                Err(fault) => {
                    let found = matches!(fault, Fault::Checksum | Fault::NotText | Fault::Torn);
                    assert!(found, "byte {at}, bit {bit}: {fault}");
                }
            }
        }
    }
}
