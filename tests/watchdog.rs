//! The watchdog chips' own code, from stage2, on registers that are stricter than real ones: a write of anything
//! that the step does not need ends the test, and so does a LOCK bit. What QEMU has is in tests/qemu too; what a
//! board does that QEMU does not is only here.

#![allow(clippy::missing_safety_doc, reason = "the registers are a map")]

extern crate alloc;

#[path = "../stage2/src/watchdog/chip.rs"]
mod chip;
#[path = "../stage2/src/watchdog/i6300esb.rs"]
mod i6300esb;
#[path = "../stage2/src/watchdog/ib700.rs"]
mod ib700;
#[path = "../stage2/src/watchdog/itco.rs"]
mod itco;

use std::collections::{BTreeMap, BTreeSet};

use chip::{Armed, Bus};
use knownstate_core::machine::Watchdog;

/// Where a register is: a PCI function's, a port, or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Config(u16, u8),
    Port(u16),
    Memory(u32),
}

/// A board's registers, each with one length, and what is special about some.
#[derive(Clone, Default)]
struct Board {
    /// Whether there is PCI, and its last bus.
    last_bus: Option<u8>,
    registers: BTreeMap<At, u32>,
    /// Those that may be written.
    writable: BTreeSet<At>,
    /// Bits that keep their value whatever is written.
    stuck: BTreeMap<At, u32>,
    /// Bits that a 1 clears.
    cleared_by_1: BTreeMap<At, u32>,
    /// Bits that must not be set.
    irrevocable: BTreeMap<At, u32>,
    selected: (u16, u8),
    /// The 6300ESB's keys that were given so far.
    keys: usize,
    writes: Vec<(At, u32)>,
}

const ESB: u16 = 2 << 8 | 29 << 3 | 4;
const ESB_MEMORY: u32 = 0xFEBF_1000;
const ESB_CONFIG: At = At::Config(ESB, 0x60);
const ESB_LOCK: At = At::Config(ESB, 0x68);
const ESB_RELOAD: At = At::Memory(ESB_MEMORY + 0x0C);
const LPC: u16 = 31 << 3;
const SMI_ENABLE: At = At::Port(0x630);
const GENERAL: At = At::Memory(0xFED1_C000 + 0x3410);
const TIMER: u16 = 0x660;

impl Board {
    /// PCI with a host bridge, and another function of the same maker.
    fn bare() -> Self {
        let registers = BTreeMap::from([(At::Config(0, 0), 0x29C0_8086), (At::Config(8, 0), 0x25AA_8086)]);
        Self { last_bus: Some(2), registers, ..Self::default() }
    }

    fn set(mut self, registers: &[(At, u32)]) -> Self {
        self.registers.extend(registers.iter().copied());
        self
    }

    /// With a 6300ESB on the last bus, as a BIOS leaves it: running freely, counting in microseconds.
    fn with_esb(mut self) -> Self {
        let config = |register| At::Config(ESB, register);
        self = self.set(&[(config(0), 0x25AB_8086), (config(4), 0x0280_0003), (config(0x10), ESB_MEMORY)]);
        let memory = [0, 4, 0x0C].map(|at| At::Memory(ESB_MEMORY + at));
        self = self.set(&[(ESB_CONFIG, 0x24), (ESB_LOCK, 0x04), (memory[0], 0), (memory[1], 0), (memory[2], 0)]);
        self.writable.extend(memory.into_iter().chain([ESB_CONFIG, ESB_LOCK]));
        self.cleared_by_1.insert(ESB_RELOAD, 0x200);
        self.irrevocable.insert(ESB_LOCK, 1);
        self
    }

