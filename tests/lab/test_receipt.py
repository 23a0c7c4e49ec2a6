"""weir run --receipt: one page, whole, however the run ended; and refused before the start where it cannot be written."""

import json
import os
import pathlib

import pytest

import world as w
from lab import attempts

MIXED = f"""
resolve('allowed.test'); http_get({w.ALLOWED4!r}, 80, 'allowed.test')
dns('evil.test'); tcp({w.EVIL4!r}, 80); tcp({w.EVIL4!r}, 80)
result = 'done'
"""


SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs/receipt.schema.json").read_text())


def receipt_of(lab, name="r.txt"):
    import jsonschema
    text = (lab.folder / name).read_text()
    page = json.loads((lab.folder / f"{name}.json").read_text())
    wrong = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(page)]
    assert not wrong, wrong[:3]
    return text, page


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


def overlay(lab, command, *extra):
    """Runs a shell command in an overlay over a small folder. -> (outcome, {path: entry}, text)"""
    work = lab.folder / "work"
    if not work.exists():
        (work / "old").mkdir(parents=True)
        for name in ("keep", "change", "remove", "old/inner", "old/other"):
            (work / name).write_text("before\n")
        lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {work}")
    out = lab.run("sh", "-c", command, extra=["-v", f"{work}:/w:overlay", "-w", "/w", "--receipt", "r.txt", *extra])
    text, page = receipt_of(lab)
    return out, {entry["path"]: entry for entry in page["files"]}, text


@pytest.mark.parametrize("limits", [[], ["--disk", "64M"]])
@pytest.mark.parametrize("user", ["sandbox", "root"])
def test_files_changed_in_an_overlay(lab, user, limits):
    out, files, text = overlay(lab, "echo x >> change && rm remove && echo new > added && ln -s /etc/passwd link && "
                               "mkdir -p deep/er .git/hooks && echo hi > deep/er/file && echo h > .git/hooks/pre-commit && "
                               "mkfifo pipe && rm old/inner && cat keep", "--user", user, *limits)
    assert out.code == 0, out
    kinds = {path: (entry["kind"], entry["type"]) for path, entry in files.items()}
    assert kinds == {
        "/w/change": ("changed", "file"), "/w/remove": ("deleted", "file"), "/w/added": ("added", "file"),
        "/w/link": ("added", "link"), "/w/deep": ("added", "folder"), "/w/deep/er": ("added", "folder"),
        "/w/deep/er/file": ("added", "file"), "/w/.git": ("added", "folder"), "/w/.git/hooks": ("added", "folder"),
        "/w/.git/hooks/pre-commit": ("added", "file"), "/w/pipe": ("added", "other"), "/w/old/inner": ("deleted", "file"),
    }, kinds
    assert files["/w/link"]["link_target"] == "/etc/passwd" and files["/w/change"]["bytes"] == len("before\nx\n")
    assert [path for path, entry in files.items() if entry["runs_outside"]] == ["/w/.git/hooks", "/w/.git/hooks/pre-commit"]
    assert "added link /w/link -> /etc/passwd" in text and "deleted file /w/remove" in text, text
    assert (lab.folder / "work" / "change").read_text() == "before\n", "the overlay leaked"


def test_a_folder_that_was_replaced(lab):
    out, files, _ = overlay(lab, "rm -r old && mkdir old && echo x > old/inner")
    assert out.code == 0, out
    assert files["/w/old"]["kind"] == "replaced" and files["/w/old/inner"]["kind"] == "added", files


def test_nothing_changed_is_said(lab):
    _, files, text = overlay(lab, "cat keep")
    assert files == {} and "no file of an overlay was changed" in text


def test_hostile_trees(lab):
    """Names that steer a terminal, a tree that is too deep, folders that cannot be looked into, links out: said, bounded."""
    code = """
import os, sys
os.chdir('/w')
open('a\\x1b[2J\\nforged', 'w').close()
os.symlink('/etc', 'etc')
os.mkdir('closed'); open('closed/secret', 'w').close(); os.chmod('closed', 0)
for i in range(200):
    os.mkdir('d'); os.chdir('d')
os.chdir('/w')
"""
    out, files, text = overlay(lab, "cat > /tmp/x.py <<'END'\n" + code + "\nEND\npython3 /tmp/x.py")
    assert out.code == 0, out
    assert "\x1b" not in text and "\nforged" not in text, text[:2000]
    assert files["/w/etc"]["type"] == "link" and "/w/etc/passwd" not in files
    depth = max(path.count("/d") for path in files)
    assert depth <= 102 and any(entry["kind"] == "unreadable" for entry in files.values()), depth
    if lab.uid != 0:
        assert files["/w/closed"]["kind"] == "unreadable" and "/w/closed/secret" not in files, files["/w/closed"]


def test_more_changes_than_a_page_holds(lab):
    out, files, text = overlay(lab, "seq 5000 | xargs touch")
    assert out.code == 0 and len(files) == 4096 and "and 904 more" in text, text[-300:]


def test_the_receipt_does_not_wait_for_a_pipe_or_follow_the_share(lab):
    """The shared folder itself became a link meanwhile: nothing of the new place is looked at."""
    work = lab.folder / "work"
    overlay(lab, "true")
    running = lab.start("sh", "-c", "echo up; read x; echo y > change", extra=["-v", f"{work}:/w:overlay", "-w", "/w",
                                                                          "--receipt", "r2.txt"])
    try:
        assert running.line() == "up"
        work.rename(lab.folder / "moved")
        work.symlink_to("/etc")
        running.say("go")
        out = running.finish()
    finally:
        running.kill()
    assert out.code == 0, out
    _, page = receipt_of(lab, "r2.txt")
    assert [(entry["path"], entry["kind"]) for entry in page["files"]] == [("/w/change", "added")], page
