"""weir log: the record read back, filtered, followed, added up; and what it says of a file that was tampered with."""

import json
import pathlib
import subprocess

import world as w

MIXED = f"""
http_get({w.ALLOWED4!r}, 80, 'allowed.test'); resolve('allowed.test'); http_get({w.ALLOWED4!r}, 80, 'allowed.test')
dns('evil.test'); tcp({w.EVIL4!r}, 80); tcp({w.EVIL4!r}, 443)
dns(b'e\\r\\nforged\\x1b[2J'.decode('latin-1') + '.evil.test')
result = 'done'
"""


def log(lab, *argv):
    return lab.cli("log", *argv)


def test_log_agrees_with_the_file(lab):
    """P01: the names a guest chose stay one line each and speak to no terminal."""
    out = lab.guest(MIXED, allow=["allowed.test"])
    seen = log(lab, out.events_path)
    assert seen.code == 0 and seen.stderr == "", seen
    assert len(seen.stdout.splitlines()) == len(out.events), seen
    assert all(char == "\n" or 32 <= ord(char) < 127 for char in seen.stdout), ascii(seen.stdout)
    same = log(lab, out.events_path, "-o", "json")
    assert same.stdout == pathlib.Path(out.events_path).read_text(), same


def test_filters(lab):
    out = lab.guest(MIXED, allow=["allowed.test"])

    def of(*argv):
        seen = log(lab, out.events_path, "-o", "json", *argv)
        assert seen.code == 0, seen
        return [json.loads(line) for line in seen.stdout.splitlines()]

    assert of("--type", "flow.refuse") == out.refusals()
    assert of("--type", "dns", "--verdict", "refuse") == out.of_type("dns.refuse")
    assert of("--name", "allowed.test") == [event for event in out.events if event.get("name") == "allowed.test"] != []
    assert of("--name", w.EVIL4) == [event for event in out.events if event.get("dst") == w.EVIL4] != []
    assert of("--name", "nowhere.test") == []


def test_summary(lab):
    out = lab.guest(MIXED, allow=["allowed.test"])
    seen = json.loads(log(lab, out.events_path, "--summary", "-o", "json").stdout)
    closed = out.of_type("flow.close", name="allowed.test", port=80)
    entry = next(entry for entry in seen["destinations"] if entry.get("name") == "allowed.test" and entry["port"] == 80)
    assert entry["bytes_down"] == sum(event["bytes_down"] for event in closed) > 0, seen
    assert {(entry["destination"], entry["reason"]) for entry in seen["refused"]} >= {
        (f"{w.EVIL4}:80", "no-rule"), (f"{w.EVIL4}:443", "no-rule"), ("evil.test", "no-rule")}, seen
    text = log(lab, out.events_path, "--summary")
    assert "allowed.test:80" in text.stdout and f"{w.EVIL4}:443" in text.stdout, text


def test_default_folder_and_id(lab):
    if lab.uid == 0:
        lab.run("rm", events=None)  # a record of the lab's own HOME, in any case
    lab.run("true", allow=["allowed.test"], events=None)
    everything = log(lab)
    assert everything.code == 0 and "exit    0" in everything.stdout, everything
    identity = everything.stdout.splitlines()[-1].split()[1]
    one = log(lab, identity)
    assert one.code == 0 and {line.split()[1] for line in one.stdout.splitlines()} == {identity}, one
    none = log(lab, "w-00000000")
    assert none.code == 125 and "w-00000000" in none.stderr, none


def test_damage_is_said_with_its_place(lab):
    """A line that was changed, taken away, or put in: exit 1, the line's number; the rest is still printed."""
    out = lab.guest(MIXED, allow=["allowed.test"])
    lines = pathlib.Path(out.events_path).read_text().splitlines(keepends=True)
    assert log(lab, out.events_path).code == 0
    for text, place, says in [
        ("".join(lines[:2] + lines[3:]), 3, "lines are missing"),
        ("".join([*lines[:2], "not a line\x1b[2J\n", *lines[2:]]), 3, "never writes"),
        ("".join([lines[0].replace('"v":1', '"v":1,"v":1'), *lines[1:]]), 1, "twice"),
        ("".join([lines[0].replace('"mode"', '"mood"'), *lines[1:]]), 1, "mood"),
        ("".join(lines)[:-5], len(lines), "not whole"),
    ]:
        seen = log(lab, lab.file("damaged.jsonl", text))
        assert seen.code == 1 and f":{place}: " in seen.stderr and says in seen.stderr, (says, seen)
        assert "\x1b" not in seen.stderr + seen.stdout, ascii(seen.stderr)
        assert "exit    0" in seen.stdout or says == "not whole", seen


def test_follow_ends_with_the_sandbox(lab):
    running = lab.start(guest=f"print('up', flush=True); input(); tcp({w.EVIL4!r}, 1111)", allow=["allowed.test"])
    follower = None
    try:
        assert running.line() == "up"
        follower = subprocess.Popen(lab.command([lab.weir, "log", "-f", running.events_path]), stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
        assert " start " in follower.stdout.readline()
        running.say("go")
        assert f"{w.EVIL4}:1111 (no-rule)" in follower.stdout.readline()
        running.finish()
        # Not communicate(): readline() may have read ahead.
        rest, errors = follower.stdout.read(), follower.stderr.read()
        assert follower.wait(20) == 0 and " exit    0" in rest and errors == "", (rest, errors)
    finally:
        running.kill()
        if follower is not None:
            follower.kill()
            follower.wait()


def test_follow_ends_when_weir_was_killed(lab):
    """A supervisor that dies writes no end; its lock is gone all the same."""
    running = lab.start(guest="print('up', flush=True); input()", allow=["allowed.test"])
    try:
        assert running.line() == "up"
    finally:
        running.kill()
    seen = log(lab, "-f", running.events_path)
    assert seen.code == 0 and " start " in seen.stdout, seen
