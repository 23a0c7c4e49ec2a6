"""What the SDK sends and makes of the answers, blocking and asynchronous, against the fake daemon."""

import asyncio
import inspect
import io
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import threading

import fake_daemon
import pytest

import weir as sb

SRC = pathlib.Path(sb.__file__).resolve().parents[1]
PATIENCE = 20


def seen(event):
    assert event.wait(PATIENCE), "it did not happen"


class Both:
    """Runs one scenario with either kind: `await` works on what a blocking method returned."""

    def __init__(self, kind):
        self.kind = kind

    def go(self, scenario, **options):
        if self.kind == "blocking":
            with sb.Sandbox(**options) as box:
                return drive(scenario(Awaiting(box)))

        async def main():
            async with sb.session(**options) as box:
                return await scenario(box)

        return asyncio.run(main())


class Awaiting:
    """A blocking thing whose methods look asynchronous."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if name in ("filesystem",):
            return Awaiting(value)
        if not callable(value):
            return value

        def method(*args, **options):
            out = value(*args, **options)
            if isinstance(out, sb.Stream):
                return AwaitingStream(out)
            return Done(Awaiting(out) if isinstance(out, sb.Process) else out)

        return method


class Done:
    def __init__(self, value):
        self.value = value

    def __await__(self):
        return self.value
        yield


class AwaitingStream:
    def __init__(self, inner):
        self.inner = inner

    async def __aenter__(self):
        self.inner.__enter__()
        return self

    async def __aexit__(self, *reason):
        self.inner.__exit__(*reason)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.inner)
        except StopIteration:
            raise StopAsyncIteration from None

    @property
    def result(self):
        return self.inner.result


def drive(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a blocking method waited")


@pytest.fixture(params=["blocking", "asynchronous"])
def both(request):
    return Both(request.param)


# ---- creation and its end ----


def test_options_are_those_of_the_api(fake, both):
    async def scenario(box):
        return box.info

    info = both.go(
        scenario, name="n", network_mode=sb.NetworkMode.ALLOWLIST,
        network_allowlist=sb.PYPI_HOSTS, network_denylist=["x.example"],
        port_forwards=[sb.PortForward(host=8080, guest=80), sb.PortForward(53, 53, "udp"), "0:1"], ttl_seconds=120,
        limits={"memory": "512M"}, env={"A": "1"}, labels={"k": "v"}, insist=["taint"], idle_seconds=None,
    )  # fmt: skip
    (asked,) = fake.requests("POST", "/sessions")
    assert asked["json"] == {
        "name": "n", "network_mode": "allowlist",
        "network_allowlist": ["pypi.org", "files.pythonhosted.org", "*.pythonhosted.org"],
        "network_denylist": ["x.example"], "ports": ["127.0.0.1:8080:80", "127.0.0.1:53:53/udp", "0:1"], "ttl_seconds": 120,
        "limits": {"memory": "512M"}, "env": {"A": "1"}, "labels": {"k": "v"}, "insist": ["taint"],
    }  # fmt: skip
    assert asked["headers"]["idempotency-key"] and info.id == "s-1" and info.name == "n" and info.labels == {"k": "v"}
    assert not fake.sessions, "the session outlived its block"


def test_what_a_killed_program_leaves_ends_by_itself(fake, both):
    async def scenario(box):
        pass

    both.go(scenario)
    assert fake.requests("POST", "/sessions")[0]["json"] == {"idle_seconds": 86_400}


def test_both_spellings_of_the_asynchronous_block(fake):
    async def main():
        async with await sb.session(network_mode="none") as box:
            assert len(fake.sessions) == 1 and box.id
        assert not fake.sessions
        async with sb.session(network_mode="none"):
            assert len(fake.sessions) == 1
        assert not fake.sessions
        box = await sb.session()
        await box.close()
        await box.close()
        with pytest.raises(sb.Closed):
            await box.run("true")

    asyncio.run(main())
    assert len(fake.requests("POST", "/sessions")) == len(fake.requests("DELETE")) == 3


def test_a_description_starts_nothing(fake):
    box = sb.Sandbox(image="ubuntu", network_mode=sb.NetworkMode.MOUNTS_ONLY, port_forwards=[sb.PortForward(host=8080, guest=80)])
    assert not fake.asked and repr(box) == "<Sandbox not started>"
    assert box.run("true").ok
    assert fake.requests("POST", "/sessions")[0]["json"]["network_mode"] == "inbound"
    box.close()
    assert repr(box) == "<Sandbox closed>" and not fake.sessions


def test_the_block_ends_the_session_whatever_happens_in_it(fake, both):
    async def scenario(box):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        both.go(scenario)
    assert not fake.sessions


def test_a_session_that_has_ended_by_itself_is_no_trouble(fake, both):
    async def scenario(box):
        fake.sessions.clear()

    both.go(scenario)


def test_attached_sessions_are_left_alone(fake):
    with sb.Sandbox(name="long") as box:
        with sb.Sandbox.attach(box.id) as other:
            assert other.run("true").ok
        with pytest.raises(sb.NotFound):
            sb.Sandbox.attach("nobody").show()
        assert len(fake.sessions) == 1


def test_two_first_calls_make_one_session(fake):
    async def main():
        box = sb.session()
        first, second = await asyncio.gather(box.run("echo 1"), box.run("echo 2"))
        assert (first.stdout, second.stdout) == ("1\n", "2\n")
        await box.close()

    asyncio.run(main())
    assert len(fake.keys) == 1 and not fake.sessions


# ---- commands ----


def test_results(fake, both):
    async def scenario(box):
        good = await box.run(["sh", "-c", "cat; echo err >&2"], stdin="in", env={"A": "b"}, cwd="/tmp")
        assert (good.exit_code, good.stdout, good.stderr, good.refused, good.ok) == (0, "in", "err\n", (), True)
        assert good.check() is good
        odd = await box.exec("printf '\\377'; exit 3")
        assert (odd.exit_code, odd.stdout, odd.stdout_bytes) == (3, "\ufffd", b"\xff")
        with pytest.raises(sb.CommandFailed) as failed:
            odd.check()
        assert failed.value.result is odd and failed.value.code == "command_failed"
        late = await box.run("sleep 60", timeout_seconds=0.1)
        assert late.timed_out and late.exit_code == 124
        with pytest.raises(sb.TimedOut):
            late.check()
        refused = await box.run("exit 9")
        assert refused.refused == (sb.Refusal("evil.example:443", "no-rule", 2),)
        with pytest.raises(sb.Refused, match=r"evil.example:443 \(no-rule\)"):
            refused.check()

    both.go(scenario)
    first = fake.requests("POST", "/run")[0]["json"]
    assert first == {"argv": ["sh", "-c", "cat; echo err >&2"], "stdin": "in", "env": {"A": "b"}, "cwd": "/tmp"}


def test_a_wider_run_is_an_error_of_its_own(fake, both):
    async def scenario(box):
        with pytest.raises(sb.CannotWiden) as error:
            await box.run("true", network_mode=sb.NetworkMode.FULL)
        assert error.value.status == 409 and "open" in str(error.value) and error.value.remedy == "make the session with open"

    both.go(scenario)


def test_streams(fake, both):
    async def scenario(box):
        async with box.stream("printf 'a\\342\\200\\250b'; printf '\\377'; exit 4") as stream:
            with pytest.raises(sb.Closed):
                _ = stream.result
            chunks = [each async for each in stream]
        assert b"".join(each.data for each in chunks) == "a\u2028b".encode() + b"\xff"
        assert stream.result.exit_code == 4 and {each.stream for each in chunks} == {"stdout"}

    both.go(scenario)
    assert fake.requests("POST", "/run")[0]["json"]["stream"] is True


def test_a_stream_that_stops_in_the_middle_is_an_error(fake, both):
    async def scenario(box):
        with pytest.raises(sb.Unavailable, match="before the command had ended"):
            async for _ in box.stream("echo x; exit 77"):
                pass

    both.go(scenario)


def test_leaving_a_stream_ends_the_command(fake, both):
    async def scenario(box):
        async with box.stream("echo one; exec sleep 60") as stream:
            async for _ in stream:
                break

    both.go(scenario)
    seen(fake.killed)


def test_detached_commands(fake, both):
    async def scenario(box):
        process = await box.launch(["server"], stdin=True)
        assert process.pid == 7
        await process.signal("HUP")
        await process.kill()
        assert await process.write("héé") == 5 and await process.close_stdin() == 0
        output = await process.output()
        assert output.stdout == "ab" and not output.running and output.result.ok
        assert (await process.wait()).stdout == "ab"
        chunks = [each async for each in process.follow()]
        assert chunks == [sb.Chunk("stderr", b"\xff")]
        running, ended = await box.processes()
        assert running.running and not ended.running and ended.stdout_bytes == 3
        other = box.process(9)
        other = other.value if isinstance(other, Done) else other
        await other.kill()
        with pytest.raises(sb.Gone):
            await other.signal(15)

    both.go(scenario)
    assert fake.requests("POST", "/run")[0]["json"] == {"argv": ["server"], "detach": True, "stdin": True}
    assert [each["json"]["signal"] for each in fake.requests("POST", "/signal")] == ["HUP", "KILL", "KILL", 15]
    assert fake.requests("POST", "/stdin")[1]["query"] == {"close": "1"}


def test_network_record_and_snapshots(fake, both):
    async def scenario(box):
        narrowed = await box.narrow(network_mode="blocked")
        assert narrowed == sb.Narrowed(2, "1" * 16, 3, ("w",))
        assert [each["seq"] async for each in box.events(follow=True)] == [0, 1, 2]
        kept = await box.snapshot("base", labels={"a": "b"})
        assert (kept.name, kept.bytes, kept.labels) == ("base", 7, {"a": "b"})
        assert (await box.show()).state == "running"

    both.go(scenario)
    assert fake.requests("PUT", "/network")[0]["json"] == {"network_mode": "blocked"}
    assert fake.requests("POST", "/snapshots")[0]["json"] == {"session": "s-1", "name": "base", "labels": {"a": "b"}}


# ---- files ----


def test_files(fake, both, tmp_path):
    big = os.urandom(3_000_000)
    (tmp_path / "big").write_bytes(big)
    (tmp_path / "big").chmod(0o750)
    told = []

    async def scenario(box):
        files = box.filesystem
        await box.put_bytes("/data/in.csv", b"1,2", mode=0o600)
        await files.write("/data/é/../t x?", "tëxt")
        assert await box.get_bytes("/data/in.csv") == b"1,2"
        assert await files.read("/data/é/../t x?") == "tëxt".encode() and await files.read_text("/data/é/../t x?") == "tëxt"
        assert [(each.name, each.type, each.mode, each.target) for each in await files.list("/data", recursive=True)] == [
            ("a", "file", 0o640, None),
            ("l", "link", 0, "a"),
        ]
        with pytest.raises(sb.TooLarge):
            await files.list("/many")
        await files.upload(tmp_path / "big", "/big", progress=lambda done, total: told.append((done, total)))
        await files.download("/big", tmp_path / "back", progress=lambda done, total: told.append((done, total)))
        await files.delete("/big")
        with pytest.raises(sb.NotFound):
            await files.read("/big")
        with pytest.raises(sb.NotFound):
            await files.download("/big", tmp_path / "none")
        await files.make_folder("/new")
        for wrong in ("relative", "/nul\0"):
            with pytest.raises(ValueError, match="path"):
                await files.read(wrong)

    both.go(scenario)
    assert (tmp_path / "back").read_bytes() == big
    assert sorted(each.name for each in tmp_path.iterdir()) == ["back", "big", "weir.sock"]
    sent = len(told) // 2
    assert told[0] == (0, 3_000_000) and told[-1] == (3_000_000, 3_000_000) and (3_000_000, 3_000_000) in told[:sent]
    puts = fake.requests("PUT")
    assert puts[0]["query"] == {"mode": "0600"} and puts[0]["path"].endswith("/files/%2Fdata%2Fin.csv")
    # Nothing on the way may take the dots for its own.
    assert puts[1]["path"].endswith("/files/%2Fdata%2F%C3%A9%2F..%2Ft%20x%3F") and puts[2]["query"] == {"mode": "0750"}


def test_a_folder_goes_up_as_tar(fake, both, tmp_path):
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_text("x")
    (tmp_path / "tree" / "link").symlink_to("/etc/passwd")

    async def scenario(box):
        await box.filesystem.upload(tmp_path / "tree", "/work")
        await box.filesystem.download_tar("/work", tmp_path / "out.tar")

    both.go(scenario)
    (put,) = fake.requests("PUT")
    assert put["headers"]["content-type"] == "application/x-tar" and put["path"].endswith("%2Fwork")
    assert fake.requests("GET")[0]["query"] == {"tar": "1"} and (tmp_path / "out.tar").read_bytes() == put["body"]
    with tarfile.open(fileobj=io.BytesIO(put["body"])) as tar:
        assert tar.getmember("./link").linkname == "/etc/passwd" and tar.getmember("./below/file").size == 1


def test_progress_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    bar = sb.ProgressBar("x.bin", out)
    for done in (0, 512 * 1024, 1024 * 1024):
        bar(done, 1024 * 1024)
    assert out.getvalue().endswith("\n") and "x.bin [##############################] 100% 1.0 MiB of 1.0 MiB" in out.getvalue()
    assert out.getvalue().count("\n") == 1
    silent = io.StringIO()
    sb.ProgressBar("x.bin", silent)(1, 2)
    assert silent.getvalue() == ""
    assert bar.line(1536, None, 1.0) == "x.bin 1.5 KiB 1.5 KiB/s"


# ---- cancellation ----


def test_a_cancelled_run_ends_the_command(fake):
    async def main():
        async with sb.session() as box:
            fake.started.clear()
            task = asyncio.create_task(box.run("sleep 60"))
            await asyncio.to_thread(seen, fake.started)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(seen, fake.killed)
            assert (await box.run("echo on")).stdout == "on\n", "the sandbox goes on"

    asyncio.run(main())


def test_a_cancelled_block_ends_its_session(fake):
    inside = threading.Event()

    async def body():
        async with sb.session() as box:
            inside.set()
            await box.run("sleep 60")

    async def main():
        task = asyncio.create_task(body())
        await asyncio.to_thread(seen, inside)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not fake.sessions


def test_a_cancelled_creation_leaves_no_session(fake):
    fake.hold_create = threading.Event()

    async def main():
        task = asyncio.create_task(sb.session().start())
        await asyncio.to_thread(seen, fake.started)
        task.cancel()
        asyncio.get_running_loop().call_later(0.3, fake.hold_create.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(fake.keys) == 1 and not fake.sessions


INTERRUPTED = """
import sys
sys.path.insert(0, sys.argv[1])
import weir
with weir.Sandbox() as box:
    print("up", flush=True)
    box.run("sleep 60")
