"""Sessions: sandboxes that live on, and what is asked of them on their socket. docs/decisions/0018; attacks.md O02, P01,
P05, Q06."""

import json
import os
import signal
import socket
import subprocess

import pytest

import world as w
from archives import END
from checks import TWINS, at
from images import put, store_is_empty
from lab import processes, read_events, wait_until
from sessions import Session, gone


@pytest.fixture
def session(lab):
    with Session(lab, "--name", "web") as made:
        assert made.code == 0, made.said
        yield made


def family(pid):
    children = [child for child, (parent, _) in processes().items() if parent == pid]
    return children + [each for child in children for each in family(child)]


def test_it_is_made_shown_and_stopped(lab):
    with Session(lab, "--name", "web", "--label", "job=17", "--ttl", "1h", "--pids", "50") as made:
        shown = made.show()
        assert shown["id"] == made.id and shown["name"] == "web" and shown["labels"] == {"job": "17"}
        assert shown["state"] == "running" and shown["network_mode"] == "none" and shown["expires"] > shown["created"]
        assert shown["limits"] == {"processes": 50} and shown["supervisor"] == made.pid
        assert os.stat(made.folder).st_mode & 0o777 == 0o700
        inside = family(made.pid)
        made.stop()
        assert made.is_gone() and not os.listdir(made.state / "weir" / "names")
        wait_until(lambda: gone(made.pid) and all(gone(pid) for pid in inside), what="the end")
        events = [event["type"] for event in read_events(made.events_path)]
        assert events[0] == "sandbox.start" and events[-1] == "sandbox.exit", events


def test_the_supervisor_is_nobodys_child_and_keeps_nothing_of_its_caller(lab):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    lab.variables = {**lab.variables, "XDG_STATE_HOME": str(lab.folder / "state")}
    done = subprocess.run(lab.command([lab.weir, "session", "create", "-o", "json"]), stdout=subprocess.PIPE,
                          close_fds=False, timeout=30)
    os.close(writer)
    made = json.loads(done.stdout)
    with open(reader, "rb") as pipe:
        assert pipe.read() == b"", "the supervisor holds a descriptor of its caller"
    pid = made["supervisor"]
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: gone(pid), what="the end after SIGTERM")
    assert os.listdir(lab.folder / "state" / "weir" / "sessions") == [".lock"]


def test_a_process_has_the_callers_descriptors(session):
    exited, out, err = session.run("sh", "-c", "cat; echo err >&2; exit 3", input=b"in\n")
    assert (out, err) == ("in\n", "err\n") and exited["exit_code"] == 3 and not exited["timed_out"], exited
    exited, out, _ = session.run("sh", "-c", "echo $A $WEIR; pwd", env={"A": "x"}, cwd="/tmp")
    assert out == "x 1\n/tmp\n", out
    exited, _, _ = session.run("sh", "-c", "kill -9 $$")
    assert exited["exit_code"] == 137 and exited["signal"] == 9, exited
    exited, _, _ = session.run("/no/such")
    assert exited["exit_code"] == 127 and "not_executed" in exited, exited
    exited, _, _ = session.run("/etc/passwd")
    assert exited["exit_code"] == 126 and "not_executed" in exited, exited


def test_several_at_once(session):
    """Each waits for the next: they only end because they live at the same time."""
    assert session.run("mkfifo", "/tmp/a", "/tmp/b")[0]["exit_code"] == 0
    first = session.detach("echo one > /tmp/a; cat /tmp/b")
    second = session.detach("cat /tmp/a; echo two > /tmp/b")
    assert session.await_exit(second)[1] == "one\n"
    assert session.await_exit(first)[1] == "two\n"


