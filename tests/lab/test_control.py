"""A live sandbox whose policy becomes narrower. attacks.md Q06 (tighten while connections live, partial apply), C07."""

import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import threading

import pytest

import world as w
from checks import REFUSE, TWINS, assert_allowed, at
from lab import read_events, wait_until

# Who asks, and what has moved: admission decides neither.
ELSEWHERE_TWINS = pytest.mark.parametrize("verdict", ["allow", pytest.param("refuse", marks=pytest.mark.elsewhere)])
KEPT, LOST = at(w.ALLOWED4, 7), at(w.EVIL4, 7)
NARROW = {"op": "narrow", "network_mode": "allowlist", "network_allowlist": [KEPT]}
BOTH = {"op": "narrow", "network_mode": "allowlist", "network_allowlist": [KEPT, LOST]}

# Two flows that echo; then, line by line, whatever the test says.
TWO_FLOWS = f"""
def dial(address, port):
    s = socket.create_connection((address, port), 5); s.settimeout(10)
    return s
def said(s, what=b'x'):
    try:
        s.sendall(what); return s.recv(100).decode() or 'eof'
    except OSError as error: return name_of(error)
def heard(s):
    try: return s.recv(100).decode() or 'eof'
    except OSError as error: return name_of(error)
kept, lost = dial({w.ALLOWED4!r}, 7), dial({w.EVIL4!r}, 7)
print(json.dumps([said(kept), said(lost)]), flush=True)
for line in sys.stdin: print(json.dumps(eval(line)), flush=True)
"""


def ask(lab, path, request, uid=None, hold=None):
    """One request; the answer as JSON. `hold`: bytes after which nothing more is sent, with the connection open."""
    line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        os.seteuid(lab.uid if uid is None else uid)  # what SO_PEERCRED says of whoever connects
        try:
            sock.connect(path)
        finally:
            os.seteuid(0)
        try:
            sock.sendall(line)
            if hold is None:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end of the line: the answer says so
        data = b""
        while part := sock.recv(65536):
            data += part
    return json.loads(data) if data else None


class Live:
    """A sandbox with a control socket and a guest that does what it is told."""

    def __init__(self, lab, guest=TWO_FLOWS, allow=(KEPT, LOST), extra=(), **options):
        self.lab, self.path = lab, str(lab.folder / "c.sock")
        self.run = lab.start(guest=guest, allow=allow, extra=["--control", self.path, *extra], **options)
        self.first = self.run.line()

    def ask(self, request, **more):
        return ask(self.lab, self.path, request, **more)

    def do(self, python):
        self.run.say(python)
        return json.loads(self.run.line())

    def end(self):
        self.run.process.stdin.close()
        self.run.process.stdin = None
        return self.run.finish()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run.kill()


@pytest.fixture
def live(lab):
    with Live(lab) as running:
        assert running.first == '["x", "x"]', running.run.finish()
        yield running


def closes_of(lab, address):
    """How the server saw connections to the address end."""
    return [entry["end"] for entry in lab.world.origin_log.since()
            if entry["event"] == "close" and entry["dst"] == address]


@TWINS
def test_an_established_flow(lab, live, verdict):
    answer = live.ask(BOTH if verdict == "allow" else NARROW)
    assert answer["generation"] == 2 and answer["cut"] == (0 if verdict == "allow" else 1), answer
    if verdict == "allow":
        assert live.do("[said(kept, b'on'), said(lost, b'on')]") == ["on", "on"]
        out = live.end()
        assert not out.refusals(), out
        assert all("reason" not in event for event in out.of_type("flow.close")), out
    else:
        assert live.do("heard(lost)") == "ECONNRESET"
        wait_until(lambda: closes_of(lab, w.EVIL4) == ["Connection reset by peer"], what="the reset at the server")
        before = lab.world.packets_to(w.EVIL4, 7)
        assert live.do(f"tcp({w.EVIL4!r}, 7)['connect']") == "ECONNREFUSED"
        assert lab.world.packets_to(w.EVIL4, 7) == before
        assert live.do("said(kept, b'still')") == "still"
        out = live.end()
        [refused] = out.refusals(dst=w.EVIL4)
        assert refused["generation"] == 2 and refused["reason"] == "no-rule", out
        [closed] = out.of_type("flow.close", dst=w.EVIL4)
        assert closed["reason"] == "no-rule" and closed["error"] == "ECONNABORTED" and closed["bytes_up"] == 1, out
        assert closed["rule"]["layer"] == "run", out
    [changed] = out.of_type("policy.update")
    assert changed["generation"] == 2 and changed["policy"] == answer["policy"], out
    assert [event["seq"] for event in out.events] == list(range(1, len(out.events) + 1)), out
    for event in out.events:
        after = event["seq"] >= changed["seq"]
        assert event["generation"] == (2 if after else 1), out
        assert (event["policy"] == changed["policy"]) == after, out
    assert [event["generation"] for event in out.of_type("flow.close", dst=w.ALLOWED4)] == [2], out


