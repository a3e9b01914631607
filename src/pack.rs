//! From a raw partition image to the image that stands on the CD: what is allocated, chunk by chunk,
//! compressed. The format: docs/IMAGES.md.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use knownstate_core::bstate;
use knownstate_core::hash::hash;
use knownstate_core::layout::{Layout, Run};
use knownstate_core::logic::Protect;
use knownstate_core::media::filesystem::{Filesystem, FsError, Volume};
use knownstate_core::media::kind::Kind;
use knownstate_core::table::write::{Chunk, blocks, chunks, names};
use knownstate_core::table::{CHUNK_BYTES, CHUNK_SECTORS, Entry, Form, Header, Place};
use knownstate_core::units::{CD_SECTOR, Offset, SECTOR};
use sha2::{Digest, Sha256};

/// Packs that are compressed at once, by all processors together.
const BATCH: usize = 64;
/// liblz4 gains 0.4 % by its best level, 12, and takes two and a half times as long.
const LEVEL: i32 = 9;

/// Writes the image of `volume` to `to`; `advance` is told of every byte that was packed.
///
/// # Errors
/// When the filesystem is damaged, a protected file is missing, or a file fails.
pub fn pack(volume: &mut dyn Volume, protect: &Protect, to: &Path, mut advance: impl FnMut(u64)) -> Result<Header> {
    let layout = layout(volume)?;
    let chunks = chunks(&layout, protect).map_err(|path| anyhow!("protect {path}: the image has no such file"))?;
    let names = names(&layout, protect).into_bytes();
    let mut header = header(volume, &chunks, &names)?;
    let file = File::create(to).with_context(|| format!("can't write {}", to.display()))?;
    let mut packer = Packer { file, entries: Vec::new(), packs: HashMap::new(), end: 0 };
    packer.skip_to(header.names_at + names.len() as u64)?;
    let packs = packs(&chunks);
    for batch in packs.chunks(BATCH) {
        let contents = batch.iter().map(|pack| read(volume, pack)).collect::<Result<Vec<_>>>()?;
        for ((pack, content), packed) in batch.iter().zip(&contents).zip(compress(&contents)?) {
            packer.add(pack, content, &packed)?;
            advance(content.len() as u64);
        }
    }
    packer.finish(&mut header, &names)?;
    Ok(header)
}

/// What is allocated; of something that is neither FAT nor ext, all of it.
fn layout(volume: &mut dyn Volume) -> Result<Layout> {
    let length = volume.length().0;
    let mut layout = match Layout::of(volume) {
        Err(FsError::Unknown) => Layout::whole(length),
        layout => layout.map_err(|error| anyhow!("{error}"))?,
    };
    // What an image has behind its filesystem is none of the filesystem's business: it may change.
    let behind = length.saturating_sub(layout.sectors);
    if behind > 0 {
        let first = layout.sectors;
        layout.runs.push(Run { first, sectors: behind, kind: Kind::Data, owner: None, volatile: true });
    }
    Ok(layout)
}

fn header(volume: &mut dyn Volume, chunks: &[Chunk], names: &[u8]) -> Result<Header> {
    let state = Filesystem::open(volume).ok().and_then(|fs| fs.find(volume, bstate::FILE).ok()).map(|start| start.at);
    let sectors = |chunks: &mut dyn Iterator<Item = &Chunk>| chunks.map(|c| u64::from(c.sectors)).sum();
    let mut header = Header {
        form: Form::Image,
        sequence: 0,
        sectors: volume.length(),
        chunks: chunks.len() as u64,
        names_at: 0,
        names_bytes: u32::try_from(names.len()).context("the image has too many files")?,
        names_hash: hash(0, names),
        file_bytes: 0,
        described: sectors(&mut chunks.iter()),
        protected: sectors(&mut chunks.iter().filter(|c| c.protected)),
        state,
        identity: [0; 32],
    };
    header.names_at = header.blocks_end();
    Ok(header)
}

/// What an image or a seal is known by: the SHA-256 of what it says.
pub fn identity(blocks: &[u8], names: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(blocks).chain_update(names).finalize().into()
}

