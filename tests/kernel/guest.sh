#!/bin/busybox sh
# Process 1 of the test machine: cgroup v2 with all controllers, a few modules, then checks of `weir run`, as root and as
# an ordinary user whose cgroup was delegated. Prints "ok NAME" or "FAIL NAME" for each, "done" at the end.
export PATH=/bin:/usr/bin
# The first root of a kernel cannot be changed (pivot_root), which weir does: go to another one first.
if [ ! -e /second ]; then
  busybox mkdir /new
  busybox mount -t tmpfs -o mode=755 root /new
  busybox cp -a /bin /usr /etc /modules /home /init /new/
  busybox touch /new/second
  exec busybox switch_root /new /init
fi
mkdir -p /proc /sys /dev /tmp /run /home/u
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in /modules/*.ko; do insmod "$module" || echo "cannot load $module"; done
[ -e /dev/net/tun ] || { mkdir -p /dev/net; mknod /dev/net/tun c 10 200; }
chmod 666 /dev/net/tun
ip link set lo up
chown 1000:1000 /home/u
echo "kernel $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"

# check NAME WANTED-EXIT WANTED-TEXT COMMAND...: WANTED-TEXT must be in the output (a pattern of grep, empty for any).
check() {
  name=$1 wanted=$2 text=$3
  shift 3
  "$@" >/tmp/out 2>&1
  code=$?
  if [ $code = "$wanted" ] && { [ -z "$text" ] || grep -q -- "$text" /tmp/out; }; then
    echo "ok $name"
  else
    echo "FAIL $name: exit $code instead of $wanted; wanted '$text' in:"
    sed 's/^/  | /' /tmp/out
  fi
}

no_leaf_left() {
  left=$(find /sys/fs/cgroup -name 'weir-*')
  [ -z "$left" ] || { echo "left: $left"; return 1; }
}

cat >/bin/as_user <<'EOF'
#!/bin/sh
program=$(command -v "$1")
shift
exec start-stop-daemon -S -c 1000:1000 -x "$program" -- "$@"
EOF
chmod 755 /bin/as_user

# Three seconds of work with a fifth of a processor: what `times` says of the children is below a second.
SPIN='timeout 3 sh -c "while :; do :; done"; times'
spent() { awk 'NR == 2 { split($1, t, /[ms]/); print "spent " t[1] * 60 + t[2] }' "$1"; }

# Takes memory until it is killed; the positive twin takes what fits.
HOG='x=a; while :; do x=$x$x; done'
# Starts 40 sleepers and says how many could be started.
MANY='n=0; while [ $n -lt 40 ]; do sleep 5 & n=$((n+1)); done; echo started $n'

run_checks() {  # run_checks WHO COMMAND-PREFIX...
  who=$1
  shift
  check "$who none" 0 "" "$@" weir run --events none -- true
  check "$who exit code" 7 "" "$@" weir run --events none -- sh -c 'exit 7'
  check "$who allowlist" 0 "" "$@" weir run --events none --allow example.com -- true
  check "$who allowlist refuses" 1 "refused 192.0.2.1:80" "$@" weir run --events none --allow example.com -- \
    nc -w 3 192.0.2.1 80
  check "$who limits by cgroup" 0 "memory *64M, held by a cgroup" "$@" weir run --dry-run --memory 64M --cpus 0.5 \
    --pids 20 -- true
  check "$who memory fits" 0 "" "$@" weir run --events none --memory 64M -- dd if=/dev/zero of=/dev/null bs=16M count=1
  check "$who memory" 137 "killed: memory limit 64M" "$@" weir run --events none --memory 64M -- sh -c "$HOG"
  check "$who memory in files" 137 "killed: memory limit 64M" "$@" weir run --events none --memory 64M -- \
    dd if=/dev/zero of=/tmp/x bs=1M count=100
  check "$who pids fit" 0 "started 40" "$@" weir run --events none --pids 64 -- sh -c "$MANY"
  check "$who pids" 2 "pids limit 16 was reached" "$@" weir run --events none --pids 16 -- sh -c "$MANY"
  check "$who disk fits" 0 "" "$@" weir run --events none --disk 8M -- dd if=/dev/zero of=/tmp/x bs=1M count=4
  check "$who disk" 1 "disk limit 8M was reached" "$@" weir run --events none --disk 8M -- \
    dd if=/dev/zero of=/tmp/x bs=1M count=20
  "$@" weir run --events none --cpus 0.2 -- sh -c "$SPIN" >/tmp/times 2>&1
  check "$who cpus" 0 "spent 0" spent /tmp/times
  check "$who timeout" 124 "longer than --timeout 1s" "$@" weir run --events none --timeout 1s,1s -- sleep 60
  check "$who no cgroup left" 0 "" no_leaf_left
}

run_checks root

# Owners of stored files are mapped by the mount, which overlays take since 5.19, and tmpfs since 6.3.
dd if=/dev/zero of=/tmp/disk bs=1M count=32 2>/dev/null && mke2fs -F /tmp/disk >/dev/null && mkdir -p /var/lib/weir
mount -t ext4 -o loop /tmp/disk /var/lib/weir
mkdir -p /tmp/tree/bin /tmp/tree/etc && cp /bin/busybox /tmp/tree/bin/sh
tar -cf /tmp/tree.tar -C /tmp/tree .
check "root image import" 0 "imported tree" env HOME=/root weir image import /tmp/tree.tar tree
check "root image" 0 "written" env HOME=/root weir run --events none --image tree -- sh -c 'echo written >/tmp/x; read a </tmp/x; echo $a'
check "root image layer" 0 "written" env HOME=/root weir run --events none --image tree --user root -- \
  sh -c 'echo written >/new; read a </new; echo $a'
check "root image as before" 1 "" env HOME=/root weir run --events none --image tree -- sh -c 'test -e /new'

# A supervisor that was killed leaves an empty cgroup, which the next start removes.
weir run --events none --memory 64M -- sleep 60 &
supervisor=$!
tries=0
until find /sys/fs/cgroup -name 'weir-w-*' | grep -q . || [ $tries = 200 ]; do usleep 10000; tries=$((tries + 1)); done
kill -9 $supervisor
wait $supervisor 2>/dev/null
# The sandbox dies with it, but a moment later; until then it is in use.
tries=0
until ! grep -q 'populated 1' /sys/fs/cgroup/weir-w-*/cgroup.events || [ $tries = 200 ]; do usleep 10000; tries=$((tries + 1)); done
check "after a killed supervisor" 0 "" weir run --events none --memory 64M -- true
check "its cgroup is swept" 0 "" no_leaf_left

# What systemd does for a scope with Delegate=yes: a cgroup that belongs to the user, with the controllers.
echo "+memory +cpu +pids" >/sys/fs/cgroup/cgroup.subtree_control
cat >/bin/delegated <<'EOF'
#!/bin/sh
scope=/sys/fs/cgroup/scope-$$
mkdir $scope
chown 1000:1000 $scope $scope/cgroup.procs $scope/cgroup.subtree_control
echo $$ >$scope/cgroup.procs
cd /home/u
exec env HOME=/home/u as_user "$@"
EOF
chmod 755 /bin/delegated
run_checks user delegated
# Without a delegated cgroup: said, and held by other means.
check "user not delegated" 0 "held by a watch" env HOME=/home/u as_user weir run --dry-run --memory 64M -- true
check "user fraction refused" 125 "whole processors" env HOME=/home/u as_user weir run --events none --cpus 0.5 -- true
weir doctor | grep -v '^setting'
echo "done"
poweroff -f
