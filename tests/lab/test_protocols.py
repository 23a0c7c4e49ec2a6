"""Real clients by name, protocol by protocol: late TLS, server speaks first, WebSocket, HTTP of every library.

issue 4 "First flight"; attacks.md E06-E08, E11, F01, F02, F07, F12, H01, H03, H06, H08, H10, R03.
"""

import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile

import pytest

import world as w
from checks import TWINS, assert_cut
from protocol_server import ODD, PORTS

HERE = pathlib.Path(__file__).resolve().parent
POSTGRES = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), default=pathlib.Path("/nonexistent"))


def needs(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def named(verdict):
    return "allowed.test" if verdict == "allow" else "evil.test"


def assert_unreached(lab, out):
    """The name was refused: the program failed, nothing arrived, and the name is what the record says."""
    assert out.code != 0, out
    assert lab.world.packets_to(w.EVIL4) == lab.world.packets_to(w.EVIL6) == 0, out
    assert out.of_type("dns.refuse", name="evil.test") and not out.of_type("flow.open"), out
    assert {event["name"] for event in out.of_type("dns.refuse")} == {"evil.test"}, out


def assert_cut_by_name(lab, out, address, port, reason):
    """The first flight was refused: the program failed, no payload arrived, one record says why."""
    assert lab.world.packets.payload_to(address, port) == 0, out
    assert [event["reason"] for event in out.refusals(dst=address, port=port)] == [reason], out


@pytest.fixture
def ca(lab):
    return ["-v", f"{lab.world.pki}/ca.pem:/ca.pem:ro"]


@pytest.fixture(scope="module")
def protocols(world):
    world.inet.start([sys.executable, "-u", str(HERE / "protocol_server.py"), str(world.pki), w.ALLOWED4, w.EVIL4, w.SHARED4])


@pytest.fixture(scope="module")
def postgres(world):
    """A server of its own, with TLS, as Debian's user: it does not run as root."""
    if not (POSTGRES / "initdb").exists():
        pytest.skip("postgresql is not installed")
    user = pwd.getpwnam("postgres")
    data = pathlib.Path(tempfile.mkdtemp(prefix="weir-lab-postgres-"))
    os.chown(data, user.pw_uid, user.pw_gid)
    as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    try:
        subprocess.run([*as_user, str(POSTGRES / "initdb"), "-A", "trust", "-U", "lab", "--no-sync", "-D", str(data)], check=True,
                       capture_output=True, cwd="/")
        for name in ("cert.pem", "key.pem"):
            shutil.copy(world.pki / name, data / name)
            os.chown(data / name, user.pw_uid, user.pw_gid)
            (data / name).chmod(0o600)
        (data / "pg_hba.conf").write_text("hostssl all all all trust\n")
        options = {"listen_addresses": f"{w.ALLOWED4},{w.EVIL4}", "ssl": "on", "ssl_cert_file": "cert.pem", "ssl_key_file": "key.pem",
                   "unix_socket_directories": "", "fsync": "off", "shared_buffers": "1MB", "max_connections": "10"}
        flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        server = world.inet.start([*as_user, str(POSTGRES / "postgres"), "-D", str(data), *flags], ready=None, stderr=subprocess.PIPE)
        while "ready to accept connections" not in (line := server.stderr.readline()):
            assert line, "postgres did not start"
        yield data
        server.terminate()
        server.wait(timeout=20)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@TWINS
def test_psql(lab, ca, postgres, verdict):
    """Late TLS: eight bytes that ask for it, an answer of one byte, and only then the ClientHello."""
    needs("psql")
    address = f"host={named(verdict)} user=lab dbname=postgres sslmode=verify-full sslrootcert=/ca.pem connect_timeout=8"
    out = lab.run("psql", "-XAtc", "select ssl, 6*7 from pg_stat_ssl where pid = pg_backend_pid()", address,
                  allow=["allowed.test:5432"], extra=ca)
    if verdict == "allow":
        assert out.code == 0 and out.stdout == "t|42\n", out
    else:
        assert_unreached(lab, out)


@pytest.fixture(scope="module")
def redis(world):
    needs("redis-server")
    server = world.inet.start(["redis-server", "--port", "6379", "--bind", w.ALLOWED4, w.EVIL4, "--save", "", "--protected-mode", "no"],
                              ready=None)
    while "eady to accept connections" not in (line := server.stdout.readline()):
        assert line, "redis did not start"
    yield
    server.kill()
    server.wait()


@TWINS
def test_redis(lab, redis, verdict):
    """Its own protocol by redis-cli, and inline commands as people type them into nc."""
    needs("redis-cli")
    out = lab.run("sh", "-c", f"redis-cli -h {named(verdict)} set key value && redis-cli -h {named(verdict)} get key && "
                  f"printf 'PING\\r\\nQUIT\\r\\n' | nc {named(verdict)} 6379", allow=["allowed.test:6379"])
    if verdict == "allow":
        assert out.code == 0 and out.stdout.split() == ["OK", "value", "+PONG", "+OK"], out
    else:
        assert_unreached(lab, out)


@TWINS
def test_smtp_starttls(lab, ca, protocols, verdict):
    name = named(verdict)
    out = lab.run("sh", "-c", f"echo | openssl s_client -starttls smtp -connect {name}:{PORTS['smtp']} -servername {name} "
                  "-CAfile /ca.pem -verify_return_error -brief", allow=[f"allowed.test:{PORTS['smtp']}"], extra=ca)
    if verdict == "allow":
        assert "CONNECTION ESTABLISHED" in out.stderr, out
    else:
        assert_unreached(lab, out)


@TWINS
def test_mysql_greeting(lab, protocols, verdict):
    """The server speaks first, at once; the client answers in binary."""
    code = f"""
try:
    s = socket.create_connection(({named(verdict)!r}, {PORTS['greeting']}), 5); begin = time.monotonic()
    hello = s.recv(200); waited = time.monotonic() - begin
    s.sendall(b'\\x20\\0\\0\\1' + bytes(32)); answer = s.recv(200)
    result = [b'8.0.0-lab' in hello, waited < 1, b'nobody in, 36 bytes' in answer]
except OSError as error: result = name_of(error)
"""
    out = lab.guest(code, allow=[f"allowed.test:{PORTS['greeting']}"])
    if verdict == "allow":
        assert out.result == [True] * 3, out
    else:
        assert out.result == "gaierror" and lab.world.packets_to(w.EVIL4) == 0 and out.of_type("dns.refuse", name="evil.test"), out


def test_mariadb(lab, protocols):
    """The real client against the greeting; it reports what the server said."""
    needs("mariadb")
    out = lab.run("mariadb", "-h", "allowed.test", "-u", "lab", "--ssl=0", "-e", "select 1", allow=["allowed.test:3306"])
    assert out.code != 0 and "the lab lets nobody in" in out.stderr, out


@TWINS
def test_a_word_without_a_line_end(lab, protocols, verdict):
    """It could become a request line, so it waits for a moment; then it passes on the name. The twin goes on to say HTTP,
    for another tenant of the address: cut, and no byte of what would make it a request has left."""
    rest = "' again'" if verdict == "allow" else "' / HTTP/1.1\\r\\nHost: b.cdn.test\\r\\n\\r\\n'"
    code = f"""
s = socket.create_connection(('a.cdn.test', {PORTS['word']})); s.settimeout(5); begin = time.monotonic()
s.sendall(b'GET'); first = s.recv(100).decode(); waited = time.monotonic() - begin
s.sendall({rest}.encode())
try: second = s.recv(100).decode()
except OSError as error: second = name_of(error)
result = [first, waited < 3, second]
"""
    out = lab.guest(code, allow=["a.cdn.test"])
    assert out.result[:2] == ["heard GET", True], out
    if verdict == "allow":
        assert out.result[2] == "heard  again" and not out.refusals(), out
    else:
        assert out.result[2] in ("", "ECONNRESET"), out
        assert [event["reason"] for event in out.refusals()] == ["malformed"], out
        assert out.of_type("flow.close")[0]["bytes_up"] == 3, out


WEBSOCKET = """
import asyncio, websockets
async def talk():
    async with websockets.connect('ws://NAME:PORT/chat') as socket:
        await socket.send('hello'); first = await socket.recv()
        await socket.send('GET / HTTP/1.1'); return [first, await socket.recv()]
print(asyncio.run(talk()))
"""


@TWINS
def test_websocket(lab, protocols, verdict):
    """In the clear: after 101 to a judged request the rest is that authority's."""
    if subprocess.run(["/usr/bin/python3", "-c", "import websockets"], capture_output=True).returncode:
        pytest.skip("python3-websockets is not installed")
    program = WEBSOCKET.replace("NAME", named(verdict)).replace("PORT", str(PORTS["websocket"]))
    out = lab.run("/usr/bin/python3", "-c", program, allow=["allowed.test"])
    if verdict == "allow":
        assert out.code == 0 and out.stdout.strip() == "['hello', 'GET / HTTP/1.1']", out
        assert len(out.of_type("flow.open")) == 1 and not out.refusals(), out
    else:
        assert_unreached(lab, out)


UPGRADE = "GET /{path} HTTP/1.1\r\nHost: a.cdn.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhl\r\n" \
          "Sec-WebSocket-Version: 13\r\n\r\n"


@pytest.mark.parametrize("path", ["declined", "101-to-h2c", "101-in-a-body", "flood", "both", "204", "two-lengths"])
@TWINS
def test_an_upgrade_that_was_not_taken_up(lab, protocols, path, verdict):
    """Behind any answer but 101 to a WebSocket every request is judged, whatever the answer's lengths say. What follows
    is sent together with the upgrade: it waits for the answer."""
    host = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    second = f"GET /second HTTP/1.1\r\nHost: {host}\r\n\r\n"
    code = f"""
s = socket.create_connection(('a.cdn.test', {PORTS['odd']})); s.settimeout(5)
s.sendall({(UPGRADE.format(path=path) + second)!r}.encode()); data = b''
try:
    while b'second ' not in data and (part := s.recv(65536)): data += part
    result = 'answered' if data.endswith(b'second {host}') else 'ended'
except OSError as error: result = name_of(error)
"""
    out = lab.guest(code, allow=["a.cdn.test"])
    if verdict == "allow":
        assert out.result == "answered", out
    else:
        assert out.result in ("ended", "ECONNRESET"), out
        assert [event["reason"] for event in out.refusals(dst=w.SHARED4)] == ["host-mismatch"], out
        assert out.of_type("flow.close")[0]["bytes_up"] == len(UPGRADE.format(path=path)), out


@pytest.mark.parametrize("kind", sorted(set(ODD) - {"101-to-h2c", "declined"}))
@TWINS
def test_odd_answers_do_not_unhinge_the_next_request(lab, protocols, kind, verdict):
    """Response-side smuggling: the gate frames requests by requests alone."""
    host = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    method = "HEAD" if kind == "head" else "GET"
    code = f"""
s = socket.create_connection(('a.cdn.test', {PORTS['odd']})); s.settimeout(5); data = b''
s.sendall({f"{method} /{kind} HTTP/1.1{chr(13)}{chr(10)}Host: a.cdn.test{chr(13)}{chr(10)}{chr(13)}{chr(10)}"!r}.encode()); s.recv(10)
s.sendall({f"GET /2 HTTP/1.1{chr(13)}{chr(10)}Host: {host}{chr(13)}{chr(10)}{chr(13)}{chr(10)}"!r}.encode())
try:
    while b'second ' not in data and (part := s.recv(65536)): data += part
    result = 'answered' if data.endswith(b'second {host}') else 'ended'
except OSError as error: result = name_of(error)
"""
    out = lab.guest(code, allow=["a.cdn.test"])
    if verdict == "allow":
        assert out.result == "answered" and not out.refusals(), out
    else:
        assert out.result in ("ended", "ECONNRESET"), out
        assert [event["reason"] for event in out.refusals(dst=w.SHARED4)] == ["host-mismatch"], out


@TWINS
def test_curl_waits_for_100_continue(lab, protocols, verdict):
    """The head passes alone, the answer 100 comes back, then the body; a forbidden authority gets neither."""
    host = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    out = lab.run("sh", "-c", f"head -c 300000 /dev/zero | curl -sS -m 10 -H 'Expect: 100-continue' --expect100-timeout 8 --data-binary @- "
                  f"-H 'Host: {host}' http://a.cdn.test:{PORTS['continue']}/", allow=["a.cdn.test"])
    if verdict == "allow":
        assert out.code == 0 and out.stdout == "asked", out
    else:
        assert out.code != 0, out
        assert_cut_by_name(lab, out, w.SHARED4, PORTS["continue"], "host-mismatch")


@TWINS
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_wget(lab, ca, scheme, verdict):
    needs("wget")
    out = lab.run("wget", "-qO-", "-T", "8", "-t", "1", "--ca-certificate=/ca.pem", f"{scheme}://{named(verdict)}/", allow=["allowed.test"],
                  extra=ca)
    if verdict == "allow":
        assert out.code == 0 and "served allowed.test" in out.stdout, out
    else:
        assert_unreached(lab, out)


NODE = """
const { get, Agent } = require(process.argv[1]);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const ask = () => new Promise((done, fail) => get(`${process.argv[1]}://${process.argv[2]}/`, { agent }, (answer) => {
  let text = ''; answer.on('data', (part) => { text += part; }); answer.on('end', () => done(text)); }).on('error', fail));
ask().then(ask).then((text) => { console.log(text.trim()); agent.destroy(); }, (error) => { console.log(error.code); process.exit(1); });
"""


@TWINS
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_node(lab, ca, scheme, verdict):
    """Two requests on one connection."""
    needs("node")
    out = lab.run("node", "-e", NODE, scheme, named(verdict), allow=["allowed.test"], extra=[*ca, "-e", "NODE_EXTRA_CA_CERTS=/ca.pem"])
    if verdict == "allow":
        assert out.code == 0 and "served allowed.test" in out.stdout and len(out.of_type("flow.open")) == 1, out
    else:
        assert_unreached(lab, out)


REQUESTS = "import requests, sys\nwith requests.Session() as s:\n  s.trust_env = False\n  for _ in (1, 2): text = s.get(sys.argv[1], " \
           "verify='/ca.pem', timeout=8).text\nprint(text)"


@TWINS
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests(lab, ca, scheme, verdict):
    out = lab.run("/usr/bin/python3", "-c", REQUESTS, f"{scheme}://{named(verdict)}/", allow=["allowed.test"], extra=ca)
    if verdict == "allow":
        assert out.code == 0 and "served allowed.test" in out.stdout and len(out.of_type("flow.open")) == 1, out
    else:
        assert_unreached(lab, out)


JAVA = """
import java.net.URI; import java.net.http.*;
public class Ask { public static void main(String[] args) throws Exception {
  var client = HttpClient.newHttpClient(); var request = HttpRequest.newBuilder(URI.create(args[0])).build();
  client.send(request, HttpResponse.BodyHandlers.ofString());
  System.out.print(client.send(request, HttpResponse.BodyHandlers.ofString()).body()); } }
"""


@TWINS
@pytest.mark.slow
def test_java(lab, verdict):
    """HttpClient offers h2c with its first request; the server declines and both requests go on in HTTP/1.1."""
    needs("java")
    if not shutil.which("javac") and "jdk.compiler" not in subprocess.run(["java", "--list-modules"], capture_output=True, text=True).stdout:
        pytest.skip("java is installed without its compiler")
    program = lab.file("Ask.java", JAVA)
    out = lab.run("java", "-XX:TieredStopAtLevel=1", "--source", "11", "/Ask.java", f"http://{named(verdict)}:8080/",
                  allow=["allowed.test"], extra=["-v", f"{program}:/Ask.java:ro"])
    if verdict == "allow":
        assert out.code == 0 and "served allowed.test" in out.stdout and not out.refusals(), out
    else:
        assert_unreached(lab, out)


S_CLIENT = {"plain": [], "small-records": ["-max_send_frag", "512", "-split_send_frag", "512"], "tls12": ["-tls1_2"],
            "groups": ["-groups", "X25519:P-256:P-384:P-521:ffdhe8192"], "long-alpn": ["-alpn", ",".join(["http/1.1"] * 100)]}


@TWINS
@pytest.mark.parametrize("case", sorted(S_CLIENT))
def test_s_client(lab, ca, case, verdict):
    """One address, two tenants: the name in the hello decides, however the hello looks."""
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    out = lab.run("sh", "-c", f"echo | openssl s_client -connect a.cdn.test:443 -servername {name} -CAfile /ca.pem -brief {' '.join(S_CLIENT[case])}",
                  allow=["a.cdn.test"], extra=ca)
    if verdict == "allow":
        assert "CONNECTION ESTABLISHED" in out.stderr, out
    else:
        assert out.code != 0, out
        assert_cut_by_name(lab, out, w.SHARED4, 443, "sni-mismatch")


@TWINS
def test_s_client_without_a_name(lab, ca, verdict):
    """H01"""
    flag = "-servername a.cdn.test" if verdict == "allow" else "-noservername"
    out = lab.run("sh", "-c", f"echo | openssl s_client -connect a.cdn.test:443 {flag} -brief", allow=["a.cdn.test"])
    if verdict == "allow":
        assert "CONNECTION ESTABLISHED" in out.stderr, out
    else:
        assert out.code != 0, out
        assert_cut_by_name(lab, out, w.SHARED4, 443, "sni-missing")


HELLOS = """
import ssl
def records(hello, size):
    'The same handshake message in records of `size` bytes.'
    body = hello[5:]
    return b''.join(hello[:3] + struct.pack('!H', len(body[i:i + size])) + body[i:i + size] for i in range(0, len(body), size))
def with_extension(hello, kind, data):
    body = bytearray(hello[5:]); at = 4 + 34
    at += 1 + body[at]; at += 2 + int.from_bytes(body[at:at + 2]); at += 1 + body[at]
    body[at:at + 2] = (int.from_bytes(body[at:at + 2]) + 4 + len(data)).to_bytes(2)
    body += struct.pack('!HH', kind, len(data)) + data
    body[1:4] = (len(body) - 4).to_bytes(3)
    return hello[:3] + struct.pack('!H', len(body)) + bytes(body)
def ask(hello, port=443):
    s = socket.create_connection(('a.cdn.test', port)); s.settimeout(8)
    try:
        for i in range(0, len(hello), 700): s.sendall(hello[i:i + 700])
        data = s.recv(5)
        return {'connect': 'OK', 'end': None if data else 'eof', 'tls': 'OK' if data[:1] in (b'\\x16', b'\\x15') else repr(data)}
    except OSError as error: return {'connect': 'OK', 'end': name_of(error), 'tls': name_of(error)}
"""


@TWINS
@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_hello_over_many_records(lab, size, verdict):
    """H03: the message over records of a few bytes, and those over segments."""
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    out = lab.guest(HELLOS + f"result = ask(records(client_hello({name!r}), {size}))", allow=["a.cdn.test"])
    if verdict == "allow":
        assert out.result["tls"] == "OK" and lab.world.packets.payload_to(w.SHARED4, 443) > 0 and not out.refusals(), out
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 443, ("sni-mismatch",))


