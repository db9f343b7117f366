"""What an attention mask allows: bands around the diagonal, padded keys, and the rest.

Masks are taken apart by rules, each a case of the functions `boolean_terms` (true takes part),
`negated_terms` and `additive_terms` (added to the scores); a mask is the conjunction of its terms. What hides keys
keeps the number it does so by: rows in which every key is hidden depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isinf

from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import BlockArgument, SSAValue

from plena.dialects import aten
from plena.dialects.aten import full_value
from plena.dialects.plena import BandAttr
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import is_boolean, shape_of
from plena.tensor.host_values import HostValues
from plena.tensor.layout_maps import LayoutMap
from plena.tensor.staged_tests import (
    BITS,
    IS_ZERO,
    Test,
    comparison_of,
    is_argument,
    is_bits,
    is_only_tested,
    negation,
    on_bits,
)

_MASKED = -1e4
"""Additive numbers from here down mean "does not take part" (see plena.frontend.bands)."""


@dataclass(frozen=True)
class Allowed:
    """Keys take part where `base` is true after the host's `tests`; `layout` views it in the scores' shape."""

    base: SSAValue
    layout: LayoutMap
    tests: tuple[Test, ...] = ()


@dataclass(frozen=True)
class Added:
    """`base` is added to the scores; `layout` views it in the scores' shape."""

    base: SSAValue
    layout: LayoutMap


@dataclass(frozen=True)
class Fill:
    """The number that masks put in place of scores, or that they add to them.

    Attributes:
        number: minus infinity, or a number of at most -1e4.
        at: what has it for elements; masks of one fill have the same, and `again` too.
        adds: whether it is added to the scores, which a small number does not make vanish.
        covers: whether it takes the place of what masks further inside have put.
        again: how often it was added before.
    """

    number: float
    at: SSAValue
    adds: bool = True
    covers: bool = False
    again: int = 0

    @property
    def place(self) -> tuple[SSAValue, int]:
        """What masks that hide a key together, and once, have in common."""
        return self.at, self.again


@dataclass(frozen=True)
class Hides:
    """A mask that hides keys by a number."""

    mask: BandAttr | Allowed
    fill: Fill


Condition = BandAttr | Allowed
"""What a boolean is made of."""

Term = Hides | Added
"""What an additive mask is made of."""


def hiding(tests: list[Condition], fill: Fill) -> list[Term]:
    """The tests, failing which a key is hidden by `fill`."""
    return [Hides(test, fill) for test in tests]


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


def boolean_terms(mask: SSAValue, sight: Sight) -> list[Condition]:
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
        case aten.LogicalNotOp():
            return _or_itself(negated_terms(op.input, sight), mask, sight)
        case aten.ToOp() | aten.CompareOp():
            return _or_itself(_tested_terms(op, sight, negated=False), mask, sight)
        case _:
            return [Allowed(mask, sight.layout(mask))]


def negated_terms(mask: SSAValue, sight: Sight) -> list[Condition] | None:
    """The conjunction that `not mask` stands for, None if there is no rule."""
    op = mask.owner
    match op:
        case aten.FullOp() if full_value(mask) == 0:
            return []
        case aten.LogicalNotOp():
            return boolean_terms(op.input, sight)
        case aten.ToOp() | aten.CompareOp():
            terms = _tested_terms(op, sight, negated=True)
            return _hosted_negation(mask, sight) if terms is None else terms
        case aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return negated_terms(op.input, sight.through(op))
        case _ if isinstance(mask, BlockArgument) or isinstance(op, aten.ConstantOp):
            return [Allowed(mask, sight.layout(mask), (IS_ZERO,))]
        case _:
            return _hosted_negation(mask, sight)


def _hosted_negation(mask: SSAValue, sight: Sight) -> list[Condition] | None:
    """The negation of a mask that the host computes."""
    if not is_boolean(mask) or HostValues().of(mask) is None:
        return None
    return [Allowed(mask, sight.layout(mask), (IS_ZERO,))]


def additive_terms(mask: SSAValue, sight: Sight) -> list[Term]:
    """The terms that an additive mask stands for."""
    op = mask.owner
    match op:
        case aten.FullOp() if full_value(mask) == 0:
            return []
        case aten.ConstantOp(band=BandAttr() as band, fill=FloatAttr() as fill) if _keeps_plane(mask, sight):
            return [Hides(band, Fill(fill.value.data, mask))]
        case aten.AddOp():
            operands = (op.input, op.other)
            parts = [additive_terms(x, sight.broadcast(x, op.result)) for x in operands]
            return together(*parts)
        case aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return additive_terms(op.input, sight.through(op))
        case aten.WhereOp():
            terms = _chosen_terms(op, sight)
            return [Added(mask, sight.layout(mask))] if terms is None else terms
        case aten.MulOp():
            terms = _scaled_terms(op, sight)
            return [Added(mask, sight.layout(mask))] if terms is None else terms
        case _:
            return [Added(mask, sight.layout(mask))]


