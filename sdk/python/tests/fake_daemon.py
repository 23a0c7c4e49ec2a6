"""A daemon that confines nothing: it answers as docs/openapi.yaml says, runs commands on this machine as they are, and remembers.

Started as a program (`fake_daemon.py serve --socket=PATH`) it is what a test starts in place of `weir`.
"""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse

SESSION = {
    "state": "running", "created": "2026-01-01T00:00:00Z", "labels": {}, "network_mode": "none", "policy": "0" * 16,
    "generation": 1, "ports": [], "limits": {}, "usage": {}, "processes": 0,
}  # fmt: skip


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status, code, message="no", remedy="", headers=()):
        super().__init__(code)
        self.status, self.headers = status, headers
        self.body = {"error": {"code": code, "message": message, "remedy": remedy}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):
            self.close_connection = True

    def answer(self):
        daemon = self.server.daemon
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        asked = {
            "method": self.command, "path": url.path, "query": dict(urllib.parse.parse_qsl(url.query)), "body": body,
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }  # fmt: skip
        try:
            asked["json"] = json.loads(body)
        except ValueError:
            asked["json"] = None
        daemon.remember(asked)
        try:
            status, content = daemon.reply(asked, self)
            if status is None:
                return
            self.say(status, content)
        except Refusal as refusal:
            self.say(refusal.status, refusal.body, refusal.headers)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def say(self, status, content, headers=()):
        data = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def caller_is_there(self):
        """Whether the other end has not closed; nothing else is expected from it meanwhile."""
        ready, _, _ = select.select([self.connection], [], [], 0)
        return not ready or self.connection.recv(1, socket.MSG_PEEK) != b""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 1024
    block_on_close = False

    def __init__(self, *arguments):
        self.connections = []
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *_):
        pass


