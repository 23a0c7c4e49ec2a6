"""`weir serve` by its own description: schemathesis makes requests of docs/openapi.yaml, right ones and wrong ones, and checks what
comes back; and what no generator makes, byte by byte.

Run: python3 -m pytest tests/api_test.py (after ./dev build). schemathesis comes with pip (./dev test puts it into
build/python-tools); without it the first part is skipped and counted.
"""

import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
WEIR = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build/release/weir"))
TOOLS = ROOT / "build/python-tools/bin"
JSON = {"Content-Type": "application/json"}
SECONDS = 75  # for all that schemathesis does
# Texts of megabytes are in the table of hostile requests below; a generator spends its whole time on them.
LONGEST = 1024


class Daemon:
    """weir-serve on a port of loopback, with one token and a state folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.token = secrets.token_hex(32)
        tokens = folder / "tokens"
        tokens.write_text(f"tester:{self.token}\n")
        tokens.chmod(0o600)
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
        # Root's snapshots and images are the machine's: here they are in a folder that only this daemon sees.
        apart = ["unshare", "--mount", "sh", "-c", 'mkdir -p /var/lib/weir && mount -t tmpfs weir /var/lib/weir && exec "$@"',
                 "sh"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [*apart, WEIR, "serve", f"--socket={folder}/weir.sock", "--listen=127.0.0.1:0", f"--token-file={tokens}", "--max-sessions=200"],
            env=self.environment, stderr=subprocess.PIPE, text=True)
        said = ""
        while not (found := re.search(r"127\.0\.0\.1:(\d+)", said)):
            line = self.process.stderr.readline()
            assert line, f"the daemon ended: {said}"
            said += line
        self.port = int(found[1])
        # What it logs goes on, and must not stop it.
        self.process.log = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def ask(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {"Authorization": f"Bearer {self.token}", **dict(headers)})
        response = connection.getresponse()
        return response.status, response.read()

    def raw(self, data, seconds=5):
        """Sends bytes and returns all that comes back until the other end closes or is silent for so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            answer = b""
            try:
                connection.sendall(data)
                while piece := connection.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionError):
                pass
            return answer

    def empty(self):
        for session in json.loads(self.ask("GET", "/v1/sessions")[1])["sessions"]:
            self.ask("DELETE", f"/v1/sessions/{session['id']}?kill=1")

    def close(self):
        self.empty()
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.process.log.wait(20)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    if not WEIR.with_name("weir-serve").exists():
        pytest.skip("weir-serve is not built")
    made = Daemon(tmp_path_factory.mktemp("api"))
    yield made
    made.close()


# ---- by its description ----


