//! What the power is cut in: every path of a start, and what the running system writes.

use std::sync::Arc;

use knownstate_core::bstate;

use crate::common::machine::{Disk, Happened, Pc};
use crate::common::{record, tools};
use crate::world::{EXTRA, Flow, World};
use knownstate_core::units::SECTOR;

/// A machine and what is done with it.
pub struct Scenario {
    pub name: String,
    pub world: Arc<World>,
    pub before: Pc,
    /// What the running system writes before the next start; nothing where a start is what is cut.
    pub system: Vec<Happened>,
}

const OK: &str = "sequence=7 P1=OK P2=OK restores=0";
const FAILED: &str = "sequence=7 P1=Dirty P1.failures=3 P2=Dirty P2.failures=3 restores=0";

/// All of them.
pub fn all() -> Vec<Scenario> {
    let mut all = Scenarios { list: Vec::new() };
    for (flow, name) in [(Flow::Figure4, "figure4"), (Flow::Default, "default")] {
        let world = Arc::new(World::new(flow, false));
        all.starts(&world, name);
        all.damage(&world, name);
        all.whose(&world, name);
        all.records(&world, name);
        all.reports(&world, name);
        match flow {
            Flow::Figure4 => all.one_partition(&world),
            _ => all.default_alone(&world),
        }
        let one_image = Arc::new(World::new(flow, true));
        all.starts(&one_image, &format!("{name}, one image"));
        all.damage(&one_image, &format!("{name}, one image"));
    }
    all.list
}

struct Scenarios {
    list: Vec<Scenario>,
}

impl Scenarios {
    fn add(&mut self, flow: &str, name: &str, world: &Arc<World>, before: Pc) {
        self.add_system(flow, name, world, before, Vec::new());
    }

    fn add_system(&mut self, flow: &str, name: &str, world: &Arc<World>, mut before: Pc, system: Vec<Happened>) {
        // Somebody's disk of the same size, with marks, stands beside it in all of them.
        before.disks.push(somebodys(before.disks[0].info.sectors));
        self.add_alone(flow, name, world, before, system);
    }

    /// Where there is one disk only.
    fn add_alone(&mut self, flow: &str, name: &str, world: &Arc<World>, mut before: Pc, system: Vec<Happened>) {
        before.cd = world.set.iso.clone();
        before.disks[0].allowed.extend(world.marks.iter().map(|(at, _)| *at..at + 1));
        before.happened = Some(Vec::new());
        self.list.push(Scenario { name: format!("{flow}: {name}"), world: world.clone(), before, system });
    }

    /// Every path that depends on bstate.txt and on the MBR alone.
    fn starts(&mut self, world: &Arc<World>, flow: &str) {
        self.add(flow, "blank disk", world, world.set.blank());
        for (name, states) in [
            ("boot P1", OK),
            ("boot P1 after a crash", "sequence=7 P1=Clean P2=OK restores=0"),
            ("boot P1 after a boot that was not confirmed", "sequence=7 P1=Dirty P1.failures=1 P2=OK restores=0"),
            ("boot P2", "sequence=7 P1=Dirty P1.failures=3 P2=OK restores=0"),
            ("boot P2 after a crash", "sequence=7 P1=Dirty P1.failures=3 P2=Clean restores=2"),
            ("restore because both have failed", FAILED),
            ("restore for the sixth time", "sequence=7 P1=Dirty P1.failures=3 P2=Dirty P2.failures=3 restores=5"),
        ] {
            let mut pc = world.with_states(states);
            // A restore has to write something.
            if name.starts_with("restore") {
                (0..2).for_each(|n| world.use_up(&mut pc, n));
            }
            self.add(flow, name, world, pc);
        }
        let mut full = world.set.blank();
        let sectors = full.disks[0].info.sectors;
        (0..sectors).for_each(|lba| full.disks[0].poke(lba * SECTOR as u64, &[0xF6; SECTOR]));
        self.add(flow, "a disk full of one byte", world, full);
        let mbr = |at: u64, bytes: &[u8]| {
            let mut pc = world.with_states(OK);
            // What these mean for the partitions is nobody's business: figure 4 restores them.
            if world.flow == Flow::Figure4 {
                (0..2).for_each(|n| world.use_up(&mut pc, n));
            }
            pc.disks[0].poke(at, bytes);
            pc
        };
        self.add(flow, "no MBR", world, mbr(0, &[0; SECTOR]));
        self.add(flow, "MBR of garbage", world, mbr(0, &[0x5A; 440]));
        self.add(flow, "other boot code", world, mbr(0, b"virus"));
        self.add(flow, "no partition active", world, mbr(446, &[0]));
        self.add(flow, "no 55AA", world, mbr(510, &[0, 0]));
    }

