"""Attention whose sums of exponentials come from the matrix unit: where rtl-v1 waits longer for a row's sum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

from plena.api.program import Program
from plena.machine.target import Target
from tests.kernels.checking import check, machine
from tests.poison import check_reads_what_is_defined

FAST = machine(64, BLEN=32)
"""A product with 32 rows takes 36 cycles, the sum of one row 54."""


class Projected(nn.Module):
    """Queries, keys and values of linear layers, attention of `heads` on `kv_heads`, a linear layer behind it."""

    def __init__(self, heads: int, kv_heads: int, size: int, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.heads, self.kv_heads, self.size, self.options = heads, kv_heads, size, options
        self.q, self.k, self.v = (nn.Linear(64, n * size, bias=False) for n in (heads, kv_heads, kv_heads))
        self.out = nn.Linear(heads * size, 64, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        def split(y: Tensor, heads: int) -> Tensor:
            return y.unflatten(-1, (heads, self.size)).transpose(1, 2)

        q, k, v = (
            split(self.q(x), self.heads),
            split(self.k(x), self.kv_heads),
            split(self.v(x), self.kv_heads),
        )
        y = sdpa(q, k, v, enable_gqa=self.heads > self.kv_heads, **self.options)
        return self.out(y.transpose(1, 2).flatten(2))


def hidden(batch: int, length: int) -> Tensor:
    return torch.randn(batch, length, 64, generator=torch.Generator().manual_seed(0))


def divides_by_products(program: Program) -> bool:
    opcodes = program.stats().opcodes
    return "V_RECI_V" in opcodes and "V_RED_SUM" not in opcodes


@pytest.mark.parametrize(
    ("heads", "kv_heads", "size", "batch", "length"),
    [(4, 2, 64, 1, 70), (2, 2, 64, 2, 33), (1, 1, 128, 1, 200), (4, 4, 32, 2, 33)],
)
def test_sums_by_products(heads: int, kv_heads: int, size: int, batch: int, length: int) -> None:
    """Sums add up in f32 and round once; rows and lanes that nobody defines do not matter."""
    x = hidden(batch, length)
    program = check(Projected(heads, kv_heads, size, is_causal=True), x, target=FAST, timing="rtl-v1")
    assert divides_by_products(program)
    check_reads_what_is_defined(program, x)


def test_few_matrix_tiles() -> None:
    """Values that are streamed column by column are divided as well."""
    small = FAST.with_settings({"MATRIX_SRAM_SIZE": 5 * 64})
    x = hidden(1, 100)
    program = check(Projected(1, 1, 128), x, target=small, timing="rtl-v1", error=0.01)
    assert divides_by_products(program)


@pytest.mark.parametrize(
    "options",
    [
        {"timing": "pipelined"},
        {"timing": "rtl-v1", "objective": "size"},
        {"timing": "rtl-v1", "target": machine(64)},
    ],
)
def test_sums_by_rows(options: dict[str, Any]) -> None:
    """Where a row's sum is waited for by nobody, size counts, or a product makes few rows."""
    target: Target = options.pop("target", FAST)
    program = check(Projected(2, 2, 64), hidden(1, 70), target=target, matmul="mm", **options)
    assert "V_RED_SUM" in program.stats().opcodes


def test_queries_without_keys_have_sums_of_rows() -> None:
    mask = torch.ones(70, 70, dtype=torch.bool)
    mask[5] = False
    module = Projected(2, 2, 64, attn_mask=mask)
    program = check(module, hidden(1, 70), target=FAST, timing="rtl-v1")
    assert not divides_by_products(program)


def test_it_takes_less_time() -> None:
    module, x = Projected(4, 2, 64), hidden(1, 200)
    program = check(module, x, target=FAST, timing="rtl-v1")
    plain = check(module, x, target=FAST, timing="rtl-v1", attention="online")
    after, before = (p.stats().latency["rtl-v1"] for p in (program, plain))
    assert after is not None and before is not None and after < 0.8 * before
