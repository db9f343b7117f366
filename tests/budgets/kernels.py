"""Attention and linear layers whose counts are guarded, at the shipped settings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tests.budgets.case import Case
from tests.levels import Attention, qkv


@dataclass(frozen=True)
class Kernel:
    """A module and its example inputs."""

    module: Any
    inputs: tuple[Any, ...]


def attention(heads: int, sequence: int, head_dim: int, causal: bool = False) -> Kernel:
    return Kernel(Attention(causal), qkv(heads, sequence, head_dim))


class Grouped(torch.nn.Module):
    """Several query heads on one head of keys and values."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=self.causal, enable_gqa=True
        )


def grouped(heads: int, sequence: int, head_dim: int, causal: bool = False) -> Kernel:
    (query, _, _), (_, key, value) = qkv(heads, sequence, head_dim), qkv(1, sequence, head_dim)
    return Kernel(Grouped(causal), (query, key, value))


def linear(rows: int, features: int, columns: int) -> Kernel:
    return Kernel(torch.nn.Linear(features, columns, bias=False), (torch.zeros(rows, features),))


MM_ROWS = {"matmul": "mm", "attention": "rows"}

CASES: dict[str, Case] = {
    "attention 64x64, rows": Case(partial(attention, 1, 64, 64), MM_ROWS),
    "attention 64x64, online": Case(partial(attention, 1, 64, 64), {"matmul": "mm", "attention": "online"}),
    "attention 64x64": Case(partial(attention, 1, 64, 64)),
    "attention 64x64, mm, 1000 instructions": Case(
        partial(attention, 1, 64, 64), {"matmul": "mm", "max_instructions": 1000}
    ),
    "attention 64x128, rows": Case(partial(attention, 1, 64, 128), MM_ROWS),
    "attention 256x64, rows": Case(partial(attention, 1, 256, 64), MM_ROWS),
    "attention 256x64, causal": Case(partial(attention, 1, 256, 64, causal=True)),
    "attention 64x64, causal": Case(partial(attention, 1, 64, 64, causal=True)),
    "attention 64x128": Case(partial(attention, 1, 64, 128)),
    "attention 64x128, causal": Case(partial(attention, 1, 64, 128, causal=True)),
    "attention 128x64": Case(partial(attention, 1, 128, 64)),
    "attention 128x64, rows": Case(partial(attention, 1, 128, 64), MM_ROWS),
    "attention 128x64, causal": Case(partial(attention, 1, 128, 64, causal=True)),
    "attention 256x64": Case(partial(attention, 1, 256, 64)),
    "attention 256x128": Case(partial(attention, 1, 256, 128)),
    "attention 256x128, rows": Case(partial(attention, 1, 256, 128), MM_ROWS),
    "attention 256x128, causal": Case(partial(attention, 1, 256, 128, causal=True)),
    "attention 4 heads on 1 of 64x16": Case(partial(grouped, 4, 64, 16)),
    "attention 4 heads on 1 of 64x16, causal": Case(partial(grouped, 4, 64, 16, causal=True)),
    "attention 6 heads of 64x64, rows": Case(partial(attention, 6, 64, 64), MM_ROWS),
    "linear 64x384 to 1408": Case(partial(linear, 64, 384, 1408)),
    "linear 64x384 to 1408, broadcast": Case(partial(linear, 64, 384, 1408), {"matmul": "broadcast"}),
    **{
        f"linear {rows}x576 to 1536, {most} instructions": Case(
            partial(linear, rows, 576, 1536), {"max_instructions": most}
        )
        for rows, most in ((1, 75), (4, 75), (16, 120), (64, 120))
    },
    "linear 1x576 to 1536": Case(partial(linear, 1, 576, 1536)),
    "linear 1x576 to 1536, size": Case(partial(linear, 1, 576, 1536), {"objective": "size"}),
    "linear 1x576 to 1536, pipelined, 75 instructions": Case(
        partial(linear, 1, 576, 1536), {"timing": "pipelined", "max_instructions": 75}
    ),
    "linear 64x384 to 1408, mm": Case(partial(linear, 64, 384, 1408), {"matmul": "mm"}),
    **{
        f"linear 64x{features} to 1408, pipelined, {most} instructions": Case(
            partial(linear, 64, features, 1408), {"timing": "pipelined", "max_instructions": most}
        )
        for features, most in ((384, 80), (384, 200), (1408, 120))
    },
    "linear 256x384 to 1408, pipelined": Case(partial(linear, 256, 384, 1408), {"timing": "pipelined"}),
}
