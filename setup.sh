#!/bin/sh
# Installs what `make` needs, where it may; otherwise names the exact command to type.
#
#   setup.sh run|test|bench
#
# Only Debian and its kin are known by package names. The Rust toolchain is rustup's where that has,
# or can add, the standard library's source (the loader's target has no prebuilt one), else Debian's.
set -eu
PATH=$PATH:/usr/sbin:/sbin
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need_file() { [ -e "$1" ] || missing="$missing $2"; }

source_of() { echo "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/src/lib.rs"; }
rust_ready() { [ -e "$(source_of rustc)" ] || [ -e "$(source_of /usr/bin/rustc)" ]; }
if ! rust_ready && command -v rustup >/dev/null 2>&1; then
    timeout 300 rustup component add rust-src >/dev/null 2>&1 || :
fi
rust_ready || missing="$missing rustc-web cargo-web rust-web-src"

need gcc gcc; need ld binutils
# bstate runs on the appliance's 32-bit kernel, so its C library has to be 32-bit too.
need_file /usr/lib/gcc/x86_64-linux-gnu/*/32/libgcc.a gcc-multilib
# libFuzzer is C++.
if [ "$1" = test ]; then need g++ g++; fi
need qemu-system-i386 qemu-system-x86; need xorriso xorriso; need cpio cpio; need xz xz-utils
need mkfs.vfat dosfstools; need mcopy mtools; need debugfs e2fsprogs; need syslinux syslinux
need_file /usr/lib/syslinux/modules/bios/ldlinux.c32 syslinux-common
need_file /usr/share/seabios/bios.bin seabios
if [ "$1" = test ]; then
    need extlinux extlinux; need sfdisk fdisk; need python3 python3; need dot graphviz
    need sgdisk gdisk; need pvcreate lvm2; need mkntfs ntfs-3g
    # What other people's tools leave on disks, and who names it.
    need blkid util-linux; need parted parted; need mdadm mdadm; need cryptsetup cryptsetup-bin
    need mkfs.xfs xfsprogs; need mkfs.btrfs btrfs-progs; need mkfs.f2fs f2fs-tools; need mkfs.jfs jfsutils
    need mkfs.nilfs2 nilfs-tools; need mkreiserfs reiserfsprogs; need mkudffs udftools; need mkfs.gfs2 gfs2-utils
    need mkfs.exfat exfatprogs; need make-bcache bcache-tools; need drbdmeta drbd-utils
    need mksquashfs squashfs-tools; need mkfs.erofs erofs-utils
fi

if [ "$1" = bench ]; then
    need bochs-bin bochs; need_file /usr/share/seabios/vgabios-isavga.bin seabios
    need grub-mkimage grub-common; need_file /usr/lib/grub/i386-pc/cdboot.img grub-pc-bin
    need_file /usr/lib/ISOLINUX/isolinux.bin isolinux
    need_file /usr/lib/syslinux/modules/bios/chain.c32 syslinux-common
    need gnuplot gnuplot-nox
fi

[ -n "$missing" ] || exit 0
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
if ! command -v apt-get >/dev/null 2>&1; then
    echo "make: missing: $missing(Debian's names); install them with your system's package manager" >&2
    exit 1
fi
install="apt-get install -y --no-install-recommends $missing"
if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root=sudo
else
    echo "make: something is missing; type: sudo $install" >&2
    exit 1
fi
echo "make: installing: $missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $as_root $install >/dev/null
