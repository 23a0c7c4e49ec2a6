"""The ways from a program to the network: without anything, through weir, through the bare relay, through peers.

Each runs a command "inside" and returns a Run: what it printed, the CPU seconds of everything but the load tool, and the
counters that prove which path its bytes took.
"""

import json
import os
import resource
import shutil
import subprocess

import field as f
from measure import Failed, NotProven, Unavailable

PASTA_MTU = SLIRP_MTU = "65520"
DIRECT, BARE, PASTA, SPLICE, SLIRP = "without weir", "bare relay", "pasta", "pasta (splice)", "slirp4netns"
WEIR = "weir"
BARE_TUN, BARE_ECHO = "bare TUN loop", "bare TUN echo"
_OUTSIDE_TOOLS = "/bench"  # where the folder of tools appears inside weir

# In the namespaces of others: the congestion control of the field, the command, then the counters as the last lines.
_INNER = f"""echo {f.CONGESTION} 2>/dev/null >/proc/sys/net/ipv4/tcp_congestion_control
echo 0 0 2>/dev/null >/proc/sys/net/ipv4/ping_group_range
"$@"; code=$?
echo "congestion $(cat /proc/sys/net/ipv4/tcp_congestion_control)" >&2
cat /proc/net/dev >&2
exit $code"""


class Run:
    def __init__(self, stdout, stderr, cpu_s, flows=None):
        self.stdout, self.stderr, self.cpu_s, self.flows = stdout, stderr, cpu_s, flows

    @property
    def result(self):
        """The line of JSON that a tool printed."""
        return json.loads(self.stdout.strip().splitlines()[-1])


def need(program):
    if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
        raise Unavailable(f"{program} is not installed")


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip() and "syslog" not in line]
    telling = [line for line in lines if "rror" in line] or lines
    return telling[-1].strip()[:200] if telling else "no word"


