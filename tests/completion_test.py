"""Completion in real shells, the manual page in real formatters, with build/release/weir. Needs no root.

Run: python3 -m pytest tests/completion_test.py
"""

import os
import pathlib
import pty
import re
import select
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
WEIR = ROOT / "build/release/weir"
PAGE = ROOT / "docs/reference/weir.1"
PATIENCE = 20  # seconds; only a broken shell takes longer than a fraction of one


def weir(*argv):
    return subprocess.run([WEIR, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)


@pytest.fixture
def folder(tmp_path):
    """Where the shells run: a few files to be found, and the three scripts."""
    (tmp_path / "agents.toml").write_text("")
    (tmp_path / "agents.txt").write_text("")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/lonely-command").write_text("#!/bin/sh\n")
    (tmp_path / "bin/lonely-command").chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        done = weir("completion", shell)
        assert done.returncode == 0 and done.stdout.startswith("#"), done
        (tmp_path / f"weir.{shell}").write_text(done.stdout)
    return tmp_path


def environment(folder):
    return {"PATH": f"{folder}/bin:{WEIR.parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb", "LANG": "C.UTF-8",
            "PS1": "> "}


class Terminal:
    """An interactive shell: what is typed is completed by the shell itself, and Ctrl-X L shows the line."""

    def __init__(self, folder, argv, setup):
        self.seen = ""
        (folder / "setup").write_text(setup + "\necho now-ready\n")  # not typed: it would be echoed
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(argv[0], argv, environment(folder))
        self.send(". ./setup\n")
        self.until(r"now-ready\r?\n")

    def send(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.seen)):
            readable, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"{pattern!r} does not come; seen: {self.seen[-2000:]!r}"
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[match.end():]
        return match

    def line_after(self, typed):
        """What the command line is after Tab; it is cleared afterwards."""
        self.send(typed + "\t\x18l")
        # Between the marks stands what the editor holds; the terminal may wrap nothing of it (TERM is dumb).
        line = self.until(r"LINE<([^>]*)>").group(1)
        self.send("\x15")
        return line

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


@pytest.fixture
def bash(folder):
    shown = """bind -x '"\\C-xl": printf "LINE<%s>" "$READLINE_LINE"'"""
    made = Terminal(folder, ["/bin/bash", "--norc", "--noprofile", "-i"], f"{shown}; . ./weir.bash")
    yield made
    made.close()


@pytest.fixture
def zsh(folder):
    setup = ("autoload -Uz compinit; compinit -u -D; . ./weir.zsh; unsetopt beep; show() { print -rn -- \"LINE<$BUFFER>\" }; "
             "zle -N show; bindkey '^Xl' show; bindkey '^U' kill-whole-line")
    made = Terminal(folder, ["/usr/bin/zsh", "-f", "-i"], setup)
    yield made
    made.close()


@pytest.fixture
def zsh_installed(folder):
    """As ./dev install puts it: found by its name, loaded when it is first needed."""
    (folder / "functions").mkdir()
    (folder / "weir.zsh").rename(folder / "functions/_weir")
    setup = ("fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D; unsetopt beep; "
             "show() { print -rn -- \"LINE<$BUFFER>\" }; zle -N show; bindkey '^Xl' show; bindkey '^U' kill-whole-line")
    made = Terminal(folder, ["/usr/bin/zsh", "-f", "-i"], setup)
    yield made
    made.close()


# What is typed, and the line after Tab. Only one candidate each, so that every shell completes it at once.
ROWS = [
    ("weir doc", "weir doctor "),
    ("weir policy expl", "weir policy explain "),
    ("weir run --dry", "weir run --dry-run "),
    ("weir run --net semi", "weir run --net semitrusted "),
    ("weir run -n semi", "weir run -n semitrusted "),
    ("weir run --net=semi", "weir run --net=semitrusted "),
    ("weir run --here=over", "weir run --here=overlay "),
    ("weir run --allow @pyp", "weir run --allow @pypi "),
    ("weir run --allow example.com,@pyp", "weir run --allow example.com,@pypi "),
    ("weir doctor -o js", "weir doctor -o json "),
    ("weir run --policy agents.to", "weir run --policy agents.toml "),
    ("weir run --policy=agents.to", "weir run --policy=agents.toml "),
    ("weir policy sets pyp", "weir policy sets pypi "),
    ("weir help policy expl", "weir help policy explain "),
    ("weir completion fi", "weir completion fish "),
    # The command inside: the shell's own completion, of commands and of their files.
    ("weir run -- lonely-c", "weir run -- lonely-command "),
    ("weir run --allow a.test -it -- cat agents.to", "weir run --allow a.test -it -- cat agents.toml "),
    ("weir run cat agents.to", "weir run cat agents.toml "),
    # No option of weir after its command's first word.
    ("weir run cat --dry", "weir run cat --dry"),
    ("weir version --dry", "weir version --dry"),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "zsh_installed"])
