//! `knownstate check`'s proof: its model of a step against the interpreter itself, and flawed flows, each of
//! which has to be found out, with a way to the flaw that really is one.

mod common;
#[path = "../src/proof/mod.rs"]
#[allow(dead_code, reason = "the tests look at the model alone")]
mod proof;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::hostile::Random;
use common::images::{Set, boot_code, ext, figure4_on};
use common::machine::{Pc, word};
use common::record;
use common::tools::{self, knownstate, text};
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

/// Where anything may fail, and bstate.txt is there.
const HOSTILE: World = World { unread: true, keys: true, ..World::ALONE };

/// What the model says of a start in which these steps, counted in the order in which they are carried out,
/// fail.
fn modelled(
    model: &Model<'_>,
    world: World,
    stored: Stored,
    broken: bool,
    failing: &BTreeSet<usize>,
    wish: bool,
) -> (Log, End, Stored) {
    let mut run = Run { broken: Some(broken), ..Run::begin(stored, false) };
    let mut log = Log::new();
    loop {
        let fails = failing.contains(&log.len());
        let moves = model.moves(&run, world);
        let wanted = |fault: Fault| {
            let is = move |m: &&Move| matches!(m.what, What::Step { fault: f, .. } if f == fault);
            moves.iter().find(is).copied()
        };
        let faulty = if fails { wanted(Fault::All) } else { wanted(Fault::Wish).filter(|_| wish) };
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
fn carried_out(
    set: &Set,
    steps: &[logic::Step],
    stored: Stored,
    broken: bool,
    failing: &BTreeSet<usize>,
    wish: bool,
) -> (Log, String, [u8; 512]) {
    static RESTORED: OnceLock<Pc> = OnceLock::new();
    let mut pc = RESTORED.get_or_init(|| set.restored()).clone();
    pc.cd = set.iso.clone();
    pc.failing = failing.clone();
    let mut lines = String::from(if wish { "sequence=7 next=P2 " } else { "sequence=7 " });
    for (name, part) in ["P1", "P2"].iter().zip(stored.record.parts) {
        let Part { state, failures, crashes } = part;
        let state = state.map_or("OK", Bstate::name);
        lines += &format!("{name}={state} {name}.failures={failures} {name}.crashes={crashes} ");
    }
    let sector = record::sector(&format!("{lines}restores={}", stored.record.restores));
    let sector = if broken { [0xA5; 512] } else { sector };
    (0..2).for_each(|n| set.put_state(&mut pc, n, &sector));
    let ending = word(&pc.start());
    (log_of(&pc, steps), ending, set.state(&pc, 0))
}

/// The steps of a start that was carried out.
fn log_of(pc: &Pc, steps: &[logic::Step]) -> Log {
    let mut log = Log::new();
    let mut at = 0;
    for line in pc.log().into_iter().filter(|l| !l.starts_with("- read ") && !l.starts_with("- write ")) {
        // The flow says which step it is: labels may stand on several lines' texts, and most have none.
        let step = &steps[at];
        let began = format!("{} {} = ", step.label, step.text);
        let came_to =
            line.strip_prefix(&began).unwrap_or_else(|| panic!("`{line}` is not `{began}`:\n{:#?}", pc.log()));
        let failed = came_to.starts_with("failed");
        log.push((at, failed));
        at = match (&step.verb, step.otherwise) {
            (logic::Verb::Goto(to), _) => *to,
            (_, Some(otherwise)) if failed => otherwise,
            _ => at + 1,
        };
    }
    log
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
    let extra = "199 if next is P2 else 202\n  goto 240\n202 if P1 crashes below 2 else 230\n  set P1 OK\n  if P2 crashes below 1 else 256\n\
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
            let (broken, wish) = (random.below(10) == 0, random.below(4) == 0);
            let hostile = World { wishes: wish, ..HOSTILE };
            let (wanted, end, after) = modelled(&model, hostile, stored, broken, &failing, wish);
            let (log, ending, sector) = carried_out(flow, program.steps(), stored, broken, &failing, wish);
            let world =
                format!("flow {n}, {:?}, broken {broken}, failing {failing:?}, wish {wish}", &stored.record.parts[..2]);
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
    assert!([false, true].into_iter().all(|failed| reached.contains(&(2, (0, failed)))), "no wish was followed");
    // Nearly all that can happen has happened.
    assert!(reached.len() > 130, "only {} outcomes of steps were seen", reached.len());
}

/// A disk as it was restored, on which no directory has a bstate.txt.
fn without_bstate(set: &Set) -> Pc {
    let mut pc = set.restored();
    for &(start, sectors) in &set.places {
        let bytes = pc.disks[0].bytes(start..start + sectors);
        let names = bytes.windows(10).enumerate().filter(|(_, name)| *name == b"bstate.txt").map(|(at, _)| at);
        names.for_each(|at| pc.disks[0].poke(start * 512 + at as u64, b"B"));
    }
    pc
}

/// The same where there is no bstate.txt, up to what puts one back: `heal` mends directories, and a restore
/// brings them.
#[test]
fn the_model_knows_a_disk_without_bstate() {
    let folder = workshop();
    let kind = "83 protect none";
    let set = figure4_on(folder.path(), [("ext.img", kind), ("ext.img", kind)]);
    let mut random = Random::new(6);
    let mut reached = BTreeSet::new();
    for file in ["default.txt", "figure4.txt"] {
        let flow = set.with_shipped(file);
        let program = logic::parse(&flow.logic).expect("it parses");
        let model = Model::new(&program).expect("it is small");
        let mut disk = without_bstate(&set);
        disk.cd = flow.iso.clone();
        for n in 0..300 {
            let failing: BTreeSet<usize> = (0..random.below(5).min(n)).map(|_| random.below(16)).collect();
            let world = World { keys: true, ..World::BLIND };
            let (wanted, end, _) = modelled(&model, world, model.fresh(Record::UNKNOWN), false, &failing, false);
            let mut pc = disk.clone();
            pc.failing = failing.clone();
            let ending = word(&pc.start());
            let log = log_of(&pc, program.steps());
            let puts_back =
                |&(at, failed): &(usize, bool)| proof::model::rewrites(&program.steps()[at].verb) && !failed;
            let same = log.iter().position(puts_back).map_or(log.len(), |at| at + 1);
            assert_eq!(log[..same], wanted[..same.min(wanted.len())], "{file}, failing {failing:?}");
            if same == log.len() {
                assert!(ending.starts_with(&in_words(end)), "{file}, failing {failing:?}: {ending}, {end:?}");
            }
            if n == 0 && file == "default.txt" {
                assert_eq!(ending, "hand-off 80 entry 1", "both copies are whole: {:#?}", pc.lines);
            }
            reached.extend(log.into_iter().map(|step| (file, step)));
        }
    }
    assert!(reached.len() > 60, "only {} outcomes of steps were seen", reached.len());
}

/// Where nothing fails but that there is no bstate.txt, a copy that is whole is booted. Figure 4 asks only for what
/// stands there, so it restores.
#[test]
fn a_whole_copy_is_booted_without_bstate() {
    let shelf = Path::new(env!("CARGO_MANIFEST_DIR")).join("iso/logic");
    for file in std::fs::read_dir(shelf).expect("it is there").map(|f| f.expect("it can be listed").path()) {
        let program = logic::parse(&std::fs::read_to_string(&file).expect("it can be read")).expect("it parses");
        let model = Model::new(&program).expect("it is small");
        let world = World { faults: false, ..World::BLIND };
        let (log, end, _) = modelled(&model, world, model.fresh(Record::UNKNOWN), false, &BTreeSet::new(), false);
        let booted = matches!(end, End::HandOff(_));
        assert_eq!(booted, !file.ends_with("figure4.txt"), "{}: {log:?}", file.display());
    }
}

/// A flow of tests/proof with a flaw, and what is said of it: whether `build` would stop, and of which line.
const FLAWED: [(&str, &str); 30] = [
    ("endless", "7: error: the flow can go round and round through `verify P1`"),
    ("restarts", "11: error: the machine can restart for ever without booting or restoring anything"),
    ("failed-restore", "14: error: the machine can restart for ever without booting or restoring anything"),
    ("destroys", "14: error: `restore system` can destroy P2, which was verified and is not Dirty"),
    ("wrong-name", "20: error: `restore P1` can destroy P1, which was verified and is not Dirty"),
    ("not-again", "11: error: P1 is booted and shut down properly, and then it is not booted again"),
    ("no-other", "12: error: one failed boot of P1, and nothing is booted any more"),
    ("unbounded", "12: warning: nothing bounds `restore system`"),
    ("counted-late", "12: warning: nothing bounds `restore system`"),
    ("unbounded-spare", "13: warning: nothing bounds `restore P2`"),
    ("condemned", "12: warning: one failed boot, such as one that a power cut ended, and P1 is given up"),
    ("unreachable", "13: warning: `verify P2` and 3 more from there on are never reached: label 220 is never used"),
    ("not-dirty", "14: warning: P2 is booted and was not set Dirty before"),
    ("not-active", "10: warning: P1 is booted while another partition is active"),
    ("not-again-spare", "15: error: P2 is booted and shut down properly, and then it is not booted again"),
    ("no-other-spare", "16: error: one failed boot of P2, and nothing is booted any more"),
    ("unfinished", "13: warning: nothing bounds `restore P1`"),
    ("unbounded-clean", "8: warning: nothing bounds `restore P1 allow good copies`"),
    ("dirty-then-restored", "16: warning: P1 is booted and was not set Dirty before"),
    ("never-tried", "16: warning: when boots keep failing, the machine ends here, and P2 was never tried"),
    ("no-disk", "13: error: the machine can restart for ever without booting or restoring anything"),
    ("allowed", ""),
    ("unread", "13: error: `restore P1` can destroy P1, which was verified and is not Dirty"),
    ("unread-guess", "19: error: `restore P1` can destroy P1, which was verified and is not Dirty"),
    ("uncounted", "13: warning: nothing bounds `restore P1` where no bstate.txt can be read"),
    ("loses", "12: error: `restore P1` can lose what is not protected in P1"),
    ("loses-all", "12: warning: `restore system` can lose what is not protected in P1"),
    ("blank", ""),
    ("wish", "9: warning: P2 is booted and was not set Dirty before"),
    ("wishes", ""),
];

/// A folder with the image that the flawed flows name.
fn workshop() -> tempfile::TempDir {
    let folder = tools::temporary();
    ext(folder.path(), "ext.img", 512, "-t ext2");
    boot_code(folder.path(), "ext.img");
    folder
}

fn flawed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/proof/{name}.txt"))
}

#[test]
fn every_flaw_is_found_and_nothing_where_there_is_none() {
    let folder = workshop();
    for (name, wanted) in FLAWED {
        let ran = knownstate(&["check", text(&flawed(name)), "--images", text(folder.path())]);
        let said: Vec<&str> =
            ran.err.lines().filter(|l| l.contains(": error: ") || l.contains(": warning: ")).collect();
        assert_eq!(ran.code, i32::from(said.iter().any(|l| l.contains(": error: "))), "{name}:\n{}", ran.err);
        match wanted {
            "" => assert!(said.is_empty(), "{name}: {said:#?}"),
            wanted => assert!(said.iter().any(|l| l.contains(&format!("{name}.txt:{wanted}"))), "{name}: {said:#?}"),
        }
    }
}

/// What a person reads, to the letter: a finding, where, what would be right, how it comes about, how to see it.
#[test]
fn a_finding_reads_like_a_run() {
    let folder = workshop();
    std::fs::copy(flawed("not-again"), folder.path().join("logic.txt")).expect("it can be copied");
    let ran = knownstate(&["check", text(&folder.path().join("logic.txt"))]);
    let wanted = "logic.txt:11: error: P1 is booted and shut down properly, and then it is not booted again
   11 | 210 boot P1
      = let the flow reach `boot P1` when P1 is OK
        with P1=Clean, P2=OK in bstate.txt:
          202 verify P1 = ok
          204 if P1 is Clean = ok
          - set P1 Dirty = ok
          - activate P1 = ok
          210 boot P1 = ok
          # the system on P1 comes up and shuts down
          202 verify P1 = ok
          204 if P1 is Clean = failed (it is OK)
          220 verify P2 = ok
          222 if P2 failures below 3 = ok (0)
          - set P2 Dirty = ok
          - activate P2 = ok
          224 boot P2 = ok
        to see it: knownstate simulate ";
    let said = ran.err.replace(&format!("{}/", text(folder.path())), "");
    assert!(said.contains(wanted), "{said}");
    assert!(said.contains("simulate logic.txt --disk system=DISK --state \"P1=Clean P2=OK\" --os ok\n"), "{said}");
}

/// The lines of steps, without what stands in parentheses, and what the system does.
fn steps_of(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let line = line.trim();
        let line = line.split_once("] ").map_or(line, |(_, line)| line);
        let told = line.contains(" = ok") || line.contains(" = failed") || line.starts_with("# ");
        let own = line.starts_with("- read ") || line.starts_with("- write ");
        (told && !own).then(|| line.split(" (").next().unwrap_or_default().to_string())
    };
    text.lines().filter_map(line).collect()
}

