//! `knownstate check`: all that is wrong with a logic.txt, before anything is made of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use knownstate_core::logic::{self, Disk, MbrCode, Partition, PartitionIndex, Program, Size, Verb};
use knownstate_core::media::mbr::CODE_BYTES;

use crate::examine::{Examined, examine};
use crate::names;
use crate::proof::{self, Proof, Severity};

/// A logic.txt and where its files are.
pub struct Source {
    /// The text, as it goes on the CD.
    pub text: String,
    /// What it says.
    pub program: Program,
    folder: PathBuf,
}

impl Source {
    /// A file that logic.txt names.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether that is there.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).is_file()
    }

    /// Whether all is there of which a partition's image on the CD is made.
    pub fn has_image(&self, partition: &Partition) -> bool {
        partition.image.iter().chain(&partition.tools).all(|name| self.has(name))
    }
}

/// Prints what is wrong; whether nothing is.
///
/// # Errors
/// When the file can't be read.
pub fn run(path: &Path, images: Option<&Path>) -> Result<bool> {
    let text = read(path)?;
    let Some(source) = parse(path, text, images) else { return Ok(false) };
    let problems = told_problems(path, &source);
    let proof = proved(path, &source, true);
    let good = problems.is_empty() && proof.as_ref().is_none_or(|proof| !has_errors(proof));
    if good {
        let program = &source.program;
        let (disks, partitions) = (program.disk_indexes().count(), program.partition_names().count());
        let steps = program.steps().len();
        println!("{}: ok: disks {disks}, partitions {partitions}, steps {steps}", path.display());
    }
    if let Some(proof) = proof {
        println!("{} states in {:.2} s", proof.states, proof.took.as_secs_f64());
    }
    Ok(good)
}

/// The flow's proof, and what it found on standard error; the way to each with `traces`. Nothing where there
/// can be none, which is told.
fn proved(path: &Path, source: &Source, traces: bool) -> Option<Proof> {
    let file = path.display().to_string();
    match proof::prove(&source.program, &file) {
        Ok(proof) => {
            for found in &proof.findings {
                let word = if found.severity == Severity::Error { "error" } else { "warning" };
                let line = source.text.lines().nth(found.line.saturating_sub(1)).unwrap_or("").trim_end();
                eprintln!("{file}:{}: {word}: {}", found.line, found.message);
                eprintln!("{:>5} | {line}\n      = {}", found.line, found.help);
                if traces {
                    found.trace.lines().for_each(|line| eprintln!("{}", format!("        {line}").trim_end()));
                }
                eprintln!();
            }
            if let Some(why) = &proof.given_up {
                eprintln!("{file}: warning: not everything is proved of the flow: {why}");
            }
            Some(proof)
        }
        Err(why) => {
            eprintln!("{file}: warning: nothing is proved of the flow: {why}");
            None
        }
    }
}

fn has_errors(proof: &Proof) -> bool {
    proof.findings.iter().any(|found| found.severity == Severity::Error)
}

/// The same for `build`, which stops at an error.
///
/// # Errors
/// When anything is wrong; it was printed.
pub fn load(path: &Path, images: Option<&Path>) -> Result<Source> {
    let source = load_unproved(path, images)?;
    if proved(path, &source, false).is_some_and(|proof| has_errors(&proof)) {
        bail!("{} can't be made a CD of; `knownstate check` says more", path.display());
    }
    Ok(source)
}

/// The same for those who try out what a flow does, whatever that is.
///
/// # Errors
/// When anything is wrong that is not the flow's; it was printed.
pub fn load_unproved(path: &Path, images: Option<&Path>) -> Result<Source> {
    let source = parse(path, read(path)?, images).with_context(|| format!("{} has errors", path.display()))?;
    if !told_problems(path, &source).is_empty() {
        bail!("{} can't be made a CD of", path.display());
    }
    Ok(source)
}

