//! `knownstate inspect`: whose a disk is and why, in words; blkid says the same of other people's.

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::devices::Loop;
use common::images::{boot_code, build, ext, fat, shipped};
use common::others::Other;
use common::tools::{self, Ran, knownstate, must, shell, text};
use knownstate_core::media::mbr::Mbr;
use knownstate_core::media::note::Note;

const SECTORS: u64 = 40960;
const ONE_DISK: &str = "disk system sectors 40960\n\
    partition P1 on system start 2048 sectors 16384 type 06 image fat.img\n\
    partition P2 on system start 18432 sectors 18432 type 83 image ext.img\n";

/// A folder with images, logic.txt and cd.iso.
struct Maker(tempfile::TempDir);

impl Maker {
    fn new(logic: &str) -> Self {
        let maker = Self(tools::temporary());
        fat(maker.0.path(), "fat.img", 8192, "-F 16 -s 2");
        ext(maker.0.path(), "ext.img", 9216, "-t ext4");
        boot_code(maker.0.path(), "ext.img");
        build(maker.0.path(), logic);
        maker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn shell(&self, script: &str) -> String {
        shell(self.0.path(), script)
    }

    /// A disk of ours.
    fn provisioned(&self, name: &str) {
        let disk = format!("system={}", text(&self.path(name)));
        must(env!("CARGO_BIN_EXE_knownstate"), &["provision", text(&self.path("cd.iso")), "--disk", &disk]);
    }

    fn poke(&self, name: &str, at: u64, bytes: &[u8]) {
        fs::File::options().write(true).open(self.path(name)).unwrap().write_all_at(bytes, at).unwrap();
    }

    fn sector(&self, name: &str, at: u64) -> [u8; 512] {
        let mut sector = [0; 512];
        fs::File::open(self.path(name)).unwrap().read_exact_at(&mut sector, at * 512).unwrap();
        sector
    }

    /// Inspects disks under a logic file or ISO. They stay as they are.
    fn inspect(&self, disks: &[&str], logic: &str) -> Ran {
        let before: Vec<Vec<u8>> = disks.iter().map(|disk| fs::read(self.path(disk)).unwrap()).collect();
        let paths: Vec<PathBuf> = disks.iter().map(|disk| self.path(disk)).collect();
        let logic = self.path(logic);
        let mut words = vec!["inspect"];
        words.extend(paths.iter().map(|path| text(path)));
        words.extend(["--logic", text(&logic)]);
        let mut ran = knownstate(&words);
        for (disk, before) in disks.iter().zip(before) {
            assert!(fs::read(self.path(disk)).unwrap() == before, "{disk} was written");
        }
        ran.out = ran.out.replace(&format!("{}/", text(self.0.path())), "");
        ran
    }

    /// The same; it has to end with this code and say all of these lines, in this order.
    #[track_caller]
    fn says(&self, disks: &[&str], logic: &str, code: i32, lines: &[&str]) -> String {
        let ran = self.inspect(disks, logic);
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        let mut rest = ran.out.as_str();
        for line in lines {
            let at = rest.find(line).unwrap_or_else(|| panic!("`{line}` is not in, or not in its place:\n{}", ran.out));
            rest = &rest[at + line.len()..];
        }
        ran.out
    }
}

/// What blkid calls it, and what we do.
const NAMES: &[(&str, &str)] = &[
    ("gpt", "GPT"),
    ("LVM2_member", "LVM"),
    ("zfs_member", "ZFS"),
    ("crypto_LUKS", "LUKS"),
    ("ntfs", "an NTFS filesystem"),
];

#[test]
fn other_peoples_disks_are_named_with_a_remedy() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    let luks = "truncate -s 20M LUKS; echo x | cryptsetup luksFormat -q --luks2-metadata-size 16k \
        --luks2-keyslots-size 512k --pbkdf pbkdf2 --pbkdf-force-iterations 1000 LUKS - 2>&1";
    maker.shell(luks);
    let mut seen = Vec::new();
    for other in [None, Some(Other::Gpt), Some(Other::Lvm), Some(Other::Zfs), Some(Other::WholeNtfs)] {
        let name = other.map_or("LUKS".to_string(), |other| format!("{other:?}"));
        let path = maker.path(&name);
        // blkid names no pool on a smaller disk.
        let sectors = if other == Some(Other::Zfs) { 131_072 } else { SECTORS };
        if let Some(other) = other {
            other.make(&path, sectors);
        }
        let size = if sectors == SECTORS { "as declared" } else { "90112 more than declared" };
        let says = must("blkid", &["-p", "-o", "export", text(&path)]);
        let says = says.lines().find_map(|l| l.strip_prefix("TYPE=").or(l.strip_prefix("PTTYPE="))).unwrap();
        let (_, owner) = NAMES.iter().find(|(blkid, _)| *blkid == says).unwrap_or_else(|| panic!("{name}: {says}"));
        let ran = knownstate(&["inspect", text(&path)]);
        assert!(ran.out.contains(&format!("mark    {owner} at sector ")), "{name}:\n{}{}", ran.out, ran.err);
        let out = maker.says(
            &[&name],
            "cd.iso",
            1,
            &[
                "disk system, 40960 sectors: none\n",
                &format!("  {name}: somebody's: it carries {owner} at sector "),
                &format!("size       {sectors} sectors, {size}\n"),
                "written    nothing\n",
                "remedy     if it may be lost: `wipefs -a` and `blkdiscard` (or zeros), or `adopt` in logic.txt\n",
            ],
        );
        assert!(!out.contains("delete it"), "{out}");
        seen.push(*owner);
    }
    assert_eq!(seen, ["LUKS", "GPT", "LVM", "ZFS", "an NTFS filesystem"]);
}

