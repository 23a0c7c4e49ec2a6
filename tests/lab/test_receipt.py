"""weir run --receipt: one page, whole, however the run ended; and refused before the start where it cannot be written."""

import json
import os

import pytest

import world as w
from lab import attempts

MIXED = f"""
resolve('allowed.test'); http_get({w.ALLOWED4!r}, 80, 'allowed.test')
dns('evil.test'); tcp({w.EVIL4!r}, 80); tcp({w.EVIL4!r}, 80)
result = 'done'
"""


def receipt_of(lab, name="r.txt"):
    text = (lab.folder / name).read_text()
    return text, json.loads((lab.folder / f"{name}.json").read_text())


@pytest.mark.refusal
def test_receipt_agrees_with_the_record(lab):
    out = lab.guest(MIXED, allow=["allowed.test"], extra=["--receipt", "r.txt", "--name", "build-7"])
    text, page = receipt_of(lab)
    assert page["sandbox"] == out.events[0]["sandbox"] and page["policy"] == out.events[0]["policy"], page
    assert page["exit_code"] == 0 and page["command"] == "/usr/bin/python3" and page["name"] == "build-7", page
    closed = out.of_type("flow.close")
    reached = {(entry["name"], entry["port"]): entry for entry in page["destinations"]}
    entry = reached[("allowed.test", 80)]
    assert entry["bytes_down"] == sum(event["bytes_down"] for event in closed) > 0, page
    assert entry["bytes_up"] == sum(event["bytes_up"] for event in closed) > 0, page
    assert entry["flows"] == len(closed) and entry["addresses"] == [w.ALLOWED4], page
    refused = {(entry["destination"], entry["reason"]): entry["times"] for entry in page["refused"]}
    assert refused[(f"{w.EVIL4}:80", "no-rule")] == attempts(out.refusals(dst=w.EVIL4)) == 2, page
    assert refused[("evil.test", "no-rule")] == 1, page
    assert lab.world.packets_to(w.EVIL4, 80) == 0 < lab.world.packets_to(w.ALLOWED4, 80)
    assert f"{w.EVIL4}:80  no-rule, 2 times" in text and "allowed.test:80" in text, text
    assert os.stat(lab.folder / "r.txt").st_mode & 0o077 == 0


@pytest.mark.parametrize("how, extra, command, code", [
    ("failed", [], ["sh", "-c", "exit 7"], 7),
    ("not found", [], ["/no/such/program"], 127),
    ("timeout", ["--timeout", "200ms,100ms"], ["sleep", "60"], 124),
    ("signal", [], ["sh", "-c", "kill -9 $$"], 137),
    ("memory", ["--memory", "64M"], ["python3", "-c", "x = b'x' * (1 << 30)"], None),
])
def test_written_however_it_ended(lab, how, extra, command, code):
    out = lab.run(*command, extra=[*extra, "--receipt", "r.txt"])
    text, page = receipt_of(lab)
    assert page["exit_code"] == out.code and (code is None or out.code == code), (out, page)
    assert out.code != 0 and f"exit      {out.code}" in text, text
    if how in ("timeout", "memory") and out.code in (124, 137):
        assert page["limits"][0]["limit"] == how, page


@pytest.mark.parametrize("path", ["/nonexistent/r.txt", "folder", "/proc/r.txt", "pipe"])
def test_a_path_that_cannot_be_is_refused_before_the_start(lab, path):
    (lab.folder / "folder").mkdir()
    os.mkfifo(lab.folder / "pipe")
    out = lab.run("echo", "started", extra=["--receipt", path])
    assert out.code == 125 and out.stdout == "" and "--receipt" in out.stderr and path in out.stderr, out
    twin = lab.run("echo", "started", extra=["--receipt", "good.txt"])
    assert twin.code == 0 and twin.stdout == "started\n" and (lab.folder / "good.txt").exists(), twin


def test_a_link_is_replaced_and_not_followed(lab):
    """The guest may write the folder: what it leaves at the receipt's place leads nowhere."""
    work = lab.folder / "work"
    work.mkdir(mode=0o777)
    work.chmod(0o777)
    victim = lab.folder / "victim"
    victim.write_text("mine")
    victim.chmod(0o666)
    out = lab.run("sh", "-c", f"ln -s {victim} /w/r.txt; ln -s {victim} /w/r.txt.json; ls /w",
                  extra=["-v", f"{work}:/w", "--receipt", str(work / "r.txt")])
    assert out.code == 0 and "r.txt" in out.stdout, out
    assert victim.read_text() == "mine"
    assert not (work / "r.txt").is_symlink() and "sandbox" in (work / "r.txt").read_text()
    assert not [name for name in os.listdir(work) if name.startswith(".")], "a temporary file is left"
