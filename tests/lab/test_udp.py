"""UDP through the capture. attacks.md C08, J03, J06, J07, O02."""

import json

import pytest

import world as w
from checks import ALLOWED, EVIL, FAMILIES, TWINS, UNREACHABLE, assert_datagram_allowed, assert_datagram_refused, at
from lab import read_events, wait_until

# A guest that keeps what it needs of a connected socket at hand.
CONNECTED = """
def connected(address, port, timeout=2):
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    sock.connect((address, port))
    return sock

def answer(sock, data):
    try:
        sock.send(data)
        return sock.recv(65535).decode('latin-1')
    except OSError as error: return name_of(error)
"""


@TWINS
@FAMILIES
def test_address(lab, family, verdict):
    """C08: a datagram to an address that is allowed is answered; one that nobody named goes nowhere, and is told so."""
    dst = EVIL[family]
    allow = [f"udp://{at(dst, 5353)}"] if verdict == "allow" else ["allowed.test", at(dst, 5352)]
    out = lab.guest(f"result = udp({dst!r}, 5353)", allow=allow)
    if verdict == "allow":
        assert out.result == {"data": "ping", "error": None}, out
        closed = assert_datagram_allowed(lab, out, "udp", dst, 5353)
        assert closed["bytes_up"] == closed["bytes_down"] == 4, closed
    else:
        assert_datagram_refused(lab, out, out.result["error"], "udp", dst, 5353, ["no-rule"])


@TWINS
@FAMILIES
def test_name(lab, family, verdict):
    """A name opens its addresses on the port that the rule names, once somebody has asked for it."""
    dst, port = ALLOWED[family], 7 if verdict == "allow" else 5353
    out = lab.guest(f"resolve('allowed.test')\nresult = udp({dst!r}, {port})", allow=["udp://allowed.test:7"])
    if verdict == "allow":
        assert out.result["data"] == "ping", out
        assert_datagram_allowed(lab, out, "udp", dst, port)
        assert out.of_type("flow.open")[0]["name"] == "allowed.test", out
    else:
        assert_datagram_refused(lab, out, out.result["error"], "udp", dst, port, ["no-rule"])


@pytest.mark.parametrize("dst, port", [("255.255.255.255", 1900), ("224.0.0.251", 5353), ("ff02::fb", 5353), ("ff0e::fb", 5353),
                                       (w.METADATA4, 80), (w.METADATA6, 80), (w.LAN4, 7), (w.HOST_UP4, w.HOST_PORT)])
@pytest.mark.parametrize("how", ["one-name", "any"])
@pytest.mark.refusal
def test_floor(lab, dst, port, how):
    """C08, section 6: broadcast, multicast, metadata and neighbours are refused however wide the policy is."""
    options = {"allow": ["0.0.0.0/0", "::/0"]} if how == "any" else {"allow": ["allowed.test"]}
    code = f"""
sock = socket.socket(family_of({dst!r}), socket.SOCK_DGRAM); sock.settimeout(1)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
try:
    scope = (0, socket.if_nametoindex('weir0')) if {dst!r}.startswith('ff02') else ()
    sock.connect(({dst!r}, {port}, *scope)); sock.send(b'secret'); sock.recv(10); result = 'answered'
except OSError as error: result = name_of(error)
"""
    out = lab.guest(code, **options)
    told = ("EHOSTUNREACH", "EACCES") if dst in (w.METADATA4, w.METADATA6, w.LAN4, w.HOST_UP4) else (
        "TIMEOUT",)
    assert out.result in told, out
    assert lab.world.packets_to(dst) == 0, out
    assert len(out.refusals(dst=dst, port=port, proto="udp")) == 1, out
    assert not out.of_type("flow.open"), out


@TWINS
def test_host_service(lab, verdict):
    """host.weir.internal: the host's loopback, by its name and port only."""
    port = w.HOST_PORT if verdict == "allow" else w.HOST_PORT + 1
    code = f"result = udp(dns('host.weir.internal')['addresses'][0], {port})"
    out = lab.guest(code, allow=[f"udp://host.weir.internal:{w.HOST_PORT}"])
    if verdict == "allow":
        assert out.result["data"] == "ping", out
        assert out.of_type("flow.open", proto="udp", dst="127.0.0.1", name="host.weir.internal"), out
    else:
        assert out.result["error"] == "EHOSTUNREACH" and not lab.world.host_log.since(), out
        assert len(out.refusals(proto="udp", port=port)) == 1, out


