"""Windows, shifts, running sums and assignments to parts, on the emulator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from plena.api.compile import compile
from plena.errors import CompileError
from plena.frontend import import_module
from tests.kernels.checking import MACHINES, Function, check
from tests.poison import check_reads_what_is_defined


def _parts(x: Tensor, y: Tensor) -> Tensor:
    z = x.clone()
    z[:, 2:5] = y
    z[:, 0] = 1.0
    return z * 2


def _halves(x: Tensor, y: Tensor) -> Tensor:
    z = x.new_empty(x.shape[0], x.shape[1], 24)
    z[..., :16] = x
    z[..., 16:] = y[..., :1, :8]
    return z


def _places(x: Tensor, y: Tensor) -> Tensor:
    z = x.clone()
    z[:, [1, 3]] = y[:, [0, 2]]
    z[:, ::2] = 0.5
    return z


EXACT: dict[str, Callable[..., Tensor]] = {
    "windows": lambda x, y: x.unfold(1, 4, 2),
    "windows side by side": lambda x, y: x.unfold(1, 3, 3),
    "patches": lambda x, y: nn.functional.unfold(x[:, :, :, None].transpose(1, 2), (2, 1), stride=2),
    "patches put together": lambda x, y: nn.functional.fold(
        (x * 2).transpose(1, 2), (4, 6), (2, 2), stride=2
    ),
    "rolled": lambda x, y: torch.roll(x, (2, -1), (1, 2)),
    "rolled flat": lambda x, y: torch.roll(x[0, 0], 3),
    "flipped rows": lambda x, y: x.flip(1),
    "flipped columns": lambda x, y: x.flip(-1),
    "assigned parts": _parts,
    "assigned halves": _halves,
    "assigned places": _places,
    "select_scatter": lambda x, y: torch.select_scatter(x, y[:, 0], 1, 2),
    "slice_scatter": lambda x, y: torch.slice_scatter(x, y, 1, 1, 6, 2),
}


@pytest.mark.parametrize("case", EXACT)
def test_moved(case: str) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 6, 16), torch.randn(2, 3, 16)
    program = check(EXACT[case], x, y, target=MACHINES[16], error=0.003)
    check_reads_what_is_defined(program, x, y)


@pytest.mark.parametrize("size", [20, 32, 35, 64, 67])
def test_windows_far_apart_are_a_few_views(size: int) -> None:
    """As many as a window has whole steps, and a slice for each of the elements behind them."""
    x = torch.randn(2, 3, 133)
    program = import_module(Function(lambda x: x.unfold(2, size, 32)), (x,))
    assert torch.equal(program.evaluate(x)[0], x.unfold(2, size, 32))
    slices = sum(op.name == "aten.slice" for op in program.module.walk())
    assert slices <= size // 32 + size % 32


def test_windows_far_apart() -> None:
    program = check(lambda x: (x * 2).unfold(1, 66, 64), torch.randn(1, 140, 16), error=0.003)
    assert program.stats().static < 400


@pytest.mark.parametrize("axis", [1, 2])
def test_running_sums(axis: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 7, 20)
    program = check(lambda x: x.cumsum(axis), x, target=MACHINES[16], error=0.01)
    check_reads_what_is_defined(program, x)


@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_more_sums_than_words_of_fp_sram(kind: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(576, 32)
    program = check(lambda x: getattr(x.view(576, 2, 16), kind)(-1) + 1, x, error=0.01)
    check_reads_what_is_defined(program, x)


def test_places_that_occur_twice_are_refused() -> None:
    def twice(x: Tensor) -> Tensor:
        return torch.index_put(x, (torch.tensor([1, 1]),), x[:2], accumulate=True)

    with pytest.raises(CompileError, match="index_put"):
        compile(Function(twice), (torch.randn(4, 16),))
