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
use common::seals::{self, Part, put_seal};
use common::tools::{self, must, run, shell, text};
use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::table::write::{Chunk, chunks};
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

    /// Where partition `n` is not what was shipped: the first of the chunks that differ in bytes that count.
    fn not_shipped(&self, pc: &Pc, n: usize) -> Option<u64> {
        let good = &self.set.images[0];
        let differs = |chunk: &&Chunk| {
            let (from, sectors) = (chunk.first as usize * SECTOR, u64::from(chunk.sectors));
            let here = pc.disks[0].bytes(self.start(n) + chunk.first..self.start(n) + chunk.first + sectors);
            chunk.entry(&here) != chunk.entry(&good[from..from + here.len()])
        };
        self.chunks().iter().find(differs).map(|chunk| chunk.first)
    }

    /// The sectors of P1 that a run wrote; in which order and how often is `heal`'s business.
    fn written(&self, pc: &Pc) -> BTreeSet<u64> {
        pc.writes.iter().flat_map(|&(_, at, sectors)| at - self.start(0)..at - self.start(0) + sectors as u64).collect()
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

fn sectors_of_all(chunks: &[Chunk]) -> BTreeSet<u64> {
    chunks.iter().flat_map(|c| c.first..c.first + u64::from(c.sectors)).collect()
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
            assert_eq!(line(&pc, "2"), "2 heal P1 from P2 = ok (1 range: from P2)", "{case}");
            let chunk = lab.chunk_at(sector);
            assert_eq!(
                lab.written(&pc),
                sectors_of_all(&[chunk]),
                "{case}: the sectors that were written, and the chunk's"
            );
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
                let ranges = if count == 1 { "1 range" } else { &format!("{count} ranges") };
                let mended = format!("{ranges}: from {}", if from.is_empty() { "the CD" } else { "P2" });
                assert_eq!(line(&pc, "2"), format!("2 heal P1{from} = ok ({mended})"), "{case}");
                let damaged: Vec<Chunk> = chunks.iter().rev().take(count).copied().collect();
                assert_eq!(
                    lab.written(&pc),
                    sectors_of_all(&damaged),
                    "{case}: the sectors that were written, and the chunks'"
                );
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
            let said = |[sibling, cd]: [usize; 2], other| match (sibling, cd) {
                (1, 0) => format!("(1 range: from {other})"),
                (0, 1) => "(1 range: from the CD)".to_string(),
                _ => format!("({} ranges: {sibling} from {other}, {cd} from the CD)", sibling + cd),
            };
            assert!(line(&pc, "2").ends_with(&said(from_p2, "P2")), "{name}, {from_cd}: {}", line(&pc, "2"));
            assert!(line(&pc, "4").ends_with(&said(from_p1, "P1")), "{name}, {from_cd}: {}", line(&pc, "4"));
            assert_eq!([0, 1].map(|n| lab.set.difference(&pc, n)), [None; 2], "{name}, {from_cd}");
        }
    }
}

/// The bits of each protected sector that its kind says change by themselves, turned over.
fn with_all_that_changes_by_itself(lab: &Lab, pc: &mut Pc, n: usize) -> usize {
    let mut changed = 0;
    for chunk in lab.chunks().iter().filter(|c| c.kind != knownstate_core::media::kind::Kind::Data) {
        for sector in chunk.first..chunk.first + u64::from(chunk.sectors) {
            let at = lab.start(n) + sector;
            let mut content = pc.disks[0].sector(at);
            let blanked = |content: &[u8; SECTOR]| {
                let mut blanked = *content;
                chunk.kind.blank(&mut blanked);
                blanked
            };
            let good = blanked(&content);
            for bit in 0..SECTOR * 8 {
                content[bit / 8] ^= 1 << (bit % 8);
                match blanked(&content) == good {
                    true => changed += 1,
                    false => content[bit / 8] ^= 1 << (bit % 8),
                }
            }
            pc.disks[0].poke(at * SECTOR as u64, &content);
        }
    }
    changed
}

#[test]
fn what_the_system_changes_by_itself_is_no_damage_and_stays() {
    for (name, lab) in labs() {
        let mut pc = lab.pc.clone();
        let changed = [0, 1].map(|n| with_all_that_changes_by_itself(lab, &mut pc, n));
        if name == "ext4" {
            // s_state: in use. The bit that says that there are errors is one that `verify` looks at.
            (0..2).for_each(|n| pc.disks[0].poke((lab.start(n) + 2) * SECTOR as u64 + 0x3A, &[0, 0]));
        }
        assert!(changed[0] > 100, "{name}: only {changed:?} bits");
        let used = Part::read(&pc, lab.set.places[0]).bytes;
        assert_eq!(word(&pc.start()), "hold good", "{name}: {:#?}", pc.lines);
        // Real damage beside it: only the chunk with it is written.
        let last = *lab.chunks().last().unwrap();
        lab.spoil(&mut pc, 0, last.first);
        assert_eq!(word(&pc.start()), "hold healed", "{name}: {:#?}", pc.lines);
        assert!(Part::read(&pc, lab.set.places[0]).bytes == used, "{name}: more was written than the damage");
    }
}

/// Half of an ext superblock carries the checksum of both: whichever is mended, the kernel has to take it.
#[test]
fn a_mended_superblock_is_one_that_a_kernel_mounts() {
    let lab = ext4();
    let temporary = tools::temporary();
    let path = temporary.path().join("part");
    let part = |pc: &Pc, n: usize| Part::read(pc, lab.set.places[n]).bytes;
    // P1 was mounted since, and P2 was not: their superblocks differ where that is allowed.
    let mut used = lab.pc.clone();
    fs::write(&path, part(&used, 0)).unwrap();
    shell(
        temporary.path(),
        "debugfs -w -R 'ssv mtime 20200101' part 2>&1; debugfs -w -R 'ssv mnt_count 7' part 2>&1; debugfs -w -R 'ssv kbytes_written 12345' part 2>&1",
    );
    must("e2fsck", &["-fn", text(&path)]);
    used.disks[0].poke(lab.start(0) * SECTOR as u64, &fs::read(&path).unwrap());
    assert_eq!(word(&used.start()), "hold good", "{:#?}", used.lines);
    for sector in [2, 3] {
        for from in [" from P2", ""] {
            let mut pc = used.clone();
            pc.cd = lab.cd(&FLOW.replace(" from P2", from));
            // A byte that counts and by which the filesystem is not recognised: s_uuid; s_log_groups_per_flex.
            let at = (lab.start(0) + sector) * SECTOR as u64 + if sector == 2 { 0x68 } else { 0x74 - 4 + 0x80 };
            let old = pc.disks[0].bytes(lab.start(0) + sector..lab.start(0) + sector + 1)[(at % 512) as usize];
            pc.disks[0].poke(at, &[old ^ 0x40]);
            let mut cuts = vec![None];
            for write in 0..4 {
                cuts.extend([Torn::Old, Torn::Garbage].map(|next| Some(Cut { write, sectors: 0, next })));
            }
            for cut in cuts {
                let mut pc = pc.clone();
                pc.cut = cut;
                pc.start();
                pc.cut = None;
                let ending = word(&pc.start());
                let good = ["hold healed", "hold good"].contains(&&*ending);
                assert!(good, "sector {sector}{from}, {cut:?}: {:#?}", pc.lines);
                fs::write(&path, part(&pc, 0)).unwrap();
                let ran = run("e2fsck", &["-fn", text(&path)]);
                assert_eq!(ran.code, 0, "sector {sector}{from}, {cut:?}:\n{}{}", ran.out, ran.err);
            }
        }
    }
}

