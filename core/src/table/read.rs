//! Reading a table, block by block, from the CD or from the partition that it seals.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::names::{self, Finder};
use super::{CHUNK_SECTORS, Entry, Fault, Form, Header};
use crate::bytes::u64_split;
use crate::hash::Hasher;
use crate::machine::{IoError, Machine};
use crate::media::filesystem::{FileMap, MAX_PIECES};
use crate::media::iso9660::{CdError, CdFile, Iso};
use crate::media::region::Region;
use crate::units::{CD_SECTOR, Offset, SECTOR};

/// Bytes of a table, or of its names, that are read at once.
const WINDOW: usize = 32 * 1024;
/// The most that the names of a chunk's owners may take: as many as it has sectors, each of 1 KiB.
const MAX_OWNERS_BYTES: usize = CHUNK_SECTORS * 1024;

/// Where a table's bytes are.
enum Source {
    /// In a file on the CD.
    Cd(CdFile),
    /// In a file on the partition itself.
    Disk { region: Region, runs: Vec<(Offset, u64)> },
}

/// A table whose header was found good.
pub struct Table {
    /// The header.
    pub header: Header,
    source: Source,
    /// What it is called in messages.
    name: String,
}

impl Table {
    /// Opens an image on the CD.
    ///
    /// # Errors
    /// That there is none, or what is wrong with it.
    pub fn on_cd(machine: &mut dyn Machine, cd: &Iso, path: &str) -> Result<Self, String> {
        let file = cd.find(machine, path).map_err(|e| e.to_string())?;
        Self::in_file(machine, file, path)
    }

