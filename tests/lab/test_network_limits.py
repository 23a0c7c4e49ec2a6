"""The limits of the policy on the network (policy.md section 7): what is below passes, what is above waits or is refused,
and each is an event that names the limit. attacks.md O02-O05, E09."""

import json

import pytest

import world as w
from lab import attempts


def policy(limits, allow=(w.ALLOWED4,), mode="allowlist"):
    text = f'version = 1\nmode = "{mode}"\n'
    if allow:
        text += f"allow = {json.dumps(list(allow))}\n"
    return text + "[limits]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in limits.items())


def limit_events(out, limit, kind="limit"):
    return [event for event in out.of_type(kind) if [hit["limit"] for hit in event.get("limits", [])] == [limit]]


def assert_one_refusal(lab, out, port, limit, value, reason, dst=w.ALLOWED4):
    """The target saw nothing, and one record names the limit."""
    assert lab.world.packets_to(dst, port) == 0, out
    found = out.refusals(dst=dst, port=port)
    assert attempts(found) == 1 and found[0]["reason"] == reason, out
    assert found[0]["limits"] == [{"limit": limit, "value": value, "times": 1}], found


@pytest.mark.elsewhere
@pytest.mark.parametrize("count", [3, 4])
def test_half_open(lab, count):
    """The fourth of three connections in the making is refused; the others were not in its way. SILENT4 never answers."""
    code = f"""
held = []
for _ in range(3):
    s = socket.socket(); s.setblocking(False); s.connect_ex(({w.SILENT4!r}, 4445)); held.append(s)
result = tcp({w.SILENT4!r}, 4446, timeout=1)['connect']
"""
    out = lab.guest(code, policy=policy({"half_open": count}, [w.SILENT4]))
    if count == 4:
        assert out.result == "TIMEOUT" and lab.world.packets_to(w.SILENT4, 4446) > 0 and not out.refusals(), out
    else:
        assert out.result == "ECONNREFUSED", out
        assert_one_refusal(lab, out, 4446, "half_open", "3", "limit", w.SILENT4)


# {connects}: begins them all at once, and notes when each stood.
CONNECTS = """
import selectors
sel = selectors.DefaultSelector()
begin = time.monotonic()
times, refused = [], 0
for _ in range({connects}):
    s = socket.socket(); s.setblocking(False)
    s.connect_ex(({to!r}, 9)); sel.register(s, selectors.EVENT_WRITE)
while len(times) + refused < {connects} and time.monotonic() - begin < 20:
    for key, _ in sel.select(1):
        if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR): refused += 1
        else: times.append(time.monotonic() - begin)
        sel.unregister(key.fileobj)
"""


def test_connects_wait_for_their_turn(lab):
    """20 a second: 40 at once, 100 over the next five seconds, in time within a tenth; nobody beside them waits."""
    code = CONNECTS.format(connects=140, to=w.ALLOWED4) + "result = [refused, times]\n"
    out = lab.guest(code, policy=policy({"connects_per_second": 20, "half_open": 500}))
    refused, times = out.result
    assert refused == 0 and len(times) == 140, out
    assert times[39] < 1 and abs(times[-1] - 5.0) < 0.5, times
    after = sorted(t for t in times[40:])
    assert all(abs(t - (n + 1) / 20) < 0.3 for n, t in enumerate(after)), after
    delays = limit_events(out, "connects_per_second")
    assert attempts(delays) == 100 and {event["dst"] for event in delays} == {w.ALLOWED4}, out


@pytest.mark.elsewhere
def test_connects_that_would_wait_too_long(lab):
    """Of 200 at 20 a second 140 fit into five seconds; the others are refused at once and the target never hears of them."""
    code = CONNECTS.format(connects=200, to=w.ALLOWED4) + "result = [refused, len(times)]\n"
    out = lab.guest(code, policy=policy({"connects_per_second": 20, "half_open": 500}))
    refused, stood = out.result
    assert refused + stood == 200 and 140 <= stood <= 145, out
    assert attempts(limit_events(out, "connects_per_second", "flow.refuse")) == refused, out
    assert len(out.of_type("flow.open")) == stood, out
    assert {event["reason"] for event in out.refusals()} == {"limit"}, out