/// `heal` does not say ok where the next `verify` would fail.
#[test]
fn a_filesystem_that_has_errors_by_its_own_word_is_not_healed() {
    let lab = ext4();
    let mut pc = lab.pc.clone();
    pc.disks[0].poke((lab.start(0) + 2) * SECTOR as u64 + 0x3A, &[2, 0]);
    assert_eq!(word(&pc.start()), "hold bad", "{:#?}", pc.lines);
    let why = "filesystem damaged: s_state: errors were detected";
    assert_eq!(line(&pc, "2"), format!("2 heal P1 from P2 = failed ({why}; mended: nothing differs)"));
}

/// The byte of the CD's image where the pack of the chunk at `sector` begins.
fn pack_of(lab: &Lab, sector: u64) -> usize {
    let entry = lab.set.image_file(0).2.into_iter().find(|e| (e.first..e.end()).contains(&sector)).unwrap();
    entry.place.unwrap().at as usize * 2048
}

#[test]
fn where_the_cd_is_damaged_what_can_be_mended_is_and_nothing_wrong_is_written() {
    for (name, lab) in labs() {
        let chunks = lab.chunks();
        let (lost, other) = (chunks[chunks.len() - 1].first, chunks[chunks.len() / 2].first);
        let mut pc = lab.pc.clone();
        pc.cd = Arc::new({
            let mut iso = lab.cd(FLOW).to_vec();
            iso[lab.set.image_file(0).0 + pack_of(lab, lost) + 1] ^= 1;
            iso
        });
        lab.spoil(&mut pc, 0, lost);
        lab.spoil(&mut pc, 1, lost);
        lab.spoil(&mut pc, 0, other);
        let before = Part::read(&pc, lab.set.places[0]).bytes;
        assert_eq!(word(&pc.start()), "hold bad", "{name}: {:#?}", pc.lines);
        let said = line(&pc, "2");
        let place = format!("failed (sectors {lost} to ");
        for part in [
            &place[..],
            ": P2: differs as well, images/system.img is damaged on the CD: pack at byte ",
            "; mended: 1 range: from P2)",
        ] {
            assert!(said.contains(part), "{name}: `{part}` is not in {said}");
        }
        let mut wanted = before;
        let mended = lab.chunk_at(other);
        let good = &lab.set.images[0];
        let range = mended.first as usize * SECTOR..(mended.first as usize + usize::from(mended.sectors)) * SECTOR;
        wanted[range.clone()].copy_from_slice(&good[range]);
        assert!(
            Part::read(&pc, lab.set.places[0]).bytes == wanted,
            "{name}: other bytes than the mended chunk's changed"
        );
    }
}

/// With a damaged block in the table of the CD's image, no entry of that block counts: not at the second look either.
#[test]
fn no_entry_of_a_damaged_table_is_used() {
    let lab = fat16();
    let (begin, _, entries) = lab.set.image_file(0);
    let mut chunks: Vec<Chunk> = lab.chunks();
    chunks.retain(|c| entries.iter().position(|e| e.first == c.first).unwrap() < 51);
    let (first, second) = (chunks[chunks.len() - 2], chunks[chunks.len() - 1]);
    let n = entries.iter().position(|e| e.first == second.first).unwrap();
    let mut pc = lab.pc.clone();
    put_seal(&mut pc, lab.set.places[0], "seal.0", 1, &Protect::All);
    let mut iso = lab.cd(&FLOW.replace(" from P2", "")).to_vec();
    // The place of the second one's content within its pack.
    iso[begin + 2048 + n * 40 + 0x14] ^= 1;
    pc.cd = Arc::new(iso);
    lab.spoil(&mut pc, 0, first.first);
    lab.spoil(&mut pc, 0, second.first);
    assert_eq!(word(&pc.start()), "hold bad", "{:#?}", pc.lines);
    assert_eq!(line(&pc, "2").matches("the hash of block 0 of its table is wrong").count(), 2, "{}", line(&pc, "2"));
    assert!(pc.writes.is_empty(), "{:?}", pc.writes);
}

#[test]
fn without_the_cds_image_the_sibling_mends_by_the_seal_on_the_disk_or_nothing_is_written() {
    for (name, lab) in labs() {
        let gone = |steps: &str| {
            let mut iso = lab.cd(steps).to_vec();
            iso[lab.set.image_file(0).0] ^= 1;
            Arc::new(iso)
        };
        let last = lab.chunks().last().unwrap().first;
        let mut pc = lab.pc.clone();
        seals::void_seals(&mut pc, lab.set.places[0]);
        pc.cd = gone(FLOW);
        lab.spoil(&mut pc, 0, last);
        assert_eq!(word(&pc.start()), "hold bad", "{name}: {:#?}", pc.lines);
        let why = "(images/system.img is damaged on the CD: no table)";
        assert!(line(&pc, "1").ends_with(why) && line(&pc, "2").ends_with(why), "{name}: {:#?}", pc.lines);
        assert!(pc.writes.is_empty(), "{name}: {:?}", pc.writes);

        let mut pc = lab.pc.clone();
        put_seal(&mut pc, lab.set.places[0], "seal.1", 3, &Protect::All);
        pc.cd = gone(FLOW);
        assert_eq!(word(&pc.start()), "hold good", "{name}: {:#?}", pc.lines);
        lab.spoil(&mut pc, 0, last);
        assert_eq!(word(&pc.start()), "hold healed", "{name}: {:#?}", pc.lines);
        assert_eq!(lab.set.difference(&pc, 0).filter(|s| !seal_sectors(lab).contains(s)), None, "{name}");
        pc.cd = gone(&FLOW.replace(" from P2", ""));
        lab.spoil(&mut pc, 0, last);
        assert_eq!(word(&pc.start()), "hold bad", "{name}: {:#?}", pc.lines);
        assert!(
            line(&pc, "2").contains("images/system.img is damaged on the CD: no table; mended: nothing"),
            "{name}: {:#?}",
            pc.lines
        );
        assert!(pc.writes.is_empty(), "{name}: {:?}", pc.writes);
    }
}

/// The sectors of both seals, from the partition's beginning.
fn seal_sectors(lab: &Lab) -> BTreeSet<u64> {
    ["seal.0", "seal.1"].iter().flat_map(|file| seals::sectors_of(&lab.set.images[0], 0, file)).collect()
}

#[test]
fn a_sibling_on_a_disk_that_is_gone_leaves_the_cd() {
    let lab = fat16();
    let (start, sectors) = lab.set.places[0];
    let declarations = format!(
        "disk system sectors {}\ndisk other sectors 4444444\n\
         partition P1 on system start {start} sectors {sectors} type 0c image system.img\n\
         partition P2 on other start 2048 sectors {sectors} type 0c image system.img\n",
        lab.set.disk_sectors
    );
    let mut pc = lab.pc.clone();
    // One partition only in the table, as this logic.txt declares it.
    pc.disks[0].poke(446 + 16, &[0; 16]);
    pc.cd = lab.set.with_logic(&format!("logic 1\n{declarations}{FLOW}")).iso;
    lab.spoil(&mut pc, 0, lab.chunks().last().unwrap().first);
    assert_eq!(word(&pc.start()), "hold healed", "{:#?}", pc.lines);
    assert_eq!(line(&pc, "2"), "2 heal P1 from P2 = ok (1 range: from the CD)");
}

