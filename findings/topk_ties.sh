#!/usr/bin/env bash
# One would guess among equal values torch.topk takes the lowest indices, as argmax and ONNX's TopK do.
# Seen: the order is that of a partial sort: of 8 and of 64 equal values neither 0 nor 1 is among the best two. ONNX
# TopK (also of the model that torch.onnx.export writes) takes 0 and 1. A router with equal logits thus sends its
# tokens to other experts. torch.sort is the first in order up to 16 elements only; stable=True is.
# With: torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
float_in = helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])
k_in = helper.make_tensor_value_info("k", TensorProto.INT64, [1])
outs = [helper.make_tensor_value_info(n, t, None) for n, t in (("v", TensorProto.FLOAT), ("i", TensorProto.INT64))]
graph = helper.make_graph([helper.make_node("TopK", ["x", "k"], ["v", "i"])], "g", [float_in, k_in], outs)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
onnx_best = session.run(None, {"x": np.ones(8, np.float32), "k": np.array([2])})[1].tolist()
best = {n: torch.topk(torch.ones(n), 2).indices.tolist() for n in (8, 64)}
print("torch.topk of equal values", best, "ONNX TopK of 8", onnx_best, "argmax", torch.ones(8).argmax().item())
assert onnx_best == [0, 1] and torch.ones(8).argmax() == 0
assert all(not {0, 1} & set(found) for found in best.values())
first = {n: torch.sort(torch.zeros(n), descending=True).indices[:2].tolist() for n in (16, 17, 64)}
print("torch.sort of equal values", first)
assert first[16] == [0, 1] and first[17] != [0, 1] and first[64] != [0, 1]
assert torch.sort(torch.zeros(64), descending=True, stable=True).indices.tolist() == list(range(64))
PY
