"""Start, death and what is left. attacks.md Q03-Q05, O08; dataplane.md section 6: the network dies with weir."""

import os
import pathlib
import signal
import stat
import subprocess
import time

import pytest

import world as w
from lab import processes, wait_until

# A guest that holds a connection open, has a child, and says how the connection ended.
BUSY = f"""
import subprocess
child = subprocess.Popen(['sleep', '300'])
s = socket.create_connection(({w.ALLOWED4!r}, 7)); s.settimeout(20)
s.sendall(b'x'); s.recv(1)
print('busy', flush=True)
try: print('end', repr(s.recv(1)), flush=True)
except OSError as error: print('end', name_of(error), flush=True)
time.sleep(300)
"""
ROLES = ["supervisor", "init", "gateway", "command"]


def columns(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return line.split()[1:]
    return []


def roles(running):
    """{role: pid}: init is process 1 of the sandbox, the command its child that runs Python, the gateway the rest."""
    found = {"supervisor": running.pid}
    for pid, name in running.family().items():
        inner = columns(pid, "NSpid")
        if pid == running.pid:
            continue
        if "gate" in name:
            found["gateway"] = pid
        elif len(inner) > 1 and inner[-1] == "1":
            found["init"] = pid
        elif "python" in name:
            found["command"] = pid
    return found


def mounts(lab):
    return pathlib.Path(f"/proc/{lab.world.host.pid}/mountinfo").read_text()


def on_the_host(lab):
    """The processes in the network of the lab's host: supervisors and gateways are, and nobody else's processes."""
    def network(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            return None
    host = network(lab.world.host.pid)
    return {pid for pid in processes() if network(pid) == host}


@pytest.fixture
def busy(lab):
    before = mounts(lab)
    running = lab.start(guest=BUSY, allow=[w.ALLOWED4])
    try:
        assert running.line() == "busy", running.process.stderr.read()
        yield running
    finally:
        running.kill()
        assert mounts(lab) == before, "a mount was left on the host"


def assert_all_gone(lab, running, seconds=3.0):
    family = set(running.known)
    wait_until(lambda: not (family & set(processes())), seconds, f"the end of {running.known}")
    # The peer sees the connection end: nothing keeps the namespace's sockets alive.
    def closed():
        return [entry for entry in lab.world.origin_log.since() if entry["event"] == "close" and entry["port"] == 7]
    wait_until(lambda: bool(closed()), seconds, "the end of the connection upstream")


# Nobody outside weir signals init and gateway by intention: only SIGKILL (the kernel's memory killer) comes to them.
@pytest.mark.parametrize("role, how", [*((role, signal.SIGKILL) for role in ROLES), ("supervisor", signal.SIGTERM),
                                       ("command", signal.SIGTERM)])
def test_killing_any_process(lab, busy, role, how):
    busy.known = busy.family()
    found = roles(busy)
    assert role in found, (role, busy.known)
    os.kill(found[role], how)
    if role == "gateway":
        # A sandbox whose gateway died has no network; whether it ends at once is weir's choice, but nothing flows.
        assert "b''" not in busy.line(), "a clean end of file would make a truncated download look complete"
        busy.kill()
    else:
        busy.process.wait(timeout=10)
    assert_all_gone(lab, busy)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_everything(lab, sig):
    """As people expect of a foreground command: the signal reaches the command, and weir ends with 128+n."""
    running = lab.start("sh", "-c", "echo up; exec sleep 300", allow=[w.ALLOWED4])
    try:
        assert running.line() == "up"
        known = set(running.family())
        os.kill(running.pid, sig)
        assert running.process.wait(timeout=10) == 128 + sig, running.process.returncode
        wait_until(lambda: not (known & set(processes())), 3, f"the end of {known}")
    finally:
        running.kill()


def test_signal_that_the_command_handles(lab):
    running = lab.start("sh", "-c", "trap 'echo caught; exit 7' TERM; echo up; while :; do sleep 0.05; done")
    try:
        assert running.line() == "up"
        os.kill(running.pid, signal.SIGTERM)
        assert running.line() == "caught"
        assert running.process.wait(timeout=10) == 7
    finally:
        running.kill()


def on_one_processor_behind_us():
    """What a sandbox's process writes is read here before anything else of the sandbox runs: we are on its processor,
    and real-time."""
    processor = min(os.sched_getaffinity(0))
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    os.sched_setaffinity(0, {processor})


def test_signal_with_the_first_word_of_the_command(lab):
    """The supervisor has not run since the command began, and still the signal is the command's."""
    command = "trap 'echo caught; exit 7' TERM USR1; echo up; while :; do sleep 0.01; done"
    processors = os.sched_getaffinity(0)
    on_one_processor_behind_us()
    try:
        for sig in [signal.SIGTERM, signal.SIGUSR1] * 30:
            running = lab.start("sh", "-c", command, mode="none")
            try:
                assert running.process.stdout.readline() == "up\n"
                os.kill(running.pid, sig)
                assert running.process.stdout.readline() == "caught\n", running.process.wait()
                assert running.process.wait(timeout=10) == 7
            finally:
                running.kill()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, processors)


def test_signals_before_the_command_end_everything(lab):
    """At any moment of the start: 128+n (or the signal itself), and nothing is left."""
    for step in range(40):
        running = lab.start("sleep", "60", mode="none")
        time.sleep(0.0005 * step)
        os.kill(running.pid, signal.SIGTERM)
        assert running.finish(timeout=5).code in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_exit_of_the_command_ends_everything(lab):
    """Background processes of the guest do not outlive the command, whatever they do to be forgotten."""
    marker = f"{time.time():.6f}"
    out = lab.run("sh", "-c", f"setsid nohup sleep 300.{marker[-6:]} >/dev/null 2>&1 & sleep 0.2; exit 3")
    assert out.code == 3, out
    left = [pid for pid in processes() if marker[-6:].encode() in read_cmdline(pid)]
    assert not left, left


def read_cmdline(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_exit_codes(lab):
    assert lab.run("true").code == 0
    assert lab.run("sh", "-c", "exit 42").code == 42
    assert lab.run("sh", "-c", "kill -9 $$").code == 137
    assert lab.run("sh", "-c", "kill -TERM $$").code == 143
    assert lab.run("/nonexistent/program").code == 127
    assert lab.run("no-such-command-anywhere").code == 127
    assert lab.run("/etc/passwd").code == 126
    assert lab.run("sleep", "30", extra=["--timeout", "300ms"]).code == 124


def test_timeout_ends_everything(lab):
    begin = time.monotonic()
    out = lab.run("sh", "-c", "trap '' TERM INT HUP; sleep 60 & sleep 60", extra=["--timeout", "1s"])
    assert out.code == 124 and time.monotonic() - begin < 10, out
    assert out.of_type("sandbox.exit"), out


def test_many_sandboxes_leave_nothing(lab):
    """Q05: thirty in a row and some of them killed at odd moments."""
    before_mounts, before = mounts(lab), on_the_host(lab)
    for number in range(30):
        running = lab.start("sh", "-c", f"curl -sS -m 2 http://{w.ALLOWED4}/ >/dev/null; sleep 20", allow=[w.ALLOWED4])
        time.sleep(0.004 * number)
        known = set(running.family())
        running.kill()
        wait_until(lambda: not (known & set(processes())), 5, f"the end of run {number}: {known}")
    wait_until(lambda: on_the_host(lab) <= before, 5, "the end of all supervisors and gateways")
    assert mounts(lab) == before_mounts


def test_two_at_once_are_strangers(lab):
    """L04: a sandbox does not see the other's listener on any address it can think of."""
    first = lab.start(guest="server = socket.create_server(('0.0.0.0', 9999)); print('up', flush=True); server.accept()",
                      allow=["allowed.test"])
    try:
        assert first.line() == "up"
        code = """
own = [line.split()[-1] for line in open('/proc/net/fib_trie').read().splitlines() if '|--' in line]
result = {a: tcp(a, 9999, timeout=1)['connect'] for a in own if not a.startswith('127.') and not a.endswith('.0')}
"""
        out = lab.guest(code, allow=["0.0.0.0/0", "::/0", "10.0.0.0/8", "@private"])
        assert "OK" not in out.result.values(), out
        assert first.process.poll() is None
    finally:
        first.kill()


def test_stopped_gateway_does_not_hang_the_end(lab, busy):
    """dataplane.md section 6: a stuck gateway is a live namespace: it is killed after a grace time."""
    busy.known = busy.family()
    found = roles(busy)
    os.kill(found["gateway"], signal.SIGSTOP)
    os.kill(found["supervisor"], signal.SIGTERM)
    busy.process.wait(timeout=10)
    wait_until(lambda: not (set(busy.known) & set(processes())), 5, f"the end of {busy.known}")


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(12))
def test_killed_while_starting(lab, moment):
    """Q03: SIGKILL of the supervisor at moments of the start: nothing runs on, nothing reached anybody forbidden."""
    before = on_the_host(lab)
    running = lab.start("sh", "-c", f"curl -s -m 1 http://{w.EVIL4}/; sleep 30", allow=["allowed.test"])
    time.sleep(0.0015 * moment)
    running.kill()
    running.finish(timeout=5)  # its outputs end with the last process inside
    wait_until(lambda: on_the_host(lab) <= before, 5, "the end of supervisor and gateway")
    assert lab.world.packets_to(w.EVIL4) == 0


def test_idle_sandbox_has_no_gateway(lab):
    """The gateway starts with the first packet."""
    running = lab.start("sh", "-c", f"echo up; read x; curl -sS -m 5 http://{w.ALLOWED4}/ >/dev/null; echo done; read x",
                        allow=[w.ALLOWED4])
    try:
        assert running.line() == "up"
        idle = running.family()
        assert "gateway" not in roles(running), idle
        running.say("go")
        assert running.line() == "done"
        assert "gateway" in roles(running), running.family()
    finally:
        running.kill()


def test_gateway_is_confined(lab, busy):
    """No capability, seccomp, no new privileges, an empty root, few descriptors."""
    pid = roles(busy)["gateway"]
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1", status
    assert all(int(status[key], 16) == 0 for key in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")), status
    assert not os.listdir(f"/proc/{pid}/root/"), os.listdir(f"/proc/{pid}/root/")
    for fd in os.listdir(f"/proc/{pid}/fd"):
        link, mode = os.readlink(f"/proc/{pid}/fd/{fd}"), os.stat(f"/proc/{pid}/fd/{fd}").st_mode
        assert not stat.S_ISDIR(mode) and not stat.S_ISBLK(mode), (fd, link)
        assert not stat.S_ISREG(mode) or "memfd" in link, (fd, link)
    # Nothing of the caller's: neither its input nor its outputs.
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3


def test_memory_of_the_gateway_is_bounded(lab, busy):
    """O02: the kernel gives it no more than its tables can need, and it cannot ask for another limit (confine). One that
    dies of it ends like one that was killed: see test_killing_any_process."""
    limits = pathlib.Path(f"/proc/{roles(busy)['gateway']}/limits").read_text()
    soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max data size"))
    assert soft == hard and int(hard) <= 1664 << 20, (soft, hard)


def test_a_dead_gateway_is_told(lab, busy):
    os.kill(roles(busy)["gateway"], signal.SIGKILL)
    _, err = busy.process.communicate(timeout=20)
    assert "gateway" in err and "the sandbox was ended with its network" in err, err


def test_terminal_is_sane_after_sigkill(lab):
    """-t puts the caller's terminal into raw mode; an orderly end puts it back."""
    import pty
    master, slave = pty.openpty()
    before = subprocess.run(["stty", "-g"], stdin=slave, stdout=subprocess.PIPE).stdout
    argv = lab.command([lab.weir, "run", "-i", "-t", "--", "sh", "-c", "echo up; sleep 30"])
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    text = b""
    while b"up" not in text:
        text += os.read(master, 1024)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    assert subprocess.run(["stty", "-g"], stdin=slave, stdout=subprocess.PIPE).stdout == before
