"""Tests of numbers that the host makes while it stages an argument, and what they say of zeros and ones.

Nothing is assumed of the values of an argument: a model that compares it gets the comparison, and a model that computes
with it as with a mask, as in `1 - m`, gets a program that refuses other values than 0 and 1 when they are staged.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.builtin import Float32Type, IntegerType
from xdsl.ir import BlockArgument, SSAValue

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import element_type_of, is_boolean
from plena.tensor.emission import Emitter
from plena.tensor.ranges import range_of
from plena.tensor.tracing import LAYOUT_OPS

_PREDICATES: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_NEGATED = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}
_TURNED = {"eq": "eq", "ne": "ne", "lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}
_EXACT = 2.0**24
"""Integers below are themselves as float32."""


_MOVES = (aten.ToOp, *LAYOUT_OPS)


@dataclass(frozen=True)
class Test:
    """An element is `predicate` `number`; or "bits": it is 1, and nothing but 0 and 1 is let through."""

    predicate: str
    number: float = 0.0


BITS = Test("bits")
IS_ZERO = Test("eq", 0.0)
IS_TRUE = Test("ne", 0.0)


def comparison_of(op: aten.CompareOp | aten.ToOp) -> tuple[SSAValue, Test] | None:
    """What a boolean of one tensor and a number compares, None for other comparisons."""
    if isinstance(op, aten.ToOp):
        return (op.input, IS_TRUE) if is_boolean(op.result) else None
    predicate = op.predicate.data
    value, number = op.input, full_value(op.other)
    if number is None:
        value, number, predicate = op.other, full_value(op.input), _TURNED[predicate]
    if number is None or (not is_boolean(value) and abs(number) >= _EXACT):
        return None
    return value, Test(predicate, number)


def on_bits(test: Test) -> tuple[bool, bool]:
    """The test of 0 and of 1."""
    predicate = _PREDICATES[test.predicate]
    return predicate(0.0, test.number), predicate(1.0, test.number)


def negation(test: Test, value: SSAValue) -> Test | None:
    """The test that is true where this one is false; of numbers that may be NaN there is none for an order."""
    if test.predicate in ("eq", "ne") or isinstance(element_type_of(value), IntegerType):
        return Test(_NEGATED[test.predicate], test.number)
    return None


def is_bits(value: SSAValue) -> bool:
    """Whether numbers are booleans, or 1 - m where m is a mask: there an argument m has to hold zeros and ones."""
    op = value.owner
    match op:
        case _ if is_boolean(value) or range_of(value).is_bits:
            return True
        case aten.ToOp() | aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return is_bits(op.input)
        case aten.SubOp() if full_value(op.input) == 1.0:
            return is_bits(op.other) or isinstance(_source(op.other), BlockArgument)
        case _:
            return False


def is_choice(value: SSAValue) -> bool:
    """Whether the machine has real numbers of which each is known to be 0 or 1."""
    converted = not isinstance(value.owner, aten.AtenOp) or full_value(value) is not None
    return converted and isinstance(element_type_of(value), Float32Type) and range_of(value).is_bits


def _source(value: SSAValue) -> SSAValue:
    while isinstance(op := value.owner, _MOVES):
        value = op.input
    return value


def is_argument(value: SSAValue) -> bool:
    """Whether the host has the elements: an argument, or a view or another element type of one."""
    return isinstance(_source(value), BlockArgument)


def is_only_tested(value: SSAValue) -> bool:
    """Whether an argument's elements reach the machine exactly or not at all: integers, or real ones that are only
    compared. The number format rounds others, and what is decided by the number should be decided by the rounded one.
    """
    argument = _source(value)
    return not isinstance(element_type_of(argument), Float32Type) or _feeds_tests(argument)


def _feeds_tests(value: SSAValue) -> bool:
    for use in value.uses:
        user = use.operation
        if isinstance(user, aten.CompareOp | plena.StagedTestOp | plena.HostOp):
            continue  # The host computes with the numbers as they are.
        moved = isinstance(user, _MOVES) and (is_boolean(user.result) or _feeds_tests(user.result))
        if not moved:
            return False
    return True


def emit_test(e: Emitter, value: SSAValue, test: Test) -> SSAValue:
    """The boolean of a test that the host makes."""
    if test == BITS:
        return e.add(plena.BitOp(value))
    return e.add(plena.CompareOp(test.predicate, value, test.number))
