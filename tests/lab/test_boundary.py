"""The process boundary: what code inside the sandbox can see and touch. attacks.md J08, M*, N*; hostile guests."""

import os
import subprocess

import pytest

import world as w

PYTHON = "/usr/bin/python3"
CANARY_FILES = ["/usr/weir-lab-canary", "/usr/bin/weir-lab-canary", "/bin/weir-lab-canary", "/lib/weir-lab-canary"]


@pytest.fixture(autouse=True)
def contained(world, weir_binary, identity, tmp_path_factory):
    """Hostile guests run only where a harmless one has been shown to be in namespaces of its own: a broken barrier must
    fail these tests, not the machine they run on."""
    if not hasattr(world, "contained"):
        import lab as lab_module
        folder = world.folder / "contained"
        folder.mkdir()
        os.chown(folder, *identity)
        probe = lab_module.Lab(world, weir_binary, *identity, folder)
        kinds = ("user", "mnt", "pid", "net", "ipc", "uts")
        inside = probe.guest(f"result = [os.readlink('/proc/self/ns/' + k) for k in {kinds!r}]").result
        world.contained = not set(inside) & {os.readlink(f"/proc/{world.host.pid}/ns/{kind}") for kind in kinds}
    assert world.contained, "the sandbox shares a namespace with the host: hostile guests are not run"


def same_value(path):
    """What a sysctl holds now: writing it back is an attempt that does no harm where it succeeds."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return "0"


@pytest.mark.parametrize("family, kind, proto", [
    (17, 3, 3), (17, 2, 3), (40, 1, 0), (38, 5, 0), (16, 3, 12), (16, 3, 16), (16, 3, 15), (31, 5, 1), (29, 3, 1), (30, 1, 0),
    (21, 5, 0), (41, 2, 0), (44, 3, 0), (9, 5, 0), (4, 2, 0), (2, 3, 6), (2, 3, 255), (10, 3, 58)])
def test_socket_families(lab, family, kind, proto):
    """M04: UNIX, INET, INET6 and read-only NETLINK_ROUTE; raw and packet sockets never."""
    for mode in ("none", "allowlist"):
        out = lab.guest(f"result = open_socket({family}, {kind}, {proto})", mode=mode,
                        allow=["allowed.test"] if mode == "allowlist" else ())
        assert out.result in ("EAFNOSUPPORT", "EPERM", "EACCES", "EPROTONOSUPPORT"), out


def test_socket_families_that_work(lab):
    out = lab.guest("result = [open_socket(f, k) for f, k in ((1, 1), (2, 1), (2, 2), (10, 1), (10, 2), (16, 3))]",
                    allow=["allowed.test"])
    assert out.result == ["OK"] * 6, out


SYSCALLS = {"bpf": 321, "perf_event_open": 298, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
            "keyctl": 250, "add_key": 248, "request_key": 249, "userfaultfd": 323, "kexec_load": 246, "init_module": 175,
            "finit_module": 313, "mount": 165, "umount2": 166, "pivot_root": 155, "swapon": 167, "reboot": 169, "setns": 308,
            "unshare": 272, "ptrace": 101, "open_by_handle_at": 304, "move_mount": 429, "fsopen": 430,
            "open_tree": 428, "fsmount": 432, "mount_setattr": 442, "acct": 163, "quotactl": 179, "nfsservctl": 180,
            "lookup_dcookie": 212, "pidfd_getfd": 438, "settimeofday": 164, "clock_settime": 227, "syslog": 103, "iopl": 172}


@pytest.mark.parametrize("user", ["sandbox", "root"])
def test_system_calls(lab, user):
    """M05, M12, N05: refused with an errno, as an ordinary user inside and as root inside. Arguments are such that the
    call would get past its first check where it is allowed."""
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
result = {{}}
ARGS = {{'unshare': (0x10000000,), 'ptrace': (16, 1, 0, 0), 'setns': (0, 0), 
        'clock_settime': (0, 0), 'pidfd_getfd': (0, 0, 0), 'io_uring_setup': (1, 0), 'syslog': (3, 0, 0)}}
for name, number in {SYSCALLS!r}.items():
    ctypes.set_errno(0)
    value = libc.syscall(number, *ARGS.get(name, (0, 0, 0, 0, 0)))
    result[name] = 'OK' if value >= 0 else errno.errorcode.get(ctypes.get_errno())
"""
    out = lab.guest(code, allow=["allowed.test"], extra=["--user", user])
    good = {"EPERM", "ENOSYS", "EACCES", "ESRCH"}
    wrong = {name: value for name, value in out.result.items() if value not in good}
    assert not wrong, f"{wrong}: {out!r}"


