//! All that knows what a disk means. No I/O of its own: see [`machine::Machine`].
//!
//! The story on one page. [`run()`] reads `logic.txt` from the boot medium ([`media::iso9660`]) and
//! makes a checked [`logic::Program`] of it. It follows the program step by step; each step
//! ([`steps`]) looks at disks or changes them and comes to an outcome, which decides the next step and
//! is told as an [`event`]. A disk is touched only after it was found to be the declared one
//! ([`disks`]), and only through a [`media::region`]. How boots went is remembered in `bstate.txt`
//! ([`bstate`]), found through the partition's own filesystem ([`media::filesystem`]). It ends with a
//! [`machine::Ending`], which the machine obeys: hand-off, hold, restart or power-off.
//!
//! The loader, all of this in it, has to stay within 128 KiB. So functions with a sector on their stack
//! are `#[inline(never)]`: inlined, they make every other variable of their caller expensive to reach.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bstate;
pub mod bytes;
pub mod cache;
pub mod defects;
pub mod disks;
pub mod event;
pub mod layout;
pub mod logic;
pub mod machine;
pub mod media;
pub mod run;
pub mod steps;
pub mod table;
pub mod units;

pub use knownstate_hot::hash;
pub use run::run;
