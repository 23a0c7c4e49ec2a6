"""One decision, four doors: transparent capture, HTTP CONNECT, requests in absolute form, SOCKS5 with names.

attacks.md C07, E04, F01-F07, G02, G05, G06. Each row goes through every door and must come out the same; a refusal has
three witnesses (what the program saw, no packet at the target, one record) and rows that are allowed beside it.
"""

import pytest

import lab as lab_module
import world as w
from checks import TWINS

DOORS = ["transparent", "connect", "absolute", "socks5h"]
EVERY_DOOR = pytest.mark.parametrize("door", DOORS)
PROXIES = pytest.mark.parametrize("door", DOORS[1:])
TUNNELS = pytest.mark.parametrize("door", ["connect", "socks5h"])

# name: (flags, host, port, targets that must see no packet, reason in the record)
REFUSED = {
    "name nobody allows": ({"allow": ["allowed.test"]}, "evil.test", 80, w.EVIL4, "no-rule"),
    "name below an allowed one": ({"allow": ["allowed.test"]}, "sub.allowed.test", 80, w.EVIL4, "no-rule"),
    "name that is denied": ({"mode": "public", "deny": ["evil.test"]}, "evil.test", 80, w.EVIL4, "denied-by-rule"),
    "port that is not allowed": ({"allow": ["allowed.test:443"]}, "allowed.test", 8080, w.ALLOWED4, "no-rule"),
    "address nobody allows": ({"allow": ["allowed.test"]}, w.EVIL4, 80, w.EVIL4, "no-rule"),
    "IPv6 address nobody allows": ({"allow": ["allowed.test"]}, w.EVIL6, 80, w.EVIL6, "no-rule"),
    "private address": ({"mode": "public"}, w.PRIVATE4, 80, w.PRIVATE4, "floor"),
    "private IPv6 address": ({"mode": "public"}, w.PRIVATE6, 80, w.PRIVATE6, "floor"),
    "metadata": ({"mode": "open"}, w.METADATA4, 80, w.METADATA4, "floor"),
    "metadata by IPv6": ({"mode": "open"}, w.METADATA6, 80, w.METADATA6, "floor"),
    "neighbour": ({"mode": "public"}, w.LAN4, 80, w.LAN4, "floor"),
    "host": ({"mode": "public"}, w.HOST_UP4, w.HOST_PORT, w.HOST_UP4, "floor"),
    "service of the host": ({"allow": ["allowed.test"]}, "host.weir.internal", w.LOOPBACK_PORT, "127.0.0.1", "no-rule"),
    # One family: each question of the resolver is an attempt of its own.
    "rebinding answer": ({"allow": ["four-private.test"]}, "four-private.test", 80, w.PRIVATE4, "rebind"),
}


def refusals_of(out, host):
    return [event for event in out.events if event["type"] in ("flow.refuse", "dns.refuse")]


@EVERY_DOOR
@pytest.mark.refusal
@pytest.mark.parametrize("row", REFUSED)
def test_refused(lab, row, door):
    flags, host, port, target, reason = REFUSED[row]
    out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", **flags)
    seen = out.result
    if door == "transparent":
        assert seen["connect"] in ("ECONNREFUSED", "unresolved"), out
    elif door == "socks5h":
        assert seen["connect"] == "refused", out
    else:
        # What an address behind a name is, the guest is not told.
        assert (seen["connect"], seen["reason"]) == ("refused", "no-rule" if reason == "rebind" else reason), out
    assert lab.world.packets_to(target, port) == 0, out
    refused = refusals_of(out, host)
    assert lab_module.attempts(refused) == 1 and refused[0]["reason"] == reason, out
    if door != "transparent" and refused[0]["type"] == "flow.refuse":
        assert refused[0]["via"] == ("socks" if door == "socks5h" else "http") and refused[0]["port"] == port, out
    assert not out.of_type("flow.open"), out


# name: (flags, host, port, the address that serves)
ALLOWED = {
    "name": ({"allow": ["allowed.test"]}, "allowed.test", 80, w.ALLOWED4),
    "name with its port": ({"allow": ["allowed.test:8080"]}, "allowed.test", 8080, w.ALLOWED4),
    "name below a wildcard": ({"allow": ["*.wild.test"]}, "a.b.wild.test", 80, w.ALLOWED4),
    "alias": ({"allow": ["alias.test"]}, "alias.test", 80, w.ALLOWED4),
    "IPv6 only": ({"allow": ["six.test"]}, "six.test", 80, w.ALLOWED6),
    "address": ({"allow": [w.ALLOWED4]}, w.ALLOWED4, 80, w.ALLOWED4),
    "IPv6 address": ({"allow": [w.ALLOWED6]}, w.ALLOWED6, 80, w.ALLOWED6),
    "public": ({"mode": "public"}, "example.com", 80, w.EXAMPLE4),
    "public beside a denied name": ({"mode": "public", "deny": ["evil.test"]}, "allowed.test", 80, w.ALLOWED4),
    "service of the host": ({"allow": [f"host.weir.internal:{w.LOOPBACK_PORT}"]}, "host.weir.internal", w.LOOPBACK_PORT, "127.0.0.1"),
    "private address that is opened": ({"allow": [w.PRIVATE4]}, w.PRIVATE4, 80, w.PRIVATE4),
}


@EVERY_DOOR
@pytest.mark.parametrize("row", ALLOWED)
def test_allowed(lab, row, door):
    flags, host, port, address = ALLOWED[row]
    out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", **flags)
    assert out.result["connect"] == "OK" and f"at {address}" in out.result["data"], out
    opened = out.of_type("flow.open")
    assert len(opened) == 1 and opened[0]["dst"] == address and opened[0]["port"] == port, out
    assert opened[0]["via"] == {"transparent": "tcp", "socks5h": "socks"}.get(door, "http"), out
    closed = out.of_type("flow.close")
    assert len(closed) == 1 and closed[0]["bytes_up"] > 0 and closed[0]["bytes_down"] > 0, out
    assert not refusals_of(out, host), out


# name: (host, port, what each door says)
FAILED = {
    "dead port": ("allowed.test", 81, "ECONNREFUSED"),
    "unreachable": ("host-unreachable.test", 80, "EHOSTUNREACH"),
    "no such name": ("nowhere.test", 80, "unresolved"),
}


@EVERY_DOOR
@pytest.mark.parametrize("row", FAILED)
def test_failures_are_no_refusals(lab, row, door):
    """Trouble on the way is told as what it is, and never as a verdict."""
    host, port, what = FAILED[row]
    out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", allow=["*.test"], extra=["--insist", "broad=*.test"])
    wanted = what
    if what == "unresolved" and door != "transparent":
        wanted = "EHOSTUNREACH" if door == "socks5h" else "resolve-failed"
    assert out.result["connect"] == wanted, out
    assert not refusals_of(out, host), out
    if what != "unresolved":
        assert {event["error"] for event in out.of_type("flow.close")} == {what}, out
