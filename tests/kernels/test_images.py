"""Norms of images, pooling and resizing, on the emulator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from plena.api.compile import compile
from plena.errors import CompileError
from tests.kernels.checking import MACHINES, Function, check
from tests.kernels.test_convolutions import varied
from tests.poison import check_reads_what_is_defined

NORMS = {
    "batch": (nn.BatchNorm2d(16), (2, 16, 4, 5)),
    "batch, no gain": (nn.BatchNorm2d(16, affine=False), (1, 16, 4, 5)),
    "batch, one axis": (nn.BatchNorm1d(16), (2, 16, 9)),
    "batch behind a linear layer": (nn.Sequential(nn.Linear(16, 24), nn.BatchNorm1d(24)), (7, 16)),
    "groups": (nn.GroupNorm(4, 16), (2, 16, 4, 5)),
    "groups of three": (nn.GroupNorm(4, 12), (1, 12, 9)),
    "one group": (nn.GroupNorm(1, 16), (2, 16, 6)),
    "instance": (nn.InstanceNorm2d(16, affine=True), (2, 16, 4, 5)),
    "instance, no gain": (nn.InstanceNorm1d(16), (1, 16, 9)),
}


@pytest.mark.parametrize("case", NORMS)
def test_norm(case: str) -> None:
    module, shape = NORMS[case]
    torch.manual_seed(0)
    x = torch.randn(*shape) * 2 + 0.5
    program = check(varied(module), x, target=MACHINES[16], error=0.012)
    check_reads_what_is_defined(program, x)


POOLS = {
    "maximum": (nn.MaxPool2d(3, 2, 1), (1, 16, 7, 8)),
    "maximum, stride as kernel": (nn.MaxPool2d(2), (2, 16, 8, 6)),
    "maximum, last window cut": (nn.MaxPool2d(3, 2, ceil_mode=True), (1, 16, 8, 8)),
    "maximum, dilated": (nn.MaxPool2d(3, 1, 1, dilation=2), (1, 16, 7, 8)),
    "maximum, one axis": (nn.MaxPool1d(3, 2, 1), (1, 16, 9)),
    "average": (nn.AvgPool2d(2), (2, 16, 8, 6)),
    "average with padding": (nn.AvgPool2d(3, 2, 1), (1, 16, 7, 8)),
    "average without padding": (nn.AvgPool2d(3, 1, 1, count_include_pad=False), (1, 16, 5, 6)),
    "average, last window cut": (nn.AvgPool2d(3, 2, ceil_mode=True), (1, 16, 6, 6)),
    "average, one axis": (nn.AvgPool1d(2), (1, 16, 8)),
    "to one pixel": (nn.AdaptiveAvgPool2d(1), (2, 16, 5, 6)),
    "to parts": (nn.AdaptiveAvgPool2d((2, 3)), (2, 16, 4, 6)),
    "to overlapping parts": (nn.AdaptiveAvgPool2d(3), (1, 16, 5, 7)),
    "maximum of parts": (nn.AdaptiveMaxPool2d(2), (1, 16, 4, 6)),
}


@pytest.mark.parametrize("case", POOLS)
def test_pooling(case: str) -> None:
    """A maximum is one of the numbers, to the bit."""
    module, shape = POOLS[case]
    torch.manual_seed(0)
    x = torch.randn(*shape)
    exact = isinstance(module, nn.MaxPool1d | nn.MaxPool2d)
    program = check(module, x, target=MACHINES[16], error=0.0 if exact else 0.008)
    check_reads_what_is_defined(program, x)


@pytest.mark.parametrize("mlen", MACHINES)
def test_maxima_of_very_different_numbers(mlen: int) -> None:
    x = torch.tensor([[1e30, -1e30, 1e-30, -100.0, 0.0, -0.0078125, 3.0, 2.984375]]).bfloat16().float()
    y = torch.tensor([[-1e30, 1e-30, -1e-30, 0.0078125, -0.0, -0.015625, 2.984375, 3.0]]).bfloat16().float()
    program = compile(
        Function(lambda x, y: (torch.maximum(x, y), torch.minimum(x, y))),
        (x * 0, y * 0),
        target=MACHINES[mlen],
    )
    found = program.run(x, y)
    wanted = program.machine_reference(x, y)  # type: ignore[misc]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    exact = Function(lambda x: torch.maximum(x, x.flip(1)))
    program = compile(exact, (x,), target=MACHINES[mlen])
    seen = program.quantized_reference(x)[0]  # type: ignore[misc]
    assert torch.equal(program.run(x), seen)


SIZES = {
    "nearest": nn.Upsample(scale_factor=2),
    "nearest, any size": nn.Upsample(size=(7, 9)),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear, corners": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "bilinear, any size": nn.Upsample(size=(6, 7), mode="bilinear"),
    "bilinear, smaller": nn.Upsample(size=(2, 5), mode="bilinear"),
    "bicubic": nn.Upsample(scale_factor=2, mode="bicubic"),
}


@pytest.mark.parametrize("case", SIZES)
def test_resizing(case: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 16, 4, 5)
    program = check(SIZES[case], x, target=MACHINES[16])
    check_reads_what_is_defined(program, x)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_smaller_without_aliasing(mode: str) -> None:
    """torch resamples the rows of [8, 1, 8, 1] wrong in this mode, those of images right."""
    x = (torch.arange(64.0) / 64).view(1, 1, 8, 8).expand(1, 16, 8, 8).contiguous()
    check(lambda x: F.interpolate(x, size=(3, 3), mode=mode, antialias=True), x, target=MACHINES[16])
    check(lambda x: F.interpolate(x, size=(8, 3), mode=mode, antialias=True), x, target=MACHINES[16])


def test_a_decomposed_graph() -> None:
    """What assigns in place is decomposed first: norms and pooling then give several results."""

    class Decomposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16)
            self.groups, self.pool = nn.GroupNorm(4, 16), nn.MaxPool2d(2)
            self.last = nn.Conv2d(16, 8, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = nn.functional.relu(self.norm(self.convolution(x)), inplace=True)
            return self.last(self.groups(self.pool(y)))

    torch.manual_seed(0)
    check(varied(Decomposed()), torch.randn(1, 16, 4, 6), target=MACHINES[16], error=0.012)


@pytest.mark.parametrize("pool", [F.max_pool2d, F.adaptive_max_pool2d])
def test_places_that_nobody_reads_are_no_matter(pool: Callable[..., tuple[torch.Tensor, ...]]) -> None:
    torch.manual_seed(0)
    check(
        lambda x: pool(x, 2, return_indices=True)[0], torch.randn(1, 16, 4, 6), target=MACHINES[16], error=0.0
    )


def test_pooling_with_places_is_refused() -> None:
    pool = nn.MaxPool2d(2, return_indices=True)
    with pytest.raises(CompileError, match="max_pool2d_with_indices"):
        compile(pool, (torch.randn(1, 16, 4, 4),))
