"""One layer of CLM-60M at its real dimensions, and reduced layers of every family, on the emulator."""

from __future__ import annotations

import pytest
import torch

from tests.models.accuracy import compiled, require_accuracy
from tests.models.builders import REDUCED, hidden, logits, public

pytest.importorskip("transformers")


@pytest.mark.parametrize(("sequence", "batch"), [(64, 1), (17, 1), (17, 2), (64, 2)])
def test_clm_60m_layer(sequence: int, batch: int) -> None:
    built = hidden(public("clm-60m", 1), sequence, batch)
    require_accuracy(compiled(built), built, 1)


FAMILIES = {
    "llama": {},
    "llama, heads of 32": {"head_dim": 32},
    "qwen2": {"family": "qwen2", "qkv_bias": True},
    "qwen3": {"family": "qwen3"},
    "gemma2": {"family": "gemma2", "settings": {"sliding_window": 8}},
    "llada": {"family": "llada", "kv_heads": 4},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_reduced_model_from_ids_to_logits(family: str) -> None:
    built = logits(REDUCED | FAMILIES[family], 17)
    require_accuracy(compiled(built), built, 2)


def test_reduced_model_in_a_batch() -> None:
    built = logits(REDUCED, 17, batch=2)
    require_accuracy(compiled(built), built, 2)


def test_llada_sees_both_directions() -> None:
    """The builder does what its name says: the first token depends on the last."""
    built = logits(REDUCED | FAMILIES["llada"], 17)
    (ids,) = built.inputs
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % REDUCED["vocab"]
    with torch.no_grad():
        before, after = built.module(ids), built.module(changed)
    assert not torch.equal(before[:, 0], after[:, 0])
