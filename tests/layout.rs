//! What filesystems have allocated: compared with what mshowfat, dumpe2fs and debugfs say, and shown by
//! destroying all the rest; which bytes change without any file's content changing; damaged filesystems.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use common::hostile::{Random, damage};
use common::images::{ext, fat};
use common::tools::{self, run_in, shell};
use knownstate_core::layout::{Layout, Run};
use knownstate_core::machine::IoError;
use knownstate_core::media::filesystem::{Filesystem, FsError, Volume};
use knownstate_core::media::kind::Kind;
use knownstate_core::units::{Offset, SECTOR, SectorCount};
use sha2::{Digest, Sha256};

/// An image in memory that counts what is read from it.
struct Bytes<'a> {
    data: &'a [u8],
    reads: usize,
    limit: usize,
    seen: BTreeSet<usize>,
}

impl<'a> Bytes<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, reads: 0, limit: 1_000_000, seen: BTreeSet::new() }
    }
}

impl Volume for Bytes<'_> {
    fn length(&self) -> SectorCount {
        SectorCount((self.data.len() / SECTOR) as u64)
    }

    fn read(&mut self, at: Offset, into: &mut [u8]) -> Result<(), IoError> {
        self.reads += 1;
        assert!(self.reads < self.limit, "reads without end");
        let from = usize::try_from(at.0).unwrap().checked_mul(SECTOR).ok_or(IoError::OutOfRange)?;
        let end = from.checked_add(into.len()).ok_or(IoError::OutOfRange)?;
        into.copy_from_slice(self.data.get(from..end).ok_or(IoError::OutOfRange)?);
        self.seen.extend(from / SECTOR..end / SECTOR);
        Ok(())
    }
}

fn layout(name: &str, data: &[u8]) -> Layout {
    let layout = Layout::of(&mut Bytes::new(data)).unwrap_or_else(|e| panic!("{name}: {e}"));
    is_sound(name, &layout);
    layout
}

/// Sorted, without overlaps, inside, joined where they are alike.
fn is_sound(name: &str, layout: &Layout) {
    for pair in layout.runs.windows(2) {
        let ([before, after], alike) = ([pair[0], pair[1]], |r: &Run| (r.kind, r.owner, r.volatile));
        assert!(before.end() <= after.first, "{name}: {before:?} {after:?} overlap");
        let joined = before.end() < after.first || alike(&before) != alike(&after);
        assert!(joined, "{name}: {before:?} {after:?} are one");
    }
    assert!(layout.runs.iter().all(|run| run.sectors > 0), "{name}: an empty run");
    assert!(layout.runs.last().is_none_or(|run| run.end() <= layout.sectors), "{name}: a run outside");
    let known = |owner: u32| (owner as usize) < layout.owners.len();
    assert!(layout.runs.iter().filter_map(|run| run.owner).all(known), "{name}: an unknown owner");
}

/// The sectors of some runs.
fn sectors<'a>(runs: impl IntoIterator<Item = &'a Run>) -> BTreeSet<u64> {
    runs.into_iter().flat_map(|run| run.first..run.end()).collect()
}

/// The sectors of a path, its own alone where it is a directory.
fn sectors_of(layout: &Layout, path: &str) -> BTreeSet<u64> {
    sectors(layout.runs.iter().filter(|run| layout.owner(run) == Some(path)))
}

/// Both sets, or what only one of them has.
fn same(what: &str, ours: &BTreeSet<u64>, theirs: &BTreeSet<u64>) {
    let only = |a: &BTreeSet<u64>, b: &BTreeSet<u64>| a.difference(b).copied().take(20).collect::<Vec<_>>();
    assert!(ours == theirs, "{what}: only here {:?}, only there {:?}", only(ours, theirs), only(theirs, ours));
}

