#!/usr/bin/env bash
# One would guess MXFP4 of the gguf package follows the OCP block format: the scale code 255 is NaN, and a block
# with a NaN becomes NaN.
# Seen: a block with a NaN or an infinity is quantised to 32 zeros without an error, and the scale code 255 decodes
# to finite numbers and infinity (it is taken for 2**128). Half way goes to the smaller number: 0.75 becomes 0.5,
# not the even 1.0.
# With: gguf==0.19.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile gguf==0.19.0 numpy==2.4.6
venv/bin/python - <<'PY'
import warnings

import gguf
import numpy as np

warnings.simplefilter("ignore")
MXFP4 = gguf.GGMLQuantizationType.MXFP4
turn = lambda x: gguf.quants.dequantize(gguf.quants.quantize(x, MXFP4), MXFP4)
for bad in (np.nan, np.inf):
    block = np.ones((1, 32), np.float32)
    block[0, 0] = bad
    got = turn(block)
    print("a block with", bad, "becomes", set(got.flatten().tolist()))
    assert (got == 0).all()
coded = np.zeros((1, 17), np.uint8)
coded[0, :2] = 255, 0x12
got = gguf.quants.dequantize(coded, MXFP4)[0, [0, 16]]
print("scale code 255:", got.tolist())
assert np.isposinf(got[0]) and np.isfinite(got[1]) and got[1] == np.float32(2.0**127)
half_way = np.zeros((1, 32), np.float32)
half_way[0, :4] = 6.0, 0.75, 2.5, 0.25
print("6, 0.75, 2.5, 0.25 become", turn(half_way)[0, :4].tolist())
assert turn(half_way)[0, :4].tolist() == [6.0, 0.5, 2.0, 0.0]
PY
