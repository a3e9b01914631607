//! `bstate` on real block devices, mounts and kernel files.

use std::time::Instant;

use super::machine::{Machine, Root, expect};

const BOOTED_P1: &str = "sequence=8 booting=P1 P1=Dirty P1.failures=1 P1.crashes=0 P1.why=212~boot~begun P2=OK P2.failures=0 P2.crashes=0 restores=0";
const BOOTED_P2: &str =
    "sequence=8 booting=P2 P1=OK P1.failures=0 P1.crashes=0 P2=Dirty P2.failures=1 P2.crashes=0 restores=0";

/// Runs a script in a machine; its exit code, output, and what it says on standard error.
macro_rules! machine {
    ($lines:expr) => {
        match Machine::with($lines) {
            Some(machine) => machine,
            None => return,
        }
    };
}

#[track_caller]
fn good(machine: &Machine, root: Root, script: &str) -> (String, String) {
    let ran = machine.run(root, script);
    assert_eq!(ran.code, 0, "{script}: {}{}", ran.out, ran.err);
    (ran.out.trim_end().to_string(), ran.err.trim_end().to_string())
}

#[test]
fn a_copy_is_written_mounted_or_not() {
    for mount in [
        ":",
        "mount $P2 $R/mnt",
        "mount -o ro $P2 $R/mnt",
        "mount -o ro,noload $P2 $R/mnt",
        // The filesystem is written by somebody, and not through this mount.
        "mount $P2 $R/mnt; mount -o remount,bind,ro $R/mnt",
    ] {
        let machine = machine!(BOOTED_P1);
        let (out, err) = good(&machine, Root::P1, &format!("{mount}; bstate which; bstate booted"));
        assert_eq!((out.as_str(), err.as_str()), ("P1\nP1 is Clean", ""), "{mount}");
        machine.expect("sequence=9 P1=Clean P1.failures=0 P2=OK");
    }
}

/// What was written below a mount is what the mount shows, also to those who have read it before.
#[test]
fn a_read_only_mount_shows_what_was_written_below_it() {
    let machine = machine!(BOOTED_P1);
    let script = "mount -o ro $P2 $R/mnt; cat $R/mnt/bstate.txt >/dev/null; bstate booted; cat $R/mnt/bstate.txt; \
        grep -c ' ro,' $R/proc/self/mountinfo >/dev/null; mount -o remount,rw $R/mnt; bstate shutdown; cat $R/mnt/bstate.txt";
    let (out, _) = good(&machine, Root::P1, script);
    assert!(out.contains("sequence=9") && out.contains("sequence=10"), "{out}");
    machine.expect("sequence=10 P1=OK");
}

#[test]
fn an_initramfs_goes_by_what_was_booted() {
    for mounts in [
        ":",
        "mkdir $R/disk/a; mount $P1 $R/disk/a",
        "mkdir $R/disk/a $R/disk/b; mount $P1 $R/disk/a; mount $P2 $R/disk/b",
    ] {
        let machine = machine!(BOOTED_P2);
        let (out, err) = good(&machine, Root::Memory, &format!("{mounts}; bstate which; bstate shutdown"));
        assert_eq!((out.as_str(), err.as_str()), ("P2\nP2 is OK", ""), "{mounts}");
        machine.expect("sequence=9 P2=OK P2.failures=0");
    }
}

#[test]
fn the_wrong_twin_certifies_nothing() {
    let machine = machine!(BOOTED_P2);
    let before = (machine.disk.record(1), machine.disk.record(2));
    for command in ["which", "booted", "shutdown"] {
        let ran = machine.run(Root::P1, &format!("bstate {command}"));
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{command}");
        let told =
            format!("bstate: the recovery CD booted P2, but / is on {}, which is P1: ", machine.disk.partition(1));
        assert!(ran.err.starts_with(&told), "{command}: {}", ran.err);
    }
    assert_eq!((machine.disk.record(1), machine.disk.record(2)), before);
    let (out, _) = good(&machine, Root::P2, "bstate which");
    assert_eq!(out, "P2");
}

