"""weir serve: the HTTP API (docs/openapi.yaml), with real sessions behind it. attacks.md O02, P01, P05, Q06."""

import io
import json
import os
import re
import socket
import stat
import subprocess
import tarfile
import threading

import pytest

from lab import wait_until
from serve import TOKENS, Server, all_of, rss


@pytest.fixture
def server(lab):
    with Server(lab) as running:
        yield running


def url(session, rest=""):
    return f"/v1/sessions/{session['id']}{rest}"


def test_a_session_from_its_making_to_its_end(server):
    made = server.session(name="one", ttl_seconds=600, labels={"job": "17"}, env={"A": "x y"}, limits={"pids": 50})
    assert made["name"] == "one" and made["labels"] == {"job": "17"} and made["state"] == "running", made
    assert server.get(url(made)).json["id"] == made["id"] == server.get("/v1/sessions/one").json["id"]
    assert [each["id"] for each in server.get("/v1/sessions?label=job%3D17").json["sessions"]] == [made["id"]]
    assert server.get("/v1/sessions?label=job%3D18").json["sessions"] == []
    assert server.run(made, "echo $A")["stdout"] == "x y\n"
    assert server.post("/v1/sessions", {"name": "one"}).code == "name_taken"
    assert server.post("/session", {"name": "two"}).status == 201
    assert server.ask("DELETE", "/v1/sessions/one").status == 204
    assert server.get(url(made)).code in ("not_found", "gone")
    assert [each["name"] for each in server.get("/v1/sessions").json["sessions"]] == ["two"]


def test_a_run_says_how_it_ended(server):
    session = server.session()
    done = server.run(session, "cat; echo err >&2; exit 3", stdin="in\n")
    assert (done["stdout"], done["stderr"], done["exit_code"]) == ("in\n", "err\n", 3) and not done["timed_out"], done
    assert server.run(session, "sleep 60", timeout_seconds=0.2)["timed_out"]
    assert server.run(session, "kill -9 $$")["exit_code"] == 137
    assert server.run(session, "pwd; echo \"$B\"", cwd="/tmp", env={"B": "1\n2"})["stdout"] == "/tmp\n1\n2\n"
    missing = server.post(url(session, "/run"), {"argv": ["no-such-program"]}).json
    assert missing["exit_code"] == 127 and missing["not_executed"], missing
    odd = server.run(session, r"printf 'a\377b\303\244'")
    assert odd["stdout"] == "a\ufffdb\u00e4" and odd["stdout_base64"] == "Yf9iw6Q=", odd
    cut = server.run(session, "yes | head -c 100000", max_output_bytes=1000)
    assert len(cut["stdout"]) == 1000 and cut["truncated"] and cut["exit_code"] == 0, cut["truncated"]
    # What is left running holds the pipes; it is not waited for.
    assert server.run(session, "sleep 300 & echo done")["stdout"] == "done\n"


def test_a_stream_comes_as_it_is_printed(server):
    session = server.session()
    server.run(session, "mkfifo /tmp/go")
    connection = server.begin_run(session, {"command": r"printf '\303'; cat /tmp/go; printf '\244\n\377'; exit 4",
                                            "stream": True})
    said = b""
    while b'"started"' not in said:
        said += connection.recv(65536)
    assert server.run(session, "echo x > /tmp/go")["exit_code"] == 0
    while b'"exited"' not in said or not said.endswith(b"0\r\n\r\n"):
        said += connection.recv(65536)
    connection.close()
    lines = [json.loads(line) for line in re.findall(rb"^\{.*\}$", said.replace(b"\r", b""), re.M)]
    assert lines[0].keys() == {"started"} and lines[-1]["exited"]["exit_code"] == 4, lines
    text = "".join(each.get("stdout", "") for each in lines)
    assert "\u00e4" not in text or text.endswith("\u00e4\n"), lines
    assert [each["stdout_base64"] for each in lines if "stdout_base64" in each], lines
    assert all(len(each) == 1 for each in lines)


