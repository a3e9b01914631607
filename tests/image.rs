//! Images on the CD: their format to the byte, the hash's quality, every damaged bit found and named, tables
//! that lie, and round trips of real filesystems through build and restore.

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::hostile::Random;
use common::images::{self, Set, boot_code, ext, fat, figure4_on, figure4_set, put, unpack};
use common::machine::{Disk, Pc, word};
use common::tools::{self, must, run, shell, text};
use knownstate_core::hash::hash;
use knownstate_core::logic::Protect;
use knownstate_core::media::iso9660::{CdFile, Iso};
use knownstate_core::media::kind::Kind;
use knownstate_core::table::unpack::{BUFFER_BYTES, Buffers};
use knownstate_core::table::write::{blocks, parse_protect, seal};
use knownstate_core::table::{CHUNK_BYTES, Entry, Fault, Form, Header, Place, Table};
use knownstate_core::units::{Offset, SECTOR, SectorCount};

/// What the second implementation of the format, tests/common/table.py, says.
fn vectors() -> BTreeMap<String, Vec<u8>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/table.py");
    let said = must("python3", &[text(&script)]);
    said.lines().map(|l| l.split_once(' ').unwrap()).map(|(name, hex)| (name.into(), unhex(hex))).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn pattern(length: u64) -> Vec<u8> {
    (0..length).map(|n| (n * n / 7 + n) as u8).collect()
}

fn buffers() -> Box<[u8; BUFFER_BYTES]> {
    vec![0; BUFFER_BYTES].into_boxed_slice().try_into().unwrap()
}

/// The hash does not change from version to version, nor with what it is compiled for.
#[test]
fn the_hash_has_these_values() {
    let vectors = vectors();
    for (name, seed, data, value) in [
        ("empty", 0, vec![], 0),
        ("empty-seed-1", 1, vec![], 0x5692_161d_100b_05e5),
        ("one-zero", 0, vec![0], 0x5852_b7b9_55d3_d045),
        ("abc", 0, b"abc".to_vec(), 0xaed5_2aaf_d702_d539),
        ("sector-of-zeros", 0, vec![0; 512], 0xd136_b851_408e_3469),
        ("two-sectors-of-zeros", 0, vec![0; 1024], 0x8e8b_e53e_536b_7741),
        ("ones", 0, vec![0xFF; 512], 0xd19b_5ddd_d99d_6f68),
        ("pattern-511", 0, pattern(511), 0x0586_77f8_eceb_e8c2),
        ("pattern-513", 0, pattern(513), 0x1616_8001_ad10_aaa0),
        ("pattern-65536", 0, pattern(65536), 0x6a8d_de78_bc2e_bfed),
        ("pattern-504-seeded", 0x0123_4567_89AB_CDEF, pattern(504), 0xe05f_2621_16f4_4e00_u64),
    ] {
        assert_eq!(hash(seed, &data), value, "{name}");
        assert_eq!(vectors[&format!("hash-{name}")], value.to_be_bytes(), "{name} in table.py");
    }
}

fn place(at: u32, content: &[u8], raw: bool, within: u16) -> Option<Place> {
    Some(Place { at, bytes: content.len() as u32, hash: hash(0, content), raw, within })
}

fn entry(first: u64, sectors: u16, protected: bool, content: &[u8]) -> Entry {
    Entry { first, sectors, kind: Kind::Data, protected, hash: hash(0, content), place: None }
}

fn identity() -> [u8; 32] {
    std::array::from_fn(|n| n as u8)
}

