//! Finding bstate.txt's sector: in filesystems that mkfs.fat, mtools, mke2fs and debugfs made, where
//! the file's own bytes tell where it is; and in damaged ones, where nothing may go out of bounds.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::hostile::{Random, damage};
use common::images::{ext, fat, find, put};
use common::tools::{self, shell};
use knownstate_core::machine::IoError;
use knownstate_core::media::filesystem::{FileStart, Filesystem, FsError, Volume};
use knownstate_core::units::{Offset, SECTOR, SectorCount};

/// An image in memory that counts what is read from it.
struct Bytes<'a> {
    data: &'a [u8],
    reads: usize,
    /// Which sectors were read.
    seen: BTreeSet<usize>,
}

impl Volume for Bytes<'_> {
    fn length(&self) -> SectorCount {
        SectorCount((self.data.len() / SECTOR) as u64)
    }

    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        self.reads += 1;
        assert!(self.reads < 50_000, "reads without end");
        assert!(into.len().is_multiple_of(SECTOR), "a read of {} bytes", into.len());
        let from = usize::try_from(at.0).unwrap().checked_mul(SECTOR).ok_or(IoError::OutOfRange)?;
        let end = from.checked_add(into.len()).ok_or(IoError::OutOfRange)?;
        into.copy_from_slice(self.data.get(from..end).ok_or(IoError::OutOfRange)?);
        self.seen.extend(from / SECTOR..end / SECTOR);
        Ok(())
    }
}

fn look(data: &[u8]) -> (Result<(&'static str, FileStart), FsError>, BTreeSet<usize>) {
    let mut volume = Bytes { data, reads: 0, seen: BTreeSet::new() };
    let found =
        Filesystem::open(&mut volume).and_then(|fs| fs.find(&mut volume, "bstate.txt").map(|start| (fs.name(), start)));
    (found, volume.seen)
}

fn found(data: &[u8]) -> Result<(&'static str, FileStart), FsError> {
    look(data).0
}

/// 4096 bytes like no others, `text` at the beginning.
fn content(text: &str) -> Vec<u8> {
    let mut random = Random::new(text.len() as u64 + 77);
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize_with(4096, || b'a' + random.below(26) as u8);
    bytes
}

/// The only sector of the image where the file's 512 first bytes stand.
fn sector_of(image: &[u8], content: &[u8]) -> u64 {
    let is = |(_, sector): &(usize, &[u8])| *sector == &content[..SECTOR];
    let all: Vec<usize> = image.chunks(SECTOR).enumerate().filter(is).map(|(n, _)| n).collect();
    assert_eq!(all.len(), 1, "the content stands at sectors {all:?}");
    all[0] as u64
}

/// Checks an image that has bstate.txt with this content.
fn agrees(name: &str, image: &Path, kind: &str, content: &[u8]) {
    let bytes = fs::read(image).unwrap();
    let at = Offset(sector_of(&bytes, content));
    assert_eq!(found(&bytes), Ok((kind, FileStart { at, bytes: 4096 })), "{name}");
}

/// Files in the root directory, in a folder to copy from: names short and long, some with content.
fn crowd(folder: &Path, files: usize, long: usize) -> String {
    let crowd = folder.join(format!("crowd-{files}-{long}"));
    if !crowd.exists() {
        fs::create_dir(&crowd).unwrap();
        for n in 0..files {
            let name = if n % 10 < long {
                format!("a rather long name for a file, number {n:05}")
            } else {
                format!("f{n:05}")
            };
            fs::write(crowd.join(name), vec![b'.'; n % 3 * 300]).unwrap();
        }
    }
    crowd.display().to_string()
}

#[test]
fn the_sector_in_a_fat_is_where_the_file_stands() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    let kinds = [
        (1440, "-F 12 -r 512", "FAT12"),
        (720, "-F 12 -s 2 -f 1 -r 512", "FAT12"),
        (4096, "-F 12 -s 4 -h 2048", "FAT12"),
        (8192, "-F 16 -s 2", "FAT16"),
        (20_000, "-F 16 -s 1 -f 1 -R 7", "FAT16"),
        (65_536, "-F 16 -s 16 -r 1024", "FAT16"),
        (34_000, "-F 32 -s 1", "FAT32"),
        (68_000, "-F 32 -s 2 -f 1", "FAT32"),
        (270_000, "-F 32 -s 8 -n BOOT", "FAT32"),
    ];
    for (kib, options, kind) in kinds {
        fs::write(folder.join("content"), content("KEEP")).unwrap();
        fs::write(folder.join("old"), content("GONE AND DELETED")).unwrap();
        let crowd = crowd(folder, 150, 1);
        let histories = [
            ("alone", "".to_string()),
            ("last of many", format!("mcopy -i x.img {crowd}/* ::")),
            ("after deleted ones", format!("mcopy -i x.img {crowd}/* ::; mdel -i x.img '::f000*'")),
            (
                "written anew",
                "mcopy -i x.img old ::bstate.txt; mcopy -i x.img old ::tail; mdel -i x.img ::bstate.txt ::tail".into(),
            ),
            ("behind a label of that name", "mlabel -i x.img '::BSTATE  TXT'".into()),
        ];
        for (history, script) in histories {
            fat(folder, "x.img", kib, options);
            shell(folder, &format!("{script}\nmcopy -i x.img content ::bstate.txt"));
            let name = format!("{kind} of {kib} KiB, mkfs.fat {options}, bstate.txt {history}");
            agrees(&name, &folder.join("x.img"), kind, &content("KEEP"));
        }
        // First of many: what comes later does not move it.
        fat(folder, "x.img", kib, options);
        shell(folder, &format!("mcopy -i x.img content ::BSTATE.TXT; mcopy -i x.img {crowd}/* ::"));
        agrees(&format!("{kind} {options}: first of many"), &folder.join("x.img"), kind, &content("KEEP"));
    }
}

