"""Address classes and the two floors. attacks.md C01-C10, L01-L04; ip-classes.md."""

import pytest

import world as w
from checks import FAMILIES, LAN, PRIVATE, REFUSE, TWINS, assert_allowed, assert_refused

HARD_FLOOR = [w.METADATA4, w.METADATA6, w.METADATA_ALT4, w.WIRESERVER4, "169.254.170.2", "fd00:ec2::23", "fd20:ce::254"]
NEVER = ["0.1.2.3", "192.0.0.8", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.88.99.1", "240.0.0.1",
         "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:a9fe:a9fe::1", "2001:0:1::1", "2001:db8::1", "100::1", "3fff::1", "5f00::1",
         "::a9fe:a9fe", "4000::1", "fec0::1", "2606:2800:220:0:200:5efe:a9fe:a9fe"]
# As wide as an allowlist gets: what is refused here is refused by the floor, not for want of a rule.
ANYTHING = {"allow": ["0.0.0.0/0", "::/0"]}
SOFT = [w.PRIVATE4, w.PRIVATE6, "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", w.LAN4, w.LAN6, w.LAN_GLOBAL6]


@pytest.mark.refusal
@pytest.mark.parametrize("mode", ["allowlist", "any", "open"])
@pytest.mark.parametrize("dst", HARD_FLOOR)
def test_hard_floor(lab, dst, mode):
    """Metadata is refused in every mode, `open` included, and when it is allowed by name, CIDR or class."""
    options = {"allowlist": {"allow": ["169.254.0.0/16", "fd00::/8", "100.64.0.0/10", "@link-local", "@private", "@any"]}, "any": ANYTHING,
               "open": {"mode": "open"}}[mode]
    out = lab.guest(f"result = tcp({dst!r}, 80, timeout=3)", **options)
    assert_refused(lab, out, out.result, dst, 80, ["floor"])


@pytest.mark.parametrize("target", ["@metadata", "@multicast", "@sandboxes"])
def test_hard_floor_is_not_opened_by_class(lab, target):
    out = lab.cli("run", "--allow", target, "--", "echo", "started")
    assert out.code == 125 and "started" not in out.stdout and "--insist" in out.stderr, out


def test_hard_floor_is_lifted_by_name_only(lab):
    """--insist floor=ADDRESS is the only way, and it is printed."""
    out = lab.guest(f"result = http_get({w.METADATA4!r}, 80, 'x')", allow=[w.METADATA4],
                    extra=["--insist", f"floor={w.METADATA4}"])
    assert "200 OK" in out.result["data"], out
    assert w.METADATA4 in out.stderr, "what was insisted on is printed at start"
    out = lab.guest(f"result = tcp({w.METADATA_ALT4!r}, 80, timeout=3)", allow=[w.METADATA4],
                    extra=["--insist", f"floor={w.METADATA4}"])
    assert out.result["connect"] == "ECONNREFUSED", out


@pytest.mark.refusal
@pytest.mark.parametrize("dst", NEVER)
def test_public_means_public(lab, dst):
    """C03, C04, C08: embeddings, documentation, reserved space: not `@public`."""
    out = lab.guest(f"result = tcp({dst!r}, 80, timeout=3)", allow=["@public"])
    assert_refused(lab, out, out.result, dst, 80, ["floor", "no-rule"], errors=("ECONNREFUSED", "ENETUNREACH", "EINVAL"))


@pytest.mark.refusal
@pytest.mark.parametrize("dst", SOFT)
@pytest.mark.parametrize("how", ["any", "wide-cidr"])
def test_soft_floor(lab, dst, how):
    options = {"allow": ["@any"]} if how == "any" else ANYTHING
    out = lab.guest(f"result = tcp({dst!r}, 80, timeout=3)", **options)
    assert_refused(lab, out, out.result, dst, 80, ["floor", "no-rule"] if how == "any" else ["floor"])


@TWINS
@FAMILIES
def test_private_needs_its_own_entry(lab, family, verdict):
    dst = PRIVATE[family]
    allow = [dst] if verdict == "allow" else ["0.0.0.0/0", "::/0"]
    out = lab.guest(f"result = http_get({dst!r}, 80, 'x')", allow=allow)
    if verdict == "allow":
        assert_allowed(lab, out, out.result, dst, 80)
    else:
        assert_refused(lab, out, out.result, dst, 80, ["floor"])


@pytest.mark.parametrize("target", ["10.20.0.0/16", "@private", "10.20.30.40:80"])
def test_ways_to_open_private(lab, target):
    out = lab.guest(f"result = http_get({w.PRIVATE4!r}, 80, 'x')", allow=[target])
    assert_allowed(lab, out, out.result, w.PRIVATE4, 80)


