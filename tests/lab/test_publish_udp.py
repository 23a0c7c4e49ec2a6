"""Published UDP ports: who comes in, what the record says, and that nothing gets out by them. attacks.md L01, L04, L10."""

import json
import os
import shutil
import signal
import subprocess

import pytest

import world as w
from checks import TWINS
from lab import processes, read_events, wait_until
from test_publish import WAIT, finish, start as start_any  # noqa: F401 (a fixture)

# Servers inside: `serve(port, host)` answers each datagram with "inside:" and what came.
SERVER = """
import socket, threading
def serve(port, host='127.0.0.1'):
    sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind((host, port))
    def loop():
        while True:
            data, peer = sock.recvfrom(65536)
            sock.sendto(b'inside:' + data if len(data) < 60000 else data, peer)
    threading.Thread(target=loop, daemon=True).start()
    return sock
"""
SEVEN = SERVER + "serve(7)" + WAIT

# What a client on the host sees.
CLIENT = """
import json, socket, sys
def connected(address, port, bind=None, timeout=3):
    sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
    if bind: sock.bind((bind, 0))
    sock.settimeout(timeout); sock.connect((address, port))
    return sock
def answer(sock, say=b'hello'):
    try:
        sock.send(say)
        return sock.recv(65536).decode()
    except OSError as error: return type(error).__name__
def ask(address, port, say=b'hello', **more):
    sock = connected(address, port, **more)
    return {'got': answer(sock, say), 'me': sock.getsockname()[:2]}
"""
REFUSED = "ConnectionRefusedError"


@pytest.fixture
def start(start_any):  # noqa: F811
    return lambda *ports, guest=SEVEN, **options: start_any(*ports, guest=guest, **options)


