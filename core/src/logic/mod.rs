//! logic.txt: the flowchart. The language: docs/LOGIC.md.

mod diagnostic;
mod line;
mod parse;
mod program;

pub use diagnostic::{Diagnostic, nearest};
pub use line::{UNITS, sectors};
pub use parse::parse;
pub use program::{
    Cd, Disk, DiskIndex, DiskState, MbrCode, Partition, PartitionIndex, Program, Protect, Size, Step, Verb, Wish,
};

/// The file's name at the CD's root.
pub const FILE: &str = "logic.txt";
/// The longest logic.txt that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
