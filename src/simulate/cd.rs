//! The CD of a run: an ISO as it is, or one that is made for this run of a logic file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use knownstate_core::logic::{self, Program};
use knownstate_core::media::iso9660::Iso;
use knownstate_core::units::CD_SECTOR;
use tempfile::TempDir;

use crate::build;
use crate::check::{self, Source};
use crate::files::IsoFile;

/// A CD, and what its logic.txt says.
pub struct Cd {
    path: PathBuf,
    /// Or why it can't be followed, in the loader's words.
    program: Result<Program, String>,
    /// Where the ISO is that was made for this run; removed at the end.
    _made: Option<TempDir>,
}

impl Cd {
    /// Opens an ISO, or makes one of a logic file and the images in `images` or beside it.
    ///
    /// # Errors
    /// Why the file is neither, or why no CD can be made of it.
    pub fn open(path: &Path, images: Option<&Path>) -> Result<Self> {
        if let Some(cd) = Self::as_iso(path, images)? {
            return Ok(cd);
        }
        Self::of(check::load_unproved(path, images)?, build::make)
    }

    /// The same to look at disks with: of a logic file's images those that are there go on it. And the names of the
    /// partitions whose image is not.
    ///
    /// # Errors
    /// Why the file is neither, or why no CD can be made of it.
    pub fn open_partly(path: &Path, images: Option<&Path>) -> Result<(Self, Vec<String>)> {
        if let Some(cd) = Self::as_iso(path, images)? {
            return Ok((cd, Vec::new()));
        }
        let source = check::load_alone(path, images)?;
        let partitions = source.program.partition_indexes().map(|p| source.program.partition(p));
        let missing = partitions.filter(|p| p.image.is_some() && !source.has_image(p)).map(|p| p.name.clone());
        let missing = missing.collect();
        Ok((Self::of(source, build::make_partly)?, missing))
    }

    /// The ISO at a path; nothing where a logic file is there.
    fn as_iso(path: &Path, images: Option<&Path>) -> Result<Option<Self>> {
        let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
        if is_iso(&file) {
            if images.is_some() {
                bail!("{} is an ISO, which has its images in it; leave --images out", path.display());
            }
            return Ok(Some(Self { path: path.to_path_buf(), program: program(path)?, _made: None }));
        }
        if file.metadata()?.len() > logic::MAX_BYTES as u64 {
            bail!("{} is neither an ISO nor a logic file, which is shorter", path.display());
        }
        Ok(None)
    }

    /// Makes one, in a temporary folder.
    fn of(source: Source, make: fn(&Source, &Path) -> Result<()>) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("knownstate-").tempdir().context("can't make a temporary folder")?;
        let iso = folder.path().join("cd.iso");
        make(&source, &iso)?;
        Ok(Self { path: iso, program: Ok(source.program), _made: Some(folder) })
    }

    /// The ISO, to read from.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn file(&self) -> Result<File> {
        File::open(&self.path).with_context(|| format!("can't open {}", self.path.display()))
    }

    /// What logic.txt says.
    ///
    /// # Errors
    /// Why nobody can tell.
    pub fn program(&self) -> Result<&Program> {
        self.program.as_ref().map_err(|why| anyhow!("the CD's {} can't be followed: {why}", logic::FILE))
    }
}

/// Whether a volume descriptor stands where every ISO 9660 medium has its first (ECMA-119 sections 6.2.1
/// and 8.1: after 16 sectors, from its second byte on).
fn is_iso(file: &File) -> bool {
    let mut mark = [0; 5];
    file.read_exact_at(&mut mark, 16 * CD_SECTOR as u64 + 1).is_ok() && mark == *b"CD001"
}

fn program(iso: &Path) -> Result<Result<Program, String>> {
    let mut machine = IsoFile::open(iso)?;
    let text = Iso::open(&mut machine).and_then(|cd| cd.read_file(&mut machine, logic::FILE, logic::MAX_BYTES));
    Ok(text.map_err(|e| e.to_string()).and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_string())?;
        logic::parse(&text).map_err(|wrong| wrong.first().map(ToString::to_string).unwrap_or_default())
    }))
}
