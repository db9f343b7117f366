#!/usr/bin/env bash
# One would guess that NaN goes through tinygrad as it goes through torch and NumPy: relu, max and clip of NaN are
# NaN, and a sort keeps what it is given. Seen (on the PYTHON device, which needs no compiler): relu(NaN) is 0, max()
# ignores it, sign is 1, and sort() and topk() lose it and give another element twice, so that the sorted tensor has
# other numbers than the tensor. A cast to float16 and back rounds nothing there: 1e6 stays 1e6; bfloat16 and fp8e4m3
# do round. With: tinygrad==0.14.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile tinygrad==0.14.0
venv/bin/python - <<'PY'
import math
import os
from importlib.metadata import version

os.environ["PYTHON"] = "1"
os.environ["DEV"] = "PYTHON"
from tinygrad import Device, Tensor, dtypes

print("tinygrad", version("tinygrad"), Device.DEFAULT)
assert Device.DEFAULT == "PYTHON"
nan = float("nan")
x = Tensor([1.0, nan, 4.0, 3.0])
got = {
    "relu": x.relu().tolist(),
    "max": x.max().item(),
    "sign": x.sign().tolist(),
    "sort": x.sort()[0].tolist(),
    "topk(3)": x.topk(3)[0].tolist(),
    "x * 2": (x * 2).tolist(),
    "sum": x.sum().item(),
}
for name, value in got.items():
    print(name, value)
assert got["relu"] == [1, 0, 4, 3] and got["max"] == 4 and got["sign"] == [1, 1, 1, 1]
assert len(got["sort"]) == 4 and not any(map(math.isnan, got["sort"]))
assert set(got["sort"]) <= {1, 3, 4} and not any(map(math.isnan, got["topk(3)"]))
assert math.isnan(got["x * 2"][1]) and math.isnan(got["sum"])

big = Tensor([1e6, 1.0001])
for kind in (dtypes.float16, dtypes.bfloat16, dtypes.fp8e4m3):
    print(kind, big.cast(kind).cast(dtypes.float32).tolist())
assert big.cast(dtypes.float16).cast(dtypes.float32).tolist()[0] == 1e6
assert big.cast(dtypes.bfloat16).cast(dtypes.float32).tolist() == [999424, 1]
assert big.cast(dtypes.fp8e4m3).cast(dtypes.float32).tolist() == [448, 1]
PY
