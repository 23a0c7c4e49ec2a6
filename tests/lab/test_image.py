"""Images: what is unpacked and run, and which archives are refused with nothing left behind.

The store of a user is below HOME, which the lab makes anew for each test; root's is hidden behind a folder of the test.
"""

import fcntl
import gzip
import json
import lzma
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

import archives
from archives import END, entry, folder

LIMIT_ENTRIES = 500_000


@pytest.fixture
def images(lab):
    """The lab with a store of its own."""
    if lab.uid == 0:
        hidden = lab.folder / "var-lib"
        hidden.mkdir()
        lab.world.host.sh(f"mount --bind {hidden} /var/lib")
        lab.store = hidden / "weir" / "images"
    else:
        lab.store = lab.folder / ".local" / "share" / "weir" / "images"
    yield lab
    if lab.uid == 0:
        lab.world.host.sh("umount /var/lib")


@pytest.fixture(scope="session")
def root_archive():
    if not os.path.exists("/bin/busybox"):
        pytest.skip("busybox-static is not installed")
    return archives.busybox_root()


def put(lab, name, data):
    path = lab.folder / name
    path.write_bytes(data)
    path.chmod(0o644)
    return str(path)


def store_is_empty(lab):
    return not lab.store.exists() or sorted(os.listdir(lab.store)) in ([], [".lock"])


def imported(lab, *words):
    out = lab.cli("image", "import", *words, timeout=120)
    assert out.code == 0, out
    return out


def refused(lab, data, *words, name="evil.tar"):
    """The archive is refused with these words, and nothing of it is left."""
    outside = lab.folder / "canary"
    outside.write_text("untouched")
    out = lab.cli("image", "import", put(lab, name, data), "evil", timeout=120)
    assert out.code == 125 and out.stderr.startswith("weir: ") and len(out.stderr.splitlines()) == 1, out
    assert all(word in out.stderr for word in words), out
    assert store_is_empty(lab), os.listdir(lab.store)
    assert outside.read_text() == "untouched"
    return out


# ---- what works ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("ending, packed", [("tar", bytes), ("tar.gz", gzip.compress), ("tar.xz", lzma.compress),
                                            ("tar.zst", "zstd"), ("tar.gz", lambda x: gzip.compress(x[:999]) + gzip.compress(x[999:]))])
def test_import_run_list_remove(images, root_archive, ending, packed):
    data = root_archive + END
    data = subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE).stdout if packed == "zstd" else packed(data)
    imported(images, put(images, f"alpine.{ending}", data))
    out = images.run("sh", "-c", "cat /etc/alpine-release; id -u; touch /tmp/x && echo wrote; stat -c %h /usr/bin/hard",
                     extra=["--image", "alpine"])
    assert out.stdout == "3.18.4\n1000\nwrote\n2\n", out
    listed = json.loads(images.cli("image", "ls", "-o", "json").stdout)
    assert [image["name"] for image in listed] == ["alpine"] and listed[0]["digest"].startswith("sha256:"), listed
    assert images.cli("image", "rm", "alpine").code == 0 and store_is_empty(images)
    assert images.cli("image", "rm", "alpine").code == 125


def test_once(images, root_archive):
    """An archive named directly: unpacked for this run, gone after it."""
    path = put(images, "a.tar", root_archive + END)
    out = images.run("cat", "/etc/alpine-release", extra=["--image", path])
    assert out.code == 0 and out.stdout == "3.18.4\n", out
    assert store_is_empty(images), os.listdir(images.store)


