//! Layouts made at random: tables by the owners' tools, contents in their entries, and what goes wrong with tables.

use std::path::Path;

use super::content::{ALL, Content, for_partition};
use super::file::{self, make, poke, resize, sectors};
use super::table::{self, Chain, EXTENDED, Entry, raw};
use crate::common::hostile::Random;
use crate::common::tools::{must, run, shell, text};

/// Types that people give to entries.
const KINDS: [u8; 14] = [0x83, 0x83, 0x83, 0x07, 0x07, 0x0C, 0x0B, 0x06, 0x82, 0x8E, 0xFD, 0xA5, 0xDA, 0xBF];

/// A layout in the making; what was done is noted.
pub struct Layout<'a> {
    pub random: &'a mut Random,
    pub disk: &'a Path,
    pub done: Vec<String>,
}

impl Layout<'_> {
    fn note(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }

    fn sectors(&self) -> u64 {
        sectors(self.disk)
    }

    /// One layout of any kind.
    pub fn any(&mut self) {
        match self.random.below(20) {
            0..=3 => self.whole(),
            4..=10 => self.dos(),
            11..=12 => self.gpt(),
            13 => self.label(),
            14..=15 => self.chain(),
            16 => self.remade(),
            17 => self.data(),
            18 => self.hybrid(),
            _ => self.one_over_all(),
        }
    }

    /// One owner has the whole disk, without a table.
    pub fn whole(&mut self) {
        let content = *self.random.pick(ALL);
        let all = self.sectors();
        self.put(&content, 0, all);
    }

    fn put(&mut self, content: &Content, start: u64, sectors: u64) {
        if content.least <= sectors {
            content.put(self.disk, start, sectors);
            self.note(format!("{} from {start}, {sectors} sectors", content.name));
        }
    }

    /// A content that fits such a place.
    fn content(&mut self, sectors: u64) -> Option<Content> {
        let fitting = for_partition(sectors);
        (!fitting.is_empty()).then(|| **self.random.pick(&fitting))
    }

    /// A table as one of the tools writes it, something in most of its entries, perhaps something wrong with it.
    pub fn dos(&mut self) {
        let places = self.places();
        match self.random.below(3) {
            0 => self.by_sfdisk(&places),
            1 => self.by_fdisk(&places),
            _ => self.by_parted(&places),
        }
        self.fill();
        for _ in 0..*self.random.pick(&[0, 0, 1, 1, 2]) {
            self.oddity();
        }
    }

    /// Where the entries lie: first sector, length, type.
    fn places(&mut self) -> Vec<(u64, u64, u8)> {
        let (all, count) = (self.sectors(), 1 + self.random.below(4));
        let mut at = *self.random.pick(&[63, 2048, 2048, 4096, 206_848, 411_648]);
        let mut places = Vec::new();
        for n in 0..count {
            let room = all - at;
            let rest = n + 1 == count && self.random.below(2) == 0;
            let size = *self.random.pick(&[8192, 20_480, 65_536, 204_800, 409_600, 614_400]);
            let size = if rest { room } else { size };
            if size <= room && size > 0 {
                places.push((at, size, *self.random.pick(&KINDS)));
                at += size + *self.random.pick(&[0, 0, 2048]);
            }
            if at >= all {
                break;
            }
        }
        places
    }

    /// The last of several may be a container with logical ones in it.
    fn by_sfdisk(&mut self, places: &[(u64, u64, u8)]) {
        let mut script = String::from("label: dos\n");
        for &(start, size, kind) in places {
            script.push_str(&format!("start={start}, size={size}, type={kind:x}\n"));
        }
        let last = places.last().filter(|p| p.1 >= 65_536 && places.len() > 1);
        if let Some(&(start, size, _)) = last.filter(|_| self.random.below(2) == 0) {
            let before = script.trim_end().rsplit_once('\n').map_or("", |(before, _)| before).to_string();
            let container = self.random.pick(&["5", "f", "85"]);
            script = format!(
                "{before}\nstart={start}, size={size}, type={container}\nstart={}, size=20480, type=83\n\
                start={}, size={}, type=83\n",
                start + 2048,
                start + 30_720,
                size - 30_720
            );
        }
        let said = pipe(self.disk, &script, "sfdisk -q --no-tell-kernel --wipe never --wipe-partitions never");
        self.note(format!("sfdisk{said}"));
    }

    fn by_fdisk(&mut self, places: &[(u64, u64, u8)]) {
        let mut keys = String::from("o\n");
        for (n, (start, size, kind)) in places.iter().enumerate() {
            let number = if n == 0 { String::new() } else { format!("{}\n", n + 1) };
            keys.push_str(&format!("n\np\n{}\n{start}\n{}\nt\n{number}{kind:x}\n", n + 1, start + size - 1));
        }
        keys.push_str("w\n");
        let said = pipe(self.disk, &keys, "fdisk --wipe never --wipe-partitions never");
        self.note(format!("fdisk{said}"));
    }

    fn by_parted(&mut self, places: &[(u64, u64, u8)]) {
        let mut words: Vec<String> = vec!["mklabel".into(), "msdos".into()];
        for (start, size, kind) in places {
            let system = match kind {
                0x07 => "ntfs",
                0x0C | 0x0B | 0x06 => "fat32",
                0x82 => "linux-swap",
                _ => "ext4",
            };
            words.extend(["mkpart".into(), "primary".into(), system.into()]);
            words.extend([format!("{start}s"), format!("{}s", start + size - 1)]);
        }
        for (n, (.., kind)) in places.iter().enumerate().filter(|(_, p)| matches!(p.2, 0x8E | 0xFD)) {
            words.extend([
                "set".into(),
                (n + 1).to_string(),
                if *kind == 0x8E { "lvm" } else { "raid" }.into(),
                "on".into(),
            ]);
        }
        let arguments: Vec<&str> =
            ["-s", "-a", "none", text(self.disk)].into_iter().chain(words.iter().map(String::as_str)).collect();
        let said = run("parted", &arguments);
        self.note(format!("parted{}", if said.code == 0 { String::new() } else { format!(" ({})", said.err.trim()) }));
    }

    /// Puts something into most entries, but not into all.
    fn fill(&mut self) {
        let all = self.sectors();
        for entry in table::all(self.disk) {
            if entry.is_extended() || entry.start == 0 || entry.end() > all || self.random.below(5) == 0 {
                continue;
            }
            if let Some(content) = self.content(entry.sectors) {
                self.put(&content, entry.start, entry.sectors);
            }
        }
    }

    /// Something that no tool writes, and that disks have all the same.
    pub fn oddity(&mut self) {
        let entries = table::primary(self.disk);
        let free = (0..4).find(|n| entries.iter().all(|e| e.slot != Some(*n)));
        let (all, Some(&some)) = (self.sectors(), entries.first()) else { return };
        let last = *entries.last().unwrap_or(&some);
        let beyond = 1 + self.random.below(5000) as u64;
        let longer = Entry { sectors: all - last.start.min(all) + beyond, ..last };
        let slot = free.unwrap_or(3) as u64;
        let kind = self.random.below(10);
        let done = match kind {
            0 | 1 => self.entry(last.slot, 0, longer, "an entry that ends behind the disk"),
            2 => self.entry(some.slot, 0x81, some, "status byte 81"),
            3 => self.entry(Some(slot as usize), 0, Entry { start: some.start + 100, ..some }, "entries that overlap"),
            4 => {
                self.entry(Some(slot as usize), 0, Entry { start: 0, kind: 0x83, ..some }, "an entry that starts at 0")
            }
            5 => self.entry(Some(slot as usize), 0, Entry { sectors: 0, kind: 0x83, ..some }, "an entry of size 0"),
            6 => {
                let ee = Entry { start: 1, sectors: 0xFFFF_FFFF, kind: 0xEE, slot: None };
                self.entry(Some(slot as usize), 0, ee, "EE in a later slot")
            }
            7 => {
                poke(self.disk, 440, &[0; 4]);
                "no disk signature"
            }
            8 => {
                entries.iter().for_each(|e| poke(self.disk, 446 + 16 * e.slot.unwrap_or(0) as u64, &[0x80]));
                "every entry active"
            }
            _ => {
                let random: Vec<u8> = (0..440).map(|_| self.random.next() as u8).collect();
                poke(self.disk, 0, &random);
                "boot code of another system"
            }
        };
        self.note(done);
    }

    fn entry(&self, slot: Option<usize>, status: u8, entry: Entry, what: &'static str) -> &'static str {
        table::put(self.disk, 0, slot.unwrap_or(3) as u64, raw(status, entry.kind, entry.start, entry.sectors));
        what
    }

    /// GPT, whole or with parts of it gone.
    pub fn gpt(&mut self) {
        let all = self.sectors();
        let end = *self.random.pick(&[50_000, 500_000, all - 4096]);
        if self.random.below(2) == 0 {
            must("sgdisk", &["-g", "-o", "-n", &format!("1:2048:{end}"), text(self.disk)]);
        } else {
            let (start, end) = ("2048s".to_string(), format!("{end}s"));
            must("parted", &["-s", text(self.disk), "mklabel", "gpt", "mkpart", "data", &start, &end]);
        }
        self.note(format!("GPT with one partition to {end}"));
        if let Some(content) = self.content(end - 2047).filter(|_| self.random.below(3) > 0) {
            self.put(&content, 2048, end - 2047);
        }
        match self.random.below(5) {
            0 => self.zero(0, 1, "its MBR gone"),
            1 => self.zero(1, 33, "its first header gone"),
            2 => self.zero(all - 33, 33, "its second header gone"),
            3 => self.cut(),
            _ => {}
        }
    }

    fn zero(&mut self, at: u64, sectors: u64, what: &str) {
        poke(self.disk, at * 512, &vec![0; sectors as usize * 512]);
        self.note(what);
    }

    /// GPT of a larger disk, of which only this much is left, and not its first header.
    fn cut(&mut self) {
        let all = self.sectors();
        resize(self.disk, all * 2);
        must("sgdisk", &["-g", "-o", "-n", "1:2048:100000", text(self.disk)]);
        resize(self.disk, all);
        self.zero(1, 33, "made on a larger disk, its first header gone");
    }

    /// A hybrid table: the entry of GPT is not the first.
    pub fn hybrid(&mut self) {
        must("sgdisk", &["-g", "-o", "-n", "1:2048:206847", "-n", "2:206848:411647", text(self.disk)]);
        must("sgdisk", &["-h", "1:EE", text(self.disk)]);
        self.note("hybrid GPT");
        if self.random.below(2) == 0 {
            let content = *Content::named("ext4");
            self.put(&content, 2048, 204_800);
        }
        if self.random.below(2) == 0 {
            self.zero(1, 33, "its first header gone");
        }
    }

    /// Labels of other machines.
    pub fn label(&mut self) {
        let kind = *self.random.pick(&["sun", "mac", "bsd", "dvh", "amiga", "pc98"]);
        must("parted", &["-s", text(self.disk), "mklabel", kind]);
        self.note(format!("{kind} label by parted"));
    }

    /// A chain of logical partitions that no tool makes so.
    pub fn chain(&mut self) {
        let all = self.sectors();
        let container = *self.random.pick(&[2048, 206_848, 821_248]);
        let mut links: Vec<(u64, u64, u64)> = (0..1 + self.random.below(3) as u64)
            .map(|n| (container + n * 102_400, container + n * 102_400 + 2048, 98_304))
            .collect();
        // Backwards: the sectors behind the container's own in another order.
        if self.random.below(2) == 0 && links.len() > 2 {
            links[1..].reverse();
        }
        if self.random.below(3) == 0 {
            // It lies over the next link.
            links[0].2 += 8192;
        }
        let kind = *self.random.pick(&EXTENDED);
        let slots = *self.random.pick(&[(0, 1), (0, 1), (1, 0), (2, 3), (1, 3)]);
        poke(self.disk, 0, &[0; 512]);
        table::put(
            self.disk,
            0,
            1 + self.random.below(3) as u64,
            raw(0, kind, container, (all - container).min(700_000)),
        );
        if self.random.below(2) == 0 && container > 2048 {
            table::put(self.disk, 0, 0, raw(0, 0x83, 2048, container - 2048));
        }
        Chain { container, kind, slots, links: &links }.write(self.disk);
        self.note(format!("a chain of type {kind:02x} at {container}, slots {slots:?}, links {links:?}"));
        if let Some(&(_, start, sectors)) = links.last() {
            let content = self.content(sectors).unwrap_or(ALL[0]);
            self.put(&content, start, sectors);
        }
    }

    /// Logical partitions, one of which was deleted and made anew.
    pub fn remade(&mut self) {
        let disk = text(self.disk);
        if self.random.below(2) == 0 {
            let make = "mklabel msdos mkpart primary ext4 2048s 206847s mkpart extended 206848s 1026047s \
                mkpart logical ext4 208896s 300000s mkpart logical ext4 303104s 400000s mkpart logical ext4 403456s 500000s \
                rm 5 mkpart logical ext4 208896s 290000s";
            let words: Vec<&str> = ["-s", "-a", "none", disk].into_iter().chain(make.split_whitespace()).collect();
            must("parted", &words);
            self.note("parted: three logical ones, the first made anew");
        } else {
            let keys = "o\nn\np\n1\n2048\n206847\nn\ne\n2\n206848\n1026047\nn\nl\n\n+50M\nn\nl\n\n+50M\nn\nl\n\n+50M\nd\n5\nn\nl\n\n+40M\nw\n";
            let said = pipe(self.disk, keys, "fdisk --wipe never --wipe-partitions never");
            self.note(format!("fdisk: three logical ones, the first made anew{said}"));
        }
        let logical: Vec<Entry> = table::all(self.disk).into_iter().filter(|e| e.slot.is_none()).collect();
        let one = *self.random.pick(&logical);
        let content = self.content(one.sectors).unwrap_or(ALL[0]);
        self.put(&content, one.start, one.sectors);
    }

    /// Bytes that nobody can name.
    pub fn data(&mut self) {
        let all = self.sectors();
        let at = *self.random.pick(&[0, 1, 600, all - 700, all - 1, 2048, 411_648]);
        let length = 1 + self.random.below(40_000) as u64;
        let bytes: Vec<u8> = (0..length.min(all - at) * 64).flat_map(|_| self.random.next().to_le_bytes()).collect();
        poke(self.disk, at * 512, &bytes);
        self.note(format!("random data from {at}, {} sectors", bytes.len() / 512));
    }

    /// One partition over the whole disk, as most disks have it.
    pub fn one_over_all(&mut self) {
        let size = self.sectors() - 2048;
        let kind = *self.random.pick(&KINDS);
        let said = pipe(
            self.disk,
            &format!("label: dos\nstart=2048, size={size}, type={kind:x}\n"),
            "sfdisk -q --wipe never --wipe-partitions never",
        );
        self.note(format!("sfdisk: one partition of type {kind:02x}{said}"));
        if let Some(content) = self.content(size) {
            self.put(&content, 2048, size);
        }
        if self.random.below(3) == 0 {
            self.oddity();
        }
    }
}

