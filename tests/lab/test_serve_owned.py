"""weir serve: what a token has is its own, from before its making: names, the disk, and what a killed daemon began.
attacks.md O02, P05."""

import fcntl
import json
import os
import signal
import subprocess

import pytest

from lab import wait_until
from serve import TOKENS, Server


@pytest.fixture
def server(images):
    with Server(images, tokens=True) as running:
        yield running


def create(server, token, **body):
    made = server.by_tcp("POST", "/v1/sessions", {"network_mode": "none", **body}, token)
    assert made.status == 201, made
    return made.json


def fill(server, token, session, megabytes):
    done = server.by_tcp("POST", f"/v1/sessions/{session['id']}/run",
                         {"command": f"head -c {megabytes << 20} /dev/urandom > /tmp/f"}, token).json
    assert done["exit_code"] == 0, done


def names(server, what, token):
    return sorted(each.get("name", "") for each in server.by_tcp("GET", f"/v1/{what}", token=token).json[what])


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_two_tokens_have_the_same_names(server):
    hers, his = create(server, "alice", name="same"), create(server, "bob", name="same")
    own = server.session(name="same", network_mode="none")
    assert hers["name"] == his["name"] == "same" and len({hers["id"], his["id"], own["id"]}) == 3
    assert "owner" not in hers
    for token, session in (("alice", hers), ("bob", his)):
        assert server.by_tcp("GET", "/v1/sessions/same", token=token).json["id"] == session["id"]
        assert names(server, "sessions", token) == ["same"]
        # Only one's own is in the way.
        assert server.by_tcp("POST", "/v1/sessions", {"name": "same"}, token).code == "name_taken"
    assert server.get("/v1/sessions/same").json["id"] == own["id"]
    assert server.get(f"/v1/sessions/{hers['id']}").json["owner"] == "alice"
    assert server.by_tcp("POST", "/v1/sessions", {"name": "w-12345678"}, "alice").code == "bad_request"
    for session, token in ((hers, "alice"), (his, "bob")):
        fill(server, token, session, 1)
        kept = server.by_tcp("POST", "/v1/snapshots", {"session": "same", "name": "python"}, token)
        assert kept.status == 201 and kept.json["name"] == "python" and kept.json["session"] == session["id"], kept
        assert server.by_tcp("POST", "/v1/snapshots", {"session": "same", "name": "python"}, token).code == "name_taken"
    # What is called as a template that ships is one's own, and nobody else's.
    begun = create(server, "alice", template="python")
    assert server.by_tcp("GET", f"/v1/sessions/{begun['id']}/files/tmp/f", token="alice").body == \
        server.by_tcp("GET", "/v1/sessions/same/files/tmp/f", token="alice").body
    plain = server.session(template="python", network_mode="none")
    assert server.get(f"/v1/sessions/{plain['id']}/files/tmp/f").code == "not_found"
    # A name is free again when what had it is gone.
    assert server.by_tcp("DELETE", "/v1/sessions/same?kill=1", token="alice").status == 204
    assert server.by_tcp("GET", "/v1/sessions/same", token="alice").code == "not_found"
    assert server.by_tcp("GET", "/v1/sessions/same", token="bob").status == 200
    create(server, "alice", name="same")
    assert server.by_tcp("DELETE", "/v1/snapshots/python", token="alice").code == "conflict"
    assert server.by_tcp("DELETE", f"/v1/sessions/{begun['id']}?kill=1", token="alice").status == 204
    # The supervisor lets go of it when it has ended, a moment after the session has.
    wait_until(lambda: server.by_tcp("DELETE", "/v1/snapshots/python", token="alice").status == 204, what="its removal")
    assert names(server, "snapshots", "alice") == [] and names(server, "snapshots", "bob") == ["python"]


