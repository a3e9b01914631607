//! Builds the loader (stage1, stage2 and the MBR's boot code) for its own target with a second cargo,
//! and leaves in OUT_DIR what the host tool embeds:
//!
//! - `loader.bin`: stage1, 2048 bytes, then stage2; sums filled in, the id still zeros
//! - `mbr.bin`: 440 bytes
//! - `loader.lines`: which function and line an address of stage2 is
//! - `loader.elf`, `loader.map`: the same with symbols and addresses, for debugging
//!
//! Environment: KNOWNSTATE_LOADER_CARGO and KNOWNSTATE_LOADER_RUSTC name another toolchain for it,
//! KNOWNSTATE_LOADER_FEATURES features of stage2.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs};

#[allow(dead_code, reason = "stage2 uses the others")]
mod header {
    include!("linker/header.rs");
}

/// The memory map is included as Rust for the numbers needed here, and as text for the linker, which is
/// given all of them.
#[allow(dead_code, reason = "stage2 uses the others")]
mod memory {
    include!("linker/memory.rs");
}

mod lines {
    include!("linker/lines.rs");
}

/// See [`memory`].
const MEMORY_MAP: &str = include_str!("linker/memory.rs");

/// Where everything goes.
const LINKER_SCRIPT: &str = include_str!("linker/stage2.ld");

/// A sector of the CD; stage2 is padded to whole ones.
const CD_SECTOR: usize = 2048;

/// Set for the second cargo's compilers: they are run through this program, see [`compile`].
const WRAPPER: &str = "KNOWNSTATE_LOADER_WRAPPER";

fn main() {
    if env::var_os(WRAPPER).is_some() {
        compile();
    }
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    for input in
        ["build.rs", "stage1", "stage2/src", "stage2/Cargo.toml", "linker", "core/src", "core/hot", "core/Cargo.toml"]
    {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    for name in ["CARGO", "RUSTC", "FEATURES"] {
        println!("cargo:rerun-if-env-changed=KNOWNSTATE_LOADER_{name}");
    }
    let elf = build(&Toolchain::find(), &root, &out);
    fs::copy(&elf, out.join("loader.elf")).unwrap_or_else(|error| fail(&format!("{}: {error}", elf.display())));
    let elf = fs::read(&elf).unwrap_or_else(|error| fail(&format!("{}: {error}", elf.display())));
    write(&out.join("mbr.bin"), &segment(&elf, memory::MBR_COPY));
    write(&out.join("loader.bin"), &loader(&elf));
    let program = u64::from(memory::STAGE2)..u64::from(memory::STAGE2_END);
    let lines = lines::lines(&out.join("loader.elf"), program);
    write(&out.join("loader.lines"), lines.unwrap_or_else(|error| fail(&format!("loader.elf: {error}"))).as_bytes());
}

/// Stands in for rustc. Cargo derives the names of our two crates from paths (core's directory, the
/// linker script's), and the order of functions in the loader follows from those names. With fixed ones
/// the same source gives the same bytes wherever the checkout is.
fn compile() -> ! {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    let name = arguments.iter().skip_while(|it| *it != "--crate-name").nth(1).cloned().unwrap_or_default();
    let fixed = format!("metadata={}", name.to_string_lossy());
    if name.to_string_lossy().starts_with("knownstate_") {
        let derived = arguments.iter_mut().filter(|it| it.to_string_lossy().starts_with("metadata="));
        derived.for_each(|it| *it = fixed.clone().into());
    }
    let status = Command::new(&arguments[0]).args(&arguments[1..]).status();
    exit(status.ok().and_then(|status| status.code()).unwrap_or(1))
}

/// A cargo and a rustc that have the standard library's source.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
}

impl Toolchain {
    /// What the environment names; else the toolchain that runs us; else Debian's.
    fn find() -> Self {
        let named = |name| env::var_os(name).map(PathBuf::from);
        let (cargo, rustc) = (named("KNOWNSTATE_LOADER_CARGO"), named("KNOWNSTATE_LOADER_RUSTC"));
        let forced = cargo.is_some() || rustc.is_some();
        let ours = (
            cargo.unwrap_or_else(|| PathBuf::from(variable("CARGO"))),
            rustc.unwrap_or_else(|| PathBuf::from(variable("RUSTC"))),
        );
        let debian = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
        let candidates = if forced { vec![ours] } else { vec![ours, debian] };
        candidates.into_iter().find_map(|(cargo, rustc)| Self::with_source(cargo, &rustc)).unwrap_or_else(|| {
            fail(
                "the loader has a target of its own and needs the source of Rust's standard library, which no \
                 toolchain here has. Type `make setup`, or one of:\n    \
                 rustup component add rust-src\n    \
                 apt-get install rustc-web cargo-web rust-web-src",
            )
        })
    }

