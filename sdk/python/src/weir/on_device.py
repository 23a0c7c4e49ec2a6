"""Sandboxes that never leave this machine: WEIR_URL and WEIR_TOKEN are not looked at, only the local daemon is asked."""

from weir import _endpoint, sandbox


class Sandbox(sandbox.Sandbox):
    __doc__ = f"{sandbox.Sandbox.__doc__}\n    On this machine, whatever WEIR_URL says.\n    "
    _endpoint = staticmethod(_endpoint.local)


class AsyncSandbox(sandbox.AsyncSandbox):
    __doc__ = f"{sandbox.AsyncSandbox.__doc__}\n    On this machine, whatever WEIR_URL says.\n    "
    _endpoint = staticmethod(_endpoint.local)


session = AsyncSandbox

__all__ = ["AsyncSandbox", "Sandbox", "session"]
