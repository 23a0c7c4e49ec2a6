"""A1-A8: the TCP data plane."""

import json

import contenders as c
import field as f
from measure import Failed, NotProven, Quantity, Row

ALL_WAYS = [c.WEIR, c.DIRECT, c.BARE, c.PASTA, c.SLIRP]
FLOWS = ["weir: the policy's limits out of the way (max_flows 8192, no rate, no quota); its defaults would hold it back"]


class TcpRows:
    def __init__(self, field, contenders, peers, full):
        self.field, self.ways, self.peers, self.full = field, contenders, peers, full

    def rows(self):
        return [self.a1(), self.a2(), self.a5(), self.a6(), self.a7(), self.a8(), self.a10()]

    # ---- A1, A2: bulk ---------------------------------------------------------------------------------------------------

    def a1(self):
        return self._bulk("A1", "bulk TCP out, one stream", [])

    def a2(self):
        return self._bulk("A2", "bulk TCP in, one stream", ["-R"])

    def _bulk(self, id, title, direction):
        seconds, rounds = (10, 10) if self.full else (2, 3)

        def run(way):
            if way == c.SPLICE:
                self._loopback_servers()
            argv = ["iperf3", "-c", f.SERVER, "-p", str(f.BULK), "-t", str(seconds), "-J", *direction]
            # The first and the last second of a stream are not its speed; short runs leave out less.
            run = self.ways.inside(way, [*argv, "-O", "1"], flows=2, payload=10_000_000)
            report = json.loads(run.stdout[run.stdout.index("{"):])
            end = report["end"]
            moved = end["sum_received"]["bytes"] or end["sum_sent"]["bytes"]
            own = end["cpu_utilization_percent"]["host_total"] / 100 * (seconds + 1)
            rate = end["sum_received"]["bits_per_second"] or end["sum_sent"]["bits_per_second"]
            values = {"rate": rate / 1e9}
            if way in (c.WEIR, c.BARE, c.PASTA, c.SLIRP):
                values["cpu"] = max(0.0, run.cpu_s - own) / (moved * (seconds + 1) / seconds / 1e9)
            return values

        return Row(id, title, [Quantity("rate", "bulk rate", "Gbit/s", "more"),
                               Quantity("cpu", "CPU of the way itself", "CPU-s per GB", "less")],
                   [*ALL_WAYS, c.SPLICE], run, rounds, f.LIMITS,
                   [f"iperf3, {seconds} s after 1 s of warming up",
                    "pasta (splice) reaches the host's loopback only, over another path: shown, not compared"])

    def _loopback_servers(self):
        """For pasta's splice path: the same servers on the host's loopback, once."""
        if not getattr(self, "_loopback", False):
            self.field.load_server(self.field.host, "127.0.0.1")
            self.field.bulk_server(self.field.host, "127.0.0.1")
            self._loopback = True

    # ---- A5: requests on connections that stay --------------------------------------------------------------------------

    def a5(self):
        seconds, rounds = (3, 10) if self.full else (1, 5)

        def run(way):
            values = {}
            for connections in (1, 32):
                argv = ["request_rate", f"{f.SERVER}:{f.ECHO}", f"connections={connections}", f"seconds={seconds}"]
                out = self.ways.inside(way, argv, flows=connections, payload=10_000).result
                values[f"rate{connections}"] = out["samples"] / out["elapsed_ns"] * 1e6
                values[f"p50_{connections}"] = out["p50_ns"] / 1000
                values[f"p99_{connections}"] = out["p99_ns"] / 1000
            return values

        quantities = [quantity for n in (1, 32) for quantity in (
            Quantity(f"rate{n}", f"requests on {n} connection{'s' * (n > 1)}", "k/s", "more"),
            Quantity(f"p50_{n}", f"request p50, {n} connection{'s' * (n > 1)}", "µs", "less"),
            Quantity(f"p99_{n}", f"request p99, {n} connection{'s' * (n > 1)}", "µs", "less"))]
        return Row("A5", "request and response of one byte, keep-alive", quantities, ALL_WAYS, run, rounds, f.LIMITS,
                   [f"{seconds} s per run"])

    # ---- A6: a connection per request -----------------------------------------------------------------------------------

    def a6(self):
        total, rounds = (50_000, 10) if self.full else (10_000, 4)

        def run(way):
            values = {}
            out, cpu = self._connects(way, 32, total)
            values["rate"] = out["done"] / out["elapsed_ns"] * 1e6
            values["p50"], values["p99"] = out["p50_ns"] / 1000, out["p99_ns"] / 1000
            if way != c.DIRECT:
                values["cpu"] = cpu / total * 1000
            one, _ = self._connects(way, 1, total // 20)
            values["alone"] = one["p50_ns"] / 1000
            if way == c.SLIRP:
                return values  # thousands at once leave it waiting for half a minute
            values["errors1000"] = self._connects(way, 1000, 5000, strict=False)[0]["errors"]
            values["resent5000"] = self._connects(way, 5000, 5000, strict=False)[0]["syn_retransmits"]
            if way == c.WEIR:
                values["first"] = self._connects(way, 1, 1)[0]["p50_ns"] / 1000
            return values

        return Row("A6", "a connection per request, 32 parallel", [
            Quantity("rate", "connections", "k/s", "more"), Quantity("p50", "connect to answer p50", "µs", "less"),
            Quantity("p99", "connect to answer p99", "µs", "less"),
            Quantity("cpu", "CPU of the way itself", "CPU-s per 1,000", "less"),
            Quantity("alone", "connect to answer p50, one at a time", "µs", "less"),
            Quantity("first", "first connection of a sandbox (starts the gateway)", "µs", "less"),
            Quantity("errors1000", "errors of 5,000 connects, 1,000 parallel", "errors", "less"),
            Quantity("resent5000", "SYNs sent again by 5,000 parallel connects", "SYNs", "less")],
            ALL_WAYS, run, rounds, [*f.LIMITS, *FLOWS], [f"{total:,} connections per run"])

    def _connects(self, way, parallel, total, strict=True, expect="answer", port=f.ONCE, more=(), **options):
        argv = ["connect_rate", f"{f.SERVER}:{port}", f"parallel={parallel}", f"total={total}", f"expect={expect}", *more]
        flows = total if strict and expect == "answer" else 0
        run = self.ways.inside(way, argv, flows=flows, **options)
        out = run.result
        if strict and out["errors"]:
            raise Failed(f"{out['errors']} of {total} connections did not end as they should (errno {out['last_errno']})")
        return out, run.cpu_s

    # ---- A7: many rules -------------------------------------------------------------------------------------------------

    def a7(self):
        total, rounds = (20_000, 10) if self.full else (10_000, 3)
        sizes = {"1 rule": 1, "1,000 rules": 1000, "100,000 rules": 100_000}

        def run(way):
            out, _ = self._connects(c.WEIR, 32, total, more=[f"http={f.SERVER}"], policy=self._policy_of(sizes[way]))
            return {"rate": out["done"] / out["elapsed_ns"] * 1e6}

        return Row("A7", "connections with many rules", [Quantity("rate", "connections", "k/s", "more")],
                   list(sizes), run, rounds, [*f.LIMITS, *FLOWS],
                   ["a GET each: denied names make the gateway read the first bytes of every connection",
                    "rules are denied names beside the one allowed address; a million by an image: see C3"])

    def _policy_of(self, rules):
        names = ", ".join(f'"host{n}.denied.test"' for n in range(rules))
        return self.ways.policy(f'version = 1\nmode = "allowlist"\nallow = ["{f.SERVER}"]\ndeny = [{names}]\n'
                                f"{self.ways.LIFTED}", f"rules-{rules}.toml")

    # ---- A10: the first flight ------------------------------------------------------------------------------------------

    def a10(self):
        total, rounds = (50_000, 10) if self.full else (20_000, 5)
        denied = {"allowed by address": 0, "first flight judged": 1}

        def run(way):
            out, cpu = self._connects(c.WEIR, 32, total, more=["tls=1"], policy=self._policy_of(denied[way]))
            return {"rate": out["done"] / out["elapsed_ns"] * 1e6, "cpu": cpu / total * 1000}

        return Row("A10", "a ClientHello per connection, judged or not", [
            Quantity("rate", "connections", "k/s", "more"), Quantity("cpu", "CPU of weir", "CPU-s per 1,000", "less")],
            list(denied), run, rounds, [*f.LIMITS, *FLOWS],
            [f"{total:,} connections per run, 517 bytes of hello each, 32 parallel",
             "judged: a denied name makes the gateway hold and read the hello and ask about it"])

    # ---- A8: refused connects -------------------------------------------------------------------------------------------

    def a8(self):
        total, rounds = (20_000, 10) if self.full else (10_000, 5)
        kernel = "kernel reject"

        def run(way):
            if way == kernel:
                return self._refused_of(self._reject(total))
            if way == c.WEIR:
                policy = self.ways.policy('version = 1\nmode = "allowlist"\nallow = ["192.0.2.1"]\n', "refuse.toml")
                out, _ = self._connects(way, 32, total, expect="refused", policy=policy)
                allowed, _ = self._connects(way, 32, total)
                refused, rate = self._refused_of(out), allowed["done"] / allowed["elapsed_ns"] * 1e6
                return {**refused, "allowed": rate, "refused_over_allowed": refused["rate"] / rate}
            return self._refused_of(self._connects(way, 32, total, expect="refused", port=f.CLOSED_PORT)[0])

        return Row("A8", "refused connects, 32 parallel", [
            Quantity("rate", "refusals", "k/s", "more"), Quantity("p50", "time to ECONNREFUSED p50", "µs", "less"),
            Quantity("allowed", "allowed connections, same run", "k/s", "more"),
            Quantity("refused_over_allowed", "refused over allowed connections", "times", "more")],
            [c.WEIR, kernel, c.DIRECT, c.PASTA, c.SLIRP], run, rounds, [*f.LIMITS, *FLOWS],
            ["kernel reject: an nft rule in a namespace of its own; without weir: a closed port of the server"])

    @staticmethod
    def _refused_of(out):
        return {"rate": out["done"] / out["elapsed_ns"] * 1e6, "p50": out["p50_ns"] / 1000}

    def _reject(self, total):
        script = ("ip link set lo up; ip addr add 10.9.9.1/24 dev lo; ip route add default dev lo src 10.9.9.1\n"
                  "nft 'table ip t { chain o { type filter hook output priority 0; ip daddr " + f.SERVER +
                  " reject with tcp reset; }; }'\n"
                  f"exec {self.field.tool('connect_rate')} {f.SERVER}:{f.ONCE} parallel=32 total={total} expect=refused")
        run = self.ways.direct(["unshare", "--user", "--map-root-user", "--net", "sh", "-ec", script])
        if run.result["errors"]:
            raise NotProven(f"the kernel's reject gave {run.result['errors']} errors")
        return run.result
