"""The Python SDK and the C++ library with real sessions, as the identity under test: what is written down runs as written.

Programs run on the lab's host with the SDK on their path and WEIR_URL naming a daemon of their own; what they print last is
a JSON value. No session may be left when a test ends.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import world as w
from checks import TWINS
from lab import processes, wait_until
from test_clients import make_wheel

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRELUDE = "import asyncio, json, os, pathlib, signal, sys, time\nimport weir as sb\nresult = None\n"
PYTHON = "/usr/bin/python3"


class Sdk:
    """A daemon of this identity, and programs that use it."""

    def __init__(self, lab):
        self.lab = lab
        self.folder = lab.world.folder / "sdk"
        self.socket = lab.folder / "weir.sock"
        self.variables = {"PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1", "WEIR_BIN": lab.weir,
                          "WEIR_URL": f"unix://{self.socket}", "TERM": "xterm"}
        self.daemon = None

    def start(self):
        self.daemon = subprocess.Popen(self.lab.command([self.lab.weir, "serve", f"--socket={self.socket}", "--log=none"]),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(lambda: self.socket.exists() or self.daemon.poll() is not None, 20, "the daemon's socket")
        assert self.daemon.poll() is None, self.daemon.stderr.read()
        return self

    def command(self, argv):
        self.lab.variables = self.variables
        return self.lab.command(argv)

    def popen(self, code, **options):
        return subprocess.Popen(self.command([PYTHON, "-c", PRELUDE + code]), text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)

    def program(self, *argv, timeout=60):
        return subprocess.run(self.command(argv), text=True, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)

    def run(self, code, timeout=60):
        """Runs lines and returns the value that they leave in `result`."""
        done = self.program(PYTHON, "-c", PRELUDE + code + "\nprint(json.dumps(result))", timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def sessions(self):
        done = self.program(self.lab.weir, "session", "ls", "-o", "json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return [each["id"] for each in (found["sessions"] if isinstance(found, dict) else found)]

    def stop(self):
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(20)
            self.daemon.stderr.close()
        left = self.sessions()
        for session in left:
            self.program(self.lab.weir, "session", "rm", session)
        assert not left, "sessions were left behind"


@pytest.fixture(scope="session")
def sdk_files(world, weir_binary, request):
    """The SDK where the ordinary user can read it, and the daemon beside the weir under test."""
    daemon = pathlib.Path(request.config.getoption("--weir")).with_name("weir-serve")
    if not daemon.exists():
        pytest.skip(f"{daemon.name} is not built")
    shutil.copy(daemon, pathlib.Path(weir_binary).with_name("weir-serve"))
    for part in ("src", "examples"):
        shutil.copytree(ROOT / "sdk/python" / part, world.folder / "sdk" / part, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def sdk(lab, sdk_files):
    pytest.importorskip("httpx")
    made = Sdk(lab)
    yield made.start()
    made.stop()


# ---- what is written down runs as written ----

FIRST = """
data = b"1,2\\n"
async def main():
    async with await sb.session(network_mode="allowlist", network_allowlist=sb.PYPI_HOSTS) as sbx:
        await sbx.put_bytes("/home/sandbox/use.py", "import requests; print(open('/data/in.csv').read() + requests.__name__)")
        results = []
        r = await sbx.run("pip install requests")            # r.exit_code, r.stdout, r.stderr, r.refused
        results.append([r.exit_code, r.stdout, r.stderr, r.refused])
        r = await sbx.run("pip install labpkg && python -c 'import labpkg; print(labpkg.answer)'")
        results.append([r.exit_code, r.stdout, r.stderr, r.refused])
        await sbx.put_bytes("/data/in.csv", data)
        {LAST}
        results.append([r.exit_code, r.stdout, r.stderr, r.refused])
        return results
result = asyncio.run(main())
"""


def check_first(sdk, last):
    """A package comes from the index that the allowlist names, and is used."""
    make_wheel(sdk.lab.world.www / "simple" / "labpkg")
    requests, labpkg, used = sdk.run(FIRST.replace("{LAST}", last), timeout=90)
    assert requests[0] == 0 and "requests" in requests[1], requests
    assert labpkg[0] == 0 and labpkg[1].endswith("42\n") and labpkg[3] == [], labpkg
    assert used[:2] == [0, "1,2\nrequests\n"], used


WIDER = """
with sb.Sandbox(network_mode="allowlist", network_allowlist=["allowed.test"]) as box:
    try:
        box.run("true", network_mode="open")
    except sb.WeirError as error:
        result = [type(error).__name__, str(error)]
