"""Imported lists of names and compiled policies (docs/policy.md, "Lists" and "Compiled policies")."""

import os
import pathlib

import pytest

import world as w
from checks import TWINS, assert_allowed, assert_cut, assert_name_refused, assert_refused

NXDOMAIN, NOERROR = 3, 0

# Each denies evil.test, and below.evil.test where the format can say so.
LISTS = {
    "names": "# a list\nother.test\n.evil.test\n",
    "hosts": "# a list\n127.0.0.1 localhost\n0.0.0.0 other.test evil.test\n",
    "adguard": "! a list\n||other.test^\n||evil.test^\n",
    "rpz": "$TTL 60\n@ IN SOA a. b. (1 2 3 4 5)\n  NS localhost.\nother.test CNAME .\nevil.test CNAME .\n",
}
PUBLIC = 'version = 1\nmode = "public"\n'


VIA = pytest.mark.parametrize("via", ["dns", "connect"])


def ask(lab, verdict, via, lead="", **options):
    """A question for a name, or a connection that says it: what the list denies, or its twin."""
    name, dst = ("allowed.test", w.ALLOWED4) if verdict == "allow" else ("evil.test", w.EVIL4)
    code = f"dns({name!r})" if via == "dns" else f"http_get({dst!r}, 80, {name!r})"
    return lab.guest(f"{lead}\nresult = {code}", **options)


def assert_judged(lab, out, verdict, via, rule):
    """One record, and it names the rule."""
    if verdict == "allow":
        if via == "dns":
            assert out.result["addresses"] == [w.ALLOWED4], out
        else:
            assert_allowed(lab, out, out.result, w.ALLOWED4, 80)
        return
    if via == "dns":
        assert_name_refused(lab, out, out.result, "evil.test", [NXDOMAIN, NOERROR], ["denied-by-rule"])
        assert lab.world.packets_to(w.EVIL4) == 0, out
        events = out.of_type("dns.refuse", name="evil.test")
    else:
        assert_cut(lab, out, out.result, w.EVIL4, 80, ["denied-by-rule"])
        events = out.refusals(dst=w.EVIL4)
    assert [event["rule"]["text"] for event in events] == [rule], out


@TWINS
@VIA
@pytest.mark.parametrize("spelled", ["seen", "said"])
@pytest.mark.parametrize("form", LISTS)
def test_listed_name(lab, verdict, via, form, spelled):
    path = lab.file("list.txt", LISTS[form])
    written = path if spelled == "seen" else f"{form}:{path}"
    out = ask(lab, verdict, via, mode="public", extra=["--deny-list", written])
    assert_judged(lab, out, verdict, via, f"list {path}")


@TWINS
@VIA
def test_list_beats_allow(lab, verdict, via):
    """A list is part of `deny`, which is asked before `allow`. No name leads to the address then: not even a SYN leaves."""
    path = lab.file("list.txt", LISTS["names"])
    lead = "dns('allowed.test')"  # an allowlist opens an address only once a name has led there
    out = ask(lab, verdict, via, lead, allow=["allowed.test", "evil.test"], extra=["--deny-list", path])
    if verdict == "refuse" and via == "connect":
        assert_refused(lab, out, out.result, w.EVIL4, 80, ["no-rule"])
        return
    assert_judged(lab, out, verdict, via, f"list {path}")


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
@VIA
@pytest.mark.parametrize("flags", [[], ["--deny", "shared.test"]])
def test_compiled(lab, verdict, via, flags):
    """As the file that it was made of, with flags on top too."""
    image, path = compiled(lab)
    out = ask(lab, verdict, via, extra=["--policy", image, *flags])
    assert_judged(lab, out, verdict, via, f"list {path}")


@pytest.fixture
def floor(lab):
    """A floor of the machine, seen by the lab's host alone."""
    # All of /etc is the lab's own meanwhile: a folder of the machine would be shared with labs beside this one.
    upper = lab.folder / "etc"
    lab.world.host.sh(f"mkdir {upper}; mount -t tmpfs -o mode=755 etc {upper}; mkdir -p {upper}/upper/weir {upper}/work\n"
                      f"printf 'version = 1\\ndeny = [\"evil.test\"]\\n' > {upper}/upper/weir/floor.toml\n"
                      f"mount -t overlay -o lowerdir=/etc,upperdir={upper}/upper,workdir={upper}/work etc /etc\n"
                      f"mount --bind {lab.world.folder}/resolv.conf $(realpath /etc/resolv.conf)")
    yield
    lab.world.host.sh(f"umount -R /etc; umount {upper}")


@TWINS
@VIA
@pytest.mark.parametrize("how", ["file", "image", "image and flags"])
def test_floor_around(lab, floor, verdict, via, how):
    """The operator's denial holds around an image as around a file."""
    path = lab.file("list.txt", "other.test\n")
    source = lab.file("p.toml", PUBLIC + f'deny_lists = ["{path}"]\n')
    if how != "file":
        made = lab.cli("policy", "compile", "--policy", source, "-o", f"{source}.image")
        assert made.code == 0, made
        source = f"{source}.image"
    extra = ["--policy", source, *(["--deny", "shared.test"] if how == "image and flags" else [])]
    out = ask(lab, verdict, via, extra=extra)
    assert_judged(lab, out, verdict, via, "evil.test")


@pytest.mark.elsewhere
@pytest.mark.parametrize("damage, word", [("flip", "checksum"), ("cut", "cut off"), ("short", "short"),
                                          ("version", "another version"), ("longer", "cut off")])
def test_damaged_image_starts_nothing(lab, damage, word):
    image, _ = compiled(lab)
    good = pathlib.Path(image).read_bytes()
    bad = {"flip": good.replace(b"list /", b"lisT /"), "cut": good[:-1], "short": good[:20],
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
