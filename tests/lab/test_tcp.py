"""TCP through the capture: allowed, refused, and the truth about upstreams that fail. attacks.md E02, E08-E12."""

import os
import signal

import pytest

import world as w
from checks import (ALLOWED, EVIL, FAMILIES, LIFTED, REFUSE, SILENT, TWINS, UNREACHABLE, assert_allowed,
                    assert_refused, at)


@TWINS
@FAMILIES
@pytest.mark.parametrize("port", [80, 443, 8080, 2222, 7])
def test_address(lab, family, verdict, port):
    """E02, E08: an address nobody named is refused on every port, and its allowed twin works."""
    dst = EVIL[family]
    allow = [at(dst, port)] if verdict == "allow" else ["allowed.test"]
    out = lab.guest(f"result = tcp({dst!r}, {port}, send='x', shut=True)", allow=allow)
    if verdict == "allow":
        assert_allowed(lab, out, out.result, dst, port)
    else:
        assert_refused(lab, out, out.result, dst, port, ["no-rule"])
        assert out.result["ms"] < 500, "a refusal must be immediate"


@TWINS
@FAMILIES
def test_name(lab, family, verdict):
    dst, name = EVIL[family], "evil.test"
    allow = [name] if verdict == "allow" else ["allowed.test"]
    kind = f"socket.AF_INET{'6' if family == 6 else ''}"
    out = lab.guest(f"found = resolve('{name}', {kind})\n"
                    f"result = [found, http_get({dst!r}, 80, '{name}')]", allow=allow)
    found, seen = out.result
    if verdict == "allow":
        assert found == [dst], out
        assert_allowed(lab, out, seen, dst, 80)
        assert "200 OK" in seen["data"]
        event = out.of_type("flow.open", dst=dst)[0]
        assert event["name"] == name and event["proto"] == "tcp" and event["via"] == "tcp", event
        assert event["rule"]["text"] == name, event
    else:
        assert found == {"error": -2}, out  # EAI_NONAME
        assert_refused(lab, out, seen, dst, 80, ["no-rule"])


@TWINS
@FAMILIES
def test_port_of_a_rule(lab, family, verdict):
    """A rule for one port opens that port only."""
    dst = EVIL[family]
    port = 8080 if verdict == "allow" else 80
    out = lab.guest(f"result = http_get({dst!r}, {port}, 'x')", allow=[at(dst, 8080)])
    if verdict == "allow":
        assert_allowed(lab, out, out.result, dst, port)
    else:
        assert_refused(lab, out, out.result, dst, port, ["no-rule"])


@TWINS
def test_deny_wins(lab, verdict):
    deny = [at(w.EVIL4, 80)] if verdict == "refuse" else [at(w.EVIL4, 81)]
    out = lab.guest(f"result = http_get({w.EVIL4!r}, 80, 'x')", allow=["93.184.216.0/24"], deny=deny)
    if verdict == "allow":
        assert_allowed(lab, out, out.result, w.EVIL4, 80)
    else:
        assert_refused(lab, out, out.result, w.EVIL4, 80, ["denied-by-rule"])
        assert out.refusals()[0]["rule"]["text"] == at(w.EVIL4, 80)


@FAMILIES
def test_upstream_refuses(lab, family):
    """Nothing listens: the program sees what it would see without weir, and the record does not call it a refusal."""
    dst = ALLOWED[family]
    out = lab.guest(f"result = tcp({dst!r}, 4444)", allow=[dst])
    assert out.result["connect"] == "ECONNREFUSED"
    assert lab.world.packets_to(dst, 4444) > 0
    assert not out.refusals(), out


@FAMILIES
def test_upstream_unreachable(lab, family):
    dst = UNREACHABLE[family]
    out = lab.guest(f"result = tcp({dst!r}, 80, timeout=20)", allow=[dst], timeout=90)
    # The kernel treats an ICMP error for a v6 SYN as soft and goes on trying.
    assert out.result["connect"] in (["EHOSTUNREACH"] if family == 4 else ["EHOSTUNREACH", "TIMEOUT"]), out
    assert not out.refusals(), out


@FAMILIES
def test_upstream_silent(lab, family):
    """Silence stays silence: no early success, no early failure."""
    dst = SILENT[family]
    out = lab.guest(f"result = tcp({dst!r}, 80, timeout=2.5)", allow=[dst])
    assert out.result["connect"] == "TIMEOUT", out
    assert not out.refusals(), out
    assert len(out.of_type("flow.close")) == len(out.of_type("flow.open")), "what was opened is closed"


