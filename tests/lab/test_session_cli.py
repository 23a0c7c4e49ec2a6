"""Sessions from the command line: weir session, ps, stop, exec. What the socket itself says is test_session.py."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import stat
import subprocess

import pytest

import world as w
from checks import TWINS
from lab import processes, wait_until
from test_terminal import SIZE, Screen, sh, state

ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def removing(lab):
    """Sessions of the test's own; none is left behind."""
    lab.variables = {**lab.variables, "XDG_STATE_HOME": str(lab.folder / "state")}
    try:
        yield lab
    finally:
        left = [each["id"] for each in json.loads(lab.cli("ps", "-a", "-o", "json").stdout)]
        if left:
            out = lab.cli("session", "rm", *left)
            assert out.code == 0, out
        assert lab.cli("ps", "-a", "-o", "json").stdout == "[]\n"


@pytest.fixture
def owner(lab):
    with removing(lab):
        yield lab


def create(lab, *options):
    out = lab.cli("session", "create", *options)
    assert out.code == 0 and re.fullmatch(r"w-[0-9a-f]{8}\n", out.stdout), out
    return out.stdout.strip()


@pytest.fixture
def demo(owner):
    owner.id = create(owner, "--name", "demo")
    return owner


def own(lab, path):
    os.chown(path, lab.uid, lab.gid)
    return str(path)


# ---- run and exec ----------------------------------------------------------------------------------------------------


def test_run_has_the_callers_descriptors_and_the_commands_exit_code(demo):
    out = demo.cli("session", "run", "demo", "--", "sh", "-c", "cat; echo to-err >&2; exit 3", input="typed\n")
    assert (out.code, out.stdout, out.stderr) == (3, "typed\n", "to-err\n"), out
    out = demo.cli("exec", "demo", "printf", "%s|", "a b", "--", "$(id)")
    assert (out.code, out.stdout) == (0, "a b|--|$(id)|"), out


def test_what_one_leaves_the_next_finds(demo):
    assert demo.cli("exec", "demo", "--", "sh", "-c", "echo kept > ~/file; sleep 300 >/dev/null 2>&1 &").code == 0
    out = demo.cli("exec", demo.id[:6], "--", "sh", "-c", "cat ~/file; pgrep -c sleep")
    assert (out.code, out.stdout) == (0, "kept\n1\n"), out


@pytest.mark.parametrize("script, code", [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)])
def test_exit_codes(demo, script, code):
    assert demo.cli("exec", "demo", "sh", "-c", script).code == code


def test_exit_codes_of_weir(demo):
    out = demo.cli("exec", "demo", "--", "no-such-program")
    assert out.code == 127 and "weir: cannot execute no-such-program" in out.stderr, out
    out = demo.cli("exec", "demo", "--", "/etc")
    assert out.code == 126 and "weir: cannot execute /etc" in out.stderr, out
    out = demo.cli("exec", "--timeout", "300ms", "demo", "--", "sleep", "300")
    assert out.code == 124 and "longer than its --timeout" in out.stderr, out
    assert demo.cli("exec", "demo", "--", "true").code == 0, "the session goes on"


def test_options_of_a_process(demo):
    demo.variables = {**demo.variables, "COPIED": "from the caller"}
    out = demo.cli("exec", "-w", "/tmp", "-e", "COPIED", "-e", "SET=a b", "-e", "ABSENT", "demo", "--", "sh", "-c",
                   'pwd; echo "$COPIED|$SET|${ABSENT-none}|${CANARY_SECRET-none}"')
    assert out.stdout == "/tmp\nfrom the caller|a b|none|none\n" and "ABSENT is not set here" in out.stderr, out
    out = demo.cli("exec", "-o", "json", "demo", "--", "false")
    assert out.code == 1 and json.loads(out.stderr)["exit_code"] == 1, out


