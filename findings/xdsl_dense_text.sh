#!/usr/bin/env bash
# One would guess what xDSL prints, xDSL reads back: an f32 constant that holds an infinity or a large number
# survives the text form.
# Seen: the printer writes numbers it has no short decimal form for as their bits (0x7f800000, and 0x4B800000 for
# 16777216.0); inside dense<...> the parser takes them for the integers 2139095040 and 1266679808. Inside array<f32:
# ...> they are a parse error. A scalar FloatAttr reads back right.
# With: xdsl==0.74.0 and xdsl==0.75.0, each in its own environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > seen.py <<'PY'
import sys
from math import inf

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, DenseArrayBase, DenseIntOrFPElementsAttr, FloatAttr, TensorType, f32
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError


def reread(attribute):
    context = Context()
    context.load_dialect(Builtin)
    return Parser(context, str(attribute)).parse_attribute()


values = [0.5, inf, 16777216.0]
dense = DenseIntOrFPElementsAttr.from_list(TensorType(f32, [3]), values)
got = list(reread(dense).get_values())
print("xdsl", sys.argv[1], dense, "reads back as", got)
assert got == [0.5, 2139095040.0, 1266679808.0]
for value in values:
    assert reread(FloatAttr(value, f32)).value.data == value
try:
    print(reread(DenseArrayBase.from_list(f32, values)))
except ParseError as error:
    print("array<f32: ...>:", str(error).strip().splitlines()[-1].strip())
else:
    raise SystemExit("array<f32: ...> was read back")
PY
for version in 0.74.0 0.75.0; do
  python3 -m venv --without-pip "venv-$version"
  python3 -m pip --python "venv-$version/bin/python" install -q --no-compile "xdsl==$version"
  "venv-$version/bin/python" seen.py "$version"
done
