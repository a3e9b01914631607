//! `knownstate draw`: the flowchart of a logic file, and the way that a machine took through it.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::tools::{self, Ran, knownstate, must, text};
use knownstate_core::logic::{self, Program, Step, Verb};

/// Declarations for flows of a test's own.
const HEAD: &str = "\
logic 1
disk system sectors 2097152
partition P1 on system start 2048 sectors 409600 type 0c image system.img
partition P2 on system start 411648 sectors 409600 type 0c image system.img
";

/// Three starts of figure4.txt on one serial line: a restore, a boot of P1, a power cut.
const LOG: &str = "\
SeaBIOS (version 1.16.2)\r
\u{1b}[2J\u{0}\u{fffd}[    0.008] - Knownstate 0.1.0\r
[    0.029] 202 verify mbr of system = failed (no 55AA signature)\r
[    0.221] - read bstate.txt = failed (P1: no FAT or ext filesystem)\r
[    1.232] 256 restore system: P1 P2 68% 12.0 MiB/s, 0 s left\r
[    1.772] 256 restore system = ok\r
[    1.773] - restart = ok\r
garbage \u{fffd}\u{fffd}[    0.008] - Knownstate 0.1.0\r
[    0.024] 202 verify mbr of system = ok\r
[    0.036] 206 verify P1 = ok (FAT32)\r
[    0.040] 207 verify P9 = ok\r
[    0.045] 208 if P1 is OK = failed (it is Clean)\r
[    0.046] 216 if P1 is Clean = ok\r
[    0.050] 218 set P1 Dirty = ok\r
[    0.052] 220 boot P1 = ok (drive 80, lba 2048)\r
\r
SYSLINUX 6.04 20210613 Copyright (C) 1994-2015 H. Peter Anvin et al\r
[    1.042528] 202 verify mbr of system = failed (a kernel says so)\r
[    1.042] 299 hold = ok\r
P1 is Clean\r
[    0.008] - Knownstate 0.1.0\r
[    0.024] 202 verify mbr of system = ok\r
[    0.036] 206 verify P1 = failed (boot sector has no 55AA)\r
[    0.040] 230 set P1 Dirty = ok\r
";

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("iso/logic");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    files.sort();
    assert!(files.len() >= 2, "where are the logic files?");
    files
}

fn figure4() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("iso/logic/figure4.txt")
}

fn draw(arguments: &[&str]) -> Ran {
    knownstate(&[&["draw"], arguments].concat())
}

/// Draws, which has to work.
fn drawn(arguments: &[&str]) -> String {
    let ran = draw(arguments);
    assert_eq!(ran.code, 0, "draw {arguments:?}:\n{}", ran.err);
    ran.out
}

/// A flow of a test's own, as a file.
fn flow(folder: &Path, steps: &str) -> PathBuf {
    let file = folder.join("logic.txt");
    fs::write(&file, format!("{HEAD}{steps}")).unwrap();
    file
}

fn log(folder: &Path, log: &str) -> PathBuf {
    let file = folder.join("run.log");
    fs::write(&file, log).unwrap();
    file
}

/// A group of the picture: its class, its title, and what is in it.
struct Group {
    class: String,
    title: String,
    content: String,
}

impl Group {
    fn is(&self, class: &str) -> bool {
        self.class.split(' ').any(|c| c == class)
    }

