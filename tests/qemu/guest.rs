//! A QEMU with its serial line. Whoever waits on it says for how long: a silent guest has failed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::watch;

/// Long enough for the slowest start on a loaded machine; only a guest that hangs meets it.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// What the machine is made of.
pub struct Machine {
    pub binary: &'static str,
    /// `-machine`: `q35` has AHCI, `pc` has IDE, whose transfers take 40 times longer.
    pub board: &'static str,
    pub cd: Option<PathBuf>,
    pub disks: Vec<PathBuf>,
    pub serial: bool,
    pub extra: Vec<String>,
    /// Whether a restart ends it.
    pub no_reboot: bool,
    /// What `simulate` has to be told of it, such as `--fail 1` where the step has nothing to find here.
    pub told: Vec<String>,
}

impl Machine {
    pub fn new(cd: &Path, disk: &Path) -> Self {
        Self {
            binary: "qemu-system-i386",
            board: "q35",
            cd: Some(cd.to_path_buf()),
            disks: vec![disk.to_path_buf()],
            serial: true,
            extra: vec!["-m".into(), "96".into()],
            no_reboot: false,
            told: Vec::new(),
        }
    }

    pub fn with(mut self, words: &[&str]) -> Self {
        self.extra.extend(words.iter().map(ToString::to_string));
        self
    }

    /// The same, and the watchdog that it has: a q35 board's is always there.
    pub fn all_told(&self) -> Vec<String> {
        let has = |word: &str| self.extra.iter().any(|w| w == word);
        let watchdogs = [("i6300esb", has("i6300esb")), ("ib700", has("ib700")), ("itco", self.board == "q35")];
        let watchdog = watchdogs.iter().find(|(_, there)| *there).map(|(chip, _)| ["--watchdog", chip]);
        watchdog.into_iter().flatten().map(ToString::to_string).chain(self.told.iter().cloned()).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.binary);
        // TCG: some hosts' KVM interprets real mode, and loses some boot loaders over it.
        command.args(["-machine", self.board, "-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none"]);
        if !self.extra.iter().any(|w| w == "-vga") {
            command.args(["-vga", "std"]);
        }
        let (cd_bus, bus) = if self.board == "q35" { ("ide.2", "ide") } else { ("ide.1", "ide.0") };
        if let Some(cd) = &self.cd {
            command
                .arg("-drive")
                .arg(format!("file={},format=raw,if=none,media=cdrom,readonly=on,id=cd", cd.display()));
            command.arg("-device").arg(format!("ide-cd,drive=cd,bus={cd_bus},bootindex=0"));
        }
        for (n, disk) in self.disks.iter().enumerate() {
            let file = disk.display();
            command.arg("-drive").arg(format!("file={file},format=raw,if=none,cache={},id=d{n}", watch::CACHE));
            // Every port of AHCI is a bus of its own; an IDE bus has two units.
            let place =
                if self.board == "q35" { format!("{bus}.{}", [0, 1, 3, 4][n]) } else { format!("{bus},unit={n}") };
            command.arg("-device").arg(format!("ide-hd,drive=d{n},bus={place},bootindex={}", n + 1));
        }
        command.args(if self.serial { ["-serial", "stdio"] } else { ["-serial", "none"] });
        command.args(&self.extra);
        command
    }

    /// Switches it on.
    pub fn start(self, name: &str) -> Guest {
        let log = crate::folder("logs").join(format!("{name}.log"));
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let ears = Ears { log: File::create(&log).expect("the log can be written"), said: said.clone() };
        let (mut child, watch) = watch::start(&self, name, command, ears);
        Guest { input: child.stdin.take(), child, said, log, seen: 0, watch: Some(watch) }
    }

    /// Starts QEMU, with whatever was added to the words that `start` has put together.
    pub fn spawn(&self, command: &mut Command) -> Child {
        command.spawn().unwrap_or_else(|e| panic!("{}: {e}; `make setup` installs it", self.binary))
    }
}

/// Where what a guest says goes: to a file at once, to the scenario when whoever watches it lets it.
pub struct Ears {
    log: File,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl Ears {
    /// For the file.
    pub fn log(&mut self, bytes: &[u8]) {
        let _ = self.log.write_all(bytes);
    }

    /// For the scenario.
    pub fn tell(&mut self, text: &str) {
        self.change(|said| said.text.push_str(text));
    }

    /// The scenario fails, for this reason.
    pub fn fail(&mut self, why: String) {
        self.change(|said| said.failed = said.failed.take().or(Some(why)));
    }

    /// Nothing will be said any more.
    pub fn end(&mut self) {
        self.change(|said| said.ended = true);
    }

    fn change(&mut self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.0.lock().expect("no reader panics"));
        self.said.1.notify_all();
    }
}

#[derive(Default)]
struct Said {
    text: String,
    ended: bool,
    /// What whoever watches has found.
    failed: Option<String>,
}

/// A running machine. Dropping it is a power cut.
pub struct Guest {
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<(Mutex<Said>, Condvar)>,
    log: PathBuf,
    /// How much of what it said was waited for already.
    seen: usize,
    watch: Option<JoinHandle<()>>,
}

impl Guest {
    /// Waits until the machine says `text`, after all that was waited for before.
    pub fn expect(&mut self, text: &str) -> &mut Self {
        let seen = self.seen;
        let found = self.wait(|said| said.text.get(seen..).and_then(|rest| rest.find(text)).map(|at| at + text.len()));
        match found {
            Some(at) => self.seen += at,
            None => self.fail(&format!("it never said `{text}`")),
        }
        self
    }

    /// Waits until QEMU ends by itself.
    pub fn expect_end(&mut self) -> String {
        if self.wait(|said| said.ended.then_some(())).is_none() {
            self.fail("it did not end");
        }
        self.all()
    }

    /// Everything it said so far.
    pub fn all(&self) -> String {
        self.said.0.lock().expect("no reader panics").text.replace('\r', "")
    }

    /// The loader's lines so far, without their times and without progress.
    pub fn steps(&self) -> Vec<String> {
        let all = self.all();
        let lines = all.lines().filter(|l| l.starts_with('['));
        let lines = lines.filter_map(|l| l.split_once("] ")).map(|(_, rest)| rest.to_string());
        lines.filter(|l| l.contains(" = ")).collect()
    }

    /// Types on the serial line.
    pub fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("stdin is piped");
        input.write_all(line.as_bytes()).and_then(|()| input.write_all(b"\n")).expect("the guest takes input");
    }

    /// Switches it off the hard way, and waits until that has happened.
    pub fn power_cut(mut self) {
        self.kill();
    }

    /// Afterwards nobody looks at its disks any more.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let watched = self.watch.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(!matches!(watched, Some(Err(_))), "the watch has panicked");
            self.assert_same();
        }
    }

    /// That whoever watches has found nothing so far.
    fn assert_same(&self) {
        let failed = self.said.0.lock().expect("no reader panics").failed.clone();
        if let Some(why) = failed {
            panic!("{why}");
        }
    }

    fn wait<T>(&mut self, look: impl Fn(&Said) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.said;
        let mut said = lock.lock().expect("no reader panics");
        loop {
            if let Some(found) = look(&said) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if said.ended || said.failed.is_some() || left.is_zero() {
                return None;
            }
            said = changed.wait_timeout(said, left).expect("no reader panics").0;
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        self.assert_same();
        let all = self.all();
        let tail: Vec<&str> = all.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect();
        panic!("{what}; its last lines (all of them are in {}):\n{}", self.log.display(), tail.join("\n"));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}
