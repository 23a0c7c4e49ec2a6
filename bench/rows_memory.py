"""A9 and D6: what stays in memory while nothing happens."""

import contextlib
import json
import pathlib
import re
import subprocess
import threading
import time

import contenders as c
import field as f
from measure import Failed, NotProven, Quantity, Row, Unavailable

import lab  # of tests/lab: field puts it on the path

BARE_CLONE, BWRAP, GATEWAY = "bare clone", "bubblewrap (no network)", "weir-gateway"


def private_bytes(pid):
    """Memory that only this process has. Readable by root; a gateway lets nobody else look."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as why:
        raise Unavailable(f"the memory of another process cannot be read: {why.strerror}") from None
    return sum(int(number) * 1024 for number in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", text, re.M))


def available_bytes():
    return int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) * 1024


def pipes_of(pid):
    return sum(str(entry.readlink()).startswith("pipe:") for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir())


def settled(read, seconds=3.0):
    """A figure of the machine that moves for a while (the kernel frees late): once it moves less than 0.5 MB in 0.3 s."""
    end, last = time.monotonic() + seconds, read()
    while time.monotonic() < end:
        time.sleep(0.3)
        now = read()
        if abs(now - last) < 500_000:
            return now
        last = now
    return last


@contextlib.contextmanager
def holding(field, argv, patience=60):
    """A tool that prints one line when it has what it holds, and holds it until its input ends. -> (pid, the line)"""
    holder = subprocess.Popen(field.command(argv), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    watchdog = threading.Timer(patience, holder.kill)
    watchdog.start()
    try:
        line = holder.stdout.readline()
        if not line:
            raise Failed(c.last_line(holder.stderr.read()))
        yield holder.pid, json.loads(line)
    finally:
        watchdog.cancel()
        try:
            holder.communicate("", timeout=patience)
        except subprocess.TimeoutExpired:
            holder.kill()
            holder.communicate()


class MemoryRows:
    def __init__(self, field, contenders, peers, full):
        self.field, self.ways, self.peers, self.full = field, contenders, peers, full

    def rows(self):
        return [self.a9(), self.d6()]

    def _family(self, top):
        """{pid: name} of a process and everything below it."""
        children = {}
        everybody = lab.processes()
        for pid, (parent, name) in everybody.items():
            children.setdefault(parent, []).append(pid)
        found, queue = {}, [top]
        while queue:
            pid = queue.pop()
            found[pid] = everybody[pid][1] if pid in everybody else ""
            queue += children.get(pid, [])
        return found

    # ---- A9 -------------------------------------------------------------------------------------------------------------

    def a9(self):
        total = 8000

        def run(way):
            few, many = self._idle(way, 1), self._idle(way, total)
            return {key: (many[key] - few[key]) / (total - 1) for key in ("user", "total")} | {"pipes": many["pipes"] - few["pipes"]}

        return Row("A9", f"{total:,} idle connections", [
            Quantity("user", "user memory per connection", "bytes", "less", 0),
            Quantity("total", "memory per connection, whole machine", "bytes", "less", 0),
            Quantity("pipes", "pipes held", "pipes", "less", 0)], ["weir", c.BARE], run, 3 if self.full else 2,
            [*f.LIMITS, "weir: max_flows 8192 (default 1024)"],
            [f"{total:,} connections against one, same way; user: supervisor and gateway, or the bare relay",
             "whole machine: load tool, both legs and server included"])

    def _idle(self, way, total):
        tool = [f"{f.SERVER}:{f.ECHO}", f"total={total}"]
        if way == c.BARE:
            argv = [self.field.tool("bare_relay"), "--", self.field.tool("idle_connections"), *tool]
        else:
            events = self.field.home / "idle.jsonl"
            argv = [*self.ways.weir_argv(self.ways.default_policy(), events=events), "/bench/idle_connections", *tool]
        before = settled(available_bytes)
        with holding(self.field, argv) as (pid, said):
            if said["open"] != total:
                raise NotProven(f"{said['open']} of {total} connections stand, {said['failed']} failed")
            family = self._family(pid)
            relays = [pid] if way == c.BARE else [pid, *(p for p, name in family.items() if name == GATEWAY)]
            if way != c.BARE and len(relays) != 2:
                raise NotProven("no gateway, or more than one")
            return {"user": sum(map(private_bytes, relays)), "total": before - settled(available_bytes),
                    "pipes": pipes_of(relays[-1])}

    # ---- D6 -------------------------------------------------------------------------------------------------------------

    def d6(self):
        count = 1000
        command = ["sleep", "infinity"]

        def run(way):
            lines = {"weir": lambda: [self.field.tool("weir"), "run", "-q", "--events", str(self.field.home / "d6.jsonl"),
                                      "--allow", "example.com", "--"], BWRAP: lambda: [*self.peers.bwrap(), "--die-with-parent"], BARE_CLONE: lambda: []}
            starter = "bare_clone" if way == BARE_CLONE else "spawn_rate"
            before = settled(available_bytes)
            with holding(self.field, [self.field.tool(starter), f"total={count}", "hold=1", "--", *lines[way](), *command]) as (top, _):
                lab.wait_until(lambda: self._sleeping(top) == count, 60, f"{count} sleeping commands")
                values = {"memory": (before - settled(available_bytes)) / count / 2 ** 20}
                if way == "weir":
                    values["private"] = self._idle_sandbox(top)
            lab.wait_until(lambda: len(self._family(top)) == 1, 60, "the end of what was held")
            if way == "weir":
                values["gateway"] = self._gateway()
            return values

        return Row("D6", f"{count:,} idle sandboxes", [
            Quantity("memory", "memory per sandbox, whole machine", "MiB", "less"),
            Quantity("private", "supervisor and init, private, no packet yet", "MiB", "less"),
            Quantity("gateway", "a running gateway, private", "MiB", "less")],
            ["weir", BARE_CLONE, BWRAP], run, 3 if self.full else 1, [], ["each with one `sleep`, which counts too"])

    def _sleeping(self, top):
        return sum(name == "sleep" for name in self._family(top).values())

    def _idle_sandbox(self, top):
        """Mean of supervisor + init over twenty of them: everything in a sandbox's tree but its command."""
        supervisors = [pid for pid, (parent, _) in lab.processes().items() if parent == top][:20]
        total = 0
        for supervisor in supervisors:
            family = self._family(supervisor)
            if GATEWAY in family.values():
                raise NotProven("an idle sandbox has a gateway")
            total += sum(private_bytes(pid) for pid, name in family.items() if name != "sleep")
        return total / len(supervisors) / 2 ** 20

    def _gateway(self):
        argv = [*self.ways.weir_argv(self.ways.default_policy(), events=self.field.home / "gateway.jsonl"),
                "/bench/idle_connections", f"{f.SERVER}:{f.ECHO}", "total=1"]
        with holding(self.field, argv) as (pid, _):
            gateways = [p for p, name in self._family(pid).items() if name == GATEWAY]
            if len(gateways) != 1:
                raise NotProven(f"{len(gateways)} gateways")
            return private_bytes(gateways[0]) / 2 ** 20
