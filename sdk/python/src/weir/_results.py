"""What operations answer with: frozen values, made from the API's JSON in one place."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from weir._errors import CommandFailed, Refused, TimedOut

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Refusal:
    """A destination that the sandbox asked for and did not get.

    destination  "evil.example:443", or a name alone where only the name was asked for
    reason       one of the closed list of docs/policy.md: "no-rule", "denied-by-rule", "floor", ...
    times        how often
    """

    destination: str
    reason: str
    times: int = 1


@dataclass(frozen=True)
class RunResult:
    """How a command ended.

    exit_code     the command's; 128+n after signal n; 124 timeout; 126 cannot execute; 127 not found
    stdout        what it printed, as text: bytes that are no UTF-8 stand as U+FFFD
    stderr        the same for standard error
    stdout_bytes  exactly what it printed
    stderr_bytes  the same for standard error
    refused       what the sandbox was refused while the command ran (with several commands at once: that of all)
    timed_out     whether its time was up
    duration_ms   wall clock, milliseconds
    truncated     whether it printed more than `max_output_bytes`, which is not kept
    limits        limits that were reached, in words
    signal        the number of the signal that ended it, or None
    not_executed  why it could not be executed, with exit codes 126 and 127; or None
    """

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    refused: tuple[Refusal, ...] = ()
    timed_out: bool = False
    duration_ms: int = 0
    truncated: bool = False
    limits: tuple[str, ...] = ()
    signal: int | None = None
    not_executed: str | None = None
    stdout_bytes: bytes = field(default=b"", repr=False)
    stderr_bytes: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.exit_code == 0

    def check(self) -> RunResult:
        """Itself if the exit code is 0. Otherwise raises TimedOut, Refused (something was refused meanwhile) or CommandFailed."""
        if self.ok:
            return self
        if self.timed_out:
            raise TimedOut(f"the command was ended after {self.duration_ms} ms", "raise timeout_seconds", result=self)
        if self.refused:
            names = ", ".join(f"{each.destination} ({each.reason})" for each in self.refused[:5])
            raise Refused(f"the command ended with {self.exit_code}, and meanwhile was refused: {names}", result=self)
        why = self.not_executed or self.stderr.strip().rsplit("\n", 1)[-1][:200]
        raise CommandFailed(f"the command ended with {self.exit_code}" + (f": {why}" if why else ""), result=self)


@dataclass(frozen=True)
class Chunk:
    """A piece of what a command prints, as it comes. A piece may end in the middle of a character."""

    stream: Literal["stdout", "stderr"]
    data: bytes

    @property
    def text(self) -> str:
        """The piece as text; what is no UTF-8 stands as U+FFFD."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True)
class FileInfo:
    """An entry of a folder.

    name      relative to the folder that was listed
    type      "file", "folder", "link", "fifo", "socket", "device" or "other"
    bytes     size
    mode      permission bits, as in 0o644
    modified  RFC 3339
    target    where a link leads, or None
    """

    name: str
    type: str
    bytes: int = 0
    mode: int = 0
    modified: str = ""
    target: str | None = None


@dataclass(frozen=True)
class ProcessInfo:
    """A command of this session: one that runs, or a detached one that has ended.

    pid           its number inside
    program       the first word of the command
    detached      whether it lives on without whoever started it
    started       RFC 3339
    result        how it ended (without its output), or None while it runs
    stdout_bytes  printed so far; the same for stderr_bytes
    """

    pid: int
    program: str
    detached: bool
    started: str
    result: RunResult | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.result is None


@dataclass(frozen=True)
class Output:
    """What a detached command has printed so far, and how it ended (`result`) if it has.

    truncated  whether this is not all of it
    """

    stdout: str
    stderr: str
    truncated: bool = False
    result: RunResult | None = None
    stdout_bytes: bytes = field(default=b"", repr=False)
    stderr_bytes: bytes = field(default=b"", repr=False)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.result is None


