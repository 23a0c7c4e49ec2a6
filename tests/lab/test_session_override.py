"""Runs with a narrower network of their own (docs/decisions/0021). attacks.md O02, P01, Q03, Q06."""

import json
import os
import select
import signal
import socket
import time

import pytest

import world as w
from archives import END
from checks import TWINS, at
from images import put
from lab import processes, read_events, wait_until
from sessions import Session, gone, read_all

KEPT, LOST = at(w.ALLOWED4, 7), at(w.EVIL4, 7)
CONNECT = f"""
import socket
try: socket.create_connection(({w.EVIL4!r}, 7), 5); print('connected')
except OSError as e: print(type(e).__name__, e.errno)
"""
PYTHON = "/usr/bin/python3"


@pytest.fixture
def session(lab):
    with Session(lab, "--allow", KEPT, "--allow", LOST, "--no-proxy-env") as made:
        yield made


class Held:
    """A run that goes on until it is told or killed; `words` are its first ones."""

    def __init__(self, session, *argv, **request):
        pipes = [os.pipe() for _ in range(3)]
        self.connection = session.connect()
        self.connection.say({"op": "run", "argv": list(argv), **request}, [pipes[0][0], pipes[1][1], pipes[2][1]])
        for fd in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(fd)
        self.stdin, self.out, self.err = pipes[0][1], pipes[1][0], pipes[2][0]
        self.started = self.connection.line()
        assert self.started and "started" in self.started, self.started
        self.pid = self.started["started"]["pid"]
        self.words = os.read(self.out, 4096).decode()

    def go_on(self, text=b"\n"):
        os.write(self.stdin, text)
        os.close(self.stdin)
        out, err = read_all([self.out, self.err])
        reply = self.connection.line()
        self.connection.close()
        return reply, out, err

    def leave(self):
        for fd in (self.stdin, self.out, self.err):
            os.close(fd)
        self.connection.close()


def refused(session, **request):
    """The error of a run that is not begun."""
    pipes = [os.pipe() for _ in range(3)]
    with session.connect() as connection:
        reply = connection.say({"op": "run", "argv": ["true"], **request}, [pipes[0][0], pipes[1][1], pipes[2][1]]).line()
    for fd in sum(pipes, ()):
        os.close(fd)
    return reply["error"]


def family(pid):
    children = [child for child, (parent, _) in processes().items() if parent == pid]
    return children + [each for child in children for each in family(child)]


def events(session, kind):
    return [event for event in read_events(session.events_path) if event["type"] == kind]


@pytest.mark.refusal
@pytest.mark.elsewhere
@pytest.mark.parametrize("wish, named", [
    ({"network_mode": "open"}, "open"), ({"network_mode": "public"}, "public"),
    ({"network_mode": "full"}, "open"), ({"network_mode": "allowlist", "network_allowlist": [at(w.SHARED4, 7)]}, w.SHARED4),
    ({"network_allowlist": ["@private"]}, "@private"), ({"network_mode": "host"}, "host")])
def test_a_wider_one_is_refused(session, wish, named):
    """cannot_widen names what was asked for; nothing is begun and nothing reached. The twin asks for a part."""
    before = lab_packets(session)
    error = refused(session, **wish)
    assert error["code"] == "cannot_widen" and named in error["message"], error
    assert not events(session, "run.start") and lab_packets(session) == before
    exited, out, err = session.run(PYTHON, "-c", CONNECT, network_mode="allowlist", network_allowlist=[LOST])
    assert out == "connected\n" and not exited["refused"], (out, err)


def lab_packets(session):
    return session.lab.world.packets_to(w.EVIL4, 7) + session.lab.world.packets_to(w.SHARED4, 7)


@pytest.mark.parametrize("mode", ["none", "blocked", "zerotrust", "off", "inbound", "mounts_only"])
def test_without_a_network_there_is_none(session, mode):
    before = session.lab.world.packets_to(w.EVIL4, 7)
    exited, out, err = session.run(PYTHON, "-c", CONNECT + "print(sorted(l.split(':')[0].strip() for l in open('/proc/net/dev') if ':' in l))",
                                   network_mode=mode)
    assert out == "OSError 101\n['lo']\n" and exited["exit_code"] == 0, (out, err)
    assert session.lab.world.packets_to(w.EVIL4, 7) == before
    [start] = events(session, "run.start")
    assert start["run"] == 1 and start["mode"] in ("none", "inbound") and start["command"] == PYTHON, start
    [end] = events(session, "run.exit")
    assert end["exit_code"] == 0 and end["policy"] == start["policy"] != events(session, "sandbox.start")[0]["policy"], end
    _, out, err = session.run(PYTHON, "-c", CONNECT)  # the session still may
    assert out == "connected\n" and session.lab.world.packets_to(w.EVIL4, 7) > before, (out, err)


@TWINS
def test_it_may_less_than_its_session(session, verdict):
    """Q06: what the session allows and the run does not is refused to the run alone."""
    wanted = [KEPT, LOST] if verdict == "allow" else [KEPT]
    before = session.lab.world.packets_to(w.EVIL4, 7)
    exited, out, err = session.run(PYTHON, "-c", CONNECT, network_mode="allowlist", network_allowlist=wanted)
    found = events(session, "flow.refuse")
    if verdict == "allow":
        assert out == "connected\n" and not found and not exited["refused"], (out, err)
        [opened], [closed] = events(session, "flow.open"), events(session, "flow.close")
        assert opened["run"] == closed["run"] == 1 and opened["flow"] == closed["flow"], (opened, closed)
        return
    assert out == "ConnectionRefusedError 111\n", (out, err)
    assert session.lab.world.packets_to(w.EVIL4, 7) == before
    [record] = found
    assert record["run"] == 1 and record["dst"] == w.EVIL4 and record["policy"] == events(session, "run.start")[0]["policy"]
    assert exited["refused"] == [{"destination": LOST, "reason": "no-rule", "times": 1}], exited
    exited, out, err = session.run(PYTHON, "-c", CONNECT)
    assert out == "connected\n" and not exited["refused"], (out, err)
    assert session.lab.world.packets_to(w.EVIL4, 7) > before and len(events(session, "flow.refuse")) == 1


