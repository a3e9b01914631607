//! `activate P`.

use alloc::format;
use alloc::string::ToString;

use crate::defects::{Defect, seeded};
use crate::logic::PartitionIndex;
use crate::steps::{Context, Outcome};

impl Context<'_> {
    /// Moves the active flag to the partition, in one sector's write.
    ///
    /// # Errors
    /// When the MBR is damaged, has another map, or could not be written.
    pub fn activate(&mut self, partition: PartitionIndex) -> Outcome {
        let declared = self.program.partition(partition);
        let claim = self.claim(declared.disk)?;
        let mbr = self.read_mbr(&claim)?;
        if !mbr.has_map(&self.program.map(declared.disk)) {
            return Err(format!("the MBR does not hold {} as declared", declared.name));
        }
        let entry = usize::from(declared.entry);
        if mbr.active() == Ok(entry) {
            return Ok("it was".to_string());
        }
        let claim = self.claim_to_change(declared.disk)?;
        claim.check_scope()?;
        if seeded(Defect::FlagInTwoWrites) {
            self.write_mbr(&claim, &mbr.with_active(4))?;
        }
        self.write_mbr(&claim, &mbr.with_active(entry))
    }
}
