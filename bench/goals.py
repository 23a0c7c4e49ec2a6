"""Every goal of the suite, in one table, and what became of it.

A ratio is weir's median over the peer's in the same run. `sense` says which side is good: ">=" for what should be
large, "<=" for what should be small. Against nothing (versus None) the median itself is compared.
"""


class Goal:
    """`of`: whose figure is judged. `versus`: a contender, a tuple of them (the best one counts), or None (absolute)."""

    def __init__(self, row, quantity, sense, must, aim=None, versus=None, of="weir"):
        self.row, self.quantity, self.sense, self.must, self.aim = row, quantity, sense, must, aim
        self.versus, self.of = versus, of


_RELAYS = ("pasta", "slirp4netns")

GOALS = [
    *(goal for row in ("A1", "A2") for goal in (
        Goal(row, "rate", ">=", 0.95, None, "bare relay"),
        Goal(row, "rate", ">=", 0.8, 0.95, "without weir"),
        Goal(row, "rate", ">=", 1.4, None, _RELAYS))),
    Goal("A5", "rate1", ">=", 1.1, None, "pasta"),
    Goal("A5", "rate32", ">=", 0.9, 1.1, _RELAYS),
    Goal("A6", "rate", ">=", 0.85, 0.95, "bare relay"),
    Goal("A6", "rate", ">=", 0.45, 0.55, "without weir"),
    Goal("A6", "rate", ">=", 1.6, None, "pasta"),
    Goal("A6", "errors1000", "<=", 0),
    Goal("A6", "resent5000", "<=", 0),
    Goal("A7", "rate", ">=", 0.95, None, "1 rule", of="100,000 rules"),
    Goal("A8", "rate", ">=", 0.3, None, "kernel reject"),
    Goal("A8", "refused_over_allowed", ">=", 1.0),
    Goal("A9", "user", "<=", 1024),
    Goal("A9", "pipes", "<=", 0),
    Goal("A9", "total", "<=", 1.1, None, "bare relay"),
    Goal("A10", "rate", ">=", 0.95, None, "allowed by address", of="first flight judged"),
    Goal("B1", "up64", ">=", 0.8, None, "bare TUN loop"),
    Goal("B1", "down64", ">=", 0.8, None, "bare TUN loop"),
    Goal("B1", "up64", ">=", 1.0, None, "pasta"),
    Goal("B1", "down64", ">=", 1.0, None, "pasta"),
    Goal("B1", "up1400", ">=", 1.5, None, "pasta"),
    Goal("B1", "down1400", ">=", 1.5, None, "pasta"),
    Goal("B3", "p50", "<=", 1.5, None, "bare TUN loop"),
    Goal("C1", "rate", ">=", 1.0, None, "dnsmasq behind pasta"),
    Goal("C1", "rate", ">=", 1.0, None, "dnsmasq behind slirp4netns"),
    Goal("C2", "rate", ">=", 1.0, None, "allowed names", of="refused names"),
    Goal("C3", "load", "<=", 2.0),
    Goal("C3", "map", "<=", 20),
    Goal("C3", "p50", "<=", 1.0),
    Goal("C3", "p99", "<=", 3.0),
    Goal("C3", "allow_bytes", "<=", 100),
    Goal("C3", "deny_bytes", "<=", 16),
    Goal("C6", "p50", "<=", 1.5, None, "without weir"),
    Goal("D1", "p50", "<=", 1.0, 0.8, "bubblewrap (no network)"),
    Goal("D1", "p50", "<=", 0.8, 0.6, "bubblewrap (no network)", of="weir (none)"),
    Goal("D2", "p50", "<=", 0.3, None, "bubblewrap in pasta"),
    Goal("D4", "rate64", ">=", 0.8, 0.95, "bare clone"),
    Goal("D4", "rate64", ">=", 0.8, 0.95, "bare clone, as a command"),
    Goal("D6", "private", "<=", 1.0),
    Goal("D6", "gateway", "<=", 1.0),
    Goal("D6", "memory", "<=", 1.15, None, "bare clone"),
    Goal("D8", "rules", "<=", 3, None, "one netlink round trip"),
    Goal("D8", "rules", "<=", 0.02, None, "nft -f"),
    Goal("F1", "rate", ">=", 2.0, None, "squid"),
    Goal("F1", "rate", ">=", 3.0, None, "tinyproxy"),
    Goal("F3", "rate", ">=", 1.0, 2.0, "squid"),
    Goal("F4", "rate", ">=", 2.0, None, "dante"),
    Goal("G1", "connects", ">=", 0.95, 0.98, "audit off"),
    Goal("G1", "names", ">=", 0.95, 0.98, "audit off"),
    *(Goal("L1", f"{kind}_{figure}", "<=", 1.5, None, "flood without weir")
      for kind in ("syn", "dns", "udp", "flows", "events") for figure in ("p50", "p99")),
    Goal("S1", "p50", "<=", 1.5, None, "weir run -- true"),
    Goal("S1", "p50", "<=", 1.5, None, "weir run (allowlist)", of="weir (allowlist)"),
    Goal("S1", "spread", "<=", 4),
    Goal("S1", "p50", "<=", 0.1, None, "podman"),
    Goal("S2", "p50", "<=", 2.0, None, "bare spawn and round trip"),
    Goal("S3", "missing", "<=", 0),
    Goal("S3", "rate", ">=", 0.6, None, "bare namespaces"),
    Goal("S4", "memory", "<=", 2.0, None, "bare namespaces and 0.5 MiB"),
    Goal("S5", "p50", "<=", 1.2, None, "weir, empty snapshot"),
    Goal("S6", "put", ">=", 0.5, None, "cp"),
    Goal("S6", "get", ">=", 0.5, None, "cp"),
    Goal("S6", "growth", "<=", 32),
    Goal("S7", "slower", "<=", 1.2),
    Goal("S7", "memory", "<=", 2),
    Goal("S7", "disk", "<=", 8),
    *(Goal("S7", what, "<=", 0) for what in ("descriptors", "files", "mounts", "processes")),
]


