"""Loops over all experts, and tensors with an axis of experts, as one body: whatever spelling a model has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from xdsl.context import Context

from plena.dialects.plena import ExpertsOp
from plena.frontend import ImportedProgram, import_module
from plena.passes.collect_experts import CollectExperts
from plena.passes.lower_experts import LowerExperts
from plena.passes.merge_duplicates import MergeDuplicates
from tests.covering import in_turn
from tests.passes.tensor_pipeline import close, references

EXPERTS, HIDDEN, INNER = 4, 8, 6

Layer = Callable[["Mixture", Tensor, Tensor], Tensor]
"""What is computed of the tokens and of the weights [*tokens, E] of experts, 0 for those that are not chosen."""


class Mixture(nn.Module):
    """A router that chooses two experts, and what `layer` makes of its weights."""

    def __init__(self, layer: Layer, hidden: int = HIDDEN, inner: int = INNER, chosen: int = 2) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.chosen = layer, chosen
        self.router = nn.Linear(hidden, EXPERTS)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, inner), nn.SiLU(), nn.Linear(inner, hidden))
            for _ in range(EXPERTS)
        )
        self.up = nn.Parameter(torch.randn(EXPERTS, inner, hidden))
        self.down = nn.Parameter(torch.randn(EXPERTS, hidden, inner))
        self.bias = nn.Parameter(torch.randn(EXPERTS, hidden))
        self.shared = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        shares = self.router(x).softmax(-1)
        weights, ids = shares.topk(self.chosen)
        return self.layer(self, x, torch.zeros_like(shares).scatter(-1, ids, weights))


def collected(module: nn.Module, x: Tensor) -> ImportedProgram:
    """Computes what PyTorch computes before and after, and as products of all experts."""
    expected = references(module, (x,))
    program = import_module(module, (x,))
    MergeDuplicates().apply(Context(), program.module)
    CollectExperts().apply(Context(), program.module)
    program.module.verify()
    close(program, (x,), expected)
    lowered = replace(program, module=program.module.clone())
    LowerExperts().apply(Context(), lowered.module)
    lowered.module.verify()
    close(lowered, (x,), expected)
    return program


def sums(program: ImportedProgram) -> list[ExpertsOp]:
    return [op for op in program.module.walk() if isinstance(op, ExpertsOp)]


def modules(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for e, expert in enumerate(m.experts):
        out += expert(x) * weights[..., e : e + 1]
    return out


def on_the_input_side(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """As in Llama 4: what is 0 stays so without biases."""
    out = x
    for e in range(EXPERTS):
        out = out + F.linear(F.silu(F.linear(x * weights[..., e, None], m.up[e])), m.down[e])
    return out


def beside_others(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """With a shared expert and what was there before, in the other direction."""
    out = m.shared(x)
    for e in reversed(range(EXPERTS)):
        out = out + weights[..., e].unsqueeze(-1) * (F.relu(x @ m.up[e].T) @ m.down[e].T + m.bias[e])
    return out + x


def stacked(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    rows = torch.stack([expert(x) for expert in m.experts], -2)
    return (rows * weights.unsqueeze(-1)).sum(-2)


def contracted(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    rows = torch.stack([expert(x) for expert in m.experts], -2)
    return torch.einsum("...e,...eh->...h", weights, rows)


def einsum(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    hidden = torch.einsum("...h,eih->...ei", x, m.up).relu()
    return (torch.einsum("...ei,ehi->...eh", hidden, m.down) * weights.unsqueeze(-1)).sum(-2)


def batched(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """As gpt-oss had it: all experts in products with an axis of them."""
    rows = x.reshape(-1, x.shape[-1]).repeat(EXPERTS, 1).view(EXPERTS, -1, x.shape[-1])
    hidden = ((torch.bmm(rows, m.up.transpose(1, 2)) + 0.5).clamp(max=1.0) * 1.5).relu()
    out = torch.bmm(hidden, m.down.transpose(1, 2)) + m.bias[..., None, :]
    weighted = out * weights.reshape(-1, EXPERTS).transpose(0, 1).reshape(EXPERTS, -1)[..., None]
    return weighted.sum(0).view(x.shape)


LAYERS: list[Layer] = [modules, on_the_input_side, beside_others, stacked, contracted, einsum, batched]


SHAPES = [(5,), (2, 3), (1, 1), (EXPERTS,), (HIDDEN,), (INNER,)]


@pytest.mark.parametrize(
    ("layer", "shape"), in_turn(LAYERS, SHAPES, 3), ids=lambda v: getattr(v, "__name__", str(v))
)
def test_experts_that_compute_alike_become_one_body(layer: Layer, shape: tuple[int, ...]) -> None:
    """Axes of tokens that are as long as others are not mistaken for them."""
    (found,) = sums(collected(Mixture(layer), torch.randn(*shape, HIDDEN)))
    assert found.is_closed and found.stacked


def test_sizes_that_are_all_equal() -> None:
    for layer in LAYERS:
        assert len(sums(collected(Mixture(layer, EXPERTS, EXPERTS), torch.randn(EXPERTS, EXPERTS)))) == 1


def overwritten(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """Of one expert for each token: its row is put where it is chosen."""
    best = m.router(x).argmax(-1)
    out = torch.zeros_like(x)
    for e, expert in enumerate(m.experts):
        out = torch.where((best == e).unsqueeze(-1), expert(x), out)
    return out


def zero_elsewhere(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    best = m.router(x).argmax(-1)
    parts = [torch.where((best == e)[..., None], expert(x), 0.0) for e, expert in enumerate(m.experts)]
    return sum(parts, torch.zeros_like(x))


@pytest.mark.parametrize("shape", [(5,), (2, 3)], ids=str)
@pytest.mark.parametrize("layer", [overwritten, zero_elsewhere], ids=lambda layer: layer.__name__)
def test_one_expert_for_each_token_may_be_chosen_by_where(layer: Layer, shape: tuple[int, ...]) -> None:
    (found,) = sums(collected(Mixture(layer, chosen=1), torch.randn(*shape, HIDDEN)))
    assert found.is_closed


def different(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """One of them has another activation."""
    parts = [F.linear((F.relu if e else F.silu)(F.linear(x, m.up[e])), m.down[e]) for e in range(EXPERTS)]
    return sum((weights[..., e, None] * part for e, part in enumerate(parts)), torch.zeros_like(x))


def incomplete(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    return sum((expert(x) * weights[..., e, None] for e, expert in enumerate(m.experts) if e), x)


def biased_behind(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """Experts that are not chosen add their biases."""
    return sum((F.linear(x * weights[..., e, None], m.up[e][:1], m.bias[e][:1]) for e in range(EXPERTS)), x)


def across_tokens(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """Not row by row."""
    return sum(((x @ m.up[e].T @ m.up[e]).softmax(0) * weights[..., e, None] for e in range(EXPERTS)), x)


def wrong_column(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    """The experts' order is another one than that of their columns."""
    parts = [m.bias[e] * x * weights[..., EXPERTS - 1 - e, None] for e in range(EXPERTS)]
    return torch.stack(parts).sum(0)


def shifted(m: Mixture, x: Tensor, weights: Tensor) -> Tensor:
    return sum((expert(x) * (weights[..., e, None] + 1) for e, expert in enumerate(m.experts)), x)


OTHERS: list[Layer] = [different, incomplete, biased_behind, across_tokens, shifted]


@pytest.mark.parametrize("layer", OTHERS, ids=lambda layer: layer.__name__)
def test_other_sums_stay_as_they_are(layer: Layer) -> None:
    assert not sums(collected(Mixture(layer), torch.randn(5, HIDDEN)))


def test_columns_in_another_order() -> None:
    collected(Mixture(wrong_column), torch.randn(5, HIDDEN))