/// A folder of files to be copied: every length that is special, names long and not ASCII, folders in
/// folders, a folder with more entries than a block holds.
fn tree(folder: &Path) {
    let mut random = Random::new(5);
    let mut file = |path: &str, bytes: usize| {
        let path = folder.join("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, (0..bytes).map(|_| random.next() as u8).collect::<Vec<u8>>()).unwrap();
    };
    let lengths =
        [("empty", 0), ("one", 1), ("SECTOR.BIN", 512), ("bstate.txt", 4096), ("seal.0", 9000), ("large", 310_000)];
    let boot = [("boot/vmlinuz", 70_000), ("boot/initrd.img", 100), ("boot/syslinux/ldlinux.sys", 6000)];
    for (name, bytes) in lengths.into_iter().chain(boot) {
        file(name, bytes);
    }
    file("boot/grub/a rather long name with späce and 漢字.conf", 2500);
    file("deep/er/and/deeper/still/Mixed Case.Text", 100);
    for n in 0..150 {
        file(&format!("many/entry number {n}"), n % 5 * 600);
    }
}

/// Small files with gaps between them, then a file that has to fill the gaps.
fn fragments(folder: &Path) {
    fs::create_dir(folder.join("small")).unwrap();
    for n in 0..40 {
        fs::write(folder.join(format!("small/s{n:02}")), vec![n as u8; 1700]).unwrap();
    }
    fs::write(folder.join("pieces"), (0..90_000_u32).map(|n| (n / 7) as u8).collect::<Vec<u8>>()).unwrap();
}

/// Overwrites every sector that is in no run.
fn scribble(image: &mut [u8], layout: &Layout) {
    let mut random = Random::new(99);
    let used = sectors(&layout.runs);
    for (n, sector) in image.chunks_mut(SECTOR).enumerate() {
        if !used.contains(&(n as u64)) {
            let filler = random.next() as u8;
            sector.fill(filler);
        }
    }
}

/// A root file's places by the loader's reader: the same sectors, and the file's content in order.
fn extents_agree(name: &str, image: &[u8], layout: &Layout, file: &str, content: &[u8]) {
    let mut volume = Bytes::new(image);
    let map = Filesystem::open(&mut volume).unwrap().extents(&mut volume, file);
    let map = map.unwrap_or_else(|e| panic!("{name}, {file}: {e}"));
    assert_eq!(map.bytes, content.len() as u64, "{name}, {file}");
    let mut read: Vec<u8> = Vec::new();
    for &(at, sectors) in &map.runs {
        read.extend(&image[at.0 as usize * SECTOR..(at.0 + sectors) as usize * SECTOR]);
    }
    assert_eq!(read.len(), content.len().next_multiple_of(SECTOR), "{name}, {file}");
    assert!(read.starts_with(content), "{name}, {file}: other content");
    let own = sectors_of(layout, &format!("/{file}"));
    assert!(map.runs.iter().all(|(at, n)| (at.0..at.0 + n).all(|s| own.contains(&s))), "{name}, {file}: other places");
}

/// FAT's tables read anew: the cluster entries of the first FAT, and where the clusters begin.
fn clusters(image: &[u8]) -> (Vec<u32>, u64, u64) {
    let byte = |at: usize| u32::from(image[at]);
    let word = |at: usize| byte(at) | byte(at + 1) << 8;
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let or = |small: u32, large: u32| if small == 0 { large } else { small };
    let (fat_sectors, total) = (or(word(22), long(36)), or(word(19), long(32)));
    let (per_cluster, first) = (byte(13), word(14) + byte(16) * fat_sectors + word(17) / 16);
    let count = (total - first) / per_cluster;
    let table = word(14) as usize * SECTOR;
    let entry = |n: usize| match count {
        0..4085 => word(table + n * 3 / 2) >> (n % 2 * 4) & 0xFFF,
        4085..65525 => word(table + n * 2),
        _ => long(table + n * 4) & 0x0FFF_FFFF,
    };
    ((0..count as usize + 2).map(entry).collect(), u64::from(first), u64::from(per_cluster))
}

#[test]
fn a_fat_is_what_mtools_sees() {
    let kinds = [
        (1440, "-F 12 -r 512"),
        (1440, "-F 12 -s 4 -f 1"),
        (40_000, "-F 12 -s 64"),
        (8192, "-F 16 -s 2 -f 1"),
        (20_000, "-F 16 -s 1 -R 7"),
        (140_000, "-F 16 -s 64"),
        (34_000, "-F 32 -s 1"),
        (68_000, "-F 32 -s 2 -f 1"),
        (270_000, "-F 32 -s 8 -n BOOT"),
    ];
    for (kib, options) in kinds {
        let temporary = tools::temporary();
        let folder = temporary.path();
        tree(folder);
        fragments(folder);
        fat(folder, "x.img", kib, options);
        shell(folder, "mcopy -s -i x.img tree/* ::; mcopy -i x.img small/* ::; mdel -i x.img '::s?[13579]'");
        if options.contains("32") {
            // FSI_Nxt_Free: look for free clusters from the beginning again.
            shell(folder, r"printf '\2\0\0\0' | dd of=x.img bs=1 seek=1004 conv=notrunc 2>/dev/null");
        }
        shell(folder, "mcopy -i x.img small/s01 ::/gone; mcopy -i x.img pieces ::; mdel -i x.img ::gone");
        let mut image = fs::read(folder.join("x.img")).unwrap();
        let layout = layout(options, &image);
        fat_agrees(folder, options, &image, &layout);
        // A chain that no directory knows, and a bad cluster.
        let (table, first, per_cluster) = clusters(&image);
        let free: Vec<usize> = (2..table.len()).rev().filter(|n| table[*n] == 0).take(2).collect();
        let end = *table.iter().max().unwrap();
        set_entry(&mut image, &table, free[0], end | 7);
        set_entry(&mut image, &table, free[1], end & !0xF | 7);
        let more = self::layout(options, &image);
        let lost: Vec<u64> = sectors(&more.runs).difference(&sectors(&layout.runs)).copied().collect();
        let start = first + (free[0] as u64 - 2) * per_cluster;
        assert_eq!(lost, (start..start + per_cluster).collect::<Vec<_>>(), "{options}: a lost cluster, not a bad one");
        assert!(more.runs.iter().any(|r| (r.first, r.owner, r.volatile) == (start, None, false)), "{options}");
        // All the rest is nobody's.
        image = fs::read(folder.join("x.img")).unwrap();
        scribble(&mut image, &layout);
        fs::write(folder.join("x.img"), &image).unwrap();
        shell(folder, "fsck.fat -n x.img >fsck.log || { cat fsck.log; exit 1; }");
        shell(folder, "mkdir back; mcopy -s -n -i x.img '::/*' back");
        shell(folder, "mkdir want; cp -r tree/. small/s?[02468] pieces want; diff -r want back");
    }
}

/// Sets a cluster's entry in the first FAT.
fn set_entry(image: &mut [u8], table: &[u32], cluster: usize, value: u32) {
    let start = usize::from(u16::from_le_bytes([image[14], image[15]])) * SECTOR;
    match table.len() - 2 {
        0..4085 => {
            let (at, shift) = (start + cluster * 3 / 2, cluster % 2 * 4);
            let old = u16::from_le_bytes([image[at], image[at + 1]]);
            let new = old & !(0xFFF << shift) | (value as u16 & 0xFFF) << shift;
            image[at..at + 2].copy_from_slice(&new.to_le_bytes());
        }
        4085..65525 => image[start + cluster * 2..][..2].copy_from_slice(&(value as u16).to_le_bytes()),
        _ => image[start + cluster * 4..][..4].copy_from_slice(&value.to_le_bytes()),
    }
}

fn fat_agrees(folder: &Path, options: &str, image: &[u8], layout: &Layout) {
    let (table, first, per_cluster) = clusters(image);
    let place = |cluster: u64| first + (cluster - 2) * per_cluster..first + (cluster - 1) * per_cluster;
    let used = (2..table.len()).filter(|n| table[*n] != 0).flat_map(|n| place(n as u64));
    same(options, &sectors(&layout.runs), &(0..first).chain(used).collect());
    assert!(layout.runs.iter().all(|run| run.owner.is_some()), "{options}: something has no owner");
    let serial = if options.contains("32") { 0x43 } else { 0x27 };
    assert_eq!(layout.volume_id[..4], image[serial..serial + 4], "{options}: the serial number");

    let listed = shell(folder, "mdir -/ -a -b -i x.img ::");
    let paths: Vec<&str> = listed.lines().map(|line| line.trim_start_matches("::").trim_end_matches('/')).collect();
    assert!(paths.len() > 170, "{options}: {} paths", paths.len());
    let ours: BTreeSet<&str> = layout.owners.iter().filter_map(|o| o.strip_prefix('/')).collect();
    let theirs: BTreeSet<&str> = paths.iter().map(|path| &path[1..]).chain([""]).collect();
    assert_eq!(ours, theirs, "{options}: paths");
    for path in paths {
        let said = run_in(folder, "mshowfat", &["-i", "x.img", &format!("::{path}")]).out;
        let ranges = said.split('<').skip(1).filter_map(|piece| piece.split('>').next());
        let range = |text: &str| {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            from.parse::<u64>().unwrap()..=to.parse::<u64>().unwrap()
        };
        let theirs: BTreeSet<u64> = ranges.flat_map(range).flat_map(place).collect();
        same(&format!("{options}: {path}"), &sectors_of(layout, path), &theirs);
        assert!(layout.has(&path.to_uppercase()), "{options}: {path} in capitals");
    }
    for (file, source) in
        [("large", "tree/large"), ("pieces", "pieces"), ("seal.0", "tree/seal.0"), ("empty", "tree/empty")]
    {
        extents_agree(options, image, layout, file, &fs::read(folder.join(source)).unwrap());
    }
    assert!(layout.files("pieces").len() > 1, "{options}: one file was meant to be in pieces");
    changes_by_itself(options, layout, &["/bstate.txt", "/seal.0"]);
    let boot: BTreeSet<u64> = sectors(layout.boot_loader().iter().map(|n| &layout.runs[*n]));
    let reserved = 0..u64::from(u16::from_le_bytes([image[14], image[15]]));
    same(options, &boot, &reserved.chain(sectors_of(layout, "/boot/syslinux/ldlinux.sys")).collect());
    let below = sectors(layout.files("BOOT/").iter().map(|n| &layout.runs[*n]));
    let parts =
        ["/boot", "/boot/vmlinuz", "/boot/initrd.img", "/boot/syslinux", "/boot/syslinux/ldlinux.sys", "/boot/grub"];
    let conf = "/boot/grub/a rather long name with späce and 漢字.conf";
    same(options, &below, &parts.iter().chain([&conf]).flat_map(|p| sectors_of(layout, p)).collect());
}

/// Exactly these owners' sectors change by themselves.
fn changes_by_itself(name: &str, layout: &Layout, owners: &[&str]) {
    let volatile = layout.runs.iter().filter(|run| run.volatile);
    let found: BTreeSet<&str> = volatile.map(|run| layout.owner(run).unwrap_or("nobody")).collect();
    assert_eq!(found, owners.iter().copied().collect(), "{name}: what changes by itself");
    let all = layout.runs.iter().filter(|run| layout.owner(run).is_some_and(|o| owners.contains(&o)));
    assert!(all.into_iter().all(|run| run.volatile), "{name}: only a part of it changes by itself");
}

/// What dumpe2fs says of the groups: blocks in use, without the inode tables' unused ends.
fn blocks_by_dumpe2fs(folder: &Path) -> (BTreeSet<u64>, u64) {
    let said = shell(folder, "dumpe2fs x.img 2>/dev/null");
    let number = |name: &str| -> Option<u64> {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().parse().unwrap())
    };
    let block = number("Block size:").unwrap();
    let inode = number("Inode size:").unwrap_or(128);
    let per_group = number("Inodes per group:").unwrap();
    let mut used: BTreeSet<u64> = (0..number("Block count:").unwrap()).collect();
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        from.trim().parse::<u64>().unwrap()..=to.trim().parse::<u64>().unwrap()
    };
    let mut table = 0;
    for line in said.lines() {
        if let Some(place) = line.trim().strip_prefix("Inode table at ") {
            table = *range(place.split(' ').next().unwrap()).start();
        }
        if let Some((_, unused)) = line.strip_suffix(" unused inodes").and_then(|l| l.rsplit_once(", ")) {
            let blocks = |inodes: u64| (inodes * inode).div_ceil(block);
            let from = table + blocks(per_group - unused.parse::<u64>().unwrap());
            (from..table + blocks(per_group)).for_each(|b| _ = used.remove(&b));
        }
        if let Some(free) = line.strip_prefix("  Free blocks: ") {
            let free = free.split(',').filter(|text| !text.trim().is_empty());
            free.flat_map(range).for_each(|b| _ = used.remove(&b));
        }
    }
    (used, block / SECTOR as u64)
}

