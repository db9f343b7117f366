"""The search: frontiers of (static size, cycles) bottom-up over the loop tree, then the best point."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial

import numpy as np

from plena.loops.selection.choices import (
    LONGEST_BODY,
    Choice,
    Context,
    Machine,
    Option,
    expanded,
    straight_cost,
    straight_options,
    unrolled,
)
from plena.loops.selection.frontier import Frontier, Ints
from plena.loops.selection.tree import Loop, Part, Step


@dataclass(frozen=True)
class Nesting:
    """Whether the loops of a perfect nest may change places, and by which factors the outer one may be jammed."""

    permutable: bool
    jammable: tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """A whole program: its predicted costs, and what happens to its loops.

    Of thousands of points one is carried out: `traced` gives its choices, which are found when they are asked for.
    """

    static: int
    cycles: int
    dynamic: int
    traced: Callable[[], tuple[Choice, ...]] = field(repr=False, compare=False)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """One for each outermost loop, in order."""
        return self.traced()


@dataclass
class Search:
    """Optimal choices for a loop tree under a machine's cost model.

    The cost of a body is the sum of the costs of its parts, straight code and loops; that of a loop whose body is
    all straight code is asked of the address cost model as a whole. Exact: no combination that is cheaper by this
    model is missed, unless a frontier grows beyond MOST_POINTS.
    """

    machine: Machine
    nesting: Callable[[Loop], Nesting]
    budget: int | None = None
    known: dict[object, list[Option]] = field(default_factory=dict[object, list[Option]])

    def frontier(self, parts: Sequence[Part]) -> list[Point]:
        """The programs that are best for their size, smallest first; empty when none fits the budget."""
        body = self._body(parts, Context(), self.budget, watched=False)
        if body is None:
            return []
        return [
            Point(*cost, partial(body.choices, place))
            for place, cost in enumerate(zip(*body.columns(), strict=True))
        ]

    def kept(self, parts: Sequence[Part], context: Context | None = None) -> tuple[int, int, int] | None:
        """Static instructions, cycles and dynamic instructions with every loop as it is, whatever the watchdog says."""
        context = context or Context()
        machine = replace(self.machine, limit=1 << 60)
        costs: list[tuple[int, int, int]] = []
        for part in parts:
            if not isinstance(part, Loop):
                cost = straight_cost(machine, part.straight, context)
            elif part.loops or part.expanded_length() > LONGEST_BODY:
                cost = self.kept(part.parts, context.inside(part))
                cost = cost and _cost_around(machine, part, 1, cost)
            else:
                option = unrolled(machine, part, 1, context) or expanded(machine, part, context)
                cost = option and (option.static, option.cycles, option.dynamic)
            if cost is None:
                return None
            costs.append(cost)
        static, cycles, dynamic = zip(*costs, strict=True) if costs else ((), (), ())
        return sum(static), sum(cycles), sum(dynamic)

    def options(self, loop: Loop, context: Context, *, watched: bool) -> list[Option]:
        """Every way to treat a loop that is not worse than another one in everything."""
        nesting = self.nesting(loop) if loop.inner is not None else Nesting(False, ())
        found = list(self._straight(loop, context, nesting))
        inside = context.inside(loop)
        if loop.loops or loop.expanded_length() > LONGEST_BODY:
            body = self._body(loop.parts, inside, self.budget, watched=watched)
            if body is not None:
                found += self._around(loop, body)
        points = [(o.static, o.cycles, o.dynamic) for o in found]
        kept = Frontier.of_points(points, watched=watched).source[:, 0].tolist() if points else []
        return [found[place] for place in kept]

    def _straight(self, loop: Loop, context: Context, nesting: Nesting) -> list[Option]:
        """Options with straight bodies; equal loops at other addresses have the same ones."""
        if loop.expanded_length() > LONGEST_BODY:
            return []
        shape = (_shape(loop, context), context.depth, context.trips, context.alone, nesting)
        known = self.known.get(shape)
        if known is None:
            known = self.known[shape] = self._found(loop, context, nesting)
        return [replace(o, choice=replace(o.choice, loop=loop)) for o in known]

    def _found(self, loop: Loop, context: Context, nesting: Nesting) -> list[Option]:
        """The options of a loop at its own addresses, of the last loop in its place if there was one."""
        where = _shape(loop, context, shifted=False), context.depth, context.trips, context.alone, nesting
        found = _place_of(self.machine, *where)
        if not found:
            found.append(
                straight_options(
                    self.machine, loop, context, permutable=nesting.permutable, jammable=nesting.jammable
                )
            )
            found[0] = [replace(o, choice=replace(o.choice, loop=_NO_LOOP)) for o in found[0]]
        return found[0]

    def _around(self, loop: Loop, body: _Body) -> list[Option]:
        """Keeping, unrolling or expanding a loop around loops or long straight code."""
        options: list[Option] = []
        for children, (static, cycles, dynamic) in zip(
            body.all_choices(), zip(*body.columns(), strict=True), strict=True
        ):
            for factor in loop.factors:
                trips, rest = divmod(loop.trips, factor)
                if factor > 1 and static * (factor + rest) > _limit(self.budget):
                    continue
                if trips == 1:
                    cost = (static * factor, cycles * factor, dynamic * factor)
                    options.append(Option(*cost, Choice(loop, "expand", factor, children=children)))
                    continue
                if factor * dynamic + 1 > self.machine.limit:
                    continue
                cost = _cost_around(self.machine, loop, factor, (static, cycles, dynamic))
                kind = "keep" if factor == 1 else "unroll"
                options.append(Option(*cost, Choice(loop, kind, factor, children=children)))
        return options

    def _body(
        self, parts: Sequence[Part], context: Context, budget: int | None, *, watched: bool
    ) -> _Body | None:
        """The frontier of a sequence of parts, each treated on its own."""
        body = _Body([], [])
        total = Frontier.of_points([(0, 0, 0)], watched=watched)
        for part in parts:
            if isinstance(part, Loop):
                options = self.options(part, context, watched=watched or self._is_watched(part))
                flat = expanded(self.machine, part, context)
                options += (
                    [flat] if flat is not None and not any(o.choice == flat.choice for o in options) else []
                )
            else:
                cost = straight_cost(self.machine, part.straight, context)
                options = [] if cost is None else [Option(*cost, _NOTHING)]
            if not options:
                return None
            costs = [(o.static, o.cycles, o.dynamic) for o in options]
            mine = Frontier.of_points(costs, watched=watched)
            body.parts.append([options[place] for place in mine.source[:, 0].tolist()])
            total = total.plus(mine, budget, watched=watched)
            body.sums.append(total)
        return body if len(total) else None

    def _is_watched(self, loop: Loop) -> bool:
        """Whether an iteration of the loop could run into the watchdog, address instructions counted generously."""
        return 4 * loop.expanded_length() * loop.trips > self.machine.limit


def _cost_around(
    machine: Machine, loop: Loop, factor: int, body: tuple[int, int, int]
) -> tuple[int, int, int]:
    """What a loop costs whose trips are `factor` iterations that cost `body`; those left over follow it."""
    static, cycles, dynamic = body
    trips, rest = divmod(loop.trips, factor)
    return (
        2 + static * (factor + rest),
        machine.start + trips * (factor * cycles + machine.end) + rest * cycles,
        1 + trips * (factor * dynamic + 1) + rest * dynamic,
    )


_NO_LOOP = Loop(-1, 1, None, ())

_NOTHING = Choice(_NO_LOOP)
"""The choice of a part without loops."""


@lru_cache(maxsize=1 << 13)
def _place_of(machine: Machine, *loop: Hashable) -> list[list[Option]]:
    """Where the options of a loop stay for other modules: they hang on nothing else."""
    return []


def _limit(budget: int | None) -> int:
    return 1 << 40 if budget is None else budget


@dataclass
class _Body:
    """Sums of frontiers part by part, so that the choices of a point can be traced back."""

    parts: list[list[Option]]
    sums: list[Frontier]

    def columns(self) -> tuple[list[int], list[int], list[int]]:
        if not self.sums:
            return [0], [0], [0]
        last = self.sums[-1]
        return last.static.tolist(), last.cycles.tolist(), last.dynamic.tolist()

    def choices(self, place: int) -> tuple[Choice, ...]:
        """What happens to the loops of the body at a point of the last frontier, in order."""
        return self._traced(np.array([place]))[0]

    def all_choices(self) -> list[tuple[Choice, ...]]:
        """The same at every point of the last frontier."""
        return self._traced(np.arange(len(self.sums[-1]) if self.sums else 1))

    def _traced(self, places: Ints) -> list[tuple[Choice, ...]]:
        """All points at a time, part by part: what one part is at each of them."""
        columns: list[list[Choice]] = []
        count = len(places)
        for options, total in zip(reversed(self.parts), reversed(self.sums), strict=True):
            places, mine = total.source[places].T
            columns.append([options[place].choice for place in mine.tolist()])
        if not columns:
            return [()] * count
        rows = zip(*reversed(columns), strict=True)
        return [tuple(choice for choice in row if choice is not _NOTHING) for row in rows]


def _shape(loop: Loop, context: Context, *, shifted: bool = True) -> Hashable:
    """The structure of a loop; equal for loops that differ by a shift of their addresses, if they may be `shifted`."""
    keys: dict[object, int] = {context.around: -1} if shifted else {context.beyond: -2, context.around: -1}
    first: dict[object, int] = {}

    def step_shape(step: Step) -> Hashable:
        addresses: list[Hashable] = []
        for a in step.addresses:
            terms = frozenset((keys.setdefault(key, len(keys)), c) for key, c in a.terms)
            base = first.setdefault(terms, a.constant) if shifted else 0
            addresses.append((terms, a.constant - base, a.has_immediate, bool(terms) or a.constant == 0))
        return step.cycles, tuple(addresses)

    def part_shape(part: Part) -> Hashable:
        if isinstance(part, Loop):
            keys.setdefault(part.index, len(keys))
            return part.trips, part.unit, tuple(part_shape(p) for p in part.parts)
        return tuple(step_shape(step) for step in part.steps)

    return part_shape(loop)