/// Every way to a flaw that is shown is one that the interpreter takes, on a disk as it leaves the factory.
#[test]
fn simulate_shows_what_check_found() {
    let folder = workshop();
    let (disk, images) = (folder.path().join("disk.img"), text(folder.path()).to_string());
    let named = format!("system={}", text(&disk));
    let good = flawed("allowed");
    let ran = knownstate(&["provision", text(&good), "--images", &images, "--disk", &named]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut shown = 0;
    for (name, _) in FLAWED {
        let logic = flawed(name);
        let said = knownstate(&["check", text(&logic), "--images", &images]).err;
        // Each finding: the steps that are shown, and after them the command.
        for finding in said.split(" in bstate.txt:").skip(1) {
            let (trace, command) = finding.split_once("to see it: knownstate ").expect("it ends with a command");
            let command = command.lines().next().unwrap_or_default().replace("=DISK", &format!("={}", text(&disk)));
            let quoted = command.split('"').enumerate();
            let mut words: Vec<&str> = Vec::new();
            for (n, part) in quoted {
                if n % 2 == 1 { words.push(part) } else { words.extend(part.split_whitespace()) }
            }
            words.extend(["--images", &images]);
            let ran = knownstate(&words);
            let (wanted, seen) = (steps_of(trace), steps_of(&ran.out));
            let same = seen.get(..wanted.len()).is_some_and(|seen| seen == wanted);
            assert!(same, "{name}: {command}\nwanted: {wanted:#?}\nseen: {seen:#?}\n{}", ran.err);
            shown += 1;
        }
    }
    assert!(shown >= 14, "only {shown} ways were shown");
}

/// Errors stop `build`, warnings don't.
#[test]
fn build_stops_at_errors_of_the_flow() {
    let folder = workshop();
    let iso = folder.path().join("cd.iso");
    let build = |name: &str| {
        let logic = flawed(name);
        knownstate(&["build", text(&logic), "--images", text(folder.path()), "-o", text(&iso)])
    };
    let ran = build("destroys");
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("can destroy P2") && !iso.exists(), "{}", ran.err);
    let ran = build("condemned");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("warning: one failed boot") && iso.exists(), "{}", ran.err);
}