"""


def test_the_first_snippet(sdk):
    """The last command has a network of its own, which is narrower; a wider one is refused."""
    kind, why = sdk.run(WIDER)
    assert kind == "CannotWiden", why
    check_first(sdk, 'r = await sbx.run("python use.py", network_mode="blocked")  # narrower; wider raises sb.CannotWiden')


SECOND = """
async def main():
    async with sb.on_device.session(backend="userns", network_mode="open", network_denylist=[*sb.CLOUD_METADATA_DENY, "10.0.0.0/8"],
                                    network_proxy_url="http://127.0.0.1:8080", network_socks_url="socks5h://127.0.0.1:1080") as sbx:
        return [sbx.info.network_mode, (await sbx.run("echo here")).stdout]
result = asyncio.run(main())
"""


def test_the_second_snippet(sdk, ordinary):
    if not ordinary:
        pytest.skip("the local daemon of root is that of the machine: /run/weir.sock")
    sdk.variables |= {"XDG_RUNTIME_DIR": str(sdk.lab.folder), "WEIR_URL": "unix:///nonexistent"}
    assert sdk.run(SECOND) == ["open", "here\n"]


THIRD = """
with sb.Sandbox() as made:
    made.put_bytes("/opt/from-the-template", "yes")
    made.snapshot("python")
code = "print(open('/opt/from-the-template').read())"
with sb.Sandbox.create(template="python", ttl_seconds=120) as sbx:       # synchronous
    sbx.filesystem.write("/data/task.py", code)
    out = sbx.exec("python3 /data/task.py", timeout_seconds=60)
    result = [out.exit_code, out.stdout, sbx.info.expires is not None]
"""


def test_the_third_snippet(sdk, images):  # root keeps snapshots below /var/lib
    if sdk.lab.cli("snapshot", "ls").code != 0:
        pytest.skip("this weir has no snapshots")
    assert sdk.run(THIRD) == [0, "yes\n", True]


FOURTH = """
sbx = sb.Sandbox(image="ubuntu", network_mode=sb.NetworkMode.MOUNTS_ONLY, port_forwards=[sb.PortForward(host=8080, guest=80)])
before = sbx.exec("cat /etc/alpine-release").exit_code
sbx.launch("while true; do printf 'HTTP/1.0 200 OK\\\\r\\\\n\\\\r\\\\nserved' | busybox nc -l -p 80; done")
import urllib.request
for _ in range(200):
    try:
        result = [before, urllib.request.urlopen("http://127.0.0.1:8080", timeout=5).read().decode(), sbx.info.ports]
        break
    except OSError:
        time.sleep(0.05)
sbx.close()
"""


def test_the_fourth_snippet(sdk, images, root_archive):
    archive = sdk.lab.folder / "ubuntu.tar"
    archive.write_bytes(root_archive + bytes(1024))
    archive.chmod(0o644)
    done = sdk.program(sdk.lab.weir, "image", "import", str(archive), "ubuntu")
    assert done.returncode == 0, done.stderr
    before, served, ports = sdk.run(FOURTH)
    assert (before, served) == (0, "served") and [each.removesuffix("/tcp") for each in ports] == ["127.0.0.1:8080:80"]


# ---- what is refused ----


@TWINS
def test_refusals(sdk, verdict):
    """The program sees it, the target receives nothing, there is one record of it; and its result says so."""
    name = "allowed.test" if verdict == "allow" else "evil.test"
    code, refused, events = sdk.run(f"""
with sb.Sandbox(network_mode="allowlist", network_allowlist=["allowed.test"]) as box:
    r = box.run("curl -fsS -m 10 http://{name}/")
    result = [r.exit_code, [[each.destination, each.reason] for each in r.refused],
              [each for each in box.events() if each["type"] in ("dns.refuse", "flow.refuse")]]
""")
    if verdict == "allow":
        assert code == 0 and not refused and not events
    else:
        assert code != 0 and refused == [["evil.test:80", "no-rule"]] and len(events) == 1, (refused, events)
        assert sdk.lab.world.packets_to(w.EVIL4) == sdk.lab.world.packets_to(w.EVIL6) == 0


# ---- the end of things ----


def sleepers(marker):
    """Processes of this machine that sleep for so many seconds."""
    found = []
    for pid in processes():
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            found.append(pid)
    return found


CANCELLED = """
async def main():
    async with sb.session() as box:
        task = asyncio.create_task(box.run(["sleep", "86311"]))
        stream = box.stream("echo up; exec sleep 86311")
        async for chunk in stream:
            break
        while len(await box.processes()) < 2:
            await asyncio.sleep(0.01)
        print("running", flush=True)
        sys.stdin.readline()
        task.cancel()
        await stream.close()
        try:
            await task
        except asyncio.CancelledError:
            pass
        while await box.processes():
            await asyncio.sleep(0.01)
        print((await box.run("echo on")).stdout, flush=True)
        sys.stdin.readline()