def test_a_folder_is_no_descriptor(session):
    """M07, the way out by openat(2): a folder of the host must not come inside."""
    null, folder = os.open("/dev/null", os.O_RDWR), os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    handle = os.open("/etc/hostname", os.O_PATH)
    for bad in (folder, handle):
        reply = session.ask({"op": "run", "argv": ["true"]}, (null, bad, null))
        assert reply["error"]["code"] == "bad_request", reply
    for few in ((), (null,), (null, null)):
        assert session.ask({"op": "run", "argv": ["true"]}, few)["error"]["code"] == "bad_request"
    assert session.ask({"op": "show"}, (null,))["error"]["code"] == "bad_request"
    for fd in (null, folder, handle):
        os.close(fd)


def test_an_attached_process_ends_with_its_connection(session):
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    connection = session.connect().say({"op": "run", "command": "echo up; sleep 1000"}, (null, writer, null))
    os.close(writer), os.close(null)
    pid = connection.line()["started"]["pid"]
    assert os.read(reader, 10) == b"up\n"
    assert [entry["pid"] for entry in session.ask({"op": "processes"})["processes"]] == [pid]
    connection.close()
    assert os.read(reader, 10) == b"", "nobody holds it any more"
    os.close(reader)
    wait_until(lambda: session.show()["processes"] == 0, what="the end of the process")


def test_a_detached_process_outlives_who_began_it(session):
    pid = session.detach("echo out; echo err >&2; read line; echo got $line", stdin=True)
    with session.connect() as connection:
        connection.say({"op": "output", "pid": pid, "follow": True})
        while connection.line()["output"]["stdout_bytes"] < 4:
            pass
        reply = session.connect().say({"op": "stdin", "pid": pid, "close": False})
        assert reply.line() == {"ok": True}
        os.write(reply.passed[0], b"that\n")
        reply.close()
        while "exited" not in (line := connection.line()["output"]):
            pass
        assert line["exited"]["exit_code"] == 0 and connection.line() is None
        assert connection.files() == ["out\ngot that\n", "err\n"]
    [entry] = session.ask({"op": "processes"})["processes"]
    assert entry["pid"] == pid and entry["stdout_bytes"] == 13 and entry["exited"]["exit_code"] == 0, entry
    assert session.ask({"op": "stdin", "pid": pid, "close": True})["error"]["code"] == "gone"
    assert session.ask({"op": "output", "pid": 4000000})["error"]["code"] == "not_found"


def test_output_is_bounded(session):
    """What comes beyond is dropped, and the process does not wait for a reader."""
    pid = session.detach("head -c 20000000 /dev/zero; echo done >&2")
    line, out, err = session.await_exit(pid)
    assert line["truncated"] and line["stdout_bytes"] == len(out) == 16 << 20 and err == "done\n", line
    pid = session.detach("head -c 1000000 /dev/zero")
    line, out, _ = session.await_exit(pid)
    assert not line["truncated"] and len(out) == 1000000, line


def test_signals_and_timeouts(session):
    pid = session.detach("trap 'echo got; exit 7' TERM; echo up; while :; do sleep 0.01; done")
    session.await_words(pid)
    assert session.ask({"op": "signal", "pid": pid, "signal": "TERM"}) == {"ok": True}
    line, out, _ = session.await_exit(pid)
    assert out == "up\ngot\n" and line["exited"]["exit_code"] == 7, line
    assert session.ask({"op": "signal", "pid": pid, "signal": 9})["error"]["code"] == "gone"
    exited, _, _ = session.run("sleep", "1000", timeout_ms=100)
    assert exited["timed_out"] and exited["exit_code"] == 124 and exited["signal"] == 15, exited
    exited, _, _ = session.run("sh", "-c", "trap '' TERM; while :; do sleep 0.01; done", timeout_ms=100)
    assert exited["timed_out"] and exited["exit_code"] == 124 and exited["duration_ms"] > 1900, exited
    assert not session.run("true", timeout_ms=20000)[0]["timed_out"]


