"""Snapshots: what lies below a sandbox's root, what it can do to the host (nothing), and how it travels.

The store of a user is below HOME, which the lab makes anew for each test; root's is hidden behind a folder of the test.
"""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess

import pytest

import snapshots as made
from images import put, unpacker_of
from lab import wait_until
from snapshots import archive, digest_of, file, folder, layer, link, whiteout


@pytest.fixture
def store(images):
    images.snapshots = images.store.parent / "snapshots"
    return images


def imported(lab, data, *words):
    out = lab.cli("snapshot", "import", put(lab, "in.tar", data), *words)
    assert out.code == 0, out
    return out.stdout.strip()


def is_empty(lab):
    """As the next command leaves it."""
    assert lab.cli("snapshot", "ls", "-o", "json").stdout == "[]\n"
    return sorted(os.listdir(lab.snapshots)) in ([".lock", "layers"], ["layers"]) and not os.listdir(lab.snapshots / "layers")


BASE = layer(folder("home"), folder("home/sandbox", 0o700), file("home/sandbox/f", b"base\n"), folder("opt"),
             file("opt/tool", b"#!/bin/sh\necho tool\n", 0o755), link("opt/to", "tool"), folder("opt/old"), file("opt/old/f", b"x"))
TOP = layer(folder("opt"), whiteout("opt/to"), folder("opt/old", opaque=True), file("opt/old/g", b"new\n"), file("top", b"top\n"))


def test_layers(store):
    """Files of all layers, whiteouts and opaque folders; what is written is the sandbox's alone."""
    which = imported(store, archive(TOP, BASE, name="two"))
    assert which.startswith("s-")
    out = store.run("sh", "-c", "cat ~/f /top; ls /opt /opt/old; /opt/tool; echo changed > ~/f; echo x > /opt/old/h; cat ~/f; id -u; "
                    "stat -c %U:%a ~", extra=["--snapshot", "two"])
    assert out.stdout == "base\ntop\n/opt:\nold\ntool\n\n/opt/old:\ng\ntool\nchanged\n1000\nsandbox:700\n", out
    again = store.run("sh", "-c", "cat ~/f; ls /opt/old", extra=["--snapshot", which])
    assert again.stdout == "base\ng\n", again
    assert store.run("cat", "/top", extra=["--template", "two"]).stdout == "top\n"
    plan = store.cli("run", "--dry-run", "--snapshot", "two", "--", "true")
    assert f"snapshot {which} over it (2 layers" in plan.stdout, plan


def test_not_there(store):
    for extra in (["--snapshot", "nothing"], ["--snapshot", "../../etc"], ["--template", "nothing"]):
        out = store.run("true", extra=extra)
        assert out.code == 125 and "there is no" in out.stderr, out
    both = store.run("true", extra=["--snapshot", "a", "--image", "b"])
    assert both.code == 125 and "keep one" in both.stderr, both


def listing(path):
    return subprocess.run(["find", str(path), "-printf", r"%p %y %m %U %s %T@ %l\n"], check=True, stdout=subprocess.PIPE).stdout


