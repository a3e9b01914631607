//! Disk services: one call each, no retries. Sector numbers only; cylinders and heads never.

use super::regs::Regs;
use super::thunk::call;
use crate::memory::BIOS_SCRATCH;
use bitflags::bitflags;
use knownstate_core::machine::IoError;

bitflags! {
    /// What the extensions offer (EDD-3 section 8.1, CX).
    #[derive(Clone, Copy)]
    struct Interfaces: u16 {
        /// Reading and writing by sector number (AH=42, 43).
        const PACKET_ACCESS = 1;
    }

    /// The flags word of the drive parameters (EDD-3 section 8.3).
    #[derive(Clone, Copy)]
    struct Information: u16 {
        /// The medium can be taken out.
        const REMOVABLE = 1 << 2;
        /// There is no medium in the drive, and the sizes are the drive's greatest.
        const NO_MEDIUM = 1 << 6;
    }
}

/// The disk address packet (EDD-3 section 8.2.1).
#[repr(C)]
#[derive(Clone, Copy)]
struct Packet {
    size: u8,
    reserved: u8,
    count: u16,
    offset: u16,
    segment: u16,
    block: u64,
}

const _: () = assert!(size_of::<Packet>() == 16);

/// Room for the longest form of the drive parameters.
const PARAMETER_BYTES: usize = 74;

/// The sizes to ask with: firmware refuses those it doesn't know. The longest first, because with a
/// shorter one SeaBIOS leaves fields out.
const PARAMETER_SIZES: [u16; 4] = [0x4A, 0x42, 0x1E, 0x1A];

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the disk to memory.
    Read,
    /// From memory to the disk.
    Write,
}

/// What AH=48 tells.
pub struct Parameters {
    /// Sectors of the drive.
    pub sectors: u64,
    /// Bytes in a sector.
    pub sector_bytes: u16,
    /// Whether the medium can be taken out, or the whole drive, because it is on USB.
    pub removable: bool,
}

/// Whether the drive takes sector numbers. Not asked of CDs: some laptops crash.
pub fn has_extensions(drive: u8) -> bool {
    // DS: some BIOSes of the nineties read their data area through the caller's DS.
    let out = call(0x13, &Regs { ds: 0x40, ebx: 0x55AA, edx: u32::from(drive), ..Regs::service(0x4100) });
    // All three: some report support with the interface's bit clear, and then have none.
    !out.carry() && out.bx() == 0xAA55 && Interfaces::from_bits_truncate(out.cx()).contains(Interfaces::PACKET_ACCESS)
}

/// Size and sector size of a drive.
pub fn parameters(drive: u8) -> Option<Parameters> {
    PARAMETER_SIZES.iter().find_map(|&size| parameters_of_size(drive, size))
}

fn parameters_of_size(drive: u8, size: u16) -> Option<Parameters> {
    let buffer = (BIOS_SCRATCH + 0x40) as *mut [u8; PARAMETER_BYTES];
    let mut fields = [0; PARAMETER_BYTES];
    fields[..2].copy_from_slice(&size.to_le_bytes());
    // SAFETY: the scratch area is ours and longer than this; zeroed, because some BIOSes check the
    // flags word on the way in, and leave fields out on the way back.
    unsafe { buffer.write_volatile(fields) }
    let out = call(0x13, &Regs { edx: u32::from(drive), esi: BIOS_SCRATCH + 0x40, ..Regs::service(0x4800) });
    // SAFETY: as above.
    let fields = unsafe { buffer.read_volatile() };
    (!out.carry()).then(|| parse_parameters(&fields)).flatten()
}

/// EDD-3 section 8.3: flags at 2, sectors at 16, bytes in a sector at 24, and from 30 on the path to the device.
fn parse_parameters(fields: &[u8; PARAMETER_BYTES]) -> Option<Parameters> {
    let word = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let mut sectors = [0; 8];
    sectors.copy_from_slice(&fields[16..24]);
    let sectors = u64::from_le_bytes(sectors);
    let flags = Information::from_bits_truncate(word(2));
    let removable = flags.contains(Information::REMOVABLE) || is_on_usb(fields);
    (sectors != 0 && !flags.contains(Information::NO_MEDIUM)).then_some(Parameters {
        sectors,
        sector_bytes: word(24),
        removable,
    })
}

/// What the path to the device says, if there is one: its key is BEDDh, its length 36 or 44 bytes, all of them
/// add up to 0, and the name of the interface is at its tenth byte. The size of the whole is not asked for:
/// SeaBIOS fills the path in and tells the shorter size.
fn is_on_usb(fields: &[u8; PARAMETER_BYTES]) -> bool {
    let (path, length) = (&fields[30..], usize::from(fields[32]));
    let sum = path.iter().take(length).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    path[..2] == [0xDD, 0xBE] && matches!(length, 36 | 44) && sum == 0 && path[10..].starts_with(b"USB")
}

/// One transfer between a drive and conventional memory at `address`. The packet is new each time:
/// firmware writes its count of sectors done into it, which after an error is 0, and takes a count of
/// 0 as success.
pub fn transfer(direction: Direction, drive: u8, block: u64, count: u16, address: u32) -> Result<(), IoError> {
    let packet = BIOS_SCRATCH as *mut Packet;
    let segment = (address >> 4) as u16;
    let fresh = Packet { size: 16, reserved: 0, count, offset: 0, segment, block };
    // SAFETY: the scratch area is ours and longer than a packet.
    unsafe { packet.write_volatile(fresh) }
    // AL is 0 for writes: other values ask for a verification that some firmware refuses and other
    // only pretends to do.
    let service = if direction == Direction::Write { 0x4300 } else { 0x4200 };
    let out = call(0x13, &Regs { edx: u32::from(drive), esi: BIOS_SCRATCH, ..Regs::service(service) });
    // SAFETY: as above.
    let done = unsafe { packet.read_volatile() }.count;
    match (out.carry(), done == count) {
        (true, _) => Err(IoError::Status(out.ah())),
        (false, false) => Err(IoError::Short),
        (false, true) => Ok(()),
    }
}

/// Resets a hard disk. With the drive's own number: 0 would move the floppy's head.
pub fn reset(drive: u8) {
    call(0x13, &Regs { edx: u32::from(drive), ..Regs::service(0x0000) });
}
