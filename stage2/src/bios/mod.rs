//! The BIOS: what it is asked, and how little of the answer is believed.

pub mod a20;
pub mod e820;
pub mod int10;
pub mod int13;
pub mod int16;
pub mod regs;
pub mod thunk;
