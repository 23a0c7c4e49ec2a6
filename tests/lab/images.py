"""Images in the lab: what their tests share."""

import os
import pathlib
import shutil
import subprocess
import time


def put(lab, name, data):
    path = lab.folder / name
    path.write_bytes(data)
    path.chmod(0o644)
    return str(path)


def store_is_empty(lab):
    return not lab.store.exists() or sorted(os.listdir(lab.store)) in ([], [".lock"])


def imported(lab, *words, timeout=120):
    out = lab.cli("image", "import", *words, timeout=timeout)
    assert out.code == 0, out
    return out


def debian_archive(folder):
    """A real tree by mmdebstrap; None and why: it could not be made. Kept for a day, for both users: it takes a minute."""
    path = pathlib.Path("/tmp/weir-lab-debian.tar")
    if not path.exists() or time.time() - path.stat().st_mtime > 86400:
        made = folder / "debian.tar"
        done = subprocess.run(["mmdebstrap", "--variant=essential", "--quiet", "bookworm", str(made)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=110)
        if done.returncode != 0:
            return None, "mmdebstrap could not make a tree (no package mirror?): " + done.stdout.strip().splitlines()[-1]
        shutil.move(made, path)
    return path, ""


def unpacker_of(process):
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
