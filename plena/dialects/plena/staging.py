"""Staging expressions: what is done to parameters and constants on the host before they reach the machine.

An expression is a tree whose leaves are symbols of the side table (`@name`) or uniform tensors and whose
nodes are the attributes of this file. Nothing is computed while compiling:
`plena.host.expressions.materialize` evaluates an expression when the memory image is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

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
from xdsl.utils.exceptions import VerifyException


class StagingAttr(ParametrizedAttribute):
    """A node of a staging expression."""


def _integers(values: Sequence[int]) -> DenseArrayBase[I64]:
    return DenseArrayBase.from_list(i64, list(values))


@irdl_attr_definition
class FullAttr(StagingAttr):
    """A tensor of shape `shape` whose elements are all `value`."""

    name = "plena.full"
    value: FloatAttr
    shape: DenseArrayBase[I64]

    def __init__(self, value: float, shape: Sequence[int]) -> None:
        super().__init__(FloatAttr(value, f64), _integers(shape))


@irdl_attr_definition
class ReshapeAttr(StagingAttr):
    """The elements in row-major order under another shape."""

    name = "plena.reshaped"
    operand: Attribute
    shape: DenseArrayBase[I64]

    def __init__(self, operand: Attribute, shape: Sequence[int]) -> None:
        super().__init__(operand, _integers(shape))


@irdl_attr_definition
class RearrangeAttr(StagingAttr):
    """The elements viewed as `factors`, axes permuted by `order`, viewed as `shape` (see plena.rearrange)."""

    name = "plena.rearranged"
    operand: Attribute
    factors: DenseArrayBase[I64]
    order: DenseArrayBase[I64]
    shape: DenseArrayBase[I64]

    def __init__(
        self, operand: Attribute, factors: Sequence[int], order: Sequence[int], shape: Sequence[int]
    ) -> None:
        super().__init__(operand, _integers(factors), _integers(order), _integers(shape))

    def verify(self) -> None:
        factors, order = self.factors.get_values(), self.order.get_values()
        if sorted(order) != list(range(len(factors))):
            raise VerifyException("plena.rearranged: order is not a permutation of the factors")
        if prod(factors) != prod(self.shape.get_values()):
            raise VerifyException("plena.rearranged: factors and shape differ in size")


@irdl_attr_definition
class SliceAttr(StagingAttr):
    """Elements start, start + step, ... before stop along `axis`."""

    name = "plena.sliced"
    operand: Attribute
    axis: IntegerAttr[I64]
    start: IntegerAttr[I64]
    stop: IntegerAttr[I64]
    step: IntegerAttr[I64]

    def __init__(self, operand: Attribute, axis: int, start: int, stop: int, step: int = 1) -> None:
        super().__init__(operand, *(IntegerAttr(n, i64) for n in (axis, start, stop, step)))


@irdl_attr_definition
class ConcatAttr(StagingAttr):
    """Tensors one behind the other along `axis`."""

    name = "plena.concatenated"
    operands: ArrayAttr
    axis: IntegerAttr[I64]

    def __init__(self, operands: Sequence[Attribute], axis: int) -> None:
        super().__init__(ArrayAttr(operands), IntegerAttr(axis, i64))


@irdl_attr_definition
class ExpandAttr(StagingAttr):
    """Repetition along axes of size 1 and new leading axes, to `shape`."""

    name = "plena.expanded"
    operand: Attribute
    shape: DenseArrayBase[I64]

    def __init__(self, operand: Attribute, shape: Sequence[int]) -> None:
        super().__init__(operand, _integers(shape))


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
        case StagingAttr():
            return type(expression).new([with_symbols(p, meanings) for p in expression.parameters])
        case _:
            return expression


def some_of(stack: Attribute, start: int, stop: int) -> Attribute:
    """Elements `start` to `stop` along the first axis; of a concatenation of single ones, these alone."""
    if isinstance(stack, ConcatAttr) and stack.axis.value.data == 0:
        single = [part for part in stack.operands if isinstance(part, ReshapeAttr)]
        if len(single) == len(stack.operands) and all(part.shape.get_values()[:1] == (1,) for part in single):
            return single[start] if stop - start == 1 else ConcatAttr(single[start:stop], 0)
    return SliceAttr(stack, 0, start, stop)
