"""Compiles small modules and holds their results against the machine reference and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from plena.api.compile import compile
from plena.api.program import Program
from plena.checking.reference import as_tensors
from plena.machine.target import Target
from plena.program.thresholds import Comparison, Thresholds

FUNCTION_ERROR = 0.006
"""Relative RMS error that a few bf16 roundings in a row may cause."""


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs)


def machine(mlen: int, **settings: int) -> Target:
    """A target of this tile size with a broadcast unit for four heads."""
    dimensions = {"MLEN": mlen, "VLEN": mlen, "BLEN": 4, "HLEN": mlen // 4, "BROADCAST_AMOUNT": 4}
    memories = {"MATRIX_SRAM_SIZE": 64 * mlen, "HBM_M_Prefetch_Amount": mlen}
    return Target().with_settings({**dimensions, **memories, **settings})


MACHINES = {mlen: machine(mlen) for mlen in (16, 32, 64, 128)}


def check(
    what: nn.Module | Callable[..., Any],
    *inputs: torch.Tensor,
    target: Target | None = None,
    error: float = FUNCTION_ERROR,
    **options: Any,
) -> Program:
    """Compiles and runs: the machine reference to the bit, PyTorch on what the machine sees within `error`."""
    module = what if isinstance(what, nn.Module) else Function(what)
    program = compile(module, inputs, target=target, **options)
    results = as_tensors(program.run(*inputs, progress=False))
    assert program.machine_reference is not None and program.quantized_reference is not None
    for result, expected in zip(results, program.machine_reference(*inputs), strict=True):
        worst = (result - expected).abs().max().item()
        assert torch.equal(result, expected), f"differs from the machine reference by {worst}"
    references = as_tensors(program.quantized_reference(*inputs))
    comparison = Comparison.of(results, references, Thresholds())
    assert comparison.relative_rms <= error, f"error {comparison.relative_rms:.4%}, {error:.4%} allowed"
    assert comparison.finite
    return program
