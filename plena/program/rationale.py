"""Why a program is as it is: what was asked for, what was tried, which loops there were and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from plena.errors import PlenaError
from plena.loops.selection.pareto import undominated


@dataclass(frozen=True)
class SourceLoop:
    """A loop before loops were expanded.

    Args:
        number: its place in pre-order; the loops inside follow with a larger `depth`.
        trips: its trip count.
        module, steps: where its instructions come from, as of ``Provenance``; empty if unknown.
        choice: what became of it, e.g. "kept" or "unrolled by 2".
        why: the reason.
    """

    number: int
    depth: int
    trips: int
    module: str
    steps: tuple[str, ...]
    choice: str
    why: str

    @staticmethod
    def from_json(document: object, where: str) -> SourceLoop:
        """Inverse of ``to_json`` of the rationale.

        Raises:
            PlenaError: not such a document.
        """
        match document:
            case {
                "number": int(number),
                "depth": int(depth),
                "trips": int(trips),
                "module": str(module),
                "steps": [*steps],
                "choice": str(choice),
                "why": str(why),
            } if depth >= 0 and trips >= 1 and all(isinstance(step, str) for step in steps):
                return SourceLoop(number, depth, trips, module, tuple(steps), choice, why)
            case _:
                raise PlenaError(f"`rationale` has a malformed loop: {document!r}", where)


@dataclass(frozen=True)
class SizePoint:
    """What the best program of a size costs: static instructions, cycles of the profile that chose."""

    static: int
    cycles: int

    @staticmethod
    def from_json(document: object, where: str) -> SizePoint:
        """Inverse of ``to_json`` of the rationale.

        Raises:
            PlenaError: not such a document.
        """
        match document:
            case {"static": int(static), "cycles": int(cycles)} if static >= 0 and cycles >= 0:
                return SizePoint(static, cycles)
            case _:
                raise PlenaError(f"`rationale` has a malformed point: {document!r}", where)


@dataclass(frozen=True)
class Attempt:
    """A program that was made whole and counted before one was taken; `runs`: the watchdog lets it."""

    schedule: str
    static: int
    cycles: int
    runs: bool
    taken: bool

    @staticmethod
    def from_json(document: object, where: str) -> Attempt:
        """Inverse of ``to_json`` of the rationale.

        Raises:
            PlenaError: not such a document.
        """
        match document:
            case {
                "schedule": str(schedule),
                "static": int(static),
                "cycles": int(cycles),
                "runs": bool(runs),
                "taken": bool(taken),
            } if static >= 0 and cycles >= 0:
                return Attempt(schedule, static, cycles, runs, taken)
            case _:
                raise PlenaError(f"`rationale` has a malformed attempt: {document!r}", where)


@dataclass(frozen=True)
class Rationale:
    """What a report says about the choice of a program.

    Args:
        model: class of the module.
        options: what the compiler was asked for, by the name of the option.
        attempts: every program that was made and counted.
        curve: the programs that are best for their size as select-loops predicts them, for the schedule taken,
            smallest first; empty if loops were not expanded for it.
        loops: the loops before they were expanded, in pre-order.
    """

    model: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    attempts: tuple[Attempt, ...] = ()
    curve: tuple[SizePoint, ...] = ()
    loops: tuple[SourceLoop, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_json(document: object, where: str) -> Rationale:
        """Inverse of ``to_json``.

        Raises:
            PlenaError: not such a document; it says which part.
        """
        match document:
            case {
                "model": str(model),
                "options": dict(options),
                "attempts": [*attempts],
                "curve": [*curve],
                "loops": [*loops],
            } if all(isinstance(x, str) for entry in options.items() for x in entry):
                return Rationale(
                    model,
                    options,
                    tuple(Attempt.from_json(a, where) for a in attempts),
                    tuple(SizePoint.from_json(p, where) for p in curve),
                    tuple(SourceLoop.from_json(loop, where) for loop in loops),
                )
            case _:
                raise PlenaError("`rationale` needs model, options, attempts, curve and loops", where)


SPACING = 1.02
"""Least ratio of the sizes of two points of a curve, but for its ends: smaller steps nobody can see."""


def best_by_size(points: Sequence[SizePoint]) -> tuple[SizePoint, ...]:
    """The points that no other one beats in both figures, smallest first; where they are dense, some of them."""
    front = undominated(([p.static for p in points], [p.cycles for p in points]))
    best = [points[place] for place in front]
    kept = best[:1]
    for point in best[1:-1]:
        if point.static >= kept[-1].static * SPACING:
            kept.append(point)
    return (*kept, *best[1:][-1:])