def test_a_detached_process(server):
    session = server.session()
    pid = server.post(url(session, "/run"), {"command": "echo one; cat; echo two >&2", "detach": True,
                                             "stdin": True}).json["pid"]
    process = url(session, f"/processes/{pid}")
    assert [each["pid"] for each in server.get(url(session, "/processes")).json["processes"]] == [pid]
    assert server.post(f"{process}/stdin", b"typed\n").json == {"written": 6}
    wait_until(lambda: server.get(f"{process}/output").json["stdout"] == "one\ntyped\n", what="what was typed")
    assert server.post(f"{process}/stdin?close=1", b"").status == 200
    lines = server.get(f"{process}/output?follow=1").lines
    assert "".join(each.get("stdout", "") for each in lines) == "one\ntyped\n", lines
    assert "".join(each.get("stderr", "") for each in lines) == "two\n" and lines[-1]["exited"]["exit_code"] == 0, lines
    sleeper = server.post(url(session, "/run"), {"command": "exec sleep 300", "detach": True}).json["pid"]
    assert server.post(url(session, f"/processes/{sleeper}/signal"), {"signal": "KILL"}).status == 204
    wait_until(lambda: server.get(url(session, f"/processes/{sleeper}/output")).json.get("exited"), what="its end")
    assert server.get(url(session, "/processes/4000000/output")).code in ("not_found", "gone")


def test_files(server):
    session = server.session()
    path = url(session, "/files/tmp/deep/er/f.bin")
    assert server.ask("PUT", f"{path}?mode=0600", b"\x00\xff" * 50000).status == 204
    got = server.get(path)
    assert got.body == b"\x00\xff" * 50000 and got.headers["Weir-File-Mode"] == "0600", got.headers
    assert server.run(session, "stat -c '%a %s' /tmp/deep/er/f.bin")["stdout"] == "600 100000\n"
    assert server.ask("PUT", url(session, "/files/tmp%2Fdeep/n?folder=1")).status == 204
    listed = {each["name"]: each["type"] for each in server.get(url(session, "/files?list=/tmp/deep&recursive=1")).json["entries"]}
    assert listed == {"er": "folder", "er/f.bin": "file", "n": "folder"}, listed
    with tarfile.open(fileobj=io.BytesIO(server.get(url(session, "/files/tmp/deep?tar=1")).body)) as archive:
        assert any(name.endswith("er/f.bin") for name in archive.getnames()), archive.getnames()
    assert server.get(url(session, "/files/tmp/deep")).code == "bad_request"
    assert server.ask("DELETE", url(session, "/files/tmp/deep")).status >= 400
    assert server.ask("DELETE", url(session, "/files/tmp/deep?recursive=1")).status == 204
    assert server.get(path).code == "not_found"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("a/b.txt")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    tar = {"Content-Type": "application/x-tar"}
    assert server.ask("PUT", url(session, "/files/tmp/un"), packed.getvalue(), tar).status == 204
    assert server.run(session, "cat /tmp/un/a/b.txt")["stdout"] == "abc"
    assert server.ask("PUT", url(session, "/files/tmp/un2"), b"no archive" * 100, tar).status >= 400


@pytest.mark.elsewhere
@pytest.mark.refusal
def test_no_path_leaves_the_sandbox(server):
    """What is outside has a canary beside it that the same request can read inside."""
    session = server.session()
    outside = server.lab.folder / "canary"
    outside.write_text("outside")
    server.run(session, f"mkdir -p /tmp/x && ln -s {outside} /tmp/x/link && ln -s /proc/1/root{outside} /tmp/x/proc && "
                        "echo inside > /tmp/x/file && ln -s /tmp/x/file /tmp/x/good")
    assert server.get(url(session, "/files/tmp/x/good")).body == b"inside\n"
    for path in (str(outside), "/tmp/x/link", "/tmp/x/proc", "/../../../../.." + str(outside), "%2e%2e/%2e%2e" + str(outside),
                 "/proc/self/root" + str(outside)):
        answer = server.get(url(session, "/files" + (path if path.startswith("/") else "/" + path)))
        assert answer.status >= 400 and b"outside" not in answer.body, (path, answer)
    assert server.ask("PUT", url(session, "/files/tmp/x/link"), b"changed").status in (204, 404, 403, 400, 409)
    assert outside.read_text() == "outside"


