#!/usr/bin/env bash
# One would guess that sums of the 4-bit integers of ml_dtypes are like those of NumPy's small integers: sum() widens
# to int64, mean() to float64, @ and np.dot agree. Seen: sum, cumsum and dot stay int4 and wrap around, so that 20
# ones add up to 4 and their mean is 0; @ of the same arrays is int8 and gives 20 (300 ones: 44). dtype=np.int32 helps
# sum(). With: ml_dtypes==0.6.0 numpy==2.4.6.
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
for kind in (ml_dtypes.int4, ml_dtypes.uint4):
    ones = np.ones(20, kind)
    print(kind.__name__, "sum", ones.sum(), "mean", ones.mean(), "dot", np.dot(ones, ones), "@", ones @ ones)
    assert ones.sum() == 4 and ones.sum().dtype == kind and np.cumsum(ones)[-1] == 4
    assert ones.mean() == 0
    assert np.dot(ones, ones) == 4 and ones @ ones == 20 and (ones @ ones).dtype == np.int8
    assert ones.sum(dtype=np.int32) == 20
    eight = np.ones(20, np.int8)
    assert eight.sum() == 20 and eight.sum().dtype == np.int64 and eight.mean() == 1
long = np.ones(300, ml_dtypes.int4)
print("300 ones: @", long @ long, "dot", np.dot(long, long))
assert long @ long == 44
PY