/// A table with an entry that ends past the disk: each is read all the same, and what is in it is named.
#[test]
fn a_bad_entry_hides_nothing() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    maker.shell("truncate -s 40M odd; printf '2048,4096,83\\n8192,70000,8e\\n' | sfdisk -q odd; truncate -s 20M odd");
    maker.poke("odd", 8193 * 512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001");
    let ran = knownstate(&["inspect", text(&maker.path("odd"))]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let wanted = [
        "MBR     signature ",
        "MBR     entry 2 is outside the disk",
        "entry 1 start 2048 sectors 4096 type 83\n",
        "entry 2 start 8192 sectors 70000 type 8e\n        type: LVM\n",
        "        mark: LVM at sector 8193\n",
    ];
    wanted.iter().for_each(|w| assert!(ran.out.contains(w), "`{w}` is not in:\n{}", ran.out));
    maker.says(
        &["odd"],
        "cd.iso",
        1,
        &["entry 2 (type 8e, sectors 8192 to 78191): LVM at sector 8193", "odd: somebody's: it carries LVM"],
    );
    // Old ext bytes in front of a table make no partition image of a disk.
    maker.provisioned("ours");
    let image = fs::read(maker.path("ext.img")).unwrap();
    maker.poke("ours", 1024, &image[1024..2048]);
    let ran = knownstate(&["inspect", text(&maker.path("ours"))]);
    assert!(
        ran.out.starts_with("disk, 40960 sectors\n") && ran.out.contains("mark    an ext filesystem"),
        "{}",
        ran.out
    );
}

#[test]
fn ours_is_told_with_its_proof_and_all_that_is_odd() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    maker.provisioned("ours");
    let all = "written    all of it, by `heal`, `repair mbr`, `restore`\n";
    let table = "ours: ours, by its table, and the signature that a restore writes\n";
    maker.says(&["ours"], "cd.iso", 0, &["disk system, 40960 sectors: ours\n", table, "as declared\n", all]);
    // A bare logic file will do, without the images too.
    maker.says(&["ours"], "logic.txt", 0, &[table]);
    maker.shell("mkdir bare; cp logic.txt bare");
    let missing = "the image of P1 and of P2 is not there: a proof that needs it is not seen\n";
    maker.says(&["ours"], "bare/logic.txt", 0, &[missing, table]);
    // Larger, with an entry more, and with marks in a gap, at the end, and in P2's tail.
    maker.shell("cp ours odd; echo 'start=37000, size=2000, type=83' | sfdisk -q --append --no-tell-kernel odd");
    maker.shell("truncate -s 21M odd");
    maker.poke("odd", 512, b"LABELONE");
    maker.poke("odd", 43007 * 512, b"EFI PART");
    maker.poke("odd", (36864 - 16) * 512, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]);
    let odd = [
        "  drive 80 has 43008 sectors, declared 40960",
        "  odd: ours, by its table",
        "size       43008 sectors, 2048 more than declared\n",
        "written    all of it, by `heal`, `repair mbr`, `restore`, but for what is kept\n",
        "kept       entry 3 (type 83, sectors 37000 to 38999) is not declared: no step drops it or writes into it\n",
        "old mark   LVM at sector 1: a restore of the disk clears it\n",
        "old mark   RAID at sector 36848, in P2: a restore of P2 clears it where the image leaves it free\n",
        "old mark   GPT at sector 43007: a restore of the disk clears it\n",
    ];
    maker.says(&["odd"], "cd.iso", 0, &odd);
    // And so it comes.
    maker.shell("cp ours cleared");
    let marks: [(u64, &[u8]); 3] =
        [(512, b"LABELONE"), (40959 * 512, b"EFI PART"), ((36864 - 16) * 512, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0])];
    marks.iter().for_each(|(at, bytes)| maker.poke("cleared", *at, bytes));
    maker.says(
        &["cleared"],
        "cd.iso",
        0,
        &["LVM at sector 1: a restore", "RAID at sector 36848", "GPT at sector 40959: a"],
    );
    maker.provisioned("cleared");
    let out = maker.says(&["cleared"], "cd.iso", 0, &["cleared: ours, by its table"]);
    assert!(!out.contains("old mark"), "{out}");
    // Table and signature are gone: the content proves it.
    maker.shell("cp ours headless");
    maker.poke("headless", 0, &[0; 512]);
    maker.says(&["headless"], "cd.iso", 0, &["no partition table\n", "headless: ours, by its bstate.txt in P1\n", all]);
    // An unfinished restore.
    let mbr = Mbr::parse(&maker.sector("ours", 0)).unwrap();
    let note = Note { mbr, cd: "Web".to_string(), set: Some(0x1234) };
    maker.poke("headless", 0, &note.to_sector());
    let noted = [
        "by its note of a restore",
        "note       a restore was begun by CD \"Web\" and is not finished, set 00001234\n",
    ];
    maker.says(&["headless"], "cd.iso", 0, &noted);
    // Blank.
    maker.shell("truncate -s 20M blank; truncate -s 22M large");
    maker.says(&["blank"], "cd.iso", 0, &["blank: blank\n", "written    by `restore system` only, all of it\n"]);
    let remedy = "remedy     if it is meant: its size in logic.txt, or `adopt`\n";
    maker.says(&["large"], "cd.iso", 1, &["large: unclear: it is blank and has 45056 sectors\n", remedy]);
}

