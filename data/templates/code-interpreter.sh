#!/bin/sh
# Makes the snapshot `code-interpreter` from PyPI: what `--template code-interpreter` then begins with.
# Usage: code-interpreter.sh [PACKAGE...]
set -eu
name=code-interpreter-$$
[ $# -gt 0 ] || set -- numpy pandas matplotlib
session=$(weir session create --name "$name" --allow @pypi)
trap 'weir session rm "$session" > /dev/null' EXIT
weir exec "$session" -- python3 -m pip install --user --no-warn-script-location "$@"
weir snapshot create "$session" --name code-interpreter --label recipe=code-interpreter