def test_a_half_put_file_leaves_nothing(server):
    session = server.session()
    connection = server.open(f"PUT {url(session, '/files/tmp/half')} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    connection.close()
    wait_until(lambda: any(each["endpoint"] == "file_put" for each in server.log_lines()), what="the end of the put")
    assert server.run(session, "ls -A /tmp | wc -l")["stdout"] == "0\n"


def test_large_files_cost_no_memory(server):
    session = server.session()
    data = os.urandom(1 << 20) * 96
    before = rss(server.pid())
    assert server.ask("PUT", url(session, "/files/tmp/large"), data).status == 204
    assert server.get(url(session, "/files/tmp/large")).body == data
    assert rss(server.pid()) - before < 16 << 20


def test_events_are_followed_to_the_end(server):
    session = server.session()
    connection = server.open(f"GET {url(session, '/events?follow=1')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    said = connection.recv(65536)
    while b"sandbox.start" not in said:
        said += connection.recv(65536)
    assert server.ask("DELETE", url(session)).status == 204
    said += all_of(connection)
    assert b"sandbox.exit" in said and said.endswith(b"0\r\n\r\n"), said


def test_the_network_becomes_narrower(server):
    session = server.session(network_mode="allowlist", network_allowlist=["a.example:443", "b.example:443"])
    done = server.ask("PUT", url(session, "/network"), {"network_allowlist": ["a.example:443"]})
    assert done.status == 200 and done.json["generation"] == 2, done
    assert server.ask("PUT", url(session, "/network"), {"network_allowlist": ["c.example:443"]}).code == "cannot_widen"
    assert server.get(url(session)).json["generation"] == 2


def test_execute(server):
    done = server.post("/v1/execute", {"language": "python", "stdin": "7", "files": {"data/x.txt": "y"},
                                       "code": "print(int(input()) * 6, open('data/x.txt').read())"}).json
    assert done["stdout"] == "42 y\n" and done["exit_code"] == 0, done
    assert server.post("/execute", {"language": "bash", "code": "exit 9"}).json["exit_code"] == 9
    assert server.post("/execute", {"language": "klingon", "code": ""}).code == "bad_request"
    assert server.get("/v1/sessions").json["sessions"] == []


def test_a_caller_that_goes_takes_its_run_along(server):
    session = server.session()
    for body in ({"command": "sleep 1000"}, {"command": "sleep 1000", "stream": True}):
        connection = server.begin_run(session, body)
        wait_until(lambda: server.live(session), what="the run")
        connection.close()
        wait_until(lambda: not server.live(session), what="the end of the run")
    assert server.post("/v1/execute", {"language": "bash", "code": "true"}).status == 200
    assert len(server.get("/v1/sessions").json["sessions"]) == 1


def test_killed_and_started_again_it_has_lost_nothing(lab):
    with Server(lab, tokens=True) as server:
        mine = server.session(name="mine")
        hers = server.by_tcp("POST", "/v1/sessions", {"name": "hers"}, "alice").json
        pid = server.post(url(mine, "/run"), {"command": "echo before; exec sleep 300", "detach": True}).json["pid"]
        key = {"Idempotency-Key": "k1"}
        first = server.ask("POST", "/v1/sessions", {"labels": {"n": "1"}}, key)
        server.kill()
        assert os.path.exists(server.socket)  # stale, and replaced
        server.start()
        assert {each["id"] for each in server.get("/v1/sessions").json["sessions"]} == \
            {mine["id"], hers["id"], first.json["id"]}
        assert [each["pid"] for each in server.live(mine)] == [pid]
        assert server.get(url(mine, f"/processes/{pid}/output")).json["stdout"] == "before\n"
        assert server.ask("POST", "/v1/sessions", {"labels": {"n": "1"}}, key).json["id"] == first.json["id"]
        assert server.by_tcp("GET", url(hers), token="alice").status == 200
        assert server.by_tcp("GET", url(hers), token="bob").code == "not_found"


UPGRADE = [word for header in ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                               "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==") for word in ("-H", header)]


def endpoints(server):
    """(method, path with its parameters, the operation) of everything that is described."""
    for path, item in server.get("/openapi.json").json["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), path, operation


def test_a_token_sees_its_own_and_nothing_else(lab):
    """Every endpoint, from the description: bob at alice's things is told what he would be told of nothing at all."""
    bodies = {"runInSession": {"command": "true"}, "signalProcess": {"signal": "TERM"}, "narrowNetwork": {"network_mode": "none"},
              "createSnapshot": {"session": "hers"}, "createSession": {"network_mode": "none"},
              "createService": {"name": "s", "ports": ["0:80"], "bootstrap": "x"},
              "execute": {"language": "bash", "code": "true"}}
    with Server(lab, tokens=True) as server:
        hers = server.by_tcp("POST", "/v1/sessions", {"name": "hers"}, "alice").json
        assert server.by_tcp("GET", "/v1/sessions", token="bob").json == {"sessions": []}
        assert [each["id"] for each in server.by_tcp("GET", "/v1/sessions", token="alice").json["sessions"]] == [hers["id"]]
        assert "events" not in hers and "supervisor" not in hers
        seen = 0
        for method, path, operation in endpoints(server):
            name = operation["operationId"]
            query = {"listFiles": "?list=/"}.get(name, "")
            for who in ("hers", hers["id"]):
                place = path.replace("{id}", who).replace("{pid}", "1").replace("{path}", "etc/passwd").replace("{name}", who) + query
                if name not in ("createSession", "execute", "createService"):
                    about_hers = "{id}" in path or name == "createSnapshot"
                    other = server.by_tcp(method, place, bodies.get(name), "bob", UPGRADE if name == "openShell" else ())
                    if about_hers:
                        assert other.code == "not_found", (name, other)
                        seen += 1
                nobody = server.by_tcp(method, place, bodies.get(name))
                assert nobody.status == 200 if operation.get("security") == [{}] else nobody.code == "unauthorized", (name, nobody)
                wrong = server.by_tcp(method, place, bodies.get(name), TOKENS["alice"][:-1])
                assert wrong.status == 200 if operation.get("security") == [{}] else wrong.code == "unauthorized", (name, wrong)
        assert seen > 25
        assert server.by_tcp("GET", url(hers, "/files/etc/passwd"), token="alice").status == 200
        assert server.by_tcp("GET", f"/v1/sessions/{hers['id'][:4]}", token="bob").code == "not_found"


def test_a_token_that_may_look_changes_nothing(lab):
    with Server(lab, tokens=True) as server:
        for method, path, operation in endpoints(server):
            place = path.replace("{id}", "w-00000000").replace("{pid}", "1").replace("{path}", "x").replace("{name}", "x")
            answer = server.by_tcp(method, place, {} if method in ("POST", "PUT") else None, "reader")
            changes = method != "GET" or operation["operationId"] == "openShell"
            if ("/images" in path and changes) or path == "/metrics":
                assert answer.code == "forbidden", (operation, answer)
            elif changes:
                assert answer.code == "read_only", (operation, answer)
            else:
                assert answer.status not in (401, 403), (operation, answer)
        assert server.get("/v1/sessions").json["sessions"] == []


@pytest.mark.parametrize("body", [
    {"policy": "version = 1"}, {"network_proxy_url": "http://127.0.0.1:1"}, {"ports": ["0.0.0.0:0:80"]}, {"ports": ["80:80"]},
    {"insist": ["floor=169.254.169.254"]}])
def test_a_token_does_not_reach_into_the_machine(lab, body):
    with Server(lab, tokens=True) as server:
        assert server.by_tcp("POST", "/v1/sessions", body, "alice").code == "forbidden"
        assert server.get("/v1/sessions").json["sessions"] == []


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a":1}', b'{"name":"x","name":"y"}', b'{"name":"../../x"}',
    b'{"name":"-x"}', b'{"image":"/"}', b'{"image":"./x"}', b'{"template":"../x"}', b'{"network_mode":7}',
    b'{"env":{"LD_PRELOAD\\u0000":"x"}}', b'{"env":{"A":"b\\nC=d"}}', b'{"ttl_seconds":1e400}', b'{"limits":[]}',
    b'{"labels":{"a":{}}}', b'{"labels":{"a b":"x"}}', b'{"limits":{"cpus":4097}}', b'{"limits":{"cpus":1e99}}',
    b'{"limits":{"cpus":0.001}}', b'{"limits":{"cpus":-1}}', b'{"limits":{"pids":4194305}}', b"[" * 100000, b'{"network_allowlist":["a\\u0000b"]}'])
