#!/usr/bin/env bash
# One would guess a type without NaN refuses it or makes it the largest number.
# Seen: ml_dtypes turns NaN into zero, of the other sign: +NaN becomes -0 and -NaN +0 in float4_e2m1fn,
# float6_e2m3fn and float6_e3m2fn, while infinity saturates. A broken weight disappears.
# With: ml_dtypes==0.6.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile ml_dtypes==0.6.0 numpy==2.4.6
venv/bin/python - <<'PY'
import ml_dtypes
import numpy as np

print("ml_dtypes", ml_dtypes.__version__)
values = np.array([np.nan, -np.nan, np.inf, -np.inf], np.float32)
for name, largest in (("float4_e2m1fn", 6.0), ("float6_e2m3fn", 7.5), ("float6_e3m2fn", 28.0)):
    got = values.astype(getattr(ml_dtypes, name)).astype(np.float32)
    print(name, got.tolist())
    assert got.tolist() == [0.0, 0.0, largest, -largest] and np.signbit(got).tolist() == [True, False, False, True]
PY
