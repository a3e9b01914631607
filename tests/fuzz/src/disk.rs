//! The MBR and whose a disk is, and seals on a partition.

use std::ops::Range;

use knownstate_core::disks::{Chosen, Kept, Known, Scope, Search, Standing};
use knownstate_core::event::Event;
use knownstate_core::hash::hash;
use knownstate_core::logic;
use knownstate_core::machine::{DiskId, DiskInfo, IoError, Machine};
use knownstate_core::media::filesystem::FileMap;
use knownstate_core::media::marks::{self, Found, On};
use knownstate_core::media::mbr::{CODE_BYTES, Mbr};
use knownstate_core::media::note::Note;
use knownstate_core::media::region::Write;
use knownstate_core::table::{Form, Header, Table};
use knownstate_core::units::{CdSector, Lba, Offset, SECTOR};

use super::heap;
use super::input::Sparse;
use super::machine::Fuzzed;

/// Sectors of the seal's partition, which is one file.
pub const SEAL_SECTORS: u64 = 1024;
/// Bit of a seal's word: its hashes are made right.
pub const HASHED: u32 = 1 << 31;

/// A machine with this disk and no CD.
pub fn machine(over: Sparse<SECTOR>, sectors: u64) -> Fuzzed<'static> {
    Fuzzed { over, sectors, most_reads: 20_000, strict: true, ..Fuzzed::default() }
}

/// A disk of `word` sectors, and its sector 0 by itself.
pub fn mbr(data: &[u8]) {
    let over = Sparse::parse(data);
    let sectors = u64::from(over.word).max(1);
    mbr_on(&mut machine(over, sectors));
}

pub fn mbr_on(machine: &mut Fuzzed<'_>) {
    let (sector, sectors) = (machine.sector(0), machine.sectors);
    let note = Note::parse(&sector);
    for mbr in Mbr::parse(&sector).ok().into_iter().chain(note.as_ref().map(|note| note.mbr)) {
        mbr_is_sound(&mbr, sectors);
    }
    if let Some(note) = &note {
        note_is_sound(note);
    }
    let size = sectors.clamp(8192, u64::from(u32::MAX));
    for options in ["", " signature 12345678", " adopt"] {
        // One of them has an image, so that it may be written; of the other the map alone is proof enough.
        for image in [" image p.img", ""] {
            let logic = format!(
                "logic 1\ndisk d sectors {size}..{options}\npartition P1 on d start 2048 sectors 4096 type 0c{image}\nrestart\n"
            );
            whose(machine, &logic, &sector);
        }
    }
}

