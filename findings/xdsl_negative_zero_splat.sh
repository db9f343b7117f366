#!/usr/bin/env bash
# One would guess dense<[0.0, -0.0]> is printed as two elements, since the bits differ.
# Seen: the printer finds 0.0 equal to -0.0 and prints a splat of the first one: the sign is lost in text. Two
# scalar constants 0.0 and -0.0 stay apart under cse.
# With: xdsl==0.74.0 and xdsl==0.75.0, each in its own environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > seen.py <<'PY'
import contextlib
import io
import math
import sys

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, DenseIntOrFPElementsAttr, TensorType, f32
from xdsl.parser import Parser
from xdsl.xdsl_opt_main import xDSLOptMain


def reread(attribute):
    context = Context()
    context.load_dialect(Builtin)
    return Parser(context, str(attribute)).parse_attribute()


for values in ([0.0, -0.0], [-0.0, 0.0]):
    dense = DenseIntOrFPElementsAttr.from_list(TensorType(f32, [2]), values)
    kept = [math.copysign(1, v) for v in dense.get_values()]
    got = [math.copysign(1, v) for v in reread(dense).get_values()]
    print("xdsl", sys.argv[1], values, "prints", dense, "signs before", kept, "after", got)
    assert kept == [math.copysign(1, v) for v in values]
    assert got == [kept[0]] * 2
with open("scalars.mlir", "w") as file:
    file.write("func.func @f() -> (f32, f32) {\n  %a = arith.constant 0.0 : f32\n  %b = arith.constant -0.0 : f32\n")
    file.write("  func.return %a, %b : f32, f32\n}\n")
out = io.StringIO()
with contextlib.redirect_stdout(out):
    xDSLOptMain(args=["scalars.mlir", "-p", "cse"]).run()
assert out.getvalue().count("arith.constant") == 2
PY
for version in 0.74.0 0.75.0; do
  python3 -m venv --without-pip "venv-$version"
  python3 -m pip --python "venv-$version/bin/python" install -q --no-compile "xdsl==$version"
  "venv-$version/bin/python" seen.py "$version"
done
