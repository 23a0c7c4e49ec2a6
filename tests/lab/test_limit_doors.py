"""Rates delay, counts and quotas refuse, each hit is one event (policy.md section 7): through each of the four doors, by
datagrams, and at published ports. attacks.md O02-O05."""


import socket

import pytest

import world as w
from lab import attempts, wait_until
from test_entries import EVERY_DOOR
from test_network_limits import limit_events, policy
from test_publish import CLIENT, on_host, start  # noqa: F401 (a fixture)

VIA = {"transparent": "tcp", "connect": "http", "absolute": "http", "socks5h": "socks"}

# `begin` opens a connection through a door and sends a request; `answer` is what came: status and body, or the error.
HTTP = """
def begin(door, host, port, method="GET", path="/", size=0, timeout=20):
    if door == "absolute":
        sock, connect, reason = socket.create_connection((GATEWAY, HTTP_PROXY), timeout), "OK", None
        target = f"http://{authority(host, port)}{path}"
    else:
        (sock, connect, reason), target = TUNNELS[door](host, port, timeout), path
    if connect != "OK": return None, [connect, reason]
    head = f"{method} {target} HTTP/1.1\\r\\nHost: {authority(host, port)}\\r\\nContent-Length: {size}\\r\\nConnection: close\\r\\n\\r\\n"
    try:
        sock.sendall(head.encode())
        for done in range(0, size, 65536): sock.sendall(b"p" * min(65536, size - done))
    except OSError as error:
        return None, [name_of(error), None]
    return sock, None

def answer(begun):
    sock, error = begun
    if sock is None: return error
    data = b""
    try:
        while part := sock.recv(65536): data += part
    except OSError as error: return [name_of(error), None]
    head, _, body = data.partition(b"\\r\\n\\r\\n")
    status, reason = status_of(head.decode("latin-1"))
    return [status, len(body) if status == "OK" and len(body) > 99 else body.decode("latin-1").strip() if status == "OK" else reason]
"""


def one_refusal(out, door, port, limit, reason):
    found = out.refusals(dst=w.ALLOWED4, port=port)
    assert attempts(found) == 1 and found[0]["reason"] == reason and found[0]["via"] == VIA[door], out
    assert [hit["limit"] for hit in found[0]["limits"]] == [limit], out


def refused(door):
    """What the program sees of a connection that a limit refuses."""
    return {"transparent": "ECONNREFUSED", "socks5h": "general"}.get(door, "overload")


# ---- quotas ----------------------------------------------------------------------------------------------------------


@EVERY_DOOR
@pytest.mark.elsewhere
@pytest.mark.parametrize("limit", ["egress_bytes", "egress_bytes_total"])
@pytest.mark.parametrize("size", [900_000, pytest.param(1_200_000, marks=pytest.mark.refusal)])
def test_egress(lab, door, size, limit):
    """A body that fits arrives whole; one that does not is cut where the quota ends, told, and nothing follows it."""
    code = HTTP + f"""
first = answer(begin({door!r}, {w.ALLOWED4!r}, 80, "POST", size={size}))
result = [first, answer(begin({door!r}, {w.ALLOWED4!r}, 8080)) if {size} > 1_000_000 else None]
"""
    out = lab.guest(code, policy=policy({limit: 1_000_000}))
    closed = out.of_type("flow.close", port=80)
    assert len(closed) == 1 and closed[0]["via"] == VIA[door], out
    if size == 900_000:
        assert out.result[0] == ["OK", "900000"] and closed[0]["bytes_up"] > size and "error" not in closed[0], out
        assert not out.of_type("limit") and not out.refusals(), out
        return
    first, again = out.result
    assert first[0] in ("ECONNRESET", "EPIPE") or (door == "absolute" and first == ["overload", "quota"]), out
    assert closed[0]["error"] == "EDQUOT" and closed[0]["bytes_up"] <= 1_000_000, out
    arrived = [line["body"] for line in lab.world.origin_log.since() if line.get("method") == "POST"]
    assert sum(arrived) <= 1_000_000, arrived
    hits = limit_events(out, limit)
    assert attempts(hits) == 1 and hits[0]["via"] == VIA[door] and hits[0]["dst"] == w.ALLOWED4, out
    assert again[0] == refused(door) and lab.world.packets_to(w.ALLOWED4, 8080) == 0, out
    one_refusal(out, door, 8080, limit, "quota")