    /// With an ICH9's LPC bridge, as a BIOS leaves it: the reset kept in, the timer running.
    fn with_tco(mut self) -> Self {
        let config = |register| At::Config(LPC, register);
        self = self.set(&[(config(0), 0x2918_8086), (config(0x40), 0x601), (config(0x44), 0x80)]);
        self = self.set(&[(config(0xF0), 0xFED1_C001), (GENERAL, 0x0000_0424), (SMI_ENABLE, 0x0000_0021)]);
        let timer = [0x00, 0x04, 0x06, 0x08, 0x12].map(|at| At::Port(TIMER + at));
        let values = [4, 0x8, 0x1, 0x200, 0xA404];
        self = self.set(&timer.into_iter().zip(values).collect::<Vec<_>>());
        self.writable.extend(timer.into_iter().chain([GENERAL]));
        self.cleared_by_1.extend([(timer[1], 0xFFFF), (timer[2], 0xFFFF)]);
        self.irrevocable.insert(timer[3], 0x1100);
        self
    }

    fn value(&self, at: At) -> u32 {
        self.registers[&at]
    }

    fn timer(&self, register: u16) -> u32 {
        self.value(At::Port(TIMER + register))
    }

    fn read(&self, at: At) -> u32 {
        // An ID, or where nothing is.
        let absent = matches!(at, At::Config(_, 0)).then_some(u32::MAX);
        self.registers.get(&at).copied().or(absent).unwrap_or_else(|| panic!("a read of {at:x?}"))
    }

    fn write(&mut self, at: At, value: u32) {
        assert!(self.writable.contains(&at), "a write of {value:x} to {at:x?}");
        self.writes.push((at, value));
        let old = self.registers.get(&at).copied().unwrap_or(0);
        let locks = self.irrevocable.get(&at).unwrap_or(&0);
        assert!(value & locks & !old == 0, "{value:x} to {at:x?} can't be taken back");
        if self.is_locked_away(at, value) {
            return;
        }
        let clears = self.cleared_by_1.get(&at).unwrap_or(&0);
        let new = value & !clears | old & clears & !value;
        let stuck = self.stuck.get(&at).unwrap_or(&0);
        self.registers.insert(at, new & !stuck | old & stuck);
    }

    /// The 6300ESB's memory takes one write after both keys.
    fn is_locked_away(&mut self, at: At, value: u32) -> bool {
        if !matches!(at, At::Memory(address) if address & !0xF == ESB_MEMORY) {
            return false;
        }
        if at == ESB_RELOAD && self.keys < 2 && value == [0x80, 0x86][self.keys] {
            self.keys += 1;
            return true;
        }
        assert_eq!(self.keys, 2, "{at:x?} was written without its keys");
        self.keys = 0;
        false
    }

    /// Arms one; what the log would say.
    fn arm(&mut self, seconds: u32, named: Option<Watchdog>) -> Result<(Armed, String), String> {
        let armed = chip::arm(self, seconds, named)?;
        Ok((armed, format!("{}, {} s{}", armed.chip.name(), armed.seconds, armed.remark)))
    }

    /// A minute can't be had, for this reason.
    #[track_caller]
    fn fails(&mut self, named: Option<Watchdog>, wanted: &str) {
        let said = self.arm(60, named).map(|(_, said)| said);
        assert_eq!(said, Err(format!("no watchdog found: {wanted}")));
    }

    fn config_port(&self, port: u16) -> At {
        match port {
            0xCFC..=0xCFF => At::Config(self.selected.0, self.selected.1 + (port - 0xCFC) as u8),
            port => At::Port(port),
        }
    }
}

impl Bus for Board {
    fn last_bus(&mut self) -> Option<u8> {
        self.last_bus
    }
    unsafe fn select(&mut self, function: u16, register: u8) -> u16 {
        let last = self.last_bus.expect("PCI's ports were used on a machine without PCI");
        assert!(function >> 8 <= u16::from(last), "bus {} was looked at", function >> 8);
        self.selected = (function, register & !3);
        0xCFC + u16::from(register & 3)
    }
    unsafe fn in_byte(&mut self, port: u16) -> u8 {
        self.read(self.config_port(port)) as u8
    }
    unsafe fn in_word(&mut self, port: u16) -> u16 {
        self.read(self.config_port(port)) as u16
    }
    unsafe fn in_long(&mut self, port: u16) -> u32 {
        self.read(self.config_port(port))
    }
    unsafe fn out_byte(&mut self, port: u16, value: u8) {
        self.write(self.config_port(port), value.into());
    }
    unsafe fn out_word(&mut self, port: u16, value: u16) {
        self.write(self.config_port(port), value.into());
    }
    unsafe fn word(&mut self, address: u32) -> u16 {
        self.read(At::Memory(address)) as u16
    }
    unsafe fn long(&mut self, address: u32) -> u32 {
        self.read(At::Memory(address))
    }
    unsafe fn set_word(&mut self, address: u32, value: u16) {
        self.write(At::Memory(address), value.into());
    }
    unsafe fn set_long(&mut self, address: u32, value: u32) {
        self.write(At::Memory(address), value);
    }
}

