//! The power goes during every write of a run; whatever is left on the disk, the next starts have to
//! come to a hand-off from a partition that is what the image is.

mod common;

use common::images::{self, Set, figure4_set};
use common::machine::{Cut, Pc, Torn, word};
use common::{record, tools};

/// Starts that may be needed after a cut: one to restore, one to boot, one to spare.
const STARTS: usize = 3;

/// Every cut of a write of so many sectors that is worth telling apart.
fn cuts(write: usize, sectors: usize) -> Vec<Cut> {
    let mut places = vec![0, sectors / 2, sectors - 1];
    places.dedup();
    let torn = [Torn::Old, Torn::Half, Torn::Garbage, Torn::Unreadable];
    let all = places.into_iter().flat_map(|sectors| torn.map(|next| Cut { write, sectors, next }));
    all.collect()
}

/// Cuts the power at every write of a run from `before`, and looks at what the next starts make of it.
fn survives(name: &str, set: &Set, before: &Pc) {
    let mut whole = before.clone();
    whole.start();
    let writes = whole.writes.clone();
    let of_disk = whole.log().contains(&"256 restore system = ok");
    assert!(!writes.is_empty(), "{name}: the run writes nothing: {:#?}", whole.lines);
    for (n, &(_, _, sectors)) in writes.iter().enumerate() {
        for cut in cuts(n, sectors) {
            let mut pc = before.clone();
            pc.cut = Some(cut);
            pc.start();
            let name = format!("{name}, {cut:?} of {} writes", writes.len());
            assert!(pc.off, "{name}: the same run without a cut wrote more often");
            nothing_half_written_is_bootable(&name, set, of_disk, before, &pc);
            pc.cut = None;
            comes_up(&name, set, &mut pc);
        }
    }
}

/// As the cut left the disk: a partition that is neither what it was nor what the image is has no boot
/// sector, and if the whole disk was being restored, there is no MBR.
fn nothing_half_written_is_bootable(name: &str, set: &Set, of_disk: bool, before: &Pc, after: &Pc) {
    let boots = |pc: &Pc, at: u64| {
        let sector = pc.disks[0].sector(at);
        sector[0] != 0 && sector[510..] == [0x55, 0xAA]
    };
    for (n, &(start, sectors)) in set.places.iter().enumerate() {
        let state = set.state_at(n) - start;
        let [old, new] = [before, after].map(|pc| pc.disks[0].bytes(start..start + sectors));
        let mut pairs = (0..).zip(old.chunks(512).zip(new.chunks(512)));
        let begun = pairs.any(|(at, (a, b))| at != state && a != b);
        if !begun || set.difference(after, n).is_none() {
            continue;
        }
        assert!(!boots(after, start), "{name}: P{} is half written and has a boot sector", n + 1);
        assert!(!of_disk || !boots(after, 0), "{name}: P{} is half written and there is an MBR", n + 1);
    }
}

fn comes_up(name: &str, set: &Set, pc: &mut Pc) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..STARTS {
        let ending = word(&pc.start());
        said.extend(pc.lines.clone());
        if let Some(entry) = ending.strip_prefix("hand-off 80 entry ") {
            let n = entry.parse::<usize>().unwrap() - 1;
            let differs = set.difference(pc, n);
            assert_eq!(differs, None, "{name}: sector of the booted partition that is not the image's; {said:#?}");
            let state = set.state(pc, n);
            assert!(
                record::lines(&state).is_ok(),
                "{name}: bstate.txt of the booted partition is not valid; {said:#?}"
            );
            return said;
        }
        assert_eq!(ending, "restart", "{name}: neither a hand-off nor a restart; {said:#?}");
    }
    panic!("{name}: no hand-off after {STARTS} starts; {said:#?}");
}

/// A restored machine whose partitions have changed since, to the last sector.
fn used(set: &Set, p1: &str, p2: &str) -> Pc {
    let mut pc = with_states(set, p1, p2);
    for &(start, sectors) in &set.places {
        for at in [sectors / 2, sectors - 1] {
            pc.disks[0].poke((start + at) * 512, b"used");
        }
    }
    pc
}

fn with_states(set: &Set, p1: &str, p2: &str) -> Pc {
    let mut pc = set.restored();
    let sector = record::sector(&format!("sequence=7 P1={p1} P2={p2} restores=0"));
    for n in 0..2 {
        set.put_state(&mut pc, n, &sector);
    }
    pc
}

