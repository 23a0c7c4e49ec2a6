"""An agent: a model writes code, the sandbox runs it, what came of it goes back to the model, until the model is content.

The model here is a list of answers, so that the example runs anywhere; `ask` is where a real one goes. What it writes is
never trusted: no network, half a gigabyte, ten seconds a step.

Run: python3 examples/agent_loop.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import weir as sb

MAX_STEPS = 8
TASK = "How many lines of /data/log.txt say ERROR? Print the number alone."
LOG = "ok\nERROR disk\nok\nERROR net\nERROR disk\n"

SCRIPT = [
    "print(open('/data/logs.txt').read().count('ERROR'))",  # the wrong name
    "import urllib.request\nprint(urllib.request.urlopen('http://example.com', timeout=3).read())",  # tries to get out
    "print(sum('ERROR' in line for line in open('/data/log.txt')))",
]


@dataclass
class Step:
    """One turn: what the model wrote, and what it was told came of it."""

    code: str
    told: str
    answer: str | None = None


def scripted_model() -> Callable[[str], str]:
    """A model that says what is in SCRIPT, whatever it is told."""
    answers: Iterator[str] = iter(SCRIPT)
    return lambda conversation: next(answers)


def told(result: sb.RunResult) -> str:
    """What the model is told about a run: enough to correct itself, and no more than fits."""
    lines = [f"exit code {result.exit_code}"]
    if result.timed_out:
        lines.append("it took too long and was ended")
    lines += [f"refused: {each.destination} ({each.reason})" for each in result.refused]
    lines.append((result.stdout + result.stderr)[-2000:])
    return "\n".join(lines)


async def solve(task: str, ask: Callable[[str], str]) -> list[Step]:
    """Runs what `ask` answers until a run prints a number and nothing else."""
    steps: list[Step] = []
    async with sb.session(network_mode="none", limits={"memory": "512M", "pids": 64}) as box:
        await box.put_bytes("/data/log.txt", LOG)
        conversation = task
        for _ in range(MAX_STEPS):
            code = ask(conversation)
            await box.put_bytes("/work/step.py", code)
            result = await box.run(["python3", "/work/step.py"], timeout_seconds=10)
            step = Step(code, told(result))
            steps.append(step)
            if result.ok and result.stdout.strip().isdecimal():
                step.answer = result.stdout.strip()
                break
            conversation += f"\n\n{code}\n\n{step.told}"
    return steps


def main() -> None:
    """Prints every step, and the answer."""
    for number, step in enumerate(asyncio.run(solve(TASK, scripted_model())), 1):
        print(f"--- step {number}\n{step.code}\n--- {step.told.strip()}")
        if step.answer is not None:
            print(f"answer: {step.answer}")


if __name__ == "__main__":
    main()
