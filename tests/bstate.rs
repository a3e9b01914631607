//! bstate.txt: what docs/STATES.md says of the record, judged by code of its own (`common::record`).

mod common;

use common::hostile::Random;
use common::record;
use knownstate_core::bstate::{FILE_BYTES, Fault, MAX_COUNT, Parsed, Partition, Record, State};
use knownstate_core::units::SECTOR;

/// A record of lines that are given with spaces between them; `~` stands for a space in one.
fn valid(lines: &str) -> Record {
    match Record::parse(&record::sector(lines)) {
        Ok(Parsed::Valid(record)) => record,
        other => panic!("{lines} came out as {other:?}"),
    }
}

fn edited(text: &str) -> Record {
    match Record::parse(&record::padded(text)) {
        Ok(Parsed::Edited(record)) => record,
        other => panic!("{text} came out as {other:?}"),
    }
}

fn partition(name: &str, state: State, failures: u32, crashes: u32, why: &str) -> Partition {
    Partition { name: name.into(), state, failures, crashes, why: why.into() }
}

/// The record that docs/STATES.md shows.
fn example() -> Record {
    Record {
        sequence: 42,
        booting: "P1".into(),
        partitions: vec![partition("P1", State::Dirty, 1, 0, "212 boot begun, not confirmed"), Partition::ok("P2")],
        restores: 0,
    }
}

