"""One decision, four doors: transparent capture, HTTP CONNECT, requests in absolute form, SOCKS5 with names.

attacks.md A07, B03-B05, B09, C07, E04, F01-F07, G02, G05-G09. Each row goes through every door and must come out the same; a refusal has
three witnesses (what the program saw, no packet at the target, one record) and rows that are allowed beside it.
"""

import pytest

import lab as lab_module
import test_clients
import world as w
from checks import TWINS

DOORS = ["transparent", "connect", "absolute", "socks5h"]
EVERY_DOOR = pytest.mark.parametrize("door", DOORS)
PROXIES = pytest.mark.parametrize("door", DOORS[1:])
TUNNELS = pytest.mark.parametrize("door", ["connect", "socks5h"])

# name: (flags, host, port, targets that must see no packet, reason in the record)
REFUSED = {
    "name nobody allows": ({"allow": ["allowed.test"]}, "evil.test", 80, w.EVIL4, "no-rule"),
    "name below an allowed one": ({"allow": ["allowed.test"]}, "sub.allowed.test", 80, w.EVIL4, "no-rule"),
    "name that is denied": ({"mode": "public", "deny": ["evil.test"]}, "evil.test", 80, w.EVIL4, "denied-by-rule"),
    "port that is not allowed": ({"allow": ["allowed.test:443"]}, "allowed.test", 8080, w.ALLOWED4, "no-rule"),
    "address nobody allows": ({"allow": ["allowed.test"]}, w.EVIL4, 80, w.EVIL4, "no-rule"),
    "IPv6 address nobody allows": ({"allow": ["allowed.test"]}, w.EVIL6, 80, w.EVIL6, "no-rule"),
    "private address": ({"mode": "public"}, w.PRIVATE4, 80, w.PRIVATE4, "floor"),
    "private IPv6 address": ({"mode": "public"}, w.PRIVATE6, 80, w.PRIVATE6, "floor"),
    "metadata": ({"mode": "open"}, w.METADATA4, 80, w.METADATA4, "floor"),
    "metadata by IPv6": ({"mode": "open"}, w.METADATA6, 80, w.METADATA6, "floor"),
    "neighbour": ({"mode": "public"}, w.LAN4, 80, w.LAN4, "floor"),
    "host": ({"mode": "public"}, w.HOST_UP4, w.HOST_PORT, w.HOST_UP4, "floor"),
    "service of the host": ({"allow": ["allowed.test"]}, "host.weir.internal", w.LOOPBACK_PORT, "127.0.0.1", "no-rule"),
    # One family: each question of the resolver is an attempt of its own.
    "rebinding answer": ({"allow": ["four-private.test"]}, "four-private.test", 80, w.PRIVATE4, "rebind"),
}


def refusals_of(out, host):
    return [event for event in out.events if event["type"] in ("flow.refuse", "dns.refuse")]


@EVERY_DOOR
@pytest.mark.refusal
@pytest.mark.parametrize("row", REFUSED)
def test_refused(lab, row, door):
    flags, host, port, target, reason = REFUSED[row]
    out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", **flags)
    seen = out.result
    if door == "transparent":
        assert seen["connect"] in ("ECONNREFUSED", "unresolved"), out
    elif door == "socks5h":
        assert seen["connect"] == "refused", out
    else:
        # What an address behind a name is, the guest is not told.
        assert (seen["connect"], seen["reason"]) == ("refused", "no-rule" if reason == "rebind" else reason), out
    assert lab.world.packets_to(target, port) == 0, out
    refused = refusals_of(out, host)
    assert lab_module.attempts(refused) == 1 and refused[0]["reason"] == reason, out
    if door != "transparent" and refused[0]["type"] == "flow.refuse":
        assert refused[0]["via"] == ("socks" if door == "socks5h" else "http") and refused[0]["port"] == port, out
    assert not out.of_type("flow.open"), out


# name: (flags, host, port, the address that serves)
ALLOWED = {
    "name": ({"allow": ["allowed.test"]}, "allowed.test", 80, w.ALLOWED4),
    "name with its port": ({"allow": ["allowed.test:8080"]}, "allowed.test", 8080, w.ALLOWED4),
    "name below a wildcard": ({"allow": ["*.wild.test"]}, "a.b.wild.test", 80, w.ALLOWED4),
    "alias": ({"allow": ["alias.test"]}, "alias.test", 80, w.ALLOWED4),
    "IPv6 only": ({"allow": ["six.test"]}, "six.test", 80, w.ALLOWED6),
    "address": ({"allow": [w.ALLOWED4]}, w.ALLOWED4, 80, w.ALLOWED4),
    "IPv6 address": ({"allow": [w.ALLOWED6]}, w.ALLOWED6, 80, w.ALLOWED6),
    "public": ({"mode": "public"}, "example.com", 80, w.EXAMPLE4),
    "public beside a denied name": ({"mode": "public", "deny": ["evil.test"]}, "allowed.test", 80, w.ALLOWED4),
    "service of the host": ({"allow": [f"host.weir.internal:{w.LOOPBACK_PORT}"]}, "host.weir.internal", w.LOOPBACK_PORT, "127.0.0.1"),
    "private address that is opened": ({"allow": [w.PRIVATE4]}, w.PRIVATE4, 80, w.PRIVATE4),
}


