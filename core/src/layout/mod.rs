//! What a filesystem has allocated: every sector that is in use, what it is, and whose it is.
//!
//! The host tool makes images and seals from it, the agent in the OS makes seals from it; the loader
//! does without. One module a filesystem family ([`fat`], [`ext`]) walks tables and directories and puts
//! what it finds into a [`Builder`], which sees to it that no sector has two owners.
//!
//! Whatever the volume's bytes say, this ends: a sector is claimed once, and names are together no
//! longer than the volume. So time and memory are bounded by the volume's length.

pub mod ext;
pub mod fat;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::media::filesystem::{Filesystem, FsError, Volume};
use crate::media::kind::Kind;
use crate::units::SectorCount;

/// Files of the root directory whose content changes by itself: bstate.txt, and the two seals that the
/// OS writes in turn.
const VOLATILE: [&str; 3] = ["/bstate.txt", "/seal.0", "/seal.1"];
/// Longest path, in bytes: Linux's PATH_MAX. It bounds what directories inside each other can cost.
const MAX_PATH: usize = 4096;
/// Owners of sectors that boot code lives in.
const BOOT_OWNERS: [&str; 5] = ["boot sector", "FSInfo", "reserved sectors", "boot block", "boot loader"];
/// Files that SYSLINUX, EXTLINUX and GRUB are made of, as far as they are found by block number.
const BOOT_FILES: [&str; 4] = ["ldlinux.sys", "ldlinux.c32", "core.img", "boot.img"];
/// Where those are.
const BOOT_FOLDERS: [&str; 8] =
    ["", "/boot", "/boot/grub", "/boot/grub/i386-pc", "/syslinux", "/extlinux", "/boot/syslinux", "/boot/extlinux"];

/// Consecutive sectors that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first sector, counted from the volume's beginning.
    pub first: u64,
    /// How many there are, at least one.
    pub sectors: u64,
    /// Which bytes of them count.
    pub kind: Kind,
    /// An index into [`Layout::owners`]; nothing where a table calls them in use and no file has them.
    pub owner: Option<u32>,
    /// Whether all of it changes by itself: bstate.txt, the seals, journals and the like.
    pub volatile: bool,
}

impl Run {
    /// The sector after the last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.sectors)
    }

    fn continues(&self, before: &Self) -> bool {
        let alike = (self.kind, self.owner, self.volatile) == (before.kind, before.owner, before.volatile);
        alike && before.end() == self.first
    }
}

/// What a filesystem has allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// All of it, sorted, without overlaps; neighbours differ in more than their place.
    pub runs: Vec<Run>,
    /// Paths of files and directories, with a `/` in front, and names of metadata, with none. A file
    /// without content is here too.
    pub owners: Vec<String>,
    /// Further names of files that have several: path, and the index of their first name in `owners`.
    pub links: Vec<(String, u32)>,
    /// FAT: the serial number, then zeros. ext: the UUID.
    pub volume_id: [u8; 16],
    /// The filesystem's own length in sectors; the volume may be longer.
    pub sectors: u64,
    /// Whether names that differ in case only are the same.
    folded: bool,
}

impl Layout {
    /// Reads the layout of the filesystem on `volume`.
    ///
    /// # Errors
    /// When there is no filesystem that this program knows, or it contradicts itself.
    pub fn of(volume: &mut dyn Volume) -> Result<Self, FsError> {
        match Filesystem::open(volume)? {
            Filesystem::Fat(fat) => fat::layout(volume, &fat),
            Filesystem::Ext(ext) => ext::layout(volume, &ext),
        }
    }

    /// Of something that is no filesystem known here: all of it is in use, by nobody.
    #[must_use]
    pub fn whole(sectors: u64) -> Self {
        let run = Run { first: 0, sectors, kind: Kind::Data, owner: None, volatile: false };
        let (owners, links) = (Vec::new(), Vec::new());
        Self { runs: alloc::vec![run], owners, links, volume_id: [0; 16], sectors, folded: false }
    }

    /// Indices of the runs of a file, or of a directory and all below it. The leading `/` may be left
    /// out; FAT makes no difference between `a` and `A`.
    #[must_use]
    pub fn files(&self, path: &str) -> Vec<usize> {
        let wanted = self.owners_below(path);
        self.runs_where(|run| run.owner.is_some_and(|owner| wanted.contains(&owner)))
    }

