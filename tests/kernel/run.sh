#!/usr/bin/env bash
# Boots Debian's own kernel with cgroup v2 in an emulated machine and runs the checks of guest.sh inside: weir on another
# kernel than this machine's, and the limits by cgroup, which need controllers that a machine may not have.
#
# usage: run.sh WEIR WORK-FOLDER     needs qemu-system-x86, busybox-static, cpio, kmod; root is not needed
set -euo pipefail
weir=$(readlink -f "$1") here=$(dirname "$(readlink -f "$0")")
mkdir -p "$2/kernel"
work=$(readlink -f "$2")
readonly MODULES=(tun nf_tables nft_tproxy nft_reject_inet overlay loop)

kernel_package() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
  if [ ! -e "$work/$package.unpacked" ]; then
    (cd "$work" && apt-get download "$package" >/dev/null && dpkg-deb -x "$package"_*.deb kernel && rm "$package"_*.deb)
    /sbin/depmod -b "$work/kernel" "${package#linux-image-}"
    touch "$work/$package.unpacked"
  fi
  echo "${package#linux-image-}"
}

initramfs() {  # initramfs VERSION
  local root=$work/root number=10 module file name
  rm -rf "$root" && mkdir -p "$root"/{bin,usr/bin,etc,modules,home/u}
  cp /bin/busybox "$root/bin/busybox"
  # What the sandbox sees of the host is its /usr.
  cp /bin/busybox "$root/usr/bin/busybox"
  for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"; [ "$name" = busybox ] || ln -s busybox "$root/usr/bin/$name"; done
  cp "$weir" "$root/bin/weir"
  cp "$here/guest.sh" "$root/init" && chmod 755 "$root/init"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'u:x:1000:1000:u:/home/u:/bin/sh' >>"$root/etc/passwd"
  echo 'u:x:1000:' >"$root/etc/group"
  # In the order in which they need each other, each once.
  for module in "${MODULES[@]}"; do /sbin/modprobe -d "$work/kernel" -S "$1" --show-depends "$module"; done |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r file; do cp "$file" "$root/modules/$((number++))-$(basename "$file")"; done
  (cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$work/initramfs.gz"
}

version=$(kernel_package)
initramfs "$version"
timeout 180 qemu-system-x86_64 -machine pc -cpu max -m 2048 -smp 1 -nographic -no-reboot -net none \
  -kernel "$work/kernel/boot/vmlinuz-$version" -initrd "$work/initramfs.gz" \
  -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all" </dev/null 2>"$work/qemu.log" | tr -d '\r' | tee "$work/output" || true
ok=$(grep -c '^ok [a-z]' "$work/output" || true)
# Of `weir doctor`, which runs there as well: nothing may be missing.
bad=$(grep -cE '^(FAIL|MISSING) ' "$work/output" || true)
if ! grep -q '^done' "$work/output"; then echo "the machine did not come to the end"; exit 1; fi
echo "$ok checks hold, $bad do not"
[ "$bad" = 0 ] && [ "$ok" -gt 0 ]
