//! With `--features faults`: the program goes wrong as the volume's application identifier asks for, in words
//! that are `KIND WRITES TIMES`: which way, at which write to a disk (0: before the first step), and in how
//! many starts in a row. For the tests of the loader's own end.

use crate::bios::regs::Regs;
use crate::bios::thunk;
use crate::memory::BOUNCE;
use crate::restarts::Restarts;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use knownstate_core::machine::Machine;
use knownstate_core::units::{CD_SECTOR, CdSector};

/// Where the application identifier begins in the primary volume descriptor (ECMA-119 section 8.4.22).
const APPLICATION: usize = 574;

/// The way's first letter; 0 for none.
static KIND: AtomicU32 = AtomicU32::new(0);
/// Writes until then.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// Learns what is asked for.
pub fn arm(machine: &mut dyn Machine) {
    let mut descriptor = [0; CD_SECTOR];
    let _ = machine.read_cd(CdSector(16), &mut descriptor);
    let mut words = descriptor[APPLICATION..].split(|&byte| byte == b' ');
    let kind = words.next().and_then(|word| word.first()).copied().unwrap_or(0);
    let mut number = || words.next().map_or(0, |word| word.iter().fold(0, |n, &c| n * 10 + u32::from(c & 15)));
    let (writes, times) = (number(), number());
    if Restarts::found().map_or(0, |found| found.times) < times {
        KIND.store(u32::from(kind), Ordering::Relaxed);
        LEFT.store(writes, Ordering::Relaxed);
        if writes == 0 {
            go_wrong();
        }
    }
}

/// A sector is going to be written.
pub fn before_write() {
    if KIND.load(Ordering::Relaxed) != 0 && LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        go_wrong();
    }
}

fn go_wrong() {
    match KIND.load(Ordering::Relaxed) as u8 {
        b'P' => panics(LEFT.load(Ordering::Relaxed)),
        // SAFETY: here and below, it is the point that the program goes wrong.
        b'E' => unsafe { asm!("mov ds, {:x}", in(reg) 0xFF8) },
        b'D' => drop(descends(1)),
        b'F' => drop(fills(1)),
        b'R' => exhausts_the_bios(),
        b'W' => writes_below_the_stack(),
        _ => {}
    }
}

/// P: what Rust makes of an error of ours.
#[inline(never)]
fn panics(left: u32) {
    assert!(left == u32::MAX, "as asked");
}

/// D: many small frames.
#[inline(never)]
fn descends(depth: u32) -> u32 {
    core::hint::black_box(if depth == 0 { 0 } else { descends(depth + 1) }) + depth
}

/// F: one frame that is larger than the stack and all that is below it.
#[inline(never)]
fn fills(byte: u8) -> u8 {
    let mut frame = [byte; 0x6_0000];
    core::hint::black_box(&mut frame)[1]
}

/// R: the BIOS needs more stack than there is. Its part is played by a few instructions of real mode:
/// `mov bx, sp; mov cx, 5800; 1: push ax; loop 1b; mov sp, bx; iret`.
fn exhausts_the_bios() {
    const CODE: [u8; 11] = [0x89, 0xE3, 0xB9, 0xA8, 0x16, 0x50, 0xE2, 0xFD, 0x89, 0xDC, 0xCF];
    const VECTOR: u8 = 0x60;
    // SAFETY: nobody uses the buffer now, and this vector is left to programs.
    unsafe {
        (BOUNCE as *mut [u8; 11]).write_volatile(CODE);
        ((VECTOR as usize * 4) as *mut u32).write_volatile(BOUNCE << 12);
    }
    thunk::call(VECTOR, &Regs::service(0));
}

/// W: a wild pointer into what is not there, with a stack that has room.
fn writes_below_the_stack() {
    // SAFETY: see above.
    unsafe { (crate::memory::STAGE2_END as *mut u32).write_volatile(0) }
}
