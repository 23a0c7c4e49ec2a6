"""What 'refused' and 'allowed' mean in the lab, asserted the same way everywhere.

A refusal counts only if three witnesses agree: the program saw the documented error, no packet arrived at the target,
and the events hold exactly one record of it. Every refusal has its allowed twin in the same test function.
"""

import pytest

import lab as lab_module
import world as w

REFUSE = pytest.param("refuse", marks=pytest.mark.refusal)
TWINS = pytest.mark.parametrize("verdict", ["allow", REFUSE])
FAMILIES = pytest.mark.parametrize("family", [4, 6])

ALLOWED = {4: w.ALLOWED4, 6: w.ALLOWED6}
EVIL = {4: w.EVIL4, 6: w.EVIL6}
SHARED = {4: w.SHARED4, 6: w.SHARED6}
SILENT = {4: w.SILENT4, 6: w.SILENT6}
UNREACHABLE = {4: w.UNREACHABLE4, 6: w.UNREACHABLE6}
PRIVATE = {4: w.PRIVATE4, 6: w.PRIVATE6}
METADATA = {4: w.METADATA4, 6: w.METADATA6}
LAN = {4: w.LAN4, 6: w.LAN6}
OTHER_DNS = {4: w.OTHER_DNS4, 6: w.OTHER_DNS6}


# For tests of something else that would meet the default limits. `allow` adds to it.
LIFTED = """version = 1
mode = "allowlist"
[limits]
max_flows = 8192
half_open = 8192
connects_per_second = 1000000
dns_queries_per_second = 1000000
dns_names_per_minute = 10000000
"""


def at(address, port=None):
    """A policy target for an address: brackets where IPv6 needs them."""
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def assert_refused(lab, out, seen, dst, port, reasons, errors=("ECONNREFUSED",), count=1):
    """A TCP connect that was refused at the SYN."""
    assert seen["connect"] in errors, (seen, out)
    packets = lab.world.packets_to(dst, port)
    assert packets == 0, f"{packets} packets arrived at {dst} port {port}: {out!r}"
    found = out.refusals(dst=dst, port=port)
    assert lab_module.attempts(found) == count, f"wanted exactly {count} record: {out!r}"
    assert {event["reason"] for event in found} <= set(reasons), out
    assert all(event["verdict"] == "refuse" for event in found), out
    assert not out.of_type("flow.open", dst=dst, port=port), out


def assert_allowed(lab, out, seen, dst, port):
    assert seen["connect"] == "OK", (seen, out)
    assert lab.world.packets_to(dst, port) > 0, out
    opened = out.of_type("flow.open", dst=dst, port=port)
    closed = out.of_type("flow.close", dst=dst, port=port)
    assert len(opened) == 1 and len(closed) == 1, f"wanted one open and one close: {out!r}"
    assert not out.refusals(dst=dst, port=port), out


def assert_cut(lab, out, seen, dst, port, reasons):
    """Refused by the first flight: the connection stood, no byte of the guest's stream went out, and it was reset."""
    assert seen["connect"] == "OK", (seen, out)
    assert seen.get("end") == "ECONNRESET" or seen.get("tls") not in (None, "OK"), (seen, out)
    assert lab.world.packets.payload_to(dst, port) == 0, out
    found = out.refusals(dst=dst, port=port)
    assert lab_module.attempts(found) == 1, f"wanted exactly one record: {out!r}"
    assert found[0]["reason"] in reasons, out


def assert_datagram_refused(lab, out, told, proto, dst, port, reasons):
    """A connected socket is told by an administrative ICMP error; three witnesses."""
    assert told == ("EACCES" if ":" in dst else "EHOSTUNREACH"), (told, out)
    assert lab.world.packets_to(dst, port) == 0, out
    fields = {"dst": dst, "proto": proto, "via": proto, **({"port": port} if port else {})}
    found = out.refusals(**fields)
    assert lab_module.attempts(found) == 1, f"wanted exactly one record: {out!r}"
    assert found[0]["reason"] in reasons and found[0]["verdict"] == "refuse", out
    assert not out.of_type("flow.open", **fields), out


def assert_datagram_allowed(lab, out, proto, dst, port=None):
    """-> the flow's last event"""
    assert lab.world.packets_to(dst, port) > 0, out
    fields = {"dst": dst, "proto": proto, "via": proto, **({"port": port} if port else {})}
    opened, closed = out.of_type("flow.open", **fields), out.of_type("flow.close", **fields)
    assert len(opened) == 1 and len(closed) == 1, f"wanted one open and one close: {out!r}"
    assert not out.refusals(**fields), out
    return closed[0]


def assert_name_refused(lab, out, answer, name, rcodes, reasons=("no-rule", "denied-by-rule"), count=1):
    """A DNS question that was refused: documented rcode, EDE 15, nothing asked upstream, one record."""
    assert answer.get("rcode") in rcodes, (answer, out)
    assert not answer["addresses"] and 15 in answer["ede"], (answer, out)
    asked = [entry["spelled"] for entry in lab.world.dns_log.since()]
    assert name.lower() not in [item.lower() for item in asked], f"the name left: {asked}"
    found = out.of_type("dns.refuse", name=name.lower())
    assert lab_module.attempts(found) == count, f"wanted exactly {count} record: {out!r}"
    assert {event["reason"] for event in found} <= set(reasons), out