class Contenders:
    def __init__(self, field):
        self.field = field
        self._ways = {DIRECT: self.direct, WEIR: self.weir, BARE: self.bare, PASTA: self.pasta, SPLICE: self.splice,
                      SLIRP: self.slirp, BARE_TUN: self.bare_tun, BARE_ECHO: self.bare_echo}

    def inside(self, way, argv, flows=0, payload=0, **options):
        """Runs a tool (argv[0] a name of bench/tools or of a program) in `way`; proves that at least `flows`
        connections and `payload` bytes went the way they should."""
        before = self.field.link_bytes()
        cpu = _children_cpu()
        run = self._ways[way](argv, **options)
        run.cpu_s = max(0.0, _children_cpu() - cpu - _own_cpu(run))
        if way not in (SPLICE, BARE_ECHO):
            crossed = self.field.link_bytes() - before
            if crossed < payload:
                raise NotProven(f"{crossed} bytes crossed the host's link, at least {payload} should have")
        if run.flows is not None and run.flows < flows:
            raise NotProven(f"{run.flows} connections were counted on the way, at least {flows} should have been")
        return run

    def _tool(self, argv, folder=None):
        """argv with the tool's full path, where it is one of ours."""
        path = self.field.bin / argv[0]
        if not path.exists():
            return list(argv)
        return [f"{folder or self.field.bin}/{argv[0]}", *argv[1:]]

    def _finish(self, argv, timeout=120, input=None):
        done = subprocess.run(self.field.command(argv), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, errors="backslashreplace",
                              **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}))
        if done.returncode:
            raise Failed(f"exit {done.returncode}: {last_line(done.stderr or done.stdout)}")
        return done

    def direct(self, argv, timeout=120):
        done = self._finish(self._tool(argv), timeout)
        return Run(done.stdout, done.stderr, 0)

    # ---- weir -----------------------------------------------------------------------------------------------------------

    def weir_argv(self, policy=None, allow=(), events=None, extra=()):
        """The command line up to the command. With audit on unless `events` is "none"."""
        argv = [self.field.tool("weir"), "run", "-q", "-v", f"{self.field.bin}:{_OUTSIDE_TOOLS}:ro", *extra]
        if policy is not None:
            argv += ["--policy", str(policy)]
        for target in allow:
            argv += ["--allow", target]
        if events is not None:
            argv += ["--events", str(events)]
        return [*argv, "--"]

    def policy(self, text, name="policy.toml"):
        path = self.field.folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    # What is measured is how fast weir can, not how fast its default limits let a sandbox be.
    LIFTED = ('[limits]\nmax_flows = 8192\nhalf_open = 8192\nconnects_per_second = 10000000\n'
              'dns_queries_per_second = 10000000\ndns_names_per_minute = 100000000\negress_bytes = "1024T"\n')

    def default_policy(self):
        """One address rule; the limits out of the way."""
        return self.policy(f'version = 1\nmode = "allowlist"\nallow = ["{f.SERVER}", ".bench.test"]\n{self.LIFTED}')

    def weir(self, argv, policy=None, audit=True, timeout=120):
        events = self.field.home / "events.jsonl"
        if events.exists():
            events.unlink()
        argv = [*self.weir_argv(policy or self.default_policy(), events=events if audit else "none"),
                *self._tool(argv, _OUTSIDE_TOOLS)]
        done = self._finish(argv, timeout)
        flows = events.read_bytes().count(b'"type":"flow.open"') if audit else None
        return Run(done.stdout, done.stderr, 0, flows)

    # ---- the control ----------------------------------------------------------------------------------------------------

    def bare(self, argv, timeout=120):
        report = self.field.home / "bare.json"
        done = self._finish([self.field.tool("bare_relay"), f"report={report}", "--", *self._tool(argv)], timeout)
        return Run(done.stdout, done.stderr, 0, json.loads(report.read_text())["accepted"])

    def bare_tun(self, argv, timeout=120):
        return self._bare_tun("socket", argv, timeout)

    def bare_echo(self, argv, timeout=120):
        return self._bare_tun("self", argv, timeout)

    def _bare_tun(self, echo, argv, timeout):
        report = self.field.home / "bare-tun.json"
        done = self._finish([self.field.tool("bare_tun"), f"echo={echo}", f"report={report}", "--", *self._tool(argv)], timeout)
        return Run(done.stdout, done.stderr, 0, json.loads(report.read_text())["flows"])

    # ---- peers ----------------------------------------------------------------------------------------------------------

    def pasta_argv(self, *options):
        need("pasta")
        return ["pasta", "--config-net", "-q", "-f", "-4", "--mtu", PASTA_MTU, "--log-file", "/dev/null", *options, "--"]

    def pasta(self, argv, timeout=120, extra=()):
        done = self._finish([*self.pasta_argv(*extra), "sh", "-c", _INNER, "sh", *self._tool(argv)], timeout)
        return Run(*_through_interface(done, "up0"), 0)

    def splice(self, argv, timeout=120):
        """pasta's splice path: only for what listens on the host's loopback. Its tap must stay (almost) silent."""
        ports = [f"-T{port}" for port in (f.ECHO, f.ONCE, f.BULK)]
        done = self._finish([*self.pasta_argv(*ports), "sh", "-c", _INNER, "sh",
                             *(word.replace(f.SERVER, "127.0.0.1") for word in self._tool(argv))], timeout)
        if sum(f.interface_bytes(done.stderr, "up0")) > sum(f.interface_bytes(done.stderr, "lo")) / 100:
            raise NotProven("pasta's tap carried what its splice path should have carried")
        return Run(*_through_interface(done, "lo"), 0)

    def slirp(self, argv, timeout=120):
        need("slirp4netns")
        inner = 'echo here; read go; ' + _INNER
        holder = subprocess.Popen(self.field.command(["unshare", "--user", "--map-root-user", "--net", "sh", "-c", inner,
                                                      "sh", *self._tool(argv)]),
                                  text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ready, notify = os.pipe()
        slirp = None
        try:
            if holder.stdout.readline() != "here\n":
                raise Unavailable(f"unshare: {last_line(holder.stderr.read())}")
            slirp = self._start_slirp(holder.pid, ready, notify)
            out, err = holder.communicate("go\n", timeout=timeout)
        finally:
            os.close(ready)
            for child in (holder, slirp):
                if child:
                    child.kill()
                    child.wait()
        if holder.returncode:
            raise Failed(f"exit {holder.returncode}: {last_line(err)}")
        done = subprocess.CompletedProcess([], 0, out, err)
        return Run(*_through_interface(done, "tap0"), 0)

    def _start_slirp(self, pid, ready, notify):
        try:
            slirp = subprocess.Popen(
                self.field.command(["slirp4netns", "--configure", f"--mtu={SLIRP_MTU}", f"--ready-fd={notify}",
                                    str(pid), "tap0"]),
                pass_fds=[notify], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        finally:
            os.close(notify)
        if not os.read(ready, 1):
            raise Unavailable(f"slirp4netns: {last_line(slirp.stderr.read().decode())}")
        return slirp


def _through_interface(done, name):
    """stdout and stderr of a run in somebody's namespace, once its bytes are known to have taken `name`."""
    if sum(f.interface_bytes(done.stderr, name)) < 1000:
        raise NotProven(f"nothing went through {name}")
    if f"congestion {f.CONGESTION}" not in done.stderr:
        raise NotProven(f"the namespace's congestion control is not {f.CONGESTION}")
    return done.stdout, done.stderr


def _children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _own_cpu(run):
    """What the load tool says it used itself."""
    try:
        return run.result.get("cpu_us", 0) / 1e6
    except (ValueError, IndexError):
        return 0.0