def test_folder(images, root_archive):
    """A folder is a lower layer: the sandbox writes, the folder does not change."""
    tree = images.folder / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xpf", put(images, "a.tar", root_archive + END), "-C", str(tree)], check=True)
    subprocess.run(["chown", "-R", f"{images.uid}:{images.gid}", str(tree)], check=True)
    before = sorted(os.listdir(tree)), sorted(os.listdir(tree / "etc")), (tree / "etc/passwd").read_bytes()
    out = images.run("sh", "-c", "echo changed > /etc/alpine-release; rm /etc/passwd; mkdir /new; ls / ; cat /etc/alpine-release",
                     extra=["--image", str(tree), "--user", "root"])
    assert out.code == 0 and "new\n" in out.stdout and out.stdout.endswith("changed\n"), out
    assert (sorted(os.listdir(tree)), sorted(os.listdir(tree / "etc")), (tree / "etc/passwd").read_bytes()) == before
    host = images.cli("run", "--image", "/", "--", "true")
    assert host.code == 125 and "this machine itself" in host.stderr, host
    assert "root file system" in images.cli("run", "--image", "/usr/share/doc", "--", "true").stderr


def test_sockets_in_a_folder(images, root_archive):
    """A socket below a root folder stops nothing and leads nowhere."""
    tree = images.folder / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xpf", put(images, "a.tar", root_archive + END), "-C", str(tree)], check=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "etc/socket"))
        server.listen()
        server.setblocking(False)
        subprocess.run(["chown", "-R", f"{images.uid}:{images.gid}", str(tree)], check=True)
        (tree / "etc/socket").chmod(0o777)
        out = images.run("sh", "-c", "test -S /etc/socket && echo there; nc local:/etc/socket < /dev/null || echo no way",
                         extra=["--image", str(tree)])
        assert out.code == 0 and out.stdout == "there\nno way\n", out
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("limit", [["--disk", "64m"], ["--memory", "512m"], []])
def test_overlay_of_a_share_in_an_image(images, root_archive, limit):
    imported(images, put(images, "a.tar", root_archive + END), "a")
    share = images.folder / "share"
    share.mkdir()
    (share / "f").write_text("old")
    subprocess.run(["chown", "-R", f"{images.uid}:{images.gid}", str(share)], check=True)
    out = images.run("sh", "-c", "cat /y/f; echo new > /y/f && cat /y/f; ls /.weir-layers 2> /dev/null",
                     extra=["--image", "a", "-v", f"{share}:/y:overlay", *limit])
    assert out.code in (0, 1) and out.stdout == "oldnew\n", out
    assert (share / "f").read_text() == "old"


def test_links_for_folders(images, root_archive):
    # Distributions whose /tmp and /home lead elsewhere.
    links = entry("tmp", type="2", link="sysroot/tmp") + entry("home", type="2", link="var/home")
    tree = root_archive.replace(folder("tmp/"), b"").replace(folder("home/"), b"")
    imported(images, put(images, "a.tar", tree + links + END), "a")
    out = images.run("sh", "-c", "cd; pwd; touch /tmp/x here && test ! -L /tmp && echo wrote", extra=["--image", "a"])
    assert out.stdout.endswith("\nwrote\n") and out.stdout.startswith("/home/"), out


def test_nothing_of_the_host_shows(images, root_archive):
    imported(images, put(images, "a.tar", root_archive + END), "a")
    out = images.run("sh", "-c", "ls /; ls /..; ls /../..; cat /proc/self/mountinfo", extra=["--image", "a"])
    tops = {"bin", "dev", "etc", "home", "lib", "proc", "run", "tmp", "usr", "var"}
    lines = out.stdout.splitlines()
    mounts = [line for line in lines if " - " in line]
    assert set(lines) - set(mounts) == tops, out
    roots = [line for line in mounts if line.split()[4] == "/"]
    assert len(roots) == 1 and "nosuid,nodev" in roots[0] and " overlay " in roots[0], out
    assert not [line for line in mounts if " ext4 " in line or "/sys" == line.split()[4]], out


def test_names_and_network(images, root_archive):
    """weir's users, names and resolver are on top of the image's."""
    evil = (entry("etc/resolv.conf", type="2", link="/etc/passwd") + entry("etc/hosts", b"10.0.0.1 allowed.test\n") +
            entry("etc/hostname", type="2", link="../../../../etc/shadow"))
    imported(images, put(images, "a.tar", root_archive + evil + END), "a")
    out = images.run("sh", "-c", "cat /etc/passwd /etc/hosts /etc/hostname /etc/resolv.conf", extra=["--image", "a"],
                     allow=["allowed.test"])
    assert "node:x:999:" in out.stdout and "sandbox:x:1000:1000:" in out.stdout and "127.0.0.1 localhost" in out.stdout, out
    assert "nameserver " in out.stdout and "10.0.0.1" not in out.stdout, out