@EVERY_DOOR
@pytest.mark.elsewhere
@pytest.mark.parametrize("size", [900_000, pytest.param(1_200_000, marks=pytest.mark.refusal)])
def test_ingress(lab, door, size):
    """An answer beyond the quota ends with a reset, never with an end that looks whole."""
    code = HTTP + f"result = answer(begin({door!r}, {w.ALLOWED4!r}, 80, path='/bytes/{size}'))"
    out = lab.guest(code, policy=policy({"ingress_bytes": 1_000_000}))
    closed = out.of_type("flow.close", port=80)[0]
    if size == 900_000:
        assert out.result == ["OK", size] and not out.of_type("limit"), out
        return
    assert out.result == ["ECONNRESET", None] and closed["bytes_down"] <= 1_000_000 and closed["error"] == "EDQUOT", out
    hits = limit_events(out, "ingress_bytes")
    assert attempts(hits) == 1 and hits[0]["via"] == VIA[door], out


@pytest.mark.parametrize("door", ["connect", "socks5h"])
@pytest.mark.parametrize("size", [900, pytest.param(1100, marks=pytest.mark.elsewhere)])
def test_what_is_said_before_the_tunnel_stands_counts(lab, door, size):
    """Bytes behind the request of a tunnel go up with it: they are not free."""
    first = (f"b'CONNECT {w.ALLOWED4}:12 HTTP/1.1\\r\\nHost: {w.ALLOWED4}:12\\r\\n\\r\\n'" if door == "connect" else
             f"b'\\x05\\x01\\x00\\x05\\x01\\x00\\x01' + socket.inet_aton({w.ALLOWED4!r}) + b'\\x00\\x0c'")
    code = f"""
sock = socket.create_connection((GATEWAY, {"HTTP_PROXY" if door == "connect" else "SOCKS_PROXY"}), 10)
data = b''
try:
    sock.sendall({first} + b'e' * {size}); sock.shutdown(socket.SHUT_WR)
    while part := sock.recv(4096): data += part
    result = data[-4:].decode()
except OSError as error: result = name_of(error)
"""
    out = lab.guest(code, policy=policy({"egress_bytes": 1000}))
    closed = out.of_type("flow.close", port=12)[0]
    if size == 900:
        assert out.result == "900\n" and closed["bytes_up"] == 900 and not out.of_type("limit"), out
        return
    # ENOTCONN: the reset was there before the guest's own end of the stream.
    assert out.result in ("ECONNRESET", "ENOTCONN"), out
    assert closed["bytes_up"] <= 1000 and closed["error"] == "EDQUOT", out
    assert attempts(limit_events(out, "egress_bytes")) == 1, out


@pytest.mark.elsewhere
@pytest.mark.parametrize("requests", [5, pytest.param(30, marks=pytest.mark.refusal)])
def test_requests_on_one_connection(lab, requests):
    """Absolute form, one connection kept to the origin: heads are bytes too, and requests add up."""
    code = f"""
sock = socket.create_connection((GATEWAY, HTTP_PROXY), 10)
said = []
for n in range({requests}):
    sock.sendall(b'GET http://{w.ALLOWED4}/ HTTP/1.1\\r\\nHost: {w.ALLOWED4}\\r\\nX-Pad: ' + b'x' * 400 + b'\\r\\n\\r\\n')
    head = read_head(sock)
    said.append(status_of(head))
    if said[-1][0] != 'OK': break
    read_exactly(sock, int(head.lower().split('content-length: ')[1].split()[0]))
result = said
"""
    out = lab.guest(code, policy=policy({"egress_bytes": 5000}))
    closed = out.of_type("flow.close", port=80)
    assert len(closed) == 1, out
    if requests == 5:
        assert out.result == [["OK", None]] * 5 and "error" not in closed[0], out
        return
    assert out.result[-1] == ["overload", "quota"] and len(out.result) < 13, out
    assert closed[0]["bytes_up"] <= 5000 and closed[0]["error"] == "EDQUOT", out
    assert attempts(limit_events(out, "egress_bytes")) == 1, out


# ---- rates: time is the subject --------------------------------------------------------------------------------------


