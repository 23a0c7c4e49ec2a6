"""B1, B3: UDP and ICMP echo."""

import contextlib
import os

import contenders as c
import field as f
from measure import Failed, Quantity, Row

WAYS = [c.WEIR, c.DIRECT, c.BARE_TUN, c.PASTA, c.SLIRP]


class DatagramRows:
    def __init__(self, field, contenders, full):
        self.field, self.ways, self.full = field, contenders, full

    def rows(self):
        return [self.b1(), self.b3()]

    def b1(self):
        milliseconds, rounds = (5000, 10) if self.full else (500, 3)
        cases = [(direction, size) for size in (64, 1400) for direction in ("up", "down")]

        def run(way):
            values = {}
            for direction, size in cases:
                values[f"{direction}{size}"], cpu = self._stream(way, direction, size, milliseconds)
                if size > 64 and way != c.DIRECT:
                    values[f"cpu_{direction}"] = cpu
            return values

        def quantity(direction, size):
            word = "out" if direction == "up" else "in"
            if size == 64:
                return Quantity("up64" if direction == "up" else "down64", f"datagrams of 64 bytes {word}", "k/s", "more")
            return Quantity(f"{direction}{size}", f"datagrams of {size:,} bytes {word}", "Gbit/s", "more")

        cpu = [Quantity(f"cpu_{direction}", f"CPU of the way itself, {size} bytes {word}", "CPU-s per GB", "less")
               for direction, size, word in (("up", "1,400", "out"), ("down", "1,400", "in"))]
        return Row("B1", "UDP, one flow", [*(quantity(*case) for case in cases), *cpu], WAYS, run, rounds, f.LIMITS,
                   [f"{milliseconds:,} ms each; what arrived; the source is at most 128 datagrams ahead of what was acknowledged",
                    "both ends use sendmmsg and recvmmsg; Gbit/s of payload"])

    def _stream(self, way, direction, size, milliseconds):
        """-> (thousands of datagrams or Gbit per second, CPU seconds per GB)"""
        argv = ["udp_stream", f"{f.SERVER}:{f.DATAGRAMS}", f"direction={direction}", f"size={size}", f"ms={milliseconds}", "window=128"]
        run = self.ways.inside(way, argv, flows=1, payload=100_000)
        out = run.result
        per_second = out["arrived"] / out["elapsed_ns"] * 1e9
        rate = per_second / 1000 if size == 64 else per_second * size * 8 / 1e9
        return rate, run.cpu_s / (out["arrived"] * size / 1e9)

    def b3(self):
        count, rounds = (20_000, 10) if self.full else (3000, 5)

        def run(way):
            payload = 0 if way == c.BARE_ECHO else 64 * count
            with _one_processor():
                out = self.ways.inside(way, ["ping_rtt", f.SERVER, f"count={count}"], payload=payload).result
            if out["lost"]:
                raise Failed(f"{out['lost']} of {count} echo requests had no reply")
            return {"p50": out["p50_ns"] / 1000, "p99": out["p99_ns"] / 1000}

        return Row("B3", "ping", [Quantity("p50", "round trip p50", "µs", "less"), Quantity("p99", "round trip p99", "µs", "less")],
                   [*WAYS[:3], c.BARE_ECHO, *WAYS[3:]], run, rounds, f.LIMITS,
                   [f"{count:,} echo requests one after the other; everything on one processor: how long a sleeping one takes "
                    "to wake up is not what is measured",
                    "bare TUN loop: carried through a ping socket to the server and back; bare TUN echo: answered at the TUN "
                    "device, so nothing leaves the namespace: shown as the limit"])


@contextlib.contextmanager
def _one_processor():
    """What is started in the block stays on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
