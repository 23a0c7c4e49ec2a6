"""Results as text: the table on the terminal, and docs/benchmarks.md."""

from goals import verdicts


def number(value, digits=3):
    """About three significant digits, thousands apart: 1,234 / 12.3 / 0.012."""
    if value is None:
        return "-"
    if value == 0 or digits == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3}f}"


def goal_text(goal):
    aim = f", aim {goal.aim:g}" if goal.aim is not None else ""
    return f"{goal.sense} {goal.must:g}{aim}"


def columns(rows):
    """Lines of a table whose columns are as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


HEAD = ["row", "quantity", "whose", "figure", "against", "figure", "ratio", "goal", ""]


def goal_cells(row, quantity, verdict):
    goal = verdict.goal
    unit = f" {quantity['unit']}" if quantity else ""
    digits = quantity["digits"] if quantity else 3
    return [row["id"], quantity["title"] if quantity else goal.quantity, goal.of,
            "-" if verdict.value is None else number(verdict.value, digits) + unit, verdict.peer_name or "-",
            number(verdict.peer, digits), number(verdict.ratio), goal_text(goal), verdict.word]


def table(results):
    """The goals of every measured row, then what was skipped and what went wrong."""
    cells = [goal_cells(*item) for item in verdicts(results)]
    lines = columns([HEAD, *cells]) if cells else []
    skipped = [(row["id"], name, why) for row in results["rows"] for name, why in row["skipped"].items()]
    errors = [(row["id"], text) for row in results["rows"] for text in row["errors"]]
    lines += [f"skipped: {id}: {name}: {why}" for id, name, why in skipped]
    failures = [(row["id"], text) for row in results["rows"] for text in row["failures"]]
    lines += [f"a peer's run failed: {id}: {text}" for id, text in failures]
    lines += [f"{row['id']}: {text}" for row in results["rows"] for text in row["notes"] if text.startswith("NOT ALONE")]
    lines += [f"ERROR: {id}: {text}" for id, text in errors]
    words = [cell[-1] for cell in cells]
    met = sum(word in ("met", "aim met") for word in words)
    lines.append(f"{len(results['rows'])} rows; goals: {met} met, {words.count('MISSED')} missed, "
                 f"{len(words) - met - words.count('MISSED')} not comparable; {len(skipped)} contenders skipped; "
                 f"{len(errors)} errors")
    return "\n".join(lines)


def figures(row):
    """All medians of one row: one line per quantity and contender."""
    lines = []
    for quantity in row["quantities"]:
        for name, spread in quantity["contenders"].items():
            digits = quantity["digits"]
            lines.append([row["id"], quantity["title"], name, f"{number(spread['median'], digits)} {quantity['unit']}",
                          f"{number(spread['min'], digits)} - {number(spread['max'], digits)}", f"{spread['runs']} runs"])
    return columns(lines) if lines else []


# ---- docs/benchmarks.md ----------------------------------------------------------------------------------------------

def _cell(text):
    return str(text).replace("|", "\\|")


def _markdown_table(head, rows):
    return ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |",
            *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)]


def _row_section(row):
    lines = [f"### {row['id']}: {row['title']}", "", f"Repeat with `{row['command']}`.", ""]
    lines += _markdown_table(["quantity", "contender", "median", "min - max", "runs"], [
        [quantity["title"], name, f"{number(spread['median'], quantity['digits'])} {quantity['unit']}",
         f"{number(spread['min'], quantity['digits'])} - {number(spread['max'], quantity['digits'])}", spread["runs"]]
        for quantity in row["quantities"] for name, spread in quantity["contenders"].items()])
    lines.append("")
    lines += [f"- {text}" for text in row["notes"]]
    lines += [f"- set or lifted: {text}" for text in row["limits"]]
    lines += [f"- skipped: {name}: {why}" for name, why in row["skipped"].items()]
    lines += [f"- a run failed: {text}" for text in row["failures"]]
    lines += [f"- ERROR: {text}" for text in row["errors"]]
    return [*lines, ""]


def document(results, notes, plots):
    """The whole page. `notes`: the text of bench/notes.md; `plots`: [(title, path relative to docs/)]."""
    machine = results["machine"]
    cells = [goal_cells(*item) for item in verdicts(results)]
    lines = ["# Benchmarks", "",
             "<!-- Made by `./dev bench --write-docs` from build/bench/results.json. Do not edit; bench/notes.md is included. -->", "",
             "Ratios of medians, measured side by side in one run; absolute figures are this machine's only. What is compared",
             "with what, and why that is fair, is in [bench/README.md](../bench/README.md). weir runs with policy and audit on.", ""]
    for title, path in plots:
        lines += [f"![{title}]({path})", ""]
    lines += ["## Goals", ""]
    lines += _markdown_table([*HEAD[:-1], "result", "repeat with"],
                             [[*row[:-1], f"**{row[-1]}**" if row[-1] == "MISSED" else row[-1], f"`./dev bench {row[0]}`"]
                              for row in cells])
    lines += ["", notes.strip(), "", "## All figures", ""]
    for row in results["rows"]:
        lines += _row_section(row)
    lines += ["## Where this was measured", "", f"- {results['date']}, set: {results['set']}"]
    lines += [f"- {key}: {value}" for key, value in machine.items()]
    lines += [f"- {name}: {version}" for name, version in results["versions"].items()]
    return "\n".join(lines) + "\n"
