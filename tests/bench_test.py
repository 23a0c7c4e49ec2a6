"""The pure parts of the benchmark suite: statistics, verdicts, table, plots, and the page made from committed results."""

import json
import pathlib
import sys
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))

import goals  # noqa: E402
import measure  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402

RATE = measure.Quantity("rate", "rate", "k/s", "more")


def row(run, contenders=("weir", "pasta"), rounds=3):
    return measure.Row("X1", "a row", [RATE], list(contenders), run, rounds)


def silent(_):
    pass


def quantity(better="more", **medians):
    return {"key": "rate", "title": "rate", "unit": "k/s", "better": better, "digits": 3,
            "contenders": {name: measure.spread([value]) for name, value in medians.items()}}


def results(**medians):
    return {"date": "2026-01-01", "set": "core", "machine": {"kernel": "6.1"}, "versions": {"weir": "0"}, "rows": [
        {"id": "A6", "title": "connections", "command": "./dev bench A6", "rounds": 1, "limits": ["flows | 8192"], "notes": [],
         "quantities": [quantity(**medians)], "skipped": {"podman": "not installed"}, "failures": [], "errors": []}]}


def test_spread():
    assert measure.spread([3, 1, 2]) == {"median": 2, "min": 1, "max": 3, "runs": 3}


def test_contenders_take_turns():
    order = []
    measure.side_by_side(row(lambda way: order.append(way) or {"rate": 1}), silent)
    assert order == ["weir", "pasta"] * 3


def test_a_missing_peer_is_asked_once_and_named():
    def run(way):
        if way == "pasta":
            raise measure.Unavailable("not installed")
        return {"rate": 1}
    made = measure.result_of(row(run), silent)
    assert made["skipped"] == {"pasta": "not installed"}
    assert made["quantities"][0]["contenders"]["weir"]["runs"] == 3 and not made["errors"]


@pytest.mark.parametrize("who, where", [("weir", "errors"), ("pasta", "failures")])
def test_a_failure_of_weir_is_an_error_and_a_peers_is_named(who, where):
    def run(way):
        if way == who:
            raise measure.Failed("exit 1")
        return {"rate": 1}
    made = measure.result_of(row(run), silent)
    assert {key: len(made[key]) for key in ("errors", "failures")} == {"errors": 0, "failures": 0, where: 3}


def test_a_path_that_is_not_proven_gives_no_figure():
    def run(way):
        raise measure.NotProven("nothing went through tap0")
    made = measure.result_of(row(run, rounds=1), silent)
    assert len(made["errors"]) == 2 and not made["quantities"][0]["contenders"]


@pytest.mark.parametrize("sense, must, aim, value, word", [
    (">=", 0.8, 0.95, 96, "aim met"), (">=", 0.8, 0.95, 80, "met"), (">=", 0.8, 0.95, 79, "MISSED"),
    ("<=", 1.0, 0.8, 80, "aim met"), ("<=", 1.0, 0.8, 100, "met"), ("<=", 1.0, 0.8, 101, "MISSED"),
    ("<=", 1.0, None, 10, "met")])
def test_verdicts(sense, must, aim, value, word):
    assert goals.judge(goals.Goal("X", "rate", sense, must, aim, "peer"), quantity(weir=value, peer=100)).word == word


@pytest.mark.parametrize("better, best", [("more", "slirp4netns"), ("less", "pasta")])
def test_the_better_of_two_peers_counts(better, best):
    goal = goals.Goal("X", "rate", ">=", 1, versus=("pasta", "slirp4netns"))
    assert goals.judge(goal, quantity(better, weir=1, pasta=2, slirp4netns=3)).peer_name == best


def test_without_its_peer_a_goal_is_neither_met_nor_missed():
    assert goals.judge(goals.Goal("X", "rate", ">=", 1, versus="pasta"), quantity(weir=1)).word == "no peer"
    assert goals.judge(goals.Goal("X", "rate", ">=", 1), quantity(pasta=1)).word == "no figure"