#[test]
fn the_judge_itself_computes_zlibs_crc32() {
    // The check value of CRC-32/ISO-HDLC in every catalogue of CRCs.
    assert_eq!(record::crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn the_canonical_form_is_one_sector_of_a_file_of_4096_bytes() {
    let lines = "sequence=42\nbooting=P1\nP1=Dirty\nP1.failures=1\nP1.crashes=0\n\
        P1.why=212 boot begun, not confirmed\nP2=OK\nP2.failures=0\nP2.crashes=0\nrestores=0\n";
    let text = format!("{lines}crc32={:08x}\n", record::crc32(lines.as_bytes()));
    let (sector, file) = (example().to_sector(), example().to_file());
    assert_eq!(sector[..text.len()], *text.as_bytes(), "{}", String::from_utf8_lossy(&sector));
    assert!(sector[text.len()..SECTOR - 1].iter().all(|&b| b == b' '), "behind the record stand spaces");
    assert_eq!(sector[SECTOR - 1], b'\n', "the sector ends in a newline");
    assert_eq!((file.len(), FILE_BYTES), (4096, 4096));
    assert!(file[..SECTOR] == sector && file[SECTOR..].iter().all(|b| b" \n".contains(b)));
    assert_eq!(file.last(), Some(&b'\n'));
}

fn random_record(random: &mut Random) -> Record {
    let why = |random: &mut Random| (0..random.below(300)).map(|_| char::from(b' ' + random.below(95) as u8)).collect();
    let names = ["P1", "P2", "rescue", "spare-08"];
    let partitions = names.iter().take(1 + random.below(4)).map(|name| Partition {
        name: (*name).into(),
        state: *random.pick(&[State::Ok, State::Clean, State::Dirty]),
        failures: random.below(MAX_COUNT as usize + 1) as u32,
        crashes: random.below(MAX_COUNT as usize + 1) as u32,
        why: if random.below(2) == 0 { String::new() } else { why(random) },
    });
    let partitions: Vec<Partition> = partitions.collect();
    let booting = if random.below(3) == 0 { String::new() } else { partitions[0].name.clone() };
    Record { sequence: random.next() >> random.below(64), booting, partitions, restores: random.below(9) as u32 }
}

#[test]
fn what_is_written_is_read_again() {
    for seed in 1..3000 {
        let mut wanted = random_record(&mut Random::new(seed));
        let sector = wanted.to_sector();
        assert!(record::lines(&sector).is_ok(), "seed {seed}: {}", String::from_utf8_lossy(&sector));
        let Ok(Parsed::Valid(mut read)) = Record::parse(&sector) else { panic!("seed {seed}: {wanted:?}") };
        assert_eq!(read.to_sector(), sector, "seed {seed}: reading and writing again changes nothing");
        // Reasons may have been cut; what is left is their beginning.
        for (read, wanted) in read.partitions.iter_mut().zip(&mut wanted.partitions) {
            assert!(wanted.why.trim().starts_with(&read.why), "seed {seed}: {} is not in {}", read.why, wanted.why);
            (read.why, wanted.why) = (String::new(), String::new());
        }
        assert_eq!(read, wanted, "seed {seed}");
    }
}

#[test]
fn form_does_not_matter_to_a_reader() {
    let plain = valid("sequence=5 booting=P2 P1=Clean P1.failures=2 P1.crashes=1 P1.why=it~fell P2=OK restores=3");
    let other_order =
        valid("restores=3 P1.why=it~fell P1.crashes=1 P1=Clean P1.failures=2 P2=OK booting=P2 sequence=5");
    assert_eq!(plain, other_order);
    let unknown = valid(
        "sequence=5 booting=P2 colour=red P1=Clean P1.failures=2 P1.mood=bad P1.crashes=1 \
        P1.why=it~fell P2=OK hello restores=3",
    );
    assert_eq!(plain, unknown);
    let spaces =
        valid("sequence~=~5 booting=~P2 P1~=Clean P1.failures=2 P1.crashes=1 P1.why=~it~fell P2~=~OK restores=3");
    assert_eq!(plain, spaces);
    let text = String::from_utf8(plain.to_sector().to_vec()).unwrap();
    for (name, text) in [
        ("CRLF", text.trim_end().replace('\n', "\r\n")),
        ("empty lines", text.trim_end().replace('\n', "\n\n  \n")),
        ("indented", text.trim_end().replace('\n', "\n \t")),
        ("no newline at the end", text.trim_end().to_string()),
        ("a BOM", format!("\u{feff}{}", text.trim_end())),
        (
            "sum in capitals",
            text.trim_end().replace(
                text.trim_end().rsplit('=').next().unwrap(),
                &format!("{:08X}", record::crc32(text.split("crc32").next().unwrap().as_bytes())),
            ),
        ),
    ] {
        assert_eq!(Record::parse(text.as_bytes()), Ok(Parsed::Valid(plain.clone())), "{name}: {text}");
    }
    assert_eq!(
        edited("P1=ok\nP2=DIRTY\n"),
        Record { partitions: vec![Partition::ok("P1"), partition("P2", State::Dirty, 0, 0, "")], ..Record::default() }
    );
}

#[test]
fn what_is_no_record_is_not_valid() {
    let mut bad_sum = record::sector("sequence=1 P1=OK");
    bad_sum[9] = b'2';
    let mut binary = record::sector("sequence=1 P1=OK");
    binary[400] = 7;
    let table: [(&str, Vec<u8>, Fault); 10] = [
        ("zeros", vec![0; 512], Fault::NotText),
        ("spaces", vec![b' '; 512], Fault::Empty),
        ("FFh", vec![0xFF; 512], Fault::NotText),
        ("nothing", vec![], Fault::Empty),
        ("a letter home", b"Dear all,\nP1 = fine\n".to_vec(), Fault::Empty),
        ("another sequence under the same sum", bad_sum.to_vec(), Fault::Checksum),
        ("a sum that is no number", record::padded("P1=OK\ncrc32=xyz\n").to_vec(), Fault::Checksum),
        ("an empty sum", record::padded("P1=OK\ncrc32=\n").to_vec(), Fault::Checksum),
        ("a control character", binary.to_vec(), Fault::NotText),
        ("counters of a partition without a state", record::padded("P1.failures=2\n").to_vec(), Fault::Empty),
    ];
    for (name, bytes, fault) in table {
        assert_eq!(Record::parse(&bytes), Err(fault), "{name}");
    }
}

#[test]
fn only_the_first_512_bytes_count() {
    let mut file = example().to_file();
    file[SECTOR..].fill(b'x');
    assert_eq!(Record::parse(&file), Ok(Parsed::Valid(example())));
}

fn merged(copies: &[Parsed]) -> Record {
    Record::merge(copies, ["P1", "P2"]).expect("there is a copy")
}

#[test]
fn the_highest_sequence_wins() {
    let old = Parsed::Valid(valid("sequence=9 booting=P1 P1=Dirty P1.failures=3 P2=Dirty restores=2"));
    let new = Parsed::Valid(valid("sequence=10 booting=P2 P1=OK P2=Clean restores=0"));
    for copies in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
        assert_eq!(merged(&copies), *new.record());
    }
    assert_eq!(merged(std::slice::from_ref(&old)), *old.record());
    assert_eq!(Record::merge(&[], ["P1"]), None);
}

#[test]
fn equal_sequences_give_the_worse_value_of_everything() {
    let one = Parsed::Valid(valid("sequence=9 booting=P1 P1=OK P1.failures=2 P2=Dirty P2.why=cut restores=1"));
    let two =
        Parsed::Valid(valid("sequence=9 booting=P1 P1=Clean P1.crashes=4 P1.why=fell P2=Clean P2.why=no restores=3"));
    let worse =
        valid("sequence=9 booting=P1 P1=Clean P1.failures=2 P1.crashes=4 P1.why=fell P2=Dirty P2.why=cut restores=3");
    assert_eq!(merged(&[one.clone(), two.clone()]), worse);
    assert_eq!(merged(&[two, one]), worse, "whichever is read first");
}

#[test]
fn what_a_person_edited_goes_on_top() {
    let newest =
        Parsed::Valid(valid("sequence=90 booting=P1 P1=Dirty P1.failures=3 P1.why=fell P2=Clean P2.crashes=1"));
    let edit = Parsed::Edited(edited("P1=OK\n"));
    for copies in [[newest.clone(), edit.clone()], [edit.clone(), newest.clone()]] {
        let merged = merged(&copies);
        assert_eq!(merged.get("P1"), Some(&Partition::ok("P1")), "the edit's word on P1");
        assert_eq!(merged.get("P2"), newest.record().get("P2"), "the edit says nothing of P2");
        assert_eq!((merged.sequence, merged.booting.as_str()), (90, "P1"));
    }
    // Two people at once: the worse of what they say.
    let other = Parsed::Edited(self::edited("P1=Clean\n"));
    assert_eq!(merged(&[newest, edit, other]).get("P1").unwrap().state, State::Clean);
}

#[test]
fn a_merge_is_of_the_declared_partitions_in_their_order() {
    let copy = Parsed::Valid(valid("sequence=1 P9=OK P2=Clean"));
    let merged = Record::merge(&[copy], ["P1", "P2"]).unwrap();
    let names: Vec<&str> = merged.partitions.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["P1", "P2"]);
    assert_eq!(merged.get("P1").unwrap().state, State::Dirty, "nobody has confirmed a boot from it");
}

