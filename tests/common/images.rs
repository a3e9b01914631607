//! Partition images by mkfs.fat and mke2fs, ISOs by `knownstate build`, and the disks that a flow
//! runs on.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use knownstate_core::logic;
use knownstate_core::media::iso9660::Iso;
use knownstate_core::table::unpack::{BUFFER_BYTES, Buffers};
use knownstate_core::table::{Entry, Header, Table};
use knownstate_core::units::SECTOR;

use super::machine::{Disk, Pc};
use super::record;
use super::tools::{self, shell, text};

/// A logic.txt, its images, and the ISO made of them.
#[derive(Clone)]
pub struct Set {
    pub iso: Arc<Vec<u8>>,
    /// Each partition's content as the CD has it; zeros where nothing is allocated.
    pub images: Vec<Arc<Vec<u8>>>,
    /// The sectors of each that are allocated.
    pub allocated: Vec<Arc<Vec<Range<u64>>>>,
    /// Each partition's first sector and its length in sectors.
    pub places: Vec<(u64, u64)>,
    pub disk_sectors: u64,
    /// logic.txt as it stands on the CD.
    pub logic: String,
}

impl Set {
    /// The sector in partition `n` (from 0) where bstate.txt begins, on the whole disk.
    pub fn state_at(&self, n: usize) -> u64 {
        self.places[n].0 + state_sector(&self.images[n])
    }

    /// The second place of a restore's note: the sector before the first partition.
    pub fn second_place(&self) -> u64 {
        self.places.iter().map(|(start, _)| start - 1).min().unwrap_or(0)
    }

    /// A machine with the CD and one blank disk, which may be written where logic.txt says.
    pub fn blank(&self) -> Pc {
        let mut disk = Disk::blank(0x80, self.disk_sectors);
        let partitions = self.places.iter().map(|&(start, sectors)| start..start + sectors);
        let note = self.second_place();
        disk.allowed = [0..1, note..note + 1].into_iter().chain(partitions).collect();
        Pc::new(self.iso.clone(), vec![disk])
    }

    /// A machine whose disk was restored.
    pub fn restored(&self) -> Pc {
        let mut pc = self.blank();
        pc.start();
        assert_eq!(pc.log().last(), Some(&"- restart = ok"), "a blank disk was not restored: {:#?}", pc.lines);
        // It was switched off since.
        pc.restores = 0;
        pc
    }

    /// The record on partition `n`.
    pub fn state(&self, pc: &Pc, n: usize) -> [u8; SECTOR] {
        pc.disks[0].sector(self.state_at(n))
    }

    /// Puts a record, or what is left of one, on partition `n`.
    pub fn put_state(&self, pc: &mut Pc, n: usize, sector: &[u8]) {
        pc.disks[0].poke(self.state_at(n) * SECTOR as u64, sector);
    }

    /// Where partition `n` differs from its image, bstate.txt's sector aside: the first such sector.
    pub fn difference(&self, pc: &Pc, n: usize) -> Option<u64> {
        let (start, image) = (self.places[n].0, &self.images[n]);
        let bytes = pc.disks[0].bytes(start..start + (image.len() / SECTOR) as u64);
        let state = state_sector(image);
        let sector = |bytes: &[u8], n: u64| bytes[n as usize * SECTOR..][..SECTOR].to_vec();
        let mut sectors = self.allocated[n].iter().cloned().flatten();
        sectors.find(|&n| n != state && sector(&bytes, n) != sector(image, n))
    }

    /// The same CD with another logic.txt, which only has to be no longer than the one it replaces.
    pub fn with_logic(&self, logic: &str) -> Self {
        let mut iso = self.iso.to_vec();
        let at = find(&iso, self.logic.as_bytes());
        assert!(logic.len() <= self.logic.len(), "logic.txt is too long to put in the old one's place");
        iso[at..at + self.logic.len()].fill(b'\n');
        iso[at..at + logic.len()].copy_from_slice(logic.as_bytes());
        let logic = String::from_utf8(iso[at..at + self.logic.len()].to_vec()).unwrap();
        Self { iso: Arc::new(iso), logic, ..self.clone() }
    }

    /// The byte of the ISO where partition `n`'s image begins, and the image's header and entries.
    pub fn image_file(&self, n: usize) -> (usize, Header, Vec<Entry>) {
        let path = logic::parse(&self.logic).unwrap();
        let path = path.image_path(path.partition_indexes().nth(n).unwrap()).unwrap();
        let mut pc = Pc::new(self.iso.clone(), vec![]);
        let cd = Iso::open(&mut pc).unwrap();
        let image = Table::on_cd(&mut pc, &cd, &path).unwrap();
        let (mut entries, mut cursor) = (Vec::new(), image.entries());
        while let Some(entry) = cursor.next(&mut pc).unwrap() {
            entries.push(entry);
        }
        (find(&self.iso, &image.header.to_sector()), image.header, entries)
    }

