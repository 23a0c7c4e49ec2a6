"""Images: what is unpacked and run.

The store of a user is below HOME, which the lab makes anew for each test; root's is hidden behind a folder of the test.
"""

import gzip
import json
import lzma
import os
import shutil
import socket
import subprocess

import pytest

import archives
from archives import END, entry, folder
from images import imported, put, store_is_empty


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


def test_debian(images, debian_archive):
    """A real tree by mmdebstrap, as an archive: perl and dpkg run in it."""
    path = str(images.folder / "debian.tar")
    shutil.copy(debian_archive, path)
    os.chmod(path, 0o644)
    out = imported(images, path)
    assert "set-id" in out.stderr, out
    script = "dpkg -l dash | tail -1; perl -e 'print 6*7, \"\\n\"'; su -c id < /dev/null; echo changed > /etc/issue && cat /etc/issue"
    out = images.run("sh", "-c", script, extra=["--image", "debian", "--user", "root"])
    assert "ii  dash" in out.stdout and "\n42\n" in out.stdout and out.stdout.endswith("changed\n"), out
    before = images.run("cat", "/etc/issue", extra=["--image", "debian"])
    assert "Debian" in before.stdout, before