FILES = """cat /home/sandbox/mine && echo changed > /home/sandbox/mine && cat /home/sandbox/mine && rm -r /home/sandbox/folder \
&& echo new > /tmp/new && ls /home/sandbox /tmp && head -1 /etc/hosts && ln -s /etc /home/sandbox/link"""


def files_are_seen_and_given_up(session):
    session.run("sh", "-c", "cd /home/sandbox; echo session > mine; mkdir folder; echo x > folder/x; echo other > /etc/hosts || true")
    exited, out, err = session.run("sh", "-c", FILES, network_mode="none")
    assert exited["exit_code"] == 0 and out == "session\nchanged\n/home/sandbox:\nmine\n\n/tmp:\nnew\n127.0.0.1 localhost\n", (out, err)
    _, out, err = session.run("sh", "-c", "cd /home/sandbox; cat mine folder/x; ls . /tmp")
    assert out == "session\nx\n.:\nfolder\nmine\n\n/tmp:\n", (out, err)


def test_its_files_are_the_sessions_and_what_it_writes_goes(session):
    files_are_seen_and_given_up(session)


def test_the_same_over_an_image(images, root_archive):
    with Session(images, "--image", put(images, "a.tar", root_archive + END), "--allow", KEPT) as made:
        assert made.code == 0, made.said
        made.run("sh", "-c", "echo session > /tmp/mine")
        exited, out, err = made.run("sh", "-c", "cat /tmp/mine; echo more > /tmp/mine; cat /tmp/mine; head -1 /etc/hosts; ls /bin/sh",
                                    network_mode="none")
        assert out == "session\nmore\n127.0.0.1 localhost\n/bin/sh\n" and exited["exit_code"] == 0, (out, err)
        assert made.run("sh", "-c", "cat /tmp/mine")[1] == "session\n"


