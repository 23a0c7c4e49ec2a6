"""Types and style: what a type checker and a linter say of the package and its examples."""

import pathlib
import shutil
import subprocess

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
TOOLS = PACKAGE.parents[1] / "build" / "python-tools" / "bin"
CACHE = f"--cache-dir={PACKAGE.parents[1] / 'build' / 'mypy-cache'}"


def tool(name):
    found = shutil.which(name, path=str(TOOLS)) or shutil.which(name)
    return found or pytest.skip(f"{name} is not installed")


def passes(*command):
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types():
    passes(shutil.which("mypy", path="/usr/bin") or tool("mypy"), CACHE)


def test_style():
    passes(tool("ruff"), "check", "--no-cache")


def test_format():
    passes(tool("ruff"), "format", "--check", "--no-cache")


WRONG = """
import weir as sb
with sb.Sandbox.create(ttl_seconds="long") as box:
    box.run("x", bogus=1)
    code: str = box.run("x").exit_code
async def main() -> None:
    async with await sb.session(network_mode=1) as other:
        code: str = (await other.exec("x")).exit_code
        data: str = await other.filesystem.read("/x")
"""


def test_a_program_that_uses_it_wrongly_is_told(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [
        shutil.which("mypy", path="/usr/bin") or tool("mypy"),
        "--strict",
        CACHE,
        str(tmp_path / "wrong.py"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"MYPYPATH": str(PACKAGE / "src")})
    lines = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]
    assert lines == [3, 4, 5, 7, 8, 9], done.stdout + done.stderr
