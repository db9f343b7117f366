"""The reference follows a program's choice of experts as far as near ties allow, and no further."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx import Graph, Node

from plena.checking.choices import Choices, follow

TOKENS, EXPERTS, CHOSEN = 24, 16, 4


def topk() -> Node:
    """A choice of experts in a graph."""
    graph = Graph()
    scores = graph.placeholder("scores")
    scores.meta["val"] = torch.empty(TOKENS, EXPERTS)
    node = graph.call_function(torch.ops.aten.topk.default, (scores, CHOSEN))
    node.meta["val"] = [torch.empty(TOKENS, CHOSEN), torch.empty(TOKENS, CHOSEN)]
    return node


def router(node: Node, scores: Tensor, table: Tensor) -> Callable[[Choices], list[Tensor]]:
    """The sum of what the chosen experts have in a table."""

    def run(choices: Choices) -> list[Tensor]:
        _, ids = choices.result(node, scores, scores.topk(CHOSEN))
        return [table[ids].sum(1)]

    return run


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("swaps", [[(3, 4)], [(3, 5)], [(2, 4)], [(3, 4), (2, 5)], [(3, 5), (2, 4)]], ids=str)
def test_experts_that_changed_places(swaps: list[tuple[int, int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = 1 + 1e-3 * torch.rand(TOKENS, EXPERTS, generator=generator)
    table, order = torch.randn(EXPERTS, 8, generator=generator), scores.argsort(-1, descending=True)
    ids = order[:, :CHOSEN].clone()
    rows = range(0, TOKENS, 2)
    for out, into in swaps:
        ids[list(rows), out] = order[list(rows), into]
    result = table[ids].sum(1)
    (found,), _, changed = follow(router(topk(), scores, table), [result])
    assert torch.allclose(found, result, atol=1e-5)
    assert sorted({tie.token for tie in changed}) == list(rows)
    assert {(tie.token, tie.expert) for tie in changed} == {
        (row, int(order[row, into])) for row in rows for _, into in swaps
    }


def test_scores_that_are_apart_are_not_exchanged() -> None:
    scores = torch.arange(EXPERTS).float().expand(TOKENS, EXPERTS)
    table = torch.randn(EXPERTS, 8, generator=torch.Generator().manual_seed(0))
    wrong = table[scores.topk(CHOSEN + 1).indices[:, [0, 1, 2, 4]]].sum(1)
    (found,), choices, changed = follow(router(topk(), scores, table), [wrong])
    assert not torch.allclose(found, wrong) and not choices.other and not changed


def test_ids_may_be_viewed_as_those_of_torch() -> None:
    """Models flatten them with view, which wants them next to each other in memory."""

    class Topk(torch.nn.Module):
        def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
            values, ids = scores.topk(2)
            return values, ids.view(-1)

    program = torch.export.export(Topk(), (torch.randn(3, 5),))
    node = next(n for n in program.graph.nodes if str(n.target) == "aten.topk.default")
    scores = torch.randn(3, 5)
    _, ids = Choices().result(node, scores, scores.topk(2))
    assert torch.equal(ids.view(-1), scores.topk(2)[1].view(-1))
