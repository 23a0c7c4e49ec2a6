"""Tricks that belong to no protocol: who asks, by which way, and with what around it. attacks.md A09, A10, F08, J04, J12,
K05, L08, P06, Q04."""

import json

import pytest

import world as w
from checks import FAMILIES, TWINS, assert_allowed, assert_refused, at
from lab import attempts

# Options in the header of IPv4 (RFC 791): record route, which anybody may set, and the loose source route by way of an
# address that is connected to, which takes a privilege that nobody has inside.
OPTIONS = """
RECORD = bytes([7, 11, 4]) + bytes(8) + bytes([0])
def with_options(kind, address, options):
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(5)
        try:
            s.setsockopt(socket.IPPROTO_IP, 4, options)
            s.connect((address, 7))
            s.sendall(b'x')
            return s.recv(10).decode()
        except OSError as error: return name_of(error)
def route(via): return bytes([131, 7, 4]) + socket.inet_aton(via) + bytes([0])
"""


@pytest.mark.parametrize("verdict", ["allow", pytest.param("refuse", marks=pytest.mark.elsewhere)])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_options_of_ip(lab, kind, verdict):
    """J04: a packet with options is refused wherever it goes, so that none can steer it."""
    proto = "tcp" if kind == "SOCK_STREAM" else "udp"
    options = "b''" if verdict == "allow" else "RECORD"
    code = f"result = [with_options(socket.{kind}, {w.ALLOWED4!r}, {options}), with_options(socket.{kind}, {w.EVIL4!r}, " \
           f"route({w.ALLOWED4!r})), with_options(socket.{kind}, {w.ALLOWED4!r}, route({w.EVIL4!r}))]"
    out = lab.guest(OPTIONS + code, allow=[f"{proto}://{w.ALLOWED4}:7"], extra=["--user", "root"])
    told = "x" if verdict == "allow" else "ECONNREFUSED" if proto == "tcp" else "EHOSTUNREACH"
    assert out.result == [told, "EPERM", "EPERM"], out
    assert lab.world.packets_to(w.EVIL4) == 0, out
    assert (lab.world.packets_to(w.ALLOWED4) > 0) == (verdict == "allow"), out
    assert [event["reason"] for event in out.refusals()] == ([] if verdict == "allow" else ["protocol"]), out
    assert len(out.of_type("flow.open", dst=w.ALLOWED4)) == (1 if verdict == "allow" else 0), out


@TWINS
@pytest.mark.parametrize("who", ["python3", "curl", "weir", "root", "sandbox", "12345"])
def test_whoever_asks(lab, who, verdict):
    """A09, L08: neither the name of a program nor its user opens anything."""
    dst = w.ALLOWED4 if verdict == "allow" else w.EVIL4
    user = who in ("root", "sandbox", "12345")
    inner = f"import socket\\ntry: socket.create_connection(({dst!r}, 7), 5).close(); print('OK')\\n" \
            "except OSError as error: print(error.errno)"
    program = "python3" if user else who
    code = f"""
import os, shutil, subprocess
os.makedirs('/tmp/bin'); shutil.copy('/usr/bin/python3', '/tmp/bin/{program}')
done = subprocess.run(['/tmp/bin/{program}', '-c', "{inner}"], capture_output=True, text=True)
result = [done.stdout.strip(), done.stderr]
"""
    out = lab.guest(code, allow=[at(w.ALLOWED4, 7)], extra=["--user", who] if user else [])
    said = {"OK": "OK", "111": "ECONNREFUSED"}.get(out.result[0])
    (assert_allowed if verdict == "allow" else assert_refused)(
        lab, out, {"connect": said}, dst, 7, *([] if verdict == "allow" else [["no-rule"]]))


def test_a_mark_is_nobodys(lab):
    """L08: what exempts traffic elsewhere cannot be set here."""
    code = f"""
def marked():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, 36, 0x1)  # SO_MARK
        s.connect(({w.EVIL4!r}, 7))
result = attempt(marked)
"""
    for user in ("root", "sandbox"):
        out = lab.guest(code, allow=[at(w.ALLOWED4, 7)], extra=["--user", user])
        assert out.result == "EPERM", out
        assert lab.world.packets_to(w.EVIL4) == 0, out


RELAY = """
import threading
def relay(port, dial):
    listener = socket.create_server(('127.0.0.1', port))
    def one(a):
        try: b = dial()
        except OSError as error: a.close(); return
        def pump(x, y):
            try:
                while data := x.recv(65536): y.sendall(data)
                y.shutdown(socket.SHUT_WR)
            except OSError: pass
        other = threading.Thread(target=pump, args=(b, a), daemon=True); other.start()
        pump(a, b); other.join(); a.close(); b.close()
    def loop():
        while True: threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
"""


@TWINS
@pytest.mark.parametrize("order", ["evil-first", "allowed-first"])
def test_through_a_relay_inside(lab, order, verdict):
    """A10: a relay of the guest's own is asked about like its client, whatever went through it before."""
    dst = w.ALLOWED4 if verdict == "allow" else w.EVIL4
    before = w.EVIL4 if order == "evil-first" else w.ALLOWED4
    code = RELAY + f"""
target = {before!r}
relay(9999, lambda: socket.create_connection((target, 7), 5))
def through():
    with socket.create_connection(('127.0.0.1', 9999), 5) as s:
        s.settimeout(5)
        try: s.sendall(b'x'); s.shutdown(socket.SHUT_WR); return s.recv(10).decode()
        except OSError as error: return name_of(error)
first = through()
target = {dst!r}
result = [first, through()]
"""
    out = lab.guest(code, allow=[at(w.ALLOWED4, 7)])
    attempts_at_evil = [before, dst].count(w.EVIL4)
    assert [answer == "x" for answer in out.result] == [before == w.ALLOWED4, dst == w.ALLOWED4], out
    assert attempts(out.refusals(dst=w.EVIL4)) == attempts_at_evil, out
    assert lab.world.packets_to(w.EVIL4) == 0, out
    assert len(out.of_type("flow.open", dst=w.ALLOWED4)) == 2 - attempts_at_evil, out