    fn with_source(cargo: PathBuf, rustc: &Path) -> Option<Self> {
        // Through rustup's proxy the sysroot is the real toolchain's; its own rustc does not depend on
        // the proxy's environment, which is cleared below.
        let sysroot = PathBuf::from(answer(Command::new(rustc).args(["--print", "sysroot"]))?.trim());
        let direct = sysroot.join("bin/rustc");
        let rustc = if direct.exists() { direct } else { rustc.to_path_buf() };
        let source = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        (source.exists() && cargo.exists()).then_some(Self { cargo, rustc, sysroot })
    }

    /// Cargo in an environment as if the user had typed the command: nothing of the build that we are
    /// part of may leak into it.
    fn command(&self) -> Command {
        const KEEP: [&str; 7] = [
            "CARGO_HOME",
            "CARGO_HTTP_",
            "CARGO_NET_",
            "CARGO_REGISTRIES_",
            "CARGO_REGISTRY_",
            "CARGO_SOURCE_",
            "RUSTUP_HOME",
        ];
        const OURS: [&str; 13] = [
            "CARGO",
            "RUST",
            "DEP_",
            "OUT_DIR",
            "TARGET",
            "HOST",
            "PROFILE",
            "OPT_LEVEL",
            "DEBUG",
            "NUM_JOBS",
            "MAKEFLAGS",
            "MFLAGS",
            "LD_LIBRARY_PATH",
        ];
        let mut command = Command::new(&self.cargo);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if OURS.iter().any(|it| name.starts_with(it)) && !KEEP.iter().any(|it| name.starts_with(it)) {
                command.env_remove(&*name);
            }
        }
        // build-std is not in stable Rust; the bootstrap variable lets a stable compiler do it.
        command.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        if let Ok(program) = env::current_exe() {
            command.env("RUSTC_WRAPPER", program).env(WRAPPER, "1");
        }
        command
    }

    /// Newer cargos want to be told that a target may be a JSON file; older ones don't know the flag.
    fn wants_json_flag(&self) -> bool {
        answer(self.command().args(["-Z", "help"])).is_some_and(|text| text.contains("json-target-spec"))
    }
}

/// Builds the ELF and returns its path.
fn build(toolchain: &Toolchain, root: &Path, out: &Path) -> PathBuf {
    let target_dir = out.join("loader");
    let mut command = toolchain.command();
    command.current_dir(root.join("stage2"));
    command.args(["rustc", "--release", "--bin", "knownstate-stage2"]);
    command.arg("-Zbuild-std=core,alloc,compiler_builtins");
    command.arg("-Zbuild-std-features=compiler-builtins-mem,optimize_for_size");
    if toolchain.wants_json_flag() {
        command.arg("-Zjson-target-spec");
    }
    if let Ok(features) = env::var("KNOWNSTATE_LOADER_FEATURES") {
        command.args(["--features", &features]);
    }
    command.arg("--target").arg(root.join("linker/i386-bios.json"));
    command.arg("--target-dir").arg(&target_dir);
    // A panic is an undefined instruction, whose exception tells the address; its words, and what prints
    // them, would take 8 KiB of the loader.
    let mut flags = remapped_paths(toolchain, root);
    flags.extend(["-Zunstable-options", "-Cpanic=immediate-abort"].map(String::from));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command.arg("--").args(link_arguments(root, out));
    let status = command.status();
    if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        fail("the loader could not be built; cargo says why above");
    }
    target_dir.join("i386-bios/release/knownstate-stage2")
}

/// Panic messages carry file names: the same ones wherever the checkout is, so that the same source
/// gives the same bytes.
fn remapped_paths(toolchain: &Toolchain, root: &Path) -> Vec<String> {
    let home = env::var("HOME").unwrap_or_default();
    let cargo_home = env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo"));
    let prefixes = [
        (root.display().to_string(), "knownstate"),
        (cargo_home, "cargo"),
        (toolchain.sysroot.join("lib/rustlib/src/rust").display().to_string(), "rust"),
    ];
    prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect()
}