@TWINS
def test_a_name_that_was_known(lab, verdict):
    """The gateway's answers and the name book forget what lost its permission; what keeps it stays known."""
    guest = f"""
a, b = resolve('allowed.test'), resolve('evil.test')
print(json.dumps([tcp({w.ALLOWED4!r}, 7, chr(0), 1)['connect'], tcp({w.EVIL4!r}, 7, chr(0), 1)['connect']]), flush=True)
for line in sys.stdin: print(json.dumps(eval(line)), flush=True)
"""
    names = ["allowed.test:7", "evil.test:7"]
    with Live(lab, guest, allow=names) as live:
        assert live.first == '["OK", "OK"]', live.run.finish()
        left = names if verdict == "allow" else names[:1]
        assert live.ask({"op": "narrow", "network_allowlist": left})["generation"] == 2
        lab.world.dns_log.mark()
        before = lab.world.packets_to(w.EVIL4, 7)
        kept = live.do(f"[dns('allowed.test')['addresses'], tcp({w.ALLOWED4!r}, 7, chr(0), 1)['data']]")
        assert kept == [[w.ALLOWED4], chr(0)]
        seen = live.do(f"[dns('evil.test'), tcp({w.EVIL4!r}, 7)['connect']]")
        out = live.end()
        if verdict == "allow":
            assert seen[0]["addresses"] == [w.EVIL4] and seen[1] == "OK", (seen, out)
        else:
            assert seen[0]["rcode"] == 3 and 15 in seen[0]["ede"] and seen[1] == "ECONNREFUSED", (seen, out)
            assert lab.world.packets_to(w.EVIL4, 7) == before, out
            assert not [entry for entry in lab.world.dns_log.since() if "evil" in entry["spelled"].lower()], out
            [refused] = out.of_type("dns.refuse", name="evil.test")
            assert refused["generation"] == 2 and len(out.refusals(dst=w.EVIL4)) == 1, out


@TWINS
def test_a_flow_that_was_judged_by_its_name(lab, verdict):
    """Two names at one address: the flow stays only if the name it carried is still allowed."""
    guest = f"""
resolve('a.cdn.test'); resolve('b.cdn.test')
s = socket.create_connection(({w.SHARED4!r}, 80)); s.settimeout(10)
def get(host):
    try:
        s.sendall(('GET / HTTP/1.1\\r\\nHost: ' + host + '\\r\\n\\r\\n').encode()); data = b''
        while b'weir lab' not in data or not data.endswith(b'\\n'): data += s.recv(4096) or b'weir lab: eof\\n'
        return data.decode()[:15]
    except OSError as error: return name_of(error)
print(get('a.cdn.test'), flush=True)
for line in sys.stdin: print(json.dumps(eval(line)), flush=True)
"""
    with Live(lab, guest, allow=["a.cdn.test", "b.cdn.test"]) as live:
        assert live.first == "HTTP/1.1 200 OK", live.run.finish()
        answer = live.ask({"op": "narrow", "network_allowlist": ["a.cdn.test" if verdict == "allow" else "b.cdn.test"]})
        assert answer["cut"] == (0 if verdict == "allow" else 1), answer
        seen = live.do("get('a.cdn.test')")
        out = live.end()
        assert seen == ("HTTP/1.1 200 OK" if verdict == "allow" else "ECONNRESET"), (seen, out)
        [closed] = out.of_type("flow.close", dst=w.SHARED4)
        assert closed.get("reason") == (None if verdict == "allow" else "host-mismatch"), out


@TWINS
def test_a_connect_under_way(lab, verdict):
    """The SYN is out and nobody has answered it: the connect ends at once, and its socket is never handed over."""
    guest = f"""
import threading
def attempt():
    print('end', tcp({w.SILENT4!r}, 7, timeout=8)['connect'], flush=True)
threading.Thread(target=attempt).start()
print('asked', flush=True)
for line in sys.stdin: print(json.dumps(eval(line)), flush=True)
"""
    with Live(lab, guest, allow=[KEPT, at(w.SILENT4, 7)]) as live:
        wait_until(lambda: lab.world.packets_to(w.SILENT4, 7) > 0, what="the SYN")
        answer = live.ask({"op": "narrow", "network_allowlist": [KEPT] + ([at(w.SILENT4, 7)] if verdict == "allow" else [])})
        assert answer["cut"] == (0 if verdict == "allow" else 1), answer
        assert live.run.line() == ("end TIMEOUT" if verdict == "allow" else "end ECONNREFUSED")
        out = live.end()
        assert len(out.of_type("flow.open", dst=w.SILENT4)) == 1, out
        [closed] = out.of_type("flow.close", dst=w.SILENT4)
        assert closed.get("reason") == (None if verdict == "allow" else "no-rule"), out


