#!/usr/bin/env bash
# One would guess that np.load gives back what np.save wrote, or that np.save refuses types that a file cannot name.
# Seen: np.save and np.savez take every type of ml_dtypes and forget it. They come back as raw bytes (V1, V2), which
# astype takes for text: ones in float8_e4m3fn, 0x38, become 8.0. float8_e5m2 does not come back: np.load raises
# ValueError, as the header says <f1. array.view(np.uint8) before saving keeps it. With: ml_dtypes==0.6.0
# numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile ml_dtypes==0.6.0 numpy==2.4.6
venv/bin/python - <<'PY'
import ml_dtypes
import numpy as np

print("ml_dtypes", ml_dtypes.__version__, "numpy", np.__version__)
names = "bfloat16 float8_e4m3fn float8_e8m0fnu float6_e2m3fn float4_e2m1fn int4 float8_e5m2".split()
for name in names:
    kind = np.dtype(getattr(ml_dtypes, name))
    array = np.array([1, 1, 1], kind)
    np.save("a.npy", array)
    np.savez("a.npz", a=array)
    try:
        back = np.load("a.npy")
    except ValueError as error:
        print(name, "- ValueError:", error)
        assert name == "float8_e5m2"
        try:
            np.load("a.npz")["a"]
            raise SystemExit("the archive was read")
        except ValueError:
            continue
    print(name, "-", back.dtype)
    assert name != "float8_e5m2" and back.dtype == np.dtype(f"V{kind.itemsize}")
    assert np.load("a.npz")["a"].dtype == back.dtype
    assert np.array_equal(back.view(kind), array)
    try:
        numbers = back.astype(np.float32).tolist()
    except ValueError as error:
        numbers = type(error).__name__
    print("   as float32:", numbers)
    assert numbers == ([8, 8, 8] if name == "float8_e4m3fn" else "ValueError")
PY
