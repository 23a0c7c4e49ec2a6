"""weir diff and weir apply: what a run changed in an overlay is kept when asked for, shown, and taken over (attacks M09, N08, P01)."""

import json
import os
import stat
import subprocess

import pytest

from lab import wait_until

STORE = ".local/state/weir/changes"


@pytest.fixture
def work(lab):
    """A shared folder of the user under test, as it was a while ago."""
    folder = lab.folder / "work"
    (folder / "old").mkdir(parents=True)
    for name in ("keep", "change", "remove", "old/inner", "old/other"):
        (folder / name).write_text("before\n")
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {folder}")
    return folder


def run(lab, work, command, *extra, keep=True):
    flags = ["--keep-changes"] if keep else []
    out = lab.run("sh", "-c", command, extra=["-v", f"{work}:/w:overlay", "-w", "/w", *flags, *extra])
    assert out.code == 0, out
    return out


def weir(lab, *argv, code=0):
    out = lab.cli(*argv)
    assert out.code == code, out
    return out


def states(lab, *argv, code=0):
    """{path: entry} of weir diff or weir apply."""
    page = json.loads(weir(lab, *argv, "-o", "json", code=code).stdout)
    return {entry["path"]: entry for entry in page["changes"]}


def reasons(entry):
    return "; ".join(entry["reasons"])


def temporaries(folder):
    return [name for _, folders, files in os.walk(folder) for name in folders + files if name.startswith(".weir-apply-")]


def kept_id(out):
    return out.stderr.strip().rsplit(" ", 1)[1]


@pytest.mark.parametrize("extra", [[], ["--disk", "64M"], ["--user", "root"]])
def test_shown_then_taken_over(lab, work, extra):
    out = run(lab, work, "echo x >> change && rm remove && echo new > added && mkdir -p deep/er && echo hi > deep/er/file && "
              "ln -s ../keep old/link && mv old/inner old/moved && chmod 755 added", *extra)
    name = kept_id(out)
    shown = weir(lab, "diff", str(work)).stdout
    assert name in shown and "changed file change, 9 B" in shown and "deleted remove" in shown, shown
    assert (work / "change").read_text() == "before\n" and (work / "remove").exists()
    patch = weir(lab, "diff", name, "--patch", str(work / "change")).stdout
    assert "--- a/change\n+++ b/change\n@@ -1,1 +1,2 @@\n before\n+x\n" in patch, patch
    before = states(lab, "diff")
    assert {entry["state"] for entry in before.values()} == {"open"} and len(before) == 9, before
    dry = weir(lab, "apply", "--dry-run").stdout
    assert "would apply: changed file change" in dry and (work / "remove").exists(), dry
    done = states(lab, "apply")
    assert {entry["state"] for entry in done.values()} == {"applied"}, done
    assert (work / "change").read_text() == "before\nx\n" and not (work / "remove").exists()
    assert (work / "deep/er/file").read_text() == "hi\n" and os.readlink(work / "old/link") == "../keep"
    assert not (work / "old/inner").exists() and (work / "old/moved").read_text() == "before\n"
    assert stat.S_IMODE((work / "added").stat().st_mode) == 0o755
    for path in ("change", "added", "deep", "deep/er/file", "old/moved"):
        assert ((work / path).lstat().st_uid, (work / path).lstat().st_gid) == (lab.uid, lab.gid), path
    again = states(lab, "apply")
    assert {entry["state"] for entry in again.values()} == {"already"} and not temporaries(work), again
    weir(lab, "apply", "--discard")
    assert not os.listdir(lab.folder / STORE)
    assert "nothing is kept" in weir(lab, "diff", code=125).stderr


def test_kept_only_when_asked(lab, work):
    out = run(lab, work, "echo x >> change", keep=False)
    assert "kept" not in out.stderr and not (lab.folder / STORE).exists(), out
    assert "--keep-changes" in weir(lab, "diff", code=125).stderr
    out = lab.run("true", extra=["-v", f"{work}:/w", "--keep-changes"])
    assert out.code == 125 and "nothing is shared as an overlay" in out.stderr, out
    run(lab, work, "echo x >> change")
    assert set(states(lab, "diff")) == {"change"}
    store = lab.folder / STORE
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert {stat.S_IMODE((store / name).stat().st_mode) for name in os.listdir(store)} == {0o600}