    /// Damaged copies.
    fn damage(&mut self, world: &Arc<World>, flow: &str) {
        for (name, places) in [
            ("P1 is damaged in one place", &[(0, 0.3, 1)][..]),
            ("P2 is damaged in one place", &[(1, 0.3, 1)]),
            ("P1 is damaged in many places", &[(0, 0.1, 1), (0, 0.5, 9), (0, 0.9, 2)]),
            ("both are damaged in different places", &[(0, 0.2, 3), (1, 0.7, 3)]),
            ("both are damaged in the same file", &[(0, 0.5, 4), (1, 0.5, 4)]),
            ("P1's filesystem is gone", &[(0, 0.0, 8)]),
            ("P2's filesystem is gone", &[(1, 0.0, 8)]),
            ("both filesystems are gone", &[(0, 0.0, 8), (1, 0.0, 8)]),
        ] {
            let mut pc = world.with_states(OK);
            places.iter().for_each(|&(n, share, sectors)| spoil(world, &mut pc, n, share, sectors));
            self.add(flow, name, world, pc);
        }
        for (name, which) in [("P1 has no boot sector", 0..1), ("neither has a boot sector", 0..2)] {
            let mut pc = world.with_states(OK);
            for n in which {
                pc.disks[0].poke(world.set.places[n].0 * SECTOR as u64, &[0; SECTOR]);
                spoil(world, &mut pc, n, 0.6, 2);
            }
            self.add(flow, name, world, pc);
        }
    }

