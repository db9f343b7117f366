#!/usr/bin/env bash
# One would guess ONNX Runtime's ReduceMax and ArgMax carry a NaN on, as torch.amax and onnx's reference evaluator
# do.
# Seen: a NaN is ignored by both unless it comes first; then the maximum is NaN and the index 0. A softmax that is
# built from ReduceMax hides or shows a broken score by its place.
# With: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnxruntime", onnxruntime.__version__)


def both(operator, values, kind, **attributes):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(values)])
    y = helper.make_tensor_value_info("y", kind, [])
    node = helper.make_node(operator, ["x"], ["y"], keepdims=0, **attributes)
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"x": np.array(values, np.float32)}
    return float(session.run(None, feed)[0]), float(np.asarray(ReferenceEvaluator(model).run(None, feed)[0]))


for values, nan_at, seen_at in (([1, np.nan, 3, 2], 1, 2), ([np.nan, 1, 3, 2], 0, 0)):
    most = both("ReduceMax", values, TensorProto.FLOAT)
    where = both("ArgMax", values, TensorProto.INT64, axis=0)
    print(values, "ReduceMax and ArgMax: runtime", most[0], where[0], "reference", most[1], where[1])
    assert np.isnan(most[1]) and where[1] == nan_at
    assert where[0] == seen_at and (np.isnan(most[0]) if nan_at == 0 else most[0] == 3)
PY
