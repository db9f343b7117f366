"""What an attention mask allows: bands around the diagonal, padded keys, and the rest.

Masks are taken apart by rules, each a case of the functions `boolean_terms` (true takes part),
`negated_terms` and `additive_terms` (added to the scores); a mask is the conjunction of its terms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import BlockArgument, SSAValue

from plena.dialects import aten
from plena.dialects.aten import full_value
from plena.dialects.plena import BandAttr
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.layout_maps import LayoutMap

_MASKED = -1e4
"""Additive numbers from here down mean "does not take part" (see plena.frontend.bands)."""


@dataclass(frozen=True)
class Allowed:
    """Keys take part where `base` is not zero (or false), with `inverted` where it is.

    `layout` views it in the scores' shape.
    """

    base: SSAValue
    layout: LayoutMap
    inverted: bool = False


@dataclass(frozen=True)
class Added:
    """`base` is added to the scores; `layout` views it in the scores' shape."""

    base: SSAValue
    layout: LayoutMap


Term = BandAttr | Allowed | Added


class Opaque(Exception):
    """A mask whose elements move in a way that no layout map expresses."""


@dataclass(frozen=True)
class Sight:
    """The way from a value to the scores: how the layout of the value becomes the layout of the mask."""

    steps: tuple[Callable[[LayoutMap], LayoutMap | None], ...] = ()

    def before(self, step: Callable[[LayoutMap], LayoutMap | None]) -> Sight:
        """The way with one more step at its start."""
        return Sight((step, *self.steps))

    def broadcast(self, operand: SSAValue, result: SSAValue) -> Sight:
        """The way that starts at an operand broadcast by an elementwise op."""
        shape = shape_of(result)
        return self if shape_of(operand) == shape else self.before(lambda layout: layout.expanded(shape))

    def through(self, op: aten.ViewOp | aten.ExpandOp | aten.PermuteOp) -> Sight:
        """The way that starts at the input of an op that moves elements."""
        shape = shape_of(op.result)
        match op:
            case aten.ViewOp():
                return self.before(lambda layout: layout.reshaped(shape))
            case aten.ExpandOp():
                return self.before(lambda layout: layout.expanded(shape))
            case aten.PermuteOp():
                dims = op.dims.get_values()
                return self.before(lambda layout: layout.permuted(dims))

    def layout(self, value: SSAValue) -> LayoutMap:
        """The value as the scores see it."""
        layout: LayoutMap | None = LayoutMap.of(shape_of(value))
        for step in self.steps:
            layout = None if layout is None else step(layout)
        if layout is None:
            raise Opaque
        return layout


def boolean_terms(mask: SSAValue, sight: Sight) -> list[Term]:
    """The conjunction that a boolean, or a 0/1 number, stands for."""
    op = mask.owner
    match op:
        case aten.FullOp() if full_value(mask) != 0:
            return []
        case aten.ConstantOp(band=BandAttr() as band) if _keeps_plane(mask, sight):
            return [band]
        case aten.LogicalAndOp():
            operands = (op.input, op.other)
            return [t for x in operands for t in boolean_terms(x, sight.broadcast(x, op.result))]
        case aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return boolean_terms(op.input, sight.through(op))
        case aten.ToOp():
            return boolean_terms(op.input, sight)
        case aten.LogicalNotOp():
            return _or_itself(negated_terms(op.input, sight), mask, sight)
        case aten.CompareOp() if is_nonzero_test(op):
            return boolean_terms(op.input, sight.broadcast(op.input, op.result))
        case aten.CompareOp() if is_zero_test(op):
            return _or_itself(negated_terms(op.input, sight.broadcast(op.input, op.result)), mask, sight)
        case _:
            return [Allowed(mask, sight.layout(mask))]


def negated_terms(mask: SSAValue, sight: Sight) -> list[Term] | None:
    """The conjunction that `not mask` stands for, None if there is no rule."""
    op = mask.owner
    match op:
        case aten.FullOp() if full_value(mask) == 0:
            return []
        case aten.LogicalNotOp():
            return boolean_terms(op.input, sight)
        case aten.CompareOp() if is_zero_test(op):
            return boolean_terms(op.input, sight.broadcast(op.input, op.result))
        case aten.CompareOp() if is_nonzero_test(op):
            return negated_terms(op.input, sight.broadcast(op.input, op.result))
        case aten.ToOp():
            return negated_terms(op.input, sight)
        case aten.SubOp() if full_value(op.input) == 1.0 and holds_zero_one(op.other, staged=True):
            return boolean_terms(op.other, sight.broadcast(op.other, op.result))
        case aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return negated_terms(op.input, sight.through(op))
        case _ if isinstance(mask, BlockArgument) or isinstance(op, aten.ConstantOp):
            return [Allowed(mask, sight.layout(mask), inverted=True)]
        case _:
            return None


