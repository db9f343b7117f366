# RUN: python %s | filecheck %s
"""Operators that choose experts, and what hand-written layers make of them, as they are imported and collected."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from xdsl.context import Context

from plena.frontend import import_module
from plena.passes.collect_experts import CollectExperts

EXPERTS, WIDTH = 4, 8


class Layer(nn.Module):
    def __init__(self, function: Callable[[Layer, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.router = nn.Parameter(torch.randn(EXPERTS, WIDTH))
        self.up = nn.Parameter(torch.randn(EXPERTS, WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)

    def scores(self, x: Tensor) -> Tensor:
        return F.linear(x, self.router)


def show(function: Callable[[Layer, Tensor], Tensor]) -> None:
    program = import_module(Layer(function), (torch.randn(3, WIDTH),))
    CollectExperts().apply(Context(), program.module)
    print(f"{function.__name__}:")
    for op in program.module.walk():
        if op.name in ("plena.route", "plena.experts"):
            op.attributes.clear()
            print(str(op).split("\n")[0])


def topk_and_scatter(m: Layer, x: Tensor) -> Tensor:
    weights, ids = m.scores(x).topk(2)
    return torch.zeros(3, EXPERTS).scatter(1, ids, weights.softmax(-1))


def sort_and_gather(m: Layer, x: Tensor) -> Tensor:
    scores = m.scores(x)
    ids = scores.sort(-1, descending=True)[1][:, :3]
    return torch.zeros(3, EXPERTS).scatter_add(1, ids, scores.sigmoid().gather(1, ids))


def argmax_and_one_hot(m: Layer, x: Tensor) -> Tensor:
    return F.one_hot(m.scores(x).argmax(-1), EXPERTS) * m.scores(x).sigmoid()


def index_add_of_sorted(m: Layer, x: Tensor) -> Tensor:
    weights, ids = m.scores(x).topk(2)
    order = ids.flatten().argsort(stable=True)
    rows = torch.bmm(m.up[ids.flatten()[order]], x[order // 2].unsqueeze(-1)).squeeze(-1)
    return torch.zeros_like(x).index_add(0, order // 2, rows * weights.flatten()[order][:, None])


def loop(m: Layer, x: Tensor) -> Tensor:
    weights, ids = m.scores(x).topk(2)
    total = torch.zeros_like(x)
    for e in range(EXPERTS):
        total = total + (weights * (ids == e)).sum(-1, keepdim=True) * F.relu(x @ m.up[e].T)
    return total


def einsum(m: Layer, x: Tensor) -> Tensor:
    rows = torch.einsum("th,eih->tei", x, m.up).relu()
    return (rows * topk_and_scatter(m, x).unsqueeze(-1)).sum(1)


for layer in (topk_and_scatter, sort_and_gather, argmax_and_one_hot, index_add_of_sorted, loop, einsum):
    show(layer)

# CHECK-LABEL: topk_and_scatter:
# CHECK-NEXT:  plena.route %{{[0-9]+}} {k = 2 : i64
# CHECK-LABEL: sort_and_gather:
# CHECK-NEXT:  plena.route %{{[0-9]+}} {k = 3 : i64
# CHECK-LABEL: argmax_and_one_hot:
# CHECK-NEXT:  plena.route %{{[0-9]+}} {k = 1 : i64
# CHECK-LABEL: index_add_of_sorted:
# CHECK-NEXT:  plena.route %{{[0-9]+}} {k = 2 : i64
# CHECK-NEXT:  plena.experts
# CHECK-SAME:  rows({{.*}} : tensor<3x8xf32>) columns({{.*}} : tensor<3x4xf32>) stacked({{.*}} : tensor<4x8x8xf32>)
# CHECK-LABEL: loop:
# CHECK-NEXT:  plena.route %{{[0-9]+}} {k = 2 : i64
# CHECK-NEXT:  plena.experts
# CHECK-SAME:  rows({{.*}} : tensor<3x8xf32>) columns({{.*}} : tensor<3x4xf32>) stacked({{.*}} : tensor<4x8x8xf32>)
# CHECK-LABEL: einsum:
# CHECK-NEXT:  plena.route %{{[0-9]+}} {k = 2 : i64
# CHECK-NEXT:  plena.experts
# CHECK-SAME:  columns({{.*}} : tensor<3x4xf32>) stacked({{.*}} : tensor<4x
