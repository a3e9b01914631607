//! No disk but the declared one is ever written, as QEMU's own counters say: the real CD, with tiny disks on every
//! bus, in every order, beside disks that are somebody else's.
//!
//! What has to happen is said by tests/common/rules.rs. `WRONG_DISK=all` runs every order of up to four disks with
//! every state of the target; without it, each order of up to three is run once, and four disks such that every
//! pair of a state, a disk, a place, a bus, a medium and a declaration occurs. `WRONG_DISK=NUMBER` (with `all/`
//! before it where it failed there) replays one start alone: a failure says which.
//!
//! These starts are not compared with `simulate`: most of them write nothing, and a second process for each would take
//! longer than the start.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::hostile::Random;
use crate::common::others::Other;
use crate::common::record;
use crate::common::rules::{DECLARED, Declared, OTHER_SIGNATURE, Rule, SIGNATURE, Seen, State, rule};
use crate::disk::{boot_image, iso_beside};
use crate::monitor::ask;

/// The declared disk, which is no multiple of anything, and how much larger the larger ones are.
const SECTORS: u64 = 10_253;
const LARGER: u64 = 2048;
const PARTITIONS: [u64; 2] = [64, 4160];
const PARTITION_SECTORS: u64 = 4096;
/// A start that takes so long has hung; one takes a second.
const PATIENCE: Duration = Duration::from_secs(120);
/// So many failures are enough to look into.
const MOST_FAILURES: usize = 10;
/// What the system says, and what the loader says when it has none to boot.
const LIVES: &str = "the spare lives";
const HOLDS: &str = "hold \"no disk\" = ok";

/// The states that are brought about in memory alone. Other read errors are QEMU's blkdebug's here.
const NOT_REAL: [State; 3] = [State::MbrUnreadable, State::TailUnreadable, State::Locked];

fn real_states() -> Vec<State> {
    State::ALL.into_iter().filter(|state| !NOT_REAL.contains(state)).collect()
}

/// Where the disks hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bus {
    /// Two channels of two, one of the four perhaps the CD's; a fourth disk is virtio's.
    Ide,
    Ahci,
    /// AHCI and virtio in turn.
    Mixed,
    Xhci,
    Ehci,
    VirtioScsi,
}

const BUSES: [Bus; 6] = [Bus::Ide, Bus::Ahci, Bus::Mixed, Bus::Xhci, Bus::Ehci, Bus::VirtioScsi];

/// What the machine is booted from. (The CD written to a stick does not boot: README.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    /// On the board's own controller.
    Cd,
    UsbCd,
    ScsiCd,
    /// The CD, with the first of the others as a stick that can be taken out.
    CdBesideStick,
}

const MEDIA: [Medium; 4] = [Medium::Cd, Medium::UsbCd, Medium::ScsiCd, Medium::CdBesideStick];

/// How the BIOS comes to its drive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// In the order of the list, whatever hangs where.
    Told,
    /// The other way round.
    Backwards,
    /// As it finds them.
    Found,
}

const NUMBERS: [Numbers; 3] = [Numbers::Told, Numbers::Backwards, Numbers::Found];

/// One start. Of the disks, none is the target.
#[derive(Clone, Debug)]
struct Start {
    number: usize,
    disks: Vec<Option<Other>>,
    state: State,
    declared: usize,
    bus: Bus,
    medium: Medium,
    numbers: Numbers,
}

impl Start {
    fn rule(&self) -> Rule {
        let seen = |disk: &Option<Other>| disk.map_or_else(|| self.state.seen(), Other::seen);
        rule(&self.disks.iter().map(seen).collect::<Vec<Seen>>(), DECLARED[self.declared])
    }

    /// SeaBIOS tells of no read error behind some controllers, so there the target is another.
    fn with_state(mut self, state: State) -> Self {
        let errors = matches!(state, State::HeadUnreadable | State::GapUnreadable);
        let honest = matches!(self.bus, Bus::Ide | Bus::Ahci);
        self.state = if errors && !honest { State::MbrZeroed } else { state };
        self
    }
}

