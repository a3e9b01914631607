//! What is done to hostile bytes, and what must be true of it whatever they are. One function a target;
//! `fuzz_targets/` hands them to libFuzzer, and `tests/fuzzing.rs` runs them without it.
#![allow(missing_docs, dead_code, reason = "test code, of which each user needs a part")]

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

/// Every target, by the name of its program.
pub const TARGETS: [(&str, fn(&[u8])); 11] = [
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

/// For Miri, which has no time for more: the committed inputs of every target but whole starts, which begin with
/// files that other tests make.
#[cfg(test)]
mod tests {
    #[test]
    fn committed_inputs_break_nothing() {
        for (target, run) in super::TARGETS.into_iter().filter(|(name, _)| !name.starts_with("run")) {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/");
            for file in std::fs::read_dir(format!("{folder}{target}")).into_iter().flatten() {
                run(&std::fs::read(file.expect("it can be listed").path()).expect("it can be read"));
            }
        }
    }
}