def test_owners(images, root_archive):
    """With a range of ids every file has its owner; with one id all files are the sandbox's, and weir says so."""
    data = root_archive + entry("etc/of-999", b"x", uid=999, gid=999) + END
    out = imported(images, put(images, "a.tar", data), "a")
    everybody = json.loads(images.cli("image", "ls", "-o", "json").stdout)[0]["owners"] == "all"
    ids = images.run("sh", "-c", "stat -c %u:%g /etc/of-999 /bin/sh /bin/busybox", extra=["--image", "a"]).stdout
    assert ids == ("999:999\n0:0\n0:0\n" if everybody else "1000:1000\n" * 3)
    assert everybody or "belong to the sandbox's user" in out.stderr, out
    if images.uid == 0:
        stored = os.stat(images.store / "a" / "rootfs" / "etc" / "of-999")
        assert stored.st_uid >= 0x0fff0000, "a stored file belongs to somebody on the host"
    if everybody:
        root = images.run("sh", "-c", "touch /bin/new && stat -c %u /bin/new", extra=["--image", "a", "--user", "root"])
        assert root.stdout == "0\n", root


def test_set_id_and_capabilities(images, root_archive):
    data = (root_archive + entry("bin/su", b"#!/bin/sh\n", mode=0o4755) + entry("bin/wall", b"#!/bin/sh\n", mode=0o2755) +
            entry("bin/ping", b"#!/bin/sh\n", mode=0o755, pax={"SCHILY.xattr.security.capability": b"\1\0\0\2\0\x20" + bytes(14)}) +
            entry("dev/null", type="3", mode=0o666) + folder("var/mail", mode=0o2775) + END)
    out = imported(images, put(images, "a.tar", data), "a")
    assert "2 set-id programs" in out.stderr and "1 file capability" in out.stderr and "1 node below /dev" in out.stderr, out
    out = images.run("sh", "-c", "stat -c %a /bin/su /bin/wall /var/mail; test -c /dev/null && echo dev", extra=["--image", "a"])
    assert out.stdout == "755\n755\n2775\ndev\n", out


def layers(root_archive):
    second = (entry("etc/.wh.alpine-release") + folder("opt/") + folder("opt/x/") + entry("opt/x/new", b"new") +
              entry("usr/bin/tool", b"two", mode=0o755))
    lower = folder("opt/") + folder("opt/x/") + entry("opt/x/old", b"old") + entry("opt/keep", b"keep")
    third = (entry("opt/x/third", b"3") + entry("opt/x/.wh..wh..opq") + entry("usr/bin/.wh.tool") +
             entry("opt/keep", type="2", link="x/third"))
    return [root_archive + lower, second, third]


CHECK_LAYERS = "ls /opt/x; cat /opt/keep; test -e /etc/alpine-release || echo gone; test -e /usr/bin/tool || echo gone"