    /// Disks that something else than their table proves to be ours, that are adopted, or that carry what is not ours.
    fn whose(&mut self, world: &Arc<World>, flow: &str) {
        let failed = || {
            let mut pc = world.with_states(FAILED);
            (0..2).for_each(|n| world.use_up(&mut pc, n));
            pc
        };
        let mut pc = failed();
        pc.disks[0].poke(0, &[0; SECTOR]);
        self.add(flow, "restore of what its files alone prove to be ours", world, pc);
        let restore = "
              verify mbr of system else 1
              verify P1        else 1
              set P1 Dirty
              boot P1
            1 restore system   else 9
              restart
            9 hold \"no\"\n";
        if world.flow == Flow::Figure4 {
            let mut pc = failed();
            pc.disks[0].poke(0, &[0; SECTOR]);
            self.add(
                "own",
                "restore at once of what its files prove to be ours",
                &Arc::new(world.with_steps(restore)),
                pc,
            );
        }
        let (last, end) = (world.set.disk_sectors - 1, world.set.places[1].0 + world.set.places[1].1);

        // A physical volume's label in the gap before P1, and a RAID's superblock that P2's image leaves free.
        let mut marked = World::clone(world);
        marked.marks = vec![(1, &LABEL[..8]), (end - 16, &RAID[..4])];
        let mut pc = failed();
        pc.disks[0].poke(SECTOR as u64, LABEL);
        pc.disks[0].poke((end - 16) * SECTOR as u64, RAID);
        self.add(flow, "restore over old marks", &Arc::new(marked), pc);

        // What somebody has made of the room behind P2.
        let entry = |start: u64, sectors: u64| {
            let words = [start as u32, sectors as u32].map(u32::to_le_bytes).concat();
            <[u8; 16]>::try_from([&[0, 0, 0, 0, 0x83, 0, 0, 0][..], &words].concat()).expect("16 bytes")
        };
        let mut extended = World::clone(world);
        extended.extra = Some(entry(end + 8, 1024));
        let mut pc = failed();
        pc.disks[0].poke(446 + 16 * EXTRA as u64, &entry(end + 8, 1024));
        // An ext superblock's magic (Linux Documentation/filesystems/ext4, "Super Block").
        pc.disks[0].poke((end + 8) * SECTOR as u64 + 1024 + 56, &[0x53, 0xEF]);
        self.add(flow, "restore beside somebody's partition", &Arc::new(extended), pc);

        // Somebody has encrypted the whole disk (cryptsetup, LUKS2 On-Disk Format, section 2.1); our files are there
        // still.
        let mut taken = World::clone(world);
        taken.marks = vec![(0, b"LUKS\xba\xbe")];
        let mut pc = failed();
        pc.disks[0].poke(0, &[0; SECTOR]);
        pc.disks[0].poke(0, b"LUKS\xba\xbe\x00\x02");
        pc.disks[0].allowed.clear();
        self.add(flow, "somebody took the disk", &Arc::new(taken), pc);

        // A GPT, which goes only where logic.txt says so and where no other used disk is.
        let mut adopting = world.with_disk("adopt");
        adopting.adopts = true;
        adopting.marks = vec![(1, b"EFI PART"), (last, b"EFI PART")];
        let adopting = Arc::new(adopting);
        self.add_alone(flow, "a disk with a GPT is adopted", &adopting, gpt(world), Vec::new());
    }

    /// Copies of bstate.txt that do not agree.
    fn records(&mut self, world: &Arc<World>, flow: &str) {
        let sector = |lines: &str| record::sector(lines).to_vec();
        let typed = |text: &str| record::padded(text).to_vec();
        for (name, first, second) in [
            ("the first copy is newer", sector("sequence=9 P1=Dirty P1.failures=3 P2=OK restores=0"), sector(OK)),
            ("the second copy is newer", sector(OK), sector("sequence=9 P1=Dirty P1.failures=3 P2=Clean restores=0")),
            ("copies of one age differ", sector(OK), sector("sequence=7 P1=Dirty P1.failures=3 P2=Clean restores=3")),
            ("the first copy is garbage", vec![0xA5; SECTOR], sector("sequence=9 P1=Clean P2=OK restores=1")),
            ("no copy is readable", vec![0xA5; SECTOR], vec![0; SECTOR]),
            (
                "the sequence passes 8 bits",
                sector("sequence=255 P1=Clean P2=OK restores=0"),
                sector("sequence=254 P1=OK P2=OK restores=0"),
            ),
            (
                "the sequence passes 32 bits",
                sector("sequence=4294967295 P1=OK P2=Clean restores=0"),
                sector("sequence=4294967295 P1=OK P2=Clean restores=0"),
            ),
            ("the sequence ends", sector("sequence=18446744073709551615 P1=OK P2=OK restores=0"), sector(OK)),
            ("P1 typed Dirty by hand", typed("P1=Dirty\nP1.failures=3\nP2=ok\n"), sector(OK)),
            ("P1 typed Dirty and no more", typed("P1=Dirty\nP2=ok\n"), sector(OK)),
            (
                "a wish, and hand-offs that are counted",
                sector("sequence=8 set=5A17C0DE boots=7 next=P2 P1=OK P1.proved=7 P2=OK P2.trial=1 restores=0"),
                sector("sequence=7 set=5A17C0DE boots=6 P1=OK P1.proved=6 P2=OK colour=red restores=0"),
            ),
            (
                "copies of two restores",
                sector("sequence=9 set=5A17C0DE boots=2 P1=OK P2=OK restores=1"),
                sector("sequence=7 set=0C0DE000 boots=9 P1=Dirty P1.failures=3 P2=OK restores=0"),
            ),
            ("P2 typed by hand in its copy", sector(FAILED), typed("P2 = clean\r\n\r\nP1.failures=3\nP1=Dirty\r\n")),
        ] {
            let mut pc = world.with_states(OK);
            world.set.put_state(&mut pc, 0, &first);
            world.set.put_state(&mut pc, 1, &second);
            self.add(flow, name, world, pc);
        }
    }