#[test]
fn any_cut_of_a_restore_or_a_boot_ends_in_a_good_hand_off() {
    let set = figure4_set(1024, "-F 12", 1024, "-t ext2");
    let mut no_mbr = with_states(&set, "OK", "OK");
    no_mbr.disks[0].poke(0, &[0; 512]);
    let mut other_code = used(&set, "OK", "OK");
    other_code.disks[0].poke(0, b"virus");
    for (name, before) in [
        ("blank disk", set.blank()),
        ("restore because both copies are Dirty", used(&set, "Dirty", "Dirty")),
        ("restore because the MBR is gone", no_mbr),
        ("restore because the boot code is another", other_code),
        ("boot of P1", with_states(&set, "OK", "OK")),
        ("boot of P1, which crashed", with_states(&set, "Clean", "OK")),
        ("boot of P2", with_states(&set, "Dirty", "OK")),
    ] {
        survives(name, &set, &before);
    }
}

#[test]
fn any_cut_of_a_restore_of_one_image_to_both_partitions_ends_in_a_good_hand_off() {
    let temporary = tools::temporary();
    images::fat(temporary.path(), "system.img", 640, "-F 12");
    let set = images::figure4_on(temporary.path(), [("system.img", "0c"), ("system.img", "0c")]);
    survives("one image on a blank disk", &set, &set.blank());
    survives("one image again", &set, &used(&set, "Dirty", "Dirty"));
}

/// `restore P`: the other partition boots in the meantime.
#[test]
fn any_cut_of_a_partitions_restore_ends_in_a_good_hand_off() {
    let set = figure4_set(512, "-F 12", 512, "-t ext2");
    let steps = "
        1 verify P2        else 2
          if P2 is OK      else 2
          boot P2
        2 restore P2       else 9
          restart
        9 hold \"no\"";
    let one = set.with_logic(&format!("logic 1\n{}{steps}", set.declarations()));
    let mut before = with_states(&set, "OK", "Dirty");
    before.cd = one.iso.clone();
    survives("restore P2", &one, &before);
}

#[test]
fn any_cut_of_the_default_flow_ends_in_a_good_hand_off() {
    let set = figure4_set(512, "-F 12", 512, "-t ext2").with_shipped("default.txt");
    let damaged = |p1: &str, p2: &str, partitions: &[usize]| {
        let mut pc = with_states(&set, p1, p2);
        for &n in partitions {
            pc.disks[0].poke(set.places[n].0 * 512 + 510, &[0, 0]);
        }
        pc
    };
    let mut no_mbr = with_states(&set, "OK", "OK");
    no_mbr.disks[0].poke(446, &[0; 66]);
    for (name, before) in [
        ("blank disk", set.blank()),
        ("boot of P1", with_states(&set, "OK", "OK")),
        ("boot of P1, not confirmed before", with_states(&set, "Dirty", "OK")),
        ("repair of the MBR", no_mbr),
        ("P1 found damaged", damaged("OK", "OK", &[0])),
        ("P1 mended", damaged("Dirty", "OK", &[0])),
        ("P2 found damaged", damaged("OK", "OK", &[1])),
        ("P2 mended", damaged("OK", "Dirty", &[1])),
        ("both damaged", damaged("Dirty", "Dirty", &[0, 1])),
    ] {
        survives(name, &set, &before);
    }
}

/// What bounds the number of restores must not be lost on the way.
#[test]
fn no_cut_loses_the_number_of_restores() {
    let set = figure4_set(256, "-F 12", 256, "-t ext2");
    let mut before = set.restored();
    for n in 0..2 {
        set.put_state(&mut before, n, &record::sector("sequence=7 P1=Dirty P2=Dirty restores=5"));
    }
    let mut whole = before.clone();
    whole.start();
    for (n, &(_, _, sectors)) in whole.writes.iter().enumerate() {
        for cut in cuts(n, sectors) {
            let mut pc = before.clone();
            pc.cut = Some(cut);
            pc.start();
            pc.cut = None;
            let name = format!("{cut:?} of {} writes", whole.writes.len());
            let said = comes_up(&name, &set, &mut pc);
            let restores: u32 = record::value(&set.state(&pc, 0), "restores").parse().unwrap();
            assert!(restores >= 6, "{name}: {restores} restores are left of 5 and the one that was cut; {said:#?}");
        }
    }
}
