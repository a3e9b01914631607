//! Making tables: what `knownstate build` and `bstate seal` have in common.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{CHUNK_BYTES, CHUNK_SECTORS, Entry, Form, Header, put_u64};
use crate::hash::hash;
use crate::layout::Layout;
use crate::logic::Protect;
use crate::machine::IoError;
use crate::media::filesystem::Volume;
use crate::media::kind::Kind;
use crate::units::{Offset, SECTOR, SectorCount};

/// Consecutive sectors of one kind that will be one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The first sector, from the partition's beginning.
    pub first: u64,
    /// The length in sectors: 1 to [`CHUNK_SECTORS`].
    pub sectors: u16,
    /// What it is.
    pub kind: Kind,
    /// Whether it must not change.
    pub protected: bool,
}

impl Chunk {
    /// Its entry in a seal; `content` is what stands there.
    #[must_use]
    pub fn entry(&self, content: &[u8]) -> Entry {
        let mut counted = content.to_vec();
        self.kind.blank(&mut counted);
        let Self { first, sectors, kind, protected } = *self;
        Entry { first, sectors, kind, protected, hash: hash(0, &counted), place: None }
    }
}

/// All that is allocated, in chunks, and what of it is protected.
///
/// # Errors
/// A path that is to be protected and that there is not.
pub fn chunks(layout: &Layout, protect: &Protect) -> Result<Vec<Chunk>, String> {
    let mut chosen = match protect {
        Protect::All => vec![true; layout.runs.len()],
        Protect::None => vec![false; layout.runs.len()],
        Protect::Paths(_) => marked(layout, layout.boot_loader()),
    };
    if let Protect::Paths(paths) = protect {
        for path in paths {
            if !layout.has(path) {
                return Err(path.clone());
            }
            for (chosen, more) in chosen.iter_mut().zip(marked(layout, layout.files(path))) {
                *chosen |= more;
            }
        }
    }
    // Neighbours that differ in nothing but their owner are one.
    let mut merged: Vec<(u64, u64, Kind, bool)> = Vec::new();
    for (run, chosen) in layout.runs.iter().zip(chosen) {
        let protected = chosen && !run.volatile;
        match merged.last_mut() {
            Some((first, sectors, kind, same))
                if *first + *sectors == run.first && (*kind, *same) == (run.kind, protected) =>
            {
                *sectors += run.sectors;
            }
            _ => merged.push((run.first, run.sectors, run.kind, protected)),
        }
    }
    let cuts = merged.into_iter().flat_map(|(first, sectors, kind, protected)| {
        cut(first, sectors).map(move |(first, sectors)| Chunk { first, sectors, kind, protected })
    });
    Ok(cuts.collect())
}

fn marked(layout: &Layout, runs: Vec<usize>) -> Vec<bool> {
    let mut marked = vec![false; layout.runs.len()];
    for run in runs {
        if let Some(mark) = marked.get_mut(run) {
            *mark = true;
        }
    }
    marked
}

/// Cuts consecutive sectors into chunks, at multiples of a chunk's length from the partition's beginning:
/// so chunks stay the same where sectors before them come and go. Each is its first sector and its length.
pub fn cut(first: u64, sectors: u64) -> impl Iterator<Item = (u64, u16)> {
    let whole = CHUNK_SECTORS as u64;
    let end = first.saturating_add(sectors);
    let mut at = first;
    core::iter::from_fn(move || {
        let next = (at / whole + 1).saturating_mul(whole).min(end);
        let chunk = (at, u16::try_from(next.saturating_sub(at)).unwrap_or(0));
        at = next;
        (chunk.1 > 0).then_some(chunk)
    })
}

/// The text of names: see [`super::names`].
#[must_use]
pub fn names(layout: &Layout, protect: &Protect) -> String {
    let mut text = protect_line(protect);
    for run in &layout.runs {
        let owner = run.owner.and_then(|owner| layout.owners.get(owner as usize));
        if let Some(owner) = owner {
            text.push_str(&format!("{} {} {}\n", run.first, run.sectors, owner.replace('\n', "?")));
        }
    }
    text
}

