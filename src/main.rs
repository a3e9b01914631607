//! `knownstate`: the maker's tool. One file a command.

mod build;
mod check;
mod draw;
mod examine;
mod files;
mod images;
mod inspect;
mod iso;
mod loader;
mod names;
mod pack;
mod proof;
mod provision;
mod seal;
mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Makes recovery CDs that bring a headless BIOS machine to a known state on every power-on.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn a logic.txt and the partition images beside it into a bootable ISO
    Build {
        /// The logic file; image files are looked for beside it, or in --images
        logic: PathBuf,
        /// Where to write the ISO
        #[arg(short, long)]
        output: PathBuf,
        /// Where the image files are, if not beside the logic file
        #[arg(long)]
        images: Option<PathBuf>,
    },
    /// Say all that is wrong with a logic.txt and its images
    Check {
        /// The logic file
        logic: PathBuf,
        /// Where the image files are, if not beside the logic file
        #[arg(long)]
        images: Option<PathBuf>,
    },
    /// Draw a logic.txt as a flowchart, by Graphviz
    Draw {
        /// The logic file; the images that it names need not be there
        logic: PathBuf,
        /// Where to write the picture, if not to standard output
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// What to write, if not what the output file's ending says: .svg, .mmd, .dot
        #[arg(long, value_enum)]
        format: Option<draw::Format>,
        /// A log of the machine's serial line: lights up the way that the machine took
        #[arg(long, value_name = "LOG")]
        trace: Option<PathBuf>,
        /// Which start in the log, from 1, if not the last complete one
        #[arg(long, value_name = "N", requires = "trace")]
        start: Option<usize>,
    },
    /// Run the flow on disk images or block devices, and print the lines that the loader would
    Simulate(simulate::Options),
    /// Make disks as a restore would leave them, for the factory
    Provision(provision::Options),
    /// Say what is in an ISO, a partition image or a disk
    Inspect {
        /// The file, or the disks: image files or block devices; they are only read
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Say which of the declared disks each is, and why, or why not: a logic file, or an ISO that `knownstate
        /// build` made
        #[arg(long, value_name = "LOGIC|ISO")]
        logic: Option<PathBuf>,
        /// Where the image files are, if not beside the logic file
        #[arg(long, requires = "logic")]
        images: Option<PathBuf>,
        /// Say what the loader on an ISO has at an address (hexadecimal) that it told of when it failed
        #[arg(long, value_name = "ADDRESS", value_parser = address, conflicts_with = "logic")]
        at: Option<u32>,
    },
}

/// As the loader writes it.
fn address(text: &str) -> Result<u32, std::num::ParseIntError> {
    u32::from_str_radix(text.trim_start_matches("0x"), 16)
}

/// Exit codes: 0 done, 1 the answer is no, 2 wrong usage or input.
fn main() -> ExitCode {
    // So that `knownstate inspect ... | head` ends like every other tool, instead of in a panic.
    sigpipe::reset();
    let result = match Arguments::parse().command {
        Command::Build { logic, output, images } => build::run(&logic, images.as_deref(), &output).map(|()| true),
        Command::Check { logic, images } => check::run(&logic, images.as_deref()),
        Command::Draw { logic, output, format, trace, start } => {
            draw::run(&logic, output.as_deref(), format, trace.as_deref(), start)
        }
        Command::Simulate(options) => simulate::run(&options),
        Command::Provision(options) => provision::run(&options),
        Command::Inspect { files, logic: Some(logic), images, .. } => {
            inspect::whose::run(&files, &logic, images.as_deref())
        }
        Command::Inspect { files, at, .. } => inspect::run(&files, at),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("knownstate: {error:#}");
            ExitCode::from(2)
        }
    }
}
