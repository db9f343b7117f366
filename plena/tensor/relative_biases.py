"""Biases that the host subtracts the largest of each row from before it rounds them, and what it took off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, prod

import numpy as np
from xdsl.dialects.builtin import (
    BoolAttr,
    DenseArrayBase,
    Float32Type,
    FloatAttr,
    TensorType,
    f32,
    f64,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import broadcast_shapes, element_type_of, shape_of
from plena.host.mask_steps import NEAR, SWALLOWING
from plena.host.values import build
from plena.host.values.attributes import value_of
from plena.host.values.graph import HostValue
from plena.tensor.emission import Emitter
from plena.tensor.host_values import HostValues, host_op

MOST = 12
"""Operators of a bias at most."""

_LAYOUTS = (aten.ViewOp, aten.PermuteOp, aten.ExpandOp)
"""What the host does to all of a tensor while it stages it: parts are taken on the machine."""

_SOURCES = (aten.ConstantOp, aten.ParameterOp, plena.HostOp)

_ARITHMETIC = (aten.NegOp, aten.AddOp, aten.SubOp, aten.MulOp, aten.DivOp)

_OF_BIASES = (*_LAYOUTS, *_ARITHMETIC, aten.SliceOp, aten.FullOp)
"""What biases are computed by."""


@dataclass(frozen=True)
class Staged:
    """A tensor that the host stages whole, and of it `factor` times each number, and `offset`."""

    tensor: SSAValue
    factor: float = 1.0
    offset: float = 0.0

    def times(self, factor: float) -> Staged:
        return replace(self, factor=self.factor * factor, offset=self.offset * factor)

    def plus(self, number: float) -> Staged:
        return replace(self, offset=self.offset + number)


@dataclass(frozen=True)
class Base:
    """What was taken off each row: a number, and the highest of each row of a staged tensor along `dim`."""

    number: float = 0.0
    staged: Staged | None = None
    dim: int = 0

    def joined(self, other: Base) -> Base | None:
        """Both taken off; None where that takes two tensors."""
        if self.staged is not None and other.staged is not None:
            return None
        of = self if other.staged is None else other
        return replace(of, number=self.number + other.number)


def is_bias(value: SSAValue) -> bool:
    """Whether a value is an input or a constant, or comes of some by a few operators that weigh nothing."""
    return _comes_of_inputs(value, MOST) or is_of_integers(value)


def is_of_integers(value: SSAValue) -> bool:
    """Whether the host computes a value of integer inputs."""
    return _of_host(value) is not None


def _comes_of_inputs(value: SSAValue, most: int) -> bool:
    if isinstance(value, BlockArgument) or isinstance(value.owner, _SOURCES):
        return True
    if isinstance(op := value.owner, aten.WhereOp) and most and _is_real(value):
        sides = all(_comes_of_inputs(side, most - 1) for side in (op.input, op.other))
        return sides and HostValues(real=True).of(op.condition) is not None
    if not isinstance(value.owner, _OF_BIASES) or not most:
        return False
    if isinstance(value.owner, aten.DivOp) and full_value(value.owner.other) is None:
        return False
    return all(_comes_of_inputs(x, most - 1) for x in value.owner.operands)


def is_staged(value: SSAValue) -> bool:
    """Whether a value is an input or a constant, in any view of all of it, or a multiple of one plus a number."""
    while isinstance(value.owner, (*_LAYOUTS, *_ARITHMETIC)):
        first, *others = value.owner.operands
        if any(full_value(other) is None for other in others):
            return False
        value = first
    return (isinstance(value, BlockArgument) or isinstance(value.owner, _SOURCES)) and _is_real(value)


def relative(e: Emitter, bias: SSAValue, axis: int, factor: float) -> tuple[SSAValue, Base | None]:
    """`factor` times a bias less the largest of each row along `axis` (from the end), and what was taken off."""
    bias = of_rank(e, bias, -axis)
    dim = len(shape_of(bias)) + axis
    staged = _staged(e, bias)
    if staged is not None:
        base = Base(staged=staged.times(factor), dim=dim)
        return _below(e, base), base
    op = bias.owner
    if isinstance(op, aten.AddOp | aten.SubOp):
        second = -factor if isinstance(op, aten.SubOp) else factor
        sides = [relative(e, x, axis, by)[0] for x, by in ((op.input, factor), (op.other, second))]
        return below_highest(e, added(e, *sides), axis), None
    if isinstance(op, aten.SliceOp):
        whole, _ = relative(e, op.input, axis, factor)
        bias, factor = e.add(of_operands(op, [whole])), 1.0
        if op.dim.value.data != dim:
            return bias, None
    if isinstance(op, aten.ViewOp | aten.PermuteOp) and (before := axis_before(op, axis)) is not None:
        whole, _ = relative(e, op.input, before, factor)
        return e.add(of_operands(op, [whole])), None
    return below_highest(e, scaled(e, bias, factor), axis), None


def line_of(bias: SSAValue, factor: float) -> HostValue | None:
    """`factor` times a bias as the host computes it; None if it does not."""
    found = HostValues(real=True).of(bias)
    if found is None:
        return None
    found = build.cast(found, "float32")
    return found if factor == 1 else build.binary("mul", found, build.full(factor, "float32"))


def seen(e: Emitter, line: HostValue, hidden: HostValue | None, axis: int) -> tuple[SSAValue, Base]:
    """A bias less the largest of each row along `axis` (from the end) that is not hidden, and what was taken off.

    Where it is hidden it is 0.
    """
    if hidden is None:
        base = Base(staged=Staged(staged(e, line)), dim=len(line.shape) + axis)
        return _below(e, base), base
    shape = np.broadcast_shapes(line.shape, hidden.shape)
    hidden, dim = build.expand(hidden, shape), len(shape) + axis
    some = build.reduce("any", build.unary("not", hidden), [dim], keepdim=True)
    left = build.where(hidden, build.full(-inf, "float32"), line, "float32")
    highest = build.where(some, build.reduce("max", left, [dim], keepdim=True), build.full(0.0, "float32"))
    base = Base(staged=Staged(staged(e, build.where(hidden, highest, line, "float32"))), dim=dim)
    return _below(e, base), base


def apart(line: HostValue, axis: int) -> HostValue:
    """A bias without minus infinity in rows whose numbers lie far apart: such a number hides beside them as well, and
    shares a scale with them. Along another `axis` (from the end) than the last it is exchanged, and stays."""
    if axis != -1 or not (line.real_inputs or list(line.constants)):
        return line
    dims, least = [len(line.shape) + axis], float(np.finfo(np.float32).min)
    is_number = build.compared("gt", line, -inf)
    highest = build.reduce("max", line, dims, keepdim=True)
    lowest = build.reduce("min", build.where(is_number, line, highest), dims, keepdim=True)
    far = build.binary("lt", build.binary("add", lowest, build.full(NEAR, "float32")), highest)
    # Where the largest is about the least float32, halves are as far apart, and there is something below.
    deep = build.binary("and", build.compared("le", highest, least / 2), build.compared("gt", highest, -inf))
    numbers = build.where(deep, build.binary("mul", line, build.full(0.5, "float32")), line)
    kept = build.binary("or", is_number, build.unary("not", build.binary("or", far, deep)))
    return build.where(kept, numbers, build.full(least, "float32"))


def staged(e: Emitter, value: HostValue) -> SSAValue:
    """What the host computes."""
    return e.insert(host_op(value, _arguments(e))).result


def is_made(bias: SSAValue) -> bool:
    """Whether a bias is made by choices, sums or products of tensors, which the host makes."""
    op = bias.owner
    if (
        isinstance(op, aten.AddOp | aten.SubOp | aten.MulOp | aten.DivOp)
        and full_value(op.input) is None
        and full_value(op.other) is None
    ):
        return True
    return isinstance(op, aten.WhereOp) or (isinstance(op, _OF_BIASES) and any(map(is_made, op.operands)))


def is_wide(bias: SSAValue) -> bool:
    """Whether a bias is made of a constant whose numbers lie far apart."""
    op = bias.owner
    if not isinstance(op, Operation):
        return False
    return any(map(is_wide, op.operands)) or (isinstance(op, aten.ConstantOp) and op.wide is not None)


def may_be_lowest(bias: SSAValue, inputs: bool) -> bool:
    """Whether a bias may hold minus infinity: of constants and numbers, and of `inputs`."""
    if isinstance(bias, BlockArgument):
        return inputs and _is_real(bias)
    number = full_value(bias)
    if number is not None:
        return number == -inf
    if isinstance(bias.owner, aten.ConstantOp):
        return bias.owner.infinite is not None
    assert isinstance(bias.owner, Operation)
    return any(may_be_lowest(operand, inputs) for operand in bias.owner.operands)


def _below(e: Emitter, base: Base) -> SSAValue:
    """What a base was taken off, in two parts where its numbers may be far apart: none hides the bits of another."""
    of = base.staged
    assert of is not None
    parts = (None,) if _is_moderate(of, base.dim) else ("near", "hidden")
    below = [e.add(plena.RelativeOp(of.tensor, base.dim, of.factor, of.offset, part=part)) for part in parts]
    return below[0] if len(below) == 1 else added(e, *below)


def _is_moderate(of: Staged, dim: int) -> bool:
    """Whether the numbers of a row are known to be near each other, as those of parameters are taken to be."""
    value, axis = of.tensor, dim - len(shape_of(of.tensor))
    if isinstance(value.owner, plena.HostOp):
        return value_of(value.owner.value).is_zero_one and abs(of.factor) <= NEAR
    while isinstance(op := value.owner, _LAYOUTS):
        if not isinstance(op, aten.ExpandOp):
            before = axis_before(op, axis)
            if before is None:
                break
            axis = before
        value = op.input
    if isinstance(op, aten.ConstantOp):
        return axis == -1 and op.wide is None and op.infinite is None and abs(of.factor) <= 1
    return isinstance(op, aten.ParameterOp)


def number_below(e: Emitter, number: float, base: Base) -> SSAValue:
    """A number less what was taken off each row."""
    if base.staged is None:
        return full(e, number - base.number)
    of = base.staged
    return e.add(plena.RelativeOp(of.tensor, base.dim, of.factor, of.offset, number - base.number))


def full(e: Emitter, number: float) -> SSAValue:
    """A number as a tensor without axes."""
    properties = {"value": FloatAttr(number, f64)}
    return e.add(aten.FullOp.build(properties=properties, result_types=[TensorType(f32, [])]))


def scaled(e: Emitter, value: SSAValue, factor: float) -> SSAValue:
    """`factor` times a value."""
    if factor == 1:
        return value
    if factor == -1:
        return e.add(aten.NegOp.build(operands=[value], result_types=[value.type]))
    return e.add(aten.MulOp.build(operands=[value, full(e, factor)], result_types=[value.type]))


def _staged(e: Emitter, value: SSAValue, most: int = MOST) -> Staged | None:
    """A bias as a line in a tensor of real numbers that the host stages whole; None if it is none."""
    op = value.owner
    if (isinstance(value, BlockArgument) or isinstance(op, _SOURCES)) and _is_real(value):
        return Staged(value)
    computed = _computed_by_host(e, value)
    if computed is not None:
        return Staged(computed)
    if not most:
        return None
    match op:
        case aten.ViewOp() | aten.PermuteOp() | aten.ExpandOp():
            inner = _staged(e, op.input, most - 1)
            return inner and replace(inner, tensor=e.add(of_operands(op, [inner.tensor])))
        case aten.NegOp():
            inner = _staged(e, op.input, most - 1)
            return inner and inner.times(-1.0)
        case aten.AddOp() | aten.SubOp() | aten.MulOp() | aten.DivOp():
            return _line(e, op, most - 1)
        case _:
            return None


def _line(e: Emitter, op: aten.AddOp | aten.SubOp | aten.MulOp | aten.DivOp, most: int) -> Staged | None:
    """An operation of a line and a number."""
    shape = shape_of(op.result)
    for operand, other in ((op.input, op.other), (op.other, op.input)):
        number = full_value(other)
        if number is None or not isfinite(number) or shape_of(operand) != shape:
            continue
        inner = _staged(e, operand, most)
        if inner is None:
            return None
        match op:
            case aten.AddOp():
                return inner.plus(number)
            case aten.SubOp():
                return inner.plus(-number) if operand is op.input else inner.times(-1.0).plus(number)
            case aten.MulOp() if number:
                return inner.times(number)
            case aten.DivOp() if number and operand is op.input:
                return inner.times(1.0 / number)
            case _:
                return None
    return None


def _is_real(value: SSAValue) -> bool:
    return isinstance(element_type_of(value), Float32Type)


def _of_host(value: SSAValue) -> HostValue | None:
    """How the host computes a value of integer inputs; None if it does not."""
    found = HostValues().of(value)
    return found if found is not None and found.inputs else None


def _computed_by_host(e: Emitter, value: SSAValue) -> SSAValue | None:
    """What the host computes of integer inputs, as real numbers."""
    found = _of_host(value)
    return None if found is None else e.insert(host_op(build.cast(found, "float32"), _arguments(e))).result


def _arguments(e: Emitter) -> Sequence[SSAValue]:
    """Those of the function that is rewritten."""
    function = e.anchor
    while not isinstance(function, FuncOp):
        parent = function.parent_op()
        assert parent is not None
        function = parent
    return function.body.block.args


def of_operands(op: Operation, operands: list[SSAValue]) -> Operation:
    """The operation of other operands of the same shapes."""
    return type(op).create(
        operands=operands, properties=dict(op.properties), result_types=[r.type for r in op.results]
    )


def of_shape(kind: type[aten.AtenOp], value: SSAValue, shape: tuple[int, ...]) -> Operation:
    """A layout of a value, with another shape."""
    return kind.build(operands=[value], result_types=[TensorType(element_type_of(value), shape)])


def of_rank(e: Emitter, value: SSAValue, rank: int) -> SSAValue:
    """A value with at least so many axes, those in front of size 1."""
    shape = shape_of(value)
    return (
        value
        if len(shape) >= rank
        else e.add(of_shape(aten.ViewOp, value, (1,) * (rank - len(shape)) + shape))
    )


def added(e: Emitter, a: SSAValue, b: SSAValue) -> SSAValue:
    """The sum of two tensors that broadcast."""
    shape = broadcast_shapes([shape_of(a), shape_of(b)])
    assert shape is not None
    result = TensorType(f32, shape)
    return e.add(aten.AddOp.build(operands=[a, b], result_types=[result]))


def chosen(e: Emitter, condition: SSAValue, a: SSAValue, b: SSAValue, type: Attribute) -> SSAValue:
    """One of two tensors, or numbers, for each element."""
    return e.add(aten.WhereOp.build(operands=[condition, a, b], result_types=[type]))


def below_highest(e: Emitter, bias: SSAValue, axis: int) -> SSAValue:
    """A bias less the largest of each row along `axis` (from the end), on the machine."""
    dim = len(shape_of(bias)) + axis
    row = TensorType(
        element_type_of(bias), [1 if n == dim else size for n, size in enumerate(shape_of(bias))]
    )
    properties = {"dim": DenseArrayBase.from_list(i64, [dim]), "keepdim": BoolAttr.from_bool(True)}
    highest = e.add(aten.AmaxOp.build(operands=[bias], properties=properties, result_types=[row]))
    bounds = {"min": FloatAttr(-SWALLOWING, f64), "max": FloatAttr(SWALLOWING, f64)}
    base = e.add(aten.ClampOp.build(operands=[highest], properties=bounds, result_types=[row]))
    return e.add(aten.SubOp.build(operands=[bias, base], result_types=[bias.type]))


def axis_before(op: aten.PermuteOp | aten.ViewOp, axis: int) -> int | None:
    """The axis from the end that a layout makes `axis` of; None if it is not one."""
    before, after = shape_of(op.input), shape_of(op.result)
    if isinstance(op, aten.PermuteOp):
        return op.dims.get_values()[axis] - len(before)
    inner = prod(after[axis:][1:])
    found = (n for n in range(len(before)) if before[n] == after[axis] and prod(before[n + 1 :]) == inner)
    return next((n - len(before) for n in found), None)


def moved_back(op: aten.PermuteOp | aten.ViewOp, value: HostValue) -> HostValue:
    """What broadcasts to the result of a layout as it lies in the input."""
    whole = build.expand(value, shape_of(op.result))
    if isinstance(op, aten.ViewOp):
        return build.reshape(whole, shape_of(op.input))
    dims = op.dims.get_values()
    return build.permute(whole, [dims.index(n) for n in range(len(dims))])


def moved(op: aten.PermuteOp | aten.ViewOp, value: HostValue) -> HostValue:
    """What broadcasts to the input of a layout as it lies in the result."""
    whole = build.expand(value, shape_of(op.input))
    if isinstance(op, aten.ViewOp):
        return build.reshape(whole, shape_of(op.result))
    return build.permute(whole, op.dims.get_values())