    /// The middle of a box, in points.
    fn middle(&self) -> (f64, f64) {
        let attribute = |name: &str| -> f64 {
            let rest = self.content.split(&format!(" {name}=\"")).nth(1).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        if let Some(path) = self.content.strip_prefix("\n<path d=\"M") {
            let corners: Vec<_> = path.split(['L', 'Z']).map(|c| c.split_once(',').unwrap_or_default()).collect();
            return (corners[0].0.parse().unwrap(), corners[1].1.parse().unwrap());
        }
        (attribute("x") + attribute("width") / 2.0, attribute("y") + attribute("height") / 2.0)
    }
}

fn groups(svg: &str) -> Vec<Group> {
    let plain = |text: &str| {
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#10;", "\n");
        text.replace("&amp;", "&")
    };
    let parts = svg.split("<g class=\"").skip(1);
    let group = |part: &str| {
        let (class, rest) = part.split_once("\"><title>").unwrap();
        let (title, content) = rest.split_once("</title>").unwrap();
        Group { class: class.to_string(), title: plain(title), content: content.to_string() }
    };
    parts.map(group).collect()
}

fn boxes(svg: &str) -> Vec<Group> {
    groups(svg).into_iter().filter(|group| group.is("node")).collect()
}

/// What a step's title has to be, whatever comes after it.
fn title(step: &Step) -> String {
    let label = if step.label == "-" { String::new() } else { format!("{} ", step.label) };
    format!("line {}: {label}{}", step.line, step.text)
}

fn parsed(path: &Path) -> Program {
    logic::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The steps from the first to the first boot, as long as all goes well.
fn good_path(program: &Program) -> Vec<String> {
    let (mut at, mut path) = (0, Vec::new());
    while let Some(step) = program.steps().get(at).filter(|_| path.len() <= program.steps().len()) {
        at = if let Verb::Goto(to) = step.verb { to } else { at + 1 };
        if !matches!(step.verb, Verb::Goto(_)) {
            path.push(title(step));
        }
        if matches!(step.verb, Verb::Boot(_) | Verb::Hold(_) | Verb::Restart | Verb::PowerOff) {
            return path;
        }
    }
    panic!("the good path goes round in a circle");
}

/// The pictures of a flow say each of its steps once; a `goto` is a line's.
fn says_all(program: &Program, svg: &str) -> Result<(), String> {
    let groups = groups(svg);
    let mut boxed: BTreeMap<&str, usize> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.is("node")) {
        *boxed.entry(group.title.split(" (nothing").next().unwrap()).or_default() += 1;
    }
    for step in program.steps() {
        let title = title(step);
        let (count, on_line) = (boxed.remove(title.as_str()), groups.iter().any(|g| g.title.contains(&title)));
        match (&step.verb, count) {
            (Verb::Goto(_), None) if on_line => {}
            (_, Some(1)) => {}
            (_, count) => return Err(format!("`{title}` has {} boxes", count.unwrap_or(0))),
        }
    }
    boxed.keys().next().map_or(Ok(()), |more| Err(format!("no step is `{more}`")))
}

#[test]
fn every_shipped_file_is_drawn_with_the_good_path_straight_down() {
    for file in shipped() {
        let (name, program, svg) = (file.display(), parsed(&file), drawn(&[text(&file)]));
        says_all(&program, &svg).unwrap_or_else(|why| panic!("{name}: {why}"));
        let good = good_path(&program);
        let boxes = boxes(&svg);
        let middle = |title: &String| boxes.iter().find(|b| b.title == *title).unwrap().middle();
        let (x, mut y) = middle(&good[0]);
        for title in &good[1..] {
            let next = middle(title);
            assert!(
                (next.0 - x).abs() < 1.0 && next.1 > y,
                "{name}: `{title}` is not straight below {x},{y}: {next:?}"
            );
            y = next.1;
        }
        // Below the hand-off the column may go on with what a boot falls through to.
        for other in boxes.iter().filter(|b| !good.contains(&b.title)) {
            let at = other.middle();
            let beside = at.0 > x + 50.0 || at.0 > x - 2.0 && at.1 > y;
            assert!(beside, "{name}: `{}` is not right of the good path", other.title);
        }
    }
}

#[test]
fn shapes_and_words_are_the_flowcharts() {
    let svg = drawn(&[text(&figure4())]);
    let boxes = boxes(&svg);
    let class = |step: &str| boxes.iter().find(|b| b.title.ends_with(step)).unwrap().class.as_str();
    assert_eq!(class("202 verify mbr of system"), "node question");
    assert_eq!(class("208 if P1 is OK"), "node question");
    assert_eq!(class("210 set P1 Dirty"), "node action");
    assert_eq!(class("212 boot P1"), "node end");
    assert_eq!(class(" restart"), "node end");
    for word in [">208<", ">P1 is OK?<", ">yes<", ">no<", ">falls through<", ">figure4.txt<", ">power on<"] {
        assert!(svg.contains(word), "{word} is missing");
    }
    let line = |title: &str| groups(&svg).into_iter().find(|g| unnumbered(&g.title) == title).unwrap();
    let falls = line("falls through: 212 boot P1 → goto 232 → 232 activate P2");
    assert!(falls.content.contains("stroke-dasharray") && falls.is("failure"), "{}", falls.content);
    let good = line("yes: 208 if P1 is OK → 210 set P1 Dirty");
    assert!(!good.is("failure") && good.content.contains("stroke-width=\"1.7\""), "{}", good.content);
}

#[test]
fn an_image_that_is_missing_is_nobodys_business_but_an_error_is() {
    let folder = tools::temporary();
    let file = flow(folder.path(), "1 verfiy P1 else 1\n");
    let ran = draw(&[text(&file)]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `verify`") && ran.out.is_empty(), "{}", ran.err);
}

#[test]
fn the_same_file_gives_the_same_picture_and_the_ending_says_which_kind() {
    let folder = tools::temporary();
    let file = |name: &str| folder.path().join(name);
    for name in ["a.svg", "b.svg", "c.mmd", "d.dot"] {
        assert_eq!(drawn(&[text(&figure4()), "-o", text(&file(name))]), "", "something on standard output");
    }
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    assert!(read("a.svg").starts_with("<svg") && read("a.svg") == read("b.svg"));
    assert!(read("c.mmd").starts_with("flowchart TD"));
    assert_eq!(read("d.dot"), drawn(&[text(&figure4()), "--format", "dot"]));
    for logic in shipped() {
        drawn(&[text(&logic), "-o", text(&file("d.dot"))]);
        assert!(must("dot", &["-Tsvg", text(&file("d.dot"))]).contains("power on"));
    }
}

#[test]
fn without_graphviz_it_says_what_to_install() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_knownstate"));
    let output = command.args(["draw", text(&figure4())]).env("PATH", "/none").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors.contains("apt-get install graphviz"), "{errors}");
}

