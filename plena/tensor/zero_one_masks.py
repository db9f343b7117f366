"""Booleans made of the input's masks as numbers 0 and 1, where a model multiplies or chooses by them.

Integer masks hold 0 and 1: a comparison that tells the two apart is the mask itself, or one minus it.
"""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import BlockArgument, SSAValue

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.attention_masks import is_nonzero_test, is_zero_test
from plena.tensor.emission import Emitter


def emit_zero_one(e: Emitter, value: SSAValue) -> SSAValue | None:
    """The mask as a real tensor of the same shape, None if it is computed from real numbers."""
    if not isinstance(element_type_of(value), IntegerType):
        return None
    op = value.owner
    match op:
        case plena.ReshapeOp() | plena.RearrangeOp() | plena.ExpandOp():
            inner = emit_zero_one(e, op.input)
            return None if inner is None else _moved(e, op, inner)
        case aten.ViewOp() | aten.ExpandOp():
            inner = emit_zero_one(e, op.input)
            if inner is None:
                return None
            shape = shape_of(value)
            return (
                e.reshape(inner, shape)
                if isinstance(op, aten.ViewOp)
                else e.add(plena.ExpandOp(inner, shape))
            )
        case aten.ToOp():
            return emit_zero_one(e, op.input)
        case aten.CompareOp() if is_nonzero_test(op):
            return emit_zero_one(e, op.input)
        case aten.CompareOp() if is_zero_test(op):
            return _inverse(e, emit_zero_one(e, op.input))
        case aten.LogicalNotOp():
            return _inverse(e, emit_zero_one(e, op.input))
        case aten.LogicalAndOp() if shape_of(op.input) == shape_of(op.other):
            factors = [emit_zero_one(e, operand) for operand in (op.input, op.other)]
            known = [factor for factor in factors if factor is not None]
            if len(known) != 2:
                return None
            product = e.add(plena.MulOp(*(e.flat(factor) for factor in known)))
            return e.reshape(product, shape_of(value))
        case aten.FullOp():
            number = full_value(value)
            assert number is not None
            return e.add(plena.ParameterOp(plena.FullAttr(number, shape_of(value)), shape_of(value)))
        case _:
            staged = isinstance(op, plena.ParameterOp)
            return e.add(plena.CastOp(value)) if staged or isinstance(value, BlockArgument) else None


def _inverse(e: Emitter, value: SSAValue | None) -> SSAValue | None:
    if value is None:
        return None
    negative = e.add(plena.MulScalarOp(e.flat(value), -1.0))
    return e.reshape(e.add(plena.AddScalarOp(negative, 1.0)), shape_of(value))


def _moved(e: Emitter, op: plena.ReshapeOp | plena.RearrangeOp | plena.ExpandOp, value: SSAValue) -> SSAValue:
    shape = shape_of(op.result)
    match op:
        case plena.ReshapeOp():
            return e.reshape(value, shape)
        case plena.RearrangeOp():
            factors, order = op.factors.get_values(), op.order.get_values()
            return e.add(plena.RearrangeOp(value, factors, order, shape))
        case plena.ExpandOp():
            return e.add(plena.ExpandOp(value, shape))
