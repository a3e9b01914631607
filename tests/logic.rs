//! logic.txt: what is good parses, and what is wrong is said with its place and what would be right.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

use common::hostile::Random;
use knownstate_core::logic::{self, Cd, DiskState, Program, Size, Verb, Wish};
use knownstate_core::machine::Watchdog;
use knownstate_core::units::SectorCount;

const BASE: &str = "\
logic 1
disk d sectors 8192
partition P1 on d start 64 sectors 1024 type 0c image a.img
partition P2 on d start 2048 sectors 1024 type 83
1 verify P1 else 2
2 hold \"done\"
";

fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("iso/logic");
    let files = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path());
    let texts = files.filter(|f| f.extension().is_some_and(|e| e == "txt"));
    texts.map(|f| (f.display().to_string(), fs::read_to_string(&f).unwrap())).collect()
}

fn parsed(text: &str) -> Program {
    logic::parse(text)
        .unwrap_or_else(|all| panic!("{}", all.iter().map(|d| d.render("logic.txt", text) + "\n").collect::<String>()))
}

/// All that is wrong, as the host tool prints it.
fn wrong(text: &str) -> String {
    let all = logic::parse(text).err().unwrap_or_else(|| panic!("nothing is found wrong with:\n{text}"));
    all.iter().map(|d| d.render("logic.txt", text) + "\n").collect()
}

#[test]
fn every_shipped_logic_txt_parses() {
    let shipped = shipped();
    assert!(shipped.len() >= 2, "iso/logic has only {shipped:?}");
    for (path, text) in shipped {
        assert!(logic::parse(&text).is_ok(), "{path}:\n{}", wrong(&text));
        let steps = text.lines().filter(|l| !l.trim_start().starts_with('#') && !l.trim().is_empty()).count();
        let program = parsed(&text);
        let declared = 1 + program.disk_indexes().count() + program.partition_names().count();
        assert_eq!(program.steps().len() + declared, steps, "{path}: every statement is a declaration or a step");
    }
}

/// What is said of words that belong to the language and are not built yet.
const LATER: &str = "leave it out: this version can't do it";

