//! What `bstate` makes of the kernel's files, on files that say what this machine does not have.

use std::fs;
use std::path::Path;

use super::common::tools;
use super::system::{Number, System};

/// A tree of files and links: a link's target stands behind `->`.
fn system(mounts: &str, tree: &str) -> (tempfile::TempDir, System) {
    let folder = tools::temporary();
    let at = |path: &str| folder.path().join(path.trim());
    for line in tree.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let make = |path: &Path| fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some((link, target)) = line.split_once("->") {
            make(&at(link));
            fs::create_dir_all(at(target)).unwrap();
            std::os::unix::fs::symlink(at(target), at(link)).unwrap();
        } else {
            let (file, content) = line.split_once('=').unwrap();
            make(&at(file));
            fs::write(at(file), format!("{content}\n")).unwrap();
        }
    }
    fs::write(at("mountinfo"), mounts).unwrap();
    let (mounts, sys) = (at("mountinfo"), at("sys"));
    (folder, System { mounts, sys, dev: "/dev".into() })
}

/// A disk with three partitions and a USB disk with one; LVM on the third.
const TREE: &str = "
    sys/devices/pci/ata1/sda/dev=8:0
    sys/devices/pci/ata1/sda/removable=0
    sys/devices/pci/ata1/sda/size=2097152
    sys/devices/pci/ata1/sda/sda2/dev=8:2
    sys/devices/pci/ata1/sda/sda2/partition=2
    sys/devices/pci/ata1/sda/sda1/dev=8:1
    sys/devices/pci/ata1/sda/sda1/partition=1
    sys/devices/pci/ata1/sda/sda10/dev=8:10
    sys/devices/pci/ata1/sda/sda10/partition=10
    sys/devices/pci/usb1/sdb/dev=8:16
    sys/devices/pci/usb1/sdb/removable=0
    sys/devices/pci/usb1/sdb/size=2097152
    sys/devices/pci/usb1/sdb/sdb1/dev=8:17
    sys/devices/pci/usb1/sdb/sdb1/partition=1
    sys/devices/virtual/block/dm-0/dev=254:0
    sys/devices/virtual/block/dm-0/slaves/sda10/dev=8:10
    sys/devices/virtual/block/loop0/dev=7:0
    sys/devices/virtual/block/loop0/size=100
    sys/devices/virtual/block/loop1/dev=7:1
    sys/devices/virtual/block/loop1/size=0
    sys/block/sda -> sys/devices/pci/ata1/sda
    sys/block/sdb -> sys/devices/pci/usb1/sdb
    sys/block/dm-0 -> sys/devices/virtual/block/dm-0
    sys/block/loop0 -> sys/devices/virtual/block/loop0
    sys/block/loop1 -> sys/devices/virtual/block/loop1
    sys/dev/block/8:2 -> sys/devices/pci/ata1/sda/sda2
    sys/dev/block/8:10 -> sys/devices/pci/ata1/sda/sda10
    sys/dev/block/254:0 -> sys/devices/virtual/block/dm-0
    sys/dev/block/7:0 -> sys/devices/virtual/block/loop0
    sys/class/block/sda2 -> sys/devices/pci/ata1/sda/sda2";

#[test]
fn the_root_s_disk_is_found_below_whatever_is_on_it() {
    for (mount, device, vague) in [
        ("8:2 / / rw - ext4 /dev/root rw", Some(Number(8, 2)), false),
        // LVM: what it is on counts. btrfs: its own numbers say nothing, its source does.
        ("254:0 / / rw - ext4 /dev/mapper/root rw", Some(Number(8, 10)), false),
        ("0:33 /@ / rw - btrfs /dev/sda2 rw", Some(Number(8, 2)), false),
        ("7:0 / / ro - squashfs /dev/loop0 ro", Some(Number(7, 0)), true),
        ("0:2 / / rw - rootfs rootfs rw", None, false),
        ("0:40 / / rw - nfs4 server:/root rw", None, false),
        ("8:2 / /mnt rw - ext4 /dev/sda2 rw", None, false),
        // What is mounted over it counts.
        ("8:2 / / rw - ext4 /dev/root rw\n9 1 0:41 / / rw - overlay overlay rw", None, false),
    ] {
        let (_folder, system) = system(&format!("21 1 {mount}\n"), TREE);
        let root = system.root(&system.mounts().unwrap()).unwrap();
        assert_eq!(
            root.as_ref().map(|root| root.devices.as_slice()),
            device.as_ref().map(std::slice::from_ref),
            "{mount}"
        );
        let Some(root) = root else { continue };
        assert_eq!(root.vague, vague, "{mount}");
        let places: Vec<_> = root.places.iter().map(|place| (place.entry, place.node.to_str().unwrap())).collect();
        let disk = [(1, "/dev/sda1"), (2, "/dev/sda2"), (10, "/dev/sda10")];
        assert_eq!(places, if vague { vec![(0, "/dev/loop0")] } else { disk.to_vec() }, "{mount}");
    }
    let (_folder, system) = system("21 1 8:99 / / rw - ext4 /dev/sdz rw\n", TREE);
    let why = system.root(&system.mounts().unwrap()).unwrap_err();
    assert!(why.ends_with("mount /sys"), "{why}");
}

#[test]
fn a_disk_is_built_in_or_not() {
    let (_folder, system) = system("", TREE);
    let places: Vec<_> = system.all_places().into_iter().map(|place| (place.node, place.fixed)).collect();
    let told = [("sda1", true), ("sda2", true), ("sda10", true), ("sdb1", false), ("loop0", false)];
    assert_eq!(places, told.map(|(name, fixed)| (Path::new("/dev").join(name), fixed)));
}

#[test]
fn a_line_of_mountinfo_is_read_as_the_kernel_writes_it() {
    let lines = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
        37 35 8:1 / /a\\134b ro,relatime shared:2 master:3 - vfat /dev/sda1 rw\n\
        38 35 8:2 / /c rw - ext4 /dev/sda2 ro\nnonsense\n39 35 x:y / /d rw - ext4 none rw\n";
    let (_folder, system) = system(lines, "");
    let mounts = system.mounts().unwrap();
    let told: Vec<_> = mounts
        .iter()
        .map(|m| {
            (m.number, m.whole, m.point.to_str().unwrap(), m.read_only, m.kind.as_str(), m.source.to_str().unwrap())
        })
        .collect();
    let expected = [
        (Number(98, 0), false, "/mnt 2", false, "ext3", "/dev/root"),
        (Number(8, 1), true, "/a\\b", true, "vfat", "/dev/sda1"),
        (Number(8, 2), true, "/c", true, "ext4", "/dev/sda2"),
    ];
    assert_eq!(told, expected);
}