def client(node, code):
    done = node.run(["/usr/bin/python3", "-c", CLIENT + code], timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(lab, port, address="127.0.0.1"):
    return client(lab.world.host, f"print(json.dumps(ask({address!r}, {port})))")


def events_of(running, kind):
    return [event for event in read_events(running.events_path) if event["type"] == kind]


@pytest.mark.parametrize("mode", [None, "inbound", "open"])
def test_in_and_on_the_record(lab, start, mode):
    """The twins: the published port answers; the same server's other port, and TCP, do not, and leave no record."""
    running = start("18080:7/udp", guest=SERVER + "serve(7); serve(8)" + WAIT, mode=mode)
    seen = ask(lab, 18080)
    assert seen["got"] == "inside:hello"
    for port in (7, 8, 18081):
        assert ask(lab, port)["got"] == REFUSED, port
    out = finish(running)
    opened, closed = out.of_type("flow.open"), out.of_type("flow.close")
    assert len(opened) == len(closed) == 1, out
    told = {"proto": "udp", "via": "publish", "dst": "127.0.0.1", "port": 18080, "guest_port": 7, "src": seen["me"][0],
            "src_port": seen["me"][1]}
    assert opened[0]["rule"] == {"layer": "session", "index": None, "text": "127.0.0.1:18080:7/udp"}, out
    for event in (*opened, *closed):
        assert told.items() <= event.items(), out
    assert closed[0]["bytes_down"] == 5 and closed[0]["bytes_up"] == 12 and "error" not in closed[0], out
    assert out.of_type("sandbox.start")[0]["published"] == ["127.0.0.1:18080:7/udp"]
    assert not out.of_type("flow.refuse"), out


def test_by_policy_several_both_families_any_free_port(lab, start):
    policy = "version = 1\nmode = 'inbound'\n[publish]\nudp = ['18080:7', '[::1]:18081:8', '0:7']\ntcp = ['18080:9']\n"
    running = start(guest=SERVER + "serve(7); serve(8, '::1')" + WAIT, policy=policy)
    line = running.process.stderr.readline()
    assert line.startswith("weir: published 127.0.0.1:") and line.endswith(":7/udp\n"), line
    chosen = int(line.split(":")[2])
    for address, port in (("127.0.0.1", 18080), ("::1", 18081), ("127.0.0.1", chosen)):
        assert ask(lab, port, address)["got"] == "inside:hello", (address, port)
    assert ask(lab, 18080, "::1")["got"] == REFUSED, "bound to 127.0.0.1 only"
    out = finish(running)
    assert len(out.of_type("flow.open", proto="udp")) == 3, out


@pytest.mark.parametrize("verdict", ["allow", "refuse"])  # no path: admission has no part in it
def test_only_where_it_is_bound(lab, start, verdict):
    """Default: loopback. Other machines reach it only when the address says so, and then weir says so too."""
    bind = "0.0.0.0:" if verdict == "allow" else ""
    running = start(f"{bind}18080:7/udp")
    seen = client(lab.world.lan, f"print(json.dumps(ask({w.HOST_LAN4!r}, 18080)))")
    out = finish(running)
    if verdict == "allow":
        assert seen["got"] == "inside:hello"
        assert out.of_type("flow.open")[0]["src"] == w.LAN4 and out.of_type("flow.open")[0]["dst"] == w.HOST_LAN4
        assert "is published to other machines, on every address" in out.stderr
    else:
        assert seen["got"] == REFUSED
        assert not out.of_type("flow.open") and not out.of_type("flow.refuse"), out


@pytest.mark.parametrize("bind, spoken_to", [("0.0.0.0", ["127.0.0.1", "127.0.0.9", w.HOST_LAN4, w.HOST_UP4]),
                                             ("[::]", ["::1", w.HOST_LAN6])])
def test_the_address_that_was_spoken_to_answers(lab, start, bind, spoken_to):
    """Whatever the kernel would choose: a connected client hears nobody else."""
    running = start(f"{bind}:18080:7/udp", guest=SERVER + "serve(7); serve(7, '::1')" + WAIT)
    for address in spoken_to * 2:
        assert ask(lab, 18080, address)["got"] == "inside:hello", address
    out = finish(running)
    assert [event["dst"] for event in out.of_type("flow.open")] == spoken_to * 2, out


def test_200_at_once_in_order(lab, start):
    """Each sends before anybody has a socket of its own: what comes back is its own, all of it, in order."""
    running = start("18080:7/udp")
    code = """
peers = [connected('127.0.0.1', 18080, timeout=10) for _ in range(200)]
for n in range(2):
    for number, peer in enumerate(peers): peer.send(b'%d.%d' % (number, n))
    if n == 0: peers[-1].send(b'x')
got = [[peer.recv(100).decode() for _ in range(2)] for peer in peers[:-1]]
print(json.dumps(got))
"""
    got = client(lab.world.host, code)
    wrong = [(number, texts) for number, texts in enumerate(got) if texts != [f"inside:{number}.{n}" for n in range(2)]]
    assert not wrong
    out = finish(running)
    assert len(out.of_type("flow.open")) == len(out.of_type("flow.close")) == 200
    assert sum(event["bytes_down"] for event in out.of_type("flow.close")) == sum(
        2 * (len(str(number)) + 2) for number in range(200)) + 1
    assert not out.of_type("flow.refuse")


@pytest.mark.parametrize("size", [0, 1, 1400, 65507])
def test_sizes(lab, start, size):
    running = start("18080:7/udp")
    code = f"""
sock = connected('127.0.0.1', 18080); sock.settimeout(5)
data = bytes(range(256)) * 256; data = data[:{size}]
good = 0
for _ in range(50):
    sock.send(data)
    good += sock.recv(65536) == (b'inside:' + data if {size} < 60000 else data)
print(json.dumps(good))
"""
    assert client(lab.world.host, code) == 50
    assert finish(running).of_type("flow.close")[0]["bytes_down"] == 50 * size


# The guest answers from its port and then tries whom it was never spoken to by, and to answer from elsewhere.
HOSTILE = SERVER + f"""
sock = serve(7)
print('up', flush=True)
import sys; sys.stdin.readline()
def attempt(sock, address, port):
    try: sock.sendto(b'secret', (address, port)); return 'sent'
    except OSError as error: return name_of(error)
inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); inner.bind(('127.0.0.1', 9)); inner.settimeout(1)
third = [attempt(sock, '127.0.0.1', int(sys.stdin.readline())), attempt(inner, '127.0.0.1', 18080)]
sock2 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock2.bind(('0.0.0.0', 10))
outward = attempt(sock2, {w.EVIL4!r}, 5353)
print(json.dumps([third, outward]), flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("allow", [[], ["udp://192.0.2.99:9"]])
def test_opens_nothing_outward(lab, start, allow):
    """L01, L10: the guest answers whoever spoke first, and nobody else: neither somebody on the host who listens, nor the
    internet, whether it has a network or none."""
    running = start("18080:7/udp", guest=HOSTILE, allow=allow)
    listening = lab.world.host.start(["/usr/bin/python3", "-uc", """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.bind(('127.0.0.1', 18099)); sock.settimeout(2)
print('ready', flush=True)
try: print(sock.recv(100), flush=True)
except OSError: print('heard nothing', flush=True)
"""])
    try:
        assert ask(lab, 18080)["got"] == "inside:hello"
        running.say("")
        running.say("18099")
        third, outward = json.loads(running.line())
        assert third == ["sent", "sent"], "to nobody, on its own loopback"
        assert outward == ("sent" if allow else "ENETUNREACH")
        assert listening.stdout.readline().strip() == "heard nothing"
    finally:
        listening.kill()
        listening.wait()
    out = finish(running)
    assert lab.world.packets_to(w.EVIL4, 5353) == 0, out
    assert len(out.of_type("flow.open")) == 1, out
    assert len(out.refusals(dst=w.EVIL4, port=5353, proto="udp")) == len(allow), out


def test_closed_port_inside(lab, start):
    """Nobody listens: the client hears nothing (no process may send it the ICMP error), the record says why; once
    somebody listens, the same client is answered in the same flow."""
    guest = SERVER + "print('up', flush=True)\nimport sys; sys.stdin.readline(); serve(7)" + WAIT
    running = start("18080:7/udp", "18081:8/udp", guest=guest)
    assert client(lab.world.host, "print(json.dumps(ask('127.0.0.1', 18081, timeout=0.5)))")["got"] == "TimeoutError"
    asking = subprocess.Popen([*lab.world.host.prefix(), "/usr/bin/python3", "-uc", CLIENT + """
sock = connected('127.0.0.1', 18080, timeout=0.5)
print(answer(sock)); sys.stdin.readline(); print(answer(sock))
"""], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert asking.stdout.readline() == "TimeoutError\n"
        running.say("")
        assert running.line() == "up"
        assert asking.communicate("\n", timeout=10)[0] == "inside:hello\n"
    finally:
        asking.kill()
        asking.wait()
    out = finish(running)
    ends = {event["port"]: event.get("error") for event in out.of_type("flow.close")}
    assert ends == {18080: None, 18081: "ECONNREFUSED"}, out


def test_client_that_is_gone(lab, start):
    """Its host says so to the answer: on the record. Should it come back, it is in the same flow."""
    guest = SERVER.replace("sock.sendto(", "sys.stdin.readline(); sock.sendto(") + """
import sys
serve(7)
print('up', flush=True)
threading.Event().wait()
"""
    running = start("18080:7/udp", guest=guest)
    def said_unreachable():
        names, values = [line.split() for line in lab.world.host.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
                         if line.startswith("Icmp:")]
        return int(values[names.index("OutDestUnreachs")])
    before = said_unreachable()
    client(lab.world.host, "sock = connected('127.0.0.1', 18080); sock.send(b'x'); sock.close(); print(1)")
    running.say("")
    wait_until(lambda: said_unreachable() > before, 5, "the answer's end")
    os.kill(running.pid, signal.SIGTERM)
    closed = running.finish().of_type("flow.close")
    assert [event.get("error") for event in closed] == ["ECONNREFUSED"], closed


def test_idle_and_back(lab, start):
    """udp_idle_timeout ends a client that is silent; its next datagram begins another flow and is answered."""
    policy = "version = 1\nmode = 'inbound'\n[limits]\nudp_idle_timeout = '1s'\n"
    running = start("18080:7/udp", policy=policy)
    asking = subprocess.Popen([*lab.world.host.prefix(), "/usr/bin/python3", "-uc", CLIENT + """
sock = connected('127.0.0.1', 18080)
print(answer(sock)); sys.stdin.readline(); print(answer(sock))
"""], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert asking.stdout.readline() == "inside:hello\n"
        wait_until(lambda: events_of(running, "flow.close"), 5, "the end of the flow")
        assert asking.communicate("\n", timeout=10)[0] == "inside:hello\n"
    finally:
        asking.kill()
        asking.wait()
    out = finish(running)
    flows = [event["flow"] for event in out.of_type("flow.open")]
    assert len(set(flows)) == 2 and len({event["src_port"] for event in out.of_type("flow.open")}) == 1, out
    assert out.of_type("flow.close")[0]["ms"] >= 900


def test_flood_of_strangers(lab, start):
    """Many addresses, each once: half of max_flows is theirs, the rest is one record with a count; who was there before is
    still answered, the way out is still open, and when they are silent there is room again."""
    policy = f"version = 1\nallow = ['udp://{w.ALLOWED4}:7']\n[limits]\nmax_flows = 40\n"
    guest = SERVER + f"""
serve(7)
print('up', flush=True)
import sys; sys.stdin.readline()
print(json.dumps(udp({w.ALLOWED4!r}, 7)), flush=True)
sys.stdin.readline()
"""
    running = start("18080:7/udp", policy=policy, guest=guest)
    code = """
old = connected('127.0.0.1', 18080); first = answer(old)
strangers = 0
for a in range(8):
    for b in range(1, 251):
        sock = connected('127.0.0.1', 18080, bind=f'127.9.{a}.{b}'); sock.send(b'x'); sock.close(); strangers += 1
print(json.dumps([first, answer(old), strangers]))
"""
    assert client(lab.world.host, code) == ["inside:hello", "inside:hello", 2000]
    running.say("")
    assert json.loads(running.line())["data"] == "ping"
    wait_until(lambda: ask(lab, 18080)["got"] == "inside:hello", 20, "room")
    out = finish(running)
    opened = out.of_type("flow.open", via="publish")
    refused = out.of_type("flow.refuse", via="publish", reason="limit", proto="udp", port=18080)
    assert 20 <= len(opened) < 100, len(opened)
    assert 1 <= len(refused) < 30 and all("src" not in event for event in refused), refused
    assert sum(event.get("count", 1) for event in refused) + len(opened) > 1500, out


@pytest.mark.parametrize("role", ["supervisor", "init", "gateway"])
def test_killing_any_process(lab, start, role):
    running = start("18080:7/udp")
    assert ask(lab, 18080)["got"] == "inside:hello"  # the gateway runs from here on
    family = running.family()
    pid = {"supervisor": running.pid,
           "gateway": next(pid for pid, name in family.items() if "gate" in name),
           "init": next(pid for pid, name in family.items() if "init" in name)}[role]
    os.kill(pid, signal.SIGKILL)
    running.process.wait(timeout=10)
    wait_until(lambda: not set(family) & set(processes()), 3, f"the end of {family}")
    assert ask(lab, 18080)["got"] == REFUSED


@TWINS
def test_siblings(lab, start, verdict):
    """L04: a port that another sandbox publishes is on the hard floor; the same port of an ordinary program is not."""
    begun = start("18080:7/udp") if verdict == "refuse" else None
    ordinary = None if begun else lab.world.host.start(["/usr/bin/python3", "-uc", """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 18080)); print('ready', flush=True)
