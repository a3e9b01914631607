//! What a boot image asked of the BIOS on its way to the partition, call by call, and what each took.

use std::ops::Sub;
use std::thread;

use crate::bochs::{BOOT_SECTOR, Bochs, Machine, SPEEDS, Stop};

/// The services that a trace shows.
const SERVICES: [u8; 7] = [0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x1A];

/// What the partition's boot sector has at byte 3, so that it is told from a boot image at 7C00.
pub const MARK: &[u8; 8] = b"KSBENCH ";

/// Instructions, and time in which devices were waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Instructions.
    pub instructions: f64,
    /// Milliseconds.
    pub wait: f64,
}

impl Cost {
    /// From ticks at the two speeds.
    fn solve(ticks: [u64; 2]) -> Self {
        let [fast, slow] = SPEEDS.map(|ips| ips as f64);
        let [at_fast, at_slow] = ticks.map(|ticks| ticks as f64);
        let seconds = (at_fast - at_slow) / (fast - slow);
        Self { instructions: at_slow - seconds * slow, wait: seconds * 1000.0 }
    }

    /// Instructions at 100 million a second, with the wait as if it were some.
    pub fn total(self) -> f64 {
        self.instructions + self.wait * 100_000.0
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { instructions: self.instructions - other.instructions, wait: self.wait - other.wait }
    }
}

/// One call of the BIOS.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The interrupt's number.
    pub interrupt: u8,
    /// AX on entry.
    pub ax: u16,
    /// DL on entry.
    pub drive: u8,
    /// The first block, of the calls that move blocks by number.
    pub lba: Option<u64>,
    /// How many blocks.
    pub count: u32,
}

impl Call {
    /// Whether it moves blocks, and which way: AH=02 and 42 read, 03 and 43 write.
    pub fn reads(&self) -> bool {
        self.interrupt == 0x13 && matches!(self.ax >> 8, 0x02 | 0x42)
    }

    /// See [`Call::reads`].
    pub fn writes(&self) -> bool {
        self.interrupt == 0x13 && matches!(self.ax >> 8, 0x03 | 0x43)
    }
}

/// A call, with the ticks at entry and return.
struct Timed {
    call: Call,
    entry: u64,
    back: u64,
}

/// One run at one speed.
struct Run {
    drive: u8,
    begin: u64,
    end: u64,
    calls: Vec<Timed>,
    serial: String,
}

/// The way from the boot image's first instruction to the partition's, at both speeds.
pub struct Trace {
    /// All of it.
    pub cost: Cost,
    /// The BIOS's number of the boot drive.
    pub boot_drive: u8,
    /// Each call: what went on before it since the last one, and itself.
    pub calls: Vec<(Cost, Call, Cost)>,
    /// From the last call to the partition.
    pub rest: Cost,
    /// What was said on the serial line.
    pub serial: String,
}

/// Does the same at both speeds, at the same time.
fn at_both_speeds<T: Send>(name: &str, machine: &Machine<'_>, run: impl Fn(Bochs) -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        let run = &run;
        let runs = SPEEDS.map(|ips| scope.spawn(move || run(machine.start(name, ips))));
        runs.map(|run| run.join().unwrap_or_else(|_| panic!("{name}: see above")))
    })
}

/// The way to the partition, at both speeds.
pub fn trace(name: &str, machine: &Machine<'_>) -> Trace {
    let [fast, slow] = at_both_speeds(name, machine, follow);
    let same = fast.calls.iter().map(|c| &c.call).eq(slow.calls.iter().map(|c| &c.call));
    assert!(same, "{name}: the two speeds took different ways: {} and {} calls", fast.calls.len(), slow.calls.len());
    let span = |from: [u64; 2], to: [u64; 2]| Cost::solve([to[0] - from[0], to[1] - from[1]]);
    let mut at = [fast.begin, slow.begin];
    let mut calls = Vec::new();
    for (a, b) in fast.calls.iter().zip(&slow.calls) {
        let (entry, back) = ([a.entry, b.entry], [a.back, b.back]);
        calls.push((span(at, entry), a.call.clone(), span(entry, back)));
        at = back;
    }
    let end = [fast.end, slow.end];
    let cost = span([fast.begin, slow.begin], end);
    Trace { cost, boot_drive: fast.drive, calls, rest: span(at, end), serial: fast.serial }
}

