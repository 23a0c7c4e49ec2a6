"""Terminals, through tmux: what a person sees and types, with -t and without. architecture.md section 6."""

import os
import shlex
import socket
import subprocess

import pytest

from lab import processes, wait_until

# Prints the size now and at every change.
SIZE = ("import os, signal; say = lambda *_: print('size', *os.get_terminal_size(0), flush=True); "
        "signal.signal(signal.SIGWINCH, say); say(); [signal.pause() for _ in iter(int, 1)]")


class Screen:
    """A shell of the identity under test on a terminal of its own."""

    def __init__(self, lab):
        self.lab, self.count = lab, 0
        self.socket = str(lab.folder / "tmux")
        shell = "exec env PS1='$ ' bash --norc --noprofile -i"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", shell)
        self.tmux("set-option", "-g", "remain-on-exit", "on")
        self.type(f"PATH={os.path.dirname(lab.weir)}:$PATH; set +o histexpand")
        self.sync()

    def tmux(self, *arguments):
        # tmux starts what it is given by the user's login shell, which for some is one that refuses.
        command = ["env", "SHELL=/bin/sh", "tmux", "-S", self.socket, *arguments]
        return subprocess.run(self.lab.command(command), check=True, timeout=20, stdout=subprocess.PIPE, text=True).stdout

    def text(self):
        return self.tmux("capture-pane", "-p", "-S", "-200", "-J")

    def type(self, line):
        self.keys(line, literal=True)
        self.keys("Enter")

    def keys(self, *keys, literal=False):
        self.tmux("send-keys", *(["-l"] if literal else []), "--", *keys)

    def wait(self, wanted, seconds=20):
        try:
            wait_until(lambda: wanted in self.text(), seconds, repr(wanted))
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{self.text()}") from None

    def sync(self):
        """Waits until the shell is back: a word that is typed in two parts comes out in one."""
        self.count += 1
        self.type(f"echo at-''{self.count}-shell")
        self.wait(f"at-{self.count}-shell")

    def back_from(self, last_word):
        """As sync(), after a command with a terminal of its own: what is typed before its end would be its input."""
        wait_until(lambda: last_word in (text := self.text()) and text.rstrip().endswith("\n$"), 20, "the prompt")
        self.sync()

    def answer(self, command):
        """The one line that a command of the caller's shell prints."""
        self.count += 1
        path = self.lab.folder / f"answer-{self.count}"
        self.type(f"{command} > {path}")
        self.sync()
        return path.read_text().strip()

    def weir_pid(self):
        """The supervisor: the child of the shell."""
        shell = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        found = [pid for pid, (parent, name) in processes().items() if parent == shell and name == "weir"]
        assert found, self.text()
        return found[0]

    def close(self):
        self.tmux("kill-server")


@pytest.fixture
def screen(lab):
    made = Screen(lab)
    try:
        yield made
    finally:
        made.close()


def run(*words):
    return "weir run -q --events none " + " ".join(words)


def sh(script):
    return "sh -c " + shlex.quote(script)


def test_size_and_resize(screen):
    screen.type(run("-t", "--", "python3", "-c", shlex.quote(SIZE)))
    screen.wait("size 80 24")
    screen.tmux("resize-window", "-x", "101", "-y", "31")
    screen.wait("size 101 31")
    screen.keys("C-c")
    screen.back_from("KeyboardInterrupt")


def test_job_control_of_a_shell_inside(screen):
    screen.type(run("-i", "-t", "-e", "PS1='in> '", "--", "bash", "--norc"))
    screen.wait("in> ")
    screen.type("sh -c 'echo in-the-''foreground; exec sleep 300'")
    screen.wait("in-the-foreground")
    screen.keys("C-z")
    screen.wait("Stopped")
    screen.type("jobs; echo seen-''jobs")
    screen.wait("seen-jobs")
    screen.type("fg")
    screen.wait("fg\nsh -c")
    screen.keys("C-c")
    screen.type("echo alive-''$((6 * 7))")
    screen.wait("alive-42")
    screen.type("exit 5")
    assert screen.answer("echo $?") == "5"