@pytest.mark.parametrize("command", [["unshare", "-Ur", "true"], ["unshare", "-Urn", "true"], ["unshare", "-n", "true"],
                                     ["unshare", "-m", "true"], ["nsenter", "-t", "1", "-n", "true"]])
@pytest.mark.parametrize("user", ["sandbox", "root"])
def test_no_new_namespaces(lab, command, user):
    out = lab.run(*command, allow=["allowed.test"], extra=["--user", user])
    assert out.code != 0, out


def test_clone3_and_clone_with_user_namespace(lab):
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
value3 = libc.syscall(435, args, 88); e3 = ctypes.get_errno()
if value3 == 0: os._exit(0)
value = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0); e1 = ctypes.get_errno()
if value == 0: os._exit(0)
result = [errno.errorcode.get(e3) if value3 < 0 else 'OK', errno.errorcode.get(e1) if value < 0 else 'OK']
"""
    out = lab.guest(code)
    assert out.result[0] in ("ENOSYS", "EPERM") and out.result[1] == "EPERM", out


def test_foreign_abi(lab):
    """M06: x32 numbers and int 0x80 do not pass the list by."""
    code = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
value = libc.syscall(0x40000000 | 41, 17, 3, 3)     # x32 socket(AF_PACKET)
first = 'OK' if value >= 0 else errno.errorcode.get(ctypes.get_errno())
pid = os.fork()
if pid == 0:
    # mov eax, 359 (socket); mov ebx, 17; mov ecx, 3; mov edx, 3; int 0x80; ret
    text = bytes.fromhex('53b867010000bb11000000b903000000ba03000000cd805bc3')
    page = mmap.mmap(-1, 4096, prot=7); page.write(text)
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    os._exit(0 if call() < 0 else 99)
second = os.waitpid(pid, 0)[1]
result = [first, second]
"""
    out = lab.guest(code)
    assert out.result[0] in ("ENOSYS", "EPERM"), out
    assert out.result[1] >> 8 != 99, "a packet socket through int 0x80"


def test_terminal_injection(lab):
    """N04: TIOCSTI and TIOCLINUX, on whatever terminal there is."""
    code = """
import fcntl, pty
def refused(request, argument):
    try: fcntl.ioctl(slave, request, argument); return 'OK'
    except OSError as error: return name_of(error)
master, slave = pty.openpty()
result = [refused(0x5412, b'x'), refused(0x541C, b'\\x02'), refused(0x100005412 & 0xffffffff, b'x')]
"""
    out = lab.guest(code)
    assert set(out.result) <= {"EPERM", "EACCES"}, out


def test_environment_is_empty(lab):
    """The caller's environment does not come along; what is announced does."""
    out = lab.guest("result = dict(os.environ)")
    assert "CANARY_SECRET" not in out.result and out.result["WEIR"] == "1", out
    assert set(out.result) <= {"PATH", "HOME", "USER", "LANG", "TERM", "WEIR", "PWD", "LC_CTYPE", "SHLVL", "_", "LOGNAME"}, out
    out = lab.guest("result = [os.environ.get('CANARY_SECRET'), os.environ.get('A'), os.environ.get('FROM_FILE')]",
                    extra=["-e", "CANARY_SECRET", "-e", "A=b c", "--env-file", lab.file("env", "# note\nFROM_FILE=yes\n")])
    assert out.result == ["canary-in-the-callers-environment", "b c", "yes"], out


def test_no_descriptors_are_inherited(lab):
    path = lab.file("secret", "canary")
    argv, _ = lab._run_argv([PYTHON, "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"], None, ["allowed.test"],
                            (), None, (), True)
    with open(path) as held:
        done = subprocess.run(lab.command(argv), pass_fds=[held.fileno()], stdout=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL, timeout=30)
    # 0, 1, 2 and the one that lists the folder.
    assert done.stdout.strip() == "['0', '1', '2', '3']", done


