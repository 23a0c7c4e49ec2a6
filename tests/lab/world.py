"""A small made-up internet in network namespaces: the same one for the lab tests and for `./dev demo`.

    host  weir runs here. Two links: `up0` to inet (default route), `lan0` to lan. Own resolv.conf, own services.
    inet  owns *every* address that is routed to it, so whatever escapes is received, counted and logged. Name server,
          web, echo and misbehaving servers; the metadata addresses of the clouds.
    lan   a neighbour: a private address and a global one on the host's own link.

Nothing here has a way out: the namespaces are connected to each other and to nothing else. Works as root, and without
any privilege inside a user namespace (see in_own_user_namespace).
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import packets
import pki

HERE = pathlib.Path(__file__).resolve().parent

ALLOWED4, ALLOWED6 = "93.184.216.10", "2606:2800:220::10"
EVIL4, EVIL6 = "93.184.216.66", "2606:2800:220::66"
SHARED4, SHARED6 = "93.184.216.20", "2606:2800:220::20"
EXAMPLE4, EXAMPLE6 = "93.184.216.34", "2606:2800:220::34"
SILENT4, SILENT6 = "93.184.216.31", "2606:2800:220::31"
UNREACHABLE4, UNREACHABLE6 = "93.184.216.32", "2606:2800:220::32"
DNS4, DNS6 = "93.184.216.53", "2606:2800:220::53"
OTHER_DNS4, OTHER_DNS6 = "8.8.8.8", "2001:4860:4860::8888"
PRIVATE4, PRIVATE6 = "10.20.30.40", "fd20:30::40"
METADATA4, METADATA6, METADATA_ALT4, WIRESERVER4 = "169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"
HOST_UP4, HOST_UP6 = "172.31.255.2", "fd77:1::2"
INET_UP4, INET_UP6 = "172.31.255.1", "fd77:1::1"
HOST_LAN4, HOST_LAN6 = "192.168.77.1", "fd77:2::1"
LAN4, LAN6, LAN_GLOBAL6 = "192.168.77.9", "fd77:2::9", "2606:2800:221::9"

HOST_PORT = 7777        # the host's own service, on all its addresses
LOOPBACK_PORT = 7778    # ... and one that listens on loopback only
TCP_SERVERS = {"80": "http", "8080": "http", "443": "https", "8443": "https", "7": "echo", "9": "sink", "10": "reset",
               "11": "hang", "12": "count", "13": "bye-early", "14": "flood", "25": "banner", "2222": "echo"}
UDP_SERVERS = {"7": "echo", "9": "sink", "15": "forger", "123": "clock", "443": "echo", "5353": "echo"}


def both(v4, v6, **more):
    return {"A": [v4], "AAAA": [v6], **more}


def zone():
    """Names of the lab. Hosts that behave, hosts that are attacks, and one name per misbehaviour of a name server."""
    names = {
        "allowed.test": both(ALLOWED4, ALLOWED6), "*.wild.test": both(ALLOWED4, ALLOWED6),
        "wild.test": both(ALLOWED4, ALLOWED6), "evil.test": both(EVIL4, EVIL6), "*.evil.test": both(EVIL4, EVIL6),
        "xallowed.test": both(EVIL4, EVIL6), "allowed.test.evil.test": both(EVIL4, EVIL6),
        "sub.allowed.test": both(EVIL4, EVIL6),
        "a.cdn.test": both(SHARED4, SHARED6), "b.cdn.test": both(SHARED4, SHARED6),
        # The package index of the lab: what it serves is below `www`.
        "pypi.org": both(ALLOWED4, ALLOWED6), "files.pythonhosted.org": both(ALLOWED4, ALLOWED6),
        "example.com": both(EXAMPLE4, EXAMPLE6), "www.example.com": both(EXAMPLE4, EXAMPLE6),
        "host-silent.test": both(SILENT4, SILENT6), "host-unreachable.test": both(UNREACHABLE4, UNREACHABLE6),
        "private.test": both(PRIVATE4, PRIVATE6), "metadata.test": both(METADATA4, METADATA6),
        "loopback.test": both("127.0.0.1", "::1"), "hostaddr.test": both(HOST_UP4, HOST_UP6),
        "lan.test": both(LAN4, LAN_GLOBAL6), "zero.test": both("0.0.0.0", "::"),
        "mapped.test": {"AAAA": ["::ffff:10.20.30.40", "::ffff:169.254.169.254"]},
        "nat64.test": {"AAAA": ["64:ff9b::a14:1e28", "2002:a14:1e28::1", "2001:0:a14:1e28::1"]},
        "mixed.test": {"A": [ALLOWED4, PRIVATE4, METADATA4, "127.0.0.1"], "AAAA": [ALLOWED6, PRIVATE6, METADATA6, "::1"]},
        "rebind.test": {"A": [ALLOWED4, PRIVATE4], "ttl": 0, "behaviour": "rebind"},
        "dual.test": {"A": [PRIVATE4], "AAAA": [ALLOWED6]},
        "four-private.test": {"A": [PRIVATE4]},
        "four.test": {"A": [ALLOWED4]}, "six.test": {"AAAA": [ALLOWED6]},
        "alias.test": {"CNAME": "allowed.test"}, "to-evil.test": {"CNAME": "evil.test"},
        "to-tracker.test": {"CNAME": "tracker.test"}, "tracker.test": both(ALLOWED4, ALLOWED6),
        "loop1.test": {"CNAME": "loop2.test", "behaviour": "loop"}, "loop2.test": {"CNAME": "loop1.test"},
        "huge.test": {"A": [f"93.184.217.{n}" for n in range(1, 255)]},
        "many.test": {"A": [f"93.184.217.{n}" for n in range(1, 61)]},
        "text.test": {"A": [ALLOWED4], "TXT": ["hello from the lab"], "MX": ["mail.text.test"],
                      "SRV": ["allowed.test:443"], "HTTPS": "00010000"},
        "short.test": {"A": [ALLOWED4], "ttl": 1},
        "db.corp.test": both(PRIVATE4, PRIVATE6), "db": both(PRIVATE4, PRIVATE6),
        "metadata.google.internal": both(METADATA4, METADATA6), "printer.local": both(LAN4, LAN6),
        "1.77.168.192.in-addr.arpa": {"PTR": ["secret-host.corp.test"]},
    }
    for step in range(12):
        names[f"chain{step}.test"] = {"CNAME": f"chain{step + 1}.test"} if step < 11 else both(ALLOWED4, ALLOWED6)
    for how in ("silent", "lying-id", "lying-question", "lying-then-true", "lower-case", "truncated",
                "truncated-for-ever", "servfail", "refused", "garbage", "pointer-loop", "slow"):
        names[f"{how}.dns.test"] = both(ALLOWED4, ALLOWED6, behaviour=how)
    return names


TLS_NAMES = ["allowed.test", "evil.test", "a.cdn.test", "b.cdn.test", "example.com", "www.example.com", "alias.test",
             "pypi.org", "files.pythonhosted.org", "*.wild.test", "*.evil.test", "mixed.test", "rebind.test", "*.dns.test", ALLOWED4, EVIL4]


def _die_with_parent():
    """In the child: SIGKILL when the world's process ends, so that nothing of the lab outlives it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Node:
    """A network namespace with a mount namespace of its own, held open by one sleeping process."""

    def __init__(self, name):
        self.name = name
        self._holder = subprocess.Popen(["unshare", "--net", "--mount", "--propagation", "private", "sleep", "infinity"],
                                        preexec_fn=_die_with_parent)
        self._children = []
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 10
        while os.readlink(f"/proc/{self.pid}/ns/net") == own or _command_of(self.pid) != "sleep":
            if time.monotonic() > deadline or self._holder.poll() is not None:
                raise RuntimeError(f"cannot make the namespace {name}")
            time.sleep(0.002)
        self.run(["ip", "link", "set", "lo", "up"], check=True)

    @property
    def pid(self):
        return self._holder.pid

    def prefix(self, cwd="/"):
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt", f"--wd={cwd}"]

    def run(self, argv, check=False, input=None, timeout=60, **options):
        done = subprocess.run([*self.prefix(options.pop("cwd", "/")), *argv], input=input, timeout=timeout, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def sh(self, script):
        done = self.run(["sh", "-ec", script])
        if done.returncode:
            raise RuntimeError(f"{self.name}: {script.strip()}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, argv, ready="ready", **options):
        """A server that lives as long as the world; waits for the line it prints when it listens."""
        child = subprocess.Popen([*self.prefix(), *argv], stdout=subprocess.PIPE, text=True, preexec_fn=_die_with_parent,
                                 **options)
        self._children.append(child)
        if ready:
            line = child.stdout.readline()
            if ready not in line:
                raise RuntimeError(f"{self.name}: {argv} did not start: {line!r}")
        return child

    def close(self):
        for child in [*self._children, self._holder]:
            child.kill()
            child.wait()


def _command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def pair(one, name_one, two, name_two):
    one.sh(f"ip link add {name_one} type veth peer name {name_two} netns {two.pid}")
    for node, link in ((one, name_one), (two, name_two)):
        node.sh(f"sysctl -qw net.ipv6.conf.{link}.accept_ra=0 net.ipv6.conf.{link}.accept_dad=0; ip link set {link} up")


def add(node, link, *addresses):
    for address in addresses:
        node.sh(f"ip addr add {address} dev {link}{' nodad' if ':' in address else ''}")


class JsonLog:
    """The growing log of a server; mark() and since() give what happened in between."""

    def __init__(self, path):
        self.path = path
        path.touch()
        self._mark = 0

    def mark(self):
        self._mark = self.path.stat().st_size

    def since(self):
        with open(self.path, "rb") as file:
            file.seek(self._mark)
            return [json.loads(line) for line in file.read().splitlines() if line.endswith(b"}")]


class World:
    def __init__(self, zone_names=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-lab-"))
        self.folder.chmod(0o755)
        self.www = self.folder / "www"
        self.www.mkdir()
        self.pki = self.folder / "pki"
        pki.make(self.pki, TLS_NAMES)
        self.nodes = []
        try:
            self._build(zone_names or zone())
        except BaseException:
            self.close()
            raise

    def _build(self, names):
        self.host, self.inet, self.lan = (self._node(name) for name in ("host", "inet", "lan"))
        self._links()
        self._host_files()
        self._servers(names)
        self.packets = packets.Packets(self.inet)
        self.lan_packets = packets.Packets(self.lan)
        self.host_packets = packets.Packets(self.host, loopback_only=True)

    def _node(self, name):
        node = Node(name)
        self.nodes.append(node)
        return node

    def _links(self):
        pair(self.host, "up0", self.inet, "host0")
        pair(self.host, "lan0", self.lan, "host0")
        add(self.host, "up0", f"{HOST_UP4}/30", f"{HOST_UP6}/64")
        add(self.inet, "host0", f"{INET_UP4}/30", f"{INET_UP6}/64")
        add(self.host, "lan0", f"{HOST_LAN4}/24", f"{HOST_LAN6}/64", "2606:2800:221::1/64")
        add(self.lan, "host0", f"{LAN4}/24", f"{LAN6}/64", f"{LAN_GLOBAL6}/64")
        self.host.sh(f"ip route add default via {INET_UP4}; ip -6 route add default via {INET_UP6}")
        # As systemd sets it; in a user namespace only its own group can be named.
        self.host.sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647' || sysctl -qw net.ipv4.ping_group_range='0 0'")
        # Everything that reaches inet is local there. The link's own prefix stays a link.
        self.inet.sh("""
            sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1 net.ipv4.conf.all.rp_filter=0 \
                       net.ipv4.conf.host0.rp_filter=0
            ip route add 172.31.255.0/30 dev host0 table local
            ip route add local 0.0.0.0/1 dev lo table local; ip route add local 128.0.0.0/1 dev lo table local
            ip -6 route add fd77:1::/64 dev host0 table local
            ip -6 route add local ::/1 dev lo table local; ip -6 route add local 8000::/1 dev lo table local
            ip -6 route add fe80::/64 dev host0 table local""")
        self.inet.run(["nft", "-f", "-"], check=True, input=f"""
            table inet trouble {{ chain in {{ type filter hook input priority 0;
              ip daddr {SILENT4} drop
              ip6 daddr {SILENT6} drop
              ip daddr {UNREACHABLE4} reject with icmp host-unreachable
              ip6 daddr {UNREACHABLE6} reject with icmpv6 addr-unreachable
            }}
            }}""")

    def _host_files(self):
        """The host's resolv.conf and hosts file, bound over the machine's in the host node's mount namespace only."""
        self.set_resolv_conf(f"nameserver {DNS4}\nsearch corp.test\n")
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n::1 localhost\n10.20.30.40 from-hosts-file.test\n")
        self.host.sh(f"mount --bind {self.folder}/resolv.conf $(realpath /etc/resolv.conf)\n"
                     f"mount --bind {hosts} $(realpath /etc/hosts)")
        bundle = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        if bundle.exists():
            merged = self.folder / "ca-certificates.crt"
            merged.write_text((self.pki / "ca.pem").read_text() + bundle.read_text())
            self.host.sh(f"mount --bind {merged} {bundle.resolve()}")

    def set_resolv_conf(self, text):
        with open(self.folder / "resolv.conf", "w") as file:
            file.write(text)

    def _servers(self, names):
        python = [sys.executable, "-u"]
        (self.folder / "zone.json").write_text(json.dumps(names))
        self.dns_log = JsonLog(self.folder / "dns.log")
        self.inet.start([*python, str(HERE / "dns_server.py"), str(self.folder / "zone.json"), str(self.dns_log.path),
                         DNS4, DNS6, OTHER_DNS4, OTHER_DNS6])
        self.origin_log = self._origin(self.inet, "inet", tcp=TCP_SERVERS, udp=UDP_SERVERS, tls=True)
        self.lan_log = self._origin(self.lan, "lan", tcp={"80": "http", "7": "echo"}, udp={"7": "echo"})
        self.host_log = self._origin(self.host, "host", tcp={str(HOST_PORT): "http"}, udp={str(HOST_PORT): "echo"})
        self._origin(self.host, "loopback", tcp={str(LOOPBACK_PORT): "http"}, bind=["127.0.0.1", "::1"],
                     log=self.host_log)

    def _origin(self, node, label, tcp, udp=None, tls=False, bind=None, log=None):
        config = {"label": label, "tcp": tcp, "udp": udp or {}, "tls": str(self.pki) if tls else None,
                  "www": str(self.www), "bind": bind}
        path = self.folder / f"origin-{label}.json"
        path.write_text(json.dumps(config))
        log = log or JsonLog(self.folder / f"origin-{label}.log")
        node.start([sys.executable, "-u", str(HERE / "origin_server.py"), str(path), str(log.path)])
        return log

    def reset(self):
        """Start of a test: counters at zero, logs marked."""
        for counter in (self.packets, self.lan_packets, self.host_packets):
            counter.reset()
        for log in (self.dns_log, self.origin_log, self.lan_log, self.host_log):
            log.mark()

    def packets_to(self, address, port=None):
        """Packets for an address, wherever in the lab it lives."""
        return sum(counter.to(address, port) for counter in (self.packets, self.lan_packets, self.host_packets))

    def close(self):
        for node in reversed(self.nodes):
            node.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def in_own_user_namespace(argv):
    """For an ordinary user: runs this program again as root of a user namespace of its own. Does not return."""
    os.environ["WEIR_WORLD_UID"] = str(os.getuid())
    os.environ["WEIR_WORLD_GID"] = str(os.getgid())
    os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--net", "--mount", "--propagation", "private",
                          "--kill-child", "--fork", "--", sys.executable, *argv])