def test_the_defaults_let_ordinary_programs_be(lab):
    """300 connections one after the other and 50 names, under the default limits: no event says limit."""
    code = f"""
begin = time.monotonic()
ok = sum(tcp({w.ALLOWED4!r}, 9)['connect'] == 'OK' for _ in range(300))
result = ok
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result == 300 and not out.of_type("limit") and not out.refusals(), out


# ---- questions and names ---------------------------------------------------------------------------------------------


QUESTIONS = """
def ask_all(names):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((nameserver(), 53)); s.settimeout(7)
    begin, seen = time.monotonic(), {{}}
    for number, name in enumerate(names): s.send(dns_query(name, 'A', ident=number))
    while len(seen) < len(names):
        try: answer = parse_dns(s.recv(4096))
        except OSError: break
        seen[answer['id']] = [answer['rcode'], time.monotonic() - begin]
    return [seen.get(n) for n in range(len(names))]
result = ask_all({names!r})
"""


@pytest.mark.elsewhere
def test_questions(lab):
    """10 a second: 20 at once, 50 over five seconds, and what comes on top is SERVFAIL, not asked, and recorded."""
    names = ["allowed.test"] * 70 + ["late.allowed.test"] * 5
    out = lab.guest(QUESTIONS.format(names=names),
                    policy=policy({"dns_queries_per_second": 10}, [".allowed.test"]), timeout=90)
    answers = out.result
    assert all(answers) and [rcode for rcode, _ in answers[:70]] == [0] * 70, answers
    assert answers[19][1] < 1 and abs(answers[69][1] - 5) < 0.5, answers
    assert [rcode for rcode, _ in answers[70:]] == [2] * 5, answers
    assert not [entry for entry in lab.world.dns_log.since() if entry["spelled"].lower() == "late.allowed.test"]
    assert attempts(limit_events(out, "dns_queries_per_second")) == 50, out
    refused = limit_events(out, "dns_queries_per_second", "dns.refuse")
    assert attempts(refused) == 5 and refused[0]["name"] == "late.allowed.test" and refused[0]["rcode"] == "SERVFAIL", out


@pytest.mark.elsewhere
def test_names_below_a_wildcard(lab):
    """A tenth of 60 a minute: six at once, the seventh is not asked within five seconds; one that was asked is free."""
    names = [f"n{n}.wild.test" for n in range(6)] * 3 + ["n6.wild.test"]
    out = lab.guest(QUESTIONS.format(names=names),
                    policy=policy({"dns_names_per_minute": 60}, ["*.wild.test"]), timeout=90)
    answers = [rcode for rcode, _ in out.result]
    assert answers == [0] * 18 + [2], out
    assert "n6.wild.test" not in [entry["spelled"].lower() for entry in lab.world.dns_log.since()]
    refused = limit_events(out, "dns_names_per_minute", "dns.refuse")
    assert attempts(refused) == 1 and refused[0]["reason"] == "limit" and refused[0]["name"] == "n6.wild.test", out


# ---- quotas ----------------------------------------------------------------------------------------------------------


SEND = """
def send(address, port, size):
    s = socket.create_connection((address, port)); s.settimeout(10)
    try:
        s.sendall(b'q' * size)
        try: s.shutdown(socket.SHUT_WR)
        except OSError: pass  # reset meanwhile: the next call says so
        return s.recv(64).decode()
    except OSError as error:
        return name_of(error)
"""


@pytest.mark.elsewhere
@pytest.mark.parametrize("size", [1_000_000, 1_000_001])
@pytest.mark.parametrize("limit", ["egress_bytes", "egress_bytes_total"])
def test_egress(lab, limit, size):
    """To the byte: what fits arrives whole, one byte more resets the connection, and then nobody gets there any more.
    Port 12 counts what comes; SHARED4 is another address."""
    code = SEND + f"""
