//! `knownstate provision`: disks as a restore from the CD leaves them, for the factory. It is core's own
//! restore that writes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use knownstate_core::disks::{Known, Search, Standing, default_signature, entries_of, fits};
use knownstate_core::event::Line;
use knownstate_core::logic::{DiskIndex, Program, Size, Step, UNITS, Verb, sectors};
use knownstate_core::machine::{DiskId, Machine as _};
use knownstate_core::media::iso9660::Iso;
use knownstate_core::media::marks::{self, On};
use knownstate_core::media::mbr::{CODE_BYTES, Mbr};
use knownstate_core::media::note::Note;
use knownstate_core::steps::Context;
use knownstate_core::table::Table;
use knownstate_core::units::{Lba, SECTOR, SectorCount};
use tempfile::NamedTempFile;

use crate::simulate::cd::Cd;
use crate::simulate::device;
use crate::simulate::drive::{Drive, Named, disk_named, open_all};
use crate::simulate::faults::Faults;
use crate::simulate::machine::{FileMachine, Listener, buffers, in_two};

/// What `knownstate provision` is asked for.
#[derive(clap::Args)]
pub struct Options {
    /// The logic file, or an ISO that `knownstate build` made
    #[arg(value_name = "LOGIC|ISO")]
    cd: PathBuf,
    /// A disk of the logic file, and its image file, which is made if there is none, or a block device
    #[arg(long = "disk", value_name = "NAME=FILE", required = true, value_parser = Named::parse)]
    disks: Vec<Named>,
    /// Where the image files are, if not beside the logic file
    #[arg(long)]
    images: Option<PathBuf>,
    /// How large to make a disk of which only the least size is declared: 512-byte sectors, or KiB, MiB, GiB
    #[arg(long = "size", value_name = "NAME=SECTORS", value_parser = parse_size)]
    sizes: Vec<(String, u64)>,
    /// A block device once more: all that is on it will be lost
    #[arg(long, value_name = "DEVICE")]
    confirm: Vec<PathBuf>,
}

/// One disk on its way.
struct Target {
    disk: DiskIndex,
    /// Where it is to be at the end.
    path: PathBuf,
    /// The file that is made for it, gone again if anything fails.
    made: Option<NamedTempFile>,
}

impl Target {
    fn written(&self) -> PathBuf {
        self.made.as_ref().map_or_else(|| self.path.clone(), |file| file.path().to_path_buf())
    }
}

/// Makes the disks; whether that worked.
///
/// # Errors
/// What is wrong with the options, the CD or the disks; then nothing was written.
pub fn run(options: &Options) -> Result<bool> {
    let cd = Cd::open(&options.cd, options.images.as_deref())?;
    let program = cd.program()?;
    let mut targets = targets(options, program)?;
    targets.sort_by_key(|target| program.disk_indexes().position(|disk| disk == target.disk));
    let paths: Vec<PathBuf> = targets.iter().map(Target::written).collect();
    let drives = open_all(&paths, true)?;
    for (target, drive) in targets.iter().zip(&drives) {
        check_size(program, target, drive, size_of(options, program, target.disk)?)?;
    }
    let bar = bar();
    let mut machine = FileMachine::new(cd.file()?, drives, Faults::default(), Box::new(Bar(bar.clone())));
    warn_of_missing(program, &targets);
    let outcome = restore(&mut machine, program, &targets, &bar).and_then(|()| machine.finish(true));
    bar.finish_and_clear();
    // The files that were made are gone with `targets` where this fails.
    match outcome.and_then(|()| keep(targets, program)) {
        Ok(()) => Ok(true),
        Err(why) => {
            eprintln!("knownstate: {why:#}");
            Ok(false)
        }
    }
}

/// `NAME=SECTORS`, in the units of logic.txt, and in TiB.
fn parse_size(text: &str) -> Result<(String, u64), String> {
    let wrong = || "write the disk's name and its size, such as data=2097152 or data=1GiB".to_string();
    let (name, size) = text.split_once('=').ok_or_else(wrong)?;
    let units = [&UNITS[..], &[("TiB", 2 << 30)]].concat();
    Ok((name.to_string(), sectors(size, &units).ok_or_else(wrong)?))
}

/// The disks that are to be made, each checked as far as that can be done before anything is written.
fn targets(options: &Options, program: &Program) -> Result<Vec<Target>> {
    for (name, _) in &options.sizes {
        let disk = disk_named(program, name)?;
        if !options.disks.iter().any(|named| named.name == program.disk(disk).name) {
            bail!("--size {name}: no --disk {name}=FILE is given");
        }
    }
    let mut targets: Vec<Target> = Vec::new();
    for named in &options.disks {
        let disk = named.declared(program)?;
        if targets.iter().any(|target| target.disk == disk) {
            bail!("disk {} is given twice", named.name);
        }
        if targets.iter().any(|target| target.path == named.path) {
            bail!("{} is given twice; every disk is a file of its own", named.path.display());
        }
        confirmed(&named.path, &options.confirm)?;
        let sectors = size_of(options, program, disk)?.unwrap_or_else(|| declared_sectors(program, disk));
        targets.push(Target { disk, path: named.path.clone(), made: make(&named.path, sectors)? });
    }
    let named = |again: &&PathBuf| targets.iter().any(|t| device::number_of(&t.path) == device::number_of(again));
    if let Some(stray) = options.confirm.iter().find(|again| device::number_of(again).is_none() || !named(again)) {
        bail!("--confirm {}: no --disk is given that is this device", stray.display());
    }
    Ok(targets)
}

