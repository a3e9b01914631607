//! The detector is proved: each mistake that core can be made to make has to be found, by the rule that it breaks.

use knownstate_core::defects::{Defect, seed};

use crate::failing;
use crate::rules::Broken;
use crate::scenarios::{self, Scenario};
use crate::simulate;
use crate::world::Kind;

/// Each mistake, and the rules of which any has to find it.
const CAUGHT_BY: [(Defect, &[&str]); 25] = [
    (Defect::MbrFirst, &["order"]),
    (Defect::TableKept, &["order"]),
    (Defect::BootSectorFirst, &["order"]),
    (Defect::BootSectorBeforeState, &["true"]),
    (Defect::StateFirst, &["true"]),
    (Defect::RestoreNotCounted, &["counted"]),
    (Defect::RecordFromImage, &["record"]),
    (Defect::NoReadBack, &["told"]),
    (Defect::WriteErrorIgnored, &["told"]),
    (Defect::OneCopyIsEnough, &["noted"]),
    (Defect::DirtyNotWritten, &["noted"]),
    (Defect::TornRecordTaken, &["merge"]),
    (Defect::OldestWins, &["merge"]),
    (Defect::BetterWins, &["merge"]),
    (Defect::SequenceWraps, &["record"]),
    (Defect::EditIgnored, &["merge"]),
    (Defect::SiblingTrusted, &["approved"]),
    (Defect::PackTrusted, &["approved"]),
    (Defect::HealBootSectorFirst, &["order"]),
    (Defect::FlagInTwoWrites, &["mbr"]),
    (Defect::MarksOverlooked, &["inside"]),
    (Defect::RegionShifted, &["inside", "approved"]),
    (Defect::OneNote, &["notes"]),
    (Defect::SecondNoteClearedFirst, &["notes"]),
    (Defect::ExtraDropped, &["extra"]),
];

/// Makes the mistakes one by one; whether each was found by its rule, and nothing where none is made.
pub fn all() -> bool {
    assert_eq!(Defect::ALL, CAUGHT_BY.map(|(defect, _)| defect), "every mistake has its rule");
    let scenarios = scenarios::all();
    let mut good = true;
    for (defect, wanted) in CAUGHT_BY {
        seed(defect);
        let found = caught(&scenarios, wanted);
        seed(Defect::None);
        match &found {
            Some((rule, place)) => println!("{defect:?}: caught by `{rule}` ({place})"),
            None => println!("FAILED {defect:?} is not caught by {wanted:?}"),
        }
        good &= found.is_some();
    }
    println!("seeded defects: {}, caught: {}", CAUGHT_BY.len(), if good { "all" } else { "not all" });
    good
}

/// The first place where one of the rules is broken: what is done soonest comes first.
fn caught(scenarios: &[Scenario], wanted: &[&str]) -> Option<(&'static str, String)> {
    let right = |(place, broken): (String, Broken)| wanted.contains(&broken.rule).then_some((broken.rule, place));
    let uncut = |scenario: &Scenario| {
        let broken = simulate::uncut(scenario, &mut scenario.before.clone()).err()?;
        right((scenario.name.clone(), broken))
    };
    let with_cuts = |scenario: &Scenario| simulate::one(scenario, 1).failures.into_iter().find_map(right);
    scenarios
        .iter()
        .find_map(uncut)
        .or_else(|| failing::sweep(scenarios, Kind::is_state).failures.into_iter().find_map(right))
        .or_else(|| scenarios.iter().find_map(with_cuts))
}
