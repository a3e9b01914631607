//! From text to a checked [`Program`], or to all that is wrong with it.
//!
//! Declarations are read first and steps second, so that the order of lines matters only among the
//! steps; labels are known before any step is.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Arguments;

use super::diagnostic::{Diagnostic, Parsed, nearest};
use super::line::{Line, Word, split};
use super::program::{
    Cd, Disk, DiskIndex, DiskState, MbrCode, Partition, PartitionIndex, Program, Protect, Size, Step, Verb, Wish,
};
use crate::bstate::{self, State};
use crate::machine::Watchdog;
use crate::units::{Lba, SectorCount};

/// Every word that a step may begin with.
const VERBS: [&str; 15] = [
    "verify", "if", "set", "activate", "boot", "repair", "heal", "restore", "watchdog", "wait", "notify", "goto",
    "restart", "hold", "poweroff",
];
/// Words that begin a declaration.
const DECLARATIONS: [&str; 4] = ["logic", "cd", "disk", "partition"];
/// Words that begin what belongs to the language and is not built yet.
const LATER: [&str; 10] = ["leave", "menu", "key", "trial", "crashlog", "copies", "each", "end", "console", "dma"];
/// Words that mean something where a name or a label may stand, now or in what is not built yet.
const NO_NAMES: [&str; 8] = ["next", "end", "others", "copies", "each", "cd", "set", "boots"];
/// The same where only a name may stand.
const NO_DECLARED: [&str; 5] = ["mbr", "images", "restores", "restore", "hold"];
/// Longest file name that stands on the CD as it is (ECMA-119 section 7.5.1: 30 characters and a dot),
/// with room for the name of a partition behind it.
const MAX_FILE_NAME: usize = 20;
/// Longest name of a disk or a partition, so that bstate.txt's record fits its sector.
const MAX_NAME: usize = 8;
/// As many steps as anybody could want to follow.
const MAX_STEPS: usize = 1000;
/// As many statements, and as many bytes in a line and mistakes in a file, as anybody writes or reads.
/// They keep whatever stands in a logic.txt within the loader's memory.
const MAX_STATEMENTS: usize = 1200;
const MAX_LINE_BYTES: usize = 400;
const MAX_DIAGNOSTICS: usize = 100;

/// Reads a whole logic.txt.
///
/// # Errors
/// All that is wrong with it, in the order of its lines.
pub fn parse(text: &str) -> Result<Program, Vec<Diagnostic>> {
    // All words of the file, and for each statement its line and where its words begin.
    let mut words = Vec::new();
    let mut statements = Vec::new();
    let mut parser = Parser::default();
    for (n, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if text.len() > MAX_LINE_BYTES || statements.len() > MAX_STATEMENTS {
            let message = format_args!("a line of {} bytes, after {} statements", text.len(), statements.len());
            let help = format_args!("write at most {MAX_STATEMENTS} statements, in lines of {MAX_LINE_BYTES} bytes");
            parser.add(Diagnostic::new(n + 1, 1, 1, message, help));
            return Err(parser.diagnostics);
        }
        let first = words.len();
        match split(n + 1, text, &mut words) {
            Ok(()) if words.len() == first => {}
            Ok(()) => statements.push((n + 1, first)),
            Err(diagnostic) => {
                words.truncate(first);
                parser.add(diagnostic);
            }
        }
    }
    let ends = statements.iter().skip(1).map(|&(_, first)| first).chain([words.len()]);
    let lines = statements
        .iter()
        .zip(ends)
        .map(|(&(number, first), end)| Line::new(number, words.get(first..end).unwrap_or_default()));
    let declares = |line: &Line<'_>| line.peek().is_some_and(|w| DECLARATIONS.iter().any(|d| w.is(d)));
    let (declarations, steps): (Vec<Line<'_>>, Vec<Line<'_>>) = lines.partition(declares);
    parser.declarations(declarations);
    parser.steps(steps);
    parser.whole();
    if parser.diagnostics.is_empty() { Ok(parser.program) } else { Err(parser.diagnostics) }
}

