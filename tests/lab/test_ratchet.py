"""The ratchet: a narrower policy that a sandbox enters once and never leaves. attacks.md Q06, C07."""

import json
import os
import signal

import pytest

import world as w
from checks import REFUSE, TWINS, at
from lab import processes, wait_until
from test_clients import ca, make_wheel  # noqa: F401
from test_control import TWO_FLOWS, ask, closes_of

KEPT, LOST = at(w.ALLOWED4, 7), at(w.EVIL4, 7)

SEAL = """
import select
seal = socket.socket(fileno=int(os.environ['WEIR_SEAL']))
seal.settimeout(10)
def said_so(what=b'x'):
    try:
        seal.sendall(what); return seal.recv(4096).decode()
    except OSError as error: return name_of(error)
"""


def policy(after):
    return f"version = 1\nallow = ['{KEPT}', '{LOST}']\n[after]\n{after}\n"


class Live:
    """A sandbox with an [after] that does what it is told. `kept`, `lost`: flows that echo."""

    def __init__(self, lab, after="--after none", guest=SEAL + TWO_FLOWS, extra=(), **options):
        self.lab = lab
        if after.startswith("--after"):
            options.setdefault("allow", [KEPT, LOST])
            extra = [*extra, *after.split()]
        else:
            options["policy"] = policy(after)
        self.run = lab.start(guest=guest, extra=extra, **options)
        self.first = self.run.line()

    @property
    def socket(self):
        [name] = os.listdir(self.folder)
        return f"{self.folder}/{name}"

    @property
    def folder(self):
        return self.lab.folder / ".local/state/weir/live"

    @property
    def id(self):
        return os.path.basename(self.socket)

    def seal(self, *more):
        return self.lab.cli("seal", *more, self.id)

    def do(self, python):
        self.run.say(python)
        return json.loads(self.run.line())

    def end(self):
        self.run.process.stdin.close()
        self.run.process.stdin = None
        return self.run.finish()

    def __enter__(self):
        assert self.first == '["x", "x"]', self.run.finish()
        return self

    def __exit__(self, *_):
        self.run.kill()


def update_of(out, cause):
    """The one change of the policy."""
    [changed] = out.of_type("policy.update")
    assert (changed["cause"], changed["generation"]) == (cause, 2), out
    return changed


def by_seal(live):
    out = live.seal()
    assert out.code == 0 and "is sealed" in out.stdout, out


def by_descriptor(live):
    assert json.loads(live.do("said_so()"))["generation"] == 2


TRIGGERS = {"seal": by_seal, "descriptor": by_descriptor}


@TWINS
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_after_takes_away(lab, verdict, trigger):
    """Reachable before; after it: the flow that stands is reset, a new one refused; what [after] allows goes on."""
    both = f"allow = ['{KEPT}', '{LOST}']"
    with Live(lab, both if verdict == "allow" else f"allow = ['{KEPT}']") as live:
        TRIGGERS[trigger](live)
        seen = live.do("heard(lost)" if verdict != "allow" else "said(lost, b'on')")
        before = lab.world.packets_to(w.EVIL4, 7)
        new = live.do(f"tcp({w.EVIL4!r}, 7)['connect']")
        arrived = lab.world.packets_to(w.EVIL4, 7) - before
        assert live.do("said(kept, b'still')") == "still"
        out = live.end()
    update_of(out, trigger)
    if verdict == "allow":
        assert (seen, new) == ("on", "OK") and arrived > 0 and not out.refusals(), (seen, new, out)
        return
    assert (seen, new, arrived) == ("ECONNRESET", "ECONNREFUSED", 0), (seen, new, arrived, out)
    [refused] = out.refusals(dst=w.EVIL4)
    assert refused["generation"] == 2 and refused["reason"] == "no-rule" and refused["rule"]["layer"] == "run", out
    [closed] = out.of_type("flow.close", dst=w.EVIL4)
    assert closed["error"] == "ECONNABORTED" and closed["bytes_up"] == 1, out


