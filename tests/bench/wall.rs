//! QEMU, TCG, with a stopwatch and QEMU's own counters of what was moved.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::guest;

/// Pairs of runs that a median is taken of.
pub const PAIRS: usize = 5;

/// The boards: QEMU's name, and what its disks hang on.
pub const BOARDS: [(&str, &str); 2] = [("q35", "AHCI"), ("pc", "IDE")];

/// What was moved between a drive and the machine, from power-on to the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// From the first mark to the last.
    pub seconds: f64,
    /// The CD's counters.
    pub cd: Counters,
    /// The disk's.
    pub disk: Counters,
}

/// What is said on the serial line when the time begins, and when it ends.
#[derive(Clone, Copy)]
pub struct Marks<'a>(pub &'a str, pub &'a str);

/// The marks of the floors.
pub const FLOOR: Marks<'static> = Marks("<", ">");

/// Runs a CD with a disk, and takes the time.
pub fn time(name: &str, cd: &Path, disk: &Path, board: &'static str, marks: Marks<'_>) -> Timed {
    // A socket's path has 107 characters at most.
    let folder = tempfile::tempdir().expect("a folder can be made");
    let socket = folder.path().join("qmp");
    let mut machine = guest::Machine::new(cd, disk);
    machine.board = board;
    let machine = machine.with(&["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    let mut guest = machine.with(&["-qmp", &format!("unix:{},server=on,wait=off", socket.display())]).start(name);
    guest.expect(marks.0);
    let begin = Instant::now();
    guest.expect(marks.1);
    let seconds = begin.elapsed().as_secs_f64();
    let said = counters(&socket).unwrap_or_else(|e| panic!("QEMU's counters: {e}"));
    Timed { seconds, cd: parse(&said, "cd"), disk: parse(&said, "d0") }
}

/// The monitor's `info blockstats`.
fn counters(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut next = || lines.next().unwrap_or(Ok(String::new()));
    next()?;
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    next()?;
    let ask = r#"{"execute":"human-monitor-command","arguments":{"command-line":"info blockstats"}}"#;
    writeln!(stream, "{ask}")?;
    next()
}

/// The counters of one drive, from `d0: rd_bytes=1024 wr_bytes=0 ...`.
fn parse(said: &str, drive: &str) -> Counters {
    let line = said.split("\\r\\n").find_map(|line| line.split_once(&format!("{drive}: "))).map(|(_, rest)| rest);
    let field = |name: &str| {
        let value = line.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix(name)));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} of {drive} in {said}"))
    };
    Counters { read: field("rd_bytes="), written: field("wr_bytes=") }
}

/// A floor and a subject, as they compare.
pub struct Pair {
    /// Medians.
    pub floor: f64,
    /// See `floor`.
    pub subject: f64,
    /// The median of the pairs' ratios.
    pub ratio: f64,
    /// The subject's last run.
    pub last: Timed,
}

/// Runs both in turn, so that whatever else the host does hits both.
pub fn pairs(floor: impl Fn() -> Timed, subject: impl Fn() -> Timed) -> Pair {
    let runs: Vec<(Timed, Timed)> = (0..PAIRS).map(|_| (floor(), subject())).collect();
    Pair {
        floor: median(runs.iter().map(|(floor, _)| floor.seconds)),
        subject: median(runs.iter().map(|(_, subject)| subject.seconds)),
        ratio: median(runs.iter().map(|(floor, subject)| subject.seconds / floor.seconds)),
        last: runs[PAIRS - 1].1,
    }
}

/// The one in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
