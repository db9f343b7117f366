#!/usr/bin/env bash
# One would guess that Triton's interpreter (TRITON_INTERPRET=1), the way to run a kernel on a CPU, converts numbers
# as the GPU does: to the nearest, ties to even, NaN stays NaN. Seen: to bfloat16 it cuts off (1.01171875 becomes
# 1.0078125); to float8 it wraps around: in e4m3 500 and infinity become 256, NaN 384, 1e9 480, and 1e-40 is 2**-9; in
# e5m2 infinity becomes 65536 and 1e9 114688. To float16 it is right. With: torch==2.13.0 numpy==2.4.6 triton==3.9.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 triton==3.9.0
TRITON_INTERPRET=1 venv/bin/python - <<'PY'
import torch
import triton
import triton.language as tl

print("triton", triton.__version__)


@triton.jit
def through(source, target, size: tl.constexpr, kind: tl.constexpr):
    places = tl.arange(0, size)
    tl.store(target + places, tl.load(source + places).to(kind).to(tl.float32))


x = torch.tensor([1.01171875, 1.006, 448.0, 500.0, 1e9, torch.inf, torch.nan, 1e-40])
got = {}
for kind in (tl.float16, tl.bfloat16, tl.float8e4nv, tl.float8e5):
    target = torch.empty(8)
    through[(1,)](x, target, 8, kind)
    got[str(kind)] = target.tolist()
    print(kind, target.tolist())
assert torch.equal(torch.tensor(got["fp16"][:6]), x[:6].half().float()) and got["fp16"][6] != got["fp16"][6]
print("torch to bfloat16", x.bfloat16().tolist())
assert got["bf16"][:2] == [1.0078125, 1.0] and x[:2].bfloat16().tolist() == [1.015625, 1.0078125]
assert got["fp8e4nv"][2:] == [448, 256, 480, 256, 384, 2.0**-9]
assert got["fp8e5"][4:7] == [114688, 65536, 98304]
PY
