"""Cycles of one instruction under the two published timing profiles; DMA waits are never part of them.

A profile is a table from cost keys to formulas. An instruction's declaration names its key, and the number that the
formula takes besides the settings if there is one (`InstructionSpec.work`: the experts that V_TOPK ranks).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from plena.dialects.plena_isa.sizes import NO_FIELDS, Fields
from plena.dialects.plena_isa.spec import Cost, InstructionSpec
from plena.machine.target import Target

CostFunction: TypeAlias = Callable[..., int]

Formula: TypeAlias = Callable[[Target, int], int]
"""Cycles of a cost key for a target; the number is `InstructionSpec.work`, 1 without."""


def _latency(key: str, issue: int = 0) -> Formula:
    return lambda target, _: issue + target.cycles(key)


def _cycles(cycles: int) -> Formula:
    return lambda _, __: cycles


_LATENCIES: dict[Cost, Formula] = {
    Cost.V_ADD: _latency("VECTOR_ADD_CYCLES"),
    Cost.V_MUL: _latency("VECTOR_MUL_CYCLES"),
    Cost.V_EXP: _latency("VECTOR_EXP_CYCLES"),
    Cost.V_RECI: _latency("VECTOR_RECI_CYCLES"),
    Cost.V_MAX: _latency("VECTOR_MAX_CYCLES"),
    Cost.V_RED_MAX: _latency("VECTOR_MAX_CYCLES"),
    Cost.V_SUM: _latency("VECTOR_SUM_CYCLES"),
    Cost.S_FP: _latency("SCALAR_FP_BASIC_CYCLES"),
    Cost.S_EXP: _latency("SCALAR_FP_EXP_CYCLES"),
    Cost.S_RECI: _latency("SCALAR_FP_RECI_CYCLES"),
    Cost.S_SQRT: _latency("SCALAR_FP_SQRT_CYCLES"),
    Cost.S_INT: _latency("SCALAR_INT_BASIC_CYCLES"),
    Cost.ONE: _cycles(1),
    Cost.NEVER: _cycles(0),
}
"""What both profiles take from the latency table of the target."""


def _systolic(target: Target, rows: int) -> int:
    return target.cycles("SYSTOLIC_PROCESSING_OVERHEAD") + rows


TRANSACTIONAL: Mapping[Cost, Formula] = {
    **_LATENCIES,
    Cost.TILE_PRODUCT: lambda t, _: _systolic(t, t.mlen),
    Cost.BROADCAST_PRODUCT: lambda t, _: _systolic(t, t.mlen),
    Cost.BROADCAST_ROW_PRODUCT: lambda t, _: _systolic(t, 1),
    Cost.ROW_PRODUCT: lambda t, _: t.mlen,
    Cost.TWO_VLEN: lambda t, _: 2 * t.vlen,
    Cost.TOPK: lambda t, experts: t.cycles("VECTOR_MAX_CYCLES") * experts,
    Cost.HBM: _cycles(0),
}
"""What the public emulator charges (plena_isa.md section 3.3); 0 for DMA, whose time depends on HBM."""

PIPELINED: Mapping[Cost, Formula] = {
    **_LATENCIES,
    Cost.TILE_PRODUCT: lambda t, _: t.blen,
    Cost.BROADCAST_PRODUCT: lambda t, _: (t.mlen // t.blen) ** 2 * t.blen,
    Cost.BROADCAST_ROW_PRODUCT: lambda t, _: 1 + t.blen,
    Cost.ROW_PRODUCT: lambda t, _: 1 + t.blen,
    Cost.V_EXP: _latency("VECTOR_EXP_CYCLES", issue=1),
    Cost.V_RECI: _latency("VECTOR_EXP_CYCLES", issue=1),
    Cost.V_RED_MAX: _latency("VECTOR_MAX_CYCLES", issue=1),
    Cost.TOPK: _latency("VECTOR_MAX_CYCLES", issue=1),
    Cost.TWO_VLEN: _cycles(1),
    Cost.S_INT: _cycles(1),
    Cost.HBM: _cycles(1),
}
"""Steady-state issue cycles of the analytic model."""


def _work(spec: InstructionSpec, target: Target, fields: Fields) -> int:
    if spec.work is None:
        return 1
    return spec.work(target, {slot.name: fields.get(slot.name, 0) for slot in spec.flags})


def transactional_cycles(
    spec: InstructionSpec, target: Target, *, rd: int = 1, fields: Fields = NO_FIELDS
) -> int:
    """Cycles under the transactional profile.

    Args:
        rd: the destination field: scalar FP operations and reductions into f0 are free no-ops.
        fields: the numbers in flag slots, 0 where not given.
    """
    if spec.free_if_f0 and rd == 0:
        return 0
    return TRANSACTIONAL[spec.cost](target, _work(spec, target, fields))


def pipelined_cycles(
    spec: InstructionSpec, target: Target, *, rd: int = 1, fields: Fields = NO_FIELDS
) -> int:
    """Cycles under the pipelined profile; every instruction takes its slot, also into f0."""
    del rd
    return PIPELINED[spec.cost](target, _work(spec, target, fields))


PROFILES: dict[str, CostFunction] = {
    "transactional": transactional_cycles,
    "pipelined": pipelined_cycles,
}
"""Timing profile name -> cycles of one instruction."""
