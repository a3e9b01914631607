//! What the tests share: a machine in memory, tools that are not this project's, disks and images.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod devices;
pub mod hostile;
pub mod images;
pub mod machine;
pub mod others;
pub mod record;
pub mod rules;
pub mod seals;
pub mod tools;