    /// What the running system writes: as `bstate` does, copy by copy.
    fn reports(&mut self, world: &Arc<World>, flow: &str) {
        for (name, states, change) in [
            ("booted", "sequence=7 booting=P1 P1=Dirty P1.failures=1 P2=OK restores=1", report("booted")),
            ("shutdown", "sequence=7 booting=P1 P1=Clean P2=OK restores=0", report("shutdown")),
            ("booted from P2", "sequence=7 booting=P2 P1=Dirty P1.failures=3 P2=Dirty restores=0", report("booted")),
            ("set P1 Dirty", "sequence=7 booting=P1 P1=Clean P2=OK restores=0", report("set")),
        ] {
            let pc = world.with_states(states);
            let Ok(bstate::Parsed::Valid(mut record)) = bstate::Record::parse(&world.set.state(&pc, 0)) else {
                panic!("{states} is no record");
            };
            record.sequence += 1;
            change(&mut record);
            let places = (0..2).map(|n| (world.set.state_at(n), record.to_sector().to_vec()));
            let system = writes(places);
            self.add_system(flow, &format!("the system reports: {name}"), world, pc, system);
        }
        let mut updated = World::clone(world);
        updated.update(0);
        let mut pc = world.with_states("sequence=7 booting=P1 P1=Clean P2=OK restores=0");
        let system = writes(updated.updated(&mut pc, 0).into_iter());
        self.add_system(flow, "the system seals an update", &Arc::new(updated), pc, system);
    }

    /// What only the shipped default does.
    fn default_alone(&mut self, world: &Arc<World>) {
        let states = "sequence=7 P1=Dirty P1.failures=3 P2=Dirty P2.failures=3 restores=10";
        self.add("default", "restored ten times", world, world.with_states(states));
        let (header, entries) = (world.set.image_file(0).1, world.set.image_file(0).2);
        // In the middle of the longest pack, whose other bytes say the same as before.
        let pack = entries.iter().filter_map(|entry| entry.place).max_by_key(|pack| pack.bytes);
        let pack = pack.expect("an image has packs");
        let at = pack.at as usize * 2048 + pack.bytes as usize / 2;
        assert!((at as u64) < header.file_bytes, "the pack is in the file");
        let mut damaged = World::clone(world);
        damaged.set = world.set.with_damaged_image(0, at);
        let damaged = Arc::new(damaged);
        self.add("default", "the CD is damaged, boot P1", &damaged, world.with_states(OK));
        let mut pc = world.with_states(OK);
        spoil(world, &mut pc, 1, 0.4, 3);
        self.add("default", "the CD is damaged, P2 is mended", &damaged, pc);
        let mut pc = world.with_states(OK);
        world.body(0).iter().for_each(|at| pc.disks[0].poke((world.set.places[0].0 + at) * SECTOR as u64 + 70, b"x"));
        self.add("default", "the CD is damaged, P1 can't be mended", &damaged, pc);
    }

