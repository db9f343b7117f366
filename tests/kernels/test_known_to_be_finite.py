"""What is computed like a root or a logarithm may be moved and stored if it is a number for any input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import plena
from plena.dialects import plena as dialect
from plena.driver import run_pipeline
from plena.frontend import import_module
from plena.machine.target import Target
from plena.passes.pipelines import TENSOR_PIPELINE


class Recurrence(nn.Module):
    """How much of its input a gated recurrence takes: sqrt(1 - e^-(what it forgets)), times it."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.randn(64))

    def forward(self, x: Tensor) -> Tensor:
        forgotten = -8.0 * x.sigmoid() * nn.functional.softplus(self.rate)
        taken = torch.sqrt(1 - torch.exp(2 * forgotten))
        return taken.T @ x


def test_a_root_of_what_a_constant_of_one_sign_leaves() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 64)
    assert plena.compile(Recurrence(), (x,)).check(x).passed


class Sinks(nn.Module):
    """Layers of attention that weigh their results by what a softmax with a further score would."""

    def __init__(self, lowest: float) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(64, 64) for _ in range(2))
        self.sinks = nn.Parameter(torch.randn(4, 1, 1))
        self.register_buffer("mask", torch.full((16, 16), lowest).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        for projection in self.projections:
            heads = projection(x).view(16, 4, 16).transpose(0, 1)
            scores = heads @ heads.transpose(1, 2) * 0.25 + self.mask
            share = torch.sigmoid(scores.logsumexp(-1, keepdim=True) - self.sinks)
            x = x + ((scores.softmax(-1) @ heads) * share).transpose(0, 1).reshape(16, 64)
        return x


def test_a_logsumexp_of_finite_scores_is_finite_in_every_layer() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 64)
    assert plena.compile(Sinks(-1e9).eval(), (x,)).check(x).passed


def clamps(module: nn.Module, *inputs: Tensor) -> int:
    imported = import_module(module, inputs).module
    Target().attach(imported)
    run_pipeline(imported, TENSOR_PIPELINE)
    return sum(isinstance(op, dialect.ClampOp) for op in imported.walk())


class OfMasked(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x @ x.T + mask).logsumexp(-1)


class OfScores(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x @ x.T).logsumexp(-1)


class OfHidden(nn.Module):
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.full((16, 16), -torch.inf).triu())

    def forward(self, x: Tensor) -> Tensor:
        return (x @ x.T + self.mask).logsumexp(-1)


def test_a_maximum_is_made_finite_where_it_may_be_infinite() -> None:
    x = torch.randn(16, 16)
    assert clamps(OfScores(), x) == 0
    assert clamps(OfHidden(), x) == 1
    assert clamps(OfMasked(), x, torch.zeros(16, 16)) == 1, "an input may hold minus infinity in whole rows"


class Balanced(nn.Module):
    """Numbers divided by the sums of their rows and columns in turn, then a product that stores them.

    Rows and columns alternate so often that the repetition is a loop.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        shares = x.softmax(-1) + self.eps
        for _ in range(6):
            shares = shares / (shares.sum(-1, keepdim=True) + self.eps)
            shares = shares / (shares.sum(-2, keepdim=True) + self.eps)
        return shares.transpose(-1, -2) @ x


def test_what_a_loop_divides_by_is_positive_in_every_iteration() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 4)
    assert plena.compile(Balanced(1e-6), (x,)).check(x).passed


def test_a_loop_that_carries_numbers_of_both_signs_may_divide_by_zero() -> None:
    with pytest.raises(plena.PlenaError, match="may hold infinity or NaN"):
        plena.compile(Balanced(-1e-6), (torch.randn(3, 4, 4),))


class ByToken(nn.Module):
    """Shares of the experts that a table gives each token."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.tensor([[0, 1], [2, 1], [3, 3], [1, 0]]))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        scores = x.exp()
        numbers = self.table[ids]
        chosen = nn.functional.one_hot(numbers, 4).sum(1).to(x.dtype)
        weighed = scores * chosen
        return (weighed / (weighed.sum(-1, keepdim=True) + 1e-20)).T @ x


def test_counts_of_the_host_are_not_negative() -> None:
    torch.manual_seed(0)
    x, ids = torch.randn(4, 4), torch.tensor([0, 3, 2, 1])
    assert plena.compile(ByToken(), (x, ids)).check(x, ids).passed
