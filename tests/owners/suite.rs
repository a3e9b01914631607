//! What both suites share: cases by seed and number, on every processor, and a report that replays.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::layout;
use crate::common::hostile::Random;
use crate::common::tools::temporary;

/// One case at work.
pub struct Case {
    pub number: usize,
    pub random: Random,
    folder: tempfile::TempDir,
    /// The disks as they were before the machine was switched on.
    pub disks: Vec<PathBuf>,
}

impl Case {
    /// A path for a disk of the machine, drive 80 first.
    pub fn disk(&mut self) -> PathBuf {
        let path = self.folder.path().join(format!("disk{}", self.disks.len()));
        self.disks.push(path.clone());
        path
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .filter(|v| !v.is_empty())
        .map(|v| v.parse().unwrap_or_else(|_| panic!("{variable}={v} is no number")))
}

/// `OWNERS_CASE`, as a failure names it.
fn alone(suite: &str) -> Option<Option<usize>> {
    let wanted = std::env::var("OWNERS_CASE").ok().filter(|v| !v.is_empty())?;
    let (of, n) = wanted.rsplit_once('-').expect("OWNERS_CASE is SUITE-NUMBER");
    Some((of == suite).then(|| n.parse().expect("OWNERS_CASE is SUITE-NUMBER")))
}

/// Runs `count` cases, or OWNERS_COUNT, of a suite; each says in a word what it was, or what is wrong.
pub fn run(suite: &str, count: usize, case: impl Fn(&mut Case) -> Result<String, String> + Sync) {
    let seed = number("OWNERS_SEED").unwrap_or(1);
    let numbers: Vec<usize> = match alone(suite) {
        Some(Some(one)) => vec![one],
        Some(None) => return,
        None => (0..number("OWNERS_COUNT").map_or(count, |n| n as usize)).collect(),
    };
    let (next, words, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
            match one(suite, seed, number, &case) {
                Ok(word) => words.lock().unwrap().push(word),
                Err(why) => failed.lock().unwrap().push((number, why)),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    report(suite, seed, words.into_inner().unwrap(), failed.into_inner().unwrap());
}

fn one(
    suite: &str,
    seed: u64,
    number: usize,
    case: impl Fn(&mut Case) -> Result<String, String>,
) -> Result<String, String> {
    // Neighbours in number are none in what they get.
    let mut mixed =
        Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (number as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03));
    for _ in 0..8 {
        mixed.next();
    }
    let mut at = Case { number, random: mixed, folder: temporary(), disks: Vec::new() };
    let done = catch_unwind(AssertUnwindSafe(|| case(&mut at)));
    let done = done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    });
    done.map_err(|why| {
        format!("{why}\n  disks: {}", layout::keep(&at.disks, &format!("{suite}-{seed}-{number}")).join(" "))
    })
}

fn report(suite: &str, seed: u64, mut words: Vec<String>, mut failed: Vec<(usize, String)>) {
    words.sort();
    let kinds = words.chunk_by(|a, b| a == b).map(|same| format!("{} {}", same.len(), same[0]));
    println!("owners, {suite}, seed {seed}: {}; failures: {}", kinds.collect::<Vec<_>>().join(", "), failed.len());
    failed.sort();
    for (number, why) in failed.iter().take(number("OWNERS_SHOW").map_or(10, |n| n as usize)) {
        println!("\nmake owners SEED={seed} CASE={suite}-{number}\n  {why}");
    }
    let numbers: Vec<usize> = failed.iter().map(|f| f.0).collect();
    assert!(failed.is_empty(), "{} cases failed, see above: {numbers:?}", failed.len());
}