/// A block device is named twice: a wrong letter in one of them must not cost anybody a disk.
fn confirmed(path: &Path, confirm: &[PathBuf]) -> Result<()> {
    let Some(number) = device::number_of(path) else { return Ok(()) };
    if !confirm.iter().any(|again| device::number_of(again) == Some(number)) {
        let path = path.display();
        bail!("{path} is a block device, and all that is on it would be lost; if that is meant, add --confirm {path}");
    }
    Ok(())
}

/// The size that a disk is to have, in sectors: the declared one, or a larger one where that is declared as
/// the least.
fn size_of(options: &Options, program: &Program, disk: DiskIndex) -> Result<Option<u64>> {
    let declared = program.disk(disk);
    let asked = options.sizes.iter().find(|(name, _)| *name == declared.name).map(|&(_, sectors)| sectors);
    let Some(sectors) = asked else { return Ok(None) };
    if !fits(declared.sectors, sectors) {
        bail!("--size {0}={sectors}: disk {0} is declared with {1}", declared.name, in_words(declared.sectors));
    }
    Ok(asked)
}

fn in_words(size: Size) -> String {
    match size {
        Size::Exactly(declared) => format!("{} sectors", declared.0),
        Size::AtLeast(declared) => format!("{} sectors or more", declared.0),
    }
}

fn declared_sectors(program: &Program, disk: DiskIndex) -> u64 {
    let (Size::Exactly(sectors) | Size::AtLeast(sectors)) = program.disk(disk).sectors;
    sectors.0
}

/// A file of holes beside the place where there is none yet.
fn make(path: &Path, sectors: u64) -> Result<Option<NamedTempFile>> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(None);
    }
    let beside = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new()
        .prefix(".knownstate-")
        // As any other new file, whose owner's mask takes away what it should not have.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(beside)
        .with_context(|| format!("can't make {}", path.display()))?;
    let bytes = SectorCount(sectors).bytes();
    file.as_file().set_len(bytes).with_context(|| format!("can't make {} of {bytes} bytes", path.display()))?;
    Ok(Some(file))
}

fn check_size(program: &Program, target: &Target, drive: &Drive, asked: Option<u64>) -> Result<()> {
    let declared = program.disk(target.disk);
    let (path, sectors) = (target.path.display(), drive.sectors());
    if !fits(declared.sectors, sectors) {
        let words = in_words(declared.sectors);
        bail!("{path} has {sectors} sectors, and disk {} is declared with {words}", declared.name);
    }
    if asked.is_some_and(|asked| asked != sectors) {
        bail!("{path} has {sectors} sectors, and is there already; leave --size {} out", declared.name);
    }
    Ok(())
}

/// A record knows all partitions, and of those on a disk that is not there nobody can say that they are good.
fn warn_of_missing(program: &Program, targets: &[Target]) {
    for disk in program.disk_indexes().filter(|disk| !targets.iter().any(|target| target.disk == *disk)) {
        let mut partitions = program.partitions_on(disk).map(|p| program.partition(p));
        if partitions.any(|partition| partition.image.is_some()) {
            let name = &program.disk(disk).name;
            eprintln!("knownstate: disk {name} is not given, so bstate.txt calls its partitions Dirty");
        }
    }
}

/// Restores every disk, in the order of declaration.
fn restore(machine: &mut FileMachine, program: &Program, targets: &[Target], bar: &ProgressBar) -> Result<()> {
    let cd = Iso::open(machine).map_err(|e| anyhow!("{e}"))?;
    tell_apart(machine, program, &cd, targets)?;
    bar.set_length(bytes_to_write(machine, &cd, program, targets));
    let mut memory = buffers();
    let mut context = Context::new(machine, in_two(&mut memory), cd, program);
    for target in targets {
        let text = format!("restore {}", program.disk(target.disk).name);
        bar.set_message(text.clone());
        let verb = Verb::RestoreDisk(target.disk);
        let step = Step {
            label: "-".to_string(),
            text: text.clone(),
            verb,
            otherwise: None,
            line: 0,
            allows_good: true,
            allows_loss: true,
        };
        let remark = context.restore_disk(&step, target.disk).map_err(|why| anyhow!("{text}: {why}"))?;
        if !remark.is_empty() {
            bar.suspend(|| eprintln!("knownstate: {text}: {remark}"));
        }
    }
    Ok(())
}

