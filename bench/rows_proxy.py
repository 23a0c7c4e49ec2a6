"""F1, F3, F4: the explicit proxies."""

import contenders as c
import field as f
from measure import Failed, NotProven, Quantity, Row
from rows_tcp import FLOWS

GATEWAY = "10.254.0.1"
HTTP_PROXY, SOCKS_PROXY = 3128, 1080
ON_THE_HOST = "peers: on the host's loopback, asked from outside any namespace; one worker, cache and logs off"


class ProxyRows:
    def __init__(self, field, contenders, peers, full):
        self.field, self.ways, self.peers, self.full = field, contenders, peers, full

    def rows(self):
        return [self.f1(), self.f3(), self.f4()]

    def f1(self):
        return self._tunnels("F1", "CONNECT, a tunnel per request, 32 parallel", "proxy", HTTP_PROXY, ["squid", "tinyproxy"])

    def f4(self):
        return self._tunnels("F4", "SOCKS5 CONNECT, a tunnel per request, 32 parallel", "socks", SOCKS_PROXY, ["dante"])

    def _tunnels(self, id, title, setting, port, peers):
        total, rounds = (50_000, 10) if self.full else (5000, 4)

        def run(way):
            out = self._through(way, setting, port, ["connect_rate", f"{f.SERVER}:{f.ONCE}", "parallel=32", f"total={total}"],
                                flows=total, payload=100 * total)
            if out["errors"]:
                raise Failed(f"{out['errors']} of {total} tunnels failed (errno {out['last_errno']})")
            return {"rate": out["done"] / out["elapsed_ns"] * 1e6, "p50": out["p50_ns"] / 1000, "p99": out["p99_ns"] / 1000}

        return Row(id, title, [
            Quantity("rate", "tunnels", "k/s", "more"), Quantity("p50", "connect to answer p50", "µs", "less"),
            Quantity("p99", "connect to answer p99", "µs", "less")],
            [c.WEIR, *peers, c.DIRECT], run, rounds, [*f.LIMITS, *FLOWS],
            [f"{total:,} tunnels per run", ON_THE_HOST, "without weir: the same connections without a tunnel, the limit"])

    def f3(self):
        seconds, rounds = (5, 10) if self.full else (1, 4)

        def run(way):
            argv = ["request_rate", f"{f.SERVER}:{f.HTTP}", "connections=32", f"seconds={seconds}"]
            out = self._through(way, "proxy", HTTP_PROXY, argv, flows=32, payload=10_000)
            return {"rate": out["samples"] / out["elapsed_ns"] * 1e6, "p50": out["p50_ns"] / 1000, "p99": out["p99_ns"] / 1000}

        return Row("F3", "requests in absolute form, 32 connections that stay", [
            Quantity("rate", "requests", "k/s", "more"), Quantity("p50", "request p50", "µs", "less"),
            Quantity("p99", "request p99", "µs", "less")],
            [c.WEIR, "squid", c.DIRECT], run, rounds, f.LIMITS,
            [f"{seconds} s per run", ON_THE_HOST, "tinyproxy closes after each answer, so it cannot run here",
             "without weir: one-byte echoes on as many connections (A5), the limit"])

    def _through(self, way, setting, port, argv, flows, payload):
        """The result of a tool that asks the proxy of weir, or a peer's."""
        if way == c.DIRECT:
            if argv[0] == "request_rate":
                argv = ["request_rate", f"{f.SERVER}:{f.ECHO}", *argv[2:]]
            return self.ways.inside(way, argv, payload=payload).result
        if way != c.WEIR:
            argv = [*argv, f"{setting}=127.0.0.1:{self.peers.proxy(way)}"]
            return self.ways.inside(c.DIRECT, argv, payload=payload).result
        out = self.ways.inside(way, [*argv, f"{setting}={GATEWAY}:{port}"], flows=flows, payload=payload)
        if (self.field.home / "events.jsonl").read_text().count('"via":"') < flows:
            raise NotProven("the records do not name the proxy that was asked")
        return out.result