    /// Opens an image in a file of the CD.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn in_file(machine: &mut dyn Machine, file: CdFile, path: &str) -> Result<Self, String> {
        let mut block = vec![0; CD_SECTOR];
        file.read(machine, 0, &mut block).map_err(|e| format!("{path}: {e}"))?;
        let damaged = |why: String| format!("{path} is damaged on the CD: {why}");
        let header = Header::parse(&block[..SECTOR]).map_err(|fault| damaged(fault.to_string()))?;
        if header.form != Form::Image {
            return Err(damaged("it is no image".to_string()));
        }
        if header.file_bytes != file.bytes() {
            return Err(damaged(format!("it has {} bytes instead of {}", file.bytes(), header.file_bytes)));
        }
        Ok(Self { header, source: Source::Cd(file), name: path.to_string() })
    }

    /// Opens a seal on a partition; nothing where the file holds none that anybody wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline(never)]
    pub fn on_disk(
        machine: &mut dyn Machine,
        region: &Region,
        map: FileMap,
        name: &str,
    ) -> Result<Option<Self>, String> {
        let source = Source::Disk { region: *region, runs: map.runs };
        let mut sector = [0; SECTOR];
        source.read(machine, 0, &mut sector).map_err(|e| format!("{name}: {e}"))?;
        let header = match Header::parse(&sector) {
            Ok(header) if header.sequence != 0 => header,
            Ok(_) | Err(Fault::NoTable) => return Ok(None),
            Err(fault) => return Err(format!("{name}: {fault}")),
        };
        let fits = header.form == Form::Seal && header.file_bytes <= map.bytes && header.sectors.0 <= region.length().0;
        if fits {
            Ok(Some(Self { header, source, name: name.to_string() }))
        } else {
            Err(format!("{name} does not fit"))
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is an image on the CD.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.header.form == Form::Image
    }

    /// Reads whole blocks from byte `at` of the file.
    ///
    /// # Errors
    /// What can't be read.
    pub(super) fn read(&self, machine: &mut dyn Machine, at: u64, into: &mut [u8]) -> Result<(), String> {
        self.source.read(machine, at, into).map_err(|why| format!("{}: {why}", self.name))
    }

    /// The entries, from the first one on.
    #[must_use]
    pub fn entries(&self) -> Cursor<'_> {
        Cursor { table: self, window: Vec::new(), blocks: 0, at: 0, next: 0, left: self.header.chunks, end: 0 }
    }

    /// The names of what stands in sectors `first` up to `end`; empty where none can be told.
    pub fn names_of(&self, machine: &mut dyn Machine, first: u64, end: u64) -> String {
        let mut finder = Finder::default();
        self.each_owner(machine, first, end, &mut |name| {
            finder.add(name);
            true
        });
        finder.names()
    }

    /// Whose the sectors `first` up to `end` are, one by one, as the seal writes it; nobody's where that is more
    /// than [`MAX_OWNERS_BYTES`].
    pub fn owners_of(&self, machine: &mut dyn Machine, first: u64, end: u64) -> Vec<String> {
        let (mut owners, mut bytes) = (Vec::new(), 0);
        self.each_owner(machine, first, end, &mut |name| {
            bytes += size_of::<String>() + name.len();
            owners.push(name.to_string());
            bytes <= MAX_OWNERS_BYTES
        });
        if bytes > MAX_OWNERS_BYTES {
            owners.clear();
        }
        owners
    }

    /// Gives the names of what stands in each of these ranges, which are in the order of the disk: a range's number
    /// and a name, in no order, until `each` has seen enough.
    ///
    /// # Errors
    /// That the names can't be read.
    pub fn owners_of_each(
        &self,
        machine: &mut dyn Machine,
        entries: &[Entry],
        each: &mut dyn FnMut(usize, &str) -> bool,
    ) -> Result<(), String> {
        self.each_line(machine, &mut |from, behind, name| {
            let first = entries.partition_point(|entry| entry.end() <= from);
            let within = entries.iter().enumerate().skip(first).take_while(|(_, entry)| entry.first < behind);
            within.map(|(number, _)| number).all(|number| each(number, name))
        })
    }

    /// Where all stands that has this name, in the order of the disk: first sectors, and those behind the last. Of
    /// a file in too many pieces for [`crate::media::filesystem::Filesystem::extents`], not all.
    pub fn pieces_of(&self, machine: &mut dyn Machine, wanted: &str) -> Vec<(u64, u64)> {
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        let _ = self.each_line(machine, &mut |from, behind, name| {
            match pieces.last_mut() {
                _ if name != wanted => {}
                Some(last) if last.1 == from => last.1 = behind,
                _ => pieces.push((from, behind)),
            }
            pieces.len() <= MAX_PIECES
        });
        pieces
    }

    /// Gives the names of what stands in sectors `first` up to `end`, until `each` has seen enough.
    fn each_owner(&self, machine: &mut dyn Machine, first: u64, end: u64, each: &mut dyn FnMut(&str) -> bool) {
        let _ = self.each_line(machine, &mut |from, behind, name| {
            let is_within = from < end && first < behind;
            (!is_within || each(name)) && from < end
        });
    }

    /// Gives the names' lines one by one, first sector, the one behind the last, and name, until `each` has seen
    /// enough.
    ///
    /// # Errors
    /// That they can't be read.
    #[inline(never)]
    fn each_line(&self, machine: &mut dyn Machine, each: &mut dyn FnMut(u64, u64, &str) -> bool) -> Result<(), String> {
        let mut line = |line: &str| names::parse(line).is_none_or(|(from, behind, name)| each(from, behind, name));
        let mut rest = Vec::new();
        self.each_piece(machine, self.header.names_at, |piece| {
            rest.extend_from_slice(piece);
            // The last one may go on in the next piece; one without an end is none.
            let ended = rest.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            let mut lines = rest[..ended].split(|&b| b == b'\n');
            let more = lines.all(|bytes| core::str::from_utf8(bytes).map_or(true, &mut line));
            rest.drain(..ended);
            more && rest.len() <= WINDOW
        })
    }

    /// Whether it protects some files only, so that nothing in it says where they stand now.
    pub fn is_partial(&self, machine: &mut dyn Machine) -> bool {
        let mut partial = false;
        let _ = self.each_piece(machine, self.header.names_at, |piece| {
            partial = piece.starts_with(b"protect \"");
            false
        });
        partial
    }

    /// Reads all names and compares their hash.
    ///
    /// # Errors
    /// That they are unreadable or damaged.
    pub fn check_names(&self, machine: &mut dyn Machine) -> Result<(), String> {
        let mut hasher = Hasher::new(0, u64::from(self.header.names_bytes));
        self.each_piece(machine, self.header.names_at, |piece| {
            hasher.update(piece);
            true
        })?;
        let good = hasher.finish() == self.header.names_hash;
        if good { Ok(()) } else { Err(format!("{}: the hash of its names is wrong", self.name)) }
    }

    /// Gives all that the SHA-256 in the header is made of, piece by piece.
    ///
    /// # Errors
    /// What can't be read.
    pub fn identified(&self, machine: &mut dyn Machine, mut each: impl FnMut(&[u8])) -> Result<(), String> {
        self.each_piece(machine, self.header.form.block() as u64, |piece| {
            each(piece);
            true
        })
    }

    /// Gives what stands from byte `at`, a block's beginning, up to the end of the names piece by piece,
    /// until `each` has seen enough.
    #[inline(never)]
    fn each_piece(
        &self,
        machine: &mut dyn Machine,
        mut at: u64,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), String> {
        let block = self.header.form.block();
        let mut window = vec![0; WINDOW];
        let end = self.header.names_at + u64::from(self.header.names_bytes);
        while at < end {
            let bytes = usize::try_from(end - at).unwrap_or(WINDOW).min(WINDOW);
            let Some(whole) = window.get_mut(..bytes.next_multiple_of(block)) else { break };
            self.read(machine, at, whole)?;
            if !each(&whole[..bytes]) {
                break;
            }
            at += bytes as u64;
        }
        Ok(())
    }
}

