"""weir doctor: on a whole machine everything needed is ok; where one thing is taken away, exactly that is named, with the
command that brings it back."""

import json
import pathlib
import platform
import subprocess

import pytest

import world as w

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs/doctor.schema.json").read_text())


class Report:
    def __init__(self, done):
        self.code, self.stderr = done.returncode, done.stderr
        self.data = json.loads(done.stdout)
        self.controls = {control["control"]: control for control in self.data["controls"]}

    def named(self, state):
        return {name for name, control in self.controls.items() if control["state"] == state}


def doctor(lab, before=(), wrap=()):
    """weir doctor --json after shell commands in a mount namespace of its own; `wrap` stands before the command."""
    argv = [*lab._identity(), *lab.environment(), *wrap, lab.weir, "doctor", "--json"]
    script = ["unshare", "--mount", "sh", "-c", "\n".join(["set -e", *before, 'exec "$@"']), "sh", *argv]
    done = subprocess.run([*lab.world.host.prefix(cwd=str(lab.folder)), *script], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout, done
    report = Report(done)
    validate(report.data)
    assert report.code == (0 if report.data["ok"] else 1), done
    return report


def validate(data):
    import jsonschema
    wrong = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(data)]
    assert not wrong, wrong[:3]


def test_schema_is_a_schema():
    import jsonschema
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    control = {"control": "x", "group": "machine", "needed_for": "gateway", "state": "ok", "ok": True, "detail": "d", "fix": ""}
    validate({"v": 1, "ok": True, "controls": [control], "settings": {}})
    for wrong in ({"state": "missing"}, {"fix": "sudo x"}, {"ok": False}, {"needed_for": "fun"}, {"surprise": 1}):
        with pytest.raises(AssertionError):
            validate({"v": 1, "ok": True, "controls": [{**control, **wrong}], "settings": {}})


def test_whole_machine(lab):
    """The twin of every row below."""
    report = doctor(lab)
    assert report.code == 0 and report.named("missing") == set() and report.named("untried") == set(), report.data
    assert {"user namespace", "ids", "guest seccomp", "gateway seccomp", "capture IPv4", "capture IPv6", "truthful refusal",
            "paths without links", "default record"} <= report.named("ok"), report.data
    assert report.stderr == ""


def test_both_spellings_of_json(lab):
    one, other = lab.cli("doctor", "--json"), lab.cli("doctor", "-o", "json")
    names = [[control["control"] for control in json.loads(out.stdout)["controls"]] for out in (one, other)]
    assert names[0] == names[1] and one.code == other.code == 0
    out = lab.cli("doctor", "-o", "text", "--json")
    assert out.code == 125 and "two formats" in out.stderr, out


def test_text_and_json_say_the_same(lab):
    report, text = doctor(lab), lab.cli("doctor").stdout.splitlines()
    for line, control in zip(text, report.data["controls"]):
        assert line[9:].startswith(control["control"]), (line, control)
        assert (line.startswith("ok ")) == control["ok"], (line, control)
    assert sum(line.startswith("setting ") for line in text) == len(report.data["settings"])


CAPTURE = {"capture IPv4", "capture IPv6", "truthful refusal"}


def test_no_tun(lab):
    report = doctor(lab, ["mount -t tmpfs none /dev/net"])
    assert report.code == 1 and report.named("missing") == {"TUN device"} | CAPTURE, report.data
    for name in report.named("missing"):
        assert "/dev/net/tun" in report.controls[name]["detail"], report.controls[name]
        assert report.controls[name]["fix"] == "sudo modprobe tun", report.controls[name]


def test_tun_for_root_only(lab):
    # A node of its own: the lab's is for everybody.
    hide = ["mount -t tmpfs -o mode=755 none /dev/net", "mknod -m 600 /dev/net/tun c 10 200"]
    report = doctor(lab, hide)
    everybody = report.controls["TUN for everybody"]
    assert everybody["state"] == "limited" and everybody["fix"] == "sudo chmod 0666 /dev/net/tun", everybody
    assert report.code == (0 if lab.uid == 0 else 1), report.data
    assert report.named("missing") == (set() if lab.uid == 0 else {"TUN device"} | CAPTURE), report.data
    for name in report.named("missing"):
        assert "chmod 0666 /dev/net/tun" in report.controls[name]["fix"], report.controls[name]


def test_no_user_namespaces(lab):
    """In a user namespace of its own the limit can be set without touching the machine."""
    off = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
           'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    report = doctor(lab, wrap=off)
    first = report.controls["user namespace"]
    assert report.code == 1 and first["state"] == "missing", first
    assert "max_user_namespaces is 0" in first["detail"], first
    assert first["fix"] == "sudo sysctl -w user.max_user_namespaces=65536", first
    # The rest is not guessed at.
    assert "mount namespace" in report.named("untried") and "paths without links" in report.named("ok"), report.data


