//! Bochs under its own debugger: a machine whose every instruction is counted, so that a figure is the
//! same on every host.
//!
//! Bochs counts ticks: one an instruction, and while the processor has nothing to do, or polls a device
//! that takes its time, as many as go into that time at the guest's speed (`ips`). A path that is run at
//! two speeds gives both terms: `ticks = instructions + seconds * ips`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::tools::{self, tail};

/// The two speeds, in instructions a second. The first is the one that totals are stated for.
pub const SPEEDS: [u64; 2] = [100_000_000, 50_000_000];

/// Where a BIOS puts a boot sector, and a boot image without emulation.
pub const BOOT_SECTOR: u64 = 0x7C00;

/// Starts that may fail for want of a port.
const STARTS: u8 = 10;

/// What the machine is made of.
pub struct Machine<'a> {
    /// The CD, on the second channel.
    pub cd: &'a Path,
    /// The disk, on the first; a copy of it is used.
    pub disk: &'a Path,
    /// Whether there is a serial port.
    pub serial: bool,
    /// Real time that the whole run may take.
    pub limit: Duration,
}

/// A running Bochs that waits for the debugger's next command.
pub struct Bochs {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    end: Instant,
    folder: PathBuf,
    said: String,
}

/// Where the machine stopped.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The linear address of the next instruction.
    pub at: u64,
    /// Ticks since the start.
    pub ticks: u64,
}