/// A stick with a record that is newer, and has the same names; it is not mounted, mounted, or linked from.
#[test]
fn a_record_on_another_disk_is_not_believed_and_not_written() {
    let machine = machine!(BOOTED_P1);
    let stick = machine.second_disk();
    stick.put(1, "sequence=99 booting=P2 P1=OK P2=Dirty restores=9");
    let before = stick.record(1);
    let mount = format!("mount {} $R/mnt", stick.partition(1));
    for mount in [":", &mount] {
        let (out, err) = good(&machine, Root::P1, &format!("{mount}; bstate which; bstate show; bstate booted"));
        assert!(out.starts_with("P1\nsequence="), "{mount}: {out}");
        let told = "bstate: /mnt/bstate.txt: not on this machine's own disk; left alone";
        assert_eq!(err, if mount == ":" { "" } else { told });
        assert_eq!(stick.record(1), before, "{mount}");
    }
    machine.expect("sequence=10 P1=Clean P2=OK");
    // Its own disk has none: nothing is taken instead.
    let (_, err) = good(
        &machine,
        Root::P1,
        &format!(
            "{mount}; rm $R/bstate.txt; dd if=/dev/zero of=$P2 bs=64k count=1 status=none; \
        for command in show which booted 'set P1 OK'; do ! bstate $command; done"
        ),
    );
    assert_eq!(stick.record(1), before);
    assert_eq!(err.matches("bstate: no valid bstate.txt on the disk that / is on").count(), 4, "{err}");
}

/// A system on two disks: the other one is looked at where a copy is wanting, and has to be of the same set.
#[test]
fn another_disk_of_the_same_set_is_believed_where_a_copy_is_wanting() {
    for (set, written) in [("5A17C0DE", true), ("5A17C0DF", false)] {
        let machine = machine!(&BOOTED_P1.replace("booting", "set=5A17C0DE booting"));
        let other = machine.second_disk();
        other.put(2, &BOOTED_P1.replace("booting", &format!("set={set} booting")));
        // Newer, without a set, and with a name that is not ours.
        other.put(1, "sequence=99 booting=X P1=OK X=OK restores=0");
        let before = other.record(1);
        let (_, err) = good(&machine, Root::P1, "bstate booted");
        assert_eq!(err, "");
        expect(&other.record(2), "sequence=8");
        let (_, err) = good(&machine, Root::P1, "dd if=/dev/zero of=$P2 bs=64k count=1 status=none; bstate shutdown");
        assert_eq!(err.is_empty(), written, "{err}");
        expect(&machine.disk.record(1), "sequence=10 P1=OK");
        expect(&other.record(2), if written { "sequence=10 P1=OK" } else { "sequence=8 P1=Dirty" });
        assert_eq!(other.record(1), before);
    }
}

/// Links, files of users, filesystems in memory: told by `show`, and never followed or written.
#[test]
fn what_root_alone_cannot_have_made_is_not_believed() {
    for (make, told) in [
        ("rm $F; ln -s /tmp/victim $F", "a symbolic link"),
        ("ln $F $R/mnt/second", "it has a second name (hard link)"),
        ("chown 1000 $F", "user 1000 owns it, and not root"),
        ("rm $F; mkfifo $F", "no regular file"),
        ("mount --bind $R/tmp/victim $F", "something else is mounted there"),
        ("rm $F; mkdir $F", "no regular file"),
    ] {
        for mounted in ["", "umount $R/mnt;"] {
            if !mounted.is_empty() && make.starts_with("mount") {
                continue;
            }
            let machine = machine!(BOOTED_P1);
            let script = format!(
                "mount $P2 $R/mnt; F=$R/mnt/bstate.txt; cp $R/bstate.txt $R/tmp/victim; sed -i s/=P1/=P2/ $R/tmp/victim
                cp $R/tmp/victim before; {make}; {mounted} bstate show >/dev/null; bstate booted; cmp before $R/tmp/victim"
            );
            let (out, err) = good(&machine, Root::P1, &script);
            assert_eq!(out, "P1 is Clean", "{make}");
            let why = if mounted.is_empty() { told } else { "" };
            let copies = "bstate: 1 of 2 copies of bstate.txt were reached; ";
            assert!(err.contains(why) && err.contains(copies), "{make} {mounted}: {err}");
            expect(&machine.disk.record(1), "sequence=9 P1=Clean");
        }
    }
    let machine = machine!(BOOTED_P1);
    let script = "mount -t tmpfs -o mode=1777 users $R/mnt; echo 'P1=Dirty' >$R/mnt/bstate.txt; bstate show >/dev/null; bstate booted; cat $R/mnt/bstate.txt";
    let (out, err) = good(&machine, Root::P1, script);
    assert_eq!(out, "P1 is Clean\nP1=Dirty");
    assert_eq!(err, "bstate: /mnt/bstate.txt: not on this machine's own disk; left alone");
}

