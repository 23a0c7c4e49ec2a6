"""Peers that only start something: their command lines, at the settings their documentation recommends."""

import json
import pathlib
import shutil
import subprocess

import contenders as c
import field as f
from measure import Unavailable

SRT = f.ROOT / "build/bench-peers/node_modules/.bin/srt"
BWRAP = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
BWRAP_NET = [*BWRAP, "--share-net"]


class Peers:
    def __init__(self, field):
        self.field = field
        self._tried = {}

    def checked(self, name, argv):
        """argv, once it has run `true` here; its own words where it cannot."""
        if name not in self._tried:
            self._tried[name] = self._try([*argv, "true"])
        if self._tried[name]:
            raise Unavailable(self._tried[name])
        return argv

    def _try(self, argv):
        try:
            done = subprocess.run(self.field.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=30, errors="backslashreplace")
        except subprocess.TimeoutExpired:
            return "did not end within 30 s"
        return None if done.returncode == 0 else f"exit {done.returncode}: {c.last_line(done.stdout)}"

    def bwrap(self):
        c.need("bwrap")
        return self.checked("bwrap", BWRAP)

    def bwrap_in_pasta(self, pasta_argv):
        c.need("bwrap")
        return self.checked("bwrap in pasta", [*pasta_argv, *BWRAP_NET])

    def firejail(self):
        c.need("firejail")
        return self.checked("firejail", ["firejail", "--quiet", "--noprofile", "--net=none", "--"])

    def podman(self):
        c.need("podman")
        argv = ["podman", "run", "--rm", "--network=none", "--cgroups=disabled", "-v", "/usr:/usr:ro",
                "--rootfs", str(self._rootfs())]
        return self.checked("podman", argv)

    def crun(self):
        """`crun run` of a bundle whose command is `true`; nothing can be appended."""
        c.need("crun")
        bundle = self.field.home / "bundle"
        if not bundle.exists():
            self._bundle(bundle)
        argv = ["crun", "--cgroup-manager=disabled", f"--root={self.field.home}/crun", "run", f"--bundle={bundle}", "bench"]
        if "crun" not in self._tried:
            self._tried["crun"] = self._try(argv)
        if self._tried["crun"]:
            raise Unavailable(self._tried["crun"])
        return argv

    def proxy(self, program):
        """A proxy on the host's loopback, started once, that may be asked for the servers' ports. -> its own port"""
        own, argv = self._proxies()[program]
        c.need(argv[0])
        if program not in self._tried:
            self._tried[program] = None
            self.field.start(argv)
            try:
                self.field.wait_for_port(own, program)
            except AssertionError as why:
                self._tried[program] = str(why)
        if self._tried[program]:
            raise Unavailable(self._tried[program])
        return own

    def _proxies(self):
        """{program: (its port, its command line)}; one worker, no cache, no log: all answer the same few requests."""
        home = self.field.home

        def written(program, text):
            path = home / f"{program}.conf"
            path.write_text(text)
            return str(path)

        tinyproxy = written("tinyproxy", "Port 8801\nListen 127.0.0.1\nMaxClients 4000\nTimeout 60\nLogLevel Critical\n"
                            f"ConnectPort {f.ONCE}\n")
        squid = written("squid", f"http_port 127.0.0.1:8802\nacl asked port {f.ONCE} {f.HTTP}\nhttp_access allow asked\n"
                        f"cache deny all\naccess_log none\ncache_log /dev/null\npid_filename {home}/squid.pid\n"
                        f"coredump_dir {home}\nshutdown_lifetime 0 seconds\nworkers 1\n"
                        "netdb_filename none\nvisible_hostname bench\n")
        dante = written("dante", "logoutput: /dev/null\ninternal: 127.0.0.1 port = 8803\nexternal: up0\n"
                        "clientmethod: none\nsocksmethod: none\n"
                        "client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\nsocks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n")
        return {"tinyproxy": (8801, ["tinyproxy", "-d", "-c", tinyproxy]), "squid": (8802, ["squid", "-N", "-f", squid]),
                "dante": (8803, ["danted", "-f", dante, "-p", f"{home}/dante.pid"])}

    def srt(self, domains=()):
        """sandbox-runtime, which ./dev bench installs where npm is there."""
        if not SRT.exists():
            raise Unavailable("not installed (needs npm: npm install --prefix build/bench-peers @anthropic-ai/sandbox-runtime)")
        for program in ("node", "rg", "socat", "bwrap"):
            if not shutil.which(program):
                raise Unavailable(f"{program} is not installed")
        program = self._srt_copy()
        settings = self.field.home / f"srt-{len(domains)}.json"
        settings.write_text(json.dumps({"network": {"allowedDomains": list(domains), "deniedDomains": []},
                                        "filesystem": {"denyRead": [], "allowWrite": ["."], "denyWrite": []}}))
        return self.checked("srt", [shutil.which("node"), str(program), "--settings", str(settings), "--"])

    def _srt_copy(self):
        """Where every identity can read it."""
        target = self.field.folder / "node_modules"
        if not target.exists():
            shutil.copytree(SRT.parents[1], target, symlinks=True)
        return (target / ".bin/srt").resolve()

    def _rootfs(self):
        root = self.field.home / "rootfs"
        if not root.exists():
            for name in ("usr", "proc", "dev", "sys", "tmp", "etc", "run"):
                (root / name).mkdir(parents=True)
            for name in ("bin", "lib", "lib64", "sbin"):
                (root / name).symlink_to(f"usr/{name}")
            self._own(root)
        return root

    def _bundle(self, bundle):
        bundle.mkdir()
        self._own(bundle)
        subprocess.run(self.field.command(["sh", "-c", f"cd {bundle} && crun spec --rootless"]), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        path = bundle / "config.json"
        spec = json.loads(path.read_text())
        spec["process"]["terminal"], spec["process"]["args"] = False, ["true"]
        spec["root"] = {"path": str(self._rootfs()), "readonly": True}
        spec["mounts"].append({"destination": "/usr", "type": "none", "source": "/usr", "options": ["rbind", "ro"]})
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "cgroup"]
        path.write_text(json.dumps(spec))

    def _own(self, folder):
        if self.field.identity:
            for path in [folder, *pathlib.Path(folder).rglob("*")]:
                shutil.os.chown(path, *self.field.identity, follow_symlinks=False)
