//! `verify` and `heal`: every kind of damage at every kind of place, both ways to mend it, all that can go wrong
//! on the way, and seals that stand on the disk.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use common::images::{self, Set, boot_code, ext, fat, fill, tree};
use common::machine::{Cut, Pc, Torn, word};
use common::seals::{self, Bytes, Part, put_seal};
use common::tools::{self, must, run, shell, text};
use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::media::filesystem::Filesystem;
use knownstate_core::table::write::{Chunk, chunks};
use knownstate_core::table::{CHUNK_SECTORS, Form};
use knownstate_core::units::SECTOR;

/// Verifies and heals P1; where it holds says what came of it.
const FLOW: &str = "
1 verify P1 else 2
good hold \"good\"
2 heal P1 from P2 else bad
3 verify P1 else bad
healed hold \"healed\"
bad hold \"not healed\"
";

/// Two partitions of one image, restored.
struct Lab {
    set: Set,
    pc: Pc,
    layout: Layout,
}

impl Lab {
    fn new(kib: u64, options: &str) -> Self {
        let temporary = tools::temporary();
        let folder = temporary.path();
        tree(folder);
        if options.starts_with("-F") {
            fat(folder, "system.img", kib, options);
        } else {
            ext(folder, "system.img", kib, options);
            boot_code(folder, "system.img");
        }
        fill(folder, "system.img");
        let set = images::figure4_on(folder, [("system.img", "0c"), ("system.img", "0c")]);
        let mut pc = set.restored();
        let layout = seals::layout(&set.images[0]);
        pc.disks[0].allowed = set.places.iter().map(|&(start, sectors)| start..start + sectors).collect();
        let mut lab = Self { set, pc, layout };
        lab.pc.cd = lab.cd(FLOW);
        lab
    }

    fn cd(&self, steps: &str) -> Arc<Vec<u8>> {
        self.set.with_logic(&format!("logic 1\n{}{steps}\n", self.set.declarations())).iso
    }

    fn chunks(&self) -> Vec<Chunk> {
        chunks(&self.layout, &Protect::All).unwrap().into_iter().filter(|c| c.protected).collect()
    }

    /// The chunk that a sector of the partition is in.
    fn chunk_at(&self, sector: u64) -> Chunk {
        let has = |c: &&Chunk| (c.first..c.first + u64::from(c.sectors)).contains(&sector);
        *self.chunks().iter().find(has).unwrap_or_else(|| panic!("sector {sector} is in no protected chunk"))
    }

    /// The first sector of partition `n`.
    fn start(&self, n: usize) -> u64 {
        self.set.places[n].0
    }

    /// Turns every bit of a sector of partition `n` over.
    fn spoil(&self, pc: &mut Pc, n: usize, sector: u64) {
        let at = self.start(n) + sector;
        let content = pc.disks[0].sector(at).map(|b| !b);
        pc.disks[0].poke(at * SECTOR as u64, &content);
    }

    /// One sector of each owner's first and last run, and that owner.
    fn places(&self) -> Vec<(u64, String)> {
        let mut places = BTreeMap::new();
        let protected = |run: &&knownstate_core::layout::Run| !run.volatile;
        for run in self.layout.runs.iter().filter(protected) {
            let owner = self.layout.owner(run).unwrap_or("nobody").to_string();
            let (first, last) = places.entry(owner).or_insert((run.first, run.end() - 1));
            (*first, *last) = ((*first).min(run.first), (*last).max(run.end() - 1));
        }
        let both = places.into_iter().flat_map(|(owner, (a, b))| [(a, owner.clone()), (b, owner)]);
        both.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn fat16() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| Lab::new(8192, "-F 16 -s 2"))
}

fn fat32() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| Lab::new(36_000, "-F 32 -s 1"))
}

fn ext4() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| Lab::new(12_288, "-t ext4 -b 1024 -O metadata_csum,64bit"))
}

fn labs() -> [(&'static str, &'static Lab); 3] {
    [("FAT16", fat16()), ("FAT32", fat32()), ("ext4", ext4())]
}

/// The line of a step, or all lines.
fn line<'a>(pc: &'a Pc, label: &str) -> &'a str {
    let found = pc.log().into_iter().find(|l| l.strip_prefix(label).is_some_and(|rest| rest.starts_with(' ')));
    found.unwrap_or_else(|| panic!("no step {label}: {:#?}", pc.lines))
}

