//! `verify mbr of D`, `verify P`, `repair mbr of D`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::defects::{Defect, seeded};
use crate::disks::{Claim, Scope, default_signature};
use crate::logic::{DiskIndex, MbrCode, PartitionIndex, Step};
use crate::media::boot_sector;
use crate::media::filesystem::{Filesystem, FsError};
use crate::media::mbr::Mbr;
use crate::media::region::Region;
use crate::steps::progress::Progress;
use crate::steps::seal::{Damage, MOST};
use crate::steps::{Context, Outcome};
use crate::table::Table;
use crate::units::{Offset, SECTOR, SectorCount};

impl Context<'_> {
    /// The disk's MBR, if it makes sense by itself.
    pub(crate) fn read_mbr(&mut self, claim: &Claim) -> Result<Mbr, String> {
        let mut sector = [0; SECTOR];
        claim.mbr().read(self.machine, Offset(0), &mut sector).map_err(|e| format!("MBR unreadable: {e}"))?;
        Mbr::parse(&sector).map_err(|fault| fault.to_string())
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
        let map = self.program.map(disk);
        mbr.verify(&map, claim.sectors(), code.as_ref(), declared.signature).map_err(|f| f.to_string())?;
        Ok(String::new())
    }

    /// `verify P [quick]`
    ///
    /// # Errors
    /// The first thing that is damaged or unreadable.
    pub fn verify_partition(&mut self, step: &Step, partition: PartitionIndex, quick: bool) -> Outcome {
        let region = self.region(partition)?;
        if !quick {
            self.machine.forget();
        }
        let filesystem = self.basics(partition, &region)?;
        let name = filesystem.as_ref().map_or("unknown filesystem", Filesystem::name);
        if quick {
            return Ok(name.to_string());
        }
        let Some(seal) = self.seal_of(partition, &region, filesystem.as_ref())? else {
            return Ok(format!("{name}, nothing sealed"));
        };
        if seal.header.protected == 0 {
            return Ok(name.to_string());
        }
        let by = if seal.is_image() { "as on the CD" } else { "as sealed" };
        let remark = format!("{name}, {} {by}", SectorCount(seal.header.protected));
        self.verify_ranges(step, partition, &region, seal)?;
        Ok(remark)
    }

    /// A partition's boot sector and filesystem basics: a handful of sectors. Nothing where it holds
    /// something that is neither FAT nor ext, and is meant to.
    pub(crate) fn basics(&mut self, partition: PartitionIndex, region: &Region) -> Result<Option<Filesystem>, String> {
        let mut sector = [0; SECTOR];
        region.read(self.machine, Offset(0), &mut sector).map_err(|e| format!("boot sector unreadable: {e}"))?;
        let filesystem = Filesystem::open(&mut region.volume(self.machine));
        // An image of anything else has no bstate.txt.
        if matches!(filesystem, Err(FsError::Unknown))
            && self.program.partition(partition).image.is_some()
            && self.image_of(partition)?.header.state.is_none()
        {
            return Ok(None);
        }
        match boot_sector::fault(&sector) {
            Some(fault) => Err(fault.to_string()),
            None => filesystem.map(Some).map_err(|e| e.to_string()),
        }
    }

    /// Every protected range. One that differs is enough for an answer; if the answer leads to `heal`, all
    /// of them are looked for, and remembered for it.
    #[inline(never)]
    fn verify_ranges(
        &mut self,
        step: &Step,
        partition: PartitionIndex,
        region: &Region,
        seal: Table,
    ) -> Result<(), String> {
        let name = &self.program.partition(partition).name;
        let heals = self.heal_follows(step, partition);
        let most = if heals { MOST } else { 1 };
        let mut progress = Progress::begin(self.machine, step, name, seal.header.protected * SECTOR as u64);
        let (entries, more) = self.differing(region, &seal, 0, most, &mut progress)?;
        let Some(first) = entries.first().copied() else { return Ok(()) };
        let place = self.describe(&seal, &first);
        let count = match entries.len() {
            1 => String::new(),
            2 => " and 1 more range".to_string(),
            all => format!(" and {} more ranges", all - 1),
        };
        if heals {
            self.remember_damage(partition, Damage { seal, entries, more });
        }
        Err(format!("not as sealed: {place}{count}"))
    }

    /// `repair mbr of D`: writes map and boot code back, and the signature where it is lost. That the disk is ours is
    /// proof enough; where a restore was not finished, a partition has to be whole as well.
    ///
    /// # Errors
    /// Why the disk is not ours, what is in the way, what of the restore is not finished, or why the MBR could not be
    /// written.
    pub fn repair_mbr(&mut self, disk: DiskIndex) -> Outcome {
        let claim = self.claim_to_change(disk)?;
        claim.check_scope()?;
        self.check_ways(disk, &claim)?;
        if claim.note().is_some() {
            self.check_any(disk, &claim)?;
        }
        let old = self.read_mbr(&claim).ok();
        let new = self.new_mbr(disk, &claim)?;
        let active = old.and_then(|mbr| mbr.active().ok()).filter(|&n| self.program.map(disk)[n].kind != 0);
        let new = new.with_active(active.unwrap_or(0));
        self.write_mbr(&claim, &new)
    }

    /// That no entry that has to be kept is in any declared partition's way.
    pub(crate) fn check_ways(&self, disk: DiskIndex, claim: &Claim) -> Result<(), String> {
        self.program.partitions_on(disk).try_for_each(|p| claim.check_way(self.program.partition(p)))
    }

    /// That one of a disk's partitions is whole.
    fn check_any(&mut self, disk: DiskIndex, claim: &Claim) -> Result<(), String> {
        let mut missing = vec!["a restore was begun and not finished".to_string()];
        for partition in self.program.partitions_on(disk) {
            let declared = self.program.partition(partition);
            match self.basics(partition, &claim.partition(declared)) {
                Ok(_) => return Ok(()),
                Err(why) => missing.push(format!("{}: {why}", declared.name)),
            }
        }
        Err(missing.join("; "))
    }

    /// The MBR as declared, with every entry that has to be kept. The disk signature is the declared one, else the
    /// one that stands on a disk of ours even if all else there is gone (Windows knows its disks by it), else one of
    /// our own.
    pub(crate) fn new_mbr(&mut self, disk: DiskIndex, claim: &Claim) -> Result<Mbr, String> {
        let declared = self.program.disk(disk);
        let code = self.mbr_code(disk)?;
        let mut old = [0; SECTOR];
        let present = match (claim.note(), claim.mbr().read(self.machine, Offset(0), &mut old)) {
            // A note knows what it was before sector 0 was torn.
            (Some(note), _) => note.mbr.disk_signature(),
            (None, Ok(())) if claim.scope() == Scope::All => crate::bytes::u32_at(&old, 440),
            _ => 0,
        };
        let kept = if present == 0 { default_signature(declared) } else { present };
        let mbr = Mbr::new(&self.program.map(disk), &code, declared.signature.unwrap_or(kept));
        let extra = if seeded(Defect::ExtraDropped) { &[] } else { claim.kept() };
        let entries: Vec<_> = extra.iter().filter_map(|kept| Some((kept.slot?, kept.raw))).collect();
        mbr.with_entries(&entries)
            .map_err(|slot| format!("the table has no room for entry {}, which is kept", slot + 1))
    }

    pub(crate) fn write_mbr(&mut self, claim: &Claim, mbr: &Mbr) -> Outcome {
        claim.mbr().write(self.machine, Offset(0), mbr.sector()).map_err(|e| format!("MBR not written: {e}"))?;
        Ok(String::new())
    }
}