const MERMAID: &str = r#"flowchart TD
    n0(["power on"]):::good
    n1{"202 · verify mbr of system"}:::question
    n2{"206 · verify P1"}:::question
    n3{"208 · P1 is OK?"}:::question
    n4["210 · set P1 Dirty"]:::action
    n5(["212 · boot P1"]):::good
    n6{"216 · P1 is Clean?"}:::question
    n7["218 · set P1 Dirty"]:::action
    n8(["220 · boot P1"]):::good
    n9["230 · set P1 Dirty"]:::action
    n10["232 · activate P2"]:::action
    n11{"234 · verify P2"}:::question
    n12{"238 · P2 is OK?"}:::question
    n13["240 · set P2 Dirty"]:::action
    n14(["242 · boot P2"]):::good
    n15{"246 · P2 is Clean?"}:::question
    n16["248 · set P2 Dirty"]:::action
    n17(["250 · boot P2"]):::good
    n18["254 · set P2 Dirty"]:::action
    n19["256 · restore system"]:::action
    n20(["restart"]):::good
    n21(["299 · hold #34;no partition boots and the restore failed#34;"]):::stop
    n0 --> n1
    n1 -->|ok| n2
    n1 -->|failed| n19
    n2 -->|ok| n3
    n2 -->|failed| n9
    n3 -->|yes| n4
    n3 -->|no| n6
    n4 --> n5
    n5 -.->|falls through| n10
    n6 -->|yes| n7
    n6 -->|no| n9
    n7 --> n8
    n8 -.->|falls through| n10
    n9 --> n10
    n10 --> n11
    n10 -->|failed| n19
    n11 -->|ok| n12
    n11 -->|failed| n18
    n12 -->|yes| n13
    n12 -->|no| n15
    n13 --> n14
    n14 -.->|falls through| n18
    n15 -->|yes| n16
    n15 -->|no| n18
    n16 --> n17
    n17 -.->|falls through| n18
    n18 --> n19
    n19 --> n20
    n19 -->|failed| n21
"#;

#[test]
fn figure_4_as_mermaid() {
    let text = drawn(&[text(&figure4()), "--format", "mermaid"]);
    let text: Vec<_> = text.lines().filter(|l| !l.contains("classDef") && !l.contains("linkStyle")).collect();
    assert_eq!(text.join("\n") + "\n", MERMAID);
}