/// A mistake made in `BASE`: what is replaced by what; then line, column and the wrong characters;
/// then what has to be said.
const MISTAKES: &[(&str, &str, usize, usize, &str, &str, &str)] = &[
    // Words.
    ("verify P1", "verfy P1", 5, 3, "verfy", "unknown step `verfy`", "did you mean `verify`?"),
    ("hold", "hodl", 6, 3, "hodl", "unknown step `hodl`", "did you mean `hold`?"),
    (
        "verify P1",
        "frobnicate P1",
        5,
        3,
        "frobnicate",
        "unknown step `frobnicate`",
        "known: verify, if, set, activate, boot, repair, heal, restore, watchdog, wait, notify, goto, restart, hold, \
            poweroff",
    ),
    ("verify P1", "if P1 was OK", 5, 9, "was", "unknown condition `was`", "known: is, failures, crashes"),
    ("verify P1", "if P1 is Claen", 5, 12, "Claen", "unknown state `Claen`", "did you mean `Clean`?"),
    ("verify P1", "if P1 failures under 3", 5, 18, "under", "expected `below`, found `under`", "write `below` here"),
    ("verify P1", "wait long", 5, 8, "long", "`long` is not a whole number", "write a number of seconds, such as 3"),
    ("verify P1", "verify mbr on d", 5, 14, "on", "expected `of`, found `on`", "write `of` here"),
    (
        "verify P1",
        "heal P1 from P1",
        5,
        16,
        "P1",
        "a partition can't be healed from itself",
        "name another partition that holds the same system",
    ),
    ("verify P1", "heal P1 from P9", 5, 16, "P9", "unknown partition `P9`", "did you mean `P1`?"),
    // Watchdogs.
    ("verify P1", "watchdg 30", 5, 3, "watchdg", "unknown step `watchdg`", "did you mean `watchdog`?"),
    (
        "verify P1",
        "watchdog soon",
        5,
        12,
        "soon",
        "`soon` is not a whole number",
        "write a number of seconds, such as 3",
    ),
    (
        "verify P1",
        "watchdog ib700 30",
        5,
        12,
        "ib700",
        "`ib700` is not a whole number",
        "write a number of seconds, such as 3",
    ),
    ("verify P1", "watchdog 0", 5, 12, "0", "a watchdog can't be set to 0 s", "write 1 to 600 seconds"),
    ("verify P1", "watchdog 601", 5, 12, "601", "a watchdog can't be set to 601 s", "write 1 to 600 seconds"),
    ("verify P1", "watchdog 601 itco", 5, 12, "601", "iTCO can't be set to 601 s", "write 1 to 600 seconds"),
    ("verify P1", "watchdog 31 ib700", 5, 12, "31", "ib700 can't be set to 31 s", "write 1 to 30 seconds"),
    ("verify P1", "watchdog 30 6300ESB", 5, 15, "6300ESB", "unknown watchdog `6300ESB`", "did you mean `i6300ESB`?"),
    ("verify P1", "watchdog 30 ib7000", 5, 15, "ib7000", "unknown watchdog `ib7000`", "did you mean `ib700`?"),
    (
        "verify P1",
        "watchdog 30 softdog",
        5,
        15,
        "softdog",
        "unknown watchdog `softdog`",
        "known: i6300ESB, iTCO, ib700",
    ),
    ("verify P1 else 2", "watchdog 60", 5, 15, " ", "`watchdog` can fail and has no `else`", "write `else LABEL` here"),
    (
        "verify P1 else 2",
        "watchdog else 2",
        5,
        12,
        "else",
        "`else` is not a whole number",
        "write a number of seconds, such as 3",
    ),
    // Names.
    ("verify P1", "verify P3", 5, 10, "P3", "unknown partition `P3`", "did you mean `P1`?"),
    ("verify P1", "verify p1", 5, 10, "p1", "unknown partition `p1`", "did you mean `P1`?"),
    ("verify P1", "verify Partition9", 5, 10, "Partition9", "unknown partition `Partition9`", "known: P1, P2"),
    ("verify P1", "verify mbr of disk9", 5, 17, "disk9", "unknown disk `disk9`", "known: d"),
    ("P2 on d", "P2 on disk9", 4, 17, "disk9", "unknown disk `disk9`", "known: d"),
    ("verify P1", "restore P9", 5, 11, "P9", "unknown disk or partition `P9`", "did you mean `P1`?"),
    ("else 2", "else nowhere", 5, 18, "nowhere", "unknown label `nowhere`", "known: 1, 2"),
    ("verify P1 else 2", "goto nowhere", 5, 8, "nowhere", "unknown label `nowhere`", "known: 1, 2"),
    (
        "hold \"done\"\n",
        "goto 1\n1 hold \"done\"\n",
        7,
        1,
        "1",
        "label `1` stands twice",
        "give every step a label of its own",
    ),
    (
        "partition P2",
        "partition P1",
        4,
        11,
        "P1",
        "`P1` is declared twice",
        "give every disk and partition a name of its own",
    ),
    (
        "partition P2",
        "partition d",
        4,
        11,
        "d",
        "`d` is declared twice",
        "give every disk and partition a name of its own",
    ),
    (
        "partition P2",
        "partition a-long-name",
        4,
        11,
        "a-long-name",
        "`a-long-name` can't be a name",
        "use 1 to 8 letters, digits, - and _",
    ),
    ("partition P2", "partition P.2", 4, 11, "P.2", "`P.2` can't be a name", "use 1 to 8 letters, digits, - and _"),
    (
        "partition P2",
        "partition booting",
        4,
        11,
        "booting",
        "`booting` means something else here",
        "choose another name",
    ),
    // Places.
    (
        "start 2048",
        "start 1000",
        4,
        1,
        "partition",
        "the partition overlaps P1, sectors 64 to 1087",
        "move it, or make one of them shorter",
    ),
    (
        "start 2048",
        "start 7169",
        4,
        1,
        "partition",
        "the partition ends at sector 8193, the disk at 8192",
        "make it shorter, or the disk larger",
    ),
    (
        "start 2048",
        "start 0",
        4,
        1,
        "partition",
        "a partition needs a start and a length above 0",
        "sector 0 is the MBR",
    ),
    ("type 83", "type 00", 4, 1, "partition", "type 00 means an empty entry", "0c is FAT32, 06 FAT16, 83 Linux"),
    (
        "type 83",
        "type 8g",
        4,
        48,
        "8g",
        "`8g` is not a partition type (0c is FAT32, 06 FAT16, 83 Linux)",
        "write 2 hexadecimal digits",
    ),
    ("1 verify P1", "1: verify P1", 5, 1, "1:", "a label has no colon", "write `1`"),
    ("else 2", "esle 2", 5, 13, "esle", "unknown word `esle`", "did you mean `else`?"),
    ("type 83", "image b.img", 4, 55, " ", "`type HEX2` is missing", "write `type HEX2` here"),
    (
        "type 83",
        "type 83 colour",
        4,
        51,
        "colour",
        "unknown word `colour`",
        "known: start, sectors, type, image, protect, tools",
    ),
    (
        "start 2048",
        "start 1MB",
        4,
        25,
        "1MB",
        "`1MB` is not a number of sectors",
        "write a number of 512-byte sectors, such as 409600, or a size such as 200MiB",
    ),
    (
        "sectors 1024 type 83",
        "sectors 99999999999999999GiB type 83",
        4,
        38,
        "99999999999999999GiB",
        "`99999999999999999GiB` is not a number of sectors",
        "write a number of 512-byte sectors, such as 409600, or a size such as 200MiB",
    ),
    // Who the CD is.
    ("disk d", "cd web version 3\ndisk d", 2, 4, "web", "the text has no quotes", "put it in \"quotes\""),
    (
        "disk d",
        "cd \" web\" version 3\ndisk d",
        2,
        4,
        "\" web\"",
        "` web` can't be a CD's name",
        "use 1 to 24 ASCII characters, without blanks at the ends",
    ),
    (
        "disk d",
        "cd \"\" version 3\ndisk d",
        2,
        4,
        "\"\"",
        "`` can't be a CD's name",
        "use 1 to 24 ASCII characters, without blanks at the ends",
    ),
    (
        "disk d",
        "cd \"web\" was \"a name of twenty-five byte\" version 3\ndisk d",
        2,
        14,
        "\"a name of twenty-five byte\"",
        "`a name of twenty-five byte` can't be a CD's name",
        "use 1 to 24 ASCII characters, without blanks at the ends",
    ),
    ("disk d", "cd \"web\"\ndisk d", 2, 10, " ", "`version` is missing", "write `version` here"),
    (
        "disk d",
        "cd \"web\" version new\ndisk d",
        2,
        18,
        "new",
        "`new` is not a whole number",
        "write a version number, such as 3",
    ),
    (
        "disk d",
        "cd \"web\" version 3\ncd \"web\" version 4\ndisk d",
        3,
        1,
        "cd",
        "the CD has two names",
        "leave one `cd` line; earlier names stand behind its `was`",
    ),
    // Disks.
    (
        "sectors 8192",
        "sectors 8192 table gpt",
        2,
        27,
        "gpt",
        "`table gpt` is not built yet",
        "write `table mbr`, or leave `table` out, which means the same",
    ),
    ("sectors 8192", "sectors 8192 table sun", 2, 27, "sun", "unknown table `sun`", "known: mbr, gpt"),
    ("sectors 8192", "sectors 8192 adpot", 2, 21, "adpot", "unknown word `adpot`", "did you mean `adopt`?"),
    ("verify P1", "if d is OK", 5, 11, "OK", "unknown answer `OK`", "known: ours, blank, foreign, unclear"),
    ("verify P1", "if P1 is ours", 5, 12, "ours", "unknown state `ours`", "known: OK, Clean, Dirty"),
    // Wishes.
    ("verify P1", "if next is P9", 5, 14, "P9", "unknown wish `P9`", "did you mean `P1`?"),
    ("verify P1", "if next P1", 5, 11, "P1", "expected `is`, found `P1`", "write `is` here"),
    // What a restore may do.
    (
        "verify P1",
        "restore d allow everything",
        5,
        19,
        "everything",
        "a restore can't allow `everything`",
        "write `allow good copies` or `allow losing what is not protected`",
    ),
    ("verify P1", "restore d allow losing data", 5, 26, "data", "expected `what`, found `data`", "write `what` here"),
    (
        "verify P1",
        "restore P1 allow good copies allow good copies",
        5,
        38,
        "good",
        "`allow good` stands twice",
        "say it once",
    ),
    // What is not built yet.
    ("verify P1", "leave", 5, 3, "leave", "`leave` is not built yet", LATER),
    ("verify P1", "menu 5", 5, 3, "menu", "`menu` is not built yet", LATER),
    ("verify P1", "key a.pub", 5, 3, "key", "`key` is not built yet", LATER),
    ("verify P1", "trial 3", 5, 3, "trial", "`trial` is not built yet", LATER),
    ("verify P1", "crashlog at 0 size 1", 5, 3, "crashlog", "`crashlog` is not built yet", LATER),
    ("verify P1", "copies P1 P2", 5, 3, "copies", "`copies` is not built yet", LATER),
    ("verify P1", "each C of copies", 5, 3, "each", "`each` is not built yet", LATER),
    ("verify P1", "end", 5, 3, "end", "`end` is not built yet", LATER),
    ("verify P1", "console com2", 5, 3, "console", "`console` is not built yet", LATER),
    ("verify P1", "dma off", 5, 3, "dma", "`dma` is not built yet", LATER),
    ("verify P1", "verify P1 slice 4", 5, 13, "slice", "`slice` is not built yet", LATER),
    ("verify P1", "if reset was power", 5, 6, "reset", "`reset` is not built yet", LATER),
    ("verify P1", "if P1 is shipped", 5, 12, "shipped", "`shipped` is not built yet", LATER),
    ("verify P1", "if P1 is older", 5, 12, "older", "`older` is not built yet", LATER),
    ("verify P1", "if P1 proved within 9", 5, 9, "proved", "`proved` is not built yet", LATER),
    ("verify P1", "if P1 trial below 3", 5, 9, "trial", "`trial` is not built yet", LATER),
    ("verify P1", "if P1 reports below 3", 5, 9, "reports", "`reports` is not built yet", LATER),
    ("verify P1", "if any others is OK", 5, 6, "any", "`any` is not built yet", LATER),
    ("verify P1", "if P1 is OK or Clean", 5, 15, "or", "`or` is not built yet", LATER),
    ("verify P1", "if P1 is OK and P2 is OK", 5, 15, "and", "`and` is not built yet", LATER),
    ("verify P1 else 2", "boot P1 linux vmlinuz", 5, 11, "linux", "`linux` is not built yet", LATER),
    ("verify P1 else 2", "boot active of d", 5, 8, "active", "`active` is not built yet", LATER),
    ("verify P1", "heal P1 from others", 5, 16, "others", "`others` is not built yet", LATER),
    ("verify P1 else 2", "set P1 trial", 5, 10, "trial", "`trial` is not built yet", LATER),
    ("verify P1 else 2", "hold \"x\" retry 5", 5, 12, "retry", "`retry` is not built yet", LATER),
    ("verify P1 else 2", "goto next", 5, 8, "next", "`next` is not built yet", LATER),
    ("sectors 1024 type 83", "sectors rest type 83", 4, 38, "rest", "`rest` is not built yet", LATER),
    ("a.img", "a.img version 3", 3, 61, "version", "`version` is not built yet", LATER),
    ("a.img", "a.img protect all from cd", 3, 73, "from", "`from` is not built yet", LATER),
    ("a.img", "a.img protect /boot from cd", 3, 75, "from", "`from` is not built yet", LATER),
    // Words that mean something.
    ("1 verify", "end verify", 5, 1, "end", "`end` means something else here", "choose another name"),
    ("partition P2", "partition next", 4, 11, "next", "`next` means something else here", "choose another name"),
    ("partition P2", "partition CD", 4, 11, "CD", "`CD` means something else here", "choose another name"),
    ("partition P2", "partition hold", 4, 11, "hold", "`hold` means something else here", "choose another name"),
    (
        "start 2048",
        "start 1",
        4,
        1,
        "partition",
        "a partition can't start at sector 1",
        "start it at sector 2048, or at 2 at the least: a restore leaves its second note before it",
    ),
    (
        "type 83",
        "type 0F",
        4,
        1,
        "partition",
        "type 0f is no partition that holds a system or data",
        "write the type of the filesystem in it: 0c is FAT32, 06 FAT16, 83 Linux",
    ),
    (
        "type 83",
        "type ee",
        4,
        1,
        "partition",
        "type ee is no partition that holds a system or data",
        "write the type of the filesystem in it: 0c is FAT32, 06 FAT16, 83 Linux",
    ),
    // Images.
    ("verify P1", "restore P2", 5, 11, "P2", "P2 has no image", "give it an `image FILE` where it is declared"),
    // What has to follow, and what must not.
    (" else 2", "", 5, 13, " ", "`verify` can fail and has no `else`", "write `else LABEL` here"),
    ("verify P1 else 2", "restart else 2", 5, 11, "else", "`restart` never fails", "leave `else` out"),
    ("verify P1 else 2", "notify \"x\" else 2", 5, 14, "else", "`notify` never fails", "leave `else` out"),
    ("verify P1 else 2", "hold done", 5, 8, "done", "the text has no quotes", "put it in \"quotes\""),
    ("verify P1 else 2", "hold \"done\" now", 5, 15, "now", "`now` is one word too many", "end the line before it"),
    ("verify P1 else 2", "verify P1 else 2 3", 5, 20, "3", "`3` is one word too many", "end the line before it"),
    ("verify P1 else 2", "hold", 5, 8, " ", "a text in quotes is missing", "write a text in quotes here"),
    (
        "verify P1 else 2",
        "notify \"done",
        5,
        10,
        "\"done",
        "this quote is never closed",
        "end the text with a second \"",
    ),
    ("verify P1 else 2", "notify \"do\u{1b}ne\"", 5, 13, "?", "the character 1Bh can't be shown", "delete it"),
    (
        "hold \"done\"",
        "boot P1",
        6,
        1,
        "2",
        "the flow runs past the last step, `boot P1`",
        "end it with `hold`, `restart`, `poweroff` or `goto`",
    ),
    // The whole file.
    ("logic 1", "logic 2", 1, 7, "2", "unknown language version `2`", "this program reads `logic 1`"),
    ("logic 1", "logic", 1, 7, " ", "the language version, 1, is missing", "write the language version, 1, here"),
    ("logic 1", "", 1, 1, " ", "the language version is missing", "write `logic 1` once, as the first line"),
];

