"""Engines over time as a picture: a row for each, and for each cause of waits, the modules under them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from plena.statistics.timeline.data import I64, TimelineData

WIDTH, LEFT, RIGHT = 1000, 190, 90
ROW, HEIGHT = 30, 24
COLOURS = 6
"""How many colours modules take in turn."""


@dataclass(frozen=True)
class Row:
    """An engine or a cause of waits: its place, the outline of its share of each stretch, its share of the run."""

    name: str
    y: int
    outline: str
    share: float
    waits: bool


@dataclass(frozen=True)
class Span:
    """A stretch of one module, of the `colour`-th colour."""

    name: str
    x: float
    width: float
    colour: int


@dataclass(frozen=True)
class ModuleRow:
    """What a module keeps busy and waits for, in cycles."""

    name: str
    cycles: int
    busy: tuple[int, ...]
    waits: str


@dataclass(frozen=True)
class TimelinePicture:
    """A timeline as SVG; all its sizes are bounded, whatever the length of the run.

    `bounds`: what bounds the run, the cycles that it takes at least, and how many times that it takes.
    """

    profile: str
    cycles: int
    step: int
    engines: tuple[str, ...]
    rows: tuple[Row, ...]
    spans: tuple[Span, ...]
    modules: tuple[ModuleRow, ...]
    bounds: tuple[tuple[str, int, float], ...]
    width: int = WIDTH
    left: int = LEFT

    @property
    def height(self) -> int:
        """Rows and, if there are modules, a strip of them."""
        return ROW * (len(self.rows) + bool(self.spans)) + 6


def timeline_picture(timeline: TimelineData) -> TimelinePicture:
    """The picture of a timeline."""
    rows = [
        *((n, c, False) for n, c in timeline.busy.items()),
        *((n, c, True) for n, c in timeline.waiting.items()),
    ]
    total = max(timeline.cycles, 1)
    return TimelinePicture(
        timeline.profile,
        timeline.cycles,
        timeline.width,
        tuple(timeline.busy),
        tuple(
            Row(name, ROW * at, _outline(cells, timeline), int(cells.sum()) / total, waits)
            for at, (name, cells, waits) in enumerate(rows)
        ),
        tuple(_spans(timeline)) if len(timeline.passed) > 1 else (),
        tuple(_module_rows(timeline)) if len(timeline.passed) > 1 else (),
        tuple(
            (name, least, timeline.cycles / max(least, 1)) for name, least in timeline.bounds.items() if least
        ),
    )


def _x(stretch: float, timeline: TimelineData) -> float:
    return LEFT + stretch * (WIDTH - LEFT - RIGHT) / len(timeline.lengths)


def _outline(cells: I64, timeline: TimelineData) -> str:
    """An SVG path: a staircase of the shares over the bottom of a row."""
    steps = [f"M{_x(0, timeline):.1f} {HEIGHT}"]
    for at, share in enumerate(timeline.shares(cells)):
        steps.append(f"V{HEIGHT * (1 - share):.1f}H{_x(at + 1, timeline):.1f}")
    return "".join([*steps, f"V{HEIGHT}Z"])


def _spans(timeline: TimelineData) -> Iterator[Span]:
    numbers = {name: number for number, name in enumerate(timeline.passed)}
    for name, begin, end in timeline.spans():
        x = _x(begin, timeline)
        yield Span(name or "(other)", x, _x(end, timeline) - x, numbers[name] % COLOURS)


def _module_rows(timeline: TimelineData) -> Iterator[ModuleRow]:
    for name, cells in timeline.passed.items():
        yield ModuleRow(
            name or "(other)",
            int(cells.sum()),
            tuple(timeline.busy_by_module[name].values()),
            timeline.longest_waits(name),
        )
