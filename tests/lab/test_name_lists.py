"""Imported lists of names and compiled policies (docs/policy.md, "Lists" and "Compiled policies")."""

import os
import pathlib

import pytest

import world as w
from checks import TWINS, assert_allowed, assert_cut, assert_name_refused

NXDOMAIN, NOERROR = 3, 0

# Each denies evil.test, and below.evil.test where the format can say so.
LISTS = {
    "names": "# a list\nother.test\n.evil.test\n",
    "hosts": "# a list\n127.0.0.1 localhost\n0.0.0.0 other.test evil.test\n",
    "adguard": "! a list\n||other.test^\n||evil.test^\n",
    "rpz": "$TTL 60\n@ IN SOA a. b. (1 2 3 4 5)\n  NS localhost.\nother.test CNAME .\nevil.test CNAME .\n",
}
PUBLIC = 'version = 1\nmode = "public"\n'


def look(name, dst):
    return f"result = [dns({name!r}), http_get({dst!r}, 80, {name!r})]"


def ask(lab, verdict, **options):
    """One name and one connection that says it: what the list denies, or its twin."""
    name, dst = ("allowed.test", w.ALLOWED4) if verdict == "allow" else ("evil.test", w.EVIL4)
    return lab.guest(look(name, dst), **options)


def assert_by_list(lab, out, verdict, path):
    answer, seen = out.result
    if verdict == "allow":
        assert answer["addresses"] == [w.ALLOWED4], out
        assert_allowed(lab, out, seen, w.ALLOWED4, 80)
        return
    assert_name_refused(lab, out, answer, "evil.test", [NXDOMAIN, NOERROR], ["denied-by-rule"])
    assert_cut(lab, out, seen, w.EVIL4, 80, ["denied-by-rule"])
    for event in [*out.of_type("dns.refuse", name="evil.test"), *out.refusals(dst=w.EVIL4)]:
        assert event["rule"]["text"] == f"list {path}", out


@TWINS
@pytest.mark.parametrize("spelled", ["seen", "said"])
@pytest.mark.parametrize("form", LISTS)
def test_listed_name(lab, verdict, form, spelled):
    path = lab.file("list.txt", LISTS[form])
    written = path if spelled == "seen" else f"{form}:{path}"
    out = ask(lab, verdict, mode="public", extra=["--deny-list", written])
    assert_by_list(lab, out, verdict, path)


@TWINS
def test_list_beats_allow(lab, verdict):
    """The list is part of `deny`, which is asked before `allow`: nothing leaves, not even a SYN."""
    path = lab.file("list.txt", LISTS["names"])
    out = ask(lab, verdict, allow=["allowed.test", "evil.test"], extra=["--deny-list", path])
    answer, seen = out.result
    if verdict == "allow":
        assert_allowed(lab, out, seen, w.ALLOWED4, 80)
        return
    assert_name_refused(lab, out, answer, "evil.test", [NXDOMAIN, NOERROR], ["denied-by-rule"])
    assert out.of_type("dns.refuse", name="evil.test")[0]["rule"]["text"] == f"list {path}", out
    assert seen["connect"] == "ECONNREFUSED" and lab.world.packets_to(w.EVIL4) == 0, out
    assert len(out.refusals(dst=w.EVIL4)) == 1, out


def test_invalid_lines(lab):
    path = lab.file("list.txt", "evil.test\n@@||a.test^\ntwo words\n")
    out = lab.run("echo", "started", mode="public", extra=["--deny-list", path])
    assert out.code == 125 and "started" not in out.stdout, out
    assert "2 of 3 lines" in out.stderr and "line 2" in out.stderr and "--skip-invalid" in out.stderr, out
    out = lab.run("echo", "started", mode="public", extra=["--deny-list", path, "--skip-invalid"])
    assert out.code == 0 and "started" in out.stdout and "2 of 3 lines" in out.stderr, out


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_list_that_names_nothing(lab, text):
    """A download that failed must not mean that nothing is denied."""
    out = lab.run("echo", "started", mode="public", extra=["--deny-list", lab.file("list.txt", text)])
    assert out.code == 125 and "started" not in out.stdout and "names nothing" in out.stderr, out


