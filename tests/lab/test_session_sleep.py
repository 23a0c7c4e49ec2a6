"""Sessions that fall asleep when nobody uses them, and are woken by whoever does (docs/decisions/0022)."""

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import time

import pytest

import world as w
from checks import TWINS
from lab import read_events, wait_until
from serve import Server
from sessions import Session, gone
from test_clients import ca  # noqa: F401
from test_snapshots import store  # noqa: F401

SOON = "50ms"
PATIENCE = 30


class Sleeper(Session):
    """One that sleeps soon; its folder says so."""

    def __init__(self, lab, *options, idle=SOON):
        super().__init__(lab, "--idle", idle, "--on-idle", "snapshot", *options)
        assert self.code == 0, self.said

    def stored(self):
        with open(f"{self.folder}/session.json") as file:
            return json.load(file)["session"]

    def await_sleep(self):
        wait_until(lambda: self.stored()["state"] == "asleep" and gone(self.pid), PATIENCE, "its sleep")

    def execute(self, command, code=0):
        out = self.lab.cli("exec", self.id, "--", "sh", "-c", command, timeout=60)
        assert out.code == code, out
        with contextlib.suppress(FileNotFoundError):
            self.pid = self.stored().get("supervisor", self.pid)
        return out.stdout

    def types(self):
        return [event["type"].removeprefix("sandbox.") for event in read_events(self.events_path)
                if event["type"].startswith("sandbox.")]

    def marker(self):
        with contextlib.suppress(FileNotFoundError):
            return [name for name in os.listdir(self.folder) if name.startswith("slept-")]
        return []

    def __exit__(self, *_):
        with contextlib.suppress(FileNotFoundError):
            self.pid = self.stored().get("supervisor", self.pid)
        self.lab.cli("session", "rm", self.id)
        wait_until(lambda: gone(self.pid), what="the end of the supervisor")


def layers(lab):
    """What the store holds, swept: (descriptions, layers)."""
    assert lab.cli("snapshot", "ls").code == 0
    return ([name for name in os.listdir(lab.snapshots) if name.startswith("s-")], os.listdir(lab.snapshots / "layers"))


