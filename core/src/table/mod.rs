//! What a partition has to hold, chunk by chunk: images on the CD and seals on the disk. To the byte:
//! docs/IMAGES.md.
//!
//! Both are one format. A [`Header`] is followed by blocks of [`Entry`]s in the order of the disk, and by
//! a text that says whose sectors are whose. An image's entries say in addition where the chunk's packed
//! content stands; a seal is the same table without places. Every part carries its own hash, so that
//! whatever is damaged is known before it is used, and nothing has to fit into memory whole.

pub mod names;
pub mod read;
pub mod unpack;
pub mod write;

use crate::bytes::{put_u32, u8_at, u16_at, u32_at, u64_split};
use crate::hash::hash;
use crate::media::kind::Kind;
use crate::units::{CD_SECTOR, Offset, SECTOR, SectorCount};

pub use read::{Cursor, Table};

/// The first bytes of an image and of a seal.
pub const MAGIC: &[u8; 8] = b"KSTABLE\n";
/// The format's version.
pub const VERSION: u32 = 1;
/// The most sectors in a chunk, and in all chunks of one pack together: 64 KiB, which is the most that any
/// BIOS moves at once.
pub const CHUNK_SECTORS: usize = 128;
/// The same in bytes.
pub const CHUNK_BYTES: usize = CHUNK_SECTORS * SECTOR;
/// Names of the seals in a partition's root directory. There are two, so that the newer one can be written
/// without touching the older one.
pub const SEALS: [&str; 2] = ["seal.0", "seal.1"];

/// What a table is for, which decides the form of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// On the CD: entries of 40 bytes in blocks of a CD sector.
    Image,
    /// On a disk: entries of 24 bytes in blocks of a disk sector, which is written whole or not at all.
    Seal,
}

impl Form {
    /// Bytes in a block; the header is alone in the first one.
    #[must_use]
    pub const fn block(self) -> usize {
        match self {
            Self::Image => CD_SECTOR,
            Self::Seal => SECTOR,
        }
    }

    /// Bytes in an entry.
    #[must_use]
    pub const fn entry(self) -> usize {
        match self {
            Self::Image => 40,
            Self::Seal => 24,
        }
    }

    /// Entries in a block, whose last 8 bytes are its hash.
    #[must_use]
    pub const fn entries(self) -> usize {
        (self.block() - 8) / self.entry()
    }

    /// The hash of a block that lacks nothing but its hash. No block can stand for another one, nor for
    /// one of an older seal.
    #[must_use]
    pub fn hash_of_block(self, sequence: u64, number: u64, block: &[u8]) -> u64 {
        let content = block.get(..self.block() - 8).unwrap_or_default();
        hash(sequence.rotate_left(32) ^ number, content)
    }
}

/// Why a header is not one, or not one that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin as one.
    NoTable,
    /// It is of a version that this program does not read.
    Version(u32),
    /// Its own hash is wrong.
    Hash,
    /// A field has an impossible value; the field's name in docs/IMAGES.md.
    Field(&'static str),
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoTable => f.write_str("no table"),
            Self::Version(version) => write!(f, "version {version} of the table is unknown here"),
            Self::Hash => f.write_str("the header's hash is wrong"),
            Self::Field(field) => write!(f, "the header's {field} is impossible"),
        }
    }
}

/// The first sector of an image or a seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Image or seal.
    pub form: Form,
    /// Of two seals the one with the higher sequence counts; 0 in an image, and in a seal that nobody has
    /// written yet.
    pub sequence: u64,
    /// Length of what it describes, in 512-byte sectors.
    pub sectors: SectorCount,
    /// Number of entries.
    pub chunks: u64,
    /// Where the names begin, in bytes from the file's beginning.
    pub names_at: u64,
    /// Length of the names in bytes.
    pub names_bytes: u32,
    /// The hash of the names.
    pub names_hash: u64,
    /// Bytes of the file that belong to it.
    pub file_bytes: u64,
    /// Sectors in all chunks together.
    pub described: u64,
    /// Sectors in all chunks that must not change.
    pub protected: u64,
    /// The sector where bstate.txt begins, if there is one.
    pub state: Option<Offset>,
    /// SHA-256 of all blocks and the names: the identity of what is described. The loader never computes
    /// it.
    pub identity: [u8; 32],
}

