//! Whether nothing is on a disk.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::disks::Search;
use crate::logic::DiskIndex;
use crate::machine::{DiskId, DiskInfo};
use crate::media::note::Note;
use crate::units::{Lba, SECTOR};

/// Sectors of a MiB.
pub(super) const MIB: u64 = (1 << 20) / SECTOR as u64;
/// As much of each declared partition's beginning has to be blank on a blank disk: 64 KiB.
pub(super) const HEAD: u64 = 128;
/// Sectors that are read at once.
const STRIDE: u64 = 64;

/// What sectors hold.
pub(super) enum Uniform {
    /// There are none.
    Nothing,
    /// Nothing but this byte.
    Of(u8),
    /// Something else, from this sector on.
    Differs(u64),
}

impl Search<'_> {
    /// Whether nothing is on the disk, as far as its first and last MiB and the beginnings of the declared
    /// partitions tell; else the first sector with something. A note that was written in part counts as nothing.
    ///
    /// # Errors
    /// What could not be read.
    #[inline(never)]
    pub(super) fn blank(
        &mut self,
        id: DiskId,
        info: &DiskInfo,
        wanted: DiskIndex,
    ) -> Result<Option<u64>, (u64, String)> {
        let places = [0, self.first_of(wanted).saturating_sub(1)];
        let middle = MIB.min(info.sectors);
        // The partitions' beginnings first: most disks that are not blank have something there.
        let mut parts = Vec::new();
        for partition in self.program.partitions_on(wanted).map(|p| self.program.partition(p)) {
            let end = (partition.start.0 + HEAD.min(partition.sectors.0)).min(info.sectors);
            // What is in the first MiB is read with it.
            parts.push((partition.start.0.max(middle).min(end), end));
        }
        parts.extend([(0, middle), (info.sectors.saturating_sub(MIB).max(middle), info.sectors)]);
        for (from, end) in parts {
            if let Uniform::Differs(at) = self.uniform(id, from, end, None, &places)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Whether sectors `from` up to `end` are one repeated byte.
    #[inline(never)]
    pub(super) fn uniform(
        &mut self,
        id: DiskId,
        from: u64,
        end: u64,
        byte: Option<u8>,
        places: &[u64],
    ) -> Result<Uniform, (u64, String)> {
        let mut buffer = vec![0; STRIDE as usize * SECTOR];
        let (mut at, mut byte) = (from, byte);
        while at < end {
            let sectors = STRIDE.min(end - at);
            let Some(content) = buffer.get_mut(..sectors as usize * SECTOR) else { break };
            let whole = self.machine.read_disk(id, Lba(at), content);
            for (sector, bytes) in (at..).zip(content.as_chunks_mut::<SECTOR>().0) {
                if whole.is_err() {
                    match self.machine.read_disk(id, Lba(sector), bytes) {
                        // A sector that was being written when the power went may be unreadable.
                        Err(_) if places.contains(&sector) => continue,
                        Err(error) => return Err((sector, error.to_string())),
                        Ok(()) => {}
                    }
                }
                let same = bytes.iter().all(|b| *b == bytes[0]);
                if places.contains(&sector) && (same || Note::is_begun(bytes)) {
                    continue;
                }
                let byte = *byte.get_or_insert(bytes[0]);
                if !same || bytes[0] != byte {
                    return Ok(Uniform::Differs(sector));
                }
            }
            at += sectors;
        }
        Ok(byte.map_or(Uniform::Nothing, Uniform::Of))
    }

    /// Whether the places of notes are blank themselves: half a note may have a mark in its other half.
    #[inline(never)]
    pub(super) fn are_notes_blank(&mut self, id: DiskId, wanted: DiskIndex) -> bool {
        let mut sector = [0; SECTOR];
        [0, self.first_of(wanted).saturating_sub(1)].into_iter().all(|at| {
            let read = self.machine.read_disk(id, Lba(at), &mut sector);
            read.is_ok() && sector.iter().all(|byte| *byte == sector[0])
        })
    }

    pub(super) fn is_note_place(&self, wanted: DiskIndex, at: u64) -> bool {
        at == 0 || at.checked_add(1) == Some(self.first_of(wanted))
    }
}
