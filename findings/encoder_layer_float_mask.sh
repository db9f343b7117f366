#!/usr/bin/env bash
# One would guess nn.TransformerEncoderLayer adds a floating src_mask to the scores, so that a bias such as ALiBi
# works, in eval mode as in training.
# Seen: in eval mode without gradients the fused path takes the mask as boolean: every entry that is not 0 hides its
# key. An ALiBi bias (0 only on the diagonal) makes each token attend to itself alone, without an error or a
# warning.
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
layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True).eval()
x = torch.randn(1, 5, 16)
place = torch.arange(5)
alibi = -0.5 * (place[:, None] - place[None, :]).abs().float()
with torch.no_grad():
    fused = layer(x, src_mask=alibi)
    hidden = layer(x, src_mask=alibi != 0)
with_grad = layer(x, src_mask=alibi).detach()
exported = torch.export.export(layer, (x, alibi), strict=False).module()(x, alibi).detach()
print("fused - with gradients:", (fused - with_grad).abs().max().item())
print("fused - bias taken as a boolean mask:", (fused - hidden).abs().max().item())
print("exported - with gradients:", (exported - with_grad).abs().max().item())
assert (fused - with_grad).abs().max() > 0.01
assert torch.allclose(fused, hidden, atol=1e-5)
assert torch.allclose(exported, with_grad, atol=1e-5)
PY