def test_a_terminal(session):
    with session.connect() as connection:
        line = connection.say({"op": "run", "argv": ["sh", "-c", "tty; stty size; read x; stty size"], "terminal": True,
                               "rows": 33, "columns": 77}).line()
        [master] = connection.passed
        heard = b""
        while b"33 77" not in heard:
            heard += os.read(master, 100)
        assert b"/dev/pts/" in heard, heard
        size = {"op": "resize", "pid": line["started"]["pid"], "rows": 5, "columns": 6}
        assert session.ask(size) == {"ok": True}
        os.write(master, b"\n")
        while b"5 6" not in heard:
            heard += os.read(master, 100)
        assert connection.line()["exited"]["exit_code"] == 0


def test_an_end_with_and_without_grace(lab):
    with Session(lab) as made:
        pid = made.detach("trap 'sleep 0.1; exit 0' TERM; echo up; while :; do sleep 0.01; done")
        made.await_words(pid)
        with made.connect() as connection:
            connection.say({"op": "output", "pid": pid, "follow": True}).line()
            made.stop()  # the process ends by itself within the grace, and is told of
            while "exited" not in (line := connection.line()["output"]):
                pass
            assert line["exited"]["exit_code"] == 0, line
    with Session(lab) as made:
        pid = made.detach("trap '' TERM; echo up; while :; do sleep 0.01; done")
        made.await_words(pid)
        with made.connect() as first:
            assert first.say({"op": "stop"}).line() == {"ok": True}
            assert made.ask({"op": "processes"})["error"]["code"] == "gone"
            made.stop(kill=True)  # somebody who does not wait
            assert first.line() is None


def test_names(lab, session):
    second = Session(lab, "--name", "web")
    assert second.code == 125 and second.said["error"]["code"] == "name_taken", second.said
    assert os.listdir(session.state / "weir" / "sessions").count(session.id) == 1
    with Session(lab) as nameless:
        assert nameless.code == 0 and "name" not in nameless.said
    bad = Session(lab, "--name", "w-12345678")
    assert bad.said["error"]["code"] == "bad_request", bad.said
    session.stop()
    with Session(lab, "--name", "web") as again:
        assert again.code == 0, again.said


@pytest.mark.parametrize("options, code", [
    (["-n", "nonsense"], "bad_policy"), (["--allow", "http://"], "bad_policy"), (["--image", "nosuch"], "image_not_found"),
    (["--ttl", "never"], "bad_request"), (["-v", "relative"], "bad_request"), (["--on-idle", "stop"], "bad_request")])
def test_what_cannot_be_made_says_so(lab, options, code):
    made = Session(lab, *options)
    assert made.code == 125 and made.said["error"]["code"] == code and made.said["error"]["message"], made.said


def test_time_to_live_and_idleness(lab):
    with Session(lab, "--name", "short", "--ttl", "700ms") as made:
        made.detach("sleep 1000")
        wait_until(lambda: gone(made.pid), seconds=6, what="the end of its time")
        assert made.is_gone()
    with Session(lab, "--idle", "1s") as made:
        pid = made.detach("sleep 1.5")
        assert made.await_exit(pid)[0]["exited"]["exit_code"] == 0  # it was not idle meanwhile
        with made.connect() as held:
            assert held.say({"op": "show"}).line()["session"]["idle_seconds"] == 1
        wait_until(lambda: gone(made.pid), what="the end of idleness")


