#!/usr/bin/env bash
# One would guess that fake quantisation, which stands for quantisation in training and calibration, gives the codes
# of torch.quantize_per_tensor, and both those of ONNX's QuantizeLinear. Seen: with an odd zero point they differ by
# one for every number half way between two codes. torch.quantize_per_tensor and quantize_per_channel add the zero
# point and then round to even; fake_quantize_per_tensor_affine and ONNX Runtime round and then add it (0.5 with zero
# point 1 is code 2 in one, 1 in the other). Beyond 2**63 scales fake_quantize_per_channel_affine turns numbers and
# +infinity into the lowest code, per tensor into the highest. With: torch==2.13.0 numpy==2.4.6 onnx==1.23.2
# onnxruntime==1.32.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
venv/bin/python - <<'PY'
import warnings

import onnxruntime
import torch
from onnx import TensorProto, helper

warnings.simplefilter("ignore")
print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
x = torch.tensor([0.5, 1.5, 2.5, -0.5])


def quantized(x, zero):
    return torch.quantize_per_tensor(x, 1.0, zero, torch.qint8).int_repr().tolist()


def by_channel(x, zero):
    scales, zeros = torch.ones(len(x), dtype=torch.double), torch.full((len(x),), zero)
    return torch.quantize_per_channel(x[:, None], scales, zeros, 0, torch.qint8).int_repr()[:, 0].tolist()


def faked(x, zero):
    return (torch.fake_quantize_per_tensor_affine(x, 1.0, zero, -128, 127) + zero).int().tolist()


def by_onnxruntime(x, zero):
    io = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(x)])]
    io += [helper.make_tensor_value_info("y", TensorProto.INT8, [len(x)])]
    given = [helper.make_tensor("s", TensorProto.FLOAT, [], [1.0])]
    given += [helper.make_tensor("z", TensorProto.INT8, [], [zero])]
    graph = helper.make_graph([helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])], "g", io[:1], io[1:], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.numpy()})[0].tolist()


for zero in (0, 1, 2, 3):
    got = {f.__name__: f(x, zero) for f in (quantized, by_channel, faked, by_onnxruntime)}
    print("zero point", zero, got)
    shifted = [int(v) + zero for v in x.round()]
    assert got["faked"] == got["by_onnxruntime"] == shifted
    assert got["quantized"] == got["by_channel"] == [int(v) for v in (x + zero).round()]
    assert (got["quantized"] == shifted) == (zero % 2 == 0)
assert quantized(x, 1) == [2, 2, 4, 0] and faked(x, 1) == [1, 3, 3, 1]

large = torch.tensor([1e17, 1e19, float("inf")])
zeros = torch.zeros(1, dtype=torch.int32)
channel = torch.fake_quantize_per_channel_affine(large[None], torch.ones(1), zeros, 0, -128, 127)
tensor = torch.fake_quantize_per_tensor_affine(large, 1.0, 0, -128, 127)
print("1e17, 1e19, inf by tensor", tensor.tolist(), "by channel", channel[0].tolist())
assert tensor.tolist() == [127, 127, 127] and channel[0].tolist() == [127, -128, -128]
PY
