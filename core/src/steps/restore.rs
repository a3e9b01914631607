//! `restore P`, `restore D`: partitions are rewritten from the CD.
//!
//! The order is what makes a power cut harmless. Before anything is destroyed, every copy of
//! bstate.txt says that a restore has begun. Then the partition table is cleared (`restore D`) and
//! each partition's boot sector (both), so that nothing half written can be booted. Then the images,
//! whose own bstate.txt is replaced on the way by the running record, so that the number of restores
//! is never lost. Boot sectors come after the image's hash was found right, and the MBR last.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::bstate::{self, State};
use crate::disks::Claim;
use crate::logic::{DiskIndex, PartitionIndex, Step};
use crate::media::filesystem::Filesystem;
use crate::media::mbr::Mbr;
use crate::media::region::Region;
use crate::steps::images::{CHUNK, Image, ImageVolume, check, read_part};
use crate::steps::progress::Progress;
use crate::steps::{Context, Outcome, name_of};
use crate::units::{Offset, SECTOR};

/// One partition that is being rewritten.
struct Target {
    name: String,
    region: Region,
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
        let images = self.images(&partitions)?;
        let mbr = self.new_mbr(disk, &claim)?;
        self.announce(step, &partitions);
        self.clear_table(&claim, &mbr)?;
        self.write_images(step, &images)?;
        self.settle(&partitions)?;
        self.write_mbr(&claim, &mbr)
    }

    /// `restore P`
    ///
    /// # Errors
    /// What could not be read or written, or is damaged on the CD.
    pub fn restore_partition(&mut self, step: &Step, partition: PartitionIndex) -> Outcome {
        self.claim_anew(self.program.partition(partition).disk)?;
        let images = self.images(&[partition])?;
        self.announce(step, &[partition]);
        self.write_images(step, &images)?;
        self.settle(&[partition])
    }

    /// Says in bstate.txt that a restore has begun, wherever that can still be written. On a blank
    /// disk it can't, and that stops nobody.
    #[inline(never)]
    fn announce(&mut self, step: &Step, partitions: &[PartitionIndex]) {
        self.load_states();
        let why = format!("{} restore begun, not finished", name_of(step));
        let Some(states) = &mut self.states else { return };
        states.known = true;
        states.record.restores = states.record.restores.saturating_add(1).min(bstate::MAX_COUNT);
        for &partition in partitions {
            if let Some(recorded) = states.record.get_mut(&self.program.partition(partition).name) {
                recorded.state = State::Dirty;
                recorded.why.clone_from(&why);
            }
        }
        let _ = self.write_states();
    }

    /// Makes the disk unbootable: no table, no boot code, no 55AA. The disk signature stays, so that a
    /// restore that begins again still has it, and so that sector 0 is never blank while the rest is
    /// written: firmware that drops high bits of a sector number is caught by finding it elsewhere.
    #[inline(never)]
    fn clear_table(&mut self, claim: &Claim, mbr: &Mbr) -> Result<(), String> {
        let mut sector = *mbr.sector();
        sector[..440].fill(0);
        sector[444..].fill(0);
        claim.mbr().write(self.machine, Offset(0), &sector).map_err(|e| format!("partition table not cleared: {e}"))
    }

    #[inline(never)]
    fn write_images(&mut self, step: &Step, images: &[Image]) -> Result<(), String> {
        let writes = |i: &Image| i.file.bytes() * i.partitions.len() as u64;
        let names: Vec<&str> =
            images.iter().flat_map(|i| &i.partitions).map(|&p| self.program.partition(p).name.as_str()).collect();
        let names = names.join(" ");
        let mut progress = Progress::begin(self.machine, step, &names, images.iter().map(writes).sum());
        for image in images {
            let mut targets = Vec::new();
            for &partition in &image.partitions {
                let name = self.program.partition(partition).name.clone();
                targets.push(Target { name, region: self.region(partition)? });
            }
            self.write_image(image, &targets, &mut progress)?;
        }
        Ok(())
    }

    /// One pass over the image: each part is read once and written to every partition that gets it.
    #[inline(never)]
    fn write_image(&mut self, image: &Image, targets: &[Target], progress: &mut Progress<'_>) -> Result<(), String> {
        let state_at = self.state_sector(image)?;
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
                first.fill(0);
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
        for target in targets {
            self.write_part(target, Offset(0), &boot_sector)?;
        }
        Ok(())
    }

    fn write_part(&mut self, target: &Target, at: Offset, data: &[u8]) -> Result<(), String> {
        let place = |e| format!("{}, sector {} of it: {e}", target.name, at.0);
        target.region.write(self.machine, at, data).map_err(place)
    }

    /// The byte in the image where bstate.txt begins.
    fn state_sector(&mut self, image: &Image) -> Result<u64, String> {
        let mut volume = ImageVolume { machine: self.machine, file: &image.file };
        let found = Filesystem::open(&mut volume).and_then(|fs| fs.find(&mut volume, bstate::FILE));
        let start = found.map_err(|e| format!("{}: {}: {e}", image.path, bstate::FILE))?;
        Ok(start.at.0 * SECTOR as u64)
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
