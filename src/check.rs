//! `knownstate check`: all that is wrong with a logic.txt, before anything is made of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use knownstate_core::layout::Layout;
use knownstate_core::logic::{self, Disk, MbrCode, Partition, PartitionIndex, Program, Protect, Size, Verb};
use knownstate_core::media::boot_sector;
use knownstate_core::media::filesystem::{Filesystem, FsError, Volume};
use knownstate_core::media::mbr::{CODE_BYTES, Mbr};
use knownstate_core::units::{Offset, SECTOR};

use crate::files::FileVolume;
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

/// What is wrong with the files that logic.txt names, and what may be with its disks, each told with its line.
fn told_problems(path: &Path, source: &Source) -> Vec<Problem> {
    let problems = problems(source);
    let tell = |word: &str, problem: &Problem| {
        let line = problem.line.map_or(String::new(), |line| format!(":{line}"));
        eprintln!("{}{line}: {word}: {}", path.display(), problem.text);
    };
    problems.iter().for_each(|problem| tell("error", problem));
    let warnings = alike(&source.program).into_iter().chain(misnamed(&source.program));
    warnings.for_each(|problem| tell("warning", &problem));
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
                    "one disk may be both {} and {}, and then neither is used; declare sizes that differ, or give each a `signature`",
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

/// What is wrong with the files that logic.txt names, one line each.
fn problems(source: &Source) -> Vec<Problem> {
    let program = &source.program;
    let named = |wanted: fn(&Verb) -> Option<PartitionIndex>| -> BTreeSet<&str> {
        program.steps().iter().filter_map(|s| wanted(&s.verb)).map(|p| program.partition(p).name.as_str()).collect()
    };
    let booted = named(|verb| if let Verb::Boot(partition) = verb { Some(*partition) } else { None });
    let verified = named(|verb| if let Verb::Verify { partition, .. } = verb { Some(*partition) } else { None });
    let mut problems = collisions(program);
    let mut homes = 0;
    for partition in program.partition_indexes().map(|p| program.partition(p)) {
        let Some(image) = &partition.image else { continue };
        let path = source.file(image);
        let name = partition.name.as_str();
        match examine(&path, partition, booted.contains(name), verified.contains(name)) {
            Ok(home) => homes += usize::from(home),
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
    if homes == 0 && problems.is_empty() && program.steps().iter().any(|s| matches!(s.verb, Verb::Set(..))) {
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
    problems
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

/// Examines an image that has to be restored; whether bstate.txt has a place in it.
fn examine(path: &Path, partition: &Partition, booted: bool, verified: bool) -> Result<bool> {
    if !path.exists() {
        bail!("no such file; put the image there, or say where it is with --images");
    }
    if !path.metadata()?.is_file() && path.is_dir() {
        bail!("that is a directory; name a raw partition image");
    }
    if let Some(packed) = packed(path)? {
        bail!("that is a {packed} file; unpack it first: images are packed when the CD is made");
    }
    let mut volume = FileVolume::open(path)?;
    let (bytes, room) = (fs::metadata(path)?.len(), partition.sectors.bytes());
    if bytes > room {
        let (has, room) = (bytes.div_ceil(SECTOR as u64), partition.sectors);
        bail!("the image has {has} sectors, the partition {}; make the partition larger", room.0);
    }
    if bytes == 0 || bytes % SECTOR as u64 != 0 {
        bail!("{bytes} bytes are not a whole number of 512-byte sectors, so it is no raw partition image");
    }
    if is_disk(&mut volume) {
        bail!("that is the image of a whole disk, with a partition table; name the image of one partition");
    }
    let home = match Filesystem::open(&mut volume) {
        Ok(_) => true,
        Err(FsError::Unknown) if partition.tools.is_empty() => false,
        Err(FsError::Unknown) => bail!("tools can be added to a FAT or ext filesystem only"),
        Err(error) => bail!("{error}; repair the image with fsck, or make it with other options"),
    };
    protectable(&mut volume, partition)?;
    let mut sector = [0; SECTOR];
    volume.read(Offset(0), &mut sector).map_err(|e| anyhow::anyhow!("boot sector: {e}"))?;
    // A filesystem without boot code never passes `verify`, so a flow that asks for it never gets on; anything
    // else only has to be what it was.
    if let (true, Some(fault)) = (booted || verified && home, boot_sector::fault(&sector)) {
        bail!("{fault}; a step boots or verifies it, so install a boot loader in it (such as syslinux or extlinux)");
    }
    Ok(home)
}

/// What a file was packed with, by its first bytes: RFC 1952 section 2.3.1, the xz file format section 2.1.1.1,
/// RFC 8878 section 3.1.1, bzip2's BZh, and QEMU's qcow2 (docs/interop/qcow2.txt, "Header").
fn packed(path: &Path) -> Result<Option<&'static str>> {
    let mut first = Vec::new();
    fs::File::open(path)?.take(4).read_to_end(&mut first)?;
    let kinds: [(&[u8], &str); 5] = [
        (&[0x1F, 0x8B], "gzip"),
        (&[0xFD, b'7', b'z', b'X'], "xz"),
        (&[0x28, 0xB5, 0x2F, 0xFD], "zstd"),
        (b"BZh", "bzip2"),
        (b"QFI\xFB", "qcow2"),
    ];
    Ok(kinds.iter().find(|(magic, _)| first.starts_with(magic)).map(|&(_, name)| name))
}

/// Whether an image is that of a disk: a partition table that fits it, and no filesystem.
fn is_disk(volume: &mut FileVolume) -> bool {
    let mut sector = [0; SECTOR];
    let sectors = volume.length().0;
    volume.read(Offset(0), &mut sector).is_ok()
        && matches!(Filesystem::open(volume), Err(FsError::Unknown))
        && Mbr::parse(&sector).is_ok_and(|mbr| mbr.check(sectors).is_ok() && mbr.entries().iter().any(|e| e.kind != 0))
}

/// Whether an image's layout can be read, and whether all is there that is to be protected.
fn protectable(volume: &mut FileVolume, partition: &Partition) -> Result<()> {
    let layout = match Layout::of(volume) {
        Err(FsError::Unknown) => Layout::whole(volume.length().0),
        layout => layout.map_err(|error| anyhow::anyhow!("{error}; repair the image with fsck"))?,
    };
    let Protect::Paths(paths) = &partition.protect else { return Ok(()) };
    // Tools come into the root directory only when the CD is made.
    let is_tool =
        |path: &str| partition.tools.iter().any(|tool| tool.eq_ignore_ascii_case(path.trim_start_matches('/')));
    match paths.iter().find(|path| !layout.has(path) && !is_tool(path)) {
        Some(path) => bail!("protect {path}: the image has no such file"),
        None => Ok(()),
    }
}