def test_upstream_resets(lab):
    out = lab.guest(f"result = tcp({w.ALLOWED4!r}, 10, send='x', recv=1)", allow=[w.ALLOWED4])
    # The reset may overtake the end of the handshake, here or between the supervisor and the server.
    assert (out.result["connect"] in ("ECONNRESET", "ECONNREFUSED") or out.result["end"] in ("ECONNRESET", "EPIPE")), out


def test_upstream_hangs_then_the_guest_leaves(lab):
    out = lab.guest(f"result = tcp({w.ALLOWED4!r}, 11, send='x', recv=1, timeout=1)", allow=[w.ALLOWED4])
    assert out.result["end"] == "TIMEOUT", out
    assert len(out.of_type("flow.close")) == 1, out


@FAMILIES
def test_server_speaks_first(lab, family):
    dst = ALLOWED[family]
    out = lab.guest(f"resolve('allowed.test')\nresult = tcp({dst!r}, 25, recv=5)", allow=["allowed.test"])
    assert out.result["data"].startswith("220 "), out
    assert out.result["ms"] < 2000


@FAMILIES
def test_half_close_from_the_guest(lab, family):
    """E09: FIN from the guest travels, the answer still comes."""
    dst = ALLOWED[family]
    out = lab.guest(f"result = tcp({dst!r}, 12, send='x' * 300000, shut=True, recv=100)", allow=[dst])
    assert out.result["data"] == "300000\n" and out.result["end"] == "eof", out
    closed = out.of_type("flow.close")[0]
    assert closed["bytes_up"] == 300000 and closed["bytes_down"] == 7, closed


def test_half_close_from_the_server(lab):
    code = f"""
s = socket.create_connection(({w.ALLOWED4!r}, 13)); s.settimeout(5)
first = b''
while part := s.recv(100): first += part
s.sendall(b'y' * 1000); s.shutdown(socket.SHUT_WR)
result = first.decode()
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result == "all I have\n", out
    closed = [entry for entry in lab.world.origin_log.since() if entry["event"] == "close" and entry["port"] == 13]
    assert closed and closed[0]["bytes"] == 1000 and closed[0]["end"] == "eof", closed


def test_half_close_with_nc(lab):
    out = lab.run("sh", "-c", f"printf abc | nc -N {w.ALLOWED4} 12", allow=[w.ALLOWED4])
    assert out.code == 0 and out.stdout == "3\n", out


def test_bulk_both_ways(lab):
    """32 MiB each way: spliced, nothing lost, counted right."""
    code = f"""
