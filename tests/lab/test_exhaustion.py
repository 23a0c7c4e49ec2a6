"""Weir's own processes at the end of their memory and descriptors. attacks.md O02, O08: nothing opens, and what can go on
goes on."""

import os
import pathlib
import subprocess

import pytest

import world as w
from checks import LIFTED
from lab import attempts, wait_until
from test_lifecycle import columns, roles

# Does what it is told, one word a line: `try` an allowed address (a byte there and back), `evil` a forbidden one.
WORKER = f"""
def once(address, port):
    try:
        with socket.create_connection((address, port), 20) as s:
            print('connected', flush=True)
            s.settimeout(20); s.sendall(b'x'); return 'moved' if s.recv(1) == b'x' else 'ended'
    except OSError as error: return name_of(error)
held = []
with socket.create_connection(({w.ALLOWED4!r}, 7), 20) as s: s.sendall(b'x'); s.recv(1)
print('up', flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == 'many':
        try:
            for _ in range(900):
                held.append(socket.create_connection(({w.ALLOWED4!r}, 14), 5)); held[-1].recv(1)
            print('all', flush=True)
        except OSError as error: print(name_of(error), flush=True)
    elif word == 'free': print(len(held), flush=True); held.clear()
    else: print(once({w.EVIL4!r} if word == 'evil' else {w.ALLOWED4!r}, 7), flush=True)
"""


@pytest.fixture
def worker(lab):
    running = lab.start(guest=WORKER, allow=[w.ALLOWED4])
    try:
        assert running.line() == "up"
        yield running
    finally:
        running.kill()


def ask(worker, word):
    worker.say(word)
    return worker.line()


def limit(pid, what, soft, hard=""):
    """prlimit(1) in the name of the process: a machine's root may have no CAP_SYS_RESOURCE."""
    uid, gid = (columns(pid, key)[0] for key in ("Uid", "Gid"))
    subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "prlimit", f"--pid={pid}",
                    f"--{what}={soft}:{hard}"], check=True)


def limit_descriptors(pid, more):
    """So that `pid` can have so many more than now. -> the soft limit before"""
    used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(max(used) + more + 2) if number not in used]
    lines = pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()
    before = next(line.split()[3] for line in lines if line.startswith("Max open files"))
    limit(pid, "nofile", free[more])
    return before


def descriptors_allowed(pid):
    """(soft, hard)"""
    lines = pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()
    return tuple(map(int, next(line.split()[3:5] for line in lines if line.startswith("Max open files"))))


def test_a_gateway_may_have_the_descriptors_of_its_flows_and_no_more(lab):
    allowed = {}
    for flows in (8, 108):
        policy = f'version = 1\nmode = "allowlist"\nallow = ["{w.ALLOWED4}"]\n[limits]\nmax_flows = {flows}\n'
        running = lab.start(guest=WORKER, policy=policy)
        try:
            assert running.line() == "up"
            soft, hard = descriptors_allowed(roles(running)["gateway"])
            assert soft == hard
            allowed[flows] = soft
            # It is enough for as many connections as the policy says; the worker's first may still be ending.
            assert ask(running, "many") == "ECONNREFUSED"
            assert int(ask(running, "free")) in (flows - 1, flows)
        finally:
            running.kill()
    assert allowed[108] - allowed[8] == 2 * 100, allowed


@pytest.mark.elsewhere
def test_a_gateway_without_memory_opens_nothing(lab, worker):
    """It dies of what it cannot have, and the sandbox ends with its network: no byte to anybody, no clean end of file."""
    twin = lab.start(guest=WORKER, allow=[w.ALLOWED4])
    try:
        assert twin.line() == "up" and ask(twin, "many") == "all"
    finally:
        twin.kill()
    assert ask(worker, "try") == "connected" and worker.line() == "moved"
    pid = roles(worker)["gateway"]
    limit(pid, "data", 1 << 20, 1 << 20)
    worker.say("many")
    assert worker.line() not in ("all", "connected")
    worker.process.wait(timeout=20)  # with its standard input open: the program does not end by itself
    err = worker.process.stderr.read()
    assert worker.process.returncode != 0 and "gateway" in err and "MiB of memory" in err, err
    assert lab.world.packets_to(w.EVIL4) == 0


