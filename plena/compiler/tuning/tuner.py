"""Looking for a better schedule than a search takes time for: by chance, from the best one known."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from xdsl.dialects.builtin import ModuleOp

from plena.compiler.search import LARGEST_BLOCK, Candidate, Lowering
from plena.compiler.tuning.recipe import Recipe, Setting, free_settings, with_changes
from plena.compiler.tuning.reuse import REFUSALS, better, goal_of
from plena.dialects.plena import AttentionOp
from plena.errors import CompileError
from plena.kernels.schedule import Schedule
from plena.loops.selection.changes import LoopChange, changes_of
from plena.loops.selection.goal import Goal
from plena.loops.selection.search import Point
from plena.loops.selection.tree import Loop, tree_of
from plena.machine.target import Target
from plena.passes.select_loops import candidates
from plena.timing.registry import profile_named

KEPT = 8
"""Lowered modules that are remembered."""

NEAR = 6
"""How many of the points that look best are tried of a schedule."""

SHARE_OF_SCHEDULES = 0.3
"""How many of the tries change the schedule; the others change loops of the best one."""

GROWTH_TRIED = 2
"""Without a budget programs that are more times longer than the best one are not tried."""

SHORT = 400
"""Instructions up to which a program is tried in any case."""


@dataclass
class Tuner:
    """Tries schedules of a module of plena kernels, one a call.

    Args:
        kernels: with its target; it stays as it is.
        schedule: what was asked for.
        max_instructions: the budget.
        best: the best program so far, of a search.
        chance: decides what is tried.
    """

    kernels: ModuleOp
    schedule: Schedule
    max_instructions: int | None
    best: Candidate
    chance: random.Random
    tried: set[Recipe] = field(default_factory=set[Recipe])
    _lowerings: OrderedDict[Recipe, tuple[Lowering, list[Point]]] = field(
        default_factory=OrderedDict[Recipe, tuple[Lowering, list[Point]]]
    )

    def __post_init__(self) -> None:
        self.target = Target.from_module(self.kernels)
        self.recipe = Recipe.of(self.best, self.schedule)
        self.tried.add(self.recipe)

    @property
    def goal(self) -> Goal:
        """What makes one program better than another one."""
        return goal_of(self.schedule, self.max_instructions, self.target)

    def step(self) -> bool:
        """Tries one more schedule; whether it is the best now. What cannot be is no error."""
        try:
            other = self.chance.random() < SHARE_OF_SCHEDULES
            recipe = self._another_schedule() if other else self._other_loops()
            if recipe is None or recipe in self.tried:
                return False
            self.tried.add(recipe)
            return self._take(recipe)
        except REFUSALS:
            return False

    def _take(self, recipe: Recipe) -> bool:
        lowering, _ = self._lowered(recipe)
        longest = self.max_instructions or max(SHORT, GROWTH_TRIED * self.best.static)
        candidate = with_changes(lowering, recipe.changes, longest)
        fits = self.max_instructions is None or candidate.static <= self.max_instructions
        if not fits or not candidate.program.runs(self.target) or not better(self.goal, candidate, self.best):
            return False
        self.best, self.recipe = candidate, recipe
        return True

    def _lowered(self, recipe: Recipe) -> tuple[Lowering, list[Point]]:
        """A schedule with loops as they are, and what may become of them."""
        plain = replace(recipe, changes=())
        found = self._lowerings.get(plain)
        if found is None:
            lowering = plain.lowering(self.kernels, self.schedule)
            points = candidates(
                lowering.affine,
                timing=self.schedule.timing,
                max_instructions=self.max_instructions,
                known=lowering.known,
            )
            found = lowering, points
            self._lowerings[plain] = found
            while len(self._lowerings) > KEPT:
                self._lowerings.popitem(last=False)
        self._lowerings.move_to_end(plain)
        return found

    def _another_schedule(self) -> Recipe | None:
        """One or two settings changed, loops as is predicted to be good."""
        plain = replace(self.recipe, changes=())
        moves = list(self._settings())
        for _ in range(self.chance.randint(1, 2)):
            plain = self.chance.choice(moves)(plain)
        _, points = self._lowered(plain)
        return self._at_point(plain, points)

    def _at_point(self, plain: Recipe, points: list[Point]) -> Recipe | None:
        """One of the points that look best."""
        if not points:
            return plain
        ranked = sorted(points, key=lambda p: self.goal.cost(p.static, p.cycles))[:NEAR]
        point = self.chance.choice(ranked)
        return replace(plain, changes=tuple(str(change) for change in changes_of(point.choices)))

    def _settings(self) -> Iterator[Callable[[Recipe], Recipe]]:
        """Ways to change a schedule."""
        blocks = [self.target.blen * 2**n for n in range(12) if self.target.blen * 2**n <= LARGEST_BLOCK]
        values: dict[str, tuple[Setting, ...]] = {"pairing": (False, True), "row_groups": (False, True)}
        if any(isinstance(op, AttentionOp) for op in self.kernels.walk()):
            values |= {
                "order": ("heads", "queries"),
                "query_block": (0, *blocks),
                "parts": (1, 2, 4),
                "sections": (1, 2, 3, 4, 6, 8),
            }
        free = {"matmul": ("auto", "mm", "broadcast", "vector"), "attention": ("auto", "rows", "online")}
        if not self.schedule.allow_unsupported and profile_named(self.schedule.timing).unsupported(
            self.target
        ):
            # "auto" alone leaves out what the machine behind the profile does not execute right.
            del free["matmul"]
        values |= {name: free[name] for name in free_settings(self.schedule) if name in free}
        for name, options in values.items():
            yield lambda recipe, name=name, options=options: self._set(
                recipe, name, self.chance.choice(options)
            )
        yield lambda recipe: replace(recipe, layers=self.chance.choice((0, 1, 2)))
        if profile_named(self.schedule.timing).overlaps:
            rooms = (None, 0, 8, 16, 32, 64, 128, 256)
            yield lambda recipe: replace(recipe, room=self.chance.choice(rooms))

    def _set(self, recipe: Recipe, name: str, value: Setting) -> Recipe:
        settings = dict(recipe.settings) | {name: value}
        asked = self.schedule
        return replace(
            recipe, settings=tuple(sorted((n, v) for n, v in settings.items() if v != getattr(asked, n)))
        )

    def _other_loops(self) -> Recipe | None:
        """The best program with one or two of its loops changed otherwise, or another point of its schedule."""
        lowering, points = self._lowered(self.recipe)
        if self.chance.random() < 0.2:
            return self._at_point(replace(self.recipe, changes=()), points)
        tree = tree_of(lowering.affine, self.target, profile_named(self.schedule.timing))
        loops = [loop for part in tree if isinstance(part, Loop) for loop in part.walk()]
        if not loops:
            return None
        changes = {change.loop: change for change in map(LoopChange.parse, self.recipe.changes)}
        for _ in range(self.chance.randint(1, 2)):
            loop = self.chance.choice(loops)
            change = self._change(loop)
            changes.pop(loop.number, None)
            if change is not None:
                changes[loop.number] = change
                flat = change.flat or change.kind == "jam"
                for inside in list(loop.walk())[1:] if flat else ():
                    changes.pop(inside.number, None)
        return replace(self.recipe, changes=tuple(_ordered(tree, changes)))

    def _change(self, loop: Loop) -> LoopChange | None:
        """Some change of a loop; None leaves it as it is."""
        flat = bool(loop.loops) and self.chance.random() < 0.5
        kinds = ["keep", "expand", "unroll", *(["jam"] if loop.inner is not None else [])]
        match self.chance.choice(kinds):
            case "expand":
                return LoopChange(loop.number, "expand", flat=flat)
            case "unroll":
                possible = [n for n in loop.factors if 1 < n < loop.trips]
                if not possible:
                    return None
                return LoopChange(loop.number, "unroll", self.chance.choice(possible), flat=flat)
            case "jam":
                assert loop.inner is not None
                swap = self.chance.random() < 0.5
                first, second = (loop.inner, loop) if swap else (loop, loop.inner)
                pair = self.chance.choice(first.factors), self.chance.choice(second.factors)
                return LoopChange(loop.number, "jam", *pair, swap)
            case _:
                return LoopChange(loop.number, "keep", flat=True) if flat else None


def _ordered(parts: tuple[object, ...], changes: dict[int, LoopChange]) -> Iterator[str]:
    """Changes as passes take them: inner loops first."""
    for loop in parts:
        if isinstance(loop, Loop):
            yield from _ordered(loop.parts, changes)
            if loop.number in changes:
                yield str(changes[loop.number])


def require_tunable(timing: str) -> None:
    """
    Raises:
        CompileError: a profile from outside, for which nothing can be kept.
    """
    from plena.timing.registry import is_ours

    if not is_ours(timing):
        raise CompileError(
            f"nothing is kept for {timing}, a profile from outside",
            "tuning",
            "Its name says nothing of what it counts.",
        )
