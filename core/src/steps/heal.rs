//! `heal P [from Q]`: only what differs from the seal is rewritten.
//!
//! Each range comes from Q if Q's own sectors match P's seal, else from the CD if its image has that very
//! content. Nothing is written that was not compared with the seal before, so that the power may go at any
//! moment: the partition is then less damaged than it was.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::logic::{PartitionIndex, Step};
use crate::media::filesystem::Filesystem;
use crate::media::region::Region;
use crate::steps::progress::Progress;
use crate::steps::seal::{Damage, MOST};
use crate::steps::{Context, Outcome};
use crate::table::{Cursor, Entry, Fault, Header, SEALS, Table};
use crate::units::{Offset, SECTOR};

/// What heals, and what came of it.
struct Healing<'t> {
    target: Region,
    /// Q's name, and its sectors or why they can't be told.
    sibling: Option<(String, Result<Region, String>)>,
    /// The CD's image, with the place that was reached in its table; or why it can't be used.
    image: Result<(&'t Table, Cursor<'t>), String>,
    /// The image's entry that was looked at last.
    entry: Option<Entry>,
    from_sibling: usize,
    from_cd: usize,
    /// The first ranges that could not be mended, and why; and how many there are in all.
    failed: Vec<String>,
    failures: usize,
}

/// At most so many of them are told one by one: each costs a look into the seal's names, and a line has an end.
const TOLD: usize = 3;