#[test]
fn unreadable_sectors_are_mended_by_writing_and_disks_that_fail_or_lie_are_told() {
    for (name, lab) in labs() {
        let chunks = lab.chunks();
        let bad = [0, chunks[chunks.len() / 3].first, chunks[chunks.len() - 1].first];
        let at = bad.map(|sector| lab.start(0) + sector);
        let mut pc = lab.pc.clone();
        pc.disks[0].unreadable.extend(at);
        assert_eq!(word(&pc.start()), "hold healed", "{name}: {:#?}", pc.lines);
        assert!(line(&pc, "2").contains("(3 ranges: from P2"), "{name}: {}", line(&pc, "2"));
        assert!(pc.disks[0].unreadable.is_empty(), "{name}");
        assert_eq!(lab.set.difference(&pc, 0), None, "{name}");
        // Nobody's sectors between those that count may be unreadable.
        let used: BTreeSet<u64> = chunks.iter().flat_map(|c| c.first..c.first + u64::from(c.sectors)).collect();
        let gap = (0..lab.layout.sectors).find(|s| !used.contains(s) && used.contains(&(s - 1))).unwrap();
        let mut pc = lab.pc.clone();
        pc.disks[0].unreadable.insert(lab.start(0) + gap);
        assert_eq!(word(&pc.start()), "hold good", "{name}, sector {gap}: {:#?}", pc.lines);
        for (lying, why) in [(false, "BIOS status 03"), (true, "read back differs from what was written")] {
            let mut pc = lab.pc.clone();
            lab.spoil(&mut pc, 0, bad[1]);
            lab.spoil(&mut pc, 0, bad[2]);
            if lying {
                pc.disks[0].lying.insert(at[2])
            } else {
                pc.disks[0].unwritable.insert(at[2])
            };
            assert_eq!(word(&pc.start()), "hold bad", "{name}, {why}: {:#?}", pc.lines);
            let said = line(&pc, "2");
            assert!(said.contains(&format!("P2: {why}, {why}; mended: 1 range: from P2")), "{name}: {said}");
        }
        // The sibling's sectors may be unreadable too.
        let mut pc = lab.pc.clone();
        lab.spoil(&mut pc, 0, bad[2]);
        pc.disks[0].unreadable.insert(lab.start(1) + bad[2]);
        assert_eq!(word(&pc.start()), "hold healed", "{name}: {:#?}", pc.lines);
        assert!(line(&pc, "2").contains("1 range: from the CD"), "{name}: {}", line(&pc, "2"));
    }
}

/// A power cut at any sector of any write: what was whole stays whole, and the next start mends the rest.
#[test]
fn any_cut_of_a_heal_leaves_less_damage_and_the_next_start_mends_it() {
    for (name, lab) in labs() {
        let chunks = lab.chunks();
        let mut before = lab.pc.clone();
        let count = chunks.len();
        for n in [0, 1, 2, 3, count / 2, count - 1] {
            lab.spoil(&mut before, 0, chunks[n].first);
        }
        lab.spoil(&mut before, 1, chunks[count / 2].first);
        let mut whole = before.clone();
        assert_eq!(word(&whole.start()), "hold healed", "{name}: {:#?}", whole.lines);
        let damaged: Vec<Range<u64>> = whole.writes.iter().map(|&(_, at, sectors)| at..at + sectors as u64).collect();
        let good = Part::read(&whole, lab.set.places[0]).bytes;
        for (write, &(_, _, sectors)) in whole.writes.iter().enumerate() {
            let mut places = vec![0, sectors / 2, sectors - 1];
            places.dedup();
            for (sectors, next) in places
                .into_iter()
                .flat_map(|s| [Torn::Old, Torn::Half, Torn::Garbage, Torn::Unreadable].map(|next| (s, next)))
            {
                let cut = Cut { write, sectors, next };
                let case = format!("{name}, {cut:?}");
                let mut pc = before.clone();
                pc.cut = Some(cut);
                pc.start();
                assert!(pc.off, "{case}: the cut did not happen");
                pc.cut = None;
                for sector in lab.start(0)..lab.start(0) + lab.layout.sectors {
                    if damaged.iter().all(|range| !range.contains(&sector)) {
                        let at = (sector - lab.start(0)) as usize * SECTOR;
                        assert!(pc.disks[0].sector(sector)[..] == good[at..at + SECTOR], "{case}: sector {sector}");
                    }
                }
                let ending = word(&pc.start());
                assert!(["hold healed", "hold good"].contains(&&*ending), "{case}: {:#?}", pc.lines);
                assert!(Part::read(&pc, lab.set.places[0]).bytes == good, "{case}: P1 is not what it was");
            }
        }
    }
}

#[test]
fn a_verify_reads_what_is_needed_and_not_twice() {
    for (name, lab) in labs() {
        let chunks = lab.chunks();
        let protected: u64 = chunks.iter().map(|c| u64::from(c.sectors)).sum();
        let middle = chunks[chunks.len() / 2].first;
        let run = |flow: &str, damage: &[u64]| {
            let mut pc = lab.pc.clone();
            pc.cd = lab.cd(flow);
            damage.iter().for_each(|&sector| lab.spoil(&mut pc, 0, sector));
            pc.start();
            pc
        };
        let quick = run("1 verify P1 quick else 2\n2 hold \"x\"", &[]);
        assert!(
            quick.sectors_read <= 64 && quick.reads <= 6,
            "{name}: {} sectors, {} reads",
            quick.sectors_read,
            quick.reads
        );
        let alone = "1 verify P1 else 2\n2 hold \"x\"";
        let whole = run(alone, &[]);
        // What stands between two chunks is read along, if it is little.
        let limit = protected + protected / 4 + 200;
        assert!(
            (protected..limit).contains(&whole.sectors_read),
            "{name}: {} of {protected} sectors",
            whole.sectors_read
        );
        assert!(
            whole.reads as u64 <= whole.sectors_read / 24 + 40,
            "{name}: {} reads of {} sectors",
            whole.reads,
            whole.sectors_read
        );
        let stopped = run(alone, &[middle]);
        assert!(line(&stopped, "1").starts_with("1 verify P1 = failed"), "{name}: {:#?}", stopped.lines);
        assert!(stopped.sectors_read < whole.sectors_read * 3 / 4, "{name}: {} sectors", stopped.sectors_read);
        // With `heal` behind it, all damage is found in one pass.
        let last = chunks[chunks.len() - 1].first;
        let healed = run("1 verify P1 else 2\n2 heal P1 from P2 else 3\n3 hold \"x\"", &[middle, last]);
        assert!(line(&healed, "2").ends_with("= ok (2 ranges: from P2)"), "{name}: {:#?}", healed.lines);
        assert!(line(&healed, "1").ends_with(" and 1 more range)"), "{name}: {}", line(&healed, "1"));
        let more = healed.sectors_read - whole.sectors_read;
        assert!(more < 4 * 128 + 300, "{name}: {more} sectors more for healing two chunks");
    }
}

#[test]
fn what_verify_found_is_healed_once_a_start_and_only_where_it_was_found() {
    let lab = fat16();
    let sector = lab.chunks().last().unwrap().first;
    let mut pc = lab.pc.clone();
    pc.cd = lab.cd("1 heal P1 from P2 else 2\n2 heal P1 from P2 else 3\n3 heal P1 else 4\n4 hold \"x\"");
    lab.spoil(&mut pc, 0, sector);
    pc.start();
    assert_eq!(line(&pc, "1"), "1 heal P1 from P2 = ok (1 range: from P2)");
    assert_eq!(line(&pc, "2"), "2 heal P1 from P2 = failed (it was done already since the machine was switched on)");
    assert_eq!(line(&pc, "3"), "3 heal P1 = ok (nothing differs)");
    // What was found in P1 does not concern P2, nor P1 after a restore has put it right.
    pc.cd = lab.cd("1 verify P1 else 2\n2 heal P2 else 3\n3 restore P1 else 9\n4 heal P1 from P2 else 9\n9 hold \"x\"");
    lab.spoil(&mut pc, 0, sector);
    pc.start();
    assert_eq!(line(&pc, "2"), "2 heal P2 = ok (nothing differs)");
    pc.cd = lab.cd("1 verify P1 else 3\n2 hold \"?\"\n3 restore P1 else 9\n4 heal P1 from P2 else 9\n9 hold \"x\"");
    put_seal(&mut pc, lab.set.places[0], "seal.0", 5, &Protect::All);
    lab.spoil(&mut pc, 0, sector);
    pc.start();
    assert_eq!(line(&pc, "4"), "4 heal P1 from P2 = ok (nothing differs)");
    // A partition that the MBR does not have is not written.
    let mut pc = lab.pc.clone();
    lab.spoil(&mut pc, 0, sector);
    pc.disks[0].poke(446 + 4, &[0x0B]);
    pc.start();
    assert_eq!(line(&pc, "2"), "2 heal P1 from P2 = failed (the MBR does not hold P1 as declared)");
    assert!(pc.writes.is_empty());
}