def test_interrupt_without_a_terminal_of_its_own(screen):
    screen.type(run("--", sh("echo up; exec sleep 300")))
    screen.wait("\nup")
    screen.keys("C-c")
    assert screen.answer("echo $?") == "130"


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def command_of(weir):
    """The process that init started: the sandbox's second."""
    table = processes()
    for pid, (parent, name) in table.items():
        if name in ("sleep", "python3") and table.get(parent, (0, ""))[0] == weir:
            return pid
    return None


@pytest.mark.parametrize("terminal", ["", "-t"])
def test_suspending_weir_itself(screen, terminal):
    """^Z without -t, and SIGTSTP with it: weir stops, the command with it, and both go on."""
    before = screen.answer("stty -g")
    screen.type(run(terminal, "--", sh("echo up; exec sleep 300")))
    screen.wait("\nup")
    weir = screen.weir_pid()
    wait_until(lambda: command_of(weir), what="the command")
    command = command_of(weir)
    if terminal:
        os.kill(weir, 20)
    else:
        screen.keys("C-z")
    screen.wait("Stopped")
    wait_until(lambda: state(weir) == "T" and state(command) == "T", what="the stop of both")
    assert screen.answer("stty -g") == before
    screen.type("fg")
    wait_until(lambda: state(weir) == "S" and state(command) == "S", what="the continuation of both")
    screen.keys("C-c")
    assert screen.answer("echo $?") == "130"
    assert screen.answer("stty -g") == before


ENDS = {
    "the command exits": (sh("exit 3"), "", None, "3"),
    "the command is killed": (sh("kill -9 $$"), "", None, "137"),
    "there is no such command": ("/nonexistent", "", None, "127"),
    "timeout": ("sleep 300", "--timeout 500ms", None, "124"),
    "a timeout that is ignored": (sh("trap : TERM; while :; do sleep 1; done"), "--timeout 300ms,300ms", None, "124"),
    "memory": ("python3 -c 'x = bytearray(400 << 20)'", "--memory 64M", None, "137"),
    "SIGTERM to weir": (sh("stty raw -echo; echo up; exec sleep 300"), "", 15, "143"),
    "SIGHUP to weir": (sh("echo up; exec sleep 300"), "", 1, "129"),
    "SIGKILL to weir": (sh("echo up; exec sleep 300"), "", 9, "137"),
}


@pytest.mark.parametrize("end", ENDS)
def test_modes_are_restored_on_every_end(screen, end):
    command, option, signal, code = ENDS[end]
    before = screen.answer("stty -g")
    # In one line: what is typed before the command has ended belongs to the command.
    screen.type(run("-t", option, "--", command) + "; echo code-''$?-end")
    if signal:
        screen.wait("\nup")
        os.kill(screen.weir_pid(), signal)
    screen.wait(f"code-{code}-end")
    # After SIGKILL a small process puts the modes back; the shell may be quicker.
    wait_until(lambda: screen.answer("stty -g") == before, what="the modes of before")


def test_full_screen_programs(screen):
    """What draws, scrolls and reads single keys: less and top."""
    screen.type(run("-t", "--", sh("seq 1 500 > /tmp/n; less /tmp/n; echo left")))
    screen.wait("\n23\n")
    screen.keys("G")
    screen.wait("\n500\n")
    screen.keys("q")
    screen.wait("left")
    screen.type(run("-t", "--", "top"))
    screen.wait("load average")
    screen.keys("q")
    screen.sync()