/// Every order of the target and `count` of the others.
fn orders(others: &[Other], count: usize) -> Vec<Vec<Option<Other>>> {
    let mut rows: Vec<Vec<Option<Other>>> = vec![vec![]];
    for _ in 0..count {
        let longer = |row: &Vec<Option<Other>>| {
            let fresh = others.iter().filter(|&&other| !row.contains(&Some(other)));
            fresh.map(|&other| [row.as_slice(), &[Some(other)]].concat()).collect::<Vec<_>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    let at = |row: Vec<Option<Other>>| {
        (0..=row.len()).map(move |n| {
            let mut row = row.clone();
            row.insert(n, None);
            row
        })
    };
    rows.into_iter().flat_map(at).collect()
}

/// A start in which all but the disks is drawn.
fn draw(random: &mut Random, disks: &[Option<Other>], number: usize) -> Start {
    let start = Start {
        number,
        disks: disks.to_vec(),
        state: State::Good,
        declared: random.below(DECLARED.len()),
        bus: *random.pick(&BUSES),
        medium: *random.pick(&MEDIA),
        numbers: *random.pick(&NUMBERS),
    };
    let state = *random.pick(&real_states());
    start.with_state(state)
}

/// What occurs in a start, pair by pair, in words.
fn pairs(start: &Start) -> Vec<String> {
    let mut words = vec![
        format!("{:?}", start.state),
        format!("declared {}", start.declared),
        format!("{:?}", start.bus),
        format!("{:?}", start.medium),
        format!("{:?}", start.numbers),
        format!("target {:?}", start.disks.iter().position(Option::is_none)),
    ];
    words.extend(start.disks.iter().flatten().map(|other| format!("{other:?}")));
    words.sort();
    let pair = |(n, a): (usize, &String)| words[..n].iter().map(|b| format!("{a}, {b}")).collect::<Vec<_>>();
    words.iter().enumerate().flat_map(pair).collect()
}

/// Four disks, so that every pair occurs: of some that are drawn, the one with most that is new, until nothing
/// new was drawn for a while.
fn covering(random: &mut Random, first: usize) -> Vec<Start> {
    let four = orders(&Other::NAMED, 3);
    let (mut seen, mut starts) = (BTreeSet::new(), Vec::new());
    loop {
        let mut drawn = Vec::new();
        for _ in 0..300 {
            let disks = random.pick(&four);
            drawn.push(draw(random, disks, first + starts.len()));
        }
        let fresh = |start: &Start| pairs(start).iter().filter(|pair| !seen.contains(*pair)).count();
        let (count, best) = drawn.into_iter().map(|s| (fresh(&s), s)).max_by_key(|(count, _)| *count).unwrap();
        if count == 0 {
            return starts;
        }
        seen.extend(pairs(&best));
        starts.push(best);
    }
}

/// All starts; the same list each time.
fn starts(all: bool) -> Vec<Start> {
    let mut random = Random::new(5);
    let every = [&Other::NAMED[..], &Other::MORE[..]].concat();
    let few = [orders(&every, 0), orders(&every, 1), orders(&Other::NAMED, 2)].concat();
    let mut starts = Vec::new();
    if all {
        for disks in few.iter().chain(&orders(&Other::NAMED, 3)) {
            for state in real_states() {
                starts.push(draw(&mut random, disks, starts.len()).with_state(state));
            }
        }
        return starts;
    }
    // The target alone in each state.
    for state in real_states() {
        starts.push(draw(&mut random, &[None], starts.len()).with_state(state));
    }
    for disks in &few[1..] {
        starts.push(draw(&mut random, disks, starts.len()));
    }
    let four = covering(&mut random, starts.len());
    starts.extend(four);
    starts
}

/// What all starts share.
struct Shelf {
    /// A CD for each declaration, and the target as it leaves it, without a declared signature and with.
    cds: Vec<PathBuf>,
    good: [Vec<u8>; 2],
    others: Vec<(Other, Vec<u8>)>,
}

impl Shelf {
    fn new() -> Self {
        boot_image("wrong-disk", "lives");
        let folder = crate::folder("wrong-disk");
        fs::write(folder.join("bstate.txt"), record::file(&states("OK"))).expect("it can be written");
        let [image, text] = ["lives.img", "bstate.txt"].map(|name| folder.join(name));
        crate::disk::run(Command::new("mcopy").arg("-i").arg(image).arg(text).arg("::bstate.txt"));
        let cds: Vec<PathBuf> = DECLARED.iter().enumerate().map(|(n, &declared)| cd(n, declared)).collect();
        let others = Other::NAMED.into_iter().chain(Other::MORE).map(|other| {
            let path = folder.join(format!("{other:?}.img"));
            other.make(&path, SECTORS + if other.is_big() { LARGER } else { 0 });
            (other, fs::read(path).expect("it was made"))
        });
        let mut shelf = Self { cds, good: Default::default(), others: others.collect() };
        shelf.good = [0, 2].map(|declared| shelf.restore(declared));
        shelf
    }

    /// A disk that the CD itself has restored.
    fn restore(&self, declared: usize) -> Vec<u8> {
        let (bus, medium, numbers) = (Bus::Ahci, Medium::Cd, Numbers::Told);
        let start = Start { number: 0, disks: vec![None], state: State::Blank, declared, bus, medium, numbers };
        let folder = crate::folder("wrong-disk/restored");
        let ran = self.run(&start, &folder).unwrap_or_else(|why| panic!("a blank disk is not restored: {why}"));
        assert!(ran.said.contains("restore d allow good copies = ok"), "{}", ran.said);
        let mut good = fs::read(folder.join("0.img")).expect("it is there");
        for at in states_at(&good) {
            good[at..at + 512].copy_from_slice(&states("OK"));
        }
        good
    }

    /// What a disk of a start holds before it.
    fn bytes(&self, start: &Start, disk: Option<Other>) -> Vec<u8> {
        match disk {
            Some(other) => self.others.iter().find(|(o, _)| *o == other).expect("it was made").1.clone(),
            None => target(&self.good[usize::from(DECLARED[start.declared].signature)], start.state),
        }
    }

    /// Runs a start to its end, in a folder.
    fn run(&self, start: &Start, folder: &Path) -> Result<Ran, String> {
        let socket = folder.join("qmp");
        let _ = fs::remove_file(&socket);
        for (n, &disk) in start.disks.iter().enumerate() {
            fs::write(folder.join(format!("{n}.img")), self.bytes(start, disk)).expect("a disk can be made");
        }
        let mut child = command(start, &self.cds[start.declared], folder, &socket).spawn().expect("make setup");
        let said = listen(&mut child);
        let counters = said.as_ref().ok().map(|_| ask(&socket, &["{\"execute\":\"query-blockstats\"}".to_string()]));
        let _ = child.kill();
        let _ = child.wait();
        let written = |n| written(counters.as_deref().unwrap_or_default(), &format!("\"d{n}\""));
        Ok(Ran { said: said?, written: (0..start.disks.len()).map(written).collect::<Result<_, _>>()? })
    }
}

/// What came of a start: what was said, and the writes and bytes that QEMU counted, disk by disk.
struct Ran {
    said: String,
    written: Vec<(u64, u64)>,
}

/// bstate.txt with both partitions in this state.
fn states(state: &str) -> [u8; 512] {
    let of = |name: &str| format!("{name}={state} {name}.failures=0 {name}.crashes=0 ");
    record::sector(&format!("sequence=7 {}{}restores=0", of("P1"), of("P2")))
}

/// The bytes where the copies of bstate.txt begin.
fn states_at(disk: &[u8]) -> Vec<usize> {
    (0..disk.len() / 512).map(|n| n * 512).filter(|&at| disk[at..].starts_with(b"sequence=")).collect()
}

/// The CD of a declaration: boot P1, else P2, else put both back.
fn cd(number: usize, declared: Declared) -> PathBuf {
    let at_least = if declared.at_least { ".." } else { "" };
    let signature = if declared.signature { format!(" signature {SIGNATURE:08X}") } else { String::new() };
    let larger = SECTORS + LARGER;
    let second = format!("disk data sectors {larger}\npartition D on data start 64 sectors 64 type 83\n");
    let [p1, p2] = PARTITIONS;
    let logic = format!(
        "logic 1\ndisk d sectors {SECTORS}{at_least}{signature}\n{}\
        partition P1 on d start {p1} sectors {PARTITION_SECTORS} type 01 image lives.img\n\
        partition P2 on d start {p2} sectors {PARTITION_SECTORS} type 01 image lives.img\n\
        1 verify mbr of d else 8\n2 verify P1 else 5\n3 if P1 is OK else 5\n4 set P1 Dirty\nboot P1\n\
        5 verify P2 else 8\n6 if P2 is OK else 8\n7 set P2 Dirty\nboot P2\n\
        8 restore d allow good copies else 9\nboot P1\n9 hold \"no disk\"\n",
        if declared.second { &second } else { "" }
    );
    iso_beside("wrong-disk", &format!("cd{number}"), &logic)
}

/// The good target, brought into a state.
fn target(good: &[u8], state: State) -> Vec<u8> {
    let mut disk = good.to_vec();
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    let [p1, p2] = PARTITIONS.map(|at| at as usize * 512);
    match state {
        State::Blank => return vec![0; SECTORS as usize * 512],
        State::MbrZeroed => put(0, &[0; 512]),
        State::MbrGarbage => put(0, &[0xA5; 510]),
        State::TableZeroed => put(446, &[0; 64]),
        State::SomebodyElses => {
            put(0, &[0xFA; 440]);
            put(440, &OTHER_SIGNATURE.to_le_bytes());
            put(446, &[0; 64]);
            put(446, &[0x80, 0, 0, 0, 7, 0, 0, 0, 63, 0, 0, 0, 0, 16, 0, 0]);
        }
        State::CodeAltered => put(100, &[0x90; 8]),
        State::SignatureAltered => put(440, &OTHER_SIGNATURE.to_le_bytes()),
        State::P1Damaged => put(p1, &[0; 512]),
        State::BothDamaged => [p1, p2].into_iter().for_each(|at| put(at, &[0; 512])),
        State::BothDirty => states_at(good).into_iter().for_each(|at| put(at, &states("Dirty"))),
        State::StatesGarbage => states_at(good).into_iter().for_each(|at| put(at, &[0xFF; 512])),
        State::Restoring => {
            let note = note(good);
            put(0, &note);
            put(p1 - 512, &note);
            put(p1 + 510, &[0, 0]);
            put(p1 + 4096, &[0; 4096]);
        }
        State::Clipped => disk.truncate(disk.len() - 512),
        State::OldMark => {
            put(0, &[0; 512]);
            put((SECTORS as usize - 1) * 512, b"EFI PART\x00\x00\x01\x00");
        }
        State::Reused => return reused(good),
        _ => {}
    }
    disk
}

/// The note of a restore that was to end with this disk's table (docs/DISKS.md): words, table, a sum, the signature,
/// words.
fn note(good: &[u8]) -> [u8; 512] {
    let mut note = [0; 512];
    note[..40].copy_from_slice(b"Knownstate: restore begun, not finished\n");
    note[40..104].copy_from_slice(&good[446..510]);
    note[440..444].copy_from_slice(&good[440..444]);
    let sum = record::crc32(&[&note[..136], &note[440..444]].concat());
    note[136..140].copy_from_slice(&sum.to_le_bytes());
    note[496..].copy_from_slice(b"Knownstate: note");
    note
}

/// Somebody has made a filesystem of the whole disk, which leaves alone what it does not need.
fn reused(good: &[u8]) -> Vec<u8> {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let path = crate::folder("wrong-disk").join("reused.img");
        fs::write(&path, good).expect("it can be written");
        crate::disk::run(
            Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-N", "16", "-E", "nodiscard"]).arg(&path),
        );
        fs::read(path).expect("it was made")
    };
    MADE.get_or_init(make).clone()
}

/// Sectors of the target that QEMU reports as unreadable.
fn unreadable(state: State) -> &'static [u64] {
    match state {
        State::HeadUnreadable => &[0, 1, 5],
        State::GapUnreadable => &[5],
        _ => &[],
    }
}

