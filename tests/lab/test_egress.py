"""A proxy of the user's own as transport: what goes through it, what does not, and what it may do.

attacks.md C07, E02, F01-F07, G05, H01. The names that are allowed here are known to the proxies alone, which go out from
an address of their own: see upstreams.py.
"""

import json
import os
import pathlib

import pytest

import lab as lab_module
import test_events
import upstreams as upstreams_module
import world as w
from upstreams import OUTGOING, USER

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


@pytest.fixture(scope="session", params=["squid", "tinyproxy", "dante", "mitmproxy"])
def real(request, upstreams_of_world):
    found = upstreams_of_world.start(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    return (request.param, *found)


def flag(upstreams, kind):
    return ["--upstream-proxy", upstreams.http] if kind == "http" else ["--upstream-socks", upstreams.socks]


def asked(upstreams):
    return [(each["proto"], each["target"]) for each in upstreams.log.since()]


def peers(lab, port):
    """From where connections came to the lab's internet."""
    return {entry["peer"] for entry in lab.world.origin_log.since() if entry["event"] == "connect" and entry["port"] == port}


def assert_no_question(lab, out):
    assert lab.world.dns_log.since() == [], out


def assert_one_refusal(out, reason):
    refused = out.of_type("flow.refuse") + out.of_type("dns.refuse")
    assert lab_module.attempts(refused) == 1 and refused[0]["reason"] == reason, out
    assert not out.of_type("flow.open"), out


# ---- what goes through ------------------------------------------------------------------------------------------------


@KINDS
@EVERY_DOOR
def test_a_name_goes_through_as_a_name(lab, upstreams, kind, door):
    out = lab.guest(f"result = fetch({door!r}, 'served.test', 80)", allow=["served.test"], extra=flag(upstreams, kind))
    assert out.result["connect"] == "OK" and f"at {w.ALLOWED4}" in out.result["data"], out
    assert asked(upstreams) == [(kind, "served.test:80")], out
    assert_no_question(lab, out)
    assert peers(lab, 80) == {OUTGOING}, out
    opened, closed = out.of_type("flow.open", name="served.test"), out.of_type("flow.close", name="served.test")
    assert len(opened) == 1 and len(closed) == 1 and closed[0]["bytes_down"] > 0 and "reason" not in closed[0], out


@KINDS
@pytest.mark.parametrize("address", [w.ALLOWED4, w.ALLOWED6])
def test_an_address_goes_through_as_an_address(lab, upstreams, kind, address):
    out = lab.guest(f"result = fetch('transparent', {address!r}, 80)", allow=[address], extra=flag(upstreams, kind))
    assert f"at {address}" in out.result["data"], out
    target = f"{address}:80" if kind == "socks" or ":" not in address else f"[{address}]:80"
    assert asked(upstreams) == [(kind, target)], out


@pytest.mark.parametrize("family", [4, 6])
def test_a_name_has_a_stand_in_of_each_family(lab, upstreams, family):
    out = lab.guest(f"""
import socket
addresses = resolve('served.test', socket.AF_INET{6 if family == 6 else ''})
again = resolve('served.test', socket.AF_INET{6 if family == 6 else ''})
result = {{"addresses": addresses, "again": again, "seen": tcp(addresses[0], 7, b"x", recv=1)}}
""", allow=["served.test"], extra=flag(upstreams, "socks"))
    address = out.result["addresses"][0]
    assert address.startswith("198.18." if family == 4 else "fd77:6569:7273:"), out
    assert out.result["again"] == out.result["addresses"] and out.result["seen"]["connect"] == "OK", out
    assert asked(upstreams) == [("socks", "served.test:7")] and peers(lab, 7) == {OUTGOING}, out
    assert_no_question(lab, out)


def test_the_web_by_http_and_the_rest_by_socks(lab, upstreams):
    out = lab.guest("result = [fetch('transparent', 'served.test', 80)['connect'], "
                    "tcp('served.test', 443, client_hello('served.test'))['connect'], "
                    "tcp('served.test', 7, b'x', recv=1)['connect']]",
                    allow=["served.test"], extra=[*flag(upstreams, "http"), *flag(upstreams, "socks")])
    assert out.result == ["OK", "OK", "OK"], out
    assert asked(upstreams) == [("http", "served.test:80"), ("http", "served.test:443"), ("socks", "served.test:7")], out


def test_from_the_policy_file_by_both_spellings(lab, upstreams):
    for http, socks in (("upstream_proxy", "upstream_socks"), ("network_proxy_url", "network_socks_url")):
        upstreams.log.mark()
        policy = (f"version = 1\nallow = [\"served.test\"]\n{http} = \"{upstreams.http}\"\n"
                  f"{socks} = \"{upstreams.socks}\"\n")
        out = lab.guest("result = [fetch('transparent', 'served.test', 80)['connect'], tcp('served.test', 7)['connect']]",
                        policy=policy)
        assert out.result == ["OK", "OK"], out
        assert asked(upstreams) == [("http", "served.test:80"), ("socks", "served.test:7")], out


def test_from_a_compiled_policy(lab, upstreams):
    text = lab.file("p.toml", f"version = 1\nallow = [\"served.test\"]\nupstream_proxy = \"{upstreams.http}\"\n")
    image = str(lab.folder / "image")
    assert lab.cli("policy", "compile", "--policy", text, "-o", image).code == 0
    out = lab.guest("result = fetch('transparent', 'served.test', 80)['connect']", extra=["--policy", image])
    assert out.result == "OK" and asked(upstreams) == [("http", "served.test:80")], out


@KINDS
def test_bulk_is_whole(lab, upstreams, kind):
    out = lab.guest("page = fetch('transparent', 'served.test', 80, path='/bytes/3200000')['data'].split('\\r\\n\\r\\n', 1)[1]\n"
                    "result = [len(page), page == 'w' * 3200000]",
                    allow=["served.test"], extra=flag(upstreams, kind))
    assert out.result == [3_200_000, True] and asked(upstreams) == [(kind, "served.test:80")], out


@KINDS
def test_open_leaves_the_filtering_to_the_proxy(lab, upstreams, kind):
    """A private address and a name of one: dialled through the proxy, whatever is behind them."""
    out = lab.guest(f"result = [fetch('transparent', host, 80)['data'] for host in ('to-lan.test', {w.PRIVATE4!r})]",
                    mode="open", extra=flag(upstreams, kind))
    assert all(f"at {w.PRIVATE4}" in data for data in out.result), out
    assert asked(upstreams) == [(kind, "to-lan.test:80"), (kind, f"{w.PRIVATE4}:80")], out
    assert peers(lab, 80) == {OUTGOING}, out


# ---- what does not ----------------------------------------------------------------------------------------------------

REFUSED = {
    "name nobody allows": ({"allow": ["served.test"]}, "evil.test", 80, "no-rule"),
    "name that is denied": ({"mode": "public", "deny": ["evil.test"]}, "evil.test", 80, "denied-by-rule"),
    "port that is not allowed": ({"allow": ["served.test:80"]}, "served.test", 7, "no-rule"),
    "address nobody allows": ({"allow": ["served.test"]}, w.EVIL4, 80, "no-rule"),
    "name beside an allowed block": ({"allow": [f"{w.EVIL4}/32"]}, "evil.test", 80, "no-rule"),
    "private address": ({"mode": "public"}, w.PRIVATE4, 80, "floor"),
    "metadata": ({"mode": "open"}, w.METADATA4, 80, "floor"),
    "stand-in that nobody was given": ({"mode": "open"}, "198.18.77.77", 80, "no-name"),
    "the proxy itself": ({"mode": "open"}, w.HOST_UP4, upstreams_module.WIDE_PORT, "floor"),
    "loopback of the host": ({"allow": [f"host.weir.internal:{w.LOOPBACK_PORT}"]}, "host.weir.internal", w.LOOPBACK_PORT, "upstream-proxy"),
}


# What stands for no name has nowhere to go, whatever admission says.
ROWS = [pytest.param(row, marks=pytest.mark.elsewhere if row.startswith("stand-in") else pytest.mark.refusal)
        for row in REFUSED]


@EVERY_DOOR
@pytest.mark.parametrize("row", ROWS)
def test_refused(lab, upstreams, row, door):
    """Three witnesses: the program, the proxy (and the name server) that heard nothing, one record. The twin goes on."""
    flags, host, port, reason = REFUSED[row]
    wide = ["--upstream-proxy", f"http://{w.HOST_UP4}:{upstreams_module.WIDE_PORT}"] if row == "the proxy itself" else None
    out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", **flags, extra=wide or flag(upstreams, "http"))
    if door == "transparent":
        assert out.result["connect"] in ("ECONNREFUSED", "unresolved"), out
    elif door == "socks5h":
        assert out.result["connect"] == "refused", out
    else:
        assert (out.result["connect"], out.result["reason"]) == ("refused", reason), out
    assert asked(upstreams) == [], out
    assert_no_question(lab, out)
    assert_one_refusal(out, reason)
    if row not in ("the proxy itself", "metadata", "private address"):
        upstreams.log.mark()
        twin = lab.guest(f"result = fetch({door!r}, 'served.test', 80)", allow=["served.test"], extra=flag(upstreams, "http"))
        assert twin.result["connect"] == "OK" and asked(upstreams) == [("http", "served.test:80")], twin


@pytest.mark.refusal
@pytest.mark.parametrize("what", ["udp to a name", "udp to an address", "icmp"])
def test_datagrams_are_off(lab, upstreams, what):
    """The policy lets it pass, the transport does not carry it. Without the proxy it arrives."""
    code = {"udp to a name": "import socket; result = udp(resolve('allowed.test', socket.AF_INET)[0], 7)",
            "udp to an address": f"result = udp({w.ALLOWED4!r}, 7)", "icmp": f"result = ping({w.ALLOWED4!r})"}[what]
    allow = ["allowed.test", "udp://allowed.test:7", w.ALLOWED4]
    out = lab.guest(code, allow=allow, extra=flag(upstreams, "socks"))
    assert lab.world.packets_to(w.ALLOWED4) == 0, out
    assert_one_refusal(out, "upstream-proxy")
    assert asked(upstreams) == [], out
    assert_no_question(lab, out)
    twin = lab.guest(code, allow=allow)
    assert lab.world.packets_to(w.ALLOWED4) > 0 and not twin.of_type("flow.refuse"), twin


@pytest.mark.elsewhere
@pytest.mark.parametrize("door", ["transparent", "connect", "socks5h", "absolute"])
def test_names_are_counted_at_every_door(lab, upstreams, door):
    """Six of 60 a minute lie below a wildcard; the seventh gets no stand-in, and the proxy does not hear of it."""
    text = 'version = 1\nmode = "allowlist"\nallow = ["*.wild.test"]\n[limits]\ndns_names_per_minute = 60\n'
    code = f"result = [fetch({door!r}, f'n{{n}}.wild.test', 80)['connect'] for n in range(7)]"
    out = lab.guest(code, policy=text, extra=flag(upstreams, "http"), timeout=90)
    assert out.result[:6] == out.result[:1] * 6 and out.result[6] != out.result[0], out
    assert not any("n6.wild.test" in str(each) for each in asked(upstreams)), out
    assert any("n5.wild.test" in str(each) for each in asked(upstreams)), asked(upstreams)


def test_only_addresses_are_known_of_a_name(lab, upstreams):
    out = lab.guest("result = [dns('served.test', kind) for kind in ('MX', 'TXT', 'HTTPS', 'SRV')]", mode="public",
                    extra=flag(upstreams, "http"))
    assert all(answer["rcode"] == 0 and not answer["addresses"] for answer in out.result), out
    assert_no_question(lab, out)


@pytest.mark.refusal
def test_a_first_flight_is_judged_as_ever(lab, upstreams):
    out = lab.guest("result = tcp('served.test', 443, client_hello('evil.test'), recv=1)", allow=["served.test"],
                    extra=flag(upstreams, "http"))
    assert out.result["end"] == "ECONNRESET", out
    refused = out.of_type("flow.refuse")
    assert lab_module.attempts(refused) == 1 and refused[0]["reason"] == "sni-mismatch", out
    assert [entry["bytes"] for entry in lab.world.origin_log.since() if entry["event"] == "close"] in ([], [0]), out
    twin = lab.guest("result = tcp('served.test', 443, client_hello('served.test'), recv=1)", allow=["served.test"],
                     extra=flag(upstreams, "http"))
    assert twin.result.get("data"), twin


# ---- a proxy that fails, and one that lies ----------------------------------------------------------------------------

# name: (kind, what the record says of the proxy)
FAILING = {
    "status-403.test": ("http", "HTTP 403"), "status-407.test": ("http", "HTTP 407"), "status-502.test": ("http", "HTTP 502"),
    "status-302.test": ("http", "HTTP 302"), "status-999.test": ("http", "no answer that can be read"),
    "huge.test": ("http", "no answer that can be read"), "garbage.test": ("http", "no answer that can be read"),
    "binary.test": ("http", "no answer that can be read"), "switching.test": ("http", "no answer that can be read"),
    "close.test": ("http", "closed before the tunnel stood"), "half.test": ("http", "closed before the tunnel stood"),
    "reply-1.test": ("socks", "SOCKS 1"), "reply-2.test": ("socks", "SOCKS 2"), "reply-5.test": ("socks", "SOCKS 5"),
    "reply-8.test": ("socks", "SOCKS 8"), "reply-200.test": ("socks", "SOCKS 200"),
    "reserved.test": ("socks", "no answer that can be read"),
}
FAILING_SOCKS = {"garbage.test": "no answer that can be read", "half.test": "closed before the tunnel stood"}


SOCKS_SAYS = ("general", "ECONNREFUSED", "EHOSTUNREACH", "ETIMEDOUT", "ENETUNREACH")


def assert_failed(out, host, said):
    closed = out.of_type("flow.close", name=host)
    assert len(closed) == 1 and (closed[0]["reason"], closed[0]["error"]) == ("upstream-proxy", said), out
    assert not out.of_type("flow.refuse") and not out.of_type("dns.refuse"), out
    test_events.validate(out.events)


@pytest.mark.parametrize("host", FAILING)
@pytest.mark.parametrize("door", ["transparent", "connect", "socks5h"])
def test_a_failure_is_told_apart_from_a_refusal(lab, upstreams, host, door):
    kind, said = FAILING[host]
    out = lab.guest(f"result = [fetch({door!r}, {host!r}, 80), fetch({door!r}, 'served.test', 80)]",
                    allow=[host, "served.test"], extra=flag(upstreams, kind))
    failed, canary = out.result
    if door == "connect":
        assert (failed["connect"], failed["reason"]) == ("upstream-proxy", "upstream-proxy"), out
    else:
        assert failed["connect"] in SOCKS_SAYS, out
    assert canary["connect"] == "OK", out
    assert_failed(out, host, said)


@pytest.mark.parametrize("host", FAILING_SOCKS)
def test_a_socks_proxy_that_lies(lab, upstreams, host):
    out = lab.guest(f"result = fetch('connect', {host!r}, 80)", allow=[host], extra=flag(upstreams, "socks"))
    assert out.result["connect"] == "upstream-proxy", out
    assert_failed(out, host, FAILING_SOCKS[host])


@KINDS
def test_a_silent_proxy_is_given_up(lab, upstreams, kind):
    policy = "version = 1\nallow = [\"silent.test\"]\n[limits]\nconnect_timeout = \"2s\"\n"
    out = lab.guest("result = fetch('connect', 'silent.test', 80)", policy=policy, extra=flag(upstreams, kind))
    assert (out.result["connect"], out.result["reason"]) == ("upstream-proxy", "upstream-proxy"), out
    assert_failed(out, "silent.test", "silence")


@KINDS
def test_a_proxy_that_is_not_there(lab, upstreams, kind):
    url = ["--upstream-proxy", "http://127.0.0.1:9"] if kind == "http" else ["--upstream-socks", "socks5h://127.0.0.1:9"]
    out = lab.guest("result = fetch('connect', 'served.test', 80)", allow=["served.test"], extra=url)
    assert (out.result["connect"], out.result["reason"]) == ("upstream-proxy", "upstream-proxy"), out
    assert_failed(out, "served.test", "not reached: ECONNREFUSED")


# What follows the handshake in the same packet, or is split into single bytes, belongs to the tunnel.
TUNNELLED = {
    ("http", "eager.test"): "first bytes of the tunnel", ("http", "bodied.test"): "not a body, a tunnel",
    ("http", "interim.test"): "after interim answers", ("http", "dribble.test"): "slowly",
    ("socks", "eager.test"): "first bytes of the tunnel", ("socks", "named.test"): "after a name",
    ("socks", "dribble.test"): "slowly",
}


@pytest.mark.parametrize("kind,host", TUNNELLED)
def test_no_byte_of_the_tunnel_is_lost(lab, upstreams, kind, host):
    out = lab.guest(f"result = tcp({host!r}, 9999, recv=100)", allow=[host], extra=flag(upstreams, kind))
    assert out.result.get("data") == TUNNELLED[kind, host], out
    assert not out.of_type("flow.refuse"), out


# ---- credentials ------------------------------------------------------------------------------------------------------


def everything_about(out):
    return out.stdout + out.stderr + pathlib.Path(out.events_path).read_text()


@KINDS
@pytest.mark.parametrize("place", ["file", "env"])
def test_credentials_reach_the_proxy_and_nobody_else(lab, upstreams, kind, place):
    file = lab.file("user", USER + "\n")
    os.chown(file, lab.uid, lab.gid)
    os.chmod(file, 0o600)
    name = "proxy" if kind == "http" else "socks"
    where = f"file:{file}" if place == "file" else "env:PROXY_USER"
    receipt = str(lab.folder / "receipt.txt")
    lab.variables = {"PROXY_USER": USER}
    out = lab.guest("""
import os, pathlib
def readable(path):
    try:
        return pathlib.Path(path).read_bytes().decode("latin-1")
    except OSError as error:
        return ""
everything = [readable(f"/proc/{pid}/{what}") for pid in os.listdir("/proc") if pid.isdigit()
              for what in ("environ", "cmdline")]
result = [fetch('connect', 'served.test', 80)['connect'], "canary" + "-word" in "".join(everything), dict(os.environ)]
""", allow=["served.test"], extra=[*flag(upstreams, kind), f"--upstream-{name}-auth", where, "--receipt", receipt])
    assert out.result[:2] == ["OK", False], out
    assert upstreams.log.since()[0]["auth"] == USER, out
    assert "canary-word" not in everything_about(out), out
    assert "canary-word" not in pathlib.Path(receipt).read_text() + pathlib.Path(receipt + ".json").read_text()
    shown = lab.cli("policy", "show", "--allow", "served.test", *flag(upstreams, kind), f"--upstream-{name}-auth", where)
    assert where in shown.stdout and "canary-word" not in shown.stdout + shown.stderr, shown


def test_a_password_that_the_proxy_refuses(lab, upstreams):
    file = lab.file("user", "someone:wrong")
    out = lab.guest("result = fetch('connect', 'served.test', 80)['reason']", allow=["served.test"],
                    extra=[*flag(upstreams, "socks"), "--upstream-socks-auth", f"file:{file}"])
    assert out.result == "upstream-proxy", out
    assert_failed(out, "served.test", "SOCKS login refused")


# (flags, words of the error that must be there, words that must not)
BAD_FLAGS = [
    (["--upstream-proxy", "http://me:secret-word@127.0.0.1:1"], ["credentials", "env:NAME"], "secret-word"),
    (["--upstream-socks", "socks5h://me:secret-word@127.0.0.1:1"], ["credentials", "file:"], "secret-word"),
    (["--upstream-proxy", "me:secret-word"], ["http://"], "secret-word"),
    (["--upstream-proxy", "https://127.0.0.1:8443"], ["TLS", "http://"], None),
    (["--upstream-socks", "socks5://127.0.0.1:1080"], ["socks5h://"], None),
    (["--upstream-proxy", "http://proxy.corp:3128"], ["by its address"], None),
    (["--upstream-proxy", "http://127.0.0.1"], ["no port"], None),
    (["--upstream-proxy", "http://127.0.0.1:3128/path"], ["port"], None),
    (["--upstream-proxy-auth", "env:X"], ["not given"], None),
    (["--upstream-proxy", "http://127.0.0.1:1", "--upstream-proxy-auth", "me:secret-word"], ["file:"], "secret-word"),
    (["--upstream-proxy", "http://127.0.0.1:1", "--upstream-proxy-auth", "env:NOT_SET_AT_ALL"], ["NOT_SET_AT_ALL"], None),
    (["--upstream-proxy", "http://127.0.0.1:1", "--upstream-proxy-auth", "file:/nonexistent"], ["/nonexistent"], None),
]


@pytest.mark.elsewhere
@pytest.mark.parametrize("row", range(len(BAD_FLAGS)))
def test_what_cannot_be_used_starts_nothing(lab, upstreams, row):
    flags, words, never = BAD_FLAGS[row]
    out = lab.run("/bin/echo", "started", allow=["served.test"], extra=flags)
    assert out.code == 125 and "started" not in out.stdout, out
    assert all(word in out.stderr for word in words) and (never is None or never not in out.stderr), out


@pytest.mark.elsewhere
def test_credentials_within_reach_of_the_command_start_nothing(lab, upstreams):
    shared = lab.folder / "shared"
    shared.mkdir()
    os.chown(shared, lab.uid, lab.gid)
    (shared / "user").write_text(USER)
    (shared / "user").chmod(0o644)
    by_file = [*flag(upstreams, "http"), "--upstream-proxy-auth", f"file:{shared}/user"]
    out = lab.run("/bin/echo", "started", allow=["served.test"], extra=[*by_file, "-v", f"{shared}:/shared:ro"])
    assert out.code == 125 and "shared" in out.stderr and "canary-word" not in out.stderr, out
    assert lab.run("/bin/echo", "started", allow=["served.test"], extra=by_file).code == 0
    by_variable = [*flag(upstreams, "http"), "--upstream-proxy-auth", "env:CANARY_SECRET"]
    out = lab.run("/bin/echo", "started", allow=["served.test"], extra=[*by_variable, "-e", "CANARY_SECRET"])
    assert out.code == 125 and "CANARY_SECRET" in out.stderr and "canary-in" not in out.stderr, out


# ---- what is said about it --------------------------------------------------------------------------------------------


def test_show_explain_and_dry_run_say_it(lab, upstreams):
    flags = ["--allow", "served.test", "--allow", "udp://served.test:53", *flag(upstreams, "http")]
    assert f"upstream proxy: {upstreams.http}" in lab.cli("policy", "show", *flags).stdout
    assert json.loads(lab.cli("policy", "show", "-o", "json", *flags).stdout)["upstream_proxies"] == [upstreams.http]
    explained = lab.cli("policy", "explain", *flags, "served.test:443")
    assert "allowed" in explained.stdout and f"by name through the upstream proxy {upstreams.http}" in explained.stdout, explained
    datagram = lab.cli("policy", "explain", *flags, "udp://served.test:53")
    assert "refused, upstream-proxy" in datagram.stdout, datagram
    dry = lab.run("/bin/true", allow=["served.test"], extra=[*flag(upstreams, "http"), "--dry-run"], events=False)
    assert dry.code == 0 and f"upstream proxy: {upstreams.http}" in dry.stdout, dry


# ---- real ones --------------------------------------------------------------------------------------------------------


def test_a_real_proxy(lab, upstreams, real):
    """Its own log has the name, the name server heard nothing, the target saw nobody else."""
    name, kind, url, log = real
    extra = [f"--upstream-{'proxy' if kind == 'http' else 'socks'}", url]
    if name == "tinyproxy":
        file = lab.file("user", USER)
        extra += ["--upstream-proxy-auth", f"file:{file}"]
    log.mark()
    out = lab.guest("result = [fetch(door, 'served.test', 80) for door in ('transparent', 'connect', 'absolute', 'socks5h')] + "
                    "[tcp('other.served.test', 7, b'echo', recv=4), fetch('transparent', 'evil.test', 80)]",
                    allow=["served.test", "other.served.test"], extra=extra)
    *pages, echoed, refused = out.result
    assert all(page["connect"] == "OK" and f"at {w.ALLOWED4}" in page["data"] for page in pages), out
    assert echoed["data"] == "echo" and refused["connect"] in ("unresolved", "ECONNREFUSED"), out
    lab_module.wait_until(lambda: log.mentions("served.test") and log.mentions("other.served.test"), 10, "the access log")
    assert not log.mentions("evil.test"), log.since()
    assert_no_question(lab, out)
    assert peers(lab, 80) == {OUTGOING} and peers(lab, 7) == {OUTGOING}, out
    assert lab_module.attempts(out.of_type("dns.refuse", name="evil.test")) == 1, out


def test_a_real_proxy_that_refuses(lab, upstreams, real):
    """A name that it does not know, and (tinyproxy) a login that it was not told: its failure, not a refusal."""
    name, kind, url, _ = real
    extra = [f"--upstream-{'proxy' if kind == 'http' else 'socks'}", url]
    out = lab.guest("result = fetch('connect', 'nobody-knows.invalid-name.test', 80)",
                    allow=["nobody-knows.invalid-name.test"], extra=extra)
    if name == "mitmproxy" and out.result["connect"] == "OK":
        pytest.skip("mitmproxy answers 200 before it has connected")
    assert (out.result["connect"], out.result["reason"]) == ("upstream-proxy", "upstream-proxy"), out
    closed = out.of_type("flow.close")
    assert len(closed) == 1 and closed[0]["reason"] == "upstream-proxy", out