@EVERY_DOOR
@pytest.mark.parametrize("way", ["egress_rate", "ingress_rate"])
@pytest.mark.parametrize("rate", [None, "16Mbit/s"])
def test_rate(lab, door, way, rate):
    """4 MB at 16 Mbit/s take two seconds, within a tenth, and arrive whole; without the rate they do not. Over five seconds:
    test_network_limits."""
    what = '"POST", size=4_000_000' if way == "egress_rate" else 'path="/bytes/4000000"'
    code = HTTP + f"""
start = time.monotonic()
said = answer(begin({door!r}, {w.ALLOWED4!r}, 80, {what}))
result = [said, time.monotonic() - start]
"""
    out = lab.guest(code, policy=policy({way: rate} if rate else {}))
    said, seconds = out.result
    assert said == ["OK", "4000000" if way == "egress_rate" else 4_000_000], out
    if rate is None:
        assert seconds < 1.5 and not out.of_type("limit"), out
        return
    assert 1.8 <= seconds <= 2.2, seconds
    assert attempts(limit_events(out, way)) == 1, out


@EVERY_DOOR
@pytest.mark.parametrize("rate", [None, "16Mbit/s"])
def test_rate_of_what_is_judged(lab, door, rate):
    """Where a name decides every request is read before it goes on: that is no way around a rate."""
    code = HTTP + f"""
start = time.monotonic()
said = answer(begin({door!r}, "allowed.test", 80, "POST", size=4_000_000))
result = [said, time.monotonic() - start]
"""
    out = lab.guest(code, policy=policy({"egress_rate": rate} if rate else {}, ["allowed.test"]))
    said, seconds = out.result
    assert said == ["OK", "4000000"], out
    assert (1.8 <= seconds <= 2.2) if rate else seconds < 1.5, seconds
    assert attempts(limit_events(out, "egress_rate")) == (1 if rate else 0), out


@pytest.mark.parametrize("door", ["connect", "socks5h"])
@pytest.mark.parametrize("target", [w.ALLOWED4, "allowed.test"])
@pytest.mark.parametrize("rate", [None, "4Mbit/s"])
def test_rate_of_what_is_said_before_tunnels_stand(lab, door, target, rate):
    """Forty tunnels that begin with 60 kB each: 2.4 MB at 0.5 MB/s, and they all arrive."""
    where = b"\x01" + socket.inet_aton(target) if target == w.ALLOWED4 else bytes([3, len(target)]) + target.encode()
    first = (f"CONNECT {target}:12 HTTP/1.1\r\nHost: {target}:12\r\n\r\n".encode() if door == "connect" else
             b"\x05\x01\x00\x05\x01\x00" + where + b"\x00\x0c")
    code = f"""
start, socks = time.monotonic(), []
for _ in range(40):
    sock = socket.create_connection((GATEWAY, {"HTTP_PROXY" if door == "connect" else "SOCKS_PROXY"}), 20)
    sock.sendall({first!r} + b'e' * 60_000); sock.shutdown(socket.SHUT_WR); socks.append(sock)
result = []
for sock in socks:
    data = b''
    while part := sock.recv(4096): data += part
    result.append(data[-6:].decode())
result = [set(result) == {{"60000\\n"}}, time.monotonic() - start]
"""
    out = lab.guest(code, policy=policy({"egress_rate": rate} if rate else {}, [f"{target}:12"]))
    whole, seconds = out.result
    assert whole, out
    assert (4.3 <= seconds <= 5.3) if rate else seconds < 2.5, seconds


@EVERY_DOOR
@pytest.mark.parametrize("rate", [1000, 2])
def test_connects_per_second(lab, door, rate):
    """Two a second: four at once, and each of the four that follow waits its half second. None is refused."""
    code = HTTP + f"""
start = time.monotonic()
said = [answer(begin({door!r}, {w.ALLOWED4!r}, 80))[0] for _ in range(8)]
result = [said, time.monotonic() - start]
"""
    out = lab.guest(code, policy=policy({"connects_per_second": rate}))
    said, seconds = out.result
    assert said == ["OK"] * 8 and not out.refusals(), out
    if rate == 1000:
        assert seconds < 1 and not out.of_type("limit"), out
        return
    assert 1.8 <= seconds <= 2.6, seconds
    hits = limit_events(out, "connects_per_second")
    assert attempts(hits) in (4, 5) and {event["via"] for event in hits} == {VIA[door]}, out


