"""Proxies of the user's own on the loopback of the lab's host: real ones and a lying one.

They know names that no name server does (NAMES) and go out from an address of their own (OUTGOING), so that a name in
their log, an empty log of the name server and that address at the target prove the way that was taken.
"""

import json
import pathlib
import re
import shutil
import sys

import upstream_proxy
import world as w

HERE = pathlib.Path(__file__).resolve().parent
OUTGOING = upstream_proxy.OUTGOING
NAMES = {"served.test": w.ALLOWED4, "other.served.test": w.EXAMPLE4, "to-lan.test": w.PRIVATE4,
         "evil.test": w.EVIL4}
HTTP_PORT, SOCKS_PORT = 18090, 11080
WIDE_PORT = 18082  # nothing listens there; a proxy that is not on a loopback
USER = "someone:pass-canary-word"


class TextLog:
    """The access log of a real proxy."""

    def __init__(self, path):
        self.path = path
        self._mark = 0

    def mark(self):
        self._mark = self.path.stat().st_size if self.path.exists() else 0

    def since(self):
        if not self.path.exists():
            return ""
        with open(self.path, "rb") as file:
            file.seek(self._mark)
            return file.read().decode(errors="replace")

    def mentions(self, name):
        return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", self.since()) is not None


class Upstreams:
    def __init__(self, world):
        self.world = world
        self.folder = world.folder / "upstreams"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        host_lines = "".join(f"{address} {name}\n" for name, address in NAMES.items())
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + host_lines)
        (self.folder / "names.json").write_text(json.dumps(NAMES))
        world.host.sh(f"ip addr add {OUTGOING}/32 dev lo")
        world.inet.sh(f"ip route add {OUTGOING}/32 via {w.HOST_UP4} dev host0 table local")
        self.log = w.JsonLog(self.folder / "lab-proxy.log")
        world.host.start([sys.executable, "-u", str(HERE / "upstream_proxy.py"), str(self.log.path), str(HTTP_PORT),
                          str(SOCKS_PORT), str(self.folder / "names.json")])
        self.http = f"http://127.0.0.1:{HTTP_PORT}"
        self.socks = f"socks5h://127.0.0.1:{SOCKS_PORT}"

    def spawn(self, *argv):
        """In the host's network, with a hosts file that knows the names; ends with the world."""
        wrapped = ["unshare", "--mount", "sh", "-c",
                   f"mount --bind {self.folder}/hosts $(realpath /etc/hosts); mount -t tmpfs tmpfs /dev/shm; "
                   "exec \"$@\"", "sh", *argv]
        return self.world.host.start(wrapped, ready=None, stderr=open(self.folder / "errors", "a"))

    def start(self, name):
        """One of the real ones. -> (kind, url, log), or the reason why not."""
        return getattr(self, f"_{name}")()

    def _squid(self):
        if not shutil.which("squid"):
            return "squid is not installed"
        log = self.folder / "squid-access.log"
        config = self.folder / "squid.conf"
        config.write_text(f"""http_port 127.0.0.1:13128
            acl all_ports port 1-65535
            http_access allow all_ports
            cache deny all
            tcp_outgoing_address {OUTGOING}
            access_log stdio:{log}
            cache_log {self.folder}/squid-cache.log
            pid_filename {self.folder}/squid.pid
            hosts_file /etc/hosts
            dns_nameservers 127.0.0.1
            dns_timeout 1 seconds
            shutdown_lifetime 0 seconds
            logfile_rotate 0
            buffered_logs off
            """)
        self.spawn("squid", "-N", "-f", str(config))
        self._wait(13128)
        return "http", "http://127.0.0.1:13128", TextLog(log)

    def _tinyproxy(self):
        if not shutil.which("tinyproxy"):
            return "tinyproxy is not installed"
        log = self.folder / "tinyproxy.log"
        config = self.folder / "tinyproxy.conf"
        config.write_text(f"User root\nGroup root\nPort 18888\nListen 127.0.0.1\nBind {OUTGOING}\nTimeout 60\n"
                          f"LogFile \"{log}\"\nLogLevel Connect\nMaxClients 100\nAllow 127.0.0.1\n"
                          f"BasicAuth {USER.replace(':', ' ')}\n")
        self.spawn("tinyproxy", "-d", "-c", str(config))
        self._wait(18888)
        return "http", "http://127.0.0.1:18888", TextLog(log)

    def _dante(self):
        if not shutil.which("danted"):
            return "dante-server is not installed"
        log = self.folder / "dante.log"
        config = self.folder / "danted.conf"
        config.write_text(f"logoutput: {log}\ndebug: 1\ninternal: 127.0.0.1 port = 11081\nexternal: {OUTGOING}\n"
                          "socksmethod: none\nclientmethod: none\nuser.privileged: root\nuser.unprivileged: root\n"
                          "client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n"
                          "socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0\n log: connect error }}\n"
                          .replace("{{", "{").replace("}}", "}"))
        self.spawn("danted", "-f", str(config), "-p", str(self.folder / "danted.pid"))
        self._wait(11081)
        return "socks", "socks5h://127.0.0.1:11081", TextLog(log)

    def _mitmproxy(self):
        if not shutil.which("mitmdump"):
            return "mitmproxy is not installed (some hundred MB of packages)"
        log = self.folder / "mitm.log"
        self.spawn("sh", "-c", f"exec mitmdump --listen-host 127.0.0.1 -p 18081 --set confdir={self.folder}/mitm "
                   f"--ignore-hosts '.*' --set termlog_verbosity=debug >{log} 2>&1")
        self._wait(18081)
        return "http", "http://127.0.0.1:18081", TextLog(log)

    def _wait(self, port):
        import lab
        lab.wait_until(lambda: f"127.0.0.1:{port} " in self.world.host.run(["ss", "-Hltn"]).stdout, 30, f"port {port}")