asyncio.run(main())
"""


def test_cancelling_ends_the_command_and_not_the_sandbox(sdk):
    child = subprocess.Popen(sdk.command([PYTHON, "-c", PRELUDE + CANCELLED]), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == "running\n"
    assert len(sleepers("86311")) == 2, "the twin: before, both run"
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "on\n"
    assert not sleepers("86311")
    child.communicate("\n", timeout=20)
    assert child.returncode == 0


INTERRUPTED = """
with sb.Sandbox() as box:
    print("up", flush=True)
    box.run(["sleep", "86322"])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_command_ends_with_its_caller(sdk, how):
    """Ctrl-C ends the session too. A caller that is killed cannot say so: its command ends, its session by its idle time."""
    child = sdk.popen(INTERRUPTED)
    assert child.stdout.readline() == "up\n"
    wait_until(lambda: sleepers("86322"), 20, "the command")
    child.send_signal(how)
    child.communicate(timeout=20)
    wait_until(lambda: not sleepers("86322"), 20, "the end of the command")
    if how == signal.SIGINT:
        assert not sdk.sessions()
    else:
        (left,) = sdk.sessions()
        assert sdk.program(sdk.lab.weir, "session", "rm", left).returncode == 0


OUTLIVED = """
box = sb.Sandbox.create()
daemon, = sb._endpoint._children
process = box.launch("echo before; sleep 0.5; echo after")
box.put_bytes("/tmp/kept", "kept")
daemon.kill(); daemon.wait()
result = [box.get_bytes("/tmp/kept").decode(), process.wait().stdout, len(sb._endpoint._children)]
box.close()
for each in sb._endpoint._children:
    each.terminate(); each.wait()
"""


def test_a_daemon_is_started_on_demand_and_again_when_it_was_killed(lab, sdk_files, ordinary):
    if not ordinary:
        pytest.skip("the local daemon of root is that of the machine: /run/weir.sock")
    sdk = Sdk(lab)
    sdk.variables = {**sdk.variables, "XDG_RUNTIME_DIR": str(lab.folder), "WEIR_URL": ""}
    try:
        assert sdk.run("import weir._endpoint\n" + OUTLIVED) == ["kept", "before\nafter\n", 1]
    finally:
        sdk.stop()


RACE = """
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    boxes = list(pool.map(lambda _: sb.Sandbox.create(), range(16)))
    result = sorted(pool.map(lambda box: box.run("echo $((6*7))").stdout, boxes))
    list(pool.map(lambda box: box.close(), boxes))
"""


def test_many_at_once(sdk):
    assert sdk.run(RACE) == ["42\n"] * 16


# ---- files and streams ----

FILES = """
size = 64 << 20
pattern = os.urandom(1 << 20)
async def main():
    pathlib.Path("big").write_bytes(pattern * 64)
    told = []
    async with sb.session() as box:
        await box.filesystem.upload("big", "/data/deep/big", progress=lambda done, total: told.append(done))
        inside = (await box.run("sha256sum < /data/deep/big; stat -c %s /data/deep/big")).stdout.split()
        await box.filesystem.download("/data/deep/big", "back")
        await box.put_bytes("/data/exact", bytes(range(256)))
        same = await box.get_bytes("/data/exact") == bytes(range(256))
        os.makedirs("tree/below", exist_ok=True)
        pathlib.Path("tree/below/file").write_text("x")
        await box.filesystem.upload("tree", "/work")
        names = [(each.name, each.type) for each in await box.filesystem.list("/work", recursive=True)]
        out = b""
        async with box.stream("head -c 3000000 /dev/zero; echo end >&2; exit 3") as stream:
            async for chunk in stream:
                out += chunk.data if chunk.stream == "stdout" else b""
        return [inside[2], told[-1], pathlib.Path("back").read_bytes() == pattern * 64, same, sorted(names), len(out),
                stream.result.exit_code]
result = asyncio.run(main())
"""


def test_files_and_streams(sdk):
    size, told, same, exact, names, printed, code = sdk.run(FILES, timeout=90)
    assert (int(size), told, same, exact, printed, code) == (64 << 20, 64 << 20, True, True, 3_000_000, 3)
    assert names == [["below", "folder"], ["below/file", "file"]]


