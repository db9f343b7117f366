#!/usr/bin/env bash
# One would guess the interpreter takes and gives Python numbers, adds f32 as f32, and a boolean constant is 1; a
# minor version does not change it.
# Seen: in 0.74 f32 is added in double: (2**24 + 1) - 2**24 is 1.0, while canonicalize folds the same constants to
# 0.0. In 0.75 it is 0.0, but values are attributes: a call with Python numbers raises AttributeError. The attribute
# of the constant true holds -1 in both.
# With: xdsl==0.74.0 and xdsl==0.75.0, each in its own environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > seen.py <<'PY'
import contextlib
import io
import sys

from xdsl.context import Context
from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, f32, i1
from xdsl.interpreter import Interpreter
from xdsl.interpreters import register_implementations
from xdsl.parser import Parser
from xdsl.xdsl_opt_main import xDSLOptMain

TEXT = '''func.func @f(%a : f32, %b : f32) -> f32 {
  %s = arith.addf %a, %b : f32
  %t = arith.subf %s, %a : f32
  func.return %t : f32
}'''
FOLDED = '''%a = arith.constant 16777216.0 : f32
%b = arith.constant 1.0 : f32
%s = arith.addf %a, %b : f32
%t = arith.subf %s, %a : f32
"test.op"(%t) : (f32) -> ()'''


def call(*numbers):
    context = Context()
    for name, make in get_all_dialects().items():
        context.register_dialect(name, make)
    interpreter = Interpreter(Parser(context, TEXT).parse_module())
    register_implementations(interpreter, context)
    return interpreter.call_op("f", numbers)[0]


version = sys.argv[1]
with open("folded.mlir", "w") as file:
    file.write(FOLDED)
out = io.StringIO()
with contextlib.redirect_stdout(out):
    xDSLOptMain(args=["folded.mlir", "-p", "canonicalize"]).run()
assert "arith.constant 0.000000e+00" in out.getvalue()
if version == "0.74.0":
    got = call(16777216.0, 1.0)
    assert got == 1.0
else:
    try:
        call(16777216.0, 1.0)
    except AttributeError as error:
        print("Python numbers:", error)
    else:
        raise SystemExit("Python numbers were taken")
    got = call(FloatAttr(16777216.0, f32), FloatAttr(1.0, f32)).value.data
    assert got == 0.0
print("xdsl", version, "interpreted", got, "folded 0.0, true holds", IntegerAttr(1, i1).value.data)
assert IntegerAttr(1, i1).value.data == -1
PY
for version in 0.74.0 0.75.0; do
  python3 -m venv --without-pip "venv-$version"
  python3 -m pip --python "venv-$version/bin/python" install -q --no-compile "xdsl==$version"
  "venv-$version/bin/python" seen.py "$version"
done
