//! ISO 9660, and images on it.

use knownstate_core::hash::hash;
use knownstate_core::media::iso9660::{CdFile, Iso};
use knownstate_core::table::unpack::{BUFFER_BYTES, Buffers};
use knownstate_core::table::{CHUNK_BYTES, Form, Header, Table};
use knownstate_core::units::{CD_SECTOR, SECTOR};

use super::heap;
use super::input::Sparse;
use super::machine::Fuzzed;

/// What the loader looks for on a CD, and more.
const PATHS: [&str; 5] = ["logic.txt", "mbr.bin", "images/system.img", "images", "images/deeper/file"];
/// The longest CD and image, in CD sectors: 32 MiB and 1 MiB.
const LONGEST: u64 = 16384;
const LONGEST_IMAGE: u64 = 512;
/// Bit of an image's word: its hashes are made right, so that what is behind them is reached.
pub const HASHED: u32 = 1 << 31;

/// A machine with this CD and no disk.
pub fn machine(cd: Sparse<CD_SECTOR>, longest: u64) -> Fuzzed<'static> {
    let cd_sectors = cd.length.min(longest);
    Fuzzed { cd, cd_sectors, most_reads: 100_000, strict: true, ..Fuzzed::default() }
}

pub fn iso9660(data: &[u8]) {
    iso9660_on(&mut machine(Sparse::parse(data), LONGEST));
}

pub fn iso9660_on(machine: &mut Fuzzed<'_>) {
    let ((), most) = heap::most(|| {
        let Ok(iso) = Iso::open(machine) else { return };
        for path in PATHS {
            machine.reads = 0;
            let Ok(file) = iso.find(machine, path) else { continue };
            assert!(machine.reads <= 64 * 3, "{} reads to find {path}", machine.reads);
            let mut sector = [0; CD_SECTOR];
            if file.bytes() > 0 {
                let last = (file.bytes() - 1) / CD_SECTOR as u64 * CD_SECTOR as u64;
                let _ = file.read(machine, 0, &mut sector);
                let _ = file.read(machine, last, &mut sector);
            }
            let behind = file.bytes().next_multiple_of(CD_SECTOR as u64) + 33 * CD_SECTOR as u64;
            assert!(file.read(machine, behind, &mut sector).is_err(), "{path} is read past its end");
            match iso.read_file(machine, path, 64 * 1024) {
                Ok(bytes) => assert!(bytes.len() as u64 == file.bytes() && bytes.len() <= 64 * 1024),
                Err(why) => assert!(!why.to_string().is_empty()),
            }
        }
    });
    assert!(most < heap::LOADER / 2, "{most} bytes for a file on the CD");
}

/// A CD that is nothing but one image.
pub fn image(data: &[u8]) {
    let mut cd = Sparse::parse(data);
    let hashed = cd.word & HASHED != 0;
    cd.length = u64::from(cd.word & 0xFFFF);
    if hashed {
        make_right(&mut cd);
    }
    image_on(&mut machine(cd, LONGEST_IMAGE));
}

/// Makes every hash right: of the packs first, then of the blocks that name them, then of the header.
fn make_right(cd: &mut Sparse<CD_SECTOR>) {
    let content = cd.clone();
    let bytes_at = |at: u32, bytes: usize| {
        let mut all = Vec::new();
        for number in at..at.saturating_add(bytes.div_ceil(CD_SECTOR) as u32) {
            all.extend_from_slice(content.get(number).unwrap_or(&[0; CD_SECTOR]));
        }
        all.truncate(bytes);
        all
    };
    let Some(header) = content.get(0).map(<[u8]>::to_vec) else { return };
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let long = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let (sequence, chunks) = (long(&header, 0x10), long(&header, 0x20));
    let blocks = chunks.div_ceil(Form::Image.entries() as u64);
    let (names_at, names_bytes) = (long(&header, 0x28), word(&header, 0x30));
    let names = bytes_at((names_at / CD_SECTOR as u64) as u32, (names_bytes as usize).min(1 << 20));
    for (number, block) in cd.each() {
        if number == 0 {
            block[0x38..0x40].copy_from_slice(&hash(0, &names).to_le_bytes());
            let own = hash(0, &block[..SECTOR - 8]);
            block[SECTOR - 8..SECTOR].copy_from_slice(&own.to_le_bytes());
        } else if u64::from(number) <= blocks {
            for entry in block[..CD_SECTOR - 8].chunks_exact_mut(Form::Image.entry()) {
                let bytes = word(entry, 0x1C) as usize;
                if (1..=CHUNK_BYTES).contains(&bytes) {
                    let own = hash(0, &bytes_at(word(entry, 0x18), bytes));
                    entry[0x20..0x28].copy_from_slice(&own.to_le_bytes());
                }
            }
            let own = Form::Image.hash_of_block(sequence, u64::from(number) - 1, block);
            block[CD_SECTOR - 8..].copy_from_slice(&own.to_le_bytes());
        }
    }
}

pub fn image_on(machine: &mut Fuzzed<'_>) {
    let mut memory: Box<[u8; BUFFER_BYTES]> = vec![0; BUFFER_BYTES].into_boxed_slice().try_into().expect("its length");
    let mut buffers = Buffers::new(&mut memory);
    let ((), most) = heap::most(|| {
        let file = CdFile::medium(machine.cd_sectors * CD_SECTOR as u64);
        let Ok(table) = Table::in_file(machine, file, "image") else { return };
        let header = &table.header;
        let again = Header::parse(&header.to_sector());
        assert_eq!(again.as_ref(), Ok(header), "the header is not read back");
        let (mut cursor, mut end, mut given) = (table.entries(), 0, 0);
        while let Ok(Some(entry)) = cursor.next(machine) {
            given += 1;
            assert!(given <= header.chunks, "more entries than there are");
            assert!(entry.first >= end && entry.end() <= header.sectors.0, "{entry:?} after sector {end}");
            end = entry.end();
            let unpacked = buffers.chunk(machine, &table, &entry);
            if let Ok((content, back)) = unpacked {
                assert_eq!(content.len(), entry.bytes());
                assert_eq!(back.len(), CHUNK_BYTES);
                let _ = entry.matches(content);
                buffers.forget();
            }
            if given % 16 == 1 {
                let names = table.names_of(machine, entry.first, entry.end());
                assert!(!names.contains(|c: char| c.is_control()), "{names:?}");
            }
        }
        let _ = table.is_partial(machine);
        let _ = table.check_names(machine);
        let mut bytes = 0;
        let whole = table.identified(machine, |piece| bytes += piece.len() as u64);
        assert!(whole.is_err() || bytes == header.names_at + u64::from(header.names_bytes) - CD_SECTOR as u64);
    });
    assert!(most < heap::LOADER / 4, "{most} bytes for an image");
}