#[derive(Default)]
struct Parser<'t> {
    program: Program,
    /// Labels with the step they stand at.
    labels: Vec<(&'t str, usize)>,
    /// The line of the last step.
    last_line: usize,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Parser<'t> {
    fn note<T>(&mut self, parsed: Parsed<T>) -> Option<T> {
        parsed.map_err(|d| self.add(d)).ok()
    }

    /// Keeps the diagnostics in the order of their places.
    fn add(&mut self, diagnostic: Box<Diagnostic>) {
        let place = |d: &Diagnostic| (d.line, d.column);
        let at = self.diagnostics.iter().take_while(|d| place(d) <= place(&diagnostic)).count();
        self.diagnostics.insert(at, *diagnostic);
        self.diagnostics.truncate(MAX_DIAGNOSTICS);
    }

    #[inline(never)]
    fn declarations(&mut self, lines: Vec<Line<'_>>) {
        let mut versions = 0;
        // Disks before partitions, which name them.
        for wanted in DECLARATIONS {
            for mut line in lines.iter().filter(|l| l.peek().is_some_and(|w| w.is(wanted))).copied() {
                line.take();
                let parsed = match wanted {
                    "logic" => {
                        versions += 1;
                        version(&mut line)
                    }
                    "cd" => self.cd(&mut line),
                    "disk" => self.disk(&mut line),
                    _ => self.partition(&mut line),
                };
                if self.note(parsed).is_none() {
                    self.stand_in(wanted, &line);
                }
            }
        }
        if versions != 1 {
            let message =
                if versions == 0 { "the language version is missing" } else { "the language version stands twice" };
            let help = format_args!("write `logic 1` once, as the first line");
            self.add(Diagnostic::new(1, 1, 1, format_args!("{message}"), help));
        }
    }

    /// Declares something under the name of a declaration that has a mistake: one mistake is told once,
    /// and not again at every step that uses the name. Nothing is run of a file with mistakes.
    fn stand_in(&mut self, what: &str, line: &Line<'_>) {
        let Some(name) = line.words.get(1).map(|w| w.text.to_string()) else { return };
        let line = line.number;
        if self.disk_names().into_iter().chain(self.partition_names()).any(|n| n == name) {
            return;
        }
        if what == "disk" {
            let sectors = Size::AtLeast(SectorCount(1 << 32));
            let (signature, mbr, adopt) = (None, MbrCode::Any, false);
            self.program.disks.push(Disk { name, sectors, signature, mbr, adopt, line });
        } else if what == "partition" && !self.program.disks.is_empty() {
            let (start, sectors, image) = (Lba(0), SectorCount(0), Some(String::new()));
            let (protect, tools) = (Protect::None, Vec::new());
            let disk = DiskIndex(0);
            self.program.partitions.push(Partition {
                name,
                disk,
                entry: 0,
                start,
                sectors,
                kind: 0,
                image,
                protect,
                tools,
                line,
            });
        }
    }

    /// A new name of a disk or a partition.
    fn new_name(&self, line: &mut Line<'_>, what: &str) -> Parsed<String> {
        let word = line.need(what)?;
        if !is_plain(word.text, MAX_NAME) {
            let help = format_args!("use 1 to {MAX_NAME} letters, digits, - and _");
            return Err(line.wrong(&word, format_args!("`{}` can't be a name", word.text), help));
        }
        let reserved = bstate::RESERVED.into_iter().chain(NO_NAMES).chain(NO_DECLARED);
        if reserved.into_iter().any(|r| word.is(r)) {
            return Err(taken_word(line, &word));
        }
        let taken = self.disk_names().into_iter().chain(self.partition_names()).any(|n| n == word.text);
        if taken {
            let help = format_args!("give every disk and partition a name of its own");
            return Err(line.wrong(&word, format_args!("`{}` is declared twice", word.text), help));
        }
        Ok(word.text.to_string())
    }

    fn disk_names(&self) -> Vec<&str> {
        self.program.disks.iter().map(|d| d.name.as_str()).collect()
    }

    fn partition_names(&self) -> Vec<&str> {
        self.program.partition_names().collect()
    }

    /// `cd "NAME" [was "OLD" ...] version N`
    #[inline(never)]
    fn cd(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        if self.program.cd.is_some() {
            let help = format_args!("leave one `cd` line; earlier names stand behind its `was`");
            return Err(line.wrong(&line.first(), format_args!("the CD has two names"), help));
        }
        let name = cd_name(line)?;
        let mut was = Vec::new();
        if line.take_if("was") {
            was.push(cd_name(line)?);
            while line.peek().is_some_and(|w| w.quoted) {
                was.push(cd_name(line)?);
            }
        }
        line.keyword("version")?;
        let version = line.number("a version number")?;
        line.end()?;
        self.program.cd = Some(Cd { name, was, version });
        Ok(())
    }

    #[inline(never)]
    fn disk(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        let name = self.new_name(line, "the disk's name")?;
        line.keyword("sectors")?;
        let sectors = size(line)?;
        let (mut signature, mut mbr, mut adopt) = (None, MbrCode::Standard, false);
        while let Some(word) = line.take() {
            if word.is("signature") {
                signature = Some(hex(line, "the disk signature", 8)?);
            } else if word.is("mbr") {
                let file = line.need("a file, or `any`")?;
                mbr = if file.is("any") { MbrCode::Any } else { MbrCode::File(file_name(line, &file)?) };
            } else if word.is("table") {
                table(line)?;
            } else if word.is("adopt") {
                adopt = true;
            } else {
                return Err(line.unknown(&word, "word", &["signature", "mbr", "table", "adopt"]));
            }
        }
        self.program.disks.push(Disk { name, sectors, signature, mbr, adopt, line: line.number });
        Ok(())
    }

    #[inline(never)]
    fn partition(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        let name = self.new_name(line, "the partition's name")?;
        line.keyword("on")?;
        let disk = self.disk_named(line)?;
        let (mut start, mut sectors, mut kind, mut image) = (None, None, None, None);
        let (mut protect, mut tools) = (Protect::All, Vec::new());
        while let Some(word) = line.take() {
            match word.text.to_ascii_lowercase().as_str() {
                "start" => start = Some(sector_number(line)?),
                "sectors" => {
                    line.not_later(&["rest"])?;
                    sectors = Some(sector_number(line)?);
                }
                "type" => kind = Some(hex(line, "a partition type (0c is FAT32, 06 FAT16, 83 Linux)", 2)?),
                "image" => {
                    let file = line.need("the image's file name")?;
                    image = Some(file_name(line, &file)?);
                    line.not_later(&["version"])?;
                }
                "protect" => {
                    protect = self.protect(line)?;
                    line.not_later(&["from"])?;
                }
                "tools" => tools = file_list(line, true)?,
                _ => return Err(line.unknown(&word, "word", &PARTITION_WORDS)),
            }
        }
        let start = start.ok_or_else(|| line.missing("`start N`"))?;
        let sectors = sectors.ok_or_else(|| line.missing("`sectors N`"))?;
        let kind = kind.ok_or_else(|| line.missing("`type HEX2`"))?;
        if !tools.is_empty() && image.is_none() {
            return Err(line.missing("`image FILE`, to which the tools are added,"));
        }
        self.extent(line, disk, start, sectors, kind)?;
        let entry = u8::try_from(self.program.partitions_on(disk).count()).unwrap_or(4);
        let (start, sectors) = (Lba(start), SectorCount(sectors));
        let kind = u8::try_from(kind).unwrap_or(0);
        let line = line.number;
        self.program.partitions.push(Partition {
            name,
            disk,
            entry,
            start,
            sectors,
            kind,
            image,
            protect,
            tools,
            line,
        });
        Ok(())
    }

    fn protect(&self, line: &mut Line<'_>) -> Parsed<Protect> {
        if line.take_if("all") {
            return Ok(Protect::All);
        }
        if line.take_if("none") {
            return Ok(Protect::None);
        }
        file_list(line, false).map(Protect::Paths)
    }

    /// Whether a partition can stand there: inside the disk, behind the MBR, beside the others.
    #[inline(never)]
    fn extent(&self, line: &Line<'_>, disk: DiskIndex, start: u64, sectors: u64, kind: u32) -> Parsed<()> {
        // Where the line begins: what is wrong is how its numbers go together.
        let Some(first) = line.words.first() else { return Ok(()) };
        let wrong = |message: Arguments<'_>, help: &str| Err(line.wrong(first, message, format_args!("{help}")));
        let (Size::Exactly(length) | Size::AtLeast(length)) = self.program.disk(disk).sectors;
        let end = start.saturating_add(sectors);
        if kind == 0 {
            return wrong(format_args!("type 00 means an empty entry"), "0c is FAT32, 06 FAT16, 83 Linux");
        }
        // Types that say something else than what stands in the partition: an extended one (05, 0F, 85), a GPT (EE).
        if matches!(kind, 0x05 | 0x0F | 0x85 | 0xEE) {
            let help = "write the type of the filesystem in it: 0c is FAT32, 06 FAT16, 83 Linux";
            return wrong(format_args!("type {kind:02x} is no partition that holds a system or data"), help);
        }
        if start == 0 || sectors == 0 {
            return wrong(format_args!("a partition needs a start and a length above 0"), "sector 0 is the MBR");
        }
        if start == 1 {
            let help = "start it at sector 2048, or at 2 at the least: a restore leaves its second note before it";
            return wrong(format_args!("a partition can't start at sector 1"), help);
        }
        if end > length.0 {
            let message = format_args!("the partition ends at sector {end}, the disk at {}", length.0);
            return wrong(message, "make it shorter, or the disk larger");
        }
        if end > 1 << 32 {
            return wrong(format_args!("a partition table can't say where it ends"), "end it below 2 TiB");
        }
        if self.program.partitions_on(disk).count() >= 4 {
            return wrong(format_args!("a disk has at most four partitions"), "leave this one out");
        }
        for other in self.program.partitions_on(disk).map(|p| self.program.partition(p)) {
            let (first, behind) = (other.start.0, other.start.0 + other.sectors.0);
            if first < end && start < behind {
                let message = format_args!("the partition overlaps {}, sectors {first} to {}", other.name, behind - 1);
                return wrong(message, "move it, or make one of them shorter");
            }
        }
        Ok(())
    }

    fn disk_named(&self, line: &mut Line<'_>) -> Parsed<DiskIndex> {
        let word = line.need("a disk's name")?;
        let found = self.program.disks.iter().position(|d| d.name == word.text);
        found.map(DiskIndex).ok_or_else(|| line.unknown(&word, "disk", &self.disk_names()))
    }

    fn partition_named(&self, line: &mut Line<'_>) -> Parsed<PartitionIndex> {
        let word = line.need("a partition's name")?;
        let found = self.program.partitions.iter().position(|p| p.name == word.text);
        found.map(PartitionIndex).ok_or_else(|| line.unknown(&word, "partition", &self.partition_names()))
    }

    #[inline(never)]
    fn steps(&mut self, mut lines: Vec<Line<'t>>) {
        let mut labels = Vec::new();
        for (n, line) in lines.iter_mut().enumerate() {
            let mut label = label(line);
            if let Some(word) = &mut label {
                if let Some(plain) = word.text.strip_suffix(':') {
                    let help = format_args!("write `{plain}`");
                    let colon = line.wrong(word, format_args!("a label has no colon"), help);
                    self.add(colon);
                    word.text = plain;
                }
                if NO_NAMES.iter().any(|r| word.is(r)) {
                    let reserved = taken_word(line, word);
                    self.add(reserved);
                }
                if self.step_at(word.text).is_some() {
                    let help = format_args!("give every step a label of its own");
                    let twice = line.wrong(word, format_args!("label `{}` stands twice", word.text), help);
                    self.add(twice);
                }
                self.labels.push((word.text, n));
            }
            labels.push(label);
        }
        if lines.is_empty() || lines.len() > MAX_STEPS {
            let help = format_args!("write at least one step, such as `hold \"nothing to do\"`");
            let message = format_args!("there have to be 1 to {MAX_STEPS} steps, and there are {}", lines.len());
            self.add(Diagnostic::new(1, 1, 1, message, help));
        }
        self.last_line = lines.last().map_or(0, |l| l.number);
        for (mut line, label) in lines.into_iter().zip(labels) {
            let step = self.step(&mut line, label);
            if let Some(step) = self.note(step) {
                self.program.steps.push(step);
            }
        }
    }

    fn step(&self, line: &mut Line<'_>, label: Option<Word<'_>>) -> Parsed<Step> {
        let from = usize::from(label.is_some());
        let verb_word = line.need("a step")?;
        let verb = self.verb(line, &verb_word)?;
        let restores = matches!(verb, Verb::RestoreDisk(_) | Verb::RestorePartition(_));
        let (allows_good, allows_loss) = if restores { allowed(line)? } else { (false, false) };
        line.not_later(&["and", "or", "slice", "retry", "linux"])?;
        let text = written(&line.words[from..]);
        let otherwise = match line.take() {
            None => None,
            Some(word) if word.is("else") => Some((word, self.label_named(line)?)),
            Some(word) if !word.quoted && nearest(word.text, &["else"]).is_some() => {
                return Err(line.unknown(&word, "word", &["else"]));
            }
            Some(word) => return Err(line.too_many(&word)),
        };
        line.end()?;
        match (verb.failing(), &otherwise) {
            (Failing::Never, Some((word, _))) => {
                let message = format_args!("`{}` never fails", verb_word.text);
                return Err(line.wrong(word, message, format_args!("leave `else` out")));
            }
            (Failing::MustSayWhere, None) => {
                let message = format_args!("`{}` can fail and has no `else`", verb_word.text);
                return Err(line.wrong(&line.here(), message, format_args!("write `else LABEL` here")));
            }
            _ => {}
        }
        let label = label.map_or("-", |w| w.text).to_string();
        Ok(Step {
            label,
            text,
            verb,
            otherwise: otherwise.map(|(_, at)| at),
            line: line.number,
            allows_good,
            allows_loss,
        })
    }

    fn label_named(&self, line: &mut Line<'_>) -> Parsed<usize> {
        line.not_later(&["next"])?;
        let word = line.need("a label")?;
        self.step_at(word.text).ok_or_else(|| {
            let labels: Vec<&str> = self.labels.iter().map(|&(l, _)| l).collect();
            line.unknown(&word, "label", &labels)
        })
    }

    /// The step with this label. Labels are mostly numbers of one length, whose last digit differs first.
    fn step_at(&self, label: &str) -> Option<usize> {
        let last = label.as_bytes().last();
        self.labels.iter().find(|(l, _)| l.as_bytes().last() == last && *l == label).map(|&(_, at)| at)
    }

    fn verb(&self, line: &mut Line<'_>, word: &Word<'_>) -> Parsed<Verb> {
        match VERBS.into_iter().find(|v| word.is(v)).unwrap_or_default() {
            "verify" if line.take_if("images") => Ok(Verb::VerifyImages),
            "verify" if line.take_if("mbr") => self.of_disk(line).map(Verb::VerifyMbr),
            "verify" => {
                let partition = self.partition_named(line)?;
                Ok(Verb::Verify { partition, quick: line.take_if("quick") })
            }
            "if" => self.condition(line),
            "set" => Ok(Verb::Set(self.partition_named(line)?, state(line)?)),
            "activate" => self.partition_named(line).map(Verb::Activate),
            "boot" => {
                if !self.partition_names().contains(&"active") {
                    line.not_later(&["active"])?;
                }
                self.partition_named(line).map(Verb::Boot)
            }
            "repair" => {
                line.keyword("mbr")?;
                self.of_disk(line).map(Verb::RepairMbr)
            }
            "heal" => self.heal(line),
            "restore" => self.restore(line),
            "watchdog" => watchdog(line),
            "wait" => line.number("a number of seconds").map(Verb::Wait),
            "notify" => text(line).map(Verb::Notify),
            "hold" => text(line).map(Verb::Hold),
            "goto" => self.label_named(line).map(Verb::Goto),
            "restart" => Ok(Verb::Restart),
            "poweroff" => Ok(Verb::PowerOff),
            _ if LATER.iter().any(|later| word.is(later)) => Err(line.later(word)),
            _ => Err(line.unknown(word, "step", &VERBS)),
        }
    }

    fn of_disk(&self, line: &mut Line<'_>) -> Parsed<DiskIndex> {
        line.keyword("of")?;
        self.disk_named(line)
    }

    fn condition(&self, line: &mut Line<'_>) -> Parsed<Verb> {
        if line.take_if("restores") {
            line.keyword("below")?;
            return line.number("a number of restores").map(Verb::IfRestores);
        }
        if line.take_if("next") {
            line.keyword("is")?;
            return self.wish(line).map(Verb::IfNext);
        }
        if line.peek().is_some_and(|w| self.disk_names().contains(&w.text)) {
            let disk = self.disk_named(line)?;
            line.keyword("is")?;
            return disk_state(line).map(|s| Verb::IfDisk(disk, s));
        }
        if line.peek().is_some_and(|w| !self.partition_names().contains(&w.text)) {
            line.not_later(&["reset", "any", "all"])?;
        }
        let partition = self.partition_named(line)?;
        line.not_later(&["proved", "trial", "reports"])?;
        let word = line.need("`is`, `failures` or `crashes`")?;
        if word.is("is") {
            return state(line).map(|s| Verb::IfState(partition, s));
        }
        let failures = word.is("failures");
        if !failures && !word.is("crashes") {
            return Err(line.unknown(&word, "condition", &["is", "failures", "crashes"]));
        }
        line.keyword("below")?;
        let limit = line.number("a number")?;
        Ok(if failures { Verb::IfFailures(partition, limit) } else { Verb::IfCrashes(partition, limit) })
    }

    /// What stands behind `if next is`.
    fn wish(&self, line: &mut Line<'_>) -> Parsed<Wish> {
        let word = line.need("a partition's name, `restore` or `hold`")?;
        if word.is("restore") {
            return Ok(Wish::Restore);
        }
        if word.is("hold") {
            return Ok(Wish::Hold);
        }
        let names = self.partition_names();
        let found = names.iter().position(|&n| n == word.text);
        found.map(|at| Wish::Partition(PartitionIndex(at))).ok_or_else(|| {
            let words: Vec<&str> = names.into_iter().chain(["restore", "hold"]).collect();
            line.unknown(&word, "wish", &words)
        })
    }

    fn heal(&self, line: &mut Line<'_>) -> Parsed<Verb> {
        let partition = self.partition_named(line)?;
        if !line.take_if("from") {
            return Ok(Verb::Heal { partition, from: None });
        }
        line.not_later(&["others"])?;
        let word = line.peek().unwrap_or(line.here());
        let from = self.partition_named(line)?;
        if from == partition {
            let help = format_args!("name another partition that holds the same system");
            return Err(line.wrong(&word, format_args!("a partition can't be healed from itself"), help));
        }
        Ok(Verb::Heal { partition, from: Some(from) })
    }

    #[inline(never)]
    fn restore(&self, line: &mut Line<'_>) -> Parsed<Verb> {
        let word = line.peek();
        if let (Some(disk), Some(word)) =
            (word.as_ref().and_then(|w| self.disk_names().iter().position(|&n| n == w.text)), &word)
        {
            line.take();
            let disk = DiskIndex(disk);
            if self.program.partitions_on(disk).all(|p| self.program.partition(p).image.is_none()) {
                let help = format_args!("give at least one of its partitions an `image FILE`");
                return Err(line.wrong(word, format_args!("no partition of {} has an image", word.text), help));
            }
            return Ok(Verb::RestoreDisk(disk));
        }
        let Some(word) = word else { return Err(line.missing("a disk's or a partition's name")) };
        let names: Vec<&str> = self.partition_names().into_iter().chain(self.disk_names()).collect();
        if !names.contains(&word.text) {
            return Err(line.unknown(&word, "disk or partition", &names));
        }
        let partition = self.partition_named(line)?;
        if self.program.partition(partition).image.is_none() {
            let help = format_args!("give it an `image FILE` where it is declared");
            return Err(line.wrong(&word, format_args!("{} has no image", word.text), help));
        }
        Ok(Verb::RestorePartition(partition))
    }

    /// What only the whole file tells.
    #[inline(never)]
    fn whole(&mut self) {
        if !bstate::Record::fits(self.program.recorded_names()) {
            let message = format_args!("bstate.txt's 512 bytes can't hold the state of so many partitions");
            self.add(Diagnostic::new(1, 1, 1, message, format_args!("declare fewer, or give them shorter names")));
        }
        // Where the last step is a mistake itself, nobody knows how the flow ends.
        let last = self.program.steps.last().filter(|s| s.line == self.last_line);
        if let Some(last) = last.filter(|s| !s.verb.ends_flow()) {
            let message = format_args!("the flow runs past the last step, `{}`", last.text);
            let help = format_args!("end it with `hold`, `restart`, `poweroff` or `goto`");
            let open = Diagnostic::new(last.line, 1, 1, message, help);
            self.add(open);
        }
    }
}