#[test]
fn the_root_directory_of_a_fat32_may_be_long_and_in_pieces() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    fat(folder, "x.img", 34_000, "-F 32 -s 1");
    // Each directory sector holds 16 entries; the files' content comes between them.
    let crowd = crowd(folder, 1200, 2);
    put(folder, "x.img", "zzz", &content("ANOTHER"));
    shell(folder, &format!("mcopy -i x.img {crowd}/* ::"));
    put(folder, "x.img", "bstate.txt", &content("KEEP"));
    agrees("1200 files in a FAT32", &folder.join("x.img"), "FAT32", &content("KEEP"));
    let sectors = look(&fs::read(folder.join("x.img")).unwrap()).1;
    assert!(sectors.len() > 100, "the directory was meant to be long: {} sectors read", sectors.len());
}

/// The sector of the file's first block, as debugfs has it.
fn sector_by_debugfs(folder: &Path, image: &str) -> u64 {
    let number = |script: &str| {
        let said = shell(folder, script);
        let digits: String = said.trim().chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or_else(|_| panic!("`{script}` says {said}"))
    };
    let block = number(&format!("debugfs -R 'bmap bstate.txt 0' {image} 2>/dev/null"));
    let size = number(&format!("dumpe2fs -h {image} 2>/dev/null | sed -n 's/^Block size: *//p'"));
    block * size / SECTOR as u64
}

