"""S1-S7: sessions through the API of `weir serve`."""

import contextlib
import subprocess

import field as f
from daemon import API_LOAD, Daemon, kernel_bytes, pss_bytes
from measure import Failed, NotProven, Quantity, Row
from rows_memory import available_bytes, holding, settled

import lab  # of tests/lab: field puts it on the path

WEIR, ALLOW, RUN, RUN_ALLOW, RUN_FIRST, PODMAN = ("weir", "weir (allowlist)", "weir run -- true", "weir run (allowlist)",
                                                  "weir run, first byte", "podman")
SPAWN, ROUND_TRIP, BARE, CP = "bare spawn and round trip", "bare round trip", "bare namespaces", "cp"
BARE_MORE = "bare namespaces and 0.5 MiB"
EMPTY_SNAPSHOT, NO_SNAPSHOT = "weir, empty snapshot", "weir, no snapshot"
ALLOWLIST = '{"network_mode":"allowlist","network_allowlist":["example.com"]}'
GIB = 2 ** 30
MIB = 2 ** 20
ENOUGH = 2 * GIB  # of memory: with less than that nothing more is started


class SessionRows:
    def __init__(self, field, contenders, peers, full):
        self.field, self.ways, self.peers, self.full = field, contenders, peers, full

    def rows(self):
        return [self.s1(), self.s2(), self.s3(), self.s4(), self.s5(), self.s6(), self.s7()]

    def _api(self, daemon, kind, *settings):
        return self.ways.direct([API_LOAD, daemon.socket, kind, *settings]).result

    def _starts(self, total, argv):
        out = self.ways.direct(["spawn_rate", f"total={total}", "--", *argv]).result
        if out["errors"]:
            raise NotProven(f"{out['errors']} of {total} starts failed")
        return out

    # ---- S1, S2 ---------------------------------------------------------------------------------------------------------

    def s1(self):
        total = 200 if self.full else 60

        def measured(way):
            weir_run = [self.field.tool("weir"), "run", "-q"]
            if way in (RUN, RUN_ALLOW):
                return self._starts(total, [*weir_run, *(["--allow", "example.com"] if way == RUN_ALLOW else []), "--", "true"])
            if way == RUN_FIRST:
                return self.ways.direct([API_LOAD, "-", "first_byte_of", f"total={total}", "--", *weir_run, "--", "echo"]).result
            if way == PODMAN:
                return self.ways.direct([API_LOAD, "-", "first_byte_of", "total=3", "--", *self.peers.podman(), "echo"]).result
            with Daemon(self.field) as daemon:
                return self._api(daemon, "first_byte", f"total={total}", *([f"body={ALLOWLIST}"] if way == ALLOW else []))

        def run(way):
            out = measured(way)
            return {"p50": out["p50_ns"] / 1e6, "p99": out["p99_ns"] / 1e6, "spread": out["p99_ns"] / out["p50_ns"]}

        return Row("S1", "a session made through the API, to the first byte of output of a command in it", [
            Quantity("p50", "time p50", "ms", "less"), Quantity("p99", "time p99", "ms", "less"),
            Quantity("spread", "p99 over p50", "times", "less")],
            [WEIR, RUN, ALLOW, RUN_ALLOW, RUN_FIRST, PODMAN], run, 10 if self.full else 5, [],
            ["POST /v1/sessions, then POST .../run of `echo`, streamed, on one connection that stays; ended unmeasured",
             "weir run: start to exit of `true`, as in D1; podman: start to the first byte of `echo`, /usr of the host, as in D1"])

    def s2(self):
        def run(way):
            with Daemon(self.field) as daemon:
                kind, command = {WEIR: ("run", ["--", "true"]), SPAWN: ("healthz", ["--", "true"]),
                                 ROUND_TRIP: ("healthz", [])}[way]
                out = self._api(daemon, kind, f"total={1000 if self.full else 200}", *command)
            return {"p50": out["p50_ns"] / 1e6, "p99": out["p99_ns"] / 1e6}

        return Row("S2", "`true` in a live session", [
            Quantity("p50", "time p50", "ms", "less"), Quantity("p99", "time p99", "ms", "less")],
            [WEIR, SPAWN, ROUND_TRIP], run, 10 if self.full else 5, [],
            ["POST .../run, collected: request to the whole answer",
             "bare spawn and round trip: `true` outside any sandbox, its output in a pipe, then GET /healthz"])

    # ---- S3, S4: many -----------------------------------------------------------------------------------------------------

    def _daemon(self, way):
        """The one that makes sessions; None for the control."""
        return Daemon(self.field) if way == WEIR else contextlib.nullcontext()

    @contextlib.contextmanager
    def _many(self, daemon, total, parallel):
        """So many alive beside those that are there. -> (what the tool said, the processes of all that are known to live)"""
        if daemon is None:
            tool = [self.field.tool("bare_namespaces"), f"total={total}", f"parallel={parallel}"]
            with holding(self.field, tool) as (pid, said):
                yield said, [each for each, (parent, _) in lab.processes().items() if parent == pid]
            return
        with holding(self.field, daemon.load("many", f"total={total}", f"parallel={parallel}")) as (_, said):
            supervisors = {session["supervisor"] for session in daemon.sessions() if session["state"] == "running"}
            inits = {parent: pid for pid, (parent, _) in lab.processes().items() if parent in supervisors}
            yield said, [*inits, *inits.values()]

    def s3(self):
        total, parallel = 200, 16

        def run(way):
            with self._daemon(way) as daemon, self._many(daemon, total, parallel) as (said, processes):
                alive = len(processes) // (2 if way == WEIR else 1)
                return {"rate": total / said["elapsed_ns"] * 1e9, "missing": total - alive}

        return Row("S3", f"{total} sessions, {parallel} at a time, all alive at the end", [
            Quantity("rate", "sessions", "/s", "more"), Quantity("missing", "not alive at the end", "sessions", "less", 0)],
            [WEIR, BARE], run, 10 if self.full else 3, [],
            [f"{parallel} connections, each with one session after the other",
             "bare namespaces: clone3 with the namespaces that weir makes, loopback up, one paused process; as many threads"])

    def s4(self):
        step, steps = 250, 4

        def held(way):
            """MiB a sandbox, in steps for as long as there is memory."""
            before, kernel, count, pss = settled(available_bytes), settled(kernel_bytes), 0, 0
            with self._daemon(way) as daemon, contextlib.ExitStack() as stack:
                while count < step * steps and available_bytes() > ENOUGH:
                    _, processes = stack.enter_context(self._many(daemon, step, 8))
                    pss += 0 if daemon else sum(map(pss_bytes, processes))
                    count += step
                after, kernel_after = settled(available_bytes), settled(kernel_bytes)
                if daemon:
                    pss = sum(map(pss_bytes, processes))
            per = count * MIB
            return {"memory": (before - after) / per, "kernel": (kernel_after - kernel) / per, "pss": pss / per, "count": count}

        def run(way):
            out = held(WEIR if way == WEIR else BARE)
            return {"memory": out["memory"] + 0.5} if way == BARE_MORE else out

        return Row("S4", f"{step * steps:,} idle sessions", [
            Quantity("memory", "memory per session, whole machine", "MiB", "less"),
            Quantity("pss", "its processes, PSS", "MiB", "less"),
            Quantity("kernel", "the kernel, by its own count", "MiB", "less"), Quantity("count", "stood", "sessions", "more", 0)],
            [WEIR, BARE_MORE, BARE], run, 3 if self.full else 1, [],
            ["whole machine: difference of MemAvailable, so that the daemon, the client and files in memory count too",
             "PSS: of each supervisor and init; kernel: SUnreclaim, KernelStack, PageTables, Percpu of /proc/meminfo",
             "bare namespaces: with one paused process, a copy of its parent that has run no program"])

    # ---- S5: snapshots ------------------------------------------------------------------------------------------------------

    def s5(self):
        made = {}
        files = 1024

        def make(daemon):
            for name, command in (("large", f"mkdir large && for i in $(seq {files}); do head -c {GIB // files} /dev/urandom "
                                            f">large/$i; done && du -sk large"), ("small", "echo x >small && echo 0")):
                session = daemon.ask("POST", "/v1/sessions", {})["id"]
                out = daemon.ask("POST", f"/v1/sessions/{session}/run", {"command": command, "cwd": "/home/sandbox"})
                if out["exit_code"] or (name == "large" and int(out["stdout"].split()[0]) < GIB // 1024):
                    raise NotProven(f"the files of the snapshot were not written: {out}")
                made[name] = daemon.ask("POST", "/v1/snapshots", {"session": session, "name": name})["id"]
                daemon.ask("DELETE", f"/v1/sessions/{session}?kill=1")

        def proven(daemon):
            session = daemon.ask("POST", "/v1/sessions", {"snapshot": "large"})["id"]
            out = daemon.ask("POST", f"/v1/sessions/{session}/run", {"command": "cat /home/sandbox/large/* | wc -c"})
            if out["stdout"].strip() != str(GIB):
                raise NotProven(f"the snapshot does not hold 1 GiB: {out}")

        def run(way):
            body = {WEIR: '{"snapshot":"large"}', EMPTY_SNAPSHOT: '{"snapshot":"small"}', NO_SNAPSHOT: "{}"}[way]
            with Daemon(self.field) as daemon:
                if not made:
                    make(daemon)
                    proven(daemon)
                out = self._api(daemon, "stands", f"total={200 if self.full else 60}", f"body={body}")
            return {"p50": out["p50_ns"] / 1e6, "p99": out["p99_ns"] / 1e6}

        return Row("S5", "a session from a snapshot of 1 GiB", [
            Quantity("p50", "until it stands p50", "ms", "less"), Quantity("p99", "until it stands p99", "ms", "less")],
            [WEIR, EMPTY_SNAPSHOT, NO_SNAPSHOT], run, 10 if self.full else 5, [],
            [f"POST /v1/sessions; {files:,} files of 1 MiB, read back whole once; the empty snapshot holds one file of 2 bytes"])

    # ---- S6: files ------------------------------------------------------------------------------------------------------------

    def s6(self):
        folder = "/dev/shm"  # a tmpfs of the field's own, as the files of a session are in one
        source, got, copied = f"{folder}/source", f"{folder}/got", f"{folder}/copied"

        def touched():
            """As much memory as is about to be filled was in use a moment ago: what a virtual machine's host takes its time
            to provide would be in the figure of whoever comes first."""
            self._sh(f"head -c {GIB} /dev/zero >{folder}/touched && rm {folder}/touched")

        def through_api():
            with Daemon(self.field) as daemon:
                daemon.ask("GET", "/healthz")
                session = daemon.ask("POST", "/v1/sessions", {})["id"]
                before = daemon.status("VmHWM")
                touched()
                put = self._api(daemon, "put", f"session={session}", f"from={source}", "to=/tmp/file")
                touched()
                get = self._api(daemon, "get", f"session={session}", "from=/tmp/file", f"to={got}")
                growth = daemon.status("VmHWM") - before
            self._sh(f"cmp {source} {got} && rm {got}")
            return {"put": GIB / put["p50_ns"], "get": GIB / get["p50_ns"], "growth": growth / MIB}

        def run(way):
            self._sh(f"[ -e {source} ] || head -c {GIB} /dev/urandom >{source}")
            if way == WEIR:
                return through_api()
            touched()
            out = self._starts(1, ["cp", source, copied])
            self._sh(f"cmp {source} {copied} && rm {copied}")
            rate = GIB / out["p50_ns"]
            return {"put": rate, "get": rate}

        return Row("S6", "a file of 1 GiB into a session and out of it", [
            Quantity("put", "PUT .../files", "GB/s", "more"), Quantity("get", "GET .../files", "GB/s", "more"),
            Quantity("growth", "growth of the daemon's memory (VmHWM)", "MiB", "less")],
            [WEIR, CP], run, 10 if self.full else 5, [],
            ["source and copies in a tmpfs, as what is written in a session; what came back is compared byte by byte",
             "the client sends with sendfile() and writes what it receives; it shares the two cores with the daemon"])

    def _sh(self, script):
        done = subprocess.run(self.field.command(["sh", "-c", script]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        if done.returncode:
            raise Failed(f"{script}: {done.stdout.strip()[:300]}")

    # ---- S7: one after the other ------------------------------------------------------------------------------------------------

    def s7(self):
        total, warm = (10_000 if self.full else 1_000), 200
        part = total // 10

        def run(_):
            with Daemon(self.field) as daemon:
                self._api(daemon, "cycle", f"total={warm}")
                before = daemon.holdings()
                first = self._api(daemon, "cycle", f"total={part}")
                if total > 2 * part:
                    self._api(daemon, "cycle", f"total={total - 2 * part}")
                last = self._api(daemon, "cycle", f"total={part}")
                lab.wait_until(lambda: len(daemon.holdings()) and daemon.holdings()["processes"] <= before["processes"], 10,
                               "the end of the last session's processes")
                after = daemon.holdings()
            grown = {key: after[key] - before[key] for key in before}
            return {**grown, "memory": grown["memory"] / MIB, "disk": grown["disk"] / MIB,
                    "rate": 1e9 / first["p50_ns"], "slower": last["p50_ns"] / first["p50_ns"]}

        return Row("S7", f"{total:,} sessions made and ended, one after the other", [
            Quantity("rate", "made and ended", "/s", "more"), Quantity("slower", "the last tenth over the first, p50", "times", "less"),
            Quantity("memory", "growth of the daemon's memory", "MiB", "less"),
            Quantity("descriptors", "growth of its descriptors", "descriptors", "less", 0),
            Quantity("files", "growth of the state folder, without records", "files", "less", 0),
            Quantity("disk", "growth of the state folder, without records", "MiB", "less"),
            Quantity("mounts", "growth of its mounts", "mounts", "less", 0),
            Quantity("processes", "processes left", "processes", "less", 0)], [WEIR], run, 1, [],
            [f"counted behind the first {warm}; 10,000 with ./dev bench --all S7",
             "records: one a session, of which the newest 10,000 are kept at most; a sweep comes once in 256 starts"])
