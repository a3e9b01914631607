//! Boot managers that people use, from Debian's packages, each as small as it gets, chainloading the same
//! partition. None of them checks, remembers or repairs anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::handoff::Subject;
use crate::subjects::master;
use crate::tools::{self, copy, run};

/// Where Debian's syslinux-common keeps its modules.
const SYSLINUX: &str = "/usr/lib/syslinux/modules/bios";

/// What GRUB is told, in its embedded configuration or on the CD.
const CHAINLOAD: &str = "set root=(hd0,msdos1)\nchainloader +1\nboot\n";

/// All of them.
pub fn all() -> Vec<Subject> {
    vec![grub_minimal(), grub_with_file(), isolinux()]
}

/// The modules that chainloading takes, and the configuration, in one file.
fn grub_minimal() -> Subject {
    let folder = tools::fresh("cd/grub");
    let config = tools::folder("cd").join("grub.cfg");
    fs::write(&config, CHAINLOAD).expect("target can be written");
    let loader = grub_image(&folder, Some(&config), &["biosdisk", "part_msdos", "chain", "boot"]);
    Subject { name: "GRUB 2, embedded config", cd: grub_cd("grub", &folder), loader }
}

/// The usual way: a configuration file on the CD, read by the normal mode.
fn grub_with_file() -> Subject {
    let folder = tools::fresh("cd/grub-file");
    fs::create_dir_all(folder.join("boot/grub")).expect("target can be written");
    fs::write(folder.join("boot/grub/grub.cfg"), CHAINLOAD).expect("target can be written");
    let modules = ["biosdisk", "part_msdos", "chain", "boot", "iso9660", "normal", "configfile"];
    let loader = grub_image(&folder, None, &modules);
    Subject { name: "GRUB 2, config file", cd: grub_cd("grub-file", &folder), loader }
}

/// Makes `core.img` in a folder; its length.
fn grub_image(folder: &Path, config: Option<&Path>, modules: &[&str]) -> u64 {
    let image = folder.join("core.img");
    let mut command = Command::new("grub-mkimage");
    command.args(["-O", "i386-pc-eltorito", "-p", "/boot/grub", "-o"]).arg(&image);
    if let Some(config) = config {
        command.arg("-c").arg(config);
    }
    run(command.args(modules));
    length(&image)
}

fn grub_cd(name: &str, folder: &Path) -> PathBuf {
    let iso = tools::folder("iso").join(format!("{name}.iso"));
    master(folder, &iso, &["-b", "core.img", "-boot-info-table"]);
    iso
}

fn isolinux() -> Subject {
    let folder = tools::fresh("cd/isolinux");
    copy(Path::new("/usr/lib/ISOLINUX/isolinux.bin"), &folder.join("isolinux.bin"));
    let modules = ["ldlinux.c32", "chain.c32", "libcom32.c32", "libutil.c32"];
    for module in modules {
        copy(&Path::new(SYSLINUX).join(module), &folder.join(module));
    }
    let config = "DEFAULT p1\nPROMPT 0\nLABEL p1\nCOM32 chain.c32\nAPPEND hd0 1\n";
    fs::write(folder.join("isolinux.cfg"), config).expect("target can be written");
    let loader = modules.iter().chain([&"isolinux.bin"]).map(|file| length(&folder.join(file))).sum();
    let iso = tools::folder("iso").join("isolinux.iso");
    master(&folder, &iso, &["-b", "isolinux.bin", "-c", "boot.cat", "-boot-info-table"]);
    Subject { name: "ISOLINUX, chain.c32", cd: iso, loader }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).len()
}
