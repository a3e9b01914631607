//! Stands in for core's run with `--features selftest`: shows what the machine gives, then ends as the
//! text in the volume's application identifier asks for. For tests of this layer alone.

use crate::boot_info::BootInfo;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use knownstate_core::event::Event;
use knownstate_core::machine::{DiskId, Ending, HandOff, Machine};
use knownstate_core::table::unpack::Buffers;
use knownstate_core::units::{CD_SECTOR, CdSector, Lba, SECTOR};

/// The application identifier in the primary volume descriptor (ECMA-119 section 8.4.22).
const APPLICATION: core::ops::Range<usize> = 574..702;

/// Shows, then ends.
pub fn run(machine: &mut dyn Machine, _: Buffers<'_>) -> Ending {
    let boot = BootInfo::take();
    let (found, drive, shift) = (char::from(boot.found), boot.drive, boot.shift);
    say(machine, &format!("booted from {drive:02X}, shift {shift}, found by {found} at {}", boot.loader));
    let mut descriptor = vec![0; CD_SECTOR];
    let result = machine.read_cd(CdSector(16), &mut descriptor);
    let application = String::from_utf8_lossy(&descriptor[APPLICATION]).into_owned();
    let command = application.trim_ascii();
    say(machine, &format!("CD sector 16: {result:?}, asked for: {command}"));
    let mut large = vec![0; 64 * CD_SECTOR];
    let result = machine.read_cd(CdSector(0), &mut large);
    let same = large[16 * CD_SECTOR..17 * CD_SECTOR] == descriptor[..];
    say(machine, &format!("64 CD sectors: {result:?}, sector 16 the same: {same}"));
    for (index, disk) in machine.disks().into_iter().enumerate() {
        let mut sector = [0; SECTOR];
        let result = machine.read_disk(DiskId(index), Lba(0), &mut sector);
        say(machine, &format!("{disk:?}: {result:?} {:02X?}", &sector[..4]));
        let past = machine.read_disk(DiskId(index), Lba(disk.sectors), &mut sector);
        let mut many = vec![0; 300 * SECTOR];
        let result = machine.read_disk(DiskId(index), Lba(1), &mut many);
        let sum = many.iter().fold(0_u32, |sum, &byte| sum.rotate_left(1) ^ u32::from(byte));
        say(machine, &format!("past the end: {past:?}; 300 sectors: {result:?} {sum:08X}"));
    }
    let begin = machine.now();
    let pauses = (0..1_000_000).take_while(|_| {
        machine.pause();
        machine.now() < begin + 500
    });
    let pauses = pauses.count();
    let key = machine.key_pressed();
    say(machine, &format!("500 ms took {pauses} pauses; key: {key}"));
    if command == "SCROLL" {
        (0..60).for_each(|line| say(machine, &format!("line {line}")));
    }
    end(machine, command)
}

fn say(machine: &mut dyn Machine, text: &str) {
    machine.tell(&Event::Note(text));
}

fn end(machine: &mut dyn Machine, command: &str) -> Ending {
    match command {
        "RESTART" => Ending::Restart,
        "POWEROFF" => Ending::PowerOff,
        "PANIC" => panic!("as asked"),
        "EXCEPTION" => {
            // SAFETY: an undefined instruction, to see the exception handler at work.
            unsafe { core::arch::asm!("ud2") }
            Ending::Restart
        }
        "HANDOFF" => hand_off(machine),
        _ => Ending::Hold { label: String::from("-"), step: String::from("selftest done"), why: String::new() },
    }
}

/// To the sector at LBA 1 of the first disk, as if it were the second partition's.
fn hand_off(machine: &mut dyn Machine) -> Ending {
    let (mut mbr, mut boot_sector) = ([0; SECTOR], [0; SECTOR]);
    let _ = machine.read_disk(DiskId(0), Lba(0), &mut mbr);
    let _ = machine.read_disk(DiskId(0), Lba(1), &mut boot_sector);
    let drive = machine.disks().first().map_or(0x80, |disk| disk.drive);
    Ending::HandOff(Box::new(HandOff { drive, mbr, entry: 1, boot_sector }))
}
