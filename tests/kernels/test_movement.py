"""Lookups, slices, concatenations, rearrangements and repetitions of computed matrices; patches of images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from plena.errors import PlenaError
from plena.machine.target import Target
from tests.covering import in_turn
from tests.kernels.checking import MACHINES, check

tiles = pytest.mark.parametrize("mlen", MACHINES)
Function = Callable[[torch.Tensor], torch.Tensor]

MOVEMENTS: dict[str, Function] = {
    "last token": lambda y: y[:, -1],
    "first tokens": lambda y: y[:, :3],
    "some tokens": lambda y: y[:, 2:9:3],
    "whole blocks": lambda y: y[..., 64:],
    "any columns": lambda y: y[..., 10:50],
    "every other column": lambda y: y[..., ::2],
    "parts of heads": lambda y: y.reshape(2, 10, 4, 32)[..., 8:20].reshape(2, 10, 48),
    "halves": lambda y: y[..., :64] * y[..., 64:],
    "columns side by side": lambda y: torch.cat([y, y * 2], -1),
    "any columns side by side": lambda y: torch.cat([y[..., :40], y[..., 70:84] * 3], -1),
    "tokens after tokens": lambda y: torch.cat([y[:, 5:], y[:, :5] * 2], 1),
    "wide heads": lambda y: y.view(2, 10, 2, 64).transpose(1, 2).reshape(40, 64) * 2,
    "heads": lambda y: y.view(2, 10, 4, 32).transpose(1, 2).reshape(80, 32) * 2,
    "heads and back": lambda y: (
        (y.view(2, 10, 4, 32).transpose(1, 2) * 2).transpose(1, 2).reshape(2, 10, 128)
    ),
    "rows cut": lambda y: y.reshape(2, 20, 64).softmax(-1),
    "rows joined": lambda y: y.reshape(2, 5, 256).softmax(-1),
    "sums of tokens as rows": lambda y: y.sum(-1) * 0.125,
    "a column as rows": lambda y: y[..., 70].reshape(4, 5) * 2,
    "a column rearranged": lambda y: y[..., 70].reshape(2, 2, 5).transpose(0, 1).reshape(2, 10) * 2,
    "a column repeated": lambda y: y.mean(-1, keepdim=True).expand(-1, -1, 128) * 2,
    "a row repeated": lambda y: y.mean(1, keepdim=True).expand(-1, 10, -1) * y,
}


class AfterLinear(nn.Module):
    """A movement of a computed matrix."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(64, 128), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.linear(x))


@pytest.mark.parametrize(("name", "mlen"), in_turn(MOVEMENTS, MACHINES, each=2))
def test_movements(name: str, mlen: int) -> None:
    torch.manual_seed(0)
    check(AfterLinear(MOVEMENTS[name]), torch.randn(2, 10, 64), target=MACHINES[mlen], error=0.008)


@tiles
def test_a_class_token_and_positions(mlen: int) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 80))
            self.positions = nn.Parameter(torch.randn(1, 8, 80))
            self.linear = nn.Linear(80, 80)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.token.expand(2, -1, -1), self.linear(x)], 1) + self.positions

    torch.manual_seed(1)
    check(Tokens(), torch.randn(2, 7, 80), target=MACHINES[mlen])


@tiles
@pytest.mark.parametrize("columns", [64, 100])
def test_lookups(columns: int, mlen: int) -> None:
    """The first and the last row of the table too: a prefetch reads on behind it."""
    torch.manual_seed(2)
    ids = torch.cat([torch.tensor([0, 299]), torch.randint(0, 300, (9,))])
    check(nn.Embedding(300, columns), ids.view(1, -1), target=MACHINES[mlen], error=1e-6)


def test_lookups_added() -> None:
    class Embeddings(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.positions = nn.Embedding(300, 64), nn.Embedding(32, 64)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.words(ids) + self.positions(torch.arange(ids.shape[1]))

    torch.manual_seed(3)
    check(Embeddings(), torch.randint(0, 300, (2, 9)))


def test_ids_outside_of_the_table_are_refused_before_the_run() -> None:
    program = check(nn.Embedding(300, 64), torch.randint(0, 300, (1, 5)))
    with pytest.raises(PlenaError, match=r"300 at \[.*\] is out of range"):
        program.run(torch.tensor([[1, 2, 300, 4, 5]]))


def test_more_ids_than_words_of_int_sram() -> None:
    """The host looks them up."""
    assert Target().int_sram_size < 1200
    check(nn.Embedding(300, 64), torch.randint(0, 300, (2, 600)))


@pytest.mark.parametrize("kernel", [(4, 4), (7, 3)])
@pytest.mark.parametrize("size", [(28, 28), (30, 29)])
def test_patches(size: tuple[int, int], kernel: tuple[int, int]) -> None:
    """Kernels that are no powers of two, images that are no multiple of them."""
    torch.manual_seed(4)
    check(nn.Conv2d(3, 48, kernel, stride=kernel), torch.randn(2, 3, *size))


def test_patches_as_tokens() -> None:
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 64, 14, stride=14, bias=False)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.convolution(image).flatten(2).transpose(1, 2))

    torch.manual_seed(5)
    check(Patches(), torch.randn(2, 3, 42, 42))


def test_a_column_as_rows_that_fp_sram_does_not_hold() -> None:
    torch.manual_seed(0)
    check(lambda x: (x * 2)[:, 3].reshape(2, 300) * 2, torch.randn(600, 8), target=MACHINES[64])


def relative(queries: int, keys: int) -> torch.Tensor:
    """Numbers of scores by distance, from 0 to 7."""
    return (torch.arange(keys) - torch.arange(queries)[:, None] + 4).clamp(0, 7)


@pytest.mark.parametrize(
    ("index", "shape"),
    [
        (relative(5, 9), (2, 3, 5, 24)),
        (torch.tensor([[3, 1], [0, 7], [7, 7]]), (3, 24)),
        (relative(1, 3), (6, 24)),
    ],
    ids=["for each position", "for each row", "for all rows"],
)
def test_constant_numbers_pick_along_a_row(index: torch.Tensor, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(24, 8)

    class Picked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).gather(-1, index.expand(*x.shape[:-1], -1)) * 2

    check(Picked(), torch.randn(shape), target=MACHINES[16], error=0.008)


def test_constant_numbers_pick_rows() -> None:
    """Along another axis they are the same for all features."""
    index = torch.tensor([4, 1, 2])[None, :, None].expand(2, 3, 8)
    torch.manual_seed(0)
    check(lambda x: (x * 2).gather(1, index) * 2, torch.randn(2, 5, 8), target=MACHINES[16])
