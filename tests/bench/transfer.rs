//! The steps that move much: verify, heal, restore; each against a floor that makes the unavoidable calls.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::bochs::Machine;
use crate::floors::{self, SIZES};
use crate::image::{self, Run, sectors};
use crate::profile;
use crate::report::{self, Table, whole};
use crate::subjects::{self, BIG, Layout, Loader, SMALL};
use crate::tools;
use crate::trace::{Cost, cost};
use crate::wall::{BOARDS, FLOOR, Marks, Pair, Timed, pairs, time};

/// Real time that a run in Bochs may take.
const LIMIT: Duration = Duration::from_secs(400);

/// What the CDs do: a disk without a table is restored, P1 is checked, and mended if it has to be.
const FLOW: &str = "5 verify mbr of system else 30
10 verify P1 else 40
20 boot P1
goto 99
30 restore system else 99
goto 20
40 heal P1 from P2 else 99
goto 20
99 poweroff
";

/// From the step before to the end of each step that is timed.
const VERIFY: Marks<'static> = Marks(BEGIN, "10 verify P1 = ok");
/// See [`VERIFY`].
const HEAL: Marks<'static> = Marks(BEGIN, "40 heal P1 from P2 = ok");
/// See [`VERIFY`].
const RESTORE: Marks<'static> = Marks(BEGIN, "30 restore system = ok");
/// The step before.
const BEGIN: &str = "5 verify mbr of system = ";

/// An image, and where it goes.
pub struct Setup {
    name: String,
    layout: Layout,
    images: PathBuf,
    /// What is allocated in the image.
    runs: Vec<Run>,
    cd: PathBuf,
}

/// For Bochs and AHCI: 256 MiB, of which 100 are in use.
fn big() -> &'static Setup {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    SETUP.get_or_init(|| Setup::new("big", BIG, 98))
}

/// For IDE, whose transfers are slow in QEMU: 48 MiB, of which 7 are in use.
fn small() -> &'static Setup {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    SETUP.get_or_init(|| Setup::new("small", SMALL, 6))
}

/// An image of so many MiB, a third of it in use.
pub fn third_full(mib: u64) -> Setup {
    let partition = mib * 2048;
    let layout = Layout { disk: 2 * partition + 4096, p1: 2048, p2: 2048 + partition, partition };
    Setup::new(&format!("third-{mib}"), layout, mib / 3)
}

fn setup(board: &str) -> &'static Setup {
    if board == "q35" { big() } else { small() }
}

impl Setup {
    fn new(name: &str, layout: Layout, mib: u64) -> Self {
        let images = tools::fresh(&format!("images/{name}"));
        let image = images.join("system.img");
        image::with_system(&image, layout.partition, mib << 20);
        let runs = image::allocated(&image);
        let mut setup = Self { name: name.to_string(), layout, images, runs, cd: PathBuf::new() };
        setup.cd = setup.make_cd("shipped", Loader::Shipped, FLOW);
        setup
    }

    /// Knownstate's CD.
    pub fn cd(&self) -> &Path {
        &self.cd
    }

    fn image(&self) -> PathBuf {
        self.images.join("system.img")
    }

    fn make_cd(&self, name: &str, loader: Loader, flow: &str) -> PathBuf {
        let logic = self.layout.declared() + flow;
        subjects::knownstate(&format!("{}-{name}", self.name), loader, &logic, &self.images)
    }

    /// A disk with both partitions as the image has them.
    fn restored(&self) -> PathBuf {
        let disk = self.blank();
        time("restored", &self.cd, &disk, "q35", Marks(RESTORE.1, "the partition runs"));
        disk
    }

    /// A disk of its size with nothing on it.
    pub fn blank(&self) -> PathBuf {
        subjects::blank(&self.name, self.layout.disk)
    }

    /// The allocated sectors of P1, on the disk.
    fn protected(&self) -> Vec<Run> {
        self.runs.iter().map(|run| Run { at: run.at + self.layout.p1, ..*run }).collect()
    }

    fn reader(&self, most: u64) -> PathBuf {
        floors::reader(&format!("{}-read-{most}", self.name), &self.protected(), most)
    }

