//! Which disk is the declared one. The rules: docs/LOGIC.md, `disk`.
//!
//! A BIOS numbers disks anew at every start, so a number says nothing. A disk is known by its size,
//! by not being the boot medium, by not carrying anybody else's marks, and, where logic.txt gives
//! one, by its signature. Only what is found here can be written: a [`Claim`] is the proof.
//!
//! A disk of the declared size that can't be looked at is one that could be it: another one is taken for it
//! only if it has the declared table or signature to show.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::defects::{Defect, seeded};
use crate::logic::{Disk, DiskIndex, Partition, Program, Size};
use crate::machine::{DiskId, DiskInfo, Machine};
use crate::media::foreign;
use crate::media::mbr::{self, Entry, Mbr};
use crate::media::region::Region;
use crate::units::{Lba, SECTOR, SectorCount};

/// A disk that was found to be a declared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    id: DiskId,
    info: DiskInfo,
}

impl Claim {
    /// The BIOS drive number.
    #[must_use]
    pub fn drive(&self) -> u8 {
        self.info.drive
    }

    /// The disk's size in 512-byte sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.info.sectors
    }

    /// The MBR's sector.
    #[must_use]
    pub fn mbr(&self) -> Region {
        Region::cut(self.id, Lba(0), SectorCount(1))
    }

    /// A declared partition's sectors. The logic check has found them to lie inside the declared
    /// size, and the claim has found the disk to be of that size.
    #[must_use]
    pub fn partition(&self, partition: &Partition) -> Region {
        let early = u64::from(seeded(Defect::RegionShifted));
        Region::cut(self.id, Lba(partition.start.0.saturating_sub(early)), partition.sectors)
    }
}

/// Finds the declared disk.
///
/// # Errors
/// Why there is none, or none that may be written, in words for the log.
pub fn find(machine: &mut dyn Machine, program: &Program, wanted: DiskIndex) -> Result<Claim, String> {
    let claim = find_alone(machine, program, wanted)?;
    for other in program.disk_indexes().filter(|&d| d != wanted) {
        if find_alone(machine, program, other).is_ok_and(|c| c.id == claim.id) {
            let name = &program.disk(other).name;
            return Err(format!("drive {:02X} is disk {name} as well", claim.drive()));
        }
    }
    Ok(claim)
}

/// Whether one drive could be the declared disk, the other drives and the other declared disks aside; where
/// it could, whether its MBR is destroyed, so that nothing but its size speaks for it. For whoever was told
/// by a person which drive is which disk.
///
/// # Errors
/// Why it can't be, in words for the log.
pub fn could_be(
    machine: &mut dyn Machine,
    program: &Program,
    wanted: DiskIndex,
    drive: DiskId,
) -> Result<bool, String> {
    let info = machine.disks().get(drive.0).copied().ok_or_else(|| String::from("no disk found"))?;
    match look(machine, program, wanted, drive, info) {
        Look::Matches(found) => Ok(found.lost_signature),
        Look::Unclear(why) | Look::Differs(why) => Err(why),
    }
}

/// What a look at one drive came to.
enum Look {
    /// It could be the declared disk, and written.
    Matches(Found),
    /// It could be the declared disk, but must not be written; why, for the log.
    Unclear(String),
    /// It can't be; why, for the log.
    Differs(String),
}

/// A drive that could be the declared disk.
struct Found {
    claim: Claim,
    /// Whether its MBR is destroyed, so that its signature is lost.
    lost_signature: bool,
    /// Whether its table is the declared one.
    has_map: bool,
}

#[inline(never)]
fn find_alone(machine: &mut dyn Machine, program: &Program, wanted: DiskIndex) -> Result<Claim, String> {
    let disk = program.disk(wanted);
    let mut matching = Vec::new();
    let mut unclear = Vec::new();
    let mut reasons = Vec::new();
    for (n, info) in machine.disks().into_iter().enumerate() {
        let why = match look(machine, program, wanted, DiskId(n), info) {
            Look::Matches(found) => {
                matching.push(found);
                continue;
            }
            Look::Unclear(why) => {
                unclear.push(format!("{:02X} ({why})", info.drive));
                why
            }
            Look::Differs(why) => why,
        };
        reasons.push(format!("drive {:02X} {why}", info.drive));
    }
    // A disk that has the declared signature is preferred to those that lost theirs.
    let signed = disk.signature.is_some() && matching.iter().any(|found| !found.lost_signature);
    if signed {
        matching.retain(|found| !found.lost_signature);
    }
    // Where the one that matches has nothing to show for it, the one that can't be looked at may be the right one.
    if signed || matching.iter().any(|found| found.has_map) {
        unclear.clear();
    }
    match (matching.as_slice(), unclear.is_empty(), reasons.is_empty()) {
        ([found], true, _) => Ok(found.claim),
        ([], _, true) => Err(String::from("no disk found")),
        ([], _, false) => Err(format!("no disk is {}: {}", disk.name, reasons.join(", "))),
        (several, ..) => {
            let mut drives: Vec<String> = several.iter().map(|f| format!("{:02X}", f.claim.drive())).collect();
            drives.append(&mut unclear);
            Err(format!("{} disks could be {}: drives {}", drives.len(), disk.name, drives.join(", ")))
        }
    }
}