def test_hostile_json_is_refused(server, body):
    answer = server.ask("POST", "/v1/sessions", body, {"Content-Type": "application/json"})
    assert answer.status == 400 and answer.code == "bad_request", answer


@pytest.mark.parametrize("body, code", [
    ({"network_mode": "host"}, "bad_request"), ({"network_mode": "no-such"}, None), ({"network_mode": "none", "network_allowlist": ["a.example"]}, None),
    ({"network_mode": "allowlist", "network_allowlist": ["--policy=/etc/shadow"]}, None), ({"image": "no-such"}, "image_not_found")])
def test_what_weir_refuses_is_said_so(server, body, code):
    answer = server.post("/v1/sessions", body)
    assert 400 <= answer.status < 500 and (code is None or answer.code == code), answer
    assert server.get("/v1/sessions").json["sessions"] == []


def test_what_is_no_request(server):
    assert server.get("/nowhere").code == "not_found"
    wrong = server.ask("PATCH", "/v1/sessions")
    assert wrong.code == "method_not_allowed" and wrong.headers["Allow"] == "POST, GET", wrong
    assert server.ask("POST", "/v1/sessions", b"{}", {"Content-Type": "text/plain"}).status == 415
    assert server.get("/v1/sessions?token=x").code == "bad_request"
    for text, status in (("nonsense\r\n\r\n", b"400"), ("GET / HTTP/1.1\r\nX: " + "a" * 70000, b"413"),
                         ("POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                          "Content-Length: 99999999999\r\n\r\n", b"413"),
                         ("GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400")):
        answer = all_of(server.open(text))
        assert answer.startswith(b"HTTP/1.1 " + status) and b'"error"' in answer and b"Connection: close" in answer, answer
    large = b'{"name":"' + b"x" * (3 << 20) + b'"}'
    assert server.ask("POST", "/v1/sessions", large, {"Content-Type": "application/json"}).code == "too_large"
    assert server.get("/healthz").json["status"] == "ok"


@pytest.mark.slow
def test_a_slow_head_is_not_waited_for(server):
    answer = all_of(server.open("GET /healthz HTTP/1.1\r\nX: "))
    assert answer.startswith(b"HTTP/1.1 408") and b'"timeout"' in answer, answer


def test_requests_follow_each_other(server):
    one = server.open("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + "GET /healthz HTTP/1.0\r\n\r\n")
    assert all_of(one).count(b'"status":"ok"') == 4


def test_idempotency(server):
    session = server.session()
    place = url(session, "/run")
    key = {"Idempotency-Key": "once"}
    body = {"command": "date +%s%N"}
    first = server.ask("POST", place, body, key)
    assert server.ask("POST", place, body, key).body == first.body
    assert server.ask("POST", place, {"command": "date"}, key).code == "idempotency_mismatch"
    assert server.ask("POST", place, body, {"Idempotency-Key": "a b"}).code == "bad_request"
    server.run(session, "mkfifo /tmp/go")
    slow = {"command": "cat /tmp/go"}
    held = []
    thread = threading.Thread(target=lambda: held.append(server.ask("POST", place, slow, {"Idempotency-Key": "slow"})))
    thread.start()
    wait_until(lambda: server.live(session), what="the first")
    assert server.ask("POST", place, slow, {"Idempotency-Key": "slow"}).code == "conflict"
    server.run(session, "echo x > /tmp/go")
    thread.join()
    assert held[0].json["stdout"] == "x\n"


def test_limits(lab):
    with Server(lab, "--max-sessions", "2", "--max-sessions-per-token", "1", "--max-connections", "4", tokens=True) as server:
        assert server.by_tcp("POST", "/v1/sessions", {}, "alice").status == 201
        full = server.by_tcp("POST", "/v1/sessions", {}, "alice")
        assert full.status == 429 and full.code == "too_many" and full.headers["Retry-After"] == "1", full
        assert server.by_tcp("POST", "/v1/sessions", {}, "bob").status == 201
        assert server.post("/v1/sessions", {}).code == "too_many"
        idle = [server.open("") for _ in range(4)]
        wait_until(lambda: server.open("GET /healthz HTTP/1.1\r\n\r\n").recv(65536).startswith(b"HTTP/1.1 429"), what="no room")
        for one in idle:
            one.close()
        wait_until(lambda: server.open("GET /healthz HTTP/1.1\r\n\r\n").recv(65536).startswith(b"HTTP/1.1 200"), what="room")


def test_many_at_once(server):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.post("/v1/sessions", {}))) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.status for each in answers] == [201] * 24, answers
    assert len({each.json["id"] for each in answers}) == 24