    fn writer(&self, back: bool) -> PathBuf {
        let name = format!("{}-write{}", self.name, if back { "-back" } else { "" });
        floors::writer(&name, &self.image(), &self.runs, self.layout, back)
    }

    /// What is in use, in MiB.
    pub fn mib(&self) -> f64 {
        sectors(&self.runs) as f64 / 2048.0
    }
}

fn in_bochs(name: &str, cd: &Path, disk: &Path) -> Cost {
    cost(name, &Machine { cd, disk, serial: true, limit: LIMIT })
}

/// A floor that does not do its work is none: what it writes has to be the image's content.
fn check_writer() {
    let (setup, disk) = (small(), small().blank());
    time("write", &setup.writer(false), &disk, "q35", FLOOR);
    let open = |path: &Path| File::open(path).expect("it was made");
    let (image, disk) = (open(&setup.image()), open(&disk));
    for run in &setup.runs {
        let read = |file: &File, at: u64| {
            let mut bytes = vec![0; run.sectors as usize * 512];
            file.read_exact_at(&mut bytes, at * 512).expect("it can be read");
            bytes
        };
        for partition in [setup.layout.p1, setup.layout.p2] {
            let same = read(&image, run.at) == read(&disk, partition + run.at);
            assert!(same, "the floor did not copy {run:?} to the partition at {partition}");
        }
    }
}

/// Likewise, it has to have read what is protected.
fn check_reader(floor: Timed, setup: &Setup) {
    let (read, wanted) = (floor.disk.read, sectors(&setup.runs) * 512);
    assert!((wanted..wanted + (1 << 20)).contains(&read), "the floor read {read} bytes instead of {wanted}");
}

/// Shows whose instructions a step takes, on the small image.
fn profile_of(step: &str, disk: &Path) {
    if profile::wanted() {
        println!("{step}, {:.1} MiB:", small().mib());
        profile::profile(&Machine { cd: &small().cd, disk, serial: true, limit: LIMIT }, 9973);
    }
}

/// What a start with a quick check costs, of which a whole check, or a mending, is the rest.
fn quick(disk: &Path) -> Cost {
    static COST: OnceLock<Cost> = OnceLock::new();
    *COST.get_or_init(|| {
        let cd = big().make_cd("quick", Loader::Shipped, &FLOW.replace("verify P1", "verify P1 quick"));
        in_bochs("quick", &cd, disk)
    })
}

/// The two tables of a step.
struct Tables {
    bochs: Table,
    qemu: Table,
}

impl Tables {
    fn new(step: &str) -> Self {
        Self {
            bochs: Table::new(&[step, "instructions", "wait ms", "total at 100 MIPS", "of the floor", "target"]),
            qemu: Table::new(&[
                "median of 5 pairs",
                "on",
                "MiB in use",
                "floor s",
                "Knownstate s",
                "ratio",
                "target",
                "CD MiB",
                "disk read",
                "written",
            ]),
        }
    }

    fn cost(&mut self, name: &str, cost: Cost, floor: Cost, target: &str) {
        let ratio = format!("{:.2}", cost.total() / floor.total());
        let wait = format!("{:.1}", cost.wait);
        self.bochs.row(&[&name, &whole(cost.instructions), &wait, &whole(cost.total()), &ratio, &target]);
    }

    fn pair(&mut self, name: &str, kind: &str, setup: &Setup, pair: &Pair, target: &str) {
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let Timed { cd, disk, .. } = pair.last;
        self.qemu.row(&[
            &name,
            &kind,
            &format!("{:.1}", setup.mib()),
            &format!("{:.3}", pair.floor),
            &format!("{:.3}", pair.subject),
            &format!("{:.2}", pair.ratio),
            &target,
            &mib(cd.read),
            &mib(disk.read),
            &mib(disk.written),
        ]);
    }

    fn report(&self, name: &str) {
        let about = format!("{:.1} MiB are in use of {} MiB", big().mib(), big().layout.partition / 2048);
        let text = format!(
            "Bochs, where {about}, in {} runs:\n\n{}\nQEMU:\n\n{}",
            big().runs.len(),
            self.bochs.markdown(),
            self.qemu.markdown()
        );
        report::section(name, &text);
    }
}