#[test]
fn an_ext_is_what_e2fsprogs_sees() {
    let kinds = [
        (12_288, "-t ext2 -b 1024", ""),
        (12_288, "-t ext2 -b 1024 -O ^sparse_super,^resize_inode -g 1024", ""),
        (12_288, "-t ext2 -b 2048 -I 128", ""),
        (16_384, "-t ext2 -b 4096 -r 0", ""),
        (16_384, "-t ext3 -b 1024", "journal"),
        (16_384, "-t ext3 -b 4096 -I 512", "journal"),
        (16_384, "-t ext4 -b 1024", "journal"),
        (16_384, "-t ext4 -b 2048 -I 1024", "journal"),
        (40_960, "-t ext4 -b 4096", "journal"),
        (20_480, "-t ext4 -b 1024 -O ^64bit,^metadata_csum,uninit_bg", "journal"),
        (20_480, "-t ext4 -b 1024 -O ^flex_bg,^resize_inode -g 2048", "journal"),
        (20_480, "-t ext4 -b 1024 -O ^has_journal,sparse_super2,^resize_inode", ""),
        (20_480, "-t ext4 -b 1024 -O sparse_super2,64bit,metadata_csum_seed", "journal"),
        (20_480, "-t ext4 -b 1024 -O inline_data,ea_inode,large_dir,project -I 256", "journal"),
        (20_480, "-t ext4 -b 1024 -O quota,orphan_file,mmp", "journal,quota,orphan file,multiple mount protection"),
        (20_480, "-t ext4 -b 1024 -O ^extent,^64bit -E lazy_itable_init=0", "journal"),
    ];
    for (kib, options, changing) in kinds {
        let temporary = tools::temporary();
        let folder = temporary.path();
        tree(folder);
        fragments(folder);
        let large = ["^extent", "ext2", "ext3"].iter().any(|old| options.contains(old)) && !options.contains("4096");
        let more = if large { "dd if=/dev/urandom of=tree/holes bs=1k seek=70000 count=5 2>/dev/null" } else { ":" };
        shell(folder, &format!("ln tree/large tree/second; ln -s {0:0>100} tree/far; ln -s near tree/near; {more}", 1));
        ext(folder, "x.img", kib, &format!("{options} -N 1024 -d tree"));
        let script = (0..40).map(|n| format!("write small/s{n:02} s{n:02}\n")).collect::<String>();
        let script = script + &(0..20).map(|n| format!("rm s{:02}\n", n * 2)).collect::<String>();
        fs::write(folder.join("script"), script + "write pieces pieces\nea_set pieces user.a b\nmknod pipe p\n")
            .unwrap();
        fs::write(folder.join("long"), "x".repeat(700)).unwrap();
        shell(
            folder,
            "debugfs -w -f script x.img >/dev/null 2>&1; debugfs -w -R 'ea_set -f long large user.b' x.img 2>&1",
        );
        if options.contains("quota") || options.contains("dir") {
            // The tools above don't count quotas; and directories get hash trees.
            for options in ["-fyD", "-fy"] {
                shell(folder, &format!("e2fsck {options} x.img >fsck.log 2>&1 || test $? = 1 || cat fsck.log"));
            }
        }
        shell(folder, "e2fsck -fn x.img >fsck.log 2>&1 || { cat fsck.log; exit 1; }");
        let mut image = fs::read(folder.join("x.img")).unwrap();
        let layout = layout(options, &image);
        let changing: Vec<&str> = changing.split(',').filter(|c| !c.is_empty()).collect();
        ext_agrees(folder, options, &image, &layout);
        changes_by_itself(options, &layout, &[&["/bstate.txt", "/seal.0"], &changing[..]].concat());

        let dump = |to: &str| {
            shell(folder, &format!("mkdir {to}; debugfs -R 'rdump / {to}' x.img 2>/dev/null; rm -rf {to}/lost+found"));
        };
        dump("before");
        // debugfs can't read files back that are in their inodes.
        if !options.contains("inline_data") {
            shell(
                folder,
                "mkdir want; cp -rP tree/. small/s?[13579] pieces want; diff -r --no-dereference want before",
            );
        }
        scribble(&mut image, &layout);
        fs::write(folder.join("x.img"), &image).unwrap();
        shell(folder, "e2fsck -fn x.img >fsck.log 2>&1 || { cat fsck.log; exit 1; }");
        dump("after");
        shell(folder, "diff -r --no-dereference before after");
    }
}

