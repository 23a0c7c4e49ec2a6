"""Where the daemon is, and starting the local one on demand.

`WEIR_URL` (http://, https://, unix:///path) and `WEIR_TOKEN` name one; without them it is the local daemon of this user.
What never leaves the machine (`weir.on_device`) asks for the local one and looks at neither.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import pathlib
import shutil
import socket
import stat
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

from weir._errors import Unavailable

START_SECONDS = 15.0
_POLL_SECONDS = 0.01
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_children: list[subprocess.Popen[bytes]] = []  # daemons started here; they go on when this program ends


@dataclass(frozen=True)
class Endpoint:
    """A daemon: `url` for HTTP, `socket` where it is a unix socket, `token`, and whether it may be started here."""

    url: str
    socket: pathlib.Path | None = None
    token: str | None = None
    ours: bool = False

    def ready(self) -> None:
        """Makes sure that something listens, where that is for this program to do. Blocks for at most START_SECONDS."""
        if self.ours and self.socket is not None:
            _start_unless_running(self.socket)


def named() -> Endpoint:
    """The daemon that WEIR_URL names, else the local one. Raises Unavailable for an address that makes no sense."""
    url = os.environ.get("WEIR_URL", "")
    return _of_url(url, os.environ.get("WEIR_TOKEN") or None) if url else local()


def local() -> Endpoint:
    """The daemon of this user on this machine, whatever the environment names."""
    return Endpoint("http://localhost", socket=_socket_path(), ours=True)


def _of_url(url: str, token: str | None) -> Endpoint:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
        return Endpoint("http://localhost", socket=pathlib.Path(urllib.parse.unquote(parts.path)), token=token)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Unavailable(f"WEIR_URL={url} names no daemon", "write http://HOST:PORT, https://HOST:PORT or unix:///PATH")
    if parts.username is not None or parts.password is not None:
        raise Unavailable("WEIR_URL carries a user or a password", "put the token into WEIR_TOKEN")
    if parts.scheme == "http" and token and not _is_loopback(parts.hostname):
        raise Unavailable(
            f"WEIR_TOKEN would cross the network in the clear to {parts.hostname}",
            "use https://, or a tunnel that ends on 127.0.0.1",
        )
    return Endpoint(url.rstrip("/"), token=token)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _socket_path() -> pathlib.Path:
    if os.geteuid() == 0:
        return pathlib.Path("/run/weir.sock")
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return pathlib.Path(folder) / "weir.sock"


def _listens(path: pathlib.Path) -> bool:
    """Whether a daemon of this user, or root's, answers there. Somebody else's is an error and not a no."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}", "name a daemon with WEIR_URL") from error
    if found.st_uid not in (0, os.geteuid()) or not stat.S_ISSOCK(found.st_mode):
        raise Unavailable(f"{path} is no socket of yours", "remove it, or name a daemon with WEIR_URL")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(START_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # more callers at once than it has taken in yet
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror or error}", "name a daemon with WEIR_URL") from error
    return True


@contextlib.contextmanager
def _alone(path: pathlib.Path) -> Iterator[None]:
    """Of several programs that want the same daemon one starts it; the others wait here and then find it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}", "set XDG_RUNTIME_DIR to a folder of yours, or WEIR_URL") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _start_unless_running(path: pathlib.Path) -> None:
    if _listens(path):
        return
    with _alone(path.with_name(path.name + ".starting")):
        if not _listens(path):
            _start(path)


def _program() -> str:
    named_one = os.environ.get("WEIR_BIN")
    if named_one:
        return named_one
    found = shutil.which("weir")
    if not found:
        raise Unavailable("no daemon runs, and `weir` is not on PATH to start one", "install weir, or set WEIR_BIN or WEIR_URL")
    return found


def _start(path: pathlib.Path) -> None:
    log = path.with_name(path.name + ".log")
    environment = {key: value for key, value in os.environ.items() if key in _KEPT or key.startswith(("LC_", "XDG_"))}
    try:
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as out:
            child = subprocess.Popen(
                [_program(), "serve", f"--socket={path}", "--log=none"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd="/",
                env=environment,
            )
    except OSError as error:
        raise Unavailable(f"the daemon could not be started: {error}", "install weir, or set WEIR_BIN or WEIR_URL") from error
    _children[:] = [each for each in _children if each.poll() is None] + [child]
    deadline = time.monotonic() + START_SECONDS
    while not _listens(path):
        if child.poll() is not None:
            raise Unavailable(f"the daemon ended at once: {_last_line(log) or f'exit code {child.returncode}'}", f"see {log}")
        if time.monotonic() > deadline:
            child.kill()
            raise Unavailable(f"the daemon did not listen on {path} within {START_SECONDS:.0f} s", f"see {log}")
        time.sleep(_POLL_SECONDS)


def _last_line(log: pathlib.Path) -> str:
    try:
        return log.read_text(errors="replace").strip().rsplit("\n", 1)[-1]
    except OSError:
        return ""