/// What begins a part of a `partition` line.
const PARTITION_WORDS: [&str; 6] = ["start", "sectors", "type", "image", "protect", "tools"];

/// Whether a step can fail, and whether it then has to say where to go on.
enum Failing {
    Never,
    FallsThrough,
    MustSayWhere,
}

impl Verb {
    fn failing(&self) -> Failing {
        match self {
            Self::Notify(_) | Self::Goto(_) | Self::Restart | Self::Hold(_) | Self::PowerOff => Failing::Never,
            Self::Boot(_) | Self::Set(..) => Failing::FallsThrough,
            _ => Failing::MustSayWhere,
        }
    }

    /// Whether no step after it is ever reached from it by falling through.
    fn ends_flow(&self) -> bool {
        matches!(self, Self::Goto(_) | Self::Restart | Self::Hold(_) | Self::PowerOff)
    }
}

/// Takes the label, if the line begins with one: a number, or a word before a verb.
fn label<'t>(line: &mut Line<'t>) -> Option<Word<'t>> {
    let first = line.peek()?;
    let verb = |w: &Word<'_>| VERBS.iter().any(|v| w.is(v));
    let number = first.text.starts_with(|c: char| c.is_ascii_digit());
    if number || !verb(&first) && line.peek_second().is_some_and(|w| verb(&w) || LATER.iter().any(|v| w.is(v))) {
        line.take()
    } else {
        None
    }
}

