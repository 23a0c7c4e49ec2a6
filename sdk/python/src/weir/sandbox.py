"""Sandboxes: `Sandbox` for blocking programs, `AsyncSandbox` for asyncio. Both have the same methods with the same options.

Each method is an operation of `_operations.py`, carried out by the driver of its kind.
"""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

from weir import _endpoint
from weir import _operations as ops
from weir._calls import Call, Lines, Records, Request, RunEvents
from weir._drivers import Asynchronous, Blocking
from weir._errors import Closed, Unavailable
from weir._results import Chunk, RunResult

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")
Item = TypeVar("Item")
Events = Mapping[str, Any]


def _like(operation: Callable[..., Any], method: Callable[..., Any], returns: str) -> None:
    """The method has the signature and the documentation of the operation."""
    functools.update_wrapper(method, operation)
    signature = inspect.signature(operation)
    first, *others = signature.parameters.values()
    parameters = [first.replace(name="self"), *others]
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=returns)  # type: ignore[attr-defined]


def _returned(operation: Callable[..., Any]) -> str:
    return str(inspect.signature(operation).return_annotation).removeprefix("Call[").removesuffix("]")


def _blocking(operation: Callable[Concatenate[Any, P], Call[T]]) -> Callable[Concatenate[Any, P], T]:
    def method(self: Any, /, *args: P.args, **options: P.kwargs) -> T:
        driver: Blocking = self._driver
        return driver.perform(operation(self, *args, **options))

    _like(operation, method, _returned(operation))
    return method


def _asynchronous(operation: Callable[Concatenate[Any, P], Call[T]]) -> Callable[Concatenate[Any, P], Awaitable[T]]:
    async def method(self: Any, /, *args: P.args, **options: P.kwargs) -> T:
        driver: Asynchronous = self._driver
        return await driver.perform(operation(self, *args, **options))

    _like(operation, method, _returned(operation))
    return method


class _Create(Generic[P]):
    """`Sandbox.create(...)`: the constructor's options, and the sandbox is started."""

    def __init__(self, constructor: Callable[Concatenate[Any, P], None]) -> None:
        self._constructor = constructor

    def __get__(self, instance: object, owner: type[S]) -> Callable[P, S]:
        def create(*args: P.args, **options: P.kwargs) -> S:
            return owner(*args, **options).__enter__()  # type: ignore[attr-defined, no-any-return]

        create.__doc__ = "Makes a sandbox with the constructor's options, and starts it."
        return create


# ---- streams --------------------------------------------------------------------------------------------------------


class _Ended:
    """How a command ended, as far as its stream has said so."""

    def __init__(self) -> None:
        self._decoder = RunEvents()

    @property
    def result(self) -> RunResult:
        """How the command ended, without its output. Raises Closed while the stream has not been read to its end."""
        if self._decoder.result is None:
            raise Closed("the command has not ended yet", "read the stream to its end")
        return self._decoder.result


class Stream(Generic[Item]):
    """Items that come one by one. Iterate over it, once. As a context manager it is closed when the block is left."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; a command that is attached to it ends."""
        self._items.close()  # type: ignore[attr-defined]


