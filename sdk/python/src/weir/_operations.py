"""What can be done with a sandbox, said once: each operation is a generator of requests (see `_calls`).

`sandbox.py` makes of each a blocking and an asynchronous method. The docstrings and signatures here are those of both.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Protocol

from weir import _results as results
from weir._calls import Body, Call, Lines, Pause, Request, RunEvents, asked
from weir._errors import Closed, Conflict, Gone, NotFound, TooLarge, WeirError
from weir._modes import NetworkMode, PortForward
from weir._progress import Progress

CREATE_SECONDS = 300.0
LONG_SECONDS = 3600.0
GRACE_SECONDS = 60.0
DEFAULT_IDLE_SECONDS = 86_400
_PIECE = 1024 * 1024
_MAKE_TRIES = 100
_MAKE_PAUSE_SECONDS = 0.1

Bytes = bytes | bytearray | memoryview


def given(**values: Any) -> dict[str, Any]:
    """The values that were given, as JSON: modes as their names, sequences as lists."""
    return {key: _plain(value) for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, NetworkMode | PortForward):
        return str(value)
    if isinstance(value, tuple | frozenset | set):
        return [_plain(each) for each in value]
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def targets(value: Iterable[str] | None) -> list[str] | None:
    """A list of targets. A bare string is a mistake that would otherwise be read letter by letter."""
    if isinstance(value, str):
        raise TypeError(f"a list of targets, not a string: write [{value!r}]")
    return None if value is None else list(value)


class Described:
    """A sandbox that is described and started when it is first needed: the part that both kinds share.

    name               another way to find it; else only its id
    network_mode       a NetworkMode or any of its spellings; default "none", or what the other options imply
    network_allowlist  targets that may be reached: "example.com", "*.example.com:443", "@pypi", "10.0.0.0/8" (docs/policy.md)
    network_denylist   targets that may not; deny wins
    network_proxy_url  "http://ADDRESS:PORT" of an egress proxy of your own, which everything that is admitted goes through
    network_socks_url  the same with "socks5h://ADDRESS:PORT"
    policy             the text of a policy file
    insist             what weir otherwise refuses, named one by one: "broad=*.com", "taint"
    image              root file system by name; default the host's /usr, read-only
    template           a named snapshot or image to start from
    snapshot           a snapshot to start from
    backend            "process" (alias "userns") or "qemu"
    ttl_seconds        ends it so long after its creation, whatever it does
    idle_seconds       ends it after so long without a call and a process; one day unless said otherwise, so that a program
                       that was killed leaves nothing for ever. None: never
    on_idle            "stop", or "snapshot": kept, and started again by the next call
    port_forwards      PortForward, or "[BIND:]HOST:GUEST[/udp]"
    env                environment of every command
    limits             {"memory": "512M", "cpus": 1.5, "pids": 256, "disk": "1G"}
    labels             words of your own
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        network_mode: NetworkMode | str | None = None,
        network_allowlist: Iterable[str] | None = None,
        network_denylist: Iterable[str] | None = None,
        network_proxy_url: str | None = None,
        network_socks_url: str | None = None,
        policy: str | None = None,
        insist: Iterable[str] | None = None,
        image: str | None = None,
        template: str | None = None,
        snapshot: str | None = None,
        backend: str | None = None,
        ttl_seconds: int | None = None,
        idle_seconds: int | None = DEFAULT_IDLE_SECONDS,
        on_idle: str | None = None,
        port_forwards: Sequence[PortForward | str] | None = None,
        env: Mapping[str, str] | None = None,
        limits: Mapping[str, str | int | float] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._spec = given(
            name=name,
            network_mode=network_mode,
            network_allowlist=targets(network_allowlist),
            network_denylist=targets(network_denylist),
            network_proxy_url=network_proxy_url,
            network_socks_url=network_socks_url,
            policy=policy,
            insist=targets(insist),
            image=image,
            template=template,
            snapshot=snapshot,
            backend=backend,
            ttl_seconds=ttl_seconds,
            idle_seconds=idle_seconds,
            on_idle=on_idle,
            ports=[str(each) for each in port_forwards] if port_forwards is not None else None,
            env=dict(env) if env is not None else None,
            limits=dict(limits) if limits is not None else None,
            labels=dict(labels) if labels is not None else None,
        )
        self._key = secrets.token_hex(16)
        self._info: results.SessionInfo | None = None
        self._attached: str | None = None
        self._closed = False
        self._setup()

    def _setup(self) -> None:
        """The driver of the kind."""

    @property
    def id(self) -> str:
        """Its id. Raises Closed before it has started."""
        return self.info.id

    @property
    def info(self) -> results.SessionInfo:
        """What it was when it was last looked at (`show()` looks again). Raises Closed before it has started."""
        if self._info is None:
            raise Closed("the sandbox has not been started", "use it as a context manager, or call start()")
        return self._info

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not started" if self._info is None else self._info.id
        return f"<{type(self).__name__} {state}>"