/// Runs a tool that reads what to do; what it complains of is only told, as tools complain of odd sizes.
pub fn pipe(disk: &Path, input: &str, command: &str) -> String {
    let folder = disk.parent().unwrap();
    let script = disk.with_extension("script");
    std::fs::write(&script, input).unwrap();
    let ran = crate::common::tools::run_in(
        folder,
        "sh",
        &["-c", &format!("{command} {} <{} 2>&1", text(disk), text(&script))],
    );
    std::fs::remove_file(&script).unwrap();
    if ran.code == 0 { String::new() } else { format!(" ({})", ran.out.trim()) }
}

/// A blank disk of that many sectors with these lines of sfdisk in its table.
pub fn sfdisk(disk: &Path, sectors: u64, lines: &str) {
    make(disk, sectors);
    let said = pipe(
        disk,
        &format!("label: dos\n{lines}\n"),
        "sfdisk -q --no-tell-kernel --wipe never --wipe-partitions never",
    );
    assert!(said.is_empty(), "sfdisk: {said}");
}

/// Runs a shell command on a disk, `$disk`.
pub fn on(disk: &Path, command: &str) {
    shell(disk.parent().unwrap(), &format!("disk={}; {command}", text(disk)));
}

/// Keeps a case's disks for whoever looks into a failure.
pub fn keep(disks: &[std::path::PathBuf], name: &str) -> Vec<String> {
    let folder = Path::new("target/owners");
    std::fs::create_dir_all(folder).unwrap();
    let kept = disks.iter().enumerate().map(|(n, disk)| {
        let to = folder.join(format!("{name}-{n}.img"));
        file::copy(disk, &to);
        to.display().to_string()
    });
    kept.collect()
}