/// A logic.txt without the files that it names, which need not be there.
///
/// # Errors
/// When it can't be read or has errors; those were printed.
pub fn load_alone(path: &Path, images: Option<&Path>) -> Result<Source> {
    parse(path, read(path)?, images).with_context(|| format!("{} has errors", path.display()))
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    if bytes.len() > logic::MAX_BYTES {
        let most = logic::MAX_BYTES;
        bail!("{} is no logic file that the loader could read: it is longer than {most} bytes", path.display());
    }
    String::from_utf8(bytes).ok().with_context(|| format!("{} is no UTF-8 text", path.display()))
}

/// The parsed file, or all diagnostics on standard error.
fn parse(path: &Path, text: String, images: Option<&Path>) -> Option<Source> {
    let beside = path.parent().unwrap_or(Path::new(""));
    match logic::parse(&text) {
        Ok(program) => Some(Source { program, text, folder: images.unwrap_or(beside).to_path_buf() }),
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                eprintln!("{}\n", diagnostic.render(&path.display().to_string(), &text));
            }
            None
        }
    }
}

/// What is wrong with the files that logic.txt names, and what may go wrong with them and with its disks, each told
/// with its line. The former.
fn told_problems(path: &Path, source: &Source) -> Vec<Problem> {
    let (problems, warnings) = problems(source);
    let tell = |word: &str, problem: &Problem| {
        let line = problem.line.map_or(String::new(), |line| format!(":{line}"));
        eprintln!("{}{line}: {word}: {}", path.display(), problem.text);
    };
    problems.iter().for_each(|problem| tell("error", problem));
    let from_types = misnamed(&source.program);
    warnings.iter().chain(&alike(&source.program)).chain(&from_types).for_each(|problem| tell("warning", problem));
    problems
}

/// Something that is wrong beside the flow.
struct Problem {
    /// The line of the declaration that it is about, from 1.
    line: Option<usize>,
    text: String,
}

impl Problem {
    fn of_disk(disk: &Disk, text: String) -> Self {
        Self { line: Some(disk.line), text: format!("disk {}: {text}", disk.name) }
    }

    fn of_partition(partition: &Partition, text: String) -> Self {
        Self { line: Some(partition.line), text: format!("partition {}: {text}", partition.name) }
    }
}

/// Disks that can't be told apart where both are blank, as they come from their maker.
fn alike(program: &Program) -> Vec<Problem> {
    let mut alike = Vec::new();
    for (n, a) in program.disk_indexes().map(|d| program.disk(d)).enumerate() {
        for b in program.disk_indexes().map(|d| program.disk(d)).take(n) {
            let fits = match (a.sectors, b.sectors) {
                (Size::Exactly(a), Size::Exactly(b)) => a == b,
                (Size::Exactly(a), Size::AtLeast(b)) | (Size::AtLeast(b), Size::Exactly(a)) => a >= b,
                (Size::AtLeast(_), Size::AtLeast(_)) => true,
            };
            if fits && (a.signature.is_none() || b.signature.is_none()) {
                let text = format!(
                    "a blank disk may be both {} and {}, and then it is not restored; declare sizes that differ, or `provision` them",
                    b.name, a.name
                );
                alike.push(Problem::of_disk(a, text));
            }
        }
    }
    alike
}

/// Partitions with an image whose type calls them a part of something else: what reads only the type takes them
/// for that. The types are Linux's (blkid's `dos.c`): 8E is LVM's, FD a RAID's.
fn misnamed(program: &Program) -> Vec<Problem> {
    let with_image = program.partition_indexes().map(|p| program.partition(p)).filter(|p| p.image.is_some());
    let mut misnamed = Vec::new();
    for partition in with_image {
        let what = match partition.kind {
            0x8E => "LVM",
            0xFD => "a Linux RAID",
            _ => continue,
        };
        let text = format!(
            "type {:02x} says that it belongs to {what}; declare what is in the image: 0c is FAT32, 06 FAT16, 83 Linux",
            partition.kind
        );
        misnamed.push(Problem::of_partition(partition, text));
    }
    misnamed
}

