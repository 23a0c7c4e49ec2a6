"""How far a long transfer is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[int, "int | None"], None]
"""Called with (bytes done, bytes in all or None) after every piece, from the thread or task that transfers."""

_EVERY_SECONDS = 0.1
_WIDTH = 30


class ProgressBar:
    """A ready-made `Progress`: one line that is written again and again, on a terminal only; elsewhere nothing is printed.

        sandbox.put_bytes("/data/model.bin", data, progress=weir.ProgressBar("model.bin"))

    label   what stands before the bar
    stream  where it goes, default standard error
    """

    def __init__(self, label: str = "", stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream if stream is not None else sys.stderr
        self._began = self._last = time.monotonic()
        self._done = -1

    def __call__(self, done: int, total: int | None) -> None:
        if not self._stream.isatty() or done == self._done:
            return
        now = time.monotonic()
        ended = total is not None and done >= total
        if not ended and self._done >= 0 and now - self._last < _EVERY_SECONDS:
            return
        self._last, self._done = now, done
        self._stream.write("\r\x1b[K" + self.line(done, total, now - self._began) + ("\n" if ended else ""))
        self._stream.flush()

    def line(self, done: int, total: int | None, seconds: float) -> str:
        """The text of the bar after this many bytes and seconds."""
        rate = f"{size(done / seconds)}/s" if seconds > 0 else ""
        if not total:
            return f"{self._label} {size(done)} {rate}".strip()
        filled = min(_WIDTH, done * _WIDTH // total)
        bar = "#" * filled + "." * (_WIDTH - filled)
        return f"{self._label} [{bar}] {min(100, done * 100 // total):3d}% {size(done)} of {size(total)} {rate}".strip()


def size(number: float) -> str:
    """A number of bytes for people: "512 B", "1.5 MiB"."""
    units = ("B", "KiB", "MiB", "GiB")
    for unit in units:
        if number < 1024 or unit == units[-1]:
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