def test_an_archive_comes_in_under_ones_own_name(server):
    session = create(server, "alice")
    fill(server, "alice", session, 1)
    assert server.by_tcp("POST", "/v1/snapshots", {"session": session["id"], "name": "a"}, "alice").status == 201
    archive = server.lab.folder / "archive"
    archive.write_bytes(server.by_tcp("GET", "/v1/snapshots/a/export", token="alice").body)
    upload = ("-H", "Content-Type: application/x-tar", "-H", "Expect:", "-T", str(archive))
    for token in ("alice", "bob"):
        came = server.by_tcp("PUT", "/v1/snapshots/b/import", token=token, more=upload)
        assert came.status == 201 and came.json["name"] == "b", came
    assert names(server, "snapshots", "alice") == ["a", "b"] and names(server, "snapshots", "bob") == ["b"]
    assert server.by_tcp("PUT", "/v1/snapshots/b/import", token="bob", more=upload).code == "name_taken"
    assert os.listdir(server.lab.folder / "state" / "weir" / "daemon" / "spool") == []


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_a_token_has_a_budget_of_the_disk(images):
    with Server(images, "--max-disk-per-token", "5M", tokens=True) as server:
        session = create(server, "alice")
        fill(server, "alice", session, 3)
        first = server.by_tcp("POST", "/v1/snapshots", {"session": session["id"], "name": "first"}, "alice")
        assert first.status == 201, first
        # The same layer again costs nothing.
        again = server.by_tcp("POST", "/v1/snapshots", {"session": session["id"], "name": "again"}, "alice")
        assert again.status == 201, again
        archive = server.lab.folder / "archive"
        archive.write_bytes(server.by_tcp("GET", "/v1/snapshots/first/export", token="alice").body)
        fill(server, "alice", session, 3)
        refused = server.by_tcp("POST", "/v1/snapshots", {"session": session["id"], "name": "second"}, "alice")
        assert refused.status == 507 and refused.code == "limit" and "max-disk-per-token" in refused.json["error"]["remedy"], refused
        upload = ("-H", "Content-Type: application/x-tar", "-H", "Expect:", "-T", str(archive))
        spooled = server.by_tcp("PUT", "/v1/snapshots/third/import", token="alice", more=upload)
        assert spooled.code == "limit", spooled
        assert names(server, "snapshots", "alice") == ["again", "first"]
        # It is hers, and not his; the machine's owner has none.
        assert server.by_tcp("PUT", "/v1/snapshots/third/import", token="bob", more=upload).status == 201
        for _ in range(3):
            mine = server.post("/v1/snapshots", {"session": session["id"]})
            assert mine.status == 201, mine
        for name in ("first", "again"):
            assert server.by_tcp("DELETE", f"/v1/snapshots/{name}", token="alice").status == 204
        made = server.by_tcp("POST", "/v1/snapshots", {"session": session["id"], "name": "second"}, "alice")
        assert made.status == 201, made


