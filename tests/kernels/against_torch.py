"""One program, many inputs, each result against PyTorch element by element: NaN, infinities, shapes, types too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plena.api.compile import compile
from plena.api.program import Program
from plena.machine.target import Target
from tests.kernels.checking import FUNCTION_ERROR, Function


def exact(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that every number format of the machine holds exactly, none of them zero."""
    generator = torch.Generator().manual_seed(seed)
    quarters = torch.randint(4, 13, shape, generator=generator).float() / 4
    return quarters * (2.0 * torch.randint(0, 2, shape, generator=generator) - 1)


def bits(*shape: int, share: float = 0.5, seed: int = 1) -> Tensor:
    """Random booleans."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def against_torch(
    what: nn.Module | Callable[..., Any],
    *inputs: Sequence[Tensor],
    target: Target | None = None,
    error: float = FUNCTION_ERROR,
) -> Program:
    """Compiles for the first inputs and runs on all of them."""
    module = (what if isinstance(what, nn.Module) else Function(what)).eval()
    program = compile(module, inputs[0], target=target)
    for values in inputs:
        with torch.no_grad():
            wanted = module(*values)
        found = program.run(*values, progress=False)
        several = isinstance(wanted, tuple)
        assert isinstance(found, tuple) == several
        for result, expected in zip(
            found if several else [found], wanted if several else [wanted], strict=True
        ):
            _same(result, expected, error)
    return program


def _same(result: Any, expected: Any, error: float) -> None:
    if not isinstance(expected, Tensor):
        assert result == expected and type(result) is type(expected)
        return
    assert result.shape == expected.shape and result.dtype == expected.dtype
    if not expected.is_floating_point():
        assert torch.equal(result, expected)
        return
    special = ~(torch.isfinite(result) & torch.isfinite(expected))
    torch.testing.assert_close(result[special], expected[special], rtol=0, atol=0, equal_nan=True)
    difference = (result[~special] - expected[~special]).norm()
    assert difference <= error * expected[~special].norm() + 1e-30
