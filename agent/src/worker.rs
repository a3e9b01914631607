//! Each partition is asked by a process of its own. One that asks a device that does not answer can't be ended,
//! not even by the kernel, until the device does; nor could we, if it were a thread of ours. So it is left
//! behind, with nothing of ours open.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use knownstate_core::units::SECTOR;

use crate::place::{self, Content, Look, Route, Target};
use crate::system::Number;

/// The first argument of a worker; no command of anybody's.
pub const WORKER: &str = "--worker";
/// How long all partitions together may take to answer. A disk that was asleep takes ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many are asked at once.
const MOST: usize = 16;
/// How long a worker that has answered may take to end.
const GRACE: Duration = Duration::from_millis(200);

/// Looks at partitions; for each what is there, or why nobody knows.
pub fn look(targets: &[Target]) -> Vec<Look> {
    let jobs: Vec<Vec<OsString>> = targets.iter().map(|t| arguments("look", t)).collect();
    let broken = |why: String| Look { sealed: false, content: Content::Refused(why) };
    let decoded = |answer: Vec<u8>| decode(&answer).unwrap_or_else(|| broken("the worker ended early".into()));
    ask(&jobs, &[]).into_iter().map(|answer| answer.map_or_else(broken, decoded)).collect()
}

/// Writes the record into partitions; for each how that went.
pub fn write(targets: &[Target], sector: &[u8; SECTOR]) -> Vec<Result<(), String>> {
    let jobs: Vec<Vec<OsString>> = targets.iter().map(|t| arguments("write", t)).collect();
    let outcome = |answer: Vec<u8>| match String::from_utf8_lossy(&answer).split_once(' ') {
        Some(("done", _)) => Ok(()),
        Some(("failed", why)) => Err(why.to_string()),
        _ => Err("the worker ended early".to_string()),
    };
    ask(&jobs, sector).into_iter().map(|answer| answer.and_then(outcome)).collect()
}

/// The worker's side.
pub fn run(arguments: &[OsString]) -> Option<()> {
    let [verb, node, number, route, points @ ..] = arguments else { return None };
    let target = Target {
        node: node.into(),
        number: Number::parse(number.to_str()?)?,
        route: Route::parse(route)?,
        points: points.iter().map(PathBuf::from).collect(),
    };
    let answer = match verb.to_str()? {
        "look" => encode(&place::look(&target)),
        "write" => {
            let mut sector = [0; SECTOR];
            io::stdin().read_exact(&mut sector).ok()?;
            match place::write(&target, &sector) {
                Ok(()) => b"done ".to_vec(),
                Err(why) => format!("failed {why}").into_bytes(),
            }
        }
        _ => return None,
    };
    io::stdout().write_all(&answer).ok()
}

fn arguments(verb: &str, target: &Target) -> Vec<OsString> {
    let mut all: Vec<OsString> = [WORKER, verb].map(OsString::from).to_vec();
    all.extend([target.node.clone().into(), target.number.to_string().into(), target.route.word().into()]);
    all.extend(target.points.iter().map(OsString::from));
    all
}

/// One line of words, then the content.
fn encode(look: &Look) -> Vec<u8> {
    let (word, why, bytes): (&str, &str, &[u8]) = match &look.content {
        Content::Read(bytes) => ("read", "", bytes),
        Content::Refused(why) => ("refused", why, &[]),
        Content::Absent(why) => ("absent", why, &[]),
    };
    let sealed = if look.sealed { "sealed" } else { "bare" };
    let mut answer = format!("{sealed} {word} {}\n", why.replace('\n', " ")).into_bytes();
    answer.extend(bytes);
    answer
}

fn decode(answer: &[u8]) -> Option<Look> {
    let end = answer.iter().position(|&b| b == b'\n')?;
    let line = String::from_utf8_lossy(&answer[..end]).into_owned();
    let (sealed, rest) = line.split_once(' ')?;
    let (word, why) = rest.split_once(' ')?;
    let content = match word {
        "read" => Content::Read(answer[end + 1..].to_vec()),
        "refused" => Content::Refused(why.to_string()),
        "absent" => Content::Absent(why.to_string()),
        _ => return None,
    };
    Some(Look { sealed: sealed == "sealed", content })
}

/// Runs a worker for each job, and waits for the answers, as long as there is patience.
fn ask(jobs: &[Vec<OsString>], input: &[u8]) -> Vec<Result<Vec<u8>, String>> {
    let end = Instant::now() + PATIENCE;
    jobs.chunks(MOST)
        .flat_map(|jobs| {
            let started: Vec<_> = jobs.iter().map(|job| start(job, input)).collect();
            started.into_iter().map(|worker| finish(worker?, end)).collect::<Vec<_>>()
        })
        .collect()
}

type Answer = io::Result<Vec<u8>>;

fn start(job: &[OsString], input: &[u8]) -> Result<(Child, Receiver<Answer>), String> {
    let mut command = Command::new("/proc/self/exe");
    // Standard error as well: whoever reads ours to its end must not wait for a worker.
    command.args(job).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| format!("can't start a worker: {e}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A worker that is gone is noticed by its answer.
        let _ = pipe.write_all(input);
    }
    let (to, answer) = channel();
    if let Some(mut pipe) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = to.send(pipe.read_to_end(&mut bytes).map(|_| bytes));
        });
    }
    Ok((child, answer))
}

fn finish((mut child, answer): (Child, Receiver<Answer>), end: Instant) -> Result<Vec<u8>, String> {
    let answer = answer.recv_timeout(end.saturating_duration_since(Instant::now()));
    let until = Instant::now() + GRACE;
    match answer {
        Ok(answer) => {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            answer.map_err(|e| e.to_string())
        }
        Err(RecvTimeoutError::Timeout) => {
            let _ = child.kill();
            Err(format!("it has not answered for {} s", PATIENCE.as_secs()))
        }
        Err(RecvTimeoutError::Disconnected) => Err("can't start a worker".into()),
    }
}
