//! Time since the start. The processor's cycle counter where there is one, else the BIOS's ticks; and
//! when both stand still, an estimate, so that no wait lasts for ever.

use crate::bios::thunk::breathe;
use crate::cpu;
use crate::memory::bda;
use crate::port::{inb, outb};
use spin::Mutex;

/// Input of the interval timer, in Hz (1.193182 MHz).
const PIT_HZ: u32 = 1_193_182;

/// Length of the calibration: half a millisecond. Reading the port that ends it takes a microsecond or
/// two, so the rate is right to half a percent, which is enough for waits and for the log.
const CALIBRATION: u16 = 597;

/// Ticks in a day: at midnight the BIOS's count goes back to 0.
const TICKS_A_DAY: u32 = 0x18_00B0;

/// So many pauses without any progress of the ticks mean that the timer interrupt is dead. A pause is
/// a millisecond or two on hardware, a tick 55.
const DEAD_AFTER: u32 = 1000;

/// A read of port 61h takes about a microsecond on the ISA bus, whatever the processor.
const READS_A_PAUSE: u32 = 1000;

struct Clock {
    /// Cycles a millisecond; 0 when there is no usable counter.
    rate: u64,
    start: u64,
    last_tick: u32,
    ticks: u64,
    idle: u32,
    estimated: u64,
}

static CLOCK: Mutex<Clock> = Mutex::new(Clock { rate: 0, start: 0, last_tick: 0, ticks: 0, idle: 0, estimated: 0 });

/// Starts counting.
pub fn start() {
    let rate = if cpu::has_cycle_counter() { cycle_rate() } else { 0 };
    let start = if rate == 0 { 0 } else { cpu::cycles() };
    let last_tick = bda(0x6C);
    *CLOCK.lock() = Clock { rate, start, last_tick, ticks: 0, idle: 0, estimated: 0 };
}

/// For the program's end, which may have come while the clock was being read.
pub fn unlock() {
    // SAFETY: there is one thread. If it holds the lock it will never release it, and its numbers are numbers
    // whatever it was in the middle of.
    unsafe { CLOCK.force_unlock() }
}

/// Milliseconds since [`start`].
pub fn now() -> u64 {
    CLOCK.lock().now()
}

/// Lets a millisecond or two pass, with interrupts served.
pub fn pause() {
    breathe();
    for _ in 0..READS_A_PAUSE {
        // SAFETY: reading system control port B has no effect.
        unsafe { inb(0x61) };
    }
    CLOCK.lock().paused();
}

/// Waits. Ends even when every clock is dead: see [`Clock::paused`].
pub fn wait(millis: u64) {
    let end = now().saturating_add(millis);
    while now() < end {
        pause();
    }
}

impl Clock {
    fn now(&mut self) -> u64 {
        let cycles = if self.rate == 0 { 0 } else { cpu::cycles().wrapping_sub(self.start) };
        if let Some(millis) = cycles.checked_div(self.rate) {
            return millis;
        }
        self.count_ticks();
        self.ticks * 54_925 / 1000 + self.estimated
    }

    /// Adds the ticks since the last look. Looked at less than once a day it would lose days.
    fn count_ticks(&mut self) {
        let tick: u32 = bda(0x6C);
        let passed = if tick >= self.last_tick {
            tick - self.last_tick
        } else {
            (tick + TICKS_A_DAY).saturating_sub(self.last_tick)
        };
        self.last_tick = tick;
        self.ticks += u64::from(passed);
        if passed != 0 {
            self.idle = 0;
        }
    }

    /// After a pause: when the ticks have not moved for long, the pause counts as a millisecond.
    fn paused(&mut self) {
        if self.rate == 0 {
            self.count_ticks();
            self.idle = self.idle.saturating_add(1);
            if self.idle > DEAD_AFTER {
                self.estimated += 1;
            }
        }
    }
}

/// Cycles a millisecond, measured against timer channel 2; 0 when the channel is dead or the result
/// absurd. Channel 0 is the BIOS's and is not touched.
fn cycle_rate() -> u64 {
    // SAFETY: channel 2 drives only the speaker, which is gated off meanwhile; port 61h is put back.
    let cycles = unsafe {
        let found = inb(0x61);
        outb(0x61, (found & !2) | 1);
        outb(0x43, 0xB0); // channel 2, both bytes, mode 0: output rises at the end of the count
        outb(0x42, CALIBRATION.to_le_bytes()[0]);
        outb(0x42, CALIBRATION.to_le_bytes()[1]);
        let begin = cpu::cycles();
        let ended = (0..1_000_000).any(|_| inb(0x61) & 0x20 != 0);
        let cycles = cpu::cycles().wrapping_sub(begin);
        outb(0x61, found);
        if ended { cycles } else { 0 }
    };
    let rate = cycles * u64::from(PIT_HZ) / u64::from(CALIBRATION) / 1000;
    // Below 1 MHz or above 100 GHz the output was high from the start, or the counter is no counter.
    if (1_000..=100_000_000).contains(&rate) { rate } else { 0 }
}

/// Sounds the speaker for 150 ms, then is silent for 100.
pub fn beep() {
    const DIVISOR: u16 = (PIT_HZ / 880) as u16;
    // SAFETY: the speaker's own channel and gate; port 61h is put back.
    unsafe {
        let found = inb(0x61);
        outb(0x43, 0xB6); // channel 2, both bytes, mode 3: square wave
        outb(0x42, DIVISOR.to_le_bytes()[0]);
        outb(0x42, DIVISOR.to_le_bytes()[1]);
        outb(0x61, found | 3);
        wait(150);
        outb(0x61, found & !3);
        wait(100);
        outb(0x61, found);
    }
}
