"""Names on the wire: what the first bytes of a connection may say. attacks.md D09, E06-E08, H01-H10."""

import pytest

import world as w
from checks import FAMILIES, REFUSE, SHARED, TWINS, assert_allowed, assert_cut

RESOLVE = "resolve('a.cdn.test')\n"
HTTP_REASONS = ("host-mismatch", "host-missing", "no-name", "not-http", "malformed", "no-rule")
TLS_REASONS = ("sni-mismatch", "sni-missing", "no-name", "not-tls", "malformed", "no-rule", "ech")


@TWINS
@FAMILIES
@pytest.mark.parametrize("port", [80, 8080])
def test_host_header(lab, family, verdict, port):
    """D09: two tenants on one address, one allowed."""
    dst = SHARED[family]
    host = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    out = lab.guest(RESOLVE + f"result = http_get({dst!r}, {port}, {host!r})", allow=["a.cdn.test"])
    if verdict == "allow":
        assert_allowed(lab, out, out.result, dst, port)
        assert "a.cdn.test" in out.result["data"]
    else:
        assert_cut(lab, out, out.result, dst, port, HTTP_REASONS)


@TWINS
@FAMILIES
@pytest.mark.parametrize("port", [443, 8443])
def test_sni(lab, family, verdict, port):
    dst = SHARED[family]
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    out = lab.guest(RESOLVE + f"result = tls({dst!r}, {port}, {name!r})", allow=["a.cdn.test"])
    if verdict == "allow":
        assert_allowed(lab, out, out.result, dst, port)
        assert out.result["tls"] == "OK"
    else:
        assert_cut(lab, out, out.result, dst, port, TLS_REASONS)


@pytest.mark.parametrize("name", [pytest.param(None, marks=pytest.mark.refusal, id="absent"),
                                  pytest.param("a.cdn.test", id="allowed"),
                                  pytest.param("A.CDN.Test", id="allowed-in-capitals"),
                                  pytest.param("xa.cdn.test", marks=pytest.mark.refusal, id="prefix"),
                                  pytest.param("a.cdn.test.evil.test", marks=pytest.mark.refusal, id="suffix")])
def test_sni_spellings(lab, name):
    """H01"""
    out = lab.guest(RESOLVE + f"result = tls({w.SHARED4!r}, 443, {name!r})", allow=["a.cdn.test"])
    if name and name.lower() == "a.cdn.test":
        assert_allowed(lab, out, out.result, w.SHARED4, 443)
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 443, TLS_REASONS)


HEADS = {
    "allowed": ("GET / HTTP/1.1\r\nHost: a.cdn.test\r\n\r\n", True),
    "allowed-with-port": ("GET / HTTP/1.1\r\nHost: a.cdn.test:80\r\n\r\n", True),
    "allowed-in-capitals": ("GET / HTTP/1.1\r\nhOST: A.CDN.TEST\r\n\r\n", True),
    "no-host": ("GET / HTTP/1.1\r\n\r\n", False),
    "two-hosts": ("GET / HTTP/1.1\r\nHost: a.cdn.test\r\nHost: b.cdn.test\r\n\r\n", False),
    "two-hosts-other-order": ("GET / HTTP/1.1\r\nHost: b.cdn.test\r\nHost: a.cdn.test\r\n\r\n", False),
    "absolute-form-disagrees": ("GET http://b.cdn.test/ HTTP/1.1\r\nHost: a.cdn.test\r\n\r\n", False),
    "absolute-form-other-way": ("GET http://a.cdn.test/ HTTP/1.1\r\nHost: b.cdn.test\r\n\r\n", False),
    "userinfo": ("GET / HTTP/1.1\r\nHost: a.cdn.test@b.cdn.test\r\n\r\n", False),
    "percent": ("GET / HTTP/1.1\r\nHost: a%2ecdn.test\r\n\r\n", False),
    "brackets": ("GET / HTTP/1.1\r\nHost: [a.cdn.test]\r\n\r\n", False),
    "nul": ("GET / HTTP/1.1\r\nHost: b.cdn.test\0.a.cdn.test\r\n\r\n", False),
    "folded": ("GET / HTTP/1.1\r\nHost: a.cdn.test\r\n b.cdn.test\r\n\r\n", False),
    "space-before-colon": ("GET / HTTP/1.1\r\nHost : a.cdn.test\r\n\r\n", False),
    "bare-lf": ("GET / HTTP/1.1\nHost: a.cdn.test\n\n", False),
    "port-wraps": ("GET / HTTP/1.1\r\nHost: a.cdn.test:65616\r\n\r\n", False),
    "literal": ("GET / HTTP/1.1\r\nHost: 93.184.216.20\r\n\r\n", False),
    "h2c-preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", False),
    "full-width": ("GET / HTTP/1.1\r\nHost: \xef\xbd\x81.cdn.test\r\n\r\n", False),
    "not-http-at-all": ("SSH-2.0-lab\r\n", False),
    "proxy-protocol": ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a.cdn.test\r\n\r\n", False),
}


