"""Runs `weir` in the lab and looks at what came of it: exit code, output, events, packets."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
GUEST = (HERE / "guest.py").read_text()


class Outcome:
    def __init__(self, code, stdout, stderr, events_path):
        self.code, self.stdout, self.stderr = code, stdout, stderr
        self.events_path = events_path

    def __repr__(self):
        return (f"exit {self.code}\n--- stdout\n{self.stdout[-3000:]}\n--- stderr\n{self.stderr[-3000:]}\n--- events\n" +
                "\n".join(json.dumps(event) for event in self.events[-20:]))

    @property
    def events(self):
        return read_events(self.events_path) if self.events_path else []

    @property
    def result(self):
        """The JSON value that a guest program printed last."""
        lines = self.stdout.strip().splitlines()
        assert lines, f"the guest printed nothing: {self!r}"
        return json.loads(lines[-1])

    def of_type(self, kind, **fields):
        """Events of a type whose fields have these values."""
        return [event for event in self.events
                if event["type"] == kind and all(event.get(key) == value for key, value in fields.items())]

    def refusals(self, **fields):
        return self.of_type("flow.refuse", **fields)


def read_events(path):
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return [json.loads(line) for line in file.read().splitlines()]


def attempts(events):
    """How many attempts these events stand for: repeats within a second share an event."""
    return sum(event.get("count", 1) for event in events)


class Lab:
    def __init__(self, world, weir, uid, gid, folder):
        self.world, self.weir, self.uid, self.gid = world, weir, uid, gid
        self.folder = folder
        self._runs = 0

    # The doors of transparent capture are what most tests are about: programs are not told of the proxies.
    announce_proxies = False

    def flags(self, mode=None, allow=(), deny=(), policy=None, extra=()):
        out = []
        if mode:
            out += ["-n", mode]
        for target in [allow] if isinstance(allow, str) else allow:
            out += ["--allow", target]
        for target in [deny] if isinstance(deny, str) else deny:
            out += ["--deny", target]
        if policy is not None:
            out += ["--policy", self.file("policy.toml", policy)]
        return [*out, *extra]

    def file(self, name, text):
        self._runs += 1
        path = self.folder / f"{self._runs}-{name}"
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    def _identity(self):
        if self.uid == 0:
            return []
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]

    variables = {}  # more of the caller's

    def environment(self):
        return ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                f"HOME={self.folder}", "USER=lab", "CANARY_SECRET=canary-in-the-callers-environment",
                *(f"{name}={value}" for name, value in self.variables.items())]

    def command(self, argv):
        """The command line that runs `argv` on the lab's host as the identity under test."""
        return [*self.world.host.prefix(cwd=str(self.folder)), *self._identity(), *self.environment(), *argv]

    def cli(self, *argv, timeout=30, input=None):
        """Any weir command: `cli("policy", "explain", ...)`."""
        done = subprocess.run(self.command([self.weir, *argv]), timeout=timeout, input=input, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="backslashreplace")
        return Outcome(done.returncode, done.stdout, done.stderr, None)

    def _run_argv(self, command, mode, allow, deny, policy, extra, events):
        self._runs += 1
        path = None
        if not self.announce_proxies:
            extra = [*extra, "--no-proxy-env"]
        if events is True:
            path = str(self.folder / f"events-{self._runs}.jsonl")
            extra = [*extra, "--events", path]
        return [self.weir, "run", *self.flags(mode, allow, deny, policy, extra), "--", *command], path

    def run(self, *command, mode=None, allow=(), deny=(), policy=None, extra=(), events=True, timeout=60, input=None):
        argv, path = self._run_argv(command, mode, allow, deny, policy, extra, events)
        stdin = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(self.command(argv), timeout=timeout, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, errors="backslashreplace", **stdin)
        return Outcome(done.returncode, done.stdout, done.stderr, path)

    def guest(self, code, **options):
        """Runs Python lines inside the sandbox with guest.py's functions at hand; they leave a value in `result`."""
        program = GUEST + "\n" + code + "\nprint(json.dumps(result))\n"
        outcome = self.run("/usr/bin/python3", "-c", program, **options)
        assert outcome.code == 0, f"the guest program failed: {outcome!r}"
        return outcome

    def start(self, *command, mode=None, allow=(), deny=(), policy=None, extra=(), events=True, guest=None):
        """A sandbox that is left running: for tests of lifecycle. -> Running"""
        if guest is not None:
            command = ("/usr/bin/python3", "-uc", GUEST + "\n" + guest)
        argv, path = self._run_argv(command, mode, allow, deny, policy, extra, events)
        return Running(self, argv, path)


class Running:
    """A live `weir run`. Lines that the guest prints are read one by one: tests wait for words, not for time."""

    def __init__(self, lab, argv, events_path):
        self.before = processes()
        self.process = subprocess.Popen(lab.command(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.events_path = events_path

    @property
    def pid(self):
        """nsenter, setpriv and env each exec the next: the child is weir itself."""
        return self.process.pid

    def line(self, seconds=30):
        """The next line; a guest that says nothing is killed, and the empty line fails the test."""
        watchdog = threading.Timer(seconds, self.process.kill)
        watchdog.start()
        try:
            return self.process.stdout.readline().strip()
        finally:
            watchdog.cancel()

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def family(self):
        """{pid: role} of everything this run started, by the process tree: supervisor, then by command name."""
        children = {}
        for pid, (parent, name) in processes().items():
            children.setdefault(parent, []).append((pid, name))
        found, queue = {self.pid: "supervisor"}, [self.pid]
        while queue:
            for pid, name in children.get(queue.pop(), []):
                found[pid] = name
                queue.append(pid)
        return found

    def finish(self, timeout=20):
        out, err = self.process.communicate(timeout=timeout)
        return Outcome(self.process.returncode, out, err, self.events_path)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def processes():
    """{pid: (parent, command name)} of the machine, zombies left out."""
    out = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
            if rest[0] != "Z":
                out[int(entry)] = (int(rest[1]), _role(entry) or name)
    return out


def _role(pid):
    """The gateway is the same program under another name."""
    try:
        first = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return None
    return "weir-gateway" if first.endswith(b"weir-gateway") else None


def wait_until(condition, seconds=5.0, what="the condition"):
    """Polls something that the kernel gives no event for. Returns how long it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, f"{what} did not come within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - begin
