#!/usr/bin/env bash
# One would guess converting float64 to a narrow type rounds once, to the nearest, as NumPy does for float16.
# Seen: torch (float16, bfloat16, float8) and ml_dtypes (bfloat16, float8) go through float32 and round twice, so a
# value just above a tie goes down; so do int64 values to bfloat16. A reference computed in float64 and then rounded
# is off by one last place on such values.
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

print("torch", torch.__version__, "numpy", np.__version__, "ml_dtypes", ml_dtypes.__version__)
for bits, torch_type, numpy_type in (
    (10, torch.float16, None),
    (7, torch.bfloat16, ml_dtypes.bfloat16),
    (3, torch.float8_e4m3fn, ml_dtypes.float8_e4m3fn),
):
    above_tie = 1 + 2.0 ** -(bits + 1) + 2.0**-40
    nearest = 1 + 2.0**-bits
    got = torch.tensor([above_tie], dtype=torch.float64).to(torch_type).double().item()
    print(torch_type, "nearest", nearest, "torch", got)
    assert got == 1.0
    if numpy_type is not None:
        assert np.array([above_tie]).astype(numpy_type).astype(np.float64)[0] == 1.0
assert np.array([1 + 2.0**-11 + 2.0**-40]).astype(np.float16)[0] == 1 + 2.0**-10
integer = 2**24 + 2**16 + 1
got = torch.tensor([integer]).to(torch.bfloat16).long().item()
print("int64", integer, "to bfloat16", got)
assert got == 2**24
PY