@pytest.mark.parametrize("case", [pytest.param(key, marks=() if value[1] else pytest.mark.refusal)
                                  for key, value in HEADS.items()])
def test_heads_on_port_80(lab, case):
    """B03-B09, E07, F07: what the authority must look like on port 80."""
    head, allowed = HEADS[case]
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 80, send={head!r}, recv=15, timeout=4)", allow=["a.cdn.test"])
    if allowed:
        assert_allowed(lab, out, out.result, w.SHARED4, 80)
        assert out.result["data"].startswith("HTTP/1.1 200"), out
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 80, HTTP_REASONS)


@TWINS
def test_every_request_of_a_connection(lab, verdict):
    """F01: the second request on a kept-alive connection is judged like the first."""
    second = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    code = RESOLVE + f"""
s = socket.create_connection(({w.SHARED4!r}, 80)); s.settimeout(4)
def ask(host):
    s.sendall(f'GET /?{{host}} HTTP/1.1\\r\\nHost: {{host}}\\r\\n\\r\\n'.encode())
    data = b''
    try:
        while b'weir lab' not in data and (part := s.recv(4096)): data += part
        return data[:15].decode('latin-1')
    except OSError as error: return name_of(error)
result = [ask('a.cdn.test'), ask({second!r})]
"""
    out = lab.guest(code, allow=["a.cdn.test"])
    hosts = [entry["host"] for entry in lab.world.origin_log.since() if entry["event"] == "request"]
    assert out.result[0].startswith("HTTP/1.1 200"), out
    if verdict == "allow":
        assert out.result[1].startswith("HTTP/1.1 200") and hosts == ["a.cdn.test"] * 2, out
    else:
        assert out.result[1] in ("ECONNRESET", "", "EPIPE") and hosts == ["a.cdn.test"], (hosts, out)
        assert len(out.refusals(reason="host-mismatch")) == 1, out


@pytest.mark.parametrize("verdict", [REFUSE])
def test_pipelined_request(lab, verdict):
    """F02: two requests in one write; the forbidden one never reaches the origin."""
    both = "GET /1 HTTP/1.1\r\nHost: a.cdn.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: b.cdn.test\r\n\r\n"
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 80, send={both!r}, recv=100000, timeout=4)", allow=["a.cdn.test"])
    hosts = [entry["host"] for entry in lab.world.origin_log.since() if entry["event"] == "request"]
    assert "b.cdn.test" not in hosts, (hosts, out)
    assert out.refusals(), out