/// Never earlier than asked for, nor much later; and what is said is what is meant.
#[track_caller]
fn assert_time(asked: u32, said: u32, millis: f64) {
    let millis = millis.round() as u32;
    assert!(millis >= asked * 1000, "{asked} s were asked for, and it resets after {millis} ms");
    assert!(millis <= asked * 1020 + 4000, "{asked} s were asked for, and it resets after {millis} ms");
    assert!(said >= asked && said <= asked + 4, "{asked} s were asked for, and {said} s are told");
}

#[test]
fn where_there_is_none_nothing_is_written() {
    // Without PCI its ports are not even read.
    let mut isa = Board::default();
    isa.fails(None, "i6300ESB needs PCI, iTCO needs PCI");
    let mut bare = Board::bare();
    bare.fails(None, "i6300ESB not there, iTCO not there");
    bare.fails(Some(Watchdog::I6300esb), "i6300ESB not there");
    bare.fails(Some(Watchdog::Itco), "iTCO not there");
    assert!(isa.writes.is_empty() && bare.writes.is_empty());
}

/// Of all IDs that Intel may have given.
#[test]
fn chips_are_known_by_their_exact_ids() {
    let found = |named| -> Vec<u16> {
        let mut board = Board::bare();
        board.last_bus = Some(0);
        let there = |id: &u16| {
            board.registers.insert(At::Config(8, 0), u32::from(*id) << 16 | 0x8086);
            // Whatever comes next is that it has no address.
            board.registers.extend([4, 0x10, 0x40, 0x44, 0xF0].map(|at| (At::Config(8, at), 0)));
            let said = board.arm(60, Some(named)).map(|(_, said)| said).unwrap_err();
            said.ends_with("has no address")
        };
        (0..=u16::MAX).filter(there).collect()
    };
    assert_eq!(found(Watchdog::I6300esb), [0x25AB]);
    assert_eq!(found(Watchdog::Itco), [0x27BC, 0x2918, 0x8C4E, 0x8D44, 0x9CC3]);
    let mut other = Board::bare().set(&[(At::Config(8, 0), 0x25AB_1022)]);
    other.fails(Some(Watchdog::I6300esb), "i6300ESB not there");
}

#[test]
fn the_6300esb_counts_as_long_as_it_is_told_to() {
    for asked in 1..=Watchdog::MOST_SECONDS {
        let mut board = Board::bare().with_esb();
        let (armed, said) = board.arm(asked, None).unwrap();
        assert_eq!(said, format!("i6300ESB, {asked} s"));
        let stages = [0, 4].map(|at| board.value(At::Memory(ESB_MEMORY + at)));
        assert!(stages.iter().all(|&stage| stage < 1 << 20), "{stages:x?} have more than 20 bits");
        // A PCI clock of 33.33 MHz, the fastest that there is.
        let millis = f64::from(stages[0] + stages[1]) * f64::from(1 << 15) / 33_333.3;
        assert_time(asked, armed.seconds, millis);
        assert_eq!((board.value(ESB_CONFIG) & 0x24, board.value(ESB_LOCK)), (0, 2), "resets by milliseconds; enabled");
        assert_eq!(board.writes.last(), Some(&(ESB_RELOAD, 0x100)), "it begins at the beginning");

        board.writes.clear();
        armed.ping(&mut board);
        assert_eq!(board.writes, [(ESB_RELOAD, 0x80), (ESB_RELOAD, 0x86), (ESB_RELOAD, 0x100)]);
        assert!(armed.stop(&mut board) && board.value(ESB_LOCK) == 0, "it goes on");
    }
}

