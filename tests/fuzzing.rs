//! The fuzz targets without a fuzzer: what real tools make is a corpus for them, which is left in target/fuzz
//! for `make fuzz`, and every input that once broke something is run again. docs/FUZZING.md.

mod common;
#[path = "fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::{Path, PathBuf};

use common::images::{Set, ext, fat, figure4_set, fill, put, put_record, tree};
use common::record;
use common::tools::{self, shell};
use fuzz::hostile::Random;
use fuzz::input::Sparse;
use fuzz::start::FLOWS;
use fuzz::{TARGETS, cd, disk, filesystem};
use knownstate_core::layout::Layout;
use knownstate_core::logic::{self, Protect};
use knownstate_core::media::kind::Kind;
use knownstate_core::media::mbr::Mbr;
use knownstate_core::media::note::Note;
use knownstate_core::table::Form;
use knownstate_core::table::write::{chunks, names, protected_entries, seal};
use knownstate_core::units::{CD_SECTOR, SECTOR, SectorCount};

/// The fuzzer's own folder of a target, made anew.
fn corpus(target: &str) -> PathBuf {
    let folder = Path::new("target/fuzz/corpus").join(target);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("target can be written");
    folder
}

/// Puts an input there, after the target took it.
fn keep(folder: &Path, target: &str, name: &str, input: &[u8]) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("there is such a target");
    run(input);
    fs::write(folder.join(name.replace(['/', ' '], "_")), input).expect("target can be written");
}

/// The disk's or CD's sectors that a target read of this image.
fn looked_at<const N: usize>(bytes: &[u8], look: impl FnOnce(&mut Sparse<N>)) -> Vec<u8> {
    let mut sparse = Sparse::of(bytes);
    look(&mut sparse);
    sparse.read_ones()
}

/// Filesystems of every width and block size, with files and folders in them.
fn filesystems(folder: &Path) -> Vec<(String, Vec<u8>)> {
    tree(folder);
    let fats = [("-F 12", 1024), ("-F 12 -s 4 -r 32", 2880), ("-F 16 -s 1", 3000), ("-F 32 -s 1", 33_600)];
    let exts = [
        ("-t ext2 -b 1024", 1024),
        ("-t ext2 -b 1024 -O ^sparse_super,^resize_inode -I 128", 9000),
        ("-t ext3 -b 2048", 4096),
        ("-t ext4 -b 1024", 3000),
        ("-t ext4 -b 4096 -O 64bit,metadata_csum -I 256", 8192),
        ("-t ext4 -b 4096 -O ^has_journal,inline_data -I 512", 2048),
        ("-t ext4 -b 65536 -O ^has_journal", 8192),
    ];
    let mut images = Vec::new();
    let mut make = |options: &str, kib: u64, mkfs: fn(&Path, &str, u64, &str)| {
        mkfs(folder, "image", kib, options);
        if kib >= 2000 {
            fill(folder, "image");
        }
        put_record(folder, "image", &["P1", "P2"]);
        put(folder, "image", "seal.0", &vec![b'\n'; 5000]);
        images.push((options.to_string(), fs::read(folder.join("image")).expect("it was made")));
    };
    fats.iter().for_each(|(options, kib)| make(options, *kib, fat));
    exts.iter().for_each(|(options, kib)| make(options, *kib, ext));
    images
}

#[test]
fn filesystems_by_mkfs_are_read_and_make_a_corpus() {
    let temporary = tools::temporary();
    let (fats, exts, layouts, seals) = (corpus("fat"), corpus("ext"), corpus("layout"), corpus("seal"));
    for (name, bytes) in filesystems(temporary.path()) {
        // Tables and directories, without the content of files.
        let input = looked_at(&bytes, |volume| {
            Layout::of(volume).unwrap_or_else(|e| panic!("{name}: {e}"));
        });
        keep(&layouts, "layout", &name, &input);
        if name.starts_with("-F") {
            keep(&fats, "fat", &name, &looked_at(&bytes, filesystem::fat_on));
        } else {
            keep(&exts, "ext", &name, &looked_at(&bytes, filesystem::ext_on));
        }
        for protect in [Protect::All, Protect::Paths(vec!["/sub".into()])] {
            let mut volume = Sparse::<SECTOR>::of(&bytes);
            let layout = Layout::of(&mut volume).unwrap_or_else(|e| panic!("{name}: {e}"));
            let Ok(chunks) = chunks(&layout, &protect) else { continue };
            let entries = protected_entries(&mut volume, &chunks).expect("it can be read");
            let names = names(&layout, &protect);
            // What the seal describes has to fit the target's partition.
            let entries: Vec<_> = entries.into_iter().filter(|e| e.end() <= disk::SEAL_SECTORS).collect();
            let seal = seal(3, &entries, names.as_bytes(), SectorCount(disk::SEAL_SECTORS), |_, _| [0; 32]);
            let mut input = Sparse::<SECTOR>::of(&seal);
            for word in [0, disk::HASHED, disk::HASHED | 2 << 16] {
                input.word = (seal.len() as u32).div_ceil(64) | word;
                let whole = input.sectors_where(|number| number < 200);
                keep(&seals, "seal", &format!("{name} {} {word:x}", matches!(protect, Protect::All)), &whole);
            }
        }
    }
}

