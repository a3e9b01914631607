//! What each step does, one file a verb family. Each step ends in an [`Outcome`]; which step comes
//! next is [`crate::run`]'s business alone.

pub mod activate;
pub mod boot;
pub mod heal;
pub mod images;
pub mod progress;
pub mod restore;
pub mod seal;
pub mod state;
pub(crate) mod ties;
pub mod verify;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::disks::{self, Claim};
use crate::event::Event;
use crate::logic::{DiskIndex, MbrCode, PartitionIndex, Program, Step};
use crate::machine::Machine;
use crate::media::iso9660::Iso;
use crate::media::mbr::CODE_BYTES;
use crate::media::region::Region;
use crate::steps::seal::Damage;
use crate::steps::state::States;
use crate::table::unpack::Buffers;

/// Where the CD keeps the standard boot code.
pub const STANDARD_MBR: &str = "mbr.bin";

/// What a step came to: done, with a remark that may be empty, or failed, with the reason.
pub type Outcome = Result<String, String>;

/// Everything that a step works with.
pub struct Context<'m> {
    /// The machine.
    pub machine: &'m mut dyn Machine,
    /// The boot medium.
    pub cd: Iso,
    /// The flow.
    pub program: &'m Program,
    /// The disks found so far.
    claims: Vec<Option<Claim>>,
    /// bstate.txt, once it was needed.
    pub(crate) states: Option<States>,
    /// The last failure of any step.
    pub(crate) trouble: String,
    /// Large buffers.
    pub(crate) buffers: Buffers<'m>,
    /// The steps of this run that rewrite much, as written.
    rewritten: Vec<String>,
    /// What the last `verify` found, for the `heal` that follows.
    damage: Option<(PartitionIndex, Damage)>,
    /// The last thing found wrong with each partition: the label of the step, and the reason.
    findings: Vec<Option<String>>,
}

impl<'m> Context<'m> {
    /// A context in which nothing was looked at yet.
    pub fn new(machine: &'m mut dyn Machine, buffers: Buffers<'m>, cd: Iso, program: &'m Program) -> Self {
        let claims = vec![None; program.disk_indexes().count()];
        let findings = vec![None; program.partition_indexes().count()];
        Self {
            machine,
            cd,
            program,
            claims,
            states: None,
            trouble: String::new(),
            buffers,
            rewritten: Vec::new(),
            damage: None,
            findings,
        }
    }

    /// Tells what a step came to.
    pub fn tell(&mut self, label: &str, step: &str, outcome: &Outcome) {
        let (Ok(reason) | Err(reason)) = outcome;
        self.machine.tell(&Event::Outcome { label, step, failed: outcome.is_err(), reason });
    }

    /// The declared disk.
    ///
    /// # Errors
    /// Why it can't be told, or must not be written.
    pub fn claim(&mut self, disk: DiskIndex) -> Result<Claim, String> {
        if let Some((_, claim)) = self.program.disk_indexes().zip(&self.claims).find(|&(d, _)| d == disk)
            && let Some(claim) = claim
        {
            return Ok(*claim);
        }
        self.claim_anew(disk)
    }

    /// The same, looked for again: what is about to be destroyed has to be the right disk now, not
    /// some seconds ago.
    ///
    /// # Errors
    /// As [`Context::claim`].
    pub fn claim_anew(&mut self, disk: DiskIndex) -> Result<Claim, String> {
        self.machine.forget();
        let claim = disks::find(self.machine, self.program, disk)?;
        let mut slots = self.program.disk_indexes().zip(&mut self.claims);
        if let Some((_, slot)) = slots.find(|(d, _)| *d == disk) {
            *slot = Some(claim);
        }
        Ok(claim)
    }

    /// A declared partition's sectors.
    ///
    /// # Errors
    /// As [`Context::claim`].
    pub fn region(&mut self, partition: PartitionIndex) -> Result<Region, String> {
        let partition = self.program.partition(partition);
        Ok(self.claim(partition.disk)?.partition(partition))
    }

    /// Remembers what a step found wrong with a partition, for bstate.txt's `why`.
    pub fn found(&mut self, partition: PartitionIndex, step: &Step, reason: &str) {
        let mut slots = self.program.partition_indexes().zip(&mut self.findings);
        if let Some((_, slot)) = slots.find(|(p, _)| *p == partition) {
            *slot = Some(format!("{} {reason}", name_of(step)));
        }
    }

    /// What was last found wrong with a partition.
    #[must_use]
    pub fn finding(&self, partition: PartitionIndex) -> Option<&str> {
        let mut slots = self.program.partition_indexes().zip(&self.findings);
        slots.find(|&(p, _)| p == partition).and_then(|(_, slot)| slot.as_deref())
    }

    /// Remembers what differs from a partition's seal, for the `heal` that follows.
    pub(crate) fn remember_damage(&mut self, partition: PartitionIndex, damage: Damage) {
        self.damage = Some((partition, damage));
    }

    /// What was remembered; once.
    pub(crate) fn take_damage(&mut self, partition: PartitionIndex) -> Option<Damage> {
        self.damage.take().filter(|(p, _)| *p == partition).map(|(_, damage)| damage)
    }

    /// What was remembered is about to be overwritten, and the seal with it.
    pub(crate) fn forget_damage(&mut self) {
        self.damage = None;
    }

    /// The boot code that a disk's MBR has to have.
    ///
    /// # Errors
    /// When the CD's file can't be read or is too short.
    pub fn mbr_code(&mut self, disk: DiskIndex) -> Result<[u8; CODE_BYTES], String> {
        let path = match &self.program.disk(disk).mbr {
            MbrCode::File(file) => format!("images/{file}"),
            MbrCode::Standard | MbrCode::Any => STANDARD_MBR.to_string(),
        };
        let file = self.cd.read_file(self.machine, &path, 4096).map_err(|e| e.to_string())?;
        file.first_chunk().copied().ok_or_else(|| format!("{path} has fewer than {CODE_BYTES} bytes"))
    }
}

/// A step's name in bstate.txt: its label, or itself where it has none.
#[must_use]
pub fn name_of(step: &Step) -> &str {
    if step.label == "-" { &step.text } else { &step.label }
}