#[test]
fn progress_comes_at_most_four_times_a_second() {
    for (name, lab) in labs() {
        for tick in [40, 130, 400, 3000] {
            let mut pc = lab.pc.clone();
            pc.tick = tick;
            for chunk in lab.chunks() {
                lab.spoil(&mut pc, 0, chunk.first);
            }
            pc.start();
            let progress = pc.lines.iter().filter(|l| l.ends_with(" s left"));
            let at: Vec<u64> =
                progress.map(|l| l[1..l.find(']').unwrap()].trim().replace('.', "").parse().unwrap()).collect();
            assert!(at.len() > 3 || tick < 100, "{name}, {tick} ms: {:#?}", pc.lines);
            for five in at.windows(5) {
                assert!(five[4] - five[0] >= 1000, "{name}, {tick} ms a look at the clock: lines at {five:?}");
            }
            let lines = pc.lines.iter().all(|l| l.len() < 400);
            assert!(lines, "{name}: {:#?}", pc.lines);
        }
    }
}

/// Whatever the number of ranges that nothing can mend, the line stays one that a person reads.
#[test]
fn many_failures_are_told_in_one_short_line() {
    let lab = fat16();
    let mut pc = lab.pc.clone();
    put_seal(&mut pc, lab.set.places[0], "seal.0", 1, &Protect::All);
    let chunks = lab.chunks();
    let broken: Vec<u64> = chunks.iter().filter(|c| c.first > 100).map(|c| c.first).collect();
    for n in 0..2 {
        broken.iter().for_each(|&sector| lab.spoil(&mut pc, n, sector));
    }
    let mut iso = lab.cd(FLOW).to_vec();
    iso[lab.set.image_file(0).0] ^= 1;
    pc.cd = Arc::new(iso);
    assert_eq!(word(&pc.start()), "hold bad", "{:#?}", pc.lines);
    let said = line(&pc, "2");
    assert!(said.contains(&format!("; and {} more; mended: nothing", broken.len() - 3)), "{said}");
    assert!(said.len() < 700, "{} bytes: {said}", said.len());
}

/// Changes some files of partition `n` as an update does: one goes, one comes, one is longer than before.
fn update(lab: &Lab, pc: &mut Pc, n: usize) {
    let temporary = tools::temporary();
    let folder = temporary.path();
    fs::write(folder.join("part"), Part::read(pc, lab.set.places[n]).bytes).unwrap();
    fs::write(folder.join("new"), (0..90_000_u32).map(|n| (n / 11) as u8).collect::<Vec<u8>>()).unwrap();
    let script = if images::is_fat(folder, "part") {
        "mdel -i part ::tree/sector; mcopy -i part new ::tree/new; mcopy -o -i part new ::tree/kernel; fsck.fat -n part"
    } else {
        "printf 'rm tree/sector\\nwrite new tree/new\\nrm tree/kernel\\nwrite new tree/kernel\\n' >script
        debugfs -w -f script part 2>&1; e2fsck -fn part"
    };
    // The same time in both, as an updater that copies blocks would leave it.
    shell(folder, &format!("export E2FSPROGS_FAKE_TIME=1600000000 TZ=UTC; touch -d @1600000000 new; {script}"));
    pc.disks[0].poke(lab.start(n) * SECTOR as u64, &fs::read(folder.join("part")).unwrap());
}

/// A machine whose two partitions have the same update, each with a seal of it.
fn updated(lab: &Lab, file: &str, sequence: u64) -> Pc {
    let mut pc = lab.pc.clone();
    update(lab, &mut pc, 0);
    let part = Part::read(&pc, lab.set.places[0]).bytes;
    pc.disks[0].poke(lab.start(1) * SECTOR as u64, &part);
    for n in 0..2 {
        put_seal(&mut pc, lab.set.places[n], file, sequence, &Protect::All);
    }
    pc
}

#[test]
fn a_seal_on_the_disk_is_preferred_and_of_two_the_newer_one() {
    for (name, lab) in labs() {
        let place = lab.set.places[0];
        let mut pc = lab.pc.clone();
        pc.cd = lab.cd("1 verify P1 else 2\n2 hold \"x\"");
        let verifies = |pc: &mut Pc| {
            pc.start();
            let said = line(pc, "1");
            assert!(
                said.contains(" as sealed)") || said.contains("not as sealed") || !said.contains("sealed"),
                "{said}"
            );
            said.starts_with("1 verify P1 = ok")
        };
        update(lab, &mut pc, 0);
        assert!(!verifies(&mut pc), "{name}: an update that nobody sealed is no damage");
        for (older, newer) in [("seal.0", "seal.1"), ("seal.1", "seal.0")] {
            let mut pc = lab.pc.clone();
            pc.cd = lab.cd("1 verify P1 else 2\n2 hold \"x\"");
            put_seal(&mut pc, place, older, 2, &Protect::All);
            assert!(verifies(&mut pc), "{name}: {:#?}", pc.lines);
            assert!(pc.lines.iter().any(|l| l.ends_with("as sealed)")), "{name}: {:#?}", pc.lines);
            update(lab, &mut pc, 0);
            assert!(!verifies(&mut pc), "{name}: {:#?}", pc.lines);
            put_seal(&mut pc, place, newer, 3, &Protect::All);
            assert!(verifies(&mut pc), "{name}: {:#?}", pc.lines);
            // Numbers far apart, and a number that only looks smaller.
            put_seal(&mut pc, place, newer, 1 << 40, &Protect::All);
            assert!(verifies(&mut pc), "{name}: {:#?}", pc.lines);
            let mut other = pc.clone();
            put_seal(&mut other, place, older, u64::MAX, &Protect::None);
            lab.spoil(&mut other, 0, lab.chunks().last().unwrap().first);
            assert!(verifies(&mut other), "{name}: the newest protects nothing; {:#?}", other.lines);
        }
    }
}

/// A new seal is written behind the header first, the header last. Wherever that ends, one of the two is in force.
#[test]
fn a_seal_that_was_torn_while_it_was_written_leaves_the_old_one_in_force() {
    for (name, lab) in [("FAT16", fat16()), ("ext4", ext4())] {
        let place = lab.set.places[0];
        for changed in [false, true] {
            let mut before = lab.pc.clone();
            before.cd = lab.cd("1 verify P1 else 2\n2 hold \"x\"");
            put_seal(&mut before, place, "seal.1", 1, &Protect::None);
            put_seal(&mut before, place, "seal.0", 2, &Protect::All);
            if changed {
                update(lab, &mut before, 0);
            }
            let part = Part::read(&before, place);
            let writes = part.placed("seal.1", &part.seal(3, &Protect::All));
            let mut pc = before.clone();
            for (n, (sector, new)) in writes.iter().enumerate() {
                let old = pc.disks[0].sector(*sector);
                for step in (0..=SECTOR).step_by(64) {
                    let mut torn = old;
                    torn[..step].copy_from_slice(&new[..step]);
                    pc.disks[0].poke(sector * SECTOR as u64, &torn);
                    let in_force = n + 1 == writes.len() && torn == *new;
                    pc.start();
                    let said = line(&pc, "1");
                    let wanted = if in_force || !changed {
                        "1 verify P1 = ok ("
                    } else {
                        "1 verify P1 = failed (not as sealed: "
                    };
                    assert!(said.starts_with(wanted), "{name}, changed {changed}, write {n} torn at {step}: {said}");
                }
            }
        }
    }
}