def together(inner: list[Term], outer: list[Term]) -> list[Term]:
    """The terms of a sum: neither side covers what the other puts, and what both have is added twice."""
    before = [term.fill for term in inner if isinstance(term, Hides)]

    def times(fill: Fill) -> int:
        return fill.again + 1 + max((f.again for f in before if f.at == fill.at), default=-1)

    outer = [
        replace(term, fill=replace(term.fill, again=times(term.fill))) if isinstance(term, Hides) else term
        for term in outer
    ]
    if inner and len({term.fill.place for term in outer if isinstance(term, Hides)}) == 1:
        outer = [
            replace(term, fill=replace(term.fill, covers=False)) if isinstance(term, Hides) else term
            for term in outer
        ]
    return [*inner, *outer]


def _tested_terms(op: aten.ToOp | aten.CompareOp, sight: Sight, *, negated: bool) -> list[Condition] | None:
    """What a boolean made of numbers stands for: of zeros and ones, or of an argument that the host compares."""
    comparison = comparison_of(op)
    if comparison is None:
        return None
    value, test = comparison
    sight = sight.broadcast(value, op.result)
    if not is_bits(value) and is_argument(value) and not is_only_tested(value):
        raise refusal(
            op,
            "a real argument is compared and used for something else too: its number format rounds it, so that the "
            "comparison would be of other numbers",
            "Give the mask as an argument of its own.",
        )
    match on_bits(test) if is_bits(value) else None:
        case (False, True):
            return bit_terms(value, sight, negated=negated)
        case (True, False):
            return bit_terms(value, sight, negated=not negated)
        case (True, True) if not negated:
            return []
        case None:
            return _compared_terms(value, negation(test, value) if negated else test, sight)
        case _:
            return None


def _compared_terms(value: SSAValue, test: Test | None, sight: Sight) -> list[Condition] | None:
    op = value.owner
    match op:
        case _ if test is None:
            return None
        case aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return _compared_terms(op.input, test, sight.through(op))
        case aten.ToOp():
            return _compared_terms(op.input, test, sight)
        case _ if isinstance(value, BlockArgument):
            return [Allowed(value, sight.layout(value), (test,))]
        case _:
            return None


def bit_terms(value: SSAValue, sight: Sight, *, negated: bool = False) -> list[Condition] | None:
    """What numbers that are 0 and 1, or have to be (see `is_bits`), stand for where they are 1, or 0 if `negated`."""
    op = value.owner
    match op:
        case _ if is_boolean(value):
            return negated_terms(value, sight) if negated else boolean_terms(value, sight)
        case aten.ViewOp() | aten.ExpandOp() | aten.PermuteOp():
            return bit_terms(op.input, sight.through(op), negated=negated)
        case aten.ToOp():
            return bit_terms(op.input, sight, negated=negated)
        case aten.SubOp() if full_value(op.input) == 1.0:
            return bit_terms(op.other, sight.broadcast(op.other, op.result), negated=not negated)
        case _ if isinstance(value, BlockArgument):
            return [Allowed(value, sight.layout(value), (BITS, IS_ZERO) if negated else (BITS,))]
        case _:
            return None


def _or_itself(terms: list[Condition] | None, mask: SSAValue, sight: Sight) -> list[Condition]:
    return [Allowed(mask, sight.layout(mask))] if terms is None else terms


def _chosen_terms(op: aten.WhereOp, sight: Sight) -> list[Term] | None:
    """where(c, x, -inf) with any additive x, where(c, -inf, x), where(c, 1 - m, -inf) with c the same as
    m."""
    condition = sight.broadcast(op.condition, op.result)
    if (number := masking_number(op.other)) is not None:
        terms, fill = boolean_terms(op.condition, condition), Fill(number, op.result, covers=True)
        inner = sight.broadcast(op.input, op.result)
        same = isinstance(op.input.owner, aten.SubOp) and bit_terms(op.input, inner, negated=True) == terms
        return [*([] if same else additive_terms(op.input, inner)), *hiding(terms, fill)]
    if (number := masking_number(op.input)) is not None:
        allowed, fill = negated_terms(op.condition, condition), Fill(number, op.result, covers=True)
        inner = sight.broadcast(op.other, op.result)
        return None if allowed is None else [*additive_terms(op.other, inner), *hiding(allowed, fill)]
    return None


def _scaled_terms(op: aten.MulOp, sight: Sight) -> list[Term] | None:
    """(1 - m) * -10000, or m * -10000 for a mask of what takes no part, and the like."""
    for factor, value in ((op.input, op.other), (op.other, op.input)):
        number = masking_number(value)
        if number is not None and not isinf(number):
            tests = bit_terms(factor, sight.broadcast(factor, op.result), negated=True)
            return None if tests is None else hiding(tests, Fill(number, op.result))
    return None


def masking_number(value: SSAValue) -> float | None:
    """The number that the value is if it is so low that it masks."""
    number = full_value(value)
    return number if number is not None and number <= _MASKED else None


def _keeps_plane(constant: SSAValue, sight: Sight) -> bool:
    """Whether the last two axes of a constant are the queries and keys of the scores."""
    start = LayoutMap.of(shape_of(constant))
    try:
        seen = sight.layout(constant)
    except Opaque:
        return False
    return len(seen.axes) >= 2 and seen.factors == start.factors and seen.axes[-2:] == start.axes[-2:]
