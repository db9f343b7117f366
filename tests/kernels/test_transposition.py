"""Computed matrices transposed between kernels: to about a bf16 ulp, in batches, cut out of any rearrangement."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from plena.api.compile import compile
from plena.errors import CompileError
from tests.kernels.checking import MACHINES, Function, check
from tests.poison import check_reads_what_is_defined

schedules = pytest.mark.parametrize("matmul", ["mm", "broadcast"])


@schedules
@pytest.mark.parametrize(
    ("mlen", "shape"),
    [
        (16, (1, 20, 9)),
        (16, (3, 4, 33)),
        (32, (2, 5, 7)),
        (64, (1, 64, 64)),
        (64, (2, 17, 70)),
        (128, (1, 3, 130)),
    ],
)
def test_transposed_between_kernels(mlen: int, shape: tuple[int, int, int], matmul: str) -> None:
    """Rows that mean nothing, and lanes that hold other numbers than zero, do not matter."""
    torch.manual_seed(0)
    x = torch.randn(shape)
    program = check(
        lambda x: x.softmax(-1).clamp(min=0.01).mT.softmax(-1), x, target=MACHINES[mlen], matmul=matmul
    )
    check_reads_what_is_defined(program, x)


class Mixer(nn.Module):
    """Layers over patches, then over channels."""

    def __init__(self, patches: int, channels: int) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.Linear(patches, 24), nn.GELU(), nn.Linear(24, patches))
        self.channels = nn.Sequential(nn.Linear(channels, 24), nn.GELU(), nn.Linear(24, channels))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.layer_norm(x, x.shape[-1:])
        x = x + self.patches(y.mT).mT
        return x + self.channels(functional.layer_norm(x, x.shape[-1:]))


@pytest.mark.parametrize("mlen", [16, 64])
@pytest.mark.parametrize("batch", [1, 3])
def test_mixer(batch: int, mlen: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(batch, 49, 20)
    program = check(Mixer(49, 20), x, target=MACHINES[mlen])
    check_reads_what_is_defined(program, x)


MASK = torch.ones(8, 16, dtype=torch.int64).tril(3)
SCALE = torch.ones(16).index_fill(0, torch.tensor([3, 5]), 1e4)
FILLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "masked fill": lambda x, m: x.masked_fill(m == 0, -1e9).T.softmax(-1),
    "of rows": lambda x, m: (x * 2).masked_fill(m[:, :1] == 0, 300.0).T.softmax(-1),
    "where, a constant mask": lambda x, m: torch.where(MASK > 0, x * 2 + m, -1000.0).T.softmax(-1),
    "an added mask": lambda x, m: (x * 2 + (1 - m.float()) * -1e9).T.softmax(-1),
    "moved and summed on": lambda x, m: (x.masked_fill(m == 0, -1e9) + 1).flatten().view(8, 16).T.softmax(-1),
    "a positive fill": lambda x, m: torch.relu(x.masked_fill(m == 0, 1e4)).T.softmax(-1),
    "a constant": lambda x, m: (torch.relu(x + m) * SCALE).T.softmax(-1),
    "pooling": lambda x, m: functional.max_pool1d((x * 2)[None].masked_fill(m[None] == 0, -1e9), 2),
}


@pytest.mark.parametrize("case", FILLS)
def test_numbers_far_beyond_the_others_are_refused(case: str) -> None:
    """The stored format would make 0 of the small ones."""
    torch.manual_seed(2)
    with pytest.raises(CompileError, match="numbers above 128 in size beside small ones"):
        compile(Function(FILLS[case]), (torch.randn(8, 16), MASK), target=MACHINES[16])


KEPT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "filled with 0": lambda x, m: x.masked_fill(m == 0, 0.0).T.softmax(-1),
    "filled behind": lambda x, m: (x * 2).T.softmax(-1).masked_fill(m.T == 0, -1e9),
    "a fill that an activation takes away": lambda x, m: torch.relu(x.masked_fill(m == 0, -1e9)).T.softmax(
        -1
    ),
    "a fill that a softmax takes away": lambda x, m: x.masked_fill(m == 0, -1e9).softmax(-1).T.softmax(-1),
    "limited": lambda x, m: x.masked_fill(m == 0, -1e9).clamp(-5, 5).T.softmax(-1),
    "scaled as a whole": lambda x, m: (torch.relu(x + m) * 300.0).T.tanh().softmax(-1),
    "a mask of ids": lambda x, m: (x * 2 * (m != 50256)).T.softmax(-1),
}


@pytest.mark.parametrize("case", KEPT)
def test_numbers_that_are_near_the_others(case: str) -> None:
    torch.manual_seed(2)
    check(KEPT[case], torch.randn(8, 16), MASK, target=MACHINES[16])


ORDERS = list(itertools.permutations(range(4)))


@settings(max_examples=10)
@given(
    st.tuples(*[st.sampled_from([2, 4, 8])] * 4), st.sampled_from(ORDERS), st.integers(1, 3),
    st.integers(1, 3), st.sampled_from([16, 32]),
)  # fmt: skip
def test_any_rearrangement(
    factors: tuple[int, ...], order: tuple[int, ...], before: int, behind: int, mlen: int
) -> None:
    """Parts of rows and whole rows, in any order."""
    torch.manual_seed(0)

    def rearranged(x: Tensor) -> Tensor:
        return x.softmax(-1).reshape(factors).permute(order).flatten(0, behind - 1).flatten(1).softmax(-1)

    x = torch.randn(factors).flatten(0, before - 1).flatten(1)
    check(rearranged, x, target=MACHINES[mlen])