/// The steps that a log lights up, with how; the lines that it does; what is said on standard error.
fn lit(file: &Path, log: &Path, more: &[&str]) -> (Vec<String>, Vec<String>, String) {
    let ran = draw(&[&[text(file), "--trace", text(log)], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lit = |group: &Group| group.is("lit").then(|| format!("{}: {}", group.class, group.title.replace('\n', "; ")));
    let groups = groups(&ran.out);
    let (boxes, lines): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.is("node") || group.is("start"));
    let strip = |text: String| text.replace("node ", "").replace("edge ", "").replace("lit ", "");
    let all = |groups: Vec<&Group>| {
        let mut lit: Vec<_> = groups.into_iter().filter_map(lit).map(strip).collect();
        lit.sort();
        lit
    };
    (all(boxes), all(lines), ran.err)
}

/// The same for figure4.txt, whose comment may get longer.
fn lit_figure4(log: &Path, more: &[&str]) -> (Vec<String>, Vec<String>, String) {
    let (boxes, lines, errors) = lit(&figure4(), log, more);
    let all = |texts: Vec<String>| {
        let mut texts: Vec<_> = texts.iter().map(|text| unnumbered(text)).collect();
        texts.sort();
        texts
    };
    (all(boxes), all(lines), errors)
}

/// A title without its line numbers.
fn unnumbered(title: &str) -> String {
    let mut parts = title.split("line ");
    let first = parts.next().unwrap_or_default().to_string();
    let rest = |part: &str| part.split_once(": ").map_or(part, |(_, rest)| rest).to_string();
    first + &parts.map(rest).collect::<String>()
}

#[test]
fn the_last_complete_start_is_lit_up_and_strangers_are_told() {
    let folder = tools::temporary();
    let log = log(folder.path(), LOG);
    let (boxes, lines, errors) = lit_figure4(&log, &[]);
    assert_eq!(
        boxes,
        [
            "action ok: 218 set P1 Dirty; 0.050 s: ok",
            "end ok: 220 boot P1; 0.052 s: ok (drive 80, lba 2048)",
            "question failed: 208 if P1 is OK; 0.045 s: failed (it is Clean)",
            "question ok: 202 verify mbr of system; 0.024 s: ok",
            "question ok: 206 verify P1; 0.036 s: ok (FAT32)",
            "question ok: 216 if P1 is Clean; 0.046 s: ok",
            "start ok: the machine is switched on, or restarts",
        ]
    );
    assert_eq!(
        lines,
        [
            "failure failed: no: 208 if P1 is OK → 216 if P1 is Clean",
            "ok: 218 set P1 Dirty → 220 boot P1",
            "ok: ok: 202 verify mbr of system → 206 verify P1",
            "ok: ok: 206 verify P1 → 208 if P1 is OK",
            "ok: the machine is switched on, or restarts → 202 verify mbr of system",
            "ok: yes: 216 if P1 is Clean → 218 set P1 Dirty",
        ]
    );
    assert!(errors.contains("run.log: log line 11: no such step in ") && errors.contains(": 207 verify P9 = ok"));
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn another_start_and_one_that_breaks_off() {
    let folder = tools::temporary();
    let log = log(folder.path(), LOG);
    let (first, ..) = lit_figure4(&log, &["--start", "1"]);
    assert_eq!(
        first,
        [
            "action ok: 256 restore system; 1.772 s: ok",
            "end ok: restart; 1.773 s: ok",
            "question failed: 202 verify mbr of system; 0.029 s: failed (no 55AA signature)",
            "start ok: the machine is switched on, or restarts",
        ]
    );
    let (third, lines, _) = lit_figure4(&log, &["--start", "3"]);
    assert_eq!(third.len(), 4, "{third:?}");
    assert_eq!(lines[0], "failure failed: failed: 206 verify P1 → 230 set P1 Dirty");
    for number in ["0", "4"] {
        let ran = draw(&[text(&figure4()), "--trace", text(&log), "--start", number]);
        assert!(ran.code == 2 && ran.err.contains("--start takes 1 to 3"), "{}{}", ran.code, ran.err);
    }
}

#[test]
fn a_step_in_which_the_power_went_shows_how_far_it_came() {
    let folder = tools::temporary();
    let until = LOG.find("[    1.772]").unwrap();
    let (boxes, ..) = lit_figure4(&log(folder.path(), &LOG[..until]), &[]);
    let cut = "action cut: 256 restore system; 1.232 s: cut short (P1 P2 68% 12.0 MiB/s, 0 s left)";
    assert!(boxes.contains(&cut.to_string()), "{boxes:?}");
}

#[test]
fn a_log_of_another_flow_is_refused() {
    let folder = tools::temporary();
    let log = log(folder.path(), "[    0.001] - Knownstate 0.1.0\r\n[    0.034] 1 verify P7 = ok\r\nhello\r\n");
    let ran = draw(&[text(&figure4()), "--trace", text(&log)]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("no line is of a step in "), "{}", ran.err);
}

#[test]
fn steps_that_read_the_same_are_told_apart_by_the_flow() {
    let folder = tools::temporary();
    let steps = "\
1 verify P1 else 3
  verify images else 2
2 boot P1
  restart
3 if P2 is OK else 4
  verify images else 4
  goto 5
4 hold \"a = ok (b)\"
5 boot P2
  restart
";
    let lines = "\
[    0.001] - Knownstate 0.1.0
[    0.002] 1 verify P1 = failed (x)
[    0.003] 3 if P2 is OK = ok
[    0.004] - verify images = ok
[    0.005] - goto 5 = ok
[    0.006] 5 boot P2 = failed (no)
[    0.007] - restart = ok
";
    let file = flow(folder.path(), steps);
    let (boxes, lit_lines, _) = lit(&file, &log(folder.path(), lines), &[]);
    assert!(boxes.contains(&"question ok: line 10: verify images; 0.004 s: ok".to_string()), "{boxes:?}");
    assert!(boxes.contains(&"end ok: line 14: restart; 0.007 s: ok".to_string()), "{boxes:?}");
    assert_eq!(boxes.len(), 6, "{boxes:?}");
    assert!(
        lit_lines.contains(&"ok: ok: line 10: verify images → line 11: goto 5 → line 13: 5 boot P2".to_string()),
        "{lit_lines:?}"
    );
    let held = "[    0.002] 1 verify P1 = failed (x)\n[    0.003] 3 if P2 is OK = failed\n\
                [    0.004] 4 hold \"a = ok (b)\" = ok\n[   60.004] 4 hold \"a = ok (b)\" = ok (3 it is Dirty)\n";
    let (boxes, ..) = lit(&file, &log(folder.path(), held), &[]);
    assert!(boxes.contains(&"end ok: line 12: 4 hold \"a = ok (b)\"; 0.004 s: ok".to_string()), "{boxes:?}");
}

#[test]
fn where_lines_of_the_log_are_lost_no_way_is_made_up() {
    let folder = tools::temporary();
    let lost = LOG.replace("[    0.045] 208 if P1 is OK", "[    0.0#5] 208 if P1 is OK");
    let (boxes, lines, _) = lit_figure4(&log(folder.path(), &lost), &[]);
    assert_eq!(boxes.len(), 6, "{boxes:?}");
    assert!(!lines.iter().any(|line| line.contains("→ 216")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("216 if P1 is Clean → 218")), "{lines:?}");
}

#[test]
fn labels_and_texts_that_mean_something_elsewhere_are_only_text() {
    let folder = tools::temporary();
    let steps = "\
a<b>&c verify P1 else 'x'
\\N notify \"<script>&amp;</script> \\n %s #35; `a` ]}) | 漢字\"
'x' goto --
-- hold \"]]> </title> &\"
lost-and-with-a-label-that-is-far-too-long-for-the-place-beside-its-box poweroff
round goto round
";
    let file = flow(folder.path(), steps);
    let svg = drawn(&[text(&file)]);
    says_all(&parsed(&file), &svg).ok();
    let picture = folder.path().join("a.svg");
    fs::write(&picture, &svg).unwrap();
    must("python3", &["-c", "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])", text(&picture)]);
    let boxes = boxes(&svg);
    assert_eq!(boxes.len(), 5, "{:?}", boxes.iter().map(|b| &b.title).collect::<Vec<_>>());
    assert!(boxes.iter().any(|b| b.title == "line 5: a<b>&c verify P1"));
    assert!(boxes.iter().any(|b| b.is("pale") && b.title.contains("poweroff (nothing leads here)")));
    let mermaid = drawn(&[text(&file), "--format", "mermaid"]);
    for bad in ["<script", "]})", "`", "&"] {
        assert!(!mermaid.contains(bad), "{bad} is in\n{mermaid}");
    }
    let dot = folder.path().join("a.dot");
    drawn(&[text(&file), "-o", text(&dot)]);
    assert!(must("dot", &["-Tsvg", text(&dot)]).contains("&lt;script&gt;&amp;amp;"), "dot took the text for its own");
}

#[test]
fn a_thousand_steps_are_drawn_within_seconds_wherever_they_lead() {
    let folder = tools::temporary();
    // Next door, all to one place, all over the place, and into circles.
    let targets: [fn(usize) -> usize; 4] = [|n| n + 1, |_| 999, |n| n * 7919 % 1000, |n| n / 2];
    for (which, target) in targets.iter().enumerate() {
        for steps in [200, 1000] {
            let step = |n: usize| format!("L{n} verify P1 else L{}\n", target(n) % steps);
            let text_of: String = (0..steps - 1).map(step).collect();
            let file = flow(folder.path(), &format!("{text_of}L{} hold \"end\"\n", steps - 1));
            let begin = Instant::now();
            let svg = drawn(&[text(&file)]);
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(10), "{steps} steps of kind {which} took {took:?}");
            assert_eq!(boxes(&svg).len(), steps, "kind {which}");
        }
    }
}

#[test]
fn docs_show_the_shipped_files() {
    for file in shipped() {
        let picture = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs/logic")
            .join(file.with_extension("svg").file_name().unwrap());
        let svg = fs::read_to_string(&picture);
        let said = svg.map_err(|e| e.to_string()).and_then(|svg| says_all(&parsed(&file), &svg));
        said.unwrap_or_else(|why| panic!("{}: {why}; `make docs` draws it anew", picture.display()));
    }
}