@pytest.mark.parametrize("limits", [(), ("--disk", "64M", "--memory", "512M")])
def test_shares(lab, limits):
    """It sees of each share what the session has there, and writes nothing to the host."""
    folder = lab.folder / "shared"
    for name in ("rw", "ro", "copy", "over"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("host\n")
    (folder / "one").write_text("host\n")
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {folder}")
    options = [f"-v={folder}/{name}:/work/{name}{mode}" for name, mode in
               (("rw", ""), ("ro", ":ro"), ("copy", ":copy"), ("over", ":overlay"), ("one", ""))]
    with Session(lab, "--allow", KEPT, *options, *limits) as made:
        assert made.code == 0, made.said
        made.run("sh", "-c", "for n in rw copy over; do echo session > /work/$n/file; done; echo session > /work/one")
        (folder / "copy" / "file").write_text("later\n")
        command = "cd /work; cat */file one; for n in rw copy over; do echo run > $n/file; echo > $n/new; done; echo run > one || echo read-only; cat rw/file"
        exited, out, err = made.run("sh", "-c", command, network_mode="none")
        assert exited["exit_code"] == 0 and out == "session\nsession\nhost\nsession\nsession\nread-only\nrun\n", (out, err)
        _, out, _ = made.run("sh", "-c", "cd /work; cat */file one; ls rw copy over | grep -c new")
        assert out == "session\nsession\nhost\nsession\nsession\n0\n", out
    assert (folder / "rw" / "file").read_text() == "session\n" and (folder / "one").read_text() == "session\n"
    assert sorted(os.listdir(folder / "rw")) == ["file"]


@pytest.mark.parametrize("share, limits", [("", ()), (":overlay", ()), (":overlay", ("--memory", "256M"))])
@pytest.mark.parametrize("guest", ["true", "mkdir -p /.weir-layers/0/upper", "ln -s /etc /.weir-layers", "ln -s /nowhere /.weir-layers"])
def test_the_place_for_layers_is_made_whatever_the_session_has_there(lab, share, limits, guest):
    """O02: the session's files are a lower layer, and so is what a guest puts where the layers of shares go."""
    folder = lab.folder / "shared"
    folder.mkdir()
    (folder / "file").write_text("host\n")
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {folder}")
    with Session(lab, "--allow", KEPT, "-v", f"{folder}:/work{share}", *limits) as made:
        assert made.code == 0, made.said
        made.run("sh", "-c", guest)
        exited, out, err = made.run("sh", "-c", "cat /work/file; echo run > /work/file; cat /work/file; ls -A /.weir-layers/; stat -c %a /.weir-layers",
                                    network_mode="none")
        assert exited["exit_code"] == 0 and out == "host\nrun\n555\n", (out, err)
        assert made.run("cat", "/work/file")[1] == "host\n"
    assert (folder / "file").read_text() == "host\n"


@pytest.mark.refusal
def test_a_guard_of_sensitive_files_guards_one_sandbox(lab):
    """Q03: a supervisor that is stuck could not end the other one before the kernel lets the open go on."""
    folder = lab.folder / "secret"
    folder.mkdir()
    (folder / "key").write_text("key\n")
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {folder}")
    options = ("--allow", KEPT, "--allow", LOST, "--after", "none", "-v", f"{folder}:/secret:ro", "--sensitive", str(folder))
    with Session(lab, *options) as made:
        assert made.code == 0, made.said
        before = lab.world.packets_to(w.EVIL4, 7)
        error = refused(made, network_mode="allowlist", network_allowlist=[LOST])
        assert error["code"] == "unavailable" and "sensitive" in error["message"], error
        assert not events(made, "run.start") and lab.world.packets_to(w.EVIL4, 7) == before
        assert made.run("cat", "/secret/key")[1] == "key\n"  # sealed now, and the guard has gone
        exited, out, err = made.run("cat", "/secret/key", network_mode="none")
        assert out == "key\n" and exited["exit_code"] == 0, (out, err)


def test_whoever_lives_with_the_wider_policy_is_named(session):
    """P01: also what left its group and its parent; nothing is begun beside it."""
    pid = session.detach("setsid sleep 1000 & sleep 1000 & exec sleep 1000")
    wait_until(lambda: len(family(session.pid)) >= 4, what="the daemons")
    error = refused(session, network_mode="none")
    assert error["code"] == "wider_process" and str(pid) in error["message"] and error["message"].count(",") == 2, error
    session.ask({"op": "signal", "pid": pid, "signal": "KILL"})
    session.await_exit(pid)
    error = refused(session, network_mode="none")  # what left its group is nobody's any more
    assert error["code"] == "wider_process" and error["message"].startswith("process ") and "," not in error["message"], error
    assert not events(session, "run.start")
    session.run("sh", "-c", "pkill -9 sleep; true")
    exited, _, err = session.run("true", network_mode="none")
    assert exited["exit_code"] == 0, err


@pytest.mark.parametrize("argv, alone", [(["sh", "-c", "echo up; read x"], False), (["true"], True)])
def test_what_was_asked_for_before_counts(session, argv, alone):
    """P01: an order that init has not read is no process yet. Both requests are there when the supervisor looks."""
    pipes = [[os.pipe() for _ in range(3)] for _ in range(2)]
    with session.connect() as wide, session.connect() as narrow:
        session.show()  # both are accepted
        os.kill(session.pid, signal.SIGSTOP)
        try:
            for connection, request, mine in ((wide, {"argv": argv}, pipes[0]),
                                              (narrow, {"argv": ["true"], "network_mode": "none"}, pipes[1])):
                connection.say({"op": "run", **request}, [mine[0][0], mine[1][1], mine[2][1]])
        finally:
            os.kill(session.pid, signal.SIGCONT)
        first = narrow.line()
        if alone:  # the end of it was waited for
            assert "started" in first and narrow.line()["exited"]["exit_code"] == 0, first
        else:
            assert first["error"]["code"] == "wider_process", first
        assert bool(events(session, "run.start")) == alone
        os.write(pipes[0][0][1], b"\n")
        assert "started" in wide.line() and wide.line()["exited"]["exit_code"] == 0
    for fd in sum((list(pipe) for mine in pipes for pipe in mine), []):
        os.close(fd)
    assert session.run("true", network_mode="none")[0]["exit_code"] == 0


def test_only_looking_goes_on_beside_it(session):
    session.run("sh", "-c", "echo x > /tmp/x")
    held = Held(session, "sh", "-c", "echo up; read x; exit 7", network_mode="none")
    assert held.pid > 4194304
    for request in ({"op": "run", "argv": ["true"], "terminal": True}, {"op": "run", "argv": ["true"], "detach": True},
                    {"op": "file", "do": "put", "path": "/tmp/y"}, {"op": "file", "do": "delete", "path": "/tmp/x"},
                    {"op": "file", "do": "make_folder", "path": "/tmp/z"}, {"op": "file", "do": "untar", "path": "/tmp/z"},
                    {"op": "snapshot", "name": "s"}):
        assert session.ask(request)["error"]["code"] == "conflict", request
    assert refused(session, network_mode="none")["code"] == "conflict"
    assert session.ask({"op": "file", "do": "get", "path": "/tmp/x"})[1] == ["x\n"]
    listed = session.ask({"op": "processes"})["processes"]
    assert [each["pid"] for each in listed] == [held.pid], listed
    assert session.ask({"op": "signal", "pid": held.pid, "signal": "CONT"}) == {"ok": True}
    reply, _, err = held.go_on()
    assert reply["exited"]["exit_code"] == 7, (reply, err)
    assert session.run("true")[0]["exit_code"] == 0


def test_it_is_told_apart_from_what_cannot_be(session):
    assert refused(session, network_mode="no-such")["code"] == "bad_policy"
    assert session.ask({"op": "run", "argv": ["true"], "network_mode": "none", "detach": True})["error"]["code"] == "bad_request"
    exited, _, _ = session.run("/no/such", network_mode="none")
    assert exited["exit_code"] == 127 and "not_executed" in exited, exited
    exited, out, _ = session.run("sh", "-c", "echo $A; pwd; kill -9 $$", env={"A": "x"}, cwd="/tmp", network_mode="none")
    assert out == "x\n/tmp\n" and exited["exit_code"] == 137 and exited["signal"] == 9, exited
    exited, _, _ = session.run("sleep", "1000", timeout_ms=300, network_mode="none")
    assert exited["timed_out"] and exited["exit_code"] == 124, exited
    assert [event["exit_code"] for event in events(session, "run.exit")] == [127, 137, 124]


@pytest.mark.parametrize("wish", [{"argv": ["/" + "a" * 50000], "network_mode": "none"},
                                  {"argv": ["true"], "network_allowlist": [f"{n * 16}.0.0.0/4" for n in range(14)] * 40}])
def test_its_lines_of_the_record_are_short(lab, wish):
    """A line longer than PIPE_BUF is no line for who reads a pipe."""
    with Session(lab, "--net", "public") as made:
        pipes = [os.pipe() for _ in range(3)]
        with made.connect() as connection:
            connection.say({"op": "run", **wish}, [pipes[0][0], pipes[1][1], pipes[2][1]])
            assert "started" in connection.line() and "exited" in connection.line()
        for fd in sum(pipes, ()):
            os.close(fd)
        assert len(events(made, "run.start")) == len(events(made, "run.exit")) == 1
        with open(made.events_path, "rb") as record:
            assert max(map(len, record)) <= 4096


LEAVES = "setsid sleep 1000 & sleep 1000 & echo up; read x"


def test_what_it_leaves_behind_ends_with_it(session):
    inside = set(family(session.pid))
    held = Held(session, "sh", "-c", LEAVES, network_mode="none")
    assert len(set(family(session.pid)) - inside) >= 3
    held.go_on()
    assert set(family(session.pid)) == inside
    held = Held(session, "sh", "-c", LEAVES, network_mode="none")
    held.leave()  # the caller is gone
    wait_until(lambda: set(family(session.pid)) == inside, what="the end of the run")
    assert session.run("true")[0]["exit_code"] == 0


@pytest.mark.parametrize("how", ["kill", "stop", "term", "ttl"])
def test_it_ends_with_its_session(lab, how):
    with Session(lab, "--allow", KEPT, *(["--ttl", "3s"] if how == "ttl" else [])) as made:
        inside = family(made.pid)
        Held(made, "sh", "-c", LEAVES, network_mode="allowlist", network_allowlist=[KEPT])
        inside = set(inside) | set(family(made.pid))
        if how == "kill":
            os.kill(made.pid, signal.SIGKILL)
        elif how == "stop":
            made.stop(kill=True)
        elif how == "term":
            made.stop()
        wait_until(lambda: gone(made.pid) and all(gone(pid) for pid in inside), what="the end of all")
        if how != "kill":
            assert made.is_gone() and [event["type"] for event in read_events(made.events_path)][-1] == "sandbox.exit"
            assert len(events(made, "run.exit")) == 1


APART = """
import os, socket, signal, sys
seen = sorted(p for p in os.listdir('/proc') if p.isdigit())
s = socket.socket(socket.AF_UNIX)
try: s.connect('\\0weir-lab'); print('reached')
except OSError as e: print(type(e).__name__)
try: s.connect('/tmp/socket'); print('reached')
except OSError as e: print(type(e).__name__)
try: os.kill(int(sys.argv[1]), 0); print('there')
except OSError as e: print(type(e).__name__)
print(os.path.exists('/dev/shm/lab'), open('/proc/sysvipc/shm').read().count('\\n'))
"""


def test_its_namespaces_are_its_own(session):
    """What the session left behind is not reachable: sockets in no folder, memory, other pids."""
    namespaces = "for n in user pid net ipc mnt uts cgroup; do readlink /proc/self/ns/$n; done"
    session.run(PYTHON, "-c", "import socket; socket.socket(socket.AF_UNIX).bind('/tmp/socket'); open('/dev/shm/lab', 'w').write('x')")
    _, first, _ = session.run("sh", "-c", namespaces)
    _, second, _ = session.run("sh", "-c", namespaces, network_mode="none")
    assert len(first.split()) == 7 and not set(first.split()) & set(second.split()), (first, second)
    _, out, err = session.run(PYTHON, "-c", APART, "12345", network_mode="none")
    assert out == "ConnectionRefusedError\nConnectionRefusedError\nProcessLookupError\nFalse 1\n", (out, err)


@TWINS
def test_narrowing_the_session_narrows_it(session, verdict):
    """Q06: at once, and before whoever narrows is told."""
    code = f"""
import socket
s = socket.create_connection(({w.EVIL4!r}, 7), 5); s.settimeout(10); print('up', flush=True); input()
try: s.sendall(b'x'); print(s.recv(10).decode() or 'eof')
except OSError as e: print(type(e).__name__)
try: socket.create_connection(({w.EVIL4!r}, 7), 5); print('connected')
except OSError as e: print(type(e).__name__)
"""
    held = Held(session, PYTHON, "-c", code, network_mode="allowlist", network_allowlist=[KEPT, LOST])
    before = session.lab.world.packets_to(w.EVIL4, 7)
    wanted = [KEPT, LOST] if verdict == "allow" else [KEPT]
    reply = session.ask({"op": "narrow", "network_mode": "allowlist", "network_allowlist": wanted})
    assert reply["generation"] == 2 and reply["cut"] == (0 if verdict == "allow" else 1), reply
    first, second = events(session, "policy.update")
    assert "run" not in first and second["run"] == 1 and second["policy"] != first["policy"], (first, second)
    reply, out, err = held.go_on()
    if verdict == "allow":
        assert out == "x\nconnected\n" and not reply["exited"]["refused"], (out, err)
        return
    assert out.split() == [out.split()[0], "ConnectionRefusedError"] and out.split()[0] in ("ConnectionResetError", "eof", "BrokenPipeError"), (out, err)
    assert session.lab.world.packets.payload_to(w.EVIL4, 7) == 0 and session.lab.world.packets_to(w.EVIL4, 7) <= before + 2
    assert [each["destination"] for each in reply["exited"]["refused"]] == [LOST], reply
    assert {event["run"] for event in events(session, "flow.refuse")} == {1}


def test_a_session_without_a_network_gives_none(lab):
    with Session(lab) as made:
        assert made.run("true", network_mode="blocked")[0]["exit_code"] == 0
        error = refused(made, network_mode="allowlist", network_allowlist=[KEPT])
        assert error["code"] == "cannot_widen" and "allowlist" in error["message"] and "none" in error["message"], error


def test_a_service_waits_until_it_has_ended(lab):
    with Session(lab, "--allow", KEPT, "--bootstrap", "echo begun >> /tmp/log", "--restart", "always") as made:
        wait_until(lambda: made.show()["service"]["restarts"] >= 1, what="a second begin")
        held = Held(made, "sh", "-c", "echo up; read x; wc -l < /tmp/log", network_mode="none")
        before = made.show()["service"]["restarts"]
        wait_until(lambda: made.show()["service"]["restarts"] == before, what="a look")
        _, out, _ = held.go_on()
        wait_until(lambda: made.show()["service"]["restarts"] > before, what="the next begin")


def test_a_terminal(session):
    with session.connect() as connection:
        connection.say({"op": "run", "argv": ["sh", "-c", "tty; stty size"], "terminal": True, "rows": 7, "columns": 9,
                        "network_mode": "none"})
        line = connection.line()
        assert "started" in line, line
        master, text = connection.passed[0], b""
        connection.passed = []
        assert connection.line()["exited"]["exit_code"] == 0
        try:
            while part := os.read(master, 1000):
                text += part
        except OSError:
            pass
        os.close(master)
        assert text == b"/dev/pts/0\r\n7 9\r\n", text


WAKES = f"""
import ctypes, signal, socket, struct, time
libc = ctypes.CDLL(None)
signal.signal(signal.SIGCONT, lambda *_: None)  # one that is ignored is not sent again
event = struct.pack('Qii48x', 0, 18, 0)  # SIGCONT by SIGEV_SIGNAL
timer = ctypes.c_void_p()
assert libc.timer_create(1, event, ctypes.byref(timer)) == 0
assert libc.timer_settime(timer, 0, struct.pack('qqqq', 0, 150_000_000, 0, 150_000_000), None) == 0
s = socket.create_connection(({w.EVIL4!r}, 7), 5)
s.setblocking(False)
print('up', flush=True)
deadline = time.monotonic() + 60
awake = []
while time.monotonic() < deadline:
    awake.append(time.monotonic())
    try: s.send(b'x')
    except BlockingIOError: pass
    t = socket.socket(); t.setblocking(False)
    try: t.connect(({w.ALLOWED4!r}, 7))
    except BlockingIOError: pass
    time.sleep(0.002)
    t.close()
    try:
        if b'end' in open('/proc/self/cwd/word', 'rb').read(): break
    except OSError: pass
s.setblocking(True); s.settimeout(10); s.sendall(b'Z'); got = b''
while b'Z' not in got: got += s.recv(65536)
print(*awake)
"""


@pytest.mark.refusal
@pytest.mark.elsewhere
@pytest.mark.parametrize("gateway", ["there", "none"])
def test_nothing_of_the_session_gets_out_while_it_is_suspended(session, gateway):
    """P01: not even of a program that goes on by itself. Afterwards everything goes on."""
    world = session.lab.world
    if gateway == "none":
        WAITS = WAKES.replace("print('up', flush=True)", "", 1).replace("s = socket", "print('up', flush=True); time.sleep(1); s = socket", 1)
        pid = session.ask({"op": "run", "argv": [PYTHON, "-c", WAITS], "detach": True, "cwd": "/tmp"})["started"]["pid"]
    else:
        pid = session.ask({"op": "run", "argv": [PYTHON, "-c", WAKES], "detach": True, "cwd": "/tmp"})["started"]["pid"]
    session.await_words(pid)
    if gateway == "there":
        wait_until(lambda: world.packets.payload_to(w.EVIL4, 7) > 0, what="the first bytes")
    assert refused(session, network_mode="none")["code"] == "wider_process"
    held = Held(session, PYTHON, "-c", "import time; a = time.monotonic(); print('up', flush=True); input(); print(a, time.monotonic())",
                network_mode="none", freeze=True)
    # What the kernel had is on its way for a moment.
    count = lambda: (world.packets.payload_to(w.EVIL4, 7), world.packets_to(w.EVIL4, 7), world.packets_to(w.ALLOWED4, 7))
    first = time.monotonic()
    wait_until(lambda: time.monotonic() > first + 0.3, what="that")
    calm = count()
    wait_until(lambda: time.monotonic() > first + 1.8, what="ten of its timers")
    assert count() == calm, (calm, count())
    assert session.ask({"op": "file", "do": "get", "path": "/etc/hosts"})["error"]["code"] == "conflict"
    before = count()
    reply, out, err = held.go_on()
    assert reply["exited"]["exit_code"] == 0, (reply, err)
    begin, end = map(float, out.split())
    wait_until(lambda: count()[0] > before[0] and count()[2] > before[2], what="what goes on")
    assert session.run("sh", "-c", "echo end > /tmp/word")[0]["exit_code"] == 0
    line, out, err = session.await_exit(pid)
    assert line["exited"]["exit_code"] == 0, (line, err)
    if gateway == "there":
        awake = [float(each) for each in out.split()[1:]]
        assert any(first + 0.2 < each < end - 0.1 for each in awake), "it stood still: the test shows nothing"


@pytest.mark.parametrize("how", ["kill", "stop", "leave"])
def test_a_suspended_session_can_end_and_go_on(session, how):
    session.detach("exec sleep 1000")
    assert session.run(PYTHON, "-c", CONNECT)[1] == "connected\n"  # a gateway
    inside = set(family(session.pid))
    held = Held(session, "sh", "-c", LEAVES, network_mode="none", freeze=True)
    everything = family(session.pid)
    if how == "leave":
        held.leave()
        wait_until(lambda: set(family(session.pid)) == inside, what="the end of the run")
        assert session.run(PYTHON, "-c", CONNECT)[1] == "connected\n"
        return
    if how == "kill":
        os.kill(session.pid, signal.SIGKILL)
    else:
        session.stop()
    wait_until(lambda: gone(session.pid) and all(gone(pid) for pid in everything), what="the end of all")


@TWINS
def test_narrowing_a_suspended_session(session, verdict):
    """Q06: it is in force at once; who asks is answered when the gateway can follow."""
    code = f"""
import socket
s = socket.create_connection(({w.EVIL4!r}, 7), 5); s.settimeout(10); print('up', flush=True); input()
try: s.sendall(b'x'); print(s.recv(10).decode() or 'eof')
except OSError as e: print(type(e).__name__)
"""
    pid = session.ask({"op": "run", "argv": [PYTHON, "-c", code], "detach": True, "stdin": True})["started"]["pid"]
    session.await_words(pid)
    held = Held(session, "sh", "-c", "echo up; read x", network_mode="none", freeze=True)
    wanted = [KEPT, LOST] if verdict == "allow" else [KEPT]
    with session.connect() as asking:
        asking.say({"op": "narrow", "network_mode": "allowlist", "network_allowlist": wanted})
        wait_until(lambda: events(session, "policy.update"), what="the record")
        assert session.show()["generation"] == 1
        held.go_on()
        reply = asking.line()
        assert reply["generation"] == 2 and reply["cut"] == (0 if verdict == "allow" else 1), reply
    with session.connect() as feed:
        feed.say({"op": "stdin", "pid": pid}).line()
        os.write(feed.passed[0], b"\n")
    _, out, err = session.await_exit(pid)
    assert out.split()[1] == "x" if verdict == "allow" else out.split()[1] != "x", (out, err)
    if verdict != "allow":
        assert session.lab.world.packets.payload_to(w.EVIL4, 7) == 0


PREPARE = r"""
cd /home/sandbox; mkdir -p folder/deep gone replaced; for f in folder/a folder/b folder/deep/c gone/x replaced/old plain; do echo session > $f; done
ln -s /etc link; echo session > will-be-folder; mkdir will-be-file; echo x > will-be-file/x; echo shared > /tmp/t
"""
CHANGE = r"""
cd /home/sandbox; echo run > folder/a; rm folder/b; rm -r gone; rm -r replaced; mkdir replaced; echo run > replaced/new
echo one > h1; ln h1 h2; ln -s ../../etc/hosts soft; rm link; mkdir link; echo x > link/x; rm will-be-folder; mkdir will-be-folder
rm -r will-be-file; echo file > will-be-file; chmod 751 folder/a; chmod 700 folder/deep; touch -d 2001-02-03T04:05:06 folder/a; mkfifo fifo
mkdir new; chmod 555 new; echo run > /tmp/t; mkdir /tmp/more; : > empty; mkdir -p a/b/c
"""
LOOK = r"""
cd /home/sandbox; find . -printf '%p %y %m %l\n' | grep -v '^\./\.' | sort; cat folder/a replaced/new link/x will-be-file /tmp/t h2; stat -c %h h1
stat -c %Y folder/a; ls -d /tmp/more; stat -c %a /tmp /home/sandbox
"""


def test_what_it_wrote_is_kept_where_that_is_asked_for(session):
    session.run("sh", "-c", PREPARE)
    before = session.run("sh", "-c", LOOK)[1]
    exited, inside, err = session.run("sh", "-ec", CHANGE + LOOK, network_mode="none")  # thrown away
    assert exited["exit_code"] == 0 and session.run("sh", "-c", LOOK)[1] == before, err
    exited, _, _ = session.run("sh", "-ec", CHANGE + "exit 1", network_mode="none", keep_files=True)  # it failed
    assert exited["exit_code"] == 1 and session.run("sh", "-c", LOOK)[1] == before
    exited, inside, err = session.run("sh", "-ec", CHANGE + "set +e;" + LOOK, network_mode="none", keep_files=True)
    assert exited["exit_code"] == 0, err
    after = session.run("sh", "-c", LOOK)[1]
    wanted = "".join(line + "\n" for line in inside.splitlines() if " p " not in line)  # what cannot be kept
    assert after == wanted and after != before, (wanted, after)
    assert "run\nrun\nx\nfile\nrun\none\n2\n981173106\n/tmp/more\n1777\n700\n" in after, after
    _, out, _ = session.run("sh", "-c", "ls -a / /home/sandbox /tmp | grep -c -e '^.wh' -e weir-")
    assert out == "0\n", out
    exited, out, _ = session.run(PYTHON, "-c", CONNECT)  # and the session is what it was
    assert out == "connected\n"


HOSTILE = r"""
import ctypes, os, socket
os.chdir('/home/sandbox')
os.symlink('/', 'root'); os.symlink('../../../../../../etc', 'up'); os.symlink('/proc/1/root', 'proc'); os.symlink('/tmp/hit', 'target')
for name in ('dev', 'victim2'):
    try: os.mknod(name, 0o020644, 0)
    except OSError: pass
os.utime('opaque')
for attribute in ('user.overlay.opaque', 'user.overlay.redirect', 'user.overlay.whiteout', 'trusted.overlay.opaque'):
    for path in ('opaque', '.'):
        try: os.setxattr(path, attribute, b'y')
        except OSError: pass
open('set-id', 'w').close(); os.chmod('set-id', 0o755)
try: os.chmod('set-id', 0o6755)
except OSError: pass
socket.socket(socket.AF_UNIX).bind('socket')
with open('sparse', 'wb') as f: f.truncate(1 << 24)
deep = 'd'
for _ in range(60): deep += '/d'
os.makedirs(deep)
open('n' * 255, 'w').close(); open('new\nline \x1b[2J', 'w').close(); open(b'\xff\xfe', 'w').close()
"""


def not_kept(session, *argv, **request):
    """The error instead of the result of a command that ended with 0."""
    pipes = [os.pipe() for _ in range(3)]
    with session.connect() as connection:
        connection.say({"op": "run", "argv": list(argv), "network_mode": "none", "keep_files": True, **request},
                       [pipes[0][0], pipes[1][1], pipes[2][1]])
        assert "started" in connection.line()
        error = connection.line()["error"]
    for fd in sum(pipes, ()):
        os.close(fd)
    return error


@pytest.mark.refusal
@pytest.mark.parametrize("what", ["touch .wh.victim .wh..wh..opq .wh...", "d=d; mkdir $d; for n in $(seq 600); do mkdir d/d; cd d; done"])
def test_names_that_cannot_be_kept_are_said(session, what):
    """O02: a mark of the run's own making removes nothing, and is not left out without a word."""
    session.run("sh", "-c", "echo x > /home/sandbox/victim")
    error = not_kept(session, "sh", "-c", "cd /home/sandbox; " + what)
    assert error["code"] == "conflict" and "names cannot be kept" in error["message"], error
    assert session.run("sh", "-c", "cat /home/sandbox/victim; ls -A /home/sandbox | grep -c wh")[1] == "x\n0\n"


def test_folders_that_are_closed_are_kept(session):
    """A folder that was made, filled and closed; one that its owner may not read; one that is closed and of another."""
    session.run("sh", "-c", "cd /home/sandbox; mkdir -p closed/in blind shut; echo x > shut/x; chmod 555 closed; chmod 300 blind; chmod 0 shut")
    change = "cd /home/sandbox; chmod 755 closed; echo y > closed/in/y; echo y > closed/y; chmod 555 closed; echo y > blind/y; mkdir new; echo y > new/y; chmod 500 new"
    exited, _, err = session.run("sh", "-ec", change, network_mode="none", keep_files=True)
    assert exited["exit_code"] == 0, (exited, err)
    look = "cd /home/sandbox; stat -c '%a %n' closed blind shut new; cat closed/y closed/in/y blind/y new/y; chmod 700 shut; cat shut/x"
    assert session.run("sh", "-c", look)[1] == "555 closed\n300 blind\n0 shut\n500 new\ny\ny\ny\ny\nx\n"


def test_a_hole_that_is_kept_is_a_hole(lab):
    with Session(lab, "--allow", KEPT, "--disk", "8M") as made:
        exited, _, err = made.run("sh", "-c", "cd /home/sandbox; truncate -s 100M hole; printf x >> hole; printf x | dd of=hole bs=1 seek=50000000 conv=notrunc",
                                  network_mode="none", keep_files=True)
        assert exited["exit_code"] == 0, (exited, err)
        _, out, _ = made.run("sh", "-c", "cd /home/sandbox; stat -c %s hole; test $(stat -c %b hole) -lt 2000; echo $?; tr -d '\\0' < hole")
        assert out == "104857601\n0\nxx", out


STOPS = """
import os, signal, subprocess, time
print('up', flush=True)
while not os.path.exists('/tmp/end'):
    try: os.kill(-1, signal.SIGSTOP)
    except OSError: pass
"""


@pytest.mark.elsewhere
def test_whoever_stops_what_takes_over_holds_nobody(session):
    """P01: a process of the session stops the task that keeps files. Who narrows is answered, and who waits may go."""
    pid = session.ask({"op": "run", "argv": [PYTHON, "-c", STOPS], "detach": True})["started"]["pid"]
    session.await_words(pid)
    held = Held(session, "sh", "-c", "echo up; read x; head -c 20000000 /dev/urandom > /home/sandbox/large", network_mode="none",
                keep_files=True, freeze=True)
    os.write(held.stdin, b"\n")
    while os.read(held.out, 4096):
        pass  # until nothing of it lives
    late = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > late, what="a moment")
    assert not select.select([held.connection.socket], [], [], 0)[0], "it was kept: the test shows nothing"
    assert session.ask({"op": "narrow", "network_mode": "allowlist", "network_allowlist": [KEPT]})["generation"] == 2
    assert session.ask({"op": "run", "argv": ["true"], "detach": True})["error"]["code"] == "conflict"
    held.leave()
    session.ask({"op": "signal", "pid": pid, "signal": "KILL"})
    def begins():
        return "started" in session.ask({"op": "run", "argv": ["true"], "detach": True})
    wait_until(begins, what="a session that is nobody's")
    [start], [end] = events(session, "run.start"), events(session, "run.exit")
    assert [word for word in ("freeze", "keep_files") if word not in str(start["notices"])] == [] and "not kept" in end["error"], (start, end)


