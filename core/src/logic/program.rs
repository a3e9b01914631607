//! A logic.txt that was checked: every name leads to what it names.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bstate::State;
use crate::machine::Watchdog;
use crate::units::{Lba, SectorCount};

/// Which declared disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskIndex(pub(super) usize);

/// Which declared partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionIndex(pub(super) usize);

impl DiskIndex {
    /// Its number in the order of declaration, from 0.
    #[must_use]
    pub const fn number(self) -> usize {
        self.0
    }
}

impl PartitionIndex {
    /// Its number in the order of declaration, from 0.
    #[must_use]
    pub const fn number(self) -> usize {
        self.0
    }
}

/// How large a declared disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// `sectors N`
    Exactly(SectorCount),
    /// `sectors N..`
    AtLeast(SectorCount),
}

/// What the boot code in a disk's MBR has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MbrCode {
    /// What every CD brings: `mbr.bin`.
    Standard,
    /// `mbr FILE`
    File(String),
    /// `mbr any`: not compared; a restore writes the standard one.
    Any,
}

/// `cd "NAME" [was "OLD" ...] version N`: what tells one CD from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cd {
    /// Its name: at most [`Cd::MAX_NAME`] bytes of printable ASCII.
    pub name: String,
    /// The names of earlier CDs whose disks are this one's too.
    pub was: Vec<String>,
    /// Its version.
    pub version: u32,
}

impl Cd {
    /// The longest name, in bytes: it stands in bstate.txt's record, in the log and in the ISO's volume id.
    pub const MAX_NAME: usize = 24;
}

/// What `if D is ...` asks: whose a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// It is proved to be the declared one.
    Ours,
    /// Nothing is on it.
    Blank,
    /// It is somebody's.
    Foreign,
    /// Nobody can say.
    Unclear,
}

impl DiskState {
    /// Every one, with the word that logic.txt has for it.
    pub const ALL: [(&'static str, Self); 4] =
        [("ours", Self::Ours), ("blank", Self::Blank), ("foreign", Self::Foreign), ("unclear", Self::Unclear)];

    /// The word that logic.txt has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, state)| *state == self).map_or("", |(word, _)| word)
    }
}

/// What `if next is ...` asks: the operator's wish for one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That this partition is booted.
    Partition(PartitionIndex),
    /// That the system is restored.
    Restore,
    /// That the machine holds.
    Hold,
}

/// `disk ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// How large it is.
    pub sectors: Size,
    /// The MBR's disk signature, if it decides.
    pub signature: Option<u32>,
    /// The MBR's boot code.
    pub mbr: MbrCode,
    /// `adopt`: whether a used disk may be taken.
    pub adopt: bool,
    /// The line it stands on, from 1.
    pub line: usize,
}

/// What of a partition a seal covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protect {
    /// Every allocated block but bstate.txt's.
    All,
    /// Nothing.
    None,
    /// These files.
    Paths(Vec<String>),
}

/// `partition ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// The disk it is on.
    pub disk: DiskIndex,
    /// Its entry in the partition table: 0 to 3, in the order of declaration.
    pub entry: u8,
    /// Where it begins.
    pub start: Lba,
    /// How long it is.
    pub sectors: SectorCount,
    /// The table's type byte.
    pub kind: u8,
    /// The image that a restore writes.
    pub image: Option<String>,
    /// What a seal covers.
    pub protect: Protect,
    /// Files that a restore adds.
    pub tools: Vec<String>,
    /// The line it stands on, from 1.
    pub line: usize,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `verify mbr of D`
    VerifyMbr(DiskIndex),
    /// `verify P [quick]`
    Verify {
        /// The partition.
        partition: PartitionIndex,
        /// Whether protected ranges are left out.
        quick: bool,
    },
    /// `verify images`
    VerifyImages,
    /// `if P is STATE`
    IfState(PartitionIndex, State),
    /// `if D is ours|blank|foreign|unclear`
    IfDisk(DiskIndex, DiskState),
    /// `if next is P|restore|hold`
    IfNext(Wish),
    /// `if P failures below N`
    IfFailures(PartitionIndex, u32),
    /// `if P crashes below N`
    IfCrashes(PartitionIndex, u32),
    /// `if restores below N`
    IfRestores(u32),
    /// `set P STATE`
    Set(PartitionIndex, State),
    /// `activate P`
    Activate(PartitionIndex),
    /// `boot P`
    Boot(PartitionIndex),
    /// `repair mbr of D`
    RepairMbr(DiskIndex),
    /// `heal P [from Q]`
    Heal {
        /// The partition.
        partition: PartitionIndex,
        /// The partition whose copy is taken where it is whole.
        from: Option<PartitionIndex>,
    },
    /// `restore P`
    RestorePartition(PartitionIndex),
    /// `restore D`
    RestoreDisk(DiskIndex),
    /// `watchdog N [CHIP]`
    Watchdog {
        /// Seconds.
        seconds: u32,
        /// The chip to insist on.
        chip: Option<Watchdog>,
    },
    /// `wait N`: seconds
    Wait(u32),
    /// `notify TEXT`
    Notify(String),
    /// `goto L`: the step's place in [`Program::steps`]
    Goto(usize),
    /// `restart`
    Restart,
    /// `hold TEXT`
    Hold(String),
    /// `poweroff`
    PowerOff,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its label; `-` where it has none.
    pub label: String,
    /// The step as written, without label and `else`.
    pub text: String,
    /// What it does.
    pub verb: Verb,
    /// The step to go on with when it fails.
    pub otherwise: Option<usize>,
    /// The line it stands on, from 1.
    pub line: usize,
    /// Whether a `restore` says `allow good copies`: that it may destroy a copy which is whole and not Dirty.
    /// Nothing to the loader; without it `knownstate check` refuses a flow in which that can happen.
    pub allows_good: bool,
    /// Whether a `restore` says `allow losing what is not protected`: that what no seal covers may go with it.
    /// Nothing to the loader either.
    pub allows_loss: bool,
}