/// What is wrong with the files that logic.txt names, and what may go wrong with them, one line each.
fn problems(source: &Source) -> (Vec<Problem>, Vec<Problem>) {
    let program = &source.program;
    let named = |wanted: fn(&Verb) -> Option<PartitionIndex>| -> BTreeSet<&str> {
        program.steps().iter().filter_map(|s| wanted(&s.verb)).map(|p| program.partition(p).name.as_str()).collect()
    };
    let booted = named(|verb| if let Verb::Boot(partition) = verb { Some(*partition) } else { None });
    let verified = named(|verb| if let Verb::Verify { partition, .. } = verb { Some(*partition) } else { None });
    let mut problems = collisions(program);
    let mut images: Vec<(&Partition, Examined)> = Vec::new();
    for partition in program.partition_indexes().map(|p| program.partition(p)) {
        let Some(image) = &partition.image else { continue };
        let path = source.file(image);
        let name = partition.name.as_str();
        match examine(&path, partition, booted.contains(name), verified.contains(name)) {
            Ok(examined) => images.push((partition, examined)),
            Err(error) => problems.push(Problem::of_partition(partition, format!("{}: {error:#}", path.display()))),
        }
        problems.extend(
            partition
                .tools
                .iter()
                .map(|tool| source.file(tool))
                .filter(|p| !p.is_file())
                .map(|p| Problem::of_partition(partition, format!("no tool {}", p.display()))),
        );
    }
    let no_home = images.iter().all(|(_, image)| !image.home);
    if no_home && problems.is_empty() && program.steps().iter().any(|s| matches!(s.verb, Verb::Set(..))) {
        let text = "no image is a FAT or ext filesystem, so bstate.txt has no place anywhere".to_string();
        problems.push(Problem { line: None, text });
    }
    for disk in program.disk_indexes().map(|d| program.disk(d)) {
        let MbrCode::File(file) = &disk.mbr else { continue };
        let path = source.file(file);
        if !fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() >= CODE_BYTES as u64) {
            let text = format!("{} is no file of at least {CODE_BYTES} bytes", path.display());
            problems.push(Problem::of_disk(disk, text));
        }
    }
    (problems, warnings(&images))
}

/// What may go wrong with images that can be used; of an image that several partitions have, once.
fn warnings(images: &[(&Partition, Examined)]) -> Vec<Problem> {
    let shared = names::shared(images.iter().map(|(p, image)| (p.name.as_str(), image.names.as_slice())));
    let mut warnings = Vec::new();
    for (n, (partition, image)) in images.iter().enumerate() {
        if images.iter().take(n).any(|(earlier, _)| earlier.image == partition.image) {
            continue;
        }
        let file = partition.image.as_deref().unwrap_or_default();
        let by_name = image.configs.iter().flat_map(|config| {
            shared.iter().filter_map(move |(name, partitions)| names::warning(config, name, partitions))
        });
        let all = image.warnings.iter().cloned().chain(by_name);
        warnings.extend(all.map(|text| Problem::of_partition(partition, format!("{file}: {text}"))));
    }
    warnings
}

/// Different images that would have one name on the CD, where the loader does not tell case.
fn collisions(program: &Program) -> Vec<Problem> {
    let with_image =
        || program.partition_indexes().filter_map(|p| Some((program.partition(p), program.image_path(p)?)));
    let mut problems = Vec::new();
    for (n, (a, path)) in with_image().enumerate() {
        for (b, other) in with_image().take(n) {
            if path.eq_ignore_ascii_case(&other) && (path != other || a.image != b.image) {
                let text = format!("{path} and {other} are one name to the loader; rename one");
                problems.push(Problem::of_partition(a, text));
            }
        }
    }
    problems
}
