"""Cycles of one instruction under the two published timing profiles; DMA waits are never part of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from plena.dialects.plena_isa.spec import Cost, InstructionSpec
from plena.machine.target import Target

CostFunction: TypeAlias = Callable[..., int]

TOPK_EXPERTS = {0: 32, 1: 128}
"""Experts that V_TOPK ranks, by policy (plena_isa.md section 3.5)."""

_LATENCY_KEY = {
    Cost.V_ADD: "VECTOR_ADD_CYCLES",
    Cost.V_MUL: "VECTOR_MUL_CYCLES",
    Cost.V_EXP: "VECTOR_EXP_CYCLES",
    Cost.V_RECI: "VECTOR_RECI_CYCLES",
    Cost.V_MAX: "VECTOR_MAX_CYCLES",
    Cost.V_SUM: "VECTOR_SUM_CYCLES",
    Cost.S_FP: "SCALAR_FP_BASIC_CYCLES",
    Cost.S_EXP: "SCALAR_FP_EXP_CYCLES",
    Cost.S_RECI: "SCALAR_FP_RECI_CYCLES",
    Cost.S_SQRT: "SCALAR_FP_SQRT_CYCLES",
    Cost.S_INT: "SCALAR_INT_BASIC_CYCLES",
}

_MATRIX_PIPELINED: dict[str, Callable[[Target], int]] = {
    "M_MM": lambda t: t.blen,
    "M_TMM": lambda t: t.blen,
    "M_BMM": lambda t: (t.mlen // t.blen) ** 2 * t.blen,
    "M_BTMM": lambda t: (t.mlen // t.blen) ** 2 * t.blen,
    "M_MV": lambda t: 1 + t.blen,
    "M_TMV": lambda t: 1 + t.blen,
    "M_BMV": lambda t: 1 + t.blen,
    "M_BTMV": lambda t: 1 + t.blen,
}

_VECTOR_PIPELINED: dict[str, Callable[[Target], int]] = {
    "V_EXP_V": lambda t: 1 + t.cycles("VECTOR_EXP_CYCLES"),
    "V_RECI_V": lambda t: 1 + t.cycles("VECTOR_EXP_CYCLES"),
    "V_RED_MAX": lambda t: 1 + t.cycles("VECTOR_MAX_CYCLES"),
    "V_TOPK": lambda t: 1 + t.cycles("VECTOR_MAX_CYCLES"),
}

_PIPELINED = _MATRIX_PIPELINED | _VECTOR_PIPELINED

_ISSUE_ONLY = (Cost.ONE, Cost.TWO_VLEN, Cost.HBM, Cost.S_INT)


def transactional_cycles(spec: InstructionSpec, target: Target, *, rd: int = 1, rs3: int = 0) -> int:
    """Cycles the public emulator charges (plena_isa.md section 3.3); 0 for DMA, whose time depends on HBM.

    Args:
        rd: the destination field: scalar FP operations and reductions into f0 are free no-ops.
        rs3: the policy field of V_TOPK.
    """
    if spec.free_if_f0 and rd == 0:
        return 0
    match spec.cost:
        case Cost.ONE:
            return 1
        case Cost.SYSTOLIC_MLEN:
            return target.cycles("SYSTOLIC_PROCESSING_OVERHEAD") + target.mlen
        case Cost.SYSTOLIC_ONE:
            return target.cycles("SYSTOLIC_PROCESSING_OVERHEAD") + 1
        case Cost.MLEN:
            return target.mlen
        case Cost.TWO_VLEN:
            return 2 * target.vlen
        case Cost.TOPK:
            return target.cycles("VECTOR_MAX_CYCLES") * TOPK_EXPERTS.get(rs3, 0)
        case Cost.HBM | Cost.NEVER:
            return 0
        case _:
            return target.cycles(_LATENCY_KEY[spec.cost])


def pipelined_cycles(spec: InstructionSpec, target: Target, *, rd: int = 1, rs3: int = 0) -> int:
    """Steady-state issue cycles of the analytic model; every instruction takes its slot, also into f0."""
    del rd, rs3
    if spec.mnemonic in _PIPELINED:
        return _PIPELINED[spec.mnemonic](target)
    if spec.cost in _ISSUE_ONLY:
        return 1
    if spec.cost is Cost.NEVER:
        return 0
    return target.cycles(_LATENCY_KEY[spec.cost])


PROFILES: dict[str, CostFunction] = {
    "transactional": transactional_cycles,
    "pipelined": pipelined_cycles,
}
"""Timing profile name -> cycles of one instruction."""
