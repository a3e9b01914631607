//! bstate.txt and logic.txt.

use knownstate_core::bstate::{MAX_COUNT, Parsed, Record};
use knownstate_core::logic;
use knownstate_core::units::SECTOR;

use super::heap;
use super::record::crc32;

/// Copies of bstate.txt, 512 bytes each. One that has `crc32=` at the beginning of a line gets the right sum
/// if its first byte is even: nobody guesses 32 bits.
pub fn bstate(data: &[u8]) {
    let sums = data.first().is_some_and(|byte| byte % 2 == 0);
    let mut copies = Vec::new();
    for copy in data.get(1..).unwrap_or_default().chunks(SECTOR).take(4) {
        let copy = if sums { summed(copy) } else { copy.to_vec() };
        match Record::parse(&copy) {
            Ok(parsed) => copies.push(parsed),
            Err(fault) => assert!(!fault.to_string().is_empty()),
        }
    }
    for copy in &copies {
        comes_back(copy.record());
    }
    let names = ["P1", "P2", "data"];
    let Some(merged) = Record::merge(&copies, names) else {
        assert!(copies.is_empty(), "nothing comes of {copies:?}");
        return;
    };
    assert!(merged.partitions.iter().map(|p| p.name.as_str()).eq(names), "{merged:?}");
    assert_eq!(Some(merged.sequence), copies.iter().map(|c| c.record().sequence).max());
    let turned: Vec<Parsed> = copies.iter().rev().cloned().collect();
    assert_eq!(Some(&merged), Record::merge(&turned, names).as_ref(), "the order of {copies:?} matters");
    // What is written is what is read, and then nothing is left to be merged.
    comes_back(&merged);
    if fits(&merged) && is_whole(&merged) {
        let read = Record::parse(&merged.to_sector()).expect("a record comes back");
        let again = Record::merge(&[read.clone(), read.clone()], names).expect("two copies");
        assert_eq!(&again, read.record(), "merging what was merged changes it");
    }
    changes(merged, names[0]);
}

/// Whether nothing in it has to be cut but what may be.
fn fits(record: &Record) -> bool {
    let longest = record.partitions.iter().map(|p| p.name.len()).max().unwrap_or(0);
    let wish = record.next.as_ref().map_or(0, |next| next.to_string().len());
    Record::fits(record.partitions.iter().map(|p| p.name.as_str()))
        && record.booting.len() <= longest
        && wish <= longest.max("restore".len())
}

/// Whether all of it comes back but ends of texts.
fn is_whole(record: &Record) -> bool {
    let bare = |record: &Record| {
        let mut bare = record.clone();
        for partition in &mut bare.partitions {
            (partition.why, partition.before) = Default::default();
            (partition.failures, partition.crashes) =
                (partition.failures.min(MAX_COUNT), partition.crashes.min(MAX_COUNT));
        }
        bare.restores = bare.restores.min(MAX_COUNT);
        bare
    };
    Record::parse(&record.to_sector()).is_ok_and(|read| bare(read.record()) == bare(record))
}

/// What is written of a record is the record, its texts cut where they are too long.
fn comes_back(record: &Record) {
    let sector = record.to_sector();
    assert_eq!(sector[SECTOR - 1], b'\n', "the sector's end");
    if !fits(record) {
        return;
    }
    let read = match Record::parse(&sector) {
        Ok(Parsed::Valid(read)) => read,
        other => panic!("{record:?} came back as {other:?}"),
    };
    assert_eq!((read.sequence, &read.booting), (record.sequence, &record.booting));
    assert_eq!((read.set, &read.cd, read.boots), (record.set, &record.cd, record.boots));
    assert_eq!(read.next, record.next);
    assert!(record.unknown.starts_with(&read.unknown), "{:?} of {:?}", read.unknown, record.unknown);
    assert_eq!(read.restores, record.restores.min(MAX_COUNT));
    assert_eq!(read.partitions.len(), record.partitions.len());
    for (read, given) in read.partitions.iter().zip(&record.partitions) {
        assert_eq!((&read.name, read.state), (&given.name, given.state));
        assert_eq!(read.failures, given.failures.min(MAX_COUNT));
        assert_eq!(read.crashes, given.crashes.min(MAX_COUNT));
        let why = knownstate_core::event::printable(&given.why);
        assert!(why.trim_ascii().starts_with(&read.why), "`{}` of `{why}`", read.why);
        let before = knownstate_core::event::printable(&given.before);
        assert!(before.trim_ascii().starts_with(&read.before), "`{}` of `{before}`", read.before);
        assert!([0, given.proved].contains(&read.proved) && [0, given.slice].contains(&read.slice), "{read:?}");
        assert!(read.trial.is_none() || read.trial == given.trial, "{read:?} of {given:?}");
    }
    assert_eq!(read.to_sector(), sector, "what was read is written otherwise");
}

