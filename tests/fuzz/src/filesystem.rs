//! FAT and ext: finding files as the loader does, and all that is allocated as the host tool and the agent do.

use knownstate_core::layout::Layout;
use knownstate_core::logic::Protect;
use knownstate_core::media::ext::Ext;
use knownstate_core::media::fat::Fat;
use knownstate_core::media::filesystem::{FileMap, Filesystem, FsError, Volume};
use knownstate_core::table::write::{chunks, names, parse_protect, protected_entries, seal};
use knownstate_core::table::{CHUNK_SECTORS, Header};
use knownstate_core::units::{Offset, SECTOR, SectorCount};

use super::heap;
use super::input::Sparse;

/// Names that the loader looks for.
const FILES: [&str; 3] = ["bstate.txt", "seal.0", "seal.1"];
/// Paths of the trees that the corpora are filled with.
const PATHS: [&str; 3] = ["tree/kernel", "tree/sub/folder/deep", "tree/a long name.config"];
/// Reads of one look for a file: a root directory of 4 MiB in blocks of 1 KiB, each at the end of an extent
/// tree of six levels, and as many pieces of the file.
const READS_OF_FILE: usize = 4096 * 7 * 2;
/// The longest volume whose layout is asked for, in sectors: a FAT32 volume has to fit.
const LONGEST: u64 = 70_000;

pub fn fat(data: &[u8]) {
    fat_on(&mut Sparse::parse(data));
}

pub fn ext(data: &[u8]) {
    ext_on(&mut Sparse::parse(data));
}

pub fn layout(data: &[u8]) {
    layout_on(&mut Sparse::parse(data));
}

pub fn fat_on(volume: &mut Sparse<SECTOR>) {
    let ((), most) = heap::most(|| {
        if Fat::open(volume).is_ok() {
            files(volume);
        }
    });
    assert!(most < heap::LOADER / 4, "{most} bytes for a file");
}

pub fn ext_on(volume: &mut Sparse<SECTOR>) {
    let ((), most) = heap::most(|| {
        if Ext::open(volume).is_ok() {
            files(volume);
        }
    });
    assert!(most < heap::LOADER / 4, "{most} bytes for a file");
}

/// Looks for every file that the loader looks for, in both ways.
fn files(volume: &mut Sparse<SECTOR>) {
    let Ok(filesystem) = Filesystem::open(volume) else { return };
    assert!(filesystem.unit() >= 1 && !filesystem.name().is_empty());
    for name in FILES {
        volume.reads = 0;
        let start = filesystem.find(volume, name);
        assert!(volume.reads <= READS_OF_FILE, "{} reads to find {name}", volume.reads);
        volume.reads = 0;
        let map = filesystem.extents(volume, name);
        assert!(volume.reads <= 2 * READS_OF_FILE, "{} reads to map {name}", volume.reads);
        if let Ok(map) = &map {
            is_sound(map, volume.length().0);
        }
        // Both look at the same directory entry, and one needs less of the file than the other.
        match (start, map) {
            (Ok(start), Ok(map)) => {
                assert_eq!(map.runs.first().map(|run| run.0), Some(start.at), "{name} begins in two places");
                assert_eq!(start.bytes, map.bytes, "{name} has two lengths");
                assert!(start.at.0 < volume.length().0 && start.bytes >= SECTOR as u64);
            }
            (Ok(start), Err(_)) => assert!(start.at.0 < volume.length().0),
            (Err(why), Ok(map)) => assert!(map.bytes < SECTOR as u64, "{name} has a map and no beginning: {why}"),
            (Err(_), Err(_)) => {}
        }
    }
    for path in PATHS {
        volume.reads = 0;
        let map = filesystem.extents(volume, path);
        let folders = path.split('/').count();
        assert!(volume.reads <= (1 + folders) * READS_OF_FILE, "{} reads to map {path}", volume.reads);
        if let Ok(map) = &map {
            is_sound(map, volume.length().0);
        }
    }
}

/// As many sectors as hold the bytes, all of them inside, in not too many pieces.
fn is_sound(map: &FileMap, length: u64) {
    assert!(map.runs.len() <= 4096, "{} pieces", map.runs.len());
    let sectors: u64 = map.runs.iter().map(|run| run.1).sum();
    assert_eq!(sectors, SectorCount::holding(map.bytes).0, "sectors of {} bytes", map.bytes);
    for (at, sectors) in &map.runs {
        assert!(*sectors > 0, "an empty piece");
        assert!(at.0.checked_add(*sectors).is_some_and(|end| end <= length), "a piece outside: {at:?}, {sectors}");
    }
    let joined = |pair: &[(Offset, u64)]| pair[0].0.0 + pair[0].1 == pair[1].0.0;
    assert!(!map.runs.windows(2).any(joined), "neighbours that are not one piece");
}

/// The layout, and the seal that would be made of it.
pub fn layout_on(volume: &mut Sparse<SECTOR>) {
    volume.length = volume.length.min(LONGEST);
    let layout = match Layout::of(volume) {
        Ok(layout) => layout,
        Err(FsError::Io { at, .. }) => {
            assert!(at.0 >= volume.length || at.0 + 128 * 64 > volume.length, "a read inside has failed: {at:?}");
            return;
        }
        Err(_) => return,
    };
    layout_is_sound(&layout, volume.length);
    for protect in [Protect::All, Protect::None, Protect::Paths(vec!["/boot".into()])] {
        let Ok(chunks) = chunks(&layout, &protect) else { continue };
        let mut end = 0;
        for chunk in &chunks {
            assert!((1..=CHUNK_SECTORS).contains(&usize::from(chunk.sectors)), "{chunk:?}");
            assert!(chunk.first >= end, "{chunk:?} begins before {end}");
            end = chunk.first + u64::from(chunk.sectors);
        }
        assert!(end <= layout.sectors, "a chunk outside");
        let names = names(&layout, &protect);
        assert_eq!(parse_protect(&names), Some(protect), "protect is not read back");
        let Ok(entries) = protected_entries(volume, &chunks) else { continue };
        let seal = seal(7, &entries, names.as_bytes(), SectorCount(volume.length), |_, _| [0; 32]);
        let header = Header::parse(&seal).expect("a seal's own header is one");
        assert_eq!(header.to_sector(), seal[..SECTOR], "the header is not read back");
        assert_eq!(header.chunks, entries.len() as u64);
    }
}

/// Sorted, without overlaps, inside, each owner known.
fn layout_is_sound(layout: &Layout, length: u64) {
    assert!(layout.sectors <= length, "longer than its volume");
    for pair in layout.runs.windows(2) {
        assert!(pair[0].end() <= pair[1].first, "{pair:?} overlap");
    }
    assert!(layout.runs.iter().all(|run| run.sectors > 0), "an empty run");
    assert!(layout.runs.last().is_none_or(|run| run.end() <= layout.sectors), "a run outside");
    let known = |owner: u32| (owner as usize) < layout.owners.len();
    assert!(layout.runs.iter().filter_map(|run| run.owner).all(known), "an unknown owner");
    assert!(layout.links.iter().all(|(_, owner)| known(*owner)), "a link to nobody");
    let text: usize = layout.owners.iter().chain(layout.links.iter().map(|(name, _)| name)).map(String::len).sum();
    assert!(text as u64 <= layout.sectors * SECTOR as u64, "{text} bytes of names");
}
