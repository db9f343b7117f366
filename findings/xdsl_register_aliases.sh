#!/usr/bin/env bash
# One would guess two names of one machine register are one register, and a typing error in a name is a
# VerifyException, in both versions.
# Seen: in 0.74 fp and s0 (both x8) are different types that print as they were written, so a comparison by type
# misses a clash; in 0.75 they are equal and both print as s0. An unknown name is a VerifyException in 0.74 and a
# ValueError in 0.75.
# With: xdsl==0.74.0 and xdsl==0.75.0, each in its own environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > seen.py <<'PY'
import sys

from xdsl.dialects.riscv import IntRegisterType
from xdsl.utils.exceptions import VerifyException

version = sys.argv[1]
fp, s0 = IntRegisterType.from_name("fp"), IntRegisterType.from_name("s0")
print("xdsl", version, "fp == s0:", fp == s0, "printed", str(fp), str(s0))
assert (fp == s0) == (version == "0.75.0")
assert str(fp) == ("!riscv.reg<fp>" if version == "0.74.0" else "!riscv.reg<s0>")
try:
    IntRegisterType.from_name("a99")
except Exception as error:
    print("a99:", type(error).__name__)
    assert type(error) is (VerifyException if version == "0.74.0" else ValueError)
else:
    raise SystemExit("a99 was taken for a register")
PY
for version in 0.74.0 0.75.0; do
  python3 -m venv --without-pip "venv-$version"
  python3 -m pip --python "venv-$version/bin/python" install -q --no-compile "xdsl==$version"
  "venv-$version/bin/python" seen.py "$version"
done