def test_the_answer_means_that_it_holds(lab):
    """The line comes when the gateway has let go, and whoever reads later gets the end at once."""
    with Live(lab) as live:
        answer = json.loads(live.do("said_so()"))
        assert answer["generation"] == 2 and answer["cut"] == 2, answer
        before = lab.world.packets_to(w.ALLOWED4, 7), lab.world.packets_to(w.EVIL4, 7)
        assert live.do("[said_so(), said_so(b'x' * 10)]") == ["", ""]
        assert live.do(f"[tcp({w.ALLOWED4!r}, 7)['connect'], dns('allowed.test')['addresses']]") == ["ECONNREFUSED", []]
        assert before[0] == lab.world.packets_to(w.ALLOWED4, 7) and before[1] == lab.world.packets_to(w.EVIL4, 7)
        again = live.seal("--json")
        assert again.code == 0 and json.loads(again.stdout)["generation"] == 2, again
        out = live.end()
    assert update_of(out, "descriptor")["policy"] == answer["policy"], out


# What hostile code may do with the descriptor; nothing of it opens anything, and `weir seal` still works.
ABUSES = {
    "closed": "seal.close()",
    "half-closed": "seal.shutdown(socket.SHUT_WR)",
    "shut": "seal.shutdown(socket.SHUT_RDWR)",
    "other-options": "[seal.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30), "
                     "seal.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)] and 0",
}


@pytest.mark.parametrize("abuse", ABUSES)
def test_no_byte_is_no_seal(lab, abuse):
    with Live(lab) as live:
        live.do(f"({ABUSES[abuse]}) and 0")
        assert live.do("[said(kept), said(lost)]") == ["x", "x"]
        assert live.seal().code == 0
        assert live.do("heard(lost)") == "ECONNRESET"
        update_of(live.end(), "seal")


def test_a_flood_of_the_descriptor(lab):
    """Bytes and descriptors without end: bounded by the kernel, and heard as one."""
    flood = """exec('''
seal.setblocking(False)
lingers = socket.create_connection((%r, 7)); lingers.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 3600))
try:
    for i in range(100000):
        socket.send_fds(seal, [b'x' * 1000], [lingers.fileno()] * 10)
except OSError as error: pass
lingers.close()
''')""".replace("\n", "\\n") % w.ALLOWED4
    with Live(lab) as live:
        live.do(flood)
        wait_until(lambda: closes_of(lab, w.EVIL4), what="the reset")
        assert live.do("heard(lost)") == "ECONNRESET"
        assert live.seal().code == 0
        update_of(live.end(), "descriptor")


def test_sockets_that_linger_in_the_descriptor(lab):
    """Closing them would take an hour: weir ends all the same."""
    stuck = """exec('''
listener = socket.create_server(('127.0.0.1', 9)); one = socket.create_connection(('127.0.0.1', 9)); other = listener.accept()[0]
one.setblocking(False); one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 3600))
try:
    while True: one.send(bytes(65536))
except BlockingIOError: pass
socket.send_fds(seal, [b'x'], [one.fileno(), other.fileno()])
''')""".replace("\n", "\\n")
    with Live(lab) as live:
        live.do(stuck)
        assert live.do("heard(lost)") == "ECONNRESET"
        live.run.say("os._exit(7)")
        assert live.run.finish(timeout=10).code == 7


def test_the_descriptor_passed_on(lab):
    """To a child, which has it when it is told so; and it is all that a command inherits."""
    guest = SEAL + TWO_FLOWS.replace("for line in", """
import subprocess
def child(code, **more):
    return subprocess.run([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, **more).stdout.strip()
for line in""", 1)
    with Live(lab, guest=guest) as live:
        count = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])"
        assert live.do(f"child({count!r}, pass_fds=[3])") == "[0, 1, 2, 3]"
        assert live.do("child('import os; os.set_blocking(3, True); os.write(3, bytes(1)); print(os.read(3, 99)[:15].decode())', pass_fds=[3])") == '{"generation":2'
        update_of(live.end(), "descriptor")