ASKS = f"""
import socket, time
made = []
for _ in range(40):
    s = socket.socket(); s.setblocking(False); s.connect_ex(({w.EVIL4!r}, 7)); made.append(s)
print('up', flush=True); time.sleep(1000)
"""


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_whose_turn_comes_while_all_stands_still_waits(lab):
    """P01: connects that wait because there are too many in a second are not made while the session is suspended."""
    text = f'version = 1\nmode = "allowlist"\nallow = ["{LOST}"]\n[limits]\nconnects_per_second = 1\n'
    with Session(lab, "--policy", lab.file("policy.toml", text)) as made:
        assert made.code == 0, made.said
        pid = made.ask({"op": "run", "argv": [PYTHON, "-c", ASKS], "detach": True})["started"]["pid"]
        made.await_words(pid)
        held = Held(made, "sh", "-c", "echo up; read x", network_mode="none", freeze=True)
        before = len(events(made, "flow.open")), lab.world.packets_to(w.EVIL4, 7)
        first = time.monotonic()
        wait_until(lambda: time.monotonic() > first + 2.5, what="two turns")
        assert (len(events(made, "flow.open")), lab.world.packets_to(w.EVIL4, 7)) == before
        assert held.go_on()[0]["exited"]["exit_code"] == 0
        wait_until(lambda: len(events(made, "flow.open")) > before[0] and lab.world.packets_to(w.EVIL4, 7) > before[1], what="those that waited")