    /// The same CD with one byte changed: byte `at` of partition `n`'s image.
    pub fn with_damaged_image(&self, n: usize, at: usize) -> Self {
        let mut iso = self.iso.to_vec();
        iso[self.image_file(n).0 + at] ^= 0x10;
        Self { iso: Arc::new(iso), ..self.clone() }
    }

    /// The lines of its logic.txt that declare something.
    pub fn declarations(&self) -> String {
        self.logic.lines().filter(|l| l.contains("sectors")).map(|l| format!("{l}\n")).collect()
    }

    /// The same CD with the steps of another shipped logic.txt.
    pub fn with_shipped(&self, file: &str) -> Self {
        self.with_logic(&shipped(file, &self.declarations()))
    }

    /// The same CD with other bytes in the place of some that stand on it.
    pub fn with_damage(&self, old: &[u8], new: &[u8]) -> Self {
        let mut iso = self.iso.to_vec();
        let at = find(&iso, old);
        iso[at..at + new.len()].copy_from_slice(new);
        Self { iso: Arc::new(iso), ..self.clone() }
    }
}

/// Where `what` stands in `bytes` first.
pub fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|w| w == what).expect("the bytes looked for are not there")
}

/// The only sector of an image that begins as a record does.
pub fn state_sector(image: &[u8]) -> u64 {
    let mut found = image.chunks(SECTOR).enumerate().filter(|(_, s)| s.starts_with(b"sequence=")).map(|(n, _)| n);
    let (first, second) = (found.next(), found.next());
    assert!(second.is_none(), "the image has several records");
    first.expect("the image has no record") as u64
}

/// Figure 4 on a FAT image (P1) and an ext image (P2) of these sizes in KiB, made with these options.
pub fn figure4_set(fat_kib: u64, fat_options: &str, ext_kib: u64, ext_options: &str) -> Set {
    let temporary = tools::temporary();
    let folder = temporary.path();
    fat(folder, "fat.img", fat_kib, fat_options);
    ext(folder, "ext.img", ext_kib, ext_options);
    boot_code(folder, "ext.img");
    figure4_on(folder, [("fat.img", "06"), ("ext.img", "83")])
}

/// Figure 4 on these images and types, a record put in each.
pub fn figure4_on(folder: &Path, images: [(&str, &str); 2]) -> Set {
    let (mut declarations, mut places) = (String::new(), Vec::new());
    let mut start = 2048;
    for (n, (image, kind)) in images.into_iter().enumerate() {
        if n == 0 || images[0].0 != image {
            put_record(folder, image, &["P1", "P2"]);
        }
        let sectors = fs::metadata(folder.join(image)).unwrap().len() / SECTOR as u64;
        let line =
            format!("partition P{} on system start {start} sectors {sectors} type {kind} image {image}\n", n + 1);
        declarations.push_str(&line);
        places.push((start, sectors));
        start += sectors;
    }
    // A gap at the end, as on a disk that is a little larger than the system.
    let disk_sectors = start + 4096;
    let room = "# room for the logic.txt of other tests\n".repeat(100);
    let logic =
        format!("{}\n{room}", shipped("figure4.txt", &format!("disk system sectors {disk_sectors}\n{declarations}")));
    let iso = build(folder, &logic);
    let unpacked = images.iter().map(|(image, _)| unpack(&iso, &format!("images/{image}")));
    let (images, allocated) = unpacked.map(|(image, ranges)| (Arc::new(image), Arc::new(ranges))).unzip();
    Set { iso, images, allocated, places, disk_sectors, logic }
}

/// What an image on a CD holds, and which of its sectors are allocated.
pub fn unpack(iso: &Arc<Vec<u8>>, path: &str) -> (Vec<u8>, Vec<Range<u64>>) {
    let mut pc = Pc::new(iso.clone(), vec![]);
    let cd = Iso::open(&mut pc).unwrap();
    let image = Table::on_cd(&mut pc, &cd, path).unwrap();
    let mut content = vec![0; image.header.sectors.bytes() as usize];
    let mut memory: Box<[u8; BUFFER_BYTES]> = vec![0; BUFFER_BYTES].into_boxed_slice().try_into().unwrap();
    let mut buffers = Buffers::new(&mut memory);
    let (mut ranges, mut entries) = (Vec::new(), image.entries());
    while let Some(entry) = entries.next(&mut pc).unwrap() {
        let (chunk, _) = buffers.chunk(&mut pc, &image, &entry).unwrap();
        content[entry.first as usize * SECTOR..][..chunk.len()].copy_from_slice(chunk);
        ranges.push(entry.first..entry.end());
    }
    (content, ranges)
}