POST = "POST / HTTP/{version}\r\nHost: a.cdn.test\r\n{fields}\r\n\r\n{body}"
CHUNKED = "Transfer-Encoding: chunked"
FRAMINGS = {
    "length": ("Content-Length: 3", True), "length-zero": ("Content-Length: 0", True), "chunked": (CHUNKED, True),
    "two-lengths": ("Content-Length: 3\r\nContent-Length: 4", False), "same-twice": ("Content-Length: 3\r\nContent-Length: 3", False),
    "list": ("Content-Length: 3, 3", False), "plus": ("Content-Length: +3", False), "minus": ("Content-Length: -3", False),
    "hexadecimal": ("Content-Length: 0x3", False), "leading-zero": ("Content-Length: 03", False), "no-digits": ("Content-Length:", False),
    "overflow": ("Content-Length: 18446744073709551619", False), "inner-space": ("Content-Length: 3 3", False),
    "length-and-chunked": ("Content-Length: 3\r\n" + CHUNKED, False), "chunked-and-length": (CHUNKED + "\r\nContent-Length: 3", False),
    "space-before-colon": ("Transfer-Encoding : chunked", False), "xchunked": ("Transfer-Encoding: xchunked", False),
    "chunked-identity": ("Transfer-Encoding: chunked, identity", False), "gzip-chunked": ("Transfer-Encoding: gzip, chunked", False),
    "coding-twice": (CHUNKED + "\r\n" + CHUNKED, False), "vertical-tab": ("Transfer-Encoding: \x0bchunked", False),
    "folded": ("Transfer-Encoding:\r\n chunked", False), "capitals": ("Transfer-Encoding: CHUNKED", False),
    "expect": ("Content-Length: 3\r\nExpect: 100-continue", True), "expect-else": ("Content-Length: 3\r\nExpect: y 100-continue", False),
    "expect-twice": ("Content-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue", False),
    "connection-names-length": ("Content-Length: 3\r\nConnection: content-length", False),
}


@pytest.mark.parametrize("case", [pytest.param(key, marks=() if value[1] else pytest.mark.refusal) for key, value in FRAMINGS.items()])
def test_framing(lab, case):
    """F03, F04: what two servers would frame differently goes nowhere."""
    fields, allowed = FRAMINGS[case]
    body = "3\r\nabc\r\n0\r\n\r\n" if "hunked" in fields else "abc" if "3" in fields else ""
    request = POST.format(version="1.1", fields=fields, body=body)
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 80, send={request!r}, recv=15, timeout=4)", allow=["a.cdn.test"])
    if allowed:
        assert_allowed(lab, out, out.result, w.SHARED4, 80)
        assert out.result["data"].startswith(("HTTP/1.1 200", "HTTP/1.1 100")), out
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 80, ("malformed",))


@TWINS
def test_chunked_needs_http_1_1(lab, verdict):
    """F04: HTTP/1.0 knows no chunks."""
    request = POST.format(version="1.1" if verdict == "allow" else "1.0", fields=CHUNKED, body="0\r\n\r\n")
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 80, send={request!r}, recv=15, timeout=4)", allow=["a.cdn.test"])
    if verdict == "allow":
        assert_allowed(lab, out, out.result, w.SHARED4, 80)
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 80, ("malformed",))


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: b.cdn.test\r\n\r\n"
CHUNKS = {"bare-lf": "3\nabc\r\n0\r\n\r\n", "extension": "3;a=b\r\nabc\r\n0\r\n\r\n", "lf-in-extension": "3;a\nb\r\nabc\r\n0\r\n\r\n",
          "no-size": "\r\nabc\r\n0\r\n\r\n", "hexadecimal-prefix": "0x3\r\nabc\r\n0\r\n\r\n", "minus": "-3\r\nabc\r\n0\r\n\r\n",
          "overflow": "10000000000000003\r\nabc\r\n0\r\n\r\n", "huge": "ffffffff\r\nabc\r\n0\r\n\r\n", "no-end": "3\r\nabc0\r\n\r\n",
          "longer-than-said": "3\r\nabcd\r\n0\r\n\r\n", "space": "3 \r\nabc\r\n0\r\n\r\n", "host-in-trailer": "0\r\nHost: b.cdn.test\r\n\r\n",
          "length-in-trailer": "0\r\nContent-Length: 44\r\n\r\n", "lf-trailer": "0\r\n\n"}


@pytest.mark.parametrize("case", [None, *[pytest.param(key, marks=pytest.mark.refusal) for key in sorted(CHUNKS)]])
def test_chunks(lab, case):
    """F05: what is no plain chunk ends the connection before the next request; the plain one is the twin, and there the
    next request is refused for its host."""
    request = POST.format(version="1.1", fields=CHUNKED, body="3\r\nabc\r\n0\r\n\r\n" if case is None else CHUNKS[case]) + SMUGGLED
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 80, send={request!r}, recv=100000, timeout=4)", allow=["a.cdn.test"])
    seen = [entry["host"] for entry in lab.world.origin_log.since() if entry["event"] == "request"]
    assert "b.cdn.test" not in seen and out.result["end"] in ("ECONNRESET", "eof"), (seen, out)
    assert [event["reason"] for event in out.refusals()] == ["host-mismatch" if case is None else "malformed"], out