/// A step's words up to `else`, one space apart: as the log shows it.
fn written(words: &[Word<'_>]) -> String {
    let mut text = String::with_capacity(words.iter().map(|w| w.text.len() + 3).sum());
    for word in words.iter().take_while(|w| !w.is("else")) {
        if !text.is_empty() {
            text.push(' ');
        }
        let quote = if word.quoted { "\"" } else { "" };
        text.push_str(quote);
        text.push_str(word.text);
        text.push_str(quote);
    }
    text
}

/// Whether a word ends a list of files: it begins another part of a `partition` line.
fn ends_list(word: &Word<'_>) -> bool {
    PARTITION_WORDS.iter().any(|part| word.is(part)) || word.is("from")
}

fn version(line: &mut Line<'_>) -> Parsed<()> {
    let word = line.need("the language version, 1,")?;
    if word.text != "1" {
        let help = format_args!("this program reads `logic 1`");
        return Err(line.wrong(&word, format_args!("unknown language version `{}`", word.text), help));
    }
    line.end()
}

/// That a name or a label can't be this word.
fn taken_word(line: &Line<'_>, word: &Word<'_>) -> Box<Diagnostic> {
    let help = format_args!("choose another name");
    line.wrong(word, format_args!("`{}` means something else here", word.text), help)
}

/// A CD's name, in quotes.
fn cd_name(line: &mut Line<'_>) -> Parsed<String> {
    let word = line.peek();
    let name = text(line)?;
    let fits = (1..=Cd::MAX_NAME).contains(&name.len()) && name.trim_ascii() == name;
    match word {
        Some(word) if !fits || name.bytes().any(|b| !(b' '..=b'~').contains(&b)) => {
            let most = Cd::MAX_NAME;
            let help = format_args!("use 1 to {most} ASCII characters, without blanks at the ends");
            Err(line.wrong(&word, format_args!("`{name}` can't be a CD's name"), help))
        }
        _ => Ok(name),
    }
}

/// `table mbr|gpt`
fn table(line: &mut Line<'_>) -> Parsed<()> {
    let word = line.need("`mbr` or `gpt`")?;
    if word.is("gpt") {
        let help = format_args!("write `table mbr`, or leave `table` out, which means the same");
        return Err(line.wrong(&word, format_args!("`table gpt` is not built yet"), help));
    }
    if word.is("mbr") { Ok(()) } else { Err(line.unknown(&word, "table", &["mbr", "gpt"])) }
}

/// What stands behind a `restore`: whether it may destroy good copies, and whether it may lose what no seal covers.
fn allowed(line: &mut Line<'_>) -> Parsed<(bool, bool)> {
    let (mut good, mut loss) = (false, false);
    while line.take_if("allow") {
        let word = line.need("`good copies` or `losing what is not protected`")?;
        if word.is("good") && !good {
            line.keyword("copies")?;
            good = true;
        } else if word.is("losing") && !loss {
            ["what", "is", "not", "protected"].into_iter().try_for_each(|w| line.keyword(w))?;
            loss = true;
        } else if word.is("good") || word.is("losing") {
            let help = format_args!("say it once");
            return Err(line.wrong(&word, format_args!("`allow {}` stands twice", word.text), help));
        } else {
            let help = format_args!("write `allow good copies` or `allow losing what is not protected`");
            return Err(line.wrong(&word, format_args!("a restore can't allow `{}`", word.text), help));
        }
    }
    Ok((good, loss))
}

fn disk_state(line: &mut Line<'_>) -> Parsed<DiskState> {
    let word = line.need("`ours`, `blank`, `foreign` or `unclear`")?;
    let known = DiskState::ALL.into_iter().find(|(name, _)| word.is(name));
    known.map(|(_, state)| state).ok_or_else(|| line.unknown(&word, "answer", &DiskState::ALL.map(|(name, _)| name)))
}

fn state(line: &mut Line<'_>) -> Parsed<State> {
    line.not_later(&["shipped", "older", "trial"])?;
    let word = line.need("a state")?;
    State::parse(word.text).ok_or_else(|| line.unknown(&word, "state", &["OK", "Clean", "Dirty"]))
}

fn watchdog(line: &mut Line<'_>) -> Parsed<Verb> {
    let number = line.peek().unwrap_or(line.here());
    let seconds = line.number("a number of seconds")?;
    let mut chip = None;
    if let Some(word) = line.peek().filter(|w| !w.is("else")) {
        chip = Watchdog::ALL.into_iter().find(|c| word.is(c.name()));
        if chip.is_none() {
            return Err(line.unknown(&word, "watchdog", &Watchdog::ALL.map(Watchdog::name)));
        }
        line.take();
    }
    let (name, most) = chip.map_or(("a watchdog", Watchdog::MOST_SECONDS), |c| (c.name(), c.most_seconds()));
    if seconds == 0 || seconds > most {
        let help = format_args!("write 1 to {most} seconds");
        return Err(line.wrong(&number, format_args!("{name} can't be set to {seconds} s"), help));
    }
    Ok(Verb::Watchdog { seconds, chip })
}

fn text(line: &mut Line<'_>) -> Parsed<String> {
    let word = line.need("a text in quotes")?;
    if !word.quoted {
        return Err(line.wrong(&word, format_args!("the text has no quotes"), format_args!("put it in \"quotes\"")));
    }
    Ok(word.text.to_string())
}

fn size(line: &mut Line<'_>) -> Parsed<Size> {
    let mut word = line.need("a number of sectors")?;
    let open = word.text.strip_suffix("..");
    let at_least = open.is_some();
    word.text = open.unwrap_or(word.text);
    let sectors = SectorCount(line.sectors(&word)?);
    Ok(if at_least { Size::AtLeast(sectors) } else { Size::Exactly(sectors) })
}

fn sector_number(line: &mut Line<'_>) -> Parsed<u64> {
    let word = line.need("a number of sectors")?;
    line.sectors(&word)
}

fn hex(line: &mut Line<'_>, what: &str, digits: usize) -> Parsed<u32> {
    let word = line.need(what)?;
    let value = if word.text.len() == digits { u32::from_str_radix(word.text, 16).ok() } else { None };
    value.ok_or_else(|| {
        let help = format_args!("write {digits} hexadecimal digits");
        line.wrong(&word, format_args!("`{}` is not {what}", word.text), help)
    })
}

/// Whether a text is 1 to `longest` letters, digits, - and _.
fn is_plain(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A file beside logic.txt, whose name the CD can carry as it is.
fn file_name(line: &Line<'_>, word: &Word<'_>) -> Parsed<String> {
    if word.text.starts_with('.') || !is_plain(&word.text.replace('.', "_"), MAX_FILE_NAME) {
        let help =
            format_args!("use a file beside logic.txt with a name of 1 to {MAX_FILE_NAME} letters, digits, - _ and .");
        return Err(line.wrong(word, format_args!("`{}` can't be a file name on the CD", word.text), help));
    }
    Ok(word.text.to_string())
}

/// Words up to the next part of a `partition` line.
fn file_list(line: &mut Line<'_>, names: bool) -> Parsed<Vec<String>> {
    let mut files = Vec::new();
    while let Some(word) = line.peek().filter(|w| w.quoted || !ends_list(w)) {
        line.take();
        files.push(if names { file_name(line, &word)? } else { word.text.to_string() });
    }
    if files.is_empty() { Err(line.missing("a file")) } else { Ok(files) }
}
