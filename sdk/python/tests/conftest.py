"""Fixtures of the SDK's tests.

Tests that take `fake` speak to `fake_daemon.py`, which answers as docs/openapi.yaml says and remembers what it was asked.
Those that need what runs to be confined are in tests/lab/test_sdk.py.
"""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import fake_daemon  # noqa: E402


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A daemon that WEIR_URL names."""
    with fake_daemon.FakeDaemon(tmp_path / "weir.sock") as daemon:
        monkeypatch.setenv("WEIR_URL", f"unix://{daemon.path}")
        monkeypatch.delenv("WEIR_TOKEN", raising=False)
        yield daemon