class HasSandbox(Protocol):
    """What belongs to a sandbox: its file system, a process."""

    _sandbox: Described


class HasPid(HasSandbox, Protocol):
    """A process of a sandbox."""

    pid: int


# ---- from start to end ----------------------------------------------------------------------------------------------


def started(box: Described) -> Call[str]:
    """The path of the session, which is made if it is not there yet."""
    if box._closed:
        raise Closed("the sandbox is closed", "make another one")
    if box._info is None:
        box._info = results.session_of((yield from (_found(box) if box._attached else _created(box))))
    return f"/v1/sessions/{box._info.id}"


def _found(box: Described) -> Call[Any]:
    assert box._attached is not None
    return (yield from asked(Request("GET", f"/v1/sessions/{segment(box._attached)}")))


def _create_request(box: Described) -> Request:
    # With the same key a second request finds what the first has made.
    return Request("POST", "/v1/sessions", json=box._spec, headers={"idempotency-key": box._key}, seconds=CREATE_SECONDS)


def _created(box: Described) -> Call[Any]:
    try:
        return (yield from _made(box))
    except WeirError as error:
        if error.status is None:
            yield from _abandoned(box)
        raise
    except BaseException:  # cancelled, or interrupted at the keyboard: the session may stand and nobody knows its id
        yield from _abandoned(box)
        raise


def _made(box: Described) -> Call[Any]:
    for _ in range(_MAKE_TRIES):
        try:
            return (yield from asked(_create_request(box)))
        except Conflict:  # another first call, or one that was abandoned, has sent the same and is being worked on
            yield Pause(_MAKE_PAUSE_SECONDS)
    return (yield from asked(_create_request(box)))


def _abandoned(box: Described) -> Call[None]:
    """Ends a session whose creation was not waited for. What cannot be done now is done by its idle time."""
    box._closed = True
    with contextlib.suppress(WeirError):
        made = yield from _made(box)
        yield from asked(Request("DELETE", f"/v1/sessions/{made['id']}", query={"kill": "1"}))


def start(box: Described) -> Call[None]:
    """Starts the sandbox if it does not run yet; every other operation does so by itself."""
    yield from started(box)


def ended(box: Described) -> Call[None]:
    """Ends the session and everything in it, unless it was attached to. Does nothing the second time."""
    if box._closed:
        return
    box._closed = True
    if box._info is not None and not box._attached:
        # It may have ended on its own: its time was up, or somebody else was quicker.
        with contextlib.suppress(NotFound, Gone):
            yield from asked(Request("DELETE", f"/v1/sessions/{box._info.id}"))


def show(box: Described) -> Call[results.SessionInfo]:
    """Looks again what the session is, may reach and uses."""
    path = yield from started(box)
    box._info = results.session_of((yield from asked(Request("GET", path))))
    return box._info


# ---- commands -------------------------------------------------------------------------------------------------------


def _command(command: str | Sequence[str]) -> dict[str, Any]:
    return {"command": command} if isinstance(command, str) else {"argv": [os.fspath(each) for each in command]}


def run(
    box: Described,
    command: str | Sequence[str],
    *,
    network_mode: NetworkMode | str | None = None,
    network_allowlist: Iterable[str] | None = None,
    network_denylist: Iterable[str] | None = None,
    timeout_seconds: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: str | None = None,
    max_output_bytes: int | None = None,
    freeze: bool | None = None,
    keep_files: bool | None = None,
) -> Call[results.RunResult]:
    """Runs a command and waits for its end. Whoever is cancelled or interrupted meanwhile takes the command along.

    command            a line for /bin/sh, or a list: a program and its arguments
    network_*          a narrower network for this command alone; a wider one raises CannotWiden
    timeout_seconds    ends it after so long (`timed_out`, exit code 124)
    env, cwd           added to the session's environment; the folder to start in, absolute
    stdin              text for its standard input, which is empty otherwise
    max_output_bytes   how much of each stream is kept, default 8 MiB
    freeze             suspends processes with a wider policy meanwhile, instead of raising WiderProcess
    keep_files         keeps what a command with a network of its own wrote, which is discarded otherwise

    A command that fails is no exception: look at `exit_code`, or call `.check()` on the result.
    """
    path = yield from started(box)
    body = _command(command) | given(
        network_mode=network_mode,
        network_allowlist=targets(network_allowlist),
        network_denylist=targets(network_denylist),
        timeout_seconds=timeout_seconds,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        stdin=stdin,
        max_output_bytes=max_output_bytes,
        freeze=freeze,
        keep_files=keep_files,
    )
    seconds = timeout_seconds + GRACE_SECONDS if timeout_seconds is not None else None
    return results.collected((yield from asked(Request("POST", f"{path}/run", json=body, seconds=seconds))))


