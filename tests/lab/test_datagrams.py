"""UDP and ICMP echo through the capture. attacks.md C08, J03, J05-J07, O02."""

import pytest

import world as w
from checks import ALLOWED, EVIL, FAMILIES, TWINS, at


@TWINS
@FAMILIES
def test_udp(lab, family, verdict):
    """C08: a datagram to an address that is allowed is answered; one that nobody named goes nowhere."""
    dst = EVIL[family]
    allow = [f"udp://{at(dst, 5353)}"] if verdict == "allow" else ["allowed.test"]
    out = lab.guest(f"result = udp({dst!r}, 5353)", allow=allow)
    print(out)
    if verdict == "allow":
        assert out.result == {"data": "ping", "error": None}, out

@TWINS
@FAMILIES
def test_echo(lab, family, verdict):
    dst = EVIL[family]
    lab.world.host.sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647'")
    allow = [f"icmp://{dst}"] if verdict == "allow" else ["allowed.test"]
    out = lab.guest(f"result = ping({dst!r})", allow=allow)
    print(out)
    if verdict == "allow":
        assert out.result == "OK", out