@pytest.mark.refusal
@pytest.mark.elsewhere
def test_a_hostile_tree_that_is_kept_stays_inside(session):
    """O02: links, marks and names of the run's own making lead nowhere and remove nothing."""
    session.run("sh", "-c", "cd /home/sandbox; echo x > victim; echo x > victim2; mkdir opaque; echo x > opaque/kept; mkdir up; echo x > up/hosts; rm -r up opaque/none; ls")
    hosts = session.run("sh", "-c", "cat /etc/hosts; ls -A /etc | wc -l")[1]
    there = set(os.listdir("/")), open("/etc/hosts").read()
    exited, _, err = session.run(PYTHON, "-c", HOSTILE, network_mode="none", keep_files=True)
    assert exited["exit_code"] == 0, (exited, err)
    _, out, _ = session.run("sh", "-c", "cd /home/sandbox; cat victim victim2; readlink root up proc target; stat -c %a set-id; stat -c %s sparse; cat opaque/kept; ls /tmp/hit")
    assert out == "x\nx\n/\n../../../../../../etc\n/proc/1/root\n/tmp/hit\n755\n16777216\nx\n", out
    assert session.run("sh", "-c", "cat /etc/hosts; ls -A /etc | wc -l")[1] == hosts
    assert (set(os.listdir("/")), open("/etc/hosts").read()) == there


