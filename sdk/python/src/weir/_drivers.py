"""Carrying requests out: the same steps, once blocking and once asynchronous. Everything that waits for the network is here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import pathlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import httpx

from weir._calls import Body, Call, Lines, Pause, Request, Response, Step, decoded
from weir._endpoint import Endpoint
from weir._errors import Unavailable

T = TypeVar("T")
Item = TypeVar("Item")

CONNECT_SECONDS = 10.0
# Every command that is waited for holds a connection: the daemon limits how many there are, not this side.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=15.0)


def _settings(endpoint: Endpoint) -> dict[str, Any]:
    # No proxies, netrc or redirects of the environment: the daemon that was named gets the token, and nobody else.
    headers = {"user-agent": "weir-python/0.1.0", "accept-encoding": "identity"}
    if endpoint.token:
        headers["authorization"] = f"Bearer {endpoint.token}"
    return {"base_url": endpoint.url, "headers": headers, "trust_env": False, "follow_redirects": False}


def _transport_settings(endpoint: Endpoint) -> dict[str, Any]:
    verify = ssl.create_default_context() if endpoint.url.startswith("https:") else False
    return {"uds": str(endpoint.socket) if endpoint.socket else None, "limits": _LIMITS, "verify": verify, "trust_env": False}


def _arguments(request: Request) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "headers": {"content-type": "application/json"} | dict(request.headers)
        if request.json is not None
        else dict(request.headers),
        "timeout": httpx.Timeout(request.seconds, connect=CONNECT_SECONDS, pool=None),
    }
    if request.query:
        arguments["params"] = dict(request.query)
    body = _body(request)
    if body is not None:
        # With the length the server sees at once what is too large, and the bytes go out as they are.
        arguments["headers"]["content-length"] = str(body.length)
        arguments["content"] = _told(body)
    return arguments


def _body(request: Request) -> Body | None:
    if request.json is None:
        return request.body
    data = json.dumps(request.json).encode()
    return Body(iter((data,)), len(data))


def _failed(error: httpx.TransportError, endpoint: Endpoint) -> Unavailable:
    where = endpoint.socket or endpoint.url
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(f"the daemon at {where} was silent for too long", "see whether it is well: GET /healthz")
    return Unavailable(f"the daemon at {where} cannot be reached or went away: {error}", "see WEIR_URL, or start it: weir serve")


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _told(body: Body) -> Iterator[bytes]:
    """The pieces; whoever asks for the next one has sent the last."""
    done = 0
    if body.progress:
        body.progress(done, body.length)
    for piece in body.pieces:
        yield piece
        done += len(piece)
        if body.progress:
            body.progress(done, body.length)


def _sent(call: Call[T], response: Response) -> Callable[[], Step]:
    return lambda: call.send(response)


def _thrown(call: Call[T], error: BaseException) -> Callable[[], Step]:
    return lambda: call.throw(error)


class Blocking:
    """The blocking driver. May be used by several threads at once."""

    def __init__(self, endpoint: Endpoint, transport: httpx.BaseTransport | None = None) -> None:
        self._endpoint = endpoint
        self._ready = transport is not None
        transport = transport or httpx.HTTPTransport(**_transport_settings(endpoint))
        self._client = httpx.Client(transport=transport, **_settings(endpoint))

    def perform(self, call: Call[T]) -> T:
        """Runs an operation to its end."""
        step: Callable[[], Step] = call.__next__
        try:
            while True:
                asked = step()
                try:
                    step = _sent(call, self._send(asked))
                except BaseException as error:  # the operation tidies up and raises it again
                    step = _thrown(call, error)
        except StopIteration as stop:
            value: T = stop.value
            return value

    def _send(self, step: Step) -> Response:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return Response(0, {}, b"")
        with self._open(step) as response:
            if step.sink is None or not response.is_success:
                return Response(response.status_code, response.headers, response.read())
            for piece in response.iter_raw():
                step.sink(piece, _length(response))
            return Response(response.status_code, response.headers, b"")

    @contextlib.contextmanager
    def _open(self, request: Request) -> Iterator[httpx.Response]:
        try:
            response = self._begin(request)
            try:
                yield response
            finally:
                response.close()
        except httpx.TransportError as error:
            raise _failed(error, self._endpoint) from error

    def _begin(self, request: Request) -> httpx.Response:
        arguments = _arguments(request)
        while True:
            began = not self._ready
            if began:
                self._endpoint.ready()
                self._ready = True
            try:
                return self._client.send(self._client.build_request(request.method, request.path, **arguments), stream=True)
            except httpx.ConnectError:
                # Nothing was sent. A local daemon that was there and has died is started again, once.
                self._ready = False
                if began or not self._endpoint.ours:
                    raise

    def stream(self, opening: Call[Request], lines: Lines[Item]) -> Iterator[Item]:
        """The items of an answer as they come. Closing the iterator closes the connection."""
        with self._open(self.perform(opening)) as response:
            if not response.is_success:
                decoded(Response(response.status_code, response.headers, response.read()))
            for piece in response.iter_raw():
                yield from lines.feed(piece)
            lines.end()

    def close(self) -> None:
        """Closes every connection."""
        self._client.close()


class Asynchronous:
    """The driver for asyncio."""

    def __init__(self, endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._endpoint = endpoint
        self._ready = transport is not None
        transport = transport or httpx.AsyncHTTPTransport(**_transport_settings(endpoint))
        self._client = httpx.AsyncClient(transport=transport, **_settings(endpoint))

    async def perform(self, call: Call[T]) -> T:
        """Runs an operation to its end."""
        step: Callable[[], Step] = call.__next__
        try:
            while True:
                asked = step()
                try:
                    step = _sent(call, await self._send(asked))
                except BaseException as error:  # the operation tidies up and raises it again
                    step = _thrown(call, error)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def _send(self, step: Step) -> Response:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return Response(0, {}, b"")
        async with self._open(step) as response:
            if step.sink is None or not response.is_success:
                return Response(response.status_code, response.headers, await response.aread())
            async for piece in response.aiter_raw():
                step.sink(piece, _length(response))
            return Response(response.status_code, response.headers, b"")

    @contextlib.asynccontextmanager
    async def _open(self, request: Request) -> AsyncIterator[httpx.Response]:
        try:
            response = await self._begin(request)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _failed(error, self._endpoint) from error

    async def _begin(self, request: Request) -> httpx.Response:
        arguments = _arguments(request)
        if "content" in arguments:
            arguments["content"] = _in_small_pieces(arguments["content"])
        while True:
            began = not self._ready
            if began:
                await asyncio.to_thread(self._endpoint.ready)
                self._ready = True
            try:
                return await self._client.send(self._client.build_request(request.method, request.path, **arguments), stream=True)
            except httpx.ConnectError:
                # Nothing was sent. A local daemon that was there and has died is started again, once.
                self._ready = False
                if began or not self._endpoint.ours:
                    raise

    async def stream(self, opening: Call[Request], lines: Lines[Item]) -> AsyncIterator[Item]:
        """The items of an answer as they come. Closing the iterator closes the connection."""
        async with self._open(await self.perform(opening)) as response:
            if not response.is_success:
                decoded(Response(response.status_code, response.headers, await response.aread()))
            async for piece in response.aiter_raw():
                for item in lines.feed(piece):
                    yield item
            lines.end()

    async def close(self) -> None:
        """Closes every connection."""
        await self._client.aclose()


async def _in_small_pieces(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    # anyio 3.6, which Debian 12 has, sends a piece from its beginning again when a unix socket took only a part of
    # it. A piece that fits into one buffer of the kernel (unix_stream_sendmsg) is taken whole or not at all.
    # Pieces are read from the page cache as a rule: that is shorter than the way to another thread and back.
    size = _whole_piece()
    for piece in pieces:
        for at in range(0, len(piece), size):
            yield piece[at : at + size]


@functools.cache
def _whole_piece() -> int:
    try:
        buffer = int(pathlib.Path("/proc/sys/net/core/wmem_default").read_text())
    except (OSError, ValueError):
        buffer = 4096
    return max(1024, min(32 * 1024, buffer // 2 - 64))