# {count} datagrams of 1000 bytes as fast as the pace allows, over {seconds} seconds; how many came back.
DATAGRAMS = """
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setblocking(False); s.connect(({to!r}, 7))
start, sent, back = time.monotonic(), 0, 0
while (now := time.monotonic() - start) < {seconds} + 0.5:
    if now < {seconds} and sent < now * {pace}:
        s.send(b'd' * 1000); sent += 1
        continue
    try: back += len(s.recv(2048)) == 1000
    except BlockingIOError: time.sleep(0.0005)
result = [sent, back]
"""


@pytest.mark.parametrize("rate", [None, "4Mbit/s"])
def test_rate_of_datagrams(lab, rate):
    """1000 a second are offered for five seconds, 500 a second fit: the others are lost, and that is one event."""
    out = lab.guest(DATAGRAMS.format(to=w.ALLOWED4, seconds=5, pace=1000),
                    policy=policy({"egress_rate": rate} if rate else {}))
    sent, back = out.result
    arrived = lab.world.packets_to(w.ALLOWED4, 7)
    assert sent >= 4900, out
    if rate is None:
        assert back >= sent * 0.98 and not out.of_type("limit"), (sent, arrived)
        return
    # The kernel may have counted several that travelled together as one packet.
    assert 2250 <= back <= 2750 and arrived <= back, (sent, back, arrived)
    assert attempts(limit_events(out, "egress_rate")) == 1, out


# ---- counts ----------------------------------------------------------------------------------------------------------


@EVERY_DOOR
@pytest.mark.elsewhere
@pytest.mark.parametrize("flows", [3, pytest.param(2, marks=pytest.mark.refusal)])
def test_max_flows(lab, door, flows):
    """Two flows stand; the third is one too many for two, and not for three. One that ended is none."""
    code = HTTP + f"""
held = [begin({door!r}, {w.ALLOWED4!r}, 80, path="/slow/1000")[0] for _ in range(2)]
for sock in held: read_head(sock)
third = answer(begin({door!r}, {w.ALLOWED4!r}, 8080))
for sock in held: sock.close()
end = time.monotonic() + 5
while (after := answer(begin({door!r}, {w.ALLOWED4!r}, 80))[0]) != "OK" and time.monotonic() < end:
    time.sleep(0.05)
result = [third[0], after]
"""
    out = lab.guest(code, policy=policy({"max_flows": flows}))
    third, after = out.result
    assert after == "OK", out
    if flows == 3:
        assert third == "OK" and not out.refusals(port=8080), out
        return
    assert third == refused(door) and lab.world.packets_to(w.ALLOWED4, 8080) == 0, out
    one_refusal(out, door, 8080, "max_flows", "limit")


@pytest.mark.elsewhere
@pytest.mark.parametrize("flows", [3, pytest.param(2, marks=pytest.mark.refusal)])
def test_datagrams_count_as_flows(lab, flows):
    code = f"""
def ask(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(({w.ALLOWED4!r}, port)); s.settimeout(2)
    held.append(s)
    try: s.send(b'x'); return s.recv(10).decode()
    except OSError as error: return name_of(error)
held = []
result = [ask(7), ask(7), ask(8)]
"""
    out = lab.guest(code, policy=policy({"max_flows": flows}))
    assert out.result[:2] == ["x", "x"], out
    if flows == 3:
        assert not out.refusals() and lab.world.packets_to(w.ALLOWED4, 8) > 0, out
        return
    assert out.result[2] == "EHOSTUNREACH" and lab.world.packets_to(w.ALLOWED4, 8) == 0, out
    found = out.refusals(dst=w.ALLOWED4, port=8)
    assert attempts(found) == 1 and found[0]["limits"][0]["limit"] == "max_flows" and found[0]["via"] == "udp", out


