"""ICMP echo through the capture. attacks.md J05."""

import pytest

import world as w
from checks import ALLOWED, EVIL, FAMILIES, TWINS, UNREACHABLE, assert_datagram_allowed, assert_datagram_refused, at

# Echo requests by hand: {"sequence": payload} of the replies that come within `seconds`.
ECHO = """
def ping_socket(address):
    six = ':' in address
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    sock.settimeout(2); sock.connect((address, 0))
    return sock

def request(sock, sequence, data):
    sock.send(struct.pack('!BBHHH', 128 if sock.family == socket.AF_INET6 else 8, 0, 0, 0, sequence) + data)

def reply(sock):
    message = sock.recv(65535)
    return [message[0], struct.unpack('!H', message[6:8])[0], message[8:].decode('latin-1')]
"""


@TWINS
@FAMILIES
def test_address(lab, family, verdict):
    dst = EVIL[family]
    allow = [f"icmp://{dst}"] if verdict == "allow" else ["allowed.test", f"udp://{at(dst, 7)}"]
    out = lab.guest(f"result = ping({dst!r})", allow=allow)
    if verdict == "allow":
        assert out.result == "OK", out
        closed = assert_datagram_allowed(lab, out, "icmp", dst)
        assert closed["bytes_up"] == closed["bytes_down"] == 3 and "port" not in closed, closed
    else:
        assert_datagram_refused(lab, out, out.result, "icmp", dst, None, ["no-rule"])


@FAMILIES
def test_two_at_a_time(lab, family):
    """Identifiers and sequence numbers are each program's own; the payload comes back as it was."""
    dst = ALLOWED[family]
    code = ECHO + f"""
one, two = ping_socket({dst!r}), ping_socket({dst!r})
request(one, 7, b'first'); request(two, 7, b'second'); request(one, 8, b'x' * 9000)
result = [sorted([reply(one), reply(one)], key=lambda r: r[1]), reply(two)]
"""
    out = lab.guest(code, allow=[dst])
    kind = 129 if family == 6 else 0
    assert out.result == [[[kind, 7, "first"], [kind, 8, "x" * 9000]], [kind, 7, "second"]], out
    assert len(out.of_type("flow.open", proto="icmp")) == 2, out


@FAMILIES
def test_ping(lab, family):
    """The real one, as the sandbox gives it no raw sockets."""
    dst = ALLOWED[family]
    out = lab.run("ping", "-n", "-c", "3", "-i", "0.2", dst, allow=[dst])
    assert out.code == 0 and "3 received" in out.stdout, out


@FAMILIES
def test_unreachable_host(lab, family):
    dst = UNREACHABLE[family]
    out = lab.run("ping", "-n", "-c", "1", "-W", "2", dst, allow=[dst])
    assert out.code == 1 and "nreachable" in out.stdout, out
    assert not out.refusals(), out


def test_silence_stays_silence(lab):
    out = lab.run("ping", "-n", "-c", "1", "-W", "1", w.SILENT4, allow=[w.SILENT4])
    assert out.code == 1 and "nreachable" not in out.stdout and "100% packet loss" in out.stdout, out
    assert not out.refusals(), out


FORGER = """
import socket, struct
heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
false = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
false.bind(('93.184.216.20', 0))
print('ready', flush=True)
while True:
    packet, peer = heard.recvfrom(65535)
    message = packet[20:]
    if message[0] != 8: continue
    forged = bytes([0, 0, 0, 0]) + message[4:8] + b'forged'
    total = sum(struct.unpack('!%dH' % (len(forged) // 2), forged)); total = (total & 0xffff) + (total >> 16)
    total = ~((total & 0xffff) + (total >> 16)) & 0xffff
    false.sendto(forged[:2] + struct.pack('!H', total) + forged[4:], peer)
    print('forged', flush=True)
"""


def test_replies_of_others(lab):
    """J06: a reply with the right identifier from another address is not the guest's."""
    forger = lab.world.inet.start(["/usr/bin/python3", "-c", FORGER])
    code = ECHO + f"""
sock = ping_socket({w.ALLOWED4!r}); sock.settimeout(1)
result = []
try:
    request(sock, 1, b'true')
    while True: result.append(reply(sock)[2])
except OSError: pass
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert forger.stdout.readline().strip() == "forged"
    forger.kill()
    assert out.result == ["true"], out


@pytest.mark.elsewhere
def test_only_echo(lab):
    """J05: ping sockets send nothing else, and there are no raw ones."""
    code = ECHO + f"""
def attempt_kind(kind):
    sock = ping_socket({w.ALLOWED4!r})
    try: sock.send(struct.pack('!BBHHH', kind, 0, 0, 0, 1)); return 'sent'
    except OSError as error: return name_of(error)
result = [attempt_kind(13), attempt_kind(5), open_socket(socket.AF_INET, socket.SOCK_RAW, 1), ping({w.ALLOWED4!r})]
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    assert out.result == ["EINVAL", "EINVAL", "EPERM", "OK"], out


@FAMILIES
def test_a_host_that_forbids_ping_sockets(lab, family):
    """The guest is told, and so is the record: allowed, but the host has no way. The twin is every other test here."""
    dst = ALLOWED[family]
    before = lab.world.host.sh("sysctl -n net.ipv4.ping_group_range").strip()
    lab.world.host.sh("sysctl -qw net.ipv4.ping_group_range='1 0'")
    try:
        out = lab.guest(f"result = ping({dst!r})", allow=[dst])
    finally:
        lab.world.host.sh(f"sysctl -qw net.ipv4.ping_group_range='{before}'")
    assert out.result == ("EHOSTUNREACH" if family == 4 else "EACCES"), out
    assert lab.world.packets_to(dst) == 0
    assert [event["error"] for event in out.of_type("flow.close", proto="icmp")] == ["EACCES"], out