def test_seal_of_what_is_not_there(lab):
    out = lab.cli("seal", "w-00000000")
    assert out.code == 125 and "no sandbox w-00000000" in out.stderr, out
    out = lab.cli("seal", "build-7")
    assert out.code == 125 and "no id" in out.stderr, out
    with Live(lab) as live:
        path = live.socket
        # A weir that was killed leaves the name; nobody answers there.
        live.run.kill()
    assert os.path.exists(path)
    out = lab.cli("seal", os.path.basename(path))
    assert out.code == 125 and os.path.exists(path), "one that was made just now may be about to be listened at"
    os.utime(path, (0, 0))
    out = lab.cli("seal", os.path.basename(path))
    assert out.code == 125 and "it has ended" in out.stderr and not os.path.exists(path), out


def test_the_socket_of_weir_seal(lab):
    """0600 in a folder of 0700, this user's alone; it seals and does nothing else; and it goes with the sandbox."""
    with Live(lab) as live:
        assert os.stat(live.socket).st_mode & 0o777 == 0o600 and os.stat(live.folder).st_mode & 0o777 == 0o700
        assert os.stat(live.socket).st_uid == lab.uid
        narrow = {"op": "narrow", "network_mode": "none"}
        assert ask(lab, live.socket, narrow)["error"]["code"] == "forbidden"
        assert ask(lab, live.socket, {"op": "show"})["generation"] == 1
        path = live.socket
        os.chmod(path, 0o777)
        os.chmod(live.folder, 0o755)
        for folder in (lab.folder / ".local/state/weir", lab.folder / ".local/state", lab.folder / ".local", lab.folder):
            os.chmod(folder, 0o755)
        other = 4242 if lab.uid == 0 else 0
        assert ask(lab, path, {"op": "seal"}, uid=other)["error"]["code"] == "forbidden"
        assert live.do("[said(kept), said(lost)]") == ["x", "x"]
        assert ask(lab, path, {"op": "seal"})["generation"] == 2  # the twin
        live.end()
        assert not os.path.exists(path)


@pytest.mark.parametrize("has", ["after", "nothing"])
def test_the_control_socket_seals_too(lab, has):
    path = str(lab.folder / "c.sock")
    extra = ["--control", path, *(["--after", "none"] if has == "after" else [])]
    with lab_start(lab, extra) as run:
        answer = ask(lab, path, {"op": "seal"})
        if has == "nothing":
            assert answer["error"]["code"] == "nothing_to_enter", answer
            assert not os.path.exists(lab.folder / ".local/state/weir/live")
            run.say("'WEIR_SEAL' in os.environ")
            assert run.line() == "false"
        else:
            assert answer["generation"] == 2, answer
            assert ask(lab, path, {"op": "narrow", "network_mode": "none"})["generation"] == 3


class lab_start:
    def __init__(self, lab, extra):
        self.run = lab.start(guest=TWO_FLOWS, allow=[KEPT, LOST], extra=extra)

    def __enter__(self):
        assert self.run.line() == '["x", "x"]'
        return self.run

    def __exit__(self, *_):
        self.run.kill()


