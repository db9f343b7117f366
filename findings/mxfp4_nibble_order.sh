#!/usr/bin/env bash
# One would guess a block of MXFP4 is packed alike in a GGUF file and in the safetensors of gpt-oss: two neighbours
# in one byte, the first in the low half.
# Seen: transformers unpacks byte i to elements 2i and 2i+1, gguf to elements i and i+16. The bytes of one read as
# the other are the right values in the wrong places, so norms and histograms do not show it.
# With: torch==2.13.0 numpy==2.4.6 gguf==0.19.0 transformers==5.24.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 gguf==0.19.0 transformers==5.24.0
venv/bin/python - <<'PY'
import gguf
import numpy as np
import torch
import transformers
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

print("transformers", transformers.__version__)
packed = (np.arange(16) * 17).astype(np.uint8)
packed[1::2] ^= 0x0F
scale = 127
hub = convert_moe_packed_tensors(
    torch.tensor(packed).reshape(1, 1, 1, 16), torch.full((1, 1, 1), scale, dtype=torch.uint8)
).float().flatten().numpy()
block = np.concatenate([[scale], packed]).astype(np.uint8)[None]
file = gguf.quants.dequantize(block, gguf.GGMLQuantizationType.MXFP4)[0]
print("transformers", hub[:6].tolist(), "gguf", file[:6].tolist())
assert not np.array_equal(hub, file) and np.array_equal(np.sort(hub), np.sort(file))
assert np.array_equal(hub.reshape(16, 2).T.reshape(-1), file)
PY
