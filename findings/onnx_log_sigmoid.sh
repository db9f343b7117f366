#!/usr/bin/env bash
# One would guess that torch.onnx.export keeps the functions stable that exist to be stable: logsigmoid and logaddexp.
# Seen: they are written out as Log(Sigmoid(x)) and Log(Exp(a) + Exp(b)): logsigmoid(-20) is -infinity, not -20 (ONNX
# Runtime's Sigmoid is 0 there), that of 20 is 0, logaddexp(90, 3) is infinity and logaddexp(-110, -110) -infinity.
# logsumexp over an axis is stable. With: torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
# onnxruntime==1.32.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
venv/bin/python - <<'PY'
import logging
import warnings

import onnxruntime
import torch
from torch.nn.functional import logsigmoid

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)


class Applied(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def both(function, *args):
    with torch.no_grad():
        program = torch.onnx.export(Applied(function), args, dynamo=True, verbose=False)
    stored = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(stored, providers=["CPUExecutionProvider"])
    feed = {given.name: arg.numpy() for given, arg in zip(session.get_inputs(), args)}
    kinds = [node.op_type for node in program.model_proto.graph.node]
    print(function.__name__, kinds, "of", *(a.tolist() for a in args))
    eager, onnx = function(*args).tolist(), session.run(None, feed)[0].tolist()
    print("   torch", eager, "ONNX", onnx)
    return eager, onnx


x = torch.tensor([-10.0, -20.0, -90.0, 20.0])
eager, onnx = both(logsigmoid, x)
assert abs(eager[0] + 10) < 1e-4 and eager[1:3] == [-20, -90] and -3e-9 < eager[3] < -1e-9
assert abs(onnx[0] + 10) < 1e-2 and onnx[1:] == [-float("inf"), -float("inf"), 0]
a, b = torch.tensor([1.0, 90.0, -110.0]), torch.tensor([2.0, 3.0, -110.0])
eager, onnx = both(torch.logaddexp, a, b)
assert eager[1] == 90 and abs(eager[2] + 109.306854) < 1e-4
assert abs(onnx[0] - eager[0]) < 1e-5 and onnx[1:] == [float("inf"), -float("inf")]
eager, onnx = both(lambda t: torch.logsumexp(t, -1), torch.tensor([[90.0, 3.0], [-110.0, -110.0]]))
assert abs(onnx[0] - 90) < 1e-5 and abs(onnx[1] - eager[1]) < 1e-4
PY