/// A checked logic.txt. Every index in it leads somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    pub(super) cd: Option<Cd>,
    pub(super) disks: Vec<Disk>,
    pub(super) partitions: Vec<Partition>,
    pub(super) steps: Vec<Step>,
}

impl Program {
    /// What the CD is called, if it has a name.
    #[must_use]
    pub const fn cd(&self) -> Option<&Cd> {
        self.cd.as_ref()
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A declared disk.
    #[must_use]
    pub fn disk(&self, index: DiskIndex) -> &Disk {
        &self.disks[index.0]
    }

    /// A declared partition.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> &Partition {
        &self.partitions[index.0]
    }

    /// Where the CD keeps a partition's image. Partitions share one if they get the same content and protect
    /// the same of it; what differs from the first one of the same name has an image of its own.
    #[must_use]
    pub fn image_path(&self, index: PartitionIndex) -> Option<String> {
        let declared = self.partition(index);
        let image = declared.image.as_ref()?;
        let first = self.partitions.iter().find(|p| p.image.as_ref() == Some(image)).unwrap_or(declared);
        let same = (&first.tools, &first.protect) == (&declared.tools, &declared.protect);
        Some(if same { format!("images/{image}") } else { format!("images/{image}.{}", declared.name) })
    }

    /// Every declared disk.
    pub fn disk_indexes(&self) -> impl Iterator<Item = DiskIndex> + use<> {
        (0..self.disks.len()).map(DiskIndex)
    }

    /// Every declared partition.
    pub fn partition_indexes(&self) -> impl Iterator<Item = PartitionIndex> + use<> {
        (0..self.partitions.len()).map(PartitionIndex)
    }

    /// The partitions of one disk, in the order of declaration.
    pub fn partitions_on(&self, disk: DiskIndex) -> impl Iterator<Item = PartitionIndex> + '_ {
        self.partition_indexes().filter(move |&p| self.partition(p).disk == disk)
    }

    /// The names of all partitions.
    pub fn partition_names(&self) -> impl Iterator<Item = &str> {
        self.partitions.iter().map(|p| p.name.as_str())
    }

    /// The names of the partitions that bstate.txt lists: those with an image, and those that a step boots or of
    /// whose state it speaks.
    pub fn recorded_names(&self) -> impl Iterator<Item = &str> {
        let spoken_of = |p| self.steps.iter().any(|step| step.verb.recorded() == Some(p));
        let listed = move |p: &PartitionIndex| self.partition(*p).image.is_some() || spoken_of(*p);
        self.partition_indexes().filter(listed).map(|p| self.partition(p).name.as_str())
    }
}

impl Verb {
    /// The partition that it boots, or whose state it sets or asks for; or which somebody may wish to boot.
    const fn recorded(&self) -> Option<PartitionIndex> {
        match self {
            Self::Set(p, _) | Self::IfState(p, _) | Self::IfFailures(p, _) | Self::IfCrashes(p, _) => Some(*p),
            Self::Boot(p) | Self::IfNext(Wish::Partition(p)) => Some(*p),
            _ => None,
        }
    }
}
