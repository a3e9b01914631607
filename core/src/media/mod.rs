//! What stands where on a medium.

pub mod boot_sector;
pub mod ext;
pub mod fat;
pub(crate) mod fat_names;
pub mod filesystem;
pub mod iso9660;
pub mod kind;
pub mod marks;
pub mod mbr;
pub mod note;
pub mod region;
