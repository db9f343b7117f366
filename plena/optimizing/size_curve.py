"""The curve of a program: how few cycles it can take for how many static instructions, loops being what changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING

from plena.assembly.stream import LOOP_END, LOOP_START
from plena.driver import context, run_pipeline
from plena.errors import CompileError
from plena.gc_pause import without_collection
from plena.lifting.preloaded import Declared, Preloaded
from plena.loops.selection.apply import apply_choices
from plena.loops.selection.pareto import undominated
from plena.optimizing.optimization_task import ROLLING, Task
from plena.passes.emission import counted
from plena.passes.select_loops import candidates
from plena.passes.unroll_loops import UnrollLoops
from plena.statistics.statistics import Statistics
from plena.timing.registry import profile_named

if TYPE_CHECKING:
    from plena.loops.selection.search import Point
    from plena.program.data import ProgramData

LONGEST_MEASURED = 4_000
"""Predicted static instructions up to which a point is lowered to registers and counted."""

LONGEST_EXPANSION = 20_000
"""Dynamic instructions up to which the fully expanded program is lowered and counted."""


@dataclass(frozen=True)
class CurvePoint:
    """A program of the curve: what it costs, and whether that was counted (`exact`) or predicted.

    `name`: "rolled", "chosen", "expanded", or "" for one in between.
    """

    name: str
    static: int
    dynamic: int
    cycles: int
    exact: bool = True


@dataclass(frozen=True)
class SizeCurve:
    """Programs with the same effect, smallest first, cycles by one timing profile, DMA waits apart
    unless it includes them.

    Attributes:
        timing: the profile.
        chosen: the program that the curve was made for.
        rolled: the smallest program found.
        expanded: the program without loops.
        measured: programs in between that were lowered and counted.
        predicted: the best programs of every size as the loop choice predicts them.
    """

    timing: str
    chosen: CurvePoint
    rolled: CurvePoint
    expanded: CurvePoint
    measured: tuple[CurvePoint, ...]
    predicted: tuple[CurvePoint, ...]

    @property
    def points(self) -> list[CurvePoint]:
        """The rows of the table: the ends, the chosen one, and what was counted in between; smallest first."""
        ends = (self.rolled, self.chosen, self.expanded)
        return sorted((*ends, *self.measured), key=lambda p: (p.static, p.cycles, p.name != "rolled"))


def size_curve(
    program: ProgramData,
    *,
    timing: str | None = None,
    preloaded: Preloaded | Mapping[str, Declared] | str | None = None,
    samples: int = 6,
    longest_expansion: int = LONGEST_EXPANSION,
) -> SizeCurve:
    """The size / cycles curve of a program, compiled just now, loaded from a folder, or of any origin.

    Only its words are looked at: they are lifted and rolled, then the loop choice says which programs are best for
    their size; a few of those are lowered to registers and counted.

    Args:
        timing: the profile whose cycles count, by default the one that the program was compiled for.
        preloaded: what the host loads; the program's own tensors if not given.
        samples: how many programs between the ends to count.
        longest_expansion: dynamic instructions up to which the expanded end is counted, not estimated.

    Raises:
        PlenaError: no such profile is registered, or it has no cycles for an instruction of the program, or naming the
            instruction of whatever cannot be lifted exactly.
    """
    timing = timing or program.timing
    profile_named(timing, "size_curve")
    chosen = _point("chosen", program.stats(), timing)
    declared = Preloaded.of(program.preloaded_spans() if preloaded is None else preloaded)
    task = Task.of(program.words, program.target, declared)
    task.reserve_spills()
    with without_collection():
        run_pipeline(task.affine, ROLLING)
        frontier = candidates(task.affine, timing=timing)
        measured = _improving(list(_measured(task, frontier, timing, samples)))
        expanded = _expanded(task, program.stats(), timing, longest_expansion)
    smallest = min((chosen, *measured[:1]), key=_by_size)
    return SizeCurve(
        timing,
        chosen,
        replace(smallest, name="rolled"),
        expanded,
        tuple(p for p in measured if _by_size(p) not in map(_by_size, (smallest, chosen, expanded))),
        tuple(CurvePoint("", p.static, p.dynamic, p.cycles, exact=False) for p in frontier),
    )


def spread(points: Sequence[Point], count: int) -> list[Point]:
    """At most `count` points of a frontier, evenly by the logarithm of their size, the smallest among them."""
    if len(points) <= count:
        return list(points)
    low, high = log(points[0].static), log(points[-1].static)
    goals = [low + (high - low) * step / max(1, count - 1) for step in range(count)]
    nearest = (min(points, key=lambda p: abs(log(p.static) - goal)) for goal in goals)
    return list({id(p): p for p in nearest}.values())


def _by_size(point: CurvePoint) -> tuple[int, int]:
    return point.static, point.cycles


def _point(name: str, statistics: Statistics, timing: str) -> CurvePoint:
    return CurvePoint(name, statistics.static, statistics.dynamic, statistics.cycles_by(timing))


def _measured(task: Task, frontier: list[Point], timing: str, samples: int) -> Iterator[CurvePoint]:
    short = [p for p in frontier if p.static <= LONGEST_MEASURED]
    for point in spread(short, samples):
        module = task.affine.clone()
        apply_choices(module, point.choices)
        try:
            yield _point("", counted(module, timing).without_waits, timing)
        except CompileError as problem:
            task.problems.append(problem)


def _improving(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Those that take fewer cycles than all smaller ones, by size."""
    front = undominated(([p.static for p in points], [p.cycles for p in points]))
    return [points[place] for place in front]


def _expanded(task: Task, statistics: Statistics, timing: str, longest: int) -> CurvePoint:
    """The program without loops; estimated if it is long: what is executed, without starts and ends of loops."""
    if statistics.dynamic <= longest:
        UnrollLoops(full=True).apply(context(), task.affine)
        try:
            return _point("expanded", counted(task.affine, timing).without_waits, timing)
        except CompileError as problem:
            task.problems.append(problem)
    profile, target = profile_named(timing), task.target
    counts = [(spec, statistics.opcodes.get(spec.mnemonic, (0, 0))[1]) for spec in (LOOP_START, LOOP_END)]
    looping = sum(count * profile.cycles(spec, target) for spec, count in counts)
    length = statistics.dynamic - sum(count for _, count in counts)
    return CurvePoint("expanded", length, length, max(0, statistics.cycles[timing] - looping), exact=False)
