#!/usr/bin/env bash
# One would guess lower-affine keeps the meaning of affine mod, whose result is never negative.
# Seen: mod becomes arith.remsi, which has the sign of the dividend: -7 mod 4 is 1 before the pass (AffineExpr.eval)
# and -3 after it. floordiv becomes floordivsi and is right.
# With: xdsl==0.74.0 and xdsl==0.75.0, each in its own environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > seen.py <<'PY'
import contextlib
import io
import sys

from xdsl.ir.affine import AffineExpr
from xdsl.xdsl_opt_main import xDSLOptMain

LOWERED = '''func.func @f() -> (index, index) {
  %a = arith.constant -7 : index
  %m = affine.apply affine_map<(d0) -> (d0 mod 4)>(%a)
  %d = affine.apply affine_map<(d0) -> (d0 floordiv 4)>(%a)
  func.return %m, %d : index, index
}'''
with open("mod.mlir", "w") as file:
    file.write(LOWERED)
out = io.StringIO()
with contextlib.redirect_stdout(out):
    xDSLOptMain(args=["mod.mlir", "-p", "lower-affine"]).run()
before = (AffineExpr.dimension(0) % 4).eval([-7], [])
print("xdsl", sys.argv[1], "-7 mod 4 by AffineExpr:", before, "lowered:\n" + out.getvalue().strip())
assert before == 1
assert "arith.remsi" in out.getvalue() and "arith.floordivsi" in out.getvalue()
assert not any(op in out.getvalue() for op in ("arith.select", "arith.cmpi", "arith.addi"))
PY
for version in 0.74.0 0.75.0; do
  python3 -m venv --without-pip "venv-$version"
  python3 -m pip --python "venv-$version/bin/python" install -q --no-compile "xdsl==$version"
  "venv-$version/bin/python" seen.py "$version"
done
