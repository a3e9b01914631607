//! Loop devices: block devices for tests, where root runs them and the kernel has any.

use std::path::{Path, PathBuf};

use super::tools::{must, run, text};

/// A file as a block device, with its partitions. Dropping it takes it away.
pub struct Loop {
    pub path: String,
}

/// A mounted filesystem. Dropping it unmounts it.
pub struct Mounted(PathBuf);

impl Loop {
    /// Nothing where this machine has no loop devices for us; then there is nothing to be tested.
    pub fn of(file: &Path) -> Option<Self> {
        let ran = run("losetup", &["--find", "--show", text(file)]);
        if ran.code != 0 {
            eprintln!("no loop device here, so nothing is tested: {}", ran.err.trim());
            return None;
        }
        Some(Self { path: ran.out.trim().to_string() })
    }

    /// Mounts a partition, at a folder that is made for it.
    pub fn mount_partition(&self, number: u32, at: &Path) -> Mounted {
        std::fs::create_dir_all(at).unwrap();
        // Not every kernel looks for partitions by itself.
        must("partx", &["--update", &self.path]);
        let partition = format!("{}p{number}", self.path);
        // Where no udev runs, nobody makes the node.
        if !Path::new(&partition).exists() {
            let name = partition.trim_start_matches("/dev/");
            let numbers = std::fs::read_to_string(format!("/sys/class/block/{name}/dev")).unwrap();
            let (major, minor) = numbers.trim().split_once(':').unwrap();
            must("mknod", &[&partition, "b", major, minor]);
        }
        must("mount", &["-o", "ro", &partition, text(at)]);
        Mounted(at.to_path_buf())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("partx", &["--delete", &self.path]);
        run("losetup", &["--detach", &self.path]);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[text(&self.0)]);
    }
}