/// What the disk is, what is claimed of it, and by what right.
fn whose(machine: &mut Fuzzed<'_>, logic: &str, sector: &[u8; SECTOR]) {
    let program = logic::parse(logic).unwrap_or_else(|d| panic!("{logic}: {d:?}"));
    let index = program.disk_indexes().next().expect("one disk");
    let partition = program.partition(program.partition_indexes().next().expect("one partition"));
    let sectors = machine.sectors;
    machine.reads = 0;
    let ((look, found, restore), most) = heap::most(|| {
        let known = &mut Known::default();
        let mut search = Search { machine, cd: None, program: &program, known };
        let look = search.look(DiskId(0), index).expect("there is a disk");
        (look, search.find(index, true), search.find_to_restore(index))
    });
    // Each of the entries that are listed is looked at by itself, and each may carry marks far inside.
    assert!(machine.reads < 16_000, "{} reads to know a disk", machine.reads);
    assert!(most < heap::LOADER / 2, "{most} bytes to know a disk");
    // It was looked at once: it is as it was.
    let mut again = Search { machine, cd: None, program: &program, known: &mut Known::default() };
    assert_eq!(again.look(DiskId(0), index).expect("it was there").standing, look.standing);
    let ours = matches!(look.standing, Standing::Ours { .. });
    let map = program.map(index);
    let held = Mbr::parse(sector).is_ok_and(|mbr| mbr.has_map(&map));
    // Where the table does not hold the map, or nothing stands beside it, only note and content are left, and a
    // mark at the disk's own beginning is stronger than both.
    let marks = marks::look(machine, DiskId(0), Lba(0), sectors, On::Disk);
    let at_beginning = |found: &&Found| found.from_beginning && found.at.0 < partition.start.0 && found.owner != ISO;
    if let Some(mark) = marks.found.iter().find(at_beginning) {
        assert!(!ours || held, "a disk with {mark:?} is claimed: {:?}", look.standing);
        assert!(look.standing != Standing::Blank, "a disk with {mark:?} is blank");
    }
    if look.standing == Standing::Blank {
        assert!(Mbr::parse(sector).is_err() && marks.found.is_empty(), "blank, with a table or {:?}", marks.found);
    }
    if let Ok(Chosen { claim, .. }) = &found {
        assert!(ours && claim.scope() != Scope::Restore, "claimed without a proof: {:?}", look.standing);
        // A signature that differs disproves all.
        let declared = program.disk(index).signature;
        let signature = Mbr::parse(sector).map_or(0, |mbr| mbr.disk_signature());
        assert!(signature == 0 || declared.is_none_or(|declared| declared == signature), "{signature:08X} is claimed");
        assert!(partition.image.is_some() || claim.scope() == Scope::Nothing, "a disk without an image may be written");
    }
    if restore.is_ok() {
        let adopts = program.disk(index).adopt;
        assert!(ours || look.standing == Standing::Blank || adopts, "{:?} may be restored", look.standing);
    }
    for claim in [&found, &restore].into_iter().flatten().map(|chosen| &chosen.claim) {
        assert_eq!(claim.partition(partition).length(), partition.sectors);
        assert!(claim.sectors() >= partition.start.0 + partition.sectors.0);
        // What is cleared lies in no declared partition, in no entry that is kept, and on the disk: the machine ends
        // a write to anything else.
        machine.allowed = gaps(partition.start.0, partition.start.0 + partition.sectors.0, sectors, claim.kept());
        for region in [true, false].into_iter().flat_map(|before| claim.gap_marks(before)) {
            let mut content = vec![0; region.length().0 as usize * SECTOR];
            if region.read(machine, Offset(0), &mut content).is_ok() {
                let _ = region.write(machine, Offset(0), &content);
            }
        }
        // What is kept stands in the table, and begins on the disk.
        for kept in claim.kept() {
            assert!(kept.start < sectors && kept.kind != 0, "{kept} is kept of {sectors} sectors");
        }
    }
}

/// The sectors that are in no declared partition, in no entry that is kept, and not sector 0.
fn gaps(start: u64, end: u64, sectors: u64, kept: &[Kept]) -> Vec<Range<u64>> {
    let mut gaps = vec![1..start, end..sectors];
    for kept in kept {
        let cut = |gap: &Range<u64>| {
            [gap.start..gap.end.min(kept.start), gap.start.max(kept.end())..gap.end]
                .into_iter()
                .filter(|g| !g.is_empty())
        };
        gaps = gaps.iter().flat_map(cut).collect();
    }
    gaps
}

/// ISO 9660 leaves the first 32 KiB to others.
const ISO: &str = "ISO 9660";

fn note_is_sound(note: &Note) {
    let sector = note.to_sector();
    assert_eq!(Note::parse(&sector).as_ref(), Some(note), "a note is not read back");
    assert!(Note::is_begun(&sector));
    assert!(Mbr::parse(&sector).is_err(), "a disk that is being restored has a table");
    assert!(note.cd.len() <= 24);
}

