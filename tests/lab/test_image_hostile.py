"""Archives and layouts that are refused, with nothing left behind, and the process that reads them."""

import gzip
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import time

import pytest

import archives
from archives import END, entry, folder
from images import imported, put, store_is_empty, unpacker_of

LIMIT_ENTRIES = 500_000


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
        child = unpacker_of(process)
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        assert "CapEff:\t000000000000001b" in status and "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status, status
        assert re.search(r"Max cpu time +3600 +3600 ", pathlib.Path(f"/proc/{child}/limits").read_text())
        for kind in ("net", "mnt", "pid", "ipc", "uts", "user", "cgroup"):
            assert os.readlink(f"/proc/{child}/ns/{kind}") != os.readlink(f"/proc/{process.pid}/ns/{kind}"), kind
        assert not [x for x in os.listdir(f"/proc/{child}/root") if x in ("etc", "usr", "proc")]
        mounts = pathlib.Path(f"/proc/{child}/mountinfo").read_text().splitlines()
        assert len(mounts) == 1 and "nosuid,nodev,noexec" in mounts[0], mounts
        # The archive is held by a mount of its own that nobody, not even root outside, can change it through.
        os.kill(int(child), signal.SIGSTOP)
        held = [f"/proc/{child}/fd/{fd}" for fd in os.listdir(f"/proc/{child}/fd")]
        held = [fd for fd in held if os.stat(fd).st_ino == os.stat(big).st_ino]
        assert len(held) == 1, held
        with pytest.raises(OSError, match="Read-only"):
            os.chmod(held[0], 0o600)
        os.chmod(big, 0o644)
        os.kill(int(child), signal.SIGCONT)
    except BaseException:
        process.kill()
        raise
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
        child = os.pidfd_open(int(unpacker_of(process)))
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
