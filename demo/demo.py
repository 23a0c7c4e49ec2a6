"""`./dev demo`: weir's main job on real input, without the internet, and a table that is computed, not painted.

Builds the lab's world (tests/lab/world.py), runs demo/program.py under an allowlist of one host, and compares three
witnesses of every attempt: what the program saw, what the target received (counted by the kernel in the target's
namespace), what weir recorded. Exit 0: every row is as the policy says. 1: one is not. 2: the demo could not run.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/lab"))

import expect  # noqa: E402
import package  # noqa: E402
import world as w  # noqa: E402

NAMES = {"allowed.test": (w.ALLOWED4, w.ALLOWED6), "evil.test": (w.EVIL4, w.EVIL6)}
NOBODY4 = "93.184.218.1"


class Attempt:
    """One way out: how the program tries it, where its packets would arrive, what the policy says about it.

    name    the host it is after, if it has one: then it is the name that must be allowed
    target  (address, proto, port) whose packets are counted; None where no packet could be meant for anybody
    recorded  False where weir's gateway never hears of it (the sandbox's own loopback, a refused system call)
    """

    def __init__(self, title, way, args, target=None, name=None, via_dns=False, recorded=True, payload_only=False):
        self.title, self.way, self.args, self.target, self.name = title, way, args, target, name
        self.via_dns, self.recorded, self.payload_only = via_dns, recorded, payload_only

    def allowed_by(self, policy):
        if self.target is None:
            return self.name is not None and policy.allows_name(self.name)
        address, proto, port = self.target
        if policy.allows_address(address, proto, port):
            return True
        leads_there = self.name in NAMES and address in NAMES[self.name]
        return leads_there and policy.allows_name(self.name, proto, port)


def attempts():
    A = Attempt
    return [
        A("fetch http://allowed.test/", "fetch", ["allowed.test", 80, 4], (w.ALLOWED4, "tcp", 80), "allowed.test", True),
        A("the same over IPv6", "fetch", ["allowed.test", 80, 6], (w.ALLOWED6, "tcp", 80), "allowed.test", True),
        A("fetch http://evil.test/", "fetch", ["evil.test", 80, 4], (w.EVIL4, "tcp", 80), "evil.test", True),
        A("the same over IPv6", "fetch", ["evil.test", 80, 6], (w.EVIL6, "tcp", 80), "evil.test", True),
        A("evil.test by its address", "literal", [w.EVIL4, 8080, "evil.test"], (w.EVIL4, "tcp", 8080), "evil.test"),
        A("evil.test by its IPv6 address", "literal", [w.EVIL6, 8080, "evil.test"], (w.EVIL6, "tcp", 8080), "evil.test"),
        A("an address nobody named", "literal", [NOBODY4, 443, "x"], (NOBODY4, "tcp", 443)),
        A("evil's site at allowed.test's address", "literal", [w.ALLOWED4, 8080, "evil.test"],
          (w.ALLOWED4, "tcp", 8080), "evil.test", payload_only=True),
        A("cloud metadata", "literal", [w.METADATA4, 80, "x"], (w.METADATA4, "tcp", 80)),
        A("cloud metadata over IPv6", "literal", [w.METADATA6, 80, "x"], (w.METADATA6, "tcp", 80)),
        A("data in a DNS name", "tunnel", ["c2VjcmV0.evil.test"], None, "c2VjcmV0.evil.test", True),
        A("... to a name server of its own", "tunnel_direct", [w.OTHER_DNS4, "bW9yZQ.evil.test"],
          (w.OTHER_DNS4, "udp", 53), "bW9yZQ.evil.test", True),
        A("UDP to evil.test's address", "datagram", [w.EVIL4, 5353], (w.EVIL4, "udp", 5353)),
        A("ICMP echo to it", "echo_request", [w.EVIL4], (w.EVIL4, "icmp", None)),
        A("the host's own service", "literal", [w.HOST_UP4, w.HOST_PORT, "x"], (w.HOST_UP4, "tcp", w.HOST_PORT)),
        A("... over IPv6", "literal", [w.HOST_UP6, w.HOST_PORT, "x"], (w.HOST_UP6, "tcp", w.HOST_PORT)),
        A("... on the host's loopback", "literal", ["127.0.0.1", w.LOOPBACK_PORT, "x"],
          ("127.0.0.1", "tcp", w.LOOPBACK_PORT), recorded=False),
        A("a private service", "literal", [w.PRIVATE4, 80, "x"], (w.PRIVATE4, "tcp", 80)),
        A("a neighbour on the host's network", "literal", [w.LAN4, 80, "x"], (w.LAN4, "tcp", 80)),
        A("... by its global IPv6 address", "literal", [w.LAN_GLOBAL6, 80, "x"], (w.LAN_GLOBAL6, "tcp", 80)),
        A("a raw IP socket", "raw", ["ip"], recorded=False),
        A("a packet socket", "raw", ["packet"], recorded=False),
        A("a VM socket", "raw", ["vsock"], recorded=False),
    ]


def weir_prefix(world):
    """Runs a command on the lab's host as the person who called the demo."""
    prefix = world.host.prefix(cwd=str(world.folder))
    if "WEIR_WORLD_UID" in os.environ:  # inside the demo's own user namespace: step back to an ordinary user in it
        prefix += ["unshare", "--user", f"--map-user={os.environ['WEIR_WORLD_UID']}",
                   f"--map-group={os.environ['WEIR_WORLD_GID']}"]
    return prefix