@TWINS
def test_hello_in_small_pieces(lab, verdict):
    """H03: one byte a segment. The name is read all the same."""
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    code = RESOLVE + f"""
hello = client_hello({name!r})
s = socket.create_connection(({w.SHARED4!r}, 443)); s.settimeout(6)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
try:
    for byte in hello: s.send(bytes([byte]))
    data = s.recv(3)
    result = {{'connect': 'OK', 'end': None, 'tls': 'OK' if data[:1] == b'\\x16' else repr(data)}}
except OSError as error:
    result = {{'connect': 'OK', 'end': name_of(error), 'tls': name_of(error)}}
"""
    out = lab.guest(code, allow=["a.cdn.test"])
    if verdict == "allow":
        assert out.result["tls"] == "OK", out
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 443, TLS_REASONS)


@pytest.mark.slow
@pytest.mark.refusal
def test_hello_that_never_ends(lab):
    """E06: half a ClientHello and then silence: cut after ten seconds, nothing sent on."""
    code = RESOLVE + f"""
hello = client_hello('a.cdn.test')
result = tcp({w.SHARED4!r}, 443, send=hello[:60], recv=1, timeout=20)
"""
    out = lab.guest(code, allow=["a.cdn.test"], timeout=60)
    assert_cut(lab, out, out.result, w.SHARED4, 443, TLS_REASONS)


BYTES_ON_443 = {"ssh": b"SSH-2.0-lab\r\n", "http": b"GET / HTTP/1.1\r\nHost: a.cdn.test\r\n\r\n", "random": bytes(range(7, 200)),
                "sslv2": bytes([0x80, 0x2e, 1, 0, 2]) + bytes(44), "alert-first": b"\x15\x03\x01\x00\x02\x01\x00",
                "socks": b"\x05\x01\x00"}


@pytest.mark.refusal
@pytest.mark.parametrize("case", sorted(BYTES_ON_443))
def test_not_tls_on_443(lab, case):
    """E07, H10: bytes without a readable name, where a name is what decides."""
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 443, send={BYTES_ON_443[case]!r}, recv=1, timeout=15)",
                    allow=["a.cdn.test"], timeout=60)
    assert_cut(lab, out, out.result, w.SHARED4, 443, TLS_REASONS + HTTP_REASONS)


@TWINS
def test_other_protocols_pass_on_the_name(lab, verdict):
    """policy.md section 4: off 80 and 443 a stream that is neither TLS nor HTTP passes on the name that leads there."""
    code = RESOLVE if verdict == "allow" else ""
    out = lab.guest(code + f"result = tcp({w.SHARED4!r}, 2222, send='\\0paque', recv=6)", allow=["a.cdn.test"])
    if verdict == "allow":
        assert out.result["data"] == "\0paque", out
    else:
        assert out.result["connect"] == "ECONNREFUSED", out
        assert lab.world.packets_to(w.SHARED4) == 0


def test_nameless_rule_needs_no_name(lab):
    """An address rule allows the address whatever the stream says; require_name takes that away."""
    code = f"result = tcp({w.SHARED4!r}, 80, send='not http', shut=True, recv=1, timeout=3)"
    out = lab.guest(code, allow=[w.SHARED4])
    assert lab.world.packets.payload_to(w.SHARED4, 80) > 0, out
    lab.world.reset()
    policy = f'version = 1\nmode = "allowlist"\nallow = ["{w.SHARED4}"]\nrequire_name = true\n'
    out = lab.guest(code, policy=policy)
    assert lab.world.packets.payload_to(w.SHARED4, 80) == 0, out


