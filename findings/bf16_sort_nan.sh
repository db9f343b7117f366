#!/usr/bin/env bash
# One would guess np.sort of an array of ml_dtypes puts NaN last and the numbers in order, as for every float of
# NumPy.
# Seen: a NaN compares like a wall: [3, nan, 1, 2, 0] in bfloat16 comes back as [3, nan, 0, 1, 2], not sorted at
# all; np.unique keeps doubles. float8 is alike. Quantiles of weights and sorted comparisons go wrong silently.
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

print("ml_dtypes", ml_dtypes.__version__, "numpy", np.__version__)
values = [3, np.nan, 1, 2, 0]
for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
    got = np.sort(np.array(values, dtype)).astype(np.float32)
    numbers = got[~np.isnan(got)].tolist()
    print(dtype.__name__, got.tolist())
    assert numbers == [3.0, 0.0, 1.0, 2.0] and np.isnan(got[1])
doubles = np.unique(np.array([np.nan, 1, np.nan, 1, 2, np.nan], ml_dtypes.bfloat16)).astype(np.float32)
print("np.unique", doubles.tolist())
assert (doubles == 1).sum() == 2
half = np.sort(np.array(values, np.float16))
assert half[:4].tolist() == [0, 1, 2, 3] and np.isnan(half[4])
PY