@dataclass(frozen=True)
class SessionInfo:
    """What a session is.

    id, name      by which it is found; the name is None where none was given
    state         "running" or "asleep"
    network_mode  the mode in force
    generation    grows with each narrowing
    ports         "127.0.0.1:8080:80", with the port that was chosen
    labels        as given
    created       RFC 3339; `expires` too, or None
    raw           the API's whole answer, for what has no field here (`usage`, `limits`, ...)
    """

    id: str
    name: str | None
    state: str
    network_mode: str
    generation: int
    ports: tuple[str, ...]
    labels: Mapping[str, str]
    created: str
    expires: str | None
    raw: Json = field(repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class Narrowed:
    """A narrower policy that is in force.

    generation  its number
    policy      its hash, as in events
    cut         how many connections lost their permission and were ended
    warnings    targets that were cut down to what the session allows
    """

    generation: int
    policy: str
    cut: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SnapshotInfo:
    """Files of a session, kept under a name. `id` is a digest of what it is, `bytes` its size, `raw` the API's answer."""

    name: str
    id: str = ""
    created: str = ""
    bytes: int = 0
    network_mode: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    raw: Json = field(repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class ImageInfo:
    """A root file system by name. `digest` is empty where its format has none, `raw` the API's answer."""

    name: str
    digest: str = ""
    created: str = ""
    bytes: int = 0
    raw: Json = field(repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class ServiceInfo:
    """A service and how it fares.

    name      by which it is found
    session   the session that it is
    health    "starting", "healthy" (each published TCP port takes a connection), "unhealthy" or "stopped"
    restart   "no", "on-failure" or "always"
    restarts  how often its script was begun again
    """

    name: str
    session: SessionInfo
    health: str
    restart: str
    restarts: int


def printed(json: Json, stream: str) -> bytes:
    """The exact bytes of a stream: those in base 64 where the text could not say them."""
    exact = json.get(f"{stream}_base64")
    return base64.b64decode(exact) if exact is not None else str(json.get(stream, "")).encode()


def result_of(exited: Json, stdout: bytes = b"", stderr: bytes = b"", *, truncated: bool = False) -> RunResult:
    """A RunResult from the API's `Exited` (or `RunResult`, which has the same keys)."""
    return RunResult(
        exit_code=exited["exit_code"],
        stdout=stdout.decode("utf-8", "replace"),
        stderr=stderr.decode("utf-8", "replace"),
        refused=tuple(Refusal(each["destination"], each["reason"], each["times"]) for each in exited["refused"]),
        timed_out=exited["timed_out"],
        duration_ms=exited["duration_ms"],
        truncated=truncated,
        limits=tuple(exited["limits"]),
        signal=exited.get("signal"),
        not_executed=exited.get("not_executed"),
        stdout_bytes=stdout,
        stderr_bytes=stderr,
    )


def collected(json: Json) -> RunResult:
    """A RunResult from the API's `RunResult`."""
    return result_of(json, printed(json, "stdout"), printed(json, "stderr"), truncated=json["truncated"])


def output_of(json: Json) -> Output:
    """An Output from the API's `Output`; its `result` carries the same text."""
    stdout, stderr, exited = printed(json, "stdout"), printed(json, "stderr"), json.get("exited")
    return Output(
        stdout=stdout.decode("utf-8", "replace"),
        stderr=stderr.decode("utf-8", "replace"),
        truncated=json["truncated"],
        result=result_of(exited, stdout, stderr, truncated=json["truncated"]) if exited else None,
        stdout_bytes=stdout,
        stderr_bytes=stderr,
    )


def session_of(json: Json) -> SessionInfo:
    """A SessionInfo from the API's `Session`."""
    return SessionInfo(
        id=json["id"],
        name=json.get("name"),
        state=json["state"],
        network_mode=json["network_mode"],
        generation=json["generation"],
        ports=tuple(json["ports"]),
        labels=dict(json["labels"]),
        created=json["created"],
        expires=json.get("expires"),
        raw=json,
    )


def process_of(json: Json) -> ProcessInfo:
    """A ProcessInfo from the API's `Process`."""
    exited = json.get("exited")
    return ProcessInfo(
        pid=json["pid"],
        program=json["argv0"],
        detached=json["detached"],
        started=json["started"],
        result=result_of(exited) if exited else None,
        stdout_bytes=json.get("stdout_bytes", 0),
        stderr_bytes=json.get("stderr_bytes", 0),
    )


def file_of(json: Json) -> FileInfo:
    """A FileInfo from the API's `FileEntry`."""
    return FileInfo(
        name=json["name"],
        type=json["type"],
        bytes=json.get("bytes", 0),
        mode=int(json.get("mode", "0"), 8),
        modified=json.get("modified", ""),
        target=json.get("target"),
    )


def snapshot_of(json: Json) -> SnapshotInfo:
    """A SnapshotInfo from the API's `Snapshot`."""
    return SnapshotInfo(
        name=json["name"],
        id=json.get("id", ""),
        created=json.get("created", ""),
        bytes=json.get("bytes", 0),
        network_mode=json.get("network_mode", ""),
        labels=dict(json.get("labels", {})),
        raw=json,
    )


def narrowed_of(json: Json) -> Narrowed:
    """A Narrowed from the API's `Narrowed`."""
    return Narrowed(json["generation"], json["policy"], json["cut"], tuple(json["warnings"]))


def image_of(json: Json) -> ImageInfo:
    """An ImageInfo from the API's `Image`."""
    return ImageInfo(json["name"], json["digest"], json["created"], json["bytes"], raw=json)


def service_of(json: Json) -> ServiceInfo:
    """A ServiceInfo from the API's `Session` with its `service`."""
    service = json["service"]
    return ServiceInfo(json["name"], session_of(json), service["health"], service["restart"], service["restarts"])