@TWINS
def test_narrowing_cuts(lab, verdict):
    """Q06: a narrower policy holds for what runs, at once."""
    kept, lost = at(w.ALLOWED4, 7), at(w.EVIL4, 7)
    with Session(lab, "--allow", kept, "--allow", lost, "--no-proxy-env") as made:
        code = f"""
import socket, sys
s = socket.create_connection(({w.EVIL4!r}, 7), 5); s.settimeout(10)
print('up', flush=True); input()
try: s.sendall(b'x'); print(s.recv(10).decode() or 'eof')
except OSError as e: print(type(e).__name__)
try: socket.create_connection(({w.EVIL4!r}, 7), 5); print('connected')
except OSError as e: print(type(e).__name__)
"""
        pid = made.ask({"op": "run", "argv": ["/usr/bin/python3", "-c", code], "detach": True, "stdin": True})
        pid = pid["started"]["pid"]
        made.await_words(pid)
        before = lab.world.packets_to(w.EVIL4, 7)
        wanted = [kept, lost] if verdict == "allow" else [kept]
        reply = made.ask({"op": "narrow", "network_mode": "allowlist", "network_allowlist": wanted})
        assert reply["generation"] == 2 and reply["cut"] == (0 if verdict == "allow" else 1), reply
        wider = made.ask({"op": "narrow", "network_mode": "open"})
        assert wider["error"]["code"] == "cannot_widen", wider
        with made.connect() as feed:
            feed.say({"op": "stdin", "pid": pid}).line()
            os.write(feed.passed[0], b"\n")
        line, out, err = made.await_exit(pid)
        if verdict == "allow":
            assert out == "up\nx\nconnected\n" and not line["exited"]["refused"], (out, err)
            assert not [event for event in read_events(made.events_path) if event["type"] == "flow.refuse"]
        else:
            assert out in ("up\nConnectionResetError\nConnectionRefusedError\n",), (out, err)
            assert lab.world.packets_to(w.EVIL4, 7) - before <= 1  # the reset of the old flow
            assert line["exited"]["refused"] == [{"destination": lost, "reason": "no-rule", "times": 1}], line
            [event] = [event for event in read_events(made.events_path) if event["type"] == "flow.refuse"]
            assert event["dst"] == w.EVIL4 and event["generation"] == 2, event


def test_refusals_are_those_of_the_run(lab):
    with Session(lab, "--allow", at(w.ALLOWED4, 7), "--no-proxy-env") as made:
        dial = "import socket\ntry: socket.create_connection((%r, 7), 5)\nexcept OSError as e: print(e.errno)"
        first, out, err = made.run("/usr/bin/python3", "-c", dial % w.EVIL4)
        assert out == "111\n" and [each["destination"] for each in first["refused"]] == [at(w.EVIL4, 7)], (first, err)
        second, out, _ = made.run("/usr/bin/python3", "-c", dial % w.ALLOWED4)
        assert out == "" and second["refused"] == [], second


def test_its_owner_enters_after(lab):
    """What lives on has no command with a descriptor to seal with: weir seal takes away."""
    with Session(lab, "--allow", at(w.ALLOWED4, 7), "--after", "none", "--no-proxy-env") as made:
        assert made.code == 0, made.said
        dial = (f"import os, socket\nprint(os.environ.get('WEIR_SEAL'))\n"
                f"try: socket.create_connection(({w.ALLOWED4!r}, 7), 5); print('up')\nexcept OSError as e: print(e.errno)")
        assert made.run("/usr/bin/python3", "-c", dial)[1] == "None\nup\n"
        before = lab.world.packets_to(w.ALLOWED4, 7)
        sealed = lab.cli("seal", made.id)
        assert sealed.code == 0, sealed
        exited, out, _ = made.run("/usr/bin/python3", "-c", dial)
        assert out == "None\n111\n" and len(exited["refused"]) == 1, (exited, out)
        assert lab.world.packets_to(w.ALLOWED4, 7) - before <= 2  # the end of the flow from before


def test_what_cannot_begin_is_said(lab):
    """D: with as many processes as --pids allows the next is refused, and the session goes on."""
    with Session(lab, "--pids", "12") as made:
        begun, reply = [], {}
        while "error" not in reply and len(begun) < 40:
            reply = made.ask({"op": "run", "command": "exec sleep 1000", "detach": True})
            begun.append(reply)
        assert reply["error"]["code"] == "limit", begun
        for pid in (each["started"]["pid"] for each in begun[:-1]):
            assert made.ask({"op": "signal", "pid": pid, "signal": "KILL"}) == {"ok": True}
            made.await_exit(pid)
        assert made.run("echo", "on")[1] == "on\n"


