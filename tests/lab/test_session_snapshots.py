"""Snapshots of live sessions: what is kept of them, what is not, and what they become."""

import json
import os
import signal

import pytest

import world as w
from lab import wait_until
from sessions import Session, gone
from test_clients import ca, make_wheel  # noqa: F401
from test_snapshots import is_empty, store  # noqa: F401

PIP = ("python3 -m pip install -q --no-cache-dir --retries 0 --timeout 5 --disable-pip-version-check --no-warn-script-location "
       "--cert /ca.pem -i https://allowed.test/simple labpkg")
USE = "import labpkg; print(labpkg.answer)"


def snapshot(lab, session, *words):
    out = lab.cli("snapshot", "create", session.id, *words)
    assert out.code == 0, out
    return out.stdout.strip()


def shown(lab, which):
    return json.loads(lab.cli("snapshot", "show", which, "-o", "json").stdout)


def paths(lab, which):
    """Of the top layer: {path: line of the manifest}."""
    digest = shown(lab, which)["layers"][0]["digest"].removeprefix("sha256:")
    lines = (lab.snapshots / "layers" / digest / "manifest").read_text().splitlines()[1:]
    return {line.split(" ")[{"h": 1, "l": 3, "w": 1}.get(line[0], -1)]: line for line in lines}


@pytest.mark.refusal
def test_packages_with_a_network_code_without(store, ca):  # noqa: F811
    """The story that snapshots are for: what was installed through an allowlist is used where there is no network."""
    make_wheel(store.world.www / "simple" / "labpkg")
    with Session(store, *store.flags(allow=["allowed.test"], extra=ca), "--name", "build") as session:
        assert session.code == 0, session.said
        done, _, err = session.run(command=PIP)
        assert done["exit_code"] == 0, err
        assert session.run("python3", "-c", USE)[1] == "42\n"
        which = snapshot(store, session, "--name", "tools", "--label", "team=data")
        about = shown(store, which)
        assert about["network_mode"] == "allowlist" and about["session"] == session.id and "taint" not in about, about
        assert about["labels"] == {"team": "data"}
        # It goes on as if nothing had been.
        assert session.run("python3", "-c", USE)[1] == "42\n"
        session.stop()
    store.world.reset()
    out = store.run("python3", "-c", USE, mode="none", extra=["--snapshot", "tools"])
    assert out.code == 0 and out.stdout == "42\n", out
    code = "import socket\ntry: socket.create_connection(('%s', 443), 5)\nexcept OSError as error: print(error.errno)" % w.ALLOWED4
    refused = store.run("python3", "-c", code, mode="none", extra=["--snapshot", "tools"])
    assert refused.stdout == "101\n" and store.world.packets_to(w.ALLOWED4) == 0, refused
    # The twin: with the allowlist of then it gets there.
    twin = store.run("python3", "-c", code + "\nelse: print('there')", allow=[w.ALLOWED4 + ":443"], extra=["--snapshot", "tools"])
    assert twin.stdout == "there\n", twin


WRITES = r"""
mkdir -p ~/deep/er /opt2 /run/mine; echo x > ~/deep/er/f; ln ~/deep/er/f ~/hard; ln -s /etc/shadow ~/soft
echo secret > /dev/shm/s; echo secret > /run/mine/s; echo kept > /tmp/t; mkfifo ~/fifo; python3 -c '
import os, socket
socket.socket(socket.AF_UNIX).bind(os.path.expanduser("~/sock"))
open("/opt2/sparse", "wb").truncate(1 << 28)'
mkdir ~/closed; echo x > ~/closed/f; chmod 000 ~/closed/f ~/closed; cp /bin/true ~/program; chmod 755 ~/program; echo x > /data/f
"""