def test_the_last_run_counts_also_where_it_changed_nothing(lab, work):
    first = kept_id(run(lab, work, "echo x >> change"))
    run(lab, work, "true")
    assert states(lab, "diff") == {} and set(states(lab, "diff", first)) == {"change"}
    assert "nothing was changed" in weir(lab, "diff").stdout


def test_a_store_that_the_command_could_write_to_is_refused(lab, work):
    store = lab.folder / ".local" / "state" / "weir" / "changes"
    store.mkdir(parents=True, exist_ok=True)
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {lab.folder}/.local")
    flags = ["-v", f"{work}:/w:overlay", "--keep-changes"]
    out = lab.run("true", extra=[*flags, "-v", f"{store}:/s"])
    assert out.code == 125 and "could rewrite its own record" in out.stderr, out
    assert lab.run("true", extra=[*flags, "-v", f"{store}:/s:ro"]).code == 0


def test_paths_select(lab, work):
    run(lab, work, "mkdir -p d/e && echo 1 > d/e/f && echo 2 > d/g && echo 3 > h && echo 4 > change")
    assert set(states(lab, "diff", str(work / "d"))) == {"d", "d/e", "d/e/f", "d/g"}
    assert set(states(lab, "apply", str(work / "d/e/f"))) == {"d", "d/e", "d/e/f"}
    assert (work / "d/e/f").read_text() == "1\n" and not (work / "d/g").exists() and not (work / "h").exists()
    out = weir(lab, "apply", str(work / "nothing"), code=125)
    assert "nothing that" in out.stderr
    assert "not in a folder" in weir(lab, "apply", "/etc/passwd", code=125).stderr
    weir(lab, "apply", "work/h")  # from the folder in which weir was called
    assert (work / "h").read_text() == "3\n" and (work / "change").read_text() == "before\n"


def test_what_would_run_outside_waits_for_its_name(lab, work):
    run(lab, work, "mkdir -p .git/hooks sub/.vscode .git/objects && echo e > .git/hooks/pre-commit && echo e > .envrc && "
        "echo e > sub/.vscode/tasks.json && echo o > .git/objects/o && echo fine > plain && echo e > sub/HEAD")
    done = states(lab, "apply", code=1)
    refused = {path for path, entry in done.items() if entry["state"] == "refused"}
    assert refused == {".git/hooks", ".git/hooks/pre-commit", ".envrc", "sub/.vscode", "sub/.vscode/tasks.json",
                       "sub/HEAD"}, done
    assert "run outside" in reasons(done[".envrc"]) and done[".envrc"]["insistable"]
    assert not (work / ".envrc").exists() and not (work / ".git/hooks").exists() and not (work / "sub/HEAD").exists()
    assert (work / "plain").read_text() == "fine\n" and (work / ".git/objects/o").exists()
    named = states(lab, "apply", str(work / ".envrc"), "--insist", f"file={work}/.envrc")
    assert named[".envrc"]["state"] == "applied" and (work / ".envrc").read_text() == "e\n"
    assert "did not change" in weir(lab, "apply", "--insist", f"file={work}/keep", code=125).stderr
    assert "file=PATH" in weir(lab, "apply", "--insist", str(work / "sub"), code=125).stderr


@pytest.mark.parametrize("where", ["bare", "head-comes-too", "below", "inside-git"])
def test_a_repository_by_any_layout(lab, work, where):
    """Settings and hooks of a bare repository, of one that the run makes, and where the share begins inside of .git."""
    shared = work / ".git" if where == "inside-git" else work
    shared.mkdir(exist_ok=True)
    if where == "bare":
        (work / "HEAD").write_text("ref: refs/heads/main\n")
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {work}")
    prefix = "mirror/" if where == "below" else ""
    head = "" if where in ("bare", "inside-git") else f"echo 'ref: x' > {prefix}HEAD;"
    run(lab, shared, f"mkdir -p ./{prefix}hooks ./{prefix}objects; {head} echo e > {prefix}config; echo e > {prefix}Hooks; "
        f"echo e > {prefix}hooks/post-receive; echo o > {prefix}objects/o; echo fine > plain")
    done = states(lab, "apply", code=1)
    for path in ("config", "hooks", "hooks/post-receive"):
        assert done[prefix + path]["state"] == "refused" and not (shared / (prefix + path)).exists(), done
        assert path == "hooks/post-receive" or "run outside" in reasons(done[prefix + path]), done
    assert done["plain"]["state"] == done[prefix + "objects/o"]["state"] == "applied", done
    named = states(lab, "apply", "--insist", f"file={shared}/{prefix}config", str(shared / (prefix + "config")))
    assert named[prefix + "config"]["state"] == "applied", named


