"""Archives and images, byte by byte: what tar programs make, and what only an attacker makes."""

import gzip
import hashlib
import io
import json
import os
import tarfile

END = bytes(1024)


def entry(name, content=b"", type="0", link="", mode=0o644, uid=0, gid=0, size=None, pax=None, checksum=True):
    """One entry with its header, whatever its fields say."""
    out = b""
    if pax:
        body = b"".join(record(key, value) for key, value in pax.items())
        out += entry("pax", body, type="x")
    length = len(content) if size is None else size
    block = bytearray(512)
    for offset, value in ((0, name.encode()[:100]), (100, b"%07o" % mode), (108, b"%07o" % uid), (116, b"%07o" % gid),
                          (124, length if isinstance(length, bytes) else b"%011o" % length), (136, b"%011o" % 1),
                          (148, b" " * 8), (156, type.encode()), (157, link.encode()[:100]), (257, b"ustar\x0000")):
        block[offset:offset + len(value)] = value
    block[148:156] = b"%06o\0 " % (sum(block) + (0 if checksum else 1))
    return out + bytes(block) + content + bytes(-len(content) % 512)


def record(key, value):
    value = value if isinstance(value, bytes) else value.encode()
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def folder(name, **fields):
    return entry(name, type="5", mode=fields.pop("mode", 0o755), **fields)


def busybox_root(busybox="/bin/busybox"):
    """An Alpine-like tree as an archive: one static program and links to it."""
    with open(busybox, "rb") as file:
        program = file.read()
    out = b"".join(folder(name) for name in ("./", "bin/", "etc/", "tmp/", "home/", "lib/", "usr/", "usr/bin/"))
    out += entry("bin/busybox", program, mode=0o755)
    for applet in ("sh", "ls", "cat", "id", "touch", "rm", "stat", "echo", "mkdir", "pwd", "env", "test", "mv", "wc"):
        out += entry(f"bin/{applet}", type="2", link="busybox", mode=0o777)
    out += entry("etc/alpine-release", b"3.18.4\n")
    out += entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnode:x:999:999::/:/bin/sh\n")
    out += entry("etc/group", b"root:x:0:\nnode:x:999:\n")
    out += entry("usr/bin/hard", type="1", link="bin/busybox")
    return out


class Blobs:
    """An OCI layout that is being made in a folder."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path / "blobs" / "sha256")
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "size": len(data), "digest": "sha256:" + digest}


def oci(path, layers, config=None, architecture="amd64", compress=gzip.compress):
    """Writes an OCI layout. `layers`: archives without their end, lowest first. -> Blobs"""
    blobs = Blobs(path)
    layers = [layer + END for layer in layers]
    document = {"architecture": architecture, "os": "linux", "config": config or {},
                "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]}}
    manifest = {"schemaVersion": 2,
                "config": blobs.add(json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json"),
                "layers": [blobs.add(compress(x), "application/vnd.oci.image.layer.v1.tar+gzip") for x in layers]}
    index = {"schemaVersion": 2,
             "manifests": [blobs.add(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")]}
    (path / "index.json").write_text(json.dumps(index))
    return blobs


def archive_of(path, target):
    """The layout as one uncompressed archive."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as out:
        for name in ("oci-layout", "index.json", "blobs"):
            out.add(path / name, name)


def docker_archive(target, layers, config=None):
    """What `docker save` wrote before it wrote OCI layouts."""
    layers = [layer + END for layer in layers]
    document = json.dumps({"architecture": "amd64", "os": "linux", "config": config or {},
                           "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]}})
    name = hashlib.sha256(document.encode()).hexdigest() + ".json"
    files = {name: document.encode()}
    files |= {f"{i}/layer.tar": layer for i, layer in enumerate(layers)}
    files["manifest.json"] = json.dumps([{"Config": name, "RepoTags": ["a:b"],
                                          "Layers": [f"{i}/layer.tar" for i in range(len(layers))]}]).encode()
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as out:
        for key, data in files.items():
            info = tarfile.TarInfo(key)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
