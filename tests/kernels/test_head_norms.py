"""RMS norms of heads whose sums come from the matrix unit: where rtl-v1 waits longer for the sums of rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from plena.api.program import Program
from tests.kernels.checking import check, machine
from tests.poison import check_reads_what_is_defined

FAST = machine(64, BLEN=16)
"""A product with 16 rows takes 20 cycles, the sum of one row 54."""

ERROR = 0.008
"""Roots and reciprocals of whole rows round once more than those of numbers."""


class Heads(nn.Module):
    """The norm of every head of what a linear layer makes."""

    def __init__(self, heads: int, size: int, *, gain: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.heads, self.size, self.eps = heads, size, eps
        self.gain = nn.Parameter(torch.randn(size) * 0.2 + 1) if gain else None
        self.linear = nn.Linear(64, heads * size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x).unflatten(-1, (self.heads, self.size))
        return rms_norm(y, (self.size,), self.gain, self.eps).flatten(-2)


def rows(count: int, scale: float = 1.0) -> Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(0)) * scale


def adds_by_products(program: Program) -> bool:
    return "V_RED_SUM" not in program.stats().opcodes


@pytest.mark.parametrize(
    ("heads", "size", "count", "settings"),
    [
        (8, 16, 64, {}),
        (20, 32, 130, {}),
        (36, 16, 70, {}),
        (16, 32, 33, {"BLEN": 8}),
        (8, 32, 64, {"HBM_M_Prefetch_Amount": 128}),
    ],
)
def test_sums_by_products(heads: int, size: int, count: int, settings: dict[str, int]) -> None:
    """Parts of sets that are not full, row blocks that are not, padding that nobody wrote."""
    x, target = rows(count), FAST.with_settings(settings)
    program = check(Heads(heads, size), x, target=target, error=ERROR, timing="rtl-v1")
    assert adds_by_products(program)
    check_reads_what_is_defined(program, x)


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1e3, 1e9, 1e18])
def test_roots_of_any_size(scale: float) -> None:
    """From numbers that the epsilon hides to those whose squares are as large as there are."""
    program = check(Heads(8, 16, gain=False), rows(64, scale), target=FAST, error=ERROR, timing="rtl-v1")
    assert adds_by_products(program)


def test_what_is_read_again_is_not_overwritten() -> None:
    class Both(Heads):
        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            heads = y.unflatten(-1, (self.heads, self.size))
            return rms_norm(heads, (self.size,), self.gain, self.eps).flatten(-2) + y

    for gain in (True, False):
        program = check(Both(8, 16, gain=gain), rows(64), target=FAST, error=ERROR, timing="rtl-v1")
        assert adds_by_products(program)


@pytest.mark.parametrize(
    ("options", "heads", "size", "count", "eps"),
    [
        ({"timing": "pipelined"}, 8, 16, 64, 1e-6),
        ({"timing": "rtl-v1", "objective": "size"}, 8, 16, 64, 1e-6),
        ({"timing": "rtl-v1"}, 8, 16, 64, 1e-12),
        ({"timing": "rtl-v1"}, 6, 16, 64, 1e-6),
        ({"timing": "rtl-v1"}, 8, 8, 64, 1e-6),
        ({"timing": "rtl-v1"}, 8, 16, 2, 1e-6),
    ],
    ids=[
        "no profile that waits",
        "size",
        "roots below what steps reach",
        "lanes of no head",
        "narrow",
        "few rows",
    ],
)
def test_sums_of_rows_otherwise(
    options: dict[str, Any], heads: int, size: int, count: int, eps: float
) -> None:
    program = check(Heads(heads, size, eps=eps), rows(count), target=FAST, error=ERROR, **options)
    assert not adds_by_products(program)