@TWINS
@FAMILIES
def test_neighbour(lab, family, verdict):
    """@lan is looked up live: the host's on-link prefixes."""
    dst = LAN[family]
    options = {"allow": ["@lan"]} if verdict == "allow" else ANYTHING
    out = lab.guest(f"result = http_get({dst!r}, 80, 'x')", **options)
    if verdict == "allow":
        assert_allowed(lab, out, out.result, dst, 80)
    else:
        assert_refused(lab, out, out.result, dst, 80, ["floor"])


@TWINS
def test_neighbours_global_address(lab, verdict):
    """policy.md section 10: everything public, a neighbour's global IPv6 address: floor (@lan)."""
    options = {"allow": [w.LAN_GLOBAL6]} if verdict == "allow" else ANYTHING
    out = lab.guest(f"result = http_get({w.LAN_GLOBAL6!r}, 80, 'x')", **options)
    if verdict == "allow":
        assert_allowed(lab, out, out.result, w.LAN_GLOBAL6, 80)
    else:
        assert_refused(lab, out, out.result, w.LAN_GLOBAL6, 80, ["floor"])


@pytest.mark.refusal
@pytest.mark.parametrize("dst", [w.HOST_UP4, w.HOST_UP6, w.HOST_LAN4, w.HOST_LAN6, "2606:2800:221::1"])
@pytest.mark.parametrize("how", ["open-cidr", "any"])
def test_hosts_own_addresses(lab, dst, how):
    """C07: whatever address the host has, its services are not reached."""
    options = {"allow": ["@any"]} if how == "any" else ANYTHING
    out = lab.guest(f"result = tcp({dst!r}, {w.HOST_PORT}, timeout=3)", **options)
    assert_refused(lab, out, out.result, dst, w.HOST_PORT, ["floor", "no-rule"] if how == "any" else ["floor"])
    assert not [entry for entry in lab.world.host_log.since()]


@TWINS
def test_address_added_to_the_host_after_start(lab, verdict):
    """C07: live, not a list made at start."""
    fresh = "93.184.219.1"
    code = f"print('up', flush=True); input()\nprint(json.dumps(tcp({fresh!r}, {w.HOST_PORT}, timeout=3)), flush=True)"
    running = lab.start(guest=code, **ANYTHING)
    try:
        assert running.line() == "up"
        if verdict == "refuse":
            lab.world.host.sh(f"ip addr add {fresh}/32 dev lo")
        running.say("go")
        out = running.finish()
    finally:
        lab.world.host.run(["ip", "addr", "del", f"{fresh}/32", "dev", "lo"])
        running.kill()
    if verdict == "refuse":
        assert_refused(lab, out, out.result, fresh, w.HOST_PORT, ["floor"])
    else:
        assert lab.world.packets_to(fresh) > 0, out


@pytest.mark.refusal
@pytest.mark.parametrize("dst", ["10.0.2.2", "10.0.2.3", "192.168.127.1", "169.254.1.2", "172.17.0.1"])
def test_no_magic_host_address(lab, dst):
    """L01: no address of user-mode networks leads to the host."""
    out = lab.guest(f"result = tcp({dst!r}, {w.LOOPBACK_PORT}, timeout=3)", **ANYTHING)
    assert_refused(lab, out, out.result, dst, w.LOOPBACK_PORT, ["floor"])


def test_gateway_address_has_no_host_behind_it(lab):
    """L01: the gateway's own address answers nothing but what weir puts there."""
    code = f"""
gateway = nameserver()
result = {{p: tcp(gateway, p, send='GET / HTTP/1.0\\r\\n\\r\\n', recv=100, timeout=2)['data']
          for p in (22, 80, {w.HOST_PORT}, {w.LOOPBACK_PORT})}}
"""
    out = lab.guest(code, **ANYTHING)
    assert not any("weir lab" in data for data in out.result.values()), out
    assert not lab.world.host_log.since()


@TWINS
def test_open_reaches_private_and_host(lab, verdict):
    """`open` is for code that is trusted with the network: private ranges and the host, but `deny` holds."""
    deny = ["@private"] if verdict == "refuse" else []
    out = lab.guest(f"result = http_get({w.PRIVATE4!r}, 80, 'x')", mode="open", deny=deny)
    if verdict == "allow":
        assert_allowed(lab, out, out.result, w.PRIVATE4, 80)
    else:
        assert_refused(lab, out, out.result, w.PRIVATE4, 80, ["denied-by-rule"])