@EVERY_DOOR
@pytest.mark.parametrize("row", ALLOWED)
def test_allowed(lab, row, door):
    flags, host, port, address = ALLOWED[row]
    out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", **flags)
    assert out.result["connect"] == "OK" and f"at {address}" in out.result["data"], out
    opened = out.of_type("flow.open")
    assert len(opened) == 1 and opened[0]["dst"] == address and opened[0]["port"] == port, out
    assert opened[0]["via"] == {"transparent": "tcp", "socks5h": "socks"}.get(door, "http"), out
    closed = out.of_type("flow.close")
    assert len(closed) == 1 and closed[0]["bytes_up"] > 0 and closed[0]["bytes_down"] > 0, out
    assert not refusals_of(out, host), out


# name: (host, port, what each door says)
FAILED = {
    "dead port": ("allowed.test", 81, "ECONNREFUSED"),
    "unreachable": ("host-unreachable.test", 80, "EHOSTUNREACH"),
    "no such name": ("nowhere.test", 80, "unresolved"),
}


@EVERY_DOOR
@pytest.mark.parametrize("row", FAILED)
def test_failures_are_no_refusals(lab, row, door):
    """Trouble on the way is told as what it is, and never as a verdict."""
    host, port, what = FAILED[row]
    out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", allow=["*.test"], extra=["--insist", "broad=*.test"])
    wanted = what
    if what == "unresolved" and door != "transparent":
        wanted = "EHOSTUNREACH" if door == "socks5h" else "resolve-failed"
    assert out.result["connect"] == wanted, out
    assert not refusals_of(out, host), out
    if what != "unresolved":
        assert {event["error"] for event in out.of_type("flow.close")} == {what}, out


# --- what is said inside a tunnel ----------------------------------------------------------------------------------------

TUNNELLED_TLS = """
def hello(door, host, port, name):
    sock, connect, reason = TUNNELS[door](host, port)
    if connect != "OK": return {"connect": connect, "tls": None}
    context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_socket(sock, server_hostname=name).close()
        return {"connect": connect, "tls": "OK"}
    except OSError as error:
        return {"connect": connect, "tls": name_of(error)}
"""


@pytest.mark.parametrize("door", ["transparent", "connect", "socks5h"])
@TWINS
def test_sni_inside_a_tunnel(lab, door, verdict):
    """D09, H01: two tenants of one address; the tunnel was asked for one of them."""
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    out = lab.guest(TUNNELLED_TLS + f"result = hello({door!r}, 'a.cdn.test', 443, {name!r})", allow=["a.cdn.test"])
    assert out.result["connect"] == "OK", out
    if verdict == "allow":
        assert out.result["tls"] == "OK", out
        return
    assert out.result["tls"] == "ECONNRESET", out
    assert lab.world.packets.payload_to(w.SHARED4, 443) == 0, out
    # Transparent capture asks whether the name leads here too: those questions are records of their own.
    refused = out.refusals()
    assert lab_module.attempts(refused) == 1 and refused[0]["reason"] == "sni-mismatch", out


@TUNNELS
@TWINS
def test_a_tunnel_is_for_the_name_it_was_asked_for(lab, door, verdict):
    """Both tenants are allowed, and still the tunnel to one is not the other's: a proxy brings exactly one name."""
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    code = TUNNELLED_TLS + f"socket.getaddrinfo('b.cdn.test', 443)\nresult = hello({door!r}, 'a.cdn.test', 443, {name!r})"
    out = lab.guest(code, allow=["a.cdn.test", "b.cdn.test"])
    assert out.result["tls"] == ("OK" if verdict == "allow" else "ECONNRESET"), out
    assert len(out.refusals(reason="sni-mismatch")) == (verdict == "refuse"), out


@TUNNELS
@TWINS
def test_host_inside_a_tunnel(lab, door, verdict):
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    code = f"""
sock, connect, reason = TUNNELS[{door!r}]('a.cdn.test', 80)
sock.sendall(b'GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n')
try: result = [connect, sock.recv(12).decode()]
except OSError as error: result = [connect, name_of(error)]
"""
    out = lab.guest(code, allow=["a.cdn.test"])
    assert out.result == ["OK", "HTTP/1.1 200" if verdict == "allow" else "ECONNRESET"], out
    assert (lab.world.packets.payload_to(w.SHARED4, 80) > 0) == (verdict == "allow"), out
    assert len(out.refusals(reason="host-mismatch")) == (verdict == "refuse"), out