#[test]
fn every_mistake_has_its_own_message_at_its_place() {
    for &(old, new, line, column, word, message, help) in MISTAKES {
        assert!(BASE.contains(old), "the table's `{old}` is not in BASE");
        let text = BASE.replacen(old, new, 1);
        let source = text.lines().nth(line - 1).unwrap().replace('\u{1b}', "?");
        let (padding, carets) = (" ".repeat(column - 1), "^".repeat(word.len()));
        let place = format!("logic.txt:{line}:{column}: error: {message}");
        let expected = format!("{place}\n    {line} | {source}\n      | {padding}{carets}\n      = {help}\n");
        assert_eq!(wrong(&text), expected, "`{old}` made `{new}` (left: said, right: expected)");
    }
}

/// The loader's form of the same: 64 columns, which are 78 with the time, on a screen of 80.
#[test]
fn the_loader_says_the_same_in_narrow_lines() {
    let far = format!("{}frobnicate", " ".repeat(150));
    let more = [("verify P1", far.as_str(), 5, 153, "frobnicate", "unknown step `frobnicate`", "known: verify")];
    for &(old, new, _, _, word, message, help) in MISTAKES.iter().chain(&more) {
        let text = BASE.replacen(old, new, 1);
        let first = logic::parse(&text).expect_err("it is wrong").remove(0);
        let lines = first.narrow(&text);
        assert!(lines.iter().all(|l| l.chars().count() <= 64), "too wide: {lines:#?}");
        let said = lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(message) && said.contains(help), "{said}\nlacks {message} or {help}");
        let carets = lines.iter().position(|l| l.trim_start().starts_with('^')).expect("there are carets");
        let (source, under) = (&lines[carets - 1], &lines[carets]);
        let at = under.find('^').expect("there are carets");
        let shown: String = source.chars().skip(at).take(word.chars().count()).collect();
        let word = &word[..word.len().min(shown.len())];
        assert!(shown.starts_with(word) || shown.trim().is_empty(), "the carets stand under `{shown}`: {lines:#?}");
    }
    let text = BASE.replacen("verify P1", "verfy P1", 1);
    let wanted =
        ["line 5, column 3: unknown step `verfy`", "  1 verfy P1 else 2", "    ^^^^^", "  did you mean `verify`?"];
    assert_eq!(logic::parse(&text).expect_err("it is wrong").remove(0).narrow(&text), wanted);
}

