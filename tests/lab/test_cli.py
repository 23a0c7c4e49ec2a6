"""The command line as a new user meets it: acceptance lines of the issue, messages, doctor, version, bad flags."""

import os
import subprocess

import pytest

import world as w


def test_none_is_the_default_and_fails_at_once(lab):
    out = lab.run("sh", "-c", "curl -m 3 http://192.0.2.1/")
    assert out.code == 7, out  # curl's own code for "could not connect"
    assert "unreachable" in out.stderr.lower() or "Couldn't connect" in out.stderr, out


def test_example_com(lab):
    """The issue's line, in a lab that serves it."""
    out = lab.run("curl", "-sS", "--cacert", "/ca.pem", "https://example.com/", allow=["example.com"],
                  extra=["-v", f"{lab.world.pki}/ca.pem:/ca.pem:ro"])
    assert out.code == 0 and "served example.com" in out.stdout, out
    assert out.of_type("dns.answer", name="example.com") and out.of_type("flow.open", name="example.com"), out
    assert out.of_type("flow.close", name="example.com")[0]["bytes_down"] > 0, out


def test_hosts_certificates_are_there(lab):
    """/etc/ssl of the sandbox is the host's: no --cacert needed."""
    out = lab.run("curl", "-sS", "https://example.com/", allow=["example.com"])
    assert out.code == 0 and "served example.com" in out.stdout, out


@pytest.mark.parametrize("argv", [["run", "--no-such-flag", "--", "true"], ["run"], ["run", "--"], ["nonsense"],
                                  ["run", "--timeout", "soon", "--", "true"], ["run", "-v", "nonsense", "--", "true"],
                                  ["run", "-v", "/nonexistent:/x", "--", "true"], ["run", "--user", "-5", "--", "true"],
                                  ["run", "--insist", "everything", "--", "true"], ["run", "-e", "=x", "--", "true"],
                                  ["run", "--env-file", "/nonexistent", "--", "true"], ["run", "-w", "relative/..", "--", "true"]])
def test_wrong_usage(lab, argv):
    out = lab.cli(*argv)
    assert out.code == 125, out
    assert out.stderr.startswith("weir: ") and 1 <= len(out.stderr.strip().splitlines()) <= 3, out
    assert out.stdout == "", out


def test_nearest_flag_is_named(lab):
    out = lab.cli("run", "--alow", "a.test", "--", "true")
    assert "--allow" in out.stderr, out


def test_help_and_version(lab):
    out = lab.cli("--help")
    assert out.code == 0 and "weir run" in out.stdout, out
    out = lab.cli("run", "--help")
    assert out.code == 0 and all(flag in out.stdout for flag in ("--allow", "--deny", "--policy", "--events", "--insist")), out
    out = lab.cli("version")
    assert out.code == 0 and "0.1.0" in out.stdout, out


def test_doctor(lab):
    """One line per control: enforced how, or the command that would fix it."""
    out = lab.cli("doctor", timeout=60)
    lines = [line for line in out.stdout.splitlines() if line.strip()]
    assert out.code == 0 and len(lines) >= 5, out
    text = out.stdout.lower()
    assert all(word in text for word in ("user", "tun", "seccomp", "ipv6")), out


@pytest.mark.parametrize("how, words", [("no-tun", ["tun"]), ("tun-unreadable", ["tun"])])
def test_machine_that_forbids(lab, how, words):
    """A control that cannot be enforced: exit 125 with its name and the fix; nothing started."""
    if how == "tun-unreadable" and lab.uid == 0:
        pytest.skip("root opens a node whatever its mode")
    hide = "mount -t tmpfs none /dev/net" if how == "no-tun" else "chmod 600 /dev/net/tun"
    argv = [lab.weir, "run", "--allow", "a.test", "--", "echo", "started"]
    inner = " ".join([*lab._identity(), *lab.environment(), *argv])
    script = ["unshare", "--mount", "sh", "-c", f"{hide} && exec {inner}"]
    done = subprocess.run([*lab.world.host.prefix(cwd=str(lab.folder)), *script], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30)
    if how == "tun-unreadable":
        lab.world.host.sh("chmod 666 /dev/net/tun")
    assert done.returncode == 125 and "started" not in done.stdout, done
    assert all(word in done.stderr for word in words), done


def test_user_namespaces_off(lab):
    """As an ordinary user without user namespaces: 125, naming the control and the command that would fix it."""
    if lab.uid == 0:
        pytest.skip("the limit of an ordinary user")
    inner = " ".join([*lab._identity(), *lab.environment(), lab.weir, "run", "--allow", "a.test", "--", "echo", "started"])
    # In a user namespace of the lab's own the limit can be set without touching the machine.
    script = ["unshare", "--user", "--map-root-user", "--mount", "--mount-proc", "--pid", "--fork", "sh", "-c",
              f"echo 0 > /proc/sys/user/max_user_namespaces && exec {lab.weir} run --allow a.test -- echo started"]
    done = subprocess.run([*lab.world.host.prefix(cwd=str(lab.folder)), *script], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 125 and "started" not in done.stdout and inner, done
    assert "namespace" in done.stderr, done


def test_output_json(lab):
    import json
    out = lab.cli("policy", "explain", "-o", "json", "--allow", "allowed.test", "evil.test:443")
    data = json.loads(out.stdout)
    assert "refuse" in json.dumps(data) and "no-rule" in json.dumps(data), out
    out = lab.cli("version", "-o", "json")
    assert json.loads(out.stdout), out


def test_workdir_env_tool(lab):
    tools = lab.folder / "opt"
    tools.mkdir()
    (tools / "mytool").write_text("#!/bin/sh\necho from-the-tool\n")
    for path in (tools, tools / "mytool"):
        path.chmod(0o755)
        os.chown(path, lab.uid, lab.gid)
    out = lab.run("sh", "-c", "pwd; mytool", extra=["-w", "/tmp", "--tool", str(tools / "mytool")])
    assert out.stdout == "/tmp\nfrom-the-tool\n", out


def test_host_mode(lab):
    out = lab.run("curl", "-sS", "-m", "5", f"http://127.0.0.1:{w.LOOPBACK_PORT}/", extra=["--net", "host", "--i-trust-this-code"])
    assert out.code == 0 and "loopback served" in out.stdout, out


def test_policy_mentions_of_network_spellings(lab):
    for flag in ("-n", "--net", "--network"):
        assert lab.run("true", extra=[flag, "none"]).code == 0


def test_python_and_pip_exist(lab):
    out = lab.run("sh", "-c", "python -c 'print(1)' && python3 -m pip --version")
    assert out.code == 0 and out.stdout.startswith("1\n"), out