#[test]
fn the_sector_in_an_ext_is_where_the_file_stands() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    let many = crowd(folder, 900, 3);
    let kinds = [
        (2048, "-t ext2 -b 1024"),
        (4096, "-t ext2 -b 2048 -I 128"),
        (8192, "-t ext2 -b 4096"),
        (1024, "-r 0 -b 1024"),
        (12_288, "-t ext3 -b 1024"),
        (12_288, "-t ext3 -b 4096 -I 512"),
        (12_288, "-t ext4 -b 1024"),
        (12_288, "-t ext4 -b 2048"),
        (24_576, "-t ext4 -b 4096"),
        (12_288, "-t ext4 -O 64bit,metadata_csum"),
        (12_288, "-t ext4 -O ^64bit,^metadata_csum,uninit_bg"),
        (12_288, "-t ext4 -O ^64bit -I 128"),
        (12_288, "-t ext4 -O ^extent,^64bit"),
        (12_288, "-t ext4 -O ^flex_bg,^resize_inode -g 2048 -b 1024"),
        (12_288, "-t ext4 -O metadata_csum_seed,ea_inode,large_dir,project"),
        (12_288, "-t ext4 -O encrypt,verity"),
        (12_288, "-t ext4 -O ^has_journal,sparse_super2,^dir_index"),
        (40_960, "-t ext4 -b 4096 -O bigalloc -C 16384"),
        (12_288, "-t ext4 -O inline_data -I 256"),
    ];
    for (kib, options) in kinds {
        for (history, populate, indexed) in [
            ("alone", String::new(), false),
            ("last of many", format!("-d {many}"), false),
            ("in a hashed directory", format!("-d {many}"), true),
        ] {
            if kib < 4096 && !populate.is_empty() {
                continue;
            }
            ext(folder, "x.img", kib, &format!("{options} -N 2048 {populate}"));
            put(folder, "x.img", "bstate.txt", &content("KEEP"));
            if indexed {
                // Exit code 1: something was changed, namely the directory.
                shell(folder, "e2fsck -fyD x.img >/dev/null 2>&1 || test $? = 1");
            }
            shell(folder, "e2fsck -fn x.img >e2fsck.log 2>&1 || { cat e2fsck.log; exit 1; }");
            let name = format!("mke2fs {options}, {kib} KiB, bstate.txt {history}");
            agrees(&name, &folder.join("x.img"), "ext2/3/4", &content("KEEP"));
            let bytes = fs::read(folder.join("x.img")).unwrap();
            assert_eq!(sector_by_debugfs(folder, "x.img"), found(&bytes).unwrap().1.at.0, "{name}: debugfs differs");
        }
    }
}

#[test]
fn a_directory_in_many_pieces_is_read_to_its_end() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    for (name, options) in [("extents", "-t ext4 -b 1024 -O ^metadata_csum"), ("indirect blocks", "-t ext2 -b 1024")] {
        ext(folder, "x.img", 12_288, &format!("{options} -N 2048"));
        // Four of these names fill a block of the directory to the last byte, and the files' blocks come
        // between, so that each block is a piece of its own. The first name fills the first block.
        fs::write(folder.join("content"), content("OTHER")).unwrap();
        let names = (1..600).map(|n| format!("write content {n:0>248}\n"));
        fs::write(folder.join("script"), format!("write content {:0>204}\n{}", 0, names.collect::<String>())).unwrap();
        shell(folder, "debugfs -w -f script x.img >/dev/null 2>&1");
        put(folder, "x.img", "bstate.txt", &content("KEEP"));
        shell(folder, "e2fsck -fn x.img >e2fsck.log 2>&1 || { cat e2fsck.log; exit 1; }");
        agrees(name, &folder.join("x.img"), "ext2/3/4", &content("KEEP"));
    }
}

#[test]
fn what_cannot_be_read_safely_is_refused_by_name() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    let features = FsError::Unsupported("s_feature_incompat has an unknown bit");
    for options in ["-t ext4 -O meta_bg,^resize_inode", "-t ext4 -O casefold"] {
        ext(folder, "x.img", 12_288, options);
        put(folder, "x.img", "bstate.txt", &content("KEEP"));
        assert_eq!(found(&fs::read(folder.join("x.img")).unwrap()), Err(features), "{options}");
    }
    let flags = FsError::Unsupported("file is inline, encrypted, compressed, immutable or journalled");
    for flag in ["0x10", "0x4000", "0x80800", "0x90000"] {
        ext(folder, "x.img", 12_288, "-t ext4");
        put(folder, "x.img", "bstate.txt", &content("KEEP"));
        shell(folder, &format!("debugfs -w -R 'set_inode_field bstate.txt flags {flag}' x.img 2>/dev/null"));
        let expected = if flag == "0x90000" { None } else { Some(flags) };
        assert_eq!(found(&fs::read(folder.join("x.img")).unwrap()).err(), expected, "i_flags {flag}");
    }
}

