"""Horizontal bar charts as SVG, dark on light, readable where a README shows them. No library."""

from xml.sax.saxutils import escape

from report import number

_WIDTH, _LABEL, _VALUE, _BAR, _GAP, _TOP = 760, 210, 120, 24, 10, 64
_OWN, _OTHER, _INK, _PALE, _PAPER = "#1f6feb", "#8c959f", "#1f2328", "#57606a", "#ffffff"


def bars(title, unit, values, better):
    """`values`: [(name, value)] in the order to draw; names that begin with "weir" stand out. -> text of an SVG file"""
    height = _TOP + len(values) * (_BAR + _GAP) + 14
    longest = max((value for _, value in values), default=0) or 1
    room = _WIDTH - _LABEL - _VALUE
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
           'font-family="system-ui, sans-serif" role="img">', f"<title>{escape(title)}</title>",
           f'<rect width="{_WIDTH}" height="{height}" fill="{_PAPER}"/>',
           f'<text x="16" y="28" font-size="17" font-weight="600" fill="{_INK}">{escape(title)}</text>',
           f'<text x="16" y="48" font-size="13" fill="{_PALE}">{escape(unit)}, {better} is better; medians of one run</text>']
    for index, (name, value) in enumerate(values):
        y = _TOP + index * (_BAR + _GAP)
        length = max(1.0, value / longest * room)
        middle = y + _BAR / 2 + 5
        own = name.startswith("weir")
        weight = 600 if own else 400
        out += [f'<text x="{_LABEL - 10}" y="{middle}" font-size="14" text-anchor="end" font-weight="{weight}" '
                f'fill="{_INK}">{escape(name)}</text>',
                f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="3" fill="{_OWN if own else _OTHER}"/>',
                f'<text x="{_LABEL + length + 8:.1f}" y="{middle}" font-size="14" fill="{_INK}">{escape(number(value))}</text>']
    return "\n".join([*out, "</svg>"]) + "\n"


# The three that matter most: (file, title, row, quantity).
CHOSEN = [("start", "Start to exit of `true`", "D1", "p50"),
          ("throughput", "Bulk TCP out of the sandbox, one stream", "A1", "rate"),
          ("connections", "Connections per second, 32 parallel", "A6", "rate")]


def chosen(results):
    """{file name: (title, SVG text)} of those plots whose row was measured."""
    out = {}
    rows = {row["id"]: row for row in results["rows"]}
    for name, title, row, key in CHOSEN:
        quantity = next((q for q in rows.get(row, {}).get("quantities", []) if q["key"] == key), None)
        if quantity and quantity["contenders"]:
            out[f"{name}.svg"] = (title, _plot(title, quantity))
    return out


def _plot(title, quantity):
    values = sorted(((name, spread["median"]) for name, spread in quantity["contenders"].items()), key=lambda item: item[1],
                    reverse=quantity["better"] == "more")
    return bars(title, quantity["unit"], values, quantity["better"])


def every(results):
    """{file name: SVG text} of every quantity that has more than one contender."""
    return {f"{row['id']}-{quantity['key']}.svg": _plot(f"{row['id']}: {quantity['title']}", quantity)
            for row in results["rows"] for quantity in row["quantities"] if len(quantity["contenders"]) > 1}
