"""Attention of any form, shape and mask on any machine computes what PyTorch computes, in memories full of garbage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from plena.checking.reference import as_tensors
from plena.program.thresholds import Comparison, Thresholds
from tests.poison import check_reads_what_is_defined
from tests.properties.strategies_attention import Attention, Case, cases

ROUNDING = 0.015
"""Relative RMS error against PyTorch on what the machine sees, up to 1,024 keys."""

PROJECTED = 0.03
"""With keys and values that the program computes: those between two MX numbers may be rounded to the other one."""


def check(case: Case) -> None:
    """Against the machine reference, PyTorch on what the machine sees, and any contents of memories."""
    inputs = case.inputs()
    program = case.program()
    (result,) = as_tensors(program.run(*inputs, progress=False))
    assert program.machine_reference is not None and program.quantized_reference is not None
    (machine,) = program.machine_reference(*inputs)
    # Not to the bit: numpy's products take subnormals for zeros.
    assert (result - machine).norm() <= 1e-5 * machine.norm(), "differs from the machine reference"
    assert result.shape == Attention(case)(*inputs).shape
    references = as_tensors(program.quantized_reference(*inputs))
    comparison = Comparison.of([result], references, Thresholds())
    assert comparison.finite
    most = PROJECTED if case.projected else ROUNDING
    assert comparison.relative_rms <= most, f"relative RMS error {comparison.relative_rms:.3%}"
    check_reads_what_is_defined(program, *inputs)


@settings(max_examples=14)
@given(cases())
def test_any_attention(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(max_examples=1000)
@given(cases())
def test_many_attentions(case: Case) -> None:
    check(case)
