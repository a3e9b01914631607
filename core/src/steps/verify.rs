//! `verify mbr of D`, `verify P`, `repair mbr of D`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use crate::disks::{Claim, default_signature};
use crate::logic::{DiskIndex, MbrCode, PartitionIndex};
use crate::media::boot_sector;
use crate::media::filesystem::Filesystem;
use crate::media::mbr::Mbr;
use crate::steps::{Context, Outcome};
use crate::units::{Offset, SECTOR};

impl Context<'_> {
    /// The disk's MBR, if it makes sense by itself.
    pub(crate) fn read_mbr(&mut self, claim: &Claim) -> Result<Mbr, String> {
        let mut sector = [0; SECTOR];
        claim.mbr().read(self.machine, Offset(0), &mut sector).map_err(|e| format!("MBR unreadable: {e}"))?;
        Mbr::parse(&sector, claim.sectors()).map_err(|fault| fault.to_string())
    }

    /// `verify mbr of D`
    ///
    /// # Errors
    /// The first difference to what is declared.
    pub fn verify_mbr(&mut self, disk: DiskIndex) -> Outcome {
        let claim = self.claim(disk)?;
        let mbr = self.read_mbr(&claim)?;
        let declared = self.program.disk(disk);
        let code = match declared.mbr {
            MbrCode::Any => None,
            _ => Some(self.mbr_code(disk)?),
        };
        mbr.verify(&self.program.map(disk), code.as_ref(), declared.signature).map_err(|f| f.to_string())?;
        Ok(String::new())
    }

    /// `verify P [quick]`: boot sector and filesystem basics.
    ///
    /// # Errors
    /// The first thing that is damaged or unreadable.
    pub fn verify_partition(&mut self, partition: PartitionIndex) -> Outcome {
        let region = self.region(partition)?;
        let mut sector = [0; SECTOR];
        region.read(self.machine, Offset(0), &mut sector).map_err(|e| format!("boot sector unreadable: {e}"))?;
        if let Some(fault) = boot_sector::fault(&sector) {
            return Err(fault.to_string());
        }
        let filesystem = Filesystem::open(&mut region.volume(self.machine)).map_err(|e| e.to_string())?;
        Ok(filesystem.name().to_string())
    }

    /// `repair mbr of D`: writes signature, map and boot code back, if the partitions are where they should
    /// be. One that is whole proves it; the others may be damaged, which is not the MBR's fault.
    ///
    /// # Errors
    /// What is wrong with each of them, or why the MBR could not be written.
    pub fn repair_mbr(&mut self, disk: DiskIndex) -> Outcome {
        let claim = self.claim_anew(disk)?;
        let mut missing = vec!["no partition is where it should be".to_string()];
        for partition in self.program.partitions_on(disk) {
            let declared = self.program.partition(partition);
            match self.verify_partition(partition) {
                Ok(_) => {
                    missing.clear();
                    break;
                }
                Err(why) => missing.push(format!("{}: {why}", declared.name)),
            }
        }
        if !missing.is_empty() {
            return Err(missing.join("; "));
        }
        let old = self.read_mbr(&claim).ok();
        let new = self.new_mbr(disk, &claim)?;
        let active = old.and_then(|mbr| mbr.active().ok()).filter(|&n| self.program.map(disk)[n].kind != 0);
        let new = new.with_active(active.unwrap_or(0));
        self.write_mbr(&claim, &new)
    }

    /// The MBR as declared. The disk signature is the declared one, else the one that stands on the
    /// disk even if all else there is gone (Windows knows its disks by it), else one of our own.
    pub(crate) fn new_mbr(&mut self, disk: DiskIndex, claim: &Claim) -> Result<Mbr, String> {
        let declared = self.program.disk(disk);
        let code = self.mbr_code(disk)?;
        let mut old = [0; SECTOR];
        let present = match claim.mbr().read(self.machine, Offset(0), &mut old) {
            Ok(()) => crate::bytes::u32_at(&old, 440),
            Err(_) => 0,
        };
        let kept = if present == 0 { default_signature(declared) } else { present };
        Ok(Mbr::new(&self.program.map(disk), &code, declared.signature.unwrap_or(kept)))
    }

    pub(crate) fn write_mbr(&mut self, claim: &Claim, mbr: &Mbr) -> Outcome {
        claim.mbr().write(self.machine, Offset(0), mbr.sector()).map_err(|e| format!("MBR not written: {e}"))?;
        Ok(String::new())
    }
}
