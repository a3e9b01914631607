//! Every write of a restore, a heal, a change of state and a repair is recorded, and the disk made as it would be
//! had the power gone after it, in the middle of it, or before it got from the drive's cache to the medium. Each of
//! these disks is booted again by the same CD, and has to come up, in the very steps that `simulate` tells.
//!
//! A failure names the cut; `CUT=SCENARIO:WRITE:HOW cargo test --release --test qemu prefixes` plays it again
//! alone, and shows what the machine says.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use knownstate_core::bstate::{Partition, Record, State};

use crate::small::*;

/// One write: its first sector, and its bytes.
type Write = (u64, Vec<u8>);

/// How a write ended when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It was the last one, and is all there.
    Done,
    /// Half of it is there: half of its sectors, or half of the bytes of its only one.
    Torn,
    /// It was lost, and the one after it was not.
    Lost,
}

/// The writes in a log of QEMU's block/blklogwrites.c, which is that of Linux's dm-log-writes
/// (Documentation/admin-guide/device-mapper/log-writes.rst): a superblock of one sector, then for each write a
/// sector with four numbers of 64 bits (first sector, sectors, flags, length of data) and what was written.
/// The superblock is written when QEMU ends in order, so the log is read to its end.
fn writes(log: &Path) -> Vec<Write> {
    const DISCARD: u64 = 4;
    let log = fs::read(log).expect("QEMU has written it");
    let (mut at, mut writes) = (SECTOR, Vec::new());
    while let Some(header) = log.get(at..at + SECTOR) {
        let number = |n: usize| u64::from_le_bytes(header[8 * n..8 * n + 8].try_into().expect("eight bytes"));
        let (first, sectors, flags) = (number(0), number(1), number(2));
        assert_eq!(flags & DISCARD, 0, "the BIOS has nothing to discard with");
        let data = log.get(at + SECTOR..at + SECTOR + sectors as usize * SECTOR).expect("the log is whole");
        at += SECTOR + data.len();
        if sectors > 0 {
            writes.push((first, data.to_vec()));
        }
    }
    writes
}

fn put(disk: &mut [u8], at: u64, data: &[u8]) {
    disk[at as usize * SECTOR..][..data.len()].copy_from_slice(data);
}

/// The disk after a cut at write `n`, from 1.
fn disk_after(before: &[u8], writes: &[Write], n: usize, cut: Cut) -> Vec<u8> {
    let mut disk = before.to_vec();
    for (at, data) in &writes[..n - 1] {
        put(&mut disk, *at, data);
    }
    let (at, data) = &writes[n - 1];
    match cut {
        Cut::Done => put(&mut disk, *at, data),
        Cut::Torn if data.len() > SECTOR => put(&mut disk, *at, &data[..data.len() / SECTOR / 2 * SECTOR]),
        Cut::Torn => put(&mut disk, *at, &data[..SECTOR / 2]),
        Cut::Lost => writes.get(n).iter().for_each(|(at, data)| put(&mut disk, *at, data)),
    }
    disk
}

/// One cut of a scenario, and the disk that it leaves.
struct Prefix {
    name: String,
    disk: Vec<u8>,
}

/// Every cut that leaves a disk that no other one has left.
fn prefixes(name: &str, before: &[u8], writes: &[Write]) -> Vec<Prefix> {
    let only = std::env::var("CUT").ok();
    let mut seen = HashSet::from([before.to_vec()]);
    let cuts = (1..=writes.len()).flat_map(|n| [Cut::Done, Cut::Torn, Cut::Lost].map(|cut| (n, cut)));
    let prefix = |(n, cut)| Prefix { name: format!("{name}:{n}:{cut:?}"), disk: disk_after(before, writes, n, cut) };
    cuts.map(prefix)
        .filter(|prefix| seen.insert(prefix.disk.clone()))
        .filter(|prefix| only.as_ref().is_none_or(|only| *only == prefix.name))
        .collect()
}

