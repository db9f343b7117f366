"""Staging expressions: what is done to parameters and constants on the host before they reach the machine.

An expression is a tree whose leaves are symbols of the side table (`@name`) or uniform tensors and whose
nodes are the attributes of this file. Nothing is computed while compiling:
`plena.host.expressions.materialize` evaluates an expression when the memory image is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    SymbolRefAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.views import StepAttr, integers, parse_step, print_step

MOVES = ("reshape", "permute", "expand", "slice", "pad")
"""Steps of a view that only move elements."""


class StagingAttr(ParametrizedAttribute):
    """A node of a staging expression."""


@irdl_attr_definition
class FullAttr(StagingAttr):
    """A tensor of shape `shape` whose elements are all `value`."""

    name = "plena.full"
    value: FloatAttr
    shape: DenseArrayBase[I64]

    def __init__(self, value: float, shape: Sequence[int]) -> None:
        super().__init__(FloatAttr(value, f64), integers(shape))


@irdl_attr_definition
class ViewAttr(StagingAttr):
    """The elements moved, step by step: `#plena.view<@w, [reshape [8, 6], permute [1, 0]]>`.

    The steps are those of plena.host.view that only move elements. Built by `reshaped`, `permuted`, `expanded` and
    `sliced`, which join steps where one says what two do.
    """

    name = "plena.view"
    operand: Attribute
    steps: ArrayAttr[StepAttr]

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            operand = parser.parse_attribute()
            parser.parse_punctuation(",")
            steps = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: parse_step(parser))
            return [operand, ArrayAttr(steps)]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_attribute(self.operand)
            printer.print_string(", [")
            printer.print_list(self.steps, lambda step: print_step(printer, step))
            printer.print_string("]")

    def verify(self) -> None:
        if not self.steps.data:
            raise VerifyException("plena.view: needs a step")
        for step in self.steps:
            if step.kind.data not in MOVES:
                raise VerifyException(f"plena.view: {step.kind.data} computes, it does not move")


@irdl_attr_definition
class ConcatAttr(StagingAttr):
    """Tensors one behind the other along `axis`."""

    name = "plena.concatenated"
    operands: ArrayAttr
    axis: IntegerAttr[I64]

    def __init__(self, operands: Sequence[Attribute], axis: int) -> None:
        super().__init__(ArrayAttr(operands), IntegerAttr(axis, i64))


@irdl_attr_definition
class ProductAttr(StagingAttr):
    """lhs * rhs under broadcasting; a weight [N, K] times a gain [K] scales its columns."""

    name = "plena.product"
    lhs: Attribute
    rhs: Attribute


@irdl_attr_definition
class SumAttr(StagingAttr):
    """lhs + rhs under broadcasting, e.g. the 1 + gain of a norm with offset, or biases folded together."""

    name = "plena.sum"
    lhs: Attribute
    rhs: Attribute


@irdl_attr_definition
class MatvecAttr(StagingAttr):
    """matrix [N, K] times vector [K]: how the bias of a norm reaches the bias of the linear behind it."""

    name = "plena.matvec"
    matrix: Attribute
    vector: Attribute


@irdl_attr_definition
class AdditiveMaskAttr(StagingAttr):
    """A boolean mask (true takes part) as an added one: 0 where true, -inf where false (clamped when
    staged)."""

    name = "plena.additive_mask"
    operand: Attribute


def symbols_of(expression: Attribute) -> Iterator[str]:
    """The symbols that an expression reads, in order, repeated as often as they occur."""
    match expression:
        case SymbolRefAttr():
            yield expression.string_value()
        case ArrayAttr():
            for element in expression.data:
                yield from symbols_of(element)
        case StagingAttr():
            for parameter in expression.parameters:
                yield from symbols_of(parameter)
        case _:
            pass


def with_symbols(expression: Attribute, meanings: Mapping[str, Attribute]) -> Attribute:
    """An expression whose symbols are replaced by others, those that `meanings` does not name left as they are."""
    match expression:
        case SymbolRefAttr():
            return meanings.get(expression.string_value(), expression)
        case ArrayAttr():
            return ArrayAttr([with_symbols(element, meanings) for element in expression.data])
        case ViewAttr():
            return _with_steps(with_symbols(expression.operand, meanings), expression.steps.data)
        case StagingAttr():
            return type(expression).new([with_symbols(p, meanings) for p in expression.parameters])
        case _:
            return expression


def _with_steps(operand: Attribute, steps: Sequence[StepAttr]) -> ViewAttr:
    if isinstance(operand, ViewAttr):
        return ViewAttr(operand.operand, ArrayAttr([*operand.steps, *steps]))
    return ViewAttr(operand, ArrayAttr(steps))


def _with_step(operand: Attribute, kind: str, *arguments: Sequence[int] | int) -> ViewAttr:
    return _with_steps(operand, [StepAttr.of(kind, arguments)])


def _last_step(operand: Attribute, kind: str) -> tuple[Attribute, StepAttr] | None:
    """What a view is without its last step, and that step, if it is one of that kind."""
    if not isinstance(operand, ViewAttr) or operand.steps.data[-1].kind.data != kind:
        return None
    *before, last = operand.steps
    return (ViewAttr(operand.operand, ArrayAttr(before)) if before else operand.operand), last


def reshaped(operand: Attribute, shape: Sequence[int], before: Sequence[int] | None = None) -> Attribute:
    """The elements in row-major order under another shape; `before`: the shape that they have, if it is known."""
    if before is not None and tuple(before) == tuple(shape):
        return operand
    if isinstance(operand, FullAttr):
        return FullAttr(operand.value.value.data, shape)
    found = _last_step(operand, "reshape")
    return _with_step(operand if found is None else found[0], "reshape", shape)


def permuted(operand: Attribute, dims: Sequence[int]) -> Attribute:
    """Dimension i of the result is dimension `dims[i]`."""
    return operand if tuple(dims) == tuple(range(len(dims))) else _with_step(operand, "permute", dims)


def rearranged(
    operand: Attribute,
    factors: Sequence[int],
    order: Sequence[int],
    shape: Sequence[int],
    before: Sequence[int] | None = None,
) -> Attribute:
    """The elements viewed as `factors`, axes permuted by `order`, viewed as `shape` (see plena.rearrange)."""
    moved = permuted(reshaped(operand, factors, before), order)
    return reshaped(moved, shape, [factors[n] for n in order])


def expanded(operand: Attribute, shape: Sequence[int]) -> Attribute:
    """Repetition along axes of size 1 and new leading axes, to `shape`."""
    if isinstance(operand, FullAttr):
        return FullAttr(operand.value.value.data, shape)
    return _with_step(operand, "expand", shape)


def sliced(operand: Attribute, dim: int, start: int, stop: int, step: int = 1) -> ViewAttr:
    """Elements start, start + step, ... before stop along `dim`; a slice of a slice with step 1 is one."""
    found = _last_step(operand, "slice")
    if found is not None:
        axis, first, _, stride = (n for n in found[1].values if isinstance(n, int))
        if (axis, stride) == (dim, 1):
            return _with_step(found[0], "slice", dim, first + start, first + stop, step)
    return _with_step(operand, "slice", dim, start, stop, step)


def some_of(stack: Attribute, start: int, stop: int) -> Attribute:
    """Elements `start` to `stop` along the first axis; of a concatenation of single ones, these alone."""
    if isinstance(stack, ConcatAttr) and stack.axis.value.data == 0:
        found = [_last_step(part, "reshape") for part in stack.operands]
        if all(part is not None and part[1].shape[:1] == [1] for part in found):
            single = stack.operands.data[start:stop]
            return single[0] if len(single) == 1 else ConcatAttr(single, 0)
    return sliced(stack, 0, start, stop)