# Over UDP, or through a tunnel of a proxy: two flows that echo, as TWO_FLOWS.
def two_flows(dial):
    head, tail = TWO_FLOWS.split("kept, lost =")
    return f"{head}{dial}\nkept, lost ={tail}"


DATAGRAMS = """
def dial(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect((address, port))
    return s
"""


def cut_flow(out, dst, via):
    """The record of the one flow that lost its permission."""
    [closed] = out.of_type("flow.close", dst=dst)
    assert (closed["via"], closed["reason"], closed["error"], closed["bytes_up"]) == (via, "no-rule", "ECONNABORTED", 1), out
    [changed] = out.of_type("policy.update")
    assert closed["generation"] == changed["generation"] == 2 and closed["seq"] > changed["seq"], out
    return closed


@TWINS
def test_a_flow_of_datagrams(lab, verdict):
    both = [f"udp://{KEPT}", f"udp://{LOST}"]
    with Live(lab, two_flows(DATAGRAMS), allow=both) as live:
        assert live.first == '["x", "x"]', live.run.finish()
        answer = live.ask({"op": "narrow", "network_allowlist": both if verdict == "allow" else both[:1]})
        assert answer["cut"] == (0 if verdict == "allow" else 1), answer
        before = lab.world.packets_to(w.EVIL4, 7)
        seen = live.do("[said(kept, b'on'), said(lost, b'on')]")
        arrived = lab.world.packets_to(w.EVIL4, 7) - before
        out = live.end()
        if verdict == "allow":
            assert seen == ["on", "on"] and arrived == 1 and not out.refusals(), (seen, arrived, out)
        else:
            assert seen == ["on", "EHOSTUNREACH"] and arrived == 0, (seen, arrived, out)
            [refused] = out.refusals(dst=w.EVIL4, proto="udp")
            assert refused["generation"] == 2 and refused["reason"] == "no-rule", out
            cut_flow(out, w.EVIL4, "udp")
        [kept] = out.of_type("flow.close", dst=w.ALLOWED4)
        assert "reason" not in kept and kept["bytes_up"] == kept["bytes_down"] == 3, out


@TWINS
@pytest.mark.parametrize("door", ["connect", "socks5h"])
def test_a_tunnel(lab, verdict, door):
    """C07: by its name, which is all that a tunnel was asked with."""
    names = ["allowed.test:7", "evil.test:7"]
    tunnel = f"names = {{ {w.ALLOWED4!r}: 'allowed.test', {w.EVIL4!r}: 'evil.test' }}\n" \
             f"def dial(address, port): return TUNNELS[{door!r}](names[address], port)[0]"
    zero = two_flows(tunnel).replace("what=b'x'", "what=bytes(1)")  # the first byte of no protocol that carries a name
    via = "socks" if door == "socks5h" else "http"
    with Live(lab, zero, allow=names) as live:
        assert json.loads(live.first) == [chr(0), chr(0)], live.run.finish()
        answer = live.ask({"op": "narrow", "network_allowlist": names if verdict == "allow" else names[:1]})
        assert answer["cut"] == (0 if verdict == "allow" else 1), answer
        if verdict == "allow":
            assert live.do("[said(kept, b'on'), said(lost, b'on')]") == ["on", "on"]
            assert not live.end().refusals()
            return
        assert live.do("heard(lost)") == "ECONNRESET"
        wait_until(lambda: closes_of(lab, w.EVIL4) == ["Connection reset by peer"], what="the reset at the server")
        before = lab.world.packets_to(w.EVIL4, 7)
        assert live.do(f"[said(kept, b'on'), TUNNELS[{door!r}]('evil.test', 7)[1]]") == ["on", "refused"]
        assert lab.world.packets_to(w.EVIL4, 7) == before
        out = live.end()
        [refused] = out.refusals(name="evil.test")
        assert refused["generation"] == 2 and refused["reason"] == "no-rule" and refused["via"] == via, out
        assert cut_flow(out, w.EVIL4, via)["name"] == "evil.test", out