#[test]
fn a_damaged_seal_is_told_and_heal_goes_back_to_what_was_shipped() {
    for (name, lab) in labs() {
        let place = lab.set.places[0];
        for (changed, agrees) in [(false, true), (true, true), (true, false)] {
            let mut pc = lab.pc.clone();
            put_seal(&mut pc, place, "seal.1", 1, &Protect::All);
            if changed {
                update(lab, &mut pc, 0);
            }
            if !agrees {
                put_seal(&mut pc, place, "seal.1", 1, &Protect::All);
            }
            put_seal(&mut pc, place, "seal.0", 2, &Protect::All);
            assert_eq!(word(&pc.start()), "hold good", "{name}: {:#?}", pc.lines);
            let part = Part::read(&pc, place);
            let block = seals::sectors_of(&part.bytes, part.start, "seal.0")[1];
            let mut bad = pc.clone();
            bad.disks[0].poke(block * SECTOR as u64 + 8, &[0x77]);
            assert_eq!(word(&bad.start()), "hold healed", "{name}: {:#?}", bad.lines);
            assert_eq!(line(&bad, "1"), "1 verify P1 = failed (seal.0: the hash of block 0 of its table is wrong)");
            assert!(line(&bad, "3").starts_with("3 verify P1 = ok"), "{name}: {:#?}", bad.lines);
            // The older one counts only if it says what the CD says.
            let by = if agrees { " as sealed)" } else { " as on the CD)" };
            let said = bad.lines.iter().any(|l| l.contains("3 verify P1 = ok") && l.ends_with(by));
            assert!(said, "{name}, changed {changed}, agrees {agrees}: {:#?}", bad.lines);
            assert_eq!(lab.not_shipped(&bad, 0), None, "{name}: {:#?}", bad.lines);
            assert_eq!(word(&bad.start()), "hold good", "{name}: {:#?}", bad.lines);
            // And the header: then it is no seal, and the older one is in force.
            let header = seals::sectors_of(&part.bytes, part.start, "seal.0")[0];
            pc.disks[0].poke(header * SECTOR as u64 + 0x20, &[0x77]);
            let ending = word(&pc.start());
            let wanted = if changed && agrees { "hold bad" } else { "hold good" };
            assert!(ending == wanted || ending == "hold healed", "{name}: {:#?}", pc.lines);
        }
    }
}

#[test]
fn after_an_update_siblings_mend_each_other_and_the_cd_only_what_it_has() {
    for (name, lab) in labs() {
        let good = updated(lab, "seal.1", 4);
        let mut pc = good.clone();
        assert_eq!(word(&pc.start()), "hold good", "{name}: {:#?}", pc.lines);
        let part = Part::read(&pc, lab.set.places[0]).bytes;
        let new = chunks(&seals::layout(&part), &Protect::All).unwrap().into_iter().filter(|c| c.protected);
        let bytes = |of: &[u8], c: &Chunk| of[c.first as usize * SECTOR..][..usize::from(c.sectors) * SECTOR].to_vec();
        let old = lab.chunks();
        let is_same = |c: &Chunk| old.contains(c) && bytes(&part, c) == bytes(&lab.set.images[0], c);
        let (kept, others): (Vec<Chunk>, Vec<Chunk>) = new.partition(is_same);
        let (changed, same) = (others.last().unwrap().first, kept.last().unwrap().first);
        for (what, sector, both, outcome) in [
            ("changed", changed, false, "= ok (1 range: from P2)"),
            ("same", same, false, "= ok (1 range: from P2)"),
            ("same in both", same, true, "= ok (1 range: from the CD)"),
            ("changed in both", changed, true, "; mended: nothing differs)"),
        ] {
            let mut pc = good.clone();
            lab.spoil(&mut pc, 0, sector);
            if both {
                lab.spoil(&mut pc, 1, sector);
            }
            let ending = word(&pc.start());
            let said = line(&pc, "2");
            assert!(said.ends_with(outcome), "{name}, {what}: {:#?}", pc.lines);
            if said.contains("= ok") {
                assert_eq!(ending, "hold healed", "{name}, {what}: {:#?}", pc.lines);
                assert!(Part::read(&pc, lab.set.places[0]).bytes == part, "{name}, {what}: P1 is another");
            } else {
                let why = ["the CD's image is not what was sealed", "the CD's image has nothing there"];
                assert!(why.iter().any(|w| said.contains(w)) && said.contains("/tree"), "{name}, {what}: {said}");
                assert!(pc.writes.is_empty(), "{name}, {what}: {:?}", pc.writes);
            }
        }
    }
}

/// What the CD has at the very place of a sealed range is no help where it is something else.
#[test]
fn what_was_rewritten_in_place_is_not_mended_from_the_cd() {
    for (name, lab) in labs() {
        let mut pc = lab.pc.clone();
        let chunk = *lab.chunks().last().unwrap();
        for n in 0..2 {
            lab.spoil(&mut pc, n, chunk.first);
            put_seal(&mut pc, lab.set.places[n], "seal.0", 1, &Protect::All);
        }
        assert_eq!(word(&pc.start()), "hold good", "{name}: {:#?}", pc.lines);
        (0..2).for_each(|n| lab.spoil(&mut pc, n, chunk.first + u64::from(chunk.sectors) - 1));
        assert_eq!(word(&pc.start()), "hold bad", "{name}: {:#?}", pc.lines);
        let why = "P2: differs as well, the CD's image is not what was sealed; mended: nothing differs)";
        assert!(line(&pc, "2").ends_with(why), "{name}: {}", line(&pc, "2"));
        assert!(pc.writes.is_empty(), "{name}: {:?}", pc.writes);
    }
}

/// Without its boot sector or superblock a partition's own seal can't be found: these are mended first.
#[test]
fn damage_that_hides_the_seal_undoes_no_update() {
    for (name, lab) in labs() {
        let good = updated(lab, "seal.0", 2);
        let part = Part::read(&good, lab.set.places[0]).bytes;
        let places: &[u64] = if name == "ext4" { &[2, 3] } else { &[0] };
        for &sector in places {
            for (from, broken) in [(" from P2", false), ("", false), (" from P2", true)] {
                let mut pc = good.clone();
                pc.cd = lab.cd(&FLOW.replace(" from P2", from));
                lab.spoil(&mut pc, 0, sector);
                if broken {
                    pc.disks[0].unreadable.insert(lab.start(1) + sector);
                }
                assert_eq!(word(&pc.start()), "hold healed", "{name}, sector {sector}: {:#?}", pc.lines);
                let now = Part::read(&pc, lab.set.places[0]).bytes;
                // What differs between two copies without counting may have come along.
                let mut differs = (0..part.len()).filter(|&at| now[at] != part[at]).map(|at| (at / SECTOR) as u64);
                assert_eq!(differs.find(|s| !places.contains(s)), None, "{name}: a sector that was whole");
                assert!(line(&pc, "2").contains("= ok (1 range:"), "{name}: {}", line(&pc, "2"));
            }
        }
    }
}

