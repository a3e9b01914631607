//! Every logic file that ships, booted: from blank disks to a system that reports, and then what the file is
//! there for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use knownstate_core::bstate::{Partition, Record, State};

use crate::disk::{P1, PARTITION_SECTORS, iso, peek, poke, run, tools_path};
use crate::guest::{Guest, Machine};
use crate::{comes_up, folder, shut_down};

/// Where P2 and P3 begin in the small disks of these tests.
const P2: u64 = P1 + PARTITION_SECTORS;
const P3: u64 = P2 + PARTITION_SECTORS;

/// A shipped file for disks that are restored quickly, and its CD.
fn cd(name: &str) -> PathBuf {
    let text = fs::read_to_string(format!("iso/logic/{name}.txt")).expect("it is shipped");
    let small = [
        ("2097152", 500_000),
        ("2099200", 502_048),
        ("4194304..", 40_000),
        ("4192256", 8192),
        ("409600", PARTITION_SECTORS),
        ("411648", P2),
        ("821248", P3),
    ];
    let text = small.iter().fold(text, |text, (old, new)| text.replace(old, &new.to_string()));
    iso(&format!("shelf-{name}"), &text)
}

fn blank(name: &str, sectors: u64) -> PathBuf {
    let path = folder("disks").join(format!("shelf-{name}.img"));
    let _ = fs::remove_file(&path);
    File::create(&path).and_then(|f| f.set_len(sectors * 512)).expect("a disk can be made");
    path
}

fn start(name: &str, cd: &Path, disks: &[&Path]) -> Guest {
    let mut machine = Machine::new(cd, cd);
    machine.disks = disks.iter().map(|d| d.to_path_buf()).collect();
    machine.start(&format!("shelf-{name}"))
}

/// From blank disks to an orderly shutdown of `partition`.
fn first_life(name: &str, cd: &Path, disks: &[&Path], partition: &str) {
    let mut guest = start(name, cd, disks);
    guest.expect("- restart = ok");
    comes_up(&mut guest, partition);
    shut_down(guest);
}

/// Puts a record into the copies at these places: how often each partition was set Dirty and never reported.
fn set_failures(disk: &Path, copies: &[u64], failures: &[(&str, u32)]) {
    let partition = |&(name, failures): &(&str, u32)| {
        let state = if failures > 0 { State::Dirty } else { State::Ok };
        Partition { state, failures, ..Partition::ok(name) }
    };
    let record = Record { sequence: 100, partitions: failures.iter().map(partition).collect(), ..Record::default() };
    for &copy in copies {
        // In place: a tool that writes the file anew changes what the seal covers.
        let sectors = peek(disk, copy, PARTITION_SECTORS);
        let at = sectors.chunks(512).position(|sector| sector.starts_with(b"sequence=")).expect("it has a bstate.txt");
        poke(disk, copy + at as u64, &record.to_sector());
    }
}

#[test]
fn one_partition_is_mended_from_the_cd_and_put_back_after_three_tries() {
    let (cd, disk) = (cd("one-partition"), blank("one", 500_000));
    first_life("one", &cd, &[&disk], "P1");
    poke(&disk, P1, &[0; 512]);
    let mut guest = start("one-2", &cd, &[&disk]);
    guest.expect("220 heal P1 = ok (1 range: from the CD)");
    comes_up(&mut guest, "P1");
    shut_down(guest);
    set_failures(&disk, &[P1], &[("P1", 3)]);
    let mut guest = start("one-3", &cd, &[&disk]);
    guest.expect("207 if P1 failures below 3 = failed (3)").expect("260 restore system = ok");
    comes_up(&mut guest, "P1");
}

#[test]
fn three_partitions_go_on_to_the_third() {
    let (cd, disk) = (cd("three-partitions"), blank("three", 500_000));
    first_life("three", &cd, &[&disk], "P1");
    set_failures(&disk, &[P1, P2, P3], &[("P1", 3), ("P2", 3), ("P3", 0)]);
    let mut guest = start("three-2", &cd, &[&disk]);
    guest.expect("236 if P2 failures below 3 = failed (3)").expect("272 boot P3 = ok");
    comes_up(&mut guest, "P3");
}