#[test]
fn mbrs_by_sfdisk_are_read_and_make_a_corpus() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    let here = corpus("mbr");
    let tables = [
        ("blank", ""),
        ("one", "label: dos\nstart=2048, size=4096, type=c, bootable\n"),
        ("four", "label: dos\nlabel-id: 0x4b534154\n2048,2048,c,*\n4096,2048,83\n6144,2048,82\n8192,4096,7\n"),
        ("extended", "label: dos\n2048,2048,83\n4096,8192,5\n"),
        ("lvm", "label: dos\n2048,4096,8e\n"),
        ("gpt", "label: gpt\nstart=2048, size=4096\n"),
    ];
    for (name, table) in tables {
        fs::write(folder.join("table"), table).expect("a file can be written");
        let sfdisk = if table.is_empty() { "" } else { "sfdisk -q disk <table" };
        shell(folder, &format!("rm -f disk; truncate -s 8M disk; {sfdisk}"));
        let bytes = fs::read(folder.join("disk")).expect("it was made");
        let mut machine = disk::machine(Sparse::of(&bytes), (bytes.len() / SECTOR) as u64);
        disk::mbr_on(&mut machine);
        let input = machine.over.sectors_where(|number| machine.seen.contains(&u64::from(number)));
        keep(&here, "mbr", name, &input);
    }
    // Other people's marks, on a whole disk and in its first partition.
    let marks = ["mkfs.fat -F 12 disk", "mke2fs -q -F disk", "mkswap -q disk", "xorriso -outdev disk -map table t"];
    for (n, mark) in marks.iter().enumerate() {
        shell(folder, &format!("rm -f disk; truncate -s 8M disk; {mark} >/dev/null 2>&1"));
        let mut bytes = fs::read(folder.join("disk")).expect("it was made");
        bytes.resize(8 << 20, 0);
        let mut machine = disk::machine(Sparse::of(&bytes), (bytes.len() / SECTOR) as u64);
        disk::mbr_on(&mut machine);
        let input = machine.over.sectors_where(|number| machine.seen.contains(&u64::from(number)));
        keep(&here, "mbr", &format!("mark {n}"), &input);
    }
}

