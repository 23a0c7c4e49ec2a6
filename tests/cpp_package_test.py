"""The C++ library as others use it: installed, found by find_package(weir), linked by the example with each compiler.

Run: python3 -m pytest tests/cpp_package_test.py (after ./dev build). What it does with real sandboxes: tests/lab.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
REFUSED = """#!/bin/sh
echo "$@" >&2
echo '{"error":{"code":"bad_policy","message":"no such mode","remedy":"another one"}}'
exit 125
"""


def run(*command, **options):
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, **options)


def good(*command, **options):
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix")
    good("cmake", "--install", ROOT / "build/release", "--prefix", folder, "--component", "library")
    return folder


@pytest.fixture(scope="module", params=["clang++-19", "g++"])
def example(request, prefix, tmp_path_factory):
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("example")
    good("cmake", "-S", ROOT / "examples/cpp", "-B", folder, "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={request.param}",
         f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror")
    good("cmake", "--build", folder)
    return folder / "untrusted"


def test_nothing_but_the_library_is_installed(prefix):
    files = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()}
    assert "lib/libweir.a" in files and "include/weir/weir.h" in files and "lib/cmake/weir/weirConfig.cmake" in files
    assert all(name.startswith(("include/weir/", "lib/libweir.a", "lib/cmake/weir/")) for name in files), files


def test_the_example_is_built(example):
    assert run(example).returncode == 2


def test_what_weir_refuses_is_said(example, tmp_path):
    weir = tmp_path / "weir.sh"
    weir.write_text(REFUSED)
    weir.chmod(0o755)
    done = run(example, tmp_path, "true", env={**os.environ, "WEIR_BIN": str(weir), "XDG_STATE_HOME": str(tmp_path)})
    assert done.returncode == 125 and done.stderr == "bad_policy: no such mode\n  another one\n", done


@pytest.mark.parametrize("header", sorted(path.name for path in (ROOT / "include/weir").glob("*.h")))
def test_each_header_stands_alone(prefix, header, tmp_path):
    source = tmp_path / "one.cc"
    source.write_text(f"#include <weir/{header}>\nint main() {{}}\n")
    good("clang++-19", "-std=c++23", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{prefix}/include", source)