def test_what_a_process_is_called_is_cut(session):
    exited, _, _ = session.run("/" + "x" * 3000)
    assert exited["exit_code"] in (126, 127), exited
    session.ask({"op": "run", "argv": ["/" + "x" * 3000], "detach": True})
    [entry] = session.ask({"op": "processes"})["processes"]
    assert entry["argv0"] == "/" + "x" * 255 and entry["exited"]["refused"] == [], entry


def test_an_unpacked_image_stays_as_long_as_its_session(images, root_archive):
    with Session(images, "--image", put(images, "a.tar", root_archive + END)) as made:
        assert made.code == 0, made.said
        assert made.run("cat", "/etc/alpine-release")[0]["exit_code"] == 0
        assert not store_is_empty(images)
        made.stop()
        wait_until(lambda: gone(made.pid), what="the end of the supervisor")
    assert store_is_empty(images)


def test_a_published_port(lab):
    with Session(lab, "-p", "0:8080") as made:
        [port] = made.said["ports"]
        number = int(port.split(":")[1])
        pid = made.detach("exec python3 -uc \"import socket; s=socket.create_server(('127.0.0.1', 8080)); print('up');"
                          "c,_=s.accept(); c.sendall(b'inside'); c.close()\"")
        made.await_words(pid)
        client = f"import socket; print(socket.create_connection(('127.0.0.1', {number}), 5).recv(100).decode())"
        assert lab.world.host.run(["/usr/bin/python3", "-c", client]).stdout == "inside\n"
        assert made.await_exit(pid)[0]["exited"]["exit_code"] == 0


def test_files(session):
    with session.connect() as connection:
        assert connection.say({"op": "file", "do": "put", "path": "/tmp/f", "mode": 0o640}).line() == {"ok": True}
        os.write(connection.passed[0], b"content")
        assert session.ask({"op": "file", "do": "stat", "path": "/tmp/f"})["error"]["code"] == "not_found"
        assert connection.say({"commit": True}).line() == {"ok": True}
    reply, [text] = session.ask({"op": "file", "do": "get", "path": "/tmp/f"})
    assert text == "content" and reply["file"]["bytes"] == 7 and reply["file"]["mode"] == 0o640, reply
    with session.connect() as connection:
        connection.say({"op": "file", "do": "put", "path": "/tmp/g"}).line()
        os.write(connection.passed[0], b"half")
    # Who goes before it is put in place leaves nothing.
    _, [listed] = session.ask({"op": "file", "do": "list", "path": "/tmp"})
    assert [json.loads(line)["name"] for line in listed.splitlines()] == ["f"], listed
    assert session.ask({"op": "file", "do": "delete", "path": "/tmp/f"}) == {"ok": True}
    assert session.ask({"op": "file", "do": "get", "path": "/tmp/f"})["error"]["code"] == "not_found"


@pytest.mark.parametrize("victim", ["supervisor", "init"])
def test_killed(lab, session, victim):
    """P01: whatever is killed, nothing runs on, and nobody waits."""
    inside = family(session.pid)
    session.detach("sleep 1000")
    waiting = session.connect().say({"op": "output", "pid": session.ask({"op": "processes"})["processes"][0]["pid"],
                                     "follow": True})
    waiting.line()
    os.kill(session.pid if victim == "supervisor" else inside[0], signal.SIGKILL)
    while waiting.line() is not None:
        pass
    waiting.close()
    wait_until(lambda: gone(session.pid) and all(gone(pid) for pid in inside), what="the end of everything")
    if victim == "supervisor":
        with pytest.raises(ConnectionRefusedError):
            session.connect()
    # Whoever comes next sweeps what is left; the name is free.
    with Session(lab, "--name", "web") as again:
        assert again.code == 0, again.said
        assert sorted(os.listdir(session.state / "weir" / "sessions")) == sorted([".lock", again.id])