def test_narrowed_before(lab):
    """Narrowing leaves room for [after], and may have taken what [after] allows: entering works all the same."""
    path = str(lab.folder / "c.sock")
    with Live(lab, f"allow = ['{LOST}']", extra=["--control", path]) as live:
        keep = {"op": "narrow", "network_allowlist": [KEPT]}
        answers = [ask(lab, path, keep) for _ in range(31)]
        assert [answer.get("generation") for answer in answers[:29]] == list(range(2, 31)), answers[-3:]
        assert all("is kept for its [after]" in answer["error"]["message"] for answer in answers[29:]), answers[-3:]
        assert live.do("said(kept)") == "x"
        assert json.loads(live.do("said_so()"))["generation"] == 31
        assert live.do("[heard(kept), heard(lost)]") == ["ECONNRESET", "ECONNRESET"]
        live.end()


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_cannot_be_recorded_ends_the_sandbox(lab, trigger):
    """Never: goes on unsealed."""
    small = lab.folder / "small"
    small.mkdir()
    lab.world.host.sh(f"mount -t tmpfs -o size=256k,mode=777 small {small}")
    events = small / "events.jsonl"
    try:
        with Live(lab, events=None, extra=["--events", str(events)]) as live:
            lab.world.host.run(["sh", "-c", f"cat /dev/zero > {small}/fill"])
            # The block that the file already owns may still hold a few lines.
            lab.world.host.run(["sh", "-c", f"truncate -s 4096 {events} 2>/dev/null; true"])
            if trigger == "seal":
                assert live.seal().code == 125
            else:
                live.run.say("said_so()")
            out = live.run.finish()
    finally:
        lab.world.host.sh(f"umount -l {small}")
    assert out.code == 125 and "[after] cannot be entered" in out.stderr and not out.stdout.strip(), out


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_gateway_that_does_not_follow(lab, how, trigger):
    with Live(lab) as live:
        [gateway] = [pid for pid, role in live.run.family().items() if role == "weir-gateway"]
        name = live.id  # without a gateway it may be gone at once
        os.kill(gateway, how)
        if trigger == "seal":
            assert lab.cli("seal", name).code == 125
        else:
            live.run.say("said_so()")
        out = live.run.finish()
    assert out.code == 125 and not out.stdout.strip(), out
    assert "gateway" in out.stderr, out