/// The source's own chart has two defects, what ships has none.
#[test]
fn figure_4_has_the_defects_of_its_source_and_the_others_have_none() {
    let shelf = Path::new(env!("CARGO_MANIFEST_DIR")).join("iso/logic");
    let mut seen = 0;
    for file in std::fs::read_dir(shelf).expect("it is there").map(|f| f.expect("it can be listed").path()) {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        let program = logic::parse(&text).expect("it parses");
        let proof = proof::prove(&program, "logic.txt").expect("it is small enough");
        assert_eq!(proof.given_up, None);
        let found: Vec<&str> = proof.findings.iter().map(|f| f.message.as_str()).collect();
        if file.ends_with("figure4.txt") {
            let [condemned, unbounded] = found.as_slice() else { panic!("figure 4: {found:#?}") };
            assert!(condemned.starts_with("one failed boot, such as one that a power cut ended, and P1 is given up"));
            assert!(unbounded.starts_with("nothing bounds `restore system`"));
        } else {
            assert!(found.is_empty(), "{}: {found:#?}", file.display());
        }
        seen += 1;
    }
    assert_eq!(seen, 8, "iso/logic has other files than these tests know");
}

/// Four copies, each with two counters, and a number of restores.
#[test]
fn four_partitions_with_counters_are_proved() {
    let mut text = String::from("logic 1\ndisk d sectors 16384\n");
    for n in 1..=4 {
        text += &format!("partition P{n} on d start {} sectors 1024 type 83 image a.img\n", n * 2048);
    }
    for n in 1..=4 {
        let next = n % 4 + 1;
        text += &format!(
            "verify{n} verify P{n} else heal{n}\nfirst{n} if P{n} failures below 3 else next{n}\n\
             if P{n} crashes below 3 else next{n}\nactivate P{n} else set{n}\nset{n} set P{n} Dirty\nboot P{n}\n\
             goto bad{n}\nheal{n} heal P{n} from P{next} else bad{n}\nverify P{n} quick else bad{n}\ngoto first{n}\n\
             bad{n} set P{n} Dirty\nnext{n} notify \"the next one\"\n"
        );
    }
    text += "if restores below 10 else no\nverify images else no\nrestore d allow good copies else no\nrestart\nno hold \"no\"\n";
    let program = logic::parse(&text).expect("it parses");
    let proof = proof::prove(&program, "logic.txt").expect("it is small enough");
    assert!(proof.findings.is_empty(), "{:#?}", proof.findings.iter().map(|f| &f.message).collect::<Vec<_>>());
    assert_eq!(proof.given_up, None);
    assert!(proof.states > 100_000, "only {} states", proof.states);
}

