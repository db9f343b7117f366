#!/usr/bin/env bash
# One would guess a scale type without sign and zero turns 0 and negative numbers into NaN everywhere, and libraries
# agree on what lies half way.
# Seen: torch drops the sign (-2 becomes 2) and makes 0 the smallest scale, 2**-127; ml_dtypes and gfloat give NaN
# for both. 3, half way between 2 and 4, is 4 in torch and ml_dtypes and 2 in gfloat (the even code). zeros() is
# full of 2**-127 in torch and ml_dtypes.
# With: torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0 gfloat==0.5.2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0 gfloat==0.5.2
venv/bin/python - <<'PY'
import gfloat
import ml_dtypes
import numpy as np
import torch
from gfloat.formats import format_info_ocp_e8m0

print("torch", torch.__version__, "ml_dtypes", ml_dtypes.__version__)
values = [0.0, -2.0, 3.0, 6.0]
ours = torch.tensor(values).to(torch.float8_e8m0fnu).view(torch.uint8).tolist()
theirs = np.array(values, np.float32).astype(ml_dtypes.float8_e8m0fnu).view(np.uint8).tolist()
third = [gfloat.encode_float(format_info_ocp_e8m0, gfloat.round_float(format_info_ocp_e8m0, v)) for v in values]
print("codes of", values, "torch", ours, "ml_dtypes", theirs, "gfloat", third)
assert ours == [0, 128, 129, 130]
assert theirs == [255, 255, 129, 130]
assert third == [255, 255, 128, 130]
blank = torch.zeros(2, dtype=torch.float8_e8m0fnu).float().tolist()
other = np.zeros(2, ml_dtypes.float8_e8m0fnu).astype(np.float32).tolist()
print("zeros() holds", blank, other)
assert blank == other == [2.0**-127] * 2
PY