@pytest.mark.elsewhere
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_folder_does_not_go_inside(demo, number):
    """Through a descriptor of a folder a process could open what is beside the sandbox. A file goes."""
    def run(path, flags):
        fd = os.open(path, flags)
        stdio = [subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE]
        stdio[number] = fd
        try:
            done = subprocess.run(demo.command([demo.weir, "exec", "demo", "--", "true"]), timeout=30, stdin=stdio[0],
                                  stdout=stdio[1], stderr=stdio[2], text=True)
        finally:
            os.close(fd)
        return done
    done = run("/", os.O_RDONLY)
    assert done.returncode == 125, done
    assert number == 2 or f"descriptor {number} is a folder" in done.stderr, done
    path = demo.folder / "plain"
    path.write_text("")
    assert run(path, os.O_RDWR).returncode == 0


def start(lab, *words, **options):
    return subprocess.Popen(lab.command([lab.weir, *words]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def sleepers(lab):
    return lab.cli("exec", "demo", "--", "pgrep", "-c", "sleep").stdout.strip()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGQUIT, 131)])
def test_signals_are_sent_on(demo, number, code):
    with start(demo, "exec", "demo", "--", "sh", "-c", "echo up; exec sleep 300") as running:
        assert running.stdout.readline() == "up\n"
        running.send_signal(number)
        assert running.wait(20) == code
    assert sleepers(demo) == "0"


def test_a_signal_may_be_handled_inside(demo):
    script = "trap 'echo handled; exit 9' USR1; echo up; while :; do sleep 0.05; done"
    with start(demo, "exec", "demo", "--", "sh", "-c", script) as running:
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGUSR1)
        assert running.wait(20) == 9 and running.stdout.read() == "handled\n"


def test_one_that_ignores_the_end_is_ended(demo):
    with start(demo, "exec", "demo", "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done") as running:
        assert running.stdout.readline() == "up\n"
        running.terminate()
        assert running.wait(20) == 143
    wait_until(lambda: sleepers(demo) == "0", what="the end of what ran")


def test_killed_weir_takes_its_process_along_and_nothing_else(demo):
    demo.cli("exec", "-d", "demo", "--", "sleep", "301")
    with start(demo, "exec", "demo", "--", "sh", "-c", "echo up; exec sleep 300") as running:
        assert running.stdout.readline() == "up\n"
        assert sleepers(demo) == "2"
        running.kill()
    wait_until(lambda: sleepers(demo) == "1", what="the end of what was attached")


# ---- detached --------------------------------------------------------------------------------------------------------


def test_detached_process_is_listed_signalled_and_read(demo):
    out = demo.cli("exec", "-d", "demo", "--", "sh", "-c", "echo one; echo two >&2; exec sleep 300")
    pid = out.stdout.strip()
    assert out.code == 0 and pid.isdigit(), out
    wait_until(lambda: demo.cli("session", "output", "demo", pid).stdout == "one\n", what="its first words")
    wait_until(lambda: demo.cli("session", "output", "demo", pid).stderr == "two\n", what="its second words")
    listed = json.loads(demo.cli("session", "processes", "demo", "-o", "json").stdout)
    assert [(str(each["pid"]), each["argv0"], "exited" in each) for each in listed] == [(pid, "sh", False)], listed
    follower = start(demo, "session", "output", "-f", "demo", pid)
    with follower:
        assert follower.stdout.readline() == "one\n"
        assert demo.cli("session", "signal", "demo", pid).code == 0
        assert follower.wait(20) == 0
    wait_until(lambda: "exit 143" in demo.cli("session", "processes", "demo").stdout, what="its exit code")
    out = demo.cli("session", "signal", "demo", pid, "HUP")
    assert out.code in (0, 125), out


def test_the_name_of_a_program_does_not_speak_to_the_terminal(demo):
    demo.cli("exec", "-d", "demo", "--", "sh", "-c", "exec -a \"$(printf 'x\\033[2Jy\\n')\" sleep 300")
    out = demo.cli("exec", "-d", "demo", "--", "bash", "-c", "ln -s /bin/sleep \"/tmp/$(printf 'a\\033[2Jb')\"; exec sleep 1")
    assert out.code == 0, out
    out = demo.cli("exec", "-d", "demo", "--", "/tmp/a\x1b[2Jb", "300")
    text = demo.cli("session", "processes", "demo").stdout
    assert "\x1b" not in text and all(line.split()[0].isdigit() for line in text.splitlines()[1:]), text


