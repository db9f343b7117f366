"""Computed matrices transposed between kernels: to about a bf16 ulp, in batches, cut out of any rearrangement."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.kernels.checking import MACHINES, check
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


ORDERS = list(itertools.permutations(range(4)))


@settings(max_examples=15)
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
