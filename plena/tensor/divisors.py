"""Which values of the aten level reach a divisor, where minus zero and zero differ."""

from __future__ import annotations

from xdsl.ir import SSAValue, Use

from plena.dialects import aten
from plena.dialects.aten import full_value

_UNSIGNED = (
    aten.ExpOp,
    aten.SigmoidOp,
    aten.AbsOp,
    aten.SoftmaxOp,
    aten.LinearOp,
    aten.MatmulOp,
    aten.LayerNormOp,
    aten.RmsNormOp,
    aten.CompareOp,
    aten.ReductionOp,
)
"""What makes the same of both zeros."""

_INVERTING = (aten.ReciprocalOp, aten.RsqrtOp)


def divides(value: SSAValue) -> bool:
    """Whether something is divided by a value, or by what operators that keep the sign of zeros make of it."""
    seen: set[SSAValue] = set()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        for use in value.uses:
            if _inverts(use):
                return True
            if _keeps_sign(use):
                waiting.extend(use.operation.results)
    return False


def _inverts(use: Use) -> bool:
    op = use.operation
    return isinstance(op, _INVERTING) or (isinstance(op, aten.DivOp) and op.operands[use.index] == op.other)


def _keeps_sign(use: Use) -> bool:
    op = use.operation
    if isinstance(op, aten.AddOp | aten.SubOp) and any(full_value(operand) for operand in op.operands):
        return False
    return isinstance(op, aten.AtenOp) and not isinstance(op, _UNSIGNED)
