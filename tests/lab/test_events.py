"""The record: schema, order, escaping, one attempt one event, and what happens when it cannot be written. attacks.md P*."""

import json
import os
import pathlib

import pytest

import world as w
from lab import attempts, read_events

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs/events.schema.json").read_text())

MIXED = f"""
dns('allowed.test'); dns('evil.test'); dns('evil.test', 'TXT')
http_get({w.ALLOWED4!r}, 80, 'allowed.test', '/?token=canary-in-a-query'); http_get({w.ALLOWED4!r}, 80, 'evil.test')
tcp({w.EVIL4!r}, 80); tcp({w.EVIL6!r}, 443); tcp({w.METADATA4!r}, 80, timeout=2)
udp({w.EVIL4!r}, 5353); ping({w.EVIL4!r}); tcp({w.ALLOWED4!r}, 4444)
result = 'done'
"""


def validate(events):
    import jsonschema
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    wrong = [(event, error.message) for event in events for error in validator.iter_errors(event)]
    assert not wrong, wrong[:3]


def test_schema_is_a_schema():
    import jsonschema
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = {"v": 1, "time": "2026-01-31T23:59:59.000001Z", "sandbox": "w-1", "seq": 1, "policy": "ab", "generation": 1}
    with pytest.raises(AssertionError):
        validate([{**good, "type": "no.such.type"}])
    with pytest.raises(AssertionError):
        validate([{**good, "type": "flow.refuse", "proto": "tcp"}])
    with pytest.raises(AssertionError):
        validate([{**good, "type": "sandbox.start", "surprise": 1}])


@pytest.mark.parametrize("mode", ["none", "allowlist", "public", "open"])
def test_events_follow_the_schema(lab, mode):
    options = {"allow": ["allowed.test"]} if mode == "allowlist" else {"mode": mode}
    code = MIXED if mode != "none" else "result = tcp('192.0.2.1', 80)['connect']"
    out = lab.guest(code, **options)
    events = out.events
    validate(events)
    if mode == "public":
        assert {event["proto"] for event in out.of_type("flow.close")} == {"tcp", "udp", "icmp"}, out
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + len(events))), out
    assert events[0]["type"] == "sandbox.start" and events[-1]["type"] == "sandbox.exit", out
    assert len({event["sandbox"] for event in events}) == 1
    assert [event["time"] for event in events] == sorted(event["time"] for event in events), out


def test_every_kind_of_attempt_is_recorded(lab):
    out = lab.guest(MIXED, allow=["allowed.test"])
    kinds = {event["type"] for event in out.events}
    assert kinds >= {"sandbox.start", "sandbox.exit", "dns.answer", "dns.refuse", "flow.open", "flow.close", "flow.refuse"}, out
    for fields in ({"dst": w.EVIL4, "port": 80, "proto": "tcp"}, {"dst": w.EVIL6, "port": 443}, {"dst": w.METADATA4},
                   {"dst": w.EVIL4, "proto": "udp", "port": 5353}, {"dst": w.EVIL4, "proto": "icmp"}):
        assert attempts(out.refusals(**fields)) == 1, (fields, out)
    opened, closed = out.of_type("flow.open"), out.of_type("flow.close")
    assert len(closed) >= len(opened) - 1, out


def test_no_payload_no_query_string(lab):
    """P04"""
    out = lab.guest(MIXED, allow=["allowed.test"])
    assert "canary-in-a-query" not in pathlib.Path(out.events_path).read_text()
    assert "canary-in-the-callers-environment" not in pathlib.Path(out.events_path).read_text()


EVIL_LABELS = [b"a\r\nforged", b"\x1b[2J\x1b]8;;x", b"\xe2\x80\xaegnp", b"nul\0nul", b'quo"te\\', b"\xff\xfe", b"\x7f\x9b1m", b"{}"]


@pytest.mark.parametrize("number", range(len(EVIL_LABELS)))
def test_guest_text_is_escaped(lab, number):
    """P01: names with control bytes neither forge a line nor reach a terminal."""
    label = EVIL_LABELS[number].decode("latin-1")
    code = f"""
result = [dns({label!r} + '.evil.test'), http_get({w.ALLOWED4!r}, 80, {label!r} + '.evil.test'),
          tls({w.ALLOWED4!r}, 443, 'xn--a')]
"""
    out = lab.guest("resolve('allowed.test')\n" + code, allow=["allowed.test"])
    raw = pathlib.Path(out.events_path).read_bytes()
    assert all(byte == 10 or 32 <= byte < 127 for byte in raw), [hex(byte) for byte in raw if not 32 <= byte < 127 and byte != 10]
    validate(read_events(out.events_path))
    assert all(char == "\n" or char == "\t" or 32 <= ord(char) < 127 or ord(char) > 0xa0 and char != "\u202e" for char in out.stderr), \
        ascii(out.stderr)
    assert "forged" not in [line[:6] for line in out.stderr.splitlines()]


