//! `heal P [from Q]`: only what differs from the seal is rewritten.
//!
//! Each range comes from Q if Q's own sectors match P's seal, else from the CD if its image has that very
//! content. Nothing is written that was not compared with the seal before, so that the power may go at any
//! moment: the partition is then less damaged than it was.
//!
//! Under `protect PATH` the system may have written a file anew without a word. So all ranges are looked at first,
//! and a file of which one can't be mended, or may have moved, is left as it is ([`Ties`]).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::defects::{Defect, seeded};
use crate::logic::{PartitionIndex, Protect, Step};
use crate::machine::{IoError, Machine};
use crate::media::boot_sector;
use crate::media::ext::sign_superblock;
use crate::media::filesystem::Filesystem;
use crate::media::kind::Kind;
use crate::media::region::Region;
use crate::steps::progress::Progress;
use crate::steps::seal::{Damage, MOST};
use crate::steps::ties::Ties;
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
    /// See [`Table::is_partial`].
    partial: bool,
    /// The first ranges that could not be mended, and why; and how many there are in all.
    failed: Vec<String>,
    failures: usize,
}

impl Healing<'_> {
    /// Something could not be mended.
    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failures += 1;
        if self.failures <= TOLD {
            self.failed.push(why());
        }
    }
}

/// What is done with a range whose content was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    /// It is written.
    Whole,
    /// All of it but the 55AA is written: it is mended again later, and counts then.
    Unfinished,
    /// Nothing: the question was whether there is anything to write.
    Nothing,
}

/// At most so many of them are told one by one: each costs a look into the seal's names, and a line has an end.
const TOLD: usize = 3;

/// A FAT boot sector and an ext superblock stand before this sector.
const BEGINNING: u64 = 4;