/// Each disk has to be ours, or blank, or one that logic.txt lets be adopted. Two blank disks of one size are the same
/// to the loader, but here a person says which is which. So those that have nothing to be known by get the note of a
/// restore that was begun: the declared table and signature.
fn tell_apart(machine: &mut FileMachine, program: &Program, cd: &Iso, targets: &[Target]) -> Result<()> {
    let (mut nameless, mut adopted) = (Vec::new(), Vec::new());
    for (n, target) in targets.iter().enumerate() {
        let mut search = Search { machine, cd: Some(cd), program, known: &mut Known::default() };
        let look = search.look(DiskId(n), target.disk).map_err(|why| anyhow!("{}: {why}", target.path.display()))?;
        match look.standing {
            Standing::Blank => nameless.push(n),
            Standing::Ours { .. } => {}
            _ if program.disk(target.disk).adopt => adopted.push(n),
            standing => {
                let (path, reason, remedy) = (target.path.display(), standing.reason(), standing.remedy());
                bail!(
                    "{path} {reason}, so it is not written; {remedy}; `knownstate inspect {path} --logic LOGIC` says more"
                )
            }
        }
    }
    // Of several used disks the loader adopts none. Here each is named, so what is on them goes before they get
    // their notes.
    if adopted.len() > 1 {
        for &n in &adopted {
            empty(machine, DiskId(n)).with_context(|| format!("can't empty {}", targets[n].path.display()))?;
        }
        nameless.extend(adopted);
    }
    if program.disk_indexes().count() == 1 {
        return Ok(());
    }
    for (n, target) in targets.iter().enumerate().filter(|(n, _)| nameless.contains(n)) {
        let Some(drive) = machine.drive_mut(n) else { continue };
        let declared = program.disk(target.disk);
        let signature = declared.signature.unwrap_or(default_signature(declared));
        let mbr = Mbr::new(&program.map(target.disk), &[0; CODE_BYTES], signature);
        let note = Note { mbr, cd: program.cd().map(|cd| cd.name.clone()).unwrap_or_default(), set: None };
        drive.write(0, &note.to_sector()).with_context(|| format!("can't write {}", target.path.display()))?;
    }
    Ok(())
}

/// Takes away all by which somebody's disk is known: the table, and every mark on it and in its partitions.
fn empty(machine: &mut FileMachine, id: DiskId) -> Result<()> {
    let sectors = machine.disks().get(id.0).map_or(0, |info| info.sectors);
    let mut sector = [0; SECTOR];
    let mut marks = marks::look(machine, id, Lba(0), sectors, On::Disk).found;
    if machine.read_disk(id, Lba(0), &mut sector).is_ok()
        && let Ok(mbr) = Mbr::parse(&sector)
    {
        for entry in entries_of(machine, id, sectors, &mbr).0 {
            let length = entry.sectors.min(sectors.saturating_sub(entry.start));
            marks.extend(marks::look(machine, id, Lba(entry.start), length, On::Partition).found);
        }
    }
    let Some(drive) = machine.drive_mut(id.0) else { return Ok(()) };
    drive.write(0, &[0; SECTOR])?;
    for mark in marks {
        (mark.at.0..mark.at.0 + mark.sectors).try_for_each(|at| drive.write(at, &[0; SECTOR]))?;
    }
    Ok(())
}

/// How much the images come to, for the bar.
fn bytes_to_write(machine: &mut FileMachine, cd: &Iso, program: &Program, targets: &[Target]) -> u64 {
    let partitions = targets.iter().flat_map(|target| program.partitions_on(target.disk));
    let paths: Vec<String> = partitions.filter_map(|partition| program.image_path(partition)).collect();
    // What can't be read now is told when it is needed.
    let described = paths.iter().filter_map(|path| Table::on_cd(machine, cd, path).ok()).map(|t| t.header.described);
    described.sum::<u64>() * SECTOR as u64
}

/// Gives the files that were made their names.
fn keep(targets: Vec<Target>, program: &Program) -> Result<()> {
    for target in targets {
        if let Some(made) = target.made {
            made.persist_noclobber(&target.path).with_context(|| format!("can't make {}", target.path.display()))?;
        }
        let partitions = program.partitions_on(target.disk).map(|p| program.partition(p));
        let names: Vec<&str> = partitions.filter(|p| p.image.is_some()).map(|p| p.name.as_str()).collect();
        println!("{}: disk {}, {}", target.path.display(), program.disk(target.disk).name, names.join(" "));
    }
    Ok(())
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The bar shows what is written; the loader's lines are for its own screen.
struct Bar(ProgressBar);

impl Listener for Bar {
    fn line(&mut self, _line: &Line<'_>) {}
    fn wrote(&mut self, bytes: usize) {
        self.0.inc(bytes as u64);
    }
}
