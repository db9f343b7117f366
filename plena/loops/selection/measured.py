"""Candidates checked by really lowering them: the prediction picks, the measurement decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp

from plena.errors import CompileError
from plena.loops.selection.apply import apply_choices
from plena.loops.selection.goal import Goal
from plena.loops.selection.search import Point

TRIES = 5
"""Programs that are lowered at most."""

CHEAP = 4000
"""Predicted static instructions up to which lowering a program is cheap."""


@dataclass(frozen=True)
class Measured:
    """A point with what it really costs after register allocation."""

    point: Point
    static: int
    cycles: int


Lower = Callable[[ModuleOp], tuple[int, int]]
"""Lowers a module to allocated registers and counts static instructions and cycles.

Raises:
    CompileError: it cannot be lowered.
"""


def refine(module: ModuleOp, points: Sequence[Point], goal: Goal, lower: Lower) -> Measured | None:
    """The best of a few candidates by real costs; None when none of those tried fits.

    Starts at the predicted best; what turns out too long moves the target down.

    Raises:
        CompileError: none of the candidates tried can be lowered at all.
    """
    done: dict[int, Measured] = {}
    failed: dict[int, CompileError] = {}
    limit = goal.budget if goal.budget is not None else 1 << 40
    allowed = limit
    for _ in range(TRIES):
        options = [
            p for p in points if p.static <= allowed and p.static not in done and p.static not in failed
        ]
        if not options:
            break
        point = goal.best(options)
        try:
            found = done[point.static] = _measure(module, point, lower)
        except CompileError as error:
            failed[point.static] = error
            continue
        surplus = found.static - point.static
        if found.static <= limit and (goal.objective == "size" or surplus >= 0):
            break
        allowed = min(allowed, limit - surplus, point.static - 1) if found.static > limit else limit - surplus
    if failed and not done:
        raise next(iter(failed.values()))
    fitting = [m for m in done.values() if goal.fits(m.static)]
    return goal.best(fitting) if fitting else None


def _measure(module: ModuleOp, point: Point, lower: Lower) -> Measured:
    trial = module.clone()
    apply_choices(trial, point.choices)
    return Measured(point, *lower(trial))
