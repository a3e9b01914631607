//! One at a time: what is read, changed and written must not change in between.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

/// How long another one is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Held until it is dropped, or the program ends in any way.
pub struct Lock(#[allow(dead_code, reason = "it is the open file that holds the lock")] Option<File>);

impl Lock {
    /// Takes the lock `name` among those of root; or, where there is no `/run`, or it is not for us, the first
    /// of `others` that can be opened: a file or a device that every other one would take, too.
    ///
    /// # Errors
    /// That somebody holds it all the time, in words.
    pub fn take(name: &str, others: &[PathBuf]) -> Result<Self, String> {
        let folder = Path::new("/run");
        let files = [folder.join(name)];
        let own = |path: &Path| open(path, true).ok().map(|file| (path.to_path_buf(), file));
        let other = |path: &PathBuf| open(path, false).ok().map(|file| (path.clone(), file));
        let Some((path, file)) = files.iter().find_map(|p| own(p)).or_else(|| others.iter().find_map(other)) else {
            // Nothing can be read either, then, and that is told.
            return Ok(Self(None));
        };
        wait(&file).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(Some(file)))
    }
}

fn open(path: &Path, make: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    if make {
        options.write(true).create(true).mode(0o600);
    }
    options.open(path)
}

fn wait(file: &File) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => sleep(PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(format!("another bstate has been busy for {} s; try again", PATIENCE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