def stream_request(
    box: Described,
    command: str | Sequence[str],
    *,
    network_mode: NetworkMode | str | None = None,
    network_allowlist: Iterable[str] | None = None,
    network_denylist: Iterable[str] | None = None,
    timeout_seconds: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: str | None = None,
    freeze: bool | None = None,
    keep_files: bool | None = None,
) -> Call[Request]:
    """Runs a command whose output is read as it comes; the options are those of `run`.

    Iterate over it for `Chunk`s; afterwards its `result` says how the command ended. Used as a context manager, leaving
    early ends the command.
    """
    path = yield from started(box)
    body = _command(command) | given(
        stream=True,
        network_mode=network_mode,
        network_allowlist=targets(network_allowlist),
        network_denylist=targets(network_denylist),
        timeout_seconds=timeout_seconds,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        stdin=stdin,
        freeze=freeze,
        keep_files=keep_files,
    )
    return Request("POST", f"{path}/run", json=body, seconds=None)


def launch(
    box: Described,
    command: str | Sequence[str],
    *,
    timeout_seconds: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: bool | None = None,
) -> Call[int]:
    """Starts a command that goes on without this program, and lives as long as its session at most. -> Process

    The options are those of `run`; `stdin=True` keeps its standard input open for `Process.write`.
    """
    path = yield from started(box)
    body = _command(command) | given(
        detach=True, timeout_seconds=timeout_seconds, env=dict(env) if env is not None else None, cwd=cwd, stdin=stdin
    )
    begun = yield from asked(Request("POST", f"{path}/run", json=body, headers=_once()))
    return int(begun["pid"])


def processes(box: Described) -> Call[list[results.ProcessInfo]]:
    """The commands of this session: those that run, and detached ones that have ended."""
    path = yield from started(box)
    answer = yield from asked(Request("GET", f"{path}/processes"))
    return [results.process_of(each) for each in answer["processes"]]


def signal(process: HasPid, name: str | int = "TERM") -> Call[None]:
    """Sends a signal, by name or number, to the command and everything that it started. Raises Gone if it has ended."""
    path = yield from _process(process)
    wanted = name if isinstance(name, str) else int(name)
    yield from asked(Request("POST", f"{path}/signal", json={"signal": wanted}))


def kill(process: HasPid) -> Call[None]:
    """Ends the command and everything that it started, at once. Nothing happens if it has ended."""
    with contextlib.suppress(Gone):
        yield from signal(process, "KILL")


def write(process: HasPid, data: Bytes | str = b"") -> Call[int]:
    """Writes to the standard input of a command that was started with `stdin=True`; text as UTF-8. -> bytes written"""
    return (yield from _written(process, data, {}))


def close_stdin(process: HasPid, data: Bytes | str = b"") -> Call[int]:
    """Closes its standard input, after writing this. -> bytes written"""
    return (yield from _written(process, data, {"close": "1"}))


def _written(process: HasPid, data: Bytes | str, query: Mapping[str, str]) -> Call[int]:
    path = yield from _process(process)
    headers = {"content-type": "application/octet-stream", **_once()}
    request = Request("POST", f"{path}/stdin", query=query, body=body_of(data), headers=headers)
    return int((yield from asked(request))["written"])


def output(process: HasPid) -> Call[results.Output]:
    """What it has printed so far, at most 8 MiB of each stream, and how it ended if it has."""
    path = yield from _process(process)
    return results.output_of((yield from asked(Request("GET", f"{path}/output"))))


