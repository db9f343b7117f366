#!/usr/bin/env bash
# One would guess that 2 ** (codes.int() - 127) decodes the scales of an MX tensor, or raises as NumPy does for
# negative integer powers. Seen: in torch a power of integers is an integer, so that every scale below 1 is 0, that of
# 2**31 negative and every larger one 0; nothing is said. 2.0 ** codes and torch.exp2 are right. With: torch==2.13.0
# numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import torch

print("torch", torch.__version__)
codes = torch.tensor([120, 126, 127, 130, 157, 158, 160], dtype=torch.uint8)
scales = 2 ** (codes.int() - 127)
print("codes", codes.tolist(), "2 ** (codes - 127)", scales.tolist(), "exp2", torch.exp2(codes.float() - 127).tolist())
assert scales.dtype == torch.int32 and scales[:4].tolist() == [0, 0, 1, 8]
assert torch.equal(2.0 ** (codes.int() - 127), torch.exp2(codes.float() - 127))
weights = torch.tensor([1.5]) * 2 ** (codes[:2].int() - 127)
print("1.5 times the first two scales", weights.tolist())
assert weights.tolist() == [0, 0]
try:
    np.int32(2) ** (codes.numpy().astype(np.int32) - 127)
except ValueError as error:
    print("numpy:", error)
else:
    raise SystemExit("numpy took a negative integer power")
PY
