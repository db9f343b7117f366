"""A lowering with its loops as they are, and as select-loops chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from xdsl.dialects.builtin import ModuleOp

from plena.compiler.candidate import CERTAIN, EXPANDABLE, Candidate, Lowering, length
from plena.kernels.schedule import Schedule
from plena.loops.selection.goal import Goal
from plena.loops.selection.search import Point
from plena.loops.selection.tree import has_any_length
from plena.machine.target import Target
from plena.passes.select_loops import candidates, predicted

TRIES = 6
"""How many points of a prediction are lowered to find one that fits a budget."""


def lower(kernels: ModuleOp, schedule: Schedule, max_instructions: int | None) -> list[Candidate]:
    """Copies of the module lowered to allocated registers: loops as they are, and as select-loops chooses."""
    lowering = Lowering.of(kernels, schedule)
    assert lowering is not None
    return with_choices(lowering, max_instructions)


def with_choices(lowering: Lowering, max_instructions: int | None) -> list[Candidate]:
    """A lowering with loops as they are, and as select-loops chooses.

    Loops as they are need not be tried where they are out of the question by prediction: a search for cycles without a
    budget expands most loops, and its best point is far ahead.
    """
    schedule = lowering.schedule
    target = Target.from_module(lowering.affine)
    cost = None
    is_open = schedule.objective == "cycles" and max_instructions is None and "plain" not in lowering.__dict__
    if is_open and length(lowering.affine) <= EXPANDABLE:
        cost = predicted(lowering.affine, schedule.timing, any_length=True)
    if cost is None or cost[0] > CERTAIN * EXPANDABLE:
        plain = [lowering.plain]
        if max_instructions or lowering.plain.static <= EXPANDABLE or not lowering.plain.program.runs(target):
            plain.extend(with_loops_expanded(lowering, max_instructions))
        return plain
    expanded = list(with_loops_expanded(lowering, None))
    goal = Goal(schedule.objective)
    ahead = (
        c.point is not None
        and c.program.runs(target)
        and goal.cost(c.point.static, c.point.cycles)[0] <= CERTAIN * goal.cost(*cost)[0]
        for c in expanded
    )
    return expanded if any(ahead) else [lowering.plain, *expanded]


def with_loops_expanded(
    lowering: Lowering, max_instructions: int | None, surplus: int = 0
) -> Iterator[Candidate]:
    """Loops as the objective wants them. Predicted sizes are near the real ones: tighter budgets make up for that.

    `surplus`: by how much they are expected to exceed the prediction: what would not fit then is not lowered.
    """
    affine, schedule = lowering.affine, lowering.schedule
    budget = None if schedule.objective == "size" else max_instructions
    room = None if budget is None else budget - surplus
    points = candidates(
        affine, timing=schedule.timing, max_instructions=room, known=lowering.known, any_length=True
    )
    exact = () if has_any_length(affine) else tuple(points)

    def apply(point: Point) -> Candidate:
        return replace(lowering.candidate(point.choices), points=exact, point=point)

    goal = Goal(schedule.objective, budget)
    for _ in range(TRIES if budget is not None else 1):
        fitting = [p for p in points if room is None or p.static <= room]
        if not fitting:
            return
        point = goal.best(fitting)
        result = apply(point)
        yield result
        if room is None or budget is None or goal.fits(result.static):
            return
        room = min(room - (result.static - budget), point.static - 1)


def surplus_of(candidate: Candidate) -> int:
    """How much longer a program with choices has become than was predicted."""
    assert candidate.point is not None
    return max(0, candidate.static - candidate.point.static)