/// A mount that answers nobody: FUSE without a program behind it, as a network filesystem without its server.
#[test]
fn a_mount_that_does_not_answer_is_not_asked() {
    let machine = machine!(BOOTED_P1);
    let script = "exec 5<>/dev/fuse; mkdir $R/disk/dead
        mount -i -t fuse -o fd=5,rootmode=40000,user_id=0,group_id=0 dead $R/disk/dead
        for command in show which booted shutdown; do chroot $R timeout -s KILL 20 /agent/bstate $command >/dev/null; done
        umount -l $R/disk/dead";
    let begun = Instant::now();
    let (_, err) = good(&machine, Root::P1, script);
    assert_eq!(err, "");
    assert!(begun.elapsed().as_secs() < 10, "it took {} s", begun.elapsed().as_secs());
    machine.expect("sequence=10 P1=OK");
}

/// A filesystem that takes no write, for ever: the other copy is written, and the command ends.
#[test]
fn a_copy_that_does_not_answer_is_waited_for_with_a_bound() {
    let machine = machine!(BOOTED_P1);
    let script = "mount $P2 $R/mnt; fsfreeze -f $R/mnt; trap 'fsfreeze -u $R/mnt' EXIT
        said=$(chroot $R timeout -s KILL 40 /agent/bstate booted 2>&1); echo \"$said\"";
    let (out, _) = good(&machine, Root::P1, script);
    assert!(out.contains("bstate: /mnt/bstate.txt: it has not answered for 15 s"), "{out}");
    assert!(
        out.contains("bstate: 1 of 2 copies of bstate.txt were reached; ") && out.ends_with("P1 is Clean"),
        "{out}"
    );
    expect(&machine.disk.record(1), "sequence=9 P1=Clean");
}

/// Two agents at once: nothing that either says is lost.
#[test]
fn two_at_once_lose_nothing() {
    let machine = machine!(BOOTED_P1);
    let script = "for round in $(seq 200); do
            if [ $((round % 2)) = 0 ]; then one=Dirty two=OK; else one=OK two=Dirty; fi
            bstate set P1 $one >/dev/null & bstate set P2 $two >/dev/null & wait -n; wait -n
            bstate show | tr '\\n' ' ' | grep -q \"^sequence=$((8 + 2 * round)) .*P1=$one .*P2=$two \" || { echo lost in $round; bstate show; exit 1; }
        done";
    let (_, err) = good(&machine, Root::P1, script);
    assert_eq!(err, "");
    machine.expect("sequence=408");
}

#[test]
fn another_one_that_never_ends_is_waited_for_with_a_bound() {
    let machine = machine!(BOOTED_P1);
    let script =
        "exec 7>$R/run/bstate.lock; flock 7; ! chroot $R timeout -s KILL 20 /agent/bstate booted; bstate which";
    let (out, err) = good(&machine, Root::P1, script);
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("P1", "bstate: /run/bstate.lock: another bstate has been busy for 10 s; try again")
    );
    machine.expect("sequence=8 P1=Dirty");
}

/// What can't be reached is told, and the report counts.
#[test]
fn a_copy_that_cannot_be_reached_is_told_of() {
    let machine = machine!(BOOTED_P1);
    // Mounted by somebody whose mounts we don't see.
    let script = "unshare --mount --propagation private sh -c 'mount '$P2' '$R/mnt'; sleep 3' & sleep 1; bstate booted; bstate set P2 OK; wait";
    let (out, err) = good(&machine, Root::P1, script);
    assert_eq!(out, "P1 is Clean\nP2 is OK");
    let told = format!(
        "bstate: {}: in use, but not mounted here\nbstate: 1 of 2 copies of bstate.txt were reached; the recovery CD brings the others in line",
        machine.disk.partition(2)
    );
    assert_eq!(err, format!("{told}\n{told}"));
    expect(&machine.disk.record(1), "sequence=10");
    expect(&machine.disk.record(2), "sequence=8");

    drop(machine);
    let machine = machine!(BOOTED_P1);
    let (_, err) = good(&machine, Root::P1, "mount $P2 $R/mnt; rm $R/mnt/bstate.txt; umount $R/mnt; bstate booted");
    let told = format!("bstate: {}: no such file in the root directory\nbstate: 1 of 2", machine.disk.partition(2));
    assert!(err.starts_with(&told), "{err}");
}

