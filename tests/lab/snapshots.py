"""Snapshots in the lab: archives of them made by hand, as weir/image/snapshot/archive.h says."""

import hashlib
import io
import json
import tarfile


def escaped(text):
    return "".join(chr(c) if 0x20 < c < 0x7f and c != 0x25 else f"%{c:02X}" for c in text.encode())


def folder(path, mode=0o755, uid=1000, gid=1000, opaque=False):
    return (path, f"{'o' if opaque else 'd'} {mode:o} {uid} {gid} {escaped(path)}\n", None)


def file(path, data=b"", mode=0o644, uid=1000, gid=1000, mtime=1):
    digest = hashlib.sha256(data).hexdigest()
    return (path, f"f {mode:o} {uid} {gid} {mtime} {len(data)} {digest} {escaped(path)}\n", data)


def link(path, target, uid=1000, gid=1000):
    return (path, f"l {uid} {gid} {escaped(path)} {escaped(target)}\n", None)


def whiteout(path):
    return (path, f"w {escaped(path)}\n", None)


def layer(*entries):
    """(manifest, contents) in the order of a manifest."""
    ordered = sorted(entries, key=lambda entry: [part.encode() for part in entry[0].split("/")])
    return ("weir-layer 1\n" + "".join(line for _, line, _ in ordered)).encode(), [d for _, _, d in ordered if d is not None]


def digest_of(one):
    return hashlib.sha256(one[0]).hexdigest()


def description(layers, /, **changed):
    """`layers`: top first."""
    return {"v": 1, "id": "s-00000000", "name": "", "created": "2026-01-01T00:00:00Z", "network_mode": "allowlist",
            "policy": "", "taint": "", "session": "w-1", "session_name": "", "parent": "", "labels": {},
            "base": {"image": "", "digest": "", "created": ""},
            "layers": [{"digest": digest_of(each), "entries": 0, "bytes": 0} for each in layers]} | changed


def members(layers, about):
    yield "weir-snapshot", json.dumps(about).encode()
    for manifest, contents in layers:
        digest = hashlib.sha256(manifest).hexdigest()
        yield f"layers/{digest}/manifest", manifest
        for number, data in enumerate(contents):
            yield f"layers/{digest}/files/{number}", data


def archive(*layers, change=lambda members: members, **changed):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in change(list(members(layers, description(layers, **changed)))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
