//! Listens to a machine, and nothing else: what it does is being measured.

use std::io::Read;
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};

use crate::guest::{Ears, Machine};

/// How QEMU writes disks, if nobody says otherwise.
pub const CACHE: &str = "writeback";

/// Starts QEMU, and listens to it in a thread that ends with it.
pub fn start(machine: &Machine, _name: &str, mut command: Command, mut ears: Ears) -> (Child, JoinHandle<()>) {
    if machine.no_reboot {
        command.arg("-no-reboot");
    }
    let mut child = machine.spawn(&mut command);
    let mut output = child.stdout.take().expect("stdout is piped");
    let listen = move || {
        let mut buffer = [0; 4096];
        loop {
            let n = output.read(&mut buffer).unwrap_or(0);
            if n == 0 {
                return ears.end();
            }
            ears.log(&buffer[..n]);
            ears.tell(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    (child, thread::spawn(listen))
}
