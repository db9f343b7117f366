"""Finding tandem repeats in a token stream: candidate periods by hashing windows, runs by comparing at a lag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

_K1, _K2, _K3 = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
_HALF, _THIRD = np.uint64(32), np.uint64(29)

PERIOD_LIMIT = 96
"""Candidate periods that one search tries."""

SHORT = 16
"""Periods up to this one are always tried."""

_COLUMN_KEYS = np.random.default_rng(20240607).integers(1, 1 << 63, 64, dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)


def mix(a: Hashes, b: Hashes) -> Hashes:
    """A 64-bit hash of two words, element by element."""
    x = a * _K1 + b * _K2
    x ^= x >> _HALF
    x *= _K3
    x ^= x >> _THIRD
    return x


def linear_hash(rows: Ints) -> Hashes:
    """A hash of each row that is linear: equal second differences of rows have equal second differences of hashes."""
    total = np.zeros(len(rows), np.uint64)
    for column in range(rows.shape[1]):
        total += rows[:, column].astype(np.uint64) * _COLUMN_KEYS[column]
    return total


@dataclass(frozen=True)
class Segment:
    """Part of a stream as the search sees it; position 0 is stream position `offset`.

    `kind` are hashes: equal kinds may be the same token of a loop body. `place` are linear hashes of the constants.
    """

    offset: int
    kind: Hashes
    place: Hashes
    symbols: Ints

    def __len__(self) -> int:
        return len(self.kind)

    def part(self, start: int, stop: int, kind: Hashes | None = None) -> Segment:
        """Positions `start` to `stop - 1`, optionally with other kinds."""
        return Segment(
            self.offset + start,
            self.kind[start:stop] if kind is None else kind,
            self.place[start:stop],
            self.symbols[start:stop],
        )

    def matches(self, period: int) -> Flags:
        """At i: whether i and i + period may be the same token of a loop body."""
        same = self.kind[period:] == self.kind[:-period]
        for column in range(self.symbols.shape[1]):
            early, late = self.symbols[:-period, column], self.symbols[period:, column]
            same &= (late == early) | ((early >= 0) & (late == early + period))
        return same


@dataclass(frozen=True)
class Runs:
    """Tandem repeats of one period, as starts and lengths in tokens; a length is at least two periods.

    Constants advance evenly in `even` runs (three or more repetitions); `double` runs hold two repetitions.
    `matching` are the stretches in which tokens match those one period later, whatever their constants.
    """

    period: int
    matching: tuple[Ints, Ints]
    even: tuple[Ints, Ints]
    double: tuple[Ints, Ints]

    @property
    def coverage(self) -> int:
        """Tokens in even runs."""
        return int(self.even[1].sum())


_NONE = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def true_runs(flags: Flags) -> tuple[Ints, Ints]:
    """Starts and lengths of the maximal runs of True."""
    padded = np.zeros(len(flags) + 2, np.int8)
    padded[1:-1] = flags
    edges = np.flatnonzero(np.diff(padded))
    return edges[::2], edges[1::2] - edges[::2]


def runs_at(segment: Segment, period: int) -> Runs:
    """The repeats of a period in a segment."""
    same = segment.matches(period)
    start, length = true_runs(same)
    long = length >= period
    start, length = start[long], length[long]
    if not len(start):
        return Runs(period, _NONE, _NONE, _NONE)
    matching = (start, length)
    even = _NONE
    if int(length.max()) >= 2 * period:
        h = segment.place
        bend = h[2 * period :] - (h[period:-period] << np.uint64(1)) + h[: -2 * period]
        even_start, even_length = true_runs(same[period:] & same[:-period] & (bend == 0))
        long = even_length >= period
        even = (even_start[long], even_length[long] + 2 * period)
        owner = np.searchsorted(start, even[0], side="right") - 1
        uneven = np.ones(len(start), bool)
        uneven[owner] = False
        start, length = start[uneven], length[uneven]
    return Runs(period, matching, even, _pairs(start, length, period))


def _pairs(start: Ints, length: Ints, period: int) -> tuple[Ints, Ints]:
    """Two repetitions at a time in stretches of matching tokens whose constants do not advance evenly."""
    if not len(start):
        return _NONE
    starts = [
        np.arange(begin, begin + size - period + 1, 2 * period, dtype=np.int64)[:64]
        for begin, size in zip(start.tolist(), length.tolist(), strict=True)
    ]
    ends = np.repeat(start + length, [len(s) for s in starts])
    chosen = np.concatenate(starts)
    return chosen, np.minimum(ends - chosen, 2 * period - 1) + period


def candidate_periods(tokens: Hashes) -> list[int]:
    """Distances at which windows of tokens come back, the most frequent ones, ascending.

    Windows of 1, 2, 4, ... tokens are compared with their previous occurrence; a distance counts when consecutive
    windows agree on it over at least half of its length, as they do in a repeat.
    """
    score: dict[int, int] = {}
    hashed = tokens
    width = 1
    while 2 * width <= len(tokens):
        order = np.argsort(hashed, kind="stable")
        ordered = hashed[order]
        again = np.flatnonzero(ordered[1:] == ordered[:-1])
        if not len(again):
            break
        distance = np.zeros(len(hashed), np.int64)
        distance[order[again + 1]] = order[again + 1] - order[again]
        edges = np.flatnonzero(np.diff(distance)) + 1
        first = np.concatenate([[0], edges])
        stretch = np.diff(np.concatenate([first, [len(distance)]]))
        value = distance[first]
        good = (value > 0) & ((stretch + width - 1) * 2 >= value)
        found, where = np.unique(value[good], return_inverse=True)
        total = np.bincount(where, weights=stretch[good]) if len(found) else np.zeros(0)
        for period, weight in zip(found.tolist(), total.tolist(), strict=True):
            score[period] = score.get(period, 0) + int(weight)
        hashed = mix(hashed[:-width], hashed[width:])
        width *= 2
    best = sorted(score, key=lambda p: (-score[p], p))[:PERIOD_LIMIT]
    return sorted(p for p in best if 2 * p <= len(tokens))


def periods_of_breaks(segment: Segment, runs: Runs) -> list[int]:
    """Candidate periods of outer loops: where constants, compared at the lag of an inner loop, repeat their jumps."""
    pieces: list[Hashes] = []
    period = runs.period
    for begin, size in zip(*(a.tolist() for a in runs.matching), strict=True):
        if size >= 3 * period:
            late = slice(begin + period, begin + size + period)
            jump = segment.place[late] - segment.place[begin : begin + size]
            pieces.append(mix(segment.kind[late], jump))
    if not pieces:
        return []
    return [p for p in candidate_periods(np.concatenate(pieces)) if 2 * p <= len(segment)]


def multiples(runs: Runs) -> set[int]:
    """Periods of loops around loops of a period: twice, four times ... as long, and half of the longest stretch."""
    period = runs.period
    if not len(runs.matching[1]):
        return set()
    whole = int(runs.matching[1].max()) + period
    found = {3 * period} if 6 * period <= whole else set[int]()
    twice = 2 * period
    while 2 * twice <= whole:
        found.add(twice)
        twice *= 2
    if whole % (2 * period) == 0:
        found.add(whole // 2)
    return found


def all_runs(segment: Segment) -> list[Runs]:
    """The repeats of every candidate period, for loops at every level of the nests in a segment."""
    half = len(segment) // 2
    found: dict[int, Runs] = {}

    def compare_at(periods: Iterable[int]) -> list[Runs]:
        new = [runs_at(segment, p) for p in sorted(periods) if p not in found and p <= half]
        found.update((runs.period, runs) for runs in new)
        return new

    compare_at({*range(1, SHORT + 1), *candidate_periods(segment.kind)})
    explained: list[tuple[int, int]] = []
    for runs in list(found.values()):
        coverage = runs.coverage
        if coverage and not any(runs.period % p == 0 and coverage <= 1.05 * c for p, c in explained):
            explained.append((runs.period, coverage))
            compare_at(periods_of_breaks(segment, runs))
    for runs in list(found.values()):
        compare_at(multiples(runs))
    return [found[p] for p in sorted(found)]