#[test]
fn a_mistake_in_a_disk_is_said_first() {
    for (sectors, place) in [("8MB", "2:16"), ("8 MiB", "2:18"), ("8192 signature 123", "2:31"), ("8192 mbr", "2:25")] {
        let said = wrong(&BASE.replace("sectors 8192", &format!("sectors {sectors}")));
        assert!(said.starts_with(&format!("logic.txt:{place}: error: ")), "{said}");
    }
}

#[test]
fn a_fifth_partition_and_a_restore_of_nothing_are_errors() {
    let more: String = (4..=6).map(|n| format!("partition p{n} on d start {n}000 sectors 9 type 83\n")).collect();
    let said = wrong(&BASE.replace("1 verify", &format!("{more}1 verify")));
    assert!(said.starts_with("logic.txt:7:1: error: a disk has at most four partitions\n"), "{said}");
    let none = BASE.replace(" image a.img", "").replace("verify P1", "restore d");
    assert!(wrong(&none).starts_with("logic.txt:5:11: error: no partition of d has an image\n"), "{}", wrong(&none));
    let steps = BASE.find("1 verify").unwrap();
    assert!(
        wrong(&BASE[..steps]).starts_with("logic.txt:1:1: error: there have to be 1 to 1000 steps, and there are 0\n")
    );
    let twice = wrong(&format!("{BASE}logic 1\n"));
    assert!(twice.contains(": error: the language version stands twice\n"), "{twice}");
}