WRONG = {
    "wider": ("mode = 'open'", "cannot_widen"),
    "another": (f"allow = ['{at(w.SHARED4, 80)}']", "cannot_widen"),
    "name-servers": ("mode = 'none'\n[after.dns]\nupstream = ['9.9.9.9']", "unknown key 'dns' in [after]"),
    "ports": ("mode = 'none'\n[after.publish]\ntcp = ['1:1']", "unknown key 'publish' in [after]"),
    "lists": ("mode = 'public'\ndeny_lists = ['x']", "unknown key 'deny_lists' in [after]"),
    "host": ("mode = 'host'", "cannot_widen"),
    "twice": ("mode = 'none'\n[after.after]\nmode = 'none'", "unknown key 'after' in [after]"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_starts_nothing(lab, what):
    after, why = WRONG[what]
    out = lab.run("true", policy=policy(after))
    assert out.code == 125 and why in out.stderr and "policy.toml:" in out.stderr, out
    assert not out.events, out
    assert lab.run("true", policy=policy("mode = 'none'")).code == 0  # the twin


@pytest.mark.parametrize("flags", [["--after", "none"], ["-n", "host", "--i-trust-this-code", "--after", "none"],
                                   ["-n", "inbound", "--after", "none"]])
def test_nothing_that_could_be_taken_away(lab, flags):
    out = lab.run("true", extra=flags)
    assert out.code == 125 and "after" in out.stderr, out


# --- --sensitive: what is seen of a file that is opened

SECRET = "the customer's data"
READ = {
    "open": "open(A).read()",
    "o-path": "open(f'/proc/self/fd/{os.open(A, os.O_PATH)}').read()",
    "nonblock": "spin(A)",
    "mmap": "bytes(mmap.mmap(os.open(A, os.O_RDONLY), 0, prot=mmap.PROT_READ)).decode()",
    "thread": "in_thread(lambda: open(A).read())",
    "child": "subprocess.check_output(['cat', A], text=True)",
    "execve": "subprocess.check_output([RUN], text=True)",
    "symlink": "(os.symlink(A, '/tmp/link'), open('/tmp/link').read())[1]",
    "sendfile": "sent(A)",
    "copy": "(shutil.copyfile(A, '/tmp/copy'), open('/tmp/copy').read())[1]",
    "folder": "open(os.open('a', os.O_RDONLY, dir_fd=os.open('/data', os.O_PATH | os.O_DIRECTORY))).read()",
    "working-folder": "(os.chdir('/data'), open('./../data//a').read())[1]",
}
WRITE = {
    "open-for-append": "(open(A, 'a').close(), open(A).read())[1]",
    "hard-link": "(os.link(A, '/data/b'), open('/data/b').read())[1]",
    "rename": "(os.rename(A, '/data/z'), open('/data/z').read())[1]",
    "rename-folder": "(os.rename('/data/sub', '/data/other'), open('/data/other/a').read())[1]",
    "exchange": "(os.rename('/data/harmless', '/data/y'), os.rename(A, '/data/harmless'), open('/data/harmless').read())[2]",
    "truncate": "(os.truncate(A, 17), open(A).read() + 'ta')[1]",
    "chmod": "(os.chmod(A, 0o600), open(A).read())[1]",
}
FORMS = [pytest.param(form, trick, id=f"{form}-{trick}") for form, tricks in
         (("ro", READ), ("rw", WRITE | {"open": READ["open"]}), ("overlay", WRITE | {"open": READ["open"], "execve": READ["execve"]}))
         for trick in tricks if (form, trick) != ("overlay", "rename-folder")]  # EXDEV, as overlays have it

GUEST = TWO_FLOWS.replace("for line in", """
import mmap, shutil, subprocess, threading
A, RUN = '/data/a', '/data/run'
def spin(path):
    while True:
        try: return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK)).read()
        except BlockingIOError: pass
def in_thread(what):
    got = []
    thread = threading.Thread(target=lambda: got.append(what())); thread.start(); thread.join()
    return got[0]
def sent(path):
    with open(path) as file:
        try: os.sendfile(lost.fileno(), file.fileno(), 0, 100)
        except OSError: pass
        return file.read()
for line in""", 1)


class Data:
    """A folder of the caller's with data in it: /data inside."""

    def __init__(self, lab, form="ro"):
        self.folder = lab.folder / "customer"
        (self.folder / "sub").mkdir(parents=True)
        for name in ("a", "sub/a", "harmless"):
            (self.folder / name).write_text(SECRET)
        (self.folder / "run").write_text(f"#!/bin/sh\necho \"{SECRET}\"\n")
        (self.folder / "run").chmod(0o755)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, lab.uid, lab.gid)
        self.share = ["-v", f"{self.folder}:/data" + ("" if form == "rw" else f":{form}")]

    def sensitive(self, *names):
        return [*self.share, *(word for name in names for word in ("--sensitive", str(self.folder / name)))]


@TWINS
@pytest.mark.parametrize("form, trick", FORMS)
def test_no_byte_before_the_network_is_gone(lab, form, trick, verdict):
    """The content is read, as it is sensitive or not; it is sent only where it is not."""
    data = Data(lab, form)
    names = ["harmless"] if verdict == "allow" else ["a", "run", "sub"]
    if verdict == "allow" and trick == "exchange":
        names = ["run"]
    expression = (READ | WRITE)[trick]
    with Live(lab, guest=GUEST, extra=data.sensitive(*names)) as live:
        # Names, sizes and times are no open.
        assert live.do("[len(os.listdir('/data')), os.stat('/data/a').st_size, said(kept), said(lost)]") == \
            [4, len(SECRET), "x", "x"]
        before = lab.world.packets.payload_to(w.ALLOWED4, 7) + lab.world.packets.payload_to(w.EVIL4, 7)
        content, answer, other = live.do(f"[content := {expression}, said(kept, content.encode()), "
                                         f"said(lost, b'y')]")
        after = lab.world.packets.payload_to(w.ALLOWED4, 7) + lab.world.packets.payload_to(w.EVIL4, 7)
        assert content.strip() == SECRET, content
        out = live.end()
    if verdict == "allow":
        assert answer == content and after > before and not out.of_type("policy.update"), (answer, out)
        return
    assert answer in ("ECONNRESET", "EPIPE") and other in ("ECONNRESET", "EPIPE"), (answer, other, out)
    assert after == before, out
    changed = update_of(out, "sensitive")
    assert changed["path"].startswith(str(data.folder)) and changed["mode"] == "none", out
    assert {event["error"] for event in out.of_type("flow.close")} == {"ECONNABORTED"}, out


def test_the_host_opens_it(lab):
    """On the safe side: who opens it outside is waited for as well, and gets it."""
    data = Data(lab)
    with Live(lab, guest=GUEST, extra=data.sensitive(".")) as live:
        assert (data.folder / "sub/a").read_text() == SECRET
        assert live.do("heard(kept)") == "ECONNRESET"
        assert update_of(live.end(), "sensitive")["path"] == str(data.folder / "sub/a")


def test_sealed_before_it_is_opened(lab):
    data = Data(lab)
    with Live(lab, guest=SEAL + GUEST, extra=data.sensitive("a")) as live:
        assert live.seal().code == 0
        assert live.do("[open(A).read(), open(RUN).read()[:9], said(kept)]")[:2] == [SECRET, "#!/bin/sh"]
        update_of(live.end(), "seal")


LEAKS = GUEST.replace("for line in", """
def leak(path):
    content = open(path).read()
    open('/data/harmless', 'w').write('LEAKED ' + content)
    return content
for line in""", 1)


def processes_of(live):
    family = live.run.family()
    return {role: [pid for pid, each in family.items() if each == role] for role in set(family.values())}


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("who", ["weir-gateway", "supervisor", "weir-guard", "both"])
def test_whoever_fails_at_the_moment(lab, who, how):
    """The open never returns in a sandbox that lives and is not sealed."""
    if who == "weir-guard" and how == signal.SIGSTOP:
        pytest.skip("test_a_guard_that_stands_still")
    data = Data(lab, "rw")
    with Live(lab, guest=LEAKS, extra=data.sensitive("a")) as live:
        family = processes_of(live)
        init = family["weir-init"][0]
        targets = ["weir-gateway", "supervisor"] if who == "both" else [who]
        if who == "supervisor" and how == signal.SIGKILL:
            os.kill(family["weir-gateway"][0], signal.SIGSTOP)  # the open waits when the supervisor dies
            live.run.say("leak(A)")
            wait_until(lambda: "policy.update" in open(live.run.events_path).read(), what="the open")
        for target in targets:
            os.kill(family[target][0], how)
        if not (who == "supervisor" and how == signal.SIGKILL) and live.run.process.poll() is None:
            try:
                live.run.say("leak(A)")
            except BrokenPipeError:
                pass  # it is over already
        wait_until(lambda: init not in processes(), seconds=20, what="the end of the sandbox")
        if how == signal.SIGSTOP:
            os.kill(live.run.pid, signal.SIGCONT)
        out = live.run.finish()
        if who == "supervisor" and how == signal.SIGKILL:
            assert out.code == -signal.SIGKILL
        else:
            assert out.code != 0, out
    assert SECRET not in out.stdout and (data.folder / "harmless").read_text() == SECRET, out
    wait_until(lambda: not processes().keys() & {pid for pids in family.values() for pid in pids},
               what="the end of everybody")
    assert (data.folder / "a").read_text() == SECRET  # and the host does not wait


def test_a_guard_that_stands_still(lab):
    """The supervisor looks as well: the sandbox is sealed before the kernel loses its patience with the lease."""
    data = Data(lab, "rw")
    with Live(lab, guest=LEAKS, extra=data.sensitive("a")) as live:
        [guard] = processes_of(live)["weir-guard"]
        os.kill(guard, signal.SIGSTOP)
        live.run.say("leak(A)")
        wait_until(lambda: "policy.update" in open(live.run.events_path).read(), seconds=20, what="the seal")
        os.kill(guard, signal.SIGCONT)
        assert json.loads(live.run.line()) == SECRET
        assert live.do("heard(kept)") == "ECONNRESET"
        update_of(live.end(), "sensitive")


@pytest.mark.parametrize("form", ["rw", "ro"])
def test_the_socket_of_weir_seal_lies_in_no_share(lab, form):
    """Who could put a socket of his own there would answer for the sandbox."""
    state = lab.folder / ".local/state"
    (state / "weir").mkdir(parents=True)
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {lab.folder}/.local")
    share = ["-v", f"{state}:/h:{form}", "--share-sockets"]
    out = lab.run("true", allow=[KEPT], extra=["--after", "none", *share])
    assert out.code == 125 and "weir seal" in out.stderr, out
    assert lab.run("true", allow=[KEPT], extra=["--after", "none"]).code == 0


def test_what_cannot_be_seen_starts_nothing(lab):
    data = Data(lab)

    def refused(why, *extra, after=("--after", "none")):
        out = lab.run("true", allow=[KEPT], extra=[*after, *extra], events=None)
        assert out.code == 125 and "--sensitive" in out.stderr and why in out.stderr, out

    path = str(data.folder / "a")
    refused("lies in no share", "--sensitive", path)
    refused("no [after]", *data.sensitive("a"), after=())
    refused("could be copied", "-v", f"{data.folder}:/data:copy", "--sensitive", path)
    refused("could be copied", *data.share, "-v", f"{data.folder}/sub:/sub:copy", "--sensitive", str(data.folder))
    refused("No such file", *data.sensitive("missing"))
    with open(path):
        refused("open already", *data.sensitive("a"))
    os.mkfifo(data.folder / "pipe")
    refused("neither a file nor a folder", *data.sensitive("pipe"))
    (data.folder / "empty").mkdir()
    refused("no regular file", *data.sensitive("empty"))
    many = data.folder / "many"
    many.mkdir()
    for i in range(4097):
        (many / str(i)).touch()
        os.chown(many / str(i), lab.uid, lab.gid)
    refused("more than", *data.sensitive("many"))
    refused("more than", *data.sensitive("."))
    if lab.uid != 0:
        os.chown(data.folder / "harmless", 0, 0)
        refused("another user's", *data.sensitive("harmless"))
    out = lab.run("true", allow=[KEPT], extra=["--after", "none", *data.sensitive("a", "sub", "a")])  # the twin
    assert out.code == 0, out


def test_two_names_of_one_file(lab):
    """Outside of what is named as well: it is the file that is waited for, not the name."""
    data = Data(lab)
    os.link(data.folder / "a", data.folder / "other-name")
    (data.folder / "twins").mkdir()
    os.link(data.folder / "a", data.folder / "twins/one")
    os.link(data.folder / "a", data.folder / "twins/two")
    with Live(lab, guest=GUEST, extra=data.sensitive("twins")) as live:
        assert live.do("[open('/data/other-name').read(), said(kept)]") in ([SECRET, "ECONNRESET"], [SECRET, "EPIPE"])
        update_of(live.end(), "sensitive")


@TWINS
def test_the_story(lab, ca, verdict):
    """Install from the index, then open the customer's data without any network: one command."""
    make_wheel(lab.world.www / "simple" / "labpkg")
    data = Data(lab)
    out = lab.run("sh", "-c", "python3 -m pip install -q --no-cache-dir --retries 0 --timeout 5 --disable-pip-version-check "
                  "--cert /ca.pem -i https://allowed.test/simple labpkg && cat /data/a && "
                  "python3 -c 'import labpkg; print(labpkg.answer)' && python3 -c 'import socket; "
                  f"socket.create_connection((\"{w.ALLOWED4}\", 443), 5); print(\"connected\")'",
                  allow=["allowed.test"], extra=[*ca, "--after", "none",
                                                 *data.sensitive("a" if verdict != "allow" else "harmless")])
    assert out.stdout.startswith(f"{SECRET}42"), out
    if verdict == "allow":
        assert out.code == 0 and out.stdout.endswith("connected\n"), out
    else:
        assert out.code != 0 and "ConnectionRefusedError" in out.stderr, out
        update_of(out, "sensitive")
        [refused] = out.refusals(dst=w.ALLOWED4, port=443)
        assert refused["generation"] == 2, out