def test_what_is_kept(store):
    share = store.folder / "share"
    share.mkdir()
    os.chown(share, store.uid, store.gid)
    with Session(store, "-v", f"{share}:/data") as session:
        assert session.run(command=WRITES)[0]["exit_code"] == 0
        out = store.cli("snapshot", "create", session.id)
        assert out.code == 0 and "2 sockets, pipes or devices left out" in out.stderr, out
        which = out.stdout.strip()
        kept = paths(store, which)
        home = "home/sandbox"
        assert {path for path in kept if not path.startswith(home)} == {"home", "opt2", "opt2/sparse", "tmp", "tmp/t"}, kept
        assert {path.removeprefix(home) for path in kept if path.startswith(home)} == {
            "", "/deep", "/deep/er", "/deep/er/f", "/hard", "/soft", "/closed", "/closed/f", "/program"}, kept
        assert kept["home/sandbox/hard"] == "h home/sandbox/hard home/sandbox/deep/er/f"
        assert kept["home/sandbox/closed"].startswith("d 0 1000 1000 ")
        assert kept["home/sandbox/program"].startswith("f 755 1000 1000 ")
        assert (share / "f").read_text() == "x\n"
        digest = shown(store, which)["layers"][0]["digest"].removeprefix("sha256:")
        assert os.stat(store.snapshots / "layers" / digest / "tree" / "opt2/sparse").st_blocks < 64
    out = store.run("sh", "-c", "cat ~/hard /tmp/t; stat -c %s /opt2/sparse; readlink ~/soft; chmod 700 ~/closed ~/closed/f && cat ~/closed/f; "
                    "ls -d /run/mine /dev/shm/s ~/sock 2>/dev/null", extra=["--snapshot", which])
    assert out.stdout == "x\nkept\n268435456\n/etc/shadow\nx\n", out


def test_layers_upon_layers(store):
    """Each session adds what it wrote, also what it removed; nothing written adds none, and twenty cost one."""
    with Session(store) as session:
        session.run(command="mkdir -p ~/a /opt; echo 1 > ~/a/f; echo 1 > ~/a/g; echo 1 > /opt/f; echo 1 > ~/gone")
        first = snapshot(store, session, "--name", "first")
    with Session(store, "--snapshot", "first") as session:
        assert session.show()["snapshot"] == first
        same = snapshot(store, session)
        assert shown(store, same)["layers"] == shown(store, first)["layers"] and shown(store, same)["parent"] == first
        many = [snapshot(store, session) for _ in range(5)]
        assert len(os.listdir(store.snapshots / "layers")) == 1, many
        busy = store.cli("snapshot", "rm", "first")
        assert busy.code == 125 and "used by a running sandbox" in busy.stderr, busy
        session.run(command="rm ~/gone; rm -r ~/a; mkdir ~/a; echo 2 > ~/a/h; echo 2 > /opt/f; cat /etc/hosts > /dev/null")
        second = snapshot(store, session, "--name", "second")
        assert paths(store, second)["home/sandbox/gone"].startswith("w ") and paths(store, second)["home/sandbox/a"].startswith("o ")
        assert not [path for path in paths(store, second) if path.startswith("etc")], paths(store, second)
    listed = store.run("sh", "-c", "ls ~; ls ~/a; ls /opt; cat /opt/f", extra=["--snapshot", "second"])
    assert listed.stdout == "a\nh\nf\n2\n", listed
    assert store.run("sh", "-c", "ls ~ | wc -l", extra=["--snapshot", "first"]).stdout == "2\n"
    for which in (first, same, *many, second):
        assert store.cli("snapshot", "rm", which).code == 0
    assert is_empty(store)


def test_taint_stays(store):
    """Of a session without a network, of one that became so, and of whatever is made from either."""
    with Session(store) as session:
        session.run(command="echo secret > ~/s")
        sealed = snapshot(store, session)
    assert shown(store, sealed)["taint"] == "none"
    refused = Session(store, *store.flags(allow=["allowed.test"]), "--snapshot", sealed)
    assert refused.code == 125 and refused.said["error"]["code"] == "taint", refused.said
    with Session(store, *store.flags(allow=["allowed.test"]), "--snapshot", sealed, "--insist", "taint") as session:
        assert session.code == 0, session.said
        session.run(command="echo more > ~/more")
        child = snapshot(store, session)
    about = shown(store, child)
    assert about["taint"] == "none" and about["network_mode"] == "allowlist" and len(about["layers"]) == 2, about
    assert store.run("true", allow=["allowed.test"], extra=["--snapshot", child]).code == 125
    with Session(store, *store.flags(allow=["allowed.test"])) as session:
        session.run(command="echo x > ~/x")
        wide = snapshot(store, session)
        assert "error" not in session.ask({"op": "narrow", "network_mode": "none"})
        session.run(command="echo secret > ~/s")
        narrowed = snapshot(store, session)
    assert "taint" not in shown(store, wide) and shown(store, narrowed)["taint"] == "none"
    missing = Session(store, "--snapshot", "nothing")
    assert missing.code == 125 and missing.said["error"]["code"] == "snapshot_not_found", missing.said