#[test]
fn more_than_anybody_writes_is_refused() {
    let long = wrong(&BASE.replace("done", &"x".repeat(400)));
    assert!(long.starts_with("logic.txt:6:1: error: a line of 409 bytes, after 5 statements\n"), "{long}");
    let many = wrong(&BASE.replace("1 verify", &format!("{}1 verify", "restart\n".repeat(1500))));
    assert!(many.starts_with("logic.txt:1202:1: error: a line of 7 bytes, after 1201 statements\n"), "{many}");
    let steps = wrong(&BASE.replace("1 verify", &format!("{}1 verify", "restart\n".repeat(1000))));
    assert!(steps.contains("there have to be 1 to 1000 steps, and there are 1002\n"), "{steps}");
    assert_eq!(wrong(&"bot P1\n".repeat(900)).matches(": error: ").count(), 100, "nobody reads more at once");
}

#[test]
fn names_that_would_not_fit_bstate_are_refused() {
    let mut text = String::from("logic 1\n");
    for n in 0..12 {
        text += &format!("disk d{n} sectors {}\npartition longpt{n:02} on d{n} start 64 sectors 9 type 83\n", 8192 + n);
    }
    text += "hold \"x\"\n";
    logic::parse(&text).expect("of partitions without an image bstate.txt says nothing");
    let text = text.replace("type 83\n", "type 83 image a.img\n");
    assert!(wrong(&text).contains("bstate.txt's 512 bytes can't hold the state of so many partitions"));
}