def test_no_canary_in_proc(lab):
    """N02: no process of weir's that the guest can see holds the caller's environment or arguments."""
    code = """
found = []
for pid in filter(str.isdigit, os.listdir('/proc')):
    for name in ('environ', 'cmdline', 'maps', 'fd', 'root', 'cwd', 'exe', 'mem'):
        try:
            path = f'/proc/{pid}/{name}'
            if name in ('fd',): text = ' '.join(os.readlink(path + '/' + fd) for fd in os.listdir(path)).encode()
            elif name in ('root', 'cwd', 'exe'): text = os.readlink(path).encode()
            elif name == 'mem': continue
            else: text = open(path, 'rb').read()
            if b'canary' + b'-in' in text: found.append(path)
        except OSError: pass
result = [found, sorted(int(p) for p in os.listdir('/proc') if p.isdigit())]
"""
    out = lab.guest(code, allow=["allowed.test"])
    assert out.result[0] == [], out
    assert len(out.result[1]) <= 3, f"more processes than init and the command: {out.result[1]}"


MASKED = ["/proc/kcore", "/proc/keys", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/sched_debug", "/proc/kallsyms",
          "/proc/kmsg", "/proc/latency_stats", "/sys/kernel/debug", "/sys/fs/cgroup", "/sys/class/net", "/dev/mem", "/dev/kmsg",
          "/dev/net/tun", "/dev/fuse", "/dev/kvm", "/dev/vhost-vsock", "/dev/sda", "/dev/vda"]


@pytest.mark.parametrize("user", ["sandbox", "root"])
def test_host_data_in_proc_sys_dev(lab, user):
    attempts = {path: same_value(path) for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
                "/proc/sys/vm/swappiness", "/proc/sys/kernel/panic", "/proc/1/oom_score_adj")}
    attempts["/proc/sysrq-trigger"] = "h"  # prints a help text
    code = f"""
def read(path):
    try:
        if os.path.isdir(path): return 'entries' if os.listdir(path) else 'empty'
        with open(path, 'rb') as file: return 'data' if file.read(64) else 'empty'
    except OSError as error: return name_of(error)
def write(path, text):
    try:
        with open(path, 'w') as file: file.write(text)
        return 'written'
    except OSError as error: return name_of(error)
result = [{{p: read(p) for p in {MASKED!r}}},
          {{p: write(p, t) for p, t in {attempts!r}.items()}}]
"""
    out = lab.guest(code, allow=["allowed.test"], extra=["--user", user])
    reads, writes = out.result
    assert not {path: value for path, value in reads.items() if value in ("data", "entries")}, out
    assert not {path: value for path, value in writes.items() if value == "written"}, out


def test_file_system(lab):
    """The root is private and writable, the host's programs are read-only, /etc is synthesised, homes are not there."""
    secret = lab.file("secret.txt", "canary on the host")
    code = f"""
def write(path):
    try:
        with open(path, 'w') as file: file.write('x')
        return 'written'
    except OSError as error: return name_of(error)
result = {{'made': [write(p) for p in ('/weir-lab-canary', '/tmp/x', '/run/x', os.path.expanduser('~/x'))],
          'kept': [write(p) for p in {CANARY_FILES!r}],
          'secret': os.path.exists({secret!r}), 'home': os.path.expanduser('~'), 'etc': sorted(os.listdir('/etc')),
          'shadow': os.path.exists('/etc/shadow'), 'root': sorted(os.listdir('/')), 'hosthome': os.path.exists('/root/.bashrc')}}
"""
    out = lab.guest(code)
    assert out.result["made"] == ["written"] * 4, out
    assert set(out.result["kept"]) <= {"EROFS", "EACCES", "EPERM"}, out
    assert not out.result["secret"] and not out.result["shadow"] and not out.result["hosthome"], out
    assert out.result["home"] == "/home/sandbox" and "resolv.conf" in out.result["etc"], out
    written = [path for path in ["/weir-lab-canary", *CANARY_FILES] if os.path.exists(path)]
    for path in written:
        os.unlink(path)
    assert not written, "the host's root was written"


