//! `knownstate simulate`: the loader's own interpreter on disk images or block devices, with the lines that
//! the loader would say. Nothing is written to them unless `--write` asks for it.

pub mod cd;
pub mod device;
pub mod drive;
pub mod faults;
pub mod machine;
mod overlay;
mod state;
mod system;

use std::path::PathBuf;

use anyhow::{Result, bail};
use knownstate_core::event::Line;
use knownstate_core::logic::Program;
use knownstate_core::machine::{Ending, Watchdog};

use crate::proof::walk::System;
use cd::Cd;
use drive::{Drive, Named};
use faults::{Faults, Kind};
use machine::{FileMachine, Listener, buffers};

/// As many restarts as one call makes beside the starts that follow a system's end: a flow that restarts more
/// often never ends.
const MOST_STARTS: u32 = 20;

/// What `knownstate simulate` is asked for.
#[derive(clap::Args)]
pub struct Options {
    /// The logic file, or an ISO that `knownstate build` made
    #[arg(value_name = "LOGIC|ISO")]
    cd: PathBuf,
    /// A disk of the machine, drive 80 first: an image file or a block device. NAME is a disk of the logic
    /// file, or `-` for one that it does not declare
    #[arg(long = "disk", value_name = "NAME=FILE", value_parser = Named::parse, allow_hyphen_values = true)]
    disks: Vec<Named>,
    /// Where the image files are, if not beside the logic file
    #[arg(long)]
    images: Option<PathBuf>,
    /// Write to the disks, instead of forgetting at the end what was written
    #[arg(long)]
    write: bool,
    /// Let every transfer fail while STEP is carried out for the Kth time in start N. STEP is a label, or
    /// `:LINE`; N and K are 1 where they are left out
    #[arg(long, value_name = "[N:]STEP[#K]")]
    fail: Vec<String>,
    /// The same for writes of more than one sector alone: a restore fails in its images
    #[arg(long, value_name = "[N:]STEP[#K]")]
    fail_late: Vec<String>,
    /// What the system does after each hand-off, so that the machine starts again: `ok` reports that it is up
    /// and shuts down, `crash` reports and then the power goes, `hang` never reports
    #[arg(long, value_name = "WHAT,...", value_delimiter = ',')]
    os: Vec<System>,
    /// What bstate.txt says before the first start, such as "P1=Dirty P1.failures=2 restores=3"; partitions
    /// that are not named are OK
    #[arg(long, value_name = "KEY=VALUE ...")]
    state: Option<String>,
    /// The watchdog that the machine has: i6300esb, itco or ib700; none, if this is left out
    #[arg(long, value_name = "CHIP", value_parser = chip)]
    watchdog: Option<Watchdog>,
    /// End after so many starts, whatever would follow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    starts: Option<u32>,
}

fn chip(name: &str) -> Result<Watchdog, String> {
    let found = Watchdog::ALL.into_iter().find(|chip| chip.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| "write i6300esb, itco or ib700".to_string())
}

/// Runs the CD; whether the machine came to something better than a hold.
///
/// # Errors
/// What is wrong with the options, the CD or the disks.
pub fn run(options: &Options) -> Result<bool> {
    let cd = Cd::open(&options.cd, options.images.as_deref())?;
    let drives = drives(options, &cd)?;
    let faults = faults(options, &cd)?;
    let mut machine = FileMachine::new(cd.file()?, drives, faults, Box::new(Printer));
    machine.watchdog = options.watchdog;
    if let Some(words) = &options.state {
        let program = cd.program()?;
        state::put(&mut machine, program, &state::parse(words, program)?)?;
    }
    let outcome = starts(options, &cd, &mut machine);
    for fault in machine.faults().unused() {
        eprintln!("knownstate: {fault}: the run did not come to that step so often");
    }
    machine.finish(false)?;
    outcome
}

/// Start after start, as far as they go.
fn starts(options: &Options, cd: &Cd, machine: &mut FileMachine) -> Result<bool> {
    let mut systems = options.os.iter();
    let followed = u32::try_from(options.os.len()).unwrap_or(u32::MAX);
    let most = options.starts.unwrap_or(MOST_STARTS.saturating_add(followed));
    for number in 1..=most {
        if number > 1 {
            println!();
        }
        machine.switch_on(number);
        let mut memory = buffers();
        match knownstate_core::run(machine, machine::in_two(&mut memory)) {
            Ending::Hold { .. } => return Ok(false),
            Ending::PowerOff => return Ok(true),
            Ending::Restart => {}
            Ending::HandOff(_) => match systems.next() {
                Some(system) => {
                    system.run(machine, cd.program()?);
                    machine.lose_power();
                }
                None => return Ok(true),
            },
        }
    }
    if options.starts.is_none() {
        println!("# {most} starts, and the last one asks for one more");
    }
    Ok(options.starts.is_some())
}

fn drives(options: &Options, cd: &Cd) -> Result<Vec<Drive>> {
    if options.disks.len() > machine::MOST_DRIVES {
        bail!("the loader looks at {} disks at most, not at {}", machine::MOST_DRIVES, options.disks.len());
    }
    for disk in options.disks.iter().filter(|disk| disk.name != "-") {
        // Of a CD whose logic.txt has errors nobody can tell; the run itself says what they are.
        if let Ok(program) = cd.program() {
            disk.declared(program)?;
        }
    }
    let paths: Vec<PathBuf> = options.disks.iter().map(|disk| disk.path.clone()).collect();
    drive::open_all(&paths, options.write)
}

fn faults(options: &Options, cd: &Cd) -> Result<Faults> {
    let given = options.fail.iter().map(|text| (Kind::All, text));
    let given = given.chain(options.fail_late.iter().map(|text| (Kind::Late, text)));
    let none = Program::default();
    let program = if options.fail.len() + options.fail_late.len() == 0 { &none } else { cd.program()? };
    Faults::parse(given, program)
}

/// Standard output as the loader's screen.
struct Printer;

impl Listener for Printer {
    fn line(&mut self, line: &Line<'_>) {
        println!("{line}");
    }
}