#[test]
fn an_image_is_what_its_description_says() {
    let image = &vectors()["image"];
    let (boot, data) = (pattern(512), (0..1536_u32).map(|n| n as u8).collect::<Vec<u8>>());
    let literals = [&[0xF0][..], &[0xFF; 5], &[246], &data].concat();
    let entries = [
        Entry { place: place(3, &boot, true, 0), ..entry(0, 1, true, &boot) },
        Entry { place: place(4, &literals, false, 0), ..entry(7, 1, true, &data[..512]) },
        Entry { place: place(4, &literals, false, 1), ..entry(290, 2, false, &data[512..]) },
    ];
    let names = b"protect \"boot\" \"a b\"\n0 1 boot sector\n7 1 /boot\n";
    let header = Header {
        form: Form::Image,
        sequence: 0,
        sectors: SectorCount(300),
        chunks: 3,
        names_at: 4096,
        names_bytes: names.len() as u32,
        names_hash: hash(0, names),
        file_bytes: 5 * 2048,
        described: 4,
        protected: 2,
        state: Some(Offset(290)),
        identity: identity(),
    };
    // Written ...
    assert_eq!(header.to_sector()[..], image[..512], "the header");
    assert_eq!(blocks(Form::Image, 0, &entries), image[2048..4096], "the block");
    // ... and read.
    let mut pc = Pc::new(Arc::new(image.clone()), vec![]);
    let table = Table::in_file(&mut pc, CdFile::medium(image.len() as u64), "image").unwrap();
    assert_eq!(table.header, header);
    let (mut memory, mut cursor) = (buffers(), table.entries());
    let mut buffers = Buffers::new(&mut memory);
    for (entry, content) in entries.iter().zip([&boot[..], &data[..512], &data[512..]]) {
        assert_eq!(cursor.next(&mut pc).unwrap(), Some(*entry));
        assert_eq!(buffers.chunk(&mut pc, &table, entry).unwrap().0, content, "sector {}", entry.first);
    }
    assert_eq!(cursor.next(&mut pc), Ok(None));
    assert_eq!(table.check_names(&mut pc), Ok(()));
    for (sectors, names) in [(0..1, "boot sector"), (7..8, "/boot"), (0..300, "boot sector, /boot"), (1..7, "")] {
        assert_eq!(table.names_of(&mut pc, sectors.start, sectors.end), names, "{sectors:?}");
    }
    let mut identified = Vec::new();
    table.identified(&mut pc, |piece| identified.extend_from_slice(piece)).unwrap();
    assert_eq!(identified, image[2048..4096 + names.len()], "what the identity is made of");
}

#[test]
fn a_seal_is_what_its_description_says() {
    let wanted = &vectors()["seal"];
    let kind = |n: u8| Kind::from_byte(n).unwrap();
    let entries: Vec<Entry> = (0..22_u8)
        .map(|n| Entry {
            first: 130 * u64::from(n),
            sectors: u16::from(n) + 1,
            kind: kind(n % 13),
            protected: true,
            hash: hash(n.into(), b"chunk"),
            place: None,
        })
        .collect();
    let names = b"protect all\n0 2860 /everything\n";
    let written = seal(0x1_0000_0002, &entries, names, SectorCount(4000), identity());
    for (n, (ours, theirs)) in written.chunks(16).zip(wanted.chunks(16)).enumerate() {
        assert_eq!(ours, theirs, "bytes {:#x} on", n * 16);
    }
    assert_eq!(written.len(), wanted.len());
}

#[test]
fn what_is_to_be_protected_stands_in_the_first_line_of_the_names() {
    use knownstate_core::table::write::protect_line;
    let paths = |paths: &[&str]| Protect::Paths(paths.iter().map(|p| p.to_string()).collect());
    for protect in [Protect::All, Protect::None, paths(&["boot"]), paths(&["a b", "/etc/x", "c"])] {
        assert_eq!(parse_protect(&(protect_line(&protect) + "0 1 /x\n")), Some(protect));
    }
    for nothing in ["", "\n", "protect", "0 1 /x\nprotect all\n"] {
        assert_eq!(parse_protect(nothing), None, "{nothing:?}");
    }
}

#[test]
fn a_header_of_another_version_or_with_impossible_fields_is_refused_by_name() {
    let good = vectors()["image"][..512].to_vec();
    let with = |at: usize, bytes: &[u8]| {
        let mut sector = good.clone();
        sector[at..at + bytes.len()].copy_from_slice(bytes);
        let own = hash(0, &sector[..504]);
        sector[504..].copy_from_slice(&own.to_le_bytes());
        Header::parse(&sector).map(drop)
    };
    assert_eq!(with(0, b"K"), Ok(()));
    let big = |n: u64| n.to_le_bytes();
    for (name, at, bytes, fault) in [
        ("magic", 0, &b"X"[..], Fault::NoTable),
        ("version", 0x08, &[2], Fault::Version(2)),
        ("block length", 0x0C, &[1], Fault::Field("block length")),
        ("length", 0x18, &big(u64::MAX), Fault::Field("length")),
        ("described", 0x70, &big(301), Fault::Field("number of sectors")),
        ("protected", 0x78, &big(5), Fault::Field("number of sectors")),
        ("chunks", 0x20, &big(301), Fault::Field("number of chunks")),
        ("chunks that need another block", 0x20, &big(52), Fault::Field("place of the names")),
        ("names", 0x28, &big(4095), Fault::Field("place of the names")),
        ("names' length", 0x30, &[0, 0, 0, 5], Fault::Field("place of the names")),
        ("file length", 0x40, &big(4100), Fault::Field("file length")),
        ("bstate.txt", 0x48, &big(300), Fault::Field("place of bstate.txt")),
    ] {
        assert_eq!(with(at, bytes), Err(fault), "{name}");
    }
    for at in 0..512 {
        for bit in 0..8 {
            let mut sector = good.clone();
            sector[at] ^= 1 << bit;
            let fault = if at < 8 { Fault::NoTable } else { Fault::Hash };
            assert_eq!(Header::parse(&sector).map(drop), Err(fault), "bit {bit} of byte {at}");
        }
    }
}