# A server inside on port 7; the host's end of a connection to it does what it is told, line by line.
SERVED = """
import threading
listener = socket.create_server(('127.0.0.1', 7))
def one(peer):
    with peer:
        while data := peer.recv(100): peer.sendall(data)
def loop():
    while True: threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=loop, daemon=True).start()
print('up', flush=True)
sys.stdin.readline()
"""
VISITOR = """
import json, socket, sys
def knock():
    try:
        s = socket.create_connection(('127.0.0.1', 18080), 10); s.settimeout(10)
        s.sendall(b'x'); return s, s.recv(100).decode() or 'eof'
    except OSError as error: return None, type(error).__name__
stands, first = knock()
print(json.dumps(first), flush=True)
def said(what):
    try: stands.sendall(what); return stands.recv(100).decode() or 'eof'
    except OSError as error: return type(error).__name__
for line in sys.stdin: print(json.dumps(eval(line)), flush=True)
"""


@pytest.mark.parametrize("allow", [[], [KEPT]], ids=["inbound", "allowlist"])
@pytest.mark.parametrize("verdict", ["allow", "refuse"])  # no path: admission has no part in it
def test_a_published_port(lab, allow, verdict):
    """Mode inbound keeps it, mode none closes it: for who is there, and for who comes."""
    with Live(lab, SERVED, allow=allow, extra=["-p", "18080:7"]) as live:
        assert live.first == "up", live.run.finish()
        visitor = lab.world.host.start(["/usr/bin/python3", "-uc", VISITOR], ready=None, stdin=subprocess.PIPE)

        def do(python):
            visitor.stdin.write(python + "\n")
            visitor.stdin.flush()
            return json.loads(visitor.stdout.readline())

        assert json.loads(visitor.stdout.readline()) == "x"
        answer = live.ask({"op": "narrow", "network_mode": "inbound" if verdict == "allow" else "none"})
        assert answer["generation"] == 2 and answer["cut"] == (0 if verdict == "allow" else 1), answer
        if verdict == "allow":
            assert do("[said(b'on'), knock()[1]]") == ["on", "x"]
        else:
            assert do("[said(b'on'), knock()[1]]") == ["ConnectionResetError", "ConnectionResetError"]
        visitor.stdin.close()
        assert visitor.wait(10) == 0
        live.run.say("")
        out = live.run.finish()
    opened = out.of_type("flow.open", via="publish")
    refused = out.of_type("flow.refuse", via="publish")
    if verdict == "allow":
        assert len(opened) == 2 and not refused and not [e for e in out.of_type("flow.close") if "reason" in e], out
        return
    assert len(opened) == 1 and len(refused) == 1, out
    [closed] = out.of_type("flow.close", via="publish")
    for event in (closed, refused[0]):
        assert event["reason"] == "no-rule" and event["generation"] == 2 and event["rule"]["layer"] == "run", out
    assert closed["error"] == "ECONNABORTED" and closed["bytes_down"] == 1, out


@TWINS
@pytest.mark.parametrize("when", ["between", "under-way"])
def test_a_connection_of_the_http_proxy(lab, verdict, when):
    """Requests in absolute form: the connection to the origin goes, idle or in the middle of a request."""
    port = 80 if when == "between" else 11  # 11 takes the request and says nothing
    guest = f"""
s = socket.create_connection((GATEWAY, HTTP_PROXY)); s.settimeout(3)
def ask(port): s.sendall(f'GET http://{w.EVIL4}:{{port}}/ HTTP/1.1\\r\\nHost: {w.EVIL4}:{{port}}\\r\\n\\r\\n'.encode())
def answer():
    data = b''
    try:
        while not (b'\\r\\n\\r\\n' in data and data.endswith(b'\\n') and not data.endswith(b'\\r\\n\\r\\n')):
            part = s.recv(4096)
            if not part: break
            data += part
    except OSError as error: return name_of(error)
    return data.decode()[9:12]
def get(port): ask(port); return answer()
ask({port})
print(answer() if {port} == 80 else 'asked', flush=True)
for line in sys.stdin: print(json.dumps(eval(line)), flush=True)
"""
    target = at(w.EVIL4, port)
    with Live(lab, guest, allow=[KEPT, target]) as live:
        assert live.first == ("200" if when == "between" else "asked"), live.run.finish()
        wait_until(lambda: lab.world.packets.payload_to(w.EVIL4, port) > 0, what="the request")
        answer = live.ask({"op": "narrow", "network_allowlist": [KEPT, target] if verdict == "allow" else [KEPT]})
        assert answer["cut"] == (0 if verdict == "allow" else 1), answer
        before = lab.world.packets.payload_to(w.EVIL4, port)
        seen = live.do("get(80)" if when == "between" else "answer()")
        out = live.end()
        wanted = {"between": ("200", "403"), "under-way": ("TIMEOUT", "ECONNRESET")}[when]
        assert seen == wanted[verdict != "allow"], (seen, out)
        [closed] = out.of_type("flow.close", dst=w.EVIL4)
        assert closed.get("reason") == (None if verdict == "allow" else "no-rule"), out
        if verdict != "allow":
            assert lab.world.packets.payload_to(w.EVIL4, port) == before and closed["error"] == "ECONNABORTED", out
            assert len(out.refusals(dst=w.EVIL4)) == (1 if when == "between" else 0), out


