//! Images on the CD: their format to the byte, the hash's quality, every damaged bit found and named, tables
//! that lie, and round trips of real filesystems through build and restore.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::hostile::Random;
use common::images::{self, Set, boot_code, ext, fat, figure4_on, figure4_set, fill, is_fat, tree};
use common::machine::{Disk, Pc, word};
use common::seals::{self, Part};
use common::tools::{self, must, shell, text};
use knownstate_core::hash::hash;
use knownstate_core::logic::Protect;
use knownstate_core::media::iso9660::{CdFile, Iso};
use knownstate_core::media::kind::Kind;
use knownstate_core::table::unpack::{BUFFER_BYTES, Buffers};
use knownstate_core::table::write::{blocks, parse_protect, seal};
use knownstate_core::table::{CHUNK_BYTES, Entry, Fault, Form, Header, Place, Table};
use knownstate_core::units::{Offset, SECTOR, SectorCount};
use sha2::{Digest, Sha256};

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
        ("empty-seed-1", 1, vec![], 0x7ab4_0e09_0f36_3a7d),
        ("one-zero", 0, vec![0], 0x35a1_39ce_ce54_3274),
        ("abc", 0, b"abc".to_vec(), 0xab7a_84b9_2611_a2a5),
        ("sector-of-zeros", 0, vec![0; 512], 0x1e80_fb23_94fd_9e7c),
        ("two-sectors-of-zeros", 0, vec![0; 1024], 0x8c1e_90c4_f6bb_4c49),
        ("ones", 0, vec![0xFF; 512], 0x5dbe_22c4_98cb_eae5),
        ("pattern-511", 0, pattern(511), 0x108b_a646_f8e1_1cd2),
        ("pattern-513", 0, pattern(513), 0x3943_35cb_379c_ad9d),
        ("pattern-65536", 0, pattern(65536), 0x2321_8003_dae5_f580),
        ("pattern-504-seeded", 0x0123_4567_89AB_CDEF, pattern(504), 0x3d20_529e_a214_dfee_u64),
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
    let written = seal(0x1_0000_0002, &entries, names, SectorCount(4000), |_, _| identity());
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

/// A small CD with this flow after its declarations.
fn small(steps: &str) -> Set {
    let set = figure4_set(256, "-F 12", 256, "-t ext2");
    let logic = format!("logic 1\n{}{steps}\n", set.declarations());
    set.with_logic(&logic)
}

/// What `verify images` has to say of a damaged byte of an image file; nothing where it belongs to nobody.
fn complaint(header: &Header, entries: &[Entry], at: usize) -> Option<String> {
    let at = at as u64;
    let names_end = header.names_at + u64::from(header.names_bytes);
    let packs = || entries.iter().map(|e| e.place.unwrap());
    match at {
        0..8 => Some("is damaged on the CD: no table".into()),
        8..512 => Some("is damaged on the CD: the header's hash is wrong".into()),
        512..2048 => None,
        _ if at < header.names_at => Some(format!(": the hash of block {} of its table is wrong", at / 2048 - 1)),
        _ if at < names_end => Some(": the hash of its names is wrong".into()),
        _ => packs()
            .map(|p| (u64::from(p.at) * 2048, p.bytes))
            .find(|&(p, n)| (p..p + u64::from(n)).contains(&at))
            .map(|(pack, _)| format!(" is damaged on the CD: pack at byte {pack}: its hash is wrong")),
    }
}

#[test]
fn every_damaged_bit_of_an_image_is_found_and_named() {
    let set = small("1 verify images else 2\n  hold \"good\"\n2 hold \"damaged\"");
    let mut pc = set.blank();
    let mut nobodys = 0;
    for (n, image) in ["fat.img", "ext.img"].into_iter().enumerate() {
        let (begin, header, entries) = set.image_file(n);
        let mut iso = set.iso.to_vec();
        let first_pack = entries.iter().map(|e| e.place.unwrap().at as usize * 2048).min().unwrap();
        for at in 0..header.file_bytes as usize {
            let wanted = complaint(&header, &entries, at);
            nobodys += usize::from(wanted.is_none());
            // Every bit of what is not packed content; of that, another bit of each byte.
            let padding = wanted.is_none() && at % 16 > 0;
            let bits = if at >= first_pack || padding { at % 8..at % 8 + 1 } else { 0..8 };
            for bit in bits {
                iso[begin + at] ^= 1 << bit;
                pc.cd = Arc::new(iso);
                pc.start();
                let lines = pc.log();
                match &wanted {
                    Some(why) => {
                        assert_eq!(
                            lines[0],
                            format!("1 verify images = failed (images/{image}{})", spaced(why)),
                            "byte {at}, bit {bit}"
                        );
                    }
                    None => assert_eq!(lines[0], "1 verify images = ok", "byte {at}, bit {bit} is nobody's"),
                }
                iso = Arc::try_unwrap(std::mem::take(&mut pc.cd)).unwrap();
                iso[begin + at] ^= 1 << bit;
            }
        }
    }
    assert!(nobodys > 0, "there is padding somewhere");
    assert!(pc.writes.is_empty());
}

