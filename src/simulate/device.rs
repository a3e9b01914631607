//! Whether a block device is used by the system that we run on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{major, minor};

/// Where the kernel tells of mounts, of swap, and of devices.
pub struct System {
    /// `/proc/self/mounts`.
    pub mounts: PathBuf,
    /// `/proc/swaps`.
    pub swaps: PathBuf,
    /// `/sys/dev/block`: a folder for each device, by its numbers (Documentation/ABI/testing/sysfs-dev).
    pub devices: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { mounts: "/proc/self/mounts".into(), swaps: "/proc/swaps".into(), devices: "/sys/dev/block".into() }
    }
}

impl System {
    /// Who uses the device with these numbers (`st_rdev`) or a partition of it, in words; nobody, perhaps.
    /// `number_of` tells the numbers of the device at a path.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn user_of(&self, device: u64, number_of: impl Fn(&Path) -> Option<u64>) -> Result<Option<String>> {
        let family = self.family(device);
        for (file, what) in [(&self.mounts, "mounted at"), (&self.swaps, "swap space")] {
            let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
            for mut words in text.lines().map(|line| line.split_whitespace()) {
                let Some(source) = words.next().filter(|word| word.starts_with('/')) else { continue };
                if number_of(Path::new(source)).is_some_and(|number| family.contains_key(&number)) {
                    let place = words.next().filter(|_| what == "mounted at").unwrap_or_default();
                    return Ok(Some(format!("{source} is {what} {place}").trim_end().to_string()));
                }
            }
        }
        Ok(family.values().find_map(|folder| holder(folder)))
    }

    /// The device and its partitions, with what the kernel tells of each.
    fn family(&self, device: u64) -> BTreeMap<u64, PathBuf> {
        let own = self.devices.join(format!("{}:{}", major(device), minor(device)));
        let mut family = BTreeMap::from([(device, own.clone())]);
        for folder in fs::read_dir(own).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if folder.join("partition").exists()
                && let Some(number) = number_in(&folder)
            {
                family.insert(number, folder);
            }
        }
        family
    }
}

/// The numbers that a device's folder tells, as `st_rdev` has them.
fn number_in(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("dev")).ok()?;
    let (first, second) = text.trim().split_once(':')?;
    Some(rustix::fs::makedev(first.parse().ok()?, second.parse().ok()?))
}

/// What is built on top of a device: LVM, RAID, encryption.
fn holder(folder: &Path) -> Option<String> {
    let first = fs::read_dir(folder.join("holders")).ok()?.flatten().next()?;
    let device = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    let name = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some(format!("{name} is held by {}", first.file_name().to_string_lossy()))
}

/// The numbers of the block device at a path, if there is one.
#[must_use]
pub fn number_of(path: &Path) -> Option<u64> {
    let metadata = fs::metadata(path).ok()?;
    metadata.file_type().is_block_device().then(|| metadata.rdev())
}