/// QEMU for a start.
fn command(start: &Start, cd: &Path, folder: &Path, socket: &Path) -> Command {
    let mut command = Command::new("qemu-system-i386");
    let board = if matches!(start.bus, Bus::Ide | Bus::Ehci) { "pc" } else { "q35" };
    command.args(["-machine", board, "-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-vga", "none", "-m", "64", "-serial", "stdio", "-no-reboot", "-qmp"]);
    command.arg(format!("unix:{},server=on,wait=off", socket.display()));
    let mut places = Places::new(start);
    let mut devices = Vec::new();
    let cd = format!("file={},format=raw,if=none,media=cdrom,readonly=on,id=cd", cd.display());
    command.arg("-drive").arg(cd);
    devices.push(format!("{},drive=cd,bootindex=0", places.cd(start.medium)));
    let mut stick = start.medium == Medium::CdBesideStick;
    for (n, disk) in start.disks.iter().enumerate() {
        let file = folder.join(format!("{n}.img"));
        let sectors = if disk.is_none() { unreadable(start.state) } else { &[] };
        let mut drive = format!("file={},format=raw,if=none,cache=unsafe,id=d{n}", file.display());
        if !sectors.is_empty() {
            let error = |at: &u64| format!("[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"{at}\"\n");
            let rules = folder.join("errors");
            fs::write(&rules, sectors.iter().map(error).collect::<String>()).expect("it can be written");
            let (rules, file) = (rules.display(), file.display());
            drive = format!(
                "driver=raw,file.driver=blkdebug,file.config={rules},file.image.filename={file},if=none,id=d{n}"
            );
        }
        command.arg("-drive").arg(drive);
        let as_stick = disk.is_some() && std::mem::take(&mut stick);
        let device = if as_stick { places.stick() } else { places.disk(start.bus) };
        let index = match start.numbers {
            Numbers::Told => format!(",bootindex={}", n + 1),
            Numbers::Backwards => format!(",bootindex={}", start.disks.len() - n),
            Numbers::Found => String::new(),
        };
        devices.push(format!("{device},drive=d{n}{index}"));
    }
    for device in places.controllers.iter().chain(&devices) {
        command.args(["-device", device]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// The places that are still free, and the controllers that they need.
struct Places {
    pc: bool,
    native: Vec<String>,
    disks: usize,
    controllers: Vec<String>,
}

impl Places {
    fn new(start: &Start) -> Self {
        let pc = matches!(start.bus, Bus::Ide | Bus::Ehci);
        let mut native: Vec<String> = if pc {
            ["ide.0,unit=0", "ide.0,unit=1", "ide.1,unit=0", "ide.1,unit=1"].map(String::from).to_vec()
        } else {
            (0..6).map(|port| format!("ide.{port}")).collect()
        };
        // Which disk is master and which slave, and the ports in another order each time.
        let count = native.len();
        native.rotate_left(start.number % count);
        Self { pc, native, disks: 0, controllers: Vec::new() }
    }

    fn controller(&mut self, device: &str) {
        if !self.controllers.iter().any(|there| there == device) {
            self.controllers.push(device.to_string());
        }
    }

    fn usb(&mut self, options: &str) -> String {
        self.controller(if self.pc { "usb-ehci,id=usb" } else { "qemu-xhci,id=usb" });
        format!("usb-storage,bus=usb.0{options}")
    }

    fn scsi(&mut self, kind: &str) -> String {
        self.controller("virtio-scsi-pci,id=virtio");
        format!("{kind},bus=virtio.0")
    }

    fn cd(&mut self, medium: Medium) -> String {
        match medium {
            Medium::Cd | Medium::CdBesideStick => format!("ide-cd,bus={}", self.native.pop().expect("nothing else is")),
            Medium::UsbCd => self.usb(""),
            Medium::ScsiCd => self.scsi("scsi-cd"),
        }
    }

    fn stick(&mut self) -> String {
        self.usb(",removable=on")
    }

    fn disk(&mut self, bus: Bus) -> String {
        self.disks += 1;
        match bus {
            Bus::Xhci | Bus::Ehci => self.usb(""),
            Bus::VirtioScsi => self.scsi("scsi-hd"),
            Bus::Mixed if self.disks.is_multiple_of(2) => "virtio-blk-pci".to_string(),
            _ if self.native.is_empty() => "virtio-blk-pci".to_string(),
            _ => format!("ide-hd,bus={}", self.native.remove(0)),
        }
    }
}

/// What a machine says until its start has ended.
fn listen(child: &mut Child) -> Result<String, String> {
    let mut output = child.stdout.take().expect("stdout is piped");
    let (sender, heard) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = output.read(&mut buffer) {
            if n == 0 || sender.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    let (end, mut said) = (Instant::now() + PATIENCE, String::new());
    loop {
        match heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Err(RecvTimeoutError::Timeout) => return Err(format!("it never came to an end:\n{said}")),
            Err(RecvTimeoutError::Disconnected) => return Err(format!("QEMU has ended:\n{said}")),
        }
        if said.contains(LIVES) || said.contains(HOLDS) {
            return Ok(said);
        }
    }
}

/// Writes and written bytes of a device, as `query-blockstats` has them (qapi/block-core.json, BlockDeviceStats).
fn written(counters: &str, device: &str) -> Result<(u64, u64), String> {
    let missing = || format!("no counters of {device} in {counters}");
    let of = counters.split("\"device\": ").find(|part| part.starts_with(device)).ok_or_else(missing)?;
    let sum = |key: &str| -> Result<u64, String> {
        let key = format!("\"{key}\": ");
        let values = of.split(&key).skip(1);
        let digits = values.map(|value| value.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
        let numbers: Vec<u64> = digits.map(|digits| digits.parse().map_err(|_| missing())).collect::<Result<_, _>>()?;
        if numbers.is_empty() { Err(missing()) } else { Ok(numbers.iter().sum()) }
    };
    let unmapped = sum("unmap_operations")?;
    Ok((sum("wr_operations")? + unmapped, sum("wr_bytes")?))
}

/// What is wrong with what came of a start; whether it wrote.
fn judge(shelf: &Shelf, start: &Start, folder: &Path) -> Result<bool, String> {
    let ran = shelf.run(start, folder)?;
    let rule = start.rule();
    let context = |what: String| format!("{what}; the rules say {rule:?}; writes {:?}:\n{}", ran.written, ran.said);
    for (n, (&disk, &(operations, bytes))) in start.disks.iter().zip(&ran.written).enumerate() {
        let before = shelf.bytes(start, disk);
        let after = fs::read(folder.join(format!("{n}.img"))).expect("it is there");
        let changed = (0..before.len() / 512).filter(|n| before[n * 512..][..512] != after[n * 512..][..512]);
        let outside = |&sector: &usize| {
            let inside = |&start: &u64| (start..start + PARTITION_SECTORS).contains(&(sector as u64));
            // The second place of a restore's note is the sector before the first partition.
            ![0, PARTITIONS[0] as usize - 1].contains(&sector) && !PARTITIONS.iter().any(inside)
        };
        if rule != Rule::Is(n) {
            if (operations, bytes) != (0, 0) || before != after {
                return Err(context(format!("disk {n} ({disk:?}) was written")));
            }
        } else if changed.clone().any(|sector| outside(&sector)) || before.len() != after.len() {
            return Err(context(format!("disk {n} was written outside of what is declared")));
        } else if operations == 0 || (start.state == State::Good && disk.is_none() && bytes != 1024) {
            // `set P1 Dirty` writes two copies of a sector.
            return Err(context(format!("disk {n} was to be written, and not otherwise")));
        }
    }
    let reason =
        |part: &str| ran.said.lines().any(|l| l.contains("restore d allow good copies = failed (") && l.contains(part));
    let as_ruled = match rule {
        // QEMU's sector 0 stays unreadable when it is written.
        Rule::Is(n) if start.disks[n].is_none() && start.state == State::HeadUnreadable => {
            ran.said.contains(HOLDS) && reason("(partition table not cleared: ")
        }
        Rule::Is(_) => ran.said.contains(LIVES),
        Rule::None => ran.said.contains(HOLDS) && reason("(no disk is d: "),
        Rule::Several => ran.said.contains(HOLDS) && reason(" blank disks could be d: drives "),
        Rule::State(_) => return Err(context("two disks are ours".to_string())),
    };
    if as_ruled { Ok(matches!(rule, Rule::Is(_))) } else { Err(context("it ended otherwise".to_string())) }
}

#[test]
fn no_wrong_disk_is_written_as_qemu_counts() {
    let wanted = std::env::var("WRONG_DISK").unwrap_or_default();
    let only: Option<usize> = wanted.trim_start_matches("all/").parse().ok();
    let all = wanted.starts_with("all");
    let shelf = Shelf::new();
    let starts = starts(all);
    let (next, wrote, ran) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    println!("wrong disk: {} starts of QEMU to do", if only.is_some() { 1 } else { starts.len() });
    let (failed, began) = (AtomicUsize::new(0), Instant::now());
    let work = |worker: usize| {
        let folder = crate::folder(&format!("wrong-disk/{worker}"));
        while let Some(start) = starts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if only.is_some_and(|number| number != start.number) {
                continue;
            }
            ran.fetch_add(1, Ordering::Relaxed);
            match judge(&shelf, start, &folder) {
                Ok(writes) => drop(wrote.fetch_add(usize::from(writes), Ordering::Relaxed)),
                Err(why) => {
                    // At once: whoever waits for all of them does not have to.
                    let which = if all { "all/" } else { "" };
                    println!("WRONG_DISK={which}{} replays {start:?}: {why}", start.number);
                    if failed.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_FAILURES {
                        return;
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        let work = &work;
        (0..2).for_each(|worker| drop(scope.spawn(move || work(worker))));
    });
    let [ran, wrote, failed] = [ran, wrote, failed].map(AtomicUsize::into_inner);
    let seconds = began.elapsed().as_secs();
    println!("wrong disk: {ran} starts of QEMU in {seconds} s, {wrote} of which wrote; failures: {failed}");
    assert_eq!(failed, 0, "see above");
}