@pytest.mark.parametrize("kind", [pytest.param(0xfe0d, marks=pytest.mark.refusal, id="ech"),
                                  pytest.param(0xfe0c, marks=pytest.mark.refusal, id="ech-draft"),
                                  pytest.param(0x0a0a, id="grease")])
def test_encrypted_hello(lab, kind):
    """H06: a hello inside the hello may name another host, and GREASE of it looks the same: refused. Other unknown
    extensions pass."""
    data = bytes([0, 0, 1, 0, 1, 7, 0, 32]) + bytes(32) + bytes([0, 80]) + bytes(80)
    out = lab.guest(HELLOS + f"result = ask(with_extension(client_hello('a.cdn.test'), {kind}, {data!r}))", allow=["a.cdn.test"])
    if kind == 0x0a0a:
        assert out.result["tls"] == "OK" and not out.refusals(), out
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 443, ("ech",))


def test_ech_where_the_rule_says_so(lab):
    """The positive twin of H06."""
    policy = 'version = 1\nmode = "allowlist"\n[[rules]]\naction = "allow"\nto = ["a.cdn.test"]\nech = true\n'
    data = bytes([0, 0, 1, 0, 1, 7, 0, 32]) + bytes(32) + bytes([0, 80]) + bytes(80)
    out = lab.guest(HELLOS + f"result = ask(with_extension(client_hello('a.cdn.test'), 0xfe0d, {data!r}))", policy=policy)
    assert out.result["tls"] == "OK" and not out.refusals(), out


@TWINS
def test_early_data(lab, ca, verdict):
    """H08: TLS 1.3 early data stands behind the hello in the same flight; refused, none of it leaves."""
    name = "a.cdn.test" if verdict == "allow" else "b.cdn.test"
    early = b"\x17\x03\x03\x00\x10" + bytes(16)
    out = lab.guest(HELLOS + f"result = ask(client_hello({name!r}) + {early!r})", allow=["a.cdn.test"])
    if verdict == "allow":  # all of it arrives; the lab's server makes nothing of it
        assert lab.world.packets.payload_to(w.SHARED4, 443) > 0 and not out.refusals(), out
    else:
        assert_cut(lab, out, out.result, w.SHARED4, 443, ("sni-mismatch",))
