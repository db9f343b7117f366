"""Size against cycles as a picture: the best programs of every size, those that were made, the one taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from plena.program.rationale import SizePoint

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 18, 46


@dataclass(frozen=True)
class Mark:
    """A point: its place, and what it stands for."""

    x: float
    y: float
    kind: str
    text: str


@dataclass(frozen=True)
class CurvePicture:
    """Size (logarithmic) against cycles.

    Attributes:
        line: the places of the curve as SVG points, a staircase; empty without a curve.
        marks: its points ("point"), other programs that were made ("attempt"), the one that was taken ("taken").
        budget: place of the budget, None without one.
        x_ticks, y_ticks: place and label.
    """

    line: str
    marks: tuple[Mark, ...]
    budget: float | None
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    timing: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def curve_picture(
    curve: Sequence[SizePoint],
    attempts: Sequence[tuple[SizePoint, str]],
    taken: SizePoint | None,
    budget: int | None,
    timing: str,
) -> CurvePicture | None:
    """The picture, or None if there is nothing to draw.

    Args:
        curve: the best programs by size, smallest first.
        attempts: other programs that were made, with a description.
        taken: the program itself.
        budget: of static instructions.
        timing: the profile that the cycles are counted in.
    """
    everything = [*curve, *(p for p, _ in attempts), *([taken] if taken else [])]
    if not everything:
        return None
    scale = _Scale.of(everything, budget)
    marks = [
        *(Mark(*scale.place(p), "point", f"{_said(p, timing)} (predicted)") for p in curve),
        *(Mark(*scale.place(p), "attempt", f"{_said(p, timing)}: {what}") for p, what in attempts),
        *([Mark(*scale.place(taken), "taken", f"{_said(taken, timing)}: this program")] if taken else []),
    ]
    return CurvePicture(
        " ".join(f"{x:.1f},{y:.1f}" for x, y in _stairs([scale.place(p) for p in curve])),
        tuple(marks),
        None if budget is None else scale.x(budget),
        tuple((scale.x(n), f"{n:,}") for n in scale.sizes()),
        tuple((scale.y(n), f"{n:,}") for n in scale.cycles()),
        timing,
    )


def _said(point: SizePoint, timing: str) -> str:
    return f"{point.static:,} static instructions, {point.cycles:,} {timing} cycles"


def _stairs(places: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Between two points the smaller program is the best one."""
    for n, (x, y) in enumerate(places):
        if n:
            yield x, places[n - 1][1]
        yield x, y


@dataclass(frozen=True)
class _Scale:
    left: float
    right: float
    low: float
    high: float

    @staticmethod
    def of(points: Sequence[SizePoint], budget: int | None) -> _Scale:
        sizes = [max(p.static, 1) for p in points] + ([budget] if budget else [])
        cycles = [p.cycles for p in points]
        spread = max(max(cycles) - min(cycles), 0.02 * max(cycles), 1)
        return _Scale(
            log10(min(sizes)) - 0.04,
            log10(max(sizes)) + 0.04,
            min(cycles) - 0.08 * spread,
            max(cycles) + 0.08 * spread,
        )

    def x(self, static: int) -> float:
        return LEFT + (log10(max(static, 1)) - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, cycles: float) -> float:
        return TOP + (self.high - cycles) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def place(self, point: SizePoint) -> tuple[float, float]:
        return self.x(point.static), self.y(point.cycles)

    def sizes(self) -> list[int]:
        """Round numbers on the axis of sizes."""
        found = [
            factor * 10**power
            for power in range(floor(self.left), ceil(self.right) + 1)
            for factor in (1, 2, 5)
        ]
        inside = [n for n in found if self.left <= log10(n) <= self.right]
        if len(inside) >= 2:
            return [int(n) for n in inside]
        return sorted({ceil(10**self.left), floor(10**self.right)})

    def cycles(self) -> list[int]:
        """Round numbers on the axis of cycles."""
        raw = (self.high - self.low) / 5
        step = next(f * 10 ** floor(log10(raw)) for f in (1, 2, 5, 10) if f * 10 ** floor(log10(raw)) >= raw)
        step = max(1, int(step))
        first = ceil(self.low / step) * step
        return [n for n in range(first, int(self.high) + 1, step) if n >= 0]