def test_typed_and_completed(shell, request):
    terminal = request.getfixturevalue(shell)
    got = [(typed, terminal.line_after(typed)) for typed, _ in ROWS]
    assert got == ROWS


def fish_offers(folder, line):
    done = subprocess.run(["/usr/bin/fish", "--no-config", "-c", "source weir.fish; complete -C $argv[1]", line], cwd=folder,
                          env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and done.stderr == "", done
    return [offer.split("\t")[0] for offer in done.stdout.splitlines()]


@pytest.mark.parametrize("typed, completed", ROWS)
def test_fish(folder, typed, completed):
    last = completed.rstrip().rsplit(" ", 1)[1]
    offers = fish_offers(folder, typed)
    if typed == completed:
        assert offers == [], offers
    else:
        assert last in offers, offers


def test_fish_shows_what_words_mean(folder):
    done = subprocess.run(["/usr/bin/fish", "--no-config", "-c", "source weir.fish; complete -C 'weir run --dry'"], cwd=folder,
                          env=environment(folder), stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert done.stdout.startswith("--dry-run\tPrint the effective policy"), done


def bash_offers(folder, words):
    """Without a terminal: COMP_WORDS in, COMPREPLY out."""
    script = ('. ./weir.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; _weir; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["/bin/bash", "--norc", "-c", script, "bash", *words], cwd=folder, env=environment(folder),
                          stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    return done.stdout.split()


def test_bash_offers(folder):
    assert {"run", "policy", "doctor", "--help"} <= set(bash_offers(folder, ["weir", ""]))
    assert "--allow" in bash_offers(folder, ["weir", "run", "-"])
    assert bash_offers(folder, ["weir", "version", "--al"]) == []


@pytest.fixture
def trap(folder):
    """A program called weir in the folder where somebody types: it says so when it runs."""
    (folder / "weir").write_text("#!/bin/sh\ntouch was-run\necho words\necho doctor\n")
    (folder / "weir").chmod(0o755)
    yield "./weir doc"
    assert not (folder / "was-run").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab_runs_nothing_of_the_current_folder(shell, trap, request):
    terminal = request.getfixturevalue(shell)
    assert terminal.line_after(trap).rstrip() == trap
    assert terminal.line_after("weir doc") == "weir doctor "


def test_tab_runs_nothing_of_the_current_folder_in_fish(folder, trap):
    assert fish_offers(folder, trap) == []
    assert "doctor" in fish_offers(folder, "weir doc")


@pytest.mark.parametrize("shell, check", [("bash", ["/bin/bash", "-n"]), ("zsh", ["/usr/bin/zsh", "-n"]),
                                          ("fish", ["/usr/bin/fish", "--no-execute"])])
def test_scripts_parse(folder, shell, check):
    subprocess.run([*check, f"weir.{shell}"], cwd=folder, check=True, timeout=PATIENCE)


def test_unknown_shell():
    done = weir("completion", "tcsh")
    assert done.returncode == 125 and "bash, zsh or fish" in done.stderr, done


# ---- the manual page -------------------------------------------------------------------------------------------------


def test_page_is_what_the_table_says():
    assert PAGE.read_text() == weir("help", "--man").stdout, "stale: weir help --man > docs/reference/weir.1"


def test_page_is_formatted_without_warnings(tmp_path):
    """The twin: a broken page does give warnings."""
    broken = tmp_path / "broken.1"
    broken.write_text(PAGE.read_text() + ".SS\n.XYZ\n\\*[nothing]\n")
    for page, quiet in ((PAGE, True), (broken, False)):
        done = subprocess.run(["groff", "-ww", "-man", "-Tutf8", "-K", "utf8", page], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        assert done.returncode == 0 and (done.stderr == "") == quiet, done.stderr


def test_page_as_man_shows_it():
    done = subprocess.run(["man", "--warnings", "-l", PAGE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=PATIENCE, env={**os.environ, "MANWIDTH": "80", "MANPAGER": "cat", "LANG": "C.UTF-8"})
    # Bold is overstruck on some machines.
    text = re.sub(".\b", "", done.stdout)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for words in ("weir run [options] [--] COMMAND [ARG...]", "--allow TARGET[,TARGET...]", "EXIT STATUS", "weir doctor"):
        assert words in text, text[:3000]