/// Disks put together at random from what whose-a-disk-is depends on: tables, chains of them, notes, marks, and data.
fn disk_at_random(random: &mut Random) -> Vec<u8> {
    let sectors = *random.pick(&[8192_u64, 8193, 7100, 20_013]);
    let mut bytes = vec![0; sectors as usize * SECTOR];
    let map = [(0, 0x0C, 2048_u32, 4096_u32)];
    let mut mbr = [0; SECTOR];
    mbr[440..444].copy_from_slice(&random.pick(&[0_u32, 0x1234_5678, 0x0BAD_CAFE]).to_le_bytes());
    let put = |sector: &mut [u8; SECTOR], (slot, kind, start, length): (usize, u8, u32, u32)| {
        let at = 446 + 16 * slot;
        (sector[at + 4], sector[510], sector[511]) = (kind, 0x55, 0xAA);
        sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        sector[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    };
    if random.below(3) > 0 {
        put(&mut mbr, map[0]);
    }
    for slot in 0..4 {
        if random.below(3) == 0 {
            let kind = *random.pick(&[0x83, 0x05, 0x0F, 0x8E, 0xEE, 0x07, 0x00]);
            let start = *random.pick(&[0_u32, 1, 63, 2047, 2048, 3000, 6144, 7000, 8191, 30_000, u32::MAX]);
            put(&mut mbr, (slot, kind, start, *random.pick(&[0_u32, 1, 100, 2000, 9000, u32::MAX])));
        }
    }
    let note = Note {
        mbr: Mbr::parse(&mbr).unwrap_or(Mbr::new(&Default::default(), &[0; 440], 7)),
        cd: String::new(),
        set: None,
    };
    for at in [0, 2047] {
        match random.below(4) {
            0 => bytes[at * SECTOR..][..SECTOR].copy_from_slice(&note.to_sector()),
            1 => bytes[at * SECTOR..][..SECTOR / 2].copy_from_slice(&note.to_sector()[..SECTOR / 2]),
            _ => {}
        }
    }
    if random.below(4) > 0 {
        bytes[..SECTOR].copy_from_slice(&mbr);
    }
    for _ in 0..random.below(3) {
        let at = *random.pick(&[0, 1, 8, 64, 2048, 2049, 3000, 4095, 6144, 7000]) as usize * SECTOR;
        let mark: [u8; 8] = **random.pick(&[
            b"LUKS\xBA\xBE\0\x01",
            b"LABELONE",
            b"\xFC\x4E\x2B\xA9\x01\0\0\0",
            b"EFI PART",
            b"\0CD001\x01\0",
        ]);
        bytes[at..at + 8].copy_from_slice(&mark);
    }
    let mut machine = disk::machine(Sparse::of(&bytes), sectors);
    machine.over.word = sectors as u32;
    machine.over.sectors_where(|_| true)
}

#[test]
fn disks_at_random_are_somebodys() {
    let here = corpus("mbr-random");
    let mut random = Random::new(4);
    for n in 0..400 {
        let input = disk_at_random(&mut random);
        // It can be played again if it fails.
        fs::write(here.join("last"), &input).expect("target can be written");
        disk::mbr(&input);
        if n < 20 {
            fs::write(here.join(format!("random_{n}")), &input).expect("target can be written");
        }
    }
}

#[test]
fn cds_by_xorriso_and_by_knownstate_are_read_and_make_a_corpus() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    let (isos, images) = (corpus("iso9660"), corpus("image"));
    shell(folder, "mkdir -p cd/images/deeper; echo logic 1 >cd/logic.txt; seq 9000 >cd/images/system.img");
    shell(folder, "seq 90 >cd/mbr.bin; cp cd/mbr.bin cd/images/deeper/file; for n in $(seq 90); do : >cd/name$n; done");
    let options = ["", "-r -J", "-iso-level 3", "-iso-level 4 -U"];
    for (n, option) in options.iter().enumerate() {
        shell(folder, &format!("xorriso -as mkisofs {option} -o cd.iso cd >/dev/null 2>&1"));
        keep(&isos, "iso9660", &format!("xorriso {n}"), &cd_input(&fs::read(folder.join("cd.iso")).unwrap()));
    }
    for (name, set) in bases() {
        keep(&isos, "iso9660", name, &cd_input(&set.iso));
        for n in 0..2 {
            let (at, header, _) = set.image_file(n);
            let file = &set.iso[at..at + header.file_bytes as usize];
            let mut input = Sparse::<CD_SECTOR>::of(file);
            for (what, word) in [("as it is", 0), ("hashed", cd::HASHED)] {
                input.word = input.length as u32 | word;
                // The beginning, and some packs: libFuzzer likes short ones.
                let blocks = 1 + header.blocks() as u32;
                keep(&images, "image", &format!("{name} {n} {what}"), &input.sectors_where(|at| at < blocks + 12));
            }
            assert_eq!(header.form, Form::Image);
        }
    }
}

fn cd_input(iso: &[u8]) -> Vec<u8> {
    let mut machine = cd::machine(Sparse::of(iso), u64::MAX);
    cd::iso9660_on(&mut machine);
    machine.cd.sectors_where(|number| machine.cd_seen.contains(&u64::from(number)))
}

/// What whole starts begin with.
fn bases() -> Vec<(&'static str, Set)> {
    let figure4 = figure4_set(256, "-F 12", 256, "-t ext2");
    let default = figure4_set(256, "-F 12", 256, "-t ext4 -O ^has_journal").with_shipped("default.txt");
    FLOWS.into_iter().zip([figure4, default]).collect()
}

#[test]
fn whole_starts_begin_with_a_real_cd_and_a_restored_disk() {
    let (disks, cds) = (corpus("run"), corpus("run_cd"));
    let sets = bases();
    sets.iter().for_each(|(name, set)| leave_base(name, set));
    for (word, (name, set)) in (0_u32..).zip(sets) {
        let base = fuzz::start::Base::load(&Path::new("target/fuzz/base").join(name));
        let mut machine = base.machine();
        fuzz::start::start(&mut machine, &mut fuzz::start::memory());
        let input = |number: u64, bytes: &[u8]| {
            let number = (number as u32).to_le_bytes();
            [&word.to_le_bytes()[..], &number, bytes].concat()
        };
        for at in &machine.seen {
            keep(&disks, "run", &format!("{name} {at}"), &input(*at, &machine_sector(&base.disk, *at)));
        }
        let blank = |input: &[u8]| [&[input[0] | 2], &input[1..]].concat();
        for at in &machine.cd_seen {
            let sector = &base.cd[*at as usize * CD_SECTOR..][..CD_SECTOR];
            let one = input(*at, sector);
            keep(&cds, "run_cd", &format!("{name} {at}"), &one);
            keep(&cds, "run_cd", &format!("{name} {at} blank"), &blank(&one));
        }
        // States of every kind, which decide where a flow goes.
        for (n, lines) in states().iter().enumerate() {
            for partition in 0..2 {
                let at = set.state_at(partition);
                keep(&disks, "run", &format!("{name} state {n} {partition}"), &input(at, &record::sector(lines)));
            }
        }
        keep(&disks, "run", &format!("{name} no mbr"), &input(0, &[0; SECTOR]));
    }
}