impl Context<'_> {
    /// `heal P [from Q]`
    ///
    /// # Errors
    /// The ranges that could not be mended, and why; all others were.
    pub fn heal(&mut self, step: &Step, partition: PartitionIndex, from: Option<PartitionIndex>) -> Outcome {
        let target = self.standing(partition)?;
        self.once(step)?;
        // Now, while it can be found: a bstate.txt that an editor has moved is lost with the directory's
        // present form, and what was typed in it must not be.
        self.load_states();
        let sibling = from.map(|q| (self.program.partition(q).name.clone(), self.region(q)));
        let mut damage = match self.take_damage(partition) {
            Some(damage) => damage,
            None => self.look_for_damage(step, partition, &target)?,
        };
        let image = self.image_of(partition);
        let image = image.as_ref().map(|table| (table, table.entries())).map_err(Clone::clone);
        let (entry, from_sibling, from_cd, failed, failures) = (None, 0, 0, Vec::new(), 0);
        let mut healing = Healing { target, sibling, image, entry, from_sibling, from_cd, failed, failures };
        let name = &self.program.partition(partition).name;
        self.mend_all(step, name, &mut damage, &mut healing)?;
        self.after_healing(&damage, &target);
        let Healing { sibling, from_sibling, from_cd, mut failed, failures, .. } = healing;
        let mended = count(sibling.as_ref().map(|(name, _)| name), from_sibling, from_cd);
        if failed.is_empty() {
            return Ok(mended);
        }
        if failures > failed.len() {
            failed.push(format!("and {} more ranges", failures - failed.len()));
        }
        Err(format!("{}; mended: {mended}", failed.join("; ")))
    }

    /// All that differs, where no `verify` has found it out just before.
    fn look_for_damage(&mut self, step: &Step, partition: PartitionIndex, target: &Region) -> Result<Damage, String> {
        let filesystem = Filesystem::open(&mut target.volume(self.machine)).ok();
        let seal = self.seal_of(partition, target, filesystem.as_ref())?;
        let seal = seal.ok_or_else(|| "it has no seal, and no image on the CD".to_string())?;
        match self.damage(step, partition, target, seal) {
            Ok(damage) => Ok(damage),
            // A seal that is damaged itself says nothing; the CD's still does.
            Err(why) => {
                let seal = self.image_of(partition).map_err(|_| why)?;
                self.damage(step, partition, target, seal)
            }
        }
    }

    fn damage(
        &mut self,
        step: &Step,
        partition: PartitionIndex,
        target: &Region,
        seal: Table,
    ) -> Result<Damage, String> {
        let name = &self.program.partition(partition).name;
        let mut progress = Progress::begin(self.machine, step, name, seal.header.protected * SECTOR as u64);
        let (entries, more) = self.differing(target, &seal, 0, MOST, &mut progress)?;
        Ok(Damage { seal, entries, more })
    }

    #[inline(never)]
    fn mend_all(
        &mut self,
        step: &Step,
        name: &str,
        damage: &mut Damage,
        healing: &mut Healing<'_>,
    ) -> Result<(), String> {
        loop {
            let bytes = |entries: &[Entry]| entries.iter().map(|e| e.bytes() as u64).sum();
            let mut progress = Progress::begin(self.machine, step, name, bytes(&damage.entries));
            for entry in &damage.entries {
                if let Err(why) = self.mend(entry, healing) {
                    healing.failures += 1;
                    if healing.failures <= TOLD {
                        let place = self.describe(&damage.seal, entry);
                        healing.failed.push(format!("{place}: {why}"));
                    }
                }
                progress.advance(self.machine, entry.bytes() as u64);
            }
            let (true, Some(last)) = (damage.more, damage.entries.last().copied()) else { return Ok(()) };
            let left = (damage.seal.header.sectors.0 - last.end()) * SECTOR as u64;
            let mut progress = Progress::begin(self.machine, step, name, left);
            (damage.entries, damage.more) =
                self.differing(&healing.target, &damage.seal, last.end(), MOST, &mut progress)?;
        }
    }

    fn mend(&mut self, entry: &Entry, healing: &mut Healing<'_>) -> Result<(), String> {
        let mut why = Vec::new();
        if let Some((name, sibling)) = &healing.sibling {
            let sibling = sibling.as_ref().map_err(Clone::clone);
            match sibling.and_then(|sibling| self.mend_from_sibling(entry, sibling, &healing.target)) {
                Ok(()) => {
                    healing.from_sibling += 1;
                    return Ok(());
                }
                Err(trouble) => why.push(format!("{name}: {trouble}")),
            }
        }
        match self.mend_from_cd(entry, healing) {
            Ok(()) => {
                healing.from_cd += 1;
                return Ok(());
            }
            Err(trouble) => why.push(trouble),
        }
        Err(why.join(", "))
    }

    fn mend_from_sibling(&mut self, entry: &Entry, sibling: &Region, target: &Region) -> Result<(), String> {
        let (input, output) = self.buffers.both();
        let (Some(content), Some(copy)) = (input.get_mut(..entry.bytes()), output.get_mut(..entry.bytes())) else {
            return Err("no memory".to_string());
        };
        sibling.read(self.machine, Offset(entry.first), content).map_err(|e| e.to_string())?;
        copy.copy_from_slice(content);
        if !entry.matches(copy) {
            return Err("differs as well".to_string());
        }
        target.write_using(self.machine, Offset(entry.first), content, copy).map_err(|e| e.to_string())
    }

    fn mend_from_cd(&mut self, entry: &Entry, healing: &mut Healing<'_>) -> Result<(), String> {
        let (image, cursor) = healing.image.as_mut().map_err(|why| why.clone())?;
        // Both are in the order of the disk, so one pass over the image's table is enough.
        while healing.entry.is_none_or(|e| e.first < entry.first) {
            match cursor.next(self.machine)? {
                Some(next) => healing.entry = Some(next),
                None => return Err("the CD's image has nothing there".to_string()),
            }
        }
        let Some(wanted) = healing.entry.filter(|e| e.is_same(entry)) else {
            return Err("the CD's image is not what was sealed".to_string());
        };
        let (content, back) = self.buffers.chunk(self.machine, image, &wanted)?;
        healing.target.write_using(self.machine, Offset(entry.first), content, back).map_err(|e| e.to_string())
    }

    /// Where the CD's seal was the measure, the partition is what was shipped, and a seal in it that says
    /// otherwise must not count any more. And bstate.txt may be found again now.
    fn after_healing(&mut self, damage: &Damage, target: &Region) {
        if damage.seal.is_image()
            && let Ok(filesystem) = Filesystem::open(&mut target.volume(self.machine))
        {
            for name in SEALS {
                let found = filesystem.extents(&mut target.volume(self.machine), name).ok();
                let first = found.and_then(|map| map.runs.first().copied());
                if let Some((at, _)) = first {
                    self.void(target, at);
                }
            }
        }
        self.find_copies_again();
    }

    /// Makes a seal say nothing, as it did before anybody wrote one: its sequence is 0, and what is to be
    /// protected still stands in its names.
    #[inline(never)]
    fn void(&mut self, target: &Region, at: Offset) {
        let mut sector = [0; SECTOR];
        if target.read(self.machine, at, &mut sector).is_err() {
            return;
        }
        let new = match Header::parse(&sector) {
            Ok(header) if header.sequence != 0 => Header { sequence: 0, ..header }.to_sector(),
            Err(fault) if fault != Fault::NoTable => [0; SECTOR],
            _ => return,
        };
        // If that fails, the next `verify` finds it out.
        let _ = target.write(self.machine, at, &new);
    }
}

/// How many ranges came from where.
fn count(sibling: Option<&String>, from_sibling: usize, from_cd: usize) -> String {
    match (sibling, from_sibling + from_cd) {
        (_, 0) => "nothing differs".to_string(),
        (Some(name), all) => format!("{all} ranges: {from_sibling} from {name}, {from_cd} from the CD"),
        (None, all) => format!("{all} ranges from the CD"),
    }
}
