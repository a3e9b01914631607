//! The life of a machine under the shipped flows: what it does start after start, with systems that
//! come up, crash, or never report, and with damage on the way.

mod common;

use common::images::{Set, figure4_set};
use common::machine::{Pc, word};
use knownstate_core::bstate::Record;

/// How the system on a partition behaves when it is booted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Os {
    /// Comes up, and is shut down properly.
    Good,
    /// Comes up, and the power fails.
    Crashes,
    /// Never comes up.
    Dead,
}
use Os::{Crashes, Dead, Good};

/// What `bstate booted` and `bstate shutdown` do.
fn report(set: &Set, pc: &mut Pc, os: Os) {
    let copies = [0, 1].map(|n| Record::parse(&set.state(pc, n)));
    let newest = copies.into_iter().flatten().max_by_key(|copy| copy.record().sequence);
    let mut record = newest.expect("a copy is valid").record().clone();
    let name = record.booting.clone();
    match os {
        Dead => return,
        Crashes => record.report_booted(&name),
        Good => record.report_shutdown(&name),
    }
    record.sequence += 1;
    for n in 0..2 {
        set.put_state(pc, n, &record.to_sector());
    }
}

/// So many starts: `1` and `2` for hand-offs, `R` for a restart, `H` and the end for a hold.
fn live(set: &Set, pc: &mut Pc, starts: usize, systems: [Os; 2]) -> String {
    let mut history = String::new();
    for _ in 0..starts {
        match word(&pc.start()).as_str() {
            "hand-off 80 entry 1" => history += "1",
            "hand-off 80 entry 2" => history += "2",
            "restart" => history += "R",
            _ => return history + "H",
        }
        if let Some(n @ (b'1' | b'2')) = history.bytes().last() {
            report(set, pc, systems[usize::from(n - b'1')]);
        }
    }
    history
}

fn set() -> Set {
    figure4_set(256, "-F 12", 256, "-t ext2")
}

#[test]
fn each_flow_answers_to_systems_that_do_not_come_up() {
    let set = set();
    let table = [
        ("figure4.txt", [Good, Dead], "R1111111111111"),
        ("figure4.txt", [Crashes, Dead], "R1111111111111"),
        ("figure4.txt", [Dead, Good], "R1222222222222"),
        ("figure4.txt", [Dead, Crashes], "R1222222222222"),
        ("figure4.txt", [Dead, Dead], "R12R12R12R12R1"),
        ("default.txt", [Good, Dead], "R1111111111111"),
        ("default.txt", [Crashes, Dead], "R1111111111111"),
        // Three tries before the spare takes over, for good.
        ("default.txt", [Dead, Good], "R1112222222222"),
        ("default.txt", [Dead, Crashes], "R1112222222222"),
        // Ten restores, and then it holds and says so.
        ("default.txt", [Dead, Dead], &format!("{}H", "R111222".repeat(10))),
    ];
    for (flow, systems, expected) in table {
        let starts = if expected.ends_with('H') { 99 } else { expected.len() };
        let flow_set = set.with_shipped(flow);
        let history = live(&flow_set, &mut flow_set.blank(), starts, systems);
        assert_eq!(history, expected, "{flow} with P1 and P2 {systems:?}");
    }
}

#[test]
fn damage_on_the_way_is_mended() {
    let set = set();
    let boot_sector = |set: &Set, pc: &mut Pc, n: usize| pc.disks[0].poke(set.places[n].0 * 512 + 510, &[0]);
    let table = [
        // Damage is mended where it is found.
        ("default.txt", "P1", "11111"),
        ("default.txt", "P2", "11111"),
        ("default.txt", "both", "11111"),
        ("default.txt", "MBR", "11111"),
        // Figure 4 itself knows nothing but a restore of everything.
        ("figure4.txt", "P1", "22222"),
        ("figure4.txt", "P2", "11111"),
        ("figure4.txt", "both", "R1111"),
        ("figure4.txt", "MBR", "R1111"),
    ];
    for (flow, what, expected) in table {
        let flow_set = set.with_shipped(flow);
        let mut pc = flow_set.blank();
        assert_eq!(live(&flow_set, &mut pc, 4, [Good, Good]), "R111");
        if what == "MBR" {
            pc.disks[0].poke(446, &[0; 66]);
        }
        for n in [0, 1] {
            if what == "both" || what == ["P1", "P2"][n] {
                boot_sector(&flow_set, &mut pc, n);
            }
        }
        let history = live(&flow_set, &mut pc, expected.len(), [Good, Good]);
        assert_eq!(history, expected, "{flow}, {what} damaged");
        if flow == "default.txt" {
            let whole = [0, 1].map(|n| flow_set.difference(&pc, n));
            assert_eq!(whole, [None, None], "{flow}, {what} damaged: not everything was mended");
        }
    }
}

/// An update breaks P1; the spare serves until somebody mends P1 and says so.
#[test]
fn a_system_that_was_mended_is_booted_again() {
    let set = set().with_shipped("default.txt");
    let mut pc = set.blank();
    assert_eq!(live(&set, &mut pc, 4, [Good, Good]), "R111");
    assert_eq!(live(&set, &mut pc, 6, [Dead, Good]), "111222");
    let Ok(copy) = Record::parse(&set.state(&pc, 0)) else { panic!("bstate.txt is not valid") };
    let mut record = copy.record().clone();
    // `bstate set P1 OK`.
    record.report_shutdown("P1");
    record.sequence += 1;
    for n in 0..2 {
        set.put_state(&mut pc, n, &record.to_sector());
    }
    assert_eq!(live(&set, &mut pc, 3, [Good, Good]), "111");
}
