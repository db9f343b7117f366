#!/usr/bin/env bash
# One would guess that Convert to a narrower type and back rounds to that type, whatever the device computes in, and
# is lossless only where the type is. Seen: on OpenVINO's CPU device float16 is no rounding (1e6 stays 1e6, 1.001
# stays 1.001), though bfloat16 and float8 are, and int4 is a byte (100 stays 100) though float4 is not: types that
# the device does not compute in are replaced by wider ones, explicit Converts included. Fake quantisation written
# this way tests nothing. With: openvino==2026.4.1 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile openvino==2026.4.1 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import openvino
import openvino.opset15 as ops

print("openvino", openvino.__version__)
core = openvino.Core()
x = np.array([1.001, 100.0, 1e6], np.float32)


def through(kind):
    given = ops.parameter([3], openvino.Type.f32)
    model = openvino.Model([ops.convert(ops.convert(given, kind), "f32")], [given])
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0].tolist()


got = {kind: through(kind) for kind in ("f16", "bf16", "f8e5m2", "f4e2m1", "i4")}
print("through each type and back:", got)
assert got["f16"] == x.tolist()
assert got["bf16"] == [1, 100, 999424] and got["f8e5m2"] == [1, 96, np.inf] and got["f4e2m1"] == [1, 6, 6]
assert got["i4"][:2] == [1, 100]
PY
