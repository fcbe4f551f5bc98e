#!/usr/bin/env bash
# Builds what the rig boots: Xen, Linux, a Debian dom0 and two guests, into the folder that it is given. What is there and still fits stays.
#   build.sh FOLDER NODE        needs root, apt for Debian; mmdebstrap cpio kmod e2fsprogs xz-utils
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
W=$1
NODE=$2
SUITE=bookworm
XENVER=4.17
mkdir -p "$W"/{debs,x,boot}
cd "$W"
step() { echo "step $*"; }
# fits NAME INPUT…: whether NAME was built from these inputs; done_with NAME remembers it
fits() { local name=$1; shift; key=$(printf '%s\n' "$@" | cat - "$HERE/build.sh" | sha256sum | cut -c1-16); [ "$(cat "$W/$name.key" 2>/dev/null)" = "$key" ]; }
done_with() { echo "$key" > "$W/$1.key"; }

if ! fits packages "$SUITE" "$XENVER"; then
  step "downloading Xen $XENVER and Linux for Debian $SUITE"
  rm -rf debs x; mkdir debs x
  apt-get update -qq
  KPKG=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/{print $2; exit}')
  chmod 777 debs
  (cd debs && apt-get download -qq "xen-hypervisor-$XENVER-amd64" "$KPKG" busybox-static)
  for d in debs/*.deb; do dpkg -x "$d" x; done
  gunzip -c x/boot/xen-"$XENVER"-amd64.gz > boot/xen.elf
  # An ELF image, so that neither Xen nor libxl has to run the decompressor in the emulated machine.
  offset=$(LC_ALL=C grep -abo $'\xfd7zXZ' x/boot/vmlinuz-* | head -1 | cut -d: -f1)
  tail -c +"$((offset + 1))" x/boot/vmlinuz-* | xz -dc > boot/vmlinux 2>/dev/null || true
  head -c4 boot/vmlinux | grep -q ELF
  depmod -b "$W/x" "$(basename "$(ls -d x/lib/modules/*)")"
  done_with packages
fi
KVER=$(basename "$(ls -d x/lib/modules/*)")

# modules FOLDER MODULE…: the modules and what they need, and in `order` in which order they are loaded
modules() {
  local folder=$1 m; shift; mkdir -p "$folder"
  for m in "$@"; do modprobe -d "$W/x" -S "$KVER" --show-depends "$m" | awk '$1=="insmod"{print $2}'; done |
    awk '!s[$0]++' | while read -r m; do cp "$m" "$folder/"; basename "$m" >> "$folder/order"; done
}
# initramfs FOLDER INIT MODULE…: a tree with busybox, modules and an init
initramfs() {
  local t=$1 init=$2; shift 2
  mkdir -p "$t"/{bin,proc,sys,dev,run,tmp,mnt,newroot}
  cp x/bin/busybox "$t/bin/busybox"
  modules "$t/modules" "$@"
  install -m755 "$init" "$t/init"
}
pack() { (cd "$1" && find . | cpio --quiet -o -H newc); }

if ! fits initramfs "$KVER" "$(cat "$HERE/dom0-initramfs.sh" "$HERE/guest-init.sh")"; then
  step "making the initial file systems"
  t=$(mktemp -d); initramfs "$t" "$HERE/dom0-initramfs.sh" virtio_pci virtio_blk ext4 xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs
  pack "$t" | gzip -1 > boot/dom0.cpio.gz; rm -rf "$t"
  t=$(mktemp -d); initramfs "$t" "$HERE/guest-init.sh" xen-blkfront xen-netfront ext4
  pack "$t" | gzip -1 > boot/guest.cpio.gz; rm -rf "$t"
  done_with initramfs
fi

if ! fits dom0 "$KVER" "$(cat initramfs.key)" "$("$NODE" --version)"; then
  step "making dom0's disk (Debian $SUITE with xen-utils and Node $("$NODE" --version))"
  rm -rf root; mkdir root
  mmdebstrap --quiet --variant=minbase --include="xen-utils-$XENVER,xenstore-utils,kmod,iproute2,iputils-ping,ethtool,netcat-traditional,procps,e2fsprogs" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --format=tar "$SUITE" dom0.tar
  tar -C root -xf dom0.tar; rm dom0.tar
  install -D "$(readlink -f "$NODE")" root/usr/local/bin/node
  mkdir -p root/rig root/splitring
  cp boot/vmlinux boot/guest.cpio.gz root/rig/
  modules root/rig/modules/xen-blkback loop xen-blkback
  modules root/rig/modules/xen-netback xen-netback
  modules root/rig/modules/tun tun
  # A guest with Node: what splitring itself is made of is added when the guest is made.
  t=$(mktemp -d); initramfs "$t" "$HERE/guest-init.sh" xen-evtchn xen-gntdev xen-gntalloc tun
  install -D "$(readlink -f "$NODE")" "$t/usr/local/bin/node"
  ldd "$(readlink -f "$NODE")" | grep -o '/[^ ]*\.so[^ ]*' | while read -r l; do mkdir -p "$t$(dirname "$l")"; cp -L "$l" "$t$l"; done
  # perl makes the TAP device there; what Node needs besides is there already.
  install -D root/usr/bin/perl "$t/usr/bin/perl"
  mkdir -p "$t/usr/lib/x86_64-linux-gnu/perl-base"
  cp root/usr/lib/x86_64-linux-gnu/perl-base/strict.pm "$t/usr/lib/x86_64-linux-gnu/perl-base/"
  chroot root ldd /usr/bin/perl | grep -o '/[^ ]*\.so[^ ]*' | while read -r l; do [ -e "$t$l" ] || { mkdir -p "$t$(dirname "$l")"; cp -L "root$l" "$t$l"; }; done
  pack "$t" > root/rig/guest-node.cpio; rm -rf "$t"
  # Tools of the network that busybox lacks, for a guest that asks for them: UDP, and what its interface offers.
  t=$(mktemp -d)
  for tool in usr/bin/nc.traditional usr/sbin/ethtool; do
    install -D "root/$tool" "$t/bin/$(basename "$tool")"
    chroot root ldd "/$tool" | grep -o '/[^ ]*\.so[^ ]*' | while read -r l; do mkdir -p "$t$(dirname "$l")"; cp -L "root$l" "$t$l"; done
  done
  pack "$t" | gzip -1 > root/rig/guest-tools.cpio.gz; rm -rf "$t"
  rm -f boot/dom0.ext4; truncate -s 1500M boot/dom0.ext4
  mkfs.ext4 -q -F -O ^has_journal -m 0 -d root boot/dom0.ext4
  rm -rf root
  done_with dom0
fi