@pytest.mark.elsewhere
def test_a_supervisor_without_descriptors_refuses(lab, worker):
    """What cannot be dialled is refused, with an error and one record; with room again flows open again."""
    pid = worker.pid
    before = limit_descriptors(pid, 0)
    answer = ask(worker, "try")
    assert answer not in ("connected", "moved", ""), answer
    assert ask(worker, "evil") == "ECONNREFUSED" and lab.world.packets_to(w.EVIL4) == 0
    limit(pid, "nofile", before)
    assert ask(worker, "try") == "connected" and worker.line() == "moved"


def test_a_gateway_without_descriptors_waits(lab, worker):
    """One that has no descriptor for the guest's end lets the connection wait, and takes it when it has."""
    pid = roles(worker)["gateway"]
    before = limit_descriptors(pid, 1)
    assert ask(worker, "try") == "connected"
    # The upstream's end has come; the guest's has no place.
    limit(pid, "nofile", before)
    assert worker.line() == "moved"
    assert ask(worker, "evil") == "ECONNREFUSED" and lab.world.packets_to(w.EVIL4) == 0


@pytest.mark.elsewhere
def test_the_budget_of_descriptors(lab):
    """Under a small hard limit the flows that fit work, the others are refused with `limit`, and afterwards there is room."""
    script = lab.folder / "weir"
    script.write_text(f"#!/bin/sh\nexec prlimit --nofile=160:160 {lab.weir} \"$@\"\n")
    script.chmod(0o755)
    lab.weir = str(script)
    code = f"""
held, errors = [], set()
for _ in range(120):
    try: held.append(socket.create_connection(({w.ALLOWED4!r}, 7), 10))
    except OSError as error: errors.add(name_of(error))
def moves(s):
    s.settimeout(10); s.sendall(b'canary')
    return s.recv(6) == b'canary'
moved = sum(moves(s) for s in held)
count = len(held)
for s in held: s.close()
after = None
for _ in range(100):
    after = tcp({w.ALLOWED4!r}, 12)['connect']
    if after == 'OK': break
    time.sleep(0.05)
result = [count, moved, sorted(errors), after]
"""
    out = lab.guest(code, allow=[w.ALLOWED4])
    count, moved, errors, after = out.result
    assert 1 <= count < 80 and moved == count and errors == ["ECONNREFUSED"] and after == "OK", out
    assert attempts(out.refusals(reason="limit")) >= 120 - count, out


# In the sandbox user's name: as many descriptors on the way as it may have, until told to take them back.
IN_FLIGHT = """
import array, socket, sys
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
fds = array.array('i', [0] * 100).tobytes()
for _ in range(2): one.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
print('held', flush=True); sys.stdin.readline()
"""


def test_too_many_descriptors_on_the_way_are_a_delay(lab, worker):
    """ETOOMANYREFS: what the same user has in flight elsewhere counts. The flow waits, and opens when there is room."""
    if lab.uid == 0:
        pytest.skip("the kernel does not limit who has CAP_SYS_RESOURCE")
    assert ask(worker, "try") == "connected" and worker.line() == "moved"
    holder = subprocess.Popen(lab.command(["/usr/bin/python3", "-c", IN_FLIGHT]),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        limit(worker.pid, "nofile", 128)
        mark = len(lab.world.origin_log.since())
        worker.say("try")
        wait_until(lambda: len(lab.world.origin_log.since()) > mark, 10, "the dial")
        # Dialled, and not handed over: the supervisor has asked the kernel in vain at least once.
        assert worker.process.poll() is None
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert worker.line() == "connected" and worker.line() == "moved"
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("policy", ['version = 1\nmode = "allowlist"\n', LIFTED], ids=["limits", "lifted"])
def test_100_000_half_open(lab, policy):
    """To a host that never answers, each given up at once: a flow that stood before moves its bytes all the while, and
    there are never more connects upstream than may be."""
    code = f"""
canary = socket.create_connection(({w.ALLOWED4!r}, 7)); canary.settimeout(30)
def alive():
    canary.sendall(b'x')
    return canary.recv(1) == b'x'
def half_open(count):
    for i in range(count):
        with socket.socket() as s:
            s.setblocking(False); s.connect_ex(({w.SILENT4!r}, 1 + i % 60_000))
result = [alive()]
for _ in range(10):
    half_open(10_000)
    result.append(alive())
"""
    out = lab.guest(code, policy=policy, allow=[w.ALLOWED4, w.SILENT4], timeout=120)
    assert out.result == [True] * 11, out
    assert out.of_type("flow.close", dst=w.ALLOWED4)[0]["bytes_down"] == 11, out
    assert len(out.of_type("flow.open", dst=w.SILENT4)) == len(out.of_type("flow.close", dst=w.SILENT4)), "all are closed"
