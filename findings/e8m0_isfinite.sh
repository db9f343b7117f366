#!/usr/bin/env bash
# One would guess that torch.isfinite is false for NaN in every type that it accepts; it is the check that scales read
# from a file are sound. Seen: of float8_e8m0fnu it says true for NaN (code 255, also what infinity is converted to);
# isnan is right, and isfinite is right for float8_e5m2 and refuses float8_e4m3fn. The other type of MXFP4,
# float4_e2m1fn_x2, prints its bytes as if they were numbers: the pair 0.5 and 1.0 as 33. With: torch==2.13.0
# numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch

print("torch", torch.__version__)
scales = torch.tensor([127, 255], dtype=torch.uint8).view(torch.float8_e8m0fnu)
print(scales, "isnan", torch.isnan(scales).tolist(), "isfinite", torch.isfinite(scales).tolist())
assert scales.float().tolist()[0] == 1 and scales.float().isnan().tolist() == [False, True]
assert torch.isnan(scales).tolist() == [False, True]
assert torch.isfinite(scales).tolist() == [True, True]
assert torch.isfinite(scales.float()).tolist() == [True, False]
infinite = torch.tensor([1.0, float("inf"), -2.0]).to(torch.float8_e8m0fnu)
print("1, inf, -2 as scales:", infinite.float().tolist(), "isfinite", torch.isfinite(infinite).all().item())
assert infinite.float().isnan().tolist() == [False, True, False] and torch.isfinite(infinite).all()
e5m2 = torch.tensor([60, 124, 127], dtype=torch.uint8).view(torch.float8_e5m2)
assert torch.isfinite(e5m2).tolist() == [True, False, False]
try:
    torch.isfinite(e5m2.float().to(torch.float8_e4m3fn))
    raise SystemExit("isfinite takes e4m3fn")
except NotImplementedError as error:
    print("e4m3fn: NotImplementedError,", error)

pairs = torch.tensor([0x21, 0xFF], dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
print("codes 1, 2, 15, 15 in pairs print as", pairs)
assert repr(pairs) == "tensor([ 33., 255.], dtype=torch.float4_e2m1fn_x2)"
PY
