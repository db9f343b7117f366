"""Sums and products of rows that einsum says, in graphs that choose experts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from plena.frontend.row_sums import chooses, einsum, row_sum

SIZES = {"t": 3, "k": 2, "h": 5, "i": 4, "b": 2, "q": 3, "d": 6}
OURS = (
    *(
        "tkh,tk->th",
        "tk,tkh->th",
        "th,tkhi->tki",
        "th,tkih->tki",
        "tki,tkih->tkh",
        "tkih,tki->tkh",
        "tkh,tk->tkh",
    ),
    *("bth,bt->bh", "tkhi,tk->tkhi", "tkh, tk -> th"),
)
OTHERS = (
    *("hi,i->h", "bqh,bkh->bqk", "tkh,tk->ht", "kth,tk->th", "tkh->tk", "...h,h->...", "tth,th->th"),
    *("tkh,tk", "thi,hi->t"),
)


def tensors(equation: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    given = equation.replace(" ", "").partition("->")[0].split(",")
    return [torch.randn([SIZES.get(label, 1) for label in axes], generator=generator) for axes in given]


@pytest.mark.parametrize("equation", OURS)
def test_what_rows_and_theirs_make(equation: str) -> None:
    given = tensors(equation)
    torch.testing.assert_close(einsum(equation, given), torch.einsum(equation, *given))


@pytest.mark.parametrize("equation", OTHERS)
def test_others_are_left_to_torch(equation: str) -> None:
    assert row_sum(equation, tensors(equation)) is NotImplemented
    given = tensors(equation)
    torch.testing.assert_close(einsum(equation, given), torch.einsum(equation, *given))


@pytest.mark.parametrize(("operator", "expected"), [(torch.relu, False), (lambda x: x.topk(2)[0], True)])
def test_graphs_that_choose(operator: object, expected: bool) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return operator(x)  # type: ignore[operator]

    assert chooses(torch.export.export(Model(), (torch.randn(3, 4),))) is expected