#[test]
fn a_file_that_is_too_short_or_missing_or_none_is_said_to_be() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    for (name, make) in [("fat", fat as fn(&Path, &str, u64, &str)), ("ext", ext)] {
        let fresh = || make(folder, "x.img", 2048, if name == "fat" { "-F 12" } else { "-t ext2" });
        let result = || found(&fs::read(folder.join("x.img")).unwrap()).map(|(_, start)| start.bytes);
        fresh();
        assert_eq!(result(), Err(FsError::NotFound), "{name}: no file");
        put(folder, "x.img", "bstate.txt", &content("KEEP")[..511]);
        assert_eq!(result(), Err(FsError::Corrupt("file is shorter than one sector")), "{name}: 511 bytes");
        fresh();
        put(folder, "x.img", "bstate.txt", &content("KEEP")[..512]);
        assert_eq!(result(), Ok(512), "{name}: 512 bytes");
        fresh();
        put(folder, "x.img", "bstate.tx", &content("KEEP"));
        assert_eq!(result(), Err(FsError::NotFound), "{name}: a name that is nearly it");
        fresh();
        let mkdir = if name == "fat" {
            "mmd -i x.img ::bstate.txt"
        } else {
            "debugfs -w -R 'mkdir bstate.txt' x.img 2>/dev/null"
        };
        shell(folder, mkdir);
        assert!(result().is_err(), "{name}: a directory is no file");
    }
    for (name, bytes) in [
        ("zeros", vec![0; 1 << 20]),
        ("nothing", vec![]),
        ("one sector", vec![0; 512]),
        ("text", b"knownstate ".repeat(5000)),
    ] {
        let bytes = &bytes[..bytes.len() / SECTOR * SECTOR];
        assert!(found(bytes).is_err(), "{name}");
    }
}

/// An image with bstate.txt, as bytes.
fn image(folder: &Path, kib: u64, options: &str) -> Vec<u8> {
    let make = if options.contains("-t ext") { ext } else { fat };
    make(folder, "x.img", kib, options);
    put(folder, "x.img", "before", &content("BEFORE"));
    put(folder, "x.img", "bstate.txt", &content("KEEP"));
    fs::read(folder.join("x.img")).unwrap()
}

#[test]
fn no_damage_makes_the_search_panic_or_leave_the_volume() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    let kinds = [
        (1440, "-F 12"),
        (8192, "-F 16 -s 2"),
        (34_000, "-F 32 -s 1"),
        (70_000, "-F 32 -s 2"),
        (1024, "-t ext2 -b 1024"),
        (8192, "-t ext4 -b 1024"),
        (16_384, "-t ext4 -b 4096 -O 64bit,metadata_csum"),
        (8192, "-t ext4 -O inline_data -I 256"),
    ];
    for (kib, options) in kinds {
        let good = image(folder, kib, options);
        let (result, seen) = look(&good);
        result.unwrap_or_else(|e| panic!("{options}: {e}"));
        let seen: Vec<usize> = seen.into_iter().collect();
        let (mut kept, mut refused) = (0, 0);
        let mut bytes = good.clone();
        for seed in 1..=4000 {
            damage(&mut Random::new(seed), &mut bytes, &seen, SECTOR);
            let verdict = std::panic::catch_unwind(|| found(&bytes));
            match verdict.unwrap_or_else(|_| panic!("{options}: seed {seed} replays this")) {
                Ok((_, start)) => {
                    let inside = start.at.0 < (bytes.len() / SECTOR) as u64 && start.bytes >= 512;
                    assert!(inside, "{options}, seed {seed}: {start:?} is outside the volume");
                    kept += 1;
                }
                Err(_) => refused += 1,
            }
            for &sector in &seen {
                bytes[sector * SECTOR..][..SECTOR].copy_from_slice(&good[sector * SECTOR..][..SECTOR]);
            }
        }
        assert!(kept > 50 && refused > 50, "{options}: {kept} found, {refused} refused: the damage is one-sided");
    }
}