#[test]
fn the_6300esb_tells_of_the_last_reset_once() {
    let mut board = Board::bare().with_esb().set(&[(ESB_RELOAD, 0x200)]);
    assert_eq!(board.arm(60, None).unwrap().1, "i6300ESB, 60 s; it caused the last reset");
    assert_eq!(board.arm(60, None).unwrap().1, "i6300ESB, 60 s");
}

#[test]
fn a_6300esb_without_an_address_is_left_alone() {
    for (register, value) in [
        (0x10, 0),
        (0x10, 0xFFFF_FFF0),
        (0x10, 0xFFFF_FFFF),
        (0x10, ESB_MEMORY | 1),
        (0x10, ESB_MEMORY | 4),
        (4, 0x0280_0001),
    ] {
        let mut board = Board::bare().with_esb().set(&[(At::Config(ESB, register), value)]);
        board.fails(None, "i6300ESB has no address, iTCO not there");
        assert!(board.writes.is_empty(), "{value:x} in {register:x}: {:x?}", board.writes);
    }
}

#[test]
fn a_6300esb_that_keeps_nothing_is_stopped_and_told() {
    for (at, bits) in [(ESB_CONFIG, 0x20), (ESB_CONFIG, 0x04), (ESB_LOCK, 0x04), (ESB_LOCK, 0x02)] {
        let mut board = Board::bare().with_esb();
        board.stuck.insert(at, bits);
        board.fails(None, "i6300ESB does not keep what is written to it, iTCO not there");
        assert_eq!(board.value(ESB_LOCK) & 2, 0, "{bits:x} of {at:x?} stuck: it was left running");
    }
}

/// Locked by somebody else: what runs can be made to guard the boot; what does not run can't.
#[test]
fn a_locked_6300esb_is_not_written() {
    for (lock, wanted) in [(0x03, Ok("i6300ESB, 60 s")), (0x01, Err(())), (0x07, Err(()))] {
        let mut board = Board::bare().with_esb().set(&[(ESB_LOCK, lock)]);
        let armed = board.arm(60, Some(Watchdog::I6300esb));
        assert_eq!(armed.as_ref().map(|(_, said)| said.as_str()).map_err(|_| ()), wanted, "lock {lock:x}");
        assert!(board.writes.iter().all(|&(at, _)| at != ESB_LOCK), "lock {lock:x}: {:x?}", board.writes);
        if let Ok((armed, _)) = armed {
            assert!(!armed.stop(&mut board), "it says that it was stopped");
        }
    }
}

#[test]
fn the_tco_timer_counts_as_long_as_it_is_told_to() {
    for asked in 1..=Watchdog::MOST_SECONDS {
        // Both interrupt bits: the BIOS handles the first end, and resets. Else the second end does.
        for (interrupts, periods) in [(0x2001, 1.0), (0x2000, 2.0), (0x0001, 2.0), (0, 2.0)] {
            let mut board = Board::bare().with_tco().set(&[(SMI_ENABLE, interrupts)]);
            let (armed, said) = board.arm(asked, None).unwrap();
            assert!(said.starts_with("iTCO, "), "{said}");
            let ticks = board.timer(0x12) & 0x3FF;
            assert!(ticks >= 4, "{ticks} ticks are not allowed");
            assert_time(asked, armed.seconds, f64::from(ticks) * 600.0 * periods);
            assert_eq!(board.timer(0x12) & !0x3FF, 0xA400, "reserved bits stay");
            assert_eq!(board.timer(0x08), 0x200, "it counts, and the other bit stays");
            assert_eq!(board.value(GENERAL), 0x0404, "it may reset, and the other bits stay");
            assert_eq!(board.writes.last(), Some(&(At::Port(TIMER), 1)), "it begins at the beginning");

            board.writes.clear();
            armed.ping(&mut board);
            assert_eq!(board.writes, [(At::Port(TIMER), 1)]);
            assert!(armed.stop(&mut board), "it goes on");
            assert_eq!((board.timer(0x08), board.value(GENERAL)), (0xA00, 0x424), "halted, the reset kept in");
        }
    }
    let armed = Board::bare().with_tco().arm(60, None).unwrap();
    assert_eq!(armed.1, "iTCO, 60 s");
}