HOSTILE = {
    "links for folders": layer(link("home", "etc"), link("usr", "tmp"), link("tmp", "/proc"), link("var", "/"), link("lib", "/tmp"),
                               link("root", "etc"), link("etc", "/etc"), link("bin", "/"), link("opt", "/")),
    "files for folders": layer(*(file(name, b"x") for name in ("home", "usr", "tmp", "var", "lib", "root", "etc", "bin", "lib64"))),
    "links below": layer(folder("etc"), link("etc/hosts", "/etc/shadow"), link("etc/ssl", "/etc"), link("etc/passwd", "../../../etc/passwd"),
                         folder("home"), link("home/sandbox", "/root"), folder("var"), link("var/tmp", "/")),
    "whiteouts": layer(whiteout("etc"), whiteout("home"), whiteout("usr"), whiteout("tmp"), whiteout("var")),
    "opaque": layer(folder("etc", opaque=True), folder("home", opaque=True), folder("usr", opaque=True, mode=0)),
    "closed": layer(folder("etc", 0), folder("home", 0), folder("tmp", 0), folder("var", 0, 0, 0)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layers(store, name):
    """Whatever is at the places that weir mounts over and writes: the sandbox is as always, nothing else was touched."""
    imported(store, archive(HOSTILE[name], name="evil"))
    share = store.folder / "share"
    share.mkdir()
    (share / "f").write_text("shared\n")
    share.chmod(0o777)
    os.chown(share, store.uid, store.gid)
    before = listing(store.snapshots / "layers"), listing("/etc"), listing(store.folder / "share")
    out = store.run("sh", "-c", "cat /etc/hosts /data/f; python3 -c 'print(1)'; touch ~/x /tmp/x /var/tmp/x && echo wrote; id -un; "
                    "cat /etc/shadow 2> /dev/null; test -c /dev/null && test -d /proc/self && echo mounts",
                    extra=["--snapshot", "evil", "-v", f"{share}:/data"])
    assert out.code == 0 and out.stdout.startswith("127.0.0.1 localhost\n"), out
    assert out.stdout.endswith("shared\n1\nwrote\nsandbox\nmounts\n"), out
    assert (listing(store.snapshots / "layers"), listing("/etc"), listing(store.folder / "share")) == before


def test_share_over_a_hostile_link(store):
    """The place of a share is a link: it leads to somewhere inside, never to the host."""
    imported(store, archive(layer(link("data", "/etc")), name="evil"))
    share = store.folder / "share"
    share.mkdir()
    os.chown(share, store.uid, store.gid)
    before = listing("/etc")
    out = store.run("sh", "-c", "touch /data/new && ls /etc", extra=["--snapshot", "evil", "-v", f"{share}:/data"])
    assert out.code in (0, 125), out
    assert listing("/etc") == before
    assert os.listdir(share) == (["new"] if out.code == 0 else [])


def test_image_below(store, root_archive):
    """A snapshot over an image needs that image, and no other of its name."""
    path = put(store, "a.tar", root_archive + bytes(1024))
    assert store.cli("image", "import", path, "alpine").code == 0
    digest = json.loads(store.cli("image", "ls", "-o", "json").stdout)[0]["digest"]
    about = {"base": {"image": "alpine", "digest": digest, "created": ""}}
    imported(store, archive(layer(folder("etc"), file("etc/new", b"new\n"), whiteout("etc/alpine-release")), name="over", **about))
    out = store.run("sh", "-c", "cat /etc/new; ls /etc; ls /bin/busybox", extra=["--snapshot", "over"])
    assert out.code == 0 and out.stdout.startswith("new\n") and "alpine-release" not in out.stdout, out
    both = store.run("true", extra=["--snapshot", "over", "--image", "alpine"])
    assert both.code == 125, both
    assert store.cli("image", "rm", "alpine").code == 0
    gone = store.run("true", extra=["--snapshot", "over"])
    assert gone.code == 125 and "alpine" in gone.stderr, gone
    other = put(store, "b.tar", root_archive.replace(b"3.18.4", b"3.18.5") + bytes(1024))
    assert store.cli("image", "import", other, "alpine").code == 0
    wrong = store.run("true", extra=["--snapshot", "over"])
    assert wrong.code == 125 and "is not the one" in wrong.stderr, wrong


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_export_import(store, packed):
    """There and back: the same layers, whoever made them."""
    which = imported(store, archive(TOP, BASE, name="two", taint="none", network_mode="none"))
    exported = str(store.folder / "out.tar")
    assert store.cli("snapshot", "export", "two", exported).code == 0
    assert store.cli("snapshot", "export", "two", exported).code == 125, "a file was replaced"
    with open(exported, "rb") as done:
        again = imported(store, packed(done.read()), "--name", "again")
    first, second = (json.loads(store.cli("snapshot", "show", name, "-o", "json").stdout) for name in (which, again))
    assert first["layers"] == second["layers"] and second["taint"] == "none" and second["name"] == "again", (first, second)
    assert [each["digest"] for each in first["layers"]] == [f"sha256:{digest_of(TOP)}", f"sha256:{digest_of(BASE)}"]
    assert len(os.listdir(store.snapshots / "layers")) == 2, "the same layers are stored twice"
    piped = subprocess.run(store.command([store.weir, "snapshot", "export", "again", "-"]), stdout=subprocess.PIPE)
    assert piped.returncode == 0 and hashlib.sha256(made.layer()[0]).hexdigest() not in piped.stdout.decode("latin1")
    taken = store.cli("snapshot", "import", put(store, "in.tar", archive(BASE)), "--name", "two")
    assert taken.code == 125 and "already" in taken.stderr, taken


def test_remove(store):
    """Layers go with the last snapshot that has them; not while a sandbox uses them."""
    imported(store, archive(BASE, name="base"))
    imported(store, archive(TOP, BASE, name="two"))
    running = store.start("sh", "-c", "echo up; read x; cat /top", extra=["--snapshot", "two"])
    assert running.line() == "up"
    busy = store.cli("snapshot", "rm", "two")
    assert busy.code == 125 and "used by a running sandbox" in busy.stderr, busy
    assert store.cli("snapshot", "rm", "base").code == 0
    assert len(os.listdir(store.snapshots / "layers")) == 2
    running.say("go")
    assert running.line() == "top"
    running.finish()
    assert store.cli("snapshot", "rm", "two").code == 0
    assert store.cli("snapshot", "rm", "two").code == 125
    assert is_empty(store)


def swapped(old, new):
    return lambda members: [(name, data.replace(old, new)) for name, data in members]


def without(index):
    return lambda members: members[:index] + members[index + 1:]


def with_member(index, name, data=b""):
    return lambda members: members[:index] + [(name, data)] + members[index:]


TAMPERED = {
    "content": dict(change=swapped(b"base\n", b"bASe\n")),
    "longer content": dict(change=swapped(b"base\n", b"base\n\n")),
    "manifest": dict(change=swapped(b"opt/tool", b"opt/t00l")),
    "mode in the manifest": dict(change=swapped(b"f 755 ", b"f 777 ")),
    "another layer": dict(change=swapped(digest_of(BASE).encode(), digest_of(TOP).encode())),
    "file left out": dict(change=without(2)),
    "last file left out": dict(change=without(-1)),
    "manifest left out": dict(change=without(1)),
    "description left out": dict(change=without(0)),
    "file too many": dict(change=with_member(99, "layers/x")),
    "climbing name": dict(change=with_member(2, "../../etc/x", b"x")),
    "absolute name": dict(change=with_member(2, "/etc/x", b"x")),
    "name out of place": dict(change=with_member(2, "etc/cron.d/x", b"x")),
    "unknown key": dict(more="x"),
    "id": dict(id="../../../etc/x"),
    "name": dict(name="a/b"),
    "taint": dict(taint="open"),
    "layers": dict(layers=[{"digest": "../" * 10, "entries": 0, "bytes": 0}]),
    "layer twice": dict(layers=[{"digest": digest_of(BASE), "entries": 0, "bytes": 0}] * 2),
    "image": dict(base={"image": "../x", "digest": "", "created": ""}),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampered_archives(store, how):
    """Refused as a whole; nothing of it stays. Its twin that nobody touched is taken."""
    out = store.cli("snapshot", "import", put(store, "bad.tar", archive(BASE, **TAMPERED[how])))
    assert out.code == 125 and len(out.stderr.splitlines()) == 1, out
    assert is_empty(store)
    imported(store, archive(BASE))


HAND_MADE = {
    "set-id": ("f 4755 0 0 1 1 {d} a\n", b"x"), "device name": ("d 755 0 0 dev\n", None), "run": ("d 755 0 0 run\n", None),
    "climbing": ("w ../a\n", None), "below a link": ("l 0 0 a /etc\nw a/passwd\n", None), "out of order": ("w b\nw a\n", None),
    "hard link to nothing": ("h a /etc/passwd\n", None), "owner": ("d 755 65536 0 a\n", None), "other version": (None, None),
}


@pytest.mark.parametrize("how", HAND_MADE)
def test_manifests_that_nobody_wrote(store, how):
    """Whoever makes a manifest can give it its digest; what it says is judged all the same."""
    lines, data = HAND_MADE[how]
    text = "weir-layer 2\n" if lines is None else "weir-layer 1\n" + lines.format(d=hashlib.sha256(b"x").hexdigest())
    out = store.cli("snapshot", "import", put(store, "bad.tar", archive((text.encode(), [] if data is None else [data]))))
    assert out.code == 125 and "manifest" in out.stderr, out
    assert is_empty(store)


def test_taint(store):
    """What was written where nothing gets out is not opened where it would, unless somebody insists."""
    imported(store, archive(BASE, name="sealed", taint="none", network_mode="none"))
    imported(store, archive(BASE, name="served", taint="inbound", network_mode="inbound"))
    imported(store, archive(BASE, name="open", network_mode="allowlist"))
    assert store.run("cat", "/home/sandbox/f", extra=["--snapshot", "sealed"]).stdout == "base\n"
    for name, mode, fits in (("sealed", "inbound", False), ("sealed", "allowlist", False), ("sealed", "open", False),
                             ("served", "none", True), ("served", "inbound", True), ("served", "allowlist", False),
                             ("open", "open", True)):
        extra = ["--snapshot", name, *(["-p", "0:80"] if mode == "inbound" else [])]
        out = store.run("echo", "ran", mode=mode, extra=extra)
        assert (out.stdout == "ran\n") == fits, (name, mode, out)
        assert fits or (out.code == 125 and "--insist taint" in out.stderr), out
    out = store.run("echo", "ran", mode="open", extra=["--snapshot", "sealed", "--insist", "taint"])
    assert out.stdout == "ran\n" and "insisted: snapshot" in out.stderr, out
    needless = store.run("echo", "ran", mode="none", extra=["--snapshot", "sealed", "--insist", "taint"])
    assert needless.code == 125 and "leave it out" in needless.stderr, needless


def file_calls(lab, name):
    """How often a start looks at files."""
    log = lab.folder / "calls"
    done = subprocess.run(lab.command(["strace", "-f", "-qq", "-e", "trace=%file,getdents64,read,pread64", "-o", str(log), lab.weir,
                                       "run", "--events", "none", "--snapshot", name, "--", "/usr/bin/true"]), stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done
    return len([line for line in log.read_text().splitlines() if "resumed" not in line])


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_start_does_not_look_at_the_files(store):
    """However many files a snapshot has, a start makes the same calls."""
    imported(store, archive(layer(folder("opt"), file("opt/f", b"x")), name="small"))
    many = layer(folder("opt"), *(file(f"opt/{number:05}", b"x" * 100) for number in range(5000)))
    imported(store, archive(many, name="large"))
    small, large = file_calls(store, "small"), file_calls(store, "large")
    assert abs(small - large) < 20, (small, large)


def test_two_at_the_same_time(store):
    """Both are there; what they have in common is there once."""
    words = [store.weir, "snapshot", "import", put(store, "in.tar", archive(TOP, BASE))]
    both = [subprocess.Popen(store.command(words), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = {process.communicate()[0].strip() for process in both}
    assert len(names) == 2 and all(process.returncode == 0 for process in both)
    assert {each["id"] for each in json.loads(store.cli("snapshot", "ls", "-o", "json").stdout)} == names
    assert len(os.listdir(store.snapshots / "layers")) == 2
    for name in names:
        assert store.cli("snapshot", "rm", name).code == 0
    assert is_empty(store)


def test_killed_in_the_middle(store):
    """SIGKILL while it is being made: nothing of it is left when the next command has swept."""
    big = layer(*(file(f"f{number}", bytes(range(256)) * 40000) for number in range(30)))
    path = put(store, "big.tar", archive(big))
    process = subprocess.Popen(store.command([store.weir, "snapshot", "import", path]), stdout=subprocess.PIPE)
    unpacker_of(process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # The confined process ends a moment later; until then it holds its folder.
    wait_until(lambda: is_empty(store), what="an empty store")


def test_killed_between_layer_and_name(store):
    """What a process leaves that dies at the worst moments, made by hand: swept, and nothing that is named goes."""
    keep = imported(store, archive(BASE, name="keep"))
    orphan = store.snapshots / "layers" / ("0" * 64)
    for path in (orphan, store.snapshots / ".new-0123456789abcdef", store.snapshots / ".old-0123456789abcdef"):
        (path / "tree").mkdir(parents=True)
        os.chown(path, store.uid, store.gid)
        os.chown(path / "tree", store.uid, store.gid)
        (path / "ids").write_text("root" if store.uid == 0 else "one")
    (store.snapshots / ".json-01234567").write_text("{}")
    assert [each["id"] for each in json.loads(store.cli("snapshot", "ls", "-o", "json").stdout)] == [keep]
    assert os.listdir(store.snapshots / "layers") == [digest_of(BASE)]
    assert not [name for name in os.listdir(store.snapshots) if name.startswith((".new", ".old", ".json"))]
    # One that cannot be read might name any layer.
    (store.snapshots / "s-00000000.json").write_text("{}")
    (orphan / "tree").mkdir(parents=True)
    os.chown(orphan, store.uid, store.gid)
    listed = store.cli("snapshot", "ls")
    assert listed.code == 0 and keep in listed.stdout and "weir snapshot rm s-00000000" in listed.stderr, listed
    assert len(os.listdir(store.snapshots / "layers")) == 2


def test_nobody_else_reads_them(store):
    """Neither the store nor, as root, any file in it belongs to anybody else on the machine."""
    imported(store, archive(BASE))
    assert os.stat(store.snapshots).st_mode & 0o77 == 0
    if store.uid == 0:
        stored = os.stat(store.snapshots / "layers" / digest_of(BASE) / "tree" / "opt" / "tool")
        assert stored.st_uid == 0x0fff0000 + 1000, stored


def test_templates_that_ship(store):
    out = store.run("python3", "-c", "print('python')", extra=["--template", "python"])
    assert out.stdout == "python\n", out
    has_all = all(os.path.exists(f"/usr/lib/python3/dist-packages/{name}") for name in ("numpy", "pandas", "matplotlib"))
    interpreter = store.run("python3", "-c", "print('python')", extra=["--template", "code-interpreter"])
    assert interpreter.stdout == "python\n" if has_all else "apt install python3-numpy" in interpreter.stderr, interpreter
    imported(store, archive(layer(file("mine", b"mine\n")), name="python"))
    assert store.run("cat", "/mine", extra=["--template", "python"]).stdout == "mine\n", "one's own comes first"