@TWINS
def test_hidden_names(lab, verdict):
    """Policy section 4: where a name is denied, UDP 443 (QUIC hides the name) does not pass by class."""
    deny = ["tracker.test"] if verdict == "refuse" else []
    out = lab.guest(f"result = udp({w.EVIL4!r}, 443)", mode="public", deny=deny)
    if verdict == "allow":
        assert out.result["data"] == "ping", out
        assert_datagram_allowed(lab, out, "udp", w.EVIL4, 443)
    else:
        assert_datagram_refused(lab, out, out.result["error"], "udp", w.EVIL4, 443, ["protocol"])


@pytest.mark.parametrize("verdict", ["allow", pytest.param("refuse", marks=pytest.mark.elsewhere)])
def test_port_53(lab, verdict):
    """Port 53 of any address is the resolver's, but for an address that the policy names with this port."""
    allow = [f"udp://{at(w.OTHER_DNS4, 53)}"] if verdict == "allow" else ["0.0.0.0/0"]
    out = lab.guest(f"result = dns('evil.test', server={w.OTHER_DNS4!r})", allow=[*allow, "allowed.test"])
    assert bool(lab.world.packets_to(w.OTHER_DNS4, 53)) == (verdict == "allow"), out
    assert bool(out.of_type("flow.open", dst=w.OTHER_DNS4, port=53)) == (verdict == "allow"), out


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 9000, 65487, 65507])
@FAMILIES
def test_sizes(lab, family, size):
    """Any datagram that fits weir0's MTU arrives whole, the empty one too: the host's kernel fragments, not the guest's."""
    dst = ALLOWED[family]
    if family == 6 and size > 65487:
        pytest.skip("an IPv6 header more than the MTU of weir0: test_fragments")
    code = CONNECTED + f"""
data = bytes(range(256)) * 257
back = connected({dst!r}, 7)
back.send(data[:{size}])
result = back.recv(65535) == data[:{size}]
"""
    out = lab.guest(code, allow=[dst])
    assert out.result is True, out
    closed = assert_datagram_allowed(lab, out, "udp", dst, 7)
    assert closed["bytes_up"] == closed["bytes_down"] == size, closed


@pytest.mark.elsewhere
def test_fragments(lab):
    """J03: a datagram that the guest's kernel had to cut is refused, piece by piece; its whole twin passes."""
    code = CONNECTED + f"""
sock = connected({w.ALLOWED6!r}, 7, timeout=1)
try: sock.send(b'x' * 65500); sock.recv(65535); cut = 'answered'
except OSError as error: cut = name_of(error)
result = [cut, udp({w.ALLOWED6!r}, 7)]
"""
    out = lab.guest(code, allow=[w.ALLOWED6])
    assert out.result[0] in ("TIMEOUT", "EACCES"), out
    assert out.result[1]["data"] == "ping", out
    assert {event["reason"] for event in out.refusals(dst=w.ALLOWED6)} == {"protocol"}, out
    assert {entry["bytes"] for entry in lab.world.origin_log.since() if entry["event"] == "datagram"} == {4}


@FAMILIES
def test_closed_port(lab, family):
    """The peer's ICMP error is the program's, and no refusal of weir's."""
    dst = ALLOWED[family]
    out = lab.guest(f"result = udp({dst!r}, 4444)", allow=[dst])
    assert out.result["error"] == "ECONNREFUSED", out
    assert lab.world.packets_to(dst, 4444) > 0
    assert not out.refusals(), out
    assert out.of_type("flow.close")[0]["error"] == "ECONNREFUSED", out


@FAMILIES
def test_unreachable_host(lab, family):
    """An error that a program sees only if it asks for it (IP_RECVERR) is there for one that does."""
    dst = UNREACHABLE[family]
    code = CONNECTED + f"""
sock = connected({dst!r}, 7)
sock.setsockopt(*((socket.IPPROTO_IPV6, 25, 1) if {family} == 6 else (socket.IPPROTO_IP, 11, 1)))
result = answer(sock, b'x')
"""
    out = lab.guest(code, allow=[dst])
    assert out.result == "EHOSTUNREACH" and not out.refusals(), out