@pytest.mark.parametrize("peer", [0, -5])
def test_a_peer_without_a_figure_compares_with_nothing(peer):
    assert goals.judge(goals.Goal("X", "rate", "<=", 1, versus="peer"), quantity(weir=1, peer=peer)).word == "no figure"


def test_rows_are_chosen_by_id_and_by_group():
    rows = [measure.Row(id, "", [], [], None, 1) for id in ("A1", "A10", "S1", "S2")]

    def ids(*words):
        return [row.id for row in run.chosen_rows(rows, words)]
    assert ids() == ["A1", "A10", "S1", "S2"] and ids("A1") == ["A1"] and ids("S") == ["S1", "S2"]
    with pytest.raises(SystemExit, match="no row B; there are A1"):
        ids("A1", "B")


def test_rows_of_another_weir_say_so(tmp_path):
    machine = {"kernel": "6.1", "processor": "x", "memory": "1 GiB"}
    old = {**results(weir=1), "machine": machine, "versions": {"weir": "0.9"}}
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(old))
    new = {**results(weir=2), "machine": machine, "rows": [{**results(weir=2)["rows"][0], "id": "S1"}]}
    made = run.with_kept_rows(new, kept)
    assert [row["id"] for row in made["rows"]] == ["A6", "S1"]
    assert made["rows"][0]["notes"] == ["measured on 2026-01-01 with 0.9"] and not made["rows"][1]["notes"]
    kept.write_text(json.dumps(made))
    assert run.with_kept_rows(new, kept)["rows"][0]["notes"] == ["measured on 2026-01-01 with 0.9"]
    assert run.with_kept_rows({**new, "rows": old["rows"]}, kept)["rows"][0]["notes"] == []
    with pytest.raises(SystemExit, match="another machine"):
        run.with_kept_rows({**new, "machine": {**machine, "processor": "y"}}, kept)


def test_every_goal_is_sound():
    for goal in goals.GOALS:
        assert goal.sense in (">=", "<=")
        if goal.aim is not None:
            assert goals._good(goal.sense, goal.aim, goal.must), f"{goal.row}: the aim is easier than the must"


@pytest.mark.parametrize("value, text", [(1234.5, "1,234"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.012"), (0, "0")])
def test_numbers(value, text):
    assert report.number(value) == text


def test_the_table_counts_what_was_missed_and_skipped():
    text = report.table(results(**{"weir": 10, "without weir": 100, "bare relay": 10, "pasta": 5}))
    assert "MISSED" in text and "skipped: A6: podman: not installed" in text
    assert "2 met, 1 missed, 2 not comparable; 1 contenders skipped; 0 errors" in text


@pytest.mark.parametrize("name", ["weir", "<&>\"'"])
def test_plots_are_well_formed(name):
    root = xml.etree.ElementTree.fromstring(plots.bars("t & t", "ms", [(name, 1.0), ("other", 0.0)], "less"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert name in texts and "t & t" in texts


def test_the_page_quotes_what_would_break_a_table():
    page = report.document(results(weir=1), "notes", [("A plot", "plots/a.svg")])
    assert "![A plot](plots/a.svg)" in page and "`./dev bench A6`" in page and "flows | 8192" in page


def test_the_committed_page_is_made_from_the_committed_results():
    committed = json.loads((ROOT / "docs/benchmarks.json").read_text())
    made = plots.chosen(committed)
    page = report.document(committed, (ROOT / "bench/notes.md").read_text(),
                           [(title, f"plots/{name}") for name, (title, _) in made.items()])
    current = (ROOT / "docs/benchmarks.md").read_text() == page  # the two pages would fill the screen
    assert current, "run ./dev bench --write-docs"
    for name, (_, svg) in made.items():
        assert (ROOT / "docs/plots" / name).read_text() == svg