# ---- lists and ends --------------------------------------------------------------------------------------------------


def test_lists_are_for_people_and_for_programs(owner):
    first = create(owner, "--name", "first", "-n", "inbound", "-p", "0:80")
    second = create(owner)
    lines = [line.split() for line in owner.cli("ps").stdout.splitlines()]
    assert lines[0][:3] == ["ID", "NAME", "STATE"], lines
    rows = sorted([[first, "first", "running"], [second, "-", "running"]])
    assert sorted(line[:3] for line in lines[1:]) == rows, lines
    assert owner.cli("session", "ls").stdout.split()[:3] == ["ID", "NAME", "STATE"]
    found = json.loads(owner.cli("ps", "-o", "json").stdout)
    assert {each["id"]: each["network_mode"] for each in found} == {first: "inbound", second: "none"}, found
    shown = json.loads(owner.cli("session", "show", "first", "-o", "json").stdout)
    assert shown["id"] == first and shown["policy"], shown
    text = owner.cli("session", "show", "first").stdout
    assert f"session     {first}\n" in text and "network     inbound, policy " in text, text


def test_rm_and_stop_end_several_and_name_those_that_fail(owner):
    one, two, three = create(owner, "--name", "one"), create(owner), create(owner)
    out = owner.cli("session", "rm", "one", "nobody", two)
    assert out.code == 125 and out.stdout == f"one\n{two}\n" and out.stderr.count("\n") == 1 and "'nobody'" in out.stderr, out
    out = owner.cli("stop", three)
    assert out.code == 0 and out.stdout == f"{three}\n", out
    assert owner.cli("ps", "-o", "json").stdout == "[]\n"
    out = owner.cli("session", "show", one)
    assert out.code == 125 and out.stderr.count("\n") == 1, out


def test_stop_asks_first_and_rm_does_not(owner):
    create(owner, "--name", "asked")
    shared = owner.folder / "shared"
    shared.mkdir()
    own(owner, shared)
    create(owner, "--name", "told", "-v", f"{shared}:/shared")
    script = "trap 'echo asked > /shared/asked; exit' TERM; echo up; while :; do sleep 0.05; done"
    owner.cli("session", "rm", "asked")
    for command, wrote in ((("session", "rm"), False), (("stop",), True)):
        if command == ("stop",):
            create(owner, "--name", "told", "-v", f"{shared}:/shared")
        pid = owner.cli("exec", "-d", "told", "--", "sh", "-c", script).stdout.strip()
        wait_until(lambda: "up" in owner.cli("session", "output", "told", pid).stdout, what="the trap")
        assert owner.cli(*command, "told").code == 0
        assert (shared / "asked").exists() == wrote, command


@pytest.mark.parametrize("words", [("session", "show"), ("session", "run", "--", "nobody", "true"), ("exec", "nobody", "true"),
                                   ("session", "shell", "nobody"), ("session", "processes", "nobody"), ("stop", "nobody"),
                                   ("session", "cp", "nobody:/etc/hostname", "-"), ("session", "cp", "/etc/hostname", "nobody:/x"),
                                   ("session", "narrow", "--net", "none", "nobody"), ("session", "signal", "nobody", "3"),
                                   ("session", "output", "nobody", "3"), ("exec", "demo"), ("session", "signal", "demo", "x"),
                                   ("session", "frob"), ("session", "narrow", "demo"), ("session", "signal", "demo", "9999")])
def test_what_cannot_be_done_is_one_line(demo, words):
    out = demo.cli(*words)
    assert out.code == 125 and out.stdout == "" and out.stderr.startswith("weir: ") and out.stderr.count("\n") == 1, out


