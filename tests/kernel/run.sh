#!/usr/bin/env bash
# Boots Debian's own kernel with cgroup v2 in an emulated machine and runs the checks of guest.sh inside: weir on another
# kernel than this machine's, and the limits by cgroup, which need controllers that a machine may not have.
#
# usage: run.sh WEIR WORK-FOLDER     needs qemu-system-x86, busybox-static, cpio; root is not needed
set -euo pipefail
weir=$(readlink -f "$1") here=$(dirname "$(readlink -f "$0")")
mkdir -p "$2"
work=$(readlink -f "$2")
readonly MODULES=(tun nfnetlink libcrc32c nf_defrag_ipv4 nf_defrag_ipv6 nf_tables nf_tproxy_ipv4 nf_tproxy_ipv6
  nf_socket_ipv4 nf_socket_ipv6 nft_tproxy nft_socket overlay)

kernel_package() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
  if [ ! -e "$work/$package.unpacked" ]; then
    (cd "$work" && apt-get download "$package" >/dev/null && dpkg-deb -x "$package"_*.deb kernel && rm "$package"_*.deb)
    touch "$work/$package.unpacked"
  fi
  echo "${package#linux-image-}"
}

initramfs() {  # initramfs VERSION
  local root=$work/root number=10 module file
  rm -rf "$root" && mkdir -p "$root"/{bin,usr/bin,etc,modules,home/u}
  cp /bin/busybox "$root/bin/busybox"
  # What the sandbox sees of the host is its /usr.
  cp /bin/busybox "$root/usr/bin/busybox"
  local name
  for name in $(/bin/busybox --list); do ln -sf busybox "$root/usr/bin/$name"; done
  cp "$weir" "$root/bin/weir"
  cp "$here/guest.sh" "$root/init" && chmod 755 "$root/init"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'u:x:1000:1000:u:/home/u:/bin/sh' >>"$root/etc/passwd"
  echo 'u:x:1000:' >"$root/etc/group"
  for module in "${MODULES[@]}"; do
    file=$(find "$work/kernel/lib/modules/$1" -name "$module.ko" | head -1)
    # In the order in which they need each other. What is built in has no file.
    [ -z "$file" ] || cp "$file" "$root/modules/$((number++))-$module.ko"
  done
  (cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$work/initramfs.gz"
}

version=$(kernel_package)
initramfs "$version"
timeout 180 qemu-system-x86_64 -machine pc -cpu max -m 2048 -smp 1 -nographic -no-reboot -net none \
  -kernel "$work/kernel/boot/vmlinuz-$version" -initrd "$work/initramfs.gz" \
  -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all" </dev/null 2>"$work/qemu.log" | tr -d '\r' | tee "$work/output" || true
ok=$(grep -c '^ok ' "$work/output" || true)
bad=$(grep -c '^FAIL ' "$work/output" || true)
if ! grep -q '^done' "$work/output"; then echo "the machine did not come to the end"; exit 1; fi
echo "$ok checks hold, $bad do not"
[ "$bad" = 0 ] && [ "$ok" -gt 0 ]