/// A copy that is broken is written beside a seal, and only there.
#[test]
fn a_broken_copy_is_written_where_a_restore_has_been() {
    for (remove, sequence) in [("", 9), ("rm $R/mnt/seal.0 $R/mnt/seal.1;", 8)] {
        let machine = machine!(BOOTED_P1);
        let script = format!(
            "mount $P2 $R/mnt; {remove} umount $R/mnt; dd if=/dev/zero of={} bs=1 seek={} count=1 conv=notrunc status=none; bstate booted",
            machine.disk.file.display(),
            machine.disk.place(2) + 20
        );
        let (_, err) = good(&machine, Root::P1, &script);
        assert_eq!(err.is_empty(), sequence == 9, "{err}");
        if sequence == 9 {
            machine.expect("sequence=9 P1=Clean");
        } else {
            assert!(err.contains("no text") && machine.disk.record(2)[20] == 0, "{err}");
        }
    }
}

#[test]
fn a_seal_is_for_a_mount_point_with_our_files() {
    let machine = machine!(BOOTED_P1);
    let script = "find $R $R/run -xdev >before; for at in /tmp /tmp/none /proc /run /sys; do bstate seal $at && exit 1 || [ $? = 2 ]; done; find $R $R/run -xdev | cmp - before";
    let (_, err) = good(&machine, Root::P1, script);
    assert!(err.contains("bstate: /tmp: no partition is mounted there"), "{err}");
    let (_, err) = good(
        &machine,
        Root::P1,
        "mount $P2 $R/mnt; rm $R/mnt/seal.? $R/mnt/bstate.txt; bstate seal /mnt && exit 1 || [ $? = 2 ]; ! ls $R/mnt/seal.0 2>&1",
    );
    assert!(err.contains("bstate: /mnt: neither bstate.txt nor a seal is in it"), "{err}");
}

/// Sealed by `bstate`, checked by the recovery CD's own steps.
#[test]
fn a_seal_is_what_the_recovery_cd_checks() {
    let machine = machine!(BOOTED_P1);
    good(&machine, Root::P1, "echo 2 >$R/system");
    assert!(!machine.verifies("P1"), "the change is not noticed");
    for _ in 0..3 {
        let (out, _) = good(&machine, Root::P1, "echo 2 >$R/system; bstate seal");
        assert!(out.starts_with("/ is sealed: "), "{out}");
        assert!(machine.verifies("P1"));
    }
}

/// A seal that can't be finished: the one before is in force and valid, and no file is longer than it was.
#[test]
fn a_seal_that_fails_leaves_everything_as_it_was() {
    // Something changes all the time, and is in the end as it was.
    let busy = "(trap 'exit 0' TERM; for ((n = 2; ; n++)); do printf '%07d\\n' $n 1<>$R/system; done) & busy=$!
        sleep 0.2; status=0; bstate seal || status=$?; kill $busy; wait; printf '%07d\\n' 1 1<>$R/system; [ $status = 1 ]";
    let full = "bstate seal && exit 1 || :";
    for (what, before, fail, told) in [
        ("busy", ":", busy, "keeps changing"),
        ("busy, and too short", "truncate -s 512 $R/seal.$FORCE", busy, "keeps changing"),
        (
            "full, and too short",
            "truncate -s 512 $R/seal.$FORCE; dd if=/dev/zero of=$R/fill bs=1k 2>&1 | grep -c space >/dev/null",
            full,
            "no room",
        ),
    ] {
        let machine = machine!(BOOTED_P1);
        // The one in force is not touched by the first seal, and is the one that the second wants to write.
        let script = format!(
            "FORCE=0; [ $(od -An -tu8 -j16 -N8 $R/seal.0) -ge $(od -An -tu8 -j16 -N8 $R/seal.1) ] || FORCE=1
            {before}; bstate seal; sha256sum $R/seal.? >sums; find $R -xdev -ls | grep seal | awk '{{print $1, $2, $7, $NF}}' >list
            {fail}; sync -f $R; sha256sum $R/seal.? | cmp - sums; find $R -xdev -ls | grep seal | awk '{{print $1, $2, $7, $NF}}' | cmp - list"
        );
        let (_, err) = good(&machine, Root::P1, &script);
        assert!(err.contains(told), "{what}: {err}");
        assert!(machine.verifies("P1"), "{what}: the seal before is not valid any more");
    }
}

#[test]
fn a_wish_for_the_next_start() {
    let machine = machine!(BOOTED_P1);
    let script = "bstate next; bstate next P2; bstate next; bstate booted; bstate next; bstate next none; bstate next";
    let (out, err) = good(&machine, Root::P1, script);
    let said = "none\nnext is P2\nP2\nP1 is Clean\nP2\nnext is none\nnone";
    assert_eq!((out.as_str(), err.as_str()), (said, ""));
}
