//! `if D is ...`: whose a disk is.

use alloc::format;
use alloc::string::{String, ToString};

use crate::logic::{DiskIndex, DiskState};
use crate::steps::{Context, Outcome};

impl Context<'_> {
    /// `if D is ours|blank|foreign|unclear`: of several candidates the best.
    ///
    /// # Errors
    /// What it is instead, or that there is no disk that it could be.
    pub fn if_disk(&mut self, disk: DiskIndex, state: DiskState) -> Outcome {
        match self.search(|search| search.state(disk)) {
            Some(is) if is == state => Ok(String::new()),
            Some(is) => Err(format!("it is {}", is.name())),
            None => Err("no disk found that it could be".to_string()),
        }
    }
}
