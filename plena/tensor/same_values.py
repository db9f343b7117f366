"""Whether two values of the tensor level are the same tensor, computed once or twice."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects import plena

_DEPTH = 20
"""So many operations are compared."""


def same_value(a: SSAValue, b: SSAValue, depth: int = _DEPTH) -> bool:
    """Whether two values are computed in the same way of the same values."""
    if a == b:
        return True
    x, y = a.owner, b.owner
    if not isinstance(x, plena.PlenaOp) or not isinstance(y, plena.PlenaOp) or type(x) is not type(y):
        return False
    if not depth or a.type != b.type or x.properties != y.properties or len(x.operands) != len(y.operands):
        return False
    if isinstance(x, plena.RepeatOp):
        return False
    return all(same_value(u, v, depth - 1) for u, v in zip(x.operands, y.operands, strict=True))