def test_ending_in_order(server):
    session = server.session()
    server.run(session, "mkfifo /tmp/go")
    connection = server.begin_run(session, {"command": "cat /tmp/go"})
    feeding = server.post(url(session, "/run"), {"command": "sleep 1; echo last > /tmp/go", "detach": True})
    assert feeding.status == 201
    assert server.stop() == 0
    assert b'"stdout":"last' in connection.recv(65536)
    assert not os.path.exists(server.socket)
    server.start()
    assert server.get(url(session)).json["state"] == "running"


def test_one_daemon_and_a_socket_of_ones_own(server):
    assert stat.S_IMODE(os.stat(server.socket).st_mode) == 0o600
    second = server.lab.cli("serve", "--socket", str(server.lab.folder / "t.sock"))
    assert second.code == 125 and "another weir serve is running" in second.stderr, second


def test_what_is_unsafe_does_not_start(lab):
    path = lab.file("tokens", f"alice:{TOKENS['alice']}\n")
    os.chown(path, lab.uid, lab.gid)
    os.chmod(path, 0o644)
    for options, word in ((["--listen", "127.0.0.1:0"], "--token-file"),
                          (["--listen", "0.0.0.0:0", "--token-file", path], "--tls-cert"),
                          (["--listen", "127.0.0.1:0", "--token-file", path], "chmod 600")):
        refused = lab.cli("serve", *options)
        assert refused.code == 125 and word in refused.stderr, refused


