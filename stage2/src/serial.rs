//! The first serial port. Every wait for it is bounded: an absent port may look ready for ever, or
//! never, and a port that nobody reads may stop.
//!
//! A character takes 87 us, so that a start's log takes longer than all else that it does. Nobody waits for
//! it: what is said is kept, and given to the port 16 bytes at a time between other things. All of it is out
//! before the machine goes to anybody else.

use crate::memory::bda;
use crate::port::{inb, outb};
use uart_16550::backend::Backend;
use uart_16550::spec::registers::IER;
use uart_16550::{BaudRate, Config, Uart16550};

/// Where COM1 is when the BIOS doesn't say.
const COM1: u16 = 0x3F8;

/// Offsets of the registers used directly.
const DATA_OFFSET: u8 = 0;
const IER_OFFSET: u16 = 1;
const MCR_OFFSET: u16 = 4;
const LSR_OFFSET: u8 = 5;

/// Line status: both transmitter registers empty.
const EMPTY: u8 = 0x60;

/// Reads of the line status before a character counts as stuck. Sixteen characters take 1.4 ms at
/// 115200 baud; a read takes about a microsecond on hardware, and less than a tenth of one in emulators.
const PATIENCE: u32 = 100_000;

/// So many stuck characters, and the port is left alone.
const STRIKES: u32 = 3;

/// No more bytes than this are taken in one go.
const MAX_INPUT: usize = 64;

/// Port I/O that never lets its caller wait for ever: when the transmitter has not become empty within
/// [`PATIENCE`] reads it is said to be, and that is a strike.
struct Bounded {
    base: u16,
    waited: u32,
    strikes: u32,
}

impl Backend for Bounded {
    unsafe fn read(&mut self, offset: u8) -> u8 {
        // SAFETY: `Serial::find` has seen a UART here, and it is ours alone.
        let value = unsafe { inb(self.base + u16::from(offset)) };
        if offset != LSR_OFFSET || value & EMPTY == EMPTY {
            return value;
        }
        self.waited += 1;
        if self.waited < PATIENCE {
            return value;
        }
        self.waited = 0;
        self.strikes += 1;
        value | EMPTY
    }

    unsafe fn write(&mut self, offset: u8, value: u8) {
        // A character that was sent is progress.
        if offset == DATA_OFFSET {
            self.waited = 0;
        }
        // SAFETY: as for reading.
        unsafe { outb(self.base + u16::from(offset), value) }
    }
}

/// Room for what is still to be sent: some forty lines. Who says more waits.
const QUEUE: usize = 2048;

/// COM1 at 115200 baud, 8N1, no interrupts.
pub struct Serial {
    uart: Uart16550<Bounded>,
    queue: [u8; QUEUE],
    /// Where the first byte in the queue stands, and how many there are.
    first: usize,
    waiting: usize,
}

impl Serial {
    /// The port, programmed, if there is one.
    pub fn find() -> Option<Self> {
        let base = match bda::<u16>(0) {
            0 => COM1,
            base => base,
        };
        if !is_uart(base) {
            return None;
        }
        let backend = Bounded { base, waited: 0, strikes: 0 };
        // SAFETY: a UART answered at this address, and the BIOS does not use it while we run.
        let mut uart = unsafe { Uart16550::new_with_backend(backend) };
        let config = Config { interrupts: IER::empty(), baud_rate: BaudRate::Baud115200, ..Config::default() };
        uart.init(config).ok()?;
        Some(Self { uart, queue: [0; QUEUE], first: 0, waiting: 0 })
    }

    /// Keeps what is to be sent.
    pub fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            while self.waiting == QUEUE {
                self.feed();
            }
            self.queue[(self.first + self.waiting) % QUEUE] = byte;
            self.waiting += 1;
        }
        self.feed();
    }

    /// Gives the port as much as it takes now: nothing, or what its own buffer holds.
    pub fn feed(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let end = (self.first + self.waiting).min(QUEUE);
        let mut sent = self.uart.send_bytes(&self.queue[self.first..end]);
        if self.uart.backend().strikes >= STRIKES {
            sent = self.waiting;
        }
        self.first = (self.first + sent) % QUEUE;
        self.waiting -= sent;
    }

    /// Gives it all, and waits until the last character is out.
    pub fn flush(&mut self) {
        while self.waiting != 0 {
            self.feed();
        }
        if self.uart.backend().strikes < STRIKES {
            // SAFETY: our own UART, whose line status it is; ends by `Bounded`.
            while unsafe { self.uart.backend_mut().read(LSR_OFFSET) } & EMPTY != EMPTY {}
        }
    }

    /// Whether bytes came in; takes them.
    pub fn received(&mut self) -> bool {
        let mut input = [0; MAX_INPUT];
        self.uart.receive_bytes(&mut input) != 0
    }

    /// Leaves the port as a BIOS would: no interrupt of its, and its line to the controller off.
    pub fn release(&mut self) {
        // Let the last line out first: what comes next may reset the port.
        self.flush();
        let backend = self.uart.backend_mut();
        // SAFETY: our own UART; no interrupts enabled, DTR and RTS on.
        unsafe {
            outb(backend.base + IER_OFFSET, 0);
            outb(backend.base + MCR_OFFSET, 3);
        }
    }
}

/// Whether a UART answers: four bits of its interrupt enable register can be set and cleared. An empty
/// bus gives all ones.
fn is_uart(base: u16) -> bool {
    let ier = base.wrapping_add(IER_OFFSET);
    // SAFETY: the BIOS names this port as a serial one, or it is where COM1 always was. With processor
    // interrupts off, the moment in which the UART's are on has no consequence.
    unsafe {
        outb(base.wrapping_add(3), 3); // the divisor latch off, or IER is not IER
        outb(ier, 0);
        let cleared = inb(ier);
        outb(ier, 0x0F);
        let set = inb(ier);
        outb(ier, 0);
        cleared == 0 && set == 0x0F
    }
}
