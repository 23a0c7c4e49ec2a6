"""The store of images: names, locks, leftovers, whose it is."""

import fcntl
import os
import signal

from archives import END
from images import imported, put, store_is_empty


def test_used_images_stay(images, root_archive):
    imported(images, put(images, "a.tar", root_archive + END), "a")
    running = images.start("sh", "-c", "echo up; cat; ls /etc/alpine-release", extra=["--image", "a"])
    assert running.line() == "up"
    out = images.cli("image", "rm", "a")
    assert out.code == 125 and "used by a running sandbox" in out.stderr, out
    done = running.finish()
    assert done.code == 0 and "alpine-release" in done.stdout, done
    assert images.cli("image", "rm", "a").code == 0


def test_leftovers_are_swept(images, root_archive):
    """A run that was killed leaves its files; the next command that changes the store removes them."""
    path = put(images, "a.tar", root_archive + END)
    running = images.start("sh", "-c", "echo up; cat", extra=["--image", path])
    assert running.line() == "up"
    os.kill(running.pid, signal.SIGKILL)
    running.process.wait()
    assert [name for name in os.listdir(images.store) if name.startswith(".run-")]
    imported(images, path, "a")
    assert sorted(os.listdir(images.store)) == [".lock", "a"]


def test_a_leftover_that_stays_stops_nothing(images, root_archive):
    """Somebody else works in one of them: it is left alone and said; everything else goes on."""
    path = put(images, "a.tar", root_archive + END)
    imported(images, path, "a")
    root = images.store / ".new-0123456789abcdef" / "rootfs"
    root.mkdir(parents=True)
    (root / "f").write_text("x")
    for made in (root.parent, root, root / "f"):
        os.chown(made, images.uid or 0x0fff0000, images.gid or 0x0fff0000)
    writer = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(writer, fcntl.LOCK_EX)
    for words in (["import", path, "b"], ["ls"], ["rm", "b"]):
        out = images.cli("image", *words)
        assert out.code == 0 and out.stderr.count("a leftover stays") == 1 and root.parent.name in out.stderr, (words, out)
    assert (root / "f").exists()
    os.close(writer)
    out = images.cli("image", "ls")
    assert out.code == 0 and "leftover" not in out.stderr and not root.exists(), out


def test_ids_that_are_gone(images, root_archive):
    """An image of ids that the caller has no more is not half removed: it stays, and what removes it is said."""
    imported(images, put(images, "a.tar", root_archive + END), "a")
    imported(images, str(images.folder / "a.tar"), "b")
    description = images.store / "a" / "description"
    fields = description.read_bytes().split(b"\0")
    fields[fields.index(b"ids") + 1] = b"subids:7000000:7000000"
    description.write_bytes(b"\0".join(fields))
    out = images.cli("image", "rm", "a")
    assert out.code == 125 and "sudo rm -r" in out.stderr and (images.store / "a" / "rootfs").exists(), out
    assert images.cli("image", "rm", "b").code == 0
    assert sorted(os.listdir(images.store)) == [".lock", "a"]


def test_names(images, root_archive):
    path = put(images, "a.tar", root_archive + END)
    for name in ("../x", "a/b", ".hidden", "", "x" * 64, "-n"):
        assert images.cli("image", "import", path, "--", name).code == 125, name
    assert store_is_empty(images)
    imported(images, path, "debian:12")
    out = images.cli("image", "import", path, "debian:12")
    assert out.code == 125 and "already" in out.stderr and "image rm" in out.stderr, out
    out = images.cli("run", "--image", "nonesuch", "--", "true")
    assert out.code == 125 and "nonesuch" in out.stderr, out


def test_store_open_to_others(images, root_archive):
    path = put(images, "a.tar", root_archive + END)
    imported(images, path, "a")
    os.chmod(images.store, 0o755)
    out = images.cli("run", "--image", "a", "--", "true")
    assert out.code == 125 and "chmod 700" in out.stderr, out
    os.chmod(images.store, 0o700)
    assert images.run("true", extra=["--image", "a"]).code in (0, 127)
