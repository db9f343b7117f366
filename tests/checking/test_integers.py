"""Integers that a model computes with: exact where bf16 is, a warning where the machine rounds them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

import plena
from plena.host.image import StagingWarning
from plena.program.comparison import CheckReport
from tests.kernels.checking import Function

COMPUTED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product with a number": lambda x, i: x + i * 1.0,
    "sum": lambda x, i: x + i,
    "quotient": lambda x, i: x + i / 4,
    "converted": lambda x, i: i.float() * 2 - x,
    "mean": lambda x, i: x + i.float().mean(-1, keepdim=True),
}


def compiled(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, CheckReport]:
    program = plena.compile(Function(function), inputs)
    result = program.run(*inputs, progress=False)
    assert isinstance(result, Tensor)
    return result, program.check(*inputs, quiet=True)


@pytest.mark.parametrize("kind", COMPUTED)
def test_integers_up_to_256_are_exact(kind: str) -> None:
    """MX E4M3 alone holds them up to 16."""
    i = torch.arange(-16, 257, 1)[:272].reshape(17, 16)
    i[0, 0] = 256
    x = torch.zeros(17, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StagingWarning)
        result, report = compiled(COMPUTED[kind], x, i)
    assert report.passed, str(report)
    wanted = COMPUTED[kind](x, i)
    torch.testing.assert_close(result, wanted, rtol=0 if kind != "mean" else 2**-8, atol=0)


def test_larger_integers_are_rounded_to_bf16_with_a_warning() -> None:
    i, x = torch.tensor([[500, 999, 1001, 300, 17, 19, 21, 23]]), torch.zeros(1, 8)
    with pytest.warns(
        StagingWarning, match=r"input 1 \(inputs_1\): 999 and other integers are rounded, this one to 1000"
    ):
        result, report = compiled(COMPUTED["sum"], x, i)
    assert report.passed, str(report)
    assert torch.equal(result, i.bfloat16().float())


def test_integers_that_pass_through_hbm_are_rounded_with_a_warning() -> None:
    """Keys are stored in MX E4M3 whatever they come from."""
    q, i = torch.randn(1, 1, 8, 64), torch.randint(17, 256, (1, 1, 8, 64))
    with pytest.warns(StagingWarning, match=r"input 1 \(inputs_1\): .* are rounded"):
        compiled(lambda q, i: sdpa(q, i.float() / 256, i.float()), q, i)


@pytest.mark.parametrize(
    "function",
    [lambda x, i: x * (i != 999), lambda x, i: torch.where(i > 500, x, 0.0), lambda x, i: x.masked_fill(i == 1, 0.0)],
)  # fmt: skip
def test_integers_that_are_only_compared_need_no_warning(function: Callable[..., Tensor]) -> None:
    i, x = torch.tensor([[500, 999, 1001, 1, 17, 19, 21, 23]]), torch.randn(1, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StagingWarning)
        assert compiled(function, x, i)[1].passed


def test_booleans_are_loaded_once() -> None:
    """They are exact as they are."""
    mask, x = torch.rand(4, 8) > 0.5, torch.randn(4, 8)
    program = plena.compile(Function(lambda x, m: x * m), (x, mask))
    assert not any(placement.residual for placement in program.placements_of("input"))
