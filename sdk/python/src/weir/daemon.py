"""What a daemon does besides sessions that one holds on to: one-shot programs, services, images, snapshots.

    with sb.Daemon() as daemon:
        print(daemon.execute("python", "print(1)").stdout)

`Daemon` for blocking programs, `AsyncDaemon` for asyncio; both have the same methods with the same options.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

from weir import _endpoint
from weir import _operations as ops
from weir import _results as results
from weir._calls import Call, Request, asked
from weir._drivers import Asynchronous, Blocking
from weir._modes import NetworkMode, PortForward
from weir.sandbox import _asynchronous, _blocking

S = TypeVar("S")


def _execute(
    _: object,
    language: str,
    code: str,
    *,
    stdin: str | None = None,
    files: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
    network_mode: NetworkMode | str | None = None,
    network_allowlist: Iterable[str] | None = None,
    network_denylist: Iterable[str] | None = None,
    image: str | None = None,
    template: str | None = None,
    snapshot: str | None = None,
    env: Mapping[str, str] | None = None,
    limits: Mapping[str, str | int | float] | None = None,
) -> Call[results.RunResult]:
    """Runs a program in a sandbox of its own, which is gone when this returns.

    language  "python", "bash", "javascript", "c", "go", ...; where nothing runs it, LanguageUnavailable names the package
    code      the program
    stdin     text for its standard input
    files     more files for its working folder: relative paths, and their content

    The other options are those of a session and of `Sandbox.run`.
    """
    body = {"language": language, "code": code} | ops.given(
        stdin=stdin,
        files=dict(files) if files is not None else None,
        timeout_seconds=timeout_seconds,
        network_mode=network_mode,
        network_allowlist=ops.targets(network_allowlist),
        network_denylist=ops.targets(network_denylist),
        image=image,
        template=template,
        snapshot=snapshot,
        env=dict(env) if env is not None else None,
        limits=dict(limits) if limits is not None else None,
    )
    seconds = timeout_seconds + ops.GRACE_SECONDS if timeout_seconds is not None else None
    return results.collected((yield from asked(Request("POST", "/v1/execute", json=body, seconds=seconds))))


def _images(_: object) -> Call[list[results.ImageInfo]]:
    """The images of the daemon's machine."""
    answer = yield from asked(Request("GET", "/v1/images"))
    return [results.image_of(each) for each in answer["images"]]


def _image(_: object, name: str) -> Call[results.ImageInfo]:
    """One image. Raises ImageNotFound."""
    return results.image_of((yield from asked(Request("GET", f"/v1/images/{ops.segment(name)}"))))


def _snapshots(_: object) -> Call[list[results.SnapshotInfo]]:
    """The snapshots of whoever asks."""
    answer = yield from asked(Request("GET", "/v1/snapshots"))
    return [results.snapshot_of(each) for each in answer["snapshots"]]


def _delete_snapshot(_: object, name: str) -> Call[None]:
    """Forgets a snapshot, by name or id. Raises SnapshotNotFound; Conflict while a sandbox uses it."""
    yield from asked(Request("DELETE", f"/v1/snapshots/{ops.segment(name)}"))


def _create_service(
    _: object,
    name: str,
    bootstrap: str,
    *,
    ports: Sequence[PortForward | str],
    restart: str | None = None,
    network_mode: NetworkMode | str | None = None,
    network_allowlist: Iterable[str] | None = None,
    network_denylist: Iterable[str] | None = None,
    image: str | None = None,
    template: str | None = None,
    snapshot: str | None = None,
    ttl_seconds: int | None = None,
    env: Mapping[str, str] | None = None,
    limits: Mapping[str, str | int | float] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Call[results.ServiceInfo]:
    """Makes a service: a session that serves ports, and goes on until it is deleted.

    name       by which it is found
    bootstrap  a script for /bin/sh; the service is what it runs
    ports      PortForward, or "[BIND:]HOST:GUEST[/udp]"
    restart    when the script has ended: "no", "on-failure" (default) or "always"

    The other options are those of a session.
    """
    body = {"name": name, "bootstrap": bootstrap, "ports": [str(each) for each in ports]} | ops.given(
        restart=restart,
        network_mode=network_mode,
        network_allowlist=ops.targets(network_allowlist),
        network_denylist=ops.targets(network_denylist),
        image=image,
        template=template,
        snapshot=snapshot,
        ttl_seconds=ttl_seconds,
        env=dict(env) if env is not None else None,
        limits=dict(limits) if limits is not None else None,
        labels=dict(labels) if labels is not None else None,
    )
    return results.service_of((yield from asked(Request("POST", "/v1/services", json=body, seconds=ops.CREATE_SECONDS))))


def _services(_: object) -> Call[list[results.ServiceInfo]]:
    """The services of whoever asks."""
    answer = yield from asked(Request("GET", "/v1/services"))
    return [results.service_of(each) for each in answer["services"]]


def _service(_: object, name: str) -> Call[results.ServiceInfo]:
    """One service, and how it fares. Raises NotFound."""
    return results.service_of((yield from asked(Request("GET", f"/v1/services/{ops.segment(name)}"))))


def _service_logs(_: object, name: str) -> Call[results.Output]:
    """What its script, as it runs now, has printed. Raises NotFound; Gone where it has no process."""
    return results.output_of((yield from asked(Request("GET", f"/v1/services/{ops.segment(name)}/logs"))))


def _delete_service(_: object, name: str) -> Call[None]:
    """Ends a service. Raises NotFound."""
    yield from asked(Request("DELETE", f"/v1/services/{ops.segment(name)}"))


class Daemon:
    """The daemon that WEIR_URL names, else the local one, for blocking programs."""

    _endpoint: ClassVar[Callable[[], _endpoint.Endpoint]] = staticmethod(_endpoint.named)

    def __init__(self) -> None:
        self._driver = Blocking(type(self)._endpoint())

    execute = _blocking(_execute)
    images = _blocking(_images)
    image = _blocking(_image)
    snapshots = _blocking(_snapshots)
    delete_snapshot = _blocking(_delete_snapshot)
    create_service = _blocking(_create_service)
    services = _blocking(_services)
    service = _blocking(_service)
    service_logs = _blocking(_service_logs)
    delete_service = _blocking(_delete_service)

    def close(self) -> None:
        """Lets go of the connections. What was made goes on."""
        self._driver.close()

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self.close()


class AsyncDaemon:
    """The daemon that WEIR_URL names, else the local one, for asyncio."""

    _endpoint: ClassVar[Callable[[], _endpoint.Endpoint]] = staticmethod(_endpoint.named)

    def __init__(self) -> None:
        self._driver = Asynchronous(type(self)._endpoint())

    execute = _asynchronous(_execute)
    images = _asynchronous(_images)
    image = _asynchronous(_image)
    snapshots = _asynchronous(_snapshots)
    delete_snapshot = _asynchronous(_delete_snapshot)
    create_service = _asynchronous(_create_service)
    services = _asynchronous(_services)
    service = _asynchronous(_service)
    service_logs = _asynchronous(_service_logs)
    delete_service = _asynchronous(_delete_service)

    async def close(self) -> None:
        """Lets go of the connections. What was made goes on."""
        await self._driver.close()

    async def __aenter__(self: S) -> S:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        await self.close()
