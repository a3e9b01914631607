//! What it costs to know a disk.

use crate::common::images::figure4_set;
use crate::common::machine::word;
use crate::*;

/// The sectors that were read, but for what a restore reads back.
fn looked_at(pc: &Pc) -> u64 {
    pc.sectors_read - pc.writes.iter().map(|(_, _, sectors)| *sectors as u64).sum::<u64>()
}

/// Before there were proofs by content, and second notes, a good start of this disk took 14 reads of 306 sectors in
/// all; now it takes 14 of 317: the cache reads the sector before each piece, where a second note would be.
#[test]
fn a_good_start_reads_no_more_than_it_did() {
    let set = figure4_set(8192, "-F 16 -s 2", 9216, "-t ext4");
    for set in [set.clone(), set.with_shipped("default.txt")] {
        let mut pc = set.restored();
        assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "{:#?}", pc.lines);
        assert!(pc.reads <= 14 && pc.sectors_read <= 320, "{} reads of {} sectors", pc.reads, pc.sectors_read);
    }
}

/// Of a disk that its table proves, nothing but the beginning is read.
#[test]
fn a_disk_that_its_table_proves_costs_one_read() {
    let pc = start(&cd("", "", &["verify mbr of system"]), vec![ours()]);
    assert!(pc.reads <= 3 && pc.sectors_read <= 40, "{} reads of {} sectors", pc.reads, pc.sectors_read);
    // Beside disks that are not: the first sectors of each, and whether a copy of ours can be read.
    let others = vec![blank(), ours(), blank(), blank()];
    let pc = start(&cd("", "", &["verify mbr of system"]), others);
    assert!(pc.reads <= 10 && pc.sectors_read <= 10 * 17, "{} reads of {} sectors", pc.reads, pc.sectors_read);
}

/// Whatever is to be known of a blank disk is known after 6,000 sectors, however large it is: 5,815 for figure4, 5,875 for
/// default. Before there were proofs by content, and blank disks were any without a mark, it took 700.
#[test]
fn a_blank_disk_is_known_after_6000_sectors() {
    let set = figure4_set(8192, "-F 16 -s 2", 9216, "-t ext4");
    for set in [set.clone(), set.with_shipped("default.txt")] {
        for sectors in [set.disk_sectors, 1 << 21, 1 << 33] {
            let exact = format!("disk system sectors {}", set.disk_sectors);
            let logic = set.logic.replacen(&format!("{exact}\n"), &format!("{exact}..\n"), 1);
            let logic = logic.replacen("# room for the logic.txt of other tests\n", "", 1);
            let set = set.with_logic(logic.trim_end());
            let mut pc = Set { disk_sectors: sectors, ..set }.blank();
            assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
            let looked = looked_at(&pc);
            println!("blank, {sectors} sectors: {} reads, {looked} sectors but for reading back", pc.reads);
            assert!(looked <= 6000, "{sectors} sectors: {looked} were read");
        }
    }
}
