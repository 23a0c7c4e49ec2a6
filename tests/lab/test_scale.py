"""Many sessions one after the other and side by side: nothing of them stays with the daemon. attacks.md P05, Q06.

Ten thousand: `./dev bench --all S7`.
"""

import os
import pathlib
import threading

import pytest

from lab import processes, wait_until
from serve import Server, UnixConnection, rss

CYCLES = 300
MEMORY = 2 << 20  # what the daemon may grow by, for all of them


@pytest.fixture
def server(lab):
    with Server(lab) as running:
        yield running


def say(connection, method, path, status, body=None):
    connection.request(method, path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read()
    assert reply.status == status, (reply.status, text)
    return text


def cycle(server, times):
    """Sessions made and ended by one client that stays connected; every tenth is asked for something first."""
    connection = UnixConnection(server.socket)
    try:
        for number in range(times):
            made = say(connection, "POST", "/v1/sessions", 201, "{}")
            id = made.split(b'"id":"', 1)[1].split(b'"', 1)[0].decode()
            if number % 10 == 0:
                ran = say(connection, "POST", f"/v1/sessions/{id}/run", 200, '{"command":"echo x >f"}')
                assert b'"exit_code":0' in ran, ran
                say(connection, "PUT", f"/v1/sessions/{id}/files/tmp/g", 204, "text")
            say(connection, "DELETE", f"/v1/sessions/{id}?kill=1", 204)
    finally:
        connection.close()


def link(path):
    """What it leads to; nothing where it has gone meanwhile."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


def descriptors(pid):
    return [link(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


def sandboxes(pid):
    """The supervisors in the network of the daemon, and their inits."""
    everybody, network = processes(), link(f"/proc/{pid}/ns/net")
    supervisors = {each for each, (_, name) in everybody.items() if name == "weir" and link(f"/proc/{each}/ns/net") == network}
    return supervisors | {each for each, (parent, _) in everybody.items() if parent in supervisors}


def held(pid, lab):
    """What the daemon and the state folder hold, exactly. Records of sandboxes are kept on purpose."""
    state = pathlib.Path(lab.variables["XDG_STATE_HOME"])
    return {"descriptors": sorted(each.split(":")[0] for each in descriptors(pid)),
            "files": sorted(str(path) for path in state.rglob("*") if not path.name.endswith(".jsonl")),
            "mounts": pathlib.Path(f"/proc/{pid}/mountinfo").read_text().count("\n"),
            "threads": len(os.listdir(f"/proc/{pid}/task")), "processes": len(sandboxes(pid))}


def held_at_rest(pid, lab):
    """The same, once there is no sandbox, and no socket but the one that the daemon listens on."""
    wait_until(lambda: not sandboxes(pid) and len({each for each in descriptors(pid) if each.startswith("socket:")}) == 1, 10,
               "the end of the last session and the last connection")
    return held(pid, lab)


@pytest.mark.slow
def test_three_hundred_sessions_one_after_the_other_leave_nothing(server, lab):
    pid = server.pid()
    cycle(server, 30)
    before, memory = held_at_rest(pid, lab), rss(pid)
    cycle(server, CYCLES)
    wait_until(lambda: held(pid, lab) == before, 10, f"exactly what was there before: {before}")
    assert rss(pid) - memory < MEMORY
    # A session that lives is seen by the counts, or they would prove nothing.
    server.session()
    with_one = held(pid, lab)
    assert with_one["files"] != before["files"] and with_one["processes"] == before["processes"] + 2


@pytest.mark.slow
def test_forty_sessions_at_a_time_all_stand_and_all_go(server, lab):
    pid = server.pid()
    cycle(server, 5)
    before = held_at_rest(pid, lab)
    made, failed = [], []

    def client():
        for _ in range(5):
            answer = server.post("/v1/sessions", {})
            (made if answer.status == 201 else failed).append(answer)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    ids = {answer.json["id"] for answer in made}
    assert len(ids) == 40 == len([each for each in server.get("/v1/sessions").json["sessions"] if each["state"] == "running"])
    assert held(pid, lab)["processes"] == before["processes"] + 80
    assert all(server.run({"id": id}, "echo here")["stdout"] == "here\n" for id in ids)
    for id in ids:
        assert server.ask("DELETE", f"/v1/sessions/{id}?kill=1").status == 204
    wait_until(lambda: held(pid, lab) == before, 10, f"what was there before: {before}")
