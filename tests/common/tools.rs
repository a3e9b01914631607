//! Programs that are not this project's, as the judges of what it makes; and the project's own
//! binaries.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a program came to.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a program; its exit code is the caller's business.
pub fn run(program: &str, arguments: &[&str]) -> Ran {
    run_in(Path::new("."), program, arguments)
}

pub fn run_in(folder: &Path, program: &str, arguments: &[&str]) -> Ran {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder).env("PATH", path).env("MTOOLS_SKIP_CHECK", "1").output();
    let Output { status, stdout, stderr } =
        output.unwrap_or_else(|e| panic!("can't run {program} ({e}); `make setup` installs what the tests need"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// Runs a program that has to succeed; its standard output.
pub fn must(program: &str, arguments: &[&str]) -> String {
    let ran = run(program, arguments);
    assert_eq!(ran.code, 0, "{program} {arguments:?} failed:\n{}{}", ran.out, ran.err);
    ran.out
}

/// Runs `knownstate`: cargo's own for its package's tests, else the one that `make host` has built.
pub fn knownstate(arguments: &[&str]) -> Ran {
    run(KNOWNSTATE, arguments)
}

const KNOWNSTATE: &str = match option_env!("CARGO_BIN_EXE_knownstate") {
    Some(path) => path,
    None => "target/release/knownstate",
};

/// Runs `bstate`, which cargo puts beside `knownstate`.
pub fn bstate(arguments: &[&str]) -> Ran {
    let beside = PathBuf::from(KNOWNSTATE).with_file_name("bstate");
    assert!(beside.exists(), "{} is missing: `cargo build --workspace` (with the same profile)", beside.display());
    run(text(&beside), arguments)
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// A shell script that has to succeed, with the folder as its working directory.
pub fn shell(folder: &Path, script: &str) -> String {
    let ran = run_in(folder, "sh", &["-euc", script]);
    assert_eq!(ran.code, 0, "`{script}` failed:\n{}{}", ran.out, ran.err);
    ran.out
}

pub fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("knownstate-test-").tempdir().unwrap()
}