fn ext_agrees(folder: &Path, options: &str, image: &[u8], layout: &Layout) {
    let (used, block) = blocks_by_dumpe2fs(folder);
    let places = |blocks: &mut dyn Iterator<Item = u64>| -> BTreeSet<u64> {
        blocks.flat_map(|b| b * block..(b + 1) * block).collect()
    };
    same(options, &sectors(&layout.runs), &places(&mut used.into_iter()));
    assert_eq!(layout.volume_id[..], image[1024 + 0x68..1024 + 0x78], "{options}: the UUID");

    let owners: Vec<&str> = layout.owners.iter().map(String::as_str).filter(|owner| owner.starts_with('/')).collect();
    let script: String = owners.iter().map(|path| format!("blocks \"{path}\"\n")).collect();
    fs::write(folder.join("blocks"), script).unwrap();
    let said = shell(folder, "debugfs -f blocks x.img 2>/dev/null | grep -v ^debugfs:");
    for (path, line) in owners.iter().zip(said.lines()) {
        let theirs = places(&mut line.split_whitespace().map(|n| n.parse().unwrap()));
        same(&format!("{options}: {path}"), &sectors_of(layout, path), &theirs);
    }
    assert_eq!(owners.len(), said.lines().count(), "{options}: debugfs has said something else");
    // Each file that was copied is known by its path; links that are short have nothing to own.
    let copied = shell(folder, "cd tree; find . -mindepth 1 ! -name near | cut -c2-");
    let inline = |path: &&str| *path == "/far" && options.contains("inline_data");
    let missing: Vec<&str> = copied.lines().filter(|path| !layout.has(path) && !inline(path)).collect();
    assert_eq!(missing, [""; 0], "{options}: paths that are missing");
    for name in ["large", "second"] {
        let own: BTreeSet<u64> = sectors(layout.files(name).iter().map(|n| &layout.runs[*n]));
        assert!(own.len() >= 310_000 / SECTOR, "{options}: {name}, the same file by two names");
    }
    assert!(!layout.has("nothing") && !layout.has("/bstate.tx") && !layout.has("BOOT"), "{options}");
    let unowned: Vec<&Run> = layout.runs.iter().filter(|run| run.owner.is_none()).collect();
    assert!(unowned.is_empty(), "{options}: nobody's: {unowned:?}");
    for (file, source) in [("large", "tree/large"), ("pieces", "pieces"), ("seal.0", "tree/seal.0")] {
        extents_agree(options, image, layout, file, &fs::read(folder.join(source)).unwrap());
    }
    let boot: BTreeSet<u64> = sectors(layout.boot_loader().iter().map(|n| &layout.runs[*n]));
    same(options, &boot, &(0..2).chain(sectors_of(layout, "/boot/syslinux/ldlinux.sys")).collect());
}