# "This machine cannot hold that" and "a limit is reached" are answers of the contract, and no trouble of the server's; what is
# too long is refused as such.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "501", "507"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "410", "413", "415", "422", "429", "501", "507"]
"""
# Answers that never end, and keys with which a session that is gone is "made" once more.
LEFT_OUT = {"#/components/parameters/Follow", "#/components/parameters/IdempotencyKey"}


def described(node):
    """The description without what a generator cannot use."""
    if isinstance(node, list):
        return [described(each) for each in node if not (isinstance(each, dict) and each.get("$ref") in LEFT_OUT)]
    if not isinstance(node, dict):
        return node
    return {key: described(value) for key, value in node.items()
            if not (key == "maxLength" and isinstance(value, int) and value > LONGEST)}


# What is described and not there yet: asked for once, skipped as such, and left out of what is generated until it is there.


def has_snapshots(daemon):
    return daemon.ask("GET", "/v1/snapshots")[0] == 200


def has_networks_of_one_run(daemon):
    status, body = daemon.ask("POST", "/v1/sessions", '{"network_mode": "allowlist", "network_allowlist": ["a.example"]}', JSON)
    assert status == 201, body
    path = f"/v1/sessions/{json.loads(body)['id']}"
    status, body = daemon.ask("POST", f"{path}/run", '{"command": "true", "network_mode": "none"}', JSON)
    daemon.ask("DELETE", path)
    return status == 200


def without(schemas, keys, names):
    for name in names:
        for key in keys:
            schemas[name]["properties"].pop(key, None)


def as_far_as_it_goes(page, daemon):
    schemas = page["components"]["schemas"]
    if not has_snapshots(daemon):
        page["paths"] = {path: each for path, each in page["paths"].items() if not path.startswith("/v1/snapshots")}
        without(schemas, ("snapshot", "template"), ("SessionCreate", "ServiceCreate", "Execute"))
    if not has_networks_of_one_run(daemon):
        without(schemas, ("network", "network_mode", "network_allowlist", "network_denylist", "freeze", "keep_files"), ("Run",))
        schemas["Run"]["allOf"] = [each for each in schemas["Run"]["allOf"] if "network" not in json.dumps(each)]
    return page


@pytest.mark.parametrize("what", [has_snapshots, has_networks_of_one_run])
def test_what_is_described_is_there(daemon, what):
    if not what(daemon):
        pytest.skip(f"{what.__name__}: described, and not there yet")


def test_it_is_what_it_says_it_is(daemon, tmp_path):
    program = shutil.which("st", path=str(TOOLS)) or pytest.skip("schemathesis is not installed: pip reached no index")
    status, page = daemon.ask("GET", "/openapi.json")
    assert status == 200
    (tmp_path / "openapi.json").write_text(json.dumps(described(as_far_as_it_goes(json.loads(page), daemon))))
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    # Not every text of the right form is a mode, a size or a signal, and a shell asks for a WebSocket: a right form may
    # be refused (positive_data_acceptance). What is wrong must be.
    done = subprocess.run(
        [program, "run", str(tmp_path / "openapi.json"), "--url", f"http://127.0.0.1:{daemon.port}", "--header",
         f"Authorization: Bearer {daemon.token}", "--phases=fuzzing,stateful", f"--max-time={SECONDS}", "--max-examples=25",
         "--request-timeout=20", "--seed=5", "--no-color", "--exclude-checks=positive_data_acceptance", "--workers=2",
         "--suppress-health-check=all"],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(ROOT / "tests")}, cwd=tmp_path,
        capture_output=True, text=True, timeout=SECONDS * 3)
    daemon.empty()
    said = "\n".join(line[:400] for line in done.stdout.splitlines() if line.strip()) + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", said)
    assert done.returncode == 0, said
    assert tested and int(tested[1]) >= 25, f"most operations were not reached: {said}"


# ---- byte by byte ----

DEEP = b"[" * 100_000 + b"]" * 100_000
HEAD = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %t\r\nContent-Type: application/json\r\n"


def post(body, *more):
    return HEAD + b"".join(line + b"\r\n" for line in (b"Content-Length: %d" % len(body), *more)) + b"\r\n" + body


HOSTILE = {
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), (400,)),
    "a line without end": (b"GET /" + b"a" * 200_000, (400, 413, 414, 431)),
    "a head without end": (b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(50_000)), (400, 413, 431)),
    "NUL in the path": (b"GET /v1/sessions/a%00b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %t\r\nConnection: close\r\n\r\n", (400, 404)),
    "dots that climb": (b"GET /v1/sessions/../../etc/passwd HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %t\r\nConnection: close\r\n\r\n",
                        (400, 404)),
    "nested without end": (post(DEEP, b"Connection: close"), (400, 413)),
    "no UTF-8": (post(b'{"name": "\xff\xfe"}', b"Connection: close"), (400,)),
    "half a surrogate": (post(b'{"env": {"A": "\\ud800"}}', b"Connection: close"), (400,)),
    "the same key twice": (post(b'{"network_mode": "none", "network_mode": "open"}', b"Connection: close"), (400,)),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", (400,)),
    "a length and chunks": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "a length that is none": (HEAD + b"Content-Length: -1\r\n\r\n{}", (400,)),
    "a length beyond every bound": (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", (400, 413)),
    "chunks of nonsense": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", (400,)),
    "a huge number": (post(b'{"ttl_seconds": 1' + b"0" * 5000 + b"}", b"Connection: close"), (400,)),
    "not a number": (post(b'{"ttl_seconds": NaN}', b"Connection: close"), (400,)),
    "no token": (b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (401,)),
    "a wrong token": (b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nope\r\nConnection: close\r\n\r\n", (401,)),
    "the mode without protection": (post(b'{"network_mode": "host"}', b"Connection: close"), (400, 403, 422, 501)),
    "a folder of the machine": (post(b'{"volumes": ["/:/host"]}', b"Connection: close"), (400,)),
    "an image by its path": (post(b'{"image": "/etc"}', b"Connection: close"), (400, 404, 422)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests(daemon, name):
    data, expected = HOSTILE[name]
    answer = daemon.raw(data.replace(b"%t", daemon.token.encode()))
    # What is no HTTP may be answered by closing the connection.
    if answer or name not in ("no http", "a line without end", "a head without end"):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert int(head.split()[1]) in expected, answer[:500]
        error = json.loads(body)["error"]
        assert set(error) == {"code", "message", "remedy"} and error["message"], error
    assert daemon.ask("GET", "/healthz")[0] == 200, "the daemon is not well"
    assert json.loads(daemon.ask("GET", "/v1/sessions")[1]) == {"sessions": []}, "a session was made"


def test_a_request_that_stops_in_the_middle_leaves_nothing(daemon):
    """The body says that it is longer than it is, and the caller goes away."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as connection:
        connection.sendall(post(b'{"network_mode": "none"').replace(b"%t", daemon.token.encode()).replace(b"Length: 23", b"Length: 99"))
    assert daemon.ask("GET", "/healthz")[0] == 200
    assert json.loads(daemon.ask("GET", "/v1/sessions")[1]) == {"sessions": []}


def test_slow_callers_do_not_keep_others_from_being_answered(daemon):
    slow = []
    try:
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", daemon.port), timeout=5)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
            slow.append(connection)
        begin = time.monotonic()
        assert daemon.ask("GET", "/healthz")[0] == 200
        assert time.monotonic() - begin < 5
    finally:
        for connection in slow:
            connection.close()