/// A folder with a filled image, for a logic.txt of the test's own.
fn maker(options: &str) -> tempfile::TempDir {
    let temporary = tools::temporary();
    tree(temporary.path());
    if options.starts_with("-F") {
        fat(temporary.path(), "system.img", 8192, options);
    } else {
        ext(temporary.path(), "system.img", 8192, options);
        boot_code(temporary.path(), "system.img");
    }
    fill(temporary.path(), "system.img");
    temporary
}

/// Two partitions of one image, each with its own words behind it; restored.
fn protecting(folder: &Path, p1: &str, p2: &str) -> (Pc, [Layout; 2]) {
    let logic = format!(
        "logic 1\ndisk system sectors 50000\n\
         partition P1 on system start 2048 sectors 16384 type 83 image system.img {p1}\n\
         partition P2 on system start 20480 sectors 16384 type 83 image system.img {p2}\n\
         1 verify mbr of system else 2\n  goto 3\n2 restore system else 9\n  restart\n\
         3 verify P1 else 4\n  goto 5\n4 heal P1 else 5\n5 verify P2 else 6\n  goto 8\n6 heal P2 else 8\n\
         8 hold \"end\"\n9 hold \"bad\"\n"
    );
    let mut disk = common::machine::Disk::blank(0x80, 50_000);
    disk.allowed = vec![0..1, 2047..18_432, 20_480..36_864];
    let mut pc = Pc::new(images::build(folder, &logic), vec![disk]);
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    let layouts = [2048, 20_480].map(|start| seals::layout(&pc.disks[0].bytes(start..start + 16_384)));
    (pc, layouts)
}

/// The last sector of a file or directory; 0 for the boot sector.
fn sector_of(layout: &Layout, path: &str) -> u64 {
    let Some(run) = layout.files(path).last().map(|&n| layout.runs[n]) else { return 0 };
    run.end() - 1
}

/// Damages a sector of one of them; what the four steps made of it, `-` where they did not run.
fn outcome(pc: &Pc, n: usize, sector: u64) -> [String; 4] {
    let mut pc = pc.clone();
    let at = [2048, 20_480][n] + sector;
    let content = pc.disks[0].sector(at).map(|b| !b);
    pc.disks[0].poke(at * SECTOR as u64, &content);
    assert_eq!(word(&pc.start()), "hold 8", "{:#?}", pc.lines);
    ["3", "4", "5", "6"].map(|label| {
        let found = pc.log().into_iter().find(|l| l.starts_with(&format!("{label} ")));
        found.map_or("-".into(), |l| if l.contains("= ok") { "ok".into() } else { l.split_once("(").unwrap().1.into() })
    })
}

#[test]
fn only_what_logic_txt_protects_is_damage() {
    for options in ["-F 16 -s 2", "-t ext4"] {
        let folder = maker(options);
        let (pc, layouts) = protecting(folder.path(), "protect none", "protect tree/kernel \"tree/sub/folder\"");
        let sector = |path: &str| sector_of(&layouts[1], path);
        assert_eq!(outcome(&pc, 0, sector("tree/kernel")), ["ok", "-", "ok", "-"], "{options}: P1 protects nothing");
        assert_eq!(
            outcome(&pc, 1, sector("tree/a long name.config")),
            ["ok", "-", "ok", "-"],
            "{options}: not protected"
        );
        for path in ["tree/kernel", "tree/sub/folder/deep"] {
            let said = outcome(&pc, 1, sector(path));
            assert!(said[2].contains(&format!("/{path})")) && said[3] == "ok", "{options}, {path}: {said:?}");
        }
        let said = outcome(&pc, 1, 0);
        assert!(said[2] != "ok" && said[3] == "ok", "{options}: the boot sector goes with the files: {said:?}");
        // The other way round, so that each image has its own seal.
        let (pc, layouts) = protecting(folder.path(), "protect tree/kernel", "");
        let said = outcome(&pc, 1, sector_of(&layouts[1], "tree/a long name.config"));
        assert!(
            said[0] == "ok" && said[2].contains("/tree/a long name.config") && said[3] == "ok",
            "{options}: {said:?}"
        );
        assert_eq!(
            outcome(&pc, 0, sector_of(&layouts[0], "tree/a long name.config")),
            ["ok", "-", "ok", "-"],
            "{options}"
        );
    }
}

/// Under `protect PATH` nothing says that a file still stands where it was sealed.
#[test]
fn a_protected_file_is_mended_where_it_is_and_not_where_it_was() {
    let paths = ["kernel", "tree/kernel", "tree/a long name.config", "tree/sub/many/entry number 6"];
    for (options, path) in
        ["-F 12 -s 8", "-F 16 -s 2", "-t ext2 -b 1024", "-t ext4"].iter().flat_map(|o| paths.map(|p| (*o, p)))
    {
        let folder = maker(options);
        let kernel: Vec<u8> = (0..150_001_u32).map(|n| (n * n / 7 + n) as u8).collect();
        images::put(folder.path(), "system.img", "kernel", &kernel);
        let (mut pc, layouts) = protecting(folder.path(), &format!("protect \"{path}\""), "");
        let said = outcome(&pc, 0, sector_of(&layouts[0], path));
        assert!(said[0].contains(&format!("/{path})")) && said[1] == "ok", "{options}: {said:?}");
        // The system writes it anew, and another file to where it was.
        let p1 = folder.path().join("p1");
        std::fs::write(&p1, pc.disks[0].bytes(2048..18_432)).unwrap();
        let (copied, written) = if options.starts_with("-F") {
            (
                format!(
                    "mcopy -n -i p1 '::{path}' k; mdel -i p1 '::{path}'; mcopy -i p1 diary ::diary; mcopy -i p1 k '::{path}'"
                ),
                format!("mcopy -n -i p1 ::diary now; cmp now diary; mcopy -o -i p1 '::{path}' now; cmp now k"),
            )
        } else {
            let dump = |path: &str, to: &str| format!("debugfs -R 'dump \"{path}\" {to}' p1 2>/dev/null");
            (
                format!(
                    "{}; printf 'rm \"{path}\"\nwrite diary diary\nwrite k \"{path}\"\n' | debugfs -w p1 2>&1",
                    dump(path, "k")
                ),
                format!("{}; cmp now diary; {}; cmp now k", dump("diary", "now"), dump(path, "now")),
            )
        };
        common::tools::shell(folder.path(), &format!("head -c 5500000 /dev/urandom >diary; {copied}"));
        pc.disks[0].sectors.write(2048, &std::fs::read(&p1).unwrap());
        assert_eq!(word(&pc.start()), "hold 8", "{options}, {path}: {:#?}", pc.lines);
        let said = line(&pc, "4");
        assert!(
            said.contains("= failed (") && said.contains("it may stand elsewhere now"),
            "{options}, {path}: {said}"
        );
        std::fs::write(&p1, pc.disks[0].bytes(2048..18_432)).unwrap();
        common::tools::shell(folder.path(), &written);
    }
}

/// What partition 0 holds at the sectors of a file now, and what it held when it was shipped.
fn file_now(pc: &Pc, shipped: &Pc, layout: &Layout, path: &str) -> [Vec<u8>; 2] {
    [pc, shipped].map(|pc| {
        let runs = layout.files(path).into_iter().map(|n| layout.runs[n]);
        runs.flat_map(|run| pc.disks[0].bytes(2048 + run.first..2048 + run.end())).collect()
    })
}

