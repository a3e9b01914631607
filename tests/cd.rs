//! The boot medium: what other mastering programs make is read as well, and no damage to it does worse
//! than a hold.

mod common;

use std::sync::Arc;

use common::hostile::{Random, damage};
use common::images::figure4_set;
use common::machine::{Pc, word};
use common::tools::{self, shell};
use knownstate_core::media::iso9660::{CdError, Iso};

/// A directory record (ECMA-119 section 9.1): both-endian fields, of which the little half is read.
fn record(name: &[u8], at: u32, bytes: u32, flags: u8) -> Vec<u8> {
    let length = (33 + name.len()).next_multiple_of(2);
    let mut record = vec![0; length];
    record[0] = length as u8;
    record[2..6].copy_from_slice(&at.to_le_bytes());
    record[10..14].copy_from_slice(&bytes.to_le_bytes());
    record[25] = flags;
    record[32] = name.len() as u8;
    record[33..33 + name.len()].copy_from_slice(name);
    record
}

/// A CD with these records in its root directory, which stands in sector 20; sector n is full of n.
fn cd(records: &[Vec<u8>]) -> Pc {
    let mut iso: Vec<u8> = (0..64).flat_map(|n| [n; 2048]).collect();
    iso[16 * 2048..17 * 2048].fill(0);
    iso[16 * 2048..][..6].copy_from_slice(b"\x01CD001");
    iso[16 * 2048 + 128..][..2].copy_from_slice(&2048_u16.to_le_bytes());
    iso[16 * 2048 + 156..][..34].copy_from_slice(&record(&[0], 20, 2048, 2));
    iso[20 * 2048..21 * 2048].fill(0);
    let directory = records.concat();
    iso[20 * 2048..][..directory.len()].copy_from_slice(&directory);
    Pc::new(Arc::new(iso), vec![])
}

/// A file of more than 4 GiB has several records; here they are as short as the tests' patience.
#[test]
fn a_file_in_several_extents_is_one_file() {
    let mut pc = cd(&[
        record(b"BIG.IMG;1", 30, 4096, 0x80),
        record(b"BIG.IMG;1", 40, 2048, 0x80),
        record(b"BIG.IMG;1", 50, 100, 0),
        record(b"NEXT.;1", 55, 3, 0),
    ]);
    let iso = Iso::open(&mut pc).unwrap();
    let file = iso.find(&mut pc, "big.img").unwrap();
    assert_eq!(file.bytes(), 4096 + 2048 + 100);
    let content = iso.read_file(&mut pc, "big.img", 10_000).unwrap();
    let expected = [[30; 2048], [31; 2048], [40; 2048]].concat();
    assert!(content[..6144] == expected && content[6144..] == [50; 100], "the extents are read one after the other");
    for (at, sector) in [(2048, 31), (4096, 40), (6144, 50)] {
        let mut part = [0; 2048];
        file.read(&mut pc, at, &mut part).unwrap();
        assert_eq!(part, [sector; 2048], "from byte {at} on");
    }
    assert!(file.read(&mut pc, 8192, &mut [0; 2048]).is_err(), "past the end");
    assert_eq!(iso.read_file(&mut pc, "next", 10), Ok(vec![55; 3]), "a name without an extension");
    assert_eq!(iso.read_file(&mut pc, "next", 2), Err(CdError::TooLong("next".into(), 2)));
    assert_eq!(iso.read_file(&mut pc, "none", 2), Err(CdError::NotFound("none".into())));
    assert_eq!(iso.read_file(&mut pc, "next/none", 2), Err(CdError::NotFound("next/none".into())));
}

