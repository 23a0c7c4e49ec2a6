"""A judge: runs submissions of strangers against test cases, each submission in a sandbox of its own.

A submission gets its input and nothing else: no network, limits, and a time for each case. What one leaves behind cannot
help or harm the next, because its sandbox is gone by then.

Run: python3 examples/judge.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import weir as sb

SECONDS = 2.0
LIMITS: dict[str, str | int] = {"memory": "256M", "pids": 16}


@dataclass(frozen=True)
class Case:
    """What a submission reads, and what it shall print."""

    given: str
    wanted: str


def verdict(result: sb.RunResult, wanted: str) -> str:
    """One word for a run."""
    if result.timed_out:
        return "too slow"
    if result.limits:
        return "too greedy"
    if not result.ok:
        return "crashed"
    return "right" if result.stdout.split() == wanted.split() else "wrong"


def judge(source: str, cases: Sequence[Case]) -> list[str]:
    """The verdict for each case. One that is not right is the last."""
    verdicts: list[str] = []
    with sb.Sandbox(network_mode="none", limits=LIMITS, ttl_seconds=300) as box:
        box.put_bytes("/work/submission.py", source)
        for case in cases:
            result = box.run(
                ["python3", "/work/submission.py"], stdin=case.given, timeout_seconds=SECONDS, max_output_bytes=65536
            )
            verdicts.append(verdict(result, case.wanted))
            if verdicts[-1] != "right":
                break
    return verdicts


CASES = [Case("1 2\n", "3"), Case("40 2\n", "42"), Case("-1 1\n", "0")]
SUBMISSIONS = {
    "good": "print(sum(map(int, input().split())))",
    "wrong": "print(3)",
    "slow": "while True: pass",
    "crash": "raise SystemExit(7)",
    "cheat": "import socket\nsocket.create_connection(('192.0.2.1', 80), 1)",
}


def main() -> None:
    """Prints a table."""
    for name, source in SUBMISSIONS.items():
        print(f"{name:8} {', '.join(judge(source, CASES))}")


if __name__ == "__main__":
    main()
