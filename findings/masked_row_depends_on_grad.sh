#!/usr/bin/env bash
# One would guess whether gradients are recorded does not change what a module in eval mode computes.
# Seen: nn.MultiheadAttention with need_weights=False and a boolean mask that hides every key of a row gives 0 (plus
# the bias of the output projection) while gradients are recorded, and NaN under torch.no_grad(), where the fused
# path runs. torch.export takes the first path even under no_grad. A key_padding_mask that is all True does the
# same.
# With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch

print("torch", torch.__version__)
torch.manual_seed(0)
mha = torch.nn.MultiheadAttention(16, 2, batch_first=True).eval()
x = torch.randn(1, 4, 16)
mask = torch.zeros(4, 4, dtype=torch.bool)
mask[1] = True


class Self(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mha = mha

    def forward(self, x):
        return self.mha(x, x, x, attn_mask=mask, need_weights=False)[0]


recorded = Self()(x).detach()
with torch.no_grad():
    fused = Self()(x)
    exported = torch.export.export(Self().eval(), (x,), strict=False).module()(x)
print("row 1 with gradients", recorded[0, 1, :3].tolist())
print("row 1 under no_grad ", fused[0, 1, :3].tolist())
print("row 1 exported      ", exported[0, 1, :3].tolist())
assert (recorded[0, 1] == 0).all() and (exported[0, 1] == 0).all()
assert fused[0, 1].isnan().all() and not fused[0, [0, 2, 3]].isnan().any()
padding = torch.ones(1, 4, dtype=torch.bool)
kept = mha(x, x, x, key_padding_mask=padding, need_weights=False)[0]
with torch.no_grad():
    lost = mha(x, x, x, key_padding_mask=padding, need_weights=False)[0]
print("all keys padded: with gradients", kept[0, 0, 0].item(), "under no_grad", lost[0, 0, 0].item())
assert not kept.isnan().any() and lost.isnan().all()
PY