/// A directory that never ends, in clusters as large as they come: it is given up after 2 MiB.
#[test]
fn a_directory_that_bites_its_own_tail_is_given_up() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    fat(folder, "x.img", 540_000, "-F 32 -s 16");
    let mut bytes = fs::read(folder.join("x.img")).unwrap();
    let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (reserved, fat_sectors, root) = (usize::from(bytes[14]), field(0x24), field(0x2C));
    let data = (reserved + 2 * fat_sectors) * SECTOR + (root - 2) * 16 * SECTOR;
    let entry = reserved * SECTOR + root * 4;
    // Full of deleted files, and its own successor.
    for slot in 0..16 * SECTOR / 32 {
        bytes[data + slot * 32] = 0xE5;
    }
    bytes[entry..entry + 4].copy_from_slice(&(root as u32).to_le_bytes());
    let mut volume = Bytes { data: &bytes, reads: 0, seen: BTreeSet::new() };
    let fs = Filesystem::open(&mut volume).unwrap();
    let result = fs.find(&mut volume, "bstate.txt");
    assert_eq!(result, Err(FsError::Corrupt("a directory's cluster chain is a loop")));
    assert!(volume.reads < 6000, "{} reads of a directory that can't be longer than 4096 sectors", volume.reads);
}

/// One changed field, at a place in the image; and the error that it has to lead to.
struct Fault {
    at: usize,
    bytes: Vec<u8>,
    error: FsError,
}

/// Each fault alone has to lead to its error, and the image without it to none.
fn provoke(name: &str, good: &[u8], faults: Vec<Fault>) {
    assert!(found(good).is_ok(), "{name}: {:?}", found(good));
    for fault in faults {
        let mut bytes = good.to_vec();
        bytes[fault.at..fault.at + fault.bytes.len()].copy_from_slice(&fault.bytes);
        assert_ne!(bytes, good, "{name}: the change at {} is none", fault.at);
        assert_eq!(found(&bytes).err(), Some(fault.error), "{name}: {:02X?} at byte {}", fault.bytes, fault.at);
    }
}

fn corrupt(at: usize, bytes: &[u8], field: &'static str) -> Fault {
    Fault { at, bytes: bytes.to_vec(), error: FsError::Corrupt(field) }
}

#[test]
fn each_damaged_field_of_a_fat_is_named() {
    let temporary = tools::temporary();
    let fat16 = image(temporary.path(), 8192, "-F 16 -s 2");
    let fat16_entry = find(&fat16, b"BSTATE  TXT");
    let table = usize::from(fat16[14]) * SECTOR;
    let unallocated = "file's cluster is not allocated";
    let unknown = |at: usize, byte: u8| Fault { at, bytes: vec![byte], error: FsError::Unknown };
    let first = usize::from(u16::from_le_bytes([fat16[fat16_entry + 26], fat16[fat16_entry + 27]]));
    provoke(
        "FAT16",
        &fat16,
        vec![
            corrupt(0x0E, &[0, 0], "BPB_RsvdSecCnt is 0"),
            corrupt(0x10, &[3], "BPB_NumFATs is neither 1 nor 2"),
            corrupt(0x13, &[0xFF, 0xFF], "BPB_TotSec does not fit the partition"),
            corrupt(0x13, &[0, 0], "BPB_TotSec does not fit the partition"),
            corrupt(0x16, &[0xFF, 0xFF], "BPB_FATSz does not fit the volume"),
            corrupt(0x16, &[0, 0], "BPB_FATSz does not fit the volume"),
            corrupt(table, &[0], "FAT[0] does not repeat BPB_Media"),
            corrupt(0x11, &[0, 0], "BPB_RootEntCnt does not fit the cluster count"),
            corrupt(fat16_entry + 26, &[0, 0], unallocated),
            corrupt(fat16_entry + 26, &[1, 0], unallocated),
            corrupt(fat16_entry + 26, &[0xF0, 0xFF], unallocated),
            corrupt(table + first * 2, &[0, 0], unallocated),
            corrupt(fat16_entry + 28, &[0xFF, 1], "file is shorter than one sector"),
            unknown(0, 0),
            unknown(0x0B, 1),
            unknown(0x0D, 3),
            unknown(0x15, 0xF1),
            Fault { at: fat16_entry, bytes: vec![0xE5], error: FsError::NotFound },
            Fault { at: fat16_entry + 11, bytes: vec![0x10], error: FsError::NotFound },
            Fault { at: fat16_entry + 11, bytes: vec![0x08], error: FsError::NotFound },
        ],
    );

    let fat32 = image(temporary.path(), 34_000, "-F 32 -s 1");
    let table = usize::from(fat32[14]) * SECTOR;
    let chain = "a directory's cluster chain";
    provoke(
        "FAT32",
        &fat32,
        vec![
            corrupt(0x11, &[16, 0], "BPB_RootEntCnt does not fit the cluster count"),
            corrupt(0x2C, &[0], chain),
            corrupt(0x2C, &[0xFF, 0xFF, 0xFF], chain),
            corrupt(SECTOR, &[0], "FSInfo signatures"),
            corrupt(SECTOR + 0x1E4, &[0], "FSInfo signatures"),
            corrupt(table, &[0], "FAT[0] does not repeat BPB_Media"),
        ],
    );
}

