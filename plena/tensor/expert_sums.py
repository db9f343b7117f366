"""Sums over all experts that a model writes out: one behind the other in a loop, or as an axis of its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint

from plena.dialects import aten
from plena.dialects.plena import ExpertsOp, RouteOp
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.aten_emission import Emission, with_location
from plena.tensor.expert_numbers import numbers_of, without_truths
from plena.tensor.expert_parts import Part
from plena.tensor.one_expert import NotAlikeError, OneExpert, is_zero

Term = tuple[Part, ...]
"""A part of a sum: one part, or two of which it is the product or, where a choice is said, whether and what."""


@dataclass(frozen=True)
class Sum:
    """A sum over experts.

    Attributes:
        terms: one for each expert.
        choice: whether of each pair the first says whether the expert is chosen.
        rest: what is added beside them.
    """

    terms: list[Term]
    choice: bool = False
    rest: tuple[SSAValue, ...] = ()


class SumsOverExperts:
    """The sums over the experts of a choice, by what stands behind it in its block."""

    def __init__(self, route: RouteOp) -> None:
        self.route = route
        self.experts = shape_of(route.result)[1]
        self.behind: list[Operation] = []
        op = route.next_op
        while op is not None:
            self.behind.append(op)
            op = op.next_op
        self.numbers = numbers_of(route, self.behind)
        self.depends: set[SSAValue] = set()
        for op in self.behind:
            if isinstance(op, ExpertsOp):
                continue
            if any(x in self.depends or x in self.numbers for x in op.operands):
                self.depends.update(value for value in op.results if value not in self.numbers)

    def replace(self) -> None:
        """Makes plena.experts of each sum that can be one."""
        for op in reversed(self.behind):
            if op.parent and len(op.results) == 1 and op.results[0] in self.depends:
                found = self._sum(op)
                if found is not None and self._replace(op, found):
                    _erase_unused(op)

    # Which sums there are.

    def _sum(self, op: Operation) -> Sum | None:
        match op:
            case aten.SumOp() if len(op.dim) == 1:
                (axis,) = op.dim.get_values()
                if shape_of(op.input)[axis] != self.experts:
                    return None
                return Sum([(Part(op.input, axis, e),) for e in range(self.experts)])
            case aten.MatmulOp():
                return self._contraction(op)
            case aten.AddOp():
                return self._added(op)
            case aten.WhereOp():
                return self._chosen(op)
            case _:
                return None

    def _contraction(self, op: aten.MatmulOp) -> Sum | None:
        """A product whose reduction is over the experts, of a row or with a column for each token."""
        one, other = shape_of(op.input), shape_of(op.other)
        axis = len(one) - 1
        if len(one) != len(other) or axis < 2 or one[axis] != self.experts or 1 not in (one[-2], other[-1]):
            return None
        return Sum([(Part(op.input, axis, e), Part(op.other, axis - 1, e)) for e in range(self.experts)])

    def _added(self, op: aten.AddOp) -> Sum | None:
        """Terms that are added up one by one, and others with them."""
        terms: dict[int, Term] = {}
        rest: list[SSAValue] = []
        for leaf in _leaves(op):
            expert = self._expert_of(leaf) if leaf in self.depends else None
            if expert in terms:
                return None
            if expert is None:
                rest.append(leaf)
            else:
                terms[expert] = (Part(leaf),)
        if len(terms) != self.experts:
            return None
        return Sum([terms[e] for e in range(self.experts)], rest=tuple(v for v in rest if not is_zero(v)))

    def _chosen(self, op: aten.WhereOp) -> Sum | None:
        """What experts compute put where they are chosen, one after the other, of one expert for each token."""
        terms: dict[int, Term] = {}
        value = op.result
        while isinstance(inner := value.owner, aten.WhereOp):
            condition = without_truths(inner.condition)
            expert = self._expert_of(condition) if condition in self.depends else None
            if expert is None or expert in terms:
                return None
            terms[expert] = (Part(condition), Part(inner.input))
            value = inner.other
        if len(terms) != self.experts or self.route.k.value.data != 1:
            return None
        return Sum([terms[e] for e in range(self.experts)], choice=True)

    def _expert_of(self, value: SSAValue) -> int | None:
        """The one expert whose column of numbers a value depends on; None if it does so on others too."""
        found: set[int] = set()
        seen: set[SSAValue] = set()
        waiting = [value]
        while waiting:
            op = waiting.pop().owner
            assert isinstance(op, Operation)
            for operand in op.operands:
                if operand in self.numbers:
                    if isinstance(op, aten.SliceOp) and shape_of(op.result)[-1] == 1:
                        found.add(op.start.value.data)
                elif operand in self.depends and operand not in seen:
                    seen.add(operand)
                    waiting.append(operand)
        return found.pop() if len(found) == 1 else None

    # What becomes of them.

    def _replace(self, op: Operation, found: Sum) -> bool:
        """Puts plena.experts in the place of a sum; whether experts compute alike."""
        (result,) = op.results
        emission = Emission(Builder(InsertPoint.before(op)))
        with_location(emission, op)
        before = op.prev_op
        body = OneExpert(self.route, self.numbers, emission)
        try:
            total = body.summed(_value(body, found, result))
        except NotAlikeError:
            total = None
        body.discard()
        if total is None:
            while (last := op.prev_op) is not None and last is not before:
                last.detach()
                last.erase(safe_erase=False)
            return False
        total = emission.view(total, shape_of(result))
        for value in reversed(found.rest):
            total = emission.add(aten.AddOp, [value, total], shape_of(result), like=result)
        result.replace_all_uses_with(total)
        return True


def _value(body: OneExpert, found: Sum, result: SSAValue) -> SSAValue:
    """What one expert adds to the sum."""
    first = found.terms[0]
    if found.choice:
        return body.chosen([(term[0], term[1]) for term in found.terms], shape_of(result))
    if len(first) == 1:
        return body.of(tuple(term[0] for term in found.terms))
    one, other = (body.of(tuple(term[n] for term in found.terms)) for n in (0, 1))
    shapes = [part.shape for part in first]
    return body.product(one, other, tuple(max(sizes) for sizes in zip(*shapes, strict=True)))


def _leaves(op: aten.AddOp) -> Iterator[SSAValue]:
    """What is added up, in order; sums that something else reads too are leaves."""
    waiting = [*reversed(op.operands)]
    while waiting:
        value = waiting.pop()
        inner = value.owner
        single = value.has_one_use() and shape_of(value) == shape_of(op.result)
        if isinstance(inner, aten.AddOp) and single:
            waiting.extend(reversed(inner.operands))
        else:
            yield value


def _erase_unused(op: Operation) -> None:
    """Erases an operation that nothing reads, and what it alone has read."""
    waiting = [op]
    while waiting:
        op = waiting.pop()
        if op.parent is None or any(result.first_use for result in op.results):
            continue
        behind = [operand.owner for operand in op.operands]
        op.detach()
        op.erase()
        waiting.extend(inner for inner in behind if isinstance(inner, aten.AtenOp) and inner.results)