@pytest.mark.parametrize("form", ["layout", "archive", "docker", "skopeo", "umoci"])
def test_layers(images, root_archive, form, tmp_path):
    """Whiteouts, opaque folders (whose order in the archive does not matter), replaced entries."""
    stack = layers(root_archive)
    path = images.folder / "image"
    if form == "docker":
        archives.docker_archive(path, stack)
    else:
        archives.oci(tmp_path / "layout", stack)
    if form == "layout":
        shutil.copytree(tmp_path / "layout", path)
    elif form == "archive":
        archives.archive_of(tmp_path / "layout", path)
    elif form == "skopeo":
        if not shutil.which("skopeo"):
            pytest.skip("skopeo is not installed")
        subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", f"oci:{tmp_path}/layout", f"oci-archive:{path}:tag"], check=True)
    elif form == "umoci":
        if not shutil.which("umoci"):
            pytest.skip("umoci is not installed")
        subprocess.run(["umoci", "init", "--layout", str(path)], check=True)
        subprocess.run(["umoci", "new", "--image", f"{path}:t"], check=True)
        for number, layer in enumerate(stack):
            (tmp_path / f"{number}.tar").write_bytes(layer + END)
            subprocess.run(["umoci", "raw", "add-layer", "--image", f"{path}:t", str(tmp_path / f"{number}.tar")], check=True)
    subprocess.run(["chmod", "-R", "a+rX", str(path)], check=True)
    imported(images, str(path), "i")
    out = images.run("sh", "-c", CHECK_LAYERS, extra=["--image", "i"])
    # Opaque: only what the third layer itself puts there.
    assert out.stdout == "third\n3gone\ngone\n", out


def test_config_of_an_image(images, root_archive):
    config = {"Env": ["PATH=/bin", "COLOUR=green", "WEIR=no"], "WorkingDir": "/work/here", "Entrypoint": ["echo"],
              "Cmd": ["from", "the image"], "User": "node"}
    path = images.folder / "image"
    archives.oci(path, [root_archive], config)
    subprocess.run(["chmod", "-R", "a+rX", str(path)], check=True)
    imported(images, str(path), "i")
    out = images.run("sh", "-c", "pwd; echo $PATH $COLOUR $WEIR $SIZE", extra=["--image", "i", "-e", "SIZE=1"])
    assert out.stdout == "/work/here\n/bin:/run/weir/bin green 1 1\n", out
    assert "entry point echo" in out.stderr and "user node" in out.stderr, out
    out = images.cli("run", "--image", "i", "--events", "none")
    assert out.stdout == "from the image\n", out
    out = images.run("nonesuch", extra=["--image", "i"])
    assert out.code == 127 and "nonesuch in image 'i'" in out.stderr, out


