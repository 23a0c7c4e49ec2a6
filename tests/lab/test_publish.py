"""Published ports: who comes in, what the record says, and that nothing gets out by them. attacks.md L01, L04, L10."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

import world as w
from checks import TWINS
from lab import processes, wait_until

# Servers inside: `serve(port, host)` answers each connection with "inside:" and what came; then it is told.
SERVER = """
import socket, threading
def serve(port, host='127.0.0.1'):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=4096)
    def one(peer):
        with peer:
            while data := peer.recv(65536): peer.sendall(b'inside:' + data)
    def loop():
        while True: threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
"""
WAIT = "\nprint('up', flush=True)\nimport sys; sys.stdin.readline()\n"
SEVEN = SERVER + "serve(7)" + WAIT

# What a client on the host sees.
CLIENT = """
import json, socket, sys
def ask(address, port, say=b'hello', bind=None):
    try:
        with socket.create_connection((address, port), timeout=10, source_address=bind) as s:
            me = s.getsockname()
            s.sendall(say); s.shutdown(socket.SHUT_WR)
            got = b''
            while data := s.recv(65536): got += data
            return {'got': got.decode(), 'me': me[:2]}
    except OSError as error:
        return {'error': type(error).__name__}
"""


def on_host(lab, code):
    done = lab.world.host.run(["/usr/bin/python3", "-c", CLIENT + code], timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(lab, port, address="127.0.0.1"):
    return on_host(lab, f"print(json.dumps(ask({address!r}, {port})))")


def finish(running):
    running.say("")
    return running.finish()


@pytest.fixture
def start(lab):
    """Starts a sandbox and waits for its word; it never outlives the test."""
    begun = []

    def start(*ports, guest=SEVEN, **options):
        extra = [word for port in ports for word in ("-p", port)]
        running = lab.start(guest=guest, extra=[*extra, *options.pop("extra", [])], **options)
        begun.append(running)
        assert running.line() == "up", running.process.stderr.read()
        return running
    yield start
    for running in begun:
        running.kill()


@pytest.mark.parametrize("mode", [None, "inbound", "open"])
def test_in_and_on_the_record(lab, start, mode):
    """The twins: the published port answers; the same server's other port does not, and leaves no record."""
    running = start("18080:7", guest=SERVER + "serve(7); serve(8)" + WAIT, mode=mode)
    seen = ask(lab, 18080)
    assert seen["got"] == "inside:hello"
    for port in (7, 8, 18081):
        assert ask(lab, port) == {"error": "ConnectionRefusedError"}, port
    out = finish(running)
    opened, closed = out.of_type("flow.open"), out.of_type("flow.close")
    assert len(opened) == len(closed) == 1, out
    told = {"proto": "tcp", "via": "publish", "dst": "127.0.0.1", "port": 18080, "guest_port": 7, "src": seen["me"][0],
            "src_port": seen["me"][1]}
    assert opened[0]["rule"] == {"layer": "session", "index": None, "text": "127.0.0.1:18080:7/tcp"}, out
    for event in (*opened, *closed):
        assert told.items() <= event.items(), out
    assert closed[0]["bytes_down"] == 5 and closed[0]["bytes_up"] == 12 and "error" not in closed[0], out
    assert out.of_type("sandbox.start")[0]["published"] == ["127.0.0.1:18080:7/tcp"]


def test_several_ipv6_and_any_free_port(lab, start):
    """Port 0 is chosen, said and recorded; a server on one loopback is reached by clients of both families."""
    guest = SERVER + "serve(7); serve(8, '::1')" + WAIT
    running = start("[::1]:0:7", "0:8", "[::1]:18088:8", guest=guest)
    lines = [running.process.stderr.readline() for _ in range(2)]
    six = int(re.fullmatch(r"weir: published \[::1\]:(\d+):7/tcp\n", lines[0]).group(1))
    four = int(re.fullmatch(r"weir: published 127\.0\.0\.1:(\d+):8/tcp\n", lines[1]).group(1))
    for address, port in (("::1", six), ("127.0.0.1", four), ("::1", 18088)):
        assert ask(lab, port, address).get("got") == "inside:hello", (address, port)
    assert ask(lab, six)["error"] == "ConnectionRefusedError", "bound to ::1 only"
    out = finish(running)
    assert out.of_type("sandbox.start")[0]["published"] == [f"[::1]:{six}:7/tcp", f"127.0.0.1:{four}:8/tcp",
                                                            "[::1]:18088:8/tcp"]