/// Reports and marks, as often as anybody can make them.
fn changes(mut record: Record, name: &str) {
    let mut marked = record.clone();
    marked.set_dirty(name, "206 not as sealed", true);
    let counters = marked.get(name).map(|p| (p.failures, p.crashes)).expect("it is there");
    assert!((1..=MAX_COUNT).contains(&counters.0), "{counters:?}");
    for boot in 0..3 {
        record.set_dirty(name, "206 \u{7}not as sealed", boot % 2 == 0);
        record.report_booted(name);
        record.set_dirty(name, "212 boot begun, not confirmed", true);
        comes_back(&record);
    }
    let partition = record.get(name).expect("it is there");
    assert!(partition.failures <= MAX_COUNT.max(1) && partition.crashes <= MAX_COUNT, "{partition:?}");
    record.report_shutdown(name);
    comes_back(&record);
}

/// The copy with the right sum in the place of the one that stands there.
fn summed(copy: &[u8]) -> Vec<u8> {
    let mut copy = copy.to_vec();
    if let Some(at) = copy.windows(7).position(|w| w == b"\ncrc32=") {
        let sum = format!("{:08x}", crc32(&copy[..at + 1]));
        if let Some(place) = copy.get_mut(at + 7..at + 15) {
            place.copy_from_slice(sum.as_bytes());
        }
    }
    copy
}

/// Columns that the loader has for a line of a diagnostic (logic/diagnostic.rs, `NARROW`).
const NARROW: usize = 64;

/// A whole logic.txt.
pub fn logic(data: &[u8]) {
    // The loader reads no longer one.
    let data = &data[..data.len().min(logic::MAX_BYTES)];
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (parsed, most) = heap::most(|| logic::parse(text));
    assert!(most < heap::LOADER, "{most} bytes for a logic.txt of {}", text.len());
    let lines = text.lines().count().max(1);
    match parsed {
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "refused for no reason");
            for pair in diagnostics.windows(2) {
                assert!((pair[0].line, pair[0].column) <= (pair[1].line, pair[1].column), "not in order");
            }
            for diagnostic in &diagnostics {
                assert!((1..=lines + 1).contains(&diagnostic.line), "line {} of {lines}", diagnostic.line);
                assert!(diagnostic.column >= 1 && diagnostic.width >= 1, "{diagnostic:?}");
                let obeyed = |c: char| c.is_control() && c != '\t';
                assert!(!diagnostic.to_string().contains(obeyed), "{:?}", diagnostic.to_string());
                let rendered = diagnostic.render("logic.txt", text);
                assert!(rendered.lines().count() >= 4, "{rendered}");
                assert!(!rendered.replace('\n', "").contains(obeyed), "{rendered:?}");
                for line in diagnostic.narrow(text) {
                    assert!(line.chars().count() <= NARROW, "`{line}` is too long");
                    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
                }
            }
        }
        Ok(program) => program_is_sound(&program),
    }
}

/// Every reference leads somewhere, and no partition out of its disk or into another one.
fn program_is_sound(program: &logic::Program) {
    let steps = program.steps();
    assert!(!steps.is_empty(), "a flow without steps");
    for step in steps {
        assert!(step.otherwise.is_none_or(|to| to < steps.len()), "{step:?}");
        if let logic::Verb::Goto(to) = step.verb {
            assert!(to < steps.len(), "{step:?}");
        }
    }
    for index in program.disk_indexes() {
        let disk = program.disk(index);
        let (logic::Size::Exactly(size) | logic::Size::AtLeast(size)) = disk.sectors;
        let mut places: Vec<(u64, u64)> = program
            .partitions_on(index)
            .map(|p| program.partition(p))
            .map(|p| (p.start.0, p.start.0.checked_add(p.sectors.0).expect("it has an end")))
            .collect();
        places.sort_unstable();
        assert!(places.len() <= 4, "{} partitions", places.len());
        assert!(
            places.iter().all(|(first, end)| *first >= 1 && first < end && *end <= size.0),
            "{places:?} of {size:?}"
        );
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{places:?} overlap");
    }
    assert!(Record::fits(program.recorded_names()), "the names do not fit bstate.txt");
}
