//! bstate.txt: what docs/STATES.md says of the record, judged by code of its own (`common::record`).

mod common;

use common::hostile::Random;
use common::record;
use knownstate_core::bstate::{
    FILE_BYTES, Fault, Found, MAX_BOOTS, MAX_CD, MAX_COUNT, Next, Parsed, Partition, Record, State,
};
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
        Ok(Parsed::Edited { record, .. }) => record,
        other => panic!("{text} came out as {other:?}"),
    }
}

fn by_hand(text: &str) -> Parsed {
    Record::parse(&record::padded(text)).expect("a copy that was edited")
}

fn partition(name: &str, state: State, failures: u32, crashes: u32, why: &str) -> Partition {
    Partition { state, failures, crashes, why: why.into(), ..Partition::ok(name) }
}

/// The record that docs/STATES.md shows.
fn example() -> Record {
    Record {
        sequence: 42,
        cd: "Web appliance".into(),
        set: Some(0x5A17_C0DE),
        boots: 118,
        booting: "P1".into(),
        next: Some(Next::Partition("P2".into())),
        partitions: vec![
            Partition {
                proved: 117,
                trial: Some(1),
                before: "206 not as sealed: /vmlinuz".into(),
                ..partition("P1", State::Dirty, 1, 0, "212 boot begun, not confirmed")
            },
            Partition::ok("P2"),
        ],
        ..Record::default()
    }
}