#[test]
fn damage_at_any_kind_of_place_is_named_and_nothing_else_is_written() {
    for (name, lab) in labs() {
        let places = lab.places();
        assert!(places.len() > 80, "{name}: {places:#?}");
        for (sector, owner) in places {
            let mut pc = lab.pc.clone();
            lab.spoil(&mut pc, 0, sector);
            let case = format!("{name}, sector {sector} of {owner}");
            assert_eq!(word(&pc.start()), "hold healed", "{case}: {:#?}", pc.lines);
            assert_eq!(line(&pc, "2"), "2 heal P1 from P2 = ok (1 ranges: 1 from P2, 0 from the CD)", "{case}");
            let chunk = lab.chunk_at(sector);
            let range = (0, lab.start(0) + chunk.first, usize::from(chunk.sectors));
            assert!(pc.writes == [range], "{case}: {:?} was written, the chunk is {range:?}", pc.writes);
            assert_eq!(lab.set.difference(&pc, 0), None, "{case}");
            let said = line(&pc, "1");
            // Where the damage hides the filesystem, that is what is said.
            let basics = ["boot sector has", "no FAT or ext", "filesystem damaged", "filesystem not supported"];
            if !basics.iter().any(|b| said.starts_with(&format!("1 verify P1 = failed ({b}"))) {
                let place = format!(
                    "not as sealed: sectors {} to {}: ",
                    chunk.first,
                    chunk.first + u64::from(chunk.sectors) - 1
                );
                assert!(said.contains(&place), "{case}: {said}");
                let names = said.split_once(&place).unwrap().1;
                let owner = owner.replace(|c: char| !c.is_ascii(), "?");
                assert!(names.contains(&owner) || names.contains(" more)"), "{case}: {said}");
            }
        }
    }
}

#[test]
fn one_two_and_all_chunks_are_mended_from_the_sibling_or_the_cd() {
    for (name, lab) in labs() {
        let chunks = lab.chunks();
        for count in [1, 2, chunks.len()] {
            for from in [" from P2", ""] {
                let mut pc = lab.pc.clone();
                pc.cd = lab.cd(&FLOW.replace(" from P2", from));
                // The last ones, so that the filesystem is known as long as it can be.
                for chunk in chunks.iter().rev().take(count) {
                    lab.spoil(&mut pc, 0, chunk.first + u64::from(chunk.sectors) / 2);
                }
                let case = format!("{name}, {count} chunks{from}");
                assert_eq!(word(&pc.start()), "hold healed", "{case}: {:#?}", pc.lines);
                let mended = if from.is_empty() {
                    format!("{count} ranges from the CD")
                } else {
                    format!("{count} ranges: {count} from P2, 0 from the CD")
                };
                assert_eq!(line(&pc, "2"), format!("2 heal P1{from} = ok ({mended})"), "{case}");
                assert_eq!(pc.writes.len(), count, "{case}: {:?}", pc.writes);
                assert_eq!(lab.set.difference(&pc, 0), None, "{case}");
            }
        }
    }
}

#[test]
fn each_sibling_mends_the_other_and_the_cd_mends_what_both_have_lost() {
    let steps = "
1 verify P1 else 2
2 heal P1 from P2 else bad
3 verify P2 else 4
4 heal P2 from P1 else bad
5 verify P1 else bad
6 verify P2 else bad
healed hold \"healed\"
bad hold \"not healed\"";
    for (name, lab) in labs() {
        let chunks = lab.chunks();
        let middle = |n: usize| chunks[n].first + u64::from(chunks[n].sectors) / 2;
        let (a, b) = (chunks.len() - 1, chunks.len() / 2);
        for (p1, p2, from_p2, from_p1, from_cd) in [
            (vec![a], vec![b], [1, 0], [1, 0], "different chunks"),
            (vec![a], vec![a], [0, 1], [1, 0], "the same chunk"),
            (vec![a, b, 5], vec![b], [2, 1], [1, 0], "some of both"),
        ] {
            let mut pc = lab.pc.clone();
            pc.cd = lab.cd(steps);
            p1.iter().for_each(|&n| lab.spoil(&mut pc, 0, middle(n)));
            p2.iter().for_each(|&n| lab.spoil(&mut pc, 1, middle(n)));
            assert_eq!(word(&pc.start()), "hold healed", "{name}, {from_cd}: {:#?}", pc.lines);
            let said = |[sibling, cd]: [usize; 2], other| {
                format!("({} ranges: {sibling} from {other}, {cd} from the CD)", sibling + cd)
            };
            assert!(line(&pc, "2").ends_with(&said(from_p2, "P2")), "{name}, {from_cd}: {}", line(&pc, "2"));
            assert!(line(&pc, "4").ends_with(&said(from_p1, "P1")), "{name}, {from_cd}: {}", line(&pc, "4"));
            assert_eq!([0, 1].map(|n| lab.set.difference(&pc, n)), [None; 2], "{name}, {from_cd}");
        }
    }
}
