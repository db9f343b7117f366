"""The hunt's verdict: roundings are explained, and nothing else is, whatever the compiler believes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plena.machine.target import Target
from tests.hunt.tolerance import Expected, Wrong, rounded_results


class Layer(nn.Module):
    """Attention with a bias for the keys, and a linear."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        y = F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), attn_mask=bias)
        return x + self.out(y)


def expected(bias: Tensor) -> Expected:
    torch.manual_seed(1)
    return Expected(Layer(), (torch.randn(1, 8, 16), bias), Target())


def unbiased() -> Tensor:
    return torch.zeros(8, 8)


@pytest.mark.parametrize("seed", [100, 101, 102, 103])
def test_other_roundings_are_explained(seed: int) -> None:
    e = expected(unbiased())
    e.require(rounded_results(e.module, e.args, e.target, seed))
    e.require([x.bfloat16().float() for x in e.exact])


@pytest.mark.parametrize(
    "change", ["scaled", "rows exchanged", "one element", "a NaN", "an infinity", "transposed"]
)
def test_changed_results_are_not(change: str) -> None:
    e = expected(unbiased())
    result = e.exact[0].clone()
    match change:
        case "scaled":
            result *= 1.3
        case "rows exchanged":
            result[0, [2, 3]] = result[0, [3, 2]]
        case "one element":
            result[0, 5, 7] += 1.0
        case "a NaN":
            result[0, 0, 0] = float("nan")
        case "an infinity":
            result[0, 0, 0] = float("-inf")
        case _:
            result = result.transpose(1, 2)
    with pytest.raises(Wrong):
        e.require([result])


def test_shape_and_dtype_are_pytorchs() -> None:
    e = expected(unbiased())
    for wrong in ([e.exact[0].double()], [e.exact[0][0]], [], [e.exact[0]] * 2):
        with pytest.raises(Wrong):
            e.require(wrong)


def test_large_biases_are_no_excuse() -> None:
    """A row of nothing but -1e4 is a row without a bias; one of -190 to -200 is not uniform."""
    everywhere = expected(torch.full((8, 8), -1e4))
    everywhere.require(expected(unbiased()).exact)
    with pytest.raises(Wrong):
        everywhere.require(expected(torch.ones(8, 8).tril() * 100).exact)
    steep = -190 - 10 * (torch.arange(8.0) / 7).expand(8, 8)
    with pytest.raises(Wrong):
        expected(steep).require(expected(unbiased()).exact)


def test_a_mask_that_is_left_out_is_seen() -> None:
    with pytest.raises(Wrong):
        expected(torch.zeros(8, 8).masked_fill(torch.rand(8, 8) < 0.5, -1e9)).require(
            expected(unbiased()).exact
        )


@pytest.mark.parametrize(("share", "right"), [(0.024, True), (0.2, False)])
def test_a_large_bias_that_is_returned_was_rounded_as_it_is(share: float, right: bool) -> None:
    """E4M3 keeps 10,240 of -10,000; all three levels of the verdict know it."""

    class Biased(nn.Module):
        def forward(self, x: Tensor, bias: Tensor) -> Tensor:
            return x + bias

    bias = torch.zeros(8, 16)
    bias[:5] = -1e4
    e = Expected(Biased(), (torch.randn(8, 16, generator=torch.manual_seed(1)), bias), Target())
    moved = torch.where(bias < 0, e.exact[0] * (1 + share), e.exact[0])
    if right:
        e.require([moved])
    else:
        with pytest.raises(Wrong):
            e.require([moved])
