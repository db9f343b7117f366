#!/usr/bin/env bash
# One would guess that a bfloat16 array of ml_dtypes times 0.1 is bfloat16, as float16 times 0.1 is float16 in NumPy
# and bfloat16 stays in torch: a Python number has no type of its own. Seen: it is float32, as for every float8 and
# float4; times the integer 2 it stays bfloat16, and np.where(x > 0, x, 0.0) is float64. From there on a reference
# meant to be bfloat16 is rounded no more, and differs from torch. With: torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0
venv/bin/python - <<'PY'
import ml_dtypes
import numpy as np
import torch

print("ml_dtypes", ml_dtypes.__version__, "numpy", np.__version__)
for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float4_e2m1fn):
    x = np.array([1.0, 1.5], kind)
    types = {"x * 0.5": x * 0.5, "x * 2": x * 2, "x * x": x * x, "np.where(x > 0, x, 0.0)": np.where(x > 0, x, 0.0)}
    print(kind.__name__, {text: value.dtype.name for text, value in types.items()})
    assert (x * 0.5).dtype == np.float32 and (x * 2).dtype == (x * x).dtype == kind
    assert np.where(x > 0, x, 0.0).dtype == np.float64
assert (np.float16([1.5]) * 0.5).dtype == np.float16
values = [1.001, 3.3, 77.7]
ours = np.array(values, np.float32).astype(ml_dtypes.bfloat16) * 0.1 * 3
theirs = torch.tensor(values).bfloat16() * 0.1 * 3
print("x * 0.1 * 3:", ours.dtype, ours.tolist(), theirs.dtype, theirs.tolist())
assert theirs.dtype == torch.bfloat16 and ours.tolist() != theirs.tolist()
assert ours.astype(ml_dtypes.bfloat16).astype(np.float32).tolist() != theirs.tolist()
PY