#[test]
fn the_names_of_other_mastering_programs_are_found() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    shell(folder, "mkdir -p cd/images; echo 'logic 1' >cd/logic.txt; echo 'hold \"found\"' >>cd/logic.txt");
    shell(folder, "for n in $(seq 400); do echo $n >cd/images/file$n.bin; done");
    for options in ["-iso-level 1", "-iso-level 2 -J", "-iso-level 3 -r", "-iso-level 4 -r -J", "-relaxed-filenames -r"]
    {
        shell(folder, &format!("xorriso -as mkisofs -quiet {options} -o x.iso cd 2>/dev/null"));
        let mut pc = Pc::new(Arc::new(std::fs::read(folder.join("x.iso")).unwrap()), vec![]);
        assert_eq!(word(&pc.start()), "hold -", "{options}: {:#?}", pc.lines);
        assert_eq!(pc.log(), ["- hold \"found\" = ok"], "{options}");
        let iso = Iso::open(&mut pc).unwrap();
        for n in [1, 57, 399, 400] {
            let content = iso.read_file(&mut pc, &format!("images/file{n}.bin"), 10);
            assert_eq!(content, Ok(format!("{n}\n").into_bytes()), "{options}: a directory of several sectors");
        }
    }
}

#[test]
fn no_damage_to_the_cd_makes_a_run_panic_or_write_elsewhere() {
    let set = figure4_set(256, "-F 12", 256, "-t ext2");
    let flow = set.with_shipped("default.txt");
    let mut whole = flow.blank();
    assert_eq!(word(&whole.start()), "restart", "{:#?}", whole.lines);
    let seen: Vec<usize> = whole.cd_seen.iter().map(|&s| s as usize).collect();
    let mut endings = std::collections::BTreeMap::new();
    for seed in 1..=1500 {
        let mut iso = flow.iso.to_vec();
        damage(&mut Random::new(seed), &mut iso, &seen, 2048);
        let mut pc = flow.blank();
        pc.cd = Arc::new(iso);
        let end = std::panic::catch_unwind(move || word(&pc.start()));
        *endings.entry(end.unwrap_or_else(|_| panic!("seed {seed} replays this"))).or_insert(0) += 1;
    }
    assert!(endings["restart"] > 100 && endings.len() > 2, "the damage is one-sided: {endings:?}");
}

#[test]
fn a_cd_that_is_unreadable_anywhere_does_no_harm() {
    let set = figure4_set(256, "-F 12", 256, "-t ext2").with_shipped("default.txt");
    let good = set.restored();
    let mut whole = good.clone();
    whole.start();
    for &sector in &whole.cd_seen {
        let mut pc = good.clone();
        pc.bad_cd_sectors.insert(sector);
        let ending = word(&pc.start());
        assert!(ending.starts_with("hold") || ending.starts_with("hand-off"), "CD sector {sector}: {:#?}", pc.lines);
        for n in 0..2 {
            assert_eq!(set.difference(&pc, n), None, "CD sector {sector}: a good partition was changed");
        }
    }
}

/// Records of a file that say what no file can be: reading it fails, and ends.
#[test]
fn impossible_extents_are_an_error() {
    let many: Vec<Vec<u8>> = (0..40).map(|n| record(b"A", 30, 2048, if n < 39 { 0x80 } else { 0 })).collect();
    let huge: Vec<Vec<u8>> = (0..32).map(|_| record(b"A", u32::MAX, u32::MAX, 0x80)).collect();
    for (name, records) in [
        ("more extents than any", many),
        ("past the end of any CD", huge),
        ("without the last one", vec![record(b"A", 30, 2048, 0x80), record(b"B", 31, 2048, 0)]),
        ("empty ones between", vec![record(b"A", 30, 0, 0x80), record(b"A", 99, 0, 0x80), record(b"A", 30, 4096, 0)]),
        ("longer than the CD", vec![record(b"A", 60, 1 << 30, 0)]),
        ("a directory", vec![record(b"A", 20, 2048, 0x82), record(b"A", 20, 2048, 2)]),
    ] {
        let mut pc = cd(&records);
        let iso = Iso::open(&mut pc).unwrap();
        let Ok(file) = iso.find(&mut pc, "a") else { continue };
        for at in [0, 2048, 4096, 65 << 20, file.bytes() / 2048 * 2048, 1 << 37, u64::MAX / 2048 * 2048] {
            for bytes in [2048, 65536] {
                let mut part = vec![0; bytes];
                let whole = at.checked_add(bytes as u64).is_some_and(|end| end <= file.bytes().next_multiple_of(2048));
                let read = file.read(&mut pc, at, &mut part);
                assert!(whole || read.is_err(), "{name}: {bytes} bytes from {at} of {} were read", file.bytes());
            }
        }
        let _ = iso.find(&mut pc, "a/a");
    }
}
