"""`weir script`: every language that this machine has, and the one line about those it has not."""

import os
import shutil

import pytest

import world as w
from archives import END
from checks import TWINS, assert_allowed, assert_refused
from images import imported, put
from lab import GUEST, Outcome

# How each language says its second argument and ends with 7.
CODE = {
    "python": "import sys\nprint('said', sys.argv[2])\nsys.exit(7)\n",
    "bash": "echo \"said $2\"\nexit 7\n",
    "sh": "echo \"said $2\"\nexit 7\n",
    "javascript": "console.log('said', process.argv[3]);\nprocess.exitCode = 7;\n",
    "typescript": "const word: string = process.argv[3];\nconsole.log('said', word);\nprocess.exitCode = 7;\n",
    "ruby": "puts \"said #{ARGV[1]}\"\nexit 7\n",
    "perl": "print \"said $ARGV[1]\\n\";\nexit 7;\n",
    "php": "<?php echo \"said {$argv[2]}\\n\"; exit(7);\n",
    "lua": "print('said ' .. arg[2])\nos.exit(7)\n",
    "c": "#include <stdio.h>\nint main(int n, char** v) { printf(\"said %s\\n\", v[2]); return n + 4; }\n",
    "c++": "#include <iostream>\nint main(int n, char** v) { std::cout << \"said \" << v[2] << '\\n'; return n + 4; }\n",
    "go": "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\tfmt.Println(\"said\", os.Args[2])\n\tos.Exit(7)\n}\n",
    "rust": "fn main() { println!(\"said {}\", std::env::args().nth(2).unwrap()); std::process::exit(7); }\n",
    "java": "class Said { public static void main(String[] a) { System.out.println(\"said \" + a[1]); System.exit(7); } }\n",
}
ENDINGS = {"python": "py", "bash": "sh", "javascript": "js", "typescript": "ts", "ruby": "rb", "perl": "pl", "php": "php",
           "lua": "lua", "c": "c", "c++": "cc", "go": "go", "rust": "rs", "java": "java"}
# What must be in the sandbox's /usr (first one found), and what puts it there.
PROGRAMS = {"python": ["python3"], "javascript": ["node"], "typescript": ["ts-node"], "lua": ["lua5.4", "lua"], "c": ["cc"],
            "c++": ["c++"], "rust": ["rustc"], "java": ["javac"]}
PACKAGES = {"python": "python3", "javascript": "nodejs", "typescript": "ts-node", "php": "php-cli", "lua": "lua5.4", "c": "gcc",
            "c++": "g++", "go": "golang-go", "java": "default-jdk-headless", "sh": "dash"}
GO = "/usr/local/go/bin"  # of go.dev's archive
PATH = "/usr/local/bin:/usr/bin:/bin"


def options_for(language):
    path = f"{GO}:{PATH}" if language == "go" else PATH
    for program in PROGRAMS.get(language, [language]):
        if shutil.which(program, path=path):
            return ["-e", f"PATH={path}"]
    return pytest.skip(f"{language} is not installed")


def script(lab, *words, input=None, timeout=60):
    return lab.cli("script", "--events", "none", *words, input=input, timeout=timeout)


@pytest.mark.parametrize("language", CODE)
def test_code_runs(lab, language):
    """As words of the command line; nothing of it is read by a shell."""
    word = "$(touch /tmp/no) `id` ; 'x"
    out = script(lab, *options_for(language), "-s", language, CODE[language], "first", word)
    assert (out.code, out.stdout, out.stderr) == (7, f"said {word}\n", ""), out


@pytest.mark.parametrize("language", ENDINGS)
def test_file_runs_by_its_extension(lab, language):
    out = script(lab, *options_for(language), lab.file(f"a b.{ENDINGS[language]}", CODE[language]), "--", "--first", "second")
    assert (out.code, out.stdout, out.stderr) == (7, "said second\n", ""), out


@pytest.mark.parametrize("language", CODE)
def test_missing_program_is_named(lab, language):
    """An empty PATH inside is a machine without any of them. A shell, where one is needed, has no package of its own."""
    out = script(lab, "-e", "PATH=/tmp", "-s", language, CODE[language])
    assert (out.code, out.stdout) == (127, ""), out
    assert out.stderr.count("\n") == 1 and out.stderr.startswith(f"weir: cannot run {language}: there is no "), out
    assert f"install the Debian package {PACKAGES.get(language, language)}" in out.stderr or language == "rust", out