fn mbr_is_sound(mbr: &Mbr, sectors: u64) {
    let entries = mbr.entries();
    let places = entries.iter().filter(|e| e.kind != 0);
    let mut places: Vec<(u64, u64)> =
        places.map(|e| (u64::from(e.start), u64::from(e.start) + u64::from(e.sectors))).collect();
    places.sort_unstable();
    let sound = mbr.check(sectors).is_ok();
    if sound {
        let inside = places.iter().all(|(first, end)| *first > 0 && first < end && *end <= sectors);
        assert!(inside, "{places:?} of {sectors}");
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{places:?} overlap");
    }
    // What was read and is written again is the same, and so is the word of a restore that was begun.
    let code = mbr.sector().first_chunk::<CODE_BYTES>().expect("it is shorter");
    let again = Mbr::new(&entries, code, mbr.disk_signature());
    assert!(again.has_map(&entries) && again.disk_signature() == mbr.disk_signature());
    if let Ok(active) = mbr.active() {
        assert_ne!(entries[active].kind, 0, "an empty entry is the active one");
        assert_eq!(again.active(), Ok(active));
    }
    assert!(Mbr::parse(again.sector()).is_ok(), "what is written can't be read");
    let begun = Note { mbr: *mbr, cd: "Knownstate".to_string(), set: Some(1) };
    note_is_sound(&Note::parse(&begun.to_sector()).expect("a restore that was begun"));
    let begun = Note::parse(&begun.to_sector()).expect("it is one");
    assert!(begun.mbr.has_map(&entries) && begun.mbr.disk_signature() == mbr.disk_signature());
    // Entries that are kept stand where they stood, byte by byte but for the flag, if there is room.
    let raw: Vec<_> = (0..4).filter(|&n| entries[n].kind != 0).map(|n| (n, mbr.raw_entry(n))).collect();
    let empty = Mbr::new(&Default::default(), code, 0).with_entries(&raw).expect("there is room for four");
    assert!(empty.has_map(&entries) && empty.active().is_err());
    for n in 0..4 {
        let active = mbr.with_active(n);
        assert!(active.has_map(&entries));
        let bootable = entries[n].kind != 0;
        assert_eq!(active.active().is_ok(), bootable);
        let good = active.verify(&entries, sectors, Some(code), Some(mbr.disk_signature())).is_ok();
        assert!(good == bootable || !sound, "verify says {good} of a table that makes sense");
    }
}

/// A partition that is nothing but a seal.
pub fn seal(data: &[u8]) {
    let mut over = Sparse::<SECTOR>::parse(data);
    let hashed = over.word & HASHED != 0;
    over.length = SEAL_SECTORS;
    if hashed {
        make_right(&mut over);
    }
    let (pieces, bytes) = ((over.word >> 16 & 0xF) + 1, u64::from(over.word & 0xFFFF) * 64);
    seal_on(&mut machine(over, SEAL_SECTORS + 2), u64::from(pieces), bytes);
}