def additive_terms(mask: SSAValue, sight: Sight) -> list[Term]:
    """The terms that an additive mask stands for."""
    op = mask.owner
    match op:
        case aten.FullOp() if full_value(mask) == 0:
            return []
        case aten.ConstantOp(band=BandAttr() as band) if _keeps_plane(mask, sight):
            return [band]
        case aten.AddOp():
            operands = (op.input, op.other)
            return [t for x in operands for t in additive_terms(x, sight.broadcast(x, op.result))]
        case aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return additive_terms(op.input, sight.through(op))
        case aten.WhereOp():
            return _or_itself(_chosen_terms(op, sight), mask, sight, Added)
        case aten.MulOp():
            return _or_itself(_scaled_terms(op, sight), mask, sight, Added)
        case _:
            return [Added(mask, sight.layout(mask))]


_Test = tuple[str, float | None]
_NONZERO: set[_Test] = {("ne", 0.0), ("gt", 0.0), ("ge", 1.0), ("eq", 1.0), ("gt", 0.5), ("ge", 0.5)}
_ZERO: set[_Test] = {("eq", 0.0), ("le", 0.0), ("lt", 1.0), ("ne", 1.0), ("lt", 0.5), ("le", 0.5)}
"""Comparisons with a number that tell 0 from 1; masks hold nothing else."""


def is_nonzero_test(op: aten.CompareOp) -> bool:
    """Whether a comparison of a 0/1 mask with a number says that it is 1."""
    test = (op.predicate.data, full_value(op.other))
    return test == ("ne", 0.0) or (test in _NONZERO and holds_zero_one(op.input))


def is_zero_test(op: aten.CompareOp) -> bool:
    """Whether a comparison of a 0/1 mask with a number says that it is 0."""
    test = (op.predicate.data, full_value(op.other))
    return test == ("eq", 0.0) or (test in _ZERO and holds_zero_one(op.input))


def holds_zero_one(value: SSAValue, *, staged: bool = False) -> bool:
    """Whether a value is an integer or boolean mask, maybe as numbers or in another shape.

    With `staged` also real arguments count: a model that masks by 1 - m has a mask in m.
    """
    while isinstance(value.owner, aten.ToOp | aten.ViewOp | aten.ExpandOp | aten.PermuteOp):
        value = value.owner.input
    return isinstance(element_type_of(value), IntegerType) or (staged and isinstance(value, BlockArgument))


def _or_itself(
    terms: list[Term] | None, mask: SSAValue, sight: Sight, kind: type[Allowed | Added] = Allowed
) -> list[Term]:
    return [kind(mask, sight.layout(mask))] if terms is None else terms


def _chosen_terms(op: aten.WhereOp, sight: Sight) -> list[Term] | None:
    """where(c, x, -inf) with any additive x, where(c, -inf, x), where(c, 1 - m, -inf) with c the same as
    m."""
    condition = sight.broadcast(op.condition, op.result)
    if is_masking_number(op.other):
        terms = boolean_terms(op.condition, condition)
        inner = sight.broadcast(op.input, op.result)
        same = isinstance(op.input.owner, aten.SubOp) and negated_terms(op.input, inner) == terms
        return terms if same else terms + additive_terms(op.input, inner)
    if is_masking_number(op.input):
        allowed = negated_terms(op.condition, condition)
        inner = sight.broadcast(op.other, op.result)
        return None if allowed is None else allowed + additive_terms(op.other, inner)
    return None


def _scaled_terms(op: aten.MulOp, sight: Sight) -> list[Term] | None:
    """(1 - m) * -10000, or m * -10000 for a mask of what takes no part, and the like."""
    for factor, number in ((op.input, op.other), (op.other, op.input)):
        if is_masking_number(number):
            return negated_terms(factor, sight.broadcast(factor, op.result))
    return None


def is_masking_number(value: SSAValue) -> bool:
    """Whether the value is a number so low that it masks."""
    number = full_value(value)
    return number is not None and number <= _MASKED


def _keeps_plane(constant: SSAValue, sight: Sight) -> bool:
    """Whether the last two axes of a constant are the queries and keys of the scores."""
    start = LayoutMap.of(shape_of(constant))
    try:
        seen = sight.layout(constant)
    except Opaque:
        return False
    return len(seen.axes) >= 2 and seen.factors == start.factors and seen.axes[-2:] == start.axes[-2:]
