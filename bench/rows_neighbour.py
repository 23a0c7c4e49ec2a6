"""L1: what a sandbox that floods does to another one."""

import contextlib
import os
import pathlib
import subprocess
import time

import contenders as c
import field as f
from measure import NotProven, Quantity, Row

FLOODS = {"syn": "refused connects", "dns": "questions", "udp": "datagrams", "flows": "connections", "events": "refused names"}
BARE_FLOOD = "flood without weir"
LEAST_CPU_S = 0.05  # what a flood has used, or it was none
FOREVER = 1_000_000_000
NAMES = 50_000


class NeighbourRows:
    def __init__(self, field, contenders, full):
        self.field, self.ways, self.full = field, contenders, full

    def rows(self):
        return [self.l1()]

    def l1(self):
        seconds, rounds = (5, 10) if self.full else (1, 3)
        argv = ["request_rate", f"{f.SERVER}:{f.ECHO}", f"seconds={seconds}"]

        def asked(way):
            out = self.ways.inside(way, argv, flows=1 if way == c.WEIR else 0, payload=10_000).result
            return out["p50_ns"] / 1000, out["p99_ns"] / 1000

        def run(way):
            values = {}
            neighbour = c.DIRECT if way == c.DIRECT else c.WEIR
            if way != BARE_FLOOD:
                values["idle_p50"], values["idle_p99"] = asked(neighbour)
            for kind in FLOODS:
                with self._flood(kind, c.WEIR if way == c.WEIR else c.DIRECT):
                    values[f"{kind}_p50"], values[f"{kind}_p99"] = asked(neighbour)
            return values

        quantities = [Quantity(f"{key}_{figure}", f"request {figure}, {words}", "µs", "less")
                      for key, words in {"idle": "no flood", **{key: f"flood of {words}" for key, words in FLOODS.items()}}.items()
                      for figure in ("p50", "p99")]
        return Row("L1", "requests of a sandbox beside another that floods", quantities, [c.WEIR, BARE_FLOOD, c.DIRECT], run,
                   rounds, f.LIMITS,
                   [f"one connection, one byte, {seconds} s each",
                    "weir: flood and neighbour in a sandbox each; flood without weir: the same flood program on the host, the "
                    "neighbour in a sandbox; without weir: both on the host",
                    "refused: by weir's policy, or by a closed port and a name server; flows: 256 parallel connects; "
                    "everybody shares the two cores"])

    # ---- the floods -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _flood(self, kind, way):
        """A program that floods while the block runs; it is proven to have been at work."""
        argv, policy, told = self._flood_argv(kind, way)
        if way == c.WEIR:
            tool = [c._OUTSIDE_TOOLS + "/" + argv[0], *argv[1:]] if (self.field.bin / argv[0]).exists() else argv
            argv = [*self.ways.weir_argv(policy or self.ways.default_policy(), events=self.field.home / "flood.jsonl"), *tool]
        else:
            argv = self.ways._tool(argv)
        child = subprocess.Popen(self.field.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        try:
            began = time.monotonic()
            for line in child.stdout:
                if told in line:
                    break
            else:
                raise NotProven(f"the flood ({kind}) did not start")
            yield
            elapsed = time.monotonic() - began
            if child.poll() is not None:
                raise NotProven(f"the flood ({kind}) ended early: {c.last_line(child.stdout.read())}")
            used = _cpu_of_tree(child.pid)
            if used < LEAST_CPU_S:
                raise NotProven(f"the flood ({kind}) used {used:.2f} s of CPU in {elapsed:.1f} s")
        finally:
            child.terminate()
            child.communicate()

    def _flood_argv(self, kind, way):
        """-> (command line, policy or None, what it prints when it begins)"""
        inside = way == c.WEIR
        if kind == "syn":
            policy = self.ways.policy('version = 1\nmode = "allowlist"\nallow = ["192.0.2.1"]\n' + self.ways.LIFTED, "refuse-flood.toml")
            port = f.ONCE if inside else f.CLOSED_PORT
            return (["connect_rate", f"{f.SERVER}:{port}", "parallel=256", f"total={FOREVER}", "expect=refused"], policy, "started")
        if kind == "flows":
            return ["connect_rate", f"{f.SERVER}:{f.ONCE}", "parallel=256", f"total={FOREVER}"], None, "started"
        if kind == "udp":
            return (["udp_stream", f"{f.SERVER}:{f.DATAGRAMS}", "size=64", "window=0", "ms=3600000"], None, "started")
        names = [f"n{n}.{'bench' if kind == 'dns' else 'refused'}.test A" for n in range(1000 if kind == "dns" else NAMES)]
        path = self.field.bin / f"flood-{kind}.txt"
        path.write_text("\n".join(names) + "\n")
        path.chmod(0o644)
        shown = f"{c._OUTSIDE_TOOLS if inside else self.field.bin}/{path.name}"
        return (["stdbuf", "-oL", "dnsperf", "-s", f.SERVER_DNS, "-l", "3600", "-c", "4", "-q", "100", "-d", shown], None, "Sending queries")


def _cpu_of_tree(pid):
    """CPU seconds that a process and its descendants have used so far."""
    used, children = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used[int(entry.name)] = sum(map(int, fields[11:15]))
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    ours = [pid]
    for one in ours:
        ours += children.get(one, [])
    return sum(used.get(one, 0) for one in ours) / os.sysconf("SC_CLK_TCK")