"""


def test_ctrl_c_ends_the_command_and_the_session(fake):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(SRC)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "up\n"
    fake.started.clear()
    seen(fake.started)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in err and child.returncode != 0
    seen(fake.killed)
    assert not fake.sessions


# ---- errors ----


def test_every_code_of_the_api_has_its_exception():
    yaml = pytest.importorskip("yaml")
    page = yaml.safe_load((pathlib.Path(__file__).resolve().parents[3] / "docs/openapi.yaml").read_text())
    codes = set(page["components"]["schemas"]["ErrorCode"]["enum"])
    kinds = {each.CODE: name for name, each in vars(sb).items() if inspect.isclass(each) and issubclass(each, sb.WeirError)}
    assert codes == set(kinds) - {"refused", "command_failed", "closed", ""}


def test_errors_of_the_daemon(fake, both):
    answers = [
        (429, "too_many", sb.TooMany, [("retry-after", "3")]),
        (401, "unauthorized", sb.Unauthorized, ()),
        (404, "image_not_found", sb.NotFound, ()),
        (418, "of_the_future", sb.WeirError, ()),
    ]

    async def scenario(box):
        for status, code, kind, headers in answers:

            def fail(asked, status=status, code=code, headers=headers):
                if asked["path"].endswith("/run"):
                    raise fake_daemon.Refusal(status, code, "why", "do that", headers)

            fake.fail = fail
            with pytest.raises(kind) as error:
                await box.run("true")
            assert (error.value.code, error.value.status, str(error.value)) == (code, status, "why; do that")
            assert error.value.retry_after == (3 if headers else None)
            with pytest.raises(kind):
                async for _ in box.stream("true"):
                    pass

    both.go(scenario)


def test_mistakes_are_caught_here(fake):
    with pytest.raises(TypeError, match=r"write \['pypi.org'\]"):
        sb.Sandbox(network_allowlist="pypi.org")
    with pytest.raises(TypeError):
        sb.Sandbox(bogus=1)
    with pytest.raises(ValueError, match="no pair of ports"):
        sb.PortForward(host=1, guest=0)
    assert not fake.asked


def test_the_daemon_goes_away(fake):
    box = sb.Sandbox.create()
    fake.__exit__()
    with pytest.raises(sb.Unavailable, match=r"weir\.sock"):
        box.run("true")
    with pytest.raises(sb.Unavailable):
        box.close()


def test_what_the_block_raised_matters_more(fake, both):
    async def scenario(box):
        fake.fail = lambda asked: (_ for _ in ()).throw(fake_daemon.Refusal(503, "unavailable"))
        raise ZeroDivisionError

    with pytest.warns(ResourceWarning, match="could not be ended"), pytest.raises(ZeroDivisionError):
        both.go(scenario)


def test_modes():
    aliases = {
        "none": ["blocked", "zerotrust", "off"], "inbound": ["mounts", "mounts_only"], "public": ["public_only", "denylist"],
        "open": ["allow_all", "full"], "allowlist": [], "semitrusted": [],
    }  # fmt: skip
    for mode, others in aliases.items():
        assert {sb.NetworkMode(each) for each in (mode, *others)} == {sb.NetworkMode(mode)} and str(sb.NetworkMode(mode)) == mode
    assert sb.NetworkMode.FULL is sb.NetworkMode.OPEN
    with pytest.raises(ValueError, match="host"):
        sb.NetworkMode("host")
    names = ("NONE", "MOUNTS_ONLY", "ALLOWLIST", "PUBLIC", "SEMITRUSTED", "OPEN", "FULL")
    assert set(sb.NetworkMode.__members__) == set(names)
    assert str(sb.PortForward(0, 53, "udp", "::1")) == "[::1]:0:53/udp"


def test_both_kinds_have_the_same_methods():
    def public(kind):
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(sb.Sandbox) - {"create"} == public(sb.AsyncSandbox)
    assert public(sb.Filesystem) == public(sb.AsyncFilesystem) and public(sb.Process) == public(sb.AsyncProcess)
    for name in ("run", "put_bytes", "launch", "narrow"):
        one, other = inspect.signature(getattr(sb.Sandbox, name)), inspect.signature(getattr(sb.AsyncSandbox, name))
        assert list(one.parameters) == list(other.parameters) and getattr(sb.Sandbox, name).__doc__
