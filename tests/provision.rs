//! `knownstate provision`: the bytes that a restore leaves, stored sparsely; what other people's tools say to
//! them; and every disk that it does not write.

mod common;
#[path = "../src/simulate/device.rs"]
#[allow(dead_code, reason = "only a part of it is tested by itself")]
mod device;

use std::fs;
use std::path::{Path, PathBuf};

use common::devices::Loop;
use common::images::{boot_code, build, ext, fat, shipped};
use common::others::Other;
use common::record;
use common::tools::{self, Ran, knownstate, must, shell, text};

/// A folder with a FAT16 and an ext4 image that boot, and logic.txt.
struct Maker(tempfile::TempDir);

const ONE_DISK: &str = "disk system sectors 40960\n\
    partition P1 on system start 2048 sectors 16384 type 06 image fat.img\n\
    partition P2 on system start 18432 sectors 18432 type 83 image ext.img\n";
const BYTES: u64 = 40960 * 512;

impl Maker {
    fn new(logic: &str) -> Self {
        let maker = Self(tools::temporary());
        fat(maker.0.path(), "fat.img", 8192, "-F 16 -s 2");
        ext(maker.0.path(), "ext.img", 9216, "-t ext4");
        boot_code(maker.0.path(), "ext.img");
        build(maker.0.path(), logic);
        maker
    }

    fn figure4() -> Self {
        Self::new(&shipped("figure4.txt", ONE_DISK))
    }

