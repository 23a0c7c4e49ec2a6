"""`weir image import FOLDER`: a tree becomes an image by the rules that archives have."""

import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

import pytest

from archives import END
from images import imported, put, store_is_empty, unpacker_of


@pytest.fixture
def tree(images, root_archive):
    """A small root file system that belongs to whoever runs weir."""
    made = images.folder / "tree"
    made.mkdir()
    subprocess.run(["tar", "-xpf", put(images, "a.tar", root_archive + END), "-C", str(made)], check=True)
    own(images, made)
    return made


def own(lab, path):
    subprocess.run(["chown", "-hR", f"{lab.uid}:{lab.gid}", str(path)], check=True)


def listing(root):
    """What is in a tree: kinds, modes, sizes, targets of links."""
    out = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        target = os.readlink(path) if path.is_symlink() else ""
        out[str(path.relative_to(root))] = (oct(status.st_mode), status.st_nlink, target,
                                            path.read_bytes() if path.is_file() and not path.is_symlink() else b"")
    return out


def test_import_run_remove(images, tree):
    os.link(tree / "etc/group", tree / "etc/group2")
    os.setxattr(tree / "etc/group", "user.note", b"kept")
    (tree / "etc/loop").symlink_to("loop")
    (tree / "etc/out").symlink_to("/etc/hostname")
    (tree / "etc/climbs").symlink_to("../../../../../../etc/shadow")
    own(images, tree)
    out = imported(images, str(tree))
    assert "imported tree (folder, " in out.stdout, out
    stored = images.store / "tree" / "rootfs"
    assert listing(stored) == listing(tree)
    assert os.getxattr(stored / "etc/group", "user.note") == b"kept"
    assert json.loads(images.cli("image", "ls", "-o", "json").stdout)[0]["format"] == "folder"
    (tree / "etc/alpine-release").write_text("changed since\n")
    out = images.run("sh", "-c", "cat /etc/alpine-release; echo x > /etc/new && echo wrote; test -r /etc/climbs || echo nowhere",
                     extra=["--image", "tree", "--user", "root"])
    assert out.stdout == "3.18.4\nwrote\nnowhere\n", out
    assert not (tree / "etc/new").exists() and not (stored / "etc/new").exists()
    assert images.cli("image", "rm", "tree").code == 0 and store_is_empty(images)


def test_debian(images, debian_archive):
    """A real tree with its owners: unpacked by tar, imported, run. What tar made is what is stored."""
    made = images.folder / "debian"
    made.mkdir()
    subprocess.run(["tar", "-xpf", str(debian_archive), "-C", str(made), "--exclude=./dev/*"], check=True)
    if images.uid != 0:
        own(images, made)
    out = imported(images, str(made), timeout=80)
    script = "dpkg -l dash | tail -1; perl -e 'print 6*7, \"\\n\"'; stat -c %U:%G:%a /var/local /bin/su"
    out = images.run("sh", "-c", script, extra=["--image", "debian", "--user", "root"])
    assert "ii  dash" in out.stdout and "\n42\n" in out.stdout, out
    if images.uid == 0:
        assert out.stdout.endswith("root:staff:2775\nroot:root:755\n"), out
        assert os.stat(images.store / "debian/rootfs/var/local").st_uid >= 0x0fff0000


def test_sparse_files_stay_sparse(images, tree):
    """A file of 2 GiB that holds a few bytes takes a few blocks; one that is larger than an image may be is refused."""
    with open(tree / "etc/sparse", "wb") as file:
        file.truncate(2 << 30)
        file.seek(1 << 30)
        file.write(b"in the middle")
    own(images, tree)
    imported(images, str(tree), timeout=80)
    made = (images.store / "tree/rootfs/etc/sparse").stat()
    assert made.st_size == 2 << 30 and made.st_blocks * 512 < 1 << 20, made
    assert images.cli("image", "rm", "tree").code == 0
    os.truncate(tree / "etc/sparse", 40 << 30)
    refused(images, tree, "sparse", "larger than 32 GiB")