/// More than can be tried all together: what is left out is not what matters.
#[test]
fn a_flaw_behind_many_counters_is_found() {
    let mut text = String::from("logic 1\ndisk d sectors 16384\ndisk e sectors 20480\n");
    for n in 0..6 {
        let (disk, start) = (if n < 3 { "d" } else { "e" }, (n % 3 + 1) * 2048);
        text += &format!("partition P{} on {disk} start {start} sectors 1024 type 83 image a.img\n", n + 1);
    }
    for n in 1..=6 {
        let flaw = if n == 2 { "if P2 is OK else 205\ngoto 250\n" } else { "" };
        text += &format!(
            "if P{n} failures below 3 else {n}50\nif P{n} crashes below 3 else {n}50\n{flaw}\
             {n}05 activate P{n} else {n}10\n{n}10 set P{n} Dirty\nboot P{n}\n{n}50 notify \"the next one\"\n"
        );
    }
    text += "hold \"no\"\n";
    let program = logic::parse(&text).expect("it parses");
    let proof = proof::prove(&program, "logic.txt").expect("it is small enough");
    let wanted = "P2 is booted and shut down properly, and then it is not booted again";
    assert!(proof.findings.iter().any(|f| f.message == wanted));
}

/// High limits are too much for the proof, which says so; what it has found by then is told, and stops `build`.
#[test]
fn what_was_found_before_giving_up_is_told() {
    let mut text = String::from("logic 1\ndisk d sectors 16384\n");
    for n in 1..=2 {
        text += &format!("partition P{n} on d start {} sectors 1024 type 83 image a.img\n", n * 2048);
    }
    for n in 1..=2 {
        text += &format!(
            "look{n} verify P{n} else look2\nif P{n} failures below 900 else no{n}\nif P{n} crashes below 900 else no{n}\n\
             activate P{n} else set{n}\nset{n} set P{n} Dirty\nboot P{n}\nno{n} notify \"the next one\"\n"
        );
    }
    text += "if restores below 900 else no\nrestore d allow good copies else no\nrestart\nno hold \"no\"\n";
    let program = logic::parse(&text).expect("it parses");
    let proof = proof::prove(&program, "logic.txt").expect("there are few partitions");
    assert!(proof.given_up.is_some_and(|why| why.starts_with("there are too many states")));
    let found = |words: &str| proof.findings.iter().any(|f| f.message.starts_with(words));
    assert!(found("the flow can go round and round through `verify P2`"));
}