/// `verify P1` against a loop that reads the same sectors.
pub fn verify() {
    let disk = big().restored();
    let mut tables = Tables::new("verify");
    let loops = SIZES.map(|most| (most, in_bochs("read", &big().reader(most), &disk)));
    let best = loops.iter().copied().min_by(|a, b| a.1.total().total_cmp(&b.1.total())).expect("there are sizes");
    for (most, cost) in loops {
        tables.cost(&format!("read loop, {most} sectors a call"), cost, best.1, "");
    }
    tables.cost("Knownstate", in_bochs("verify", &big().cd, &disk) - quick(&disk), best.1, "1.11");
    for ((board, kind), target) in BOARDS.into_iter().zip(["1.67", ""]) {
        let setup = setup(board);
        let (disk, floor) = (setup.restored(), setup.reader(best.0));
        check_reader(time("read", &floor, &disk, board, FLOOR), setup);
        let pair =
            pairs(|| time("read", &floor, &disk, board, FLOOR), || time("verify", &setup.cd, &disk, board, VERIFY));
        tables.pair("verify P1", kind, setup, &pair, target);
    }
    profile_of("verify", &small().restored());
    tables.report("verify");
}

/// `verify` and `heal P1 from P2` of one chunk against the loop that reads what has to be looked through.
pub fn heal() {
    let mut tables = Tables::new("verify and heal of one chunk");
    for (board, kind) in BOARDS {
        let setup = setup(board);
        let (disk, floor) = (setup.restored(), setup.reader(128));
        damage(setup, &disk);
        if board == "q35" {
            let bare = in_bochs("read", &floor, &disk);
            tables.cost("read loop", bare, bare, "");
            tables.cost("Knownstate", in_bochs("heal", &setup.cd, &disk) - quick(&disk), bare, "");
        }
        let pair = pairs(
            || time("read", &floor, &disk, board, FLOOR),
            || {
                damage(setup, &disk);
                time("heal", &setup.cd, &disk, board, HEAL)
            },
        );
        tables.pair("heal P1 from P2", kind, setup, &pair, "");
    }
    tables.report("heal");
}

/// Makes one byte wrong in the middle of P1's largest run, by the sibling.
fn damage(setup: &Setup, disk: &Path) {
    let largest = setup.runs.iter().max_by_key(|run| run.sectors).expect("something is allocated");
    let place = |partition: u64| (partition + largest.at + largest.sectors / 2) * 512;
    let file = OpenOptions::new().read(true).write(true).open(disk).expect("the disk is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, place(setup.layout.p2)).expect("it can be read");
    file.write_all_at(&[byte[0] ^ 1], place(setup.layout.p1)).expect("it can be written");
}

/// `restore system` against a copy of the uncompressed allocated sectors.
pub fn restore() {
    check_writer();
    let mut tables = Tables::new("restore");
    for (back, what, targets) in [(false, "no read-back", ["1.50", "0.90"]), (true, "read-back", ["1.00", "1.00"])] {
        let cd = |setup: &Setup| match back {
            true => setup.cd.clone(),
            false => setup.make_cd("no-read-back", Loader::NoReadBack, FLOW),
        };
        let bare = in_bochs("write", &big().writer(back), &big().blank());
        tables.cost(&format!("raw copy, {what}"), bare, bare, "");
        tables.cost(&format!("Knownstate, {what}"), in_bochs("restore", &cd(big()), &big().blank()), bare, "");
        for ((board, kind), target) in BOARDS.into_iter().zip(targets) {
            let setup = setup(board);
            let (floor, cd) = (setup.writer(back), cd(setup));
            let pair = pairs(
                || time("write", &floor, &setup.blank(), board, FLOOR),
                || time("restore", &cd, &setup.blank(), board, RESTORE),
            );
            tables.pair(&format!("restore, {what}"), kind, setup, &pair, target);
        }
    }
    profile_of("restore", &small().blank());
    tables.report("restore");
}
