//! Whatever stands on the disk: a run ends, writes nothing where nothing is declared, and as long as
//! the CD is good, the machine comes up again or says why it does not.

mod common;

use std::collections::BTreeMap;

use common::hostile::{Random, damage};
use common::images::{Set, figure4_set};
use common::machine::{Pc, word};
use common::record;

/// Starts until the machine has to have come up: figure 4 needs three after damage to both copies.
const STARTS: usize = 4;

/// Every sector of the disk that some run looks at.
fn looked_at(set: &Set) -> Vec<usize> {
    let mut pc = set.restored();
    let mut seen = Vec::new();
    for _ in 0..2 {
        pc.start();
        seen.extend(pc.seen.iter().map(|&s| s as usize));
    }
    seen.sort_unstable();
    seen.dedup();
    seen
}

/// Starts a machine until a hand-off; how it ended.
fn outcome(mut pc: Pc) -> String {
    let mut said = Vec::new();
    for _ in 0..STARTS {
        let ending = word(&pc.start());
        said.extend(pc.log().iter().map(|l| l.to_string()));
        match ending.as_str() {
            "restart" => {}
            hold if hold.starts_with("hold") => {
                // The disk looks like somebody else's, or where that would stand can't be read.
                let why = said.iter().any(|l| l.contains("no disk is system: drive 80 ca"));
                assert!(why, "the machine holds although disk and CD are good: {said:#?}");
                return "somebody else's, perhaps".into();
            }
            _ => {
                let healed =
                    said.iter().any(|l| l.contains(" heal P") && l.contains(" = ok (") && !l.contains("nothing"));
                return format!("{ending}{}", if healed { ", healed" } else { "" });
            }
        }
    }
    panic!("no hand-off after {STARTS} starts: {said:#?}");
}

fn survives(set: &Set) {
    let restored = set.restored();
    let good = restored.disks[0].bytes(0..set.disk_sectors);
    let seen = looked_at(set);
    let mut outcomes = BTreeMap::new();
    for seed in 1..=1500 {
        let mut bytes = good.clone();
        let random = &mut Random::new(seed);
        damage(random, &mut bytes, &seen, 512);
        let mut pc = restored.clone();
        pc.disks[0].sectors.write(0, &bytes);
        if random.below(4) == 0 {
            pc.disks[0].unreadable.insert(*random.pick(&seen) as u64);
        }
        if random.below(4) == 0 {
            let (p1, p2) = (random.pick(&["OK", "Clean", "Dirty"]), random.pick(&["OK", "Clean", "Dirty"]));
            set.put_state(&mut pc, 0, &record::sector(&format!("sequence=9 P1={p1} P2={p2} restores=2")));
        }
        let result = std::panic::catch_unwind(|| outcome(pc));
        *outcomes.entry(result.unwrap_or_else(|_| panic!("seed {seed} replays this"))).or_insert(0) += 1;
    }
    assert!(outcomes.len() >= 2 && outcomes.values().all(|&n| n < 1490), "the damage is one-sided: {outcomes:?}");
}

#[test]
fn figure_4_comes_up_from_any_damage_to_the_disk() {
    survives(&figure4_set(256, "-F 12", 256, "-t ext2"));
}

#[test]
fn the_default_flow_comes_up_from_any_damage_to_the_disk() {
    survives(&figure4_set(256, "-F 12", 256, "-t ext4 -O ^has_journal").with_shipped("default.txt"));
}
