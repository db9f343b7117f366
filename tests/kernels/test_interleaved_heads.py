"""Query heads in the lanes of the key heads that they read: several narrow ones share rows though a key head serves
several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm
from torch.nn.functional import scaled_dot_product_attention as sdpa

import plena
from plena.api.program import Program
from plena.machine.target import Target
from tests.kernels.checking import check, machine
from tests.poison import check_reads_what_is_defined

LAYER_ERROR = 0.025
"""Of values, keys and probabilities in MX E4M3, whatever order heads have; heads that are exchanged make it 1."""


class Layer(nn.Module):
    """Projections with biases, norms of heads, rotations, a causal attention, a linear layer behind it."""

    def __init__(self, heads: int, kv_heads: int, size: int, returned: bool = False) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.heads, self.kv_heads, self.size, self.returned = heads, kv_heads, size, returned
        self.q, self.k, self.v = (nn.Linear(64, n * size) for n in (heads, kv_heads, kv_heads))
        self.gains = nn.Parameter(1 + 0.2 * torch.randn(2, size))
        self.out = nn.Linear(heads * size, 48)

    def forward(self, x: Tensor) -> Any:
        length, size = x.shape[1], self.size
        angles = torch.arange(length)[:, None] / 10 ** (torch.arange(size // 2) / size)
        cos, sin = (torch.cat([f(angles)] * 2, -1) for f in (torch.cos, torch.sin))

        def turned(y: Tensor, gain: Tensor) -> Tensor:
            y = rms_norm(y, (size,), gain, 1e-6)
            half = torch.cat([-y[..., size // 2 :], y[..., : size // 2]], -1)
            return y * cos + half * sin

        def split(y: Tensor, heads: int) -> Tensor:
            return y.unflatten(-1, (heads, size)).transpose(1, 2)

        q = self.q(x)
        v = split(self.v(x), self.kv_heads)
        queries = turned(split(q, self.heads), self.gains[0])
        keys = turned(split(self.k(x), self.kv_heads), self.gains[1])
        y = sdpa(queries, keys, v, is_causal=True, enable_gqa=True)
        y = self.out(y.transpose(1, 2).flatten(2))
        return (y, q) if self.returned else y


def hidden(batch: int, length: int) -> Tensor:
    return torch.randn(batch, length, 64, generator=torch.Generator().manual_seed(0))


def interleaves(program: Program) -> bool:
    return any("in the lanes of the key heads" in line for line in program.decisions)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "size"),
    [(4, 2, 32), (8, 4, 16), (6, 2, 32)],
    ids=["as-many-members-as-lanes", "fewer-members", "odd-members"],
)
@pytest.mark.parametrize("attention", ["rows", "online"])
def test_against_torch(heads: int, kv_heads: int, size: int, attention: Any) -> None:
    x = hidden(2, 33)
    program = check(Layer(heads, kv_heads, size), x, matmul="mm", attention=attention, error=LAYER_ERROR)
    assert interleaves(program)
    check_reads_what_is_defined(program, x)


def test_with_sums_by_the_matrix_unit() -> None:
    x = hidden(1, 70)
    program = check(Layer(4, 2, 32), x, target=machine(64, BLEN=32), timing="rtl-v1", error=LAYER_ERROR)
    assert interleaves(program)
    check_reads_what_is_defined(program, x)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (Layer(4, 2, 32, returned=True), {"matmul": "mm"}),
        (Layer(4, 1, 32), {"matmul": "mm"}),
        (Layer(2, 1, 64), {"matmul": "mm"}),
        (Layer(4, 2, 32), {"matmul": "broadcast"}),
    ],
    ids=["queries-returned", "one-key-head", "wide-heads", "broadcast"],
)
def test_heads_that_stay_in_their_order(module: Layer, options: dict[str, Any]) -> None:
    assert not interleaves(check(module, hidden(1, 33), error=LAYER_ERROR, **options))


@pytest.mark.parametrize("target", [machine(64), machine(64, BLEN=16)])
def test_it_takes_fewer_products(target: Target) -> None:
    """Heads in column blocks of their own leave half of each empty."""
    apart = Layer(4, 2, 32)
    with torch.no_grad():
        shared, plain = (
            plena.compile(m, (hidden(1, 64),), target=target, matmul="mm")
            for m in (apart, Layer(4, 2, 32, returned=True))
        )
    counts = [sum(p.stats().opcodes.get(n, (0, 0))[1] for n in ("M_MM", "M_TMM")) for p in (shared, plain)]
    assert counts[0] < counts[1]
