"""A proxy of the user's own as transport: what goes through it, what does not, and what it may do.

attacks.md C07, E02, F01-F07, G05, H01. The names that are allowed here are known to the proxies alone, which go out from
an address of their own: see upstreams.py.
"""

import pytest

import lab as lab_module
import upstreams as upstreams_module
import world as w
from upstreams import NAMES, OUTGOING, USER

DOORS = ["transparent", "connect", "absolute", "socks5h"]
EVERY_DOOR = pytest.mark.parametrize("door", DOORS)
KINDS = pytest.mark.parametrize("kind", ["http", "socks"])


@pytest.fixture(scope="session")
def upstreams_of_world(world):
    return upstreams_module.Upstreams(world)


@pytest.fixture
def upstreams(upstreams_of_world, lab):
    upstreams_of_world.log.mark()
    return upstreams_of_world


def flag(upstreams, kind):
    return ["--upstream-proxy", upstreams.http] if kind == "http" else ["--upstream-socks", upstreams.socks]


def questions(lab):
    return lab.world.dns_log.since()


def peers(lab, port):
    """From where connections came to the lab's internet."""
    return {entry["peer"] for entry in lab.world.origin_log.since() if entry.get("port") == port}


@KINDS
@EVERY_DOOR
def test_by_name(lab, upstreams, kind, door):
    out = lab.guest(f"result = fetch({door!r}, 'served.test', 80)", allow=["served.test"], extra=flag(upstreams, kind))
    assert out.result["connect"] == "OK" and f"at {w.ALLOWED4}" in out.result["data"], out
    asked = upstreams.log.since()
    assert [(each["proto"], each["target"]) for each in asked] == [(kind, "served.test:80")], (asked, out)
    assert questions(lab) == [], out