import threading
size = 32 << 20
s = socket.create_connection(({w.ALLOWED4!r}, 7))
def feed():
    block = bytes(range(256)) * 256
    for _ in range(size // len(block)): s.sendall(block)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=feed).start()
import hashlib
digest, total = hashlib.sha256(), 0
while part := s.recv(1 << 20):
    digest.update(part); total += len(part)
wanted = hashlib.sha256(bytes(range(256)) * (size // 256)).hexdigest()
result = [total, digest.hexdigest() == wanted]
"""
    out = lab.guest(code, allow=[w.ALLOWED4], timeout=120)
    assert out.result == [32 << 20, True], out
    closed = out.of_type("flow.close")[0]
    assert closed["bytes_up"] == closed["bytes_down"] == 32 << 20, closed


def test_back_pressure(lab):
    """A server that sends for ever to a guest that does not read: weir's buffers stay bounded."""
    code = f"""
s = socket.create_connection(({w.ALLOWED4!r}, 14)); time.sleep(2)
result = 'held'
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result == "held"
    assert out.of_type("flow.close")[0]["bytes_down"] < 64 << 20, out


@pytest.mark.slow
def test_a_thousand_parallel_connects(lab):
    code = f"""
import selectors
sel = selectors.DefaultSelector()
begin = time.monotonic()
left = 0
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
socks = []
for _ in range(1000):
    s = socket.socket(); s.setblocking(False)
    s.connect_ex(({w.ALLOWED4!r}, 9)); sel.register(s, selectors.EVENT_WRITE); socks.append(s); left += 1
failed = 0
while left and time.monotonic() - begin < 30:
    for key, _ in sel.select(1):
        failed += key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        sel.unregister(key.fileobj); left -= 1
result = [left, failed]
"""
    out = lab.guest(code, policy=LIFTED, allow=[w.ALLOWED4], timeout=90)
    assert out.result == [0, 0], out
    assert len(out.of_type("flow.open")) == 1000 and len(out.of_type("flow.close")) == 1000


def test_slots_come_back(lab):
    """E09: 1,500 short connections, one after another, under the default limit of 1,024 flows at a time. Each is seen to
    its end: one that only the guest has closed holds its slot until the server has closed too."""
    code = f"""
failed = 0
for number in range(1500):
    try:
        with socket.create_connection(({w.ALLOWED4!r}, 7), 10) as s:
            s.sendall(b'x'); s.shutdown(socket.SHUT_WR)
            while s.recv(16): pass
    except OSError:
        failed += 1
result = failed
"""
    out = lab.guest(code, allow=[w.ALLOWED4], timeout=120)
    assert out.result == 0, out


@pytest.mark.elsewhere
def test_max_flows(lab):
    """O02: the third of two is refused with `limit`; when one ends there is room again. Port 4444 is nobody else's: late
    packets of another test's connection would count as this one's."""
    code = f"""
held = [socket.create_connection(({w.ALLOWED4!r}, 7)) for _ in range(2)]
third = tcp({w.ALLOWED4!r}, 4444)
held.pop().close(); held[0].send(b'x'); held[0].recv(1)
for _ in range(50):
    again = tcp({w.ALLOWED4!r}, 12)['connect']
    if again == 'OK': break
    time.sleep(0.05)
result = [third, again]
"""
    policy = f'version = 1\nmode = "allowlist"\nallow = ["{w.ALLOWED4}"]\n[limits]\nmax_flows = 2\n'
    out = lab.guest(code, policy=policy)
    assert_refused(lab, out, out.result[0], w.ALLOWED4, 4444, ["limit"])
    assert out.result[1] == "OK", out


def test_port_reuse(lab):
    """The same 4-tuple again: a new attempt, not a repeated SYN."""
    code = f"""
result = []
for _ in range(5):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.bind(('', 40001)); s.settimeout(5)
    s.connect(({w.ALLOWED4!r}, 7)); s.sendall(b'again'); result.append(s.recv(10).decode()); s.close()
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result == ["again"] * 5, out
    assert len(out.of_type("flow.open")) == 5, out


@TWINS
def test_data_in_the_syn(lab, verdict):
    """TCP fast open: the payload of the SYN goes nowhere before the verdict, and arrives exactly once after it."""
    dst = w.ALLOWED4 if verdict == "allow" else w.EVIL4
    code = f"""
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 34, 1)  # TCP_FASTOPEN_NO_COOKIE
try:
    s.sendto(b'early', 0x20000000, ({dst!r}, 7))   # MSG_FASTOPEN
    s.settimeout(5)
    result = {{'connect': 'OK', 'data': s.recv(10).decode()}}
except OSError as error:
    result = {{'connect': name_of(error)}}
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    if verdict == "allow":
        assert out.result == {"connect": "OK", "data": "early"}, out
    else:
        assert_refused(lab, out, out.result, dst, 7, ["no-rule"])


def test_foreign_source_address(lab):
    """E12: IPV6_FREEBIND lets a guest send from any address; such a SYN is reset and recorded."""
    code = f"""
result = tcp({w.ALLOWED6!r}, 7, bind=('2606:2800:220::66', 0), options=[(socket.IPPROTO_IPV6, 78, 1)], timeout=3)
"""
    out = lab.guest(code, allow=[w.ALLOWED6])
    assert out.result["connect"] in ("ECONNREFUSED", "ECONNRESET", "TIMEOUT"), out
    assert lab.world.packets_to(w.ALLOWED6, 7) == 0
    assert [event for event in out.refusals() if event["reason"] == "protocol"], out


def test_bound_to_loopback(lab):
    """A connection out from 127.0.0.1 or ::1 cannot work and must not leave."""
    code = f"""
result = [tcp({w.ALLOWED4!r}, 7, bind=('127.0.0.1', 0), timeout=2)['connect'],
          tcp({w.ALLOWED6!r}, 7, bind=('::1', 0), timeout=2)['connect'],
          tcp({w.ALLOWED4!r}, 7, send='ok', recv=2)['data']]
"""
    out = lab.guest(code, allow=[w.ALLOWED4, w.ALLOWED6])
    assert out.result[0] in ("EINVAL", "ENETUNREACH", "EHOSTUNREACH") and out.result[2] == "ok", out
    assert out.result[1] in ("ENETUNREACH", "EHOSTUNREACH", "EINVAL", "EADDRNOTAVAIL"), out


def test_bound_to_the_device(lab):
    """SO_BINDTODEVICE (unprivileged) on weir0: works at the same verdicts."""
    code = f"""
option = [(socket.SOL_SOCKET, 25, b'weir0')]
result = [tcp({w.ALLOWED4!r}, 7, send='ok', recv=2, options=option),
          tcp({w.EVIL4!r}, 7, options=option)]
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result[0]["data"] == "ok", out
    assert_refused(lab, out, out.result[1], w.EVIL4, 7, ["no-rule"])


def test_the_listener_is_not_a_door(lab):
    """A guest that finds the transparent listener's port on any loopback address gets nothing, and nothing is dialled."""
    code = """
ports = []
for family in ('tcp', 'tcp6'):
    try:
        for line in open('/proc/net/' + family).read().splitlines()[1:]:
            ports.append(int(line.split()[1].split(':')[1], 16))
    except OSError: pass
tried = sorted(set(ports)) or list(range(1024, 65536, 997))
answers = {}
for port in tried:
    for address in ('127.0.0.1', '127.1.2.3', '::1'):
        seen = tcp(address, port, send='GET / HTTP/1.0\\r\\nHost: evil.test\\r\\n\\r\\n', recv=1, timeout=1)
        answers[f'{address} {port}'] = [seen['connect'], seen['data']]
result = answers
"""
    out = lab.guest(code, allow=["allowed.test"], timeout=120)
    assert not [where for where, (_, data) in out.result.items() if data], out
    assert not lab.world.packets.everything(), lab.world.packets.everything()


def test_servers_of_the_guest_work(lab):
    """Guest processes talk to each other over loopback, unrecorded."""
    code = """
import threading
server = socket.create_server(('127.0.0.1', 8000))
def serve():
    conn, _ = server.accept(); conn.sendall(b'inside'); conn.close()
threading.Thread(target=serve).start()
result = tcp('127.0.0.1', 8000, recv=6)['data']
"""
    for mode in ("none", "allowlist"):
        out = lab.guest(code, mode=mode, allow=["allowed.test"] if mode == "allowlist" else ())
        assert out.result == "inside", out
        assert not [event for event in out.events if event["type"].startswith("flow.")], out


@pytest.mark.parametrize("verdict", [REFUSE])
def test_racing_the_address_of_connect(lab, verdict):
    """M10: a thread flips the sockaddr while another connects; what was judged is what is dialled."""
    code = f"""
import ctypes, threading
libc = ctypes.CDLL(None, use_errno=True)
def packed(address): return struct.pack('=H', 2) + struct.pack('!H', 7) + socket.inet_aton(address) + bytes(8)
good, bad = packed({w.ALLOWED4!r}), packed({w.EVIL4!r})
buffer = ctypes.create_string_buffer(good, 16)
stop = False
def flip():
    while not stop:
        ctypes.memmove(buffer, bad, 16); ctypes.memmove(buffer, good, 16)
thread = threading.Thread(target=flip); thread.start()
for _ in range(400):
    s = socket.socket(); s.settimeout(None)
    libc.connect(s.fileno(), buffer, 16); s.close()
stop = True; thread.join()
result = 'done'
"""
    lab.guest(code, allow=[w.ALLOWED4], timeout=90)
    assert lab.world.packets_to(w.ALLOWED4, 7) > 0
    assert lab.world.packets_to(w.EVIL4) == 0


def test_truncated_download_is_an_error(lab):
    """SIGKILL of the gateway in the middle of a download: the program sees a reset, never a clean end."""
    code = f"""
s = socket.create_connection(({w.ALLOWED4!r}, 14)); s.settimeout(10)
s.recv(1000); print('flowing', flush=True)
end = 'eof'
try:
    while s.recv(1 << 16): pass
except OSError as error: end = name_of(error)
print(end, flush=True)
"""
    running = lab.start(guest=code, allow=[w.ALLOWED4])
    try:
        assert running.line() == "flowing"
        gateways = [pid for pid, name in running.family().items() if "gate" in name]
        assert gateways, f"no process calls itself gateway: {running.family()}"
        os.kill(gateways[0], signal.SIGKILL)
        rest = running.process.stdout.read()
        assert "eof" not in rest, rest
    finally:
        running.kill()


def test_silent_upstream_is_one_attempt(lab):
    """A connect_timeout shorter than the guest's patience: its repeated SYNs are no new attempts, and nothing is said."""
    policy = f'version = 1\nmode = "allowlist"\nallow = ["{w.SILENT4}"]\n[limits]\nconnect_timeout = "1s"\n'
    out = lab.guest(f"result = tcp({w.SILENT4!r}, 80, timeout=5)", policy=policy)
    assert out.result["connect"] == "TIMEOUT", out
    assert len(out.of_type("flow.open")) == 1 and [e["error"] for e in out.of_type("flow.close")] == ["ETIMEDOUT"], out