#[test]
fn long_reasons_are_cut_so_that_all_fit() {
    let mut record = Record::ok(["P1", "P2", "P3", "P4"]);
    for (n, p) in record.partitions.iter_mut().enumerate() {
        p.why = format!("{n}{}", "because of a very long story ".repeat(50));
    }
    let lines = record::lines(&record.to_sector()).unwrap();
    for n in 0..4 {
        let why = lines.iter().find(|l| l.starts_with(&format!("P{}.why={n}because", n + 1)));
        assert!(why.is_some_and(|w| w.len() > 20), "P{}'s reason is lost: {lines:#?}", n + 1);
    }
    record.partitions[0].why = "line one\nP2=OK\u{1b}[2J".into();
    let lines = record::lines(&record.to_sector()).unwrap();
    assert!(lines.contains(&"P1.why=line one?P2=OK?[2J".to_string()), "a reason can't forge a line: {lines:#?}");
}

#[test]
fn the_largest_record_that_is_said_to_fit_does() {
    let names: Vec<String> = (0..20).map(|n| format!("name-{n:03}")).collect();
    let mut most = 0;
    for count in 1..20 {
        let names = || names[..count].iter().map(String::as_str);
        if !Record::fits(names()) {
            continue;
        }
        most = count;
        let mut record =
            Record { sequence: u64::MAX, restores: u32::MAX, booting: "name-000".into(), ..Record::ok(names()) };
        for p in &mut record.partitions {
            *p = partition(&p.name, State::Dirty, u32::MAX, u32::MAX, "why");
        }
        let lines = record::lines(&record.to_sector());
        assert!(lines.is_ok(), "{count} partitions: {lines:?}");
    }
    assert!((6..12).contains(&most), "{most} partitions with long names fit");
}

