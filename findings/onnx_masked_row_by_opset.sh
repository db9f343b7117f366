#!/usr/bin/env bash
# One would guess torch.onnx.export keeps what scaled_dot_product_attention computes; the opset only decides how it
# is written.
# Seen: a row whose keys are all hidden is 0 in PyTorch. Exported at opset 23 (one Attention node) it is 0; at opset
# 18 it is the mean of the values for a boolean mask, and NaN for the same mask as 0 and -inf.
# With: torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
venv/bin/python - <<'PY'
import contextlib
import io
import logging
import warnings

import onnxruntime
import torch
from torch.nn.functional import scaled_dot_product_attention as attend

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
onnxruntime.set_default_logger_severity(4)


class Attend(torch.nn.Module):
    def forward(self, q, mask):
        return attend(q, q, q, attn_mask=mask)


def row(q, mask, opset):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        proto = torch.onnx.export(Attend(), (q, mask), dynamo=True, verbose=False, opset_version=opset).model_proto
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    (out,) = session.run(None, dict(zip(names, (q.numpy(), mask.numpy()), strict=True)))
    return torch.tensor(out)[0, 0, 1], {node.op_type for node in proto.graph.node}


torch.manual_seed(0)
q = torch.randn(1, 1, 2, 4)
seen = torch.tensor([[True, False], [False, False]])
added = torch.zeros(2, 2).masked_fill(~seen, float("-inf"))
for kind, mask in (("boolean", seen), ("-inf", added)):
    assert (Attend()(q, mask)[0, 0, 1] == 0).all()
    old, _ = row(q, mask, 18)
    new, nodes = row(q, mask, 23)
    print(kind, "opset 18:", old.tolist(), "opset 23:", new.tolist())
    assert (new == 0).all() and "Attention" in nodes
    assert old.isnan().all() if kind == "-inf" else torch.allclose(old, q[0, 0].mean(0), atol=1e-6)
PY
