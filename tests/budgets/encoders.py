"""Encoders of text and images whose counts are guarded, and the norm they are full of."""

from __future__ import annotations

import torch

from tests.budgets.case import Case
from tests.models.builders import Built
from tests.models.encoders import SO400M, VIT_BASE, bert_layer, siglip, vit

MINILM = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}


def layer_norm(*, affine: bool) -> Built:
    """LayerNorm of 64 x 384."""
    return Built(torch.nn.LayerNorm(384, elementwise_affine=affine).eval(), (torch.zeros(64, 384),))


CASES: dict[str, Case] = {
    "LayerNorm 64x384": Case(lambda: layer_norm(affine=False)),
    "LayerNorm 64x384 with gain and bias": Case(lambda: layer_norm(affine=True)),
    "LayerNorm 64x384 with gain and bias, size": Case(lambda: layer_norm(affine=True), {"objective": "size"}),
    "MiniLM layer, sequence 64": Case(lambda: bert_layer(MINILM, 64)),
    "MiniLM layer, sequence 64, pipelined": Case(
        lambda: bert_layer(MINILM, 64), {"timing": "pipelined"}, slow=True
    ),
    "SmolVLM2 vision layer, 64 patches of 16x16": Case(lambda: siglip(128, 16, VIT_BASE, weights=False)),
    "ViT-B layer, 196 patches of 16x16": Case(lambda: vit(224, 16, VIT_BASE, weights=False), slow=True),
    "SigLIP So400m layer, 64 patches of 14x14": Case(
        lambda: siglip(112, 14, SO400M, weights=False), slow=True
    ),
}