/// One hash for each owner and kind over what counts.
fn hashes(layout: &Layout, image: &[u8]) -> BTreeMap<(Option<String>, Kind), [u8; 32]> {
    let mut hashes: BTreeMap<_, Sha256> = BTreeMap::new();
    for run in layout.runs.iter().filter(|run| !run.volatile) {
        let mut bytes = image[run.first as usize * SECTOR..run.end() as usize * SECTOR].to_vec();
        run.kind.blank(&mut bytes);
        hashes.entry((layout.owner(run).map(str::to_string), run.kind)).or_default().update(bytes);
    }
    hashes.into_iter().map(|(key, hash)| (key, hash.finalize().into())).collect()
}

/// What differs between two images, by the first one's layout.
fn differences(layout: &Layout, before: &[u8], after: &[u8]) -> Vec<(Option<String>, Kind)> {
    let (before, after) = (hashes(layout, before), hashes(layout, after));
    before.into_iter().filter(|(key, hash)| after.get(key) != Some(hash)).map(|(key, _)| key).collect()
}

/// Mounts x.img at m and runs the script; whether this machine lets us.
fn mounted(folder: &Path, script: &str) -> bool {
    let sudo = if run_in(folder, "id", &["-u"]).out.trim() == "0" { "" } else { "sudo -n " };
    if run_in(folder, "sh", &["-c", &format!("mkdir -p m; {sudo}mount -o loop x.img m")]).code != 0 {
        return false;
    }
    let ran = run_in(folder, "sh", &["-euc", script]);
    // The lazy initialisation of inode tables begins soon after a mount, and shall be part of it.
    shell(folder, &format!("sync; {sudo}umount m"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    true
}

#[test]
fn using_an_ext_without_changing_a_file_changes_nothing_that_counts() {
    for options in [
        "-t ext2 -b 1024",
        "-t ext2 -b 4096 -I 128",
        "-t ext3 -b 1024 -I 512",
        "-t ext4 -b 1024",
        "-t ext4 -b 4096 -O 64bit,metadata_csum",
        "-t ext4 -b 1024 -O ^64bit,^metadata_csum,uninit_bg -E lazy_itable_init=1",
        "-t ext4 -b 2048 -O quota,orphan_file -I 1024",
    ] {
        let temporary = tools::temporary();
        let folder = temporary.path();
        tree(folder);
        ext(folder, "x.img", 40_960, &format!("{options} -d tree"));
        // The first full check sorts directories that mke2fs -d has left as they came.
        shell(folder, "e2fsck -fyD x.img >fsck.log 2>&1 || test $? = 1 || { cat fsck.log; exit 1; }");
        let before = fs::read(folder.join("x.img")).unwrap();
        let layout = layout(options, &before);
        let unchanged = |when: &str| {
            let after = fs::read(folder.join("x.img")).unwrap();
            assert_eq!(differences(&layout, &before, &after), [], "{options}: {when}");
            assert_ne!(
                hashes_without_blanks(&layout, &before),
                hashes_without_blanks(&layout, &after),
                "{options}: {when}"
            );
            assert_eq!(self::layout(options, &after).runs, layout.runs, "{options}: {when}: other runs");
        };
        let use_it = "cat m/large m/boot/vmlinuz >/dev/null; ls m/many >/dev/null; touch -a m/one
            printf other | dd of=m/bstate.txt conv=notrunc,fsync 2>/dev/null; sleep 2";
        if mounted(folder, use_it) {
            unchanged("mounted, read, bstate.txt overwritten, unmounted");
            // A copy that is taken while it is mounted is what a crash leaves.
            assert!(mounted(folder, &format!("{use_it}; cp x.img crashed")));
            unchanged("the same again");
            shell(folder, "cp crashed x.img");
            unchanged("crashed");
            shell(folder, "e2fsck -p x.img >fsck.log 2>&1 || test $? = 1 || { cat fsck.log; exit 1; }");
            unchanged("crashed and mended");
        } else {
            eprintln!("can't mount here: the changes are made with debugfs");
            shell(
                folder,
                "debugfs -w -R 'sif large atime 20300101' x.img; debugfs -w -R 'sif bstate.txt mtime 20300101' x.img 2>&1",
            );
            shell(
                folder,
                "debugfs -w -R 'ssv mtime 20300101' x.img; debugfs -w -R 'ssv last_mounted /m' x.img; tune2fs -C 7 x.img",
            );
            unchanged("changed with debugfs");
        }
        shell(folder, "e2fsck -fp x.img >fsck.log 2>&1 || test $? = 1 || { cat fsck.log; exit 1; }");
        unchanged("checked");
    }
}

fn hashes_without_blanks(layout: &Layout, image: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for run in layout.runs.iter().filter(|run| !run.volatile) {
        hash.update(&image[run.first as usize * SECTOR..run.end() as usize * SECTOR]);
    }
    hash.finalize().into()
}

/// This machine may have no vfat, so what Linux's writes when it is mounted and bstate.txt is overwritten
/// is written here: `fat_set_state`, `__fat_write_inode`, `fat_clusters_flush`.
#[test]
fn using_a_fat_without_changing_a_file_changes_nothing_that_counts() {
    for (kib, options, state) in [(1440, "-F 12", 0x25), (8192, "-F 16 -s 2", 0x25), (34_000, "-F 32 -s 1", 0x41)] {
        let temporary = tools::temporary();
        let folder = temporary.path();
        tree(folder);
        fat(folder, "x.img", kib, options);
        shell(folder, "mcopy -s -i x.img tree/* ::");
        let before = fs::read(folder.join("x.img")).unwrap();
        let layout = layout(options, &before);
        let mut after = before.clone();
        after[state] |= 1;
        let directories = layout.runs.iter().filter(|run| run.kind == Kind::FatDirectory).copied();
        let entries: Vec<usize> =
            directories.flat_map(|r| (r.first as usize * SECTOR..r.end() as usize * SECTOR).step_by(32)).collect();
        assert!(entries.len() > 300, "{options}");
        for &at in entries.iter().filter(|at| before[**at] != 0 && before[**at + 11] != 0x0F) {
            after[at + 11] ^= 0x20;
            after[at + 13..at + 20].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7]);
            after[at + 22..at + 26].copy_from_slice(&[8, 9, 10, 11]);
        }
        let table = usize::from(before[14]) * SECTOR;
        match state {
            0x41 => {
                after[SECTOR + 0x1E8..SECTOR + 0x1F0].copy_from_slice(&[0xFF; 8]);
                after[table + 7] ^= 0x0C;
            }
            _ if options.contains("16") => after[table + 3] ^= 0xC0,
            _ => {}
        }
        let bstate = sectors_of(&layout, "/bstate.txt");
        bstate.iter().for_each(|s| after[*s as usize * SECTOR..][..SECTOR].fill(b'!'));
        assert_eq!(differences(&layout, &before, &after), [], "{options}");
        // The same bytes of a long name's part do count: they are letters.
        let long = *entries.iter().find(|at| before[**at + 11] == 0x0F).unwrap();
        for byte in [14, 22] {
            let mut after = before.clone();
            after[long + byte] ^= 1;
            assert_eq!(differences(&layout, &before, &after).len(), 1, "{options}: byte {byte} of a long name");
        }
    }
}