/// An entry of somebody's that reaches into P2, where P1 proves the disk.
#[test]
fn an_entry_in_the_way_is_told_with_its_partition() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    maker.provisioned("ours");
    maker.shell(
        "printf 'label: dos\\nstart=2048, size=16384, type=6\\nstart=30000, size=8000, type=83\\n' |
            sfdisk -q --no-tell-kernel --wipe never ours
        head -c 4M /dev/urandom >junk; dd if=junk of=ours bs=512 seek=30000 conv=notrunc status=none",
    );
    let told = [
        "  ours: ours, by its bstate.txt in P1\n",
        "kept       entry 2 (type 83, sectors 30000 to 37999) is not declared: it reaches into P2, so P2 is not \
         written; delete that entry, or declare it\n",
    ];
    maker.says(&["ours"], "cd.iso", 0, &told);
    // A partition of somebody's over P1: nothing of ours counts there, until it is deleted.
    maker.provisioned("reused");
    maker.shell(
        "printf 'label: dos\\nstart=2048, size=36000, type=83\\n' | sfdisk -q --no-tell-kernel --wipe always reused
        mkfs.ext4 -q -E nodiscard,offset=$((2048 * 512)) reused 17000k 2>&1",
    );
    let told = [
        "reused: somebody's: it carries an ext filesystem at sector 2050, in entry 1",
        "remedy     if nobody needs entry 1 (type 83, sectors 2048 to 38047): delete it;",
    ];
    maker.says(&["reused"], "cd.iso", 1, &told);
}

#[test]
fn of_several_disks_it_says_which_is_taken_and_why_not_the_others() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    maker.provisioned("ours");
    maker.shell("truncate -s 20M blank; cp ours clone");
    Other::Lvm.make(&maker.path("lvm"), SECTORS);
    let told = [
        "disk system, 40960 sectors: ours\n",
        "  lvm: somebody's: it carries LVM",
        "  blank: blank\n",
        "written    nothing\n",
        "not taken  ours is disk system\n",
        "  ours: ours, by its table",
        "written    all of it",
    ];
    maker.says(&["lvm", "blank", "ours"], "cd.iso", 0, &told);
    let told = ["2 disks are system: drives 80, 81;", "written    bstate.txt and nothing else\n", "not taken  ours is"];
    maker.says(&["ours", "clone"], "cd.iso", 0, &told);
    maker.shell("truncate -s 20M blank2");
    let told =
        ["system, 40960 sectors: none\n", "the loader says: 2 blank disks could be system: drives 80, 81; leave one"];
    maker.says(&["blank", "blank2"], "cd.iso", 1, &told);
}

const TWO_DISKS: &str = "disk first sectors 40960\n\
    disk second sectors 43008\n\
    partition P1 on first start 2048 sectors 16384 type 06 image fat.img\n\
    partition P2 on second start 2048 sectors 18432 type 83 image ext.img\n";