@pytest.mark.elsewhere
@pytest.mark.parametrize("door", ["connect", "socks5h", "absolute"])
@pytest.mark.parametrize("count", [3, pytest.param(2, marks=pytest.mark.refusal)])
def test_half_open(lab, door, count):
    """What proxies dial counts as half open too. SILENT4 never answers."""
    code = HTTP + f"""
def request(port):
    if {door!r} == 'socks5h':
        first = b'\\x05\\x01\\x00\\x05\\x01\\x00\\x01' + socket.inet_aton({w.SILENT4!r}) + struct.pack('!H', port)
        s = socket.create_connection((GATEWAY, SOCKS_PROXY), 2)
    else:
        what = 'CONNECT {w.SILENT4}:%d' if {door!r} == 'connect' else 'GET http://{w.SILENT4}:%d/'
        first = (what + ' HTTP/1.1\\r\\nHost: {w.SILENT4}:%d\\r\\n\\r\\n').replace('%d', str(port)).encode()
        s = socket.create_connection((GATEWAY, HTTP_PROXY), 2)
    s.sendall(first)
    return s
held = [request(4445) for _ in range(2)]
time.sleep(0.3)
last = request(4446)
last.settimeout(1)
try:
    data = b''
    while len(data) < 5 and (part := last.recv(100)): data += part
    result = data[3] if {door!r} == 'socks5h' else data[9:12].decode()
except OSError as error: result = name_of(error)
"""
    out = lab.guest(code, policy=policy({"half_open": count}, [w.SILENT4]))
    if count == 3:
        assert out.result == "TIMEOUT" and lab.world.packets_to(w.SILENT4, 4446) > 0 and not out.refusals(), out
        return
    assert out.result == (1 if door == "socks5h" else "503"), out
    assert lab.world.packets_to(w.SILENT4, 4446) == 0, out
    found = out.refusals(dst=w.SILENT4, port=4446)
    assert attempts(found) == 1 and found[0]["reason"] == "limit" and found[0]["via"] == VIA[door], out
    assert found[0]["limits"][0]["limit"] == "half_open", out


# ---- questions that connections ask ----------------------------------------------------------------------------------


@pytest.mark.elsewhere
@pytest.mark.parametrize("rate", [1000, 2])
def test_names_of_tunnels_are_questions(lab, rate):
    """A proxy asks names on behalf of the guest: at two a second the ninth is asked after the wait of the others."""
    code = """
start = time.monotonic()
said = [connect_tunnel(f'n{n}.wild.test', 9)[1] for n in range(8)]
result = [said, time.monotonic() - start]
"""
    out = lab.guest(code, policy=policy({"dns_queries_per_second": rate, "dns_names_per_minute": 6000}, ["*.wild.test"]))
    said, seconds = out.result
    assert said == ["OK"] * 8, out
    if rate == 1000:
        assert seconds < 1.5 and not out.of_type("limit"), out
        return
    assert 1.8 <= seconds <= 2.8, seconds
    hits = limit_events(out, "dns_queries_per_second")
    assert attempts(hits) in (4, 5), out


@pytest.mark.elsewhere
@pytest.mark.parametrize("door", ["connect", "socks5h", "absolute"])
@pytest.mark.refusal
def test_names_of_tunnels_below_a_wildcard(lab, door):
    """Six of 60 a minute lie below a wildcard: six are asked, the seventh is not, and that is no verdict on the name."""
    code = f"result = [fetch({door!r}, f'n{{n}}.wild.test', 80)['connect'] for n in range(7)]"
    out = lab.guest(code, policy=policy({"dns_names_per_minute": 60}, ["*.wild.test"]))
    assert out.result == ["OK"] * 6 + [refused(door)], out
    assert "n6.wild.test" not in [entry["spelled"].lower() for entry in lab.world.dns_log.since()]
    found = limit_events(out, "dns_names_per_minute", "dns.refuse")
    assert attempts(found) >= 1 and {event["name"] for event in found} == {"n6.wild.test"}, out


# ---- published ports -------------------------------------------------------------------------------------------------

FETCH = """
def fetch(port, say, size):
    begin, got = time.monotonic(), 0
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
            s.sendall(say); s.shutdown(socket.SHUT_WR)
            while data := s.recv(65536): got += len(data)
            return [got, 'eof', time.monotonic() - begin]
    except OSError as error: return [got, type(error).__name__, time.monotonic() - begin]
"""

# Sends as many bytes as it is asked for, and notes nothing.
GIVER = """
import socket, threading
def one(peer):
    with peer:
        size = int(peer.recv(100) or b'0')
        peer.sendall(b'g' * size)
def serve(port):
    listener = socket.create_server(('127.0.0.1', port), backlog=64)
    def loop():
        while True: threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
serve(7)
print('up', flush=True)
import sys; sys.stdin.readline()
"""