@pytest.mark.parametrize("verdict", ["allow", "refuse"])  # no path: admission has no part in it
def test_only_where_it_is_bound(lab, start, verdict):
    """Default: loopback. Other machines reach it only when the address says so, and then weir says so too."""
    bind = "0.0.0.0:" if verdict == "allow" else ""
    running = start(f"{bind}18080:7")
    code = f"print(json.dumps(ask({w.HOST_LAN4!r}, 18080)))"
    done = lab.world.lan.run(["/usr/bin/python3", "-c", CLIENT + code])
    seen = json.loads(done.stdout)
    out = finish(running)
    if verdict == "allow":
        assert seen["got"] == "inside:hello"
        assert out.of_type("flow.open")[0]["src"] == w.LAN4
        assert "is published to other machines, on every address" in out.stderr
    else:
        assert seen == {"error": "ConnectionRefusedError"}
        assert not out.of_type("flow.open") and not out.of_type("flow.refuse"), out


def test_closed_port_inside(lab, start):
    """Nobody listens: the client is reset, the record says why, and the port works for who comes later."""
    guest = SERVER + "print('up', flush=True)\nimport sys; sys.stdin.readline(); serve(7)" + WAIT
    running = start("18080:7", guest=guest)
    assert ask(lab, 18080) == {"error": "ConnectionResetError"}
    running.say("")
    assert running.line() == "up"
    assert ask(lab, 18080)["got"] == "inside:hello"
    out = finish(running)
    assert [event.get("error") for event in out.of_type("flow.close")] == ["ECONNREFUSED", None], out


def test_opens_nothing_outward(lab, start):
    """L01, L10: with a published port, and while somebody is connected, the guest reaches neither the internet nor the
    host's loopback, nor its own port outside."""
    guest = SERVER + f"""
serve(7)
print('up', flush=True)
import sys; sys.stdin.readline()
tried = [tcp({w.EVIL4!r}, 80), tcp('127.0.0.1', {w.LOOPBACK_PORT}), tcp({w.HOST_UP4!r}, {w.HOST_PORT}), tcp('127.0.0.1', 18080)]
print(json.dumps([each['connect'] for each in tried]), flush=True)
sys.stdin.readline()
"""
    running = start("18080:7", guest=guest)
    assert ask(lab, 18080)["got"] == "inside:hello"
    running.say("")
    assert json.loads(running.line()) == ["ENETUNREACH", "ECONNREFUSED", "ENETUNREACH", "ECONNREFUSED"]
    out = finish(running)
    assert lab.world.packets_to(w.EVIL4, 80) == 0
    assert len(out.of_type("flow.open")) == 1, out


def test_2000_at_once(lab, start):
    running = start("18080:7", extra=["--policy", lab.file("many.toml", "version = 1\nmode = 'inbound'\n"
                                                           "[limits]\nmax_flows = 4000\n")])
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
peers = [socket.create_connection(('127.0.0.1', 18080), timeout=30) for _ in range(2000)]
for number, peer in enumerate(peers): peer.sendall(b'%d' % number)
good = sum(peer.recv(100) == b'inside:%d' % number for number, peer in enumerate(peers))
print(json.dumps(good))
"""
    assert on_host(lab, code) == 2000
    out = finish(running)
    assert len(out.of_type("flow.open")) == len(out.of_type("flow.close")) == 2000
    assert not out.of_type("flow.refuse")


def test_max_flows(lab, start):
    """The count refuses: the second is reset, one event says so, and there is room again when the first has gone."""
    policy = "version = 1\nmode = 'inbound'\n[limits]\nmax_flows = 1\n"
    running = start("18080:7", policy=policy)
    code = """
