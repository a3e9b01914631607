//! Whose a disk is, by the rules that README and docs/LOGIC.md give a maker, said without the code under test: marks
//! are what blkid and wipefs name, records are read by mtools, tables by the suite's own reader.

use std::path::Path;

use super::cds::{Cd, Part};
use super::file::{is_one_byte, is_same_in, peek, sectors};
use super::says::{self, Mark};
use super::table::{self, Entry};
use crate::common::record;
use crate::common::tools::{run, text};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// It has to boot: nothing but what is declared lies where we write.
    Ours(String),
    /// Nothing at all is on it, and it has the declared size.
    Blank,
    /// Nothing may be written, and nothing booted.
    Somebodys(String),
    /// Only what is not declared has to stay as it is: the rules do not decide it, or it is ours and something of
    /// somebody's is in the way.
    Open(String),
}

/// Types that only one owner uses: LVM, RAID, GPT, the BSDs, macOS, Solaris, VMware.
const OWNED: [u8; 12] = [0x8E, 0xFD, 0xEE, 0xA5, 0xA6, 0xA9, 0xA8, 0xAF, 0xAB, 0xBF, 0xFB, 0xFC];
/// Types that anything may stand in, and containers.
const PLAIN: [u8; 17] =
    [0x01, 0x04, 0x06, 0x07, 0x0B, 0x0C, 0x0E, 0x83, 0x17, 0x05, 0x0F, 0x85, 0x15, 0x1F, 0xC5, 0xD5, 0xCF];

/// Everything that is asked about a disk.
pub struct Look<'a> {
    pub path: &'a Path,
    cd: &'a Cd,
    declared: usize,
    pub entries: Vec<Entry>,
    marks: Vec<Mark>,
    sectors: u64,
}

impl<'a> Look<'a> {
    pub fn at(path: &'a Path, cd: &'a Cd, declared: usize) -> Self {
        Self { path, cd, declared, entries: table::all(path), marks: says::wipefs(path), sectors: sectors(path) }
    }

    /// Whose it is.
    pub fn whose(&self) -> Whose {
        let wanted = self.cd.disks[self.declared].signature;
        let found = self.signature();
        if wanted.is_some() && found.is_some() && found != wanted {
            return Whose::Somebodys(format!("signature {:08x}", found.unwrap_or(0)));
        }
        let holds = self.holds_the_map();
        let content = self.content();
        match (self.table_proof(holds), &content) {
            (Some(proof), _) => self.unless_in_the_way(proof),
            (None, Whose::Ours(proof)) => self.unless_in_the_way(proof.clone()),
            (None, Whose::Open(_)) => content,
            (None, _) if self.is_blank() => Whose::Blank,
            (None, _) if self.moved() => Whose::Open("a copy of ours at the start of another entry".into()),
            (None, _) => Whose::Somebodys(self.names()),
        }
    }

    /// What stands on it, in others' words.
    pub fn names(&self) -> String {
        let names = says::everything(self.path, &self.entries, self.sectors);
        if names.is_empty() { "data or a table that nobody names".into() } else { names.join("; ") }
    }

    /// Whether blkid or wipefs name anybody.
    pub fn has_owner(&self) -> bool {
        !says::everything(self.path, &self.entries, self.sectors).is_empty()
    }

    fn signature(&self) -> Option<u32> {
        let sector = peek(self.path, 0, 512);
        let word = u32::from_le_bytes(sector[440..444].try_into().unwrap());
        (sector[510..] == [0x55, 0xAA] && word != 0).then_some(word)
    }

    fn parts(&self) -> impl Iterator<Item = (usize, &'a Part)> {
        self.cd.on(self.declared).enumerate()
    }

    /// Whether an entry is a declared partition, in its slot.
    pub fn is_declared(&self, entry: &Entry) -> bool {
        self.parts().any(|(n, part)| entry.slot == Some(n) && same(entry, part))
    }

    fn holds_the_map(&self) -> bool {
        let has = |n: usize, part: &Part| self.entries.iter().any(|e| e.slot == Some(n) && same(e, part));
        self.parts().all(|(n, part)| has(n, part))
    }

    /// The map, and the signature or the boot code that our restores leave.
    fn table_proof(&self, holds: bool) -> Option<String> {
        let (ours, found) = (peek(&self.cd.made(self.declared), 0, 512), peek(self.path, 0, 512));
        let by = [("boot code", 0..440), ("signature", 440..444)];
        let by = by.into_iter().find(|(_, range)| ours[range.clone()] == found[range.clone()])?;
        holds.then(|| format!("the map and its {}", by.0))
    }

    /// The proof by content.
    fn content(&self) -> Whose {
        if self.is_taken_from_its_beginning() {
            return Whose::Somebodys("its beginning".into());
        }
        if self.has_unnamed_label() {
            return Whose::Open("a label that has no name here".into());
        }
        let mut open = None;
        for (_, part) in self.parts().filter(|(_, part)| part.has_image && part.start + part.sectors <= self.sectors) {
            if !self.has_record_at(part.start) && !self.has_bare_record(part) {
                continue;
            }
            match self.reused(part) {
                Some(false) => return Whose::Ours(format!("the record in {}", part.name)),
                None => open = Some(Whose::Open(format!("{} is covered by something", part.name))),
                Some(true) => {}
            }
        }
        open.unwrap_or(Whose::Somebodys("no record".into()))
    }