def compiled(lab, policy=PUBLIC):
    """A policy with a list, as an image. -> (path of the image, path of the list)"""
    path = lab.file("list.txt", LISTS["adguard"])
    source = lab.file("p.toml", policy + f'deny_lists = ["{path}"]\n')
    image = f"{source}.image"
    out = lab.cli("policy", "compile", "--policy", source, "-o", image)
    assert out.code == 0 and os.path.exists(image), out
    return image, path


@TWINS
@pytest.mark.parametrize("flags", [[], ["--deny", "shared.test"]])
def test_compiled(lab, verdict, flags):
    """As the file that it was made of, with flags on top too."""
    image, path = compiled(lab)
    out = ask(lab, verdict, extra=["--policy", image, *flags])
    assert_by_list(lab, out, verdict, path)


@pytest.fixture
def floor(lab):
    """A floor of the machine, seen by the lab's host alone."""
    folder = pathlib.Path("/etc/weir")
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    lab.world.host.sh("mount -t tmpfs -o mode=755 floor /etc/weir\n"
                      "printf 'version = 1\\ndeny = [\"evil.test\"]\\n' > /etc/weir/floor.toml")
    yield
    lab.world.host.sh("umount /etc/weir")
    if made:
        folder.rmdir()


@TWINS
@pytest.mark.parametrize("how", ["file", "image", "image and flags"])
def test_floor_around(lab, floor, verdict, how):
    """The operator's denial holds around an image as around a file."""
    path = lab.file("list.txt", "other.test\n")
    source = lab.file("p.toml", PUBLIC + f'deny_lists = ["{path}"]\n')
    if how != "file":
        made = lab.cli("policy", "compile", "--policy", source, "-o", f"{source}.image")
        assert made.code == 0, made
        source = f"{source}.image"
    extra = ["--policy", source, *(["--deny", "shared.test"] if how == "image and flags" else [])]
    out = ask(lab, verdict, extra=extra)
    assert_by_list_or_floor(lab, out, verdict)


def assert_by_list_or_floor(lab, out, verdict):
    answer, seen = out.result
    if verdict == "allow":
        assert_allowed(lab, out, seen, w.ALLOWED4, 80)
        return
    assert_name_refused(lab, out, answer, "evil.test", [NXDOMAIN, NOERROR], ["denied-by-rule"])
    assert_cut(lab, out, seen, w.EVIL4, 80, ["denied-by-rule"])
    assert all(event["rule"]["text"] == "evil.test" for event in out.refusals(dst=w.EVIL4)), out


@pytest.mark.elsewhere
@pytest.mark.parametrize("damage, word", [("flip", "checksum"), ("cut", "cut off"), ("short", "short"),
                                          ("version", "another version"), ("longer", "cut off")])
def test_damaged_image_starts_nothing(lab, damage, word):
    image, _ = compiled(lab)
    good = pathlib.Path(image).read_bytes()
    bad = {"flip": good[:-20] + bytes([good[-20] ^ 1]) + good[-19:], "cut": good[:-1], "short": good[:20],
           "version": good[:7] + b"0" + good[8:], "longer": good + b"\0"}[damage]
    path = pathlib.Path(f"{image}.bad")
    path.write_bytes(bad)
    path.chmod(0o644)
    assert lab.run("echo", "started", extra=["--policy", image]).code == 0
    out = lab.run("echo", "started", extra=["--policy", str(path)])
    assert out.code == 125 and "started" not in out.stdout, out
    assert word in out.stderr and path.name in out.stderr, out
    assert len(out.stderr.strip().splitlines()) <= 3, out


@pytest.mark.parametrize("mode", ["none", "inbound"])
def test_modes_without_a_way_out(lab, mode):
    """A list denies nothing there that could be reached; it does no harm, written or compiled."""
    path = lab.file("list.txt", LISTS["names"])
    code = f"result = [tcp({w.ALLOWED4!r}, 80)['connect'], tcp({w.EVIL4!r}, 80)['connect']]"
    out = lab.guest(code, mode=mode, extra=["--deny-list", path])
    assert "OK" not in out.result and not lab.world.packets.everything(), out
    image, _ = compiled(lab, f'version = 1\nmode = "{mode}"\n')
    out = lab.guest(code, extra=["--policy", image])
    assert "OK" not in out.result and not lab.world.packets.everything(), out