/// In each kind of sector, exactly the bits that the table in `kind.rs` lists do not count; written here
/// a second time, from the specifications: record length, then byte ranges and single bytes' masks.
#[test]
fn all_other_bits_count() {
    type Bits = (Kind, usize, &'static [(usize, usize)], &'static [(usize, u8)]);
    type Case<'a> = (Bits, &'a dyn Fn(&mut [u8]));
    let inode: &[(usize, usize)] = &[(8, 20), (36, 40), (124, 126), (130, 132), (132, 144), (152, 156)];
    let fat32 = |sector: &mut [u8]| sector[22..24].fill(0);
    let plain = |_: &mut [u8]| {};
    let extra = |sector: &mut [u8]| {
        (0..SECTOR).step_by(256).for_each(|at| sector[at + 128..at + 130].copy_from_slice(&[32, 0]))
    };
    let no_extra = |sector: &mut [u8]| {
        (0..SECTOR).step_by(256).for_each(|at| sector[at + 128..at + 130].copy_from_slice(&[12, 0]))
    };
    let long = |sector: &mut [u8]| (0..SECTOR).step_by(32).for_each(|at| sector[at + 11] = 0x0F);
    let short = |sector: &mut [u8]| (0..SECTOR).step_by(32).for_each(|at| sector[at + 11] = 0x20);
    let cases: Vec<Case> = vec![
        ((Kind::Data, 512, &[], &[]), &plain),
        ((Kind::FatBoot, 512, &[(0x25, 0x26)], &[]), &plain),
        ((Kind::FatBoot, 512, &[(0x41, 0x42)], &[]), &fat32),
        ((Kind::FatInfo, 512, &[(488, 496)], &[]), &plain),
        ((Kind::Fat16Table, 512, &[], &[(3, 0xC0)]), &plain),
        ((Kind::Fat32Table, 512, &[], &[(7, 0x0C)]), &plain),
        ((Kind::FatDirectory, 32, &[(13, 20), (22, 26)], &[(11, 0x20)]), &short),
        ((Kind::FatDirectory, 32, &[], &[]), &long),
        (
            (
                Kind::ExtSuperblock,
                512,
                &[
                    (12, 20),
                    (44, 54),
                    (58, 60),
                    (64, 68),
                    (0x88, 0xC8),
                    (0xE8, 0xEC),
                    (0x158, 0x15C),
                    (0x178, 0x180),
                    (0x194, 512),
                ],
                &[(0x60, 4), (0x66, 1)],
            ),
            &plain,
        ),
        ((Kind::ExtSuperblockEnd, 512, &[(0x48, 0x4C), (0x74, 0x76), (0x77, 0x7C), (0x1FC, 512)], &[]), &plain),
        ((Kind::ExtDescriptors32, 32, &[(30, 32)], &[(0x12, 4)]), &plain),
        ((Kind::ExtDescriptors64, 64, &[(30, 32)], &[(0x12, 4)]), &plain),
        ((Kind::ExtInodes128, 128, &inode[..3], &[]), &plain),
        ((Kind::ExtInodes256, 256, inode, &[]), &extra),
        ((Kind::ExtInodes256, 256, &[(8, 20), (36, 40), (124, 126), (130, 140)], &[]), &no_extra),
        ((Kind::ExtInodes512, 512, inode, &[]), &extra),
    ];
    for ((kind, record, ranges, masks), prepare) in cases {
        let mut sector = [0x55; SECTOR];
        prepare(&mut sector);
        let blanked = |mut bytes: [u8; SECTOR]| {
            kind.blank(&mut bytes);
            bytes
        };
        for bit in 0..SECTOR * 8 {
            let (at, mask) = (bit / 8, 1_u8 << (bit % 8));
            let mut changed = sector;
            changed[at] ^= mask;
            let place = at % record;
            // Whether an entry is a long name's, and how far an inode reaches, is told by these.
            let tells = matches!(kind, Kind::FatDirectory) && place == 11 && mask != 0x20
                || matches!(kind, Kind::ExtInodes256 | Kind::ExtInodes512) && (128..130).contains(&place);
            let free = ranges.iter().any(|(from, to)| (*from..*to).contains(&place))
                || masks.iter().any(|(byte, bits)| *byte == place && bits & mask != 0);
            let counts = blanked(changed) != blanked(sector);
            assert_eq!(counts, !free || tells, "{kind:?}: bit {} of byte {at:X}h", bit % 8);
        }
        assert_eq!(Kind::from_byte(kind as u8), Some(kind), "{kind:?}: its number");
    }
    assert_eq!(Kind::from_byte(13), None);
}