def test_who_am_i(lab):
    for user, uid in (("sandbox", 1000), ("root", 0), ("4321", 4321)):
        out = lab.guest("result = [os.getuid(), os.getgid(), open('/proc/self/status').read()]", extra=["--user", user])
        assert out.result[0] == uid, out
        status = dict(line.split(":\t", 1) for line in out.result[2].splitlines() if ":\t" in line)
        assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", out
        assert user == "root" or int(status["CapEff"], 16) == 0, status["CapEff"]
        reaching = (1 << 12) | (1 << 13) | (1 << 21) | (1 << 16) | (1 << 19) | (1 << 39) | (1 << 38) | (1 << 25)
        assert int(status["CapBnd"], 16) & reaching == 0, f"a capability that reaches outside: {status['CapBnd']}"


def test_root_inside_is_nobody_outside(lab):
    """A file made by root inside, on a shared folder, does not belong to root outside."""
    if lab.uid != 0:
        pytest.skip("root's own range: only where weir is run by root")
    folder = lab.folder / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    running = lab.start(guest="print('up', flush=True); input()", extra=["--user", "root"])
    try:
        assert running.line() == "up"
        owners = set()
        for pid in running.family():
            if pid == running.pid:
                continue
            try:
                exe = os.readlink(f"/proc/{pid}/exe")
                if "python" in exe:
                    owners.add(os.stat(f"/proc/{pid}").st_uid)
            except OSError:
                pass
        assert owners and 0 not in owners, owners
    finally:
        running.kill()


@pytest.mark.parametrize("form, written, kept", [("", True, True), (":ro", False, False), (":copy", True, False),
                                                 (":overlay", True, False)])
def test_shares(lab, form, written, kept):
    folder = lab.folder / "data"
    folder.mkdir()
    (folder / "in.txt").write_text("from the host")
    for path in (folder, folder / "in.txt"):
        os.chown(path, lab.uid, lab.gid)
    folder.chmod(0o777)
    code = """
text = open('/data/in.txt').read()
try:
    with open('/data/out.txt', 'w') as file: file.write('from inside')
    wrote = True
except OSError as error: wrote = False
result = [text, wrote]
"""
    out = lab.guest(code, extra=["-v", f"{folder}:/data{form}"])
    assert out.result == ["from the host", written], out
    assert (folder / "out.txt").exists() == kept


@pytest.mark.parametrize("source", ["/", "/run", "/tmp", "HOME", "SOCKET"])
def test_shares_that_would_carry_sockets(lab, source):
    """M01: refused in rw and ro form unless --share-sockets."""
    import socket
    held = None
    if source == "HOME":
        source = str(lab.folder)
    if source == "SOCKET":
        folder = lab.folder / "with-socket" / "deep"
        folder.mkdir(parents=True)
        held = socket.socket(socket.AF_UNIX)
        held.bind(str(folder / "daemon.sock"))
        source = str(lab.folder / "with-socket")
    for form in ("", ":ro"):
        out = lab.run("true", extra=["-v", f"{source}:/mnt{form}"])
        assert out.code == 125 and "socket" in out.stderr.lower(), out


def test_abstract_unix_sockets(lab):
    """M02: a listener on the host's abstract name is not there inside."""
    import socket
    held = lab.world.host.start([PYTHON, "-uc", "import socket, time\ns = socket.socket(socket.AF_UNIX)\n"
                                 "s.bind('\\0weir-lab-canary'); s.listen(); print('ready', flush=True); time.sleep(60)"])
    code = """
s = socket.socket(socket.AF_UNIX)
try: s.connect('\\0weir-lab-canary'); result = 'OK'
except OSError as error: result = name_of(error)
"""
    out = lab.guest(code, allow=["allowed.test"])
    held.kill()
    assert out.result == "ECONNREFUSED", out
    assert socket.AF_UNIX


