"""Binary operators under torch's broadcasting as kernels whose right operand is whole, a row, a column or a
number."""

from __future__ import annotations

from math import copysign, inf, prod

from xdsl.ir import SSAValue

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.emission import Emitter

_KERNELS: dict[type[aten.BinaryOp], type[plena.BinaryOp]] = {
    aten.AddOp: plena.AddOp,
    aten.SubOp: plena.SubOp,
    aten.MulOp: plena.MulOp,
}


def emit_binary(e: Emitter, op: aten.BinaryOp) -> SSAValue | None:
    """The result [rows, features] of add, sub, mul or div; None for an operand that is no number and no
    tensor."""
    lhs, rhs, shape = op.input, op.other, shape_of(op.result)
    number = full_value(rhs)
    if number is not None and full_value(lhs) is None:
        whole = e.flat(emit_expand(e, lhs, shape))
        return _with_number(e, type(op), whole, number)
    number = full_value(lhs)
    if number is not None:
        whole = e.flat(emit_expand(e, rhs, shape))
        return _number_with(e, type(op), number, whole)
    if shape_of(lhs) != shape and shape_of(rhs) == shape:
        if isinstance(op, aten.AddOp | aten.MulOp):
            lhs, rhs = rhs, lhs
        elif isinstance(op, aten.SubOp):
            negative = e.add(plena.MulScalarOp(e.flat(rhs), -1.0))
            return e.add(plena.AddOp(negative, right_operand(e, lhs, shape)))
        else:
            inverse = e.add(plena.ActivationOp("reciprocal", e.flat(rhs)))
            return e.add(plena.MulOp(inverse, right_operand(e, lhs, shape)))
    whole, right = e.flat(emit_expand(e, lhs, shape)), right_operand(e, rhs, shape)
    if isinstance(op, aten.DivOp):
        return e.add(plena.DivOp(whole, right, nonzero=op.nonzero is not None))
    return e.add(_KERNELS[type(op)](whole, right))


def _with_number(e: Emitter, kind: type[aten.BinaryOp], x: SSAValue, number: float) -> SSAValue:
    """x op number."""
    if kind in (aten.AddOp, aten.SubOp):
        number = number if kind is aten.AddOp else -number
        return x if is_minus_zero(number) else e.add(plena.AddScalarOp(x, number))
    if kind is aten.DivOp:
        number = 1.0 / number if number else copysign(inf, number)
    return x if number == 1 else e.add(plena.MulScalarOp(x, number))


def _number_with(e: Emitter, kind: type[aten.BinaryOp], number: float, x: SSAValue) -> SSAValue:
    """number op x."""
    if kind is aten.SubOp:
        return _with_number(e, aten.AddOp, e.add(plena.MulScalarOp(x, -1.0)), number)
    if kind is aten.DivOp:
        return _with_number(e, aten.MulOp, e.add(plena.ActivationOp("reciprocal", x)), number)
    return _with_number(e, kind, x, number)


def is_minus_zero(number: float) -> bool:
    """Whether adding a number changes nothing: zero makes zero of minus zero, whose reciprocals differ."""
    return number == 0 and copysign(1.0, number) < 0


def right_operand(e: Emitter, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
    """A tensor that broadcasts to `shape` as a row [N], a column [M, 1] or whole [M, N]."""
    own = (1,) * (len(shape) - len(shape_of(value))) + shape_of(value)
    if own == shape:
        return e.flat(value)
    columns = shape[-1] if shape else 1
    if prod(own[:-1]) == 1:
        row = emit_expand(e, e.reshape(value, (own[-1],)), (columns,))
        return row
    if own[-1] == 1:
        column = emit_expand(e, value, (*shape[:-1], 1))
        return e.reshape(column, (prod(shape[:-1]), 1))
    return e.flat(emit_expand(e, value, shape))


def emit_expand(e: Emitter, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
    """`value` repeated to `shape`; whole copies one behind the other are a concatenation of rows."""
    own = (1,) * (len(shape) - len(shape_of(value))) + shape_of(value)
    if own == shape:
        return e.reshape(value, shape)
    number = full_value(value)
    if number is not None:
        return e.add(plena.ParameterOp(plena.FullAttr(number, shape), shape, element_type_of(value)))
    if sum(n == 1 < size for n, size in zip(own, shape, strict=True)) > 1:
        own, whole = _merged(own, shape)
        return e.reshape(e.add(plena.ExpandOp(e.reshape(value, own), whole)), shape)
    return e.add(plena.ExpandOp(value, shape))


def _merged(own: tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both shapes with axes joined that are repeated, or whole, one behind the other."""
    before: list[int] = []
    after: list[int] = []
    repeated: bool | None = None
    for n, size in zip(own, shape, strict=True):
        if size == 1:
            continue
        if repeated == (n == 1):
            before[-1], after[-1] = before[-1] * n, after[-1] * size
        else:
            before.append(n)
            after.append(size)
        repeated = n == 1
    return tuple(before), tuple(after)