def upload(server, token, name, megabytes):
    """An archive of which so much is there, and not its end."""
    one = subprocess.Popen(server.lab.command(
        ["curl", "-s", "-H", f"Authorization: Bearer {TOKENS[token]}", "-H", "Content-Type: application/x-tar",
         "-H", "Expect:", "-T", "-", f"http://127.0.0.1:{server.port}/v1/snapshots/{name}/import"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    one.stdin.write(bytes(megabytes << 20))
    one.stdin.flush()
    return one


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_archives_that_come_at_the_same_time_share_the_budget_of_the_disk(images):
    with Server(images, "--max-disk-per-token", "5M", tokens=True) as server:
        spool = server.lab.folder / "state" / "weir" / "daemon" / "spool"
        held = lambda: sum(each.stat().st_size for each in spool.iterdir())
        # Both have been let in before either has sent anything.
        first, second = (upload(server, "alice", name, 0) for name in ("first", "second"))
        wait_until(lambda: len(list(spool.iterdir())) == 2, what="two imports")
        first.stdin.write(bytes(3 << 20))
        first.stdin.flush()
        wait_until(lambda: held() == 3 << 20, what="the first")
        said = second.communicate(bytes(3 << 20), timeout=30)[0]
        assert json.loads(said)["error"]["code"] == "limit", said
        wait_until(lambda: held() == 3 << 20, what="the first alone")
        # The first goes on, as far as it may, and others have a budget of their own.
        first.stdin.write(bytes(1 << 20))
        first.stdin.flush()
        his = upload(server, "bob", "his", 4)
        wait_until(lambda: held() == 8 << 20, what="both")
        for each in (first, his):
            said = each.communicate(timeout=30)[0]
            assert json.loads(said)["error"]["code"] == "bad_request", said
        assert names(server, "snapshots", "alice") == [] and held() == 0


def begin(server, token, path, body):
    return subprocess.Popen(server.lab.command(
        ["curl", "-s", "-o", "/dev/null", "-H", f"Authorization: Bearer {TOKENS[token]}", "-H", "Content-Type: application/json",
         "-d", body, f"http://127.0.0.1:{server.port}{path}"]))


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return listed.read().split()


def test_a_session_that_a_killed_daemon_began_is_its_callers(server):
    registry = server.lab.folder / "state" / "weir" / "sessions" / ".lock"
    create(server, "alice")
    with open(registry) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asked = begin(server, "alice", "/v1/sessions", '{"name": "slow", "network_mode": "none"}')
        wait_until(lambda: children(server.pid()), what="weir session create")
        server.kill()
        asked.wait()
    server.start()
    wait_until(lambda: "slow" in names(server, "sessions", "alice"), what="the session")
    assert names(server, "sessions", "bob") == []
    assert server.by_tcp("POST", "/v1/sessions/slow/run", {"command": "true"}, "alice").json["exit_code"] == 0
    assert server.by_tcp("POST", "/v1/sessions", {"name": "slow"}, "alice").code == "name_taken"
    assert server.by_tcp("DELETE", "/v1/sessions/slow?kill=1", token="alice").status == 204


def limit_descriptors(server, pid, number):
    """What it was before."""
    with open(f"/proc/{pid}/limits") as limits:
        before = next(int(line.split()[3]) for line in limits if line.startswith("Max open files"))
    subprocess.run(server.lab.command(["prlimit", "--pid", str(pid), f"--nofile={number}:"]), check=True)
    return before


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_a_daemon_out_of_descriptors_forgets_nobodys_sessions(server):
    hers = create(server, "alice", name="hers")
    registry = server.lab.folder / "state" / "weir" / "sessions" / ".lock"
    pid = server.pid()
    with open(registry) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asked = begin(server, "bob", "/v1/sessions", '{"name": "his", "network_mode": "none"}')
        wait_until(lambda: children(pid), what="weir session create")
        # One for the connection and one for its guest, and none to look at sessions.
        used = {int(each) for each in os.listdir(f"/proc/{pid}/fd")}
        free = [each for each in range(len(used) + 2) if each not in used]
        before = limit_descriptors(server, pid, free[1] + 1)
        refused = server.by_tcp("POST", "/v1/sessions", {"network_mode": "none"}, "alice")
        limit_descriptors(server, pid, before)
        assert refused.status in (429, 500), refused
    asked.wait()
    assert names(server, "sessions", "alice") == ["hers"] and names(server, "sessions", "bob") == ["his"]
    assert server.get(f"/v1/sessions/{hers['id']}").json["owner"] == "alice"
    create(server, "alice")


def test_a_snapshot_that_a_killed_daemon_began_is_its_callers(server):
    session = create(server, "alice", limits={"disk": "500M"})
    fill(server, "alice", session, 200)
    inside = server.get(f"/v1/sessions/{session['id']}").json["supervisor"]
    asked = begin(server, "alice", "/v1/snapshots", '{"session": "%s", "name": "slow"}' % session["id"])
    # The copier is there: stopped, so that the daemon dies before it has ended.
    wait_until(lambda: [each for each in children(inside) if open(f"/proc/{each}/comm").read() == "weir-snapshot\n"], what="the copy")
    copier = int(next(each for each in children(inside) if open(f"/proc/{each}/comm").read() == "weir-snapshot\n"))
    os.kill(copier, signal.SIGSTOP)
    server.kill()
    asked.wait()
    os.kill(copier, signal.SIGCONT)
    server.start()
    wait_until(lambda: names(server, "snapshots", "alice") == ["slow"], seconds=20, what="the snapshot")
    assert names(server, "snapshots", "bob") == []
    assert server.get("/v1/snapshots").json["snapshots"][0]["owner"] == "alice"
    assert server.by_tcp("DELETE", "/v1/snapshots/slow", token="alice").status == 204


def test_a_broken_description_stands_in_nobodys_way(server):
    session = create(server, "alice")
    fill(server, "alice", session, 1)
    ids = []
    for token, name in (("alice", "hers"), ("alice", "other")):
        kept = server.by_tcp("POST", "/v1/snapshots", {"session": session["id"], "name": name}, token)
        assert kept.status == 201, kept
        ids.append(kept.json["id"])
    store = server.lab.store.parent / "snapshots"
    layer = os.listdir(store / "layers")
    (store / f"{ids[0]}.json").write_text("{")
    listed = {each["name"]: each for each in server.by_tcp("GET", "/v1/snapshots", token="alice").json["snapshots"]}
    assert set(listed) == {"hers", "other"} and listed["hers"]["broken"] and "broken" not in listed["other"], listed
    assert server.by_tcp("GET", "/v1/snapshots", token="bob").json["snapshots"] == []
    out = server.lab.cli("snapshot", "ls")
    assert out.code == 0 and ids[1] in out.stdout and f"weir snapshot rm {ids[0]}" in out.stderr, out
    assert server.by_tcp("POST", "/v1/sessions", {"snapshot": "other", "network_mode": "none"}, "alice").status == 201
    assert server.by_tcp("POST", "/v1/sessions", {"snapshot": "hers", "network_mode": "none"}, "alice").status >= 400
    # It might name any layer: all stay, until it is removed.
    for each in server.by_tcp("GET", "/v1/sessions", token="alice").json["sessions"]:
        assert server.by_tcp("DELETE", f"/v1/sessions/{each['id']}?kill=1", token="alice").status == 204
    wait_until(lambda: server.by_tcp("DELETE", "/v1/snapshots/other", token="alice").status == 204, what="its removal")
    assert os.listdir(store / "layers") == layer
    assert server.by_tcp("DELETE", "/v1/snapshots/hers", token="bob").code == "snapshot_not_found"
    assert server.by_tcp("DELETE", "/v1/snapshots/hers", token="alice").status == 204
    assert names(server, "snapshots", "alice") == [] and os.listdir(store / "layers") == []