/// A disk whose name can't be one: its partitions and their steps are not told of.
#[test]
fn a_bad_name_is_told_once() {
    for (old, new) in [("disk d ", "disk /dev/sda "), (" P1 on", " a_long_partition on")] {
        let text = BASE.replace(old, new).replace(" on d ", if old == "disk d " { " on /dev/sda " } else { " on d " });
        let text = if old == " P1 on" { text.replace("verify P1", "verify a_long_partition") } else { text };
        assert_eq!(logic::parse(&text).expect_err("it is wrong").len(), 1, "{}", wrong(&text));
    }
}

#[test]
fn all_mistakes_are_said_at_once_in_the_order_of_lines() {
    let text = "\
logic 1
disk d sectors 8192
partition P1 on d start 64 sectors 1024 type 0c image a.img
partition P2 on e start 2048 sectors 1024 type 83
1 verfy P1 else 2
2 set P1 Durty
3 hold \"x
4 goto 99
5 hold \"done\"
";
    let said = wrong(text);
    let places: Vec<&str> =
        said.lines().filter_map(|l| l.strip_prefix("logic.txt:")?.split_once(": error").map(|(p, _)| p)).collect();
    assert_eq!(places, ["4:17", "5:3", "6:10", "7:8", "8:8"], "{said}");
}

#[test]
fn a_place_is_right_behind_tabs_a_bom_and_letters_of_several_bytes() {
    let text = "\u{feff}logic 1\r\n\tnotify \"gr\u{fc}\u{df}e\"\tnow\r\nhold \"x\"\r\n";
    let expected = "\
logic.txt:2:17: error: `now` is one word too many
    2 | \tnotify \"gr\u{fc}\u{df}e\"\tnow
      | \t              \t^^^
      = end the line before it
";
    assert_eq!(wrong(text), expected);
    let bom = "\u{feff}logik 1\nhold \"x\"\n";
    assert!(wrong(bom).contains("    1 | logik 1\n"), "{}", wrong(bom));
}

#[test]
fn how_a_file_is_written_does_not_matter() {
    let plain = parsed(BASE);
    let crlf = BASE.replace('\n', "\r\n");
    let no_end = BASE.trim_end().to_string();
    let variants = [
        ("CRLF", crlf.clone()),
        ("BOM", format!("\u{feff}{BASE}")),
        ("BOM and CRLF", format!("\u{feff}{crlf}")),
        ("no newline at the end", no_end),
        ("tabs", BASE.replace(' ', "\t \t")),
        ("spaces at the ends", BASE.replace('\n', "  \n  ")),
        ("comments", BASE.replace('\n', "# comment \"quoted\n")),
        ("keywords in capitals", BASE.replace("verify", "VERIFY").replace("else", "Else").replace("logic", "LOGIC")),
        (
            "sizes",
            BASE.replace("8192", "4MiB").replace("sectors 1024", "sectors 512kib").replace("start 2048", "start 1MIB"),
        ),
    ];
    for (name, text) in variants {
        let mut program = format!("{:?}", parsed(&text));
        program = program.replace("VERIFY P1", "verify P1");
        assert_eq!(program, format!("{plain:?}"), "{name}");
    }
    let blank_lines = parsed(&BASE.replace('\n', "\n\n# comment\n   \n"));
    assert_eq!(blank_lines.steps().len(), 2);
    let hash = parsed(&BASE.replace("done", "done # no comment"));
    assert_eq!(hash.steps()[1].text, "hold \"done # no comment\"");
}

