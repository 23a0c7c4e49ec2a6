"""Reads JUnit reports for ./dev test.

counts PATH       "passed failed skipped" over a report or a folder of reports
skips FOLDER      every skipped test with its reason
red REPORT PCT    at least PCT percent of the tests must have failed; lists the others. For the run with the barrier off
crashed NAME      a report of one failure, for a program that left none
"""

import pathlib
import sys
import xml.etree.ElementTree as tree


def cases(path):
    path = pathlib.Path(path)
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise SystemExit(f"no report in {path}")
    for file in files:
        for case in tree.parse(file).getroot().iter("testcase"):
            yield f"{case.get('classname')}::{case.get('name')}", state_of(case), case


def state_of(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("result") == "skipped" or case.get("status") == "notrun":
        return "skipped"
    return "passed"


def counts(path):
    """A test that failed and then failed again in its teardown is reported twice and is one test."""
    states = {}
    for name, state, _ in cases(path):
        if states.get(name) != "failed":
            states[name] = state
    total = list(states.values())
    print(total.count("passed"), total.count("failed"), total.count("skipped"))


def skips(folder):
    found = [(name, case) for name, state, case in cases(folder) if state == "skipped"]
    for name, case in found:
        skipped = case.find("skipped")
        print(f"{name}: {(skipped.get('message') or '').strip() if skipped is not None else 'no reason given'}")
    if not found:
        print("none")


def red(path, percent):
    states, elsewhere = {}, set()
    for name, state, case in cases(path):
        states[name] = state
        if any(item.get("name") == "elsewhere" for item in case.iter("property")):
            elsewhere.add(name)
    rows = {name: state for name, state in states.items() if state != "skipped" and name not in elsewhere}
    green = sorted(name for name, state in rows.items() if state == "passed")
    share = 100 * (len(rows) - len(green)) / len(rows) if rows else 0
    print(f"{len(rows) - len(green)} of {len(rows)} refusal rows turned red ({share:.1f} %, wanted {percent} %)")
    for name in green:
        print(f"  still green: {name}")
    for name in sorted(elsewhere):
        print(f"  refused without asking admission (not counted): {name}: {states[name]}")
    if share < percent:
        raise SystemExit(1)


def crashed(name):
    print(f'<testsuite name="{name}"><testcase classname="{name}" name="crashed"><failure message="crashed"/></testcase>'
          "</testsuite>")


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "red":
        red(arguments[0], float(arguments[1]))
    else:
        {"counts": counts, "skips": skips, "crashed": crashed}[command](arguments[0])
