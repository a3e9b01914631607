//! Folders, programs and files that every part of the bench uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where everything goes that the bench makes; kept for whoever looks into a failure.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench").join(name);
    fs::create_dir_all(&path).expect("target can be written");
    path
}

/// The same, empty.
pub fn fresh(name: &str) -> PathBuf {
    let path = folder(name);
    fs::remove_dir_all(&path).expect("target can be written");
    folder(name)
}

/// Runs a tool that has to succeed; what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = command.env("PATH", path).env("MTOOLS_SKIP_CHECK", "1").output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; `setup.sh bench` installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Copies a file with its holes.
pub fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to));
}

/// Assembles `tests/bench/NAME.s` at an address, with constants; the bytes.
pub fn assemble(name: &str, address: u64, constants: &[(&str, u64)]) -> Vec<u8> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bench/{name}.s"));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (object, binary) = (folder.path().join("o"), folder.path().join("bin"));
    let mut assembler = Command::new("as");
    assembler.arg("-I").arg(source.with_file_name(""));
    assembler.args(["--32", "-o"]).arg(&object);
    for (constant, value) in constants {
        assembler.args(["--defsym".to_string(), format!("{constant}={value}")]);
    }
    run(assembler.arg(source));
    let text = format!("-Ttext={address:#x}");
    run(Command::new("ld").args(["-m", "elf_i386", "--oformat", "binary", &text, "-o"]).arg(&binary).arg(object));
    fs::read(binary).expect("it was made")
}