    /// Whether a mark stands where the disk begins. An ISO 9660 descriptor, and what stands at a disk's end, may be
    /// older than we are.
    fn is_taken_from_its_beginning(&self) -> bool {
        let old = ["dos", "PMBR", "iso9660"];
        // parted's own place for a BSD label, which blkid believes in a partition of the BSDs alone.
        let bsd = peek(self.path, 64, 4) == 0x8256_4557_u32.to_le_bytes();
        bsd || self.marks.iter().any(|m| !old.contains(&m.name.as_str()) && m.at < 1 << 20)
    }

    /// PC-98 and Amiga labels: data that nobody names, but where something proves the disk to be ours they are damage.
    fn has_unnamed_label(&self) -> bool {
        let head = peek(self.path, 0, 8192);
        head[4..8] == *b"IPL1" || head.chunks(512).any(|s| s.starts_with(b"RDSK"))
    }

    /// A FAT filesystem with a record that names ours.
    fn has_record_at(&self, start: u64) -> bool {
        let image = format!("{}@@{}", text(self.path), start * 512);
        let said = run("mtype", &["-i", &image, "::bstate.txt"]);
        said.code == 0 && self.names_ours(&said.out)
    }

    /// The record at its sector, where neither filesystem nor mark stands any more.
    fn has_bare_record(&self, part: &Part) -> bool {
        let sector = peek(self.path, self.cd.state_at(part) * 512, 512);
        let record = record::lines(&sector).is_ok() && self.names_ours(&String::from_utf8_lossy(&sector));
        record && says::blkid_at(self.path, part.start, part.sectors).is_empty()
    }

    fn names_ours(&self, text: &str) -> bool {
        self.cd.parts.iter().any(|p| text.lines().any(|l| l.starts_with(&format!("{}=", p.name))))
    }

    /// Whether somebody's partition lies over a place; nothing where the rules leave it open, as of one that lies over
    /// a part of it alone, and not the beginning.
    fn reused(&self, part: &Part) -> Option<bool> {
        let ours = |e: &Entry| self.is_declared(e) || self.has_record_at(e.start);
        let others: Vec<&Entry> = self.entries.iter().filter(|e| !ours(e)).collect();
        let over: Vec<&Entry> = others.iter().copied().filter(|e| e.meets(part.start, part.sectors)).collect();
        if over.is_empty() {
            return Some(false);
        }
        // Any mark counts, wherever on the disk it is, but for our own copies.
        let named = |e: &&Entry| !says::of_entry(self.path, e, self.sectors).is_empty();
        let owned = self.marks.iter().any(|m| m.name != "dos")
            || others.iter().any(named)
            || over.iter().any(|e| OWNED.contains(&e.kind));
        match (owned, over.iter().any(|e| e.meets(part.start, 1))) {
            (true, true) => Some(true),
            (true, false) => None,
            (false, _) => over.iter().all(|e| PLAIN.contains(&e.kind)).then_some(false),
        }
    }

    /// Whether what we would write is free of what is not declared.
    fn unless_in_the_way(&self, proof: String) -> Whose {
        let meets = |e: &&Entry| self.parts().any(|(_, part)| e.meets(part.start, part.sectors));
        let taken = |e: &&Entry| e.slot.is_some_and(|slot| slot < self.parts().count());
        let odd = |e: &&Entry| e.start == 0 || e.sectors == 0 || e.end() > self.sectors;
        match self.entries.iter().filter(|e| !self.is_declared(e)).find(|e| meets(e) || odd(e) || taken(e)) {
            Some(entry) => Whose::Open(format!("{proof}, but the entry at {} is in the way", entry.start)),
            None => Whose::Ours(proof),
        }
    }

    /// Whether a copy begins an entry that is none of ours; enough for a whole restore alone.
    fn moved(&self) -> bool {
        self.entries.iter().any(|e| e.end() <= self.sectors && self.has_record_at(e.start))
    }

    fn is_blank(&self) -> bool {
        let declared = &self.cd.disks[self.declared];
        let fits = self.sectors == declared.sectors || declared.at_least && self.sectors > declared.sectors;
        let mut places = vec![(0, 2048), (self.sectors - 2048, 2048)];
        places.extend(self.parts().map(|(_, part)| (part.start, 128)));
        fits && !self.has_owner() && places.iter().all(|&(start, sectors)| self.is_even(start, sectors))
    }

    fn is_even(&self, start: u64, sectors: u64) -> bool {
        is_one_byte(self.path, start * 512..(start + sectors) * 512)
    }

    /// Whether all that is in an entry is what the factory has put there: one that a flipped bit has made.
    fn is_only_ours(&self, entry: &Entry) -> bool {
        is_same_in(self.path, &self.cd.made(self.declared), entry.start * 512..entry.end() * 512)
    }

    /// The entries that no step may touch: on the disk, not declared, with something in them that is not ours.
    pub fn kept(&self) -> Vec<Entry> {
        let keeps = |e: &Entry| {
            let on = e.start > 0 && e.sectors > 0 && e.end() <= self.sectors;
            on && !e.is_extended()
                && !self.is_declared(e)
                && !self.has_record_at(e.start)
                && !self.is_even(e.start, e.sectors)
                && !self.is_only_ours(e)
        };
        self.entries.iter().copied().filter(keeps).collect()
    }
}

fn same(entry: &Entry, part: &Part) -> bool {
    (entry.kind, entry.start, entry.sectors) == (part.kind, part.start, part.sectors)
}