#[test]
fn counters_stop_at_their_end() {
    let mut record = Record::ok(["P1"]);
    for _ in 0..MAX_COUNT + 10 {
        record.get_mut("P1").unwrap().state = State::Clean;
        record.set_dirty("P1", "again", true);
    }
    let p = record.get("P1").unwrap();
    assert_eq!((p.failures, p.crashes), (MAX_COUNT, MAX_COUNT));
    let absurd = valid("sequence=1 P1=OK P1.failures=4294967295 restores=99999999999");
    assert_eq!(record::value(&absurd.to_sector(), "P1.failures"), MAX_COUNT.to_string());
    assert_eq!(absurd.restores, 0, "what is no number counts as none");
}

#[test]
fn dirty_counts_failures_and_a_boot_of_a_clean_partition_counts_a_crash() {
    let after = |state: State, why: &str, before_boot: bool| {
        let mut record = Record { partitions: vec![partition("P1", state, 1, 1, why)], ..Record::default() };
        record.set_dirty("P1", "new reason", before_boot);
        let p = record.partitions.remove(0);
        (p.state, p.failures, p.crashes, p.why)
    };
    let dirty = |failures, crashes, why: &str| (State::Dirty, failures, crashes, why.to_string());
    assert_eq!(after(State::Ok, "", true), dirty(2, 1, "new reason"));
    assert_eq!(after(State::Clean, "", true), dirty(2, 2, "new reason"));
    assert_eq!(after(State::Clean, "", false), dirty(2, 1, "new reason"), "found damaged is no crash");
    assert_eq!(after(State::Dirty, "old", true), dirty(2, 1, "old"), "the first reason is the cause");
}

#[test]
fn a_report_clears_what_it_disproves() {
    let lines =
        "sequence=1 P1=Dirty P1.failures=2 P1.crashes=3 P1.why=fell P2=Dirty P2.failures=4 P2.why=cut restores=2";
    let mut booted = valid(lines);
    booted.report_booted("P1");
    assert_eq!(booted.partitions[0], partition("P1", State::Clean, 0, 3, ""), "crashes go only at an orderly shutdown");
    assert_eq!(booted.restores, 0, "an OS came up, so the restore was worth it");
    let mut down = valid(lines);
    down.report_shutdown("P1");
    assert_eq!(down.partitions[0], Partition::ok("P1"));
    assert_eq!(down.restores, 0);
    for record in [booted, down] {
        assert_eq!(record.partitions[1], partition("P2", State::Dirty, 4, 0, "cut"), "P2 is not concerned");
    }
}

/// A flipped bit makes a copy invalid, or changes nothing that decides.
#[test]
fn no_flipped_bit_changes_a_state() {
    let good = example().to_sector();
    for bit in 0..SECTOR * 8 {
        let mut sector = good;
        sector[bit / 8] ^= 1 << (bit % 8);
        match Record::parse(&sector) {
            Err(_) => {}
            Ok(copy) => assert_eq!(copy.record().partitions, example().partitions, "bit {bit} flipped: {copy:?}"),
        }
    }
}

#[test]
fn no_garbage_makes_the_parser_panic() {
    for seed in 1..20_000 {
        let random = &mut Random::new(seed);
        let mut sector = random_record(random).to_sector();
        for _ in 0..1 + random.below(20) {
            let at = random.below(SECTOR);
            sector[at] = *random.pick(b"\n\r =.0129PcOK\x00\xFF\xC3\xA4~\t");
        }
        let verdict = std::panic::catch_unwind(|| {
            if let Ok(copy) = Record::parse(&sector) {
                let names: Vec<String> = copy.record().partitions.iter().map(|p| p.name.clone()).collect();
                let merged = Record::merge(&[copy.clone(), copy], names.iter().map(String::as_str)).unwrap();
                assert!(!merged.to_file().is_empty());
            }
        });
        assert!(verdict.is_ok(), "seed {seed} replays this: {}", String::from_utf8_lossy(&sector));
    }
}
