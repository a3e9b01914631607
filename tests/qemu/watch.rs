//! Listens to a machine, and compares each of its starts with what `simulate` makes of it, while the guest is
//! frozen.

use std::io::Read;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::both::{Both, begins, whole_start};
use crate::guest::{Ears, Machine};
use crate::monitor::{Monitor, Socket, Stopped};

/// How QEMU writes disks: `unsafe` never waits for the host's own.
pub const CACHE: &str = "unsafe";

/// Starts QEMU, and listens to it in a thread that ends with it.
pub fn start(machine: &Machine, name: &str, mut command: Command, ears: Ears) -> (Child, JoinHandle<()>) {
    let mut both =
        if machine.serial { Both::new(name, machine.cd.as_deref(), &machine.disks, &machine.all_told()) } else { None };
    if let Some(both) = &mut both {
        both.keep();
    }
    let socket = Socket::new(name);
    // What follows a reset or a power-off of the guest's is ours to decide.
    command.args(["-no-reboot", "-no-shutdown", "-qmp"]).arg(format!("unix:{}", socket.path().display()));
    let mut child = machine.spawn(&mut command);
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
    let watch = Watch {
        monitor: socket.accept(&mut child, sender, Heard::Stopped),
        heard,
        ears,
        both,
        no_reboot: machine.no_reboot,
        stays: machine.extra.iter().any(|word| word == "-no-shutdown"),
        start: String::new(),
        unsaid: String::new(),
        done: false,
    };
    (child, thread::spawn(move || watch.run()))
}

/// What a running QEMU lets us know.
enum Heard {
    /// Bytes on the serial line; none when it has ended.
    Said(Vec<u8>),
    /// The guest stopped itself.
    Stopped(Stopped),
}

struct Watch {
    monitor: Monitor,
    heard: Receiver<Heard>,
    ears: Ears,
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
                Heard::Said(bytes) if bytes.is_empty() => break,
                Heard::Said(bytes) => self.listen(&bytes),
                Heard::Stopped(how) => self.stopped(how),
            }
        }
        self.end();
    }

    fn listen(&mut self, bytes: &[u8]) {
        self.ears.log(bytes);
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
        self.ears.tell(&self.unsaid[..ready]);
        self.unsaid.drain(..ready);
    }

    fn compare(&mut self, lines: &[String]) {
        let Some(both) = &mut self.both else { return };
        // Linux takes a second and more until it writes, SYSLINUX never does.
        self.monitor.command("stop");
        if let Err(why) = both.compare(lines) {
            both.leave();
            self.ears.fail(why);
        }
        // Refused where the guest has reset itself meanwhile, which it may: nothing was written since.
        self.monitor.command("cont");
    }

    fn stopped(&mut self, how: Stopped) {
        while !self.done {
            match self.heard.recv_timeout(Self::ON_ITS_WAY) {
                Ok(Heard::Said(bytes)) if !bytes.is_empty() => self.listen(&bytes),
                _ => break,
            }
        }
        if how == Stopped::Off || self.no_reboot {
            if !self.stays {
                self.monitor.command("quit");
            }
            return;
        }
        match &mut self.both {
            Some(both) if self.done => both.keep(),
            Some(_) if begins(&self.start) => {
                self.ears.fail(format!("reset in the middle of a start:\n{}", self.start));
            }
            // SeaBIOS resets the machine once more after a reset (src/resume.c, tryReboot).
            _ => {}
        }
        self.start.clear();
        self.done = false;
        self.monitor.reset();
    }

    fn end(&mut self) {
        if let Some(both) = &mut self.both {
            both.forget();
            if both.compared == 0 {
                self.ears.fail("no start of it was compared; see NOT_COMPARED".to_string());
            }
        }
        self.ears.tell(&self.unsaid);
        self.ears.end();
    }
}