def published(lab, start, limits, code):
    running = start("18080:7", guest=GIVER, policy=policy(limits))
    seen = on_host(lab, "import time\n" + FETCH + code)
    running.say("")
    return seen, running.finish()


@pytest.mark.parametrize("size", [900_000, pytest.param(1_200_000, marks=pytest.mark.refusal)])
def test_published_quota(lab, start, size):  # noqa: F811
    """What goes out at a published port has its own sum; beyond it the client sees a reset, and the next gets no answer."""
    running = start("18080:7", guest=GIVER, policy=policy({"egress_bytes_total": 1_000_000, "egress_bytes": 1000}))
    seen = [on_host(lab, "import time\n" + FETCH + f"print(json.dumps(fetch(18080, b'{size}', 0)[:2]))")]
    # A client that is quicker than the word about the first is let in, and cut at its first byte.
    wait_until(lambda: size == 900_000 or "EDQUOT" in open(running.events_path).read(), 5)
    seen.append(on_host(lab, "import time\n" + FETCH + "print(json.dumps(fetch(18080, b'5', 0)[:2]))"))
    running.say("")
    out = running.finish()
    if size == 900_000:
        assert seen == [[size, "eof"], [5, "eof"]] and not out.of_type("limit"), (seen, out)
        return
    assert seen[0][0] <= 1_000_000 and seen[0][1] == "ConnectionResetError", (seen, out)
    assert seen[1][0] == 0 and seen[1][1] != "eof", (seen, out)
    hits = limit_events(out, "egress_bytes_total")
    assert attempts(hits) == 1 and hits[0]["via"] == "publish" and hits[0]["guest_port"] == 7, out
    closed = out.of_type("flow.close")
    assert len(closed) == 1 and closed[0]["error"] == "EDQUOT" and closed[0]["bytes_up"] <= 1_000_000, out
    found = out.of_type("flow.refuse")
    assert attempts(found) == 1 and found[0]["reason"] == "quota" and found[0]["via"] == "publish", out
    assert found[0]["limits"][0]["limit"] == "egress_bytes_total", out


def test_published_rate(lab, start):  # noqa: F811
    seen, out = published(lab, start, {"egress_rate": "16Mbit/s"}, "print(json.dumps(fetch(18080, b'10000000', 0)))")
    assert seen[:2] == [10_000_000, "eof"] and 4.5 <= seen[2] <= 5.5, (seen, out)
    hits = limit_events(out, "egress_rate")
    assert attempts(hits) == 1 and hits[0]["via"] == "publish", out


def test_published_counts_apart(lab, start):  # noqa: F811
    """What comes in at a port uses up nothing of what the sandbox may send, and the other way round."""
    guest = GIVER.replace("print('up'", f"""
s = socket.create_connection(({w.ALLOWED4!r}, 12)); s.sendall(b'a' * 900_000); s.shutdown(socket.SHUT_WR)
assert s.recv(100) == b'900000\\n'
print('up'""")
    running = start("18080:7", guest=guest, policy=policy({"egress_bytes_total": 1_000_000}))
    seen = on_host(lab, "import time\n" + FETCH + "print(json.dumps(fetch(18080, b'900000', 0)[:2]))")
    running.say("")
    out = running.finish()
    assert seen == [900_000, "eof"] and not out.of_type("limit") and not out.refusals(), out


@pytest.mark.parametrize("flows", [3, pytest.param(2, marks=pytest.mark.refusal)])
def test_published_counts_in_max_flows(lab, start, flows):  # noqa: F811
    """Two clients hold; the third is one too many for two."""
    code = """
held = [socket.create_connection(('127.0.0.1', 18080), timeout=10) for _ in range(2)]
third = fetch(18080, b'5', 0)[:2]
print(json.dumps(third))
"""
    seen, out = published(lab, start, {"max_flows": flows}, code)
    found = out.of_type("flow.refuse")
    if flows == 3:
        assert seen == [5, "eof"] and not found, (seen, out)
        return
    assert seen[0] == 0 and seen[1] != "eof", (seen, out)
    assert attempts(found) == 1 and found[0]["reason"] == "limit" and found[0]["via"] == "publish", out
    assert found[0]["limits"][0]["limit"] == "max_flows", out