HOSTILE = {
    "no-json": (b"\x00\xff what\n", "bad_request"),
    "unknown-op": ({"op": "widen"}, "bad_request"),
    "unknown-key": ({"op": "show", "x": 1}, "bad_request"),
    "empty": (b"\n", "bad_request"),
    "deep": (b'{"op":' + b"[" * 5000 + b"\n", "bad_request"),
    "two": (b'{"op": "processes"}\n{"op": "show"}\n', None),
    "no-end": (b'{"op": "show"}', "bad_request"),
    "long": (b" " * (2 << 20), "too_large"),
    "no-pid": ({"op": "signal", "pid": 1, "signal": 9}, "not_found"),
    "commit": ({"commit": True}, "bad_request"),
    "override": ({"op": "run", "argv": ["true"], "network_mode": "none"}, "bad_request"),  # without descriptors
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines(session, name):
    line, code = HOSTILE[name]
    with session.connect() as connection:
        try:
            connection.say(line)
            connection.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        reply = connection.line()
        if code:
            assert reply["error"]["code"] == code, reply
        else:
            assert "processes" in reply
        assert connection.line() is None
    assert session.show()["id"] == session.id


def test_who_may_connect(lab, session):
    """The folder keeps others out; behind it the socket does."""
    if lab.uid == 0:
        pytest.skip("another user who may pass root's folder is not to be had")
    with session.connect(uid=0) as connection:
        assert connection.say({"op": "show"}).line()["error"]["code"] == "forbidden"
    with pytest.raises(PermissionError):
        session.connect(uid=lab.uid + 1)


def test_who_is_inside_may_not_connect(lab):
    """A sandbox that sees the sockets of sessions, its own and others, is nobody to them: L10, the way to a session with
    a wider network."""
    state = lab.folder / "state"
    state.mkdir(mode=0o700)
    os.chown(state, lab.uid, lab.gid)
    with Session(lab) as wide, Session(lab, "-v", f"{state}:/state:ro", "--share-sockets", "--events", "none") as made:
        assert made.code == 0, made.said
        code = """
import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(5)
try:
    s.connect(f"/state/weir/sessions/{sys.argv[1]}/socket")
    try: s.sendall(b'{"op": "show"}' + bytes([10]))
    except BrokenPipeError: pass  # told before it asks
    print(s.recv(1000).decode())
except OSError as error: print(type(error).__name__)
"""
        for target in (wide, made):
            _, out, err = made.run("/usr/bin/python3", "-c", code, target.id)
            assert out == "PermissionError\n" or '"forbidden"' in out, (out, err)
            assert "session" in target.ask({"op": "show"})


def test_connections_are_bounded(session):
    held = [session.connect() for _ in range(256)]
    held[-1].say({"op": "show"}).line()  # all before it were accepted, and this one is done with
    held.append(session.connect())
    extra = session.connect()
    assert extra.line()["error"]["code"] == "too_many"
    for each in [*held, extra]:
        each.close()
    wait_until(lambda: "session" in session.ask({"op": "show"}), what="room again")


def test_what_is_held_leaves_places_for_its_owner(session):
    """D: connections that stay do not keep anybody from looking and ending."""
    pid = session.detach("exec sleep 1000")
    held, replies = [], []
    for _ in range(250):
        held.append(session.connect())
        replies.append(held[-1].say({"op": "output", "pid": pid, "follow": True}).line())
    assert ["error" in reply for reply in replies] == [False] * 240 + [True] * 10, replies
    assert replies[-1]["error"]["code"] == "too_many", replies[-1]
    assert session.show()["processes"] == 1
    for each in held:
        each.close()
    session.stop(kill=True)


def test_many_in_parallel(lab):
    lab.variables = {**lab.variables, "XDG_STATE_HOME": str(lab.folder / "state")}
    begun = [subprocess.Popen(lab.command([lab.weir, "session", "create", "-o", "json"]), stdout=subprocess.PIPE)
             for _ in range(10)]
    made = [json.loads(each.communicate(timeout=60)[0]) for each in begun]
    assert len({each["id"] for each in made}) == 10
    for each in made:
        os.kill(each["supervisor"], signal.SIGTERM)
    wait_until(lambda: all(gone(each["supervisor"]) for each in made), seconds=10, what="the end of all")
    assert os.listdir(lab.folder / "state" / "weir" / "sessions") == [".lock"]


def test_two_hundred_one_after_the_other(lab):
    """P05: nothing piles up."""
    before = set(processes())
    for _ in range(200):
        with Session(lab, "--name", "again", "--events", "none") as made:
            assert made.code == 0, made.said
            made.stop(kill=True)
    wait_until(lambda: not {pid for pid, (_, name) in processes().items() if pid not in before and "weir" in name},
               what="the end of the last")
    assert os.listdir(made.state / "weir" / "sessions") == [".lock"]
    assert os.listdir(made.state / "weir" / "names") == []


def test_requests_leave_nothing(session):
    fds = len(os.listdir(f"/proc/{session.pid}/fd"))
    for _ in range(100):
        assert session.run("true")[0]["exit_code"] == 0
        session.show()
    wait_until(lambda: len(os.listdir(f"/proc/{session.pid}/fd")) <= fds, what="the same number of descriptors")
    assert sorted(os.listdir(session.folder)) == ["lock", "session.json", "socket"]


def test_a_service_is_begun_again(lab):
    code = ("import socket, os; s = socket.create_server(('127.0.0.1', 8080)); "
            "[s.accept()[0].close() for _ in range(1000)]")
    with Session(lab, "-p", "0:8080", "--bootstrap", f'exec /usr/bin/python3 -c "{code}"', "--restart", "always") as made:
        assert made.code == 0, made.said
        wait_until(lambda: made.show()["service"]["health"] == "healthy", what="the port inside")
        [first] = made.ask({"op": "processes"})["processes"]
        assert made.ask({"op": "signal", "pid": first["pid"], "signal": "KILL"}) == {"ok": True}
        wait_until(lambda: made.show()["service"]["restarts"] == 1, what="the second life")
        wait_until(lambda: made.show()["service"]["health"] == "healthy", what="the port inside, again")
        made.stop()
    with Session(lab, "--bootstrap", "exit 0") as made:
        wait_until(lambda: made.show()["service"]["health"] == "stopped", what="the end without a failure")
        assert made.show()["service"]["restarts"] == 0
    with Session(lab, "--bootstrap", "exit 1") as made:
        wait_until(lambda: made.show()["service"]["restarts"] >= 2, what="two more attempts")


def test_usage_is_shown(session):
    session.run("true")
    usage = session.show()["usage"]
    assert usage["memory_bytes"] > 0 and usage["processes"] == 0, usage
    before = usage["disk_bytes"]
    session.run("sh", "-c", "head -c 5000000 /dev/zero > /tmp/f")
    assert 5_000_000 <= session.show()["usage"]["disk_bytes"] - before < 6_000_000
    session.run("rm", "/tmp/f")
    assert session.show()["usage"]["disk_bytes"] - before < 1_000_000


def test_the_words_of_its_start_are_not_told_to_everybody(lab):
    with Session(lab, "-e", "TOKEN=canary-in-the-words") as made:
        with open(f"/proc/{made.pid}/cmdline", "rb") as file:
            words = file.read()
        assert b"canary" not in words and words.strip(b"\0").endswith(b"weir"), words
        _, out, _ = made.run("sh", "-c", "echo $TOKEN")
        assert out == "canary-in-the-words\n"


def test_what_is_insisted_on_is_said_at_the_start(lab):
    lab.variables = {**lab.variables, "XDG_STATE_HOME": str(lab.folder / "state")}
    out = lab.cli("session", "create", "--name", "bold", "--allow", w.METADATA4, "--insist", f"floor={w.METADATA4}")
    try:
        assert out.code == 0 and w.METADATA4 in out.stderr, out
    finally:
        assert lab.cli("session", "rm", "bold").code == 0