#[test]
fn each_declaration_has_an_answer() {
    let maker = Maker::new(&shipped("two-disks.txt", TWO_DISKS));
    maker.shell("truncate -s 20M a; truncate -s 21M b");
    let told = [
        "disk first, 40960 sectors: a\n",
        "  a: blank\n",
        "written    by `restore first` only",
        "  b: unclear: it is blank and has 43008 sectors\n",
        "size       43008 sectors, 2048 more than declared\n",
        "disk second, 43008 sectors: b\n",
        "  a: unclear: it is blank and has 40960 sectors\n",
        "  b: blank\n",
    ];
    maker.says(&["a", "b"], "cd.iso", 0, &told);
    maker.says(&["b"], "cd.iso", 1, &["disk first, 40960 sectors: none\n", "disk second, 43008 sectors: b\n"]);
}

/// A disk that is another declaration's: nobody is told to empty it.
#[test]
fn what_another_declaration_has_gets_no_remedy() {
    let data =
        "disk data sectors 65536.. mbr any\npartition DATA on data start 2048 sectors 60000 type 83 protect none\n";
    let maker = Maker::new(&shipped("data-disk.txt", &format!("{ONE_DISK}{data}")));
    maker
        .shell("truncate -s 40M data; echo 2048,60000,83 | sfdisk -q data; mkfs.ext4 -q -E offset=1048576 data 30000k");
    let told = [
        "disk system, 40960 sectors: none\n",
        "not taken  it is disk data\n",
        "disk data, 65536 sectors or more: data\n",
        "  data: ours, by its table\n",
        "written    nothing: no partition of it has an image\n",
    ];
    let out = maker.says(&["data"], "cd.iso", 1, &told);
    assert!(!out.contains("remedy"), "{out}");
}

/// The declared table with a signature that is not the declared one: which word in logic.txt would make it ours.
#[test]
fn a_signature_that_would_do_is_named() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    maker.provisioned("ours");
    maker.poke("ours", 440, &[0x78, 0x56, 0x34, 0x12]);
    build(maker.0.path(), &shipped("figure4.txt", &ONE_DISK.replace("40960", "40960 signature AABBCCDD")));
    let remedy = "remedy     if it is this disk: `signature 12345678` on its line in logic.txt\n";
    maker.says(&["ours"], "cd.iso", 1, &["ours: unclear: it has ", remedy]);
    build(maker.0.path(), &shipped("figure4.txt", &ONE_DISK.replace("40960", "40960 signature 12345678")));
    maker.says(&["ours"], "cd.iso", 0, &["ours, by its table, and signature 12345678\n"]);
}

#[test]
fn adopt_is_told() {
    let maker = Maker::new(&shipped("figure4.txt", &ONE_DISK.replace("40960", "40960 adopt")));
    Other::Lvm.make(&maker.path("lvm"), SECTORS);
    let told = [
        "disk system, 40960 sectors: lvm\n",
        "  drive 80 carries LVM at sector 1, and is adopted\n",
        "  lvm: somebody's: it carries LVM at sector 1\n",
        "written    by `restore system` only, all of it\n",
    ];
    maker.says(&["lvm"], "cd.iso", 0, &told);
}

#[test]
fn a_block_device_is_inspected_like_a_file() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    maker.provisioned("ours");
    let Some(device) = Loop::of(&maker.path("ours")) else { return };
    let ran = knownstate(&["inspect", &device.path]);
    assert!(ran.code == 0 && ran.out.contains("disk, 40960 sectors\n"), "{}{}", ran.out, ran.err);
    let ran = knownstate(&["inspect", &device.path, "--logic", text(&maker.path("cd.iso"))]);
    assert!(ran.code == 0 && ran.out.contains(": ours, by its table"), "{}{}", ran.out, ran.err);
}

#[test]
fn what_cannot_be_asked_is_told() {
    let maker = Maker::new(&shipped("figure4.txt", ONE_DISK));
    maker.shell("truncate -s 20M a; cp a b; echo 'logic 2' >wrong.txt");
    let [a, b, iso, wrong] = ["a", "b", "cd.iso", "wrong.txt"].map(|name| maker.path(name));
    let [a, b, iso, wrong] = [&a, &b, &iso, &wrong].map(|path| text(path));
    for (words, error) in [
        (&[a, b][..], "add --logic LOGIC"),
        (&[a, a, "--logic", iso], "is given twice"),
        (&[a, "--logic", wrong], "has errors"),
        (&[a, "--logic", a], "neither an ISO nor a logic file"),
        (&[a, "--logic", iso, "--at", "0"], "cannot be used with"),
        (&[a, "--images", "."], "--logic"),
        (&["/nonexistent", "--logic", iso], "can't open"),
    ] {
        let ran = knownstate(&[&["inspect"], words].concat());
        assert_eq!(ran.code, 2, "{words:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(error), "{words:?} does not say `{error}` but: {}", ran.err);
    }
}
