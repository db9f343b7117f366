"""A computed number for each of more parts of a row than a row has lanes: spread a block of numbers at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.kernels.checking import MACHINES, check


@pytest.mark.parametrize("rows", [3, 40], ids=["few", "in pieces"])
@pytest.mark.parametrize(("parts", "width"), [(40, 16), (32, 32), (17, 16)])
def test_numbers_of_many_parts(rows: int, parts: int, width: int) -> None:
    def scaled(x: Tensor, numbers: Tensor) -> Tensor:
        return (x.view(rows, parts, width) * (numbers + 1).unsqueeze(-1)).view(rows, -1)

    torch.manual_seed(rows)
    program = check(scaled, torch.randn(rows, parts * width), torch.randn(rows, parts), target=MACHINES[16])
    assert "to scalars" in program.asm
