"""The package as pip installs it: every module, the mark that it is typed, and nothing else."""

import pathlib
import shutil
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
CHECK = "import weir, httpx; print(weir.__file__); weir.Sandbox(); print(weir.PYPI_HOSTS[0], weir.on_device.session)"


def test_pip_install(tmp_path):
    pytest.importorskip("setuptools")
    source = tmp_path / "python"  # pip leaves traces where it builds
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index", "--target"]
    done = subprocess.run([*command, str(target), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    installed = {each.name for each in (target / "weir").iterdir()} - {"__pycache__"}
    assert installed == {each.name for each in (PACKAGE / "src" / "weir").iterdir()} - {"__pycache__"}
    run = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(target)}
    )
    assert run.stdout.startswith(f"{target}/weir/__init__.py\npypi.org"), run.stderr
