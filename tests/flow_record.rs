//! What a run makes of bstate.txt beside the states: hand-offs, wishes, sets, restores in memory, a person's text.

mod common;

use std::sync::OnceLock;

use common::images::{Set, figure4_set};
use common::machine::{Happened, Pc, word};
use common::record;
use knownstate_core::units::SECTOR;

fn set() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| figure4_set(256, "-F 12", 256, "-t ext2"))
}

/// A restored machine with this record in both copies, and the steps of a logic.txt of its own.
fn with(steps: &str, lines: &str) -> (Set, Pc) {
    let set = with_steps(steps);
    static PC: OnceLock<Pc> = OnceLock::new();
    let mut pc = PC.get_or_init(|| self::set().restored()).clone();
    pc.cd = set.iso.clone();
    (0..2).for_each(|n| set.put_state(&mut pc, n, &record::sector(lines)));
    (set, pc)
}

fn with_steps(steps: &str) -> Set {
    set().with_logic(&format!("logic 1\n{}{steps}", set().declarations()))
}

/// The lines of both copies, which are the same.
fn lines(set: &Set, pc: &Pc) -> Vec<String> {
    let copies = [0, 1].map(|n| record::lines(&set.state(pc, n)).expect("a valid record"));
    assert_eq!(copies[0], copies[1], "the copies differ");
    copies[0].clone()
}

fn has(set: &Set, pc: &Pc, wanted: &[&str]) {
    let lines = lines(set, pc);
    for line in wanted {
        assert!(lines.iter().any(|l| l == line), "no {line} in {lines:#?}");
    }
}

fn has_no(set: &Set, pc: &Pc, key: &str) {
    let lines = lines(set, pc);
    assert!(!lines.iter().any(|l| l.starts_with(key)), "{key} in {lines:#?}");
}

const BOTH: &str = "1 if next is P2 else 3\n2 set P2 Dirty\nboot P2\n3 set P1 Dirty\nboot P1\nhold \"no\"\n";

#[test]
fn a_hand_off_is_counted_in_the_write_that_is_made_anyway() {
    let (set, mut pc) = with("1 set P1 Dirty\n2 boot P1\nhold \"no\"\n", "sequence=7 boots=5 P1=OK P2=OK restores=0");
    pc.start();
    has(&set, &pc, &["boots=6", "booting=P1", "P1=Dirty"]);
    assert_eq!(pc.writes.len(), 2, "one write a copy: {:?}", pc.writes);
    // One run has one hand-off, whatever it tries first.
    let (set, mut pc) = with(
        "1 set P1 Dirty\n2 boot P1\n3 set P2 Dirty\nboot P2\nhold \"no\"\n",
        "sequence=7 boots=5 P1=OK P2=OK restores=0",
    );
    pc.disks[0].poke(set.places[0].0 * SECTOR as u64 + 510, &[0]);
    pc.start();
    has(&set, &pc, &["boots=6", "booting=P2"]);
    // A flow that sets nothing has a write of its own for it.
    let (set, mut pc) = with("boot P1\nhold \"no\"\n", "sequence=7 booting=P1 boots=5 P1=OK P2=OK restores=0");
    pc.start();
    has(&set, &pc, &["boots=6", "booting=P1", "P1=OK"]);
}

#[test]
fn a_wish_is_followed_once() {
    let (set, mut pc) = with(BOTH, "sequence=7 next=P2 P1=OK P2=OK restores=0");
    pc.happened = Some(Vec::new());
    assert_eq!(word(&pc.start()), "hand-off 80 entry 2");
    has_no(&set, &pc, "next=");
    // It was off every copy before anything else was done about it.
    let happened = pc.happened.clone().unwrap();
    let answered = happened.iter().position(|h| matches!(h, Happened::Said(line) if line.starts_with("1 if next")));
    let wrote = happened[..answered.unwrap()].iter().filter(|h| matches!(h, Happened::Wrote { .. })).count();
    assert_eq!(wrote, 2, "{:#?}", pc.lines);
    assert_eq!(word(&pc.start()), "hand-off 80 entry 1");
}

#[test]
fn a_wish_for_something_else_is_left_until_the_hand_off() {
    let (set, mut pc) = with(BOTH, "sequence=7 next=hold P1=OK P2=OK restores=0");
    assert_eq!(word(&pc.start()), "hand-off 80 entry 1");
    assert!(pc.log().contains(&"1 if next is P2 = failed (it is hold)"), "{:#?}", pc.lines);
    has_no(&set, &pc, "next=");
    let hold = "1 if next is hold else 2\nhold \"as wished\"\n2 set P1 Dirty\nboot P1\nhold \"no\"\n";
    let (set, mut pc) = with(hold, "sequence=7 next=hold P1=OK P2=OK restores=0");
    assert_eq!(word(&pc.start()), "hold -");
    has_no(&set, &pc, "next=");
    assert_eq!(word(&pc.start()), "hand-off 80 entry 1");
    let restore =
        "1 if next is restore else 2\n restore system else 3\nrestart\n2 set P1 Dirty\nboot P1\n3 hold \"no\"\n";
    let (_, mut pc) = with(restore, "sequence=7 next=restore P1=OK P2=OK restores=0");
    assert_eq!(
        ["restart", "hand-off 80 entry 1"],
        [word(&pc.start()), word(&pc.start())].each_ref().map(String::as_str)
    );
}

