"""The loops of a program for a report: a tree with counts, and the hottest ones with their assembly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plena.assembly import format_instruction
from plena.assembly.stream import Provenance
from plena.compiler.loop_origins import common_path
from plena.report.contents import Contents
from plena.statistics.counts import LoopCount
from plena.statistics.statistics import Statistics, Weights

MOST_LOOPS = 300
"""Rows of the tree; of more loops those with most cycles are shown."""

HOTTEST = 6
LONGEST_LISTING = 90
"""Lines of a listing."""


@dataclass(frozen=True)
class LoopRow:
    """A loop of the program with where it comes from; `own` are cycles outside the loops inside it."""

    count: LoopCount
    module: str
    steps: str
    share: float
    own: int


@dataclass(frozen=True)
class Line:
    """An instruction of a listing, or (`number` 0) a loop inside that is left out.

    Attributes:
        indent: loops around it inside the listing.
        executions: over the whole run.
        cycles: over the whole run, in the profile that ranks.
        share: of the listed loop's cycles.
    """

    number: int
    indent: int
    text: str
    executions: int
    cycles: int
    share: float


@dataclass(frozen=True)
class HotLoop:
    """One of the loops with most cycles of its own."""

    row: LoopRow
    lines: tuple[Line, ...]
    cut: int


@dataclass(frozen=True)
class LoopViews:
    """`rows` in program order, `left_out` of them are not shown; `hottest` first the one with most own cycles."""

    rows: tuple[LoopRow, ...]
    left_out: int
    hottest: tuple[HotLoop, ...]
    profile: str


def loop_views(contents: Contents, statistics: Statistics) -> LoopViews:
    """The loops, ranked by `Contents.ranking`."""
    profile = contents.ranking
    loops = statistics.loops
    own = _own_cycles(loops, profile)
    total = max(statistics.cycles[profile], 1)
    chosen = sorted(range(len(loops)), key=lambda n: -loops[n].cycles[profile])[:MOST_LOOPS]
    rows = {
        n: LoopRow(
            loops[n],
            *_origin(contents.provenance, loops[n]),
            loops[n].cycles[profile] / total,
            own[n],
        )
        for n in sorted({*chosen, *sorted(range(len(loops)), key=lambda n: -own[n])[:HOTTEST]})
    }
    weights = contents.weights()
    hottest = sorted(rows, key=lambda n: -own[n])[:HOTTEST]
    return LoopViews(
        tuple(rows.values()),
        len(loops) - len(rows),
        tuple(_hot(contents, weights, loops, n, rows[n], profile) for n in hottest if own[n]),
        profile,
    )


def _own_cycles(loops: Sequence[LoopCount], profile: str) -> list[int]:
    own = [loop.cycles[profile] for loop in loops]
    around: list[int] = []
    for n, loop in enumerate(loops):
        while around and loops[around[-1]].last_line < loop.first_line:
            around.pop()
        if around:
            own[around[-1]] -= loop.cycles[profile]
        around.append(n)
    return own


def _origin(provenance: Sequence[Provenance], loop: LoopCount) -> tuple[str, str]:
    origins = dict.fromkeys(provenance[loop.first_line - 1 : loop.last_line])
    modules = list(dict.fromkeys(origin.module for origin in origins if origin.module))
    steps = list(dict.fromkeys(origin.step for origin in origins if origin.step))
    more = [f"and {len(steps) - 4} more"] if len(steps) > 4 else []
    return common_path(modules), ", ".join([*steps[:4], *more])


def _hot(
    contents: Contents, weights: Weights, loops: Sequence[LoopCount], number: int, row: LoopRow, profile: str
) -> HotLoop:
    loop = loops[number]
    inside = [x for x in loops[number + 1 :] if x.last_line <= loop.last_line]
    total = max(int(weights.cycles[profile][loop.first_line - 1 : loop.last_line].sum()), 1)
    lines: list[Line] = []
    position, cut = loop.first_line, 0
    skipped = {x.first_line: x for x in reversed(inside) if x.depth == loop.depth + 1}
    while position <= loop.last_line:
        inner = skipped.get(position)
        if inner is not None:
            cycles = int(weights.cycles[profile][inner.first_line - 1 : inner.last_line].sum())
            text = f"loop of {inner.trip_count:,}, lines {inner.first_line:,} to {inner.last_line:,}"
            runs = int(weights.executions[inner.first_line - 1])
            lines.append(Line(0, 1, text, runs, cycles, cycles / total))
            position = inner.last_line + 1
            continue
        index = position - 1
        cycles = int(weights.cycles[profile][index])
        ends = position in (loop.first_line, loop.last_line)
        text = format_instruction(contents.instructions[index])
        lines.append(
            Line(position, 0 if ends else 1, text, int(weights.executions[index]), cycles, cycles / total)
        )
        position += 1
    if len(lines) > LONGEST_LISTING:
        cut = len(lines) - LONGEST_LISTING
        hot = np.argsort([-line.cycles for line in lines], kind="stable")[:LONGEST_LISTING]
        lines = [lines[n] for n in sorted(hot.tolist())]
    return HotLoop(row, tuple(lines), cut)