impl Machine<'_> {
    /// Switches it on, before its first instruction.
    pub fn start(&self, name: &str, ips: u64) -> Bochs {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        let folder = tools::fresh(&format!("bochs/{name}-{}", ips / 1_000_000));
        // Its configuration can't quote a path.
        symlink(self.cd, folder.join("cd.iso")).expect("target can be written");
        fs::write(folder.join("bochsrc"), self.configuration(ips)).expect("target can be written");
        // Its screen is a network port, and 50 of them are all that it looks at.
        for _ in 0..STARTS {
            let mut bochs = self.spawn(&folder);
            if bochs.prompt().is_ok() {
                return bochs;
            }
            if !bochs.log().contains("RFB could not bind") {
                bochs.fail("it did not start");
            }
            thread::sleep(Duration::from_secs(2));
        }
        panic!("Bochs finds no free port from 5900 to 5949");
    }

    fn spawn(&self, folder: &Path) -> Bochs {
        tools::copy(self.disk, &folder.join("disk.img"));
        let noise = fs::File::create(folder.join("stderr.txt")).expect("target can be written");
        let mut child = Command::new("bochs-bin")
            .args(["-q", "-f", "bochsrc"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(noise)
            .spawn()
            .unwrap_or_else(|e| panic!("bochs-bin: {e}; `setup.sh bench` installs it"));
        let (sender, output) = mpsc::channel();
        let mut stdout = child.stdout.take().expect("it is piped");
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take().expect("it is piped");
        let (end, folder) = (Instant::now() + self.limit, folder.to_path_buf());
        Bochs { child, input, output, end, folder, said: String::new() }
    }

    /// SeaBIOS, so that IDE disk and CD work as they do in QEMU. No sound: where the host has no card, Bochs 2.7
    /// overruns a buffer in looking for one.
    fn configuration(&self, ips: u64) -> String {
        let serial = match self.serial {
            true => "com1: enabled=1, mode=file, dev=serial.txt",
            false => "com1: enabled=0",
        };
        format!(
            "cpu: model=p3_katmai, ips={ips}\n\
             memory: guest=64, host=64\n\
             romimage: file=/usr/share/seabios/bios.bin\n\
             vgaromimage: file=/usr/share/seabios/vgabios-isavga.bin\n\
             ata0: enabled=1\n\
             ata1: enabled=1\n\
             ata0-master: type=disk, path=disk.img, mode=flat\n\
             ata1-master: type=cdrom, path=cd.iso, status=inserted\n\
             boot: cdrom, disk\n\
             {serial}\n\
             clock: sync=none, time0=1000000000\n\
             sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy\n\
             panic: action=fatal\n\
             log: bochs.log\n\
             display_library: rfb, options=\"timeout=0\"\n"
        )
    }
}

impl Bochs {
    /// Sends the debugger a command, and waits for what it says.
    pub fn command(&mut self, text: &str) -> String {
        let sent = writeln!(self.input, "{text}").and_then(|()| self.input.flush());
        if sent.is_err() {
            self.fail(&format!("it ended before `{text}`"));
        }
        self.answer()
    }

    /// Runs until the next breakpoint.
    pub fn go(&mut self) -> Stop {
        let answer = self.command("c");
        let stop = parse_stop(&answer);
        stop.unwrap_or_else(|| self.fail(&format!("it stopped without a breakpoint: {}", answer.trim())))
    }

    /// Stops at an address from now on.
    pub fn stop_at(&mut self, linear: u64) {
        self.command(&format!("lb {linear:#x}"));
    }

    /// The general registers.
    pub fn registers(&mut self) -> Registers {
        Registers(self.command("r"))
    }

    /// Bytes from an address on, which may be a register pair such as `ds:si`.
    pub fn bytes(&mut self, count: usize, at: &str) -> Vec<u8> {
        let answer = self.command(&format!("x /{count}bx {at}"));
        let words =
            answer.lines().filter_map(|line| line.split_once(">:")).flat_map(|(_, rest)| rest.split_whitespace());
        let bytes: Vec<u8> =
            words.filter_map(|word| u8::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect();
        if bytes.len() != count {
            self.fail(&format!("no {count} bytes at {at}: {answer}"));
        }
        bytes
    }

    /// A 32-bit word.
    pub fn word(&mut self, at: u64) -> u32 {
        let bytes = self.bytes(4, &format!("{at:#x}"));
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// What came out of the serial port; complete only when Bochs has ended.
    pub fn serial(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("serial.txt")).unwrap_or_default()).into_owned()
    }

    /// Lets the debugger end Bochs, so that its files are complete.
    pub fn quit(mut self) -> String {
        let _ = writeln!(self.input, "q").and_then(|()| self.input.flush());
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && !matches!(self.child.try_wait(), Ok(Some(_))) {
            thread::sleep(Duration::from_millis(2));
        }
        self.serial()
    }

    /// What is said up to the next prompt.
    fn answer(&mut self) -> String {
        if let Err(why) = self.prompt() {
            self.fail(why);
        }
        self.said.clone()
    }

    /// Waits for the prompt; why it does not come.
    fn prompt(&mut self) -> Result<(), &'static str> {
        self.said.clear();
        while !self.said.trim_end().rsplit('\n').next().is_some_and(is_prompt) {
            let left = self.end.saturating_duration_since(Instant::now());
            let ended = if left.is_zero() { "its time is over" } else { "it ended, or said nothing more" };
            let bytes = self.output.recv_timeout(left).map_err(|_| ended)?;
            self.said.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("bochs.log")).unwrap_or_default()
    }

    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let serial = self.serial();
        panic!(
            "Bochs in {}: {what}\n--- the debugger\n{}\n--- bochs.log\n{}\n--- the serial line\n{}",
            self.folder.display(),
            tail(&self.said, 10),
            tail(&self.log(), 10),
            tail(&serial, 30)
        );
    }
}

impl Drop for Bochs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in ["disk.img", "disk.img.lock"] {
            let _ = fs::remove_file(self.folder.join(file));
        }
    }
}

/// The debugger's list of registers.
pub struct Registers(String);

impl Registers {
    /// The low 32 bits of `rax` and the like.
    pub fn get(&self, name: &str) -> u32 {
        let begin = self.0.find(&format!("{name}:")).map(|at| &self.0[at + name.len() + 1..]);
        let value = begin.and_then(|rest| rest.split_whitespace().next()).and_then(|value| value.split_once('_'));
        value
            .and_then(|(_, low)| u32::from_str_radix(low, 16).ok())
            .unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }
}

/// `<bochs:3>`
fn is_prompt(line: &str) -> bool {
    line.starts_with("<bochs:") && line.ends_with('>')
}

/// `(0) Breakpoint 2, 0x00000000000fe3fe in ?? ()` and `Next at t=281922427`.
fn parse_stop(answer: &str) -> Option<Stop> {
    let at = answer.lines().find_map(|line| line.split_once("Breakpoint ")?.1.split_once(", 0x"))?.1;
    let at = u64::from_str_radix(at.split_whitespace().next()?, 16).ok()?;
    let ticks = answer.lines().find_map(|line| line.strip_prefix("Next at t="))?;
    Some(Stop { at, ticks: ticks.trim().parse().ok()? })
}
