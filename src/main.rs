//! `knownstate`: the maker's tool. One file a command.

mod build;
mod check;
mod files;
mod images;
mod inspect;
mod iso;
mod loader;
mod pack;
mod seal;

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
    /// Say what is in an ISO, a partition image or a disk
    Inspect {
        /// The file; it is only read
        file: PathBuf,
    },
}

/// Exit codes: 0 done, 1 the answer is no, 2 wrong usage or input.
fn main() -> ExitCode {
    // So that `knownstate inspect ... | head` ends like every other tool, instead of in a panic.
    sigpipe::reset();
    let result = match Arguments::parse().command {
        Command::Build { logic, output, images } => build::run(&logic, images.as_deref(), &output).map(|()| true),
        Command::Check { logic, images } => check::run(&logic, images.as_deref()),
        Command::Inspect { file } => inspect::run(&file),
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