#[test]
fn the_judge_itself_computes_zlibs_crc32() {
    // The check value of CRC-32/ISO-HDLC in every catalogue of CRCs.
    assert_eq!(record::crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn the_canonical_form_is_one_sector_of_a_file_of_4096_bytes() {
    let lines = "sequence=42\ncd=Web appliance\nset=5A17C0DE\nboots=118\nbooting=P1\nnext=P2\n\
        P1=Dirty\nP1.failures=1\nP1.crashes=0\nP1.proved=117\nP1.trial=1\n\
        P1.why=212 boot begun, not confirmed\nP1.before=206 not as sealed: /vmlinuz\n\
        P2=OK\nP2.failures=0\nP2.crashes=0\nrestores=0\n";
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
    let text = |random: &mut Random| -> String {
        (0..random.below(300)).map(|_| char::from(b' ' + random.below(95) as u8)).collect()
    };
    let why = |random: &mut Random| if random.below(2) == 0 { String::new() } else { text(random) };
    let count = |random: &mut Random, most: u32| random.below(most as usize + 1) as u32;
    let names = ["P1", "P2", "rescue", "spare-08"];
    let partitions = names.iter().take(1 + random.below(4)).map(|name| Partition {
        name: (*name).into(),
        state: *random.pick(&[State::Ok, State::Clean, State::Dirty]),
        failures: count(random, MAX_COUNT),
        crashes: count(random, MAX_COUNT),
        proved: count(random, 50),
        trial: *random.pick(&[None, None, Some(0), Some(3)]),
        slice: count(random, 2),
        why: why(random),
        before: why(random),
    });
    let partitions: Vec<Partition> = partitions.collect();
    let booting = if random.below(3) == 0 { String::new() } else { partitions[0].name.clone() };
    let next = [None, Some(Next::Restore), Some(Next::Hold), Some(Next::Partition(booting.clone()))];
    let next = random.pick(&next).clone().filter(|next| *next != Next::Partition(String::new()));
    let unknown = (0..random.below(3)).map(|n| (format!("colour{n}"), format!("red {n}")));
    Record {
        sequence: random.next() >> random.below(64),
        cd: (*random.pick(&["", "Kiosk"])).into(),
        set: *random.pick(&[None, Some(0), Some(0xFFFF_FFFF)]),
        boots: count(random, 60),
        next,
        unknown: unknown.collect(),
        booting,
        partitions,
        restores: random.below(9) as u32,
    }
}

/// What is left of a text that was cut: its beginning, to the end of a word if it has any.
fn is_cut_of(read: &str, wanted: &str) -> bool {
    let wanted = wanted.trim();
    let Some(rest) = wanted.strip_prefix(read) else { return false };
    read.is_empty() || rest.is_empty() || rest.starts_with(' ') || !read.contains(' ')
}

#[test]
fn what_is_written_is_read_again() {
    for seed in 1..3000 {
        let mut wanted = random_record(&mut Random::new(seed));
        let sector = wanted.to_sector();
        assert!(record::lines(&sector).is_ok(), "seed {seed}: {}", String::from_utf8_lossy(&sector));
        let Ok(Parsed::Valid(mut read)) = Record::parse(&sector) else { panic!("seed {seed}: {wanted:?}") };
        assert_eq!(read.to_sector(), sector, "seed {seed}: reading and writing again changes nothing");
        // Texts may have been cut, and of four partitions what can be spared left out.
        for (read, wanted) in read.partitions.iter_mut().zip(&mut wanted.partitions) {
            assert!(is_cut_of(&read.why, &wanted.why), "seed {seed}: `{}` of `{}`", read.why, wanted.why);
            assert!(is_cut_of(&read.before, &wanted.before), "seed {seed}: `{}` of `{}`", read.before, wanted.before);
            (read.why, read.before) = (String::new(), String::new());
            (wanted.why, wanted.before) = (String::new(), String::new());
            if wanted.name == "spare-08" && read.slice == 0 {
                wanted.slice = 0;
            }
        }
        assert!(wanted.unknown.starts_with(&read.unknown), "seed {seed}: {:?}", read.unknown);
        wanted.unknown.clone_from(&read.unknown);
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
    let kept = [("colour", "red"), ("P1.mood", "bad")].map(|(key, value)| (key.to_string(), value.to_string()));
    assert_eq!(unknown.unknown, kept);
    assert_eq!(plain, Record { unknown: Vec::new(), ..unknown });
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
        Record {
            partitions: vec![Partition::ok("P1"), partition("P2", State::Dirty, MAX_COUNT, 0, "")],
            ..Record::default()
        }
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
    let edit = by_hand("P1=OK\n");
    for copies in [[newest.clone(), edit.clone()], [edit.clone(), newest.clone()]] {
        let merged = merged(&copies);
        assert_eq!(merged.get("P1"), Some(&Partition::ok("P1")), "the edit's word on P1");
        assert_eq!(merged.get("P2"), newest.record().get("P2"), "the edit says nothing of P2");
        assert_eq!((merged.sequence, merged.booting.as_str()), (90, "P1"));
    }
    // Two people at once: the worse of what they say.
    let other = by_hand("P1=Clean\n");
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

/// Every key, with its longest value.
fn fullest<'a>(names: impl IntoIterator<Item = &'a str>) -> Record {
    let mut record = Record::ok(names);
    for p in &mut record.partitions {
        (p.state, p.failures, p.crashes) = (State::Dirty, u32::MAX, u32::MAX);
        (p.proved, p.trial, p.slice) = (u32::MAX, Some(u32::MAX), u32::MAX);
        (p.why, p.before) = ("212 boot begun, not confirmed".into(), "206 not as sealed: /vmlinuz".into());
    }
    let first = record.partitions[0].name.clone();
    Record {
        sequence: u64::MAX,
        cd: "Four and twenty letters.".into(),
        set: Some(u32::MAX),
        boots: u32::MAX,
        booting: first.clone(),
        next: Some(Next::Partition(first)),
        restores: u32::MAX,
        unknown: vec![("colour".into(), "red".into()), ("P1.mood".into(), "bad".into())],
        ..record
    }
}

/// Four copies as people name them: nothing but texts and what nobody knows has to go.
#[test]
fn a_full_record_of_four_partitions_is_read_back() {
    let full = fullest(["P1", "P2", "P3", "P4"]);
    assert_eq!(full.cd.len(), MAX_CD);
    let Ok(Parsed::Valid(read)) = Record::parse(&full.to_sector()) else { panic!("{full:?}") };
    let counters = |p: &Partition| (p.failures, p.crashes, p.proved, p.trial, p.slice);
    for (read, full) in read.partitions.iter().zip(&full.partitions) {
        assert_eq!(counters(read), (MAX_COUNT, MAX_COUNT, MAX_BOOTS, Some(MAX_COUNT), MAX_COUNT), "{}", full.name);
        assert!(is_cut_of(&read.why, &full.why) && is_cut_of(&read.before, &full.before), "{read:?}");
    }
    assert_eq!((read.sequence, &read.cd, read.set, read.boots), (full.sequence, &full.cd, full.set, MAX_BOOTS));
    assert_eq!((&read.booting, &read.next, read.restores), (&full.booting, &full.next, MAX_COUNT));
    assert_eq!(read.to_sector(), full.to_sector(), "what is left out stays left out");
}

/// Long names leave room for less: what a start needs is told, and of the rest what is missed most.
#[test]
fn where_names_are_long_the_counters_that_can_be_spared_go_first() {
    let full = fullest(["system-1", "system-2", "system-3", "system-4"]);
    let Ok(Parsed::Valid(read)) = Record::parse(&full.to_sector()) else { panic!("{full:?}") };
    for p in &read.partitions {
        assert_eq!((p.state, p.failures, p.crashes), (State::Dirty, MAX_COUNT, MAX_COUNT));
        assert_eq!((p.trial, p.slice), (Some(MAX_COUNT), 0), "a trial is kept, a slice is not");
    }
    let proved: Vec<bool> = read.partitions.iter().map(|p| p.proved == MAX_BOOTS).collect();
    assert_eq!(proved, [true, true, false, false], "the first ones keep theirs");
    assert_eq!(read.to_sector(), full.to_sector(), "what is left out stays left out");
    // A machine's usual numbers: nothing has to go.
    let mut usual = fullest(["system-1", "system-2", "system-3", "system-4"]);
    (usual.sequence, usual.boots, usual.next) = (4321, 1200, None);
    for p in &mut usual.partitions {
        (p.state, p.failures, p.crashes, p.proved, p.trial, p.slice) = (State::Clean, 0, 0, 1199, None, 12);
    }
    let Ok(Parsed::Valid(read)) = Record::parse(&usual.to_sector()) else { panic!("{usual:?}") };
    assert!(read.partitions.iter().all(|p| p.proved == 1199 && p.slice == 12), "{read:?}");
}

/// Unknown keys go whole, the last one first, and only once no text is left.
#[test]
fn what_nobody_knows_is_kept_while_there_is_room() {
    let mut record = example();
    record.unknown = (0..12).map(|n| (format!("colour{n}"), "x".repeat(30))).collect();
    let Ok(Parsed::Valid(read)) = Record::parse(&record.to_sector()) else { panic!("{record:?}") };
    assert!((6..12).contains(&read.unknown.len()), "{:?}", read.unknown);
    assert_eq!(read.unknown, record.unknown[..read.unknown.len()]);
    assert!(read.partitions[0].why.len() < 12, "texts go first: {:?}", read.partitions[0].why);
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
        let record = fullest(names());
        let lines = record::lines(&record.to_sector()).unwrap_or_else(|why| panic!("{count} partitions: {why}"));
        // Whatever is left out, what is written of the rest is all of it.
        for n in 0..count {
            for end in ["=Dirty", ".failures=999", ".crashes=999"] {
                assert!(lines.contains(&format!("{}{end}", record.partitions[n].name)), "{lines:#?}");
            }
        }
        for line in ["cd=Four and twenty letters.", "set=FFFFFFFF", "boots=999999", "next=name-000", "restores=999"] {
            assert!(lines.contains(&line.to_string()), "{line} is lost: {lines:#?}");
        }
    }
    assert!((4..8).contains(&most), "{most} partitions with long names fit");
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

/// Restores of different disks: each partition's lines are those of its own disk.
#[test]
fn of_copies_of_different_sets_each_disk_has_its_own_word() {
    let (a, b) = (
        valid("sequence=9 set=0000000A boots=5 next=hold P1=OK P1.proved=4 P2=Dirty P2.failures=3 restores=1"),
        valid("sequence=7 set=0000000B boots=9 P1=Dirty P2=Clean P2.proved=8 restores=2"),
    );
    let found = |record: &Record, home: &'static str| Found { copy: Parsed::Valid(record.clone()), home: vec![home] };
    let both = [found(&a, "P1"), found(&b, "P2")];
    let turned = [both[1].clone(), both[0].clone()];
    for copies in [both, turned] {
        let merged = Record::merge_found(&copies, ["P1", "P2"]).unwrap();
        assert_eq!(merged.get("P1"), a.get("P1"));
        // When it was proved was counted by another disk's hand-offs.
        assert_eq!(merged.get("P2"), Some(&partition("P2", State::Clean, 0, 0, "")));
        assert_eq!((merged.set, merged.boots, merged.restores, &merged.next), (Some(10), 5, 2, &Some(Next::Hold)));
    }
    // A copy without a set, as older programs write it, belongs to any.
    let old = valid("sequence=8 P1=Clean P2=Clean P2.failures=1");
    let merged = Record::merge_found(&[found(&old, "P2"), found(&a, "P1")], ["P1", "P2"]).unwrap();
    assert_eq!(merged, a, "the newest of all wins");
    // Whose home nobody knows has nobody's word but the newest.
    assert_eq!(merged_of(&[a.clone(), b]).get("P2"), a.get("P2"));
}

fn merged_of(copies: &[Record]) -> Record {
    merged(&copies.iter().cloned().map(Parsed::Valid).collect::<Vec<_>>())
}

#[test]
fn names_that_were_typed_in_a_hurry_are_understood_if_one_fits() {
    let stood = Parsed::Valid(valid("sequence=3 P1=OK P2=OK P1.proved=7"));
    let typed = by_hand("p1=dirty\nP2=bad\nP3=OK\nhello\nP2.failures=many\n");
    let record = merged(&[stood.clone(), typed.clone()]);
    let p1 = record.get("P1").unwrap();
    assert_eq!((p1.state, p1.failures, p1.proved), (State::Dirty, MAX_COUNT, 7));
    assert_eq!(record.get("P2"), Some(&Partition::ok("P2")), "what is no state changes none");
    let strange = typed.not_understood(&["P1", "P2"]);
    for line in ["P2=bad", "hello", "P2.failures=many", "P3=OK"] {
        assert!(strange.contains(&line.to_string()), "{line} is not told: {strange:?}");
    }
    assert!(!strange.iter().any(|line| line.contains("p1")), "{strange:?}");
    assert!(record.unknown.is_empty(), "a state that is none is not kept: {:?}", record.unknown);
    // Of two that fit nobody knows which was meant.
    let names = ["P1", "p1"];
    let merged = Record::merge(&[stood, by_hand("P1=OK\np1=Clean\n")], names).unwrap();
    assert_eq!(merged.get("p1").unwrap().state, State::Clean);
    assert_eq!(by_hand("Os=Dirty\n").not_understood(&["OS", "os"]), ["Os=Dirty"]);
    // Programs don't hurry.
    assert_eq!(merged_of(&[valid("sequence=1 p1=OK P2=OK")]).get("P1").unwrap().state, State::Dirty);
}

#[test]
fn a_persons_dirty_reaches_every_limit_unless_failures_are_named() {
    assert_eq!(edited("P1=Dirty\n").get("P1").unwrap().failures, MAX_COUNT);
    assert_eq!(edited("P1=Dirty\nP1.failures=2\n").get("P1").unwrap().failures, 2);
    assert_eq!(edited("P1=Clean\n").get("P1").unwrap().failures, 0);
    let mut said = Partition { trial: Some(2), proved: 9, before: "206".into(), ..Partition::ok("P1") };
    said.say(State::Dirty);
    assert_eq!((said.state, said.failures, said.why.as_str()), (State::Dirty, MAX_COUNT, "bstate set Dirty"));
    said.say(State::Ok);
    assert_eq!(said, Partition { proved: 9, ..Partition::ok("P1") });
}

/// Hand-offs are counted, a report says when the last one was proved, and a restore begins anew.
#[test]
fn hand_offs_are_counted_from_a_restore_on() {
    let mut record = example();
    record.hand_off("P2");
    assert_eq!((record.boots, record.booting.as_str(), &record.next), (119, "P2", &None), "a wish has its time");
    record.report_booted("P2");
    assert_eq!(record.get("P2").unwrap().proved, 119);
    assert_eq!(record.get("P1").unwrap().proved, 117);
    record.report_booted("P1");
    assert!(record.get("P1").unwrap().before.is_empty(), "the system knows it now");
    record.boots = MAX_BOOTS;
    record.get_mut("P2").unwrap().proved = MAX_BOOTS - 3;
    record.hand_off("P1");
    let since = record.boots - record.get("P2").unwrap().proved;
    assert_eq!(since, 4, "how long ago a report was stays true where the count comes to its end");
    assert_eq!(record.get("P1").unwrap().proved, 0);
    record.begin_set(7, "Kiosk with a name that is far too long");
    assert_eq!((record.set, record.boots, record.cd.as_str()), (Some(7), 0, "Kiosk with a name that i"));
    assert!(record.partitions.iter().all(|p| p.proved == 0));
}