def wait(process: HasPid) -> Call[results.RunResult]:
    """Waits for its end. The result carries what `output` would."""
    path = yield from _process(process)
    decoder = RunEvents()
    lines = Lines(decoder)

    def sink(data: bytes, _: int | None) -> None:
        lines.feed(data)

    yield from asked(Request("GET", f"{path}/output", query={"follow": "1"}, seconds=None, sink=sink))
    lines.end()
    answer = yield from output(process)
    assert decoder.result is not None
    return answer.result or decoder.result


def follow_request(process: HasPid) -> Call[Request]:
    """All that it prints, as it comes, until it ends: a stream as that of `Sandbox.stream`. Leaving early does not end it."""
    path = yield from _process(process)
    return Request("GET", f"{path}/output", query={"follow": "1"}, seconds=None)


def _process(process: HasPid) -> Call[str]:
    path = yield from started(process._sandbox)
    return f"{path}/processes/{process.pid}"


# ---- network, record, snapshots -------------------------------------------------------------------------------------


def narrow(
    box: Described,
    *,
    network_mode: NetworkMode | str | None = None,
    network_allowlist: Iterable[str] | None = None,
    network_denylist: Iterable[str] | None = None,
    policy: str | None = None,
) -> Call[results.Narrowed]:
    """Gives the whole session a narrower network, for good. Connections that lost their permission are cut before this returns.

    Raises CannotWiden if it is not narrower.
    """
    path = yield from started(box)
    body = given(
        network_mode=network_mode,
        network_allowlist=targets(network_allowlist),
        network_denylist=targets(network_denylist),
        policy=policy,
    )
    return results.narrowed_of((yield from asked(Request("PUT", f"{path}/network", json=body))))


def events_request(box: Described, *, follow: bool = False) -> Call[Request]:
    """The record of what the session tried to reach, event by event (docs/events.schema.json). `follow`: until it ends."""
    path = yield from started(box)
    return Request("GET", f"{path}/events", query={"follow": "1"} if follow else {}, seconds=None)


def snapshot(box: Described, name: str, *, labels: Mapping[str, str] | None = None) -> Call[results.SnapshotInfo]:
    """Keeps the files of the session under a name, for `Sandbox(template=name)`. Raises NameTaken."""
    yield from started(box)
    body = given(session=box.id, name=name, labels=dict(labels) if labels is not None else None)
    request = Request("POST", "/v1/snapshots", json=body, headers=_once(), seconds=LONG_SECONDS)
    return results.snapshot_of((yield from asked(request)))


# ---- files ----------------------------------------------------------------------------------------------------------


def segment(text: str) -> str:
    """One segment of a path."""
    return urllib.parse.quote(text, safe="")


