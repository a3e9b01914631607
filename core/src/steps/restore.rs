//! `restore P`, `restore D`: partitions are rewritten from the CD.
//!
//! The order is what makes a power cut harmless. Before anything is destroyed, every copy of
//! bstate.txt says that a restore has begun. Then the partition table is cleared (`restore D`), and
//! each partition's boot sector loses its 55AA (both), so that nothing half written can be booted. Then
//! come the images, whose own bstate.txt is replaced on the way by the running record, so that the
//! number of restores is not lost. When their hashes were found right, bstate.txt says OK; only then comes
//! 55AA, so that no copy is ever bootable and remembered as failing; and the MBR last.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::bstate::{self, Record, State};
use crate::disks::Claim;
use crate::logic::{DiskIndex, PartitionIndex, Step};
use crate::media::mbr::{self, Mbr};
use crate::media::region::Region;
use crate::steps::images::{CHUNK, Image, check, read_part};
use crate::steps::progress::Progress;
use crate::steps::{Context, Outcome, name_of};
use crate::units::{Offset, SECTOR};

/// One partition that is being rewritten.
struct Target {
    name: String,
    region: Region,
}

/// Partitions that lack nothing but their boot sector.
struct Written {
    targets: Vec<Target>,
    boot_sector: [u8; SECTOR],
}