def test_what_becomes_executable_is_shown(lab, work):
    run(lab, work, "chmod 755 keep")
    assert "changed file keep, 7 B, executable" in weir(lab, "diff", str(work)).stdout
    assert states(lab, "diff")["keep"]["mode"] & 0o111


def test_removing_what_is_run_outside_waits_for_its_name(lab, work):
    (work / ".git/hooks").mkdir(parents=True)
    (work / ".git/hooks/mine").write_text("mine")
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {work}")
    run(lab, work, "rm -r .git && rm -r old")
    done = states(lab, "apply", code=1)
    assert done[".git"]["state"] == "refused" and "run outside" in reasons(done[".git"]), done
    assert done["old"]["state"] == "applied" and not (work / "old").exists()
    assert (work / ".git/hooks/mine").read_text() == "mine"
    states(lab, "apply", "--insist", f"file={work}/.git")
    assert not (work / ".git").exists()


def test_links_that_lead_out(lab, work):
    run(lab, work, f"ln -s /etc/passwd absolute; ln -s ../canary above; ln -s keep fine; rm -r old; ln -s {lab.folder} old")
    done = states(lab, "apply", code=1)
    for path in ("absolute", "above", "old"):
        assert done[path]["state"] == "refused" and "leads out" in reasons(done[path]), done[path]
    assert not (work / "absolute").is_symlink() and (work / "old/inner").read_text() == "before\n"
    assert done["fine"]["state"] == "applied" and os.readlink(work / "fine") == "keep"
    assert states(lab, "apply", "--insist", f"file={work}/absolute", str(work / "absolute"))["absolute"]["state"] == "applied"


def test_a_conflict_is_refused_and_named(lab, work):
    """The folder changes while the command runs, and after it."""
    running = lab.start("sh", "-c", "echo up; read x; for f in keep change remove old/inner; do echo guest > $f; done",
                        extra=["-v", f"{work}:/w:overlay", "-w", "/w", "--keep-changes"])
    try:
        assert running.line() == "up"
        (work / "change").write_text("mine\n")
        running.say("go")
        out = running.finish()
    finally:
        running.kill()
    assert out.code == 0, out
    (work / "remove").unlink()
    done = states(lab, "apply", code=1)
    assert done["change"]["state"] == "refused" and "while the run" in reasons(done["change"]), done
    assert done["remove"]["state"] == "refused" and "gone from here" in reasons(done["remove"]), done
    assert done["change"]["conflict"] and done["remove"]["conflict"] and not done["keep"]["conflict"]
    assert (work / "change").read_text() == "mine\n" and not (work / "remove").exists()
    assert (work / "keep").read_text() == (work / "old/inner").read_text() == "guest\n"
    text = weir(lab, "apply", code=1).stdout
    assert "refused: changed file change" in text and "2 were there already, 2 left" in text, text
    states(lab, "apply", "--insist", f"file={work}/change", str(work / "change"))
    assert (work / "change").read_text() == "guest\n"


def test_a_folder_that_was_swapped_for_a_link(lab, work):
    outside = lab.folder / "outside"
    outside.mkdir()
    (outside / "inner").write_text("secret")
    lab.world.host.sh(f"chown -R {lab.uid}:{lab.gid} {outside}")
    run(lab, work, "echo guest > old/inner; echo guest > old/fresh; echo guest > keep")
    (work / "old").rename(lab.folder / "aside")
    (work / "old").symlink_to(outside)
    done = states(lab, "apply", "--insist", f"file={work}/old/inner", code=1)
    assert done["old/inner"]["state"] == done["old/fresh"]["state"] == "refused", done
    assert (outside / "inner").read_text() == "secret" and os.listdir(outside) == ["inner"]
    assert done["keep"]["state"] == "applied" and (work / "keep").read_text() == "guest\n"
    (work / "old").unlink()
    (lab.folder / "aside").rename(work / "old")
    states(lab, "apply", str(work / "old/fresh"))
    assert (work / "old/fresh").read_text() == "guest\n"