#[test]
fn the_tco_timer_tells_that_it_had_run_out_once() {
    let mut board = Board::bare().with_tco().set(&[(At::Port(TIMER + 6), 0x7)]);
    assert_eq!(board.arm(60, None).unwrap().1, "iTCO, 60 s; it had run out before");
    assert_eq!(board.arm(60, None).unwrap().1, "iTCO, 60 s");
    assert_eq!((board.timer(4), board.timer(6)), (0, 1), "the intruder's bit is somebody else's");
}

/// QEMU lets the bit be cleared in spite of the strap.
#[test]
fn a_tco_timer_whose_reset_is_strapped_away_is_told() {
    let mut board = Board::bare().with_tco();
    board.stuck.insert(GENERAL, 0x20);
    board.fails(Some(Watchdog::Itco), "iTCO is forbidden to reset, by a strap on the board");
    assert!(board.writes.iter().all(|&(at, _)| at == GENERAL), "{:x?}", board.writes);
}

#[test]
fn a_tco_timer_without_an_address_is_left_alone() {
    for (register, value) in
        [(0x40, 1), (0x40, 0xFFFF_FFFF), (0x44, 0), (0xF0, 0xFED1_C000), (0xF0, 1), (0xF0, 0xFFFF_FFFF)]
    {
        let mut board = Board::bare().with_tco().set(&[(At::Config(LPC, register), value)]);
        board.fails(None, "i6300ESB not there, iTCO has no address");
        assert!(board.writes.is_empty(), "{value:x} in {register:x}: {:x?}", board.writes);
    }
}

#[test]
fn a_tco_timer_that_keeps_nothing_is_stopped_and_told() {
    for (register, bits) in [(0x12, 0x3FF), (0x12, 0x020), (0x08, 0x800)] {
        let at = At::Port(TIMER + register);
        let mut board = Board::bare().with_tco();
        board.stuck.insert(at, bits);
        if register == 0x08 {
            board = board.set(&[(at, 0xA00)]);
        }
        board.fails(Some(Watchdog::Itco), "iTCO does not keep what is written to it");
        assert_eq!((board.timer(0x08), board.value(GENERAL)), (0xA00, 0x424), "{bits:x} of {at:x?}: left running");
    }
}

#[test]
fn the_next_chip_is_tried_where_the_first_one_fails() {
    let both = Board::bare().with_esb().with_tco();
    assert_eq!(both.clone().arm(60, None).unwrap().1, "i6300ESB, 60 s");
    assert_eq!(both.clone().arm(60, Some(Watchdog::Itco)).unwrap().1, "iTCO, 60 s");
    let mut first_fails = both.set(&[(At::Config(ESB, 0x10), 0)]);
    assert_eq!(first_fails.arm(60, None).unwrap().1, "iTCO, 60 s");
    first_fails.fails(Some(Watchdog::I6300esb), "i6300ESB has no address");
}

/// Two ports that no other test may write; and no look at PCI.
#[test]
fn an_ib700_is_written_only_where_it_is_named() {
    for asked in 1..=Watchdog::Ib700.most_seconds() {
        let mut board = Board { writable: [At::Port(0x441), At::Port(0x443)].into(), ..Board::default() };
        let (armed, said) = board.arm(asked, Some(Watchdog::Ib700)).unwrap();
        let [(At::Port(0x443), value)] = board.writes[..] else { panic!("{:x?}", board.writes) };
        assert!(value < 15, "15 resets at once");
        assert_time(asked, armed.seconds, f64::from(30 - 2 * value) * 1000.0);
        assert_eq!(said, format!("ib700, {} s; nothing tells whether there is one", 30 - 2 * value));
        armed.ping(&mut board);
        assert_eq!(board.writes[1], board.writes[0]);
        assert!(armed.stop(&mut board));
        assert_eq!(board.writes[2].0, At::Port(0x441));
    }
}
