//! Somebody else's disks: hundreds of layouts at random, many of them over what one of our disks has left. Nothing
//! is written where blkid or wipefs name an owner, or where there is anything at all, but on what the rules call ours.

use super::cds::{Cd, Shelf};
use super::file::make;
use super::judge::{Look, Whose};
use super::layout::Layout;
use super::suite::{self, Case};
use super::table::Entry;
use super::{machine, table};
use crate::common::hostile::Random;

/// Every so many cases run under the tool itself too.
const BY_THE_TOOL: usize = 12;

/// The default flow most of all; the others are what its disk is declared to be, or less careful.
const CDS: [&str; 7] = ["default", "default", "default", "at least", "signature", "figure4", "three-partitions"];

#[test]
fn nothing_of_anybody_elses_is_written() {
    let shelf = Shelf::new();
    suite::run("foreign", 400, |case| one(&shelf, case));
}

fn one(shelf: &Shelf, case: &mut Case) -> Result<String, String> {
    let cd = shelf.cd(CDS[case.random.below(CDS.len())]);
    let disk = case.disk();
    let over = base(cd, &mut case.random, &disk);
    let mut layout = Layout { random: &mut case.random, disk: &disk, done: vec![over.to_string()] };
    layout.any();
    let done = layout.done.join("; ");
    let look = Look::at(&disk, cd, 0);
    let whose = look.whose();
    let outcome = machine::run(cd, &case.disks);
    let describe = |wrong: String| {
        format!(
            "{wrong}\n  flow {}, {done}\n  {whose:?}; blkid and wipefs: {}\n  {}\n  {}",
            cd.name,
            look.names(),
            table::print(&disk).replace('\n', "\n  "),
            outcome.report()
        )
    };
    if let Some(wrong) = judge(&look, &whose, &outcome) {
        return Err(describe(wrong));
    }
    if case.number.is_multiple_of(BY_THE_TOOL) && matches!(whose, Whose::Somebodys(_)) {
        let (said, same) = machine::by_the_tool(cd, &case.disks, case.folder());
        if same != [true] {
            return Err(describe(format!("the tool wrote: {said}")));
        }
    }
    Ok(match whose {
        Whose::Somebodys(_) if look.has_owner() => "named by blkid or wipefs",
        Whose::Somebodys(_) => "with something that nobody names",
        Whose::Ours(_) => "ours",
        Whose::Blank => "blank",
        Whose::Open(_) => "ours with something in the way",
    }
    .to_string())
}

/// What was on the disk before: nothing, or one of our own.
fn base(cd: &Cd, random: &mut Random, disk: &std::path::Path) -> &'static str {
    let declared = cd.disks[0].sectors;
    if random.below(3) == 0 {
        cd.factory(0, disk);
        return "over one of ours";
    }
    let sectors = *random.pick(&[0, 0, 0, 0, 0, 0, 2113, 2_097_152, -2113]);
    make(disk, declared.saturating_add_signed(sectors));
    "on a blank disk"
}

/// What is wrong with what the machine did.
pub fn judge(look: &Look, whose: &Whose, outcome: &machine::Outcome) -> Option<String> {
    let handed = outcome.booted == Some(0);
    match whose {
        Whose::Somebodys(names) if !outcome.writes.is_empty() => Some(format!("it wrote on a disk with {names}")),
        Whose::Somebodys(names) if handed => Some(format!("it booted a disk with {names}")),
        Whose::Blank if !handed => Some("a blank disk was not restored and booted".into()),
        Whose::Ours(proof) if !handed => Some(format!("it is ours by {proof}, and did not boot")),
        _ if outcome.writes.is_empty() => None,
        _ => lost(look, outcome),
    }
}

/// An entry that is not declared and was touched: something written inside it, or a table without it.
fn lost(look: &Look, outcome: &machine::Outcome) -> Option<String> {
    let after = outcome.table_after(0, look.path);
    look.kept().into_iter().find_map(|entry| {
        let inside = outcome.inside(0, &entry);
        let is_it = |e: &Entry| (e.kind, e.start, e.sectors) == (entry.kind, entry.start, entry.sectors);
        if !inside.is_empty() {
            return Some(format!("it wrote inside the entry at {}: {inside:?}", entry.start));
        }
        (!after.iter().any(is_it)).then(|| format!("the entry at {} is gone", entry.start))
    })
}
