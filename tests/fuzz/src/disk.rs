//! The MBR and whose a disk is, and seals on a partition.

use knownstate_core::disks;
use knownstate_core::event::Event;
use knownstate_core::hash::hash;
use knownstate_core::logic;
use knownstate_core::machine::{DiskId, DiskInfo, IoError, Machine};
use knownstate_core::media::filesystem::FileMap;
use knownstate_core::media::foreign;
use knownstate_core::media::mbr::{self, CODE_BYTES, Mbr};
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
    let begun = mbr::begun(&sector, sectors);
    for mbr in Mbr::parse(&sector, sectors).into_iter().chain(begun) {
        mbr_is_sound(&mbr, sectors);
    }
    let logic = format!(
        "logic 1\ndisk d sectors {}..\npartition P1 on d start 2048 sectors 4096 type 0c\nrestart\n",
        sectors.clamp(8192, u64::from(u32::MAX))
    );
    let program = logic::parse(&logic).unwrap_or_else(|d| panic!("{logic}: {d:?}"));
    let index = program.disk_indexes().next().expect("one disk");
    let mbr = Mbr::parse(&sector, sectors).ok();
    let (found, most) = heap::most(|| {
        let _ = foreign::owner(machine, DiskId(0), sectors, mbr.as_ref(), &program.map(index));
        disks::find(machine, &program, index)
    });
    assert!(machine.reads < 64, "{} reads to know a disk", machine.reads);
    assert!(most < heap::LOADER / 4, "{most} bytes to know a disk");
    if let Ok(claim) = found {
        let partition = program.partition(program.partition_indexes().next().expect("one partition"));
        assert_eq!(claim.partition(partition).length(), partition.sectors);
        assert!(claim.sectors() >= partition.start.0 + partition.sectors.0);
        assert!(foreign::owner_of_head(&sector).is_none(), "somebody else's disk is claimed");
    }
}

fn mbr_is_sound(mbr: &Mbr, sectors: u64) {
    let entries = mbr.entries();
    let places = entries.iter().filter(|e| e.kind != 0);
    let mut places: Vec<(u64, u64)> =
        places.map(|e| (u64::from(e.start), u64::from(e.start) + u64::from(e.sectors))).collect();
    places.sort_unstable();
    assert!(places.iter().all(|(first, end)| *first > 0 && first < end && *end <= sectors), "{places:?} of {sectors}");
    assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{places:?} overlap");
    // What was read and is written again is the same, and so is the word of a restore that was begun.
    let code = mbr.sector().first_chunk::<CODE_BYTES>().expect("it is shorter");
    let again = Mbr::new(&entries, code, mbr.disk_signature());
    assert!(again.has_map(&entries) && again.disk_signature() == mbr.disk_signature());
    if let Ok(active) = mbr.active() {
        assert_ne!(entries[active].kind, 0, "an empty entry is the active one");
        assert_eq!(again.active(), Ok(active));
    }
    assert!(Mbr::parse(again.sector(), sectors).is_ok(), "what is written can't be read");
    let begun = mbr::begun(&mbr::restoring(mbr), sectors).expect("a restore that was begun");
    assert!(begun.has_map(&entries) && begun.disk_signature() == mbr.disk_signature());
    assert!(Mbr::parse(&mbr::restoring(mbr), sectors).is_err(), "a disk that is being restored has a table");
    for n in 0..4 {
        let active = mbr.with_active(n);
        assert!(active.has_map(&entries));
        let bootable = entries[n].kind != 0;
        assert_eq!(active.active().is_ok(), bootable);
        assert_eq!(active.verify(&entries, Some(code), Some(mbr.disk_signature())).is_ok(), bootable);
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
    let mut shifted = Shifted(machine);
    let claim = disks::find(&mut shifted, &program, program.disk_indexes().next().expect("one disk"));
    let Ok(claim) = claim else { return };
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
struct Shifted<'m, 'b>(&'m mut Fuzzed<'b>);

impl Machine for Shifted<'_, '_> {
    fn disks(&mut self) -> Vec<DiskInfo> {
        self.0.disks()
    }

    fn read_disk(&mut self, disk: DiskId, at: Lba, into: &mut [u8]) -> Result<(), IoError> {
        match at.0.checked_sub(2) {
            // What stands in front of the partition, and the search for other people's marks.
            None => {
                into.fill(0);
                Ok(())
            }
            Some(at) => self.0.read_disk(disk, Lba(at), into),
        }
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
