#!/usr/bin/env bash
# One would guess the default eps of F.rms_norm and nn.RMSNorm is torch.finfo(x.dtype).eps, as documented: 0.0078
# for bfloat16.
# Seen: for bfloat16 and float16 it is the eps of float32 (1.19e-7), in eager mode and in the decomposed export;
# only float64 takes its own. For rows of about 0.001 the documented eps would give results 30 to 80 times smaller.
# With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
from torch.nn.functional import rms_norm

print("torch", torch.__version__)


def by_hand(x, eps):
    wide = x.double()
    return (wide / torch.sqrt(wide.pow(2).mean(-1, keepdim=True) + eps))[0, 0].item()


for dtype in (torch.bfloat16, torch.float16, torch.float64):
    x = torch.full((1, 4), 1e-9 if dtype == torch.float64 else 1e-3, dtype=dtype)
    got = rms_norm(x, (4,))[0, 0].item()
    single, own = by_hand(x, torch.finfo(torch.float32).eps), by_hand(x, torch.finfo(dtype).eps)
    print(dtype, "got", got, "with float32's eps", single, "with its own eps", own)
    near, far = (own, single) if dtype == torch.float64 else (single, own)
    assert abs(got - near) < 0.01 * near and not 0.1 * far < got < 10 * far


class Norm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.RMSNorm(4, dtype=torch.bfloat16)

    def forward(self, x):
        return self.norm(x)


exported = torch.export.export(Norm(), (torch.ones(1, 4, dtype=torch.bfloat16),), strict=False).run_decompositions()
added = [n.args[1] for n in exported.graph.nodes if str(n.target).startswith("aten.add")]
print("eps in the decomposed export", added)
assert added == [torch.finfo(torch.float32).eps]
PY
