//! A CD, the disk that it is for, and what may stand where: made by mkfs and `knownstate build`, looked at without
//! the code under test.

use std::ops::Range;

use crate::common::images::{self, Set};
use crate::common::machine::{Disk, Pc};
use crate::common::seals::{self, Part};
use crate::common::{record, tools};
use crate::oracle::Record;
use knownstate_core::bstate;
use knownstate_core::logic::Protect;
use knownstate_core::table::SEALS;
use knownstate_core::units::SECTOR;

/// What a sector of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mbr,
    /// The second place of a restore's note.
    Note,
    /// An old mark of somebody's, which a restore clears.
    Mark,
    /// The first sector of a partition.
    Boot,
    /// bstate.txt's.
    State,
    /// The first sector of a seal file.
    SealHeader,
    /// The rest of a seal file, and of bstate.txt.
    Rest,
    /// Something that must be as an image has it.
    Body,
    /// Nobody's.
    Free,
}

impl Kind {
    /// Whether it is state: what a start changes even when all is well.
    pub fn is_state(self) -> bool {
        matches!(self, Self::Mbr | Self::Note | Self::State)
    }
}

/// Which flow the CD has, for what may be expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Figure4,
    /// Repairs and heals first, counts, and destroys nothing that can still be booted.
    Default,
    /// Some steps of a test's own.
    Other,
}

/// All of it.
#[derive(Clone)]
pub struct World {
    pub set: Set,
    pub flow: Flow,
    /// Each partition's kinds, sector by sector.
    kinds: Vec<Vec<Kind>>,
    /// What each partition may hold: the image, and updates of it that were made on purpose.
    pub approved: Vec<Vec<Vec<u8>>>,
    /// The type byte of each partition.
    types: [u8; 2],
    /// Old marks on the disk, each with its sector and what that begins with, which a restore clears.
    pub marks: Vec<(u64, &'static [u8])>,
    /// Whether a used disk may be taken.
    pub adopts: bool,
    /// An entry that is not declared, in the third slot: every table keeps it.
    pub extra: Option<[u8; 16]>,
}

/// The slot of the entry that is not declared.
pub const EXTRA: usize = 2;

/// Where `bstate seal` writes first: the file that is not in force.
pub const NEXT_SEAL: &str = SEALS[1];

impl World {
    /// A FAT12 and an ext2 filesystem with a file or two, their bstate.txt and their seals; or the FAT12 one for
    /// both partitions.
    pub fn new(flow: Flow, one_image: bool) -> Self {
        let temporary = tools::temporary();
        let folder = temporary.path();
        images::fat(folder, "fat.img", 192, "-F 12");
        images::ext(folder, "ext.img", 224, "-t ext2 -b 1024 -N 16 -m 0 -O ^resize_inode");
        images::boot_code(folder, "ext.img");
        let mut random = crate::common::hostile::Random::new(7);
        let kernel: Vec<u8> =
            (0..60_000).map(|n| if n % 6000 < 3000 { n as u8 } else { random.next() as u8 }).collect();
        for image in ["fat.img", "ext.img"] {
            images::put(folder, image, "kernel", &kernel);
            for seal in SEALS {
                images::put(folder, image, seal, &[b' '; 6144]);
            }
        }
        let second = if one_image { ("fat.img", 0x06) } else { ("ext.img", 0x83) };
        let second_type = format!("{:02x}", second.1);
        let set = images::figure4_on(folder, [("fat.img", "06"), (second.0, &second_type)]);
        let set = if flow == Flow::Default { set.with_shipped("default.txt") } else { set };
        let approved: Vec<Vec<Vec<u8>>> = set.images.iter().map(|image| vec![image.to_vec()]).collect();
        let kinds = (0..set.places.len()).map(|n| kinds(&set, n)).collect();
        Self { set, flow, kinds, approved, types: [0x06, second.1], marks: Vec::new(), adopts: false, extra: None }
    }

    /// The same with other steps.
    pub fn with_steps(&self, steps: &str) -> Self {
        let logic = format!("logic 1\n{}{steps}", self.set.declarations());
        Self { set: self.set.with_logic(&logic), flow: Flow::Other, ..self.clone() }
    }

    /// The same with another declaration of the disk.
    pub fn with_disk(&self, words: &str) -> Self {
        let old = format!("disk system sectors {}", self.set.disk_sectors);
        let logic = self.set.logic.trim_end_matches('\n').replace(&old, &format!("{old} {words}"));
        let logic = logic.replacen("# room for the logic.txt of other tests\n", "", 1);
        Self { set: self.set.with_logic(&logic), ..self.clone() }
    }

    /// Whether a sector in a note's place is a whole note, by its first and its last words.
    pub fn is_note(sector: &[u8]) -> bool {
        sector.starts_with(b"Knownstate: restore begun, not finished\n") && sector.ends_with(b"Knownstate: note")
    }