#[test]
fn a_changed_bit_is_found_and_named_wherever_it_is() {
    let kinds = [
        (1440, "-F 12"),
        (8192, "-F 16 -s 2"),
        (34_000, "-F 32 -s 1"),
        (16_384, "-t ext4 -b 1024"),
        (16_384, "-t ext3 -b 4096 -I 128"),
    ];
    for (kib, options) in kinds {
        let temporary = tools::temporary();
        let folder = temporary.path();
        tree(folder);
        if options.contains("ext") {
            ext(folder, "x.img", kib, &format!("{options} -d tree"));
        } else {
            fat(folder, "x.img", kib, options);
            shell(folder, "mcopy -s -i x.img tree/* ::");
        }
        let image = fs::read(folder.join("x.img")).unwrap();
        let layout = layout(options, &image);
        let mut random = Random::new(3);
        let mut after = image.clone();
        for run in &layout.runs {
            let sector = (run.first + random.below(run.sectors as usize) as u64) as usize * SECTOR;
            // Byte 0 of a sector counts in each kind but a descriptor's or an inode's neighbour.
            after[sector] ^= 0x40;
            let found = differences(&layout, &image, &after);
            let expected = if run.volatile { vec![] } else { vec![(layout.owner(run).map(str::to_string), run.kind)] };
            assert_eq!(found, expected, "{options}: {run:?}");
            after[sector] ^= 0x40;
        }
    }
}

#[test]
fn no_damage_makes_the_layout_panic_or_never_end() {
    let kinds = [
        (1440, "-F 12"),
        (8192, "-F 16 -s 2"),
        (34_000, "-F 32 -s 1"),
        (4096, "-t ext2 -b 1024"),
        (8192, "-t ext4 -b 1024"),
        (16_384, "-t ext4 -b 4096 -O 64bit,metadata_csum"),
        (8192, "-t ext4 -b 1024 -O inline_data -I 256"),
    ];
    for (kib, options) in kinds {
        let temporary = tools::temporary();
        let folder = temporary.path();
        tree(folder);
        if options.contains("-t ext") {
            ext(folder, "x.img", kib, &format!("{options} -N 512 -d tree"));
        } else {
            fat(folder, "x.img", kib, options);
            shell(folder, "mcopy -s -i x.img tree/* ::");
        }
        let good = fs::read(folder.join("x.img")).unwrap();
        let mut volume = Bytes::new(&good);
        Layout::of(&mut volume).unwrap_or_else(|e| panic!("{options}: {e}"));
        let seen: Vec<usize> = volume.seen.into_iter().collect();
        let limit = volume.reads * 20 + 1000;
        let (mut kept, mut refused) = (0, 0);
        let mut bytes = good.clone();
        for seed in 1..=1500 {
            damage(&mut Random::new(seed), &mut bytes, &seen, SECTOR);
            let verdict = std::panic::catch_unwind(|| {
                let mut volume = Bytes { limit, ..Bytes::new(&bytes) };
                if let Ok(fs) = Filesystem::open(&mut volume) {
                    let _ = fs.extents(&mut volume, "large").map(|map| {
                        let length = (bytes.len() / SECTOR) as u64;
                        assert!(map.runs.iter().all(|(at, n)| at.0 + n <= length), "a piece outside");
                    });
                }
                Layout::of(&mut volume)
            });
            match verdict.unwrap_or_else(|_| panic!("{options}: seed {seed} replays this")) {
                Ok(layout) => {
                    is_sound(&format!("{options}, seed {seed}"), &layout);
                    kept += 1;
                }
                Err(_) => refused += 1,
            }
            for &sector in &seen {
                bytes[sector * SECTOR..][..SECTOR].copy_from_slice(&good[sector * SECTOR..][..SECTOR]);
            }
        }
        assert!(kept > 50 && refused > 50, "{options}: {kept} kept, {refused} refused: the damage is one-sided");
    }
}

