#!/usr/bin/env bash
# One would guess that attention with a NaN in a query row gives a NaN row whichever implementation is chosen.
# Seen: on the CPU F.scaled_dot_product_attention takes the flash implementation by default, which gives a row of
# zeros and no NaN at all; SDPBackend.MATH gives the NaN row. A NaN in a key or in a value is seen by both.
# With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

print("torch", torch.__version__)


def attention(spoilt, backend):
    torch.manual_seed(0)
    tensors = {name: torch.randn(1, 1, 4, 16) for name in ("query", "key", "value")}
    tensors[spoilt][0, 0, 2, 3] = float("nan")
    if backend is None:
        return scaled_dot_product_attention(*tensors.values())[0, 0]
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(*tensors.values())[0, 0]


for spoilt in ("query", "key", "value"):
    for backend in (None, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        print("NaN in", spoilt, backend, "rows with NaN:", attention(spoilt, backend).isnan().any(1).tolist())
for backend in (None, SDPBackend.FLASH_ATTENTION):
    row = attention("query", backend)[2]
    assert (row == 0).all(), row
assert attention("query", SDPBackend.MATH).isnan().any(1).tolist() == [False, False, True, False]
for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
    assert attention("key", backend).isnan().all() and attention("value", backend).isnan().any(1).all()
PY