#[test]
fn each_damaged_field_of_an_ext_is_named() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    let ext4 = image(folder, 8192, "-t ext4 -b 1024 -O 64bit");
    // `imap` says: "located at block 42, offset 0x0b00".
    let inode = |file: &str| {
        let said = shell(folder, &format!("debugfs -R 'imap {file}' x.img 2>/dev/null"));
        let (block, offset) = said.split_once("at block ").unwrap().1.trim().split_once(", offset 0x").unwrap();
        block.parse::<usize>().unwrap() * 1024 + usize::from_str_radix(offset, 16).unwrap()
    };
    let (root, file) = (inode("/"), inode("bstate.txt"));
    let entry = find(&ext4, b"bstate.txt");
    let superblock = |at: usize| 1024 + at;
    let block = "a block number is a hole or outside the filesystem";
    provoke(
        "ext4",
        &ext4,
        vec![
            Fault { at: superblock(0x38), bytes: vec![0], error: FsError::Unknown },
            Fault {
                at: superblock(0x60),
                bytes: vec![0xFF],
                error: FsError::Unsupported("s_feature_incompat has an unknown bit"),
            },
            corrupt(superblock(0x3A), &[3], "s_state: errors were detected"),
            corrupt(superblock(0x18), &[7], "s_log_block_size"),
            corrupt(superblock(0x04), &[0xFF; 4], "s_blocks_count does not fit the partition"),
            corrupt(superblock(0x04), &[0; 4], "s_blocks_count does not fit the partition"),
            corrupt(superblock(0x150), &[1], "s_blocks_count does not fit the partition"),
            corrupt(superblock(0x58), &[0, 0], "s_inode_size"),
            corrupt(superblock(0x58), &[0, 8], "s_inode_size"),
            corrupt(superblock(0x58), &[0x81, 0], "s_inode_size"),
            corrupt(superblock(0xFE), &[16], "s_desc_size"),
            corrupt(superblock(0x28), &[0; 4], "s_inodes_per_group or s_blocks_per_group is 0"),
            corrupt(superblock(0x20), &[0; 4], "s_inodes_per_group or s_blocks_per_group is 0"),
            corrupt(superblock(0x14), &[2], "s_first_data_block"),
            corrupt(superblock(0), &[1, 0, 0, 0], "an inode number"),
            corrupt(2048 + 8, &[0xFF; 4], block),
            corrupt(2048 + 8, &[0; 4], block),
            corrupt(root, &[0, 0x81], "inode 2 is no directory"),
            corrupt(root + 0x28, &[0], "eh_magic"),
            corrupt(root + 0x28 + 6, &[9], "eh_depth"),
            corrupt(root + 0x28 + 2, &[0], "a hole in the file"),
            corrupt(root + 0x28 + 12, &[1], "a hole in the file"),
            corrupt(entry - 8, &[0xFF; 4], "an inode number"),
            corrupt(file, &[0, 0x41], "no regular file"),
            corrupt(file + 0x28 + 16, &[1, 0x80], "an unwritten extent in the file"),
            corrupt(file + 0x28 + 20, &[0xFF; 4], block),
            corrupt(file + 4, &[0xFF, 1, 0, 0], "file is shorter than one sector"),
            Fault { at: entry, bytes: vec![b'B'], error: FsError::NotFound },
        ],
    );

    let ext2 = image(folder, 1024, "-t ext2 -b 1024");
    let (root, file) = (inode("/"), inode("bstate.txt"));
    provoke(
        "ext2",
        &ext2,
        vec![
            corrupt(root + 0x28, &[0xFF; 4], block),
            corrupt(file + 0x28, &[0; 4], block),
            corrupt(file + 0x28, &[0xFF; 4], block),
        ],
    );
}
