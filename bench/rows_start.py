"""D1-D8: starting, ending and keeping sandboxes."""

import contenders as c
import field as f
from measure import NotProven, Quantity, Row

BWRAP, BARE, NONE = "bubblewrap (no network)", "bare clone", "weir (none)"
BWRAP_PASTA, AS_COMMAND = "bubblewrap in pasta", "bare clone, as a command"


class StartRows:
    def __init__(self, field, contenders, peers, full):
        self.field, self.ways, self.peers, self.full = field, contenders, peers, full

    def rows(self):
        return [self.d1(), self.d2(), self.d4(), self.d8()]

    def _weir(self, *options):
        """weir's command line with its own record switched on; the command follows."""
        return [self.field.tool("weir"), "run", "-q", "--events", str(self.field.home / "starts.jsonl"), *options, "--"]

    def _clone(self, *settings):
        return [self.field.tool("bare_clone"), *settings, "--"]

    # ---- D1, D2 -----------------------------------------------------------------------------------------------------------

    def _line(self, way):
        """The command line of a contender, without the command it starts."""
        return {
            "weir": lambda: self._weir("--net", "allowlist", "--allow", "example.com"),
            NONE: lambda: self._weir("--net", "none"),
            BWRAP: self.peers.bwrap, "firejail": self.peers.firejail, "crun": self.peers.crun,
            "podman": self.peers.podman, "sandbox-runtime": self.peers.srt,
            "pasta": lambda: self.peers.checked("pasta", self.ways.pasta_argv()),
            AS_COMMAND: self._clone, "nothing": lambda: [],
        }[way]()

    def d1(self):
        rounds = 10 if self.full else 5
        slow = {"podman", "sandbox-runtime", "pasta", "firejail"}

        def run(way):
            argv = self._line(way)
            command = [] if way == "crun" else ["true"]
            out = self._starts(argv, command, (5 if way in slow else 50) if self.full else (3 if way in slow else 30))
            return {"p50": out["p50_ns"] / 1e6, "p99": out["p99_ns"] / 1e6}

        return Row("D1", "start to exit of `true`", [
            Quantity("p50", "start to exit p50", "ms", "less"), Quantity("p99", "start to exit p99", "ms", "less")],
            ["weir", NONE, BWRAP, AS_COMMAND, "nothing", "crun", "firejail", "pasta", "podman", "sandbox-runtime"], run,
            rounds, [], ["weir: --net allowlist --allow example.com; every start in a row, teardown included",
                         "bare clone, as a command: a program that clones, executes and waits, as weir does"])

    def _starts(self, argv, command, total, parallel=1):
        run = self.ways.direct(["spawn_rate", f"total={total}", f"parallel={parallel}", "--", *argv, *command])
        if run.result["errors"]:
            raise NotProven(f"{run.result['errors']} of {total} starts failed: {c.last_line(run.stderr)}")
        return run.result

    def d2(self):
        rounds = 10 if self.full else 5
        fetch = [self.field.tool("first_byte"), f.NAME, str(f.HTTP)]

        def run(way):
            total = 10 if way not in (BWRAP_PASTA, "pasta", "sandbox-runtime") else 3
            before = self.field.link_bytes()
            if way == "weir":
                argv = self._weir("-v", f"{self.field.bin}:/bench:ro", "--allow", f.NAME)
                out = self._starts([*argv, "/bench/first_byte"], fetch[1:], total)
            elif way == "sandbox-runtime":
                out = self._starts(self.peers.srt([f.NAME]), ["curl", "-sS", "-o", "/dev/null", f"http://{f.NAME}/"], total)
            else:
                lines = {BWRAP_PASTA: lambda: self.peers.bwrap_in_pasta(self.ways.pasta_argv()),
                         "pasta": lambda: self.peers.checked("pasta", self.ways.pasta_argv()),
                         "bare clone, host's network": lambda: self._clone("network=shared"), "without weir": lambda: []}
                out = self._starts(lines[way](), fetch, total)
            if self.field.link_bytes() - before < 500 * total:
                raise NotProven("fewer bytes than the fetches take crossed the host's link")
            return {"p50": out["p50_ns"] / 1e6}

        return Row("D2", "start to the first byte fetched by name", [Quantity("p50", "start to exit p50", "ms", "less")],
                   ["weir", "without weir", "bare clone, host's network", "pasta", BWRAP_PASTA, "sandbox-runtime"], run,
                   rounds, f.LIMITS, ["resolve, connect, GET, first byte, exit; sandbox-runtime with curl through its proxy"])

    # ---- D4: many at once -------------------------------------------------------------------------------------------------

    def d4(self):
        def run(way):
            values = {}
            for parallel in (1, 16, 64):
                total = max(4 * parallel, 64) * (4 if self.full else 1)
                if way == BARE:
                    out = self.ways.direct(["bare_clone", f"total={total}", f"parallel={parallel}", "--", "true"]).result
                    if out["errors"]:
                        raise NotProven(f"{out['errors']} clones failed")
                else:
                    out = self._starts(self._line(way), ["true"], total, parallel)
                values[f"rate{parallel}"] = out["samples"] / out["elapsed_ns"] * 1e9
                values[f"p99_{parallel}"] = out["p99_ns"] / 1e6
            return values

        return Row("D4", "many starts at once", [quantity for n in (1, 16, 64) for quantity in (
            Quantity(f"rate{n}", f"starts, {n} parallel", "/s", "more"),
            Quantity(f"p99_{n}", f"start to exit p99, {n} parallel", "ms", "less"))],
            ["weir", NONE, BWRAP, BARE, AS_COMMAND], run, 10 if self.full else 3, [],
            ["bare clone: clone3 and execve in one program, the literal limit; weir is a program that is started first"])

    # ---- D8: the rules ------------------------------------------------------------------------------------------------------

    def d8(self):
        rules = self.field.folder / "rules.nft"
        names = {"weir": "rules", "one netlink round trip": "round_trip", "smallest nft transaction": "smallest",
                 "weir, the whole capture": "capture", "nft -f": "nft"}

        def run(way):
            if way == "nft -f":
                c.need("nft")
            if not rules.exists():
                rules.write_text(self.ways.direct(["capture_cost", "print=1"]).stdout)
            out = self.ways.direct(["capture_cost", f"total={50 if self.full else 20}", f"nft={rules}",
                                    f"only={names[way]}"]).result
            return {"rules": out[names[way]]["p50_ns"] / 1000}

        return Row("D8", "the capture's nftables rules", [Quantity("rules", "time p50", "µs", "less")], list(names), run,
                   10 if self.full else 5, [], ["in a fresh network namespace each"])