said = send({w.ALLOWED4!r}, 12, {size})
result = [said, tcp({w.ALLOWED4!r}, 4447)['connect'], tcp({w.SHARED4!r}, 9)['connect']]
"""
    out = lab.guest(code, policy=policy({limit: 1_000_000}, [w.ALLOWED4, w.SHARED4]))
    said, again, other = out.result
    closed = out.of_type("flow.close", dst=w.ALLOWED4, port=12)[0]
    if size == 1_000_000:
        assert said == "1000000\n" and closed["bytes_up"] == size and "error" not in closed, out
        assert not limit_events(out, limit) and other == "OK", out
        return
    assert said == "ECONNRESET" and closed["error"] == "EDQUOT" and closed["bytes_up"] <= 1_000_000, out
    assert len(limit_events(out, limit)) == 1, out
    assert again == "ECONNREFUSED", out
    assert_one_refusal(lab, out, 4447, limit, "1000000", "quota")
    if limit == "egress_bytes":
        assert other == "OK", out
    else:
        assert other == "ECONNREFUSED" and lab.world.packets_to(w.SHARED4, 9) == 0, out


@pytest.mark.elsewhere
def test_egress_of_many_connections(lab):
    """The quota is theirs together, bulk and small: what the target's kernel handed out is not a byte more."""
    code = SEND + f"""
first = send({w.ALLOWED4!r}, 12, 600_000)
second = send({w.ALLOWED4!r}, 12, 600_000)
result = [first, second]
"""
    out = lab.guest(code, policy=policy({"egress_bytes": 1_000_000}))
    assert out.result == ["600000\n", "ECONNRESET"], out
    assert sum(event["bytes_up"] for event in out.of_type("flow.close", port=12)) <= 1_000_000, out


@pytest.mark.elsewhere
@pytest.mark.parametrize("size", [1000, 1001])
def test_egress_by_datagrams(lab, size):
    """UDP is counted with the rest: the datagram that does not fit never arrives, and the program hears of it."""
    code = f"""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(({w.ALLOWED4!r}, 7)); s.settimeout(2)
def ask(n):
    try:
        s.send(b'u' * n); return len(s.recv(4096))
    except OSError as error: return name_of(error)
result = [ask(500), ask({size - 500})]
"""
    out = lab.guest(code, policy=policy({"egress_bytes": 1000}))
    if size == 1000:
        assert out.result == [500, 500] and not out.of_type("limit"), out
    else:
        assert out.result[0] == 500 and out.result[1] in ("EHOSTUNREACH", "EACCES", "ECONNREFUSED"), out
        assert lab.world.packets_to(w.ALLOWED4, 7) == 1 and len(limit_events(out, "egress_bytes")) == 1, out


@pytest.mark.elsewhere
@pytest.mark.parametrize("size", [1_000_000, 1_000_001])
def test_ingress(lab, size):
    """A download beyond the quota ends with a reset, never with a clean end."""
    code = f"""
s = socket.create_connection(({w.ALLOWED4!r}, 7)); s.settimeout(10)
import threading
def feed():
    try: s.sendall(b'd' * {size}); s.shutdown(socket.SHUT_WR)
    except OSError: pass
threading.Thread(target=feed).start()
total, end = 0, None
try:
    while part := s.recv(65536): total += len(part)
    end = 'eof'
except OSError as error: end = name_of(error)
result = [total, end]
"""
    out = lab.guest(code, policy=policy({"ingress_bytes": 1_000_000}))
    if size == 1_000_000:
        assert out.result == [size, "eof"], out
    else:
        assert out.result[0] <= 1_000_000 and out.result[1] == "ECONNRESET", out
        assert len(limit_events(out, "ingress_bytes")) == 1, out
        assert out.of_type("flow.close")[0]["bytes_down"] <= 1_000_000, out