data, peer = s.recvfrom(100); s.sendto(b'ordinary', peer)
"""])
    try:
        out = lab.guest("address = dns('host.weir.internal')['addresses'][0]\nresult = udp(address, 18080)",
                        allow=["udp://host.weir.internal:18080"])
    finally:
        if ordinary:
            ordinary.kill()
            ordinary.wait()
    if verdict == "allow":
        assert out.result["data"] == "ordinary" and len(out.of_type("flow.open", port=18080)) == 1, out
        return
    assert out.result["data"] is None, out
    refused = out.refusals(port=18080)
    assert len(refused) == 1 and refused[0]["reason"] == "floor", out
    assert not finish(begun).of_type("flow.open"), "somebody came"


def test_nobody_shares_the_port(lab, start):
    """The kernel would let a user's sockets share it, if both asked: a second sandbox, and a program that asks."""
    running = start("18080:7/udp")
    assert ask(lab, 18080)["got"] == "inside:hello"
    second = lab.cli("run", "-p", "18080:7/udp", "--events", "none", "--", "true")
    assert second.code == 125 and "cannot publish 127.0.0.1:18080/udp" in second.stderr and "in use" in second.stderr
    code = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 18080))
"""
    asked = subprocess.run(lab.command(["/usr/bin/python3", "-c", code]), capture_output=True, text=True)
    assert "Address already in use" in asked.stderr, asked
    assert ask(lab, 18080)["got"] == "inside:hello"


@pytest.mark.skipif(not shutil.which("dnsmasq") or not shutil.which("dig"), reason="dnsmasq or dig is not installed")
def test_dns_server_by_dig(lab):
    """UDP and TCP of one port; an answer that does not fit makes dig ask again by TCP."""
    running = lab.start("/usr/sbin/dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
                        "--listen-address=127.0.0.1", "--bind-interfaces", "--address=/inside.test/192.0.2.77",
                        *[f"--txt-record=big.test,{'x' * 200}{i}" for i in range(9)],
                        extra=["-p", "15353:53/udp", "-p", "15353:53/tcp"])
    try:
        dig = ["dig", "@127.0.0.1", "-p", "15353", "+tries=40", "+timeout=1", "+short"]
        said = lab.world.host.run([*dig, "a.inside.test"]).stdout.splitlines()
        # It may ask before the server is up, and says so.
        assert [line for line in said if not line.startswith(";; communications error")] == ["192.0.2.77"], said
        assert lab.world.host.run([*dig, "+tcp", "a.inside.test"]).stdout == "192.0.2.77\n"
        assert len(lab.world.host.run([*dig, "+bufsize=512", "TXT", "big.test"]).stdout.splitlines()) == 9
    finally:
        running.kill()


@pytest.mark.skipif(not shutil.which("iperf3"), reason="iperf3 is not installed")
@pytest.mark.parametrize("reverse", [[], ["--reverse"]])
def test_iperf3(lab, reverse):
    running = lab.start("/usr/bin/iperf3", "-s", "-1", "-B", "127.0.0.1", extra=["-p", "15201:5201", "-p", "15201:5201/udp"])
    try:
        def ran():
            done = lab.world.host.run(["iperf3", "-c", "127.0.0.1", "-p", "15201", "-u", "-b", "50M", "-t", "1", "-J", *reverse])
            return json.loads(done.stdout)["end"].get("sum")  # none: it does not listen yet
        results = []
        wait_until(lambda: results.append(ran()) or results[-1], 10, "iperf3")
        total = results[-1]
        assert total["bytes"] > 5_000_000 and total["lost_percent"] < 5, total
    finally:
        running.kill()


def test_either_side_speaks(lab, start):
    """As in WireGuard: a handshake, then each side sends when it likes, and answers come after long silence of one."""
    guest = """
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.bind(('127.0.0.1', 7))
print('up', flush=True)
data, peer = sock.recvfrom(100)
for n in range(150): sock.sendto(b'%d' % n, peer)
got = [sock.recvfrom(100)[0] for _ in range(150)]
sock.sendto(b'%d' % (got == [b'%d' % n for n in range(150)]), peer)
import sys; sys.stdin.readline()
"""
    running = start("18080:7/udp", guest=guest)
    code = """
sock = connected('127.0.0.1', 18080, timeout=5); sock.send(b'hello')
got = [sock.recv(100) for _ in range(150)]
for n in range(150): sock.send(b'%d' % n)
print(json.dumps([got == [b'%d' % n for n in range(150)], sock.recv(100).decode()]))
"""
    assert client(lab.world.host, code) == [True, "1"]
    out = finish(running)
    assert len(out.of_type("flow.open")) == 1


def test_idle_sandbox_has_no_gateway(lab, start):
    running = start("18080:7/udp")
    assert not [name for name in running.family().values() if "gate" in name]
    assert ask(lab, 18080)["got"] == "inside:hello"
    assert [name for name in running.family().values() if "gate" in name]
    assert finish(running).code == 0