class Verdict:
    """What became of a goal. `word`: met, aim met, MISSED, or "no peer" / "no figure" where nothing can be compared."""

    def __init__(self, goal, word, value=None, peer=None, peer_name=None, ratio=None):
        self.goal, self.word, self.value, self.peer, self.peer_name, self.ratio = goal, word, value, peer, peer_name, ratio


def _good(sense, value, bound):
    return value >= bound if sense == ">=" else value <= bound


def judge(goal, quantity):
    """`quantity`: as in results.json. -> Verdict"""
    contenders = quantity["contenders"] if quantity else {}
    own = contenders.get(goal.of)
    if own is None:
        return Verdict(goal, "no figure")
    value, peer, name = own["median"], None, None
    ratio = value
    if goal.versus is not None:
        named = goal.versus if isinstance(goal.versus, tuple) else (goal.versus,)
        there = {key: contenders[key]["median"] for key in named if key in contenders}
        if not there:
            return Verdict(goal, "no peer", value, None, " / ".join(named))
        name = (max if quantity["better"] == "more" else min)(there, key=there.get)
        peer = there[name]
        if peer <= 0:  # a difference that drowned in the machine's noise compares with nothing
            return Verdict(goal, "no figure", value, peer, name)
        ratio = value / peer
    word = "MISSED"
    if _good(goal.sense, ratio, goal.must):
        word = "met"
        if goal.aim is not None and _good(goal.sense, ratio, goal.aim):
            word = "aim met"
    return Verdict(goal, word, value, peer, name, ratio if goal.versus is not None else None)


def verdicts(results):
    """[(row, quantity, Verdict)] of every goal whose row was measured, in the order of the rows."""
    out = []
    for row in results["rows"]:
        quantities = {quantity["key"]: quantity for quantity in row["quantities"]}
        out += [(row, quantities.get(goal.quantity), judge(goal, quantities.get(goal.quantity)))
                for goal in GOALS if goal.row == row["id"]]
    return out