@TUNNELS
@TWINS
def test_a_literal_is_an_address_like_any_other(lab, door, verdict):
    """A client that resolves by itself (socks5://, not socks5h://) is judged as if it had not used the proxy."""
    ask = "socket.getaddrinfo('a.cdn.test', 443)" if verdict == "allow" else ""
    out = lab.guest(TUNNELLED_TLS + f"{ask}\nresult = hello({door!r}, {w.SHARED4!r}, 443, 'a.cdn.test')", allow=["a.cdn.test"])
    if verdict == "allow":
        assert out.result == {"connect": "OK", "tls": "OK"}, out
    else:
        assert out.result["connect"] == "refused" and lab.world.packets_to(w.SHARED4) == 0, out
        assert lab_module.attempts(refusals_of(out, w.SHARED4)) == 1, out


@TUNNELS
def test_first_bytes_behind_the_request(lab, door):
    """What a client sends before it has the answer belongs to the tunnel."""
    request = {"connect": b"CONNECT allowed.test:7 HTTP/1.1\r\n\r\n", "socks5h":
               b"\x05\x01\x00\x05\x01\x00\x03\x0callowed.test\x00\x07"}[door]
    if door == "connect":
        request = request.replace(b"\r\n\r\n", b"\r\nHost: allowed.test:7\r\n\r\n")
    code = f"""
sock = socket.create_connection((GATEWAY, {3128 if door == 'connect' else 1080})); sock.settimeout(5)
sock.sendall({request!r} + b'early'); sock.shutdown(socket.SHUT_WR)
data = b''
while part := sock.recv(100): data += part
result = data.decode('latin-1')
"""
    out = lab.guest(code, allow=["allowed.test"])
    assert out.result.endswith("early"), out


@TUNNELS
def test_port_53_ends_at_the_resolver(lab, door):
    """E04: DNS over TCP through a tunnel to any address is asked of weir's own resolver."""
    code = f"""
query = bytes.fromhex('12340100000100000000000007616c6c6f7765640474657374000001' + '0001')
sock, connect, reason = TUNNELS[{door!r}]({w.OTHER_DNS4!r}, 53)
sock.sendall(struct.pack('!H', len(query)) + query)
size = struct.unpack('!H', read_exactly(sock, 2))[0]
result = [connect, socket.inet_ntoa(read_exactly(sock, size)[len(query) + 12:][:4])]
"""
    out = lab.guest(code, allow=["allowed.test"])
    assert out.result == ["OK", w.ALLOWED4], out
    assert lab.world.packets_to(w.OTHER_DNS4) == 0, out


@PROXIES
@pytest.mark.refusal
@pytest.mark.parametrize("host", ["gateway.weir.internal", "10.254.0.1", "fd77:6569:7200::1", "localhost", "127.0.0.1",
                                  "10.254.0.2"])
def test_no_way_back_into_the_gateway(lab, door, host):
    """G02, C07: a proxy is no way to the proxies, nor to what listens inside or on the host's loopback."""
    for port in (3128, 1080):
        out = lab.guest(f"result = fetch({door!r}, {host!r}, {port})", mode="public")
        assert out.result["connect"] == "refused", out
        assert lab_module.attempts(refusals_of(out, host)) == 1, out
        assert refusals_of(out, host)[0]["reason"] == "floor", out


# --- what is no request ---------------------------------------------------------------------------------------------------

BAD_SOCKS = {
    "bind": (b"\x05\x02\x00\x01\x5d\xb8\xd8\x0a\x00\x50", 7, "protocol"),
    "udp associate": (b"\x05\x03\x00\x01\x5d\xb8\xd8\x0a\x00\x50", 7, "protocol"),
    "port 0": (b"\x05\x01\x00\x01\x5d\xb8\xd8\x0a\x00\x00", 1, "malformed"),
    "unknown address type": (b"\x05\x01\x00\x02\x5d\xb8\xd8\x0a\x00\x50", 8, "malformed"),
    "reserved byte": (b"\x05\x01\x01\x01\x5d\xb8\xd8\x0a\x00\x50", 1, "malformed"),
    "version": (b"\x04\x01\x00\x01\x5d\xb8\xd8\x0a\x00\x50", 1, "malformed"),
    "empty name": (b"\x05\x01\x00\x03\x00\x00\x50", 1, "malformed"),
    "user in a name": (b"\x05\x01\x00\x03\x0ea@allowed.test\x00\x50", 1, "malformed"),
    "nul in a name": (b"\x05\x01\x00\x03\x0eallowed.test\x00a\x00\x50", 1, "malformed"),
    "short address": (b"\x05\x01\x00\x03\x05127.1\x00\x50", 1, "malformed"),
}


@pytest.mark.elsewhere
@pytest.mark.parametrize("case", BAD_SOCKS)
def test_socks_that_is_none(lab, case):
    """G06, B03-B09. The twin: a good request behind it, on a connection of its own."""
    request, code, reason = BAD_SOCKS[case]
    out = lab.guest(f"""
sock = socket.create_connection((GATEWAY, SOCKS_PROXY)); sock.settimeout(5)
sock.sendall(b'\\x05\\x01\\x00' + {request!r})
assert read_exactly(sock, 2) == b'\\x05\\x00'
result = [read_exactly(sock, 10)[1], sock.recv(1).decode(), fetch('socks5h', 'allowed.test', 80)['connect']]
""", allow=["allowed.test"])
    assert out.result == [code, "", "OK"], out
    refused = refusals_of(out, "")
    assert lab_module.attempts(refused) == 1 and (refused[0]["reason"], refused[0]["via"]) == (reason, "socks"), out