    /// Whether there is such a file or directory. It may have no runs: an empty file has none.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        !self.owners_below(path).is_empty()
    }

    /// Indices of the runs that boot code lives in: FAT's reserved sectors or ext's first 1024 bytes, and
    /// the files of the usual boot loaders where those look for them.
    #[must_use]
    pub fn boot_loader(&self) -> Vec<usize> {
        let wanted: Vec<bool> = self.owners.iter().map(|owner| self.is_boot_loader(owner)).collect();
        let linked = |owner| self.links.iter().any(|(path, to)| *to == owner && self.is_boot_loader(path));
        self.runs_where(|run| {
            let Some(owner) = run.owner else { return false };
            wanted.get(owner as usize) == Some(&true) || linked(owner)
        })
    }

    /// The name of a run's owner.
    #[must_use]
    pub fn owner(&self, run: &Run) -> Option<&str> {
        self.owners.get(run.owner? as usize).map(String::as_str)
    }

    fn runs_where(&self, mut wanted: impl FnMut(&Run) -> bool) -> Vec<usize> {
        self.runs.iter().enumerate().filter(|(_, run)| wanted(run)).map(|(index, _)| index).collect()
    }

    fn is_boot_loader(&self, owner: &str) -> bool {
        let Some((folder, file)) = owner.rsplit_once('/') else { return BOOT_OWNERS.contains(&owner) };
        let same = |a: &str, b: &str| a == b || self.folded && a.eq_ignore_ascii_case(b);
        BOOT_FOLDERS.iter().any(|f| same(f, folder)) && BOOT_FILES.iter().any(|f| same(f, file))
    }

    /// The owners at a path and below it.
    fn owners_below(&self, path: &str) -> BTreeSet<u32> {
        let fold = |name: &str| if self.folded { name.to_lowercase() } else { String::from(name) };
        let wanted = fold(path.trim_matches('/'));
        let below = |owner: &str| {
            let Some(owner) = owner.strip_prefix('/') else { return false };
            let owner = fold(owner);
            let rest = owner.strip_prefix(wanted.as_str());
            wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let named = self.owners.iter().zip(0_u32..).filter(|(owner, _)| below(owner)).map(|(_, index)| index);
        let linked = self.links.iter().filter(|(path, _)| below(path)).map(|(_, index)| *index);
        named.chain(linked).collect()
    }
}

/// How sure it is that claimed sectors are in use, and whether they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// The geometry says so.
    Fixed,
    /// A file says so; the table of used blocks has to agree.
    Found,
    /// The geometry or the list of bad blocks says that nothing in them counts.
    Skipped,
}

/// Collects runs and owners, in any order.
pub(crate) struct Builder {
    runs: Vec<(Run, Claim)>,
    owners: Vec<String>,
    links: Vec<(String, u32)>,
    /// Sectors that have not been claimed yet.
    free: u64,
    /// Bytes that names may still take.
    text: u64,
    /// The filesystem's length in sectors.
    sectors: u64,
    folded: bool,
}

impl Builder {
    /// For a filesystem of so many sectors; `folded` where the case of names means nothing.
    fn new(sectors: u64, folded: bool) -> Self {
        let text = SectorCount(sectors).bytes();
        Self { runs: Vec::new(), owners: Vec::new(), links: Vec::new(), free: sectors, text, sectors, folded }
    }

    /// Metadata's owner.
    fn metadata(&mut self, name: &str) -> Result<u32, FsError> {
        match self.owners.iter().take(32).position(|owner| owner == name) {
            Some(index) => Ok(index as u32),
            None => self.owner(String::from(name)),
        }
    }

    /// A new owner.
    fn owner(&mut self, name: String) -> Result<u32, FsError> {
        self.spend(&name)?;
        let index = u32::try_from(self.owners.len()).map_err(|_| FsError::Unsupported("too many files"))?;
        self.owners.push(name);
        Ok(index)
    }

    /// One more name of a file.
    fn link(&mut self, name: String, owner: u32) -> Result<(), FsError> {
        self.spend(&name)?;
        self.links.push((name, owner));
        Ok(())
    }

    fn spend(&mut self, name: &str) -> Result<(), FsError> {
        let left = self.text.checked_sub(name.len() as u64);
        self.text = left.ok_or(FsError::Corrupt("names take more room than the filesystem has"))?;
        Ok(())
    }

    /// A path's last part added; bounded.
    fn path(&self, parent: &str, name: &str) -> Result<String, FsError> {
        let parent = parent.trim_end_matches('/');
        if parent.len() + 1 + name.len() > MAX_PATH {
            return Err(FsError::Unsupported("a path of more than 4096 bytes"));
        }
        Ok(alloc::format!("{parent}/{name}"))
    }

    /// Whether a file's content changes by itself.
    fn is_volatile(&self, path: &str) -> bool {
        VOLATILE.iter().any(|name| *name == path || self.folded && name.eq_ignore_ascii_case(path))
    }

    /// Metadata that is where the geometry puts it.
    fn fixed(&mut self, first: u64, sectors: u64, kind: Kind, name: &str) -> Result<(), FsError> {
        let owner = Some(self.metadata(name)?);
        self.claim(Run { first, sectors, kind, owner, volatile: false }, Claim::Fixed)
    }

