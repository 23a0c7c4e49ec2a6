"""A `weir serve` of the field's, and what it and its sessions hold: memory, descriptors, files, processes."""

import os
import pathlib
import re
import signal
import socket
import struct
import subprocess

import contenders as c
import field as f
from measure import Failed, NotProven, Unavailable

import lab  # of tests/lab: field puts it on the path
import serve
import world

API_LOAD = "api_load"


class Daemon:
    """Runs as the identity of all contenders, on a unix socket; ends with the block, after its sessions."""

    def __init__(self, field):
        self.field = field
        self.socket = str(field.home / "serve.sock")

    def __enter__(self):
        argv = [self.field.tool("weir"), "serve", f"--socket={self.socket}", "--log=none"]
        self._process = subprocess.Popen(self.field.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE, text=True, preexec_fn=world._die_with_parent)
        try:
            lab.wait_until(lambda: self._process.poll() is not None or self._answers(), 30, "weir serve")
            if self._process.poll() is not None:
                raise Failed(c.last_line(self._process.stderr.read()))
        except BaseException:
            self._process.kill()
            raise
        return self

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(self.socket)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            self.pid = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return True

    def __exit__(self, *_):
        for session in self.sessions():
            self.ask("DELETE", f"/v1/sessions/{session['id']}?kill=1")
        os.kill(self.pid, signal.SIGTERM)
        self._process.communicate(timeout=30)

    def ask(self, method, path, body=None):
        """Not for what is measured: by Python. -> the answer's JSON, None without one"""
        answer = serve.Server.ask(self, method, path, body, timeout=120)
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer.json if answer.body else None

    def sessions(self):
        return self.ask("GET", "/v1/sessions")["sessions"]

    def load(self, kind, *settings):
        """The command line of the load tool."""
        return [self.field.tool(API_LOAD), self.socket, kind, *settings]

    # ---- what it holds ------------------------------------------------------------------------------------------------

    def status(self, key):
        """A line of /proc/PID/status, in bytes."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) * 1024

    def holdings(self):
        """What must not grow with sessions that have ended."""
        folder = self.field.home / ".local/state/weir"
        # One record a sandbox is kept on purpose: the newest 10,000 at most, younger than 30 days.
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".jsonl")]
        if not files:
            raise NotProven(f"there is no state in {folder}")
        try:
            descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError as why:
            raise Unavailable(f"the descriptors of another process cannot be seen: {why.strerror}") from None
        return {"memory": self.status("VmRSS"), "descriptors": descriptors, "files": len(files),
                "disk": sum(path.stat().st_blocks * 512 for path in files),
                "mounts": len(pathlib.Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()),
                "processes": len(in_network_of(self.pid))}


def in_network_of(pid):
    """The processes of a network namespace and everything below them."""
    own = f._network_of(pid)
    children = {}
    for each, (parent, _) in lab.processes().items():
        children.setdefault(parent, []).append(each)
    queue = [each for parent in children.values() for each in parent if f._network_of(each) == own]
    found = set(queue)
    while queue:
        below = set(children.get(queue.pop(), [])) - found
        found |= below
        queue += below
    return found


def pss_bytes(pid):
    """Its share of the memory that is mapped: private pages, and shared ones divided by how many share them."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as why:
        raise Unavailable(f"the memory of another process cannot be read: {why.strerror}") from None
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1)) * 1024


def kernel_bytes():
    """What the kernel itself uses, says so and cannot give back: slabs, stacks, page tables, per processor."""
    text = pathlib.Path("/proc/meminfo").read_text()
    return sum(int(number) * 1024 for number in re.findall(r"^(?:SUnreclaim|KernelStack|PageTables|SecPageTables|Percpu):\s+(\d+)",
                                                           text, re.M))