/// The linker, its script, and every number of the memory map as a symbol.
fn link_arguments(root: &Path, out: &Path) -> Vec<String> {
    let mut arguments = vec![
        format!("-T{}", root.join("linker/stage2.ld").display()),
        format!("-Map={}", out.join("loader.map").display()),
        format!("--defsym=MBR_CODE_BYTES={}", header::MBR_CODE_BYTES),
        // Cargo doesn't watch the script; another number here makes it link again.
        format!(
            "--defsym=SCRIPT={}",
            LINKER_SCRIPT.bytes().fold(0, |sum: u32, byte| sum.rotate_left(5) ^ u32::from(byte))
        ),
    ];
    arguments.extend(memory_map().map(|(name, value)| format!("--defsym={name}={value}")));
    let mut flags: Vec<String> = arguments.iter().flat_map(|it| ["-C".into(), format!("link-arg={it}")]).collect();
    flags.extend(linker());
    flags
}

/// The constants of linker/memory.rs, each on a line of its own.
fn memory_map() -> impl Iterator<Item = (&'static str, String)> {
    MEMORY_MAP.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("pub const ")?.split_once(": u32 = ")?;
        Some((name, value.trim_end_matches(';').replace('_', "")))
    })
}

/// GNU ld, if one here can link for the i386; else the linker that comes with rustup's toolchains.
fn linker() -> Vec<String> {
    let names = ["ld", "x86_64-linux-gnu-ld", "i686-linux-gnu-ld", "ld.lld"];
    let able = |name: &&str| {
        answer(Command::new(name).args(["-m", "elf_i386", "-V"]))
            .is_some_and(|text| text.contains("elf_i386") || text.contains("LLD"))
    };
    match names.into_iter().find(able) {
        Some(name) => vec!["-C".into(), format!("linker={name}")],
        None => ["-C", "linker=rust-lld", "-C", "linker-flavor=gnu-lld"].map(String::from).to_vec(),
    }
}

/// stage1 and stage2 in one piece, sums filled in.
fn loader(elf: &[u8]) -> Vec<u8> {
    let mut loader = segment(elf, memory::BOOT_SECTOR);
    let mut stage2 = segment(elf, memory::STAGE2);
    stage2.resize(stage2.len().next_multiple_of(CD_SECTOR), 0);
    if loader.len() != memory::STAGE1_BYTES as usize {
        fail(&format!("stage1 has {} bytes instead of {}", loader.len(), memory::STAGE1_BYTES));
    }
    let fields = [
        (header::HEADER_STAGE2_BYTES, stage2.len() as u32),
        (header::HEADER_STAGE2_SUM, sum(&stage2)),
        (header::HEADER_TAIL_SUM, sum(&loader[512..])),
    ];
    for (at, value) in fields {
        loader[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    loader.extend(stage2);
    loader
}

/// The sum of little-endian u32 words, as stage1 computes it.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(4)
        .fold(0, |sum, word| sum.wrapping_add(u32::from_le_bytes([word[0], word[1], word[2], word[3]])))
}

/// The bytes of the ELF's segment that is linked at `address` (System V ABI, chapter 5). A segment that
/// the linker dropped, or left empty, ends the build.
fn segment(elf: &[u8], address: u32) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes([elf[at], elf[at + 1], elf[at + 2], elf[at + 3]]);
    let (table, count) = (word(28) as usize, usize::from(elf[44]));
    (0..count)
        .map(|index| table + 32 * index)
        .find(|&at| word(at) == 1 && word(at + 8) == address && word(at + 16) != 0)
        .map(|at| (word(at + 4) as usize, word(at + 16) as usize))
        .and_then(|(begin, length)| elf.get(begin..begin + length))
        .filter(|bytes| bytes.iter().any(|&byte| byte != 0))
        .unwrap_or_else(|| fail(&format!("the linker left nothing at {address:X}h: see KEEP in linker/stage2.ld")))
        .to_vec()
}

/// What a command prints, if it runs and succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// A variable that cargo always sets for a build script.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set: this is run by cargo")))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())));
}

fn fail(why: &str) -> ! {
    eprintln!("build.rs: {why}");
    exit(1)
}
