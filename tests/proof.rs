//! `knownstate check`'s proof: its model of a step against the interpreter itself, and flawed flows, each of
//! which has to be found out, with a way to the flaw that really is one.

mod common;
#[path = "../src/proof/mod.rs"]
#[allow(dead_code, reason = "the tests look at the model alone")]
mod proof;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use common::hostile::Random;
use common::images::{Set, boot_code, ext, figure4_on};
use common::machine::word;
use common::{record, tools};
use knownstate_core::logic;
use proof::model::{End, Fault, Model, Move, What, World};
use proof::state::{Bstate, OPEN, Part, Record, Run, Stored};

/// Figure 4 on two ext2 partitions: small, and quickly restored.
fn set() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| {
        let temporary = tools::temporary();
        ext(temporary.path(), "ext.img", 512, "-t ext2");
        boot_code(temporary.path(), "ext.img");
        figure4_on(temporary.path(), [("ext.img", "83"), ("ext.img", "83")])
    })
}

/// A step that was carried out: its place in the flow, and whether it failed.
type Log = Vec<(usize, bool)>;

/// What the model says of a start in which these steps, counted in the order in which they are carried out,
/// fail.
fn modelled(model: &Model<'_>, stored: Stored, broken: bool, failing: &BTreeSet<usize>) -> (Log, End, Stored) {
    let world = World { surprises: true, ..World::ALONE };
    let mut run = Run { broken: Some(broken), ..Run::begin(stored, false) };
    let mut log = Log::new();
    loop {
        let fails = failing.contains(&log.len());
        let moves = model.moves(&run, world);
        let wanted = |fault: Fault| {
            let is = move |m: &&Move| matches!(m.what, What::Step { fault: f, .. } if f == fault);
            moves.iter().find(is).copied()
        };
        let faulty = if fails { wanted(Fault::All) } else { None };
        let made = faulty.or_else(|| wanted(Fault::None)).expect("something can always happen");
        let What::Step { failed, .. } = made.what else { panic!("nothing is open") };
        log.push((usize::from(run.at), failed));
        if let Some(end) = made.end {
            return (log, end, made.run.stored);
        }
        run = made.run;
    }
}

/// What the interpreter does.
fn carried_out(set: &Set, steps: &[logic::Step], stored: Stored, broken: bool, failing: &BTreeSet<usize>) -> (Log, String, [u8; 512]) {
    static RESTORED: OnceLock<common::machine::Pc> = OnceLock::new();
    let mut pc = RESTORED.get_or_init(|| set.restored()).clone();
    pc.cd = set.iso.clone();
    pc.failing = failing.clone();
    let mut lines = String::from("sequence=7 ");
    for (name, part) in ["P1", "P2"].iter().zip(stored.record.parts) {
        let Part { state, failures, crashes } = part;
        let state = state.map_or("OK", Bstate::name);
        lines += &format!("{name}={state} {name}.failures={failures} {name}.crashes={crashes} ");
    }
    let sector = record::sector(&format!("{lines}restores={}", stored.record.restores));
    let sector = if broken { [0xA5; 512] } else { sector };
    (0..2).for_each(|n| set.put_state(&mut pc, n, &sector));
    let ending = word(&pc.start());
    let mut log = Log::new();
    let mut at = 0;
    for line in pc.log().into_iter().filter(|l| !l.starts_with("- read ") && !l.starts_with("- write ")) {
        // The flow says which step it is: labels may stand on several lines' texts, and most have none.
        let step = &steps[at];
        let began = format!("{} {} = ", step.label, step.text);
        let came_to = line.strip_prefix(&began).unwrap_or_else(|| panic!("`{line}` is not `{began}`:\n{:#?}", pc.log()));
        let failed = came_to.starts_with("failed");
        log.push((at, failed));
        at = match (&step.verb, step.otherwise) {
            (logic::Verb::Goto(to), _) => *to,
            (_, Some(otherwise)) if failed => otherwise,
            _ => at + 1,
        };
    }
    (log, ending, set.state(&pc, 0))
}

fn in_words(end: End) -> String {
    match end {
        End::HandOff(p) => format!("hand-off 80 entry {}", p + 1),
        End::Hold => "hold".into(),
        End::Restart => "restart".into(),
        End::PowerOff => "poweroff".into(),
    }
}

/// Thousands of starts, with anything in bstate.txt and any steps failing: the model and the interpreter take
/// the same steps, which come to the same, and leave the same.
#[test]
fn the_model_does_what_the_interpreter_does() {
    let mut random = Random::new(2026);
    let extra = "202 if P1 crashes below 2 else 230\n  set P1 OK\n  if P2 crashes below 1 else 256\n\
        218 restore P2 else 226\n226 heal P1 from P2 else 220\n  wait 3 else 230\n220 set P2 Clean\n  if P2 is Clean else 256\n\
        230 repair mbr of system else 232\n232 set P1 Dirty\n  activate P1 else 240\n240 set P2 Dirty\n  boot P2\n\
        256 restore system else 299\n  goto 218\n299 poweroff\n";
    let other = format!("logic 1\n{}{extra}", set().declarations());
    let flows = [set().clone(), set().with_shipped("default.txt"), set().with_logic(&other)];
    let mut reached = BTreeSet::new();
    for (n, flow) in flows.iter().enumerate() {
        let program = logic::parse(&flow.logic).expect("it parses");
        let model = Model::new(&program).expect("it is small");
        for _ in 0..1500 {
            let mut stored = model.fresh(Record::OK);
            for p in 0..2 {
                let values = model.values(p);
                stored.record.parts[p] = values[random.below(values.len())];
            }
            let restores: Vec<u16> = model.restores().into_iter().collect();
            stored.record.restores = restores[random.below(restores.len())];
            let failing: BTreeSet<usize> = (0..random.below(5)).map(|_| random.below(16)).collect();
            let broken = random.below(10) == 0;
            let (wanted, end, after) = modelled(&model, stored, broken, &failing);
            let (log, ending, sector) = carried_out(flow, program.steps(), stored, broken, &failing);
            let world = format!("flow {n}, {:?}, broken {broken}, failing {failing:?}", &stored.record.parts[..2]);
            assert_eq!(log, wanted, "{world}: steps (left: interpreter, right: model)");
            assert!(ending.starts_with(&in_words(end)), "{world}: {ending}, and the model says {end:?}");
            if sector == [0xA5; 512] {
                continue;
            }
            reached.extend(log.iter().map(|&step| (n, step)));
            for (p, name) in ["P1", "P2"].iter().enumerate() {
                let part = after.record.parts[p];
                let value = |key: &str| record::value(&sector, key);
                assert_eq!(Some(value(name).as_str()), part.state.map(Bstate::name), "{world}: {name}");
                let counted = |key: &str| value(&format!("{name}.{key}")).parse::<u16>().expect("a number");
                let most = |f: fn(&Part) -> u16| model.values(p).iter().map(f).max().unwrap_or(0);
                assert_eq!(counted("failures").min(most(|p| p.failures)), part.failures, "{world}: {name}");
                assert_eq!(counted("crashes").min(most(|p| p.crashes)), part.crashes, "{world}: {name}");
            }
            let restores = record::value(&sector, "restores").parse::<u16>().expect("a number");
            assert_ne!(after.record.restores, OPEN);
            assert_eq!(restores.min(model.most_restores()), after.record.restores, "{world}: restores");
        }
    }
    // Nearly all that can happen has happened.
    assert!(reached.len() > 130, "only {} outcomes of steps were seen", reached.len());
}