    fn folder(&self) -> &str {
        text(self.0.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command on the CD; `{}` in the words is the folder.
    fn run(&self, command: &str, words: &[&str]) -> Ran {
        let cd = self.path("cd.iso");
        let words: Vec<String> = words.iter().map(|word| word.replace("{}", self.folder())).collect();
        let mut all = vec![command, text(&cd)];
        all.extend(words.iter().map(String::as_str));
        knownstate(&all)
    }

    #[track_caller]
    fn provision(&self, words: &[&str]) -> String {
        let ran = self.run("provision", words);
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        ran.out
    }

    /// What the loader's own flow makes of a blank disk.
    fn simulated(&self, name: &str) {
        fs::File::create(self.path(name)).unwrap().set_len(BYTES).unwrap();
        let ran = self.run("simulate", &["--write", "--starts", "1", "--disk", &format!("system={{}}/{name}")]);
        assert!(ran.code == 0 && ran.out.ends_with("restart = ok\n"), "{}{}", ran.out, ran.err);
    }

    #[track_caller]
    fn assert_same(&self, a: &str, b: &str) {
        let [a_disk, b_disk] = [a, b].map(|name| record::of_one_set(fs::read(self.path(name)).unwrap()));
        let differs = a_disk.chunks(512).zip(b_disk.chunks(512)).position(|(a, b)| a != b);
        assert_eq!((differs, a_disk.len()), (None, b_disk.len()), "{a} and {b}: the first sector that differs");
    }

    /// The files that there are, apart from the maker's own.
    fn others(&self) -> String {
        shell(self.0.path(), "ls -A | grep -vxE 'fat.img|ext.img|logic.txt|cd.iso' || true")
    }
}

#[test]
fn a_disk_is_what_a_restore_leaves() {
    for file in ["figure4.txt", "default.txt"] {
        let maker = Maker::new(&shipped(file, ONE_DISK));
        maker.simulated("restored.img");
        let said = maker.provision(&["--disk", "system={}/made.img"]);
        assert_eq!(said, format!("{}/made.img: disk system, P1 P2\n", maker.folder()));
        maker.assert_same("made.img", "restored.img");
        // Of the logic file instead of the CD that was made of it.
        let (logic, disk) = (maker.path("logic.txt"), format!("system={}/again.img", maker.folder()));
        let ran = knownstate(&["provision", text(&logic), "--disk", &disk]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        maker.assert_same("again.img", "restored.img");
        // Into a file that is there already.
        fs::File::create(maker.path("blank.img")).unwrap().set_len(BYTES).unwrap();
        maker.provision(&["--disk", "system={}/blank.img"]);
        maker.assert_same("blank.img", "restored.img");
    }
}

#[test]
fn a_disk_is_sparse_and_sound() {
    let maker = Maker::figure4();
    maker.provision(&["--disk", "system={}/made.img"]);
    let disk = fs::read(maker.path("made.img")).unwrap();
    assert_eq!(disk.len() as u64, BYTES);
    let stored = disk.chunks(4096).filter(|block| block.iter().any(|&b| b != 0)).count() as u64 * 4;
    let kib: u64 = shell(maker.0.path(), "du -k made.img | cut -f1").trim().parse().unwrap();
    // What was written and is zero now, such as 55AA's place, and the filesystem's own.
    assert!(kib <= stored + 64, "{kib} KiB are stored for {stored} KiB that are not zero");
    let table = must("sfdisk", &["-d", text(&maker.path("made.img"))]).replace(' ', "");
    for wanted in ["start=2048,size=16384,type=6,bootable", "start=18432,size=18432,type=83"] {
        assert!(table.contains(wanted), "{table}");
    }
    shell(maker.0.path(), "dd if=made.img of=p1 bs=512 skip=2048 count=16384 2>&1; fsck.fat -n p1");
    shell(maker.0.path(), "dd if=made.img of=p2 bs=512 skip=18432 count=18432 2>&1; e2fsck -fn p2 2>&1");
    // As readable for others as any file that one makes.
    let mode = |name: &str| shell(maker.0.path(), &format!("stat -c %a {name}"));
    shell(maker.0.path(), "touch any");
    assert_eq!(mode("made.img"), mode("any"));
}

/// A disk that boots is made anew all the same; its counters go on, as after the loader's own restore.
#[test]
fn a_disk_of_ours_is_written_again() {
    let maker = Maker::figure4();
    maker.provision(&["--disk", "system={}/made.img"]);
    shell(maker.0.path(), "dd if=/dev/urandom of=made.img bs=512 seek=2060 count=4000 conv=notrunc 2>&1");
    maker.provision(&["--disk", "system={}/made.img"]);
    let ran = maker.run("simulate", &["--disk", "system={}/made.img"]);
    assert!(ran.code == 0 && ran.out.ends_with("212 boot P1 = ok (drive 80, lba 2048)\n"), "{}", ran.out);
    assert!(ran.out.contains("206 verify P1 = ok"), "{}", ran.out);
}

const TWO_DISKS: &str = "disk first sectors 20480.. signature 11111111\n\
    disk second sectors 20480.. signature 22222222\n\
    partition P1 on first start 2048 sectors 16384 type 06 image fat.img\n\
    partition P2 on second start 2048 sectors 18432 type 83 image ext.img\n";

/// Disks that nothing but their signatures tells apart: the loader can't tell which blank one is which, and
/// here a person says so.
#[test]
fn disks_alike_become_what_they_are_named() {
    let steps = "202 verify P1 else 299\nverify P2 else 299\n set P1 Dirty\nboot P1\n299 hold \"no\"\n";
    let maker = Maker::new(&format!("logic 1\n{TWO_DISKS}{steps}"));
    maker.provision(&["--disk", "second={}/b.img", "--disk", "first={}/a.img", "--size", "second=20MiB"]);
    let bytes = |name: &str| fs::metadata(maker.path(name)).unwrap().len();
    assert_eq!((bytes("a.img"), bytes("b.img")), (20480 * 512, 20 << 20));
    for (disks, drive) in [(["first={}/a.img", "second={}/b.img"], 80), (["second={}/b.img", "first={}/a.img"], 81)] {
        let ran = maker.run("simulate", &["--disk", disks[0], "--disk", disks[1]]);
        assert!(ran.out.ends_with(&format!("boot P1 = ok (drive {drive}, lba 2048)\n")), "{}", ran.out);
    }
    // Both know of both, so that neither copy is Dirty.
    for (name, at) in [("a.img", "P2=OK"), ("b.img", "P1=OK")] {
        let disk = fs::read(maker.path(name)).unwrap();
        let record = disk.chunks(512).find(|s| s.starts_with(b"sequence=")).unwrap();
        let record = String::from_utf8_lossy(record);
        assert!(record.contains(at) && !record.contains("Dirty"), "{name}: {record}");
    }
    // One alone is made, and it is said what comes of that.
    let ran = maker.run("provision", &["--disk", "first={}/alone.img"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("disk second is not given, so bstate.txt calls its partitions Dirty"), "{}", ran.err);
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_left_behind() {
    let maker = Maker::new(&shipped("figure4.txt", &ONE_DISK.replace("40960", "40960..")));
    shell(maker.0.path(), "truncate -s 8M small; truncate -s 32M large; mkdir folder; mkfifo pipe");
    let before = maker.others();
    let table: &[(&[&str], &str)] = &[
        (&[], "--disk <NAME=FILE>"),
        (&["--disk", "sistem={}/new"], "no disk `sistem` in the logic file; did you mean `system`?"),
        (&["--disk", "system={}/new", "--disk", "system={}/other"], "disk system is given twice"),
        (&["--disk", "system={}/none/new"], "can't make {}/none/new"),
        (
            &["--disk", "system={}/small"],
            "small has 16384 sectors, and disk system is declared with 40960 sectors or more",
        ),
        (&["--disk", "system={}/large", "--size", "system=24MiB"], "large has 65536 sectors, and is there already"),
        (&["--disk", "system={}/new", "--size", "system=1MiB"], "disk system is declared with 40960 sectors or more"),
        (&["--disk", "system={}/new", "--size", "system=big"], "write the disk's name and its size"),
        (&["--disk", "system={}/new", "--size", "sys=1GiB"], "no disk `sys` in the logic file"),
        (&["--disk", "system={}/folder"], "is a directory"),
        (&["--disk", "system={}/pipe"], "is neither an image file nor a block device"),
        (&["--disk", "system={}/new", "--images", "."], "leave --images out"),
    ];
    for (words, error) in table {
        let ran = maker.run("provision", words);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{words:?}: {}", ran.err);
        let error = error.replace("{}", maker.folder());
        assert!(ran.err.contains(&error), "{words:?} does not say `{error}` but: {}", ran.err);
        assert_eq!(maker.others(), before, "{words:?} left something behind");
    }
    maker.provision(&["--disk", "system={}/new", "--size", "system=65536"]);
    assert_eq!(fs::metadata(maker.path("new")).unwrap().len(), 32 << 20);
}

/// What core refuses, and what fails on the way.
#[test]
fn a_disk_that_cannot_be_made_is_taken_away_again() {
    let maker = Maker::figure4();
    shell(maker.0.path(), "truncate -s 20M foreign; printf 'EFI PART' | dd of=foreign bs=1 seek=512 conv=notrunc 2>&1");
    let foreign = fs::read(maker.path("foreign")).unwrap();
    let ran = maker.run("provision", &["--disk", "system={}/foreign"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(
        ran.err.contains("foreign carries GPT at sector 1, so it is not written; if it may be lost: `wipefs -a`"),
        "{}",
        ran.err
    );
    assert!(fs::read(maker.path("foreign")).unwrap() == foreign, "it was written");
    fs::remove_file(maker.path("foreign")).unwrap();

    // The end of the CD is cut off, and with it that of an image, which is large enough for that.
    shell(maker.0.path(), "head -c 2M /dev/urandom >random; mcopy -i fat.img random ::; rm random");
    build(maker.0.path(), &shipped("figure4.txt", ONE_DISK));
    shell(maker.0.path(), "s=$(stat -c %s cd.iso); truncate -s $((s - 1400000)) cd.iso");
    let ran = maker.run("provision", &["--disk", "system={}/new"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains("restore system: images/fat.img: CD sector "), "{}", ran.err);
    assert_eq!(maker.others(), "", "a half-made disk is left");
    // A file that was there stays, and nobody boots it.
    fs::File::create(maker.path("there")).unwrap().set_len(BYTES).unwrap();
    assert_eq!(maker.run("provision", &["--disk", "system={}/there"]).code, 1);
    assert_ne!(&fs::read(maker.path("there")).unwrap()[510..512], [0x55, 0xAA]);
}

/// A block device is written when it is named twice, is used by nobody, and is of the right size.
#[test]
fn a_block_device_is_written_only_if_it_is_meant() {
    let maker = Maker::figure4();
    maker.simulated("restored.img");
    fs::File::create(maker.path("blank.img")).unwrap().set_len(BYTES).unwrap();
    let Some(device) = Loop::of(&maker.path("blank.img")) else { return };
    let disk = format!("system={}", device.path);
    let refused = |words: &[&str], error: &str| {
        let ran = maker.run("provision", words);
        assert_eq!(ran.code, 2, "{words:?}: {}", ran.out);
        assert!(ran.err.contains(error), "{words:?} does not say `{error}` but: {}", ran.err);
    };
    let meant = format!(
        "is a block device, and all that is on it would be lost; if that is meant, add --confirm {}",
        device.path
    );
    refused(&["--disk", &disk], &meant);
    refused(&["--disk", &disk, "--confirm", "{}/blank.img"], &meant);
    assert!(fs::read(maker.path("blank.img")).unwrap().iter().all(|&b| b == 0), "it was written");
    maker.provision(&["--disk", &disk, "--confirm", &device.path]);
    let mounted = device.mount_partition(2, &maker.path("mounted"));
    refused(&["--disk", &disk, "--confirm", &device.path], &format!("is in use: {}p2 is mounted at ", device.path));
    drop(mounted);
    drop(device);
    maker.assert_same("blank.img", "restored.img");
}

/// Disks of other people: nothing is written, and owner and remedy are told.
#[test]
fn a_device_that_is_somebodys_is_refused_with_a_remedy() {
    let maker = Maker::figure4();
    for (other, owner) in [(Other::Gpt, "GPT"), (Other::Lvm, "LVM"), (Other::Zfs, "ZFS")] {
        other.make(&maker.path("disk"), BYTES / 512);
        let before = fs::read(maker.path("disk")).unwrap();
        let Some(device) = Loop::of(&maker.path("disk")) else { return };
        let ran = maker.run("provision", &["--disk", &format!("system={}", device.path), "--confirm", &device.path]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{owner}: {}", ran.err);
        for told in [
            format!("{} carries {owner} at sector ", device.path),
            "so it is not written; if it may be lost: `wipefs -a` and `blkdiscard` (or zeros), or `adopt` in logic.txt"
                .to_string(),
            format!("`knownstate inspect {} --logic LOGIC` says more", device.path),
        ] {
            assert!(ran.err.contains(&told), "{owner}: `{told}` is not in: {}", ran.err);
        }
        drop(device);
        assert!(fs::read(maker.path("disk")).unwrap() == before, "{owner}: it was written");
    }
}

/// What `adopt` lets be taken becomes what a restore leaves: nobody's tools name its old owner any more.
#[test]
fn a_used_disk_is_made_where_logic_txt_says_adopt() {
    let maker = Maker::new(&shipped("figure4.txt", &ONE_DISK.replace("40960", "40960 adopt")));
    for other in [Other::Gpt, Other::Lvm, Other::Zfs, Other::LogicalLvm, Other::Used] {
        other.make(&maker.path("disk"), BYTES / 512);
        maker.provision(&["--disk", "system={}/disk"]);
        let names = must("blkid", &["-p", "-o", "export", text(&maker.path("disk"))]);
        assert!(names.contains("PTTYPE=dos") && !names.contains("\nTYPE="), "{other:?}: {names}");
        let ran = maker.run("simulate", &["--disk", "system={}/disk"]);
        assert!(ran.out.ends_with("212 boot P1 = ok (drive 80, lba 2048)\n"), "{other:?}: {}", ran.out);
    }
}

/// Of several used disks the loader takes none; here a person says which is which.
#[test]
fn several_used_disks_are_made_as_they_are_named() {
    let logic = TWO_DISKS.replace("20480.. ", "20480.. adopt ");
    let steps = "202 verify P1 else 299\nverify P2 else 299\n set P1 Dirty\nboot P1\n299 hold \"no\"\n";
    let maker = Maker::new(&format!("logic 1\n{logic}{steps}"));
    Other::Gpt.make(&maker.path("a"), 20480);
    Other::LogicalLvm.make(&maker.path("b"), 20480);
    maker.provision(&["--disk", "second={}/b", "--disk", "first={}/a"]);
    let ran = maker.run("simulate", &["--disk", "second={}/b", "--disk", "first={}/a"]);
    assert!(ran.out.ends_with("boot P1 = ok (drive 81, lba 2048)\n"), "{}", ran.out);
}

/// The same on a system on paper, whose disk 8:16 has two partitions, one of them held by LVM.
#[test]
fn whoever_uses_a_device_is_found() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    shell(
        folder,
        "mkdir -p sys/8:16/sdb1/holders sys/8:16/sdb2/holders/dm-0 sys/8:16/holders sys/8:16/queue sys/8:32/holders
        touch sys/8:16/sdb1/partition sys/8:16/sdb2/partition mounts swaps
        echo 8:17 > sys/8:16/sdb1/dev; echo 8:18 > sys/8:16/sdb2/dev",
    );
    let file = |name: &str| folder.join(name);
    let system = device::System { mounts: file("mounts"), swaps: file("swaps"), devices: file("sys") };
    let number = |minor| rustix::fs::makedev(8, minor);
    let number_of = |path: &Path| match path.to_str() {
        Some("/dev/sdb") => Some(number(16)),
        Some("/dev/sdb1" | "/dev/disk/by-label/data") => Some(number(17)),
        Some("/dev/sdc1") => Some(number(33)),
        _ => None,
    };
    let user = |minor| system.user_of(number(minor), number_of).unwrap();
    assert_eq!(user(16).as_deref(), Some("sdb2 is held by dm-0"));
    fs::remove_dir(file("sys/8:16/sdb2/holders/dm-0")).unwrap();
    assert_eq!(user(16), None);
    fs::write(file("mounts"), "proc /proc proc rw 0 0\n/dev/disk/by-label/data /srv/a\\040b ext4 rw 0 0\n").unwrap();
    assert_eq!(user(16).as_deref(), Some("/dev/disk/by-label/data is mounted at /srv/a\\040b"));
    assert_eq!(user(32), None, "another disk");
    fs::write(file("mounts"), "").unwrap();
    fs::write(file("swaps"), "Filename Type Size\n/dev/sdb partition 1000 0 -2\n").unwrap();
    assert_eq!(user(16).as_deref(), Some("/dev/sdb is swap space"));
    fs::remove_file(file("swaps")).unwrap();
    assert!(system.user_of(number(16), number_of).is_err(), "who can't tell must not say that nobody does");
}
