//! A machine as `bstate` sees one: a disk with the partitions that `provision` makes, a root filesystem, and the
//! kernel's own `/proc`, `/sys` and `/dev`. It is a loop device, with partitions that `addpart` tells the kernel of,
//! in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::common::images::{boot_code, build, shipped};
use super::common::record;
use super::common::tools::{self, Ran, must, run, run_in, shell, text};

/// First sector and length of each partition.
pub const PARTITIONS: [(u64, u64); 2] = [(2048, 20480), (24576, 20480)];
/// Sectors of the disk.
const DISK: u64 = 65536;

/// What `/` is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// The first partition.
    P1,
    /// The second one.
    P2,
    /// A filesystem in memory, as an initramfs is.
    Memory,
}

/// A file as a disk whose partitions the kernel knows.
pub struct Disk {
    pub file: PathBuf,
    pub device: String,
}

/// A machine; one at a time, since each sees the disks of all others.
pub struct Machine {
    pub folder: tempfile::TempDir,
    pub disk: Disk,
    _alone: MutexGuard<'static, ()>,
}

impl Disk {
    fn of(file: &Path) -> Option<Self> {
        let ran = run("losetup", &["--find", "--show", text(file)]);
        if ran.code != 0 {
            return None;
        }
        let disk = Self { file: file.to_path_buf(), device: ran.out.trim().to_string() };
        for (number, (start, sectors)) in (1..).zip(PARTITIONS) {
            let numbers = [number, start, sectors].map(|n: u64| n.to_string());
            if run("addpart", &[&disk.device, &numbers[0], &numbers[1], &numbers[2]]).code != 0 {
                return None;
            }
        }
        Some(disk)
    }

    /// A partition's record.
    pub fn record(&self, number: usize) -> [u8; 512] {
        let mut sector = [0; 512];
        fs::File::open(&self.file).unwrap().read_exact_at(&mut sector, self.place(number)).unwrap();
        sector
    }

    /// Puts a record into a partition that is not mounted.
    pub fn put(&self, number: usize, lines: &str) {
        let place = self.place(number);
        fs::OpenOptions::new()
            .write(true)
            .open(&self.file)
            .unwrap()
            .write_all_at(&record::sector(lines), place)
            .unwrap();
        // What the kernel remembers of the device is not what is in the file.
        must("blockdev", &["--flushbufs", &self.partition(number)]);
    }

    pub fn partition(&self, number: usize) -> String {
        format!("{}p{number}", self.device)
    }

    /// Where a partition's bstate.txt begins, in bytes, as debugfs tells it.
    pub fn place(&self, number: usize) -> u64 {
        let start = PARTITIONS[number - 1].0 * 512;
        let image = format!("{}?offset={start}", text(&self.file));
        let block: u64 = must("debugfs", &["-R", "bmap bstate.txt 0", &image]).trim().parse().unwrap();
        let stats = must("debugfs", &["-R", "stats -h", &image]);
        let size = stats.lines().find_map(|l| l.strip_prefix("Block size:")).unwrap();
        start + block * size.trim().parse::<u64>().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for number in 1..=PARTITIONS.len() {
            run("delpart", &[&self.device, &number.to_string()]);
        }
        run("losetup", &["--detach", &self.device]);
    }
}

