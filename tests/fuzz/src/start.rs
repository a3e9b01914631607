//! Whole starts: the machine has a real CD and a disk that the CD restored, and an input's sectors stand over
//! those of one of them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use knownstate_core::logic;
use knownstate_core::machine::Ending;
use knownstate_core::media::iso9660::Iso;
use knownstate_core::table::unpack::{BUFFER_BYTES, Buffers};
use knownstate_core::units::{CD_SECTOR, SECTOR};

use super::heap;
use super::input::Sparse;
use super::machine::Fuzzed;

/// Starts until the machine has to have come up, or to hold: figure 4 needs three after damage to both copies,
/// the default flow restores one copy after the other.
const STARTS: usize = 6;
/// Reads of one start; a good one takes some 200.
const MOST_READS: usize = 20_000;
/// Bit of the word: the disk is blank.
const BLANK: u32 = 2;

/// A CD, the disk that it leaves, and where it may write.
pub struct Base {
    pub cd: Vec<u8>,
    pub disk: Vec<u8>,
    pub allowed: Vec<Range<u64>>,
    /// For each partition the sectors of the disk in which every byte is protected.
    pub protected: Vec<Vec<Range<u64>>>,
    pub logic: String,
}

/// The flows that are followed, by the lowest bit of an input's word.
pub const FLOWS: [&str; 2] = ["figure4", "default"];

/// Where `tests/fuzzing.rs` leaves them: in the project's target/fuzz.
fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = here.ancestors().map(|folder| folder.join("target/fuzz/base"));
    let found = folders.into_iter().find(|folder| folder.join(FLOWS[1]).join("logic.txt").exists());
    found.expect("no target/fuzz/base; type: cargo test --release --test fuzzing")
}

fn ranges(text: &str) -> Vec<Range<u64>> {
    let numbers = |line: &str| {
        let (first, end) = line.split_once(' ').expect("two numbers");
        first.parse().expect("a number")..end.parse().expect("a number")
    };
    text.lines().map(numbers).collect()
}

impl Base {
    pub fn load(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = |name: &str| String::from_utf8(read(name)).expect("it is text");
        Self {
            cd: read("cd.iso"),
            disk: read("disk.img"),
            allowed: ranges(&text("allowed")),
            protected: [ranges(&text("protected.0")), ranges(&text("protected.1"))].to_vec(),
            logic: text("logic.txt"),
        }
    }

    /// The machine without an input.
    pub fn machine(&self) -> Fuzzed<'_> {
        Fuzzed {
            base: &self.disk,
            sectors: (self.disk.len() / SECTOR) as u64,
            allowed: self.allowed.clone(),
            cd_base: &self.cd,
            cd_sectors: (self.cd.len() / CD_SECTOR) as u64,
            most_reads: MOST_READS,
            strict: true,
            ..Fuzzed::default()
        }
    }
}

fn base(word: u32) -> &'static Base {
    static BASES: [OnceLock<Base>; 2] = [const { OnceLock::new() }; 2];
    let n = (word & 1) as usize;
    BASES[n].get_or_init(|| Base::load(&folder().join(FLOWS[n])))
}

/// One start; how it ends.
pub fn start(machine: &mut Fuzzed<'_>, memory: &mut [u8; BUFFER_BYTES]) -> Ending {
    (machine.reads, machine.millis, machine.told) = (0, 0, 0);
    machine.lines.clear();
    let (ending, most) = heap::most(|| knownstate_core::run(machine, Buffers::new(memory)));
    assert!(most < heap::LOADER, "{most} bytes at once; said: {:#?}", machine.lines);
    assert!(machine.told < 2000, "{} lines told, the first: {:#?}", machine.told, machine.lines);
    ending
}

pub fn memory() -> Box<[u8; BUFFER_BYTES]> {
    vec![0; BUFFER_BYTES].into_boxed_slice().try_into().expect("it has this length")
}

/// Sectors of the disk are an input's; the CD is good. So the machine comes up with what the CD shipped, or
/// holds.
pub fn disk(data: &[u8]) {
    let over = Sparse::parse(data);
    let base = base(over.word);
    let mut machine = base.machine();
    machine.over = over;
    let memory = &mut *memory();
    for _ in 0..STARTS {
        match start(&mut machine, memory) {
            Ending::Restart => {}
            Ending::Hold { step, .. } => {
                assert!(!step.is_empty() && machine.lines.iter().any(|line| line.contains(" = failed (")));
                return;
            }
            Ending::PowerOff => panic!("no flow here switches off: {:#?}", machine.lines),
            Ending::HandOff(to) => {
                assert!(to.drive == 0x80 && to.boot_sector[510..] == [0x55, 0xAA]);
                assert_eq!(to.mbr[446 + 16 * usize::from(to.entry)], 0x80, "another entry is active");
                return is_as_shipped(&machine, base, usize::from(to.entry));
            }
        }
    }
    panic!("no hand-off after {STARTS} starts: {:#?}", machine.lines);
}

/// Whether all that is protected, and in which every byte counts, is what the CD has. Nobody can make another
/// seal: that takes its hashes.
fn is_as_shipped(machine: &Fuzzed<'_>, base: &Base, partition: usize) {
    for at in base.protected[partition].iter().cloned().flatten() {
        let shipped = &base.disk[at as usize * SECTOR..][..SECTOR];
        assert!(machine.sector(at) == *shipped, "sector {at} is not as shipped at the hand-off: {:#?}", machine.lines);
    }
}

/// Sectors of the CD are an input's, over a disk that is restored, or blank. What a flow of its own says is
/// whatever it is, but it ends, and writes nothing that it does not declare.
pub fn cd(data: &[u8]) {
    let over = Sparse::parse(data);
    let base = base(over.word);
    let mut machine = base.machine();
    if over.word & BLANK != 0 {
        machine.base = &[];
    }
    machine.cd = over;
    match logic_of(&mut machine) {
        Some(text) if text == base.logic => {}
        text => {
            // A flow may go round as often as a flow may, so the machine's end is that it gives nothing more.
            machine.strict = false;
            machine.allowed = text.map(|text| declared(&text)).unwrap_or_default();
        }
    }
    let memory = &mut *memory();
    for _ in 0..2 {
        if !matches!(start(&mut machine, memory), Ending::Restart) {
            return;
        }
    }
}

fn logic_of(machine: &mut Fuzzed<'_>) -> Option<String> {
    let iso = Iso::open(machine).ok()?;
    String::from_utf8(iso.read_file(machine, logic::FILE, logic::MAX_BYTES).ok()?).ok()
}

/// What a logic.txt declares to be written: sector 0 and the partitions of its disks.
fn declared(text: &str) -> Vec<Range<u64>> {
    let Ok(program) = logic::parse(text) else { return Vec::new() };
    let partitions = program.partition_indexes().map(|p| program.partition(p));
    // A restore's note has a second place, before the first partition of the disk.
    let starts = |disk| program.partitions_on(disk).map(|p| program.partition(p).start.0).min();
    let notes = program.disk_indexes().filter_map(starts).map(|start| start.saturating_sub(1)..start);
    let all = std::iter::once(0..1).chain(notes);
    all.chain(partitions.map(|p| p.start.0..p.start.0 + p.sectors.0)).collect()
}
