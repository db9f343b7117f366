"""Scores that are left out below a threshold: part of the choice of experts, which jumps by its nature.

Other choices that a computed number decides need sides that agree where it changes, see
plena.frontend.spellings.continuity; a choice of experts is compared with those of the references.
"""

from __future__ import annotations

from xdsl.builder import Builder
from xdsl.dialects.builtin import Float32Type, FloatAttr, TensorType, UnitAttr, f64
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of

FAR_BELOW = 1e30
"""What is taken off numbers that are not chosen: the exponential of what remains is 0, as is its sigmoid."""


def allow_thresholds(scores: SSAValue) -> None:
    """Marks the comparison that decides which scores are left out of a softmax whose results weight chosen experts."""
    op = scores.owner
    while isinstance(op, aten.SoftmaxOp | aten.ViewOp):
        op = op.input.owner
    condition = op.condition.owner if isinstance(op, aten.WhereOp) else None
    if isinstance(op, aten.WhereOp) and isinstance(condition, aten.CompareOp):
        condition.properties["continuous"] = UnitAttr()
        if _without_quotient(condition):
            _far_below(op)


def _far_below(op: aten.WhereOp) -> None:
    """A finite number for minus infinity where not all of a row are left out: no softmax of it can be NaN."""
    for number, operand in enumerate(op.operands):
        if aten.full_value(operand) == float("-inf"):
            op.operands[number] = _full(op, -FAR_BELOW)


def _full(anchor: Operation, value: float) -> SSAValue:
    built = aten.FullOp.build(
        properties={"value": FloatAttr(value, f64)}, result_types=[TensorType(Float32Type(), ())]
    )
    Builder(InsertPoint.before(anchor)).insert(built)
    return built.result


def _without_quotient(op: aten.CompareOp) -> bool:
    """(m - x) / b > c as m - x - c * b > 0, where b is max(|x|, m): 0 / 0 is as little more than c as 0 is than 0.

    Returns: whether it was of that form, with a positive c: then it is false for the largest x of a row, which is m.
    """
    quotient, number = op.input.owner, aten.full_value(op.other)
    if not isinstance(quotient, aten.DivOp) or number is None or number <= 0 or op.predicate.data != "gt":
        return False
    difference, divisor = quotient.input.owner, quotient.other.owner
    if not isinstance(difference, aten.SubOp) or not isinstance(divisor, aten.MaximumOp):
        return False
    sides = divisor.operands if isinstance(divisor.input.owner, aten.AbsOp) else divisor.operands[::-1]
    largest, same = difference.input.owner, sides[1].owner
    if not isinstance(sides[0].owner, aten.AbsOp) or not isinstance(largest, aten.AmaxOp):
        return False
    if not isinstance(same, aten.AmaxOp) or same.input is not largest.input:
        return False
    builder = Builder(InsertPoint.before(op))
    shape = shape_of(quotient.result)

    def add(kind: type[aten.AtenOp], *operands: SSAValue) -> SSAValue:
        built = kind.build(
            operands=operands, result_types=[TensorType(Float32Type(), shape)], attributes=op.attributes
        )
        builder.insert(built)
        return built.results[0]

    scaled = add(aten.MulOp, quotient.other, _full(op, number))
    op.operands[0] = add(aten.SubOp, quotient.input, scaled)
    op.operands[1] = _full(op, 0.0)
    return True
