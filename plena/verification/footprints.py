"""The cells that an affine access touches over all iterations, as intervals."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from plena.dialects.loop import Linear
from plena.lifting.tree import Number, number_of
from plena.verification.affine_checks import Bounds

Interval = tuple[int, int]
"""Cells from the first up to the second, which is not included."""

MOST_INTERVALS = 4096

MANY = 16
"""Intervals from which on they are looked at together."""


def footprint(number: Number, width: int, bounds: Bounds) -> list[Interval] | None:
    """The addresses `number .. number + width` over all index values; None when they fall into too many pieces."""
    if isinstance(number, int):
        return [(number, number + width)]
    start = number.constant
    steps: list[tuple[int, int]] = []
    for index, coefficient in number.terms:
        low, high = bounds[index]
        start += (low if coefficient > 0 else high) * coefficient
        steps.append((abs(coefficient), high - low + 1))
    pieces = [(start, start + width)]
    for step, count in sorted(steps):
        if len(pieces) == 1 and step <= pieces[0][1] - pieces[0][0]:
            first, stop = pieces[0]
            pieces = [(first, stop + step * (count - 1))]
        elif len(pieces) * count > MOST_INTERVALS:
            return None
        else:
            apart = step > pieces[-1][1] - pieces[0][0]
            pieces = [(a + step * i, b + step * i) for i in range(count) for a, b in pieces]
            pieces = pieces if apart else merged(pieces)
    return pieces


def cells(number: Number, unit: int, width: int, bounds: Bounds) -> list[Interval] | None:
    """Cells of `unit` addresses: those of `number // unit`, and `width - 1` behind each."""
    if isinstance(number, int):
        first = number // unit
        return [(first, first + width)]
    whole = tuple((i, c // unit) for i, c in number.terms if c % unit == 0)
    part = tuple((i, c) for i, c in number.terms if c % unit)
    constant = number.constant
    low, high = Linear(constant % unit, part).range(bounds)
    if low < 0 or high >= unit:
        pieces = footprint(number, 1, bounds)
        if pieces is None:
            return None
        return merged([(a // unit, (b - 1) // unit + width) for a, b in pieces])
    first = constant // unit
    return footprint(number_of(Linear(first, whole)), width, bounds)


def merged(pieces: list[Interval]) -> list[Interval]:
    """Sorted disjoint intervals covering the same cells."""
    result: list[Interval] = []
    for first, stop in sorted(pieces):
        if result and first <= result[-1][1]:
            if stop > result[-1][1]:
                result[-1] = (result[-1][0], stop)
        else:
            result.append((first, stop))
    return result


class CellSet:
    """A growing set of the cells of one memory, bounded; cells outside are ignored."""

    def __init__(self, size: int) -> None:
        self._present = np.zeros(size, np.bool_)
        self._has_all = False

    def add(self, pieces: list[Interval] | None) -> None:
        """Adds cells; None stands for any."""
        if pieces is None:
            self._has_all = True
            return
        if len(pieces) > MANY:
            starts, stops, low, high = self._within(pieces)
            edges = np.zeros(high - low + 1, np.int32)
            np.add.at(edges, starts - low, 1)
            np.subtract.at(edges, stops - low, 1)
            self._present[low:high] |= np.cumsum(edges[:-1]) > 0
            return
        for first, stop in pieces:
            self._present[max(first, 0) : max(stop, 0)] = True

    def first_missing(self, pieces: list[Interval] | None) -> int | None:
        """Some cell of the pieces that is not in the set; None when all are, or nobody can tell."""
        if pieces is None or self._has_all:
            return None
        if len(pieces) > MANY:
            starts, stops, low, high = self._within(pieces)
            before = np.concatenate(([0], np.cumsum(self._present[low:high])))
            lacking = before[stops - low] - before[starts - low] < stops - starts
            if not lacking.any():
                return None
            first = int(np.argmax(lacking))
            pieces = [(int(starts[first]), int(stops[first]))]
        for first, stop in pieces:
            part = self._present[max(first, 0) : max(stop, 0)]
            if not part.all():
                return max(first, 0) + int(np.argmin(part))
        return None

    def _within(self, pieces: list[Interval]) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
        """Where pieces begin and end in the memory, and from where to where all of them lie."""
        bounds = np.clip(np.array(pieces, np.int64), 0, len(self._present))
        return bounds[:, 0], bounds[:, 1], int(bounds[:, 0].min()), int(bounds[:, 1].max())

    def longest_gap(self) -> tuple[int, int]:
        """First cell and length of the longest run of cells that are not in the set."""
        if self._has_all:
            return 0, 0
        edges = np.flatnonzero(np.diff(np.concatenate(([True], self._present, [True]))))
        starts, stops = edges[0::2], edges[1::2]
        if not len(starts):
            return 0, 0
        longest = int(np.argmax(stops - starts))
        return int(starts[longest]), int(stops[longest] - starts[longest])


class IntervalSet:
    """A growing set of cells of a memory too large to list."""

    def __init__(self, pieces: list[Interval] | None = None) -> None:
        self._pieces = merged(pieces or [])
        self._pending: list[Interval] = []
        self.everything = False

    def add(self, pieces: list[Interval] | None) -> None:
        """Adds cells; None stands for any."""
        if pieces is None:
            self.everything = True
            return
        for piece in pieces:
            if not self._holds(piece):
                self._pending.append(piece)

    def first_missing(self, pieces: list[Interval] | None) -> int | None:
        """Some cell of the pieces that is not in the set; None when all are, or nobody can tell."""
        if pieces is None or self.everything:
            return None
        for piece in pieces:
            if not self._holds(piece):
                self._settle()
                if not self._holds(piece):
                    return self._missing(piece)
        return None

    def _settle(self) -> None:
        if self._pending:
            self._pieces = merged(self._pieces + self._pending)
            self._pending = []

    def _holds(self, piece: Interval) -> bool:
        position = bisect_right(self._pieces, (piece[0], 1 << 70)) - 1
        return position >= 0 and piece[1] <= self._pieces[position][1]

    def _missing(self, piece: Interval) -> int:
        position = bisect_right(self._pieces, (piece[0], 1 << 70)) - 1
        if position >= 0 and piece[0] < self._pieces[position][1]:
            return self._pieces[position][1]
        return piece[0]
