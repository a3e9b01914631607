//! A QEMU with its serial line. Whoever waits on it says for how long: a silent guest has failed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::both::{Both, begins, whole_start};
use crate::monitor::{Monitor, Socket, Stopped};

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
            command.arg("-drive").arg(format!("file={},format=raw,if=none,cache=unsafe,id=d{n}", disk.display()));
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
        let mut both = if self.serial { Both::new(name, self.cd.as_deref(), &self.disks, &self.told) } else { None };
        if let Some(both) = &mut both {
            both.keep();
        }
        let socket = Socket::new(name);
        let mut command = self.command();
        // What follows a reset or a power-off of the guest's is the watch's to decide.
        command.args(["-no-reboot", "-no-shutdown", "-qmp"]).arg(format!("unix:{}", socket.path().display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}; `make setup` installs it", self.binary));
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let (sender, heard) = channel();
        let mut output = child.stdout.take().expect("stdout is piped");
        let bytes = sender.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let n = output.read(&mut buffer).unwrap_or(0);
                if bytes.send(Heard::Said(buffer[..n].to_vec())).is_err() || n == 0 {
                    return;
                }
            }
        });
        let monitor = socket.accept(&mut child, sender, Heard::Stopped);
        let watch = Watch {
            monitor,
            heard,
            log: File::create(&log).expect("the log can be written"),
            said: said.clone(),
            both,
            no_reboot: self.no_reboot,
            stays: self.extra.iter().any(|word| word == "-no-shutdown"),
            start: String::new(),
            unsaid: String::new(),
            done: false,
        };
        let watch = Some(thread::spawn(move || watch.run()));
        Guest { input: child.stdin.take(), child, said, log, seen: 0, watch }
    }
}

/// What a running QEMU lets us know.
enum Heard {
    /// Bytes on the serial line; none when it has ended.
    Said(Vec<u8>),
    /// The guest stopped itself.
    Stopped(Stopped),
}

/// Listens to a machine, and compares each start with what `simulate` makes of it while the guest is frozen.
struct Watch {
    monitor: Monitor,
    heard: Receiver<Heard>,
    log: File,
    said: Arc<(Mutex<Said>, Condvar)>,
    both: Option<Both>,
    no_reboot: bool,
    /// Whether the scenario wants to ask QEMU something when the guest has stopped itself.
    stays: bool,
    /// What was said since the last reset.
    start: String,
    /// What the scenario does not know yet.
    unsaid: String,
    /// Whether this start of the loader has ended.
    done: bool,
}

impl Watch {
    /// How long bytes may be on their way when QEMU, which wrote them first, has told of a reset.
    const ON_ITS_WAY: Duration = Duration::from_millis(200);

    fn run(mut self) {
        while let Ok(heard) = self.heard.recv() {
            match heard {
                Heard::Said(bytes) if bytes.is_empty() => return self.end(),
                Heard::Said(bytes) => self.listen(&bytes),
                Heard::Stopped(how) => self.stopped(how),
            }
        }
    }

    fn listen(&mut self, bytes: &[u8]) {
        let _ = self.log.write_all(bytes);
        let text = String::from_utf8_lossy(bytes);
        self.start.push_str(&text.replace('\r', ""));
        if !self.done
            && let Some(lines) = whole_start(&self.start)
        {
            self.done = true;
            self.compare(&lines);
        }
        // Only now, and until then only whole lines: whoever waits for one may damage the disk, or cut the power.
        self.unsaid.push_str(&text);
        let ready = if self.done { self.unsaid.len() } else { self.unsaid.rfind('\n').map_or(0, |at| at + 1) };
        self.publish(ready);
    }

    /// Lets the scenario know so many bytes more of what was said.
    fn publish(&mut self, bytes: usize) {
        self.said.0.lock().expect("no reader panics").text.extend(self.unsaid.drain(..bytes));
        self.said.1.notify_all();
    }

    fn compare(&mut self, lines: &[String]) {
        let Some(both) = &mut self.both else { return };
        // Linux takes a second and more until it writes, SYSLINUX never does.
        self.monitor.command("stop");
        let result = both.compare(lines);
        if let Err(why) = result {
            both.leave();
            self.fail(why);
        }
        // Refused where the guest has reset itself meanwhile, which it may: nothing was written since.
        self.monitor.command("cont");
    }

    fn fail(&mut self, why: String) {
        self.said.0.lock().expect("no reader panics").failed.get_or_insert(why);
        self.said.1.notify_all();
    }

    fn stopped(&mut self, how: Stopped) {
        while !self.done
            && let Ok(Heard::Said(bytes)) = self.heard.recv_timeout(Self::ON_ITS_WAY)
        {
            self.listen(&bytes);
        }
        if how == Stopped::Off || self.no_reboot {
            if !self.stays {
                self.monitor.command("quit");
            }
            return;
        }
        match (self.done, begins(&self.start)) {
            (true, _) => {
                if let Some(both) = &mut self.both {
                    both.keep();
                }
            }
            (false, true) => self.fail(format!("reset in the middle of a start:\n{}", self.start)),
            // SeaBIOS resets the machine once more after a reset (src/resume.c, tryReboot).
            (false, false) => {}
        }
        self.start.clear();
        self.done = false;
        self.monitor.reset();
    }

    fn end(&mut self) {
        if let Some(both) = &mut self.both {
            both.forget();
        }
        if self.both.as_ref().is_some_and(|both| both.compared == 0) {
            self.fail("no start of it was compared; see NOT_COMPARED".to_string());
        }
        self.publish(self.unsaid.len());
        self.said.0.lock().expect("no reader panics").ended = true;
        self.said.1.notify_all();
    }
}

#[derive(Default)]
struct Said {
    text: String,
    ended: bool,
    /// What `simulate` makes differently.
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

    /// That `simulate` did the same so far.
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
