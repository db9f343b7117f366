"""Scores that are left out below a threshold: part of the choice of experts, which jumps by its nature.

Other choices that a computed number decides need sides that agree where it changes, see
plena.frontend.spellings.continuity; a choice of experts is compared with those of the references.
"""

from __future__ import annotations

from xdsl.builder import Builder
from xdsl.dialects.builtin import Float32Type, FloatAttr, TensorType, UnitAttr, f64
from xdsl.ir import SSAValue
from xdsl.rewriter import InsertPoint

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of


def allow_thresholds(scores: SSAValue) -> None:
    """Marks the comparison that decides which scores are left out of a softmax whose results weight chosen experts."""
    op = scores.owner
    while isinstance(op, aten.SoftmaxOp | aten.ViewOp):
        op = op.input.owner
    condition = op.condition.owner if isinstance(op, aten.WhereOp) else None
    if isinstance(condition, aten.CompareOp):
        condition.properties["continuous"] = UnitAttr()
        _without_quotient(condition)


def _without_quotient(op: aten.CompareOp) -> None:
    """a / b > c as a - c * b > 0 where b is max(|x|, y): 0 / 0 is as little more than c as 0 is more than 0."""
    quotient, number = op.input.owner, aten.full_value(op.other)
    if not isinstance(quotient, aten.DivOp) or number is None or op.predicate.data not in ("gt", "lt"):
        return
    divisor = quotient.other.owner
    positive = isinstance(divisor, aten.MaximumOp) and any(
        isinstance(operand.owner, aten.AbsOp) for operand in divisor.operands
    )
    if not positive or shape_of(quotient.other) != shape_of(quotient.result):
        return
    builder = Builder(InsertPoint.before(op))
    shape = shape_of(quotient.result)

    def add(kind: type[aten.AtenOp], *operands: SSAValue) -> SSAValue:
        built = kind.build(
            operands=operands, result_types=[TensorType(Float32Type(), shape)], attributes=op.attributes
        )
        builder.insert(built)
        return built.results[0]

    def full(value: float) -> SSAValue:
        built = aten.FullOp.build(
            properties={"value": FloatAttr(value, f64)}, result_types=[TensorType(Float32Type(), ())]
        )
        builder.insert(built)
        return built.result

    scaled = add(aten.MulOp, quotient.other, full(number))
    op.operands[0] = add(aten.SubOp, quotient.input, scaled)
    op.operands[1] = full(0.0)
