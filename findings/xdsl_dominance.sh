#!/usr/bin/env bash
# One would guess verify() refuses an operand that is defined further down in its block, as MLIR does for the body
# of a function.
# Seen: a function that uses a value before its definition is parsed, verified, run through cse and printed without
# a word; so are an operation that is its own operand and a use in a block that the definition does not dominate.
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
from xdsl.parser import Parser
from xdsl.xdsl_opt_main import xDSLOptMain

BACKWARDS = '''func.func @f() -> i32 {
  %y = arith.addi %x, %x : i32
  %x = arith.constant 3 : i32
  func.return %y : i32
}'''
ITSELF = '''func.func @f() {
  %x = "test.op"(%x) : (i32) -> i32
  func.return
}'''
ONE_BRANCH = '''func.func @f(%c : i1) {
  cf.cond_br %c, ^a, ^b
^a:
  %x = "test.op"() : () -> i32
  cf.br ^b
^b:
  "test.op"(%x) : (i32) -> ()
  func.return
}'''
for text in (BACKWARDS, ITSELF, ONE_BRANCH):
    context = Context()
    for name, make in get_all_dialects().items():
        context.register_dialect(name, make)
    Parser(context, text).parse_module().verify()
with open("backwards.mlir", "w") as file:
    file.write(BACKWARDS)
out = io.StringIO()
with contextlib.redirect_stdout(out):
    xDSLOptMain(args=["backwards.mlir", "-p", "cse"]).run()
print("xdsl", sys.argv[1], "verified all three; after cse:\n" + out.getvalue().strip())
assert out.getvalue().index("arith.addi") < out.getvalue().index("arith.constant")
PY
for version in 0.74.0 0.75.0; do
  python3 -m venv --without-pip "venv-$version"
  python3 -m pip --python "venv-$version/bin/python" install -q --no-compile "xdsl==$version"
  "venv-$version/bin/python" seen.py "$version"
done
