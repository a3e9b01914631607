//! What is done to hostile bytes, and what must be true of it whatever they are. One function a target;
//! `fuzz_targets/` hands them to libFuzzer, and `tests/fuzzing.rs` runs them without it.
#![allow(missing_docs, dead_code, reason = "test code, of which each user needs a part")]
#![allow(clippy::duplicate_mod, reason = "tests/fuzzing.rs has these two from its own folder as well")]

#[path = "../../common/hostile.rs"]
pub mod hostile;
#[path = "../../common/record.rs"]
pub mod record;

pub mod cd;
pub mod disk;
pub mod filesystem;
pub mod heap;
pub mod input;
pub mod machine;
pub mod start;
pub mod text;

/// What a target does with an input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program.
pub const TARGETS: [(&str, Target); 11] = [
    ("mbr", disk::mbr),
    ("fat", filesystem::fat),
    ("ext", filesystem::ext),
    ("iso9660", cd::iso9660),
    ("bstate", text::bstate),
    ("logic", text::logic),
    ("image", cd::image),
    ("seal", disk::seal),
    ("layout", filesystem::layout),
    ("run", start::disk),
    ("run_cd", start::cd),
];

/// A target that allocates counts what it holds at once.
#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;
