"""Run untrusted code in sandboxes whose only way out is a gateway that you control.

    import weir as sb

    async with sb.session(network_mode="allowlist", network_allowlist=sb.PYPI_HOSTS) as box:
        r = await box.run("pip install requests")

    with sb.Sandbox.create(template="python", ttl_seconds=120) as box:
        r = box.run(["python3", "-c", "print(1)"])

`session` and `Sandbox` speak to the daemon that WEIR_URL (with WEIR_TOKEN) names, else to the local one, which is started
on demand; `on_device.session` and `on_device.Sandbox` only to the local one. Every error is a WeirError.
"""

from weir import on_device, presets
from weir._errors import (
    BadPolicy,
    BadRequest,
    CannotEnforce,
    CannotWiden,
    Closed,
    CommandFailed,
    Conflict,
    Forbidden,
    Gone,
    IdempotencyMismatch,
    ImageNotFound,
    InternalError,
    LanguageUnavailable,
    LimitReached,
    MethodNotAllowed,
    NameTaken,
    NotExecuted,
    NotFound,
    ReadOnly,
    Refused,
    SnapshotNotFound,
    Tainted,
    TimedOut,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
    WeirError,
    WiderProcess,
)
from weir._modes import NetworkMode, PortForward
from weir._progress import Progress, ProgressBar
from weir._results import (
    Chunk,
    FileInfo,
    ImageInfo,
    Narrowed,
    Output,
    ProcessInfo,
    Refusal,
    RunResult,
    ServiceInfo,
    SessionInfo,
    SnapshotInfo,
)
from weir.daemon import AsyncDaemon, Daemon
from weir.presets import *  # noqa: F403
from weir.sandbox import (
    AsyncFilesystem,
    AsyncProcess,
    AsyncRunStream,
    AsyncSandbox,
    AsyncStream,
    Filesystem,
    Process,
    RunStream,
    Sandbox,
    Stream,
)

session = AsyncSandbox

__all__ = [
    "AsyncDaemon",
    "AsyncFilesystem",
    "AsyncProcess",
    "AsyncRunStream",
    "AsyncSandbox",
    "AsyncStream",
    "BadPolicy",
    "BadRequest",
    "CannotEnforce",
    "CannotWiden",
    "Chunk",
    "Closed",
    "CommandFailed",
    "Conflict",
    "Daemon",
    "FileInfo",
    "Filesystem",
    "Forbidden",
    "Gone",
    "IdempotencyMismatch",
    "ImageInfo",
    "ImageNotFound",
    "InternalError",
    "LanguageUnavailable",
    "LimitReached",
    "MethodNotAllowed",
    "NameTaken",
    "Narrowed",
    "NetworkMode",
    "NotExecuted",
    "NotFound",
    "Output",
    "PortForward",
    "Process",
    "ProcessInfo",
    "Progress",
    "ProgressBar",
    "ReadOnly",
    "Refusal",
    "Refused",
    "RunResult",
    "RunStream",
    "Sandbox",
    "ServiceInfo",
    "SessionInfo",
    "SnapshotInfo",
    "SnapshotNotFound",
    "Stream",
    "Tainted",
    "TimedOut",
    "TooLarge",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "WeirError",
    "WiderProcess",
    "on_device",
    "presets",
    "session",
]
__all__ += presets.__all__