class AsyncStream(Generic[Item]):
    """The same for asyncio."""

    def __init__(self, items: AsyncIterator[Item]) -> None:
        self._items = items

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        return await self._items.__anext__()

    async def __aenter__(self: S) -> S:
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; a command that is attached to it ends."""
        await self._items.aclose()  # type: ignore[attr-defined]


class RunStream(Stream[Chunk], _Ended):
    """What a command prints, as it comes, and then its `result`."""

    def __init__(self, driver: Blocking, opening: Call[Request]) -> None:
        _Ended.__init__(self)
        Stream.__init__(self, driver.stream(opening, Lines(self._decoder)))


class AsyncRunStream(AsyncStream[Chunk], _Ended):
    """What a command prints, as it comes, and then its `result`."""

    def __init__(self, driver: Asynchronous, opening: Call[Request]) -> None:
        _Ended.__init__(self)
        AsyncStream.__init__(self, driver.stream(opening, Lines(self._decoder)))


def _stream(operation: Callable[Concatenate[Any, P], Call[Request]]) -> Callable[Concatenate[Any, P], RunStream]:
    def method(self: Any, /, *args: P.args, **options: P.kwargs) -> RunStream:
        return RunStream(self._driver, operation(self, *args, **options))

    _like(operation, method, "RunStream")
    return method


def _async_stream(operation: Callable[Concatenate[Any, P], Call[Request]]) -> Callable[Concatenate[Any, P], AsyncRunStream]:
    def method(self: Any, /, *args: P.args, **options: P.kwargs) -> AsyncRunStream:
        return AsyncRunStream(self._driver, operation(self, *args, **options))

    _like(operation, method, "AsyncRunStream")
    return method


def _events(operation: Callable[Concatenate[Any, P], Call[Request]]) -> Callable[Concatenate[Any, P], Stream[Events]]:
    def method(self: Any, /, *args: P.args, **options: P.kwargs) -> Stream[Events]:
        return Stream(self._driver.stream(operation(self, *args, **options), Lines(Records())))

    _like(operation, method, "Stream[Mapping[str, Any]]")
    return method


def _async_events(operation: Callable[Concatenate[Any, P], Call[Request]]) -> Callable[Concatenate[Any, P], AsyncStream[Events]]:
    def method(self: Any, /, *args: P.args, **options: P.kwargs) -> AsyncStream[Events]:
        return AsyncStream(self._driver.stream(operation(self, *args, **options), Lines(Records())))

    _like(operation, method, "AsyncStream[Mapping[str, Any]]")
    return method


# ---- what belongs to a sandbox --------------------------------------------------------------------------------------


class _Part:
    def __init__(self, sandbox: ops.Described) -> None:
        self._sandbox = sandbox

    @property
    def _driver(self) -> Any:
        return self._sandbox._driver  # type: ignore[attr-defined]


class Filesystem(_Part):
    """The files of a sandbox. Paths are absolute inside; none of them leads out."""

    write = _blocking(ops.put)
    read = _blocking(ops.get)
    read_text = _blocking(ops.get_text)
    list = _blocking(ops.listed)
    delete = _blocking(ops.delete)
    make_folder = _blocking(ops.make_folder)
    upload = _blocking(ops.upload)
    download = _blocking(ops.download)
    download_tar = _blocking(ops.download_tar)


class AsyncFilesystem(_Part):
    """The files of a sandbox. Paths are absolute inside; none of them leads out."""

    write = _asynchronous(ops.put)
    read = _asynchronous(ops.get)
    read_text = _asynchronous(ops.get_text)
    list = _asynchronous(ops.listed)
    delete = _asynchronous(ops.delete)
    make_folder = _asynchronous(ops.make_folder)
    upload = _asynchronous(ops.upload)
    download = _asynchronous(ops.download)
    download_tar = _asynchronous(ops.download_tar)


class _Numbered(_Part):
    def __init__(self, sandbox: ops.Described, pid: int) -> None:
        super().__init__(sandbox)
        self.pid = pid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} of {self._sandbox!r}>"


class Process(_Numbered):
    """A detached command of a sandbox, by its `pid` inside."""

    signal = _blocking(ops.signal)
    kill = _blocking(ops.kill)
    write = _blocking(ops.write)
    close_stdin = _blocking(ops.close_stdin)
    output = _blocking(ops.output)
    wait = _blocking(ops.wait)
    follow = _stream(ops.follow_request)


class AsyncProcess(_Numbered):
    """A detached command of a sandbox, by its `pid` inside."""

    signal = _asynchronous(ops.signal)
    kill = _asynchronous(ops.kill)
    write = _asynchronous(ops.write)
    close_stdin = _asynchronous(ops.close_stdin)
    output = _asynchronous(ops.output)
    wait = _asynchronous(ops.wait)
    follow = _async_stream(ops.follow_request)


def _launch(operation: Callable[Concatenate[Any, P], Call[int]]) -> Callable[Concatenate[Any, P], Process]:
    def method(self: Any, /, *args: P.args, **options: P.kwargs) -> Process:
        return Process(self, self._driver.perform(operation(self, *args, **options)))

    _like(operation, method, "Process")
    return method


def _async_launch(operation: Callable[Concatenate[Any, P], Call[int]]) -> Callable[Concatenate[Any, P], Awaitable[AsyncProcess]]:
    async def method(self: Any, /, *args: P.args, **options: P.kwargs) -> AsyncProcess:
        return AsyncProcess(self, await self._driver.perform(operation(self, *args, **options)))

    _like(operation, method, "AsyncProcess")
    return method


# ---- sandboxes ------------------------------------------------------------------------------------------------------


class Sandbox(ops.Described):
    __doc__ = f"""{ops.Described.__doc__}
    Blocking. `with Sandbox(...) as box:` and `Sandbox.create(...)` start it; so does the first method that needs it.
    Leaving the `with` block, for whatever reason, ends it and everything in it; so does `close()`.
    """

    _endpoint: ClassVar[Callable[[], _endpoint.Endpoint]] = staticmethod(_endpoint.named)
    _driver: Blocking

    def _setup(self) -> None:
        self._driver = Blocking(type(self)._endpoint())
        self.filesystem = Filesystem(self)

    @classmethod
    def attach(cls, session: str) -> Sandbox:
        """A session that exists, by id or name. Closing it leaves the session alone."""
        made = cls()
        made._attached = session
        return made

    create = _Create(ops.Described.__init__)
    start = _blocking(ops.start)
    show = _blocking(ops.show)
    run = _blocking(ops.run)
    exec = run
    stream = _stream(ops.stream_request)
    launch = _launch(ops.launch)
    processes = _blocking(ops.processes)
    put_bytes = _blocking(ops.put_bytes)
    get_bytes = _blocking(ops.get_bytes)
    narrow = _blocking(ops.narrow)
    snapshot = _blocking(ops.snapshot)
    events = _events(ops.events_request)

    def process(self, pid: int) -> Process:
        """A detached command by the number that `processes()` lists."""
        return Process(self, pid)

    def close(self) -> None:
        """Ends the session and everything in it. Does nothing the second time."""
        try:
            self._driver.perform(ops.ended(self))
        finally:
            self._driver.close()

    def __enter__(self: S) -> S:
        self.start()  # type: ignore[attr-defined]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        try:
            self.close()
        except Unavailable as trouble:
            _tell(self, error, trouble)


class AsyncSandbox(ops.Described):
    __doc__ = f"""{ops.Described.__doc__}
    For asyncio. `async with session(...) as box:` and `await session(...)` start it; so does the first method that needs
    it. Leaving the block, for whatever reason, ends it and everything in it; so does `await box.close()`.
    """

    _endpoint: ClassVar[Callable[[], _endpoint.Endpoint]] = staticmethod(_endpoint.named)
    _driver: Asynchronous

    def _setup(self) -> None:
        self._driver = Asynchronous(type(self)._endpoint())
        self.filesystem = AsyncFilesystem(self)

    @classmethod
    def attach(cls, session: str) -> AsyncSandbox:
        """A session that exists, by id or name. Closing it leaves the session alone."""
        made = cls()
        made._attached = session
        return made

    start = _asynchronous(ops.start)
    show = _asynchronous(ops.show)
    run = _asynchronous(ops.run)
    exec = run
    stream = _async_stream(ops.stream_request)
    launch = _async_launch(ops.launch)
    processes = _asynchronous(ops.processes)
    put_bytes = _asynchronous(ops.put_bytes)
    get_bytes = _asynchronous(ops.get_bytes)
    narrow = _asynchronous(ops.narrow)
    snapshot = _asynchronous(ops.snapshot)
    events = _async_events(ops.events_request)

    def process(self, pid: int) -> AsyncProcess:
        """A detached command by the number that `processes()` lists."""
        return AsyncProcess(self, pid)

    async def close(self) -> None:
        """Ends the session and everything in it. Does nothing the second time."""
        try:
            await self._driver.perform(ops.ended(self))
        finally:
            await self._driver.close()

    def __await__(self: S) -> Generator[Any, None, S]:
        return (yield from self.__aenter__().__await__())  # type: ignore[attr-defined, no-any-return]

    async def __aenter__(self: S) -> S:
        try:
            await self.start()  # type: ignore[attr-defined]
        except BaseException:
            await self._driver.close()  # type: ignore[attr-defined]
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Unavailable as trouble:
            _tell(self, error, trouble)


def _tell(box: ops.Described, error: BaseException | None, trouble: Unavailable) -> None:
    """What the block raised matters more than that its sandbox could not be ended; without it, that is what matters."""
    if error is None:
        raise trouble
    warnings.warn(f"{box!r} could not be ended: {trouble}", ResourceWarning, stacklevel=3)
