#!/bin/sh
# Makes the demo appliance: a small real Linux as raw partition images.
#
#   build.sh OUT_DIR BSTATE_BINARY [ext4]
#
#   OUT_DIR/system.img        FAT32 behind SYSLINUX's boot sector; needs no root, and the same
#                             inputs give the same bytes
#   OUT_DIR/system-ext4.img   with `ext4`: the same on ext4 behind EXTLINUX's (loop mount, so root)
#   OUT_DIR/arch              i386 or amd64: the kernel's architecture
#   OUT_DIR/cache             the packages; a second build needs no network
set -eu
umask 022
# Programs below read these: no locale, no time zone and no clock may reach the image.
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1704067200}"
# mkfs lives where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

say() { echo "appliance: $*" >&2; }
fail() { say "$*"; exit 1; }
need() { command -v "$1" >/dev/null || fail "'$1' is missing; install it: apt-get install $2"; }

[ $# -eq 2 ] || { [ $# -eq 3 ] && [ "$3" = ext4 ]; } || {
    echo "usage: $0 OUT_DIR BSTATE_BINARY [ext4]" >&2
    exit 2
}
[ -f "$2" ] || fail "no bstate at $2; build it first"
need apt-get apt; need dpkg-deb dpkg; need cpio cpio; need xz xz-utils
need mkfs.vfat dosfstools; need mcopy mtools; need syslinux syslinux
if [ "${3:-}" = ext4 ]; then
    [ "$(id -u)" -eq 0 ] || fail "EXTLINUX needs a mounted filesystem; type: sudo $0 $*"
    need mkfs.ext4 e2fsprogs; need extlinux extlinux
fi

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/cache"
out=$(cd "$1" && pwd)
cache=$out/cache
work=$(mktemp -d "$out/work.XXXXXX")
trap 'umount "$work/mnt" 2>/dev/null || :; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# --- packages ------------------------------------------------------------------------------

