"""weir serve between its tokens: shares of what there is, and tokens that go. attacks.md O02, P05."""

import json
import os
import signal
import subprocess
import time

import pytest

from lab import wait_until
from serve import TOKENS, Server, all_of, rss

# More than the sockets and pipes on the way hold.
LARGE = 24 << 20


@pytest.fixture
def server(images):
    with Server(images, tokens=True) as running:
        yield running


def snapshot_of(server, token, megabytes=LARGE >> 20):
    made = server.by_tcp("POST", "/v1/sessions", {"network_mode": "none"}, token).json
    done = server.by_tcp("POST", f"/v1/sessions/{made['id']}/run",
                         {"command": f"head -c {megabytes << 20} /dev/urandom > /tmp/f"}, token).json
    assert done["exit_code"] == 0, done
    kept = server.by_tcp("POST", "/v1/snapshots", {"session": made["id"]}, token)
    assert kept.status == 201, kept
    server.by_tcp("DELETE", f"/v1/sessions/{made['id']}?kill=1", token=token)
    return kept.json["id"]


READER = """
import os, socket, sys, time
port, token, path, pause, mark = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5]
one = socket.socket()
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
one.connect(("127.0.0.1", port))
one.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n".encode())
data = one.recv(1024)
open(mark, "w").write(data.decode("latin1"))
if pause == 0:
    sys.stdin.read()
try:
    while True:
        data = one.recv(1024)
        if not data:
            break
        time.sleep(pause)
except OSError:
    pass
"""


class Reader:
    """Somebody who takes the first bytes of an answer, and then none (pause 0), or some now and then."""

    def __init__(self, server, token, path, pause=0):
        self.mark = server.lab.folder / f"mark-{time.monotonic_ns()}"
        self.process = subprocess.Popen(
            server.lab.command(["/usr/bin/python3", "-c", READER, str(server.port), TOKENS[token], path, str(pause), str(self.mark)]),
            stdin=subprocess.PIPE)
        wait_until(lambda: self.mark.exists() and self.mark.read_text(), what="the first bytes")
        self.began = self.mark.read_text()

    def leave(self):
        self.process.kill()
        self.process.wait()


def test_readers_that_do_not_read_hold_nobody_up(server):
    snapshot = snapshot_of(server, "alice")
    his = snapshot_of(server, "bob", 1)
    export = f"/v1/snapshots/{snapshot}/export"
    readers = [Reader(server, "alice", export) for _ in range(2)]
    assert all(reader.began.startswith("HTTP/1.1 200") for reader in readers)
    third = server.by_tcp("GET", export, token="alice")
    assert third.code == "too_many" and third.headers["Retry-After"], third
    # Commands of a moment go on, hers too, and so do others' exports.
    assert server.by_tcp("GET", "/v1/snapshots", token="alice").status == 200
    assert server.by_tcp("POST", "/v1/sessions", {"network_mode": "none"}, "alice").status == 201
    assert len(server.by_tcp("GET", f"/v1/snapshots/{his}/export", token="bob").body) > 1 << 20
    for reader in readers:
        reader.leave()
    wait_until(lambda: server.by_tcp("GET", export, token="alice").status == 200, what="a place for her")


@pytest.mark.slow
def test_a_reader_of_an_export_keeps_a_pace(server):
    """What takes a little now and then never stalls, and would hold its place for hours."""
    snapshot = snapshot_of(server, "alice")
    slow = Reader(server, "alice", f"/v1/snapshots/{snapshot}/export", pause=0.2)
    try:
        # Its end is not the end of an answer; what the kernel holds of it is not waited for.
        wait_until(lambda: [each for each in server.log_lines() if each["endpoint"] == "snapshot_export"], seconds=60,
                   what="the end of the export")
        ended = next(each for each in server.log_lines() if each["endpoint"] == "snapshot_export")
        assert ended["status"] == 0 and 25000 < ended["ms"] and 0 < ended["bytes"] < LARGE, ended
    finally:
        slow.leave()


def test_an_upload_leaves_others_their_turn(server):
    """One that is always there would otherwise hold the loop from its first byte to its last."""
    session = server.session(limits={"disk": "600M"})
    large = server.lab.folder / "large"
    with open(large, "wb") as file:
        file.truncate(500 << 20)
    put = subprocess.Popen(
        server.lab.command(["curl", "-s", "-o", "/dev/null", "-T", str(large), "--unix-socket", server.socket,
                            f"http://x/v1/sessions/{session['id']}/files/tmp/large"]))
    during = 0
    while put.poll() is None:
        assert server.get("/healthz").status == 200
        during += put.poll() is None
    assert put.returncode == 0 and during > 5, during
    assert server.run(session, "stat -c %s /tmp/large")["stdout"] == f"{500 << 20}\n"