# The same destinations, spelled as names and as addresses of the other family (G09).
SPELLED = {
    "name": (bytes([3, 13]) + b"93.184.216.66", bytes([3, 13]) + b"93.184.216.10"),
    "mapped": (b"\x04" + bytes(10) + b"\xff\xff" + bytes([93, 184, 216, 66]),
               b"\x04" + bytes(10) + b"\xff\xff" + bytes([93, 184, 216, 10])),
    "name of IPv6": (bytes([3, len(w.EVIL6)]) + w.EVIL6.encode(), bytes([3, len(w.ALLOWED6)]) + w.ALLOWED6.encode()),
}


@TWINS
@pytest.mark.parametrize("spelled", SPELLED)
def test_an_address_however_it_is_spelled(lab, spelled, verdict):
    evil, allowed = SPELLED[spelled]
    dst = {"name of IPv6": (w.EVIL6, w.ALLOWED6)}.get(spelled, (w.EVIL4, w.ALLOWED4))[verdict == "allow"]
    out = lab.guest(f"""
sock = socket.create_connection((GATEWAY, SOCKS_PROXY)); sock.settimeout(5)
sock.sendall(b'\\x05\\x01\\x00'); assert read_exactly(sock, 2) == b'\\x05\\x00'
sock.sendall(b'\\x05\\x01\\x00' + {(allowed if verdict == "allow" else evil)!r} + struct.pack('!H', 7))
result = read_exactly(sock, 10)[1]
""", allow=[w.ALLOWED4, w.ALLOWED6])
    assert out.result == (0 if verdict == "allow" else 2), out
    assert (lab.world.packets_to(dst) > 0) == (verdict == "allow"), out
    assert not lab.world.dns_log.since(), "an address was asked as a name"
    assert lab_module.attempts(out.refusals(dst=dst, via="socks")) == (0 if verdict == "allow" else 1), out


@pytest.mark.elsewhere
@pytest.mark.parametrize("greeting", [b"\x04\x01\x00\x50\x5d\xb8\xd8\x0a\x00", b"\x05\x00", b"GET / HTTP/1.1\r\n\r\n"])
def test_no_socks5_at_all(lab, greeting):
    """G07"""
    out = lab.guest(f"""
sock = socket.create_connection((GATEWAY, SOCKS_PROXY)); sock.settimeout(5)
sock.sendall({greeting!r})
try: result = sock.recv(10).decode('latin-1')
except OSError as error: result = name_of(error)
""", allow=["allowed.test"])
    assert out.result in ("ECONNRESET", ""), out
    assert lab_module.attempts(refusals_of(out, "")) == 1, out


@pytest.mark.elsewhere
def test_socks_with_a_password_only(lab):
    """Who may use the proxy is who sits behind weir0: there is nothing to log in to (G05)."""
    out = lab.guest("""
sock = socket.create_connection((GATEWAY, SOCKS_PROXY)); sock.settimeout(5)
sock.sendall(b'\\x05\\x01\\x02')
result = list(read_exactly(sock, 2))
""", allow=["allowed.test"])
    assert out.result == [5, 255], out
    assert lab_module.attempts(out.refusals(reason="protocol", via="socks")) == 1, out