impl Machine {
    /// Nothing where there are no loop devices for us, which is told.
    pub fn new() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tools::temporary();
        provision(folder.path());
        let Some(disk) = Disk::of(&folder.path().join("disk.img")) else {
            eprintln!("no loop device with partitions here, so nothing is tested");
            return None;
        };
        Some(Self { folder, disk, _alone: alone })
    }

    /// The same, both copies with this record.
    pub fn with(lines: &str) -> Option<Self> {
        let machine = Self::new()?;
        machine.disk.put(1, lines);
        machine.disk.put(2, lines);
        Some(machine)
    }

    /// Another disk like this machine's.
    pub fn second_disk(&self) -> Disk {
        let file = self.folder.path().join("second.img");
        fs::copy(self.folder.path().join("factory.img"), &file).unwrap();
        Disk::of(&file).unwrap()
    }

    /// Runs a script: `$R` is where the machine's root is mounted, `bstate` is the agent in it, `$P1` and `$P2` are
    /// the partitions.
    pub fn run(&self, root: Root, script: &str) -> Ran {
        let mount = match root {
            Root::P1 => "mount $P1 $R",
            Root::P2 => "mount $P2 $R",
            Root::Memory => {
                "mount -t tmpfs memory $R; mkdir $R/agent $R/dev $R/disk $R/mnt $R/proc $R/run $R/sys $R/tmp $R/usr; ln -s usr/lib usr/lib64 usr/bin $R"
            }
        };
        let agent = PathBuf::from(env!("CARGO_BIN_EXE_knownstate"));
        let script = format!(
            "R={root}; P1={p1}; P2={p2}; mkdir -p $R; {mount}
            mount -t proc proc $R/proc; mount --bind /sys $R/sys; mount --bind /dev $R/dev; mount --bind /usr $R/usr
            mount -t tmpfs run $R/run; mount --bind {agent} $R/agent
            bstate() {{ chroot $R /agent/bstate \"$@\"; }}
            {script}",
            root = text(&self.folder.path().join("root")),
            p1 = self.disk.partition(1),
            p2 = self.disk.partition(2),
            agent = text(agent.parent().unwrap()),
        );
        // Whatever hangs ends, and a test with it.
        let words = ["-s", "KILL", "100", "unshare", "--mount", "bash", "-euc", &script];
        run_in(self.folder.path(), "timeout", &words)
    }

    /// Whether the recovery CD finds a partition as its seal says.
    pub fn verifies(&self, name: &str) -> bool {
        let words = ["simulate", "cd.iso", "--disk", "system=disk.img"];
        let ran = run_in(self.folder.path(), env!("CARGO_BIN_EXE_knownstate"), &words);
        let line = ran.out.lines().find(|l| l.contains(&format!("verify {name} ")));
        line.unwrap_or_else(|| panic!("{}{}", ran.out, ran.err)).contains("= ok")
    }

    /// Both copies are the same, and have these values.
    #[track_caller]
    pub fn expect(&self, values: &str) {
        assert_eq!(self.disk.record(1), self.disk.record(2), "the copies differ");
        expect(&self.disk.record(1), values);
    }
}

/// A record has these values.
#[track_caller]
pub fn expect(sector: &[u8], values: &str) {
    for pair in values.split_whitespace() {
        let (key, value) = pair.split_once('=').unwrap();
        assert_eq!(record::value(sector, key), value.replace('~', " "), "{key}");
    }
}

/// A disk as the factory makes it, with two copies of a system on ext4. Made once, and copied.
fn provision(folder: &Path) {
    static FACTORY: Mutex<Option<[Vec<u8>; 2]>> = Mutex::new(None);
    let mut factory = FACTORY.lock().unwrap_or_else(PoisonError::into_inner);
    if factory.is_none() {
        shell(
            folder,
            "mkdir -p tree/agent tree/dev tree/disk tree/mnt tree/proc tree/run tree/sys tree/tmp tree/usr
            ln -s usr/lib usr/lib64 usr/bin tree; printf '%07d\\n' 1 >tree/system
            chown -R 0:0 tree; mke2fs -q -F -t ext4 -b 1024 -d tree system.img 10240k; e2fsck -fyD system.img >/dev/null || :",
        );
        boot_code(folder, "system.img");
        let partitions = (1..).zip(PARTITIONS).map(|(n, (start, sectors))| {
            format!("partition P{n} on system start {start} sectors {sectors} type 83 image system.img\n")
        });
        let declarations = format!("disk system sectors {DISK}\n{}", partitions.collect::<String>());
        build(folder, &shipped("figure4.txt", &declarations));
        let words = ["provision", "cd.iso", "--disk", "system=factory.img"];
        let knownstate = env!("CARGO_BIN_EXE_knownstate");
        let ran = run_in(folder, knownstate, &words);
        assert_eq!(ran.code, 0, "{}", ran.err);
        *factory = Some(["factory.img", "cd.iso"].map(|file| fs::read(folder.join(file)).unwrap()));
    }
    let [disk, cd] = factory.as_ref().unwrap();
    fs::write(folder.join("cd.iso"), cd).unwrap();
    fs::write(folder.join("factory.img"), disk).unwrap();
    fs::write(folder.join("disk.img"), disk).unwrap();
}
