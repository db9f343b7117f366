"""Convolutions whose kernels overlap, on the emulator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.kernels.checking import MACHINES, check

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
    "audio": (
        nn.Sequential(nn.Conv1d(16, 32, 3, padding=1), nn.GELU(), nn.Conv1d(32, 32, 3, 2, 1), nn.GELU()),
        (1, 16, 12),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_convolution(case: str) -> None:
    module, shape = CASES[case]
    torch.manual_seed(0)
    check(module.eval(), torch.randn(*shape), target=MACHINES[16], error=0.01)
