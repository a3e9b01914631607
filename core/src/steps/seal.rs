//! Whether a partition holds what its seal says: which seal counts, and what differs from it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::logic::{PartitionIndex, Step, Verb};
use crate::media::filesystem::Filesystem;
use crate::media::region::Region;
use crate::steps::Context;
use crate::steps::progress::Progress;
use crate::table::{CHUNK_SECTORS, Entry, SEALS, Table};
use crate::units::{Offset, SECTOR};

/// Sectors between two chunks that are read along rather than left out by a second transfer.
const GAP: u64 = 16;
/// At most so many ranges are remembered at once: 400 KiB of memory.
pub(crate) const MOST: usize = 8192;

/// What was found to differ from a seal.
pub(crate) struct Damage {
    /// The seal.
    pub seal: Table,
    /// The ranges, in the order of the disk.
    pub entries: Vec<Entry>,
    /// Whether there may be more behind the last one.
    pub more: bool,
}

impl Context<'_> {
    /// The seal that a partition has to match: the newest one in its own filesystem, else its image on the
    /// CD; nothing where it has neither.
    ///
    /// # Errors
    /// What is wrong with the CD's image.
    #[inline(never)]
    pub(crate) fn seal_of(
        &mut self,
        partition: PartitionIndex,
        region: &Region,
        filesystem: Option<&Filesystem>,
    ) -> Result<Option<Table>, String> {
        let own = filesystem.and_then(|filesystem| self.own_seal(region, filesystem));
        if own.is_some() || self.program.partition(partition).image.is_none() {
            return Ok(own);
        }
        self.image_of(partition).map(Some)
    }

    /// The newest seal in a partition's filesystem. One that is damaged is none: whoever writes a seal
    /// writes its header last, and leaves the one before alone.
    fn own_seal(&mut self, region: &Region, filesystem: &Filesystem) -> Option<Table> {
        let mut newest: Option<Table> = None;
        for name in SEALS {
            let Ok(map) = filesystem.extents(&mut region.volume(self.machine), name) else { continue };
            let seal = match Table::on_disk(self.machine, region, map, name) {
                Ok(Some(seal)) => seal,
                Ok(None) => continue,
                Err(why) => {
                    self.tell("-", "read seal", &Err(why));
                    continue;
                }
            };
            if newest.as_ref().is_none_or(|other| other.header.sequence < seal.header.sequence) {
                newest = Some(seal);
            }
        }
        newest
    }

    /// Reads the protected ranges from sector `from` on in the order of the disk, and collects those that
    /// differ: the first one only, or as many as can be remembered; whether there may be more.
    ///
    /// # Errors
    /// That the seal itself is unreadable or damaged.
    #[inline(never)]
    pub(crate) fn differing(
        &mut self,
        region: &Region,
        seal: &Table,
        from: u64,
        most: usize,
        progress: &mut Progress<'_>,
    ) -> Result<(Vec<Entry>, bool), String> {
        let mut found = Vec::new();
        let mut batch: Vec<Entry> = Vec::new();
        let mut entries = seal.entries();
        loop {
            let next = entries.next(self.machine)?;
            if next.is_some_and(|e| !e.protected || e.first < from) {
                continue;
            }
            if next.is_none_or(|e| !fits(&batch, &e)) {
                self.check_batch(region, &batch, &mut found);
                progress.advance(self.machine, batch.iter().map(|e| e.bytes() as u64).sum());
                batch.clear();
                if found.len() >= most {
                    return Ok((found, true));
                }
            }
            match next {
                Some(entry) => batch.push(entry),
                None => return Ok((found, false)),
            }
        }
    }

    /// Reads some chunks in one transfer, and adds to `found` those that differ or can't be read.
    fn check_batch(&mut self, region: &Region, batch: &[Entry], found: &mut Vec<Entry>) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return };
        let bytes = (last.end() - first.first) as usize * SECTOR;
        let (input, _) = self.buffers.both();
        let all = input.get_mut(..bytes).filter(|_| batch.len() > 1);
        let whole = all.is_some_and(|all| region.read(self.machine, Offset(first.first), all).is_ok());
        for entry in batch {
            // Where the transfer failed, each chunk is on its own: one bad sector spoils only its own.
            let from = if whole { (entry.first - first.first) as usize * SECTOR } else { 0 };
            let content = input.get_mut(from..from + entry.bytes());
            let good = content.is_some_and(|content| {
                (whole || region.read(self.machine, Offset(entry.first), content).is_ok()) && entry.matches(content)
            });
            if !good {
                found.push(*entry);
            }
        }
    }

    /// Where a range is, and whose: for a person.
    pub(crate) fn describe(&mut self, seal: &Table, entry: &Entry) -> String {
        let names = seal.names_of(self.machine, entry.first, entry.end());
        let place = format!("sectors {} to {}", entry.first, entry.end().saturating_sub(1));
        if names.is_empty() { place } else { format!("{place}: {names}") }
    }

    /// Whether a failing step at `step` leads to `heal P` before anything else looks at P: then all that
    /// differs is worth knowing, and not only that something does.
    pub(crate) fn heal_follows(&self, step: &Step, partition: PartitionIndex) -> bool {
        let steps = self.program.steps();
        let mut next = step.otherwise;
        for _ in 0..steps.len() {
            let Some(step) = next.and_then(|at| steps.get(at)) else { return false };
            match &step.verb {
                Verb::Heal { partition: p, .. } => return *p == partition,
                Verb::Goto(to) => next = Some(*to),
                Verb::Verify { .. } | Verb::Boot(_) | Verb::Restart | Verb::Hold(_) | Verb::PowerOff => return false,
                _ => next = next.map(|at| at + 1),
            }
        }
        false
    }
}

/// Whether a chunk can be read in one transfer with those before it.
fn fits(batch: &[Entry], entry: &Entry) -> bool {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return true };
    entry.end() - first.first <= CHUNK_SECTORS as u64 && entry.first - last.end() <= GAP
}