#[inline(never)]
fn look(machine: &mut dyn Machine, program: &Program, wanted: DiskIndex, id: DiskId, info: DiskInfo) -> Look {
    let disk = program.disk(wanted);
    let unclear = |why: &str| Look::Unclear(String::from(why));
    if info.boot_medium {
        return Look::Differs(String::from("is the boot medium"));
    }
    if !fits(disk.sectors, info.sectors) {
        return Look::Differs(format!("has {} sectors", info.sectors));
    }
    if !info.writable {
        return unclear("can't be written by this BIOS");
    }
    // Of a disk whose table is ours, the sectors behind the MBR don't have to be readable.
    let head = foreign::read_head(machine, id, Lba(0), foreign::QUICK_HEAD_SECTORS.min(info.sectors))
        .or_else(|_| foreign::read_head(machine, id, Lba(0), 1));
    let Ok(head) = head else { return unclear("can't be read") };
    if let Some(owner) = foreign::owner_of_head(&head).filter(|_| !seeded(Defect::MarksOverlooked)) {
        return Look::Differs(format!("carries {owner}"));
    }
    // A restore that was cut short has left word of what it was making of this disk.
    let mbr = head
        .first_chunk::<SECTOR>()
        .and_then(|sector| Mbr::parse(sector, info.sectors).ok().or_else(|| mbr::begun(sector, info.sectors)));
    // The rest of the disk is searched for marks only when the table is not ours already: on the
    // good path, one read is all that a start costs.
    let map = program.map(wanted);
    let has_map = mbr.is_some_and(|mbr| mbr.has_map(&map));
    if !has_map {
        match foreign::owner(machine, id, info.sectors, mbr.as_ref(), &map) {
            Ok(None) => {}
            Ok(Some(_)) if seeded(Defect::MarksOverlooked) => {}
            Ok(Some(owner)) => return Look::Differs(format!("carries {owner}")),
            Err(error) => return Look::Unclear(format!("can't be searched for marks: {error}")),
        }
    }
    match (disk.signature, mbr) {
        (Some(wanted), Some(mbr)) if mbr.disk_signature() != wanted => {
            let why = format!("has signature {:08X}", mbr.disk_signature());
            // The declared table with another signature may be the right disk, damaged in four bytes, or a copy.
            if has_map { Look::Unclear(why) } else { Look::Differs(why) }
        }
        (_, mbr) => Look::Matches(Found { claim: Claim { id, info }, lost_signature: mbr.is_none(), has_map }),
    }
}

fn fits(size: Size, sectors: u64) -> bool {
    match size {
        Size::Exactly(n) => sectors == n.0,
        Size::AtLeast(n) => sectors >= n.0,
    }
}

impl Program {
    /// The partition table that a disk is declared to have, the first partition active.
    #[must_use]
    pub fn map(&self, disk: DiskIndex) -> [Entry; 4] {
        let mut map = [Entry::default(); 4];
        for partition in self.partitions_on(disk).map(|p| self.partition(p)) {
            if let Some(entry) = map.get_mut(usize::from(partition.entry)) {
                *entry = Entry {
                    active: partition.entry == 0,
                    kind: partition.kind,
                    // The logic check refuses what a table can't say.
                    start: u32::try_from(partition.start.0).unwrap_or(0),
                    sectors: u32::try_from(partition.sectors.0).unwrap_or(0),
                };
            }
        }
        map
    }
}

/// The disk signature that a restore gives a disk which has none and for which none is declared: the same
/// on every machine with the same logic.txt, and never 0, which means none.
#[must_use]
pub fn default_signature(disk: &Disk) -> u32 {
    let mut signature = 0x4B53_0001_u32;
    for byte in disk.name.bytes() {
        signature = signature.rotate_left(5) ^ u32::from(byte);
    }
    signature | 1
}