/// The system has written a protected file anew in its own place, and nobody has sealed it. Where one of its ranges
/// can't be had any more, all of it stays what the system wrote; so does what shares a range with it. Other files
/// are mended.
#[test]
fn a_protected_file_is_mended_whole_or_not_at_all() {
    for (options, from) in ["-F 16 -s 2", "-t ext4"].iter().flat_map(|o| [" from P2", ""].map(|from| (*o, from))) {
        let folder = maker(options);
        for (name, bytes, seed) in [("a", 300_000, 3), ("b", 90_000, 5), ("c", 700, 7), ("big", 200_000, 9)] {
            let content: Vec<u8> = (0..bytes as u32).map(|n| (n * n / seed + n) as u8).collect();
            images::put(folder.path(), "system.img", &format!("{name}.bin"), &content);
        }
        let protect = "protect a.bin b.bin c.bin tree/kernel";
        let logic = |heal: &str| {
            format!(
                "logic 1\ndisk system sectors 50000\n\
                 partition P1 on system start 2048 sectors 16384 type 83 image system.img {protect}\n\
                 partition P2 on system start 20480 sectors 16384 type 83 image system.img {protect}\n\
                 1 verify mbr of system else 2\n  goto 3\n2 restore system else 9\n  restart\n\
                 3 verify P1 else 4\n  hold \"good\"\n4 heal P1{heal} else bad\n5 verify P1 else bad\n\
                 healed hold \"healed\"\nbad hold \"bad\"\n9 hold \"no\"\n"
            )
        };
        let mut disk = common::machine::Disk::blank(0x80, 50_000);
        disk.allowed = vec![0..1, 2047..18_432, 20_480..36_864];
        let mut shipped = Pc::new(images::build(folder.path(), &logic(from)), vec![disk]);
        assert_eq!(word(&shipped.start()), "restart", "{:#?}", shipped.lines);
        let layout = seals::layout(&shipped.disks[0].bytes(2048..18_432));
        let chunks: Vec<Chunk> = {
            let paths = ["a.bin", "b.bin", "c.bin", "tree/kernel"].map(String::from).to_vec();
            chunks(&layout, &Protect::Paths(paths)).unwrap().into_iter().filter(|c| c.protected).collect()
        };
        let chunks_of = |path: &str| -> Vec<Chunk> {
            let runs: Vec<_> = layout.files(path).into_iter().map(|n| layout.runs[n]).collect();
            let has = |c: &&Chunk| runs.iter().any(|r| r.first < c.first + u64::from(c.sectors) && c.first < r.end());
            chunks.iter().filter(has).copied().collect()
        };
        assert!(chunks_of("a.bin").len() > 4 && chunks_of("a.bin").iter().any(|c| chunks_of("b.bin").contains(c)));
        // All of a.bin, b.bin and the kernel were overwritten where they stand.
        let mut updated = shipped.clone();
        for path in ["a.bin", "b.bin", "tree/kernel"] {
            for run in layout.files(path).into_iter().map(|n| layout.runs[n]) {
                let new: Vec<u8> =
                    updated.disks[0].bytes(2048 + run.first..2048 + run.end()).iter().map(|b| !b).collect();
                updated.disks[0].poke((2048 + run.first) * SECTOR as u64, &new);
            }
        }
        // Everything can be had: everything is mended.
        let mut pc = updated.clone();
        assert_eq!(word(&pc.start()), "hold healed", "{options}{from}: {:#?}", pc.lines);
        for path in ["a.bin", "b.bin", "tree/kernel"] {
            let [now, then] = file_now(&pc, &shipped, &layout, path);
            assert!(now == then, "{options}{from}: {path} is not mended");
        }
        // Of one range of a.bin, wherever it is, no copy is left: neither P2's nor the CD's.
        let of_a = chunks_of("a.bin");
        for lost in [0, of_a.len() / 2, of_a.len() - 1].map(|n| of_a[n]) {
            let mut pc = updated.clone();
            let at = (20_480 + lost.first) * SECTOR as u64;
            let other = !pc.disks[0].sector(20_480 + lost.first)[0];
            pc.disks[0].poke(at, &[other]);
            let set = Set {
                iso: pc.cd.clone(),
                images: vec![],
                allocated: vec![],
                places: vec![],
                disk_sectors: 0,
                logic: logic(from),
            };
            let (begin, _, entries) = set.image_file(0);
            let entry = entries.iter().find(|e| e.first == lost.first).unwrap();
            let mut iso = pc.cd.to_vec();
            iso[begin + entry.place.unwrap().at as usize * 2048] ^= 0x55;
            pc.cd = Arc::new(iso);
            let before = pc.clone();
            let case = format!("{options}{from}, {} lost", lost.first);
            assert_eq!(word(&pc.start()), "hold bad", "{case}: {:#?}", pc.lines);
            let said = line(&pc, "4");
            assert!(said.contains("not while the rest of a file in it can't be mended"), "{case}: {said}");
            // They share a chunk.
            for path in ["a.bin", "b.bin"] {
                let [now, then] = file_now(&pc, &before, &layout, path);
                assert!(now == then, "{case}: a part of {path} was written");
            }
            // Without P2 the kernel may share a pack with what is lost.
            let [now, then] = file_now(&pc, &shipped, &layout, "tree/kernel");
            let left = from.is_empty() && now == file_now(&before, &shipped, &layout, "tree/kernel")[0];
            assert!(now == then || left, "{case}: the kernel is not mended");
        }
    }
}

/// The system has replaced a file of a protected folder, and its old place is another file's now. What shares a
/// range with the old place is left alone too, all of it; what shares none is mended.
#[test]
fn what_shares_a_range_with_a_file_that_has_moved_is_left_alone_whole() {
    let folder = maker("-t ext4 -b 1024");
    let path = folder.path();
    for (name, bytes) in [("far", 100_000), ("kernel", 20_001), ("initrd", 300_000)] {
        let content: Vec<u8> = (0..bytes as u32).map(|n| (n * n / 11 + n) as u8).collect();
        fs::write(path.join(name), content).unwrap();
    }
    // The folder's own block and boot/far share nothing with their neighbours.
    let script = "mkdir boot\nwrite tree/kernel gap\nwrite far boot/far\nwrite tree/kernel gap2\n\
                  write kernel boot/kernel\nwrite initrd boot/initrd\n";
    fs::write(path.join("script"), script).unwrap();
    tools::shell(path, "debugfs -w -f script system.img 2>&1");
    let (mut pc, layouts) = protecting(path, "protect /boot", "");
    let layout = &layouts[0];
    let runs = |file: &str| layout.files(file).into_iter().map(|n| layout.runs[n]).collect::<Vec<_>>();
    let (kernel_end, initrd) = (runs("boot/kernel").last().unwrap().end(), runs("boot/initrd"));
    assert_eq!((kernel_end, kernel_end % 128 == 0), (initrd[0].first, false), "they have to share a range: {initrd:?}");
    // The kernel goes elsewhere, and a diary to where it was.
    fs::write(path.join("p1"), pc.disks[0].bytes(2048..18_432)).unwrap();
    fs::write(path.join("script"), "rm boot/kernel\nwrite diary diary\nwrite kernel boot/kernel\n").unwrap();
    let said = tools::shell(path, "head -c 5000000 /dev/urandom >diary; debugfs -w -f script p1 2>&1; e2fsck -fn p1");
    assert!(!said.contains("Could not"), "{said}");
    let part = fs::read(path.join("p1")).unwrap();
    pc.disks[0].poke(2048 * SECTOR as u64, &part);
    let diary = seals::sectors_of(&part, 0, "diary");
    assert!(diary.contains(&(kernel_end - 1)), "the diary stands where the kernel ended");
    // Damage in the middle of the other files.
    let middle = |file: &str| runs(file).iter().map(|r| r.first + r.sectors / 2).next_back().unwrap();
    for file in ["boot/initrd", "boot/far"] {
        let at = 2048 + middle(file);
        let other = pc.disks[0].sector(at).map(|b| !b);
        pc.disks[0].poke(at * SECTOR as u64, &other);
    }
    pc.writes.clear();
    assert_eq!(word(&pc.start()), "hold 8", "{:#?}", pc.lines);
    let said = line(&pc, "4");
    assert!(said.contains("it may stand elsewhere now") && said.contains("; mended: 1 range"), "{said}");
    assert!(said.contains("/boot/initrd: not while the rest of a file in it can't be mended"), "{said}");
    let mut written = pc.writes.iter().flat_map(|&(_, at, sectors)| at - 2048..at - 2048 + sectors as u64);
    let far = runs("boot/far");
    let stray = written.find(|sector| !far.iter().any(|run| (run.first..run.end()).contains(sector)));
    assert_eq!(stray, None, "only boot/far is mended: {:?}", pc.writes);
    fs::write(path.join("p1"), pc.disks[0].bytes(2048..18_432)).unwrap();
    let dump = |file: &str| {
        format!("debugfs -R 'dump {file} now' p1 2>/dev/null; cmp now {}", file.trim_start_matches("boot/"))
    };
    tools::shell(path, &format!("{}; {}; {}", dump("boot/far"), dump("boot/kernel"), dump("diary")));
}