impl Context<'_> {
    /// `restore D`
    ///
    /// # Errors
    /// What could not be read or written, or is damaged on the CD.
    pub fn restore_disk(&mut self, step: &Step, disk: DiskIndex) -> Outcome {
        let claim = self.claim_anew(disk)?;
        let partitions: Vec<PartitionIndex> = self.program.partitions_on(disk).collect();
        let partitions: Vec<PartitionIndex> =
            partitions.into_iter().filter(|&p| self.program.partition(p).image.is_some()).collect();
        self.once(step)?;
        let images = self.images(&partitions)?;
        let mbr = self.new_mbr(disk, &claim)?;
        let before = self.announce(step, &partitions);
        if let Err(why) = self.clear_table(&claim, &mbr) {
            // Nothing was destroyed yet, so nothing is to be remembered of it.
            self.take_back(before);
            return Err(why);
        }
        self.restore(step, &images, &partitions)?;
        self.write_mbr(&claim, &mbr)
    }

    /// `restore P`
    ///
    /// # Errors
    /// What could not be read or written, or is damaged on the CD.
    pub fn restore_partition(&mut self, step: &Step, partition: PartitionIndex) -> Outcome {
        let declared = self.program.partition(partition);
        let claim = self.claim_anew(declared.disk)?;
        if !self.read_mbr(&claim)?.has_map(&self.program.map(declared.disk)) {
            return Err(format!("the MBR does not hold {} as declared", declared.name));
        }
        self.once(step)?;
        let images = self.images(&[partition])?;
        self.announce(step, &[partition]);
        self.restore(step, &images, &[partition])
    }

    /// The part of both that needs no table.
    #[inline(never)]
    fn restore(&mut self, step: &Step, images: &[Image], partitions: &[PartitionIndex]) -> Outcome {
        let written = self.write_images(step, images)?;
        let remark = self.settle(partitions)?;
        for written in written {
            for target in &written.targets {
                self.write_part(target, Offset(0), &written.boot_sector)?;
            }
        }
        Ok(remark)
    }

    /// A flow that goes round in a circle must not restore the same thing again and again.
    fn once(&mut self, step: &Step) -> Result<(), String> {
        if self.restored.contains(&step.text) {
            return Err("it was restored already since the machine was switched on".to_string());
        }
        self.restored.push(step.text.clone());
        Ok(())
    }

    /// Says in bstate.txt that a restore has begun, wherever that can still be written (on a blank disk it
    /// can't, and that stops nobody); what stood there before.
    #[inline(never)]
    fn announce(&mut self, step: &Step, partitions: &[PartitionIndex]) -> Option<Record> {
        self.load_states();
        let why = format!("{} restore begun, not finished", name_of(step));
        let states = self.states.as_mut()?;
        let before = states.known.then(|| states.record.clone());
        states.known = true;
        states.record.restores = states.record.restores.saturating_add(1).min(bstate::MAX_COUNT);
        for &partition in partitions {
            let name = &self.program.partition(partition).name;
            if let Some(recorded) = states.record.get_mut(name) {
                recorded.state = State::Dirty;
                recorded.why.clone_from(&why);
            }
        }
        self.write_back(false);
        before
    }

    fn take_back(&mut self, before: Option<Record>) {
        if let (Some(states), Some(before)) = (&mut self.states, before) {
            states.record = Record { sequence: states.record.sequence, ..before };
            self.write_back(false);
        }
    }

    /// Makes the disk unbootable, and leaves word of what is going on: see [`mbr::restoring`]. As sector 0
    /// is never blank while the rest is written, firmware that drops high bits of a sector number is
    /// caught by finding it elsewhere.
    #[inline(never)]
    fn clear_table(&mut self, claim: &Claim, mbr: &Mbr) -> Result<(), String> {
        claim
            .mbr()
            .write(self.machine, Offset(0), &mbr::restoring(mbr))
            .map_err(|e| format!("partition table not cleared: {e}"))
    }

    #[inline(never)]
    fn write_images(&mut self, step: &Step, images: &[Image]) -> Result<Vec<Written>, String> {
        let writes = |i: &Image| i.file.bytes() * i.partitions.len() as u64;
        let names: Vec<&str> =
            images.iter().flat_map(|i| &i.partitions).map(|&p| self.program.partition(p).name.as_str()).collect();
        let names = names.join(" ");
        let mut progress = Progress::begin(self.machine, step, &names, images.iter().map(writes).sum());
        let mut written = Vec::new();
        for image in images {
            let mut targets = Vec::new();
            for &partition in &image.partitions {
                let name = self.program.partition(partition).name.clone();
                targets.push(Target { name, region: self.region(partition)? });
            }
            let boot_sector = self.write_image(image, &targets, &mut progress)?;
            written.push(Written { targets, boot_sector });
        }
        Ok(written)
    }

    /// One pass over the image: each part is read once and written to every partition that gets it; the
    /// boot sector, which went out without its 55AA.
    #[inline(never)]
    fn write_image(
        &mut self,
        image: &Image,
        targets: &[Target],
        progress: &mut Progress<'_>,
    ) -> Result<[u8; SECTOR], String> {
        let state_at = image.state_at;
        let state = self.states.as_ref().map(|s| s.record.to_sector()).unwrap_or([b' '; SECTOR]);
        let mut boot_sector = [0; SECTOR];
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut at = 0_u64;
        while at < image.file.bytes() {
            let part = read_part(self.machine, image, at, &mut buffer)?;
            hasher.update(&*part);
            if at == 0
                && let Some(first) = part.first_chunk_mut::<SECTOR>()
            {
                boot_sector = *first;
                first[510..].fill(0);
            }
            // The image's own record would say that there were no restores.
            let skip = state_at.checked_sub(at).and_then(|s| usize::try_from(s).ok());
            if let Some(sector) = skip.and_then(|s| part.get_mut(s..)).and_then(|s| s.first_chunk_mut::<SECTOR>()) {
                *sector = state;
            }
            let bytes = part.len() as u64;
            for target in targets {
                self.write_part(target, Offset(at / SECTOR as u64), part)?;
                progress.advance(self.machine, bytes);
            }
            at += bytes;
        }
        check(image, hasher)?;
        Ok(boot_sector)
    }

    fn write_part(&mut self, target: &Target, at: Offset, data: &[u8]) -> Result<(), String> {
        let place = |e| format!("{}, sector {} of it: {e}", target.name, at.0);
        target.region.write(self.machine, at, data).map_err(place)
    }

    /// The rewritten partitions are OK now (266), and all copies say so.
    #[inline(never)]
    fn settle(&mut self, partitions: &[PartitionIndex]) -> Outcome {
        let Some(old) = self.states.take() else { return Err("bstate.txt was not read".to_string()) };
        self.load_states();
        let Some(states) = &mut self.states else { return Err("bstate.txt was not read".to_string()) };
        // The copies are where the new filesystems have them; the record is the one kept in memory.
        states.record = old.record;
        states.known = true;
        for &partition in partitions {
            let name = &self.program.partition(partition).name;
            if let Some(recorded) = states.record.get_mut(name) {
                *recorded = bstate::Partition::ok(name);
            }
        }
        self.write_states()
    }
}