/// Changes that disks make, each of which has to have a hash of its own.
#[test]
fn no_two_changes_of_a_chunk_have_the_same_hash() {
    let mut random = Random::new(3);
    let noise: Vec<u8> = (0..CHUNK_BYTES).map(|_| random.next() as u8).collect();
    for (name, chunk) in [("zeros", vec![0; CHUNK_BYTES]), ("ones", vec![0xFF; CHUNK_BYTES]), ("noise", noise)] {
        let mut seen = HashSet::new();
        let mut distinct = |what: &str, at: usize, content: &[u8]| {
            assert!(seen.insert(hash(0, content)), "{name}: {what} {at} has the hash of something else");
        };
        distinct("the chunk", 0, &chunk);
        let mut changed = chunk.clone();
        // Every bit of a short chunk, and of the long one every bit of some sectors.
        let sectors = [0, 1, 63, 127];
        let bits = sectors.iter().flat_map(|s| s * SECTOR * 8..(s + 1) * SECTOR * 8);
        for bit in bits {
            changed[bit / 8] ^= 1 << (bit % 8);
            distinct("bit", bit, &changed);
            if bit < 4 * SECTOR * 8 {
                distinct("bit of a short chunk", bit, &changed[..4 * SECTOR]);
            }
            changed[bit / 8] ^= 1 << (bit % 8);
        }
        // Two bits: near each other, far apart, and the same one of neighbouring words and sectors.
        let mut pairs = HashSet::new();
        for n in 0..6000 {
            let a = random.below(CHUNK_BYTES * 8);
            let distance = [1, 31, 32, 64, 1024, 4096, 8192, random.below(CHUNK_BYTES * 8)][n % 8];
            let b = (a + distance) % (CHUNK_BYTES * 8);
            if a != b && pairs.insert((a.min(b), a.max(b))) {
                changed[a / 8] ^= 1 << (a % 8);
                changed[b / 8] ^= 1 << (b % 8);
                distinct("two bits from", a, &changed);
                changed.copy_from_slice(&chunk);
            }
        }
        for length in (0..CHUNK_BYTES).step_by(61).chain(CHUNK_BYTES - 9..CHUNK_BYTES) {
            distinct("length", length, &chunk[..length]);
        }
    }
}

#[test]
fn what_stands_in_another_place_has_another_hash() {
    let mut random = Random::new(4);
    let chunk: Vec<u8> = (0..CHUNK_BYTES).map(|_| random.next() as u8).collect();
    let mut seen = HashSet::from([hash(0, &chunk)]);
    for bytes in [4, 8, 64, SECTOR, 8 * SECTOR] {
        for n in 0..400 {
            let pieces = CHUNK_BYTES / bytes;
            let (a, b) = if n < 200 { (n % (pieces - 1), n % (pieces - 1) + 1) } else { (n % pieces, pieces / 3) };
            let mut swapped = chunk.clone();
            let (a, b) = (a.min(b) * bytes, a.max(b) * bytes);
            if a + bytes <= b {
                let (left, right) = swapped.split_at_mut(b);
                left[a..a + bytes].swap_with_slice(&mut right[..bytes]);
                let value = hash(0, &swapped);
                assert!(value != hash(0, &chunk), "pieces of {bytes} bytes swapped at {a} and {b}");
                seen.insert(value);
            }
        }
    }
    assert!(seen.len() > 1200, "only {} of the swaps differ", seen.len());
    // One byte that is not zero, wherever it is; and the same with another number of zeros behind it.
    let mut seen = HashSet::new();
    for at in 0..4 * SECTOR {
        let mut zeros = vec![0; 4 * SECTOR];
        zeros[at] = 1;
        assert!(seen.insert(hash(0, &zeros)), "a one among zeros at {at}");
        if at < 3 * SECTOR {
            assert!(seen.insert(hash(0, &zeros[..3 * SECTOR])), "a one among fewer zeros at {at}");
        }
    }
    // No block stands for another one, nor for that of another seal.
    let block = [7; SECTOR];
    let mut seen = HashSet::new();
    for (sequence, number) in (0..40).flat_map(|s| (0..40).map(move |n| (s, n))) {
        assert!(seen.insert(Form::Seal.hash_of_block(sequence, number, &block)), "seal {sequence}, block {number}");
    }
}
