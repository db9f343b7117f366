"""Booleans as numbers 0 and 1, where a model multiplies or chooses by them.

What is provably a mask: a boolean argument or constant, a comparison that the host makes while it stages an argument,
one of what the machine computes if both sides agree where it changes, and what logic makes of those.
"""

from __future__ import annotations

from xdsl.dialects.builtin import Float32Type
from xdsl.ir import BlockArgument, SSAValue

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import element_type_of, is_boolean, shape_of
from plena.tensor.computed_tests import emit_computed_test
from plena.tensor.emission import Emitter
from plena.tensor.infinities import may_overflow
from plena.tensor.staged_tests import (
    Test,
    comparison_of,
    emit_test,
    is_argument,
    is_bits,
    is_choice,
    is_only_tested,
    negation,
    on_bits,
)


def emit_number(e: Emitter, value: SSAValue) -> SSAValue | None:
    """Integers or booleans as a real tensor of the same shape, None if they are neither staged nor a mask."""
    if is_bits(value):
        return emit_zero_one(e, value)
    if is_argument(value) and not isinstance(element_type_of(value), Float32Type):
        source = _unconverted(value)
        return None if isinstance(source.owner, aten.ToOp) else e.add(plena.CastOp(source))
    return None


def emit_zero_one(e: Emitter, value: SSAValue, *, negated: bool = False) -> SSAValue | None:
    """A mask as numbers: 1 where it is true, or where it is false if `negated`; None if it is no mask."""
    op = value.owner
    match op:
        case _ if is_choice(value):
            return _inverse(e, value) if negated else value
        case plena.ReshapeOp() | plena.RearrangeOp() | plena.ExpandOp() | aten.ViewOp() | aten.ExpandOp():
            inner = emit_zero_one(e, op.input, negated=negated)
            return None if inner is None else _moved(e, op, inner)
        case aten.ToOp() if not is_boolean(value):
            return emit_zero_one(e, op.input, negated=negated)
        case aten.ToOp() | aten.CompareOp():
            return _tested(e, op, negated)
        case aten.LogicalNotOp():
            return emit_zero_one(e, op.input, negated=not negated)
        case aten.LogicalAndOp():
            return _conjunction(e, op, negated)
        case _ if not is_boolean(value):
            return None
        case aten.FullOp():
            number = float((full_value(value) != 0) != negated)
            return e.add(plena.ParameterOp(plena.FullAttr(number, shape_of(value)), shape_of(value)))
        case plena.CompareOp() | plena.BitOp() | plena.HostOp() | plena.ParameterOp():
            return _cast(e, value, negated)
        case _:
            return _cast(e, value, negated) if isinstance(value, BlockArgument) else None


def _cast(e: Emitter, mask: SSAValue, negated: bool) -> SSAValue:
    number = e.add(plena.CastOp(mask))
    return _inverse(e, number) if negated else number


def _tested(e: Emitter, op: aten.ToOp | aten.CompareOp, negated: bool) -> SSAValue | None:
    comparison = comparison_of(op)
    if comparison is None:
        return None
    value, test = comparison
    if not is_bits(value):
        staged = is_argument(value) and is_only_tested(value)
        if isinstance(op, aten.CompareOp) and op.continuous is not None and not staged:
            return _computed(e, value, test, negated, shape_of(op.result))
        return _compared(e, value, test, negated, shape_of(op.result))
    at_zero, at_one = (truth != negated for truth in on_bits(test))
    if at_zero == at_one:
        shape = shape_of(op.result)
        return e.add(plena.ParameterOp(plena.FullAttr(float(at_one), shape), shape))
    number = emit_zero_one(e, value, negated=at_zero)
    return None if number is None else _expanded(e, number, shape_of(op.result))


def _compared(
    e: Emitter, value: SSAValue, test: Test, negated: bool, shape: tuple[int, ...]
) -> SSAValue | None:
    """A comparison of an argument with a number."""
    if not is_argument(value) or not is_only_tested(value):
        return None
    source = _unconverted(value)
    if isinstance(source.owner, aten.ToOp):
        return None
    opposite = negation(test, value) if negated else test
    truth = emit_test(e, source, opposite or test)
    number = e.add(plena.CastOp(truth))
    return _expanded(e, number if opposite else _inverse(e, number), shape)


def _computed(
    e: Emitter, value: SSAValue, test: Test, negated: bool, shape: tuple[int, ...]
) -> SSAValue | None:
    """A comparison of something computed that is finite."""
    real = isinstance(element_type_of(value), Float32Type)
    if not real or isinstance(value.owner, aten.AtenOp) or may_overflow(value):
        return None
    number = emit_computed_test(e, value, test)
    return _expanded(e, _inverse(e, number) if negated else number, shape)


def _unconverted(value: SSAValue) -> SSAValue:
    """The value without the conversions at its end that change no number: one to integers cuts fractions off."""
    while isinstance(value.owner, aten.ToOp):
        real = isinstance(element_type_of(value.owner.input), Float32Type)
        if real and not is_boolean(value) and not isinstance(element_type_of(value), Float32Type):
            break
        value = value.owner.input
    return value


def _conjunction(e: Emitter, op: aten.LogicalAndOp, negated: bool) -> SSAValue | None:
    shape = shape_of(op.result)
    factors = [emit_zero_one(e, operand) for operand in (op.input, op.other)]
    known = [_expanded(e, factor, shape) for factor in factors if factor is not None]
    if len(known) != 2:
        return None
    product = e.reshape(e.add(plena.MulOp(*(e.flat(factor) for factor in known))), shape)
    return _inverse(e, product) if negated else product


def _expanded(e: Emitter, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
    return value if shape_of(value) == shape else e.add(plena.ExpandOp(value, shape))


def _inverse(e: Emitter, value: SSAValue) -> SSAValue:
    negative = e.add(plena.MulScalarOp(e.flat(value), -1.0))
    return e.reshape(e.add(plena.AddScalarOp(negative, 1.0)), shape_of(value))


def _moved(
    e: Emitter,
    op: plena.ReshapeOp | plena.RearrangeOp | plena.ExpandOp | aten.ViewOp | aten.ExpandOp,
    value: SSAValue,
) -> SSAValue:
    shape = shape_of(op.result)
    match op:
        case plena.ReshapeOp() | aten.ViewOp():
            return e.reshape(value, shape)
        case plena.RearrangeOp():
            factors, order = op.factors.get_values(), op.order.get_values()
            return e.add(plena.RearrangeOp(value, factors, order, shape))
        case plena.ExpandOp() | aten.ExpandOp():
            return _expanded(e, value, shape)
