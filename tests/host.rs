//! The host tool: what `knownstate build` puts on a CD, judged by xorriso, mtools, debugfs
//! and a reader of El Torito's own; and what it says when the input is wrong.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::images::{boot_code, ext, fat, put, put_record, unpack};
use common::machine::{Disk, Pc, word};
use common::record;
use common::tools::{self, knownstate, must, shell, text};

/// A folder with a FAT image that boots, an ext image that boots, and a logic.txt for both.
struct Maker(tempfile::TempDir);

const LOGIC: &str = "\
logic 1
disk system sectors 40960
partition P1 on system start 2048 sectors 2048 type 0c image fat.img
partition P2 on system start 8192 sectors 4096 type 83 image ext.img
1 boot P1
2 boot P2
3 restore system else 4
  restart
4 hold \"no\"
";

impl Maker {
    fn new() -> Self {
        let maker = Self(tools::temporary());
        fat(maker.path(), "fat.img", 1024, "-F 12");
        ext(maker.path(), "ext.img", 2048, "-t ext2");
        boot_code(maker.path(), "ext.img");
        maker.logic(LOGIC);
        maker
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn logic(&self, logic: &str) {
        fs::write(self.file("logic.txt"), logic).unwrap();
    }

    fn build(&self) -> tools::Ran {
        knownstate(&["build", text(&self.file("logic.txt")), "-o", text(&self.file("cd.iso"))])
    }

    fn check(&self) -> tools::Ran {
        knownstate(&["check", text(&self.file("logic.txt"))])
    }

    /// Builds, and takes the CD apart into the folder `cd`, its images unpacked.
    fn extracted(&self) -> Vec<u8> {
        let ran = self.build();
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        shell(self.path(), "xorriso -osirrox on -indev cd.iso -extract / cd 2>/dev/null; chmod -R u+w cd");
        let iso = Arc::new(fs::read(self.file("cd.iso")).unwrap());
        for image in fs::read_dir(self.file("cd/images")).unwrap().map(|entry| entry.unwrap().path()) {
            let name = image.file_name().unwrap().to_str().unwrap();
            if name.contains(".img") {
                fs::write(&image, unpack(&iso, &format!("images/{name}")).0).unwrap();
            }
        }
        iso.to_vec()
    }

    /// Builds and checks; both have to say this of the image or file and end with their codes, and
    /// nothing may be left behind.
    fn refused(&self, name: &str, complaint: &str) {
        let before = self.listing();
        let (build, check) = (self.build(), knownstate(&["check", text(&self.file("logic.txt"))]));
        assert_eq!((build.code, check.code), (2, 1), "{name}: codes of build and check\n{}{}", build.err, check.err);
        for ran in [build, check] {
            assert!(ran.err.contains(complaint), "{name}: `{complaint}` is not in:\n{}", ran.err);
        }
        assert_eq!(self.listing(), before, "{name}: files were left behind or taken away");
    }

    fn listing(&self) -> String {
        shell(self.path(), "ls -A")
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (one, two) = (Maker::new(), Maker::new());
    shell(two.path(), &format!("cp {}/*.img .; touch -d 1999-01-01 *", one.path().display()));
    assert_eq!((one.build().code, two.build().code), (0, 0));
    let sum = |maker: &Maker| must("sha256sum", &[text(&maker.file("cd.iso"))])[..64].to_string();
    assert_eq!(sum(&one), sum(&two), "compare {} and {}", one.path().display(), two.path().display());
    shell(one.path(), "mv cd.iso first.iso");
    one.logic(&LOGIC.replace("\"no\"", "\"yes\""));
    assert_eq!(one.build().code, 0);
    assert_ne!(sum(&one), sum(&two), "another logic.txt makes another CD");
}

/// El Torito 1.0 (Phoenix/IBM 1995) section 2, and the boot-info table of mkisofs.
#[test]
fn a_bios_finds_the_loader_by_el_torito() {
    let maker = Maker::new();
    let iso = maker.extracted();
    let record = &iso[17 * 2048..18 * 2048];
    assert_eq!(record[..7], *b"\x00CD001\x01", "the boot record volume descriptor stands in sector 17");
    assert_eq!(record[7..39], *b"EL TORITO SPECIFICATION\0\0\0\0\0\0\0\0\0");
    let catalog = &iso[u32_at(record, 0x47) as usize * 2048..][..2048];
    assert_eq!((catalog[0], catalog[1], catalog[0x1E], catalog[0x1F]), (1, 0, 0x55, 0xAA), "validation entry");
    let words = catalog[..32].chunks(2).map(|w| u16::from_le_bytes([w[0], w[1]]));
    assert_eq!(words.fold(0, u16::wrapping_add), 0, "the validation entry's words add up to 0");
    let entry = &catalog[32..64];
    assert_eq!(entry[..2], [0x88, 0], "bootable, no emulation");
    assert_eq!((entry[2], entry[3], entry[4]), (0, 0, 0), "the default load segment, 07C0, and no system type");
    assert_eq!(entry[6..8], [4, 0], "four virtual sectors: what every BIOS loads");
    let at = u32_at(entry, 8);
    let loader = fs::read(maker.file("cd/loader.bin")).unwrap();
    let on_cd = &iso[at as usize * 2048..][..loader.len()];
    assert!(on_cd == loader, "the entry leads to loader.bin, and its boot-info table is in the file itself");
    assert_eq!((u32_at(on_cd, 8), u32_at(on_cd, 12)), (16, at), "volume descriptor's sector, and the file's own");
    assert_eq!(u32_at(on_cd, 16) as usize, loader.len(), "the file's length");
    let mut padded = on_cd[64..].to_vec();
    padded.resize(padded.len().next_multiple_of(4), 0);
    let sum = padded.chunks(4).map(|w| u32_at(w, 0)).fold(0, u32::wrapping_add);
    assert_eq!(u32_at(on_cd, 20), sum, "the sum of all words from byte 64 on");
    assert_ne!(on_cd[64..80], [0; 16], "the ISO's own id");
}

#[test]
fn the_cd_holds_what_it_needs_and_nothing_else() {
    let maker = Maker::new();
    maker.extracted();
    let listing = shell(&maker.file("cd"), "find . -type f | sort | tr '\\n' ' '");
    let wanted = "./README.TXT ./boot.cat ./images/ext.img ./images/fat.img ./loader.bin ./logic.txt ./mbr.bin ";
    assert_eq!(listing, wanted);
    assert_eq!(fs::read_to_string(maker.file("cd/logic.txt")).unwrap(), LOGIC);
}

#[test]
fn an_image_without_bstate_gets_one_and_one_with_it_keeps_it() {
    let maker = Maker::new();
    let before = fs::read(maker.file("fat.img")).unwrap();
    maker.extracted();
    assert!(fs::read(maker.file("fat.img")).unwrap() == before, "the maker's own image was changed");
    let cd = maker.file("cd/images");
    let from_fat = shell(&cd, "mtype -i fat.img ::bstate.txt");
    let from_ext = shell(&cd, "debugfs -R 'cat bstate.txt' ext.img 2>/dev/null");
    for (name, content) in [("FAT", from_fat), ("ext", from_ext)] {
        assert_eq!(content.len(), 4096, "{name}");
        let lines = record::lines(&content.as_bytes()[..512]).unwrap().join(" ");
        let fresh = "sequence=0 P1=OK P1.failures=0 P1.crashes=0 P2=OK P2.failures=0 P2.crashes=0 restores=0";
        assert_eq!(lines, fresh, "{name}");
    }
    shell(&cd, "fsck.fat -n fat.img; e2fsck -fn ext.img 2>&1");

    // What has all that it needs goes on the CD as it is.
    for image in ["fat.img", "ext.img"] {
        put_record(&cd, image, &["P2", "P1"]);
    }
    // The record is another; the first build after that seals it anew.
    for _ in 0..2 {
        shell(maker.path(), "cp cd/images/*.img .; rm -r cd");
        maker.extracted();
    }
    let kept = shell(&cd, "mtype -i fat.img ::bstate.txt");
    assert!(kept.find("P2=").unwrap() < kept.find("P1=").unwrap(), "{kept}");
    for image in ["fat.img", "ext.img"] {
        shell(maker.path(), &format!("cmp {image} cd/images/{image}"));
    }
}

#[test]
fn an_image_with_a_bstate_of_another_length_is_refused() {
    for (image, length) in [("fat.img", 4095), ("ext.img", 600), ("fat.img", 5000)] {
        let maker = Maker::new();
        put(maker.path(), image, "bstate.txt", &vec![b' '; length]);
        maker.refused(image, &format!("{image}: the image has a bstate.txt of {length} bytes; it has to have 4096"));
    }
}

/// Runs the remedy that a refusal of `ext.img` ends with, without questions; after it nothing is wrong any more.
fn cured(maker: &Maker, said: &str) {
    let begins = said.rfind("e2fsck -f ").or(said.rfind("debugfs -w ")).unwrap_or_else(|| panic!("no remedy: {said}"));
    let remedy = said[begins..].lines().next().unwrap().replace("e2fsck -f", "e2fsck -fy");
    // e2fsck ends with 1 where it has corrected something.
    shell(maker.path(), &format!("{remedy} 2>&1 || test $? = 1"));
    shell(maker.path(), "e2fsck -fn ext.img 2>&1");
    let check = maker.check();
    assert_eq!(check.code, 0, "after {remedy}: {}", check.err);
    assert!(!check.err.contains("ext.img"), "after {remedy}: {}", check.err);
    maker.extracted();
    shell(maker.path(), "rm -r cd cd.iso; rm -f z");
}

/// What the next mount writes by itself would go over bstate.txt and the seals that `build` puts in.
#[test]
fn an_ext_image_that_was_not_unmounted_is_refused_with_the_remedy() {
    for (name, options, changes, field) in [
        ("journal", "-t ext4", "feature needs_recovery", "s_feature_incompat: RECOVER"),
        ("orphans", "-t ext2", "ssv last_orphan 13", "s_last_orphan"),
        ("orphan file", "-t ext4 -O orphan_file", "feature orphan_present", "s_feature_ro_compat: ORPHAN_PRESENT"),
    ] {
        let maker = Maker::new();
        ext(maker.path(), "ext.img", 2048, options);
        boot_code(maker.path(), "ext.img");
        shell(maker.path(), &format!("debugfs -w -R '{changes}' ext.img 2>&1"));
        maker.refused(name, &format!("it was copied while it was mounted ({field})"));
        if name != "orphans" {
            cured(&maker, &maker.check().err);
        }
    }
}

/// The same, as it comes about: a copy of a filesystem that is mounted. Where root runs this.
#[test]
fn a_copy_of_a_mounted_filesystem_is_refused_with_the_remedy() {
    let in_use = "exec 7>m/gone; head -c 50000 /dev/zero >&7; rm m/gone; echo x >m/hi; sync";
    for (options, told) in [
        ("-t ext4", "error: partition P2: "),
        ("-t ext4 -O orphan_file", "error: partition P2: "),
        ("-t ext3", "error: partition P2: "),
        ("-t ext2", "warning: partition P2: "),
    ] {
        let maker = Maker::new();
        ext(maker.path(), "ext.img", 2048, options);
        boot_code(maker.path(), "ext.img");
        let mount = "mkdir m; mount -o loop ext.img m";
        if tools::run_in(maker.path(), "sh", &["-c", mount]).code != 0 {
            eprintln!("can't mount here: nothing was tested");
            return;
        }
        shell(
            maker.path(),
            &format!("{in_use}; cp ext.img copy; exec 7>&-; umount m; mv ext.img good; mv copy ext.img"),
        );
        let said = maker.check().err;
        let line = said.lines().find(|l| l.contains(told) && l.contains("e2fsck -f")).map(str::to_string);
        let line = line.unwrap_or_else(|| panic!("{options}: {said}"));
        assert!(line.contains("it was copied while it was mounted"), "{options}: {line}");
        assert_eq!(maker.build().code, if told.starts_with("error") { 2 } else { 0 }, "{options}");
        shell(maker.path(), "rm -f cd.iso; rmdir m");
        cured(&maker, &line);
        // The one that was unmounted needs no remedy.
        shell(maker.path(), "mv good ext.img");
        let check = maker.check();
        assert!(check.code == 0 && !check.err.contains("ext.img"), "{options}: {}", check.err);
    }
}

#[test]
fn a_fat_image_that_was_not_unmounted_is_warned_of_with_the_remedy() {
    for (kib, options, entry, clean, state) in
        [(1024, "-F 12", 0, 0, 0x25), (8192, "-F 16 -s 2", 3, 0x80, 0x25), (36_000, "-F 32 -s 1", 7, 0x08, 0x41)]
    {
        let maker = Maker::new();
        maker.logic(&LOGIC.replace("40960", "400000").replace("start 2048 sectors 2048", "start 16384 sectors 73728"));
        fat(maker.path(), "fat.img", kib, options);
        let good = fs::read(maker.file("fat.img")).unwrap();
        let check = maker.check();
        assert!(check.code == 0 && !check.err.contains("fat.img"), "{options}: {}", check.err);
        let table = usize::from(good[14]) * 512;
        // ClnShutBit in the first table, or bit 0 of BS_Reserved1.
        for (at, bits) in [(table + entry, clean), (state, 1)].into_iter().filter(|(_, bits)| *bits != 0) {
            let mut image = good.clone();
            image[at] ^= bits;
            fs::write(maker.file("fat.img"), image).unwrap();
            let dirty = tools::run_in(maker.path(), "fsck.fat", &["-n", "fat.img"]).out;
            assert!(dirty.contains("Dirty bit is set"), "{options}, byte {at}: {dirty}");
            let check = maker.check();
            let said = check.err.lines().find(|l| l.contains(":3: warning: partition P1: ")).unwrap_or_default();
            assert!(check.code == 0 && said.contains("its dirty bit is set"), "{options}, byte {at}: {}", check.err);
            let remedy = &said[said.find("fsck.vfat -a").expect("a remedy")..];
            // It ends with 1 where it has corrected something.
            shell(maker.path(), &format!("{remedy} || test $? = 1"));
            let check = maker.check();
            assert!(check.code == 0 && !check.err.contains("fat.img"), "{options}, byte {at}: {}", check.err);
        }
    }
}

/// What can't be overwritten in place, or is another file as well, keeps no state; `check` says so as `build` does.
#[test]
fn files_of_ours_that_can_not_be_used_are_refused_with_the_remedy() {
    let link = "write z NAME\nmkdir etc\nln NAME etc/other\nset_inode_field NAME links_count 2\n";
    for (name, script, why) in [
        ("link", link, "NAME has 2 names, by hard links (/etc/other)"),
        ("immutable", "write z NAME\nset_inode_field NAME flags 0x10\n", "immutable"),
        (
            "unwritten",
            "write /dev/null NAME\nfallocate NAME 0 3\nset_inode_field NAME size 4096\n",
            "an unwritten extent",
        ),
        ("hole", "write /dev/null NAME\nset_inode_field NAME size 4096\n", "a hole"),
    ] {
        for file in ["bstate.txt", "seal.0", "seal.1"] {
            let maker = Maker::new();
            let options = if name == "unwritten" { "-t ext4 -O ^has_journal" } else { "-t ext2" };
            ext(maker.path(), "ext.img", 2048, options);
            boot_code(maker.path(), "ext.img");
            fs::write(maker.file("z"), [b'x'; 4096]).unwrap();
            fs::write(maker.file("script"), script.replace("NAME", file)).unwrap();
            shell(maker.path(), "debugfs -w -f script ext.img 2>&1; rm script");
            maker.refused(name, &why.replace("NAME", file));
            cured(&maker, &maker.check().err);
        }
    }
    for (image, script) in
        [("fat.img", "mmd -i fat.img ::bstate.txt"), ("ext.img", "debugfs -w -R 'mkdir seal.1' ext.img 2>&1")]
    {
        let maker = Maker::new();
        shell(maker.path(), script);
        maker.refused(image, "that is no file; rename it");
    }
}

/// One image on two partitions: whoever asks for its UUID or label gets either.
#[test]
fn a_configuration_that_asks_for_what_two_copies_have_is_warned_of() {
    let (uuid, other) = ("11111111-2222-3333-4444-abcdefabcdef", "99999999-2222-3333-4444-abcdefabcdef");
    let by_uuid = format!("UUID {uuid}, which P1 and P2 have");
    let by_label = "label \"MY ROOT\", which P1 and P2 have";
    let by_serial = "serial number 4B53-4154, which B1 and B2 have";
    type Case<'a> = (&'a str, String, Option<(usize, &'a str)>);
    let cases: &[Case] = &[
        ("etc/fstab", format!("# UUID={uuid} /\nUUID={uuid} / ext2\n"), Some((2, &by_uuid))),
        ("etc/fstab", format!("/dev/disk/by-uuid/{} / ext2\n", uuid.to_uppercase()), Some((1, &by_uuid))),
        ("etc/fstab", "\nLABEL=MY\\040ROOT / ext2\n".into(), Some((2, by_label))),
        ("etc/fstab", "LABEL=\"MY ROOT\" / ext2\n".into(), Some((1, by_label))),
        ("etc/fstab", "UUID=4b53-4154 /boot vfat\n".into(), Some((1, by_serial))),
        ("etc/fstab", "LABEL=BOOTFS /boot vfat\n".into(), Some((1, "label \"BOOTFS\", which B1 and B2 have"))),
        ("boot/grub/grub.cfg", format!(" search --no-floppy --fs-uuid --set=root {uuid}\n"), Some((1, &by_uuid))),
        ("boot/grub/grub.cfg", "search --no-floppy --label BOOTFS --set\n".into(), Some((1, "label \"BOOTFS\""))),
        ("boot/extlinux/extlinux.conf", format!("LABEL l\nAPPEND root=UUID={uuid} ro\n"), Some((2, &by_uuid))),
        ("extlinux.conf", format!("APPEND root=UUID={uuid}"), Some((1, &by_uuid))),
        ("boot/loader/entries/a.conf", format!("title x\noptions root=UUID={uuid}\n"), Some((2, &by_uuid))),
        ("cmdline.txt", format!("quiet root=UUID={uuid}"), Some((1, &by_uuid))),
        // The data partition is one; a PARTUUID is the partition's own; and these are no configurations.
        ("etc/fstab", format!("UUID={other} /srv ext2\nLABEL=DATA /srv\n"), None),
        ("etc/fstab", "PARTLABEL=BOOTFS /boot\nPARTUUID=12345678-02 /\n/dev/sda1 /x\n".into(), None),
        ("boot/grub/grub.cfg", format!("# root=UUID={uuid}\nset x=BOOTFS\n"), None),
        ("etc/motd", format!("UUID={uuid}\n"), None),
    ];
    let maker = Maker::new();
    let logic = "logic 1\ndisk system sectors 400000\n\
        partition P1 on system start 2048 sectors 8192 type 83 image root.img\n\
        partition P2 on system start 16384 sectors 8192 type 83 image root.img\n\
        partition D on system start 32768 sectors 8192 type 83 image data.img\n\
        disk other sectors 500000\n\
        partition B1 on other start 2048 sectors 8192 type 0c image boot.img\n\
        partition B2 on other start 16384 sectors 8192 type 0c image boot.img\n\
        1 hold \"x\"\n";
    ext(maker.path(), "data.img", 1024, &format!("-t ext2 -U {other} -L DATA"));
    for (path, content, warned) in cases {
        shell(maker.path(), &format!("rm -rf tree; mkdir -p tree/$(dirname {path})"));
        fs::write(maker.file("tree").join(path), content).unwrap();
        let options = format!("-t ext2 -U {uuid} -L 'MY ROOT' -d tree");
        ext(maker.path(), "root.img", 2048, &options);
        fat(maker.path(), "boot.img", 1024, "-F 12 -n BOOTFS");
        maker.logic(logic);
        let warnings = |maker: &Maker| -> Vec<String> {
            let check = maker.check();
            assert_eq!(check.code, 0, "{}", check.err);
            check.err.lines().filter(|l| l.contains(" asks for ")).map(str::to_string).collect()
        };
        let said = warnings(&maker);
        let Some((line, what)) = warned else {
            assert!(said.is_empty(), "{path}: {content}: {said:#?}");
            continue;
        };
        let [said] = &said[..] else { panic!("{path}: {content}: {said:#?}") };
        let place = format!(":3: warning: partition P1: root.img: /{path} line {line} asks for the ");
        assert!(said.contains(&place) && said.contains(what), "{path}: {content}: {said}");
        // Each partition with an image of its own, and a name of its own.
        maker.logic(
            &logic.replace("8192 type 83 image root.img\npartition D", "8192 type 83 image two.img\npartition D"),
        );
        maker.logic(&fs::read_to_string(maker.file("logic.txt")).unwrap().replacen("boot.img\n1", "boot2.img\n1", 1));
        shell(maker.path(), "cp root.img two.img; cp boot.img boot2.img");
        assert!(!warnings(&maker).is_empty(), "{path}: a copy of an image has its names");
        shell(
            maker.path(),
            "tune2fs -f -U random -L TWO two.img >/dev/null; fatlabel boot2.img BOOT2 >/dev/null; fatlabel -i boot2.img 00112233",
        );
        let said = warnings(&maker);
        assert!(said.is_empty(), "{path}: {content}: {said:#?}");
    }
    // FAT has its configuration in long names and in any case; SYSLINUX's stands there.
    fs::write(maker.file("cfg"), format!("LABEL x\n  APPEND root=UUID={uuid}\n")).unwrap();
    shell(maker.path(), "mmd -i boot.img ::SysLinux; mcopy -i boot.img cfg ::SysLinux/SYSLINUX.CFG");
    maker.logic(logic);
    let said = maker.check().err;
    let place = ":7: warning: partition B1: boot.img: /SysLinux/SYSLINUX.CFG line 2 asks for the UUID ";
    assert!(said.contains(place), "{said}");
}

#[test]
fn what_is_wrong_with_the_input_is_said_with_the_files_name() {
    let maker = Maker::new();
    let cases = [
        ("missing image", "image fat.img", "image none.img", "none.img: no such file"),
        (
            "too large",
            "start 2048 sectors 2048",
            "start 2048 sectors 2047",
            "fat.img: the image has 2048 sectors, the partition 2047",
        ),
        ("missing tool", "image fat.img", "image fat.img tools none.com", "none.com"),
        ("missing MBR", "sectors 40960", "sectors 40960 mbr none.bin", "none.bin is no file of at least 440 bytes"),
        ("short MBR", "sectors 40960", "sectors 40960 mbr short.bin", "short.bin is no file of at least 440 bytes"),
        ("no filesystem", "image ext.img", "image empty.img", "empty.img: boot sector has no 55AA"),
        (
            "odd length",
            "image ext.img",
            "image odd.img",
            "odd.img: 513 bytes are not a whole number of 512-byte sectors",
        ),
        ("no boot code", "image ext.img", "image data.img", "data.img: boot sector has no 55AA"),
        ("a mistake", "1 boot P1", "1 boto P1", "logic.txt:5:3: error: unknown step `boto`"),
    ];
    fs::write(maker.file("short.bin"), [0; 439]).unwrap();
    fs::write(maker.file("empty.img"), [0; 1 << 16]).unwrap();
    fs::write(maker.file("odd.img"), [0; 513]).unwrap();
    ext(maker.path(), "data.img", 1024, "-t ext2");
    for (name, old, new, complaint) in cases {
        maker.logic(&LOGIC.replace(old, new));
        maker.refused(name, complaint);
    }
    // The same image in a partition that no step boots needs no boot code.
    maker.logic(&LOGIC.replace("image ext.img", "image data.img").replace("2 boot P2\n", ""));
    assert_eq!(maker.build().code, 0);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let maker = Maker::new();
    maker.logic(&LOGIC.replace("fat.img", "a.img").replace("ext.img", "b.img"));
    let ran = knownstate(&["check", text(&maker.file("logic.txt"))]);
    assert!(ran.err.contains("a.img") && ran.err.contains("b.img"), "{}", ran.err);
}

#[test]
fn a_build_that_fails_leaves_the_old_iso_as_it_was() {
    let maker = Maker::new();
    fs::write(maker.file("cd.iso"), "precious").unwrap();
    maker.logic(&LOGIC.replace("fat.img", "none.img"));
    assert_eq!(maker.build().code, 2);
    assert_eq!(fs::read(maker.file("cd.iso")).unwrap(), b"precious");
    maker.logic(LOGIC);
    let nowhere = knownstate(&["build", text(&maker.file("logic.txt")), "-o", "/nonexistent/cd.iso"]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.err.contains("/nonexistent"), "{}", nowhere.err);
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&["build"][..], &["dance"], &[], &["check", "/nonexistent.txt"], &["inspect", "/nonexistent"]] {
        let ran = knownstate(arguments);
        assert_eq!(ran.code, 2, "knownstate {arguments:?}: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "knownstate {arguments:?} complains on standard error");
    }
    let maker = Maker::new();
    let check = knownstate(&["check", text(&maker.file("logic.txt"))]);
    assert!(check.code == 0 && !check.err.contains(": error: "), "{}", check.err);
    assert!(check.out.contains("ok: disks 1, partitions 2, steps 5"), "{}", check.out);
}

#[test]
fn images_may_be_elsewhere() {
    let (maker, elsewhere) = (Maker::new(), tools::temporary());
    shell(maker.path(), &format!("mv *.img {}", elsewhere.path().display()));
    let logic = maker.file("logic.txt");
    for command in [&["check"][..], &["build", "-o", text(&maker.file("cd.iso"))]] {
        let ran = knownstate(&[command, &[text(&logic), "--images", text(elsewhere.path())]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
}

/// A machine with this CD and a blank disk that may be written anywhere.
fn machine(iso: Vec<u8>) -> Pc {
    let mut disk = Disk::blank(0x80, 40_960);
    disk.allowed = vec![0..1, 2047..40_960];
    Pc::new(iso.into(), vec![disk])
}

#[test]
fn tools_are_added_to_their_partition_alone() {
    let maker = Maker::new();
    fs::write(maker.file("rescue.com"), "the rescue tool").unwrap();
    let two = LOGIC.replace("type 83 image ext.img", "type 0c image fat.img tools rescue.com");
    maker.logic(&two);
    let iso = maker.extracted();
    let images = maker.file("cd/images");
    assert_eq!(shell(&images, "mtype -i fat.img.P2 ::rescue.com"), "the rescue tool");
    assert!(!shell(&images, "mdir -i fat.img ::").to_lowercase().contains("rescue"), "P1 gets the image without tools");
    shell(&images, "fsck.fat -n fat.img.P2");
    let mut pc = machine(iso);
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    fs::write(maker.file("p2"), pc.disks[0].bytes(8192..8192 + 2048)).unwrap();
    assert_eq!(shell(maker.path(), "mtype -i p2 ::rescue.com"), "the rescue tool");
    assert_eq!(word(&pc.start()), "hand-off 80 entry 1", "{:#?}", pc.lines);

    maker.logic(&LOGIC.replace("image ext.img", "image ext.img tools rescue.com"));
    shell(maker.path(), "rm -r cd");
    maker.extracted();
    assert_eq!(shell(&images, "debugfs -R 'cat rescue.com' ext.img 2>/dev/null"), "the rescue tool");
}

#[test]
fn the_boot_code_of_the_mbr_is_the_standard_one_or_the_makers() {
    let maker = Maker::new();
    let own: Vec<u8> = (0..512_u32).map(|n| (n * 7 % 256) as u8).collect();
    fs::write(maker.file("own.bin"), &own).unwrap();
    let standard = maker.extracted();
    let bytes = fs::read(maker.file("cd/mbr.bin")).unwrap();
    for (mbr, code) in [("", &bytes), (" mbr any", &bytes), (" mbr own.bin", &own)] {
        maker.logic(&LOGIC.replace("40960", &format!("40960{mbr}")));
        shell(maker.path(), "rm -rf cd");
        let mut pc = machine(if mbr.is_empty() { standard.clone() } else { maker.extracted() });
        assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
        assert!(pc.disks[0].sector(0)[..440] == code[..440], "the disk's boot code with `{mbr}`");
    }
}

#[test]
fn another_logic_txt_needs_no_build() {
    let maker = Maker::new();
    assert_eq!(maker.build().code, 0);
    maker.logic("logic 1\nhold \"another flow\"\n");
    shell(
        maker.path(),
        "xorriso -indev cd.iso -outdev new.iso -boot_image any keep -update logic.txt /logic.txt 2>/dev/null",
    );
    let mut pc = machine(fs::read(maker.file("new.iso")).unwrap());
    assert_eq!(word(&pc.start()), "hold -", "{:#?}", pc.lines);
    assert_eq!(pc.log(), ["- hold \"another flow\" = ok"]);
}

#[test]
fn inspect_knows_where_in_the_loader_an_address_is() {
    let maker = Maker::new();
    let mut bytes = maker.extracted();
    let at = |address: &str| {
        let ran = knownstate(&["inspect", text(&maker.file("cd.iso")), "--at", address]);
        (ran.code, ran.out)
    };
    // linker/memory.rs: where stage2 begins, and where stage1 is.
    assert_eq!(at("00020000"), (0, "00020000 stage2_entry\n".into()));
    assert_eq!(at("0x7c00"), (1, "00007C00 is in no function of the loader\n".into()));
    assert_eq!(at("a place").0, 2);
    let lines: String = (0x2_1000..0x2_4000).step_by(512).map(|address| at(&format!("{address:X}")).1).collect();
    assert!(lines.contains("knownstate_stage2::") && lines.contains(" at stage2/src/"), "{lines}");
    // The loader of another version.
    let loader = fs::read(maker.file("cd/loader.bin")).unwrap();
    let begin = bytes.windows(64).position(|window| window == &loader[4096..4160]).unwrap();
    bytes[begin] ^= 1;
    fs::write(maker.file("cd.iso"), bytes).unwrap();
    let (code, said) = at("00020000");
    assert!(code == 1 && said.contains("another than this tool's"), "{said}");
}

#[test]
fn inspect_says_what_a_file_is() {
    let maker = Maker::new();
    let iso = maker.extracted();
    let inspect = |name: &str| knownstate(&["inspect", text(&maker.file(name))]);
    let has = |ran: &tools::Ran, code: i32, words: &[&str]| {
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        words.iter().for_each(|w| assert!(ran.out.contains(w), "`{w}` is not in:\n{}", ran.out));
    };
    has(
        &inspect("cd.iso"),
        0,
        &["recovery CD", "loader", "images/fat.img", "logic.txt, 5 steps", "3 restore system else 4"],
    );
    has(
        &inspect("cd/images/fat.img"),
        0,
        &["partition image, 2048 sectors", "FAT12", "bstate.txt: valid, 4096 bytes", "P1=OK"],
    );
    has(&inspect("ext.img"), 0, &["ext2/3/4", "bstate.txt: no such file"]);

    let mut pc = machine(iso);
    assert_eq!(word(&pc.start()), "restart");
    pc.disks[0].dump(&maker.file("disk"));
    let good = inspect("disk");
    has(
        &good,
        0,
        &[
            "disk, 40960 sectors",
            "entry 1 start 2048 sectors 2048 type 0c, active",
            "entry 2 start 8192 sectors 4096 type 83\n",
        ],
    );
    pc.disks[0].poke(8192 * 512 + 510, &[0]);
    pc.disks[0].dump(&maker.file("disk"));
    has(&inspect("disk"), 1, &["boot sector has no 55AA"]);
    pc.disks[0].poke(510, &[0]);
    pc.disks[0].dump(&maker.file("disk"));
    has(&inspect("disk"), 1, &["no 55AA signature"]);
    fs::write(maker.file("tiny"), "x").unwrap();
    assert_eq!(inspect("tiny").code, 2);
}

/// The volume id as isoinfo's readers have it: ECMA-119 section 8.4.7, 32 d-characters at byte 40.
#[test]
fn a_cd_with_a_name_says_it_everywhere() {
    let maker = Maker::new();
    let volume = |iso: &[u8]| String::from_utf8_lossy(&iso[16 * 2048 + 40..][..32]).trim_end().to_string();
    assert_eq!(volume(&maker.extracted()), "KNOWNSTATE");
    for (line, id, named) in [
        ("cd \"Web appliance\" version 3", "WEB_APPLIANCE_3", "\"Web appliance\" version 3"),
        (
            "cd \"exactly twenty-four byte\" was \"Web\" \"k/k\" version 4294967295",
            "EXACTLY_TWENTY_FOUR_B_4294967295",
            "\"exactly twenty-four byte\" version 4294967295",
        ),
    ] {
        maker.logic(&LOGIC.replace("logic 1\n", &format!("logic 1\n{line}\n")));
        shell(maker.path(), "rm -rf cd");
        let iso = maker.extracted();
        assert_eq!(volume(&iso), id);
        let said = knownstate(&["inspect", text(&maker.file("cd.iso"))]).out;
        assert!(said.starts_with(&format!("recovery CD {named}")), "{said}");
        assert!(!line.contains("was") || said.contains(", earlier \"Web\", \"k/k\"\n"), "{said}");
        let mut pc = machine(iso);
        pc.start();
        let first = format!("] - Knownstate {}, CD {named}", env!("CARGO_PKG_VERSION"));
        assert!(pc.lines[0].ends_with(&first), "{}", pc.lines[0]);
    }
}

#[test]
fn types_of_other_things_are_warned_of() {
    let maker = Maker::new();
    for (kind, what) in [("8e", "LVM"), ("fd", "a Linux RAID")] {
        maker.logic(&LOGIC.replace("type 83", &format!("type {kind}")));
        let ran = knownstate(&["check", text(&maker.file("logic.txt"))]);
        let told = format!("logic.txt:4: warning: partition P2: type {kind} says that it belongs to {what};");
        assert!(ran.err.contains(&told), "{}", ran.err);
        let data = LOGIC.replace("type 83 image ext.img", &format!("type {kind}")).replace("2 boot P2\n", "");
        maker.logic(&data);
        let ran = knownstate(&["check", text(&maker.file("logic.txt"))]);
        assert!(!ran.err.contains("says that it belongs"), "of a partition without an image nobody knows: {}", ran.err);
    }
}

/// Names that mastering tools like to change.
#[test]
fn every_file_name_that_is_allowed_is_found_again_on_the_cd() {
    for name in
        ["a", "UPPER.IMG", "MiXed.Img", "no-extension", "two.dots.img", "under_score-dash.img", "20-characters-is.all"]
    {
        let maker = Maker::new();
        shell(maker.path(), &format!("mv fat.img {name}; cp ext.img tool.t"));
        maker.logic(&LOGIC.replace("fat.img", name).replace("image ext.img", &format!("image {name} tools logic.txt")));
        let ran = maker.build();
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        let mut pc = machine(fs::read(maker.file("cd.iso")).unwrap());
        assert_eq!(word(&pc.start()), "restart", "{name}: {:#?}", pc.lines);
    }
}

#[test]
fn names_that_differ_only_in_case_are_refused() {
    let maker = Maker::new();
    fat(maker.path(), "FAT.IMG", 1024, "-F 12 -n OTHER");
    maker.logic(&LOGIC.replace("image ext.img", "image FAT.IMG"));
    maker.refused("case", "images/FAT.IMG and images/fat.img are one name to the loader");
    // P2's own image, the one with the tool, would get the name of P1's.
    shell(maker.path(), "mv FAT.IMG fat.img.P2; cp logic.txt tool");
    let third = "partition P3 on system start 16384 sectors 4096 type 0c image fat.img.P2";
    maker.logic(&format!("{}{third}\n", LOGIC.replace("image ext.img", "image fat.img tools tool")));
    maker.refused("tools", "fat.img.P2");
}

#[test]
fn an_image_without_room_for_bstate_is_refused_by_name() {
    let fill_fat = "head -c $(mdir -i fat.img :: | tail -2 | tr -dc 0-9) /dev/zero >filler; mcopy -i fat.img filler ::";
    let fill_ext = "head -c 3000000 /dev/zero | tr '\\0' x >filler; debugfs -w -R 'write filler filler' ext.img 2>&1";
    for (image, script) in [("fat.img", fill_fat), ("ext.img", fill_ext)] {
        let maker = Maker::new();
        shell(maker.path(), script);
        let before = maker.listing();
        let ran = maker.build();
        assert_eq!(ran.code, 2, "{image}: {}", ran.err);
        assert!(ran.err.contains(&format!("image {image}")) && ran.err.contains("bstate.txt"), "{}", ran.err);
        assert_eq!(maker.listing(), before, "something was left behind");
    }
}

/// Where something is protected, the seals need their room; where nothing is, they are left out.
#[test]
fn an_image_without_room_for_seals_is_taken_only_if_nothing_is_protected() {
    let fill_fat = "head -c $(($(mdir -i fat.img :: | tail -2 | tr -dc 0-9) - 4096)) /dev/zero >filler
        mcopy -i fat.img filler ::; rm filler";
    let fill_ext = "free=$(dumpe2fs -h ext.img 2>/dev/null | sed -n 's/^Free blocks: *//p')
        head -c $(((free - 24) * 1024)) /dev/zero | tr '\\0' x >filler
        debugfs -w -R 'write filler filler' ext.img 2>&1; rm filler";
    for (image, partition, script) in [("fat.img", "P1", fill_fat), ("ext.img", "P2", fill_ext)] {
        let maker = Maker::new();
        shell(maker.path(), script);
        let before = maker.listing();
        let ran = maker.build();
        assert_eq!(ran.code, 2, "{image}: {}", ran.err);
        assert!(ran.err.contains(&format!("image {image}")) && ran.err.contains("room for two seals"), "{}", ran.err);
        assert_eq!(maker.listing(), before, "something was left behind");
        maker.logic(&LOGIC.replace(&format!("image {image}\n"), &format!("image {image} protect none\n")));
        maker.extracted();
        let cd = shell(maker.path(), "ls -A cd/images");
        assert_eq!(cd, "ext.img\nfat.img\n", "something else is on the CD");
        let files = shell(maker.path(), "mdir -b -i cd/images/fat.img ::; debugfs -R 'ls -p /' cd/images/ext.img 2>&1");
        let seals = files.matches("seal.0").count();
        assert_eq!(seals, 1, "only the other image than {image} has seals: {files}");
        assert_eq!(files.matches("bstate.txt").count(), 2, "{image}: {files}");
        let mut pc = machine(fs::read(maker.file("cd.iso")).unwrap());
        pc.start();
        assert!(pc.log().contains(&"3 restore system = ok"), "{partition}: {:#?}", pc.lines);
    }
}

/// An image may come from a running system, with a seal that was right there.
#[test]
fn an_image_with_an_old_seal_gets_a_newer_one() {
    let maker = Maker::new();
    maker.logic(&LOGIC.replace("1 boot P1\n2 boot P2\n", "1 verify P1 else 3\n  hold \"good\"\n"));
    maker.extracted();
    shell(maker.path(), "cp cd/images/fat.img fat.img; mcopy -i fat.img logic.txt ::; rm -rf cd");
    let mut pc = machine(maker.extracted());
    assert_eq!(word(&pc.start()), "restart", "{:#?}", pc.lines);
    assert_eq!(word(&pc.start()), "hold -", "{:#?}", pc.lines);
    let sealed = pc.lines.iter().any(|l| l.contains("1 verify P1 = ok (") && l.ends_with(" as sealed)"));
    assert!(sealed, "{:#?}", pc.lines);
    // And once more: nothing is left to do.
    shell(maker.path(), "cp cd/images/fat.img fat.img; mv cd first");
    maker.extracted();
    shell(maker.path(), "cmp first/images/fat.img cd/images/fat.img");
}

#[test]
fn an_image_may_end_within_a_sector_of_the_cd() {
    for more in [512, 1024, 1536, 63 * 1024 + 512] {
        let maker = Maker::new();
        shell(maker.path(), &format!("head -c {more} /dev/urandom >>fat.img"));
        maker.logic(&LOGIC.replace("start 2048 sectors 2048", "start 2048 sectors 3000"));
        assert_eq!(maker.build().code, 0);
        let mut pc = machine(fs::read(maker.file("cd.iso")).unwrap());
        assert_eq!(word(&pc.start()), "restart", "{more} bytes more: {:#?}", pc.lines);
        let image = fs::read(maker.file("fat.img")).unwrap();
        let (tail, sectors) = (image.len() - more, more as u64 / 512);
        assert!(pc.disks[0].bytes(4096..4096 + sectors) == image[tail..], "the last {more} bytes on the disk");
        assert_eq!(pc.disks[0].bytes(4096 + sectors..5048).iter().max(), Some(&0), "what is behind the image");
    }
}

/// A mistyped output name costs nobody an image, a logic file or a device node.
#[test]
fn an_iso_replaces_nothing_but_an_iso() {
    let maker = Maker::new();
    let before = fs::read(maker.file("fat.img")).unwrap();
    std::os::unix::fs::symlink("fat.img", maker.file("link")).unwrap();
    for (output, why) in [
        ("fat.img", "is there already and is no ISO"),
        ("logic.txt", "is there already and is no ISO"),
        ("link", "is no ordinary file"),
        (".", "is no ordinary file"),
    ] {
        let ran = knownstate(&["build", text(&maker.file("logic.txt")), "-o", text(&maker.file(output))]);
        assert!(ran.code == 2 && ran.err.contains(why), "{output}: {}", ran.err);
    }
    assert!(fs::read(maker.file("fat.img")).unwrap() == before, "the image is gone");
    for _ in 0..2 {
        let ran = knownstate(&["build", text(&maker.file("logic.txt")), "-o", text(&maker.file("cd.iso"))]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
}

/// Images that are no partition images, and what to do about each; with the line that names them.
#[test]
fn what_is_no_partition_image_is_told() {
    let maker = Maker::new();
    let check = || knownstate(&["check", text(&maker.file("logic.txt"))]).err;
    let gzip = shell(
        maker.path(),
        "gzip -c fat.img > packed.img; mkdir folder; truncate -s 1M disk.img; \
        printf 'label: dos\\nstart=64, size=1000, type=83\\n' | PATH=$PATH:/sbin:/usr/sbin sfdisk -q disk.img",
    );
    assert!(!gzip.contains("error"), "{gzip}");
    for (image, why) in [
        ("packed.img", "that is a gzip file; unpack it first"),
        ("folder", "that is a directory"),
        ("disk.img", "that is the image of a whole disk"),
    ] {
        maker.logic(&LOGIC.replace("image fat.img", &format!("image {image}")));
        let said = check();
        assert!(said.contains("logic.txt:3: error: partition P1: ") && said.contains(why), "{image}: {said}");
    }
    maker.logic(&LOGIC.replace("disk system sectors 40960", "disk system sectors 40960\ndisk other sectors 40000.."));
    let said = check();
    assert!(said.contains("logic.txt:3: warning: disk other: a blank disk may be both system and other"), "{said}");
}