fn machine_sector(disk: &[u8], at: u64) -> Vec<u8> {
    disk[at as usize * SECTOR..][..SECTOR].to_vec()
}

fn states() -> Vec<String> {
    let mut all = Vec::new();
    for p1 in ["OK", "Clean", "Dirty"] {
        for p2 in ["OK", "Clean", "Dirty"] {
            for (failures, restores) in [(0, 0), (2, 9), (7, 10)] {
                all.push(format!(
                    "sequence=9 booting=P1 P1={p1} P1.failures={failures} P1.crashes=0 P1.why=212~boot \
                     P2={p2} P2.failures={failures} P2.crashes=2 restores={restores}"
                ));
            }
        }
    }
    all
}

/// Leaves what `start::Base` loads.
fn leave_base(name: &str, set: &Set) {
    let folder = Path::new("target/fuzz/base").join(name);
    fs::create_dir_all(&folder).expect("target can be written");
    let write = |file: &str, bytes: &[u8]| fs::write(folder.join(file), bytes).expect("target can be written");
    let pc = set.restored();
    write("cd.iso", &set.iso);
    write("disk.img", &pc.disks[0].bytes(0..set.disk_sectors));
    let lines = |ranges: Vec<(u64, u64)>| ranges.iter().map(|(a, b)| format!("{a} {b}\n")).collect::<String>();
    write("allowed", lines(pc.disks[0].allowed.iter().map(|a| (a.start, a.end)).collect()).as_bytes());
    for n in 0..2 {
        let (_, _, entries) = set.image_file(n);
        let whole = entries.iter().filter(|e| e.protected && e.kind == Kind::Data);
        let start = set.places[n].0;
        write(&format!("protected.{n}"), lines(whole.map(|e| (start + e.first, start + e.end())).collect()).as_bytes());
    }
    // Last: whoever looks for the folder looks for this.
    write("logic.txt", set.logic.as_bytes());
}

#[test]
fn texts_that_ship_are_read_and_make_a_corpus() {
    let (states_of, logics) = (corpus("bstate"), corpus("logic"));
    for (n, lines) in states().iter().enumerate() {
        let one = record::sector(lines);
        let other = record::sector(&lines.replace("sequence=9", "sequence=10").replace("P1=OK", "P1=Dirty"));
        let edited = record::padded("P1=OK\r\n restores = 3\r\nP2 = clean\r\nunknown\r\n");
        for (what, copies) in [("one", vec![one]), ("two", vec![one, other]), ("edited", vec![one, edited, other])] {
            let input = [&[u8::from(n % 3 == 0)], copies.concat().as_slice()].concat();
            keep(&states_of, "bstate", &format!("{n} {what}"), &input);
        }
    }
    for file in fs::read_dir("iso/logic").expect("it is there").map(|f| f.expect("it can be listed").path()) {
        let text = fs::read(&file).expect("it can be read");
        logic::parse(std::str::from_utf8(&text).unwrap()).expect("a shipped logic.txt is right");
        keep(&logics, "logic", &file.file_name().unwrap().to_string_lossy(), &text);
    }
    for (n, line) in ["partition A on b start 1 sectors 2 type 0c protect a \"b c\" tools d", "hold \"x", "wait 4 else"]
        .iter()
        .enumerate()
    {
        keep(&logics, "logic", &format!("line {n}"), format!("logic 1\ndisk b sectors 9..\n{line}\n").as_bytes());
    }
}

/// Inputs that broke something once: `tests/fuzz/regressions/TARGET/`.
#[test]
fn what_broke_something_once_breaks_nothing_now() {
    let mut replayed = 0;
    for (target, run) in TARGETS {
        let folder = Path::new("tests/fuzz/regressions").join(target);
        for file in fs::read_dir(&folder).into_iter().flatten().map(|file| file.expect("it can be listed").path()) {
            println!("{}", file.display());
            run(&fs::read(&file).expect("it can be read"));
            replayed += 1;
        }
    }
    assert!(replayed > 0, "nothing is committed");
}
