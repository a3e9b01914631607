//! The watchdogs that QEMU has, each of which has to end a system that hangs, and to leave alone a long start.
//! What a chip does that QEMU's does not is in tests/watchdog.rs.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::comes_up;
use crate::disk::*;
use crate::guest::{Guest, Machine};
use crate::monitor::ask;

/// What a watchdog of QEMU's does when it runs out; it is the default, and said all the same.
const RESETS: [&str; 2] = ["-action", "watchdog=reset"];
/// QEMU's q35 has a board whose strap keeps the TCO timer from resetting, unless told otherwise.
const NO_STRAP: [&str; 2] = ["-global", "ICH9-LPC.noreboot=false"];

/// A CD with a P1 that hangs and a P2 that lives; P1 is booted behind `watchdog`, P2 behind `again`.
fn cd(name: &str, watchdog: &str, again: &str) -> PathBuf {
    static IMAGES: std::sync::Once = std::sync::Once::new();
    IMAGES.call_once(|| ["hangs", "lives"].into_iter().for_each(|name| boot_image("watchdog", name)));
    let logic = format!(
        "logic 1\ndisk d sectors 40000..\n\
        partition P1 on d start 64 sectors 8192 type 01 image hangs.img\n\
        partition P2 on d start 10000 sectors 8192 type 01 image lives.img\n\
        1 verify mbr of d else 8\n2 if P1 is OK else 6\n3 set P1 Dirty\n4 {watchdog} else 9\n5 boot P1\n\
        6 {again} else 9\n7 boot P2\n8 restore d else 9\nrestart\n9 notify \"unguarded\"\nboot P2\nhold \"no\"\n"
    );
    iso_beside("watchdog", name, &logic)
}

fn start(name: &str, cd: &Path, board: &'static str, words: &[&str]) -> Guest {
    let mut machine = Machine::new(cd, &blank(name)).with(&RESETS).with(words);
    machine.board = board;
    machine.start(name)
}

/// P1 hangs, the machine starts over by itself, and P2 comes up.
#[track_caller]
fn a_hung_system_falls_back(name: &str, board: &'static str, words: &[&str], steps: [&str; 2], told: [&str; 2]) {
    let mut guest = start(name, &cd(name, steps[0], steps[1]), board, words);
    guest.expect("8 restore d = ok").expect("3 set P1 Dirty = ok");
    guest.expect(&format!("4 {} = ok ({})", steps[0], told[0])).expect("5 boot P1 = ok (drive 80, lba 64)");
    guest.expect("2 if P1 is OK = failed (it is Dirty: 5 boot begun, not confirmed)");
    guest.expect(&format!("6 {} = ok ({})", steps[1], told[1])).expect("7 boot P2 = ok (drive 80, lba 10000)");
    guest.expect("the spare lives");
}

#[test]
fn the_6300esb_ends_a_hung_system() {
    let steps = ["watchdog 4", "watchdog 600 i6300esb"];
    let told = ["i6300ESB, 4 s", "i6300ESB, 600 s; it caused the last reset"];
    for (name, board) in [("esb-pc", "pc"), ("esb-q35", "q35")] {
        a_hung_system_falls_back(name, board, &["-device", "i6300esb"], steps, told);
    }
}

#[test]
fn the_tco_timer_ends_a_hung_system() {
    let steps = ["watchdog 4", "watchdog 60 itco"];
    // Twice four ticks of 0.6 s, the fewest that are allowed.
    a_hung_system_falls_back("tco", "q35", &NO_STRAP, steps, ["iTCO, 5 s", "iTCO, 60 s; it had run out before"]);
}

#[test]
fn the_ib700_ends_a_hung_system_where_it_is_named() {
    let steps = ["watchdog 3 ib700", "watchdog 30 ib700"];
    let told = ["ib700, 4 s; nothing tells whether there is one", "ib700, 30 s; nothing tells whether there is one"];
    a_hung_system_falls_back("ib700", "pc", &["-device", "ib700"], steps, told);
}

#[test]
fn a_machine_without_a_watchdog_goes_on_with_else() {
    // An ib700 that logic.txt does not name is none.
    for (name, watchdog, words, why) in [
        ("none", "watchdog 60", &[][..], "i6300ESB not there, iTCO not there"),
        ("unnamed", "watchdog 60", &["-device", "ib700"], "i6300ESB not there, iTCO not there"),
        ("other", "watchdog 60 itco", &["-device", "i6300esb"], "iTCO not there"),
    ] {
        let mut guest = start(name, &cd(name, watchdog, watchdog), "pc", words);
        guest.expect(&format!("4 {watchdog} = failed (no watchdog found: {why})"));
        guest.expect("9 notify \"unguarded\" = ok").expect("the spare lives");
    }
}