BODIES = """
import socket, sys, time
port, token, mark = int(sys.argv[1]), sys.argv[2], sys.argv[3]
size, held = 32 << 20, []
for _ in range(8):
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(f"POST /v1/execute HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer {token}\\r\\n"
                f"Content-Type: application/json\\r\\nContent-Length: {size}\\r\\n\\r\\n".encode())
    try:
        one.sendall(b" " * (size - 1))
    except OSError:
        pass
    held.append(one)
open(mark, "w").write("sent")
sys.stdin.read()
"""


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_bodies_without_an_end_take_nothing_of_others(server):
    mark = server.lab.folder / "bodies"
    one = subprocess.Popen(server.lab.command(["/usr/bin/python3", "-c", BODIES, str(server.port), TOKENS["alice"], str(mark)]),
                           stdin=subprocess.PIPE)
    try:
        wait_until(mark.exists, seconds=30, what="eight bodies")
        session = server.by_tcp("POST", "/v1/sessions", {"network_mode": "none"}, "bob")
        assert session.status == 201, session
        path = f"/v1/sessions/{session.json['id']}/run"
        done = server.by_tcp("POST", path, {"command": "head -c 1000000 /dev/zero"}, "bob")
        assert done.status == 200 and len(done.json["stdout"]) == 1000000, done
        assert rss(server.pid()) < 200 << 20
    finally:
        one.kill()
        one.wait()


def write_tokens(server, text):
    path = server.options[server.options.index("--token-file") + 1]
    with open(path, "w") as file:
        file.write(text)


def reload(server, said):
    before = server.log.read_text().count(said)
    os.kill(server.pid(), signal.SIGHUP)
    wait_until(lambda: server.log.read_text().count(said) > before, what=said)


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_what_all_of_them_do_is_the_owners_to_see(server):
    assert server.by_tcp("GET", "/metrics", token="alice").code == "forbidden"
    assert server.get("/metrics").status == 200


def test_reading_the_tokens_again_does_not_cut_the_grace_time_short(server):
    session = server.session(network_mode="none")
    asked = server.begin_run(session, {"command": "sleep 2; echo whole"})
    wait_until(lambda: server.live(session), what="the command")
    pid = server.pid()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(server.socket), what="its ending")
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "read the tokens again" in server.log.read_text(), what="the tokens")
    assert b"whole" in all_of(asked)
    assert server.process.wait(timeout=20) == 0


def test_a_token_that_is_removed_loses_access_at_once(server):
    hers = server.by_tcp("POST", "/v1/sessions", {"name": "hers"}, "alice").json
    his = server.by_tcp("POST", "/v1/sessions", {"name": "his"}, "bob").json
    follow = [subprocess.Popen(server.lab.command(
        ["curl", "-s", "-N", "-H", f"Authorization: Bearer {TOKENS[who]}",
         f"http://127.0.0.1:{server.port}/v1/sessions/{made['id']}/events?follow=1"]), stdout=subprocess.PIPE)
        for who, made in (("alice", hers), ("bob", his))]
    for each in follow:
        assert json.loads(each.stdout.readline())["type"], "the first line of the record"
    write_tokens(server, f"bob:{TOKENS['bob']}\ncarol:{'d' * 32}\n")
    reload(server, "read the tokens again")
    # Her stream ends, and not as an answer ends that is whole; his goes on.
    follow[0].stdout.read()
    assert follow[0].wait(timeout=10) != 0
    assert follow[1].poll() is None
    assert server.by_tcp("GET", "/v1/sessions", token="alice").code == "unauthorized"
    assert server.by_tcp("GET", "/v1/sessions", token="bob").status == 200
    assert server.by_tcp("GET", "/v1/sessions", token="d" * 32).json == {"sessions": []}
    # What cannot be read changes nothing, and is said.
    write_tokens(server, "bob\n")
    reload(server, "the tokens stay as they were")
    assert TOKENS["bob"] not in server.log.read_text()
    assert server.by_tcp("GET", "/v1/sessions", token="bob").status == 200
    assert follow[1].poll() is None
    follow[1].kill()
    follow[1].wait()
    # With less rights what is going on ends, too.
    write_tokens(server, f"bob:{TOKENS['bob']}:ro\n")
    reload(server, "read the tokens again")
    assert server.by_tcp("POST", "/v1/sessions", {}, "bob").code == "read_only"