def test_no_net_namespaces(lab):
    off = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
           'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"', "sh"]
    report = doctor(lab, wrap=off)
    assert report.named("missing") == {"network namespace", "TUN device"} | CAPTURE, report.data
    assert report.controls["network namespace"]["fix"] == "sudo sysctl -w user.max_net_namespaces=65536", report.data


# What a kernel without the call answers, or a container that forbids it.
CALLS = [
    ("memfd_create", "ENOSYS", {"sealed memory"}),
    ("openat2", "ENOSYS", {"paths without links"}),
    ("clone3", "ENOSYS", {"process handles"}),
    ("pidfd_send_signal", "EPERM", {"process handles"}),
    ("capset", "EPERM", {"guest seccomp", "capabilities", "no_new_privs", "gateway seccomp"}),
    ("seccomp", "EINVAL", {"guest seccomp", "capabilities", "no_new_privs", "gateway seccomp"}),
    ("pivot_root", "EINVAL", {"private root"}),
]


@pytest.mark.parametrize("call, answer, missing", CALLS)
def test_call_that_the_kernel_has_not_got(lab, call, answer, missing):
    report = doctor(lab, wrap=["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={answer}"])
    # The report itself says what is tried with it; a tracer takes a little more away than the one call.
    assert report.code == 1 and report.named("missing") == missing, report.data


# socket(AF_NETLINK, ..., NETLINK_NETFILTER) as a kernel without nf_tables answers it.
NO_NETFILTER = """
import ctypes, os, struct, sys
number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
code = [(0x20, 0, 0, 0), (0x15, 0, 5, number), (0x20, 0, 0, 16), (0x15, 0, 3, 16), (0x20, 0, 0, 32), (0x15, 0, 1, 12),
        (0x06, 0, 0, 0x50000 | 93), (0x06, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(filter)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_no_netfilter(lab):
    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the number of socket() is known for two machines")
    report = doctor(lab, wrap=["/usr/bin/python3", "-c", NO_NETFILTER])
    assert report.named("missing") == CAPTURE, report.data
    for name in CAPTURE:
        assert report.controls[name]["fix"] == "sudo modprobe -a nf_tables nft_tproxy nft_reject_inet", report.controls[name]


def test_no_place_for_records(lab):
    report = doctor(lab, wrap=["env", "XDG_STATE_HOME=/proc/weir-lab"])
    record = report.controls["default record"]
    assert report.code == 0 and record["state"] == "limited" and "--events FILE" in record["fix"], record


@pytest.mark.parametrize("table, fix", [("", "usermod --add-subuids"), ("{}:3000000000:65536\n", "")], ids=["none", "given"])
def test_owners_in_images(lab, table, fix):
    """Root has ids to give; anybody else has those of the tables, or is told how to get some."""
    given = lab.file("subids", table.format(lab.uid))
    report = doctor(lab, [f"mount --bind {given} /etc/subuid", f"mount --bind {given} /etc/subgid"])
    owners = report.controls["owners in images"]
    assert report.code == 0 and report.controls["images as root"]["state"] == "ok", report.data
    if lab.uid == 0 or not fix:
        assert owners["state"] == "ok" and "65536 ids from " in owners["detail"], owners
    else:
        assert owners["state"] == "limited" and fix in owners["fix"], owners


def test_few_pipes(lab):
    if lab.uid == 0:
        pytest.skip("the limit of an ordinary user")
    # Pages in pipes are counted per user: another process of the same one takes them all.
    hog = ("import fcntl, os, sys, subprocess\n"
           "held = []\n"
           "try:\n"
           "    while True:\n"
           "        held.append(os.pipe()); fcntl.fcntl(held[-1][1], 1031, 1 << 20)\n"
           "except OSError: pass\n"
           "if len(held[-1:]) : [os.close(end) for end in held.pop()]\n"
           "sys.exit(subprocess.run(sys.argv[1:]).returncode)\n")
    report = doctor(lab, wrap=["/usr/bin/python3", "-c", hog])
    pipes = report.controls["relay pipes"]
    assert report.code == 0 and pipes["state"] == "limited", pipes
    assert pipes["fix"] == "sudo sysctl -w fs.pipe-user-pages-soft=65536", pipes


def test_a_network_of_the_host_among_the_addresses_of_sandboxes(lab):
    assert doctor(lab).controls["address range"]["ok"]
    lab.world.host.sh(f"ip route add 10.254.7.0/24 via {w.INET_UP4}")
    try:
        probe = doctor(lab).controls["address range"]
        assert not probe["ok"] and probe["fix"] == "weir run --subnet 10.255.0.0/16", probe
    finally:
        lab.world.host.sh("ip route del 10.254.7.0/24")
