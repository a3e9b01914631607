//! For Miri, which has no time for more: the committed inputs of every target but whole starts, which begin with
//! files that other tests make.

use std::fs;
use std::path::Path;

#[test]
fn committed_inputs_break_nothing() {
    let mut replayed = 0;
    for (target, run) in knownstate_fuzz::TARGETS.into_iter().filter(|(name, _)| !name.starts_with("run")) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target);
        for file in fs::read_dir(folder).into_iter().flatten() {
            run(&fs::read(file.expect("it can be listed").path()).expect("it can be read"));
            replayed += 1;
        }
    }
    assert!(replayed > 0, "nothing is committed");
}
