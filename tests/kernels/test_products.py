"""Products of two computed matrices: batches, heads, sizes that fit no tile, on several machines, in both schedules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from plena import PlenaError
from plena.api.compile import compile
from plena.machine.target import Target
from tests.covering import in_turn, pairwise
from tests.kernels.checking import MACHINES, Function, check, machine
from tests.poison import check_reads_what_is_defined

schedules = pytest.mark.parametrize("matmul", ["mm", "broadcast"])

FLIPS = 0.03
"""Relative RMS error where an operand's last bit decides how it is rounded once more."""


def computed(x: Tensor) -> Tensor:
    """What the machine has to compute, exactly, with something else than zero in the lanes behind a row."""
    return x.clamp(min=0.25)


SHAPES = [
    (16, (20, 40, 35)),
    (16, (1, 50, 3)),
    (32, (5, 7, 9)),
    (64, (64, 64, 64)),
    (64, (70, 40, 90)),
    (128, (17, 1, 1)),
]
"""MLEN, and the rows, terms and columns of a product."""


@pytest.mark.parametrize(
    ("transposed", "case", "matmul"), pairwise([False, True], SHAPES, ["mm", "broadcast"])
)
def test_two_computed_matrices(transposed: bool, case: tuple[int, tuple[int, int, int]], matmul: Any) -> None:
    torch.manual_seed(0)
    mlen, (m, k, n) = case
    x, y = torch.randn(m, k), torch.randn(n, k) if transposed else torch.randn(k, n)

    def product(x: Tensor, y: Tensor) -> Tensor:
        return computed(x) @ (computed(y).T if transposed else computed(y))

    program = check(product, x, y, target=MACHINES[mlen], matmul=matmul)
    check_reads_what_is_defined(program, x, y)


@schedules
@pytest.mark.parametrize(
    "kind", ["bmm", "broadcast", "staged left", "staged right", "einsum", "vector", "own"]
)
def test_spellings(kind: str, matmul: str) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(3, 20, 30), torch.randn(3, 30, 11)

    def product(x: Tensor, y: Tensor) -> Tensor:
        match kind:
            case "bmm":
                return torch.bmm(computed(x), computed(y))
            case "broadcast":
                return computed(x) @ computed(y[0])
            case "staged left":
                return x @ computed(y)
            case "staged right":
                return computed(x) @ y
            case "einsum":
                return torch.einsum("bij,bjk->bik", computed(x), computed(y))
            case "vector":
                return computed(x) @ computed(y[1, :, 2])
            case _:
                return computed(x) @ computed(x).mT

    program = check(product, x, y, target=MACHINES[16], matmul=matmul)
    check_reads_what_is_defined(program, x, y)


class Scores(nn.Module):
    """Products over heads that no attention is made of."""

    def __init__(self, heads: int, kv_heads: int, size: int, kind: str) -> None:
        super().__init__()
        self.q = nn.Linear(24, heads * size)
        self.k = nn.Linear(24, kv_heads * size)
        self.heads, self.kv_heads, self.size, self.kind = heads, kv_heads, size, kind

    def forward(self, x: Tensor) -> Tensor:
        q, k = (t.unflatten(-1, (-1, self.size)).transpose(1, 2) for t in (self.q(x), self.k(x)))
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        match self.kind:
            case "scores":
                return q @ k.mT
            case "weights":
                return (q @ k.mT * 0.25).softmax(-1)
            case "without softmax":
                return (torch.relu(q @ k.mT) @ k).transpose(1, 2).flatten(2)
            case _:
                return (q @ (k.mT @ k)).transpose(1, 2).flatten(2)


HEADS = [(4, 8, 16), (2, 20, 16), (2, 16, 64), (4, 20, 64)]
"""Key heads, their size, MLEN."""


@pytest.mark.parametrize(
    ("kind", "case"), in_turn(["scores", "weights", "without softmax", "linear"], HEADS, each=2)
)
def test_heads(kind: str, case: tuple[int, int, int]) -> None:
    """Heads are read and written where they lie."""
    kv_heads, size, mlen = case
    torch.manual_seed(2)
    x = torch.randn(2, 9, 24)
    program = check(Scores(4, kv_heads, size, kind), x, target=MACHINES[mlen], error=2 * FLIPS)
    check_reads_what_is_defined(program, x)


def test_reduction_longer_than_matrix_sram() -> None:
    torch.manual_seed(3)
    small = machine(16, MATRIX_SRAM_SIZE=16 * 6)
    x, y = torch.randn(20, 150), torch.randn(150, 20)
    for matmul in ("mm", "broadcast"):
        check(lambda x, y: computed(x) @ computed(y), x, y, target=small, matmul=matmul)


@settings(max_examples=10)
@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans(),
    st.sampled_from([16, 32, 64]), st.sampled_from(["mm", "broadcast", "auto"]), st.integers(0, 99),
)  # fmt: skip
def test_any_shape(
    batch: int, m: int, k: int, n: int, transposed: bool, mlen: int, matmul: str, seed: int
) -> None:
    torch.manual_seed(seed)
    y = torch.randn(batch, n, k) if transposed else torch.randn(batch, k, n)

    def product(x: Tensor, y: Tensor) -> Tensor:
        return computed(x) @ (computed(y).mT if transposed else computed(y))

    check(product, torch.randn(batch, m, k), y, target=MACHINES[mlen], matmul=matmul)


@schedules
def test_a_product_costs_what_a_linear_layer_costs(matmul: str) -> None:
    """At most 1.3 times as many cycles as the layer of its size, loading the right operand apart (issue 13)."""
    x, y = torch.zeros(64, 64), torch.zeros(64, 64)
    layer = compile(nn.Linear(64, 64, bias=False), (x,), matmul=matmul).stats().cycles
    right = compile(Function(torch.relu), (y,)).stats().cycles
    product = compile(Function(lambda x, y: x @ torch.relu(y)), (x, y), matmul=matmul).stats().cycles
    for timing, cycles in product.items():
        assert cycles - right[timing] <= 1.3 * layer[timing]


def test_refused_without_a_format_that_stores_and_loads() -> None:
    target = Target().with_settings({"PRECISION.HBM_M_KV_TYPE.block": 16})
    x = torch.randn(8, 8)
    for function in (lambda x: torch.relu(x) @ torch.relu(x), lambda x: x.softmax(-1).T.softmax(-1)):
        with pytest.raises(PlenaError, match="to be HBM_M_KV_TYPE") as refused:
            compile(Function(function), (x,), target=target)
        assert "[8, 8]" in str(refused.value)


def test_refused_where_a_stored_operand_may_be_infinite() -> None:
    with pytest.raises(PlenaError, match=r"infinity or NaN, of plena\.activation"):
        compile(Function(lambda x: x @ (1 / x)), (torch.randn(8, 8),))