def test_what_cannot_be_kept_is_said(lab):
    with Session(lab, "--allow", KEPT, "--disk", "8M") as made:
        made.run("sh", "-c", "head -c 5000000 /dev/zero > /home/sandbox/first")
        pipes = [os.pipe() for _ in range(3)]
        with made.connect() as connection:
            connection.say({"op": "run", "argv": ["sh", "-c", "head -c 5000000 /dev/urandom > /home/sandbox/second"],
                            "network_mode": "none", "keep_files": True}, [pipes[0][0], pipes[1][1], pipes[2][1]])
            assert "started" in connection.line()
            error = connection.line()["error"]
        for fd in sum(pipes, ()):
            os.close(fd)
        assert error["code"] == "limit" and "not kept" in error["message"] and "second" in error["message"], error
        _, out, _ = made.run("sh", "-c", "ls -A /home/sandbox")
        assert out == "first\n", out  # and nothing of what is not whole
        [end] = events(made, "run.exit")
        assert end["exit_code"] != 0 and "not kept" in end["error"] and len(json.dumps(end)) < 4096, end


def test_shares_that_are_kept_are_written(lab):
    folder = lab.folder / "shared"
    for name in ("rw", "copy", "over"):
        (folder / name).mkdir(parents=True)
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {folder}")
    options = [f"-v={folder}/{name}:/work/{name}{mode}" for name, mode in (("rw", ""), ("copy", ":copy"), ("over", ":overlay"))]
    with Session(lab, "--allow", KEPT, *options) as made:
        exited, _, err = made.run("sh", "-c", "for n in rw copy over; do echo run > /work/$n/new; done", network_mode="none",
                                  keep_files=True)
        assert exited["exit_code"] == 0, err
        assert made.run("sh", "-c", "cd /work; ls rw copy over")[1] == "copy:\nnew\n\nover:\n\nrw:\nnew\n"
    assert os.listdir(folder / "rw") == ["new"] and os.listdir(folder / "copy") == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_snapshot_knows_who_wrote_into_a_share_and_failed(images, keep):
    folder = images.folder / "shared"
    folder.mkdir()
    images.world.host.sh(f"chown -R {images.uid}:{images.gid} {folder}")
    with Session(images, "--allow", KEPT, "-v", f"{folder}:/work") as made:
        assert made.run("sh", "-c", "echo x > /work/secret; exit 1", network_mode="none", keep_files=keep)[0]["exit_code"] == 1
        about = made.ask({"op": "snapshot", "name": "after"})["snapshot"]
        assert about.get("taint") == ("none" if keep else None), about


