"""Errors: one class for each code of the API (`docs/openapi.yaml`), all below WeirError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from weir._results import RunResult


class WeirError(Exception):
    """Something that weir refused or could not do.

    code         a word of the API's closed list, or one of this package's own (`closed`, `command_failed`, `refused`)
    message      what happened, naming the thing
    remedy       what would change it; empty where nothing is known to help
    status       the HTTP status, or None where no answer came
    retry_after  seconds after which another try may help, or None
    result       the RunResult where a command is what failed, or None
    """

    CODE: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        code: str = "",
        status: int | None = None,
        retry_after: int | None = None,
        result: RunResult | None = None,
    ) -> None:
        super().__init__(message, remedy)
        self.code = code or self.CODE
        self.message, self.remedy = message, remedy
        self.status, self.retry_after, self.result = status, retry_after, result

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class BadRequest(WeirError):
    """What was sent is no request of this API: a wrong type, an unknown key."""

    CODE = "bad_request"


class BadPolicy(WeirError):
    """A mode, a target or a policy that says nothing which can be enforced."""

    CODE = "bad_policy"


class CannotEnforce(WeirError):
    """This machine, or this build, cannot hold what was asked for; nothing was started half."""

    CODE = "cannot_enforce"


class CannotWiden(WeirError):
    """More network was asked for than is in force; the message names both."""

    CODE = "cannot_widen"


class WiderProcess(WeirError):
    """A process with a wider policy lives in the session; the message names the pids. `freeze=True` suspends them."""

    CODE = "wider_process"


class NotFound(WeirError):
    """There is no such session, process or file, or it is not yours."""

    CODE = "not_found"


class ImageNotFound(NotFound):
    """There is no image of that name."""

    CODE = "image_not_found"


class SnapshotNotFound(NotFound):
    """There is no snapshot of that name, or it is not yours."""

    CODE = "snapshot_not_found"


class NameTaken(WeirError):
    """The name is in use."""

    CODE = "name_taken"


class Gone(WeirError):
    """It has ended: the process, or the session in the middle of the call."""

    CODE = "gone"


class Unauthorized(WeirError):
    """No token, or one that the daemon does not know: WEIR_TOKEN."""

    CODE = "unauthorized"


class Forbidden(WeirError):
    """This is for the machine's owner."""

    CODE = "forbidden"


class ReadOnly(Forbidden):
    """The token may look and not change."""

    CODE = "read_only"


class TooLarge(WeirError):
    """A body, a file or an argument is longer than the daemon takes."""

    CODE = "too_large"


class TooMany(WeirError):
    """A limit of the daemon or the token; `retry_after` says when to come back."""

    CODE = "too_many"


class Conflict(WeirError):
    """Somebody else is at it."""

    CODE = "conflict"


class IdempotencyMismatch(WeirError):
    """The idempotency key was used for another request."""

    CODE = "idempotency_mismatch"


class NotExecuted(WeirError):
    """A program could not be executed."""

    CODE = "not_executed"


class LanguageUnavailable(WeirError):
    """The interpreter or compiler is not in the sandbox; the remedy names the package."""

    CODE = "language_unavailable"


class Tainted(WeirError):
    """The snapshot was written under a narrower mode than it would be opened with; `insist=["taint"]` opens it all the same."""

    CODE = "taint"


class LimitReached(WeirError):
    """A limit of the session, such as its disk, is reached."""

    CODE = "limit"


class TimedOut(WeirError):
    """Time was up: a command's (raised by `RunResult.check()`, with `result`), a request's, or that of an answer."""

    CODE = "timeout"


class Unavailable(WeirError):
    """The session does not answer, or the daemon cannot be reached, could not be started or went away in the middle."""

    CODE = "unavailable"


class MethodNotAllowed(WeirError):
    """This daemon has no such call."""

    CODE = "method_not_allowed"


class InternalError(WeirError):
    """Weir's own trouble; the daemon's log says more."""

    CODE = "internal"


class Refused(WeirError):
    """A command failed and destinations were refused meanwhile. Raised by `RunResult.check()` alone, with `result`."""

    CODE = "refused"


class CommandFailed(WeirError):
    """A command ended with another code than 0. Raised by `RunResult.check()` alone, with `result`."""

    CODE = "command_failed"


class Closed(WeirError):
    """The sandbox was closed by this program."""

    CODE = "closed"


OWN_CODES = frozenset(each.CODE for each in (Refused, CommandFailed, Closed))


def _below(kind: type[WeirError]) -> list[type[WeirError]]:
    return [each for child in kind.__subclasses__() for each in (child, *_below(child))]


CLASSES = {each.CODE: each for each in _below(WeirError)}


def from_answer(status: int, body: Any, retry_after: str | None = None) -> WeirError:
    """The exception for an answer that is an error. A code that is not known here is a plain WeirError that says it."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        error = {"code": "internal", "message": f"the daemon answered with status {status} and said nothing else"}
    code = str(error.get("code", "internal"))
    return CLASSES.get(code, WeirError)(
        str(error.get("message", "")),
        str(error.get("remedy") or ""),
        code=code,
        status=status,
        retry_after=int(retry_after) if retry_after and retry_after.isdecimal() else None,
    )
