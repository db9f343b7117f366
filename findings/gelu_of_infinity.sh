#!/usr/bin/env bash
# One would guess that the exact GELU of +infinity is +infinity, as its float64 form and its tanh form say, and that
# an elementwise function does not hang on how many elements there are.
# Seen: on the CPU F.gelu of a float32 tensor of one infinity is inf; of two or more it is NaN, also for an infinity
# among finite numbers and in bfloat16. F.gelu(..., approximate="tanh") and float64 give inf at any length.
# With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
from torch.nn.functional import gelu

print("torch", torch.__version__)
infinity = float("inf")
for length in (1, 2, 3, 16):
    x = torch.full((length,), infinity)
    exact, by_tanh, double = gelu(x), gelu(x, approximate="tanh"), gelu(x.double())
    print(length, "exact", exact[0].item(), "tanh", by_tanh[0].item(), "float64", double[0].item())
    assert by_tanh.isinf().all() and double.isinf().all()
    assert exact.isinf().all() if length == 1 else exact.isnan().all()
mixed = gelu(torch.tensor([1.0, 2.0, 3.0, infinity]))
print("one among finite numbers", mixed.tolist(), "bfloat16", gelu(torch.full((4,), infinity).bfloat16()).tolist())
assert mixed[3].isnan() and not mixed[:3].isnan().any()
assert gelu(torch.full((4,), infinity).bfloat16()).isnan().all()
PY
