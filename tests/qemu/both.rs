//! Every start of every scenario is run by `knownstate simulate` too, on a copy of its disks: it has to say
//! the same lines, times and progress aside, and to leave the same bytes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{SeekFrom, seek};

use crate::common::record;
use crate::disk::run;

/// Starts that can't be compared, and why. All others are.
const NOT_COMPARED: [(&str, &str); 3] = [
    ("no-serial", "nothing tells when the loader is done"),
    ("cut", "the power goes in the middle of a restore, at a moment that is never the same"),
    ("end-*", "the loader is one that goes wrong"),
];

/// Bytes that are compared at once.
const PIECE: usize = 1 << 20;

/// One scenario's machine, as far as the comparison needs to know it.
pub struct Both {
    name: String,
    cd: PathBuf,
    disks: Vec<PathBuf>,
    told: Vec<String>,
    /// The disks as they were before this start.
    before: Vec<PathBuf>,
    /// Starts so far.
    number: usize,
    /// How many of them were compared.
    pub compared: usize,
}

impl Both {
    /// Nothing if this machine can't be compared.
    pub fn new(name: &str, cd: Option<&Path>, disks: &[PathBuf], told: &[String]) -> Option<Self> {
        let is_listed = |listed: &str| match listed.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => listed == name,
        };
        if NOT_COMPARED.iter().any(|(listed, _)| is_listed(listed)) {
            return None;
        }
        let cd = cd?.to_path_buf();
        let (name, disks, told) = (name.to_string(), disks.to_vec(), told.to_vec());
        Some(Self { name, cd, disks, told, before: Vec::new(), number: 0, compared: 0 })
    }

    /// The machine is about to start: its disks are kept as they are.
    pub fn keep(&mut self) {
        self.forget();
        self.number += 1;
        let folder = crate::folder("both");
        let copy = |(n, disk): (usize, &PathBuf)| {
            let to = folder.join(format!("{}-{}-{n}.img", self.name, self.number));
            run(Command::new("cp").args(["--sparse=auto", "--reflink=auto"]).arg(disk).arg(&to));
            to
        };
        self.before = self.disks.iter().enumerate().map(copy).collect();
    }

    /// The start has ended with these lines, and the guest is frozen. What differs is left for whoever looks.
    pub fn compare(&mut self, lines: &[String]) -> Result<(), String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_knownstate"));
        command.arg("simulate").arg(&self.cd).args(["--write", "--starts", "1"]).args(&self.told);
        for disk in &self.before {
            command.arg("--disk").arg(format!("-={}", disk.display()));
        }
        let output = command.output().expect("knownstate runs");
        let simulated: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().filter_map(line).collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        let holds = lines.last().is_some_and(|line| ends(line) == Some(End::Hold));
        let context = format!("start {} of {}", self.number, self.name);
        if simulated != lines || !errors.is_empty() {
            return Err(format!("{context}: the loader says {lines:#?}, simulate {simulated:#?}{errors}"));
        }
        if output.status.code() != Some(i32::from(holds)) {
            return Err(format!("{context}: simulate ends with {}", output.status));
        }
        for (real, simulated) in self.disks.iter().zip(&self.before) {
            if let Some(byte) = difference(real, simulated) {
                let (real, simulated) = (real.display(), simulated.display());
                return Err(format!("{context}: {real} and {simulated} differ in sector {}", byte / 512));
            }
        }
        self.forget();
        self.compared += 1;
        Ok(())
    }

    /// The copies of the disks are not needed: all was the same, or the scenario ends before there is an end to
    /// compare.
    pub fn forget(&mut self) {
        for copy in self.before.drain(..) {
            fs::remove_file(copy).expect("it is ours");
        }
    }

    /// They are: for whoever looks into what differs.
    pub fn leave(&mut self) {
        self.before.clear();
    }
}

/// A line of the loader without its time; nothing for progress, and for what is no line of the loader.
pub fn line(text: &str) -> Option<String> {
    let (time, rest) = text.trim_end().split_once("] ")?;
    let is_time = time.strip_prefix('[')?.trim_start().split_once('.').is_some_and(|(_, millis)| millis.len() == 3);
    // What a watchdog says of itself only the real one knows.
    let rest = if rest.contains(" watchdog ") { rest.split(" (").next().unwrap_or(rest) } else { rest };
    (is_time && !rest.ends_with(" s left")).then(|| rest.to_string())
}

/// What the loader says first.
const GREETING: &str = "] - Knownstate ";

/// Whether the loader has said anything.
pub fn begins(text: &str) -> bool {
    text.contains(GREETING)
}

/// The lines of a start, if they are all there: from the greeting to the one that ends it.
pub fn whole_start(text: &str) -> Option<Vec<String>> {
    let text = &text[text.rfind(GREETING)?..];
    let text = &text[..=text.rfind('\n')?];
    let lines = text.lines().enumerate().filter_map(|(n, text)| match n {
        0 => Some(text.trim_end().trim_start_matches("] ").to_string()),
        _ => line(text),
    });
    let mut lines: Vec<String> = lines.collect();
    let last = lines.iter().position(|line| ends(line).is_some())?;
    lines.truncate(last + 1);
    Some(lines)
}

/// How a start ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    HandOff,
    Hold,
    Restart,
    PowerOff,
}

/// What the machine does after this line.
fn ends(line: &str) -> Option<End> {
    let (_, step) = line.split_once(' ')?;
    let (step, outcome) = step.split_once(" = ")?;
    match step.split(' ').next()? {
        _ if !outcome.starts_with("ok") => None,
        "boot" => Some(End::HandOff),
        "hold" => Some(End::Hold),
        "restart" => Some(End::Restart),
        "poweroff" => Some(End::PowerOff),
        _ => None,
    }
}

/// Where two files differ first. Only what is stored of either is looked at: holes are zeros.
pub fn difference(a: &Path, b: &Path) -> Option<u64> {
    let [a, b] = [a, b].map(|path| File::open(path).expect("a disk can be read"));
    let bytes = a.metadata().expect("it is open").len();
    if bytes != b.metadata().expect("it is open").len() {
        return Some(0);
    }
    let (mut at, mut left, mut right) = (0, vec![0; PIECE], vec![0; PIECE]);
    while let Some(from) = [&a, &b].into_iter().filter_map(|file| seek(file, SeekFrom::Data(at)).ok()).min() {
        let length = (bytes - from).min(PIECE as u64) as usize;
        for (file, into) in [(&a, &mut left), (&b, &mut right)] {
            file.read_exact_at(&mut into[..length], from).expect("a disk can be read");
        }
        if left[..length] != right[..length] {
            let [left, right] = [&left, &right].map(|piece| record::of_one_set(piece[..length].to_vec()));
            if left == right {
                at = from + length as u64;
                continue;
            }
            let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
            return Some(from + same as u64);
        }
        at = from + length as u64;
        if at >= bytes {
            break;
        }
    }
    None
}
