"""--memory, --pids, --disk, --cpus, --timeout: each holds, is said, and is recorded; its twin below the limit runs."""

import json
import pathlib

import jsonschema
import pytest

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs/events.schema.json").read_text())


def assert_recorded(out, limit, value):
    (event,) = out.of_type("limit")
    assert [(hit["limit"], hit["value"]) for hit in event["limits"]] == [(limit, value)]
    (end,) = out.of_type("sandbox.exit")
    assert end["limits"] == event["limits"] and end["exit_code"] == out.code
    for line in out.events:
        jsonschema.validate(line, SCHEMA)


def assert_unlimited(out):
    assert out.code == 0, out
    assert not out.of_type("limit") and "limits" not in out.of_type("sandbox.exit")[0]


def hog(megabytes):
    return "/usr/bin/python3", "-c", f"x = bytearray({megabytes} << 20); print(len(x))"


def test_memory(lab):
    assert_unlimited(lab.run(*hog(10), extra=["--memory", "64M"]))
    out = lab.run(*hog(400), extra=["--memory", "64M"])
    assert out.code == 137 and out.stderr.endswith("weir: killed: memory limit 64M\n"), out
    assert_recorded(out, "memory", "64M")


def test_memory_of_many_together(lab):
    """None of them is over the limit."""
    many = ("import os, time\nfor i in range(4):\n  if os.fork() == 0:\n    x = bytearray(30 << 20); os.write(1, b'.'); "
            "time.sleep(300)\nos.wait()")
    out = lab.run("/usr/bin/python3", "-c", many, extra=["--memory", "100M"])
    assert out.code == 137 and "killed: memory limit 100M" in out.stderr, out
    assert_recorded(out, "memory", "100M")


def test_memory_of_a_process_whose_first_thread_has_ended(lab):
    """Such a process shows no memory of its own: only its other threads do."""
    hide = ("import ctypes, mmap, os, threading, time\n"
            "def take():\n"
            "  first = f'/proc/self/task/{os.getpid()}/stat'\n"
            "  while ') Z' not in open(first).read(): time.sleep(0.01)\n"
            "  x = bytearray(SIZE << 20); os.write(1, b'taken'); time.sleep(1); os._exit(0)\n"
            "threading.Thread(target=take).start()\n"
            "ctypes.CDLL(None).syscall(60, 0)")
    inside = lambda megabytes: ("sh", "-c", f"/usr/bin/python3 -c \"{hide.replace('SIZE', str(megabytes))}\"; exit $?")
    out = lab.run(*inside(10), extra=["--memory", "100M"])
    assert_unlimited(out)
    assert out.stdout == "taken"
    out = lab.run(*inside(400), extra=["--memory", "100M"])
    assert out.code == 137 and "killed: memory limit 100M" in out.stderr, out
    assert_recorded(out, "memory", "100M")


def test_disk(lab):
    write = "head -c 4194304 /dev/zero > /tmp/x"
    assert_unlimited(lab.run("sh", "-c", write, extra=["--disk", "8M"]))
    out = lab.run("sh", "-c", f"for i in 1 2 3; do {write}$i || exit 9; done", extra=["--disk", "8M"])
    assert out.code == 9 and "No space left" in out.stderr and "weir: disk limit 8M was reached" in out.stderr, out
    assert_recorded(out, "disk", "8M")


def test_pids(lab):
    """Children that live until their parent ends, so that no place is given back while it counts."""
    many = ("import os\nready, held = os.pipe()\nmade = 0\n"
            "try:\n"
            "  for i in range(20):\n"
            "    if os.fork() == 0: os.close(held); os.read(ready, 1); os._exit(0)\n"
            "    made += 1\n"
            "except OSError as error: print(error.strerror)\n"
            "print(made)")
    assert lab.run("/usr/bin/python3", "-c", many, extra=["--pids", "64"]).stdout == "20\n"
    out = lab.run("/usr/bin/python3", "-c", many, extra=["--pids", "8"])
    refused, made = out.stdout.splitlines()
    assert refused == "Resource temporarily unavailable" and 0 < int(made) < 8, out


def test_cpus(lab):
    count = "import os; print(len(os.sched_getaffinity(0)))"
    out = lab.run("/usr/bin/python3", "-c", count, extra=["--cpus", "1"])
    assert out.code == 0 and out.stdout == "1\n", out


def test_timeout_asks_and_then_kills(lab):
    asked = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    out = lab.run("sh", "-c", asked, extra=["--timeout", "700ms,20s"])
    assert out.code == 124 and "asked" in out.stdout, out
    assert_recorded(out, "timeout", "700ms")
    out = lab.run("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", extra=["--timeout", "300ms,100ms"])
    assert out.code == 124 and "ran longer than --timeout 300ms" in out.stderr, out


def test_summary_for_programs(lab):
    out = lab.run(*hog(400), extra=["--memory", "64M", "-o", "json"])
    summary = json.loads(out.stderr.splitlines()[-1])
    assert summary["exit_code"] == 137
    assert summary["limits"] == [{"limit": "memory", "value": "64M", "times": 1}]


@pytest.mark.parametrize("option, value, words", [
    ("--memory", "0", "not a limit"), ("--memory", "1M", "too little"), ("--memory", "99T", "more than this machine"),
    ("--memory", "99999999999999999999", "not a size"), ("--memory", "-5", "not a size"),
    ("--cpus", "0", "not a limit"), ("--cpus", "4000", "more than this machine"), ("--cpus", "-1", "no number"),
    ("--cpus", "5000", "not between 0.01 and 4096"),
    ("--pids", "0", "not a limit"), ("--pids", "9999999", "more than 4194304"), ("--pids", "1.5", "no number"),
    ("--disk", "1K", "too little"), ("--disk", "99T", "more than this machine"),
    ("--timeout", "0", "at once"), ("--timeout", "1s,", "not a duration"),
])
def test_bad_values_start_nothing(lab, option, value, words):
    out = lab.run("touch", "/tmp/x", extra=[option, value])
    assert out.code == 125 and words in out.stderr and option in out.stderr and out.stderr.count("\n") == 1, out
    assert out.events == []
