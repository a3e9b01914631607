#!/bin/bash
# `make run`: boots the CD with a disk in QEMU.
#
#   run.sh ISO DISK ARCH_FILE     with LOGIC, BREAK and FRESH in the environment
#
# On a terminal the machine runs until you leave it. Without one it ends by itself: exit code 0 as
# soon as the system has reported Clean, 1 with the reason when it does not get there.
set -euo pipefail
iso=$1 disk=$2 arch=$(cat "$3")

# As long as a silent guest is believed to be at work, in seconds.
silence=180
page_port=8080

fail() { echo "make run: $*" >&2; exit 1; }

qemu=qemu-system-i386
if [ "$arch" = amd64 ]; then
    qemu=qemu-system-x86_64
    echo "make run: no 32-bit kernel was to be had, so this is the 64-bit one, in $qemu"
fi

# The CD stands first in the boot order. TCG: the real mode of some machines' KVM is slow or broken.
command=("$qemu" -machine q35 -accel tcg -m 128 -display none -no-user-config
    -drive "file=$iso,format=raw,media=cdrom,readonly=on,if=none,id=cd" -device ide-cd,drive=cd,bus=ide.2,bootindex=0
    -drive "file=$disk,format=raw,if=none,id=hd" -device ide-hd,drive=hd,bus=ide.0,bootindex=1)
if (exec 3<>"/dev/tcp/127.0.0.1/$page_port") 2>/dev/null; then
    echo "make run: port $page_port is taken, so the appliance's page is not shown"
    command+=(-nic none)
else
    command+=(-nic "user,model=e1000,hostfwd=tcp:127.0.0.1:$page_port-:80")
fi

# Sectors 512 bytes long, from a partition's declaration in the logic file.
declared() { awk -v name="$1" -v what="$2" '$1=="partition" && $2==name {for(i=3;i<NF;i++) if($i==what) print $(i+1)}' "$LOGIC"; }
disk_sectors() { awk '$1=="disk" {print $4; exit}' "$LOGIC" | tr -d .; }

# Zeros over the boot sector and the beginning of the filesystem.
damage() { dd if=/dev/zero of="$disk" bs=512 seek="$1" count="$2" conv=notrunc status=none; }

# Follows the serial line until the system has reported, and then leaves.
unattended() {
    coproc guest { exec "${command[@]}" -serial stdio </dev/null 2>&1; }
    local pid=$guest_PID line reported= held=
    trap 'kill $pid 2>/dev/null || :' EXIT
    while IFS= read -r -t $silence line <&"${guest[0]}"; do
        printf '%s\n' "$line"
        case $line in
            *"appliance: reported Clean"*) reported=yes ;;
            *"appliance: ready"*) [ -z "$reported" ] || break ;;
            *"] "*" hold \""*) held=$line; break ;;
        esac
    done
    kill $pid 2>/dev/null || :
    trap - EXIT
    [ -z "$held" ] || fail "the machine holds: ${held#*] }"
    [ -n "$reported" ] || fail "the system did not report (it was silent for $silence s, or the machine ended)"
}

case $BREAK in
    "" | mbr | p1 | p2 | both) ;;
    *) echo "make run: BREAK=$BREAK: use mbr, p1, p2 or both" >&2; exit 2 ;;
esac
[ -z "$FRESH" ] || rm -f "$disk"
if [ ! -e "$disk" ]; then
    truncate -s $(($(disk_sectors) * 512)) "$disk"
    if [ -n "$BREAK" ]; then
        echo "make run: the disk is blank; it is filled first, so that there is something to break"
        unattended
    fi
fi
case $BREAK in
    mbr) damage 0 1 ;;
    p1) damage "$(declared P1 start)" 64 ;;
    p2) damage "$(declared P2 start)" 64 ;;
    both) damage "$(declared P1 start)" 64; damage "$(declared P2 start)" 64 ;;
esac
[ -z "$BREAK" ] || echo "make run: damaged: $BREAK"

if [ -t 0 ]; then
    echo "make run: leave with Ctrl-A X; the appliance's page: http://127.0.0.1:$page_port/"
    exec "${command[@]}" -serial mon:stdio
fi
unattended