/// The seal's file begins with the partition, and lies in pieces of so many sectors with gaps of one, or in one.
pub fn seal_on(machine: &mut Fuzzed<'_>, piece: u64, bytes: u64) {
    let logic = format!(
        "logic 1\ndisk d sectors {}\npartition P1 on d start 2 sectors {SEAL_SECTORS} type 0c\nrestart\n",
        machine.sectors
    );
    let program = logic::parse(&logic).unwrap_or_else(|d| panic!("{d:?}"));
    // The partition's sectors are shifted by two, so that an input counts from the seal's beginning.
    let known = &mut Known::default();
    let index = program.disk_indexes().next().expect("one disk");
    let mbr = Mbr::new(&program.map(index), &[0; CODE_BYTES], 7);
    let mut shifted = Shifted(machine, *mbr.sector());
    let found = Search { machine: &mut shifted, cd: None, program: &program, known }.find(index, true);
    let claim = found.expect("of a disk without an image the map is proof enough").claim;
    let region = claim.partition(program.partition(program.partition_indexes().next().expect("one partition")));
    let runs = if piece == 1 {
        vec![(Offset(0), SEAL_SECTORS)]
    } else {
        (0..SEAL_SECTORS / piece).map(|n| (Offset(n * piece), piece)).collect()
    };
    let ((), most) = heap::most(|| {
        let Ok(Some(table)) = Table::on_disk(&mut shifted, &region, FileMap { bytes, runs, overhead: None }, "seal.0")
        else {
            return;
        };
        let header = &table.header;
        assert_eq!(header.form, Form::Seal);
        assert!(header.sequence > 0 && header.file_bytes <= bytes && header.sectors.0 <= SEAL_SECTORS);
        assert_eq!(Header::parse(&header.to_sector()).as_ref(), Ok(header), "the header is not read back");
        let (mut cursor, mut end, mut given) = (table.entries(), 0, 0);
        while let Ok(Some(entry)) = cursor.next(&mut shifted) {
            given += 1;
            assert!(given <= header.chunks, "more entries than there are");
            assert!(entry.first >= end && entry.end() <= header.sectors.0, "{entry:?} after sector {end}");
            assert!(entry.place.is_none(), "a seal's entry has a place on the CD");
            end = entry.end();
            let mut content = vec![0xA5; entry.bytes()];
            if region.read(&mut shifted, Offset(entry.first), &mut content).is_ok() {
                let _ = entry.matches(&mut content);
            }
            let names = table.names_of(&mut shifted, entry.first, entry.end());
            for owner in table.owners_of(&mut shifted, entry.first, entry.end()) {
                let pieces = table.pieces_of(&mut shifted, &owner);
                assert!(pieces.iter().all(|(from, behind)| from <= behind), "{owner} ends before it begins");
            }
            assert!(!names.contains(|c: char| c.is_control()), "{names:?}");
        }
        let _ = table.is_partial(&mut shifted);
        let _ = table.check_names(&mut shifted);
    });
    assert!(most < heap::LOADER / 4, "{most} bytes for a seal");
}

fn make_right(disk: &mut Sparse<SECTOR>) {
    let Some(header) = disk.get(0).map(<[u8]>::to_vec) else { return };
    let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (sequence, chunks) = (long(0x10), long(0x20));
    let blocks = chunks.div_ceil(Form::Seal.entries() as u64);
    for (number, block) in disk.each() {
        if number == 0 {
            let own = hash(0, &block[..SECTOR - 8]);
            block[SECTOR - 8..].copy_from_slice(&own.to_le_bytes());
        } else if u64::from(number) <= blocks {
            let own = Form::Seal.hash_of_block(sequence, u64::from(number) - 1, block);
            block[SECTOR - 8..].copy_from_slice(&own.to_le_bytes());
        }
    }
}

/// The same machine with two more sectors in front of its disk: no partition starts earlier.
struct Shifted<'m, 'b>(&'m mut Fuzzed<'b>, [u8; SECTOR]);

impl Machine for Shifted<'_, '_> {
    fn disks(&mut self) -> Vec<DiskInfo> {
        self.0.disks()
    }

    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        if let Some(at) = at.0.checked_sub(2) {
            return self.0.read_disk(disk, Lba(at), into);
        }
        for (at, sector) in (at.0..).zip(into.as_chunks_mut::<SECTOR>().0) {
            match at.checked_sub(2) {
                // What stands in front of the partition: the table by which the disk is known.
                None => *sector = if at == 0 { self.1 } else { [0; SECTOR] },
                Some(at) => self.0.read_disk(disk, Lba(at), sector)?,
            }
        }
        Ok(())
    }

    fn write_disk(&mut self, _write: &Write<'_>) -> Result<(), IoError> {
        panic!("reading a seal writes")
    }

    fn read_cd(&mut self, _at: CdSector, _into: &mut [u8]) -> Result<(), IoError> {
        panic!("reading a seal reads the CD")
    }

    fn now(&mut self) -> u64 {
        self.0.now()
    }

    fn tell(&mut self, event: &Event<'_>) {
        self.0.tell(event);
    }

    fn key_pressed(&mut self) -> bool {
        false
    }

    fn pause(&mut self) {}

    fn beep(&mut self, _times: u8) {}
}