def test_what_is_never_made_and_names_that_steer_a_terminal(lab, work):
    code = """
import os, socket
os.mkfifo('pipe'); socket.socket(socket.AF_UNIX).bind('sock')
open('a\\x1b[2J\\nforged', 'w').write('\\x1b[31mred\\n'); open(b'\\xff', 'w').write('bytes')
os.mkdir('closed'); open('closed/secret', 'w').close(); os.chmod('closed', 0)
for i in range(150): os.mkdir('d'); os.chdir('d')
"""
    out = run(lab, work, "cat > /tmp/x.py <<'END'\n" + code + "\nEND\npython3 /tmp/x.py")
    assert "could not be" in out.stderr, out
    shown = weir(lab, "diff", "--patch").stdout
    assert "\x1b" not in shown and "\nforged" not in shown and "+\\x1b[31mred" in shown, shown[:2000]
    text = weir(lab, "apply", code=1).stdout
    assert "\x1b" not in text and "\nforged" not in text, text[:2000]
    done = states(lab, "apply", code=1)
    assert done["pipe"]["state"] == done["sock"]["state"] == "refused" and not done["pipe"]["insistable"], done["pipe"]
    assert not (work / "pipe").exists() and not (work / "sock").exists()
    assert (work / "a\x1b[2J\nforged").read_text() == "\x1b[31mred\n"
    assert open(os.fsencode(work) + b"/\xff").read() == "bytes"
    assert any("nested too deeply" in reasons(entry) for entry in done.values())


def test_ten_thousand_files(lab, work):
    run(lab, work, "mkdir many && cd many && seq 10000 | xargs touch && echo x > 77")
    text = weir(lab, "apply").stdout
    assert "10001 taken over, 0 were there already, 0 left" in text, text[-200:]
    assert len(os.listdir(work / "many")) == 10000 and (work / "many/77").read_text() == "x\n"
    assert "0 taken over, 10001 were there already, 0 left" in weir(lab, "apply").stdout


def test_killed_in_the_middle(lab, work):
    """The next one finds what is missing, and nothing half-done stays."""
    run(lab, work, "mkdir many && cd many && for i in $(seq 3000); do echo $i > $i; done; cd .. && rm -r old && echo x > keep")
    process = subprocess.Popen(lab.command([lab.weir, "apply"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    many = work / "many"
    wait_until(lambda: many.exists() and len(os.listdir(many)) > 100, what="the first files")
    process.kill()
    process.wait()
    done = states(lab, "apply")
    assert {entry["state"] for entry in done.values()} <= {"applied", "already"}, done
    assert not temporaries(work) and len(os.listdir(many)) == 3000 and not (work / "old").exists()
    assert all((many / str(i)).read_text() == f"{i}\n" for i in range(1, 3001))


def test_sparse_and_hard_linked(lab, work):
    run(lab, work, "echo begin > sparse && truncate -s 200M sparse && ln keep other && echo x >> other")
    weir(lab, "apply")
    status = (work / "sparse").stat()
    assert status.st_size == 200 << 20 and status.st_blocks < 1000
    assert (work / "keep").read_text() == (work / "other").read_text() == "before\nx\n"
    assert (work / "keep").stat().st_nlink == 1


def test_a_killed_weir_keeps_nothing_and_the_rest_is_swept(lab, work):
    running = lab.start("sh", "-c", "echo up; sleep 60", extra=["-v", f"{work}:/w:overlay", "--keep-changes"])
    try:
        assert running.line() == "up"
    finally:
        running.kill()
    store = lab.folder / STORE
    left = os.listdir(store)
    assert len(left) == 1 and left[0].endswith(".data")
    assert "nothing is kept" in weir(lab, "diff", code=125).stderr
    run(lab, work, "echo x > keep")
    assert left[0] not in os.listdir(store) and len(os.listdir(store)) == 2


def test_root_acts_with_the_rights_of_the_owner(lab, work):
    """What root takes over into somebody's folder belongs to them, and is done with their rights."""
    if lab.uid != 0:
        pytest.skip("only root has more rights than the owner")
    lab.world.host.sh(f"chown -R 12345:12345 {work}")
    run(lab, work, "echo x > added && echo x > keep && mkdir d", "--user", "root")
    weir(lab, "apply")
    for path in ("added", "keep", "d"):
        assert ((work / path).stat().st_uid, (work / path).stat().st_gid) == (12345, 12345), path