#[test]
fn a_cd_has_a_name_and_earlier_ones() {
    assert_eq!(parsed(BASE).cd(), None);
    let named = |line: &str| parsed(&BASE.replacen("disk d", &format!("{line}\ndisk d"), 1)).cd().cloned();
    let cd = |name: &str, was: &[&str], version| {
        let was = was.iter().map(ToString::to_string).collect();
        Some(Cd { name: name.into(), was, version })
    };
    assert_eq!(named("cd \"Web appliance\" version 3"), cd("Web appliance", &[], 3));
    let longest = "cd \"exactly twenty-four byte\" was \"Web\" \"a=b\" version 4294967295";
    assert_eq!(named(longest), cd("exactly twenty-four byte", &["Web", "a=b"], u32::MAX));
}

#[test]
fn a_disk_may_be_adopted_and_its_table_named() {
    for (words, adopt) in [("", false), (" adopt", true), (" table mbr", false), (" adopt table MBR mbr any", true)] {
        let program = parsed(&BASE.replace("8192", &format!("8192{words}")));
        let disk = program.disk(program.disk_indexes().next().unwrap());
        assert_eq!(disk.adopt, adopt, "{words}");
    }
}

#[test]
fn disks_and_wishes_are_asked_for() {
    let program = parsed(BASE);
    let (disk, p2) = (program.disk_indexes().next().unwrap(), program.partition_indexes().nth(1).unwrap());
    for (written, verb) in [
        ("if d is ours", Verb::IfDisk(disk, DiskState::Ours)),
        ("if d is Blank", Verb::IfDisk(disk, DiskState::Blank)),
        ("if d is foreign", Verb::IfDisk(disk, DiskState::Foreign)),
        ("if d is unclear", Verb::IfDisk(disk, DiskState::Unclear)),
        ("if next is P2", Verb::IfNext(Wish::Partition(p2))),
        ("if next is restore", Verb::IfNext(Wish::Restore)),
        ("if NEXT is hold", Verb::IfNext(Wish::Hold)),
    ] {
        let step = parsed(&BASE.replace("verify P1", written)).steps()[0].clone();
        assert_eq!((&step.verb, step.text.as_str(), step.otherwise), (&verb, written, Some(1)));
    }
}

#[test]
fn a_restore_says_what_it_may_destroy() {
    let (good, loss) = ("allow good copies", "allow losing what is not protected");
    let cases = [
        (String::new(), false, false),
        (good.into(), true, false),
        (loss.into(), false, true),
        (format!("{good} {loss}"), true, true),
        (format!("{loss} {good}"), true, true),
    ];
    for (words, allows_good, allows_loss) in cases {
        for what in ["P1", "d"] {
            let written = format!("restore {what} {words}").trim().to_string();
            let step = parsed(&BASE.replace("verify P1", &written)).steps()[0].clone();
            assert_eq!((step.allows_good, step.allows_loss, step.text), (allows_good, allows_loss, written));
        }
    }
}

#[test]
fn a_watchdog_may_be_named() {
    for (written, seconds, chip) in [
        ("1", 1, None),
        ("600", 600, None),
        ("30 ib700", 30, Some(Watchdog::Ib700)),
        ("600 I6300esb", 600, Some(Watchdog::I6300esb)),
        ("60 itco", 60, Some(Watchdog::Itco)),
    ] {
        let program = parsed(&BASE.replace("verify P1", &format!("watchdog {written}")));
        assert_eq!(program.steps()[0].verb, Verb::Watchdog { seconds, chip }, "watchdog {written}");
        assert_eq!(program.steps()[0].text, format!("watchdog {written}"), "as written");
    }
}