def run_program(world, weir, policy, ways):
    """-> ({id: what it saw}, events)"""
    events = world.folder / "events.jsonl"
    plan = [{"id": number, "way": a.way, "args": a.args} for number, a in enumerate(ways)]
    program = (ROOT / "demo/program.py").read_text()
    argv = [weir, "run", "-q", "--policy", str(policy), "--events", str(events), "--", "/usr/bin/python3", "-c", program,
            json.dumps(plan)]
    done = subprocess.run([*weir_prefix(world), *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=180, env={"PATH": os.environ["PATH"], "HOME": str(world.folder)})
    if done.returncode:
        sys.stderr.write(f"demo: weir ended with {done.returncode}\n{done.stderr}\n")
        sys.exit(2)
    saw = {line["id"]: line["saw"] for line in map(json.loads, done.stdout.splitlines())}
    return saw, [json.loads(line) for line in events.read_text().splitlines()]


def received(world, attempt):
    """What arrived at the target: packets, or for a tunnel the questions that any name server of the lab heard."""
    if attempt.way in ("tunnel", "tunnel_direct"):
        asked = [entry for entry in world.dns_log.since() if entry["name"] == attempt.args[-1].lower()]
        return len(asked)
    if attempt.target is None:
        return 0
    address, proto, port = attempt.target
    if attempt.payload_only:
        return world.packets.payload_to(address, port)
    return sum(counter.to(address, port, proto) for counter in (world.packets, world.lan_packets, world.host_packets))


def amount(attempt, got):
    if attempt.payload_only:
        return f"{got} packets of data"
    return f"{got} questions" if attempt.way.startswith("tunnel") else f"{got} packets"


def records(attempt, events):
    """The events of this attempt, as short words."""
    found = []
    for event in events:
        kind = event["type"]
        if kind.startswith("dns.") and attempt.via_dns and event.get("name") == dns_name(attempt):
            found.append(event)
        elif kind in ("flow.open", "flow.refuse") and attempt.target is not None:
            address, proto, port = attempt.target
            if event.get("dst") == address and event.get("proto") == proto and event.get("port") in (port, None, 0):
                found.append(event)
    return found


def dns_name(attempt):
    return (attempt.name or "").lower()


def describe(found):
    words = []
    for event in found:
        text = event["type"] + (f" ({event['reason']})" if event.get("reason") else "")
        if text not in words:
            words.append(text)
    return ", ".join(words) or "nothing"


def judge(attempt, allowed, saw, packets, found):
    """-> why the row contradicts the policy, or None."""
    refused = [event for event in found if event["type"] in ("dns.refuse", "flow.refuse")]
    if allowed:
        if not saw.startswith("OK"):
            return "allowed, but it failed"
        if attempt.way not in ("raw",) and packets == 0:
            return "allowed, but nothing arrived"
        if refused or not found:
            return "allowed, but the record is wrong"
        return None
    if saw.startswith("OK"):
        return "forbidden, but it worked"
    if packets:
        return f"forbidden, but {packets} packets arrived"
    if attempt.recorded and not refused:
        return "forbidden, but not recorded"
    return None


def print_table(rows):
    head = ("attempt", "the program saw", "the target got", "weir recorded", "policy")
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, tuple("-" * width for width in widths), *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())


def table(world, weir, policy_path):
    policy = expect.Policy(policy_path)
    ways = attempts()
    world.reset()
    saw, events = run_program(world, weir, policy_path, ways)
    rows, wrong = [], []
    for number, attempt in enumerate(ways):
        allowed = attempt.allowed_by(policy)
        got = received(world, attempt)
        found = records(attempt, events)
        fault = judge(attempt, allowed, saw.get(number, "nothing: the program did not get there"), got, found)
        rows.append((attempt.title, saw.get(number, "-"), amount(attempt, got),
                     describe(found) if attempt.recorded or found else "- (never left the sandbox)",
                     ("allows" if allowed else "forbids") + (f"  <-- {fault}" if fault else "")))
        if fault:
            wrong.append(attempt.title)
    print(f"Policy {policy_path}: {' '.join(line for line in open(policy_path).read().splitlines() if 'allow =' in line)}\n")
    print_table(rows)
    return wrong


def readable_copy(path, folder):
    """Where the world's user can read it, whoever owns the checkout."""
    target = folder / pathlib.Path(path).name
    target.write_bytes(pathlib.Path(path).read_bytes())
    target.chmod(0o755)
    return str(target)


def main():
    parser = argparse.ArgumentParser(description="weir's main job, on real input, without the internet")
    parser.add_argument("--weir", default=str(ROOT / "build/release/weir"))
    parser.add_argument("--policy", default=str(ROOT / "demo/policy.toml"))
    parser.add_argument("--no-package", action="store_true", help="leave out the package that is really installed")
    parser.add_argument("--stage", choices=("all", "world"), default="all", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.policy = os.path.abspath(options.policy)
    if options.stage == "all":
        return everything(options)
    if os.getuid() != 0:
        w.in_own_user_namespace(sys.argv)
    try:
        with w.World() as world:
            wrong = table(world, readable_copy(options.weir, world.folder), options.policy)
    except (expect.NotUnderstood, RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    if wrong:
        print(f"\n{len(wrong)} rows contradict the policy: {'; '.join(wrong)}")
        return 1
    print("\nEvery row is as the policy says.")
    return 0


def everything(options):
    """The world runs in a process of its own, which may have entered namespaces; the package needs the real network."""
    code = subprocess.run([sys.executable, __file__, "--stage", "world", "--weir", options.weir, "--policy",
                           options.policy]).returncode
    if code == 0 and not options.no_package:
        with tempfile.TemporaryDirectory(prefix="weir-demo-") as folder:
            code = package.demonstrate(options.weir, pathlib.Path(folder))
    return code


if __name__ == "__main__":
    sys.exit(main())