impl Context<'_> {
    /// `heal P [from Q]`
    ///
    /// # Errors
    /// The ranges that could not be mended, and why; all others were.
    pub fn heal(&mut self, step: &Step, partition: PartitionIndex, from: Option<PartitionIndex>) -> Outcome {
        let target = self.standing(partition, false)?.partition(self.program.partition(partition));
        self.once(step)?;
        // Now, while it can be found: a bstate.txt that an editor has moved is lost with the directory's
        // present form, and what was typed in it must not be.
        self.load_states();
        let sibling = from.map(|q| (self.program.partition(q).name.clone(), self.region(q)));
        let found = self.take_damage(partition);
        let table = self.image_of(partition);
        let image = table.as_ref().map(|table| (table, table.entries())).map_err(Clone::clone);
        let (entry, from_sibling, from_cd, failed, failures) = (None, 0, 0, Vec::new(), 0);
        let partial = matches!(self.program.partition(partition).protect, Protect::Paths(_));
        let mut healing = Healing { target, sibling, image, entry, from_sibling, from_cd, partial, failed, failures };
        let mut damage = match found {
            Some(damage) => damage,
            None => {
                self.mend_beginning(&mut healing);
                self.look_for_damage(step, partition, &target)?
            }
        };
        let name = &self.program.partition(partition).name;
        self.mend_all(step, name, &mut damage, &mut healing)?;
        self.after_healing(&damage, &target);
        let Healing { sibling, from_sibling, from_cd, mut failed, failures, .. } = healing;
        let mended = count(sibling.as_ref().map(|(name, _)| name), from_sibling, from_cd);
        if failed.is_empty() {
            // What the seal leaves out may be wrong as well: a filesystem that says itself that it has errors.
            return self
                .basics(partition, &target)
                .map(|_| mended.clone())
                .map_err(|why| format!("{why}; mended: {mended}"));
        }
        if failures > failed.len() {
            failed.push(format!("and {} more", failures - failed.len()));
        }
        Err(format!("{}; mended: {mended}", failed.join("; ")))
    }

    /// Where the filesystem is not recognised, the seal in it is out of reach. Its first sectors are what was
    /// shipped, whatever was changed since; so they are mended first, and then its own seal counts for the rest.
    #[inline(never)]
    fn mend_beginning(&mut self, healing: &mut Healing<'_>) {
        let target = healing.target;
        if Filesystem::open(&mut target.volume(self.machine)).is_ok() {
            return;
        }
        let Ok((table, _)) = &healing.image else { return };
        let mut entries = table.entries();
        // A table that is damaged and a range that can't be mended are found again, and told, afterwards.
        while let Ok(Some(entry)) = entries.next(self.machine) {
            if entry.first >= BEGINNING {
                return;
            }
            if !entry.protected || !matches!(entry.kind, Kind::FatBoot | Kind::ExtSuperblock | Kind::ExtSuperblockEnd) {
                continue;
            }
            let Some(content) = self.buffers.both().0.get_mut(..entry.bytes()) else { return };
            let read = target.read(self.machine, Offset(entry.first), content);
            if read.is_err() || !entry.matches(content) {
                // All but these sectors is still to come: the boot sector gets no 55AA yet.
                let put = if entry.first == 0 { Put::Unfinished } else { Put::Whole };
                let _ = self.mend(&entry, healing, put);
            }
        }
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
        let mut ties = self.ties(step, name, damage, healing)?;
        let boot_sector = damage.entries.iter().find(|entry| begins(entry)).copied();
        if seeded(Defect::HealBootSectorFirst)
            && let Some(entry) = &boot_sector
        {
            self.mend_or_note(entry, &damage.seal, healing, None);
        }
        loop {
            self.mend_some(step, name, damage, healing, ties.as_mut())?;
            let (true, Some(last)) = (damage.more, damage.entries.last().copied()) else { break };
            (damage.entries, damage.more) = self.damage_behind(step, name, &damage.seal, &healing.target, &last)?;
        }
        // Last, so that a power cut leaves nothing bootable that was not so before and is mended in part; nor does
        // a range that can't be mended.
        let Some(entry) = &boot_sector else { return Ok(()) };
        if healing.failures == 0 || self.is_bootable(&healing.target) {
            self.mend_or_note(entry, &damage.seal, healing, None);
        } else {
            healing.fail(|| "boot sector: not while the rest is damaged".to_string());
        }
        Ok(())
    }

    #[inline(never)]
    fn is_bootable(&mut self, target: &Region) -> bool {
        let mut sector = [0; SECTOR];
        target.read(self.machine, Offset(0), &mut sector).is_ok() && boot_sector::fault(&sector).is_none()
    }

    /// What differs behind the last range that was remembered, and whether there may be still more.
    fn damage_behind(
        &mut self,
        step: &Step,
        name: &str,
        seal: &Table,
        target: &Region,
        last: &Entry,
    ) -> Result<(Vec<Entry>, bool), String> {
        let left = (seal.header.sectors.0 - last.end()) * SECTOR as u64;
        let mut progress = Progress::begin(self.machine, step, name, left);
        self.differing(target, seal, last.end(), MOST, &mut progress)
    }

    /// Under `protect PATH`: looks at all that differs, and finds out which files must not be touched. Nothing is
    /// written. Nothing where each range is on its own.
    #[inline(never)]
    fn ties(
        &mut self,
        step: &Step,
        name: &str,
        damage: &Damage,
        healing: &mut Healing<'_>,
    ) -> Result<Option<Ties>, String> {
        let partial = damage.seal.is_partial(self.machine);
        if healing.partial || partial {
            // They say what is protected, and whose a range is, which is all that keeps files whole.
            damage.seal.check_names(self.machine)?;
        }
        healing.partial = partial;
        if !partial {
            return Ok(None);
        }
        let mut ties = Ties::new();
        self.tie_some(&damage.entries, &damage.seal, healing, &mut ties)?;
        let (mut last, mut more) = (damage.entries.last().copied(), damage.more);
        while let (true, Some(before)) = (more, last) {
            let (entries, others) = self.damage_behind(step, name, &damage.seal, &healing.target, &before)?;
            self.tie_some(&entries, &damage.seal, healing, &mut ties)?;
            (last, more) = (entries.last().copied(), others);
        }
        Ok(Some(ties))
    }

    fn tie_some(
        &mut self,
        entries: &[Entry],
        seal: &Table,
        healing: &mut Healing<'_>,
        ties: &mut Ties,
    ) -> Result<(), String> {
        let refused: Vec<bool> = entries.iter().map(|entry| self.refusal(entry, seal, healing).is_some()).collect();
        ties.add(self.machine, seal, entries, &refused)
    }

    /// Why a range can't be mended, as far as that is known without writing.
    fn refusal(&mut self, entry: &Entry, seal: &Table, healing: &mut Healing<'_>) -> Option<String> {
        if healing.partial && self.may_have_moved(entry, seal, &healing.target) {
            return Some("it may stand elsewhere now, and something else there".to_string());
        }
        self.mend(entry, healing, Put::Nothing).err()
    }

    /// Mends the ranges that are remembered, but for the one with the boot sector.
    ///
    /// # Errors
    /// That it can't be told whose they are.
    #[inline(never)]
    fn mend_some(
        &mut self,
        step: &Step,
        name: &str,
        damage: &Damage,
        healing: &mut Healing<'_>,
        ties: Option<&mut Ties>,
    ) -> Result<(), String> {
        let refused = ties.map(|ties| ties.refused(self.machine, &damage.seal, &damage.entries)).transpose()?;
        let bytes = damage.entries.iter().map(|e| e.bytes() as u64).sum();
        let mut progress = Progress::begin(self.machine, step, name, bytes);
        for (n, entry) in damage.entries.iter().enumerate().filter(|(_, entry)| !begins(entry)) {
            let refused = refused.as_ref().and_then(|refused| refused.get(n).copied()).flatten();
            self.mend_or_note(entry, &damage.seal, healing, refused);
            progress.advance(self.machine, entry.bytes() as u64);
        }
        Ok(())
    }

    /// Mends a range. `refused`: what was found out about the files in it, while nothing was written yet; nothing
    /// where it is no file's.
    fn mend_or_note(&mut self, entry: &Entry, seal: &Table, healing: &mut Healing<'_>, refused: Option<bool>) {
        let why = match refused {
            Some(false) => None,
            Some(true) => {
                // Looked for once more only where it will be told.
                let own = if healing.failures < TOLD { self.refusal(entry, seal, healing) } else { None };
                own.or_else(|| Some("not while the rest of a file in it can't be mended".to_string()))
            }
            None if healing.partial => self.refusal(entry, seal, healing),
            None => None,
        };
        let Err(why) = why.map_or_else(|| self.mend(entry, healing, Put::Whole), Err) else { return };
        healing.fail(|| format!("{}: {why}", self.describe(seal, entry)));
    }

    /// Under `protect PATH` the system may have written a file anew, and given its old place to another one.
    /// What boot code lives in has its place for good; files are looked up.
    #[inline(never)]
    fn may_have_moved(&mut self, entry: &Entry, seal: &Table, target: &Region) -> bool {
        let owners = seal.owners_of(self.machine, entry.first, entry.end());
        let filesystem = Filesystem::open(&mut target.volume(self.machine));
        owners.is_empty()
            || owners.iter().any(|name| {
                let Some(path) = name.strip_prefix('/') else { return false };
                let Ok(filesystem) = &filesystem else { return true };
                let Ok(map) = filesystem.extents(&mut target.volume(self.machine), path) else { return true };
                !map.is_at(&seal.pieces_of(self.machine, name), filesystem.unit())
            })
    }

    /// Finds a range's content, and does with it what `put` says.
    fn mend(&mut self, entry: &Entry, healing: &mut Healing<'_>, put: Put) -> Result<(), String> {
        let mut why = Vec::new();
        if let Some((name, sibling)) = &healing.sibling {
            let sibling = sibling.as_ref().map_err(Clone::clone);
            match sibling.and_then(|sibling| self.mend_from_sibling(entry, sibling, &healing.target, put)) {
                Ok(()) => {
                    healing.from_sibling += usize::from(put == Put::Whole);
                    return Ok(());
                }
                Err(trouble) => why.push(format!("{name}: {trouble}")),
            }
        }
        match self.mend_from_cd(entry, healing, put) {
            Ok(()) => {
                healing.from_cd += usize::from(put == Put::Whole);
                return Ok(());
            }
            Err(trouble) => why.push(trouble),
        }
        Err(why.join(", "))
    }

    fn mend_from_sibling(&mut self, entry: &Entry, sibling: &Region, target: &Region, how: Put) -> Result<(), String> {
        let (input, output) = self.buffers.both();
        let (Some(content), Some(copy)) = (input.get_mut(..entry.bytes()), output.get_mut(..entry.bytes())) else {
            return Err("no memory".to_string());
        };
        sibling.read(self.machine, Offset(entry.first), content).map_err(|e| e.to_string())?;
        copy.copy_from_slice(content);
        if !entry.matches(copy) && !seeded(Defect::SiblingTrusted) {
            return Err("differs as well".to_string());
        }
        put(self.machine, target, entry, content, copy, how).map_err(|e| e.to_string())
    }

    fn mend_from_cd(&mut self, entry: &Entry, healing: &mut Healing<'_>, how: Put) -> Result<(), String> {
        let (image, cursor) = healing.image.as_mut().map_err(|why| why.clone())?;
        // Both are in the order of the disk, so one pass over the image's table is enough for all but the
        // boot sector.
        if healing.entry.is_some_and(|e| e.first > entry.first) {
            (*cursor, healing.entry) = (image.entries(), None);
        }
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
        let written = put(self.machine, &healing.target, entry, content, back, how).map_err(|e| e.to_string());
        if how == Put::Unfinished || entry.kind == Kind::ExtSuperblockEnd {
            self.buffers.forget();
        }
        written
    }

    /// Where the CD's seal was the measure, the partition is what was shipped, and a seal in it that says
    /// otherwise must not count any more. And bstate.txt may be found again now.
    fn after_healing(&mut self, damage: &Damage, target: &Region) {
        if damage.seal.is_image()
            && let Ok(filesystem) = Filesystem::open(&mut target.volume(self.machine))
        {
            for name in SEALS {
                let Ok(map) = filesystem.extents(&mut target.volume(self.machine), name) else { continue };
                let Some((at, _)) = map.runs.first().copied() else { continue };
                let seal = Table::on_disk(self.machine, target, map, name);
                let agrees = seal.is_ok_and(|seal| seal.is_some_and(|seal| self.agree(&seal, &damage.seal)));
                if !agrees {
                    self.void(target, at);
                }
            }
        }
        self.find_copies_again();
    }

    /// Whether two seals protect the same content of the same sectors.
    #[inline(never)]
    fn agree(&mut self, a: &Table, b: &Table) -> bool {
        let (mut a, mut b) = (a.entries(), b.entries());
        loop {
            match (next_protected(&mut a, self.machine), next_protected(&mut b, self.machine)) {
                (Ok(Some(a)), Ok(Some(b))) if a.is_same(&b) => {}
                (a, b) => return a == Ok(None) && b == Ok(None),
            }
        }
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

fn next_protected(entries: &mut Cursor<'_>, machine: &mut dyn Machine) -> Result<Option<Entry>, String> {
    loop {
        let next = entries.next(machine)?;
        if next.is_none_or(|entry| entry.protected) {
            return Ok(next);
        }
    }
}

/// Whether a range is the one with the boot sector.
fn begins(entry: &Entry) -> bool {
    entry.first == 0
}

/// Writes a range that is what the seal says, as far as `how` says.
fn put(
    machine: &mut dyn Machine,
    target: &Region,
    entry: &Entry,
    content: &mut [u8],
    back: &mut [u8],
    how: Put,
) -> Result<(), IoError> {
    if how == Put::Nothing {
        return Ok(());
    }
    if matches!(entry.kind, Kind::ExtSuperblock | Kind::ExtSuperblockEnd) {
        fit_superblock(machine, target, entry, content)?;
    }
    if how == Put::Unfinished
        && let Some(signature) = content.get_mut(510..SECTOR)
    {
        signature.fill(0);
    }
    // What follows the boot sector comes before it, for the reason that it comes last of all.
    if entry.first == 0
        && let Some((boot_sector, rest)) = content.split_at_mut_checked(SECTOR).filter(|(_, rest)| !rest.is_empty())
    {
        target.write_using(machine, Offset(1), rest, back)?;
        return target.write_using(machine, Offset(0), boot_sector, back);
    }
    target.write_using(machine, Offset(entry.first), content, back)
}

/// Half of an ext superblock comes from elsewhere, and the other half stays; bytes that do not count may differ
/// between the two, but the checksum in the second half is over both. It is written before the first half, so
/// that after a power cut the seal still finds that one damaged.
#[inline(never)]
fn fit_superblock(
    machine: &mut dyn Machine,
    target: &Region,
    entry: &Entry,
    content: &mut [u8],
) -> Result<(), IoError> {
    let is_first = entry.kind == Kind::ExtSuperblock;
    let at = if is_first { entry.first.saturating_add(1) } else { entry.first.saturating_sub(1) };
    let mut other = [0; SECTOR];
    // A half that can't be read is damaged as well, and has its own turn.
    if target.read(machine, Offset(at), &mut other).is_err() {
        return Ok(());
    }
    if !is_first {
        sign_superblock(&other, content);
    } else if sign_superblock(content, &mut other) {
        target.write(machine, Offset(at), &other)?;
    }
    Ok(())
}

/// How many ranges came from where.
fn count(sibling: Option<&String>, from_sibling: usize, from_cd: usize) -> String {
    let all = from_sibling + from_cd;
    let ranges = format!("{all} range{}", if all == 1 { "" } else { "s" });
    match (sibling, from_sibling, from_cd) {
        (_, 0, 0) => "nothing differs".to_string(),
        (Some(name), _, 0) => format!("{ranges}: from {name}"),
        (Some(name), 1.., _) => format!("{ranges}: {from_sibling} from {name}, {from_cd} from the CD"),
        _ => format!("{ranges}: from the CD"),
    }
}