/// The first line of the names: `protect` with its words, as in logic.txt.
#[must_use]
pub fn protect_line(protect: &Protect) -> String {
    match protect {
        Protect::All => "protect all\n".to_string(),
        Protect::None => "protect none\n".to_string(),
        Protect::Paths(paths) => format!("protect \"{}\"\n", paths.join("\" \"")),
    }
}

/// What the first line of the names says is protected.
#[must_use]
pub fn parse_protect(names: &str) -> Option<Protect> {
    match names.lines().next()?.strip_prefix("protect ")? {
        "all" => Some(Protect::All),
        "none" => Some(Protect::None),
        // Every other piece between quotes is a path; logic.txt has no quotes in a text.
        paths => Some(Protect::Paths(paths.split('"').skip(1).step_by(2).map(ToString::to_string).collect())),
    }
}

/// The blocks of a table.
#[must_use]
pub fn blocks(form: Form, sequence: u64, entries: &[Entry]) -> Vec<u8> {
    let mut all = Vec::new();
    for (number, some) in (0..).zip(entries.chunks(form.entries())) {
        let mut block = vec![0; form.block()];
        for (entry, place) in some.iter().zip(block.chunks_exact_mut(form.entry())) {
            entry.put(place);
        }
        let own = form.hash_of_block(sequence, number, &block);
        put_u64(&mut block, form.block() - 8, own);
        all.append(&mut block);
    }
    all
}

/// A seal that nobody has written yet: it only says what is to be protected, and has room for `bytes` bytes.
/// The rest is filled with newlines, since zeros would be left out as holes by some tools.
#[must_use]
pub fn empty_seal(protect: &Protect, bytes: usize) -> Vec<u8> {
    let mut seal = seal(0, &[], protect_line(protect).as_bytes(), SectorCount(0), |_, _| [0; 32]);
    seal.resize(bytes.max(seal.len()), b'\n');
    seal
}

/// What a volume holds now of the chunks that are protected.
///
/// # Errors
/// What could not be read.
pub fn protected_entries(volume: &mut dyn Volume, chunks: &[Chunk]) -> Result<Vec<Entry>, String> {
    let mut memory = vec![0; CHUNK_BYTES];
    let mut entries = Vec::new();
    for chunk in chunks.iter().filter(|chunk| chunk.protected) {
        let failed = |e| format!("sector {}: {e}", chunk.first);
        let content = memory.get_mut(..usize::from(chunk.sectors) * SECTOR);
        let content = content.ok_or_else(|| failed(IoError::OutOfRange))?;
        volume.read(Offset(chunk.first), content).map_err(failed)?;
        entries.push(chunk.entry(content));
    }
    Ok(entries)
}

/// A whole seal; `identity` makes the SHA-256 of [`blocks`] and `names`.
#[must_use]
pub fn seal(
    sequence: u64,
    entries: &[Entry],
    names: &[u8],
    sectors: SectorCount,
    identity: impl FnOnce(&[u8], &[u8]) -> [u8; 32],
) -> Vec<u8> {
    let blocks = blocks(Form::Seal, sequence, entries);
    let all = entries.iter().map(|e| u64::from(e.sectors)).sum();
    let mut header = Header {
        form: Form::Seal,
        sequence,
        sectors,
        chunks: entries.len() as u64,
        names_at: 0,
        names_bytes: u32::try_from(names.len()).unwrap_or(u32::MAX),
        names_hash: hash(0, names),
        file_bytes: 0,
        described: all,
        protected: all,
        state: None,
        identity: identity(&blocks, names),
    };
    header.names_at = header.blocks_end();
    header.file_bytes = header.names_at + names.len() as u64;
    let mut seal = header.to_sector().to_vec();
    seal.extend(blocks);
    seal.extend(names);
    seal.resize(seal.len().next_multiple_of(SECTOR), b'\n');
    seal
}