# fetch ARCH FLAVOUR: newest kernel of that flavour, and busybox-static, into the cache.
# apt works on a state of its own, so that this needs neither root nor a foreign architecture
# in the system's dpkg. The servers are those the system's apt uses; the keyring lets through
# nothing but Debian.
fetch() {
    apt=$work/apt-$1
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/debs"
    : >"$apt/status"
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    apt-get update --print-uris 2>/dev/null |
        sed -nE "s#^'(.*)/dists/($codename|stable|oldstable)/InRelease'.*#deb [signed-by=$keys] \\1 \\2 main#p" \
            >"$apt/sources.list"
    cat >"$apt/conf" <<CONF
APT::Architecture "$1";
#clear APT::Architectures;
APT::Architectures { "$1"; };
APT::Sandbox::User "";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/status";
Dir::Cache "$apt";
CONF
    # A server that fails is no end yet: what counts is whether the packages are found.
    apt-get -qq -c "$apt/conf" update || true
    # The metapackage names the newest kernel.
    kernel=$(apt-cache -c "$apt/conf" depends "linux-image-$2" 2>/dev/null |
        sed -n 's/.*Depends: \(linux-image-[0-9]\)/\1/p' | head -n 1)
    [ -n "$kernel" ] || return 1
    (cd "$apt/debs" && apt-get -qq -c "$apt/conf" download "$kernel" busybox-static) || return 1
    mv "$apt/debs"/*.deb "$cache/"
}

# cached ARCH: is there all we need? Sets $kernel_deb and $busybox_deb.
cached() {
    kernel_deb=$(find "$cache" -name "linux-image-*_$1.deb" | sort -V | tail -n 1)
    busybox_deb=$(find "$cache" -name "busybox-static_*_$1.deb" | sort -V | tail -n 1)
    [ -n "$kernel_deb" ] && [ -n "$busybox_deb" ]
}

arch=i386
if ! cached i386 && ! { fetch i386 686 && cached i386; }; then
    arch=amd64
    say "no i386 kernel to be had from this system's apt sources: taking the amd64 one." \
        "The appliance will need a 64-bit processor."
    cached amd64 || { fetch amd64 amd64 && cached amd64; } ||
        fail "no amd64 kernel either; this needs Debian's apt sources and a network, or the .debs in $cache"
fi
dpkg-deb -x "$kernel_deb" "$work/deb"
dpkg-deb -x "$busybox_deb" "$work/deb"

# --- initramfs -----------------------------------------------------------------------------

root=$work/root
cp -R "$here/root" "$root"
mkdir -p "$root/bin" "$root/modules" "$root/proc" "$root/sys" "$root/dev" "$root/disk" "$root/tmp" "$root/run"
cp "$(find "$work/deb" -path '*bin/busybox' -type f)" "$root/bin/busybox"
cp "$2" "$root/bin/bstate"
ln -s busybox "$root/bin/sh"
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -exec chmod 644 {} +
chmod 755 "$root"/init "$root"/bin/* "$root"/sbin/* "$root"/www/cgi-bin/*

# add MODULE: copies a module and what it depends on, and writes down the order to load them in, in the file
# that $list names.
# Read from the modules themselves: depmod may be absent here, and would only serve modprobe.
tree=$(dirname "$(find "$work/deb" -name modules.builtin)")
add() (
    [ ! -e "$root/modules/$1.ko" ] || exit 0
    file=$(find "$tree" -name "$1.ko" -o -name "$1.ko.xz")
    case $file in
    *.xz) xz -dc "$file" >"$root/modules/$1.ko" ;;
    *.ko) cp "$file" "$root/modules/$1.ko" ;;
    *)
        grep -q "/$1\.ko" "$tree/modules.builtin" || fail "the kernel has no module $1"
        exit 0
        ;;
    esac
    for dep in $(tr '\0' '\n' <"$root/modules/$1.ko" | sed -n 's/^depends=//p' | tr , ' '); do
        add "$dep"
    done
    echo "$1" >>"$root/modules/$list"
)
list=order
# Disk drivers last: loading one waits for its disks, and sd_mod is there to take them.
# ext4 asks for crc32c by its algorithm, so no dependency names it.
for module in vfat nls_cp437 nls_ascii crc32c_generic ext4 e1000 sd_mod ata_piix ahci; do
    add "$module"
done
# Those of watchdogs that tell of themselves; lpc_ich shows iTCO_wdt its timer.
list=watchdogs
for module in i6300esb lpc_ich iTCO_wdt; do
    add "$module"
done

find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$root" && find . | sort | cpio --quiet -o -H newc -R 0:0 --reproducible) |
    gzip -9n >"$work/initrd.gz"

# --- images --------------------------------------------------------------------------------

files=$work/files
mkdir "$files"
mv "$(find "$work/deb" -name 'vmlinuz-*' -type f)" "$files/vmlinuz"
mv "$work/initrd.gz" "$files/initrd.gz"
cp "$here/syslinux.cfg" "$files/syslinux.cfg"
# What syslinux.cfg's ONERROR runs, and the library that it needs.
for module in reboot.c32 libcom32.c32; do
    cp "/usr/lib/syslinux/modules/bios/$module" "$files/" || fail "install it: apt-get install syslinux-common"
done
chmod 644 "$files"/*
touch -d "@$SOURCE_DATE_EPOCH" "$files"/*

# FAT32 begins at 65525 clusters; with clusters of one sector and two FATs that is 33 MiB.
# The boot sector names no start sector (mkfs's -h): one image serves every partition, and
# SYSLINUX takes the start from the table entry that is handed over.
img=$work/system.img
truncate -s 34M "$img"
mkfs.vfat --invariant -F 32 -s 1 -n KNOWNSTATE "$img" >/dev/null
mcopy -m -i "$img" "$files"/* ::/
syslinux --install "$img"
# SYSLINUX leaves the boot sector's backup (sector 6) as it was; fsck wants the two alike.
dd if="$img" of="$img" bs=512 count=1 seek=6 conv=notrunc status=none
mv "$img" "$out/system.img"

if [ "${3:-}" = ext4 ]; then
    img=$work/system-ext4.img
    truncate -s 48M "$img"
    # SYSLINUX 6.04 cannot read filesystems with 64bit or metadata_csum.
    mkfs.ext4 -q -O ^64bit,^metadata_csum -L KNOWNSTATE -U 4b6e6f77-6e73-7461-7465-000000000001 "$img"
    mkdir "$work/mnt"
    mount -o loop "$img" "$work/mnt" || fail "no loop mount here; run this on a machine that has them"
    # Copied, not taken in by mkfs's -d, which leaves holes that EXTLINUX calls an I/O error.
    cp -p --sparse=never "$files"/* "$work/mnt/"
    extlinux --install "$work/mnt" 2>"$work/log" || fail "extlinux: $(cat "$work/log")"
    umount "$work/mnt"
    mv "$img" "$out/system-ext4.img"
fi

echo "$arch" >"$out/arch"
