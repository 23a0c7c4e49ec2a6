"""A running `weir serve` in the lab, and asking it."""

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import time

from lab import wait_until

TOKENS = {"alice": "a" * 32, "bob": "b" * 32, "reader": "c" * 32}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("weir", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def lines(self):
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def code(self):
        """Of an error, whose envelope is as promised."""
        assert self.status >= 400, self
        error = self.json["error"]
        assert set(self.json) == {"error"} and set(error) == {"code", "message", "remedy"} and error["message"], self
        assert self.headers["Content-Type"] == "application/json", self
        return error["code"]

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:2000]!r}"


class Server:
    def __init__(self, lab, *options, tokens=False, start=True):
        self.lab = lab
        self.socket = str(lab.folder / "s.sock")
        self.log = lab.folder / "serve.log"
        self.log.touch()
        os.chown(self.log, lab.uid, lab.gid)
        self.options = ["--socket", self.socket, "--log", "json", *options]
        self.port = None
        lab.variables = {**lab.variables, "XDG_STATE_HOME": str(lab.folder / "state")}
        if tokens:
            path = lab.file("tokens", "".join(f"{name}:{token}{':ro' if name == 'reader' else ''}\n"
                                              for name, token in TOKENS.items()))
            os.chmod(path, 0o600)
            os.chown(path, lab.uid, lab.gid)
            self.options += ["--listen", "127.0.0.1:0", "--token-file", path]
        self.process = None
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lab.variables = {key: value for key, value in self.lab.variables.items() if key != "XDG_STATE_HOME"}
        if self.process.poll() is not None:
            self.start()
        for session in self.get("/v1/sessions").json["sessions"]:
            self.ask("DELETE", f"/v1/sessions/{session['id']}?kill=1")
        self.stop()

    def start(self):
        already = self.log.read_text().count("listening on")
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.lab.command([self.lab.weir, "serve", *self.options]), stderr=log,
                                            stdin=subprocess.DEVNULL)
        places = 2 if "--listen" in self.options else 1
        wait_until(lambda: self.process.poll() is not None or
                   self.log.read_text().count("listening on") == already + places, what="weir serve")
        assert self.process.poll() is None, self.log.read_text()
        for line in self.log.read_text().splitlines():
            if "listening on 127.0.0.1:" in line:
                self.port = int(line.rsplit(":", 1)[1])

    def pid(self):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(self.socket)
            return struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def kill(self):
        os.kill(self.pid(), signal.SIGKILL)
        self.process.wait(timeout=10)

    def stop(self):
        os.kill(self.pid(), signal.SIGTERM)
        return self.process.wait(timeout=20)

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """By the unix socket. A body that is no bytes is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body, **headers):
        return self.ask("POST", path, body, headers)

    def by_tcp(self, method, path, body=None, token=None, more=()):
        """By curl, inside the lab's host, where the port is."""
        argv = ["curl", "-s", "-i", "-X", method, f"http://127.0.0.1:{self.port}{path}", *more]
        if token:
            argv += ["-H", f"Authorization: Bearer {TOKENS.get(token, token)}"]
        if body is not None:
            argv += ["-H", "Content-Type: application/json", "--data-binary", json.dumps(body)]
        out = subprocess.run(self.lab.command(argv), stdout=subprocess.PIPE, timeout=60).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        return Answer(int(lines[0].split()[1]), headers, rest)

    def session(self, **body):
        made = self.post("/v1/sessions", body)
        assert made.status == 201, made
        return made.json

    def run(self, session, command, **body):
        done = self.post(f"/v1/sessions/{session['id']}/run", {"command": command, **body})
        assert done.status == 200, done
        return done.json

    def open(self, text):
        """A connection on which this has been said."""
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(30)
        one.connect(self.socket)
        one.sendall(text if isinstance(text, bytes) else text.encode())
        return one

    def begin_run(self, session, body):
        body = json.dumps(body)
        return self.open(f"POST /v1/sessions/{session['id']}/run HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         f"Content-Length: {len(body)}\r\n\r\n{body}")

    def live(self, session):
        shown = self.get(f"/v1/sessions/{session['id']}/processes").json["processes"]
        return [each for each in shown if "exited" not in each]

    def log_lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def all_of(connection):
    data, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    raise AssertionError("the server does not end the connection")
