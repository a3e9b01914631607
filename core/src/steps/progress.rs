//! A long step tells how far it is.

use crate::event::Event;
use crate::logic::Step;
use crate::machine::Machine;

/// Lines come at least this far apart, in milliseconds: a serial line is slow, and nobody reads
/// faster.
const INTERVAL: u64 = 1000;

/// A long step at work.
pub struct Progress<'a> {
    step: &'a Step,
    on: &'a str,
    total: u64,
    done: u64,
    began: u64,
    told: u64,
}

impl<'a> Progress<'a> {
    /// Begins; `total` is the bytes to be moved, `on` what they belong to.
    pub fn begin(machine: &mut dyn Machine, step: &'a Step, on: &'a str, total: u64) -> Self {
        let began = machine.now();
        Self { step, on, total, done: 0, began, told: began }
    }

    /// So many more bytes were moved.
    pub fn advance(&mut self, machine: &mut dyn Machine, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        let now = machine.now();
        if now.saturating_sub(self.told) < INTERVAL {
            return;
        }
        self.told = now;
        let elapsed = now.saturating_sub(self.began).max(1);
        let percent = self.done.saturating_mul(100) / self.total.max(1);
        let rate = self.done.saturating_mul(1000) / elapsed;
        machine.tell(&Event::Progress {
            label: &self.step.label,
            step: &self.step.text,
            on: self.on,
            percent: u8::try_from(percent).unwrap_or(100).min(100),
            rate,
            left: self.total.saturating_sub(self.done) / rate.max(1),
        });
    }
}