    /// The table entry of a slot that a note holds: its table stands at 40 (docs/DISKS.md).
    pub fn note_entry(sector: &[u8], slot: usize) -> &[u8] {
        &sector[40 + 16 * slot..][..16]
    }

    /// A restored machine whose bstate.txt says this on every partition.
    pub fn with_states(&self, lines: &str) -> Pc {
        let mut pc = self.set.restored();
        for n in 0..self.set.places.len() {
            self.set.put_state(&mut pc, n, &record::sector(lines));
        }
        pc
    }

    /// Gives the files of partition `n` another content; its filesystem stays.
    pub fn use_up(&self, pc: &mut Pc, n: usize) {
        for at in seals::sectors_of(&self.approved[n][0], self.set.places[n].0, "kernel") {
            let bytes = pc.disks[0].sector(at).map(|byte| byte ^ 0x55);
            pc.disks[0].poke(at * SECTOR as u64, &bytes);
        }
    }

    /// An update of partition `n`: one file has another content.
    pub fn update(&mut self, n: usize) {
        let mut updated = self.approved[n][0].clone();
        let sectors = seals::sectors_of(&updated, 0, "kernel");
        for at in &sectors[3..9] {
            updated[*at as usize * SECTOR..][..100].fill(0x42);
        }
        self.approved[n].push(updated);
    }

    /// Puts the update on the disk; what `bstate seal` writes then, in its order.
    pub fn updated(&self, pc: &mut Pc, n: usize) -> Vec<(u64, Vec<u8>)> {
        let (start, sectors) = self.set.places[n];
        for at in 0..sectors {
            let new = &self.approved[n][1][at as usize * SECTOR..][..SECTOR];
            if self.kinds[n][at as usize] == Kind::Body && *new != pc.disks[0].sector(start + at) {
                pc.disks[0].poke((start + at) * SECTOR as u64, new);
            }
        }
        let part = Part::read(pc, (start, sectors));
        part.placed(NEXT_SEAL, &part.seal(2, &Protect::All)).into_iter().map(|(at, data)| (at, data.to_vec())).collect()
    }

    /// Sectors of partition `n` that have to be as an image has them, in the order of the disk.
    pub fn body(&self, n: usize) -> Vec<u64> {
        (0..).zip(&self.kinds[n]).filter(|(_, kind)| **kind == Kind::Body).map(|(at, _)| at).collect()
    }

    /// What sector `lba` of the disk is, with its partition and its place in it.
    pub fn kind(&self, lba: u64) -> (Kind, Option<(usize, u64)>) {
        if lba == 0 {
            return (Kind::Mbr, None);
        }
        if lba == self.set.second_place() {
            return (Kind::Note, None);
        }
        let inside = |&(start, sectors): &(u64, u64)| (start..start + sectors).contains(&lba);
        let place = self.set.places.iter().position(inside);
        if self.marks.iter().any(|(at, _)| *at == lba) {
            return (Kind::Mark, place.map(|n| (n, lba - self.set.places[n].0)));
        }
        match place {
            Some(n) => {
                let at = lba - self.set.places[n].0;
                (self.kinds[n].get(at as usize).copied().unwrap_or(Kind::Free), Some((n, at)))
            }
            None => (Kind::Free, None),
        }
    }

    /// Which sectors of partition `n` are no approved image's: neither version's, sector by sector.
    pub fn wrong(&self, disk: &Disk, n: usize) -> Vec<bool> {
        let (start, sectors) = self.set.places[n];
        let bytes = disk.bytes(start..start + sectors);
        let mut all: Vec<bool> =
            (0..).zip(bytes.chunks(SECTOR)).map(|(at, sector)| self.is_wrong(n, at, sector)).collect();
        for lba in disk.unreadable.range(start..start + sectors) {
            let at = (lba - start) as usize;
            all[at] = matches!(self.kinds[n][at], Kind::Body | Kind::Boot);
        }
        all
    }

    /// Whether this must not stand in sector `at` of partition `n`. Of the boot sector all but the 55AA counts.
    pub fn is_wrong(&self, n: usize, at: u64, sector: &[u8]) -> bool {
        let from = at as usize * SECTOR;
        let counts = match self.kinds[n].get(at as usize) {
            Some(Kind::Body) => SECTOR,
            Some(Kind::Boot) => 510,
            _ => return false,
        };
        self.approved[n].iter().all(|image| image[from..from + counts] != sector[..counts])
    }

    /// Whether partition `n` is one approved image to the last byte that counts, and can be booted.
    pub fn is_whole(&self, disk: &Disk, n: usize) -> bool {
        let (start, sectors) = self.set.places[n];
        let bytes = disk.bytes(start..start + sectors);
        let unreadable = |at: u64| disk.unreadable.contains(&(start + at));
        let same = |image: &Vec<u8>| {
            (0_u64..).zip(&self.kinds[n]).all(|(at, kind)| {
                let range = at as usize * SECTOR..(at as usize + 1) * SECTOR;
                !matches!(kind, Kind::Body | Kind::Boot) || (image[range.clone()] == bytes[range] && !unreadable(at))
            })
        };
        self.approved[n].iter().any(same)
    }