/// Records what the CD does to a disk until that comes up, and cuts it everywhere.
#[track_caller]
fn survives(name: &str, cd: &Path, before: &[u8], steps: &[&str]) {
    let begun = Instant::now();
    let writes = record(name, cd, before, steps);
    let prefixes = prefixes(name, before, &writes);
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // Two at a time: most of a start is one processor's work.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(prefix) = prefixes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = comes_up(cd, prefix) {
                        failures.lock().expect("nobody panics").push(why);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody has panicked");
    let (cuts, seconds) = (prefixes.len(), begun.elapsed().as_secs_f32());
    println!("{name}: {} writes, {cuts} cuts, {} failures, {seconds:.0} s", writes.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// One start of a disk with the CD.
fn comes_up(cd: &Path, prefix: &Prefix) -> Result<(), String> {
    let path = folder().join(format!("{}.img", prefix.name.replace(':', "-")));
    let simulated = path.with_extension("simulated.img");
    for path in [&path, &simulated] {
        fs::write(path, &prefix.disk).expect("a disk can be written");
    }
    let said = start(&plain(cd, "cd"), &plain(&path, "d"), AHCI, &[], PATIENCE);
    if std::env::var_os("CUT").is_some() {
        eprintln!("{}", said.text);
    }
    let after = fs::read(&path).expect("it is there");
    is_up(&said, &after)
        .and_then(|()| same_simulated(cd, &simulated, &said, &after))
        .map_err(|why| format!("CUT={}: {why}:\n{}", prefix.name, said.text))?;
    for path in [path, simulated] {
        fs::remove_file(path).expect("it is ours");
    }
    Ok(())
}

/// What it writes, each where it may.
#[track_caller]
fn record(name: &str, cd: &Path, before: &[u8], steps: &[&str]) -> Vec<Write> {
    let [disk, log] = ["img", "log"].map(|kind| folder().join(format!("{name}.{kind}")));
    fs::write(&disk, before).expect("a disk can be written");
    fs::write(&log, []).expect("a log can be made");
    let drive = format!(
        "driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename={},log.driver=file,\
        log.filename={},if=none,id=d",
        disk.display(),
        log.display()
    );
    let said = start(&plain(cd, "cd"), &drive, AHCI, &[], PATIENCE);
    for step in steps {
        assert!(said.text.contains(step), "no `{step}` in {name}:\n{}", said.text);
    }
    let after = fs::read(&disk).expect("it is there");
    is_up(&said, &after).unwrap_or_else(|why| panic!("{name}, not cut: {why}:\n{}", said.text));
    let writes = writes(&log);
    let replayed = disk_after(before, &writes, writes.len(), Cut::Done);
    assert!(replayed == after, "the log of {name} has not all that was written");
    for (at, data) in &writes {
        let end = at + (data.len() / SECTOR) as u64;
        let declared = STARTS.iter().any(|start| *start <= *at && end <= start + LENGTH);
        // A restore leaves a note in sector 0, and in the sector before the first partition.
        let note = end == at + 1 && [0, STARTS[0] - 1].contains(at);
        assert!(declared || note, "{name} writes sectors {at} to {end}, which are not declared");
    }
    writes
}

fn record_of(p1: Partition, p2: Partition) -> Record {
    Record { sequence: 100, partitions: vec![p1, p2], ..Record::default() }
}

#[test]
fn a_restore_may_be_cut_at_every_write() {
    survives("restore", cd(), &blank(), &["260 restore system = ok"]);
}

/// Both partitions are damaged, the first one in many places.
#[test]
fn a_heal_may_be_cut_at_every_write() {
    let mut disk = restored();
    let files = ["f00", "f10", "f20", "last"];
    let places = [0, 1].map(|n| files.map(|file| place(n, file)).into_iter().chain([STARTS[n]]));
    for at in places.into_iter().flatten() {
        sector_mut(&mut disk, at).copy_from_slice(&noise(at, SECTOR));
    }
    survives("heal", cd(), &disk, &["220 heal P1 from P2 = ok", "214 heal P2 from P1 = ok"]);
}

/// P1 has failed three times, so P2 is made active and booted.
#[test]
fn a_change_of_state_may_be_cut_at_every_write() {
    let p1 = Partition { state: State::Dirty, failures: 3, ..Partition::ok("P1") };
    let disk = with_record(&record_of(p1, Partition::ok("P2")));
    survives("state", cd(), &disk, &["232 activate P2 = ok", "240 set P2 Dirty = ok", "242 boot P2"]);
}

#[test]
fn a_repair_of_the_mbr_may_be_cut_at_every_write() {
    let mut disk = restored();
    sector_mut(&mut disk, 0).copy_from_slice(&noise(1, SECTOR));
    survives("repair", cd(), &disk, &["204 repair mbr of system = ok"]);
}

/// P1 can't be healed and is known to have failed, P2 is good.
#[test]
fn a_restore_of_one_partition_may_be_cut_at_every_write() {
    let heal = "220 heal P1 from P2          else 222";
    assert!(logic().contains(heal), "default.txt has changed");
    let cd = cd_with("one-restored", &logic().replace(heal, "220 goto 222"));
    let p1 = Partition { state: State::Dirty, failures: 3, ..Partition::ok("P1") };
    let mut disk = with_record(&record_of(p1, Partition::ok("P2")));
    disk[STARTS[0] as usize * SECTOR..][..LENGTH as usize * SECTOR].fill(0xF6);
    survives("one", &cd, &disk, &["228 restore P1 = ok"]);
}
