"""The ratchet: a narrower policy that a sandbox enters once and never leaves. attacks.md Q06, C07."""

import json
import os
import resource
import signal

import pytest

import world as w
from checks import REFUSE, TWINS, at
from lab import wait_until
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
        assert live.do("child('import os; os.write(3, bytes(1)); print(os.read(3, 99)[:15].decode())', pass_fds=[3])") == '{"generation":2'
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


def test_what_cannot_be_recorded_ends_the_sandbox(lab):
    """Never: goes on unsealed."""
    with Live(lab) as live:
        # The record's file system is full from here on: RLIMIT_FSIZE of the supervisor.
        size = os.stat(live.run.events_path).st_size
        resource.prlimit(live.run.pid, resource.RLIMIT_FSIZE, (size, size))
        assert live.seal().code == 125
        out = live.run.finish()
    assert out.code == 125 and "[after] cannot be entered" in out.stderr, out


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_gateway_that_does_not_follow(lab, how, trigger):
    with Live(lab) as live:
        [gateway] = [pid for pid, role in live.run.family().items() if role == "weir-gateway"]
        os.kill(gateway, how)
        if trigger == "seal":
            assert live.seal().code == 125
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