def refused(lab, tree, *words):
    out = lab.cli("image", "import", str(tree), "evil", timeout=80)
    assert out.code == 125 and out.stderr.startswith("weir: ") and len(out.stderr.splitlines()) == 1, out
    assert all(word in out.stderr for word in words), (words, out)
    assert store_is_empty(lab), os.listdir(lab.store)


def device(tree):
    os.mknod(tree / "etc/disk", 0o660 | 0o060000, os.makedev(7, 0))


def listening(tree):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "etc/s"))


# Version 2; owner rw, user 1 r, group r, mask r, others r.
ACCESS_LIST = struct.pack("<I" + "HHI" * 5, 2, 1, 6, 2**32 - 1, 2, 4, 1, 4, 4, 2**32 - 1, 16, 4, 2**32 - 1, 32, 4, 2**32 - 1)

HOSTILE = {
    "block device": (device, ["etc/disk", "device"]),
    "overlay whiteout": (lambda t: os.mknod(t / "etc/x", 0o020000, 0), ["etc/x", "device"]),
    "fifo": (lambda t: os.mkfifo(t / "etc/pipe"), ["etc/pipe", "named pipe"]),
    "socket": (listening, ["etc/s", "socket"]),
    "whiteout": (lambda t: (t / ".wh.etc").touch(), [".wh.etc", "whiteout"]),
    "attribute": (lambda t: os.setxattr(t / "etc/group", "user.overlay.opaque", b"y"), ["user.overlay.opaque"]),
    "access list": (lambda t: os.setxattr(t / "etc/group", "system.posix_acl_access", ACCESS_LIST), ["posix_acl"]),
    "time": (lambda t: os.utime(t / "etc/group", (-5, -5)), ["before 1970"]),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(images, tree, case):
    make, words = HOSTILE[case]
    before = {str(path) for path in tree.rglob("*")}
    make(tree)
    own(images, tree)
    refused(images, tree, *words)
    for path in tree.rglob("*"):
        if str(path) not in before:
            path.unlink()
    for name in os.listxattr(tree / "etc/group"):
        os.removexattr(tree / "etc/group", name)
    os.utime(tree / "etc/group")
    imported(images, str(tree), "good")


def test_what_a_sandbox_ignores_is_said(images, tree):
    (tree / "bin/su").write_text("#!/bin/sh\n")
    (tree / "bin/ping").write_text("#!/bin/sh\n")
    (tree / "dev").mkdir()
    os.mknod(tree / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
    own(images, tree)
    (tree / "bin/su").chmod(0o4755)
    subprocess.run(["setcap", "cap_net_raw+ep", str(tree / "bin/ping")], check=True)
    out = imported(images, str(tree))
    assert "1 set-id program " in out.stderr and "1 file capability" in out.stderr and "1 node below /dev" in out.stderr, out
    stored = images.store / "tree/rootfs"
    assert stored.joinpath("bin/su").stat().st_mode & 0o7777 == 0o755 and not stored.joinpath("dev/null").exists()
    assert "security.capability" not in os.listxattr(stored / "bin/ping")


def test_unreadable(images, tree):
    """What the caller may not read is not read, whatever the process has inside."""
    secret = tree / "etc/secret"
    secret.write_text("of root alone")
    secret.chmod(0o600)
    if images.uid == 0:
        imported(images, str(tree), "all")
        assert (images.store / "all/rootfs/etc/secret").read_text() == "of root alone"
        return
    refused(images, tree, "etc/secret")
    os.chown(secret, images.uid, images.gid)
    secret.chmod(0)
    imported(images, str(tree), "mine")


def test_owners_without_an_id(images, tree):
    """An owner whom the image could not have is refused where owners count, and said where they do not."""
    os.chown(tree / "etc/group", 200_000_000, 200_000_000)
    out = images.cli("image", "import", str(tree), "x")
    if out.code == 0:
        assert json.loads(images.cli("image", "ls", "-o", "json").stdout)[0]["owners"] == "one"
        assert "1 file" in out.stderr and "other users than you" in out.stderr, out
        return
    assert out.code == 125 and "etc/group" in out.stderr and "no id in your images" in out.stderr, out
    assert store_is_empty(images)
    own(images, tree)
    imported(images, str(tree), "x")


def test_mounts_below_are_met(images, tree):
    """What is mounted over a part of the folder is neither read nor taken for an empty folder."""
    (tree / "data").mkdir()
    own(images, tree)
    imported(images, str(tree), "before")
    assert images.cli("image", "rm", "before").code == 0
    images.world.host.sh(f"mount -t tmpfs none {tree}/data; echo x > {tree}/data/f")
    try:
        refused(images, tree, "data")
    finally:
        images.world.host.sh(f"umount {tree}/data")


def test_folders_that_are_none(images, tree):
    out = images.cli("image", "import", "/", "machine")
    assert out.code == 125 and "this machine itself" in out.stderr, out
    out = images.cli("image", "import", "/usr/share/doc", "doc")
    assert out.code == 125 and "no root file system" in out.stderr and "index.json" in out.stderr, out
    # A folder that holds the store would hold itself.
    holds = pathlib.Path("/var") if images.uid == 0 else images.folder / ".local"
    if images.uid != 0:
        (holds / "etc").mkdir(parents=True)
        own(images, holds)
    out = images.cli("image", "import", str(holds), "itself")
    assert out.code == 125 and "a part of itself" in out.stderr, out
    # Two things at once.
    for name in ("oci-layout", "index.json"):
        (tree / name).write_text("{}")
    out = images.cli("image", "import", str(tree), "both")
    assert out.code == 125 and "which one is meant" in out.stderr, out


@pytest.mark.elsewhere
def test_reader_is_confined(images, tree):
    """Who reads the folder sees that folder and the new one, and no network; it cannot write to the folder."""
    for i in range(20_000):
        (tree / f"etc/{i}").touch()
    own(images, tree)
    process = subprocess.Popen(images.command([images.weir, "image", "import", str(tree), "big"]), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        child = unpacker_of(process)
        os.kill(int(child), signal.SIGSTOP)
        proc = pathlib.Path(f"/proc/{child}")
        assert "CapEff:\t000000000000001b" in (proc / "status").read_text()
        assert os.readlink(proc / "ns/net") != os.readlink(f"/proc/{process.pid}/ns/net")
        assert len((proc / "mountinfo").read_text().splitlines()) == 1
        assert "etc" not in os.listdir(proc / "root") or os.listdir(proc / "root/etc") != os.listdir("/etc")
        # The folder, by the descriptor that is held of it: a mount of its own that nobody can write to.
        sources = [fd for fd in os.listdir(proc / "fd") if os.path.isdir(proc / "fd" / fd) and
                   os.stat(proc / "fd" / fd).st_ino == tree.stat().st_ino]
        assert sources, os.listdir(proc / "fd")
        for fd in sources:
            with pytest.raises(OSError, match="Read-only"):
                (proc / "fd" / fd / "etc" / "written").touch()
        os.kill(int(child), signal.SIGCONT)
    except BaseException:
        process.kill()
        raise
    finally:
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_folder_that_changes_leads_nowhere(images, tree):
    """Names that become links and back again while the folder is read: refused, or a link, never what it leads to."""
    outside = images.folder / "outside"
    outside.mkdir()
    (outside / "f").write_text("canary")
    (tree / "etc/d").mkdir()
    for i in range(300):
        (tree / f"etc/d/{i}").write_text("x" * 100)
    (tree / "etc/d/f").write_text("good")
    own(images, tree)
    own(images, outside)
    seen = set()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(seen) < 2:
        process = subprocess.Popen(images.command([images.weir, "image", "import", str(tree), "x"]), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        while process.poll() is None:
            os.rename(tree / "etc/d", tree / "etc/kept")
            os.symlink("../../outside", tree / "etc/d")
            os.unlink(tree / "etc/d")
            os.rename(tree / "etc/kept", tree / "etc/d")
        errors = process.communicate()[1]
        # The link in its place belongs to root, who has no id in an ordinary user's image.
        assert process.returncode == 0 or "changed while it was read" in errors or "'etc/d'" in errors, errors
        seen.add(process.returncode)
        stored = images.store / "x/rootfs"
        for path in stored.rglob("*"):
            assert path.is_symlink() or not path.is_file() or path.read_bytes() != b"canary", path
        images.cli("image", "rm", "x")
    assert 125 in seen, seen