#[test]
fn a_protected_path_that_is_not_there_is_told_when_the_cd_is_made() {
    let folder = maker("-F 16 -s 2");
    fs::write(
        folder.path().join("logic.txt"),
        "logic 1\ndisk system sectors 50000\n\
         partition P1 on system start 2048 sectors 16384 type 83 image system.img protect tree/kernel tree/kernal\n\
         1 verify P1 else 2\n2 hold \"x\"\n",
    )
    .unwrap();
    let logic = folder.path().join("logic.txt");
    let ran = tools::knownstate(&["build", text(&logic), "-o", text(&folder.path().join("x.iso"))]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    let told = ["system.img", "tree/kernal", "no such file"].iter().all(|word| ran.err.contains(word));
    assert!(told, "{}", ran.err);
    assert!(!folder.path().join("x.iso").exists());
    let check = tools::knownstate(&["check", text(&logic)]);
    assert_eq!(check.code, 1, "check has to find what build refuses: {}{}", check.out, check.err);
}

/// Lies in a seal whose hashes are right: no run panics, reads without end, or writes where it must not.
#[test]
fn no_seal_makes_a_run_panic_or_write_elsewhere() {
    for (name, lab) in [("FAT16", fat16()), ("ext4", ext4())] {
        let place = lab.set.places[0];
        let mut before = lab.pc.clone();
        put_seal(&mut before, place, "seal.0", 7, &Protect::All);
        let part = Part::read(&before, place);
        let sectors = seals::sectors_of(&part.bytes, part.start, "seal.0");
        let whole = part.seal(7, &Protect::All);
        let mut endings = BTreeMap::new();
        for seed in 1..=1500 {
            let random = &mut common::hostile::Random::new(seed);
            let mut seal = whole.clone();
            let blocks = whole.len() / SECTOR;
            for _ in 0..=random.below(3) {
                let block = if random.below(2) == 0 { 0 } else { random.below(blocks) };
                common::hostile::damage(random, &mut seal, &[block], SECTOR);
                let bytes = &mut seal[block * SECTOR..][..SECTOR];
                let sequence = u64::from_le_bytes(whole[16..24].try_into().unwrap());
                if block > 0 {
                    seals::rehash(bytes, sequence, block as u64 - 1);
                } else {
                    let own = knownstate_core::hash::hash(0, &bytes[..SECTOR - 8]);
                    bytes[SECTOR - 8..].copy_from_slice(&own.to_le_bytes());
                }
            }
            let mut pc = before.clone();
            for (sector, content) in sectors.iter().zip(seal.chunks(SECTOR)) {
                pc.disks[0].poke(sector * SECTOR as u64, content);
            }
            if random.below(3) == 0 {
                lab.spoil(&mut pc, 0, random.below(lab.layout.sectors as usize) as u64);
            }
            let ran = std::panic::catch_unwind(move || word(&pc.start()));
            *endings.entry(ran.unwrap_or_else(|_| panic!("{name}, seed {seed} replays this"))).or_insert(0) += 1;
        }
        assert!(endings.len() == 3, "{name}: the lies are one-sided: {endings:?}");
    }
}

/// Names as long as the file, without an end of a line: they are read once, and told to nobody.
#[test]
fn names_without_an_end_cost_no_memory() {
    let lab = fat32();
    let mut pc = lab.pc.clone();
    let part = Part::read(&pc, lab.set.places[0]);
    let whole = part.seal(9, &Protect::All);
    let header = knownstate_core::table::Header::parse(&whole).unwrap();
    let names_at = header.names_at as usize;
    let sectors = seals::sectors_of(&part.bytes, part.start, "seal.0");
    let mut seal = whole[..names_at].to_vec();
    seal.resize(sectors.len() * SECTOR, b'x');
    let names_bytes = (seal.len() - names_at) as u32;
    let header = knownstate_core::table::Header { names_bytes, file_bytes: seal.len() as u64, ..header };
    seal[..SECTOR].copy_from_slice(&header.to_sector());
    for (sector, content) in sectors.iter().zip(seal.chunks(SECTOR)) {
        pc.disks[0].poke(sector * SECTOR as u64, content);
    }
    let chunk = *lab.chunks().last().unwrap();
    lab.spoil(&mut pc, 0, chunk.first);
    assert_eq!(word(&pc.start()), "hold healed", "{:#?}", pc.lines);
    let place = format!("(not as sealed: sectors {} to {})", chunk.first, chunk.first + u64::from(chunk.sectors) - 1);
    assert!(line(&pc, "1").ends_with(&place), "{}", line(&pc, "1"));
}

/// Damage where a seal is looked for and in it: directories, tables, inodes, chains. Whatever `verify` then calls
/// good is what was shipped, and no run is without end.
#[test]
fn no_damage_around_the_seals_passes_for_good() {
    for (name, lab) in labs() {
        let mut before = lab.pc.clone();
        for (file, sequence) in [("seal.0", 7), ("seal.1", 6)] {
            put_seal(&mut before, lab.set.places[0], file, sequence, &Protect::All);
        }
        let seals = seal_sectors(lab);
        let is_metadata = |run: &&knownstate_core::layout::Run| {
            lab.layout.owner(run).is_some_and(|owner| owner == "/" || !owner.starts_with('/'))
        };
        let metadata: Vec<u64> =
            lab.layout.runs.iter().filter(is_metadata).flat_map(|r| r.first..r.end().min(r.first + 40)).collect();
        let places: Vec<u64> = metadata.into_iter().chain(seals).collect();
        let mut endings = BTreeMap::new();
        for seed in 1..=700 {
            let random = &mut common::hostile::Random::new(seed);
            let mut pc = before.clone();
            let sector = *random.pick(&places);
            let at = lab.start(0) + sector;
            let mut content = pc.disks[0].bytes(at..at + 2);
            common::hostile::damage(random, &mut content, &[0], SECTOR);
            pc.disks[0].poke(at * SECTOR as u64, &content);
            if random.below(6) == 0 {
                pc.disks[0].unreadable.insert(lab.start(0) + *random.pick(&places));
            }
            if random.below(3) == 0 {
                lab.spoil(&mut pc, 0, *random.pick(&places));
            }
            let ran = std::panic::catch_unwind(move || {
                let ending = word(&pc.start());
                (ending, pc)
            });
            let (ending, pc) = ran.unwrap_or_else(|_| panic!("{name}, seed {seed} replays this"));
            if ending != "hold bad" {
                assert_eq!(lab.not_shipped(&pc, 0), None, "{name}, seed {seed}: {:#?}", pc.lines);
            }
            *endings.entry(ending).or_insert(0) += 1;
        }
        assert!(endings.len() >= 2, "{name}: the damage is one-sided: {endings:?}");
    }
}