def of_session(pid):
    """Processes that live below a supervisor, however far."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/stat") as file:
                parents[int(entry)] = int(file.read().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for above in found:
        found += [each for each, parent in parents.items() if parent == above]
    return found[1:]


def listens(lab, port):
    out = subprocess.run(lab.command(["ss", "-ltnH"]), stdout=subprocess.PIPE, text=True, check=True).stdout
    return f"127.0.0.1:{port} " in out


# ---- asleep and awake ------------------------------------------------------------------------------------------------


def test_nothing_of_it_runs_and_the_next_call_finds_everything(store, tmp_path):  # noqa: F811
    env = store.file("env", "FROM_FILE=told\n")
    share = store.folder / "share"
    share.mkdir()
    os.chown(share, store.uid, store.gid)
    with Sleeper(store, "--name", "s", "--label", "a=b", "--ttl", "1h", "-e", "TOLD=x y", "--env-file", str(env), "-p", "0:80",
                 "-v", f"{share}:/data", "--pids", "50", idle="1s") as made:
        port = int(made.show()["ports"][0].split(":")[1])
        before, first = made.show(), made.pid
        assert listens(store, port)
        made.execute("echo file > ~/f; echo tmp > /tmp/t; echo shared > /data/s; mkdir ~/d; rm -f ~/none")
        below = of_session(first)
        assert below
        os.unlink(env)
        made.await_sleep()
        wait_until(lambda: all(gone(pid) for pid in below), what="the end of what ran")
        assert not listens(store, port)
        assert sorted(os.listdir(made.folder)) == ["lock", "plan.json", "policy", "session.json", *made.marker()]
        assert all(os.stat(f"{made.folder}/{name}").st_mode & 0o077 == 0 for name in os.listdir(made.folder))
        shown = json.loads(store.cli("session", "show", "s", "-o", "json").stdout)
        assert (shown["state"], shown["id"], shown["labels"]) == ("asleep", made.id, {"a": "b"}), shown
        assert store.cli("ps").stdout.count("\n") == 1
        assert all("asleep" in store.cli(*words).stdout for words in (["ps", "-a"], ["session", "ls"]))
        assert store.cli("session", "processes", "s", "-o", "json").stdout == "[]\n"
        assert store.cli("snapshot", "ls", "-o", "json").stdout == "[]\n"
        assert made.stored()["state"] == "asleep", "looking woke it"
        said = made.execute('cat ~/f /tmp/t /data/s; echo "$TOLD $FROM_FILE"; ls -d ~/d; id -u')
        assert said == "file\ntmp\nshared\nx y told\n/home/sandbox/d\n1000\n", said
        after = made.show()
        assert made.pid != first and not made.marker() and "plan.json" not in os.listdir(made.folder)
        for same in ("id", "name", "created", "expires", "labels", "idle_seconds", "on_idle", "policy", "limits", "network_mode"):
            assert after[same] == before[same], same
        assert listens(store, int(after["ports"][0].split(":")[1]))
        assert made.types() == ["start", "asleep", "awake"]
        numbers = [event["seq"] for event in read_events(made.events_path)]
        assert numbers == list(range(1, len(numbers) + 1)), numbers
    assert layers(store) == ([], [])


@pytest.mark.parametrize("call", ["cp-out", "cp-in", "shell", "snapshot", "narrow", "wake"])
def test_each_call_wakes_it(store, call):  # noqa: F811
    with Sleeper(store, "--allow", "allowed.test") as made:
        made.execute("echo content > ~/f")
        made.await_sleep()
        there = store.file("in", "put\n")
        words, typed, expected = {
            "cp-out": (["session", "cp", f"{made.id}:/home/sandbox/f", "-"], None, "content\n"),
            "cp-in": (["session", "cp", str(there), f"{made.id}:/tmp/in"], None, ""),
            "shell": (["session", "shell", made.id], "cat ~/f\n", "content\n"),
            "snapshot": (["snapshot", "create", made.id], None, None),
            "narrow": (["session", "narrow", "--net", "none", made.id], None, None),
            "wake": (["session", "wake", made.id], None, made.id + "\n"),
        }[call]
        out = store.cli(*words, input=typed)
        assert out.code == 0 and (expected is None or out.stdout == expected), out
        assert "awake" in made.types()
        if call == "snapshot":
            assert store.cli("snapshot", "rm", out.stdout.strip()).code == 0


def test_it_sleeps_again_and_again(store):  # noqa: F811
    """Each time over what it was; nothing is kept of the times before but what counts."""
    with Sleeper(store) as made:
        for turn in range(4):
            made.execute(f"echo {turn} >> ~/f; rm -f ~/only-{turn - 1}; echo x > ~/only-{turn}")
            made.await_sleep()
        descriptions, kept = layers(store)
        assert len(descriptions) == 1 and len(kept) == 4, (descriptions, kept)
        assert made.execute("cat ~/f; ls ~") == "0\n1\n2\n3\nf\nonly-3\n"
        made.await_sleep()
        assert layers(store)[0] != descriptions and len(layers(store)[1]) == 4
        assert made.types() == ["start", *["asleep", "awake"] * 4, "asleep"]


def test_over_an_image_and_a_snapshot(store):  # noqa: F811
    with Session(store) as base:
        base.run(command="echo base > ~/base; echo gone > ~/gone")
        which = store.cli("snapshot", "create", base.id, "--name", "base").stdout.strip()
    with Sleeper(store, "--snapshot", "base") as made:
        made.execute("rm ~/gone; echo mine > ~/mine")
        made.await_sleep()
        assert store.cli("snapshot", "rm", "base").code == 0
        assert made.execute("cat ~/*") == "base\nmine\n"
        assert made.show()["snapshot"] == which


def test_a_service_begins_again(store):  # noqa: F811
    """One that runs is in use; one that has ended for good sleeps, and is begun when it wakes."""
    with Sleeper(store, "--bootstrap", "echo begun >> ~/log", "--restart", "no") as made:
        made.await_sleep()
        assert json.loads(store.cli("session", "show", made.id, "-o", "json").stdout)["service"]["health"] == "stopped"
        assert store.cli("session", "wake", made.id).code == 0
        made.await_sleep()
        wait_until(lambda: "begun\nbegun\n" in made.execute("cat ~/log"), what="the second begin")


# ---- what wakes is never wider ---------------------------------------------------------------------------------------


@TWINS
@pytest.mark.refusal
def test_what_was_narrowed_stays_so(store, verdict):  # noqa: F811
    """Before it slept the network became narrower (or did not): after it woke three witnesses say so."""
    kept, lost = f"{w.ALLOWED4}:7", f"{w.EVIL4}:7"
    dial = f"python3 -c \"import socket\ntry: socket.create_connection(('{w.EVIL4}', 7), 5); print('there')\nexcept OSError as e: print(e.errno)\""
    with Sleeper(store, "--allow", kept, "--allow", lost, "--no-proxy-env") as made:
        if verdict == "refuse":
            assert store.cli("session", "narrow", "--allow", kept, made.id).code == 0
        made.await_sleep()
        store.world.reset()
        said = made.execute(dial)
        refused = [event for event in read_events(made.events_path) if event["type"] == "flow.refuse"]
        shown = made.show()
        if verdict == "refuse":
            assert said == "111\n" and store.world.packets_to(w.EVIL4, 7) == 0, said
            [event] = refused
            assert event["dst"] == w.EVIL4 and event["generation"] == 2, event
            assert shown["generation"] == 2
            wider = store.cli("session", "narrow", "--allow", lost, made.id)
            assert wider.code == 125 and "cannot_widen" in wider.stderr, wider
        else:
            assert said == "there\n" and store.world.packets_to(w.EVIL4, 7) > 0 and not refused, said
            assert shown["generation"] == 1


@TWINS
@pytest.mark.refusal
def test_what_was_sealed_stays_so(store, verdict):  # noqa: F811
    to = f"{w.ALLOWED4}:7"
    dial = f"python3 -c \"import socket\ntry: socket.create_connection(('{w.ALLOWED4}', 7), 5); print('there')\nexcept OSError as e: print(e.errno)\""
    with Sleeper(store, "--allow", to, "--after", "none", "--no-proxy-env") as made:
        if verdict == "refuse":
            assert store.cli("seal", made.id).code == 0
        made.await_sleep()
        store.world.reset()
        if verdict == "refuse":
            assert made.execute(dial) in ("111\n", "101\n") and store.world.packets_to(w.ALLOWED4, 7) == 0
            [event] = [event for event in read_events(made.events_path) if event["type"] == "flow.refuse"]
            assert event["generation"] == 2, event
        else:
            assert made.execute(dial) == "there\n" and store.world.packets_to(w.ALLOWED4, 7) > 0
            made.await_sleep()
            # It is still there to be entered.
            assert store.cli("seal", made.id).code == 0
            assert made.execute(dial) != "there\n"


def test_a_share_that_leads_elsewhere_now_is_not_shared(store):  # noqa: F811
    """What the guest puts in the place of a folder that is shared below another one."""
    outer, secret = store.folder / "outer", store.folder / "secret"
    (outer / "inner").mkdir(parents=True)
    secret.mkdir()
    for folder in (outer, outer / "inner", secret):
        os.chown(folder, store.uid, store.gid)
    with Sleeper(store, "-v", f"{outer}:/outer", "-v", f"{outer}/inner:/inner") as made:
        made.execute(f"mv /outer/inner /outer/away; ln -s {secret} /outer/inner; echo x > ~/f")
        made.await_sleep()
        out = store.cli("exec", made.id, "true")
        assert out.code == 125 and "leads to" in out.stderr and str(outer / "inner") in out.stderr, out
        assert made.stored()["state"] == "asleep"
        os.unlink(outer / "inner")
        os.rename(outer / "away", outer / "inner")
        assert made.execute("cat ~/f") == "x\n"


@pytest.mark.parametrize("how", ["gone", "damaged", "another", "plan"])
def test_a_policy_that_is_not_that_of_then_wakes_nothing(store, how):  # noqa: F811
    with Sleeper(store, "--allow", "allowed.test") as made:
        made.await_sleep()
        name = "plan.json" if how == "plan" else "policy"
        path = f"{made.folder}/{name}"
        was = open(path, "rb").read()
        if how == "gone":
            os.unlink(path)
        elif how == "another":
            wider = store.file("wider.toml", 'version = 1\n[network]\nmode = "open"\n')
            assert store.cli("policy", "compile", str(wider), "-o", str(store.folder / "image")).code in (0, 125)
            with open(path, "r+b") as file:
                file.seek(len(was) // 2)
                file.write(bytes(byte ^ 1 for byte in was[len(was) // 2:len(was) // 2 + 8]))
        else:
            with open(path, "r+b") as file:
                file.truncate(len(was) - 20)
        out = store.cli("exec", made.id, "true")
        assert out.code == 125 and "cannot be woken" in out.stderr, out
        assert made.stored()["state"] == "asleep" and made.types()[-1] == "asleep"
        with open(path, "wb") as file:
            file.write(was)
        os.chown(path, store.uid, store.gid)
        made.execute("true")


@pytest.mark.parametrize("options, why", [
    (["--on-idle", "snapshot"], "nothing says when it is idle"),
    (["--idle", "1s", "--on-idle", "hibernate"], "write stop or snapshot"),
    (["--idle", "1s", "--on-idle", "snapshot", "--allow", "allowed.test", "--upstream-proxy", "http://127.0.0.1:1",
      "--upstream-proxy-auth", "env:SECRET"], "credentials"),
    (["--idle", "1s", "--on-idle", "snapshot", "-v", "{snapshots}:/kept"], "could rewrite")])
def test_what_could_not_be_woken_is_not_begun(store, options, why):  # noqa: F811
    assert store.cli("snapshot", "ls").code == 0  # the folder is made
    store.variables = {**store.variables, "SECRET": "a:b"}
    with Session(store, *[each.format(snapshots=store.snapshots) for each in options]) as made:
        assert made.code == 125 and why in made.said["error"]["message"] + made.said["error"]["remedy"], made.said


def test_disk_counts_what_it_slept_with(store):  # noqa: F811
    with Sleeper(store, "--disk", "24M") as made:
        made.execute("head -c 12M /dev/zero > ~/one")
        made.await_sleep()
        assert made.stored()["limits"]["disk_bytes"] == 24 << 20
        assert "ok" in made.execute("head -c 6M /dev/zero > ~/two && echo ok")
        assert "No space" in made.execute("head -c 12M /dev/zero > ~/three 2>&1 || true; head -c 12M /dev/zero 2>&1 > ~/x || echo No space")


# ---- the moment of falling asleep ------------------------------------------------------------------------------------

SLOW = "truncate -s 3G ~/holes"  # takes seconds to look at, and no room


def test_who_comes_meanwhile_is_served_and_it_stays_awake(store):  # noqa: F811
    with Sleeper(store) as made:
        made.execute(SLOW)
        wait_until(made.marker, PATIENCE, "the beginning of a snapshot")
        first = made.pid
        assert made.execute("echo late > ~/late; cat ~/late") == "late\n"
        assert made.pid == first and "asleep" not in made.types()
        made.execute("rm ~/holes")
        made.await_sleep()
        assert made.execute("cat ~/late") == "late\n"
        assert made.types() == ["start", "asleep", "awake"]


def test_what_runs_on_in_the_background_loses_nothing_it_was_told(store):  # noqa: F811
    """It stands still from the snapshot to the end: what it has said that it wrote is there."""
    share = store.folder / "share"
    share.mkdir()
    os.chown(share, store.uid, store.gid)
    counts = "i=0; while :; do i=$((i+1)); echo $i > ~/n.new && mv ~/n.new ~/n && echo $i > /share/n.new && mv /share/n.new /share/n; done"
    with Sleeper(store, "-v", f"{share}:/share") as made:
        made.execute(f"({counts}) >/dev/null 2>&1 &")
        made.await_sleep()
        outside = int((share / "n").read_text())
        assert int(made.execute("cat ~/n")) >= outside


def test_many_who_come_all_the_time(store):  # noqa: F811
    """Each write that was answered is there, however often it slept in between."""
    with Sleeper(store, idle="1ms") as made:
        for turn in range(12):
            made.execute(f"echo {turn} >> ~/f")
        assert made.execute("cat ~/f").split() == [str(turn) for turn in range(12)]


def test_two_wakers_are_one(store):  # noqa: F811
    with Sleeper(store, idle="2s") as made:
        made.execute("echo x > ~/f")
        made.await_sleep()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            said = list(pool.map(lambda _: made.execute("cat ~/f"), range(6)))
        assert said == ["x\n"] * 6 and made.types() == ["start", "asleep", "awake"]


@pytest.mark.parametrize("part", range(8))
def test_killed_while_it_falls_asleep(store, part):  # noqa: F811
    """At whatever point: it sleeps, whole, or is gone, with everything that was kept for it."""
    with Sleeper(store) as made:
        made.execute("for i in $(seq 400); do echo $i > ~/f$i; done; echo whole > ~/last")
        if part == 0:
            made.execute(SLOW)
        wait_until(lambda: made.marker() or made.stored()["state"] == "asleep", PATIENCE, "the beginning of a snapshot")
        # The moments after it, one after the other.
        for _ in range(part * 40):
            os.sched_yield()
            if os.path.exists(f"{made.folder}/plan.json") and part < 7:
                break
        below = of_session(made.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(made.pid, signal.SIGKILL)
        wait_until(lambda: all(gone(pid) for pid in [made.pid, *below]), what="its end")
        shown = store.cli("session", "show", made.id, "-o", "json")
        if shown.code == 0:
            assert json.loads(shown.stdout)["state"] == "asleep"
            assert made.execute("cat ~/last; ls ~ | wc -l") == "whole\n401\n"
        else:
            assert "there is no session" in shown.stderr or "is gone" in shown.stderr, shown
            assert not os.path.exists(made.folder)
            wait_until(lambda: layers(store) == ([], []), what="the sweep")


@pytest.mark.parametrize("part", range(6))
def test_a_waker_that_is_killed(store, part):  # noqa: F811
    """It sleeps on, or is awake; either way the next one finds what was there."""
    with Sleeper(store, idle="1s") as made:
        made.execute("echo x > ~/f")
        made.await_sleep()
        waker = subprocess.Popen(store.command([store.weir, "session", "wake", made.id]), stdout=subprocess.PIPE)
        for _ in range(part * 200):
            os.sched_yield()
        waker.kill()
        waker.communicate()
        assert made.execute("cat ~/f") == "x\n"


# ---- its time, its end -----------------------------------------------------------------------------------------------


def test_its_time_goes_on_while_it_sleeps(store):  # noqa: F811
    with Sleeper(store, "--ttl", "2s", "--name", "short") as made:
        made.execute("echo x > ~/f")
        made.await_sleep()
        folder = made.folder
        wait_until(lambda: store.cli("ps", "-a", "-o", "json").stdout == "[]\n", PATIENCE, "the end of its time")
        assert not os.path.exists(folder)
        assert not [name for name in os.listdir(store.snapshots) if name.startswith("s-")]
        assert os.listdir(store.snapshots / "layers") == []
        out = store.cli("exec", "short", "true")
        assert out.code == 125 and "there is no session" in out.stderr, out


@pytest.mark.parametrize("words", [["stop"], ["session", "rm"]])
def test_its_end_is_that_of_its_layers(store, words):  # noqa: F811
    with Sleeper(store, "--name", "x") as made:
        made.execute("echo x > ~/f")
        made.await_sleep()
        assert len(os.listdir(store.snapshots / "layers")) == 1
        assert store.cli(*words, "x").code == 0
        assert not os.path.exists(made.folder) and os.listdir(store.snapshots / "layers") == []
        assert not [name for name in os.listdir(store.snapshots) if name.startswith("s-")]
        assert store.cli("session", "create", "--name", "x").code == 0
        assert store.cli("session", "rm", "x").code == 0


def test_what_it_sleeps_in_is_nobody_elses(store):  # noqa: F811
    with Sleeper(store) as made:
        made.execute("echo x > ~/f")
        made.await_sleep()
        [[name], _] = layers(store)
        which = name.removesuffix(".json")
        out = store.cli("snapshot", "rm", which)
        assert out.code == 125 and f"session {made.id} sleeps in" in out.stderr, out
        # It can be begun from, where the session itself cannot be woken.
        assert store.run("sh", "-c", "cat ~/f", mode="none", extra=["--snapshot", which]).stdout == "x\n"


# ---- a disk that is full ---------------------------------------------------------------------------------------------


def test_a_snapshot_that_cannot_be_made_loses_nothing(store):  # noqa: F811
    with Sleeper(store) as made:
        made.execute("echo x > ~/f")
        made.await_sleep()
        assert made.execute("cat ~/f") == "x\n"
        moved = f"{store.snapshots}.away"
        made.await_sleep()
        made.execute("truncate -s 17G ~/too-much; echo y > ~/g")
        wait_until(lambda: made.types()[-1] == "awake" and "error" in read_events(made.events_path)[-1], PATIENCE, "its refusal")
        assert made.execute("cat ~/g") == "y\n" and not os.path.exists(moved)
        assert made.execute("rm ~/too-much; echo ok") == "ok\n"
        made.await_sleep()
        assert made.execute("cat ~/g") == "y\n"


def sleeps(server, where):
    shown = server.get(where)
    assert shown.status == 200, shown
    return shown.json["state"] == "asleep"


# ---- through the API -------------------------------------------------------------------------------------------------


def test_the_api_wakes_it(store):  # noqa: F811
    with Server(store) as server:
        made = server.session(idle_seconds=1, on_idle="snapshot", env={"TOLD": "x"}, ttl_seconds=600)
        assert made["on_idle"] == "snapshot" and made["state"] == "running"
        where = f"/v1/sessions/{made['id']}"
        server.run(made, "echo content > ~/f")
        for _ in range(2):
            wait_until(lambda: sleeps(server, where), PATIENCE, "its sleep")
            [listed] = server.get("/v1/sessions").json["sessions"]
            assert listed["state"] == "asleep" and server.get(f"{where}/processes").json == {"processes": []}
            assert sleeps(server, where), "looking woke it"
            done = server.run(made, "cat ~/f; echo $TOLD")
            assert (done["exit_code"], done["stdout"]) == (0, "content\nx\n"), done
        wait_until(lambda: sleeps(server, where), PATIENCE, "its sleep")
        assert server.get(f"{where}/files/home/sandbox/f").body == b"content\n"
        wait_until(lambda: sleeps(server, where), PATIENCE, "its sleep")
        assert server.ask("DELETE", where).status == 204
        assert server.get(where).status == 404 and os.listdir(store.snapshots / "layers") == []


def test_a_daemon_that_is_killed_while_it_wakes_one(store):  # noqa: F811
    with Server(store) as server:
        made = server.session(idle_seconds=1, on_idle="snapshot")
        where = f"/v1/sessions/{made['id']}"
        server.run(made, "echo content > ~/f")
        wait_until(lambda: sleeps(server, where), PATIENCE, "its sleep")
        with server.begin_run(made, {"command": "true"}):
            server.kill()
        server.start()
        assert server.run(made, "cat ~/f")["stdout"] == "content\n"


# ---- what a hostile reading found ------------------------------------------------------------------------------------


def test_lists_name_it(store):  # noqa: F811
    with Sleeper(store, "--name", "listed") as made:
        made.await_sleep()
        out = store.cli("session", "ls")
        assert out.code == 0 and made.id in out.stdout and "asleep" in out.stdout, out


def test_who_comes_at_the_end_of_the_copy(store):  # noqa: F811
    """Its answer and a client in one round of the supervisor."""
    with Sleeper(store, idle="100ms") as made:
        for turn in range(25):
            assert made.execute(f"echo {turn} > ~/f; cat ~/f") == f"{turn}\n"
            assert store.cli("session", "show", made.id).code == 0


@TWINS
@pytest.mark.refusal
def test_guarded_files_that_could_be_moved_do_not_sleep(store, verdict):  # noqa: F811
    """Awake a lease is on the file, wherever it goes; what wakes could only look at its path."""
    share = store.folder / "share"
    share.mkdir()
    (share / "key").write_text("secret\n")
    for each in (share, share / "key"):
        os.chown(each, store.uid, store.gid)
    access = ":ro" if verdict == "allow" else ""
    words = ["--allow", "allowed.test", "--after", "none", "-v", f"{share}:/s{access}", "--sensitive", str(share / "key")]
    if verdict == "refuse":
        with Session(store, "--idle", SOON, "--on-idle", "snapshot", *words) as made:
            assert made.code == 125 and "could be moved away" in made.said["error"]["message"], made.said
        return
    with Sleeper(store, *words) as made:
        made.await_sleep()
        store.world.reset()
        assert made.execute("cat /s/key") == "secret\n"
        assert made.show()["generation"] == 2
        made.await_sleep()
        (share / "key").unlink()  # it guards nothing any more
        assert made.execute("echo on") == "on\n"


def test_more_than_can_be_read_again_is_not_begun(store):  # noqa: F811
    env = store.file("env", "".join(f"V{i}=x\n" for i in range(5000)))
    with Session(store, "--idle", SOON, "--on-idle", "snapshot", "--env-file", str(env)) as made:
        assert made.code == 125 and "could not be woken" in made.said["error"]["message"], made.said


def test_a_session_json_that_cannot_be_read_costs_nothing(store):  # noqa: F811
    with Sleeper(store, "--name", "torn") as made:
        made.execute("echo x > ~/f")
        made.await_sleep()
        path = f"{made.folder}/session.json"
        was = open(path, "rb").read()
        with open(path, "r+b") as file:
            file.truncate(len(was) // 2)
        for words in (["exec", "torn", "true"], ["session", "show", made.id]):
            out = store.cli(*words)
            assert out.code == 125 and "cannot be read" in out.stderr and f"weir session rm {made.id}" in out.stderr, out
        assert store.cli("session", "ls").code == 0 and len(layers(store)[1]) == 1
        with open(path, "r+b") as file:
            file.write(was)
        assert made.execute("cat ~/f") == "x\n"
        made.await_sleep()
        with open(path, "r+b") as file:
            file.truncate(3)
        assert store.cli("session", "rm", "torn").code == 0
        assert not os.path.exists(made.folder) and layers(store) == ([], [])


def test_what_cannot_fall_asleep_tries_less_and_less(store):  # noqa: F811
    """A hole is no more than --disk, but would be: found at once, and looked for ever more rarely."""
    with Sleeper(store, "--disk", "64M") as made:
        made.execute("truncate -s 1G /tmp/big")
        wait_until(lambda: made.types()[-1] == "awake" and "error" in read_events(made.events_path)[-1], PATIENCE, "its refusal")
        seen = set()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            seen.update(made.marker())
            os.sched_yield()
        assert len(seen) <= 2, seen  # every 50 ms would be dozens
        made.execute("rm /tmp/big")
        made.await_sleep()