    /// `restore P`, `heal` alone, `activate` alone.
    fn one_partition(&mut self, world: &Arc<World>) {
        let restore = "
              verify mbr of system else 8
            1 verify P2        else 2
              if P2 is OK      else 2
              set P2 Dirty
              boot P2
            2 restore P2       else 9
              restart
            8 repair mbr of system else 9
              goto 1
            9 hold \"no\"\n";
        let other = Arc::new(world.with_steps(restore));
        self.add("own", "restore P2", &other, world.with_states("sequence=7 P1=OK P2=Dirty P2.failures=2 restores=3"));
        let activate = "
              verify mbr of system else 8
            1 activate P2      else 9
              set P2 Dirty
              boot P2
            8 repair mbr of system else 9
              goto 1
            9 hold \"no\"\n";
        let other = Arc::new(world.with_steps(activate));
        self.add("own", "activate P2", &other, world.with_states(OK));
        let repair = "
              repair mbr of system else 9
              set P1 Dirty
              boot P1
            9 hold \"no\"\n";
        let other = Arc::new(world.with_steps(repair));
        let mut pc = world.with_states(OK);
        pc.disks[0].poke(0, &[0; SECTOR]);
        self.add("own", "repair of the MBR", &other, pc);
        let heal = "
            1 verify P1        else 2
            3 set P1 Dirty
              boot P1
            2 heal P1 from P2  else 9
              goto 3
            9 hold \"no\"\n";
        let other = Arc::new(world.with_steps(heal));
        let mut pc = world.with_states(OK);
        spoil(world, &mut pc, 0, 0.2, 30);
        pc.disks[0].poke(world.set.places[0].0 * SECTOR as u64, &[0; SECTOR]);
        self.add("own", "heal P1 from the boot sector on", &other, pc);
    }
}

/// Turns bytes over in `sectors` of partition `n`, from this share of what must be right on.
fn spoil(world: &World, pc: &mut Pc, n: usize, share: f64, sectors: usize) {
    let body = world.body(n);
    let first = (body.len() as f64 * share) as usize;
    for at in &body[first..(first + sectors).min(body.len())] {
        let lba = world.set.places[n].0 + at;
        // Not the same in both partitions: what one has wrong is no use to the other.
        let bytes = pc.disks[0].sector(lba).map(|byte| !byte ^ n as u8);
        pc.disks[0].poke(lba * SECTOR as u64, &bytes);
    }
}

type Change = fn(&mut bstate::Record);

fn report(what: &str) -> Change {
    match what {
        "booted" => |record| {
            let name = record.booting.clone();
            record.report_booted(&name);
        },
        "shutdown" => |record| {
            let name = record.booting.clone();
            record.report_shutdown(&name);
        },
        _ => |record| {
            if let Some(partition) = record.get_mut("P1") {
                partition.say(bstate::State::Dirty);
            }
        },
    }
}

fn writes(places: impl Iterator<Item = (u64, Vec<u8>)>) -> Vec<Happened> {
    places.map(|(at, data)| Happened::Wrote { disk: 0, at, data, taken: true }).collect()
}

/// LVM2 lib/label/label.h: `struct label_header`.
const LABEL: &[u8] = b"LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\xb9\xdd\x16\x96\x20\x00\x00\x00LVM2 001";

/// Linux md_p.h: magic, major version 1.
const RAID: &[u8] = &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0];

/// A blank disk on which sgdisk has made a GPT.
fn gpt(world: &World) -> Pc {
    let mut pc = world.set.blank();
    let folder = tools::temporary();
    let path = folder.path().join("gpt.img");
    pc.disks[0].dump(&path);
    tools::must("sgdisk", &["-n", "1:2048:3000", tools::text(&path)]);
    let made = Disk::load(pc.disks[0].info.drive, &path);
    pc.disks[0].sectors = made.sectors;
    pc
}

/// A disk with a GPT (UEFI specification 2.10, section 5.3.2), which nothing may be written on.
fn somebodys(sectors: u64) -> Disk {
    let mut disk = Disk::blank(0x81, sectors);
    disk.poke(SECTOR as u64, b"EFI PART");
    disk
}