@pytest.mark.parametrize("reader", ["wc -c", "(sleep 2; wc -c)"], ids=["quick", "slow"])
def test_a_megabyte_arrives_whole(screen, reader):
    """The slow reader begins when the command has long ended."""
    screen.type(run("-t", "--", sh("head -c 1000000 /dev/zero | tr '\\000' x")) + f" | {reader}; echo count-''end")
    screen.wait("count-end", 60)
    assert "1000000\ncount-end" in screen.text()


@pytest.mark.parametrize("text", ["one\\ntwo\\n", "one\\ntwo", ""])
def test_input_that_is_no_terminal(screen, text):
    screen.type(f"printf '{text}' | " + run("-t", "--", sh("cat > /tmp/got; echo; wc -c /tmp/got; tty")))
    length = len(text.replace("\\n", "\n"))
    screen.wait(f"\n{length} /tmp/got\n/dev/pts/0")
    screen.sync()


def test_end_of_input_is_typed(screen):
    screen.type(run("-t", "--", "cat"))
    screen.type("hello")
    screen.wait("hello\nhello")
    screen.keys("C-d")
    assert screen.answer("echo $?") == "0"


def guest(program):
    return "python3 -c " + shlex.quote(program)


def test_the_command_cannot_stop_the_callers_terminal(screen):
    """Nobody could write to it then: neither weir, which would outstay --timeout, nor the shell after it."""
    stop = "import termios, time\ntry: termios.tcflow(1, termios.TCOOFF)\nexcept termios.error: print('refu' + 'sed')\ntime.sleep(99)"
    script = screen.lab.file("stop.py", stop)
    screen.type(run("-v", script + ":/stop.py", "--timeout", "2s", "--", "python3 /stop.py") + "; echo code-''$?-end")
    screen.wait("refused")
    screen.wait("code-124-end")


def test_a_terminal_that_a_person_stopped_does_not_hold_weir_up(screen):
    screen.type(run("--timeout", "2s", "--", sh("echo up; sleep 99")) + "; echo code-''$?-end")
    screen.wait("\nup")
    screen.keys("C-s")
    screen.wait("code-124-end")


FLAGS = "python3 -c 'import fcntl, os; print(fcntl.fcntl(2, fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_APPEND | os.O_ASYNC))'"


@pytest.mark.parametrize("signal, code", [(None, "3"), (9, "137")], ids=["exit", "SIGKILL to weir"])
def test_status_flags_are_restored(screen, signal, code):
    """The shell has the same open file: with O_NONBLOCK its next read, or another program's, would fail."""
    program = ("import fcntl, os, time; fcntl.fcntl(1, fcntl.F_SETFL, os.O_RDWR | os.O_NONBLOCK | os.O_APPEND); "
               "os.write(1, b'u' + b'p\\n'); " + ("time.sleep(99)" if signal else "os._exit(3)"))
    flags = screen.lab.folder / "flags"
    # In one line: bash itself puts O_NONBLOCK right before it reads the next.
    screen.type(run("--", guest(program)) + f"; code=$?; {FLAGS} > {flags}; echo code-$code-''end")
    screen.wait("\nup")
    if signal:
        os.kill(screen.weir_pid(), signal)
    screen.wait(f"code-{code}-end")
    # After SIGKILL a small process puts them back; the shell may be quicker.
    wait_until(lambda: (screen.answer(FLAGS) if signal else flags.read_text().strip()) == "0", what="the flags of before")


def test_an_output_that_is_a_socket_and_not_read_does_not_hold_weir_up(lab):
    """-t with a socket as output (inetd, some editors): the timeout holds though nobody reads."""
    ours, theirs = socket.socketpair()
    argv = lab.command([lab.weir, "run", "-q", "-t", "--events", "none", "-n", "none", "--timeout", "1s,1s", "--", "yes"])
    with ours, theirs:
        started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE)
        try:
            # The last output is offered for ten seconds.
            assert started.wait(25) == 124, started.stderr.read()
        finally:
            started.kill()
            started.communicate()
        assert ours.recv(2) == b"y\r"