/// What stands for "no bstate.txt".
const NO_STATE: u64 = u64::MAX;
/// Where the header's own hash stands: its last 8 bytes.
const HASH_AT: usize = SECTOR - 8;
/// Names longer than this are nobody's.
const MAX_NAMES: u32 = 64 << 20;

impl Header {
    /// Reads and checks a header.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(sector: &[u8]) -> Result<Self, Fault> {
        if !sector.starts_with(MAGIC) {
            return Err(Fault::NoTable);
        }
        let field = |at: usize| u64_split(sector, at, at + 4);
        if hash(0, sector.get(..HASH_AT).unwrap_or_default()) != field(HASH_AT) {
            return Err(Fault::Hash);
        }
        // Behind the hash: a number that says "version 7" must not be a damaged "version 1".
        let version = u32_at(sector, 0x08);
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let form = match u32_at(sector, 0x0C) {
            2048 => Form::Image,
            512 => Form::Seal,
            _ => return Err(Fault::Field("block length")),
        };
        let mut identity = [0; 32];
        identity.copy_from_slice(sector.get(0x50..0x70).unwrap_or(&[0; 32]));
        let header = Self {
            form,
            sequence: field(0x10),
            sectors: SectorCount(field(0x18)),
            chunks: field(0x20),
            names_at: field(0x28),
            names_bytes: u32_at(sector, 0x30),
            names_hash: field(0x38),
            file_bytes: field(0x40),
            state: Some(field(0x48)).filter(|&at| at != NO_STATE).map(Offset),
            described: field(0x70),
            protected: field(0x78),
            identity,
        };
        header.check().map(|()| header)
    }

    /// What follows from the fields together.
    fn check(&self) -> Result<(), Fault> {
        // No more chunks than sectors; and no sum below overflows.
        if self.sectors.0 > 1 << 40 {
            return Err(Fault::Field("length"));
        }
        if self.described > self.sectors.0 || self.protected > self.described {
            return Err(Fault::Field("number of sectors"));
        }
        if self.chunks > self.sectors.0 {
            return Err(Fault::Field("number of chunks"));
        }
        if self.names_at != self.blocks_end() || self.names_bytes > MAX_NAMES {
            return Err(Fault::Field("place of the names"));
        }
        if self.file_bytes < self.names_at + u64::from(self.names_bytes) {
            return Err(Fault::Field("file length"));
        }
        if self.state.is_some_and(|at| at.0 >= self.sectors.0) {
            return Err(Fault::Field("place of bstate.txt"));
        }
        Ok(())
    }

    /// Number of blocks behind the header's own.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.chunks.div_ceil(self.form.entries() as u64)
    }

    /// Where the blocks end and the names begin, in bytes.
    #[must_use]
    pub fn blocks_end(&self) -> u64 {
        (1 + self.blocks()) * self.form.block() as u64
    }

    /// The header's sector.
    #[must_use]
    pub fn to_sector(&self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(MAGIC);
        put_u32(&mut sector, 0x08, VERSION);
        put_u32(&mut sector, 0x0C, self.form.block() as u32);
        let fields = [
            (0x10, self.sequence),
            (0x18, self.sectors.0),
            (0x20, self.chunks),
            (0x28, self.names_at),
            (0x30, u64::from(self.names_bytes)),
            (0x38, self.names_hash),
            (0x40, self.file_bytes),
            (0x48, self.state.map_or(NO_STATE, |at| at.0)),
            (0x70, self.described),
            (0x78, self.protected),
        ];
        for (at, value) in fields {
            put_u64(&mut sector, at, value);
        }
        sector[0x50..0x70].copy_from_slice(&self.identity);
        let own = hash(0, &sector[..HASH_AT]);
        put_u64(&mut sector, HASH_AT, own);
        sector
    }
}

