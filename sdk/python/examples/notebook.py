"""A notebook: cells share one Python, which lives in the sandbox as long as the notebook does.

The first cells may install packages; then the network is taken away for good, before the data comes in.

Run: python3 examples/notebook.py
"""

from __future__ import annotations

import json
import types

import weir as sb

# Runs inside: one JSON line in for each cell, lines of output and one last line out.
KERNEL = r"""
import ast, json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    cell = json.loads(line)
    try:
        tree = ast.parse(cell["code"])
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                print(repr(value))
    except BaseException:
        traceback.print_exc(file=sys.stdout)
    print(cell["end"], flush=True)
"""


class Notebook:
    """Cells that are run one after the other in one sandbox. A context manager."""

    def __init__(self, *, network_mode: str = "none", network_allowlist: tuple[str, ...] | None = None) -> None:
        self._box = sb.Sandbox(network_mode=network_mode, network_allowlist=network_allowlist, limits={"memory": "1G"})
        self._cells = 0

    def __enter__(self) -> Notebook:
        self._box.start()
        self._box.put_bytes("/notebook/kernel.py", KERNEL)
        self._kernel = self._box.launch(["python3", "-u", "/notebook/kernel.py"], stdin=True)
        self._output = self._kernel.follow()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self._output.close()
        self._box.__exit__(kind, error, trace)

    def cell(self, code: str) -> str:
        """Runs a cell and returns what it printed, its last value, or its traceback."""
        self._cells += 1
        # The guest could print this itself, and would only confuse its own output.
        end = f"end of cell {self._cells}"
        self._kernel.write(json.dumps({"code": code, "end": end}) + "\n")
        printed = b""
        for chunk in self._output:
            if chunk.stream == "stdout":
                printed += chunk.data
            if printed.endswith(f"{end}\n".encode()):
                return printed.removesuffix(f"{end}\n".encode()).decode("utf-8", "replace")
        raise RuntimeError(f"the kernel has ended: {printed.decode('utf-8', 'replace')}")

    def seal(self) -> None:
        """Takes the network away from everything in the notebook, for good."""
        self._box.narrow(network_mode="none")

    def upload(self, path: str, data: bytes) -> None:
        """Puts a file into the notebook."""
        self._box.put_bytes(path, data)


CELLS = [
    "import statistics",
    "numbers = [int(line) for line in open('/data/in.csv')]",
    "statistics.mean(numbers)",
    "1 / 0",
    "len(numbers)",
]


def main() -> None:
    """Runs CELLS and prints them like a notebook."""
    with Notebook(network_mode="allowlist", network_allowlist=sb.PYPI_HOSTS) as notebook:
        notebook.seal()
        notebook.upload("/data/in.csv", b"1\n2\n6\n")
        for number, code in enumerate(CELLS, 1):
            print(f"In  [{number}]: {code}\nOut [{number}]: {notebook.cell(code)}")


if __name__ == "__main__":
    main()
