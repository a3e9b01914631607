//! The steps that move much: verify, heal, restore; each against a floor that makes the unavoidable calls.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::bochs::Machine;
use crate::floors::{self, SIZES};
use crate::image::{self, Run, sectors};
use crate::subjects::{self, BIG, Layout, Loader, SMALL};
use crate::tools;
use crate::trace::{Cost, cost};
use crate::wall::{self, BOARDS, FLOOR, Marks, Pair, pairs, time};

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
struct Setup {
    name: &'static str,
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

/// For IDE, whose transfers are slow in QEMU: everything a tenth.
fn small() -> &'static Setup {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    SETUP.get_or_init(|| Setup::new("small", SMALL, 10))
}

fn setup(board: &str) -> &'static Setup {
    if board == "q35" { big() } else { small() }
}

impl Setup {
    fn new(name: &'static str, layout: Layout, mib: u64) -> Self {
        let images = tools::fresh(&format!("images/{name}"));
        let image = images.join("system.img");
        image::with_system(&image, layout.partition, mib << 20);
        let runs = image::allocated(&image);
        let mut setup = Self { name, layout, images, runs, cd: PathBuf::new() };
        setup.cd = setup.make_cd("shipped", Loader::Shipped, FLOW);
        setup
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

    fn blank(&self) -> PathBuf {
        subjects::blank(self.name, self.layout.disk)
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

    fn mib(&self) -> f64 {
        sectors(&self.runs) as f64 / 2048.0
    }
}

fn in_bochs(name: &str, cd: &Path, disk: &Path) -> Cost {
    cost(name, &Machine { cd, disk, serial: true, limit: LIMIT })
}

/// What a start with a quick check costs, of which a whole check, or a mending, is the rest.
fn quick(disk: &Path) -> Cost {
    let cd = big().make_cd("quick", Loader::Shipped, &FLOW.replace("verify P1", "verify P1 quick"));
    in_bochs("quick", &cd, disk)
}

/// `verify P1` against a loop that reads the same sectors.
pub fn verify() {
    let disk = big().restored();
    println!("verify: {:.1} MiB protected in {} runs", big().mib(), big().runs.len());
    let mut best = (f64::INFINITY, SIZES[0]);
    for most in SIZES {
        let found = in_bochs("read", &big().reader(most), &disk);
        print_cost(&format!("read loop, {most} sectors"), found);
        best = if found.total() < best.0 { (found.total(), most) } else { best };
    }
    let own = in_bochs("verify", &big().cd, &disk) - quick(&disk);
    print_cost("verify P1", own);
    println!("rate of the read loop: {:.3}", best.0 / own.total());
    for (board, kind) in BOARDS {
        let setup = setup(board);
        let (disk, floor) = (setup.restored(), setup.reader(best.1));
        let pair =
            pairs(|| time("read", &floor, &disk, board, FLOOR), || time("verify", &setup.cd, &disk, board, VERIFY));
        print_pair(&format!("verify P1 {kind} {:.1} MiB", setup.mib()), &pair);
    }
}

/// `verify` and `heal P1 from P2` of one chunk against the loop that reads what has to be looked through.
pub fn heal() {
    for (board, kind) in BOARDS {
        let setup = setup(board);
        let (disk, floor) = (setup.restored(), setup.reader(128));
        damage(setup, &disk);
        if board == "q35" {
            print_cost("read loop", in_bochs("read", &floor, &disk));
            print_cost("heal P1", in_bochs("heal", &setup.cd, &disk) - quick(&disk));
        }
        let pair = pairs(
            || time("read", &floor, &disk, board, FLOOR),
            || {
                damage(setup, &disk);
                time("heal", &setup.cd, &disk, board, HEAL)
            },
        );
        print_pair(&format!("heal P1 {kind} {:.1} MiB", setup.mib()), &pair);
    }
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
    println!("restore: {:.1} MiB allocated, in {} runs", big().mib(), big().runs.len());
    for (back, what) in [(false, "without read-back"), (true, "with read-back")] {
        let cd = |setup: &Setup| match back {
            true => setup.cd.clone(),
            false => setup.make_cd("no-read-back", Loader::NoReadBack, FLOW),
        };
        let floor = in_bochs("write", &big().writer(back), &big().blank());
        let own = in_bochs("restore", &cd(big()), &big().blank());
        print_cost(&format!("raw copy, {what}"), floor);
        print_cost(&format!("restore, {what}"), own);
        println!("of the floor: {:.3}", own.total() / floor.total());
        for (board, kind) in BOARDS {
            let setup = setup(board);
            let (floor, cd) = (setup.writer(back), cd(setup));
            let pair = pairs(
                || time("write", &floor, &setup.blank(), board, FLOOR),
                || time("restore", &cd, &setup.blank(), board, RESTORE),
            );
            print_pair(&format!("restore {what} {kind} {:.1} MiB", setup.mib()), &pair);
        }
    }
}

fn print_cost(name: &str, cost: Cost) {
    println!(
        "{name:30} {:14.0} instructions {:10.1} ms wait {:14.0} total",
        cost.instructions,
        cost.wait,
        cost.total()
    );
}

fn print_pair(name: &str, pair: &Pair) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let wall::Timed { cd, disk, .. } = pair.last;
    println!(
        "{name:44} floor {:.3} s, subject {:.3} s, ratio {:.3}; CD {:.1} MiB, disk read {:.1}, written {:.1}",
        pair.floor,
        pair.subject,
        pair.ratio,
        mib(cd.read),
        mib(disk.read),
        mib(disk.written)
    );
}