def test_an_error_takes_no_datagram_along(lab):
    """The kernel fails the next send for an earlier one's error: what the guest sends then goes out all the same."""
    code = CONNECTED + f"""
sock = connected({w.ALLOWED4!r}, 4444)
seen = [answer(sock, b'x') for _ in range(3)]
result = seen
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result == ["ECONNREFUSED"] * 3, out
    assert lab.world.packets_to(w.ALLOWED4, 4444) == 3, out


@FAMILIES
def test_answers_of_others(lab, family):
    """J06: what another address or port sends to the flow's socket never arrives; the asked peer's answer does."""
    dst = ALLOWED[family]
    code = CONNECTED + f"""
sock = socket.socket(family_of({dst!r}), socket.SOCK_DGRAM); sock.settimeout(1)
sock.sendto(b'hello', ({dst!r}, 15))
result = []
try:
    while True:
        data, peer = sock.recvfrom(100)
        result.append([data.decode(), peer[0], peer[1]])
except OSError: pass
"""
    out = lab.guest(code, allow=[dst])
    assert out.result == [["true", dst, 15]], out
    forged = [entry for entry in lab.world.origin_log.since() if entry["event"] == "forged"]
    assert forged and forged[0]["count"] == 2, forged


def test_one_socket_many_peers(lab):
    """An unconnected socket has a flow per peer, and each answer comes from whom it should."""
    code = CONNECTED + f"""
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.settimeout(2)
peers = [({w.ALLOWED4!r}, 7), ({w.EVIL4!r}, 7), ({w.ALLOWED4!r}, 5353)]
for number, peer in enumerate(peers): sock.sendto(str(number).encode(), peer)
seen = {{}}
for _ in peers:
    data, peer = sock.recvfrom(100)
    seen[data.decode()] = list(peer)
result = seen
"""
    out = lab.guest(code, allow=[w.ALLOWED4, w.EVIL4])
    assert out.result == {"0": [w.ALLOWED4, 7], "1": [w.EVIL4, 7], "2": [w.ALLOWED4, 5353]}, out
    assert len(out.of_type("flow.open")) == len(out.of_type("flow.close")) == 3, out


def test_idle_timeout(lab):
    """`udp_idle_timeout`: a flow without a datagram ends; the same socket's next datagram is a new flow."""
    code = CONNECTED + f"""
sock = connected({w.ALLOWED4!r}, 7)
print(answer(sock, b'one'))
input()
print(answer(sock, b'two'))
"""
    policy = f'version = 1\nmode = "allowlist"\nallow = ["{w.ALLOWED4}"]\n[limits]\nudp_idle_timeout = "500ms"\n'
    run = lab.start(guest=code, policy=policy)
    try:
        assert run.line() == "one"
        wait_until(lambda: [e for e in read_events(run.events_path) if e["type"] == "flow.close"], what="flow.close")
        run.say("go on")
        assert run.line() == "two"
        out = run.finish()
    finally:
        run.kill()
    assert len(out.of_type("flow.open")) == len(out.of_type("flow.close")) == 2, out
    assert 500 <= out.of_type("flow.close")[0]["ms"] < 5000, out


@pytest.mark.elsewhere
def test_max_flows(lab):
    """O02: UDP counts in `max_flows`; the third of two is refused with `limit`, and the two go on."""
    code = CONNECTED + f"""
held = [connected({w.ALLOWED4!r}, 7) for _ in range(2)]
before = [answer(sock, b'x') for sock in held]
third = udp({w.ALLOWED4!r}, 4444)
result = [before, third, [answer(sock, b'y') for sock in held]]
"""
    policy = f'version = 1\nmode = "allowlist"\nallow = ["{w.ALLOWED4}"]\n[limits]\nmax_flows = 2\n'
    out = lab.guest(code, policy=policy)
    assert out.result[0] == ["x", "x"] and out.result[2] == ["y", "y"], out
    assert_datagram_refused(lab, out, out.result[1]["error"], "udp", w.ALLOWED4, 4444, ["limit"])