/// The same without the calls, for runs that have thousands of them.
pub fn cost(name: &str, machine: &Machine<'_>) -> Cost {
    Cost::solve(at_both_speeds(name, machine, |mut bochs| {
        bochs.stop_at(BOOT_SECTOR);
        let begin = bochs.go().ticks;
        loop {
            let stop = bochs.go();
            if bochs.bytes(8, "0x7c03") == MARK {
                return stop.ticks - begin;
            }
        }
    }))
}

/// One run, from breakpoint to breakpoint.
fn follow(mut bochs: Bochs) -> Run {
    bochs.stop_at(BOOT_SECTOR);
    let start = bochs.go();
    let drive = bochs.registers().get("rdx") as u8;
    let vectors = SERVICES.map(|number| (number, linear(bochs.word(u64::from(number) * 4))));
    for (_, at) in vectors {
        bochs.stop_at(at);
    }
    let (mut calls, mut open) = (Vec::new(), Vec::<(usize, u64)>::new());
    let mut known = Vec::new();
    loop {
        let stop = bochs.go();
        if stop.at == BOOT_SECTOR && bochs.bytes(8, "0x7c03") == MARK {
            let serial = bochs.quit();
            return Run { drive, begin: start.ticks, end: stop.ticks, calls, serial };
        }
        if let Some(&(call, at)) = open.last()
            && at == stop.at
        {
            calls[call].back = stop.ticks;
            open.pop();
        }
        if let Some(&(interrupt, _)) = vectors.iter().find(|&&(_, at)| at == stop.at) {
            let (call, back) = enter(&mut bochs, interrupt, stop);
            open.push((calls.len(), back));
            calls.push(call);
            if !known.contains(&back) {
                bochs.stop_at(back);
                known.push(back);
            }
        }
    }
}

/// A call that has just begun, and where it will return to.
fn enter(bochs: &mut Bochs, interrupt: u8, stop: Stop) -> (Timed, u64) {
    let registers = bochs.registers();
    let stack = bochs.bytes(4, "ss:sp");
    let back = linear(u32::from_le_bytes([stack[0], stack[1], stack[2], stack[3]]));
    let (ax, drive) = (registers.get("rax") as u16, registers.get("rdx") as u8);
    let mut call = Call { interrupt, ax, drive, lba: None, count: 0 };
    if interrupt == 0x13 && matches!(ax >> 8, 0x42 | 0x43) {
        // The disk address packet: EDD-3 section 8.2.1.
        let packet = bochs.bytes(16, "ds:si");
        call.count = u32::from(u16::from_le_bytes([packet[2], packet[3]]));
        call.lba = packet[8..].try_into().ok().map(u64::from_le_bytes);
    } else if call.reads() || call.writes() {
        call.count = u32::from(ax & 0xFF);
    }
    (Timed { call, entry: stop.ticks, back: stop.ticks }, back)
}

/// The linear address of `segment:offset`.
fn linear(pointer: u32) -> u64 {
    u64::from(pointer >> 16) * 16 + u64::from(pointer & 0xFFFF)
}

impl Trace {
    /// The calls of one service.
    pub fn count(&self, interrupt: u8) -> usize {
        self.calls.iter().filter(|(_, call, _)| call.interrupt == interrupt).count()
    }

    /// Blocks moved, of the calls that a filter lets through.
    pub fn blocks(&self, filter: impl Fn(&Call) -> bool) -> u64 {
        self.calls.iter().filter(|(_, call, _)| filter(call)).map(|(_, call, _)| u64::from(call.count)).sum()
    }

    /// One line a call, for whoever wants to make it faster.
    pub fn print(&self) {
        println!("  between calls            | the call itself           |");
        println!("  instructions     wait ms | instructions      wait ms | call");
        let line = |before: Cost, inside: Cost, text: &str| {
            println!(
                "  {:12.0} {:11.3} | {:12.0} {:11.3}  | {text}",
                before.instructions, before.wait, inside.instructions, inside.wait
            );
        };
        for (before, call, inside) in &self.calls {
            let place = call.lba.map(|lba| format!(" lba {lba} count {}", call.count)).unwrap_or_default();
            let drive = if call.interrupt == 0x13 { format!(" drive {:02X}", call.drive) } else { String::new() };
            line(*before, *inside, &format!("INT {:02X} AX={:04X}{drive}{place}", call.interrupt, call.ax));
        }
        line(self.rest, Cost::default(), "the partition");
    }
}
