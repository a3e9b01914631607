//! Whether a file is a partition image that a CD can be made of: what `check` and `build` ask of each.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use knownstate_core::bstate;
use knownstate_core::layout::Layout;
use knownstate_core::logic::{Partition, Protect};
use knownstate_core::media::boot_sector;
use knownstate_core::media::filesystem::{FileMap, Filesystem, FsError, Volume};
use knownstate_core::media::mbr::Mbr;
use knownstate_core::table::SEALS;
use knownstate_core::units::{Offset, SECTOR};

use crate::files::FileVolume;
use crate::names::{self, Config, Name};

/// What was found out about an image that can be used.
#[derive(Default)]
pub struct Examined {
    /// Whether bstate.txt has a place in it.
    pub home: bool,
    /// What may go wrong with it, and what to do.
    pub warnings: Vec<String>,
    /// What its filesystem is called.
    pub names: Vec<Name>,
    /// Its files that may ask for a filesystem by name.
    pub configs: Vec<Config>,
}

/// Examines an image that has to be restored. `booted` and `verified` are whether a step does that.
///
/// # Errors
/// Why no CD can be made of it, and what to do.
pub fn examine(path: &Path, partition: &Partition, booted: bool, verified: bool) -> Result<Examined> {
    let mut volume = open(path, partition)?;
    let examined = match Filesystem::open(&mut volume) {
        Ok(filesystem) => inside(path, &mut volume, &filesystem, partition)?,
        Err(FsError::Unknown) if partition.tools.is_empty() => Examined::default(),
        Err(FsError::Unknown) => bail!("tools can be added to a FAT or ext filesystem only"),
        Err(error) => bail!("{error}; repair the image with fsck, or make it with other options"),
    };
    if !examined.home {
        protectable(&Layout::whole(volume.length().0), partition)?;
    }
    let mut sector = [0; SECTOR];
    volume.read(Offset(0), &mut sector).map_err(|e| anyhow!("boot sector: {e}"))?;
    // A filesystem without boot code never passes `verify`, so a flow that asks for it never gets on; anything
    // else only has to be what it was.
    if let (true, Some(fault)) = (booted || verified && examined.home, boot_sector::fault(&sector)) {
        bail!("{fault}; a step boots or verifies it, so install a boot loader in it (such as syslinux or extlinux)");
    }
    Ok(examined)
}

/// Opens a file that can be a partition's image by what it is and how long it is.
fn open(path: &Path, partition: &Partition) -> Result<FileVolume> {
    if !path.exists() {
        bail!("no such file; put the image there, or say where it is with --images");
    }
    if !path.metadata()?.is_file() && path.is_dir() {
        bail!("that is a directory; name a raw partition image");
    }
    if let Some(packed) = packed(path)? {
        bail!("that is a {packed} file; unpack it first: images are packed when the CD is made");
    }
    let mut volume = FileVolume::open(path)?;
    let (bytes, room) = (fs::metadata(path)?.len(), partition.sectors.bytes());
    if bytes > room {
        let (has, room) = (bytes.div_ceil(SECTOR as u64), partition.sectors);
        bail!("the image has {has} sectors, the partition {}; make the partition larger", room.0);
    }
    if bytes == 0 || bytes % SECTOR as u64 != 0 {
        bail!("{bytes} bytes are not a whole number of 512-byte sectors, so it is no raw partition image");
    }
    if is_disk(&mut volume) {
        bail!("that is the image of a whole disk, with a partition table; name the image of one partition");
    }
    Ok(volume)
}

/// What a file was packed with, by its first bytes: RFC 1952 section 2.3.1, the xz file format section 2.1.1.1,
/// RFC 8878 section 3.1.1, bzip2's BZh, and QEMU's qcow2 (docs/interop/qcow2.txt, "Header").
fn packed(path: &Path) -> Result<Option<&'static str>> {
    let mut first = Vec::new();
    fs::File::open(path)?.take(4).read_to_end(&mut first)?;
    let kinds: [(&[u8], &str); 5] = [
        (&[0x1F, 0x8B], "gzip"),
        (&[0xFD, b'7', b'z', b'X'], "xz"),
        (&[0x28, 0xB5, 0x2F, 0xFD], "zstd"),
        (b"BZh", "bzip2"),
        (b"QFI\xFB", "qcow2"),
    ];
    Ok(kinds.iter().find(|(magic, _)| first.starts_with(magic)).map(|&(_, name)| name))
}

/// Whether an image is that of a disk: a partition table that fits it, and no filesystem.
fn is_disk(volume: &mut FileVolume) -> bool {
    let mut sector = [0; SECTOR];
    let sectors = volume.length().0;
    volume.read(Offset(0), &mut sector).is_ok()
        && matches!(Filesystem::open(volume), Err(FsError::Unknown))
        && Mbr::parse(&sector).is_ok_and(|mbr| mbr.check(sectors).is_ok() && mbr.entries().iter().any(|e| e.kind != 0))
}

