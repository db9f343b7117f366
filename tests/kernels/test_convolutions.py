"""Convolutions whose kernels overlap, on the emulator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plena.api.compile import compile
from plena.driver import run_pipeline
from plena.frontend import import_module
from plena.passes.pipelines import TENSOR_PIPELINE
from tests.kernels.checking import MACHINES, check
from tests.poison import check_reads_what_is_defined


def varied(module: nn.Module) -> nn.Module:
    """A module whose vectors and statistics nobody can leave out."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.ndim == 1:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.data = 0.5 + noise if "var" in name or "weight" in name else noise - 0.5
    return module.eval()


class Residual(nn.Module):
    """Squeeze and excitation, a depthwise convolution with a batch norm, a sum of images."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 16, 1)
        self.squeeze, self.excite = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.depthwise = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.BatchNorm2d(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.widen(x).relu()
        share = self.excite(self.squeeze(wide.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.narrow(wide * share + self.depthwise(wide).relu()) + x


CASES = {
    "3x3": (nn.Conv2d(16, 12, 3, padding=1), (1, 16, 6, 5)),
    "3x3, stride 2, image": (nn.Conv2d(3, 20, 3, stride=2, padding=1, bias=False), (2, 3, 7, 8)),
    "3x2, dilated": (nn.Conv2d(16, 8, (3, 2), dilation=(2, 1)), (1, 16, 7, 4)),
    "1x1": (nn.Conv2d(16, 8, 1), (2, 16, 3, 3)),
    "a group for each channel": (nn.Conv2d(16, 16, 3, padding=1, groups=16), (1, 16, 4, 5)),
    "one axis": (nn.Conv1d(16, 20, 3, stride=2, padding=1), (2, 16, 9)),
    "between activations": (
        nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.GELU(), nn.Conv2d(16, 8, 1)
        ),
        (1, 3, 8, 8),
    ),
    "groups": (nn.Conv2d(16, 24, 3, padding=1, groups=4), (1, 16, 5, 6)),
    "groups of many channels": (nn.Conv1d(128, 128, 3, padding=1, groups=4), (1, 128, 9)),
    "two results for each channel": (nn.Conv2d(16, 32, 3, padding=1, groups=16), (1, 16, 4, 5)),
    "a group for each channel, dilated": (nn.Conv2d(16, 16, 3, 1, 2, 2, groups=16), (1, 16, 6, 7)),
    "padded to the same size": (nn.Conv1d(16, 24, 4, padding="same"), (1, 16, 9)),
    "transposed, stride as kernel": (nn.ConvTranspose2d(16, 24, 2, 2), (1, 16, 4, 5)),
    "transposed": (nn.ConvTranspose2d(16, 8, 4, 2, 1), (2, 16, 4, 5)),
    "transposed, one axis": (nn.ConvTranspose1d(16, 8, 5, 3, 1, output_padding=1), (2, 16, 6)),
    "transposed, groups": (nn.ConvTranspose1d(16, 32, 4, 2, 1, groups=4), (1, 16, 6)),
    "transposed, dilated": (nn.ConvTranspose1d(16, 8, 3, 2, 1, dilation=2), (1, 16, 6)),
    "video": (nn.Conv3d(3, 24, (2, 4, 4), (2, 4, 4)), (1, 3, 4, 8, 8)),
    "three axes": (nn.Conv3d(16, 8, (1, 2, 3), padding=(0, 1, 1)), (1, 16, 2, 3, 4)),
    "batch norm": (
        nn.Sequential(nn.Conv2d(16, 24, 3, 1, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
        (1, 16, 6, 5),
    ),
    "a group for each channel, batch norm": (
        nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.BatchNorm2d(16), nn.ReLU6()),
        (1, 16, 6, 5),
    ),
    "residual": (Residual(), (1, 16, 6, 5)),
    "residual, batch": (Residual(), (2, 16, 4, 5)),
    "audio": (
        nn.Sequential(nn.Conv1d(16, 32, 3, padding=1), nn.GELU(), nn.Conv1d(32, 32, 3, 2, 1), nn.GELU()),
        (1, 16, 12),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_convolution(case: str) -> None:
    module, shape = CASES[case]
    torch.manual_seed(0)
    check(varied(module), torch.randn(*shape), target=MACHINES[16], error=0.01)


@pytest.mark.parametrize("mlen", MACHINES)
def test_machines(mlen: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 16, 5, 4)
    program = check(varied(Residual()), x, target=MACHINES[mlen], error=0.01)
    check_reads_what_is_defined(program, x)


def kernels(module: nn.Module, x: torch.Tensor) -> list[str]:
    """What the machine computes, by name."""
    imported = import_module(module.eval(), (x,))
    run_pipeline(imported.module, TENSOR_PIPELINE)
    return [op.name for op in imported.module.walk() if op.name != "plena.parameter"]


@pytest.mark.parametrize("groups", [1, 16])
def test_a_batch_norm_behind_a_convolution_is_no_kernel(groups: int) -> None:
    x = torch.randn(1, 16, 5, 4)
    convolution = nn.Conv2d(16, 16, 3, padding=1, groups=groups)
    normed = varied(nn.Sequential(convolution, nn.BatchNorm2d(16)))
    assert sorted(kernels(normed, x)) == sorted(kernels(convolution, x))


def test_a_batch_norm_behind_a_convolution_costs_nothing() -> None:
    x = torch.randn(1, 16, 5, 4)
    convolution = nn.Conv2d(16, 16, 3, padding=1)
    alone = compile(convolution.eval(), (x,)).stats()
    normed = compile(varied(nn.Sequential(convolution, nn.BatchNorm2d(16))), (x,)).stats()
    assert (normed.static, normed.cycles) == (alone.static, alone.cycles)