/// Puts a 64-bit field at `at`.
fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    put_u32(bytes, at, value as u32);
    put_u32(bytes, at + 4, (value >> 32) as u32);
}

/// Where a chunk's content stands in an image file: in a pack, alone or with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The pack's first CD sector, counted from the file's beginning.
    pub at: u32,
    /// The pack's length in bytes, as it stands there.
    pub bytes: u32,
    /// The hash of these bytes.
    pub hash: u64,
    /// Whether the pack is not compressed, because that would not have made it shorter.
    pub raw: bool,
    /// Where in the unpacked pack the chunk begins, in sectors.
    pub within: u16,
}

/// One chunk: consecutive sectors of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its first sector, from the partition's beginning.
    pub first: u64,
    /// Its length in sectors: 1 to [`CHUNK_SECTORS`].
    pub sectors: u16,
    /// What it is.
    pub kind: Kind,
    /// Whether it must not change.
    pub protected: bool,
    /// The hash of its content, but for the bytes that its kind lets change.
    pub hash: u64,
    /// Where its content stands; in an image only.
    pub place: Option<Place>,
}

/// Bit of the flags: the chunk is protected.
const PROTECTED: u8 = 1;
/// Bit of the flags: the pack is not compressed.
const RAW: u8 = 2;

impl Entry {
    /// The sector behind its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.sectors))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::from(self.sectors) * SECTOR
    }

    /// Whether `content` is what it has to be. The bytes that do not count are zeroed on the way.
    #[must_use]
    pub fn matches(&self, content: &mut [u8]) -> bool {
        self.kind.blank(content);
        hash(0, content) == self.hash
    }

    /// Whether both describe the same content of the same sectors.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.first, self.sectors, self.kind, self.hash) == (other.first, other.sectors, other.kind, other.hash)
    }

    /// Reads an entry; nothing where a field is impossible.
    fn parse(form: Form, bytes: &[u8]) -> Option<Self> {
        let flags = u8_at(bytes, 0x13);
        let place = Place {
            within: u16_at(bytes, 0x14),
            at: u32_at(bytes, 0x18),
            bytes: u32_at(bytes, 0x1C),
            hash: u64_split(bytes, 0x20, 0x24),
            raw: flags & RAW != 0,
        };
        let entry = Self {
            hash: u64_split(bytes, 0x00, 0x04),
            first: u64_split(bytes, 0x08, 0x0C),
            sectors: u16_at(bytes, 0x10),
            kind: Kind::from_byte(u8_at(bytes, 0x12))?,
            protected: flags & PROTECTED != 0,
            place: (form == Form::Image).then_some(place),
        };
        let fits = |place: Place| {
            usize::from(place.within) + usize::from(entry.sectors) <= CHUNK_SECTORS
                && (1..=CHUNK_BYTES as u32).contains(&place.bytes)
        };
        let known = flags & !(PROTECTED | RAW) == 0;
        let possible = (1..=CHUNK_SECTORS).contains(&usize::from(entry.sectors)) && entry.place.is_none_or(fits);
        (known && possible).then_some(entry)
    }

    /// Writes an entry into `bytes`, which has the form's length.
    fn put(&self, bytes: &mut [u8]) {
        let raw = self.place.is_some_and(|place| place.raw);
        let flags = if self.protected { PROTECTED } else { 0 } | if raw { RAW } else { 0 };
        put_u64(bytes, 0x00, self.hash);
        put_u64(bytes, 0x08, self.first);
        put_u32(bytes, 0x10, u32::from(self.sectors) | u32::from(self.kind as u8) << 16 | u32::from(flags) << 24);
        if let Some(place) = self.place {
            put_u32(bytes, 0x14, u32::from(place.within));
            put_u32(bytes, 0x18, place.at);
            put_u32(bytes, 0x1C, place.bytes);
            put_u64(bytes, 0x20, place.hash);
        }
    }
}
