"""What a compiled decoder must reach on the emulator."""

from __future__ import annotations

from typing import Any

from plena.api.compile import compile
from plena.api.program import Program
from tests.models.builders import Built

MACHINE = 0.002
"""Relative RMS error against the machine reference, per layer."""

QUANTIZED = 0.03
"""Relative RMS error of hidden states against the quantised reference, per layer."""

STACK = 0.06
"""The same after eight layers."""


def compiled(built: Built, **options: Any) -> Program:
    return compile(built.module, built.inputs, **options)


def require_accuracy(program: Program, built: Built, layers: int) -> None:
    """Run on the emulator and compare with both references.

    Raises:
        AssertionError: with the table of figures.
    """
    report = program.check(*built.inputs, quiet=True)
    assert report.machine is not None and report.quantized is not None, str(report)
    assert report.machine.finite and report.quantized.finite, str(report)
    assert report.machine.relative_rms <= MACHINE * layers, str(report)
    assert report.quantized.relative_rms <= min(QUANTIZED * layers, STACK), str(report)