WRONG = {
    "wider-mode": ({"op": "narrow", "network_mode": "open"}, "cannot_widen"),
    "another-destination": ({"op": "narrow", "network_allowlist": [at(w.SHARED4, 80)]}, "cannot_widen"),
    "lifted-floor": ({"op": "narrow", "network_allowlist": [KEPT], "insist": ["floor=169.254.169.254"]}, "cannot_widen"),
    "host": ({"op": "narrow", "network_mode": "host"}, "cannot_widen"),
    "no-mode": ({"op": "narrow", "network_denylist": ["evil.test"]}, "invalid_policy"),
    "no-target": ({"op": "narrow", "network_allowlist": ["127.1"]}, "invalid_policy"),
    "no-toml": ({"op": "narrow", "policy": "version = 1\nmode = "}, "invalid_policy"),
    "name-servers": ({"op": "narrow", "policy": "version = 1\nmode = 'none'\n[dns]\nupstream = ['9.9.9.9']"}, "invalid_policy"),
    "ports": ({"op": "narrow", "policy": "version = 1\nmode = 'inbound'\n[publish]\ntcp = ['1:1']"}, "invalid_policy"),
    "list-file": ({"op": "narrow", "policy": "version = 1\nmode = 'public'\ndeny_lists = ['/etc/passwd']"}, "invalid_policy"),
    "nothing": ({"op": "narrow"}, "malformed"),
    "unknown-key": ({"op": "narrow", "network_mode": "none", "deny": []}, "malformed"),
    "unknown-op": ({"op": "widen"}, "malformed"),
    "garbage": (b"\x00\xff\x80 what\n", "malformed"),
    "twice-a-key": (b'{"op": "narrow", "network_mode": "open", "network_mode": "none"}\n', "malformed"),
    "deep": (b'{"op":' + b"[" * 5000 + b"\n", "malformed"),
    "two-lines": (b'{"op": "show"}\n{"op": "show"}\n', "malformed"),
    "no-end": (b'{"op": "narrow", "network_mode": "none"}', "incomplete"),
    "empty": (b"", "incomplete"),
    "too-long": (b" " * (2 << 20), "too_large"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_changes_nothing(lab, live, what):
    request, code = WRONG[what]
    answer = live.ask(request)
    assert answer["error"]["code"] == code and answer["error"]["message"], answer
    assert "\n" not in answer["error"]["message"], answer
    assert live.ask({"op": "show"})["generation"] == 1
    assert live.do("[said(kept), said(lost)]") == ["x", "x"]
    assert live.ask(NARROW)["generation"] == 2  # the twin
    out = live.end()
    assert [event["generation"] for event in out.of_type("policy.update")] == [2], out


def test_narrower_each_time(lab, live):
    """Layers add up: what one took away no later one gives back, whatever it says."""
    assert live.ask({"op": "narrow", "network_mode": "allowlist", "network_allowlist": [KEPT]})["generation"] == 2
    assert live.ask(BOTH)["error"]["code"] == "cannot_widen"
    in_part = live.ask({"op": "narrow", "network_allowlist": ["93.184.216.0/24:7"]})
    assert in_part["generation"] == 3 and len(in_part["warnings"]) == 1, in_part
    assert live.do(f"[said(kept), tcp({w.EVIL4!r}, 7)['connect']]") == ["x", "ECONNREFUSED"]
    assert live.ask({"op": "narrow", "network_mode": "none"})["cut"] == 1
    assert live.do(f"[heard(kept), tcp({w.ALLOWED4!r}, 7)['connect'], dns('allowed.test')['addresses']]") == \
        ["ECONNRESET", "ECONNREFUSED", []]
    out = live.end()
    assert [event["generation"] for event in out.of_type("policy.update")] == [2, 3, 4], out


def test_as_often_as_a_policy_has_layers(lab, live):
    answers = [live.ask(BOTH) for _ in range(32)]
    assert [answer.get("generation") for answer in answers[:30]] == list(range(2, 32)), answers
    assert answers[31]["error"]["code"] == "failed", answers
    assert live.do("[said(kept), said(lost)]") == ["x", "x"]


def test_before_the_first_packet(lab):
    """No gateway yet: it starts with the policy in force."""
    guest = "print('up', flush=True)\nfor line in sys.stdin: print(json.dumps(eval(line)), flush=True)\n"
    with Live(lab, guest) as live:
        assert live.ask(NARROW) | {"policy": ""} == {"generation": 2, "policy": "", "cut": 0, "warnings": []}
        assert live.do(f"[tcp({w.ALLOWED4!r}, 7)['connect'], tcp({w.EVIL4!r}, 7)['connect']]") == ["OK", "ECONNREFUSED"]
        assert lab.world.packets_to(w.EVIL4, 7) == 0


@ELSEWHERE_TWINS
def test_another_user(lab, live, verdict):
    """Root may open the socket of another user, and still is not the one who started the sandbox."""
    other = 4242 if lab.uid == 0 else 0
    os.chmod(live.path, 0o777)
    os.chmod(lab.folder, 0o755)
    answer = live.ask(NARROW, uid=lab.uid if verdict == "allow" else other)
    if verdict == "allow":
        assert answer["generation"] == 2, answer
    else:
        assert answer["error"]["code"] == "forbidden", answer
        assert live.do("[said(kept), said(lost)]") == ["x", "x"]


def test_clients_that_wait_are_bounded(lab, live):
    idle = []
    for _ in range(8):
        sock = socket.socket(socket.AF_UNIX)
        os.seteuid(lab.uid)
        sock.connect(live.path)
        os.seteuid(0)
        sock.sendall(b"{")
        idle.append(sock)
    assert live.ask({"op": "show"})["error"]["code"] == "busy"
    for sock in idle:
        sock.close()
    wait_until(lambda: live.ask({"op": "show"}).get("generation") == 1, what="room for the next")
    assert live.do("[said(kept), said(lost)]") == ["x", "x"]


@pytest.mark.slow
def test_a_line_that_does_not_come(lab, live):
    assert live.ask(b'{"op"', hold=True)["error"]["code"] == "timeout"


def test_one_who_hangs_up_is_not_waited_for(lab, live):
    with socket.socket(socket.AF_UNIX) as sock:
        os.seteuid(lab.uid)
        sock.connect(live.path)
        os.seteuid(0)
        sock.sendall(json.dumps(NARROW).encode() + b"\n")
    wait_until(lambda: live.ask({"op": "show"})["generation"] == 2, what="the change")
    assert live.do("[said(kept), heard(lost)]") == ["x", "ECONNRESET"]


def test_the_socket_is_its_owners(lab):
    with Live(lab) as live:
        info = os.stat(live.path)
        assert stat.S_IMODE(info.st_mode) == 0o600 and info.st_uid == lab.uid
        live.end()
        assert not os.path.lexists(live.path)


@pytest.mark.elsewhere
@pytest.mark.parametrize("where", ["exists", "too-long", "foreign-folder", "share", "no-gateway"])
def test_a_socket_that_cannot_be(lab, where):
    path, extra, mode = str(lab.folder / "c.sock"), [], None
    if where == "exists":
        (lab.folder / "c.sock").write_text("mine")
    elif where == "too-long":
        path = str(lab.folder / ("c" * 120))
    elif where == "foreign-folder":
        path = "/tmp/weir-lab-c.sock"
    elif where == "share":
        (lab.folder / "data").mkdir()
        os.chown(lab.folder / "data", lab.uid, lab.gid)
        path, extra = str(lab.folder / "data" / "c.sock"), ["-v", f"{lab.folder}/data:/data:ro"]
    else:
        mode = "none"
    out = lab.run("true", mode=mode, allow=[] if mode else [KEPT], extra=["--control", path, *extra])
    assert out.code == 125 and out.stderr.count("\n") == 1, out
    assert not os.path.lexists(path) or where == "exists", out
    if where == "exists":
        assert (lab.folder / "c.sock").read_text() == "mine"
    good = lab.run("true", allow=[KEPT], extra=["--control", str(lab.folder / "twin.sock")])
    assert good.code == 0, good


def test_policies_in_a_hurry(lab):
    """Changes, good and bad, while connections come and go: no verdict of an older generation after a newer one."""
    guest = f"""
import threading
def churn():
    while True: tcp({w.EVIL4!r}, 7, 'x', 1); tcp({w.ALLOWED4!r}, 7, 'x', 1)
for _ in range(4): threading.Thread(target=churn, daemon=True).start()
print('churning', flush=True)
sys.stdin.readline()
"""
    with Live(lab, guest) as live:
        for turn in range(12):
            assert live.ask(BOTH)["generation"] == turn + 2
            assert live.ask({"op": "narrow", "network_mode": "open"})["error"]["code"] == "cannot_widen"
        assert live.ask(NARROW)["generation"] == 14
        before = lab.world.packets_to(w.EVIL4, 7)
        seen = len(read_events(live.run.events_path))
        wait_until(lambda: len([event for event in read_events(live.run.events_path)[seen:]
                                if event["type"] == "flow.open"]) > 20, what="connections after the change")
        assert lab.world.packets_to(w.EVIL4, 7) == before
        out = live.end()
        generations = [event["generation"] for event in out.events]
        assert generations == sorted(generations), out
        assert not [event for event in out.of_type("flow.open", dst=w.EVIL4) if event["generation"] >= 14], out


@pytest.mark.elsewhere
def test_the_record_comes_first(lab):
    """A change that cannot be recorded does not happen."""
    with Live(lab, events=False, extra=["--events", "/dev/full"]) as live:
        live.run.finish()
        assert live.run.process.returncode == 125  # not even a start


def test_a_full_record_keeps_nothing_open(lab):
    """Who fills the record would keep what he has: the change is in force, the answer says that it is not recorded."""
    fifo = lab.folder / "events"
    os.mkfifo(fifo)
    os.chown(fifo, lab.uid, lab.gid)
    unread = os.open(fifo, os.O_RDWR)  # never read: it takes four pages
    fcntl.fcntl(unread, fcntl.F_SETPIPE_SZ, 16384)
    try:
        with Live(lab, events=False, extra=["--events", str(fifo)]) as live:
            assert live.first == '["x", "x"]', live.run.finish()
            filled = f"[tcp({w.EVIL6!r}, port)['connect'] for port in range(1, 300)] and tcp({w.ALLOWED4!r}, 7)['connect']"
            assert live.do(filled) == "ECONNREFUSED", "what cannot be recorded does not open"
            assert live.do("[said(kept), said(lost)]") == ["x", "x"]
            answer = live.ask(NARROW)
            assert answer["generation"] == 2 and answer["cut"] == 1, answer
            assert any("not on the record" in warning for warning in answer["warnings"]), answer
            assert live.do("[said(kept), heard(lost)]") == ["x", "ECONNRESET"]
    finally:
        os.close(unread)


def test_many_warnings_are_one_short_answer(lab):
    """4,000 entries of which the policy before allows a part: one line that can be read, and one event of a page at most."""
    fifo = lab.folder / "events"
    os.mkfifo(fifo)
    os.chown(fifo, lab.uid, lab.gid)
    reader = os.open(fifo, os.O_RDWR)
    try:
        with Live(lab, events=False, extra=["--events", str(fifo)]) as live:
            entries = [f"93.184.216.0/24:{port}" for port in range(1, 4000)]
            answer = live.ask({"op": "narrow", "network_allowlist": [*entries[6:7], "93.184.216.0/25:7"]})
            assert answer["generation"] == 2 and len(answer["warnings"]) == 2, answer
            answer = live.ask({"op": "narrow", "network_allowlist": ["93.184.216.0/24:7"] * 4000})
            assert answer["generation"] == 3 and len(answer["warnings"]) == 6, answer
            lines = os.read(reader, 1 << 20).splitlines()
            updates = [line for line in lines if b'"policy.update"' in line]
            assert len(updates) == 2 and all(len(line) < 4096 for line in updates), lines
    finally:
        os.close(reader)


@pytest.mark.elsewhere
def test_a_gateway_that_stands_still(lab, live):
    """What does not let go of its connections is ended with them."""
    gateway = next(pid for pid, name in live.run.family().items() if "gate" in name)
    os.kill(gateway, signal.SIGSTOP)
    answers = []
    asker = threading.Thread(target=lambda: answers.append(live.ask(NARROW)))
    asker.start()
    live.run.process.wait(timeout=30)
    asker.join()
    out = live.run.finish()
    assert out.code == 125 and "the gateway did not take the narrower policy" in out.stderr, out
    assert answers == [None], answers


@pytest.mark.elsewhere
def test_killed_in_the_middle(lab, live):
    live.run.process.send_signal(signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as sock:
        os.seteuid(lab.uid)
        sock.connect(live.path)
        os.seteuid(0)
        sock.sendall(json.dumps(NARROW).encode() + b"\n")
        live.run.kill()
        with pytest.raises(ConnectionResetError):  # no answer: the line was never read
            sock.recv(10)
    wait_until(lambda: len(closes_of(lab, w.ALLOWED4) + closes_of(lab, w.EVIL4)) == 2, what="the end of both")
    assert closes_of(lab, w.ALLOWED4) == closes_of(lab, w.EVIL4) == ["Connection reset by peer"]


# ---- limits ----------------------------------------------------------------------------------------------------------


def with_limits(**limits):
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in limits.items())
    text = f'version = 1\nmode = "allowlist"\nallow = {json.dumps([at(w.ALLOWED4), at(w.EVIL4)])}\n[limits]\n{lines}'
    return {"op": "narrow", "policy": text}


TIMED = f"""
def echo(size):
    begin, got = time.monotonic(), 0
    sent = threading.Thread(target=kept.sendall, args=(b'r' * size,)); sent.start()
    while got < size: got += len(kept.recv(65536))
    sent.join()
    return time.monotonic() - begin
def dials(count):
    begin = time.monotonic()
    for _ in range(count): dial({w.ALLOWED4!r}, 9).close()
    return time.monotonic() - begin
def questions(count):
    begin = time.monotonic()
    for n in range(count): dns(f'n{{n}}.wild.test')
    return time.monotonic() - begin
"""


@pytest.fixture
def limited(lab):
    guest = "import threading\n" + TIMED + TWO_FLOWS
    with Live(lab, guest=guest, allow=[w.ALLOWED4, w.EVIL4, "*.wild.test"]) as running:
        assert running.first == '["x", "x"]', running.run.finish()
        yield running


@ELSEWHERE_TWINS
def test_a_quota_of_connections_that_stand(lab, limited, verdict):
    """What was sent before counts: 2000 of 1500 bytes are gone, so not a byte more leaves; of 5000 they are not."""
    assert limited.do("said(lost, b'l' * 90)") == "l" * 90
    assert limited.do("echo(2000)") < 5
    answer = limited.ask(with_limits(egress_bytes=5000 if verdict == "allow" else 1500))
    assert answer["generation"] == 2 and answer["cut"] == 0, answer
    if verdict == "allow":
        assert limited.do("said(kept, b'on')") == "on"
        assert not limited.end().of_type("limit")
        return
    assert limited.do("said(kept, b'on')") == "ECONNRESET"
    assert limited.do("said(lost, b'on')") == "on", "the other address has its own"
    assert limited.ask(with_limits(egress_bytes="1G"))["generation"] == 3
    assert limited.do(f"tcp({w.ALLOWED4!r}, 80)['connect']") == "ECONNREFUSED", "a limit is never widened"
    out = limited.end()
    assert lab.world.packets_to(w.ALLOWED4, 80) == 0, out
    closed = out.of_type("flow.close", dst=w.ALLOWED4, port=7)[0]
    assert closed["bytes_up"] == 2001 and closed["error"] == "EDQUOT", out
    hits = [event for event in out.of_type("limit") if event["limits"][0]["limit"] == "egress_bytes"]
    assert len(hits) == 1 and hits[0]["limits"][0]["value"] == "1500", out
    refused = out.refusals(dst=w.ALLOWED4, port=80)
    assert len(refused) == 1 and refused[0]["reason"] == "quota", out


def test_rates_of_what_runs(lab, limited):
    """A connection that stands slows down, connects and questions wait; before, none of them did."""
    assert limited.do("echo(2_000_000)") < 1.5 and limited.do("dials(8)") < 1 and limited.do("questions(8)") < 1
    answer = limited.ask(with_limits(egress_rate="8Mbit/s", connects_per_second=2))
    assert answer["cut"] == 0, answer
    assert 1.7 <= limited.do("echo(2_000_000)") <= 2.2, "2 MB at 1 MB/s, a tenth of a second in advance"
    assert 1.5 <= limited.do("dials(8)") <= 2.6
    assert limited.ask(with_limits(egress_rate="80Mbit/s", connects_per_second=100))["generation"] == 3
    assert limited.do("echo(2_000_000)") >= 1.7, "a rate is never widened"
    out = limited.end()
    assert {event["limits"][0]["limit"] for event in out.of_type("limit")} == {"egress_rate", "connects_per_second"}, out


def test_questions_of_what_runs(lab, limited):
    request = with_limits(dns_queries_per_second=2)
    request["policy"] = request["policy"].replace("allow = [", 'allow = ["*.wild.test", ')
    assert limited.do("questions(8)") < 1
    assert limited.ask(request)["generation"] == 2
    assert 1.5 <= limited.do("questions(8)") <= 2.6
    out = limited.end()
    assert {event["limits"][0]["limit"] for event in out.of_type("limit")} == {"dns_queries_per_second"}, out
