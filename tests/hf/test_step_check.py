"""Rules that a cached step does not know: a model is refused before it is compiled, wherever in a text they bite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from plena import PlenaError
from plena.hf.step_check import check_step
from tests.hf.small_models import small

pytest.importorskip("transformers")

LENGTH = 32

Rule = Callable[[Tensor, Tensor, int], Tensor]
"""Scores [queries, keys] that are added, of the queries' and the keys' places among `total` keys."""


def _hidden(seen: Tensor) -> Tensor:
    return torch.zeros(seen.shape).masked_fill(~seen, -1e9)


RULES: dict[str, Rule] = {
    "window": lambda query, key, _: _hidden(key > query - 8),
    "window of all keys but one": lambda query, key, _: _hidden(key > query - LENGTH + 1),
    "chunks": lambda query, key, _: _hidden(key // 8 == query // 8),
    "sinks": lambda query, key, _: _hidden((key < 2) | (key > query - 4)),
    "dilated": lambda query, key, _: _hidden((query - key) % 2 == 0),
    "one position": lambda query, key, _: _hidden((query != 19) | (key < 8)),
    "scale by the number of keys": lambda query, key, total: (key % 2 * total / 8).expand(len(query), -1),
    "scale of a short bucket": lambda query, key, total: (key * (total == 16)).float().expand(len(query), -1),
}


def _with_rule(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> Any:
    """A model whose attention has a rule that it takes from the shapes of its queries and keys."""
    from transformers.models.llama import modeling_llama as llama

    plain = llama.eager_attention_forward

    def ruled(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **given: Any) -> Any:
        total = key.shape[2]
        scores = rule(torch.arange(total - query.shape[2], total)[:, None], torch.arange(total)[None], total)
        return plain(module, query, key, value, mask + scores, **given)

    model = small("Llama", num_hidden_layers=1, attn_implementation="eager")
    check_step(model, LENGTH, (16,))
    monkeypatch.setattr(llama, "eager_attention_forward", ruled)
    return model


@pytest.mark.parametrize("name", RULES)
def test_rules_that_come_from_shapes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _with_rule(monkeypatch, RULES[name])
    with pytest.raises(PlenaError, match=r"does not give its logits: at position|are others in a text of"):
        check_step(model, LENGTH, (16,))


def test_keys_picked_by_the_order_of_numbers() -> None:
    """Doge keeps the keys of the largest numbers, which those of one token have alike."""
    model = small("Doge", num_hidden_layers=1, keep_window_size=8)
    check_step(model, 8)
    with pytest.raises(PlenaError, match=r"aten.topk picks from 9 keys .* Use a max_length of at most 8"):
        check_step(model, 9)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("topk", lambda scores: scores >= scores.topk(4).values[..., -1:]),
        ("sort", lambda scores: scores >= scores.sort(descending=True).values[..., 3:4]),
        ("kthvalue", lambda scores: scores >= scores.kthvalue(5, keepdim=True).values),
        ("argmax", lambda scores: torch.arange(scores.shape[-1]) <= scores.argmax(-1, keepdim=True)),
    ],
)
def test_scores_picked_by_their_order(
    name: str, seen: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thresholds that come of the order of scores, as in sparse attention."""
    from transformers.models.llama import modeling_llama as llama

    plain = llama.eager_attention_forward

    def picked(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **given: Any) -> Any:
        scores = query @ llama.repeat_kv(key, module.num_key_value_groups).mT + mask
        hidden = _hidden(seen(scores)) if key.shape[2] > 4 else 0.0
        return plain(module, query, key, value, mask + hidden, **given)

    model = small("Llama", num_hidden_layers=1, attn_implementation="eager")
    monkeypatch.setattr(llama, "eager_attention_forward", picked)
    with pytest.raises(PlenaError, match=rf"aten\.{name} picks from 32 keys"):
        check_step(model, LENGTH)


def test_experts_are_no_keys() -> None:
    """A router picks as well, from as many experts as there are positions here."""
    check_step(small("Mixtral", num_hidden_layers=1, num_local_experts=8, num_experts_per_tok=2), 8)