class FakeDaemon:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.asked, self.sessions, self.keys, self.stored = [], {}, {}, {}
        self.started = threading.Event()  # a command has begun
        self.killed = threading.Event()  # a command was ended because its caller went away
        self.hold_create = None  # an Event that creation waits for
        self.fail = None  # called with each request; may raise Refusal
        self.token = None
        self._lock = threading.Lock()
        self._server = Server(str(self.path), Handler)
        self._server.daemon = self

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        for each in self._server.connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(self):
        self._server.serve_forever()

    def remember(self, asked):
        with self._lock:
            self.asked.append(asked)

    def requests(self, method, ending=""):
        with self._lock:
            return [each for each in self.asked if each["method"] == method and each["path"].endswith(ending)]

    # ---- answers ----

    def reply(self, asked, handler):
        if self.token and asked["headers"].get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "unauthorized", "no token", "set WEIR_TOKEN")
        if self.fail:
            self.fail(asked)
        parts = asked["path"].strip("/").split("/")
        if parts == ["v1", "sessions"]:
            return 201, self.create(asked)
        if parts[:2] == ["v1", "snapshots"]:
            return 201, {"name": asked["json"]["name"], "id": "sha256:0", "bytes": 7, "labels": asked["json"].get("labels", {})}
        session = self.sessions.get(parts[2]) if parts[:2] == ["v1", "sessions"] else None
        if session is None:
            raise Refusal(404, "not_found", f"there is no {asked['path']}")
        if len(parts) == 3:
            if asked["method"] == "DELETE":
                del self.sessions[parts[2]]
                return 204, None
            return 200, session
        return getattr(self, f"{parts[3]}")(asked, handler, parts[4:])

    def create(self, asked):
        key = asked["headers"]["idempotency-key"]
        with self._lock:
            if key in self.keys:
                if self.keys[key] is None:
                    raise Refusal(409, "conflict", "it is being worked on")
                return self.keys[key]
            self.keys[key] = None
        self.started.set()
        if self.hold_create:
            self.hold_create.wait(20)
        wanted = asked["json"]
        session = {**SESSION, "id": f"s-{len(self.keys)}", "labels": wanted.get("labels", {}), "ports": wanted.get("ports", [])}
        session |= {key: wanted[key] for key in ("name", "network_mode") if key in wanted}
        self.keys[key] = self.sessions[session["id"]] = session
        return session

    def network(self, asked, handler, rest):
        return 200, {"generation": 2, "policy": "1" * 16, "cut": 3, "warnings": ["w"]}

    def events(self, asked, handler, rest):
        handler.begin_stream()
        for seq in range(3):
            handler.chunk(json.dumps({"v": 1, "seq": seq}).encode() + b"\n")
        handler.chunk(b"")
        return None, None

    def run(self, asked, handler, rest):
        wanted = asked["json"]
        if wanted.get("network_mode") == "open":
            raise Refusal(409, "cannot_widen", "the run asks for open, the session has none", "make the session with open")
        if wanted.get("detach"):
            return 201, {"pid": 7}
        argv = wanted.get("argv") or ["sh", "-c", wanted["command"]]
        child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        child.stdin.write(wanted.get("stdin", "").encode())
        child.stdin.close()
        self.started.set()
        if wanted.get("stream"):
            return self.streamed(child, handler)
        out, err = self.waited(child, handler, wanted.get("timeout_seconds", 60))
        return 200, self.exited(child) | text("stdout", out) | text("stderr", err) | {"truncated": False}

    def waited(self, child, handler, seconds):
        """What it printed (less than a pipe holds), unless the caller goes away first."""
        end = time.monotonic() + seconds
        child.timed_out = False
        while child.poll() is None:
            if not handler.caller_is_there():
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                self.killed.set()
                raise ConnectionError
            if time.monotonic() > end:
                child.timed_out = True
                os.killpg(child.pid, signal.SIGKILL)
            time.sleep(0.005)
        return child.stdout.read(), child.stderr.read()

    def exited(self, child):
        timed_out = getattr(child, "timed_out", False)
        code = 124 if timed_out else child.returncode if child.returncode >= 0 else 128 - child.returncode
        refused = [{"destination": "evil.example:443", "reason": "no-rule", "times": 2}] if code == 9 else []
        return {"exit_code": code, "timed_out": timed_out, "duration_ms": 5, "refused": refused, "limits": []}

    def streamed(self, child, handler):
        handler.begin_stream()
        handler.chunk(b'{"started":{"pid":5}}\n')
        while True:
            ready, _, _ = select.select([child.stdout, handler.connection], [], [])
            if child.stdout not in ready:
                os.killpg(child.pid, signal.SIGKILL)
                self.killed.set()
                raise ConnectionError
            data = child.stdout.read1(65536)
            if not data:
                break
            line = json.dumps(text("stdout", data, either=True)).encode() + b"\n"
            handler.chunk(line[:4])  # lines need not arrive whole
            handler.chunk(line[4:])
        child.wait()
        if child.returncode != 77:  # a stream that stops in the middle
            handler.chunk(json.dumps({"exited": self.exited(child)}).encode() + b"\n")
        handler.chunk(b"")
        return None, None

    def processes(self, asked, handler, rest):
        exited = {"exit_code": 0, "timed_out": False, "duration_ms": 1, "refused": [], "limits": []}
        if not rest:
            mine = {"pid": 7, "argv0": "sleep", "detached": True, "started": "2026-01-01T00:00:00Z"}
            return 200, {"processes": [mine, mine | {"pid": 8, "exited": exited, "stdout_bytes": 3}]}
        pid, verb = rest
        if pid != "7":
            raise Refusal(410, "gone", "the process has ended")
        if verb == "signal":
            return 204, None
        if verb == "stdin":
            return 200, {"written": len(asked["body"])}
        if asked["query"].get("follow"):
            handler.begin_stream()
            handler.chunk(b'{"stderr_base64":"/w=="}\n' + json.dumps({"exited": exited}).encode() + b"\n")
            handler.chunk(b"")
            return None, None
        return 200, {
            "stdout": "ab", "stderr": "", "stdout_bytes": 2, "stderr_bytes": 0, "truncated": False, "exited": exited,
        }  # fmt: skip

    def files(self, asked, handler, rest):
        if not rest:
            entries = [{"name": "a", "type": "file", "bytes": 3, "mode": "0640"}, {"name": "l", "type": "link", "target": "a"}]
            return 200, {"entries": entries, "truncated": asked["query"]["list"] == "/many"}
        path = urllib.parse.unquote("/".join(rest))
        if asked["method"] == "PUT":
            self.stored[path] = asked["body"]
            return 204, None
        if path not in self.stored:
            raise Refusal(404, "not_found", f"there is no {path}")
        if asked["method"] == "DELETE":
            del self.stored[path]
            return 204, None
        return 200, self.stored[path]


def text(stream, data, either=False):
    """A stream in an answer: text, and the exact bytes where it is no UTF-8 (`either`: instead)."""
    try:
        return {stream: data.decode()}
    except UnicodeDecodeError:
        exact = {f"{stream}_base64": base64.b64encode(data).decode()}
        return exact if either else exact | {stream: data.decode("utf-8", "replace")}


if __name__ == "__main__":
    assert sys.argv[1] == "serve" and sys.argv[2].startswith("--socket="), sys.argv
    place = pathlib.Path(sys.argv[2].removeprefix("--socket="))
    place.unlink(missing_ok=True)  # what a killed one left
    FakeDaemon(place).serve()
