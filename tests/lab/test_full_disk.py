"""A host whose disk is full: what cannot be written is said, and what cannot be recorded does not happen. attacks.md P05."""

import contextlib
import json
import os
import pathlib

import pytest

import world as w
from lab import read_events
from sessions import Session
from test_snapshots import store  # noqa: F401

CONNECT = f"""
import socket
try:
    socket.create_connection(({w.ALLOWED4!r}, 80), 5).close()
    print("OK")
except OSError as error:
    print(type(error).__name__)
"""


class SmallDisk:
    """A file system of its own at `folder` of the lab's host, which is seen from here below `below`."""

    def __init__(self, lab, folder, size):
        self.lab, self.place, self.below = lab, folder, f"/proc/{lab.world.host.pid}/root"
        lab.world.host.sh(f"install -d -m 700 -o {lab.uid} -g {lab.gid} {folder}; mount -t tmpfs -o size={size},mode=700,uid={lab.uid},gid={lab.gid} small {folder}")
        self.folder = pathlib.Path(f"{self.below}{folder}")

    def fill(self):
        with contextlib.suppress(OSError), open(self.folder / "ballast", "ab", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        assert os.statvfs(self.folder).f_bavail == 0

    def empty(self):
        (self.folder / "ballast").unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lab.world.host.sh(f"umount -l {self.place}")


@pytest.fixture
def small(lab):
    with SmallDisk(lab, lab.folder / "state", "1m") as disk:
        yield disk


def test_no_session_without_its_record(lab, small):
    small.fill()
    with Session(lab, seen_below=small.below) as session:
        assert session.code == 125 and "No space left on device" in session.said["error"]["message"], session.said
    small.empty()
    with Session(lab, seen_below=small.below) as session:
        assert session.code == 0 and session.run("true")[0]["exit_code"] == 0
        session.stop()
    left = [str(path) for path in small.folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    assert all(path.endswith("/.lock") for path in left), left


@pytest.mark.refusal
def test_a_flow_that_cannot_be_recorded_does_not_happen(lab, small):
    with Session(lab, *lab.flags(allow=[f"{w.ALLOWED4}:80"]), seen_below=small.below) as session:
        assert session.code == 0, session.said
        assert session.run("python3", "-c", CONNECT)[1] == "OK\n"
        before = len(read_events(small.below + session.events_path))
        small.fill()
        # What is left of the record's last page takes some lines still.
        for _ in range(40):
            lab.world.reset()
            _, said, _ = session.run("python3", "-c", CONNECT)
            if said != "OK\n":
                break
            assert lab.world.packets_to(w.ALLOWED4, 80) > 0
        assert said == "ConnectionRefusedError\n" and lab.world.packets_to(w.ALLOWED4, 80) == 0, said
        full = read_events(small.below + session.events_path)
        assert sum(event["type"] == "flow.open" for event in full[before:]) < 40, "no line is lost or half"
        small.empty()
        assert session.run("python3", "-c", CONNECT)[1] == "OK\n"
        later = read_events(small.below + session.events_path)
        assert [event["seq"] for event in later] == list(range(1, len(later) + 1))
        assert sum(event["type"] == "flow.open" for event in later) == sum(event["type"] == "flow.open" for event in full) + 1
        session.stop()


def test_output_that_cannot_be_kept_is_counted(lab, small):
    with Session(lab, "--net", "none", seen_below=small.below) as session:
        small.fill()
        pid = session.detach("head -c 300000 /dev/zero | tr '\\0' x; echo done >&2")
        output, out, _ = session.await_exit(pid)
        assert output["exited"]["exit_code"] == 0 and output["truncated"], output
        assert len(out) == output["stdout_bytes"] < 300000, output
        small.empty()
        assert session.await_exit(session.detach("echo more"))[1] == "more\n"
        session.stop()


def test_a_snapshot_without_room_leaves_nothing(store):  # noqa: F811
    place = pathlib.Path("/var/lib/weir/snapshots") if store.uid == 0 else store.snapshots
    with SmallDisk(store, place, "2m") as disk, Session(store, "--net", "none") as session:
        assert session.run("sh", "-c", "head -c 3000000 /dev/urandom > /home/sandbox/big; echo small > /home/sandbox/small")[0][
            "exit_code"] == 0
        out = store.cli("snapshot", "create", session.id, "--name", "big")
        assert out.code == 125 and "No space left on device" in out.stderr, out
        assert json.loads(store.cli("snapshot", "ls", "-o", "json").stdout) == []
        assert sum(path.stat().st_size for path in disk.folder.rglob("*") if path.is_file()) < 4096
        assert session.run("rm", "/home/sandbox/big")[0]["exit_code"] == 0
        out = store.cli("snapshot", "create", session.id, "--name", "big")
        assert out.code == 0, out
        session.stop()
