"""Formulas for the cycles of a cost key, and those that read the latency table of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from plena.dialects.plena_isa.spec import Cost
from plena.machine.target import Target

Formula: TypeAlias = Callable[[Target, int], int]
"""Cycles of a cost key for a target; the number is `InstructionSpec.work`, 1 without."""


def latency(key: str, issue: int = 0) -> Formula:
    """An entry of the latency table, and `issue` cycles."""
    return lambda target, _: issue + target.cycles(key)


def constant(cycles: int) -> Formula:
    """So many cycles on every target."""
    return lambda _, __: cycles


LATENCIES: Mapping[Cost, Formula] = {
    Cost.V_ADD: latency("VECTOR_ADD_CYCLES"),
    Cost.V_MUL: latency("VECTOR_MUL_CYCLES"),
    Cost.V_EXP: latency("VECTOR_EXP_CYCLES"),
    Cost.V_RECI: latency("VECTOR_RECI_CYCLES"),
    Cost.V_MAX: latency("VECTOR_MAX_CYCLES"),
    Cost.V_RED_MAX: latency("VECTOR_MAX_CYCLES"),
    Cost.V_SUM: latency("VECTOR_SUM_CYCLES"),
    Cost.S_FP: latency("SCALAR_FP_BASIC_CYCLES"),
    Cost.S_EXP: latency("SCALAR_FP_EXP_CYCLES"),
    Cost.S_RECI: latency("SCALAR_FP_RECI_CYCLES"),
    Cost.S_SQRT: latency("SCALAR_FP_SQRT_CYCLES"),
    Cost.S_INT: latency("SCALAR_INT_BASIC_CYCLES"),
    Cost.ONE: constant(1),
    Cost.WRITE_OUT: constant(1),
    Cost.ROW_WRITE_OUT: constant(1),
    Cost.NEVER: constant(0),
}
"""What does not follow from the shape of the matrix unit."""
