//! `restore P`, `restore D`: partitions are rewritten from the CD.
//!
//! The order is what makes a power cut harmless. Before anything is destroyed, every copy of
//! bstate.txt says that a restore has begun. Then a note takes the partition table's place (`restore D`), and
//! each partition's boot sector loses its 55AA (both), so that nothing half written can be booted. Then
//! come the images, whose own bstate.txt is replaced on the way by the running record, so that the
//! number of restores is not lost. When all is written, bstate.txt says OK; only then comes
//! 55AA, so that no copy is ever bootable and remembered as failing; and the MBR last, but for the second place
//! of the note, which is cleared after it.
//!
//! An image is read and unpacked once, whatever the number of partitions that get it. Each pack is
//! compared with its hash before anything of it is written, and whatever was written is read back.
//! Sectors that the image does not describe are free, and stay as they are.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bstate::{self, Record, State};
use crate::defects::{Defect, seeded};
use crate::disks::Claim;
use crate::logic::{DiskIndex, PartitionIndex, Step};
use crate::machine::{IoError, Machine};
use crate::media::mbr::Mbr;
use crate::media::note::Note;
use crate::media::region::Region;
use crate::steps::images::{Image, names};
use crate::steps::progress::Progress;
use crate::steps::{Context, Outcome, name_of};
use crate::table::Entry;
use crate::units::{Offset, SECTOR, SectorCount};

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
        let claim = self.claim_to_restore(disk)?;
        let partitions: Vec<PartitionIndex> = self.program.partitions_on(disk).collect();
        let partitions: Vec<PartitionIndex> =
            partitions.into_iter().filter(|&p| self.program.partition(p).image.is_some()).collect();
        self.once(step)?;
        self.check_ways(disk, &claim)?;
        let images = self.images(&partitions)?;
        let mbr = self.new_mbr(disk, &claim)?;
        let before = self.announce(step, &partitions, true);
        if seeded(Defect::MbrFirst) {
            self.write_mbr(&claim, &mbr)?;
            return self.restore(step, &images, &claim);
        }
        let note = self.note(&mbr);
        if let Err(why) = self.leave_note(&claim, &note) {
            // Nothing was destroyed yet, so nothing is to be remembered of it.
            self.take_back(before);
            return Err(why);
        }
        // From now on the note proves it to be ours.
        let claim = claim.begun(note);
        self.remember_claim(disk, Some(claim.clone()));
        let remark = self.restore(step, &images, &claim)?;
        if seeded(Defect::SecondNoteClearedFirst) {
            self.clear_second_place(&claim);
        }
        self.write_mbr(&claim, &mbr)?;
        self.clear_second_place(&claim);
        Ok(remark)
    }

    /// `restore P`
    ///
    /// # Errors
    /// What could not be read or written, or is damaged on the CD.
    pub fn restore_partition(&mut self, step: &Step, partition: PartitionIndex) -> Outcome {
        let claim = self.standing(partition, true)?;
        self.once(step)?;
        let images = self.images(&[partition])?;
        self.announce(step, &[partition], false);
        self.restore(step, &images, &claim)
    }

    /// The disk of a partition that its table holds as it is declared, looked for again. With `begun`, the note of a
    /// `restore D` that did not get to its end will do as well: where that is another partition's fault, this one can
    /// still be restored.
    pub(crate) fn standing(&mut self, partition: PartitionIndex, begun: bool) -> Result<Claim, String> {
        let declared = self.program.partition(partition);
        let claim = self.claim_to_change(declared.disk)?;
        claim.check_scope()?;
        claim.check_way(declared)?;
        let map = self.program.map(declared.disk);
        if begun && claim.note().is_some_and(|note| note.mbr.has_map(&map)) || self.read_mbr(&claim)?.has_map(&map) {
            return Ok(claim);
        }
        Err(format!("the MBR does not hold {} as declared", declared.name))
    }

    /// The part of both that needs no table.
    #[inline(never)]
    fn restore(&mut self, step: &Step, images: &[Image], claim: &Claim) -> Outcome {
        self.forget_damage();
        let partitions: Vec<PartitionIndex> = images.iter().flat_map(|i| i.partitions.iter().copied()).collect();
        let homeless = images.iter().all(|image| image.table.header.state.is_none());
        if seeded(Defect::StateFirst) {
            let _ = self.settle(&partitions, homeless);
        }
        let written = self.write_images(step, images, claim)?;
        if seeded(Defect::BootSectorBeforeState) {
            self.write_boot_sectors(&written)?;
        }
        let remark = self.settle(&partitions, homeless)?;
        self.write_boot_sectors(&written)?;
        Ok(remark)
    }

    fn write_boot_sectors(&mut self, written: &[Written]) -> Result<(), String> {
        for written in written {
            for target in &written.targets {
                let failed = |e| format!("{}, sector 0 of it: {e}", target.name);
                target.region.write(self.machine, Offset(0), &written.boot_sector).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// A flow that goes round in a circle must not rewrite the same thing again and again.
    pub(crate) fn once(&mut self, step: &Step) -> Result<(), String> {
        if self.rewritten.contains(&step.text) {
            return Err("it was done already since the machine was switched on".to_string());
        }
        self.rewritten.push(step.text.clone());
        Ok(())
    }

    /// Says in bstate.txt that a restore has begun, wherever that can still be written (on a blank disk it
    /// can't, and that stops nobody); what stood there before.
    #[inline(never)]
    fn announce(&mut self, step: &Step, partitions: &[PartitionIndex], whole_disk: bool) -> Option<Record> {
        self.load_states();
        let why = format!("{} restore begun, not finished", name_of(step));
        let states = self.states.as_mut()?;
        let before = states.known.then(|| states.record.clone());
        states.known = true;
        for &partition in partitions {
            let name = &self.program.partition(partition).name;
            if let Some(recorded) = states.record.get_mut(name) {
                recorded.state = State::Dirty;
                recorded.why.clone_from(&why);
            }
        }
        if !seeded(Defect::RestoreNotCounted) {
            self.count_restore();
        }
        if whole_disk {
            self.begin_set();
        }
        self.write_back(false);
        before
    }

    fn take_back(&mut self, before: Option<Record>) {
        let remembered = self.machine.remembered_restores();
        self.machine.remember_restores(remembered.saturating_sub(1));
        if let (Some(states), Some(before)) = (&mut self.states, before) {
            states.record = Record { sequence: states.record.sequence, ..before };
            self.write_back(false);
        }
    }

    /// What a restore says of itself while it is at work.
    fn note(&self, mbr: &Mbr) -> Note {
        let cd = self.program.cd().map(|cd| cd.name.clone()).unwrap_or_default();
        Note { mbr: *mbr, cd, set: self.states.as_ref().and_then(|states| states.record.set) }
    }

    /// Makes the disk unbootable, and leaves word of what is going on: first in the second place, then, when old
    /// marks before the first partition are gone, in sector 0. As sector 0 is never blank while the rest is written,
    /// firmware that drops high bits of a sector number is caught by finding it elsewhere.
    ///
    /// A drive may lose the last writes of its cache when the power goes, and keep later ones. So the second place is
    /// written again until the first note, and the marks that are gone, are no more among them: what comes then never
    /// stands alone.
    #[inline(never)]
    fn leave_note(&mut self, claim: &Claim, note: &Note) -> Result<(), String> {
        if seeded(Defect::TableKept) {
            return Ok(());
        }
        let sector = note.to_sector();
        let second = claim.second_place().filter(|_| !seeded(Defect::OneNote));
        // One place is better than none.
        let written = second.map(|place| place.write(self.machine, Offset(0), &sector));
        self.tell_failure("leave a second note", written.unwrap_or(Ok(())));
        self.clear_gaps(claim, true);
        let first = claim.mbr();
        let again = second.filter(|_| written == Some(Ok(()))).unwrap_or(first);
        let again = (0..LOST_WRITES).try_for_each(|_| again.write(self.machine, Offset(0), &sector));
        if let Err(error) = again.and_then(|()| first.write(self.machine, Offset(0), &sector)) {
            self.clear_second_place(claim);
            return Err(format!("partition table not cleared: {error}"));
        }
        self.clear_gaps(claim, false);
        Ok(())
    }

    /// Clears old marks between the partitions: whoever looks at the disk later would take it for another's.
    fn clear_gaps(&mut self, claim: &Claim, before: bool) {
        for region in claim.gap_marks(before) {
            let cleared = clear(self.machine, &region, Offset(0), region.length());
            self.tell_failure("clear an old mark", cleared);
        }
    }

    /// What is no reason to stop is told all the same.
    fn tell_failure(&mut self, what: &str, done: Result<(), IoError>) {
        if let Err(error) = done {
            self.tell("-", what, &Err(error.to_string()));
        }
    }

    /// Takes the second note back. What is left there by a power cut does no harm while the table is whole, and is
    /// cleared by the next start.
    pub(crate) fn clear_second_place(&mut self, claim: &Claim) {
        let Some(place) = claim.second_place() else { return };
        let mut sector = [0; SECTOR];
        if place.read(self.machine, Offset(0), &mut sector).is_ok() && Note::is_begun(&sector) {
            let cleared = clear(self.machine, &place, Offset(0), place.length());
            self.tell_failure("clear the second note", cleared);
        }
    }

    /// Clears what is left of a finished restore's note, where a power cut came between the MBR and that: whatever the
    /// disk becomes later, it is not to be taken for ours because of it.
    #[inline(never)]
    pub(crate) fn settle_notes(&mut self) {
        for claim in self.whole_claims() {
            self.clear_second_place(&claim);
        }
    }

    /// Clears old marks in a partition's place that the image leaves free: the superblock of a RAID at its end would
    /// hide it from the system.
    #[inline(never)]
    fn clear_marks(&mut self, image: &Image, region: &Region, blank: u64) -> Result<(), String> {
        for _ in 0..MARK_ROUNDS {
            let mut cleared = false;
            for (at, sectors) in region.marks(self.machine, blank) {
                if !self.describes(image, at.0, sectors)? {
                    let done = clear(self.machine, region, at, SectorCount(sectors));
                    cleared |= done.is_ok();
                    self.tell_failure("clear an old mark", done);
                }
            }
            if !cleared {
                break;
            }
        }
        Ok(())
    }

    /// Whether an image describes any of these sectors.
    fn describes(&mut self, image: &Image, at: u64, sectors: u64) -> Result<bool, String> {
        let mut entries = image.table.entries();
        while let Some(entry) = entries.next(self.machine)? {
            if entry.first >= at.saturating_add(sectors) {
                break;
            }
            if at < entry.end() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[inline(never)]
    fn write_images(&mut self, step: &Step, images: &[Image], claim: &Claim) -> Result<Vec<Written>, String> {
        let writes = |i: &Image| i.table.header.described * SECTOR as u64 * i.partitions.len() as u64;
        let names = names(self, images);
        let mut progress = Progress::begin(self.machine, step, &names, images.iter().map(writes).sum());
        let mut written = Vec::new();
        for image in images {
            let mut targets = Vec::new();
            for &partition in &image.partitions {
                let declared = self.program.partition(partition);
                targets.push(Target { name: declared.name.clone(), region: claim.partition(declared) });
            }
            let boot_sector = self.write_image(image, &targets, &mut progress)?;
            for target in &targets {
                self.clear_marks(image, &target.region, claim.blank())?;
            }
            written.push(Written { targets, boot_sector });
        }
        Ok(written)
    }

    /// One pass over the image; the boot sector, which went out without its 55AA.
    #[inline(never)]
    fn write_image(
        &mut self,
        image: &Image,
        targets: &[Target],
        progress: &mut Progress<'_>,
    ) -> Result<[u8; SECTOR], String> {
        let mut boot_sector = [0; SECTOR];
        let mut entries = image.table.entries();
        let mut next = entries.next(self.machine)?;
        while let Some(mut run) = next {
            // Neighbours that come out of one pack side by side go out in one transfer.
            next = entries.next(self.machine)?;
            while let Some(entry) = next.filter(|entry| joins(&run, entry)) {
                run.sectors += entry.sectors;
                next = entries.next(self.machine)?;
            }
            self.write_run(image, &run, targets, &mut boot_sector, progress)?;
        }
        Ok(boot_sector)
    }

    fn write_run(
        &mut self,
        image: &Image,
        run: &Entry,
        targets: &[Target],
        boot_sector: &mut [u8; SECTOR],
        progress: &mut Progress<'_>,
    ) -> Result<(), String> {
        let (content, back) = self.buffers.chunk(self.machine, &image.table, run)?;
        if run.first == 0
            && let Some(first) = content.first_chunk_mut::<SECTOR>()
        {
            *boot_sector = *first;
            if !seeded(Defect::BootSectorFirst) {
                first[510..].fill(0);
            }
        }
        // The image's own record would say that there were no restores.
        let within = image.table.header.state.and_then(|at| at.0.checked_sub(run.first));
        // Counted in sectors first: in bytes it may not fit the 32 bits of the loader's words.
        let within = within.filter(|sectors| *sectors < u64::from(run.sectors));
        let state_at = within.map_or(usize::MAX, |sectors| sectors as usize * SECTOR);
        if !seeded(Defect::RecordFromImage)
            && let Some(sector) = content.get_mut(state_at..).and_then(<[u8]>::first_chunk_mut::<SECTOR>)
        {
            *sector = self.states.as_ref().map(|s| s.record.to_sector()).unwrap_or([b' '; SECTOR]);
        }
        for target in targets {
            let failed = |e| format!("{}, sector {} of it: {e}", target.name, run.first);
            target.region.write_using(self.machine, Offset(run.first), content, back).map_err(failed)?;
            progress.advance(self.machine, run.bytes() as u64);
        }
        if run.first == 0 || state_at < run.bytes() {
            self.buffers.forget();
        }
        Ok(())
    }

    /// The rewritten partitions are OK now (266), and all copies say so; if they are `homeless`, which no
    /// filesystem known here is, there need not be any.
    #[inline(never)]
    fn settle(&mut self, partitions: &[PartitionIndex], homeless: bool) -> Outcome {
        self.find_copies_again();
        let Some(states) = &mut self.states else { return Err("bstate.txt was not read".to_string()) };
        for &partition in partitions {
            let name = &self.program.partition(partition).name;
            if let Some(recorded) = states.record.get_mut(name) {
                *recorded = bstate::Partition::ok(name);
            }
        }
        match self.write_states() {
            Err(why) if homeless => Ok(why),
            written => written,
        }
    }
}

/// So many writes may be lost before one that was kept.
const LOST_WRITES: usize = 3;
/// As often a partition is looked through for old marks: one may have hidden another.
const MARK_ROUNDS: usize = 3;

/// Writes zeros.
fn clear(machine: &mut dyn Machine, region: &Region, at: Offset, sectors: SectorCount) -> Result<(), IoError> {
    (0..sectors.0).try_for_each(|n| region.write(machine, Offset(at.0.saturating_add(n)), &[0; SECTOR]))
}

/// Whether `entry` follows `run` on the disk and in the same pack.
fn joins(run: &Entry, entry: &Entry) -> bool {
    let (Some(a), Some(b)) = (run.place, entry.place) else { return false };
    a.at == b.at && entry.first == run.end() && b.within == a.within + run.sectors
}
