"""C3: a million names, without a network: compile, map, decide."""

import time

from measure import Failed, NotProven, Quantity, Row, Unavailable

DENIED, ALLOWED = 1_000_000, 100_000
ASKED = 200_000


class NamesRows:
    def __init__(self, field, contenders, full):
        self.field, self.ways, self.full = field, contenders, full

    def rows(self):
        return [self.c3()]

    def c3(self):
        def run(_):
            self._write_lists()
            images = {kind: self._compile(kind) for kind in ("both", "deny", "allow", "neither")}
            size = {kind: path.stat().st_size for kind, (path, _) in images.items()}
            out = {suffix: self._decide(images["both"][0], count, suffix)
                   for suffix, count in (("denied.test", DENIED), ("allowed.test", ALLOWED))}
            self._prove(out)
            return {"load": images["both"][1], "map": out["denied.test"]["open_ns"] / 1e6,
                    "p50": max(one["p50_ns"] for one in out.values()) / 1000,
                    "p99": max(one["p99_ns"] for one in out.values()) / 1000,
                    "deny_bytes": (size["deny"] - size["neither"]) / DENIED,
                    "allow_bytes": (size["allow"] - size["neither"]) / ALLOWED}

        return Row("C3", "1,000,000 denied and 100,000 allowed names", [
            Quantity("load", "compile from text", "s", "less"), Quantity("map", "open the image", "ms", "less"),
            Quantity("p50", "one decision p50", "µs", "less"), Quantity("p99", "one decision p99", "µs", "less"),
            Quantity("deny_bytes", "image bytes per denied name", "bytes", "less"),
            Quantity("allow_bytes", "image bytes per allowed name", "bytes", "less")],
            ["weir"], run, 10 if self.full else 3, [],
            [f"{ASKED:,} random names of each list, every second one a miss; the slower list counts; the clock's own "
             "25 ns or so is in it", "no peer: dnsmasq and unbound hold such lists as text nodes, see C2"])

    def _path(self, name):
        return self.field.home / name

    def _write_lists(self):
        if self._path("denied.txt").exists():
            return
        for name, count in (("denied", DENIED), ("allowed", ALLOWED)):
            names = self.ways.direct(["names_cost", f"write={count}", f"suffix={name}.test"]).stdout
            self._path(f"{name}.txt").write_text(names)
        allowed = ", ".join(f'"{name}"' for name in self._path("allowed.txt").read_text().split())
        for kind in ("both", "deny", "allow", "neither"):
            text = 'version = 1\nmode = "allowlist"\n'
            # What the list does not deny may be asked, so that a hit and a miss have different answers.
            text += f"allow = [{allowed + ', ' if kind in ('both', 'allow') else ''}\".denied.test\"]\n"
            if kind in ("both", "deny"):
                text += f'deny_lists = ["{self._path("denied.txt")}"]\n'
            self._path(f"{kind}.toml").write_text(text)

    def _compile(self, kind):
        """-> (path of the image, seconds)"""
        image = self._path(f"{kind}.image")
        began = time.monotonic()
        try:
            self.ways.direct(["weir", "policy", "compile", "--policy", str(self._path(f"{kind}.toml")), "-o", str(image)])
        except Failed as why:
            raise Unavailable(f"weir policy compile: {why}") from None
        return image, time.monotonic() - began

    def _decide(self, image, count, suffix):
        return self.ways.direct(["names_cost", str(image), f"list={count}", f"suffix={suffix}", f"total={ASKED}"]).result

    @staticmethod
    def _prove(out):
        """Half of each list's questions hit: the allowed ones are asked, the denied ones are not."""
        if any(one["asked_upstream"] != ASKED // 2 for one in out.values()):
            raise NotProven(f"the image decides wrongly: {out}")