@pytest.mark.parametrize("keep", [False, True])
def test_a_snapshot_knows_the_narrowest_that_wrote(images, keep):
    with Session(images, "--allow", KEPT) as made:
        exited, _, err = made.run("sh", "-c", "echo x > /home/sandbox/secret", network_mode="none", keep_files=keep)
        assert exited["exit_code"] == 0, err
        about = made.ask({"op": "snapshot", "name": "after"})["snapshot"]
        assert about.get("taint") == ("none" if keep else None) and about["network_mode"] == "allowlist", about


@pytest.mark.parametrize("freeze", [False, True])
def test_keeping_beside_others(session, freeze):
    pid = session.detach("echo up; while ! test -e /home/sandbox/word; do sleep 0.05; done; cat /home/sandbox/word") if freeze else 0
    if freeze:
        session.await_words(pid)
    exited, _, err = session.run("sh", "-c", "echo told > /home/sandbox/word", network_mode="none", keep_files=True, freeze=freeze)
    assert exited["exit_code"] == 0, (exited, err)
    if freeze:
        assert session.await_exit(pid)[1] == "up\ntold\n"


@pytest.mark.refusal
def test_no_unix_socket_is_its_descriptor(session):
    """P01: descriptors come through one, from whoever holds the other end."""
    ends, pipes = socket.socketpair(), [os.pipe() for _ in range(2)]
    fds = [ends[0].fileno(), pipes[0][1], pipes[1][1]]
    for request, code in (({"network_mode": "none"}, "bad_request"), ({}, None)):
        with session.connect() as connection:
            line = connection.say({"op": "run", "argv": ["true"], **request}, fds).line()
            assert ("started" in line) if code is None else line["error"]["code"] == code, line
            assert code or connection.line()["exited"]["exit_code"] == 0
    for fd in sum(pipes, ()):
        os.close(fd)
    for end in ends:
        end.close()
    assert not events(session, "run.start")