ESCAPES = """
with sb.Sandbox() as box:
    box.run("ln -s /proc/1/root /up; ln -s ../../../../../../etc/shadow /far")
    result = []
    for path in ("/../../../../etc/machine-id-of-the-lab", "/up/etc/hostname-of-the-lab", "/far"):
        try:
            box.filesystem.read(path)
            result.append("read")
        except sb.WeirError as error:
            result.append("refused")
"""


def test_no_path_leads_out(sdk):
    assert sdk.run(ESCAPES) == ["refused"] * 3


# ---- examples ----


def example(sdk, name):
    done = sdk.program(PYTHON, str(sdk.folder / "examples" / name))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_agent_loop(sdk):
    out = example(sdk, "agent_loop.py")
    assert "--- step 3" in out and "--- step 4" not in out and out.endswith("answer: 3\n"), out


def test_the_judge(sdk):
    lines = [line.split(maxsplit=1) for line in example(sdk, "judge.py").splitlines()]
    assert dict(lines) == {"good": "right, right, right", "wrong": "right, wrong", "slow": "too slow", "crash": "crashed",
                           "cheat": "crashed"}


def test_the_notebook(sdk):
    out = example(sdk, "notebook.py")
    assert "Out [3]: 3\n" in out and "ZeroDivisionError" in out and out.endswith("Out [5]: 3\n\n"), out


# ---- C++ ----


@pytest.fixture(scope="session")
def cpp_example(world, tmp_path_factory):
    """The example, built against the installed package."""
    folder = world.folder / "cpp"
    prefix = folder / "prefix"
    for command in (["cmake", "--install", ROOT / "build/release", "--prefix", prefix, "--component", "library"],
                    ["cmake", "-S", ROOT / "examples/cpp", "-B", folder / "build", "-G", "Ninja", "-DCMAKE_CXX_COMPILER=clang++-19",
                     f"-DCMAKE_PREFIX_PATH={prefix}"], ["cmake", "--build", folder / "build"]):
        done = subprocess.run([str(each) for each in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return str(folder / "build" / "untrusted")


def test_the_cpp_library(lab, cpp_example):
    """Its example works on a copy of a folder, without a network; nothing is left when it ends."""
    work = lab.folder / "work"
    work.mkdir()
    (work / "given").write_text("given\n")
    os.chown(work, lab.uid, lab.gid)
    lab.variables = {"WEIR_BIN": lab.weir}
    line = "cat given note.txt; echo changed > given; curl -sS -m 5 http://93.184.216.10/; exit 7"
    done = subprocess.run(lab.command([cpp_example, str(work), line]), text=True, capture_output=True, timeout=60)
    assert done.returncode == 7, done
    assert done.stdout == "given\nput there from outside\n" and "curl" in done.stderr
    assert (work / "given").read_text() == "given\n", "the folder itself was written"
    left = lab.cli("session", "ls", "-o", "json")
    assert left.code == 0 and "w-" not in left.stdout, left


def test_a_daemon_besides_its_sessions(sdk):
    """One-shot programs, services and images: blocking and asynchronous."""
    done = sdk.run("""
with sb.Daemon() as daemon:
    ran = daemon.execute("bash", "cat; cat more; exit 3", stdin="in ", files={"more": "file"})
    made = daemon.create_service("sdk-web", "echo begun; sleep 300", ports=["0:80"], restart="no")
    try:
        while not daemon.service_logs("sdk-web").stdout:
            time.sleep(0.01)
        logs = daemon.service_logs("sdk-web").stdout
        listed = [each.name for each in daemon.services()]
        shown = daemon.service("sdk-web")
    finally:
        daemon.delete_service("sdk-web")
    try:
        daemon.service("sdk-web")
        gone = ""
    except sb.NotFound as error:
        gone = type(error).__name__
    try:
        daemon.execute("no-such", "x")
    except sb.BadRequest as error:
        wrong = type(error).__name__
    try:
        daemon.image("no-such")
    except sb.ImageNotFound as error:
        image = type(error).__name__
    images = daemon.images()
async def main():
    async with sb.AsyncDaemon() as daemon:
        return (await daemon.execute("sh", "echo async")).stdout, [each.name for each in await daemon.services()]
result = [ran.stdout, ran.exit_code, made.restart, logs, "sdk-web" in listed, shown.session.id == made.session.id, gone, wrong, image,
          isinstance(images, list), *asyncio.run(main())]
""")
    assert done == ["in file", 3, "no", "begun\n", True, True, "NotFound", "BadRequest", "ImageNotFound", True, "async\n", []], done
