//! `boot P`: everything of a hand-off but the jump.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use crate::logic::PartitionIndex;
use crate::machine::HandOff;
use crate::media::boot_sector;
use crate::media::mbr::{CODE_BYTES, Mbr};
use crate::steps::Context;
use crate::units::{Offset, SECTOR};

impl Context<'_> {
    /// Reads what the hand-off needs, and says where it goes.
    ///
    /// # Errors
    /// When the partition has no boot sector that could be jumped to.
    #[inline(never)]
    pub fn boot(&mut self, partition: PartitionIndex) -> Result<(String, Box<HandOff>), String> {
        let declared = self.program.partition(partition);
        let claim = self.claim(declared.disk)?;
        let region = claim.partition(declared);
        let mut boot_sector = [0; SECTOR];
        region.read(self.machine, Offset(0), &mut boot_sector).map_err(|e| format!("boot sector unreadable: {e}"))?;
        if let Some(fault) = boot_sector::fault(&boot_sector) {
            return Err(fault.to_string());
        }
        // A table can't say more than 32 bits, and the logic check refuses what it can't say.
        let start = u32::try_from(declared.start.0).map_err(|_| "starts past 2 TiB".to_string())?;
        boot_sector::adapt(&mut boot_sector, start, claim.drive());

        // Boot sectors look for their own entry in the table, so they get a table that has it, even
        // if the disk's MBR is damaged and nobody minded.
        let map = self.program.map(declared.disk);
        let standing = self.read_mbr(&claim).ok().filter(|mbr| mbr.has_map(&map));
        let mbr = standing.unwrap_or_else(|| Mbr::new(&map, &[0; CODE_BYTES], 0));
        // Some follow the active flag instead of the entry that they are pointed to.
        let mbr = mbr.with_active(usize::from(declared.entry));
        let drive = claim.drive();
        let hand_off = HandOff { drive, mbr: *mbr.sector(), entry: declared.entry, boot_sector };
        Ok((format!("drive {drive:02X}, lba {start}"), Box::new(hand_off)))
    }
}
