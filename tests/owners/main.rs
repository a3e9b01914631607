//! Whose a disk is, with other people's tools as the oracle: disks that have an owner are never written, disks that
//! are ours boot. `make owners SEED=N COUNT=N` runs other choices than `make test`.

mod cases;
mod cds;
#[path = "../common/mod.rs"]
mod common;
mod content;
mod file;
mod foreign;
mod judge;
mod layout;
mod machine;
mod ours;
mod says;
mod suite;
mod table;

use content::ALL;

/// What the suite believes has to be true: every owner's mark is named by somebody else.
#[test]
fn every_content_is_named_by_blkid_or_wipefs() {
    let folder = common::tools::temporary();
    let disk = folder.path().join("disk");
    for content in ALL {
        file::make(&disk, content.least.max(16384));
        content.put(&disk, 0, content.least.max(16384));
        assert!(!says::everything(&disk, &[], 0).is_empty(), "nobody names {}", content.name);
    }
}