def test_tls(lab):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
                    "-keyout", lab.folder / "key.pem", "-out", lab.folder / "cert.pem"], check=True, stderr=subprocess.DEVNULL)
    for name in ("key.pem", "cert.pem"):
        os.chown(lab.folder / name, lab.uid, lab.gid)
    with Server(lab, "--tls-cert", "cert.pem", "--tls-key", "key.pem", tokens=True) as server:
        def curl(*argv):
            return subprocess.run(lab.command(["curl", "-s", "--cacert", "cert.pem", *argv]), stdout=subprocess.PIPE)
        place = f"https://localhost:{server.port}"
        token = ["-H", f"Authorization: Bearer {TOKENS['alice']}"]
        assert json.loads(curl(f"{place}/healthz").stdout)["status"] == "ok"
        made = json.loads(curl(*token, f"{place}/v1/sessions", "--json", "{}").stdout)
        data = lab.folder / "data"
        data.write_bytes(os.urandom(3 << 20))
        assert curl(*token, "-T", str(data), f"{place}{url(made, '/files/tmp/d')}").returncode == 0
        assert curl(*token, f"{place}{url(made, '/files/tmp/d')}").stdout == data.read_bytes()
        assert curl(f"http://localhost:{server.port}/healthz").stdout == b""


def test_sockets_of_a_service_manager(lab):
    path = str(lab.folder / "passed.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    os.chown(path, lab.uid, lab.gid)
    os.dup2(listener.fileno(), 3) if listener.fileno() != 3 else None
    os.set_inheritable(3, True)
    lab.variables = {"XDG_STATE_HOME": str(lab.folder / "state")}
    process = subprocess.Popen(lab.command(["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve', lab.weir]),
                               pass_fds=(3,), stderr=subprocess.DEVNULL)
    try:
        done = subprocess.run(["curl", "-s", "--retry", "3", "--unix-socket", path, "http://x/healthz"],
                              stdout=subprocess.PIPE, timeout=20)
        assert json.loads(done.stdout)["status"] == "ok"
    finally:
        process.terminate()
        process.wait(timeout=20)
        lab.variables = {}


def test_the_record_of_requests_has_no_secrets(lab):
    with Server(lab, tokens=True) as server:
        server.by_tcp("GET", "/v1/sessions?label=a%3Dsecret-word", token="alice")
        server.by_tcp("POST", "/v1/sessions", {"env": {"A": "secret-word"}}, "alice")
        # Written when the answer has been sent.
        hers = lambda: [each for each in server.log_lines() if each["who"] == "alice"]
        wait_until(lambda: len(hers()) == 2, what="both lines")
        lines = hers()
        assert {each["endpoint"] for each in lines} == {"session_list", "session_create"}, lines
        assert all({"time", "who", "method", "path", "endpoint", "status", "ms", "bytes"} == set(each) for each in lines)
        text = server.log.read_text()
        assert "secret-word" not in text and TOKENS["alice"] not in text


def test_metrics(server):
    server.session()
    text = server.get("/metrics").body.decode()
    assert 'weir_requests_total{endpoint="session_create",status="201"} 1' in text and "weir_sessions_created_total 1" in text


def test_a_shell(server):
    asyncio = pytest.importorskip("asyncio")
    websockets = pytest.importorskip("websockets")
    session = server.session()

    async def talk():
        place = f"ws://x{url(session, '/shell?rows=33&columns=99')}"
        async with websockets.unix_connect(server.socket, place) as shell:
            assert "started" in json.loads(await shell.recv())
            await shell.send(b"stty size; stty -echo; PS1=\n")
            seen = b""
            while b"33 99" not in seen:
                seen += await shell.recv()
            await shell.send(json.dumps({"resize": {"rows": 44, "columns": 88}}))
            await shell.send(b"sleep 0.3; stty size; exit 5\n")
            last = None
            async for message in shell:
                if isinstance(message, bytes):
                    seen += message
                else:
                    last = json.loads(message)
            return seen, last

    seen, last = asyncio.run(asyncio.wait_for(talk(), 30))
    assert b"44 88" in seen and last["exited"]["exit_code"] == 5, (seen, last)

    async def leave():
        async with websockets.unix_connect(server.socket, f"ws://x{url(session, '/shell?command=sleep+1000')}") as shell:
            await shell.recv()
        # The connection is gone, and the command with it.
    asyncio.run(asyncio.wait_for(leave(), 30))
    wait_until(lambda: not server.live(session), what="the end of the shell")
    assert server.get(url(session, "/shell")).code == "bad_request"


def test_a_bootstrap_is_in_no_list_of_processes(server):
    """Other users of the machine read those."""
    made = server.post("/v1/services", {"name": "s", "ports": ["0:80"], "restart": "no",
                                        "bootstrap": "echo $# $0; echo 'begun'; sleep 300; : marker-7151"})
    assert made.status == 201, made
    # One that prints besides does not take its place.
    assert server.post(url(made.json, "/run"), {"command": "echo other", "detach": True}).status == 201
    wait_until(lambda: server.get("/v1/services/s/logs").json["stdout"] == "0 /bin/sh\nbegun\n", what="its output")
    assert "marker-7151" in made.json["service"]["bootstrap"]

    def sees_it():
        seen = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as words:
                    text = words.read()
            except OSError:
                continue
            seen += b"sleep\x00300" in text
            assert b"marker-7151" not in text, (pid, text)
        return seen

    # It is begun a moment after what is printed before it.
    wait_until(sees_it, what="what it waits for")


def test_a_service(server):
    made = server.post("/v1/services", {"name": "web", "ports": ["0:80"], "network_mode": "inbound",
                                        "bootstrap": "echo begun; exec sleep 1000", "restart": "no"})
    assert made.status == 201 and made.headers["Location"] == "/v1/services/web", made
    assert made.json["service"]["restart"] == "no" and made.json["ports"][0].startswith("127.0.0.1:"), made
    plain = server.session(name="plain")
    assert [each["name"] for each in server.get("/v1/services").json["services"]] == ["web"]
    assert server.get("/v1/services/web").json["id"] == made.json["id"]
    assert server.get("/v1/services/plain").code == "not_found" and server.get(url(plain)).status == 200
    wait_until(lambda: server.get("/v1/services/web/logs").json["stdout"] == "begun\n", what="its log")
    assert server.ask("DELETE", "/v1/services/plain").code == "not_found"
    assert server.ask("DELETE", "/v1/services/web").status == 204
    assert server.get("/v1/services").json["services"] == []