/// Neighbouring chunks, as many in a pack as the loader can unpack at once.
fn packs(chunks: &[Chunk]) -> Vec<&[Chunk]> {
    let mut packs = Vec::new();
    let mut rest = chunks;
    while !rest.is_empty() {
        let mut sectors = 0;
        let fits = |chunk: &&Chunk| {
            sectors += usize::from(chunk.sectors);
            sectors <= CHUNK_SECTORS
        };
        let (pack, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        packs.push(pack);
        rest = later;
    }
    packs
}

/// The content of chunks, one behind the other.
fn read(volume: &mut dyn Volume, pack: &[Chunk]) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(CHUNK_BYTES);
    for chunk in pack {
        let from = content.len();
        content.resize(from + usize::from(chunk.sectors) * SECTOR, 0);
        volume.read(Offset(chunk.first), &mut content[from..]).map_err(|e| anyhow!("sector {}: {e}", chunk.first))?;
    }
    Ok(content)
}

/// Compresses each on whatever processor is free; `None` where that would make it longer.
fn compress(contents: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = contents.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = contents
            .chunks(share)
            .map(|contents| scope.spawn(|| contents.iter().map(|c| compress_one(c)).collect::<Result<Vec<_>>>()))
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.append(&mut worker.join().map_err(|_| anyhow!("a compressing thread failed"))??);
        }
        Ok(all)
    })
}

fn compress_one(content: &[u8]) -> Result<Option<Vec<u8>>> {
    let mode = lz4::block::CompressionMode::HIGHCOMPRESSION(LEVEL);
    let packed = lz4::block::compress(content, Some(mode), false).context("liblz4")?;
    Ok(Some(packed).filter(|packed| packed.len() < content.len()))
}

/// An image file that is being written.
struct Packer {
    file: File,
    entries: Vec<Entry>,
    /// Packs that were written, by the SHA-256 of their content: equal ones stand once.
    packs: HashMap<[u8; 32], Place>,
    /// Bytes written.
    end: u64,
}

impl Packer {
    /// Leaves a gap up to the next CD sector's beginning from `at` on.
    fn skip_to(&mut self, at: u64) -> Result<()> {
        self.end = at.next_multiple_of(CD_SECTOR as u64);
        self.file.seek(SeekFrom::Start(self.end))?;
        Ok(())
    }

    fn add(&mut self, pack: &[Chunk], content: &[u8], packed: &Option<Vec<u8>>) -> Result<()> {
        let key: [u8; 32] = Sha256::digest(content).into();
        let place = match self.packs.get(&key) {
            Some(place) => *place,
            None => {
                let place = self.write(packed.as_deref().unwrap_or(content), packed.is_none())?;
                self.packs.insert(key, place);
                place
            }
        };
        let mut within = 0;
        for chunk in pack {
            let from = usize::from(within) * SECTOR;
            let entry = chunk.entry(&content[from..from + usize::from(chunk.sectors) * SECTOR]);
            self.entries.push(Entry { place: Some(Place { within, ..place }), ..entry });
            within += chunk.sectors;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], raw: bool) -> Result<Place> {
        let at = u32::try_from(self.end / CD_SECTOR as u64).context("the image is longer than 8 TiB")?;
        self.file.write_all(bytes)?;
        self.skip_to(self.end + bytes.len() as u64)?;
        Ok(Place { at, bytes: u32::try_from(bytes.len())?, hash: hash(0, bytes), raw, within: 0 })
    }

    /// Writes what stands before the packs, now that it is known.
    fn finish(mut self, header: &mut Header, names: &[u8]) -> Result<()> {
        let blocks = blocks(header.form, header.sequence, &self.entries);
        header.file_bytes = self.end;
        header.identity = identity(&blocks, names);
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(0))?;
        let mut first = vec![0; header.form.block()];
        first[..SECTOR].copy_from_slice(&header.to_sector());
        for part in [&first[..], &blocks, names] {
            self.file.write_all(part)?;
        }
        self.file.flush()?;
        Ok(())
    }
}