@pytest.mark.parametrize("language, program", [("python", "python3"), ("lua", "lua5.4"), ("c", "gcc"), ("java", "javac")])
def test_missing_in_an_image(images, root_archive, language, program):
    """It is the image that is looked at, not this machine."""
    imported(images, put(images, "tiny.tar", root_archive + END), "tiny")
    out = script(images, "--image", "tiny", "-s", language, CODE[language])
    assert out.code == 127 and program in out.stderr and "in the image" in out.stderr, out
    out = script(images, "--image", "tiny", "-s", "sh", CODE["sh"], "x", "y")
    assert (out.code, out.stdout) == (7, "said y\n"), out


def test_first_line_and_standard_input(lab):
    out = script(lab, lab.file("no-extension", "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\n"),
                 "a", input="typed")
    assert (out.code, out.stdout) == (0, "['a'] typed\n"), out
    out = script(lab, "-", "b", input="#!/usr/bin/python3\nimport sys\nprint(sys.argv[1:])\n")
    assert (out.code, out.stdout) == (0, "['b']\n"), out
    out = script(lab, "-s", "py", "-", "c", input="import sys\nprint(sys.argv[1:])\n")
    assert (out.code, out.stdout) == (0, "['c']\n"), out


def test_the_compiler_speaks_for_itself(lab):
    out = script(lab, *options_for("c"), "-s", "c", "int main(void) { return missing; }")
    assert out.code == 1 and "missing" in out.stderr and out.stdout == "", out


def test_limits_hold_for_what_was_built(lab):
    out = script(lab, *options_for("c"), "--timeout", "20s,0s", "-s", "c",
                 "#include <signal.h>\nint main(void) { return raise(SIGKILL); }")
    assert out.code == 137, out
    out = script(lab, *options_for("c"), "--timeout", "3s,0s", "-s", "c", "int main(void) { for (volatile int i = 0;;) i++; }")
    assert out.code == 124, out


def test_with_here_its_neighbours_are_there(lab):
    lab.variables = {"HOME": "/nonexistent"}  # the current folder is not to be the home folder
    (lab.folder / "neighbour.py").write_text("word = 'from beside'\n")
    (lab.folder / "main.py").write_text("import neighbour\nprint(neighbour.word, __file__)\n")
    out = script(lab, "main.py")
    assert out.code == 1 and "ModuleNotFoundError" in out.stderr, out
    out = script(lab, "--here=ro", "main.py")
    assert (out.code, out.stdout) == (0, f"from beside {os.path.realpath(lab.folder)}/main.py\n"), out


def test_covers_what_is_shared_there_and_writes_nothing(lab):
    """The file has a place of its own even where a share has one: nothing outside is written."""
    shared = lab.folder / "shared"
    (shared / "script").mkdir(parents=True)
    (shared / "script" / "main.py").write_text("print('theirs')\n")
    os.system(f"chown -R {lab.uid}:{lab.gid} {shared}")
    out = script(lab, "-v", f"{shared}:/run/weir", "-s", "python", "print('mine')")
    assert (out.code, out.stdout) == (0, "mine\n"), out
    assert (shared / "script" / "main.py").read_text() == "print('theirs')\n"
    assert [path.name for path in (shared / "script").iterdir()] == ["main.py"]


@pytest.mark.parametrize("words, said", [
    (["/nonexistent.py"], "/nonexistent.py"), (["/etc"], "/etc"), (["-s", "pyhton", "1"], "did you mean python?"),
    (["-s", "cobol", "1"], "one of: python"), (["-s", "python"], "no file and no code"), ([], "no file and no code")])
def test_wrong_usage(lab, words, said):
    out = script(lab, *words)
    assert out.code == 125 and said in out.stderr and out.stderr.count("\n") == 1 and out.stdout == "", out


def test_language_that_nothing_tells(lab):
    out = script(lab, lab.file("x.\x1bunknown", "x"))
    assert out.code == 125 and "weir script -s LANG - < FILE" in out.stderr and "\x1b" not in out.stderr, out


def test_dry_run_names_the_script_and_starts_nothing(lab):
    out = script(lab, "--dry-run", "-s", "c", CODE["c"])
    assert out.code == 0 and "script       /run/weir/script/main.c" in out.stdout and "#include" not in out.stdout, out


@TWINS
def test_the_network_is_that_of_a_run(lab, verdict):
    """One policy, whether a command or a script."""
    events = str(lab.folder / "script-events.jsonl")
    code = f"{GUEST}\nprint(json.dumps(tcp({w.EVIL4!r}, 80)))\n"
    done = lab.cli("script", "-q", "--events", events, "--allow", w.EVIL4 if verdict == "allow" else w.ALLOWED4, "-s", "python",
                   code)
    out = Outcome(done.code, done.stdout, done.stderr, events)
    if verdict == "allow":
        assert_allowed(lab, out, out.result, w.EVIL4, 80)
    else:
        assert_refused(lab, out, out.result, w.EVIL4, 80, ["no-rule"])
