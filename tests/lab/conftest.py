"""Fixtures of the lab. Needs root (or sudo): the lab makes namespaces, device nodes and runs weir as other users.

--weir PATH  the command under test (default build/release/weir)
--as NAME    root, or a user name: who runs weir on the lab's host
"""

import os
import pathlib
import pwd
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import archives  # noqa: E402
import images as images_module  # noqa: E402
import lab as lab_module  # noqa: E402
import world as world_module  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--weir", default=str(ROOT / "build/release/weir"), help="the command under test")
    parser.addoption("--as", dest="run_as", default="root", help="root or an ordinary user's name")


def pytest_configure(config):
    config.addinivalue_line("markers", "refusal: a row that must turn red when admission always says yes")
    config.addinivalue_line("markers", "elsewhere: a refusal that admission does not decide (no path, no code, no record, "
                            "no start): listed, not counted, in the run with admission forced open")
    config.addinivalue_line("markers", "slow: left out by ./dev test --quick")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("elsewhere"):
            item.user_properties.append(("elsewhere", "yes"))


@pytest.fixture(scope="session")
def world():
    if os.getuid() != 0:
        pytest.exit("the lab needs root: run it through ./dev test", returncode=4)
    with world_module.World() as made:
        _private_tun(made)
        yield made


def _private_tun(made):
    """Debian gives everybody /dev/net/tun; a machine that does not must not change what the lab tests."""
    if os.path.exists("/dev/net/tun"):
        made.host.sh(f"mkdir {made.folder}/dev; mount -t tmpfs -o mode=755 dev {made.folder}/dev\n"
                     f"mknod -m 666 {made.folder}/dev/tun c 10 200; mount --bind {made.folder}/dev/tun /dev/net/tun")


@pytest.fixture(scope="session")
def identity(request):
    name = request.config.getoption("run_as")
    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


@pytest.fixture(scope="session")
def weir_binary(request, world):
    """A copy that the ordinary user can read, wherever the checkout lives."""
    source = pathlib.Path(request.config.getoption("weir"))
    target = world.folder / "bin" / "weir"
    target.parent.mkdir()
    shutil.copy(source, target)
    target.chmod(0o755)
    # weir serve is found beside it.
    if (source.parent / "weir-serve").exists():
        shutil.copy(source.parent / "weir-serve", target.parent)
    return str(target)


@pytest.fixture
def lab(world, weir_binary, identity, request):
    folder = world.folder / "runs" / f"{abs(hash(request.node.nodeid)) & 0xffffffff:08x}"
    folder.mkdir(parents=True)
    os.chown(folder, *identity)
    world.reset()
    yield lab_module.Lab(world, weir_binary, *identity, folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ordinary(identity):
    return identity[0] != 0


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


@pytest.fixture(scope="session")
def debian_archive(tmp_path_factory):
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    path, why = images_module.debian_archive(tmp_path_factory.mktemp("debian"))
    return path or pytest.skip(why)
