"""Routed experts at import: which operators say that experts are chosen, and what becomes of what they compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from xdsl.context import Context

import plena
from plena.dialects import aten
from plena.dialects.plena import ExpertsOp, RouteOp
from plena.errors import CompileError
from plena.frontend import ImportedProgram, import_module
from plena.passes.loop_experts import LoopExperts
from plena.passes.lower_experts import LowerExperts
from tests.covering import in_turn
from tests.passes.tensor_pipeline import close, references

TOKENS, EXPERTS, CHOSEN, HIDDEN, INNER = 5, 4, 2, 8, 6

Layer = Callable[["Experts", Tensor, Tensor, Tensor], Tensor]
"""What is computed of the tokens [T, H], the weights and the ids [T, k]."""


class Experts(nn.Module):
    """A router, softmax before top-k, and what `layer` makes of its choice."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = layer
        self.router = nn.Linear(HIDDEN, EXPERTS)
        self.up = nn.Parameter(torch.randn(EXPERTS, INNER, HIDDEN))
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, INNER))
        self.bias = nn.Parameter(torch.randn(EXPERTS, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        weights, ids = self.router(x).softmax(-1).topk(CHOSEN)
        return self.layer(self, x, weights, ids)

    def one(self, expert: int, x: Tensor) -> Tensor:
        return F.linear(F.relu(F.linear(x, self.up[expert])), self.down[expert], self.bias[expert])


def imported(module: nn.Module, *inputs: Tensor) -> ImportedProgram:
    """Computes what PyTorch computes, as imported and with all experts at once."""
    expected = references(module, inputs)
    program = import_module(module, inputs)
    program.module.verify()
    close(program, inputs, expected)
    lowered = replace(program, module=program.module.clone())
    LowerExperts().apply(Context(), lowered.module)
    lowered.module.verify()
    assert not any(isinstance(op, ExpertsOp) for op in lowered.module.walk())
    close(lowered, inputs, expected)
    looped = replace(program, module=program.module.clone())
    LoopExperts(group=2).apply(Context(), looped.module)
    looped.module.verify()
    assert not any(isinstance(op, ExpertsOp) for op in looped.module.walk())
    close(looped, inputs, expected)
    return program


def counts(program: ImportedProgram) -> tuple[int, int]:
    """How many choices and sums over experts there are."""
    ops = list(program.module.walk())
    return sum(isinstance(op, RouteOp) for op in ops), sum(isinstance(op, ExpertsOp) for op in ops)


def batched(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    rows, flat = x.repeat_interleave(CHOSEN, 0), ids.reshape(-1)
    hidden = F.relu(torch.bmm(m.up[flat], rows.unsqueeze(-1)).squeeze(-1))
    out = torch.bmm(hidden.unsqueeze(1), m.down[flat].transpose(1, 2)).squeeze(1) + m.bias[flat]
    return (out * weights.reshape(-1, 1)).view(TOKENS, CHOSEN, HIDDEN).sum(1)


def split(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    hidden = F.relu(torch.matmul(m.up[ids], x[:, None, :, None]).squeeze(-1))
    out = torch.matmul(m.down[ids], hidden.unsqueeze(-1)).squeeze(-1) + m.bias[ids]
    return (out * weights.unsqueeze(-1)).sum(-2)


def einsums(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    hidden = F.relu(torch.einsum("th,tkih->tki", x, m.up[ids]))
    out = torch.einsum("tki,tkhi->tkh", hidden, m.down[ids]) + m.bias[ids]
    return torch.einsum("tkh,tk->th", out, weights)


def row_of_weights(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    hidden = F.relu(x[:, None, None] @ m.up[ids].transpose(-1, -2))
    out = (hidden @ m.down[ids].transpose(-1, -2)).squeeze(2)
    return torch.bmm(weights.unsqueeze(1), out).squeeze(1)


def by_sorting(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    """Pairs sorted by expert, weighted there, added to their tokens."""
    order = torch.argsort(ids.flatten(), stable=True)
    tokens, experts = order // CHOSEN, ids.flatten()[order]
    hidden = F.relu(torch.bmm(m.up[experts], x[tokens].unsqueeze(-1)).squeeze(-1))
    out = torch.bmm(m.down[experts], hidden.unsqueeze(-1)).squeeze(-1) * weights.flatten()[order][:, None]
    return torch.zeros_like(x).index_add(0, tokens, out)


def by_scatter_add(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    order = ids.flatten().argsort()
    tokens = torch.div(order, CHOSEN, rounding_mode="floor")
    out = x[tokens] * weights.flatten()[order].unsqueeze(-1) + m.bias[ids.flatten()[order]]
    return x.scatter_add(0, tokens[:, None].expand(-1, HIDDEN), out)


def full(weights: Tensor, ids: Tensor) -> Tensor:
    return torch.zeros(TOKENS, EXPERTS).scatter(-1, ids, weights)


def loops(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    """All experts in a loop, each weighted by one spelling of its weight or of whether it is chosen."""
    one_hot = F.one_hot(ids, EXPERTS)
    columns = [
        full(weights, ids)[:, 0, None],
        (weights * (ids == 1)).sum(-1, keepdim=True) + torch.where(ids == 1, weights, 0.0).sum(-1)[:, None],
        (ids == 2).any(-1, keepdim=True).float(),
        (one_hot * weights.unsqueeze(-1)).sum(1)[:, 3, None] + one_hot.sum(1).float()[:, 3, None],
    ]
    return torch.stack([column * m.one(e, x) for e, column in enumerate(columns)]).sum(0)


LAYERS: dict[str, tuple[Layer, int]] = {
    "bmm of picked matrices": (batched, 1),
    "matmul of picked matrices": (split, 1),
    "einsum": (einsums, 1),
    "a row of weights": (row_of_weights, 1),
    "sorted, index_add": (by_sorting, 1),
    "sorted, scatter_add": (by_scatter_add, 1),
    "loops": (loops, 0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_become_a_choice_and_a_sum_over_experts(name: str) -> None:
    layer, sums = LAYERS[name]
    assert counts(imported(Experts(layer), torch.randn(TOKENS, HIDDEN))) == (1, sums)


class Given(Experts):
    """Experts that a table names for each token: an input of integers, not the router, says which, and one twice."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.register_buffer("table", torch.tensor([[0, 1], [3, 2], [2, 2], [1, 3], [0, 0]]))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:  # type: ignore[override]
        ids = self.table[tokens.view(-1)]
        weights = self.router(x).sigmoid().gather(1, ids)
        return self.layer(self, x, weights / weights.sum(-1, keepdim=True), ids)


@pytest.mark.parametrize("layer", [batched, by_sorting], ids=lambda layer: layer.__name__)
def test_experts_by_given_ids(layer: Layer) -> None:
    x, tokens = torch.randn(TOKENS, HIDDEN), torch.tensor([[4, 2, 0, 1, 3]])
    assert counts(imported(Given(layer), x, tokens)) == (0, 1)


def test_the_largest_of_given_ids_is_refused() -> None:
    def largest(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
        return batched(m, x, weights.softmax(-1), ids)

    with pytest.raises(CompileError, match="may name an expert twice for a token"):
        import_module(Given(largest), (torch.randn(TOKENS, HIDDEN), torch.arange(TOKENS)))


Router = Callable[[Tensor], Tensor]
"""Weights [*tokens, E] of the probabilities [*tokens, E], those of the best expert alone."""


def one_hot_of_argmax(p: Tensor) -> Tensor:
    return p * F.one_hot(p.argmax(-1), EXPERTS)


def gathered(p: Tensor) -> Tensor:
    ids = p.argmax(-1, keepdim=True)
    return torch.zeros_like(p).scatter(-1, ids, p.gather(-1, ids))


def gathered_without_an_axis(p: Tensor) -> Tensor:
    ids = p.argmax(dim=-1)
    weights = p.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    return F.one_hot(ids, EXPERTS).float() * weights[..., None]


def maximum(p: Tensor) -> Tensor:
    weights, ids = torch.max(p, dim=-1)
    return F.one_hot(ids, EXPERTS) * weights.unsqueeze(-1)


def compared(p: Tensor) -> Tensor:
    weights, ids = p.max(-1)
    return torch.stack([torch.where(ids == e, weights, 0.0) for e in range(EXPERTS)], -1)


def multiplied(p: Tensor) -> Tensor:
    weights, ids = p.max(-1)
    return torch.stack([weights * (ids == e) for e in range(EXPERTS)], -1)


def topk_of_one(p: Tensor) -> Tensor:
    weights, ids = p.topk(1)
    return F.one_hot(ids.squeeze(-1), EXPERTS) * weights.squeeze(-1).unsqueeze(-1)


def topk_of_one_by_its_only_slot(p: Tensor) -> Tensor:
    weights, ids = p.topk(1)
    marks = F.one_hot(ids[..., 0], EXPERTS)
    return marks * weights[..., -1, None] * (ids[..., :1] == ids.new_tensor(range(EXPERTS)))


def by_column(p: Tensor) -> Tensor:
    """As in Switch Transformers: columns of the integers of one_hot."""
    marks, best = F.one_hot(p.argmax(-1), EXPERTS), p.max(-1).values.unsqueeze(-1)
    return torch.cat([best * marks[..., e : e + 1] for e in range(EXPERTS)], -1)


def overwritten(p: Tensor) -> Tensor:
    weights, ids = p.max(-1)
    out = torch.zeros_like(p)
    for e in range(EXPERTS):
        here = (ids == e).unsqueeze(-1)
        out = torch.where(here, torch.eye(EXPERTS)[e] * weights.unsqueeze(-1), out)
    return out.masked_fill(~(F.one_hot(ids, EXPERTS) == 1), 0.0)


ROUTERS: list[Router] = [
    one_hot_of_argmax, gathered, gathered_without_an_axis, maximum, compared, multiplied, topk_of_one,
    topk_of_one_by_its_only_slot, by_column, overwritten,
]  # fmt: skip


ROUTED = [(TOKENS,), (2, 3), (1, TOKENS), (1, 1), (2, 2, 2)]


@pytest.mark.parametrize(
    ("router", "shape"), in_turn(ROUTERS, ROUTED, 3), ids=lambda v: getattr(v, "__name__", str(v))
)
def test_the_best_expert_alone(router: Router, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    function = lambda logits: router(logits.softmax(-1))  # noqa: E731
    assert counts(imported(Weights(function), torch.randn(*shape, EXPERTS))) == (1, 0)


def test_the_best_expert_of_a_batch_is_picked() -> None:
    """Parameters of the best expert of every token, whatever axes tokens have."""

    class Best(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Parameter(torch.randn(EXPERTS, INNER, HIDDEN))
            self.bias = nn.Parameter(torch.randn(EXPERTS, INNER))

        def forward(self, x: Tensor) -> Tensor:
            weights, ids = x[..., :EXPERTS].max(-1)
            rows = torch.matmul(self.up[ids], x.unsqueeze(-1)).squeeze(-1) * weights[..., None]
            return rows + F.embedding(ids, self.bias)

    torch.manual_seed(0)
    assert counts(imported(Best(), torch.randn(2, 3, HIDDEN))) == (1, 1)


def test_the_maximum_of_a_vocabulary_is_no_choice_of_experts() -> None:
    with pytest.raises(CompileError, match=r"no kernel for aten\.argmax"):
        plena.compile(Weights(lambda x: x + x.argmax(-1, keepdim=True)), (torch.randn(2, 300),))


class Weights(nn.Module):
    """Weights by expert of a router's logits."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, logits: Tensor) -> Tensor:
        return self.function(logits)


def chosen(logits: Tensor) -> Tensor:
    weights, ids = logits.topk(CHOSEN)
    return torch.zeros_like(logits).scatter(-1, ids, weights.softmax(-1))


def renormalised(logits: Tensor) -> Tensor:
    weights, ids = logits.softmax(-1).topk(CHOSEN)
    weights = weights / weights.sum(-1, keepdim=True) * 2.5
    return torch.zeros_like(logits).scatter(-1, ids, weights)


def by_sort(logits: Tensor) -> Tensor:
    values, ids = torch.sort(logits, dim=-1, descending=True)
    shifted = values[..., :CHOSEN] - values[..., :CHOSEN].amax(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, ids[..., :CHOSEN], shifted.exp())


def corrected(logits: Tensor) -> Tensor:
    """A bias that only selects; groups of the best two, other groups left out."""
    scores = logits.sigmoid()
    biased = scores + torch.linspace(0, 1, 8)
    groups = biased.view(-1, 4, 2).topk(2)[0].sum(-1).topk(2, sorted=False)[1]
    kept = torch.zeros(len(logits), 4).scatter(1, groups, 1.0).unsqueeze(-1).expand(-1, 4, 2).reshape(-1, 8)
    ids = biased.masked_fill(~kept.bool(), float("-inf")).topk(3)[1]
    return torch.zeros_like(logits).scatter(1, ids, scores.gather(1, ids))


def added(logits: Tensor) -> Tensor:
    """In place of what is there, and on top of it."""
    weights, ids = logits.topk(CHOSEN)
    return logits.scatter(-1, ids, weights.exp()) + logits.scatter_add(-1, ids, weights)


def first(logits: Tensor) -> Tensor:
    """Two choices of one, the second without the first's."""
    one, at = logits.max(-1, keepdim=True)
    other, there = logits.scatter(-1, at, float("-inf")).max(-1, keepdim=True)
    weights, ids = torch.cat([one, other], -1), torch.cat([at, there], -1)
    return torch.zeros_like(logits).scatter(-1, ids, weights * 0.5)


def normalised(logits: Tensor, order: int) -> Tensor:
    weights, ids = logits.topk(CHOSEN)
    return torch.zeros_like(logits).scatter(-1, ids, F.normalize(weights, p=order))


CHOICES: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...], int]] = {
    "softmax of the chosen": (chosen, (5, 4), 1),
    "a batch": (chosen, (2, 3, 4), 1),
    "renormalised": (renormalised, (5, 4), 1),
    "sort": (by_sort, (5, 4), 1),
    "groups and a bias": (corrected, (5, 8), 2),
    "scatter": (added, (5, 4), 1),
    "two of one": (first, (5, 4), 2),
    "mean and maximum": (lambda x: x * x.topk(2)[0].mean(-1, keepdim=True) + x.topk(2)[0].amax(-1)[:, None], (5, 4), 1),
    "divided by a norm": (lambda x: normalised(x, 1), (5, 4), 1),
    "divided by a length": (lambda x: normalised(x, 2), (5, 4), 1),
    "all of them": (lambda x: x * x.topk(4)[0].sum(-1, keepdim=True), (5, 4), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_weights_are_arithmetic_on_all_experts(name: str) -> None:
    function, shape, routes = CHOICES[name]
    torch.manual_seed(0)
    assert counts(imported(Weights(function), torch.randn(*shape))) == (routes, 0)


def of_all(logits: Tensor) -> Tensor:
    """A mask of the keys that are not chosen, and numbers for those that are, where all are."""
    left = torch.ones(5, 4, dtype=torch.bool).scatter(-1, logits.topk(4)[1], False)
    return logits.masked_fill(left, -1e9) + logits.scatter(-1, logits.topk(4)[1], 2.0)


def test_what_is_put_at_all_places_is_constant() -> None:
    torch.manual_seed(0)
    program = imported(Weights(of_all), torch.randn(5, 4))
    assert counts(program) == (0, 0)
    assert not any(isinstance(op, aten.CompareOp | aten.LogicalNotOp) for op in program.module.walk())


def hidden(logits: Tensor) -> Tensor:
    """Attention on the keys that are chosen, of those that are not hidden anyway."""
    unseen = torch.ones(4, 4, dtype=torch.bool).scatter(-1, logits.topk(2)[1], False)
    seen = ~unseen & torch.ones(4, 4, dtype=torch.bool).tril()
    values = torch.arange(8.0).view(1, 1, 4, 2)
    return F.scaled_dot_product_attention(
        values, values, values, attn_mask=seen[None, None] | torch.eye(4).bool()
    )


def hard(logits: Tensor) -> Tensor:
    """1 at the largest of each column, with the gradient of a softmax."""
    soft = logits.softmax(0)
    return torch.zeros_like(logits).scatter(0, soft.max(0, keepdim=True)[1], 1.0) - soft + soft


MARKS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "truths": (hidden, (4, 4)),
    "along rows": (hard, (5, 4)),
    "the least": (lambda x: F.one_hot(x.argmin(-1), 4) * x, (5, 4)),
    "columns": (lambda x: F.one_hot(x.argmax(0), 5) * x.sum(0)[:, None], (5, 4)),
    "integers": (lambda x: torch.zeros(5, 4, dtype=torch.long).scatter(-1, x.topk(2)[1], 1) * x, (5, 4)),
}


@pytest.mark.parametrize("name", MARKS)
def test_zeros_and_ones_of_a_choice(name: str) -> None:
    function, shape = MARKS[name]
    torch.manual_seed(0)
    assert counts(imported(Weights(function), torch.randn(*shape))) == (1, 0)


def apart(logits: Tensor) -> Tensor:
    one, at = logits.max(-1, keepdim=True)
    other, there = (logits + 1).max(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, torch.cat([at, there], -1), torch.cat([one, other], -1))


REFUSED: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...], str]] = {
    "ids": (lambda x: x.topk(2)[1].float(), (5, 4), "in the order of the slots"),
    "values": (lambda x: x.topk(2)[0], (5, 4), "in the order of the slots"),
    "a slot": (lambda x: x.topk(2)[0][:, 0], (5, 4), "Write a loop over `ids\\[:, j\\]` for all slots at once"),
    "a part": (lambda x: x.topk(2)[0][:, :1] * x, (5, 4), "Write a loop over `ids\\[:, j\\]` for all slots at once"),
    "of all": (lambda x: (x[..., None] * x[:, None]).gather(1, x.topk(2)[1][..., None].expand(5, 2, 4)), (5, 4),
               "Weight what all experts compute by"),
    "by slot": (lambda x: (x.topk(2)[0] * torch.tensor([1.0, 2.0])).sum(-1), (5, 4), "other numbers for each slot"),
    "numbers": (lambda x: (x.topk(2)[1] * x.topk(2)[0]).sum(-1), (5, 4), "in the order of the slots"),
    "the smallest": (lambda x: x.topk(2, largest=False)[0].sum(-1), (5, 4), "the smallest"),
    "rows": (lambda x: x.topk(2, dim=0)[0].sum(-1), (5, 4), "another axis"),
    "too many": (lambda x: x.topk(9)[0].sum(-1), (5, 16), "1 to 8 experts are chosen for a token, not 9"),
    "too many experts": (lambda x: x.topk(2)[0].sum(-1), (5, 257), "from 2 to 256, not from 257"),
    "of two experts": (
        lambda x: torch.where(x.topk(2)[1] == 1, x.topk(2)[0] * (x.topk(2)[1] == 2), 0.0).sum(-1), (5, 4), "slots"
    ),
    "rows of a table": (
        lambda x: torch.arange(8.0).view(4, 2)[x.argmin(-1)], (5, 4), "F.one_hot\\(scores.argmax\\(-1\\)"
    ),
    "compared": (lambda x: (x.topk(2)[0] > 0).float().sum(-1), (5, 4), "compares numbers .*scatter\\(-1, ids, 1.0"),
    "twice": (apart, (5, 4), "in the order of the slots"),
    "truths among others": (
        lambda x: (x > 0).scatter(-1, x.topk(2)[1], True).float(), (5, 4), "Start with a tensor of one number"
    ),
}  # fmt: skip


@pytest.mark.parametrize("equation", ["tki,tkhi,tk->th", "tkhi,tki->kth"])
def test_einsums_that_are_no_product_of_a_row_and_its_matrix_say_what_to_write(equation: str) -> None:
    def layer(m: Experts, x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
        hidden, down = F.relu(torch.einsum("th,tkih->tki", x, m.up[ids])), m.down[ids]
        operands = [hidden, down, weights] if equation.count(",") == 2 else [down, hidden]
        return torch.einsum(equation, *operands)

    with pytest.raises(
        CompileError, match=r"a step of an einsum that needs .*`h = einsum\('td,tkid->tki'"
    ) as found:
        import_module(Experts(layer), (torch.randn(TOKENS, HIDDEN),))
    assert "test_routing.py:" in str(found.value)


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_slots_is_refused(name: str) -> None:
    function, shape, why = REFUSED[name]
    with pytest.raises(CompileError, match=why):
        import_module(Weights(function), (torch.randn(*shape),))


def test_a_batch_in_descending_order_is_one_choice() -> None:
    class Scattered(nn.Module):
        def forward(self, scores: Tensor) -> Tensor:
            values, ids = scores.sort(-1, descending=True)
            weights = values[..., :CHOSEN].softmax(-1)
            return torch.zeros_like(scores).scatter_add(-1, ids[..., :CHOSEN], weights)

    scores = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    program = import_module(Scattered(), (scores,))
    assert counts(program) == (1, 0)
    (found,) = program.evaluate(scores)
    assert torch.allclose(found, Scattered()(scores), atol=1e-6)
