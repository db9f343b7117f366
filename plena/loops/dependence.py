"""The one legality predicate of all reorderings, and what each transformation asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, linear_of
from plena.dialects.loop.nests import inner_of_perfect_nest, is_defined_in, largest_value
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import Mode
from plena.loops.diophantine import may_be_zero
from plena.loops.effects import (
    ACCUMULATORS,
    EVERYTHING,
    Effect,
    Effects,
    EffectTable,
    Resource,
)

Distances = Mapping[SSAValue, tuple[int, int]]
"""Loop index -> smallest and largest number of iterations by which the second execution is later."""

PAIR_LIMIT = 20_000
"""Pairs of effects that one question may compare before the answer is the cautious one."""


def may_conflict(a: Effect, b: Effect, distances: Distances | None = None) -> bool:
    """Whether an execution of `a` and one of `b` may touch a common cell, at least one of them writing it.

    The two executions see the same surrounding loop indices and run-time numbers, except that `b` runs later by
    `distances` iterations of the named loops (earlier if negative). Addresses are unsigned and never wrap: two
    rectangles meet where base + row * pitch + column agree.
    """
    if a.resource != b.resource and a.resource is not EVERYTHING and b.resource is not EVERYTHING:
        return False
    if not (a.writes or b.writes):
        return False
    if a.base is None or b.base is None:  # as of what touches everything
        return True
    distances = distances or {}
    constant = a.base.constant - b.base.constant
    variables: list[tuple[int, int, int]] = []
    shared: dict[SSAValue, tuple[int, int]] = {}
    for effect, sign in ((a, 1), (b, -1)):
        inner = dict(effect.inner)
        for value, coefficient in effect.base.terms if effect.base is not None else ():
            if value in inner:
                variables.append((sign * coefficient, 0, inner[value]))
            elif value not in distances and _changes(value, distances):
                variables.append((sign * coefficient, 0, largest_value(value)))
            else:
                of_a, of_b = shared.get(value, (0, 0))
                shared[value] = (of_a + coefficient, of_b) if sign == 1 else (of_a, of_b + coefficient)
    for value, (of_a, of_b) in shared.items():
        variables.append((of_a - of_b, 0, largest_value(value)))
        if value in distances and of_a:  # else the later iteration alone counts, and it is one that exists
            variables.append((-of_b, *distances[value]))
    if a.pitch == b.pitch:
        variables.append((a.pitch, 1 - b.rows, a.rows - 1))
    else:
        variables += [(a.pitch, 0, a.rows - 1), (-b.pitch, 0, b.rows - 1)]
    variables.append((1, 1 - b.width, a.width - 1))
    return may_be_zero(constant, variables)


def _changes(value: SSAValue, distances: Distances) -> bool:
    """Whether a value is computed anew in every iteration of a loop whose iterations differ."""
    return any(isinstance(i.owner, Block) and is_defined_in(value, i.owner) for i in distances)


def conflicting(
    a: Effects,
    b: Effects,
    distances: Distances | None = None,
    ignored: Callable[[], frozenset[Resource]] = frozenset,
) -> bool:
    """Whether any effect of `a` may conflict with any effect of `b`.

    What touches everything conflicts with whatever touches anything. `ignored` gives resources without addresses that
    are left out; it is asked for last, and only if that can matter.
    """
    if (EVERYTHING in a and b) or (EVERYTHING in b and a):
        return True
    pairs = 0
    left_out: frozenset[Resource] | None = None
    for resource, mine in sorted(a.items(), key=lambda item: not _is_addressed(item[0])):
        theirs = b.get(resource)
        if theirs is None or not any(e.writes for e in (*mine, *theirs)):
            continue
        if not _is_addressed(resource):
            left_out = ignored() if left_out is None else left_out
            if resource in left_out:
                continue
        pairs += len(mine) * len(theirs)
        if pairs > PAIR_LIMIT:
            return True
        if any(may_conflict(x, y, distances) for x in mine for y in theirs):
            return True
    return False


@dataclass
class Legality:
    """Answers whether a transformation keeps the meaning of a program: every answer comes from `may_conflict`.

    Effects are remembered: make a new one after changing the program.
    """

    effects: EffectTable

    def can_reorder(self, a: Operation, b: Operation) -> bool:
        """Whether two operations of one block, next to each other, may change places."""
        return not conflicting(self.effects.of(a), self.effects.of(b)) and not _uses(b, a)

    def can_interchange(self, outer: ForOp) -> bool:
        """Whether the two loops of a perfect nest may change places (False for anything else)."""
        return self._may_permute(outer, outer.trips - 1)

    def can_jam(self, outer: ForOp, factor: int) -> bool:
        """Whether the outer loop of a perfect nest may be unrolled by `factor` and jammed into the inner one."""
        return self._may_permute(outer, min(factor, outer.trips) - 1)

    def _may_permute(self, outer: ForOp, furthest: int) -> bool:
        """No iteration of a perfect nest may depend on one up to `furthest` outer iterations earlier whose inner
        iteration is later."""
        inner = inner_of_perfect_nest(outer)
        if inner is None:
            return False
        if furthest < 1 or inner.trips < 2:
            return True
        body = self.effects.of_body(inner)
        distances = {outer.index: (1, furthest), inner.index: (1 - inner.trips, -1)}
        return not conflicting(body, body, distances, lambda: self.private(inner))

    def can_fuse(self, first: ForOp, second: ForOp) -> bool:
        """Whether two loops of equal trip count, nothing but address arithmetic between them, may become one.

        Body i of the second loop then runs before the bodies i + 1, i + 2, ... of the first.
        """
        if first.trips != second.trips or not _adjacent(first, second):
            return False
        if first.trips == 1:
            return True
        mine = self.effects.of_body(first)
        rename = {second.index: first.index}
        theirs = {
            resource: tuple(
                e if e.base is None else replace(e, base=e.base.map_values(rename)) for e in group
            )
            for resource, group in self.effects.of_body(second).items()
        }
        theirs = _separated(theirs, second)
        return not conflicting(
            mine,
            theirs,
            {first.index: (1 - first.trips, -1)},
            lambda: self.private(first) & self.private(second),
        )

    def can_hoist(self, op: Operation, loop: ForOp) -> bool:
        """Whether an operation directly in a loop body does the same before the loop, once.

        Its operands must not change in the loop, nothing else in the loop may write what it reads or writes, nothing
        before it in the body may read what it writes, and it must not read what it writes.
        """
        body = loop.body.block
        if op.parent is not body or op.regions:
            return False
        if any(_depends_on(operand, loop) for operand in op.operands):
            return False
        if isinstance(op, AffineOp):
            return True
        if not isinstance(op, Instruction):
            return False
        own = self.effects.of(op)
        distances = {loop.index: (1 - loop.trips, loop.trips - 1)}
        writes = _only(own, Mode.WRITE)
        if conflicting(_only(own, Mode.READ), writes):
            return False
        before = True
        for other in loop.operations:
            if other is op:
                before = False
                continue
            theirs = self.effects.of(other)
            if EVERYTHING not in own and EVERYTHING not in theirs and theirs.keys().isdisjoint(own):
                continue
            if conflicting(_only(theirs, Mode.WRITE), own, distances):
                return False
            if before and conflicting(theirs, writes, distances):
                return False
        return True

    def private(self, loop: ForOp) -> frozenset[Resource]:
        """Cells and accumulators through which no value passes from one iteration of a loop to another.

        Such a cell is written before it is read in every iteration; such an accumulator is zero when the loop
        begins and its last touch in the body is its write-out.
        """
        operations = loop.operations
        touched = self.effects.of_body(loop)
        if EVERYTHING in touched:
            return frozenset()
        result: set[Resource] = {
            resource
            for resource, mode in self.effects.first_touches(operations).items()
            if mode is Mode.WRITE and not _is_addressed(resource)
        }
        for accumulator in ACCUMULATORS:
            if accumulator not in touched or not self._leaves_clear(reversed(operations), accumulator):
                continue
            if self.is_clear_before(loop, accumulator):
                result.add(accumulator)
        return frozenset(result)

    def _leaves_clear(self, backwards: Iterable[Operation], accumulator: Resource) -> bool | None:
        """Whether the last touch of an accumulator clears it; None when nothing touches it."""
        for op in backwards:
            if isinstance(op, ForOp):
                inside = self._leaves_clear(reversed(op.operations), accumulator)
                if inside is not None:
                    return inside
            elif isinstance(op, Instruction) and accumulator in self.effects.of(op):
                return accumulator in op.SPEC.clears
            elif EVERYTHING in self.effects.of(op):
                return False
        return None

    def is_clear_before(self, op: Operation, accumulator: Resource) -> bool:
        """Whether an accumulator is certainly zero whenever `op` begins."""
        before = self._leaves_clear(_earlier(op), accumulator)
        if before is not None:
            return before
        around = op.parent_op()
        if isinstance(around, ForOp):
            again = self._leaves_clear(reversed(around.operations), accumulator)
            return again is not False and self.is_clear_before(around, accumulator)
        return isinstance(around, ModuleOp)


def _earlier(op: Operation) -> Iterator[Operation]:
    """What stands before an operation in its block, the last one first."""
    previous = op.prev_op
    while previous is not None:
        yield previous
        previous = previous.prev_op


def _is_addressed(resource: Resource) -> bool:
    return bool(getattr(resource, "is_addressed", False))


def _only(effects: Effects, mode: Mode) -> Effects:
    """The effects of one mode; what only has the other mode is dropped."""
    chosen = {r: tuple(replace(e, mode=mode) for e in g if mode in e.mode) for r, g in effects.items()}
    return {r: g for r, g in chosen.items() if g}


def _separated(effects: Effects, loop: ForOp) -> Effects:
    """Numbers loaded in a loop body as values of the execution: the other loop does not share them."""
    body = loop.body.block

    def inner(e: Effect) -> tuple[tuple[SSAValue, int], ...]:
        if e.base is None:
            return e.inner
        known = {v for v, _ in e.inner}
        loaded = [v for v, _ in e.base.terms if v not in known and is_defined_in(v, body)]
        return (*e.inner, *((v, largest_value(v)) for v in loaded))

    return {r: tuple(replace(e, inner=inner(e)) for e in g) for r, g in effects.items()}


def _adjacent(first: ForOp, second: ForOp) -> bool:
    following = first.next_op
    while isinstance(following, AffineOp):
        following = following.next_op
    return following is second


def _depends_on(value: SSAValue, loop: ForOp) -> bool:
    """Whether a value can differ between iterations of a loop."""
    owner = value.owner
    if isinstance(owner, AffineOp):
        return any(is_defined_in(v, loop.body.block) for v, _ in linear_of(value).terms)
    return is_defined_in(value, loop.body.block)


def _uses(user: Operation, definition: Operation) -> bool:
    """Whether an operation, or one inside it, needs a number that `definition` yields."""
    if not definition.results:
        return False
    results = set(definition.results)
    for op in user.walk():
        for operand in op.operands:
            if operand in results or any(v in results for v, _ in _terms(operand)):
                return True
    return False


def _terms(value: SSAValue) -> tuple[tuple[SSAValue, int], ...]:
    return linear_of(value).terms if isinstance(value.owner, AffineOp) else ()


__all__ = ["Distances", "Legality", "conflicting", "may_conflict"]
