#!/usr/bin/env bash
# One would guess that mx.quantize in a mode of the MX formats keeps a broken block visible (scale 255 is NaN) and
# that a block of tiny numbers stays tiny or becomes zero. Seen: a block with a NaN or an infinity becomes 32 finite
# numbers, zeros in mxfp4 and 896 of either sign in mxfp8; a block of numbers that would need a scale under 2**-127
# (1e-37 in mxfp8, a normal float32) wraps its scale around and comes back as infinity or 1e38. to_fp8 makes NaN and
# infinity 448. With: mlx[cpu]==0.32.4 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile "mlx[cpu]==0.32.4" numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import mlx.core as mx
import numpy as np

print("mlx", version("mlx"))


def through(first, mode):
    block = np.zeros((1, 32), np.float32)
    block[0, :2] = first, first / 2
    bits = {"mxfp4": 4, "mxfp8": 8}[mode]
    words, scale = mx.quantize(mx.array(block), mode=mode, group_size=32, bits=bits)
    back = mx.dequantize(words, scale, mode=mode, group_size=32, bits=bits).astype(mx.float32)
    return scale.item(), np.array(back)[0]


for mode in ("mxfp4", "mxfp8"):
    for first in (1.0, np.nan, np.inf, 1e-37, 1e-38, 1e-39):
        scale, back = through(first, mode)
        print(mode, first, "scale code", scale, "numbers", sorted(set(back.tolist())))
        if first == 1:
            assert back[:2].tolist() == [1, 0.5]
        elif not 0 < first < np.inf:
            assert set(back.tolist()) == ({0} if mode == "mxfp4" else {896, -896})
        elif mode == "mxfp8" or first < 1e-37:
            assert back[0] > 1e37
        else:
            assert back[0] < 1e-36
codes = mx.to_fp8(mx.array([np.nan, np.inf]))
print("to_fp8 of NaN and infinity:", mx.from_fp8(codes, dtype=mx.float32).tolist())
assert mx.from_fp8(codes, dtype=mx.float32).tolist() == [448, 448]
PY
