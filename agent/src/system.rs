//! What the kernel tells of mounts, disks and partitions, in `/proc` and `/sys` alone: nothing here asks a
//! mounted filesystem or a device, so nothing here waits for one that does not answer.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Filesystems that hold a bstate.txt which the recovery CD can read, by the names that Linux has for their
/// drivers (`/proc/filesystems`).
pub const OURS: [&str; 5] = ["ext2", "ext3", "ext4", "vfat", "msdos"];
/// The first letters of devices that are no disk which a BIOS boots from, or that are reached over a network.
const NO_DISKS: [&str; 10] = ["nbd", "rbd", "drbd", "sr", "fd", "ram", "zram", "mtdblock", "dm-", "md"];
/// In the place of a device in `/sys`: not soldered or screwed in, or not there by itself (USB, iSCSI, loop).
const LOOSE: [&str; 3] = ["/usb", "/session", VIRTUAL];
const VIRTUAL: &str = "/virtual/";
/// How many layers of LVM, RAID and encryption are looked through.
const MAX_LAYERS: u32 = 8;

/// A device's numbers, major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u32, pub u32);

impl Number {
    /// From `major:minor`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// As `st_dev` and `st_rdev` have them.
    pub fn device(self) -> u64 {
        rustix::fs::makedev(self.0, self.1)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// A line of `/proc/self/mountinfo` (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Of the filesystem's device; major 0 where it has none.
    pub number: Number,
    /// Whether the filesystem's own root is mounted here, and not some folder of it.
    pub whole: bool,
    /// Where.
    pub point: PathBuf,
    /// Whether nothing can be written through it: the mount, or the filesystem as a whole.
    pub read_only: bool,
    /// The filesystem's driver.
    pub kind: String,
    /// What it was mounted from.
    pub source: PathBuf,
}

/// A partition; or a disk without any, which may hold a filesystem itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub number: Number,
    /// Its node in `/dev`.
    pub node: PathBuf,
    /// Its number in the partition table, from 1; 0 for a disk without partitions.
    pub entry: u32,
    /// The disk's.
    pub disk: Number,
    /// Whether that is built in, as far as the kernel knows: not removable, not on USB, iSCSI, in a file.
    pub fixed: bool,
}

/// What `/` stands on.
#[derive(Debug, PartialEq, Eq)]
pub struct Root {
    /// The block devices: its own, or those below LVM, RAID, encryption.
    pub devices: Vec<Number>,
    /// All partitions of their disks.
    pub places: Vec<Place>,
    /// Whether it is a filesystem in a file or in memory, which says nothing of disks unless it has our files.
    pub vague: bool,
}

/// Where the kernel tells of all that.
pub struct System {
    /// `/proc/self/mountinfo`.
    pub mounts: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { mounts: "/proc/self/mountinfo".into(), sys: "/sys".into(), dev: "/dev".into() }
    }
}

impl System {
    /// All mounts, in the order in which they were made.
    ///
    /// # Errors
    /// That the kernel does not tell.
    pub fn mounts(&self) -> Result<Vec<Mount>, String> {
        let text = fs::read(&self.mounts).map_err(|e| format!("{}: {e}; mount /proc", self.mounts.display()))?;
        Ok(text.split(|&b| b == b'\n').filter_map(mount).collect())
    }

    /// What `/` stands on; nothing where that is no block device: an initramfs, an overlay, a network.
    ///
    /// # Errors
    /// That the kernel does not tell.
    pub fn root(&self, mounts: &[Mount]) -> Result<Option<Root>, String> {
        let Some(root) = mounts.iter().rev().find(|m| m.point == Path::new("/")) else { return Ok(None) };
        // btrfs has numbers of its own, and tells its device as the source.
        let number = if root.number.0 > 0 { Some(root.number) } else { self.number_of(&root.source) };
        let Some(number) = number else { return Ok(None) };
        let devices = self.below(number, MAX_LAYERS)?;
        let mut places: Vec<Place> = Vec::new();
        let mut vague = true;
        for device in &devices {
            let folder = self.disk_of(&self.folder(*device)?);
            let disk = self.places(&folder);
            vague &= folder.to_string_lossy().contains(VIRTUAL) && disk.iter().all(|place| place.entry == 0);
            places.extend(disk);
        }
        places.sort_by_key(|place| place.number);
        places.dedup();
        Ok(Some(Root { devices, places, vague }))
    }