    /// Whether a BIOS would jump to partition `n`.
    pub fn is_bootable(&self, disk: &Disk, n: usize) -> bool {
        let sector = disk.sector(self.set.places[n].0);
        sector[510..] == [0x55, 0xAA] && !disk.unreadable.contains(&self.set.places[n].0)
    }

    /// Whether this is the MBR as declared: which entry is active.
    pub fn active(&self, sector: &[u8]) -> Option<usize> {
        let mut active = None;
        for n in 0..4 {
            let entry = &sector[446 + 16 * n..][..16];
            if let Some(extra) = self.extra.filter(|_| n == EXTRA) {
                // Where nobody can know of it any more, it is lost.
                if extra != *entry && *entry != [0; 16] {
                    return None;
                }
                continue;
            }
            let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            let (kind, start, sectors) = match self.set.places.get(n) {
                Some(&(start, sectors)) => (self.types[n], start, sectors),
                None => (0, 0, 0),
            };
            if (entry[4], u64::from(word(8)), u64::from(word(12))) != (kind, start, sectors) {
                return None;
            }
            match (entry[0], active) {
                (0, _) => {}
                (0x80, None) if kind != 0 => active = Some(n),
                _ => return None,
            }
        }
        active.filter(|_| sector[510..] == [0x55, 0xAA])
    }

    /// Whether what is in sector 0 or in a note's second place tells of the disk's table.
    pub fn has_table(&self, disk: &Disk) -> bool {
        let [first, second] =
            [0, self.set.second_place()].map(|at| (!disk.unreadable.contains(&at)).then(|| disk.sector(at)));
        let is_note = |sector: &[u8; SECTOR]| Self::is_note(sector);
        let is_other_table = first.is_some_and(|sector| sector[510..] == [0x55, 0xAA]);
        first.is_some_and(|sector| is_note(&sector) || self.active(&sector).is_some())
            || second.is_some_and(|sector| is_note(&sector) && !is_other_table)
    }

    /// Whether the table on a disk, or the note in its place, has the entry that is not declared.
    pub fn knows_extra(&self, disk: &Disk) -> bool {
        let [first, second] = [0, self.set.second_place()]
            .map(|at| if disk.unreadable.contains(&at) { [0; SECTOR] } else { disk.sector(at) });
        let is_table = first[510..] == [0x55, 0xAA];
        let note = [first, second].into_iter().find(|sector| Self::is_note(sector));
        let entry = match note {
            Some(note) if !is_table => Self::note_entry(&note, EXTRA).to_vec(),
            _ => first[446 + 16 * EXTRA..][..16].to_vec(),
        };
        self.extra.is_some_and(|extra| extra[..] == entry[..])
    }

    /// The old mark that is on a disk still, of those that stand before a sector.
    pub fn old_mark(&self, disk: &Disk, before: u64) -> Option<u64> {
        let there = |at: u64, mark: &[u8]| disk.sector(at).starts_with(mark) && !disk.unreadable.contains(&at);
        self.marks.iter().find(|(at, mark)| *at < before && there(*at, mark)).map(|(at, _)| *at)
    }

    /// What the copies of bstate.txt say that stand where they belong; those of some partitions.
    pub fn copies(&self, disk: &Disk, which: impl Fn(usize) -> bool) -> Vec<Record> {
        let places = (0..self.set.places.len()).filter(|n| which(*n)).map(|n| self.set.state_at(n));
        places.filter(|at| !disk.unreadable.contains(at)).filter_map(|at| Record::read(&disk.sector(at))).collect()
    }
}

fn kinds(set: &Set, n: usize) -> Vec<Kind> {
    let image = &set.images[n];
    let mut kinds = vec![Kind::Free; (image.len() / SECTOR).max(set.places[n].1 as usize)];
    let fill =
        |kinds: &mut Vec<Kind>, range: Range<u64>, kind| kinds[range.start as usize..range.end as usize].fill(kind);
    for range in set.allocated[n].iter() {
        fill(&mut kinds, range.clone(), Kind::Body);
    }
    for seal in SEALS {
        for (number, at) in seals::sectors_of(image, 0, seal).into_iter().enumerate() {
            kinds[at as usize] = if number == 0 { Kind::SealHeader } else { Kind::Rest };
        }
    }
    for at in seals::sectors_of(image, 0, bstate::FILE) {
        kinds[at as usize] = Kind::Rest;
    }
    kinds[0] = Kind::Boot;
    kinds[(set.state_at(n) - set.places[n].0) as usize] = Kind::State;
    kinds
}
