"""Enforces the table of rooms (ARCHITECTURE.md): who may include whom, which rooms stay pure, how long things get.

Run: python3 -m pytest tests/rooms_test.py
"""

import pathlib
import re

import pytest

SRC = pathlib.Path(__file__).resolve().parents[1] / "src"

LEVEL = {"base": 0, "net": 1, "wire": 2, "policy": 2, "control": 2, "audit": 2, "languages": 2, "sys": 2, "changes": 3,
         "netlink": 3, "session": 3, "gateway": 4, "dial": 4, "sandbox": 4, "image": 4, "supervisor": 5,
         "daemon": 6, "library": 6, "cli": 7, "start": 8}
PURE = {"base", "net", "wire", "policy", "control", "audit", "languages"}
IMPURE_HEADERS = re.compile(
    r"^(sys/|net/if|netinet/|arpa/|linux/|fcntl\.h|unistd\.h|poll\.h|sched\.h|signal\.h|csignal|pthread\.h|thread|mutex|"
    r"shared_mutex|condition_variable|future|semaphore|fstream|filesystem|iostream|chrono|ctime|time\.h|netdb\.h|"
    r"ifaddrs\.h|sys/socket\.h)")
# <cstdio> is there for formatting numbers; its files are not. base may say on stderr why it aborts.
IMPURE_CALLS = re.compile(r"\b(fopen|freopen|fdopen|tmpfile|popen|std::FILE|FILE)\b")
# A wall clock that jumps must not end, keep or open anything that lives: deadlines are of the boot or monotonic clock. It is
# looked at for people, for what outlives a boot, and for the times of files.
WALL_CLOCK = re.compile(r"CLOCK_REALTIME\w*|\btime\(nullptr\)|system_clock|gettimeofday")
WALL_CLOCK_USES = {
    "supervisor/record/audit_log.cc": 1,      # the time of an event
    "daemon/request_log.cc": 1,        # the time of a request
    "supervisor/session/live_session.cc": 1,   # `created` and `expires`, for people and for a session that sleeps
    "cli/session/command_session.cc": 1,  # how old a session is
    "session/registry.cc": 1,          # a session that sleeps may sleep through a reboot
    "cli/command_session_wake.cc": 1,  # what is left of its time after sleep
    "daemon/dispatch.cc": 1,           # kept answers outlive the daemon
    "daemon/things.cc": 1,             # what a killed daemon had begun outlives it
    "image/store_folder.cc": 1, "changes/keep.cc": 1, "cli/command_seal.cc": 1,  # sweeping by the age of files
    "supervisor/live_sandbox.cc": 2,   # the times of files that a command changes
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)
MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 400
HARD_FILE_LINES = 800


def sources():
    return sorted(path for path in SRC.rglob("*") if path.suffix in (".h", ".cc"))


def room_of(path):
    return path.relative_to(SRC).parts[0]


def includes(path):
    return [(style == '"', name) for style, name in INCLUDE.findall(path.read_text())]


def directions_broken(files):
    wrong = []
    for path in files:
        room = room_of(path)
        for own, name in includes(path):
            target = name.split("/")[0]
            if own and target in LEVEL and target != room and LEVEL[target] >= LEVEL[room]:
                wrong.append(f"{path.relative_to(SRC)} includes {name}: {room} (level {LEVEL[room]}) must not use "
                             f"{target} (level {LEVEL[target]})")
    return wrong


def impure(files):
    return [f"{path.relative_to(SRC)} includes <{name}>: {room_of(path)} has no sockets, files, threads or wall clock"
            for path in files if room_of(path) in PURE for own, name in includes(path)
            if not own and IMPURE_HEADERS.match(name)] + [
        f"{path.relative_to(SRC)} uses {match.group()}" for path in files if room_of(path) in PURE
        for match in IMPURE_CALLS.finditer(without_comments_and_strings(path.read_text()))]