/// A CD that writes nothing: it arms a watchdog, or does not, and holds.
fn holding_cd(name: &str, watchdog: &str) -> PathBuf {
    let steps = format!("1 {watchdog} else 9\n2 hold \"guarded\"\n9 hold \"unguarded\"\n");
    iso_beside(
        "watchdog",
        name,
        &format!("logic 1\ndisk d sectors 40000..\npartition P1 on d start 64 sectors 8 type 01\n{steps}"),
    )
}

/// A machine from before PCI, whose BIOS says so.
#[test]
fn a_machine_without_pci_has_no_watchdog() {
    let mut guest = start("isa", &holding_cd("isa", "watchdog 60"), "isapc", &["-cpu", "486"]);
    guest.expect("1 watchdog 60 = failed (no watchdog found: i6300ESB needs PCI, iTCO needs PCI)");
    guest.expect("9 hold \"unguarded\" = ok");
}

/// Nothing is going to be booted, so nothing is to be guarded: halted, and its reset kept in.
#[test]
fn a_hold_stops_it() {
    let socket = crate::folder("qmp").join("hold.sock");
    let qmp = format!("unix:{},server=on,wait=off", socket.display());
    let cd = holding_cd("hold", "watchdog 60");
    let mut guest = start("hold", &cd, "q35", &[&NO_STRAP[..], &["-qmp", &qmp]].concat());
    guest.expect("1 watchdog 60 = ok (iTCO, 60 s)").expect("2 hold \"guarded\" = ok").expect("2 hold \"guarded\" = ok");
    let command =
        |line: &str| format!("{{\"execute\":\"human-monitor-command\",\"arguments\":{{\"command-line\":\"{line}\"}}}}");
    let said = ask(&socket, &["i /xh 0x668", "xp /xw 0xfed1f410"].map(command));
    let bit = |register: &str, bit: u32| {
        let value = said.split(register).nth(1).and_then(|rest| rest.split("0x").nth(1));
        let digits = value.and_then(|v| v.split(|c: char| !c.is_ascii_hexdigit()).next());
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        value.unwrap_or_else(|| panic!("no {register} in {said}")) >> bit & 1
    };
    assert_eq!((bit("[0x0668]", 11), bit("fed1f410:", 5)), (1, 1), "TCO1_CNT and GCS: {said}");
}

/// A restore, a wait and a hold that each take longer than the watchdog's time.
#[test]
fn a_long_start_is_not_bitten() {
    let text = logic();
    let steps = text.find("202 verify").expect("figure4 has its steps");
    let flow = "1 watchdog 2 else 9\n2 restore system else 9\n3 wait 5 else 9\nhold \"done\"\n9 hold \"no\"\n";
    let cd = iso("long", &format!("{}{flow}", &text[..steps]));
    let mut guest = start("long", &cd, "pc", &["-device", "i6300esb"]);
    guest.expect("1 watchdog 2 = ok (i6300ESB, 2 s)").expect("2 restore system = ok").expect("3 wait 5 = ok");
    guest.expect("- hold \"done\" = ok").expect("- hold \"done\" = ok");
    assert_eq!(guest.all().matches(" - Knownstate ").count(), 1, "it started over:\n{}", guest.all());
}

/// The appliance: hung by its fault word it is ended; up, it tells the watchdog that all is well.
#[test]
fn a_real_system_is_ended_when_it_hangs_and_pets_when_it_lives() {
    let text = logic();
    let armed = text.replace("212 boot P1", "211 watchdog 40 else 212\n212 boot P1");
    let armed = armed.replace("242 boot P2", "241 watchdog 60 else 242\n242 boot P2");
    let cd = iso("petted", &armed);
    let disk = restored("petted");
    append_fault(&disk, P1, "hang,P1");
    let mut guest = Machine::new(&cd, &disk).with(&RESETS).with(&["-device", "i6300esb"]).start("petted");
    guest.expect("211 watchdog 40 = ok (i6300ESB, 40 s)").expect("appliance: fault: hanging");
    guest.expect("241 watchdog 60 = ok (i6300ESB, 60 s; it caused the last reset)");
    comes_up(&mut guest, "P2");
    guest.expect("appliance# ");
    // The system has set it to 20 s.
    sleep(Duration::from_secs(25));
    guest.type_line("echo alive after $((20 + 5)) s; cat /sys/class/watchdog/watchdog0/state");
    guest.expect("alive after 25 s").expect("active");
    guest.type_line("killall -STOP watchdog");
    guest.expect("238 if P2 is OK = failed (it is Clean)");
}