@pytest.mark.elsewhere
def test_foreign_source_address(lab):
    """J07: a datagram from an address that is not the guest's own goes nowhere and is recorded."""
    code = f"""
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); sock.settimeout(0.5)
sock.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
sock.bind(({w.EVIL6!r}, 0)); sock.sendto(b'x', ({w.ALLOWED6!r}, 5353))
try: sock.recv(10); spoofed = 'answered'
except OSError as error: spoofed = name_of(error)
result = [spoofed, udp({w.ALLOWED6!r}, 7)['data']]
"""
    out = lab.guest(code, allow=[w.ALLOWED6])
    assert out.result == ["TIMEOUT", "ping"], out
    assert lab.world.packets_to(w.ALLOWED6, 5353) == 0 and lab.world.packets_to(w.EVIL6) == 0, out
    assert len(out.refusals(dst=w.ALLOWED6, port=5353, reason="protocol")) == 1, out


@pytest.mark.parametrize("flood", ["one flow", "new flows", "refused"])
def test_flood_beside_tcp(lab, flood):
    """O02: a guest that sends datagrams as fast as it can does not silence its own TCP connection, during or after."""
    to = {"one flow": f"({w.ALLOWED4!r}, 9)", "new flows": f"({w.ALLOWED4!r}, 20000 + n % 40000)",
          "refused": f"({w.EVIL4!r}, 20000 + n % 40000)"}[flood]
    code = f"""
canary = socket.create_connection(({w.ALLOWED4!r}, 7)); canary.settimeout(5)
def beat():
    begin = time.monotonic(); canary.sendall(b'beat'); assert canary.recv(4) == b'beat'
    return time.monotonic() - begin
import threading
stop = False
def send():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); n = 0
    while not stop:
        n += 1
        try: sock.sendto(b'flood', {to})
        except OSError: pass
thread = threading.Thread(target=send); beat(); thread.start()
end = time.monotonic() + 2
beats = []
while time.monotonic() < end: beats.append(beat())
stop = True; thread.join()
result = [len(beats), max(beats), beat() < 2]
"""
    out = lab.guest(code, allow=[w.ALLOWED4], timeout=60)
    count, slowest, after = out.result
    assert count > 20 and slowest < 1.5 and after, out.result


# ---- real users ------------------------------------------------------------------------------------------------------


def test_ntp(lab):
    """A real client asks the lab's clock by name."""
    out = lab.run("/usr/bin/ntpdig", "-t", "3", "allowed.test", allow=["udp://allowed.test:123"])
    said = out.stdout + out.stderr
    assert out.code == 0 and (w.ALLOWED4 in said or w.ALLOWED6 in said), out
    assert out.of_type("flow.open", proto="udp", port=123, name="allowed.test"), out


def test_iperf3(lab):
    """A steady stream both ways; what it measures is its own business, what arrives is ours."""
    server = lab.world.inet.start(["iperf3", "-s", "-1", "--forceflush", "-B", w.ALLOWED4], ready="-----")
    out = lab.run("iperf3", "-u", "-c", w.ALLOWED4, "-b", "20M", "-l", "1400", "-t", "1", "-J", allow=[w.ALLOWED4])
    server.wait(timeout=20)
    assert out.code == 0, out
    total = json.loads(out.stdout)["end"]["sum"]
    assert total["packets"] > 1000 and total["lost_percent"] < 5, total
    assert out.of_type("flow.close", proto="udp")[0]["bytes_up"] >= total["bytes"] * 0.95, out


def test_ping_pong(lab):
    """As WireGuard talks: one socket for ever, silence in between, answers at any time, none lost at this pace."""
    code = CONNECTED + f"""
sock = connected({w.ALLOWED4!r}, 7)
result = [answer(sock, bytes([n % 256]) * (32 + n)) == (bytes([n % 256]) * (32 + n)).decode('latin-1')
          for n in range(1000)].count(True)
"""
    out = lab.guest(code, allow=[f"udp://{w.ALLOWED4}:7"])
    assert out.result == 1000, out
    closed = assert_datagram_allowed(lab, out, "udp", w.ALLOWED4, 7)
    assert closed["bytes_up"] == closed["bytes_down"] == sum(32 + n for n in range(1000)), closed
