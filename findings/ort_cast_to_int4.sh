#!/usr/bin/env bash
# One would guess that Cast to INT4 cuts off the fraction as Cast to INT8 does in the same runtime and as the ONNX
# text says of float to integer. Seen: ONNX Runtime rounds: 0.75 becomes 1 and 2.5 becomes 3 (half away from zero, not
# to even), while INT8 and onnx's reference evaluator give 0 and 2. UINT4 is alike. With: onnx==1.23.2
# onnxruntime==1.32.0 numpy==2.4.6.
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
x = np.array([0.25, 0.75, 1.5, 2.5, 6.9], np.float32)


def cast(kind):
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [5]) for n in "xy"]
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=kind),
        helper.make_node("Cast", ["narrow"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", io[:1], io[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].tolist(), ReferenceEvaluator(model).run(None, {"x": x})[0].tolist()


for kind in ("INT8", "INT4", "UINT4"):
    runtime, reference = cast(getattr(TensorProto, kind))
    print(kind, "runtime", runtime, "reference", reference)
    assert reference == [0, 0, 1, 2, 6]
    assert runtime == ([0, 0, 1, 2, 6] if kind == "INT8" else [0, 1, 2, 3, 7])
PY