impl Source {
    fn read(&self, machine: &mut dyn Machine, at: u64, into: &mut [u8]) -> Result<(), String> {
        match self {
            Self::Cd(file) => file.read(machine, at, into).map_err(|e: CdError| e.to_string()),
            Self::Disk { region, runs } => read_runs(machine, region, runs, at, into).map_err(|e| e.to_string()),
        }
    }
}

/// Reads whole sectors from byte `at` of a file that stands in these runs.
fn read_runs(
    machine: &mut dyn Machine,
    region: &Region,
    runs: &[(Offset, u64)],
    at: u64,
    into: &mut [u8],
) -> Result<(), IoError> {
    let mut skip = at / SECTOR as u64;
    let mut rest = into;
    for &(first, sectors) in runs {
        if skip >= sectors {
            skip -= sectors;
            continue;
        }
        let here =
            usize::try_from((sectors - skip).saturating_mul(SECTOR as u64)).unwrap_or(usize::MAX).min(rest.len());
        let (now, later) = rest.split_at_mut(here);
        region.read(machine, Offset(first.0.saturating_add(skip)), now)?;
        rest = later;
        skip = 0;
        if rest.is_empty() {
            return Ok(());
        }
    }
    Err(IoError::OutOfRange)
}

/// A place in a table's entries.
pub struct Cursor<'t> {
    table: &'t Table,
    /// The blocks that were read last.
    window: Vec<u8>,
    /// How many blocks were read in all.
    blocks: u64,
    /// The byte of the window where the present block begins, and which of its entries is next.
    at: usize,
    next: usize,
    /// Entries that were not given yet.
    left: u64,
    /// The sector behind the last entry that was given.
    end: u64,
}

impl Cursor<'_> {
    /// The next entry, in the order of the disk; nothing behind the last one.
    ///
    /// # Errors
    /// What is unreadable or damaged.
    pub fn next(&mut self, machine: &mut dyn Machine) -> Result<Option<Entry>, String> {
        if self.left == 0 {
            return Ok(None);
        }
        let form = self.table.header.form;
        if self.next == form.entries() {
            (self.at, self.next) = (self.at + form.block(), 0);
        }
        if self.at == self.window.len() {
            self.fill(machine)?;
        }
        let at = self.at + self.next * form.entry();
        let parsed = self.window.get(at..at + form.entry()).and_then(|bytes| Entry::parse(form, bytes));
        let inside = |e: &Entry| e.first >= self.end && e.end() <= self.table.header.sectors.0;
        let Some(entry) = parsed.filter(inside) else {
            let number = self.table.header.chunks - self.left;
            return Err(format!("{}: entry {number} of its table is impossible", self.table.name));
        };
        (self.next, self.left, self.end) = (self.next + 1, self.left - 1, entry.end());
        Ok(Some(entry))
    }

    /// Reads the next blocks and checks their hashes. What was found damaged is not kept: whoever asks again
    /// after an error must not get it.
    fn fill(&mut self, machine: &mut dyn Machine) -> Result<(), String> {
        let filled = self.read_blocks(machine);
        if filled.is_err() {
            self.window.clear();
        }
        self.at = 0;
        filled
    }

    #[inline(never)]
    fn read_blocks(&mut self, machine: &mut dyn Machine) -> Result<(), String> {
        let header = &self.table.header;
        let block = header.form.block();
        let blocks = header.blocks().saturating_sub(self.blocks).min((WINDOW / block) as u64);
        self.window.resize(blocks as usize * block, 0);
        self.table.read(machine, (1 + self.blocks) * block as u64, &mut self.window)?;
        for (number, bytes) in (self.blocks..).zip(self.window.chunks(block)) {
            let stands = u64_split(bytes, block - 8, block - 4);
            if header.form.hash_of_block(header.sequence, number, bytes) != stands {
                return Err(format!("{}: the hash of block {number} of its table is wrong", self.table.name));
            }
        }
        self.blocks += blocks;
        Ok(())
    }
}
