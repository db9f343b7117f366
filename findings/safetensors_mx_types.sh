#!/usr/bin/env bash
# One would guess that what safetensors saves it loads, by each of its functions: load(save(x)) in memory is
# load_file(save_file(x)), get_slice()[:] is the tensor. Seen: the two types of MXFP4 are an exception. torch's
# float8_e8m0fnu (scales) and float4_e2m1fn_x2 (pairs of elements) go through files; load(save(x)) raises KeyError,
# get_slice()[:] of the pairs raises RuntimeError, and its shape counts elements where the tensor's counts pairs.
# safetensors.numpy reads bfloat16 if ml_dtypes is there, but no float8 at all (AttributeError), though ml_dtypes has
# them. With: safetensors==0.8.0 numpy==2.4.6 torch==2.13.0 ml_dtypes==0.6.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile safetensors==0.8.0 numpy==2.4.6 torch==2.13.0 ml_dtypes==0.6.0
venv/bin/python - <<'PY'
import ml_dtypes  # noqa: F401  (gives NumPy the types)
import safetensors
import safetensors.numpy
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save, save_file

print("safetensors", safetensors.__version__, "torch", torch.__version__)


def outcome(function):
    try:
        return str(function())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


codes = torch.arange(8, dtype=torch.uint8).view(2, 4)
seen = {}
for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2):
    tensor = codes.bfloat16() if kind == torch.bfloat16 else codes.view(kind)
    save_file({"t": tensor}, "t.safetensors")
    with safe_open("t.safetensors", "pt") as file:
        part = file.get_slice("t")
        seen[kind] = {
            "load_file": outcome(lambda: load_file("t.safetensors")["t"].dtype),
            "load(save)": outcome(lambda: load(save({"t": tensor}))["t"].dtype),
            "numpy": outcome(lambda: safetensors.numpy.load_file("t.safetensors")["t"].dtype),
            "get_shape": outcome(part.get_shape),
            "[:]": outcome(lambda: list(part[:].shape)),
        }
    print(kind, seen[kind])
for kind, got in seen.items():
    assert got["load_file"] == str(kind)
    assert (got["numpy"] == "bfloat16") == (kind == torch.bfloat16)
    assert kind == torch.bfloat16 or got["numpy"].startswith("AttributeError")
assert seen[torch.float8_e4m3fn]["load(save)"] == "torch.float8_e4m3fn"
assert seen[torch.float8_e8m0fnu]["load(save)"] == "KeyError: 'F8_E8M0'"
assert seen[torch.float4_e2m1fn_x2]["load(save)"] == "KeyError: 'F4'"
assert seen[torch.float8_e8m0fnu]["[:]"] == "[2, 4]"
assert seen[torch.float4_e2m1fn_x2]["get_shape"] == "[2, 8]"
assert "RuntimeError" in seen[torch.float4_e2m1fn_x2]["[:]"]
assert load_file("t.safetensors")["t"].shape == (2, 4)
PY
