"""Caches that a module takes and returns, rows written at run-time places: for each call right, nothing is kept."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import plena
from plena import PlenaError
from tests.kernels.against_torch import exact
from tests.kernels.checking import machine
from tests.kernels.stateful_modules import seen_up_to


class Step(nn.Module):
    """One step of attention over caches [1, 1, keys, features] that the caller keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(32, 96)

    def forward(
        self, x: Tensor, position: Tensor, keys: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.project(x)[:, None].chunk(3, -1)
        keys, values = keys.index_copy(2, position, key), values.index_copy(2, position, value)
        found = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return found[:, 0], keys, values


class Written(nn.Module):
    """Slices at some places, as a function and as an assignment."""

    def forward(self, x: Tensor, places: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        other = rows.clone()
        other[:, places] = x
        return torch.index_copy(rows * 2, 1, places.abs(), x), other


def test_a_caller_keeps_the_caches() -> None:
    module, empty = Step().eval(), torch.zeros(1, 1, 16, 32)
    example = (
        torch.randn(1, 1, 32),
        torch.tensor([0]),
        empty,
        empty.clone(),
        seen_up_to(torch.tensor([0]), 16),
    )
    program = plena.compile(module, example, target=machine(16))
    ours = theirs = (empty, empty)
    for position in (0, 1, 15):
        at = torch.tensor([position])
        x, mask = torch.randn(1, 1, 32), seen_up_to(at, 16)
        assert program.check(x, at, *ours, mask, quiet=True).passed
        found, *ours = program.run(x, at, *ours, mask)
        with torch.no_grad():
            wanted, *theirs = module(x, at, *theirs, mask)
        for a, b in zip((found, *ours), (wanted, *theirs), strict=True):
            assert float((a - b).norm() / b.norm()) < 0.1, "what the shipped formats cost"
    assert not program.state, "nothing is kept from run to run"


@pytest.fixture(scope="module")
def written() -> plena.Program:
    inputs = exact(2, 3, 20), torch.tensor([0, 1, 2]), exact(2, 10, 20, seed=1)
    return plena.compile(Written(), inputs, target=machine(16))


@pytest.mark.parametrize("places", [[4, 1, 7], [8, 0, 3], [2, -1, -9]])
def test_slices_at_run_time_places(places: list[int], written: plena.Program) -> None:
    inputs = exact(2, 3, 20), torch.tensor(places), exact(2, 10, 20, seed=1)
    for found, wanted in zip(written.run(*inputs), Written()(*inputs), strict=True):
        assert torch.equal(found, wanted)


def test_places_outside_and_too_many(written: plena.Program) -> None:
    with pytest.raises(PlenaError, match=r"10 at \[2\] is out of range"):
        written.run(torch.randn(2, 3, 20), torch.tensor([0, 1, 10]), torch.randn(2, 10, 20))
    inputs = torch.randn(2, 9, 20), torch.arange(9), torch.randn(2, 10, 20)
    with pytest.raises(PlenaError, match=r"more than 8 slices are written only into buffers.*Register"):
        plena.compile(Written(), inputs, target=machine(16))
