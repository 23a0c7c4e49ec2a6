"""C1, C2, C6 and G1: names, and what the record costs."""

import contextlib
import re

import contenders as c
import field as f
from measure import NotProven, Quantity, Row

PASTA_DNS = "93.184.216.99"  # what pasta forwards to the name server of the host's resolv.conf
HOST_DNS = {"dnsmasq": 5301, "unbound": 5302}
NAMES = 1000
_UNBOUND = """
server:
  interface: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound-peer.pid"
  use-syslog: no
  logfile: "{folder}/unbound-peer.log"
  do-ip6: no
  num-threads: 1
  do-not-query-localhost: no
  module-config: "iterator"
  minimal-responses: yes
  local-zone: "test." nodefault
{zones}
forward-zone:
  name: "."
  forward-addr: {upstream}
remote-control:
  control-enable: no
"""


class DnsRows:
    def __init__(self, field, contenders, full):
        self.field, self.ways, self.full = field, contenders, full
        self.seconds = 5 if full else 2
        self._servers = {}

    def rows(self):
        return [self.c1(), self.c2(), self.c6(), self.g1()]

    # ---- the peers' servers -------------------------------------------------------------------------------------------------

    def _server(self, kind, port, denied=0):
        """One forwarder on the host's loopback, started once; asks the same upstream as weir."""
        key = (kind, port, denied)
        if key in self._servers:
            return
        c.need(kind)
        zones = [f"host{n}.denied.test" for n in range(denied)]
        path = self.field.folder / f"{kind}-{port}.conf"
        if kind == "dnsmasq":
            path.write_text("".join(f"address=/{zone}/\n" for zone in zones))
            argv = ["dnsmasq", "--keep-in-foreground", "--no-hosts", "--no-resolv", f"--server={f.SERVER_DNS}",
                    "--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}", "--cache-size=10000",
                    "--user=root", "--pid-file=", f"--conf-file={path}"]
        else:
            text = "".join(f'  local-zone: "{zone}." always_nxdomain\n' for zone in zones)
            path.write_text(_UNBOUND.format(port=port, folder=self.field.folder, upstream=f.SERVER_DNS, zones=text))
            argv = ["unbound", "-d", "-c", str(path)]
        self._servers[key] = self.field.host.start(argv, ready=None)
        self._wait_for(port)

    def _wait_for(self, port):
        tool = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-l", "1", "-q", "1", "-Q", "5", "-t", "1", "-d",
                str(self._questions("wait", ["ready.bench.test A"]))]
        for _ in range(60):
            if "Queries completed:    0" not in (out := self.field.host.run(tool).stdout) and _completed(out):
                return
        raise NotProven("a name server did not start to answer")

    def _questions(self, name, lines):
        path = self.field.bin / f"{name}.txt"
        if not path.exists():
            path.write_text("\n".join(lines) + "\n")
            path.chmod(0o644)
        return path

    # ---- dnsperf ------------------------------------------------------------------------------------------------------------

    def _dnsperf(self, way, questions, server, port=53, folder=None, expect="NOERROR", **options):
        """-> answers per second, in thousands, and the average latency"""
        c.need("dnsperf")
        path = f"{folder or self.field.bin}/{questions.name}"
        argv = ["dnsperf", "-s", server, "-p", str(port), "-l", str(self.seconds), "-c", "4", "-q", "50", "-d", path]
        run = self.ways.inside(way, argv, **options)
        completed = _completed(run.stdout)
        if not completed or f"{expect} {completed}" not in re.sub(r"\s+", " ", run.stdout):
            raise NotProven(f"not every answer was {expect}: {' '.join(re.findall('Response codes.*', run.stdout))}")
        lost = int(re.search(r"Queries lost:\s+(\d+)", run.stdout).group(1))
        rate = float(re.search(r"Queries per second:\s+([\d.]+)", run.stdout).group(1))
        return {"rate": rate / 1000, "lost": lost,
                "latency": float(re.search(r"Average Latency \(s\):\s+([\d.]+)", run.stdout).group(1)) * 1e6}

    def _through_weir(self, questions, expect="NOERROR", **options):
        return self._dnsperf(c.WEIR, questions, "10.254.0.1", folder="/bench", expect=expect, **options)

    def _behind(self, way, kind, questions, expect="NOERROR", denied=0):
        """A peer's server on the host, asked from inside a namespace that reaches it through a TAP device."""
        port = 53
        self._server(kind, port, denied)
        with self._host_resolver():
            if way == c.PASTA:
                return self._dnsperf(way, questions, PASTA_DNS, expect=expect, extra=["--dns-forward", PASTA_DNS])
            return self._dnsperf(way, questions, "10.0.2.3", expect=expect)

    @contextlib.contextmanager
    def _host_resolver(self):
        """pasta and slirp4netns hand questions to the first server of the host's resolv.conf."""
        path = self.field.folder / "resolv.conf"
        before = path.read_text()
        path.write_text("nameserver 127.0.0.1\n")
        try:
            yield
        finally:
            path.write_text(before)

    def c1(self):
        questions = self._questions("cached", [f"n{n}.bench.test A" for n in range(NAMES)])
        ways = {
            "weir": lambda: self._through_weir(questions),
            "dnsmasq behind pasta": lambda: self._behind(c.PASTA, "dnsmasq", questions),
            "dnsmasq behind slirp4netns": lambda: self._behind(c.SLIRP, "dnsmasq", questions),
            "dnsmasq, plain loopback": lambda: self._loopback("dnsmasq", questions),
            "unbound, plain loopback": lambda: self._loopback("unbound", questions),
        }
        return Row("C1", "cached answers", [
            Quantity("rate", "answers", "k/s", "more"), Quantity("latency", "average latency", "µs", "less"),
            Quantity("lost", "questions lost", "questions", "less", 0)],
            list(ways), lambda way: ways[way](), 10 if self.full else 3, f.LIMITS,
            [f"dnsperf, 4 sockets, 50 questions under way, {NAMES:,} names, {self.seconds} s",
             "plain loopback: no namespace in between, the limit of that server"])

    def _loopback(self, kind, questions, expect="NOERROR", denied=0):
        port = HOST_DNS[kind] + (10 if denied else 0)
        self._server(kind, port, denied)
        return self._dnsperf(c.DIRECT, questions, "127.0.0.1", port, expect=expect)

    def c2(self):
        count = 100_000
        denied = self._questions("denied", [f"host{n}.denied.test A" for n in range(0, count, count // NAMES)])
        allowed = self._questions("cached", [f"n{n}.bench.test A" for n in range(NAMES)])

        def policy():
            names = ", ".join(f'"host{n}.denied.test"' for n in range(count))
            return self.ways.policy(f'version = 1\nmode = "allowlist"\nallow = [".bench.test"]\ndeny = [{names}]\n'
                                    f"{self.ways.LIFTED}",
                                    "denied-names.toml")
        ways = {
            "refused names": lambda: self._through_weir(denied, "NXDOMAIN", policy=policy()),
            "allowed names": lambda: self._through_weir(allowed, policy=policy()),
            "dnsmasq, plain loopback, refused": lambda: self._loopback("dnsmasq", denied, "NXDOMAIN", count),
            "unbound, plain loopback, refused": lambda: self._loopback("unbound", denied, "NXDOMAIN", count),
        }
        return Row("C2", f"refused names, {count:,} on the list", [
            Quantity("rate", "answers", "k/s", "more"), Quantity("latency", "average latency", "µs", "less"),
            Quantity("lost", "questions lost", "questions", "less", 0)],
            list(ways), lambda way: ways[way](), 10 if self.full else 3, f.LIMITS,
            ["refused and allowed names: weir, the same policy; every refused question is recorded"])

    # ---- C6: from a name to its first byte ----------------------------------------------------------------------------------

    def c6(self):
        total = 500 if self.full else 200

        def run(way):
            argv = ["first_byte", "bench.test", str(f.HTTP), f"total={total}", "fresh=1"]
            out = self.ways.inside(way, argv, flows=total, payload=400 * total).result
            return {"p50": out["p50_ns"] / 1000, "p99": out["p99_ns"] / 1000}

        return Row("C6", "from a new name to the first byte", [
            Quantity("p50", "name to first byte p50", "µs", "less"), Quantity("p99", "name to first byte p99", "µs", "less")],
            [c.WEIR, c.DIRECT, c.PASTA, c.SLIRP], run, 10 if self.full else 5, f.LIMITS,
            [f"{total} names one after the other, none cached; in a sandbox that runs already"])

    # ---- G1: audit ------------------------------------------------------------------------------------------------------------

    def g1(self):
        total = 50_000 if self.full else 20_000
        questions = self._questions("cached", [f"n{n}.bench.test A" for n in range(NAMES)])

        def run(way):
            audit = way == "weir"
            run = self.ways.inside(c.WEIR, ["connect_rate", f"{f.SERVER}:{f.ONCE}", "parallel=32", f"total={total}"],
                                   payload=100 * total, flows=total, audit=audit)
            if run.result["errors"]:
                raise NotProven(f"{run.result['errors']} connections failed")
            return {"connects": run.result["done"] / run.result["elapsed_ns"] * 1e6,
                    "names": self._through_weir(questions, audit=audit)["rate"]}

        return Row("G1", "audit on and off", [Quantity("connects", "connections", "k/s", "more"),
                                              Quantity("names", "cached answers", "k/s", "more")],
                   ["weir", "audit off"], run, 10 if self.full else 6, [*f.LIMITS, "weir: max_flows 8192 (default 1024)"],
                   ["off: --events none"])


def _completed(text):
    found = re.search(r"Queries completed:\s+(\d+)", text)
    return int(found.group(1)) if found else 0