    /// Sectors that are in use, and whose content does not matter to anybody.
    fn skip(&mut self, first: u64, sectors: u64) -> Result<(), FsError> {
        self.claim(Run { first, sectors, kind: Kind::Data, owner: None, volatile: true }, Claim::Skipped)
    }

    /// What a file or directory has.
    fn found(&mut self, run: Run) -> Result<(), FsError> {
        self.claim(run, Claim::Found)
    }

    /// Sectors are claimed once; how many are left bounds every walk.
    fn claim(&mut self, run: Run, claim: Claim) -> Result<(), FsError> {
        if run.sectors == 0 {
            return Ok(());
        }
        if run.first >= self.sectors || run.sectors > self.sectors - run.first {
            return Err(FsError::Corrupt("a block lies outside the filesystem"));
        }
        let left = self.free.checked_sub(run.sectors);
        self.free = left.ok_or(FsError::Corrupt("a block belongs to two files"))?;
        match self.runs.last_mut() {
            Some((last, same)) if *same == claim && run.continues(last) => last.sectors += run.sectors,
            _ => self.runs.push((run, claim)),
        }
        Ok(())
    }

    /// Joins what was claimed with what the filesystem's table calls in use: `used` are pairs of first
    /// sector and sectors, sorted, with gaps between them.
    fn finish(mut self, used: &[(u64, u64)], volume_id: [u8; 16]) -> Result<Layout, FsError> {
        self.runs.sort_unstable_by_key(|(run, _)| run.first);
        for pair in self.runs.windows(2) {
            if let [(before, _), (after, _)] = pair
                && before.end() > after.first
            {
                return Err(FsError::Corrupt("a block belongs to two files"));
            }
        }
        if self.runs.iter().any(|(run, claim)| *claim == Claim::Found && !covered(used, run)) {
            return Err(FsError::Corrupt("a file's block is free by the bitmap"));
        }
        let mut runs = Vec::new();
        let mut claims = self.runs.iter().peekable();
        // Claims are known up to here; one that the geometry makes may reach over the end of what is used.
        let mut at = 0;
        for &(first, sectors) in used {
            let end = first + sectors;
            at = at.max(first);
            while let Some((run, claim)) = claims.next_if(|(run, _)| run.first < end) {
                unowned(&mut runs, at, run.first);
                at = at.max(run.end());
                keep(&mut runs, run, *claim);
            }
            unowned(&mut runs, at, end);
        }
        for (run, claim) in claims {
            keep(&mut runs, run, *claim);
        }
        let Self { owners, links, sectors, folded, .. } = self;
        Ok(Layout { runs, owners, links, volume_id, sectors, folded })
    }
}

/// Whether all of a run is in use.
fn covered(used: &[(u64, u64)], run: &Run) -> bool {
    let after = used.partition_point(|(first, _)| *first <= run.first);
    let before = after.checked_sub(1).and_then(|index| used.get(index));
    before.is_some_and(|(first, sectors)| run.end() <= first + sectors)
}

/// Adds a run at the end, joined to the last one if they are alike.
fn keep(runs: &mut Vec<Run>, run: &Run, claim: Claim) {
    match runs.last_mut() {
        _ if claim == Claim::Skipped => {}
        Some(last) if run.continues(last) => last.sectors += run.sectors,
        _ => runs.push(*run),
    }
}

/// Sectors in use of which nobody knows whose they are.
fn unowned(runs: &mut Vec<Run>, first: u64, end: u64) {
    if end > first {
        let run = Run { first, sectors: end - first, kind: Kind::Data, owner: None, volatile: false };
        keep(runs, &run, Claim::Fixed);
    }
}

/// A bit for each of so many things: whether it was met.
pub(crate) struct Met(Vec<u8>);

impl Met {
    fn new(things: u64) -> Self {
        Self(alloc::vec![0; usize::try_from(things.div_ceil(8)).unwrap_or(0)])
    }

    /// Marks one, and tells whether it is met for the first time; a thing outside never is.
    fn first_time(&mut self, thing: u64) -> bool {
        let byte = usize::try_from(thing / 8).ok().and_then(|at| self.0.get_mut(at));
        let Some(byte) = byte else { return false };
        let bit = 1 << (thing % 8);
        let first = *byte & bit == 0;
        *byte |= bit;
        first
    }
}

/// Adds a used stretch behind the others, joined to the last one if it touches it.
fn use_more(used: &mut Vec<(u64, u64)>, first: u64, sectors: u64) {
    match used.last_mut() {
        Some(last) if last.0 + last.1 == first => last.1 += sectors,
        _ => used.push((first, sectors)),
    }
}
