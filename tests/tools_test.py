"""The tools that judge others: the demo's own reading of a policy, and the counting of reports."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

import expect  # noqa: E402


def policy(tmp_path, allow, more=""):
    path = tmp_path / "p.toml"
    path.write_text(f'version = 1\nmode = "allowlist"\nallow = {allow}\n{more}')
    return expect.Policy(path)


@pytest.mark.parametrize("allow, name, port, answer", [
    ('["a.test"]', "a.test", 80, True), ('["a.test"]', "b.a.test", 80, False), ('["*.a.test"]', "b.a.test", 80, True),
    ('["*.a.test"]', "a.test", 80, False), ('[".a.test"]', "a.test", 80, True), ('["a.test:443"]', "a.test", 80, False),
    ("[]", "a.test", 80, False), ('["udp://a.test:80"]', "a.test", 80, False)])
def test_names(tmp_path, allow, name, port, answer):
    assert policy(tmp_path, allow).allows_name(name, "tcp", port) == answer


@pytest.mark.parametrize("allow, address, answer", [
    ('["93.184.216.0/24"]', "93.184.216.9", True), ('["93.184.216.9:81"]', "93.184.216.9", False),
    ('["[2606::1]:80"]', "2606::1", True), ('["a.test"]', "93.184.216.9", False)])
def test_addresses(tmp_path, allow, address, answer):
    assert policy(tmp_path, allow).allows_address(address, "tcp", 80) == answer


@pytest.mark.parametrize("more", ['deny = ["x.test"]\n', '[dns]\ntypes = ["TXT"]\n'])
def test_what_it_does_not_understand_it_says(tmp_path, more):
    with pytest.raises(expect.NotUnderstood):
        policy(tmp_path, '["a.test"]', more)


REPORT = """<testsuites><testsuite><testcase classname="c" name="good"/><testcase classname="c" name="bad"><failure message="x"/>
</testcase><testcase classname="c" name="left"><skipped message="why not"/></testcase></testsuite></testsuites>"""


def summary(*args):
    return subprocess.run([sys.executable, str(ROOT / "tests/summary.py"), *map(str, args)], stdout=subprocess.PIPE, text=True)


def test_summary(tmp_path):
    report = tmp_path / "r.xml"
    report.write_text(REPORT)
    assert summary("counts", report).stdout == "1 1 1\n"
    assert "c::left: why not" in summary("skips", tmp_path).stdout
    assert summary("red", report, 50).returncode == 0 and summary("red", report, 95).returncode == 1
    assert "still green: c::good" in summary("red", report, 50).stdout
    assert summary("counts", tmp_path / "missing.xml").returncode != 0
    report.write_text("<broken")
    assert summary("counts", report).returncode != 0
