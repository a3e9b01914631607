//! `if D is ...`: whose a disk is.

use alloc::string::ToString;

use crate::logic::{DiskIndex, DiskState};
use crate::steps::{Context, Outcome};

impl Context<'_> {
    /// `if D is ours|blank|foreign|unclear`
    ///
    /// # Errors
    /// Always: it is not built yet.
    pub fn if_disk(&mut self, _disk: DiskIndex, _state: DiskState) -> Outcome {
        Err("not built yet".to_string())
    }
}