/// Looks into the filesystem of an image.
fn inside(path: &Path, volume: &mut FileVolume, filesystem: &Filesystem, partition: &Partition) -> Result<Examined> {
    let mut warnings = Vec::new();
    match filesystem {
        Filesystem::Ext(ext) => {
            if let Some(field) = ext.left_behind(volume).map_err(|e| anyhow!("{e}"))? {
                bail!(
                    "it was copied while it was mounted ({field}): the first mount of each copy would bring its \
                     journal's old content back over bstate.txt and the seals, or clean up; run: e2fsck -f {}",
                    path.display()
                );
            }
            if !ext.is_clean(volume).unwrap_or(true) {
                let text = "it was copied while it was mounted (s_state), and may be inconsistent";
                warnings.push(format!("{text}; run: e2fsck -f {}", path.display()));
            }
        }
        Filesystem::Fat(fat) => {
            if fat.is_dirty(volume).unwrap_or(false) {
                let text = "its dirty bit is set: it was copied while it was mounted, and may be inconsistent";
                warnings.push(format!("{text}; run: fsck.vfat -a {}", path.display()));
            }
        }
    }
    let layout = Layout::of(volume).map_err(|error| anyhow!("{error}; repair the image with fsck"))?;
    protectable(&layout, partition)?;
    own_files(path, volume, filesystem, &layout)?;
    let names = names::of(filesystem, volume);
    Ok(Examined { home: true, warnings, names, configs: names::configs(filesystem, volume, &layout) })
}

/// Whether all is there that is to be protected.
fn protectable(layout: &Layout, partition: &Partition) -> Result<()> {
    let Protect::Paths(paths) = &partition.protect else { return Ok(()) };
    // Tools come into the root directory only when the CD is made.
    let is_tool =
        |path: &str| partition.tools.iter().any(|tool| tool.eq_ignore_ascii_case(path.trim_start_matches('/')));
    match paths.iter().find(|path| !layout.has(path) && !is_tool(path)) {
        Some(path) => bail!("protect {path}: the image has no such file"),
        None => Ok(()),
    }
}

/// Whether the files that keep state can be used, as far as the image has them already: they are written in place.
fn own_files(path: &Path, volume: &mut FileVolume, filesystem: &Filesystem, layout: &Layout) -> Result<()> {
    for name in [bstate::FILE, SEALS[0], SEALS[1]] {
        let map = filesystem.extents(volume, name);
        if map == Err(FsError::NotFound) && !layout.has(name) {
            continue;
        }
        if matches!(map, Err(FsError::NotFound | FsError::Corrupt("no regular file"))) {
            bail!("the image has something named {name} that is no file; rename it, and `build` makes the file");
        }
        if let Err(why) = own_file(volume, filesystem, layout, name, map) {
            let remove = match filesystem {
                Filesystem::Ext(_) => format!("debugfs -w -R 'rm {name}' {}", path.display()),
                Filesystem::Fat(_) => format!("mdel -i {} ::{name}", path.display()),
            };
            bail!("{why}; remove it, and `build` makes one: {remove}");
        }
    }
    Ok(())
}

fn own_file(
    volume: &mut FileVolume,
    filesystem: &Filesystem,
    layout: &Layout,
    name: &str,
    map: Result<FileMap, FsError>,
) -> Result<()> {
    let map = map.map_err(|error| anyhow!("the image has a {name} that can't be written in place: {error}"))?;
    if let Filesystem::Ext(ext) = filesystem
        && let links @ 2.. = ext.links(volume, name).map_err(|e| anyhow!("{e}"))?
    {
        let others = other_names(layout, name);
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        bail!(
            "the image's {name} has {links} names, by hard links{others}: what is written to it would change them all"
        );
    }
    let (bytes, wanted) = (map.bytes, bstate::FILE_BYTES);
    if name == bstate::FILE && bytes != wanted as u64 {
        bail!("the image has a {name} of {bytes} bytes; it has to have {wanted}");
    }
    Ok(())
}

/// The other names of a file of the root directory.
fn other_names<'l>(layout: &'l Layout, name: &str) -> Vec<&'l str> {
    let is_it = |path: &str| path.strip_prefix('/') == Some(name);
    let first = layout.owners.iter().position(|owner| is_it(owner));
    let linked = layout.links.iter().find(|(path, _)| is_it(path)).map(|(_, owner)| *owner as usize);
    let Some(owner) = first.or(linked) else { return Vec::new() };
    let links = layout.links.iter().filter(|(_, to)| *to as usize == owner).map(|(path, _)| path);
    layout.owners.get(owner).into_iter().chain(links).map(String::as_str).filter(|path| !is_it(path)).collect()
}