#[test]
fn sizes_are_counted_in_sectors() {
    for (written, sectors) in [("8192", 8192), ("4096KiB", 8192), ("100MiB", 204_800), ("3GiB", 6_291_456)] {
        for (suffix, size) in [("", Size::Exactly(SectorCount(sectors))), ("..", Size::AtLeast(SectorCount(sectors)))] {
            let program = parsed(&BASE.replace("8192", &format!("{written}{suffix}")));
            let disk = program.disk_indexes().next().unwrap();
            assert_eq!(program.disk(disk).sectors, size, "sectors {written}{suffix}");
        }
    }
}

/// A change to a text that a slip of the keyboard, a broken disk or an enemy could have made.
fn mutated(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let word = random.pick(&words);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            1 => bytes.insert(at, *random.pick(b" \t\r\n\"#.0919AZelse\x00\xC3\xA4\xEF\xBB\xBF")),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, format!(" {word} ").bytes())),
            5 => drop(bytes.splice(at..at, format!("\n{}\n", random.pick(&lines)).bytes())),
            6 => drop(bytes.splice(at..at, (random.next() << random.below(64)).to_string().bytes())),
            _ => drop(bytes.drain(at..(at + random.below(40)).min(bytes.len()))),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_mutation_of_a_good_file_makes_the_parser_panic() {
    let figure4 = shipped().into_iter().find(|(path, _)| path.ends_with("figure4.txt")).unwrap().1;
    for seed in 1..=20_000 {
        let text = mutated(&mut Random::new(seed), &figure4);
        let verdict = std::panic::catch_unwind(|| {
            let Err(all) = logic::parse(&text) else { return };
            assert!(!all.is_empty(), "refused without a reason");
            assert!(all.is_sorted_by_key(|d| (d.line, d.column)), "not in the order of lines: {all:#?}");
            for d in &all {
                let placed = d.line > 0 && d.column > 0 && d.width > 0;
                assert!(placed && d.render("f", &text).contains(" | ") && !d.to_string().contains('\n'), "{d:?}");
            }
        });
        assert!(verdict.is_ok(), "seed {seed} replays this; the text is:\n{text}");
    }
}

/// Counts what a thread has allocated, and the most that it had at once.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; the counters are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        NOW.set(NOW.get() + layout.size());
        PEAK.set(PEAK.get().max(NOW.get()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.set(NOW.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The loader's heap has 4 MiB (linker/memory.rs), and there it ends with a panic. No file of the
/// length that it reads may ask for more, however it is filled.
#[test]
fn no_file_that_the_loader_reads_takes_more_memory_than_it_has() {
    let limit = logic::MAX_BYTES;
    let filled = |line: &str| line.repeat(limit / line.len());
    let half = "x".repeat(limit / 2 - 20);
    let labels = |length: usize| -> String { (0..150).map(|n| format!("{n:0>length$} restart\n")).collect() };
    let gotos = |length| "goto nowhere\n".repeat((limit - labels(length).len()) / 13);
    for (name, text) in [
        ("words", filled("a ")),
        ("words of a declaration", format!("logic {}", filled("1 "))),
        ("lines", filled("a\n")),
        ("steps", filled("restart\n")),
        ("misspelt steps", filled("goto x\n")),
        ("mistakes that list labels", labels(30) + &gotos(30)),
        ("mistakes that list long labels", labels(380) + &gotos(380)),
        ("long lines", filled(&format!("{}\n", "a ".repeat(199)))),
        ("long tools", filled(&format!("partition P on d tools {}\n", "a ".repeat(180)))),
        ("tools", format!("partition P on d tools {}", filled("a "))),
        ("one word", "x".repeat(limit)),
        ("a long label looked for near another", format!("{half} restart\ngoto y{half}\n")),
        ("declarations", filled("disk d sectors 1\n")),
        ("quotes", filled("\"\" ")),
    ] {
        NOW.set(0);
        PEAK.set(0);
        let _ = logic::parse(&text);
        let mib = PEAK.get() as f64 / f64::from(1 << 20);
        assert!(mib < 3.0, "64 KiB of {name} take {mib:.1} MiB; the loader has 4, and needs some for buffers");
    }
}

#[test]
fn a_mistake_in_a_declaration_is_told_once() {
    let text = "logic 1\ndisk d sectors 1000x\npartition P1 on d start 8 sectors 8 type 0\n\
        1 verify mbr of d else 9\n2 if P1 is OK else 9\n3 boot P1\n9 hold \"no\"\n";
    let lines: Vec<usize> = logic::parse(text).expect_err("it has two mistakes").iter().map(|d| d.line).collect();
    assert_eq!(lines, [2, 3], "the steps that use the names are right");
}