#[test]
fn two_disks_boot_from_the_second_when_the_first_is_gone() {
    let (cd, first, second) = (cd("two-disks"), blank("first", 500_000), blank("second", 502_048));
    first_life("two", &cd, &[&first, &second], "P1");
    let mut guest = start("two-2", &cd, &[&second]);
    guest.expect("202 verify mbr of first = failed (no disk is first: drive 80 is disk second)");
    comes_up(&mut guest, "P2");
    shut_down(guest);
    // It is there again, and its system no longer whole: mended from the other disk, in another order too.
    poke(&first, P1, &[0; 512]);
    let mut guest = start("two-3", &cd, &[&second, &first]);
    guest.expect("220 heal P1 from P2 = ok (1 range: from P2)").expect("212 boot P1 = ok (drive 81, lba 2048)");
    comes_up(&mut guest, "P1");
    shut_down(guest);
    // P1 has failed for good: the second disk's copy, as drive 81.
    set_failures(&first, &[P1], &[("P1", 3), ("P2", 0)]);
    set_failures(&second, &[P1], &[("P1", 3), ("P2", 0)]);
    let mut guest = start("two-4", &cd, &[&first, &second]);
    guest.expect("242 boot P2 = ok (drive 81, lba 2048)");
    comes_up(&mut guest, "P2");
}

#[test]
fn a_data_disk_is_known_and_never_written() {
    let (cd, disk, data) = (cd("data-disk"), blank("system", 500_000), blank("data", 40_000));
    let table = folder("disks").join("data.sfdisk");
    fs::write(&table, "label: dos\nstart=2048, size=8192, type=83, bootable\n").expect("it can be written");
    let input = File::open(table).expect("it was written");
    run(Command::new("sfdisk").args(["-q"]).arg(&data).stdin(input).env("PATH", tools_path()));
    poke(&data, 3000, b"years of work");
    let before = peek(&data, 0, 40_000);
    let mut guest = start("data", &cd, &[&data, &disk]);
    guest.expect("200 verify mbr of data = ok").expect("260 restore system = ok");
    comes_up(&mut guest, "P1");
    shut_down(guest);
    assert!(peek(&data, 0, 40_000) == before, "the data disk has changed");
    let mut guest = start("data-2", &cd, &[&disk]);
    guest.expect("200 verify mbr of data = failed").expect("201 notify");
    comes_up(&mut guest, "P1");
}

#[test]
fn an_update_on_trial_gets_two_tries_and_then_the_proven_system_is_back() {
    let (cd, disk) = (cd("ab-update"), blank("ab", 500_000));
    first_life("ab", &cd, &[&disk], "P2");
    // The new system hangs: its first try, which may have been a power cut; its second; and no more.
    set_failures(&disk, &[P1, P2], &[("P1", 0), ("P2", 1)]);
    let mut guest = start("ab-2", &cd, &[&disk]);
    guest.expect("232 if P2 failures below 2 = ok (1)").expect("242 boot P2 = ok");
    guest.power_cut();
    let mut guest = start("ab-3", &cd, &[&disk]);
    guest.expect("232 if P2 failures below 2 = failed (2)");
    comes_up(&mut guest, "P1");
    guest.expect("appliance# ");
    // The next update.
    guest.type_line("bstate set P2 OK");
    shut_down(guest);
    comes_up(&mut start("ab-4", &cd, &[&disk]), "P2");
}

#[test]
fn without_a_disk_it_holds_and_says_why() {
    let cd = cd("diskless");
    let mut guest = start("diskless", &cd, &[]);
    guest.expect("202 verify mbr of system = failed (no disk found)");
    guest.expect("298 hold \"there is no disk with the system on it\" = ok");
    // Again and again, for whoever looks later, with the reason.
    guest.expect("298 hold \"there is no disk with the system on it\" = ok (202 no disk found)");
    guest.power_cut();
    let disk = blank("other", 300_000);
    start("diskless-2", &cd, &[&disk])
        .expect("failed (no disk is system: drive 80 is blank and has 300000 sectors")
        .expect("298 hold");
}
