"""Which daemon is spoken to, and starting the local one."""

import concurrent.futures
import os
import pathlib
import signal
import stat
import sys

import fake_daemon
import pytest

import weir as sb
from weir import _endpoint

FAKE = pathlib.Path(fake_daemon.__file__)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without a daemon, where `weir` is the fake one. What it started is ended."""
    monkeypatch.setattr(os, "geteuid", os.getuid)
    monkeypatch.setattr(_endpoint, "_socket_path", lambda: tmp_path / "run" / "weir.sock")
    (tmp_path / "run").mkdir(mode=0o700)
    program = tmp_path / "weir"
    program.write_text(f'#!/bin/sh\necho started >> {tmp_path}/starts\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("WEIR_URL", "WEIR_TOKEN", "WEIR_BIN"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    for child in _endpoint._children:
        child.kill()
        child.wait()
    _endpoint._children.clear()


def test_the_local_daemon_is_started_on_demand(machine):
    with sb.Sandbox() as box:
        assert box.run("echo hi").stdout == "hi\n"
    with sb.on_device.Sandbox.create() as box:
        assert box.run("echo ho").stdout == "ho\n"
    assert (machine / "starts").read_text() == "started\n"
    assert stat.S_IMODE((machine / "run" / "weir.sock.log").stat().st_mode) == 0o600


def test_many_starters_start_one(machine):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        boxes = list(pool.map(lambda _: sb.Sandbox.create(), range(8)))
    assert len({box.id for box in boxes}) == 8 and (machine / "starts").read_text() == "started\n"
    for box in boxes:
        box.close()


def test_a_daemon_that_died_is_started_again(machine):
    box = sb.Sandbox.create()
    _endpoint._children[0].send_signal(signal.SIGKILL)
    _endpoint._children[0].wait()
    with pytest.raises(sb.NotFound):  # the fake one forgets its sessions; what counts is that it answered
        box.show()
    assert (machine / "starts").read_text() == "started\n" * 2
    box.close()


def test_the_daemon_gets_no_secrets_of_its_starter(machine, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "canary")
    sb.Sandbox.create().close()
    environment = pathlib.Path(f"/proc/{_endpoint._children[0].pid}/environ").read_bytes()
    assert b"canary" not in environment and b"PATH=" in environment


def test_a_daemon_that_cannot_start_says_why(machine, monkeypatch):
    monkeypatch.setenv("WEIR_BIN", str(machine / "missing"))
    with pytest.raises(sb.Unavailable, match="could not be started"):
        sb.Sandbox.create()
    (machine / "weir").write_text("#!/bin/sh\necho 'weir: no /dev/net/tun' >&2\nexit 125\n")
    monkeypatch.delenv("WEIR_BIN")
    with pytest.raises(sb.Unavailable, match="no /dev/net/tun"):
        sb.Sandbox.create()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(sb.Unavailable, match="not on PATH"):
        sb.Sandbox.create()


def test_somebody_elses_socket_is_not_spoken_to(machine):
    (machine / "run" / "weir.sock").write_text("")
    with pytest.raises(sb.Unavailable, match="no socket of yours"):
        sb.Sandbox.create()


def test_on_device_does_not_look_at_weir_url(machine, monkeypatch, tmp_path):
    with fake_daemon.FakeDaemon(tmp_path / "other.sock") as other:
        monkeypatch.setenv("WEIR_URL", f"unix://{other.path}")
        monkeypatch.setenv("WEIR_TOKEN", "secret")
        sb.on_device.Sandbox.create().close()
        assert not other.asked
        sb.Sandbox.create().close()
        assert len(other.requests("POST", "/sessions")) == 1
        assert other.asked[0]["headers"]["authorization"] == "Bearer secret"


def test_tokens(fake, monkeypatch):
    fake.token = "right"
    with pytest.raises(sb.Unauthorized, match="WEIR_TOKEN"):
        sb.Sandbox.create()
    monkeypatch.setenv("WEIR_TOKEN", "right")
    sb.Sandbox.create().close()


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        ("http://sandboxes.example:8443", "t", "in the clear"),
        ("http://user:word@127.0.0.1", None, "carries a user"),
        ("ftp://127.0.0.1", None, "names no daemon"),
        ("unix:relative", None, "names no daemon"),
        ("https://", None, "names no daemon"),
        ("127.0.0.1:80", None, "names no daemon"),
    ],
)
def test_addresses_that_make_no_sense(monkeypatch, url, token, words):
    monkeypatch.setenv("WEIR_URL", url)
    monkeypatch.setenv("WEIR_TOKEN", token or "")
    with pytest.raises(sb.Unavailable, match=words):
        sb.Sandbox()


@pytest.mark.parametrize(
    ("url", "token"),
    [("http://127.0.0.1:8443", "t"), ("http://[::1]:1", "t"), ("http://a.example", None), ("https://a.example", "t")],
)
def test_addresses_that_do(monkeypatch, url, token):
    monkeypatch.setenv("WEIR_URL", url)
    monkeypatch.setenv("WEIR_TOKEN", token or "")
    assert sb.Sandbox()._driver is not None


def test_proxies_of_the_environment_are_not_for_the_daemon(fake, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    sb.Sandbox.create().close()
    assert len(fake.asked) == 2