@TWINS
def test_no_helper_reads_along(lab, verdict):
    """J12: what an allowed connection says about other connections opens none of them."""
    says = f"PORT {w.EVIL4.replace('.', ',')},0,80\\r\\nEPRT |1|{w.EVIL4}|80|\\r\\n227 Entering Passive Mode " \
           f"({w.EVIL4.replace('.', ',')},0,80)\\r\\nm=audio 80 RTP/AVP 0\\r\\nc=IN IP4 {w.EVIL4}\\r\\n"
    dst = w.ALLOWED4 if verdict == "allow" else w.EVIL4
    out = lab.guest(f"said = tcp({w.ALLOWED4!r}, 7, send='{says}', recv=10)\nresult = tcp({dst!r}, 80)",
                    allow=[at(w.ALLOWED4, 7), at(w.ALLOWED4, 80)])
    (assert_allowed if verdict == "allow" else assert_refused)(
        lab, out, out.result, dst, 80, *([] if verdict == "allow" else [["no-rule"]]))


@TWINS
@FAMILIES
def test_both_families_of_a_name(lab, family, verdict):
    """K05: where one family of a name is denied it is not shown, and not reached by its address; the other one works."""
    denied = {4: w.ALLOWED4, 6: w.ALLOWED6}[family if verdict == "refuse" else 10 - family]
    dst = {4: w.ALLOWED4, 6: w.ALLOWED6}[family]
    kind = {4: "A", 6: "AAAA"}[family]
    out = lab.guest(f"result = [dns('allowed.test', '{kind}')['addresses'], tcp({dst!r}, 7)]", allow=["allowed.test"],
                    deny=[denied])
    shown, seen = out.result
    if verdict == "allow":
        assert shown == [dst], out
        assert_allowed(lab, out, seen, dst, 7)
    else:
        assert shown == [], out
        assert_refused(lab, out, seen, dst, 7, ["denied-by-rule", "no-rule"])


# What is there, what is not, and what is nobody's: inside, all of it looks the same.
NOWHERE = {"evil": w.EVIL4, "private": w.PRIVATE4, "private-unused": "10.20.30.41", "lan": w.LAN4, "host": w.HOST_UP4,
           "metadata": w.METADATA4, "silent": w.SILENT4, "unreachable": w.UNREACHABLE4}


def test_refusals_tell_nothing(lab):
    """P06: the same error for every destination that is refused, existing or not, and none of them hears of it."""
    code = f"result = {{name: tcp(address, {w.HOST_PORT})['connect'] for name, address in {NOWHERE!r}.items()}}"
    out = lab.guest(code, allow=[at(w.ALLOWED4, 7)])
    assert out.result == dict.fromkeys(NOWHERE, "ECONNREFUSED"), out
    for address in NOWHERE.values():
        assert lab.world.packets_to(address) == 0, address
        assert attempts(out.refusals(dst=address)) == 1, out


@TWINS
def test_ports_of_the_gateway_are_not_the_guests(lab, verdict):
    """Q04: a listener on all addresses inside does not stand in for the proxies or the resolver."""
    host = "allowed.test" if verdict == "allow" else "evil.test"
    code = f"""
import os
taken = []
for port in (3128, 1080):
    for family, any in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6: listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((any, port)); listener.listen(); listener.setblocking(False); taken.append(listener)
got = {{entry: fetch(entry, {host!r}, 80) for entry in ('connect', 'absolute', 'socks5h')}}
came = 0
for listener in taken:
    try: listener.accept(); came += 1
    except BlockingIOError: pass
result = [got, came]
"""
    out = lab.guest(code, allow=["allowed.test"])
    got, came = out.result
    assert came == 0, out
    assert {seen["connect"] for seen in got.values()} == {"OK" if verdict == "allow" else "refused"}, got
    assert (lab.world.packets_to(w.EVIL4) == 0) and (attempts(out.refusals(name=host)) == 0) == (verdict == "allow"), out


@TWINS
def test_only_the_host_field_names_the_host(lab, verdict):
    """F08: fields by which some servers let a request name another host are data; the judged name is Host's."""
    host, other = ("allowed.test", "evil.test") if verdict == "allow" else ("evil.test", "allowed.test")
    fields = "".join(f"{name}: {other}\\r\\n" for name in ("X-Forwarded-Host", "X-Host", "X-Original-URL", "Forwarded"))
    request = f"GET / HTTP/1.1\\r\\nHost: {host}\\r\\n{fields}Connection: close\\r\\n\\r\\n"
    out = lab.guest(f"resolve('allowed.test')\nresult = tcp({w.ALLOWED4!r}, 80, send={request!r}.encode().decode('unicode_escape'), recv=200)",
                    allow=["allowed.test"])
    assert out.result["connect"] == "OK", out
    if verdict == "allow":
        assert "200 OK" in out.result["data"] and not out.refusals(), out
        [opened] = out.of_type("flow.open", dst=w.ALLOWED4)
        assert opened["name"] == "allowed.test", out
    else:
        assert lab.world.packets.payload_to(w.ALLOWED4, 80) == 0, out
        [refused] = out.refusals(dst=w.ALLOWED4)
        assert refused["reason"] == "host-mismatch", out