def without_comments_and_strings(text):
    """Same length and lines, so that positions stay true."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


SCOPE = re.compile(r"\b(namespace|class|struct|union|enum)\b[^;(){}]*$")


def functions(path):
    """(first line, length) of each outermost braced body that is not a namespace, a type, or an initialiser."""
    text = without_comments_and_strings(path.read_text())
    found, stack = [], []
    for position, char in enumerate(text):
        if char == "{":
            before = text[max(text.rfind(x, 0, position) for x in ";{}") + 1:position]
            inside = any(kind == "function" for kind, _ in stack)
            scope = SCOPE.search(before) or before.strip() in ("", 'extern')
            kind = "inner" if inside else "scope" if scope or ")" not in before else "function"
            stack.append((kind, position))
        elif char == "}" and stack:
            kind, start = stack.pop()
            if kind == "function":
                first = text.count("\n", 0, start) + 1
                found.append((first, text.count("\n", start, position) + 1))
    return found


def too_long(files):
    return [f"{path.relative_to(SRC)}:{line}: {length} lines in one function (limit {MAX_FUNCTION_LINES})"
            for path in files for line, length in functions(path) if length > MAX_FUNCTION_LINES]


def wall_clock_uses(files):
    found = {str(path.relative_to(SRC)): len(WALL_CLOCK.findall(without_comments_and_strings(path.read_text())))
             for path in files}
    return {name: count for name, count in found.items() if count}


def test_there_are_sources():
    assert len(sources()) > 10


def test_every_room_is_in_the_table():
    assert not sorted({room_of(path) for path in sources()} - set(LEVEL))


def test_rooms_include_only_lower_rooms():
    assert not directions_broken(sources())


def test_pure_rooms_stay_pure():
    assert not impure(sources())


def test_gateway_does_not_see_policy_text():
    """The parser of policy files is never in the process that reads hostile bytes, nor in the one that dials."""
    assert not [str(path) for path in sources() if room_of(path) in ("gateway", "dial", "sandbox")
                for own, name in includes(path) if own and name.startswith("policy/text/")]


def internal_headers(files):
    """A program that links the library sees its headers and no others."""
    return [f"{path.name} includes {name}" for path in files for own, name in includes(path)
            if own and not name.startswith("weir/") or not own and "/" in name]


def test_public_headers_include_nothing_of_weirs_own():
    headers = sorted((SRC.parent / "include" / "weir").glob("*.h"))
    assert len(headers) > 3 and not internal_headers(headers)


def test_the_wall_clock_decides_nothing_that_lives():
    assert wall_clock_uses(sources()) == WALL_CLOCK_USES


def test_functions_are_short():
    assert not too_long(sources())


def test_files_are_not_huge():
    lengths = {path: path.read_text().count("\n") for path in sources()}
    for path, lines in lengths.items():
        if lines > MAX_FILE_LINES:
            print(f"note: {path.relative_to(SRC)} has {lines} lines (about {MAX_FILE_LINES} is the aim)")
    assert not [str(path.relative_to(SRC)) for path, lines in lengths.items() if lines > HARD_FILE_LINES]


def test_every_room_says_what_it_is_for():
    wrong = []
    for room in {room_of(path) for path in sources()}:
        readme = SRC / room / "README.md"
        if not readme.exists():
            wrong.append(f"{room}: no README.md")
        elif readme.read_text().count("\n") > 60:
            wrong.append(f"{room}: README.md is longer than 60 lines")
    assert not wrong


# The checks themselves, shown to fail on what they are for.

@pytest.fixture
def planted(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.SRC", tmp_path)

    def plant(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return [path]
    return plant


@pytest.mark.parametrize("name, text", [
    ("net/a.h", '#include "wire/b.h"\n'), ("gateway/a.cc", '#include "dial/b.h"\n'),
    ("base/a.h", '#include "cli/b.h"\n'), ("sys/a.cc", '# include "netlink/b.h"\n')])
def test_a_wrong_direction_is_found(planted, name, text):
    assert directions_broken(planted(name, text))


@pytest.mark.parametrize("text", ['#include "base/error.h"\n', "#include <nlohmann/json.hpp>\n"])
def test_an_internal_header_is_found(planted, text):
    assert internal_headers(planted("weir/a.h", text))


@pytest.mark.parametrize("header", ["sys/socket.h", "thread", "unistd.h", "chrono", "fstream", "arpa/inet.h"])
def test_an_impure_header_is_found(planted, header):
    assert impure(planted("wire/a.cc", f"#include <{header}>\n"))


def test_an_opened_file_is_found(planted):
    assert impure(planted("wire/a.cc", 'void f() { fopen("x", "r"); }\n'))


def test_a_look_at_the_wall_clock_is_found(planted):
    assert wall_clock_uses(planted("gateway/a.cc", "auto now = ::time(nullptr); clock_gettime(CLOCK_REALTIME, &now);\n"))


def test_a_long_function_is_found(planted):
    body = "namespace weir {\nint f(int a) {\n" + "  a += 1;  // {\n" * 71 + "  return a;\n}\n}\n"
    assert too_long(planted("wire/a.cc", body))
    assert not too_long(planted("wire/b.cc", body.replace("  a += 1;  // {\n", "", 10)))