# ---- rates: time is the subject --------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("way", ["egress_rate", "ingress_rate"])
def test_rate(lab, way, connections):
    """16 Mbit/s is 10 MB in five seconds, within a tenth, by one connection or by four together. What goes up is counted as
    it comes back from an echo."""
    code = f"""
import threading
def move(number):
    s = socket.create_connection(({w.ALLOWED4!r}, {7 if way == "egress_rate" else 14})); s.settimeout(0.2)
    if {way == "egress_rate"}: threading.Thread(target=feed, args=(s,), daemon=True).start()
    while time.monotonic() < end:
        try: totals[number] += len(s.recv(65536))
        except TimeoutError: pass
def feed(s):
    s = s.dup(); s.settimeout(None)
    try:
        while True: s.sendall(b'r' * 65536)
    except OSError: pass
totals, end = [0] * {connections}, time.monotonic() + 5
threads = [threading.Thread(target=move, args=(n,)) for n in range({connections})]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps(totals), flush=True)
import os; os._exit(0)
"""
    out = lab.guest(code, policy=policy({way: "16Mbit/s"}), timeout=60)
    totals = out.result
    assert 9_000_000 <= sum(totals) <= 11_000_000, totals
    assert min(totals) * 2 > max(totals), totals
    assert len(limit_events(out, way)) == 1, out


def test_semitrusted(lab):
    """The web and nothing else, with its limits shown."""
    out = lab.guest(f"result = [http_get({w.ALLOWED4!r}, 80, 'x')['data'][:15], tcp({w.ALLOWED4!r}, 7)['connect'], "
                    f"tls({w.ALLOWED4!r}, 443, 'allowed.test')['tls']]", mode="semitrusted")
    assert out.result == ["HTTP/1.1 200 OK", "ECONNREFUSED", "OK"], out
    assert out.refusals(port=7)[0]["reason"] == "no-rule" and lab.world.packets_to(w.ALLOWED4, 7) == 0, out
    shown = lab.cli("policy", "show", "-n", "semitrusted").stdout
    for line in ("egress_bytes_total 1G", "egress_rate 100Mbit/s", "ingress_rate 100Mbit/s", "egress_bytes 1G"):
        assert f"limit: {line}\n" in shown, shown


def test_open_has_no_limits(lab):
    out = lab.cli("policy", "show", "-n", "open")
    assert "limit:" not in out.stdout, out


# ---- floods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flood", ["syn", "dns"])
def test_flood_beside_a_canary(lab, flood):
    """Thousands of connects or questions beyond the limits, and a connection that stood before moves its bytes all along."""
    work = {"syn": f"s = socket.socket(); s.setblocking(False); s.connect_ex(({w.ALLOWED4!r}, 9)); keep.append(s); del keep[:-200]",
            "dns": "u.send(dns_query(f'n{n}.wild.test', 'A'))"}[flood]
    code = f"""
import threading
canary = socket.create_connection(({w.ALLOWED4!r}, 7)); canary.settimeout(5)
def beat():
    begin = time.monotonic(); canary.sendall(b'beat'); assert canary.recv(4) == b'beat'
    return time.monotonic() - begin
stop, n, keep = False, 0, []
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect((nameserver(), 53))
def work():
    global n
    while not stop:
        n += 1
        try: {work}
        except OSError: pass
beat()
thread = threading.Thread(target=work); thread.start()
end, beats = time.monotonic() + 2, []
while time.monotonic() < end: beats.append(beat())
stop = True; thread.join()
result = [n, len(beats), max(beats), beat() < 2]
"""
    out = lab.guest(code, allow=[w.ALLOWED4, "*.wild.test"], timeout=60)
    sent, count, slowest, after = out.result
    assert sent > 1500 and count > 20 and slowest < 1.5 and after, out.result
    limit = "connects_per_second" if flood == "syn" else "dns_queries_per_second"
    assert limit_events(out, limit), out