#[test]
fn what_contradicts_itself_is_named() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    tree(folder);
    fat(folder, "x.img", 8192, "-F 16 -s 2");
    shell(folder, "mcopy -s -i x.img tree/* ::");
    let image = fs::read(folder.join("x.img")).unwrap();
    let (table, ..) = clusters(&image);
    let long: Vec<usize> = (2..table.len()).filter(|n| table[*n] as usize == n + 1).take(3).collect();
    let crossing = "a cluster chain is a loop, or crosses another";
    for (value, error) in [
        (2, crossing),
        (long[1] as u32, crossing),
        (0, "a cluster chain leads out of the table"),
        (0xFFF7, "a cluster chain leads out of the table"),
    ] {
        let mut bytes = image.clone();
        set_entry(&mut bytes, &table, long[1], value);
        assert_eq!(Layout::of(&mut Bytes::new(&bytes)), Err(FsError::Corrupt(error)), "entry {value:X}");
    }

    ext(folder, "x.img", 8192, "-t ext2 -b 1024 -d tree");
    let scripts = [
        ("freeb 700 3", "a file's block is free by the bitmap"),
        ("sif large block[0] 1", "a block belongs to two files"),
        ("sif large block[0] 9999", "a block number lies outside the filesystem"),
        ("link deep/er boot/again", "a directory has two names"),
        ("link one two", "i_links_count"),
    ];
    for (script, error) in scripts {
        shell(folder, "cp x.img y.img");
        for command in script.split("; ") {
            shell(folder, &format!("debugfs -w -R '{command}' y.img 2>/dev/null"));
        }
        let bytes = fs::read(folder.join("y.img")).unwrap();
        assert_eq!(Layout::of(&mut Bytes::new(&bytes)), Err(FsError::Corrupt(error)), "{script}");
    }
    for (options, feature) in
        [("-O bigalloc -C 4096", "bigalloc"), ("-O 64bit -E desc_size=128", "s_desc_size is over 64")]
    {
        ext(folder, "x.img", 16_384, &format!("-t ext4 -b 1024 {options}"));
        let bytes = fs::read(folder.join("x.img")).unwrap();
        assert_eq!(Layout::of(&mut Bytes::new(&bytes)), Err(FsError::Unsupported(feature)), "{options}");
    }
}

/// mke2fs and debugfs give a directory blocks as soon as i_block is full; Linux goes on in the inode's attributes.
#[test]
fn an_inline_directory_goes_on_behind_i_block() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    ext(folder, "x.img", 8192, "-t ext4 -b 1024 -O inline_data -I 256");
    let names = ["vmlinuz", "initrd.img", "syslinux", "grub"];
    let script = names.map(|name| format!("head -c 3000 /dev/zero >m/boot/{name}")).join("; ");
    if !mounted(folder, &format!("mkdir m/boot; {script}")) {
        eprintln!("can't mount here: nothing was tested");
        return;
    }
    let said = shell(folder, "debugfs -R 'stat /boot' x.img 2>/dev/null");
    assert!(said.contains("system.data (68)"), "the directory was meant to be inline: {said}");
    let layout = layout("inline", &fs::read(folder.join("x.img")).unwrap());
    for name in names {
        assert_eq!(sectors_of(&layout, &format!("/boot/{name}")).len(), 6, "{name}");
    }
}

/// What is nowhere on the volume can't be read from it: holes, extents that were never written, content in
/// the inode; and chains that don't hold what the length promises.
#[test]
fn a_file_that_is_not_all_there_has_no_places() {
    let temporary = tools::temporary();
    let folder = temporary.path();
    tree(folder);
    fs::write(folder.join("tree/short"), "short").unwrap();
    let places = |bytes: &[u8], file: &str| {
        let mut volume = Bytes { limit: 20_000, ..Bytes::new(bytes) };
        Filesystem::open(&mut volume).unwrap().extents(&mut volume, file).map(|map| map.runs.len())
    };
    let after = |script: &str, file: &str| {
        shell(folder, "cp x.img y.img");
        shell(folder, script);
        places(&fs::read(folder.join("y.img")).unwrap(), file)
    };
    let debugfs = |command: &str| format!("debugfs -w -R '{command}' y.img 2>&1");
    let outside = Err(FsError::Corrupt("a block number is a hole or outside the filesystem"));
    ext(folder, "x.img", 8192, "-t ext2 -b 1024 -d tree");
    assert_eq!(after(&debugfs("sif large block[3] 0"), "large"), outside, "a hole");
    assert_eq!(after(&debugfs("sif large block[IND] 0"), "large"), outside, "a hole of 256 blocks");
    assert_eq!(after(&debugfs("sif large block[DIND] 9999"), "large"), outside);
    let long = Err(FsError::Corrupt("i_size does not fit the filesystem"));
    assert_eq!(after(&debugfs("sif large size 99999999"), "large"), long);
    assert_eq!(after(&debugfs("sif large size 500000"), "large"), outside, "longer than its blocks");
    assert_eq!(places(&fs::read(folder.join("x.img")).unwrap(), "nothing"), Err(FsError::NotFound));

    ext(folder, "x.img", 8192, "-t ext4 -b 1024 -O inline_data -I 256 -d tree");
    let refused = FsError::Unsupported("file is inline, encrypted, compressed, immutable or journalled");
    assert_eq!(after("true", "short"), Err(refused));
    assert!(after("true", "large").is_ok());
    let (unwritten, hole) = ("an unwritten extent in the file", Err(FsError::Corrupt("a hole in the file")));
    fs::write(folder.join("script"), "fallocate large 303 320\nsif large size 320000\n").unwrap();
    assert_eq!(after("debugfs -w -f script y.img 2>&1", "large"), Err(FsError::Corrupt(unwritten)));
    assert_eq!(after(&debugfs("sif large size 320000"), "large"), hole);
    assert_eq!(after(&debugfs("punch large 100 110"), "large"), hole);

    fat(folder, "x.img", 8192, "-F 16 -s 2");
    shell(folder, "mcopy -s -i x.img tree/* ::");
    let image = fs::read(folder.join("x.img")).unwrap();
    let (table, first, per_cluster) = clusters(&image);
    let start = (sectors_of(&layout("FAT16", &image), "/large").first().unwrap() - first) / per_cluster + 2;
    let next = |value: u32| {
        let mut bytes = image.clone();
        set_entry(&mut bytes, &table, start as usize + 2, value);
        places(&bytes, "large")
    };
    let free = Err(FsError::Corrupt("file's cluster is not allocated"));
    assert_eq!((next(0), next(0xFFFF), next(0xFFF7)), (free, free, free));
    // A loop ends where the length does: the same clusters again and again.
    assert!(next(start as u32).is_ok_and(|pieces| pieces > 50));
}
