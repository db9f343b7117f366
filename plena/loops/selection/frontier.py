"""Pareto frontiers of costs, and sums of them with the choices behind every point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.loops.selection.pareto import undominated

Ints: TypeAlias = NDArray[np.int64]

MOST_POINTS = 4000
"""Points of a frontier; beyond, evenly spread ones are kept and the result is no longer exactly optimal."""


@dataclass(frozen=True)
class Frontier:
    """Points no one of which is better in everything, by ascending static size.

    `source[i]` is where point i comes from: rows of indices into whatever was combined.
    """

    static: Ints
    cycles: Ints
    dynamic: Ints
    source: Ints

    def __len__(self) -> int:
        return len(self.static)

    @staticmethod
    def of(static: Ints, cycles: Ints, dynamic: Ints, source: Ints, *, watched: bool) -> Frontier:
        """The frontier among points; dynamic instructions count only if `watched` (a watchdog may bite)."""
        keep = (
            undominated((static, cycles, dynamic)) if watched else undominated((static, cycles), (dynamic,))
        )
        if len(keep) > MOST_POINTS:
            keep = keep[np.unique(np.linspace(0, len(keep) - 1, MOST_POINTS).astype(np.int64))]
        return Frontier(static[keep], cycles[keep], dynamic[keep], source[keep])

    @staticmethod
    def of_points(points: Sequence[tuple[int, int, int]], *, watched: bool) -> Frontier:
        """The frontier among (static, cycles, dynamic); the source of a point is its position."""
        table = np.array(points, np.int64).reshape(len(points), 3)
        places = np.arange(len(points), dtype=np.int64)[:, None]
        return Frontier.of(table[:, 0], table[:, 1], table[:, 2], places, watched=watched)

    def plus(self, other: Frontier, budget: int | None, *, watched: bool) -> Frontier:
        """All sums of a point here and a point there that fit a static budget; sources are pairs of positions."""
        here = np.repeat(np.arange(len(self)), len(other))
        there = np.tile(np.arange(len(other)), len(self))
        static = self.static[here] + other.static[there]
        fits = np.ones(len(static), bool) if budget is None else static <= budget
        here, there, static = here[fits], there[fits], static[fits]
        cycles = self.cycles[here] + other.cycles[there]
        dynamic = self.dynamic[here] + other.dynamic[there]
        return Frontier.of(static, cycles, dynamic, np.stack([here, there], axis=1), watched=watched)
