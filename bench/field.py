"""Where the contenders race: two network namespaces and one veth between them, connected to nothing else.

    host    where weir and its peers run; its only route leads to `server`; congestion control fixed to cubic
    server  owns 93.184.216.0/24: load_server, iperf3, and an unbound that answers every name below bench.test

All contenders run as the same identity, with the same environment, and with the same copy of the programs.
"""

import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/lab"))

import lab  # noqa: E402
import world  # noqa: E402

SERVER = "93.184.216.10"
SERVER_DNS = "93.184.216.53"
CLOSED_PORT = 9
ECHO, ONCE, HTTP, BULK, DATAGRAMS = 7, 8, 80, 5201, 5202
NAME = "www.bench.test"
CONGESTION = "cubic"
DESCRIPTORS = 262_144
_ALLOWED_CONGESTION = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
_SYSCTLS = f"net.ipv4.tcp_congestion_control={CONGESTION} net.ipv4.ip_local_port_range='1024 65000' " \
           "net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535 net.ipv4.tcp_syncookies=0"
LIMITS = ["somaxconn and tcp_max_syn_backlog 65535, ports 1024-65000 in both namespaces",
          f"descriptors per process up to {DESCRIPTORS:,}"]

_UNBOUND = """
server:
  interface: {address}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  use-syslog: no
  logfile: "{folder}/unbound.log"
  access-control: 0.0.0.0/0 allow
  do-ip6: no
  num-threads: 1
  module-config: "iterator"
  local-zone: "bench.test." redirect
  local-data: "bench.test. 3600 A {server}"
remote-control:
  control-enable: no
"""


class Field:
    """Made once per run; close() ends every process and frees both namespaces."""

    def __init__(self, build, identity=None):
        """`build`: the folder with weir and bench/. `identity`: (uid, gid) for all contenders, or None for the caller's."""
        self.identity = identity
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
        self.folder.chmod(0o755)
        self.nodes, self._servers, self._restore = [], [], None
        try:
            self._programs(pathlib.Path(build))
            self._build()
        except BaseException:
            self.close()
            raise

    def _programs(self, build):
        """A copy that every identity can read, wherever the checkout lives."""
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.home = self.folder / "home"
        self.home.mkdir()
        for program in [build / "weir", build / "weir-serve", *(build / "bench").iterdir()]:
            if program.is_file() and os.access(program, os.X_OK):
                shutil.copy(program, self.bin)
        if self.identity:
            os.chown(self.home, *self.identity)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < DESCRIPTORS and os.getuid() == 0:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
            except (OSError, ValueError):
                pass  # root of a user namespace only: the rows say what they reached

    def _build(self):
        self._permit_congestion()
        self.host, self.server = world.Node("host"), world.Node("server")
        self.nodes = [self.host, self.server]
        world.pair(self.host, "up0", self.server, "host0")
        world.add(self.host, "up0", f"{world.HOST_UP4}/30")
        world.add(self.server, "host0", f"{world.INET_UP4}/30")
        self.host.sh(f"ip route add default via {world.INET_UP4}; sysctl -qw {_SYSCTLS}")
        self.server.sh(f"sysctl -qw {_SYSCTLS} net.ipv4.ip_nonlocal_bind=1; ip route add local 93.184.216.0/24 dev lo")
        resolv = self.folder / "resolv.conf"
        resolv.write_text(f"nameserver {SERVER_DNS}\n")
        self.host.sh(f"mount --bind {resolv} $(realpath /etc/resolv.conf)")
        # crun and podman refuse a machine that mixes both versions of control groups; here it looks like one of version 2.
        self.host.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"])
        # squid does not start where one that was killed has left its shared memory behind.
        self.host.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "none", "/dev/shm"])
        self.host.sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647' || sysctl -qw net.ipv4.ping_group_range='0 0'")
        self.load_server(self.server, SERVER)
        self.server.start([str(self.bin / "udp_stream"), "serve", f"{SERVER}:{DATAGRAMS}"], stdin=subprocess.PIPE)
        self.bulk_server(self.server, SERVER)
        config = self.folder / "unbound.conf"
        config.write_text(_UNBOUND.format(address=SERVER_DNS, folder=self.folder, server=SERVER))
        self.server.start(["unbound", "-d", "-c", str(config)], ready=None)

    def load_server(self, node, address):
        node.start([str(self.bin / "load_server"), f"{address}:{ECHO}/echo", f"{address}:{ONCE}/once",
                    f"{address}:{HTTP}/http"], stdin=subprocess.PIPE)

    def bulk_server(self, node, address):
        node.start(["iperf3", "-s", "-B", address, "-p", str(BULK), "--forceflush"], ready="---")

    def _permit_congestion(self):
        """Namespaces may choose cubic only where the machine permits it; permitted for the time of the run."""
        allowed = _ALLOWED_CONGESTION.read_text().split()
        if CONGESTION in allowed or not os.access(_ALLOWED_CONGESTION, os.W_OK):
            return
        self._restore = " ".join(allowed)
        _ALLOWED_CONGESTION.write_text(" ".join([*allowed, CONGESTION]))

    def congestion(self):
        return {node.name: node.sh("cat /proc/sys/net/ipv4/tcp_congestion_control").strip() for node in self.nodes}

    # ---- running something on the host --------------------------------------------------------------------------------

    def command(self, argv):
        """The command line that runs `argv` on the host as the identity of all contenders."""
        become = []
        if self.identity:
            become = ["setpriv", f"--reuid={self.identity[0]}", f"--regid={self.identity[1]}", "--clear-groups"]
        return [*self.host.prefix(cwd=str(self.home)), *become, "env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.home}", "USER=bench", *map(str, argv)]

    def start(self, argv):
        """A server on the host, as the identity of all contenders; ends with the field."""
        child = subprocess.Popen(self.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, preexec_fn=world._die_with_parent)
        self._servers.append(child)

    def wait_for_port(self, port, what):
        lab.wait_until(lambda: f":{port:04X} " in self.host.sh("cat /proc/net/tcp | awk '$4 == \"0A\"'"), 10, what)

    def tool(self, name):
        return str(self.bin / name)

    def link_bytes(self):
        """Bytes that crossed the host's link so far, both directions."""
        return sum(interface_bytes(self.host.run(["cat", "/proc/net/dev"], check=True).stdout, "up0"))

    def _end_strays(self):
        """What a peer left running (podman keeps a process per user) is in one of these namespaces, or it is not ours."""
        ours = {_network_of(node.pid) for node in self.nodes} - {None}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and _network_of(entry) in ours:
                os.kill(int(entry), signal.SIGKILL)

    def close(self):
        for server in self._servers:
            server.kill()
            server.wait()
        self._end_strays()
        for node in reversed(self.nodes):
            node.close()
        if self._restore is not None:
            _ALLOWED_CONGESTION.write_text(self._restore)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _network_of(pid):
    """The name of a process's network namespace; None for one that is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def interface_bytes(proc_net_dev, name):
    """(received, sent) of an interface in the text of /proc/net/dev"""
    for line in proc_net_dev.splitlines():
        head, _, rest = line.partition(":")
        if head.strip() == name:
            numbers = rest.split()
            return int(numbers[0]), int(numbers[8])
    return 0, 0
