"""What the logic and the two drivers say to each other. No I/O happens here.

An operation is a generator: it yields a `Request` (or a `Pause`), is sent the `Response`, and returns its value. It is
written once; a blocking and an asynchronous driver carry it out. What goes wrong is thrown into it, cancellation
included, so that it can tidy up with further requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from weir._errors import Unavailable, from_answer
from weir._progress import Progress
from weir._results import Chunk, RunResult, printed, result_of

T = TypeVar("T")
Item_co = TypeVar("Item_co", covariant=True)

USUAL_SECONDS = 60.0
LONGEST_LINE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Body:
    """Bytes to send: pieces that can be had once, how many bytes they are in all, and who is told how far it is."""

    pieces: Iterator[bytes]
    length: int
    progress: Progress | None = None


@dataclass(frozen=True)
class Request:
    """One exchange. `seconds` is the longest silence that is waited out, None for any; `sink` takes a good answer as it comes."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = USUAL_SECONDS
    sink: Callable[[bytes, int | None], None] | None = None


@dataclass(frozen=True)
class Pause:
    """Waiting, seconds."""

    seconds: float


@dataclass(frozen=True)
class Response:
    """An answer; `content` is empty where a sink took it."""

    status: int
    headers: Mapping[str, str]
    content: bytes


Step = Request | Pause
Call = Generator[Step, Response, T]


def decoded(response: Response) -> Any:
    """The JSON of a good answer, or None where there is none. Raises the error that it carries."""
    try:
        value = json.loads(response.content) if response.content else None
    except ValueError:
        value = None
        if response.status < 400:
            raise Unavailable("the daemon answered with something that is no JSON", "is it weir that listens there?") from None
    if not 200 <= response.status < 300:
        raise from_answer(response.status, value, response.headers.get("retry-after"))
    return value


def asked(request: Request) -> Call[Any]:
    """A request and the JSON of its answer."""
    response = yield request
    return decoded(response)


class Decoder(Protocol[Item_co]):
    """Makes items of the lines of an answer."""

    def line(self, value: Mapping[str, Any]) -> Item_co | None: ...
    def end(self) -> None: ...


class Lines(Generic[T]):
    """NDJSON that comes in pieces of any size, split at line feeds and nothing else."""

    def __init__(self, decoder: Decoder[T]) -> None:
        self._decoder = decoder
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[T]:
        """The items that are complete now."""
        self._rest += data
        if len(self._rest) > LONGEST_LINE:
            raise Unavailable("the daemon sent a line without end", "is it weir that listens there?")
        if b"\n" not in data:
            return []
        *whole, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        items = (self._decoder.line(json.loads(each)) for each in whole if each.strip())
        return [each for each in items if each is not None]

    def end(self) -> None:
        """Raises where the answer stopped in the middle."""
        if self._rest.strip():
            raise Unavailable("the answer stopped in the middle of a line", "the daemon or the connection went away")
        self._decoder.end()


class RunEvents:
    """Decodes the API's `RunEvent`s: chunks, then how it ended."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.result: RunResult | None = None

    def line(self, value: Mapping[str, Any]) -> Chunk | None:
        """The chunk that a line carries, if it carries one. Raises the error that it carries."""
        if "error" in value:
            raise from_answer(200, value)
        if "exited" in value:
            self.result = result_of(value["exited"])
        if "started" in value:
            self.pid = value["started"]["pid"]
        for stream in ("stdout", "stderr"):
            if stream in value or f"{stream}_base64" in value:
                return Chunk("stdout" if stream == "stdout" else "stderr", printed(value, stream))
        return None

    def end(self) -> None:
        """Raises where nothing said how the command ended."""
        if self.result is None:
            raise Unavailable("the stream stopped before the command had ended", "daemon, session or connection went away")


class Records:
    """Decodes lines that are taken as they are: events."""

    def line(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """The line."""
        return value

    def end(self) -> None:
        """A record may end anywhere."""
