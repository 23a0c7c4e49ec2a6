"""Sessions from the side of their owner: `weir session create`, and the socket, spoken to without the command line."""

import contextlib
import json
import os
import select
import signal
import socket
import time

from lab import wait_until

PATIENCE = 20


def gone(pid):
    """Ended; who takes orphans in may not have noticed."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Connection:
    """One connection to a session: lines, and the descriptors that come with them."""

    def __init__(self, session, uid=None):
        self.socket = socket.socket(socket.AF_UNIX)
        folder = os.open(session.folder, os.O_PATH)
        os.seteuid(session.lab.uid if uid is None else uid)  # what SO_PEERCRED says of whoever connects
        try:
            self.socket.connect(f"/proc/self/fd/{folder}/socket")
        finally:
            os.seteuid(0)
            os.close(folder)
        self.socket.settimeout(PATIENCE)
        self.data, self.passed = b"", []

    def say(self, request, fds=()):
        line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # who is refused by what it is need not be read to be answered
            if fds:
                socket.send_fds(self.socket, [line], list(fds))
            else:
                self.socket.sendall(line)
        return self

    def line(self):
        """The next reply, or None where the session has closed."""
        while b"\n" not in self.data:
            try:
                part, fds, _, _ = socket.recv_fds(self.socket, 65536, 4)
            except ConnectionResetError:
                return None
            self.passed += fds
            if not part:
                return None
            self.data += part
        line, self.data = self.data.split(b"\n", 1)
        return json.loads(line)

    def files(self):
        """What came with the lines so far, read to its end; closed."""
        found = []
        for fd in self.passed:
            with os.fdopen(fd, "rb") as file:
                found.append(file.read().decode())
        self.passed = []
        return found

    def close(self):
        for fd in self.passed:
            os.close(fd)
        self.passed = []
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Session:
    """A live session of the lab's identity. `seen_below`: where the lab's host has its state folder, as seen from here."""

    def __init__(self, lab, *options, state="state", seen_below=""):
        self.lab, self.state, self.seen_below = lab, lab.folder / state, seen_below
        lab.variables = {**lab.variables, "XDG_STATE_HOME": str(self.state)}
        done = lab.cli("session", "create", "-o", "json", *options)
        self.code, self.said = done.code, json.loads(done.stdout)
        # Notices only: what fails is said on standard output.
        assert all(line.startswith("weir: ") for line in done.stderr.splitlines()), done
        if done.code == 0:
            self.id, self.pid, self.events_path = self.said["id"], self.said["supervisor"], self.said.get("events")

    @property
    def folder(self):
        return f"{self.seen_below}{self.state}/weir/sessions/{self.id}"

    def connect(self, **more):
        return Connection(self, **more)

    def ask(self, request, fds=(), **more):
        """One request, one reply; descriptors that come with it are read to their end: (reply, texts)."""
        with self.connect(**more) as connection:
            reply = connection.say(request, fds).line()
            return (reply, connection.files()) if connection.passed else reply

    def run(self, *argv, input=b"", **request):
        """Attached, to its end: (exited, standard output, standard error)."""
        with contextlib.ExitStack() as stack:
            give, take, pipes = [], [], [os.pipe() for _ in range(3)]
            give = [pipes[0][0], pipes[1][1], pipes[2][1]]
            take = [pipes[1][0], pipes[2][0]]
            connection = stack.enter_context(self.connect())
            connection.say({"op": "run", "argv": list(argv), **request} if argv else {"op": "run", **request}, give)
            for fd in give:
                os.close(fd)
            os.write(pipes[0][1], input)
            os.close(pipes[0][1])
            texts = read_all(take)
            first = connection.line()
            assert first and "started" in first, first
            return connection.line()["exited"], *texts

    def detach(self, command, **request):
        reply = self.ask({"op": "run", "command": command, "detach": True, **request})
        return reply["started"]["pid"]

    def output(self, pid):
        """(the line, standard output, standard error) as they are now."""
        reply, texts = self.ask({"op": "output", "pid": pid})
        return reply["output"], *texts

    def await_words(self, pid):
        """Returns when a detached process has said something."""
        with self.connect() as connection:
            line = connection.say({"op": "output", "pid": pid, "follow": True}).line()
            while line["output"]["stdout_bytes"] == 0:
                assert "exited" not in line["output"], self.output(pid)
                line = connection.line()

    def await_exit(self, pid):
        """As output(), when the process has ended."""
        with self.connect() as connection:
            reply = connection.say({"op": "output", "pid": pid, "follow": True}).line()
            while "exited" not in reply["output"]:
                reply = connection.line()
            return reply["output"], *connection.files()

    def show(self):
        return self.ask({"op": "show"})["session"]

    def stop(self, **more):
        """Returns when everything is gone."""
        with self.connect() as connection:
            assert connection.say({"op": "stop", **more}).line() == {"ok": True}
            assert connection.line() is None

    def is_gone(self):
        return not os.path.exists(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code == 0 and not gone(self.pid):
            os.kill(self.pid, signal.SIGTERM)
            wait_until(lambda: gone(self.pid), what="the end of the supervisor")


def read_all(fds):
    """What comes out of several pipes, each to its end; closed."""
    found, deadline = {fd: b"" for fd in fds}, time.monotonic() + PATIENCE
    left = list(fds)
    while left:
        assert time.monotonic() < deadline, "a pipe stays open"
        for fd in select.select(left, [], [], 1)[0]:
            data = os.read(fd, 65536)
            found[fd] += data
            if not data:
                left.remove(fd)
                os.close(fd)
    return [found[fd].decode(errors="replace") for fd in fds]
