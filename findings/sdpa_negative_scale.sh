#!/usr/bin/env bash
# One would guess scaled_dot_product_attention with is_causal=True equals the same call with the lower triangle as a
# mask, whatever the scale.
# Seen: on the CPU the fused kernel gives NaN in every row that hides a key when the scale is negative or zero; the
# same call through the math backend, with an explicit mask, or after export and decomposition is finite and right.
# With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attend

print("torch", torch.__version__)
torch.manual_seed(0)
q, k, v = (torch.randn(1, 1, 4, 8) for _ in range(3))
triangle = torch.ones(4, 4).tril().bool()
for scale in (-0.5, 0.0):
    fused = attend(q, k, v, is_causal=True, scale=scale)
    masked = attend(q, k, v, attn_mask=triangle, scale=scale)
    with sdpa_kernel(SDPBackend.MATH):
        plain = attend(q, k, v, is_causal=True, scale=scale)
    rows = fused.isnan().any(-1).flatten().tolist()
    print(f"scale {scale}: rows with NaN", rows, "math - masked", (plain - masked).abs().max().item())
    assert rows == [True, True, True, False]
    assert torch.allclose(plain, masked, atol=1e-6) and torch.allclose(fused[..., 3, :], masked[..., 3, :], atol=1e-6)
positive = attend(q, k, v, is_causal=True, scale=0.5)
assert torch.allclose(positive, attend(q, k, v, attn_mask=triangle, scale=0.5), atol=1e-6)


class Causal(torch.nn.Module):
    def forward(self, q, k, v):
        return attend(q, k, v, is_causal=True, scale=-0.5)


exported = torch.export.export(Causal(), (q, k, v), strict=False)
kept, split = exported.module()(q, k, v), exported.run_decompositions().module()(q, k, v)
print("exported, kept whole: NaN", bool(kept.isnan().any()), "decomposed: NaN", bool(split.isnan().any()))
assert kept.isnan().any() and not split.isnan().any()
PY