@TWINS
def test_vector_deny_name_inside_allowed_cidr(lab, verdict):
    """policy.md section 10, rows 1 and 2: allow CIDR, deny a name inside it."""
    name = "b.cdn.test" if verdict == "refuse" else None
    out = lab.guest(f"resolve('a.cdn.test')\nresult = tls({w.SHARED4!r}, 443, {name!r})", allow=["93.184.216.0/24"],
                    deny=["b.cdn.test"])
    if verdict == "allow":
        assert_allowed(lab, out, out.result, w.SHARED4, 443)
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 443, ("denied-by-rule",))


@TWINS
def test_vector_open_deny_name_by_host_header(lab, verdict):
    """policy.md section 10, row 3: mode open, deny evil.test, an address nobody resolved, the Host header decides."""
    dst, host = (w.EVIL4, "evil.test") if verdict == "refuse" else (w.ALLOWED4, "allowed.test")
    out = lab.guest(f"result = http_get({dst!r}, 80, {host!r})", mode="open", deny=["evil.test"])
    if verdict == "allow":
        assert_allowed(lab, out, out.result, dst, 80)
    else:
        assert_cut(lab, out, out.result, dst, 80, ("denied-by-rule",))


def test_vector_ssh_to_shared_address(lab):
    """policy.md section 10, row 4: allow a, deny b, shared address, a protocol without a name, only a was asked."""
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 2222, send='SSH-2.0-lab\\r\\n', recv=1)", allow=["a.cdn.test"],
                    deny=["b.cdn.test"])
    assert out.result["data"].startswith("SSH-2.0"), out


@pytest.mark.refusal
def test_vector_sni_on_the_wrong_port(lab):
    """policy.md section 10, row 5: a.cdn.test:443 and b.cdn.test:2222 share an address; TLS for a on 2222."""
    out = lab.guest("resolve('a.cdn.test'); resolve('b.cdn.test')\n"
                    f"result = tls({w.SHARED4!r}, 2222, 'a.cdn.test')", allow=["a.cdn.test:443", "b.cdn.test:2222"])
    assert_cut(lab, out, out.result, w.SHARED4, 2222, ("sni-mismatch",))


@pytest.mark.parametrize("line", [" GET / HTTP/1.1", "\tGET / HTTP/1.1", "GET\x0b/\x0bHTTP/1.1", "GET\xa0/\xa0HTTP/1.1",
                                  "GET\x85/\x85HTTP/1.1", "\r\n\r\nGET / HTTP/1.1", "GET /a b HTTP/1.1"])
@pytest.mark.refusal
def test_what_a_lenient_server_reads_as_http(lab, line):
    """E08: on any port, a request that only some servers understand is no way to another name of the address."""
    head = line + "\r\nHost: b.cdn.test\r\nConnection: close\r\n\r\n"
    out = lab.guest(RESOLVE + f"result = tcp({w.SHARED4!r}, 8080, {head!r}, 2000, timeout=5)", allow=["a.cdn.test"])
    assert_cut(lab, out, out.result, w.SHARED4, 8080, HTTP_REASONS)


@pytest.mark.parametrize("second", ["GET / HTTP/1.1\r\n\r\n", "GET http://a.cdn.test/ HTTP/1.1\r\nHost: b.cdn.test\r\n\r\n"])
def test_fault_behind_a_good_request(lab, second):
    """The address alone would do (public), but a request without one readable host ends the connection, recorded, and
    leaves the gateway healthy: another connection works afterwards."""
    code = RESOLVE + f"""
s = socket.create_connection(({w.SHARED4!r}, 80)); s.settimeout(5)
s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.cdn.test\\r\\n\\r\\n'); first = s.recv(65536).decode('latin-1')
s.sendall({second!r}.encode())
try:
    while s.recv(65536): pass
    end = 'EOF'
except OSError as error:
    end = name_of(error)
result = [first[:12], end, http_get({w.SHARED4!r}, 80, 'a.cdn.test')['connect']]
"""
    out = lab.guest(code, mode="public", deny=["b.cdn.test"])
    assert out.result[0].startswith("HTTP/1.") and out.result[1:] == ["ECONNRESET", "OK"], out
    refused = out.of_type("flow.refuse")
    assert len(refused) == 1 and refused[0]["reason"] in HTTP_REASONS, out