def test_everything_stands_still(store):
    """A file that is written without a pause is kept as it was at one moment; then it goes on."""
    writer = "import os\nn = 0\nwhile True:\n n += 1\n open('/tmp/a', 'w').write(str(n)); open('/tmp/b', 'w').write(str(n))\n"
    with Session(store) as session:
        pid = session.detach(f"python3 -c \"{writer}\"")
        wait_until(lambda: session.run(command="test -s /tmp/b")[0]["exit_code"] == 0, what="the writer")
        which = snapshot(store, session)
        before = session.run("cat", "/tmp/a")[1]
        wait_until(lambda: session.run("cat", "/tmp/a")[1] not in ("", before), what="the writer to go on")
        session.ask({"op": "signal", "pid": pid, "signal": "KILL"})
    a, b = store.run("sh", "-c", "cat /tmp/a; echo; cat /tmp/b", extra=["--snapshot", which]).stdout.split("\n")
    assert a == "" or b == "" or abs(int(a) - int(b)) <= 1, (a, b)


def test_two_at_the_same_time(store):
    """Of one session one after the other (the second hears so); of two sessions at once."""
    with Session(store) as one, Session(store) as two:
        for session in (one, two):
            session.run(command="mkdir /opt; touch -d @7 /opt/same; head -c 20000000 /dev/zero | tr '\\0' x > /opt/big; touch -d @7 /opt/big")
        asked = [session.connect().say({"op": "snapshot"}) for session in (one, one, two, two)]
        replies = [connection.line() for connection in asked]
        for connection in asked:
            connection.close()
        made = [reply["snapshot"]["id"] for reply in replies if "snapshot" in reply]
        assert len(made) >= 2 and all(reply["error"]["code"] == "conflict" for reply in replies if "error" in reply), replies
        assert len(os.listdir(store.snapshots / "layers")) == 1
        taken = [session.ask({"op": "snapshot", "name": "same"}) for session in (one, two)]
        assert "snapshot" in taken[0] and taken[1]["error"]["code"] == "name_taken", taken
        wrong = one.ask({"op": "snapshot", "name": "../x"})
        assert wrong["error"]["code"] == "bad_request", wrong


@pytest.mark.parametrize("whom", ["the copier", "the supervisor"])
def test_killed_in_the_middle(store, whom):
    with Session(store) as session:
        session.run(command="mkdir /opt; for i in 1 2 3 4 5 6 7 8; do head -c 30000000 /dev/urandom > /opt/$i; done", timeout_ms=60000)
        with session.connect() as connection:
            connection.say({"op": "snapshot"})
            copier = []
            wait_until(lambda: copier.extend(pid for pid in children(session.pid) if name_of(pid) == "weir-snapshot") or copier,
                       what="the copier")
            os.kill(copier[0] if whom == "the copier" else session.pid, signal.SIGKILL)
            reply = connection.line()
        if whom == "the copier":
            assert reply["error"]["code"] == "internal", reply
            assert session.run("echo", "goes on")[1] == "goes on\n"
        # The confined process ends after the one that it belongs to; until then it holds its folder.
        wait_until(lambda: gone(copier[0]) and is_empty(store), what="the end of the copier")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def test_image_session(store, root_archive):
    """Over an image: what is changed and removed of it; a session in a folder has no snapshots."""
    path = store.folder / "a.tar"
    path.write_bytes(root_archive + bytes(1024))
    path.chmod(0o644)
    assert store.cli("image", "import", str(path), "alpine").code == 0
    with Session(store, "--image", "alpine", "--user", "root") as session:
        assert session.code == 0, session.said
        assert session.run("sh", "-c", "rm /etc/alpine-release; echo x > /etc/new; mkdir /srv; echo y > /srv/f")[0]["exit_code"] == 0
        which = snapshot(store, session)
        kept = paths(store, which)
        assert set(kept) == {"etc", "etc/alpine-release", "etc/new", "srv", "srv/f"} and kept["etc/alpine-release"][0] == "w", kept
    out = store.run("sh", "-c", "ls /etc; cat /srv/f", extra=["--snapshot", which])
    assert out.code == 0 and "new\n" in out.stdout and "alpine-release" not in out.stdout and out.stdout.endswith("y\n"), out
    with Session(store, "--image", str(path)) as session:
        refused = session.ask({"op": "snapshot"})
        assert refused["error"]["code"] == "unavailable", refused


def test_one_that_could_not_be_read_again_is_not_made(store):
    """It would stand in the way of all others."""
    with Session(store, "--name", "build") as session:
        out = store.cli("snapshot", "create", session.id, "--label", "a=" + "x" * 5000)
        assert out.code == 125 and "label" in out.stderr, out
        assert snapshot(store, session, "--label", "a=" + "x" * 200).startswith("s-")
        assert store.cli("snapshot", "ls").code == 0