/// What can't be forgotten would be followed for ever.
#[test]
fn a_wish_that_stays_on_a_copy_is_not_followed() {
    for unwritable in [vec![1], vec![0, 1]] {
        let (set, mut pc) = with(BOTH, "sequence=7 next=P2 P1=OK P2=OK restores=0");
        pc.disks[0].unwritable.extend(unwritable.iter().map(|n| set.state_at(*n)));
        for _ in 0..2 {
            assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "{unwritable:?}: {:#?}", pc.lines);
        }
    }
}

#[test]
fn restores_are_counted_in_memory_too() {
    let steps = "1 if restores below 3 else 9\n restore system else 9\n restart\n9 hold \"enough\"\n";
    // On a disk that forgets: it takes every write, and each start finds it blank.
    let set = with_steps(steps);
    let mut pc = set.blank();
    for times in 1..=3 {
        assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
        assert_eq!(pc.restores, times);
        pc.disks = set.blank().disks;
    }
    assert_eq!(word(&pc.start()), "hold 9");
    assert!(pc.log().contains(&"1 if restores below 3 = failed (3)"), "{:#?}", pc.lines);
    // With the power the count is gone, and nothing tells of any.
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    // Of two counts the higher one.
    let ask = "1 if restores below 3 else 9\nhold \"few\"\n9 hold \"many\"\n";
    for (memory, record, ending) in [(0, 2, "hold -"), (3, 0, "hold 9"), (0, 3, "hold 9"), (2, 1, "hold -")] {
        let (_, mut pc) = with(ask, &format!("sequence=7 P1=OK P2=OK restores={record}"));
        pc.restores = memory;
        assert_eq!(word(&pc.start()), ending, "{memory} in memory, {record} in bstate.txt");
    }
}

/// A restore that could not begin is none.
#[test]
fn a_restore_that_destroyed_nothing_is_taken_back() {
    let lines = "sequence=7 set=5A17C0DE boots=5 P1=OK P1.proved=4 P2=OK restores=1";
    let (set, mut pc) = with("1 restore system else 2\nrestart\n2 restart\n", lines);
    pc.disks[0].unwritable.insert(0);
    pc.start();
    has(&set, &pc, &["set=5A17C0DE", "boots=5", "P1=OK", "P1.proved=4", "restores=1"]);
    assert_eq!(pc.restores, 1, "as bstate.txt has it: {:#?}", pc.lines);
}

#[test]
fn a_restore_of_the_disk_makes_a_new_set() {
    let cd = "cd \"Web appliance\" version 3\n";
    let logic = format!("logic 1\n{cd}{}1 restore system else 2\nrestart\n2 hold \"no\"\n", set().declarations());
    let set = set().with_logic(&logic);
    let (_, mut pc) = with("hold \"x\"\n", "sequence=7 set=5A17C0DE boots=5 P1=OK P1.proved=4 P2=OK restores=0");
    pc.cd = set.iso.clone();
    pc.random = 0xC0DE_0000;
    pc.start();
    has(&set, &pc, &["cd=Web appliance", "set=C0DE0001", "P1=OK", "restores=1"]);
    has_no(&set, &pc, "boots=");
    has_no(&set, &pc, "P1.proved=");
    pc.start();
    has(&set, &pc, &["set=C0DE0002"]);
    // One partition alone stays in its set.
    let (set, mut pc) = with(
        "1 restore P1 else 2\nrestart\n2 hold \"no\"\n",
        "sequence=7 set=5A17C0DE boots=5 P1=OK P2=OK P2.proved=4 restores=0",
    );
    pc.start();
    has(&set, &pc, &["set=5A17C0DE", "boots=5", "P2.proved=4", "P1=OK", "restores=1"]);
}

#[test]
fn what_was_mended_before_a_boot_has_its_own_key() {
    let steps = "206 verify P1 else 220\ngoto 212\n220 heal P1 else 9\n212 set P1 Dirty\n boot P1\n9 hold \"no\"\n";
    let (set, mut pc) = with(steps, "sequence=7 P1=OK P2=OK restores=0");
    pc.disks[0].poke(set.places[0].0 * SECTOR as u64 + 510, &[0]);
    assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "{:#?}", pc.lines);
    has(&set, &pc, &["P1.why=boot P1 begun, not confirmed"]);
    let before = record::value(&set.state(&pc, 0), "P1.before");
    assert!(before.starts_with("206 "), "{before}");
    // Its system has not been told yet.
    pc.start();
    assert_eq!(record::value(&set.state(&pc, 0), "P1.before"), before);
}

#[test]
fn what_a_person_typed_and_nobody_understands_is_told() {
    let steps = "1 if P1 failures below 999 else 2\nhold \"no\"\n2 set P2 Dirty\nboot P2\nhold \"no\"\n";
    let (set, mut pc) = with(steps, "sequence=7 boots=5 P1=OK P1.proved=4 P2=OK P2.mood=good restores=0");
    set.put_state(&mut pc, 1, &record::padded("# for now\np1=dirty\nP2=bad\nP2.failures=some\n"));
    assert_eq!(word(&pc.start()), "hand-off 80 entry 2", "{:#?}", pc.lines);
    let told = "- read bstate.txt = ok (P2: not understood: P2=bad, P2.failures=some)";
    assert!(pc.log().iter().any(|line| line.starts_with(told.trim_end_matches(')'))), "{:#?}", pc.lines);
    has(&set, &pc, &["P1=Dirty", "P1.failures=999", "P1.proved=4", "boots=6", "P2.mood=good"]);
}
