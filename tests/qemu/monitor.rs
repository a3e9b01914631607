//! QEMU's monitor (QMP, docs/interop/qmp-spec.txt): freezes the guest, and tells when it resets itself.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// QEMU answers at once, or has hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the guest did that stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It reset itself.
    Reset,
    /// It switched itself off.
    Off,
}

/// Where QEMU is going to connect to.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

/// The connection.
pub struct Monitor {
    stream: UnixStream,
    answers: Receiver<String>,
    /// `RESET` events so far.
    resets: usize,
}

impl Socket {
    pub fn new(name: &str) -> Self {
        let path = crate::folder("qmp").join(format!("{name}.monitor"));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket can be made");
        Self { listener, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The monitor of a QEMU that was just started; what stops the guest goes to `stopped`.
    pub fn accept<T: Send + 'static>(
        self,
        child: &mut Child,
        stopped: Sender<T>,
        make: impl Fn(Stopped) -> T + Send + 'static,
    ) -> Monitor {
        self.listener.set_nonblocking(true).expect("a socket can be told not to wait");
        let end = Instant::now() + PATIENCE;
        let stream = loop {
            if let Ok((stream, _)) = self.listener.accept() {
                break stream;
            }
            let ended = child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "QEMU ended at once: {ended:?}");
            assert!(Instant::now() < end, "QEMU does not come to its monitor");
            thread::sleep(Duration::from_millis(5));
        };
        stream.set_nonblocking(false).expect("a socket can be told to wait");
        let lines = BufReader::new(stream.try_clone().expect("a socket can be shared")).lines();
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match stopped_by(&line) {
                    Some(why) => drop(stopped.send(make(why))),
                    None => drop(sender.send(line)),
                }
            }
        });
        let mut monitor = Monitor { stream, answers, resets: 0 };
        monitor.command("qmp_capabilities");
        monitor
    }
}

/// What QEMU answers to some commands at a socket of its own that a scenario gave it.
pub fn ask(socket: &Path, commands: &[String]) -> String {
    let mut stream = UnixStream::connect(socket).expect("QEMU listens there");
    stream.set_read_timeout(Some(crate::guest::PATIENCE)).expect("a time-out can be set");
    let asked =
        commands.iter().fold("{\"execute\":\"qmp_capabilities\"}".to_string(), |asked, command| asked + command);
    stream.write_all(asked.as_bytes()).expect("QEMU takes commands");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("QEMU answers"));
    // Its greeting, and an answer to each; events come in between.
    let answers: Vec<String> = lines.filter(|line| line.contains("\"return\"")).take(1 + commands.len()).collect();
    assert_eq!(answers.len(), 1 + commands.len(), "QEMU ended: {answers:?}");
    answers.join("\n")
}

fn stopped_by(line: &str) -> Option<Stopped> {
    let is = |what: &str| line.contains(&format!("\"{what}\""));
    match (is("SHUTDOWN"), is("guest-reset"), is("guest-shutdown")) {
        (true, true, _) => Some(Stopped::Reset),
        (true, _, true) => Some(Stopped::Off),
        _ => None,
    }
}

impl Monitor {
    /// A command without arguments; whether QEMU did it. One that has ended does nothing.
    pub fn command(&mut self, name: &str) -> bool {
        self.send(&format!("{{\"execute\": \"{name}\"}}"))
    }

    fn send(&mut self, command: &str) -> bool {
        if writeln!(self.stream, "{command}").is_err() {
            return false;
        }
        loop {
            match self.answer() {
                Some(line) if line.starts_with("{\"return\"") => return true,
                Some(line) if line.starts_with("{\"error\"") => return false,
                Some(_) => {}
                None => return false,
            }
        }
    }

    fn answer(&mut self) -> Option<String> {
        let line = self.answers.recv_timeout(PATIENCE).ok()?;
        self.resets += usize::from(line.contains("\"RESET\""));
        Some(line)
    }

    /// Carries out the reset that a guest stopped at: with `-no-reboot`, QEMU has not done so.
    pub fn reset(&mut self) {
        let action = |what| format!("{{\"execute\": \"set-action\", \"arguments\": {{\"reboot\": \"{what}\"}}}}");
        let before = self.resets;
        self.send(&action("reset"));
        self.command("system_reset");
        while self.resets == before {
            if self.answer().is_none() {
                return;
            }
        }
        self.send(&action("shutdown"));
        self.command("cont");
    }
}