/// A reason that goes on with a word has a space before it, and one that goes on with a colon has none.
fn spaced(why: &str) -> String {
    if why.starts_with([' ', ':']) { why.to_string() } else { format!(" {why}") }
}

#[test]
fn no_restore_from_a_damaged_image_leaves_anything_bootable() {
    let set = small("1 restore system else 2\n  hold \"restored\"\n2 hold \"failed\"");
    let (mut failed, mut unaffected) = (0, 0);
    for n in 0..2 {
        let (begin, header, _) = set.image_file(n);
        for at in (0..header.file_bytes as usize).step_by(53) {
            let mut iso = set.iso.to_vec();
            iso[begin + at] ^= 1 << (at % 8);
            let mut pc = set.blank();
            pc.cd = Arc::new(iso);
            match word(&pc.start()).as_str() {
                "hold 1" | "hold -" => {
                    assert!(
                        [0, 1].iter().all(|&n| set.difference(&pc, n).is_none()),
                        "byte {at} of image {n}: other bytes"
                    );
                    unaffected += 1;
                }
                _ => {
                    let reason = pc.log().into_iter().find(|l| l.starts_with("1 restore system = failed (images/"));
                    assert!(reason.is_some(), "byte {at} of image {n}: {:#?}", pc.lines);
                    assert_ne!(pc.disks[0].sector(0)[510..], [0x55, 0xAA], "byte {at} of image {n}: an MBR is left");
                    let start = set.places[n].0;
                    assert_ne!(pc.disks[0].sector(start)[510..], [0x55, 0xAA], "byte {at} of image {n}: P boots");
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 100 && unaffected > 20, "{failed} failed, {unaffected} did not");
}

/// An image file taken apart, to be put together again with other content and right hashes.
#[derive(Clone)]
struct Forged {
    set: Set,
    begin: usize,
    header: Header,
    entries: Vec<Entry>,
    /// The file.
    bytes: Vec<u8>,
}

impl Forged {
    fn new(set: &Set, number: usize) -> Self {
        let (begin, header, entries) = set.image_file(number);
        let bytes = set.iso[begin..begin + header.file_bytes as usize].to_vec();
        Self { set: set.clone(), begin, header, entries, bytes }
    }

    /// Replaces the content of entry `n`'s pack by these bytes, which must not be longer.
    fn repack(&mut self, n: usize, packed: &[u8], raw: bool) {
        let old = self.entries[n].place.unwrap();
        assert!(packed.len().next_multiple_of(2048) <= old.bytes.next_multiple_of(2048) as usize);
        self.bytes[old.at as usize * 2048..][..packed.len()].copy_from_slice(packed);
        for place in self.entries.iter_mut().filter_map(|e| e.place.as_mut()).filter(|p| p.at == old.at) {
            (place.bytes, place.hash, place.raw) = (packed.len() as u32, hash(0, packed), raw);
        }
    }

    /// The CD with it: the table written anew, with all its hashes.
    fn cd(&self) -> Arc<Vec<u8>> {
        let mut bytes = self.bytes.clone();
        let blocks = blocks(Form::Image, self.header.sequence, &self.entries);
        bytes[..SECTOR].copy_from_slice(&self.header.to_sector());
        let end = (2048 + blocks.len()).min(bytes.len());
        bytes[2048..end].copy_from_slice(&blocks[..end - 2048]);
        let mut iso = self.set.iso.to_vec();
        iso[self.begin..self.begin + bytes.len()].copy_from_slice(&bytes);
        Arc::new(iso)
    }

    fn run(&self, mut pc: Pc) -> Pc {
        pc.cd = self.cd();
        pc.start();
        pc
    }
}

/// What stands on partition `n`, where sectors that no one wrote still hold the scribble.
fn scribbled(set: &Set) -> Pc {
    let mut pc = set.blank();
    for sector in 1..set.disk_sectors {
        pc.disks[0].poke(sector * SECTOR as u64, &scribble(sector));
    }
    pc
}

fn scribble(sector: u64) -> [u8; SECTOR] {
    let mut content = [0xDB; SECTOR];
    content[..8].copy_from_slice(&sector.to_le_bytes());
    content
}

/// A pack whose hash is right and that unpacks to less than its chunks: what another pack left in the buffer
/// must not be taken for the rest.
#[test]
fn a_pack_that_holds_too_little_is_told_and_not_filled_up_with_others() {
    let set = small("1 verify images else 2\n2 restore system else 9\n  hold \"restored\"\n9 hold \"failed\"");
    for n in 0..2 {
        for (name, packed, raw) in [
            ("too short, packed", &[0x20, b'a', b'b'][..], false),
            ("too short, raw", &[7; 300], true),
            ("nothing", &[0x00], false),
        ] {
            let mut forged = Forged::new(&set, n);
            let last = forged.entries.len() - 1;
            forged.repack(last, packed, raw);
            let pc = forged.run(set.blank());
            let why = format!("pack at byte {}: it is too short", forged.entries[last].place.unwrap().at * 2048);
            let said = pc.log().into_iter().any(|l| l.starts_with("2 restore system = failed") && l.contains(&why));
            assert!(said, "image {n}, {name}: {:#?}", pc.lines);
            assert_ne!(pc.disks[0].sector(0)[510..], [0x55, 0xAA], "image {n}, {name}: an MBR is left");
        }
    }
}

#[test]
fn a_pack_that_holds_too_much_is_told() {
    let set = small("1 restore system else 9\n  hold \"restored\"\n9 hold \"failed\"");
    let mut forged = Forged::new(&set, 0);
    // A literal, then a match that repeats it 70,000 times.
    let bomb = [&[0x1F, b'x', 1, 0][..], &[0xFF; 275], &[0, 0x50], b"after"].concat();
    forged.repack(0, &bomb, false);
    let pc = forged.run(set.blank());
    assert!(pc.log().iter().any(|l| l.ends_with("pack at byte 6144: it can't be unpacked)")), "{:#?}", pc.lines);
    assert_ne!(pc.disks[0].sector(0)[510..], [0x55, 0xAA]);
}

/// Tables with right hashes and fields that no program of ours writes.
#[test]
fn no_table_makes_a_run_panic_or_write_elsewhere() {
    let set = small(
        "1 verify images else 2\n2 restore system else 3\n3 verify P1 else 4\n4 heal P1 from P2 else 5
        5 verify P2 else 6\n6 heal P2 else 7\n7 hold \"end\"",
    );
    let good = figure4_set(256, "-F 12", 256, "-t ext2").restored();
    let mut endings = BTreeMap::new();
    for seed in 1..=3000 {
        let mut random = Random::new(seed);
        let mut forged = Forged::new(&set, random.below(2));
        for _ in 0..=random.below(2) {
            forge(&mut forged, &mut random);
        }
        let pc = if random.below(2) == 0 { set.blank() } else { good.clone() };
        let ran = std::panic::catch_unwind(|| forged.run(pc));
        let pc = ran.unwrap_or_else(|_| panic!("seed {seed} replays this"));
        let outcome = pc.log().iter().take(2).map(|l| l.ends_with("= ok").to_string()).collect::<Vec<_>>().join(" ");
        *endings.entry(outcome).or_insert(0) += 1;
    }
    assert!(endings.len() > 2, "the lies are one-sided: {endings:?}");
}

/// One lie.
fn forge(forged: &mut Forged, random: &mut Random) {
    let extremes = [0, 1, 2, 127, 128, 129, 1 << 16, 1 << 32, (1 << 40) - 1, 1 << 40, u64::MAX / 2, u64::MAX];
    let count = forged.entries.len();
    let (n, other) = (random.below(count), random.below(count));
    let lie = match random.below(4) {
        0 => forged.entries[other].first,
        1 => random.next() % forged.header.sectors.0.saturating_mul(2).max(1),
        _ => *random.pick(&extremes),
    };
    let (header, entry) = (&mut forged.header, &mut forged.entries[n]);
    let place = entry.place.as_mut().unwrap();
    match random.below(20) {
        0 => header.sectors = SectorCount(lie),
        1 => header.chunks = lie,
        2 => (header.names_at, header.chunks) = (header.names_at + 2048, header.chunks.wrapping_add(51)),
        3 => header.names_bytes = lie as u32,
        4 => header.file_bytes = lie,
        5 => header.described = lie,
        6 => header.protected = lie,
        7 => header.state = Some(Offset(lie)),
        8 => header.sequence = lie,
        9 => entry.first = lie,
        10 => entry.sectors = lie as u16,
        11 => entry.kind = Kind::from_byte(random.below(13) as u8).unwrap(),
        12 => entry.protected = !entry.protected,
        13 => entry.hash = lie,
        14 => place.at = lie as u32,
        15 => place.bytes = lie as u32,
        16 => place.raw = !place.raw,
        17 => place.within = lie as u16,
        18 => forged.entries.swap(n, other),
        _ => {
            let old = forged.entries[n].place.unwrap();
            let from = old.at as usize * 2048;
            let Some(packed) = forged.bytes.get(from..from + old.bytes as usize) else { return };
            let mut packed = packed.to_vec();
            if packed.len() < 16 {
                return;
            }
            common::hostile::damage(random, &mut packed, &[0], old.bytes as usize);
            let raw = random.below(4) == 0;
            forged.repack(n, &packed, raw);
        }
    }
}

/// All files of an image, copied out of it by other people's programs into a new folder.
fn files_of(folder: &Path, image: &str, to: &str) {
    shell(folder, &format!("mkdir {to}"));
    if is_fat(folder, image) {
        shell(folder, &format!("mcopy -s -i {image} '::*' {to}/"));
    } else {
        shell(folder, &format!("debugfs -R 'rdump / {to}' {image} 2>&1; rm -rf {to}/lost+found"));
    }
}

/// What other people's programs, or the specification read by this test, call a sector of an image.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Use {
    Free,
    Allocated,
    /// Allocated, and perhaps never written: inodes that were never in use, a rest shorter than a cluster.
    Unsure,
}

fn uses(folder: &Path, image: &str) -> Vec<Use> {
    let bytes = fs::read(folder.join(image)).unwrap();
    let mut uses = vec![Use::Allocated; bytes.len() / SECTOR];
    if is_fat(folder, image) {
        fat_uses(&bytes, &mut uses)
    } else {
        ext_uses(folder, image, &mut uses)
    }
    uses
}

/// fatgen103, pages 8 to 18.
fn fat_uses(bytes: &[u8], uses: &mut [Use]) {
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let or = |short: usize, other: usize| if short > 0 { short } else { other };
    let (cluster, reserved, total) = (usize::from(bytes[13]), word(14), or(word(19), long(32)));
    let data = reserved + usize::from(bytes[16]) * or(word(22), long(36)) + word(17) / 16;
    let count = (total - data) / cluster;
    for n in 2..count + 2 {
        let fat = reserved * SECTOR;
        let entry = match count {
            0..4085 => word(fat + n * 3 / 2) >> (n % 2 * 4) & 0xFFF,
            4085..65525 => word(fat + n * 2),
            _ => long(fat + n * 4) & 0x0FFF_FFFF,
        };
        if entry == 0 {
            uses[data + (n - 2) * cluster..][..cluster].fill(Use::Free);
        }
    }
    uses[data + count * cluster..].fill(Use::Unsure);
}

fn ext_uses(folder: &Path, image: &str, uses: &mut [Use]) {
    let said = shell(folder, &format!("dumpe2fs {image} 2>/dev/null"));
    let value = |key: &str| said.lines().find_map(|l| l.strip_prefix(key)).unwrap().trim().parse::<usize>().unwrap();
    let (block, blocks) = (value("Block size:") / SECTOR, value("Block count:"));
    uses[blocks * block..].fill(Use::Unsure);
    for line in said.lines().map(str::trim) {
        let (list, mark) = match (line.strip_prefix("Free blocks: "), line.strip_prefix("Inode table at ")) {
            (Some(list), _) => (list, Use::Free),
            (_, Some(list)) => (list.split(' ').next().unwrap(), Use::Unsure),
            _ => continue,
        };
        for range in list.split(", ").filter(|r| !r.is_empty() && r.as_bytes()[0].is_ascii_digit()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            uses[first * block..(last + 1) * block].fill(mark);
        }
    }
}

/// From two images that others made and filled to two partitions on a disk full of something else, and back.
fn round_trip(fat_kib: u64, fat_options: &str, ext_kib: u64, ext_options: &str) {
    let name = format!("{fat_options} and {ext_options}");
    let temporary = tools::temporary();
    let folder = temporary.path();
    tree(folder);
    fat(folder, "fat.img", fat_kib, fat_options);
    ext(folder, "ext.img", ext_kib, ext_options);
    boot_code(folder, "ext.img");
    let images = ["fat.img", "ext.img"];
    for image in images {
        fill(folder, image);
    }
    // What `build` puts in goes into the images first; then they have to come out as they are.
    let first = figure4_on(folder, [(images[0], "0c"), (images[1], "83")]);
    for (image, built) in images.iter().zip(&first.images) {
        fs::write(folder.join(image), &built[..]).unwrap();
        files_of(folder, image, &format!("built-{image}"));
        let extra = shell(folder, &format!("diff -r tree built-{image}/tree; ls built-{image}"));
        assert_eq!(extra, "bstate.txt\nseal.0\nseal.1\ntree\n", "{name}: {image} is the maker's and three files");
    }
    let before = images.map(|image| fs::read(folder.join(image)).unwrap());
    // Whatever was on it may be lost.
    let size = format!("sectors {}", first.disk_sectors);
    let logic = first.logic.replacen(&size, &format!("{size} adopt"), 1);
    let set = Set { iso: images::build(folder, &logic), ..first.clone() };
    let mut pc = scribbled(&set);
    assert_eq!(word(&pc.start()), "restart", "{name}: {:#?}", pc.lines);
    for (n, image) in images.iter().enumerate() {
        assert_eq!(fs::read(folder.join(image)).unwrap(), before[n], "{name}: the build changed {image}");
        let (start, sectors) = set.places[n];
        let state = set.state_at(n) - start;
        let on_disk = pc.disks[0].bytes(start..start + sectors);
        for (at, use_of) in (0..sectors).zip(uses(folder, image)).filter(|&(at, _)| at != state) {
            let here = &on_disk[at as usize * SECTOR..][..SECTOR];
            let kept = here == scribble(start + at);
            let written = here == &before[n][at as usize * SECTOR..][..SECTOR];
            let right = match use_of {
                Use::Free => kept,
                Use::Allocated => written,
                Use::Unsure => kept || written,
            };
            assert!(right, "{name}: sector {at} of {image} is {use_of:?}; kept: {kept}, written: {written}");
        }
        let part = format!("part-{image}");
        fs::write(folder.join(&part), &on_disk).unwrap();
        let (checker, option) = if n == 0 { ("fsck.fat", "-n") } else { ("e2fsck", "-fn") };
        must(checker, &[option, text(&folder.join(&part))]);
        files_of(folder, &part, &format!("back-{image}"));
        shell(folder, &format!("diff -r tree back-{image}/tree"));
    }
    for n in 0..2 {
        shipped_seal(&set, &pc, n);
    }
    pc.start();
    assert!(pc.log().iter().any(|l| l.starts_with("206 verify P1 = ok")), "{name}: {:#?}", pc.lines);
}

/// A restored partition carries the seal of what was shipped: what the CD's image says, without places.
fn shipped_seal(set: &Set, pc: &Pc, n: usize) {
    let part = Part::read(pc, set.places[n]);
    let sectors = seals::sectors_of(&part.bytes, 0, "seal.0");
    let file: Vec<u8> = sectors.iter().flat_map(|&at| part.bytes[at as usize * SECTOR..][..SECTOR].to_vec()).collect();
    let header = Header::parse(&file).unwrap();
    let image = set.image_file(n);
    let protected = image.2.into_iter().filter(|e| e.protected).map(|e| Entry { place: None, ..e });
    let wanted = blocks(Form::Seal, 1, &protected.collect::<Vec<_>>());
    let names_at = header.names_at as usize;
    assert!(file[SECTOR..names_at] == wanted, "the seal of partition {n} is not its image's");
    assert_eq!((header.sequence, header.protected), (1, image.1.protected), "partition {n}");
    let end = names_at + header.names_bytes as usize;
    assert_eq!(hash(0, &file[names_at..end]), image.1.names_hash, "the names of partition {n}");
    assert_eq!(header.identity, *Sha256::digest(&file[SECTOR..end]), "the identity of partition {n}'s seal");
}

#[test]
fn real_filesystems_come_back_and_free_sectors_stay_what_they_are() {
    for (fat_kib, fat_options, ext_kib, ext_options) in [
        (2000, "-F 12 -s 1", 4096, "-t ext2 -b 1024"),
        (8192, "-F 12 -s 8", 8192, "-t ext3 -b 1024"),
        (8192, "-F 16 -s 2", 16384, "-t ext4 -b 1024"),
        (40_000, "-F 32 -s 1", 16384, "-t ext4 -b 4096 -O 64bit,metadata_csum"),
        (70_001, "-F 32 -s 2 -f 1", 33_001, "-t ext4 -b 1024 -I 128 -O ^metadata_csum,uninit_bg -g 2048"),
        (34_816, "-F 16 -s 16 -R 7", 9000, "-t ext2 -b 2048 -O ^sparse_super,^resize_inode"),
    ] {
        round_trip(fat_kib, fat_options, ext_kib, ext_options);
    }
}

/// Two partitions with this image, which has no filesystem known here, and one with ext for the states.
fn unknown(image: &[u8]) -> (Set, u64) {
    let temporary = tools::temporary();
    let folder = temporary.path();
    fs::write(folder.join("other.img"), image).unwrap();
    ext(folder, "ext.img", 512, "-t ext2");
    let sectors = image.len() as u64 / SECTOR as u64;
    let logic = format!(
        "logic 1\ndisk system sectors {}\npartition P1 on system start 64 sectors 1024 type 83 image ext.img
        partition P2 on system start 2048 sectors {sectors} type 07 image other.img
        1 verify images else 9\n2 verify P2 else 3\n  hold \"good\"
        3 heal P2 else 4\n  hold \"healed\"\n4 restore system else 9\n  restart\n9 hold \"failed\"\n",
        2048 + sectors
    );
    let iso = images::build(folder, &logic);
    let on_cd = fs::metadata(folder.join("cd.iso")).unwrap().len();
    let places = vec![(64, 1024), (2048, sectors)];
    let set = Set { iso, images: vec![], allocated: vec![], places, disk_sectors: 2048 + sectors, logic };
    (set, on_cd)
}

#[test]
fn what_is_no_filesystem_known_here_is_kept_whole() {
    let mut random = Random::new(8);
    let noise: Vec<u8> = (0..700 * SECTOR).map(|_| random.next() as u8).collect();
    // NTFS has a BIOS parameter block much like FAT's, which says that there are no FATs ("NTFS.com: Partition
    // Boot Sector": jump, OEM id, 512 bytes a sector, 8 sectors a cluster, no reserved sectors, media F8).
    let mut ntfs = noise.clone();
    ntfs[..0x24].fill(0);
    ntfs[..0x16].copy_from_slice(b"\xEB\x52\x90NTFS    \x00\x02\x08\0\0\0\0\0\0\0\xF8");
    ntfs[510..512].copy_from_slice(&[0x55, 0xAA]);
    let exfat = [b"\xEB\x76\x90EXFAT   ", &[0; 53][..], &noise[64..]].concat();
    for (name, image) in [("noise", noise), ("NTFS", ntfs), ("exFAT", exfat)] {
        let (set, _) = unknown(&image);
        let mut pc = set.blank();
        assert_eq!(word(&pc.start()), "restart", "{name}: {:#?}", pc.lines);
        let here = |pc: &Pc| pc.disks[0].bytes(2048..2048 + 700) == image;
        assert!(here(&pc), "{name}: restored");
        assert_eq!(word(&pc.start()), "hold -", "{name}: {:#?}", pc.lines);
        let verified = "2 verify P2 = ok (unknown filesystem)";
        assert!(pc.log().contains(&verified), "{name}: {:#?}", pc.lines);
        for at in [0, 510, 100 * SECTOR + 7, image.len() - 1] {
            pc.disks[0].poke((2048 * SECTOR + at) as u64, &[!image[at]]);
            pc.start();
            let healed = pc.log().contains(&"3 heal P2 = ok (1 range: from the CD)");
            assert!(healed && here(&pc), "{name}, byte {at}: {:#?}", pc.lines);
        }
    }
}

/// Packs of any length come from the CD 64 KiB at once, and none of it twice; where something behind a pack can't
/// be read, the pack can.
#[test]
fn packs_are_read_in_few_transfers_and_one_bad_sector_costs_one_pack() {
    const CHUNKS: usize = 64;
    let mut random = Random::new(9);
    // Of each chunk, some cannot be compressed, of one in nine nothing can.
    let chunk = |n: usize| {
        let noise = if n % 9 == 8 { CHUNK_BYTES } else { random.next() as usize % CHUNK_BYTES };
        (0..CHUNK_BYTES).map(|at| if at < noise { random.next() as u8 } else { n as u8 }).collect::<Vec<u8>>()
    };
    let content = (0..CHUNKS).flat_map(chunk).collect::<Vec<u8>>();
    let (set, _) = unknown(&content);
    let (begin, header, entries) = set.image_file(1);
    let packed = entries.iter().map(|e| e.place.unwrap().bytes.div_ceil(2048)).sum::<u32>();
    assert_eq!((header.chunks as usize, entries.len()), (CHUNKS, CHUNKS));
    let cd =
        |step: &str| set.with_logic(&format!("logic 1\n{}1 {step} else 2\n2 hold \"end\"\n", set.declarations())).iso;
    for (step, writes) in [("verify images", false), ("restore P2", true), ("restore system", true)] {
        let mut pc = set.blank();
        pc.start();
        pc.disks[0].poke(2048 * 512 + 70_000, b"damage");
        pc.cd = cd(step);
        pc.start();
        assert!(pc.log().iter().any(|l| l.starts_with(&format!("1 {step} = ok"))), "{:#?}", pc.lines);
        assert!(!writes || pc.disks[0].bytes(2048..2048 + 128 * CHUNKS as u64) == content, "{step}");
        let (calls, sectors) = pc.cd_reads;
        // Besides: logic.txt and directories, the other image, table and names.
        assert!(calls <= packed as usize / 32 + 20, "{step}: {calls} reads for {packed} sectors");
        assert!(sectors <= packed + 200, "{step}: {sectors} sectors instead of {packed}");
    }
    let bad = CHUNKS / 2;
    let mut pc = set.blank();
    pc.bad_cd_sectors.insert((begin / 2048) as u32 + entries[bad].place.unwrap().at);
    pc.cd = cd("restore system");
    pc.start();
    assert!(pc.log().iter().any(|l| l.starts_with("1 restore system = failed (")), "{:#?}", pc.lines);
    let written = pc.disks[0].bytes(2048..2048 + 128 * bad as u64);
    assert!(written[SECTOR..] == content[SECTOR..bad * CHUNK_BYTES], "all that stands before is good");
}

#[test]
fn zeros_cost_next_to_nothing() {
    // 256 MiB, of which nothing was ever written but the last sector.
    let temporary = tools::temporary();
    let folder = temporary.path();
    let file = fs::File::create(folder.join("zeros.img")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; SECTOR], (256 << 20) - 512).unwrap();
    let logic = "logic 1\ndisk system sectors 600000\n\
        partition P1 on system start 64 sectors 524288 type 83 image zeros.img\n\
        1 restore system else 2\n2 verify P1 else 3\n3 hold \"end\"\n";
    let iso = images::build(folder, logic);
    let mut disk = Disk::blank(0x80, 600_000);
    disk.allowed = vec![0..1, 63..64 + 524_288];
    let mut pc = Pc::new(iso, vec![disk]);
    pc.disks[0].poke(64 * 512 + (100 << 20), b"something else");
    pc.start();
    let lines = [
        "1 restore system = ok (no copy of bstate.txt could be written)",
        "2 verify P1 = ok (unknown filesystem)",
        "3 hold \"end\" = ok",
    ];
    assert!(lines.iter().all(|l| pc.log().contains(l)), "{:#?}", pc.lines);
    assert_eq!(pc.disks[0].bytes(64 + (100 << 11)..65 + (100 << 11)), [0; 512], "zeros of an image are content");
    let cd = Iso::open(&mut pc).unwrap();
    let image = cd.find(&mut pc, "images/zeros.img").unwrap().bytes();
    // A table of 40 bytes a chunk of 64 KiB; of all zeros there is one pack.
    let table = 4096_u64.div_ceil(51) * 2048;
    assert_eq!(image, 2048 + table + 3 * 2048, "header, table, names, a pack of zeros and one of the rest");
}

/// A directory record (ECMA-119 section 9.1).
fn record(name: &[u8], at: u32, bytes: u64, flags: u8) -> Vec<u8> {
    let length = (33 + name.len()).next_multiple_of(2);
    let mut record = vec![0; length];
    record[0] = length as u8;
    record[2..6].copy_from_slice(&at.to_le_bytes());
    record[10..14].copy_from_slice(&u32::try_from(bytes).unwrap().to_le_bytes());
    record[25] = flags;
    record[32] = name.len() as u8;
    record[33..].get_mut(..name.len()).unwrap().copy_from_slice(name);
    record
}

/// A CD of more than 4 GiB with an image of more than 4 GiB in two extents, that of a partition of 5 GiB. Both
/// are sparse; the last chunks stand behind the 4 GiB of each, one across the extents' border.
#[test]
fn an_image_and_a_cd_of_more_than_4_gib_are_read_to_their_end() {
    const FIRST: u64 = (1 << 32) - 2048;
    let second_at = 40 + (FIRST / 2048) as u32 + 1000;
    let sectors = 5 << 21;
    let content = |n: u8| -> Vec<u8> { (0..CHUNK_BYTES).map(|at| (at / 97) as u8 ^ n).collect() };
    // Where each pack stands in the file, in CD sectors: the third one begins a sector before the border.
    let border = (FIRST / 2048) as u32;
    let packs = [10, border - 100, border - 1, border + 5000];
    let firsts = [0, 8_388_608, 8_388_736, sectors - 128];
    let entries: Vec<Entry> = (0..4)
        .map(|n| {
            let content = content(n as u8);
            Entry { place: place(packs[n], &content, true, 0), ..entry(firsts[n], 128, true, &content) }
        })
        .collect();
    let names = b"protect all\n";
    let header = Header {
        form: Form::Image,
        sequence: 0,
        sectors: SectorCount(sectors),
        chunks: 4,
        names_at: 4096,
        names_bytes: names.len() as u32,
        names_hash: hash(0, names),
        file_bytes: FIRST + 20_000 * 2048,
        described: 512,
        protected: 512,
        state: None,
        identity: [0; 32],
    };
    let logic = format!(
        "logic 1\ndisk system sectors 20000000\npartition P1 on system start 8000000 sectors {sectors} type 83 image big\n\
         1 verify images else 9\n2 restore system else 9\n3 verify P1 else 9\n4 hold \"good\"\n9 hold \"bad\"\n"
    );
    let mut iso = vec![0; 90 * 2048];
    iso[16 * 2048..][..6].copy_from_slice(b"\x01CD001");
    iso[16 * 2048 + 129] = 8;
    iso[16 * 2048 + 156..][..34].copy_from_slice(&record(&[0], 20, 2048, 2));
    let root = [
        record(b"IMAGES", 21, 2048, 2),
        record(b"LOGIC.TXT", 22, logic.len() as u64, 0),
        record(b"MBR.BIN", 30, 440, 0),
    ];
    let images = [record(b"BIG", 40, FIRST, 0x80), record(b"BIG", second_at, 20_000 * 2048, 0)];
    let mut put = |at: usize, bytes: &[u8]| iso[at * 2048..][..bytes.len()].copy_from_slice(bytes);
    put(20, &root.concat());
    put(21, &images.concat());
    put(22, logic.as_bytes());
    put(40, &header.to_sector());
    put(41, &blocks(Form::Image, 0, &entries));
    put(42, names);
    put(50, &content(0));
    let mut disk = Disk::blank(0x80, 20_000_000);
    disk.allowed = vec![0..1, 7_999_999..8_000_000 + sectors];
    let mut pc = Pc::new(Arc::new(iso), vec![disk]);
    // Sectors of the file as sectors of the CD.
    let on_cd = |sector: u32| if sector < border { 40 + sector } else { second_at + sector - border };
    for (n, pack) in packs.into_iter().enumerate().skip(1) {
        for (sector, bytes) in (pack..).zip(content(n as u8).chunks(2048)) {
            pc.cd_far.insert(on_cd(sector), bytes.to_vec());
        }
    }
    assert_eq!(word(&pc.start()), "hold 4", "{:#?}", pc.lines);
    for (n, first) in firsts.into_iter().enumerate() {
        let at = 8_000_000 + first;
        assert!(pc.disks[0].bytes(at..at + 128) == content(n as u8), "chunk {n}");
    }
    // A bit at the very end.
    pc.cd_far.get_mut(&on_cd(packs[3] + 31)).unwrap()[2047] ^= 1;
    assert_eq!(word(&pc.start()), "hold 9");
    let why =
        format!("images/big is damaged on the CD: pack at byte {}: its hash is wrong", u64::from(packs[3]) * 2048);
    assert_eq!(pc.log()[0], format!("1 verify images = failed ({why})"));
}
