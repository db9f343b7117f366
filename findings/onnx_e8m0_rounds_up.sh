#!/usr/bin/env bash
# One would guess ONNX Cast to FLOAT8E8M0 rounds to the nearest power of two, as torch and ml_dtypes do, and its
# reference agrees with the runtime.
# Seen: the default round_mode is 'up': 1.1 becomes 2 (torch: 1). With the default saturate=1 ONNX Runtime makes
# +infinity 2**127 and -2 the smallest scale, onnx's reference evaluator NaN and 2.
# With: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
values = np.array([1.1, 1.9, 0.0, -2.0, np.inf], np.float32)


def both(**attributes):
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [5]) for n in "xy"]
    nodes = [
        helper.make_node("Cast", ["x"], ["scale"], to=TensorProto.FLOAT8E8M0, **attributes),
        helper.make_node("Cast", ["scale"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", io[:1], io[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values})[0], ReferenceEvaluator(model).run(None, {"x": values})[0].astype(np.float32)


runtime, reference = both()
print("default: runtime", runtime.tolist(), "reference", reference.tolist())
assert runtime.tolist() == [2.0, 2.0, 2.0**-127, 2.0**-127, 2.0**127]
assert reference[:4].tolist() == [2.0, 2.0, 2.0**-127, 2.0] and np.isnan(reference[4])
nearest, _ = both(round_mode="nearest")
print("round_mode nearest:", nearest.tolist())
assert nearest[:2].tolist() == [1.0, 2.0]
PY
