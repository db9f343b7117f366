#!/usr/bin/env bash
# One would guess that a transposed NumPy array is saved right, or refused, as the same call for torch refuses a
# tensor that is not contiguous. Seen: safetensors.numpy.save and save_file write the bytes as they lie in memory
# beside the shape as it is asked for: a transposed weight, or one in Fortran order, reads back with the right shape
# and the numbers in other places. The docstring says that tensors need to be contiguous; nothing checks it. With:
# safetensors==0.8.0 numpy==2.4.6 torch==2.13.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile safetensors==0.8.0 numpy==2.4.6 torch==2.13.0
venv/bin/python - <<'PY'
import numpy as np
import safetensors
import torch
from safetensors.numpy import load, load_file, save, save_file
from safetensors.torch import save as save_torch

print("safetensors", safetensors.__version__)
weight = np.arange(6, dtype=np.float32).reshape(2, 3)
for name, tensor in {"transposed": weight.T, "Fortran order": np.asfortranarray(weight)}.items():
    save_file({"w": tensor}, "w.safetensors")
    back = load_file("w.safetensors")["w"]
    print(name, "- saved", tensor.tolist(), "read", back.tolist())
    assert back.shape == tensor.shape and back.tolist() != tensor.tolist()
    assert back.ravel().tolist() == tensor.ravel("K").tolist()  # the bytes as they lie in memory
    assert np.array_equal(load(save({"w": tensor}))["w"], back)
    assert np.array_equal(load(save({"w": np.ascontiguousarray(tensor)}))["w"], tensor)
try:
    save_torch({"w": torch.from_numpy(weight).T})
    raise SystemExit("torch's transposed tensor was taken")
except ValueError as error:
    print("torch: ValueError,", str(error)[:50])
PY
