"""Right programs that `check` must pass: what is staged, and what the formats alone make of it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from plena.api.compile import compile


class _Uniform(nn.Module):
    """Products with matrices of one number each, which no format holds."""

    weight: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((6, 5), 0.3))
        self.scale = nn.Parameter(torch.full((5, 5), 0.7))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made = torch.full((5, 3), 0.3)
        return (
            functional.linear(x, self.weight),
            x @ (self.scale * 1.3),
            x @ made,
            torch.full((3, 7), 0.3) @ x,
        )


def test_matrices_of_one_number_are_rounded_as_they_are_staged() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 5)
    report = compile(_Uniform(), (x,)).check(x, quiet=True)
    assert report.passed, report.failures
    assert report.quantized is not None and report.quantized.relative_rms < 2**-8


def test_a_weight_of_one_element_behind_weight_norm() -> None:
    torch.manual_seed(1)
    module = nn.utils.parametrizations.weight_norm(nn.Linear(1, 1)).eval()
    x = torch.randn(4, 1)
    assert compile(module, (x,)).check(x, quiet=True).passed


class _Reciprocal(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 / x


def test_infinities_that_the_formats_make_are_no_failure_and_are_named() -> None:
    x = torch.ones(2, 8)
    x[0, 3] = 1e-6
    program = compile(_Reciprocal(), (x,))
    report = program.check(x, quiet=True)
    assert program.run(x)[0, 3].isinf() and report.passed, report.failures
    assert "the number formats alone make NaN or infinity of numbers" in str(report)
    assert "the number formats alone make" not in str(program.check(torch.ones(2, 8), quiet=True))


class _Gelu(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.gelu(functional.pad(x, (0, 3), value=float("inf")))


def test_gelu_of_infinity_is_infinity() -> None:
    x = torch.randn(3, 9)
    program = compile(_Gelu(), (x,))
    assert program.run(x)[:, 9:].isposinf().all()
    assert program.check(x, quiet=True).passed


class _Total(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.sum(), x.mean((0, 1))


def test_sums_that_cancel_out_are_rounded_on_the_way() -> None:
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(3))
    x = torch.cat([x, -x.flip(0), torch.full((1, 16), 0.01)])
    report = compile(_Total(), (x,)).check(x, quiet=True)
    assert report.passed, report.failures


class _Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)

    def forward(self, x: torch.Tensor, keep: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        queries = self.queries(torch.where(keep, x, float("-inf")))
        return functional.scaled_dot_product_attention(
            queries[None, None], self.keys(y)[None, None], y[None, None]
        )


def test_queries_of_infinity_are_nan_in_the_references_too() -> None:
    torch.manual_seed(0)
    x, keep, y = torch.randn(5, 16), torch.arange(16) % 3 > 0, torch.randn(7, 16)
    program = compile(_Hidden(), (x, keep, y))
    report = program.check(x, keep, y, quiet=True)
    assert program.run(x, keep, y).isnan().all() and report.passed, report.failures


class _Sharp(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, v)


def test_attention_with_sharp_scores_is_judged_by_its_steps() -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 2, 70, 64, generator=generator) for _ in range(3))
    report = compile(_Sharp(), (q, 15 * k, v)).check(q, 15 * k, v, quiet=True)
    assert report.passed, report.failures


class _Unseen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mask = nn.Buffer(
            torch.zeros(20, 20).masked_fill(~torch.ones(20, 20).tril(-1).bool(), float("-inf"))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ x.transpose(-2, -1) + self.mask).softmax(-1)


def test_a_constant_bias_of_a_row_without_keys() -> None:
    """What its format loses of minus infinity is nothing."""
    x = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(0))
    report = compile(_Unseen(), (x,)).check(x, quiet=True)
    assert report.passed, report.failures
