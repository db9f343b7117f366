#!/usr/bin/env bash
# One would guess a float that is too large becomes the same thing in every float8 of PyTorch, and the same thing in
# ml_dtypes.
# Seen: in torch 2.13 float8_e4m3fn saturates at 448, infinity included; e5m2 goes to infinity, e4m3fnuz and
# e5m2fnuz to NaN. ml_dtypes gives NaN for e4m3fn: a golden result made with one does not fit the other.
# With: torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0.
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

print("torch", torch.__version__, "ml_dtypes", ml_dtypes.__version__)
big = [1e9, float("inf")]
seen = {}
for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"):
    ours = torch.tensor(big).to(getattr(torch, name)).float().tolist()
    theirs = np.array(big, np.float32).astype(getattr(ml_dtypes, name)).astype(np.float32).tolist()
    seen[name] = [str(v) for v in ours], [str(v) for v in theirs]
    print(f"{name}: 1e9 and inf become {ours} in torch, {theirs} in ml_dtypes")
assert seen["float8_e4m3fn"] == (["448.0", "448.0"], ["nan", "nan"])
assert seen["float8_e5m2"] == (["inf", "inf"], ["inf", "inf"])
assert seen["float8_e4m3fnuz"] == seen["float8_e5m2fnuz"] == (["nan", "nan"], ["nan", "nan"])
PY