def test_host_alias(lab):
    """host.weir.internal: one fixed address, mapped to the host's loopback, if allowed with its port."""
    code = f"""
address = dns('host.weir.internal')['addresses']
result = [http_get(address[0], {w.LOOPBACK_PORT}, 'host.weir.internal') if address else None]
"""
    out = lab.guest(code, allow=[f"host.weir.internal:{w.LOOPBACK_PORT}"])
    assert out.result[0] and "200 OK" in out.result[0]["data"], out
    out = lab.guest(code, allow=["allowed.test"])
    assert not out.result[0] or out.result[0]["connect"] != "OK", out


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "93.184.216.066", "1.1", "::ffff:1.2.3",
                                      "fe80::1%eth0", "[::1", "::1]", "12345::", "1::2::3", "93.184.216.10/33", "::/129"])
def test_spellings_of_addresses(lab, spelling):
    """C01, C10: strict text only; the message names the column."""
    out = lab.cli("policy", "explain", "--allow", spelling, "allowed.test:443")
    assert out.code == 125 or out.code == 2, out
    assert spelling[:4].strip("[]") in out.stderr or "column" in out.stderr, out


@pytest.mark.parametrize("rule, dst, allowed", [
    ("93.184.216.66/32", w.EVIL4, True), ("93.184.216.66/31", "93.184.216.67", True),
    ("93.184.216.66/31", "93.184.216.68", False), ("93.184.216.128/25", "93.184.216.255", True),
    ("93.184.216.0/25", "93.184.216.128", False), ("::ffff:93.184.216.66", w.EVIL4, True),
    ("2606:2800:220::/127", "2606:2800:220::1", True), ("2606:2800:220::/127", "2606:2800:220::2", False),
    ("0.0.0.0/0", w.EVIL4, True), ("0.0.0.0/0", w.EVIL6, False), ("::/0", w.EVIL4, False)])
def test_cidr_edges(lab, rule, dst, allowed):
    """C09: the edges of ranges, and no leak from one family to the other."""
    out = lab.guest(f"result = tcp({dst!r}, 80)", allow=[rule])
    assert out.result["connect"] == ("OK" if allowed else "ECONNREFUSED"), out
    assert bool(lab.world.packets_to(dst)) == allowed


@pytest.mark.parametrize("verdict", [REFUSE])
def test_mapped_form_is_judged_as_ipv4(lab, verdict):
    """C03: a guest that dials ::ffff:169.254.169.254 dials IPv4."""
    code = f"""
sock = socket.socket(socket.AF_INET6); sock.settimeout(3)
try: sock.connect(('::ffff:{w.METADATA4}', 80)); result = {{'connect': 'OK'}}
except OSError as error: result = {{'connect': name_of(error)}}
"""
    out = lab.guest(code, **ANYTHING)
    assert_refused(lab, out, out.result, w.METADATA4, 80, ["floor"])



@pytest.fixture
def crowded(lab):
    """A host with a network of its own where sandboxes have their addresses."""
    route = f"10.254.7.0/24 via {w.INET_UP4}"
    lab.world.host.sh(f"ip route add {route}")
    yield "10.254.7.9"
    lab.world.host.sh(f"ip route del {route}")


@pytest.mark.refusal
def test_a_network_of_the_host_among_weirs_own_addresses(lab, crowded):
    """Nobody can say which of the two is meant: refused, whatever the policy says."""
    out = lab.guest(f"result = tcp({crowded!r}, 80, timeout=3)", allow=[crowded])
    assert_refused(lab, out, out.result, crowded, 80, ["floor"])


def test_a_subnet_that_the_host_does_not_use(lab, crowded):
    out = lab.guest(f"result = http_get({crowded!r}, 80, 'x')", allow=[crowded], extra=["--subnet", "10.253.0.0/16"])
    assert "200 OK" in out.result["data"], out
    out = lab.run("cat", "/etc/resolv.conf", allow=[crowded], extra=["--subnet", "10.253.0.0/16"])
    assert out.stdout == "nameserver 10.253.0.1\n", out


@pytest.mark.parametrize("text", ["10.253.0.0/24", "8.8.0.0/16", "10.253.0.1/16", "fd00::/16", "x"])
def test_a_subnet_that_is_none(lab, text):
    out = lab.run("echo", "started", allow=["allowed.test"], extra=["--subnet", text])
    assert out.code == 125 and not out.stdout and text in out.stderr and "10.253.0.0/16" in out.stderr, out