def test_the_beginning_of_an_id_that_several_have(owner):
    """Ids are random: sixteen and one share a first digit."""
    made = [create(owner) for _ in range(17)]
    twice = next(each[:3] for each in made if sum(other.startswith(each[:3]) for other in made) > 1)
    out = owner.cli("session", "show", twice)
    assert out.code == 125 and out.stderr.count("\n") == 1, out
    assert owner.cli("session", "show", made[0]).code == 0


def test_sessions_of_another_user_are_not_there(demo):
    """Even who can read the folders (root) is not spoken to by another's command line."""
    done = subprocess.run([*demo.world.host.prefix(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i",
                           f"HOME={demo.folder}", f"XDG_STATE_HOME={demo.folder}/state", demo.weir, "exec", demo.id, "true"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 125 and done.stderr.count("\n") == 1, done


# ---- files -----------------------------------------------------------------------------------------------------------


def test_cp_both_ways_keeps_bytes_and_mode(demo):
    source = demo.folder / "data.bin"
    source.write_bytes(os.urandom(3 << 20))
    source.chmod(0o750)
    own(demo, source)
    for target, lands in (("/tmp/new/folders/x.bin", "/tmp/new/folders/x.bin"), ("/tmp/", "/tmp/data.bin"), ("/tmp/new", "/tmp/new/data.bin")):
        out = demo.cli("session", "cp", str(source), f"demo:{target}")
        assert out.code == 0 and not out.stderr, out
        out = demo.cli("exec", "demo", "--", "stat", "-c", "%a %s %U", lands)
        assert out.stdout == f"750 {3 << 20} sandbox\n", out
    back = demo.folder / "back.bin"
    assert demo.cli("session", "cp", "demo:/tmp/data.bin", str(back)).code == 0
    assert back.read_bytes() == source.read_bytes() and stat.S_IMODE(back.stat().st_mode) == 0o750
    assert demo.cli("session", "cp", "demo:/tmp/new/folders/x.bin", ".").code == 0
    assert (demo.folder / "x.bin").read_bytes() == source.read_bytes()


def test_cp_by_pipes(demo):
    assert demo.cli("session", "cp", "-", "demo:/tmp/typed", input="from a pipe").code == 0
    out = demo.cli("session", "cp", "demo:/tmp/typed", "-")
    assert (out.code, out.stdout) == (0, "from a pipe"), out
    out = demo.cli("session", "cp", "-", "demo:/tmp/", input="x")
    assert out.code == 125 and "name the file" in out.stderr, out


def tree_of(folder):
    return {str(path.relative_to(folder)): (oct(path.lstat().st_mode), os.readlink(path) if path.is_symlink() else
                                            path.read_bytes() if path.is_file() else None)
            for path in sorted(pathlib.Path(folder).rglob("*"))}


def test_cp_of_folders_both_ways(demo):
    source = demo.folder / "tree"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "script").write_text("#!/bin/sh\necho ran\n")
    (source / "deep" / "er" / "script").chmod(0o755)
    (source / "large").write_bytes(os.urandom(1 << 20))
    (source / "link").symlink_to("deep/er")
    for path in [source, *source.rglob("*")]:
        os.chown(path, demo.uid, demo.gid, follow_symlinks=False)
    assert demo.cli("session", "cp", str(source), "demo:/tmp/new/tree").code == 0, "a target that is not there becomes the folder"
    assert demo.cli("session", "cp", str(source), "demo:/tmp").code == 0, "one that is there takes it below its name"
    assert demo.cli("session", "cp", f"{source}/.", "demo:/tmp/flat").code == 0
    out = demo.cli("exec", "demo", "--", "sh", "-c", "/tmp/new/tree/link/script; /tmp/tree/deep/er/script; /tmp/flat/deep/er/script")
    assert out.stdout == "ran\nran\nran\n", out
    assert demo.cli("session", "cp", "demo:/tmp/new/tree", "back").code == 0
    assert demo.cli("session", "cp", "demo:/tmp/tree", "back/").code == 0
    assert tree_of(demo.folder / "back" / "tree") == tree_of(source)
    for path in (demo.folder / "back").rglob("*"):
        assert path.lstat().st_uid == demo.uid, path
    done = subprocess.run(demo.command([demo.weir, "session", "cp", "demo:/tmp/tree", "-"]), capture_output=True, timeout=30)
    listed = subprocess.run(["tar", "-tf", "-"], input=done.stdout, capture_output=True, check=True).stdout.decode()
    assert "deep/er/script" in listed.split(), listed


@pytest.mark.elsewhere
def test_cp_of_a_folder_writes_nothing_through_its_links(demo):
    """attacks P01: what is copied out is the guest's. A link lands as a link, and what lies there already leads nowhere."""
    victim = demo.folder / "victim"
    victim.mkdir()
    own(demo, victim)
    demo.cli("exec", "demo", "--", "sh", "-c", f"mkdir -p /tmp/a/sub; echo evil > /tmp/a/sub/file; ln -s {victim} /tmp/a/out")
    assert demo.cli("session", "cp", "demo:/tmp/a", "got").code == 0
    assert (demo.folder / "got" / "out").is_symlink() and not list(victim.iterdir())
    (demo.folder / "got" / "sub" / "file").unlink()
    (demo.folder / "got" / "sub").rmdir()
    (demo.folder / "got" / "sub").symlink_to(victim)
    out = demo.cli("session", "cp", "demo:/tmp/a/.", "got")
    assert not list(victim.iterdir()), out


def test_cp_of_what_is_not_there_leaves_nothing(demo):
    out = demo.cli("session", "cp", "demo:/tmp/absent", str(demo.folder / "target"))
    assert out.code == 125 and out.stderr.count("\n") == 1, out
    assert not (demo.folder / "target").exists()
    out = demo.cli("session", "cp", str(demo.folder / "absent"), "demo:/tmp/target")
    assert out.code == 125 and "absent" in out.stderr, out
    assert demo.cli("exec", "demo", "--", "test", "-e", "/tmp/target").code == 1


@pytest.mark.elsewhere
def test_cp_does_not_leave_the_sandbox_by_a_link(demo):
    """attacks P01: links inside are followed inside."""
    secret = demo.folder / "secret"
    secret.write_text("of the host")
    demo.cli("exec", "demo", "--", "sh", "-c", f"ln -s {secret} /tmp/out; ln -s ../../../../..{secret} /tmp/up; echo in > /tmp/in; ln -s in /tmp/link")
    for name in ("out", "up"):
        out = demo.cli("session", "cp", f"demo:/tmp/{name}", "-")
        assert out.code == 125 and "of the host" not in out.stdout, out
        demo.cli("session", "cp", "-", f"demo:/tmp/{name}", input="written")
        assert secret.read_text() == "of the host"
    assert demo.cli("session", "cp", "demo:/tmp/link", "-").stdout == "in\n"


def test_cp_out_replaces_a_file_whole_and_follows_no_folder_link_of_the_guests(demo):
    target = demo.folder / "there"
    target.write_text("before")
    own(demo, target)
    demo.cli("session", "cp", "-", "demo:/tmp/new", input="after")
    assert demo.cli("session", "cp", "demo:/tmp/new", str(target)).code == 0
    assert target.read_text() == "after" and target.stat().st_uid == demo.uid
    assert sorted(path.name for path in demo.folder.iterdir() if path.name.startswith(".there")) == []


# ---- services --------------------------------------------------------------------------------------------------------


def test_a_service_from_its_making_to_its_end(owner):
    script = "echo begun; exec python3 -u -m http.server 80"
    out = owner.cli("service", "create", "--name", "web", "-p", "127.0.0.1:0:80", "--bootstrap", script)
    assert out.code == 0 and not out.stderr, out
    create(owner, "--name", "plain")
    found = json.loads(owner.cli("service", "ls", "-o", "json").stdout)
    assert [each["name"] for each in found] == ["web"], found
    wait_until(lambda: "healthy" in owner.cli("service", "ls").stdout.split(), what="its health")
    port = found[0]["ports"][0].split(":")[1]
    reply = subprocess.run(owner.command(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{port}/"]),
                           capture_output=True, text=True, timeout=30)
    assert reply.stdout == "200", reply
    out = owner.cli("exec", "-d", "web", "--", "echo", "not of the service")
    out = owner.cli("service", "logs", "web")
    assert "begun" in out.stdout and "not of the service" not in out.stdout, out
    first = json.loads(owner.cli("service", "show", "web", "-o", "json").stdout)["service"]["pid"]
    assert owner.cli("session", "signal", "web", str(first), "KILL").code == 0
    def now():
        return json.loads(owner.cli("service", "show", "web", "-o", "json").stdout)["service"]
    wait_until(lambda: now()["restarts"] == 1 and now()["pid"] != first, what="its second life")
    out = owner.cli("service", "rm", "plain")
    assert out.code == 125 and "is no service" in out.stderr, out
    assert owner.cli("service", "show", "plain").code == 125 and owner.cli("service", "logs", "plain").code == 125
    assert owner.cli("service", "rm", "web").stdout == "web\n"
    assert owner.cli("service", "ls", "-o", "json").stdout == "[]\n"


def test_a_service_serves_something(owner):
    out = owner.cli("service", "create", "--name", "web")
    assert out.code == 125 and "--bootstrap" in out.stderr and out.stderr.count("\n") == 1, out


# ---- narrower --------------------------------------------------------------------------------------------------------


@TWINS
def test_narrow_holds_for_what_runs_next(owner, verdict):
    create(owner, "--name", "net", "--allow", w.EVIL4, "--allow", w.ALLOWED4, "--no-proxy-env")
    out = owner.cli("session", "narrow", "--allow", w.EVIL4 if verdict == "allow" else w.ALLOWED4, "net")
    assert out.code == 0 and "is in force, generation 2" in out.stdout, out
    out = owner.cli("exec", "net", "--", "python3", "-c",
                    f"import socket\ntry:\n  socket.create_connection(({w.EVIL4!r}, 80), 5)\n  print('OK')\n"
                    "except OSError as error:\n  print(error.errno)")
    events = [json.loads(line) for line in pathlib.Path(json.loads(owner.cli("session", "show", "net", "-o", "json").stdout)
                                                        ["events"]).read_text().splitlines()]
    refused = [event for event in events if event["type"] == "flow.refuse" and event.get("dst") == w.EVIL4]
    if verdict == "allow":
        assert out.stdout == "OK\n" and owner.world.packets_to(w.EVIL4, 80) > 0 and not refused, (out, refused)
    else:
        assert out.stdout == "111\n" and owner.world.packets_to(w.EVIL4, 80) == 0, out
        assert len(refused) == 1 and f"weir: refused {w.EVIL4}:80" in out.stderr, (out, refused)


@pytest.mark.elsewhere
def test_narrow_never_widens(owner):
    create(owner, "--name", "net", "--allow", w.ALLOWED4)
    out = owner.cli("session", "narrow", "--net", "open", "net")
    assert out.code == 125 and out.stderr.count("\n") == 1, out
    assert json.loads(owner.cli("session", "show", "net", "-o", "json").stdout)["generation"] == 1


# ---- terminals -------------------------------------------------------------------------------------------------------


@pytest.fixture
def screen(owner):
    create(owner, "--name", "demo")
    made = Screen(owner)
    try:
        yield made
    finally:
        made.close()


def test_shell_on_a_terminal(screen):
    before = screen.answer("stty -g")
    screen.type("weir session shell demo")
    screen.wait("sandbox@")
    screen.type("tty; echo $TERM-$((6*7)); stty size")
    screen.wait("-42")
    assert "/dev/pts/" in screen.text()
    screen.type("sleep 300")
    screen.keys("C-c")
    screen.type("echo alive-''$?")
    screen.wait("alive-130")
    screen.type("exit 5")
    assert screen.answer("echo $?") == "5"
    assert screen.answer("stty -g") == before


def test_size_and_resize(screen):
    screen.type("weir exec -it demo -- python3 -c " + shlex.quote(SIZE))
    screen.wait("size 80 24")
    screen.tmux("resize-window", "-x", "101", "-y", "31")
    screen.wait("size 101 31")
    screen.keys("C-c")
    screen.back_from("KeyboardInterrupt")


def test_interrupt_without_a_terminal_of_its_own(screen):
    screen.type("weir exec demo -- " + sh("echo up; exec sleep 300"))
    screen.wait("\nup")
    screen.keys("C-c")
    assert screen.answer("echo $?") == "130"


def inside(lab, name):
    """Host pids of programs below supervisors of this lab."""
    table = processes()
    return [pid for pid, (_, each) in table.items() if each == name]


@pytest.mark.parametrize("terminal", ["", "-t"])
def test_suspending_weir_itself(screen, terminal):
    before = screen.answer("stty -g")
    screen.type(f"weir exec {terminal} demo -- " + sh("echo up; exec sleep 4711"))
    screen.wait("\nup")
    weir = screen.weir_pid()
    wait_until(lambda: inside(screen.lab, "sleep"), what="the command")
    command = inside(screen.lab, "sleep")[-1]
    if terminal:
        os.kill(weir, signal.SIGTSTP)
    else:
        screen.keys("C-z")
    screen.wait("Stopped")
    wait_until(lambda: state(weir) == "T" and state(command) == "T", what="the stop of both")
    assert screen.answer("stty -g") == before
    screen.type("fg")
    wait_until(lambda: state(weir) == "S" and state(command) == "S", what="the continuation of both")
    screen.keys("C-c")
    assert screen.answer("echo $?") == "130"
    assert screen.answer("stty -g") == before


def test_a_session_of_ones_own_ends_with_its_shell(owner):
    made = Screen(owner)
    try:
        made.type("weir session --name mine -e COLOUR=blue")
        made.wait("sandbox@")
        assert [each["name"] for each in json.loads(owner.cli("ps", "-o", "json").stdout)] == ["mine"]
        made.type("echo its-$COLOUR; exit 4")
        made.wait("its-blue")
        assert made.answer("echo $?") == "4"
        assert owner.cli("ps", "-a", "-o", "json").stdout == "[]\n"
    finally:
        made.close()


def test_shell_without_a_terminal(demo):
    out = demo.cli("session", "shell", "demo", input="echo $((6 * 7)); exit 6\n")
    assert (out.code, out.stdout) == (6, "42\n"), out
    out = demo.cli("session", "--name", "other", input="echo $WEIR; exit 7\n")
    assert (out.code, out.stdout) == (7, "1\n"), out
    assert [each["name"] for each in json.loads(demo.cli("ps", "-o", "json").stdout)] == ["demo"]


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_does_as_it_says(owner):
    """docs/sessions.md: its commands, one after the other; under a command the lines it prints, where they are certain."""
    page = (ROOT / "docs/sessions.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", page, re.S)
    assert blocks
    folder = owner.folder / "work"
    folder.mkdir()
    (folder / "in.csv").write_text("1,2\n3,4\n")
    for path in (folder, folder / "in.csv"):
        own(owner, path)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, expected = part.partition("\n")
            command = command.split("  #")[0]
            done = subprocess.run(owner.command(["env", f"PATH={os.path.dirname(owner.weir)}:/usr/bin:/bin", "sh", "-c", f"cd {folder} && {command}"]),
                                  capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, (command, done)
            pattern = "".join(".*" if each == "..." else re.escape(each) for each in re.split(r"(\.\.\.)", expected))
            assert re.fullmatch(pattern, done.stdout + done.stderr, re.S), (command, done)