def test_here(lab):
    project = lab.folder / "project"
    for path in (project, project / ".git", project / ".git/hooks"):
        path.mkdir()
        os.chown(path, lab.uid, lab.gid)
    (project / ".envrc").write_text("original")
    os.chown(project / ".envrc", lab.uid, lab.gid)
    code = """
def write(path):
    try:
        with open(path, 'w') as file: file.write('x')
        return 'written'
    except OSError as error: return name_of(error)
result = [os.getcwd(), write('new.txt'), write('.git/hooks/post-commit'), write('.envrc'), write('.git/config')]
"""
    program = lab.file("here.py", (open(os.path.join(os.path.dirname(__file__), "guest.py")).read() + code +
                                   "\nprint(json.dumps(result))\n"))
    argv = [lab.weir, "run", "--here", "--", PYTHON, "-c", open(program).read()]
    done = subprocess.run([*lab.world.host.prefix(cwd=str(project)), *lab._identity(), *lab.environment(), *argv],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done
    import json
    cwd, new, hook, envrc, config = json.loads(done.stdout)
    assert cwd == str(project) and new == "written" and (project / "new.txt").exists(), done
    assert hook != "written" and envrc != "written" and (project / ".envrc").read_text() == "original", done
    assert not (project / ".git/hooks/post-commit").exists() and not (project / ".git/config").exists(), config


def test_root_in_its_own_namespace_reaches_no_more(lab):
    """J08: root inside flushes whatever it can and routes as it likes; the target sees nothing."""
    code = f"""
import subprocess
tried = ['nft flush ruleset', 'ip rule flush', 'ip link set weir0 down; ip link set weir0 up',
         'ip route add default dev lo', 'ip link add veth0 type veth', 'ip tuntap add mode tun',
         'sysctl -w net.ipv4.ip_forward=1', 'ip link set weir0 netns 1']
done = [subprocess.run(t, shell=True, capture_output=True).returncode for t in tried]
result = [done, tcp({w.EVIL4!r}, 80, timeout=3)['connect'], tcp({w.METADATA4!r}, 80, timeout=3)['connect']]
"""
    out = lab.guest(code, allow=["allowed.test"], extra=["--user", "root"], timeout=60)
    assert "OK" not in out.result[1:], out
    assert lab.world.packets_to(w.EVIL4) == 0 and lab.world.packets_to(w.METADATA4) == 0


def test_core_dumps_are_off(lab):
    out = lab.guest("import resource\nresult = resource.getrlimit(resource.RLIMIT_CORE)")
    # A limit of one byte also keeps the kernel from piping a core to a handler of the host's.
    assert max(out.result) <= 1, out


@pytest.mark.parametrize("user", ["sandbox", "root"])
def test_init_cannot_be_touched(lab, user):
    """N05: process 1 is weir's: no attach, no memory, no descriptors, no signal that ends it."""
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    value = libc.syscall(*args)
    return 'OK' if value >= 0 else errno.errorcode.get(ctypes.get_errno())
def opened(path):
    try: os.close(os.open(path, os.O_RDONLY)); return 'OK'
    except OSError as error: return name_of(error)
buffer = ctypes.create_string_buffer(8)
class Iovec(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
local, remote = Iovec(ctypes.addressof(buffer), 8), Iovec(0x400000, 8)
handle = libc.syscall(434, 1, 0)
result = {'attach': call(101, 16, 1, 0, 0), 'seize': call(101, 0x4206, 1, 0, 0),
          'read': call(310, 1, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0),
          'write': call(311, 1, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0),
          'getfd': call(438, handle, 0, 0) if handle >= 0 else 'EPERM', 'mem': opened('/proc/1/mem'),
          'environ': opened('/proc/1/environ'), 'kcmp': call(312, os.getpid(), 1, 0, 0, 0)}
try: os.kill(1, 9)
except OSError: pass
time.sleep(0.1)
"""
    out = lab.guest(code, extra=["--user", user])
    assert "OK" not in out.result.values(), out


def test_hostname_and_ipc_are_private(lab):
    out = lab.guest("result = [os.uname().nodename, open('/proc/sysvipc/shm').read().count(chr(10))]")
    assert out.result[0] != os.uname().nodename, out


def test_pipes_stay_pipes(lab):
    out = lab.run("cat", input="through a pipe")
    assert out.code == 0 and out.stdout == "through a pipe", out
    out = lab.run("sh", "-c", "test -t 0 || test -t 1 || test -t 2 || echo none")
    assert out.stdout == "none\n", out


def test_terminal_of_its_own(lab):
    """-t: a terminal inside that is not the caller's."""
    import pty
    master, slave = pty.openpty()
    argv = lab.command([lab.weir, "run", "-i", "-t", "--", "sh", "-c", "test -t 0 && tty && stty size"])
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    name = os.ttyname(slave)
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    assert process.wait(timeout=20) == 0, text
    assert b"/dev/pts/" in text and name.encode() + b"\r" not in text or b"pts/0" in text, text