def test_debian(images, request, tmp_path_factory):
    """A real tree by mmdebstrap, as an archive: perl and dpkg run in it."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    archive = _debian(request, tmp_path_factory)
    path = str(images.folder / "debian.tar")
    shutil.copy(archive, path)
    os.chmod(path, 0o644)
    out = imported(images, path)
    assert "set-id" in out.stderr, out
    script = "dpkg -l dash | tail -1; perl -e 'print 6*7, \"\\n\"'; su -c id < /dev/null; echo changed > /etc/issue && cat /etc/issue"
    out = images.run("sh", "-c", script, extra=["--image", "debian", "--user", "root"])
    assert "ii  dash" in out.stdout and "\n42\n" in out.stdout and out.stdout.endswith("changed\n"), out
    before = images.run("cat", "/etc/issue", extra=["--image", "debian"])
    assert "Debian" in before.stdout, before


def _debian(request, tmp_path_factory):
    """Made once for the session and for both users; the mirror that apt on this machine is configured with."""
    path = pathlib.Path("/tmp/weir-lab-debian.tar")
    if not path.exists() or time.time() - path.stat().st_mtime > 86400:
        made = tmp_path_factory.mktemp("debian") / "debian.tar"
        done = subprocess.run(["mmdebstrap", "--variant=essential", "--quiet", "bookworm", str(made)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=110)
        if done.returncode != 0:
            pytest.skip("mmdebstrap could not make a tree (no package mirror?): " + done.stdout.strip().splitlines()[-1])
        shutil.move(made, path)
    return path


# ---- the store -------------------------------------------------------------------------------------------------------

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


# ---- hostile archives ------------------------------------------------------------------------------------------------

HOSTILE = {
    "absolute name": ([entry("/etc/evil", b"x")], ["/etc/evil", "absolute"], [entry("etc/good", b"x")]),
    "climbing name": ([entry("../../evil", b"x")], ["..", "out of the tree"], [entry("...evil", b"x")]),
    "climbing inside": ([entry("a/../../evil", b"x")], [".."], [entry("a/evil", b"x")]),
    "through a link": ([entry("d", type="2", link="/tmp"), entry("d/evil", b"x")], ["d/evil", "link"],
                       [entry("d", type="2", link="/tmp"), entry("e/good", b"x")]),
    "through a relative link": ([entry("d", type="2", link=".."), entry("d/evil", b"x")], ["link"], [entry("d", type="2", link="..")]),
    "folder over a link": ([entry("d", type="2", link="/tmp"), folder("d/")], ["twice"], [folder("d/"), folder("d/")]),
    "hard link out": ([entry("h", type="1", link="../../../etc/passwd")], ["hard link"], [entry("f", b""), entry("h", type="1", link="f")]),
    "hard link absolute": ([entry("h", type="1", link="/etc/passwd")], ["hard link"], []),
    "hard link through a link": ([entry("d", type="2", link="/etc"), entry("h", type="1", link="d/passwd")], ["hard link"], []),
    "hard link to a link": ([entry("l", type="2", link="/etc/passwd"), entry("h", type="1", link="l")], ["hard link"], []),
    "hard link to nothing": ([entry("h", type="1", link="later"), entry("later", b"")], ["hard link"], []),
    "device": ([entry("disk", type="4")], ["disk", "device"], [entry("dev/disk", type="4")]),
    "overlay whiteout": ([entry("x", type="3")], ["device"], []),
    "fifo": ([entry("pipe", type="6")], ["pipe"], []),
    "duplicate": ([entry("f", b"a"), entry("f", b"b")], ["twice"], [entry("f", b"a"), entry("g", b"b")]),
    "file over a folder": ([folder("f/"), entry("f", b"b")], ["twice"], []),
    "whiteout": ([entry(".wh.etc")], ["whiteout"], [entry(".what", b"")]),
    "sparse": ([entry("f", pax={"GNU.sparse.major": "1", "GNU.sparse.realsize": "1099511627776"})], ["sparse"], []),
    "huge size": ([entry("f", size=b"77777777777")], ["f"], []),
    "larger than all": ([entry("f", pax={"size": str(10 ** 15)})], ["larger than 32 GiB"], []),
    "negative size": ([entry("f", size=b"\xff" * 12)], ["negative"], []),
    "checksum": ([entry("f", checksum=False)], ["checksum"], []),
    "second archive": ([END, entry("f")], ["after the end"], []),
    "selinux": ([entry("f", pax={"SCHILY.xattr.security.selinux": "x"})], ["security.selinux"], []),
    "trusted": ([entry("f", pax={"SCHILY.xattr.trusted.overlay.redirect": "/"})], ["trusted.overlay"], []),
    "overlay": ([folder("f/", pax={"SCHILY.xattr.user.overlay.opaque": "y"})], ["user.overlay"], []),
    "owner": ([entry("f", uid=70000)], ["65535"], [entry("f", uid=65535)]),
    "NUL": ([entry("f", pax={"path": "a\0b"})], ["NUL"], []),
    "empty": ([entry("")], ["empty name"], []),
    "long": ([entry("f", pax={"path": "a" * 5000})], ["4,095"], [entry("f", pax={"path": "/".join(["a" * 200] * 15)})]),
    "deep": ([entry("f", pax={"path": "/".join(["d"] * 300)})], ["256 folders"], [entry("f", pax={"path": "/".join(["d"] * 200)})]),
    "terminal": ([entry("\x1b[2Jx", b"a"), entry("\x1b[2Jx", b"a")], ["\\x1b"], []),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(images, case):
    evil, words, good = HOSTILE[case]
    first = folder("./") + entry("before", b"x")
    refused(images, first + b"".join(evil) + END, *words)
    imported(images, put(images, "good.tar", first + b"".join(good) + END), "good")
    assert (images.store / "good" / "rootfs" / "before").read_text() == "x"


def test_truncated_everywhere(images, root_archive):
    small = folder("./") + entry("f", b"x" * 1000) + END
    for size in (0, 100, 511, 512, 1024, 1300, len(small) - 1024, len(small) - 512, len(small) - 1):
        refused(images, small[:size])
    packed = gzip.compress(small)
    for size in (3, 20, len(packed) - 9, len(packed) - 1):
        refused(images, packed[:size], name="evil.tar.gz")
    refused(images, packed + b"garbage", name="evil.tar.gz")
    imported(images, put(images, "good.tar.gz", packed), "good")


@pytest.mark.slow
def test_too_many_entries(images):
    """Refused at the documented number, in bounded time, with nothing left. Only 20,000 of them are files that must be
    made and removed again: more say nothing new; the rest name one folder again and again, which counts as well."""
    files = b"".join(entry(f"d{i % 100}/{i}") for i in range(20_000))
    # Packed members one after the other are one stream: the archive costs nothing to make.
    again = gzip.compress(folder("again/") * 10_000)
    few, many = [gzip.compress(files) + again * count + gzip.compress(END) for count in (1, 100)]
    began = time.monotonic()
    refused(images, many, f"limit {LIMIT_ENTRIES}", name="evil.tar.gz")
    assert time.monotonic() - began < 60
    imported(images, put(images, "good.tar.gz", few), "good")


def bomb(pack):
    """2 GiB of zeros in one file: one packed block, again and again."""
    block = pack(bytes(16 << 20))
    return pack(folder("./") + entry("zeros", size=b"%011o" % ((8 << 30) - 1))) + block * 128


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize("ending, pack", [("gz", gzip.compress), ("zst", zstd)])
def test_bombs(images, ending, pack):
    data = bomb(pack)
    assert len(data) < 20 << 20
    began = time.monotonic()
    refused(images, data, "bomb", name=f"evil.tar.{ending}")
    assert time.monotonic() - began < 60


def broken_layout(path, stack, how):
    blobs = archives.oci(path, stack)
    index = json.loads((path / "index.json").read_text())
    manifest_path = path / "blobs/sha256" / index["manifests"][0]["digest"][7:]
    manifest = json.loads(manifest_path.read_text())
    layer = path / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
    if how == "layer changed":
        layer.write_bytes(gzip.compress(folder("./") + entry("evil", b"x") + END))
    elif how == "manifest changed":
        manifest_path.write_text(manifest_path.read_text() + " ")
    elif how == "layer missing":
        layer.unlink()
    elif how == "layer is a link":
        layer.rename(path / "elsewhere")
        layer.symlink_to(path / "elsewhere")
    elif how == "digest climbs":
        index["manifests"][0]["digest"] = "sha256:../../../../etc/passwd"
    elif how == "two images":
        index["manifests"] *= 2
    elif how == "no image":
        index["manifests"] = []
    elif how == "another machine":
        index["manifests"][0]["platform"] = {"architecture": "s390x", "os": "linux"}
    elif how == "content is another":
        # The blob is what its digest says, but not what the configuration promises.
        data = gzip.compress(folder("./") + entry("evil", b"x") + END)
        manifest["layers"][0] = blobs.add(data, "application/vnd.oci.image.layer.v1.tar+gzip")
        index["manifests"][0] = blobs.add(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    (path / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("how, word", [("layer changed", "digest"), ("manifest changed", "digest"), ("layer missing", "layer 1"),
                                       ("layer is a link", "layer 1"), ("digest climbs", "digest"), ("two images", "2 images"),
                                       ("no image", "0 images"), ("another machine", "s390x"), ("content is another", "digest")])
def test_broken_layouts(images, how, word):
    stack = [folder("./") + entry("f", b"x")]
    path = images.folder / "layout"
    broken_layout(path, stack, how)
    subprocess.run(["chmod", "-R", "a+rX", str(path)], check=True)
    out = images.cli("image", "import", str(path), "evil")
    assert out.code == 125 and word in out.stderr, out
    assert store_is_empty(images)
    archives.oci(images.folder / "good", stack)
    imported(images, str(images.folder / "good"), "good")


def test_architecture_in_the_configuration(images):
    archives.oci(images.folder / "image", [folder("./")], architecture="riscv64")
    out = images.cli("image", "import", str(images.folder / "image"), "evil")
    assert out.code == 125 and "riscv64" in out.stderr and store_is_empty(images), out


def test_hostile_layers(images, root_archive):
    """What a layer must not do although a lower one prepared it."""
    lower = folder("./") + entry("d", type="2", link="/tmp") + folder("real/") + entry("real/f", b"x")
    for number, (upper, word) in enumerate([(entry("d/evil", b"x"), "link"), (entry("d/.wh.x"), "leads through a link"),
                                            (entry("real/.wh..wh..opq") * 2, "twice"),
                                            (entry(".wh..."), "whiteout"), (entry(".wh..") , "whiteout"),
                                            (entry(".wh.real", b"content"), "whiteout"),
                                            (entry("real/g", b"y") + entry("real/.wh.g"), "its own layer")]):
        path = images.folder / f"image{number}"
        archives.oci(path, [lower, upper])
        out = images.cli("image", "import", str(path), f"i{number}")
        assert out.code == 125 and word in out.stderr and store_is_empty(images), (number, out)
    archives.oci(images.folder / "good", [lower, entry(".wh.d") + entry("real/g", b"y")])
    imported(images, str(images.folder / "good"), "good")
    assert sorted(os.listdir(images.store / "good" / "rootfs")) == ["real"]


@pytest.mark.elsewhere
def test_unpacker_is_confined(images, root_archive):
    """What the process that reads the archive is, while it reads: no network, no host's files, no capability over the host."""
    path = images.folder / "slow.tar"
    os.mkfifo(path)
    out = images.cli("image", "import", str(path), "x")
    assert out.code == 125 and "neither a file nor a folder" in out.stderr, out
    big = put(images, "big.tar", folder("./") + b"".join(entry(f"f{i}", b"x" * 4096) for i in range(40_000)) + END)
    process = subprocess.Popen(images.command([images.weir, "image", "import", big, "big"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        child = _unpacker_of(process)
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        assert "CapEff:\t000000000000001b" in status and "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status, status
        assert re.search(r"Max cpu time +3600 +3600 ", pathlib.Path(f"/proc/{child}/limits").read_text())
        for kind in ("net", "mnt", "pid", "ipc", "uts", "user", "cgroup"):
            assert os.readlink(f"/proc/{child}/ns/{kind}") != os.readlink(f"/proc/{process.pid}/ns/{kind}"), kind
        assert not [x for x in os.listdir(f"/proc/{child}/root") if x in ("etc", "usr", "proc")]
        mounts = pathlib.Path(f"/proc/{child}/mountinfo").read_text().splitlines()
        assert len(mounts) == 1 and "nosuid,nodev,noexec" in mounts[0], mounts
    finally:
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_unpacker_ends_with_weir(images):
    """Whatever ends weir ends the process that reads the archive; nothing goes on writing to the disk."""
    big = images.folder / "big.tar"
    with open(big, "wb") as out:
        out.write(folder("./") + entry("zeros", size=b"%011o" % (4 << 30)))
        out.truncate(8 << 30)
    big.chmod(0o644)
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(images.command([images.weir, "image", "import", str(big), "big"]),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        child = os.pidfd_open(int(_unpacker_of(process)))
        with select.epoll() as ended:
            ended.register(child, select.EPOLLIN)
            assert not ended.poll(0), "it ended by itself"
            process.send_signal(number)
            process.wait()
            gone = ended.poll(10)
        if not gone:
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
        assert gone, f"the unpacker outlives weir after {number.name}"
    imported(images, put(images, "small.tar", folder("./") + entry("f", b"x") + END), "small")
    assert sorted(os.listdir(images.store)) == [".lock", "small"]


def _unpacker_of(process):
    """The confined child, as soon as it is confined."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            try:
                if "Seccomp:\t2" in pathlib.Path(f"/proc/{pid}/status").read_text():
                    return pid
            except OSError:
                pass
    raise AssertionError("no confined process was seen")