/// The folder `folder` with `logic.txt` and images in it, built into a CD.
pub fn build(folder: &Path, logic: &str) -> Arc<Vec<u8>> {
    fs::write(folder.join("logic.txt"), logic).unwrap();
    let iso = folder.join("cd.iso");
    let ran = tools::knownstate(&["build", text(&folder.join("logic.txt")), "-o", text(&iso)]);
    assert_eq!(ran.code, 0, "knownstate build failed:\n{}{}", ran.out, ran.err);
    Arc::new(fs::read(iso).unwrap())
}

/// A shipped logic.txt with other declarations.
pub fn shipped(file: &str, declarations: &str) -> String {
    let path = Path::new("iso/logic").join(file);
    let shipped = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let steps = &shipped[shipped.find("\n202 ").expect("a shipped logic.txt begins with step 202")..];
    format!("logic 1\n{declarations}\n{steps}")
}

/// A FAT image that mkfs.fat made: `options` as it takes them.
pub fn fat(folder: &Path, name: &str, kib: u64, options: &str) {
    shell(folder, &format!("rm -f {name}; mkfs.fat -C -i 4b534154 {options} {name} {kib} >/dev/null"));
}

/// An ext image that mke2fs made: `options` as it takes them.
pub fn ext(folder: &Path, name: &str, kib: u64, options: &str) {
    shell(folder, &format!("rm -f {name}; mke2fs -q -F {options} {name} {kib}k"));
}

/// Puts a file into the root directory of a FAT or an ext image.
pub fn put(folder: &Path, image: &str, name: &str, content: &[u8]) {
    fs::write(folder.join("content"), content).unwrap();
    let fat = fs::read(folder.join(image)).unwrap()[3..11].eq_ignore_ascii_case(b"mkfs.fat");
    let script = if fat {
        format!("mcopy -o -i {image} content ::{name}")
    } else {
        format!("debugfs -w -R 'write content {name}' {image} 2>&1")
    };
    shell(folder, &script);
}

/// Fake boot code in an ext image, whose first 1024 bytes are free for that: what extlinux would do.
pub fn boot_code(folder: &Path, name: &str) {
    let path = folder.join(name);
    let mut image = fs::read(&path).unwrap();
    image[..3].copy_from_slice(&[0xEB, 0xFE, 0x90]);
    image[510..512].copy_from_slice(&[0x55, 0xAA]);
    fs::write(path, image).unwrap();
}

/// Puts a record of P1 and P2, both OK, into images that shall be the CD's to the byte.
pub fn put_record(folder: &Path, image: &str, partitions: &[&str]) {
    let lines: String = partitions.iter().map(|p| format!("{p}=OK {p}.failures=0 {p}.crashes=0 ")).collect();
    put(folder, image, "bstate.txt", &record::file(&record::sector(&format!("sequence=0 {lines}restores=0"))));
}

/// A folder of files of every length that is special, in folders.
pub fn tree(folder: &Path) {
    let mut random = super::hostile::Random::new(11);
    let mut file = |path: &str, bytes: usize| {
        let path = folder.join("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Half of it repeats itself, so that packs of both kinds come of it.
        let content = (0..bytes).map(|n| if n % 8192 < 4096 { n as u8 } else { random.next() as u8 });
        fs::write(path, content.collect::<Vec<u8>>()).unwrap();
    };
    for (name, bytes) in
        [("empty", 0), ("one", 1), ("sector", 512), ("kernel", 200_000), ("a long name.config", 70_001)]
    {
        file(name, bytes);
    }
    file("sub/folder/deep", 3000);
    for n in 0..60 {
        file(&format!("sub/many/entry number {n}"), n % 7 * 700);
    }
    fs::write(folder.join("tree/zeros"), vec![0; 150_000]).unwrap();
}

/// Fills an image with the tree, twice, and takes the first one away, so that there are gaps.
pub fn fill(folder: &Path, image: &str) {
    if is_fat(folder, image) {
        shell(
            folder,
            &format!("mcopy -s -i {image} tree ::gone; mcopy -s -i {image} tree ::; mdeltree -i {image} ::gone"),
        );
    } else {
        let files = shell(folder, "find tree -type d -printf 'd %p\\n' -o -type f -printf 'f %p\\n' | sort");
        let mut script = String::from("mkdir gone\nwrite tree/kernel gone/kernel\n");
        for line in files.lines() {
            let (kind, path) = line.split_once(' ').unwrap();
            match kind {
                "d" => script.push_str(&format!("mkdir \"{path}\"\n")),
                _ => script.push_str(&format!("write \"{path}\" \"{path}\"\n")),
            }
        }
        script.push_str("rm gone/kernel\nrmdir gone\n");
        fs::write(folder.join("script"), script).unwrap();
        let said = shell(folder, &format!("debugfs -w -f script {image} 2>&1"));
        assert!(!said.contains("No free") && !said.contains("Could not"), "{image}: {said}");
    }
}

pub fn is_fat(folder: &Path, image: &str) -> bool {
    fs::read(folder.join(image)).unwrap()[3..11] == *b"mkfs.fat"
}
