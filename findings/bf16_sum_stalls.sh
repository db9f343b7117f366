#!/usr/bin/env bash
# One would guess the sum of a bfloat16 array is as good as that of a float16 array: NumPy accumulates pairwise or
# wider.
# Seen: ml_dtypes adds one element after another in bfloat16: the sum of 1,000 ones is 256, their mean 0.256, the
# sum of float8_e4m3fn ones 16. float16 gives 1,000 and 1.0, torch 1,000. dtype=np.float32 helps. Also along an
# axis.
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
ones = np.ones(1000, ml_dtypes.bfloat16)
print("bfloat16 sum", ones.sum(), "mean", ones.mean(), "float8 sum", np.ones(1000, ml_dtypes.float8_e4m3fn).sum())
assert float(ones.sum()) == 256 and abs(float(ones.mean()) - 0.256) < 1e-3
assert ones.reshape(1000, 1).sum(0).astype(float).tolist() == [256.0]
assert float(np.ones(1000, ml_dtypes.float8_e4m3fn).sum()) == 16
assert ones.astype(np.float16).sum() == 1000 and ones.astype(np.float16).mean() == 1
assert ones.sum(dtype=np.float32) == 1000
PY
