#!/usr/bin/env bash
# One would guess that MXFP4 is one format with one conversion: the OCP text gives the scale of a block (the power of
# two under its largest number, over 4) and the elements are rounded to the nearest, ties to even, so libraries agree
# bit for bit. Seen: three rules for the scale and two for ties in four libraries. Of a block whose largest number is
# 7 gguf makes 6 (scale 1), compressed-tensors 8 (scale 2), MLX 6 (scale 2), torchao either by its mode; 6.5 is scaled
# by 2 in MLX and by 1 in the others. Half way (0.75, 3.5) goes to the even code in torchao and compressed-tensors, to
# the smaller number in gguf and MLX. With: torch==2.13.0 numpy==2.4.6 torchao==0.18.0 compressed-tensors==0.20.1
# gguf==0.19.0 mlx[cpu]==0.32.4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 torchao==0.18.0 compressed-tensors==0.20.1 gguf==0.19.0 "mlx[cpu]==0.32.4"
venv/bin/python - <<'PY'
from importlib.metadata import version

import gguf
import mlx.core as mx
import numpy as np
import torch
from compressed_tensors.quantization import preset_name_to_scheme
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams
from torchao.prototype.mx_formats.mx_tensor import MXTensor, ScaleCalculationMode

print({name: version(name) for name in ("torchao", "compressed-tensors", "gguf", "mlx")})


def by_torchao(block, mode):
    made = MXTensor.to_mx(torch.from_numpy(block), torch.float4_e2m1fn_x2, 32, mode)
    return made.scale.float().item(), made.dequantize(torch.float32)[0].tolist()


def by_compressed_tensors(block):
    scheme = preset_name_to_scheme("MXFP4", ["Linear"]).weights
    x = torch.from_numpy(block)
    scale, zero = calculate_qparams(x.amin(-1, keepdim=True), x.amax(-1, keepdim=True), scheme)
    return scale.item(), fake_quantize(x, scale, zero, scheme)[0].tolist()


def by_gguf(block):
    kind = gguf.GGMLQuantizationType.MXFP4
    codes = gguf.quants.quantize(block, kind)
    return 2.0 ** (int(codes[0, 0]) - 127), gguf.quants.dequantize(codes, kind)[0].tolist()


def by_mlx(block):
    words, scale = mx.quantize(mx.array(block), mode="mxfp4", group_size=32, bits=4)
    back = mx.dequantize(words, scale, mode="mxfp4", group_size=32, bits=4).astype(mx.float32)
    return 2.0 ** (scale.item() - 127), back[0].tolist()


makers = {
    "torchao floor": lambda block: by_torchao(block, ScaleCalculationMode.FLOOR),
    "torchao even": lambda block: by_torchao(block, ScaleCalculationMode.EVEN),
    "compressed-tensors": by_compressed_tensors,
    "gguf": by_gguf,
    "mlx": by_mlx,
}
got = {}
for largest in (6.0, 6.5, 7.0):
    block = np.zeros((1, 32), np.float32)
    block[0, :2] = largest, 0.75
    for name, maker in makers.items():
        scale, back = maker(block)
        got[name, largest] = scale, *back[:2]
        print(largest, "and 0.75 by", name, "- scale", scale, "numbers", back[:2])
assert {key: value for key, value in got.items() if key[1] == 6.0} == {
    ("torchao floor", 6.0): (1.0, 6.0, 1.0),
    ("torchao even", 6.0): (1.0, 6.0, 1.0),
    ("compressed-tensors", 6.0): (1.0, 6.0, 1.0),
    ("gguf", 6.0): (1.0, 6.0, 0.5),
    ("mlx", 6.0): (1.0, 6.0, 0.5),
}
assert [got[name, 6.5][0] for name in makers] == [1, 1, 1, 1, 2]
assert [got[name, 7.0][:2] for name in makers] == [(1, 6), (2, 8), (2, 8), (1, 6), (2, 6)]
PY