def test_roll_up_loses_no_destination(lab):
    """Repeats within a second share an event; forty destinations stay forty."""
    code = f"""
for _ in range(5):
    for port in range(1000, 1040): tcp({w.EVIL4!r}, port, timeout=2)
result = 'done'
"""
    out = lab.guest(code, allow=["allowed.test"])
    refused = out.refusals(dst=w.EVIL4)
    assert {event["port"] for event in refused} == set(range(1000, 1040)), out
    assert attempts(refused) == 200, attempts(refused)
    validate(out.events)


def test_summary_on_stderr(lab):
    """At most five lines, then 'and N more'; -q leaves it out; without a terminal there is no remedy."""
    code = f"[tcp({w.EVIL4!r}, p) for p in (443, 443, 443)]; [tcp({w.EVIL4!r}, p) for p in range(2000, 2010)]; result = 1"
    out = lab.guest(code, allow=["allowed.test"])
    lines = [line for line in out.stderr.splitlines() if line.startswith("weir:")]
    assert any(f"{w.EVIL4}:443 (no-rule), 3 times" in line for line in lines), out
    assert len(lines) <= 6 and "more" in lines[-1], out
    assert "--allow" not in out.stderr, "a program that reads stderr must not be talked into opening the door"
    assert lab.guest(code, allow=["allowed.test"], extra=["-q"]).stderr == ""


def test_events_to_stdout_and_none(lab):
    out = lab.run("true", allow=["allowed.test"], events=None, extra=["--events", "-"])
    types = [json.loads(line)["type"] for line in out.stdout.splitlines() if line.startswith("{")]
    assert types == ["sandbox.start", "sandbox.exit"], out
    out = lab.run("true", allow=["allowed.test"], events=None, extra=["--events", "none"])
    assert out.code == 0 and out.stdout == "", out


def test_default_events_file(lab):
    """Without --events: a bounded file under the caller's state folder."""
    lab.guest("result = dns('evil.test')['rcode']", allow=["allowed.test"], events=None)
    found = [path for path in lab.folder.rglob("*") if path.is_file() and b"dns.refuse" in path.read_bytes()]
    if lab.uid == 0 and not found:
        pytest.skip("root's state folder is the machine's, not the lab's")
    assert found, list(lab.folder.rglob("*"))
    assert os.stat(found[0]).st_mode & 0o077 == 0, "other users can read the record"


@pytest.mark.parametrize("verdict", ["allow", pytest.param("refuse", marks=pytest.mark.elsewhere)])
def test_full_disk(lab, verdict):
    """O05, interfaces.md section 2: what cannot be recorded does not happen (reason `audit`), and weir says so."""
    small = lab.folder / "small"
    small.mkdir()
    lab.world.host.sh(f"mount -t tmpfs -o size=256k,mode=777 small {small}")
    events = small / "events.jsonl"
    code = f"""
print('up', flush=True); input()
seen = [tcp({w.ALLOWED4!r}, p, timeout=4)['connect'] for p in (80, 8080, 7)]
print(json.dumps(seen), flush=True)
"""
    running = lab.start(guest=code, allow=[w.ALLOWED4], events=None, extra=["--events", str(events)])
    try:
        assert running.line() == "up"
        if verdict == "refuse":
            lab.world.host.run(["sh", "-c", f"cat /dev/zero > {small}/fill"])
            # The block that the file already owns may still hold a few lines.
            lab.world.host.run(["sh", "-c", f"truncate -s 4096 {events} 2>/dev/null; true"])
        running.say("go")
        out = running.finish()
    finally:
        running.kill()
        lab.world.host.sh(f"umount -l {small}")
    if verdict == "allow":
        assert out.result == ["OK"] * 3, out
    else:
        assert set(out.result) == {"ECONNREFUSED"}, out
        assert not lab.world.packets.everything(), lab.world.packets.everything()
        assert "audit" in out.stderr or "events" in out.stderr, out


def test_events_file_that_cannot_be_made(lab):
    out = lab.run("echo", "started", allow=["allowed.test"], events=None, extra=["--events", "/nonexistent/dir/e.jsonl"])
    assert out.code == 125 and "started" not in out.stdout and "/nonexistent/dir/e.jsonl" in out.stderr, out


def test_events_path_is_not_followed_into_the_guest(lab):
    """The file is the caller's: the guest neither sees nor replaces it."""
    code = "result = [p for top in ('/run', '/tmp', '/home') for p, _, names in os.walk(top) for n in names if 'event' in n]"
    out = lab.guest(code, allow=["allowed.test"])
    assert out.result == [], out


def test_attribution_of_two_sandboxes(lab):
    """P03: two at once, each with its own file and its own attempts."""
    first = lab.start(guest=f"print('up', flush=True); input(); tcp({w.EVIL4!r}, 1111)", allow=["allowed.test"])
    second = lab.start(guest=f"print('up', flush=True); input(); tcp({w.EVIL4!r}, 2222)", allow=["allowed.test"])
    try:
        for running in (first, second):
            assert running.line() == "up"
        for running in (first, second):
            running.say("go")
        one, two = first.finish(), second.finish()
    finally:
        first.kill()
        second.kill()
    assert {event["port"] for event in one.refusals()} == {1111}, one
    assert {event["port"] for event in two.refusals()} == {2222}, two
    assert one.events[0]["sandbox"] != two.events[0]["sandbox"]
