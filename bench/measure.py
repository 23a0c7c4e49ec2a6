"""Runs contenders side by side and keeps what they gave: medians with their spread, never a single best run."""

import statistics


class Unavailable(Exception):
    """A contender that is not there, or cannot run in this environment; the text says why, in its own words."""


class NotProven(Exception):
    """A measurement whose traffic did not demonstrably take the path it was meant to take: an error, not a figure."""


class Failed(Exception):
    """A contender's run ended with an error of its own."""


class Quantity:
    """What is measured. `better` is "more" or "less"."""

    def __init__(self, key, title, unit, better, digits=3):
        self.key, self.title, self.unit, self.better, self.digits = key, title, unit, better, digits


class Row:
    """One row of the plan.

    contenders  names, the first is weir; which of them are controls or limits is said by goals and README
    run         run(contender) -> {quantity key: number}; raises Unavailable or NotProven
    rounds      how often each contender runs, in A-B-A-B order
    limits      what was lifted or set for this row, in words
    """

    def __init__(self, id, title, quantities, contenders, run, rounds, limits=(), notes=()):
        self.id, self.title, self.quantities, self.contenders = id, title, quantities, contenders
        self.run, self.rounds, self.limits, self.notes = run, rounds, list(limits), list(notes)


_OURS = ("weir", "bare", "flood", "without", "kernel", "nothing", "audit", "1 rule", "1,000 rules", "100,000 rules")


def _is_peer(contender):
    """Somebody else's program, which may fail here for reasons of its own."""
    return not contender.startswith(_OURS)


def spread(values):
    """median, min, max and number of runs of a list that is not empty"""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}


def side_by_side(row, say):
    """-> (figures {quantity key: {contender: [values]}}, skipped {contender: why}, failures [text], errors [text])

    A peer whose run fails is named; a broken measurement, or a failure of weir or of a control, is an error.
    """
    figures = {quantity.key: {} for quantity in row.quantities}
    skipped, failures, errors = {}, [], []
    for number in range(row.rounds):
        for contender in row.contenders:
            if contender in skipped:
                continue
            say(f"{row.id} round {number + 1}/{row.rounds}: {contender}")
            try:
                values = row.run(contender)
            except Unavailable as why:
                skipped[contender] = str(why)
                continue
            except NotProven as why:
                errors.append(f"{contender}: {why}")
                continue
            except (Failed, AssertionError) as why:
                (failures if _is_peer(contender) else errors).append(f"{contender}: {why}")
                continue
            for key, value in values.items():
                figures[key].setdefault(contender, []).append(value)
    return figures, skipped, failures, errors


def result_of(row, say):
    """The row as it goes into results.json."""
    figures, skipped, failures, errors = side_by_side(row, say)
    quantities = [{"key": quantity.key, "title": quantity.title, "unit": quantity.unit, "better": quantity.better,
                   "digits": quantity.digits,
                   "contenders": {name: spread(values) for name, values in figures[quantity.key].items() if values}}
                  for quantity in row.quantities]
    return {"id": row.id, "title": row.title, "command": f"./dev bench {row.id}", "rounds": row.rounds,
            "limits": row.limits, "notes": row.notes, "quantities": quantities, "skipped": skipped,
            "failures": failures, "errors": errors}
