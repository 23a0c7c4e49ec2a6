"""`./dev bench [--all] [ROW...]`: measures weir beside its peers and its controls, and says which goals are met.

Exit 0: measured, whatever the figures. 1: a measurement is broken (its path is not proven). 2: could not run.
"""

import argparse
import datetime
import json
import os
import pathlib
import pwd
import signal
import sys
import time

import plots
import report
from measure import result_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "build/bench"
BUSY_PERCENT = 10  # more than that, and the figures are not weir's alone


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="A1, D1 ..., or a letter: all that begin with it; without: every row")
    parser.add_argument("--all", action="store_true", help="long runs and many of them; takes an hour")
    parser.add_argument("--as", dest="identity", metavar="USER", help="who runs weir and its peers (as root only)")
    parser.add_argument("--build", default=str(ROOT / "build/release"), help="folder with weir and the bench tools")
    parser.add_argument("--results", default=str(OUT / "results.json"), help="where the results go, or come from")
    parser.add_argument("--keep", metavar="FILE", help="results of another weir on this machine: its rows stay beside the new ones, and say whose they are")
    parser.add_argument("--write-docs", action="store_true", help="measure nothing: results -> docs/benchmarks.md, docs/plots")
    return parser.parse_args()


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def all_rows(field, full):
    from contenders import Contenders
    from peers import Peers
    from rows_datagram import DatagramRows
    from rows_dns import DnsRows
    from rows_memory import MemoryRows
    from rows_names import NamesRows
    from rows_neighbour import NeighbourRows
    from rows_proxy import ProxyRows
    from rows_session import SessionRows
    from rows_start import StartRows
    from rows_tcp import TcpRows
    ways, peers = Contenders(field), Peers(field)
    rows = [*TcpRows(field, ways, peers, full).rows(), *DnsRows(field, ways, full).rows(),
            *NamesRows(field, ways, full).rows(), *DatagramRows(field, ways, full).rows(),
            *ProxyRows(field, ways, peers, full).rows(), *NeighbourRows(field, ways, full).rows(),
            *StartRows(field, ways, peers, full).rows(), *SessionRows(field, ways, peers, full).rows(),
            *MemoryRows(field, ways, peers, full).rows()]
    return sorted(rows, key=lambda row: row.id)


def identity_of(name):
    if name is None or os.getuid() != 0:
        return None
    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


def with_earlier_rows(results, path):
    """Rows that were measured before on this machine, by this weir and in the same set, stay beside the new ones."""
    try:
        earlier = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError):
        return results
    if any(earlier.get(key) != results[key] for key in ("set", "machine", "versions")):
        return results
    new = {row["id"] for row in results["rows"]}
    rows = [*results["rows"], *(row for row in earlier["rows"] if row["id"] not in new)]
    return {**results, "rows": sorted(rows, key=lambda row: row["id"])}


def with_kept_rows(results, path):
    """Rows of another weir stay where nothing newer is, each with the weir and the day it was measured on."""
    kept = json.loads(pathlib.Path(path).read_text())
    for key in ("kernel", "processor", "memory"):
        if kept["machine"][key] != results["machine"][key]:
            sys.exit(f"bench: {path} was measured on another machine ({key}: {kept['machine'][key]})")
    new = {row["id"] for row in results["rows"]}
    whose = f"measured on {kept['date']} with {kept['versions']['weir']}"
    rows = [row if any(note.startswith("measured on ") for note in row["notes"]) else {**row, "notes": [*row["notes"], whose]}
            for row in kept["rows"] if row["id"] not in new]
    return {**results, "rows": sorted([*results["rows"], *rows], key=lambda row: row["id"])}


def chosen_rows(rows, words):
    """The rows that the words name, by id or by the letter of their group; all without words."""
    unknown = [word for word in words if not any(word in (row.id, row.id[0]) for row in rows)]
    if unknown:
        sys.exit(f"bench: no row {', '.join(unknown)}; there are {', '.join(row.id for row in rows)}")
    return [row for row in rows if not words or row.id in words or row.id[0] in words]


def measure(chosen, args):
    import field as field_module
    import machine
    with field_module.Field(args.build, identity_of(args.identity)) as field:
        rows = chosen_rows(all_rows(field, args.all), chosen)
        results = {"date": datetime.date.today().isoformat(), "set": "all" if args.all else "core",
                   "machine": machine.describe(field), "versions": machine.versions(field), "rows": []}
        for row in rows:
            began, busy = time.monotonic(), machine.busy_percent()
            if busy > BUSY_PERCENT:
                row.notes.append(f"NOT ALONE: others used {busy:.0f} % of the machine when this row began")
                say(row.notes[-1])
            results["rows"].append(result_of(row, say))
            print("\n".join(report.figures(results["rows"][-1])), flush=True)
            say(f"{row.id} took {time.monotonic() - began:.0f} s")
        return results


def write_docs(results):
    docs = ROOT / "docs"
    (docs / "plots").mkdir(exist_ok=True)
    made = plots.chosen(results)
    for name, (_, svg) in made.items():
        (docs / "plots" / name).write_text(svg)
    page = report.document(results, (ROOT / "bench/notes.md").read_text(),
                           [(title, f"plots/{name}") for name, (title, _) in made.items()])
    (docs / "benchmarks.md").write_text(page)
    (docs / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n")
    say("wrote docs/benchmarks.md, docs/benchmarks.json and docs/plots")


def main():
    args = arguments()
    # Ended from outside, the field is taken down all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    if args.write_docs:
        return write_docs(json.loads(pathlib.Path(args.results).read_text()))
    if os.getuid() != 0:
        import world
        world.in_own_user_namespace(sys.argv)
    results = measure(args.rows, args)
    print(report.table(results))
    broken = any(row["errors"] for row in results["rows"])
    results = with_earlier_rows(results, args.results) if args.rows else results
    results = with_kept_rows(results, args.keep) if args.keep else results
    OUT.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.results).write_text(json.dumps(results, indent=1) + "\n")
    (OUT / "plots").mkdir(exist_ok=True)
    for name, svg in plots.every(results).items():
        (OUT / "plots" / name).write_text(svg)
    say(f"{args.results}, {OUT}/plots")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