BAD_HTTP = {
    "user in the authority": ("GET http://a@allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "malformed"),
    "user in CONNECT": ("CONNECT a@allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\n", "malformed"),
    "Host disagrees": ("GET http://allowed.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", "host-mismatch"),
    "Host of CONNECT disagrees": ("CONNECT allowed.test:80 HTTP/1.1\r\nHost: evil.test:80\r\n\r\n", "host-mismatch"),
    "port of Host disagrees": ("GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test:81\r\n\r\n", "host-mismatch"),
    "no Host": ("GET http://allowed.test/ HTTP/1.1\r\n\r\n", "host-missing"),
    "two Hosts": ("GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nHost: evil.test\r\n\r\n", "malformed"),
    "percent": ("GET http://%61llowed.test/ HTTP/1.1\r\nHost: %61llowed.test\r\n\r\n", "malformed"),
    "percent in CONNECT": ("CONNECT allowed%2etest:80 HTTP/1.1\r\nHost: allowed%2etest:80\r\n\r\n", "malformed"),
    "fragment in the authority": ("CONNECT allowed.test#@evil.test:80 HTTP/1.1\r\nHost: evil.test:80\r\n\r\n", "malformed"),
    "path in CONNECT": ("CONNECT allowed.test:80/evil.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\n", "malformed"),
    "backslash": ("GET http://allowed.test\\evil.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "malformed"),
    "port 0": ("CONNECT allowed.test:0 HTTP/1.1\r\nHost: allowed.test:0\r\n\r\n", "malformed"),
    "port 65616": ("CONNECT allowed.test:65616 HTTP/1.1\r\nHost: allowed.test:65616\r\n\r\n", "malformed"),
    "no port": ("CONNECT allowed.test HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "malformed"),
    "short address": ("GET http://127.1/ HTTP/1.1\r\nHost: 127.1\r\n\r\n", "malformed"),
    "decimal address": ("CONNECT 2130706433:80 HTTP/1.1\r\nHost: 2130706433:80\r\n\r\n", "malformed"),
    "zone id": ("CONNECT [fe80::1%eth0]:80 HTTP/1.1\r\nHost: [fe80::1%eth0]:80\r\n\r\n", "malformed"),
    "origin form": ("GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "malformed"),
    "TLS for the proxy to speak": ("GET https://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "malformed"),
    "other scheme": ("GET ftp://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "malformed"),
    "bare LF": ("GET http://allowed.test/ HTTP/1.1\nHost: allowed.test\n\n", "malformed"),
    "folded": ("GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nX: a\r\n b\r\n\r\n", "malformed"),
    "length and chunked": ("POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 4\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed"),
    "two lengths": ("POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 4\r\n"
                    "Content-Length: 4\r\n\r\nabcd", "malformed"),
    "body of CONNECT": ("CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\nContent-Length: 4\r\n\r\nabcd", "malformed"),
    "HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not-http"),
    "HTTP/0.9": ("GET http://allowed.test/\r\n\r\n", "malformed"),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "malformed"),
    "endless head": ("GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n" + "X: y\r\n", "malformed"),
}


@pytest.mark.elsewhere
@pytest.mark.parametrize("case", BAD_HTTP)
def test_http_that_is_no_request(lab, case):
    """B03-B09, F03-F05, F07, F12. The twin: a good request behind it, on a connection of its own."""
    request, reason = BAD_HTTP[case]
    out = lab.guest(f"""
sock = socket.create_connection((GATEWAY, HTTP_PROXY)); sock.settimeout(5)
request = {request!r}.encode('latin-1')
if b'X: y' in request: request += b'X: y\\r\\n' * 20000
try: sock.sendall(request)
except OSError: pass
head = read_head(sock)
result = [head[9:12], status_of(head)[1], fetch('absolute', 'allowed.test', 80)['connect']]
""", allow=["allowed.test"])
    assert out.result == ["400", reason, "OK"], out
    refused = refusals_of(out, "")
    assert lab_module.attempts(refused) == 1 and (refused[0]["reason"], refused[0]["via"]) == (reason, "http"), out
    assert len(out.of_type("flow.open")) == 1, out


# --- requests in absolute form ---------------------------------------------------------------------------------------------

ASK = """
sock = socket.create_connection((GATEWAY, HTTP_PROXY)); sock.settimeout(8)
file = sock.makefile('rb')
def ask(url, host, extra='', method='GET', body=b'', version='1.1'):
    sock.sendall(f'{method} {url} HTTP/{version}\\r\\nHost: {host}\\r\\n{extra}\\r\\n'.encode() + body)
    return answer(method)
def answer(method='GET'):
    try:
        status = file.readline().decode('latin-1').strip()
        if not status: return 'EOF'
        fields = {}
        while (line := file.readline().decode('latin-1').strip()): fields[line.split(':')[0].lower()] = line.split(': ', 1)[1]
        if status[9] == '1': return answer(method)
        if fields.get('transfer-encoding') == 'chunked':
            data = b''
            while size := int(file.readline(), 16): data += file.read(size); file.readline()
            file.readline()
        elif method == 'HEAD' or status[9:12] == '204': data = b''
        elif 'content-length' in fields:
            data = file.read(int(fields['content-length']))
            if len(data) < int(fields['content-length']): return 'CUT'
        else: data = file.read()
        return [status[9:12], data.decode('latin-1'), fields]
    except OSError as error: return name_of(error)
"""


@pytest.fixture(scope="module")
def raw(world):
    """The server that says what it is told, at two names' addresses."""
    log = w.JsonLog(world.folder / "raw.log")
    world.inet.start([w.sys.executable, "-u", str(w.HERE / "raw_http_server.py"), str(log.path),
                      f"{w.ALLOWED4}:8099", f"{w.EXAMPLE4}:8099"])
    return log


@TWINS
def test_every_request_is_judged(lab, verdict):
    """F01: a connection to the proxy is not one to a destination."""
    host = "example.com" if verdict == "allow" else "evil.test"
    out = lab.guest(ASK + f"""
result = [ask('http://allowed.test/1', 'allowed.test')[0], ask('http://{host}/2', '{host}')[0]]
result.append(ask('http://allowed.test/3', 'allowed.test')[0] if {verdict == 'allow'} else answer())
""", allow=["allowed.test", "example.com"])
    hosts = [entry["host"] for entry in lab.world.origin_log.since() if entry["event"] == "request"]
    if verdict == "allow":
        assert out.result == ["200", "200", "200"] and hosts == ["allowed.test", "example.com", "allowed.test"], out
    else:
        assert out.result == ["200", "403", "EOF"] and hosts == ["allowed.test"], out
        assert lab.world.packets_to(w.EVIL4) == 0 and lab_module.attempts(refusals_of(out, host)) == 1, out


@pytest.mark.refusal
def test_pipelined_requests(lab):
    """F02: two requests in one write. Each is answered by its own origin, the forbidden one by the proxy."""
    out = lab.guest(ASK + """
one = 'GET http://allowed.test/1 HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n'
two = 'GET http://evil.test/2 HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n'
sock.sendall((one + one + two + one).encode())
result = [answer()[0], answer()[0], answer()[0], answer()]
""", allow=["allowed.test"])
    assert out.result == ["200", "200", "403", "EOF"], out
    assert lab.world.packets_to(w.EVIL4) == 0 and lab_module.attempts(refusals_of(out, "")) == 1, out


def test_one_connection_for_one_origin(lab, raw):
    raw.mark()
    out = lab.guest(ASK + "result = [ask('http://allowed.test:8099/' + path, 'allowed.test:8099')[:2] "
                    "for path in ('ok', 'chunked', 'continue', 'ok')]", allow=["allowed.test"])
    assert out.result == [["200", "hello"]] * 4, out
    assert [entry["number"] for entry in raw.since()] == [1, 2, 3, 4], "not one connection"
    assert len(out.of_type("flow.open")) == 1, out


def test_a_kept_connection_that_ends(lab, raw):
    """The origin closes as the next request comes: what changes nothing is asked again, anything else is not."""
    raw.mark()
    code = ASK + "result = [ask('http://allowed.test:8099/stale', 'allowed.test:8099'{0})[0] for n in range(2)]"
    out = lab.guest(code.replace("{0}", ""), allow=["allowed.test"])
    assert out.result == ["200", "200"] and len(out.of_type("flow.open")) == 2, out
    assert [entry["number"] for entry in raw.since()] == [1, 2, 1], out
    # A body is gone once it has passed: its head alone would make the origin take the next request for it.
    for method in ("POST", "GET"):
        raw.mark()
        extra = f", 'Content-Length: 2\\r\\n', '{method}', b'hi'"
        out = lab.guest(code.replace("{0}", extra), allow=["allowed.test"])
        assert out.result == ["200", "502"] and [entry["number"] for entry in raw.since()] == [1, 2], out


def test_fields_of_the_connection_stay(lab, raw):
    """G05, F13: what concerns the hop to the proxy does not go on, in either direction; the Host is the judged one."""
    raw.mark()
    extra = "Proxy-Authorization: Basic c2VjcmV0\\r\\nProxy-Connection: keep-alive\\r\\nConnection: keep-alive, X-Mine\\r\\n" \
            "X-Mine: 1\\r\\nTE: trailers\\r\\nKeep-Alive: timeout=5\\r\\nUpgrade: h2c\\r\\nX-Kept: 2\\r\\n"
    out = lab.guest(ASK + f"result = ask('http://ALLOWED.test:8099/hop?q=1', 'allowed.test:8099', '{extra}')\n"
                    "result = [result, ask('http://allowed.test:8099/hop', 'allowed.test:8099')[0]]", allow=["allowed.test"])
    head = raw.since()[0]["head"]
    assert head == ["GET /hop?q=1 HTTP/1.1", "Host: allowed.test:8099", "X-Kept: 2"], out
    fields = out.result[0][2]
    assert out.result[1] == "200" and fields.get("x-kept", "2") == "2", out
    assert not {"x-mine", "proxy-authenticate", "connection"} & set(fields), out


@pytest.mark.elsewhere
@pytest.mark.parametrize("path", ["length-and-chunked", "two-lengths", "gzip-chunked", "old-chunked", "bare-lf", "folded", "switch",
                                  "garbage", "nothing", "interim-length", "endless-head", "drops-length"])
def test_responses_that_are_none(lab, raw, path):
    """Response-side smuggling: an answer that could be read in two ways reaches nobody."""
    out = lab.guest(ASK + f"result = [ask('http://allowed.test:8099/{path}', 'allowed.test:8099')[0]]\n"
                    "result.append(fetch('absolute', 'allowed.test', 80)['connect'])", allow=["allowed.test"])
    assert out.result == ["502", "OK"], out


@pytest.mark.elsewhere
@pytest.mark.parametrize("path,wanted", [("short", ("CUT", "ECONNRESET")), ("bad-chunk", ("ECONNRESET", "EOF")),
                                         ("interim-flood", ("ECONNRESET", "EOF"))])
def test_responses_that_break(lab, raw, path, wanted):
    """Half a response must not look whole."""
    out = lab.guest(ASK + f"""
try: result = ask('http://allowed.test:8099/{path}', 'allowed.test:8099')
except ValueError: result = 'EOF'
result = [result, fetch('absolute', 'allowed.test', 80)['connect']]""", allow=["allowed.test"])
    assert out.result[0] in wanted and out.result[1] == "OK", out


def test_a_second_response_is_nobodys(lab, raw):
    """What a server says behind its response is not the answer to the next request."""
    out = lab.guest(ASK + "result = [ask('http://allowed.test:8099/two', 'allowed.test:8099')[1], "
                    "ask('http://allowed.test:8099/ok', 'allowed.test:8099')[1]]", allow=["allowed.test"])
    assert out.result == ["hello", "hello"], out


@pytest.mark.parametrize("path", ["close", "old"])
def test_a_response_that_the_end_ends(lab, raw, path):
    out = lab.guest(ASK + f"result = [ask('http://allowed.test:8099/{path}', 'allowed.test:8099'), answer()]", allow=["allowed.test"])
    assert out.result[0][:2] == ["200", "hello"] and out.result[0][2].get("connection") == "close", out
    assert out.result[1] == "EOF", out


def test_bodies_and_methods(lab, raw):
    out = lab.guest(ASK + """
url, host = 'http://allowed.test:8099/ok', 'allowed.test:8099'
result = [ask(url, host, method='HEAD')[0], ask('http://allowed.test:8099/no-reason', host)[0],
          ask(url, host, 'Content-Length: 300000\\r\\n', 'POST', b'x' * 300000)[0], ask(url, host, 'Expect: 100-continue\\r\\n')[0],
          ask(url, host, 'Upgrade: websocket\\r\\nConnection: upgrade\\r\\n')[0], ask(url, host, version='1.0')[0], answer()]
""", allow=["allowed.test"])
    assert out.result == ["200", "204", "200", "200", "200", "200", "EOF"], out


@pytest.mark.slow
@pytest.mark.elsewhere
@pytest.mark.parametrize("door,first", [("http", "GET http://allowed.test/ HTTP/1.1\\r\\n"), ("socks", "\\x05\\x01\\x00\\x05")])
def test_a_request_that_never_ends(lab, door, first):
    """E06, slowloris: cut after ten seconds, however steadily it trickles; a flow that stood before still moves."""
    out = lab.guest(f"""
canary, _, _ = connect_tunnel('allowed.test', 7)
sock = socket.create_connection((GATEWAY, HTTP_PROXY if '{door}' == 'http' else SOCKS_PROXY)); sock.settimeout(0.5)
begin = time.monotonic(); sock.sendall('{first}'.encode('latin-1')); data = b''
while time.monotonic() - begin < 20:
    try:
        part = sock.recv(100); data += part
        if not part: break
    except TimeoutError:
        if '{door}' == 'http': sock.sendall(b'X: y\\r\\n')
    except OSError: break
canary.sendall(b'\\0alive')
result = [round(time.monotonic() - begin), data[:12].decode('latin-1'), read_exactly(canary, 6).decode()[1:]]
""", allow=["allowed.test"])
    assert 9 <= out.result[0] <= 13 and out.result[2] == "alive", out
    assert lab_module.attempts(out.refusals(reason="malformed")) == 1, out


def test_thousands_of_idle_connections(lab):
    """J03: more connections than the proxies keep are reset; a tunnel that stood before still moves, and new ones come."""
    out = lab.guest("""
import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
canary, _, _ = connect_tunnel('allowed.test', 7)
held = []
for n in range(1500):
    try: held.append(socket.create_connection((GATEWAY, HTTP_PROXY)))
    except ConnectionResetError: pass
canary.sendall(b'\\0alive')
result = [read_exactly(canary, 6).decode()[1:]]
for sock in held: sock.close()
result.append(fetch('absolute', 'allowed.test', 80)['connect'])
""", allow=["allowed.test"], timeout=90)
    assert out.result == ["alive", "OK"], out
    assert out.refusals(reason="limit", via="http"), out


# --- programs that people use ----------------------------------------------------------------------------------------------

@pytest.fixture
def announcing(lab):
    lab.announce_proxies = True
    return lab


@pytest.fixture
def ca(lab):
    return ["-v", f"{lab.world.pki}/ca.pem:/ca.pem:ro"]


CLIENTS = {
    "curl": "curl -sS -m 10 --cacert /ca.pem {scheme}://{name}/",
    "curl by HTTP": "curl -sS -m 10 --cacert /ca.pem -x http://10.254.0.1:3128 {scheme}://{name}/",
    "curl by a tunnel": "curl -sS -m 10 --cacert /ca.pem -p -x http://10.254.0.1:3128 {scheme}://{name}/",
    "curl by IPv6": "curl -sS -m 10 --cacert /ca.pem -x http://[fd77:6569:7200::1]:3128 {scheme}://{name}/",
    "curl by SOCKS": "curl -sS -m 10 --cacert /ca.pem --proxy '' --socks5-hostname 10.254.0.1:1080 {scheme}://{name}/",
    "curl by name of the gateway": "curl -sS -m 10 --cacert /ca.pem -x gateway.weir.internal:3128 {scheme}://{name}/",
    "wget": "wget -q -T 10 -t 1 --ca-certificate=/ca.pem -O - {scheme}://{name}/",
    "urllib": "SSL_CERT_FILE=/ca.pem python3 -c 'import urllib.request as u; print(u.urlopen(\"{scheme}://{name}/\", timeout=10).read())'",
    "requests": "REQUESTS_CA_BUNDLE=/ca.pem python3 -c 'import requests; print(requests.get(\"{scheme}://{name}/\", timeout=10).text)'",
    "node": "NODE_EXTRA_CA_CERTS=/ca.pem node -e 'fetch(\"{scheme}://{name}/\").then(r => r.text()).then(console.log)'",
}


@TWINS
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", CLIENTS)
def test_clients_that_know_proxies(announcing, ca, client, scheme, verdict):
    lab = announcing
    program = client if client == "node" else None
    if program and lab.run("sh", "-c", f"command -v {program}").code != 0:
        pytest.skip(f"{program} is not installed here")
    if client == "requests" and lab.run("python3", "-c", "import requests").code != 0:
        pytest.skip("python3-requests is not installed here")
    lab.world.reset()
    name = "allowed.test" if verdict == "allow" else "evil.test"
    out = lab.run("sh", "-c", CLIENTS[client].format(scheme=scheme, name=name), allow=["allowed.test"], extra=ca)
    if verdict == "allow":
        assert out.code == 0 and f"served {name}" in out.stdout, out
        assert {event["via"] for event in out.of_type("flow.open")} <= ({"socks"} if "SOCKS" in client else {"http", "tcp"}), out
    else:
        assert out.code != 0 or "weir: evil.test:80 is refused" in out.stdout, out
        assert lab.world.packets_to(w.EVIL4) == lab.world.packets_to(w.EVIL6) == 0, out
        assert refusals_of(out, name), out


@TWINS
def test_git_by_the_proxy(announcing, ca, verdict):
    lab = announcing
    test_clients.make_repository(lab)
    name = "allowed.test" if verdict == "allow" else "evil.test"
    out = lab.run("sh", "-c", f"GIT_SSL_CAINFO=/ca.pem git clone -q https://{name}/git/project.git /tmp/p && cat /tmp/p/file",
                  allow=["allowed.test"], extra=ca)
    if verdict == "allow":
        assert out.code == 0 and out.stdout == "hello\n", out
        assert {event["via"] for event in out.of_type("flow.open")} == {"http"}, out
    else:
        assert out.code != 0 and "403" in out.stderr and lab.world.packets_to(w.EVIL4) == 0, out


@TWINS
def test_pip_by_the_proxy(announcing, ca, verdict):
    lab = announcing
    test_clients.make_wheel(lab.world.www / "simple" / "labpkg")
    allow = ["allowed.test"] if verdict == "allow" else ["example.com"]
    out = lab.run("sh", "-c", "python3 -m pip install -q --no-cache-dir --retries 0 --timeout 5 --disable-pip-version-check "
                  "--cert /ca.pem -i https://allowed.test/simple labpkg && python3 -c 'import labpkg; print(labpkg.answer)'",
                  allow=allow, extra=ca)
    if verdict == "allow":
        assert out.code == 0 and out.stdout.strip().endswith("42"), out
        assert {event["via"] for event in out.of_type("flow.open")} == {"http"}, out
    else:
        assert out.code != 0 and lab.world.packets_to(w.ALLOWED4) == 0, out


def test_large_bodies_by_the_proxy(announcing):
    out = announcing.run("sh", "-c", "curl -sS http://allowed.test/bytes/50000000 | wc -c; "
                         "head -c 20000000 /dev/zero | curl -sS --data-binary @- http://allowed.test/; "
                         "head -c 3000000 /dev/zero | curl -sS -p --data-binary @- http://allowed.test/", allow=["allowed.test"])
    assert out.stdout.split() == ["50000000", "20000000", "3000000"], out


def test_what_is_announced(announcing):
    names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"]
    show = ["/usr/bin/python3", "-c", "import os, json; print(json.dumps([os.environ.get(n) for n in "
            f"{names + ['NODE_USE_ENV_PROXY']!r}]))"]
    http, socks, own = "http://10.254.0.1:3128", "socks5h://10.254.0.1:1080", "localhost,127.0.0.1,::1"
    assert announcing.run(*show, allow=["allowed.test"]).result == [http] * 4 + [socks] * 2 + [own] * 2 + ["1"]
    assert announcing.run(*show, allow=["allowed.test"], extra=["--no-proxy-env"]).result == [None] * 9
    assert announcing.run(*show, mode="none").result == [None] * 9, "there is no gateway"
    assert announcing.run(*show, allow=["allowed.test"], extra=["-e", "http_proxy=mine"]).result[1] == "mine"


def test_their_own_machine_is_not_at_the_gateway(announcing):
    """NO_PROXY: what listens on the sandbox's loopback stays reachable by programs that use the proxies."""
    out = announcing.run("sh", "-c", "python3 -m http.server -b 127.0.0.1 8000 >/dev/null 2>&1 & "
                         "for n in $(seq 100); do curl -s -o /dev/null http://localhost:8000/ && break; sleep 0.05; done; "
                         "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/; kill %1", allow=["allowed.test"])
    assert out.stdout == "200" and not out.refusals(), out
