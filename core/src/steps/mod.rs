//! What each step does, one file a verb family. Each step ends in an [`Outcome`]; which step comes
//! next is [`crate::run`]'s business alone.

pub mod activate;
pub mod boot;
pub mod disk;
pub mod heal;
pub mod images;
pub mod progress;
pub mod restore;
pub mod seal;
pub mod state;
pub(crate) mod ties;
pub mod verify;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::disks::{self, Chosen, Claim, Known, Scope, Search};
use crate::event::Event;
use crate::logic::{DiskIndex, PartitionIndex, Program, Step};
use crate::machine::Machine;
use crate::media::iso9660::Iso;
use crate::media::mbr::CODE_BYTES;
use crate::media::region::Region;
use crate::steps::seal::Damage;
use crate::steps::state::States;
use crate::table::unpack::Buffers;

pub use disks::STANDARD_MBR;

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
    /// What was looked at on the way.
    known: Known,
    /// What was told of disks, each once.
    remarks: Vec<String>,
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
            known: Known::default(),
            remarks: Vec::new(),
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

    /// The declared disk, which is provably ours.
    ///
    /// # Errors
    /// Why there is none.
    pub fn claim(&mut self, disk: DiskIndex) -> Result<Claim, String> {
        match self.claims.get(disk.number()) {
            Some(Some(claim)) => Ok(claim.clone()),
            _ => self.claim_anew(disk),
        }
    }

    /// The same, looked for again: what is about to be changed has to be the right disk now, not some seconds ago.
    ///
    /// # Errors
    /// As [`Context::claim`].
    pub fn claim_anew(&mut self, disk: DiskIndex) -> Result<Claim, String> {
        self.machine.forget();
        let chosen = self.search(|search| search.find(disk, false))?;
        self.take(disk, chosen)
    }

    /// The same for who is about to change more of it than bstate.txt: that no other disk is as much ours has to be
    /// known then.
    ///
    /// # Errors
    /// As [`Context::claim`].
    pub(crate) fn claim_to_change(&mut self, disk: DiskIndex) -> Result<Claim, String> {
        self.machine.forget();
        let chosen = self.search(|search| search.find(disk, true))?;
        self.take(disk, chosen)
    }

    /// The disk that a restore may write: it may be blank, or adopted, as well.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn claim_to_restore(&mut self, disk: DiskIndex) -> Result<Claim, String> {
        self.machine.forget();
        let Chosen { claim, remark } = self.search(|search| search.find_to_restore(disk))?;
        self.remark(disk, remark);
        Ok(claim)
    }

    /// Remembers which disk is the declared one; nothing where that has to be found out again.
    pub(crate) fn remember_claim(&mut self, disk: DiskIndex, claim: Option<Claim>) {
        if let Some(slot) = self.claims.get_mut(disk.number()) {
            *slot = claim;
        }
    }

    fn take(&mut self, disk: DiskIndex, chosen: Chosen) -> Result<Claim, String> {
        self.remark(disk, chosen.remark);
        self.remember_claim(disk, Some(chosen.claim.clone()));
        Ok(chosen.claim)
    }

    /// Tells what is not as usual about a disk, once.
    fn remark(&mut self, disk: DiskIndex, remark: String) {
        if !remark.is_empty() && !self.remarks.contains(&remark) {
            let step = format!("disk {}", self.program.disk(disk).name);
            self.tell("-", &step, &Ok(remark.clone()));
            self.remarks.push(remark);
        }
    }

    /// The disks whose table was found whole.
    pub(crate) fn whole_claims(&self) -> Vec<Claim> {
        let whole = self.claims.iter().flatten().filter(|claim| claim.is_whole() && claim.scope() == Scope::All);
        whole.cloned().collect()
    }

    /// Looks for disks.
    pub(crate) fn search<T>(&mut self, look: impl FnOnce(&mut Search<'_>) -> T) -> T {
        let Self { machine, cd, program, known, .. } = self;
        look(&mut Search { machine: *machine, cd: Some(cd), program, known })
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
        disks::boot_code(self.machine, &self.cd, self.program, disk)
    }
}

/// A step's name in bstate.txt: its label, or itself where it has none.
#[must_use]
pub fn name_of(step: &Step) -> &str {
    if step.label == "-" { &step.text } else { &step.label }
}