    /// The partitions of all disks.
    pub fn all_places(&self) -> Vec<Place> {
        let entries = fs::read_dir(self.sys.join("block")).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries
            .filter(|e| !NO_DISKS.iter().any(|no| e.file_name().to_string_lossy().starts_with(no)))
            .filter_map(|e| fs::canonicalize(e.path()).ok())
            .collect();
        folders.sort();
        folders.iter().flat_map(|folder| self.places(folder)).collect()
    }

    /// A block device's node.
    ///
    /// # Errors
    /// That the kernel knows none with this number.
    pub fn node(&self, device: Number) -> Result<PathBuf, String> {
        let folder = self.folder(device)?;
        let name = folder.file_name().map(|name| name.to_string_lossy().replace('!', "/"));
        Ok(self.dev.join(name.unwrap_or_default()))
    }

    /// The partitions of a disk, in the order of its table; the disk itself where it has none.
    fn places(&self, disk: &Path) -> Vec<Place> {
        let Some(own) = number_in(disk) else { return Vec::new() };
        let path = disk.to_string_lossy();
        let fixed = word(disk, "removable").is_none_or(|w| w == "0") && !LOOSE.iter().any(|l| path.contains(l));
        let place = |folder: &Path, entry: u32| {
            let number = number_in(folder)?;
            let name = folder.file_name()?.to_string_lossy().replace('!', "/");
            Some(Place { number, node: self.dev.join(name), entry, disk: own, fixed })
        };
        let entries = fs::read_dir(disk).into_iter().flatten().flatten().map(|e| e.path());
        let mut places: Vec<Place> =
            entries.filter_map(|folder| place(&folder, word(&folder, "partition")?.parse().ok()?)).collect();
        places.sort_by_key(|p| p.entry);
        if places.is_empty() && word(disk, "size").is_some_and(|size| size != "0") {
            places.extend(place(disk, 0));
        }
        places
    }

    /// A device's folder in `/sys` (Documentation/ABI/testing/sysfs-dev).
    fn folder(&self, device: Number) -> Result<PathBuf, String> {
        let link = self.sys.join("dev/block").join(device.to_string());
        fs::canonicalize(&link).map_err(|e| format!("{}: {e}; mount /sys", link.display()))
    }

    /// The folder of the disk that a device is, or is a partition of.
    fn disk_of(&self, folder: &Path) -> PathBuf {
        let partition = folder.join("partition").exists();
        folder.parent().filter(|_| partition).unwrap_or(folder).to_path_buf()
    }

    /// The devices that a device is made of, as far down as the kernel tells; itself where it is made of none.
    fn below(&self, device: Number, layers: u32) -> Result<Vec<Number>, String> {
        let folder = self.folder(device)?;
        let slaves = fs::read_dir(folder.join("slaves")).into_iter().flatten().flatten();
        let mut slaves: Vec<Number> = slaves.filter_map(|e| number_in(&e.path())).collect();
        slaves.sort();
        if slaves.is_empty() || layers == 0 {
            return Ok(vec![device]);
        }
        let mut all = Vec::new();
        for slave in slaves {
            all.extend(self.below(slave, layers - 1)?);
        }
        all.dedup();
        Ok(all)
    }

    /// The numbers of a device that a mount names as its source.
    fn number_of(&self, source: &Path) -> Option<Number> {
        let name = source.strip_prefix("/dev").ok()?.to_str()?.replace('/', "!");
        number_in(&self.sys.join("class/block").join(name))
    }
}

/// The numbers that a device's folder tells.
fn number_in(folder: &Path) -> Option<Number> {
    Number::parse(&word(folder, "dev")?)
}

/// What one of a folder's files says.
fn word(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok().map(|text| text.trim().to_string())
}

/// A line of mountinfo: ID, parent, major:minor, root within the filesystem, mount point, options, more of them,
/// a dash, type, source, the filesystem's options.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let read_only = |options: &[u8]| options.split(|&b| b == b',').any(|o| o == b"ro");
    let number = Number::parse(&text(fields.nth(2)?))?;
    let (root, point, options) = (fields.next()?, fields.next()?, fields.next()?);
    let mut behind = fields.skip_while(|&f| f != b"-").skip(1);
    let (kind, source, own) = (behind.next()?, behind.next()?, behind.next().unwrap_or_default());
    Some(Mount {
        number,
        whole: root == b"/",
        point: path(point),
        read_only: read_only(options) || read_only(own),
        kind: text(kind),
        source: path(source),
    })
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|d| u8::from_str_radix(d, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(bytes).into()
}