def test_others_are_served_while_its_gateway_has_its_last_words(session):
    """A gateway that says nothing keeps who waits for the run, and nobody else."""
    inside = set(family(session.pid))
    held = Held(session, PYTHON, "-c", CONNECT.replace("print('connected')", "print('connected', flush=True)") + "input()", network_mode="allowlist", network_allowlist=[LOST])
    assert held.words == "" or "connected" in held.words
    [gateway] = [pid for pid in set(family(session.pid)) - inside if open(f"/proc/{pid}/comm").read() == "weir\n"]
    os.kill(gateway, signal.SIGSTOP)
    os.write(held.stdin, b"\n")
    read_all([held.out, held.err])  # it has ended
    late, answers = time.monotonic() + 0.6, 0
    while not select.select([held.connection.socket], [], [], 0)[0]:
        session.show()
        answers += time.monotonic() > late and not select.select([held.connection.socket], [], [], 0)[0]
    assert held.connection.line()["exited"]["exit_code"] == 0 and answers > 0
    os.close(held.stdin)
    held.connection.close()


def test_a_limit_of_it_is_on_the_record(lab):
    with Session(lab, "--allow", KEPT, "--memory", "128M") as made:
        exited, _, err = made.run(PYTHON, "-c", "x = b'x' * (400 << 20); input()", network_mode="none")
        assert exited["exit_code"] in (1, 137), (exited, err)  # refused to it, or more than it may have
        if exited["limits"]:
            [hit] = events(made, "limit")
            assert hit["run"] == 1 and hit["limits"][0]["limit"] == "memory" and exited["duration_ms"] > 0, (hit, exited)