first = socket.create_connection(('127.0.0.1', 18080)); first.sendall(b'x'); first.recv(100)
second = ask('127.0.0.1', 18080)
first.close()
third = ask('127.0.0.1', 18080)
while third.get('error'): third = ask('127.0.0.1', 18080)
print(json.dumps([second, third['got']]))
"""
    second, third = on_host(lab, code)
    assert second == {"error": "ConnectionResetError"} and third == "inside:hello"
    out = finish(running)
    refused = out.of_type("flow.refuse", via="publish", reason="limit", port=18080)
    assert refused and refused[0]["src"] == "127.0.0.1", out


def test_backpressure_and_half_close(lab, start):
    """64 MiB to a reader inside that begins late, counted by it; the answer comes after the client's end of stream."""
    guest = """
import socket, threading, time
listener = socket.create_server(('127.0.0.1', 7))
print('up', flush=True)
peer, _ = listener.accept()
import sys; sys.stdin.readline()
total = 0
while data := peer.recv(1 << 20): total += len(data)
peer.sendall(b'%d' % total); peer.close()
sys.stdin.readline()
"""
    running = start("18080:7", guest=guest)
    code = """
s = socket.create_connection(('127.0.0.1', 18080)); s.settimeout(0.5)
sent = 0
try:
    while sent < 64 << 20: sent += s.send(bytes(1 << 16))
except TimeoutError: pass
stuck = sent
print(json.dumps(stuck), flush=True); sys.stdin.readline()
s.settimeout(30)
while sent < 64 << 20: sent += s.send(bytes(1 << 16))
s.shutdown(socket.SHUT_WR)
print(json.dumps([sent, int(s.recv(100))]), flush=True)
"""
    client = subprocess.Popen([*lab.world.host.prefix(), "/usr/bin/python3", "-c", CLIENT + code], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert int(client.stdout.readline()) < 48 << 20, "nobody reads, and the client may go on"
        running.say("")
        client.stdin.write("\n")
        client.stdin.flush()
        sent, counted = json.loads(client.stdout.readline())
        assert sent == counted >= 64 << 20
    finally:
        client.kill()
        client.wait()
    finish(running)


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_by_curl(lab):
    conf = ("daemon off; master_process off; pid /tmp/nginx.pid; error_log /dev/null; events {} http { access_log off; "
            "client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; "
            "scgi_temp_path /tmp/e; server { listen 80; location / { return 200 from-nginx; } } }")
    running = lab.start("sh", "-c", f"echo '{conf}' > /tmp/n; exec /usr/sbin/nginx -c /tmp/n", extra=["-p", "18080:80"])
    try:
        got = lab.world.host.run(["curl", "-sS", "--retry", "20", "--retry-delay", "0", "--retry-all-errors",
                                  "http://127.0.0.1:18080/"])
        assert got.stdout == "from-nginx", got.stderr
    finally:
        running.kill()


@pytest.mark.parametrize("words, says", [
    (["-p", f"{w.HOST_PORT}:80"], ["cannot publish 127.0.0.1:7777/tcp", "in use"]),
    (["-p", "192.0.2.9:8080:80"], ["192.0.2.9 is no address of this machine"]),
    (["-p", "8080:80", "-p", "8080:81"], ["published twice"]),
    (["-p", "8080"], ["'8080' is no published port", "8080:80"]),
    (["-p", "8080:80/sctp"], ["'sctp' is no protocol", "/tcp or /udp"]),
    (["-n", "none", "-p", "8080:80"], ["mode none has no published ports", "-n inbound"]),
    (["-n", "host", "--i-trust-this-code", "-p", "8080:80"], ["mode host has no published ports"]),
])
def test_what_cannot_be_published(lab, words, says):
    out = lab.cli("run", *words, "--", "true")
    assert out.code == 125 and len(out.stderr.splitlines()) == 1, out
    for part in says:
        assert part in out.stderr, out


def test_privileged_port(lab):
    out = lab.cli("run", "-p", "81:80", "--events", "none", "--", "true")
    if lab.uid == 0:
        assert out.code == 0, out
    else:
        assert out.code == 125 and "net.ipv4.ip_unprivileged_port_start=81" in out.stderr, out


@pytest.mark.parametrize("role", ["supervisor", "init", "gateway"])
def test_killing_any_process(lab, start, role):
    running = start("18080:7")
    assert ask(lab, 18080)["got"] == "inside:hello"  # the gateway runs from here on
    family = running.family()
    pid = {"supervisor": running.pid,
           "gateway": next(pid for pid, name in family.items() if "gate" in name),
           "init": next(pid for pid, name in family.items() if "init" in name)}[role]
    os.kill(pid, signal.SIGKILL)
    running.process.wait(timeout=10)
    wait_until(lambda: not set(family) & set(processes()), 3, f"the end of {family}")
    assert ask(lab, 18080) == {"error": "ConnectionRefusedError"}


@TWINS
def test_siblings(lab, start, verdict):
    """L04: a port that another sandbox publishes is on the hard floor; the same port of an ordinary program is not."""
    begun = start("18080:7") if verdict == "refuse" else None
    ordinary = None if begun else lab.world.host.start(["/usr/bin/python3", "-uc", """
import socket
s = socket.create_server(('127.0.0.1', 18080)); print('ready', flush=True)
peer, _ = s.accept(); peer.sendall(b'ordinary'); peer.close()
"""])
    try:
        out = lab.guest("address = dns('host.weir.internal')['addresses'][0]\nresult = tcp(address, 18080, shut=True)",
                        allow=["host.weir.internal:18080"])
    finally:
        if ordinary:
            ordinary.kill()
            ordinary.wait()
    if verdict == "allow":
        assert out.result["connect"] == "OK" and len(out.of_type("flow.open", port=18080)) == 1, out
        return
    assert out.result["connect"] == "ECONNREFUSED", out
    refused = out.refusals(port=18080)
    assert len(refused) == 1 and refused[0]["reason"] == "floor", out
    assert not finish(begun).of_type("flow.open"), "somebody came"


def test_idle_sandbox_has_no_gateway(lab, start):
    running = start("18080:7")
    assert not [name for name in running.family().values() if "gate" in name]
    assert ask(lab, 18080)["got"] == "inside:hello"
    assert [name for name in running.family().values() if "gate" in name]
    assert finish(running).code == 0
