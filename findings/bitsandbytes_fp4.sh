#!/usr/bin/env bash
# One would guess that the fp4 of bitsandbytes is E2M1, the FP4 of MX and NVFP4: {0, 0.5, 1, 1.5, 2, 3, 4, 6} and the
# negative ones, times a scale. Seen: seven of the eight are (over 6, so that the largest is 1), but in place of 0.5
# there is 0.03125, and that is what 0.5 becomes. The codes are in no order (code 1 is 0.03125, 2 is 4, 3 is 6, 4 is
# 2), and the first element of two sits in the high half of the byte. Weights made of E2M1 numbers do not survive it;
# its codes put into an E2M1 reader are other numbers. With: torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0
# bitsandbytes==0.50.2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0 bitsandbytes==0.50.2
venv/bin/python - <<'PY'
from importlib.metadata import version

import bitsandbytes.functional as bnb
import ml_dtypes
import numpy as np
import torch

print("bitsandbytes", version("bitsandbytes"))
table = bnb.get_4bit_type("fp4", device="cpu") * 6
standard = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
print("by code, times 6:", table[:8].tolist(), "E2M1:", standard[:8].tolist())
assert torch.allclose(table[:8], torch.tensor([0, 0.03125, 4, 6, 2, 3, 1, 1.5]))
x = torch.from_numpy(standard).repeat(4).reshape(1, 64)
codes, state = bnb.quantize_4bit(x, blocksize=64, quant_type="fp4")
back = bnb.dequantize_4bit(codes, state)[0, :8]
print("0.5, 1, 1.5, 2 come back as", back[1:5].tolist(), "- first byte of 0 and 0.5:", hex(codes[0].item()))
assert torch.allclose(back[[0, 2, 3, 4, 5, 6, 7]], x[0, [0, 2, 3, 4, 5, 6, 7]]) and abs(back[1] - 0.5) > 0.4
codes, _ = bnb.quantize_4bit(torch.tensor([[6.0, 4.0] * 32]), blocksize=64, quant_type="fp4")
print("6 and 4 in one byte:", hex(codes[0].item()))
assert codes[0].item() == 0x32
PY
