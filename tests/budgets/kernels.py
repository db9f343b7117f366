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


def linear(rows: int, features: int, columns: int) -> Kernel:
    return Kernel(torch.nn.Linear(features, columns, bias=False), (torch.zeros(rows, features),))


MM_ROWS = {"matmul": "mm", "attention": "rows"}

CASES: dict[str, Case] = {
    "attention 64x64, rows": Case(partial(attention, 1, 64, 64), MM_ROWS),
    "attention 64x64, online": Case(partial(attention, 1, 64, 64), {"matmul": "mm", "attention": "online"}),
    "attention 64x64": Case(partial(attention, 1, 64, 64)),
    "attention 64x128, rows": Case(partial(attention, 1, 64, 128), MM_ROWS),
    "attention 256x64, rows": Case(partial(attention, 1, 256, 64), MM_ROWS),
    "attention 256x64, causal": Case(partial(attention, 1, 256, 64, causal=True)),
    "attention 6 heads of 64x64, rows": Case(partial(attention, 6, 64, 64), MM_ROWS),
    "linear 64x384 to 1408": Case(partial(linear, 64, 384, 1408)),
    "linear 64x384 to 1408, mm": Case(partial(linear, 64, 384, 1408), {"matmul": "mm"}),
    "linear 256x384 to 1408, pipelined": Case(partial(linear, 256, 384, 1408), {"timing": "pipelined"}),
}