def _file(fs: HasSandbox, path: str) -> Call[str]:
    """The URL of a file. The whole path is one segment, so that nothing on the way resolves dots in it."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r}: paths inside a sandbox are absolute")
    if "\0" in path:
        raise ValueError(f"{path!r}: a path has no NUL")
    session = yield from started(fs._sandbox)
    return f"{session}/files/{segment(path)}"


def body_of(data: Bytes | str, progress: Progress | None = None) -> Body:
    """Bytes in memory, sent in pieces without a copy of the whole."""
    view = memoryview(data.encode() if isinstance(data, str) else data).cast("B")
    return Body((bytes(view[at : at + _PIECE]) for at in range(0, len(view), _PIECE)), len(view), progress)


def _file_pieces(source: IO[bytes], length: int) -> Iterator[bytes]:
    """Exactly this many bytes: a file that grows or shrinks meanwhile must not end as something else inside."""
    while length > 0:
        piece = source.read(min(_PIECE, length))
        if not piece:
            raise OSError("the file became shorter while it was sent")
        length -= len(piece)
        yield piece


def put(fs: HasSandbox, path: str, data: Bytes | str, *, mode: int = 0o644, progress: Progress | None = None) -> Call[None]:
    """Writes a file, whole or not at all; folders above it are made.

    path      absolute inside
    data      bytes, or text as UTF-8
    mode      permission bits
    progress  called with (bytes sent, bytes in all); `weir.ProgressBar()` draws a bar on a terminal
    """
    url = yield from _file(fs, path)
    yield from asked(_put(url, body_of(data, progress), mode))


def put_bytes(box: Described, path: str, data: Bytes | str, *, mode: int = 0o644, progress: Progress | None = None) -> Call[None]:
    """The same as `filesystem.write`: writes a file, whole or not at all; folders above it are made."""
    yield from put(_Of(box), path, data, mode=mode, progress=progress)


def get_bytes(box: Described, path: str) -> Call[bytes]:
    """The same as `filesystem.read`: the bytes of a file. Raises NotFound."""
    return (yield from get(_Of(box), path))


class _Of:
    def __init__(self, box: Described) -> None:
        self._sandbox = box


def _put(url: str, body: Body, mode: int) -> Request:
    headers = {"content-type": "application/octet-stream"}
    return Request("PUT", url, query={"mode": f"{mode:04o}"}, body=body, headers=headers)


def get(fs: HasSandbox, path: str) -> Call[bytes]:
    """The bytes of a file. Raises NotFound."""
    url = yield from _file(fs, path)
    held = bytearray()
    yield from asked(Request("GET", url, sink=lambda data, _: held.extend(data)))
    return bytes(held)


def get_text(fs: HasSandbox, path: str) -> Call[str]:
    """A file as text, UTF-8. Raises NotFound, UnicodeDecodeError."""
    return (yield from get(fs, path)).decode()


def listed(fs: HasSandbox, path: str = "/", *, recursive: bool = False) -> Call[list[results.FileInfo]]:
    """The entries of a folder; `recursive`: those below too, named relative to it. Raises NotFound."""
    yield from _file(fs, path)
    session = yield from started(fs._sandbox)
    query = {"list": path} | ({"recursive": "1"} if recursive else {})
    answer = yield from asked(Request("GET", f"{session}/files", query=query))
    if answer["truncated"]:
        raise TooLarge(f"{path} has more entries than one answer holds", "list the folders below it one by one, or download_tar")
    return [results.file_of(each) for each in answer["entries"]]


def delete(fs: HasSandbox, path: str, *, recursive: bool = False) -> Call[None]:
    """Removes a file or an empty folder; `recursive`: a folder with everything in it. Raises NotFound."""
    url = yield from _file(fs, path)
    yield from asked(Request("DELETE", url, query={"recursive": "1"} if recursive else {}))


def make_folder(fs: HasSandbox, path: str) -> Call[None]:
    """Makes a folder, and those above it."""
    url = yield from _file(fs, path)
    yield from asked(Request("PUT", url, query={"folder": "1"}))


def upload(fs: HasSandbox, local: str | os.PathLike[str], path: str, *, progress: Progress | None = None) -> Call[None]:
    """Copies a file of this machine, or a folder with everything below it, to `path` inside. Links are copied as links.

    Memory does not grow with its size. A file keeps its permission bits. `progress` as in `write`.
    """
    url = yield from _file(fs, path)
    source = pathlib.Path(local)
    if source.is_dir():
        yield from _upload_folder(url, source, progress)
        return
    with source.open("rb") as file:
        found = os.fstat(file.fileno())
        body = Body(_file_pieces(file, found.st_size), found.st_size, progress)
        yield from asked(_put(url, body, found.st_mode & 0o777))


def _upload_folder(url: str, source: pathlib.Path, progress: Progress | None) -> Call[None]:
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(source, arcname=".")
        length = archive.tell()
        archive.seek(0)
        body = Body(_file_pieces(archive, length), length, progress)
        yield from asked(Request("PUT", url, body=body, headers={"content-type": "application/x-tar"}, seconds=LONG_SECONDS))


def download(fs: HasSandbox, path: str, local: str | os.PathLike[str], *, progress: Progress | None = None) -> Call[None]:
    """Copies a file from inside to this machine: a new file beside `local` takes its place when it is whole."""
    yield from _downloaded(fs, path, pathlib.Path(local), {}, progress)


def download_tar(fs: HasSandbox, path: str, local: str | os.PathLike[str], *, progress: Progress | None = None) -> Call[None]:
    """Copies a folder from inside as a tar archive. What is in it was written by what ran inside: unpack it with care."""
    yield from _downloaded(fs, path, pathlib.Path(local), {"tar": "1"}, progress)


def _downloaded(
    fs: HasSandbox, path: str, local: pathlib.Path, query: Mapping[str, str], progress: Progress | None
) -> Call[None]:
    url = yield from _file(fs, path)
    part = local.with_name(f".{local.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:

            def sink(data: bytes, total: int | None) -> None:
                file.write(data)
                if progress:
                    progress(file.tell(), total)

            yield from asked(Request("GET", url, query=query, seconds=LONG_SECONDS, sink=sink))
        part.replace(local)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _once() -> dict[str, str]:
    return {"idempotency-key": secrets.token_hex(16)}
